/* How large a packet the path takes: what routers say, what vanishes, and whether it takes more after a while. */
#include "dataplane/net/tcp.h"
#include "tests/sim/tcp_invariants.h"
#include "tests/sim/tcp_script.h"

/* The size of a full segment without timestamps. */
#define FULL(t)    ((t)->variant->v6 ? 1440u : 1460u)
#define HEADERS(t) ((t)->variant->v6 ? 60u : 40u)
#define BASE(t)    (1280u - HEADERS(t))
#define MINUTE     (60 * SECOND)

static struct script *connected(void **state, struct script_options o)
{
    struct script *t = script_new(state, &o);

    script_handshake(t);
    script_drop_all(t);
    return t;
}

static struct script *connected_1000(void **state)
{
    return connected(state, (struct script_options){.mss = 1000});
}

static uint16_t ones_sum(const uint8_t *p, size_t len, uint32_t acc)
{
    for (size_t i = 0; i < len; i++)
        acc += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
    while (acc >> 16 != 0)
        acc = (acc & 0xffff) + (acc >> 16);
    return (uint16_t)~acc;
}

static void store16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* A router says that our segment at stream offset `at` was too big for mtu. */
static void router_says_too_big(struct script *t, uint32_t at, uint16_t mtu)
{
    bool v6 = t->variant->v6;
    uint32_t ip_len = v6 ? 40 : 20;
    struct wire_segment quoted = {.seq = t->iss + 1 + at, .flags = WIRE_ACK, .dport = t->sport};
    static uint8_t inner[200], frame[300];

    /* The quoted packet is one of ours: addresses and ports turned round. */
    (void)peer_frame(t, quoted, inner);
    uint8_t *q = inner + 14;
    memcpy(v6 ? q + 8 : q + 12, t->ours.bytes, v6 ? 16 : 4);
    memcpy(v6 ? q + 24 : q + 16, t->theirs.bytes, v6 ? 16 : 4);
    store16(q + ip_len, SCRIPT_PORT);
    store16(q + ip_len + 2, t->sport);
    /* The outer one: as if from the peer, its TCP header replaced by ICMP and the quotation. */
    uint32_t icmp_len = 8 + ip_len + 20;
    (void)peer_frame(t, peer_make(t, WIRE_ACK, 0), frame);
    uint8_t *ip = frame + 14;
    uint8_t *icmp = ip + ip_len;
    memset(icmp, 0, 8);
    memcpy(icmp + 8, q, ip_len + 20);
    if (v6) {
        store16(ip + 4, icmp_len);
        ip[6] = 58;
        icmp[0] = 2;
        store16(icmp + 6, mtu);
        uint8_t pseudo[40] = {0};
        memcpy(pseudo, ip + 8, 32);
        store16(pseudo + 34, icmp_len);
        pseudo[39] = 58;
        store16(icmp + 2, ones_sum(icmp, icmp_len, (uint16_t)~ones_sum(pseudo, 40, 0)));
    } else {
        store16(ip + 2, ip_len + icmp_len);
        ip[9] = 1;
        store16(ip + 10, 0);
        store16(ip + 10, ones_sum(ip, 20, 0));
        icmp[0] = 3;
        icmp[1] = 4;
        store16(icmp + 6, mtu);
        store16(icmp + 2, ones_sum(icmp, icmp_len, 0));
    }
    peer_sends_frame(t, frame, (uint16_t)(14 + ip_len + icmp_len), 0);
}

static void d17_too_big_makes_the_flight_go_again_in_smaller_segments(void **state)
{
    struct script *t = connected(state, (struct script_options){0});
    uint32_t headers = t->variant->v6 ? 60 : 40;

    app_send(t, FULL(t));
    (void)expect_data(t, 0, FULL(t));
    router_says_too_big(t, 0, 1300);
    (void)expect_data(t, 0, 1300 - headers);
    (void)expect_data(t, 1300 - headers, FULL(t) - (1300 - headers));
    script_free(t);
}

