/* net-memory idle N: what N idle connections cost.  net-memory flood N: what N SYNs from as many strangers cost.  One JSON object. */
#include "base/check.h"
#include "bench/net/rig.h"

#include <string.h>

static int idle(uint32_t n)
{
    struct net_config c;
    struct net_rig r;
    struct net_peer p;
    struct net_gauges g;

    net_config_defaults(&c);
    c.conns_max = n;
    uint64_t before = resident_bytes();
    net_rig_init(&r, &c, true);
    for (uint32_t i = 0; i < n; i++)
        net_rig_connect(&r, i, &p);
    uint64_t grown = resident_bytes() - before;
    net_gauges(r.net, &g);
    CHECK(g.established == n && g.recv_buffers_used == 0 && g.send_buffers_used == 0);
    printf("{\"connections\": %u, \"resident_bytes_each\": %.1f, \"record_bytes\": %zu, "
           "\"table_bytes_each\": %.1f}\n",
           n, (double)grown / n, r.net->tcp->conns.object_size,
           (double)(r.net->tcp->slot_mask + 1) * sizeof(struct tcp_slot) / n);
    return 0;
}

static int flood(uint32_t n)
{
    struct net_config c;
    struct net_rig r;
    struct wire_segment got;
    uint64_t at[2] = {0};
    uint32_t answered = 0;

    net_config_defaults(&c);
    net_rig_init(&r, &c, true);
    size_t arena = arena_used(r.arena);
    for (uint32_t i = 0; i < n; i++) {
        struct wire_segment syn = net_rig_syn(i);
        r.now_us += 2; /* 500 000 a second */
        net_rig_give(&r, &syn);
        net_timers(r.net, r.now_us, 64);
        while (net_rig_take(&r, &got))
            answered += got.flags == (WIRE_SYN | WIRE_ACK);
        if (i == n / 100)
            at[0] = resident_bytes();
    }
    at[1] = resident_bytes();
    CHECK(arena_used(r.arena) == arena);
    struct net_gauges g;
    net_gauges(r.net, &g);
    printf("{\"syns\": %u, \"answered\": %u, \"half_open\": %u, \"conns\": %u, \"grown_bytes\": %ld}\n", n,
           answered, g.syn_received, g.conns, (long)(at[1] - at[0]));
    return 0;
}

int main(int argc, char **argv)
{
    uint32_t n = argc == 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;

    if (n < 100 || (strcmp(argv[1], "idle") != 0 && strcmp(argv[1], "flood") != 0)) {
        fprintf(stderr, "usage: net-memory idle|flood N\n");
        return 2;
    }
    return strcmp(argv[1], "idle") == 0 ? idle(n) : flood(n);
}
