/* Receiving: order, gaps, overlaps, acknowledgements, the receive window, and segments that do not belong. */
#include "tests/sim/tcp_script.h"

#define SEGMENT 1000

static struct script *connected(void **state, struct script_options o)
{
    struct script *t = script_new(state, &o);

    script_handshake(t);
    script_drop_all(t);
    return t;
}

/* ---- order ---- */

static void bytes_arrive_in_order(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    for (uint32_t at = 0; at < 20 * SEGMENT; at += SEGMENT)
        peer_data(t, at, SEGMENT);
    assert_int_equal(net_readable(t->conn), 20 * SEGMENT);
    app_read(t, 20 * SEGMENT);
    script_free(t);
}

static void ring_wraps_around_without_losing_a_byte(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 4096});

    peer_data(t, 0, SEGMENT); /* one is always unread: a buffer that is empty would begin anew */
    for (uint32_t at = SEGMENT; at < 50 * SEGMENT; at += SEGMENT) {
        peer_data(t, at, SEGMENT);
        app_read(t, SEGMENT);
    }
    app_read(t, SEGMENT);
    script_free(t);
}

static void what_comes_after_all_was_read_lies_where_that_lay(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, SEGMENT);
    const uint8_t *first = net_peek(t->conn).ptr;
    app_read(t, SEGMENT);
    peer_data(t, SEGMENT, 10);
    assert_ptr_equal(net_peek(t->conn).ptr, first);
    app_read(t, 10);
    peer_data(t, SEGMENT + 20, 10); /* behind a gap, where no short way goes */
    peer_data(t, SEGMENT + 10, 10);
    assert_ptr_equal(net_peek(t->conn).ptr, first);
    script_free(t);
}

static void segment_beyond_a_gap_waits_for_it(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, SEGMENT, SEGMENT);
    assert_int_equal(net_readable(t->conn), 0);
    assert_int_equal(app_events(t), 0);
    peer_data(t, 0, SEGMENT);
    assert_int_equal(app_events(t), NET_EVENT_READABLE);
    app_read(t, 2 * SEGMENT);
    script_free(t);
}

static void segments_in_reverse_order_are_put_right(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    for (uint32_t i = 6; i > 0; i--)
        peer_data(t, (i - 1) * SEGMENT, SEGMENT);
    app_read(t, 6 * SEGMENT);
    script_free(t);
}

static void several_gaps_close_in_any_order(void **state)
{
    static const uint32_t order[] = {7, 3, 5, 1, 4, 0, 6, 2};
    struct script *t = connected(state, (struct script_options){0});

    for (size_t i = 0; i < 8; i++)
        peer_data(t, order[i] * SEGMENT, SEGMENT);
    app_read(t, 8 * SEGMENT);
    script_free(t);
}

static void repeated_segment_is_delivered_once(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, SEGMENT);
    peer_data(t, 0, SEGMENT);
    assert_int_equal(net_readable(t->conn), SEGMENT);
    script_free(t);
}

static void overlapping_segment_delivers_only_what_is_new(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, SEGMENT);
    peer_data(t, SEGMENT / 2, SEGMENT);
    app_read(t, SEGMENT + SEGMENT / 2);
    assert_int_equal(net_readable(t->conn), 0);
    script_free(t);
}

static void peer_sends_bytes(struct script *t, uint32_t at, uint8_t value, uint32_t len)
{
    static uint8_t bytes[4096];
    struct wire_segment s = peer_make(t, WIRE_ACK, at);

    memset(bytes, value, len);
    s.data = span_of(bytes, len);
    peer_sends(t, s);
}

static void d15_first_copy_wins_beyond_a_gap(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_sends_bytes(t, 100, 'a', 100);
    peer_sends_bytes(t, 50, 'b', 200);
    peer_sends_bytes(t, 0, 'c', 300);
    struct span s = net_peek(t->conn);
    assert_int_equal(s.len, 300);
    assert_int_equal(s.ptr[49], 'c');
    assert_int_equal(s.ptr[50], 'b');
    assert_int_equal(s.ptr[100], 'a');
    assert_int_equal(s.ptr[199], 'a');
    assert_int_equal(s.ptr[200], 'b');
    assert_int_equal(s.ptr[250], 'c');
    script_free(t);
}

