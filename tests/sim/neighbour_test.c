/* Next hops, ARP and NDP alike. */
#include "tests/sim/link_rig.h"

#define REACHABLE_MAX_US 45000000

/* Another host within the rig's own prefix. */
static struct net_addr host_of(int family, uint8_t last)
{
    struct net_addr a = peer(family);

    a.bytes[family == 6 ? 15 : 3] = last;
    return a;
}

static void used_mac_is(struct rig *r, const struct net_addr *dst, const uint8_t want[6])
{
    uint8_t mac[6];

    assert_true(mac_used_for(r, dst, mac));
    assert_memory_equal(mac, want, 6);
}

static bool is_question(const struct packet *p)
{
    return is_arp_request(p) || is_solicitation(p);
}

static unsigned questions(struct rig *r)
{
    struct packet p;
    unsigned count = 0;

    while (rig_take(r, &p))
        count += is_question(&p);
    return count;
}

/* What somebody says without having been asked: a gratuitous ARP, an unsolicited advertisement. */
static void claim(struct rig *r, const struct net_addr *who, const uint8_t mac[6])
{
    struct net_addr all = addr("ff02::1");
    struct packet p;

    if (who->family == NET_IP6) {
        p = nd_packet(who, &all, 136, 0x20, who, 2, mac);
    } else {
        p = arp_packet(2, mac, "192.0.2.2", mac, "192.0.2.2");
        memcpy(p.bytes + 28, who->bytes, 4);
        memcpy(p.bytes + 38, who->bytes, 4);
    }
    rig_send(r, &p);
}

/* Lets the entry that teach() made, and used, run out until the net asks to have it confirmed. */
static struct packet wait_for_question(struct rig *r)
{
    struct packet q;

    for (uint64_t waited = 0; waited <= REACHABLE_MAX_US; waited += 1000000) {
        rig_wait(r, 1000000);
        while (rig_take(r, &q))
            if (is_question(&q))
                return q;
    }
    fail_msg("the net did not refresh");
    return q;
}

static void answer_alone(struct rig *r, const struct net_addr *who, const uint8_t mac[6])
{
    struct net_addr us = our(who->family);
    struct packet a = who->family == NET_IP6 ? nd_packet(who, &us, 136, 0x60, who, 2, mac)
                                             : arp_packet(2, mac, "192.0.2.2", OUR_MAC, "192.0.2.1");

    rig_send(r, &a);
}

/* Confirmed once more, and not used since: it becomes stale without a question. */
static void let_become_stale(struct rig *r, const struct net_addr *who)
{
    teach(r, who, PEER_MAC);
    wait_for_question(r);
    answer_alone(r, who, PEER_MAC);
    rig_wait(r, REACHABLE_MAX_US);
}

static void answer_waits_for_the_hop_and_then_leaves(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet ping = echo_request(&from, &us, 8), reply;

    rig_send(r, &ping);
    answer_question(r, &from, PEER_MAC);
    rig_expect(r, is_echo_reply, &reply);
    assert_memory_equal(reply.bytes, PEER_MAC, 6);
    rig_free(r);
}
BOTH_FAMILIES(answer_waits_for_the_hop_and_then_leaves)

static void answers_go_to_the_hop_and_not_to_the_frame_s_sender(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet ping = echo_request(&from, &us, 8), reply;

    memcpy(ping.bytes + 6, OTHER_MAC, 6);
    rig_send(r, &ping);
    answer_question(r, &from, PEER_MAC);
    rig_expect(r, is_echo_reply, &reply);
    assert_memory_equal(reply.bytes, PEER_MAC, 6);
    rig_free(r);
}
BOTH_FAMILIES(answers_go_to_the_hop_and_not_to_the_frame_s_sender)

static void stranger_is_answered_by_the_gateway(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = stranger(family), us = our(family), gw = gateway(family);
    struct packet ping = echo_request(&from, &us, 8), reply;

    rig_send(r, &ping);
    answer_question(r, &gw, OTHER_MAC);
    rig_expect(r, is_echo_reply, &reply);
    assert_memory_equal(reply.bytes, OTHER_MAC, 6);
    rig_free(r);
}
BOTH_FAMILIES(stranger_is_answered_by_the_gateway)

static void static_route_beats_the_default(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = addr(family == 6 ? "2001:db8:beef::9" : "203.0.113.9"), us = our(family);
    struct net_addr gw = addr(family == 6 ? "2001:db8::fd" : "192.0.2.253");
    struct packet ping = echo_request(&from, &us, 8), reply;

    rig_send(r, &ping);
    answer_question(r, &gw, OTHER_MAC);
    rig_expect(r, is_echo_reply, &reply);
    rig_free(r);
}
BOTH_FAMILIES(static_route_beats_the_default)

