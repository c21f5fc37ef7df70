#include "dataplane/net/ip.h"

#define OPTION_END          0
#define OPTION_NOP          1
#define OPTION_LOOSE_SOURCE 0x83
#define OPTION_STRICT       0x89
#define NO_REASON           REASON_COUNT

/* Fixed header fields of a packet whose lengths have been checked. */
struct header4 {
    uint16_t header_len, total_len, fragment;
    struct net_addr src, dst;
};

static enum reason parse_lengths(struct span packet, struct header4 *h)
{
    const uint8_t *p = packet.ptr;

    if (packet.len < IP4_HEADER_LEN)
        return REASON_IP4_TRUNCATED;
    if (p[0] >> 4 != 4)
        return REASON_IP4_BAD_VERSION;
    h->header_len = (uint16_t)((p[0] & 15) * 4);
    h->total_len = load_be16(p + 2);
    if (h->header_len < IP4_HEADER_LEN || h->total_len < h->header_len)
        return REASON_IP4_BAD_HEADER_LENGTH;
    return h->total_len > packet.len ? REASON_IP4_TRUNCATED : NO_REASON;
}

/* RFC 791 3.1: skipped, but source routes are refused (RFC 7126 4.3, 4.4). */
static enum reason check_options(struct span options)
{
    for (size_t at = 0; at < options.len && options.ptr[at] != OPTION_END;) {
        uint8_t kind = options.ptr[at];
        if (kind == OPTION_NOP) {
            at++;
            continue;
        }
        if (options.len - at < 2 || options.ptr[at + 1] < 2 || options.ptr[at + 1] > options.len - at)
            return REASON_IP4_BAD_OPTION;
        if (kind == OPTION_LOOSE_SOURCE || kind == OPTION_STRICT)
            return REASON_IP4_SOURCE_ROUTE;
        at += options.ptr[at + 1];
    }
    return NO_REASON;
}

/* A device that says GOOD has looked; a device that says BAD is not believed without a look. */
static bool checksum_ok(struct span header, uint16_t flags)
{
    return (flags & FRAME_RX_IP4_CSUM_GOOD) != 0 || checksum_sum(header, 0) == 0xffff;
}

static enum reason check_addresses(const struct net *n, const struct header4 *h, struct ip_link link)
{
    if (addr_is_martian(&h->src) || route_is_broadcast(n, &h->src) || ip_addr_is_ours(n, &h->src))
        return REASON_IP4_MARTIAN_SOURCE;
    if (addr_is_group(&h->dst) || route_is_broadcast(n, &h->dst))
        return REASON_IP4_GROUP;
    if (!ip_addr_is_ours(n, &h->dst))
        return REASON_IP4_NOT_OURS;
    /* RFC 1122 3.3.6 */
    return link.group ? REASON_IP_LINK_GROUP : NO_REASON;
}

static enum reason check(const struct net *n, struct span packet, struct ip_link link, struct header4 *h)
{
    enum reason why = parse_lengths(packet, h);

    if (why != NO_REASON)
        return why;
    struct span header = span_of(packet.ptr, h->header_len);
    if (!checksum_ok(header, link.flags))
        return REASON_IP4_BAD_CHECKSUM;
    h->fragment = load_be16(packet.ptr + 6) & 0x3fff;
    h->src = addr_ip4(packet.ptr + 12);
    h->dst = addr_ip4(packet.ptr + 16);
    why = check_addresses(n, h, link);
    if (why == NO_REASON)
        why = check_options(span_from(header, IP4_HEADER_LEN));
    if (why == NO_REASON && h->fragment != 0)
        why = REASON_IP4_FRAGMENT;
    return why;
}

void ip4_input(struct net *n, struct span packet, struct ip_link link)
{
    struct header4 h;
    enum reason why = check(n, packet, link, &h);

    if (why != NO_REASON) {
        count(n->counters, why);
        return;
    }
    struct ip_packet p = {
        .family = NET_IP4,
        .proto = packet.ptr[9],
        .tos = packet.ptr[1],
        .hop_limit = packet.ptr[8],
        .to_unicast = true,
        .proto_at = 9,
        .l4_csum_good = (link.flags & FRAME_RX_L4_CSUM_GOOD) != 0,
        .src = h.src,
        .dst = h.dst,
        .header = span_of(packet.ptr, h.header_len),
        .payload = span_of(packet.ptr + h.header_len, (size_t)h.total_len - h.header_len),
    };
    ip_deliver(n, &p);
}
