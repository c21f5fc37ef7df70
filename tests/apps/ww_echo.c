/* ww-echo --device TEXT --addr PREFIX ... [--gateway ADDR ...]: echo, discard and chargen over our own TCP on a
 * real device, so that Linux can be its peer without TLS between.  Test builds only.  With --call ADDR, --port,
 * --calls and --bytes it serves nobody: it opens so many connections itself, takes its bytes back from an echo there
 * and ends.
 *
 * One thread, which is the worker's turn with another application in it.  After SIGTERM it goes on until no
 * connection is left but in TIME_WAIT (or DRAIN_US are over), then prints one line per counter that is not zero,
 * `counter NAME VALUE`, and what is still open, `gauge NAME VALUE`. */
#include "base/check.h"
#include "dataplane/net/net.h"
#include "drivers/nic/dpdk/dpdk.h"
#include "tests/apps/tcp_apps.h"
#include "tests/apps/tcp_calls.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define HELD_MAX   (2 * NIC_BURST_MAX)
#define TIMERS_MAX 64
#define WAIT_US    10000
#define DRAIN_US   30000000 /* a peer that stood still, and the repetitions of what it lost */
#define LOOK_US    500000
#define ARENA_CAP  (256UL * 1024 * 1024)
#define CONNS_MAX  4096

struct echo {
    struct nic *nic;
    struct net *net;
    struct tcp_apps apps;
    struct tcp_app_conn slots[CONNS_MAX];
    struct tcp_calls calls; /* wanted == 0: we serve */
    struct counters counters;
    struct net_config config;
    struct frame held[HELD_MAX]; /* filled, not yet taken by the device, in order */
    uint16_t held_count;
    uint64_t now_us;
};

static volatile sig_atomic_t stopping;

static void on_stop(int sig)
{
    (void)sig;
    stopping = 1;
}

static uint64_t clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static bool receive(struct echo *e)
{
    struct frame frames[NIC_BURST_MAX];
    uint16_t got = nic_rx(e->nic, 0, frames, NIC_BURST_MAX);

    net_input(e->net, frames, got, e->now_us);
    for (uint16_t i = 0; i < got; i++)
        nic_frame_free(e->nic, &frames[i]);
    return got > 0;
}

static void send_held(struct echo *e)
{
    uint16_t count = e->held_count < NIC_BURST_MAX ? e->held_count : NIC_BURST_MAX;
    uint16_t sent = nic_tx(e->nic, 0, e->held, count);

    e->held_count = (uint16_t)(e->held_count - sent);
    memmove(e->held, e->held + sent, e->held_count * sizeof e->held[0]);
}

static bool transmit(struct echo *e)
{
    struct frame frames[NIC_BURST_MAX];
    bool any = e->held_count > 0;
    uint16_t room = 0;

    send_held(e);
    if (!net_has_output(e->net))
        return any;
    while (room < NIC_BURST_MAX && e->held_count + room < HELD_MAX &&
           nic_frame_alloc(e->nic, 0, &frames[room]))
        room++;
    uint16_t filled = net_output(e->net, e->now_us, frames, room);
    memcpy(e->held + e->held_count, frames, filled * sizeof frames[0]);
    e->held_count = (uint16_t)(e->held_count + filled);
    for (uint16_t i = filled; i < room; i++)
        nic_frame_free(e->nic, &frames[i]);
    send_held(e);
    return any || filled > 0;
}

static bool turn(struct echo *e)
{
    e->now_us = clock_us();
    bool busy = receive(e);
    net_timers(e->net, e->now_us, TIMERS_MAX);
    if (e->calls.wanted != 0)
        tcp_calls_turn(&e->calls, e->now_us);
    else
        tcp_apps_turn(&e->apps, e->now_us);
    busy |= transmit(e);
    return busy;
}

static void rest(struct echo *e)
{
    uint64_t next = net_next_timer(e->net);
    uint64_t now = clock_us();

    if (next > now)
        nic_wait(e->nic, 0, next - now < WAIT_US ? next - now : WAIT_US);
}

/* ---- start and end ---- */

static bool prefix_add(struct net_config *c, const char *text)
{
    return c->addr_count < NET_SERVICE_ADDRS_MAX &&
           net_prefix_parse(span_str(text), &c->addrs[c->addr_count++]);
}

