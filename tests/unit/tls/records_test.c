#include "tests/unit/tls/rig.h"

#include "tests/unit/test.h"

#include <openssl/err.h>
#include <stdlib.h>

#define V12 TLS1_2_VERSION
#define V13 TLS1_3_VERSION

static struct tls_worker *w;

static int setup(void **state)
{
    (void)state;
    w = worker_with("P-256");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tls_worker_free(w);
    return 0;
}

static void expect_text(struct pair *p, const char *text)
{
    uint8_t buf[256];
    size_t len;

    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_OK);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(buf, text, len);
}

static void what_the_client_sends_is_read(void **state)
{
    struct pair *p = connected(w, V13);
    (void)state;

    client_send(p, "hello", 5);
    expect_text(p, "hello");
    pair_free(p);
}

static void what_is_written_reaches_the_client(void **state)
{
    struct pair *p = connected(w, V12);
    char buf[16];
    size_t len;
    (void)state;

    assert_int_equal(tls_write(p->server, span_str("reply"), &len), TLS_OK);
    assert_int_equal(len, 5);
    assert_int_equal(client_receive(p, buf, sizeof buf), 5);
    assert_memory_equal(buf, "reply", 5);
    pair_free(p);
}

static void reading_without_input_wants_more(void **state)
{
    struct pair *p = connected(w, V13);
    uint8_t buf[16];
    size_t len = 99;
    (void)state;

    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_WANT_READ);
    assert_int_equal(len, 0);
    pair_free(p);
}

static void part_of_a_record_yields_nothing(void **state)
{
    struct pair *p = connected(w, V13);
    uint8_t buf[16];
    size_t len;
    (void)state;

    assert_int_equal(SSL_write(p->client, "hello", 5), 5);
    client_step(p, 10);
    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_WANT_READ);
    assert_false(tls_pending(p->server));
    client_step(p, SIZE_MAX);
    expect_text(p, "hello");
    pair_free(p);
}

static void a_record_comes_through_byte_by_byte(void **state)
{
    struct pair *p = connected(w, V12);
    uint8_t buf[16];
    size_t len = 0;
    enum tls_status s = TLS_WANT_READ;
    (void)state;

    assert_int_equal(SSL_write(p->client, "hello", 5), 5);
    for (int i = 0; i < 100 && s == TLS_WANT_READ; i++) {
        client_step(p, 1);
        s = tls_read(p->server, buf, sizeof buf, &len);
    }
    assert_int_equal(s, TLS_OK);
    assert_int_equal(len, 5);
    pair_free(p);
}

/* What peek shows in one piece may be less than what came. */
static void received_bytes_in_small_pieces_are_enough(void **state)
{
    struct pair *p = connected(w, V13);
    (void)state;

    p->in.view = 3;
    client_send(p, "hello", 5);
    expect_text(p, "hello");
    pair_free(p);
}

static void several_records_at_once_are_all_read_without_more_input(void **state)
{
    struct pair *p = connected(w, V13);
    (void)state;

    client_send(p, "one", 3);
    client_send(p, "two", 3);
    client_send(p, "three", 5);
    expect_text(p, "one");
    assert_true(tls_pending(p->server));
    expect_text(p, "two");
    assert_true(tls_pending(p->server));
    expect_text(p, "three");
    pair_free(p);
}

static void a_record_larger_than_the_buffer_is_pending(void **state)
{
    struct pair *p = connected(w, V13);
    uint8_t buf[4];
    size_t len;
    (void)state;

    client_send(p, "abcdef", 6);
    assert_int_equal(tls_read(p->server, buf, 4, &len), TLS_OK);
    assert_int_equal(len, 4);
    assert_true(tls_pending(p->server));
    assert_int_equal(tls_read(p->server, buf, 4, &len), TLS_OK);
    assert_int_equal(len, 2);
    assert_false(tls_pending(p->server));
    pair_free(p);
}

/* Records in the pipe from `at`: how many, and the longest. */
static size_t records_in(const struct pipe *p, size_t *longest)
{
    size_t count = 0, at = p->at;

    *longest = 0;
    while (at + 5 <= p->end) {
        size_t len = (size_t)(p->bytes[at + 3] << 8 | p->bytes[at + 4]);
        *longest = len > *longest ? len : *longest;
        at += 5 + len;
        count++;
    }
    assert_int_equal(at, p->end);
    return count;
}

