/* Several workers' stacks in one thread, each on its queue of one simulated device that steers as it likes: whatever comes
 * to whom, every connection is one worker's and every byte comes back.  SEED=n in the environment runs that seed alone. */
#include "base/limits.h"
#include "drivers/nic/sim/sim.h"
#include "tests/apps/tcp_apps.h"
#include "tests/sim/peer.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

#define WORKERS    4
#define PEERS      64
#define CONNS      256
#define PORT_BASE  40000
#define CHUNK      4096
#define SECOND     1000000ULL
#define BOUND_US   (8 * SECOND)
#define FNV_OFFSET UINT64_C(14695981039346656037)
#define FNV_PRIME  UINT64_C(1099511628211)

struct world {
    struct sim *sim;
    struct arena *arena, *lanes;
    struct steering *steering;
    uint16_t workers;
    struct net *net[WORKERS];
    struct tcp_apps apps[WORKERS];
    struct tcp_app_conn slots[WORKERS][CONNS];
    struct counters counters[WORKERS];
    struct peer *peers[PEERS];
    uint32_t total[PEERS], read[PEERS];
    bool closed[PEERS];
    uint32_t peer_count;
    uint64_t resets, history; /* what crossed the wire */
    uint8_t last_data[2048];  /* the last data frame that we sent */
    uint16_t last_data_len;
};

struct world_options {
    uint64_t seed;
    uint16_t workers;
    enum sim_steering steering;
    uint32_t misdirect_ppm, loss_ppm;
    bool rss_lies, rx_csum, csum_lies;
};

static uint8_t stream_byte(uint32_t peer, uint32_t at)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7 + peer * 91);
}

/* ---- the wire ---- */

static bool watch(void *arg, uint16_t from, struct span frame)
{
    struct world *w = arg;
    struct wire_segment s;

    for (size_t i = 0; i < frame.len; i++)
        w->history = (w->history ^ frame.ptr[i]) * FNV_PRIME;
    w->history = (w->history ^ sim_now(w->sim)) * FNV_PRIME;
    if (from != 0 || wire_parse(frame, &s) != WIRE_TCP)
        return true;
    w->resets += (s.flags & WIRE_RST) != 0;
    if (s.data.len > 0) {
        w->last_data_len = (uint16_t)frame.len;
        memcpy(w->last_data, frame.ptr, frame.len);
    }
    return true;
}

static struct peer *peer_of(struct world *w, const struct frame *f)
{
    struct wire_segment s;

    enum wire_kind kind = wire_parse(span_of(f->data, f->len), &s);
    if (kind != WIRE_TCP) /* a question about the address of all of a family, which every second one has */
        return kind == WIRE_NS ? w->peers[1] : w->peers[0];
    uint32_t i = (uint32_t)s.dport - PORT_BASE;
    return i < w->peer_count ? w->peers[i] : NULL;
}

static void peers_receive(struct world *w)
{
    struct frame frames[NIC_BURST_MAX];
    struct nic *nic = sim_port(w->sim, 1);
    uint16_t n;

    for (uint16_t q = 0; q < w->workers; q++)
        while ((n = nic_rx(nic, q, frames, NIC_BURST_MAX)) > 0)
            for (uint16_t i = 0; i < n; i++) {
                struct peer *p = peer_of(w, &frames[i]);
                if (p != NULL)
                    peer_input(p, &frames[i], sim_now(w->sim));
                nic_frame_free(nic, &frames[i]);
            }
}

static void peer_transmit(struct world *w, struct peer *p)
{
    struct nic *nic = sim_port(w->sim, 1);
    struct frame f;

    while (peer_has_output(p) && nic_frame_alloc(nic, 0, &f))
        if (peer_output(p, sim_now(w->sim), &f, 1) == 0 || nic_tx(nic, 0, &f, 1) == 0) {
            nic_frame_free(nic, &f);
            break;
        }
}

/* ---- the workers ---- */

static void worker_receive(struct world *w, uint16_t k)
{
    struct frame frames[NIC_BURST_MAX];
    struct nic *nic = sim_port(w->sim, 0);
    uint16_t n = nic_rx(nic, k, frames, NIC_BURST_MAX);

    net_input(w->net[k], frames, n, sim_now(w->sim));
    for (uint16_t i = 0; i < n; i++)
        nic_frame_free(nic, &frames[i]);
    net_take_handed(w->net[k], sim_now(w->sim));
}

