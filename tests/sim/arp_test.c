#include "tests/sim/link_rig.h"

static const uint8_t NOBODY[6];

static void arp_expect(struct rig *r, bool (*is)(const struct packet *), const uint8_t eth_dst[6],
                       const char *sender, const uint8_t target_mac[6], const char *target)
{
    struct net_addr from = addr(sender), to = addr(target);
    struct packet p;

    rig_expect(r, is, &p);
    assert_memory_equal(p.bytes, eth_dst, 6);
    assert_memory_equal(p.bytes + 22, OUR_MAC, 6);
    assert_memory_equal(p.bytes + 28, from.bytes, 4);
    assert_memory_equal(p.bytes + 32, target_mac, 6);
    assert_memory_equal(p.bytes + 38, to.bytes, 4);
}

static void request_for_our_address_is_answered_to_its_sender(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = arp_packet(1, PEER_MAC, "192.0.2.2", NOBODY, "192.0.2.1");

    (void)state;
    rig_send(r, &q);
    arp_expect(r, is_arp_reply, PEER_MAC, "192.0.2.1", PEER_MAC, "192.0.2.2");
    assert_int_equal(rig_count(r, REASON_ARP_ANSWERED), 1);
    rig_free(r);
}

static void request_for_each_service_address_is_answered(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = arp_packet(1, PEER_MAC, "192.0.2.2", NOBODY, "198.51.100.7");

    (void)state;
    rig_send(r, &q);
    arp_expect(r, is_arp_reply, PEER_MAC, "198.51.100.7", PEER_MAC, "192.0.2.2");
    rig_free(r);
}

static void request_for_another_host_is_not_answered(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = arp_packet(1, PEER_MAC, "192.0.2.2", NOBODY, "192.0.2.3");

    (void)state;
    rig_send_refused(r, &q, REASON_ARP_NOT_OURS);
    rig_free(r);
}

static void claim_in_a_request_makes_us_ask_again(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = arp_packet(1, OTHER_MAC, "192.0.2.2", NOBODY, "192.0.2.9");
    struct net_addr who = peer(4);

    (void)state;
    teach(r, &who, PEER_MAC);
    rig_wait(r, 2000000);
    rig_send(r, &q);
    assert_int_equal(rig_count(r, REASON_NEIGHBOUR_CLAIMED), 1);
    rig_free(r);
}

static void probe_for_our_address_is_answered(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = arp_packet(1, PEER_MAC, "0.0.0.0", NOBODY, "192.0.2.1");

    (void)state;
    rig_send(r, &q);
    arp_expect(r, is_arp_reply, PEER_MAC, "192.0.2.1", PEER_MAC, "0.0.0.0");
    rig_free(r);
}

static void request_teaches_us_nothing(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = arp_packet(1, OTHER_MAC, "192.0.2.2", NOBODY, "192.0.2.1");
    struct net_addr to = peer(4);
    uint8_t mac[6];

    (void)state;
    rig_send(r, &q);
    assert_false(mac_used_for(r, &to, mac));
    rig_free(r);
}

static void padding_behind_the_packet_is_ignored(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = arp_packet(1, PEER_MAC, "192.0.2.2", NOBODY, "192.0.2.1");
    static const uint8_t padding[18];

    (void)state;
    packet_put(&q, padding, sizeof padding);
    rig_send(r, &q);
    arp_expect(r, is_arp_reply, PEER_MAC, "192.0.2.1", PEER_MAC, "192.0.2.2");
    rig_free(r);
}

static void truncated_packet_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = arp_packet(1, PEER_MAC, "192.0.2.2", NOBODY, "192.0.2.1");

    (void)state;
    q.len--;
    rig_send_refused(r, &q, REASON_ARP_TRUNCATED);
    rig_free(r);
}

static void each_foreign_format_field_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    static const uint8_t fields[] = {14, 15, 16, 17, 18, 19, 20, 21};

    (void)state;
    for (size_t i = 0; i < sizeof fields; i++) {
        struct packet q = arp_packet(1, PEER_MAC, "192.0.2.2", NOBODY, "192.0.2.1");
        q.bytes[fields[i]] ^= 0x08;
        rig_send_refused(r, &q, REASON_ARP_BAD_FORMAT);
    }
    rig_free(r);
}