static void d15_bytes_already_readable_do_not_change(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_sends_bytes(t, 0, 'a', 100);
    peer_sends_bytes(t, 0, 'b', 100);
    peer_sends_bytes(t, 50, 'b', 100);
    struct span s = net_peek(t->conn);
    assert_int_equal(s.ptr[0], 'a');
    assert_int_equal(s.ptr[99], 'a');
    assert_int_equal(s.ptr[100], 'b');
    script_free(t);
}

static void d14_gaps_are_bounded_and_what_is_too_much_is_dropped(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    for (uint32_t i = 0; i < 9; i++)
        peer_data(t, 10 + 20 * i, 10);
    assert_int_equal(counted(t, REASON_TCP_TOO_MANY_GAPS), 1);
    peer_data(t, 0, 200);
    app_read(t, 200);
    script_free(t);
}

static void d14_a_dropped_ninth_gap_is_taken_later(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    for (uint32_t i = 0; i < 9; i++)
        peer_data(t, 10 + 20 * i, 10);
    peer_data(t, 0, 10);
    peer_data(t, 10 + 20 * 8, 10);
    for (uint32_t i = 0; i < 8; i++)
        peer_data(t, 20 + 20 * i, 10);
    app_read(t, 180);
    script_free(t);
}

static void data_beyond_the_window_is_cut_off(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 4096});

    peer_data(t, 0, 1400);
    peer_data(t, 1400, 1400);
    peer_data(t, 2800, 1400);
    assert_int_equal(net_readable(t->conn), 4096);
    script_drop_all(t);
    app_read(t, 4096);
    script_drop_all(t);
    peer_data(t, 4096, 104);
    app_read(t, 104);
    script_free(t);
}

static void segment_wholly_beyond_the_window_is_refused_with_an_ack(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 4096});

    peer_data(t, 5000, 10);
    expect_ack(t, 0);
    assert_int_equal(counted(t, REASON_TCP_OUT_OF_WINDOW), 1);
    assert_int_equal(script_gauges(t).recv_buffers_used, 0);
    script_free(t);
}

/* ---- acknowledgements ---- */

static void d11_lone_segment_is_acknowledged_within_40_ms(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    uint64_t start = t->now_us;

    peer_data(t, 0, SEGMENT);
    expect_nothing(t);
    script_advance(t, 100 * MS);
    expect_ack(t, SEGMENT);
    assert_in_range(script_sent_at(t) - start, 30 * MS, 41 * MS);
    expect_nothing(t);
    script_free(t);
}

static void d11_second_full_segment_is_acknowledged_at_once(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, SEGMENT);
    peer_data(t, SEGMENT, SEGMENT);
    expect_ack(t, 2 * SEGMENT);
    script_advance(t, 100 * MS);
    expect_nothing(t);
    script_free(t);
}

static void d11_reply_carries_the_acknowledgement(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, 100);
    app_read(t, 100);
    app_send(t, 100);
    assert_int_equal(expect_data(t, 0, 100)->ack, peer_seq(t, 100));
    peer_ack(t, 100);
    script_advance(t, 100 * MS);
    expect_nothing(t);
    script_free(t);
}

static void d11_segment_out_of_order_is_acknowledged_at_once(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, SEGMENT, SEGMENT);
    expect_ack(t, 0);
    peer_data(t, 2 * SEGMENT, SEGMENT);
    expect_ack(t, 0);
    script_free(t);
}

static void d11_filled_gap_is_acknowledged_at_once(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, SEGMENT, SEGMENT);
    expect_ack(t, 0);
    peer_data(t, 0, SEGMENT);
    expect_ack(t, 2 * SEGMENT);
    script_free(t);
}

static void d11_fin_is_acknowledged_at_once(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_fin(t, 0);
    expect_ack(t, 1);
    script_free(t);
}

