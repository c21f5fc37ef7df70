/* From a datagram to a connection: the header, the table, listeners, and segments for nobody. */
#include "dataplane/net/tcp.h"

void tuple_set(struct tcp_tuple *t, const struct net_addr *remote, const struct net_addr *local,
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

/* A budget that has earned something: never more than a number that is drawn anew each time.  Who exhausts it
 * and counts his answers learns what was drawn, and not whether somebody else got one (CVE-2016-5696). */
static uint32_t budget_earn(struct net *n, uint32_t tokens, uint32_t earned, uint32_t burst)
{
    return u32_min(tokens + earned, burst / 2 + net_random_below(n, burst / 2 + 1));
}

/* About 10 000 RSTs and 1 000 challenges a second in the long run. */
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
        budget_earn(n, t->reset_tokens, (uint32_t)ms * (8 + net_random_below(n, 5)), TCP_RESETS_BURST);
    t->challenge_tokens =
        budget_earn(n, t->challenge_tokens, (uint32_t)ms / 2 + net_random_below(n, (uint32_t)ms + 2),
                    TCP_CHALLENGES_BURST);
}

bool bare_send(struct net *n, const struct tcp_tuple *tuple, const struct tcp_bare *b)
{
    struct net_addr local = {.family = (uint8_t)tuple->family};
    struct net_addr remote = {.family = (uint8_t)tuple->family};
    size_t len = TCP_HEADER_LEN + b->options.len;

    memcpy(local.bytes, tuple->local, sizeof local.bytes);
    memcpy(remote.bytes, tuple->remote, sizeof remote.bytes);
    uint8_t *h = reply_begin_ip(n, &local, &remote, IP_PROTO_TCP, (uint16_t)len);
    if (h == NULL)
        return false;
    memset(h, 0, TCP_HEADER_LEN);
    store_be16(h, tuple->local_port);
    store_be16(h + 2, tuple->remote_port);
    store_be32(h + 4, b->seq);
    store_be32(h + 8, b->ack);
    h[12] = (uint8_t)(len / 4 << 4);
    h[13] = b->flags;
    store_be16(h + 14, b->wnd);
    if (b->options.len != 0)
        memcpy(h + TCP_HEADER_LEN, b->options.ptr, b->options.len);
    reply_commit_ip(n);
    return true;
}

void reset_send(struct net *n, const struct tcp_tuple *tuple, uint32_t seq, uint32_t ack, bool with_ack)
{
    struct tcp_bare b = {.seq = seq, .ack = ack, .flags = (uint8_t)(TCP_RST | (with_ack ? TCP_ACK : 0))};

    tokens_refill(n->tcp);
    if (n->tcp->reset_tokens == 0) {
        count(n->counters, REASON_TCP_RST_SUPPRESSED);
        return;
    }
    if (!bare_send(n, tuple, &b))
        return;
    n->tcp->reset_tokens--;
    count(n->counters, REASON_TCP_RST_SENT);
}

void tcp_conn_reset_send(struct net_conn *c)
{
    reset_send(c->tcp->net, &c->tuple, tcp_conn_seq_acceptable(c), c->rcv_nxt, true);
}

bool challenge_token_take(struct tcp *t)
{
    tokens_refill(t);
    if (t->challenge_tokens == 0)
        return false;
    t->challenge_tokens--;
    return true;
}

/* Of the connection's own budget, a token for an ACK that corrects its peer. */
static bool own_token_take(struct net_conn *c)
{
    struct tcp *t = c->tcp;
    uint64_t now = tcp_conn_now(c);

    if (c->challenge_tokens < TCP_CHALLENGE_BURST && now >= c->challenge_at_us) {
        uint64_t earned = 1 + (now - c->challenge_at_us) / TCP_CHALLENGE_US;
        uint64_t tokens = earned + c->challenge_tokens;
        c->challenge_tokens = (tokens < TCP_CHALLENGE_BURST ? tokens : TCP_CHALLENGE_BURST) & 7;
        c->challenge_at_us = now + TCP_CHALLENGE_US + net_random_below(t->net, TCP_CHALLENGE_US / 2);
    }
    if (c->challenge_tokens == 0)
        return false;
    if (c->challenge_tokens == TCP_CHALLENGE_BURST)
        c->challenge_at_us = now + TCP_CHALLENGE_US + net_random_below(t->net, TCP_CHALLENGE_US / 2);
    c->challenge_tokens--;
    return true;
}

