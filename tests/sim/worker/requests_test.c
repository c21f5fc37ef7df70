/* Requests through every layer, as the wire carries them. */
#include "tests/sim/worker/claims.h"

static void round_trip(bool v6)
{
    struct rig *r = new_rig();
    struct client *c = client_open(r, v6);

    assert_true(rig_until(r, client_shaken, c));
    char *blob = wrapped(c, RIG_KEY_A ":wrap", WRAP_HELLO);
    unwrap_hello(c, RIG_KEY_A ":unwrap", blob, 200);
    free(blob);
    rig_free(r);
}

static void a_data_key_is_wrapped_and_unwrapped_over_ipv4(void **state)
{
    (void)state;
    round_trip(false);
}

static void a_data_key_is_wrapped_and_unwrapped_over_ipv6(void **state)
{
    (void)state;
    round_trip(true);
}

static void the_time_of_handshakes_is_counted_and_their_longest_step_shown(void **state)
{
    struct rig_options o;
    (void)state;

    rig_options_defaults(&o);
    o.look_ns = 700;
    struct rig *r = rig_new(&o);
    struct client *c = shaken(r);
    free(wrapped(c, RIG_KEY_A ":wrap", WRAP_HELLO)); /* the client is through with it before the worker is */
    uint64_t ns = rig_counted(r, REASON_TLS_HANDSHAKE_NS);
    assert_true(ns >= 2 * o.look_ns && ns % o.look_ns == 0);
    assert_int_equal(rig_gauge(r, GAUGE_TLS_STEP_NS_MAX), o.look_ns);
    free(wrapped(c, RIG_KEY_A ":wrap", WRAP_HELLO));
    assert_int_equal(rig_counted(r, REASON_TLS_HANDSHAKE_NS), ns);
    rig_free(r);
}

static void twenty_pipelined_requests_are_answered_in_order(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    char *all = calloc(1, 64 * 1024);
    (void)state;

    /* Odd ones are wrong: their place in the order is seen. */
    for (int i = 0; i < 20; i++) {
        const char *body = i % 2 == 0 ? WRAP_HELLO : "{\"plaintext\":4711}";
        char fields[64];
        snprintf(fields, sizeof fields, "Content-Length: %zu\r\n", strlen(body));
        char *one = request(r, "1.1", fields, body);
        strcat(all, one);
        free(one);
    }
    send_text(c, all);
    for (int i = 0; i < 20; i++) {
        expect_status(c, i % 2 == 0 ? 200 : 400);
        client_next(c);
    }
    free(all);
    rig_free(r);
}

static void a_chunked_body_is_one_body(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    char *text = request(r, "1.1", "Transfer-Encoding: chunked\r\n",
                         "5\r\n{\"pla\r\n6;ext=1\r\nintext\r\n10\r\n\":\"" HELLO_B64
                         "\"}   \r\n0\r\nTrailer: x\r\n\r\n");
    (void)state;

    /* The third chunk is 0x10 bytes: quote, colon, quote, eight of base64, quote, brace, three blanks. */
    send_text(c, text);
    expect_status(c, 200);
    free(text);
    rig_free(r);
}

static void what_is_pipelined_behind_a_chunked_body_is_the_next_request(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    char *a = request(r, "1.1", "Transfer-Encoding: chunked\r\n", "18\r\n" WRAP_HELLO "\r\n0\r\n\r\n");
    char *b = request(r, "1.1", "Content-Length: 2\r\n", "{}");
    char *all = calloc(1, strlen(a) + strlen(b) + 1);
    (void)state;

    assert_int_equal(strlen(WRAP_HELLO), 0x18);
    strcat(strcat(all, a), b);
    send_text(c, all);
    expect_status(c, 200);
    client_next(c);
    expect_status(c, 400); /* {} has no plaintext */
    free(a);
    free(b);
    free(all);
    rig_free(r);
}

static bool continued(void *arg)
{
    struct client *c = arg;

    return c->in_len >= 25 && memcmp(c->in, "HTTP/1.1 100 Continue\r\n\r\n", 25) == 0;
}

static void a_client_that_expects_100_continue_gets_it_before_its_body(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    char *text = request(r, "1.1", "Content-Length: 24\r\nExpect: 100-continue\r\n", "");
    (void)state;

    send_text(c, text);
    assert_true(rig_until(r, continued, c));
    assert_int_equal(c->in_len, 25);
    c->in_len = 0;
    send_text(c, WRAP_HELLO);
    expect_status(c, 200);
    free(text);
    rig_free(r);
}

