/* Each case takes a sound configuration and breaks one thing. */
#include "tests/unit/test.h"

#include "dataplane/net/net.h"

static struct net_prefix prefix(const char *text)
{
    struct net_prefix p;

    assert_true(net_prefix_parse(span_str(text), &p));
    return p;
}

static struct net_route route(const char *dst, const char *gateway)
{
    struct net_route r = {.dst = prefix(dst)};

    assert_true(net_addr_parse(span_str(gateway), &r.gateway));
    return r;
}

static struct net_config sound(void)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
    struct net_config c;

    net_config_defaults(&c);
    memcpy(c.mac, mac, 6);
    c.seed[31] = 1;
    c.addrs[0] = prefix("192.0.2.1/24");
    c.addrs[1] = prefix("2001:db8::1/64");
    c.addr_count = 2;
    c.routes[0] = route("0.0.0.0/0", "192.0.2.254");
    c.routes[1] = route("::/0", "fe80::1");
    c.route_count = 2;
    c.ports[0] = 443;
    c.port_count = 1;
    return c;
}

static void refused(const struct net_config *c, const char *why)
{
    const char *got = net_config_error(c);

    assert_non_null(got);
    assert_string_equal(got, why);
}

static void sound_configuration_is_accepted(void **state)
{
    struct net_config c = sound();

    (void)state;
    assert_null(net_config_error(&c));
}

static void mac_of_zeros_or_of_a_group_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.mac[0] = 1;
    refused(&c, "mac is zero or a group");
    memset(c.mac, 0, 6);
    refused(&c, "mac is zero or a group");
}

static void missing_seed_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    memset(c.seed, 0, sizeof c.seed);
    refused(&c, "seed is not set");
}

static void configuration_without_an_address_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.addr_count = 0;
    refused(&c, "the number of service addresses is out of range");
}

static void address_that_no_host_can_have_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.addrs[0] = prefix("224.0.0.1/24");
    refused(&c, "a service address is not a unicast address");
}

static void network_and_broadcast_addresses_are_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.addrs[0] = prefix("192.0.2.255/24");
    refused(&c, "a service address is the network or broadcast address of its prefix");
    c.addrs[0] = prefix("192.0.2.0/24");
    refused(&c, "a service address is the network or broadcast address of its prefix");
}

static void prefix_length_zero_of_an_address_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.addrs[0].len = 0;
    refused(&c, "the prefix length of a service address is out of range");
}

static void prefix_length_beyond_the_address_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.addrs[0].len = 33;
    refused(&c, "the prefix length of a service address is out of range");
}

static void address_given_twice_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.addrs[1] = c.addrs[0];
    refused(&c, "a service address is given twice");
}

static void address_without_a_family_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.addrs[1].addr.family = 5;
    refused(&c, "a service address is neither IPv4 nor IPv6");
}

static void route_with_bits_beyond_its_length_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.routes[0] = route("10.1.0.0/15", "192.0.2.254");
    refused(&c, "the prefix of a route has bits set beyond its length");
}

static void routes_with_the_same_prefix_are_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.routes[1] = route("0.0.0.0/0", "192.0.2.253");
    refused(&c, "two routes have the same prefix");
}

static void gateway_of_another_family_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.routes[0] = route("0.0.0.0/0", "2001:db8::2");
    refused(&c, "the gateway of a route is of another family than its prefix");
}

static void gateway_on_no_connected_prefix_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.routes[0] = route("0.0.0.0/0", "192.0.3.254");
    refused(&c, "the gateway of a route is on no prefix of a service address");
}

static void own_address_as_gateway_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.routes[0] = route("0.0.0.0/0", "192.0.2.1");
    refused(&c, "the gateway of a route is our own address");
    c.routes[0] = route("2001:db8:1::/48", "fe80::ff:fe00:1");
    refused(&c, "the gateway of a route is our own address");
}

static void broadcast_gateway_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.routes[0] = route("0.0.0.0/0", "192.0.2.255");
    refused(&c, "the gateway of a route is not a unicast address");
}

static void on_link_route_needs_no_gateway(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.routes[0] = (struct net_route){.dst = prefix("10.0.0.0/8"), .on_link = true};
    assert_null(net_config_error(&c));
}

static void too_many_ports_are_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.port_count = 0;
    assert_null(net_config_error(&c));
    c.port_count = NET_PORTS_MAX + 1;
    refused(&c, "the number of listening ports is out of range");
}

static void port_zero_and_double_ports_are_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.ports[0] = 0;
    refused(&c, "a listening port is 0");
    c.ports[0] = c.ports[1] = 443;
    c.port_count = 2;
    refused(&c, "a listening port is given twice");
}

static void mtu_out_of_range_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.mtu = 1279;
    refused(&c, "mtu is not between 1280 and 9000");
    c.mtu = 9001;
    refused(&c, "mtu is not between 1280 and 9000");
}

static void l7_reserved_vlan_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.vlan_id = 4095;
    refused(&c, "vlan_id is more than 4094");
    c.vlan_id = 4094;
    assert_null(net_config_error(&c));
}

static void buffer_that_is_no_power_of_two_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.recv_buffer = 65535;
    refused(&c, "a connection buffer is not a power of two between 4 KiB and 1 MiB");
    c = sound();
    c.send_buffer = 2 * 1024 * 1024;
    refused(&c, "a connection buffer is not a power of two between 4 KiB and 1 MiB");
}

static void empty_pools_are_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.send_buffers_max = 0;
    refused(&c, "there are no connection buffers");
    c = sound();
    c.conns_max = 0;
    refused(&c, "conns_max is out of range");
}

