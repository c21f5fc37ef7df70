#include "tests/sim/link_rig.h"

#include "base/check.h"
#include "base/limits.h"

#include <stdlib.h>

const uint8_t OUR_MAC[6] = {2, 0, 0, 0, 0, 1};
const uint8_t PEER_MAC[6] = {2, 0, 0, 0, 0, 2};
const uint8_t OTHER_MAC[6] = {2, 0, 0, 0, 0x77, 7};
const uint8_t BROADCAST_MAC[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* ---- addresses ---- */

struct net_addr addr(const char *text)
{
    struct net_addr a;

    CHECK(net_addr_parse(span_str(text), &a));
    return a;
}

struct net_addr our(int family)
{
    return addr(family == 6 ? "2001:db8::1" : "192.0.2.1");
}

struct net_addr peer(int family)
{
    return addr(family == 6 ? "2001:db8::2" : "192.0.2.2");
}

struct net_addr stranger(int family)
{
    return addr(family == 6 ? "2a00:1450::8" : "8.8.8.8");
}

struct net_addr gateway(int family)
{
    return addr(family == 6 ? "fe80::fe" : "192.0.2.254");
}

/* ---- the rig ---- */

static struct net_prefix prefix(const char *text)
{
    struct net_prefix p;

    CHECK(net_prefix_parse(span_str(text), &p));
    return p;
}

static void route(struct net_config *c, const char *dst, const char *gateway_text)
{
    c->routes[c->route_count++] = (struct net_route){.dst = prefix(dst), .gateway = addr(gateway_text)};
}

static void default_config(struct net_config *c)
{
    net_config_defaults(c);
    memcpy(c->mac, OUR_MAC, 6);
    memset(c->seed, 7, sizeof c->seed);
    c->addrs[0] = prefix("192.0.2.1/24");
    c->addrs[1] = prefix("198.51.100.7/32");
    c->addrs[2] = prefix("2001:db8::1/64");
    c->addr_count = 3;
    route(c, "0.0.0.0/0", "192.0.2.254");
    route(c, "203.0.113.0/24", "192.0.2.253");
    route(c, "::/0", "fe80::fe");
    route(c, "2001:db8:beef::/48", "2001:db8::fd");
    c->ports[0] = 443;
    c->port_count = 1;
}

struct rig *rig_new(rig_configure configure)
{
    struct rig *r = calloc(1, sizeof *r);
    struct net_config c;
    struct sim_config s;

    CHECK(r != NULL);
    default_config(&c);
    sim_config_defaults(&s);
    s.frames_max = 512;
    if (configure != NULL)
        configure(&c, &s);
    r->sim = sim_new(&s);
    r->arena = arena_new(net_memory_needed(&c), false);
    CHECK(r->arena != NULL);
    r->net = net_new(&c, r->arena, &r->counters, sim_now(r->sim));
    arena_seal(r->arena);
    r->send_tci = c.vlan_id != 0 ? c.vlan_id : -1;
    return r;
}

void rig_free(struct rig *r)
{
    rig_discard(r);
    assert_int_equal(sim_frames_held(r->sim, 0), 0);
    assert_int_equal(sim_frames_held(r->sim, 1), 0);
    arena_free(r->arena);
    sim_free(r->sim);
    free(r);
}

static void run_input(struct rig *r)
{
    struct nic *nic = sim_port(r->sim, 0);
    struct frame f[NIC_BURST_MAX];
    uint16_t got;

    while ((got = nic_rx(nic, 0, f, NIC_BURST_MAX)) > 0) {
        net_input(r->net, f, got, sim_now(r->sim));
        for (uint16_t i = 0; i < got; i++)
            nic_frame_free(nic, &f[i]);
    }
}

static bool run_output(struct rig *r)
{
    struct nic *nic = sim_port(r->sim, 0);
    struct frame f;

    if (!nic_frame_alloc(nic, 0, &f))
        return false;
    if (net_output(r->net, sim_now(r->sim), &f, 1) == 0) {
        nic_frame_free(nic, &f);
        return false;
    }
    assert_int_equal(nic_tx(nic, 0, &f, 1), 1);
    return true;
}

void rig_run(struct rig *r)
{
    run_input(r);
    net_timers(r->net, sim_now(r->sim), 1000);
    while (net_has_output(r->net) && run_output(r))
        ;
}

void rig_wait(struct rig *r, uint64_t us)
{
    while (us > 0) {
        uint64_t step = us < 50000 ? us : 50000;
        sim_advance(r->sim, step);
        rig_run(r);
        us -= step;
    }
}

void rig_send(struct rig *r, const struct packet *p)
{
    struct nic *nic = sim_port(r->sim, 1);
    struct frame f;

    assert_true(nic_frame_alloc(nic, 0, &f));
    CHECK(p->len + 4 <= f.cap);
    if (r->send_tci >= 0) {
        memcpy(f.data, p->bytes, 12);
        store_be16(f.data + 12, 0x8100);
        store_be16(f.data + 14, (uint16_t)r->send_tci);
        memcpy(f.data + 16, p->bytes + 12, p->len - 12u);
        f.len = (uint16_t)(p->len + 4);
    } else {
        memcpy(f.data, p->bytes, p->len);
        f.len = p->len;
    }
    assert_int_equal(nic_tx(nic, 0, &f, 1), 1);
    rig_run(r);
}

static void take_tag_off(const struct rig *r, struct packet *p)
{
    if (r->net->config.vlan_id == 0)
        return;
    assert_in_range(p->len, 18, 18 + r->net->config.mtu);
    assert_int_equal(load_be16(p->bytes + 12), 0x8100);
    assert_int_equal(load_be16(p->bytes + 14), r->net->config.vlan_id);
    memmove(p->bytes + 12, p->bytes + 16, p->len - 16u);
    p->len = (uint16_t)(p->len - 4);
}

bool rig_take(struct rig *r, struct packet *out)
{
    struct nic *nic = sim_port(r->sim, 1);
    struct frame f;

    if (nic_rx(nic, 0, &f, 1) == 0)
        return false;
    out->len = f.len;
    memcpy(out->bytes, f.data, f.len);
    nic_frame_free(nic, &f);
    take_tag_off(r, out);
    assert_true(is_sound(out));
    return true;
}

void rig_forget(struct rig *r)
{
    struct nic *nic = sim_port(r->sim, 1);
    struct frame f;

    while (nic_rx(nic, 0, &f, 1) > 0)
        nic_frame_free(nic, &f);
}

unsigned rig_discard(struct rig *r)
{
    struct packet p;
    unsigned count = 0;

    while (rig_take(r, &p))
        count++;
    return count;
}

void rig_expect(struct rig *r, bool (*is)(const struct packet *), struct packet *out)
{
    while (rig_take(r, out))
        if (is(out))
            return;
    fail_msg("the expected frame did not come");
}

uint64_t rig_count(const struct rig *r, enum reason why)
{
    return counter_read(&r->counters, why);
}

void rig_send_refused(struct rig *r, const struct packet *p, enum reason why)
{
    uint64_t before[REASON_COUNT];
    unsigned inputs = r->net->tcp->inputs;

    for (int i = 0; i < REASON_COUNT; i++)
        before[i] = rig_count(r, (enum reason)i);
    rig_send(r, p);
    assert_int_equal(rig_discard(r), 0);
    assert_int_equal(r->net->tcp->inputs, inputs);
    for (int i = 0; i < REASON_COUNT; i++)
        if (rig_count(r, (enum reason)i) != before[i] + (i == (int)why))
            fail_msg("%s counted %d times", reason_name((enum reason)i),
                     (int)(rig_count(r, (enum reason)i) - before[i]));
}

/* ---- writing ---- */

uint16_t test_checksum(const void *bytes, size_t len, uint32_t start)
{
    const uint8_t *p = bytes;
    uint32_t sum = start;

    for (size_t i = 0; i < len; i++)
        sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

void packet_put(struct packet *p, const void *bytes, size_t len)
{
    CHECK(p->len + len <= sizeof p->bytes);
    if (len != 0)
        memcpy(p->bytes + p->len, bytes, len);
    p->len = (uint16_t)(p->len + len);
}

void packet_put16(struct packet *p, uint16_t v)
{
    uint8_t be[2] = {(uint8_t)(v >> 8), (uint8_t)v};

    packet_put(p, be, 2);
}

struct packet eth_packet(const uint8_t dst[6], const uint8_t src[6], uint16_t type)
{
    struct packet p = {.len = 0};

    packet_put(&p, dst, 6);
    packet_put(&p, src, 6);
    packet_put16(&p, type);
    return p;
}

struct packet arp_packet(uint16_t op, const uint8_t sender_mac[6], const char *sender,
                         const uint8_t target_mac[6], const char *target)
{
    static const uint8_t head[6] = {0, 1, 8, 0, 6, 4};
    struct packet p = eth_packet(op == 1 ? BROADCAST_MAC : OUR_MAC, PEER_MAC, 0x0806);
    struct net_addr from = addr(sender), to = addr(target);

    packet_put(&p, head, sizeof head);
    packet_put16(&p, op);
    packet_put(&p, sender_mac, 6);
    packet_put(&p, from.bytes, 4);
    packet_put(&p, target_mac, 6);
    packet_put(&p, to.bytes, 4);
    return p;
}

static uint32_t pseudo(const struct net_addr *src, const struct net_addr *dst, uint8_t proto, uint16_t len)
{
    size_t addr_bytes = dst->family == NET_IP6 ? 16 : 4;
    uint32_t sum = (uint16_t)~test_checksum(src->bytes, addr_bytes, 0);

    return sum + (uint16_t)~test_checksum(dst->bytes, addr_bytes, 0) + proto + len;
}

void fix_ip4_checksum(struct packet *p)
{
    size_t header_len = (p->bytes[14] & 15u) * 4u;

    store_be16(p->bytes + 24, 0);
    store_be16(p->bytes + 24, test_checksum(p->bytes + 14, header_len, 0));
}

static void put_ip4(struct packet *p, const struct net_addr *src, const struct net_addr *dst, uint8_t proto,
                    uint16_t l4_len)
{
    uint8_t h[20] = {0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 61, proto};

    store_be16(h + 2, (uint16_t)(20 + l4_len));
    memcpy(h + 12, src->bytes, 4);
    memcpy(h + 16, dst->bytes, 4);
    packet_put(p, h, sizeof h);
    fix_ip4_checksum(p);
}

static void put_ip6(struct packet *p, const struct net_addr *src, const struct net_addr *dst, uint8_t proto,
                    uint16_t l4_len)
{
    uint8_t h[40] = {0x60, 0, 0, 0, 0, 0, proto, 61};

    store_be16(h + 4, l4_len);
    memcpy(h + 8, src->bytes, 16);
    memcpy(h + 24, dst->bytes, 16);
    packet_put(p, h, sizeof h);
}

struct packet ip_packet_to(const struct net_addr *src, const struct net_addr *dst, uint8_t proto,
                           const void *l4_bytes, uint16_t l4_len)
{
    bool ip6 = dst->family == NET_IP6;
    uint8_t group[6] = {0x33, 0x33, dst->bytes[12], dst->bytes[13], dst->bytes[14], dst->bytes[15]};
    const uint8_t *mac = ip6 && dst->bytes[0] == 0xff ? group : OUR_MAC;
    struct packet p = eth_packet(mac, PEER_MAC, ip6 ? 0x86dd : 0x0800);

    if (ip6)
        put_ip6(&p, src, dst, proto, l4_len);
    else
        put_ip4(&p, src, dst, proto, l4_len);
    packet_put(&p, l4_bytes, l4_len);
    return p;
}

struct packet icmp_packet(const struct net_addr *src, const struct net_addr *dst, uint8_t type, uint8_t code,
                          const void *rest, uint16_t rest_len)
{
    bool ip6 = dst->family == NET_IP6;
    uint8_t m[2048] = {type, code};
    uint16_t len = (uint16_t)(4 + rest_len);

    memcpy(m + 4, rest, rest_len);
    store_be16(m + 2, test_checksum(m, len, ip6 ? pseudo(src, dst, 58, len) : 0));
    return ip_packet_to(src, dst, ip6 ? 58 : 1, m, len);
}

void fix_icmp6_checksum(struct packet *p)
{
    struct net_addr src = {.family = NET_IP6}, dst = src;
    uint16_t len = (uint16_t)(p->len - 54);

    memcpy(src.bytes, p->bytes + 22, 16);
    memcpy(dst.bytes, p->bytes + 38, 16);
    store_be16(p->bytes + 18, len);
    store_be16(p->bytes + 56, 0);
    store_be16(p->bytes + 56, test_checksum(p->bytes + 54, len, pseudo(&src, &dst, 58, len)));
}

struct packet echo_request(const struct net_addr *src, const struct net_addr *dst, uint16_t data_len)
{
    uint8_t rest[2000] = {0xab, 0xcd, 0, 1};

    for (uint16_t i = 0; i < data_len; i++)
        rest[4 + i] = (uint8_t)(i + 3);
    return icmp_packet(src, dst, dst->family == NET_IP6 ? 128 : 8, 0, rest, (uint16_t)(4 + data_len));
}

struct packet tcp_packet(const struct net_addr *src, const struct net_addr *dst, uint16_t payload_len)
{
    uint8_t t[2000] = {0x30, 0x39, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x20, 0};
    uint16_t len = (uint16_t)(20 + payload_len);

    for (uint16_t i = 0; i < payload_len; i++)
        t[20 + i] = (uint8_t)(i * 5 + 1);
    store_be16(t + 16, test_checksum(t, len, pseudo(src, dst, 6, len)));
    return ip_packet_to(src, dst, 6, t, len);
}

struct packet nd_packet(const struct net_addr *src, const struct net_addr *dst, uint8_t type, uint8_t flags,
                        const struct net_addr *target, uint8_t option, const uint8_t *mac)
{
    uint8_t rest[28] = {flags};

    memcpy(rest + 4, target->bytes, 16);
    rest[20] = option;
    rest[21] = 1;
    if (mac != NULL)
        memcpy(rest + 22, mac, 6);
    struct packet p = icmp_packet(src, dst, type, 0, rest, option != 0 ? 28 : 20);
    p.bytes[21] = 255;
    return p;
}

/* ---- reading ---- */

uint16_t type_of(const struct packet *p)
{
    return p->len >= 14 ? load_be16(p->bytes + 12) : 0;
}

uint8_t *l3(struct packet *p)
{
    return p->bytes + 14;
}

uint8_t *l4(struct packet *p)
{
    return p->bytes + (type_of(p) == 0x86dd ? 54 : 34);
}

static int icmp_type(const struct packet *p)
{
    if (type_of(p) == 0x86dd && p->bytes[20] == 58)
        return p->bytes[54];
    return type_of(p) == 0x0800 && p->bytes[23] == 1 ? p->bytes[34] : -1;
}

bool is_arp(const struct packet *p)
{
    return type_of(p) == 0x0806;
}

bool is_arp_request(const struct packet *p)
{
    return is_arp(p) && p->bytes[21] == 1;
}

bool is_arp_reply(const struct packet *p)
{
    return is_arp(p) && p->bytes[21] == 2;
}

bool is_solicitation(const struct packet *p)
{
    return type_of(p) == 0x86dd && icmp_type(p) == 135;
}

bool is_advertisement(const struct packet *p)
{
    return type_of(p) == 0x86dd && icmp_type(p) == 136;
}

bool is_echo_reply(const struct packet *p)
{
    return icmp_type(p) == (type_of(p) == 0x86dd ? 129 : 0);
}

bool is_icmp_error(const struct packet *p)
{
    int type = icmp_type(p);

    if (type_of(p) == 0x86dd)
        return type >= 1 && type <= 4;
    return type == 3 || type == 11 || type == 12;
}

bool is_tcp(const struct packet *p)
{
    return (type_of(p) == 0x0800 && p->bytes[23] == 6) || (type_of(p) == 0x86dd && p->bytes[20] == 6);
}

static bool is_sound4(const struct packet *p)
{
    struct net_addr src = {.family = NET_IP4}, dst = src;
    uint16_t l4_len = (uint16_t)(p->len - 34);
    uint8_t proto = p->bytes[23];

    memcpy(src.bytes, p->bytes + 26, 4);
    memcpy(dst.bytes, p->bytes + 30, 4);
    if (p->bytes[14] != 0x45 || load_be16(p->bytes + 16) != p->len - 14)
        return false;
    if (test_checksum(p->bytes + 14, 20, 0) != 0)
        return false;
    return test_checksum(p->bytes + 34, l4_len, proto == 1 ? 0 : pseudo(&src, &dst, proto, l4_len)) == 0;
}

static bool is_sound6(const struct packet *p)
{
    struct net_addr src = {.family = NET_IP6}, dst = src;
    bool hop_by_hop = p->bytes[20] == 0;
    uint16_t at = hop_by_hop ? 62 : 54;
    uint8_t proto = p->bytes[hop_by_hop ? 54 : 20];
    uint16_t l4_len = (uint16_t)(p->len - at);

    memcpy(src.bytes, p->bytes + 22, 16);
    memcpy(dst.bytes, p->bytes + 38, 16);
    if (p->bytes[14] >> 4 != 6 || load_be16(p->bytes + 18) != p->len - 54)
        return false;
    return test_checksum(p->bytes + at, l4_len, pseudo(&src, &dst, proto, l4_len)) == 0;
}

bool is_sound(const struct packet *p)
{
    if (p->len < 14 || memcmp(p->bytes + 6, OUR_MAC, 6) != 0)
        return false;
    if (type_of(p) == 0x0806)
        return p->len == 42 && memcmp(p->bytes + 14, "\0\1\x08\0\6\4", 6) == 0;
    if (type_of(p) == 0x0800)
        return p->len >= 42 && is_sound4(p);
    return type_of(p) == 0x86dd && p->len >= 62 && is_sound6(p);
}

/* ---- neighbours ---- */

static bool answer_arp(struct rig *r, const struct packet *question, const struct net_addr *who,
                       const uint8_t mac[6])
{
    static const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, 2};
    struct packet a = eth_packet(OUR_MAC, mac, 0x0806);

    if (!is_arp_request(question) || memcmp(question->bytes + 38, who->bytes, 4) != 0)
        return false;
    packet_put(&a, head, sizeof head);
    packet_put(&a, mac, 6);
    packet_put(&a, who->bytes, 4);
    packet_put(&a, question->bytes + 22, 10);
    rig_send(r, &a);
    return true;
}

static bool answer_solicitation(struct rig *r, const struct packet *question, const struct net_addr *who,
                                const uint8_t mac[6])
{
    struct net_addr asker = {.family = NET_IP6};

    if (!is_solicitation(question) || memcmp(question->bytes + 62, who->bytes, 16) != 0)
        return false;
    memcpy(asker.bytes, question->bytes + 22, 16);
    struct packet a = nd_packet(who, &asker, 136, 0x60, who, 2, mac);
    rig_send(r, &a);
    return true;
}

void answer_question(struct rig *r, const struct net_addr *who, const uint8_t mac[6])
{
    struct packet q;

    while (rig_take(r, &q))
        if (who->family == NET_IP6 ? answer_solicitation(r, &q, who, mac) : answer_arp(r, &q, who, mac))
            return;
    fail_msg("the net did not ask");
}

void teach(struct rig *r, const struct net_addr *who, const uint8_t mac[6])
{
    struct net_addr us = our(who->family);
    struct packet p = echo_request(who, &us, 8);

    rig_send(r, &p);
    answer_question(r, who, mac);
    rig_discard(r);
}

bool mac_used_for(struct rig *r, const struct net_addr *dst, uint8_t mac[6])
{
    struct tcp *t = r->net->tcp;
    struct packet p;
    bool found = false;

    rig_discard(r);
    t->send_src = our(dst->family);
    t->send_dst = *dst;
    t->send_len = 40;
    rig_run(r);
    t->send_len = 0;
    while (t->last_hop == IP_HOP_READY && !found && rig_take(r, &p))
        found = is_tcp(&p);
    if (found)
        memcpy(mac, p.bytes, 6);
    return found;
}
