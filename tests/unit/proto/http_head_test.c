/* Request heads.  Every case is parsed at once and byte by byte: each prefix must say "more" or what the
 * whole says. */
#include "base/secret_priv.h"
#include "proto/http.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

/* Parses exactly these bytes from memory of exactly this size. */
static enum http_status parse_exact(const char *text, size_t len, struct http_request *rq, enum reason *why)
{
    uint8_t *copy = malloc(len != 0 ? len : 1);

    assert_non_null(copy);
    memcpy(copy, text, len);
    *why = REASON_COUNT;
    enum http_status status = http_parse_head(span_of(copy, len), rq, why);
    free(copy);
    return status;
}

static void check_refused(const char *text, size_t len, enum http_status status, enum reason why)
{
    struct http_request rq;
    enum reason got;
    bool decided = false;

    assert_int_equal(parse_exact(text, len, &rq, &got), status);
    assert_string_equal(reason_name(got), reason_name(why));
    for (size_t i = 0; i < len; i++) {
        enum http_status early = parse_exact(text, i, &rq, &got);

        if (early == HTTP_MORE) {
            assert_false(decided);
            continue;
        }
        decided = true;
        assert_int_equal(early, status);
        assert_int_equal(got, why);
    }
}

static struct http_request rq;
static enum reason why_not;

static void check_taken(const char *text, size_t len)
{
    struct http_request early;
    enum reason got;

    for (size_t i = 0; i < len; i++)
        assert_int_equal(parse_exact(text, i, &early, &got), HTTP_MORE);
    assert_int_equal(http_parse_head(span_of(text, len), &rq, &why_not), HTTP_OK);
    assert_int_equal(rq.head_len, len);
}

#define H  "Host: ekm.example\r\n"
#define P  "POST /k:wrap HTTP/1.1\r\n"
#define PH P H
#define E  "\r\n"

