#include "base/secret_priv.h"
#include "proto/base64.h"
#include "proto/protojson.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

static uint8_t body[HTTP_BODY_MAX];
static struct wrap_request wrap;
static struct unwrap_request unwrap;
static struct field_violation bad;

static bool bind_wrap(const char *text)
{
    size_t len = strlen(text);

    memcpy(body, text, len);
    bad = (struct field_violation){"", ""};
    return protojson_wrap_request(body, len, &wrap, &bad);
}

static bool bind_unwrap(const char *text)
{
    size_t len = strlen(text);

    memcpy(body, text, len);
    bad = (struct field_violation){"", ""};
    return protojson_unwrap_request(body, len, &unwrap, &bad);
}

static bool plaintext_is(const char *s)
{
    return span_is(secret_expose(wrap.plaintext), s);
}

#define PT     "{\"plaintext\":\"Zg==\","
#define CTX    PT "\"additionalContext\":"
#define ARC    CTX "{\"accessReasonContext\":"
#define BIT(n) (1u << (n))

/* name, wrap request, what must hold then */
#define TAKEN(X)                                                                                             \
    X(plaintext_is_decoded, "{\"plaintext\":\"Zm9vYmFy\"}", plaintext_is("foobar"))                          \
    X(plaintext_may_be_url_safe, "{\"plaintext\":\"-_-_\"}", plaintext_is("\xfb\xff\xbf"))                   \
    X(plaintext_may_lack_padding, "{\"plaintext\":\"Zg\"}", plaintext_is("f"))                               \
    X(plaintext_may_be_empty_when_given, "{\"plaintext\":\"\"}", wrap.plaintext.len == 0)                    \
    X(plaintext_may_hold_escapes, "{\"plaintext\":\"\\u005am8\\u003D\"}", plaintext_is("fo"))                \
    X(escaped_slashes_of_base64_are_read, "{\"plaintext\":\"++\\/\\/\"}", plaintext_is("\xfb\xef\xff"))      \
    X(name_of_a_field_may_hold_escapes, "{\"pl\\u0061intext\":\"Zg==\"}", plaintext_is("f"))                 \
    X(absent_aad_is_empty, "{\"plaintext\":\"Zg==\"}", wrap.aad.len == 0)                                    \
    X(aad_is_decoded, PT "\"additionalAuthenticatedData\":\"Zm9v\"}", span_is(wrap.aad, "foo"))              \
    X(aad_in_snake_case_is_decoded, PT "\"additional_authenticated_data\":\"Zm9v\"}",                        \
      span_is(wrap.aad, "foo"))                                                                              \
    X(null_aad_is_empty, PT "\"additionalAuthenticatedData\":null}", wrap.aad.len == 0)                      \
    X(unknown_names_are_skipped, PT "\"x\":{\"plaintext\":[1,{\"a\":2}]},\"y\":\"z\"}", plaintext_is("f"))   \
    X(names_in_another_case_are_unknown, PT "\"PlainText\":\"Zm9v\",\"KEYPATH\":1}",                         \
      plaintext_is("f") && wrap.key_path.len == 0)                                                           \
    X(capital_resource_name_is_unknown, CTX "{\"RelativeResourceName\":\"a\"}}",                             \
      wrap.context.relative_resource_name.len == 0)                                                          \
    X(order_of_fields_is_free, "{\"keyPath\":\"k\",\"plaintext\":\"Zg==\"}",                                 \
      plaintext_is("f") && span_is(wrap.key_path, "k"))                                                      \
    X(white_space_is_let_pass, " { \"plaintext\" : \"Zg==\" } \n", plaintext_is("f"))                        \
    X(key_path_is_bound, PT "\"keyPath\":\"v0/demo/key\"}", span_is(wrap.key_path, "v0/demo/key"))           \
    X(key_path_in_snake_case_is_bound, PT "\"key_path\":\"v0/k\"}", span_is(wrap.key_path, "v0/k"))          \
    X(key_uri_prefix_is_bound, PT "\"keyUriPrefix\":\"https:\\/\\/a\\/\"}",                                  \
      span_is(wrap.key_uri_prefix, "https://a/"))                                                            \
    X(key_uri_prefix_in_snake_case_is_bound, PT "\"key_uri_prefix\":\"p\"}",                                 \
      span_is(wrap.key_uri_prefix, "p"))                                                                     \
    X(resource_name_is_bound, CTX "{\"relativeResourceName\":\"projects/p\"}}",                              \
      span_is(wrap.context.relative_resource_name, "projects/p"))                                            \
    X(resource_name_in_snake_case_is_bound, CTX "{\"relative_resource_name\":\"projects/p\"}}",              \
      span_is(wrap.context.relative_resource_name, "projects/p"))                                            \
    X(escaped_resource_name_is_resolved, CTX "{\"relativeResourceName\":\"\\u00e9\\/\"}}",                   \
      span_is(wrap.context.relative_resource_name, "\xc3\xa9/"))                                             \
    X(full_resource_name_is_bound, CTX "{\"fullResourceName\":\"//x\"}}",                                    \
      span_is(wrap.context.full_resource_name, "//x"))                                                       \
    X(full_resource_name_in_snake_case_is_bound, CTX "{\"full_resource_name\":\"//x\"}}",                    \
      span_is(wrap.context.full_resource_name, "//x"))                                                       \
    X(context_in_snake_case_is_bound, PT "\"additional_context\":{\"fullResourceName\":\"a\"}}",             \
      span_is(wrap.context.full_resource_name, "a"))                                                         \
    X(health_check_is_false_when_absent, CTX "{}}", !wrap.context.is_key_health_check)                       \
    X(health_check_is_bound, CTX "{\"isKeyHealthCheck\":true}}", wrap.context.is_key_health_check)           \
    X(health_check_in_snake_case_is_bound, CTX "{\"is_key_health_check\":true}}",                            \
      wrap.context.is_key_health_check)                                                                      \
    X(null_health_check_is_false, CTX "{\"is_key_health_check\":null}}", !wrap.context.is_key_health_check)  \
    X(null_context_is_absent, CTX "null}", wrap.context.reason == ACCESS_REASON_ABSENT_BIT)                  \
    X(no_context_is_an_absent_reason, "{\"plaintext\":\"Zg==\"}",                                            \
      wrap.context.reason == ACCESS_REASON_ABSENT_BIT)                                                       \
    X(context_without_reason_context_is_an_absent_reason, CTX "{}}",                                         \
      wrap.context.reason == ACCESS_REASON_ABSENT_BIT)                                                       \
    X(null_reason_context_is_an_absent_reason, ARC "null}}",                                                 \
      wrap.context.reason == ACCESS_REASON_ABSENT_BIT)                                                       \
    X(reason_context_without_reason_is_reason_0, ARC "{}}}", wrap.context.reason == BIT(0))                  \
    X(null_reason_is_reason_0, ARC "{\"reason\":null}}}", wrap.context.reason == BIT(0))                     \
    X(reason_by_name_is_its_bit, ARC "{\"reason\":\"CUSTOMER_INITIATED_ACCESS\"}}}",                         \
      wrap.context.reason == BIT(5))                                                                         \
    X(reason_by_its_first_name, ARC "{\"reason\":\"REASON_UNSPECIFIED\"}}}", wrap.context.reason == BIT(0))  \
    X(reason_by_its_last_name, ARC "{\"reason\":\"CUSTOMER_AUTHORIZED_WORKFLOW_SERVICING\"}}}",              \
      wrap.context.reason == BIT(11))                                                                        \
    X(reason_by_escaped_name, ARC "{\"reason\":\"GOOGLE\\u005fINITIATED_SERVICE\"}}}",                       \
      wrap.context.reason == BIT(2))                                                                         \
    X(reason_by_number_0, ARC "{\"reason\":0}}}", wrap.context.reason == BIT(0))                             \
    X(reason_by_number_is_its_bit, ARC "{\"reason\":6}}}", wrap.context.reason == BIT(6))                    \
    X(reason_by_number_with_zero_fraction, ARC "{\"reason\":6.0}}}", wrap.context.reason == BIT(6))          \
    X(reason_by_last_number, ARC "{\"reason\":11}}}", wrap.context.reason == BIT(11))                        \
    X(reason_above_the_last_is_unknown, ARC "{\"reason\":12}}}",                                             \
      wrap.context.reason == ACCESS_REASON_UNKNOWN_BIT)                                                      \
    X(reason_30_is_unknown_and_not_absent, ARC "{\"reason\":30}}}",                                          \
      wrap.context.reason == ACCESS_REASON_UNKNOWN_BIT)                                                      \
    X(negative_reason_is_unknown, ARC "{\"reason\":-1}}}", wrap.context.reason == ACCESS_REASON_UNKNOWN_BIT) \
    X(unknown_reason_name_is_unknown, ARC "{\"reason\":\"BECAUSE\"}}}",                                      \
      wrap.context.reason == ACCESS_REASON_UNKNOWN_BIT)                                                      \
    X(reason_name_in_lower_case_is_unknown, ARC "{\"reason\":\"customer_initiated_access\"}}}",              \
      wrap.context.reason == ACCESS_REASON_UNKNOWN_BIT)                                                      \
    X(reason_name_cut_short_is_unknown, ARC "{\"reason\":\"CUSTOMER_INITIATED_ACCES\"}}}",                   \
      wrap.context.reason == ACCESS_REASON_UNKNOWN_BIT)                                                      \
    X(empty_reason_name_is_unknown, ARC "{\"reason\":\"\"}}}",                                               \
      wrap.context.reason == ACCESS_REASON_UNKNOWN_BIT)                                                      \
    X(number_as_text_is_an_unknown_name, ARC "{\"reason\":\"5\"}}}",                                         \
      wrap.context.reason == ACCESS_REASON_UNKNOWN_BIT)                                                      \
    X(reason_context_in_snake_case_is_bound, CTX "{\"access_reason_context\":{\"reason\":5}}}",              \
      wrap.context.reason == BIT(5))                                                                         \
    X(reason_at_the_top_is_unknown_there, PT "\"accessReasonContext\":{\"reason\":5}}",                      \
      wrap.context.reason == ACCESS_REASON_ABSENT_BIT)                                                       \
    X(reason_directly_in_the_context_is_unknown_there, CTX "{\"reason\":5}}",                                \
      wrap.context.reason == ACCESS_REASON_ABSENT_BIT)

