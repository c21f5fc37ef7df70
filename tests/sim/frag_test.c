/* L5: datagrams in fragments, within bounds (RFC 791, 1858, 3168, 5722, 6946, 6980, 7112, 8200). */
#include "tests/sim/link_rig.h"

#include "base/limits.h"

#define DATAGRAM_MAX 65535

/* What is to be sent in pieces: the upper layer's bytes. */
struct whole {
    struct net_addr src, dst;
    uint8_t proto;
    uint32_t id;
    uint16_t len;
    uint8_t bytes[DATAGRAM_MAX];
};

static void whole_from(struct whole *w, const struct packet *p, const struct net_addr *src)
{
    int family = type_of(p) == 0x86dd ? 6 : 4;
    uint16_t before = family == 6 ? 54 : 34;

    w->src = *src;
    w->dst = our(family);
    w->proto = p->bytes[family == 6 ? 20 : 23];
    w->id = 0x1234;
    w->len = (uint16_t)(p->len - before);
    memcpy(w->bytes, p->bytes + before, w->len);
}

/* A TCP segment of 20 + payload_len bytes. */
static void segment_from(struct whole *w, const struct net_addr *src, uint16_t payload_len)
{
    struct net_addr us = our(src->family);
    struct packet p = tcp_packet(src, &us, payload_len);

    whole_from(w, &p, src);
}

static void segment(struct whole *w, int family, uint16_t payload_len)
{
    struct net_addr from = stranger(family);

    segment_from(w, &from, payload_len);
}

/* Bytes [at, at + len) of w, in a fragment of their own, whatever the rules say about that. */
static struct packet raw_piece(const struct whole *w, uint32_t at, const uint8_t *bytes, uint16_t len,
                               bool more)
{
    struct packet p;

    if (w->dst.family == NET_IP6) {
        uint8_t l4_bytes[1500] = {w->proto, 0, (uint8_t)(at >> 8), (uint8_t)(at | more)};
        store_be32(l4_bytes + 4, w->id);
        memcpy(l4_bytes + 8, bytes, len);
        return ip_packet_to(&w->src, &w->dst, 44, l4_bytes, (uint16_t)(8 + len));
    }
    p = ip_packet_to(&w->src, &w->dst, w->proto, bytes, len);
    store_be16(p.bytes + 18, (uint16_t)w->id);
    store_be16(p.bytes + 20, (uint16_t)(at / 8 | (more ? 0x2000 : 0)));
    fix_ip4_checksum(&p);
    return p;
}

static struct packet piece(const struct whole *w, uint32_t at, uint16_t len)
{
    return raw_piece(w, at, w->bytes + at, len, at + len < w->len);
}

static void send_piece(struct rig *r, const struct whole *w, uint32_t at, uint16_t len)
{
    struct packet p = piece(w, at, len);

    rig_send(r, &p);
}

static void refuse_piece(struct rig *r, const struct whole *w, uint32_t at, uint16_t len, enum reason why)
{
    struct packet p = piece(w, at, len);

    rig_send_refused(r, &p, why);
}

static struct net_gauges gauges(const struct rig *r)
{
    struct net_gauges g;

    net_gauges(r->net, &g);
    return g;
}

/* Nothing of any datagram is held. */
static void assert_empty(struct rig *r)
{
    assert_int_equal(gauges(r).frag_datagrams, 0);
    assert_int_equal(gauges(r).frag_bytes, 0);
}

static void assert_arrived(struct rig *r, const struct whole *w, unsigned times)
{
    const struct tcp *t = r->net->tcp;

    assert_int_equal(t->inputs, times);
    assert_int_equal(t->last.payload.len, w->len);
    assert_memory_equal(t->payload, w->bytes, w->len);
    assert_true(net_addr_equal(&t->last.src, &w->src) && net_addr_equal(&t->last.dst, &w->dst));
    assert_true(t->last_csum_ok);
    assert_true(t->last.fragmented);
}

/* ---- what is put together ---- */

static void l5_segment_in_two_fragments_reaches_tcp(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 100);
    send_piece(r, &w, 0, 64);
    assert_int_equal(r->net->tcp->inputs, 0);
    assert_int_equal(gauges(r).frag_datagrams, 1);
    assert_int_equal(gauges(r).frag_bytes, 1536); /* an MTU, rounded up to whole cache lines */
    send_piece(r, &w, 64, 56);
    assert_arrived(r, &w, 1);
    assert_int_equal(rig_count(r, REASON_FRAG_REASSEMBLED), 1);
    assert_empty(r);
    rig_free(r);
}
BOTH_FAMILIES(l5_segment_in_two_fragments_reaches_tcp)

