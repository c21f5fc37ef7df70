/* Streams over our own TCP on a DPDK port, in this process: what a client's host would be, without its kernel. */
#include "bench/load/transport.h"

#include "base/check.h"
#include "base/log.h"
#include "dataplane/net/net.h"
#include "drivers/nic/dpdk/dpdk.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define HELD_MAX        (2 * NIC_BURST_MAX)
#define TIMERS_MAX      64
#define CONNECT_MS      4000 /* after that an opening is given up: the peer may still be starting */
#define TIME_WAIT_MS    50   /* half of it: this peer sends nothing late, and ports are wanted again */
#define PREFIX_LEN      24
#define ARENA_SLACK     65536
#define DPDK_MEMORY_MB  64
#define MILLISECOND     1000ULL
#define BUFFERS_PER_RUN 4096
#define STARTING_NS     1000000 /* between two looks while the other end starts, perhaps on this core */

struct stream {
    struct stack *of;
    void *user;
    struct net_conn *net;
    struct stream *next_free;
    bool fin, ended;
};

struct stack {
    struct transport transport;
    struct nic *nic;
    struct net *net;
    struct arena *arena;
    struct counters counters;
    struct net_addr peer;
    struct net_addr locals[NET_SERVICE_ADDRS_MAX];
    size_t local_count, local_next;
    uint16_t port;
    struct stream *streams, *free;
    struct frame held[HELD_MAX]; /* filled, not yet taken by the device, in order */
    struct frame spare[NIC_BURST_MAX];
    uint16_t held_count, spare_at, spare_count;
    bool heard; /* a frame, ever: there is somebody at the other end */
    uint64_t now_us;
};

static uint64_t clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static struct stack *stack_of(struct transport *t)
{
    return (struct stack *)t;
}

/* ---- streams ---- */

static struct stream *stack_open(struct transport *t, void *user)
{
    struct stack *k = stack_of(t);
    struct stream *s = k->free;

    if (s == NULL)
        return NULL;
    k->now_us = clock_us();
    const struct net_addr *local = &k->locals[k->local_next++ % k->local_count];
    struct net_conn *net = net_connect(k->net, local, &k->peer, k->port, k->now_us);
    if (net == NULL)
        return NULL;
    k->free = s->next_free;
    *s = (struct stream){.of = k, .user = user, .net = net};
    net_set_user(net, s);
    net_set_deadline(net, k->now_us + CONNECT_MS * MILLISECOND);
    return s;
}

static long stack_recv(struct stream *s, void *out, size_t cap)
{
    struct span in = net_peek(s->net);
    size_t len = in.len < cap ? in.len : cap;

    if (len == 0)
        return s->fin ? 0 : s->ended ? STREAM_FAILED : STREAM_AGAIN;
    memcpy(out, in.ptr, len);
    net_consume(s->net, len, s->of->now_us);
    return (long)len;
}

static long stack_send(struct stream *s, const void *data, size_t len)
{
    size_t taken = s->ended ? 0 : net_send(s->net, span_of(data, len), s->of->now_us);

    if (taken != 0)
        return (long)taken;
    return s->ended ? STREAM_FAILED : STREAM_AGAIN;
}

static void stack_close(struct stream *s, bool abort)
{
    struct stack *k = s->of;

    net_set_user(s->net, NULL);
    if (!s->ended && abort)
        net_abort(s->net, k->now_us);
    else if (!s->ended)
        net_close(s->net, k->now_us);
    net_release(s->net, k->now_us);
    s->next_free = k->free;
    k->free = s;
}

/* ---- a turn ---- */

static void receive(struct stack *k)
{
    struct frame frames[NIC_BURST_MAX];
    uint16_t got = nic_rx(k->nic, 0, frames, NIC_BURST_MAX);

    if (got == 0)
        return;
    k->heard = true;
    net_input(k->net, frames, got, k->now_us);
    for (uint16_t i = 0; i < got; i++)
        nic_frame_free(k->nic, &frames[i]);
}

