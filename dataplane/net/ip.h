/* What the files of the link and IP half share among themselves; TCP does not include this.
 *
 * One function per message and direction: *_input takes received bytes and drops them with one counted
 * reason, the rest build what goes out.  Every frame that is not TCP's leaves through the reply queue. */
#ifndef DATAPLANE_NET_IP_H
#define DATAPLANE_NET_IP_H

#include "dataplane/net/internal.h"
#include "dataplane/net/steer.h"

#define ETH_TYPE_ARP  0x0806
#define ETH_TYPE_VLAN 0x8100
#define ETH_TYPE_QINQ 0x88a8

/* ---- checksum.c (RFC 1071) ---- */

/* Ones' complement sum of data, an odd last byte padded with zero, added to start: not complemented.  Sums of
 * pieces may be chained as long as all but the last piece have an even length. */
uint16_t checksum_sum(struct span data, uint16_t start);
/* Sum of the pseudo-header of either family (RFC 9293 3.1, RFC 8200 8.1). */
uint16_t checksum_pseudo(const struct net_addr *src, const struct net_addr *dst, uint8_t proto, uint32_t len);

/* ---- addr.c ---- */

struct net_addr addr_ip4(const uint8_t bytes[4]);
struct net_addr addr_ip6(const uint8_t bytes[16]);
uint8_t addr_len(const struct net_addr *a); /* 4 or 16 */
bool addr_is_unspecified(const struct net_addr *a);
bool addr_is_group(const struct net_addr *a); /* multicast, and 255.255.255.255 */
bool addr_is_link_local6(const struct net_addr *a);
/* No host beside us can own it: unspecified, loopback, group, reserved, IPv4-mapped. */
bool addr_is_martian(const struct net_addr *a);
bool addr_in_prefix(const struct net_addr *a, const struct net_prefix *p);
/* What counts as one source where shares are dealt out: an IPv4 address, the /64 of an IPv6 one. */
struct net_addr addr_source_prefix(const struct net_addr *a);
/* Host bits all ones or all zeros in an IPv4 prefix of at most 30 bits. */
bool addr_is_subnet_broadcast(const struct net_addr *a, const struct net_prefix *p);
struct net_addr addr_solicited_node(const struct net_addr *a); /* RFC 4291 2.7.1 */
struct net_addr addr_all_nodes(void);                          /* ff02::1 */
struct net_addr addr_link_local(const uint8_t mac[6]);         /* RFC 4291 appendix A */
/* The Ethernet group of an IPv6 multicast address (RFC 2464 7). */
void addr_group_mac(const struct net_addr *group, uint8_t mac[6]);
bool mac_is_usable(const uint8_t mac[6]); /* of one host: neither zero nor a group */

/* ---- route.c ---- */

size_t routes_memory_needed(void);
void routes_init(struct net *n, struct arena *a);
/* The neighbour that a packet to dst is handed to: dst itself when on-link, a gateway otherwise.  false: no
 * route. */
bool MUST_USE route_lookup(const struct net *n, const struct net_addr *dst, struct net_addr *hop);
/* An address of ours to ask a question about target from: on the same prefix when there is one. */
bool MUST_USE route_source(const struct net *n, const struct net_addr *target, struct net_addr *src);
bool route_is_broadcast(const struct net *n, const struct net_addr *a); /* of a connected IPv4 prefix */

/* ---- neighbour.c ---- */

size_t neighbours_memory_needed(void);
void neighbours_init(struct net *n, struct arena *a);
enum ip_hop MUST_USE neighbour_resolve(struct net *n, const struct net_addr *hop, uint8_t mac[6]);
/* An answer, sent to us, to the question who has addr; the other workers hear of it too.  mac: NULL when it does not say (RFC 4861 4.4). */
void neighbour_answered(struct net *n, const struct net_addr *addr, const uint8_t *mac);
/* Anything else that tells a MAC for addr: never learnt, but a different MAC makes us ask again. */
void neighbour_claimed(struct net *n, const struct net_addr *addr, const uint8_t mac[6]);
/* A gateway: never evicted, always refreshed. */
void neighbour_pin(struct net *n, const struct net_addr *addr);
void neighbour_timers(struct net *n);
uint64_t neighbour_next_timer(const struct net *n);
uint32_t neighbour_count(const struct net *n);
/* What another worker heard: neighbour_answered or neighbour_claimed there. */
void neighbour_news_heard(struct net *n, const struct net_addr *addr, const uint8_t *mac, bool answered);

