/* One segment on a connection, in the order of RFC 9293 3.10.7.4: RST, timestamps, sequence number, SYN, ACK,
 * data, FIN; with the stricter rules of RFC 5961, 7323 and 1337. */
#include "dataplane/net/tcp.h"

static void count_drop(struct net_conn *c, enum reason r)
{
    count(c->tcp->net->counters, r);
}

/* RFC 5961 3.2: only a RST at exactly rcv_nxt is believed. */
static void reset_input(struct net_conn *c, const struct tcp_segment *s)
{
    if (s->seq == c->rcv_nxt) {
        count_drop(c, REASON_TCP_RESET_BY_PEER);
        tcp_conn_end(c, NET_CAUSE_RESET);
    } else if (seq_lt(c->rcv_nxt, s->seq) && seq_lt(s->seq, c->rcv_adv)) {
        tcp_conn_challenge(c);
    } else {
        count_drop(c, REASON_TCP_BAD_RST);
    }
}

/* RFC 7323 5.3; after 24 days of silence ts_recent has no say (5.5). */
static bool paws_refuses(const struct net_conn *c, const struct tcp_segment *s)
{
    return seq_lt(s->options.tsval, c->ts_recent) &&
           net_now_s(c->tcp->net) - c->ts_recent_s < TCP_PAWS_IDLE_S;
}

/* RFC 9293 3.10.7.4.  An empty segment just beyond the window's end is fine: a peer that has filled the window
 * acknowledges from there.  A segment at rcv_nxt is fine even when the window is shut: its ACK counts, and its
 * FIN needs no room; its data will be cut off. */
static bool sequence_acceptable(const struct net_conn *c, const struct tcp_segment *s)
{
    uint32_t len = segment_len(s);
    uint32_t last = s->seq + len - 1;

    if (s->seq == c->rcv_nxt)
        return true;
    if (len == 0)
        return seq_le(c->rcv_nxt, s->seq) && seq_le(s->seq, c->rcv_adv);
    return seq_lt(s->seq, c->rcv_adv) && seq_le(c->rcv_nxt, last);
}

/* What is outside the window is answered by an ACK.  Segments with data cannot be part of a loop of two stacks
 * correcting each other (B10); all others are answered within the challenge's rate. */
static void sequence_refused(struct net_conn *c, const struct tcp_segment *s)
{
    count_drop(c, REASON_TCP_OUT_OF_WINDOW);
    if (s->data.len != 0 || (s->flags & TCP_FIN) != 0)
        tcp_conn_ack_now(c);
    else if (s->seq == c->rcv_nxt - 1) /* a keep-alive (RFC 9293 3.8.4) */
        tcp_conn_still_here(c);
    else
        tcp_conn_challenge(c);
}

static void ts_recent_update(struct net_conn *c, const struct tcp_segment *s)
{
    if (!tcp_conn_has(c, TCP_CONN_TS) || !s->options.has_ts || !seq_le(s->seq, c->last_ack))
        return;
    if (seq_lt(s->options.tsval, c->ts_recent) && net_now_s(c->tcp->net) - c->ts_recent_s < TCP_PAWS_IDLE_S)
        return;
    c->ts_recent = s->options.tsval;
    c->ts_recent_s = net_now_s(c->tcp->net);
}

void tcp_conn_become_established(struct net_conn *c, const struct tcp_segment *s)
{
    tcp_conn_set_state(c, TCP_ESTABLISHED);
    tcp_conn_timer_stop(c, TIMER_REXMIT);
    c->cwnd = cwnd_initial(c);
    if (c->retries != 0)
        c->rto_us = TCP_RTO_AFTER_SYN_US; /* unless its timestamp tells more */
    c->snd_wnd = (uint32_t)s->wnd << c->snd_wscale;
    c->snd_wnd_max = c->snd_wnd;
    c->snd_wl1 = s->seq;
    c->snd_wl2 = s->ack;
    c->flags |= TCP_CONN_USER;
    tcp_conn_event(c, NET_EVENT_ESTABLISHED);
    keepalive_begin(c);
    tcp_conn_idle_restart(c);
}

