/* Chunked bodies.  Every case is fed at once, byte by byte and in place: the outcome must be the same. */
#include "proto/http.h"
#include "tests/unit/test.h"

#include <stdlib.h>

struct outcome {
    enum http_status status;
    enum reason why;
    size_t used;
    size_t body_len;
    uint8_t body[1024];
};

static void feed(const char *text, size_t len, size_t piece, struct outcome *o)
{
    struct http_chunked c;
    struct buf body = {o->body, 0, sizeof o->body};

    http_chunked_init(&c);
    *o = (struct outcome){.status = HTTP_MORE, .why = REASON_COUNT};
    while (o->status == HTTP_MORE && o->used < len) {
        size_t used, give = len - o->used < piece ? len - o->used : piece;
        uint8_t *copy = malloc(give);

        assert_non_null(copy);
        memcpy(copy, text + o->used, give);
        o->status = http_chunked_feed(&c, span_of(copy, give), &used, &body, &o->why);
        free(copy);
        assert_true(used <= give);
        assert_true(o->status != HTTP_MORE || used == give);
        o->used += used;
    }
    o->body_len = body.len;
}

/* Decodes over its own input, as the worker does. */
static void feed_in_place(const char *text, size_t len, struct outcome *o)
{
    uint8_t *area = malloc(len != 0 ? len : 1);
    struct http_chunked c;
    struct buf body = {area, 0, len};

    assert_non_null(area);
    memcpy(area, text, len);
    http_chunked_init(&c);
    o->why = REASON_COUNT;
    o->status = http_chunked_feed(&c, span_of(area, len), &o->used, &body, &o->why);
    o->body_len = body.len;
    memcpy(o->body, area, body.len);
    free(area);
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->why, b->why);
    assert_int_equal(a->used, b->used);
    assert_int_equal(a->body_len, b->body_len);
    assert_memory_equal(a->body, b->body, a->body_len);
}

static struct outcome whole;

static void run(const char *text, size_t len)
{
    static struct outcome other;

    feed(text, len, len != 0 ? len : 1, &whole);
    feed(text, len, 1, &other);
    check_same(&whole, &other);
    feed(text, len, 3, &other);
    check_same(&whole, &other);
    feed_in_place(text, len, &other);
    check_same(&whole, &other);
}

static bool body_is(const char *text)
{
    return whole.status == HTTP_OK && span_is(span_of(whole.body, whole.body_len), text);
}

/* name, bytes, body; the whole of the bytes belongs to it */
#define TAKEN(X)                                                                                             \
    X(one_chunk_is_its_data, "5\r\nhello\r\n0\r\n\r\n", "hello")                                             \
    X(two_chunks_are_joined, "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world")                        \
    X(no_chunk_is_an_empty_body, "0\r\n\r\n", "")                                                            \
    X(sizes_are_hexadecimal, "10\r\n0123456789abcdef\r\n0\r\n\r\n", "0123456789abcdef")                      \
    X(sizes_have_no_case, "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789")         \
    X(leading_zeros_of_a_size_are_let_pass, "0005\r\nhello\r\n000\r\n\r\n", "hello")                         \
    X(data_may_look_like_framing, "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n")                        \
    X(extension_is_skipped, "5;a\r\nhello\r\n0\r\n\r\n", "hello")                                            \
    X(extension_with_value_is_skipped, "5;a=b;c=\"d e\"\r\nhello\r\n0\r\n\r\n", "hello")                     \
    X(extension_of_the_last_chunk_is_skipped, "5\r\nhello\r\n0;last=1\r\n\r\n", "hello")                     \
    X(extension_that_looks_like_a_size_is_skipped, "5;ffff\r\nhello\r\n0\r\n\r\n", "hello")                  \
    X(trailer_is_skipped, "5\r\nhello\r\n0\r\nX: y\r\n\r\n", "hello")                                        \
    X(two_trailers_are_skipped, "5\r\nhello\r\n0\r\nX: y\r\nZ:\r\n\r\n", "hello")                            \
    X(framing_in_a_trailer_means_nothing, "5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", "hello")

#define X(name, bytes, body)                                                                                 \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        run(bytes, sizeof(bytes) - 1);                                                                       \
        assert_true(body_is(body));                                                                          \
        assert_int_equal(whole.used, sizeof(bytes) - 1);                                                     \
    }
TAKEN(X)
#undef X