/* name, bytes, status, reason */
#define REFUSALS(X)                                                                                          \
    /* --- the request line --- */                                                                           \
    X(request_line_of_http_0_9_is_refused, "GET /\r\n\r\n", BAD, BAD_REQUEST_LINE)                           \
    X(request_line_without_target_is_refused, "GET HTTP/1.1\r\n" H E, BAD, BAD_REQUEST_LINE)                 \
    X(request_line_with_empty_target_is_refused, "GET  HTTP/1.1\r\n" H E, BAD, BAD_REQUEST_LINE)             \
    X(two_spaces_after_the_method_are_refused, "GET  / HTTP/1.1\r\n" H E, BAD, BAD_REQUEST_LINE)             \
    X(two_spaces_before_the_version_are_refused, "GET /  HTTP/1.1\r\n" H E, BAD, BAD_REQUEST_LINE)           \
    X(space_after_the_version_is_refused, "GET / HTTP/1.1 \r\n" H E, BAD, BAD_REQUEST_LINE)                  \
    X(space_before_the_method_is_refused, " GET / HTTP/1.1\r\n" H E, BAD, BAD_REQUEST_LINE)                  \
    X(space_inside_the_target_is_refused, "GET /a b HTTP/1.1\r\n" H E, BAD, BAD_REQUEST_LINE)                \
    X(tab_after_the_method_is_refused, "GET\t/ HTTP/1.1\r\n" H E, BAD, BAD_REQUEST_LINE)                     \
    X(tab_before_the_version_is_refused, "GET /\tHTTP/1.1\r\n" H E, BAD, BAD_REQUEST_LINE)                   \
    X(second_empty_line_before_the_request_is_refused, "\r\n\r\nGET / HTTP/1.1\r\n" H E, BAD,                \
      BAD_REQUEST_LINE)                                                                                      \
    X(method_with_a_bracket_is_refused, "GE[T / HTTP/1.1\r\n" H E, BAD, BAD_REQUEST_LINE)                    \
    X(method_with_a_colon_is_refused, "GET: / HTTP/1.1\r\n" H E, BAD, BAD_REQUEST_LINE)                      \
    X(method_with_a_high_byte_is_refused, "G\xc3\x89T / HTTP/1.1\r\n" H E, BAD, BAD_REQUEST_LINE)            \
    X(lower_case_protocol_name_is_refused, "GET / http/1.1\r\n" H E, BAD, BAD_REQUEST_LINE)                  \
    X(foreign_protocol_name_is_refused, "GET / ICAP/1.0\r\n" H E, BAD, BAD_REQUEST_LINE)                     \
    X(version_without_minor_is_refused, "GET / HTTP/1\r\n" H E, BAD, BAD_REQUEST_LINE)                       \
    X(version_with_two_minor_digits_is_refused, "GET / HTTP/1.10\r\n" H E, BAD, BAD_REQUEST_LINE)            \
    X(version_with_leading_zero_is_refused, "GET / HTTP/01.1\r\n" H E, BAD, BAD_REQUEST_LINE)                \
    X(version_with_a_comma_is_refused, "GET / HTTP/1,1\r\n" H E, BAD, BAD_REQUEST_LINE)                      \
    X(version_with_a_letter_is_refused, "GET / HTTP/1.x\r\n" H E, BAD, BAD_REQUEST_LINE)                     \
    X(version_1_2_is_not_supported, "GET / HTTP/1.2\r\n" H E, BAD_VERSION, BAD_VERSION)                      \
    X(version_2_0_is_not_supported, "GET / HTTP/2.0\r\n" H E, BAD_VERSION, BAD_VERSION)                      \
    X(version_0_9_is_not_supported, "GET / HTTP/0.9\r\n" H E, BAD_VERSION, BAD_VERSION)                      \
    X(http_2_preface_is_not_supported, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD_VERSION, BAD_VERSION)         \
    X(tls_client_hello_is_refused, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", BAD, CONTROL_BYTE)        \
    /* --- the target --- */                                                                                 \
    X(absolute_form_is_refused, "GET http://ekm.example/k HTTP/1.1\r\n" H E, BAD, BAD_TARGET)                \
    X(absolute_https_form_is_refused, "POST https://ekm.example/k:wrap HTTP/1.1\r\n" H E, BAD, BAD_TARGET)   \
    X(authority_form_is_refused, "CONNECT ekm.example:443 HTTP/1.1\r\n" H E, BAD, BAD_TARGET)                \
    X(asterisk_form_is_refused, "OPTIONS * HTTP/1.1\r\n" H E, BAD, BAD_TARGET)                               \
    X(target_without_slash_is_refused, "GET k HTTP/1.1\r\n" H E, BAD, BAD_TARGET)                            \
    X(fragment_in_the_target_is_refused, "GET /k#a HTTP/1.1\r\n" H E, BAD, BAD_TARGET)                       \
    X(backslash_in_the_target_is_refused, "GET /a\\b HTTP/1.1\r\n" H E, BAD, BAD_TARGET)                     \
    X(quote_in_the_target_is_refused, "GET /a\"b HTTP/1.1\r\n" H E, BAD, BAD_TARGET)                         \
    X(brace_in_the_target_is_refused, "GET /{a} HTTP/1.1\r\n" H E, BAD, BAD_TARGET)                          \
    X(high_byte_in_the_target_is_refused, "GET /\xc3\xa9 HTTP/1.1\r\n" H E, BAD, BAD_TARGET)                 \
    X(nul_in_the_target_is_refused, "GET /a\0b HTTP/1.1\r\n" H E, BAD, CONTROL_BYTE)                         \
    X(delete_in_the_target_is_refused, "GET /a\x7f HTTP/1.1\r\n" H E, BAD, CONTROL_BYTE)                     \
    /* --- line ends and control bytes --- */                                                                \
    X(bare_lf_after_the_request_line_is_refused, "GET / HTTP/1.1\n" H E, BAD, BARE_LINE_END)                 \
    X(bare_cr_in_the_request_line_is_refused, "GET /\rX HTTP/1.1\r\n" H E, BAD, BARE_LINE_END)               \
    X(bare_lf_before_the_request_line_is_refused, "\nGET / HTTP/1.1\r\n" H E, BAD, BARE_LINE_END)            \
    X(bare_cr_before_the_request_line_is_refused, "\rGET / HTTP/1.1\r\n" H E, BAD, BARE_LINE_END)            \
    X(bare_lf_after_a_field_is_refused, "GET / HTTP/1.1\r\nHost: a\n\r\n", BAD, BARE_LINE_END)               \
    X(bare_lf_as_end_of_the_head_is_refused, PH "\n", BAD, BARE_LINE_END)                                    \
    X(bare_cr_inside_a_field_value_is_refused, PH "X: a\rb\r\n" E, BAD, BARE_LINE_END)                       \
    X(cr_cr_lf_is_refused, PH "X: a\r\r\n" E, BAD, BARE_LINE_END)                                            \
    X(bare_cr_as_end_of_the_head_is_refused, PH "\rX", BAD, BARE_LINE_END)                                   \
    X(lf_cr_is_refused, PH "X: a\n\r" E, BAD, BARE_LINE_END)                                                 \
    X(nul_in_a_field_value_is_refused, PH "X: a\0b\r\n" E, BAD, CONTROL_BYTE)                                \
    X(nul_in_a_field_name_is_refused, PH "X\0Y: a\r\n" E, BAD, CONTROL_BYTE)                                 \
    X(nul_as_first_byte_is_refused, "\0GET / HTTP/1.1\r\n" H E, BAD, CONTROL_BYTE)                           \
    X(escape_in_a_field_value_is_refused, PH "X: \x1b[2J\r\n" E, BAD, CONTROL_BYTE)                          \
    X(delete_in_a_field_value_is_refused, PH "X: a\x7f\r\n" E, BAD, CONTROL_BYTE)                            \
    X(nul_after_a_long_text_is_refused, PH "X: abcdefghijklmnopqrstuvwxyz\0\r\n" E, BAD, CONTROL_BYTE)       \
    X(delete_after_a_long_text_is_refused, PH "X: abcdefghijklmnopqrstuvwxyz\x7f\r\n" E, BAD, CONTROL_BYTE)  \
    X(unit_separator_after_a_long_text_is_refused, PH "X: abcdefghijklmnopqrstuvwxyz\x1f\r\n" E, BAD,        \
      CONTROL_BYTE)                                                                                          \
    X(vertical_tab_in_a_field_value_is_refused, PH "Content-Length:\v5\r\n" E, BAD, CONTROL_BYTE)            \
    X(form_feed_in_a_field_value_is_refused, PH "Content-Length: 5\f\r\n" E, BAD, CONTROL_BYTE)              \
    X(backspace_in_a_field_name_is_refused, PH "Content-Length\b: 5\r\n" E, BAD, CONTROL_BYTE)               \
    /* --- field lines --- */                                                                                \
    X(obs_fold_with_space_is_refused, PH "X: a\r\n b\r\n" E, BAD, OBS_FOLD)                                  \
    X(obs_fold_with_tab_is_refused, PH "X: a\r\n\tb\r\n" E, BAD, OBS_FOLD)                                   \
    X(space_before_the_first_field_is_refused, P " " H E, BAD, OBS_FOLD)                                     \
    X(folded_transfer_encoding_is_refused, PH "Transfer-Encoding: chunked\r\n ,gzip\r\n" E, BAD, OBS_FOLD)   \
    X(folded_authorization_is_refused, PH "Authorization: Bearer\r\n a.b.c\r\n" E, BAD, OBS_FOLD)            \
    X(line_of_one_space_is_refused, PH " \r\n" E, BAD, OBS_FOLD)                                             \
    X(space_before_the_colon_is_refused, PH "Content-Length : 5\r\n" E, BAD, SPACE_BEFORE_COLON)             \
    X(tab_before_the_colon_is_refused, PH "Transfer-Encoding\t: chunked\r\n" E, BAD, SPACE_BEFORE_COLON)     \
    X(space_inside_a_name_is_refused, PH "Content Length: 5\r\n" E, BAD, SPACE_BEFORE_COLON)                 \
    X(field_without_colon_is_refused, PH "Content-Length\r\n" E, BAD, BAD_FIELD_NAME)                        \
    X(field_with_empty_name_is_refused, PH ": 5\r\n" E, BAD, BAD_FIELD_NAME)                                 \
    X(name_with_a_slash_is_refused, PH "X/Y: 5\r\n" E, BAD, BAD_FIELD_NAME)                                  \
    X(name_with_a_bracket_is_refused, PH "X(Y: 5\r\n" E, BAD, BAD_FIELD_NAME)                                \
    X(name_with_a_quote_is_refused, PH "\"X\": 5\r\n" E, BAD, BAD_FIELD_NAME)                                \
    X(name_with_an_at_sign_is_refused, PH "X@Y: 5\r\n" E, BAD, BAD_FIELD_NAME)                               \
    X(name_with_a_high_byte_is_refused, PH "X\xa0: 5\r\n" E, BAD, BAD_FIELD_NAME)                            \
    X(pseudo_field_of_http_2_is_refused, PH ":authority: a\r\n" E, BAD, BAD_FIELD_NAME)                      \
    X(second_request_line_is_refused, P "GET /x HTTP/1.1\r\n" H E, BAD, SPACE_BEFORE_COLON)                  \
    /* --- Host --- */                                                                                       \
    X(missing_host_in_1_1_is_refused, P E, BAD, NO_HOST)                                                     \
    X(second_host_is_refused, PH "Host: other\r\n" E, BAD, SECOND_HOST)                                      \
    X(second_equal_host_is_refused, PH H E, BAD, SECOND_HOST)                                                \
    X(second_host_in_1_0_is_refused, "POST / HTTP/1.0\r\n" H H E, BAD, SECOND_HOST)                          \
    X(second_host_in_other_case_is_refused, PH "hOST: b\r\n" E, BAD, SECOND_HOST)                            \
    X(empty_host_is_refused, P "Host:\r\n" E, BAD, BAD_HOST)                                                 \
    X(blank_host_is_refused, P "Host:   \r\n" E, BAD, BAD_HOST)                                              \
    X(host_list_is_refused, P "Host: a, b\r\n" E, BAD, BAD_HOST)                                             \
    X(host_with_a_space_is_refused, P "Host: a b\r\n" E, BAD, BAD_HOST)                                      \
    X(host_with_a_path_is_refused, P "Host: a/b\r\n" E, BAD, BAD_HOST)                                       \
    X(host_with_a_scheme_is_refused, P "Host: https://a\r\n" E, BAD, BAD_HOST)                               \
    X(host_with_user_info_is_refused, P "Host: me@a\r\n" E, BAD, BAD_HOST)                                   \
    X(host_with_a_high_byte_is_refused, P "Host: \xc3\xa9.example\r\n" E, BAD, BAD_HOST)                     \
    X(host_with_empty_port_is_refused, P "Host: a:\r\n" E, BAD, BAD_HOST)                                    \
    X(host_with_a_port_over_65535_is_refused, P "Host: a:65536\r\n" E, BAD, BAD_HOST)                        \
    X(host_with_a_port_name_is_refused, P "Host: a:https\r\n" E, BAD, BAD_HOST)                              \
    X(host_with_a_signed_port_is_refused, P "Host: a:+443\r\n" E, BAD, BAD_HOST)                             \
    X(host_with_two_ports_is_refused, P "Host: a:1:2\r\n" E, BAD, BAD_HOST)                                  \
    X(host_with_an_open_bracket_is_refused, P "Host: [::1\r\n" E, BAD, BAD_HOST)                             \
    X(host_with_empty_brackets_is_refused, P "Host: []\r\n" E, BAD, BAD_HOST)                                \
    X(host_with_bytes_after_the_bracket_is_refused, P "Host: [::1]a\r\n" E, BAD, BAD_HOST)                   \
    X(host_with_a_zone_is_refused, P "Host: [fe80::1%25eth0]\r\n" E, BAD, BAD_HOST)                          \
    /* --- Content-Length --- */                                                                             \
    X(empty_content_length_is_refused, PH "Content-Length:\r\n" E, BAD, BAD_LENGTH)                          \
    X(content_length_with_plus_is_refused, PH "Content-Length: +5\r\n" E, BAD, BAD_LENGTH)                   \
    X(content_length_with_minus_is_refused, PH "Content-Length: -5\r\n" E, BAD, BAD_LENGTH)                  \
    X(minus_zero_content_length_is_refused, PH "Content-Length: -0\r\n" E, BAD, BAD_LENGTH)                  \
    X(hexadecimal_content_length_is_refused, PH "Content-Length: 0x5\r\n" E, BAD, BAD_LENGTH)                \
    X(bare_hexadecimal_content_length_is_refused, PH "Content-Length: 1f\r\n" E, BAD, BAD_LENGTH)            \
    X(octal_looking_content_length_is_refused, PH "Content-Length: 010\r\n" E, BAD, BAD_LENGTH)              \
    X(content_length_00_is_refused, PH "Content-Length: 00\r\n" E, BAD, BAD_LENGTH)                          \
    X(content_length_with_a_point_is_refused, PH "Content-Length: 5.0\r\n" E, BAD, BAD_LENGTH)               \
    X(content_length_with_an_exponent_is_refused, PH "Content-Length: 1e1\r\n" E, BAD, BAD_LENGTH)           \
    X(content_length_with_a_unit_is_refused, PH "Content-Length: 5b\r\n" E, BAD, BAD_LENGTH)                 \
    X(content_length_with_inner_space_is_refused, PH "Content-Length: 1 0\r\n" E, BAD, BAD_LENGTH)           \
    X(content_length_with_separators_is_refused, PH "Content-Length: 1_0\r\n" E, BAD, BAD_LENGTH)            \
    X(content_length_in_quotes_is_refused, PH "Content-Length: \"5\"\r\n" E, BAD, BAD_LENGTH)                \
    X(content_length_list_is_refused, PH "Content-Length: 5, 6\r\n" E, BAD, BAD_LENGTH)                      \
    X(content_length_list_of_equals_is_refused, PH "Content-Length: 5,5\r\n" E, BAD, BAD_LENGTH)             \
    X(content_length_with_trailing_comma_is_refused, PH "Content-Length: 5,\r\n" E, BAD, BAD_LENGTH)         \
    X(content_length_with_a_parameter_is_refused, PH "Content-Length: 5;a\r\n" E, BAD, BAD_LENGTH)           \
    X(content_length_in_fullwidth_digits_is_refused, PH "Content-Length: \xef\xbc\x95\r\n" E, BAD,           \
      BAD_LENGTH)                                                                                            \
    X(content_length_with_no_break_space_is_refused,                                                         \
      PH "Content-Length: \xa0"                                                                              \
         "5\r\n" E,                                                                                          \
      BAD, BAD_LENGTH)                                                                                       \
    X(second_content_length_is_refused, PH "Content-Length: 5\r\nContent-Length: 6\r\n" E, BAD,              \
      SECOND_LENGTH)                                                                                         \
    X(second_equal_content_length_is_refused, PH "Content-Length: 5\r\nContent-Length: 5\r\n" E, BAD,        \
      SECOND_LENGTH)                                                                                         \
    X(second_content_length_in_other_case_is_refused, PH "Content-Length: 5\r\ncontent-LENGTH: 5\r\n" E,     \
      BAD, SECOND_LENGTH)                                                                                    \
    X(body_one_byte_over_the_limit_is_too_large, PH "Content-Length: 524289\r\n" E, TOO_LARGE,               \
      BODY_TOO_LARGE)                                                                                        \
    X(length_of_2_to_the_64_is_too_large, PH "Content-Length: 18446744073709551616\r\n" E, TOO_LARGE,        \
      BODY_TOO_LARGE)                                                                                        \
    X(length_of_2_to_the_64_and_5_is_too_large, PH "Content-Length: 18446744073709551621\r\n" E, TOO_LARGE,  \
      BODY_TOO_LARGE)                                                                                        \
    X(length_of_2_to_the_32_and_5_is_too_large, PH "Content-Length: 4294967301\r\n" E, TOO_LARGE,            \
      BODY_TOO_LARGE)                                                                                        \
    X(length_of_forty_digits_is_too_large,                                                                   \
      PH "Content-Length: 9999999999999999999999999999999999999999\r\n" E, TOO_LARGE, BODY_TOO_LARGE)        \
    /* --- Transfer-Encoding --- */                                                                          \
    X(length_then_chunked_is_refused, PH "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" E, BAD,       \
      AMBIGUOUS_LENGTH)                                                                                      \
    X(chunked_then_length_is_refused, PH "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" E, BAD,       \
      AMBIGUOUS_LENGTH)                                                                                      \
    X(chunked_beside_zero_length_is_refused, PH "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n" E,     \
      BAD, AMBIGUOUS_LENGTH)                                                                                 \
    X(unknown_coding_beside_length_is_refused,                                                               \
      PH "Transfer-Encoding: gzip, chunked\r\nContent-Length: 5\r\n" E, BAD, AMBIGUOUS_LENGTH)               \
    X(too_large_length_beside_chunked_is_refused,                                                            \
      PH "Transfer-Encoding: chunked\r\nContent-Length: 9999999999\r\n" E, BAD, AMBIGUOUS_LENGTH)            \
    X(second_transfer_encoding_is_refused,                                                                   \
      PH "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" E, BAD, BAD_TRANSFER_ENCODING)       \
    X(second_identity_transfer_encoding_is_refused,                                                          \
      PH "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" E, BAD, BAD_TRANSFER_ENCODING)      \
    X(chunked_twice_in_a_list_is_refused, PH "Transfer-Encoding: chunked, chunked\r\n" E, BAD,               \
      BAD_TRANSFER_ENCODING)                                                                                 \
    X(chunked_before_another_coding_is_refused, PH "Transfer-Encoding: chunked, gzip\r\n" E, BAD,            \
      BAD_TRANSFER_ENCODING)                                                                                 \
    X(chunked_before_identity_is_refused, PH "Transfer-Encoding: chunked, identity\r\n" E, BAD,              \
      BAD_TRANSFER_ENCODING)                                                                                 \
    X(identity_is_refused, PH "Transfer-Encoding: identity\r\n" E, BAD, BAD_TRANSFER_ENCODING)               \
    X(coding_that_does_not_end_in_chunked_is_refused, PH "Transfer-Encoding: gzip\r\n" E, BAD,               \
      BAD_TRANSFER_ENCODING)                                                                                 \
    X(empty_transfer_encoding_is_refused, PH "Transfer-Encoding:\r\n" E, BAD, BAD_TRANSFER_ENCODING)         \
    X(leading_comma_before_chunked_is_refused, PH "Transfer-Encoding: ,chunked\r\n" E, BAD,                  \
      BAD_TRANSFER_ENCODING)                                                                                 \
    X(trailing_comma_after_chunked_is_refused, PH "Transfer-Encoding: chunked,\r\n" E, BAD,                  \
      BAD_TRANSFER_ENCODING)                                                                                 \
    X(chunked_with_a_parameter_is_refused, PH "Transfer-Encoding: chunked;q=1\r\n" E, BAD,                   \
      BAD_TRANSFER_ENCODING)                                                                                 \
    X(chunked_in_quotes_is_refused, PH "Transfer-Encoding: \"chunked\"\r\n" E, BAD, BAD_TRANSFER_ENCODING)   \
    X(xchunked_is_refused, PH "Transfer-Encoding: xchunked\r\n" E, BAD, BAD_TRANSFER_ENCODING)               \
    X(chunkedx_is_refused, PH "Transfer-Encoding: chunkedx\r\n" E, BAD, BAD_TRANSFER_ENCODING)               \
    X(chunked_after_a_space_separated_word_is_refused, PH "Transfer-Encoding: x chunked\r\n" E, BAD,         \
      BAD_TRANSFER_ENCODING)                                                                                 \
    X(chunked_with_a_high_byte_is_refused, PH "Transfer-Encoding: chunked\xa0\r\n" E, BAD,                   \
      BAD_TRANSFER_ENCODING)                                                                                 \
    X(chunked_in_1_0_is_refused, "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n" E, BAD,            \
      CHUNKED_IN_1_0)                                                                                        \
    X(gzip_then_chunked_is_not_implemented, PH "Transfer-Encoding: gzip, chunked\r\n" E, NOT_IMPLEMENTED,    \
      UNKNOWN_CODING)                                                                                        \
    X(identity_then_chunked_is_not_implemented, PH "Transfer-Encoding: identity, chunked\r\n" E,             \
      NOT_IMPLEMENTED, UNKNOWN_CODING)                                                                       \
    /* --- other fields that may come once --- */                                                            \
    X(second_authorization_is_refused, PH "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n" E, BAD,   \
      SECOND_AUTHORIZATION)                                                                                  \
    X(second_equal_authorization_is_refused, PH "Authorization: Bearer a\r\nauthorization: Bearer a\r\n" E,  \
      BAD, SECOND_AUTHORIZATION)                                                                             \
    X(second_empty_authorization_is_refused, PH "Authorization:\r\nAuthorization: Bearer a\r\n" E, BAD,      \
      SECOND_AUTHORIZATION)                                                                                  \
    X(second_content_type_is_refused, PH "Content-Type: a/b\r\nContent-Type: a/b\r\n" E, BAD,                \
      SECOND_CONTENT_TYPE)                                                                                   \
    X(connection_with_a_quoted_option_is_refused, PH "Connection: \"close\"\r\n" E, BAD, BAD_FIELD_VALUE)    \
    X(connection_with_two_words_is_refused, PH "Connection: keep alive\r\n" E, BAD, BAD_FIELD_VALUE)         \
    X(unknown_expectation_is_refused, PH "Expect: 200-ok\r\n" E, BAD_EXPECTATION, BAD_EXPECTATION)           \
    X(empty_expectation_is_refused, PH "Expect:\r\n" E, BAD_EXPECTATION, BAD_EXPECTATION)                    \
    X(expectation_list_is_refused, PH "Expect: 100-continue, x\r\n" E, BAD_EXPECTATION, BAD_EXPECTATION)     \
    X(second_unknown_expectation_is_refused, PH "Expect: 100-continue\r\nExpect: x\r\n" E, BAD_EXPECTATION,  \
      BAD_EXPECTATION)                                                                                       \
    X(bad_framing_wins_over_an_unknown_expectation,                                                          \
      PH "Expect: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n" E, BAD, AMBIGUOUS_LENGTH)

#define X(name, bytes, status, why)                                                                          \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        check_refused(bytes, sizeof(bytes) - 1, HTTP_##status, REASON_HTTP_##why);                           \
    }