/* Every order of four pieces. */
static void l5_order_of_fragments_does_not_matter(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);
    unsigned arrived = 0;

    segment(&w, family, 108);
    for (unsigned code = 0; code < 256; code++) {
        unsigned order[4] = {code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6};
        if ((1u << order[0] | 1u << order[1] | 1u << order[2] | 1u << order[3]) != 15)
            continue;
        w.id++;
        for (int i = 0; i < 4; i++)
            send_piece(r, &w, order[i] * 32, 32);
        assert_arrived(r, &w, ++arrived);
    }
    assert_int_equal(arrived, 24);
    assert_empty(r);
    rig_free(r);
}
BOTH_FAMILIES(l5_order_of_fragments_does_not_matter)

/* 65535 bytes are what the length field of an IPv4 header can say; IPv6 counts without its fixed header. */
static void l5_longest_datagram_is_put_together(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);
    uint16_t len = family == 6 ? DATAGRAM_MAX : DATAGRAM_MAX - 20;

    segment(&w, family, 0);
    w.len = len;
    for (uint16_t i = 20; i < len; i++)
        w.bytes[i] = (uint8_t)(i * 3 + (i >> 8));
    for (uint32_t at = 0; at < len; at += 1024)
        send_piece(r, &w, at, (uint16_t)(len - at < 1024 ? len - at : 1024));
    assert_int_equal(r->net->tcp->inputs, 1);
    assert_int_equal(r->net->tcp->last.payload.len, len);
    assert_memory_equal(r->net->tcp->payload, w.bytes, len);
    assert_empty(r);
    rig_free(r);
}
BOTH_FAMILIES(l5_longest_datagram_is_put_together)

static void l5_fragments_of_different_datagrams_do_not_mix(int family)
{
    static struct whole a, b;
    struct rig *r = rig_new(NULL);
    struct net_addr other = peer(family);

    segment(&a, family, 100);
    b = a;
    b.id++;
    send_piece(r, &a, 0, 64);
    send_piece(r, &b, 64, 56);
    b = a;
    b.src = other;
    send_piece(r, &b, 64, 56);
    assert_int_equal(r->net->tcp->inputs, 0);
    assert_int_equal(gauges(r).frag_datagrams, 3);
    send_piece(r, &a, 64, 56);
    assert_arrived(r, &a, 1);
    rig_free(r);
}
BOTH_FAMILIES(l5_fragments_of_different_datagrams_do_not_mix)

static void l5_ip4_fragments_of_different_protocols_do_not_mix(void **state)
{
    static struct whole a, b;
    struct rig *r = rig_new(NULL);

    (void)state;
    segment(&a, 4, 100);
    b = a;
    b.proto = 132;
    send_piece(r, &a, 0, 64);
    send_piece(r, &b, 64, 56);
    assert_int_equal(r->net->tcp->inputs, 0);
    rig_free(r);
}

static void l5_fragmented_echo_request_is_answered(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet request = echo_request(&from, &us, 600), reply;

    teach(r, &from, PEER_MAC);
    whole_from(&w, &request, &from);
    send_piece(r, &w, 304, (uint16_t)(w.len - 304));
    send_piece(r, &w, 0, 304);
    rig_expect(r, is_echo_reply, &reply);
    assert_int_equal(reply.len, request.len);
    assert_memory_equal(l4(&reply) + 4, l4(&request) + 4, 604);
    rig_free(r);
}
BOTH_FAMILIES(l5_fragmented_echo_request_is_answered)

static void l5_echo_request_longer_than_the_mtu_is_not_answered(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet request = echo_request(&from, &us, 1400);

    teach(r, &from, PEER_MAC);
    whole_from(&w, &request, &from);
    /* Zeros behind it leave its checksum right. */
    w.len = 2000;
    if (family == 6) /* but for the length in the pseudo-header */
        store_be16(w.bytes + 2, (uint16_t)(load_be16(w.bytes + 2) - (2000 - 1408)));
    send_piece(r, &w, 0, 1000);
    send_piece(r, &w, 1000, 1000);
    assert_int_equal(rig_count(r, REASON_ICMP_ECHO_TOO_LONG), 1);
    assert_int_equal(rig_discard(r), 0);
    rig_free(r);
}
BOTH_FAMILIES(l5_echo_request_longer_than_the_mtu_is_not_answered)

/* The device cannot have looked at the checksum of a segment of which it saw a part. */
static void l5_device_s_word_about_a_fragment_is_not_the_segment_s(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 100);
    w.bytes[16] ^= 1;
    for (uint32_t at = 0; at < 120; at += 64) {
        struct packet p = piece(&w, at, at == 0 ? 64 : 56);
        struct frame f = {.data = p.bytes, .len = p.len, .cap = p.len, .flags = FRAME_RX_L4_CSUM_GOOD};
        net_input(r->net, &f, 1, sim_now(r->sim));
    }
    assert_int_equal(r->net->tcp->inputs, 1);
    assert_false(r->net->tcp->last_csum_ok);
    rig_free(r);
}
BOTH_FAMILIES(l5_device_s_word_about_a_fragment_is_not_the_segment_s)

