/* CUBIC (RFC 9438) in whole numbers: bytes, milliseconds, and 256ths of a byte for what one ACK is too small to
 * move.  The clock t of a congestion avoidance stage stands still while the user, not the window, holds the
 * flight back (5.8). */
#include "dataplane/net/tcp.h"

#define T_MAX_MS  200000u /* three million segments above w_max: cubes and products stay within 64 bits */
#define BETA(w)   ((uint32_t)((uint64_t)(w)*7 / 10))
#define FAST(w)   ((uint32_t)((uint64_t)(w)*17 / 20)) /* (1 + beta) / 2, 4.7 */
#define ALPHA_NUM 9                                   /* 3 (1 - beta) / (1 + beta), 4.3 */
#define ALPHA_DEN 17

static uint32_t cube_root(uint64_t x)
{
    uint64_t root = 0;

    for (uint64_t bit = 1u << 21; bit != 0; bit >>= 1)
        if ((root + bit) * (root + bit) * (root + bit) <= x)
            root += bit;
    return (uint32_t)root;
}

/* Figure 2: sqrt3((w_max - cwnd) / C) with C = 0.4 segments per cubic second. */
static uint32_t k_ms(uint32_t w_max, uint32_t cwnd, uint32_t mss)
{
    return cube_root((uint64_t)(w_max - cwnd) * 2500000000u / mss);
}

/* Figure 1: C (t - K)^3 + w_max. */
static uint32_t window_at(const struct tcp_cubic *k, uint32_t t_ms, uint32_t mss)
{
    bool below = t_ms < k->k_ms;
    uint64_t d = u32_min(below ? k->k_ms - t_ms : t_ms - k->k_ms, T_MAX_MS);
    uint64_t bytes = d * d * d / 2500 * mss / 1000000;

    if (below)
        return bytes < k->w_max ? k->w_max - (uint32_t)bytes : 0;
    return bytes < TCP_CWND_MAX - k->w_max ? k->w_max + (uint32_t)bytes : TCP_CWND_MAX;
}

static void stage_begin(struct net_conn *c)
{
    struct tcp_cubic *k = &c->cubic;

    k->epoch_us = tcp_conn_now(c);
    k->seen_us = tcp_conn_now(c);
    k->w_est = c->cwnd;
    c->cwnd_rest = 0;
    c->w_est_rest = 0;
    k->k_ms = 0;
    if (c->cwnd < k->w_max)
        k->k_ms = k_ms(k->w_max, c->cwnd, tcp_conn_segment_max(c));
    else
        k->w_max = c->cwnd; /* 4.8, 4.10 */
}

/* *w grows by per_window for each window's worth of acknowledged bytes. */
static uint32_t grown(uint32_t w, uint64_t per_window, uint32_t acked, uint32_t cwnd, uint8_t *rest)
{
    uint64_t by = (per_window * acked << 8) / cwnd + *rest;

    *rest = (uint8_t)by;
    return (uint32_t)(w + (by >> 8) < TCP_CWND_MAX ? w + (by >> 8) : TCP_CWND_MAX);
}

/* 4.3, figure 4. */
static void reno_grow(struct net_conn *c, uint32_t acked)
{
    struct tcp_cubic *k = &c->cubic;
    uint64_t mss = tcp_conn_segment_max(c);

    if (k->w_est < k->w_prior)
        mss = mss * ALPHA_NUM / ALPHA_DEN;
    k->w_est = grown(k->w_est, mss, acked, c->cwnd, &c->w_est_rest);
}

static void avoidance_grow(struct net_conn *c, uint32_t acked)
{
    struct tcp_cubic *k = &c->cubic;
    uint32_t mss = tcp_conn_segment_max(c);
    uint32_t t_ms, target;

    if (k->epoch_us == 0)
        stage_begin(c);
    t_ms = (uint32_t)((tcp_conn_now(c) - k->epoch_us) / 1000);
    k->seen_us = tcp_conn_now(c);
    reno_grow(c, acked);
    if (window_at(k, t_ms, mss) < k->w_est) {
        c->cwnd = u32_max(c->cwnd, k->w_est);
        return;
    }
    target = u32_min(window_at(k, t_ms + c->srtt_us / 1000, mss), c->cwnd + c->cwnd / 2);
    if (c->cwnd < target)
        c->cwnd = grown(c->cwnd, target - c->cwnd, acked, c->cwnd, &c->cwnd_rest);
}

void cwnd_grow(struct net_conn *c, uint32_t acked)
{
    uint32_t mss = tcp_conn_segment_max(c);

    if (!tcp_conn_has(c, TCP_CONN_CWND_LIMITED))
        cwnd_pause(c, tcp_conn_now(c));
    else if (c->cwnd >= TCP_CWND_MAX)
        return;
    else if (c->cwnd < c->ssthresh)
        c->cwnd += u32_min(acked, mss);
    else
        avoidance_grow(c, acked);
}

/* What limited transmit sent beyond cwnd does not count (RFC 5681 3.2 step 2), nor what the user never filled
 * (RFC 9438 4.6, RFC 7661 4.4.1). */
uint32_t cwnd_used(const struct net_conn *c)
{
    return u32_min(c->snd_max - c->snd_una, c->cwnd);
}

void cwnd_loss(struct net_conn *c, uint32_t w)
{
    struct tcp_cubic *k = &c->cubic;

    k->w_prior = w;
    k->w_max = w < k->w_max ? FAST(w) : w;
    k->epoch_us = 0;
    c->ssthresh = u32_max(BETA(w), 2 * tcp_conn_segment_max(c));
}

/* 4.8: what comes after slow start begins where slow start ends. */
void cwnd_timeout(struct net_conn *c)
{
    cwnd_loss(c, cwnd_used(c));
    c->cubic.w_max = 0;
}

/* Slow start leads back to near where cwnd was (RFC 7661 4.4.2). */
void cwnd_restart(struct net_conn *c)
{
    uint32_t initial = cwnd_initial(c);

    if (c->cwnd <= initial)
        return;
    c->ssthresh = u32_max(c->ssthresh, c->cwnd - c->cwnd / 4);
    c->cwnd = initial;
    c->cubic.epoch_us = 0;
}
