/* The table of connections: open addressing over a keyed hash of the tuple, so that nobody outside can choose
 * its buckets; twice as many slots as records, linear probing, deletion by shifting back (no tombstones).
 *
 * A record lives in the slab from tcp_conn_new to tcp_conn_free.  While a user holds it (TCP_CONN_USER) it is never
 * freed, so the pointer that the user has cannot come to mean another connection. */
#include "dataplane/net/tcp.h"

#include "base/check.h"

static uint32_t slots_for(const struct net_config *c)
{
    uint32_t slots = 16;

    while (slots < 2 * c->conns_max)
        slots *= 2;
    return slots;
}

static size_t recv_object_size(const struct net_config *c)
{
    return sizeof(struct tcp_ring) + c->recv_buffer + TCP_RANGES_MAX * sizeof(struct tcp_range);
}

static size_t send_object_size(const struct net_config *c)
{
    return sizeof(struct tcp_ring) + c->send_buffer;
}

size_t tcp_memory_needed(const struct net_config *c)
{
    uint32_t cap;
    size_t board = board_size(c, &cap);

    return sizeof(struct tcp) + 128 + slots_for(c) * sizeof(struct tcp_slot) +
           slab_memory_needed(sizeof(struct net_conn), c->conns_max) +
           slab_memory_needed(recv_object_size(c), c->recv_buffers_max) +
           slab_memory_needed(send_object_size(c), c->send_buffers_max) +
           slab_memory_needed(board, c->send_buffers_max) + record_table_memory_needed(c->syn_cache_max) +
           record_table_memory_needed(c->time_wait_max);
}

/* The smallest scale with which the whole buffer can be announced. */
static uint8_t window_scale_for(uint32_t buffer)
{
    uint8_t scale = 0;

    while (buffer >> scale > UINT16_MAX)
        scale++;
    return scale;
}

void tcp_init(struct net *n, struct arena *a)
{
    const struct net_config *config = &n->config;
    struct tcp *t = arena_alloc(a, sizeof *t, 64);

    n->tcp = t;
    t->net = n;
    t->slot_mask = slots_for(config) - 1;
    t->slots = arena_alloc(a, slots_for(config) * sizeof(struct tcp_slot), 64);
    /* The records lie behind the slots. */
    arena_large_pages(t->slots, slots_for(config) * sizeof(struct tcp_slot) +
                                    slab_memory_needed(sizeof(struct net_conn), config->conns_max));
    slab_init(&t->conns, a, sizeof(struct net_conn), config->conns_max, false);
    struct siphash_key key = net_random_key(n);
    flow_key_set(&t->table_key, &key);
    t->isn_key = net_random_key(n);
    t->ts_key = net_random_key(n);
    slab_init(&t->recv_buffers, a, recv_object_size(config), config->recv_buffers_max, false);
    slab_init(&t->send_buffers, a, send_object_size(config), config->send_buffers_max, false);
    slab_init(&t->boards, a, board_size(config, &t->board_cap), config->send_buffers_max, false);
    /* The reach of a struct tcp_link. */
    CHECK((size_t)(t->conns.base + t->conns.object_size * t->conns.capacity - (uint8_t *)t) <
          (size_t)UINT32_MAX * 4);
    link_init(t, &t->events);
    link_init(t, &t->outputs);
    link_init(t, &t->hop_waiters);
    link_init(t, &t->room_waiters);
    t->rcv_wscale = window_scale_for(config->recv_buffer);
    t->reset_tokens = TCP_RESETS_BURST;
    t->challenge_tokens = TCP_CHALLENGES_BURST;
    t->tokens_at_us = n->now_us;
    wheel_init(&t->wheel, n->now_us / 1000);
    syn_cache_init(t, a);
    time_wait_init(t, a);
    pressure_init(t);
    cookies_init(t);
    connect_init(t);
}

/* RFC 7323 5.4: the clock of timestamps tells nothing about our uptime. */
uint32_t tuple_ts_offset(const struct tcp *t, const struct tcp_tuple *tuple)
{
    return (uint32_t)siphash(&t->ts_key, span_of(tuple, sizeof *tuple));
}