static void l5_link_padding_of_a_fragment_is_cut_off(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 100);
    struct packet p = piece(&w, 112, 8);
    packet_put(&p, "paddingpadding", 14);
    send_piece(r, &w, 0, 112);
    rig_send(r, &p);
    assert_arrived(r, &w, 1);
    rig_free(r);
}
BOTH_FAMILIES(l5_link_padding_of_a_fragment_is_cut_off)

static void set_tos(struct packet *p, uint8_t tos)
{
    if (type_of(p) == 0x86dd) {
        p->bytes[14] = (uint8_t)(0x60 | tos >> 4);
        p->bytes[15] = (uint8_t)(tos << 4);
    } else {
        p->bytes[15] = tos;
        fix_ip4_checksum(p);
    }
}

static void l5_congestion_met_by_one_fragment_is_the_datagram_s(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 100);
    struct packet a = piece(&w, 0, 64), b = piece(&w, 64, 56);
    set_tos(&a, 0xb8 | 2);
    set_tos(&b, 0xb8 | 3);
    rig_send(r, &a);
    rig_send(r, &b);
    assert_int_equal(r->net->tcp->last.tos, 0xb8 | 3);
    rig_free(r);
}
BOTH_FAMILIES(l5_congestion_met_by_one_fragment_is_the_datagram_s)

static void l5_congestion_beside_a_fragment_without_ecn_is_refused(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 100);
    struct packet a = piece(&w, 0, 64), b = piece(&w, 64, 56);
    set_tos(&b, 3);
    rig_send(r, &a);
    rig_send_refused(r, &b, REASON_FRAG_MIXED_ECN);
    rig_free(r);
}
BOTH_FAMILIES(l5_congestion_beside_a_fragment_without_ecn_is_refused)

static void l5_ip4_fragment_with_options_is_put_together(void **state)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    (void)state;
    segment(&w, 4, 100);
    struct packet p = piece(&w, 0, 64), q = {.len = 34};
    memcpy(q.bytes, p.bytes, 34);
    q.bytes[14] = 0x46;
    packet_put(&q, "\x94\x04\0\0", 4);
    packet_put(&q, p.bytes + 34, 64);
    store_be16(q.bytes + 16, 24 + 64);
    fix_ip4_checksum(&q);
    send_piece(r, &w, 64, 56);
    rig_send(r, &q);
    assert_arrived(r, &w, 1);
    assert_int_equal(r->net->tcp->last.header.len, 24);
    rig_free(r);
}

/* The fragment header goes, the headers before and behind it stay. */
static void l5_ip6_headers_around_the_fragment_header_are_walked(void **state)
{
    static const uint8_t before[8] = {44, 0, 1, 4}, behind[8] = {6, 0, 1, 4};
    static struct whole w;
    struct rig *r = rig_new(NULL);
    uint8_t first[8 + 8 + 8 + 64], last[8 + 8 + 56] = {44, 0, 1, 4, 0, 0, 0, 0, 60, 0, 0, 72};

    (void)state;
    segment(&w, 6, 100);
    memcpy(first, before, 8);
    memcpy(first + 8, "\x3c\0\0\1\0\0\0\0", 8);
    memcpy(first + 16, behind, 8);
    memcpy(first + 24, w.bytes, 64);
    memcpy(last + 16, w.bytes + 64, 56);
    struct packet p = ip_packet_to(&w.src, &w.dst, 60, first, sizeof first);
    struct packet q = ip_packet_to(&w.src, &w.dst, 60, last, sizeof last);
    rig_send(r, &p);
    rig_send(r, &q);
    assert_arrived(r, &w, 1);
    assert_int_equal(r->net->tcp->last.header.len, 40 + 8 + 8);
    rig_free(r);
}

static void l4_ip6_atomic_fragment_is_independent_of_other_fragments(void **state)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    (void)state;
    segment(&w, 6, 100);
    send_piece(r, &w, 0, 64);
    struct packet atomic = raw_piece(&w, 0, w.bytes, 120, false);
    rig_send(r, &atomic);
    assert_arrived(r, &w, 1);
    assert_int_equal(gauges(r).frag_datagrams, 1);
    rig_free(r);
}

/* ---- what is refused ---- */

static void l5_same_fragment_twice_is_tolerated(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    send_piece(r, &w, 0, 64);
    refuse_piece(r, &w, 0, 64, REASON_FRAG_DUPLICATE);
    send_piece(r, &w, 96, 32);
    refuse_piece(r, &w, 96, 32, REASON_FRAG_DUPLICATE);
    send_piece(r, &w, 64, 32);
    assert_arrived(r, &w, 1);
    rig_free(r);
}
BOTH_FAMILIES(l5_same_fragment_twice_is_tolerated)

/* [32, 64) of 128 bytes is there; `bad` comes, and then everything that was missing. */
static void overlap_kills(int family, uint32_t at, const uint8_t *bytes, uint16_t len, bool more)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    send_piece(r, &w, 32, 32);
    struct packet bad = raw_piece(&w, at, bytes != NULL ? bytes : w.bytes + at, len, more);
    rig_send_refused(r, &bad, REASON_FRAG_OVERLAP);
    assert_int_equal(gauges(r).frag_bytes, 0);
    refuse_piece(r, &w, 0, 32, REASON_FRAG_DEAD);
    refuse_piece(r, &w, 32, 32, REASON_FRAG_DEAD);
    refuse_piece(r, &w, 64, 64, REASON_FRAG_DEAD);
    rig_free(r);
}

