/* Half-open connections: the SYN cache, SYN cookies, and what a flood may not do. */
#include "tests/sim/tcp_script.h"

#define SECRET_S 64 /* a cookie's secret is the present one for so long, and the previous one as long again */

/* SYN and SYN-ACK; the cookie or the entry waits for its ACK. */
static struct wire_segment *half_open(struct script *t)
{
    struct wire_segment *s;

    peer_syn(t);
    s = expect_segment(t);
    assert_int_equal(s->flags, WIRE_SYN | WIRE_ACK);
    t->iss = s->seq;
    t->acked = 0;
    return s;
}

/* ---- the cache ---- */

static void c8_half_open_connections_take_no_record(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.conns = 1});

    for (uint16_t port = 1; port <= 100; port++) {
        t->sport = port;
        (void)half_open(t);
    }
    assert_int_equal(script_gauges(t).syn_received, 100);
    peer_ack(t, 0);
    assert_int_equal(t->accepted, 1);
    assert_int_equal(script_gauges(t).syn_received, 99);
    script_free(t);
}

static void c8_oldest_half_open_connection_makes_room(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.syn_cache = 4, .cookies_above = 100});
    uint32_t iss[6];

    for (uint16_t port = 1; port <= 5; port++) {
        t->sport = port;
        iss[port] = half_open(t)->seq;
    }
    assert_int_equal(script_gauges(t).syn_received, 4);
    assert_int_equal(counted(t, REASON_TCP_SYN_CACHE_DROPPED), 1);
    for (uint16_t port = 5; port >= 1; port--) {
        t->sport = port;
        t->iss = iss[port];
        peer_ack(t, 0);
    }
    assert_int_equal(t->accepted, 4);
    assert_int_equal(expect_rst(t)->dport, 1);
    script_free(t);
}

static void c8_entry_repeated_more_often_is_older(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.syn_cache = 2, .cookies_above = 100});

    t->sport = 1;
    uint32_t first = half_open(t)->seq;
    script_advance(t, 1500 * MS);
    script_drop_all(t);
    t->sport = 2;
    uint32_t second = half_open(t)->seq;
    t->sport = 3;
    (void)half_open(t);
    t->sport = 2;
    t->iss = second;
    peer_ack(t, 0);
    assert_int_equal(t->accepted, 1);
    t->sport = 1;
    t->iss = first;
    peer_ack(t, 0);
    assert_int_equal(t->accepted, 1);
    script_free(t);
}

static void c8_repetition_carries_the_same_options(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.sack = true, .ts = true, .wscale = 7});
    uint32_t seq = half_open(t)->seq;

    script_advance(t, 1100 * MS);
    struct wire_segment *s = expect_segment(t);
    assert_int_equal(s->seq, seq);
    assert_true(s->has_mss && s->has_ts && s->has_wscale && s->sack_permitted);
    script_free(t);
}

static void c8_entries_answer_at_most_seven_challenges(void **state)
{
    struct script *t = script_new(state, NULL);

    (void)half_open(t);
    for (int i = 0; i < 20; i++)
        peer_sends(t, (struct wire_segment){.flags = WIRE_SYN, .seq = t->irs + 5000, .wnd = 1000});
    assert_int_equal(script_pending(t), 7);
    script_free(t);
}

static void c10_last_ack_without_a_record_is_dropped_and_heard_when_there_is_one(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.conns = 1});

    t->sport = 1;
    (void)half_open(t);
    uint32_t first = t->iss;
    t->sport = 2;
    (void)half_open(t);
    uint32_t second = t->iss;
    t->sport = 1;
    t->iss = first;
    peer_ack(t, 0);
    t->sport = 2;
    t->iss = second;
    peer_ack(t, 0);
    expect_nothing(t);
    assert_int_equal(t->accepted, 1);
    assert_int_equal(counted(t, REASON_TCP_ACCEPT_OVERFLOW), 1);
    t->sport = 1;
    t->iss = first;
    peer_rst(t, 0);
    app_release(t);
    script_advance(t, 1100 * MS);
    assert_int_equal(expect_segment(t)->flags, WIRE_SYN | WIRE_ACK);
    t->sport = 2;
    t->iss = second;
    peer_ack(t, 0);
    assert_int_equal(t->accepted, 2);
    script_free(t);
}

