/* Echo, and errors in both directions.  What we send is limited per source network and per worker, both with a
 * jittered burst: an exact budget would tell a third party how much of it somebody else has used (the SAD DNS
 * class of attacks).  The source's limit is asked first, so that one network cannot use up the worker's. */
#include "dataplane/net/ip.h"

#define ICMP_HEADER_LEN 8
#define SOURCE_SETS     64 /* of SOURCE_WAYS networks each; the one least recently heard gives way */
#define SOURCE_WAYS     4
/* RFC 1812 4.3.2.3 and RFC 4443 2.4(c): what an error may be long, its IP header included. */
#define ERROR4_MAX 576
#define ERROR6_MAX 1280

enum {
    ICMP4_ECHO_REPLY = 0,
    ICMP4_UNREACHABLE = 3,
    ICMP4_ECHO = 8,
    ICMP4_TIME_EXCEEDED = 11,
    ICMP4_PARAMETER = 12,
    ICMP6_UNREACHABLE = 1,
    ICMP6_TOO_BIG = 2,
    ICMP6_TIME_EXCEEDED = 3,
    ICMP6_PARAMETER = 4,
    ICMP6_ECHO = 128,
    ICMP6_ECHO_REPLY = 129,
    ICMP6_MLD_QUERY = 130,
    ICMP6_ROUTER_SOLICITATION = 133,
    ICMP6_REDIRECT = 137,
};

/* A token bucket in microseconds of credit. */
struct rate {
    uint32_t cost_us; /* of one message */
    uint32_t burst;   /* messages, when full; half of them at least */
};

static const struct rate echo_rate = {1000000 / 1000, 200};
static const struct rate error_rate = {1000000 / 100, 50};
static const struct rate echo_source_rate = {1000000 / 200, 100};
static const struct rate error_source_rate = {1000000 / 20, 20};

struct limit {
    uint64_t credit_us, credit_max_us;
    uint64_t filled_at_us;
};

/* One network of sources: an IPv4 /24, an IPv6 /64. */
struct source {
    uint64_t tag; /* keyed hash of the prefix; 0: unused */
    uint64_t heard_us;
    struct limit echo, error;
};

struct icmp {
    struct limit echo, error;
    struct siphash_key key;
    struct source source[SOURCE_SETS][SOURCE_WAYS];
};

size_t icmp_memory_needed(void)
{
    return sizeof(struct icmp) + 64;
}

/* ---- limits ---- */

static uint64_t jittered_burst(struct net *n, const struct rate *rate)
{
    return (uint64_t)(rate->burst / 2 + net_random_below(n, rate->burst / 2 + 1)) * rate->cost_us;
}

static void limit_init(struct net *n, struct limit *l, const struct rate *rate)
{
    l->credit_us = l->credit_max_us = jittered_burst(n, rate);
    l->filled_at_us = n->now_us;
}

void icmp_init(struct net *n, struct arena *a)
{
    n->icmp = arena_alloc(a, sizeof *n->icmp, 64);
    n->icmp->key = net_random_key(n);
    limit_init(n, &n->icmp->echo, &echo_rate);
    limit_init(n, &n->icmp->error, &error_rate);
}

static bool limit_take(struct net *n, struct limit *l, const struct rate *rate)
{
    l->credit_us += n->now_us - l->filled_at_us;
    l->filled_at_us = n->now_us;
    if (l->credit_us > l->credit_max_us)
        l->credit_us = l->credit_max_us;
    if (l->credit_us < rate->cost_us) {
        l->credit_max_us = jittered_burst(n, rate);
        return false;
    }
    l->credit_us -= rate->cost_us;
    return true;
}

static uint64_t network_tag(const struct net *n, const struct net_addr *a)
{
    struct net_addr network = addr_source_prefix(a);

    if (network.family == NET_IP4)
        network.bytes[3] = 0;
    uint64_t tag = siphash(&n->icmp->key, span_of(network.bytes, addr_len(a)));
    return tag != 0 ? tag : 1;
}

