#include "tests/unit/ekm/rig.h"

#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

#define EMPTY "{\"plaintext\":\"\"}"

static void expect(unsigned status, unsigned want, int code, enum reason why)
{
    assert_int_equal(status, want);
    assert_int_equal(audited.verdict, why);
    assert_int_equal(counted(why), 1);
    expect_status_body(code);
}

static struct call wrap_call(void)
{
    return (struct call){.method = "POST",
                         .target = "/" KEY ":wrap",
                         .token = good(),
                         .type = "application/json",
                         .body = EMPTY,
                         .body_len = strlen(EMPTY)};
}

/* ---- a fault of ours is 503 ---- */

static void before_the_first_snapshot_a_good_token_gets_503(void **state)
{
    (void)state;
    expect(wrap(KEY, good(), ""), 503, 14, REASON_AUTH_NOT_LOADED);
    assert_non_null(strstr(reply_head, "\r\nRetry-After: 1\r\n"));
}

static void before_the_first_snapshot_no_token_gets_503(void **state)
{
    (void)state;
    expect(wrap(KEY, NULL, ""), 503, 14, REASON_AUTH_NOT_LOADED);
}

static void before_the_first_snapshot_is_settled_it_is_503(void **state)
{
    (void)state;
    rig_commit_auth(&(struct auth_change){.not_settled = true});
    expect(wrap(KEY, good(), ""), 503, 14, REASON_AUTH_NOT_LOADED);
}

/* ---- 404: paths are bytes ---- */

#define NO_ROUTE(name, target)                                                                               \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        expect(post(target, good(), EMPTY), 404, 5, REASON_EKM_NO_ROUTE);                                    \
    }
#define NO_KEY(name, target)                                                                                 \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        expect(post(target, good(), EMPTY), 404, 5, REASON_EKM_UNKNOWN_KEY);                                 \
    }

NO_ROUTE(a_path_without_a_verb_is_404, "/" KEY)
NO_ROUTE(the_root_is_404, "/")
NO_ROUTE(a_verb_without_a_path_is_404, "/:wrap")
NO_ROUTE(an_empty_verb_is_404, "/" KEY ":")
NO_ROUTE(an_unknown_verb_is_404, "/" KEY ":rewrap")
NO_ROUTE(a_verb_in_other_case_is_404, "/" KEY ":Wrap")
NO_ROUTE(a_verb_with_a_tail_is_404, "/" KEY ":wrap1")
NO_ROUTE(a_part_of_a_verb_is_404, "/" KEY ":wra")
NO_ROUTE(a_query_is_404, "/" KEY ":wrap?alt=json")
NO_ROUTE(an_empty_query_is_404, "/" KEY ":wrap?")
NO_ROUTE(a_query_before_the_verb_is_404, "/" KEY "?a=:wrap")
NO_ROUTE(a_slash_after_the_verb_is_404, "/" KEY ":wrap/")
NO_ROUTE(a_verb_in_an_earlier_segment_is_404, "/v0:wrap/demo/key")
NO_ROUTE(a_percent_encoded_colon_is_404, "/" KEY "%3Awrap")
NO_KEY(an_unknown_key_is_404, "/v0/none:wrap")
NO_KEY(a_key_in_other_case_is_404, "/v0/Demo/key:wrap")
NO_KEY(a_prefix_of_a_key_is_404, "/v0/demo/ke:wrap")
NO_KEY(a_key_with_a_tail_is_404, "/v0/demo/key22:wrap")
NO_KEY(a_key_with_a_trailing_slash_is_404, "/v0/demo/key/:wrap")
NO_KEY(a_key_with_two_slashes_is_404, "/v0//demo/key:wrap")
NO_KEY(a_key_with_two_leading_slashes_is_404, "//v0/demo/key:wrap")
NO_KEY(dot_segments_are_not_resolved, "/v0/other/../demo/key:wrap")
NO_KEY(a_single_dot_is_not_resolved, "/v0/./demo/key:wrap")
NO_KEY(percent_encoding_is_not_decoded, "/v0/demo/%6bey:wrap")
NO_KEY(two_verbs_name_another_key, "/" KEY ":wrap:wrap")

