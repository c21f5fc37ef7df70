/* What may be configured.  Each rule is a static text that names what is wrong. */
#include "dataplane/net/ip.h"

#include "base/limits.h"

#define MTU_MIN            1280 /* RFC 8200 5 */
#define MTU_MAX            9000
#define VLAN_MAX           4094 /* 4095 is reserved (IEEE 802.1Q) */
#define BUFFER_MIN         4096
#define BUFFER_MAX         (1024 * 1024)
#define CONNS_MAX          (4 * 1024 * 1024)
#define MSL_MS_MAX         600000
#define SYN_CACHE_MAX      65535
#define SYN_ACK_TRIES_MAX  15
#define FRAG_BYTES_MIN     65536 /* one datagram of any length */
#define FRAG_BYTES_MAX     (64 * 1024 * 1024)
#define FRAG_DATAGRAMS_MAX 4096 /* each fragment costs a walk along them */

void net_config_defaults(struct net_config *c)
{
    *c = (struct net_config){
        .mtu = 1500,
        .conns_max = 16384,
        .recv_buffer = 65536,
        .recv_buffers_max = 1024,
        .send_buffer = 65536,
        .send_buffers_max = 1024,
        .msl_ms = 30000,
        .fin_wait_2_ms = 60000,
        .keepalive_idle_ms = 60000,
        .keepalive_interval_ms = 10000,
        .keepalive_probes = 6,
        .syn_ack_retries = 5,
        .syn_cache_max = 1024,
        .syn_cookies_above = 512,
        .time_wait_max = 16384,
        .frag_datagrams = FRAG_DATAGRAMS,
        .frag_source_datagrams = FRAG_SOURCE_DATAGRAMS,
        .frag_bytes = FRAG_BYTES,
        .frag_source_bytes = FRAG_SOURCE_BYTES,
    };
}

static bool family_is_known(const struct net_addr *a)
{
    return a->family == NET_IP4 || a->family == NET_IP6;
}

