/* The stack against itself: net_connect on one end, the echo service on the other, over a wire that loses, repeats
 * and reorders.  Whatever the seed: every connection opens, every stream comes back byte by byte, every
 * connection ends in order on both ends and nothing is left.  SEED=n in the environment runs one seed alone. */
#include "tests/apps/tcp_apps.h"
#include "tests/sim/tcp_invariants.h"
#include "tests/sim/wire.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

#define SEEDS      150
#define CONNS      6
#define EVENTS_MAX 4096
#define STEPS_MAX  1000000

struct event {
    uint64_t at;
    int to; /* which end */
    uint16_t len;
    uint8_t *bytes;
};

struct caller {
    struct net_conn *conn;
    uint32_t total, sent, read;
    bool done, open;
};

struct world {
    uint64_t random, now;
    struct arena *arena[2];
    struct counters counters[2];
    struct net *net[2]; /* 0 connects, 1 echoes */
    struct tcp_apps apps;
    struct tcp_app_conn slots[CONNS];
    struct caller callers[CONNS];
    int caller_count;
    bool v6;
    struct event events[EVENTS_MAX];
    int event_count;
    uint32_t loss, dup, jitter_us, delay_us;
};

static uint32_t pick(struct world *w, uint32_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)((w->random * 0x2545f4914f6cdd1dULL) >> 32) % below;
}

static uint8_t stream_byte(int caller, uint32_t at)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7 + (uint32_t)caller * 91);
}

/* ---- the wire ---- */

static void wire_put(struct world *w, int to, const struct frame *f)
{
    uint32_t copies = pick(w, 1000) < w->loss ? 0 : pick(w, 1000) < w->dup ? 2 : 1;

    while (copies-- > 0) {
        struct event *e = &w->events[w->event_count++];
        assert_true(w->event_count < EVENTS_MAX);
        *e = (struct event){.to = to, .len = f->len, .bytes = malloc(f->len)};
        e->at = w->now + w->delay_us + pick(w, w->jitter_us + 1);
        memcpy(e->bytes, f->data, f->len);
    }
}

static void deliver_due(struct world *w)
{
    for (int i = 0; i < w->event_count;) {
        struct event e = w->events[i];
        struct frame f = {.data = e.bytes, .len = e.len, .cap = e.len};
        if (e.at > w->now) {
            i++;
            continue;
        }
        w->events[i] = w->events[--w->event_count];
        net_input(w->net[e.to], &f, 1, w->now);
        free(e.bytes);
    }
}

static void output_all(struct world *w, int from)
{
    static uint8_t room[16][WIRE_FRAME_MAX];
    struct frame frames[16];

    while (net_has_output(w->net[from])) {
        for (int i = 0; i < 16; i++)
            frames[i] = (struct frame){.data = room[i], .cap = WIRE_FRAME_MAX};
        uint16_t n = net_output(w->net[from], w->now, frames, 16);
        for (uint16_t i = 0; i < n; i++)
            wire_put(w, 1 - from, &frames[i]);
        if (n == 0)
            return;
    }
}

/* ---- who calls ---- */

static void caller_write(struct world *w, struct caller *k)
{
    uint8_t chunk[2000];

    while (k->sent < k->total) {
        uint32_t len = 0;
        for (; len < sizeof chunk && k->sent + len < k->total; len++)
            chunk[len] = stream_byte((int)(k - w->callers), k->sent + len);
        size_t took = net_send(k->conn, span_of(chunk, len), w->now);
        k->sent += (uint32_t)took;
        if (took < len)
            return;
    }
    if (k->read == k->total)
        net_close(k->conn, w->now);
}

static void caller_read(struct world *w, struct caller *k)
{
    struct span in;

    while ((in = net_peek(k->conn)).len != 0) {
        for (size_t i = 0; i < in.len; i++)
            assert_int_equal(in.ptr[i], stream_byte((int)(k - w->callers), k->read++));
        net_consume(k->conn, in.len, w->now);
    }
}

static void callers_turn(struct world *w)
{
    struct net_conn *c;
    uint32_t events;

    while ((c = net_next_event(w->net[0], &events)) != NULL) {
        struct caller *k = net_user(c);
        assert_true(k->open || (events & NET_EVENT_ESTABLISHED) != 0);
        k->open = true;
        caller_read(w, k);
        caller_write(w, k);
        if ((events & NET_EVENT_CLOSED) == 0)
            continue;
        assert_int_equal(net_close_cause(c), NET_CAUSE_FINISHED);
        assert_int_equal(k->read, k->total);
        net_release(c, w->now);
        k->done = true;
    }
}

/* ---- the world ---- */

static struct net_addr end_addr(const struct world *w, int end)
{
    static const char *const text[2][2] = {{"192.0.2.2", "192.0.2.1"}, {"2001:db8::2", "2001:db8::1"}};
    struct net_addr a;

    assert_true(net_addr_parse(span_str(text[w->v6][end]), &a));
    return a;
}