static void send_held(struct stack *k)
{
    while (k->held_count > 0) {
        uint16_t count = k->held_count < NIC_BURST_MAX ? k->held_count : NIC_BURST_MAX;
        uint16_t sent = nic_tx(k->nic, 0, k->held, count);
        if (sent == 0)
            return;
        k->held_count = (uint16_t)(k->held_count - sent);
        memmove(k->held, k->held + sent, k->held_count * sizeof k->held[0]);
    }
}

static uint16_t spares_ready(struct stack *k)
{
    if (k->spare_at == k->spare_count) {
        k->spare_at = k->spare_count = 0;
        while (k->spare_count < NIC_BURST_MAX && nic_frame_alloc(k->nic, 0, &k->spare[k->spare_count]))
            k->spare_count++;
        if (k->spare_count == 0)
            count(&k->counters, REASON_NIC_NO_BUFFER);
    }
    uint16_t spares = (uint16_t)(k->spare_count - k->spare_at), room = (uint16_t)(HELD_MAX - k->held_count);
    return spares < room ? spares : room;
}

static void transmit(struct stack *k)
{
    send_held(k);
    while (net_has_output(k->net)) {
        uint16_t room = spares_ready(k);
        if (room == 0)
            return;
        uint16_t filled = net_output(k->net, k->now_us, k->spare + k->spare_at, room);
        memcpy(k->held + k->held_count, k->spare + k->spare_at, filled * sizeof k->held[0]);
        k->held_count = (uint16_t)(k->held_count + filled);
        k->spare_at = (uint16_t)(k->spare_at + filled);
        send_held(k);
        if (filled < room)
            return;
    }
}

static void note(struct stack *k, struct net_conn *net, uint32_t events, void (*ready)(void *user))
{
    struct stream *s = net_user(net);

    if (s == NULL)
        return;
    if ((events & NET_EVENT_ESTABLISHED) != 0)
        net_set_deadline(net, 0);
    if ((events & NET_EVENT_PEER_FIN) != 0)
        s->fin = true;
    if ((events & NET_EVENT_CLOSED) != 0)
        s->ended = true;
    if ((events & NET_EVENT_DEADLINE) != 0 && !s->ended) {
        net_abort(net, k->now_us);
        s->ended = true;
    }
    ready(s->user);
}

static void stack_wait(struct transport *t, uint64_t us_max, void (*ready)(void *user))
{
    struct stack *k = stack_of(t);
    uint64_t until, looked_us;
    bool any = false;

    k->now_us = clock_us();
    until = k->now_us + us_max;
    t->blind_us = 0;
    transmit(k);
    do {
        struct net_conn *net;
        uint32_t events;

        receive(k);
        net_timers(k->net, k->now_us, TIMERS_MAX);
        while ((net = net_next_event(k->net, &events)) != NULL) {
            note(k, net, events, ready);
            any = true;
        }
        transmit(k);
        if (!k->heard)
            (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = STARTING_NS}, NULL);
        looked_us = k->now_us;
        k->now_us = clock_us();
        if (!any && k->now_us - looked_us > t->blind_us)
            t->blind_us = k->now_us - looked_us;
    } while (!any && k->now_us < until);
}

/* ---- life ---- */

/* What is still to be said is said: the other end is told that its connections end. */
static void stack_free(struct transport *t)
{
    struct stack *k = stack_of(t);

    k->now_us = clock_us();
    transmit(k);
    for (uint16_t i = 0; i < k->held_count; i++)
        nic_frame_free(k->nic, &k->held[i]);
    for (uint16_t i = k->spare_at; i < k->spare_count; i++)
        nic_frame_free(k->nic, &k->spare[i]);
    nic_stop(k->nic);
    arena_free(k->arena);
    free(k->streams);
    free(k);
}