/* ---- cookies ---- */

static void c8_cookie_leaves_nothing_behind(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.cookies = true});

    (void)half_open(t);
    assert_int_equal(script_gauges(t).conns, 0);
    script_advance(t, 5 * SECOND);
    expect_nothing(t);
    peer_ack(t, 0);
    assert_int_equal(t->accepted, 1);
    assert_int_equal(counted(t, REASON_TCP_COOKIE_ACCEPTED), 1);
    script_free(t);
}

static void c8_cookies_begin_above_the_threshold(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.cookies_above = 10});

    for (uint16_t port = 1; port <= 15; port++) {
        t->sport = port;
        (void)half_open(t);
    }
    assert_int_equal(script_gauges(t).syn_received, 10);
    assert_int_equal(counted(t, REASON_TCP_COOKIE_SENT), 5);
    script_free(t);
}

static void c8_cookie_keeps_the_window_scale_in_the_timestamp(void **state)
{
    struct script *t =
        script_new(state, &(struct script_options){.cookies = true, .ts = true, .wscale = 7, .window = 10});

    assert_true(half_open(t)->has_wscale);
    peer_ack(t, 0);
    app_send(t, 5000);
    expect_data(t, 0, 1280);
    script_free(t);
}

static void c8_cookie_keeps_sack_in_the_timestamp(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.cookies = true, .ts = true, .sack = true});

    assert_true(half_open(t)->sack_permitted);
    peer_ack(t, 0);
    peer_data(t, 1000, 100);
    assert_int_equal(expect_ack(t, 0)->sack_count, 1);
    script_free(t);
}

static void c8_cookie_keeps_that_nothing_was_offered(void **state)
{
    struct script *t =
        script_new(state, &(struct script_options){.cookies = true, .ts = true, .window = 100});

    struct wire_segment *s = half_open(t);
    assert_false(s->sack_permitted || s->has_wscale);
    peer_ack(t, 0);
    peer_data(t, 1000, 100);
    assert_int_equal(expect_ack(t, 0)->sack_count, 0);
    app_send(t, 5000);
    expect_data(t, 0, 100);
    script_free(t);
}

static void c8_cookie_without_timestamps_offers_neither_scale_nor_sack(void **state)
{
    struct script *t =
        script_new(state, &(struct script_options){.cookies = true, .sack = true, .wscale = 7});

    struct wire_segment *s = half_open(t);
    assert_false(s->sack_permitted || s->has_wscale);
    peer_ack(t, 0);
    assert_int_equal(t->accepted, 1);
    script_free(t);
}

static void cookie_mss_becomes(void **state, uint16_t offered, uint32_t used)
{
    struct script *t = script_new(state, &(struct script_options){.cookies = true, .mss = offered});

    (void)half_open(t);
    peer_ack(t, 0);
    app_send(t, 5000);
    expect_data(t, 0, used);
    script_free(t);
}

static void c8_cookie_keeps_the_mss_of_common_paths(void **state)
{
    cookie_mss_becomes(state, 536, 536);
    cookie_mss_becomes(state, 1220, 1220);
    cookie_mss_becomes(state, 1380, 1380);
    cookie_mss_becomes(state, 1440, 1440);
}

static void c8_cookie_rounds_other_mss_down(void **state)
{
    cookie_mss_becomes(state, 500, 48);
    cookie_mss_becomes(state, 1219, 536);
    cookie_mss_becomes(state, 1439, 1380);
}

static void c8_cookie_timestamp_is_not_ahead_of_the_clock(void **state)
{
    struct script *t =
        script_new(state, &(struct script_options){.cookies = true, .ts = true, .sack = true, .wscale = 14});

    for (uint16_t port = 1; port <= 64; port++) {
        t->sport = port;
        uint32_t first = half_open(t)->tsval;
        peer_ack(t, 0);
        app_close(t);
        uint32_t later = expect_fin(t, 0)->tsval;
        assert_true(later - first < 64);
        app_release(t);
        peer_rst(t, 0);
        script_advance(t, 1 * MS);
    }
    script_free(t);
}