static bool gateway_add(struct net_config *c, const char *text)
{
    struct net_route *r = &c->routes[c->route_count];

    if (c->route_count == NET_ROUTES_MAX || !net_addr_parse(span_str(text), &r->gateway))
        return false;
    r->dst.addr.family = r->gateway.family; /* the default route of its family */
    c->route_count++;
    return true;
}

/* As much memory as before, in larger pieces. */
static bool send_buffer_set(struct net_config *c, const char *text)
{
    uint64_t all = (uint64_t)c->send_buffer * c->send_buffers_max;

    c->send_buffer = (uint32_t)strtoul(text, NULL, 10);
    if (c->send_buffer == 0 || c->send_buffer > all)
        return false;
    c->send_buffers_max = (uint32_t)(all / c->send_buffer);
    return true;
}

static bool arguments(int argc, char **argv, struct echo *e, struct nic_dpdk_port *p, uint64_t *chargen)
{
    struct net_config *c = &e->config;

    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i];
        const char *value = argv[i + 1];
        bool ok = true;
        if (strcmp(name, "--device") == 0)
            p->device = value;
        else if (strcmp(name, "--mac") == 0)
            p->mac = value;
        else if (strcmp(name, "--offload") == 0)
            p->no_offload = strcmp(value, "off") == 0;
        else if (strcmp(name, "--mtu") == 0)
            p->mtu = (uint16_t)atoi(value);
        else if (strcmp(name, "--msl") == 0)
            c->msl_ms = (uint32_t)atoi(value);
        else if (strcmp(name, "--send-buffer") == 0)
            ok = send_buffer_set(c, value);
        else if (strcmp(name, "--keepalive") == 0)
            c->keepalive_idle_ms = c->keepalive_interval_ms = (uint32_t)atoi(value);
        else if (strcmp(name, "--chargen") == 0)
            *chargen = strtoull(value, NULL, 10);
        else if (strcmp(name, "--call") == 0)
            ok = net_addr_parse(span_str(value), &e->calls.peer);
        else if (strcmp(name, "--port") == 0)
            e->calls.port = (uint16_t)atoi(value);
        else if (strcmp(name, "--calls") == 0)
            e->calls.wanted = (uint32_t)atoi(value);
        else if (strcmp(name, "--bytes") == 0)
            e->calls.bytes = strtoull(value, NULL, 10);
        else if (strcmp(name, "--addr") == 0)
            ok = prefix_add(c, value);
        else if (strcmp(name, "--gateway") == 0)
            ok = gateway_add(c, value);
        else
            ok = false;
        if (!ok)
            return false;
    }
    return argc % 2 == 1 && p->device != NULL && c->addr_count > 0;
}

static bool device_open(struct echo *e, struct nic_dpdk_port *p)
{
    struct nic_dpdk_config config = {.device = p->device};
    char err[512];

    p->counters[0] = &e->counters;
    if (nic_dpdk_start(&config, err, sizeof err) && (e->nic = nic_dpdk_open(p, err, sizeof err)) != NULL)
        return true;
    fprintf(stderr, "ww-echo: %s\n", err);
    return false;
}

/* From our first address of the peer's family. */
static void calls_begin(struct echo *e)
{
    struct tcp_calls wanted = e->calls;
    uint16_t i = 0;

    if (wanted.wanted == 0)
        return;
    while (i < e->config.addr_count && e->config.addrs[i].addr.family != wanted.peer.family)
        i++;
    CHECK(i < e->config.addr_count && wanted.port != 0);
    tcp_calls_init(&e->calls, e->net, &e->config.addrs[i].addr, &wanted.peer, wanted.port);
    e->calls.wanted = wanted.wanted;
    e->calls.bytes = wanted.bytes;
}

