/* Sending: segments, loss and its repair, congestion, shut windows. */
#include "tests/sim/tcp_script.h"

/* The size of a full segment without timestamps. */
#define FULL(t) ((t)->variant->v6 ? 1440u : 1460u)

static struct script *connected(void **state, struct script_options o)
{
    struct script *t = script_new(state, &o);

    script_handshake(t);
    script_drop_all(t);
    return t;
}

/* A connection on which every full segment is 1000 bytes. */
static struct script *connected_1000(void **state)
{
    return connected(state, (struct script_options){.mss = 1000});
}

static void expect_flight(struct script *t, uint32_t from, uint32_t segments)
{
    for (uint32_t i = 0; i < segments; i++)
        (void)expect_data(t, from + 1000 * i, 1000);
    expect_nothing(t);
}

/* ---- segments ---- */

static void b18_first_flight_is_ten_segments(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_send(t, 60000);
    for (uint32_t i = 0; i < 10; i++)
        (void)expect_data(t, i * FULL(t), FULL(t));
    expect_nothing(t);
    script_free(t);
}

static void b18_eight_kilobytes_leave_in_one_flight(void **state)
{
    struct script *t = connected(state, (struct script_options){.ts = true});
    uint32_t at = 0;

    app_send(t, 8192);
    while (at < 8192)
        at += (uint32_t)expect_segment(t)->data.len;
    assert_int_equal(at, 8192);
    script_free(t);
}

static void initial_window_of_large_segments_is_bounded_in_bytes(void **state)
{
    struct script *t = connected(state, (struct script_options){.mtu = 9000, .mss = 8900});

    app_send(t, 60000);
    assert_int_equal(script_pending(t), 2);
    script_free(t);
}

static void d12_small_writes_are_not_held_back(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_send(t, 10);
    app_send(t, 20);
    (void)expect_data(t, 0, 10);
    (void)expect_data(t, 10, 20);
    script_free(t);
}

static void d12_only_the_last_segment_is_short(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 2500);
    (void)expect_data(t, 0, 1000);
    (void)expect_data(t, 1000, 1000);
    (void)expect_data(t, 2000, 500);
    script_free(t);
}

static void push_marks_the_end_of_what_was_written(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 1500);
    assert_int_equal(expect_data(t, 0, 1000)->flags & WIRE_PSH, 0);
    assert_int_equal(expect_data(t, 1000, 500)->flags & WIRE_PSH, WIRE_PSH);
    script_free(t);
}

static void peers_window_is_kept(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 3000});

    app_send(t, 10000);
    expect_flight(t, 0, 3);
    peer_ack(t, 1000);
    expect_flight(t, 3000, 1);
    script_free(t);
}

static void write_beyond_the_buffer_is_cut_and_room_is_told(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .send_buffer = 8192});
    uint8_t bytes[10000] = {0};

    assert_int_equal(net_send(t->conn, span_of(bytes, sizeof bytes), t->now_us), 8192);
    assert_int_equal(net_send_room(t->conn), 0);
    script_turn(t);
    peer_ack(t, 1000);
    assert_int_equal(app_events(t), 0);
    peer_ack(t, 6000);
    assert_int_equal(app_events(t), NET_EVENT_WRITABLE);
    assert_int_equal(net_send_room(t->conn), 6000);
    script_free(t);
}

static void room_is_told_once(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .send_buffer = 8192});
    uint8_t bytes[10000] = {0};

    assert_int_equal(net_send(t->conn, span_of(bytes, sizeof bytes), t->now_us), 8192);
    script_turn(t);
    peer_ack(t, 6000);
    peer_ack(t, 8000);
    assert_int_equal(app_events(t), NET_EVENT_WRITABLE);
    peer_ack(t, 8192);
    assert_int_equal(app_events(t), 0);
    script_free(t);
}