#define X(name, text, holds)                                                                                 \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_true(bind_wrap(text));                                                                        \
        assert_true(holds);                                                                                  \
    }
TAKEN(X)
#undef X

/* name, wrap request, field, description */
#define REFUSED(X)                                                                                           \
    X(empty_body_is_refused, "", "", "the text ends too early")                                              \
    X(array_is_refused, "[]", "", "must be a JSON object")                                                   \
    X(string_is_refused, "\"a\"", "", "must be a JSON object")                                               \
    X(null_is_refused, "null", "", "must be a JSON object")                                                  \
    X(bytes_after_the_object_are_refused, "{\"plaintext\":\"\"}x", "", "bytes after the value")              \
    X(broken_json_is_refused, "{\"plaintext\":\"Zg==\"", "", "the text ends too early")                      \
    X(broken_json_is_named_before_what_is_missing, "{\"keyPath\":\"k\"", "", "the text ends too early")      \
    X(broken_json_in_the_context_is_refused, CTX "{\"isKeyHealthCheck\":true", "",                           \
      "the text ends too early")                                                                             \
    X(broken_json_in_an_unknown_field_is_refused, PT "\"x\":[1,]}", "", "not a JSON value")                  \
    X(missing_plaintext_is_refused, "{}", "plaintext", "is missing")                                         \
    X(null_plaintext_is_refused, "{\"plaintext\":null}", "plaintext", "is missing")                          \
    X(wrapped_blob_is_no_plaintext, "{\"wrappedBlob\":\"Zg==\"}", "plaintext", "is missing")                 \
    X(numeric_plaintext_is_refused, "{\"plaintext\":5}", "plaintext", "must be a string of base64")          \
    X(plaintext_array_is_refused, "{\"plaintext\":[1]}", "plaintext", "must be a string of base64")          \
    X(plaintext_that_is_not_base64_is_refused, "{\"plaintext\":\"Zg=!\"}", "plaintext", "must be base64")    \
    X(plaintext_with_a_line_break_is_refused, "{\"plaintext\":\"Zm9v\\nZg==\"}", "plaintext",                \
      "must be base64")                                                                                      \
    X(plaintext_of_mixed_alphabets_is_refused, "{\"plaintext\":\"+-+-\"}", "plaintext", "must be base64")    \
    X(aad_that_is_not_base64_is_refused, PT "\"additionalAuthenticatedData\":\"%\"}",                        \
      "additionalAuthenticatedData", "must be base64")                                                       \
    X(aad_in_snake_case_is_named_in_camel_case, PT "\"additional_authenticated_data\":1}",                   \
      "additionalAuthenticatedData", "must be a string of base64")                                           \
    X(duplicate_name_is_refused, PT "\"plaintext\":\"Zg==\"}", "", "a name comes twice in one object")       \
    X(duplicate_unknown_name_is_refused, PT "\"x\":1,\"x\":2}", "", "a name comes twice in one object")      \
    X(both_spellings_are_refused, PT "\"keyPath\":\"a\",\"key_path\":\"a\"}", "keyPath",                     \
      "is given in both spellings of its name")                                                              \
    X(both_spellings_are_refused_even_if_null, PT "\"keyPath\":null,\"key_path\":\"a\"}", "keyPath",         \
      "is given in both spellings of its name")                                                              \
    X(both_spellings_of_the_context_are_refused, PT "\"additionalContext\":{},\"additional_context\":{}}",   \
      "additionalContext", "is given in both spellings of its name")                                         \
    X(both_spellings_in_the_context_are_refused,                                                             \
      CTX "{\"isKeyHealthCheck\":true,\"is_key_health_check\":false}}",                                      \
      "additionalContext.isKeyHealthCheck", "is given in both spellings of its name")                        \
    X(numeric_key_path_is_refused, PT "\"keyPath\":1}", "keyPath", "must be a string")                       \
    X(boolean_prefix_is_refused, PT "\"keyUriPrefix\":true}", "keyUriPrefix", "must be a string")            \
    X(context_array_is_refused, CTX "[]}", "additionalContext", "must be an object")                         \
    X(context_string_is_refused, CTX "\"a\"}", "additionalContext", "must be an object")                     \
    X(reason_context_string_is_refused, ARC "\"a\"}}", "additionalContext.accessReasonContext",              \
      "must be an object")                                                                                   \
    X(numeric_resource_name_is_refused, CTX "{\"relativeResourceName\":1}}",                                 \
      "additionalContext.relativeResourceName", "must be a string")                                          \
    X(full_resource_name_object_is_refused, CTX "{\"fullResourceName\":{}}}",                                \
      "additionalContext.fullResourceName", "must be a string")                                              \
    X(health_check_as_text_is_refused, CTX "{\"isKeyHealthCheck\":\"true\"}}",                               \
      "additionalContext.isKeyHealthCheck", "must be true or false")                                         \
    X(health_check_as_number_is_refused, CTX "{\"isKeyHealthCheck\":1}}",                                    \
      "additionalContext.isKeyHealthCheck", "must be true or false")                                         \
    X(boolean_reason_is_refused, ARC "{\"reason\":true}}}", "additionalContext.accessReasonContext.reason",  \
      "must be the name or the number of a reason")                                                          \
    X(fractional_reason_is_refused, ARC "{\"reason\":5.5}}}",                                                \
      "additionalContext.accessReasonContext.reason", "must be the name or the number of a reason")          \
    X(reason_over_32_bits_is_refused, ARC "{\"reason\":4294967296}}}",                                       \
      "additionalContext.accessReasonContext.reason", "must be the name or the number of a reason")          \
    X(deep_unknown_field_is_refused, PT "\"x\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", "", "nested too deeply") \
    X(invalid_utf8_is_refused, PT "\"keyPath\":\"\xff\"}", "", "a string is not UTF-8")                      \
    X(escaped_nul_in_a_name_is_refused, PT "\"keyPath\":\"a\\u0000b\"}", "", "a bad escape in a string")

