/* What the files of this room share; nobody outside it includes this.
 *
 * The link and IP half (eth, arp, ndp, ip, icmp, route, neighbour, reply) hands L4 bytes to TCP by tcp_input
 * and offers it next hops, IP headers and a queue for stateless answers.  TCP hands frames up through
 * tcp_output.  Neither half includes another header of the other. */
#ifndef DATAPLANE_NET_INTERNAL_H
#define DATAPLANE_NET_INTERNAL_H

#include "base/check.h"
#include "dataplane/net/net.h"

/* Of what a segment seldom needs: its stack frame and registers are not paid for by all the others. */
#define NOINLINE __attribute__((noinline))

/* Of the short way: what is so of nearly every segment, so that it needs no jump. */
#define LIKELY(x)   __builtin_expect((x), 1)
#define UNLIKELY(x) __builtin_expect((x), 0)

#define ETH_ADDR_LEN   6
#define ETH_TYPE_IP4   0x0800
#define ETH_TYPE_IP6   0x86dd
#define ETH_HEADER_LEN 14
#define ETH_TAG_LEN    4  /* IEEE 802.1Q */
#define IP4_HEADER_LEN 20 /* what we send; received options are skipped */
#define IP6_HEADER_LEN 40

#define IP_HOP_LIMIT 64

#define TCP_MIN   20                                          /* bytes of a header */
#define PLAIN_MIN (ETH_HEADER_LEN + IP4_HEADER_LEN + TCP_MIN) /* of a frame for plain.c */

#define IP_PROTO_ICMP  1
#define IP_PROTO_TCP   6
#define IP_PROTO_UDP   17
#define IP_PROTO_ICMP6 58

struct tcp;        /* tcp.h */
struct routes;     /* route.c */
struct neighbours; /* neighbour.c */
struct replies;    /* reply.c */
struct icmp;       /* icmp.c */
struct frags;      /* frag.c */
struct path;       /* path.c */

/* Every random choice of the room: SipHash in counter mode under a key from config.seed, so that a seed
 * replays a run.  One draw costs one SipHash of eight bytes. */
struct net_rng {
    struct siphash_key key;
    uint64_t counter;
};

struct net {
    struct net_config config;
    struct counters *counters;
    uint64_t now_us;     /* of the current call; every door function that takes a time sets it */
    uint64_t mac;        /* config.mac, as mac_number says it */
    uint32_t plain_lens; /* lengths of frame plain.c takes, from the shortest on; 0: they are tagged */
    struct net_rng rng;
    struct siphash_key flow_key; /* of IPv6 flow labels */
    struct net_addr link_local;  /* fe80::/64 with the EUI-64 of the MAC: ours beside config.addrs */
    /* Moves whenever a neighbour became reachable, changed its MAC or failed: what waits for a hop
     * (IP_HOP_RESOLVING) asks again when this differs from what it saw. */
    uint32_t hop_generation;
    uint16_t announces_left;
    uint64_t announce_at_us;                  /* UINT64_MAX when none is due */
    uint64_t mld_report_at_us;                /* likewise */
    uint64_t neighbours_due_us, frags_due_us; /* not later than the first of each that is due */
    uint64_t link_due_us;                     /* ... and this not later than any of these four */
    uint32_t replies_held;                    /* slots of the reply queue that are not free */
    uint64_t defended_until_us;
    bool contested[NET_SERVICE_ADDRS_MAX + 1]; /* another MAC claimed config.addrs[i]; the last: link_local */
    /* Steering (steer.c): while packets of other workers are taken, nothing is handed on. */
    bool taking_handed;
    bool hash_distrusted;
    uint32_t hashes_compared, hashes_taken;
    /* What a device says of checksums, compared in the beginning and now and then (ip.c). */
    bool csum_distrusted;
    uint32_t csums_compared;
    uint32_t csums_left; /* so many more are taken before the next is compared */
    struct routes *routes;
    struct neighbours *neighbours;
    struct replies *replies;
    struct icmp *icmp;
    struct frags *frags;
    struct path *paths; /* IPv4's, then IPv6's */
    struct tcp *tcp;    /* set by tcp_init */
#ifdef WW_TEST_HOOKS
    bool express_off;       /* every segment goes the long way */
    uint64_t express_taken; /* both directions */
#endif
};