static void sender_mac_of_a_group_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = arp_packet(1, BROADCAST_MAC, "192.0.2.2", NOBODY, "192.0.2.1");

    (void)state;
    rig_send_refused(r, &q, REASON_ARP_BAD_SENDER);
    rig_free(r);
}

static void sender_mac_of_zeros_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = arp_packet(1, NOBODY, "192.0.2.2", NOBODY, "192.0.2.1");

    (void)state;
    rig_send_refused(r, &q, REASON_ARP_BAD_SENDER);
    rig_free(r);
}

static void sender_address_that_no_host_has_is_refused(void **state)
{
    static const char *const senders[] = {"127.0.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.255"};
    struct rig *r = rig_new(NULL);

    (void)state;
    for (size_t i = 0; i < sizeof senders / sizeof *senders; i++) {
        struct packet q = arp_packet(1, PEER_MAC, senders[i], NOBODY, "192.0.2.1");
        rig_send_refused(r, &q, REASON_ARP_BAD_SENDER);
    }
    rig_free(r);
}

static void reply_from_address_zero_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = arp_packet(2, PEER_MAC, "0.0.0.0", OUR_MAC, "192.0.2.1");

    (void)state;
    rig_send_refused(r, &q, REASON_ARP_BAD_SENDER);
    rig_free(r);
}

static void reply_to_no_question_is_refused(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet q = arp_packet(2, PEER_MAC, "192.0.2.2", OUR_MAC, "192.0.2.1");

    (void)state;
    rig_send_refused(r, &q, REASON_NEIGHBOUR_UNSOLICITED);
    rig_free(r);
}

static void reply_sent_to_another_host_is_not_taken_for_an_answer(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet reply = arp_packet(2, PEER_MAC, "192.0.2.2", OTHER_MAC, "192.0.2.9");
    struct net_addr to = peer(4);
    uint8_t mac[6];

    (void)state;
    assert_false(mac_used_for(r, &to, mac));
    rig_discard(r);
    rig_send_refused(r, &reply, REASON_ARP_NOT_OURS);
    assert_false(mac_used_for(r, &to, mac));
    rig_free(r);
}

static void another_mac_on_our_address_is_a_conflict_and_defended(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet claim = arp_packet(1, OTHER_MAC, "192.0.2.1", NOBODY, "192.0.2.1");

    (void)state;
    rig_send(r, &claim);
    assert_int_equal(rig_count(r, REASON_ARP_CONFLICT), 1);
    arp_expect(r, is_arp_request, BROADCAST_MAC, "192.0.2.1", NOBODY, "192.0.2.1");
    rig_free(r);
}

static void conflict_is_defended_once_in_ten_seconds(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet claim = arp_packet(1, OTHER_MAC, "192.0.2.1", NOBODY, "192.0.2.1");

    (void)state;
    for (int i = 0; i < 20; i++)
        rig_send(r, &claim);
    assert_int_equal(rig_discard(r), 1);
    rig_wait(r, 10000000);
    rig_send(r, &claim);
    assert_int_equal(rig_discard(r), 1);
    rig_free(r);
}

static bool is_our_announcement(const struct packet *p)
{
    return is_arp_request(p) && memcmp(p->bytes + 28, p->bytes + 38, 4) == 0;
}

static void announcement_is_a_request_for_each_address_by_ourselves(void **state)
{
    struct rig *r = rig_new(NULL);

    (void)state;
    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    arp_expect(r, is_our_announcement, BROADCAST_MAC, "192.0.2.1", NOBODY, "192.0.2.1");
    arp_expect(r, is_our_announcement, BROADCAST_MAC, "198.51.100.7", NOBODY, "198.51.100.7");
    rig_free(r);
}

static void announcements_come_three_times_a_second_apart(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet p;
    unsigned count = 0;

    (void)state;
    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    for (int second = 0; second < 6; second++) {
        while (rig_take(r, &p))
            count += is_our_announcement(&p);
        assert_int_equal(count, second < 3 ? 2 * (second + 1) : 6);
        rig_wait(r, 1000000);
    }
    rig_free(r);
}

/* RFC 5227 2.1.1 */
static bool is_our_probe(const struct packet *p)
{
    return is_arp_request(p) && load_be32(p->bytes + 28) == 0;
}

static uint32_t conflicts(const struct rig *r)
{
    struct net_gauges g;

    net_gauges(r->net, &g);
    return g.addr_conflicts;
}