static void c8_cookie_is_no_measurement_of_time(void **state)
{
    /* A round trip of 31 ms too long would show in when the lost segment is repeated. */
    struct script *t = script_new(state, &(struct script_options){.cookies = true, .ts = true});

    (void)half_open(t);
    peer_ack(t, 0);
    app_send(t, 10);
    expect_data(t, 0, 10);
    script_advance(t, 900 * MS);
    expect_nothing(t);
    script_advance(t, 200 * MS);
    expect_data(t, 0, 10);
    script_free(t);
}

static void c8_previous_secret_is_still_accepted(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.cookies = true});

    (void)half_open(t);
    script_advance(t, SECRET_S * SECOND + SECOND);
    peer_ack(t, 0);
    assert_int_equal(t->accepted, 1);
    script_free(t);
}

static void c8_secret_before_the_previous_one_is_not(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.cookies = true});

    (void)half_open(t);
    uint32_t iss = t->iss;
    script_advance(t, SECRET_S * SECOND);
    t->sport++;
    (void)half_open(t);
    script_advance(t, SECRET_S * SECOND);
    t->sport--;
    t->iss = iss;
    peer_ack(t, 0);
    (void)expect_rst(t);
    assert_int_equal(t->accepted, 0);
    script_free(t);
}

static void forged_ack_opens_nothing(struct script *t, struct wire_segment s)
{
    peer_sends(t, s);
    (void)expect_rst(t);
    assert_int_equal(t->accepted, 0);
    assert_int_equal(script_gauges(t).conns, 0);
}

static void c8_changed_cookie_is_refused(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.cookies = true});

    (void)half_open(t);
    for (int bit = 0; bit < 32; bit++) {
        struct wire_segment s = peer_make(t, WIRE_ACK, 0);
        s.ack = t->iss + 1;
        s.ack = ((s.ack - 1) ^ 1u << bit) + 1;
        forged_ack_opens_nothing(t, s);
    }
    script_free(t);
}

static void c8_cookie_with_other_options_in_its_timestamp_is_refused(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.cookies = true, .ts = true, .wscale = 3});

    (void)half_open(t);
    for (int bit = 0; bit < 5; bit++) {
        struct wire_segment s = peer_make(t, WIRE_ACK, 0);
        s.tsecr ^= 1u << bit;
        forged_ack_opens_nothing(t, s);
    }
    script_free(t);
}

static void c8_cookie_of_another_port_or_sequence_number_is_refused(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.cookies = true});
    struct wire_segment s;

    (void)half_open(t);
    s = peer_make(t, WIRE_ACK, 0);
    s.sport = (uint16_t)(t->sport + 1);
    forged_ack_opens_nothing(t, s);
    forged_ack_opens_nothing(t, peer_make(t, WIRE_ACK, 1));
    script_free(t);
}

static void c8_cookies_are_not_tried_when_none_are_out(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.cookies = true});

    (void)half_open(t);
    uint32_t iss = t->iss;
    script_advance(t, 3 * SECRET_S * SECOND);
    t->iss = iss;
    forged_ack_opens_nothing(t, peer_make(t, WIRE_ACK, 0));
    assert_int_equal(counted(t, REASON_TCP_COOKIE_REJECTED), 0);
    script_free(t);
}

static void c8_lost_last_ack_of_a_cookie_is_made_good_by_data(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.cookies = true, .ts = true, .wscale = 3});

    (void)half_open(t);
    peer_data(t, 0, 100);
    app_read(t, 100);
    script_free(t);
}

static void c8_cookie_without_a_record_is_dropped_silently(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.cookies = true, .conns = 1});

    t->sport = 1;
    (void)half_open(t);
    uint32_t first = t->iss;
    t->sport = 2;
    script_handshake(t);
    t->sport = 1;
    t->iss = first;
    peer_ack(t, 0);
    expect_nothing(t);
    assert_int_equal(counted(t, REASON_TCP_ACCEPT_OVERFLOW), 1);
    script_free(t);
}

