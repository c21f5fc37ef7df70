/* Two workers' stacks side by side, and a device that delivers each segment to the wrong one (B25). */
#include "dataplane/net/net.h"
#include "dataplane/net/steer.h"
#include "tests/sim/tcp_invariants.h"
#include "tests/sim/wire.h"
#include "tests/unit/test.h"

#include <string.h>

#define WORKERS 2
#define FLOWS   64
#define PORT    443

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

struct flow {
    uint32_t iss, acked, heard; /* ours; what it acknowledged of the peer's; bytes of ours that came */
    bool answered;
};

struct pair {
    struct arena *arena[WORKERS + 1];
    struct steering *steering;
    struct net *net[WORKERS];
    struct counters counters[WORKERS];
    uint64_t now_us;
    bool v6;
    uint32_t resets, accepted[WORKERS];
    struct flow flow[FLOWS];
};

static struct net *net_made(struct pair *p, uint16_t worker)
{
    struct net_config c;

    net_config_defaults(&c);
    memcpy(c.mac, our_mac, 6);
    c.addr_count = 2;
    assert_true(net_prefix_parse(span_str("192.0.2.1/24"), &c.addrs[0]));
    assert_true(net_prefix_parse(span_str("2001:db8::1/64"), &c.addrs[1]));
    c.port_count = 1;
    c.ports[0] = PORT;
    c.conns_max = FLOWS;
    c.recv_buffer = c.send_buffer = 4096;
    c.recv_buffers_max = c.send_buffers_max = FLOWS;
    c.steering = p->steering;
    c.worker = worker;
    memset(c.seed, 3 + worker, sizeof c.seed);
    p->arena[worker] = arena_new(net_memory_needed(&c) + 4096, false);
    return net_new(&c, p->arena[worker], &p->counters[worker], p->now_us);
}

static struct pair *pair_new(bool v6)
{
    static struct pair pair;
    struct steering_config c = {.workers = WORKERS, .mtu = 1500};

    memset(&pair, 0, sizeof pair);
    for (size_t i = 0; i < sizeof c.key; i++)
        c.key[i] = (uint8_t)(i * 73 + 41);
    pair.now_us = 1000000;
    pair.v6 = v6;
    pair.arena[WORKERS] = arena_new(steering_memory_needed(&c) + 4096, false);
    pair.steering = steering_new(&c, pair.arena[WORKERS]);
    for (uint16_t w = 0; w < WORKERS; w++)
        pair.net[w] = net_made(&pair, w);
    return &pair;
}

static void pair_free(struct pair *p)
{
    for (int i = 0; i <= WORKERS; i++)
        arena_free(p->arena[i]);
}

static struct wire_segment segment_of(const struct pair *p, uint32_t flow, uint8_t flags)
{
    struct wire_segment s = {
        .flags = flags, .sport = (uint16_t)(20000 + flow * 7), .dport = PORT, .wnd = 65535};

    s.src.v6 = s.dst.v6 = p->v6;
    memcpy(s.dst.bytes,
           p->v6 ? "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1" : "\xc0\0\2\1\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    memcpy(s.src.bytes, s.dst.bytes, 16);
    s.src.bytes[p->v6 ? 15 : 3] = 9;
    return s;
}

static struct net_addr net_addr_of(const struct wire_addr *a)
{
    struct net_addr out = {.family = a->v6 ? NET_IP6 : NET_IP4};