static void l5_overlap_at_the_front_drops_the_datagram(int family)
{
    overlap_kills(family, 0, NULL, 40, true);
}
BOTH_FAMILIES(l5_overlap_at_the_front_drops_the_datagram)

static void l5_overlap_at_the_back_drops_the_datagram(int family)
{
    overlap_kills(family, 56, NULL, 40, true);
}
BOTH_FAMILIES(l5_overlap_at_the_back_drops_the_datagram)

static void l5_fragment_inside_another_drops_the_datagram(int family)
{
    overlap_kills(family, 40, NULL, 8, true);
}
BOTH_FAMILIES(l5_fragment_inside_another_drops_the_datagram)

static void l5_fragment_around_another_drops_the_datagram(int family)
{
    overlap_kills(family, 24, NULL, 72, true);
}
BOTH_FAMILIES(l5_fragment_around_another_drops_the_datagram)

static void l5_same_place_with_other_bytes_drops_the_datagram(int family)
{
    static const uint8_t other[32] = {1, 2, 3};

    overlap_kills(family, 32, other, 32, true);
}
BOTH_FAMILIES(l5_same_place_with_other_bytes_drops_the_datagram)

static void l5_same_fragment_that_is_suddenly_the_last_drops_the_datagram(int family)
{
    overlap_kills(family, 32, NULL, 32, false);
}
BOTH_FAMILIES(l5_same_fragment_that_is_suddenly_the_last_drops_the_datagram)

static void l5_end_before_a_fragment_that_is_there_drops_the_datagram(int family)
{
    overlap_kills(family, 24, NULL, 8, false);
}
BOTH_FAMILIES(l5_end_before_a_fragment_that_is_there_drops_the_datagram)

static void l5_fragment_beyond_the_end_drops_the_datagram(int family)
{
    static const uint8_t some[8];
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    send_piece(r, &w, 96, 32);
    struct packet beyond = raw_piece(&w, 128, some, 8, true);
    rig_send_refused(r, &beyond, REASON_FRAG_OVERLAP);
    rig_free(r);
}
BOTH_FAMILIES(l5_fragment_beyond_the_end_drops_the_datagram)

static void l5_second_end_drops_the_datagram(int family)
{
    static const uint8_t some[8];
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    send_piece(r, &w, 96, 32);
    struct packet second = raw_piece(&w, 128, some, 8, false);
    rig_send_refused(r, &second, REASON_FRAG_OVERLAP);
    rig_free(r);
}
BOTH_FAMILIES(l5_second_end_drops_the_datagram)

static void l5_dropped_datagram_is_forgotten_after_30_seconds(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    send_piece(r, &w, 0, 64);
    refuse_piece(r, &w, 32, 64, REASON_FRAG_OVERLAP);
    rig_wait(r, 30000000);
    assert_empty(r);
    assert_int_equal(rig_count(r, REASON_FRAG_TIMEOUT), 0);
    send_piece(r, &w, 0, 64);
    send_piece(r, &w, 64, 64);
    assert_arrived(r, &w, 1);
    rig_free(r);
}
BOTH_FAMILIES(l5_dropped_datagram_is_forgotten_after_30_seconds)

/* Each of the last three reaches one byte or more beyond 65535. */
static void l5_ping_of_death_is_refused(int family)
{
    static const uint8_t some[64];
    static struct whole w;
    struct rig *r = rig_new(NULL);
    uint16_t fits = family == 6 ? 7 : 3;

    segment(&w, family, 108);
    struct packet last = raw_piece(&w, family == 6 ? 65528 : 65512, some, fits, false);
    rig_send(r, &last);
    assert_int_equal(gauges(r).frag_datagrams, 1);
    for (uint16_t len = (uint16_t)(fits + 1); len < 64; len += 20) {
        struct packet p = raw_piece(&w, family == 6 ? 65528 : 65512, some, len, false);
        rig_send_refused(r, &p, REASON_FRAG_BEYOND);
    }
    rig_free(r);
}
BOTH_FAMILIES(l5_ping_of_death_is_refused)

static void l5_ip4_options_of_the_first_fragment_count_towards_the_length(void **state)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    (void)state;
    segment(&w, 4, 0);
    w.len = DATAGRAM_MAX - 20;
    for (uint32_t at = 1024; at < w.len; at += 1024)
        send_piece(r, &w, at, (uint16_t)(w.len - at < 1024 ? w.len - at : 1024));
    struct packet p = piece(&w, 0, 1024), q = {.len = 34};
    memcpy(q.bytes, p.bytes, 34);
    q.bytes[14] = 0x46;
    packet_put(&q, "\x94\x04\0\0", 4);
    packet_put(&q, p.bytes + 34, 1024);
    store_be16(q.bytes + 16, 24 + 1024);
    fix_ip4_checksum(&q);
    rig_send_refused(r, &q, REASON_FRAG_BEYOND);
    rig_free(r);
}