static void a_write_of_4096_bytes_is_one_record(void **state)
{
    struct pair *p = connected(w, V13);
    static const uint8_t data[4096];
    size_t len, longest;
    (void)state;

    assert_int_equal(tls_write(p->server, span_of(data, sizeof data), &len), TLS_OK);
    assert_int_equal(len, 4096);
    assert_int_equal(records_in(&p->out, &longest), 1);
    assert_int_equal(longest, 4096 + 1 + 16);
    pair_free(p);
}

static void a_longer_write_is_taken_4096_bytes_at_a_time(void **state)
{
    struct pair *p = connected(w, V13);
    static const uint8_t data[10000];
    size_t len, longest;
    (void)state;

    assert_int_equal(tls_write(p->server, span_of(data, sizeof data), &len), TLS_OK);
    assert_int_equal(len, 4096);
    assert_int_equal(records_in(&p->out, &longest), 1);
    pair_free(p);
}

static void a_full_send_side_says_so_and_goes_on_where_it_was(void **state)
{
    struct pair *p = connected(w, V13);
    uint8_t data[3000], moved[3000], got[3001];
    size_t len;
    (void)state;

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    p->out.room = 1000;
    assert_int_equal(tls_write(p->server, span_of(data, sizeof data), &len), TLS_WANT_WRITE);
    assert_int_equal(len, 0);
    p->out.room = 500;
    memcpy(moved, data, sizeof data);
    memset(data, 0, sizeof data);
    assert_int_equal(tls_write(p->server, span_of(moved, sizeof moved), &len), TLS_WANT_WRITE);
    p->out.room = SIZE_MAX;
    assert_int_equal(tls_write(p->server, span_of(moved, sizeof moved), &len), TLS_OK);
    assert_int_equal(len, sizeof moved);
    assert_int_equal(client_receive(p, got, sizeof got), sizeof moved);
    assert_memory_equal(got, moved, sizeof moved);
    pair_free(p);
}

static void reading_goes_on_while_the_send_side_is_full(void **state)
{
    struct pair *p = connected(w, V13);
    size_t len;
    (void)state;

    p->out.room = 0;
    assert_int_equal(tls_write(p->server, span_str("x"), &len), TLS_WANT_WRITE);
    client_send(p, "hello", 5);
    expect_text(p, "hello");
    pair_free(p);
}

static void a_handshake_waits_for_room_to_send(void **state)
{
    SSL_CTX *c = client_ctx(V13, V13);
    struct pair *p = pair_new(w, c);
    (void)state;

    (void)SSL_do_handshake(p->client);
    client_step(p, SIZE_MAX);
    p->out.room = 100;
    assert_int_equal(server_step(p), TLS_WANT_WRITE);
    p->out.room = SIZE_MAX;
    assert_int_equal(server_step(p), TLS_WANT_READ);
    client_drain(p);
    assert_int_equal(handshake(p), TLS_OK);
    pair_free(p);
    SSL_CTX_free(c);
}

static void an_empty_write_sends_nothing(void **state)
{
    struct pair *p = connected(w, V13);
    size_t len;
    (void)state;

    assert_int_equal(tls_write(p->server, span_of("", 0), &len), TLS_OK);
    assert_int_equal(p->out.end, 0);
    pair_free(p);
}

/* ---- bad records ---- */

static void expect_bad_record(struct pair *p, int alert, enum reason why)
{
    uint8_t buf[64];
    size_t len;

    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_FAILED);
    assert_int_equal(counted(why), 1);
    client_drain(p);
    assert_int_equal(alert_at_client(p), alert);
    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_FAILED);
    assert_int_equal(tls_write(p->server, span_str("x"), &len), TLS_FAILED);
    assert_false(tls_pending(p->server));
    assert_int_equal(counted_failures(), 1);
    pair_free(p);
}

static void a_flipped_bit_gets_bad_record_mac_in_tls13(void **state)
{
    struct pair *p = connected(w, V13);
    (void)state;

    client_send(p, "hello", 5);
    p->in.bytes[p->in.end - 1] ^= 1;
    expect_bad_record(p, SSL_AD_BAD_RECORD_MAC, REASON_TLS_BAD_RECORD_MAC);
}

static void a_flipped_bit_gets_bad_record_mac_in_tls12(void **state)
{
    struct pair *p = connected(w, V12);
    (void)state;

    client_send(p, "hello", 5);
    p->in.bytes[p->in.end - 1] ^= 1;
    expect_bad_record(p, SSL_AD_BAD_RECORD_MAC, REASON_TLS_BAD_RECORD_MAC);
}

