/* Every way to end: orderly, half, both at once, by reset, by silence; and what comes after the end. */
#include "tests/sim/tcp_script.h"

static struct script *connected(void **state, struct script_options o)
{
    struct script *t = script_new(state, &o);

    script_handshake(t);
    script_drop_all(t);
    return t;
}

static void all_is_gone(struct script *t)
{
    struct net_gauges g = script_gauges(t);

    assert_int_equal(g.conns, 0);
    assert_int_equal(g.recv_buffers_used, 0);
    assert_int_equal(g.send_buffers_used, 0);
    script_free(t);
}

/* ---- orderly ---- */

static void our_close_goes_through_time_wait(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_close(t);
    expect_fin(t, 0);
    peer_ack(t, 1);
    assert_int_equal(app_events(t), 0);
    peer_fin(t, 0);
    expect_ack(t, 1);
    assert_int_equal(app_events(t), NET_EVENT_PEER_FIN | NET_EVENT_CLOSED);
    assert_int_equal(net_close_cause(t->conn), NET_CAUSE_FINISHED);
    app_release(t);
    assert_int_equal(script_gauges(t).time_wait, 1);
    script_advance(t, 59 * SECOND);
    assert_int_equal(script_gauges(t).time_wait, 1);
    script_advance(t, 2 * SECOND);
    all_is_gone(t);
}

static void their_close_needs_no_time_wait(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_fin(t, 0);
    expect_ack(t, 1);
    assert_int_equal(app_events(t), NET_EVENT_PEER_FIN);
    app_close(t);
    expect_fin(t, 0);
    peer_ack(t, 1);
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    assert_int_equal(net_close_cause(t->conn), NET_CAUSE_FINISHED);
    app_release(t);
    all_is_gone(t);
}

static void c1_after_their_fin_we_may_still_send(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_fin(t, 0);
    expect_ack(t, 1);
    app_send(t, 500);
    (void)expect_data(t, 0, 500);
    peer_ack(t, 500);
    app_close(t);
    expect_fin(t, 500);
    peer_ack(t, 501);
    app_release(t);
    all_is_gone(t);
}

static void c1_after_our_fin_we_still_receive(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_close(t);
    expect_fin(t, 0);
    peer_ack(t, 1);
    peer_data(t, 0, 500);
    peer_data(t, 500, 500);
    app_read(t, 1000);
    script_drop_all(t);
    peer_fin(t, 1000);
    expect_ack(t, 1001);
    app_release(t);
    script_advance(t, 61 * SECOND);
    all_is_gone(t);
}

static void c1_both_close_at_once(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_close(t);
    expect_fin(t, 0);
    peer_fin(t, 0); /* does not acknowledge ours */
    expect_ack(t, 1);
    assert_int_equal(app_events(t), NET_EVENT_PEER_FIN);
    peer_ack(t, 1);
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    assert_int_equal(script_gauges(t).time_wait, 1);
    app_release(t);
    script_advance(t, 61 * SECOND);
    all_is_gone(t);
}

static void fin_follows_what_was_queued(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000});

    app_send(t, 15000);
    app_close(t);
    for (uint32_t i = 0; i < 10; i++)
        (void)expect_data(t, 1000 * i, 1000);
    expect_nothing(t);
    peer_ack(t, 10000);
    for (uint32_t i = 10; i < 14; i++)
        (void)expect_data(t, 1000 * i, 1000);
    expect_fin(t, 15000);
    script_free(t);
}

static void close_sends_the_last_bytes_and_fin_in_one_segment(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    assert_int_equal(net_send(t->conn, span_str("bye"), t->now_us), 3);
    net_close(t->conn, t->now_us);
    script_turn(t);
    struct wire_segment *s = expect_segment(t);
    assert_int_equal(s->data.len, 3);
    assert_int_equal(s->flags & WIRE_FIN, WIRE_FIN);
    expect_nothing(t);
    script_free(t);
}

static void nothing_can_be_sent_after_close(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_close(t);
    assert_int_equal(net_send(t->conn, span_str("x"), t->now_us), 0);
    assert_int_equal(net_send_room(t->conn), 0);
    script_free(t);
}