REFUSALS(X)
#undef X

/* name, bytes, what must hold of the request then */
#define ACCEPTED(X)                                                                                          \
    X(post_is_known, PH E, rq.method == HTTP_POST)                                                           \
    X(get_is_known, "GET / HTTP/1.1\r\n" H E, rq.method == HTTP_GET)                                         \
    X(lower_case_post_is_another_method, "post / HTTP/1.1\r\n" H E, rq.method == HTTP_METHOD_OTHER)          \
    X(longer_name_than_post_is_another_method, "POSTS / HTTP/1.1\r\n" H E, rq.method == HTTP_METHOD_OTHER)   \
    X(method_may_be_any_token, "M-SEARCH!# / HTTP/1.1\r\n" H E, rq.method == HTTP_METHOD_OTHER)              \
    X(one_empty_line_before_the_request_is_skipped, "\r\n" PH E, rq.method == HTTP_POST)                     \
    X(the_path_is_the_target, PH E, span_is(rq.path, "/k:wrap"))                                             \
    X(the_query_is_part_of_the_path, "GET /k?a=b HTTP/1.1\r\n" H E, span_is(rq.path, "/k?a=b"))              \
    X(dot_segments_stay, "GET /a/../b/./c HTTP/1.1\r\n" H E, span_is(rq.path, "/a/../b/./c"))                \
    X(percent_sequences_stay, "GET /%6b%2F%00 HTTP/1.1\r\n" H E, span_is(rq.path, "/%6b%2F%00"))             \
    X(double_slashes_stay, "GET //k HTTP/1.1\r\n" H E, span_is(rq.path, "//k"))                              \
    X(minor_version_1_is_seen, PH E, rq.minor_version == 1)                                                  \
    X(minor_version_0_is_seen, "POST / HTTP/1.0\r\n" E, rq.minor_version == 0)                               \
    X(version_1_0_needs_no_host, "POST / HTTP/1.0\r\n" E, rq.host.len == 0)                                  \
    X(the_host_is_seen, PH E, span_is(rq.host, "ekm.example"))                                               \
    X(host_with_port_is_taken, P "Host: a:8443\r\n" E, span_is(rq.host, "a:8443"))                           \
    X(host_with_a_port_of_one_digit_is_taken, P "Host: a:1\r\n" E, span_is(rq.host, "a:1"))                  \
    X(host_with_port_65535_is_taken, P "Host: a:65535\r\n" E, span_is(rq.host, "a:65535"))                   \
    X(host_may_be_ipv4, P "Host: 192.0.2.1:443\r\n" E, span_is(rq.host, "192.0.2.1:443"))                    \
    X(host_may_be_ipv6, P "Host: [2001:db8::1]:443\r\n" E, span_is(rq.host, "[2001:db8::1]:443"))            \
    X(names_of_fields_have_no_case, P "hOsT: a\r\n" E, span_is(rq.host, "a"))                                \
    X(white_space_around_a_value_is_dropped, P "Host: \t a \t \r\n" E, span_is(rq.host, "a"))                \
    X(no_white_space_before_a_value_is_needed, P "Host:a\r\n" E, span_is(rq.host, "a"))                      \
    X(high_bytes_in_an_unknown_field_are_let_pass, PH "X: \xc3\xa9\r\n" E, rq.method == HTTP_POST)           \
    X(bytes_from_0x80_to_0xff_in_a_long_text_are_let_pass,                                                   \
      PH "X: abcdefgh\x80\x8a\x8d\x9f\xa0\xff\xfe\x81\r\n" E, rq.method == HTTP_POST)                        \
    X(tab_in_a_long_text_is_let_pass, PH "X: abcdefgh\tijklmnopqrst\r\n" E, rq.method == HTTP_POST)          \
    X(empty_unknown_field_is_let_pass, PH "X:\r\n" E, rq.method == HTTP_POST)                                \
    X(field_named_like_a_prefix_is_unknown, PH "Content-Lengt: x\r\n" E, rq.framing == HTTP_NO_BODY)         \
    X(field_with_underscore_is_unknown, PH "Content_Length: x\r\n" E, rq.framing == HTTP_NO_BODY)            \
    X(no_length_means_no_body, PH E, rq.framing == HTTP_NO_BODY)                                             \
    X(content_length_is_read, PH "Content-Length: 42\r\n" E,                                                 \
      rq.framing == HTTP_CONTENT_LENGTH && rq.content_length == 42)                                          \
    X(content_length_0_is_read, PH "Content-Length: 0\r\n" E,                                                \
      rq.framing == HTTP_CONTENT_LENGTH && rq.content_length == 0)                                           \
    X(content_length_at_the_limit_is_read, PH "Content-Length: 524288\r\n" E, rq.content_length == 524288)   \
    X(content_length_in_any_case_is_read, PH "cONTENT-lENGTH: 7\r\n" E, rq.content_length == 7)              \
    X(a_get_may_have_a_body, "GET / HTTP/1.1\r\n" H "Content-Length: 7\r\n" E, rq.content_length == 7)       \
    X(chunked_is_read, PH "Transfer-Encoding: chunked\r\n" E, rq.framing == HTTP_CHUNKED)                    \
    X(chunked_in_any_case_is_read, PH "transfer-encoding: ChunKed\r\n" E, rq.framing == HTTP_CHUNKED)        \
    X(version_1_1_persists, PH E, rq.keep_alive)                                                             \
    X(close_ends_1_1, PH "Connection: close\r\n" E, !rq.keep_alive)                                          \
    X(close_in_any_case_ends_1_1, PH "Connection: ClOsE\r\n" E, !rq.keep_alive)                              \
    X(close_in_a_list_ends_1_1, PH "Connection: te, close, x\r\n" E, !rq.keep_alive)                         \
    X(close_in_a_second_field_ends_1_1, PH "Connection: te\r\nConnection: close\r\n" E, !rq.keep_alive)      \
    X(close_wins_over_keep_alive, PH "Connection: keep-alive, close\r\n" E, !rq.keep_alive)                  \
    X(closed_is_not_close, PH "Connection: closed\r\n" E, rq.keep_alive)                                     \
    X(empty_elements_of_connection_are_let_pass, PH "Connection: ,, close ,\r\n" E, !rq.keep_alive)          \
    X(empty_connection_is_let_pass, PH "Connection:\r\n" E, rq.keep_alive)                                   \
    X(version_1_0_closes, "POST / HTTP/1.0\r\n" H E, !rq.keep_alive)                                         \
    X(version_1_0_persists_if_asked, "POST / HTTP/1.0\r\nConnection: Keep-Alive\r\n" E, rq.keep_alive)       \
    X(close_wins_in_1_0_too, "POST / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n" E,         \
      !rq.keep_alive)                                                                                        \
    X(authorization_is_seen_whole, PH "Authorization: Bearer a.b.c\r\n" E,                                   \
      span_is(secret_expose(rq.authorization), "Bearer a.b.c"))                                              \
    X(authorization_is_empty_when_absent, PH E, rq.authorization.len == 0)                                   \
    X(content_type_is_seen, PH "Content-Type: application/json; charset=utf-8\r\n" E,                        \
      span_is(rq.content_type, "application/json; charset=utf-8"))                                           \
    X(expect_continue_with_a_body_is_seen, PH "Content-Length: 1\r\nExpect: 100-continue\r\n" E,             \
      rq.expect_continue)                                                                                    \
    X(expect_continue_with_chunks_is_seen, PH "Transfer-Encoding: chunked\r\nExpect: 100-Continue\r\n" E,    \
      rq.expect_continue)                                                                                    \
    X(expect_continue_without_a_body_asks_nothing, PH "Expect: 100-continue\r\n" E, !rq.expect_continue)     \
    X(expect_continue_with_length_0_asks_nothing, PH "Content-Length: 0\r\nExpect: 100-continue\r\n" E,      \
      !rq.expect_continue)                                                                                   \
    X(expectation_in_1_0_is_ignored, "POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n" E,   \
      !rq.expect_continue)                                                                                   \
    X(unknown_expectation_in_1_0_is_ignored, "POST / HTTP/1.0\r\nExpect: x\r\n" E, !rq.expect_continue)      \
    X(upgrade_is_ignored, PH "Connection: upgrade\r\nUpgrade: h2c\r\n" E, rq.keep_alive)