static void send_without_a_buffer_waits_and_is_told(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.send_buffers = 1});
    struct net_conn *first;

    script_handshake(t);
    app_send(t, 10);
    script_drop_all(t);
    first = t->conn;
    t->sport++;
    script_handshake(t);
    assert_int_equal(net_send(t->conn, span_str("x"), t->now_us), 0);
    assert_int_equal(counted(t, REASON_TCP_NO_SEND_BUFFER), 1);
    net_abort(first, t->now_us);
    script_turn(t);
    assert_int_equal(app_events(t), NET_EVENT_WRITABLE);
    assert_int_equal(net_send(t->conn, span_str("x"), t->now_us), 1);
    script_free(t);
}

static void buffer_goes_back_when_all_is_acknowledged(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 1500);
    assert_int_equal(script_gauges(t).send_buffers_used, 1);
    peer_ack(t, 1500);
    assert_int_equal(script_gauges(t).send_buffers_used, 0);
    script_free(t);
}

static void long_stream_goes_round_the_ring(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .send_buffer = 4096});

    for (uint32_t at = 0; at < 60000; at += 3000) {
        app_send(t, 3000);
        expect_flight(t, at, 3);
        peer_ack(t, at + 3000);
    }
    script_free(t);
}

/* ---- timeouts ---- */

static void d8_lost_segment_is_repeated_after_the_timeout(void **state)
{
    struct script *t = connected_1000(state);
    uint64_t start = t->now_us;

    app_send(t, 1000);
    (void)expect_data(t, 0, 1000);
    script_advance(t, 250 * MS);
    (void)expect_data(t, 0, 1000);
    assert_in_range(script_sent_at(t) - start, 200 * MS, 202 * MS);
    script_free(t);
}

static void d8_timeout_doubles(void **state)
{
    static const uint64_t at_ms[] = {0, 200, 600, 1400, 3000, 6200, 12600, 25400, 51000};
    struct script *t = connected_1000(state);
    uint64_t start = t->now_us;

    app_send(t, 1000);
    script_advance(t, 60 * SECOND);
    for (size_t i = 0; i < 9; i++) {
        (void)expect_data(t, 0, 1000);
        assert_in_range(script_sent_at(t) - start, at_ms[i] * MS, (at_ms[i] + 10) * MS);
    }
    expect_nothing(t);
    script_free(t);
}

static void c15_silent_peer_is_given_up_after_100_seconds(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 1000);
    script_advance(t, 99 * SECOND);
    assert_int_equal(app_events(t) & NET_EVENT_CLOSED, 0);
    script_advance(t, 60 * SECOND);
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    assert_int_equal(net_close_cause(t->conn), NET_CAUSE_TIMED_OUT);
    app_release(t);
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

static void d8_timeout_follows_the_measured_round_trip(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.mss = 1000});

    peer_syn(t);
    t->iss = expect_segment(t)->seq;
    script_advance(t, 400 * MS);
    peer_ack(t, 0);
    /* R = 400 ms: SRTT 400, RTTVAR 200, RTO 1200 (RFC 6298 2.2). */
    uint64_t start = t->now_us;
    app_send(t, 1000);
    script_drop_all(t);
    script_advance(t, 2 * SECOND);
    (void)expect_data(t, 0, 1000);
    assert_in_range(script_sent_at(t) - start, 1200 * MS, 1202 * MS);
    script_free(t);
}

static void d8_first_timeout_without_a_sample_is_three_seconds(void **state)
{
    /* RFC 6298 5.7: the SYN-ACK was repeated, so its answer measured nothing. */
    struct script *t = script_new(state, &(struct script_options){.mss = 1000});

    peer_syn(t);
    script_advance(t, 1100 * MS);
    t->iss = expect_segment(t)->seq;
    peer_ack(t, 0);
    script_drop_all(t);
    uint64_t start = t->now_us;
    app_send(t, 1000);
    script_drop_all(t);
    script_advance(t, 4 * SECOND);
    (void)expect_data(t, 0, 1000);
    assert_in_range(script_sent_at(t) - start, 3000 * MS, 3002 * MS);
    script_free(t);
}