/* RFC 5961 5.2: neither for what we never sent nor for what is older than any window we were given. */
static bool ack_acceptable(const struct net_conn *c, const struct tcp_segment *s)
{
    return seq_le(s->ack, c->snd_max) && seq_le(c->snd_una - c->snd_wnd_max, s->ack);
}

static bool our_fin_acked(const struct net_conn *c)
{
    return tcp_conn_has(c, TCP_CONN_FIN_QUEUED) && c->snd_una == c->snd_end + 1;
}

/* What the acknowledgement of our FIN means.  false: c is dead. */
static bool fin_acked(struct net_conn *c, const struct tcp_segment *s)
{
    switch (c->state) {
    case TCP_FIN_WAIT_1:
        tcp_conn_set_state(c, TCP_FIN_WAIT_2);
        if (!tcp_conn_has(c, TCP_CONN_USER))
            tcp_conn_orphan_timer_restart(c);
        return true;
    case TCP_CLOSING:
        /* What came once more wants its acknowledgement once more. */
        if (segment_len(s) != 0)
            c->flags |= TCP_CONN_ACK_NOW;
        tcp_conn_enter_time_wait(c);
        return false;
    case TCP_LAST_ACK:
        tcp_conn_end(c, NET_CAUSE_FINISHED);
        return false;
    default:
        return true;
    }
}

static bool state_takes_data(const struct net_conn *c)
{
    return !tcp_conn_has(c, TCP_CONN_FIN_RECEIVED) &&
           (c->state == TCP_ESTABLISHED || c->state == TCP_FIN_WAIT_1 || c->state == TCP_FIN_WAIT_2);
}

/* false: the data was dropped, so a FIN behind it must not be seen either. */
static bool data_input(struct net_conn *c, const struct tcp_segment *s)
{
    uint32_t before = c->rcv_nxt;
    uint32_t end = s->seq + (uint32_t)s->data.len;
    bool had_gaps = c->range_count != 0;
    bool whole = seq_le(c->rcv_nxt, s->seq) && seq_le(end, c->rcv_adv);

    if (!recv_store(c, s->seq, s->data))
        return false;
    if (c->rcv_nxt == before) {
        tcp_conn_ack_now(c);
        return true;
    }
    if (ack_is_due(c, (uint32_t)s->data.len, had_gaps || !whole, tcp_conn_now(c)))
        tcp_conn_ack_now(c);
    tcp_conn_event(c, NET_EVENT_READABLE);
    tcp_conn_idle_restart(c);
    return true;
}

/* Where the stream ends; the first FIN counts, unless bytes beyond it are already here. */
static void fin_note(struct net_conn *c, uint32_t fin)
{
    if (tcp_conn_has(c, TCP_CONN_FIN_SEEN) || seq_lt(fin, c->rcv_nxt) || seq_lt(c->rcv_adv, fin))
        return;
    if (c->range_count != 0 && seq_lt(fin, tcp_conn_ranges(c)[c->range_count - 1].end))
        return;
    c->flags |= TCP_CONN_FIN_SEEN;
    c->rcv_fin = fin;
    tcp_conn_ack_now(c);
}

static void fin_receive(struct net_conn *c)
{
    if (!tcp_conn_has(c, TCP_CONN_FIN_SEEN) || tcp_conn_has(c, TCP_CONN_FIN_RECEIVED) ||
        c->rcv_nxt != c->rcv_fin)
        return;
    c->rcv_nxt++;
    c->rcv_adv = seq_max(c->rcv_adv, c->rcv_nxt);
    c->flags |= TCP_CONN_FIN_RECEIVED;
    tcp_conn_ack_now(c);
    tcp_conn_event(c, NET_EVENT_PEER_FIN);
    if (c->state == TCP_ESTABLISHED)
        tcp_conn_set_state(c, TCP_CLOSE_WAIT);
    else if (c->state == TCP_FIN_WAIT_1)
        tcp_conn_set_state(c, TCP_CLOSING);
    else if (c->state == TCP_FIN_WAIT_2)
        tcp_conn_enter_time_wait(c);
}

