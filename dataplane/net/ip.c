/* What both families share: headers that go out, checksums, the next hop, the way to the upper layer. */
#include "dataplane/net/ip.h"

#include "base/check.h"

bool ip_addr_is_ours(const struct net *n, const struct net_addr *a)
{
    for (uint16_t i = 0; i < n->config.addr_count; i++)
        if (net_addr_equal(a, &n->config.addrs[i].addr))
            return true;
    return net_addr_equal(a, &n->link_local);
}

enum ip_hop ip_next_hop(struct net *n, const struct net_addr *src, const struct net_addr *dst, uint8_t mac[6])
{
    struct net_addr hop;

    if (addr_is_martian(dst) || ip_addr_is_ours(n, dst) || !route_lookup(n, dst, &hop)) {
        count(n->counters, REASON_ROUTE_NONE);
        return IP_HOP_NONE;
    }
    /* RFC 4291 2.5.6: no router forwards what a link-local address sent. */
    if (addr_is_link_local6(src) && !net_addr_equal(&hop, dst)) {
        count(n->counters, REASON_ROUTE_NONE);
        return IP_HOP_NONE;
    }
    return neighbour_resolve(n, &hop, mac);
}

/* ---- going out ---- */

/* RFC 6864 4.1: with DF set and no fragments the ID means nothing; zero tells nobody how much we send. */
static uint16_t header4_write(uint8_t *at, const uint8_t *src, const uint8_t *dst, uint8_t proto,
                              uint16_t l4_len, uint8_t hop_limit, bool leave_csum)
{
    store_be32(at, UINT32_C(0x45000000) + IP4_HEADER_LEN + l4_len);
    store_be32(at + 4, 0x4000);
    store_be32(at + 8, (uint32_t)hop_limit << 24 | (uint32_t)proto << 16);
    memcpy(at + 12, src, 4);
    memcpy(at + 16, dst, 4);
    if (!leave_csum)
        store_be16(at + 10, (uint16_t)~checksum_sum(span_of(at, IP4_HEADER_LEN), 0));
    return IP4_HEADER_LEN;
}

static uint16_t header6_write(uint8_t *at, const uint8_t *src, const uint8_t *dst, uint8_t proto,
                              uint16_t l4_len, uint8_t hop_limit)
{
    store_be32(at, UINT32_C(6) << 28);
    store_be16(at + 4, l4_len);
    at[6] = proto;
    at[7] = hop_limit;
    memcpy(at + 8, src, 16);
    memcpy(at + 24, dst, 16);
    return IP6_HEADER_LEN;
}

uint16_t ip_header_write(uint8_t *at, const struct net_addr *src, const struct net_addr *dst, uint8_t proto,
                         uint16_t l4_len, uint8_t hop_limit, bool leave_csum)
{
    CHECK(src->family == dst->family);
    if (dst->family == NET_IP6)
        return header6_write(at, src->bytes, dst->bytes, proto, l4_len, hop_limit);
    return header4_write(at, src->bytes, dst->bytes, proto, l4_len, hop_limit, leave_csum);
}

void ip6_label_write(const struct net *n, uint8_t *ip)
{
    uint8_t flow[32 + 1 + 4] = {0};

    memcpy(flow, ip + 8, 32);
    flow[32] = ip[6];
    if (ip[6] == IP_PROTO_TCP)
        memcpy(flow + 33, ip + IP6_HEADER_LEN, 4);
    uint32_t label = (uint32_t)siphash(&n->flow_key, span_of(flow, sizeof flow)) & 0xfffff;
    /* 0 says that there is none. */
    store_be32(ip, (load_be32(ip) & 0xfff00000) | (label != 0 ? label : 1));
}

uint8_t *ip_frame_begin_slowly(struct frame *f, const struct path *p, uint32_t l4_len)
{
    uint8_t *ip = f->data + ETH_HEADER_LEN;
    uint32_t ip_len = p->l3_len + l4_len;

    memcpy(f->data, p->head, (size_t)ETH_HEADER_LEN + p->l3_len);
    if (p->family == NET_IP6) {
        store_be16(ip + 4, (uint16_t)l4_len);
        return ip + IP6_HEADER_LEN;
    }
    store_be16(ip + 2, (uint16_t)ip_len);
    if ((p->flags & FRAME_TX_IP4_CSUM) == 0)
        store_be16(ip + 10, (uint16_t)~checksum_fold(p->ip4_sum + ip_len));
    return ip + IP4_HEADER_LEN;
}