/* ---- steer.c ---- */

/* Hands p, a TCP segment, or an ICMP error about e, to the worker that owns the connection; false: that is us. */
bool MUST_USE steer_segment(struct net *n, const struct ip_packet *p);
bool MUST_USE steer_error(struct net *n, const struct ip_packet *p, const struct icmp_tcp_error *e);
void steer_neighbour_news(struct net *n, const struct net_addr *addr, const uint8_t *mac, bool answered);
bool steer_trusts_device(const struct net *n);
/* steer_segment would compare the device's hash of f with ours, had f neither options nor extension headers. */
bool MUST_USE steer_comparison_is_due(const struct net *n, const struct frame *f);

/* ---- reply.c ---- */

size_t replies_memory_needed(const struct net_config *c);
void replies_init(struct net *n, struct arena *a);
/* Room for a whole frame of len bytes that needs no next hop; the same rules as reply_begin_ip. */
uint8_t *MUST_USE reply_begin_frame(struct net *n, uint16_t len);
void reply_commit_frame(struct net *n);
/* reply_begin_ip with a hop limit, and with the next hop's MAC given; NULL: by ip_next_hop at commit. */
uint8_t *MUST_USE reply_begin_ip_to(struct net *n, const uint8_t mac[6], const struct net_addr *src,
                                    const struct net_addr *dst, uint8_t proto, uint16_t l4_len,
                                    uint8_t hop_limit);
uint16_t MUST_USE replies_output(struct net *n, struct frame *frames, uint16_t cap);
bool replies_have_output(const struct net *n);

/* ---- eth.c ---- */

void eth_input(struct net *n, const struct frame *f);
void eth_header_write(const struct net *n, uint8_t *at, const uint8_t dst[6], uint16_t type);
/* All of the link and IP half, and TCP, write untagged frames.  Where config.vlan_id asks for a tag, begin makes
 * room for it in front of empty frames, and end puts it into the first `filled` of them; both do nothing
 * otherwise. */
void eth_tag_begin(const struct net *n, struct frame *frames, uint16_t count);
void eth_tag_end(const struct net *n, struct frame *frames, uint16_t count, uint16_t filled);

/* ---- arp.c (RFC 826, 5227) ---- */

void arp_input(struct net *n, struct span packet);
/* to: the MAC that is asked, NULL to ask everybody. */
void arp_ask(struct net *n, const struct net_addr *target, const uint8_t to[6]);
/* addr, ours, is claimed by another MAC: notes it; true: say that it is ours, at most every ten seconds for all of
 * them together (RFC 5227 2.4). */
bool MUST_USE net_conflict(struct net *n, const struct net_addr *addr);
void arp_probe(struct net *n, const struct net_addr *addr);
void arp_announce(struct net *n, const struct net_addr *addr);

/* ---- ip.c, ip4.c, ip6.c ---- */

/* What the link layer knows about a packet. */
struct ip_link {
    uint16_t flags; /* enum frame_flag of the frame */
    bool group;     /* the frame was sent to a group or to everybody */
    uint32_t hash;  /* of the frame */
};

void ip4_input(struct net *n, struct span packet, struct ip_link link);
void ip6_input(struct net *n, struct span packet, struct ip_link link);
/* Writes a header for l4_len bytes; returns its length.  leave_csum: IPv4's checksum is left to the device.
 */
uint16_t ip_header_write(uint8_t *at, const struct net_addr *src, const struct net_addr *dst, uint8_t proto,
                         uint16_t l4_len, uint8_t hop_limit, bool leave_csum);
/* Gives the IPv6 packet at ip, whose header and ports are in place, the label of its flow (RFC 6437): the same
 * for each packet between two ports, and without the key nobody's to foretell. */
void ip6_label_write(const struct net *n, uint8_t *ip);
/* What the link layer says of the packet's flow and of its upper layer's checksum. */
void ip_link_note(struct ip_packet *p, struct ip_link link);
/* Checksums which a device calls right are compared before it is believed, and one in how many from then on. */
#define CSUM_TRIAL  64
#define CSUM_SAMPLE 256

