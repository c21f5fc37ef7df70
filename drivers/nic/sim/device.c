#include "drivers/nic/sim/device.h"

#include "base/check.h"

#define ETH_HEADER_LEN 14
#define TAG_LEN        4
#define IP6_HEADER_LEN 40
#define TYPE_IP4       0x0800
#define TYPE_IP6       0x86dd
#define TYPE_VLAN      0x8100
#define PROTO_TCP      6

/* Where the parts of a plain TCP/IP frame, tagged or not, lie; l4_len 0: it is not one. */
struct layout {
    bool ip4, ip6;
    size_t l2_len;
    size_t l3_len, l4_len; /* from the IP lengths */
    size_t addrs_at, addrs_len;
};

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static uint16_t sum(struct span s, uint32_t start)
{
    uint64_t total = start;

    for (size_t i = 0; i < s.len; i++)
        total += i % 2 == 0 ? (uint64_t)s.ptr[i] << 8 : s.ptr[i];
    while (total >> 16 != 0)
        total = (total & 0xffff) + (total >> 16);
    return (uint16_t)total;
}

static struct layout layout4(struct span frame, size_t l2_len)
{
    const uint8_t *ip = frame.ptr + l2_len;
    size_t left = frame.len - l2_len;
    struct layout l = {.l2_len = l2_len};

    if (left < 20 || ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
        return l;
    size_t header = (ip[0] & 15u) * 4u, total = be16(ip + 2);
    if (header > total || total > left)
        return l;
    l.ip4 = true;
    l.l3_len = header;
    l.addrs_at = l2_len + 12;
    l.addrs_len = 8;
    if (ip[9] == PROTO_TCP && (be16(ip + 6) & 0x3fff) == 0 && total - header >= 20)
        l.l4_len = total - header;
    return l;
}

static struct layout layout6(struct span frame, size_t l2_len)
{
    const uint8_t *ip = frame.ptr + l2_len;
    size_t left = frame.len - l2_len;
    struct layout l = {.l2_len = l2_len};

    if (left < IP6_HEADER_LEN || ip[0] >> 4 != 6 || be16(ip + 4) > left - IP6_HEADER_LEN)
        return l;
    l.ip6 = true;
    l.l3_len = IP6_HEADER_LEN;
    l.addrs_at = l2_len + 8;
    l.addrs_len = 32;
    if (ip[6] == PROTO_TCP && be16(ip + 4) >= 20)
        l.l4_len = be16(ip + 4);
    return l;
}

static struct layout layout_of(struct span frame)
{
    if (frame.len < ETH_HEADER_LEN)
        return (struct layout){0};
    bool tagged = be16(frame.ptr + 12) == TYPE_VLAN && frame.len >= ETH_HEADER_LEN + TAG_LEN;
    size_t l2_len = tagged ? ETH_HEADER_LEN + TAG_LEN : ETH_HEADER_LEN;
    uint16_t type = be16(frame.ptr + l2_len - 2);
    if (type == TYPE_IP4)
        return layout4(frame, l2_len);
    return type == TYPE_IP6 ? layout6(frame, l2_len) : (struct layout){0};
}

uint16_t sim_device_queue(struct span frame, uint16_t queue_count)
{
    struct layout l = layout_of(frame);
    uint32_t hash = 2166136261u;

    if (queue_count == 1 || l.addrs_len == 0)
        return 0;
    for (size_t i = 0; i < l.addrs_len; i++)
        hash = (hash ^ frame.ptr[l.addrs_at + i]) * 16777619u;
    for (size_t i = 0; i < 4 && l.l4_len != 0; i++)
        hash = (hash ^ frame.ptr[l.l2_len + l.l3_len + i]) * 16777619u;
    return (uint16_t)((hash ^ hash >> 16) % queue_count);
}

uint32_t sim_device_flow(struct span frame)
{
    struct layout l = layout_of(frame);
    uint32_t sum = 0;

    if (l.l4_len == 0)
        return 0;
    /* Sums do not care which end is first. */
    for (size_t i = 0; i < l.addrs_len; i += 2)
        sum += be16(frame.ptr + l.addrs_at + i) * 40503u;
    for (size_t i = 0; i < 4; i += 2)
        sum += be16(frame.ptr + l.l2_len + l.l3_len + i) * 2654435761u;
    return sum | 1;
}

static uint32_t toeplitz_bit(const uint8_t *key, size_t bit)
{
    uint32_t window = 0;

    for (size_t i = 0; i < 32; i++)
        window = window << 1 | ((uint32_t)key[(bit + i) / 8] >> (7 - (bit + i) % 8) & 1u);
    return window;
}

bool sim_device_toeplitz(struct span frame, const uint8_t key[40], uint32_t *hash)
{
    struct layout l = layout_of(frame);
    uint8_t tuple[36];
    size_t len = l.addrs_len + 4;

    if (l.l4_len == 0 || (l.ip4 && l.l3_len != 20))
        return false;
    memcpy(tuple, frame.ptr + l.addrs_at, l.addrs_len);
    memcpy(tuple + l.addrs_len, frame.ptr + l.l2_len + l.l3_len, 4);
    *hash = 0;
    for (size_t bit = 0; bit < 8 * len; bit++)
        if ((tuple[bit / 8] & 0x80u >> bit % 8) != 0)
            *hash ^= toeplitz_bit(key, bit);
    return true;
}

static uint16_t pseudo_sum(struct span frame, const struct layout *l)
{
    return sum(span_of(frame.ptr + l->addrs_at, l->addrs_len), PROTO_TCP + (uint32_t)l->l4_len);
}

uint16_t sim_device_rx_flags(struct span frame)
{
    struct layout l = layout_of(frame);
    uint16_t flags = 0;

    if (l.ip4) {
        struct span header = span_of(frame.ptr + l.l2_len, l.l3_len);
        flags |= sum(header, 0) == 0xffff ? FRAME_RX_IP4_CSUM_GOOD : FRAME_RX_IP4_CSUM_BAD;
    }
    if (l.l4_len != 0) {
        struct span l4 = span_of(frame.ptr + l.l2_len + l.l3_len, l.l4_len);
        bool good = sum(l4, pseudo_sum(frame, &l)) == 0xffff;
        flags |= good ? FRAME_RX_L4_CSUM_GOOD : FRAME_RX_L4_CSUM_BAD;
    }
    return flags;
}

uint16_t sim_device_tx(const struct frame *f, bool leave_tcp)
{
    struct layout l = layout_of(span_of(f->data, f->len));
    uint8_t *ip = f->data + l.l2_len;

    CHECK(f->l2_len == l.l2_len && f->l3_len == l.l3_len);
    if ((f->flags & FRAME_TX_IP4_CSUM) != 0) {
        CHECK(l.ip4 && be16(ip + 10) == 0);
        put_be16(ip + 10, (uint16_t)~sum(span_of(ip, l.l3_len), 0));
    }
    if ((f->flags & FRAME_TX_TCP_CSUM) == 0)
        return 0;
    CHECK(l.l4_len != 0 && l.ip6 == ((f->flags & FRAME_IS_IP6) != 0));
    CHECK(f->l4_len == (ip[l.l3_len + 12] >> 4) * 4);
    /* The field must hold the pseudo-header's sum: with it, summing all of TCP gives the checksum. */
    CHECK(be16(ip + l.l3_len + 16) == pseudo_sum(span_of(f->data, f->len), &l));
    if (leave_tcp)
        return FRAME_RX_L4_CSUM_VOUCHED;
    put_be16(ip + l.l3_len + 16, (uint16_t)~sum(span_of(ip + l.l3_len, l.l4_len), 0));
    return 0;
}