static void d8_karn_the_answer_to_a_repetition_measures_nothing(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 1000);
    script_advance(t, 250 * MS);
    peer_ack(t, 1000);
    script_drop_all(t);
    uint64_t start = t->now_us;
    app_send(t, 1000);
    script_drop_all(t);
    script_advance(t, 2 * SECOND);
    (void)expect_data(t, 1000, 1000);
    assert_in_range(script_sent_at(t) - start, 400 * MS, 402 * MS);
    script_free(t);
}

static void d8_timestamps_measure_repetitions_too(void **state)
{
    struct script *t = connected(state, (struct script_options){.ts = true, .mss = 1012});

    app_send(t, 1000);
    script_advance(t, 250 * MS);
    peer_ack(t, 1000);
    script_drop_all(t);
    uint64_t start = t->now_us;
    app_send(t, 1000);
    script_drop_all(t);
    script_advance(t, 2 * SECOND);
    (void)expect_data(t, 1000, 1000);
    assert_in_range(script_sent_at(t) - start, 200 * MS, 300 * MS);
    script_free(t);
}

static void b9_segment_lost_twice_is_sent_a_third_time(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 3000);
    script_drop_all(t);
    script_advance(t, 250 * MS);
    (void)expect_data(t, 0, 1000);
    script_advance(t, 450 * MS);
    (void)expect_data(t, 0, 1000);
    peer_ack(t, 1000);
    (void)expect_data(t, 1000, 1000);
    peer_ack(t, 2000);
    (void)expect_data(t, 2000, 1000);
    peer_ack(t, 3000);
    expect_nothing(t);
    assert_int_equal(script_gauges(t).send_buffers_used, 0);
    script_free(t);
}

static void after_a_timeout_one_segment_leaves_then_two(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 8000);
    script_drop_all(t);
    script_advance(t, 250 * MS);
    expect_flight(t, 0, 1);
    peer_ack(t, 1000);
    expect_flight(t, 1000, 2);
    script_free(t);
}

static void what_the_peer_already_has_is_not_repeated(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 5000);
    script_drop_all(t);
    script_advance(t, 250 * MS);
    expect_flight(t, 0, 1);
    peer_ack(t, 5000);
    expect_nothing(t);
    script_advance(t, 5 * SECOND);
    expect_nothing(t);
    script_free(t);
}

static void ack_restarts_the_timer_of_what_is_left(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 2000);
    script_drop_all(t);
    script_advance(t, 150 * MS);
    peer_ack(t, 1000);
    uint64_t start = t->now_us;
    script_advance(t, 1 * SECOND);
    (void)expect_data(t, 1000, 1000);
    assert_true(script_sent_at(t) - start >= 200 * MS);
    script_free(t);
}

/* ---- fast retransmit, NewReno ---- */

static void third_duplicate_repeats_the_segment_at_once(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 5000);
    script_drop_all(t);
    peer_ack(t, 0);
    peer_ack(t, 0);
    expect_nothing(t);
    peer_ack(t, 0);
    (void)expect_data(t, 0, 1000);
    expect_nothing(t);
    script_free(t);
}

static void d5_first_two_duplicates_let_new_segments_out(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 30000);
    script_drop_all(t);
    peer_ack(t, 0);
    expect_flight(t, 10000, 1);
    peer_ack(t, 0);
    expect_flight(t, 11000, 1);
    script_free(t);
}

static void b13_window_updates_are_no_duplicates(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 5000);
    script_drop_all(t);
    for (int i = 0; i < 6; i++) {
        t->window--;
        peer_ack(t, 0);
    }
    expect_nothing(t);
    assert_int_equal(counted(t, REASON_TCP_FAST_RETRANSMITS), 0);
    script_free(t);
}

static void data_segments_are_no_duplicates(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 5000);
    script_drop_all(t);
    for (uint32_t i = 0; i < 6; i++)
        peer_data(t, i * 10, 10);
    assert_int_equal(counted(t, REASON_TCP_FAST_RETRANSMITS), 0);
    script_free(t);
}