/* Whether a device that calls this IPv4 header right is to be believed. */
bool MUST_USE ip_device_is_believed(struct net *n, struct span header);
/* Hands a checked packet to the upper layer it names, or to the worker that owns its connection. */
void ip_deliver(struct net *n, struct ip_packet *p);
/* Groups of ours: all nodes and the solicited-node groups of our addresses. */
bool ip6_group_is_ours(const struct net *n, const struct net_addr *group);

/* ---- frag.c ---- */

#define FRAG_WHOLE_MAX (IP6_HEADER_LEN + 65536) /* the longest datagram, rounded up */

/* A sound fragment: its data ends at or below 65535, and is a multiple of eight when more follows. */
struct fragment {
    struct net_addr src, dst;
    uint32_t id;
    uint8_t proto; /* IPv4: tells datagrams apart; IPv6: 0 */
    uint8_t tos;
    bool more;
    uint16_t offset;    /* of its data in the datagram */
    struct span packet; /* from the IP header to the end of the data; at most one MTU */
    uint16_t keep_len;  /* of the packet: the headers that the datagram keeps */
    uint16_t data_at;   /* in the packet; IPv6: behind the fragment header, which lies at keep_len */
    uint16_t next_at;   /* IPv6: of the byte that names the fragment header */
};

/* The headers of the first fragment, as they came, and all data behind them.  Valid until the next
 * frag_input; the caller puts right what the headers say of lengths and fragments. */
struct frag_whole {
    uint8_t *bytes;
    uint32_t len;
    uint16_t keep_len;
    uint16_t next_at; /* IPv6, both of the first fragment: where its fragment header was named, */
    uint8_t next;     /* and what that named in turn */
    bool congestion;  /* ECN: one fragment at least met it */
};

/* --- path.c --- */
size_t paths_memory_needed(void);
void paths_init(struct net *n, struct arena *a);
/* A connection of ours has sent from local to remote: both are sound. */
bool path_is_known(const struct net *n, const struct net_addr *remote, const struct net_addr *local);

size_t frags_memory_needed(const struct net_config *c);
void frags_init(struct net *n, struct arena *a);
/* Keeps f; true when it was the last that was missing.  Cost: a walk over config.frag_datagrams. */
bool MUST_USE frag_input(struct net *n, const struct fragment *f, struct frag_whole *out);
void frag_timers(struct net *n);
uint64_t frag_next_timer(const struct net *n);
void frag_gauges(const struct net *n, struct net_gauges *out);

/* ---- icmp.c (RFC 792, 4443) ---- */

enum icmp_complaint {
    ICMP_NO_PROTOCOL,
    ICMP_NO_PORT,
    ICMP_BAD_OPTION,
    ICMP_BAD_HEADER,
    ICMP_CUT_CHAIN,       /* IPv6: a first fragment without all headers (RFC 7112) */
    ICMP_REASSEMBLY_TIME, /* RFC 792, RFC 4443 3.3 */
};

size_t icmp_memory_needed(void);
void icmp_init(struct net *n, struct arena *a);
void icmp_input(struct net *n, const struct ip_packet *p);
/* Tells p's source what is wrong with it, unless it must not be told (RFC 1122 3.2.2, RFC 4443 2.4) or the
 * limit is reached.  offset: of the offending byte in the packet, for parameter problems. */
void icmp_complain(struct net *n, const struct ip_packet *p, enum icmp_complaint what, uint16_t offset);

/* ---- ndp.c (RFC 4861), mld.c (RFC 3810) ---- */

/* p: an ICMPv6 message of type 133..137 with a good checksum. */
void ndp_input(struct net *n, const struct ip_packet *p);
void ndp_ask(struct net *n, const struct net_addr *target, const uint8_t to[6]);
void ndp_announce(struct net *n, const struct net_addr *addr);
void ndp_probe(struct net *n, const struct net_addr *addr);
void mld_report(struct net *n);
/* p: an ICMPv6 message of type 130 with a good checksum; schedules a report. */
void mld_input(struct net *n, const struct ip_packet *p);
void mld_timers(struct net *n);

#endif
