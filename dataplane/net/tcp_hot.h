/* What every segment does, inline; a part of tcp.h. */
#ifndef DATAPLANE_NET_TCP_HOT_H
#define DATAPLANE_NET_TCP_HOT_H

static inline void tcp_conn_output_want(struct net_conn *c)
{
    if (!link_is_in(&c->output_link))
        link_append(&c->tcp->outputs, &c->output_link);
}

/* An ACK leaves with the next output. */
static inline void tcp_conn_ack_now(struct net_conn *c)
{
    c->flags |= TCP_CONN_ACK_NOW;
    tcp_conn_output_want(c);
}

static inline void tcp_conn_event(struct net_conn *c, uint32_t event)
{
    struct tcp *t = c->tcp;

    if (!tcp_conn_has(c, TCP_CONN_USER))
        return;
    c->events |= (uint8_t)event;
    if (link_is_in(&c->event_link))
        return;
    c->event_round = t->event_round;
    link_append(&t->events, &c->event_link);
}

#define TCP_US_PER_TICK 1000

void tcp_conn_timer_arm(struct net_conn *c, uint64_t at_us); /* tcp_timer.c */

static inline void tcp_conn_timer_set(struct net_conn *c, enum tcp_conn_timer which, uint64_t at_us)
{
    uint64_t armed_us = c->timer.tick * TCP_US_PER_TICK;

    c->deadline[which] = at_us;
    /* One that moves away leaves the wheel's entry where it is: it is armed for the earliest, or before it. */
    if (!wheel_is_armed(&c->timer) || (at_us < armed_us && armed_us - at_us >= TCP_US_PER_TICK))
        tcp_conn_timer_arm(c, at_us);
}

static inline void tcp_conn_timer_stop(struct net_conn *c, enum tcp_conn_timer which)
{
    c->deadline[which] = TCP_NEVER;
}

static inline bool tcp_conn_timer_runs(const struct net_conn *c, enum tcp_conn_timer which)
{
    return c->deadline[which] != TCP_NEVER;
}

static inline void tcp_conn_rexmit_restart(struct net_conn *c)
{
    c->flags &= ~(uint32_t)(TCP_CONN_REORDER_TIMER | TCP_CONN_PROBE_TIMER);
    tcp_conn_timer_set(c, TIMER_REXMIT, tcp_conn_now(c) + c->rto_us);
}

/* New data either way, or its acknowledgement. */
static inline void tcp_conn_idle_restart(struct net_conn *c)
{
    uint32_t idle_ms = c->tcp->net->config.idle_close_ms;

    if (idle_ms != 0)
        tcp_conn_timer_set(c, TIMER_IDLE, tcp_conn_now(c) + idle_ms * 1000ULL);
}

/* RFC 6675 pipe: bytes that are believed to be on their way. */
static inline uint32_t tcp_conn_pipe(const struct net_conn *c)
{
    uint32_t flight = c->snd_nxt - c->snd_una;

    return c->board == NULL ? flight : flight - c->board->sacked - c->board->lost;
}

static inline bool board_is_full(const struct net_conn *c)
{
    return c->board != NULL && c->board->count == c->tcp->board_cap;
}

/* Nothing was in flight, or too little to tell: the time since then does not count. */
static inline void cwnd_pause(struct net_conn *c)
{
    struct tcp_cubic *k = &c->cubic;

    if (k->epoch_us != 0)
        k->epoch_us += tcp_conn_now(c) - k->seen_us;
    k->seen_us = tcp_conn_now(c);
}

/* tcp_cubic.c; RFC 5681 4.1: after a pause longer than a timeout nobody knows the path any more. */
void cwnd_restart(struct net_conn *c);

static inline void flight_begin(struct net_conn *c)
{
    cwnd_pause(c);
    if (tcp_conn_now(c) - c->last_send_us > c->rto_us)
        cwnd_restart(c);
}

/* RFC 5681 4.2: at once for anything out of order, for what fills a gap and for every second full segment;
 * otherwise within 40 ms, so that the reply can carry it. */
static inline void ack_schedule(struct net_conn *c, uint32_t arrived, bool at_once)
{
    c->rcv_since_ack += arrived;
    if (arrived > c->rcv_mss)
        c->rcv_mss = (uint16_t)arrived;
    if (at_once || c->rcv_since_ack >= 2u * c->rcv_mss)
        tcp_conn_ack_now(c);
    else if (!tcp_conn_timer_runs(c, TIMER_DELACK))
        tcp_conn_timer_set(c, TIMER_DELACK, tcp_conn_now(c) + TCP_DELACK_US);
}