/* name, bytes, reason */
#define REFUSED(X)                                                                                           \
    X(empty_size_is_refused, "\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_SIZE)                                       \
    X(size_that_is_no_digit_is_refused, "g\r\n", BAD_CHUNK_SIZE)                                             \
    X(size_with_plus_is_refused, "+5\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_SIZE)                                 \
    X(size_with_minus_is_refused, "-5\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_SIZE)                                \
    X(size_with_0x_is_refused, "0x5\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_SIZE)                                  \
    X(size_with_underscore_is_refused, "1_0\r\n", BAD_CHUNK_SIZE)                                            \
    X(space_before_a_size_is_refused, " 5\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_SIZE)                            \
    X(space_after_a_size_is_refused, "5 \r\nhello\r\n0\r\n\r\n", BAD_CHUNK_SIZE)                             \
    X(space_before_an_extension_is_refused, "5 ;a\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_SIZE)                    \
    X(tab_after_a_size_is_refused, "5\t\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_SIZE)                              \
    X(nul_after_a_size_is_refused, "5\0\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_SIZE)                              \
    X(extension_without_size_is_refused, ";a\r\n", BAD_CHUNK_SIZE)                                           \
    X(comma_after_a_size_is_refused, "5,6\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_SIZE)                            \
    X(size_of_seventeen_digits_is_refused, "00000000000000005\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_SIZE)        \
    X(bare_lf_after_a_size_is_refused, "5\nhello\r\n0\r\n\r\n", BARE_LINE_END)                               \
    X(bare_cr_after_a_size_is_refused, "5\rhello\r\n0\r\n\r\n", BARE_LINE_END)                               \
    X(bare_lf_in_an_extension_is_refused, "5;a\nhello\r\n0\r\n\r\n", BARE_LINE_END)                          \
    X(bare_cr_in_an_extension_is_refused, "5;a\rb\r\nhello\r\n0\r\n\r\n", BARE_LINE_END)                     \
    X(nul_in_an_extension_is_refused, "5;a\0b\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_SIZE)                        \
    X(control_byte_in_an_extension_is_refused, "5;\x01\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_SIZE)               \
    X(data_longer_than_its_size_is_refused, "4\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_END)                        \
    X(data_shorter_than_its_size_is_refused, "6\r\nhello\r\n0\r\n\r\n", BAD_CHUNK_END)                       \
    X(bare_lf_after_data_is_refused, "5\r\nhello\n0\r\n\r\n", BAD_CHUNK_END)                                 \
    X(bare_cr_after_data_is_refused, "5\r\nhello\r0\r\n\r\n", BAD_CHUNK_END)                                 \
    X(missing_line_end_after_data_is_refused, "5\r\nhello0\r\n\r\n", BAD_CHUNK_END)                          \
    X(two_bytes_in_place_of_the_line_end_are_refused, "5\r\nhelloXX0\r\n\r\n", BAD_CHUNK_END)                \
    X(bare_lf_as_end_is_refused, "5\r\nhello\r\n0\r\n\n", BARE_LINE_END)                                     \
    X(bare_cr_as_end_is_refused, "5\r\nhello\r\n0\r\n\rX", BARE_LINE_END)                                    \
    X(bare_lf_after_a_trailer_is_refused, "0\r\nX: y\n\r\n", BARE_LINE_END)                                  \
    X(bare_cr_in_a_trailer_is_refused, "0\r\nX: y\rz\r\n\r\n", BARE_LINE_END)                                \
    X(bare_lf_in_a_trailer_name_is_refused, "0\r\nX\n", BARE_LINE_END)                                       \
    X(trailer_without_colon_is_refused, "0\r\nX\r\n\r\n", BAD_TRAILER)                                       \
    X(trailer_without_name_is_refused, "0\r\n: y\r\n\r\n", BAD_TRAILER)                                      \
    X(trailer_that_begins_with_space_is_refused, "0\r\n X: y\r\n\r\n", BAD_TRAILER)                          \
    X(space_before_the_colon_of_a_trailer_is_refused, "0\r\nX : y\r\n\r\n", BAD_TRAILER)                     \
    X(folded_trailer_is_refused, "0\r\nX: y\r\n z\r\n\r\n", BAD_TRAILER)                                     \
    X(nul_in_a_trailer_is_refused, "0\r\nX: \0\r\n\r\n", BAD_TRAILER)                                        \
    X(request_in_place_of_the_end_is_refused, "0\r\nGET / HTTP/1.1\r\n\r\n", BAD_TRAILER)

#define X(name, bytes, reason)                                                                               \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        run(bytes, sizeof(bytes) - 1);                                                                       \
        assert_int_equal(whole.status, HTTP_BAD);                                                            \
        assert_string_equal(reason_name(whole.why), "http_" reason);                                         \
    }