static void l5_length_that_is_no_multiple_of_eight_is_refused(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    for (uint16_t len = 33; len < 40; len++)
        refuse_piece(r, &w, 32, len, REASON_FRAG_BAD_LENGTH);
    assert_empty(r);
    rig_free(r);
}
BOTH_FAMILIES(l5_length_that_is_no_multiple_of_eight_is_refused)

static void l5_fragment_without_data_is_refused(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    for (uint32_t at = 0; at < 64; at += 32) {
        struct packet p = raw_piece(&w, at, w.bytes, 0, true);
        rig_send_refused(r, &p, REASON_FRAG_BAD_LENGTH);
    }
    struct packet last = raw_piece(&w, 128, w.bytes, 0, false);
    rig_send_refused(r, &last, REASON_FRAG_BAD_LENGTH);
    rig_free(r);
}
BOTH_FAMILIES(l5_fragment_without_data_is_refused)

static void l5_tcp_header_must_lie_in_the_first_fragment(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    refuse_piece(r, &w, 0, 8, REASON_FRAG_TINY);
    refuse_piece(r, &w, 0, 16, REASON_FRAG_TINY);
    assert_empty(r);
    send_piece(r, &w, 0, 24);
    send_piece(r, &w, 24, 104);
    assert_arrived(r, &w, 1);
    rig_free(r);
}

static void l5_tcp_header_split_over_fragments_is_refused_ip4(void **state)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    (void)state;
    l5_tcp_header_must_lie_in_the_first_fragment(4);
    segment(&w, 4, 108);
    refuse_piece(r, &w, 8, 64, REASON_FRAG_TINY);
    refuse_piece(r, &w, 16, 64, REASON_FRAG_TINY);
    rig_free(r);
}

/* RFC 7112 5: its sender is told so. */
static void l5_tcp_header_split_over_fragments_is_refused_ip6(void **state)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6);
    struct packet e;

    (void)state;
    segment_from(&w, &from, 108);
    teach(r, &from, PEER_MAC);
    send_piece(r, &w, 0, 16);
    assert_int_equal(rig_count(r, REASON_FRAG_TINY), 1);
    rig_expect(r, is_icmp_error, &e);
    assert_int_equal(l4(&e)[0], 4);
    assert_int_equal(l4(&e)[1], 3);
    assert_empty(r);
    rig_free(r);
}

static void l5_ip6_extension_header_split_over_fragments_is_refused(void **state)
{
    static const uint8_t l4_bytes[16] = {60, 0, 0, 1, 0, 0, 0, 1, 6, 1, 1, 4};
    struct rig *r = rig_new(NULL);
    struct net_addr from = stranger(6), us = our(6);
    struct packet p = ip_packet_to(&from, &us, 44, l4_bytes, sizeof l4_bytes);

    (void)state;
    rig_send(r, &p);
    assert_int_equal(rig_count(r, REASON_FRAG_TINY), 1);
    assert_empty(r);
    rig_free(r);
}

static void l5_ip6_fragment_of_a_fragment_is_refused(void **state)
{
    static struct whole inner, w;
    struct rig *r = rig_new(NULL);

    (void)state;
    segment(&inner, 6, 100);
    w = inner;
    w.proto = 44;
    w.len = 128;
    memcpy(w.bytes, "\x06\0\0\1\0\0\0\x09", 8);
    memcpy(w.bytes + 8, inner.bytes, 120);
    send_piece(r, &w, 0, 64);
    send_piece(r, &w, 64, 64);
    assert_int_equal(rig_count(r, REASON_FRAG_NESTED), 1);
    assert_int_equal(r->net->tcp->inputs, 0);
    assert_empty(r);
    rig_free(r);
}

static void l5_ip6_fragment_to_a_group_is_refused(void **state)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    (void)state;
    segment(&w, 6, 100);
    w.dst = addr("ff02::1");
    refuse_piece(r, &w, 0, 64, REASON_FRAG_TO_GROUP);
    rig_free(r);
}

/* RFC 6980: in fragments or as an atomic one. */
static void l5_ip6_neighbour_discovery_in_fragments_is_refused(void **state)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet question = nd_packet(&from, &us, 135, 0, &us, 1, PEER_MAC), p;

    (void)state;
    whole_from(&w, &question, &from);
    for (int atomic = 0; atomic < 2; atomic++) {
        p = raw_piece(&w, 0, w.bytes, atomic ? w.len : 24, !atomic);
        p.bytes[21] = 255;
        rig_send(r, &p);
        if (!atomic) {
            p = raw_piece(&w, 24, w.bytes + 24, 8, false);
            p.bytes[21] = 255;
            rig_send(r, &p);
        }
        assert_int_equal(rig_count(r, REASON_NDP_FRAGMENTED), 1 + atomic);
    }
    assert_int_equal(rig_count(r, REASON_NDP_ANSWERED), 0);
    rig_free(r);
}

