/* Ethernet, ARP, NDP, IPv4, IPv6, ICMP and TCP as a pure library: frames in, frames out, bytes of connections
 * in between.
 *
 * One struct net per worker.  No DPDK types, no clock, no allocation after net_new, no globals: time is an
 * argument (microseconds of a clock that never goes back), randomness comes from a seeded generator, frames
 * come from the caller.  The same code runs on a device and in the simulator.
 *
 * A turn of its user:
 *     net_input(net, frames, count, now)      takes received bytes; the frames stay the caller's
 *     while ((c = net_next_event(net, &ev)))  look at c: accept, read, write, close
 *     net_timers(net, now, budget)
 *     net_output(net, now, out, cap)          fills frames that are to be sent; the caller hands them to
 * nic_tx
 *
 * Sources: RFC 9293 (TCP), 6298 (RTO), 5681/6582 (congestion, NewReno), 7323 (timestamps, window scale), 6528
 * (ISN), 6691 (MSS), 826 and 5227 (ARP), 4861 (NDP), 791, 8200, 792, 4443.  Behaviours and bugs are named by
 * their ids in docs/TCP.md and docs/IP.md. */
#ifndef DATAPLANE_NET_H
#define DATAPLANE_NET_H

#include "base/arena.h"
#include "base/counters.h"
#include "base/frame.h"
#include "base/siphash.h"
#include "base/span.h"

#define NET_SERVICE_ADDRS_MAX 16
#define NET_ROUTES_MAX        32
#define NET_PORTS_MAX         8

/* ---- several workers ---- */

/* Which worker each flow belongs to, and the lanes on which one worker passes to another what it received for it: one
 * per process, made before the workers and shared by all of them.  docs/decisions/0005. */
struct steering;

#define STEERING_KEY_LEN   52 /* the longest that devices take; 40 of them are used for an IPv6 four-tuple */
#define STEERING_TABLE_LEN 128

struct steering_config {
    uint16_t workers;   /* 1..WORKERS_MAX */
    uint16_t mtu;       /* IP packet */
    uint16_t table_len; /* of the device's indirection table, a power of two; 0 = STEERING_TABLE_LEN */
    uint8_t key[STEERING_KEY_LEN];
};

size_t steering_memory_needed(const struct steering_config *c);
/* Lives as long as the arena. */
struct steering *steering_new(const struct steering_config *c, struct arena *a);
uint16_t steering_workers(const struct steering *s);

/* ---- addresses and configuration ---- */

enum net_family { NET_IP4 = 4, NET_IP6 = 6 };

/* An address of either family; IPv4 in the first four bytes, the rest zero. */
struct net_addr {
    uint8_t family; /* enum net_family */
    uint8_t bytes[16];
};

struct net_prefix {
    struct net_addr addr;
    uint8_t len; /* bits */
};

/* Longest prefix wins; a route without a gateway is on-link.  The default routes are 0.0.0.0/0 and ::/0. */
struct net_route {
    struct net_prefix dst;
    bool on_link;
    struct net_addr gateway;
};