static void worker_transmit(struct world *w, uint16_t k)
{
    struct nic *nic = sim_port(w->sim, 0);
    struct frame f;

    while (net_has_output(w->net[k]) && nic_frame_alloc(nic, k, &f))
        if (net_output(w->net[k], sim_now(w->sim), &f, 1) == 0 || nic_tx(nic, k, &f, 1) == 0) {
            nic_frame_free(nic, &f);
            break;
        }
}

static void worker_step(struct world *w, uint16_t k)
{
    worker_receive(w, k);
    net_timers(w->net[k], sim_now(w->sim), 64);
    tcp_apps_turn(&w->apps[k], sim_now(w->sim));
    worker_transmit(w, k);
}

/* ---- the peers ---- */

static void peer_read_all(struct world *w, uint32_t i)
{
    uint8_t chunk[CHUNK];
    size_t n;

    while ((n = peer_read(w->peers[i], chunk, sizeof chunk, sim_now(w->sim))) > 0)
        for (size_t k = 0; k < n; k++)
            assert_int_equal(chunk[k], stream_byte(i, w->read[i]++));
}

static void peer_step(struct world *w, uint32_t i)
{
    struct peer *p = w->peers[i];

    peer_timers(p, sim_now(w->sim));
    peer_read_all(w, i);
    if (w->read[i] == w->total[i] && !w->closed[i] && peer_state(p) == PEER_OPEN) {
        peer_close(p, sim_now(w->sim));
        w->closed[i] = true;
    }
    peer_transmit(w, p);
}

static void step(struct world *w)
{
    for (uint16_t k = 0; k < w->workers; k++)
        worker_step(w, k);
    peers_receive(w);
    for (uint32_t i = 0; i < w->peer_count; i++)
        peer_step(w, i);
    sim_advance(w->sim, 50);
}

static void run(struct world *w, uint64_t us)
{
    for (uint64_t end = sim_now(w->sim) + us; sim_now(w->sim) < end;)
        step(w);
}

static bool all_finished(const struct world *w)
{
    for (uint32_t i = 0; i < w->peer_count; i++)
        if (peer_state(w->peers[i]) != PEER_FINISHED || w->read[i] != w->total[i])
            return false;
    return true;
}

/* ---- life ---- */

static void net_make(struct world *w, uint16_t k, const struct world_options *o)
{
    struct net_config c;

    net_config_defaults(&c);
    memcpy(c.mac, sim_port(w->sim, 0)->info.mac, 6);
    c.addr_count = 2;
    assert_true(net_prefix_parse(span_str("192.0.2.1/24"), &c.addrs[0]));
    assert_true(net_prefix_parse(span_str("2001:db8::1/64"), &c.addrs[1]));
    c.port_count = 2;
    c.ports[0] = APP_PORT_ECHO;
    c.ports[1] = APP_PORT_CHARGEN;
    c.conns_max = c.recv_buffers_max = c.send_buffers_max = CONNS;
    c.recv_buffer = c.send_buffer = 16384;
    c.msl_ms = 500;
    c.seed[0] = (uint8_t)(o->seed + 1);
    c.seed[1] = (uint8_t)k;
    c.seed[2] = 1;
    c.steering = w->steering;
    c.worker = k;
    if (w->arena == NULL)
        w->arena = arena_new(w->workers * (net_memory_needed(&c) + 4096), false);
    w->net[k] = net_new(&c, w->arena, &w->counters[k], sim_now(w->sim));
    tcp_apps_init(&w->apps[k], w->net[k], w->slots[k], CONNS);
    net_announce(w->net[k], sim_now(w->sim));
}

static struct world *world_new(const struct world_options *o)
{
    struct world *w = calloc(1, sizeof *w);
    struct sim_config sc;
    struct steering_config tc = {.workers = o->workers, .mtu = 1500};

