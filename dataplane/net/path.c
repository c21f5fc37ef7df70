/* Pairs of addresses between which connections live, so that what holds for every segment of a pair is found out
 * once: that both addresses are sound, which hangs on the configuration alone, and which MAC is the next hop's,
 * which holds until a neighbour changes and for PATH_HOP_US at most, so that a neighbour in use is seen to be.
 *
 * A pair is entered when a connection first sends; strangers' packets enter nothing.  Each pair has one place:
 * who aims at another's place makes it be found out again, no more. */
#include "dataplane/net/ip.h"

#define PATHS       256
#define PATH_HOP_US 1000000

struct path {
    uint64_t addrs[4]; /* remote, local; IPv4: both in the first */
    uint64_t until_us;
    uint32_t generation;
    uint8_t mac[6];
    uint8_t family; /* 0: free */
};

_Static_assert(sizeof(struct path) <= 64, "a path is one cache line");

size_t paths_memory_needed(void)
{
    return PATHS * sizeof(struct path) + 64;
}

void paths_init(struct net *n, struct arena *a)
{
    n->paths = arena_alloc(a, PATHS * sizeof(struct path), 64);
}

static void key_of(const struct net_addr *remote, const struct net_addr *local, uint64_t key[4])
{
    if (remote->family == NET_IP4) {
        memcpy(key, remote->bytes, 4);
        memcpy((uint8_t *)key + 4, local->bytes, 4);
        key[1] = key[2] = key[3] = 0;
        return;
    }
    memcpy(key, remote->bytes, 16);
    memcpy(key + 2, local->bytes, 16);
}

static struct path *place_of(const struct net *n, const uint64_t key[4])
{
    uint64_t mixed = (key[0] ^ key[1] * 3 ^ key[2] * 5 ^ key[3] * 7) * 0x9e3779b97f4a7c15ULL;

    return &n->paths[mixed >> 56];
}

static bool is_of(const struct path *p, uint8_t family, const uint64_t key[4])
{
    uint64_t differs =
        (p->addrs[0] ^ key[0]) | (p->addrs[1] ^ key[1]) | (p->addrs[2] ^ key[2]) | (p->addrs[3] ^ key[3]);

    return p->family == family && differs == 0;
}

bool path_is_known(const struct net *n, const struct net_addr *remote, const struct net_addr *local)
{
    uint64_t key[4];

    key_of(remote, local, key);
    return is_of(place_of(n, key), remote->family, key);
}

enum ip_hop path_hop(struct net *n, const struct net_addr *local, const struct net_addr *remote,
                     uint8_t mac[6])
{
    uint64_t key[4];

    key_of(remote, local, key);
    struct path *p = place_of(n, key);
    if (is_of(p, remote->family, key) && p->generation == n->hop_generation && n->now_us < p->until_us) {
        memcpy(mac, p->mac, 6);
        return IP_HOP_READY;
    }
    enum ip_hop hop = ip_next_hop(n, local, remote, mac);
    if (hop != IP_HOP_READY)
        return hop;
    memcpy(p->addrs, key, sizeof p->addrs);
    memcpy(p->mac, mac, 6);
    p->family = remote->family;
    p->generation = n->hop_generation;
    p->until_us = n->now_us + PATH_HOP_US;
    return IP_HOP_READY;
}
