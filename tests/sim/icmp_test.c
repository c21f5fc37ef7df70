#include "tests/sim/link_rig.h"

static const uint8_t DATAGRAM[16] = {0x04, 0xd2, 0x00, 0x35, 0x00, 0x10};

static bool echoes(struct rig *r, struct packet *request, struct packet *reply)
{
    rig_send(r, request);
    while (rig_take(r, reply))
        if (is_echo_reply(reply))
            return true;
    return false;
}

static void echo_request_comes_back_with_its_data(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet q = echo_request(&from, &us, 100), reply;

    teach(r, &from, PEER_MAC);
    assert_true(echoes(r, &q, &reply));
    assert_int_equal(reply.len, q.len);
    assert_memory_equal(l4(&reply) + 4, l4(&q) + 4, 104);
    assert_int_equal(rig_count(r, REASON_ICMP_ECHO_ANSWERED), 2);
    rig_free(r);
}
BOTH_FAMILIES(echo_request_comes_back_with_its_data)

static void echo_reply_comes_from_the_address_that_was_asked(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family);
    struct net_addr us = addr(family == 6 ? "fe80::ff:fe00:1" : "198.51.100.7");
    struct packet q = echo_request(&from, &us, 8), reply;

    teach(r, &from, PEER_MAC);
    assert_true(echoes(r, &q, &reply));
    assert_memory_equal(reply.bytes + (family == 6 ? 22 : 26), us.bytes, family == 6 ? 16 : 4);
    assert_memory_equal(reply.bytes + (family == 6 ? 38 : 30), from.bytes, family == 6 ? 16 : 4);
    rig_free(r);
}
BOTH_FAMILIES(echo_reply_comes_from_the_address_that_was_asked)

static void code_of_an_echo_reply_is_zero(int family)
{
    static const uint8_t rest[8] = {1, 2, 3, 4};
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet q = icmp_packet(&from, &us, family == 6 ? 128 : 8, 9, rest, sizeof rest), reply;

    teach(r, &from, PEER_MAC);
    assert_true(echoes(r, &q, &reply));
    assert_int_equal(l4(&reply)[1], 0);
    rig_free(r);
}
BOTH_FAMILIES(code_of_an_echo_reply_is_zero)

static void largest_echo_request_is_answered(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet q = echo_request(&from, &us, family == 6 ? 1452 : 1472), reply;

    teach(r, &from, PEER_MAC);
    assert_int_equal(q.len, 1514);
    assert_true(echoes(r, &q, &reply));
    rig_free(r);
}
BOTH_FAMILIES(largest_echo_request_is_answered)

static void echo_request_of_odd_length_is_answered(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet q = echo_request(&from, &us, 33), reply;

    teach(r, &from, PEER_MAC);
    assert_true(echoes(r, &q, &reply));
    rig_free(r);
}
BOTH_FAMILIES(echo_request_of_odd_length_is_answered)

static void padding_of_the_frame_is_not_echoed(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet q = echo_request(&from, &us, 0), reply;
    uint16_t len = q.len;

    teach(r, &from, PEER_MAC);
    packet_put(&q, DATAGRAM, sizeof DATAGRAM);
    assert_true(echoes(r, &q, &reply));
    assert_int_equal(reply.len, len);
    rig_free(r);
}
BOTH_FAMILIES(padding_of_the_frame_is_not_echoed)

static void wrong_checksum_is_refused(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet q = echo_request(&from, &us, 8);

    l4(&q)[9] ^= 0x10;
    rig_send_refused(r, &q, REASON_ICMP_BAD_CHECKSUM);
    rig_free(r);
}
BOTH_FAMILIES(wrong_checksum_is_refused)

static void truncated_message_is_refused(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet q = ip_packet_to(&from, &us, family == 6 ? 58 : 1, DATAGRAM, 7);

    rig_send_refused(r, &q, REASON_ICMP_TRUNCATED);
    rig_free(r);
}
BOTH_FAMILIES(truncated_message_is_refused)

