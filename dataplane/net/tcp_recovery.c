/* Loss recovery with SACK: RFC 6675 says what is lost, RFC 6937 how fast it is repaired.  Limited transmit
 * (RFC 3042) needs no rule here: what the peer reports to have leaves pipe, so new data may follow. */
#include "dataplane/net/tcp.h"

/* RFC 2883 4: the first block repeats what the ACK or the second block covers.  It is noted and changes
 * nothing (B35). */
static bool block_is_dsack(const struct tcp_segment *s)
{
    const struct tcp_range *first = &s->options.sack[0];
    const struct tcp_range *second = &s->options.sack[1];

    if (seq_le(first->end, s->ack))
        return true;
    return s->options.sack_count > 1 && seq_le(second->start, first->start) &&
           seq_le(first->end, second->end);
}

/* B1: a block of bytes that are in flight, and in the right order. */
static bool block_is_sound(const struct net_conn *c, uint32_t una, const struct tcp_range *b)
{
    return seq_lt(b->start, b->end) && seq_le(una, b->start) && seq_le(b->end, c->snd_max);
}

/* Whether a duplicate is one of bytes that we have sent and that could have come within the last windows. */
static bool dsack_is_sound(const struct net_conn *c, const struct tcp_range *b)
{
    return seq_lt(b->start, b->end) && seq_lt(c->iss, b->start) && seq_le(b->end, c->snd_max) &&
           c->snd_max - b->start <= 2 * c->snd_wnd_max;
}

static void dsack_take(struct net_conn *c, const struct tcp_range *b)
{
    if (!dsack_is_sound(c, b)) {
        count(c->tcp->net->counters, REASON_TCP_BAD_SACK);
        return;
    }
    count(c->tcp->net->counters, REASON_TCP_DSACKS);
    rack_widen(c);
    undo_dsack(c, b->start, b->end);
}

void recovery_dsack(struct net_conn *c, const struct tcp_segment *s)
{
    if (tcp_conn_has(c, TCP_CONN_SACK) && block_is_dsack(s))
        dsack_take(c, &s->options.sack[0]);
}

static uint32_t blocks_take(struct net_conn *c, const struct tcp_segment *s, uint32_t una)
{
    struct counters *counters = c->tcp->net->counters;
    uint32_t delivered = 0;

    for (uint32_t i = 0; i < s->options.sack_count; i++) {
        const struct tcp_range *b = &s->options.sack[i];
        if (i == 0 && block_is_dsack(s))
            dsack_take(c, b);
        else if (block_is_sound(c, una, b))
            delivered += board_sack(c, b->start, b->end);
        else
            count(counters, REASON_TCP_BAD_SACK);
    }
    return delivered;
}

/* The blocks first: they speak of what was in flight when the ACK came, and the ACK may end the flight. */
uint32_t recovery_take(struct net_conn *c, const struct tcp_segment *s)
{
    uint32_t delivered = 0;

    c->board->fack_before = c->board->fack;
    c->board->echoed = tcp_conn_has(c, TCP_CONN_TS) && s->options.has_ts && s->options.tsecr != 0;
    c->board->echo = s->options.tsecr;
    if (s->options.sack_count != 0)
        delivered = blocks_take(c, s, c->snd_una);
    if (seq_lt(c->snd_una, s->ack))
        delivered += board_ack(c, s->ack);
    return delivered;
}

/* RFC 6937 3.1: towards ssthresh in proportion while more than that is on its way; below it, no faster than
 * what arrives, and one segment more when the first hole was filled. */
