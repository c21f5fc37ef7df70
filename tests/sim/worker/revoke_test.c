/* A revoke is true when it is acked: on open connections, cached tokens and cached cipher contexts too.  And nobody opens what is
 * another key's. */
#include "tests/sim/worker/claims.h"

#include "proto/base64.h"

static void push_key_a(struct rig *r, const char *caller, uint8_t key_state, uint8_t version_state)
{
    rig_ctl_begin(r, false);
    rig_put_key(r, RIG_KEY_A, caller, key_state, version_state == KEY_STATE_ENABLED ? 1 : 0);
    rig_put_version(r, RIG_KEY_A, 1, version_state);
    rig_ctl_end(r);
    assert_true(rig_until(r, rig_acked, r));
}

/* Eight connections wrap without a pause while the change is pushed; what they get after the ack is what counts. */
static void no_200_after(void (*revoke)(struct rig *), unsigned status)
{
    struct rig *r = new_rig();
    struct client *c[8];

    for (int i = 0; i < 8; i++) {
        c[i] = shaken(r);
        free(wrapped(c[i], RIG_KEY_A ":wrap", WRAP_HELLO));
    }
    assert_true(rig_counted(r, REASON_AUTH_VERDICT_CACHE_HIT) >=
                8u - rig_workers(r)); /* each checks it once */
    for (int i = 0; i < 8; i++)
        client_post(c[i], RIG_KEY_A ":wrap", WRAP_HELLO);
    revoke(r); /* returns once acked */
    for (int i = 0; i < 8; i++) {
        expect_status(c[i], 200); /* asked before: answered while the change was under way */
        client_next(c[i]);
        client_post(c[i], RIG_KEY_A ":wrap", WRAP_HELLO);
        expect_status(c[i], status);
    }
    rig_free(r);
}

static void disable_key(struct rig *r)
{
    push_key_a(r, RIG_CALLER, KEY_STATE_DISABLED, KEY_STATE_ENABLED);
}

static void disable_version(struct rig *r)
{
    push_key_a(r, RIG_CALLER, KEY_STATE_ENABLED, KEY_STATE_DISABLED);
}

static void remove_caller(struct rig *r)
{
    push_key_a(r, RIG_OTHER, KEY_STATE_ENABLED, KEY_STATE_ENABLED);
}

static void remove_key(struct rig *r)
{
    struct ctl_key_gone m;
    struct writer *w = rig_ctl_begin(r, false);

    rig_key_id(RIG_KEY_A, m.key_id);
    ctl_write_key_gone(w, 0, rig_epoch(r) + 1, &m);
    rig_ctl_count(r, 1);
    rig_ctl_end(r);
    assert_true(rig_until(r, rig_acked, r));
}

/* A full snapshot in which nobody is trusted any more. */
static void remove_issuer(struct rig *r)
{
    rig_ctl_begin(r, true);
    rig_put_key(r, RIG_KEY_A, RIG_CALLER, KEY_STATE_ENABLED, 1);
    rig_put_version(r, RIG_KEY_A, 1, KEY_STATE_ENABLED);
    rig_ctl_end(r);
    assert_true(rig_until(r, rig_acked, r));
}

static void a_disabled_key_answers_no_200_after_its_ack(void **state)
{
    (void)state;
    no_200_after(disable_key, 400);
}

static void a_disabled_version_wraps_nothing_after_its_ack(void **state)
{
    (void)state;
    no_200_after(disable_version, 400);
}

static void a_removed_caller_gets_no_200_after_the_ack_though_its_token_is_cached(void **state)
{
    (void)state;
    no_200_after(remove_caller, 403);
}

static void a_key_that_is_gone_is_404_after_its_ack(void **state)
{
    (void)state;
    no_200_after(remove_key, 404);
}

static void a_token_whose_issuer_is_gone_is_refused_after_the_ack(void **state)
{
    (void)state;
    no_200_after(remove_issuer, 401);
}

static void a_disabled_version_does_not_unwrap_and_does_again_when_enabled(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    (void)state;

    char *blob = wrapped(c, RIG_KEY_A ":wrap", WRAP_HELLO);
    unwrap_hello(c, RIG_KEY_A ":unwrap", blob, 200);
    disable_version(r);
    unwrap_hello(c, RIG_KEY_A ":unwrap", blob, 400);
    push_key_a(r, RIG_CALLER, KEY_STATE_ENABLED, KEY_STATE_ENABLED);
    unwrap_hello(c, RIG_KEY_A ":unwrap", blob, 200);
    free(blob);
    rig_free(r);
}