uint32_t tuple_ts_now(const struct tcp *t, const struct tcp_tuple *tuple)
{
    return (uint32_t)(t->net->now_us / 1000) + tuple_ts_offset(t, tuple);
}

uint32_t tuple_hash(const struct tcp *t, const struct tcp_tuple *tuple)
{
    uint32_t ports = tuple_ports(tuple);
    uint64_t words[4];

    if (tuple->family == NET_IP4) {
        memcpy(words, tuple->remote, 4);
        memcpy((uint8_t *)words + 4, tuple->local, 4);
        return flow_hash4(&t->table_key, words[0], ports);
    }
    memcpy(words, tuple->remote, 16);
    memcpy(&words[2], tuple->local, 16);
    return flow_hash6(&t->table_key, words, ports);
}

uint32_t table_expect(const struct tcp *t, const struct tcp_tuple *tuple)
{
    uint32_t hash = tuple_hash(t, tuple);

    __builtin_prefetch(&t->slots[hash & t->slot_mask]);
    return hash;
}

/* The slot with this tag is the tuple's but for one in four billion; its line came with table_expect. */
void table_expect_record(const struct tcp *t, uint32_t hash)
{
    uint32_t i = hash & t->slot_mask;

    while (t->slots[i].conn != 0 && t->slots[i].tag != hash)
        i = (i + 1) & t->slot_mask;
    if (t->slots[i].conn == 0)
        return;
    const uint8_t *c = (const uint8_t *)slot_conn(t, &t->slots[i]);
    __builtin_prefetch(c);
    __builtin_prefetch(c + 64);
}

struct net_conn *table_find(struct tcp *t, const struct tcp_tuple *tuple)
{
    return table_find_hashed(t, tuple, tuple_hash(t, tuple));
}

struct net_conn *table_find_hashed(struct tcp *t, const struct tcp_tuple *tuple, uint32_t hash)
{
    for (uint32_t i = hash & t->slot_mask; t->slots[i].conn != 0; i = (i + 1) & t->slot_mask) {
        if (t->slots[i].tag != hash)
            continue;
        struct net_conn *c = slot_conn(t, &t->slots[i]);
        if (memcmp(&c->tuple, tuple, sizeof *tuple) == 0)
            return c;
    }
    return NULL;
}

static void table_insert(struct tcp *t, struct net_conn *c)
{
    uint32_t hash = tuple_hash(t, &c->tuple);
    uint32_t i = hash & t->slot_mask;

    while (t->slots[i].conn != 0)
        i = (i + 1) & t->slot_mask;
    t->slots[i].tag = hash;
    t->slots[i].conn = link_place(t, (const struct tcp_link *)(const void *)c);
}

static void table_remove(struct tcp *t, const struct net_conn *c)
{
    uint32_t hole = tuple_hash(t, &c->tuple) & t->slot_mask;

    while (slot_conn(t, &t->slots[hole]) != c) {
        CHECK(t->slots[hole].conn != 0);
        hole = (hole + 1) & t->slot_mask;
    }
    /* What follows and would be found through the hole moves into it. */
    for (uint32_t i = (hole + 1) & t->slot_mask; t->slots[i].conn != 0; i = (i + 1) & t->slot_mask) {
        uint32_t home = t->slots[i].tag & t->slot_mask;
        if (((i - home) & t->slot_mask) < ((i - hole) & t->slot_mask))
            continue;
        t->slots[hole] = t->slots[i];
        hole = i;
    }
    t->slots[hole].conn = 0;
}

struct net_conn *tcp_conn_new(struct tcp *t, const struct tcp_tuple *tuple)
{
    struct net_conn *c = slab_take(&t->conns);

    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof *c);
    c->tcp = t;
    c->tuple = *tuple;
    for (int i = 0; i < TIMER_COUNT; i++)
        c->deadline[i] = TCP_NEVER;
    c->timer.tick = WHEEL_NEVER;
    c->challenge_tokens = TCP_CHALLENGE_BURST;
    table_insert(t, c);
    return c;
}

