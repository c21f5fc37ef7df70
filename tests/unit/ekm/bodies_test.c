#include "tests/unit/ekm/rig.h"

#include "proto/base64.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

#define WRAP   "/" KEY ":wrap"
#define UNWRAP "/" KEY ":unwrap"

static uint8_t decoded[HTTP_BODY_MAX];

static void expect_invalid(unsigned status, const char *field)
{
    char text[128];

    assert_int_equal(status, 400);
    expect_status_body(3);
    snprintf(text, sizeof text, "\"field\":\"%s\"", field);
    assert_true(reply_has(text));
}

/* ---- there and back ---- */

static void expect_round_trip(size_t len)
{
    static uint8_t plaintext[256];
    struct span got;

    for (size_t i = 0; i < len; i++)
        plaintext[i] = (uint8_t)(i * 7 + len);
    assert_int_equal(wrap(KEY, good(), b64(plaintext, len)), 200);
    assert_int_equal(reply_bytes("wrappedBlob", decoded).len, len + BLOB_OVERHEAD);
    assert_int_equal(post(UNWRAP, good(), unwrap_body("")), 200);
    if (len == 0) {
        assert_int_equal(reply_body.len, strlen("{\"plaintext\":\"\"}"));
        return;
    }
    got = reply_bytes("plaintext", decoded);
    assert_int_equal(got.len, len);
    assert_memory_equal(got.ptr, plaintext, len);
}

/* Raw bytes become base64 in their own place: every remainder of every group size. */
static void what_was_wrapped_unwraps_at_every_length_up_to_100(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 100; len++)
        expect_round_trip(len);
}

static void a_blob_begins_with_its_format_and_suite(void **state)
{
    (void)state;
    assert_int_equal(wrap(KEY, good(), "aGVsbG8="), 200);
    struct span blob = reply_bytes("wrappedBlob", decoded);
    static const uint8_t head[] = {1, 1, 0, 0, 1, 9, 9, 0, 0, 0, 0, 0};
    assert_memory_equal(blob.ptr, head, sizeof head);
}

static void two_wraps_of_one_plaintext_differ(void **state)
{
    uint8_t first[256];
    (void)state;

    assert_int_equal(wrap(KEY, good(), "aGVsbG8="), 200);
    memcpy(first, reply_body.ptr, reply_body.len);
    assert_int_equal(wrap(KEY, good(), "aGVsbG8="), 200);
    assert_memory_not_equal(first, reply_body.ptr, reply_body.len);
}

static void additional_data_are_bound(void **state)
{
    (void)state;
    assert_int_equal(
        post(WRAP, good(), "{\"plaintext\":\"aGVsbG8=\",\"additionalAuthenticatedData\":\"YWFk\"}"), 200);
    const char *body = unwrap_body(",\"additionalAuthenticatedData\":\"YWFk\"");
    assert_int_equal(post(UNWRAP, good(), body), 200);
    assert_true(reply_has("{\"plaintext\":\"aGVsbG8=\"}"));
}

static void empty_and_absent_additional_data_are_equal(void **state)
{
    (void)state;
    assert_int_equal(post(WRAP, good(), "{\"plaintext\":\"aGVsbG8=\",\"additionalAuthenticatedData\":\"\"}"),
                     200);
    assert_int_equal(post(UNWRAP, good(), unwrap_body("")), 200);
}

static void snake_case_names_and_null_are_understood(void **state)
{
    (void)state;
    assert_int_equal(
        post(WRAP, good(),
             "{\"plaintext\":\"aGVsbG8=\",\"additional_authenticated_data\":null,\"additional_context\":{"
             "\"relative_resource_name\":\"projects/p\",\"is_key_health_check\":null}}"),
        200);
}

static void unknown_names_are_passed_over(void **state)
{
    (void)state;
    assert_int_equal(post(WRAP, good(),
                          "{\"plaintext\":\"aGVsbG8=\",\"new\":[1,{\"a\":null}],\"additionalContext\":{"
                          "\"RelativeResourceName\":\"x\"}}"),
                     200);
}

/* ---- malformed: 400 with the field ---- */