    memcpy(out.bytes, a->bytes, a->v6 ? 16 : 4);
    return out;
}

static uint16_t owner_of(const struct pair *p, const struct wire_segment *s)
{
    struct net_addr src = net_addr_of(&s->src), dst = net_addr_of(&s->dst);

    return steering_owner(p->steering, steering_hash(p->steering, &src, &dst, s->sport, s->dport));
}

static void give_bytes(struct pair *p, uint16_t worker, uint8_t *bytes, uint16_t len)
{
    struct frame f = {.data = bytes, .len = len, .cap = len};

    net_input(p->net[worker], &f, 1, p->now_us);
}

static void heard(struct pair *p, uint16_t worker, struct span frame)
{
    uint8_t answer[128];
    struct wire_segment s;

    if (wire_parse(frame, &s) != WIRE_TCP) {
        uint16_t len = wire_neighbour_answer(answer, peer_mac, frame);
        if (len != 0)
            give_bytes(p, 0, answer, len); /* to one of them: it tells the other */
        return;
    }
    struct flow *f = &p->flow[(s.dport - 20000) / 7];
    struct wire_segment back = segment_of(p, (uint32_t)(s.dport - 20000) / 7, 0);
    assert_int_equal(worker, owner_of(p, &back));
    p->resets += (s.flags & WIRE_RST) != 0;
    if ((s.flags & WIRE_SYN) != 0)
        f->iss = s.seq;
    f->answered = true;
    f->acked = s.ack;
    f->heard += (uint32_t)s.data.len;
}

/* What is readable goes back. */
static void users(struct pair *p, uint16_t worker)
{
    uint32_t events;
    struct net_conn *c;

    while ((c = net_next_event(p->net[worker], &events)) != NULL) {
        p->accepted[worker] += (events & NET_EVENT_ESTABLISHED) != 0;
        struct span in = net_peek(c);
        assert_int_equal(net_send(c, in, p->now_us), in.len);
        net_consume(c, in.len, p->now_us);
    }
}

static void turns(struct pair *p)
{
    static uint8_t room[16][WIRE_FRAME_MAX];
    struct frame frames[16];

    for (int i = 0; i < 8; i++) {
        for (uint16_t w = 0; w < WORKERS; w++) {
            (void)net_take_handed(p->net[w], p->now_us);
            net_timers(p->net[w], p->now_us, 64);
            users(p, w);
            for (int k = 0; k < 16; k++)
                frames[k] = (struct frame){.data = room[k], .cap = WIRE_FRAME_MAX};
            uint16_t n = net_output(p->net[w], p->now_us, frames, 16);
            for (uint16_t k = 0; k < n; k++)
                heard(p, w, span_of(frames[k].data, frames[k].len));
        }
    }
}

static void deliver(struct pair *p, uint16_t worker, const struct wire_segment *s)
{
    uint8_t bytes[WIRE_FRAME_MAX];
    uint16_t len = wire_tcp_write(bytes, our_mac, peer_mac, s);

    give_bytes(p, worker, bytes, len);
    turns(p);
}

/* To the worker that does not own it. */
static void misdirect(struct pair *p, const struct wire_segment *s)
{
    deliver(p, (uint16_t)(1 - owner_of(p, s)), s);
}

static void connect_flow(struct pair *p, uint32_t i)
{
    struct wire_segment s = segment_of(p, i, WIRE_SYN);

    s.seq = 999;
    misdirect(p, &s);
    assert_true(p->flow[i].answered);
    s = segment_of(p, i, WIRE_ACK);
    s.seq = 1000;
    s.ack = p->flow[i].iss + 1;
    misdirect(p, &s);
}

static void flows_live(struct pair *p)
{
    struct net_gauges g[WORKERS];

    for (uint32_t i = 0; i < FLOWS; i++)
        connect_flow(p, i);
    for (uint32_t i = 0; i < FLOWS; i++) {
        struct wire_segment s = segment_of(p, i, WIRE_ACK | WIRE_PSH);
        s.seq = 1000;
        s.ack = p->flow[i].iss + 1;
        s.data = span_str("to whom it may concern");
        misdirect(p, &s);
        assert_int_equal(p->flow[i].acked, 1000 + s.data.len);
        assert_int_equal(p->flow[i].heard, s.data.len);
    }
    for (uint16_t w = 0; w < WORKERS; w++)
        net_gauges(p->net[w], &g[w]);
    assert_int_equal(p->resets, 0);
    assert_int_equal(p->accepted[0] + p->accepted[1], FLOWS);
    assert_int_equal(g[0].established + g[1].established, FLOWS);
    assert_true(g[0].established > FLOWS / 8 && g[1].established > FLOWS / 8);
    pair_free(p);
}

static void b25_flows_delivered_to_the_wrong_worker_live_on_ipv4(void **state)
{
    (void)state;
    flows_live(pair_new(false));
}

static void b25_flows_delivered_to_the_wrong_worker_live_on_ipv6(void **state)
{
    (void)state;
    flows_live(pair_new(true));
}

/* The device says nothing of whose a flow is; that it is in this worker's table says it. */
static void the_owner_takes_what_it_expects_the_short_way(bool v6)
{
    struct pair *p = pair_new(v6);

    connect_flow(p, 0);
    for (uint32_t i = 0; i < 4; i++) {
        struct wire_segment s = segment_of(p, 0, WIRE_ACK | WIRE_PSH);
        uint16_t owner = owner_of(p, &s);
        uint64_t taken = tcp_express_taken(p->net[owner]), other = tcp_express_taken(p->net[1 - owner]);

        s.data = span_str("once more");
        s.seq = 1000 + i * (uint32_t)s.data.len;
        s.ack = p->flow[0].iss + 1 + p->flow[0].heard;
        deliver(p, owner, &s);
        assert_int_equal(p->flow[0].acked, s.seq + s.data.len);
        assert_int_equal(tcp_express_taken(p->net[owner]), taken + 2); /* in, and the answer out */
        assert_int_equal(tcp_express_taken(p->net[1 - owner]), other);
    }
    assert_int_equal(p->resets, 0);
    pair_free(p);
}

static void the_owner_takes_what_it_expects_the_short_way_ipv4(void **state)
{
    (void)state;
    the_owner_takes_what_it_expects_the_short_way(false);
}

static void the_owner_takes_what_it_expects_the_short_way_ipv6(void **state)
{
    (void)state;
    the_owner_takes_what_it_expects_the_short_way(true);
}

/* Who owns a flow that nobody knows answers for it, once. */
static void b25_a_stranger_at_the_wrong_worker_gets_one_rst(void **state)
{
    struct pair *p = pair_new(false);
    struct wire_segment s = segment_of(p, 5, WIRE_ACK);
    (void)state;

    s.ack = 77;
    misdirect(p, &s);
    assert_int_equal(p->resets, 1);
    pair_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b25_flows_delivered_to_the_wrong_worker_live_on_ipv4),
        cmocka_unit_test(b25_flows_delivered_to_the_wrong_worker_live_on_ipv6),
        cmocka_unit_test(the_owner_takes_what_it_expects_the_short_way_ipv4),
        cmocka_unit_test(the_owner_takes_what_it_expects_the_short_way_ipv6),
        cmocka_unit_test(b25_a_stranger_at_the_wrong_worker_gets_one_rst),
    };
    return RUN_TESTS("steering", tests);
}
