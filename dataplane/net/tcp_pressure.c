/* What is taken on less of, the less is left of the receive and send buffers, whichever is scarcer.  Frames of the
 * device are not asked after: no connection ever holds one.
 *
 *     below half free     a SYN is answered by a cookie, nothing is remembered of it
 *     below a quarter     windows grow no further than a quarter of the buffer; a right edge never retreats
 *     below a tenth       what lies beyond gaps is dropped, which RFC 2018 8 permits; and of each sweep over the
 *                         connections the one that has held a buffer longest without progress is reset
 *
 * Shares of less than POOL_MIN buffers say nothing, and count as all free. */
#include "dataplane/net/tcp.h"

#define POOL_MIN   16
#define SWEEP_STEP 64      /* records per call */
#define STALL_US   5000000 /* without progress for less is nobody's fault */

static uint32_t percent_free(const struct slab *s)
{
    return s->capacity < POOL_MIN ? 100 : (uint32_t)(s->free_count * 100 / s->capacity);
}

static enum pressure_level level_now(const struct tcp *t)
{
    uint32_t left = u32_min(percent_free(&t->recv_buffers), percent_free(&t->send_buffers));

    if (left >= 50)
        return PRESSURE_NONE;
    if (left >= 25)
        return PRESSURE_COOKIES;
    return left >= 10 ? PRESSURE_NARROW : PRESSURE_SHED;
}

static struct net_conn *tcp_conn_at(const struct tcp *t, uint32_t index)
{
    return (struct net_conn *)(void *)(t->conns.base + (size_t)index * t->conns.object_size);
}

/* When a connection that holds a buffer was last seen to get on; TCP_NEVER when it holds none. */
static uint64_t stalled_since(const struct net_conn *c)
{
    if (c->state == TCP_CLOSED)
        return TCP_NEVER;
    if (c->send_ring != NULL)
        return c->progress_us;
    return c->recv_ring != NULL ? c->last_rx_us : TCP_NEVER;
}

static void gaps_drop(struct net_conn *c)
{
    if (c->state == TCP_CLOSED || c->range_count == 0)
        return;
    count(c->tcp->net->counters, REASON_TCP_PRESSURE_GAPS);
    c->range_count = 0;
    recv_buffer_trim(c);
}

static void slowest_abort(struct tcp *t)
{
    struct net_conn *c = tcp_conn_at(t, t->pressure.slowest);
    uint64_t since = t->pressure.slowest_us;

    t->pressure.slowest_us = TCP_NEVER;
    if (since == TCP_NEVER || stalled_since(c) != since || t->net->now_us - since < STALL_US)
        return;
    count(t->net->counters, REASON_TCP_PRESSURE_ABORTED);
    tcp_conn_reset_send(c);
    tcp_conn_end(c, NET_CAUSE_ABORTED);
}

/* A freed record is CLOSED and stays so until it is taken again. */
static void sweep(struct tcp *t)
{
    for (int i = 0; i < SWEEP_STEP; i++) {
        struct net_conn *c = tcp_conn_at(t, t->pressure.hand);
        gaps_drop(c);
        if (stalled_since(c) < t->pressure.slowest_us) {
            t->pressure.slowest_us = stalled_since(c);
            t->pressure.slowest = t->pressure.hand;
        }
        if (++t->pressure.hand == t->conns.capacity) {
            t->pressure.hand = 0;
            slowest_abort(t);
            return;
        }
    }
}

static void windows_set(struct tcp *t)
{
    t->window = t->net->config.recv_buffer / (t->pressure.level >= PRESSURE_NARROW ? 4 : 1);
    t->window_step[NET_IP4] = u32_min(t->window / 2, tcp_mss_of(t->net, NET_IP4));
    t->window_step[NET_IP6] = u32_min(t->window / 2, tcp_mss_of(t->net, NET_IP6));
}

static void level_set(struct tcp *t, enum pressure_level level)
{
    t->pressure.level = level;
    t->pressure.send_look = (t->send_buffers.capacity + 1) / 2;
    t->pressure.recv_look = level == PRESSURE_NONE ? (t->recv_buffers.capacity + 1) / 2 : SIZE_MAX;
}

void pressure_turn(struct tcp *t)
{
    level_set(t, level_now(t));
    windows_set(t);
    if (t->pressure.level == PRESSURE_SHED)
        sweep(t);
}

void pressure_init(struct tcp *t)
{
    t->pressure.slowest_us = TCP_NEVER;
    level_set(t, PRESSURE_NONE);
    windows_set(t);
}