static void fin_beyond_a_gap_counts_when_the_gap_is_filled(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_fin(t, 100);
    expect_ack(t, 0);
    assert_int_equal(app_events(t), 0);
    peer_data(t, 0, 100);
    expect_ack(t, 101);
    assert_int_equal(app_events(t), NET_EVENT_READABLE | NET_EVENT_PEER_FIN);
    app_read(t, 100);
    script_free(t);
}

static void data_beyond_their_fin_is_not_taken(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_fin(t, 0);
    peer_data(t, 1, 100);
    assert_int_equal(net_readable(t->conn), 0);
    script_free(t);
}

static void data_beyond_an_early_fin_is_not_taken(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_fin(t, 100);
    peer_data(t, 50, 100);
    peer_data(t, 0, 50);
    assert_int_equal(net_readable(t->conn), 100);
    assert_true((app_events(t) & NET_EVENT_PEER_FIN) != 0);
    script_free(t);
}

static void fin_before_bytes_that_came_earlier_is_ignored(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 200, 100);
    peer_fin(t, 100);
    peer_data(t, 0, 200);
    assert_int_equal(net_readable(t->conn), 300);
    assert_int_equal(app_events(t), NET_EVENT_READABLE);
    script_free(t);
}

static void unread_bytes_stay_readable_after_their_fin(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, 300);
    peer_fin(t, 300);
    app_read(t, 300);
    assert_int_equal(net_readable(t->conn), 0);
    script_free(t);
}

/* ---- lost FINs ---- */

static void b8_fin_is_repeated_in_fin_wait_1(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_close(t);
    expect_fin(t, 0);
    script_advance(t, 700 * MS);
    expect_fin(t, 0);
    expect_fin(t, 0);
    peer_ack(t, 1);
    script_advance(t, 10 * SECOND);
    expect_nothing(t);
    script_free(t);
}

static void b8_fin_is_repeated_in_closing(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_close(t);
    expect_fin(t, 0);
    peer_fin(t, 0);
    expect_ack(t, 1);
    script_advance(t, 300 * MS);
    assert_int_equal(expect_fin(t, 0)->ack, peer_seq(t, 1));
    peer_ack(t, 1);
    assert_int_equal(script_gauges(t).time_wait, 1);
    script_free(t);
}

static void b8_fin_is_repeated_in_last_ack(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_fin(t, 0);
    expect_ack(t, 1);
    app_close(t);
    expect_fin(t, 0);
    script_advance(t, 300 * MS);
    expect_fin(t, 0);
    peer_ack(t, 1);
    app_release(t);
    all_is_gone(t);
}

static void b8_fin_goes_again_with_the_data_before_it(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000});

    app_send(t, 1500);
    app_close(t);
    script_drop_all(t);
    script_advance(t, 250 * MS);
    (void)expect_data(t, 0, 1000);
    peer_ack(t, 1000);
    expect_fin(t, 1500);
    peer_ack(t, 1501);
    script_advance(t, 5 * SECOND);
    expect_nothing(t);
    script_free(t);
}

static void b8_fast_retransmit_repeats_a_lone_fin(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000});

    app_send(t, 3000);
    app_close(t);
    script_drop_all(t);
    peer_ack(t, 2000);
    for (int i = 0; i < 3; i++)
        peer_ack(t, 2000);
    expect_fin(t, 3000);
    script_free(t);
}

static void repeated_fin_in_close_wait_is_acknowledged(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_fin(t, 0);
    expect_ack(t, 1);
    peer_fin(t, 0);
    expect_ack(t, 1);
    script_free(t);
}

/* ---- TIME-WAIT ---- */

static struct script *in_time_wait(void **state, struct script_options o)
{
    struct script *t = connected(state, o);

    app_close(t);
    expect_fin(t, 0);
    t->acked = 1;
    peer_fin(t, 0);
    expect_ack(t, 1);
    assert_int_equal(script_gauges(t).time_wait, 1);
    app_release(t);
    return t;
}

