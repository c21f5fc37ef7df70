#include "dataplane/net/steer.h"

#include "base/check.h"
#include "base/limits.h"
#include "dataplane/net/ip.h"

#include <stdatomic.h>

#define NIBBLES_MAX 72 /* of an IPv6 four-tuple */
#define SLOTS_ALL   1024
#define SLOTS_MIN   64
/* Hashes of the device that are compared before it is believed, and one in how many is compared from then on. */
#define TRIAL  64
#define SAMPLE 256

struct lane {
    _Alignas(64) _Atomic uint64_t head; /* written by the producer */
    _Alignas(64) _Atomic uint64_t tail; /* written by the consumer */
    _Alignas(64) uint8_t *slots;
};

struct steering {
    uint16_t workers, table_mask;
    uint32_t slot_size, slot_mask;
    uint32_t part[NIBBLES_MAX][16]; /* what one nibble of the tuple adds to the hash */
    struct lane *lanes;             /* workers * workers, by from and to */
};

/* What one worker heard of a neighbour: the others have tables of their own. */
struct neighbour_news {
    struct net_addr addr;
    uint8_t mac[6];
    bool has_mac;
    bool answered;
};

/* ---- the owner function ---- */

/* The 32 bits of the key that begin at bit `at`. */
static uint32_t key_window(const uint8_t *key, size_t at)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < 5; i++)
        bits = bits << 8 | key[at / 8 + i];
    return (uint32_t)(bits >> (8 - at % 8));
}

static void parts_fill(struct steering *s, const uint8_t *key)
{
    for (size_t n = 0; n < NIBBLES_MAX; n++)
        for (size_t v = 0; v < 16; v++)
            for (size_t bit = 0; bit < 4; bit++)
                if ((v & (8u >> bit)) != 0)
                    s->part[n][v] ^= key_window(key, 4 * n + bit);
}

static uint32_t hash_bytes(const struct steering *s, size_t *at, const uint8_t *p, size_t len)
{
    uint32_t h = 0;

    for (size_t i = 0; i < len; i++, *at += 2)
        h ^= s->part[*at][p[i] >> 4] ^ s->part[*at + 1][p[i] & 15];
    return h;
}

uint32_t steering_hash(const struct steering *s, const struct net_addr *src, const struct net_addr *dst,
                       uint16_t src_port, uint16_t dst_port)
{
    uint8_t ports[4];
    size_t at = 0;

    store_be16(ports, src_port);
    store_be16(ports + 2, dst_port);
    uint32_t h = hash_bytes(s, &at, src->bytes, addr_len(src));
    h ^= hash_bytes(s, &at, dst->bytes, addr_len(dst));
    return h ^ hash_bytes(s, &at, ports, sizeof ports);
}

uint16_t steering_owner(const struct steering *s, uint32_t hash)
{
    return (uint16_t)((hash & s->table_mask) % s->workers);
}

uint16_t steering_workers(const struct steering *s)
{
    return s->workers;
}

/* ---- lanes ---- */

/* All lanes into one worker together have about SLOTS_ALL places. */
static uint32_t lane_slots(const struct steering_config *c)
{
    uint32_t slots = SLOTS_ALL;

    while (slots > SLOTS_MIN && slots * c->workers > SLOTS_ALL)
        slots /= 2;
    return slots;
}

static uint32_t slot_size(const struct steering_config *c)
{
    return (uint32_t)((sizeof(struct handed) + c->mtu + ETH_HEADER_LEN + ETH_TAG_LEN + 63) / 64 * 64);
}

size_t steering_memory_needed(const struct steering_config *c)
{
    size_t lanes = (size_t)c->workers * c->workers;

    return sizeof(struct steering) + 64 + lanes * (sizeof(struct lane) + 64) +
           (lanes - c->workers) * (lane_slots(c) * (size_t)slot_size(c) + 64);
}

struct steering *steering_new(const struct steering_config *c, struct arena *a)
{
    struct steering *s = arena_alloc(a, sizeof *s, 64);
    uint16_t table_len = c->table_len == 0 ? STEERING_TABLE_LEN : c->table_len;

    CHECK(c->workers >= 1 && c->workers <= WORKERS_MAX && (table_len & (table_len - 1)) == 0);
    s->workers = c->workers;
    s->table_mask = (uint16_t)(table_len - 1);
    s->slot_size = slot_size(c);
    s->slot_mask = lane_slots(c) - 1;
    parts_fill(s, c->key);
    s->lanes = arena_alloc(a, (size_t)c->workers * c->workers * sizeof *s->lanes, 64);
    for (uint16_t i = 0; i < c->workers * c->workers; i++)
        if (i / c->workers != i % c->workers)
            s->lanes[i].slots = arena_alloc(a, (s->slot_mask + 1) * (size_t)s->slot_size, 64);
    return s;
}

