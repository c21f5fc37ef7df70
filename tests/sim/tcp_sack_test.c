/* Loss recovery with SACK: the scoreboard, what counts as lost, how fast it is repaired; duplicates reported. */
#include "tests/sim/tcp_invariants.h"
#include "tests/sim/tcp_script.h"

/* Every full segment is 1000 bytes; the first flight is ten of them. */
static struct script *connected(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.mss = 1000, .sack = true});

    script_handshake(t);
    script_drop_all(t);
    return t;
}

/* An ACK up to offset with up to two blocks [a, b) in stream offsets; b == 0: no block. */
static void peer_sacks(struct script *t, uint32_t ack, uint32_t a1, uint32_t b1, uint32_t a2, uint32_t b2)
{
    t->acked = ack;
    struct wire_segment s = peer_make(t, WIRE_ACK, 0);

    if (b1 != 0)
        s.sack[s.sack_count++] = (struct wire_sack){t->iss + 1 + a1, t->iss + 1 + b1};
    if (b2 != 0)
        s.sack[s.sack_count++] = (struct wire_sack){t->iss + 1 + a2, t->iss + 1 + b2};
    peer_sends(t, s);
    tcp_invariants_check(t->net);
}

/* Ten segments of `queued` bytes are in flight and expected. */
static struct script *flight_of_ten(void **state, uint32_t queued)
{
    struct script *t = connected(state);

    app_send(t, queued);
    for (uint32_t i = 0; i < 10; i++)
        (void)expect_data(t, 1000 * i, 1000);
    expect_nothing(t);
    return t;
}

static void d3_third_segment_above_a_hole_repeats_the_hole(void **state)
{
    struct script *t = flight_of_ten(state, 10000);

    peer_sacks(t, 0, 1000, 2000, 0, 0);
    peer_sacks(t, 0, 1000, 3000, 0, 0);
    expect_nothing(t);
    peer_sacks(t, 0, 1000, 4000, 0, 0);
    (void)expect_data(t, 0, 1000);
    expect_nothing(t);
    assert_int_equal(counted(t, REASON_TCP_SACK_RECOVERIES), 1);
    script_free(t);
}

static void d3_one_ack_may_show_every_hole(void **state)
{
    struct script *t = flight_of_ten(state, 10000);

    /* 0 and 4000 are missing below what arrived; pipe falls to 4, ssthresh is 5. */
    peer_sacks(t, 0, 5000, 10000, 1000, 4000);
    (void)expect_data(t, 0, 1000);
    (void)expect_data(t, 4000, 1000);
    expect_nothing(t);
    script_free(t);
}

static void d3_what_the_peer_has_is_never_repeated(void **state)
{
    struct script *t = flight_of_ten(state, 10000);

    peer_sacks(t, 0, 2000, 9000, 0, 0);
    peer_sacks(t, 1000, 2000, 10000, 0, 0);
    script_drop_all(t);
    peer_sacks(t, 10000, 0, 0, 0, 0);
    expect_nothing(t);
    assert_int_equal(counted(t, REASON_TCP_RETRANSMITS), 2);
    assert_int_equal(counted(t, REASON_TCP_TIMEOUTS), 0);
    script_free(t);
}

static void d3_after_a_timeout_only_holes_go_again(void **state)
{
    struct script *t = flight_of_ten(state, 10000);

    peer_sacks(t, 0, 8000, 10000, 0, 0);
    script_advance(t, 500 * MS);
    assert_int_equal(counted(t, REASON_TCP_TIMEOUTS), 1);
    script_drop_all(t);
    for (uint32_t i = 1; i <= 8; i++) {
        peer_sacks(t, 1000 * i, 8000, 10000, 0, 0);
        while (script_pending(t) != 0)
            assert_true(offset_of(t, expect_segment(t)->seq) < 8000);
    }
    peer_sacks(t, 10000, 0, 0, 0, 0);
    expect_nothing(t);
    script_free(t);
}

