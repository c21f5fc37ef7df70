/* Deadlines.  Each connection has one entry in the wheel, armed for its earliest deadline or before it: a
 * deadline that moves further away or vanishes leaves the entry where it is, and the entry finds out when it
 * fires.  So an ACK that pushes the retransmission timeout back costs one store. */
#include "dataplane/net/tcp.h"

#include "base/check.h"

static uint64_t tick_of(uint64_t at_us)
{
    return at_us / TCP_US_PER_TICK + (at_us % TCP_US_PER_TICK != 0);
}

void tcp_conn_timer_arm(struct net_conn *c, uint64_t at_us)
{
    if (at_us != TCP_NEVER)
        wheel_arm(&c->tcp->wheel, &c->timer, tick_of(at_us));
}

void tcp_conn_persist_start(struct net_conn *c)
{
    c->flags |= TCP_CONN_PERSIST;
    c->persist_us = c->rto_us;
    c->last_rx_us = tcp_conn_now(c);
    tcp_conn_timer_stop(c, TIMER_REXMIT);
    tcp_conn_timer_set(c, TIMER_PERSIST, tcp_conn_now(c) + c->persist_us);
}

void tcp_conn_persist_stop(struct net_conn *c)
{
    c->flags &= ~(uint32_t)(TCP_CONN_PERSIST | TCP_CONN_PROBE);
    tcp_conn_timer_stop(c, TIMER_PERSIST);
}

void tcp_conn_orphan_timer_restart(struct net_conn *c)
{
    tcp_conn_timer_set(c, TIMER_CLOSE, tcp_conn_now(c) + c->tcp->net->config.fin_wait_2_ms * 1000ULL);
}

static void rto_back_off(struct net_conn *c)
{
    c->rto_us = u32_min(2 * c->rto_us, TCP_RTO_MAX_US);
    if (c->retries < UINT8_MAX)
        c->retries++;
}

static bool hope_is_lost(const struct net_conn *c, uint64_t silent_since_us)
{
    return tcp_conn_now(c) - silent_since_us >= TCP_GIVE_UP_US && c->retries >= TCP_GIVE_UP_RETRIES;
}

static void give_up(struct net_conn *c)
{
    count(c->tcp->net->counters, REASON_TCP_GIVEN_UP);
    tcp_conn_reset_send(c);
    tcp_conn_end(c, NET_CAUSE_TIMED_OUT);
}

/* RFC 6298 5.4 to 5.7, RFC 5681 3.1: everything in flight counts as lost, sending begins again at snd_una with
 * one segment.  ssthresh is cut once per flight: not again until recover is reached (B17). */
static void retransmission_timeout(struct net_conn *c)
{
    if (tcp_conn_is_opening(c)) {
        connect_timeout(c);
        return;
    }
    if (hope_is_lost(c, c->progress_us)) {
        give_up(c);
        return;
    }
    count(c->tcp->net->counters, REASON_TCP_TIMEOUTS);
    undo_timeout(c);
    if (!tcp_conn_has(c, TCP_CONN_RTO_RECOVERY))
        cwnd_timeout(c);
    if (c->snd_wnd != 0)
        pmtu_timeout(c);
    if (!tcp_conn_has(c, TCP_CONN_RTO_RECOVERY) || c->board != NULL)
        c->recover = c->snd_max;
    c->flags |= TCP_CONN_RTO_RECOVERY;
    c->flags &= ~(uint32_t)(TCP_CONN_RECOVERY | TCP_CONN_PARTIAL_SEEN | TCP_CONN_TIMING |
                            TCP_CONN_RESEND_FIRST | TCP_CONN_CWND_LIMITED);
    c->flags &= ~(uint32_t)(TCP_CONN_TLP | TCP_CONN_TLP_REPEAT | TCP_CONN_TLP_NOW);
    c->tlp_lone = false;
    c->probes = 0;
    c->cwnd = tcp_conn_segment_max(c);
    c->dupacks = 0;
    if (c->board != NULL)
        c->board->lost_beyond = false;
    if (c->board != NULL && c->snd_wnd != 0)
        board_mark_all_lost(c);
    else
        board_drop(c);
    rto_back_off(c);
    if (c->snd_wnd == 0) {
        /* The peer shut its window behind what was in flight: probe it, do not flood it. */
        uint32_t rto = c->rto_us;
        tcp_conn_persist_start(c);
        c->persist_us = rto;
        c->flags |= TCP_CONN_PROBE;
    } else {
        c->flags |= TCP_CONN_FORCE;
    }
    tcp_conn_output_want(c);
}