#define X(name, text, expected_field, description_expected)                                                  \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_false(bind_wrap(text));                                                                       \
        assert_string_equal(bad.field, expected_field);                                                      \
        assert_string_equal(bad.description, description_expected);                                          \
    }
REFUSED(X)
#undef X

static void wrapped_blob_is_decoded(void **state)
{
    (void)state;

    assert_true(bind_unwrap("{\"wrappedBlob\":\"Zm9v\"}"));
    assert_true(span_is(unwrap.wrapped_blob, "foo"));
}

static void wrapped_blob_in_snake_case_is_decoded(void **state)
{
    (void)state;

    assert_true(bind_unwrap("{\"wrapped_blob\":\"Zm9v\"}"));
    assert_true(span_is(unwrap.wrapped_blob, "foo"));
}

static void missing_wrapped_blob_is_refused(void **state)
{
    (void)state;

    assert_false(bind_unwrap("{\"plaintext\":\"Zm9v\"}"));
    assert_string_equal(bad.field, "wrappedBlob");
}

static void unwrap_binds_all_of_the_rest(void **state)
{
    (void)state;

    assert_true(
        bind_unwrap("{\"wrappedBlob\":\"Zm9v\",\"additionalAuthenticatedData\":\"Zg\",\"keyPath\":\"k\","
                    "\"keyUriPrefix\":\"p\",\"additionalContext\":{\"relativeResourceName\":\"r\","
                    "\"fullResourceName\":\"f\",\"isKeyHealthCheck\":true,"
                    "\"accessReasonContext\":{\"reason\":3}}}"));
    assert_true(span_is(unwrap.aad, "f"));
    assert_true(span_is(unwrap.key_path, "k"));
    assert_true(span_is(unwrap.key_uri_prefix, "p"));
    assert_true(span_is(unwrap.context.relative_resource_name, "r"));
    assert_true(span_is(unwrap.context.full_resource_name, "f"));
    assert_true(unwrap.context.is_key_health_check);
    assert_int_equal(unwrap.context.reason, BIT(3));
}