static void an_old_version_unwraps_after_a_rotation_and_wraps_no_more(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    struct audit_record a;
    (void)state;

    char *old = wrapped(c, RIG_KEY_A ":wrap", WRAP_HELLO);
    rig_ctl_begin(r, false);
    rig_put_key(r, RIG_KEY_A, RIG_CALLER, KEY_STATE_ENABLED, 2);
    rig_put_version(r, RIG_KEY_A, 2, KEY_STATE_ENABLED);
    rig_ctl_end(r);
    assert_true(rig_until(r, rig_acked, r));
    char *new = wrapped(c, RIG_KEY_A ":wrap", WRAP_HELLO);
    unwrap_hello(c, RIG_KEY_A ":unwrap", old, 200);
    unwrap_hello(c, RIG_KEY_A ":unwrap", new, 200);
    uint32_t versions[4];
    for (int i = 0; i < 4; i++) {
        assert_true(rig_audit(r, &a));
        versions[i] = a.version;
    }
    assert_int_equal(versions[0], 1);
    assert_int_equal(versions[1], 2);
    assert_int_equal(versions[2], 1);
    assert_int_equal(versions[3], 2);
    free(old);
    free(new);
    rig_free(r);
}

/* B's blob, asked for by a caller of A: through A's path as it is, with A's tag, with suite 0; through B's path. */
static void no_blob_of_another_key_opens_by_any_path_tag_or_suite(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r), *owner = shaken(r);
    uint8_t blob[256];
    size_t len = 0;
    char text[512], first[512];
    (void)state;

    client_post_as(owner, RIG_OTHER, RIG_KEY_B ":wrap", WRAP_HELLO);
    expect_status(owner, 200);
    assert_true(base64_decode(client_value(owner, "wrappedBlob"), blob, &len));
    char *mine = wrapped(c, RIG_KEY_A ":wrap", WRAP_HELLO);
    uint8_t own[256];
    size_t own_len;
    assert_true(base64_decode(span_str(mine), own, &own_len));
    for (int variant = 0; variant < 5; variant++) {
        uint8_t b[256];
        memcpy(b, blob, len);
        if (variant == 1)
            memcpy(b + 4, own + 4, KEY_VERSION_TAG_LEN);
        if (variant == 2)
            b[1] = 0;
        if (variant == 3)
            memcpy(b, own, BLOB_HEAD_LEN);
        if (variant == 4) {
            memcpy(b + 4, own + 4, KEY_VERSION_TAG_LEN);
            b[1] = 0;
        }
        size_t n = base64_encode(span_of(b, len), (uint8_t *)text);
        text[n] = 0;
        client_post_as(c, RIG_CALLER, RIG_KEY_A ":unwrap", "");
        expect_status(c, 400); /* an empty body; not what is asked here */
        client_next(c);
        char body[600];
        snprintf(body, sizeof body, "{\"wrappedBlob\":\"%s\"}", text);
        client_post(c, RIG_KEY_A ":unwrap", body);
        expect_status(c, 400);
        if (variant == 0)
            strcpy(first, client_body(c));
        assert_string_equal(client_body(c), first); /* one text for all causes */
        client_next(c);
        client_post(c, RIG_KEY_B ":unwrap", body);
        expect_status(c, 403);
        client_next(c);
    }
    free(mine);
    rig_free(r);
}

static void a_certificate_reload_leaves_open_connections_alone(void **state)
{
    struct rig *r = new_rig();
    struct client *old = shaken(r);
    (void)state;

    free(wrapped(old, RIG_KEY_A ":wrap", WRAP_HELLO));
    rig_ctl_begin(r, false);
    rig_put_certificate(r);
    rig_ctl_end(r);
    assert_true(rig_until(r, rig_acked, r));
    free(wrapped(old, RIG_KEY_A ":wrap", WRAP_HELLO));
    struct client *new = shaken(r);
    X509 *a = SSL_get1_peer_certificate(old->ssl), *b = SSL_get1_peer_certificate(new->ssl);
    assert_int_not_equal(X509_cmp(a, b), 0);
    X509_free(a);
    X509_free(b);
    free(wrapped(new, RIG_KEY_A ":wrap", WRAP_HELLO));
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disabled_key_answers_no_200_after_its_ack),
        cmocka_unit_test(a_disabled_version_wraps_nothing_after_its_ack),
        cmocka_unit_test(a_removed_caller_gets_no_200_after_the_ack_though_its_token_is_cached),
        cmocka_unit_test(a_key_that_is_gone_is_404_after_its_ack),
        cmocka_unit_test(a_token_whose_issuer_is_gone_is_refused_after_the_ack),
        cmocka_unit_test(a_disabled_version_does_not_unwrap_and_does_again_when_enabled),
        cmocka_unit_test(an_old_version_unwraps_after_a_rotation_and_wraps_no_more),
        cmocka_unit_test(no_blob_of_another_key_opens_by_any_path_tag_or_suite),
        cmocka_unit_test(a_certificate_reload_leaves_open_connections_alone),
    };
    log_set_level(LOG_ERROR);
    return RUN_TESTS("worker_revoke", tests);
}