static void a_record_sent_twice_gets_bad_record_mac(void **state)
{
    struct pair *p = connected(w, V13);
    uint8_t copy[64];
    size_t len;
    (void)state;

    client_send(p, "hello", 5);
    len = p->in.end - p->in.at;
    memcpy(copy, p->in.bytes + p->in.at, len);
    feed(&p->in, copy, len);
    expect_text(p, "hello");
    expect_bad_record(p, SSL_AD_BAD_RECORD_MAC, REASON_TLS_BAD_RECORD_MAC);
}

static void an_overlong_record_gets_record_overflow(void **state)
{
    static const uint8_t head[] = {0x17, 3, 3, 0xff, 0xff, 0, 0, 0};
    struct pair *p = connected(w, V13);
    (void)state;

    feed(&p->in, head, sizeof head);
    expect_bad_record(p, SSL_AD_RECORD_OVERFLOW, REASON_TLS_PROTOCOL_ERROR);
}

static void an_unknown_record_type_fails(void **state)
{
    static const uint8_t rec[] = {0x42, 3, 3, 0, 1, 0};
    struct pair *p = connected(w, V12);
    uint8_t buf[8];
    size_t len;
    (void)state;

    feed(&p->in, rec, sizeof rec);
    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_FAILED);
    assert_int_equal(counted_failures(), 1);
    pair_free(p);
}

static void plaintext_after_the_handshake_fails(void **state)
{
    static const char get[] = "POST /v0/key:wrap HTTP/1.1\r\n\r\n";
    struct pair *p = connected(w, V13);
    uint8_t buf[8];
    size_t len;
    (void)state;

    feed(&p->in, get, sizeof get - 1);
    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_FAILED);
    assert_int_equal(counted_failures(), 1);
    pair_free(p);
}

static void renegotiation_is_refused_and_the_connection_goes_on(void **state)
{
    struct pair *p = connected(w, V12);
    uint8_t buf[8];
    size_t len;
    (void)state;

    assert_int_equal(SSL_renegotiate(p->client), 1);
    (void)SSL_do_handshake(p->client);
    client_step(p, SIZE_MAX);
    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_WANT_READ);
    assert_int_equal(counted(REASON_TLS_HANDSHAKE_OK), 1);
    client_drain(p);
    ERR_clear_error();
    (void)SSL_do_handshake(p->client);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    ERR_clear_error();
    assert_int_equal(tls_write(p->server, span_str("still here"), &len), TLS_OK);
    pair_free(p);
}

static void a_key_update_is_followed(void **state)
{
    struct pair *p = connected(w, V13);
    (void)state;

    assert_int_equal(SSL_key_update(p->client, SSL_KEY_UPDATE_REQUESTED), 1);
    client_send(p, "hello", 5);
    expect_text(p, "hello");
    pair_free(p);
}