#define BAD_CHUNK_SIZE "bad_chunk_size"
#define BAD_CHUNK_END  "bad_chunk_end"
#define BARE_LINE_END  "bare_line_end"
#define BAD_TRAILER    "bad_trailer"
REFUSED(X)
#undef X

/* name, bytes */
#define TOO_LARGE(X)                                                                                         \
    X(chunk_over_the_body_limit_is_too_large, "80001\r\n")                                                   \
    X(size_of_2_to_the_64_less_1_is_too_large, "ffffffffffffffff\r\n")                                       \
    X(size_of_2_to_the_63_is_too_large, "8000000000000000\r\n")                                              \
    X(size_of_2_to_the_32_and_5_is_too_large, "100000005\r\nhello")                                          \
    X(second_chunk_over_the_body_limit_is_too_large, "5\r\nhello\r\n7fffc\r\n")

#define X(name, bytes)                                                                                       \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        run(bytes, sizeof(bytes) - 1);                                                                       \
        assert_int_equal(whole.status, HTTP_TOO_LARGE);                                                      \
        assert_int_equal(whole.why, REASON_HTTP_BODY_TOO_LARGE);                                             \
    }
TOO_LARGE(X)
#undef X

static void what_follows_the_body_is_not_touched(void **state)
{
    static const char text[] = "2\r\nhi\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
    (void)state;

    run(text, sizeof text - 1);
    assert_true(body_is("hi"));
    assert_string_equal(text + whole.used, "GET / HTTP/1.1\r\n");
}

static void every_prefix_is_more(void **state)
{
    static const char text[] = "5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n";
    (void)state;

    for (size_t i = 0; i < sizeof text - 1; i++) {
        run(text, i);
        assert_int_equal(whole.status, HTTP_MORE);
    }
}

static void refusal_is_sticky(void **state)
{
    struct http_chunked c;
    uint8_t room[16];
    struct buf body = {room, 0, sizeof room};
    enum reason why = REASON_COUNT;
    size_t used;
    (void)state;

    http_chunked_init(&c);
    assert_int_equal(http_chunked_feed(&c, span_str("x"), &used, &body, &why), HTTP_BAD);
    why = REASON_COUNT;
    assert_int_equal(http_chunked_feed(&c, span_str("0\r\n\r\n"), &used, &body, &why), HTTP_BAD);
    assert_int_equal(why, REASON_HTTP_BAD_CHUNK_SIZE);
    assert_int_equal(used, 0);
}

static void full_body_stops_and_goes_on_with_more_room(void **state)
{
    struct http_chunked c;
    uint8_t room[8];
    struct buf body = {room, 0, 3};
    struct span in = span_str("5\r\nhello\r\n0\r\n\r\n");
    enum reason why;
    size_t used;
    (void)state;

    http_chunked_init(&c);
    assert_int_equal(http_chunked_feed(&c, in, &used, &body, &why), HTTP_MORE);
    assert_int_equal(used, 6);
    body.cap = sizeof room;
    assert_int_equal(http_chunked_feed(&c, span_from(in, used), &used, &body, &why), HTTP_OK);
    assert_true(span_is(buf_span(&body), "hello"));
}

static void body_at_the_limit_is_taken(void **state)
{
    static uint8_t data[HTTP_BODY_MAX], out[HTTP_BODY_MAX];
    struct http_chunked c;
    struct buf body = {out, 0, sizeof out};
    enum reason why;
    size_t used;
    (void)state;

    http_chunked_init(&c);
    assert_int_equal(http_chunked_feed(&c, span_str("80000\r\n"), &used, &body, &why), HTTP_MORE);
    assert_int_equal(http_chunked_feed(&c, span_of(data, sizeof data), &used, &body, &why), HTTP_MORE);
    assert_int_equal(http_chunked_feed(&c, span_str("\r\n0\r\n\r\n"), &used, &body, &why), HTTP_OK);
    assert_int_equal(body.len, HTTP_BODY_MAX);
}

/* Feeds text again and again until it is refused or has come times times. */
static enum http_status feed_often(const char *text, size_t times, enum reason *why)
{
    static uint8_t out[HTTP_BODY_MAX];
    struct http_chunked c;
    struct buf body = {out, 0, sizeof out};
    enum http_status status = HTTP_MORE;
    size_t used;

    http_chunked_init(&c);
    for (size_t i = 0; i < times && status == HTTP_MORE; i++)
        status = http_chunked_feed(&c, span_str(text), &used, &body, why);
    return status;
}

static void endless_extension_is_refused(void **state)
{
    enum reason why;
    (void)state;

    assert_int_equal(feed_often("5;aaaaaaaaaa", 25, &why), HTTP_BAD);
    assert_int_equal(why, REASON_HTTP_CHUNK_LINE_TOO_LONG);
}

