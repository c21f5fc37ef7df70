#include "tests/sim/tcp_script.h"

#include <stdio.h>
#include <stdlib.h>

#define PEER_PORT 40000

static const uint8_t our_mac[6] = {0x02, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {0x02, 0, 0, 0, 0, 2};

uint8_t peer_byte(uint64_t at)
{
    return (uint8_t)(at * 7 + (at >> 8) * 13 + 3);
}

uint8_t app_byte(uint64_t at)
{
    return (uint8_t)(at * 11 + (at >> 8) * 29 + 101);
}

/* ---- one net ---- */

static struct net_config script_config(const struct script *t)
{
    const struct script_options *o = &t->o;
    struct net_config c;

    net_config_defaults(&c);
    memcpy(c.mac, our_mac, 6);
    c.mtu = o->mtu != 0 ? o->mtu : 1500;
    c.addr_count = 2;
    assert_true(net_prefix_parse(span_str("192.0.2.1/24"), &c.addrs[0]));
    assert_true(net_prefix_parse(span_str("2001:db8::1/64"), &c.addrs[1]));
    c.port_count = 1;
    c.ports[0] = SCRIPT_PORT;
    c.conns_max = o->conns != 0 ? o->conns : 16;
    c.recv_buffer = o->recv_buffer != 0 ? o->recv_buffer : 65536;
    c.recv_buffers_max = o->recv_buffers != 0 ? o->recv_buffers : 8;
    c.send_buffer = o->send_buffer != 0 ? o->send_buffer : 65536;
    c.send_buffers_max = o->send_buffers != 0 ? o->send_buffers : 8;
    c.idle_close_ms = o->idle_close_ms;
    c.keepalive_idle_ms = o->keepalive_ms;
    c.time_wait_max = o->time_wait != 0 ? o->time_wait : 64;
    c.steering = o->steering;
    if (o->syn_cache != 0)
        c.syn_cache_max = o->syn_cache;
    if (o->cookies_above != 0 || o->cookies)
        c.syn_cookies_above = o->cookies_above;
    for (size_t i = 0; i < sizeof c.seed; i++)
        c.seed[i] = (uint8_t)(i * 37 + 1);
    return c;
}

static void net_begin(struct script *t, uint64_t start_us)
{
    struct net_config c = script_config(t);

    t->arena = arena_new(net_memory_needed(&c) + 4096, false);
    assert_non_null(t->arena);
    memset(&t->counters, 0, sizeof t->counters);
    t->start_us = start_us;
    t->now_us = start_us;
    t->net = net_new(&c, t->arena, &t->counters, start_us);
    t->head = 0;
    t->tail = 0;
    t->conn = NULL;
    t->events = 0;
    t->accepted = 0;
}

static void net_end(struct script *t)
{
    arena_free(t->arena);
    t->arena = NULL;
}

/* ---- between net and queue ---- */

static void give_frame(struct script *t, uint8_t *bytes, uint16_t len)
{
    struct frame f = {.data = bytes, .len = len, .cap = len};

    net_input(t->net, &f, 1, t->now_us);
}

static void take_frame(struct script *t, struct span bytes)
{
    struct script_segment *q = &t->queue[t->tail % SCRIPT_QUEUE];
    struct wire_segment parsed;
    uint8_t answer[128], mac[6];
    uint16_t len;

    switch (wire_parse(bytes, &parsed)) {
    case WIRE_TCP:
        assert_true((uint16_t)(t->tail - t->head) < SCRIPT_QUEUE);
        memcpy(q->bytes, bytes.ptr, bytes.len);
        (void)wire_parse(span_of(q->bytes, bytes.len), &q->s);
        assert_true(q->s.csum_ok);
        q->at_us = t->now_us;
        t->tail++;
        if (q->s.has_ts)
            t->ts_echo = q->s.tsval;
        break;
    case WIRE_ARP_REQUEST:
    case WIRE_NS:
        memcpy(mac, peer_mac, sizeof mac);
        mac[5] = (uint8_t)(mac[5] + t->moved);
        len = wire_neighbour_answer(answer, mac, bytes);
        if (!t->o.deaf)
            give_frame(t, answer, len);
        break;
    case WIRE_OTHER:
        t->others++;
    }
}

static void run_output(struct script *t)
{
    static uint8_t room[32][WIRE_FRAME_MAX];

    for (int rounds = 0; rounds < 1000; rounds++) {
        struct frame frames[32];
        for (int i = 0; i < 32; i++)
            frames[i] = (struct frame){.data = room[i], .cap = WIRE_FRAME_MAX};
        uint16_t n = net_output(t->net, t->now_us, frames, 32);
        for (uint16_t i = 0; i < n; i++)
            take_frame(t, span_of(frames[i].data, frames[i].len));
        if (!net_has_output(t->net))
            return;
    }
    fail_msg("output never ends");
}

static void run_events(struct script *t)
{
    struct net_conn *c;
    uint32_t events;

    while ((c = net_next_event(t->net, &events)) != NULL) {
        if ((events & NET_EVENT_ESTABLISHED) != 0) {
            t->conn = c;
            t->events = 0;
            t->read = 0;
            t->written = 0;
            t->accepted++;
        }
        if (c == t->conn)
            t->events |= events;
    }
}

void script_turn(struct script *t)
{
    run_events(t);
    run_output(t);
}

void script_advance(struct script *t, uint64_t us)
{
    uint64_t until = t->now_us + us;

    for (int steps = 0; steps < 100000; steps++) {
        uint64_t next = net_next_timer(t->net);
        if (next > until)
            next = until;
        if (next > t->now_us)
            t->now_us = next;
        net_timers(t->net, t->now_us, 64);
        script_turn(t);
        if (t->now_us == until && net_next_timer(t->net) > until)
            return;
    }
    fail_msg("timers never end");
}

/* ---- the peer ---- */

uint32_t peer_seq(const struct script *t, uint32_t at)
{
    return t->irs + 1 + at;
}

uint32_t offset_of(const struct script *t, uint32_t seq)
{
    return seq - t->iss - 1;
}

uint16_t peer_frame(struct script *t, struct wire_segment s, uint8_t *bytes)
{
    s.src = t->theirs;
    s.dst = t->ours;
    s.sport = s.sport != 0 ? s.sport : t->sport;
    s.dport = s.dport != 0 ? s.dport : SCRIPT_PORT;
    return wire_tcp_write(bytes, our_mac, peer_mac, &s);
}

void peer_sends_frame(struct script *t, uint8_t *bytes, uint16_t len, uint16_t flags)
{
    struct frame f = {.data = bytes, .len = len, .cap = len, .flags = flags};

    net_input(t->net, &f, 1, t->now_us);
    script_turn(t);
}

void peer_sends(struct script *t, struct wire_segment s)
{
    static uint8_t bytes[WIRE_FRAME_MAX];

    peer_sends_frame(t, bytes, peer_frame(t, s, bytes), 0);
}

struct wire_segment peer_make(const struct script *t, uint8_t flags, uint32_t at)
{
    struct wire_segment s = {.flags = flags, .seq = peer_seq(t, at), .wnd = t->window};

    s.ack = t->iss + 1 + t->acked;
    s.has_ts = t->o.ts;
    s.tsval = (uint32_t)(t->now_us / 1000) + t->ts_skew;
    s.tsecr = t->ts_echo;
    return s;
}

void peer_syn(struct script *t)
{
    struct wire_segment s = {.flags = WIRE_SYN, .seq = t->irs, .wnd = t->window};

    s.has_mss = !t->o.no_mss;
    s.mss = t->o.mss != 0 ? t->o.mss : (t->variant->v6 ? 1440 : 1460);
    s.has_wscale = t->o.wscale != 0;
    s.wscale = (uint8_t)(t->o.wscale > 0 ? t->o.wscale : 0);
    s.sack_permitted = t->o.sack;
    s.has_ts = t->o.ts;
    s.tsval = (uint32_t)(t->now_us / 1000) + t->ts_skew;
    peer_sends(t, s);
}

void script_handshake(struct script *t)
{
    uint32_t before = t->accepted;
    struct wire_segment *s;

    peer_syn(t);
    s = expect_segment(t);
    assert_int_equal(s->flags, WIRE_SYN | WIRE_ACK);
    assert_int_equal(s->ack, peer_seq(t, 0));
    t->iss = s->seq;
    t->acked = 0;
    peer_ack(t, 0);
    assert_int_equal(t->accepted, before + 1);
    assert_int_equal(app_events(t), NET_EVENT_ESTABLISHED);
}

void peer_data(struct script *t, uint32_t at, uint32_t len)
{
    static uint8_t bytes[WIRE_FRAME_MAX];
    struct wire_segment s = peer_make(t, WIRE_ACK | WIRE_PSH, at);

    for (uint32_t i = 0; i < len; i++)
        bytes[i] = peer_byte(at + i);
    s.data = span_of(bytes, len);
    peer_sends(t, s);
}

void peer_fin(struct script *t, uint32_t at)
{
    peer_sends(t, peer_make(t, WIRE_FIN | WIRE_ACK, at));
}

/* The peer's own position is not known here: pure ACKs go out at the highest one that was acknowledged. */
void peer_ack(struct script *t, uint32_t offset)
{
    struct wire_segment s;
    uint32_t at = 0;

    for (uint16_t i = 0; i != t->tail && i < SCRIPT_QUEUE; i++) {
        const struct wire_segment *q = &t->queue[(uint16_t)(t->tail - 1 - i) % SCRIPT_QUEUE].s;
        if ((q->flags & WIRE_ACK) != 0 && q->sport == SCRIPT_PORT) {
            at = q->ack - peer_seq(t, 0);
            break;
        }
    }
    t->acked = offset;
    s = peer_make(t, WIRE_ACK, at);
    peer_sends(t, s);
}

void peer_rst(struct script *t, uint32_t at)
{
    peer_sends(t, peer_make(t, WIRE_RST, at));
}

/* ---- expectations ---- */

uint32_t script_pending(const struct script *t)
{
    return (uint16_t)(t->tail - t->head);
}

struct wire_segment *expect_segment(struct script *t)
{
    if (t->head == t->tail)
        fail_msg("nothing was sent");
    return &t->queue[t->head++ % SCRIPT_QUEUE].s;
}

uint64_t script_sent_at(const struct script *t)
{
    return t->queue[(uint16_t)(t->head - 1) % SCRIPT_QUEUE].at_us;
}

struct wire_segment *expect_ack(struct script *t, uint32_t offset)
{
    struct wire_segment *s = expect_segment(t);

    assert_int_equal(s->flags, WIRE_ACK);
    assert_int_equal(s->data.len, 0);
    assert_int_equal(s->ack - peer_seq(t, 0), offset);
    return s;
}

struct wire_segment *expect_data(struct script *t, uint32_t at, uint32_t len)
{
    struct wire_segment *s = expect_segment(t);

    assert_int_equal(s->flags & (WIRE_SYN | WIRE_RST | WIRE_ACK), WIRE_ACK);
    assert_int_equal(offset_of(t, s->seq), at);
    assert_int_equal(s->data.len, len);
    for (uint32_t i = 0; i < len; i++)
        assert_int_equal(s->data.ptr[i], app_byte(at + i));
    return s;
}

struct wire_segment *expect_fin(struct script *t, uint32_t at)
{
    struct wire_segment *s = expect_segment(t);

    assert_int_equal(s->flags & ~WIRE_PSH, WIRE_FIN | WIRE_ACK);
    assert_int_equal(offset_of(t, s->seq) + (uint32_t)s->data.len, at);
    return s;
}

struct wire_segment *expect_rst(struct script *t)
{
    struct wire_segment *s = expect_segment(t);

    assert_int_equal(s->flags & WIRE_RST, WIRE_RST);
    return s;
}

void expect_nothing(struct script *t)
{
    if (t->head != t->tail) {
        struct wire_segment *s = expect_segment(t);
        fail_msg("sent: flags %02x seq %u (offset %d) ack %u len %zu", s->flags, s->seq,
                 (int)offset_of(t, s->seq), s->ack, s->data.len);
    }
}

void script_drop_all(struct script *t)
{
    t->head = t->tail;
}

/* ---- the user ---- */

void app_send(struct script *t, uint32_t len)
{
    static uint8_t bytes[1 << 20];

    assert_true(len <= sizeof bytes);
    for (uint32_t i = 0; i < len; i++)
        bytes[i] = app_byte(t->written + i);
    assert_int_equal(net_send(t->conn, span_of(bytes, len), t->now_us), len);
    t->written += len;
    script_turn(t);
}

void app_read(struct script *t, uint32_t len)
{
    while (len != 0) {
        struct span s = net_peek(t->conn);
        uint32_t n = (uint32_t)(s.len < len ? s.len : len);
        if (n == 0)
            fail_msg("%u bytes too few to read", len);
        for (uint32_t i = 0; i < n; i++)
            assert_int_equal(s.ptr[i], peer_byte(t->read + i));
        net_consume(t->conn, n, t->now_us);
        t->read += n;
        len -= n;
    }
    script_turn(t);
}

void app_close(struct script *t)
{
    net_close(t->conn, t->now_us);
    script_turn(t);
}

void app_release(struct script *t)
{
    struct net_conn *c = t->conn;

    t->conn = NULL;
    net_release(c, t->now_us);
    script_turn(t);
}

uint32_t app_events(struct script *t)
{
    uint32_t events = t->events;

    t->events = 0;
    return events;
}

uint64_t counted(const struct script *t, enum reason r)
{
    return counter_read(&t->counters, r);
}

struct net_gauges script_gauges(const struct script *t)
{
    struct net_gauges g;

    net_gauges(t->net, &g);
    return g;
}

/* ---- beginning and end ---- */

/* When a connection of this script would begin at `margin` below 2^32: the ISN grows by one every 4 us. */
static uint64_t start_near_wrap(struct script *t)
{
    static uint64_t known[2]; /* the same for every script: seed and addresses do not change */
    uint64_t start = 1000 * SECOND;

    if (known[t->variant->v6] == 0) {
        net_begin(t, start);
        peer_syn(t);
        known[t->variant->v6] = start + 4ULL * (uint32_t)(0u - SCRIPT_MARGIN - expect_segment(t)->seq);
        net_end(t);
    }
    return known[t->variant->v6];
}

static struct script_segment segments[SCRIPT_QUEUE];

struct script *script_new(void **state, const struct script_options *o)
{
    struct script *t = calloc(1, sizeof *t);

    t->variant = *state;
    t->o = o != NULL ? *o : (struct script_options){0};
    t->queue = segments; /* one script lives at a time */
    t->window = t->o.window != 0 ? t->o.window : 65535;
    t->sport = PEER_PORT;
    t->ours.v6 = t->theirs.v6 = t->variant->v6;
    memcpy(t->ours.bytes,
           t->variant->v6 ? "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1" : "\xc0\0\2\1\0\0\0\0\0\0\0\0\0\0\0\0",
           16);
    memcpy(t->theirs.bytes, t->ours.bytes, 16);
    t->theirs.bytes[t->variant->v6 ? 15 : 3] = 2;
    t->irs = t->variant->wrap ? 0u - SCRIPT_MARGIN / 2 : 77000;
    t->ts_skew = 1234567;
    if (t->o.start_us == 0)
        t->o.start_us = t->variant->wrap && !t->o.deaf ? start_near_wrap(t) : 1000 * SECOND;
    net_begin(t, t->o.start_us);
    return t;
}

void script_free(struct script *t)
{
    net_end(t);
    free(t);
}

int script_run(const char *group, const struct CMUnitTest *tests, size_t count)
{
    static const struct script_variant variants[] = {
        {"v4", false, false}, {"v6", true, false}, {"v4-wrap", false, true}, {"v6-wrap", true, true}};
    struct CMUnitTest *all = calloc(4 * count, sizeof *all);
    int failed;

    for (size_t v = 0; v < 4; v++)
        for (size_t i = 0; i < count; i++) {
            struct CMUnitTest *one = &all[v * count + i];
            char *name = NULL;
            *one = tests[i];
            assert_true(asprintf(&name, "%s/%s", variants[v].name, tests[i].name) > 0);
            one->name = name;
            one->initial_state = (void *)(uintptr_t)&variants[v];
        }
    failed = _cmocka_run_group_tests(group, all, 4 * count, NULL, NULL);
    for (size_t i = 0; i < 4 * count; i++)
        free((void *)(uintptr_t)all[i].name);
    free(all);
    return failed;
}