static void unknown_type_is_refused(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    static const uint8_t rest[4];
    struct packet q = icmp_packet(&from, &us, family == 6 ? 200 : 42, 0, rest, sizeof rest);

    rig_send_refused(r, &q, REASON_ICMP_UNKNOWN_TYPE);
    rig_free(r);
}
BOTH_FAMILIES(unknown_type_is_refused)

static void echo_reply_is_not_answered(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    static const uint8_t rest[4];
    struct packet q = icmp_packet(&from, &us, family == 6 ? 129 : 0, 0, rest, sizeof rest);

    rig_send_refused(r, &q, REASON_ICMP_UNKNOWN_TYPE);
    rig_free(r);
}
BOTH_FAMILIES(echo_reply_is_not_answered)

static unsigned flood_from(struct rig *r, const struct net_addr *from, unsigned requests)
{
    struct net_addr us = our(from->family);
    struct packet q = echo_request(from, &us, 8), reply;
    unsigned answered = 0;

    for (unsigned i = 0; i < requests; i++)
        answered += echoes(r, &q, &reply);
    return answered;
}

static unsigned flood(struct rig *r, int family, unsigned requests)
{
    struct net_addr from = peer(family);

    return flood_from(r, &from, requests);
}

/* A host in network i, an IPv4 /24 or an IPv6 /64, behind the gateway. */
static struct net_addr network(int family, uint32_t i, uint8_t host)
{
    struct net_addr a = stranger(family);

    store_be32(family == 6 ? a.bytes + 4 : a.bytes,
               UINT32_C(0x08000000) + i * 256 + (family == 6 ? 0 : host));
    if (family == 6)
        a.bytes[15] = host;
    return a;
}

/* The way to the gateway is known. */
static struct rig *rig_with_gateway(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = network(family, 9999, 1), us = our(family), hop = gateway(family);
    struct packet q = echo_request(&from, &us, 8);

    rig_send(r, &q);
    answer_question(r, &hop, PEER_MAC);
    rig_discard(r);
    return r;
}

static void flood_of_echo_requests_is_limited(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family);

    teach(r, &from, PEER_MAC);
    assert_in_range(flood(r, family, 1000), 49, 100);
    assert_true(rig_count(r, REASON_ICMP_ECHO_SOURCE_LIMITED) >= 900);
    rig_free(r);
}
BOTH_FAMILIES(flood_of_echo_requests_is_limited)

static void l6_flood_from_many_networks_is_limited_too(int family)
{
    struct rig *r = rig_with_gateway(family);
    unsigned answered = 0;

    for (uint32_t i = 0; i < 2000; i++) {
        struct net_addr from = network(family, i, 1);
        answered += flood_from(r, &from, 1);
    }
    assert_in_range(answered, 99, 200);
    assert_int_equal(rig_count(r, REASON_ICMP_ECHO_LIMITED), 2000 - answered);
    rig_free(r);
}
BOTH_FAMILIES(l6_flood_from_many_networks_is_limited_too)

/* At two hundred a second it is nowhere near what the worker answers. */
static void l6_flood_from_one_network_leaves_the_others_theirs(int family)
{
    struct rig *r = rig_with_gateway(family);
    struct net_addr loud = network(family, 1, 1), quiet = network(family, 2, 1);

    for (int i = 0; i < 20; i++) {
        flood_from(r, &loud, 100);
        rig_wait(r, 50000);
        assert_int_equal(flood_from(r, &quiet, 1), 1);
    }
    rig_free(r);
}
BOTH_FAMILIES(l6_flood_from_one_network_leaves_the_others_theirs)

static void l6_hosts_of_one_network_share_its_limit(int family)
{
    struct rig *r = rig_with_gateway(family);
    unsigned answered = 0;

    for (uint8_t host = 1; host < 201; host++) {
        struct net_addr from = network(family, 1, host);
        answered += flood_from(r, &from, 1);
    }
    assert_in_range(answered, 50, 100);
    rig_free(r);
}
BOTH_FAMILIES(l6_hosts_of_one_network_share_its_limit)

