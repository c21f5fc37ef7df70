/* Ethernet, IPv4, IPv6 and the headers that TCP's segments leave with. */
#include "tests/sim/link_rig.h"

static void segment_reaches_tcp_unchanged(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = stranger(family), us = our(family);
    struct packet p = tcp_packet(&from, &us, 100);
    const struct tcp *t = r->net->tcp;

    rig_send(r, &p);
    assert_int_equal(t->inputs, 1);
    assert_int_equal(t->last.payload.len, 120);
    assert_memory_equal(t->payload, l4(&p), 120);
    assert_true(net_addr_equal(&t->last.src, &from) && net_addr_equal(&t->last.dst, &us));
    assert_true(t->last_csum_ok);
    rig_free(r);
}
BOTH_FAMILIES(segment_reaches_tcp_unchanged)

static void link_padding_is_cut_off(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet p = tcp_packet(&from, &us, 3);

    packet_put(&p, "paddingpadding", 14);
    rig_send(r, &p);
    assert_int_equal(r->net->tcp->last.payload.len, 23);
    assert_true(r->net->tcp->last_csum_ok);
    rig_free(r);
}
BOTH_FAMILIES(link_padding_is_cut_off)

static void wrong_tcp_checksum_is_seen(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet p = tcp_packet(&from, &us, 3);

    l4(&p)[21] ^= 1;
    rig_send(r, &p);
    assert_int_equal(r->net->tcp->inputs, 1);
    assert_false(r->net->tcp->last_csum_ok);
    rig_free(r);
}
BOTH_FAMILIES(wrong_tcp_checksum_is_seen)

/* Straight into net_input, with the flags that a driver would set. */
static void input_with_flags(struct rig *r, struct packet *p, uint16_t flags)
{
    struct frame f = {.data = p->bytes, .len = p->len, .cap = sizeof p->bytes, .flags = flags};

    net_input(r->net, &f, 1, sim_now(r->sim));
}

static void partial_checksum_is_accepted_on_the_driver_s_word_alone(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet p = tcp_packet(&from, &us, 3);

    l4(&p)[16] ^= 0xff;
    input_with_flags(r, &p, FRAME_RX_L4_CSUM_VOUCHED);
    assert_true(r->net->tcp->last_csum_ok);
    input_with_flags(r, &p, 0);
    assert_false(r->net->tcp->last_csum_ok);
    rig_free(r);
}
BOTH_FAMILIES(partial_checksum_is_accepted_on_the_driver_s_word_alone)

static void device_that_says_bad_is_checked(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet p = tcp_packet(&from, &us, 3);

    input_with_flags(r, &p, FRAME_RX_L4_CSUM_BAD | FRAME_RX_IP4_CSUM_BAD);
    assert_int_equal(r->net->tcp->inputs, 1);
    assert_true(r->net->tcp->last_csum_ok);
    rig_free(r);
}
BOTH_FAMILIES(device_that_says_bad_is_checked)

static void traffic_class_is_passed_on(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet p = tcp_packet(&from, &us, 3);

    if (family == 6) {
        p.bytes[14] = 0x60 | 0x0b;
        p.bytes[15] = 0xb0;
    } else {
        p.bytes[15] = 0xbb;
        fix_ip4_checksum(&p);
    }
    rig_send(r, &p);
    assert_int_equal(r->net->tcp->last.tos, 0xbb);
    rig_free(r);
}
BOTH_FAMILIES(traffic_class_is_passed_on)

/* ---- Ethernet ---- */

static struct packet any_tcp(int family)
{
    struct net_addr from = peer(family), us = our(family);

    return tcp_packet(&from, &us, 4);
}

static void runt_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet p = any_tcp(4);

    (void)state;
    for (p.len = 0; p.len < 14; p.len++)
        rig_send_refused(r, &p, REASON_ETH_RUNT);
    rig_free(r);
}

static void oversize_frame_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet p = any_tcp(4);

    (void)state;
    p.len = 1515;
    input_with_flags(r, &p, 0);
    assert_int_equal(rig_count(r, REASON_ETH_OVERSIZE), 1);
    assert_int_equal(r->net->tcp->inputs, 0);
    rig_free(r);
}

static void frame_for_another_mac_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet p = any_tcp(4);

    (void)state;
    memcpy(p.bytes, OTHER_MAC, 6);
    rig_send_refused(r, &p, REASON_ETH_NOT_OURS);
    rig_free(r);
}