static void d17_too_big_about_nothing_in_flight_is_ignored(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_send(t, FULL(t));
    router_says_too_big(t, FULL(t), 1300);
    peer_ack(t, FULL(t));
    router_says_too_big(t, 0, 1300);
    script_drop_all(t);
    assert_int_equal(counted(t, REASON_TCP_ICMP_IGNORED), 2);
    app_send(t, FULL(t));
    (void)expect_data(t, FULL(t), FULL(t));
    script_free(t);
}

static void d17_too_big_never_goes_below_the_floor(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_send(t, FULL(t));
    (void)expect_data(t, 0, FULL(t));
    router_says_too_big(t, 0, 68);
    (void)expect_data(t, 0, t->variant->v6 ? 1220 : 512);
    script_free(t);
}

static void d17_too_big_never_makes_segments_larger(void **state)
{
    struct script *t = connected_1000(state);

    app_send(t, 1000);
    script_drop_all(t);
    router_says_too_big(t, 0, 1500);
    expect_nothing(t);
    script_free(t);
}

/* ---- black holes ---- */

/* Nothing from `at` on was answered for two timeouts; the repetition that follows the second one is next. */
static void two_timeouts(struct script *t)
{
    uint64_t before = counted(t, REASON_TCP_TIMEOUTS);

    while (counted(t, REASON_TCP_TIMEOUTS) < before + 2) {
        script_drop_all(t);
        script_advance(t, 10 * MS);
    }
    tcp_invariants_check(t->net);
}

static void d17_full_segment_that_vanishes_twice_goes_in_smaller_ones(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    app_send(t, 3 * FULL(t));
    two_timeouts(t);
    assert_int_equal(counted(t, REASON_TCP_BLACK_HOLE), 1);
    (void)expect_data(t, 0, BASE(t));
    peer_ack(t, BASE(t));
    (void)expect_data(t, BASE(t), FULL(t) - BASE(t));
    (void)expect_data(t, FULL(t), BASE(t));
    script_free(t);
}

static void d17_without_sack_likewise(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_send(t, 3 * FULL(t));
    two_timeouts(t);
    (void)expect_data(t, 0, BASE(t));
    peer_ack(t, BASE(t));
    (void)expect_data(t, BASE(t), BASE(t));
    script_free(t);
}

static void d17_timestamps_come_off_the_smaller_segments_too(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true, .ts = true});

    app_send(t, 3 * FULL(t));
    two_timeouts(t);
    (void)expect_data(t, 0, BASE(t) - 12);
    script_free(t);
}

static void d17_small_segment_that_vanishes_tells_nothing(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    app_send(t, BASE(t) - 40);
    two_timeouts(t);
    assert_int_equal(counted(t, REASON_TCP_BLACK_HOLE), 0);
    (void)expect_data(t, 0, BASE(t) - 40);
    script_free(t);
}

static void d17_one_timeout_tells_nothing(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    app_send(t, 3 * FULL(t));
    script_drop_all(t);
    while (counted(t, REASON_TCP_TIMEOUTS) == 0)
        script_advance(t, 10 * MS);
    while (script_pending(t) > 1)
        (void)expect_segment(t);
    (void)expect_data(t, 0, FULL(t));
    script_free(t);
}

static void d17_what_vanishes_at_the_base_size_stays(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    app_send(t, 3 * FULL(t));
    two_timeouts(t);
    script_drop_all(t);
    two_timeouts(t);
    (void)expect_data(t, 0, BASE(t));
    assert_int_equal(counted(t, REASON_TCP_BLACK_HOLE), 1);
    script_free(t);
}

/* The path had only stood still. */
static void standstill(void **state, bool sack)
{
    struct script *t = connected(state, (struct script_options){.sack = sack, .ts = true});
    uint32_t full = FULL(t) - 12;

    app_send(t, 3 * full);
    uint32_t echo = t->ts_echo;
    two_timeouts(t);
    (void)expect_data(t, 0, BASE(t) - 12);
    for (uint32_t i = 1; i <= 3; i++) {
        t->ts_echo = echo;
        peer_ack(t, i * full);
    }
    script_drop_all(t);
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 1);
    app_send(t, full);
    (void)expect_data(t, 3 * full, full);
    script_free(t);
}