static void d3_peer_that_takes_its_word_back_gets_all_of_it(void **state)
{
    struct script *t = flight_of_ten(state, 10000);

    peer_sacks(t, 0, 1000, 3000, 0, 0);
    peer_sacks(t, 1000, 0, 0, 0, 0); /* and 1000 to 3000 are gone again */
    script_advance(t, 300 * MS);
    (void)expect_data(t, 1000, 1000);
    peer_sacks(t, 2000, 0, 0, 0, 0);
    (void)expect_data(t, 2000, 1000);
    script_free(t);
}

static void d3_rescue_repeats_the_last_segment_once(void **state)
{
    struct script *t = flight_of_ten(state, 10000);

    /* 0 is lost, and so is the tail from 6000, of which nobody tells. */
    peer_sacks(t, 0, 1000, 6000, 0, 0);
    (void)expect_data(t, 0, 1000);
    peer_sacks(t, 6000, 0, 0, 0, 0);
    (void)expect_data(t, 9000, 1000);
    peer_sacks(t, 6000, 9000, 10000, 0, 0);
    expect_nothing(t);
    script_free(t);
}

static void d3_fin_is_repeated_like_data(void **state)
{
    struct script *t = connected(state);

    app_send(t, 4000);
    app_close(t);
    script_drop_all(t);
    peer_sacks(t, 3000, 0, 0, 0, 0);
    script_advance(t, 300 * MS);
    for (int i = 0; i < 3; i++)
        (void)expect_fin(t, 4000); /* the tail's probes */
    (void)expect_data(t, 3000, 1000);
    peer_sacks(t, 4000, 0, 0, 0, 0);
    (void)expect_fin(t, 4000);
    peer_ack(t, 4001);
    expect_nothing(t);
    script_free(t);
}

/* It is one larger than what a window of one segment lets out. */
static void d3_full_segment_with_fin_is_repeated_after_a_timeout(void **state)
{
    struct script *t = connected(state);
    uint8_t bytes[1000];

    for (uint32_t i = 0; i < sizeof bytes; i++)
        bytes[i] = app_byte(i);
    assert_int_equal(net_send(t->conn, span_of(bytes, sizeof bytes), t->now_us), sizeof bytes);
    app_close(t);
    assert_true((expect_data(t, 0, 1000)->flags & WIRE_FIN) != 0);
    script_advance(t, 300 * MS);
    assert_true((expect_data(t, 0, 1000)->flags & WIRE_FIN) != 0);
    peer_ack(t, 1001);
    script_free(t);
}

/* RFC 3042: each of the first two reports lets one new segment out. */
static void d5_reports_before_recovery_let_new_segments_out(void **state)
{
    struct script *t = flight_of_ten(state, 30000);

    peer_sacks(t, 0, 1000, 2000, 0, 0);
    (void)expect_data(t, 10000, 1000);
    peer_sacks(t, 0, 1000, 3000, 0, 0);
    (void)expect_data(t, 11000, 1000);
    expect_nothing(t);
    script_free(t);
}

/* RFC 6937: from twelve in flight towards seven, seven segments leave for every twelve that arrive. */
static void d7_recovery_sends_less_than_what_arrives(void **state)
{
    struct script *t = flight_of_ten(state, 60000);
    uint32_t sent = 0;

    for (uint32_t i = 2; i <= 4; i++)
        peer_sacks(t, 0, 1000, 1000 * i, 0, 0);
    (void)expect_data(t, 10000, 1000);
    (void)expect_data(t, 11000, 1000);
    (void)expect_data(t, 0, 1000);
    expect_nothing(t);
    for (uint32_t i = 5; i <= 12; i++) {
        peer_sacks(t, 0, 1000, 1000 * i, 0, 0);
        assert_true(script_pending(t) <= 1);
        sent += script_pending(t);
        script_drop_all(t);
    }
    assert_in_range(sent, 4, 6);
    script_free(t);
}

