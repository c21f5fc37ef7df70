/* The handshake, its options, and what may go wrong before a connection exists. */
#include "tests/sim/tcp_script.h"

static void handshake_completes_and_the_user_is_told(void **state)
{
    struct script *t = script_new(state, NULL);

    script_handshake(t);
    expect_nothing(t);
    assert_int_equal(script_gauges(t).established, 1);
    script_free(t);
}

static void user_hears_nothing_before_the_last_ack(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    assert_int_equal(t->accepted, 0);
    assert_int_equal(script_gauges(t).syn_received, 1);
    script_free(t);
}

static void last_ack_may_carry_data(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    t->iss = expect_segment(t)->seq;
    peer_data(t, 0, 10);
    assert_int_equal(app_events(t), NET_EVENT_ESTABLISHED | NET_EVENT_READABLE);
    app_read(t, 10);
    script_free(t);
}

static void last_ack_may_carry_data_and_fin(void **state)
{
    struct script *t = script_new(state, NULL);
    uint8_t byte = peer_byte(0);

    peer_syn(t);
    t->iss = expect_segment(t)->seq;
    struct wire_segment s = peer_make(t, WIRE_ACK | WIRE_FIN, 0);
    s.data = span_of(&byte, 1);
    peer_sends(t, s);
    assert_int_equal(app_events(t), NET_EVENT_ESTABLISHED | NET_EVENT_READABLE | NET_EVENT_PEER_FIN);
    expect_ack(t, 2);
    script_free(t);
}

static void syn_ack_names_the_mss_of_our_mtu(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.mtu = 1400});

    peer_syn(t);
    struct wire_segment *s = expect_segment(t);
    assert_true(s->has_mss);
    assert_int_equal(s->mss, t->variant->v6 ? 1340 : 1360);
    script_free(t);
}

static void b14_window_of_a_syn_ack_is_not_scaled(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.recv_buffer = 1 << 20, .wscale = 3});

    peer_syn(t);
    struct wire_segment *s = expect_segment(t);
    assert_true(s->has_wscale && s->wscale == 5);
    assert_int_equal(s->wnd, 65535);
    script_free(t);
}

static void b14_later_windows_are_scaled(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.recv_buffer = 1 << 20, .wscale = 3});

    script_handshake(t);
    peer_data(t, 0, 100);
    script_advance(t, 50 * MS);
    uint32_t window = (uint32_t)expect_ack(t, 100)->wnd << 5;
    assert_in_range(window, (1 << 20) - 100 - 32, (1 << 20) - 100);
    script_free(t);
}

static void b14_no_scale_without_an_offer(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.recv_buffer = 1 << 20});

    script_handshake(t);
    peer_data(t, 0, 100);
    script_advance(t, 50 * MS);
    assert_in_range(expect_ack(t, 100)->wnd, 65435, 65535);
    script_free(t);
}

static void b14_window_in_the_peers_syn_is_not_scaled(void **state)
{
    /* Were it, the first flight would be as long as cwnd allows. */
    struct script *t = script_new(state, &(struct script_options){.wscale = 8, .window = 20});

    peer_syn(t);
    t->iss = expect_segment(t)->seq;
    t->window = 1;
    peer_ack(t, 0);
    app_send(t, 1000);
    expect_data(t, 0, 256);
    expect_nothing(t);
    script_free(t);
}

static void window_scale_beyond_14_counts_as_14(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.wscale = 15, .window = 1});

    script_handshake(t);
    app_send(t, 60000);
    for (uint32_t at = 0; at < 10; at++)
        peer_ack(t, (at + 1) * (t->variant->v6 ? 1440 : 1460));
    script_drop_all(t);
    peer_ack(t, t->acked);
    uint32_t edge = t->acked + (1 << 14);
    script_advance(t, 300 * MS);
    while (script_pending(t) != 0) {
        struct wire_segment *s = expect_segment(t);
        assert_true(offset_of(t, s->seq) + s->data.len <= edge);
    }
    script_free(t);
}

static void scale_of_zero_is_still_an_offer(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.wscale = -1, .recv_buffer = 1 << 20});

    peer_syn(t);
    assert_true(expect_segment(t)->has_wscale);
    script_free(t);
}

static void timestamps_are_echoed_when_offered(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.ts = true});

    peer_syn(t);
    struct wire_segment *s = expect_segment(t);
    assert_true(s->has_ts);
    assert_int_equal(s->tsecr, (uint32_t)(t->now_us / 1000) + t->ts_skew);
    script_free(t);
}

static void timestamps_are_absent_when_not_offered(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    assert_false(expect_segment(t)->has_ts);
    script_free(t);
}