static void acks_with_nothing_outstanding_are_no_duplicates(void **state)
{
    struct script *t = connected_1000(state);

    for (int i = 0; i < 6; i++)
        peer_ack(t, 0);
    expect_nothing(t);
    script_free(t);
}

/* Ten segments in flight, the given ones lost; returns after the third duplicate. */
static struct script *in_recovery(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 10000);
    script_drop_all(t);
    for (int i = 0; i < 3; i++)
        peer_ack(t, 0);
    (void)expect_data(t, 0, 1000);
    return t;
}

static void d5_partial_ack_repeats_the_next_hole_at_once(void **state)
{
    struct script *t = in_recovery(state);

    peer_ack(t, 4000);
    (void)expect_data(t, 4000, 1000);
    peer_ack(t, 7000);
    (void)expect_data(t, 7000, 1000);
    assert_int_equal(counted(t, REASON_TCP_FAST_RETRANSMITS), 1);
    script_free(t);
}

static void d5_full_ack_ends_recovery_without_a_burst(void **state)
{
    struct script *t = in_recovery(state);

    peer_ack(t, 10000);
    expect_nothing(t);
    app_send(t, 20000);
    /* cwnd = min(ssthresh, max(FlightSize, SMSS) + SMSS) = 2 segments (RFC 6582 3.2 step 3, option 1). */
    expect_flight(t, 10000, 2);
    script_free(t);
}

static void d5_duplicates_in_recovery_let_new_data_out(void **state)
{
    struct script *t = in_recovery(state);

    app_send(t, 10000);
    expect_nothing(t);
    /* ssthresh 7 + 3 duplicates = 10, as many as are in flight: each one more lets one out. */
    peer_ack(t, 0);
    expect_flight(t, 10000, 1);
    script_free(t);
}

static void d5_no_second_fast_retransmit_for_the_same_loss(void **state)
{
    struct script *t = in_recovery(state);

    for (int i = 0; i < 6; i++)
        peer_ack(t, 0);
    assert_int_equal(counted(t, REASON_TCP_FAST_RETRANSMITS), 1);
    script_free(t);
}

static void d5_duplicates_after_a_timeout_start_nothing(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 8000);
    script_drop_all(t);
    script_advance(t, 250 * MS);
    script_drop_all(t);
    for (int i = 0; i < 5; i++)
        peer_ack(t, 0);
    assert_int_equal(counted(t, REASON_TCP_FAST_RETRANSMITS), 0);
    script_free(t);
}

static void b34_two_losses_in_turn_are_two_recoveries(void **state)
{
    struct script *t = in_recovery(state);

    peer_ack(t, 10000);
    app_send(t, 10000);
    peer_ack(t, 11000);
    script_drop_all(t);
    for (int i = 0; i < 3; i++)
        peer_ack(t, 11000);
    assert_int_equal(counted(t, REASON_TCP_FAST_RETRANSMITS), 2);
    (void)expect_data(t, 14000, 1000);
    (void)expect_data(t, 15000, 1000);
    (void)expect_data(t, 11000, 1000);
    script_free(t);
}

/* ---- the congestion window ---- */

static void slow_start_doubles_per_round_trip(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 60000);
    expect_flight(t, 0, 10);
    for (uint32_t i = 1; i <= 10; i++)
        peer_ack(t, 1000 * i);
    expect_flight(t, 10000, 20);
    script_free(t);
}

static void one_ack_for_many_segments_grows_by_one_segment(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 60000);
    script_drop_all(t);
    peer_ack(t, 10000);
    expect_flight(t, 10000, 11);
    script_free(t);
}

static void b17_cwnd_does_not_grow_while_the_user_writes_little(void **state)
{
    struct script *t = connected_1000(state);

    for (uint32_t i = 0; i < 40; i++) {
        app_send(t, 1000);
        peer_ack(t, 1000 * (i + 1));
    }
    script_drop_all(t);
    app_send(t, 30000);
    assert_int_equal(script_pending(t), 10);
    script_free(t);
}

