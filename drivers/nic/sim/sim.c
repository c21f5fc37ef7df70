/* Buffers move between three places: the free list, a port's user, the wire.  The wire is a heap ordered by
 * arrival and then by the order of sending; what has arrived waits in the receive queue of its port. */
#include "drivers/nic/sim/sim.h"

#include "drivers/nic/sim/device.h"

#include "base/check.h"
#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>

#define ETH_HEADER_LEN 14
#define TAG_LEN        4
#define START_US       1000000
#define RX_QUEUE_CAP   1024
#define PPM            1000000
#define FLOWS          4096 /* remembered by a port for SIM_STEER_LAST; the next one with that place takes it */

enum place { PLACE_FREE, PLACE_USER, PLACE_WIRE };

struct buffer {
    uint8_t *data;
    uint16_t len;
    uint16_t flags; /* FRAME_RX_* to hand out with it */
    uint32_t hash;
    uint16_t port; /* whose user holds it, or where it goes */
    uint16_t queue;
    enum place place;
    uint64_t arrives_us;
    uint64_t order;
    struct buffer *next;
};

struct rx_queue {
    struct buffer *first, *last;
    uint32_t count;
};

struct port {
    struct nic nic; /* first: ops get a pointer to it */
    struct sim *sim;
    uint16_t number;
    bool stopped;
    struct sim_faults faults;
    uint64_t random;
    uint16_t tx_room;
    uint32_t pool_limit;
    uint32_t held;
    struct rx_queue rx[SIM_QUEUES_MAX];
    uint8_t last_queue[FLOWS]; /* 0: none yet; else one more than the queue */
};

struct sim {
    struct sim_config config;
    uint64_t now_us;
    uint64_t order;
    struct port port[SIM_PORTS_MAX];
    struct buffer *buffers;
    uint8_t *bytes;
    struct buffer *unused;
    struct buffer **heap;
    uint32_t heap_count;
    sim_filter filter;
    void *filter_arg;
    FILE *capture;
    struct sim_stats stats;
};

/* ---- randomness: one splitmix64 stream per sending port, so that faults of one direction do not depend on
 * the traffic of the other ---- */