#define X(name, bytes, holds)                                                                                \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        check_taken(bytes, sizeof(bytes) - 1);                                                               \
        assert_true(holds);                                                                                  \
    }
ACCEPTED(X)
#undef X

static void the_head_ends_where_the_body_begins(void **state)
{
    static const char text[] = PH "Content-Length: 5\r\n\r\nhello";
    (void)state;

    assert_int_equal(http_parse_head(span_of(text, sizeof text - 1), &rq, &why_not), HTTP_OK);
    assert_string_equal(text + rq.head_len, "hello");
}

static void the_next_pipelined_request_is_not_touched(void **state)
{
    static const char text[] = PH E "\0\n rubbish";
    (void)state;

    assert_int_equal(http_parse_head(span_of(text, sizeof text - 1), &rq, &why_not), HTTP_OK);
    assert_int_equal(rq.head_len, sizeof(PH E) - 1);
}

/* Whatever width the parser looks at a value with: what a byte is does not depend on where it stands. */
static void every_byte_at_every_place_of_a_value_is_judged_alike(void **state)
{
    static const char head[] = PH "X: ", tail[] = E E;
    char text[sizeof head + 70 + sizeof tail];
    struct http_request one;
    enum reason why;
    (void)state;

    for (size_t len = 1; len <= 70; len += 3) {
        size_t total = strlen(head) + len + strlen(tail);
        memcpy(text, head, strlen(head));
        memset(text + strlen(head), 'v', len);
        memcpy(text + strlen(head) + len, tail, strlen(tail));
        for (size_t at = 0; at < len; at++) {
            for (int byte = 0; byte < 256; byte++) {
                bool line_end = byte == '\r' || byte == '\n';
                bool text_byte = byte == '\t' || (byte >= 0x20 && byte != 0x7f);

                text[strlen(head) + at] = (char)byte;
                enum http_status got = parse_exact(text, total, &one, &why);
                if (text_byte)
                    assert_int_equal(got, HTTP_OK);
                else if (!(byte == '\r' && at + 1 == len)) /* CR CR LF: the first is bare, too */
                    assert_int_equal(why, line_end ? REASON_HTTP_BARE_LINE_END : REASON_HTTP_CONTROL_BYTE);
                assert_int_equal(got == HTTP_OK, text_byte);
            }
            text[strlen(head) + at] = 'v';
        }
    }
}

