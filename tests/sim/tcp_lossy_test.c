/* Seeded property runs: echo through the stack and the independent client over a wire that loses, repeats,
 * reorders and damages.  Whatever the seed: every stream comes back byte by byte, every connection ends, nothing is left
 * over.  A failing seed is printed; SEED=n in the environment runs that one alone,
 * an argument n the first n.  And what the short way of expected segments (tcp_express.c) does is what the long one does:
 * each of some seeds runs with and without it, and every frame and, after every turn, every record is compared. */
#include "tests/apps/tcp_apps.h"
#include "tests/sim/peer.h"
#include "tests/sim/tcp_invariants.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

#define SEEDS      500
#define TWICE      160 /* seeds that run both ways */
#define PEERS_MAX  4
#define EVENTS_MAX 4096
#define CONNS      16
#define SECOND     1000000ULL
#define STEPS_MAX  2000000

static const uint8_t net_mac[6] = {2, 0, 0, 0, 0, 1};

struct event {
    uint64_t at;
    int peer; /* where it goes: index of the peer, -1 = the net */
    bool damaged;
    uint16_t len;
    uint8_t *bytes;
};

/* What one connection's frames must obey where they leave the net, whatever happens to them later. */
struct watch {
    bool begun;
    uint32_t ack_max, edge_max, ts_max, allowed;
    uint8_t net_shift, peer_shift;
    bool allowed_known;
};

/* What a run did, frame by frame and turn by turn; a second run is compared with it. */
struct trace {
    uint64_t *seen;
    size_t count, cap, at;
    bool compares;
};

struct world {
    uint64_t random;
    struct trace *trace;   /* NULL: nobody looks */
    bool in_turns;         /* peers write little, and more only once all of it came back */
    bool device_checksums; /* the device vouches for what is not damaged, and says so of what is */
    uint64_t now;
    struct arena *arena;
    struct counters counters;
    struct net *net;
    struct tcp_apps apps;
    struct tcp_app_conn slots[CONNS];
    struct peer *peers[PEERS_MAX];
    struct watch watches[PEERS_MAX];
    uint16_t ports[PEERS_MAX];
    uint32_t total[PEERS_MAX], written[PEERS_MAX], read[PEERS_MAX], abort_at[PEERS_MAX];
    bool slow[PEERS_MAX], closed[PEERS_MAX];
    uint64_t next_read[PEERS_MAX];
    int peer_count;
    bool v6, aborts, sack;
    bool narrow; /* packets of more than 1280 bytes vanish on their way from the net */
    struct event events[EVENTS_MAX];
    int event_count;
    uint32_t loss, dup, damage, jitter_us, delay_us; /* per mille; microseconds */
    uint64_t lost;                                   /* segments with data or FIN on their way from the net */
};

static uint32_t pick(struct world *w, uint32_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)((w->random * 0x2545f4914f6cdd1dULL) >> 32) % below;
}

static uint8_t stream_byte(int peer, uint32_t at)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7 + (uint32_t)peer * 91);
}

static void trace_note(struct trace *t, uint64_t what)
{
    if (t == NULL)
        return;
    if (t->compares) {
        assert_true(t->at < t->count);
        assert_int_equal(t->seen[t->at], what);
        t->at++;
        return;
    }
    if (t->count == t->cap) {
        t->cap = t->cap == 0 ? 4096 : 2 * t->cap;
        t->seen = realloc(t->seen, t->cap * sizeof *t->seen);
        assert_non_null(t->seen);
    }
    t->seen[t->count++] = what;
}

static uint64_t frame_digest(const struct frame *f, uint64_t now)
{
    static const struct siphash_key key = {1, 2};

    return siphash(&key, span_of(f->data, f->len)) + now * 31 + f->flags + f->l2_len * 3u + f->l3_len * 5u +
           f->l4_len * 7u;
}

/* ---- the wire ---- */

