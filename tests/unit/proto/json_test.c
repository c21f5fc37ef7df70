#include "proto/json.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

/* One letter per token: { } [ ] n(ame) s(tring) d(igits) t f 0 (null), then . at the end or ! on an error. */
static const char *tokens_of(const char *text, size_t len, const char **error)
{
    static const char letters[] = "{}[]nsdtf0.!";
    static char out[512];
    uint8_t *copy = malloc(len != 0 ? len : 1);
    struct json_reader r;
    size_t at = 0;
    enum json_token token;

    assert_non_null(copy);
    memcpy(copy, text, len);
    json_init(&r, span_of(copy, len));
    do {
        token = json_next(&r);
        out[at++] = letters[token];
    } while (token != JSON_END && token != JSON_ERROR && at < sizeof out - 1);
    out[at] = 0;
    if (error != NULL)
        *error = r.error;
    free(copy);
    return out;
}

/* name, text, tokens */
#define TAKEN(X)                                                                                             \
    X(empty_object_is_taken, "{}", "{}.")                                                                    \
    X(empty_array_is_taken, "[]", "[].")                                                                     \
    X(bare_string_is_a_text, "\"a\"", "s.")                                                                  \
    X(bare_number_is_a_text, "0", "d.")                                                                      \
    X(bare_null_is_a_text, "null", "0.")                                                                     \
    X(true_and_false_are_taken, "[true,false]", "[tf].")                                                     \
    X(members_are_name_and_value, "{\"a\":1,\"b\":\"c\"}", "{ndns}.")                                        \
    X(nested_objects_are_taken, "{\"a\":{\"b\":[{}]}}", "{n{n[{}]}}.")                                       \
    X(white_space_is_skipped, " \t\r\n{ \"a\" : [ 1 , 2 ] } \n", "{n[dd]}.")                                 \
    X(equal_names_in_different_objects_are_taken, "[{\"a\":1},{\"a\":{\"a\":2}}]", "[{nd}{n{nd}}].")         \
    X(name_seen_after_a_nested_object_is_still_unlike, "{\"a\":{\"b\":1},\"b\":2}", "{n{nd}nd}.")            \
    X(names_that_differ_in_case_are_two, "{\"a\":1,\"A\":2}", "{ndnd}.")                                     \
    X(empty_name_is_a_name, "{\"\":1}", "{nd}.")                                                             \
    X(name_that_is_a_prefix_of_another_is_not_it, "{\"ab\":1,\"a\":2}", "{ndnd}.")                           \
    X(two_byte_utf8_is_taken, "\"\xc3\xa9\"", "s.")                                                          \
    X(three_byte_utf8_is_taken, "\"\xe2\x82\xac\"", "s.")                                                    \
    X(four_byte_utf8_is_taken, "\"\xf0\x9f\x94\x91\"", "s.")                                                 \
    X(first_of_two_bytes_is_taken, "\"\xc2\x80\"", "s.")                                                     \
    X(first_of_three_bytes_is_taken, "\"\xe0\xa0\x80\"", "s.")                                               \
    X(first_of_four_bytes_is_taken, "\"\xf0\x90\x80\x80\"", "s.")                                            \
    X(first_after_the_surrogates_is_taken, "\"\xee\x80\x80\"", "s.")                                         \
    X(last_code_point_is_taken, "\"\xf4\x8f\xbf\xbf\"", "s.")                                                \
    X(code_point_below_the_surrogates_is_taken, "\"\xed\x9f\xbf\"", "s.")                                    \
    X(delete_in_a_string_is_taken, "\"\x7f\"", "s.")                                                         \
    X(every_escape_is_taken, "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"", "s.")                                  \
    X(surrogate_pair_is_taken, "\"\\ud83d\\udd11\"", "s.")                                                   \
    X(hex_digits_have_no_case, "\"\\uABCD\\uabcd\"", "s.")                                                   \
    X(numbers_of_every_form_are_taken, "[0,-0,1.5,-1.5e3,1E+2,1e-2,10]", "[ddddddd].")