#define EVERYTHING                                                                                           \
    "\"additionalAuthenticatedData\":\"Zg\",\"keyPath\":\"k\",\"keyUriPrefix\":\"p\",\"additionalContext\":" \
    "{\"relativeResourceName\":\"r\",\"fullResourceName\":\"f\",\"isKeyHealthCheck\":true}}"

static void nothing_of_an_earlier_wrap_stays(void **state)
{
    (void)state;

    assert_true(bind_wrap(PT EVERYTHING));
    assert_true(bind_wrap("{\"plaintext\":\"\"}"));
    assert_int_equal(wrap.plaintext.len + wrap.aad.len + wrap.key_path.len + wrap.key_uri_prefix.len, 0);
    assert_int_equal(wrap.context.relative_resource_name.len + wrap.context.full_resource_name.len, 0);
    assert_false(wrap.context.is_key_health_check);
}

static void nothing_of_an_earlier_unwrap_stays(void **state)
{
    (void)state;

    assert_true(bind_unwrap("{\"wrappedBlob\":\"Zg\"," EVERYTHING));
    assert_true(bind_unwrap("{\"wrappedBlob\":\"\"}"));
    assert_int_equal(
        unwrap.wrapped_blob.len + unwrap.aad.len + unwrap.key_path.len + unwrap.key_uri_prefix.len, 0);
    assert_int_equal(unwrap.context.relative_resource_name.len + unwrap.context.full_resource_name.len, 0);
    assert_false(unwrap.context.is_key_health_check);
}