static void the_longest_path_is_looked_up(void **state)
{
    char target[EKM_KEY_PATH_MAX + 16] = "/";
    (void)state;

    memset(target + 1, 'a', EKM_KEY_PATH_MAX);
    strcpy(target + 1 + EKM_KEY_PATH_MAX, ":wrap");
    expect(post(target, good(), EMPTY), 404, 5, REASON_EKM_UNKNOWN_KEY);
}

static void a_longer_path_is_404(void **state)
{
    char target[EKM_KEY_PATH_MAX + 16] = "/";
    (void)state;

    memset(target + 1, 'a', EKM_KEY_PATH_MAX + 1);
    strcpy(target + 2 + EKM_KEY_PATH_MAX, ":wrap");
    expect(post(target, good(), EMPTY), 404, 5, REASON_EKM_NO_ROUTE);
}

static void a_destroyed_key_is_404(void **state)
{
    (void)state;
    expect(wrap(DESTROYED, good(), ""), 404, 5, REASON_EKM_KEY_GONE);
}

static void a_doomed_key_is_404(void **state)
{
    (void)state;
    expect(wrap(DOOMED, good(), ""), 404, 5, REASON_EKM_KEY_GONE);
}

static void a_gone_key_is_404_for_a_stranger_too(void **state)
{
    (void)state;
    expect(wrap(DESTROYED, good_of("someone@else.test"), ""), 404, 5, REASON_EKM_KEY_GONE);
}

/* ---- 403, or 400 where the key says so ---- */

static void a_caller_not_on_the_list_gets_403(void **state)
{
    (void)state;
    expect(wrap(THEIRS, good(), ""), 403, 7, REASON_EKM_CALLER_DENIED);
    assert_false(reply_has("details"));
}

static void a_caller_not_on_a_mild_keys_list_gets_400(void **state)
{
    (void)state;
    expect(wrap(MILD, good(), ""), 400, 9, REASON_EKM_CALLER_DENIED);
}

static void a_caller_on_one_list_is_not_on_another(void **state)
{
    const char *theirs = good_of("someone@else.test");
    (void)state;

    assert_int_equal(wrap(THEIRS, theirs, ""), 200);
    expect(wrap(KEY, theirs, ""), 403, 7, REASON_EKM_CALLER_DENIED);
}

static void a_denied_caller_learns_nothing_of_its_body(void **state)
{
    (void)state;
    expect(post("/" THEIRS ":wrap", good(), "{not json"), 403, 7, REASON_EKM_CALLER_DENIED);
}

static void a_denied_caller_learns_nothing_of_the_keys_state(void **state)
{
    (void)state;
    expect(wrap(DISABLED, good_of("someone@else.test"), ""), 403, 7, REASON_EKM_CALLER_DENIED);
}

#define WITH_REASON(value)                                                                                   \
    "{\"plaintext\":\"\",\"additionalContext\":{\"accessReasonContext\":{\"reason\":" value "}}}"
#define WITHOUT_REASON "{\"plaintext\":\"\",\"additionalContext\":{\"accessReasonContext\":{}}}"

static void an_access_reason_not_allowed_gets_403_naming_it(void **state)
{
    (void)state;
    expect(post("/" ONE_REASON ":wrap", good(), WITH_REASON("\"GOOGLE_INITIATED_REVIEW\"")), 403, 7,
           REASON_EKM_REASON_DENIED);
    assert_true(reply_has("\"@type\":\"type.googleapis.com/google.rpc.BadRequest\""));
    assert_true(reply_has("\"field\":\"additionalContext.accessReasonContext.reason\""));
    assert_int_equal(audited.access_reason, 1u << 4);
}

static void an_access_reason_not_allowed_on_a_mild_key_gets_400(void **state)
{
    (void)state;
    expect(post("/" MILD_REASON ":wrap", good(), WITH_REASON("4")), 400, 9, REASON_EKM_REASON_DENIED);
}

static void an_allowed_access_reason_by_name_is_served(void **state)
{
    (void)state;
    assert_int_equal(post("/" ONE_REASON ":wrap", good(), WITH_REASON("\"CUSTOMER_INITIATED_ACCESS\"")), 200);
    assert_int_equal(audited.access_reason, 1u << 5);
}

