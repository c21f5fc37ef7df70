#include "tests/sim/link_rig.h"

#define SOLICITATION  135
#define ADVERTISEMENT 136
#define SOURCE        1
#define TARGET        2

static const char OUR_LINK_LOCAL[] = "fe80::ff:fe00:1";

static struct net_addr solicited_node(const struct net_addr *a)
{
    struct net_addr g = addr("ff02::1:ff00:0");

    memcpy(g.bytes + 13, a->bytes + 13, 3);
    return g;
}

/* What the peer asks, to the solicited-node group of target. */
static struct packet question(const struct net_addr *src, const struct net_addr *target)
{
    struct net_addr group = solicited_node(target);

    return nd_packet(src, &group, SOLICITATION, 0, target, SOURCE, PEER_MAC);
}

static void expect_advertisement(struct rig *r, const uint8_t eth_dst[6], const struct net_addr *dst,
                                 const struct net_addr *target, uint8_t flags)
{
    struct packet p;

    rig_expect(r, is_advertisement, &p);
    assert_memory_equal(p.bytes, eth_dst, 6);
    assert_int_equal(p.bytes[21], 255);
    assert_memory_equal(p.bytes + 22, target->bytes, 16);
    assert_memory_equal(p.bytes + 38, dst->bytes, 16);
    assert_int_equal(p.bytes[58], flags);
    assert_memory_equal(p.bytes + 62, target->bytes, 16);
    assert_int_equal(p.bytes[78], TARGET);
    assert_int_equal(p.bytes[79], 1);
    assert_memory_equal(p.bytes + 80, OUR_MAC, 6);
}

static void solicitation_is_answered_to_its_sender(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet q = question(&from, &us);

    (void)state;
    rig_send(r, &q);
    expect_advertisement(r, PEER_MAC, &from, &us, 0x60);
    assert_int_equal(rig_count(r, REASON_NDP_ANSWERED), 1);
    rig_free(r);
}

static void link_local_address_is_answered_too(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = addr("fe80::2"), us = addr(OUR_LINK_LOCAL);
    struct packet q = question(&from, &us);

    (void)state;
    rig_send(r, &q);
    expect_advertisement(r, PEER_MAC, &from, &us, 0x60);
    rig_free(r);
}

static void second_address(struct net_config *c, struct sim_config *s)
{
    (void)s;
    assert_true(net_prefix_parse(span_str("2001:db8::aa:bbcc/64"), &c->addrs[c->addr_count++]));
}

static void every_address_is_heard_in_its_own_group(void **state)
{
    struct rig *r = rig_new(second_address);
    struct net_addr from = peer(6), us = addr("2001:db8::aa:bbcc");
    struct packet q = question(&from, &us);

    (void)state;
    rig_send(r, &q);
    expect_advertisement(r, PEER_MAC, &from, &us, 0x60);
    rig_free(r);
}

static void other_mac(struct net_config *c, struct sim_config *s)
{
    static const uint8_t mac[6] = {2, 0, 0, 0x11, 0x22, 0x33};

    (void)s;
    memcpy(c->mac, mac, 6);
}

/* The group of the link-local address is not that of any other address here. */
static void link_local_address_is_heard_in_its_own_group(void **state)
{
    struct rig *r = rig_new(other_mac);
    struct net_addr from = addr("fe80::2"), us = addr("fe80::ff:fe11:2233");
    struct packet q = question(&from, &us);

    (void)state;
    rig_send(r, &q);
    assert_int_equal(rig_count(r, REASON_NDP_ANSWERED), 1);
    /* What goes out has another MAC than the rig expects of frames; leave it unread. */
    sim_advance(r->sim, 0);
    rig_forget(r);
    rig_free(r);
}

static void claim_in_a_solicitation_makes_us_ask_again(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6), group = solicited_node(&us);
    struct packet q = nd_packet(&from, &group, SOLICITATION, 0, &us, SOURCE, OTHER_MAC);

    (void)state;
    teach(r, &from, PEER_MAC);
    rig_wait(r, 2000000);
    rig_send(r, &q);
    assert_int_equal(rig_count(r, REASON_NEIGHBOUR_CLAIMED), 1);
    rig_free(r);
}