static void sack_is_permitted_only_when_offered(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    assert_false(expect_segment(t)->sack_permitted);
    script_free(t);
    t = script_new(state, &(struct script_options){.sack = true});
    peer_syn(t);
    assert_true(expect_segment(t)->sack_permitted);
    script_free(t);
}

static void all_options_together_are_answered(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.sack = true, .ts = true, .wscale = 7});

    peer_syn(t);
    struct wire_segment *s = expect_segment(t);
    assert_true(s->has_mss && s->has_ts && s->has_wscale && s->sack_permitted);
    assert_int_equal(s->options_len, 20);
    script_free(t);
}

/* ---- MSS ---- */

static void first_segment_is(void **state, struct script_options o, uint32_t len)
{
    struct script *t = script_new(state, &o);

    script_handshake(t);
    app_send(t, 3000);
    expect_data(t, 0, len);
    script_free(t);
}

static void b15_mss_of_0_is_raised_to_the_floor(void **state)
{
    /* The script's zero means "default": the option is written by hand. */
    struct script *t = script_new(state, NULL);
    struct wire_segment s = {.flags = WIRE_SYN, .seq = t->irs, .wnd = 65535};

    s.raw_options = span_of("\2\4\0\0", 4);
    peer_sends(t, s);
    t->iss = expect_segment(t)->seq;
    peer_ack(t, 0);
    app_send(t, 300);
    expect_data(t, 0, 48);
    script_free(t);
}

static void b15_mss_of_1_is_raised_to_the_floor(void **state)
{
    first_segment_is(state, (struct script_options){.mss = 1}, 48);
}

static void b15_mss_of_47_is_raised_to_the_floor(void **state)
{
    first_segment_is(state, (struct script_options){.mss = 47}, 48);
}

static void b15_mss_of_48_is_kept(void **state)
{
    first_segment_is(state, (struct script_options){.mss = 48}, 48);
}

static void b15_tiny_mss_with_timestamps_still_leaves_room(void **state)
{
    first_segment_is(state, (struct script_options){.mss = 1, .ts = true}, 36);
}

static void b15_mss_of_65535_is_cut_to_our_mtu(void **state)
{
    const struct script_variant *v = *state;

    first_segment_is(state, (struct script_options){.mss = 65535}, v->v6 ? 1440 : 1460);
}

static void mss_that_is_not_named_is_the_default_of_the_family(void **state)
{
    const struct script_variant *v = *state;

    first_segment_is(state, (struct script_options){.no_mss = true}, v->v6 ? 1220 : 536);
}

static void b16_timestamps_come_off_the_segment(void **state)
{
    const struct script_variant *v = *state;

    first_segment_is(state, (struct script_options){.mtu = 1280, .ts = true}, v->v6 ? 1208 : 1228);
}

/* ---- half-open ---- */

static void b7_half_open_connection_is_gone_after_five_repetitions(void **state)
{
    static const uint64_t after_s[] = {0, 1, 3, 7, 15, 31};
    struct script *t = script_new(state, NULL);
    uint64_t start = t->now_us;

    peer_syn(t);
    script_advance(t, 64 * SECOND);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(expect_segment(t)->flags, WIRE_SYN | WIRE_ACK);
        assert_in_range(script_sent_at(t) - start, after_s[i] * SECOND, after_s[i] * SECOND + 2 * MS);
    }
    expect_nothing(t);
    assert_int_equal(script_gauges(t).conns, 0);
    assert_int_equal(counted(t, REASON_TCP_HANDSHAKE_TIMEOUT), 1);
    script_free(t);
}

static void b7_many_half_open_connections_take_no_buffer_and_all_end(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.conns = 64});

    for (uint16_t port = 1; port <= 64; port++) {
        t->sport = port;
        peer_syn(t);
        script_drop_all(t);
    }
    assert_int_equal(script_gauges(t).conns, 64);
    assert_int_equal(script_gauges(t).recv_buffers_used + script_gauges(t).send_buffers_used, 0);
    script_advance(t, 64 * SECOND);
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

static void syn_beyond_the_table_is_dropped_and_counted(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.conns = 2});

    for (uint16_t port = 1; port <= 2; port++) {
        t->sport = port;
        script_handshake(t);
    }
    t->sport = 3;
    peer_syn(t);
    expect_nothing(t);
    assert_int_equal(counted(t, REASON_TCP_TABLE_FULL), 1);
    script_free(t);
}

static void repeated_syn_gets_the_same_syn_ack(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    uint32_t seq = expect_segment(t)->seq;
    script_advance(t, 500 * MS);
    peer_syn(t);
    struct wire_segment *s = expect_segment(t);
    assert_int_equal(s->flags, WIRE_SYN | WIRE_ACK);
    assert_int_equal(s->seq, seq);
    assert_int_equal(script_gauges(t).conns, 1);
    script_free(t);
}

