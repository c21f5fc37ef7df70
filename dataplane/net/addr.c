#include "dataplane/net/ip.h"

#include <arpa/inet.h>

#define ADDR_TEXT_MAX 45 /* "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255" */

/* inet_pton is strict: four decimal parts without leading zeros, no zone, nothing after. */
bool net_addr_parse(struct span text, struct net_addr *out)
{
    char s[ADDR_TEXT_MAX + 1];

    if (text.len == 0 || text.len > ADDR_TEXT_MAX || memchr(text.ptr, 0, text.len) != NULL)
        return false;
    memcpy(s, text.ptr, text.len);
    s[text.len] = 0;
    memset(out, 0, sizeof *out);
    out->family = memchr(text.ptr, ':', text.len) != NULL ? NET_IP6 : NET_IP4;
    return inet_pton(out->family == NET_IP6 ? AF_INET6 : AF_INET, s, out->bytes) == 1;
}

static bool prefix_len_parse(struct span text, uint8_t max, uint8_t *out)
{
    uint32_t v = 0;

    if (text.len == 0 || text.len > 3 || (text.len > 1 && text.ptr[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        v = v * 10 + (text.ptr[i] - (uint32_t)'0');
    }
    *out = (uint8_t)v;
    return v <= max;
}

bool net_prefix_parse(struct span text, struct net_prefix *out)
{
    const uint8_t *slash = text.len != 0 ? memchr(text.ptr, '/', text.len) : NULL;

    if (slash == NULL)
        return false;
    size_t at = (size_t)(slash - text.ptr);
    return net_addr_parse(span_of(text.ptr, at), &out->addr) &&
           prefix_len_parse(span_from(text, at + 1), out->addr.family == NET_IP6 ? 128 : 32, &out->len);
}

struct net_addr addr_ip4(const uint8_t bytes[4])
{
    struct net_addr a = {.family = NET_IP4};

    memcpy(a.bytes, bytes, 4);
    return a;
}

struct net_addr addr_ip6(const uint8_t bytes[16])
{
    struct net_addr a = {.family = NET_IP6};

    memcpy(a.bytes, bytes, 16);
    return a;
}

uint8_t addr_len(const struct net_addr *a)
{
    return a->family == NET_IP6 ? 16 : 4;
}

bool addr_is_unspecified(const struct net_addr *a)
{
    static const uint8_t zero[16];

    return memcmp(a->bytes, zero, sizeof zero) == 0;
}

bool addr_is_group(const struct net_addr *a)
{
    static const uint8_t broadcast[4] = {255, 255, 255, 255};

    if (a->family == NET_IP6)
        return a->bytes[0] == 0xff;
    return (a->bytes[0] & 0xf0) == 0xe0 || memcmp(a->bytes, broadcast, 4) == 0;
}

bool addr_is_link_local6(const struct net_addr *a)
{
    return a->family == NET_IP6 && a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

/* RFC 1122 3.2.1.3 and RFC 6890 for IPv4 (0/8, 127/8, 224/3), RFC 4291 2.5 for IPv6. */
bool addr_is_martian(const struct net_addr *a)
{
    static const uint8_t loopback[16] = {[15] = 1};
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (a->family == NET_IP4)
        return a->bytes[0] == 0 || a->bytes[0] == 127 || a->bytes[0] >= 224;
    return addr_is_group(a) || addr_is_unspecified(a) || memcmp(a->bytes, loopback, 16) == 0 ||
           memcmp(a->bytes, mapped, 12) == 0;
}

bool addr_in_prefix(const struct net_addr *a, const struct net_prefix *p)
{
    size_t whole = p->len / 8, bits = p->len % 8;

    if (a->family != p->addr.family || memcmp(a->bytes, p->addr.bytes, whole) != 0)
        return false;
    return bits == 0 || (a->bytes[whole] ^ p->addr.bytes[whole]) >> (8 - bits) == 0;
}

struct net_addr addr_source_prefix(const struct net_addr *a)
{
    struct net_addr p = *a;

    if (a->family == NET_IP6)
        memset(p.bytes + 8, 0, 8);
    return p;
}

bool addr_is_subnet_broadcast(const struct net_addr *a, const struct net_prefix *p)
{
    if (a->family != NET_IP4 || p->len > 30 || !addr_in_prefix(a, p))
        return false;
    uint32_t host_mask = p->len == 0 ? UINT32_MAX : (UINT32_C(1) << (32 - p->len)) - 1;
    uint32_t host = load_be32(a->bytes) & host_mask;
    return host == 0 || host == host_mask;
}

struct net_addr addr_solicited_node(const struct net_addr *a)
{
    struct net_addr g = {.family = NET_IP6, .bytes = {0xff, 0x02, [11] = 0x01, [12] = 0xff}};

    memcpy(g.bytes + 13, a->bytes + 13, 3);
    return g;
}

struct net_addr addr_all_nodes(void)
{
    return (struct net_addr){.family = NET_IP6, .bytes = {0xff, 0x02, [15] = 0x01}};
}

struct net_addr addr_link_local(const uint8_t mac[6])
{
    struct net_addr a = {.family = NET_IP6, .bytes = {0xfe, 0x80, [11] = 0xff, [12] = 0xfe}};

    memcpy(a.bytes + 8, mac, 3);
    memcpy(a.bytes + 13, mac + 3, 3);
    a.bytes[8] ^= 0x02;
    return a;
}

void addr_group_mac(const struct net_addr *group, uint8_t mac[6])
{
    mac[0] = mac[1] = 0x33;
    memcpy(mac + 2, group->bytes + 12, 4);
}

bool mac_is_usable(const uint8_t mac[6])
{
    static const uint8_t zero[6];

    return (mac[0] & 1) == 0 && memcmp(mac, zero, sizeof zero) != 0;
}