static void d7_end_of_recovery_lets_no_burst_out(void **state)
{
    struct script *t = flight_of_ten(state, 65000);
    uint32_t end = 30000;

    for (uint32_t i = 1; i <= 10; i++)
        peer_ack(t, 1000 * i);
    for (uint32_t i = 1; i <= 20; i++)
        peer_ack(t, 10000 + 1000 * i); /* forty in flight from 30000 */
    script_drop_all(t);
    peer_sacks(t, end, end + 1000, end + 4000, 0, 0);
    script_drop_all(t);
    /* All but the hole was delivered, and the reports about it were lost. */
    peer_sacks(t, 65000, 0, 0, 0, 0);
    app_send(t, 60000);
    assert_in_range(script_pending(t), 2, 10);
    script_free(t);
}

static void b34_two_losses_in_one_flight_are_two_reductions(void **state)
{
    struct script *t = flight_of_ten(state, 65000);

    for (uint32_t i = 4; i <= 10; i++)
        peer_sacks(t, 0, 1000, 1000 * i, 0, 0);
    script_drop_all(t);
    /* What was sent in this recovery does not prolong it, and what is lost of it is another loss. */
    peer_sacks(t, 0, 11000, 14000, 1000, 10000);
    assert_int_equal(counted(t, REASON_TCP_SACK_RECOVERIES), 1);
    peer_sacks(t, 10000, 11000, 14000, 0, 0);
    assert_int_equal(counted(t, REASON_TCP_SACK_RECOVERIES), 2);
    script_free(t);
}

static void b1_blocks_about_nothing_in_flight_are_skipped(void **state)
{
    static const uint32_t blocks[][2] = {
        {9000, 11000},       /* ends beyond what was sent */
        {20000, 21000},      /* lies beyond */
        {5000, 4000},        /* backwards */
        {5000, 5000},        /* empty */
        {0x80000000, 9000},  /* half the space away */
        {5000, 0x80000000},  /* ... and so far */
        {0xfffffff0u, 9000}, /* begins before the stream */
    };
    struct script *t = flight_of_ten(state, 10000);

    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        peer_sacks(t, 1000, blocks[i][0], blocks[i][1], 0, 0);
        assert_int_equal(counted(t, REASON_TCP_BAD_SACK), i + 1);
    }
    expect_nothing(t);
    assert_int_equal(counted(t, REASON_TCP_SACK_RECOVERIES), 0);
    script_free(t);
}

static void b1_ten_thousand_random_blocks_do_no_harm(void **state)
{
    struct script *t = flight_of_ten(state, 60000);
    uint32_t x = 12345;
    uint32_t acked = 0;

    for (int i = 0; i < 10000; i++) {
        uint32_t v[4];
        for (int k = 0; k < 4; k++) {
            x = x * 1664525 + 1013904223;
            v[k] = i % 2 == 0 ? x : (x >> 8) % 64000;
        }
        if (i % 500 == 499 && acked < 9000)
            acked += 1000;
        peer_sacks(t, acked, v[0], v[1], v[2], v[3]);
        while (script_pending(t) != 0)
            (void)expect_segment(t);
    }
    assert_int_equal(app_events(t) & NET_EVENT_CLOSED, 0);
    script_free(t);
}

static void b35_dsack_changes_nothing(void **state)
{
    struct script *t = flight_of_ten(state, 30000);

    peer_sacks(t, 2000, 0, 0, 0, 0);
    script_drop_all(t);
    for (int i = 0; i < 5; i++)
        peer_sacks(t, 2000, 1000, 2000, 0, 0);
    expect_nothing(t);
    assert_int_equal(counted(t, REASON_TCP_DSACKS), 5);
    assert_int_equal(counted(t, REASON_TCP_SACK_RECOVERIES), 0);
    script_free(t);
}

static void d14_flight_of_tiny_segments_is_bounded(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.mss = 48, .sack = true, .wscale = 7});
    uint32_t end = 0;

    script_handshake(t);
    script_drop_all(t);
    app_send(t, 60000);
    for (uint32_t i = 1; i <= 200; i++)
        peer_ack(t, 48 * i);
    while (script_pending(t) != 0) {
        struct wire_segment *s = expect_segment(t);
        end = offset_of(t, s->seq) + (uint32_t)s->data.len;
    }
    /* One record for each 512 bytes of the send buffer. */
    assert_int_equal(end, 48 * (200 + 128));
    tcp_invariants_check(t->net);
    script_free(t);
}