static void l6_bursts_of_networks_differ(int family)
{
    struct rig *r = rig_with_gateway(family);
    unsigned same = 0, first = 0;

    for (uint32_t i = 0; i < 8; i++) {
        struct net_addr from = network(family, i, 1);
        unsigned answered = flood_from(r, &from, 150);
        first = i == 0 ? answered : first;
        same += answered == first;
        rig_wait(r, 1000000);
    }
    assert_true(same < 4);
    rig_free(r);
}
BOTH_FAMILIES(l6_bursts_of_networks_differ)

static void limit_recovers_with_time(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family);

    teach(r, &from, PEER_MAC);
    flood(r, family, 1000);
    rig_wait(r, 1000000);
    assert_in_range(flood(r, family, 50), 50, 50);
    rig_free(r);
}
BOTH_FAMILIES(limit_recovers_with_time)

static void burst_after_the_limit_is_not_a_constant(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family);
    unsigned first, same = 0;

    teach(r, &from, PEER_MAC);
    flood(r, family, 300);
    rig_wait(r, 1000000);
    first = flood(r, family, 300);
    for (int i = 0; i < 5; i++) {
        rig_wait(r, 1000000);
        same += flood(r, family, 300) == first;
    }
    assert_true(same < 5);
    rig_free(r);
}
BOTH_FAMILIES(burst_after_the_limit_is_not_a_constant)

/* ---- groups ---- */

static void echo_request_to_a_broadcast_is_not_answered(void **state)
{
    static const char *const groups[] = {"255.255.255.255", "192.0.2.255", "224.0.0.1"};
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(4);

    (void)state;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        struct net_addr to = addr(groups[i]);
        struct packet q = echo_request(&from, &to, 8);
        memcpy(q.bytes, BROADCAST_MAC, 6);
        rig_send_refused(r, &q, REASON_IP4_GROUP);
    }
    rig_free(r);
}

static void echo_request_to_all_nodes_is_answered_from_our_address(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6), all = addr("ff02::1");
    struct packet q = echo_request(&from, &all, 8), reply;

    (void)state;
    teach(r, &from, PEER_MAC);
    assert_true(echoes(r, &q, &reply));
    assert_memory_equal(reply.bytes + 22, us.bytes, 16);
    rig_free(r);
}

static void echo_request_from_nobody_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr none = addr("::"), all = addr("ff02::1");
    struct packet q = echo_request(&none, &all, 8);

    (void)state;
    rig_send_refused(r, &q, REASON_IP6_MARTIAN_SOURCE);
    rig_free(r);
}

/* ---- errors that we get ---- */

/* An ICMP error from a router about the segment that we sent: ports 443 -> 12345, sequence 0x01020304. */
static struct packet error_about(int family, uint8_t type, uint8_t code, uint32_t word,
                                 const struct net_addr *local)
{
    struct net_addr from = stranger(family), us = our(family), remote = stranger(family);
    uint8_t rest[4 + 40 + 8] = {0};
    size_t header_len = family == 6 ? 40 : 20;
    uint8_t *quote = rest + 4;

    store_be32(rest, word);
    if (family == 6) {
        quote[0] = 0x60;
        quote[6] = 6;
        memcpy(quote + 8, local->bytes, 16);
        memcpy(quote + 24, remote.bytes, 16);
    } else {
        quote[0] = 0x45;
        quote[9] = 6;
        memcpy(quote + 12, local->bytes, 4);
        memcpy(quote + 16, remote.bytes, 4);
    }
    store_be16(quote + header_len, 443);
    store_be16(quote + header_len + 2, 12345);
    store_be32(quote + header_len + 4, 0x01020304);
    return icmp_packet(&from, &us, type, code, rest, (uint16_t)(4 + header_len + 8));
}

