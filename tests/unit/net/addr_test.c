#include "tests/unit/test.h"

#include "dataplane/net/ip.h"

static bool parses(const char *text)
{
    struct net_addr a;

    return net_addr_parse(span_str(text), &a);
}

static bool prefix_parses(const char *text)
{
    struct net_prefix p;

    return net_prefix_parse(span_str(text), &p);
}

static struct net_addr addr(const char *text)
{
    struct net_addr a;

    assert_true(net_addr_parse(span_str(text), &a));
    return a;
}

static struct net_prefix prefix(const char *text)
{
    struct net_prefix p;

    assert_true(net_prefix_parse(span_str(text), &p));
    return p;
}

static void ip4_address_is_parsed_into_its_first_four_bytes(void **state)
{
    static const uint8_t want[16] = {192, 0, 2, 1};
    struct net_addr a = addr("192.0.2.1");

    (void)state;
    assert_int_equal(a.family, NET_IP4);
    assert_memory_equal(a.bytes, want, 16);
}

static void ip6_address_is_parsed(void **state)
{
    static const uint8_t want[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    struct net_addr a = addr("2001:db8::1");

    (void)state;
    assert_int_equal(a.family, NET_IP6);
    assert_memory_equal(a.bytes, want, 16);
}

static void longest_ip6_text_is_parsed(void **state)
{
    (void)state;
    assert_true(parses("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"));
}

static void address_with_anything_after_it_is_refused(void **state)
{
    (void)state;
    assert_false(parses("192.0.2.1 "));
    assert_false(parses("192.0.2.1/24"));
    assert_false(parses("2001:db8::1%eth0"));
}

static void incomplete_address_is_refused(void **state)
{
    (void)state;
    assert_false(parses(""));
    assert_false(parses("192.0.2"));
    assert_false(parses("192.0.2."));
    assert_false(parses("2001:db8:1"));
}

static void number_with_leading_zero_or_out_of_range_is_refused(void **state)
{
    (void)state;
    assert_false(parses("192.0.02.1"));
    assert_false(parses("192.0.2.256"));
    assert_false(parses("2001:db8::10000"));
}

static void address_with_a_nul_inside_is_refused(void **state)
{
    struct net_addr a;

    (void)state;
    assert_false(net_addr_parse(span_of("192.0.2.1\0x", 11), &a));
}

static void overlong_text_is_refused(void **state)
{
    (void)state;
    assert_false(parses("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555"));
}

static void prefix_is_parsed(void **state)
{
    struct net_prefix p = prefix("2001:db8::/32");

    (void)state;
    assert_int_equal(p.len, 32);
    assert_int_equal(p.addr.family, NET_IP6);
}

static void prefix_length_beyond_the_family_is_refused(void **state)
{
    (void)state;
    assert_true(prefix_parses("192.0.2.1/32") && prefix_parses("::/128") && prefix_parses("0.0.0.0/0"));
    assert_false(prefix_parses("192.0.2.1/33"));
    assert_false(prefix_parses("::/129"));
    assert_false(prefix_parses("::/256"));
}

static void malformed_prefix_length_is_refused(void **state)
{
    (void)state;
    assert_false(prefix_parses("192.0.2.1"));
    assert_false(prefix_parses("192.0.2.1/"));
    assert_false(prefix_parses("192.0.2.1/024"));
    assert_false(prefix_parses("192.0.2.1/-1"));
    assert_false(prefix_parses("192.0.2.1/24/24"));
    assert_false(prefix_parses("/24"));
    assert_false(prefix_parses(""));
}

static void prefix_contains_what_shares_its_bits(void **state)
{
    struct net_prefix p = prefix("192.0.2.64/26"), six = prefix("2001:db8:0:8000::/49");
    struct net_addr in = addr("192.0.2.127"), out = addr("192.0.2.128");
    struct net_addr in6 = addr("2001:db8:0:ffff::1"), out6 = addr("2001:db8:0:7fff::1");

    (void)state;
    assert_true(addr_in_prefix(&in, &p));
    assert_false(addr_in_prefix(&out, &p));
    assert_true(addr_in_prefix(&in6, &six));
    assert_false(addr_in_prefix(&out6, &six));
}

static void empty_prefix_contains_its_family_alone(void **state)
{
    struct net_prefix any4 = prefix("0.0.0.0/0");
    struct net_addr a = addr("8.8.8.8"), b = addr("::1");

    (void)state;
    assert_true(addr_in_prefix(&a, &any4));
    assert_false(addr_in_prefix(&b, &any4));
}

static void subnet_broadcast_is_all_ones_or_all_zeros(void **state)
{
    struct net_prefix p = prefix("192.0.2.1/24"), p2p = prefix("192.0.2.0/31");
    struct net_addr ones = addr("192.0.2.255"), zeros = addr("192.0.2.0"), host = addr("192.0.2.254");

    (void)state;
    assert_true(addr_is_subnet_broadcast(&ones, &p));
    assert_true(addr_is_subnet_broadcast(&zeros, &p));
    assert_false(addr_is_subnet_broadcast(&host, &p));
    assert_false(addr_is_subnet_broadcast(&zeros, &p2p));
}

static void martians_are_known(void **state)
{
    static const char *const martians[] = {"0.0.0.0",   "0.1.2.3",         "127.0.0.1", "224.0.0.1",
                                           "240.0.0.1", "255.255.255.255", "::",        "::1",
                                           "ff02::1",   "::ffff:1.2.3.4"};

    (void)state;
    for (size_t i = 0; i < sizeof martians / sizeof *martians; i++) {
        struct net_addr a = addr(martians[i]);
        assert_true(addr_is_martian(&a));
    }
}

static void ordinary_addresses_are_no_martians(void **state)
{
    static const char *const hosts[] = {"1.1.1.1",     "10.0.0.1", "223.255.255.254",
                                        "2001:db8::1", "fe80::1",  "fd00::1"};

    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct net_addr a = addr(hosts[i]);
        assert_false(addr_is_martian(&a));
    }
}