void tcp_conn_set_state(struct net_conn *c, enum tcp_state state)
{
    struct tcp *t = c->tcp;

    /* CLOSED is not in the table: only records on the wire are counted by state. */
    if (c->state != TCP_CLOSED)
        t->state_count[c->state]--;
    if (state != TCP_CLOSED)
        t->state_count[state]++;
    c->state = (uint8_t)state;
}

void room_waiters_wake(struct tcp *t)
{
    for (size_t left = t->send_buffers.free_count; left > 0 && !link_empty(t, &t->room_waiters); left--) {
        struct net_conn *c = TCP_CONN_OF(link_first(t, &t->room_waiters), room_link);
        link_remove(c->tcp, &c->room_link);
        c->flags &= ~(uint32_t)TCP_CONN_WANT_ROOM;
        tcp_conn_event(c, NET_EVENT_WRITABLE);
    }
}

void ring_put_around(struct tcp_ring *ring, uint32_t size, uint32_t at, struct span from)
{
    memcpy(ring->bytes + at, from.ptr, size - at);
    memcpy(ring->bytes, from.ptr + (size - at), from.len - (size - at));
}

void ring_get_around(const struct tcp_ring *ring, uint32_t size, uint32_t at, uint8_t *to, uint32_t len)
{
    memcpy(to, ring->bytes + at, size - at);
    memcpy(to + (size - at), ring->bytes, len - (size - at));
}

static void recv_buffer_drop(struct net_conn *c)
{
    if (c->recv_ring != NULL)
        slab_give(&c->tcp->recv_buffers, c->recv_ring);
    c->recv_ring = NULL;
}

void tcp_conn_end(struct net_conn *c, enum net_cause cause)
{
    CHECK(c->state != TCP_CLOSED);
    table_remove(c->tcp, c);
    tcp_conn_set_state(c, TCP_CLOSED);
    link_remove(c->tcp, &c->output_link);
    link_remove(c->tcp, &c->room_link);
    for (int i = 0; i < TIMER_COUNT; i++)
        if (i != TIMER_USER)
            tcp_conn_timer_stop(c, (enum tcp_conn_timer)i);
    board_drop(c);
    tcp_conn_send_buffer_give(c);
    if (c->cause == NET_CAUSE_NONE)
        c->cause = cause & 7;
    if (!tcp_conn_has(c, TCP_CONN_USER)) {
        tcp_conn_free(c);
        return;
    }
    /* In-order bytes stay readable; what lies beyond a gap will never be complete. */
    c->range_count = 0;
    recv_buffer_trim(c);
    tcp_conn_event(c, NET_EVENT_CLOSED);
}

void tcp_conn_free(struct net_conn *c)
{
    struct tcp *t = c->tcp;

    CHECK(c->state == TCP_CLOSED && !tcp_conn_has(c, TCP_CONN_USER));
    link_remove(c->tcp, &c->event_link);
    wheel_disarm(&t->wheel, &c->timer);
    tcp_conn_send_buffer_give(c);
    recv_buffer_drop(c);
    slab_give(&t->conns, c);
}

void tcp_gauges(const struct net *n, struct net_gauges *out)
{
    const struct tcp *t = n->tcp;

    out->syn_sent = t->state_count[TCP_SYN_SENT];
    out->syn_received = record_count(&t->halves.table) + t->state_count[TCP_SYN_RECEIVED];
    out->time_wait = record_count(&t->waits.table);
    out->conns =
        (uint32_t)(t->conns.capacity - t->conns.free_count) + record_count(&t->halves.table) + out->time_wait;
    out->established = t->state_count[TCP_ESTABLISHED];
    out->fin_wait_1 = t->state_count[TCP_FIN_WAIT_1];
    out->fin_wait_2 = t->state_count[TCP_FIN_WAIT_2];
    out->close_wait = t->state_count[TCP_CLOSE_WAIT];
    out->closing = t->state_count[TCP_CLOSING];
    out->last_ack = t->state_count[TCP_LAST_ACK];
    out->recv_buffers_used = (uint32_t)(t->recv_buffers.capacity - t->recv_buffers.free_count);
    out->send_buffers_used = (uint32_t)(t->send_buffers.capacity - t->send_buffers.free_count);
}
