/* A struct net on port 0 of a simulated wire, and a peer on port 1 that the test scripts byte by byte.
 *
 * The net is 192.0.2.1/24, 198.51.100.7/32 and 2001:db8::1/64; default routes by 192.0.2.254 and fe80::fe,
 * 203.0.113.0/24 by 192.0.2.253, 2001:db8:beef::/48 by 2001:db8::fd.  The peer is whoever it says it is. */
#ifndef TESTS_SIM_LINK_RIG_H
#define TESTS_SIM_LINK_RIG_H

#include "tests/unit/test.h"

#include "drivers/nic/sim/sim.h"
#include "tests/sim/fake_tcp.h"

struct rig {
    struct sim *sim;
    struct arena *arena;
    struct counters counters;
    struct net *net;
    int send_tci; /* the 802.1Q tag of what the peer sends; -1: none.  At first what the net is configured for */
};

/* Bytes on the way to the net, or taken from it. */
struct packet {
    uint16_t len;
    uint8_t bytes[2048];
};

extern const uint8_t OUR_MAC[6], PEER_MAC[6], OTHER_MAC[6], BROADCAST_MAC[6];

/* Changes to the configuration before the net is made; either may be NULL. */
typedef void (*rig_configure)(struct net_config *net, struct sim_config *sim);

struct rig *rig_new(rig_configure configure);
/* Asserts that no frame is held and nothing unread is left with the net's device. */
void rig_free(struct rig *r);

/* The peer sends; the net takes it in and answers, at the same virtual moment. */
void rig_send(struct rig *r, const struct packet *p);
/* Lets time pass in steps of at most 50 ms, running the net's timers and output. */
void rig_wait(struct rig *r, uint64_t us);
void rig_run(struct rig *r);
/* The next frame that the net sent, its tag, which must be the configured one, taken off; false: none. */
bool rig_take(struct rig *r, struct packet *out);
/* Throws away what the net has sent so far; how many frames that was. */
unsigned rig_discard(struct rig *r);
/* The same for frames that need not be sound. */
void rig_forget(struct rig *r);
/* The next frame for which `is` holds, others before it thrown away; fails the test when there is none. */
void rig_expect(struct rig *r, bool (*is)(const struct packet *), struct packet *out);
uint64_t rig_count(const struct rig *r, enum reason why);
/* Sends p and asserts that exactly `why` was counted once, no frame came out and TCP saw nothing. */
void rig_send_refused(struct rig *r, const struct packet *p, enum reason why);

/* ---- addresses ---- */

struct net_addr addr(const char *text);
struct net_addr our(int family);      /* 192.0.2.1, 2001:db8::1 */
struct net_addr peer(int family);     /* 192.0.2.2, 2001:db8::2: on our link */
struct net_addr stranger(int family); /* 8.8.8.8, 2a00:1450::8: behind the default route */
struct net_addr gateway(int family);  /* of the default route */

/* ---- writing ---- */

uint16_t test_checksum(const void *bytes, size_t len, uint32_t start);
struct packet eth_packet(const uint8_t dst[6], const uint8_t src[6], uint16_t type);
void packet_put(struct packet *p, const void *bytes, size_t len);
void packet_put16(struct packet *p, uint16_t v);
struct packet arp_packet(uint16_t op, const uint8_t sender_mac[6], const char *sender,
                         const uint8_t target_mac[6], const char *target);
/* A datagram from src to dst in a frame from the peer to us; family by the addresses. */
struct packet ip_packet_to(const struct net_addr *src, const struct net_addr *dst, uint8_t proto,
                           const void *l4, uint16_t l4_len);
/* ICMP or ICMPv6 by the family, with its checksum. */
struct packet icmp_packet(const struct net_addr *src, const struct net_addr *dst, uint8_t type, uint8_t code,
                          const void *rest, uint16_t rest_len);
struct packet tcp_packet(const struct net_addr *src, const struct net_addr *dst, uint16_t payload_len);
struct packet echo_request(const struct net_addr *src, const struct net_addr *dst, uint16_t data_len);
/* hop limit 255; option: a link-layer address option with mac, or 0 for none. */
struct packet nd_packet(const struct net_addr *src, const struct net_addr *dst, uint8_t type, uint8_t flags,
                        const struct net_addr *target, uint8_t option, const uint8_t *mac);
/* After a change to a header or an ICMP message in place. */
void fix_ip4_checksum(struct packet *p);
void fix_icmp6_checksum(struct packet *p);

/* ---- reading ---- */

bool is_arp(const struct packet *p);
bool is_arp_request(const struct packet *p);
bool is_arp_reply(const struct packet *p);
bool is_solicitation(const struct packet *p);
bool is_advertisement(const struct packet *p);
bool is_echo_reply(const struct packet *p);
bool is_icmp_error(const struct packet *p);
bool is_tcp(const struct packet *p);
/* Whether every checksum in the frame is right and every length fits. */
bool is_sound(const struct packet *p);
uint16_t type_of(const struct packet *p);
uint8_t *l3(struct packet *p);
uint8_t *l4(struct packet *p); /* behind a header without options or extensions */

/* ---- neighbours ---- */

/* The peer answers the net's question who has `who` with mac; asserts that there was one. */
void answer_question(struct rig *r, const struct net_addr *who, const uint8_t mac[6]);
/* Makes the net learn mac for who by an echo request from it. */
void teach(struct rig *r, const struct net_addr *who, const uint8_t mac[6]);
/* The MAC to which the net sends a TCP segment for dst; false when it sends none. */
bool mac_used_for(struct rig *r, const struct net_addr *dst, uint8_t mac[6]);

/* One claim for both families. */
#define BOTH_FAMILIES(claim)                                                                                 \
    static void claim##_ip4(void **state)                                                                    \
    {                                                                                                        \
        (void)state;                                                                                         \
        claim(4);                                                                                            \
    }                                                                                                        \
    static void claim##_ip6(void **state)                                                                    \
    {                                                                                                        \
        (void)state;                                                                                         \
        claim(6);                                                                                            \
    }
#define BOTH_TESTS(claim) cmocka_unit_test(claim##_ip4), cmocka_unit_test(claim##_ip6)

#endif