static struct lane *lane_of(const struct steering *s, uint16_t from, uint16_t to)
{
    CHECK(from < s->workers && to < s->workers && from != to);
    return &s->lanes[from * s->workers + to];
}

static struct handed *slot_at(const struct steering *s, const struct lane *l, uint64_t place)
{
    return (struct handed *)(void *)(l->slots + (place & s->slot_mask) * s->slot_size);
}

static uint64_t lane_used(const struct lane *l)
{
    return atomic_load_explicit(&l->head, memory_order_relaxed) -
           atomic_load_explicit(&l->tail, memory_order_acquire);
}

struct handed *lane_begin(struct steering *s, uint16_t from, uint16_t to, size_t len)
{
    struct lane *l = lane_of(s, from, to);

    if (len > s->slot_size - sizeof(struct handed) || lane_used(l) > s->slot_mask)
        return NULL;
    struct handed *h = slot_at(s, l, atomic_load_explicit(&l->head, memory_order_relaxed));
    h->len = (uint16_t)len;
    return h;
}

void lane_commit(struct steering *s, uint16_t from, uint16_t to)
{
    struct lane *l = lane_of(s, from, to);
    uint64_t head = atomic_load_explicit(&l->head, memory_order_relaxed);

    atomic_store_explicit(&l->head, head + 1, memory_order_release);
}

bool lane_is_busy(const struct steering *s, uint16_t from, uint16_t to)
{
    return lane_used(lane_of(s, from, to)) > s->slot_mask / 2;
}

const struct handed *lane_peek(struct steering *s, uint16_t from, uint16_t to)
{
    struct lane *l = lane_of(s, from, to);
    uint64_t tail = atomic_load_explicit(&l->tail, memory_order_relaxed);

    if (tail == atomic_load_explicit(&l->head, memory_order_acquire))
        return NULL;
    return slot_at(s, l, tail);
}

void lane_release(struct steering *s, uint16_t from, uint16_t to)
{
    struct lane *l = lane_of(s, from, to);
    uint64_t tail = atomic_load_explicit(&l->tail, memory_order_relaxed);

    atomic_store_explicit(&l->tail, tail + 1, memory_order_release);
}

/* ---- handing on ---- */

static bool shares(const struct net *n)
{
    return n->config.steering != NULL && !n->taking_handed;
}

/* The device hashes what has no options and no extension headers as we do; of the rest its hash may be another. */
static bool device_should_know(const struct ip_packet *p)
{
    return p->flow_hashed && p->header.len == (p->family == NET_IP6 ? IP6_HEADER_LEN : IP4_HEADER_LEN);
}

/* The first ones, and a sample for ever: a device may be set up anew behind our back. */
static bool device_hash_is_right(struct net *n, const struct ip_packet *p, uint32_t ours)
{
    n->hashes_compared++;
    if (p->flow_hash == ours)
        return true;
    count(n->counters, REASON_STEER_HASH_WRONG);
    n->hash_distrusted = true;
    return false;
}

static uint16_t owner_of(struct net *n, const struct ip_packet *p)
{
    const struct steering *s = n->config.steering;
    bool known = !n->hash_distrusted && device_should_know(p);

    if (known && n->hashes_compared >= TRIAL && ++n->hashes_taken % SAMPLE != 0)
        return steering_owner(s, p->flow_hash);
    uint32_t ours =
        steering_hash(s, &p->src, &p->dst, load_be16(p->payload.ptr), load_be16(p->payload.ptr + 2));
    if (known)
        (void)device_hash_is_right(n, p, ours);
    return steering_owner(s, ours);
}

bool steer_comparison_is_due(const struct net *n, const struct frame *f)
{
    return (f->flags & FRAME_RX_HASH) != 0 && !n->hash_distrusted &&
           (n->hashes_compared < TRIAL || (n->hashes_taken + 1) % SAMPLE == 0);
}

bool steer_trusts_device(const struct net *n)
{
    return n->config.steering != NULL && !n->hash_distrusted && n->hashes_compared >= TRIAL;
}

static uint16_t flags_of(const struct ip_packet *p)
{
    if (!p->l4_csum_good)
        return FRAME_RX_IP4_CSUM_GOOD;
    return FRAME_RX_IP4_CSUM_GOOD | (p->l4_csum_vouched ? FRAME_RX_L4_CSUM_VOUCHED : FRAME_RX_L4_CSUM_GOOD);
}

