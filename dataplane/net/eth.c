#include "dataplane/net/ip.h"

void eth_header_write(const struct net *n, uint8_t *at, const uint8_t dst[6], uint16_t type)
{
    memcpy(at, dst, ETH_ADDR_LEN);
    memcpy(at + ETH_ADDR_LEN, n->config.mac, ETH_ADDR_LEN);
    store_be16(at + 12, type);
}

/* The device's filter lets more through than we asked for (groups share a hash, TAP filters nothing). */
static bool is_for_us(const struct net *n, const uint8_t *dst)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    if (memcmp(dst, n->config.mac, ETH_ADDR_LEN) == 0 || memcmp(dst, broadcast, ETH_ADDR_LEN) == 0)
        return true;
    /* Which IPv6 groups are ours is told by the IP address (ip6_group_is_ours). */
    return dst[0] == 0x33 && dst[1] == 0x33;
}

static bool source_is_sound(const struct net *n, const uint8_t *src)
{
    return mac_is_usable(src) && memcmp(src, n->config.mac, ETH_ADDR_LEN) != 0;
}

static void dispatch(struct net *n, const struct frame *f)
{
    struct span packet = span_from(span_of(f->data, f->len), ETH_HEADER_LEN);
    struct ip_link link = {.flags = f->flags, .group = (f->data[0] & 1) != 0};

    switch (load_be16(f->data + 12)) {
    case ETH_TYPE_ARP:
        arp_input(n, packet);
        break;
    case ETH_TYPE_IP4:
        ip4_input(n, packet, link);
        break;
    case ETH_TYPE_IP6:
        ip6_input(n, packet, link);
        break;
    case ETH_TYPE_VLAN:
    case ETH_TYPE_QINQ:
        count(n->counters, REASON_ETH_VLAN);
        break;
    default:
        count(n->counters, REASON_ETH_UNKNOWN_TYPE);
    }
}

void eth_input(struct net *n, const struct frame *f)
{
    if (f->len < ETH_HEADER_LEN)
        count(n->counters, REASON_ETH_RUNT);
    else if (f->len > n->config.mtu + ETH_HEADER_LEN)
        count(n->counters, REASON_ETH_OVERSIZE);
    else if (!source_is_sound(n, f->data + ETH_ADDR_LEN))
        count(n->counters, REASON_ETH_BAD_SOURCE);
    else if (!is_for_us(n, f->data))
        count(n->counters, REASON_ETH_NOT_OURS);
    else
        dispatch(n, f);
}