/* RFC 9293 3.8.6.1: as long as the peer answers, probing goes on for ever. */
static void persist_timeout(struct net_conn *c)
{
    if (hope_is_lost(c, c->last_rx_us)) {
        give_up(c);
        return;
    }
    if (c->retries < UINT8_MAX)
        c->retries++;
    c->persist_us = u32_min(2 * c->persist_us, TCP_RTO_MAX_US);
    tcp_conn_timer_set(c, TIMER_PERSIST, tcp_conn_now(c) + c->persist_us);
    c->flags |= c->snd_wnd == 0 ? TCP_CONN_PROBE : TCP_CONN_FORCE;
    tcp_conn_output_want(c);
}

static void close_timeout(struct net_conn *c)
{
    struct counters *counters = c->tcp->net->counters;

    count(counters, REASON_TCP_ORPHAN_TIMEOUT);
    tcp_conn_reset_send(c);
    tcp_conn_end(c, NET_CAUSE_TIMED_OUT);
}

static void idle_timeout(struct net_conn *c)
{
    count(c->tcp->net->counters, REASON_TCP_IDLE_CLOSED);
    tcp_conn_reset_send(c);
    tcp_conn_end(c, NET_CAUSE_TIMED_OUT);
}

static void timer_act(struct net_conn *c, enum tcp_conn_timer which)
{
    switch (which) {
    case TIMER_REXMIT:
        board_describe(c);
        if (tcp_conn_has(c, TCP_CONN_REORDER_TIMER | TCP_CONN_PROBE_TIMER))
            rack_timeout(c);
        else
            retransmission_timeout(c);
        break;
    case TIMER_PERSIST:
        persist_timeout(c);
        break;
    case TIMER_DELACK:
        tcp_conn_ack_now(c);
        break;
    case TIMER_CLOSE:
        close_timeout(c);
        break;
    case TIMER_IDLE:
        idle_timeout(c);
        break;
    case TIMER_KEEPALIVE:
        keepalive_timeout(c);
        break;
    case TIMER_USER:
        tcp_conn_event(c, NET_EVENT_DEADLINE);
        break;
    case TIMER_COUNT:
        CHECK(false);
    }
}

static enum tcp_conn_timer deadline_first(const struct net_conn *c)
{
    enum tcp_conn_timer first = TIMER_REXMIT;

    for (int i = 1; i < TIMER_COUNT; i++)
        if (c->deadline[i] < c->deadline[first])
            first = (enum tcp_conn_timer)i;
    return first;
}

static NOINLINE void timers_turn(struct net *n, uint32_t budget)
{
    struct tcp *t = n->tcp;
    struct wheel_entry *e;

    room_waiters_wake(t);
    if (pressure_may_be(t))
        pressure_turn(t);
    while (budget-- > 0 && (e = wheel_pop(&t->wheel, n->now_us / TCP_US_PER_TICK)) != NULL) {
        if (e == &t->halves.timer) {
            syn_cache_timer(t);
            continue;
        }
        if (e == &t->waits.timer) {
            time_wait_timer(t);
            continue;
        }
        struct net_conn *c = TCP_CONN_OF(e, timer);
        e->tick = WHEEL_NEVER; /* tcp_conn_timer_set asks for nothing else */
        enum tcp_conn_timer first = deadline_first(c);
        uint64_t at_us = c->deadline[first];

        if (at_us == TCP_NEVER)
            continue;
        if (at_us > n->now_us) {
            wheel_arm(&t->wheel, e, tick_of(at_us));
            continue;
        }
        /* One deadline at a time: armed again before it acts, since acting may end the connection. */
        c->deadline[first] = TCP_NEVER;
        wheel_arm(&t->wheel, e, n->now_us / TCP_US_PER_TICK);
        timer_act(c, first);
    }
}

void tcp_timers(struct net *n, uint32_t budget)
{
    const struct tcp *t = n->tcp;

    /* WHEEL_NEVER is beyond any time in microseconds, too. */
    if (!link_empty(t, &t->room_waiters) || pressure_may_be(t) ||
        n->now_us >= t->wheel.not_before * TCP_US_PER_TICK)
        timers_turn(n, budget);
}

uint64_t tcp_next_timer(const struct net *n)
{
    uint64_t tick;

    if (!link_empty(n->tcp, &n->tcp->events))
        return n->now_us;
    tick = wheel_next(&n->tcp->wheel);
    return tick == WHEEL_NEVER ? TCP_NEVER : tick * TCP_US_PER_TICK;
}