static void b17_acks_of_nothing_new_do_not_grow_cwnd(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 60000);
    script_drop_all(t);
    for (int i = 0; i < 2; i++) {
        t->window--;
        peer_ack(t, 0);
    }
    for (int i = 0; i < 20; i++)
        peer_data(t, (uint32_t)i, 1);
    while (script_pending(t) != 0)
        assert_int_equal(expect_segment(t)->data.len, 0);
    script_free(t);
}

static void b17_ssthresh_is_cut_once_per_flight(void **state)
{
    struct script *t = connected_1000(state);
    uint32_t acked;

    app_send(t, 60000);
    for (uint32_t i = 1; i <= 10; i++)
        peer_ack(t, 1000 * i); /* cwnd 20, flight 20 */
    script_drop_all(t);
    script_advance(t, 10 * SECOND); /* five timeouts: ssthresh stays 10 segments */
    script_drop_all(t);
    for (acked = 11000; acked <= 19000; acked += 1000)
        peer_ack(t, acked);
    script_drop_all(t);
    /* Nine ACKs in slow start made cwnd 10; had each timeout cut, growth would have stopped at 2. */
    peer_ack(t, 20000);
    peer_ack(t, 30000);
    assert_in_range(script_pending(t), 10, 14);
    script_free(t);
}

static void d9_after_a_pause_the_initial_window_holds_again(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 40000);
    for (uint32_t i = 1; i <= 40; i++)
        peer_ack(t, 1000 * i);
    script_advance(t, 1 * SECOND);
    script_drop_all(t);
    app_send(t, 40000);
    assert_int_equal(script_pending(t), 10);
    script_free(t);
}

/* ---- silly windows ---- */

static void d12_small_part_of_the_window_is_not_used_while_data_is_in_flight(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 3200});

    app_send(t, 10000);
    expect_flight(t, 0, 3);
    script_free(t);
}

/* Also one that came with the only acknowledgement that was expected. */
static void d12_largest_window_ever_seen_counts(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 1000});

    app_send(t, 500);
    (void)expect_data(t, 0, 500);
    t->window = 4000;
    peer_ack(t, 500);
    app_send(t, 10);
    (void)expect_data(t, 500, 10);
    t->window = 900;
    peer_ack(t, 510);
    app_send(t, 2000);
    expect_nothing(t);
    script_free(t);
}

/* A byte is too many for a window that was taken back behind what is in flight. */
static void d13_nothing_new_follows_into_a_window_taken_back(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 5000});

    app_send(t, 3000);
    expect_flight(t, 0, 3);
    t->window = 500;
    peer_ack(t, 1000);
    app_send(t, 1);
    expect_nothing(t);
    script_free(t);
}

static void b12_small_window_is_used_after_a_while(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 5000});

    app_send(t, 10000);
    script_drop_all(t);
    t->window = 100;
    peer_ack(t, 5000);
    expect_nothing(t);
    script_advance(t, 300 * MS);
    (void)expect_data(t, 5000, 100);
    script_free(t);
}

static void b12_half_of_the_largest_window_is_used_at_once(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 400});

    app_send(t, 1000);
    (void)expect_data(t, 0, 400);
    t->window = 200;
    peer_ack(t, 400);
    (void)expect_data(t, 400, 200);
    script_free(t);
}

static void b12_small_window_that_opens_is_used_soon_even_after_long_probing(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 5000});

    app_send(t, 10000);
    t->window = 0;
    peer_ack(t, 5000);
    for (int i = 0; i < 200; i++) {
        script_advance(t, SECOND);
        peer_ack(t, 5000);
    }
    script_drop_all(t);
    t->window = 300;
    peer_ack(t, 5000);
    script_advance(t, SECOND);
    (void)expect_data(t, 5000, 300);
    script_free(t);
}

/* ---- shut windows ---- */