    sim_config_defaults(&sc);
    sc.seed = o->seed;
    sc.queue_count = w->workers = o->workers;
    sc.steering = o->steering;
    sc.misdirect_ppm = o->misdirect_ppm;
    sc.rss_lies = o->rss_lies;
    sc.rx_csum = o->rx_csum;
    sc.csum_lies = o->csum_lies;
    for (size_t i = 0; i < sizeof tc.key; i++)
        tc.key[i] = (uint8_t)(o->seed * 167 + i * 59 + (i * i) % 251);
    memcpy(sc.rss_key, tc.key, sizeof sc.rss_key);
    w->sim = sim_new(&sc);
    struct sim_faults f = {
        .loss_ppm = o->loss_ppm, .jitter_ppm = o->loss_ppm, .jitter_us = 2000, .delay_us = 100};
    sim_set_faults(w->sim, 0, &f);
    sim_set_faults(w->sim, 1, &f);
    sim_set_filter(w->sim, watch, w);
    w->history = FNV_OFFSET;
    w->lanes = arena_new(steering_memory_needed(&tc), false);
    w->steering = steering_new(&tc, w->lanes);
    for (uint16_t k = 0; k < w->workers; k++)
        net_make(w, k, o);
    return w;
}

static struct peer *peer_add(struct world *w, bool v6, uint16_t service, uint32_t total)
{
    struct peer_options o;
    uint32_t i = w->peer_count++;
    uint8_t chunk[CHUNK];

    peer_options_defaults(&o, v6);
    memcpy(o.server_mac, sim_port(w->sim, 0)->info.mac, 6);
    memcpy(o.mac, sim_port(w->sim, 1)->info.mac, 6);
    o.port = (uint16_t)(PORT_BASE + i);
    o.server_port = service;
    o.iss = i * 2654435761u;
    w->peers[i] = peer_new(&o);
    w->total[i] = total;
    peer_connect(w->peers[i], sim_now(w->sim));
    for (uint32_t at = 0; at < total && service == APP_PORT_ECHO;) {
        uint32_t n = total - at < CHUNK ? total - at : CHUNK;
        for (uint32_t k = 0; k < n; k++)
            chunk[k] = stream_byte(i, at + k);
        peer_write(w->peers[i], span_of(chunk, n), sim_now(w->sim));
        at += n;
    }
    return w->peers[i];
}

static uint64_t counted(const struct world *w, enum reason r)
{
    uint64_t all = 0;

    for (uint16_t k = 0; k < w->workers; k++)
        all += counter_read(&w->counters[k], r);
    return all;
}

static void world_free(struct world *w)
{
    struct net_gauges g;

    for (uint32_t i = 0; i < w->peer_count; i++)
        if (peer_state(w->peers[i]) != PEER_FINISHED)
            peer_abort(w->peers[i], sim_now(w->sim));
    run(w, 3 * SECOND);
    assert_int_equal(counted(w, REASON_STEER_HANDED), counted(w, REASON_STEER_TAKEN));
    for (uint16_t k = 0; k < w->workers; k++) {
        net_gauges(w->net[k], &g);
        assert_int_equal(g.conns, 0);
        assert_int_equal(g.recv_buffers_used, 0);
        assert_int_equal(g.send_buffers_used, 0);
    }
    assert_int_equal(sim_frames_held(w->sim, 0), 0);
    for (uint32_t i = 0; i < w->peer_count; i++)
        peer_free(w->peers[i]);
    sim_free(w->sim);
    arena_free(w->arena);
    arena_free(w->lanes);
    free(w);
}

/* ---- every byte, whoever receives it ---- */

static struct world *all_echoed(const struct world_options *o)
{
    struct world *w = world_new(o);

    for (uint32_t i = 0; i < PEERS; i++)
        peer_add(w, i % 2 == 1, APP_PORT_ECHO, 1 + (i * 7919) % 9000);
    for (uint64_t end = sim_now(w->sim) + BOUND_US; !all_finished(w) && sim_now(w->sim) < end;)
        step(w);
    if (!all_finished(w))
        print_message("seed %llu\n", (unsigned long long)o->seed);
    assert_true(all_finished(w));
    assert_int_equal(w->resets, 0);
    assert_int_equal(counted(w, REASON_TCP_NO_CONNECTION), 0);
    assert_int_equal(counted(w, REASON_TCP_ACCEPTED), PEERS);
    assert_int_equal(counted(w, REASON_STEER_LOST), 0);
    for (uint16_t k = 0; k < w->workers; k++)
        assert_in_range(counter_read(&w->counters[k], REASON_TCP_ACCEPTED), PEERS / w->workers / 3, PEERS);
    return w;
}

static uint64_t seed_from(uint64_t otherwise)
{
    return getenv("SEED") != NULL ? strtoull(getenv("SEED"), NULL, 10) : otherwise;
}