static void frame_for_an_ip4_group_is_refused(void **state)
{
    static const uint8_t mdns[6] = {1, 0, 0x5e, 0, 0, 0xfb};
    struct rig *r = rig_new(NULL);
    struct packet p = any_tcp(4);

    (void)state;
    memcpy(p.bytes, mdns, 6);
    rig_send_refused(r, &p, REASON_ETH_NOT_OURS);
    rig_free(r);
}

static void source_mac_of_a_group_of_zeros_or_of_ours_is_refused(void **state)
{
    static const uint8_t zero[6];
    const uint8_t *const sources[] = {BROADCAST_MAC, zero, OUR_MAC};
    struct rig *r = rig_new(NULL);

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct packet p = any_tcp(4);
        memcpy(p.bytes + 6, sources[i], 6);
        rig_send_refused(r, &p, REASON_ETH_BAD_SOURCE);
    }
    rig_free(r);
}

static void tagged_frame_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet p = eth_packet(OUR_MAC, PEER_MAC, 0x8100), q = eth_packet(OUR_MAC, PEER_MAC, 0x88a8);

    (void)state;
    packet_put(&p, "\0\1\x08\0", 4);
    rig_send_refused(r, &p, REASON_ETH_VLAN);
    rig_send_refused(r, &q, REASON_ETH_VLAN);
    rig_free(r);
}

static void unknown_type_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet lldp = eth_packet(OUR_MAC, PEER_MAC, 0x88cc), llc = eth_packet(OUR_MAC, PEER_MAC, 38);

    (void)state;
    rig_send_refused(r, &lldp, REASON_ETH_UNKNOWN_TYPE);
    rig_send_refused(r, &llc, REASON_ETH_UNKNOWN_TYPE);
    rig_free(r);
}

static void packet_for_us_in_a_broadcast_frame_is_refused(int family)
{
    struct rig *r = rig_new(NULL);
    struct packet p = any_tcp(family);

    memcpy(p.bytes, BROADCAST_MAC, 6);
    rig_send_refused(r, &p, REASON_IP_LINK_GROUP);
    rig_free(r);
}
BOTH_FAMILIES(packet_for_us_in_a_broadcast_frame_is_refused)

/* ---- both families ---- */

static void packet_cut_anywhere_is_refused(int family)
{
    struct rig *r = rig_new(NULL);
    struct packet whole = any_tcp(family);

    for (uint16_t len = 14; len < whole.len; len++) {
        struct packet p = whole;
        p.len = len;
        rig_send_refused(r, &p, family == 6 ? REASON_IP6_TRUNCATED : REASON_IP4_TRUNCATED);
    }
    rig_free(r);
}
BOTH_FAMILIES(packet_cut_anywhere_is_refused)

static void other_version_is_refused(int family)
{
    struct rig *r = rig_new(NULL);
    struct packet p = any_tcp(family);

    p.bytes[14] = (uint8_t)((p.bytes[14] & 15) | 0x50);
    rig_send_refused(r, &p, family == 6 ? REASON_IP6_BAD_VERSION : REASON_IP4_BAD_VERSION);
    rig_free(r);
}
BOTH_FAMILIES(other_version_is_refused)

static void packet_for_another_host_is_refused(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), to = stranger(family);
    struct packet p = tcp_packet(&from, &to, 4);

    rig_send_refused(r, &p, family == 6 ? REASON_IP6_NOT_OURS : REASON_IP4_NOT_OURS);
    rig_free(r);
}
BOTH_FAMILIES(packet_for_another_host_is_refused)

static void martian_source_is_refused(int family)
{
    static const char *const sources4[] = {"0.0.0.0", "127.0.0.1", "224.0.0.9", "255.255.255.255",
                                           "192.0.2.255"};
    static const char *const sources6[] = {"::", "::1", "ff02::1", "::ffff:192.0.2.9", "ff05::2"};
    struct rig *r = rig_new(NULL);
    struct net_addr us = our(family);

    for (size_t i = 0; i < 5; i++) {
        struct net_addr from = addr(family == 6 ? sources6[i] : sources4[i]);
        struct packet p = tcp_packet(&from, &us, 4);
        rig_send_refused(r, &p, family == 6 ? REASON_IP6_MARTIAN_SOURCE : REASON_IP4_MARTIAN_SOURCE);
    }
    rig_free(r);
}
BOTH_FAMILIES(martian_source_is_refused)

static void packet_from_our_own_address_is_refused(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr us = our(family);
    struct packet p = tcp_packet(&us, &us, 4);

    rig_send_refused(r, &p, family == 6 ? REASON_IP6_MARTIAN_SOURCE : REASON_IP4_MARTIAN_SOURCE);
    rig_free(r);
}
BOTH_FAMILIES(packet_from_our_own_address_is_refused)