static void a_flood_of_key_updates_ends_the_connection(void **state)
{
    struct pair *p = connected(w, V13);
    uint8_t buf[8];
    size_t len;
    enum tls_status s = TLS_WANT_READ;
    (void)state;

    for (int i = 0; i < 40 && s == TLS_WANT_READ; i++) {
        assert_int_equal(SSL_key_update(p->client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        (void)SSL_do_handshake(p->client);
        client_step(p, SIZE_MAX);
        s = tls_read(p->server, buf, sizeof buf, &len);
    }
    assert_int_equal(s, TLS_FAILED);
    assert_int_equal(counted(REASON_TLS_KEY_UPDATE_FLOOD), 1);
    pair_free(p);
}

static void key_updates_between_data_are_no_flood(void **state)
{
    struct pair *p = connected(w, V13);
    (void)state;

    for (int i = 0; i < 40; i++) {
        assert_int_equal(SSL_key_update(p->client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        client_send(p, "hello", 5);
        expect_text(p, "hello");
    }
    pair_free(p);
}

/* ---- the end of a connection ---- */

static void expect_peers_close(int version)
{
    struct pair *p = connected(w, version);
    uint8_t buf[8];
    size_t len;

    client_send(p, "bye", 3);
    SSL_shutdown(p->client);
    client_step(p, SIZE_MAX);
    expect_text(p, "bye");
    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_CLOSED);
    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_CLOSED);
    assert_int_equal(counted_failures(), 0);
    pair_free(p);
}

static void close_notify_of_a_tls12_peer_is_reported_after_its_data(void **state)
{
    (void)state;
    expect_peers_close(V12);
}

static void close_notify_of_a_tls13_peer_is_reported_after_its_data(void **state)
{
    (void)state;
    expect_peers_close(V13);
}

static void shutdown_sends_close_notify(void **state)
{
    struct pair *p = connected(w, V13);
    uint8_t byte;
    (void)state;

    tls_shutdown(p->server);
    client_drain(p);
    assert_int_equal(SSL_read(p->client, &byte, 1), 0);
    assert_int_equal(SSL_get_error(p->client, 0), SSL_ERROR_ZERO_RETURN);
    pair_free(p);
}

static void a_reply_can_be_written_after_the_peers_close_notify(void **state)
{
    struct pair *p = connected(w, V13);
    uint8_t buf[8];
    size_t len;
    (void)state;

    SSL_shutdown(p->client);
    client_step(p, SIZE_MAX);
    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_CLOSED);
    assert_int_equal(tls_write(p->server, span_str("last"), &len), TLS_OK);
    assert_int_equal(len, 4);
    pair_free(p);
}

static void shutdown_twice_sends_one_close_notify(void **state)
{
    struct pair *p = connected(w, V13);
    size_t longest;
    (void)state;

    tls_shutdown(p->server);
    tls_shutdown(p->server);
    assert_int_equal(records_in(&p->out, &longest), 1);
    pair_free(p);
}

static void shutdown_during_the_handshake_sends_nothing(void **state)
{
    struct pair *p = server_alone(w);
    (void)state;

    tls_shutdown(p->server);
    assert_int_equal(p->out.end, 0);
    assert_int_equal(ERR_peek_error(), 0);
    pair_free(p);
}

static void shutdown_after_a_failure_sends_nothing(void **state)
{
    struct pair *p = connected(w, V13);
    uint8_t buf[8];
    size_t len;
    (void)state;

    client_send(p, "x", 1);
    p->in.bytes[p->in.end - 1] ^= 1;
    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_FAILED);
    p->out.at = p->out.end = 0; /* the alert */
    tls_shutdown(p->server);
    assert_int_equal(p->out.end, 0);
    pair_free(p);
}

static void a_fatal_alert_of_the_peer_is_counted(void **state)
{
    SSL_CTX *c = client_ctx(V13, V13);
    struct pair *p;
    (void)state;

    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL); /* it knows no authority that signed our certificate */
    p = pair_new(w, c);
    assert_int_equal(handshake(p), TLS_FAILED);
    assert_int_equal(counted(REASON_TLS_PEER_ALERT), 1);
    assert_int_equal(counted_failures(), 1);
    pair_free(p);
    SSL_CTX_free(c);
}

/* ---- one connection does not disturb another (the error queue belongs to the thread) ---- */

static void a_failure_on_one_connection_leaves_the_error_queue_empty(void **state)
{
    struct pair *a = connected(w, V13);
    uint8_t buf[8];
    size_t len;
    (void)state;

    client_send(a, "x", 1);
    a->in.bytes[a->in.end - 1] ^= 1;
    ERR_clear_error();
    assert_int_equal(tls_read(a->server, buf, sizeof buf, &len), TLS_FAILED);
    assert_int_equal(ERR_peek_error(), 0);
    pair_free(a);
    assert_int_equal(ERR_peek_error(), 0);
}

static void b32_a_stale_error_of_somebody_else_does_not_fail_a_read(void **state)
{
    struct pair *p = connected(w, V13);
    uint8_t buf[8];
    size_t len;
    (void)state;

    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_RECORD_TYPE);
    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_WANT_READ);
    assert_int_equal(ERR_peek_error(), 0);
    client_send(p, "hello", 5);
    expect_text(p, "hello");
    pair_free(p);
}

static void b32_a_stale_error_of_somebody_else_does_not_fail_a_write(void **state)
{
    struct pair *p = connected(w, V13);
    size_t len;
    (void)state;

    p->out.room = 0;
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_RECORD_TYPE);
    assert_int_equal(tls_write(p->server, span_str("x"), &len), TLS_WANT_WRITE);
    assert_int_equal(ERR_peek_error(), 0);
    pair_free(p);
}