static void unicast_solicitation_is_answered(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet q = nd_packet(&from, &us, SOLICITATION, 0, &us, SOURCE, PEER_MAC);

    (void)state;
    rig_send(r, &q);
    expect_advertisement(r, PEER_MAC, &from, &us, 0x60);
    rig_free(r);
}

static void solicitation_without_option_is_answered_by_the_neighbour_table(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet q = nd_packet(&from, &us, SOLICITATION, 0, &us, 0, NULL);

    (void)state;
    teach(r, &from, PEER_MAC);
    memcpy(q.bytes + 6, OTHER_MAC, 6);
    rig_send(r, &q);
    expect_advertisement(r, PEER_MAC, &from, &us, 0x60);
    rig_free(r);
}

static void duplicate_detection_of_our_address_is_answered_to_all_nodes(void **state)
{
    static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
    struct rig *r = rig_new(NULL);
    struct net_addr none = addr("::"), us = our(6), all = addr("ff02::1"), group = solicited_node(&us);
    struct packet q = nd_packet(&none, &group, SOLICITATION, 0, &us, 0, NULL);

    (void)state;
    rig_send(r, &q);
    expect_advertisement(r, all_nodes_mac, &all, &us, 0x20);
    rig_free(r);
}

static void solicitation_of_another_host_is_not_answered(void **state)
{
    struct rig *r = rig_new(NULL);
    /* The last three bytes are ours, so the group is. */
    struct net_addr from = peer(6), us = our(6), group = solicited_node(&us),
                    other = addr("2001:db8:0:0:1::1");
    struct packet q = nd_packet(&from, &group, SOLICITATION, 0, &other, SOURCE, PEER_MAC);

    (void)state;
    rig_send_refused(r, &q, REASON_NDP_NOT_OURS);
    rig_free(r);
}

static void solicitation_teaches_us_nothing(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet q = question(&from, &us);
    uint8_t mac[6];

    (void)state;
    rig_send(r, &q);
    assert_false(mac_used_for(r, &from, mac));
    rig_free(r);
}

static void hop_limit_below_255_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet q = question(&from, &us),
                  a = nd_packet(&from, &us, ADVERTISEMENT, 0x60, &from, TARGET, PEER_MAC);

    (void)state;
    q.bytes[21] = a.bytes[21] = 254;
    rig_send_refused(r, &q, REASON_NDP_HOP_LIMIT);
    rig_send_refused(r, &a, REASON_NDP_HOP_LIMIT);
    rig_free(r);
}

static void code_other_than_zero_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet q = question(&from, &us);

    (void)state;
    q.bytes[55] = 1;
    fix_icmp6_checksum(&q);
    rig_send_refused(r, &q, REASON_NDP_BAD_CODE);
    rig_free(r);
}

static void wrong_checksum_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet q = question(&from, &us);

    (void)state;
    q.bytes[70] ^= 1;
    rig_send_refused(r, &q, REASON_ICMP_BAD_CHECKSUM);
    rig_free(r);
}

static void message_without_a_target_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet q = nd_packet(&from, &us, SOLICITATION, 0, &us, 0, NULL);

    (void)state;
    q.len--;
    fix_icmp6_checksum(&q);
    rig_send_refused(r, &q, REASON_NDP_BAD_LENGTH);
    rig_free(r);
}

static void option_of_length_zero_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet q = question(&from, &us);

    (void)state;
    q.bytes[79] = 0;
    fix_icmp6_checksum(&q);
    rig_send_refused(r, &q, REASON_NDP_BAD_OPTION);
    rig_free(r);
}

static void option_beyond_the_message_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet q = question(&from, &us);

    (void)state;
    q.bytes[79] = 2;
    fix_icmp6_checksum(&q);
    rig_send_refused(r, &q, REASON_NDP_BAD_OPTION);
    rig_free(r);
}

static void single_byte_of_an_option_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet q = nd_packet(&from, &us, SOLICITATION, 0, &us, 0, NULL);

    (void)state;
    packet_put(&q, "\1", 1);
    fix_icmp6_checksum(&q);
    rig_send_refused(r, &q, REASON_NDP_BAD_OPTION);
    rig_free(r);
}

