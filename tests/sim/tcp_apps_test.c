/* Discard and character generator, over a perfect wire, against the independent client. */
#include "tests/apps/tcp_apps.h"
#include "tests/sim/peer.h"
#include "tests/unit/test.h"

#define SECOND     1000000ULL
#define STREAM_LEN 100000

struct lab {
    uint64_t now;
    struct arena *arena;
    struct counters counters;
    struct net *net;
    struct tcp_apps apps;
    struct tcp_app_conn slots[4];
    struct peer *peer;
};

static void lab_begin(struct lab *l, uint16_t port, bool v6, uint32_t slots)
{
    struct net_config c;
    struct peer_options o;

    memset(l, 0, sizeof *l);
    l->now = SECOND;
    net_config_defaults(&c);
    peer_options_defaults(&o, v6);
    memcpy(c.mac, o.server_mac, 6);
    c.mtu = 1500;
    c.addr_count = 2;
    assert_true(net_prefix_parse(span_str("192.0.2.1/24"), &c.addrs[0]));
    assert_true(net_prefix_parse(span_str("2001:db8::1/64"), &c.addrs[1]));
    c.port_count = 1;
    c.ports[0] = port;
    c.conns_max = 8;
    c.recv_buffers_max = 8;
    c.send_buffers_max = 8;
    c.seed[0] = 1;
    l->arena = arena_new(net_memory_needed(&c) + 4096, false);
    l->net = net_new(&c, l->arena, &l->counters, l->now);
    tcp_apps_init(&l->apps, l->net, l->slots, slots);
    o.server_port = port;
    l->peer = peer_new(&o);
    peer_connect(l->peer, l->now);
}

static void lab_end(struct lab *l)
{
    peer_free(l->peer);
    arena_free(l->arena);
}

static void lab_turn(struct lab *l)
{
    static uint8_t room[16][WIRE_FRAME_MAX];
    struct frame frames[16];

    for (int i = 0; i < 16; i++)
        frames[i] = (struct frame){.data = room[i], .cap = WIRE_FRAME_MAX};
    net_input(l->net, frames, peer_output(l->peer, l->now, frames, 16), l->now);
    net_timers(l->net, l->now, 16);
    tcp_apps_turn(&l->apps, l->now);
    uint16_t n = net_output(l->net, l->now, frames, 16);
    for (uint16_t i = 0; i < n; i++)
        peer_input(l->peer, &frames[i], l->now);
    peer_timers(l->peer, l->now);
    l->now += 100;
}

static void discard_takes_everything_and_says_nothing(struct lab *l)
{
    static uint8_t bytes[STREAM_LEN];
    uint8_t byte;

    peer_write(l->peer, span_of(bytes, sizeof bytes), l->now);
    peer_close(l->peer, l->now);
    for (int i = 0; i < 20000 && peer_state(l->peer) != PEER_FINISHED; i++)
        lab_turn(l);
    assert_int_equal(peer_state(l->peer), PEER_FINISHED);
    assert_int_equal(l->apps.bytes_in, STREAM_LEN);
    assert_int_equal(peer_read(l->peer, &byte, 1, l->now), 0);
}

static void chargen_sends_its_pattern_and_closes(struct lab *l)
{
    uint32_t at = 0;

    l->apps.chargen_bytes = STREAM_LEN;
    for (int i = 0; i < 20000 && !(peer_fin_received(l->peer) && peer_readable(l->peer) == 0); i++) {
        uint8_t chunk[1000];
        size_t n = peer_read(l->peer, chunk, sizeof chunk, l->now);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(chunk[k], tcp_apps_chargen_byte(at++));
        lab_turn(l);
    }
    assert_int_equal(at, STREAM_LEN);
}

static void discard_takes_everything_v4(void **state)
{
    struct lab l;
    (void)state;

    lab_begin(&l, APP_PORT_DISCARD, false, 4);
    discard_takes_everything_and_says_nothing(&l);
    lab_end(&l);
}

static void discard_takes_everything_v6(void **state)
{
    struct lab l;
    (void)state;

    lab_begin(&l, APP_PORT_DISCARD, true, 4);
    discard_takes_everything_and_says_nothing(&l);
    lab_end(&l);
}

static void chargen_is_byte_exact_v4(void **state)
{
    struct lab l;
    (void)state;

    lab_begin(&l, APP_PORT_CHARGEN, false, 4);
    chargen_sends_its_pattern_and_closes(&l);
    lab_end(&l);
}

static void chargen_is_byte_exact_v6(void **state)
{
    struct lab l;
    (void)state;

    lab_begin(&l, APP_PORT_CHARGEN, true, 4);
    chargen_sends_its_pattern_and_closes(&l);
    lab_end(&l);
}

static void clean_wire_sees_no_retransmission(void **state)
{
    struct lab l;
    (void)state;

    lab_begin(&l, APP_PORT_CHARGEN, false, 4);
    chargen_sends_its_pattern_and_closes(&l);
    assert_int_equal(counter_read(&l.counters, REASON_TCP_RETRANSMITS), 0);
    assert_int_equal(counter_read(&l.counters, REASON_TCP_TIMEOUTS), 0);
    lab_end(&l);
}

static void connection_without_a_slot_is_reset(void **state)
{
    struct lab l;
    (void)state;

    lab_begin(&l, APP_PORT_ECHO, false, 0);
    for (int i = 0; i < 100; i++)
        lab_turn(&l);
    assert_int_equal(peer_state(l.peer), PEER_RESET);
    lab_end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(discard_takes_everything_v4),
        cmocka_unit_test(discard_takes_everything_v6),
        cmocka_unit_test(chargen_is_byte_exact_v4),
        cmocka_unit_test(chargen_is_byte_exact_v6),
        cmocka_unit_test(clean_wire_sees_no_retransmission),
        cmocka_unit_test(connection_without_a_slot_is_reset),
    };
    return RUN_TESTS("tcp_apps", tests);
}