static void unanswered_question_is_asked_three_times(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet ping = echo_request(&from, &us, 8);

    rig_send(r, &ping);
    rig_wait(r, 10000000);
    assert_int_equal(questions(r), 3);
    assert_int_equal(rig_count(r, REASON_NEIGHBOUR_FAILED), 1);
    rig_free(r);
}
BOTH_FAMILIES(unanswered_question_is_asked_three_times)

static void questions_are_a_second_apart(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet ping = echo_request(&from, &us, 8);

    rig_send(r, &ping);
    assert_int_equal(questions(r), 1);
    for (int i = 0; i < 2; i++) {
        rig_wait(r, 950000);
        assert_int_equal(questions(r), 0);
        rig_wait(r, 50000);
        assert_int_equal(questions(r), 1);
    }
    rig_free(r);
}
BOTH_FAMILIES(questions_are_a_second_apart)

static void waiting_answer_is_no_output(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), other = host_of(family, 9), us = our(family);
    struct packet ping = echo_request(&from, &us, 8);

    rig_send(r, &ping);
    assert_false(net_has_output(r->net));
    /* News of another neighbour is looked at once. */
    ping = echo_request(&other, &us, 8);
    rig_send(r, &ping);
    answer_question(r, &other, OTHER_MAC);
    rig_run(r);
    assert_false(net_has_output(r->net));
    rig_free(r);
}
BOTH_FAMILIES(waiting_answer_is_no_output)

static void waiting_answer_is_dropped_when_the_hop_fails(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(family), us = our(family);
    struct packet ping = echo_request(&from, &us, 8);

    rig_send(r, &ping);
    rig_wait(r, 10000000);
    assert_int_equal(rig_count(r, REASON_REPLY_NO_HOP), 1);
    assert_false(net_has_output(r->net));
    rig_free(r);
}
BOTH_FAMILIES(waiting_answer_is_dropped_when_the_hop_fails)

static void failed_hop_is_refused_for_a_while_and_then_asked_again(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);
    uint8_t mac[6];

    assert_false(mac_used_for(r, &to, mac));
    rig_wait(r, 3100000);
    rig_discard(r);
    assert_false(mac_used_for(r, &to, mac));
    assert_int_equal(r->net->tcp->last_hop, IP_HOP_NONE);
    assert_int_equal(questions(r), 0);
    rig_wait(r, 3000000);
    assert_false(mac_used_for(r, &to, mac));
    answer_question(r, &to, PEER_MAC);
    used_mac_is(r, &to, PEER_MAC);
    rig_free(r);
}
BOTH_FAMILIES(failed_hop_is_refused_for_a_while_and_then_asked_again)

static void hop_generation_moves_when_a_hop_is_learnt(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);
    uint8_t mac[6];

    assert_false(mac_used_for(r, &to, mac));
    assert_int_equal(r->net->tcp->last_hop, IP_HOP_RESOLVING);
    uint32_t before = r->net->hop_generation;
    r->net->tcp->send_len = 0;
    rig_wait(r, 1000000);
    answer_question(r, &to, PEER_MAC);
    assert_int_not_equal(r->net->hop_generation, before);
    rig_free(r);
}
BOTH_FAMILIES(hop_generation_moves_when_a_hop_is_learnt)

static void hop_in_use_is_refreshed_by_asking_it_alone(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);

    teach(r, &to, PEER_MAC);
    struct packet q = wait_for_question(r);
    assert_memory_equal(q.bytes, PEER_MAC, 6);
    rig_free(r);
}
BOTH_FAMILIES(hop_in_use_is_refreshed_by_asking_it_alone)

static void hop_stays_in_use_while_it_is_being_refreshed(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);

    teach(r, &to, PEER_MAC);
    wait_for_question(r);
    used_mac_is(r, &to, PEER_MAC);
    rig_free(r);
}
BOTH_FAMILIES(hop_stays_in_use_while_it_is_being_refreshed)

static void unused_hop_is_not_refreshed(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);

    let_become_stale(r, &to);
    rig_wait(r, REACHABLE_MAX_US);
    assert_int_equal(questions(r), 0);
    rig_free(r);
}
BOTH_FAMILIES(unused_hop_is_not_refreshed)