static void repeated_segment_is_acknowledged_at_once(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, SEGMENT);
    script_advance(t, 50 * MS);
    expect_ack(t, SEGMENT);
    peer_data(t, 0, SEGMENT);
    expect_ack(t, SEGMENT);
    script_free(t);
}

static void keep_alive_without_data_is_answered(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, 1);
    script_advance(t, 50 * MS);
    expect_ack(t, 1);
    peer_sends(t, peer_make(t, WIRE_ACK, 0));
    expect_ack(t, 1);
    script_free(t);
}

static void keep_alive_with_a_garbage_byte_is_answered(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, 1);
    script_advance(t, 50 * MS);
    expect_ack(t, 1);
    peer_sends_bytes(t, 0, 0xff, 1);
    expect_ack(t, 1);
    app_read(t, 1);
    script_free(t);
}

/* ---- SACK ---- */

static void d2_block_names_what_lies_beyond_the_gap(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    peer_data(t, 1000, 500);
    struct wire_segment *s = expect_ack(t, 0);
    assert_int_equal(s->sack_count, 1);
    assert_int_equal(s->sack[0].start, peer_seq(t, 1000));
    assert_int_equal(s->sack[0].end, peer_seq(t, 1500));
    script_free(t);
}

static void d2_newest_block_comes_first(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    peer_data(t, 1000, 100);
    peer_data(t, 5000, 100);
    peer_data(t, 3000, 100);
    script_drop_all(t);
    peer_data(t, 1100, 100);
    struct wire_segment *s = expect_ack(t, 0);
    assert_int_equal(s->sack_count, 3);
    assert_int_equal(s->sack[0].start, peer_seq(t, 1000));
    assert_int_equal(s->sack[0].end, peer_seq(t, 1200));
    assert_int_equal(s->sack[1].start, peer_seq(t, 3000));
    assert_int_equal(s->sack[2].start, peer_seq(t, 5000));
    script_free(t);
}

static void d2_touching_blocks_become_one(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    peer_data(t, 1000, 100);
    peer_data(t, 1200, 100);
    script_drop_all(t);
    peer_data(t, 1100, 100);
    struct wire_segment *s = expect_ack(t, 0);
    assert_int_equal(s->sack_count, 1);
    assert_int_equal(s->sack[0].start, peer_seq(t, 1000));
    assert_int_equal(s->sack[0].end, peer_seq(t, 1300));
    script_free(t);
}

static uint32_t blocks_with(void **state, bool ts, bool sack)
{
    struct script *t = connected(state, (struct script_options){.sack = sack, .ts = ts});
    uint32_t count = 0;

    for (uint32_t i = 0; i < 6; i++)
        peer_data(t, 1000 + 200 * i, 100);
    while (script_pending(t) != 0)
        count = expect_ack(t, 0)->sack_count;
    script_free(t);
    return count;
}

static void d2_four_blocks_fit_without_timestamps(void **state)
{
    assert_int_equal(blocks_with(state, false, true), 4);
}

static void d2_three_blocks_fit_beside_timestamps(void **state)
{
    assert_int_equal(blocks_with(state, true, true), 3);
}

static void d2_no_block_without_permission(void **state)
{
    assert_int_equal(blocks_with(state, false, false), 0);
}

static void d2_blocks_end_when_the_gap_is_filled(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    peer_data(t, 1000, 500);
    (void)expect_ack(t, 0);
    peer_data(t, 0, 1000);
    assert_int_equal(expect_ack(t, 1500)->sack_count, 0);
    script_free(t);
}

static void b16_sack_blocks_come_off_a_full_segment(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true, .ts = true, .mtu = 1280});
    uint32_t headers = t->variant->v6 ? 60 : 40;

    for (uint32_t i = 0; i < 4; i++)
        peer_data(t, 1000 + 200 * i, 100);
    script_drop_all(t);
    app_send(t, 3000);
    struct wire_segment *s = expect_segment(t);
    assert_int_equal(s->sack_count, 3);
    assert_int_equal(s->data.len + s->options_len + headers, 1280);
    script_free(t);
}

