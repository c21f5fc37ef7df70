/* Active open: from net_connect to ESTABLISHED (RFC 9293 3.10.1, 3.10.7.3).  The service never opens a
 * connection; load generators and tests do, with the same code on both ends of the wire.
 *
 *     net_connect -> SYN-SENT -- SYN-ACK -> ESTABLISHED
 *                        |--- SYN -> SYN-RECEIVED (a full record: both opened at once) -- ACK -> ESTABLISHED
 *                        `--- RST with the right ACK, or no answer: CLOSED
 *
 * The SYN is the segment at snd_una: TCP_CONN_RESEND_FIRST makes it leave, TIMER_REXMIT repeats it. */
#include "dataplane/net/tcp.h"

#include "base/check.h"
#include "dataplane/net/steer.h"

#define PORT_FIRST 1024 /* RFC 6056 3.2 */
#define PORT_COUNT (65536 - PORT_FIRST)

void connect_init(struct tcp *t)
{
    t->port_key = net_random_key(t->net);
    t->port_next = (uint32_t)net_random(t->net);
}

/* With several workers: the answers must come to this one. */
static bool flow_is_ours(const struct net *n, const struct net_addr *peer, const struct net_addr *local,
                         uint16_t peer_port, uint16_t local_port)
{
    const struct steering *s = n->config.steering;

    return s == NULL ||
           steering_owner(s, steering_hash(s, peer, local, peer_port, local_port)) == n->config.worker;
}

/* RFC 6056 3.3.3: a keyed hash of whom we go to, and one counter.  Ports of different peers tell nothing about
 * each other, and a port comes again as late as possible. */
static bool port_choose(struct tcp *t, const struct net_addr *peer, const struct net_addr *local,
                        struct tcp_tuple *tuple)
{
    uint32_t offset = (uint32_t)siphash(&t->port_key, span_of(tuple, sizeof *tuple));

    for (uint32_t i = 0; i < PORT_COUNT; i++) {
        tuple->local_port = (uint16_t)(PORT_FIRST + (offset + t->port_next++) % PORT_COUNT);
        if (!tcp_port_listens(t->net, tuple->local_port) &&
            flow_is_ours(t->net, peer, local, tuple->remote_port, tuple->local_port) &&
            table_find(t, tuple) == NULL && time_wait_find(t, tuple) == NULL)
            return true;
    }
    return false;
}

static void syn_begin(struct net_conn *c)
{
    c->iss = tuple_isn(c->tcp, &c->tuple);
    c->snd_una = c->iss;
    c->snd_nxt = c->iss + 1;
    c->snd_max = c->iss + 1;
    c->snd_end = c->iss + 1;
    c->recover = c->iss;
    c->rtt_seq = c->iss;
    c->mss = tcp_mss_ours(c);
    c->ts_offset = tuple_ts_offset(c->tcp, &c->tuple);
    c->ssthresh = UINT32_MAX;
    c->cwnd = cwnd_initial(c);
    c->rto_us = TCP_RTO_FIRST_US;
    c->progress_us = tcp_conn_now(c);
    c->flags = TCP_CONN_USER | TCP_CONN_RESEND_FIRST | TCP_CONN_TIMING;
    tcp_conn_set_state(c, TCP_SYN_SENT);
    tcp_conn_rexmit_restart(c);
    tcp_conn_output_want(c);
}

struct net_conn *net_connect(struct net *n, const struct net_addr *local, const struct net_addr *peer,
                             uint16_t port, uint64_t now_us)
{
    struct tcp_tuple tuple;
    struct net_conn *c = NULL;

    CHECK(ip_addr_is_ours(n, local) && local->family == peer->family && port != 0);
    if (now_us > n->now_us)
        n->now_us = now_us;
    tuple_set(&tuple, peer, local, port, 0);
    if (port_choose(n->tcp, peer, local, &tuple))
        c = tcp_conn_new(n->tcp, &tuple);
    if (c == NULL) {
        count(n->counters, REASON_TCP_CONNECT_FULL);
        return NULL;
    }
    syn_begin(c);
    return c;
}

/* ---- what we say ---- */

uint32_t connect_options(const struct net_conn *c, uint8_t *p)
{
    struct syn_entry e = {.flags = SYN_TS | SYN_SACK | SYN_WSCALE, .ts_recent = c->ts_recent};

    /* The SYN offers everything; the SYN-ACK of a simultaneous open what the peer's SYN had too. */
    if (c->state == TCP_SYN_RECEIVED)
        e.flags =
            ((tcp_conn_has(c, TCP_CONN_TS) ? SYN_TS : 0u) | (tcp_conn_has(c, TCP_CONN_SACK) ? SYN_SACK : 0u) |
             (tcp_conn_has(c, TCP_CONN_WSCALE) ? SYN_WSCALE : 0u)) &
            15;
    return options_write_syn(&e, tcp_mss_ours(c), tcp_conn_ts_now(c), c->tcp->rcv_wscale, p);
}