#define INVALID(name, target, body, field)                                                                   \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        expect_invalid(post(target, good(), body), field);                                                   \
        assert_int_equal(audited.verdict, REASON_EKM_BAD_BODY);                                              \
    }

INVALID(an_empty_body_is_refused, WRAP, "", "")
INVALID(a_body_that_is_no_json_is_refused, WRAP, "{not json", "")
INVALID(a_body_that_is_a_list_is_refused, WRAP, "[]", "")
INVALID(a_body_with_a_tail_is_refused, WRAP, "{\"plaintext\":\"\"}x", "")
INVALID(a_missing_plaintext_is_refused, WRAP, "{}", "plaintext")
INVALID(a_null_plaintext_is_refused, WRAP, "{\"plaintext\":null}", "plaintext")
INVALID(a_plaintext_that_is_a_number_is_refused, WRAP, "{\"plaintext\":1}", "plaintext")
INVALID(a_plaintext_that_is_no_base64_is_refused, WRAP, "{\"plaintext\":\"a$b=\"}", "plaintext")
INVALID(additional_data_that_are_no_base64_are_refused, WRAP,
        "{\"plaintext\":\"\",\"additionalAuthenticatedData\":\"*\"}", "additionalAuthenticatedData")
INVALID(a_context_that_is_a_string_is_refused, WRAP, "{\"plaintext\":\"\",\"additionalContext\":\"x\"}",
        "additionalContext")
INVALID(a_missing_blob_is_refused, UNWRAP, "{}", "wrappedBlob")
INVALID(a_blob_that_is_no_base64_is_refused, UNWRAP, "{\"wrappedBlob\":\"a$b=\"}", "wrappedBlob")

static void a_duplicate_key_is_refused(void **state)
{
    (void)state;
    assert_int_equal(post(WRAP, good(), "{\"plaintext\":\"\",\"plaintext\":\"\"}"), 400);
    expect_status_body(3);
}

static void both_spellings_of_a_field_are_refused(void **state)
{
    (void)state;
    assert_int_equal(
        post(WRAP, good(), "{\"plaintext\":\"\",\"additionalContext\":{},\"additional_context\":{}}"), 400);
    expect_status_body(3);
}

static void no_byte_of_the_body_is_in_the_error(void **state)
{
    (void)state;
    assert_int_equal(post(WRAP, good(), "{\"canary\":\"canary\",\"plaintext\":\"canary!\"}"), 400);
    assert_false(reply_has("canary"));
}

/* ---- content type ---- */

static unsigned typed(const char *type)
{
    static const char body[] = "{\"plaintext\":\"\"}";
    struct call c = {.method = "POST",
                     .target = WRAP,
                     .token = good(),
                     .type = type,
                     .body = body,
                     .body_len = sizeof body - 1};

    return call(&c);
}

#define TYPE_TAKEN(name, type)                                                                               \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_int_equal(typed(type), 200);                                                                  \
    }
#define TYPE_REFUSED(name, type)                                                                             \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_int_equal(typed(type), 400);                                                                  \
        assert_int_equal(audited.verdict, REASON_EKM_BAD_CONTENT_TYPE);                                      \
        expect_status_body(3);                                                                               \
    }

TYPE_TAKEN(json_with_a_charset_is_taken, "application/json; charset=utf-8")
TYPE_TAKEN(json_with_a_quoted_charset_in_capitals_is_taken, "application/json;charset=\"UTF-8\"")
TYPE_TAKEN(json_in_capitals_is_taken, "Application/JSON")
TYPE_REFUSED(no_content_type_is_refused, NULL)
TYPE_REFUSED(a_form_is_refused, "application/x-www-form-urlencoded")
TYPE_REFUSED(plain_text_is_refused, "text/plain")
TYPE_REFUSED(a_type_that_begins_like_json_is_refused, "application/json5")
TYPE_REFUSED(another_charset_is_refused, "application/json; charset=utf-16")

/* ---- limits ---- */