static void an_allowed_access_reason_by_number_is_served(void **state)
{
    (void)state;
    assert_int_equal(post("/" ONE_REASON ":wrap", good(), WITH_REASON("5")), 200);
}

static void an_absent_reason_is_denied_where_one_is_demanded(void **state)
{
    (void)state;
    expect(wrap(NO_ABSENT, good(), ""), 403, 7, REASON_EKM_REASON_DENIED);
    assert_int_equal(audited.access_reason, ACCESS_REASON_ABSENT_BIT);
}

static void an_empty_reason_context_is_reason_unspecified(void **state)
{
    (void)state;
    assert_int_equal(post("/" NO_ABSENT ":wrap", good(), WITHOUT_REASON), 200);
    assert_int_equal(audited.access_reason, 1u << 0);
}

static void an_unknown_reason_is_denied_by_default(void **state)
{
    (void)state;
    expect(post("/" KEY ":wrap", good(), WITH_REASON("\"SOMETHING_NEW\"")), 403, 7, REASON_EKM_REASON_DENIED);
    assert_int_equal(audited.access_reason, ACCESS_REASON_UNKNOWN_BIT);
}

static void an_unknown_reason_number_is_denied_by_default(void **state)
{
    (void)state;
    expect(post("/" KEY ":wrap", good(), WITH_REASON("12")), 403, 7, REASON_EKM_REASON_DENIED);
}

static void an_unknown_reason_is_served_where_that_is_allowed(void **state)
{
    (void)state;
    assert_int_equal(post("/" UNKNOWN_OK ":wrap", good(), WITH_REASON("\"SOMETHING_NEW\"")), 200);
}

static void an_unwrap_asks_for_the_reason_too(void **state)
{
    (void)state;
    expect(post("/" ONE_REASON ":unwrap", good(), "{\"wrappedBlob\":\"\"}"), 403, 7,
           REASON_EKM_REASON_DENIED);
}

static void a_health_check_is_judged_like_any_request(void **state)
{
    static const char body[] = "{\"plaintext\":\"\",\"additionalContext\":{\"isKeyHealthCheck\":true}}";
    (void)state;

    expect(post("/" ONE_REASON ":wrap", good(), body), 403, 7, REASON_EKM_REASON_DENIED);
    assert_true((audited.flags & AUDIT_FLAG_HEALTH_CHECK) != 0);
    assert_int_equal(post("/" KEY ":wrap", good(), body), 200);
    assert_true((audited.flags & AUDIT_FLAG_HEALTH_CHECK) != 0);
}

/* ---- 400 FAILED_PRECONDITION ---- */

static void a_disabled_key_is_400_failed_precondition(void **state)
{
    (void)state;
    expect(wrap(DISABLED, good(), ""), 400, 9, REASON_EKM_KEY_DISABLED);
}

static void a_key_not_yet_durable_is_400_failed_precondition(void **state)
{
    (void)state;
    expect(wrap(PENDING, good(), ""), 400, 9, REASON_EKM_KEY_DISABLED);
}

/* A 403 makes Cloud KMS disable its key version for good; what is disabled here may be enabled again. */
static void a_disabled_key_answers_before_its_reasons_do(void **state)
{
    (void)state;
    expect(post("/" DISABLED_ONE_REASON ":wrap", good(), WITH_REASON("4")), 400, 9, REASON_EKM_KEY_DISABLED);
}

static void a_disabled_key_answers_before_the_body_is_read(void **state)
{
    (void)state;
    expect(post("/" DISABLED ":wrap", good(), "{not json"), 400, 9, REASON_EKM_KEY_DISABLED);
}

static void a_key_disabled_by_a_delta_stops_a_kept_token(void **state)
{
    (void)state;
    assert_int_equal(wrap(KEY, good(), ""), 200);
    rig_commit_keys(true, false);
    expect(wrap(KEY, good(), ""), 400, 9, REASON_EKM_KEY_DISABLED);
}

static void a_key_without_a_primary_version_does_not_wrap(void **state)
{
    (void)state;
    expect(wrap(NO_PRIMARY, good(), ""), 400, 9, REASON_EKM_NO_VERSION);
}