#define ALNUM "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* The same of the three places where only some bytes may stand. */
static void every_byte_at_every_place_of_a_target_name_and_host_is_judged_alike(void **state)
{
    static const struct {
        const char *head, *tail, *allowed, *allowed_within, *allowed_at_the_ends;
    } places[] = {
        {"POST /", " HTTP/1.1\r\n" H E, ALNUM "-._~!$&'()*+,;=:@/?%", "", ""},
        {PH, ": v" E E, ALNUM "!#$%&'*+-.^_`|~", ":", ""}, /* a colon ends the name before */
        {P "Host: ", E E, ALNUM "-._~", "", " \t"},        /* trimmed off */
    };
    char text[256];
    struct http_request one;
    enum reason why;
    (void)state;

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        for (size_t len = 15; len <= 34; len++) {
            size_t before = strlen(places[i].head), total = before + len + strlen(places[i].tail);
            memcpy(text, places[i].head, before);
            memset(text + before, 'x', len);
            memcpy(text + before + len, places[i].tail, strlen(places[i].tail));
            for (size_t at = 0; at < len; at++) {
                bool end = at == 0 || at + 1 == len;
                for (int byte = 1; byte < 256; byte++) {
                    text[before + at] = (char)byte;
                    bool allowed = strchr(places[i].allowed, byte) != NULL ||
                                   (at != 0 && strchr(places[i].allowed_within, byte) != NULL) ||
                                   (end && strchr(places[i].allowed_at_the_ends, byte) != NULL);
                    assert_int_equal(parse_exact(text, total, &one, &why) == HTTP_OK, allowed);
                }
                text[before + at] = 'x';
            }
        }
    }
}

