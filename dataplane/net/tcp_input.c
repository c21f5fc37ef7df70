/* From a datagram to a connection: the header, the table, listeners, and segments for nobody. */
#include "dataplane/net/tcp.h"

static void tuple_set(struct tcp_tuple *t, const struct net_addr *remote, const struct net_addr *local,
                      uint16_t remote_port, uint16_t local_port)
{
    memset(t, 0, sizeof *t);
    memcpy(t->remote, remote->bytes, sizeof t->remote);
    memcpy(t->local, local->bytes, sizeof t->local);
    t->remote_port = remote_port;
    t->local_port = local_port;
    t->family = remote->family;
}

/* false: dropped and counted. */
static bool segment_parse(struct net *n, const struct ip_packet *p, struct tcp_segment *s)
{
    const uint8_t *h = p->payload.ptr;
    size_t header_len;

    if (p->payload.len < TCP_HEADER_LEN) {
        count(n->counters, REASON_TCP_RUNT);
        return false;
    }
    header_len = (size_t)(h[12] >> 4) * 4;
    if (header_len < TCP_HEADER_LEN || header_len > p->payload.len) {
        count(n->counters, REASON_TCP_BAD_OFFSET);
        return false;
    }
    if (!ip_checksum_ok_tcp(p)) {
        count(n->counters, REASON_TCP_BAD_CHECKSUM);
        return false;
    }
    s->ip = p;
    tuple_set(&s->tuple, &p->src, &p->dst, load_be16(h), load_be16(h + 2));
    s->seq = load_be32(h + 4);
    s->ack = load_be32(h + 8);
    s->flags = h[13] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_ACK | TCP_URG);
    s->wnd = load_be16(h + 14);
    s->data = span_from(p->payload, header_len);
    if (!options_parse(span_of(h + TCP_HEADER_LEN, header_len - TCP_HEADER_LEN), &s->options)) {
        count(n->counters, REASON_TCP_BAD_OPTION);
        return false;
    }
    if (s->options.refused || s->tuple.remote_port == 0 || s->tuple.local_port == 0) {
        count(n->counters, REASON_TCP_REFUSED);
        return false;
    }
    return true;
}

/* About 10 000 RSTs and 1 000 challenges a second in the long run; the steps are random, so that counting
 * answers tells nobody how many others got one (CVE-2016-5696). */
static void tokens_refill(struct tcp *t)
{
    struct net *n = t->net;
    uint64_t ms = (n->now_us - t->tokens_at_us) / 1000;

    if (ms == 0)
        return;
    t->tokens_at_us = n->now_us;
    if (ms > TCP_RESETS_BURST)
        ms = TCP_RESETS_BURST;
    t->reset_tokens =
        u32_min(t->reset_tokens + (uint32_t)ms * (8 + net_random_below(n, 5)), TCP_RESETS_BURST);
    t->challenge_tokens =
        u32_min(t->challenge_tokens + (uint32_t)ms * net_random_below(n, 3), TCP_CHALLENGES_BURST);
}

void reset_send(struct net *n, const struct tcp_tuple *tuple, uint32_t seq, uint32_t ack, bool with_ack)
{
    struct net_addr local = {.family = (uint8_t)tuple->family};
    struct net_addr remote = {.family = (uint8_t)tuple->family};
    uint8_t *h;

    tokens_refill(n->tcp);
    if (n->tcp->reset_tokens == 0) {
        count(n->counters, REASON_TCP_RST_SUPPRESSED);
        return;
    }
    memcpy(local.bytes, tuple->local, sizeof local.bytes);
    memcpy(remote.bytes, tuple->remote, sizeof remote.bytes);
    h = reply_begin_ip(n, &local, &remote, IP_PROTO_TCP, TCP_HEADER_LEN);
    if (h == NULL)
        return;
    n->tcp->reset_tokens--;
    memset(h, 0, TCP_HEADER_LEN);
    store_be16(h, tuple->local_port);
    store_be16(h + 2, tuple->remote_port);
    store_be32(h + 4, seq);
    store_be32(h + 8, ack);
    h[12] = TCP_HEADER_LEN / 4 << 4;
    h[13] = (uint8_t)(TCP_RST | (with_ack ? TCP_ACK : 0));
    reply_commit_ip(n);
    count(n->counters, REASON_TCP_RST_SENT);
}

