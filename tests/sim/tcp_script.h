/* A scripted peer: send this segment, expect that one, let time pass.
 *
 * One struct net under a virtual clock, one peer address, one connection at a time in the foreground.
 * Positions are given in stream offsets: byte 0 of either direction is the first after the SYN, so that a
 * script reads the same whatever the initial sequence numbers are.  Every segment that net sends is parsed,
 * its checksums are checked, and it waits in a queue until the script expects it.  ARP and NDP are answered
 * behind the script's back.
 *
 * Each claim runs in four variants: IPv4 and IPv6, with initial sequence numbers in the middle of the space
 * and just below 2^32 (B33). */
#ifndef TESTS_SIM_TCP_SCRIPT_H
#define TESTS_SIM_TCP_SCRIPT_H

#include "dataplane/net/net.h"
#include "tests/sim/wire.h"
#include "tests/unit/test.h"

#define MS            1000ULL
#define SECOND        1000000ULL
#define SCRIPT_PORT   7
#define SCRIPT_MARGIN 1000 /* how far below 2^32 the near-wrap variants begin */

struct script_variant {
    const char *name;
    bool v6;
    bool wrap;
};

/* What the script may choose before it begins; zero means the default in brackets. */
struct script_options {
    uint16_t mtu;              /* [1500] */
    uint32_t recv_buffer;      /* [65536] */
    uint32_t recv_buffers;     /* [8] */
    uint32_t send_buffer;      /* [65536] */
    uint32_t send_buffers;     /* [8] */
    uint32_t conns;            /* [16] */
    uint32_t idle_close_ms;    /* [0] */
    uint32_t keepalive_ms;     /* [0: off] */
    uint16_t mss;              /* the peer's [1460 or 1440] */
    bool no_mss;               /* the peer names none */
    int wscale;                /* offered if > 0, or -1 for an offer of 0 */
    bool ts, sack;             /* offered */
    uint16_t window;           /* what the peer announces, unscaled [65535] */
    uint32_t syn_cache;        /* [1024] half-open connections */
    uint32_t cookies_above;    /* [512] */
    uint32_t time_wait;        /* [64] records */
    bool cookies;              /* nothing half open is remembered */
    bool deaf;                 /* ARP and NDP stay unanswered */
    struct steering *steering; /* of several workers, of which the net is the first */
    uint64_t start_us;         /* [1000 s, or when a connection of the peer would begin just below 2^32] */
};

#define SCRIPT_QUEUE 512

struct script_segment {
    struct wire_segment s;
    uint64_t at_us;
    uint8_t bytes[WIRE_FRAME_MAX];
};

struct script {
    struct script_options o;
    const struct script_variant *variant;
    struct arena *arena;
    struct counters counters;
    struct net *net;
    uint64_t now_us, start_us;
    struct wire_addr ours, theirs; /* ours: of the net under test */
    uint16_t sport;                /* the peer's port */
    uint32_t iss, irs;             /* of the net; of the peer */
    uint32_t ts_echo;              /* our last TSval */
    uint32_t ts_skew;              /* added to the peer's TSval */
    uint32_t acked;                /* stream offset that the peer's segments acknowledge */
    uint16_t window;               /* ... and the window they announce */
    struct net_conn *conn;         /* of the last ESTABLISHED event */
    uint32_t events;               /* seen on conn since script_events was last asked */
    uint32_t accepted;
    uint64_t read, written; /* by the user of conn */
    uint16_t head, tail;    /* queue of segments sent by net */
    uint32_t others;        /* frames that were no TCP */
    uint8_t moved;          /* added to the last byte of the MAC with which the peer answers */
    struct script_segment *queue;
};

struct script *script_new(void **state, const struct script_options *o);
void script_free(struct script *t);

/* --- the peer's side --- */
/* Any segment; addresses, ports and, where agreed, the timestamp are filled in. */
void peer_sends(struct script *t, struct wire_segment s);
/* The same in two steps, for bytes that are to be damaged and for flags of the device. */
uint16_t peer_frame(struct script *t, struct wire_segment s, uint8_t *bytes);
void peer_sends_frame(struct script *t, uint8_t *bytes, uint16_t len, uint16_t flags);
/* A segment as the script would send it at stream offset at, to be changed and sent. */
struct wire_segment peer_make(const struct script *t, uint8_t flags, uint32_t at);
void peer_syn(struct script *t);
/* SYN, SYN-ACK, ACK; the ESTABLISHED event has come and t->conn is set. */
void script_handshake(struct script *t);
/* len bytes of the stream from offset at, with the ACK and window of t. */
void peer_data(struct script *t, uint32_t at, uint32_t len);
void peer_fin(struct script *t, uint32_t at);
/* An empty ACK of our stream up to offset. */
void peer_ack(struct script *t, uint32_t offset);
void peer_rst(struct script *t, uint32_t at);
uint32_t peer_seq(const struct script *t, uint32_t at);

/* --- time --- */
void script_advance(struct script *t, uint64_t us);
/* Runs output and events without moving the clock. */
void script_turn(struct script *t);

/* --- what the net sends --- */
/* The next segment; fails when there is none. Valid until the next expect. */
struct wire_segment *expect_segment(struct script *t);
/* An ACK without data of the peer's stream up to offset. */
struct wire_segment *expect_ack(struct script *t, uint32_t offset);
/* Data of our stream at the offset; len and content are checked. */
struct wire_segment *expect_data(struct script *t, uint32_t at, uint32_t len);
struct wire_segment *expect_fin(struct script *t, uint32_t at);
struct wire_segment *expect_rst(struct script *t);
void expect_nothing(struct script *t);
uint32_t script_pending(const struct script *t);
/* When the segment that was expected last left. */
uint64_t script_sent_at(const struct script *t);
void script_drop_all(struct script *t);
uint32_t offset_of(const struct script *t, uint32_t seq);

/* --- the user's side --- */
void app_send(struct script *t, uint32_t len); /* all of it must fit */
void app_read(struct script *t, uint32_t len); /* content is checked against the peer's stream */
void app_close(struct script *t);
void app_release(struct script *t);
/* Events since the last call. */
uint32_t app_events(struct script *t);
uint64_t counted(const struct script *t, enum reason r);
struct net_gauges script_gauges(const struct script *t);

/* Byte `at` of the peer's stream, and of ours. */
uint8_t peer_byte(uint64_t at);
uint8_t app_byte(uint64_t at);

/* Runs every test in all four variants, named "v4/..", "v6/..", "v4-wrap/..", "v6-wrap/..". */
int script_run(const char *group, const struct CMUnitTest *tests, size_t count);
#define SCRIPT_RUN(group, tests) script_run(group, tests, sizeof(tests) / sizeof((tests)[0]))

#endif
