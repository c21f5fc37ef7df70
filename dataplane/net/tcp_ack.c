/* Acknowledgements and what follows from them: round-trip time (RFC 6298), NewReno recovery (RFC 6582), limited transmit (RFC 3042), the send window (RFC 9293 3.10.7.4). */
#include "dataplane/net/tcp.h"

/* RFC 6928; one segment when the SYN-ACK was lost more than once. */
uint32_t cwnd_initial(const struct net_conn *c)
{
    uint32_t mss = tcp_conn_segment_max(c);

    if (c->retries > 1)
        return mss;
    return u32_min(TCP_IW_SEGMENTS * mss, u32_max(2 * mss, TCP_IW_BYTES));
}

static void recovery_leave(struct net_conn *c)
{
    uint32_t mss = tcp_conn_segment_max(c);
    uint32_t flight = c->snd_nxt - c->snd_una;

    c->cwnd = u32_min(c->ssthresh, u32_max(flight, mss) + mss);
    c->flags &= ~(uint32_t)(TCP_CONN_RECOVERY | TCP_CONN_PARTIAL_SEEN | TCP_CONN_RESEND_FIRST);
}

/* RFC 6582 3.2 step 3, partial: the next hole is resent at once. */
static void recovery_partial(struct net_conn *c, uint32_t acked)
{
    uint32_t mss = tcp_conn_segment_max(c);

    c->cwnd -= u32_min(acked, c->cwnd);
    if (acked >= mss)
        c->cwnd += mss;
    c->cwnd = u32_max(c->cwnd, mss);
    c->flags |= TCP_CONN_RESEND_FIRST;
}

static void congestion_acked(struct net_conn *c, uint32_t acked)
{
    c->dupacks = 0;
    if (tcp_conn_has(c, TCP_CONN_RTO_RECOVERY) && seq_le(c->recover, c->snd_una))
        c->flags &= ~(uint32_t)TCP_CONN_RTO_RECOVERY;
    if (!tcp_conn_has(c, TCP_CONN_RECOVERY))
        cwnd_grow(c, acked);
    else if (seq_le(c->recover, c->snd_una))
        recovery_leave(c);
    else
        recovery_partial(c, acked);
}

static void timers_acked(struct net_conn *c)
{
    bool partial = tcp_conn_has(c, TCP_CONN_RECOVERY) && c->board == NULL;

    if (c->snd_una == c->snd_max) {
        tcp_conn_timer_stop(c, TIMER_REXMIT);
        c->flags &= ~(uint32_t)(TCP_CONN_REORDER_TIMER | TCP_CONN_PROBE_TIMER);
    } else if (tcp_conn_has(c, TCP_CONN_REORDER_TIMER)) {
        /* it goes on: the RTO begins when it has ended */
    } else if (tcp_conn_timer_runs(c, TIMER_REXMIT) && !(partial && tcp_conn_has(c, TCP_CONN_PARTIAL_SEEN)))
        tcp_conn_rexmit_restart(c);
    (void)tlp_arm(c, tcp_conn_now(c));
    if (partial)
        c->flags |= TCP_CONN_PARTIAL_SEEN;
    if (tcp_conn_timer_runs(c, TIMER_CLOSE) && c->state != TCP_FIN_WAIT_2)
        tcp_conn_orphan_timer_restart(c);
    tcp_conn_idle_restart(c);
}

static void send_ring_acked(struct net_conn *c)
{
    uint32_t size = c->tcp->net->config.send_buffer;

    if (tcp_conn_has(c, TCP_CONN_WANT_ROOM) && c->send_ring != NULL && tcp_conn_queued(c) <= size / 2) {
        c->flags &= ~(uint32_t)TCP_CONN_WANT_ROOM;
        tcp_conn_event(c, NET_EVENT_WRITABLE);
    }
    if (tcp_conn_queued(c) == 0)
        tcp_conn_send_buffer_give(c);
}

static void ack_new(struct net_conn *c, const struct tcp_segment *s)
{
    uint32_t acked = s->ack - c->snd_una;
    bool selective = c->board != NULL;
    bool recovering = tcp_conn_has(c, TCP_CONN_RECOVERY);
    uint32_t delivered = selective ? recovery_take(c, s) : 0;

    rtt_measure(c, s->ack, s->options.has_ts ? s->options.tsecr : 0, tcp_conn_now(c));
    c->snd_una = s->ack;
    c->snd_nxt = seq_max(c->snd_nxt, c->snd_una);
    c->retries = 0;
    c->probes = 0;
    c->progress_us = tcp_conn_now(c);
    if (tcp_conn_has(c, TCP_CONN_MTU_LOWERED))
        pmtu_acked(c);
    undo_ack_new(c, s);
    if (selective)
        recovery_follow(c, acked, delivered);
    else
        congestion_acked(c, acked);
    undo_ask(c);
    if (recovering && !tcp_conn_has(c, TCP_CONN_RECOVERY))
        undo_recovered(c, s);
    timers_acked(c);
    send_ring_acked(c);
    tcp_conn_output_want(c);
}