static void a_blob_of_a_disabled_version_is_400_failed_precondition(void **state)
{
    const char *body;
    (void)state;

    assert_int_equal(wrap(KEY, good(), "aGVsbG8="), 200);
    body = unwrap_body("");
    rig_version_state(KEY_STATE_DISABLED, 0);
    expect(post("/" KEY ":unwrap", good(), body), 400, 9, REASON_EKM_VERSION_DISABLED);
}

static void a_blob_of_a_doomed_version_is_404(void **state)
{
    const char *body;
    (void)state;

    assert_int_equal(wrap(KEY, good(), "aGVsbG8="), 200);
    body = unwrap_body("");
    rig_version_state(KEY_STATE_DESTROY_SCHEDULED, 0);
    expect(post("/" KEY ":unwrap", good(), body), 404, 5, REASON_EKM_VERSION_GONE);
}

/* ---- 501, 405 ---- */

#define LACKED(name, verb)                                                                                   \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        expect(post("/" KEY ":" verb, good(), "{}"), 501, 12, REASON_EKM_UNIMPLEMENTED);                     \
    }

LACKED(get_public_key_is_501, "getPublicKey")
LACKED(asymmetric_sign_is_501, "asymmetricSign")
LACKED(create_key_is_501, "createKey")
LACKED(destroy_key_is_501, "destroyKey")
LACKED(check_crypto_space_permissions_is_501, "checkCryptoSpacePermissions")
LACKED(confidential_wrap_is_501, "confidentialwrap")
LACKED(confidential_unwrap_is_501, "confidentialunwrap")
LACKED(confidential_wrap_with_a_hyphen_is_501, "confidential-wrap")
LACKED(confidential_unwrap_with_a_hyphen_is_501, "confidential-unwrap")

static void get_on_a_verb_is_405_and_says_post(void **state)
{
    struct call c = wrap_call();
    (void)state;

    c.method = "GET";
    expect(call(&c), 405, 12, REASON_EKM_NOT_POST);
    assert_non_null(strstr(reply_head, "\r\nAllow: POST\r\n"));
}

static void put_on_a_verb_is_405(void **state)
{
    struct call c = wrap_call();
    (void)state;

    c.method = "PUT";
    expect(call(&c), 405, 12, REASON_EKM_NOT_POST);
}

static void get_elsewhere_is_404(void **state)
{
    struct call c = wrap_call();
    (void)state;

    c.method = "GET";
    c.target = "/" KEY;
    expect(call(&c), 404, 5, REASON_EKM_NO_ROUTE);
}

/* ---- authentication first ---- */

#define STRANGER(name, target, body)                                                                         \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        expect(post(target, NULL, body), 401, 16, REASON_AUTH_NO_TOKEN);                                     \
    }

STRANGER(a_stranger_learns_nothing_of_unknown_keys, "/v0/none:wrap", EMPTY)
STRANGER(a_stranger_learns_nothing_of_gone_keys, "/" DESTROYED ":wrap", EMPTY)
STRANGER(a_stranger_learns_nothing_of_disabled_keys, "/" DISABLED ":wrap", EMPTY)
STRANGER(a_stranger_learns_nothing_of_unknown_verbs, "/" KEY ":rewrap", EMPTY)
STRANGER(a_stranger_learns_nothing_of_missing_verbs, "/" KEY ":createKey", EMPTY)
STRANGER(a_stranger_learns_nothing_of_bad_bodies, "/" KEY ":wrap", "{not json")
STRANGER(a_stranger_learns_nothing_of_queries, "/" KEY ":wrap?a=b", EMPTY)

static void a_strangers_get_is_401(void **state)
{
    struct call c = wrap_call();
    (void)state;

    c.method = "GET";
    c.token = NULL;
    expect(call(&c), 401, 16, REASON_AUTH_NO_TOKEN);
}

/* ---- the audit record ---- */

static void a_wrap_is_audited_in_full(void **state)
{
    static const uint8_t id[KEY_ID_LEN] = {1};
    (void)state;

    assert_int_equal(post("/" KEY ":wrap", good(), WITH_REASON("6")), 200);
    assert_int_equal(audited.time_unix_us, NOW_S * 1000000 + 5);
    assert_memory_equal(audited.key_id, id, sizeof id);
    assert_int_equal(audited.version, 1);
    assert_int_equal(audited.status, 200);
    assert_int_equal(audited.verdict, REASON_EKM_WRAP_OK);
    assert_int_equal(audited.access_reason, 1u << 6);
    assert_int_equal(audited.op, AUDIT_OP_WRAP);
    assert_int_equal(audited.flags, AUDIT_FLAG_CALLER_PROVEN);
    assert_int_equal(audited.caller_len, strlen(CALLER));
    assert_memory_equal(audited.caller, CALLER, strlen(CALLER));
}

