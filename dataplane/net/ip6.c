#include "dataplane/net/ip.h"

#define NEXT_HOP_BY_HOP  0
#define NEXT_ROUTING     43
#define NEXT_FRAGMENT    44
#define NEXT_NONE        59
#define NEXT_DESTINATION 60
#define EXTENSIONS_MAX   8
#define OPTION_PAD1      0

bool ip6_group_is_ours(const struct net *n, const struct net_addr *group)
{
    struct net_addr g = addr_all_nodes();

    if (net_addr_equal(group, &g))
        return true;
    g = addr_solicited_node(&n->link_local);
    if (net_addr_equal(group, &g))
        return true;
    for (uint16_t i = 0; i < n->config.addr_count; i++) {
        g = addr_solicited_node(&n->config.addrs[i].addr);
        if (n->config.addrs[i].addr.family == NET_IP6 && net_addr_equal(group, &g))
            return true;
    }
    return false;
}

/* ---- the chain of extension headers (RFC 8200 4) ---- */

enum walk { WALK_ON, WALK_UPPER, WALK_DROPPED };

/* The packet up to its total length, and how far the chain has been read. */
struct chain {
    struct span packet;
    size_t at; /* of the header that `next` names */
    uint8_t next;
    size_t next_at; /* of the byte that named it, for parameter problems */
    unsigned seen;
};

static enum walk drop(struct net *n, enum reason why)
{
    count(n->counters, why);
    return WALK_DROPPED;
}

static bool is_extension(uint8_t next)
{
    return next == NEXT_HOP_BY_HOP || next == NEXT_DESTINATION || next == NEXT_ROUTING ||
           next == NEXT_FRAGMENT;
}

/* Bytes of the extension header at c->at; 0 when it does not fit. */
static size_t extension_len(const struct chain *c)
{
    size_t left = c->packet.len - c->at;

    if (left < 8)
        return 0;
    size_t len = c->next == NEXT_FRAGMENT ? 8 : 8u + 8u * c->packet.ptr[c->at + 1];
    return len <= left ? len : 0;
}

static void step(struct chain *c, size_t len)
{
    c->next = c->packet.ptr[c->at];
    c->next_at = c->at;
    c->at += len;
}

/* No error is sent about an error, and that lies behind the headers which have not been read yet. */
static enum walk drop_and_tell(struct net *n, const struct ip_packet *p, const struct chain *c,
                               enum reason why, enum icmp_complaint what, size_t offset)
{
    struct ip_packet whole = *p;
    struct chain rest = *c;

    for (unsigned seen = 0; is_extension(rest.next) && seen <= EXTENSIONS_MAX; seen++) {
        size_t len = extension_len(&rest);
        if (len == 0)
            break;
        step(&rest, len);
    }
    whole.proto = rest.next;
    whole.header = span_of(rest.packet.ptr, rest.at);
    whole.payload = span_from(rest.packet, rest.at);
    count(n->counters, why);
    icmp_complain(n, &whole, what, (uint16_t)offset);
    return WALK_DROPPED;
}

/* RFC 8200 4.2: the two high bits say what to do with an option that is not known.  We know none but
 * padding. */
static enum walk unknown_option(struct net *n, const struct ip_packet *p, const struct chain *c,
                                size_t offset)
{
    uint8_t action = c->packet.ptr[offset] >> 6;

    if (action == 0)
        return WALK_ON;
    if (action == 1 || (action == 3 && !p->to_unicast))
        return drop(n, REASON_IP6_UNKNOWN_OPTION);
    return drop_and_tell(n, p, c, REASON_IP6_UNKNOWN_OPTION, ICMP_BAD_OPTION, offset);
}

static enum walk walk_options(struct net *n, const struct ip_packet *p, const struct chain *c, size_t end)
{
    const uint8_t *b = c->packet.ptr;

    for (size_t at = c->at + 2; at < end;) {
        if (b[at] == OPTION_PAD1) {
            at++;
            continue;
        }
        if (end - at < 2 || b[at + 1] > end - at - 2)
            return drop(n, REASON_IP6_BAD_EXTENSION);
        if (unknown_option(n, p, c, at) != WALK_ON)
            return WALK_DROPPED;
        at += 2u + b[at + 1];
    }
    return WALK_ON;
}

/* RFC 5095 for type 0; RFC 8200 4.4 for the rest: nothing left to visit, nothing to do. */
static enum walk walk_routing(struct net *n, const struct ip_packet *p, const struct chain *c)
{
    uint8_t type = c->packet.ptr[c->at + 2], segments_left = c->packet.ptr[c->at + 3];