/* One bit that a checksum covers. */
static void damage(struct world *w, struct event *e)
{
    struct wire_segment s;
    uint32_t from = w->v6 ? 14 + 40 : 14;
    uint32_t bit;

    if (wire_parse(span_of(e->bytes, e->len), &s) != WIRE_TCP)
        return;
    bit = (from + pick(w, e->len - from)) * 8 + pick(w, 8);
    e->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    e->damaged = true;
}

static void wire_put_at(struct world *w, int to, const struct frame *f, uint64_t at)
{
    struct event *e = &w->events[w->event_count++];

    assert_true(w->event_count < EVENTS_MAX);
    e->at = at;
    e->peer = to;
    e->len = f->len;
    e->damaged = false;
    e->bytes = malloc(f->len);
    memcpy(e->bytes, f->data, f->len);
    if (pick(w, 1000) < w->damage)
        damage(w, e);
}

static bool segment_counts(const struct frame *f, uint16_t port)
{
    struct wire_segment s;

    return wire_parse(span_of(f->data, f->len), &s) == WIRE_TCP && s.dport == port &&
           (s.data.len != 0 || (s.flags & WIRE_FIN) != 0);
}

static void wire_put(struct world *w, int to, const struct frame *f)
{
    uint32_t copies = 1;

    if (w->narrow && to >= 0 && f->len > 14 + 1280)
        return;
    if (pick(w, 1000) < w->loss) {
        copies = 0;
        w->lost += to >= 0 && segment_counts(f, w->ports[to]);
    } else if (pick(w, 1000) < w->dup)
        copies = 2;
    while (copies-- > 0)
        wire_put_at(w, to, f, w->now + w->delay_us + pick(w, w->jitter_us + 1));
}

static void watch_sent(struct world *w, const struct wire_segment *s)
{
    struct watch *k = NULL;
    uint32_t edge;

    for (int i = 0; i < w->peer_count; i++)
        if (w->ports[i] == s->dport)
            k = &w->watches[i];
    assert_non_null(k);
    if ((s->flags & WIRE_RST) != 0)
        return;
    if ((s->flags & WIRE_SYN) != 0) {
        k->net_shift = s->has_wscale ? s->wscale : 0;
        k->begun = true;
        k->ack_max = s->ack;
        k->edge_max = s->ack + s->wnd;
        k->ts_max = s->tsval;
        return;
    }
    assert_true(k->begun);
    edge = s->ack + ((uint32_t)s->wnd << k->net_shift);
    assert_true((int32_t)(s->ack - k->ack_max) >= 0);
    assert_true((int32_t)(edge + (1u << k->net_shift) - k->edge_max) > 0);
    assert_true(!s->has_ts || (int32_t)(s->tsval - k->ts_max) >= 0);
    k->ack_max = s->ack;
    k->edge_max = (int32_t)(edge - k->edge_max) > 0 ? edge : k->edge_max;
    k->ts_max = s->tsval;
    if (s->data.len > 1 && k->allowed_known)
        assert_true((int32_t)(s->seq + (uint32_t)s->data.len - k->allowed) <= 0);
}

static void watch_received(struct world *w, const struct wire_segment *s)
{
    uint32_t edge;

    for (int i = 0; i < w->peer_count; i++) {
        struct watch *k = &w->watches[i];
        if (w->ports[i] != s->sport)
            continue;
        if ((s->flags & WIRE_SYN) != 0)
            k->peer_shift = s->has_wscale ? s->wscale : 0;
        if ((s->flags & (WIRE_SYN | WIRE_RST)) != 0 || (s->flags & WIRE_ACK) == 0)
            return;
        edge = s->ack + ((uint32_t)s->wnd << k->peer_shift);
        if (!k->allowed_known || (int32_t)(edge - k->allowed) > 0)
            k->allowed = edge;
        k->allowed_known = true;
    }
}