/* ---- IPv4 ---- */

static void ip4_header_checksum_is_checked(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet p = any_tcp(4);

    (void)state;
    p.bytes[22] ^= 1; /* TTL */
    rig_send_refused(r, &p, REASON_IP4_BAD_CHECKSUM);
    rig_free(r);
}

static void ip4_header_length_below_20_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);

    (void)state;
    for (uint8_t words = 0; words < 5; words++) {
        struct packet p = any_tcp(4);
        p.bytes[14] = 0x40 | words;
        rig_send_refused(r, &p, REASON_IP4_BAD_HEADER_LENGTH);
    }
    rig_free(r);
}

static void ip4_total_length_below_the_header_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet p = any_tcp(4);

    (void)state;
    store_be16(p.bytes + 16, 19);
    rig_send_refused(r, &p, REASON_IP4_BAD_HEADER_LENGTH);
    rig_free(r);
}

/* A segment behind a header with the given options, padded to words. */
static struct packet with_options(const void *options, uint8_t len)
{
    struct packet p = any_tcp(4), out = {.len = 34};
    uint8_t padded[40] = {0};
    uint8_t words = (uint8_t)((len + 3) / 4);

    memcpy(padded, options, len);
    memcpy(out.bytes, p.bytes, 34);
    out.bytes[14] = (uint8_t)(0x45 + words);
    store_be16(out.bytes + 16, (uint16_t)(load_be16(p.bytes + 16) + words * 4));
    packet_put(&out, padded, words * 4u);
    packet_put(&out, p.bytes + 34, p.len - 34u);
    fix_ip4_checksum(&out);
    return out;
}

static void ip4_options_are_skipped(void **state)
{
    static const uint8_t options[] = {1, 148, 4, 0, 0, 68, 8, 5, 0, 1, 2, 3, 4, 0, 99, 99};
    struct rig *r = rig_new(NULL);
    struct packet p = with_options(options, sizeof options);

    (void)state;
    rig_send(r, &p);
    assert_int_equal(r->net->tcp->inputs, 1);
    assert_true(r->net->tcp->last_csum_ok);
    rig_free(r);
}

static void ip4_source_routes_are_refused(void **state)
{
    static const uint8_t loose[] = {0x83, 7, 4, 192, 0, 2, 9}, strict[] = {1, 0x89, 7, 4, 192, 0, 2, 9};
    struct rig *r = rig_new(NULL);
    struct packet p = with_options(loose, sizeof loose), q = with_options(strict, sizeof strict);

    (void)state;
    rig_send_refused(r, &p, REASON_IP4_SOURCE_ROUTE);
    rig_send_refused(r, &q, REASON_IP4_SOURCE_ROUTE);
    rig_free(r);
}

static void ip4_option_with_an_impossible_length_is_refused(void **state)
{
    static const uint8_t options[][4] = {{148, 0, 0, 0}, {148, 1, 0, 0}, {148, 5, 0, 0}, {1, 1, 1, 148}};
    struct rig *r = rig_new(NULL);

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct packet p = with_options(options[i], 4);
        rig_send_refused(r, &p, REASON_IP4_BAD_OPTION);
    }
    rig_free(r);
}

static void ip4_low_ttl_is_no_reason_to_drop(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet p = any_tcp(4);

    (void)state;
    p.bytes[22] = 1;
    fix_ip4_checksum(&p);
    rig_send(r, &p);
    assert_int_equal(r->net->tcp->inputs, 1);
    rig_free(r);
}

/* ---- IPv6 extension headers ---- */

/* A segment from the peer behind the given extension headers; the last must name TCP. */
static struct packet behind(uint8_t first, const void *headers, uint16_t len)
{
    struct packet p = any_tcp(6), out = {.len = 54};

    memcpy(out.bytes, p.bytes, 54);
    out.bytes[20] = first;
    store_be16(out.bytes + 18, (uint16_t)(load_be16(p.bytes + 18) + len));
    packet_put(&out, headers, len);
    packet_put(&out, p.bytes + 54, p.len - 54u);
    return out;
}

static void reaches_tcp(uint8_t first, const void *headers, uint16_t len)
{
    struct rig *r = rig_new(NULL);
    struct packet p = behind(first, headers, len);

    rig_send(r, &p);
    assert_int_equal(r->net->tcp->inputs, 1);
    assert_true(r->net->tcp->last_csum_ok);
    rig_free(r);
}