static struct script *shut(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 2000});

    app_send(t, 10000);
    expect_flight(t, 0, 2);
    t->window = 0;
    peer_ack(t, 2000);
    expect_nothing(t);
    return t;
}

static void b12_zero_window_probe_carries_a_byte_and_the_stall_ends(void **state)
{
    struct script *t = shut(state);

    script_advance(t, 250 * MS);
    (void)expect_data(t, 2000, 1);
    t->window = 5000;
    peer_ack(t, 2000);
    expect_flight(t, 2000, 5);
    script_free(t);
}

static void b12_probe_that_was_taken_is_not_sent_again(void **state)
{
    struct script *t = shut(state);

    script_advance(t, 250 * MS);
    (void)expect_data(t, 2000, 1);
    t->window = 5000;
    peer_ack(t, 2001);
    (void)expect_data(t, 2001, 1000);
    script_free(t);
}

static void d13_probes_back_off_to_a_minute(void **state)
{
    struct script *t = shut(state);
    uint64_t last = t->now_us;
    uint64_t gap = 0;

    for (int i = 0; i < 400; i++) {
        script_advance(t, SECOND);
        peer_ack(t, 2000);
        while (script_pending(t) != 0) {
            (void)expect_data(t, 2000, 1);
            assert_true(script_sent_at(t) - last >= gap);
            gap = script_sent_at(t) - last;
            last = script_sent_at(t);
        }
    }
    assert_in_range(gap, 59 * SECOND, 61 * SECOND);
    script_free(t);
}

static void d13_answered_probes_go_on_for_hours(void **state)
{
    struct script *t = shut(state);

    for (int i = 0; i < 360; i++) {
        script_advance(t, 10 * SECOND);
        peer_ack(t, 2000);
        script_drop_all(t);
    }
    assert_int_equal(app_events(t) & NET_EVENT_CLOSED, 0);
    t->window = 9000;
    peer_ack(t, 2000);
    expect_flight(t, 2000, 8);
    script_free(t);
}

static void d13_unanswered_probes_end_the_connection(void **state)
{
    struct script *t = shut(state);

    script_advance(t, 200 * SECOND);
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    assert_int_equal(net_close_cause(t->conn), NET_CAUSE_TIMED_OUT);
    script_free(t);
}

static void b12_answers_to_probes_are_no_duplicates(void **state)
{
    struct script *t = shut(state);

    for (int i = 0; i < 20; i++) {
        script_advance(t, SECOND);
        peer_ack(t, 2000);
    }
    assert_int_equal(counted(t, REASON_TCP_FAST_RETRANSMITS), 0);
    script_free(t);
}

static void b12_probe_is_not_held_back_by_cwnd(void **state)
{
    /* After a timeout cwnd is one segment and all of it counts as used. */
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 5000});

    app_send(t, 10000);
    script_drop_all(t);
    t->window = 0;
    peer_ack(t, 0); /* shut behind what is in flight */
    script_advance(t, 300 * MS);
    (void)expect_data(t, 0, 1);
    t->window = 5000;
    peer_ack(t, 5000);
    script_drop_all(t);
    script_advance(t, 5 * SECOND);
    assert_true(script_pending(t) > 0);
    script_free(t);
}

static void b12_fin_behind_a_shut_window_is_probed_through(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 1000});

    app_send(t, 1000);
    (void)expect_data(t, 0, 1000);
    t->window = 0;
    peer_ack(t, 1000);
    app_close(t);
    expect_nothing(t);
    script_advance(t, 300 * MS);
    expect_fin(t, 1000);
    peer_ack(t, 1001);
    script_advance(t, 10 * SECOND);
    expect_nothing(t);
    script_free(t);
}

static void window_that_shrinks_behind_the_flight_is_survived(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 8000});

    app_send(t, 20000);
    expect_flight(t, 0, 8);
    t->window = 2000;
    peer_ack(t, 1000);
    expect_nothing(t);
    t->window = 9000;
    peer_ack(t, 8000);
    expect_flight(t, 8000, 9);
    script_free(t);
}

