/* Clients that are slow, silent, rude or gone, and wires that lose: what each costs, and that nobody else pays. */
#include "dataplane/tls/tls.h"
#include "tests/sim/worker/claims.h"

/* A connection beside the one under test goes on as if nothing were. */
static void expect_unmoved(struct client *good)
{
    client_post(good, RIG_KEY_A ":wrap", WRAP_HELLO);
    expect_status(good, 200);
    client_next(good);
}

static void a_client_of_one_byte_a_second_is_served_beside_fast_ones(void **state)
{
    struct rig *r = new_rig();
    struct client *slow = shaken(r), *fast = shaken(r);
    (void)state;

    slow->bytes_per_second = 1;
    send_text(slow, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n");
    for (int i = 0; i < 30; i++) {
        rig_run(r, 1000000);
        expect_unmoved(fast);
        assert_int_equal(slow->in_len, 0);
    }
    expect_status(slow, 401);
    rig_free(r);
}

static void silence_inside_a_request_ends_it(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    (void)state;

    send_text(c, "POST /" RIG_KEY_A ":wrap HTTP/1.1\r\nHo");
    rig_run(r, 29000000);
    assert_false(client_ended(c));
    rig_run(r, 2000000);
    assert_true(client_ended(c));
    assert_int_equal(rig_counted(r, REASON_CONN_REQUEST_TIMEOUT), 1);
    rig_free(r);
}

static void silence_between_requests_is_welcome(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    (void)state;

    expect_unmoved(c);
    rig_run(r, 600000000);
    expect_unmoved(c);
    rig_free(r);
}

static void a_large_body_that_trickles_loses_its_buffer(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    char *body = big_wrap_body(100000);
    char fields[64];
    (void)state;

    snprintf(fields, sizeof fields, "Content-Length: %zu\r\n", strlen(body));
    char *text = request(r, "1.1", fields, body);
    c->bytes_per_second = 500; /* half of what is asked for */
    send_text(c, text);
    assert_true(rig_until(r, client_ended, c));
    assert_int_equal(rig_counted(r, REASON_CONN_BODY_TOO_SLOW), 1);
    free(body);
    free(text);
    rig_free(r);
}

static void a_large_body_at_its_minimum_rate_is_served(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    char *body = big_wrap_body(60000);
    char fields[64];
    (void)state;

    snprintf(fields, sizeof fields, "Content-Length: %zu\r\n", strlen(body));
    char *text = request(r, "1.1", fields, body);
    c->bytes_per_second = 2000;
    send_text(c, text);
    expect_status(c, 200);
    free(body);
    free(text);
    rig_free(r);
}

static void a_handshake_that_does_not_go_on_is_ended(void **state)
{
    struct rig *r = new_rig();
    struct client *c = client_open_plain(r, false);
    (void)state;

    client_send(c, span_of("\x16\x03\x01\x02", 4)); /* the beginning of a ClientHello */
    rig_run(r, 4000000);
    assert_false(client_ended(c));
    rig_run(r, 2000000);
    assert_true(client_ended(c));
    assert_int_equal(rig_counted(r, REASON_CONN_HANDSHAKE_TIMEOUT), 1);
    rig_free(r);
}

#define LOOK_NS 700
#define YOUNG   8
#define BATCH   32 /* requests, in one record */

struct crowd {
    struct client *busy, *young[YOUNG];
    uint64_t sent, served, shaken; /* served, shaken: at the end of the last turn */
    int turns_of_both;
};

static bool young_are_shaken(const struct crowd *w)
{
    for (int i = 0; i < YOUNG; i++)
        if (!w->young[i]->shaken)
            return false;
    return true;
}

static void send_batch(struct crowd *w)
{
    char text[BATCH * 80] = "";

    for (int i = 0; i < BATCH; i++)
        strcat(text, "POST /nowhere:wrap HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}");
    send_text(w->busy, text);
    w->sent += BATCH;
}

/* Each turn serves one request of a batch; while it is not the last of it, others wait. */
static bool watch_turn(void *arg)
{
    struct crowd *w = arg;
    uint64_t served = rig_counted(w->busy->rig, REASON_HTTP_REQUESTS);
    uint64_t completed = rig_counted(w->busy->rig, REASON_TLS_HANDSHAKE_OK);

    if (served != w->served && served % BATCH != 0) {
        assert_true(completed - w->shaken <= 1);
        w->turns_of_both += completed != w->shaken;
    }
    w->served = served;
    w->shaken = completed;
    if (w->sent - served < BATCH)
        send_batch(w);
    return young_are_shaken(w);
}

struct handshakes {
    struct client *young[YOUNG];
    uint64_t stepped_ns;
    int turns;
};

static struct rig *rig_that_looks(void)
{
    struct rig_options o;

    rig_options_defaults(&o);
    o.look_ns = LOOK_NS;
    return rig_new(&o);
}

static void open_young(struct rig *r, struct handshakes *h)
{
    for (int i = 0; i < YOUNG; i++)
        h->young[i] = client_open(r, false);
}

static bool watch_steps(void *arg)
{
    struct handshakes *h = arg;
    struct rig *r = h->young[0]->rig;
    uint64_t ns = rig_counted(r, REASON_TLS_HANDSHAKE_NS);

    assert_true(ns - h->stepped_ns <= LOOK_NS);
    h->turns += ns != h->stepped_ns;
    h->stepped_ns = ns;
    return rig_counted(r, REASON_TLS_HANDSHAKE_OK) == YOUNG;
}

/* A request that comes while they are made waits for the turn to end. */
static void no_turn_makes_two_steps_of_handshakes(void **state)
{
    struct handshakes h = {.turns = 0};
    struct rig *r = rig_that_looks();
    (void)state;

    open_young(r, &h);
    assert_true(rig_until(r, watch_steps, &h));
    assert_true(h.turns >= 2 * YOUNG);
    rig_free(r);
}

/* As many are between slices as have a stack: the next one begins when this one's flight has left. */
static void a_handshake_that_was_begun_goes_first(void **state)
{
    struct handshakes h = {.turns = 0};
    struct rig *r = rig_that_looks();
    (void)state;

    open_young(r, &h);
    assert_true(rig_until(r, client_shaken, h.young[0]));
    assert_true(rig_counted(r, REASON_TLS_HANDSHAKE_NS) / LOOK_NS < 2 * YOUNG);
    rig_free(r);
}

static bool was_stepped(void *r)
{
    return rig_counted(r, REASON_TLS_HANDSHAKE_NS) != 0;
}

static void a_connection_that_ends_between_slices_leaves_nothing(void **state)
{
    struct rig *r = rig_that_looks();
    struct client *c = client_open(r, false);
    (void)state;

    assert_true(rig_until(r, was_stepped, r));
    client_abort(c);
    rig_run(r, 1000000);
    assert_int_equal(rig_counted(r, REASON_TLS_JOB_ABANDONED), 1);
    assert_int_equal(rig_gauge(r, GAUGE_TLS_CONNS), 0);
    expect_unmoved(shaken(r));
    rig_free(r);
}

/* What the device is handed, and what the worker had done in this turn when it was. */
static struct outlet {
    struct rig *rig;
    struct nic_ops ops;
    const struct nic_ops *real;
    uint64_t served, stepped_ns; /* at the end of the last turn */
    bool tells;                  /* nothing was handed over yet in this turn */
    int turns_of_both;
} outlet;

static uint16_t tx_looked_at(struct nic *n, uint16_t queue, struct frame *frames, uint16_t count)
{
    if (outlet.tells && rig_counted(outlet.rig, REASON_HTTP_REQUESTS) != outlet.served)
        assert_int_equal(rig_counted(outlet.rig, REASON_TLS_HANDSHAKE_NS), outlet.stepped_ns);
    outlet.tells = false;
    return outlet.real->tx(n, queue, frames, count);
}

static bool watch_outlet(void *arg)
{
    struct crowd *w = arg;
    uint64_t served = rig_counted(outlet.rig, REASON_HTTP_REQUESTS);
    uint64_t stepped_ns = rig_counted(outlet.rig, REASON_TLS_HANDSHAKE_NS);

    outlet.turns_of_both += served != outlet.served && stepped_ns != outlet.stepped_ns;
    outlet.served = served;
    outlet.stepped_ns = stepped_ns;
    outlet.tells = true;
    if (w->sent - served < BATCH)
        send_batch(w);
    return young_are_shaken(w);
}

static void replies_leave_before_a_handshake_is_stepped(void **state)
{
    struct rig_options o;
    (void)state;

    rig_options_defaults(&o);
    o.look_ns = LOOK_NS;
    struct rig *r = rig_new(&o);
    struct crowd w = {.busy = shaken(r)};
    struct nic *port = sim_port(rig_sim(r), 0);
    outlet = (struct outlet){.rig = r, .ops = *port->ops, .real = port->ops};
    outlet.ops.tx = tx_looked_at;
    port->ops = &outlet.ops;
    rig_run(r, 10000); /* its Finished is on its way */
    send_batch(&w);
    for (int i = 0; i < YOUNG; i++)
        w.young[i] = client_open(r, false);
    (void)watch_outlet(&w);
    assert_true(rig_until(r, watch_outlet, &w));
    assert_true(outlet.turns_of_both >= YOUNG / 2);
    port->ops = outlet.real;
    rig_free(r);
}

static void at_most_one_handshake_is_stepped_in_a_turn_while_requests_wait(void **state)
{
    struct rig *r = new_rig();
    struct crowd w = {.busy = shaken(r)};
    (void)state;

    rig_run(r, 10000); /* its Finished is on its way */
    w.shaken = rig_counted(r, REASON_TLS_HANDSHAKE_OK);
    send_batch(&w);
    for (int i = 0; i < YOUNG; i++)
        w.young[i] = client_open(r, false);
    assert_true(rig_until(r, watch_turn, &w));
    for (int i = 0; i < 20; i++)
        (void)rig_until(r, watch_turn, &w); /* their Finished are on their way, too */
    assert_int_equal(w.shaken, 1 + YOUNG);
    assert_true(w.turns_of_both >= YOUNG / 2);
    rig_free(r);
}

static void a_handshake_of_garbage_gets_an_alert_and_the_end(void **state)
{
    struct rig *r = new_rig();
    struct client *c = client_open_plain(r, false), *good = shaken(r);
    (void)state;

    client_send(c, span_of("\x16\x03\x01\x00\x05\x99\x00\x00\x01\x00", 10)); /* a handshake message 0x99 */
    assert_true(rig_until(r, client_ended, c));
    assert_true(c->in_len == 7 && c->in[0] == 21); /* one alert record (RFC 8446 6) */
    expect_unmoved(good);
    rig_free(r);
}

/* OpenSSL answers with no alert what does not even look like TLS. */
static void plain_http_on_the_tls_port_gets_the_end(void **state)
{
    struct rig *r = new_rig();
    struct client *c = client_open_plain(r, false), *good = shaken(r);
    (void)state;

    send_text(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(rig_until(r, client_ended, c));
    assert_int_equal(c->in_len, 0);
    expect_unmoved(good);
    rig_free(r);
}

static void a_peer_gone_in_the_middle_of_a_request_is_counted(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    (void)state;

    send_text(c, "POST /" RIG_KEY_A ":wrap HTTP/1.1\r\nHo");
    rig_run(r, 10000);
    client_close(c);
    rig_run(r, 1000000);
    assert_int_equal(rig_counted(r, REASON_CONN_REQUEST_CUT), 1);
    rig_free(r);
}

static void close_notify_is_answered_in_kind(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    (void)state;

    expect_unmoved(c);
    client_close(c);
    assert_true(rig_until(r, client_ended, c));
    assert_true(c->tls_closed);
    assert_int_equal(peer_state(c->peer), PEER_FINISHED);
    rig_free(r);
}

static void b31_resets_in_the_middle_of_everything_leave_nothing(void **state)
{
    struct rig *r = new_rig();
    struct worker_gauges g;
    (void)state;

    for (int i = 0; i < 60; i++) {
        struct client *c = client_open(r, i % 2 == 0);
        if (i % 4 != 0) {
            assert_true(rig_until(r, client_shaken, c));
            send_text(c, "POST /" RIG_KEY_A ":wrap HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\nabc");
        }
        rig_run(r, (uint64_t)i * 50);
        client_abort(c);
    }
    rig_run(r, 1000000);
    worker_gauges(rig_worker(r), &g);
    assert_int_equal(g.conns, 0);
    assert_int_equal(g.small_buffers_used, 0);
    assert_int_equal(tls_conn_count(worker_tls(rig_worker(r))), 0);
    rig_free(r);
}

static void what_a_worker_holds_is_shown_to_the_outside(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    (void)state;

    rig_run(r, 50000);
    assert_int_equal(rig_gauge(r, GAUGE_TCP_ESTABLISHED), 1);
    assert_int_equal(rig_gauge(r, GAUGE_CONNS), 1);
    assert_int_equal(rig_gauge(r, GAUGE_TLS_CONNS), 1);
    client_abort(c);
    rig_run(r, 50000);
    (void)shaken(r);
    rig_run(r, 50000);
    assert_int_equal(rig_gauge(r, GAUGE_TCP_CONNS), 1);
    assert_int_equal(rig_gauge(r, GAUGE_CONNS), 1);
    assert_int_equal(rig_gauge(r, GAUGE_TLS_CONNS), 1);
    rig_free(r);
}

static bool reply_begun(void *c)
{
    return ((struct client *)c)->in_len != 0;
}

static void a_client_that_does_not_read_its_replies_is_ended(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    char *body = big_wrap_body(EKM_PLAINTEXT_MAX);
    (void)state;

    struct sim_faults slow = {.delay_us = 5000}, all_lost = {.loss_ppm = 1000000};
    struct worker_gauges g;

    sim_set_faults(rig_sim(r), 1, &slow);
    client_post(c, RIG_KEY_A ":wrap", body);
    assert_true(rig_until(r, reply_begun, c));
    sim_set_faults(rig_sim(r), 1, &all_lost); /* from here on nothing is acknowledged */
    rig_run(r, 60000000);
    assert_int_equal(rig_counted(r, REASON_CONN_REPLY_STALLED), 1);
    worker_gauges(rig_worker(r), &g);
    assert_int_equal(g.conns, 0);
    free(body);
    rig_free(r);
}

static void a_draining_worker_finishes_what_it_has_and_takes_no_more(void **state)
{
    struct rig *r = new_rig();
    struct client *idle = shaken(r), *busy = shaken(r);
    char *text = request(r, "1.1", "Content-Length: 24\r\n", "");
    (void)state;

    send_text(busy, text);
    rig_run(r, 10000);
    worker_drain(rig_worker(r), rig_now(r));
    assert_true(rig_until(r, client_ended, idle));
    assert_true(idle->tls_closed);
    send_text(busy, WRAP_HELLO);
    expect_status(busy, 200);
    assert_non_null(strstr((const char *)busy->in, "Connection: close"));
    assert_true(rig_until(r, client_ended, busy));
    struct client *late = client_open(r, false);
    assert_true(rig_until(r, client_ended, late));
    rig_run(r, 70000000);
    assert_true(worker_drained(rig_worker(r)));
    free(text);
    rig_free(r);
}

/* The device takes one frame a turn, and for a while none: bug B37. */
static void a_full_transmit_ring_delays_but_loses_nothing(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    char *body = big_wrap_body(EKM_PLAINTEXT_MAX);
    (void)state;

    sim_set_tx_room(rig_sim(r), 0, 0);
    client_post(c, RIG_KEY_A ":wrap", body);
    rig_run(r, 5000);
    sim_set_tx_room(rig_sim(r), 0, 1);
    expect_status(c, 200);
    assert_true(rig_counted(r, REASON_NIC_TX_RETRIED) > 0);
    free(body);
    rig_free(r);
}

static void an_empty_transmit_pool_is_counted_and_passes(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    (void)state;

    sim_set_pool_limit(rig_sim(r), 0, 0);
    client_post(c, RIG_KEY_A ":wrap", WRAP_HELLO);
    rig_run(r, 5000);
    for (int i = 0; i < NIC_BURST_MAX && client_replied(c);
         i++) { /* the worker's own spare frames go first */
        client_next(c);
        client_post(c, RIG_KEY_A ":wrap", WRAP_HELLO);
        rig_run(r, 5000);
    }
    assert_false(client_replied(c));
    assert_true(rig_counted(r, REASON_NIC_NO_BUFFER) > 0);
    sim_set_pool_limit(rig_sim(r), 0, UINT32_MAX);
    expect_status(c, 200);
    rig_free(r);
}

static uint64_t seed_running;

/* After a failure: what to run again. */
static int say_seed(void **state)
{
    (void)state;
    if (seed_running != 0)
        print_message("failed at seed %llu\n", (unsigned long long)seed_running);
    return 0;
}

/* Wraps and unwraps over a wire that loses, doubles, overtakes and flips. */
static void wraps_survive_the_wire_of(uint64_t seed)
{
    struct rig_options o;
    struct sim_faults f = {.loss_ppm = (uint32_t)(seed % 5) * 15000,
                           .duplicate_ppm = (uint32_t)(seed % 3) * 20000,
                           .jitter_ppm = (uint32_t)(seed % 4) * 50000,
                           .jitter_us = 3000,
                           .delay_us = 200};
    struct sim_faults g = f;

    seed_running = seed;
    rig_options_defaults(&o);
    o.seed = seed;
    struct rig *r = rig_new(&o);
    sim_set_faults(rig_sim(r), 0, &f);
    g.corrupt_ppm = (uint32_t)(seed % 2) * 10000; /* what comes to us; the peer complains of what it gets */
    sim_set_faults(rig_sim(r), 1, &g);
    for (int i = 0; i < 3; i++) {
        struct client *c = client_open(r, i % 2 == 1);
        assert_true(rig_until(r, client_shaken, c));
        char *body = big_wrap_body(1000 * (seed % 20));
        if (seed % 20 != 0)
            free(wrapped(c, RIG_KEY_A ":wrap", body));
        char *blob = wrapped(c, RIG_KEY_A ":wrap", WRAP_HELLO);
        unwrap_hello(c, RIG_KEY_A ":unwrap", blob, 200);
        free(blob);
        free(body);
        client_close(c);
    }
    rig_free(r);
    seed_running = 0;
}

static void forty_seeds_of_a_bad_wire_lose_no_wrap(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++)
        wraps_survive_the_wire_of(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_of_one_byte_a_second_is_served_beside_fast_ones),
        cmocka_unit_test(silence_inside_a_request_ends_it),
        cmocka_unit_test(silence_between_requests_is_welcome),
        cmocka_unit_test(a_large_body_that_trickles_loses_its_buffer),
        cmocka_unit_test(a_large_body_at_its_minimum_rate_is_served),
        cmocka_unit_test(a_handshake_that_does_not_go_on_is_ended),
        cmocka_unit_test(no_turn_makes_two_steps_of_handshakes),
        cmocka_unit_test(a_handshake_that_was_begun_goes_first),
        cmocka_unit_test(a_connection_that_ends_between_slices_leaves_nothing),
        cmocka_unit_test(at_most_one_handshake_is_stepped_in_a_turn_while_requests_wait),
        cmocka_unit_test(replies_leave_before_a_handshake_is_stepped),
        cmocka_unit_test(a_handshake_of_garbage_gets_an_alert_and_the_end),
        cmocka_unit_test(plain_http_on_the_tls_port_gets_the_end),
        cmocka_unit_test(a_peer_gone_in_the_middle_of_a_request_is_counted),
        cmocka_unit_test(close_notify_is_answered_in_kind),
        cmocka_unit_test(b31_resets_in_the_middle_of_everything_leave_nothing),
        cmocka_unit_test(what_a_worker_holds_is_shown_to_the_outside),
        cmocka_unit_test(a_client_that_does_not_read_its_replies_is_ended),
        cmocka_unit_test(a_draining_worker_finishes_what_it_has_and_takes_no_more),
        cmocka_unit_test(a_full_transmit_ring_delays_but_loses_nothing),
        cmocka_unit_test(an_empty_transmit_pool_is_counted_and_passes),
        cmocka_unit_test_teardown(forty_seeds_of_a_bad_wire_lose_no_wrap, say_seed),
    };
    log_set_level(LOG_ERROR);
    return RUN_TESTS("worker_trouble", tests);
}