static void b6_repeated_fin_in_time_wait_is_acknowledged_and_restarts_it(void **state)
{
    struct script *t = in_time_wait(state, (struct script_options){0});

    script_advance(t, 50 * SECOND);
    peer_fin(t, 0);
    expect_ack(t, 1);
    script_advance(t, 50 * SECOND);
    assert_int_equal(script_gauges(t).time_wait, 1);
    script_advance(t, 11 * SECOND);
    all_is_gone(t);
}

static void b6_other_segments_do_not_restart_time_wait(void **state)
{
    struct script *t = in_time_wait(state, (struct script_options){0});

    script_advance(t, 50 * SECOND);
    peer_ack(t, 1);
    peer_data(t, 1, 10);
    script_advance(t, 11 * SECOND);
    script_drop_all(t);
    all_is_gone(t);
}

static void c11_rst_does_not_end_time_wait(void **state)
{
    struct script *t = in_time_wait(state, (struct script_options){0});

    peer_rst(t, 1);
    expect_nothing(t);
    assert_int_equal(script_gauges(t).time_wait, 1);
    script_free(t);
}

static void c11_greater_syn_reopens_with_a_greater_isn(void **state)
{
    struct script *t = in_time_wait(state, (struct script_options){0});
    uint32_t last = t->iss + 1;

    t->irs += 5000;
    script_handshake(t);
    assert_true((int32_t)(t->iss - last) > 0);
    assert_int_equal(script_gauges(t).conns, 1);
    peer_data(t, 0, 10);
    app_read(t, 10);
    script_free(t);
}

static void c11_newer_timestamp_reopens(void **state)
{
    struct script *t = in_time_wait(state, (struct script_options){.ts = true});

    script_advance(t, 10 * MS);
    t->irs -= 5000;
    script_handshake(t);
    assert_int_equal(script_gauges(t).conns, 1);
    script_free(t);
}

static void c11_older_syn_gets_an_ack(void **state)
{
    struct script *t = in_time_wait(state, (struct script_options){0});
    struct wire_segment s = {.flags = WIRE_SYN, .seq = t->irs - 5000, .wnd = 1000};

    peer_sends(t, s);
    expect_ack(t, 1);
    assert_int_equal(script_gauges(t).time_wait, 1);
    script_free(t);
}

static void c11_user_that_has_not_let_go_does_not_hinder_a_reopen(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    struct net_conn *old = t->conn;

    app_close(t);
    t->acked = 1;
    peer_fin(t, 0);
    script_drop_all(t);
    t->irs += 5000;
    script_handshake(t);
    assert_ptr_not_equal(t->conn, old);
    assert_int_equal(net_close_cause(old), NET_CAUSE_FINISHED);
    net_release(old, t->now_us);
    assert_int_equal(script_gauges(t).conns, 1);
    script_free(t);
}

/* ---- unread data, orphans ---- */

static void c13_close_with_unread_data_is_a_reset(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, 100);
    app_close(t);
    struct wire_segment *s = expect_rst(t);
    assert_int_equal(offset_of(t, s->seq), 0);
    assert_int_equal(app_events(t) & NET_EVENT_CLOSED, NET_EVENT_CLOSED);
    assert_int_equal(net_close_cause(t->conn), NET_CAUSE_ABORTED);
    app_release(t);
    all_is_gone(t);
}

static void c13_release_with_unread_data_is_a_reset(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_close(t);
    expect_fin(t, 0);
    peer_data(t, 0, 100);
    app_release(t);
    (void)expect_rst(t);
    all_is_gone(t);
}

static void release_alone_closes_in_good_order(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_send(t, 100);
    app_release(t);
    (void)expect_data(t, 0, 100);
    expect_fin(t, 100);
    peer_ack(t, 101);
    peer_fin(t, 0);
    expect_ack(t, 1);
    script_advance(t, 61 * SECOND);
    all_is_gone(t);
}

