/* What every segment does, inline; a part of tcp.h. */
#ifndef DATAPLANE_NET_TCP_HOT_H
#define DATAPLANE_NET_TCP_HOT_H

static inline void output_want(struct tcp *t, struct net_conn *c)
{
    if (!link_is_in(&c->output_link))
        link_append(t, &t->outputs, &c->output_link);
}

static inline void tcp_conn_output_want(struct net_conn *c)
{
    output_want(c->tcp, c);
}

/* An ACK leaves with the next output. */
static inline void tcp_conn_ack_now(struct net_conn *c)
{
    c->flags |= TCP_CONN_ACK_NOW;
    tcp_conn_output_want(c);
}

/* c has a user. */
static inline void event_raise(struct tcp *t, struct net_conn *c, uint32_t event)
{
    c->events |= (uint8_t)event;
    if (UNLIKELY(link_is_in(&c->event_link)))
        return;
    c->event_round = t->event_round;
    link_append(t, &t->events, &c->event_link);
}

static inline void tcp_conn_event(struct net_conn *c, uint32_t event)
{
    if (tcp_conn_has(c, TCP_CONN_USER))
        event_raise(c->tcp, c, event);
}

#define TCP_US_PER_TICK 1000

void tcp_conn_timer_arm(struct net_conn *c, uint64_t at_us); /* tcp_timer.c */