static void ack_duplicate(struct net_conn *c)
{
    uint32_t mss = tcp_conn_segment_max(c);

    undo_ack_duplicate(c);
    if (c->dupacks < UINT8_MAX)
        c->dupacks++;
    tcp_conn_output_want(c); /* limited transmit, or room for new data in recovery */
    if (tcp_conn_has(c, TCP_CONN_RECOVERY)) {
        c->cwnd = u32_min(c->cwnd + mss, TCP_CWND_MAX);
        return;
    }
    /* RFC 6582 3.2 step 2: not for a loss that the last recovery has already answered. */
    if (c->dupacks != TCP_DUPACKS || !seq_lt(c->recover, c->snd_una))
        return;
    count(c->tcp->net->counters, REASON_TCP_FAST_RETRANSMITS);
    undo_begin(c);
    cwnd_loss(c, cwnd_used(c));
    c->cwnd = c->ssthresh + TCP_DUPACKS * mss;
    c->recover = c->snd_max;
    c->flags |= TCP_CONN_RECOVERY | TCP_CONN_RESEND_FIRST;
    c->flags &= ~(uint32_t)(TCP_CONN_TIMING | TCP_CONN_PARTIAL_SEEN);
    tcp_conn_rexmit_restart(c);
}

/* RFC 5681 2: same ACK, same window, nothing else in it, something outstanding.  A window update is none
 * (B13), and answers to probes are none. */
static bool ack_is_duplicate(const struct net_conn *c, const struct tcp_segment *s, uint32_t wnd)
{
    return s->ack == c->snd_una && s->data.len == 0 && (s->flags & TCP_FIN) == 0 && wnd == c->snd_wnd &&
           c->snd_una != c->snd_max && !tcp_conn_has(c, TCP_CONN_PERSIST);
}

static void ack_selective(struct net_conn *c, const struct tcp_segment *s)
{
    uint32_t delivered = recovery_take(c, s);

    if (delivered != 0)
        undo_ack_duplicate(c);
    recovery_follow(c, 0, delivered);
    if (delivered != 0)
        (void)tlp_arm(c, tcp_conn_now(c));
}

static void ack_old(struct net_conn *c, const struct tcp_segment *s, uint32_t wnd)
{
    if (s->options.sack_count != 0)
        recovery_dsack(c, s);
    if (ack_is_duplicate(c, s, wnd))
        ack_duplicate(c);
}

/* RFC 9293 3.10.7.4, and one thing more: a window that comes with a new ACK holds even if the segment repeats
 * old data (seq below wl1); kept relative to the new snd_una, the old window would reach too far. */
static bool window_is_newer(const struct net_conn *c, const struct tcp_segment *s)
{
    if (seq_lt(s->ack, c->snd_una))
        return false;
    return seq_lt(c->snd_wl2, s->ack) || seq_lt(c->snd_wl1, s->seq) ||
           (s->seq == c->snd_wl1 && s->ack == c->snd_wl2);
}

static void send_window_update(struct net_conn *c, const struct tcp_segment *s, uint32_t wnd)
{
    if (!window_is_newer(c, s))
        return;
    if (wnd != c->snd_wnd)
        tcp_conn_output_want(c);
    /* What the opened window takes but SWS avoidance holds back waits no longer than a first probe would. */
    if (tcp_conn_has(c, TCP_CONN_PERSIST) && c->snd_wnd == 0 && wnd != 0) {
        uint64_t soon = tcp_conn_now(c) + c->rto_us;
        if (soon < c->deadline[TIMER_PERSIST])
            tcp_conn_timer_set(c, TIMER_PERSIST, soon);
    }
    c->snd_wnd = wnd;
    c->snd_wnd_max = u32_max(c->snd_wnd_max, wnd);
    c->snd_wl1 = s->seq;
    c->snd_wl2 = s->ack;
}

void ack_input(struct net_conn *c, const struct tcp_segment *s)
{
    uint32_t wnd = (uint32_t)s->wnd << c->snd_wscale;

    if (tcp_conn_has(c, TCP_CONN_PERSIST)) {
        c->last_rx_us = tcp_conn_now(c); /* the answer to a probe: as long as they come, we go on */
        c->retries = 0;
    }
    if (tcp_conn_has(c, TCP_CONN_TLP))
        tlp_answer(c, s);
    if (seq_lt(c->snd_una, s->ack))
        ack_new(c, s);
    else if (c->board != NULL && s->ack == c->snd_una && s->options.sack_count != 0)
        ack_selective(c, s);
    else if (c->board == NULL && s->ack == c->snd_una)
        ack_old(c, s, wnd);
    undo_settle(c);
    send_window_update(c, s, wnd);
}