#define X(name, text, tokens)                                                                                \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_string_equal(tokens_of(text, sizeof(text) - 1, NULL), tokens);                                \
    }
TAKEN(X)
#undef X

/* name, text, error */
#define REFUSED(X)                                                                                           \
    X(nothing_is_refused, "", ENDS)                                                                          \
    X(white_space_alone_is_refused, " \n", ENDS)                                                             \
    X(open_object_is_refused, "{", ENDS)                                                                     \
    X(open_array_is_refused, "[1", ENDS)                                                                     \
    X(array_that_ends_after_a_comma_is_refused, "[1,", ENDS)                                                 \
    X(object_that_ends_after_a_colon_is_refused, "{\"a\":", ENDS)                                            \
    X(second_value_is_refused, "{}{}", AFTER)                                                                \
    X(nul_after_the_value_is_refused, "{}\0", AFTER)                                                         \
    X(closing_bracket_after_the_value_is_refused, "{}}", AFTER)                                              \
    X(comma_after_the_value_is_refused, "1,", AFTER)                                                         \
    X(byte_order_mark_is_refused, "\xef\xbb\xbf{}", VALUE)                                                   \
    X(form_feed_is_not_white_space, "\f{}", VALUE)                                                           \
    X(no_break_space_is_not_white_space, "\xc2\xa0{}", VALUE)                                                \
    X(trailing_comma_in_an_array_is_refused, "[1,]", VALUE)                                                  \
    X(leading_comma_in_an_array_is_refused, "[,1]", VALUE)                                                   \
    X(two_commas_are_refused, "[1,,2]", VALUE)                                                               \
    X(trailing_comma_in_an_object_is_refused, "{\"a\":1,}", NAME)                                            \
    X(leading_comma_in_an_object_is_refused, "{,\"a\":1}", NAME)                                             \
    X(missing_comma_is_refused, "[1 2]", COMMA)                                                              \
    X(missing_colon_is_refused, "{\"a\" 1}", COLON)                                                          \
    X(missing_value_is_refused, "{\"a\":}", VALUE)                                                           \
    X(name_alone_is_refused, "{\"a\"}", COLON)                                                               \
    X(bare_name_is_refused, "{a:1}", NAME)                                                                   \
    X(number_as_name_is_refused, "{1:1}", NAME)                                                              \
    X(single_quotes_are_refused, "{'a':1}", NAME)                                                            \
    X(object_closed_as_array_is_refused, "{\"a\":1]", COMMA)                                                 \
    X(array_closed_as_object_is_refused, "[1}", COMMA)                                                       \
    X(colon_in_an_array_is_refused, "[1:2]", COMMA)                                                          \
    X(comment_is_refused, "{/**/}", NAME)                                                                    \
    X(capital_true_is_refused, "True", VALUE)                                                                \
    X(cut_word_is_refused, "tru", VALUE)                                                                     \
    X(longer_word_is_refused, "nulll", AFTER)                                                                \
    X(not_a_number_is_refused, "NaN", VALUE)                                                                 \
    X(infinity_is_refused, "-Infinity", VALUE)                                                               \
    X(plus_before_a_number_is_refused, "+1", VALUE)                                                          \
    X(minus_alone_is_refused, "-", VALUE)                                                                    \
    X(leading_zero_is_refused, "01", VALUE)                                                                  \
    X(leading_zero_after_minus_is_refused, "-01", VALUE)                                                     \
    X(point_without_digits_is_refused, "1.", VALUE)                                                          \
    X(point_without_integer_is_refused, ".5", VALUE)                                                         \
    X(exponent_without_digits_is_refused, "1e", VALUE)                                                       \
    X(exponent_with_sign_alone_is_refused, "1e+", VALUE)                                                     \
    X(hexadecimal_number_is_refused, "0x10", AFTER)                                                          \
    X(string_without_end_is_refused, "\"a", NO_END)                                                          \
    X(string_that_ends_in_an_escaped_quote_is_refused, "\"a\\\"", NO_END)                                    \
    X(line_break_in_a_string_is_refused, "\"a\nb\"", CONTROL)                                                \
    X(tab_in_a_string_is_refused, "\"a\tb\"", CONTROL)                                                       \
    X(nul_in_a_string_is_refused, "\"a\0b\"", CONTROL)                                                       \
    X(control_byte_after_eight_plain_bytes_is_refused, "\"abcdefgh\x1f\"", CONTROL)                          \
    X(unknown_escape_is_refused, "\"\\a\"", ESCAPE)                                                          \
    X(escaped_line_break_is_refused, "\"\\\n\"", ESCAPE)                                                     \
    X(escape_with_three_digits_is_refused, "\"\\u12\"", ESCAPE)                                              \
    X(escape_with_a_wrong_digit_is_refused, "\"\\u12g4\"", ESCAPE)                                           \
    X(escape_with_a_sign_is_refused, "\"\\u+123\"", ESCAPE)                                                  \
    X(escape_cut_by_the_end_is_refused, "\"\\", ESCAPE)                                                      \
    X(unicode_escape_cut_by_the_end_is_refused, "\"\\u00", ESCAPE)                                           \
    X(escaped_nul_is_refused, "\"\\u0000\"", ESCAPE)                                                         \
    X(lone_high_surrogate_is_refused, "\"\\ud83d\"", ESCAPE)                                                 \
    X(lone_low_surrogate_is_refused, "\"\\udd11\"", ESCAPE)                                                  \
    X(surrogates_in_wrong_order_are_refused, "\"\\udd11\\ud83d\"", ESCAPE)                                   \
    X(lowest_high_surrogate_alone_is_refused, "\"\\ud800\"", ESCAPE)                                         \
    X(highest_low_surrogate_alone_is_refused, "\"\\udfff\"", ESCAPE)                                         \
    X(two_low_surrogates_are_refused, "\"\\udd11\\udd11\"", ESCAPE)                                          \
    X(high_surrogate_before_a_code_point_is_refused, "\"\\ud83d\\u0061\"", ESCAPE)                           \
    X(high_surrogate_before_a_code_point_above_is_refused, "\"\\ud83d\\ue000\"", ESCAPE)                     \
    X(high_surrogate_before_a_letter_is_refused, "\"\\ud83da\"", ESCAPE)                                     \
    X(two_high_surrogates_are_refused, "\"\\ud83d\\ud83d\"", ESCAPE)                                         \
    X(high_surrogate_before_another_escape_is_refused, "\"\\ud83d\\n1234\"", ESCAPE)                         \
    X(high_surrogate_cut_by_the_end_is_refused, "\"\\ud83d\\udd", ESCAPE)                                    \
    X(continuation_byte_alone_is_refused, "\"\x80\"", UTF8)                                                  \
    X(overlong_slash_is_refused, "\"\xc0\xaf\"", UTF8)                                                       \
    X(overlong_nul_is_refused, "\"\xc0\x80\"", UTF8)                                                         \
    X(overlong_three_bytes_are_refused, "\"\xe0\x9f\xbf\"", UTF8)                                            \
    X(overlong_four_bytes_are_refused, "\"\xf0\x8f\xbf\xbf\"", UTF8)                                         \
    X(surrogate_in_utf8_is_refused, "\"\xed\xa0\x80\"", UTF8)                                                \
    X(surrogate_pair_in_utf8_is_refused, "\"\xed\xa0\xbd\xed\xb4\x91\"", UTF8)                               \
    X(code_point_above_the_last_is_refused, "\"\xf4\x90\x80\x80\"", UTF8)                                    \
    X(lead_byte_f5_is_refused, "\"\xf5\x80\x80\x80\"", UTF8)                                                 \
    X(byte_fe_is_refused, "\"\xfe\"", UTF8)                                                                  \
    X(cut_sequence_is_refused, "\"\xe2\x82\"", UTF8)                                                         \
    X(sequence_cut_by_the_end_is_refused, "\"\xe2", UTF8)                                                    \
    X(latin_1_is_refused, "\"caf\xe9 au lait\"", UTF8)                                                       \
    X(bad_utf8_in_a_name_is_refused, "{\"\xff\":1}", UTF8)                                                   \
    X(duplicate_name_is_refused, "{\"a\":1,\"a\":2}", TWICE)                                                 \
    X(duplicate_empty_name_is_refused, "{\"\":1,\"\":2}", TWICE)                                             \
    X(duplicate_name_behind_an_escape_is_refused, "{\"a\":1,\"\\u0061\":2}", TWICE)                          \
    X(duplicate_of_an_escaped_name_is_refused, "{\"\\/\":1,\"/\":2}", TWICE)                                 \
    X(duplicate_utf8_name_behind_an_escape_is_refused, "{\"\xc3\xa9\":1,\"\\u00e9\":2}", TWICE)              \
    X(duplicate_name_behind_surrogates_is_refused, "{\"\xf0\x9f\x94\x91\":1,\"\\uD83D\\uDD11\":2}", TWICE)   \
    X(duplicate_in_a_nested_object_is_refused, "{\"x\":{\"a\":1,\"b\":2,\"a\":3}}", TWICE)                   \
    X(duplicate_after_a_nested_object_is_refused, "{\"a\":{\"b\":1},\"a\":2}", TWICE)