static bool is_power_of_two(uint32_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

static const char *addr_error(const struct net_config *c, uint16_t i)
{
    const struct net_prefix *p = &c->addrs[i];

    if (!family_is_known(&p->addr))
        return "a service address is neither IPv4 nor IPv6";
    if (addr_is_martian(&p->addr))
        return "a service address is not a unicast address";
    if (p->len == 0 || p->len > addr_len(&p->addr) * 8)
        return "the prefix length of a service address is out of range";
    if (addr_is_subnet_broadcast(&p->addr, p))
        return "a service address is the network or broadcast address of its prefix";
    for (uint16_t k = 0; k < i; k++)
        if (net_addr_equal(&p->addr, &c->addrs[k].addr))
            return "a service address is given twice";
    return NULL;
}

static bool prefix_is_masked(const struct net_prefix *p)
{
    for (unsigned bit = p->len; bit < addr_len(&p->addr) * 8u; bit++)
        if ((p->addr.bytes[bit / 8] & 0x80 >> bit % 8) != 0)
            return false;
    return true;
}

static bool is_connected(const struct net_config *c, const struct net_addr *a)
{
    for (uint16_t i = 0; i < c->addr_count; i++)
        if (addr_in_prefix(a, &c->addrs[i]))
            return true;
    return addr_is_link_local6(a);
}

static bool is_own(const struct net_config *c, const struct net_addr *a)
{
    struct net_addr link_local = addr_link_local(c->mac);

    for (uint16_t i = 0; i < c->addr_count; i++)
        if (net_addr_equal(a, &c->addrs[i].addr))
            return true;
    return net_addr_equal(a, &link_local);
}

static bool is_connected_broadcast(const struct net_config *c, const struct net_addr *a)
{
    for (uint16_t i = 0; i < c->addr_count; i++)
        if (addr_is_subnet_broadcast(a, &c->addrs[i]))
            return true;
    return false;
}

static const char *gateway_error(const struct net_config *c, const struct net_route *r)
{
    if (r->gateway.family != r->dst.addr.family)
        return "the gateway of a route is of another family than its prefix";
    if (addr_is_martian(&r->gateway) || is_connected_broadcast(c, &r->gateway))
        return "the gateway of a route is not a unicast address";
    if (!is_connected(c, &r->gateway))
        return "the gateway of a route is on no prefix of a service address";
    if (is_own(c, &r->gateway))
        return "the gateway of a route is our own address";
    return NULL;
}

static const char *route_error(const struct net_config *c, uint16_t i)
{
    const struct net_route *r = &c->routes[i];

    if (!family_is_known(&r->dst.addr))
        return "a route is neither IPv4 nor IPv6";
    if (r->dst.len > addr_len(&r->dst.addr) * 8)
        return "the prefix length of a route is out of range";
    if (!prefix_is_masked(&r->dst))
        return "the prefix of a route has bits set beyond its length";
    for (uint16_t k = 0; k < i; k++)
        if (r->dst.len == c->routes[k].dst.len && net_addr_equal(&r->dst.addr, &c->routes[k].dst.addr))
            return "two routes have the same prefix";
    return r->on_link ? NULL : gateway_error(c, r);
}

static const char *ports_error(const struct net_config *c)
{
    if (c->port_count > NET_PORTS_MAX) /* none at all: who only connects */
        return "the number of listening ports is out of range";
    for (uint16_t i = 0; i < c->port_count; i++) {
        if (c->ports[i] == 0)
            return "a listening port is 0";
        for (uint16_t k = 0; k < i; k++)
            if (c->ports[i] == c->ports[k])
                return "a listening port is given twice";
    }
    return NULL;
}

static bool buffer_is_sound(uint32_t v)
{
    return is_power_of_two(v) && v >= BUFFER_MIN && v <= BUFFER_MAX;
}

static const char *sizes_error(const struct net_config *c)
{
    if (c->mtu < MTU_MIN || c->mtu > MTU_MAX)
        return "mtu is not between 1280 and 9000";
    if (c->vlan_id > VLAN_MAX)
        return "vlan_id is more than 4094";
    if (c->conns_max == 0 || c->conns_max > CONNS_MAX)
        return "conns_max is out of range";
    if (!buffer_is_sound(c->recv_buffer) || !buffer_is_sound(c->send_buffer))
        return "a connection buffer is not a power of two between 4 KiB and 1 MiB";
    if (c->recv_buffers_max == 0 || c->send_buffers_max == 0)
        return "there are no connection buffers";
    if (c->msl_ms == 0 || c->msl_ms > MSL_MS_MAX || c->fin_wait_2_ms == 0)
        return "msl_ms or fin_wait_2_ms is out of range";
    if (c->keepalive_idle_ms != 0 && (c->keepalive_interval_ms == 0 || c->keepalive_probes == 0))
        return "keepalive_interval_ms or keepalive_probes is 0";
    if (c->syn_cache_max == 0 || c->syn_cache_max > SYN_CACHE_MAX)
        return "syn_cache_max is not between 1 and 65535";
    if (c->time_wait_max == 0 || c->time_wait_max > TCP_TIME_WAIT_MAX)
        return "time_wait_max is not between 1 and 4194303";
    return c->syn_ack_retries > SYN_ACK_TRIES_MAX ? "syn_ack_retries is more than 15" : NULL;
}

static const char *frags_error(const struct net_config *c)
{
    if (c->frag_datagrams == 0 || c->frag_datagrams > FRAG_DATAGRAMS_MAX)
        return "frag_datagrams is not between 1 and 4096";
    if (c->frag_source_datagrams == 0 || c->frag_source_datagrams > c->frag_datagrams)
        return "frag_source_datagrams is not between 1 and frag_datagrams";
    if (c->frag_bytes < FRAG_BYTES_MIN || c->frag_bytes > FRAG_BYTES_MAX)
        return "frag_bytes is not between 64 KiB and 64 MiB";
    return c->frag_source_bytes < FRAG_BYTES_MIN || c->frag_source_bytes > c->frag_bytes
               ? "frag_source_bytes is not between 64 KiB and frag_bytes"
               : NULL;
}

static const char *identity_error(const struct net_config *c)
{
    static const uint8_t zero[sizeof c->seed];

    if (!mac_is_usable(c->mac))
        return "mac is zero or a group";
    if (memcmp(c->seed, zero, sizeof zero) == 0)
        return "seed is not set";
    if (c->addr_count == 0 || c->addr_count > NET_SERVICE_ADDRS_MAX)
        return "the number of service addresses is out of range";
    return c->route_count > NET_ROUTES_MAX ? "there are too many routes" : NULL;
}

const char *net_config_error(const struct net_config *c)
{
    const char *why = identity_error(c);

    if (why == NULL)
        why = sizes_error(c);
    if (why == NULL)
        why = frags_error(c);
    if (why == NULL)
        why = ports_error(c);
    for (uint16_t i = 0; why == NULL && i < c->addr_count; i++)
        why = addr_error(c, i);
    for (uint16_t i = 0; why == NULL && i < c->route_count; i++)
        why = route_error(c, i);
    return why;
}