/* One received datagram, checked and addressed to us. */
struct ip_packet {
    uint8_t family; /* enum net_family */
    uint8_t proto;  /* IP_PROTO_*, after every extension header */
    uint8_t tos;    /* DSCP and ECN as received: ECN is tos & 3 */
    uint8_t hop_limit;
    uint16_t proto_at; /* offset in header of the byte that names proto, for ICMP errors */
    bool to_unicast;   /* false: an IPv6 group of ours; TCP never gets those */
    bool fragmented;   /* it came in fragments, or as an atomic one (RFC 6946) */
    bool l4_csum_good;
    bool l4_csum_vouched; /* the field is not filled in: nothing to compare */
    bool flow_hashed;     /* flow_hash is the device's */
    uint32_t flow_hash;
    struct net_addr src, dst;
    /* The L4 bytes: no link padding, cut by the IP length, at most 65535; dies with the next frame. */
    struct span payload;
    struct span header; /* the IP header and what extends it, for ICMP errors */
};

/* What a router or host said about a segment of ours.  local/remote as we see them. */
enum icmp_error_kind {
    ICMP_ERROR_UNREACHABLE, /* net, host, protocol, port, administratively prohibited */
    ICMP_ERROR_TOO_BIG,     /* fragmentation needed / packet too big */
    ICMP_ERROR_TIME_EXCEEDED,
    ICMP_ERROR_PARAMETER,
};

struct icmp_tcp_error {
    enum icmp_error_kind kind;
    uint32_t mtu; /* of ICMP_ERROR_TOO_BIG as claimed; 0 when the router does not say */
    struct net_addr local, remote;
    uint16_t local_port, remote_port;
    uint32_t seq; /* of the quoted segment: only one that is in flight is to be believed (RFC 5927) */
};

/* ---- what tcp gives to net, beside the connection functions of net.h, all of which it implements ---- */

#define TCP_TIME_WAIT_MAX 4194303 /* records: their index has 22 bits */

size_t tcp_memory_needed(const struct net_config *c);
void tcp_init(struct net *n, struct arena *a); /* sets n->tcp */
/* p: unicast to us, L4 checksum not yet looked at (ip_checksum_ok_tcp). */
void tcp_input(struct net *n, const struct ip_packet *p);
/* The short way (tcp_express.c).  First the connection between the addresses that lie at addrs, source first, and the ports at
 * h; NULL: there is none.  Then len bytes of TCP at h, at least TCP_HEADER_LEN, whose checksum is right: true, and the segment
 * was taken as tcp_input would have taken it; false, and nothing was done. */
struct net_conn *MUST_USE tcp_express_conn4(const struct net *n, const uint8_t *addrs, const uint8_t *h);
struct net_conn *MUST_USE tcp_express_conn6(const struct net *n, const uint8_t *addrs, const uint8_t *h);
bool MUST_USE tcp_express_input(struct net *n, struct net_conn *c, const uint8_t *h, uint32_t len);
/* A segment is about to come in from the addresses and ports at these places: asks memory for its slot, then, by
 * the hash that this returned, for its record. */
uint32_t tcp_expect(const struct net *n, uint8_t family, const uint8_t *addrs, const uint8_t *ports);
void tcp_expect_record(const struct net *n, uint32_t hash);
uint16_t MUST_USE tcp_output(struct net *n, struct frame *frames, uint16_t cap);
bool tcp_has_output(const struct net *n); /* false while all of it waits for a hop */
void tcp_timers(struct net *n, uint32_t budget);
uint64_t tcp_next_timer(const struct net *n); /* UINT64_MAX when none */
void tcp_icmp_error(struct net *n, const struct icmp_tcp_error *e);
void tcp_gauges(const struct net *n, struct net_gauges *out); /* all of TCP's */

/* ---- what net gives to tcp ---- */

enum ip_hop {
    IP_HOP_READY,     /* mac is the next hop's */
    IP_HOP_RESOLVING, /* asked for; n->hop_generation moves when there is news */
    IP_HOP_NONE,      /* no route, or the next hop does not answer */
};

/* Where a packet from src (ours) to dst goes: longest prefix among connected prefixes and routes, then the
 * neighbour's MAC; starts ARP or NDP when it is not known.  Cheap enough to be asked for every segment, and
 * asking is what keeps the neighbour fresh. */
enum ip_hop MUST_USE ip_next_hop(struct net *n, const struct net_addr *src, const struct net_addr *dst,
                                 uint8_t mac[6]);
/* The same for a connection, which asks for each segment: remembered.  *path, when it is READY, is good for the frames of
 * this call of net_output.  Cost, mostly: two cache lines. */
enum ip_hop MUST_USE path_hop(struct net *n, uint8_t family, const uint8_t local[16],
                              const uint8_t remote[16], const struct path **path);
/* What is to be known of the pair for ip_frame_begin. */
void path_fill(const struct net *n, struct path *p, uint8_t family, const uint8_t local[16],
               const uint8_t remote[16], const uint8_t mac[6]);