/* header and payload lie in one piece. */
static void hand(struct net *n, uint16_t to, const struct ip_packet *p)
{
    size_t len = p->header.len + p->payload.len;
    struct handed *h = lane_begin(n->config.steering, n->config.worker, to, len);

    if (h == NULL) {
        count(n->counters, REASON_STEER_LOST);
        return;
    }
    h->kind = p->family == NET_IP6 ? HANDED_IP6 : HANDED_IP4;
    h->flags = flags_of(p);
    memcpy(h->bytes, p->header.ptr, len);
    lane_commit(n->config.steering, n->config.worker, to);
    count(n->counters, REASON_STEER_HANDED);
}

bool steer_segment(struct net *n, const struct ip_packet *p)
{
    if (!shares(n) || p->payload.len < 4)
        return false;
    uint16_t owner = owner_of(n, p);
    if (owner == n->config.worker)
        return false;
    hand(n, owner, p);
    return true;
}

bool steer_error(struct net *n, const struct ip_packet *p, const struct icmp_tcp_error *e)
{
    if (!shares(n))
        return false;
    uint16_t owner =
        steering_owner(n->config.steering, steering_hash(n->config.steering, &e->remote, &e->local,
                                                         e->remote_port, e->local_port));
    if (owner == n->config.worker)
        return false;
    hand(n, owner, p);
    return true;
}

void steer_neighbour_news(struct net *n, const struct net_addr *addr, const uint8_t *mac, bool answered)
{
    struct neighbour_news news = {.addr = *addr, .has_mac = mac != NULL, .answered = answered};

    if (!shares(n))
        return;
    if (mac != NULL)
        memcpy(news.mac, mac, sizeof news.mac);
    for (uint16_t to = 0; to < steering_workers(n->config.steering); to++) {
        if (to == n->config.worker || lane_is_busy(n->config.steering, n->config.worker, to))
            continue;
        struct handed *h = lane_begin(n->config.steering, n->config.worker, to, sizeof news);
        CHECK(h != NULL);
        h->kind = HANDED_NEIGHBOUR;
        h->flags = 0;
        memcpy(h->bytes, &news, sizeof news);
        lane_commit(n->config.steering, n->config.worker, to);
    }
}

/* ---- taking ---- */

static void take_news(struct net *n, const struct handed *h)
{
    struct neighbour_news news;

    CHECK(h->len == sizeof news);
    memcpy(&news, h->bytes, sizeof news);
    neighbour_news_heard(n, &news.addr, news.has_mac ? news.mac : NULL, news.answered);
}

static void take(struct net *n, const struct handed *h)
{
    struct ip_link link = {.flags = h->flags};

    switch ((enum handed_kind)h->kind) {
    case HANDED_IP4:
        count(n->counters, REASON_STEER_TAKEN);
        ip4_input(n, span_of(h->bytes, h->len), link);
        break;
    case HANDED_IP6:
        count(n->counters, REASON_STEER_TAKEN);
        ip6_input(n, span_of(h->bytes, h->len), link);
        break;
    case HANDED_NEIGHBOUR:
        take_news(n, h);
        break;
    case HANDED_FRAME: {
        /* What it is for us to hand on, we hand on. */
        struct frame f = {.data = (uint8_t *)(uintptr_t)h->bytes, .len = h->len, .flags = h->flags};
        n->taking_handed = false;
        eth_input(n, &f);
        n->taking_handed = true;
        break;
    }
    }
}

static bool take_from(struct net *n, uint16_t from)
{
    struct steering *s = n->config.steering;
    const struct handed *h;
    bool any = false;

    for (int budget = NIC_BURST_MAX; budget > 0 && (h = lane_peek(s, from, n->config.worker)) != NULL;
         budget--) {
        take(n, h);
        lane_release(s, from, n->config.worker);
        any = true;
    }
    return any;
}

bool net_take_handed(struct net *n, uint64_t now_us)
{
    bool any = false;

    n->now_us = now_us;
    if (n->config.steering == NULL)
        return false;
    n->taking_handed = true;
    for (uint16_t from = 0; from < steering_workers(n->config.steering); from++)
        if (from != n->config.worker)
            any |= take_from(n, from);
    n->taking_handed = false;
    return any;
}

#ifdef WW_TEST_HOOKS
bool net_misdirect(struct net *n, const struct frame *f, uint16_t to)
{
    struct handed *h = lane_begin(n->config.steering, n->config.worker, to, f->len);

    if (h == NULL)
        return false;
    h->kind = HANDED_FRAME;
    h->flags = f->flags & (uint16_t)~FRAME_RX_HASH;
    memcpy(h->bytes, f->data, f->len);
    lane_commit(n->config.steering, n->config.worker, to);
    return true;
}
#endif