static void data_for_a_released_connection_is_refused(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_release(t);
    expect_fin(t, 0);
    peer_ack(t, 1);
    peer_data(t, 0, 10);
    (void)expect_rst(t);
    assert_int_equal(counted(t, REASON_TCP_DATA_AFTER_CLOSE), 1);
    all_is_gone(t);
}

static void b36_released_connection_does_not_stay_in_fin_wait_2(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_release(t);
    expect_fin(t, 0);
    script_advance(t, 100 * MS);
    peer_ack(t, 1);
    script_advance(t, 60 * SECOND - 50 * MS); /* counted from here, not from the release */
    assert_int_equal(script_gauges(t).conns, 1);
    script_advance(t, 100 * MS);
    assert_int_equal(counted(t, REASON_TCP_ORPHAN_TIMEOUT), 1);
    all_is_gone(t);
}

static void b36_a_user_may_stay_in_fin_wait_2(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_close(t);
    peer_ack(t, 1);
    script_advance(t, 600 * SECOND);
    script_drop_all(t);
    peer_data(t, 0, 10);
    app_read(t, 10);
    script_free(t);
}

static void b36_silent_peer_does_not_keep_last_ack(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_fin(t, 0);
    app_release(t);
    script_advance(t, 61 * SECOND);
    all_is_gone(t);
}

static void b36_silent_peer_does_not_keep_fin_wait_1(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_send(t, 5000);
    app_release(t);
    script_advance(t, 61 * SECOND);
    all_is_gone(t);
}

static void b36_peer_that_shuts_its_window_does_not_keep_a_released_connection(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 1000});

    app_send(t, 5000);
    app_release(t);
    t->window = 0;
    for (int i = 0; i < 70; i++) {
        peer_ack(t, 1000);
        script_advance(t, SECOND);
    }
    all_is_gone(t);
}

static void b36_progress_keeps_a_released_connection(void **state)
{
    struct script *t = connected(state, (struct script_options){.mss = 1000, .window = 1000});

    app_send(t, 5000);
    app_release(t);
    for (uint32_t i = 1; i < 5; i++) {
        script_advance(t, 40 * SECOND);
        peer_ack(t, 1000 * i);
    }
    assert_int_equal(script_gauges(t).conns, 1);
    peer_ack(t, 5001);
    peer_fin(t, 0);
    script_advance(t, 61 * SECOND);
    all_is_gone(t);
}

static void b36_deadline_ends_a_connection_in_close_wait(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_fin(t, 0);
    net_set_deadline(t->conn, t->now_us + 5 * SECOND);
    (void)app_events(t);
    script_advance(t, 6 * SECOND);
    assert_int_equal(app_events(t), NET_EVENT_DEADLINE);
    net_abort(t->conn, t->now_us);
    app_release(t);
    all_is_gone(t);
}

/* ---- abort, deadlines, idleness ---- */

static void abort_sends_a_rst_and_tells_the_user(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_send(t, 100);
    script_drop_all(t);
    net_abort(t->conn, t->now_us);
    script_turn(t);
    assert_int_equal(offset_of(t, expect_rst(t)->seq), 100);
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    assert_int_equal(net_close_cause(t->conn), NET_CAUSE_ABORTED);
    app_release(t);
    all_is_gone(t);
}

static void abort_and_release_in_one_turn_still_sends_the_rst(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    net_abort(t->conn, t->now_us);
    app_release(t);
    (void)expect_rst(t);
    all_is_gone(t);
}

static void deadline_comes_once(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    net_set_deadline(t->conn, t->now_us + SECOND);
    script_advance(t, 900 * MS);
    assert_int_equal(app_events(t), 0);
    script_advance(t, 200 * MS);
    assert_int_equal(app_events(t), NET_EVENT_DEADLINE);
    script_advance(t, 10 * SECOND);
    assert_int_equal(app_events(t), 0);
    script_free(t);
}

static void later_deadline_replaces_an_earlier_one(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    net_set_deadline(t->conn, t->now_us + SECOND);
    net_set_deadline(t->conn, t->now_us + 3 * SECOND);
    script_advance(t, 2 * SECOND);
    assert_int_equal(app_events(t), 0);
    script_advance(t, 2 * SECOND);
    assert_int_equal(app_events(t), NET_EVENT_DEADLINE);
    script_free(t);
}