/* {"NAME":"..."} with a value of count letters A, behind what begin says. */
static size_t long_body(const char *begin, size_t count, const char *end)
{
    size_t len = strlen(begin);

    memcpy(body, begin, len);
    memset(body + len, 'A', count);
    memcpy(body + len + count, end, strlen(end));
    return len + count + strlen(end);
}

static bool wrap_with(const char *begin, size_t count, const char *end)
{
    return protojson_wrap_request(body, long_body(begin, count, end), &wrap, &bad);
}

static bool unwrap_with(const char *begin, size_t count, const char *end)
{
    return protojson_unwrap_request(body, long_body(begin, count, end), &unwrap, &bad);
}

/* name, function, text before and after, most letters that are taken, how many more are too many, field */
#define LIMITS(X)                                                                                            \
    X(plaintext, wrap_with, "{\"plaintext\":\"", "\"}", (EKM_PLAINTEXT_MAX * 4 + 2) / 3, 1, "plaintext")     \
    X(aad, wrap_with, PT "\"additionalAuthenticatedData\":\"", "\"}", (EKM_AAD_MAX * 4 + 2) / 3, 1,          \
      "additionalAuthenticatedData")                                                                         \
    X(wrapped_blob, unwrap_with, "{\"wrappedBlob\":\"", "\"}", EKM_BLOB_MAX * 4 / 3, 2, "wrappedBlob")       \
    X(key_path, wrap_with, PT "\"keyPath\":\"", "\"}", EKM_KEY_PATH_MAX, 1, "keyPath")                       \
    X(key_uri_prefix, wrap_with, PT "\"keyUriPrefix\":\"", "\"}", EKM_RESOURCE_MAX, 1, "keyUriPrefix")       \
    X(relative_resource_name, wrap_with, CTX "{\"relativeResourceName\":\"", "\"}}", EKM_RESOURCE_MAX, 1,    \
      "additionalContext.relativeResourceName")                                                              \
    X(full_resource_name, wrap_with, CTX "{\"fullResourceName\":\"", "\"}}", EKM_RESOURCE_MAX, 1,            \
      "additionalContext.fullResourceName")