static void an_unwrap_is_audited_as_one(void **state)
{
    (void)state;
    assert_int_equal(wrap(KEY, good(), "aGVsbG8="), 200);
    assert_int_equal(post("/" KEY ":unwrap", good(), unwrap_body("")), 200);
    assert_int_equal(audited.op, AUDIT_OP_UNWRAP);
    assert_int_equal(audited.verdict, REASON_EKM_UNWRAP_OK);
    assert_int_equal(audited.version, 1);
}

static void a_denial_is_audited_with_key_and_caller(void **state)
{
    (void)state;
    assert_int_equal(wrap(THEIRS, good(), ""), 403);
    assert_int_equal(audited.key_id[0], 3);
    assert_int_equal(audited.caller_len, strlen(CALLER));
    assert_int_equal(audited.op, AUDIT_OP_WRAP);
    assert_int_equal(audited.version, 0);
}

static void a_failed_login_is_audited_with_what_it_wanted(void **state)
{
    (void)state;
    assert_int_equal(post("/" KEY ":unwrap", NULL, "{}"), 401);
    assert_int_equal(audited.op, AUDIT_OP_UNWRAP);
    assert_int_equal(audited.caller_len, 0);
    assert_int_equal(audited.key_id[0], 0);
}

static void a_long_caller_is_cut_and_marked(void **state)
{
    static const char email[] =
        "a-service-account-with-a-name-of-more-than-sixty-four-characters@project.iam.gserviceaccount.com";
    (void)state;

    assert_int_equal(wrap(KEY, good_of(email), ""), 403);
    assert_int_equal(audited.caller_len, AUDIT_CALLER_CAP);
    assert_memory_equal(audited.caller, email, AUDIT_CALLER_CAP);
    assert_int_equal(audited.flags, AUDIT_FLAG_CALLER_PROVEN | AUDIT_FLAG_CALLER_CUT);
}

/* ---- the connection ---- */

static void a_reply_keeps_the_connection(void **state)
{
    (void)state;
    assert_int_equal(wrap(KEY, good(), ""), 200);
    assert_false(reply_close);
    assert_null(strstr(reply_head, "Connection:"));
}

static void an_error_keeps_the_connection(void **state)
{
    (void)state;
    assert_int_equal(wrap(KEY, NULL, ""), 401);
    assert_false(reply_close);
}

static void a_client_that_asks_for_close_gets_it(void **state)
{
    struct call c = wrap_call();
    (void)state;

    c.extra_head = "Connection: close\r\n";
    assert_int_equal(call(&c), 200);
    assert_true(reply_close);
    assert_non_null(strstr(reply_head, "\r\nConnection: close\r\n"));
}

static void an_http_1_0_client_is_closed_by_default(void **state)
{
    struct call c = wrap_call();
    (void)state;

    c.version = "1.0";
    assert_int_equal(call(&c), 200);
    assert_true(reply_close);
}

static void an_http_1_0_client_that_asks_is_kept_and_told(void **state)
{
    struct call c = wrap_call();
    (void)state;

    c.version = "1.0";
    c.extra_head = "Connection: keep-alive\r\n";
    assert_int_equal(call(&c), 200);
    assert_false(reply_close);
    assert_non_null(strstr(reply_head, "\r\nConnection: keep-alive\r\n"));
}

static void an_http_1_0_client_is_kept_and_told_after_an_error_too(void **state)
{
    struct call c = wrap_call();
    (void)state;

    c.version = "1.0";
    c.token = NULL;
    c.extra_head = "Connection: keep-alive\r\n";
    assert_int_equal(call(&c), 401);
    assert_false(reply_close);
    assert_non_null(strstr(reply_head, "\r\nConnection: keep-alive\r\n"));
}

static void head_is_answered_and_closed(void **state)
{
    struct call c = wrap_call();
    (void)state;

    c.method = "HEAD";
    assert_int_equal(call(&c), 405);
    assert_true(reply_close);
}

