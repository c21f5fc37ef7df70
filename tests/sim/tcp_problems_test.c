/* The known problems of RFC 2525, one claim each (D20), and bugs of other stacks that are no single segment's
 * matter: what is held back, numbers that wrap, resets swept over a whole window, limits that tell secrets. */
#include "dataplane/net/tcp.h"
#include "tests/sim/snapshot.h"
#include "tests/sim/tcp_script.h"

#define MSS 1000

static struct script *connected(void **state, struct script_options o)
{
    struct script *t;

    o.mss = o.mss != 0 ? o.mss : MSS;
    t = script_new(state, &o);
    script_handshake(t);
    script_drop_all(t);
    return t;
}

static void expect_flight(struct script *t, uint32_t at, uint32_t segments)
{
    for (uint32_t i = 0; i < segments; i++)
        (void)expect_data(t, at + i * MSS, MSS);
    expect_nothing(t);
}

/* ---- RFC 2525 ---- */

/* 2.1, 2.3: what the peer's window would take does not matter. */
static void d20_a_connection_begins_in_slow_start(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_send(t, 60 * MSS);
    expect_flight(t, 0, 10);
    peer_ack(t, MSS);
    expect_flight(t, 10 * MSS, 2);
    peer_ack(t, 2 * MSS);
    expect_flight(t, 12 * MSS, 2);
    script_free(t);
}

/* 2.2, 2.14: one segment, and two for its acknowledgement. */
static void d20_after_a_timeout_one_segment_leaves(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_send(t, 10 * MSS);
    expect_flight(t, 0, 10);
    script_advance(t, 250 * MS);
    (void)expect_data(t, 0, MSS);
    expect_nothing(t);
    peer_ack(t, MSS);
    expect_flight(t, MSS, 2);
    script_free(t);
}

/* 2.4: whatever came in between, the bytes at a number are the bytes at that number (expect_data compares them). */
static void d20_repetition_carries_the_bytes_of_the_first_time(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    app_send(t, 700);
    app_send(t, 300);
    app_send(t, 450);
    script_drop_all(t);
    script_advance(t, 2 * SECOND);
    while (script_pending(t) != 0) {
        struct wire_segment *s = expect_segment(t);
        for (size_t i = 0; i < s->data.len; i++)
            assert_int_equal(s->data.ptr[i], app_byte(offset_of(t, s->seq) + i));
    }
    script_free(t);
}

/* 2.5 */
static void d20_data_above_a_gap_is_kept(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    for (uint32_t i = 5; i > 0; i--) {
        peer_data(t, i * MSS, MSS);
        expect_ack(t, 0);
    }
    peer_data(t, 0, MSS);
    expect_ack(t, 6 * MSS);
    app_read(t, 6 * MSS);
    script_free(t);
}

/* 2.6, 2.8: after recovery half the flight remains, and each round trip adds a segment at most. */
static void d20_after_recovery_a_round_trip_adds_one_segment(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});
    struct wire_segment w;
    uint32_t cwnd, at;

    app_send(t, 60 * MSS);
    w = peer_make(t, WIRE_ACK, 0);
    w.sack_count = 1;
    w.sack[0] = (struct wire_sack){t->iss + 1 + MSS, t->iss + 1 + 4 * MSS};
    peer_sends(t, w);
    assert_true(tcp_conn_has(t->conn, TCP_CONN_RECOVERY));
    script_advance(t, 20 * MS);
    at = offset_of(t, t->conn->snd_nxt);
    peer_ack(t, at);
    assert_false(tcp_conn_has(t->conn, TCP_CONN_RECOVERY));
    cwnd = t->conn->cwnd;
    assert_in_range(cwnd, 5 * MSS, 8 * MSS);
    for (uint32_t acked = 0; acked < cwnd / MSS * MSS; acked += MSS) {
        script_drop_all(t);
        peer_ack(t, at + acked + MSS);
    }
    assert_in_range(t->conn->cwnd, cwnd + 1, cwnd + MSS);
    script_free(t);
}

/* 2.7: nothing has been measured where the SYN-ACK was repeated. */
static void d20_first_timeout_without_a_measurement_is_no_shorter_than_a_second(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.mss = MSS});

    peer_syn(t);
    t->iss = expect_segment(t)->seq;
    script_advance(t, 1500 * MS);
    script_drop_all(t);
    peer_ack(t, 0);
    app_send(t, MSS);
    (void)expect_data(t, 0, MSS);
    script_advance(t, 990 * MS);
    expect_nothing(t);
    script_free(t);
}

/* 2.10 */
static void d20_timeouts_back_off(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    uint64_t before = 0, last = t->now_us;

    app_send(t, MSS);
    (void)expect_data(t, 0, MSS);
    script_advance(t, 30 * SECOND);
    while (script_pending(t) != 0) {
        (void)expect_data(t, 0, MSS);
        uint64_t wait = script_sent_at(t) - last;
        assert_true(before == 0 || wait >= 2 * before - 5 * MS);
        before = wait;
        last = script_sent_at(t);
    }
    assert_true(before >= 12 * SECOND);
    script_free(t);
}

