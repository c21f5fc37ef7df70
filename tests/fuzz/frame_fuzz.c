/* Frames into the whole of dataplane/net, with an echoing user behind it.
 *
 * An input is one byte of options, then records of {control, length (2 bytes), frame}.
 * options: bit 0: a TCP connection over IPv4 is made first; bit 1: over IPv6.
 * control: bit 0: wrong checksums are put right; bit 1: sequence and acknowledgement numbers of a TCP segment are
 * taken as offsets from what that connection expects; bits 2..7: how far time moves on before the frame, 2^n - 1
 * milliseconds (n modulo 18).
 * The questions of the stack (ARP, NDP) are answered.  Whatever it sends must have right lengths and checksums. */
#include "base/check.h"
#include "dataplane/net/ip.h"
#include "drivers/nic/sim/device.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MTU       1500
#define FRAME_MAX (MTU + ETH_HEADER_LEN)
#define STEPS_MAX 64
#define PEER_PORT 40000

static const uint8_t OUR_MAC[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t PEER_MAC[6] = {2, 0, 0, 0, 0, 2};

struct world {
    struct net *net;
    struct counters counters;
    uint64_t now_us;
    uint32_t our_seq[2]; /* the next one that each expects us, its peer, to acknowledge */
};

/* ---- frames of the peer ---- */

static void input(struct world *w, const uint8_t *bytes, size_t len)
{
    /* Of exactly its size, so that the sanitizer sees a read beyond it. */
    uint8_t *exact = malloc(len != 0 ? len : 1);
    struct frame f = {.data = exact, .len = (uint16_t)len, .cap = (uint16_t)len};

    CHECK(exact != NULL);
    memcpy(exact, bytes, len);
    net_input(w->net, &f, 1, w->now_us);
    free(exact);
}

static void answer_arp(struct world *w, const uint8_t *question)
{
    uint8_t a[42];

    memcpy(a, question, sizeof a);
    memcpy(a, OUR_MAC, 6);
    memcpy(a + 6, PEER_MAC, 6);
    a[21] = 2;
    memcpy(a + 22, PEER_MAC, 6);
    memcpy(a + 28, question + 38, 4);
    memcpy(a + 32, question + 22, 10);
    input(w, a, sizeof a);
}

static void answer_solicitation(struct world *w, const uint8_t *question)
{
    struct net_addr src = addr_ip6(question + 62), dst = addr_ip6(question + 22);
    uint8_t a[86] = {0};

    memcpy(a, OUR_MAC, 6);
    memcpy(a + 6, PEER_MAC, 6);
    store_be16(a + 12, ETH_TYPE_IP6);
    ip_header_write(a + 14, &src, &dst, IP_PROTO_ICMP6, 32, 255, false);
    a[54] = 136;
    a[58] = 0x60;
    memcpy(a + 62, src.bytes, 16);
    a[78] = 2;
    a[79] = 1;
    memcpy(a + 80, PEER_MAC, 6);
    uint16_t pseudo = checksum_pseudo(&src, &dst, IP_PROTO_ICMP6, 32);
    store_be16(a + 56, (uint16_t)~checksum_sum(span_of(a + 54, 32), pseudo));
    input(w, a, sizeof a);
}

/* ---- what the stack sends ---- */

static size_t l4_offset(const uint8_t *frame, size_t len, uint8_t proto)
{
    if (len >= 34 && load_be16(frame + 12) == ETH_TYPE_IP4 && frame[23] == proto)
        return ETH_HEADER_LEN + (size_t)(frame[14] & 15) * 4;
    return len >= 54 && load_be16(frame + 12) == ETH_TYPE_IP6 && frame[20] == proto ? 54 : 0;
}

static void look_at(struct world *w, const uint8_t *frame, size_t len)
{
    uint16_t bad = FRAME_RX_IP4_CSUM_BAD | FRAME_RX_L4_CSUM_BAD;
    size_t tcp = l4_offset(frame, len, IP_PROTO_TCP);

    CHECK(len >= 42 && len <= FRAME_MAX);
    CHECK(memcmp(frame + 6, OUR_MAC, 6) == 0);
    CHECK((sim_device_rx_flags(span_of(frame, len)) & bad) == 0);
    if (load_be16(frame + 12) == ETH_TYPE_ARP && frame[21] == 1)
        answer_arp(w, frame);
    size_t icmp6 = l4_offset(frame, len, IP_PROTO_ICMP6);
    if (icmp6 == 54 && len == 86 && frame[54] == 135)
        answer_solicitation(w, frame);
    if (tcp != 0 && len >= tcp + 20 && load_be16(frame + tcp + 2) == PEER_PORT &&
        (frame[tcp + 13] & 4) == 0) {
        uint32_t seq_len = (uint32_t)(len - tcp) - (uint32_t)(frame[tcp + 12] >> 4) * 4;
        seq_len += (frame[tcp + 13] & 1) + (frame[tcp + 13] >> 1 & 1);
        w->our_seq[load_be16(frame + 12) == ETH_TYPE_IP6] = load_be32(frame + tcp + 4) + seq_len;
    }
}

static void user_turn(struct world *w)
{
    uint32_t events;
    struct net_conn *c;

    for (int i = 0; i < STEPS_MAX && (c = net_next_event(w->net, &events)) != NULL; i++) {
        if ((events & NET_EVENT_CLOSED) != 0) {
            net_release(c, w->now_us);
            continue;
        }
        for (struct span in = net_peek(c); in.len > 0; in = net_peek(c)) {
            size_t took = net_send(c, in, w->now_us);
            net_consume(c, in.len, w->now_us);
            if (took < in.len)
                break;
        }
        if ((events & NET_EVENT_PEER_FIN) != 0)
            net_close(c, w->now_us);
    }
}

static void turn(struct world *w)
{
    uint8_t room[FRAME_MAX];

    user_turn(w);
    net_timers(w->net, w->now_us, 100);
    user_turn(w);
    for (int i = 0; i < STEPS_MAX && net_has_output(w->net); i++) {
        struct frame f = {.data = room, .cap = sizeof room};
        if (net_output(w->net, w->now_us, &f, 1) == 0)
            break;
        look_at(w, room, f.len);
    }
}

/* ---- records ---- */

static void fix_checksums(uint8_t *frame, size_t len)
{
    bool ip6 = len >= 54 && load_be16(frame + 12) == ETH_TYPE_IP6;
    bool ip4 = len >= 34 && load_be16(frame + 12) == ETH_TYPE_IP4;
    size_t at = ip6 ? 54 : ETH_HEADER_LEN + (size_t)(frame[14] & 15) * 4;
    uint8_t proto = ip6 ? frame[20] : frame[23];
    size_t field = proto == IP_PROTO_TCP ? 16 : 2;
    size_t end = ip6 ? 54u + load_be16(frame + 18) : 14u + load_be16(frame + 16);

    if ((!ip4 && !ip6) || at > len || end < at || end > len)
        return;
    if (ip4) {
        store_be16(frame + 24, 0);
        store_be16(frame + 24, (uint16_t)~checksum_sum(span_of(frame + 14, at - 14), 0));
    }
    if (end - at < field + 2)
        return;
    struct net_addr src = ip6 ? addr_ip6(frame + 22) : addr_ip4(frame + 26);
    struct net_addr dst = ip6 ? addr_ip6(frame + 38) : addr_ip4(frame + 30);
    uint16_t pseudo = proto == IP_PROTO_ICMP ? 0 : checksum_pseudo(&src, &dst, proto, (uint32_t)(end - at));
    store_be16(frame + at + field, 0);
    store_be16(frame + at + field, (uint16_t)~checksum_sum(span_of(frame + at, end - at), pseudo));
}

static void fix_sequence(const struct world *w, uint8_t *frame, size_t len)
{
    size_t at = l4_offset(frame, len, IP_PROTO_TCP);

    /* The peer's own first number is 0: its numbers are offsets already. */
    if (at != 0 && len >= at + 20)
        store_be32(frame + at + 8, load_be32(frame + at + 8) + w->our_seq[at == 54]);
}

static void step(struct world *w, uint8_t control, const uint8_t *bytes, size_t len)
{
    uint8_t frame[FRAME_MAX];

    w->now_us += ((UINT64_C(1) << (control >> 2) % 18) - 1) * 1000;
    turn(w);
    memcpy(frame, bytes, len);
    /* The readers below look at fixed places of longer frames only. */
    if ((control & 2) != 0)
        fix_sequence(w, frame, len);
    if ((control & 1) != 0 && len >= 34)
        fix_checksums(frame, len);
    input(w, frame, len);
    turn(w);
}

/* SYN and, once the answer is there, ACK; both through the same door as everything else. */
static void connect_over(struct world *w, bool ip6)
{
    struct net_addr src = w->net->config.addrs[ip6].addr, dst = src;
    size_t at = ip6 ? 54 : 34;
    uint8_t frame[78] = {0};
    uint8_t *tcp = frame + at;

    src.bytes[ip6 ? 15 : 3] = 2;
    memcpy(frame, OUR_MAC, 6);
    memcpy(frame + 6, PEER_MAC, 6);
    store_be16(frame + 12, ip6 ? ETH_TYPE_IP6 : ETH_TYPE_IP4);
    ip_header_write(frame + 14, &src, &dst, IP_PROTO_TCP, 24, 64, false);
    store_be16(tcp, PEER_PORT);
    store_be16(tcp + 2, 443);
    store_be16(tcp + 14, 8192);
    tcp[12] = 6 << 4;
    tcp[13] = 2;
    memcpy(tcp + 20, "\2\4\5\xb4", 4);
    step(w, 1, frame, at + 24);
    turn(w);
    memcpy(tcp + 20, "\1\1\1\1", 4);
    store_be32(tcp + 4, 1);
    tcp[13] = 16;
    step(w, 3, frame, at + 24);
}

static void configure(struct net_config *c)
{
    static const struct net_prefix ours[2] = {
        {.addr = {.family = NET_IP4, .bytes = {192, 0, 2, 1}}, .len = 24},
        {.addr = {.family = NET_IP6, .bytes = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}}, .len = 64}};

    net_config_defaults(c);
    memcpy(c->mac, OUR_MAC, 6);
    memset(c->seed, 1, sizeof c->seed);
    memcpy(c->addrs, ours, sizeof ours);
    c->addr_count = 2;
    c->routes[0] = (struct net_route){.dst.addr.family = NET_IP4,
                                      .gateway = {.family = NET_IP4, .bytes = {192, 0, 2, 254}}};
    c->route_count = 1;
    c->ports[0] = 443;
    c->port_count = 1;
    c->conns_max = 16;
    c->recv_buffer = c->send_buffer = 4096;
    c->recv_buffers_max = c->send_buffers_max = 8;
}

static void run_records(struct world *w, const uint8_t *data, size_t size)
{
    for (int steps = 0; size >= 3 && steps < STEPS_MAX; steps++) {
        size_t len = load_be16(data + 1);
        if (len > size - 3)
            len = size - 3;
        if (len > FRAME_MAX)
            len = FRAME_MAX;
        step(w, data[0], data + 3, len);
        data += 3 + len;
        size -= 3 + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    struct net_config c;

    if (size == 0)
        return 0;
    memset(&w, 0, sizeof w);
    configure(&c);
    w.now_us = 1000000;
    struct arena *a = arena_new(net_memory_needed(&c), false);
    CHECK(a != NULL);
    w.net = net_new(&c, a, &w.counters, w.now_us);
    arena_seal(a);
    for (int ip6 = 0; ip6 < 2; ip6++)
        if ((data[0] >> ip6 & 1) != 0)
            connect_over(&w, ip6);
    run_records(&w, data + 1, size - 1);
    arena_free(a);
    return 0;
}