static void prr_update(struct net_conn *c, uint32_t acked, uint32_t delivered)
{
    struct tcp_board *b = c->board;
    uint32_t pipe = tcp_conn_pipe(c);
    uint64_t allowed;

    b->prr_delivered += delivered;
    b->rescue_due = b->rescue_due || acked != 0;
    if (pipe > c->ssthresh) {
        allowed = ((uint64_t)b->prr_delivered * c->ssthresh + b->recover_flight - 1) / b->recover_flight;
        allowed = allowed > b->prr_out ? allowed - b->prr_out : 0;
    } else {
        uint32_t owed = b->prr_delivered > b->prr_out ? b->prr_delivered - b->prr_out : 0;
        allowed = u32_max(owed, delivered) + (acked != 0 ? tcp_conn_segment_max(c) : 0);
        allowed = u32_min((uint32_t)allowed, c->ssthresh - pipe);
    }
    c->cwnd = u32_max(pipe + (uint32_t)allowed, tcp_conn_segment_max(c));
}

static void recovery_enter(struct net_conn *c, uint32_t delivered)
{
    struct tcp_board *b = c->board;

    count(c->tcp->net->counters, REASON_TCP_SACK_RECOVERIES);
    undo_begin(c);
    cwnd_loss(c, cwnd_used(c));
    c->recover = c->snd_nxt;
    c->flags |= TCP_CONN_RECOVERY;
    c->flags &= ~(uint32_t)TCP_CONN_TIMING;
    b->prr_delivered = 0;
    b->prr_out = 0;
    b->recover_flight = c->snd_nxt - c->snd_una;
    b->lost_beyond = false;
    b->rescue_due = false;
    b->rescued = false;
    prr_update(c, 0, delivered);
    /* RFC 6937 3: the first repetition leaves at once. */
    c->cwnd = u32_max(c->cwnd, tcp_conn_pipe(c) + tcp_conn_segment_max(c));
    tcp_conn_rexmit_restart(c);
}

/* What a long hole has let go in one ACK must not leave in one burst. */
static void recovery_end(struct net_conn *c)
{
    c->cwnd = u32_min(c->ssthresh, tcp_conn_pipe(c) + TCP_BURST_SEGMENTS * tcp_conn_segment_max(c));
    c->flags &= ~(uint32_t)TCP_CONN_RECOVERY;
    rack_recovery_ended(c);
}

void recovery_consider(struct net_conn *c)
{
    if (c->board->lost == 0)
        return;
    if (!tcp_conn_has(c, TCP_CONN_RECOVERY | TCP_CONN_RTO_RECOVERY))
        recovery_enter(c, 0);
    else if (tcp_conn_has(c, TCP_CONN_RECOVERY))
        prr_update(c, 0, 0);
    tcp_conn_output_want(c);
}

void recovery_follow(struct net_conn *c, uint32_t acked, uint32_t delivered)
{
    bool reached = acked != 0 && seq_le(c->recover, c->snd_una);

    if (reached && tcp_conn_has(c, TCP_CONN_RTO_RECOVERY))
        c->flags &= ~(uint32_t)TCP_CONN_RTO_RECOVERY;
    if (reached && tcp_conn_has(c, TCP_CONN_RECOVERY))
        recovery_end(c);
    else if (!tcp_conn_has(c, TCP_CONN_RECOVERY) && acked != 0)
        cwnd_grow(c, acked);
    if (c->board == NULL)
        return;
    if (delivered != 0 && !tcp_conn_has(c, TCP_CONN_REORDERED))
        (void)board_mark_lost(c);
    if (delivered != 0)
        rack_detect(c);
    /* What a timeout has called lost was answered by it: ssthresh falls once per flight (B17, B34). */
    if (tcp_conn_has(c, TCP_CONN_RECOVERY))
        prr_update(c, acked, delivered);
    else if ((c->board->lost != 0 || c->board->lost_beyond) && !tcp_conn_has(c, TCP_CONN_RTO_RECOVERY))
        recovery_enter(c, delivered);
    if (delivered != 0)
        tcp_conn_output_want(c);
}

uint32_t recovery_room(const struct net_conn *c)
{
    uint32_t pipe = tcp_conn_pipe(c);

    /* With nothing on its way one segment may always go: a full one with a FIN is larger than cwnd may be. */
    if (pipe == 0)
        return UINT32_MAX;
    return c->cwnd > pipe ? c->cwnd - pipe : 0;
}