/* ---- the receive window ---- */

static void window_shrinks_by_what_is_unread(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 8192});

    peer_data(t, 0, SEGMENT);
    peer_data(t, SEGMENT, SEGMENT);
    assert_int_equal(expect_ack(t, 2 * SEGMENT)->wnd, 8192 - 2 * SEGMENT);
    script_free(t);
}

static void right_edge_never_retreats(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 16384});
    uint32_t edge = 0;

    for (uint32_t at = 0; at < 40 * SEGMENT; at += SEGMENT) {
        peer_data(t, at, SEGMENT);
        if (at % 3000 == 0)
            app_read(t, (uint32_t)net_readable(t->conn));
        while (script_pending(t) != 0) {
            struct wire_segment *s = expect_segment(t);
            uint32_t now = s->ack - peer_seq(t, 0) + s->wnd;
            assert_true(now >= edge);
            edge = now;
        }
    }
    script_free(t);
}

static void fill_window(struct script *t, uint32_t len)
{
    for (uint32_t at = 0; at < len; at += 1024)
        peer_data(t, at, 1024);
    script_advance(t, 50 * MS);
    script_drop_all(t);
}

static void b11_window_that_opens_is_announced_at_once(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 4096});

    fill_window(t, 4096);
    app_read(t, 4096);
    assert_int_equal(expect_ack(t, 4096)->wnd, 4096);
    script_free(t);
}

static void b11_slow_reader_is_announced_in_useful_steps(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 8192});
    uint32_t updates = 0;

    fill_window(t, 8192);
    for (uint32_t i = 0; i < 8192; i += 16)
        app_read(t, 16);
    while (script_pending(t) != 0) {
        (void)expect_ack(t, 8192);
        updates++;
    }
    assert_in_range(updates, 3, 6);
    script_free(t);
}

static void d12_window_does_not_open_by_less_than_a_segment(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 8192});

    fill_window(t, 8192);
    app_read(t, 1000);
    expect_nothing(t);
    peer_data(t, 8192, 1);
    assert_int_equal(expect_ack(t, 8192)->wnd, 0);
    script_free(t);
}

static void b12_probe_of_our_shut_window_is_answered_each_time(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 4096});

    fill_window(t, 4096);
    for (int i = 0; i < 20; i++) {
        peer_data(t, 4096, 1);
        assert_int_equal(expect_ack(t, 4096)->wnd, 0);
    }
    app_read(t, 4096);
    (void)expect_ack(t, 4096);
    peer_data(t, 4096, 1);
    app_read(t, 1);
    script_free(t);
}

static void b12_fin_is_taken_although_our_window_is_shut(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 4096});

    fill_window(t, 4096);
    (void)app_events(t);
    peer_fin(t, 4096);
    expect_ack(t, 4097);
    assert_int_equal(app_events(t), NET_EVENT_PEER_FIN);
    script_free(t);
}

static void b12_acknowledgement_counts_although_our_window_is_shut(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 4096});

    fill_window(t, 4096);
    app_send(t, 100);
    expect_data(t, 0, 100);
    t->acked = 100;
    peer_data(t, 4096, 1);
    assert_int_equal(script_gauges(t).send_buffers_used, 0);
    script_free(t);
}

static void b12_rst_counts_although_our_window_is_shut(void **state)
{
    struct script *t = connected(state, (struct script_options){.recv_buffer = 4096});

    fill_window(t, 4096);
    (void)app_events(t);
    peer_rst(t, 4096);
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    script_free(t);
}

static void ack_from_the_very_edge_of_the_window_counts(void **state)
{
    /* A peer that has filled the window and lost its first segment acknowledges from beyond the last. */
    struct script *t = connected(state, (struct script_options){.recv_buffer = 4096});

    app_send(t, 100);
    expect_data(t, 0, 100);
    t->acked = 100;
    peer_sends(t, peer_make(t, WIRE_ACK, 4096));
    assert_int_equal(script_gauges(t).send_buffers_used, 0);
    script_free(t);
}

