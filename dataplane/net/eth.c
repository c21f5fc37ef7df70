#include "dataplane/net/ip.h"

#include "base/check.h"

#define VLAN_MASK 0x0fff

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

/* Bytes before the packet; 0 (counted): the frame is of another VLAN than ours.  A tag with VLAN 0 says that
 * there is none (IEEE 802.1Q 6.9.1), and that is what vlan_id 0 says too. */
static uint16_t header_len(struct net *n, const struct frame *f)
{
    uint16_t type = load_be16(f->data + 12);
    bool tagged = type == ETH_TYPE_VLAN && f->len >= ETH_HEADER_LEN + ETH_TAG_LEN;

    if (!tagged && type != ETH_TYPE_VLAN && type != ETH_TYPE_QINQ && n->config.vlan_id == 0)
        return ETH_HEADER_LEN;
    if (tagged && (load_be16(f->data + 14) & VLAN_MASK) == n->config.vlan_id)
        return ETH_HEADER_LEN + ETH_TAG_LEN;
    count(n->counters, REASON_ETH_VLAN);
    return 0;
}

static void dispatch(struct net *n, const struct frame *f, uint16_t header)
{
    struct span packet = span_from(span_of(f->data, f->len), header);
    struct ip_link link = {.flags = f->flags, .hash = f->hash, .group = (f->data[0] & 1) != 0};

    if (packet.len > n->config.mtu) {
        count(n->counters, REASON_ETH_OVERSIZE);
        return;
    }
    switch (load_be16(f->data + header - 2)) {
    case ETH_TYPE_ARP:
        arp_input(n, packet);
        break;
    case ETH_TYPE_IP4:
        ip4_input(n, packet, link);
        break;
    case ETH_TYPE_IP6:
        ip6_input(n, packet, link);
        break;
    default:
        count(n->counters, REASON_ETH_UNKNOWN_TYPE);
    }
}

NOINLINE void eth_input(struct net *n, const struct frame *f)
{
    uint16_t header;

    if (f->len < ETH_HEADER_LEN)
        count(n->counters, REASON_ETH_RUNT);
    else if (!source_is_sound(n, f->data + ETH_ADDR_LEN))
        count(n->counters, REASON_ETH_BAD_SOURCE);
    else if (!is_for_us(n, f->data))
        count(n->counters, REASON_ETH_NOT_OURS);
    else if ((header = header_len(n, f)) != 0)
        dispatch(n, f, header);
}

/* ---- the tag of what we send ---- */

void eth_tag_begin(const struct net *n, struct frame *frames, uint16_t count)
{
    if (n->config.vlan_id == 0)
        return;
    for (uint16_t i = 0; i < count; i++) {
        CHECK(frames[i].cap >= ETH_TAG_LEN);
        frames[i].data += ETH_TAG_LEN;
        frames[i].cap = (uint16_t)(frames[i].cap - ETH_TAG_LEN);
    }
}

static void tag_write(const struct net *n, struct frame *f)
{
    memmove(f->data, f->data + ETH_TAG_LEN, (size_t)2 * ETH_ADDR_LEN);
    store_be16(f->data + 12, ETH_TYPE_VLAN);
    store_be16(f->data + 14, n->config.vlan_id); /* priority 0 */
    f->len = (uint16_t)(f->len + ETH_TAG_LEN);
    f->l2_len = (uint16_t)(f->l2_len + ETH_TAG_LEN);
}

void eth_tag_end(const struct net *n, struct frame *frames, uint16_t count, uint16_t filled)
{
    if (n->config.vlan_id == 0)
        return;
    for (uint16_t i = 0; i < count; i++) {
        frames[i].data -= ETH_TAG_LEN;
        frames[i].cap = (uint16_t)(frames[i].cap + ETH_TAG_LEN);
        if (i < filled)
            tag_write(n, &frames[i]);
    }
}