static void deadline_can_be_taken_back(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    net_set_deadline(t->conn, t->now_us + SECOND);
    net_set_deadline(t->conn, 0);
    script_advance(t, 5 * SECOND);
    assert_int_equal(app_events(t), 0);
    script_free(t);
}

static void idle_connection_is_reset_when_so_configured(void **state)
{
    struct script *t = connected(state, (struct script_options){.idle_close_ms = 10000});

    script_advance(t, 9 * SECOND);
    peer_data(t, 0, 10);
    (void)app_events(t);
    script_advance(t, 9 * SECOND);
    assert_int_equal(app_events(t), 0);
    script_drop_all(t);
    script_advance(t, 2 * SECOND);
    (void)expect_rst(t);
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    assert_int_equal(net_close_cause(t->conn), NET_CAUSE_TIMED_OUT);
    script_free(t);
}

static void b22_keep_alives_do_not_hide_idleness(void **state)
{
    struct script *t = connected(state, (struct script_options){.idle_close_ms = 10000});

    for (int i = 0; i < 12; i++) {
        script_advance(t, SECOND);
        peer_sends(t, peer_make(t, WIRE_ACK, (uint32_t)-1));
    }
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    script_free(t);
}

static void idle_connection_lives_on_when_not_configured(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    script_advance(t, 3600 * SECOND);
    peer_data(t, 0, 10);
    app_read(t, 10);
    script_free(t);
}

/* ---- their RST ---- */

static void b4_rst_at_the_next_byte_resets(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_rst(t, 0);
    expect_nothing(t);
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    assert_int_equal(net_close_cause(t->conn), NET_CAUSE_RESET);
    app_release(t);
    all_is_gone(t);
}

static void b4_rst_one_beyond_is_challenged(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_rst(t, 1);
    expect_ack(t, 0);
    assert_int_equal(app_events(t), 0);
    script_free(t);
}

static void b4_rst_at_the_windows_last_byte_is_challenged(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 8192});

    peer_rst(t, 8191);
    expect_ack(t, 0);
    assert_int_equal(app_events(t), 0);
    script_free(t);
}

static void b4_rst_beyond_the_window_is_ignored(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 8192});

    peer_rst(t, 8192);
    expect_nothing(t);
    assert_int_equal(app_events(t), 0);
    script_free(t);
}

static void b4_rst_before_the_window_is_ignored(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, 10);
    app_read(t, 10);
    (void)app_events(t);
    peer_rst(t, 9);
    assert_int_equal(app_events(t), 0);
    script_free(t);
}

static void b4_syn_on_a_connection_is_challenged(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_sends(t, (struct wire_segment){.flags = WIRE_SYN, .seq = peer_seq(t, 100), .wnd = 1000});
    expect_ack(t, 0);
    assert_int_equal(app_events(t), 0);
    peer_data(t, 0, 10);
    app_read(t, 10);
    script_free(t);
}

static void b4_syn_with_ack_on_a_connection_is_challenged(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_sends(t, peer_make(t, WIRE_SYN | WIRE_ACK, 0));
    expect_ack(t, 0);
    assert_int_equal(app_events(t), 0);
    script_free(t);
}

static void bytes_before_a_rst_stay_readable(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, 100);
    peer_rst(t, 100);
    assert_int_equal(app_events(t), NET_EVENT_READABLE | NET_EVENT_CLOSED);
    app_read(t, 100);
    app_release(t);
    all_is_gone(t);
}

static void reset_gives_the_send_buffer_back_at_once(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_send(t, 5000);
    peer_rst(t, 0);
    assert_int_equal(script_gauges(t).send_buffers_used, 0);
    assert_int_equal(net_send(t->conn, span_str("x"), t->now_us), 0);
    script_free(t);
}

