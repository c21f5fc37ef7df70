/* The door for frames, and the short way in: an untagged frame for us alone, IP without options, extension headers or
 * fragments, TCP of a connection, its checksums right or vouched for.  What eth.c, ip4.c, ip6.c and ip.c find out of such a
 * frame one by one is found out here at once; of anything else nothing is, and they have it whole.
 * That both addresses are sound need not be asked, for a connection is between them; nor whose the flow is, for a connection
 * is in the table of its owner alone (steer.c). */
#include "dataplane/net/ip.h"

#define SUMS_GOOD (FRAME_RX_IP4_CSUM_GOOD | FRAME_RX_L4_CSUM_GOOD)
#define SUMS_SAID (SUMS_GOOD | FRAME_RX_IP4_CSUM_VOUCHED | FRAME_RX_L4_CSUM_VOUCHED)

/* ---- checksums: how many a device says are right and is believed about (ip.c); -1: one is wrong ---- */

static int header4_trusted(const struct net *n, const struct frame *f, const uint8_t *ip)
{
    if ((f->flags & FRAME_RX_IP4_CSUM_VOUCHED) != 0)
        return 0;
    if ((f->flags & FRAME_RX_IP4_CSUM_GOOD) != 0 && !n->csum_distrusted)
        return 1;
    return checksum_sum(span_of(ip, IP4_HEADER_LEN), 0) == 0xffff ? 0 : -1;
}

static int l4_trusted(const struct net *n, const struct frame *f, uint8_t family, const uint8_t *addrs,
                      struct span l4)
{
    if ((f->flags & FRAME_RX_L4_CSUM_VOUCHED) != 0)
        return 0;
    if ((f->flags & FRAME_RX_L4_CSUM_GOOD) != 0 && !n->csum_distrusted)
        return 1;
    return checksum_sum(l4, checksum_pseudo_tcp(family, addrs, (uint32_t)l4.len)) == 0xffff ? 0 : -1;
}

static NOINLINE int sums_looked_at(const struct net *n, const struct frame *f, uint8_t family,
                                   const uint8_t *addrs, struct span l4)
{
    int header = family == NET_IP4 ? header4_trusted(n, f, addrs - 12) : 0;
    int rest = header < 0 ? -1 : l4_trusted(n, f, family, addrs, l4);

    /* Where a comparison is due it is made the long way. */
    return rest < 0 || (uint32_t)(header + rest) > n->csums_left ? -1 : header + rest;
}

static inline int sums_trusted(const struct net *n, const struct frame *f, const uint8_t *addrs,
                               struct span l4)
{
    if (LIKELY((f->flags & SUMS_SAID) == SUMS_GOOD && n->csums_left >= 2))
        return 2;
    return sums_looked_at(n, f, NET_IP4, addrs, l4);
}

/* ---- frames ---- */

static inline bool plain_input(struct net *n, const struct frame *f)
{
    const uint8_t *ip = f->data + ETH_HEADER_LEN;
    struct net_conn *c;
    struct span l4;
    int trusted;

    uint32_t more =
        f->len - (uint32_t)PLAIN_MIN; /* than the shortest; of one that is shorter, more than any may have */
    if (more >= n->plain_lens)
        return false;
    uint64_t dst = mac_number(f->data), src = mac_number(f->data + ETH_ADDR_LEN);
    if (dst != n->mac || src == 0 || (src & MAC_GROUP_BIT) != 0 || src == n->mac)
        return false;
    if (n->config.steering != NULL && steer_comparison_is_due(n, f))
        return false;
    uint16_t type = load_be16(ip - 2);
    if (LIKELY(type == ETH_TYPE_IP4)) {
        uint32_t len = load_be16(ip + 2);
        /* No fragment: neither "more" nor an offset. */
        if (ip[0] != 0x45 || (load_be32(ip + 6) & 0x3fff00ff) != IP_PROTO_TCP ||
            len - (IP4_HEADER_LEN + TCP_MIN) > more)
            return false;
        l4 = span_of(ip + IP4_HEADER_LEN, len - IP4_HEADER_LEN);
        trusted = sums_trusted(n, f, ip + 12, l4);
        if (trusted < 0)
            return false;
        c = tcp_express_conn4(n, ip + 12, l4.ptr);
    } else {
        uint32_t left = f->len - ETH_HEADER_LEN;
        if (type != ETH_TYPE_IP6 || ip[0] >> 4 != 6 || ip[6] != IP_PROTO_TCP || left < IP6_HEADER_LEN)
            return false;
        l4 = span_of(ip + IP6_HEADER_LEN, load_be16(ip + 4));
        if (l4.len < TCP_MIN || l4.len > left - IP6_HEADER_LEN)
            return false;
        trusted = sums_looked_at(n, f, NET_IP6, ip + 8, l4);
        if (trusted < 0)
            return false;
        c = tcp_express_conn6(n, ip + 8, l4.ptr);
    }
    if (c == NULL || !tcp_express_input(n, c, l4.ptr, (uint32_t)l4.len))
        return false;
    n->csums_left -= (uint32_t)trusted;
    if (n->config.steering != NULL)
        n->hashes_taken += (f->flags & FRAME_RX_HASH) != 0;
    return true;
}

#define EXPECT_MIN 4 /* frames: for fewer it costs more than the waits that it saves */
#define EXPECT_MAX 32

/* The memory that a burst of segments will look at is asked for before the first one is dealt with.  A hint: what
 * is no plain TCP over IP is left out, what is wrong with a frame is found out later. */
static NOINLINE void expect_segments(struct net *n, const struct frame *frames, uint16_t count)
{
    uint32_t hash[EXPECT_MAX];
    uint16_t expected = 0;

    for (uint16_t i = 0; i < count && i < EXPECT_MAX; i++) {
        const uint8_t *ip = frames[i].data + ETH_HEADER_LEN;
        size_t len = frames[i].len;
        if (len >= ETH_HEADER_LEN + 24 && load_be16(ip - 2) == ETH_TYPE_IP4 && ip[0] == 0x45 &&
            ip[9] == IP_PROTO_TCP)
            hash[expected++] = tcp_expect(n, NET_IP4, ip + 12, ip + 20);
        else if (len >= ETH_HEADER_LEN + 44 && load_be16(ip - 2) == ETH_TYPE_IP6 && ip[6] == IP_PROTO_TCP)
            hash[expected++] = tcp_expect(n, NET_IP6, ip + 8, ip + 40);
    }
    for (uint16_t i = 0; i < expected; i++)
        tcp_expect_record(n, hash[i]);
}

void net_input(struct net *n, const struct frame *frames, uint16_t count, uint64_t now_us)
{
    n->now_us = now_us;
    if (count >= EXPECT_MIN)
        expect_segments(n, frames, count);
    for (const struct frame *f = frames; f != frames + count; f++)
        if (!plain_input(n, f))
            eth_input(n, f);
}