static void option_with_a_group_mac_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6), group = solicited_node(&us);
    struct packet q = nd_packet(&from, &group, SOLICITATION, 0, &us, SOURCE, BROADCAST_MAC);

    (void)state;
    rig_send_refused(r, &q, REASON_NDP_BAD_OPTION);
    rig_free(r);
}

static void unknown_option_is_skipped(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet q = question(&from, &us);
    static const uint8_t nonce[8] = {14, 1, 1, 2, 3, 4, 5, 6};

    (void)state;
    packet_put(&q, nonce, sizeof nonce);
    fix_icmp6_checksum(&q);
    rig_send(r, &q);
    expect_advertisement(r, PEER_MAC, &from, &us, 0x60);
    rig_free(r);
}

static void multicast_target_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6), group = addr("ff02::1");
    struct packet q = nd_packet(&from, &us, SOLICITATION, 0, &group, SOURCE, PEER_MAC);

    (void)state;
    rig_send_refused(r, &q, REASON_NDP_BAD_TARGET);
    rig_free(r);
}

static void duplicate_detection_with_a_source_option_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr none = addr("::"), us = our(6), group = solicited_node(&us);
    struct packet q = nd_packet(&none, &group, SOLICITATION, 0, &us, SOURCE, PEER_MAC);

    (void)state;
    rig_send_refused(r, &q, REASON_NDP_BAD_TARGET);
    rig_free(r);
}

static void duplicate_detection_to_all_nodes_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr none = addr("::"), us = our(6), all = addr("ff02::1");
    struct packet q = nd_packet(&none, &all, SOLICITATION, 0, &us, 0, NULL);

    (void)state;
    rig_send_refused(r, &q, REASON_NDP_BAD_TARGET);
    rig_free(r);
}

static void solicited_advertisement_to_a_group_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), all = addr("ff02::1");
    struct packet a = nd_packet(&from, &all, ADVERTISEMENT, 0x60, &from, TARGET, PEER_MAC);

    (void)state;
    rig_send_refused(r, &a, REASON_NDP_BAD_TARGET);
    rig_free(r);
}

static void advertisement_without_a_question_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet a = nd_packet(&from, &us, ADVERTISEMENT, 0x60, &from, TARGET, PEER_MAC);

    (void)state;
    rig_send_refused(r, &a, REASON_NEIGHBOUR_UNSOLICITED);
    rig_free(r);
}

static void unsolicited_advertisement_does_not_answer_an_open_question(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet a = nd_packet(&from, &us, ADVERTISEMENT, 0x20, &from, TARGET, OTHER_MAC);
    uint8_t mac[6];

    (void)state;
    assert_false(mac_used_for(r, &from, mac));
    rig_discard(r);
    rig_send_refused(r, &a, REASON_NEIGHBOUR_UNSOLICITED);
    assert_false(mac_used_for(r, &from, mac));
    rig_free(r);
}

static void answer_without_a_mac_does_not_answer_an_open_question(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet a = nd_packet(&from, &us, ADVERTISEMENT, 0x60, &from, 0, NULL);
    uint8_t mac[6];

    (void)state;
    assert_false(mac_used_for(r, &from, mac));
    rig_discard(r);
    rig_send_refused(r, &a, REASON_NEIGHBOUR_UNSOLICITED);
    assert_false(mac_used_for(r, &from, mac));
    rig_free(r);
}

static void answer_without_a_mac_confirms_the_one_that_was_asked(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet a = nd_packet(&from, &us, ADVERTISEMENT, 0x60, &from, 0, NULL), q;

    (void)state;
    teach(r, &from, PEER_MAC);
    do
        rig_wait(r, 50000);
    while (!rig_take(r, &q));
    assert_true(is_solicitation(&q));
    uint64_t before = rig_count(r, REASON_NEIGHBOUR_RESOLVED);
    rig_send(r, &a);
    assert_int_equal(rig_count(r, REASON_NEIGHBOUR_RESOLVED), before + 1);
    rig_free(r);
}

static void advertisement_of_our_address_is_a_conflict_and_defended_once(void **state)
{
    static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6), all = addr("ff02::1");
    struct packet a = nd_packet(&from, &all, ADVERTISEMENT, 0x20, &us, TARGET, OTHER_MAC);

    (void)state;
    rig_send(r, &a);
    assert_int_equal(rig_count(r, REASON_NDP_CONFLICT), 1);
    expect_advertisement(r, all_nodes_mac, &all, &us, 0x20);
    rig_send(r, &a);
    assert_int_equal(rig_discard(r), 0);
    rig_free(r);
}