static void a_field_s_name_counts_in_any_case_and_only_whole(void **state)
{
    static const struct {
        const char *name, *value;
        enum reason second; /* what a second one of it is */
    } known[] = {{"Host", "a", REASON_HTTP_SECOND_HOST},
                 {"Content-Length", "1", REASON_HTTP_SECOND_LENGTH},
                 {"Content-Type", "a", REASON_HTTP_SECOND_CONTENT_TYPE},
                 {"Authorization", "a", REASON_HTTP_SECOND_AUTHORIZATION}};
    char text[256];
    struct http_request one;
    enum reason why;
    (void)state;

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        for (size_t at = 0; at < strlen(known[i].name); at++) {
            for (int bit = 0; bit < 7; bit++) {
                const char *host = strcmp(known[i].name, "Host") == 0 ? "" : H;
                int len = snprintf(text, sizeof text, P "%s%s: %s\r\n%s: %s\r\n\r\n", host, known[i].name,
                                   known[i].value, known[i].name, known[i].value);
                char *second = strstr(strstr(text, known[i].name) + 1, known[i].name) + at;
                *second = (char)(*second ^ (1 << bit));
                bool letter = (*second | 0x20) >= 'a' && (*second | 0x20) <= 'z';
                enum http_status got = parse_exact(text, (size_t)len, &one, &why);
                if (bit == 5 && letter)
                    assert_int_equal(why, known[i].second);
                else
                    assert_true(got == HTTP_OK || why != known[i].second);
            }
        }
    }
}