static void is_refused(uint8_t first, const void *headers, uint16_t len, enum reason why)
{
    struct rig *r = rig_new(NULL);
    struct packet p = behind(first, headers, len);

    rig_send_refused(r, &p, why);
    rig_free(r);
}

/* A refusal that its sender is told of: type 4 with this code and pointer. */
static void is_refused_aloud(uint8_t first, const void *headers, uint16_t len, enum reason why, uint8_t code,
                             uint32_t pointer)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6);
    struct packet p = behind(first, headers, len), e;

    teach(r, &from, PEER_MAC);
    rig_send(r, &p);
    assert_int_equal(rig_count(r, why), 1);
    assert_int_equal(r->net->tcp->inputs, 0);
    rig_expect(r, is_icmp_error, &e);
    assert_int_equal(l4(&e)[0], 4);
    assert_int_equal(l4(&e)[1], code);
    assert_int_equal(load_be32(l4(&e) + 4), pointer);
    rig_free(r);
}

static void ip6_hop_by_hop_and_destination_options_are_skipped(void **state)
{
    static const uint8_t headers[] = {60, 0, 1,    4, 0, 0, 0, 0, 6, 1, 0, 0,
                                      1,  0, 0x3e, 8, 1, 2, 3, 4, 5, 6, 7, 8};

    (void)state;
    reaches_tcp(0, headers, sizeof headers);
}

static void ip6_atomic_fragment_is_a_whole_packet(void **state)
{
    static const uint8_t header[] = {6, 0, 0, 0, 1, 2, 3, 4};

    (void)state;
    reaches_tcp(44, header, sizeof header);
}

static void ip6_routing_header_without_segments_left_is_skipped(void **state)
{
    static const uint8_t header[] = {6, 0, 4, 0, 0, 0, 0, 0};

    (void)state;
    reaches_tcp(43, header, sizeof header);
}

static void ip6_routing_header_of_type_0_is_refused(void **state)
{
    static const uint8_t header[24] = {6, 2, 0, 0};

    (void)state;
    is_refused(43, header, sizeof header, REASON_IP6_ROUTING);
}

static void ip6_routing_header_with_segments_left_is_refused_aloud(void **state)
{
    static const uint8_t header[] = {6, 0, 4, 1, 0, 0, 0, 0};

    (void)state;
    is_refused_aloud(43, header, sizeof header, REASON_IP6_ROUTING, 0, 42);
}

static void ip6_eight_extension_headers_are_accepted(void **state)
{
    uint8_t headers[64] = {0};

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        headers[i * 8] = i == 7 ? 6 : 60;
        headers[i * 8 + 2] = 1;
        headers[i * 8 + 3] = 4;
    }
    reaches_tcp(60, headers, sizeof headers);
}

static void ip6_nine_extension_headers_are_refused(void **state)
{
    uint8_t headers[72] = {0};

    (void)state;
    for (size_t i = 0; i < 9; i++) {
        headers[i * 8] = i == 8 ? 6 : 60;
        headers[i * 8 + 2] = 1;
        headers[i * 8 + 3] = 4;
    }
    is_refused(60, headers, sizeof headers, REASON_IP6_CHAIN_TOO_LONG);
}

static void ip6_extension_header_beyond_the_packet_is_refused(void **state)
{
    static const uint8_t header[] = {6, 200, 1, 4, 0, 0, 0, 0};

    (void)state;
    is_refused(60, header, sizeof header, REASON_IP6_BAD_EXTENSION);
}

static void ip6_option_beyond_its_header_is_refused(void **state)
{
    static const uint8_t header[] = {6, 0, 1, 5, 0, 0, 0, 0}, cut[] = {6, 0, 1, 3, 0, 0, 0, 5};

    (void)state;
    is_refused(60, header, sizeof header, REASON_IP6_BAD_EXTENSION);
    is_refused(60, cut, sizeof cut, REASON_IP6_BAD_EXTENSION);
}

static void ip6_extension_header_without_bytes_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet p = ip_packet_to(&from, &us, 0, "", 0);

    (void)state;
    rig_send_refused(r, &p, REASON_IP6_BAD_EXTENSION);
    rig_free(r);
}

static void ip6_hop_by_hop_elsewhere_than_first_is_refused_aloud(void **state)
{
    static const uint8_t headers[] = {0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0};

    (void)state;
    is_refused_aloud(60, headers, sizeof headers, REASON_IP6_BAD_ORDER, 1, 40);
}