#define ENDS    "the text ends too early"
#define AFTER   "bytes after the value"
#define VALUE   "not a JSON value"
#define NAME    "a name was expected"
#define COMMA   "a comma or a closing bracket was expected"
#define COLON   "a colon was expected"
#define NO_END  "a string has no end"
#define CONTROL "a control character in a string"
#define ESCAPE  "a bad escape in a string"
#define UTF8    "a string is not UTF-8"
#define TWICE   "a name comes twice in one object"
#define X(name, text, why)                                                                                   \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        const char *error;                                                                                   \
        (void)state;                                                                                         \
        tokens_of(text, sizeof(text) - 1, &error);                                                           \
        assert_non_null(error);                                                                              \
        assert_string_equal(error, why);                                                                     \
    }
REFUSED(X)
#undef X

static bool integer_is(const char *number, int64_t min, int64_t max, int64_t expected)
{
    int64_t v;

    return json_integer(span_str(number), min, max, &v) && v == expected;
}

static bool is_no_integer(const char *number)
{
    int64_t v;

    return !json_integer(span_str(number), INT64_MIN, INT64_MAX, &v);
}

/* Unescapes a text to exactly these bytes, in place and apart. */
static bool unescapes_to(const char *text, const char *bytes)
{
    uint8_t in[128], out[128];
    size_t len = strlen(text);

    memcpy(in, text, len);
    size_t apart = json_unescape(span_of(in, len), out), in_place = json_unescape(span_of(in, len), in);
    return span_is(span_of(out, apart), bytes) && span_is(span_of(in, in_place), bytes);
}

