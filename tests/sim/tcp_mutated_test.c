/* Valid segments, damaged: 50 000 in each of four variants, 10^5 per family.  A connection is brought to one of
 * several moments, then meets a handful of segments that would have been right but for what was done to them;
 * bits, fields, options, lengths, numbers.  Whatever comes, the invariants of the records hold, two connections
 * beside it do not notice, whatever is answered is well-formed, and in the end nothing is left over.  A failing
 * round is printed; ROUND=n in the environment runs that one alone, ROUNDS=n so many of each moment. */
#include "dataplane/net/tcp.h"
#include "tests/sim/snapshot.h"
#include "tests/sim/tcp_invariants.h"
#include "tests/sim/tcp_script.h"

#include <stdio.h>
#include <stdlib.h>

#define FRAMES      8 /* in a round */
#define FRAMES_EACH 50000
#define BYSTANDERS  2
#define L4          (t->variant->v6 ? 54u : 34u)

/* What the target was doing when the damage began. */
enum moment { HALF_OPEN, IDLE, BUSY, GAP, SHUT, FULL, FIN_WAIT, CLOSE_WAIT, TIME_WAIT, MOMENTS };

struct target {
    struct script *t;
    struct net_conn *beside[BYSTANDERS];
    struct net_conn before[BYSTANDERS];
    uint64_t random;
    uint8_t last[WIRE_FRAME_MAX];
    uint16_t last_len;
};

static struct target g;
static uint64_t round_running; /* 0: none */

static uint32_t pick(uint32_t below)
{
    g.random ^= g.random << 13;
    g.random ^= g.random >> 7;
    g.random ^= g.random << 17;
    return (uint32_t)((g.random * 0x2545f4914f6cdd1dULL) >> 32) % below;
}

/* ---- moments ---- */

/* On ports that no single mutation of the target's reaches. */
static void bystanders_begin(struct script *t)
{
    uint16_t port = t->sport;

    for (int i = 0; i < BYSTANDERS; i++) {
        t->sport = (uint16_t)(0x5a5a ^ 0xffff * i);
        script_handshake(t);
        peer_data(t, 0, 100);
        app_read(t, 100);
        app_send(t, 200);
        script_advance(t, 50 * MS);
        peer_ack(t, 200);
        script_drop_all(t);
        g.beside[i] = t->conn;
    }
    t->sport = port;
    t->conn = NULL;
    t->acked = 0;
}

static void gap(struct script *t)
{
    peer_data(t, 1000, 500);
    peer_data(t, 3000, 500);
}

static void target_begin(struct script *t, enum moment m)
{
    if (m == HALF_OPEN) {
        peer_syn(t);
        t->iss = expect_segment(t)->seq;
        return;
    }
    script_handshake(t);
    if (m == GAP || m == BUSY)
        gap(t);
    if (m == BUSY || m == FIN_WAIT || m == CLOSE_WAIT)
        app_send(t, 8000);
    if (m == FIN_WAIT || m == TIME_WAIT)
        app_close(t);
    if (m == TIME_WAIT)
        t->acked = 1;
    if (m == CLOSE_WAIT || m == TIME_WAIT)
        peer_fin(t, 0);
    if (m == SHUT)
        for (uint32_t at = 0; at < 8192; at += 1024)
            peer_data(t, at, 1024);
    if (m == FULL) {
        t->window = 0;
        peer_ack(t, 0);
        app_send(t, 3000);
    }
}

static void damage_begin(void **state, enum moment m)
{
    const struct script_options o = {.recv_buffer = 8192,
                                     .send_buffer = 8192,
                                     .recv_buffers = 4,
                                     .send_buffers = 4,
                                     .conns = 6,
                                     .syn_cache = 8,
                                     .sack = m % 2 == 0,
                                     .ts = m % 3 == 0,
                                     .wscale = m % 4 == 1 ? 2 : 0};
    struct script *t = script_new(state, &o);

    g.t = t;
    bystanders_begin(t);
    target_begin(t, m);
    for (int i = 0; i < BYSTANDERS; i++)
        g.before[i] = *g.beside[i];
}

/* ---- a valid segment, and what is done to it ---- */

static uint16_t valid_frame(struct script *t, uint8_t *bytes)
{
    static const uint8_t flags[] = {
        WIRE_ACK, WIRE_ACK | WIRE_PSH, WIRE_ACK, WIRE_FIN | WIRE_ACK, WIRE_RST, WIRE_SYN, WIRE_ACK};
    static const uint8_t data[1400];
    struct wire_segment s = peer_make(t, flags[pick(sizeof flags)], pick(4) == 0 ? pick(9000) : pick(2));

    s.ack += pick(3) == 0 ? pick(9000) : 0;
    if (s.flags == WIRE_SYN)
        s.seq = t->irs;
    if (pick(2) == 0)
        s.data = span_of(data, pick(2) == 0 ? pick(20) : pick(1400));
    if (t->o.sack && pick(3) == 0) {
        s.sack_count = (uint8_t)(1 + pick(3));
        for (int i = 0; i < s.sack_count; i++) {
            s.sack[i].start = t->iss + 1 + pick(9000);
            s.sack[i].end = s.sack[i].start + pick(3000);
        }
    }
    return peer_frame(t, s, bytes);
}