/* RFC 7323 5.4: a clock of 1 ms, offset per connection so that it tells nothing about our uptime. */
static inline uint32_t tcp_conn_ts_at(const struct net_conn *c, uint64_t at_us)
{
    return (uint32_t)(at_us / 1000) + c->ts_offset;
}

static inline uint32_t tcp_conn_ts_now(const struct net_conn *c)
{
    return tcp_conn_ts_at(c, tcp_conn_now(c));
}

/* The largest segment that we take, options not counted (RFC 6691). */
static inline uint16_t tcp_mss_of(const struct net *n, uint32_t family)
{
    uint32_t ip = family == NET_IP4 ? IP4_HEADER_LEN : IP6_HEADER_LEN;

    return (uint16_t)(n->config.mtu - ip - TCP_HEADER_LEN);
}

static inline uint16_t tcp_mss_ours(const struct net_conn *c)
{
    return tcp_mss_of(c->tcp->net, c->tuple.family);
}

/* Where the announced window could end if it were announced now (RFC 9293 3.8.6.2.2). */
static inline uint32_t tcp_conn_window_edge(const struct net_conn *c)
{
    uint32_t buffer = c->tcp->net->config.recv_buffer / (c->tcp->pressure.level >= PRESSURE_NARROW ? 4 : 1);
    uint32_t reach = c->rcv_nxt + ((uint32_t)UINT16_MAX << c->rcv_wscale);
    uint32_t edge = seq_min(c->rcv_read + buffer, reach);

    if (seq_le(edge, c->rcv_adv) || edge - c->rcv_adv < u32_min(buffer / 2, tcp_mss_ours(c)))
        return c->rcv_adv;
    return edge;
}

/* The number of a segment without data, such that the peer finds it within its window. */
static inline uint32_t tcp_conn_seq_acceptable(const struct net_conn *c)
{
    return seq_min(c->snd_max, c->snd_una + c->snd_wnd);
}

static inline void rtt_sample(struct net_conn *c, uint64_t rtt_us)
{
    uint32_t rtt = rtt_us == 0 ? 1 : (uint32_t)(rtt_us < TCP_RTO_MAX_US ? rtt_us : TCP_RTO_MAX_US);

    if (c->srtt_us == 0) {
        c->srtt_us = rtt;
        c->rttvar_us = rtt / 2;
    } else {
        uint32_t off = rtt > c->srtt_us ? rtt - c->srtt_us : c->srtt_us - rtt;
        c->rttvar_us = c->rttvar_us - c->rttvar_us / 4 + off / 4;
        c->srtt_us = u32_max(c->srtt_us - c->srtt_us / 8 + rtt / 8, 1);
    }
    c->rto_us = u32_max(c->srtt_us + u32_max(1000, 4 * c->rttvar_us), TCP_RTO_MIN_US);
    c->rto_us = u32_min(c->rto_us, TCP_RTO_MAX_US);
}

/* What an ACK of new data tells; tsecr: the timestamp that it echoes, 0 when it has none.  Karn: a segment that was ever repeated is not timed; the echoed timestamp tells which copy was answered
 * (RFC 7323 4.1). */
static inline void rtt_measure(struct net_conn *c, uint32_t ack, uint32_t tsecr)
{
    if (tcp_conn_has(c, TCP_CONN_TIMING)) {
        if (seq_lt(c->rtt_seq, ack)) {
            rtt_sample(c, (uint32_t)tcp_conn_now(c) - c->rtt_start_us);
            c->flags &= ~(uint32_t)TCP_CONN_TIMING;
        }
        return;
    }
    if (!tcp_conn_has(c, TCP_CONN_TS) || tsecr == 0)
        return;
    uint32_t elapsed_ms = tcp_conn_ts_now(c) - tsecr;
    if (elapsed_ms <= TCP_RTO_MAX_US / 1000)
        rtt_sample(c, elapsed_ms * 1000ULL);
}

/* Tells as many waiters as there are free send buffers. */
void room_waiters_wake(struct tcp *t); /* tcp_table.c */

static inline void tcp_conn_send_buffer_give(struct net_conn *c)
{
    if (c->send_ring == NULL)
        return;
    slab_give(&c->tcp->send_buffers, c->send_ring);
    c->send_ring = NULL;
    if (!link_empty(&c->tcp->room_waiters))
        room_waiters_wake(c->tcp);
}