static void reset_and_established_come_together_when_nobody_looked(void **state)
{
    struct script *t = script_new(state, NULL);
    static uint8_t bytes[WIRE_FRAME_MAX];
    struct frame f = {.data = bytes};
    uint32_t events = 0;

    peer_syn(t);
    t->iss = expect_segment(t)->seq;
    f.len = peer_frame(t, peer_make(t, WIRE_ACK, 0), bytes);
    net_input(t->net, &f, 1, t->now_us);
    f.len = peer_frame(t, peer_make(t, WIRE_RST, 0), bytes);
    net_input(t->net, &f, 1, t->now_us);
    struct net_conn *c = net_next_event(t->net, &events);
    assert_non_null(c);
    assert_int_equal(events, NET_EVENT_ESTABLISHED | NET_EVENT_CLOSED);
    net_release(c, t->now_us);
    all_is_gone(t);
}

static void event_raised_in_a_round_waits_for_the_next(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    static uint8_t bytes[WIRE_FRAME_MAX];
    struct frame f = {.data = bytes};
    struct wire_segment s = peer_make(t, WIRE_ACK, 0);
    uint32_t events = 0;

    s.data = span_str("x");
    f.len = peer_frame(t, s, bytes);
    net_input(t->net, &f, 1, t->now_us);
    assert_ptr_equal(net_next_event(t->net, &events), t->conn);
    net_abort(t->conn, t->now_us);
    assert_null(net_next_event(t->net, &events));
    assert_ptr_equal(net_next_event(t->net, &events), t->conn);
    assert_int_equal(events, NET_EVENT_CLOSED);
    script_free(t);
}

static void waiting_event_keeps_an_idle_worker_awake(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    net_abort(t->conn, t->now_us);
    assert_true(net_next_timer(t->net) <= t->now_us);
    script_free(t);
}

/* ---- wrong acknowledgements, floods ---- */

static void c3_ack_of_what_was_never_sent_is_challenged(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    struct wire_segment s = peer_make(t, WIRE_ACK, 0);

    s.ack += 10000;
    s.data = span_str("forged");
    peer_sends(t, s);
    expect_ack(t, 0);
    assert_int_equal(net_readable(t->conn), 0);
    assert_int_equal(counted(t, REASON_TCP_BAD_ACK), 1);
    script_free(t);
}

static void c3_ack_older_than_any_window_is_refused(void **state)
{
    struct script *t = connected(state, (struct script_options){.window = 1000});
    struct wire_segment s = peer_make(t, WIRE_ACK, 0);

    s.ack -= 2000;
    s.data = span_str("forged");
    peer_sends(t, s);
    assert_int_equal(net_readable(t->conn), 0);
    assert_int_equal(counted(t, REASON_TCP_BAD_ACK), 1);
    script_free(t);
}

static void c3_somewhat_old_ack_does_not_hinder_its_data(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_send(t, 500);
    script_drop_all(t);
    peer_ack(t, 500);
    t->acked = 0;
    peer_data(t, 0, 10);
    app_read(t, 10);
    script_free(t);
}

static void b10_flood_of_rsts_gets_few_answers(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    uint32_t answers;

    for (int i = 0; i < 1000; i++) {
        peer_rst(t, 50);
        script_advance(t, MS);
    }
    answers = script_pending(t);
    assert_in_range(answers, 3, 12);
    assert_int_equal(counted(t, REASON_TCP_CHALLENGE_SENT), answers);
    script_free(t);
}

static void b10_crossed_wrong_acks_die_out(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    uint32_t replies = 0;

    /* A peer that answers each of our ACKs with another wrong one. */
    struct wire_segment s = peer_make(t, WIRE_ACK, 0);
    s.ack += 5000;
    peer_sends(t, s);
    while (script_pending(t) != 0 && replies < 100) {
        script_drop_all(t);
        replies++;
        peer_sends(t, s);
    }
    assert_in_range(replies, 1, 6);
    script_free(t);
}

static void b10_segment_with_rst_is_never_answered_by_a_stranger(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_sends(t, (struct wire_segment){.flags = WIRE_RST, .seq = 5, .dport = 99});
    peer_sends(t, (struct wire_segment){.flags = WIRE_RST | WIRE_ACK, .seq = 5, .ack = 9, .dport = 99});
    peer_sends(t, (struct wire_segment){.flags = WIRE_RST, .seq = 5});
    expect_nothing(t);
    script_free(t);
}

