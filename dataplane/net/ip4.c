#include "dataplane/net/ip.h"

#define OPTION_END          0
#define OPTION_NOP          1
#define OPTION_LOOSE_SOURCE 0x83
#define OPTION_STRICT       0x89
#define NO_REASON           REASON_COUNT
#define MORE_FRAGMENTS      0x2000
#define OFFSET_MASK         0x1fff /* in units of eight bytes */
#define TCP_HEADER_MIN      20

/* Fixed header fields of a packet whose lengths have been checked. */
struct header4 {
    uint16_t header_len, total_len;
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
static bool checksum_ok(struct net *n, struct span header, uint16_t flags)
{
    if ((flags & FRAME_RX_IP4_CSUM_VOUCHED) != 0)
        return true;
    if ((flags & FRAME_RX_IP4_CSUM_GOOD) != 0 && (n->taking_handed || ip_device_is_believed(n, header)))
        return true;
    return checksum_sum(header, 0) == 0xffff;
}

static enum reason check_addresses(const struct net *n, const struct header4 *h, struct ip_link link)
{
    if (!link.group && path_is_known(n, &h->src, &h->dst))
        return NO_REASON;
    if (addr_is_martian(&h->src) || route_is_broadcast(n, &h->src) || ip_addr_is_ours(n, &h->src))
        return REASON_IP4_MARTIAN_SOURCE;
    if (addr_is_group(&h->dst) || route_is_broadcast(n, &h->dst))
        return REASON_IP4_GROUP;
    if (!ip_addr_is_ours(n, &h->dst))
        return REASON_IP4_NOT_OURS;
    /* RFC 1122 3.3.6 */
    return link.group ? REASON_IP_LINK_GROUP : NO_REASON;
}

static enum reason check(struct net *n, struct span packet, struct ip_link link, struct header4 *h)
{
    enum reason why = parse_lengths(packet, h);

    if (why != NO_REASON)
        return why;
    struct span header = span_of(packet.ptr, h->header_len);
    if (!checksum_ok(n, header, link.flags))
        return REASON_IP4_BAD_CHECKSUM;
    h->src = addr_ip4(packet.ptr + 12);
    h->dst = addr_ip4(packet.ptr + 16);
    why = check_addresses(n, h, link);
    if (why == NO_REASON)
        why = check_options(span_from(header, IP4_HEADER_LEN));
    return why;
}

static void deliver(struct net *n, struct span packet, const struct header4 *h, bool fragmented,
                    struct ip_link link)
{
    struct ip_packet p = {
        .family = NET_IP4,
        .proto = packet.ptr[9],
        .tos = packet.ptr[1],
        .hop_limit = packet.ptr[8],
        .to_unicast = true,
        .proto_at = 9,
        .fragmented = fragmented,
        .src = h->src,
        .dst = h->dst,
        .header = span_of(packet.ptr, h->header_len),
        .payload = span_of(packet.ptr + h->header_len, (size_t)h->total_len - h->header_len),
    };
    ip_link_note(&p, link);
    ip_deliver(n, &p);
}

/* ---- fragments ---- */

/* RFC 1858, 3128: what the ports and flags of a TCP header are must not depend on a second fragment. */
static bool splits_tcp_header(const struct fragment *f, size_t data_len)
{
    if (f->proto != IP_PROTO_TCP)
        return false;
    return f->offset == 0 ? data_len < TCP_HEADER_MIN : f->offset < TCP_HEADER_MIN;
}

static enum reason check_fragment(const struct fragment *f)
{
    size_t data_len = f->packet.len - f->data_at;

    if (data_len == 0 || (f->more && data_len % 8 != 0))
        return REASON_FRAG_BAD_LENGTH;
    if ((size_t)f->data_at + f->offset + data_len > UINT16_MAX)
        return REASON_FRAG_BEYOND;
    return splits_tcp_header(f, data_len) ? REASON_FRAG_TINY : NO_REASON;
}

/* The header becomes that of the datagram, for those who quote it. */
static void deliver_whole(struct net *n, const struct frag_whole *w, struct header4 *h)
{
    h->header_len = w->keep_len;
    h->total_len = (uint16_t)w->len;
    store_be16(w->bytes + 2, h->total_len);
    store_be16(w->bytes + 6, 0);
    if (w->congestion)
        w->bytes[1] |= 3;
    store_be16(w->bytes + 10, 0);
    store_be16(w->bytes + 10, (uint16_t)~checksum_sum(span_of(w->bytes, h->header_len), 0));
    deliver(n, span_of(w->bytes, w->len), h, true, (struct ip_link){0});
}

static void fragment_input(struct net *n, struct span packet, struct header4 *h, uint16_t flags_and_offset)
{
    struct fragment f = {
        .src = h->src,
        .dst = h->dst,
        .id = load_be16(packet.ptr + 4),
        .proto = packet.ptr[9],
        .tos = packet.ptr[1],
        .more = (flags_and_offset & MORE_FRAGMENTS) != 0,
        .offset = (uint16_t)((flags_and_offset & OFFSET_MASK) * 8u),
        .packet = span_of(packet.ptr, h->total_len),
        .keep_len = h->header_len,
        .data_at = h->header_len,
    };
    struct frag_whole whole;
    enum reason why = check_fragment(&f);

    if (why != NO_REASON)
        count(n->counters, why);
    else if (frag_input(n, &f, &whole))
        deliver_whole(n, &whole, h);
}

void ip4_input(struct net *n, struct span packet, struct ip_link link)
{
    struct header4 h;
    enum reason why = check(n, packet, link, &h);

    if (why != NO_REASON) {
        count(n->counters, why);
        return;
    }
    uint16_t fragment = load_be16(packet.ptr + 6) & (MORE_FRAGMENTS | OFFSET_MASK);
    if (fragment != 0)
        fragment_input(n, packet, &h, fragment);
    else
        deliver(n, packet, &h, false, link);
}