/* Gives the receive buffer back when nothing is stored in it. */
static inline void recv_buffer_trim(struct net_conn *c)
{
    if (c->recv_ring == NULL || c->range_count != 0 || tcp_conn_unread(c) != 0)
        return;
    slab_give(&c->tcp->recv_buffers, c->recv_ring);
    c->recv_ring = NULL;
}

static inline struct net_conn *slot_conn(const struct tcp *t, const struct tcp_slot *s)
{
    return (struct net_conn *)(void *)(t->conns.base + (s->conn - 1) * t->conns.object_size);
}

/* ---- the flight ---- */

static inline struct tcp_sent *sent_at(const struct net_conn *c, uint32_t i)
{
    return &c->board->sent[(c->board->head + i) & (c->tcp->board_cap - 1)];
}

static inline bool board_take(struct net_conn *c)
{
    if (!tcp_conn_has(c, TCP_CONN_SACK) || c->snd_nxt != c->snd_una)
        return false;
    c->board = slab_take(&c->tcp->boards);
    if (c->board == NULL) {
        count(c->tcp->net->counters, REASON_TCP_NO_BOARD);
        return false;
    }
    memset(c->board, 0, sizeof *c->board);
    c->board->fack = c->snd_una;
    c->board->fack_before = c->snd_una;
    /* A recovery that began without a board has nothing left to repeat. */
    c->flags &= ~(uint32_t)(TCP_CONN_RECOVERY | TCP_CONN_PARTIAL_SEEN | TCP_CONN_RESEND_FIRST);
    c->dupacks = 0;
    return true;
}

/* A segment up to end leaves for the first time; it begins at snd_nxt.  Takes a board when the flight begins
 * with it.  Cost: constant. */
static inline void board_append(struct net_conn *c, uint32_t end)
{
    if (c->board == NULL && !board_take(c))
        return;
    CHECK(!board_is_full(c));
    *sent_at(c, c->board->count++) = (struct tcp_sent){.at_us = tcp_conn_now(c), .end = end};
}

/* 7.2: two round trips, and for a lone segment the time for which a peer may keep its ACK.  Beyond the RFC: a
 * probe that brings nothing is followed by others, each after twice the time, as long as that is less than the
 * RTO; and in recovery, when all that was lost has been repeated and nothing more comes, the first segment is
 * taken for lost again. */
static inline uint64_t probe_wait(const struct net_conn *c)
{
    uint64_t wait = c->srtt_us != 0 ? u32_max(2 * c->srtt_us, 2 * TCP_RTT_FLOOR_US) : TCP_RTO_FIRST_US;

    if (c->board->count == 1)
        wait += c->peer_delays ? TCP_ACK_DELAY_MAX_US : TCP_ACK_DELAY_US;
    return wait << c->probes;
}

static inline bool probe_is_due(const struct net_conn *c)
{
    if (c->board == NULL || c->retries != 0 || c->snd_wnd == 0 || c->probes == TCP_PROBES_MAX ||
        tcp_conn_has(c, TCP_CONN_RTO_RECOVERY | TCP_CONN_REORDER_TIMER))
        return false;
    return tcp_conn_has(c, TCP_CONN_RECOVERY) ? c->board->lost == 0 : c->board->sacked == 0;
}

/* Puts TIMER_REXMIT on the tail's probe, where one is due before the RTO.  Data that is added to the flight must not put the timeout off for ever. */
static inline void tlp_arm(struct net_conn *c)
{
    uint64_t at_us, rto_at_us = tcp_conn_now(c) + c->rto_us;

    if (!probe_is_due(c))
        return;
    at_us = tcp_conn_now(c) + probe_wait(c);
    if (c->probes != 0 && at_us > rto_at_us)
        return;
    if (c->probes == 0 && !tcp_conn_has(c, TCP_CONN_RECOVERY))
        rto_at_us = c->progress_us + c->rto_us;
    if (at_us > rto_at_us)
        at_us = rto_at_us > tcp_conn_now(c) ? rto_at_us : tcp_conn_now(c);
    c->flags |= TCP_CONN_PROBE_TIMER;
    tcp_conn_timer_set(c, TIMER_REXMIT, at_us);
}

/* Less than half of the receive or send buffers is free, or it was so in the last turn. */
static inline bool pressure_may_be(const struct tcp *t)
{
    return t->pressure.level != PRESSURE_NONE || 2 * t->recv_buffers.free_count < t->recv_buffers.capacity ||
           2 * t->send_buffers.free_count < t->send_buffers.capacity;
}

#endif