static void c4_syn_to_a_closed_port_gets_rst_and_ack(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_sends(t, (struct wire_segment){.flags = WIRE_SYN, .seq = 5000, .wnd = 1000, .dport = 99});
    struct wire_segment *s = expect_segment(t);
    assert_int_equal(s->flags, WIRE_RST | WIRE_ACK);
    assert_int_equal(s->seq, 0);
    assert_int_equal(s->ack, 5001);
    script_free(t);
}

static void c4_ack_to_a_closed_port_gets_a_bare_rst(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_sends(t, (struct wire_segment){.flags = WIRE_ACK, .seq = 5, .ack = 777, .dport = 99});
    struct wire_segment *s = expect_segment(t);
    assert_int_equal(s->flags, WIRE_RST);
    assert_int_equal(s->seq, 777);
    script_free(t);
}

static void c4_length_of_data_and_fin_is_acknowledged(void **state)
{
    struct script *t = script_new(state, NULL);
    struct wire_segment s = {.flags = WIRE_FIN, .seq = 100, .dport = 99, .data = span_str("abc")};

    peer_sends(t, s);
    assert_int_equal(expect_rst(t)->ack, 104);
    script_free(t);
}

static void c4_segment_for_a_connection_that_is_gone_gets_a_rst(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    net_abort(t->conn, t->now_us);
    app_release(t);
    script_drop_all(t);
    peer_data(t, 0, 10);
    assert_int_equal(offset_of(t, expect_rst(t)->seq), 0);
    script_free(t);
}

static void c6_strangers_get_a_bounded_number_of_rsts(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t); /* so that the neighbour is known */
    script_drop_all(t);
    for (int i = 0; i < 2000; i++) {
        peer_sends(t, (struct wire_segment){.flags = WIRE_ACK, .seq = 5, .ack = 7, .dport = 99});
        script_drop_all(t);
    }
    assert_in_range(counted(t, REASON_TCP_RST_SENT), 500, 520);
    assert_true(counted(t, REASON_TCP_RST_SUPPRESSED) > 1400);
    script_free(t);
}

static void accept_storm_beyond_the_table_resets_nobody(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.conns = 16});

    for (uint16_t i = 0; i < 40; i++) {
        t->sport = (uint16_t)(1000 + i);
        peer_syn(t);
        if (script_pending(t) == 0)
            continue;
        t->iss = expect_segment(t)->seq;
        peer_ack(t, 0);
    }
    assert_int_equal(t->accepted, 16);
    assert_int_equal(script_gauges(t).established, 16);
    assert_int_equal(counted(t, REASON_TCP_RST_SENT), 0);
    script_free(t);
}

/* Whatever is sent meanwhile is lost. */
static void time_passes(struct script *t, uint32_t seconds)
{
    while (seconds-- > 0) {
        script_advance(t, SECOND);
        script_drop_all(t);
    }
}

