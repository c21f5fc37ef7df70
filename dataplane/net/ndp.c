#include "dataplane/net/ip.h"

#define ND_HOP_LIMIT     255
#define ND_LEN           24 /* of a solicitation or advertisement, without options */
#define ND_OPTION_LEN    8
#define ND_SOLICITATION  135
#define ND_ADVERTISEMENT 136
#define OPTION_SOURCE    1
#define OPTION_TARGET    2
#define FLAG_SOLICITED   0x40
#define FLAG_OVERRIDE    0x20

/* ---- going out ---- */

/* Type, flags, target; option_len bytes are left for the caller.  NULL: no room in the queue. */
static uint8_t *begin(struct net *n, const uint8_t *mac, const struct net_addr *src,
                      const struct net_addr *dst, uint8_t type, uint8_t flags, const struct net_addr *target,
                      uint16_t option_len)
{
    uint8_t *at =
        reply_begin_ip_to(n, mac, src, dst, IP_PROTO_ICMP6, (uint16_t)(ND_LEN + option_len), ND_HOP_LIMIT);

    if (at == NULL)
        return NULL;
    memset(at, 0, 8);
    at[0] = type;
    at[4] = flags;
    memcpy(at + 8, target->bytes, 16);
    return at;
}

/* With one link-layer address option of ours: all but the probe have it. */
static void send(struct net *n, const uint8_t *mac, const struct net_addr *src, const struct net_addr *dst,
                 uint8_t type, uint8_t flags, const struct net_addr *target)
{
    uint8_t *at = begin(n, mac, src, dst, type, flags, target, ND_OPTION_LEN);

    if (at == NULL)
        return;
    at[ND_LEN] = type == ND_SOLICITATION ? OPTION_SOURCE : OPTION_TARGET;
    at[ND_LEN + 1] = 1;
    memcpy(at + ND_LEN + 2, n->config.mac, 6);
    reply_commit_ip(n);
}

void ndp_ask(struct net *n, const struct net_addr *target, const uint8_t to[6])
{
    struct net_addr src, dst = to != NULL ? *target : addr_solicited_node(target);
    uint8_t group_mac[6];

    if (!route_source(n, target, &src))
        return;
    addr_group_mac(&dst, group_mac);
    send(n, to != NULL ? to : group_mac, &src, &dst, ND_SOLICITATION, 0, target);
}

static void advertise_to_all(struct net *n, const struct net_addr *target)
{
    struct net_addr dst = addr_all_nodes();
    uint8_t group_mac[6];

    addr_group_mac(&dst, group_mac);
    send(n, group_mac, target, &dst, ND_ADVERTISEMENT, FLAG_OVERRIDE, target);
}

void ndp_announce(struct net *n, const struct net_addr *addr)
{
    advertise_to_all(n, addr);
}

/* RFC 4862 5.4.2: from nobody to those who may have the address. */
void ndp_probe(struct net *n, const struct net_addr *addr)
{
    struct net_addr nobody = {.family = NET_IP6}, dst = addr_solicited_node(addr);
    uint8_t group_mac[6];

    addr_group_mac(&dst, group_mac);
    if (begin(n, group_mac, &nobody, &dst, ND_SOLICITATION, 0, addr, 0) != NULL)
        reply_commit_ip(n);
}

/* ---- coming in ---- */

struct nd {
    uint8_t flags;
    struct net_addr target;
    const uint8_t *mac; /* of the link-layer address option that belongs to the message; NULL without one */
};

/* RFC 4861 4.6: options in units of eight bytes, none of them empty; unknown ones are skipped. */
static bool parse_options(const struct net *n, struct span options, uint8_t wanted, const uint8_t **mac)
{
    *mac = NULL;
    for (size_t at = 0; at < options.len;) {
        size_t left = options.len - at;
        size_t len = left >= 2 ? options.ptr[at + 1] * 8u : 0;
        if (len == 0 || len > left)
            return false;
        if (options.ptr[at] == wanted)
            *mac = options.ptr + at + 2;
        at += len;
    }
    return *mac == NULL || (mac_is_usable(*mac) && memcmp(*mac, n->config.mac, 6) != 0);
}

static bool parse(struct net *n, const struct ip_packet *p, uint8_t wanted_option, struct nd *out)
{
    if (p->payload.len < ND_LEN) {
        count(n->counters, REASON_NDP_BAD_LENGTH);
        return false;
    }
    out->flags = p->payload.ptr[4];
    out->target = addr_ip6(p->payload.ptr + 8);
    if (!parse_options(n, span_from(p->payload, ND_LEN), wanted_option, &out->mac)) {
        count(n->counters, REASON_NDP_BAD_OPTION);
        return false;
    }
    return true;
}

/* The answer goes to the MAC that the question's option names (as ARP's goes to the sender's), else to where
 * the source is routed; nothing is learnt from either.  Two hosts that had to resolve each other first would
 * ask for ever. */
static void answer(struct net *n, const struct ip_packet *p, const struct nd *q)
{
    count(n->counters, REASON_NDP_ANSWERED);
    if (addr_is_unspecified(&p->src))
        advertise_to_all(n, &q->target);
    else
        send(n, q->mac, &q->target, &p->src, ND_ADVERTISEMENT, FLAG_SOLICITED | FLAG_OVERRIDE, &q->target);
}

/* RFC 4861 7.1.1 */
static void solicitation_input(struct net *n, const struct ip_packet *p)
{
    bool duplicate_detection = addr_is_unspecified(&p->src);
    struct nd q;

    if (!parse(n, p, OPTION_SOURCE, &q))
        return;
    if (addr_is_group(&q.target) || (duplicate_detection && (q.mac != NULL || p->dst.bytes[11] != 1))) {
        count(n->counters, REASON_NDP_BAD_TARGET);
        return;
    }
    if (q.mac != NULL)
        neighbour_claimed(n, &p->src, q.mac);
    if (ip_addr_is_ours(n, &q.target))
        answer(n, p, &q);
    else
        count(n->counters, REASON_NDP_NOT_OURS);
}

/* RFC 4861 7.1.2 */
static void advertisement_input(struct net *n, const struct ip_packet *p)
{
    struct nd a;

    if (!parse(n, p, OPTION_TARGET, &a))
        return;
    bool solicited = (a.flags & FLAG_SOLICITED) != 0;
    if (addr_is_group(&a.target) || (solicited && !p->to_unicast)) {
        count(n->counters, REASON_NDP_BAD_TARGET);
        return;
    }
    if (ip_addr_is_ours(n, &a.target)) {
        count(n->counters, REASON_NDP_CONFLICT);
        if (net_conflict(n, &a.target))
            ndp_announce(n, &a.target);
    } else if (solicited) {
        neighbour_answered(n, &a.target, a.mac);
    } else {
        count(n->counters, REASON_NEIGHBOUR_UNSOLICITED);
        if (a.mac != NULL)
            neighbour_claimed(n, &a.target, a.mac);
    }
}

void ndp_input(struct net *n, const struct ip_packet *p)
{
    uint8_t type = p->payload.ptr[0];

    if (p->fragmented)
        count(n->counters, REASON_NDP_FRAGMENTED);
    else if (p->hop_limit != ND_HOP_LIMIT)
        count(n->counters, REASON_NDP_HOP_LIMIT);
    else if (p->payload.ptr[1] != 0)
        count(n->counters, REASON_NDP_BAD_CODE);
    else if (type == ND_SOLICITATION)
        solicitation_input(n, p);
    else if (type == ND_ADVERTISEMENT)
        advertisement_input(n, p);
    else
        count(n->counters, REASON_NDP_IGNORED);
}