static void nothing_is_more(void **state)
{
    (void)state;

    assert_int_equal(http_parse_head(span_of("", 0), &rq, &why_not), HTTP_MORE);
}

/* A head of exactly len bytes: one long field fills it. */
static enum http_status parse_head_of(size_t len)
{
    static char text[HTTP_HEAD_MAX + 16];
    static const char begin[] = PH "X: ";

    memset(text, 'x', sizeof text);
    memcpy(text, begin, sizeof begin - 1);
    memcpy(text + len - 4, "\r\n\r\n", 4);
    return http_parse_head(span_of(text, len), &rq, &why_not);
}

static void head_at_the_limit_is_taken(void **state)
{
    (void)state;

    assert_int_equal(parse_head_of(HTTP_HEAD_MAX), HTTP_OK);
}

static void head_one_byte_over_the_limit_is_too_large(void **state)
{
    (void)state;

    assert_int_equal(parse_head_of(HTTP_HEAD_MAX + 1), HTTP_HEAD_TOO_LARGE);
    assert_int_equal(why_not, REASON_HTTP_HEAD_TOO_LARGE);
}

static void endless_request_line_is_too_large(void **state)
{
    static char text[HTTP_HEAD_MAX];
    (void)state;

    memset(text, 'A', sizeof text);
    assert_int_equal(http_parse_head(span_of(text, sizeof text), &rq, &why_not), HTTP_HEAD_TOO_LARGE);
    assert_int_equal(http_parse_head(span_of(text, sizeof text - 1), &rq, &why_not), HTTP_MORE);
}