static void other_syn_in_the_handshake_is_challenged(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    (void)expect_segment(t);
    peer_sends(t, (struct wire_segment){.flags = WIRE_SYN, .seq = t->irs + 5000, .wnd = 1000});
    expect_ack(t, 0);
    script_free(t);
}

static void wrong_ack_in_the_handshake_gets_a_rst(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    t->iss = expect_segment(t)->seq;
    peer_ack(t, 77);
    struct wire_segment *s = expect_rst(t);
    assert_int_equal(offset_of(t, s->seq), 77);
    assert_int_equal(t->accepted, 0);
    peer_ack(t, 0);
    assert_int_equal(t->accepted, 1);
    script_free(t);
}

static void rst_ends_the_handshake_silently(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    (void)expect_segment(t);
    peer_rst(t, 0);
    expect_nothing(t);
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

static void inexact_rst_does_not_end_the_handshake(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    (void)expect_segment(t);
    peer_rst(t, 1);
    assert_int_equal(script_gauges(t).conns, 1);
    script_free(t);
}

static void data_in_a_syn_is_not_taken_but_comes_again(void **state)
{
    struct script *t = script_new(state, NULL);
    struct wire_segment s = {.flags = WIRE_SYN, .seq = t->irs, .wnd = 65535, .data = span_str("hello")};

    peer_sends(t, s);
    assert_int_equal(expect_segment(t)->ack, peer_seq(t, 0));
    t->iss = t->queue[0].s.seq;
    peer_data(t, 0, 5);
    app_read(t, 5);
    script_free(t);
}

static void syn_with_fin_opens_nothing(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_sends(t, (struct wire_segment){.flags = WIRE_SYN | WIRE_FIN, .seq = t->irs, .wnd = 1000});
    expect_nothing(t);
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

static void segment_without_flags_to_a_listener_is_ignored(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_sends(t, (struct wire_segment){.flags = 0, .seq = t->irs, .wnd = 1000});
    peer_sends(t, (struct wire_segment){.flags = WIRE_FIN | WIRE_PSH | WIRE_URG, .seq = t->irs});
    expect_nothing(t);
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

static void ack_to_a_listener_gets_a_rst(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_sends(t, (struct wire_segment){.flags = WIRE_ACK, .seq = 5, .ack = 77, .wnd = 1000});
    assert_int_equal(expect_rst(t)->seq, 77);
    script_free(t);
}

static void lost_handshake_ack_is_made_good_by_data(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    t->iss = expect_segment(t)->seq;
    script_advance(t, 300 * MS);
    peer_data(t, 0, 20);
    assert_int_equal(t->accepted, 1);
    script_free(t);
}

/* ---- numbers that nobody should guess ---- */

static void c7_isn_follows_a_clock_of_four_microseconds(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    uint32_t first = expect_segment(t)->seq;
    peer_rst(t, 0);
    script_advance(t, 400 * MS);
    peer_syn(t);
    assert_int_equal(expect_segment(t)->seq - first, 100000);
    script_free(t);
}

static void c7_isns_of_two_ports_are_unrelated(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    uint32_t first = expect_segment(t)->seq;
    t->sport++;
    peer_syn(t);
    uint32_t apart = expect_segment(t)->seq - first;
    assert_true(apart > 1000000 && apart < 0u - 1000000);
    script_free(t);
}

static void d1_timestamp_clocks_of_two_connections_are_unrelated(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.ts = true});

    peer_syn(t);
    uint32_t first = expect_segment(t)->tsval;
    t->sport++;
    peer_syn(t);
    uint32_t apart = expect_segment(t)->tsval - first;
    assert_true(apart > 1000000 && apart < 0u - 1000000);
    script_free(t);
}

static void d10_one_lost_syn_ack_keeps_the_initial_window(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    script_advance(t, 1500 * MS);
    t->iss = expect_segment(t)->seq;
    script_drop_all(t);
    peer_ack(t, 0);
    app_send(t, 30000);
    assert_int_equal(script_pending(t), 10);
    script_free(t);
}

static void d10_two_lost_syn_acks_cut_it_to_one_segment(void **state)
{
    struct script *t = script_new(state, NULL);

    peer_syn(t);
    script_advance(t, 3500 * MS);
    t->iss = expect_segment(t)->seq;
    script_drop_all(t);
    peer_ack(t, 0);
    app_send(t, 30000);
    assert_int_equal(script_pending(t), 1);
    script_free(t);
}

static void b37_what_finds_no_frame_is_sent_by_the_next_call(void **state)
{
    struct script *t = script_new(state, NULL);
    static uint8_t room[WIRE_FRAME_MAX];
    uint8_t bytes[6000];

    script_handshake(t);
    for (uint32_t i = 0; i < sizeof bytes; i++)
        bytes[i] = app_byte(i);
    assert_int_equal(net_send(t->conn, span_of(bytes, sizeof bytes), t->now_us), sizeof bytes);
    uint32_t at = 0;
    while (net_has_output(t->net)) {
        struct frame f = {.data = room, .cap = sizeof room};
        struct wire_segment s;
        if (net_output(t->net, t->now_us, &f, 1) == 0)
            continue;
        assert_int_equal(wire_parse(span_of(f.data, f.len), &s), WIRE_TCP);
        assert_int_equal(offset_of(t, s.seq), at);
        assert_memory_equal(s.data.ptr, bytes + at, s.data.len);
        at += (uint32_t)s.data.len;
    }
    assert_int_equal(at, sizeof bytes);
    script_free(t);
}

static void answer_waits_for_the_neighbour_and_is_not_lost(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.deaf = true});

    peer_syn(t);
    expect_nothing(t);
    t->o.deaf = false;
    script_advance(t, 3 * SECOND);
    assert_int_equal(expect_segment(t)->flags, WIRE_SYN | WIRE_ACK);
    script_free(t);
}