static void put_at(uint8_t *p, uint32_t v, int bytes)
{
    while (bytes-- > 0) {
        p[bytes] = (uint8_t)v;
        v >>= 8;
    }
}

static uint32_t odd_number(void)
{
    static const uint32_t odd[] = {0,      1,      0x7f,       0x80,       0xff,      0x7fff,
                                   0x8000, 0xffff, 0x7fffffff, 0x80000000, UINT32_MAX};

    return pick(2) == 0 ? pick(UINT32_MAX) : odd[pick(sizeof odd / sizeof odd[0])];
}

static uint32_t nudge(void)
{
    static const uint32_t odd[] = {1, 2, 8191, 8192, 8193, 65535, 65536, 0x7fffffff, 0x80000000};

    return (pick(2) == 0 ? odd[pick(sizeof odd / sizeof odd[0])] : pick(20000)) *
           (pick(2) == 0 ? 1 : UINT32_MAX);
}

static void add_at(uint8_t *p, uint32_t by)
{
    put_at(p, ((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]) + by, 4);
}

/* Kinds and lengths that look like options, over what is there. */
static void garble_options(uint8_t *tcp, uint32_t room)
{
    static const uint8_t kinds[] = {0, 1, 2, 3, 4, 5, 8, 19, 29, 30, 34, 253};
    uint32_t at = 20;

    tcp[12] = (uint8_t)((5 + pick(11)) << 4);
    while (at + 2 < room && at < 60) {
        uint32_t len = pick(3) == 0 ? pick(256) : 2 + pick(10);
        tcp[at] = kinds[pick(sizeof kinds)];
        tcp[at + 1] = (uint8_t)len;
        at += len < 2 ? 2 : len;
    }
}

/* f: WIRE_FRAME_MAX bytes; returns the frame's length. */
static uint32_t damage(const struct script *t, uint8_t *f, uint32_t len)
{
    uint8_t *tcp = f + L4;
    uint32_t at;

    if (len < L4 + 20)
        return len;
    switch (pick(13)) {
    case 0:
        f[14 + pick(len - 14)] ^= (uint8_t)(1 << pick(8));
        return len;
    case 1:
        f[14 + pick(len - 14)] = (uint8_t)odd_number();
        return len;
    case 2:
        at = 14 + pick(L4 + 6);
        put_at(f + at, odd_number(), 2);
        return len;
    case 3:
        return pick(len);
    case 4:
        at = 1 + pick(40);
        for (uint32_t i = 0; i < at; i++)
            f[len + i] = (uint8_t)pick(256);
        return len + at;
    case 5:
        tcp[12] = (uint8_t)(pick(16) << 4);
        return len;
    case 6:
        garble_options(tcp, len - L4);
        return len;
    case 7:
        add_at(tcp + 4, nudge());
        return len;
    case 8:
        add_at(tcp + 8, nudge());
        return len;
    case 9:
        tcp[13] = (uint8_t)pick(256);
        return len;
    case 10:
        put_at(tcp + 14, odd_number(), 2);
        return len;
    case 11: /* the length that IP tells */
        put_at(f + (t->variant->v6 ? 18 : 16), pick(2) == 0 ? odd_number() : pick(len), 2);
        return len;
    default:
        memcpy(f, g.last, g.last_len);
        return g.last_len;
    }
}

/* ---- a round ---- */

/* In a block of exactly its size, so that a sanitizer sees a read beyond it.  Mostly the device vouches for the
 * sums, otherwise nothing would come far. */
static void give(struct script *t, const uint8_t *bytes, uint32_t len)
{
    uint8_t *exact = malloc(len != 0 ? len : 1);
    uint16_t flags = pick(8) == 0 ? 0 : FRAME_RX_IP4_CSUM_GOOD | FRAME_RX_L4_CSUM_GOOD;

    memcpy(exact, bytes, len);
    peer_sends_frame(t, exact, (uint16_t)len, flags);
    free(exact);
}

static void user_does_something(struct script *t)
{
    static const uint8_t some[700];

    if (t->conn == NULL)
        return;
    if ((app_events(t) & NET_EVENT_CLOSED) != 0) {
        app_release(t);
        return;
    }
    if (pick(4) == 0)
        net_consume(t->conn, net_peek(t->conn).len, t->now_us);
    if (pick(4) == 0)
        assert_true(net_send(t->conn, span_of(some, pick(sizeof some)), t->now_us) <= sizeof some);
    script_turn(t);
}