static bool writes(const char *text, const char *json)
{
    uint8_t room[128];
    struct buf out = {room, 0, sizeof room};

    return json_write_string(&out, span_str(text)) && span_is(buf_span(&out), json);
}

#define EVERY INT64_MIN, INT64_MAX

/* name, condition */
#define CLAIMS(X)                                                                                            \
    X(integer_of_plain_digits, integer_is("42", EVERY, 42))                                                  \
    X(integer_with_minus, integer_is("-42", EVERY, -42))                                                     \
    X(integer_zero, integer_is("0", EVERY, 0))                                                               \
    X(integer_minus_zero, integer_is("-0", EVERY, 0))                                                        \
    X(integer_zero_with_fraction, integer_is("0.000", EVERY, 0))                                             \
    X(integer_zero_with_huge_exponent, integer_is("0e999999999999999999999", EVERY, 0))                      \
    X(integer_with_zero_fraction, integer_is("3.0", EVERY, 3))                                               \
    X(integer_with_exponent, integer_is("1e2", EVERY, 100))                                                  \
    X(integer_with_fraction_moved_away, integer_is("1.50e1", EVERY, 15))                                     \
    X(integer_below_one_moved_up, integer_is("0.001e3", EVERY, 1))                                           \
    X(integer_with_zeros_moved_down, integer_is("1200e-2", EVERY, 12))                                       \
    X(integer_with_inner_zeros, integer_is("10203", EVERY, 10203))                                           \
    X(integer_max, integer_is("9223372036854775807", EVERY, INT64_MAX))                                      \
    X(integer_min, integer_is("-9223372036854775808", EVERY, INT64_MIN))                                     \
    X(integer_above_2_to_the_53_is_exact, integer_is("9007199254740993", EVERY, 9007199254740993))           \
    X(integer_at_its_lower_bound, integer_is("5", 5, 6, 5))                                                  \
    X(integer_at_its_upper_bound, integer_is("6", 5, 6, 6))                                                  \
    X(integer_below_its_bound_is_refused, !integer_is("4", 5, 6, 4))                                         \
    X(integer_above_its_bound_is_refused, !integer_is("7", 5, 6, 7))                                         \
    X(fraction_is_no_integer, is_no_integer("1.5"))                                                          \
    X(negative_exponent_is_no_integer, is_no_integer("1e-1"))                                                \
    X(tiny_fraction_is_no_integer, is_no_integer("1.00000000000000000000000000001"))                         \
    X(max_and_one_is_no_integer, is_no_integer("9223372036854775808"))                                       \
    X(min_less_one_is_no_integer, is_no_integer("-9223372036854775809"))                                     \
    X(huge_exponent_is_no_integer, is_no_integer("1e400"))                                                   \
    X(exponent_beyond_any_type_is_no_integer, is_no_integer("1e99999999999999999999999"))                    \
    X(tiny_exponent_is_no_integer, is_no_integer("1e-99999999999999999999999"))                              \
    X(ten_to_the_18_is_an_integer, integer_is("1e18", EVERY, 1000000000000000000))                           \
    X(ten_to_the_19_is_no_integer, is_no_integer("1e19"))                                                    \
    X(forty_digits_are_no_integer, is_no_integer("1000000000000000000000000000000000000001"))                \
    X(unescape_leaves_plain_text, unescapes_to("abc", "abc"))                                                \
    X(unescape_resolves_short_escapes, unescapes_to("\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t"))        \
    X(unescape_resolves_one_byte, unescapes_to("a\\u003db", "a=b"))                                          \
    X(unescape_resolves_two_bytes, unescapes_to("\\u00e9", "\xc3\xa9"))                                      \
    X(unescape_resolves_three_bytes, unescapes_to("\\u20ac", "\xe2\x82\xac"))                                \
    X(unescape_resolves_a_pair, unescapes_to("\\ud83d\\udd11", "\xf0\x9f\x94\x91"))                          \
    X(unescape_resolves_the_first_pair, unescapes_to("\\ud800\\udc00", "\xf0\x90\x80\x80"))                  \
    X(unescape_resolves_the_last_of_one_byte, unescapes_to("\\u007f", "\x7f"))                               \
    X(unescape_resolves_the_first_of_two_bytes, unescapes_to("\\u0080", "\xc2\x80"))                         \
    X(unescape_resolves_the_last_of_two_bytes, unescapes_to("\\u07ff", "\xdf\xbf"))                          \
    X(unescape_resolves_the_first_of_three_bytes, unescapes_to("\\u0800", "\xe0\xa0\x80"))                   \
    X(unescape_resolves_the_last_before_the_surrogates, unescapes_to("\\ud7ff", "\xed\x9f\xbf"))             \
    X(unescape_resolves_the_first_after_the_surrogates, unescapes_to("\\ue000", "\xee\x80\x80"))             \
    X(unescape_resolves_the_last_pair, unescapes_to("\\udbff\\udfff", "\xf4\x8f\xbf\xbf"))                   \
    X(write_quotes_a_text, writes("abc", "\"abc\""))                                                         \
    X(write_of_nothing_is_two_quotes, writes("", "\"\""))                                                    \
    X(write_escapes_quote_and_backslash, writes("a\"b\\c", "\"a\\\"b\\\\c\""))                               \
    X(write_escapes_control_bytes, writes("\x01\n\x1f", "\"\\u0001\\u000a\\u001f\""))                        \
    X(write_leaves_utf8, writes("caf\xc3\xa9", "\"caf\xc3\xa9\""))                                           \
    X(write_replaces_what_is_not_utf8, writes("a\xff"                                                        \
                                              "b\xe2\x82",                                                   \
                                              "\"a\\ufffdb\\ufffd\\ufffd\""))