static void d17_standstill_leaves_segments_as_they_were(void **state)
{
    standstill(state, true);
}

static void d17_standstill_leaves_segments_as_they_were_without_sack(void **state)
{
    standstill(state, false);
}

/* ---- upwards ---- */

/* Segments have the base size, and nothing is in flight: `*at` is where the stream continues. */
static struct script *lowered(void **state, uint32_t *at)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    app_send(t, FULL(t));
    script_drop_all(t);
    router_says_too_big(t, 0, 1280);
    peer_ack(t, FULL(t));
    script_drop_all(t);
    *at = FULL(t);
    return t;
}

static void d17_larger_segment_is_tried_after_ten_minutes(void **state)
{
    uint32_t at;
    struct script *t = lowered(state, &at);

    script_advance(t, 9 * MINUTE);
    app_send(t, 3000);
    (void)expect_data(t, at, BASE(t));
    script_drop_all(t);
    at += 3000;
    peer_ack(t, at);
    script_advance(t, 2 * MINUTE);
    app_send(t, 6000);
    (void)expect_data(t, at, FULL(t)); /* one, alone: the others stay as they are */
    (void)expect_data(t, at + FULL(t), BASE(t));
    script_drop_all(t);
    peer_ack(t, at + 6000);
    assert_int_equal(counted(t, REASON_TCP_MTU_RAISED), 1);
    at += 6000;
    app_send(t, 3000);
    (void)expect_data(t, at, FULL(t));
    (void)expect_data(t, at + FULL(t), FULL(t));
    script_free(t);
}

static void d17_little_data_tries_nothing(void **state)
{
    uint32_t at;
    struct script *t = lowered(state, &at);

    script_advance(t, 11 * MINUTE);
    app_send(t, FULL(t) - 1);
    (void)expect_data(t, at, BASE(t));
    script_free(t);
}

static void reports(struct script *t, uint32_t ack, uint32_t from, uint32_t to)
{
    t->acked = ack;
    struct wire_segment s = peer_make(t, WIRE_ACK, 0);

    s.sack[s.sack_count++] = (struct wire_sack){t->iss + 1 + from, t->iss + 1 + to};
    peer_sends(t, s);
    tcp_invariants_check(t->net);
}

static void d17_larger_segment_that_was_lost_goes_in_smaller_ones_and_cuts_nothing(void **state)
{
    uint32_t at;
    struct script *t = lowered(state, &at);
    uint32_t cwnd = t->conn->cwnd;

    script_advance(t, 11 * MINUTE);
    app_send(t, FULL(t) + 4 * BASE(t));
    script_drop_all(t);
    for (uint32_t i = 1; i <= 4; i++)
        reports(t, at, at + FULL(t), at + FULL(t) + i * BASE(t));
    (void)expect_data(t, at, BASE(t));
    assert_in_range(t->conn->cwnd, 10 * BASE(t), cwnd); /* no burst of more than ten */
    assert_true(t->conn->ssthresh >= cwnd);
    assert_int_equal(counted(t, REASON_TCP_TIMEOUTS), 0);
    assert_int_equal(counted(t, REASON_TCP_MTU_RAISED), 0);
    script_free(t);
}

static void d17_lone_larger_segment_that_was_lost_goes_in_smaller_ones(void **state)
{
    uint32_t at;
    struct script *t = lowered(state, &at);

    script_advance(t, 11 * MINUTE);
    app_send(t, FULL(t));
    (void)expect_data(t, at, FULL(t));
    script_advance(t, 100 * MS);
    (void)expect_data(t, at, BASE(t)); /* instead of the tail's probe */
    script_drop_all(t);
    peer_ack(t, at + FULL(t));
    assert_int_equal(counted(t, REASON_TCP_MTU_RAISED), 0);
    script_free(t);
}