/* Whether the TCP checksum of p is right, by the device's word or by computing it. */
bool MUST_USE ip_checksum_ok_tcp(const struct ip_packet *p);

/* One datagram that no connection stands behind (RST to a stranger, echo reply): room for l4_len bytes in a
 * bounded queue which net_output drains before TCP's own output.  NULL when the queue is full or l4_len
 * exceeds the MTU: counted, the caller drops it.  Exactly one reply_commit_ip follows before the next begin.  commit fills the checksum in (TCP, ICMP or ICMPv6 by its proto); when the next hop is
 * unknown it waits, bounded, for the neighbour, and is dropped and counted when that fails. */
uint8_t *MUST_USE reply_begin_ip(struct net *n, const struct net_addr *src, const struct net_addr *dst,
                                 uint8_t proto, uint16_t l4_len);
void reply_commit_ip(struct net *n);

/* One of the four deadlines of the link and IP half has moved to at_us. */
static inline void link_due(struct net *n, uint64_t at_us)
{
    if (at_us < n->link_due_us)
        n->link_due_us = at_us;
}

/* Whole seconds of the same clock. */
static inline uint32_t net_now_s(const struct net *n)
{
    return (uint32_t)(n->now_us / 1000000);
}

/* ---- addresses ---- */

static inline bool net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* One of config.addrs, or the link-local address. */
bool ip_addr_is_ours(const struct net *n, const struct net_addr *a);

/* ---- randomness ---- */

uint64_t net_random(struct net *n);
/* Uniform enough below `below` (> 0); for jitter and slots, not for secrets. */
uint32_t net_random_below(struct net *n, uint32_t below);
/* A fresh key for a table or an ISN; drawn at start, in a fixed order. */
struct siphash_key net_random_key(struct net *n);

/* ---- big-endian words at any alignment ---- */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BE16(v) __builtin_bswap16(v)
#define BE32(v) __builtin_bswap32(v)
#define BE64(v) __builtin_bswap64(v)
#else
#define BE16(v) (v)
#define BE32(v) (v)
#define BE64(v) (v)
#endif

static inline uint16_t load_be16(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof v);
    return BE16(v);
}

static inline uint32_t load_be32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return BE32(v);
}

static inline uint64_t load_be64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return BE64(v);
}

/* Whether the word at p has this value under the mask; where both are constant, the machine's order is nobody's concern. */
static inline bool be32_is(const uint8_t *p, uint32_t mask, uint32_t value)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return (v & BE32(mask)) == BE32(value);
}

static inline void store_be16(uint8_t *p, uint16_t v)
{
    v = BE16(v);
    memcpy(p, &v, sizeof v);
}

static inline void store_be32(uint8_t *p, uint32_t v)
{
    v = BE32(v);
    memcpy(p, &v, sizeof v);
}

/* ---- what every segment needs, inline ---- */

/* A MAC as a number, of which no more is meant than whether two are equal; eight bytes at p can be read. */
static inline uint64_t mac_number(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return v << 16;
#else
    return v >> 16;
#endif
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define MAC_GROUP_BIT (UINT64_C(1) << 16)
#else
#define MAC_GROUP_BIT (UINT64_C(1) << 40)
#endif

/* RFC 1071: to 16 bits. */
static inline uint16_t checksum_fold(uint64_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* The sum over the pseudo-header of TCP: a header's two addresses where they lie, source first; len below 2^16. */
static inline uint16_t checksum_pseudo_tcp(uint8_t family, const uint8_t *addrs, uint32_t len)
{
    uint32_t words = family == NET_IP4 ? 2 : 8;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < words; i++)
        sum += load_be32(addrs + (size_t)4 * i);
    sum += IP_PROTO_TCP + (uint64_t)len;
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16) + ((sum & 0xffff) + (sum >> 16) > 0xffff));
}

/* A pair of addresses between which connections live (path.c), and the head of every frame from one to the other. */
struct path {
    _Alignas(64) uint64_t addrs[4]; /* remote, local; IPv4: both in the first, and no others */
    uint64_t until_us;
    uint32_t generation;
    uint16_t flags; /* of a frame, as ip_frame_begin leaves them, and the lengths beside them */
    uint16_t l2_len, l3_len;
    uint16_t ip4_sum, pseudo_sum; /* of the header's checksum and of TCP's, but for the lengths */
    uint8_t family;               /* 0: free */
    bool is_short; /* IPv4, and all checksums are the device's: nothing but lengths is to be filled in */
    uint8_t
        head[ETH_HEADER_LEN + IP6_HEADER_LEN]; /* Ethernet and IP, but for lengths, checksum and flow label */
};

_Static_assert(sizeof(struct path) == 128, "a path is two cache lines");

#define PATHS 256 /* of each family, so that a place says which it is */