static void a_reply_says_when_it_was_made(void **state)
{
    (void)state;
    assert_int_equal(wrap(KEY, good(), ""), 200);
    assert_non_null(strstr(reply_head, "\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\n"));
    rig_clock(NOW_S + 1);
    assert_int_equal(wrap(KEY, good(), ""), 200);
    assert_non_null(strstr(reply_head, "\r\nDate: Fri, 15 Jan 2027 08:00:01 GMT\r\n"));
}

/* ---- refusals before there is a request ---- */

static void a_refusal_of_framing_is_a_status_body_and_closes(void **state)
{
    (void)state;
    assert_int_equal(refuse(400, REASON_HTTP_NO_HOST), 400);
    expect_status_body(3);
    assert_true(reply_close);
    assert_non_null(strstr(reply_head, "HTTP/1.1 400 "));
    assert_int_equal(counted(REASON_HTTP_NO_HOST), 1);
    assert_int_equal(audited.verdict, REASON_HTTP_NO_HOST);
    assert_int_equal(audited.time_unix_us, NOW_S * 1000000 + 5);
    assert_int_equal(audited.caller_len, 0);
}

#define REFUSAL(name, status, code)                                                                          \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        char line[32];                                                                                       \
        (void)state;                                                                                         \
        assert_int_equal(refuse(status, REASON_HTTP_BODY_TOO_LARGE), status);                                \
        snprintf(line, sizeof line, "HTTP/1.1 %d ", status);                                                 \
        assert_memory_equal(reply_head, line, strlen(line));                                                 \
        expect_status_body(code);                                                                            \
    }

REFUSAL(a_refusal_408_is_unavailable, 408, 14)
REFUSAL(a_refusal_413_is_invalid_argument, 413, 3)
REFUSAL(a_refusal_417_is_invalid_argument, 417, 3)
REFUSAL(a_refusal_431_is_invalid_argument, 431, 3)
REFUSAL(a_refusal_501_is_unimplemented, 501, 12)
REFUSAL(a_refusal_503_is_unavailable, 503, 14)
REFUSAL(a_refusal_505_is_unimplemented, 505, 12)

/* refuse() reads each reply as JSON. */
static void every_reasons_text_fits_into_json(void **state)
{
    (void)state;
    for (int r = 0; r < REASON_COUNT; r++)
        assert_int_equal(refuse(400, (enum reason)r), 400);
}