static void b25_flows_that_a_device_spreads_by_its_own_hash_are_served(void **state)
{
    (void)state;
    for (uint16_t workers = 2; workers <= WORKERS; workers++) {
        struct world *w = all_echoed(&(struct world_options){.seed = seed_from(workers), .workers = workers});
        assert_true(counted(w, REASON_STEER_HANDED) > PEERS);
        world_free(w);
    }
}

static void b25_a_device_that_steers_by_the_last_sent_settles(void **state)
{
    struct world *w =
        all_echoed(&(struct world_options){.seed = seed_from(5), .workers = 2, .steering = SIM_STEER_LAST});

    (void)state;
    /* The SYN, and what crossed our first reply. */
    assert_in_range(counted(w, REASON_STEER_HANDED), 1, 2 * PEERS);
    world_free(w);
}

static void b25_a_tenth_of_all_frames_on_a_queue_by_lot_resets_nobody(void **state)
{
    (void)state;
    for (int how = SIM_STEER_FLOW; how <= SIM_STEER_RSS; how++) {
        struct world *w = all_echoed(&(struct world_options){.seed = seed_from(7 + (uint64_t)how),
                                                             .workers = 2,
                                                             .steering = (enum sim_steering)how,
                                                             .misdirect_ppm = 100000});
        assert_true(counted(w, REASON_STEER_HANDED) > 0);
        world_free(w);
    }
}

static void b25_misdirection_with_loss_and_reordering_keeps_every_byte(void **state)
{
    (void)state;
    for (uint64_t seed = 20; seed < 22; seed++) {
        struct world_options o = {.seed = seed_from(seed),
                                  .workers = 3,
                                  .steering = SIM_STEER_LAST,
                                  .misdirect_ppm = 200000,
                                  .loss_ppm = 10000};
        struct world *w = world_new(&o);
        for (uint32_t i = 0; i < PEERS; i++)
            peer_add(w, i % 2 == 1, APP_PORT_ECHO, 1 + (i * 7919) % 9000);
        for (uint64_t end = sim_now(w->sim) + BOUND_US; !all_finished(w) && sim_now(w->sim) < end;)
            step(w);
        assert_true(all_finished(w));
        world_free(w);
    }
}

static void the_same_seed_gives_the_same_run(void **state)
{
    uint64_t history[2];
    (void)state;

    for (int i = 0; i < 2; i++) {
        struct world *w = all_echoed(&(struct world_options){
            .seed = seed_from(31), .workers = 3, .steering = SIM_STEER_LAST, .misdirect_ppm = 100000});
        history[i] = w->history;
        world_free(w);
    }
    assert_true(history[0] == history[1]);
}

/* ---- what a device says of a flow ---- */

static bool steers(const struct world *w, uint16_t k)
{
    struct net_gauges g;

    net_gauges(w->net[k], &g);
    return g.device_steers;
}

static void a_device_that_hashes_as_agreed_is_believed_and_hands_nothing_over(void **state)
{
    struct world *w =
        all_echoed(&(struct world_options){.seed = seed_from(41), .workers = 2, .steering = SIM_STEER_RSS});

    (void)state;
    assert_int_equal(counted(w, REASON_STEER_HANDED), 0);
    assert_int_equal(counted(w, REASON_STEER_HASH_WRONG), 0);
    assert_true(steers(w, 0) && steers(w, 1));
    world_free(w);
}

static void a_device_that_hashes_otherwise_is_found_out_and_software_steers(void **state)
{
    struct world *w = all_echoed(&(struct world_options){
        .seed = seed_from(42), .workers = 2, .steering = SIM_STEER_RSS, .rss_lies = true});

    (void)state;
    assert_int_equal(counted(w, REASON_STEER_HASH_WRONG), 2); /* once per worker */
    assert_true(counted(w, REASON_STEER_HANDED) > 0);
    assert_false(steers(w, 0) || steers(w, 1));
    world_free(w);
}

/* ---- what a device says of checksums ---- */

static bool checks(const struct world *w, uint16_t k)
{
    struct net_gauges g;

    net_gauges(w->net[k], &g);
    return g.device_checks;
}

static void a_device_that_checks_rightly_stays_believed(void **state)
{
    struct world *w =
        all_echoed(&(struct world_options){.seed = seed_from(51), .workers = 2, .rx_csum = true});

    (void)state;
    assert_int_equal(counted(w, REASON_NIC_CSUM_WRONG), 0);
    assert_true(checks(w, 0) && checks(w, 1));
    world_free(w);
}