static void round_frames(struct script *t)
{
    static uint8_t bytes[2 * WIRE_FRAME_MAX];

    for (int i = 0; i < FRAMES; i++) {
        uint32_t len = valid_frame(t, bytes);
        for (uint32_t n = pick(3) + 1; n > 0; n--)
            len = damage(t, bytes, len);
        memcpy(g.last, bytes, len);
        g.last_len = (uint16_t)len;
        give(t, bytes, len);
        user_does_something(t);
        tcp_invariants_check(t->net);
        script_drop_all(t);
        if (pick(8) == 0)
            script_advance(t, pick(300) * MS);
    }
    for (int i = 0; i < BYSTANDERS; i++) {
        assert_memory_equal(g.beside[i], &g.before[i], offsetof(struct net_conn, send_ring));
        assert_int_equal(g.beside[i]->last_rx_us, g.before[i].last_rx_us);
        assert_int_equal(g.beside[i]->challenge_tokens, g.before[i].challenge_tokens);
    }
}

/* Everybody lets go; half of the targets in order, as far as they still can. */
static void round_end(struct script *t)
{
    struct net_gauges left;

    for (int i = 0; i < BYSTANDERS; i++) {
        net_abort(g.beside[i], t->now_us);
        net_release(g.beside[i], t->now_us);
    }
    if (t->conn != NULL && pick(2) == 0)
        net_close(t->conn, t->now_us);
    if (t->conn != NULL)
        net_release(t->conn, t->now_us);
    t->conn = NULL;
    script_turn(t);
    script_drop_all(t);
    for (int i = 0; i < 100; i++) {
        script_advance(t, 10 * SECOND);
        script_drop_all(t);
        if (script_gauges(t).conns == 0)
            break;
    }
    left = script_gauges(t);
    assert_int_equal(left.conns, 0);
    assert_int_equal(left.recv_buffers_used, 0);
    assert_int_equal(left.send_buffers_used, 0);
    tcp_invariants_check_end(t->net);
}

static int teardown(void **state)
{
    (void)state;
    if (round_running != 0)
        fprintf(stderr, "# failed with ROUND=%llu\n", (unsigned long long)round_running);
    round_running = 0;
    return 0;
}

static void rounds(void **state, enum moment m)
{
    const char *only = getenv("ROUND"), *many = getenv("ROUNDS");
    uint64_t first = only != NULL ? strtoull(only, NULL, 10) : 1;
    uint64_t last = only != NULL   ? first
                    : many != NULL ? strtoull(many, NULL, 10)
                                   : (FRAMES_EACH + FRAMES * MOMENTS - 1) / (FRAMES * MOMENTS);

    damage_begin(state, m);
    struct snapshot *snap = snapshot_take(g.t);
    for (uint64_t r = first; r <= last; r++) {
        round_running = r;
        snapshot_restore(snap);
        g.random = (r * MOMENTS + m + 1) * 0x9e3779b97f4a7c15ULL;
        g.last_len = 0;
        for (int i = 0; i < 8; i++)
            (void)pick(2);
        round_frames(g.t);
        round_end(g.t);
    }
    round_running = 0;
    snapshot_free(snap);
    script_free(g.t);
}

#define AFTER(name, m)                                                                                       \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        rounds(state, m);                                                                                    \
    }

AFTER(b30_damaged_segments_harm_nobody_beside_a_half_open_connection, HALF_OPEN)
AFTER(b30_damaged_segments_harm_nobody_beside_an_idle_connection, IDLE)
AFTER(b30_damaged_segments_harm_nobody_while_data_flies_both_ways, BUSY)
AFTER(b30_damaged_segments_harm_nobody_beyond_a_gap, GAP)
AFTER(b30_damaged_segments_harm_nobody_while_our_window_is_shut, SHUT)
AFTER(b30_damaged_segments_harm_nobody_while_the_peers_window_is_shut, FULL)
AFTER(b30_damaged_segments_harm_nobody_in_fin_wait, FIN_WAIT)
AFTER(b30_damaged_segments_harm_nobody_in_close_wait, CLOSE_WAIT)
AFTER(b30_damaged_segments_harm_nobody_in_time_wait, TIME_WAIT)

#define T(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(b30_damaged_segments_harm_nobody_beside_a_half_open_connection),
        T(b30_damaged_segments_harm_nobody_beside_an_idle_connection),
        T(b30_damaged_segments_harm_nobody_while_data_flies_both_ways),
        T(b30_damaged_segments_harm_nobody_beyond_a_gap),
        T(b30_damaged_segments_harm_nobody_while_our_window_is_shut),
        T(b30_damaged_segments_harm_nobody_while_the_peers_window_is_shut),
        T(b30_damaged_segments_harm_nobody_in_fin_wait),
        T(b30_damaged_segments_harm_nobody_in_close_wait),
        T(b30_damaged_segments_harm_nobody_in_time_wait),
    };
    return SCRIPT_RUN("tcp_mutated", tests);
}