/* ---- buffers ---- */

static void idle_connection_holds_no_buffer(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 0, 100);
    assert_int_equal(script_gauges(t).recv_buffers_used, 1);
    app_read(t, 100);
    assert_int_equal(script_gauges(t).recv_buffers_used, 0);
    script_free(t);
}

static void gap_keeps_the_buffer_until_it_is_filled_and_read(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_data(t, 100, 100);
    assert_int_equal(script_gauges(t).recv_buffers_used, 1);
    peer_data(t, 0, 100);
    app_read(t, 200);
    assert_int_equal(script_gauges(t).recv_buffers_used, 0);
    script_free(t);
}

static void b23_segment_without_a_buffer_is_dropped_and_taken_when_repeated(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.recv_buffers = 1});
    struct net_conn *first;

    script_handshake(t);
    peer_data(t, 0, 10);
    first = t->conn;
    t->sport++;
    script_handshake(t);
    peer_data(t, 0, 10);
    assert_int_equal(net_readable(t->conn), 0);
    assert_int_equal(counted(t, REASON_TCP_NO_RECV_BUFFER), 1);
    net_consume(first, 10, t->now_us);
    peer_data(t, 0, 10);
    app_read(t, 10);
    script_free(t);
}

static void b23_fin_behind_dropped_data_is_not_seen(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.recv_buffers = 1});

    script_handshake(t);
    peer_data(t, 0, 10);
    t->sport++;
    script_handshake(t);
    struct wire_segment s = peer_make(t, WIRE_ACK | WIRE_FIN, 0);
    s.data = span_str("x");
    peer_sends(t, s);
    assert_int_equal(app_events(t), 0);
    script_free(t);
}

/* ---- timestamps ---- */

static void d1_segment_without_the_agreed_timestamp_is_dropped(void **state)
{
    struct script *t = connected(state, (struct script_options){.ts = true});

    t->o.ts = false;
    peer_data(t, 0, 10);
    assert_int_equal(net_readable(t->conn), 0);
    assert_int_equal(counted(t, REASON_TCP_NO_TIMESTAMP), 1);
    script_free(t);
}

static void d1_older_timestamp_is_refused_with_an_ack(void **state)
{
    struct script *t = connected(state, (struct script_options){.ts = true});

    script_advance(t, 100 * MS);
    peer_data(t, 0, 10);
    script_advance(t, 50 * MS);
    script_drop_all(t);
    t->ts_skew -= 1000;
    peer_data(t, 10, 10);
    expect_ack(t, 10);
    assert_int_equal(net_readable(t->conn), 10);
    assert_int_equal(counted(t, REASON_TCP_PAWS), 1);
    script_free(t);
}

static void d1_after_24_days_of_silence_any_timestamp_counts(void **state)
{
    struct script *t = connected(state, (struct script_options){.ts = true});

    t->now_us += 25ULL * 24 * 3600 * SECOND;
    t->ts_skew -= (uint32_t)(25ULL * 24 * 3600 * 1000) + 5000;
    peer_data(t, 0, 10);
    app_read(t, 10);
    script_free(t);
}

static void d1_rst_needs_no_timestamp(void **state)
{
    struct script *t = connected(state, (struct script_options){.ts = true});

    t->o.ts = false;
    peer_rst(t, 0);
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    script_free(t);
}

static void d1_every_segment_carries_a_timestamp(void **state)
{
    struct script *t = connected(state, (struct script_options){.ts = true});

    app_send(t, 5000);
    while (script_pending(t) != 0)
        assert_true(expect_segment(t)->has_ts);
    script_free(t);
}

static void d1_echo_is_that_of_the_segment_awaiting_its_ack(void **state)
{
    struct script *t = connected(state, (struct script_options){.ts = true});

    script_advance(t, 10 * MS);
    uint32_t first = (uint32_t)(t->now_us / 1000) + t->ts_skew;
    peer_data(t, 0, 1000);
    script_advance(t, 10 * MS);
    peer_data(t, 1000, 1000);
    assert_int_equal(expect_ack(t, 2000)->tsecr, first);
    script_free(t);
}