/* ---- time ---- */

static void l5_datagram_is_given_up_30_seconds_after_its_first_fragment(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    send_piece(r, &w, 32, 32);
    rig_wait(r, 20000000);
    send_piece(r, &w, 96, 32);
    rig_wait(r, 9900000);
    assert_int_equal(gauges(r).frag_datagrams, 1);
    assert_true(net_next_timer(r->net) <= sim_now(r->sim) + 100000);
    rig_wait(r, 100000);
    assert_int_equal(rig_count(r, REASON_FRAG_TIMEOUT), 1);
    assert_empty(r);
    rig_free(r);
}
BOTH_FAMILIES(l5_datagram_is_given_up_30_seconds_after_its_first_fragment)

static void l5_late_fragment_begins_anew(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    send_piece(r, &w, 32, 96);
    rig_wait(r, 30000000);
    send_piece(r, &w, 0, 32);
    assert_int_equal(r->net->tcp->inputs, 0);
    assert_int_equal(gauges(r).frag_datagrams, 1);
    rig_free(r);
}
BOTH_FAMILIES(l5_late_fragment_begins_anew)

static void l5_time_exceeded_quotes_the_first_fragment(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family);
    struct packet e;

    segment_from(&w, &from, 108);
    struct packet first = piece(&w, 0, 64);
    rig_send(r, &first);
    rig_wait(r, 30000000);
    answer_question(r, &from, PEER_MAC);
    rig_expect(r, is_icmp_error, &e);
    assert_int_equal(l4(&e)[0], family == 6 ? 3 : 11);
    assert_int_equal(l4(&e)[1], 1);
    assert_memory_equal(l4(&e) + 8, first.bytes + 14, first.len - 14);
    assert_int_equal(rig_count(r, REASON_ICMP_ERROR_SENT), 1);
    rig_free(r);
}
BOTH_FAMILIES(l5_time_exceeded_quotes_the_first_fragment)

static void l5_nothing_is_said_when_the_first_fragment_is_missing(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    send_piece(r, &w, 32, 96);
    rig_wait(r, 30000000);
    assert_int_equal(rig_count(r, REASON_FRAG_TIMEOUT), 1);
    assert_int_equal(rig_count(r, REASON_ICMP_ERROR_SENT), 0);
    assert_int_equal(rig_count(r, REASON_ICMP_ERROR_LIMITED), 0);
    rig_free(r);
}
BOTH_FAMILIES(l5_nothing_is_said_when_the_first_fragment_is_missing)

/* RFC 1122 3.2.2, RFC 4443 2.4 */
static void l5_nothing_is_said_about_fragments_of_an_icmp_error(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    w.proto = family == 6 ? 58 : 1;
    w.bytes[0] = family == 6 ? 1 : 3;
    send_piece(r, &w, 0, 64);
    rig_wait(r, 30000000);
    assert_int_equal(rig_count(r, REASON_FRAG_TIMEOUT), 1);
    assert_int_equal(rig_count(r, REASON_ICMP_ERROR_SENT), 0);
    rig_free(r);
}
BOTH_FAMILIES(l5_nothing_is_said_about_fragments_of_an_icmp_error)

static void l6_ip6_nothing_is_said_about_a_later_fragment(void **state)
{
    static const uint8_t l4_bytes[24] = {44, 0, 0x80, 4, 0, 0, 0, 0, 6, 0, 0, 64, 0, 0, 0, 1, 1, 2, 3, 4, 5};
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet p = ip_packet_to(&from, &us, 60, l4_bytes, sizeof l4_bytes);

    (void)state;
    teach(r, &from, PEER_MAC);
    rig_send_refused(r, &p, REASON_IP6_UNKNOWN_OPTION);
    rig_free(r);
}

/* ---- bounds ---- */

/* Another source of its own; far: of another IPv6 /64. */
static struct net_addr source(int family, uint32_t i)
{
    struct net_addr a = stranger(family);

    store_be32(family == 6 ? a.bytes + 4 : a.bytes, UINT32_C(0x08000000) + i * 256 + 1);
    return a;
}

static void l5_datagram_in_more_than_64_fragments_is_dropped(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 1400);
    for (uint32_t i = 0; i < 64; i++)
        send_piece(r, &w, 24 + i * 8, 8);
    refuse_piece(r, &w, 24 + 64 * 8, 8, REASON_FRAG_TOO_MANY);
    assert_int_equal(gauges(r).frag_bytes, 0);
    refuse_piece(r, &w, 0, 24, REASON_FRAG_DEAD);
    rig_free(r);
}
BOTH_FAMILIES(l5_datagram_in_more_than_64_fragments_is_dropped)