/* 2.12: the ACK that opened the window was lost. */
static void d20_lost_window_update_stops_nobody(void **state)
{
    struct script *t = connected(state, (struct script_options){.window = 4 * MSS});

    app_send(t, 8 * MSS);
    expect_flight(t, 0, 4);
    t->window = 0;
    peer_ack(t, 4 * MSS);
    expect_nothing(t);
    t->window = 4 * MSS; /* which we are not told */
    script_advance(t, SECOND);
    assert_true(script_pending(t) != 0);
    (void)expect_data(t, 4 * MSS, 1);
    script_drop_all(t);
    peer_ack(t, 4 * MSS + 1);
    (void)expect_data(t, 4 * MSS + 1, MSS);
    script_free(t);
}

/* 2.13 */
static void d20_every_second_full_segment_is_acknowledged(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    for (uint32_t i = 0; i < 40; i++)
        peer_data(t, i * MSS, MSS);
    assert_true(script_pending(t) >= 20);
    script_free(t);
}

/* 2.15: although bytes before it are unread. */
static void d20_fin_is_told_at_once(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, MSS);
    (void)app_events(t);
    peer_fin(t, MSS);
    assert_int_equal(app_events(t) & NET_EVENT_PEER_FIN, NET_EVENT_PEER_FIN);
    app_read(t, MSS);
    script_free(t);
}

/* 2.16 */
static void d20_data_after_the_user_has_gone_is_answered_by_a_rst(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_release(t);
    expect_fin(t, 0);
    peer_data(t, 0, 100);
    (void)expect_rst(t);
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

/* 2.17 */
static void d20_close_with_unread_data_is_a_rst(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, 100);
    script_drop_all(t);
    app_close(t);
    (void)expect_rst(t);
    expect_nothing(t);
    script_free(t);
}

/* 2.18 */
static void d20_options_count_towards_the_size_of_a_segment(void **state)
{
    struct script *t = connected(state, (struct script_options){.ts = true});

    app_send(t, 5 * MSS);
    (void)expect_data(t, 0, MSS - 12);
    script_free(t);
}

/* ---- bugs of others ---- */

static void b24_answer_leaves_in_the_turn_that_writes_it(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    for (uint32_t i = 0; i < 5; i++) {
        peer_data(t, i * 100, 100);
        app_read(t, 100);
        uint64_t now = t->now_us;
        app_send(t, 10);
        (void)expect_data(t, i * 10, 10);
        assert_int_equal(script_sent_at(t), now);
        peer_ack(t, i * 10 + 10);
        script_advance(t, 30 * MS);
        script_drop_all(t);
    }
    script_free(t);
}

/* With a gap, a loss and a FIN on the way; where the numbers are just below 2^32 they pass it, here and there. */
static void b33_streams_pass_the_end_of_the_numbers(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true, .ts = true, .wscale = 2});

    if (t->variant->wrap)
        assert_true(t->iss > UINT32_MAX - 2 * SCRIPT_MARGIN && t->irs > UINT32_MAX - 2 * SCRIPT_MARGIN);
    peer_data(t, 1000, 1000);
    peer_data(t, 0, 1000);
    app_read(t, 2000);
    app_send(t, 8 * MSS);
    while (script_pending(t) != 0)
        (void)expect_segment(t);
    struct wire_segment w = peer_make(t, WIRE_ACK, 2000);
    w.sack_count = 1;
    w.sack[0] = (struct wire_sack){t->iss + 1 + 988, t->iss + 1 + 4 * 988};
    peer_sends(t, w);
    (void)expect_data(t, 0, 988);
    script_drop_all(t);
    peer_ack(t, 8 * MSS);
    app_close(t);
    expect_fin(t, 8 * MSS);
    t->acked = 8 * MSS + 1;
    peer_fin(t, 2000);
    assert_int_equal(app_events(t) & NET_EVENT_CLOSED, NET_EVENT_CLOSED);
    assert_int_equal(net_close_cause(t->conn), NET_CAUSE_FINISHED);
    if (t->variant->wrap)
        assert_true(t->conn->rcv_nxt < SCRIPT_MARGIN * 2 && t->conn->snd_una < SCRIPT_MARGIN * 10);
    script_free(t);
}

static void c5_rst_is_believed_at_one_number_of_the_whole_window(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 8192});
    struct snapshot *s = snapshot_take(t);

    for (uint32_t at = 0; at <= 8192; at++) {
        snapshot_restore(s);
        peer_rst(t, at);
        assert_int_equal((t->events & NET_EVENT_CLOSED) != 0, at == 0);
        assert_int_equal(script_pending(t), at != 0 && at < 8192);
    }
    snapshot_free(s);
    script_free(t);
}

static uint32_t challenges(struct script *t, uint32_t tries)
{
    uint32_t answered = 0;

    for (uint32_t i = 0; i < tries; i++) {
        script_drop_all(t);
        peer_rst(t, 100);
        answered += script_pending(t);
    }
    return answered;
}