/* {"<name>":"<base64 of len bytes>"<more>} */
static char *big_body(const char *name, size_t len, const char *more, size_t *body_len)
{
    uint8_t *raw = calloc(1, len + 1);
    char *body = malloc(BASE64_ENCODED_LEN(len) + strlen(name) + strlen(more) + 16);
    int n = sprintf(body, "{\"%s\":\"", name);

    n += (int)base64_encode(span_of(raw, len), (uint8_t *)body + n);
    n += sprintf(body + n, "\"%s}", more);
    *body_len = (size_t)n;
    free(raw);
    return body;
}

static unsigned post_big(const char *target, const char *name, size_t len, const char *more)
{
    struct call c = {.method = "POST", .target = target, .token = good(), .type = "application/json"};
    char *body = big_body(name, len, more, &c.body_len);
    unsigned status;

    c.body = body;
    status = call(&c);
    free(body);
    return status;
}

static void the_largest_plaintext_is_wrapped(void **state)
{
    (void)state;
    assert_int_equal(post_big(WRAP, "plaintext", EKM_PLAINTEXT_MAX, ""), 200);
    assert_int_equal(reply_bytes("wrappedBlob", decoded).len, EKM_PLAINTEXT_MAX + BLOB_OVERHEAD);
}

static void the_largest_plaintext_comes_back(void **state)
{
    static uint8_t zeros[EKM_PLAINTEXT_MAX];
    (void)state;

    assert_int_equal(post_big(WRAP, "plaintext", EKM_PLAINTEXT_MAX, ""), 200);
    assert_int_equal(post(UNWRAP, good(), unwrap_body("")), 200);
    struct span got = reply_bytes("plaintext", decoded);
    assert_int_equal(got.len, sizeof zeros);
    assert_memory_equal(got.ptr, zeros, sizeof zeros);
}

static void a_larger_plaintext_is_refused(void **state)
{
    (void)state;
    expect_invalid(post_big(WRAP, "plaintext", EKM_PLAINTEXT_MAX + 1, ""), "plaintext");
}

static void the_largest_additional_data_are_bound(void **state)
{
    (void)state;
    assert_int_equal(post_big(WRAP, "additionalAuthenticatedData", EKM_AAD_MAX, ",\"plaintext\":\"\""), 200);
}

static void larger_additional_data_are_refused(void **state)
{
    (void)state;
    expect_invalid(post_big(WRAP, "additionalAuthenticatedData", EKM_AAD_MAX + 1, ",\"plaintext\":\"\""),
                   "additionalAuthenticatedData");
}

static void the_largest_blob_is_looked_at(void **state)
{
    (void)state;
    assert_int_equal(post_big(UNWRAP, "wrappedBlob", EKM_BLOB_MAX, ""), 400);
    assert_int_equal(audited.verdict, REASON_EKM_BAD_BLOB);
}

static void a_larger_blob_is_refused(void **state)
{
    (void)state;
    expect_invalid(post_big(UNWRAP, "wrappedBlob", EKM_BLOB_MAX + 1, ""), "wrappedBlob");
}

static char *resource_body(size_t len)
{
    char *body = malloc(len + 128);
    int n = sprintf(body, "{\"plaintext\":\"\",\"additionalContext\":{\"relativeResourceName\":\"");

    memset(body + n, 'r', len);
    strcpy(body + (size_t)n + len, "\"}}");
    return body;
}

static void the_longest_resource_name_is_taken(void **state)
{
    char *body = resource_body(EKM_RESOURCE_MAX);
    (void)state;

    assert_int_equal(post(WRAP, good(), body), 200);
    free(body);
}

static void a_longer_resource_name_is_refused(void **state)
{
    char *body = resource_body(EKM_RESOURCE_MAX + 1);
    (void)state;

    expect_invalid(post(WRAP, good(), body), "additionalContext.relativeResourceName");
    free(body);
}

/* ---- the body's own key path ---- */

#define PATH_TAKEN(name, members)                                                                            \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_int_equal(post(WRAP, good(), "{\"plaintext\":\"\"," members "}"), 200);                       \
    }
#define PATH_REFUSED(name, members)                                                                          \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        expect_invalid(post(WRAP, good(), "{\"plaintext\":\"\"," members "}"), "keyPath");                   \
        assert_int_equal(audited.verdict, REASON_EKM_OTHER_KEY_PATH);                                        \
    }

