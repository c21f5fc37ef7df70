#include "tests/wire/relay/packet.h"

#include <string.h>

#define ETH_LEN     14
#define TYPE_IP4    0x0800
#define TYPE_IP6    0x86dd
#define IP4_LEN     20
#define IP6_LEN     40
#define PROTO_ICMP  1
#define PROTO_TCP   6
#define PROTO_UDP   17
#define PROTO_ICMP6 58
#define TCP_FIN     1
#define TCP_SYN     2
#define QUOTE4_MAX  548  /* RFC 1812 4.3.2.3: an error of at most 576 bytes */
#define QUOTE6_MAX  1232 /* RFC 4443 2.4 (c): at most the minimum MTU */

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* The upper layer of an unfragmented packet without extension headers, as the peers of the tests send them. */
struct upper {
    uint8_t proto;
    const uint8_t *at;
    size_t len; /* as the IP header says, at most what is there */
};

static struct upper upper_of(const uint8_t *frame, size_t len)
{
    const uint8_t *ip = frame + ETH_LEN;
    size_t head = 0, total = 0;
    uint8_t proto = 0;

    if (len >= ETH_LEN + IP4_LEN && get16(frame + 12) == TYPE_IP4) {
        head = (ip[0] & 15u) * 4u;
        total = get16(ip + 2);
        proto = ip[9];
    } else if (len >= ETH_LEN + IP6_LEN && get16(frame + 12) == TYPE_IP6) {
        head = IP6_LEN;
        total = IP6_LEN + (size_t)get16(ip + 4);
        proto = ip[6];
    }
    if (total > len - ETH_LEN)
        total = len - ETH_LEN;
    if (head == 0 || head > total)
        return (struct upper){0};
    return (struct upper){proto, ip + head, total - head};
}

static bool tcp_is(const struct upper *u, enum only only)
{
    size_t head = u->len >= 20 ? (u->at[12] >> 4) * 4u : 0;

    if (u->proto != PROTO_TCP || head < 20 || head > u->len)
        return false;
    if (only == ONLY_DATA)
        return u->len > head;
    return (u->at[13] & (only == ONLY_SYN ? TCP_SYN : TCP_FIN)) != 0;
}

bool packet_is(const uint8_t *frame, size_t len, enum only only)
{
    struct upper u = upper_of(frame, len);

    switch (only) {
    case ONLY_ALL:
        return true;
    case ONLY_IP:
        return u.at != NULL;
    case ONLY_TCP:
        return u.proto == PROTO_TCP;
    case ONLY_UDP:
        return u.proto == PROTO_UDP;
    case ONLY_ICMP:
        return u.proto == PROTO_ICMP || u.proto == PROTO_ICMP6;
    case ONLY_DATA:
    case ONLY_SYN:
    case ONLY_FIN:
        return tcp_is(&u, only);
    }
    return false;
}

uint32_t packet_ip_len(const uint8_t *frame, size_t len)
{
    if (len >= ETH_LEN + IP4_LEN && get16(frame + 12) == TYPE_IP4)
        return get16(frame + ETH_LEN + 2);
    if (len >= ETH_LEN + IP6_LEN && get16(frame + 12) == TYPE_IP6)
        return IP6_LEN + (uint32_t)get16(frame + ETH_LEN + 4);
    return 0;
}

/* ---- telling the sender ---- */

static uint32_t sum16(const uint8_t *p, size_t len, uint32_t sum)
{
    for (; len > 1; len -= 2, p += 2)
        sum += get16(p);
    if (len == 1)
        sum += (uint32_t)p[0] << 8;
    return sum;
}

static uint16_t folded(uint32_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static size_t eth_back(const uint8_t *frame, uint8_t *out)
{
    memcpy(out, frame + 6, 6);
    memcpy(out + 6, frame, 6);
    memcpy(out + 12, frame + 12, 2);
    return ETH_LEN;
}

static size_t too_big4(const uint8_t *frame, size_t len, uint32_t mtu, uint8_t *out)
{
    const uint8_t *ip = frame + ETH_LEN;
    size_t quote = len - ETH_LEN < QUOTE4_MAX ? len - ETH_LEN : QUOTE4_MAX, at = eth_back(frame, out);
    uint8_t *head = out + at, *icmp = head + IP4_LEN;

    bool is_error = ip[9] == PROTO_ICMP && len > ETH_LEN + IP4_LEN && ip[IP4_LEN] != 0 && ip[IP4_LEN] != 8;
    if ((ip[6] & 0x40) == 0 || (ip[16] & 0xf0) == 0xe0 || is_error)
        return 0;
    memset(head, 0, IP4_LEN + 8);
    head[0] = 0x45;
    put16(head + 2, (uint32_t)(IP4_LEN + 8 + quote));
    head[8] = 64;
    head[9] = PROTO_ICMP;
    memcpy(head + 12, ip + 16, 4);
    memcpy(head + 16, ip + 12, 4);
    put16(head + 10, folded(sum16(head, IP4_LEN, 0)));
    icmp[0] = 3; /* destination unreachable */
    icmp[1] = 4; /* fragmentation needed and DF set */
    put16(icmp + 6, mtu);
    memcpy(icmp + 8, ip, quote);
    put16(icmp + 2, folded(sum16(icmp, 8 + quote, 0)));
    return at + IP4_LEN + 8 + quote;
}

static size_t too_big6(const uint8_t *frame, size_t len, uint32_t mtu, uint8_t *out)
{
    const uint8_t *ip = frame + ETH_LEN;
    size_t quote = len - ETH_LEN < QUOTE6_MAX ? len - ETH_LEN : QUOTE6_MAX, at = eth_back(frame, out);
    uint8_t *head = out + at, *icmp = head + IP6_LEN;

    if (ip[24] == 0xff || (ip[6] == PROTO_ICMP6 && len > ETH_LEN + IP6_LEN && ip[IP6_LEN] < 128))
        return 0;
    memset(head, 0, IP6_LEN + 8);
    head[0] = 0x60;
    put16(head + 4, (uint32_t)(8 + quote));
    head[6] = PROTO_ICMP6;
    head[7] = 64;
    memcpy(head + 8, ip + 24, 16);
    memcpy(head + 24, ip + 8, 16);
    icmp[0] = 2; /* packet too big */
    put16(icmp + 6, mtu);
    memcpy(icmp + 8, ip, quote);
    uint32_t sum = sum16(head + 8, 32, (uint32_t)(8 + quote) + PROTO_ICMP6);
    put16(icmp + 2, folded(sum16(icmp, 8 + quote, sum)));
    return at + IP6_LEN + 8 + quote;
}

size_t packet_too_big(const uint8_t *frame, size_t len, uint32_t mtu, uint8_t *out)
{
    return get16(frame + 12) == TYPE_IP4 ? too_big4(frame, len, mtu, out) : too_big6(frame, len, mtu, out);
}