static uint64_t draw(struct port *p)
{
    uint64_t z = p->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint32_t draw_below(struct port *p, uint32_t below)
{
    return (uint32_t)((draw(p) >> 32) * below >> 32);
}

/* Draws even when the chance is zero: switching one fault on does not shift the others. */
static bool happens(struct port *p, uint32_t ppm)
{
    return draw_below(p, PPM) < ppm;
}

/* ---- buffers ---- */

static struct buffer *buffer_take(struct sim *s)
{
    struct buffer *b = s->unused;

    if (b != NULL)
        s->unused = b->next;
    return b;
}

static void buffer_give(struct sim *s, struct buffer *b)
{
    b->place = PLACE_FREE;
    b->next = s->unused;
    s->unused = b;
}

static uint16_t room(const struct sim *s)
{
    return (uint16_t)(s->config.mtu + ETH_HEADER_LEN + TAG_LEN);
}

static void hand_to_user(struct port *p, struct buffer *b, struct frame *out)
{
    b->place = PLACE_USER;
    b->port = p->number;
    p->held++;
    *out = (struct frame){.data = b->data,
                          .len = b->len,
                          .cap = room(p->sim),
                          .flags = b->flags,
                          .queue = b->queue,
                          .hash = b->hash,
                          .owner = b};
}

static struct buffer *take_from_user(struct port *p, const struct frame *f)
{
    struct buffer *b = f->owner;

    CHECK(b != NULL && b->place == PLACE_USER && b->port == p->number);
    p->held--;
    return b;
}

/* ---- the heap of frames under way ---- */

static bool earlier(const struct buffer *a, const struct buffer *b)
{
    return a->arrives_us != b->arrives_us ? a->arrives_us < b->arrives_us : a->order < b->order;
}

static void heap_put(struct sim *s, struct buffer *b)
{
    uint32_t at = s->heap_count++;

    while (at > 0 && earlier(b, s->heap[(at - 1) / 2])) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = b;
}

static struct buffer *heap_get(struct sim *s)
{
    struct buffer *first = s->heap[0], *moved = s->heap[--s->heap_count];
    uint32_t at = 0;

    for (uint32_t child = 1; child < s->heap_count; child = at * 2 + 1) {
        if (child + 1 < s->heap_count && earlier(s->heap[child + 1], s->heap[child]))
            child++;
        if (!earlier(s->heap[child], moved))
            break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = moved;
    return first;
}

/* ---- arriving ---- */

static uint16_t queue_by_hash(const struct sim *s, struct buffer *b)
{
    struct span frame = span_of(b->data, b->len);
    uint8_t key[sizeof s->config.rss_key];

    memcpy(key, s->config.rss_key, sizeof key);
    if (s->config.rss_lies) { /* what the last bits of a port are multiplied with */
        key[13] ^= 0xff;
        key[37] ^= 0xff;
    }
    if (!sim_device_toeplitz(frame, key, &b->hash))
        return 0;
    b->flags |= FRAME_RX_HASH;
    return (uint16_t)(b->hash % 128 % s->config.queue_count);
}

static uint16_t queue_by_last(const struct sim *s, const struct port *p, const struct buffer *b)
{
    struct span frame = span_of(b->data, b->len);
    uint32_t flow = sim_device_flow(frame);

    if (flow != 0 && p->last_queue[flow / 2 % FLOWS] != 0)
        return (uint16_t)(p->last_queue[flow / 2 % FLOWS] - 1);
    return sim_device_queue(frame, s->config.queue_count);
}

static uint16_t choose_queue(struct sim *s, struct port *p, struct buffer *b)
{
    /* Drawn from the receiver's stream, and only where it is asked for: other runs stay what they were. */
    if (s->config.misdirect_ppm != 0 && happens(p, s->config.misdirect_ppm))
        return (uint16_t)draw_below(p, s->config.queue_count);
    if (s->config.queue_count == 1)
        return 0;
    if (s->config.steering == SIM_STEER_RSS)
        return queue_by_hash(s, b);
    if (s->config.steering == SIM_STEER_LAST)
        return queue_by_last(s, p, b);
    return sim_device_queue(span_of(b->data, b->len), s->config.queue_count);
}

static void arrive(struct sim *s, struct buffer *b)
{
    struct port *p = &s->port[b->port];

    if (s->config.rx_csum && b->flags == 0)
        b->flags = s->config.csum_lies ? FRAME_RX_IP4_CSUM_GOOD | FRAME_RX_L4_CSUM_GOOD
                                       : sim_device_rx_flags(span_of(b->data, b->len));
    b->queue = choose_queue(s, p, b);
    struct rx_queue *q = &p->rx[b->queue];

    if (p->stopped || q->count >= RX_QUEUE_CAP) {
        s->stats.queue_full += !p->stopped;
        buffer_give(s, b);
        return;
    }
    s->stats.delivered++;
    b->next = NULL;
    if (q->count++ == 0)
        q->first = b;
    else
        q->last->next = b;
    q->last = b;
}

static void settle(struct sim *s)
{
    while (s->heap_count > 0 && s->heap[0]->arrives_us <= s->now_us)
        arrive(s, heap_get(s));
}

static uint16_t port_rx(struct nic *nic, uint16_t queue, struct frame *frames, uint16_t cap)
{
    struct port *p = (struct port *)nic;
    struct rx_queue *q = &p->rx[queue];
    uint16_t done = 0;

    CHECK(cap <= NIC_BURST_MAX && queue < p->nic.info.queue_count);
    settle(p->sim);
    while (done < cap && q->count > 0) {
        struct buffer *b = q->first;
        q->first = b->next;
        q->count--;
        hand_to_user(p, b, &frames[done++]);
    }
    return done;
}

/* ---- sending ---- */

static void corrupt(struct port *p, struct buffer *b)
{
    for (uint32_t flips = 1 + draw_below(p, 3); flips > 0 && b->len > 0; flips--) {
        uint32_t bit = draw_below(p, b->len * 8u);
        b->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void send_copy(struct port *from, uint16_t to, const struct buffer *original, uint64_t delay_us)
{
    struct sim *s = from->sim;
    struct buffer *b = buffer_take(s);

    if (b == NULL) {
        s->stats.no_buffer++;
        return;
    }
    memcpy(b->data, original->data, original->len);
    b->len = original->len;
    b->flags = original->flags;
    b->port = to;
    b->place = PLACE_WIRE;
    b->arrives_us = s->now_us + delay_us;
    b->order = s->order++;
    if (happens(from, from->faults.corrupt_ppm)) {
        s->stats.corrupted++;
        corrupt(from, b);
    }
    heap_put(s, b);
}

static void send_one_way(struct port *from, uint16_t to, const struct buffer *b)
{
    const struct sim_faults *f = &from->faults;
    struct sim_stats *stats = &from->sim->stats;
    bool lost = happens(from, f->loss_ppm), twice = happens(from, f->duplicate_ppm);
    bool late = happens(from, f->jitter_ppm);
    uint32_t lateness = draw_below(from, f->jitter_us + 1);

    if (lost) {
        stats->lost++;
        return;
    }
    stats->late += late;
    stats->duplicated += twice;
    for (int copies = 1 + twice; copies > 0; copies--)
        send_copy(from, to, b, f->delay_us + (late ? (uint64_t)lateness : 0));
}

static void record(struct sim *s, const struct buffer *b)
{
    uint32_t head[4] = {(uint32_t)(s->now_us / 1000000), (uint32_t)(s->now_us % 1000000), b->len, b->len};

    CHECK(fwrite(head, sizeof head, 1, s->capture) == 1);
    CHECK(b->len == 0 || fwrite(b->data, b->len, 1, s->capture) == 1);
}

static void send_frame(struct port *from, const struct frame *f)
{
    struct sim *s = from->sim;
    struct buffer *b = take_from_user(from, f);

    CHECK(f->len <= room(s) && f->data == b->data);
    b->len = f->len;
    b->flags = 0;
    b->hash = 0;
    s->stats.sent++;
    if ((f->flags & (FRAME_TX_IP4_CSUM | FRAME_TX_TCP_CSUM)) != 0) {
        CHECK(s->config.tx_csum);
        b->flags = sim_device_tx(f, s->config.partial_csum);
    }
    if (s->capture != NULL)
        record(s, b);
    if (s->filter != NULL && !s->filter(s->filter_arg, from->number, span_of(b->data, b->len))) {
        s->stats.lost++;
    } else {
        for (uint16_t to = 0; to < s->config.port_count; to++)
            if (to != from->number)
                send_one_way(from, to, b);
    }
    buffer_give(s, b);
}

static void note_flow(struct port *p, uint16_t queue, const struct frame *f)
{
    uint32_t flow = sim_device_flow(span_of(f->data, f->len));

    if (flow != 0)
        p->last_queue[flow / 2 % FLOWS] = (uint8_t)(queue + 1);
}

static uint16_t port_tx(struct nic *nic, uint16_t queue, struct frame *frames, uint16_t count)
{
    struct port *p = (struct port *)nic;
    uint16_t taken = count < p->tx_room ? count : p->tx_room;

    CHECK(count <= NIC_BURST_MAX && queue < p->nic.info.queue_count);
    for (uint16_t i = 0; i < taken; i++) {
        if (p->sim->config.steering == SIM_STEER_LAST)
            note_flow(p, queue, &frames[i]);
        send_frame(p, &frames[i]);
    }
    return taken;
}

static bool port_alloc(struct nic *nic, uint16_t queue, struct frame *out)
{
    struct port *p = (struct port *)nic;
    struct buffer *b = p->held < p->pool_limit ? buffer_take(p->sim) : NULL;

    if (b == NULL)
        return false;
    b->len = 0;
    b->flags = 0;
    b->queue = queue;
    hand_to_user(p, b, out);
    return true;
}

static void port_free(struct nic *nic, struct frame *f)
{
    struct port *p = (struct port *)nic;

    buffer_give(p->sim, take_from_user(p, f));
}

static void port_stop(struct nic *nic)
{
    struct port *p = (struct port *)nic;

    p->stopped = true;
    for (uint16_t i = 0; i < p->nic.info.queue_count; i++)
        while (p->rx[i].count > 0) {
            struct buffer *b = p->rx[i].first;
            p->rx[i].first = b->next;
            p->rx[i].count--;
            buffer_give(p->sim, b);
        }
}

/* ---- making one ---- */

static const struct nic_ops port_ops = {
    .rx = port_rx, .tx = port_tx, .alloc = port_alloc, .free = port_free, .stop = port_stop};

void sim_config_defaults(struct sim_config *c)
{
    *c = (struct sim_config){.seed = 1, .port_count = 2, .queue_count = 1, .mtu = 1500, .frames_max = 4096};
}

static void port_init(struct sim *s, uint16_t number)
{
    const struct sim_config *c = &s->config;
    struct port *p = &s->port[number];

    p->sim = s;
    p->number = number;
    p->tx_room = UINT16_MAX;
    p->pool_limit = UINT32_MAX;
    p->random = c->seed * 0x100 + number;
    p->nic.ops = &port_ops;
    p->nic.info = (struct nic_info){.mac = {2, 0, 0, 0, 0, (uint8_t)(number + 1)},
                                    .mtu = c->mtu,
                                    .queue_count = c->queue_count,
                                    .rx_ip4_csum = c->rx_csum,
                                    .rx_tcp_csum = c->rx_csum,
                                    .tx_ip4_csum = c->tx_csum,
                                    .tx_tcp_csum = c->tx_csum,
                                    .rss = c->queue_count > 1 && c->steering == SIM_STEER_RSS,
                                    .rss_table_len = 128,
                                    .kind = "sim"};
}

struct sim *sim_new(const struct sim_config *c)
{
    struct sim *s = calloc(1, sizeof *s);

    CHECK(s != NULL);
    CHECK(c->port_count >= 2 && c->port_count <= SIM_PORTS_MAX);
    CHECK(c->queue_count >= 1 && c->queue_count <= SIM_QUEUES_MAX);
    s->config = *c;
    s->now_us = START_US;
    s->buffers = calloc(c->frames_max, sizeof *s->buffers);
    s->bytes = calloc(c->frames_max, room(s));
    s->heap = calloc(c->frames_max, sizeof(struct buffer *));
    CHECK(s->buffers != NULL && s->bytes != NULL && s->heap != NULL);
    for (uint32_t i = c->frames_max; i > 0; i--) {
        s->buffers[i - 1].data = s->bytes + (size_t)(i - 1) * room(s);
        buffer_give(s, &s->buffers[i - 1]);
    }
    for (uint16_t i = 0; i < c->port_count; i++)
        port_init(s, i);
    return s;
}

void sim_free(struct sim *s)
{
    if (s == NULL)
        return;
    if (s->capture != NULL)
        CHECK(fclose(s->capture) == 0);
    free(s->heap);
    free(s->bytes);
    free(s->buffers);
    free(s);
}

struct nic *sim_port(struct sim *s, uint16_t port)
{
    CHECK(port < s->config.port_count);
    return &s->port[port].nic;
}

/* ---- time ---- */

uint64_t sim_now(const struct sim *s)
{
    return s->now_us;
}

void sim_advance(struct sim *s, uint64_t us)
{
    s->now_us += us;
    settle(s);
}

uint64_t sim_next_delivery(const struct sim *s)
{
    for (uint16_t i = 0; i < s->config.port_count; i++)
        for (uint16_t k = 0; k < s->config.queue_count; k++)
            if (s->port[i].rx[k].count > 0)
                return s->now_us;
    return s->heap_count > 0 ? s->heap[0]->arrives_us : UINT64_MAX;
}

/* ---- faults and figures ---- */

void sim_set_faults(struct sim *s, uint16_t from_port, const struct sim_faults *f)
{
    CHECK(from_port < s->config.port_count);
    s->port[from_port].faults = *f;
}

void sim_set_filter(struct sim *s, sim_filter filter, void *arg)
{
    s->filter = filter;
    s->filter_arg = arg;
}

void sim_set_tx_room(struct sim *s, uint16_t port, uint16_t frames)
{
    CHECK(port < s->config.port_count);
    s->port[port].tx_room = frames;
}

void sim_set_pool_limit(struct sim *s, uint16_t port, uint32_t frames)
{
    CHECK(port < s->config.port_count);
    s->port[port].pool_limit = frames;
}

void sim_get_stats(const struct sim *s, struct sim_stats *out)
{
    *out = s->stats;
}

uint32_t sim_frames_held(const struct sim *s, uint16_t port)
{
    CHECK(port < s->config.port_count);
    return s->port[port].held;
}

bool sim_capture(struct sim *s, const char *path)
{
    /* Microsecond times, Ethernet; the reader tells the byte order by the magic number. */
    uint32_t head[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1};

    CHECK(s->capture == NULL);
    s->capture = fopen(path, "wb");
    return s->capture != NULL && fwrite(head, sizeof head, 1, s->capture) == 1;
}
