#include "tests/unit/test.h"

#include "dataplane/net/ip.h"

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

static void add_route(struct net_config *c, const char *dst, const char *gateway)
{
    struct net_route *r = &c->routes[c->route_count++];

    r->dst = prefix(dst);
    r->on_link = gateway == NULL;
    if (gateway != NULL)
        r->gateway = addr(gateway);
}

/* A net of which nothing but configuration and routes exists; memory goes with the arena. */
static struct net *routed(struct arena *a)
{
    struct net *n = arena_alloc(a, sizeof *n, 64);
    struct net_config *c = &n->config;

    c->addrs[0] = prefix("192.0.2.1/24");
    c->addrs[1] = prefix("192.0.2.129/25");
    c->addrs[2] = prefix("2001:db8::1/64");
    c->addr_count = 3;
    add_route(c, "0.0.0.0/0", "192.0.2.254");
    add_route(c, "10.0.0.0/8", "192.0.2.8");
    add_route(c, "10.1.0.0/16", "192.0.2.16");
    add_route(c, "10.1.2.3/32", "192.0.2.32");
    add_route(c, "172.16.0.0/12", NULL);
    add_route(c, "2001:db8:f::/48", "2001:db8::f");
    n->link_local = addr("fe80::ff:fe00:1");
    routes_init(n, a);
    return n;
}

static void goes_by(const char *dst, const char *hop)
{
    struct arena *a = arena_new(1 << 20, false);
    const struct net *n = routed(a);
    struct net_addr to = addr(dst), want = hop != NULL ? addr(hop) : to, got;

    assert_true(route_lookup(n, &to, &got));
    assert_true(net_addr_equal(&got, &want));
    arena_free(a);
}

static void goes_nowhere(const char *dst)
{
    struct arena *a = arena_new(1 << 20, false);
    const struct net *n = routed(a);
    struct net_addr to = addr(dst), got;

    assert_false(route_lookup(n, &to, &got));
    arena_free(a);
}

static void connected_prefix_is_reached_directly(void **state)
{
    (void)state;
    goes_by("192.0.2.77", NULL);
    goes_by("2001:db8::77", NULL);
}

static void link_local_destination_is_reached_directly(void **state)
{
    (void)state;
    goes_by("fe80::77", NULL);
}

static void default_route_takes_the_rest(void **state)
{
    (void)state;
    goes_by("8.8.8.8", "192.0.2.254");
}

static void longest_prefix_wins(void **state)
{
    (void)state;
    goes_by("10.2.0.1", "192.0.2.8");
    goes_by("10.1.9.9", "192.0.2.16");
    goes_by("10.1.2.3", "192.0.2.32");
    goes_by("10.1.2.4", "192.0.2.16");
}

static void on_link_route_needs_no_gateway(void **state)
{
    (void)state;
    goes_by("172.20.0.5", NULL);
}

static void static_ip6_route_is_used(void **state)
{
    (void)state;
    goes_by("2001:db8:f:1::9", "2001:db8::f");
}

static void destination_without_a_route_is_refused(void **state)
{
    (void)state;
    goes_nowhere("2a00::1");
}

static void broadcast_of_a_connected_prefix_is_refused(void **state)
{
    (void)state;
    goes_nowhere("192.0.2.0");
    goes_nowhere("192.0.2.255");
}

static void source_for(const char *target, const char *want_text)
{
    struct arena *a = arena_new(1 << 20, false);
    const struct net *n = routed(a);
    struct net_addr to = addr(target), want = addr(want_text), got;

    assert_true(route_source(n, &to, &got));
    assert_true(net_addr_equal(&got, &want));
    arena_free(a);
}

static void questions_come_from_an_address_on_the_same_prefix(void **state)
{
    (void)state;
    source_for("192.0.2.3", "192.0.2.1");
    source_for("2001:db8::3", "2001:db8::1");
}

static void questions_about_link_local_neighbours_come_from_the_link_local_address(void **state)
{
    (void)state;
    source_for("fe80::3", "fe80::ff:fe00:1");
}

static void questions_off_every_prefix_come_from_the_first_address(void **state)
{
    (void)state;
    source_for("172.20.0.5", "192.0.2.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connected_prefix_is_reached_directly),
        cmocka_unit_test(link_local_destination_is_reached_directly),
        cmocka_unit_test(default_route_takes_the_rest),
        cmocka_unit_test(longest_prefix_wins),
        cmocka_unit_test(on_link_route_needs_no_gateway),
        cmocka_unit_test(static_ip6_route_is_used),
        cmocka_unit_test(destination_without_a_route_is_refused),
        cmocka_unit_test(broadcast_of_a_connected_prefix_is_refused),
        cmocka_unit_test(questions_come_from_an_address_on_the_same_prefix),
        cmocka_unit_test(questions_about_link_local_neighbours_come_from_the_link_local_address),
        cmocka_unit_test(questions_off_every_prefix_come_from_the_first_address),
    };
    return RUN_TESTS("net_route", tests);
}