static void unreachable_peer_does_not_keep_a_record(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.deaf = true});

    peer_syn(t);
    script_advance(t, 130 * SECOND);
    expect_nothing(t);
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake_completes_and_the_user_is_told),
        cmocka_unit_test(user_hears_nothing_before_the_last_ack),
        cmocka_unit_test(last_ack_may_carry_data),
        cmocka_unit_test(last_ack_may_carry_data_and_fin),
        cmocka_unit_test(syn_ack_names_the_mss_of_our_mtu),
        cmocka_unit_test(b14_window_of_a_syn_ack_is_not_scaled),
        cmocka_unit_test(b14_later_windows_are_scaled),
        cmocka_unit_test(b14_no_scale_without_an_offer),
        cmocka_unit_test(b14_window_in_the_peers_syn_is_not_scaled),
        cmocka_unit_test(window_scale_beyond_14_counts_as_14),
        cmocka_unit_test(scale_of_zero_is_still_an_offer),
        cmocka_unit_test(timestamps_are_echoed_when_offered),
        cmocka_unit_test(timestamps_are_absent_when_not_offered),
        cmocka_unit_test(sack_is_permitted_only_when_offered),
        cmocka_unit_test(all_options_together_are_answered),
        cmocka_unit_test(b15_mss_of_0_is_raised_to_the_floor),
        cmocka_unit_test(b15_mss_of_1_is_raised_to_the_floor),
        cmocka_unit_test(b15_mss_of_47_is_raised_to_the_floor),
        cmocka_unit_test(b15_mss_of_48_is_kept),
        cmocka_unit_test(b15_tiny_mss_with_timestamps_still_leaves_room),
        cmocka_unit_test(b15_mss_of_65535_is_cut_to_our_mtu),
        cmocka_unit_test(mss_that_is_not_named_is_the_default_of_the_family),
        cmocka_unit_test(b16_timestamps_come_off_the_segment),
        cmocka_unit_test(b7_half_open_connection_is_gone_after_five_repetitions),
        cmocka_unit_test(b7_many_half_open_connections_take_no_buffer_and_all_end),
        cmocka_unit_test(syn_beyond_the_table_is_dropped_and_counted),
        cmocka_unit_test(repeated_syn_gets_the_same_syn_ack),
        cmocka_unit_test(other_syn_in_the_handshake_is_challenged),
        cmocka_unit_test(wrong_ack_in_the_handshake_gets_a_rst),
        cmocka_unit_test(rst_ends_the_handshake_silently),
        cmocka_unit_test(inexact_rst_does_not_end_the_handshake),
        cmocka_unit_test(data_in_a_syn_is_not_taken_but_comes_again),
        cmocka_unit_test(syn_with_fin_opens_nothing),
        cmocka_unit_test(segment_without_flags_to_a_listener_is_ignored),
        cmocka_unit_test(ack_to_a_listener_gets_a_rst),
        cmocka_unit_test(lost_handshake_ack_is_made_good_by_data),
        cmocka_unit_test(c7_isn_follows_a_clock_of_four_microseconds),
        cmocka_unit_test(c7_isns_of_two_ports_are_unrelated),
        cmocka_unit_test(d1_timestamp_clocks_of_two_connections_are_unrelated),
        cmocka_unit_test(d10_one_lost_syn_ack_keeps_the_initial_window),
        cmocka_unit_test(d10_two_lost_syn_acks_cut_it_to_one_segment),
        cmocka_unit_test(b37_what_finds_no_frame_is_sent_by_the_next_call),
        cmocka_unit_test(answer_waits_for_the_neighbour_and_is_not_lost),
        cmocka_unit_test(unreachable_peer_does_not_keep_a_record),
    };
    return SCRIPT_RUN("tcp_handshake", tests);
}