static void l5_bounds_of_fragments_are_checked(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.frag_datagrams = 0;
    refused(&c, "frag_datagrams is not between 1 and 4096");
    c.frag_datagrams = 4097;
    refused(&c, "frag_datagrams is not between 1 and 4096");
    c = sound();
    c.frag_source_datagrams = (uint16_t)(c.frag_datagrams + 1);
    refused(&c, "frag_source_datagrams is not between 1 and frag_datagrams");
    c = sound();
    c.frag_bytes = 65535;
    refused(&c, "frag_bytes is not between 64 KiB and 64 MiB");
    c.frag_bytes = 64 * 1024 * 1024 + 1;
    refused(&c, "frag_bytes is not between 64 KiB and 64 MiB");
    c = sound();
    c.frag_source_bytes = 65535;
    refused(&c, "frag_source_bytes is not between 64 KiB and frag_bytes");
    c.frag_source_bytes = c.frag_bytes + 1;
    refused(&c, "frag_source_bytes is not between 64 KiB and frag_bytes");
}

static void times_of_zero_are_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.msl_ms = 0;
    refused(&c, "msl_ms or fin_wait_2_ms is out of range");
}

static void largest_values_are_accepted(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.mtu = 9000;
    c.syn_ack_retries = 15;
    c.msl_ms = 600000;
    c.recv_buffer = c.send_buffer = 1024 * 1024;
    for (c.addr_count = 0; c.addr_count < NET_SERVICE_ADDRS_MAX; c.addr_count++) {
        c.addrs[c.addr_count] = prefix("192.0.2.1/24");
        c.addrs[c.addr_count].addr.bytes[3] = (uint8_t)(1 + c.addr_count);
    }
    c.route_count = 1;
    for (; c.route_count < NET_ROUTES_MAX; c.route_count++) {
        c.routes[c.route_count] = route("10.0.0.0/16", "192.0.2.254");
        c.routes[c.route_count].dst.addr.bytes[1] = (uint8_t)c.route_count;
    }
    assert_null(net_config_error(&c));
}

static void number_of_retries_is_bounded(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.syn_ack_retries = 16;
    refused(&c, "syn_ack_retries is more than 15");
}

static void keep_alive_without_interval_or_questions_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.keepalive_interval_ms = 0;
    refused(&c, "keepalive_interval_ms or keepalive_probes is 0");
    c.keepalive_idle_ms = 0;
    assert_null(net_config_error(&c));
    c = sound();
    c.keepalive_probes = 0;
    refused(&c, "keepalive_interval_ms or keepalive_probes is 0");
}

static void time_wait_size_out_of_range_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.time_wait_max = 0;
    refused(&c, "time_wait_max is not between 1 and 4194303");
    c.time_wait_max = 4194304;
    refused(&c, "time_wait_max is not between 1 and 4194303");
}

static void syn_cache_size_out_of_range_is_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.syn_cache_max = 0;
    refused(&c, "syn_cache_max is not between 1 and 65535");
    c.syn_cache_max = 65536;
    refused(&c, "syn_cache_max is not between 1 and 65535");
}

static void too_many_routes_are_refused(void **state)
{
    struct net_config c = sound();

    (void)state;
    c.route_count = NET_ROUTES_MAX + 1;
    refused(&c, "there are too many routes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_configuration_is_accepted),
        cmocka_unit_test(mac_of_zeros_or_of_a_group_is_refused),
        cmocka_unit_test(missing_seed_is_refused),
        cmocka_unit_test(configuration_without_an_address_is_refused),
        cmocka_unit_test(address_that_no_host_can_have_is_refused),
        cmocka_unit_test(network_and_broadcast_addresses_are_refused),
        cmocka_unit_test(prefix_length_zero_of_an_address_is_refused),
        cmocka_unit_test(prefix_length_beyond_the_address_is_refused),
        cmocka_unit_test(address_given_twice_is_refused),
        cmocka_unit_test(address_without_a_family_is_refused),
        cmocka_unit_test(route_with_bits_beyond_its_length_is_refused),
        cmocka_unit_test(routes_with_the_same_prefix_are_refused),
        cmocka_unit_test(gateway_of_another_family_is_refused),
        cmocka_unit_test(gateway_on_no_connected_prefix_is_refused),
        cmocka_unit_test(own_address_as_gateway_is_refused),
        cmocka_unit_test(broadcast_gateway_is_refused),
        cmocka_unit_test(on_link_route_needs_no_gateway),
        cmocka_unit_test(too_many_ports_are_refused),
        cmocka_unit_test(port_zero_and_double_ports_are_refused),
        cmocka_unit_test(mtu_out_of_range_is_refused),
        cmocka_unit_test(l7_reserved_vlan_is_refused),
        cmocka_unit_test(buffer_that_is_no_power_of_two_is_refused),
        cmocka_unit_test(empty_pools_are_refused),
        cmocka_unit_test(l5_bounds_of_fragments_are_checked),
        cmocka_unit_test(times_of_zero_are_refused),
        cmocka_unit_test(keep_alive_without_interval_or_questions_is_refused),
        cmocka_unit_test(time_wait_size_out_of_range_is_refused),
        cmocka_unit_test(syn_cache_size_out_of_range_is_refused),
        cmocka_unit_test(largest_values_are_accepted),
        cmocka_unit_test(number_of_retries_is_bounded),
        cmocka_unit_test(too_many_routes_are_refused),
    };
    return RUN_TESTS("net_config", tests);
}
