/* net-lookup CONNECTIONS LOOKUPS: so many connections in the table, so many of them looked up in an order that no cache foresees.  One
 * JSON object: looks per lookup, for tuples by chance and for tuples chosen against another key; nanoseconds of a lookup alone and in
 * bursts whose slots and records were asked for in advance. */
#include "base/check.h"
#include "bench/net/rig.h"

#include <string.h>
#include <time.h>

#define BURST  32
#define PASSES 9

static uint64_t mix(uint64_t v)
{
    v = (v ^ v >> 33) * 0xff51afd7ed558ccdULL;
    v = (v ^ v >> 33) * 0xc4ceb9fe1a85ec53ULL;
    return v ^ v >> 33;
}

static struct tcp_tuple tuple_of(uint64_t number)
{
    struct tcp_tuple u = {.local = {10, 0, 0, 1}, .local_port = RIG_PORT, .family = NET_IP4};

    memcpy(u.remote, &number, 4);
    u.remote_port = (uint16_t)(number >> 32);
    return u;
}

/* Number n of those in one 64th of the buckets of a table whose key was guessed wrong. */
static struct tcp_tuple chosen(uint64_t *at)
{
    static struct tcp guessed;

    flow_key_set(&guessed.table_key, &(struct siphash_key){1, 2});
    for (;;) {
        struct tcp_tuple u = tuple_of(mix((*at)++));
        if ((tuple_hash(&guessed, &u) & 63) == 7)
            return u;
    }
}

static struct tcp *table_of(uint32_t conns, struct tcp_tuple *all, bool choose)
{
    static struct net_rig r;
    struct net_config c;
    uint64_t at = 0;

    arena_free(r.arena);
    net_config_defaults(&c);
    c.conns_max = conns;
    c.recv_buffers_max = c.send_buffers_max = 1;
    net_rig_init(&r, &c, true);
    for (uint32_t i = 0; i < conns;) {
        struct tcp_tuple u = choose ? chosen(&at) : tuple_of(mix(i));
        all[i++] = u;
        CHECK(tcp_conn_new(r.net->tcp, &u) != NULL);
    }
    return r.net->tcp;
}

static double looks(const struct tcp *t, const struct tcp_tuple *all, uint32_t count)
{
    uint64_t sum = 0;

    for (uint32_t n = 0; n < count; n++) {
        uint32_t hash = tuple_hash(t, &all[n]);
        uint32_t i = hash & t->slot_mask;
        for (sum++; t->slots[i].tag != hash; i = (i + 1) & t->slot_mask)
            sum++;
    }
    return (double)sum / count;
}

COUNTED void counted_lookups(struct tcp *t, const struct tcp_tuple *which, uint32_t count);

void counted_lookups(struct tcp *t, const struct tcp_tuple *which, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        CHECK(table_find(t, &which[i]) != NULL);
}

static void burst_lookups(struct tcp *t, const struct tcp_tuple *which, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += BURST) {
        uint32_t hash[BURST], n = count - i < BURST ? count - i : BURST;
        for (uint32_t k = 0; k < n; k++)
            hash[k] = table_expect(t, &which[i + k]);
        for (uint32_t k = 0; k < n; k++)
            table_expect_record(t, hash[k]);
        for (uint32_t k = 0; k < n; k++)
            CHECK(table_find_hashed(t, &which[i + k], hash[k]) != NULL);
    }
}

/* The least of several passes: what else runs on the machine only ever adds. */
static double ns_of(void (*lookups)(struct tcp *, const struct tcp_tuple *, uint32_t), struct tcp *t,
                    const struct tcp_tuple *which, uint32_t count)
{
    double least = 1e18;

    for (int pass = 0; pass < PASSES; pass++) {
        struct timespec a, b;
        CHECK(clock_gettime(CLOCK_MONOTONIC, &a) == 0);
        lookups(t, which, count);
        CHECK(clock_gettime(CLOCK_MONOTONIC, &b) == 0);
        double ns = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / count;
        least = ns < least ? ns : least;
    }
    return least;
}

int main(int argc, char **argv)
{
    uint32_t conns = argc == 3 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
    uint32_t count = argc == 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;

    if (conns < 2 || count == 0) {
        fprintf(stderr, "usage: net-lookup CONNECTIONS LOOKUPS\n");
        return 2;
    }
    struct tcp_tuple *all = calloc(conns, sizeof *all), *which = calloc(count, sizeof *which);
    CHECK(all != NULL && which != NULL);
    double by_choice = looks(table_of(conns, all, true), all, conns);
    struct tcp *t = table_of(conns, all, false);
    for (uint32_t i = 0; i < count; i++)
        which[i] = all[mix(i + 77) % conns];
    double by_chance = looks(t, which, count);
    double alone = ns_of(counted_lookups, t, which, count);
    double batch = ns_of(burst_lookups, t, which, count);
    printf("{\"looks\": %.3f, \"chosen_looks\": %.3f, \"ns_alone\": %.1f, \"ns_batch\": %.1f}\n", by_chance,
           by_choice, alone, batch);
    return 0;
}