void conn_reset_send(struct net_conn *c)
{
    reset_send(c->tcp->net, &c->tuple, conn_seq_acceptable(c), c->rcv_nxt, true);
}

void conn_challenge(struct net_conn *c)
{
    struct tcp *t = c->tcp;
    uint64_t now = conn_now(c);

    tokens_refill(t);
    if (c->challenge_tokens < TCP_CHALLENGE_BURST && now >= c->challenge_at_us) {
        uint64_t earned = 1 + (now - c->challenge_at_us) / TCP_CHALLENGE_US;
        c->challenge_tokens =
            (uint8_t)(earned + c->challenge_tokens < TCP_CHALLENGE_BURST ? earned + c->challenge_tokens
                                                                         : TCP_CHALLENGE_BURST);
        c->challenge_at_us = now + TCP_CHALLENGE_US + net_random_below(t->net, TCP_CHALLENGE_US / 2);
    }
    if (c->challenge_tokens == 0 || t->challenge_tokens == 0) {
        count(t->net->counters, REASON_TCP_CHALLENGE_SUPPRESSED);
        return;
    }
    if (c->challenge_tokens == TCP_CHALLENGE_BURST)
        c->challenge_at_us = now + TCP_CHALLENGE_US + net_random_below(t->net, TCP_CHALLENGE_US / 2);
    c->challenge_tokens--;
    t->challenge_tokens--;
    count(t->net->counters, REASON_TCP_CHALLENGE_SENT);
    conn_ack_now(c);
}

/* RFC 9293 3.5.2 and 3.10.7.1: a RST is never answered, a segment with ACK by its own number. */
static void stranger_input(struct net *n, const struct tcp_segment *s)
{
    uint32_t len = (uint32_t)s->data.len + ((s->flags & TCP_SYN) != 0) + ((s->flags & TCP_FIN) != 0);

    count(n->counters, REASON_TCP_NO_CONNECTION);
    if ((s->flags & TCP_RST) != 0)
        return;
    if ((s->flags & TCP_ACK) != 0)
        reset_send(n, &s->tuple, s->ack, 0, false);
    else
        reset_send(n, &s->tuple, 0, s->seq + len, true);
}

/* RFC 6528: a 4-us clock and a keyed hash of the tuple. */
static uint32_t initial_seq(const struct tcp *t, const struct tcp_tuple *tuple)
{
    uint64_t hash = siphash(&t->isn_key, span_of(tuple, sizeof *tuple));

    return (uint32_t)(t->net->now_us / 4) + (uint32_t)hash;
}

static uint16_t mss_agree(const struct net_conn *c, const struct tcp_options *o)
{
    uint16_t theirs = c->tuple.family == NET_IP4 ? TCP_MSS_DEFAULT_4 : TCP_MSS_DEFAULT_6;

    if (o->has_mss)
        theirs = o->mss < TCP_MSS_FLOOR ? TCP_MSS_FLOOR : o->mss;
    return (uint16_t)u32_min(theirs, tcp_mss_ours(c));
}

static void conn_agree(struct net_conn *c, const struct tcp_segment *s)
{
    const struct tcp_options *o = &s->options;

    c->flags |= (o->has_ts ? CONN_TS : 0u) | (o->sack_permitted ? CONN_SACK : 0u) |
                (o->has_wscale ? CONN_WSCALE : 0u);
    c->snd_wscale = o->has_wscale ? o->wscale : 0;
    c->rcv_wscale = o->has_wscale ? c->tcp->rcv_wscale : 0; /* B14: only if offered */
    c->ts_recent = o->tsval;
    c->ts_recent_us = conn_now(c);
    c->ts_offset = (uint32_t)siphash(&c->tcp->ts_key, span_of(&c->tuple, sizeof c->tuple));
    c->mss = mss_agree(c, o);
}