static void net_output_all(struct world *w)
{
    static uint8_t room[16][WIRE_FRAME_MAX];
    struct frame frames[16];
    struct wire_segment s;

    while (net_has_output(w->net)) {
        for (int i = 0; i < 16; i++)
            frames[i] = (struct frame){.data = room[i], .cap = WIRE_FRAME_MAX};
        uint16_t n = net_output(w->net, w->now, frames, (uint16_t)(1 + pick(w, 16)));
        for (uint16_t i = 0; i < n; i++) {
            if (w->trace != NULL)
                trace_note(w->trace, frame_digest(&frames[i], w->now));
            if (wire_parse(span_of(frames[i].data, frames[i].len), &s) == WIRE_TCP)
                watch_sent(w, &s);
            /* Everybody hears a question; a segment goes to everybody too and is ignored by the others. */
            for (int k = 0; k < w->peer_count; k++)
                wire_put(w, k, &frames[i]);
        }
        if (n == 0)
            return;
    }
}

static void peer_output_all(struct world *w, int i)
{
    static uint8_t room[8][WIRE_FRAME_MAX];
    struct frame frames[8];

    while (peer_has_output(w->peers[i])) {
        for (int k = 0; k < 8; k++)
            frames[k] = (struct frame){.data = room[k], .cap = WIRE_FRAME_MAX};
        uint16_t n = peer_output(w->peers[i], w->now, frames, 8);
        for (uint16_t k = 0; k < n; k++)
            wire_put(w, -1, &frames[k]);
        if (n == 0)
            return;
    }
}

static void deliver(struct world *w, struct event e)
{
    struct frame f = {.data = e.bytes, .len = e.len, .cap = e.len};
    struct wire_segment s;

    if (e.peer >= 0) {
        if (!e.damaged)
            peer_input(w->peers[e.peer], &f, w->now);
    } else {
        if (!e.damaged && wire_parse(span_of(e.bytes, e.len), &s) == WIRE_TCP)
            watch_received(w, &s);
        if (w->device_checksums)
            f.flags = e.damaged ? FRAME_RX_IP4_CSUM_BAD | FRAME_RX_L4_CSUM_BAD
                                : FRAME_RX_IP4_CSUM_GOOD | FRAME_RX_L4_CSUM_GOOD;
        net_input(w->net, &f, 1, w->now);
    }
    free(e.bytes);
}

static void deliver_due(struct world *w)
{
    for (int i = 0; i < w->event_count;) {
        if (w->events[i].at > w->now) {
            i++;
            continue;
        }
        struct event e = w->events[i];
        w->events[i] = w->events[--w->event_count];
        deliver(w, e);
    }
}

/* ---- the peers' users ---- */

static void user_write(struct world *w, int i)
{
    uint8_t chunk[4096];

    while (w->written[i] < w->total[i] && peer_unacked(w->peers[i]) < 65536) {
        uint32_t n = 0, most = sizeof chunk;
        if (w->in_turns && w->read[i] != w->written[i])
            return;
        if (w->in_turns)
            most = 1 + pick(w, 700);
        for (; n < most && w->written[i] < w->total[i]; n++)
            chunk[n] = stream_byte(i, w->written[i]++);
        peer_write(w->peers[i], span_of(chunk, n), w->now);
    }
    if (w->written[i] == w->total[i] && !w->closed[i]) {
        w->closed[i] = true;
        peer_close(w->peers[i], w->now);
    }
}

static void user_read(struct world *w, int i)
{
    uint8_t chunk[4096];
    size_t cap = w->slow[i] ? 700 : sizeof chunk;
    size_t n;

    if (w->slow[i] && w->now < w->next_read[i])
        return;
    w->next_read[i] = w->now + 5000;
    while ((n = peer_read(w->peers[i], chunk, cap, w->now)) != 0) {
        for (size_t k = 0; k < n; k++)
            assert_int_equal(chunk[k], stream_byte(i, w->read[i]++));
        if (w->slow[i])
            break;
    }
}