static void ip6_unknown_option_is_treated_as_its_high_bits_say(void **state)
{
    static const uint8_t skip[] = {6, 0, 0x1e, 4, 0, 0, 0, 0}, discard[] = {6, 0, 0x5e, 4, 0, 0, 0, 0};
    static const uint8_t tell[] = {6, 0, 0x9e, 4, 0, 0, 0, 0},
                         tell_if_unicast[] = {6, 0, 0xde, 4, 0, 0, 0, 0};

    (void)state;
    reaches_tcp(60, skip, sizeof skip);
    is_refused(60, discard, sizeof discard, REASON_IP6_UNKNOWN_OPTION);
    is_refused_aloud(60, tell, sizeof tell, REASON_IP6_UNKNOWN_OPTION, 2, 42);
    is_refused_aloud(60, tell_if_unicast, sizeof tell_if_unicast, REASON_IP6_UNKNOWN_OPTION, 2, 42);
}

static void ip6_unknown_option_to_a_group_is_told_of_only_where_it_says_so(void **state)
{
    static const uint8_t tell[] = {59, 0, 0x9e, 4, 0, 0, 0, 0},
                         tell_if_unicast[] = {59, 0, 0xde, 4, 0, 0, 0, 0};
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), all = addr("ff02::1");
    struct packet p = ip_packet_to(&from, &all, 60, tell_if_unicast, 8), e;

    (void)state;
    teach(r, &from, PEER_MAC);
    rig_send_refused(r, &p, REASON_IP6_UNKNOWN_OPTION);
    p = ip_packet_to(&from, &all, 60, tell, 8);
    rig_send(r, &p);
    rig_expect(r, is_icmp_error, &e);
    rig_free(r);
}

static void ip6_unknown_protocol_is_pointed_at_behind_an_extension(void **state)
{
    static const uint8_t l4_bytes[16] = {132, 0, 1, 4};
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet p = ip_packet_to(&from, &us, 60, l4_bytes, sizeof l4_bytes), e;

    (void)state;
    teach(r, &from, PEER_MAC);
    rig_send(r, &p);
    rig_expect(r, is_icmp_error, &e);
    assert_int_equal(load_be32(l4(&e) + 4), 40);
    rig_free(r);
}

static void ip6_no_next_header_is_the_end(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet p = ip_packet_to(&from, &us, 59, "xx", 2);

    (void)state;
    rig_send_refused(r, &p, REASON_IP6_NO_NEXT_HEADER);
    rig_free(r);
}

static void ip6_segment_to_a_group_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), all = addr("ff02::1");
    struct packet p = tcp_packet(&from, &all, 4);

    (void)state;
    rig_send_refused(r, &p, REASON_IP_TCP_TO_GROUP);
    rig_free(r);
}

static void ip6_group_that_is_not_ours_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), group = addr("ff02::1:ff99:9999");
    struct packet p = echo_request(&from, &group, 8);

    (void)state;
    rig_send_refused(r, &p, REASON_IP6_NOT_OURS);
    rig_free(r);
}

/* ---- segments that leave ---- */

static void send_segment(struct rig *r, int family, struct packet *out)
{
    struct net_addr to = peer(family);

    teach(r, &to, PEER_MAC);
    r->net->tcp->send_src = our(family);
    r->net->tcp->send_dst = to;
    r->net->tcp->send_len = 61;
    rig_run(r);
    rig_expect(r, is_tcp, out); /* rig_take has checked lengths and checksums */
}

static void segment_leaves_with_right_lengths_and_checksums(int family)
{
    struct rig *r = rig_new(NULL);
    struct packet p;

    send_segment(r, family, &p);
    assert_int_equal(p.len, 14 + (family == 6 ? 40 : 20) + 61);
    rig_free(r);
}
BOTH_FAMILIES(segment_leaves_with_right_lengths_and_checksums)

static void offload_everything(struct net_config *c, struct sim_config *s)
{
    s->tx_csum = s->rx_csum = true;
    c->tx_ip4_csum = c->tx_tcp_csum = true;
}

/* The simulated device refuses flags, lengths or a pseudo-header sum that do not fit the frame. */
static void b28_segment_with_checksums_left_to_the_device_is_the_same(int family)
{
    struct rig *software = rig_new(NULL), *device = rig_new(offload_everything);
    struct packet a, b;

    send_segment(software, family, &a);
    send_segment(device, family, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.bytes, b.bytes, a.len);
    rig_free(software);
    rig_free(device);
}
BOTH_FAMILIES(b28_segment_with_checksums_left_to_the_device_is_the_same)

static void hop_limit_of_what_we_send_is_64(int family)
{
    struct rig *r = rig_new(NULL);
    struct packet p;

    send_segment(r, family, &p);
    assert_int_equal(p.bytes[family == 6 ? 21 : 22], 64);
    rig_free(r);
}
BOTH_FAMILIES(hop_limit_of_what_we_send_is_64)

