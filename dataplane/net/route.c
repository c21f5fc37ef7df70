/* Connected prefixes and configured routes in one array, longest prefix first; the first match wins.  There
 * are at most 50 of them, and mostly four: a walk is cheaper than a tree. */
#include "dataplane/net/ip.h"

#include "base/check.h"

#define ROUTES_CAP (NET_SERVICE_ADDRS_MAX + NET_ROUTES_MAX + 1)

struct routes {
    uint16_t count;
    struct net_route sorted[ROUTES_CAP];
};

size_t routes_memory_needed(void)
{
    return sizeof(struct routes) + 64;
}

/* Behind all entries of the same or a longer prefix, so that what was added earlier wins: connected prefixes
 * are. */
static void route_add(struct routes *r, const struct net_route *route)
{
    uint16_t at = r->count;

    CHECK(r->count < ROUTES_CAP);
    while (at > 0 && r->sorted[at - 1].dst.len < route->dst.len) {
        r->sorted[at] = r->sorted[at - 1];
        at--;
    }
    r->sorted[at] = *route;
    r->count++;
}

void routes_init(struct net *n, struct arena *a)
{
    const struct net_config *c = &n->config;
    struct net_route link_local = {.dst = {.addr = n->link_local, .len = 64}, .on_link = true};

    n->routes = arena_alloc(a, sizeof *n->routes, 64);
    route_add(n->routes, &link_local);
    for (uint16_t i = 0; i < c->addr_count; i++) {
        struct net_route connected = {.dst = c->addrs[i], .on_link = true};
        route_add(n->routes, &connected);
    }
    for (uint16_t i = 0; i < c->route_count; i++)
        route_add(n->routes, &c->routes[i]);
}

bool route_lookup(const struct net *n, const struct net_addr *dst, struct net_addr *hop)
{
    const struct routes *r = n->routes;

    for (uint16_t i = 0; i < r->count; i++) {
        const struct net_route *route = &r->sorted[i];
        if (!addr_in_prefix(dst, &route->dst))
            continue;
        if (route->on_link && addr_is_subnet_broadcast(dst, &route->dst))
            return false;
        *hop = route->on_link ? *dst : route->gateway;
        return true;
    }
    return false;
}

bool route_source(const struct net *n, const struct net_addr *target, struct net_addr *src)
{
    const struct net_config *c = &n->config;
    bool found = false;

    for (uint16_t i = 0; i < c->addr_count; i++) {
        if (addr_in_prefix(target, &c->addrs[i])) {
            *src = c->addrs[i].addr;
            return true;
        }
        if (!found && c->addrs[i].addr.family == target->family) {
            *src = c->addrs[i].addr;
            found = true;
        }
    }
    if (target->family == NET_IP6 && (!found || addr_is_link_local6(target))) {
        *src = n->link_local;
        return true;
    }
    return found;
}

bool route_is_broadcast(const struct net *n, const struct net_addr *a)
{
    const struct net_config *c = &n->config;

    for (uint16_t i = 0; i < c->addr_count; i++)
        if (addr_is_subnet_broadcast(a, &c->addrs[i]))
            return true;
    return false;
}