/* ---- by time (RFC 8985) ---- */

/* As connected, over a path of 40 ms. */
static struct script *connected_far(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.mss = 1000, .sack = true});

    peer_syn(t);
    t->iss = expect_segment(t)->seq;
    script_advance(t, 40 * MS);
    peer_ack(t, 0);
    script_drop_all(t);
    return t;
}

static void d4_silent_tail_is_probed_after_two_round_trips(void **state)
{
    struct script *t = connected_far(state);
    uint64_t acked_at;

    app_send(t, 4000);
    script_drop_all(t);
    script_advance(t, 40 * MS);
    peer_sacks(t, 2000, 0, 0, 0, 0);
    acked_at = t->now_us;
    script_advance(t, 150 * MS);
    (void)expect_data(t, 3000, 1000);
    assert_in_range(script_sent_at(t) - acked_at, 80 * MS, 82 * MS);
    expect_nothing(t);
    /* The probe arrived: what is missing before it goes at once. */
    peer_sacks(t, 2000, 3000, 4000, 0, 0);
    script_advance(t, 15 * MS);
    (void)expect_data(t, 2000, 1000);
    assert_int_equal(counted(t, REASON_TCP_TIMEOUTS), 0);
    script_free(t);
}

static void d4_probe_is_new_data_where_there_is_some(void **state)
{
    struct script *t = connected_far(state);

    app_send(t, 12000);
    script_drop_all(t);
    script_advance(t, 90 * MS);
    (void)expect_data(t, 10000, 1000);
    expect_nothing(t);
    script_free(t);
}

static void d4_lone_segment_waits_for_a_delayed_ack(void **state)
{
    struct script *t = connected_far(state);

    app_send(t, 1000);
    script_drop_all(t);
    script_advance(t, 125 * MS);
    expect_nothing(t);
    script_advance(t, 10 * MS);
    (void)expect_data(t, 0, 1000);
    script_free(t);
}

/* 100 ms: Windows and others; one needless probe, and no second one. */
static void d4_peer_that_keeps_its_acks_longer_is_waited_for(void **state)
{
    struct script *t = connected_far(state);

    app_send(t, 1000);
    script_drop_all(t);
    script_advance(t, 140 * MS);
    (void)expect_data(t, 0, 1000);
    peer_sacks(t, 1000, 0, 0, 0, 0);
    script_advance(t, 40 * MS);
    peer_sacks(t, 1000, 0, 1000, 0, 0);
    app_send(t, 1000);
    (void)expect_data(t, 1000, 1000);
    script_advance(t, 140 * MS);
    expect_nothing(t);
    peer_ack(t, 2000);
    assert_int_equal(counted(t, REASON_TCP_TAIL_PROBES), 1);
    script_free(t);
}

static void d4_probe_that_was_lost_is_followed_by_others_before_the_timeout(void **state)
{
    struct script *t = connected(state);

    app_send(t, 2000);
    script_drop_all(t);
    peer_sacks(t, 1000, 0, 0, 0, 0);
    app_send(t, 1000);
    script_drop_all(t);
    uint64_t start = t->now_us;
    script_advance(t, 150 * MS);
    static const uint32_t after_ms[3] = {2, 6, 14};
    for (int i = 0; i < 3; i++) {
        (void)expect_data(t, 2000, 1000);
        assert_in_range(script_sent_at(t) - start, after_ms[i] * MS, (after_ms[i] + 3) * MS);
    }
    expect_nothing(t);
    assert_int_equal(counted(t, REASON_TCP_TIMEOUTS), 0);
    script_advance(t, 100 * MS);
    assert_int_equal(counted(t, REASON_TCP_TIMEOUTS), 1);
    script_free(t);
}

static void d4_reordering_within_a_quarter_of_the_round_trip_repeats_nothing(void **state)
{
    struct script *t = connected_far(state);

    app_send(t, 4000);
    script_drop_all(t);
    script_advance(t, 40 * MS);
    peer_sacks(t, 0, 1000, 2000, 0, 0);
    script_advance(t, 8 * MS);
    expect_nothing(t);
    peer_sacks(t, 4000, 0, 0, 0, 0);
    script_advance(t, SECOND);
    expect_nothing(t);
    assert_int_equal(counted(t, REASON_TCP_RETRANSMITS), 0);
    script_free(t);
}