static void router_messages_and_redirects_are_ignored(void **state)
{
    static const uint8_t types[] = {133, 134, 137};
    struct rig *r = rig_new(NULL);
    struct net_addr from = addr("fe80::fe"), us = our(6);

    (void)state;
    for (size_t i = 0; i < sizeof types; i++) {
        struct packet p = nd_packet(&from, &us, types[i], 0, &from, TARGET, OTHER_MAC);
        rig_send_refused(r, &p, REASON_NDP_IGNORED);
    }
    rig_free(r);
}

static void question_goes_to_the_solicited_node_group_with_our_mac(void **state)
{
    static const uint8_t group_mac[6] = {0x33, 0x33, 0xff, 0, 0, 2};
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(6), us = our(6), group = solicited_node(&to);
    struct packet q;
    uint8_t mac[6];

    (void)state;
    assert_false(mac_used_for(r, &to, mac));
    rig_expect(r, is_solicitation, &q);
    assert_memory_equal(q.bytes, group_mac, 6);
    assert_int_equal(q.bytes[21], 255);
    assert_memory_equal(q.bytes + 22, us.bytes, 16);
    assert_memory_equal(q.bytes + 38, group.bytes, 16);
    assert_int_equal(q.bytes[78], SOURCE);
    assert_memory_equal(q.bytes + 80, OUR_MAC, 6);
    rig_free(r);
}

static void question_about_a_link_local_gateway_comes_from_our_link_local_address(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = stranger(6), us = addr(OUR_LINK_LOCAL);
    struct packet q;
    uint8_t mac[6];

    (void)state;
    assert_false(mac_used_for(r, &to, mac));
    rig_expect(r, is_solicitation, &q);
    assert_memory_equal(q.bytes + 22, us.bytes, 16);
    rig_free(r);
}

static void announcement_advertises_every_address_three_times(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr us = our(6), link_local = addr(OUR_LINK_LOCAL);
    struct packet p;
    unsigned global = 0, local = 0;

    (void)state;
    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    rig_wait(r, 5000000);
    while (rig_take(r, &p)) {
        global += is_advertisement(&p) && memcmp(p.bytes + 62, us.bytes, 16) == 0;
        local += is_advertisement(&p) && memcmp(p.bytes + 62, link_local.bytes, 16) == 0;
    }
    assert_int_equal(global, 3);
    assert_int_equal(local, 3);
    rig_free(r);
}

/* ---- L2: duplicate address detection (RFC 4862 5.4) ---- */

static bool is_our_probe(const struct packet *p)
{
    static const uint8_t nobody[16];

    return is_solicitation(p) && memcmp(p->bytes + 22, nobody, 16) == 0;
}

static uint32_t conflicts(const struct rig *r)
{
    struct net_gauges g;

    net_gauges(r->net, &g);
    return g.addr_conflicts;
}

static void l2_each_address_is_probed_three_times_a_second_apart(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet p;
    unsigned count = 0;

    (void)state;
    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    for (int second = 0; second < 6; second++) {
        while (rig_take(r, &p))
            count += is_our_probe(&p);
        assert_int_equal(count, second < 3 ? 2 * (second + 1) : 6);
        rig_wait(r, 1000000);
    }
    assert_int_equal(conflicts(r), 0);
    rig_free(r);
}

static void l2_probe_goes_to_the_solicited_node_without_an_option(void **state)
{
    struct rig *r = rig_new(NULL);
    const char *const probed[] = {OUR_LINK_LOCAL, "2001:db8::1"};
    struct packet p;

    (void)state;
    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    for (int i = 0; i < 2; i++) {
        struct net_addr target = addr(probed[i]), group = solicited_node(&target);
        rig_expect(r, is_our_probe, &p);
        assert_int_equal(p.len, 54 + 24);
        assert_int_equal(p.bytes[21], 255);
        assert_memory_equal(p.bytes + 38, group.bytes, 16);
        assert_memory_equal(p.bytes + 62, target.bytes, 16);
        assert_memory_equal(p.bytes + 2, group.bytes + 12, 4);
    }
    rig_free(r);
}

