#include "bench/net/rig.h"

#include "base/check.h"

#include <string.h>
#include <unistd.h>

#define BURST 32

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

COUNTED void counted_input(struct net *n, const struct frame *f, uint16_t count, uint64_t now_us)
{
    net_input(n, f, count, now_us);
}

COUNTED uint16_t counted_output(struct net *n, struct frame *f, uint16_t cap, uint64_t now_us)
{
    return net_output(n, now_us, f, cap);
}

COUNTED void counted_timers(struct net *n, uint64_t now_us)
{
    net_timers(n, now_us, 64);
}

COUNTED struct net_conn *counted_event(struct net *n, uint32_t *events)
{
    return net_next_event(n, events);
}

COUNTED size_t counted_read(struct net_conn *c, uint64_t now_us)
{
    size_t in = 0;

    for (struct span s = net_peek(c); s.len != 0; s = net_consume(c, s.len, now_us))
        in += s.len;
    return in;
}

COUNTED size_t counted_send(struct net_conn *c, struct span data, uint64_t now_us)
{
    return net_send(c, data, now_us);
}

void net_rig_init(struct net_rig *r, struct net_config *c, bool offload)
{
    *r = (struct net_rig){.now_us = 1000000, .offload = offload};
    memcpy(c->mac, our_mac, 6);
    c->addr_count = 1;
    CHECK(net_prefix_parse(span_str("10.0.0.1/8"), &c->addrs[0]));
    c->port_count = 1;
    c->ports[0] = RIG_PORT;
    c->tx_ip4_csum = offload;
    c->tx_tcp_csum = offload;
    memset(c->seed, 7, sizeof c->seed);
    r->arena = arena_new(net_memory_needed(c) + 4096, false);
    CHECK(r->arena != NULL);
    r->net = net_new(c, r->arena, &r->counters, r->now_us);
}

void net_rig_give(struct net_rig *r, const struct wire_segment *s)
{
    static uint8_t bytes[WIRE_FRAME_MAX];
    uint16_t len = wire_tcp_write(bytes, our_mac, peer_mac, s);
    struct frame f = {.data = bytes, .len = len, .cap = len};

    if (r->offload)
        f.flags = FRAME_RX_IP4_CSUM_GOOD | FRAME_RX_L4_CSUM_GOOD;
    const struct frame *frames = &f;
    uint16_t count = 1;
    UNKNOWN(frames);
    UNKNOWN(count);
    counted_input(r->net, frames, count, r->now_us);
}

/* With the checksum left to the device the frame cannot be parsed by a stranger: read where it lies. */
static void read_segment(const uint8_t *f, struct wire_segment *s)
{
    const uint8_t *tcp = f + 34;

    *s = (struct wire_segment){
        .sport = load_be16(tcp), .dport = load_be16(tcp + 2), .seq = load_be32(tcp + 4)};
    s->ack = load_be32(tcp + 8);
    s->flags = tcp[13];
    s->options_len = (tcp[12] >> 4) * 4u - 20;
    s->data.len = load_be16(f + 16) - 40u - s->options_len;
    for (uint32_t i = 20; i + 9 < 20 + s->options_len; i += tcp[i] <= 1 ? 1 : tcp[i + 1])
        if (tcp[i] == 8)
            s->tsval = load_be32(tcp + i + 2);
}

bool net_rig_take(struct net_rig *r, struct wire_segment *s)
{
    static uint8_t room[BURST][WIRE_FRAME_MAX], answer[128];
    static struct frame frames[BURST];
    static uint16_t at, filled;

    for (;;) {
        if (at == filled) {
            if (!net_has_output(r->net))
                return false;
            for (int i = 0; i < BURST; i++)
                frames[i] = (struct frame){.data = room[i], .cap = WIRE_FRAME_MAX};
            struct frame *room_for = frames;
            uint16_t cap = BURST;
            UNKNOWN(room_for);
            UNKNOWN(cap);
            filled = counted_output(r->net, room_for, cap, r->now_us);
            at = 0;
            if (filled == 0)
                return false;
        }
        const struct frame *f = &frames[at++];
        uint16_t len = wire_neighbour_answer(answer, peer_mac, span_of(f->data, f->len));
        if (len != 0) {
            struct frame a = {.data = answer, .len = len, .cap = len};
            counted_input(r->net, &a, 1, r->now_us);
        } else if (f->len >= 54 && f->data[23] == 6) {
            read_segment(f->data, s);
            return true;
        }
    }
}

/* Peers share 64 addresses, so that each neighbour is asked for once. */
struct wire_segment net_rig_peer(uint32_t i)
{
    struct wire_segment s = {.src.bytes = {10, 1, 0, (uint8_t)(2 + i % 64)}, .dst.bytes = {10, 0, 0, 1}};

    s.sport = (uint16_t)(1024 + i / 64 % 60000);
    s.src.bytes[2] = (uint8_t)(i / 64 / 60000);
    s.dport = RIG_PORT;
    s.wnd = 65535;
    s.has_ts = true;
    s.tsval = 1;
    return s;
}

struct wire_segment net_rig_syn(uint32_t i)
{
    struct wire_segment s = net_rig_peer(i);

    s.flags = WIRE_SYN;
    s.seq = 1000;
    s.has_mss = s.has_wscale = s.sack_permitted = true;
    s.mss = 1460;
    s.wscale = 7;
    return s;
}

void net_rig_connect(struct net_rig *r, uint32_t i, struct net_peer *p)
{
    struct wire_segment syn = net_rig_syn(i), got;
    uint32_t events;

    net_rig_give(r, &syn);
    CHECK(net_rig_take(r, &got) && got.flags == (WIRE_SYN | WIRE_ACK));
    p->next = net_rig_peer(i);
    p->next.flags = WIRE_ACK;
    p->next.seq = 1001;
    p->next.ack = got.seq + 1;
    p->next.tsecr = got.tsval;
    net_rig_give(r, &p->next);
    p->conn = net_next_event(r->net, &events);
    CHECK(p->conn != NULL && events == NET_EVENT_ESTABLISHED);
    CHECK(net_next_event(r->net, &events) == NULL);
}

uint64_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    CHECK(f != NULL && fscanf(f, "%*u %lu", &pages) == 1);
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
