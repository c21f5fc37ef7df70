/* The MACs of next hops, for ARP and NDP alike.
 *
 * Only an answer to a question of ours changes an entry, so a stranger can neither plant nor move one.  What
 * anybody else says about a neighbour (a gratuitous ARP, an unsolicited advertisement, the sender fields of a
 * request) makes us ask again at most.
 *
 *   FREE -> INCOMPLETE   somebody wants it: ask everybody, 3 times, a second apart
 *   INCOMPLETE -> REACHABLE (answer) | FAILED (none)
 *   REACHABLE -> PROBE   15..45 s later if used since, or claimed by another MAC: ask it alone
 *             -> STALE   15..45 s later if not used since
 *   STALE -> PROBE       used again | FREE after 10 minutes
 *   PROBE -> REACHABLE (it answered) | ASK_ALL (it did not)
 *   ASK_ALL -> REACHABLE, perhaps with another MAC | FAILED
 *   FAILED -> FREE       after 3 s in which packets are refused; a pinned entry is asked for again
 *
 * In PROBE and ASK_ALL the old MAC stays in use: a lost answer costs nothing, and a gateway that moved is
 * followed within one refresh.  (RFC 4861 7.3.2 without DELAY; ARP gets the same life.) */
#include "dataplane/net/ip.h"

#include "base/check.h"

#define NEIGHBOURS_MAX     512    /* hosts on our links that talk to us directly; behind a gateway: one */
#define INCOMPLETE_MAX     64     /* so that a flood of made-up sources cannot push out those that answered */
#define INCOMPLETE_KEEP_US 100000 /* the same flood makes us ask at most 640 questions a second */
#define BUCKETS            1024
#define NONE               UINT16_MAX
#define RETRANS_US         1000000
#define REACHABLE_BASE_US  30000000
#define STALE_US           600000000
#define FAILED_US          3000000
#define CLAIM_PROBE_US     100000
#define CLAIM_QUIET_US     1000000
#define PROBE_TRIES        2
#define CLAIM_PROBE_TRIES  1
#define ASK_ALL_TRIES      3

enum neighbour_state { FREE, INCOMPLETE, REACHABLE, STALE, PROBE, ASK_ALL, FAILED };

struct neighbour {
    struct net_addr addr;
    uint8_t mac[6];
    uint8_t state; /* enum neighbour_state */
    uint8_t tries_left;
    bool used;   /* since it was last confirmed */
    bool pinned; /* a gateway */
    uint16_t next;
    uint32_t retrans_us;
    uint64_t due_us; /* UINT64_MAX when nothing is */
    uint64_t changed_us;
    uint64_t claims_ignored_until_us;
};

struct neighbours {
    struct siphash_key key;
    uint32_t count, incomplete;
    uint16_t bucket[BUCKETS];
    struct neighbour entry[NEIGHBOURS_MAX];
};

size_t neighbours_memory_needed(void)
{
    return sizeof(struct neighbours) + 64;
}

void neighbours_init(struct net *n, struct arena *a)
{
    struct neighbours *t = arena_alloc(a, sizeof *t, 64);

    t->key = net_random_key(n);
    n->neighbours_due_us = UINT64_MAX;
    for (size_t i = 0; i < BUCKETS; i++)
        t->bucket[i] = NONE;
    n->neighbours = t;
}

uint32_t neighbour_count(const struct net *n)
{
    return n->neighbours->count;
}

/* ---- the table ---- */

static uint16_t *bucket_of(struct neighbours *t, const struct net_addr *addr)
{
    return &t->bucket[siphash(&t->key, span_of(addr->bytes, addr_len(addr))) % BUCKETS];
}

static struct neighbour *find(struct neighbours *t, const struct net_addr *addr)
{
    for (uint16_t i = *bucket_of(t, addr); i != NONE; i = t->entry[i].next)
        if (net_addr_equal(&t->entry[i].addr, addr))
            return &t->entry[i];
    return NULL;
}

static void set_state(struct net *n, struct neighbour *e, enum neighbour_state state, uint64_t due_us)
{
    struct neighbours *t = n->neighbours;

    t->incomplete -= e->state == INCOMPLETE;
    t->incomplete += state == INCOMPLETE;
    t->count -= e->state != FREE && state == FREE;
    t->count += e->state == FREE && state != FREE;
    if (e->state != state)
        e->changed_us = n->now_us;
    e->state = (uint8_t)state;
    e->due_us = due_us;
    if (due_us < n->neighbours_due_us)
        n->neighbours_due_us = due_us;
    link_due(n, due_us);
}