static void b32_a_stale_error_of_somebody_else_does_not_fail_a_handshake(void **state)
{
    struct pair *p = server_alone(w);
    (void)state;

    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_RECORD_TYPE);
    assert_int_equal(server_step(p), TLS_WANT_READ);
    assert_int_equal(ERR_peek_error(), 0);
    pair_free(p);
}

static void b32_failures_on_one_connection_leave_its_neighbour_working(void **state)
{
    struct pair *good = connected(w, V13);
    uint8_t buf[8];
    size_t len;
    (void)state;

    for (int i = 0; i < 5; i++) {
        struct pair *bad = connected(w, V12);
        client_send(bad, "x", 1);
        bad->in.bytes[bad->in.end - 1] ^= 1;
        assert_int_equal(tls_read(bad->server, buf, sizeof buf, &len), TLS_FAILED);
        assert_int_equal(tls_read(good->server, buf, sizeof buf, &len), TLS_WANT_READ);
        client_send(good, "ok", 2);
        expect_text(good, "ok");
        pair_free(bad);
    }
    pair_free(good);
}

/* The sanitizer finds what a connection freed in the middle of things leaves behind. */
static void a_thousand_connections_freed_halfway_leak_nothing(void **state)
{
    SSL_CTX *c = client_ctx(V12, V13);
    (void)state;

    for (size_t i = 0; i < 1000; i++) {
        struct pair *p = pair_new(w, c);
        (void)SSL_do_handshake(p->client);
        client_step(p, i % 300);
        if (i % 4 == 3)
            p->out.room = i;
        assert_int_not_equal(server_step(p), TLS_OK);
        if (i % 8 == 7)
            client_step(p, SIZE_MAX), assert_int_not_equal(server_step(p), TLS_OK);
        pair_free(p);
    }
    SSL_CTX_free(c);
    assert_int_equal(counted(REASON_TLS_HANDSHAKE_OK), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_the_client_sends_is_read),
        CASE(what_is_written_reaches_the_client),
        CASE(reading_without_input_wants_more),
        CASE(part_of_a_record_yields_nothing),
        CASE(a_record_comes_through_byte_by_byte),
        CASE(received_bytes_in_small_pieces_are_enough),
        CASE(several_records_at_once_are_all_read_without_more_input),
        CASE(a_record_larger_than_the_buffer_is_pending),
        CASE(a_write_of_4096_bytes_is_one_record),
        CASE(a_longer_write_is_taken_4096_bytes_at_a_time),
        CASE(a_full_send_side_says_so_and_goes_on_where_it_was),
        CASE(reading_goes_on_while_the_send_side_is_full),
        CASE(a_handshake_waits_for_room_to_send),
        CASE(an_empty_write_sends_nothing),
        CASE(a_flipped_bit_gets_bad_record_mac_in_tls13),
        CASE(a_flipped_bit_gets_bad_record_mac_in_tls12),
        CASE(a_record_sent_twice_gets_bad_record_mac),
        CASE(an_overlong_record_gets_record_overflow),
        CASE(an_unknown_record_type_fails),
        CASE(plaintext_after_the_handshake_fails),
        CASE(renegotiation_is_refused_and_the_connection_goes_on),
        CASE(a_key_update_is_followed),
        CASE(a_flood_of_key_updates_ends_the_connection),
        CASE(key_updates_between_data_are_no_flood),
        CASE(close_notify_of_a_tls12_peer_is_reported_after_its_data),
        CASE(close_notify_of_a_tls13_peer_is_reported_after_its_data),
        CASE(shutdown_sends_close_notify),
        CASE(a_reply_can_be_written_after_the_peers_close_notify),
        CASE(shutdown_twice_sends_one_close_notify),
        CASE(shutdown_during_the_handshake_sends_nothing),
        CASE(shutdown_after_a_failure_sends_nothing),
        CASE(a_fatal_alert_of_the_peer_is_counted),
        CASE(a_failure_on_one_connection_leaves_the_error_queue_empty),
        CASE(b32_a_stale_error_of_somebody_else_does_not_fail_a_read),
        CASE(b32_a_stale_error_of_somebody_else_does_not_fail_a_write),
        CASE(b32_a_stale_error_of_somebody_else_does_not_fail_a_handshake),
        CASE(b32_failures_on_one_connection_leave_its_neighbour_working),
        CASE(a_thousand_connections_freed_halfway_leak_nothing),
    };
    return RUN_TESTS("tls_records", tests);
}