static void user_turn(struct world *w, int i)
{
    struct peer *p = w->peers[i];

    if (peer_state(p) != PEER_OPEN && peer_state(p) != PEER_FINISHED)
        return;
    if (w->abort_at[i] != 0 && w->read[i] >= w->abort_at[i]) {
        peer_abort(p, w->now);
        return;
    }
    if (!w->closed[i])
        user_write(w, i);
    user_read(w, i);
}

/* ---- the world ---- */

static void world_net(struct world *w)
{
    struct net_config c;

    net_config_defaults(&c);
    memcpy(c.mac, net_mac, 6);
    c.mtu = (uint16_t)(1280 + pick(w, 3) * 110);
    c.addr_count = 2;
    assert_true(net_prefix_parse(span_str("192.0.2.1/24"), &c.addrs[0]));
    assert_true(net_prefix_parse(span_str("2001:db8::1/64"), &c.addrs[1]));
    c.port_count = 1;
    c.ports[0] = APP_PORT_ECHO;
    c.conns_max = CONNS;
    c.recv_buffer = 4096u << pick(w, 6);
    c.send_buffer = 4096u << pick(w, 6);
    /* A connection whose RST was lost keeps its buffers until it is noticed, and one that suffers many losses
     * keeps them for minutes: then none may have to wait for it. */
    w->aborts = pick(w, 3) == 0;
    c.idle_close_ms = w->aborts ? 300000 : 0;
    c.recv_buffers_max = w->aborts || w->loss > 30 ? PEERS_MAX : 1 + pick(w, 4);
    c.send_buffers_max = w->aborts || w->loss > 30 ? PEERS_MAX : 1 + pick(w, 4);
    for (size_t i = 0; i < sizeof c.seed; i++)
        c.seed[i] = (uint8_t)pick(w, 256);
    w->arena = arena_new(net_memory_needed(&c) + 4096, false);
    w->net = net_new(&c, w->arena, &w->counters, w->now);
    tcp_apps_init(&w->apps, w->net, w->slots, CONNS);
}

static void world_peer(struct world *w, int i)
{
    struct peer_options o;

    peer_options_defaults(&o, w->v6);
    o.mac[5] = (uint8_t)(2 + i);
    o.addr.bytes[w->v6 ? 15 : 3] = (uint8_t)(2 + i);
    o.port = w->ports[i] = (uint16_t)(40000 + pick(w, 20000));
    for (int k = 0; k < i; k++)
        if (w->ports[k] == w->ports[i])
            o.port = w->ports[i] = (uint16_t)(10000 + i);
    o.server_port = APP_PORT_ECHO;
    o.iss = pick(w, 2) != 0 ? 0u - 1000 + pick(w, 2000) : pick(w, 0x7fffffff);
    o.mss = (uint16_t)(pick(w, 3) == 0 ? 100 + pick(w, 1000) : 1000 + pick(w, 440));
    o.recv_window = pick(w, 3) == 0 ? 1000 + pick(w, 3000) : 8192 + pick(w, 60000);
    o.wscale = (int)pick(w, 9) - 1;
    o.ts = pick(w, 2) != 0;
    o.sack = w->sack;
    o.delayed_acks = pick(w, 2) != 0;
    o.flight_max = 4096 + pick(w, 30000);
    w->slow[i] = pick(w, 5) == 0;
    w->total[i] = pick(w, 4) == 0 ? pick(w, 100) : pick(w, w->slow[i] ? 20000 : 60000);
    w->abort_at[i] = w->aborts && w->total[i] > 10 ? 1 + pick(w, w->total[i]) : 0;
    w->peers[i] = peer_new(&o);
    peer_connect(w->peers[i], w->now);
}

