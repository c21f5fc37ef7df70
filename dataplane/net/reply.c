/* Frames that no connection stands behind: ARP, NDP, ICMP, RSTs to strangers, announcements.
 *
 * A slot is free, being written, ready to go, or waiting for its next hop.  Both queues are first in, first
 * out; waiting slots are looked at again only when a neighbour changed (net.hop_generation). */
#include "dataplane/net/ip.h"

#include "base/check.h"

#define SLOTS_MAX   64 /* two bursts of questions in one turn */
#define WAITING_MAX 16
#define WAIT_US     3000000 /* a hop that has not answered by then has failed three questions */

struct slot {
    uint16_t len;
    bool needs_hop;
    uint8_t proto; /* 0: a frame without an IP header of ours */
    uint64_t since_us;
    struct net_addr src, dst;
    uint8_t *bytes;
};

struct queue {
    uint16_t head, count;
    uint16_t slot[SLOTS_MAX];
};

struct replies {
    struct slot slot[SLOTS_MAX];
    struct queue unused, ready, waiting;
    uint16_t writing; /* SLOTS_MAX: none */
    uint16_t frame_max;
    uint32_t seen_generation;
};

static uint16_t frame_max(const struct net_config *c)
{
    return (uint16_t)(c->mtu + ETH_HEADER_LEN);
}

size_t replies_memory_needed(const struct net_config *c)
{
    return sizeof(struct replies) + 64 + (size_t)SLOTS_MAX * frame_max(c) + 64;
}

static void queue_put(struct queue *q, uint16_t slot)
{
    CHECK(q->count < SLOTS_MAX);
    q->slot[(q->head + q->count) % SLOTS_MAX] = slot;
    q->count++;
}

static uint16_t queue_get(struct queue *q)
{
    CHECK(q->count > 0);
    uint16_t slot = q->slot[q->head];

    q->head = (uint16_t)((q->head + 1) % SLOTS_MAX);
    q->count--;
    return slot;
}

void replies_init(struct net *n, struct arena *a)
{
    struct replies *r = arena_alloc(a, sizeof *r, 64);

    r->frame_max = frame_max(&n->config);
    r->writing = SLOTS_MAX;
    uint8_t *bytes = arena_alloc(a, (size_t)SLOTS_MAX * r->frame_max, 64);
    for (uint16_t i = 0; i < SLOTS_MAX; i++) {
        r->slot[i].bytes = bytes + (size_t)i * r->frame_max;
        queue_put(&r->unused, i);
    }
    n->replies = r;
}

/* ---- writing ---- */

static struct slot *begin(struct net *n, size_t len)
{
    struct replies *r = n->replies;

    CHECK(r->writing == SLOTS_MAX);
    if (r->unused.count == 0 || len > r->frame_max) {
        count(n->counters, REASON_REPLY_FULL);
        return NULL;
    }
    r->writing = queue_get(&r->unused);
    n->replies_held++;
    struct slot *s = &r->slot[r->writing];
    s->len = (uint16_t)len;
    s->needs_hop = false;
    s->proto = 0;
    s->since_us = n->now_us;
    return s;
}

uint8_t *reply_begin_frame(struct net *n, uint16_t len)
{
    struct slot *s = begin(n, len);

    return s != NULL ? s->bytes : NULL;
}

uint8_t *reply_begin_ip_to(struct net *n, const uint8_t mac[6], const struct net_addr *src,
                           const struct net_addr *dst, uint8_t proto, uint16_t l4_len, uint8_t hop_limit)
{
    static const uint8_t unknown[6];
    bool ip6 = dst->family == NET_IP6;
    size_t before = ETH_HEADER_LEN + (ip6 ? IP6_HEADER_LEN : IP4_HEADER_LEN);
    struct slot *s = begin(n, before + l4_len);

    if (s == NULL)
        return NULL;
    s->needs_hop = mac == NULL;
    s->proto = proto;
    s->src = *src;
    s->dst = *dst;
    eth_header_write(n, s->bytes, mac != NULL ? mac : unknown, ip6 ? ETH_TYPE_IP6 : ETH_TYPE_IP4);
    ip_header_write(s->bytes + ETH_HEADER_LEN, src, dst, proto, l4_len, hop_limit, false);
    return s->bytes + before;
}

