/* The door, but for the connection functions, which tcp.c implements. */
#include "dataplane/net/ip.h"

#include "base/check.h"

#define ANNOUNCES       3
#define ANNOUNCE_GAP_US 1000000
#define DEFEND_GAP_US   10000000

/* ---- randomness ---- */

uint64_t net_random(struct net *n)
{
    uint64_t at = n->rng.counter++;

    return siphash(&n->rng.key, span_of(&at, sizeof at));
}

uint32_t net_random_below(struct net *n, uint32_t below)
{
    CHECK(below > 0);
    return (uint32_t)((net_random(n) >> 32) * below >> 32);
}

struct siphash_key net_random_key(struct net *n)
{
    struct siphash_key key;

    key.k0 = net_random(n);
    key.k1 = net_random(n);
    return key;
}

/* All 32 bytes of the seed count: two 16-byte halves, the second hashed under the first. */
static void random_init(struct net *n)
{
    struct siphash_key first;
    uint8_t tagged[17];

    memcpy(&first, n->config.seed, sizeof first);
    memcpy(tagged + 1, n->config.seed + 16, 16);
    tagged[0] = 0;
    n->rng.key.k0 = siphash(&first, span_of(tagged, sizeof tagged));
    tagged[0] = 1;
    n->rng.key.k1 = siphash(&first, span_of(tagged, sizeof tagged));
    n->rng.counter = 0;
}

/* ---- start ---- */

size_t net_memory_needed(const struct net_config *c)
{
    return sizeof(struct net) + 64 + routes_memory_needed() + neighbours_memory_needed() +
           replies_memory_needed(c) + icmp_memory_needed() + frags_memory_needed(c) + paths_memory_needed() +
           tcp_memory_needed(c);
}

struct net *net_new(const struct net_config *c, struct arena *a, struct counters *counters, uint64_t now_us)
{
    CHECK(net_config_error(c) == NULL);
    struct net *n = arena_alloc(a, sizeof *n, 64);
    uint8_t mac[8] = {0};

    memcpy(mac, c->mac, ETH_ADDR_LEN);
    n->config = *c;
    n->counters = counters;
    n->now_us = now_us;
    n->mac = mac_number(mac);
    n->plain_lens = c->vlan_id != 0 ? 0 : c->mtu - (uint32_t)(PLAIN_MIN - ETH_HEADER_LEN) + 1;
    n->link_local = addr_link_local(c->mac);
    n->announce_at_us = n->mld_report_at_us = UINT64_MAX;
    random_init(n);
    routes_init(n, a);
    neighbours_init(n, a);
    replies_init(n, a);
    icmp_init(n, a);
    frags_init(n, a);
    paths_init(n, a);
    tcp_init(n, a);
    n->flow_key = net_random_key(n);
    return n;
}

/* ---- frames (net_input: plain.c) ---- */

static NOINLINE uint16_t output_begin(struct net *n, struct frame *frames, uint16_t cap)
{
    if (n->config.vlan_id != 0)
        eth_tag_begin(n, frames, cap);
    return n->replies_held != 0 ? replies_output(n, frames, cap) : 0;
}

/* Replies once more: TCP may just have asked for a next hop. */
static NOINLINE uint16_t output_end(struct net *n, struct frame *frames, uint16_t cap, uint16_t done)
{
    if (n->replies_held != 0)
        done = (uint16_t)(done + replies_output(n, frames + done, (uint16_t)(cap - done)));
    if (n->config.vlan_id != 0)
        eth_tag_end(n, frames, cap, done);
    return done;
}

uint16_t net_output(struct net *n, uint64_t now_us, struct frame *frames, uint16_t cap)
{
    uint16_t done = 0;

    n->now_us = now_us;
    if (UNLIKELY((n->replies_held | n->config.vlan_id) != 0))
        done = output_begin(n, frames, cap);
    done = (uint16_t)(done + tcp_output(n, frames + done, (uint16_t)(cap - done)));
    if (UNLIKELY((n->replies_held | n->config.vlan_id) != 0))
        done = output_end(n, frames, cap, done);
    return done;
}

bool net_has_output(const struct net *n)
{
    return (n->replies_held != 0 && replies_have_output(n)) || tcp_has_output(n);
}

/* ---- announcing ourselves ---- */

static void note_conflict(struct net *n, const struct net_addr *addr)
{
    uint16_t i = 0;

    while (i < n->config.addr_count && !net_addr_equal(&n->config.addrs[i].addr, addr))
        i++;
    n->contested[i < n->config.addr_count ? i : NET_SERVICE_ADDRS_MAX] = true;
}

bool net_conflict(struct net *n, const struct net_addr *addr)
{
    note_conflict(n, addr);
    if (n->now_us < n->defended_until_us)
        return false;
    n->defended_until_us = n->now_us + DEFEND_GAP_US;
    return true;
}

static void announce_addr(struct net *n, const struct net_addr *addr)
{
    if (addr->family == NET_IP6) {
        ndp_probe(n, addr);
        ndp_announce(n, addr);
    } else {
        arp_probe(n, addr);
        arp_announce(n, addr);
    }
}

static void announce_once(struct net *n)
{
    mld_report(n);
    announce_addr(n, &n->link_local);
    for (uint16_t i = 0; i < n->config.addr_count; i++)
        announce_addr(n, &n->config.addrs[i].addr);
}

static NOINLINE void announce_timers(struct net *n)
{
    announce_once(n);
    n->announces_left--;
    n->announce_at_us = n->announces_left > 0 ? n->now_us + ANNOUNCE_GAP_US : UINT64_MAX;
    link_due(n, n->announce_at_us);
}

/* The gateways are asked for now, so that the first connection does not wait for them. */
void net_announce(struct net *n, uint64_t now_us)
{
    n->now_us = now_us;
    if (n->config.worker == 0) {
        n->announces_left = ANNOUNCES;
        n->announce_at_us = now_us;
        announce_timers(n);
    }
    for (uint16_t i = 0; i < n->config.route_count; i++)
        if (!n->config.routes[i].on_link)
            neighbour_pin(n, &n->config.routes[i].gateway);
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static NOINLINE void link_timers(struct net *n)
{
    if (n->now_us >= n->announce_at_us)
        announce_timers(n);
    if (n->now_us >= n->mld_report_at_us)
        mld_timers(n);
    if (n->now_us >= n->neighbours_due_us)
        neighbour_timers(n);
    if (n->now_us >= n->frags_due_us)
        frag_timers(n);
    n->link_due_us = earlier(earlier(n->announce_at_us, n->mld_report_at_us),
                             earlier(n->neighbours_due_us, n->frags_due_us));
}

void net_timers(struct net *n, uint64_t now_us, uint32_t budget)
{
    n->now_us = now_us;
    if (now_us >= n->link_due_us)
        link_timers(n);
    tcp_timers(n, budget);
}

uint64_t net_next_timer(const struct net *n)
{
    uint64_t link = earlier(earlier(n->announce_at_us, n->mld_report_at_us), neighbour_next_timer(n));

    return earlier(earlier(link, frag_next_timer(n)), tcp_next_timer(n));
}

void net_gauges(const struct net *n, struct net_gauges *out)
{
    tcp_gauges(n, out);
    out->neighbours = neighbour_count(n);
    out->addr_conflicts = 0;
    for (size_t i = 0; i <= NET_SERVICE_ADDRS_MAX; i++)
        out->addr_conflicts += n->contested[i];
    out->device_steers = steer_trusts_device(n);
    out->device_checks = !n->csum_distrusted;
    frag_gauges(n, out);
}