static void b27_old_segment_does_not_take_the_window_back(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 5000});

    peer_data(t, 0, 10);
    script_advance(t, 50 * MS);
    script_drop_all(t);
    t->window = 8000;
    peer_ack(t, 0);
    t->window = 100;
    peer_data(t, 0, 10); /* a repetition, from before the window grew */
    script_drop_all(t);
    app_send(t, 20000);
    expect_flight(t, 0, 8);
    script_free(t);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(b18_first_flight_is_ten_segments),
        T(b18_eight_kilobytes_leave_in_one_flight),
        T(initial_window_of_large_segments_is_bounded_in_bytes),
        T(d12_small_writes_are_not_held_back),
        T(d12_only_the_last_segment_is_short),
        T(push_marks_the_end_of_what_was_written),
        T(peers_window_is_kept),
        T(write_beyond_the_buffer_is_cut_and_room_is_told),
        T(room_is_told_once),
        T(send_without_a_buffer_waits_and_is_told),
        T(buffer_goes_back_when_all_is_acknowledged),
        T(long_stream_goes_round_the_ring),
        T(d8_lost_segment_is_repeated_after_the_timeout),
        T(d8_timeout_doubles),
        T(c15_silent_peer_is_given_up_after_100_seconds),
        T(d8_timeout_follows_the_measured_round_trip),
        T(d8_first_timeout_without_a_sample_is_three_seconds),
        T(d8_karn_the_answer_to_a_repetition_measures_nothing),
        T(d8_timestamps_measure_repetitions_too),
        T(b9_segment_lost_twice_is_sent_a_third_time),
        T(after_a_timeout_one_segment_leaves_then_two),
        T(what_the_peer_already_has_is_not_repeated),
        T(ack_restarts_the_timer_of_what_is_left),
        T(third_duplicate_repeats_the_segment_at_once),
        T(d5_first_two_duplicates_let_new_segments_out),
        T(b13_window_updates_are_no_duplicates),
        T(data_segments_are_no_duplicates),
        T(acks_with_nothing_outstanding_are_no_duplicates),
        T(d5_partial_ack_repeats_the_next_hole_at_once),
        T(d5_full_ack_ends_recovery_without_a_burst),
        T(d5_duplicates_in_recovery_let_new_data_out),
        T(d5_no_second_fast_retransmit_for_the_same_loss),
        T(d5_duplicates_after_a_timeout_start_nothing),
        T(b34_two_losses_in_turn_are_two_recoveries),
        T(slow_start_doubles_per_round_trip),
        T(one_ack_for_many_segments_grows_by_one_segment),
        T(b17_cwnd_does_not_grow_while_the_user_writes_little),
        T(b17_acks_of_nothing_new_do_not_grow_cwnd),
        T(b17_ssthresh_is_cut_once_per_flight),
        T(d9_after_a_pause_the_initial_window_holds_again),
        T(d12_small_part_of_the_window_is_not_used_while_data_is_in_flight),
        T(d12_largest_window_ever_seen_counts),
        T(d13_nothing_new_follows_into_a_window_taken_back),
        T(b12_small_window_is_used_after_a_while),
        T(b12_half_of_the_largest_window_is_used_at_once),
        T(b12_small_window_that_opens_is_used_soon_even_after_long_probing),
        T(b12_zero_window_probe_carries_a_byte_and_the_stall_ends),
        T(b12_probe_that_was_taken_is_not_sent_again),
        T(d13_probes_back_off_to_a_minute),
        T(d13_answered_probes_go_on_for_hours),
        T(d13_unanswered_probes_end_the_connection),
        T(b12_answers_to_probes_are_no_duplicates),
        T(b12_probe_is_not_held_back_by_cwnd),
        T(b12_fin_behind_a_shut_window_is_probed_through),
        T(window_that_shrinks_behind_the_flight_is_survived),
        T(b27_old_segment_does_not_take_the_window_back),
    };
    return SCRIPT_RUN("tcp_send", tests);
}