static void expect_error(int family, uint8_t type, uint8_t code, uint32_t word, enum icmp_error_kind kind,
                         uint32_t mtu)
{
    struct rig *r = rig_new(NULL);
    struct net_addr us = our(family), remote = stranger(family);
    struct packet p = error_about(family, type, code, word, &us);
    const struct icmp_tcp_error *e = &r->net->tcp->last_error;

    rig_send(r, &p);
    assert_int_equal(r->net->tcp->icmp_errors, 1);
    assert_int_equal(rig_count(r, REASON_ICMP_ERROR_RECEIVED), 1);
    assert_int_equal(e->kind, kind);
    assert_int_equal(e->mtu, mtu);
    assert_true(net_addr_equal(&e->local, &us) && net_addr_equal(&e->remote, &remote));
    assert_int_equal(e->local_port, 443);
    assert_int_equal(e->remote_port, 12345);
    assert_int_equal(e->seq, 0x01020304);
    rig_free(r);
}

static void unreachable_reaches_tcp(int family)
{
    expect_error(family, family == 6 ? 1 : 3, family == 6 ? 4 : 3, 0, ICMP_ERROR_UNREACHABLE, 0);
}
BOTH_FAMILIES(unreachable_reaches_tcp)

static void too_big_reaches_tcp_with_its_mtu(int family)
{
    expect_error(family, family == 6 ? 2 : 3, family == 6 ? 0 : 4, 1400, ICMP_ERROR_TOO_BIG, 1400);
}
BOTH_FAMILIES(too_big_reaches_tcp_with_its_mtu)

static void time_exceeded_reaches_tcp(int family)
{
    expect_error(family, family == 6 ? 3 : 11, 0, 0, ICMP_ERROR_TIME_EXCEEDED, 0);
}
BOTH_FAMILIES(time_exceeded_reaches_tcp)

static void parameter_problem_reaches_tcp(int family)
{
    expect_error(family, family == 6 ? 4 : 12, 0, 0, ICMP_ERROR_PARAMETER, 0);
}
BOTH_FAMILIES(parameter_problem_reaches_tcp)

static void error_about_somebody_else_s_packet_is_refused(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr other = peer(family);
    struct packet p = error_about(family, family == 6 ? 1 : 3, 1, 0, &other);

    rig_send_refused(r, &p, REASON_ICMP_ERROR_BAD_QUOTE);
    assert_int_equal(r->net->tcp->icmp_errors, 0);
    rig_free(r);
}
BOTH_FAMILIES(error_about_somebody_else_s_packet_is_refused)

static void error_with_a_truncated_quote_is_refused(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = stranger(family), us = our(family);
    struct packet whole = error_about(family, family == 6 ? 1 : 3, 1, 0, &us);
    uint16_t rest_len = (uint16_t)(4 + (family == 6 ? 40 : 20) + 7);
    struct packet p = icmp_packet(&from, &us, family == 6 ? 1 : 3, 1, l4(&whole) + 4, rest_len);

    rig_send_refused(r, &p, REASON_ICMP_ERROR_BAD_QUOTE);
    assert_int_equal(r->net->tcp->icmp_errors, 0);
    rig_free(r);
}
BOTH_FAMILIES(error_with_a_truncated_quote_is_refused)

static void error_about_another_protocol_is_refused(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = stranger(family), us = our(family);
    struct packet whole = error_about(family, family == 6 ? 1 : 3, 1, 0, &us);

    l4(&whole)[8 + (family == 6 ? 6 : 9)] = 17;
    struct packet p = icmp_packet(&from, &us, family == 6 ? 1 : 3, 1, l4(&whole) + 4, family == 6 ? 52 : 32);
    rig_send_refused(r, &p, REASON_ICMP_ERROR_BAD_QUOTE);
    assert_int_equal(r->net->tcp->icmp_errors, 0);
    rig_free(r);
}
BOTH_FAMILIES(error_about_another_protocol_is_refused)

static void redirect_of_ip4_is_ignored(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr us = our(4);
    struct packet p = error_about(4, 5, 1, 0xc0000209, &us);

    (void)state;
    rig_send_refused(r, &p, REASON_ICMP_UNKNOWN_TYPE);
    rig_free(r);
}

/* ---- errors that we send ---- */