/* What was reported out of order, and is acknowledged with all the rest, was reordered all the same: three segments above a
 * hole are no proof of a loss from then on. */
static void d4_acknowledgement_of_all_tells_of_reordering_too(void **state)
{
    struct script *t = connected(state);

    app_send(t, 2000);
    script_drop_all(t);
    peer_sacks(t, 0, 1000, 2000, 0, 0);
    peer_sacks(t, 2000, 0, 0, 0, 0);
    app_send(t, 5000);
    script_drop_all(t);
    peer_sacks(t, 2000, 3000, 6000, 0, 0);
    expect_nothing(t);
    peer_sacks(t, 7000, 0, 0, 0, 0);
    assert_int_equal(counted(t, REASON_TCP_RETRANSMITS), 0);
    script_free(t);
}

/* The next one is given as long as the last one took, beside a quarter of the round trip. */
static void d4_window_grows_by_what_the_path_was_seen_to_need(void **state)
{
    struct script *t = connected_far(state);

    app_send(t, 4000);
    script_drop_all(t);
    script_advance(t, 40 * MS);
    peer_sacks(t, 0, 1000, 2000, 0, 0);
    script_advance(t, 8 * MS);
    peer_sacks(t, 4000, 0, 0, 0, 0);
    app_send(t, 4000);
    script_drop_all(t);
    script_advance(t, 40 * MS);
    peer_sacks(t, 4000, 5000, 6000, 0, 0);
    script_advance(t, 16 * MS);
    expect_nothing(t);
    peer_sacks(t, 8000, 0, 0, 0, 0);
    assert_int_equal(counted(t, REASON_TCP_RETRANSMITS), 0);
    script_free(t);
}

static void d4_needless_repetition_widens_the_window(void **state)
{
    struct script *t = connected_far(state);

    app_send(t, 4000);
    script_drop_all(t);
    script_advance(t, 40 * MS);
    peer_sacks(t, 0, 1000, 2000, 0, 0);
    script_advance(t, 15 * MS);
    (void)expect_data(t, 0, 1000);
    peer_sacks(t, 2000, 0, 0, 0, 0);
    peer_sacks(t, 4000, 0, 1000, 0, 0);
    app_send(t, 4000);
    script_drop_all(t);
    script_advance(t, 40 * MS);
    peer_sacks(t, 4000, 5000, 6000, 0, 0);
    script_advance(t, 15 * MS);
    expect_nothing(t);
    peer_sacks(t, 8000, 0, 0, 0, 0);
    assert_int_equal(counted(t, REASON_TCP_RETRANSMITS), 1);
    script_free(t);
}

static void d4_one_segment_overtaken_for_long_is_lost(void **state)
{
    struct script *t = connected_far(state);

    app_send(t, 2000);
    script_drop_all(t);
    script_advance(t, 40 * MS);
    peer_sacks(t, 0, 1000, 2000, 0, 0);
    uint64_t start = t->now_us;
    script_advance(t, 20 * MS);
    (void)expect_data(t, 0, 1000);
    assert_in_range(script_sent_at(t) - start, 10 * MS, 12 * MS);
    assert_int_equal(counted(t, REASON_TCP_SACK_RECOVERIES), 1);
    script_free(t);
}

static void d4_lost_repetition_is_noticed_by_what_was_sent_later(void **state)
{
    struct script *t = connected_far(state);

    app_send(t, 30000);
    script_drop_all(t);
    script_advance(t, 40 * MS);
    peer_sacks(t, 0, 1000, 6000, 0, 0);
    (void)expect_data(t, 0, 1000);
    script_advance(t, 5 * MS);
    peer_sacks(t, 0, 1000, 10000, 0, 0); /* new data leaves, after the repetition */
    assert_true(script_pending(t) > 0);
    script_drop_all(t);
    script_advance(t, 45 * MS);
    peer_sacks(t, 0, 1000, 11000, 0, 0);
    (void)expect_data(t, 0, 1000);
    assert_int_equal(counted(t, REASON_TCP_TIMEOUTS), 0);
    script_free(t);
}