static void stack_losses(struct transport *t, uint64_t *again, uint64_t *dropped)
{
    static const enum reason drops[] = {REASON_NIC_NO_BUFFER,    REASON_TCP_NO_RECV_BUFFER,
                                        REASON_TCP_TABLE_FULL,   REASON_TCP_CONNECT_FULL,
                                        REASON_TCP_BAD_CHECKSUM, REASON_TCP_CONNECT_FAILED};
    struct stack *k = stack_of(t);
    struct nic_dpdk_losses l;

    nic_dpdk_losses(k->nic, &l);
    *again = counter_read(&k->counters, REASON_TCP_RETRANSMITS);
    *dropped = l.rx_missed + l.rx_no_buffer + l.rx_errors + l.tx_errors;
    for (size_t i = 0; i < sizeof drops / sizeof drops[0]; i++)
        *dropped += counter_read(&k->counters, drops[i]);
}

static const struct transport_ops stack_ops = {stack_open, stack_recv, stack_send,  stack_close,
                                               stack_wait, stack_free, stack_losses};

static bool port_open(struct stack *k, const char *device)
{
    struct nic_dpdk_config config = {.device = device, .memory_mb = DPDK_MEMORY_MB};
    struct nic_dpdk_port port = {.device = device, .counters = {&k->counters}};
    char err[512];

    if (nic_dpdk_start(&config, err, sizeof err) && (k->nic = nic_dpdk_open(&port, err, sizeof err)) != NULL)
        return true;
    fprintf(stderr, "ww-bench: %s: %s\n", device, err);
    return false;
}

static bool addresses_read(struct stack *k, const struct transport_config *c, struct net_config *out)
{
    if (!net_addr_parse(span_str(c->address), &k->peer) || c->source_count == 0)
        return false;
    for (size_t i = 0; i < c->source_count && i < NET_SERVICE_ADDRS_MAX; i++) {
        if (!net_addr_parse(span_str(c->sources[i]), &k->locals[i]) || k->locals[i].family != k->peer.family)
            return false;
        out->addrs[i] = (struct net_prefix){k->locals[i], k->peer.family == NET_IP4 ? PREFIX_LEN : 64};
        k->local_count = i + 1;
    }
    out->addr_count = (uint16_t)k->local_count;
    return true;
}

static bool net_begin(struct stack *k, struct net_config *c, uint32_t streams)
{
    memcpy(c->mac, k->nic->info.mac, sizeof c->mac);
    c->mtu = k->nic->info.mtu;
    c->tx_ip4_csum = k->nic->info.tx_ip4_csum;
    c->tx_tcp_csum = k->nic->info.tx_tcp_csum;
    c->conns_max = 2 * streams;
    c->recv_buffers_max = BUFFERS_PER_RUN;
    c->send_buffers_max = BUFFERS_PER_RUN;
    c->msl_ms = TIME_WAIT_MS;
    c->keepalive_idle_ms = 0; /* as the clients of the kernel do that did not ask for it */
    CHECK(getrandom(c->seed, sizeof c->seed, 0) == (ssize_t)sizeof c->seed);
    if (net_config_error(c) != NULL) {
        fprintf(stderr, "ww-bench: %s\n", net_config_error(c));
        return false;
    }
    k->arena = arena_new(net_memory_needed(c) + ARENA_SLACK, false);
    k->streams = calloc(streams, sizeof *k->streams);
    if (k->arena == NULL || k->streams == NULL)
        return false;
    for (uint32_t i = 0; i < streams; i++) {
        k->streams[i].next_free = k->free;
        k->free = &k->streams[i];
    }
    k->now_us = clock_us();
    k->net = net_new(c, k->arena, &k->counters, k->now_us);
    net_announce(k->net, k->now_us);
    return true;
}

struct transport *stack_transport_new(const char *device, const struct transport_config *c)
{
    struct stack *k = calloc(1, sizeof *k);
    struct net_config config;

    net_config_defaults(&config);
    log_set_level(LOG_WARN); /* what the port agreed to is no news here */
    if (k == NULL || !port_open(k, device))
        return NULL;
    if (!addresses_read(k, c, &config)) {
        fprintf(stderr, "ww-bench: --device needs --source, addresses of ours on the target's link\n");
        return NULL;
    }
    k->transport.ops = &stack_ops;
    k->port = c->port;
    return net_begin(k, &config, c->streams_max) ? &k->transport : NULL;
}