void ip_frame_finish_slowly(struct net *n, struct frame *f)
{
    bool ip6 = (f->flags & FRAME_IS_IP6) != 0;
    uint8_t *ip = f->data + ETH_HEADER_LEN;
    struct span l4 = span_of(ip + f->l3_len, (size_t)f->len - ETH_HEADER_LEN - f->l3_len);
    uint8_t *field = ip + f->l3_len + 16;

    CHECK(l4.len >= 20);
    if (ip6)
        ip6_label_write(n, ip);
    uint16_t pseudo = checksum_pseudo_tcp(ip6 ? NET_IP6 : NET_IP4, ip6 ? ip + 8 : ip + 12, (uint32_t)l4.len);
    if (n->config.tx_tcp_csum) {
        store_be16(field, pseudo);
        f->flags |= FRAME_TX_TCP_CSUM;
        return;
    }
    store_be16(field, 0);
    store_be16(field, (uint16_t)~checksum_sum(l4, pseudo));
}

/* ---- coming in: what a device says of checksums ---- */

static bool is_compared(struct net *n)
{
    if (n->csums_left == 0)
        return true;
    n->csums_left--;
    return false;
}

static bool note_compared(struct net *n, bool right)
{
    n->csums_compared++;
    if (right) {
        n->csums_left = n->csums_compared < CSUM_TRIAL ? 0 : CSUM_SAMPLE - 1;
        return true;
    }
    count(n->counters, REASON_NIC_CSUM_WRONG);
    n->csum_distrusted = true;
    return false;
}

bool ip_device_is_believed(struct net *n, struct span header)
{
    if (n->csum_distrusted)
        return false;
    return !is_compared(n) || note_compared(n, checksum_sum(header, 0) == 0xffff);
}

static bool tcp_sum_is_right(const struct ip_packet *p)
{
    uint16_t pseudo = checksum_pseudo(&p->src, &p->dst, IP_PROTO_TCP, (uint32_t)p->payload.len);

    return checksum_sum(p->payload, pseudo) == 0xffff;
}

/* Nothing is to be compared where the peer vouches: the field is not filled in. */
static void tcp_believe_device(struct net *n, struct ip_packet *p)
{
    if (!p->l4_csum_good || p->l4_csum_vouched)
        return;
    p->l4_csum_good = !n->csum_distrusted && (!is_compared(n) || note_compared(n, tcp_sum_is_right(p)));
}

void ip_link_note(struct ip_packet *p, struct ip_link link)
{
    p->l4_csum_vouched = (link.flags & FRAME_RX_L4_CSUM_VOUCHED) != 0;
    p->l4_csum_good = p->l4_csum_vouched || (link.flags & FRAME_RX_L4_CSUM_GOOD) != 0;
    p->flow_hashed = (link.flags & FRAME_RX_HASH) != 0;
    p->flow_hash = link.hash;
}

/* ---- coming in ---- */

bool ip_checksum_ok_tcp(const struct ip_packet *p)
{
    return p->l4_csum_good || tcp_sum_is_right(p);
}

static void deliver_unknown(struct net *n, const struct ip_packet *p)
{
    count(n->counters, REASON_IP_UNKNOWN_PROTO);
    icmp_complain(n, p, p->proto == IP_PROTO_UDP ? ICMP_NO_PORT : ICMP_NO_PROTOCOL, p->proto_at);
}

static void deliver_tcp(struct net *n, struct ip_packet *p)
{
    if (steer_segment(n, p))
        return;
    tcp_believe_device(n, p);
    tcp_input(n, p);
}

void ip_deliver(struct net *n, struct ip_packet *p)
{
    uint8_t icmp = p->family == NET_IP6 ? IP_PROTO_ICMP6 : IP_PROTO_ICMP;

    if (p->proto == icmp)
        icmp_input(n, p);
    else if (p->proto != IP_PROTO_TCP)
        deliver_unknown(n, p);
    else if (!p->to_unicast)
        count(n->counters, REASON_IP_TCP_TO_GROUP);
    else
        deliver_tcp(n, p);
}
