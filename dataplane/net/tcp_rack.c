/* RFC 8985.  RACK: what was sent a round trip and a little before a segment that arrived is lost; "a little" is
 * how far the path may reorder.  TLP: a tail that nobody acknowledges is probed after two round trips, since
 * nothing behind it could report its loss.  Arrival is the time of the turn in which a frame was received, not
 * that of its processing (B19); a round trip counts as one tick at least (B20).  Both share TIMER_REXMIT with
 * the RTO. */
#include "dataplane/net/tcp.h"

/* The window lasts for as many recoveries from now. */
static void widened(struct net_conn *c, uint32_t steps)
{
    c->reo_widen = (uint8_t)((TCP_REO_PERSIST - 1) << 4 | u32_min(steps, TCP_REO_MULT_MAX - 1));
}

/* A segment came late, and not too late: the next one may need as long. */
static void overtaken(struct net_conn *c, uint32_t rtt)
{
    uint32_t expected = c->board->rack_rtt_us;

    c->flags |= TCP_CONN_REORDERED;
    if (rtt <= expected || rtt - expected <= c->reo_us)
        return;
    c->reo_us = rtt - expected;
    widened(c, c->reo_widen & 15u);
}

void rack_arrived(struct net_conn *c, const struct tcp_sent *r)
{
    struct tcp_board *b = c->board;
    uint32_t rtt = u32_max((uint32_t)(tcp_conn_now(c) - r->at_us), TCP_RTT_FLOOR_US);

    if ((r->flags & SENT_REPEATED) == 0) {
        if (c->rtt_min_us == 0 || rtt < c->rtt_min_us)
            c->rtt_min_us = rtt;
        if (seq_lt(r->end, b->fack_before))
            overtaken(c, rtt);
    } else if (rtt < c->rtt_min_us || (b->echoed && seq_lt(b->echo, tcp_conn_ts_at(c, r->at_us)))) {
        return; /* the answer to an earlier copy */
    }
    b->fack = seq_max(b->fack, r->end);
    if (r->at_us < b->rack_at_us || (r->at_us == b->rack_at_us && seq_lt(r->end, b->rack_end)))
        return;
    b->rack_at_us = r->at_us;
    b->rack_end = r->end;
    b->rack_rtt_us = rtt;
}

/* Step 4, and what the path was seen to need.  One that was never seen to reorder gets no window once three
 * segments have overtaken. */
static uint64_t reo_window(const struct net_conn *c)
{
    uint64_t quarter = c->rtt_min_us / 4;
    uint64_t window = quarter * (1u + (c->reo_widen & 15u)) + c->reo_us;

    if (!tcp_conn_has(c, TCP_CONN_REORDERED) && (tcp_conn_has(c, TCP_CONN_RECOVERY | TCP_CONN_RTO_RECOVERY) ||
                                                 board_sacked_segments(c) >= TCP_DUPACKS))
        return 0;
    return c->srtt_us != 0 && window > c->srtt_us ? u32_max(c->srtt_us, (uint32_t)quarter) : window;
}

void rack_detect(struct net_conn *c)
{
    uint64_t wait;

    if (c->board->rack_at_us == 0)
        return;
    wait = board_mark_late(c, reo_window(c));
    if (wait != 0) {
        tcp_conn_rexmit_restart(c);
        c->flags |= TCP_CONN_REORDER_TIMER;
        tcp_conn_timer_set(c, TIMER_REXMIT, tcp_conn_now(c) + wait);
    } else if (tcp_conn_has(c, TCP_CONN_REORDER_TIMER) ||
               (tcp_conn_has(c, TCP_CONN_PROBE_TIMER) && c->board->sacked != 0)) {
        tcp_conn_rexmit_restart(c);
    }
}

void rack_widen(struct net_conn *c)
{
    struct tcp_board *b = c->board;
    uint32_t steps = c->reo_widen & 15u;

    if (b != NULL && b->widened && seq_lt(c->snd_una, b->widened_until))
        return;
    if (b != NULL) {
        b->widened = true;
        b->widened_until = c->snd_nxt;
    }
    widened(c, 2 * steps + 1); /* not one by one: most flights are short */
}

void rack_recovery_ended(struct net_conn *c)
{
    if (c->reo_widen >> 4 != 0)
        c->reo_widen = (uint8_t)(c->reo_widen - (1 << 4));
    else
        c->reo_widen = 0, c->reo_us = 0;
}

void rack_timeout(struct net_conn *c)
{
    bool probe = tcp_conn_has(c, TCP_CONN_PROBE_TIMER);

    tcp_conn_rexmit_restart(c);
    if (c->board == NULL)
        return;
    if (probe) {
        c->probes++;
        c->flags |= TCP_CONN_TLP_NOW;
        tcp_conn_output_want(c);
        return;
    }
    rack_detect(c);
    recovery_consider(c);
}

/* What the probe repaired was a loss all the same: ssthresh and cwnd fall as if it had been noticed. */
static void tlp_loss(struct net_conn *c)
{
    if (tcp_conn_has(c, TCP_CONN_RECOVERY | TCP_CONN_RTO_RECOVERY))
        return;
    c->flags &= ~(uint32_t)TCP_CONN_UNDO;
    cwnd_loss(c, c->cwnd);
    c->cwnd = u32_min(c->cwnd, c->ssthresh);
}

void tlp_answer(struct net_conn *c, const struct tcp_segment *s)
{
    bool dsack = s->options.sack_count != 0 && s->options.sack[0].end == c->tlp_end;
    bool duplicate = s->ack == c->snd_una && s->options.sack_count == 0 && s->data.len == 0;

    if (seq_lt(s->ack, c->tlp_end))
        return;
    if (tcp_conn_has(c, TCP_CONN_TLP_REPEAT) && !dsack) {
        if (seq_lt(c->tlp_end, s->ack))
            tlp_loss(c);
        else if (!duplicate)
            return;
    }
    if (dsack && c->tlp_lone)
        c->peer_delays = true;
    c->flags &= ~(uint32_t)(TCP_CONN_TLP | TCP_CONN_TLP_REPEAT);
    c->tlp_lone = false;
}