static void stale_hop_is_used_at_once_and_asked_at_once(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);
    struct packet q;

    let_become_stale(r, &to);
    rig_discard(r);
    r->net->tcp->send_src = our(family);
    r->net->tcp->send_dst = to;
    r->net->tcp->send_len = 40;
    rig_run(r);
    rig_expect(r, is_tcp, &q);
    assert_memory_equal(q.bytes, PEER_MAC, 6);
    rig_expect(r, is_question, &q);
    assert_memory_equal(q.bytes, PEER_MAC, 6);
    rig_free(r);
}
BOTH_FAMILIES(stale_hop_is_used_at_once_and_asked_at_once)

static void forgotten_hop_leaves_no_entry(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);
    struct net_gauges g;

    let_become_stale(r, &to);
    net_gauges(r->net, &g);
    assert_int_equal(g.neighbours, 1);
    rig_wait(r, 600000000);
    net_gauges(r->net, &g);
    assert_int_equal(g.neighbours, 0);
    rig_free(r);
}
BOTH_FAMILIES(forgotten_hop_leaves_no_entry)

static void moved_hop_is_followed_within_one_refresh(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);

    teach(r, &to, PEER_MAC);
    wait_for_question(r);
    /* The old MAC is silent: after two questions to it everybody is asked. */
    rig_wait(r, 2100000);
    answer_question(r, &to, OTHER_MAC);
    used_mac_is(r, &to, OTHER_MAC);
    assert_int_equal(rig_count(r, REASON_NEIGHBOUR_CHANGED), 1);
    rig_free(r);
}
BOTH_FAMILIES(moved_hop_is_followed_within_one_refresh)

static void claim_by_a_stranger_is_not_learnt(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);
    uint8_t mac[6];

    claim(r, &to, OTHER_MAC);
    assert_false(mac_used_for(r, &to, mac));
    rig_free(r);
}
BOTH_FAMILIES(claim_by_a_stranger_is_not_learnt)

static void claim_does_not_move_a_hop_that_still_answers(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);

    teach(r, &to, PEER_MAC);
    rig_wait(r, 2000000);
    claim(r, &to, OTHER_MAC);
    used_mac_is(r, &to, PEER_MAC);
    rig_free(r);
}
BOTH_FAMILIES(claim_does_not_move_a_hop_that_still_answers)

static void claim_makes_us_ask_the_old_mac_first(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);
    struct packet q;

    teach(r, &to, PEER_MAC);
    rig_wait(r, 2000000);
    claim(r, &to, OTHER_MAC);
    rig_expect(r, is_question, &q);
    assert_memory_equal(q.bytes, PEER_MAC, 6);
    rig_free(r);
}
BOTH_FAMILIES(claim_makes_us_ask_the_old_mac_first)

static void answer_that_nobody_asked_for_is_a_claim(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);
    struct packet q;

    teach(r, &to, PEER_MAC);
    rig_wait(r, 2000000);
    answer_alone(r, &to, OTHER_MAC);
    assert_int_equal(rig_count(r, REASON_NEIGHBOUR_CLAIMED), 1);
    rig_expect(r, is_question, &q);
    assert_memory_equal(q.bytes, PEER_MAC, 6);
    rig_free(r);
}
BOTH_FAMILIES(answer_that_nobody_asked_for_is_a_claim)

static void claim_after_the_old_mac_fell_silent_is_followed_within_200_ms(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);

    teach(r, &to, PEER_MAC);
    rig_wait(r, 2000000);
    claim(r, &to, OTHER_MAC);
    rig_discard(r);
    rig_wait(r, 200000);
    answer_question(r, &to, OTHER_MAC);
    used_mac_is(r, &to, OTHER_MAC);
    rig_free(r);
}
BOTH_FAMILIES(claim_after_the_old_mac_fell_silent_is_followed_within_200_ms)

static void flood_of_claims_costs_one_question_a_second(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);
    unsigned asked = 0;

    teach(r, &to, PEER_MAC);
    rig_wait(r, 2000000);
    for (int i = 0; i < 100; i++) {
        struct packet q;
        claim(r, &to, OTHER_MAC);
        while (rig_take(r, &q))
            if (is_question(&q)) {
                asked++;
                answer_alone(r, &to, PEER_MAC);
            }
        rig_wait(r, 10000);
    }
    assert_in_range(asked, 1, 2);
    used_mac_is(r, &to, PEER_MAC);
    rig_free(r);
}
BOTH_FAMILIES(flood_of_claims_costs_one_question_a_second)