static void world_begin(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->random = seed * 0x9e3779b97f4a7c15ULL + 1;
    for (int i = 0; i < 8; i++)
        (void)pick(w, 2);
    w->now = (uint64_t)pick(w, UINT32_MAX) * 5;
    w->v6 = pick(w, 2) != 0;
    w->sack = pick(w, 2) != 0;
    w->narrow = pick(w, 8) == 0;
    w->loss = pick(w, 3) == 0 ? 0 : pick(w, 101);
    w->dup = pick(w, 3) == 0 ? 0 : pick(w, 100);
    w->damage = pick(w, 2) == 0 ? 0 : pick(w, 20);
    w->delay_us = pick(w, 20000);
    w->jitter_us = pick(w, 3) == 0 ? 0 : pick(w, 30000);
    world_net(w);
    w->peer_count = 1 + (int)pick(w, PEERS_MAX);
    for (int i = 0; i < w->peer_count; i++)
        world_peer(w, i);
}

static uint64_t world_next(const struct world *w)
{
    uint64_t next = net_next_timer(w->net);

    for (int i = 0; i < w->event_count; i++)
        next = w->events[i].at < next ? w->events[i].at : next;
    for (int i = 0; i < w->peer_count; i++) {
        uint64_t timer = peer_next_timer(w->peers[i]);
        next = timer < next ? timer : next;
        bool reads = peer_state(w->peers[i]) == PEER_OPEN || peer_state(w->peers[i]) == PEER_FINISHED;
        if (reads && w->slow[i] && peer_readable(w->peers[i]) != 0 && w->next_read[i] < next)
            next = w->next_read[i];
    }
    return next;
}

static void world_turn(struct world *w)
{
    deliver_due(w);
    for (int i = 0; i < w->peer_count; i++) {
        peer_timers(w->peers[i], w->now);
        user_turn(w, i);
        peer_output_all(w, i);
    }
    net_timers(w->net, w->now, 16);
    tcp_apps_turn(&w->apps, w->now);
    net_output_all(w);
    tcp_invariants_check(w->net);
    if (w->trace != NULL)
        trace_note(w->trace, tcp_digest(w->net));
}

static bool world_over(const struct world *w)
{
    struct net_gauges g;

    net_gauges(w->net, &g);
    if (g.conns != 0 || w->event_count != 0)
        return false;
    for (int i = 0; i < w->peer_count; i++)
        if (peer_state(w->peers[i]) == PEER_CONNECTING || peer_state(w->peers[i]) == PEER_OPEN ||
            (peer_state(w->peers[i]) == PEER_FINISHED && peer_readable(w->peers[i]) != 0))
            return false;
    return true;
}

static void world_run(struct world *w)
{
    for (uint32_t steps = 0; steps < STEPS_MAX; steps++) {
        world_turn(w);
        if (world_over(w))
            return;
        uint64_t next = world_next(w);
        assert_true(next != UINT64_MAX);
        if (next > w->now)
            w->now = next;
    }
    fail_msg("a connection never ended");
}

static void world_end(struct world *w)
{
    for (int i = 0; i < w->event_count; i++)
        free(w->events[i].bytes);
    for (int i = 0; i < w->peer_count; i++)
        peer_free(w->peers[i]);
    arena_free(w->arena);
}

static void check_outcome(struct world *w)
{
    struct net_gauges g;

    net_gauges(w->net, &g);
    assert_int_equal(g.conns, 0);
    assert_int_equal(g.recv_buffers_used, 0);
    assert_int_equal(g.send_buffers_used, 0);
    tcp_invariants_check_end(w->net);
    for (int i = 0; i < w->peer_count; i++) {
        if (w->abort_at[i] != 0)
            continue;
        assert_int_equal(peer_state(w->peers[i]), PEER_FINISHED);
        assert_int_equal(w->read[i], w->total[i]);
    }
}

static uint64_t seed_running; /* 0: none */
static struct world w;