static void an_http_1_0_client_gets_its_answer_and_the_end(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    char *text = request(r, "1.0", "Content-Length: 24\r\n", WRAP_HELLO);
    (void)state;

    send_text(c, text);
    expect_status(c, 200);
    assert_true(rig_until(r, client_ended, c));
    assert_true(c->tls_closed); /* close_notify came before FIN */
    client_close(c);            /* its own close_notify finds somebody who takes it */
    rig_run(r, 500000);
    assert_int_equal(peer_state(c->peer), PEER_FINISHED);
    free(text);
    rig_free(r);
}

static void an_http_1_0_client_may_ask_to_stay(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    char *text = request(r, "1.0", "Content-Length: 24\r\nConnection: keep-alive\r\n", WRAP_HELLO);
    (void)state;

    for (int i = 0; i < 2; i++) {
        send_text(c, text);
        expect_status(c, 200);
        client_next(c);
    }
    free(text);
    rig_free(r);
}

static void the_largest_plaintext_goes_there_and_back(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    char *body = big_wrap_body(EKM_PLAINTEXT_MAX);
    (void)state;

    char *blob = wrapped(c, RIG_KEY_A ":wrap", body);
    size_t cap = strlen(blob) + 64;
    char *back = malloc(cap);
    snprintf(back, cap, "{\"wrappedBlob\":\"%s\"}", blob);
    client_post(c, RIG_KEY_A ":unwrap", back);
    expect_status(c, 200);
    assert_string_equal(client_body(c), body);
    free(blob);
    free(back);
    free(body);
    rig_free(r);
}

static void a_large_chunked_body_moves_to_a_large_buffer(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    char *body = big_wrap_body(100000), *chunks = malloc(400000);
    size_t at = 0, len = strlen(body);
    (void)state;

    for (size_t i = 0; i < len; i += 1000) {
        size_t n = len - i < 1000 ? len - i : 1000;
        at += (size_t)sprintf(chunks + at, "%zx\r\n%.*s\r\n", n, (int)n, body + i);
    }
    strcpy(chunks + at, "0\r\n\r\n");
    char *text = request(r, "1.1", "Transfer-Encoding: chunked\r\n", chunks);
    send_text(c, text);
    expect_status(c, 200);
    client_next(c);
    /* and the connection goes on with a small one */
    client_post(c, RIG_KEY_A ":wrap", WRAP_HELLO);
    expect_status(c, 200);
    free(body);
    free(chunks);
    free(text);
    rig_free(r);
}

static void a_malformed_head_is_400_and_the_end_of_that_connection_alone(void **state)
{
    struct rig *r = new_rig();
    struct client *bad = shaken(r), *good = shaken(r);
    (void)state;

    send_text(bad, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    expect_status(bad, 400);
    assert_true(rig_until(r, client_ended, bad));
    assert_int_equal(rig_counted(r, REASON_HTTP_AMBIGUOUS_LENGTH), 1);
    client_post(good, RIG_KEY_A ":wrap", WRAP_HELLO);
    expect_status(good, 200);
    rig_free(r);
}

/* The body of the refused request is still coming: a plain close would reset the connection under the answer. */
static void a_refusal_reaches_a_client_that_is_still_sending(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    char *body = big_wrap_body(200000);
    char *text = request(r, "1.1", "Content-Length: 99999999\r\n", body);
    (void)state;

    send_text(c, text);
    expect_status(c, 413);
    assert_int_not_equal(peer_state(c->peer), PEER_RESET);
    free(body);
    free(text);
    rig_free(r);
}

static void without_a_large_buffer_the_answer_is_503_before_the_body(void **state)
{
    struct rig *r = new_rig(); /* four on each worker */
    struct client *c[4 * RIG_WORKERS_MAX + 1], *refused = NULL;
    char *text = request(r, "1.1", "Content-Length: 100000\r\n", "");
    int held = 0;
    (void)state;

    while (refused == NULL) {
        struct client *next = shaken(r);
        send_text(next, text);
        rig_run(r, 10000);
        if (client_replied(next))
            refused = next;
        else
            c[held++] = next;
        assert_true(held <= 4 * rig_workers(r));
    }
    expect_status(refused, 503);
    assert_true(held >= 4);
    for (int i = 0; i < held; i++)
        assert_false(client_replied(c[i]));
    struct client *small = shaken(r);
    client_post(small, RIG_KEY_A ":wrap", WRAP_HELLO);
    expect_status(small, 200);
    free(text);
    rig_free(r);
}

static void a_reply_is_counted_and_audited(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    struct audit_record a;
    (void)state;

    client_post(c, RIG_KEY_A ":wrap",
                "{\"plaintext\":\"" HELLO_B64 "\",\"additionalContext\":{\"accessReasonContext\":{\"reason\":"
                "\"CUSTOMER_INITIATED_ACCESS\"}}}");
    expect_status(c, 200);
    assert_true(rig_audit(r, &a));
    assert_int_equal(a.seq, 1);
    assert_int_equal(a.op, AUDIT_OP_WRAP);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.version, 1);
    assert_int_equal(a.access_reason, 1u << 5);
    assert_int_equal(a.caller_len, strlen(RIG_CALLER));
    assert_memory_equal(a.caller, RIG_CALLER, strlen(RIG_CALLER));
    assert_true((a.flags & AUDIT_FLAG_CALLER_PROVEN) != 0);
    assert_int_equal(a.key_id[0], 'v');
    assert_true(a.time_unix_us > 1800000000000000ULL);
    assert_false(rig_audit(r, &a));
    assert_int_equal(rig_counted(r, REASON_EKM_WRAP_OK), 1);
    rig_free(r);
}