#define X(name, holds)                                                                                       \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_true(holds);                                                                                  \
    }
CLAIMS(X)
#undef X

static const char *nested(size_t depth, const char **error)
{
    static char text[64];

    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    return tokens_of(text, 2 * depth, error);
}

static void depth_at_the_limit_is_taken(void **state)
{
    (void)state;

    assert_string_equal(nested(JSON_DEPTH_MAX, NULL), "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]].");
}

static void depth_over_the_limit_is_refused(void **state)
{
    const char *error;
    (void)state;

    nested(JSON_DEPTH_MAX + 1, &error);
    assert_string_equal(error, "nested too deeply");
}

static const char *object_of(size_t members)
{
    static char text[2048];
    const char *error;
    size_t len = 0;

    text[len++] = '{';
    for (size_t i = 0; i < members; i++)
        len += (size_t)sprintf(text + len, "%s\"n%zu\":0", i != 0 ? "," : "", i);
    text[len++] = '}';
    tokens_of(text, len, &error);
    return error;
}

static void as_many_names_as_the_limit_are_taken(void **state)
{
    (void)state;

    assert_null(object_of(JSON_MEMBERS_MAX));
}

static void one_name_over_the_limit_is_refused(void **state)
{
    (void)state;

    assert_string_equal(object_of(JSON_MEMBERS_MAX + 1), "too many names");
}

