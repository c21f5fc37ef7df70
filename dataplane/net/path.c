/* Pairs of addresses between which connections live, so that what holds for every segment of a pair is found out
 * once: that both addresses are sound, which hangs on the configuration alone, and which MAC is the next hop's,
 * which holds until a neighbour changes and for PATH_HOP_US at most, so that a neighbour in use is seen to be.
 *
 * A pair is entered when a connection first sends; strangers' packets enter nothing.  Each pair has one place:
 * who aims at another's place makes it be found out again, no more. */
#include "dataplane/net/ip.h"

#define PATH_HOP_US 1000000

size_t paths_memory_needed(void)
{
    return (size_t)2 * PATHS * sizeof(struct path) + 64;
}

void paths_init(struct net *n, struct arena *a)
{
    n->paths = arena_alloc(a, (size_t)2 * PATHS * sizeof(struct path), 64);
}

bool path_is_known(const struct net *n, const struct net_addr *remote, const struct net_addr *local)
{
    bool is_its;

    (void)path_of(n, remote->family, remote->bytes, local->bytes, &is_its);
    return is_its;
}

static void head4_fill(const struct net *n, struct path *p, const uint8_t *local, const uint8_t *remote)
{
    uint8_t *ip = p->head + ETH_HEADER_LEN;

    p->addrs[0] = path_word(remote, local);
    store_be32(ip, UINT32_C(0x45000000));
    store_be32(ip + 4, 0x4000);
    store_be32(ip + 8, (uint32_t)(IP_HOP_LIMIT << 8 | IP_PROTO_TCP) << 16);
    memcpy(ip + 12, local, 4);
    memcpy(ip + 16, remote, 4);
    p->ip4_sum = checksum_sum(span_of(ip, IP4_HEADER_LEN), 0);
    p->pseudo_sum = checksum_pseudo_tcp(NET_IP4, ip + 12, 0);
    p->l3_len = IP4_HEADER_LEN;
    p->flags = n->config.tx_ip4_csum ? FRAME_TX_IP4_CSUM : 0;
}

static void head6_fill(struct path *p, const uint8_t *local, const uint8_t *remote)
{
    uint8_t *ip = p->head + ETH_HEADER_LEN;

    memcpy(&p->addrs[0], remote, 16);
    memcpy(&p->addrs[2], local, 16);
    store_be32(ip, UINT32_C(6) << 28);
    store_be32(ip + 4, IP_PROTO_TCP << 8 | IP_HOP_LIMIT);
    memcpy(ip + 8, local, 16);
    memcpy(ip + 24, remote, 16);
    p->l3_len = IP6_HEADER_LEN;
    p->flags = FRAME_IS_IP6;
}

void path_fill(const struct net *n, struct path *p, uint8_t family, const uint8_t local[16],
               const uint8_t remote[16], const uint8_t mac[6])
{
    *p =
        (struct path){.until_us = n->now_us + PATH_HOP_US, .generation = n->hop_generation, .family = family};
    memcpy(p->head, mac, ETH_ADDR_LEN);
    memcpy(p->head + ETH_ADDR_LEN, n->config.mac, ETH_ADDR_LEN);
    store_be16(p->head + 2 * ETH_ADDR_LEN, family == NET_IP4 ? ETH_TYPE_IP4 : ETH_TYPE_IP6);
    if (family == NET_IP4)
        head4_fill(n, p, local, remote);
    else
        head6_fill(p, local, remote);
    if (n->config.tx_tcp_csum)
        p->flags |= FRAME_TX_TCP_CSUM;
    p->l2_len = ETH_HEADER_LEN;
    p->is_short = family == NET_IP4 && n->config.tx_ip4_csum && n->config.tx_tcp_csum;
}

enum ip_hop path_hop(struct net *n, uint8_t family, const uint8_t local[16], const uint8_t remote[16],
                     const struct path **path)
{
    struct net_addr src = {.family = family}, dst = {.family = family};
    uint8_t mac[ETH_ADDR_LEN];
    bool is_its;

    *path = path_known(n, family, local, remote);
    if (*path != NULL)
        return IP_HOP_READY;
    memcpy(src.bytes, local, 16);
    memcpy(dst.bytes, remote, 16);
    enum ip_hop hop = ip_next_hop(n, &src, &dst, mac);
    if (hop != IP_HOP_READY)
        return hop;
    struct path *p = path_of(n, family, remote, local, &is_its);
    path_fill(n, p, family, local, remote, mac);
    *path = p;
    return IP_HOP_READY;
}