static void c8_reopened_time_wait_is_remembered_although_others_get_cookies(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.cookies = true});

    script_handshake(t);
    app_close(t);
    t->acked = 1;
    peer_fin(t, 0);
    app_release(t);
    script_drop_all(t);
    uint32_t old = t->iss;
    t->irs += 100000;
    assert_true((int32_t)(half_open(t)->seq - old) > 0);
    assert_int_equal(script_gauges(t).syn_received, 1);
    script_free(t);
}

static void b21_connection_is_looked_up_before_cookies(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.cookies = true});

    script_handshake(t);
    peer_ack(t, 0);
    peer_data(t, 0, 10);
    assert_int_equal(t->accepted, 1);
    assert_int_equal(script_gauges(t).established, 1);
    app_read(t, 10);
    script_free(t);
}

static void c8_megabyte_goes_both_ways_after_a_cookie(void **state)
{
    struct script *t =
        script_new(state, &(struct script_options){.cookies = true, .ts = true, .sack = true, .wscale = 7});

    (void)half_open(t);
    peer_ack(t, 0);
    for (uint32_t at = 0; at < 1 << 20; at += 1024) {
        peer_data(t, at, 1024);
        app_read(t, 1024);
        app_send(t, 1024);
        script_drop_all(t);
        peer_ack(t, at + 1024);
        script_drop_all(t);
    }
    assert_int_equal(t->read, 1 << 20);
    assert_int_equal(t->written, 1 << 20);
    assert_int_equal(script_gauges(t).send_buffers_used, 0);
    assert_int_equal(counted(t, REASON_TCP_RETRANSMITS), 0);
    script_free(t);
}

/* ---- floods ---- */

static void spoof(struct script *t, uint32_t n)
{
    t->theirs.bytes[t->variant->v6 ? 15 : 3] = (uint8_t)(3 + n % 250);
    t->sport = (uint16_t)(1024 + n / 250 % 60000);
    t->irs = n * 2654435761u;
    peer_syn(t);
    script_drop_all(t);
}

static void legitimate(struct script *t, uint16_t port)
{
    t->theirs.bytes[t->variant->v6 ? 15 : 3] = 2;
    t->sport = port;
    t->irs = 77000;
    t->acked = 0;
    script_handshake(t);
    peer_data(t, 0, 100);
    app_read(t, 100);
    app_release(t);
    peer_rst(t, 100);
    script_drop_all(t);
}