/* Nothing was sent behind it that could tell. */
static void d4_last_repetition_that_was_lost_goes_again_before_the_timeout(void **state)
{
    struct script *t = connected_far(state);

    app_send(t, 10000);
    script_drop_all(t);
    script_advance(t, 40 * MS);
    for (uint32_t i = 4; i <= 10; i++)
        peer_sacks(t, 0, 1000, 1000 * i, 0, 0);
    (void)expect_data(t, 0, 1000);
    expect_nothing(t);
    uint64_t start = t->now_us;
    script_advance(t, 250 * MS);
    (void)expect_data(t, 0, 1000);
    assert_in_range(script_sent_at(t) - start, 80 * MS, 82 * MS);
    (void)expect_data(t, 0, 1000);
    expect_nothing(t);
    assert_int_equal(counted(t, REASON_TCP_TIMEOUTS), 0);
    script_advance(t, 250 * MS);
    (void)expect_data(t, 0, 1000);
    assert_int_equal(counted(t, REASON_TCP_TIMEOUTS), 1);
    script_free(t);
}

/* A probe repeated the tail; then more was sent and acknowledged, or the peer told that it had both. */
static uint32_t flight_after_probe(void **state, bool dsack)
{
    struct script *t = connected_far(state);
    uint32_t flight;

    app_send(t, 2000);
    script_drop_all(t);
    script_advance(t, 100 * MS);
    (void)expect_data(t, 1000, 1000);
    peer_sacks(t, 2000, 0, 0, 0, 0);
    if (dsack)
        peer_sacks(t, 2000, 1000, 2000, 0, 0);
    app_send(t, 1000);
    peer_sacks(t, 3000, 0, 0, 0, 0);
    script_drop_all(t);
    app_send(t, 30000);
    flight = script_pending(t);
    script_free(t);
    return flight;
}

static void d4_probe_that_repaired_a_loss_cuts_the_window(void **state)
{
    assert_int_equal(flight_after_probe(state, false), 7);
}

static void d4_needless_probe_costs_nothing(void **state)
{
    assert_int_equal(flight_after_probe(state, true), 10);
}

static void b20_round_trip_of_nothing_counts_as_a_tick(void **state)
{
    struct script *t = connected(state);

    app_send(t, 4000);
    peer_sacks(t, 2000, 0, 0, 0, 0);
    script_drop_all(t);
    uint64_t start = t->now_us;
    script_advance(t, 10 * MS);
    (void)expect_data(t, 3000, 1000);
    assert_in_range(script_sent_at(t) - start, 2 * MS, 4 * MS);
    script_free(t);
}

/* The turn came late: what arrived in it is measured by the turn's clock, and nothing is called late for it. */
static void b19_turn_that_came_late_repeats_nothing(void **state)
{
    struct script *t = connected_far(state);

    app_send(t, 10000);
    script_drop_all(t);
    t->now_us += 41 * MS; /* no timer was served in between */
    for (uint32_t i = 1; i <= 10; i++)
        peer_sacks(t, 1000 * i, 0, 0, 0, 0);
    script_advance(t, SECOND);
    expect_nothing(t);
    assert_int_equal(counted(t, REASON_TCP_RETRANSMITS), 0);
    script_free(t);
}

/* ---- duplicates reported (RFC 2883) ---- */

static void d2_segment_that_came_twice_is_reported(void **state)
{
    struct script *t = connected(state);

    peer_data(t, 0, 1000);
    peer_data(t, 1000, 1000);
    script_drop_all(t);
    peer_data(t, 0, 1000);
    struct wire_segment *s = expect_ack(t, 2000);
    assert_int_equal(s->sack_count, 1);
    assert_int_equal(s->sack[0].start, peer_seq(t, 0));
    assert_int_equal(s->sack[0].end, peer_seq(t, 1000));
    script_free(t);
}