#define X(name, fn, begin, end, most, over, expected_field)                                                  \
    static void name##_at_its_limit_is_taken(void **state)                                                   \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_true(fn(begin, most, end));                                                                   \
    }                                                                                                        \
    static void name##_over_its_limit_is_refused(void **state)                                               \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_false(fn(begin, (most) + (over), end));                                                       \
        assert_string_equal(bad.field, expected_field);                                                      \
        assert_memory_equal(bad.description, "must not be longer than", 23);                                 \
    }
LIMITS(X)
#undef X

static void every_reason_name_is_its_number(void **state)
{
    char text[256];
    (void)state;

    for (uint32_t i = 0; i <= ACCESS_REASON_LAST; i++) {
        snprintf(text, sizeof text, ARC "{\"reason\":\"%s\"}}}", access_reason_names[i]);
        assert_true(bind_wrap(text));
        assert_int_equal(wrap.context.reason, BIT(i));
    }
}

static void reason_above_the_last_has_no_name(void **state)
{
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define X(name, ...) cmocka_unit_test(name),
        TAKEN(X) REFUSED(X)
#undef X
            cmocka_unit_test(wrapped_blob_is_decoded),
        cmocka_unit_test(wrapped_blob_in_snake_case_is_decoded),
        cmocka_unit_test(missing_wrapped_blob_is_refused),
        cmocka_unit_test(unwrap_binds_all_of_the_rest),
#define X(name, ...)                                                                                         \
    cmocka_unit_test(name##_at_its_limit_is_taken), cmocka_unit_test(name##_over_its_limit_is_refused),
        LIMITS(X)
#undef X
            cmocka_unit_test(nothing_of_an_earlier_wrap_stays),
        cmocka_unit_test(nothing_of_an_earlier_unwrap_stays),
        cmocka_unit_test(every_reason_name_is_its_number),
        cmocka_unit_test(reason_above_the_last_has_no_name),
    };
    return RUN_TESTS("protojson", tests);
}