static void link_local_address_is_made_of_the_mac(void **state)
{
    static const uint8_t mac[6] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55};
    struct net_addr got = addr_link_local(mac), want = addr("fe80::211:22ff:fe33:4455");

    (void)state;
    assert_true(net_addr_equal(&got, &want));
}

static void solicited_node_group_has_the_last_three_bytes(void **state)
{
    struct net_addr a = addr("2001:db8::12:3456"), got = addr_solicited_node(&a),
                    want = addr("ff02::1:ff12:3456");

    (void)state;
    assert_true(net_addr_equal(&got, &want));
}

static void group_mac_has_the_last_four_bytes(void **state)
{
    static const uint8_t want[6] = {0x33, 0x33, 0xff, 0x12, 0x34, 0x56};
    struct net_addr g = addr("ff02::1:ff12:3456");
    uint8_t mac[6];

    (void)state;
    addr_group_mac(&g, mac);
    assert_memory_equal(mac, want, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ip4_address_is_parsed_into_its_first_four_bytes),
        cmocka_unit_test(ip6_address_is_parsed),
        cmocka_unit_test(longest_ip6_text_is_parsed),
        cmocka_unit_test(address_with_anything_after_it_is_refused),
        cmocka_unit_test(incomplete_address_is_refused),
        cmocka_unit_test(number_with_leading_zero_or_out_of_range_is_refused),
        cmocka_unit_test(address_with_a_nul_inside_is_refused),
        cmocka_unit_test(overlong_text_is_refused),
        cmocka_unit_test(prefix_is_parsed),
        cmocka_unit_test(prefix_length_beyond_the_family_is_refused),
        cmocka_unit_test(malformed_prefix_length_is_refused),
        cmocka_unit_test(prefix_contains_what_shares_its_bits),
        cmocka_unit_test(empty_prefix_contains_its_family_alone),
        cmocka_unit_test(subnet_broadcast_is_all_ones_or_all_zeros),
        cmocka_unit_test(martians_are_known),
        cmocka_unit_test(ordinary_addresses_are_no_martians),
        cmocka_unit_test(link_local_address_is_made_of_the_mac),
        cmocka_unit_test(solicited_node_group_has_the_last_three_bytes),
        cmocka_unit_test(group_mac_has_the_last_four_bytes),
    };
    return RUN_TESTS("net_addr", tests);
}
