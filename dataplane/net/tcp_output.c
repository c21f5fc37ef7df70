/* What to send next, and the sending of it.  Connections with something to say stand in one queue; each gets
 * a quantum of segments per turn.  Data is copied out of the ring again for every retransmission, so a segment
 * is cut by what holds now, not by what held when it first went out. */
#include "dataplane/net/tcp.h"

static void header_write(const struct net_conn *c, uint8_t *h, uint32_t seq, uint8_t flags, uint32_t options,
                         uint32_t window)
{
    store_be16(h, c->tuple.local_port);
    store_be16(h + 2, c->tuple.remote_port);
    store_be32(h + 4, seq);
    store_be32(h + 8, c->rcv_nxt);
    h[12] = (uint8_t)((TCP_HEADER_LEN + options) / 4 << 4);
    h[13] = flags;
    store_be16(h + 14, (uint16_t)u32_min(window, UINT16_MAX));
    store_be16(h + 16, 0);
    store_be16(h + 18, 0);
}

static uint8_t *frame_begin(const struct net_conn *c, struct frame *f, const struct path *way,
                            uint32_t l4_len)
{
    return ip_frame_begin(c->tcp->net, f, way, l4_len);
}

/* Every segment acknowledges: nothing is owed any more. */
static void ack_left(struct net_conn *c)
{
    c->flags &= ~(uint32_t)(TCP_CONN_ACK_NOW | TCP_CONN_DSACK);
    c->rcv_since_ack = 0;
    c->last_ack = c->rcv_nxt;
    tcp_conn_timer_stop(c, TIMER_DELACK);
}

static void segment_write(struct net_conn *c, struct frame *f, const struct path *way, uint32_t seq,
                          uint32_t len, uint8_t flags)
{
    uint32_t options_min = c->mss - tcp_conn_segment_max(c);
    uint32_t room = u32_max(c->mss, len + options_min) - len; /* a probe of the path is larger than mss */
    uint32_t options = options_len(c, room);
    uint8_t *h = frame_begin(c, f, way, TCP_HEADER_LEN + options + len);

    c->rcv_adv = window_edge(c->tcp, c);
    header_write(c, h, seq, flags, options, tcp_conn_recv_window(c) >> c->rcv_wscale);
    (void)options_write(c, h + TCP_HEADER_LEN, room);
    if (len != 0)
        ring_get(c->send_ring, c->tcp->net->config.send_buffer, seq, h + TCP_HEADER_LEN + options, len);
    ip_frame_finish_tcp(c->tcp->net, f, way, TCP_HEADER_LEN + options);
    ack_left(c);
}

/* Before our SYN is acknowledged: the SYN (or SYN-ACK) itself, or an ACK that corrects the peer. */
static uint16_t opening_output(struct net_conn *c, const struct path *way, struct frame *f)
{
    uint8_t options[TCP_OPTIONS_MAX];

    if (tcp_conn_has(c, TCP_CONN_RESEND_FIRST)) {
        uint32_t len = connect_options(c, options);
        uint8_t *h = frame_begin(c, f, way, TCP_HEADER_LEN + len);
        header_write(c, h, c->iss, c->state == TCP_SYN_SENT ? TCP_SYN : TCP_SYN | TCP_ACK, len,
                     syn_window(c->tcp->net));
        memcpy(h + TCP_HEADER_LEN, options, len);
        ip_frame_finish_tcp(c->tcp->net, f, way, TCP_HEADER_LEN + len);
        c->flags &= ~(uint32_t)TCP_CONN_RESEND_FIRST;
        c->last_send_us = tcp_conn_now(c);
        c->rtt_start_us = (uint32_t)tcp_conn_now(c);
        ack_left(c);
        return 1;
    }
    if (!tcp_conn_has(c, TCP_CONN_ACK_NOW))
        return 0;
    segment_write(c, f, way, tcp_conn_seq_acceptable(c), 0, TCP_ACK);
    return 1;
}

struct plan {
    uint32_t seq, len;
    bool fin, probe;
    bool again; /* a segment of the board */
};

static uint32_t data_pending(const struct net_conn *c)
{
    return seq_lt(c->snd_nxt, c->snd_end) ? c->snd_end - c->snd_nxt : 0;
}

static bool fin_pending(const struct net_conn *c)
{
    return tcp_conn_has(c, TCP_CONN_FIN_QUEUED) && seq_le(c->snd_nxt, c->snd_end);
}