/* A network that was pushed out by others comes back with a fresh burst: the worker's limit holds all the
 * same. */
static struct source *source_of(struct net *n, const struct net_addr *a)
{
    uint64_t tag = network_tag(n, a);
    struct source *set = n->icmp->source[tag % SOURCE_SETS], *oldest = set;

    for (size_t i = 0; i < SOURCE_WAYS; i++) {
        if (set[i].tag == tag) {
            set[i].heard_us = n->now_us;
            return &set[i];
        }
        if (oldest->tag != 0 && (set[i].tag == 0 || set[i].heard_us < oldest->heard_us))
            oldest = &set[i];
    }
    *oldest = (struct source){.tag = tag, .heard_us = n->now_us};
    limit_init(n, &oldest->echo, &echo_source_rate);
    limit_init(n, &oldest->error, &error_source_rate);
    return oldest;
}

static bool may_echo(struct net *n, const struct net_addr *to)
{
    enum reason why = REASON_ICMP_ECHO_LIMITED;

    if (!limit_take(n, &source_of(n, to)->echo, &echo_source_rate))
        why = REASON_ICMP_ECHO_SOURCE_LIMITED;
    else if (limit_take(n, &n->icmp->echo, &echo_rate))
        return true;
    count(n->counters, why);
    return false;
}

static bool may_send_error(struct net *n, const struct net_addr *to)
{
    enum reason why = REASON_ICMP_ERROR_LIMITED;

    if (!limit_take(n, &source_of(n, to)->error, &error_source_rate))
        why = REASON_ICMP_ERROR_SOURCE_LIMITED;
    else if (limit_take(n, &n->icmp->error, &error_rate))
        return true;
    count(n->counters, why);
    return false;
}

/* ---- echo (RFC 792, RFC 4443 4.2) ---- */

static void echo_input(struct net *n, const struct ip_packet *p)
{
    bool ip6 = p->family == NET_IP6;
    struct net_addr src = p->dst;

    /* We send no fragments. */
    if (p->payload.len + (ip6 ? IP6_HEADER_LEN : IP4_HEADER_LEN) > n->config.mtu) {
        count(n->counters, REASON_ICMP_ECHO_TOO_LONG);
        return;
    }
    if (!may_echo(n, &p->src))
        return;
    if (!p->to_unicast && !route_source(n, &p->src, &src))
        return;
    uint8_t *at =
        reply_begin_ip(n, &src, &p->src, ip6 ? IP_PROTO_ICMP6 : IP_PROTO_ICMP, (uint16_t)p->payload.len);
    if (at == NULL)
        return;
    memcpy(at, p->payload.ptr, p->payload.len);
    at[0] = ip6 ? ICMP6_ECHO_REPLY : ICMP4_ECHO_REPLY;
    at[1] = 0;
    count(n->counters, REASON_ICMP_ECHO_ANSWERED);
    reply_commit_ip(n);
}

/* ---- errors that we get ---- */

/* The quoted packet is one of ours: no options, no extension headers, TCP at once. */
static bool parse_quote(const struct net *n, struct span quote, uint8_t family, struct icmp_tcp_error *e)
{
    size_t header_len = family == NET_IP6 ? IP6_HEADER_LEN : IP4_HEADER_LEN;
    const uint8_t *q = quote.ptr;

    if (quote.len < header_len + 8)
        return false;
    if (family == NET_IP6) {
        if (q[0] >> 4 != 6 || q[6] != IP_PROTO_TCP)
            return false;
        e->local = addr_ip6(q + 8);
        e->remote = addr_ip6(q + 24);
    } else {
        if (q[0] != 0x45 || q[9] != IP_PROTO_TCP)
            return false;
        e->local = addr_ip4(q + 12);
        e->remote = addr_ip4(q + 16);
    }
    e->local_port = load_be16(q + header_len);
    e->remote_port = load_be16(q + header_len + 2);
    e->seq = load_be32(q + header_len + 4);
    return ip_addr_is_ours(n, &e->local);
}