static void b22_storm_of_connections_ends_with_none(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.conns = 64});

    for (uint32_t i = 0; i < 2000; i++) {
        t->sport = (uint16_t)(1024 + i);
        t->acked = 0;
        peer_syn(t);
        if (script_pending(t) == 0) {
            time_passes(t, 61);
            continue;
        }
        t->iss = expect_segment(t)->seq;
        peer_ack(t, 0);
        if (i % 3 == 0)
            peer_rst(t, 0);
        else if (i % 3 == 1)
            peer_fin(t, 0);
        app_release(t);
        script_drop_all(t);
        if (i % 3 == 1)
            peer_ack(t, 1);
        script_drop_all(t);
    }
    time_passes(t, 200);
    all_is_gone(t);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(our_close_goes_through_time_wait),
        T(their_close_needs_no_time_wait),
        T(c1_after_their_fin_we_may_still_send),
        T(c1_after_our_fin_we_still_receive),
        T(c1_both_close_at_once),
        T(fin_follows_what_was_queued),
        T(close_sends_the_last_bytes_and_fin_in_one_segment),
        T(nothing_can_be_sent_after_close),
        T(fin_beyond_a_gap_counts_when_the_gap_is_filled),
        T(data_beyond_their_fin_is_not_taken),
        T(data_beyond_an_early_fin_is_not_taken),
        T(fin_before_bytes_that_came_earlier_is_ignored),
        T(unread_bytes_stay_readable_after_their_fin),
        T(b8_fin_is_repeated_in_fin_wait_1),
        T(b8_fin_is_repeated_in_closing),
        T(b8_fin_is_repeated_in_last_ack),
        T(b8_fin_goes_again_with_the_data_before_it),
        T(b8_fast_retransmit_repeats_a_lone_fin),
        T(repeated_fin_in_close_wait_is_acknowledged),
        T(b6_repeated_fin_in_time_wait_is_acknowledged_and_restarts_it),
        T(b6_other_segments_do_not_restart_time_wait),
        T(c11_rst_does_not_end_time_wait),
        T(c11_greater_syn_reopens_with_a_greater_isn),
        T(c11_newer_timestamp_reopens),
        T(c11_older_syn_gets_an_ack),
        T(c11_user_that_has_not_let_go_does_not_hinder_a_reopen),
        T(c13_close_with_unread_data_is_a_reset),
        T(c13_release_with_unread_data_is_a_reset),
        T(release_alone_closes_in_good_order),
        T(data_for_a_released_connection_is_refused),
        T(b36_released_connection_does_not_stay_in_fin_wait_2),
        T(b36_a_user_may_stay_in_fin_wait_2),
        T(b36_silent_peer_does_not_keep_last_ack),
        T(b36_silent_peer_does_not_keep_fin_wait_1),
        T(b36_peer_that_shuts_its_window_does_not_keep_a_released_connection),
        T(b36_progress_keeps_a_released_connection),
        T(b36_deadline_ends_a_connection_in_close_wait),
        T(abort_sends_a_rst_and_tells_the_user),
        T(abort_and_release_in_one_turn_still_sends_the_rst),
        T(deadline_comes_once),
        T(later_deadline_replaces_an_earlier_one),
        T(deadline_can_be_taken_back),
        T(idle_connection_is_reset_when_so_configured),
        T(b22_keep_alives_do_not_hide_idleness),
        T(idle_connection_lives_on_when_not_configured),
        T(b4_rst_at_the_next_byte_resets),
        T(b4_rst_one_beyond_is_challenged),
        T(b4_rst_at_the_windows_last_byte_is_challenged),
        T(b4_rst_beyond_the_window_is_ignored),
        T(b4_rst_before_the_window_is_ignored),
        T(b4_syn_on_a_connection_is_challenged),
        T(b4_syn_with_ack_on_a_connection_is_challenged),
        T(bytes_before_a_rst_stay_readable),
        T(reset_gives_the_send_buffer_back_at_once),
        T(reset_and_established_come_together_when_nobody_looked),
        T(event_raised_in_a_round_waits_for_the_next),
        T(waiting_event_keeps_an_idle_worker_awake),
        T(c3_ack_of_what_was_never_sent_is_challenged),
        T(c3_ack_older_than_any_window_is_refused),
        T(c3_somewhat_old_ack_does_not_hinder_its_data),
        T(b10_flood_of_rsts_gets_few_answers),
        T(b10_crossed_wrong_acks_die_out),
        T(b10_segment_with_rst_is_never_answered_by_a_stranger),
        T(c4_syn_to_a_closed_port_gets_rst_and_ack),
        T(c4_ack_to_a_closed_port_gets_a_bare_rst),
        T(c4_length_of_data_and_fin_is_acknowledged),
        T(c4_segment_for_a_connection_that_is_gone_gets_a_rst),
        T(c6_strangers_get_a_bounded_number_of_rsts),
        T(accept_storm_beyond_the_table_resets_nobody),
        T(b22_storm_of_connections_ends_with_none),
    };
    return SCRIPT_RUN("tcp_close", tests);
}
