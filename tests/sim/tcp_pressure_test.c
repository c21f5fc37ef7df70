/* The less buffers are left, the less is taken on (B23): SYNs, windows, what lies beyond gaps, the slowest. */
#include "tests/sim/tcp_script.h"

#define POOL 20

struct crowd {
    struct script *t;
    struct net_conn *conns[POOL];
    uint32_t iss[POOL];
};

static struct script *scarce(void **state)
{
    return script_new(state,
                      &(struct script_options){.conns = 64, .recv_buffers = POOL, .send_buffers = POOL});
}

static uint16_t port_of(int i)
{
    return (uint16_t)(100 + i);
}

static void speak_as(struct crowd *w, int i)
{
    w->t->sport = port_of(i);
    w->t->iss = w->iss[i];
    w->t->conn = w->conns[i];
    w->t->acked = 0;
    w->t->read = 0;
    w->t->written = 0;
}

static void join(struct crowd *w, int i)
{
    w->t->sport = port_of(i);
    script_handshake(w->t);
    w->conns[i] = w->t->conn;
    w->iss[i] = w->t->iss;
}

/* Connections from..to-1 each with a hundred bytes that nobody reads. */
static void hoard(struct crowd *w, int from, int to)
{
    for (int i = from; i < to; i++) {
        join(w, i);
        peer_data(w->t, 0, 100);
    }
    script_advance(w->t, 100 * MS);
    script_drop_all(w->t);
}

static void give_back(struct crowd *w, int i)
{
    speak_as(w, i);
    app_read(w->t, 100);
    script_advance(w->t, 100 * MS);
    script_drop_all(w->t);
}

static void everybody_leaves(struct crowd *w, int count)
{
    for (int i = 0; i < count; i++) {
        if (w->conns[i] == NULL)
            continue;
        net_abort(w->conns[i], w->t->now_us);
        net_release(w->conns[i], w->t->now_us);
    }
    script_turn(w->t);
    assert_int_equal(script_gauges(w->t).conns, 0);
    assert_int_equal(script_gauges(w->t).recv_buffers_used, 0);
    script_free(w->t);
}

static uint64_t cookies_for_a_syn(struct script *t)
{
    uint64_t before = counted(t, REASON_TCP_COOKIE_SENT);

    t->sport = 9;
    peer_syn(t);
    script_drop_all(t);
    if (script_gauges(t).syn_received != 0) { /* entries must not outlive the question */
        struct wire_segment s = {.flags = WIRE_RST, .seq = peer_seq(t, 0)};
        peer_sends(t, s);
    }
    return counted(t, REASON_TCP_COOKIE_SENT) - before;
}

static void b23_below_half_a_syn_gets_a_cookie(void **state)
{
    struct crowd w = {.t = scarce(state)};

    hoard(&w, 0, 10);
    assert_int_equal(cookies_for_a_syn(w.t), 0);
    hoard(&w, 10, 11);
    assert_int_equal(cookies_for_a_syn(w.t), 1);
    give_back(&w, 3);
    assert_int_equal(cookies_for_a_syn(w.t), 0);
    everybody_leaves(&w, 11);
}

static void b23_connection_by_cookie_works_under_pressure(void **state)
{
    struct crowd w = {.t = scarce(state)};

    hoard(&w, 0, 11);
    hoard(&w, 11, 14);
    assert_int_equal(counted(w.t, REASON_TCP_COOKIE_ACCEPTED), 3);
    speak_as(&w, 13);
    app_read(w.t, 100);
    everybody_leaves(&w, 14);
}

/* The peer's data, read at once; where the window ends afterwards. */
static uint32_t edge_after(struct script *t, uint32_t at, uint32_t len)
{
    struct wire_segment *s;

    peer_data(t, at, len);
    app_read(t, len);
    script_advance(t, 100 * MS);
    s = expect_segment(t);
    while (script_pending(t) != 0)
        s = expect_segment(t);
    assert_int_equal(s->ack - peer_seq(t, 0), at + len);
    return at + len + s->wnd;
}

static void b23_below_a_quarter_the_window_closes_without_retreating(void **state)
{
    struct crowd w = {.t = scarce(state)};
    uint32_t at = 0;

    hoard(&w, 0, 16);
    join(&w, 16);
    script_advance(w.t, 1 * MS);
    for (; at + 1400 + 16384 <= 65535; at += 1400)
        assert_int_equal(edge_after(w.t, at, 1400), 65535);
    for (int i = 0; i < 10; i++, at += 1400) {
        uint32_t edge = edge_after(w.t, at, 1400);
        assert_true(edge >= 65535 && edge <= at + 1400 + 16384);
    }
    /* It opens again when there is room again. */
    for (int i = 0; i < 6; i++) {
        uint32_t iss = w.t->iss;
        uint64_t read = w.t->read;
        give_back(&w, i);
        w.t->sport = port_of(16);
        w.t->iss = iss;
        w.t->conn = w.conns[16];
        w.t->read = read;
    }
    assert_true(edge_after(w.t, at, 1400) > at + 1400 + 50000);
    everybody_leaves(&w, 17);
}