static void error_input(struct net *n, const struct ip_packet *p, struct icmp_tcp_error *e)
{
    if (!parse_quote(n, span_from(p->payload, ICMP_HEADER_LEN), p->family, e)) {
        count(n->counters, REASON_ICMP_ERROR_BAD_QUOTE);
        return;
    }
    if (steer_error(n, p, e))
        return;
    count(n->counters, REASON_ICMP_ERROR_RECEIVED);
    tcp_icmp_error(n, e);
}

static void icmp4_dispatch(struct net *n, const struct ip_packet *p)
{
    struct icmp_tcp_error e = {0};

    switch (p->payload.ptr[0]) {
    case ICMP4_ECHO:
        echo_input(n, p);
        return;
    case ICMP4_UNREACHABLE:
        e.kind = p->payload.ptr[1] == 4 ? ICMP_ERROR_TOO_BIG : ICMP_ERROR_UNREACHABLE;
        if (e.kind == ICMP_ERROR_TOO_BIG)
            e.mtu = load_be16(p->payload.ptr + 6);
        break;
    case ICMP4_TIME_EXCEEDED:
        e.kind = ICMP_ERROR_TIME_EXCEEDED;
        break;
    case ICMP4_PARAMETER:
        e.kind = ICMP_ERROR_PARAMETER;
        break;
    default:
        count(n->counters, REASON_ICMP_UNKNOWN_TYPE);
        return;
    }
    error_input(n, p, &e);
}

static void icmp6_dispatch(struct net *n, const struct ip_packet *p)
{
    struct icmp_tcp_error e = {0};
    uint8_t type = p->payload.ptr[0];

    if (type >= ICMP6_ROUTER_SOLICITATION && type <= ICMP6_REDIRECT) {
        ndp_input(n, p);
        return;
    }
    switch (type) {
    case ICMP6_ECHO:
        if (addr_is_unspecified(&p->src))
            count(n->counters, REASON_IP6_MARTIAN_SOURCE);
        else
            echo_input(n, p);
        return;
    case ICMP6_MLD_QUERY:
        mld_input(n, p);
        return;
    case ICMP6_UNREACHABLE:
        e.kind = ICMP_ERROR_UNREACHABLE;
        break;
    case ICMP6_TOO_BIG:
        e.kind = ICMP_ERROR_TOO_BIG;
        e.mtu = load_be32(p->payload.ptr + 4);
        break;
    case ICMP6_TIME_EXCEEDED:
        e.kind = ICMP_ERROR_TIME_EXCEEDED;
        break;
    case ICMP6_PARAMETER:
        e.kind = ICMP_ERROR_PARAMETER;
        break;
    default:
        count(n->counters, REASON_ICMP_UNKNOWN_TYPE);
        return;
    }
    error_input(n, p, &e);
}

void icmp_input(struct net *n, const struct ip_packet *p)
{
    bool ip6 = p->family == NET_IP6;
    uint16_t start = ip6 ? checksum_pseudo(&p->src, &p->dst, IP_PROTO_ICMP6, (uint32_t)p->payload.len) : 0;

    if (p->payload.len < ICMP_HEADER_LEN)
        count(n->counters, REASON_ICMP_TRUNCATED);
    else if (checksum_sum(p->payload, start) != 0xffff)
        count(n->counters, REASON_ICMP_BAD_CHECKSUM);
    else if (ip6)
        icmp6_dispatch(n, p);
    else
        icmp4_dispatch(n, p);
}

/* ---- errors that we send ---- */

struct wording {
    uint8_t type, code;
};