struct net_config {
    uint8_t mac[6];
    uint16_t mtu;     /* IP packet; 1280..9000 */
    uint16_t vlan_id; /* frames carry this IEEE 802.1Q tag both ways; 0: none */
    uint16_t addr_count;
    struct net_prefix addrs[NET_SERVICE_ADDRS_MAX]; /* ours, each with its on-link prefix */
    uint16_t route_count;
    struct net_route routes[NET_ROUTES_MAX];
    uint16_t port_count;
    uint16_t ports[NET_PORTS_MAX]; /* TCP ports that listen, on every address */
    bool tx_ip4_csum, tx_tcp_csum; /* leave these to the device (nic_info) */
    uint32_t conns_max;            /* connection records of this worker */
    uint32_t recv_buffer;          /* bytes per connection with unread data; power of two, 4 KiB..1 MiB */
    uint32_t recv_buffers_max;
    uint32_t send_buffer; /* bytes per connection with unacknowledged data; power of two */
    uint32_t send_buffers_max;
    uint32_t msl_ms;            /* TIME_WAIT is twice this; default 30 000 */
    uint32_t time_wait_max;     /* connections in it, 64 bytes each, the oldest gives way; default 16 384 */
    uint32_t fin_wait_2_ms;     /* default 60 000 */
    uint8_t syn_ack_retries;    /* default 5 */
    uint32_t syn_cache_max;     /* half-open connections, 64 bytes each; default 1024 */
    uint32_t syn_cookies_above; /* so many half-open ones and the next gets a cookie; default 512 */
    uint32_t idle_close_ms;     /* without new data either way; 0 = never */
    /* A peer silent for so long is asked whether it is there (0: never), again in this interval, and given up
     * after so many questions; defaults 60 000, 10 000, 6. */
    uint32_t keepalive_idle_ms, keepalive_interval_ms;
    uint8_t keepalive_probes;
    /* Datagrams in fragments: their number and the memory of their pieces, which is counted in whole MTUs; of
     * this worker, and of one source (an IPv4 address, an IPv6 /64). */
    uint16_t frag_datagrams, frag_source_datagrams;
    uint32_t frag_bytes, frag_source_bytes; /* 64 KiB..64 MiB */
    uint8_t seed[32];                       /* keys of the ISN, hash and timestamp offsets */
    struct steering *steering; /* shared with the other workers and alive as long as this; NULL: alone */
    uint16_t worker;           /* which one this is */
};

/* The defaults above; addresses, ports, mac and seed are the caller's to fill. */
void net_config_defaults(struct net_config *c);

/* Why a configuration is refused: a static text, NULL when it is sound.  net_new CHECKs it. */
const char *net_config_error(const struct net_config *c);

struct net;

size_t net_memory_needed(const struct net_config *c);
struct net *MUST_USE net_new(const struct net_config *c, struct arena *a, struct counters *counters,
                             uint64_t now_us);

/* Takes count received frames.  Bytes that are kept are copied; every frame is the caller's to free
 * afterwards.  Anything malformed is dropped with one counted reason.  Cost: bounded by the frames' length.
 */
void net_input(struct net *n, const struct frame *frames, uint16_t count, uint64_t now_us);

/* Takes what other workers received for this one, at most NIC_BURST_MAX packets from each: once per turn, beside
 * net_input.  True: there was some.  Nothing to do without config.steering. */
bool net_take_handed(struct net *n, uint64_t now_us);

/* Runs at most budget due timers.  net_next_timer: when the next one is due, UINT64_MAX when none is: an idle
 * worker may sleep until then. */
void net_timers(struct net *n, uint64_t now_us, uint32_t budget);
uint64_t net_next_timer(const struct net *n);

/* Fills up to cap frames (each already allocated by the caller, room for mtu + 18 bytes) with what is to be
 * sent, in order; returns how many.  What did not fit is sent by a later call: ask net_has_output. */
uint16_t MUST_USE net_output(struct net *n, uint64_t now_us, struct frame *frames, uint16_t cap);
bool net_has_output(const struct net *n);

/* (Of several workers, by the first alone.)  Gratuitous ARP and unsolicited NA for every address, three times a second apart; called once when the link
 * is up.  With each goes a probe (RFC 5227 2.1.1, RFC 4862 5.4.2) to which another owner of the address replies:
 * counted as a conflict and shown in net_gauges.  The addresses are served from the start and whatever comes of
 * it: they are configured, a restart or a fail-over cannot wait seconds for nobody's objection, and whoever
 * shouts on the link must not be able to silence us. */
void net_announce(struct net *n, uint64_t now_us);

/* ---- connections ---- */

struct net_conn; /* one TCP connection; alive from its ESTABLISHED event, or net_connect, until net_release */

enum net_event {
    NET_EVENT_ESTABLISHED = 1 << 0, /* the handshake is complete; comes first */
    NET_EVENT_READABLE = 1 << 1,    /* more in-order bytes than at the last event */
    NET_EVENT_WRITABLE = 1 << 2,    /* the send buffer has room again after a short net_send */
    NET_EVENT_PEER_FIN = 1 << 3,    /* no more bytes will come after those readable now */
    NET_EVENT_DEADLINE = 1 << 4,    /* the time set by net_set_deadline has come */
    NET_EVENT_CLOSED = 1 << 5,      /* last one: reset, timed out or fully closed; see net_close_cause */
};