uint8_t *reply_begin_ip(struct net *n, const struct net_addr *src, const struct net_addr *dst, uint8_t proto,
                        uint16_t l4_len)
{
    return reply_begin_ip_to(n, NULL, src, dst, proto, l4_len, IP_HOP_LIMIT);
}

/* Where the checksum lies in each upper layer that we send. */
static size_t checksum_offset(uint8_t proto)
{
    return proto == IP_PROTO_TCP ? 16 : 2;
}

static void fill_checksum(struct slot *s)
{
    size_t before = ETH_HEADER_LEN + (s->dst.family == NET_IP6 ? IP6_HEADER_LEN : IP4_HEADER_LEN);
    struct span l4 = span_of(s->bytes + before, s->len - before);
    uint8_t *field = s->bytes + before + checksum_offset(s->proto);

    CHECK(checksum_offset(s->proto) + 2 <= l4.len);
    store_be16(field, 0);
    /* ICMP for IPv4 has no pseudo-header (RFC 792). */
    uint16_t start =
        s->proto == IP_PROTO_ICMP ? 0 : checksum_pseudo(&s->src, &s->dst, s->proto, (uint32_t)l4.len);
    store_be16(field, (uint16_t)~checksum_sum(l4, start));
}

/* ---- waiting for the next hop ---- */

static void give_back(struct net *n, uint16_t slot)
{
    queue_put(&n->replies->unused, slot);
    n->replies_held--;
}

static void drop(struct net *n, uint16_t slot)
{
    count(n->counters, REASON_REPLY_NO_HOP);
    give_back(n, slot);
}

static void place(struct net *n, uint16_t slot)
{
    struct replies *r = n->replies;
    struct slot *s = &r->slot[slot];
    enum ip_hop hop = s->needs_hop ? ip_next_hop(n, &s->src, &s->dst, s->bytes) : IP_HOP_READY;

    /* ip_next_hop put the MAC where it belongs: an Ethernet header begins with its destination. */
    if (hop == IP_HOP_READY)
        queue_put(&r->ready, slot);
    else if (hop == IP_HOP_RESOLVING && r->waiting.count < WAITING_MAX && n->now_us - s->since_us < WAIT_US)
        queue_put(&r->waiting, slot);
    else
        drop(n, slot);
}

static uint16_t finish_writing(struct net *n)
{
    uint16_t slot = n->replies->writing;

    CHECK(slot < SLOTS_MAX);
    n->replies->writing = SLOTS_MAX;
    return slot;
}

void reply_commit_ip(struct net *n)
{
    uint16_t slot = finish_writing(n);

    struct slot *s = &n->replies->slot[slot];
    if (s->dst.family == NET_IP6)
        ip6_label_write(n, s->bytes + ETH_HEADER_LEN);
    fill_checksum(s);
    /* Asking for the hop may write a frame of its own (ARP, NDP), which is why writing has ended before. */
    place(n, slot);
}

void reply_commit_frame(struct net *n)
{
    queue_put(&n->replies->ready, finish_writing(n));
}

/* ---- going out ---- */

bool replies_have_output(const struct net *n)
{
    const struct replies *r = n->replies;

    return r->ready.count != 0 || (r->waiting.count != 0 && r->seen_generation != n->hop_generation);
}

static void look_again(struct net *n)
{
    struct replies *r = n->replies;

    if (r->seen_generation == n->hop_generation)
        return;
    r->seen_generation = n->hop_generation;
    for (uint16_t left = r->waiting.count; left > 0; left--)
        place(n, queue_get(&r->waiting));
}

uint16_t replies_output(struct net *n, struct frame *frames, uint16_t cap)
{
    struct replies *r = n->replies;
    uint16_t done = 0;

    if (!replies_have_output(n))
        return 0;
    look_again(n);
    while (done < cap && r->ready.count > 0) {
        uint16_t slot = queue_get(&r->ready);
        struct slot *s = &r->slot[slot];
        struct frame *f = &frames[done++];
        CHECK(f->cap >= s->len);
        memcpy(f->data, s->bytes, s->len);
        f->len = s->len;
        f->flags = 0;
        f->l2_len = ETH_HEADER_LEN;
        f->l3_len = f->l4_len = 0;
        give_back(n, slot);
    }
    return done;
}