static inline void tcp_conn_timer_set(struct net_conn *c, enum tcp_conn_timer which, uint64_t at_us)
{
    c->deadline[which] = at_us;
    /* One that moves away leaves the wheel's entry where it is: it is armed for the earliest, or before it.  (The product is
     * above all times where the entry is not armed.) */
    if (UNLIKELY(at_us + TCP_US_PER_TICK <= c->timer.tick * TCP_US_PER_TICK))
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
static inline void idle_restart(const struct net *n, struct net_conn *c)
{
    if (n->config.idle_close_ms != 0)
        tcp_conn_timer_set(c, TIMER_IDLE, n->now_us + n->config.idle_close_ms * 1000ULL);
}

static inline void tcp_conn_idle_restart(struct net_conn *c)
{
    idle_restart(c->tcp->net, c);
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
static inline void cwnd_pause(struct net_conn *c, uint64_t now)
{
    struct tcp_cubic *k = &c->cubic;

    if (LIKELY(k->epoch_us == 0))
        return;
    k->epoch_us += now - k->seen_us;
    k->seen_us = now;
}

/* tcp_cubic.c; RFC 5681 4.1: after a pause longer than a timeout nobody knows the path any more. */
void cwnd_restart(struct net_conn *c);

static inline void flight_begin(struct net_conn *c, uint64_t now)
{
    cwnd_pause(c, now);
    if (now - c->last_send_us > c->rto_us)
        cwnd_restart(c);
}

/* RFC 5681 4.2: at once for anything out of order, for what fills a gap and for every second full segment: true;
 * otherwise within 40 ms, so that the reply can carry it. */
static inline bool ack_is_due(struct net_conn *c, uint32_t arrived, bool at_once, uint64_t now)
{
    c->rcv_since_ack += arrived;
    if (arrived > c->rcv_mss)
        c->rcv_mss = (uint16_t)arrived;
    if (at_once || c->rcv_since_ack >= 2u * c->rcv_mss)
        return true;
    if (LIKELY(!tcp_conn_timer_runs(c, TIMER_DELACK)))
        tcp_conn_timer_set(c, TIMER_DELACK, now + TCP_DELACK_US);
    return false;
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
static inline uint32_t window_edge(const struct tcp *t, const struct net_conn *c)
{
    int32_t step = (int32_t)t->window_step[c->tuple.family];
    uint32_t edge = c->rcv_read + t->window;

    if (LIKELY((int32_t)(edge - c->rcv_adv) < step))
        return c->rcv_adv;
    edge = seq_min(edge, c->rcv_nxt + ((uint32_t)UINT16_MAX << c->rcv_wscale));
    return (int32_t)(edge - c->rcv_adv) < step ? c->rcv_adv : edge;
}

/* The number of a segment without data, such that the peer finds it within its window. */
static inline uint32_t tcp_conn_seq_acceptable(const struct net_conn *c)
{
    return seq_min(c->snd_max, c->snd_una + c->snd_wnd);
}

static inline void rtt_sample(struct net_conn *c, uint64_t rtt_us)
{
    uint32_t rtt = (uint32_t)rtt_us;

    if (UNLIKELY(rtt_us - 1 >= TCP_RTO_MAX_US))
        rtt = rtt_us == 0 ? 1 : TCP_RTO_MAX_US;

    if (UNLIKELY(c->srtt_us == 0)) {
        c->srtt_us = rtt;
        c->rttvar_us = rtt / 2;
    } else {
        uint32_t off = rtt > c->srtt_us ? rtt - c->srtt_us : c->srtt_us - rtt;
        c->rttvar_us = c->rttvar_us - c->rttvar_us / 4 + off / 4;
        c->srtt_us = c->srtt_us - c->srtt_us / 8 + rtt / 8; /* 1 at least, as both are */
    }
    c->rto_us = u32_max(c->srtt_us + u32_max(1000, 4 * c->rttvar_us), TCP_RTO_MIN_US);
    c->rto_us = u32_min(c->rto_us, TCP_RTO_MAX_US);
}

/* What an ACK of new data tells; tsecr: the timestamp that it echoes, 0 when it has none.  Karn: a segment that was ever repeated is not timed; the echoed timestamp tells which copy was answered
 * (RFC 7323 4.1). */
static inline void rtt_measure_echo(struct net_conn *c, uint32_t tsecr, uint64_t now)
{
    uint32_t elapsed_ms = tcp_conn_ts_at(c, now) - tsecr;

    if (tcp_conn_has(c, TCP_CONN_TS) && tsecr != 0 && elapsed_ms <= TCP_RTO_MAX_US / 1000)
        rtt_sample(c, elapsed_ms * 1000ULL);
}

static inline void rtt_measure(struct net_conn *c, uint32_t ack, uint32_t tsecr, uint64_t now)
{
    if (!tcp_conn_has(c, TCP_CONN_TIMING)) {
        rtt_measure_echo(c, tsecr, now);
    } else if (seq_lt(c->rtt_seq, ack)) {
        c->flags &= ~(uint32_t)TCP_CONN_TIMING;
        rtt_sample(c, (uint32_t)now - c->rtt_start_us);
    }
}

/* Tells as many waiters as there are free send buffers. */
void room_waiters_wake(struct tcp *t); /* tcp_table.c */

/* There is one. */
static inline void send_buffer_give(struct tcp *t, struct net_conn *c)
{
    slab_give(&t->send_buffers, c->send_ring);
    c->send_ring = NULL;
    if (UNLIKELY(!link_empty(t, &t->room_waiters)))
        room_waiters_wake(t);
}

static inline void tcp_conn_send_buffer_give(struct net_conn *c)
{
    if (c->send_ring != NULL)
        send_buffer_give(c->tcp, c);
}

static inline void recv_buffer_give(struct tcp *t, struct net_conn *c)
{
    slab_give(&t->recv_buffers, c->recv_ring);
    c->recv_ring = NULL;
}

/* Gives the receive buffer back when nothing is stored in it. */
static inline void recv_buffer_trim(struct net_conn *c)
{
    if (c->recv_ring == NULL || c->range_count != 0 || tcp_conn_unread(c) != 0)
        return;
    recv_buffer_give(c->tcp, c);
}

/* ---- rings ---- */

/* tcp_table.c: what lies around the end of the ring. */
void ring_put_around(struct tcp_ring *ring, uint32_t size, uint32_t at, struct span from);
void ring_get_around(const struct tcp_ring *ring, uint32_t size, uint32_t at, uint8_t *to, uint32_t len);

/* Of a buffer that was just taken: the next byte stored is seq. */
static inline struct tcp_ring *ring_begin(void *buffer, uint32_t seq)
{
    struct tcp_ring *ring = buffer;

    ring->base = seq;
    return ring;
}

static inline uint32_t ring_at(const struct tcp_ring *ring, uint32_t size, uint32_t seq)
{
    return (seq - ring->base) & (size - 1);
}

static inline void ring_put(struct tcp_ring *ring, uint32_t size, uint32_t seq, struct span from)
{
    uint32_t at = ring_at(ring, size, seq);

    if (LIKELY(from.len <= size - at))
        memcpy(ring->bytes + at, from.ptr, from.len);
    else
        ring_put_around(ring, size, at, from);
}

static inline void ring_get(const struct tcp_ring *ring, uint32_t size, uint32_t seq, uint8_t *to,
                            uint32_t len)
{
    uint32_t at = ring_at(ring, size, seq);

    if (len <= size - at)
        memcpy(to, ring->bytes + at, len);
    else
        ring_get_around(ring, size, at, to, len);
}

/* As the first word of a header of ours. */
static inline uint32_t tuple_ports(const struct tcp_tuple *tuple)
{
    return (uint32_t)tuple->local_port << 16 | tuple->remote_port;
}

static inline struct net_conn *slot_conn(const struct tcp *t, const struct tcp_slot *s)
{
    return (struct net_conn *)(void *)link_at(t, s->conn);
}

/* ---- the flight ---- */

static inline struct tcp_sent *sent_at(const struct net_conn *c, uint32_t i)
{
    return &c->board->sent[(c->board->head + i) & (c->tcp->board_cap - 1)];
}

/* tcp_scoreboard.c: a segment up to end joins a flight. */
void board_append(struct net_conn *c, uint32_t end);

/* A segment up to end leaves for the first time; it begins at snd_nxt, and last_send_us is still of the one before.
 * Cost: constant. */
static inline void flight_append(struct net_conn *c, uint32_t end)
{
    if (c->snd_nxt != c->snd_una) {
        board_append(c, end);
    } else if (tcp_conn_has(c, TCP_CONN_SACK)) {
        /* A recovery that began without a board has nothing left to repeat. */
        c->flags &= ~(uint32_t)(TCP_CONN_RECOVERY | TCP_CONN_PARTIAL_SEEN | TCP_CONN_RESEND_FIRST);
        c->flags |= TCP_CONN_LONE;
        c->dupacks = 0;
    }
}

/* 7.2: two round trips, and for a lone segment the time for which a peer may keep its ACK.  Beyond the RFC: a
 * probe that brings nothing is followed by others, each after twice the time, as long as that is less than the
 * RTO; and in recovery, when all that was lost has been repeated and nothing more comes, the first segment is
 * taken for lost again. */
static inline uint32_t flight_wait(const struct net_conn *c)
{
    return c->srtt_us != 0 ? u32_max(2 * c->srtt_us, 2 * TCP_RTT_FLOOR_US) : TCP_RTO_FIRST_US;
}

static inline uint32_t lone_wait(const struct net_conn *c)
{
    return flight_wait(c) + (c->peer_delays ? TCP_ACK_DELAY_MAX_US : TCP_ACK_DELAY_US);
}

static inline uint64_t probe_wait(const struct net_conn *c)
{
    bool lone = c->board == NULL || c->board->count == 1;

    return (uint64_t)(lone ? lone_wait(c) : flight_wait(c)) << c->probes;
}

static inline bool probe_is_due(const struct net_conn *c)
{
    if (c->retries != 0 || c->snd_wnd == 0 || c->probes == TCP_PROBES_MAX ||
        tcp_conn_has(c, TCP_CONN_RTO_RECOVERY | TCP_CONN_REORDER_TIMER))
        return false;
    if (c->board == NULL)
        return tcp_conn_has(c, TCP_CONN_LONE);
    return tcp_conn_has(c, TCP_CONN_RECOVERY) ? c->board->lost == 0 : c->board->sacked == 0;
}

/* Puts TIMER_REXMIT on the tail's probe: true, where one is due before the RTO.  Data that is added to the flight must not
 * put the timeout off for ever. */
static inline bool tlp_arm(struct net_conn *c, uint64_t now)
{
    bool first = c->probes == 0 && !tcp_conn_has(c, TCP_CONN_RECOVERY);
    uint64_t rto_at_us = (first ? c->progress_us : now) + c->rto_us;

    if (!probe_is_due(c))
        return false;
    uint64_t at_us = now + probe_wait(c);
    if (at_us > rto_at_us) {
        if (c->probes != 0)
            return false;
        at_us = rto_at_us > now ? rto_at_us : now;
    }
    c->flags |= TCP_CONN_PROBE_TIMER;
    tcp_conn_timer_set(c, TIMER_REXMIT, at_us);
    return true;
}

/* New data has left: what is timed already goes on, unless the tail's probe is due. */
static inline void flight_timer_arm(struct net_conn *c, uint64_t now)
{
    bool runs = tcp_conn_timer_runs(c, TIMER_REXMIT);

    if (!runs)
        c->flags &= ~(uint32_t)(TCP_CONN_REORDER_TIMER | TCP_CONN_PROBE_TIMER);
    if (!tlp_arm(c, now) && !runs)
        tcp_conn_timer_set(c, TIMER_REXMIT, now + c->rto_us);
}

/* Less than half of the receive or send buffers is free, or it was so in the last turn. */
static inline bool pressure_may_be(const struct tcp *t)
{
    return t->recv_buffers.free_count < t->pressure.recv_look ||
           t->send_buffers.free_count < t->pressure.send_look;
}

#endif