enum net_cause {
    NET_CAUSE_NONE,
    NET_CAUSE_FINISHED,
    NET_CAUSE_RESET,
    NET_CAUSE_TIMED_OUT,
    NET_CAUSE_ABORTED,
    NET_CAUSE_REFUSED, /* of net_connect: nobody listens there */
};

/* Opens a connection from local, one of our addresses, to port of peer; the same family.  The caller holds it at
 * once: ESTABLISHED follows, or CLOSED (REFUSED, or TIMED_OUT after 183 s of silence); net_close, net_abort and
 * net_release before that call it off, net_set_deadline bounds it.  ICMP errors do not end it.  The local port
 * is chosen after RFC 6056.  NULL, counted: every record or every port to that peer is in use.  Cost: a look
 * into the table for each port that is taken.
 *
 * For load generators and tests: nothing on the path of the service opens connections. */
struct net_conn *MUST_USE net_connect(struct net *n, const struct net_addr *local,
                                      const struct net_addr *peer, uint16_t port, uint64_t now_us);

/* The next connection with something to say, each at most once per round; NULL when there is none.  *events:
 * a set of enum net_event. */
struct net_conn *net_next_event(struct net *n, uint32_t *events);

/* The user's own pointer; NULL on a fresh connection. */
void net_set_user(struct net_conn *c, void *user);
void *net_user(const struct net_conn *c);

/* In-order bytes not yet consumed: as many as lie in one piece.  Valid until the next net_consume or
 * net_input. */
struct span net_peek(const struct net_conn *c);
size_t net_readable(const struct net_conn *c);
/* Gives len (<= net_readable) bytes back; opens the window, and announces it when RFC 9293 3.8.6.2.2 says so.
 * Returns what net_peek would say now. */
struct span net_consume(struct net_conn *c, size_t len, uint64_t now_us);

/* Copies as much of data as there is room for into the send buffer, returns how many bytes that were; 0 when
 * full or closing.  Bytes go out with the next net_output. */
size_t MUST_USE net_send(struct net_conn *c, struct span data, uint64_t now_us);
size_t net_send_room(const struct net_conn *c);

/* No more net_send; FIN follows the queued bytes.  Unread received bytes make it a RST (RFC 2525 2.17). */
void net_close(struct net_conn *c, uint64_t now_us);
/* RST now. */
void net_abort(struct net_conn *c, uint64_t now_us);
/* The user lets go: after NET_EVENT_CLOSED, or after net_close / net_abort when it cares no more.  c is dead
 * to the caller; TCP finishes on its own and frees the record. */
void net_release(struct net_conn *c, uint64_t now_us);

/* One alarm per connection, replaced by each call; 0 = none. */
void net_set_deadline(struct net_conn *c, uint64_t at_us);

enum net_cause net_close_cause(const struct net_conn *c);
struct net_addr net_peer_addr(const struct net_conn *c);
uint16_t net_peer_port(const struct net_conn *c);
uint16_t net_local_port(const struct net_conn *c);

/* ---- for tests, metrics and the end-of-test invariant ---- */

struct net_gauges {
    uint32_t conns; /* connections in any state, half-open ones included */
    uint32_t syn_sent, syn_received, established, fin_wait_1, fin_wait_2, close_wait, closing, last_ack,
        time_wait;
    uint32_t recv_buffers_used, send_buffers_used;
    uint32_t neighbours;
    uint32_t addr_conflicts;             /* addresses of ours which another MAC has claimed since the start */
    uint32_t frag_datagrams, frag_bytes; /* in fragments, not yet whole; bytes as net_config counts them */
    bool device_steers;                  /* its flow hash was found right: nothing is hashed in software */
    bool device_checks;                  /* it has called no wrong checksum right */
};

void net_gauges(const struct net *n, struct net_gauges *out);

/* "192.0.2.1", "2001:db8::1"; false for anything else, or trailing bytes. */
bool MUST_USE net_addr_parse(struct span text, struct net_addr *out);
/* "192.0.2.1/24" */
bool MUST_USE net_prefix_parse(struct span text, struct net_prefix *out);

#ifdef WW_TEST_HOOKS
/* f as if it had come from the wire to worker `to`; false: no room. */
bool net_misdirect(struct net *n, const struct frame *f, uint16_t to);
#endif

#endif