void connect_timeout(struct net_conn *c)
{
    if (c->retries == TCP_SYN_RETRIES) {
        count(c->tcp->net->counters, REASON_TCP_CONNECT_FAILED);
        tcp_conn_end(c, NET_CAUSE_TIMED_OUT);
        return;
    }
    c->retries++;
    c->rto_us = u32_min(2 * c->rto_us, TCP_RTO_MAX_US);
    c->flags |= TCP_CONN_RESEND_FIRST;
    c->flags &= ~(uint32_t)TCP_CONN_TIMING;
    tcp_conn_rexmit_restart(c);
    tcp_conn_output_want(c);
}

/* ---- what we hear ---- */

static void wrong_ack(struct net_conn *c, const struct tcp_segment *s)
{
    count(c->tcp->net->counters, REASON_TCP_BAD_ACK);
    if ((s->flags & TCP_RST) == 0)
        reset_send(c->tcp->net, &c->tuple, s->ack, 0, false);
}

/* Only a RST that acknowledges our SYN is believed (RFC 9293 3.10.7.3, RFC 5961 3.2). */
static void reset_input(struct net_conn *c, const struct tcp_segment *s)
{
    if ((s->flags & TCP_ACK) == 0) {
        count(c->tcp->net->counters, REASON_TCP_BAD_RST);
        return;
    }
    count(c->tcp->net->counters, REASON_TCP_CONNECT_FAILED);
    tcp_conn_end(c, NET_CAUSE_REFUSED);
}

/* s: a SYN with the ACK of ours.  Its window is never scaled (RFC 7323 2.2), data beside it comes again. */
static void syn_ack_take(struct net_conn *c, const struct tcp_segment *s)
{
    uint8_t scale = c->snd_wscale;

    c->snd_wscale = 0;
    tcp_conn_become_established(c, s);
    ack_input(c, s);
    c->snd_wscale = scale;
    count(c->tcp->net->counters, REASON_TCP_CONNECTED);
    tcp_conn_ack_now(c);
}

static void simultaneous_open(struct net_conn *c, const struct tcp_segment *s)
{
    c->snd_wnd = s->wnd;
    c->snd_wnd_max = s->wnd;
    c->flags |= TCP_CONN_RESEND_FIRST;
    c->flags &= ~(uint32_t)TCP_CONN_TIMING;
    tcp_conn_set_state(c, TCP_SYN_RECEIVED);
    tcp_conn_rexmit_restart(c);
    tcp_conn_output_want(c);
}

void connect_input(struct net_conn *c, const struct tcp_segment *s)
{
    struct syn_entry e = {.iss = c->iss};

    if ((s->flags & TCP_ACK) != 0 && s->ack != c->iss + 1) {
        wrong_ack(c, s);
    } else if ((s->flags & TCP_RST) != 0) {
        reset_input(c, s);
    } else if ((s->flags & TCP_SYN) == 0) {
        count(c->tcp->net->counters, REASON_TCP_REFUSED);
    } else {
        syn_entry_fill(&e, s);
        tcp_conn_agree(c, &e);
        tcp_conn_sequences_begin(c, &e);
        if ((s->flags & TCP_ACK) != 0)
            syn_ack_take(c, s);
        else
            simultaneous_open(c, s);
    }
}

/* The peer's SYN-ACK has the number of its SYN, which we have had; it still carries the ACK of ours. */
void connect_syn_input(struct net_conn *c, const struct tcp_segment *s)
{
    if (s->seq != c->irs) {
        count(c->tcp->net->counters, REASON_TCP_UNEXPECTED_SYN);
        tcp_conn_challenge(c);
    } else if ((s->flags & TCP_ACK) == 0) {
        c->flags |= TCP_CONN_RESEND_FIRST;
        tcp_conn_output_want(c);
    } else if (s->ack != c->iss + 1) {
        wrong_ack(c, s);
    } else {
        syn_ack_take(c, s);
    }
}

bool connect_ack_input(struct net_conn *c, const struct tcp_segment *s)
{
    if (s->ack != c->iss + 1) {
        wrong_ack(c, s);
        return false;
    }
    tcp_conn_become_established(c, s);
    count(c->tcp->net->counters, REASON_TCP_CONNECTED);
    return true;
}