/* CVE-2016-5696: who counts the answers on a connection of his own learns nothing about another. */
static void c6_challenges_elsewhere_take_none_of_ones_own(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    uint32_t alone = 0, beside = 0;

    for (int i = 0; i < 20; i++) {
        script_advance(t, 500 * MS);
        alone += challenges(t, 20);
    }
    t->sport++;
    script_handshake(t); /* the same numbers of the peer, another port */
    for (int i = 0; i < 20; i++) {
        script_advance(t, 500 * MS);
        (void)challenges(t, 100);
        t->sport--;
        beside += challenges(t, 20);
        t->sport++;
    }
    assert_in_range(beside, alone - 6, alone + 6);
    script_free(t);
}

static void c6_challenges_are_spaced_unevenly(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    uint64_t at[12] = {0}, shortest = UINT64_MAX, longest = 0;
    int seen = 0;

    (void)challenges(t, 20);
    for (int i = 0; i < 20000 && seen < 12; i++) {
        script_advance(t, MS);
        if (challenges(t, 1) != 0)
            at[seen++] = t->now_us;
    }
    assert_int_equal(seen, 12);
    for (int i = 1; i < 12; i++) {
        uint64_t gap = at[i] - at[i - 1];
        shortest = gap < shortest ? gap : shortest;
        longest = gap > longest ? gap : longest;
    }
    assert_true(shortest >= 199 * MS && longest <= 310 * MS);
    assert_true(longest > shortest + 10 * MS);
    script_free(t);
}

/* RFC 9293 3.8.6: what was sent into the window that was taken back waits, is probed for, and goes on. */
static void d13_peer_may_take_its_window_back(void **state)
{
    struct script *t = connected(state, (struct script_options){.window = 20 * MSS});

    app_send(t, 20 * MSS);
    expect_flight(t, 0, 10);
    t->window = 0;
    peer_ack(t, 4 * MSS);
    expect_nothing(t);
    script_advance(t, 5 * SECOND);
    assert_int_equal(app_events(t) & NET_EVENT_CLOSED, 0);
    assert_true(script_pending(t) != 0);
    script_drop_all(t);
    t->window = 20 * MSS;
    peer_ack(t, 10 * MSS);
    (void)expect_data(t, 10 * MSS, MSS);
    script_free(t);
}

/* CVE-2018-5390 */
static void d14_every_other_byte_alone_costs_a_bounded_memory(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    for (uint32_t at = 1; at < 20000; at += 2) {
        peer_data(t, at, 1);
        assert_true(t->conn->range_count <= TCP_RANGES_MAX);
        script_drop_all(t);
    }
    assert_int_equal(script_gauges(t).recv_buffers_used, 1);
    for (uint32_t at = 0; at < 20000; at += 1000)
        peer_data(t, at, 1000);
    app_read(t, 20000);
    assert_int_equal(script_gauges(t).recv_buffers_used, 0);
    script_free(t);
}

/* A connection in use remembers its next hop, but not for longer than the neighbour stays where it is. */
static void l1_connection_follows_a_peer_that_moved(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    const uint8_t *to = t->queue[(uint16_t)(t->tail - 1) % SCRIPT_QUEUE].bytes;

    assert_int_equal(to[5], 2);
    t->moved = 7;
    for (uint32_t s = 0; s < 60; s++) {
        script_drop_all(t);
        peer_data(t, s * 100, 100);
        app_read(t, 100);
        script_advance(t, SECOND);
        assert_true(script_pending(t) != 0);
    }
    to = t->queue[(uint16_t)(t->tail - 1) % SCRIPT_QUEUE].bytes;
    assert_int_equal(to[5], 9);
    script_free(t);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(d20_a_connection_begins_in_slow_start),
        T(d20_after_a_timeout_one_segment_leaves),
        T(d20_repetition_carries_the_bytes_of_the_first_time),
        T(d20_data_above_a_gap_is_kept),
        T(d20_after_recovery_a_round_trip_adds_one_segment),
        T(d20_first_timeout_without_a_measurement_is_no_shorter_than_a_second),
        T(d20_timeouts_back_off),
        T(d20_lost_window_update_stops_nobody),
        T(d20_every_second_full_segment_is_acknowledged),
        T(d20_fin_is_told_at_once),
        T(d20_data_after_the_user_has_gone_is_answered_by_a_rst),
        T(d20_close_with_unread_data_is_a_rst),
        T(d20_options_count_towards_the_size_of_a_segment),
        T(b24_answer_leaves_in_the_turn_that_writes_it),
        T(b33_streams_pass_the_end_of_the_numbers),
        T(c5_rst_is_believed_at_one_number_of_the_whole_window),
        T(c6_challenges_elsewhere_take_none_of_ones_own),
        T(c6_challenges_are_spaced_unevenly),
        T(l1_connection_follows_a_peer_that_moved),
        T(d13_peer_may_take_its_window_back),
        T(d14_every_other_byte_alone_costs_a_bounded_memory),
    };
    return SCRIPT_RUN("tcp_problems", tests);
}