/* The path takes 1400: half way, then half way again, ten minutes apart. */
static void d17_search_closes_in_on_what_the_path_takes(void **state)
{
    uint32_t at, tries = 0;
    struct script *t = lowered(state, &at);
    uint32_t takes = 1400 - HEADERS(t);

    for (int round = 0; round < 8 && t->conn->mss < takes - 32; round++) {
        script_advance(t, 11 * MINUTE);
        app_send(t, FULL(t));
        struct wire_segment *s = expect_segment(t);
        tries += s->data.len > t->conn->mss;
        if (s->data.len > takes)
            script_advance(t, 100 * MS);
        script_drop_all(t);
        at += FULL(t);
        peer_ack(t, at);
        assert_true(t->conn->mss <= takes);
    }
    assert_in_range(t->conn->mss, takes - 32, takes);
    assert_in_range(tries, 2, 6);
    script_free(t);
}

static void d17_without_sack_a_lost_larger_segment_raises_nothing(void **state)
{
    struct script *t = connected(state, (struct script_options){0});

    app_send(t, FULL(t));
    script_drop_all(t);
    router_says_too_big(t, 0, 1280);
    peer_ack(t, FULL(t));
    script_advance(t, 11 * MINUTE);
    app_send(t, FULL(t));
    script_drop_all(t);
    script_advance(t, 300 * MS);
    (void)expect_data(t, FULL(t), BASE(t));
    peer_ack(t, FULL(t) + BASE(t));
    peer_ack(t, 2 * FULL(t));
    assert_int_equal(counted(t, REASON_TCP_MTU_RAISED), 0);
    assert_int_equal(t->conn->mss, BASE(t));
    script_free(t);
}

/* ---- forged ---- */

static void d17_too_big_about_a_segment_that_fits_is_ignored(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    app_send(t, 400);
    router_says_too_big(t, 0, 1300);
    assert_int_equal(counted(t, REASON_TCP_ICMP_IGNORED), 1);
    assert_int_equal(t->conn->mss, FULL(t));
    script_free(t);
}

static void d17_too_big_about_the_middle_of_a_segment_is_ignored(void **state)
{
    struct script *t = connected(state, (struct script_options){.sack = true});

    app_send(t, 3 * FULL(t));
    router_says_too_big(t, FULL(t) + 1, 1300);
    assert_int_equal(counted(t, REASON_TCP_ICMP_IGNORED), 1);
    router_says_too_big(t, FULL(t), 1300);
    assert_int_equal(counted(t, REASON_TCP_MTU_LOWERED), 1);
    script_free(t);
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
    const struct CMUnitTest tests[] = {
        T(d17_too_big_makes_the_flight_go_again_in_smaller_segments),
        T(d17_too_big_about_nothing_in_flight_is_ignored),
        T(d17_too_big_never_goes_below_the_floor),
        T(d17_too_big_never_makes_segments_larger),
        T(d17_full_segment_that_vanishes_twice_goes_in_smaller_ones),
        T(d17_without_sack_likewise),
        T(d17_timestamps_come_off_the_smaller_segments_too),
        T(d17_small_segment_that_vanishes_tells_nothing),
        T(d17_one_timeout_tells_nothing),
        T(d17_what_vanishes_at_the_base_size_stays),
        T(d17_standstill_leaves_segments_as_they_were),
        T(d17_standstill_leaves_segments_as_they_were_without_sack),
        T(d17_larger_segment_is_tried_after_ten_minutes),
        T(d17_little_data_tries_nothing),
        T(d17_larger_segment_that_was_lost_goes_in_smaller_ones_and_cuts_nothing),
        T(d17_lone_larger_segment_that_was_lost_goes_in_smaller_ones),
        T(d17_search_closes_in_on_what_the_path_takes),
        T(d17_without_sack_a_lost_larger_segment_raises_nothing),
        T(d17_too_big_about_a_segment_that_fits_is_ignored),
        T(d17_too_big_about_the_middle_of_a_segment_is_ignored),
    };
    return SCRIPT_RUN("tcp_pmtu", tests);
}
