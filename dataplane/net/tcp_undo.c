/* A loss that was none: the first copy came after all, only late.  Three ways to know: the ACK echoes a timestamp
 * older than the repetition (Eifel, RFC 3522); after a timeout the peer acknowledges what went out once only
 * (F-RTO, RFC 5682); it reports every repetition as a duplicate (D-SACK, RFC 3708).  Then the window is what it
 * was before, and no more (RFC 4015): a peer that lies about this gains nothing that it did not have. */
#include "dataplane/net/tcp.h"

#define FRTO_SEGMENTS 2 /* RFC 5682 2.1 step 2b: new ones that ask whether the old ones arrive */
#define FRTO_FAILED   3 /* step 3a: cwnd when they do not */

void undo_begin(struct net_conn *c)
{
    struct tcp_undo *u = &c->undo;

    *u = (struct tcp_undo){.cwnd = c->cwnd,
                           .ssthresh = c->ssthresh,
                           .w_max = c->cubic.w_max,
                           .w_prior = c->cubic.w_prior,
                           .una = c->snd_una};
    /* Repetitions of an earlier recovery may be reported yet: they would be mistaken for this one's. */
    u->mixed = tcp_conn_has(c, TCP_CONN_RECOVERY);
    c->flags |= TCP_CONN_UNDO;
    c->flags &= ~(uint32_t)(TCP_CONN_FRTO | TCP_CONN_FRTO_ASKED | TCP_CONN_MTU_SUSPECTED);
}

void undo_timeout(struct net_conn *c)
{
    if (!tcp_conn_has(c, TCP_CONN_RTO_RECOVERY))
        undo_begin(c);
    /* Again after progress: more than the first segment has been repeated by now. */
    if (!tcp_conn_has(c, TCP_CONN_RTO_RECOVERY) || c->retries != 0)
        c->flags |= TCP_CONN_FRTO;
    c->flags &= ~(uint32_t)TCP_CONN_FRTO_ASKED;
}

void undo_repeated(struct net_conn *c)
{
    struct tcp_undo *u = &c->undo;

    if (!tcp_conn_has(c, TCP_CONN_UNDO) || !tcp_conn_has(c, TCP_CONN_RECOVERY | TCP_CONN_RTO_RECOVERY))
        return;
    if (u->repeats == 0 && !u->reported)
        u->ts = tcp_conn_ts_now(c);
    if (u->repeats == UINT16_MAX)
        u->mixed = true;
    else
        u->repeats++;
}

void undo_dsack(struct net_conn *c, uint32_t start, uint32_t end)
{
    struct tcp_undo *u = &c->undo;

    if (!tcp_conn_has(c, TCP_CONN_UNDO) || u->repeats == 0 || seq_lt(start, u->una) ||
        seq_lt(c->recover, end))
        return;
    u->repeats--;
    u->reported = true;
}

/* The window may not open in one burst (D7). */
static void window_restore(struct net_conn *c)
{
    const struct tcp_undo *u = &c->undo;
    uint32_t burst = TCP_BURST_SEGMENTS * tcp_conn_segment_max(c);

    c->ssthresh = u32_max(u->ssthresh, u->cwnd);
    c->cwnd = u32_max(c->cwnd, u32_min(u->cwnd, tcp_conn_pipe(c) + burst));
    c->cubic.w_max = u->w_max;
    c->cubic.w_prior = u->w_prior;
    c->cubic.epoch_us = 0;
}

/* In RTO recovery what was marked lost is on its way again. */
static void undo(struct net_conn *c)
{
    count(c->tcp->net->counters, REASON_TCP_SPURIOUS);
    c->flags &= ~(uint32_t)(TCP_CONN_UNDO | TCP_CONN_FRTO | TCP_CONN_FRTO_ASKED | TCP_CONN_RTO_RECOVERY);
    if (c->board == NULL)
        c->snd_nxt = c->snd_max;
    else
        board_unmark_lost(c);
    window_restore(c);
    pmtu_acquit(c);
    tcp_conn_output_want(c);
}

void undo_cuts(struct net_conn *c)
{
    if (tcp_conn_has(c, TCP_CONN_UNDO))
        window_restore(c);
    c->flags &= ~(uint32_t)TCP_CONN_UNDO;
}

/* RFC 3522 3.2 step 5: the ACK was sent for a copy that left before the repetition did. */
static bool echo_is_older(const struct net_conn *c, const struct tcp_segment *s)
{
    return tcp_conn_has(c, TCP_CONN_TS) && s->options.has_ts && s->options.tsecr != 0 &&
           c->undo.repeats != 0 && seq_lt(s->options.tsecr, c->undo.ts);
}

static bool more_to_ask_with(const struct net_conn *c)
{
    if (c->board != NULL && (c->snd_nxt != c->snd_max || board_is_full(c)))
        return false;
    return seq_lt(c->snd_max, c->snd_end) && seq_lt(c->snd_max, c->snd_una + c->snd_wnd);
}

/* RFC 5682 2.1 step 2b.  Without a board what is in flight stands for its own pipe. */
void undo_ask(struct net_conn *c)
{
    uint32_t mss = tcp_conn_segment_max(c);

    if (!tcp_conn_has(c, TCP_CONN_FRTO))
        return;
    c->flags &= ~(uint32_t)TCP_CONN_FRTO;
    if (seq_le(c->recover, c->snd_una) || !more_to_ask_with(c))
        return;
    c->flags |= TCP_CONN_FRTO_ASKED;
    c->recover = c->snd_max;
    c->snd_nxt = c->snd_max;
    c->cwnd = tcp_conn_pipe(c) + FRTO_SEGMENTS * mss;
}

static void frto_failed(struct net_conn *c)
{
    uint32_t mss = tcp_conn_segment_max(c);

    if (tcp_conn_has(c, TCP_CONN_FRTO_ASKED)) {
        c->cwnd = u32_min(c->cwnd, FRTO_FAILED * mss);
        if (c->board == NULL)
            c->snd_nxt = c->snd_una;
        tcp_conn_output_want(c);
    }
    c->flags &= ~(uint32_t)(TCP_CONN_FRTO | TCP_CONN_FRTO_ASKED);
}

void undo_ack_new(struct net_conn *c, const struct tcp_segment *s)
{
    if (tcp_conn_has(c, TCP_CONN_UNDO) && tcp_conn_has(c, TCP_CONN_RTO_RECOVERY) &&
        (tcp_conn_has(c, TCP_CONN_FRTO_ASKED) || echo_is_older(c, s)))
        undo(c);
}

void undo_ack_duplicate(struct net_conn *c)
{
    if (tcp_conn_has(c, TCP_CONN_FRTO | TCP_CONN_FRTO_ASKED))
        frto_failed(c);
}

void undo_recovered(struct net_conn *c, const struct tcp_segment *s)
{
    if (!tcp_conn_has(c, TCP_CONN_UNDO) || !echo_is_older(c, s))
        return;
    undo(c);
    c->flags |= TCP_CONN_REORDERED;
    rack_widen(c);
}

void undo_settle(struct net_conn *c)
{
    const struct tcp_undo *u = &c->undo;

    if (tcp_conn_has(c, TCP_CONN_UNDO) && u->reported && u->repeats == 0 && !u->mixed &&
        !tcp_conn_has(c, TCP_CONN_RECOVERY | TCP_CONN_RTO_RECOVERY))
        undo(c);
}