static void l5_source_s_newest_datagrams_push_out_its_oldest(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    for (w.id = 0; w.id < FRAG_SOURCE_DATAGRAMS + 3; w.id++) {
        send_piece(r, &w, 0, 64);
        rig_wait(r, 1000);
    }
    assert_int_equal(gauges(r).frag_datagrams, FRAG_SOURCE_DATAGRAMS);
    assert_int_equal(rig_count(r, REASON_FRAG_EVICTED), 3);
    for (w.id = 3; w.id < FRAG_SOURCE_DATAGRAMS + 3; w.id++)
        send_piece(r, &w, 64, 64);
    assert_int_equal(rig_count(r, REASON_FRAG_REASSEMBLED), FRAG_SOURCE_DATAGRAMS);
    rig_free(r);
}
BOTH_FAMILIES(l5_source_s_newest_datagrams_push_out_its_oldest)

static void l5_source_s_memory_is_bounded(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 1400);
    for (w.id = 0; w.id < 10; w.id++)
        for (uint32_t i = 0; i < 40; i++)
            send_piece(r, &w, i * 24, 24);
    assert_in_range(gauges(r).frag_bytes, 1, FRAG_SOURCE_BYTES);
    assert_true(gauges(r).frag_bytes > FRAG_SOURCE_BYTES / 2);
    assert_int_equal(rig_count(r, REASON_FRAG_TOO_MANY), 0);
    rig_free(r);
}
BOTH_FAMILIES(l5_source_s_memory_is_bounded)

static void l5_addresses_of_one_ip6_prefix_share_one_share(void **state)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    (void)state;
    segment(&w, 6, 108);
    for (uint8_t i = 0; i < 100; i++) {
        w.src.bytes[15] = i;
        send_piece(r, &w, 0, 64);
    }
    assert_int_equal(gauges(r).frag_datagrams, FRAG_SOURCE_DATAGRAMS);
    rig_free(r);
}

static void l5_memory_of_all_is_bounded(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 1400);
    for (uint32_t i = 0; i < 40; i++) {
        w.src = source(family, i);
        for (uint32_t at = 0; at < 40 * 24; at += 24)
            send_piece(r, &w, at, 24);
    }
    assert_in_range(gauges(r).frag_bytes, FRAG_BYTES / 10 * 9, FRAG_BYTES);
    assert_true(rig_count(r, REASON_FRAG_EVICTED) > 0);
    rig_free(r);
}
BOTH_FAMILIES(l5_memory_of_all_is_bounded)

static void l5_flood_from_made_up_sources_pushes_out_the_oldest(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    for (uint32_t i = 0; i < 5 * FRAG_DATAGRAMS; i++) {
        w.src = source(family, i);
        send_piece(r, &w, 0, 64);
    }
    assert_int_equal(gauges(r).frag_datagrams, FRAG_DATAGRAMS);
    assert_int_equal(rig_count(r, REASON_FRAG_EVICTED), 4 * FRAG_DATAGRAMS);
    rig_free(r);
}
BOTH_FAMILIES(l5_flood_from_made_up_sources_pushes_out_the_oldest)

/* Eight sources with all that they may have fill the table; the ninth's small datagrams are older than most. */
static void l5_flood_does_not_starve_other_sources(int family)
{
    static struct whole w, quiet;
    struct rig *r = rig_new(NULL);
    struct net_addr us = source(family, 99);

    segment_from(&quiet, &us, 108);
    segment(&w, family, 1400);
    send_piece(r, &quiet, 0, 64);
    send_piece(r, &quiet, 64, 32);
    rig_wait(r, 1000);
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t i = 0; i < 16; i++)
            for (w.id = round * 20; w.id < round * 20 + 20; w.id++) {
                w.src = source(family, i);
                for (uint32_t at = 0; at < 6 * 24; at += 24)
                    send_piece(r, &w, at, 24);
            }
    assert_true(rig_count(r, REASON_FRAG_EVICTED) > 500);
    send_piece(r, &quiet, 96, 32);
    assert_arrived(r, &quiet, 1);
    quiet.id++;
    send_piece(r, &quiet, 0, 64);
    send_piece(r, &quiet, 64, 64);
    assert_arrived(r, &quiet, 2);
    rig_free(r);
}
BOTH_FAMILIES(l5_flood_does_not_starve_other_sources)

static void l5_time_exceeded_is_limited(int family)
{
    static struct whole w;
    struct rig *r = rig_new(NULL);

    segment(&w, family, 108);
    for (uint32_t i = 0; i < FRAG_DATAGRAMS; i++) {
        w.src = source(family, i);
        send_piece(r, &w, 0, 64);
    }
    rig_wait(r, 30000000);
    assert_int_equal(rig_count(r, REASON_FRAG_TIMEOUT), FRAG_DATAGRAMS);
    assert_in_range(rig_count(r, REASON_ICMP_ERROR_LIMITED), FRAG_DATAGRAMS - 50, FRAG_DATAGRAMS - 25);
    assert_empty(r);
    rig_free(r);
}
BOTH_FAMILIES(l5_time_exceeded_is_limited)