static void end_begin(struct world *w, int end)
{
    struct net_config c;

    net_config_defaults(&c);
    memcpy(c.mac, (const uint8_t[]){2, 0, 0, 0, 0, (uint8_t)(1 + end)}, 6);
    c.mtu = (uint16_t)(1280 + pick(w, 3) * 110);
    c.addr_count = 1;
    c.addrs[0] = (struct net_prefix){.addr = end_addr(w, end), .len = w->v6 ? 64 : 24};
    c.port_count = (uint16_t)end;
    c.ports[0] = APP_PORT_ECHO;
    c.conns_max = CONNS;
    c.recv_buffer = 4096u << pick(w, 6);
    c.send_buffer = 4096u << pick(w, 6);
    c.recv_buffers_max = CONNS;
    c.send_buffers_max = CONNS;
    for (size_t i = 0; i < sizeof c.seed; i++)
        c.seed[i] = (uint8_t)(pick(w, 255) + 1);
    w->arena[end] = arena_new(net_memory_needed(&c) + 4096, false);
    w->net[end] = net_new(&c, w->arena[end], &w->counters[end], w->now);
}

static void world_begin(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->random = seed * 0x9e3779b97f4a7c15ULL + 1;
    for (int i = 0; i < 8; i++)
        (void)pick(w, 2);
    w->now = (uint64_t)pick(w, UINT32_MAX) * 5;
    w->v6 = pick(w, 2) != 0;
    w->loss = pick(w, 3) == 0 ? 0 : pick(w, 100);
    w->dup = pick(w, 3) == 0 ? 0 : pick(w, 100);
    w->delay_us = pick(w, 20000);
    w->jitter_us = pick(w, 3) == 0 ? 0 : pick(w, 30000);
    end_begin(w, 0);
    end_begin(w, 1);
    tcp_apps_init(&w->apps, w->net[1], w->slots, CONNS);
    w->caller_count = 1 + (int)pick(w, CONNS);
    for (int i = 0; i < w->caller_count; i++) {
        struct caller *k = &w->callers[i];
        struct net_addr local = end_addr(w, 0);
        struct net_addr peer = end_addr(w, 1);
        k->total = pick(w, 3) == 0 ? pick(w, 100) : pick(w, 60000);
        k->conn = net_connect(w->net[0], &local, &peer, APP_PORT_ECHO, w->now);
        assert_non_null(k->conn);
        net_set_user(k->conn, k);
    }
}

static bool world_over(const struct world *w)
{
    struct net_gauges g;

    for (int end = 0; end < 2; end++) {
        net_gauges(w->net[end], &g);
        if (g.conns != 0)
            return false;
    }
    return w->event_count == 0;
}

static void world_turn(struct world *w)
{
    deliver_due(w);
    for (int end = 0; end < 2; end++)
        net_timers(w->net[end], w->now, 16);
    callers_turn(w);
    tcp_apps_turn(&w->apps, w->now);
    for (int end = 0; end < 2; end++) {
        output_all(w, end);
        tcp_invariants_check(w->net[end]);
    }
}

static uint64_t world_next(const struct world *w)
{
    uint64_t next = net_next_timer(w->net[0]);

    if (net_next_timer(w->net[1]) < next)
        next = net_next_timer(w->net[1]);
    for (int i = 0; i < w->event_count; i++)
        next = w->events[i].at < next ? w->events[i].at : next;
    return next;
}

static void world_run(struct world *w)
{
    for (int steps = 0; steps < STEPS_MAX; steps++) {
        world_turn(w);
        if (world_over(w))
            return;
        uint64_t next = world_next(w);
        assert_true(next != UINT64_MAX);
        w->now = next > w->now ? next : w->now;
    }
    fail_msg("a connection never ended");
}

static void world_end(struct world *w)
{
    struct net_gauges g;

    for (int end = 0; end < 2; end++) {
        net_gauges(w->net[end], &g);
        assert_int_equal(g.recv_buffers_used, 0);
        assert_int_equal(g.send_buffers_used, 0);
        tcp_invariants_check_end(w->net[end]);
        arena_free(w->arena[end]);
    }
    for (int i = 0; i < w->caller_count; i++)
        assert_true(w->callers[i].done);
    assert_int_equal(counter_read(&w->counters[0], REASON_TCP_CONNECTED), w->caller_count);
}

static uint64_t seed_running; /* 0: none */
static struct world w;

static int seed_teardown(void **state)
{
    (void)state;
    if (seed_running == 0)
        return 0;
    fprintf(stderr, "# failed with SEED=%llu\n", (unsigned long long)seed_running);
    for (int end = 0; end < 2; end++)
        for (int r = 0; r < REASON_COUNT; r++)
            if (counter_read(&w.counters[end], (enum reason)r) != 0)
                fprintf(stderr, "# end %d: %s %llu\n", end, reason_name((enum reason)r),
                        (unsigned long long)counter_read(&w.counters[end], (enum reason)r));
    return 0;
}

static void run_seeds(uint64_t from, uint64_t to)
{
    for (uint64_t seed = from; seed < to; seed++) {
        seed_running = seed;
        world_begin(&w, seed);
        world_run(&w);
        world_end(&w);
    }
    seed_running = 0;
}

static void connections_between_two_of_us_are_byte_exact_and_end_in_order(void **state)
{
    const char *only = getenv("SEED");
    const char *many = getenv("SEEDS");

    (void)state;
    if (only != NULL)
        run_seeds(strtoull(only, NULL, 10), strtoull(only, NULL, 10) + 1);
    else
        run_seeds(1, (many != NULL ? strtoull(many, NULL, 10) : SEEDS) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(connections_between_two_of_us_are_byte_exact_and_end_in_order,
                                  seed_teardown),
    };
    return RUN_TESTS("tcp_ends", tests);
}
