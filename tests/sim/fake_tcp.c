#include "tests/sim/fake_tcp.h"

#include "base/check.h"

size_t tcp_memory_needed(const struct net_config *c)
{
    (void)c;
    return sizeof(struct tcp) + 64;
}

void tcp_init(struct net *n, struct arena *a)
{
    n->tcp = arena_alloc(a, sizeof *n->tcp, 64);
}

void tcp_input(struct net *n, const struct ip_packet *p)
{
    struct tcp *t = n->tcp;

    CHECK(p->payload.len <= sizeof t->payload);
    t->inputs++;
    t->last = *p;
    memcpy(t->payload, p->payload.ptr, p->payload.len);
    t->last_csum_ok = ip_checksum_ok_tcp(p);
}

/* Everything goes the long way. */
struct net_conn *tcp_express_conn4(const struct net *n, const uint8_t *addrs, const uint8_t *h)
{
    (void)n, (void)addrs, (void)h;
    return NULL;
}

struct net_conn *tcp_express_conn6(const struct net *n, const uint8_t *addrs, const uint8_t *h)
{
    (void)n, (void)addrs, (void)h;
    return NULL;
}

bool tcp_express_input(struct net *n, struct net_conn *c, const uint8_t *h, uint32_t len)
{
    (void)n, (void)c, (void)h, (void)len;
    return false;
}

uint16_t tcp_output(struct net *n, struct frame *frames, uint16_t cap)
{
    struct tcp *t = n->tcp;
    uint8_t mac[6];

    if (t->send_len == 0 || cap == 0)
        return 0;
    t->last_hop = ip_next_hop(n, &t->send_src, &t->send_dst, mac);
    if (t->last_hop != IP_HOP_READY)
        return 0;
    struct path way;
    path_fill(n, &way, t->send_dst.family, t->send_src.bytes, t->send_dst.bytes, mac);
    uint8_t *at = ip_frame_begin(n, &frames[0], &way, t->send_len);
    for (uint16_t i = 0; i < t->send_len; i++)
        at[i] = (uint8_t)(i * 7 + 1);
    if (t->send_port != 0)
        store_be16(at, t->send_port);
    at[12] = 5 << 4;
    ip_frame_finish_tcp(n, &frames[0], &way, 20);
    t->send_len = 0;
    return 1;
}

bool tcp_has_output(const struct net *n)
{
    return n->tcp->send_len != 0;
}

void tcp_timers(struct net *n, uint32_t budget)
{
    (void)n;
    (void)budget;
}

uint64_t tcp_next_timer(const struct net *n)
{
    (void)n;
    return UINT64_MAX;
}

void tcp_icmp_error(struct net *n, const struct icmp_tcp_error *e)
{
    n->tcp->icmp_errors++;
    n->tcp->last_error = *e;
}

void tcp_gauges(const struct net *n, struct net_gauges *out)
{
    (void)n;
    memset(out, 0, sizeof *out);
}

uint32_t tcp_expect(const struct net *n, uint8_t family, const uint8_t *addrs, const uint8_t *ports)
{
    (void)n, (void)family, (void)addrs, (void)ports;
    return 0;
}

void tcp_expect_record(const struct net *n, uint32_t hash)
{
    (void)n, (void)hash;
}
