#include "proto/http.h"
#include "tests/unit/test.h"

static uint8_t room[512];

static bool writes(struct http_reply_head h, const char *expected)
{
    struct buf out = {room, 0, sizeof room};

    return http_write_head(&out, &h) && span_is(buf_span(&out), expected);
}

#define HEAD(...) ((struct http_reply_head){__VA_ARGS__})

/* name, head, bytes */
#define WRITTEN(X)                                                                                           \
    X(ok_with_a_body_says_length_and_type, HEAD(.status = 200, .content_length = 1234),                      \
      "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nContent-Type: application/json\r\n\r\n")                   \
    X(reply_without_a_body_has_no_type, HEAD(.status = 400),                                                 \
      "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")                                               \
    X(closing_reply_says_so, HEAD(.status = 413, .close = true),                                             \
      "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")                    \
    X(persisting_reply_to_1_0_says_so, HEAD(.status = 200, .keep_alive_1_0 = true),                          \
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n")                              \
    X(close_wins_over_keep_alive, HEAD(.status = 200, .keep_alive_1_0 = true, .close = true),                \
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")                                   \
    X(busy_reply_may_say_when_to_come_back, HEAD(.status = 503, .retry_after_s = 1),                         \
      "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n")                     \
    X(unauthorized_reply_names_the_scheme, HEAD(.status = 401, .www_authenticate = true),                    \
      "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: Bearer\r\n\r\n")                  \
    X(method_not_allowed_says_what_is, HEAD(.status = 405, .allow_post = true),                              \
      "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nAllow: POST\r\n\r\n")                         \
    X(date_is_written_as_given, HEAD(.status = 200, .date = span_str("Sun, 06 Nov 1994 08:49:37 GMT")),      \
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n")                 \
    X(length_of_twenty_digits_is_written, HEAD(.status = 204, .content_length = SIZE_MAX),                   \
      "HTTP/1.1 204 \r\nContent-Length: 18446744073709551615\r\nContent-Type: application/json\r\n\r\n")

#define X(name, head, expected)                                                                              \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_true(writes(head, expected));                                                                 \
    }
WRITTEN(X)
#undef X

static void head_is_appended(void **state)
{
    struct buf out = {room, 3, sizeof room};
    struct http_reply_head h = {.status = 200};
    (void)state;

    memcpy(room, "abc", 3);
    assert_true(http_write_head(&out, &h));
    assert_memory_equal(room, "abcHTTP/1.1 200 OK\r\n", 20);
}

static void head_that_fits_exactly_is_written(void **state)
{
    struct buf out = {room, 0, sizeof("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") - 1};
    struct http_reply_head h = {.status = 200};
    (void)state;

    assert_true(http_write_head(&out, &h));
    assert_int_equal(out.len, out.cap);
}

static void head_that_does_not_fit_is_not_written(void **state)
{
    struct buf out = {room, 0, sizeof("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") - 2};
    struct http_reply_head h = {.status = 200};
    (void)state;

    assert_false(http_write_head(&out, &h));
    assert_int_equal(out.len, 0);
}

static void interim_reply_is_a_whole_head(void **state)
{
    (void)state;

    assert_string_equal(http_continue, "HTTP/1.1 100 Continue\r\n\r\n");
}

static bool date_is(uint64_t unix_s, const char *expected)
{
    uint8_t out[HTTP_DATE_LEN];

    http_format_date(unix_s, out);
    return span_is(span_of(out, sizeof out), expected);
}

/* name, seconds, date */
#define DATES(X)                                                                                             \
    X(date_of_the_epoch, 0, "Thu, 01 Jan 1970 00:00:00 GMT")                                                 \
    X(date_of_rfc_9110, 784111777, "Sun, 06 Nov 1994 08:49:37 GMT")                                          \
    X(date_of_a_leap_day, 951782400, "Tue, 29 Feb 2000 00:00:00 GMT")                                        \
    X(date_after_a_leap_day, 951868800, "Wed, 01 Mar 2000 00:00:00 GMT")                                     \
    X(date_of_the_last_second_of_a_year, 1735689599, "Tue, 31 Dec 2024 23:59:59 GMT")                        \
    X(date_of_a_new_year, 1735689600, "Wed, 01 Jan 2025 00:00:00 GMT")                                       \
    X(date_in_a_century_without_a_leap_day, 4107542400, "Mon, 01 Mar 2100 00:00:00 GMT")                     \
    X(date_before_it, 4107456000, "Sun, 28 Feb 2100 00:00:00 GMT")                                           \
    X(date_at_the_end_of_9999, 253402300799, "Fri, 31 Dec 9999 23:59:59 GMT")

#define X(name, seconds, expected)                                                                           \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_true(date_is(seconds, expected));                                                             \
    }
DATES(X)
#undef X

int main(void)
{
    const struct CMUnitTest tests[] = {
#define X(name, ...) cmocka_unit_test(name),
        WRITTEN(X) DATES(X)
#undef X
            cmocka_unit_test(head_is_appended),
        cmocka_unit_test(head_that_fits_exactly_is_written),
        cmocka_unit_test(head_that_does_not_fit_is_not_written),
        cmocka_unit_test(interim_reply_is_a_whole_head),
    };
    return RUN_TESTS("http_reply", tests);
}
