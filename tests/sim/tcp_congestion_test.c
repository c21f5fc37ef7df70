/* CUBIC against the formulas of RFC 9438 computed here in floating point, ACK by ACK: loss, short round trips,
 * timeouts, and a user who writes little. */
#include "dataplane/net/tcp.h"
#include "tests/sim/tcp_invariants.h"
#include "tests/sim/tcp_script.h"

#include <math.h>

#define SEG 1000u

/* Windows in segments, times in seconds. */
struct model {
    double cwnd, ssthresh, w_max, w_prior, w_est, k, epoch, seen, rtt;
    bool stage;
};

struct run {
    struct script *t;
    struct model m;
    uint64_t rtt_us;
    uint32_t acked, written;
    bool limited; /* the flight filled cwnd when it was last added to */
};

static double seconds(const struct run *r)
{
    return (double)r->t->now_us / 1e6;
}

static const struct net_conn *conn_of(const struct run *r)
{
    return r->t->conn;
}

static double cwnd_of(const struct run *r)
{
    return (double)conn_of(r)->cwnd / SEG;
}

/* ---- RFC 9438 ---- */

static void model_pause(struct model *m, double now)
{
    if (m->stage)
        m->epoch += now - m->seen;
    m->seen = now;
}

static void model_loss(struct model *m, double flight)
{
    m->w_max = flight < m->w_max ? flight * (1 + 0.7) / 2 : flight;
    m->w_prior = flight;
    m->ssthresh = fmax(flight * 0.7, 2);
    m->stage = false;
}

static void model_stage(struct model *m, double now)
{
    m->stage = true;
    m->epoch = now;
    m->w_est = m->cwnd;
    m->k = m->cwnd < m->w_max ? cbrt((m->w_max - m->cwnd) / 0.4) : 0;
    m->w_max = fmax(m->w_max, m->cwnd);
}

static void model_ack(struct model *m, double now, bool limited)
{
    double t, target;

    if (!limited) {
        model_pause(m, now);
        return;
    }
    m->seen = now;
    if (m->cwnd < m->ssthresh) {
        m->cwnd += 1;
        return;
    }
    if (!m->stage)
        model_stage(m, now);
    t = now - m->epoch;
    m->w_est += (m->w_est < m->w_prior ? 3 * (1 - 0.7) / (1 + 0.7) : 1) / m->cwnd;
    if (0.4 * pow(t - m->k, 3) + m->w_max < m->w_est) {
        m->cwnd = fmax(m->cwnd, m->w_est);
        return;
    }
    target = fmin(0.4 * pow(t + m->rtt - m->k, 3) + m->w_max, 1.5 * m->cwnd);
    m->cwnd += fmax(0, (target - m->cwnd) / m->cwnd);
}

/* ---- the connection ---- */

static struct run *run_new(void **state, uint64_t rtt_us)
{
    static struct run r;

    r = (struct run){.rtt_us = rtt_us};
    r.t = script_new(
        state, &(struct script_options){.mss = SEG, .sack = true, .wscale = 7, .send_buffer = 1u << 20});
    script_handshake(r.t);
    script_drop_all(r.t);
    r.m = (struct model){.cwnd = 10, .ssthresh = INFINITY, .rtt = (double)rtt_us / 1e6};
    return &r;
}

static void note_limited(struct run *r)
{
    double cwnd = floor(cwnd_of(r)) * SEG;
    double queued = r->written - r->acked;

    r->limited = fmin(queued, cwnd) + SEG > conn_of(r)->cwnd;
}

static void user_writes(struct run *r, uint32_t segments)
{
    if (r->written == r->acked)
        model_pause(&r->m, seconds(r));
    app_send(r->t, segments * SEG);
    r->written += segments * SEG;
    script_drop_all(r->t);
    note_limited(r);
}

static void check(const struct run *r)
{
    double off = fabs(cwnd_of(r) - r->m.cwnd);

    if (off > 1 + r->m.cwnd / 100)
        fail_msg("at %f s: cwnd is %f segments and should be %f", seconds(r), cwnd_of(r), r->m.cwnd);
}

/* All that is in flight is acknowledged, segment by segment, a round trip after it left; with `fill` the user
 * keeps writing. */
static void round_trip(struct run *r, bool fill)
{
    uint32_t flight = (conn_of(r)->snd_nxt - conn_of(r)->snd_una) / SEG;

    script_advance(r->t, r->rtt_us);
    while (flight-- > 0) {
        r->acked += SEG;
        peer_ack(r->t, r->acked);
        model_ack(&r->m, seconds(r), r->limited);
        script_drop_all(r->t);
        note_limited(r);
        check(r);
        if (fill && r->written - r->acked < 600 * SEG)
            user_writes(r, 1);
    }
    tcp_invariants_check(r->t->net);
}

