#include "dataplane/net/ip.h"

#define NEXT_HOP_BY_HOP  0
#define NEXT_ROUTING     43
#define NEXT_FRAGMENT    44
#define NEXT_NONE        59
#define NEXT_DESTINATION 60
#define EXTENSIONS_MAX   8
#define OPTION_PAD1      0
#define ND_ADVERTISEMENT 136
#define TCP_HEADER_MIN   20
#define UPPER_HEADER_MIN 8 /* UDP, ICMPv6 */

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

/* WALK_TAKEN: a fragment, which was kept or has gone on as a part of its datagram. */
enum walk { WALK_ON, WALK_UPPER, WALK_DROPPED, WALK_TAKEN };

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

/* Offset in bytes and, in the lowest bit, whether more follows; 0: an atomic fragment. */
static uint16_t fragment_field(const struct chain *c)
{
    return load_be16(c->packet.ptr + c->at + 2) & 0xfff9;
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
        /* Nobody is told of a fragment but the first: what lies in it is no header. */
        if (rest.next == NEXT_FRAGMENT && fragment_field(&rest) >= 8)
            return drop(n, why);
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

/* RFC 7112: a first fragment holds every header, the upper layer's included. */
static bool holds_every_header(const struct chain *c)
{
    struct chain rest = *c;

    step(&rest, 8);
    for (unsigned seen = 0; is_extension(rest.next) && seen <= EXTENSIONS_MAX; seen++) {
        size_t len = extension_len(&rest);
        if (len == 0)
            return false;
        step(&rest, len);
    }
    size_t left = rest.packet.len - rest.at;
    if (rest.next == IP_PROTO_TCP)
        return left >= TCP_HEADER_MIN;
    return rest.next == NEXT_NONE || left >= UPPER_HEADER_MIN;
}

/* RFC 8200 4.5, RFC 7112; of a first fragment its sender is told. */
static bool fragment_is_sound(struct net *n, const struct ip_packet *p, const struct chain *c,
                              const struct fragment *f)
{
    size_t data_len = f->packet.len - f->data_at;
    size_t kept = f->keep_len - (size_t)IP6_HEADER_LEN;

    if (data_len == 0)
        (void)drop(n, REASON_FRAG_BAD_LENGTH);
    else if (f->more && data_len % 8 != 0)
        (void)drop_and_tell(n, p, c, REASON_FRAG_BAD_LENGTH, ICMP_BAD_HEADER, 4);
    else if (kept + f->offset + data_len > UINT16_MAX)
        (void)drop(n, REASON_FRAG_BEYOND);
    else if (f->offset == 0 && !holds_every_header(c))
        (void)drop_and_tell(n, p, c, REASON_FRAG_TINY, ICMP_CUT_CHAIN, 0);
    else
        return true;
    return false;
}

static void walk_whole(struct net *n, const struct ip_packet *of_last, const struct frag_whole *w);

/* An atomic fragment is a whole packet (RFC 6946). */
static enum walk walk_fragment(struct net *n, struct ip_packet *p, const struct chain *c)
{
    uint16_t field = fragment_field(c);
    bool nested = p->fragmented;
    struct frag_whole whole;

    p->fragmented = true;
    if (field == 0)
        return WALK_ON;
    if (nested)
        return drop(n, REASON_FRAG_NESTED);
    if (!p->to_unicast || addr_is_unspecified(&p->src))
        return drop(n, REASON_FRAG_TO_GROUP);
    struct fragment f = {
        .src = p->src,
        .dst = p->dst,
        .id = load_be32(c->packet.ptr + c->at + 4),
        .tos = p->tos,
        .more = (field & 1) != 0,
        .offset = field & 0xfff8,
        .packet = c->packet,
        .keep_len = (uint16_t)c->at,
        .data_at = (uint16_t)(c->at + 8),
        .next_at = (uint16_t)c->next_at,
    };
    if (!fragment_is_sound(n, p, c, &f))
        return WALK_DROPPED;
    if (frag_input(n, &f, &whole))
        walk_whole(n, p, &whole);
    return WALK_TAKEN;
}

static enum walk walk_one(struct net *n, struct ip_packet *p, const struct chain *c, size_t len)
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
        return walk_fragment(n, p, c);
    }
}

static enum walk walk_chain(struct net *n, struct ip_packet *p, struct chain *c)
{
    while (is_extension(c->next)) {
        size_t len = extension_len(c);
        if (++c->seen > EXTENSIONS_MAX)
            return drop(n, REASON_IP6_CHAIN_TOO_LONG);
        if (len == 0)
            return drop(n, REASON_IP6_BAD_EXTENSION);
        enum walk walk = walk_one(n, p, c, len);
        if (walk != WALK_ON)
            return walk;
        step(c, len);
    }
    return c->next == NEXT_NONE ? drop(n, REASON_IP6_NO_NEXT_HEADER) : WALK_UPPER;
}

/* Another owner of our address speaks from it, to all nodes (RFC 4861 7.2.4 about a probe of ours). */
static bool is_advertisement(const struct ip_packet *p)
{
    return p->proto == IP_PROTO_ICMP6 && p->payload.len > 0 && p->payload.ptr[0] == ND_ADVERTISEMENT;
}

static void walk_and_deliver(struct net *n, struct ip_packet *p, struct span packet)
{
    struct chain c = {.packet = packet, .at = IP6_HEADER_LEN, .next = packet.ptr[6], .next_at = 6};

    if (walk_chain(n, p, &c) != WALK_UPPER)
        return;
    p->proto = c.next;
    p->header = span_of(packet.ptr, c.at);
    p->payload = span_from(packet, c.at);
    p->proto_at = (uint16_t)c.next_at;
    bool from_us = ip_addr_is_ours(n, &p->src);
    if ((addr_is_unspecified(&p->src) && p->proto != IP_PROTO_ICMP6) || (from_us && !is_advertisement(p)))
        count(n->counters, REASON_IP6_MARTIAN_SOURCE);
    else
        ip_deliver(n, p);
}

/* The headers of the first fragment without the fragment header, walked again as one packet.  Once only:
 * fragmented is set, so that no fragment is found in it. */
static void walk_whole(struct net *n, const struct ip_packet *of_last, const struct frag_whole *w)
{
    struct ip_packet p = *of_last;

    w->bytes[w->next_at] = w->next;
    store_be16(w->bytes + 4, (uint16_t)(w->len - IP6_HEADER_LEN));
    if (w->congestion)
        w->bytes[1] |= 3 << 4;
    p.tos = (uint8_t)(load_be16(w->bytes) >> 4);
    p.hop_limit = w->bytes[7];
    ip_link_note(&p, (struct ip_link){0});
    walk_and_deliver(n, &p, span_of(w->bytes, w->len));
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
    return !addr_is_martian(&p->src) && (!p->to_unicast || !ip_addr_is_ours(n, &p->src));
}

static bool check_addresses(struct net *n, struct ip_packet *p, struct ip_link link)
{
    p->to_unicast = !addr_is_group(&p->dst);
    if (!link.group && path_is_known(n, &p->src, &p->dst))
        return true;
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
        .src = addr_ip6(b + 8),
        .dst = addr_ip6(b + 24),
    };
    ip_link_note(p, link);
    return check_addresses(n, p, link);
}

void ip6_input(struct net *n, struct span packet, struct ip_link link)
{
    struct ip_packet p;

    if (!parse_header(n, packet, link, &p))
        return;
    packet.len = (size_t)IP6_HEADER_LEN + load_be16(packet.ptr + 4);
    walk_and_deliver(n, &p, packet);
}