static void expect_complaint(struct rig *r, const struct packet *p, int family, uint8_t type, uint8_t code)
{
    struct packet e;
    size_t quoted = p->len - 14u;

    rig_send(r, p);
    rig_expect(r, is_icmp_error, &e);
    assert_int_equal(l4(&e)[0], type);
    assert_int_equal(l4(&e)[1], code);
    if (family == 4 || type != 4)
        assert_int_equal(load_be32(l4(&e) + 4), 0);
    assert_memory_equal(l4(&e) + 8, p->bytes + 14, quoted < 500 ? quoted : 500);
    assert_memory_equal(e.bytes + (family == 6 ? 38 : 30), p->bytes + (family == 6 ? 22 : 26),
                        family == 6 ? 16 : 4);
}

static void datagram_to_a_closed_port_gets_port_unreachable(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet p = ip_packet_to(&from, &us, 17, DATAGRAM, sizeof DATAGRAM);

    teach(r, &from, PEER_MAC);
    flood(r, family, 70); /* every slot of the queue has held other bytes before */
    expect_complaint(r, &p, family, family == 6 ? 1 : 3, family == 6 ? 4 : 3);
    assert_int_equal(rig_count(r, REASON_IP_UNKNOWN_PROTO), 1);
    rig_free(r);
}
BOTH_FAMILIES(datagram_to_a_closed_port_gets_port_unreachable)

static void unknown_protocol_is_complained_about(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet p = ip_packet_to(&from, &us, 132, DATAGRAM, sizeof DATAGRAM);

    teach(r, &from, PEER_MAC);
    expect_complaint(r, &p, family, family == 6 ? 4 : 3, family == 6 ? 1 : 2);
    rig_free(r);
}
BOTH_FAMILIES(unknown_protocol_is_complained_about)

static void complaint_about_a_long_packet_quotes_what_fits(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    uint8_t l4_bytes[1400] = {0};
    struct packet p = ip_packet_to(&from, &us, 17, l4_bytes, sizeof l4_bytes), e;

    teach(r, &from, PEER_MAC);
    rig_send(r, &p);
    rig_expect(r, is_icmp_error, &e);
    assert_int_equal(e.len - 14, family == 6 ? 1280 : 576);
    rig_free(r);
}
BOTH_FAMILIES(complaint_about_a_long_packet_quotes_what_fits)

static void complaints_are_limited(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet p = ip_packet_to(&from, &us, 17, DATAGRAM, sizeof DATAGRAM);

    teach(r, &from, PEER_MAC);
    for (int i = 0; i < 500; i++)
        rig_send(r, &p);
    assert_in_range(rig_discard(r), 10, 20);
    assert_true(rig_count(r, REASON_ICMP_ERROR_SOURCE_LIMITED) >= 480);
    rig_free(r);
}
BOTH_FAMILIES(complaints_are_limited)

static void l6_complaints_to_many_networks_are_limited_too(int family)
{
    struct rig *r = rig_with_gateway(family);
    struct net_addr us = our(family);
    unsigned sent;

    for (uint32_t i = 0; i < 500; i++) {
        struct net_addr from = network(family, i, 1);
        struct packet p = ip_packet_to(&from, &us, 17, DATAGRAM, sizeof DATAGRAM);
        rig_send(r, &p);
    }
    sent = rig_discard(r);
    assert_in_range(sent, 25, 50);
    assert_int_equal(rig_count(r, REASON_ICMP_ERROR_LIMITED), 500 - sent);
    rig_free(r);
}
BOTH_FAMILIES(l6_complaints_to_many_networks_are_limited_too)

static void l6_complaints_to_one_network_leave_the_others_theirs(int family)
{
    struct rig *r = rig_with_gateway(family);
    struct net_addr us = our(family), loud = network(family, 1, 1), quiet = network(family, 2, 1);
    struct packet p = ip_packet_to(&loud, &us, 17, DATAGRAM, sizeof DATAGRAM);
    struct packet q = ip_packet_to(&quiet, &us, 17, DATAGRAM, sizeof DATAGRAM);

    for (int i = 0; i < 500; i++)
        rig_send(r, &p);
    rig_discard(r);
    rig_send(r, &q);
    assert_int_equal(rig_discard(r), 1);
    rig_free(r);
}
BOTH_FAMILIES(l6_complaints_to_one_network_leave_the_others_theirs)