static void jumbo(struct net_config *c, struct sim_config *s)
{
    c->mtu = s->mtu = 9000;
}

static void l5_jumbo_fragments_are_put_together(int family)
{
    static struct whole w;
    struct rig *r = rig_new(jumbo);

    segment(&w, family, 1400);
    send_piece(r, &w, 0, 1400);
    assert_int_equal(gauges(r).frag_bytes, 9024);
    send_piece(r, &w, 1400, 20);
    assert_arrived(r, &w, 1);
    rig_free(r);
}
BOTH_FAMILIES(l5_jumbo_fragments_are_put_together)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TESTS(l5_segment_in_two_fragments_reaches_tcp),
        BOTH_TESTS(l5_order_of_fragments_does_not_matter),
        BOTH_TESTS(l5_longest_datagram_is_put_together),
        BOTH_TESTS(l5_fragments_of_different_datagrams_do_not_mix),
        cmocka_unit_test(l5_ip4_fragments_of_different_protocols_do_not_mix),
        BOTH_TESTS(l5_fragmented_echo_request_is_answered),
        BOTH_TESTS(l5_device_s_word_about_a_fragment_is_not_the_segment_s),
        BOTH_TESTS(l5_link_padding_of_a_fragment_is_cut_off),
        BOTH_TESTS(l5_congestion_met_by_one_fragment_is_the_datagram_s),
        BOTH_TESTS(l5_congestion_beside_a_fragment_without_ecn_is_refused),
        cmocka_unit_test(l5_ip4_fragment_with_options_is_put_together),
        cmocka_unit_test(l5_ip6_headers_around_the_fragment_header_are_walked),
        cmocka_unit_test(l4_ip6_atomic_fragment_is_independent_of_other_fragments),
        BOTH_TESTS(l5_same_fragment_twice_is_tolerated),
        BOTH_TESTS(l5_overlap_at_the_front_drops_the_datagram),
        BOTH_TESTS(l5_overlap_at_the_back_drops_the_datagram),
        BOTH_TESTS(l5_fragment_inside_another_drops_the_datagram),
        BOTH_TESTS(l5_fragment_around_another_drops_the_datagram),
        BOTH_TESTS(l5_same_place_with_other_bytes_drops_the_datagram),
        BOTH_TESTS(l5_same_fragment_that_is_suddenly_the_last_drops_the_datagram),
        BOTH_TESTS(l5_end_before_a_fragment_that_is_there_drops_the_datagram),
        BOTH_TESTS(l5_fragment_beyond_the_end_drops_the_datagram),
        BOTH_TESTS(l5_second_end_drops_the_datagram),
        BOTH_TESTS(l5_dropped_datagram_is_forgotten_after_30_seconds),
        BOTH_TESTS(l5_ping_of_death_is_refused),
        cmocka_unit_test(l5_ip4_options_of_the_first_fragment_count_towards_the_length),
        BOTH_TESTS(l5_length_that_is_no_multiple_of_eight_is_refused),
        BOTH_TESTS(l5_fragment_without_data_is_refused),
        cmocka_unit_test(l5_tcp_header_split_over_fragments_is_refused_ip4),
        cmocka_unit_test(l5_tcp_header_split_over_fragments_is_refused_ip6),
        cmocka_unit_test(l5_ip6_extension_header_split_over_fragments_is_refused),
        cmocka_unit_test(l5_ip6_fragment_of_a_fragment_is_refused),
        cmocka_unit_test(l5_ip6_fragment_to_a_group_is_refused),
        cmocka_unit_test(l5_ip6_neighbour_discovery_in_fragments_is_refused),
        BOTH_TESTS(l5_datagram_is_given_up_30_seconds_after_its_first_fragment),
        BOTH_TESTS(l5_late_fragment_begins_anew),
        BOTH_TESTS(l5_nothing_is_said_when_the_first_fragment_is_missing),
        BOTH_TESTS(l5_nothing_is_said_about_fragments_of_an_icmp_error),
        cmocka_unit_test(l6_ip6_nothing_is_said_about_a_later_fragment),
        BOTH_TESTS(l5_datagram_in_more_than_64_fragments_is_dropped),
        BOTH_TESTS(l5_source_s_newest_datagrams_push_out_its_oldest),
        BOTH_TESTS(l5_source_s_memory_is_bounded),
        cmocka_unit_test(l5_addresses_of_one_ip6_prefix_share_one_share),
        BOTH_TESTS(l5_memory_of_all_is_bounded),
        BOTH_TESTS(l5_flood_from_made_up_sources_pushes_out_the_oldest),
        BOTH_TESTS(l5_flood_does_not_starve_other_sources),
        BOTH_TESTS(l5_time_exceeded_is_limited),
        BOTH_TESTS(l5_jumbo_fragments_are_put_together),
        BOTH_TESTS(l5_echo_request_longer_than_the_mtu_is_not_answered),
        BOTH_TESTS(l5_time_exceeded_quotes_the_first_fragment),
    };
    return RUN_TESTS("frag", tests);
}