static void l1_each_address_is_probed_three_times_a_second_apart(void **state)
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

static void l1_probe_tells_nobody_s_address(void **state)
{
    struct rig *r = rig_new(NULL);

    (void)state;
    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    arp_expect(r, is_our_probe, BROADCAST_MAC, "0.0.0.0", NOBODY, "192.0.2.1");
    arp_expect(r, is_our_probe, BROADCAST_MAC, "0.0.0.0", NOBODY, "198.51.100.7");
    rig_free(r);
}

/* It is configured: it stays ours. */
static void l1_answer_to_our_probe_is_a_conflict_and_the_address_is_served_on(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet answer = arp_packet(2, OTHER_MAC, "192.0.2.1", OUR_MAC, "0.0.0.0");
    struct packet q = arp_packet(1, PEER_MAC, "192.0.2.2", NOBODY, "192.0.2.1"), p;

    (void)state;
    net_announce(r->net, sim_now(r->sim));
    rig_run(r);
    rig_discard(r);
    rig_send(r, &answer);
    assert_int_equal(rig_count(r, REASON_ARP_CONFLICT), 1);
    assert_int_equal(conflicts(r), 1);
    rig_expect(r, is_our_announcement, &p);
    rig_send(r, &q);
    rig_expect(r, is_arp_reply, &p);
    rig_free(r);
}

static void l1_contested_addresses_are_counted_once_each(void **state)
{
    struct rig *r = rig_new(NULL);
    struct packet first = arp_packet(2, OTHER_MAC, "192.0.2.1", OUR_MAC, "0.0.0.0");
    struct packet second = arp_packet(1, OTHER_MAC, "198.51.100.7", NOBODY, "198.51.100.7");

    (void)state;
    for (int i = 0; i < 5; i++)
        rig_send(r, &first);
    assert_int_equal(conflicts(r), 1);
    rig_send(r, &second);
    assert_int_equal(conflicts(r), 2);
    rig_free(r);
}

static void question_is_a_broadcast_from_our_address_on_that_prefix(void **state)
{
    struct rig *r = rig_new(NULL);
    struct net_addr from = peer(4), to = addr("198.51.100.7");
    struct packet ping = echo_request(&from, &to, 8);

    (void)state;
    rig_send(r, &ping);
    arp_expect(r, is_arp_request, BROADCAST_MAC, "192.0.2.1", NOBODY, "192.0.2.2");
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_for_our_address_is_answered_to_its_sender),
        cmocka_unit_test(request_for_each_service_address_is_answered),
        cmocka_unit_test(request_for_another_host_is_not_answered),
        cmocka_unit_test(claim_in_a_request_makes_us_ask_again),
        cmocka_unit_test(probe_for_our_address_is_answered),
        cmocka_unit_test(request_teaches_us_nothing),
        cmocka_unit_test(padding_behind_the_packet_is_ignored),
        cmocka_unit_test(truncated_packet_is_refused),
        cmocka_unit_test(each_foreign_format_field_is_refused),
        cmocka_unit_test(sender_mac_of_a_group_is_refused),
        cmocka_unit_test(sender_mac_of_zeros_is_refused),
        cmocka_unit_test(sender_address_that_no_host_has_is_refused),
        cmocka_unit_test(reply_from_address_zero_is_refused),
        cmocka_unit_test(reply_to_no_question_is_refused),
        cmocka_unit_test(reply_sent_to_another_host_is_not_taken_for_an_answer),
        cmocka_unit_test(another_mac_on_our_address_is_a_conflict_and_defended),
        cmocka_unit_test(conflict_is_defended_once_in_ten_seconds),
        cmocka_unit_test(announcement_is_a_request_for_each_address_by_ourselves),
        cmocka_unit_test(announcements_come_three_times_a_second_apart),
        cmocka_unit_test(l1_each_address_is_probed_three_times_a_second_apart),
        cmocka_unit_test(l1_probe_tells_nobody_s_address),
        cmocka_unit_test(l1_answer_to_our_probe_is_a_conflict_and_the_address_is_served_on),
        cmocka_unit_test(l1_contested_addresses_are_counted_once_each),
        cmocka_unit_test(question_is_a_broadcast_from_our_address_on_that_prefix),
    };
    return RUN_TESTS("arp", tests);
}