/* RFC 9293 3.10.7.2.  Data beside the SYN is not taken: it comes again after the handshake.
 * isn_above: the ISN must lie beyond this (RFC 1122 4.2.2.13). */
static void listen_input(struct net *n, const struct tcp_segment *s, const uint32_t *isn_above)
{
    struct net_conn *c = conn_new(n->tcp, &s->tuple);

    if (c == NULL) {
        count(n->counters, REASON_TCP_TABLE_FULL);
        return;
    }
    conn_agree(c, s);
    c->irs = s->seq;
    c->rcv_nxt = s->seq + 1;
    c->rcv_read = c->rcv_nxt;
    c->last_ack = c->rcv_nxt;
    c->rcv_adv = c->rcv_nxt + u32_min(n->config.recv_buffer, UINT16_MAX);
    c->iss = initial_seq(n->tcp, &s->tuple);
    if (isn_above != NULL && !seq_lt(*isn_above, c->iss))
        c->iss = *isn_above + 1 + UINT16_MAX;
    c->snd_una = c->iss;
    c->snd_nxt = c->iss;
    c->snd_max = c->iss + 1;
    c->snd_end = c->iss + 1;
    c->recover = c->iss;
    c->ssthresh = UINT32_MAX;
    c->rto_us = TCP_RTO_FIRST_US;
    c->last_send_us = n->now_us;
    c->progress_us = n->now_us;
    c->flags |= CONN_SYN_ACK_NOW;
    conn_set_state(c, TCP_SYN_RCVD);
    count(n->counters, REASON_TCP_SYN_RECEIVED);
    conn_output_want(c);
}

static bool port_listens(const struct net *n, uint16_t port)
{
    for (uint16_t i = 0; i < n->config.port_count; i++)
        if (n->config.ports[i] == port)
            return true;
    return false;
}

static bool is_opening_syn(const struct tcp_segment *s)
{
    return (s->flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

void tcp_input(struct net *n, const struct ip_packet *p)
{
    struct tcp_segment s;
    struct net_conn *c;

    if (!p->to_unicast || !segment_parse(n, p, &s))
        return;
    c = table_find(n->tcp, &s.tuple);
    if (c != NULL) {
        uint32_t above = c->snd_max;
        if (!conn_input(c, &s))
            return;
        conn_end(c, NET_CAUSE_FINISHED);
        listen_input(n, &s, &above);
        return;
    }
    if (!port_listens(n, s.tuple.local_port) || (s.flags & (TCP_RST | TCP_ACK)) != 0) {
        stranger_input(n, &s);
        return;
    }
    if (!is_opening_syn(&s)) {
        count(n->counters, REASON_TCP_REFUSED);
        return;
    }
    listen_input(n, &s, NULL);
}

/* RFC 5927: believed only about a segment in flight, and then it only ever makes segments smaller; every other
 * error is soft (RFC 5461), the retransmission timer decides. */
void tcp_icmp_error(struct net *n, const struct icmp_tcp_error *e)
{
    struct tcp_tuple tuple;
    struct net_conn *c;
    uint32_t headers = (e->remote.family == NET_IP4 ? IP4_HEADER_LEN : IP6_HEADER_LEN) + TCP_HEADER_LEN;
    uint32_t mtu = u32_max(e->mtu, e->remote.family == NET_IP4 ? 552 : 1280);

    tuple_set(&tuple, &e->remote, &e->local, e->remote_port, e->local_port);
    c = table_find(n->tcp, &tuple);
    if (e->kind != ICMP_ERROR_TOO_BIG || c == NULL || seq_lt(e->seq, c->snd_una) ||
        !seq_lt(e->seq, c->snd_max) || mtu - headers >= c->mss) {
        count(n->counters, REASON_TCP_ICMP_IGNORED);
        return;
    }
    count(n->counters, REASON_TCP_MTU_LOWERED);
    c->mss = (uint16_t)(mtu - headers);
    if (c->state == TCP_SYN_RCVD)
        return;
    /* All that is in flight was as large: it goes out again in smaller pieces. */
    board_drop(c);
    c->flags &= ~(uint32_t)CONN_TIMING;
    conn_output_want(c);
}