/* RFC 1122 4.2.2.13: data for a connection that nobody reads any more. */
static bool orphan_refuses(const struct net_conn *c, const struct tcp_segment *s)
{
    uint32_t end = s->seq + (uint32_t)s->data.len;

    return !tcp_conn_has(c, TCP_CONN_USER) && s->data.len != 0 && seq_lt(c->rcv_nxt, end);
}

static void text_input(struct net_conn *c, const struct tcp_segment *s)
{
    if (!state_takes_data(c)) {
        /* A FIN or data once more: our ACK of it was lost. */
        if (segment_len(s) != 0)
            tcp_conn_ack_now(c);
        return;
    }
    if (orphan_refuses(c, s)) {
        count_drop(c, REASON_TCP_DATA_AFTER_CLOSE);
        tcp_conn_reset_send(c);
        tcp_conn_end(c, NET_CAUSE_ABORTED);
        return;
    }
    if (s->data.len != 0 && !data_input(c, s))
        return;
    if ((s->flags & TCP_FIN) != 0)
        fin_note(c, s->seq + (uint32_t)s->data.len);
    fin_receive(c);
}

/* RFC 5961 4.2. */
static void syn_input(struct net_conn *c)
{
    count_drop(c, REASON_TCP_UNEXPECTED_SYN);
    tcp_conn_challenge(c);
}

/* Everything that may stop a segment before its ACK counts.  false: it went no further. */
static bool segment_admit(struct net_conn *c, const struct tcp_segment *s)
{
    if ((s->flags & TCP_RST) != 0) {
        reset_input(c, s);
        return false;
    }
    if ((s->flags & TCP_SYN) != 0) {
        syn_input(c);
        return false;
    }
    if (tcp_conn_has(c, TCP_CONN_TS) && !s->options.has_ts) {
        count_drop(c, REASON_TCP_NO_TIMESTAMP);
        return false;
    }
    if (tcp_conn_has(c, TCP_CONN_TS) && paws_refuses(c, s)) {
        count_drop(c, REASON_TCP_PAWS);
        sequence_refused(c, s);
        return false;
    }
    if (!sequence_acceptable(c, s)) {
        if (seq_le(s->seq + (uint32_t)s->data.len, c->rcv_nxt))
            recv_duplicate_note(c, s->seq, s->seq + (uint32_t)s->data.len);
        sequence_refused(c, s);
        return false;
    }
    if ((s->flags & TCP_ACK) == 0) {
        count_drop(c, REASON_TCP_NO_ACK);
        return false;
    }
    return true;
}

void tcp_conn_input(struct net_conn *c, const struct tcp_segment *s)
{
    board_describe(c);
    if (c->state == TCP_SYN_SENT) {
        connect_input(c, s);
        return;
    }
    if (c->state == TCP_SYN_RECEIVED && (s->flags & (TCP_SYN | TCP_RST)) == TCP_SYN) {
        connect_syn_input(c, s);
        return;
    }
    if (!segment_admit(c, s) || (c->state == TCP_SYN_RECEIVED && !connect_ack_input(c, s)))
        return;
    if (!ack_acceptable(c, s)) {
        count_drop(c, REASON_TCP_BAD_ACK);
        tcp_conn_challenge(c);
        return;
    }
    c->last_rx_us = tcp_conn_now(c);
    c->keepalives = 0;
    ts_recent_update(c, s);
    ack_input(c, s);
    if (!our_fin_acked(c) || fin_acked(c, s))
        text_input(c, s);
}