#define CASE(f)     cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define UNLOADED(f) cmocka_unit_test_setup_teardown(f, rig_setup_unloaded, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNLOADED(before_the_first_snapshot_a_good_token_gets_503),
        UNLOADED(before_the_first_snapshot_no_token_gets_503),
        UNLOADED(before_the_first_snapshot_is_settled_it_is_503),
        CASE(a_path_without_a_verb_is_404),
        CASE(the_root_is_404),
        CASE(a_verb_without_a_path_is_404),
        CASE(an_empty_verb_is_404),
        CASE(an_unknown_verb_is_404),
        CASE(a_verb_in_other_case_is_404),
        CASE(a_verb_with_a_tail_is_404),
        CASE(a_part_of_a_verb_is_404),
        CASE(a_query_is_404),
        CASE(an_empty_query_is_404),
        CASE(a_query_before_the_verb_is_404),
        CASE(a_slash_after_the_verb_is_404),
        CASE(a_verb_in_an_earlier_segment_is_404),
        CASE(a_percent_encoded_colon_is_404),
        CASE(an_unknown_key_is_404),
        CASE(a_key_in_other_case_is_404),
        CASE(a_prefix_of_a_key_is_404),
        CASE(a_key_with_a_tail_is_404),
        CASE(a_key_with_a_trailing_slash_is_404),
        CASE(a_key_with_two_slashes_is_404),
        CASE(a_key_with_two_leading_slashes_is_404),
        CASE(dot_segments_are_not_resolved),
        CASE(a_single_dot_is_not_resolved),
        CASE(percent_encoding_is_not_decoded),
        CASE(two_verbs_name_another_key),
        CASE(the_longest_path_is_looked_up),
        CASE(a_longer_path_is_404),
        CASE(a_destroyed_key_is_404),
        CASE(a_doomed_key_is_404),
        CASE(a_gone_key_is_404_for_a_stranger_too),
        CASE(a_caller_not_on_the_list_gets_403),
        CASE(a_caller_not_on_a_mild_keys_list_gets_400),
        CASE(a_caller_on_one_list_is_not_on_another),
        CASE(a_denied_caller_learns_nothing_of_its_body),
        CASE(a_denied_caller_learns_nothing_of_the_keys_state),
        CASE(an_access_reason_not_allowed_gets_403_naming_it),
        CASE(an_access_reason_not_allowed_on_a_mild_key_gets_400),
        CASE(an_allowed_access_reason_by_name_is_served),
        CASE(an_allowed_access_reason_by_number_is_served),
        CASE(an_absent_reason_is_denied_where_one_is_demanded),
        CASE(an_empty_reason_context_is_reason_unspecified),
        CASE(an_unknown_reason_is_denied_by_default),
        CASE(an_unknown_reason_number_is_denied_by_default),
        CASE(an_unknown_reason_is_served_where_that_is_allowed),
        CASE(an_unwrap_asks_for_the_reason_too),
        CASE(a_health_check_is_judged_like_any_request),
        CASE(a_disabled_key_is_400_failed_precondition),
        CASE(a_key_not_yet_durable_is_400_failed_precondition),
        CASE(a_disabled_key_answers_before_its_reasons_do),
        CASE(a_disabled_key_answers_before_the_body_is_read),
        CASE(a_key_disabled_by_a_delta_stops_a_kept_token),
        CASE(a_key_without_a_primary_version_does_not_wrap),
        CASE(a_blob_of_a_disabled_version_is_400_failed_precondition),
        CASE(a_blob_of_a_doomed_version_is_404),
        CASE(get_public_key_is_501),
        CASE(asymmetric_sign_is_501),
        CASE(create_key_is_501),
        CASE(destroy_key_is_501),
        CASE(check_crypto_space_permissions_is_501),
        CASE(confidential_wrap_is_501),
        CASE(confidential_unwrap_is_501),
        CASE(confidential_wrap_with_a_hyphen_is_501),
        CASE(confidential_unwrap_with_a_hyphen_is_501),
        CASE(get_on_a_verb_is_405_and_says_post),
        CASE(put_on_a_verb_is_405),
        CASE(get_elsewhere_is_404),
        CASE(a_stranger_learns_nothing_of_unknown_keys),
        CASE(a_stranger_learns_nothing_of_gone_keys),
        CASE(a_stranger_learns_nothing_of_disabled_keys),
        CASE(a_stranger_learns_nothing_of_unknown_verbs),
        CASE(a_stranger_learns_nothing_of_missing_verbs),
        CASE(a_stranger_learns_nothing_of_bad_bodies),
        CASE(a_stranger_learns_nothing_of_queries),
        CASE(a_strangers_get_is_401),
        CASE(a_wrap_is_audited_in_full),
        CASE(an_unwrap_is_audited_as_one),
        CASE(a_denial_is_audited_with_key_and_caller),
        CASE(a_failed_login_is_audited_with_what_it_wanted),
        CASE(a_long_caller_is_cut_and_marked),
        CASE(a_reply_keeps_the_connection),
        CASE(an_error_keeps_the_connection),
        CASE(a_client_that_asks_for_close_gets_it),
        CASE(an_http_1_0_client_is_closed_by_default),
        CASE(an_http_1_0_client_that_asks_is_kept_and_told),
        CASE(an_http_1_0_client_is_kept_and_told_after_an_error_too),
        CASE(head_is_answered_and_closed),
        CASE(a_reply_says_when_it_was_made),
        CASE(a_refusal_of_framing_is_a_status_body_and_closes),
        CASE(a_refusal_408_is_unavailable),
        CASE(a_refusal_413_is_invalid_argument),
        CASE(a_refusal_417_is_invalid_argument),
        CASE(a_refusal_431_is_invalid_argument),
        CASE(a_refusal_501_is_unimplemented),
        CASE(a_refusal_503_is_unavailable),
        CASE(a_refusal_505_is_unimplemented),
        CASE(every_reasons_text_fits_into_json),
    };
    return RUN_TESTS("ekm_statuses", tests);
}