static void release(struct net *n, struct neighbour *e)
{
    struct neighbours *t = n->neighbours;
    uint16_t self = (uint16_t)(e - t->entry);
    uint16_t *at = bucket_of(t, &e->addr);

    while (*at != self) {
        CHECK(*at != NONE);
        at = &t->entry[*at].next;
    }
    *at = e->next;
    set_state(n, e, FREE, UINT64_MAX);
    n->hop_generation++;
}

/* How readily an entry gives way to a new one; 0: not at all. */
static int eviction_rank(const struct neighbours *t, const struct neighbour *e, uint64_t now_us)
{
    if (e->pinned || e->state == FREE)
        return 0;
    if (e->state == INCOMPLETE)
        return t->incomplete >= INCOMPLETE_MAX && now_us - e->changed_us >= INCOMPLETE_KEEP_US ? 3 : 0;
    if (t->incomplete >= INCOMPLETE_MAX)
        return 0;
    return e->state == FAILED ? 2 : e->state == STALE ? 1 : 0;
}

/* The oldest of those that give way most readily. */
static struct neighbour *victim(struct neighbours *t, uint64_t now_us)
{
    struct neighbour *best = NULL;
    int best_rank = 0;

    for (size_t i = 0; i < NEIGHBOURS_MAX; i++) {
        struct neighbour *e = &t->entry[i];
        int rank = eviction_rank(t, e, now_us);
        if (rank > best_rank || (rank != 0 && rank == best_rank && e->changed_us < best->changed_us)) {
            best = e;
            best_rank = rank;
        }
    }
    return best;
}

static struct neighbour *free_entry(struct neighbours *t)
{
    for (size_t i = 0; i < NEIGHBOURS_MAX; i++)
        if (t->entry[i].state == FREE)
            return &t->entry[i];
    return NULL;
}

/* A new entry, in no state yet; NULL (counted) when every other one is worth more. */
static struct neighbour *take(struct net *n, const struct net_addr *addr)
{
    struct neighbours *t = n->neighbours;
    struct neighbour *e = t->incomplete < INCOMPLETE_MAX ? free_entry(t) : NULL;

    if (e == NULL) {
        count(n->counters, REASON_NEIGHBOUR_FULL);
        e = victim(t, n->now_us);
        if (e == NULL)
            return NULL;
        release(n, e);
    }
    memset(e, 0, sizeof *e);
    e->addr = *addr;
    uint16_t *bucket = bucket_of(t, addr);
    e->next = *bucket;
    *bucket = (uint16_t)(e - t->entry);
    return e;
}

/* ---- asking ---- */

static void ask(struct net *n, const struct neighbour *e)
{
    const uint8_t *to = e->state == PROBE ? e->mac : NULL;

    if (e->addr.family == NET_IP6)
        ndp_ask(n, &e->addr, to);
    else
        arp_ask(n, &e->addr, to);
}

static void start_asking(struct net *n, struct neighbour *e, enum neighbour_state state, uint8_t tries,
                         uint32_t retrans_us)
{
    e->tries_left = (uint8_t)(tries - 1);
    e->retrans_us = retrans_us;
    set_state(n, e, state, n->now_us + retrans_us);
    ask(n, e);
}

static void fail(struct net *n, struct neighbour *e)
{
    count(n->counters, REASON_NEIGHBOUR_FAILED);
    n->hop_generation++;
    set_state(n, e, FAILED, n->now_us + FAILED_US);
}

static void unanswered(struct net *n, struct neighbour *e)
{
    if (e->tries_left > 0) {
        e->tries_left--;
        set_state(n, e, e->state, n->now_us + e->retrans_us);
        ask(n, e);
    } else if (e->state == PROBE) {
        start_asking(n, e, ASK_ALL, ASK_ALL_TRIES, RETRANS_US);
    } else {
        fail(n, e);
    }
}

static void confirm(struct net *n, struct neighbour *e, const uint8_t mac[6])
{
    bool moved = e->state == ASK_ALL && memcmp(e->mac, mac, 6) != 0;

    count(n->counters, REASON_NEIGHBOUR_RESOLVED);
    if (moved)
        count(n->counters, REASON_NEIGHBOUR_CHANGED);
    if (moved || e->state == INCOMPLETE)
        n->hop_generation++;
    memcpy(e->mac, mac, 6);
    e->used = false;
    e->claims_ignored_until_us = n->now_us + CLAIM_QUIET_US;
    /* RFC 4861 6.3.2: between half and one and a half of the base, so that hosts do not ask in step. */
    set_state(n, e, REACHABLE, n->now_us + REACHABLE_BASE_US / 2 + net_random_below(n, REACHABLE_BASE_US));
}