/* 100 SYNs a millisecond, a million in all over both families; a client connects every 1000 of them. */
static void c8_flood_leaves_memory_flat_and_everybody_else_connects(void **state)
{
    const struct script_variant *v = *state;
    struct script *t = script_new(state, &(struct script_options){.ts = true, .sack = true, .wscale = 7});
    size_t memory = arena_used(t->arena);
    uint32_t clients = 0;

    for (uint32_t n = 0; n < 500000 && !v->wrap; n++) {
        spoof(t, n);
        if (n % 100 == 0) {
            script_advance(t, 1 * MS);
            script_drop_all(t);
        }
        assert_true(script_gauges(t).conns <= 512);
        if (n % 1000 == 999) {
            legitimate(t, (uint16_t)(20000 + clients));
            clients++;
        }
    }
    assert_int_equal(t->accepted, clients);
    assert_int_equal(arena_used(t->arena), memory);
    for (int i = 0; i < 70; i++) {
        script_advance(t, SECOND);
        script_drop_all(t);
    }
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

static void b7_hundred_thousand_syns_leave_nothing_after_their_last_repetition(void **state)
{
    struct script *t =
        script_new(state, &(struct script_options){.syn_cache = 65535, .cookies_above = 65535});

    for (uint32_t n = 0; n < (t->variant->wrap ? 1000 : 100000); n++) {
        spoof(t, n);
        if (n % 50 == 0) {
            script_advance(t, 1 * MS);
            script_drop_all(t);
        }
    }
    assert_true(script_gauges(t).conns <= 65535);
    for (int i = 0; i < 80 * 500; i++) {
        script_advance(t, 2 * MS);
        script_drop_all(t);
    }
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

/* ---- B5: ISNs over 100 000 connections ---- */

#define ISNS 100000

/* Chi-square of every byte position over 256 values: mean 255, standard deviation 22.6; six of them. */
static void bytes_are_even(const uint32_t *value)
{
    for (int shift = 0; shift < 32; shift += 8) {
        uint32_t seen[256] = {0};
        double chi = 0, expected = ISNS / 256.0;
        for (uint32_t i = 0; i < ISNS; i++)
            seen[value[i] >> shift & 255]++;
        for (int b = 0; b < 256; b++)
            chi += (seen[b] - expected) * (seen[b] - expected) / expected;
        assert_true(chi > 255 - 6 * 22.6 && chi < 255 + 6 * 22.6);
    }
}

static void isns_are_even(void **state, bool cookies)
{
    static uint32_t isn[ISNS], step[ISNS];
    struct script *t = script_new(state, &(struct script_options){.cookies = cookies});

    for (uint32_t n = 0; n < ISNS && !t->variant->wrap; n++) {
        t->theirs.bytes[t->variant->v6 ? 15 : 3] = (uint8_t)(3 + n % 2);
        t->sport = (uint16_t)(1024 + n / 2);
        peer_syn(t);
        isn[n] = expect_segment(t)->seq;
        step[n] = isn[n] - (n == 0 ? 0 : isn[n - 1]);
        peer_rst(t, 0);
        t->now_us += 20;
    }
    if (!t->variant->wrap) {
        /* A cookie's last three bits name the MSS: they are not asked. */
        for (uint32_t n = 0; n < ISNS && cookies; n++) {
            isn[n] = isn[n] >> 3 | isn[n] >> 3 << 29;
            step[n] = step[n] >> 3 | step[n] >> 3 << 29;
        }
        bytes_are_even(isn);
        bytes_are_even(step);
    }
    script_free(t);
}

static void b5_isns_and_their_steps_are_even(void **state)
{
    isns_are_even(state, false);
}

static void b5_cookies_and_their_steps_are_even(void **state)
{
    isns_are_even(state, true);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(c8_half_open_connections_take_no_record),
        T(c8_oldest_half_open_connection_makes_room),
        T(c8_entry_repeated_more_often_is_older),
        T(c8_repetition_carries_the_same_options),
        T(c8_entries_answer_at_most_seven_challenges),
        T(c10_last_ack_without_a_record_is_dropped_and_heard_when_there_is_one),
        T(c8_cookie_leaves_nothing_behind),
        T(c8_cookies_begin_above_the_threshold),
        T(c8_cookie_keeps_the_window_scale_in_the_timestamp),
        T(c8_cookie_keeps_sack_in_the_timestamp),
        T(c8_cookie_keeps_that_nothing_was_offered),
        T(c8_cookie_without_timestamps_offers_neither_scale_nor_sack),
        T(c8_cookie_keeps_the_mss_of_common_paths),
        T(c8_cookie_rounds_other_mss_down),
        T(c8_cookie_timestamp_is_not_ahead_of_the_clock),
        T(c8_cookie_is_no_measurement_of_time),
        T(c8_previous_secret_is_still_accepted),
        T(c8_secret_before_the_previous_one_is_not),
        T(c8_changed_cookie_is_refused),
        T(c8_cookie_with_other_options_in_its_timestamp_is_refused),
        T(c8_cookie_of_another_port_or_sequence_number_is_refused),
        T(c8_cookies_are_not_tried_when_none_are_out),
        T(c8_lost_last_ack_of_a_cookie_is_made_good_by_data),
        T(c8_cookie_without_a_record_is_dropped_silently),
        T(c8_reopened_time_wait_is_remembered_although_others_get_cookies),
        T(b21_connection_is_looked_up_before_cookies),
        T(c8_megabyte_goes_both_ways_after_a_cookie),
        T(c8_flood_leaves_memory_flat_and_everybody_else_connects),
        T(b7_hundred_thousand_syns_leave_nothing_after_their_last_repetition),
        T(b5_isns_and_their_steps_are_even),
        T(b5_cookies_and_their_steps_are_even),
    };
    return SCRIPT_RUN("tcp_flood", tests);
}