/* One frame in a hundred is damaged on its way, and the device calls all of them right. */
static void a_device_that_calls_all_checksums_right_is_found_out_before_a_wrong_byte_passes(void **state)
{
    struct world_options o = {.seed = seed_from(52), .workers = 2, .rx_csum = true, .csum_lies = true};
    struct world *w = world_new(&o);
    struct sim_faults f = {.corrupt_ppm = 100000, .delay_us = 100};
    (void)state;

    sim_set_faults(w->sim, 1, &f);
    for (uint32_t i = 0; i < 20; i++)
        peer_add(w, i % 2 == 1, APP_PORT_ECHO, 3000);
    for (uint64_t end = sim_now(w->sim) + BOUND_US; !all_finished(w) && sim_now(w->sim) < end;)
        step(w);
    assert_true(all_finished(w));
    assert_true(counted(w, REASON_NIC_CSUM_WRONG) >= 1);
    assert_false(checks(w, 0) && checks(w, 1));
    world_free(w);
}

/* ---- what has no four-tuple of its own ---- */

/* "Too big" about the frame, from the wire to worker `to`. */
static void too_big(struct world *w, uint16_t to, const uint8_t *frame, uint16_t mtu)
{
    uint8_t f[128] = {0};
    const uint8_t *ip = frame + 14;
    uint16_t icmp_len = 8 + 28;
    uint32_t sum = 0;

    memcpy(f, frame + 6, 6);
    memcpy(f, sim_port(w->sim, 0)->info.mac, 6);
    memcpy(f + 6, sim_port(w->sim, 1)->info.mac, 6);
    f[12] = 0x08;
    f[14] = 0x45;
    f[17] = (uint8_t)(20 + icmp_len);
    f[22] = 64;
    f[23] = 1;
    memcpy(f + 26, ip + 16, 4);
    memcpy(f + 30, ip + 12, 4);
    f[34] = 3;
    f[35] = 4;
    f[40] = (uint8_t)(mtu >> 8);
    f[41] = (uint8_t)mtu;
    memcpy(f + 42, ip, 28);
    for (int i = 14; i < 34; i += 2)
        sum += (uint32_t)f[i] << 8 | f[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    f[24] = (uint8_t)(~sum >> 8);
    f[25] = (uint8_t)~sum;
    sum = 0;
    for (int i = 34; i < 34 + icmp_len; i += 2)
        sum += (uint32_t)f[i] << 8 | f[i + 1];
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    f[36] = (uint8_t)(~sum >> 8);
    f[37] = (uint8_t)~sum;
    struct frame in = {.data = f, .len = (uint16_t)(34 + icmp_len), .cap = sizeof f};
    net_input(w->net[to], &in, 1, sim_now(w->sim));
}

/* The one connection's owner; a segment of it is in flight. */
static uint16_t chargen_in_flight(struct world *w)
{
    peer_add(w, false, APP_PORT_CHARGEN, UINT32_MAX);
    for (int i = 0; i < 200 && w->last_data_len < 1000; i++) {
        for (uint16_t k = 0; k < w->workers; k++)
            worker_step(w, k);
        peers_receive(w);
        peer_timers(w->peers[0], sim_now(w->sim));
        peer_transmit(w, w->peers[0]);
        sim_advance(w->sim, 50);
    }
    assert_true(w->last_data_len >= 1000);
    return counter_read(&w->counters[1], REASON_TCP_ACCEPTED) == 1;
}

static void an_icmp_error_reaches_the_owner_of_the_flow_that_it_quotes(void **state)
{
    struct world_options o = {.seed = seed_from(61), .workers = 2};
    struct world *w = world_new(&o);
    uint16_t owner = chargen_in_flight(w), other = owner ^ 1;
    (void)state;

    too_big(w, other, w->last_data, 1000);
    net_take_handed(w->net[owner], sim_now(w->sim));
    assert_int_equal(counter_read(&w->counters[other], REASON_ICMP_ERROR_RECEIVED), 0);
    assert_int_equal(counter_read(&w->counters[owner], REASON_ICMP_ERROR_RECEIVED), 1);
    assert_int_equal(counter_read(&w->counters[owner], REASON_TCP_MTU_LOWERED), 1);
    world_free(w);
}

/* Answers to ARP and NDP reach queue 0 alone here, as they have no ports. */
static void what_one_worker_hears_of_a_neighbour_all_know(void **state)
{
    struct world *w = all_echoed(&(struct world_options){.seed = seed_from(71), .workers = 3});

    (void)state;
    for (uint16_t k = 0; k < 3; k++)
        assert_int_equal(counter_read(&w->counters[k], REASON_NEIGHBOUR_RESOLVED),
                         2); /* one of each family */
    world_free(w);
}

static void the_first_worker_alone_announces(void **state)
{
    struct world_options o = {.seed = 1, .workers = 3};
    struct world *w = world_new(&o);
    (void)state;

    for (uint16_t k = 1; k < 3; k++)
        assert_false(net_has_output(w->net[k]));
    assert_true(net_has_output(w->net[0]));
    world_free(w);
}

/* ---- fragments ---- */

static void put16(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

/* Data bytes from..to of the IPv4 packet in whole, as a fragment from the wire to worker `to_worker`. */
static void fragment(struct world *w, uint16_t to_worker, const uint8_t *whole, uint16_t from, uint16_t to,
                     bool more)
{
    uint8_t f[256];
    uint32_t sum = 0;

    memcpy(f, whole, 34);
    memcpy(f + 34, whole + 34 + from, (size_t)(to - from));
    put16(f + 16, 20u + to - from);
    put16(f + 18, 77);
    put16(f + 20, (more ? 0x2000u : 0u) | from / 8u);
    put16(f + 24, 0);
    for (int i = 14; i < 34; i += 2)
        sum += (uint32_t)f[i] << 8 | f[i + 1];
    put16(f + 24, ~((sum & 0xffff) + (sum >> 16)));
    struct frame in = {.data = f, .len = (uint16_t)(34 + to - from), .cap = sizeof f};
    net_input(w->net[to_worker], &in, 1, sim_now(w->sim));
}

/* A SYN in two pieces, both to the worker that does not own the flow. */
static void a_segment_in_fragments_reaches_its_owner_whole(void **state)
{
    struct world_options o = {.seed = seed_from(81), .workers = 2};
    struct world *w = world_new(&o);
    uint8_t bytes[WIRE_FRAME_MAX];
    struct frame syn = {.data = bytes, .cap = sizeof bytes};
    (void)state;

    struct peer *p = peer_add(w, false, APP_PORT_ECHO, 0);
    assert_int_equal(peer_output(p, sim_now(w->sim), &syn, 1), 1);
    assert_true(syn.len > 34 + 24);
    for (uint16_t k = 0; k < 2; k++) {
        fragment(w, k, bytes, 0, 24, true);
        fragment(w, k, bytes, 24, (uint16_t)(syn.len - 34), false);
    }
    net_take_handed(w->net[0], sim_now(w->sim));
    net_take_handed(w->net[1], sim_now(w->sim));
    assert_int_equal(counted(w, REASON_FRAG_REASSEMBLED), 2);
    assert_int_equal(counted(w, REASON_STEER_HANDED), 1);
    assert_int_equal(counted(w, REASON_TCP_SYN_RECEIVED),
                     1); /* the second is a repetition of the first: same owner */
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b25_flows_that_a_device_spreads_by_its_own_hash_are_served),
        cmocka_unit_test(b25_a_device_that_steers_by_the_last_sent_settles),
        cmocka_unit_test(b25_a_tenth_of_all_frames_on_a_queue_by_lot_resets_nobody),
        cmocka_unit_test(b25_misdirection_with_loss_and_reordering_keeps_every_byte),
        cmocka_unit_test(the_same_seed_gives_the_same_run),
        cmocka_unit_test(a_device_that_hashes_as_agreed_is_believed_and_hands_nothing_over),
        cmocka_unit_test(a_device_that_hashes_otherwise_is_found_out_and_software_steers),
        cmocka_unit_test(a_device_that_checks_rightly_stays_believed),
        cmocka_unit_test(a_device_that_calls_all_checksums_right_is_found_out_before_a_wrong_byte_passes),
        cmocka_unit_test(an_icmp_error_reaches_the_owner_of_the_flow_that_it_quotes),
        cmocka_unit_test(what_one_worker_hears_of_a_neighbour_all_know),
        cmocka_unit_test(the_first_worker_alone_announces),
        cmocka_unit_test(a_segment_in_fragments_reaches_its_owner_whole),
    };
    return RUN_TESTS("steer", tests);
}