static void round_trips(struct run *r, uint32_t n)
{
    while (n-- > 0)
        round_trip(r, true);
}

static void reports(struct run *r, uint32_t upto)
{
    struct wire_segment s = peer_make(r->t, WIRE_ACK, 0);

    s.sack[s.sack_count++] = (struct wire_sack){r->t->iss + 1 + r->acked + SEG, r->t->iss + 1 + upto};
    peer_sends(r->t, s);
    script_drop_all(r->t);
}

/* The first segment of the flight is lost, and repaired a round trip later. */
static void loss(struct run *r)
{
    uint32_t flight = (conn_of(r)->snd_nxt - conn_of(r)->snd_una) / SEG;
    uint32_t end = r->acked + flight * SEG;

    script_advance(r->t, r->rtt_us);
    model_loss(&r->m, fmin(flight, cwnd_of(r)));
    for (uint32_t upto = r->acked + 2 * SEG; upto <= end; upto += SEG)
        reports(r, upto);
    end = conn_of(r)->recover - r->t->iss - 1;
    script_advance(r->t, r->rtt_us);
    r->acked = end;
    peer_ack(r->t, end);
    script_drop_all(r->t);
    assert_true(fabs(conn_of(r)->ssthresh / (double)SEG - r->m.ssthresh) < 1);
    r->m.ssthresh = (double)conn_of(r)->ssthresh / SEG;
    assert_true(conn_of(r)->cwnd <= conn_of(r)->ssthresh);
    r->m.cwnd = cwnd_of(r);
    note_limited(r);
}

/* Slow start until the flight is that of so many segments. */
static struct run *run_to(void **state, uint64_t rtt_us, uint32_t segments)
{
    struct run *r = run_new(state, rtt_us);

    user_writes(r, 600);
    while (cwnd_of(r) < segments)
        round_trip(r, true);
    return r;
}

static void d6_growth_after_a_loss_follows_the_cubic_curve(void **state)
{
    struct run *r = run_to(state, 100 * MS, 80);
    double before = cwnd_of(r);

    loss(r);
    round_trips(r, 30); /* concave up to w_max */
    assert_true(cwnd_of(r) > 0.9 * before && cwnd_of(r) < before);
    round_trips(r, 40); /* beyond it, convex */
    assert_true(cwnd_of(r) > 1.05 * before);
    script_free(r->t);
}

static void d6_short_round_trips_grow_like_reno(void **state)
{
    struct run *r = run_to(state, 2 * MS, 40);
    double begun;

    loss(r);
    while (r->m.cwnd < r->m.ssthresh)
        round_trip(r, true);
    begun = cwnd_of(r);
    round_trips(r, 20);
    assert_true(fabs(cwnd_of(r) - begun - 20 * 9.0 / 17) < 1.5);
    script_free(r->t);
}

static void d6_second_loss_below_the_first_gives_room_to_others(void **state)
{
    struct run *r = run_to(state, 100 * MS, 80);
    uint32_t flight;

    loss(r);
    round_trips(r, 6);
    flight = conn_of(r)->snd_nxt - conn_of(r)->snd_una;
    loss(r);
    assert_in_range(conn_of(r)->cubic.w_max, flight / 100 * 85, (flight + SEG) / 100 * 85);
    round_trips(r, 40);
    script_free(r->t);
}

static void d6_clock_stands_still_while_the_user_writes_little(void **state)
{
    struct run *r = run_to(state, 100 * MS, 80);
    double before;

    loss(r);
    round_trips(r, 8);
    while (r->written != r->acked)
        round_trip(r, false);
    before = cwnd_of(r);
    for (int i = 0; i < 100; i++) {
        user_writes(r, 1);
        round_trip(r, false);
    }
    assert_true(cwnd_of(r) == before);
    user_writes(r, 600);
    round_trips(r, 20); /* ten seconds on, the curve would be 150 segments higher */
    script_free(r->t);
}