PATH_TAKEN(the_urls_key_path_may_be_repeated, "\"keyPath\":\"" KEY "\"")
PATH_TAKEN(the_key_path_may_lack_v0, "\"keyPath\":\"demo/key\"")
PATH_TAKEN(an_empty_key_path_is_absent, "\"keyPath\":\"\",\"keyUriPrefix\":\"\"")
PATH_TAKEN(a_prefix_and_a_path_may_spell_the_keys_uri,
           "\"keyUriPrefix\":\"https://" HOST "/v0/\",\"keyPath\":\"demo/key\"")
PATH_TAKEN(a_prefix_may_be_the_path_alone, "\"keyUriPrefix\":\"/v0/\",\"keyPath\":\"demo/key\"")
PATH_REFUSED(another_key_path_is_refused, "\"keyPath\":\"" KEY_2 "\"")
PATH_REFUSED(a_key_path_with_a_slash_is_another, "\"keyPath\":\"/" KEY "\"")
PATH_REFUSED(a_tail_of_the_key_path_is_another, "\"keyPath\":\"key\"")
PATH_REFUSED(a_prefix_of_another_host_is_refused,
             "\"keyUriPrefix\":\"https://ekm.other.test/v0/\",\"keyPath\":\"demo/key\"")
PATH_REFUSED(a_prefix_of_a_longer_host_is_refused,
             "\"keyUriPrefix\":\"https://" HOST ".evil.test/v0/\",\"keyPath\":\"demo/key\"")
PATH_REFUSED(a_prefix_without_its_path_is_refused, "\"keyUriPrefix\":\"https://" HOST "/v0/\"")
PATH_REFUSED(a_prefix_whose_host_runs_into_the_path_is_refused,
             "\"keyUriPrefix\":\"https://" HOST "v0/\",\"keyPath\":\"demo/key\"")
PATH_REFUSED(a_host_that_runs_into_the_key_path_is_refused,
             "\"keyUriPrefix\":\"https://" HOST "\",\"keyPath\":\"" KEY "\"")
PATH_TAKEN(a_host_and_a_rooted_key_path_spell_the_keys_uri,
           "\"keyUriPrefix\":\"https://" HOST "\",\"keyPath\":\"/" KEY "\"")
PATH_REFUSED(a_host_alone_is_refused, "\"keyUriPrefix\":\"https://" HOST "\"")

/* ---- one answer for every blob that does not open ---- */

static uint8_t first_failure[1024];
static size_t first_failure_len;

static void expect_closed(unsigned status)
{
    assert_int_equal(status, 400);
    assert_int_equal(audited.verdict, REASON_EKM_BAD_BLOB);
    expect_status_body(3);
    if (first_failure_len == 0) {
        first_failure_len = reply_body.len;
        memcpy(first_failure, reply_body.ptr, reply_body.len);
    }
    assert_int_equal(reply_body.len, first_failure_len);
    assert_memory_equal(reply_body.ptr, first_failure, first_failure_len);
    assert_int_equal(counted(REASON_EKM_UNWRAP_OK), 0);
}

/* A fresh blob of "hello" under KEY with additional data "aad". */
static size_t fresh_blob(uint8_t *blob)
{
    assert_int_equal(
        post(WRAP, good(), "{\"plaintext\":\"aGVsbG8=\",\"additionalAuthenticatedData\":\"YWFk\"}"), 200);
    return reply_bytes("wrappedBlob", blob).len;
}

static unsigned unwrap(const char *key, const uint8_t *blob, size_t len, const char *aad_b64)
{
    char target[256], body[1024];

    snprintf(target, sizeof target, "/%s:unwrap", key);
    snprintf(body, sizeof body, "{\"wrappedBlob\":\"%s\",\"additionalAuthenticatedData\":\"%s\"}",
             b64(blob, len), aad_b64);
    return post(target, good(), body);
}

#define CLOSED(name, change)                                                                                 \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        uint8_t blob[256];                                                                                   \
        size_t len = fresh_blob(blob);                                                                       \
        const char *key = KEY, *aad = "YWFk";                                                                \
        (void)state;                                                                                         \
        change;                                                                                              \
        expect_closed(unwrap(key, blob, len, aad));                                                          \
    }