/* It comes from the contested address itself, or from another one of its owner's; the address is configured and
 * stays ours. */
static void answer_is_a_conflict(const struct net_addr *src)
{
    struct rig *r = rig_new(NULL);
    struct net_addr us = our(6), from = peer(6), all = addr("ff02::1");
    struct packet answer = nd_packet(src, &all, 136, 0x20, &us, 2, OTHER_MAC);
    struct packet q = nd_packet(&from, &us, 135, 0, &us, 1, PEER_MAC), p;

    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    rig_discard(r);
    rig_send(r, &answer);
    assert_int_equal(rig_count(r, REASON_NDP_CONFLICT), 1);
    assert_int_equal(conflicts(r), 1);
    rig_expect(r, is_advertisement, &p);
    rig_send(r, &q);
    rig_expect(r, is_advertisement, &p);
    rig_free(r);
}

static void l2_answer_to_our_probe_is_a_conflict_and_the_address_is_served_on(void **state)
{
    struct net_addr us = our(6), other = addr("fe80::7777");

    (void)state;
    answer_is_a_conflict(&us);
    answer_is_a_conflict(&other);
}

static void l2_nothing_but_an_advertisement_may_come_from_our_address(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr us = our(6), all = addr("ff02::1");
    struct packet q = echo_request(&us, &all, 8);

    (void)state;
    rig_send_refused(r, &q, REASON_IP6_MARTIAN_SOURCE);
    rig_free(r);
}

/* ---- MLD ---- */

static bool is_report(const struct packet *p)
{
    return type_of(p) == 0x86dd && p->bytes[20] == 0 && p->bytes[62] == 143;
}

static struct packet query(const char *src, uint8_t hop_limit, uint16_t max_delay_ms)
{
    struct net_addr from = addr(src), all = addr("ff02::1");
    uint8_t rest[24] = {(uint8_t)(max_delay_ms >> 8), (uint8_t)max_delay_ms};
    struct packet p = icmp_packet(&from, &all, 130, 0, rest, sizeof rest);

    p.bytes[21] = hop_limit;
    return p;
}

static void groups_are_reported_at_the_announcement(void **state)
{
    static const uint8_t router_alert[8] = {58, 0, 5, 2, 0, 0, 1, 0};
    struct rig *r = rig_new(NULL);
    struct net_addr us = our(6), group = solicited_node(&us), link_local = addr(OUR_LINK_LOCAL);
    struct packet p;

    (void)state;
    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    rig_expect(r, is_report, &p);
    assert_int_equal(p.bytes[21], 1);
    assert_memory_equal(p.bytes + 22, link_local.bytes, 16);
    assert_memory_equal(p.bytes + 54, router_alert, 8);
    /* Both of our addresses end in the same three bytes: one group. */
    assert_int_equal(load_be16(p.bytes + 68), 1);
    assert_int_equal(p.bytes[70], 2); /* MODE_IS_EXCLUDE nothing: everything sent to the group */
    assert_memory_equal(p.bytes + 74, group.bytes, 16);
    rig_free(r);
}

static void every_group_is_reported_once(void **state)
{
    struct rig *r = rig_new(second_address);
    struct net_addr first = addr("ff02::1:ff00:1"), second = addr("ff02::1:ffaa:bbcc");
    struct packet p;

    (void)state;
    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    rig_expect(r, is_report, &p);
    assert_int_equal(load_be16(p.bytes + 68), 2);
    assert_memory_equal(p.bytes + 74, first.bytes, 16);
    assert_memory_equal(p.bytes + 94, second.bytes, 16);
    rig_free(r);
}

static void reserved_fields_of_a_report_are_zero(void **state)
{
    static const uint8_t zero[4];
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(6), us = our(6);
    struct packet q = echo_request(&from, &us, 200), p;

    (void)state;
    /* Every slot of the queue has held other bytes before. */
    teach(r, &from, PEER_MAC);
    for (int i = 0; i < 70; i++)
        rig_send(r, &q);
    rig_discard(r);
    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    rig_expect(r, is_report, &p);
    assert_int_equal(p.bytes[63], 0);
    assert_memory_equal(p.bytes + 66, zero, 2);
    assert_memory_equal(p.bytes + 71, zero, 3);
    rig_free(r);
}