static void a_refused_head_is_audited_too(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    struct audit_record a;
    (void)state;

    send_text(c, "BROKEN\r\n\r\n");
    expect_status(c, 400);
    assert_true(rig_audit(r, &a));
    assert_int_equal(a.status, 400);
    assert_int_equal(a.verdict, REASON_HTTP_BAD_REQUEST_LINE);
    rig_free(r);
}

static void a_dataplane_that_holds_nothing_resets_connections(void **state)
{
    struct rig_options o;
    struct rig *r;
    (void)state;

    rig_options_defaults(&o);
    o.no_keys = true;
    r = rig_new(&o);
    struct client *c = client_open(r, false);
    assert_true(rig_until(r, client_ended, c)); /* no certificate, no TLS */
    assert_int_equal(peer_state(c->peer), PEER_RESET);
    rig_push_all(r);
    c = shaken(r);
    client_post(c, RIG_KEY_A ":wrap", WRAP_HELLO);
    expect_status(c, 200);
    rig_free(r);
}

static void a_full_audit_ring_is_counted_and_blocks_nobody(void **state)
{
    struct rig *r = new_rig(); /* 1024 records */
    struct client *c = shaken(r);
    (void)state;

    for (int i = 0; i < 1030; i++) {
        client_post(c, RIG_KEY_A ":wrap", WRAP_HELLO);
        expect_status(c, 200);
        client_next(c);
    }
    assert_int_equal(rig_counted(r, REASON_AUDIT_LOST), 6);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_data_key_is_wrapped_and_unwrapped_over_ipv4),
        cmocka_unit_test(a_data_key_is_wrapped_and_unwrapped_over_ipv6),
        cmocka_unit_test(the_time_of_handshakes_is_counted_and_their_longest_step_shown),
        cmocka_unit_test(twenty_pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_chunked_body_is_one_body),
        cmocka_unit_test(what_is_pipelined_behind_a_chunked_body_is_the_next_request),
        cmocka_unit_test(a_client_that_expects_100_continue_gets_it_before_its_body),
        cmocka_unit_test(an_http_1_0_client_gets_its_answer_and_the_end),
        cmocka_unit_test(an_http_1_0_client_may_ask_to_stay),
        cmocka_unit_test(the_largest_plaintext_goes_there_and_back),
        cmocka_unit_test(a_large_chunked_body_moves_to_a_large_buffer),
        cmocka_unit_test(a_malformed_head_is_400_and_the_end_of_that_connection_alone),
        cmocka_unit_test(a_refusal_reaches_a_client_that_is_still_sending),
        cmocka_unit_test(without_a_large_buffer_the_answer_is_503_before_the_body),
        cmocka_unit_test(a_reply_is_counted_and_audited),
        cmocka_unit_test(a_refused_head_is_audited_too),
        cmocka_unit_test(a_dataplane_that_holds_nothing_resets_connections),
        cmocka_unit_test(a_full_audit_ring_is_counted_and_blocks_nobody),
    };
    log_set_level(LOG_ERROR);
    return RUN_TESTS("worker_requests", tests);
}