static uint32_t data_max(const struct net_conn *c)
{
    return (uint32_t)c->mss - options_len(c, c->mss);
}

static bool plan_resend(struct net_conn *c, struct plan *p)
{
    uint32_t outstanding = c->snd_nxt - c->snd_una;
    uint32_t data = u32_min(tcp_conn_queued(c), outstanding);

    if (!tcp_conn_has(c, TCP_CONN_RESEND_FIRST))
        return false;
    c->flags &= ~(uint32_t)TCP_CONN_RESEND_FIRST;
    p->seq = c->snd_una;
    p->len = u32_min(data, data_max(c));
    p->fin = p->len == data && outstanding > data;
    return p->len != 0 || p->fin;
}

/* What left when segments were larger leaves in two. */
static uint32_t fitting_end(struct net_conn *c, uint32_t start, uint32_t end)
{
    uint32_t data = end - start - seq_lt(c->snd_end, end);

    if (data <= tcp_conn_segment_max(c) || !board_split(c, start, tcp_conn_segment_max(c)))
        return end;
    return start + tcp_conn_segment_max(c);
}

static void plan_again(struct net_conn *c, uint32_t start, uint32_t end, struct plan *p)
{
    end = fitting_end(c, start, end);
    p->seq = start;
    p->fin = seq_lt(c->snd_end, end);
    p->len = end - start - p->fin;
    p->again = true;
}

/* The oldest segment marked lost.  It was within the window when it first left; should the peer have drawn the
 * window back since, only the first segment asks whether it still means that. */
static bool plan_lost(struct net_conn *c, struct plan *p)
{
    uint32_t start, end;

    if (c->board == NULL || tcp_conn_has(c, TCP_CONN_FRTO_ASKED) || !board_first_lost(c, &start, &end))
        return false;
    if (start != c->snd_una && seq_lt(c->snd_una + c->snd_wnd, end))
        return false;
    if (recovery_room(c) < end - start)
        return false;
    plan_again(c, start, end, p);
    return true;
}

/* RFC 6675 4, rule 4, once per recovery: a hole was filled, nothing else is left to send, and still the last
 * segment is missing.  Nobody would report it otherwise. */
static bool plan_rescue(struct net_conn *c, struct plan *p)
{
    uint32_t start, end;

    if (c->board == NULL || !tcp_conn_has(c, TCP_CONN_RECOVERY) || !c->board->rescue_due ||
        c->board->rescued || c->board->lost != 0 || data_pending(c) != 0 || fin_pending(c))
        return false;
    if (!board_last_missing(c, &start, &end) || recovery_room(c) < end - start)
        return false;
    c->board->rescued = true;
    plan_again(c, start, end, p);
    return true;
}

/* RFC 9293 3.8.6.1: one byte from beyond the window, or the FIN when nothing else is left; whatever cwnd
 * says. */
static bool plan_probe(struct net_conn *c, struct plan *p)
{
    if (!tcp_conn_has(c, TCP_CONN_PROBE))
        return false;
    c->flags &= ~(uint32_t)TCP_CONN_PROBE;
    if (c->snd_wnd != 0 || c->snd_nxt != c->snd_una)
        return false;
    p->seq = c->snd_una;
    p->len = data_pending(c) != 0;
    p->fin = p->len == 0 && fin_pending(c);
    p->probe = true;
    return p->len != 0 || p->fin;
}

static uint32_t window_room(const struct net_conn *c)
{
    uint32_t edge = c->snd_una + c->snd_wnd;

    return seq_lt(c->snd_nxt, edge) ? edge - c->snd_nxt : 0;
}

/* RFC 3042: the first two duplicates let one new segment out each. */
static uint32_t cwnd_room(const struct net_conn *c)
{
    uint32_t flight = tcp_conn_pipe(c);
    uint32_t cwnd = c->cwnd;

    if (c->board == NULL && !tcp_conn_has(c, TCP_CONN_RECOVERY | TCP_CONN_RTO_RECOVERY) &&
        c->dupacks < TCP_DUPACKS)
        cwnd += c->dupacks * tcp_conn_segment_max(c);
    return cwnd > flight ? cwnd - flight : 0;
}

static bool plan_larger(struct net_conn *c, uint32_t room, struct plan *p)
{
    p->seq = c->snd_nxt;
    p->len = pmtu_probe(c, room);
    return p->len != 0;
}

/* RFC 9293 3.8.6.2.1 without Nagle: full segments, all there is, half of the widest window, or what the timer
 * forces. */