static void d1_echo_ignores_segments_beyond_a_gap(void **state)
{
    struct script *t = connected(state, (struct script_options){.ts = true});
    uint32_t before = (uint32_t)(t->now_us / 1000) + t->ts_skew;

    script_advance(t, 10 * MS);
    peer_data(t, 1000, 1000);
    assert_int_equal(expect_ack(t, 0)->tsecr, before);
    script_free(t);
}

/* ---- headers ---- */

static void damaged(void **state, struct wire_segment (*make)(struct script *), enum reason r)
{
    struct script *t = connected(state, (struct script_options){0});

    peer_sends(t, make(t));
    assert_int_equal(counted(t, r), 1);
    assert_int_equal(net_readable(t->conn), 0);
    peer_data(t, 0, 5);
    app_read(t, 5);
    script_free(t);
}

static struct wire_segment with_options(struct script *t, const char *options, size_t len)
{
    struct wire_segment s = peer_make(t, WIRE_ACK, 0);

    s.raw_options = span_of(options, len);
    s.data = span_str("other");
    return s;
}

static struct wire_segment option_length_0(struct script *t)
{
    return with_options(t, "\x63\0\1\1", 4);
}

static struct wire_segment option_length_1(struct script *t)
{
    return with_options(t, "\x63\1\1\1", 4);
}

static struct wire_segment option_too_long(struct script *t)
{
    return with_options(t, "\x63\5\1\1", 4);
}

static struct wire_segment option_cut_after_its_kind(struct script *t)
{
    return with_options(t, "\1\1\1\x63", 4);
}