static bool net_open(struct echo *e, struct arena *a, uint64_t chargen_bytes)
{
    struct net_config *c = &e->config;

    memcpy(c->mac, e->nic->info.mac, sizeof c->mac);
    c->mtu = e->nic->info.mtu;
    c->tx_ip4_csum = e->nic->info.tx_ip4_csum;
    c->tx_tcp_csum = e->nic->info.tx_tcp_csum;
    CHECK(getrandom(c->seed, sizeof c->seed, 0) == (ssize_t)sizeof c->seed);
    c->ports[0] = APP_PORT_ECHO;
    c->ports[1] = APP_PORT_DISCARD;
    c->ports[2] = APP_PORT_CHARGEN;
    c->port_count = 3;
    c->conns_max = CONNS_MAX;
    if (net_config_error(c) != NULL) {
        fprintf(stderr, "ww-echo: %s\n", net_config_error(c));
        return false;
    }
    e->now_us = clock_us();
    e->net = net_new(c, a, &e->counters, e->now_us);
    tcp_apps_init(&e->apps, e->net, e->slots, CONNS_MAX);
    e->apps.chargen_bytes = chargen_bytes;
    calls_begin(e);
    net_announce(e->net, e->now_us);
    return true;
}

/* What the two ends have still to tell each other something about. */
static uint32_t open_conns(const struct net_gauges *g)
{
    return g->conns - g->time_wait;
}

static bool is_open(const struct echo *e)
{
    struct net_gauges g;

    net_gauges(e->net, &g);
    return open_conns(&g) != 0;
}

/* false: the wire is gone for good. */
static bool run(struct echo *e)
{
    uint64_t until = UINT64_MAX;
    uint64_t look_at = 0;

    while (until == UINT64_MAX || (is_open(e) && e->now_us < until)) {
        if (!turn(e))
            rest(e);
        if (e->calls.wanted != 0 && tcp_calls_are_over(&e->calls))
            stopping = 1;
        if (stopping && until == UINT64_MAX)
            until = e->now_us + DRAIN_US;
        if (e->now_us < look_at)
            continue;
        look_at = e->now_us + LOOK_US;
        if (nic_dpdk_is_cut_off(e->nic))
            return false;
    }
    return true;
}

static void report(const struct echo *e)
{
    struct net_gauges g;

    net_gauges(e->net, &g);
    for (size_t r = 0; r < REASON_COUNT; r++)
        if (counter_read(&e->counters, (enum reason)r) != 0)
            printf("counter %s %lu\n", reason_name((enum reason)r),
                   (unsigned long)counter_read(&e->counters, (enum reason)r));
    printf("counter app_accepted %lu\ncounter app_finished %lu\ncounter app_failed %lu\n",
           (unsigned long)e->apps.accepted, (unsigned long)e->apps.finished, (unsigned long)e->apps.failed);
    if (e->calls.wanted != 0)
        printf("counter calls_finished %lu\ncounter calls_refused %lu\ncounter calls_failed %lu\ncounter "
               "calls_wrong %lu\n",
               (unsigned long)e->calls.finished, (unsigned long)e->calls.refused,
               (unsigned long)e->calls.failed, (unsigned long)e->calls.wrong);
    printf("gauge conns %u\ngauge recv_buffers %u\ngauge send_buffers %u\n", open_conns(&g),
           g.recv_buffers_used, g.send_buffers_used);
}

int main(int argc, char **argv)
{
    struct sigaction stop = {.sa_handler = on_stop};
    struct nic_dpdk_port port = {0};
    uint64_t chargen_bytes = 0;
    struct echo *e = calloc(1, sizeof *e);
    struct arena *a = arena_new(ARENA_CAP, false);

    CHECK(e != NULL && a != NULL);
    net_config_defaults(&e->config);
    e->config.msl_ms = 100;
    if (!arguments(argc, argv, e, &port, &chargen_bytes)) {
        fprintf(stderr, "usage: ww-echo --device TEXT --addr PREFIX ... [--gateway ADDR ...] [--chargen "
                        "BYTES] [--mtu N] [--mac MAC] "
                        "[--msl MS] [--keepalive MS] [--send-buffer BYTES] [--offload off] [--call ADDR "
                        "--port N --calls N --bytes N]\n");
        return 2;
    }
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    if (!device_open(e, &port) || !net_open(e, a, chargen_bytes))
        return 1;
    fprintf(stderr, "ww-echo ready\n");
    bool connected = run(e);
    report(e);
    for (uint16_t i = 0; i < e->held_count; i++)
        nic_frame_free(e->nic, &e->held[i]);
    nic_stop(e->nic);
    arena_free(a);
    free(e);
    if (!connected)
        fprintf(stderr, "ww-echo: the other end of the wire has gone\n");
    return connected ? 0 : 3;
}