static bool plan_new(struct net_conn *c, struct plan *p)
{
    uint32_t wanted = u32_min(data_pending(c), data_max(c));
    uint32_t wnd = window_room(c);
    uint32_t len = u32_min(wanted, u32_min(wnd, cwnd_room(c)));

    if (board_is_full(c))
        return false;
    if (tcp_conn_has(c, TCP_CONN_MTU_LOWERED) &&
        plan_larger(c, u32_min(data_pending(c), u32_min(wnd, cwnd_room(c))), p))
        return true;
    if (len < wanted && len < c->snd_wnd_max / 2 && !tcp_conn_has(c, TCP_CONN_FORCE))
        return false;
    c->flags &= ~(uint32_t)TCP_CONN_FORCE;
    p->seq = c->snd_nxt;
    p->len = len;
    p->fin = fin_pending(c) && len == data_pending(c) && wnd > len;
    return p->len != 0 || p->fin;
}

/* RFC 8985 7.3: new data where the window takes some, whatever cwnd says; otherwise the last segment again. */
static bool plan_tail(struct net_conn *c, struct plan *p)
{
    uint32_t len = u32_min(u32_min(data_pending(c), data_max(c)), window_room(c));
    uint32_t start, end;

    if (!tcp_conn_has(c, TCP_CONN_TLP_NOW))
        return false;
    c->flags &= ~(uint32_t)TCP_CONN_TLP_NOW;
    if (c->board == NULL || tcp_conn_has(c, TCP_CONN_RTO_RECOVERY))
        return false;
    count(c->tcp->net->counters, REASON_TCP_TAIL_PROBES);
    if (tcp_conn_has(c, TCP_CONN_RECOVERY)) {
        board_head(c, &start, &end);
        plan_again(c, start, end, p);
        return true;
    }
    c->flags |= TCP_CONN_TLP;
    if (len != 0 && !board_is_full(c)) {
        p->seq = c->snd_nxt;
        p->len = len;
        p->fin = fin_pending(c) && len == data_pending(c) && window_room(c) > len;
    } else if (board_tail(c, &start, &end)) {
        c->flags |= TCP_CONN_TLP_REPEAT;
        c->tlp_lone = start == c->snd_una;
        plan_again(c, start, end, p);
    }
    c->tlp_end = p->seq + p->len + p->fin;
    return true;
}

static bool plan_next(struct net_conn *c, struct plan *p)
{
    *p = (struct plan){0};
    return plan_tail(c, p) || plan_lost(c, p) || plan_resend(c, p) || plan_probe(c, p) || plan_new(c, p) ||
           plan_rescue(c, p);
}

static void plan_board(struct net_conn *c, const struct plan *p, uint32_t end)
{
    if (p->again)
        board_repeat(c, p->seq);
    else if (p->seq == c->snd_nxt)
        flight_append(c, end);
    if (c->board != NULL && tcp_conn_has(c, TCP_CONN_RECOVERY))
        c->board->prr_out += end - p->seq;
}

static void plan_account(struct net_conn *c, const struct plan *p)
{
    uint32_t end = p->seq + p->len + p->fin;

    if (seq_lt(p->seq, c->snd_max)) {
        c->flags &= ~(uint32_t)TCP_CONN_TIMING;
        count(c->tcp->net->counters, p->probe ? REASON_TCP_PROBES : REASON_TCP_RETRANSMITS);
        if (!p->probe)
            undo_repeated(c);
        if (tcp_conn_has(c, TCP_CONN_MTU_LOWERED))
            pmtu_repeated(c, p->seq);
    } else {
        if (p->probe)
            count(c->tcp->net->counters, REASON_TCP_PROBES);
        if (c->snd_una == c->snd_max)
            c->progress_us = tcp_conn_now(c);
        if (!tcp_conn_has(c, TCP_CONN_TIMING) && !p->probe) {
            c->flags |= TCP_CONN_TIMING;
            c->rtt_seq = p->seq;
            c->rtt_start_us = (uint32_t)tcp_conn_now(c);
        }
    }
    c->snd_max = seq_max(c->snd_max, end);
    if (!p->probe)
        plan_board(c, p, end);
    c->last_send_us = tcp_conn_now(c);
    if (p->probe)
        return;
    c->snd_nxt = seq_max(c->snd_nxt, end);
    if (tcp_conn_has(c, TCP_CONN_PERSIST))
        tcp_conn_persist_stop(c);
    flight_timer_arm(c, tcp_conn_now(c));
}

