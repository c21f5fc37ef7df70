/* The tables of issuers and audiences, as the housekeeper builds them. */
#include "tests/unit/ekm/rig.h"

#include "dataplane/ekm/ekm_priv.h"
#include "tests/unit/test.h"

#include <stdio.h>

static int stage(const char *iss)
{
    struct ctl_issuer m = {span_str(iss), NOW_S, 3600};

    return ekm_auth_stage_issuer(rig_auth(), &m);
}

static int stage_audience(const char *audience)
{
    struct ctl_audience m = {span_str(audience)};

    return ekm_auth_stage_audience(rig_auth(), &m);
}

static int stage_weak_jwk(const char *kid)
{
    static const uint8_t n[128] = {0xff, [127] = 1}, e[] = {1, 0, 1};
    struct ctl_jwk m = {.alg = JWK_RS256,
                        .kid = span_str(kid),
                        .n_or_x = span_of(n, sizeof n),
                        .e_or_y = span_of(e, sizeof e)};

    return ekm_auth_stage_jwk(rig_auth(), &m);
}

static void a_key_before_any_issuer_is_out_of_order(void **state)
{
    (void)state;
    assert_int_equal(stage_weak_jwk("k"), CTL_REFUSE_ORDER);
}

static void the_same_issuer_twice_is_a_conflict(void **state)
{
    (void)state;
    assert_int_equal(stage(ISSUER), 0);
    assert_int_equal(stage(ISSUER), CTL_REFUSE_CONFLICT);
}

static void one_issuer_too_many_is_refused(void **state)
{
    char iss[64];
    (void)state;

    for (int i = 0; i < ISSUERS_MAX; i++) {
        snprintf(iss, sizeof iss, "https://issuer.test/%d", i);
        assert_int_equal(stage(iss), 0);
    }
    assert_int_equal(stage("https://issuer.test/more"), CTL_REFUSE_FULL);
}

static void one_audience_too_many_is_refused(void **state)
{
    char audience[64];
    (void)state;

    for (int i = 0; i < AUDIENCES_MAX; i++) {
        snprintf(audience, sizeof audience, "https://%d.test", i);
        assert_int_equal(stage_audience(audience), 0);
    }
    assert_int_equal(stage_audience("https://more.test"), CTL_REFUSE_FULL);
}

static void one_key_too_many_is_refused(void **state)
{
    char kid[16];
    (void)state;

    assert_int_equal(stage("https://issuer.test"), 0);
    for (int i = 0; i < JWKS_KEYS_MAX; i++) {
        snprintf(kid, sizeof kid, "k%d", i);
        assert_int_equal(rig_stage_ec_jwk(kid, false), 0);
    }
    assert_int_equal(rig_stage_ec_jwk("more", false), CTL_REFUSE_FULL);
}

static void a_weak_key_is_left_out_and_refuses_nothing(void **state)
{
    (void)state;
    assert_int_equal(stage("https://issuer.test"), 0);
    assert_int_equal(stage_weak_jwk("weak"), 0);
    assert_int_equal(rig_auth()->staged->issuers->list[0].key_count, 0);
    assert_int_equal(rig_stage_ec_jwk("good", false), 0);
    assert_int_equal(rig_auth()->staged->issuers->list[0].key_count, 1);
}

static struct token of_two(void)
{
    struct token t = token_good();

    t.alg = "\"ES256\"";
    t.kid = "\"two-1\"";
    t.iss = "\"" ISSUER_2 "\"";
    t.signer = SIGN_TWO;
    return t;
}

/* The first of two keys with one kid is the one that counts. */
static void a_second_key_with_a_kid_does_not_replace_the_first(void **state)
{
    struct token t = of_two();
    (void)state;

    ekm_auth_begin(rig_auth(), false);
    assert_int_equal(stage(ISSUER_2), 0);
    assert_int_equal(rig_stage_ec_jwk("two-1", true), 0);
    assert_int_equal(rig_stage_ec_jwk("two-1", false), 0);
    assert_int_equal(rig_auth()->staged->issuers->list[0].key_count, 1);
    rig_commit_staged();
    assert_int_equal(wrap(KEY, token_text(&t), ""), 200);
    t.signer = SIGN_OTHER_EC;
    assert_int_equal(wrap(KEY, token_text(&t), ""), 401);
}