static const char *object_with_name_of(size_t len)
{
    static char text[JSON_NAME_MAX + 16];
    const char *error;

    memset(text, 'n', sizeof text);
    memcpy(text, "{\"", 2);
    memcpy(text + 2 + len, "\":0}", 4);
    tokens_of(text, len + 6, &error);
    return error;
}

static void name_at_the_length_limit_is_taken(void **state)
{
    (void)state;

    assert_null(object_with_name_of(JSON_NAME_MAX));
}

static void name_over_the_length_limit_is_refused(void **state)
{
    (void)state;

    assert_string_equal(object_with_name_of(JSON_NAME_MAX + 1), "a name is too long");
}

static void names_of_closed_objects_do_not_count(void **state)
{
    char text[4096];
    const char *error;
    size_t len = 0;
    (void)state;

    text[len++] = '[';
    for (size_t i = 0; i < 4 * JSON_MEMBERS_MAX; i++)
        len += (size_t)sprintf(text + len, "%s{\"a\":0}", i != 0 ? "," : "");
    text[len++] = ']';
    struct json_reader r;
    json_init(&r, span_of(text, len));
    assert_true(json_skip(&r));
    error = r.error;
    assert_null(error);
}

static void error_is_sticky(void **state)
{
    struct json_reader r;
    (void)state;

    json_init(&r, span_str("[1,x,2]"));
    while (json_next(&r) != JSON_ERROR)
        ;
    const char *first = r.error;
    assert_int_equal(json_next(&r), JSON_ERROR);
    assert_ptr_equal(r.error, first);
}

static void duplicate_that_would_end_its_object_is_still_an_error(void **state)
{
    struct json_reader r;
    (void)state;

    json_init(&r, span_str("{\"a\":1,\"a\"}"));
    while (json_next(&r) != JSON_ERROR)
        ;
    assert_int_equal(json_next(&r), JSON_ERROR);
}