/* A chunk of one byte whose size line has len bytes, its end included. */
static size_t put_chunk(uint8_t *out, size_t len)
{
    memset(out, 'a', len);
    memcpy(out, "1;", 2);
    memcpy(out + len - 2, "\r\nx\r\n", 5);
    return len + 3;
}

static enum http_status feed_two_chunks(size_t first, size_t second)
{
    static uint8_t text[1024];
    size_t used, len = put_chunk(text, first);
    struct http_chunked c;
    struct buf body = {whole.body, 0, sizeof whole.body};
    enum reason why = REASON_COUNT;

    len += put_chunk(text + len, second);
    http_chunked_init(&c);
    return http_chunked_feed(&c, span_of(text, len), &used, &body, &why);
}

static void size_lines_at_their_limit_are_taken(void **state)
{
    (void)state;

    assert_int_equal(feed_two_chunks(256, 256), HTTP_MORE);
}

static void first_size_line_over_its_limit_is_refused(void **state)
{
    (void)state;

    assert_int_equal(feed_two_chunks(257, 4), HTTP_BAD);
}

static void second_size_line_over_its_limit_is_refused(void **state)
{
    (void)state;

    assert_int_equal(feed_two_chunks(4, 257), HTTP_BAD);
}

static enum http_status feed_trailer_of(size_t len)
{
    static uint8_t text[8192];
    size_t used;
    struct http_chunked c;
    struct buf body = {NULL, 0, 0};
    enum reason why = REASON_COUNT;

    memset(text, 'a', sizeof text);
    memcpy(text, "0;a\r\nX:", 7);
    memcpy(text + 5 + len - 4, "\r\n\r\n", 4);
    http_chunked_init(&c);
    return http_chunked_feed(&c, span_of(text, 5 + len), &used, &body, &why);
}

static void trailer_section_at_its_limit_is_taken(void **state)
{
    (void)state;

    assert_int_equal(feed_trailer_of(4096), HTTP_OK);
}

static void trailer_section_over_its_limit_is_refused(void **state)
{
    (void)state;

    assert_int_equal(feed_trailer_of(4097), HTTP_BAD);
}

static void many_small_chunks_with_long_extensions_are_refused(void **state)
{
    enum reason why;
    (void)state;

    assert_int_equal(feed_often("1;0123456789012345678901234567890123456789\r\nx\r\n", 10000, &why),
                     HTTP_BAD);
    assert_int_equal(why, REASON_HTTP_CHUNK_LINE_TOO_LONG);
}

static void many_small_chunks_without_extensions_are_taken(void **state)
{
    enum reason why;
    (void)state;

    assert_int_equal(feed_often("1\r\nx\r\n", 100000, &why), HTTP_MORE);
}

static void endless_trailer_is_refused(void **state)
{
    struct http_chunked c;
    struct buf body = {NULL, 0, 0};
    enum reason why = REASON_COUNT;
    enum http_status status;
    size_t used;
    (void)state;

    http_chunked_init(&c);
    status = http_chunked_feed(&c, span_str("0\r\n"), &used, &body, &why);
    for (size_t i = 0; i < 4096 / 6 + 1 && status == HTTP_MORE; i++)
        status = http_chunked_feed(&c, span_str("X: y\r\n"), &used, &body, &why);
    assert_int_equal(status, HTTP_BAD);
    assert_int_equal(why, REASON_HTTP_TRAILER_TOO_LONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define X(name, ...) cmocka_unit_test(name),
        TAKEN(X) REFUSED(X) TOO_LARGE(X)
#undef X
            cmocka_unit_test(what_follows_the_body_is_not_touched),
        cmocka_unit_test(every_prefix_is_more),
        cmocka_unit_test(refusal_is_sticky),
        cmocka_unit_test(full_body_stops_and_goes_on_with_more_room),
        cmocka_unit_test(body_at_the_limit_is_taken),
        cmocka_unit_test(endless_extension_is_refused),
        cmocka_unit_test(size_lines_at_their_limit_are_taken),
        cmocka_unit_test(first_size_line_over_its_limit_is_refused),
        cmocka_unit_test(second_size_line_over_its_limit_is_refused),
        cmocka_unit_test(trailer_section_at_its_limit_is_taken),
        cmocka_unit_test(trailer_section_over_its_limit_is_refused),
        cmocka_unit_test(many_small_chunks_with_long_extensions_are_refused),
        cmocka_unit_test(many_small_chunks_without_extensions_are_taken),
        cmocka_unit_test(endless_trailer_is_refused),
    };
    return RUN_TESTS("http_chunked", tests);
}