/* ---- what the others say ---- */

/* False: we had not asked. */
static bool is_confirmed(struct net *n, struct neighbour *e, const uint8_t *mac)
{
    if (e == NULL)
        return false;
    if (mac == NULL)
        mac = e->mac;
    bool asked_all = (e->state == INCOMPLETE || e->state == ASK_ALL) && mac_is_usable(mac);
    bool asked_it = e->state == PROBE && memcmp(e->mac, mac, 6) == 0;
    if (asked_all || asked_it)
        confirm(n, e, mac);
    return asked_all || asked_it;
}

static void claimed(struct net *n, const struct net_addr *addr, const uint8_t mac[6])
{
    struct neighbour *e = find(n->neighbours, addr);

    if (e == NULL || (e->state != REACHABLE && e->state != STALE) || memcmp(e->mac, mac, 6) == 0 ||
        n->now_us < e->claims_ignored_until_us)
        return;
    count(n->counters, REASON_NEIGHBOUR_CLAIMED);
    start_asking(n, e, PROBE, CLAIM_PROBE_TRIES, CLAIM_PROBE_US);
}

void neighbour_answered(struct net *n, const struct net_addr *addr, const uint8_t *mac)
{
    steer_neighbour_news(n, addr, mac, true);
    if (is_confirmed(n, find(n->neighbours, addr), mac))
        return;
    count(n->counters, REASON_NEIGHBOUR_UNSOLICITED);
    if (mac != NULL)
        claimed(n, addr, mac);
}

void neighbour_claimed(struct net *n, const struct net_addr *addr, const uint8_t mac[6])
{
    steer_neighbour_news(n, addr, mac, false);
    claimed(n, addr, mac);
}

void neighbour_news_heard(struct net *n, const struct net_addr *addr, const uint8_t *mac, bool answered)
{
    if (answered && is_confirmed(n, find(n->neighbours, addr), mac))
        return;
    if (mac != NULL)
        claimed(n, addr, mac);
}

/* ---- what we want ---- */

static struct neighbour *find_or_ask(struct net *n, const struct net_addr *addr)
{
    struct neighbour *e = find(n->neighbours, addr);

    if (e != NULL)
        return e;
    e = take(n, addr);
    if (e != NULL)
        start_asking(n, e, INCOMPLETE, ASK_ALL_TRIES, RETRANS_US);
    return e;
}

enum ip_hop neighbour_resolve(struct net *n, const struct net_addr *hop, uint8_t mac[6])
{
    struct neighbour *e = find_or_ask(n, hop);

    if (e == NULL)
        return IP_HOP_NONE;
    e->used = true;
    if (e->state == INCOMPLETE)
        return IP_HOP_RESOLVING;
    if (e->state == FAILED)
        return IP_HOP_NONE;
    if (e->state == STALE)
        start_asking(n, e, PROBE, PROBE_TRIES, RETRANS_US);
    memcpy(mac, e->mac, 6);
    return IP_HOP_READY;
}

void neighbour_pin(struct net *n, const struct net_addr *addr)
{
    struct neighbour *e = find_or_ask(n, addr);

    if (e != NULL)
        e->pinned = true;
}

/* ---- time ---- */

static void expire(struct net *n, struct neighbour *e)
{
    switch ((enum neighbour_state)e->state) {
    case INCOMPLETE:
    case PROBE:
    case ASK_ALL:
        unanswered(n, e);
        break;
    case REACHABLE:
        if (e->used || e->pinned)
            start_asking(n, e, PROBE, PROBE_TRIES, RETRANS_US);
        else
            set_state(n, e, STALE, n->now_us + STALE_US);
        break;
    case FAILED:
        if (e->pinned)
            start_asking(n, e, INCOMPLETE, ASK_ALL_TRIES, RETRANS_US);
        else
            release(n, e);
        break;
    case STALE:
        release(n, e);
        break;
    case FREE:
        break;
    }
}

/* A walk over all entries, but only when one of them is due. */
void neighbour_timers(struct net *n)
{
    struct neighbours *t = n->neighbours;
    uint64_t next = UINT64_MAX;

    if (n->now_us < n->neighbours_due_us)
        return;
    for (size_t i = 0; i < NEIGHBOURS_MAX; i++) {
        struct neighbour *e = &t->entry[i];
        if (e->state == FREE)
            continue;
        if (e->due_us <= n->now_us)
            expire(n, e);
        if (e->state != FREE && e->due_us < next)
            next = e->due_us;
    }
    n->neighbours_due_us = next;
}

uint64_t neighbour_next_timer(const struct net *n)
{
    return n->neighbours_due_us;
}