static void correct(struct net_conn *c, bool allowed)
{
    count(c->tcp->net->counters, allowed ? REASON_TCP_CHALLENGE_SENT : REASON_TCP_CHALLENGE_SUPPRESSED);
    if (allowed)
        tcp_conn_ack_now(c);
}

void tcp_conn_challenge(struct net_conn *c)
{
    correct(c, own_token_take(c) && challenge_token_take(c->tcp));
}

/* Not out of the worker's budget: where many idle connections ask, each would be taken for dead once that is used up.  Who does not
 * know rcv_nxt cannot ask. */
void tcp_conn_still_here(struct net_conn *c)
{
    correct(c, own_token_take(c));
}

/* RFC 9293 3.5.2 and 3.10.7.1: a RST is never answered, a segment with ACK by its own number. */
static void stranger_input(struct net *n, const struct tcp_segment *s)
{
    uint32_t len = segment_len(s);

    count(n->counters, REASON_TCP_NO_CONNECTION);
    if ((s->flags & TCP_RST) != 0)
        return;
    if ((s->flags & TCP_ACK) != 0)
        reset_send(n, &s->tuple, s->ack, 0, false);
    else
        reset_send(n, &s->tuple, 0, s->seq + len, true);
}

bool tcp_port_listens(const struct net *n, uint16_t port)
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

uint32_t tcp_expect(const struct net *n, uint8_t family, const uint8_t *addrs, const uint8_t *ports)
{
    struct tcp_tuple t = {
        .remote_port = load_be16(ports), .local_port = load_be16(ports + 2), .family = family};
    size_t len = family == NET_IP4 ? 4 : 16;

    memcpy(t.remote, addrs, len);
    memcpy(t.local, addrs + len, len);
    return table_expect(n->tcp, &t);
}

void tcp_expect_record(const struct net *n, uint32_t hash)
{
    table_expect_record(n->tcp, hash);
}

/* No connection has this tuple yet. */
static void listener_input(struct net *n, const struct tcp_segment *s)
{
    if (cookie_input(n, s))
        return;
    if ((s->flags & (TCP_RST | TCP_ACK)) != 0)
        stranger_input(n, s);
    else if (is_opening_syn(s))
        listen_input(n, s, NULL);
    else
        count(n->counters, REASON_TCP_REFUSED);
}

static void old_input(struct net *n, struct wait_entry *old, const struct tcp_segment *s)
{
    uint32_t above = old->snd_nxt;

    if (!time_wait_input(n->tcp, old, s))
        return;
    time_wait_free(n->tcp, old);
    listen_input(n, s, &above);
}

/* What exists comes first, whatever the listener would make of the segment (B21). */
void tcp_input(struct net *n, const struct ip_packet *p)
{
    struct tcp_segment s;
    struct net_conn *c;
    struct syn_entry *half;
    struct wait_entry *old;

    if (!p->to_unicast || !segment_parse(n, p, &s))
        return;
    c = table_find(n->tcp, &s.tuple);
    if (c != NULL) {
        tcp_conn_input(c, &s);
        return;
    }
    half = syn_cache_find(n->tcp, &s.tuple);
    if (half != NULL) {
        syn_cache_input(n, half, &s);
        return;
    }
    old = time_wait_find(n->tcp, &s.tuple);
    if (old != NULL)
        old_input(n, old, &s);
    else if (tcp_port_listens(n, s.tuple.local_port))
        listener_input(n, &s);
    else
        stranger_input(n, &s);
}

/* RFC 5927: believed only about a segment in flight, and then it only ever makes segments smaller; every other
 * error is soft (RFC 5461), the retransmission timer decides. */
void tcp_icmp_error(struct net *n, const struct icmp_tcp_error *e)
{
    struct tcp_tuple tuple;
    struct net_conn *c;

    tuple_set(&tuple, &e->remote, &e->local, e->remote_port, e->local_port);
    c = table_find(n->tcp, &tuple);
    if (e->kind == ICMP_ERROR_TOO_BIG && c != NULL && !tcp_conn_is_opening(c) &&
        pmtu_too_big(c, e->seq, e->mtu))
        count(n->counters, REASON_TCP_MTU_LOWERED);
    else
        count(n->counters, REASON_TCP_ICMP_IGNORED);
}