static void ip4_segments_leave_with_df_and_id_zero(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet p;

    (void)state;
    send_segment(r, 4, &p);
    assert_int_equal(load_be16(p.bytes + 18), 0);
    assert_int_equal(load_be16(p.bytes + 20), 0x4000);
    rig_free(r);
}

/* ---- L8: the flow label ---- */

static void other_seed(struct net_config *c, struct sim_config *s)
{
    (void)s;
    c->seed[31] ^= 1;
}

/* Of a segment from our port to one of the stranger's hosts. */
static uint32_t label_towards(struct rig *r, uint8_t host, uint16_t port)
{
    struct tcp *t = r->net->tcp;
    struct packet p;

    t->send_src = our(6);
    t->send_dst = stranger(6);
    t->send_dst.bytes[15] = host;
    t->send_port = port;
    t->send_len = 40;
    rig_run(r);
    rig_expect(r, is_tcp, &p);
    assert_int_equal(p.bytes[14] >> 4, 6);
    assert_int_equal(load_be16(p.bytes + 14) & 0xff0, 0);
    return load_be32(p.bytes + 14) & 0xfffff;
}

static struct rig *rig_with_gateway(rig_configure configure)
{
    struct rig *r = rig_new(configure);
    struct net_addr from = stranger(6), us = our(6), hop = gateway(6);
    struct packet p = echo_request(&from, &us, 8);

    rig_send(r, &p);
    answer_question(r, &hop, PEER_MAC);
    rig_discard(r);
    return r;
}

static void l8_flow_label_of_a_connection_stays(void **state)
{
    struct rig *r = rig_with_gateway(NULL);
    uint32_t label = label_towards(r, 8, 443);

    (void)state;
    assert_int_not_equal(label, 0);
    assert_int_not_equal(label_towards(r, 9, 443), label);
    assert_int_not_equal(label_towards(r, 8, 444), label);
    rig_wait(r, 10000000);
    assert_int_equal(label_towards(r, 8, 443), label);
    rig_free(r);
}

static void l8_flow_labels_of_connections_are_spread(void **state)
{
    struct rig *r = rig_with_gateway(NULL);
    uint32_t seen[128], same = 0, high = 0;

    (void)state;
    for (uint16_t i = 0; i < 128; i++) {
        seen[i] = label_towards(r, (uint8_t)(i & 1), (uint16_t)(1000 + i));
        high += seen[i] >> 19;
        for (uint16_t k = 0; k < i; k++)
            same += seen[i] == seen[k];
    }
    assert_true(same <= 2);
    assert_in_range(high, 40, 88);
    rig_free(r);
}

static void l8_flow_label_depends_on_the_seed(void **state)
{
    struct rig *a = rig_with_gateway(NULL), *b = rig_with_gateway(other_seed);

    (void)state;
    assert_int_not_equal(label_towards(a, 8, 443), label_towards(b, 8, 443));
    rig_free(a);
    rig_free(b);
}

/* A RST to a connection that is gone looks like all that went before it. */
static void l8_stateless_segment_has_the_label_of_its_connection(void **state)
{
    struct rig *r = rig_with_gateway(NULL);
    struct net_addr us = our(6), to = stranger(6);
    uint32_t label = label_towards(r, to.bytes[15], 443);
    uint16_t remote_port = (uint16_t)(2 * 7 + 1) << 8 | (3 * 7 + 1); /* what fake_tcp writes */
    struct packet p;

    (void)state;
    uint8_t *at = reply_begin_ip(r->net, &us, &to, IP_PROTO_TCP, 20);
    assert_non_null(at);
    memset(at, 0, 20);
    store_be16(at, 443);
    store_be16(at + 2, remote_port);
    at[12] = 5 << 4;
    reply_commit_ip(r->net);
    rig_run(r);
    rig_expect(r, is_tcp, &p);
    assert_int_equal(load_be32(p.bytes + 14) & 0xfffff, label);
    rig_free(r);
}

static void l8_echo_reply_has_a_label(void **state)
{
    struct rig *r = rig_with_gateway(NULL);
    struct net_addr from = stranger(6), us = our(6);
    struct packet q = echo_request(&from, &us, 8), p;

    (void)state;
    rig_send(r, &q);
    rig_expect(r, is_echo_reply, &p);
    assert_int_not_equal(load_be32(p.bytes + 14) & 0xfffff, 0);
    rig_free(r);
}