    if (type == 0)
        return drop(n, REASON_IP6_ROUTING);
    if (segments_left != 0)
        return drop_and_tell(n, p, c, REASON_IP6_ROUTING, ICMP_BAD_HEADER, c->at + 2);
    return WALK_ON;
}

/* An atomic fragment is a whole packet (RFC 6946). */
static enum walk walk_fragment(struct net *n, const struct chain *c)
{
    uint16_t offset_and_more = load_be16(c->packet.ptr + c->at + 2) & 0xfff9;

    return offset_and_more == 0 ? WALK_ON : drop(n, REASON_IP6_FRAGMENT);
}

static enum walk walk_one(struct net *n, const struct ip_packet *p, const struct chain *c, size_t len)
{
    switch (c->next) {
    case NEXT_HOP_BY_HOP:
        if (c->at != IP6_HEADER_LEN)
            return drop_and_tell(n, p, c, REASON_IP6_BAD_ORDER, ICMP_NO_PROTOCOL, c->next_at);
        return walk_options(n, p, c, c->at + len);
    case NEXT_DESTINATION:
        return walk_options(n, p, c, c->at + len);
    case NEXT_ROUTING:
        return walk_routing(n, p, c);
    default:
        return walk_fragment(n, c);
    }
}

static enum walk walk_chain(struct net *n, const struct ip_packet *p, struct chain *c)
{
    while (is_extension(c->next)) {
        size_t len = extension_len(c);
        if (++c->seen > EXTENSIONS_MAX)
            return drop(n, REASON_IP6_CHAIN_TOO_LONG);
        if (len == 0)
            return drop(n, REASON_IP6_BAD_EXTENSION);
        if (walk_one(n, p, c, len) != WALK_ON)
            return WALK_DROPPED;
        step(c, len);
    }
    return c->next == NEXT_NONE ? drop(n, REASON_IP6_NO_NEXT_HEADER) : WALK_UPPER;
}

/* ---- the fixed header ---- */

static bool count_and_refuse(struct net *n, enum reason why)
{
    count(n->counters, why);
    return false;
}

/* The unspecified source is for duplicate address detection and group reports alone, both of them to groups
 * (RFC 4861 4.3, RFC 3810 5.2.13). */
static bool source_is_sound(const struct net *n, const struct ip_packet *p)
{
    if (addr_is_unspecified(&p->src))
        return !p->to_unicast;
    return !addr_is_martian(&p->src) && !ip_addr_is_ours(n, &p->src);
}

static bool check_addresses(struct net *n, struct ip_packet *p, struct ip_link link)
{
    p->to_unicast = !addr_is_group(&p->dst);
    if (!source_is_sound(n, p))
        return count_and_refuse(n, REASON_IP6_MARTIAN_SOURCE);
    if (p->to_unicast ? !ip_addr_is_ours(n, &p->dst) : !ip6_group_is_ours(n, &p->dst))
        return count_and_refuse(n, REASON_IP6_NOT_OURS);
    if (p->to_unicast && link.group)
        return count_and_refuse(n, REASON_IP_LINK_GROUP);
    return true;
}

static bool parse_header(struct net *n, struct span packet, struct ip_link link, struct ip_packet *p)
{
    const uint8_t *b = packet.ptr;

    if (packet.len < IP6_HEADER_LEN || packet.len - IP6_HEADER_LEN < load_be16(b + 4))
        return count_and_refuse(n, REASON_IP6_TRUNCATED);
    if (b[0] >> 4 != 6)
        return count_and_refuse(n, REASON_IP6_BAD_VERSION);
    *p = (struct ip_packet){
        .family = NET_IP6,
        .tos = (uint8_t)(load_be16(b) >> 4),
        .hop_limit = b[7],
        .l4_csum_good = (link.flags & FRAME_RX_L4_CSUM_GOOD) != 0,
        .src = addr_ip6(b + 8),
        .dst = addr_ip6(b + 24),
    };
    return check_addresses(n, p, link);
}

void ip6_input(struct net *n, struct span packet, struct ip_link link)
{
    struct ip_packet p;

    if (!parse_header(n, packet, link, &p))
        return;
    packet.len = (size_t)IP6_HEADER_LEN + load_be16(packet.ptr + 4);
    struct chain c = {.packet = packet, .at = IP6_HEADER_LEN, .next = packet.ptr[6], .next_at = 6};
    if (walk_chain(n, &p, &c) != WALK_UPPER)
        return;
    p.proto = c.next;
    p.header = span_of(packet.ptr, c.at);
    p.payload = span_from(packet, c.at);
    p.proto_at = (uint16_t)c.next_at;
    if (addr_is_unspecified(&p.src) && p.proto != IP_PROTO_ICMP6)
        count(n->counters, REASON_IP6_MARTIAN_SOURCE);
    else
        ip_deliver(n, &p);
}