static void what_is_staged_is_not_in_use(void **state)
{
    (void)state;
    ekm_auth_begin(rig_auth(), true);
    assert_int_equal(stage("https://issuer.test"), 0);
    assert_int_equal(wrap(KEY, good(), ""), 200);
}

static void a_rollback_leaves_what_was_in_use(void **state)
{
    (void)state;
    ekm_auth_begin(rig_auth(), true);
    assert_int_equal(stage("https://issuer.test"), 0);
    ekm_auth_rollback(rig_auth());
    ekm_auth_begin(rig_auth(), false);
    rig_commit_staged();
    assert_int_equal(wrap(KEY, good(), ""), 200);
}

static void a_delta_that_names_audiences_keeps_the_issuers(void **state)
{
    (void)state;
    ekm_auth_begin(rig_auth(), false);
    assert_int_equal(stage_audience(AUDIENCE), 0);
    rig_commit_staged();
    assert_int_equal(wrap(KEY, good(), ""), 200);
}

static void a_delta_that_names_issuers_replaces_all_of_them(void **state)
{
    (void)state;
    ekm_auth_begin(rig_auth(), false);
    assert_int_equal(stage(ISSUER_2), 0);
    rig_commit_staged();
    assert_int_equal(wrap(KEY, good(), ""), 401);
    assert_int_equal(audited.verdict, REASON_AUTH_UNKNOWN_ISSUER);
}

static void a_full_transaction_that_names_none_leaves_none(void **state)
{
    (void)state;
    ekm_auth_begin(rig_auth(), true);
    rig_commit_staged();
    assert_int_equal(wrap(KEY, good(), ""), 401);
    assert_int_equal(audited.verdict, REASON_AUTH_UNKNOWN_ISSUER);
}

static void a_full_transaction_without_audiences_leaves_none(void **state)
{
    struct token t = of_two();
    (void)state;

    ekm_auth_begin(rig_auth(), true);
    assert_int_equal(stage(ISSUER_2), 0);
    assert_int_equal(rig_stage_ec_jwk("two-1", true), 0);
    rig_commit_staged();
    assert_int_equal(wrap(KEY, token_text(&t), ""), 401);
    assert_int_equal(audited.verdict, REASON_AUTH_WRONG_AUDIENCE);
}

static void kept_verdicts_are_wiped_at_the_next_quiescent_state(void **state)
{
    (void)state;
    assert_int_equal(wrap(KEY, good(), ""), 200);
    assert_int_equal(rig_verdicts_kept(), 1);
    ekm_auth_commit(rig_auth(), 99);
    rig_quiescent();
    assert_int_equal(rig_verdicts_kept(), 0);
}

static void kept_verdicts_stay_while_the_epoch_does(void **state)
{
    (void)state;
    assert_int_equal(wrap(KEY, good(), ""), 200);
    rig_quiescent();
    assert_int_equal(rig_verdicts_kept(), 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_key_before_any_issuer_is_out_of_order),
        CASE(the_same_issuer_twice_is_a_conflict),
        CASE(one_issuer_too_many_is_refused),
        CASE(one_audience_too_many_is_refused),
        CASE(one_key_too_many_is_refused),
        CASE(a_weak_key_is_left_out_and_refuses_nothing),
        CASE(a_second_key_with_a_kid_does_not_replace_the_first),
        CASE(what_is_staged_is_not_in_use),
        CASE(a_rollback_leaves_what_was_in_use),
        CASE(a_delta_that_names_audiences_keeps_the_issuers),
        CASE(a_delta_that_names_issuers_replaces_all_of_them),
        CASE(a_full_transaction_that_names_none_leaves_none),
        CASE(a_full_transaction_without_audiences_leaves_none),
        CASE(kept_verdicts_are_wiped_at_the_next_quiescent_state),
        CASE(kept_verdicts_stay_while_the_epoch_does),
    };
    return RUN_TESTS("ekm_auth", tests);
}