static void nothing_is_sent_to_martians_broadcasts_or_ourselves(void **state)
{
    static const char *const nowhere[] = {"127.0.0.1", "192.0.2.255", "224.0.0.1",
                                          "192.0.2.1", "::1",         "2001:db8::1"};
    struct rig *r = rig_new(NULL);
    uint8_t mac[6];

    (void)state;
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        struct net_addr to = addr(nowhere[i]);
        assert_false(mac_used_for(r, &to, mac));
        assert_int_equal(r->net->tcp->last_hop, IP_HOP_NONE);
    }
    assert_int_equal(rig_count(r, REASON_ROUTE_NONE), 6);
    rig_free(r);
}

static void link_local_source_does_not_leave_by_a_gateway(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = addr("fe80::ff:fe00:1"), to = stranger(6);
    uint8_t mac[6];

    (void)state;
    assert_int_equal(ip_next_hop(r->net, &from, &to, mac), IP_HOP_NONE);
    assert_int_equal(rig_count(r, REASON_ROUTE_NONE), 1);
    rig_free(r);
}

/* ---- the queue of answers ---- */

static void more_answers_than_the_queue_holds_are_dropped_and_counted(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet q = echo_request(&from, &us, 8);

    teach(r, &from, PEER_MAC);
    for (int i = 0; i < 70; i++)
        input_with_flags(r, &q, 0);
    assert_int_equal(rig_count(r, REASON_REPLY_FULL), 70 - 64);
    rig_run(r);
    assert_int_equal(rig_discard(r), 64);
    rig_free(r);
}
BOTH_FAMILIES(more_answers_than_the_queue_holds_are_dropped_and_counted)

static void answers_that_wait_for_a_hop_are_bounded(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet q = echo_request(&from, &us, 8), p;
    unsigned answers = 0;

    for (int i = 0; i < 40; i++)
        rig_send(r, &q);
    assert_int_equal(rig_count(r, REASON_REPLY_NO_HOP), 40 - 16);
    answer_question(r, &from, PEER_MAC);
    while (rig_take(r, &p))
        answers += is_echo_reply(&p);
    assert_int_equal(answers, 16);
    rig_free(r);
}
BOTH_FAMILIES(answers_that_wait_for_a_hop_are_bounded)

static void output_that_does_not_fit_comes_with_the_next_call(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet q = echo_request(&from, &us, 8);
    uint8_t room[1514];
    struct frame f = {.data = room, .cap = sizeof room};

    teach(r, &from, PEER_MAC);
    input_with_flags(r, &q, 0);
    input_with_flags(r, &q, 0);
    f.flags = f.l3_len = f.l4_len = UINT16_MAX; /* of its last use */
    assert_int_equal(net_output(r->net, sim_now(r->sim), &f, 1), 1);
    assert_int_equal(f.flags, 0);
    assert_true(net_has_output(r->net));
    assert_int_equal(net_output(r->net, sim_now(r->sim), &f, 1), 1);
    assert_false(net_has_output(r->net));
    assert_int_equal(net_output(r->net, sim_now(r->sim), &f, 1), 0);
    rig_free(r);
}
BOTH_FAMILIES(output_that_does_not_fit_comes_with_the_next_call)

static void other_half_seed(struct net_config *c, struct sim_config *s)
{
    (void)s;
    c->seed[0] ^= 1;
}

static void every_part_of_the_seed_changes_what_is_drawn(void **state)
{
    struct rig *a = rig_new(NULL), *b = rig_new(other_seed), *c = rig_new(other_half_seed);
    struct siphash_key ka = net_random_key(a->net), kb = net_random_key(b->net), kc = net_random_key(c->net);

    (void)state;
    assert_true(ka.k0 != kb.k0 && ka.k1 != kb.k1);
    assert_true(ka.k0 != kc.k0 && ka.k1 != kc.k1);
    rig_free(a);
    rig_free(b);
    rig_free(c);
}