static void answer_with_another_mac_to_a_question_for_one_is_not_taken(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);

    teach(r, &to, PEER_MAC);
    wait_for_question(r);
    answer_alone(r, &to, OTHER_MAC);
    used_mac_is(r, &to, PEER_MAC);
    rig_free(r);
}
BOTH_FAMILIES(answer_with_another_mac_to_a_question_for_one_is_not_taken)

static void gateways_are_asked_for_at_the_announcement(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr gw = gateway(family), far_away = stranger(family);

    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    answer_question(r, &gw, OTHER_MAC);
    used_mac_is(r, &far_away, OTHER_MAC);
    rig_free(r);
}
BOTH_FAMILIES(gateways_are_asked_for_at_the_announcement)

static void silent_gateway_is_asked_for_again_and_again(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr gw = gateway(family), far_away = stranger(family);

    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    rig_wait(r, 30000000);
    rig_discard(r);
    rig_wait(r, 7000000);
    answer_question(r, &gw, OTHER_MAC);
    used_mac_is(r, &far_away, OTHER_MAC);
    rig_free(r);
}
BOTH_FAMILIES(silent_gateway_is_asked_for_again_and_again)

static void l9_gateway_that_fell_silent_is_used_again_when_it_is_back(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr gw = gateway(family), far_away = stranger(family);
    uint8_t mac[6];

    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    answer_question(r, &gw, OTHER_MAC);
    used_mac_is(r, &far_away, OTHER_MAC);
    rig_wait(r, 60000000);
    assert_false(mac_used_for(r, &far_away, mac));
    rig_discard(r);
    rig_wait(r, 4000000);
    answer_question(r, &gw, PEER_MAC);
    used_mac_is(r, &far_away, PEER_MAC);
    rig_free(r);
}
BOTH_FAMILIES(l9_gateway_that_fell_silent_is_used_again_when_it_is_back)

/* Host number i on our link. */
static struct net_addr host(int family, unsigned i)
{
    struct net_addr a = peer(family);

    if (family == 6)
        store_be16(a.bytes + 14, (uint16_t)(0x1000 + i));
    else
        store_be16(a.bytes + 2, (uint16_t)(0x0300 + i));
    return a;
}

static void wide_prefix(struct net_config *c, struct sim_config *s)
{
    (void)s;
    c->addrs[0].len = 16;
}

static void flood_of_unknown_hosts_leaves_known_ones_alone(int family)
{
    struct rig *r = rig_new(wide_prefix);
    struct net_addr known = peer(family), us = our(family);
    struct net_gauges g;

    teach(r, &known, PEER_MAC);
    for (unsigned i = 0; i < 3000; i++) {
        struct net_addr from = host(family, i);
        struct packet ping = echo_request(&from, &us, 8);
        rig_send(r, &ping);
        rig_discard(r);
        sim_advance(r->sim, 2000);
    }
    net_gauges(r->net, &g);
    assert_in_range(g.neighbours, 1, 512);
    used_mac_is(r, &known, PEER_MAC);
    assert_true(rig_count(r, REASON_NEIGHBOUR_FULL) > 0);
    rig_free(r);
}
BOTH_FAMILIES(flood_of_unknown_hosts_leaves_known_ones_alone)

static void newcomer_takes_the_place_of_the_oldest_silent_host(int family)
{
    struct rig *r = rig_new(wide_prefix);
    struct net_addr newcomer = host(family, 64), second = host(family, 1), oldest = host(family, 0);
    uint8_t mac[6];

    for (unsigned i = 0; i < 64; i++) {
        struct net_addr from = host(family, i);
        assert_false(mac_used_for(r, &from, mac));
        sim_advance(r->sim, 2000);
    }
    rig_discard(r);
    assert_false(mac_used_for(r, &newcomer, mac));
    answer_question(r, &newcomer, PEER_MAC);
    used_mac_is(r, &newcomer, PEER_MAC);
    /* The second oldest is still being resolved, the oldest has to be asked for anew. */
    assert_false(mac_used_for(r, &second, mac));
    assert_int_equal(questions(r), 0);
    assert_false(mac_used_for(r, &oldest, mac));
    assert_int_equal(questions(r), 1);
    rig_free(r);
}
BOTH_FAMILIES(newcomer_takes_the_place_of_the_oldest_silent_host)