static void d6_after_a_timeout_the_curve_begins_where_slow_start_ends(void **state)
{
    struct run *r = run_to(state, 100 * MS, 80);

    script_advance(r->t, 2 * SECOND); /* everything is lost, also the probe */
    script_drop_all(r->t);
    assert_true(counted(r->t, REASON_TCP_TIMEOUTS) > 0);
    assert_int_equal(conn_of(r)->cwnd, SEG);
    r->acked = conn_of(r)->snd_max - r->t->iss - 1;
    peer_ack(r->t, r->acked);
    script_drop_all(r->t);
    r->m.ssthresh = (double)conn_of(r)->ssthresh / SEG;
    r->m.cwnd = cwnd_of(r);
    r->m.w_max = 0;
    r->m.w_prior = r->m.ssthresh / 0.7;
    note_limited(r);
    while (r->m.cwnd < r->m.ssthresh)
        round_trip(r, true);
    round_trips(r, 20);
    script_free(r->t);
}

static void d9_slow_start_after_a_pause_leads_back_to_where_cwnd_was(void **state)
{
    struct run *r = run_to(state, 100 * MS, 80);
    uint32_t before = conn_of(r)->cwnd;

    while (r->written != r->acked)
        round_trip(r, false);
    before = conn_of(r)->cwnd > before ? conn_of(r)->cwnd : before;
    script_advance(r->t, 10 * SECOND);
    app_send(r->t, 600 * SEG);
    assert_int_equal(script_pending(r->t), 10);
    assert_int_equal(conn_of(r)->ssthresh, UINT32_MAX); /* nothing was ever lost */
    script_free(r->t);
}

static void d9_pause_in_avoidance_keeps_three_quarters_for_slow_start(void **state)
{
    struct run *r = run_to(state, 100 * MS, 80);
    uint32_t before;

    loss(r);
    round_trips(r, 40);
    while (r->written != r->acked)
        round_trip(r, false);
    before = conn_of(r)->cwnd;
    script_advance(r->t, 10 * SECOND);
    app_send(r->t, 600 * SEG);
    assert_int_equal(script_pending(r->t), 10);
    assert_int_equal(conn_of(r)->ssthresh, before - before / 4);
    script_free(r->t);
}

/* Whichever way it goes out: one segment is the whole flight. */
static void d9_pause_counts_for_a_single_segment_too(void **state)
{
    struct script *t = script_new(
        state, &(struct script_options){.mss = SEG + 12, .ts = true, .sack = true, .send_buffer = 1u << 17});
    uint32_t acked = 0, grown;

    script_handshake(t);
    app_send(t, 100 * SEG);
    while (acked < 100 * SEG) {
        script_advance(t, 10 * MS);
        for (uint32_t flight = t->conn->snd_nxt - t->conn->snd_una; flight != 0; flight -= SEG)
            peer_ack(t, acked += SEG);
    }
    script_drop_all(t);
    grown = t->conn->cwnd;
    assert_true(grown > 20 * SEG);
    script_advance(t, t->conn->last_send_us + t->conn->rto_us - t->now_us);
    app_send(t, SEG);
    (void)expect_data(t, acked, SEG);
    assert_int_equal(t->conn->cwnd, grown);
    script_advance(t, 10 * MS);
    peer_ack(t, acked += SEG);
    script_advance(t, t->conn->last_send_us + t->conn->rto_us + 1 - t->now_us);
    app_send(t, SEG);
    (void)expect_data(t, acked, SEG);
    assert_int_equal(t->conn->cwnd, 10 * SEG);
    script_free(t);
}

static void d10_first_flight_after_a_cookie_is_ten_segments(void **state)
{
    struct script *t = script_new(
        state, &(struct script_options){.mss = 1460, .ts = true, .sack = true, .wscale = 7, .cookies = true});

    script_handshake(t);
    script_drop_all(t);
    assert_int_equal(counted(t, REASON_TCP_COOKIE_ACCEPTED), 1);
    app_send(t, 60000);
    assert_int_equal(script_pending(t), 10);
    script_free(t);
}

int main(void)
{
#define T(f) cmocka_unit_test(f)
    const struct CMUnitTest tests[] = {
        T(d6_growth_after_a_loss_follows_the_cubic_curve),
        T(d6_short_round_trips_grow_like_reno),
        T(d6_second_loss_below_the_first_gives_room_to_others),
        T(d6_clock_stands_still_while_the_user_writes_little),
        T(d6_after_a_timeout_the_curve_begins_where_slow_start_ends),
        T(d9_slow_start_after_a_pause_leads_back_to_where_cwnd_was),
        T(d9_pause_in_avoidance_keeps_three_quarters_for_slow_start),
        T(d9_pause_counts_for_a_single_segment_too),
        T(d10_first_flight_after_a_cookie_is_ten_segments),
    };
    return SCRIPT_RUN("tcp_congestion", tests);
}