static void same_seed_and_frames_give_the_same_output(void **state)
{
    struct rig *a = rig_new(NULL), *b = rig_new(NULL);
    struct packet pa, pb;

    (void)state;
    net_announce(a->net, sim_now(a->sim));
    net_announce(b->net, sim_now(b->sim));
    rig_wait(a, 20000000);
    rig_wait(b, 20000000);
    while (rig_take(a, &pa)) {
        assert_true(rig_take(b, &pb));
        assert_int_equal(pa.len, pb.len);
        assert_memory_equal(pa.bytes, pb.bytes, pa.len);
    }
    assert_false(rig_take(b, &pb));
    rig_free(a);
    rig_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TESTS(segment_reaches_tcp_unchanged),
        BOTH_TESTS(link_padding_is_cut_off),
        BOTH_TESTS(wrong_tcp_checksum_is_seen),
        BOTH_TESTS(partial_checksum_is_accepted_on_the_driver_s_word_alone),
        BOTH_TESTS(device_that_says_bad_is_checked),
        BOTH_TESTS(traffic_class_is_passed_on),
        cmocka_unit_test(runt_is_refused),
        cmocka_unit_test(oversize_frame_is_refused),
        cmocka_unit_test(frame_for_another_mac_is_refused),
        cmocka_unit_test(frame_for_an_ip4_group_is_refused),
        cmocka_unit_test(source_mac_of_a_group_of_zeros_or_of_ours_is_refused),
        cmocka_unit_test(tagged_frame_is_refused),
        cmocka_unit_test(unknown_type_is_refused),
        BOTH_TESTS(packet_for_us_in_a_broadcast_frame_is_refused),
        BOTH_TESTS(packet_cut_anywhere_is_refused),
        BOTH_TESTS(other_version_is_refused),
        BOTH_TESTS(packet_for_another_host_is_refused),
        BOTH_TESTS(martian_source_is_refused),
        BOTH_TESTS(packet_from_our_own_address_is_refused),
        cmocka_unit_test(ip4_header_checksum_is_checked),
        cmocka_unit_test(ip4_header_length_below_20_is_refused),
        cmocka_unit_test(ip4_total_length_below_the_header_is_refused),
        cmocka_unit_test(ip4_options_are_skipped),
        cmocka_unit_test(ip4_source_routes_are_refused),
        cmocka_unit_test(ip4_option_with_an_impossible_length_is_refused),
        cmocka_unit_test(ip4_low_ttl_is_no_reason_to_drop),
        cmocka_unit_test(ip6_hop_by_hop_and_destination_options_are_skipped),
        cmocka_unit_test(ip6_atomic_fragment_is_a_whole_packet),
        cmocka_unit_test(ip6_routing_header_without_segments_left_is_skipped),
        cmocka_unit_test(ip6_routing_header_of_type_0_is_refused),
        cmocka_unit_test(ip6_routing_header_with_segments_left_is_refused_aloud),
        cmocka_unit_test(ip6_eight_extension_headers_are_accepted),
        cmocka_unit_test(ip6_nine_extension_headers_are_refused),
        cmocka_unit_test(ip6_extension_header_beyond_the_packet_is_refused),
        cmocka_unit_test(ip6_option_beyond_its_header_is_refused),
        cmocka_unit_test(ip6_extension_header_without_bytes_is_refused),
        cmocka_unit_test(ip6_hop_by_hop_elsewhere_than_first_is_refused_aloud),
        cmocka_unit_test(ip6_unknown_option_is_treated_as_its_high_bits_say),
        cmocka_unit_test(ip6_unknown_option_to_a_group_is_told_of_only_where_it_says_so),
        cmocka_unit_test(ip6_unknown_protocol_is_pointed_at_behind_an_extension),
        cmocka_unit_test(ip6_no_next_header_is_the_end),
        cmocka_unit_test(ip6_segment_to_a_group_is_refused),
        cmocka_unit_test(ip6_group_that_is_not_ours_is_refused),
        BOTH_TESTS(segment_leaves_with_right_lengths_and_checksums),
        BOTH_TESTS(b28_segment_with_checksums_left_to_the_device_is_the_same),
        BOTH_TESTS(hop_limit_of_what_we_send_is_64),
        cmocka_unit_test(ip4_segments_leave_with_df_and_id_zero),
        cmocka_unit_test(l8_flow_label_of_a_connection_stays),
        cmocka_unit_test(l8_flow_labels_of_connections_are_spread),
        cmocka_unit_test(l8_flow_label_depends_on_the_seed),
        cmocka_unit_test(l8_stateless_segment_has_the_label_of_its_connection),
        cmocka_unit_test(l8_echo_reply_has_a_label),
        cmocka_unit_test(nothing_is_sent_to_martians_broadcasts_or_ourselves),
        cmocka_unit_test(link_local_source_does_not_leave_by_a_gateway),
        BOTH_TESTS(more_answers_than_the_queue_holds_are_dropped_and_counted),
        BOTH_TESTS(answers_that_wait_for_a_hop_are_bounded),
        BOTH_TESTS(output_that_does_not_fit_comes_with_the_next_call),
        cmocka_unit_test(every_part_of_the_seed_changes_what_is_drawn),
        cmocka_unit_test(same_seed_and_frames_give_the_same_output),
    };
    return RUN_TESTS("ip", tests);
}
