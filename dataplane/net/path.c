/* Pairs of addresses between which connections live, so that what holds for every segment of a pair is found out
 * once: that both addresses are sound, which hangs on the configuration alone, and which MAC is the next hop's,
 * which holds until a neighbour changes and for PATH_HOP_US at most, so that a neighbour in use is seen to be.
 *
 * A pair is entered when a connection first sends; strangers' packets enter nothing.  Each pair has one place:
 * who aims at another's place makes it be found out again, no more. */
#include "dataplane/net/ip.h"

#define PATHS       256
#define PATH_HOP_US 1000000

size_t paths_memory_needed(void)
{
    return PATHS * sizeof(struct path) + 64;
}

void paths_init(struct net *n, struct arena *a)
{
    n->paths = arena_alloc(a, PATHS * sizeof(struct path), 64);
}

bool path_is_known(const struct net *n, const struct net_addr *remote, const struct net_addr *local)
{
    bool is_its;

    (void)path_of(n, remote->family, remote->bytes, local->bytes, &is_its);
    return is_its;
}

enum ip_hop path_hop(struct net *n, uint8_t family, const uint8_t local[16], const uint8_t remote[16],
                     uint8_t mac[6])
{
    const uint8_t *known = path_mac(n, family, local, remote);
    struct net_addr src = {.family = family}, dst = {.family = family};
    bool is_its;

    if (known != NULL) {
        memcpy(mac, known, 6);
        return IP_HOP_READY;
    }
    memcpy(src.bytes, local, 16);
    memcpy(dst.bytes, remote, 16);
    enum ip_hop hop = ip_next_hop(n, &src, &dst, mac);
    if (hop != IP_HOP_READY)
        return hop;
    struct path *p = path_of(n, family, remote, local, &is_its);
    *p =
        (struct path){.until_us = n->now_us + PATH_HOP_US, .generation = n->hop_generation, .family = family};
    if (family == NET_IP4) {
        p->addrs[0] = path_word(remote, local);
    } else {
        memcpy(&p->addrs[0], remote, 16);
        memcpy(&p->addrs[2], local, 16);
    }
    memcpy(p->mac, mac, 6);
    return IP_HOP_READY;
}