static void plan_send(struct net_conn *c, const struct plan *p, struct frame *f, const struct path *way)
{
    bool last = p->len != 0 && p->seq + p->len == c->snd_end;
    uint8_t flags = (uint8_t)(TCP_ACK | (last ? TCP_PSH : 0) | (p->fin ? TCP_FIN : 0));

    if (c->snd_una == c->snd_max)
        flight_begin(c, tcp_conn_now(c));
    segment_write(c, f, way, p->seq, p->len, flags);
    plan_account(c, p);
}

/* What was left unsent, and why: a shut window needs probes, a full cwnd may grow. */
static void output_settle(struct net_conn *c)
{
    bool waiting = data_pending(c) != 0 || fin_pending(c);
    uint32_t flight = c->snd_nxt - c->snd_una;

    if (tcp_conn_pipe(c) + tcp_conn_segment_max(c) > c->cwnd)
        c->flags |= TCP_CONN_CWND_LIMITED;
    else
        c->flags &= ~(uint32_t)TCP_CONN_CWND_LIMITED;
    if (waiting && flight == 0 && !tcp_conn_has(c, TCP_CONN_PERSIST))
        tcp_conn_persist_start(c);
    else if (!waiting && tcp_conn_has(c, TCP_CONN_PERSIST))
        tcp_conn_persist_stop(c);
}

/* Fills at most cap (> 0) frames; *more: there may be more to send. */
static uint16_t tcp_conn_output(struct net_conn *c, const struct path *way, struct frame *frames,
                                uint16_t cap, bool *more)
{
    uint16_t used = 0;
    struct plan p;

    *more = false;
    if (tcp_conn_is_opening(c))
        return opening_output(c, way, frames);
    while (used < cap && plan_next(c, &p))
        plan_send(c, &p, &frames[used++], way);
    if (used == cap) {
        *more = true;
        return used;
    }
    if (tcp_conn_has(c, TCP_CONN_KEEPALIVE) && used == 0 && c->snd_una == c->snd_max)
        segment_write(c, &frames[used++], way, c->snd_una - 1, 0, TCP_ACK);
    else if (tcp_conn_has(c, TCP_CONN_ACK_NOW))
        segment_write(c, &frames[used++], way, tcp_conn_seq_acceptable(c), 0, TCP_ACK);
    c->flags &= ~(uint32_t)TCP_CONN_KEEPALIVE;
    output_settle(c);
    return used;
}

/* No way to the peer: as if sent and lost, so that the timer tries again and in the end gives up. */
static void output_unroutable(struct net_conn *c)
{
    count(c->tcp->net->counters, REASON_TCP_NO_HOP);
    c->flags &= ~(uint32_t)TCP_CONN_ACK_NOW;
    tcp_conn_timer_stop(c, TIMER_DELACK);
    if (c->snd_una == c->snd_max && data_pending(c) == 0 && !fin_pending(c))
        return;
    if (tcp_conn_timer_runs(c, TIMER_REXMIT) || tcp_conn_has(c, TCP_CONN_PERSIST))
        return;
    if (c->snd_una == c->snd_max && c->retries == 0)
        c->progress_us = tcp_conn_now(c);
    tcp_conn_rexmit_restart(c);
}

void hop_waiters_ask_again(struct tcp *t)
{
    t->hop_generation = t->net->hop_generation;
    while (!link_empty(t, &t->hop_waiters)) {
        struct tcp_link *l = link_first(t, &t->hop_waiters);
        link_remove(t, l);
        link_append(t, &t->outputs, l);
    }
}

NOINLINE uint16_t tcp_conn_turn_output(struct net_conn *c, struct frame *frames, uint16_t cap)
{
    struct tcp *t = c->tcp;
    const struct path *way;

    board_describe(c);
    enum ip_hop hop = path_hop(t->net, (uint8_t)c->tuple.family, c->tuple.local, c->tuple.remote, &way);
    uint16_t used = 0;
    bool more = false;

    if (hop == IP_HOP_READY)
        used = tcp_conn_output(c, way, frames, cap, &more);
    else if (hop == IP_HOP_RESOLVING)
        link_append(t, &t->hop_waiters, &c->output_link);
    else
        output_unroutable(c);
    if (more)
        tcp_conn_output_want(c);
    return used;
}

bool tcp_has_output(const struct net *n)
{
    const struct tcp *t = n->tcp;

    return !link_empty(t, &t->outputs) ||
           (!link_empty(t, &t->hop_waiters) && t->hop_generation != n->hop_generation);
}
