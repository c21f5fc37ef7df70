/* L7: an IEEE 802.1Q tag by configuration. */
#include "tests/sim/link_rig.h"

#define VLAN 7

static void in_vlan(struct net_config *c, struct sim_config *s)
{
    (void)s;
    c->vlan_id = VLAN;
}

static void in_vlan_with_offload(struct net_config *c, struct sim_config *s)
{
    c->vlan_id = VLAN;
    c->tx_ip4_csum = c->tx_tcp_csum = s->tx_csum = true;
}

static struct packet any_tcp(int family)
{
    struct net_addr from = peer(family), us = our(family);

    return tcp_packet(&from, &us, 4);
}

static void l7_tagged_segment_reaches_tcp(int family)
{
    struct rig *r = rig_new(in_vlan);
    struct packet p = any_tcp(family);

    rig_send(r, &p);
    assert_int_equal(r->net->tcp->inputs, 1);
    assert_int_equal(r->net->tcp->last.payload.len, 24);
    assert_true(r->net->tcp->last_csum_ok);
    rig_free(r);
}
BOTH_FAMILIES(l7_tagged_segment_reaches_tcp)

static void l7_priority_of_a_tag_does_not_matter(int family)
{
    struct rig *r = rig_new(in_vlan);
    struct packet p = any_tcp(family);

    r->send_tci = 0xf000 | VLAN;
    rig_send(r, &p);
    assert_int_equal(r->net->tcp->inputs, 1);
    rig_free(r);
}
BOTH_FAMILIES(l7_priority_of_a_tag_does_not_matter)

static void l7_frames_of_other_vlans_are_refused(int family)
{
    struct rig *r = rig_new(in_vlan);
    struct packet p = any_tcp(family);

    for (int vlan = 0; vlan < 20; vlan++) {
        r->send_tci = vlan;
        if (vlan != VLAN)
            rig_send_refused(r, &p, REASON_ETH_VLAN);
    }
    rig_free(r);
}
BOTH_FAMILIES(l7_frames_of_other_vlans_are_refused)

static void l7_untagged_frame_is_refused_in_a_vlan(int family)
{
    struct rig *r = rig_new(in_vlan);
    struct packet p = any_tcp(family);

    r->send_tci = -1;
    rig_send_refused(r, &p, REASON_ETH_VLAN);
    rig_free(r);
}
BOTH_FAMILIES(l7_untagged_frame_is_refused_in_a_vlan)

static void l7_tag_of_another_kind_is_refused(void **state)
{
    struct rig *r = rig_new(in_vlan);
    struct packet p = eth_packet(OUR_MAC, PEER_MAC, 0x88a8);

    (void)state;
    packet_put(&p, "\0\7\x08\0", 4);
    r->send_tci = -1;
    rig_send_refused(r, &p, REASON_ETH_VLAN);
    rig_free(r);
}

static void l7_tag_that_is_cut_off_is_refused(void **state)
{
    struct rig *r = rig_new(in_vlan);
    struct packet p = eth_packet(OUR_MAC, PEER_MAC, 0x8100);

    (void)state;
    packet_put(&p, "\0\7\x08\0", 4);
    r->send_tci = -1;
    for (p.len = 14; p.len < 18; p.len++)
        rig_send_refused(r, &p, REASON_ETH_VLAN);
    rig_send_refused(r, &p, REASON_IP4_TRUNCATED);
    rig_free(r);
}

/* IEEE 802.1Q 6.9.1: a frame with a priority and no VLAN. */
static void l7_priority_tag_is_no_vlan(int family)
{
    struct rig *r = rig_new(NULL);
    struct packet p = any_tcp(family);

    r->send_tci = 0xe000;
    rig_send(r, &p);
    assert_int_equal(r->net->tcp->inputs, 1);
    rig_free(r);
}
BOTH_FAMILIES(l7_priority_tag_is_no_vlan)

/* rig_take asserts the tag of every frame: questions for the next hop, and answers. */
static void l7_answers_and_questions_carry_the_tag(int family)
{
    struct rig *r = rig_new(in_vlan);
    struct net_addr from = peer(family), us = our(family);
    struct packet q = echo_request(&from, &us, 100), reply;

    teach(r, &from, PEER_MAC);
    rig_send(r, &q);
    rig_expect(r, is_echo_reply, &reply);
    assert_memory_equal(l4(&reply) + 4, l4(&q) + 4, 104);
    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    assert_true(rig_discard(r) > 3);
    rig_free(r);
}
BOTH_FAMILIES(l7_answers_and_questions_carry_the_tag)