static struct wording wording_of(uint8_t family, enum icmp_complaint what)
{
    static const struct wording ip4[] = {
        [ICMP_NO_PROTOCOL] = {ICMP4_UNREACHABLE, 2}, [ICMP_NO_PORT] = {ICMP4_UNREACHABLE, 3},
        [ICMP_BAD_OPTION] = {ICMP4_PARAMETER, 0},    [ICMP_BAD_HEADER] = {ICMP4_PARAMETER, 0},
        [ICMP_CUT_CHAIN] = {ICMP4_PARAMETER, 0},     [ICMP_REASSEMBLY_TIME] = {ICMP4_TIME_EXCEEDED, 1}};
    static const struct wording ip6[] = {
        [ICMP_NO_PROTOCOL] = {ICMP6_PARAMETER, 1}, [ICMP_NO_PORT] = {ICMP6_UNREACHABLE, 4},
        [ICMP_BAD_OPTION] = {ICMP6_PARAMETER, 2},  [ICMP_BAD_HEADER] = {ICMP6_PARAMETER, 0},
        [ICMP_CUT_CHAIN] = {ICMP6_PARAMETER, 3},   [ICMP_REASSEMBLY_TIME] = {ICMP6_TIME_EXCEEDED, 1}};

    return family == NET_IP6 ? ip6[what] : ip4[what];
}

static bool is_icmp4_query(uint8_t type)
{
    return type == ICMP4_ECHO || type == ICMP4_ECHO_REPLY;
}

/* A message whose type cannot be seen counts as an error too. */
static bool is_icmp_error(const struct ip_packet *p)
{
    if (p->proto != (p->family == NET_IP6 ? IP_PROTO_ICMP6 : IP_PROTO_ICMP))
        return false;
    if (p->payload.len == 0)
        return true;
    uint8_t type = p->payload.ptr[0];
    return p->family == NET_IP6 ? type < 128 || type == ICMP6_REDIRECT : !is_icmp4_query(type);
}

/* RFC 4443 2.4(e.3): about a packet to a group, unknown options alone may be complained about. */
static bool may_complain(const struct ip_packet *p, enum icmp_complaint what)
{
    if (is_icmp_error(p) || addr_is_unspecified(&p->src))
        return false;
    return p->to_unicast || what == ICMP_BAD_OPTION;
}

static void complaint_write(uint8_t *at, const struct ip_packet *p, enum icmp_complaint what, uint16_t offset,
                            size_t quote_len)
{
    struct wording w = wording_of(p->family, what);

    memset(at, 0, ICMP_HEADER_LEN);
    at[0] = w.type;
    at[1] = w.code;
    if (p->family == NET_IP6 && w.type == ICMP6_PARAMETER)
        store_be32(at + 4, offset);
    memcpy(at + ICMP_HEADER_LEN, p->header.ptr, quote_len);
}

void icmp_complain(struct net *n, const struct ip_packet *p, enum icmp_complaint what, uint16_t offset)
{
    bool ip6 = p->family == NET_IP6;
    size_t quote_max =
        ip6 ? ERROR6_MAX - IP6_HEADER_LEN - ICMP_HEADER_LEN : ERROR4_MAX - IP4_HEADER_LEN - ICMP_HEADER_LEN;
    size_t quote_len = p->header.len + p->payload.len; /* header and payload lie in one piece */
    struct net_addr src = p->dst;

    if (!may_complain(p, what) || (!p->to_unicast && !route_source(n, &p->src, &src)))
        return;
    if (!may_send_error(n, &p->src))
        return;
    if (quote_len > quote_max)
        quote_len = quote_max;
    uint8_t *at = reply_begin_ip(n, &src, &p->src, ip6 ? IP_PROTO_ICMP6 : IP_PROTO_ICMP,
                                 (uint16_t)(ICMP_HEADER_LEN + quote_len));
    if (at == NULL)
        return;
    complaint_write(at, p, what, offset, quote_len);
    count(n->counters, REASON_ICMP_ERROR_SENT);
    reply_commit_ip(n);
}