static int seed_teardown(void **state)
{
    (void)state;
    if (seed_running == 0)
        return 0;
    fprintf(stderr, "# failed with SEED=%llu\n", (unsigned long long)seed_running);
    for (int r = 0; r < REASON_COUNT; r++)
        if (counter_read(&w.counters, (enum reason)r) != 0)
            fprintf(stderr, "# %s %llu\n", reason_name((enum reason)r),
                    (unsigned long long)counter_read(&w.counters, (enum reason)r));
    for (int i = 0; i < w.peer_count; i++)
        fprintf(stderr, "# peer %d: state %d, wrote %u of %u, read %u\n", i, (int)peer_state(w.peers[i]),
                w.written[i], w.total[i], w.read[i]);
    return 0;
}

/* Of all worlds whose peers have SACK and whose path is as wide as it seems. */
static struct {
    uint64_t lost, timeouts, repeated;
} total;

static void total_add(const struct world *x)
{
    if (!x->sack || x->narrow)
        return;
    total.lost += x->lost;
    total.timeouts += counter_read(&x->counters, REASON_TCP_TIMEOUTS);
    total.repeated += counter_read(&x->counters, REASON_TCP_RETRANSMITS);
}

static void run_seeds(uint64_t from, uint64_t to)
{
    for (uint64_t seed = from; seed < to; seed++) {
        seed_running = seed;
        world_begin(&w, seed);
        world_run(&w);
        check_outcome(&w);
        total_add(&w);
        world_end(&w);
    }
    seed_running = 0;
}

static uint64_t seeds = SEEDS;

static void echoed_streams_are_byte_exact_and_nothing_is_left_over(void **state)
{
    const char *only = getenv("SEED");

    (void)state;
    if (only != NULL)
        run_seeds(strtoull(only, NULL, 10), strtoull(only, NULL, 10) + 1);
    else
        run_seeds(1, seeds + 1);
    printf("# with SACK: %llu segments lost, %llu sent again, %llu timeouts\n",
           (unsigned long long)total.lost, (unsigned long long)total.repeated,
           (unsigned long long)total.timeouts);
}

/* Of the seeds above. */
static void d4_fewer_than_a_tenth_of_the_losses_cost_a_timeout(void **state)
{
    (void)state;
    if (getenv("SEED") == NULL)
        assert_true(total.timeouts * 10 < total.lost);
}

/* One seed; returns how many segments went the short way, or would have. */
static uint64_t run_traced(uint64_t seed, struct trace *t, bool express)
{
    seed_running = seed;
    world_begin(&w, seed);
    w.trace = t;
    w.device_checksums = seed % 2 != 0;
    w.in_turns = seed % 4 < 3;
    tcp_express_set(w.net, express);
    world_run(&w);
    check_outcome(&w);
    uint64_t taken = tcp_express_taken(w.net);
    world_end(&w);
    seed_running = 0;
    return taken;
}

static void the_short_way_of_a_segment_changes_nothing(void **state)
{
    struct trace t = {0};
    uint64_t taken = 0, noted = 0;

    (void)state;
    if (getenv("SEED") != NULL)
        return;
    for (uint64_t seed = 1; seed <= TWICE; seed++) {
        t.compares = false;
        t.count = 0;
        (void)run_traced(seed, &t, false);
        t.compares = true;
        t.at = 0;
        taken += run_traced(seed, &t, true);
        assert_int_equal(t.at, t.count);
        noted += t.count;
    }
    free(t.seen);
    printf("# %llu segments went the short way; %llu frames and turns compared\n", (unsigned long long)taken,
           (unsigned long long)noted);
    assert_true(taken > 20000);
}

/* tcp_lossy_test [SEEDS] */
int main(int argc, char **argv)
{
    if (argc > 1)
        seeds = strtoull(argv[1], NULL, 10);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(echoed_streams_are_byte_exact_and_nothing_is_left_over, seed_teardown),
        cmocka_unit_test_teardown(the_short_way_of_a_segment_changes_nothing, seed_teardown),
        cmocka_unit_test(d4_fewer_than_a_tenth_of_the_losses_cost_a_timeout),
    };
    return RUN_TESTS("tcp_lossy", tests);
}