static enum http_status parse_fields(size_t count)
{
    static char text[HTTP_HEAD_MAX];
    size_t len = sizeof(PH) - 1;

    memcpy(text, PH, len);
    for (size_t i = 1; i < count; i++, len += 5)
        memcpy(text + len, "X:y\r\n", 5);
    memcpy(text + len, "\r\n", 2);
    return http_parse_head(span_of(text, len + 2), &rq, &why_not);
}

static void as_many_fields_as_the_limit_are_taken(void **state)
{
    (void)state;

    assert_int_equal(parse_fields(HTTP_FIELDS_MAX), HTTP_OK);
}

static void one_field_over_the_limit_is_too_large(void **state)
{
    (void)state;

    assert_int_equal(parse_fields(HTTP_FIELDS_MAX + 1), HTTP_HEAD_TOO_LARGE);
    assert_int_equal(why_not, REASON_HTTP_TOO_MANY_FIELDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define X(name, ...) cmocka_unit_test(name),
        REFUSALS(X) ACCEPTED(X)
#undef X
            cmocka_unit_test(the_head_ends_where_the_body_begins),
        cmocka_unit_test(the_next_pipelined_request_is_not_touched),
        cmocka_unit_test(every_byte_at_every_place_of_a_value_is_judged_alike),
        cmocka_unit_test(every_byte_at_every_place_of_a_target_name_and_host_is_judged_alike),
        cmocka_unit_test(a_field_s_name_counts_in_any_case_and_only_whole),
        cmocka_unit_test(nothing_is_more),
        cmocka_unit_test(head_at_the_limit_is_taken),
        cmocka_unit_test(head_one_byte_over_the_limit_is_too_large),
        cmocka_unit_test(endless_request_line_is_too_large),
        cmocka_unit_test(as_many_fields_as_the_limit_are_taken),
        cmocka_unit_test(one_field_over_the_limit_is_too_large),
    };
    return RUN_TESTS("http_head", tests);
}
