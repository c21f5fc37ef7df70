/* The short way in: an untagged frame for us alone, IP without options, extension headers or fragments, TCP between two
 * addresses of a connection that has sent (path.c), its checksums right or vouched for.  What eth.c, ip4.c, ip6.c and ip.c
 * find out of such a frame one by one is found out here at once; of anything else nothing is, and they have it whole.
 * Several workers: whose a flow is need not be asked, for a connection is in the table of its owner alone (steer.c). */
#include "dataplane/net/ip.h"

#define L4_MIN 20 /* a TCP header */

static uint32_t load32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, 4);
    return v;
}

static uint64_t mac_word(const uint8_t *mac)
{
    uint16_t last;

    memcpy(&last, mac + 4, 2);
    return (uint64_t)last << 32 | load32(mac);
}

/* The group bit is the first byte's lowest. */
static bool macs_are_plain(const struct net *n, const uint8_t *d)
{
    uint64_t ours = mac_word(n->config.mac), src = mac_word(d + 6);

    return mac_word(d) == ours && src != 0 && (d[6] & 1) == 0 && src != ours;
}

/* *trusted counts the checksums which a device says are right and which it is believed about (ip.c). */
static bool header4_is_plain(const struct net *n, const struct frame *f, const uint8_t *ip, uint32_t *trusted)
{
    if ((load_be16(ip + 6) & 0x3fff) != 0 || ip[9] != IP_PROTO_TCP)
        return false;
    if ((f->flags & FRAME_RX_IP4_CSUM_VOUCHED) != 0)
        return true;
    if ((f->flags & FRAME_RX_IP4_CSUM_GOOD) != 0 && !n->csum_distrusted) {
        ++*trusted;
        return true;
    }
    uint64_t sum = (uint64_t)load32(ip) + load32(ip + 4) + load32(ip + 8) + load32(ip + 12) + load32(ip + 16);
    return checksum_fold(sum) == 0xffff;
}

static bool l4_is_plain(const struct net *n, const struct frame *f, uint8_t family, const uint8_t *addrs,
                        struct span l4, uint32_t *trusted)
{
    if ((f->flags & FRAME_RX_L4_CSUM_VOUCHED) != 0)
        return true;
    if ((f->flags & FRAME_RX_L4_CSUM_GOOD) != 0 && !n->csum_distrusted) {
        ++*trusted;
        return true;
    }
    return checksum_sum(l4, checksum_pseudo_tcp(family, addrs, (uint32_t)l4.len)) == 0xffff;
}

bool plain_input(struct net *n, const struct frame *f)
{
    const uint8_t *ip = f->data + ETH_HEADER_LEN;
    uint32_t trusted = 0;
    const uint8_t *addrs;
    struct span l4;
    uint8_t family;
    bool known;

    if (f->len < ETH_HEADER_LEN + IP4_HEADER_LEN + L4_MIN || f->len > ETH_HEADER_LEN + n->config.mtu ||
        n->config.vlan_id != 0 || !macs_are_plain(n, f->data) ||
        (n->config.steering != NULL && steer_comparison_is_due(n, f)))
        return false;
    uint32_t left = f->len - ETH_HEADER_LEN;
    uint16_t type = load_be16(ip - 2);
    if (type == ETH_TYPE_IP4 && ip[0] == 0x45) {
        family = NET_IP4;
        addrs = ip + 12;
        l4 = span_of(ip + IP4_HEADER_LEN, load_be16(ip + 2) - (size_t)IP4_HEADER_LEN);
        if (load_be16(ip + 2) < IP4_HEADER_LEN + L4_MIN || load_be16(ip + 2) > left ||
            !header4_is_plain(n, f, ip, &trusted))
            return false;
    } else if (type == ETH_TYPE_IP6 && ip[0] >> 4 == 6 && ip[6] == IP_PROTO_TCP && left >= IP6_HEADER_LEN) {
        family = NET_IP6;
        addrs = ip + 8;
        l4 = span_of(ip + IP6_HEADER_LEN, load_be16(ip + 4));
        if (l4.len < L4_MIN || l4.len > left - IP6_HEADER_LEN)
            return false;
    } else {
        return false;
    }
    (void)path_of(n, family, addrs, addrs + (family == NET_IP4 ? 4 : 16), &known);
    if (!known || !l4_is_plain(n, f, family, addrs, l4, &trusted))
        return false;
    /* A comparison is due: it is made the long way. */
    if (trusted != 0 &&
        (n->csums_compared < CSUM_TRIAL || n->csums_taken % CSUM_SAMPLE + trusted >= CSUM_SAMPLE))
        return false;
    if (!tcp_express_input(n, family, addrs, l4.ptr, l4.len))
        return false;
    n->csums_taken += trusted;
    n->hashes_taken += n->config.steering != NULL && (f->flags & FRAME_RX_HASH) != 0;
    return true;
}