static void error_about_an_error_is_never_sent(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    /* A destination option that must be complained about, in front of an ICMPv6 error. */
    static const uint8_t l4_bytes[24] = {58, 0, 0x80, 4, 0, 0, 0, 0, 1, 4};
    struct packet p = ip_packet_to(&from, &us, 60, l4_bytes, sizeof l4_bytes);

    (void)state;
    teach(r, &from, PEER_MAC);
    rig_send_refused(r, &p, REASON_IP6_UNKNOWN_OPTION);
    rig_free(r);
}

static void echo_request_behind_an_unknown_option_is_complained_about(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    static const uint8_t l4_bytes[24] = {58, 0, 0x80, 4, 0, 0, 0, 0, 128};
    struct packet p = ip_packet_to(&from, &us, 60, l4_bytes, sizeof l4_bytes);

    (void)state;
    teach(r, &from, PEER_MAC);
    expect_complaint(r, &p, 6, 4, 2);
    rig_free(r);
}

static void datagram_to_a_group_is_not_complained_about(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), all = addr("ff02::1");
    struct packet p = ip_packet_to(&from, &all, 17, DATAGRAM, sizeof DATAGRAM);

    (void)state;
    teach(r, &from, PEER_MAC);
    rig_send_refused(r, &p, REASON_IP_UNKNOWN_PROTO);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TESTS(echo_request_comes_back_with_its_data),
        BOTH_TESTS(echo_reply_comes_from_the_address_that_was_asked),
        BOTH_TESTS(code_of_an_echo_reply_is_zero),
        BOTH_TESTS(largest_echo_request_is_answered),
        BOTH_TESTS(echo_request_of_odd_length_is_answered),
        BOTH_TESTS(padding_of_the_frame_is_not_echoed),
        BOTH_TESTS(wrong_checksum_is_refused),
        BOTH_TESTS(truncated_message_is_refused),
        BOTH_TESTS(unknown_type_is_refused),
        BOTH_TESTS(echo_reply_is_not_answered),
        BOTH_TESTS(flood_of_echo_requests_is_limited),
        BOTH_TESTS(l6_flood_from_many_networks_is_limited_too),
        BOTH_TESTS(l6_flood_from_one_network_leaves_the_others_theirs),
        BOTH_TESTS(l6_hosts_of_one_network_share_its_limit),
        BOTH_TESTS(l6_bursts_of_networks_differ),
        BOTH_TESTS(limit_recovers_with_time),
        BOTH_TESTS(burst_after_the_limit_is_not_a_constant),
        cmocka_unit_test(echo_request_to_a_broadcast_is_not_answered),
        cmocka_unit_test(echo_request_to_all_nodes_is_answered_from_our_address),
        cmocka_unit_test(echo_request_from_nobody_is_refused),
        BOTH_TESTS(unreachable_reaches_tcp),
        BOTH_TESTS(too_big_reaches_tcp_with_its_mtu),
        BOTH_TESTS(time_exceeded_reaches_tcp),
        BOTH_TESTS(parameter_problem_reaches_tcp),
        BOTH_TESTS(error_about_somebody_else_s_packet_is_refused),
        BOTH_TESTS(error_with_a_truncated_quote_is_refused),
        BOTH_TESTS(error_about_another_protocol_is_refused),
        cmocka_unit_test(redirect_of_ip4_is_ignored),
        BOTH_TESTS(datagram_to_a_closed_port_gets_port_unreachable),
        BOTH_TESTS(unknown_protocol_is_complained_about),
        BOTH_TESTS(complaint_about_a_long_packet_quotes_what_fits),
        BOTH_TESTS(complaints_are_limited),
        BOTH_TESTS(l6_complaints_to_many_networks_are_limited_too),
        BOTH_TESTS(l6_complaints_to_one_network_leave_the_others_theirs),
        cmocka_unit_test(error_about_an_error_is_never_sent),
        cmocka_unit_test(echo_request_behind_an_unknown_option_is_complained_about),
        cmocka_unit_test(datagram_to_a_group_is_not_complained_about),
    };
    return RUN_TESTS("icmp", tests);
}