CLOSED(other_additional_data_do_not_open, aad = "YWFl")
CLOSED(missing_additional_data_do_not_open, aad = "")
CLOSED(a_blob_does_not_open_under_another_key, key = KEY_2)
CLOSED(a_blob_with_another_keys_tag_does_not_open_here, blob[4] = 2)
CLOSED(a_blob_with_another_keys_tag_does_not_open_there, {
    blob[4] = 2;
    key = KEY_2;
})
CLOSED(another_format_does_not_open, blob[0] = 2)
CLOSED(suite_0_does_not_open, blob[1] = 0)
CLOSED(an_unknown_suite_does_not_open, blob[1] = 2)
CLOSED(a_set_reserved_byte_does_not_open, blob[2] = 1)
CLOSED(the_other_set_reserved_byte_does_not_open, blob[3] = 1)
CLOSED(an_unknown_tag_does_not_open, blob[11] ^= 1)
CLOSED(a_flipped_nonce_does_not_open, blob[12] ^= 0x80)
CLOSED(a_flipped_commitment_does_not_open, blob[36] ^= 1)
CLOSED(a_flipped_last_byte_of_the_commitment_does_not_open, blob[67] ^= 1)
CLOSED(a_flipped_ciphertext_does_not_open, blob[68] ^= 1)
CLOSED(a_flipped_gcm_tag_does_not_open, blob[len - 1] ^= 1)
CLOSED(a_blob_one_byte_short_does_not_open, len--)
CLOSED(a_blob_one_byte_long_does_not_open, blob[len++] = 0)
CLOSED(a_blob_without_its_gcm_tag_does_not_open, len -= 16)
CLOSED(a_blob_of_83_bytes_does_not_open, len = 83)
CLOSED(a_blob_of_84_bytes_does_not_open, len = 84)
CLOSED(a_blob_of_one_byte_does_not_open, len = 1)
CLOSED(an_empty_blob_does_not_open, len = 0)

/* ---- what a request costs ---- */

static void a_thousand_wraps_allocate_nothing_of_ours(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        assert_int_equal(wrap(KEY, good(), "aGVsbG8="), 200);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(wrap(KEY, good(), "aGVsbG8="), 200);
        assert_int_equal(allocations, 0);
    }
}

static void an_unwrap_allocates_nothing_of_ours(void **state)
{
    (void)state;
    assert_int_equal(wrap(KEY, good(), "aGVsbG8="), 200);
    assert_int_equal(post(UNWRAP, good(), unwrap_body("")), 200);
    assert_int_equal(allocations, 0);
}

static void a_refusal_allocates_nothing_of_ours(void **state)
{
    (void)state;
    assert_int_equal(wrap(THEIRS, good(), ""), 403);
    assert_int_equal(allocations, 0);
    assert_int_equal(wrap(KEY, NULL, ""), 401);
    assert_int_equal(allocations, 0);
}