static void b23_below_a_tenth_what_lies_beyond_gaps_is_dropped_and_taken_again(void **state)
{
    struct crowd w = {.t = scarce(state)};

    hoard(&w, 0, 17);
    join(&w, 17);
    peer_data(w.t, 1000, 500);
    expect_ack(w.t, 0);
    assert_int_equal(script_gauges(w.t).recv_buffers_used, 18);
    join(&w, 18);
    peer_data(w.t, 0, 100);
    script_advance(w.t, 100 * MS);
    assert_int_equal(counted(w.t, REASON_TCP_PRESSURE_GAPS), 1);
    assert_int_equal(script_gauges(w.t).recv_buffers_used, 18);
    script_drop_all(w.t);
    speak_as(&w, 17);
    peer_data(w.t, 0, 1000);
    peer_data(w.t, 1000, 500);
    app_read(w.t, 1500);
    everybody_leaves(&w, 19);
}

static void b23_below_a_tenth_the_slowest_is_reset(void **state)
{
    struct crowd w = {.t = scarce(state)};

    hoard(&w, 0, 19);
    script_advance(w.t, 2 * SECOND);
    expect_nothing(w.t);
    assert_int_equal(counted(w.t, REASON_TCP_PRESSURE_ABORTED), 0);
    /* All but the fifth are heard of again. */
    for (int i = 0; i < 19; i++) {
        speak_as(&w, i);
        if (i != 5)
            peer_data(w.t, 100, 1);
    }
    script_advance(w.t, 100 * MS);
    script_drop_all(w.t);
    script_advance(w.t, 4 * SECOND);
    assert_int_equal(counted(w.t, REASON_TCP_PRESSURE_ABORTED), 1);
    assert_int_equal(net_close_cause(w.conns[5]), NET_CAUSE_ABORTED);
    assert_int_equal(expect_rst(w.t)->dport, port_of(5));
    everybody_leaves(&w, 19);
}

static void b23_slow_reader_counts_from_its_last_progress(void **state)
{
    struct crowd w = {.t = scarce(state)};

    for (int i = 0; i < 19; i++) {
        join(&w, i);
        speak_as(&w, i);
        app_send(w.t, 100);
        script_drop_all(w.t);
        script_advance(w.t, 10 * MS);
    }
    for (int i = 0; i < 60; i++) {
        script_advance(w.t, 100 * MS);
        script_drop_all(w.t);
    }
    /* One at a time, the one that waited longest first, until a tenth is free. */
    assert_int_equal(counted(w.t, REASON_TCP_PRESSURE_ABORTED), 1);
    assert_int_equal(net_close_cause(w.conns[0]), NET_CAUSE_ABORTED);
    for (int i = 1; i < 19; i++)
        assert_int_equal(net_close_cause(w.conns[i]), NET_CAUSE_NONE);
    everybody_leaves(&w, 19);
}

static void idle_connections_hold_no_buffer(void **state)
{
    struct crowd w = {.t = scarce(state)};

    hoard(&w, 0, 10);
    for (int i = 0; i < 10; i++) {
        give_back(&w, i);
        app_send(w.t, 50);
        w.t->acked = 50;
        peer_data(w.t, 100, 0);
        script_drop_all(w.t);
    }
    assert_int_equal(script_gauges(w.t).recv_buffers_used, 0);
    assert_int_equal(script_gauges(w.t).send_buffers_used, 0);
    everybody_leaves(&w, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b23_below_half_a_syn_gets_a_cookie),
        cmocka_unit_test(b23_connection_by_cookie_works_under_pressure),
        cmocka_unit_test(b23_below_a_quarter_the_window_closes_without_retreating),
        cmocka_unit_test(b23_below_a_tenth_what_lies_beyond_gaps_is_dropped_and_taken_again),
        cmocka_unit_test(b23_below_a_tenth_the_slowest_is_reset),
        cmocka_unit_test(b23_slow_reader_counts_from_its_last_progress),
        cmocka_unit_test(idle_connections_hold_no_buffer),
    };
    return SCRIPT_RUN("tcp_pressure", tests);
}