static inline uint64_t path_word(const uint8_t *remote, const uint8_t *local)
{
    uint32_t words[2];

    memcpy(&words[0], remote, 4);
    memcpy(&words[1], local, 4);
    return (uint64_t)words[1] << 32 | words[0];
}

/* The place of the pair; *is_its: whether it is the pair's at present. */
static inline struct path *path_of(const struct net *n, uint8_t family, const uint8_t *remote,
                                   const uint8_t *local, bool *is_its)
{
    const uint64_t spread = 0x9e3779b97f4a7c15ULL;
    uint64_t key[4];
    struct path *p;

    if (LIKELY(family == NET_IP4)) {
        key[0] = path_word(remote, local);
        p = &n->paths[((uint32_t)key[0] + (uint32_t)(key[0] >> 32)) * (uint32_t)spread >> 24];
        *is_its = p->addrs[0] == key[0];
        return p;
    }
    memcpy(&key[0], remote, 16);
    memcpy(&key[2], local, 16);
    p = &n->paths[PATHS + ((key[0] ^ key[1] * 3 ^ key[2] * 5 ^ key[3] * 7) * spread >> 56)];
    *is_its = ((p->addrs[0] ^ key[0]) | (p->addrs[1] ^ key[1]) | (p->addrs[2] ^ key[2]) |
               (p->addrs[3] ^ key[3])) == 0;
    return p;
}

/* Its next hop is still what it was. */
static inline bool path_is_good(const struct net *n, const struct path *p)
{
    return p->generation == n->hop_generation && n->now_us < p->until_us;
}

/* What path_hop would find, if that is remembered; NULL: it is to be asked. */
static inline const struct path *path_known(const struct net *n, uint8_t family, const uint8_t local[16],
                                            const uint8_t remote[16])
{
    bool is_its;
    const struct path *p = path_of(n, family, remote, local, &is_its);

    return is_its && path_is_good(n, p) ? p : NULL;
}

/* What ip_frame_begin and ip_frame_finish_tcp do where the path is not short.  One SipHash for IPv6's flow label. */
uint8_t *ip_frame_begin_slowly(struct frame *f, const struct path *p, uint32_t l4_len);
void ip_frame_finish_slowly(struct net *n, struct frame *f);

/* Writes the Ethernet and the IP header for l4_len bytes of TCP into f, sets f->len, l2_len, l3_len and flags (any
 * earlier value is overwritten); returns where the l4_len bytes go.  The caller made sure that they fit the MTU.  DF is
 * set and ID is 0 (RFC 6864 4.1: it means nothing then, and tells nobody how much we send), hop limit 64. */
static inline uint8_t *ip_frame_begin(const struct net *n, struct frame *f, const struct path *p,
                                      uint32_t l4_len)
{
    uint32_t ip_len = p->l3_len + l4_len;
    uint8_t *ip = f->data + ETH_HEADER_LEN;

    CHECK(ip_len <= n->config.mtu && ip_len + ETH_HEADER_LEN <= f->cap);
    f->len = (uint16_t)(ETH_HEADER_LEN + ip_len);
    f->flags = p->flags;
    f->l2_len = p->l2_len;
    f->l3_len = p->l3_len;
    if (UNLIKELY(!p->is_short))
        return ip_frame_begin_slowly(f, p, l4_len);
    memcpy(f->data, p->head, ETH_HEADER_LEN + IP4_HEADER_LEN);
    store_be16(ip + 2, (uint16_t)ip_len);
    return ip + IP4_HEADER_LEN;
}

/* TCP's sum over the pseudo-header, for l4_len bytes of it (RFC 1071); only a short path's. */
static inline uint32_t path_sum(const struct path *p, uint32_t l4_len)
{
    uint32_t sum = p->pseudo_sum + l4_len;

    return (sum + (sum >> 16)) & 0xffff;
}

/* After the TCP header, of header_len bytes, and data are in place (checksum field: anything): fills in the checksum, or
 * the pseudo-header sum where config leaves it to the device; IPv6: the flow label of this connection too.  Sets
 * f->l4_len. */
static inline void ip_frame_finish_tcp(struct net *n, struct frame *f, const struct path *p,
                                       uint32_t header_len)
{
    f->l4_len = (uint16_t)header_len;
    if (UNLIKELY(!p->is_short)) {
        ip_frame_finish_slowly(n, f);
        return;
    }
    uint32_t l4_len = f->len - (uint32_t)ETH_HEADER_LEN - IP4_HEADER_LEN;
    store_be16(f->data + ETH_HEADER_LEN + IP4_HEADER_LEN + 16, (uint16_t)path_sum(p, l4_len));
}

#endif