static void a_first_sight_of_a_token_allocates_nothing_of_ours(void **state)
{
    (void)state;
    assert_int_equal(wrap(KEY, good(), ""), 200);
    assert_int_equal(counted(REASON_AUTH_TOKEN_VERIFIED), 1);
    assert_int_equal(wrap(KEY, good_of("someone@else.test"), ""), 403);
    assert_int_equal(counted(REASON_AUTH_TOKEN_VERIFIED), 2);
    assert_int_equal(allocations, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_was_wrapped_unwraps_at_every_length_up_to_100),
        CASE(a_blob_begins_with_its_format_and_suite),
        CASE(two_wraps_of_one_plaintext_differ),
        CASE(additional_data_are_bound),
        CASE(empty_and_absent_additional_data_are_equal),
        CASE(snake_case_names_and_null_are_understood),
        CASE(unknown_names_are_passed_over),
        CASE(an_empty_body_is_refused),
        CASE(a_body_that_is_no_json_is_refused),
        CASE(a_body_that_is_a_list_is_refused),
        CASE(a_body_with_a_tail_is_refused),
        CASE(a_missing_plaintext_is_refused),
        CASE(a_null_plaintext_is_refused),
        CASE(a_plaintext_that_is_a_number_is_refused),
        CASE(a_plaintext_that_is_no_base64_is_refused),
        CASE(additional_data_that_are_no_base64_are_refused),
        CASE(a_context_that_is_a_string_is_refused),
        CASE(a_missing_blob_is_refused),
        CASE(a_blob_that_is_no_base64_is_refused),
        CASE(a_duplicate_key_is_refused),
        CASE(both_spellings_of_a_field_are_refused),
        CASE(no_byte_of_the_body_is_in_the_error),
        CASE(json_with_a_charset_is_taken),
        CASE(json_with_a_quoted_charset_in_capitals_is_taken),
        CASE(json_in_capitals_is_taken),
        CASE(no_content_type_is_refused),
        CASE(a_form_is_refused),
        CASE(plain_text_is_refused),
        CASE(a_type_that_begins_like_json_is_refused),
        CASE(another_charset_is_refused),
        CASE(the_largest_plaintext_is_wrapped),
        CASE(the_largest_plaintext_comes_back),
        CASE(a_larger_plaintext_is_refused),
        CASE(the_largest_additional_data_are_bound),
        CASE(larger_additional_data_are_refused),
        CASE(the_largest_blob_is_looked_at),
        CASE(a_larger_blob_is_refused),
        CASE(the_longest_resource_name_is_taken),
        CASE(a_longer_resource_name_is_refused),
        CASE(the_urls_key_path_may_be_repeated),
        CASE(the_key_path_may_lack_v0),
        CASE(an_empty_key_path_is_absent),
        CASE(a_prefix_and_a_path_may_spell_the_keys_uri),
        CASE(a_prefix_may_be_the_path_alone),
        CASE(another_key_path_is_refused),
        CASE(a_key_path_with_a_slash_is_another),
        CASE(a_tail_of_the_key_path_is_another),
        CASE(a_prefix_of_another_host_is_refused),
        CASE(a_prefix_of_a_longer_host_is_refused),
        CASE(a_prefix_without_its_path_is_refused),
        CASE(a_prefix_whose_host_runs_into_the_path_is_refused),
        CASE(a_host_that_runs_into_the_key_path_is_refused),
        CASE(a_host_and_a_rooted_key_path_spell_the_keys_uri),
        CASE(a_host_alone_is_refused),
        CASE(other_additional_data_do_not_open),
        CASE(missing_additional_data_do_not_open),
        CASE(a_blob_does_not_open_under_another_key),
        CASE(a_blob_with_another_keys_tag_does_not_open_here),
        CASE(a_blob_with_another_keys_tag_does_not_open_there),
        CASE(another_format_does_not_open),
        CASE(suite_0_does_not_open),
        CASE(an_unknown_suite_does_not_open),
        CASE(a_set_reserved_byte_does_not_open),
        CASE(the_other_set_reserved_byte_does_not_open),
        CASE(an_unknown_tag_does_not_open),
        CASE(a_flipped_nonce_does_not_open),
        CASE(a_flipped_commitment_does_not_open),
        CASE(a_flipped_last_byte_of_the_commitment_does_not_open),
        CASE(a_flipped_ciphertext_does_not_open),
        CASE(a_flipped_gcm_tag_does_not_open),
        CASE(a_blob_one_byte_short_does_not_open),
        CASE(a_blob_one_byte_long_does_not_open),
        CASE(a_blob_without_its_gcm_tag_does_not_open),
        CASE(a_blob_of_83_bytes_does_not_open),
        CASE(a_blob_of_84_bytes_does_not_open),
        CASE(a_blob_of_one_byte_does_not_open),
        CASE(an_empty_blob_does_not_open),
        CASE(a_thousand_wraps_allocate_nothing_of_ours),
        CASE(an_unwrap_allocates_nothing_of_ours),
        CASE(a_refusal_allocates_nothing_of_ours),
        CASE(a_first_sight_of_a_token_allocates_nothing_of_ours),
    };
    return RUN_TESTS("ekm_bodies", tests);
}