static void segment_carries_the_tag(int family, rig_configure configure)
{
    struct rig *r = rig_new(configure);
    struct net_addr to = peer(family);
    uint8_t mac[6];

    teach(r, &to, PEER_MAC);
    assert_true(mac_used_for(r, &to, mac));
    assert_memory_equal(mac, PEER_MAC, 6);
    rig_free(r);
}

static void l7_segments_carry_the_tag(int family)
{
    segment_carries_the_tag(family, in_vlan);
}
BOTH_FAMILIES(l7_segments_carry_the_tag)

/* The simulated device checks where it is told that the headers lie. */
static void l7_checksums_of_tagged_segments_may_be_left_to_the_device(int family)
{
    segment_carries_the_tag(family, in_vlan_with_offload);
}
BOTH_FAMILIES(l7_checksums_of_tagged_segments_may_be_left_to_the_device)

static void l7_tag_is_no_part_of_the_mtu(int family)
{
    struct rig *r = rig_new(in_vlan);
    struct net_addr from = peer(family), us = our(family);
    struct packet q = echo_request(&from, &us, (uint16_t)(1500 - 8 - (family == 6 ? 40 : 20))), reply;

    assert_int_equal(q.len, 1514);
    teach(r, &from, PEER_MAC);
    rig_send(r, &q);
    rig_expect(r, is_echo_reply, &reply);
    assert_int_equal(reply.len, 1514);
    rig_free(r);
}
BOTH_FAMILIES(l7_tag_is_no_part_of_the_mtu)

static void l7_packet_longer_than_the_mtu_is_refused_behind_a_tag(void **state)
{
    uint8_t bytes[1519] = {0};
    struct rig *r = rig_new(in_vlan);
    struct packet p = eth_packet(OUR_MAC, PEER_MAC, 0x8100);
    struct frame f = {.data = bytes, .len = sizeof bytes, .cap = sizeof bytes};

    (void)state;
    packet_put(&p, "\0\7\x08\0", 4);
    memcpy(bytes, p.bytes, p.len);
    net_input(r->net, &f, 1, sim_now(r->sim));
    assert_int_equal(rig_count(r, REASON_ETH_OVERSIZE), 1);
    f.len--;
    net_input(r->net, &f, 1, sim_now(r->sim));
    assert_int_equal(rig_count(r, REASON_ETH_OVERSIZE), 1);
    rig_free(r);
}

static void l7_frames_that_stay_empty_come_back_as_they_were(void **state)
{
    uint8_t bytes[3][1518];
    struct rig *r = rig_new(in_vlan);
    struct net_addr to = peer(4);
    struct frame f[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        f[i] = (struct frame){.data = bytes[i], .cap = sizeof bytes[i]};
    teach(r, &to, PEER_MAC);
    r->net->tcp->send_src = our(4);
    r->net->tcp->send_dst = to;
    r->net->tcp->send_len = 40;
    assert_int_equal(net_output(r->net, sim_now(r->sim), f, 3), 1);
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(f[i].data, bytes[i]);
        assert_int_equal(f[i].cap, sizeof bytes[i]);
    }
    assert_int_equal(f[0].len, 18 + 20 + 40);
    assert_int_equal(f[0].l2_len, 18);
    assert_memory_equal(bytes[0], PEER_MAC, 6);
    assert_memory_equal(bytes[0] + 6, OUR_MAC, 6);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TESTS(l7_tagged_segment_reaches_tcp),
        BOTH_TESTS(l7_priority_of_a_tag_does_not_matter),
        BOTH_TESTS(l7_frames_of_other_vlans_are_refused),
        BOTH_TESTS(l7_untagged_frame_is_refused_in_a_vlan),
        cmocka_unit_test(l7_tag_of_another_kind_is_refused),
        cmocka_unit_test(l7_tag_that_is_cut_off_is_refused),
        BOTH_TESTS(l7_priority_tag_is_no_vlan),
        BOTH_TESTS(l7_answers_and_questions_carry_the_tag),
        BOTH_TESTS(l7_segments_carry_the_tag),
        BOTH_TESTS(l7_checksums_of_tagged_segments_may_be_left_to_the_device),
        BOTH_TESTS(l7_tag_is_no_part_of_the_mtu),
        cmocka_unit_test(l7_packet_longer_than_the_mtu_is_refused_behind_a_tag),
        cmocka_unit_test(l7_frames_that_stay_empty_come_back_as_they_were),
    };
    return RUN_TESTS("vlan", tests);
}