static void query_is_answered_within_its_delay(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = query("fe80::fe", 1, 1000), p;

    (void)state;
    rig_send(r, &q);
    rig_wait(r, 1000000);
    rig_expect(r, is_report, &p);
    assert_int_equal(rig_count(r, REASON_MLD_REPORTED), 1);
    rig_free(r);
}

static void queries_while_one_is_being_answered_cost_nothing(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = query("fe80::fe", 1, 1000);

    (void)state;
    for (int i = 0; i < 50; i++)
        rig_send(r, &q);
    rig_wait(r, 1000000);
    assert_int_equal(rig_discard(r), 1);
    rig_free(r);
}

static void query_from_beyond_the_link_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet far = query("2001:db8::9", 1, 1000), routed = query("fe80::fe", 2, 1000);

    (void)state;
    rig_send_refused(r, &far, REASON_MLD_BAD_QUERY);
    rig_send_refused(r, &routed, REASON_MLD_BAD_QUERY);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solicitation_is_answered_to_its_sender),
        cmocka_unit_test(link_local_address_is_answered_too),
        cmocka_unit_test(every_address_is_heard_in_its_own_group),
        cmocka_unit_test(link_local_address_is_heard_in_its_own_group),
        cmocka_unit_test(claim_in_a_solicitation_makes_us_ask_again),
        cmocka_unit_test(unicast_solicitation_is_answered),
        cmocka_unit_test(solicitation_without_option_is_answered_by_the_neighbour_table),
        cmocka_unit_test(duplicate_detection_of_our_address_is_answered_to_all_nodes),
        cmocka_unit_test(solicitation_of_another_host_is_not_answered),
        cmocka_unit_test(solicitation_teaches_us_nothing),
        cmocka_unit_test(hop_limit_below_255_is_refused),
        cmocka_unit_test(code_other_than_zero_is_refused),
        cmocka_unit_test(wrong_checksum_is_refused),
        cmocka_unit_test(message_without_a_target_is_refused),
        cmocka_unit_test(option_of_length_zero_is_refused),
        cmocka_unit_test(option_beyond_the_message_is_refused),
        cmocka_unit_test(single_byte_of_an_option_is_refused),
        cmocka_unit_test(option_with_a_group_mac_is_refused),
        cmocka_unit_test(unknown_option_is_skipped),
        cmocka_unit_test(multicast_target_is_refused),
        cmocka_unit_test(duplicate_detection_with_a_source_option_is_refused),
        cmocka_unit_test(duplicate_detection_to_all_nodes_is_refused),
        cmocka_unit_test(solicited_advertisement_to_a_group_is_refused),
        cmocka_unit_test(advertisement_without_a_question_is_refused),
        cmocka_unit_test(unsolicited_advertisement_does_not_answer_an_open_question),
        cmocka_unit_test(answer_without_a_mac_does_not_answer_an_open_question),
        cmocka_unit_test(answer_without_a_mac_confirms_the_one_that_was_asked),
        cmocka_unit_test(advertisement_of_our_address_is_a_conflict_and_defended_once),
        cmocka_unit_test(router_messages_and_redirects_are_ignored),
        cmocka_unit_test(question_goes_to_the_solicited_node_group_with_our_mac),
        cmocka_unit_test(question_about_a_link_local_gateway_comes_from_our_link_local_address),
        cmocka_unit_test(announcement_advertises_every_address_three_times),
        cmocka_unit_test(l2_each_address_is_probed_three_times_a_second_apart),
        cmocka_unit_test(l2_probe_goes_to_the_solicited_node_without_an_option),
        cmocka_unit_test(l2_answer_to_our_probe_is_a_conflict_and_the_address_is_served_on),
        cmocka_unit_test(l2_nothing_but_an_advertisement_may_come_from_our_address),
        cmocka_unit_test(groups_are_reported_at_the_announcement),
        cmocka_unit_test(every_group_is_reported_once),
        cmocka_unit_test(reserved_fields_of_a_report_are_zero),
        cmocka_unit_test(query_is_answered_within_its_delay),
        cmocka_unit_test(queries_while_one_is_being_answered_cost_nothing),
        cmocka_unit_test(query_from_beyond_the_link_is_refused),
    };
    return RUN_TESTS("ndp", tests);
}