static void init_forgets_an_earlier_text(void **state)
{
    struct json_reader r;
    (void)state;

    json_init(&r, span_str("{\"a\":[\"\\n\",x"));
    while (json_next(&r) != JSON_ERROR)
        ;
    json_init(&r, span_str("{}"));
    assert_int_equal(r.text.len, 0);
    assert_false(r.text_escaped);
    assert_null(r.error);
    assert_int_equal(json_next(&r), JSON_OBJECT_BEGIN);
    assert_int_equal(json_next(&r), JSON_OBJECT_END);
    assert_int_equal(json_next(&r), JSON_END);
}

static void text_over_4_gib_is_refused_unread(void **state)
{
    struct json_reader r;
    (void)state;

    json_init(&r, span_of("1", (size_t)UINT32_MAX + 1));
    assert_int_equal(json_next(&r), JSON_ERROR);
    assert_string_equal(r.error, "the text is too long");
}

static void the_end_is_reported_again(void **state)
{
    struct json_reader r;
    (void)state;

    json_init(&r, span_str("1"));
    assert_int_equal(json_next(&r), JSON_NUMBER);
    assert_int_equal(json_next(&r), JSON_END);
    assert_int_equal(json_next(&r), JSON_END);
}

static void skip_passes_over_a_nested_value(void **state)
{
    struct json_reader r;
    (void)state;

    json_init(&r, span_str("{\"a\":{\"b\":[1,{\"c\":2}]},\"d\":true}"));
    assert_int_equal(json_next(&r), JSON_OBJECT_BEGIN);
    assert_int_equal(json_next(&r), JSON_NAME);
    assert_true(json_skip(&r));
    assert_int_equal(json_next(&r), JSON_NAME);
    assert_true(json_text_is(&r, "d"));
}

static void skip_still_refuses_duplicates(void **state)
{
    struct json_reader r;
    (void)state;

    json_init(&r, span_str("{\"a\":1,\"a\":2}"));
    assert_false(json_skip(&r));
}

static void text_is_compared_with_escapes_resolved(void **state)
{
    struct json_reader r;
    (void)state;

    json_init(&r, span_str("\"pl\\u0061in\""));
    assert_int_equal(json_next(&r), JSON_STRING);
    assert_true(r.text_escaped);
    assert_true(json_text_is(&r, "plain"));
    assert_false(json_text_is(&r, "plai"));
    assert_false(json_text_is(&r, "plainer"));
}

static void write_that_does_not_fit_writes_nothing(void **state)
{
    uint8_t room[8] = "x";
    struct buf out = {room, 1, 5};
    (void)state;

    assert_false(json_write_string(&out, span_str("abc")));
    assert_int_equal(out.len, 1);
    assert_true(json_write_string(&out, span_str("ab")));
    assert_int_equal(out.len, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define X(name, ...) cmocka_unit_test(name),
        TAKEN(X) REFUSED(X) CLAIMS(X)
#undef X
            cmocka_unit_test(depth_at_the_limit_is_taken),
        cmocka_unit_test(depth_over_the_limit_is_refused),
        cmocka_unit_test(as_many_names_as_the_limit_are_taken),
        cmocka_unit_test(one_name_over_the_limit_is_refused),
        cmocka_unit_test(name_at_the_length_limit_is_taken),
        cmocka_unit_test(name_over_the_length_limit_is_refused),
        cmocka_unit_test(names_of_closed_objects_do_not_count),
        cmocka_unit_test(error_is_sticky),
        cmocka_unit_test(duplicate_that_would_end_its_object_is_still_an_error),
        cmocka_unit_test(init_forgets_an_earlier_text),
        cmocka_unit_test(text_over_4_gib_is_refused_unread),
        cmocka_unit_test(the_end_is_reported_again),
        cmocka_unit_test(skip_passes_over_a_nested_value),
        cmocka_unit_test(skip_still_refuses_duplicates),
        cmocka_unit_test(text_is_compared_with_escapes_resolved),
        cmocka_unit_test(write_that_does_not_fit_writes_nothing),
    };
    return RUN_TESTS("json", tests);
}