static void d2_duplicate_beyond_a_gap_is_reported_before_its_block(void **state)
{
    struct script *t = connected(state);

    peer_data(t, 1000, 1000);
    peer_data(t, 2000, 1000);
    script_drop_all(t);
    peer_data(t, 1000, 1000);
    struct wire_segment *s = expect_ack(t, 0);
    assert_int_equal(s->sack_count, 2);
    assert_int_equal(s->sack[0].start, peer_seq(t, 1000));
    assert_int_equal(s->sack[0].end, peer_seq(t, 2000));
    assert_int_equal(s->sack[1].start, peer_seq(t, 1000));
    assert_int_equal(s->sack[1].end, peer_seq(t, 3000));
    script_free(t);
}

static void d2_duplicate_is_reported_once(void **state)
{
    struct script *t = connected(state);

    peer_data(t, 0, 1000);
    script_advance(t, 50 * MS);
    peer_data(t, 0, 1000);
    script_drop_all(t);
    peer_data(t, 2000, 1000);
    struct wire_segment *s = expect_ack(t, 1000);
    assert_int_equal(s->sack_count, 1);
    assert_int_equal(s->sack[0].start, peer_seq(t, 2000));
    script_free(t);
}

static void d2_number_from_before_the_stream_is_not_reported(void **state)
{
    struct script *t = connected(state);
    struct wire_segment s = peer_make(t, WIRE_ACK, 0);

    s.seq -= 50000;
    s.data = span_str("never sent before");
    peer_sends(t, s);
    assert_int_equal(expect_ack(t, 0)->sack_count, 0);
    script_free(t);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(d3_third_segment_above_a_hole_repeats_the_hole),
        T(d3_one_ack_may_show_every_hole),
        T(d3_what_the_peer_has_is_never_repeated),
        T(d3_after_a_timeout_only_holes_go_again),
        T(d3_peer_that_takes_its_word_back_gets_all_of_it),
        T(d4_last_repetition_that_was_lost_goes_again_before_the_timeout),
        T(d3_rescue_repeats_the_last_segment_once),
        T(d3_fin_is_repeated_like_data),
        T(d3_full_segment_with_fin_is_repeated_after_a_timeout),
        T(d5_reports_before_recovery_let_new_segments_out),
        T(d7_recovery_sends_less_than_what_arrives),
        T(d7_end_of_recovery_lets_no_burst_out),
        T(b34_two_losses_in_one_flight_are_two_reductions),
        T(b1_blocks_about_nothing_in_flight_are_skipped),
        T(b1_ten_thousand_random_blocks_do_no_harm),
        T(b35_dsack_changes_nothing),
        T(d4_silent_tail_is_probed_after_two_round_trips),
        T(d4_probe_is_new_data_where_there_is_some),
        T(d4_lone_segment_waits_for_a_delayed_ack),
        T(d4_peer_that_keeps_its_acks_longer_is_waited_for),
        T(d4_probe_that_was_lost_is_followed_by_others_before_the_timeout),
        T(d4_reordering_within_a_quarter_of_the_round_trip_repeats_nothing),
        T(d4_acknowledgement_of_all_tells_of_reordering_too),
        T(d4_window_grows_by_what_the_path_was_seen_to_need),
        T(d4_needless_repetition_widens_the_window),
        T(d4_one_segment_overtaken_for_long_is_lost),
        T(d4_lost_repetition_is_noticed_by_what_was_sent_later),
        T(d4_probe_that_repaired_a_loss_cuts_the_window),
        T(d4_needless_probe_costs_nothing),
        T(b20_round_trip_of_nothing_counts_as_a_tick),
        T(b19_turn_that_came_late_repeats_nothing),
        T(d14_flight_of_tiny_segments_is_bounded),
        T(d2_segment_that_came_twice_is_reported),
        T(d2_duplicate_beyond_a_gap_is_reported_before_its_block),
        T(d2_duplicate_is_reported_once),
        T(d2_number_from_before_the_stream_is_not_reported),
    };
    return SCRIPT_RUN("tcp_sack", tests);
}