static void flood_of_unknown_hosts_is_asked_for_at_a_bounded_rate(int family)
{
    struct rig *r = rig_new(wide_prefix);
    struct net_addr us = our(family);
    unsigned asked = 0;

    for (unsigned i = 0; i < 2000; i++) {
        struct net_addr from = host(family, i);
        struct packet ping = echo_request(&from, &us, 8);
        rig_send(r, &ping);
        asked += questions(r);
        sim_advance(r->sim, 100);
    }
    /* 64 at a time, each for at least 100 ms, during 200 ms */
    assert_in_range(asked, 64, 3 * 64);
    rig_free(r);
}
BOTH_FAMILIES(flood_of_unknown_hosts_is_asked_for_at_a_bounded_rate)

static void many_hosts_are_known_at_once(int family)
{
    struct rig *r = rig_new(wide_prefix);

    for (unsigned i = 0; i < 300; i++) {
        struct net_addr who = host(family, i);
        uint8_t mac[6] = {2, 0, 0, 9, (uint8_t)(i >> 8), (uint8_t)i};
        teach(r, &who, mac);
        sim_advance(r->sim, 5000);
    }
    for (unsigned i = 0; i < 300; i += 37) {
        struct net_addr who = host(family, i);
        uint8_t mac[6] = {2, 0, 0, 9, (uint8_t)(i >> 8), (uint8_t)i};
        used_mac_is(r, &who, mac);
    }
    rig_free(r);
}
BOTH_FAMILIES(many_hosts_are_known_at_once)

static void next_timer_is_when_the_next_question_is_due(int family)
{
    struct rig *r = rig_new(NULL);
    struct net_addr to = peer(family);
    uint8_t mac[6];

    assert_true(net_next_timer(r->net) == UINT64_MAX);
    assert_false(mac_used_for(r, &to, mac));
    assert_true(net_next_timer(r->net) == sim_now(r->sim) + 1000000);
    rig_wait(r, 1000000);
    assert_true(net_next_timer(r->net) == sim_now(r->sim) + 1000000);
    rig_free(r);
}
BOTH_FAMILIES(next_timer_is_when_the_next_question_is_due)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TESTS(answer_waits_for_the_hop_and_then_leaves),
        BOTH_TESTS(answers_go_to_the_hop_and_not_to_the_frame_s_sender),
        BOTH_TESTS(stranger_is_answered_by_the_gateway),
        BOTH_TESTS(static_route_beats_the_default),
        BOTH_TESTS(unanswered_question_is_asked_three_times),
        BOTH_TESTS(questions_are_a_second_apart),
        BOTH_TESTS(waiting_answer_is_no_output),
        BOTH_TESTS(waiting_answer_is_dropped_when_the_hop_fails),
        BOTH_TESTS(failed_hop_is_refused_for_a_while_and_then_asked_again),
        BOTH_TESTS(hop_generation_moves_when_a_hop_is_learnt),
        BOTH_TESTS(hop_in_use_is_refreshed_by_asking_it_alone),
        BOTH_TESTS(hop_stays_in_use_while_it_is_being_refreshed),
        BOTH_TESTS(unused_hop_is_not_refreshed),
        BOTH_TESTS(stale_hop_is_used_at_once_and_asked_at_once),
        BOTH_TESTS(forgotten_hop_leaves_no_entry),
        BOTH_TESTS(moved_hop_is_followed_within_one_refresh),
        BOTH_TESTS(claim_by_a_stranger_is_not_learnt),
        BOTH_TESTS(claim_does_not_move_a_hop_that_still_answers),
        BOTH_TESTS(claim_makes_us_ask_the_old_mac_first),
        BOTH_TESTS(answer_that_nobody_asked_for_is_a_claim),
        BOTH_TESTS(claim_after_the_old_mac_fell_silent_is_followed_within_200_ms),
        BOTH_TESTS(flood_of_claims_costs_one_question_a_second),
        BOTH_TESTS(answer_with_another_mac_to_a_question_for_one_is_not_taken),
        BOTH_TESTS(gateways_are_asked_for_at_the_announcement),
        BOTH_TESTS(l9_gateway_that_fell_silent_is_used_again_when_it_is_back),
        BOTH_TESTS(silent_gateway_is_asked_for_again_and_again),
        BOTH_TESTS(flood_of_unknown_hosts_leaves_known_ones_alone),
        BOTH_TESTS(newcomer_takes_the_place_of_the_oldest_silent_host),
        BOTH_TESTS(flood_of_unknown_hosts_is_asked_for_at_a_bounded_rate),
        BOTH_TESTS(many_hosts_are_known_at_once),
        BOTH_TESTS(next_timer_is_when_the_next_question_is_due),
    };
    return RUN_TESTS("neighbour", tests);
}