static struct wire_segment option_md5(struct script *t)
{
    return with_options(t, "\x13\x12\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
}

static void b3_option_of_length_0_is_dropped(void **state)
{
    damaged(state, option_length_0, REASON_TCP_BAD_OPTION);
}

static void b3_option_of_length_1_is_dropped(void **state)
{
    damaged(state, option_length_1, REASON_TCP_BAD_OPTION);
}

static void b3_option_beyond_the_header_is_dropped(void **state)
{
    damaged(state, option_too_long, REASON_TCP_BAD_OPTION);
}

static void b3_option_without_a_length_is_dropped(void **state)
{
    damaged(state, option_cut_after_its_kind, REASON_TCP_BAD_OPTION);
}

static void c16_md5_option_is_refused(void **state)
{
    damaged(state, option_md5, REASON_TCP_REFUSED);
}

static void c16_unknown_option_is_skipped(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    struct wire_segment s = with_options(t, "\x63\3\xff\0", 4);
    uint8_t byte = peer_byte(0);

    s.data = span_of(&byte, 1);
    peer_sends(t, s);
    app_read(t, 1);
    script_free(t);
}

static void c16_fast_open_request_is_ignored(void **state)
{
    struct script *t = script_new(state, NULL);
    struct wire_segment s = {.flags = WIRE_SYN, .seq = t->irs, .wnd = 65535};

    s.raw_options = span_of("\2\4\5\xb4\x22\2\1\1", 8);
    peer_sends(t, s);
    s = *expect_segment(t);
    assert_int_equal(s.flags, WIRE_SYN | WIRE_ACK);
    assert_int_equal(s.options_len, 4);
    script_free(t);
}

static void c16_urgent_pointer_is_ignored(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    static uint8_t bytes[WIRE_FRAME_MAX];
    uint8_t byte = peer_byte(0);
    struct wire_segment s = peer_make(t, WIRE_ACK | WIRE_URG, 0);

    s.data = span_of(&byte, 1);
    uint16_t len = peer_frame(t, s, bytes);
    bytes[len - 3] = 0xff; /* the pointer's low byte; the device vouches for the checksum */
    peer_sends_frame(t, bytes, len, FRAME_RX_L4_CSUM_VOUCHED);
    app_read(t, 1);
    script_free(t);
}

static void b2_every_data_offset_below_five_words_is_dropped(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    static uint8_t bytes[WIRE_FRAME_MAX];
    uint32_t header = t->variant->v6 ? 54 : 34;

    for (uint8_t words = 0; words < 5; words++) {
        struct wire_segment s = peer_make(t, WIRE_ACK, 0);
        s.data = span_str("xxxxxxxxxxxx");
        uint16_t len = peer_frame(t, s, bytes);
        bytes[header + 12] = (uint8_t)(words << 4);
        peer_sends_frame(t, bytes, len, FRAME_RX_L4_CSUM_VOUCHED);
    }
    assert_int_equal(counted(t, REASON_TCP_BAD_OFFSET), 5);
    assert_int_equal(net_readable(t->conn), 0);
    script_free(t);
}

static void b2_every_data_offset_beyond_the_segment_is_dropped(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    static uint8_t bytes[WIRE_FRAME_MAX];
    uint32_t header = t->variant->v6 ? 54 : 34;

    for (uint8_t words = 9; words < 16; words++) {
        struct wire_segment s = peer_make(t, WIRE_ACK, 0);
        s.data = span_str("xxxxxxxxxxxx");
        uint16_t len = peer_frame(t, s, bytes);
        bytes[header + 12] = (uint8_t)(words << 4);
        peer_sends_frame(t, bytes, len, FRAME_RX_L4_CSUM_VOUCHED);
    }
    assert_int_equal(counted(t, REASON_TCP_BAD_OFFSET), 7);
    script_free(t);
}

static void b2_segments_cut_anywhere_in_the_header_are_dropped(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    static uint8_t bytes[WIRE_FRAME_MAX];
    uint32_t ip = t->variant->v6 ? 40 : 20;

    for (uint16_t l4 = 0; l4 < 20; l4++) {
        uint16_t len = peer_frame(t, peer_make(t, WIRE_ACK, 0), bytes);
        assert_int_equal(len, 14 + ip + 20);
        if (t->variant->v6)
            bytes[14 + 5] = (uint8_t)l4;
        else
            bytes[14 + 3] = (uint8_t)(20 + l4);
        peer_sends_frame(t, bytes, (uint16_t)(14 + ip + l4),
                         FRAME_RX_L4_CSUM_VOUCHED | FRAME_RX_IP4_CSUM_VOUCHED);
    }
    assert_int_equal(counted(t, REASON_TCP_RUNT), 20);
    script_free(t);
}

static void wrong_checksum_is_dropped(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    static uint8_t bytes[WIRE_FRAME_MAX];
    struct wire_segment s = peer_make(t, WIRE_ACK, 0);

    s.data = span_str("x");
    uint16_t len = peer_frame(t, s, bytes);
    bytes[len - 1] ^= 1;
    peer_sends_frame(t, bytes, len, 0);
    assert_int_equal(net_readable(t->conn), 0);
    assert_int_equal(counted(t, REASON_TCP_BAD_CHECKSUM), 1);
    script_free(t);
}

static void b29_partial_checksum_that_the_device_vouches_for_is_taken(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    static uint8_t bytes[WIRE_FRAME_MAX];
    struct wire_segment s = peer_make(t, WIRE_ACK, 0);
    uint32_t header = t->variant->v6 ? 54 : 34;
    uint8_t byte = peer_byte(0);

    s.data = span_of(&byte, 1);
    uint16_t len = peer_frame(t, s, bytes);
    bytes[header + 16] ^= 0x5a;
    peer_sends_frame(t, bytes, len, FRAME_RX_L4_CSUM_VOUCHED);
    app_read(t, 1);
    script_free(t);
}

static void segment_without_ack_on_a_connection_is_dropped(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    struct wire_segment s = peer_make(t, WIRE_PSH, 0);

    s.data = span_str("x");
    peer_sends(t, s);
    assert_int_equal(net_readable(t->conn), 0);
    assert_int_equal(counted(t, REASON_TCP_NO_ACK), 1);
    script_free(t);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(bytes_arrive_in_order),
        T(ring_wraps_around_without_losing_a_byte),
        T(what_comes_after_all_was_read_lies_where_that_lay),
        T(segment_beyond_a_gap_waits_for_it),
        T(segments_in_reverse_order_are_put_right),
        T(several_gaps_close_in_any_order),
        T(repeated_segment_is_delivered_once),
        T(overlapping_segment_delivers_only_what_is_new),
        T(d15_first_copy_wins_beyond_a_gap),
        T(d15_bytes_already_readable_do_not_change),
        T(d14_gaps_are_bounded_and_what_is_too_much_is_dropped),
        T(d14_a_dropped_ninth_gap_is_taken_later),
        T(data_beyond_the_window_is_cut_off),
        T(segment_wholly_beyond_the_window_is_refused_with_an_ack),
        T(d11_lone_segment_is_acknowledged_within_40_ms),
        T(d11_second_full_segment_is_acknowledged_at_once),
        T(d11_reply_carries_the_acknowledgement),
        T(d11_segment_out_of_order_is_acknowledged_at_once),
        T(d11_filled_gap_is_acknowledged_at_once),
        T(d11_fin_is_acknowledged_at_once),
        T(repeated_segment_is_acknowledged_at_once),
        T(keep_alive_without_data_is_answered),
        T(keep_alive_with_a_garbage_byte_is_answered),
        T(d2_block_names_what_lies_beyond_the_gap),
        T(d2_newest_block_comes_first),
        T(d2_touching_blocks_become_one),
        T(d2_four_blocks_fit_without_timestamps),
        T(d2_three_blocks_fit_beside_timestamps),
        T(d2_no_block_without_permission),
        T(d2_blocks_end_when_the_gap_is_filled),
        T(b16_sack_blocks_come_off_a_full_segment),
        T(window_shrinks_by_what_is_unread),
        T(right_edge_never_retreats),
        T(b11_window_that_opens_is_announced_at_once),
        T(b11_slow_reader_is_announced_in_useful_steps),
        T(d12_window_does_not_open_by_less_than_a_segment),
        T(b12_probe_of_our_shut_window_is_answered_each_time),
        T(b12_fin_is_taken_although_our_window_is_shut),
        T(b12_acknowledgement_counts_although_our_window_is_shut),
        T(b12_rst_counts_although_our_window_is_shut),
        T(ack_from_the_very_edge_of_the_window_counts),
        T(idle_connection_holds_no_buffer),
        T(gap_keeps_the_buffer_until_it_is_filled_and_read),
        T(b23_segment_without_a_buffer_is_dropped_and_taken_when_repeated),
        T(b23_fin_behind_dropped_data_is_not_seen),
        T(d1_segment_without_the_agreed_timestamp_is_dropped),
        T(d1_older_timestamp_is_refused_with_an_ack),
        T(d1_after_24_days_of_silence_any_timestamp_counts),
        T(d1_rst_needs_no_timestamp),
        T(d1_every_segment_carries_a_timestamp),
        T(d1_echo_is_that_of_the_segment_awaiting_its_ack),
        T(d1_echo_ignores_segments_beyond_a_gap),
        T(b3_option_of_length_0_is_dropped),
        T(b3_option_of_length_1_is_dropped),
        T(b3_option_beyond_the_header_is_dropped),
        T(b3_option_without_a_length_is_dropped),
        T(c16_md5_option_is_refused),
        T(c16_unknown_option_is_skipped),
        T(c16_fast_open_request_is_ignored),
        T(c16_urgent_pointer_is_ignored),
        T(b2_every_data_offset_below_five_words_is_dropped),
        T(b2_every_data_offset_beyond_the_segment_is_dropped),
        T(b2_segments_cut_anywhere_in_the_header_are_dropped),
        T(wrong_checksum_is_dropped),
        T(b29_partial_checksum_that_the_device_vouches_for_is_taken),
        T(segment_without_ack_on_a_connection_is_dropped),
    };
    return SCRIPT_RUN("tcp_receive", tests);
}
