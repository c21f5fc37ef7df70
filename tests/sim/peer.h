/* A TCP client of our own for tests: one connection to a server, over struct frame and virtual time.
 *
 * It shares no code with dataplane/net: a mistake there meets a stranger.  Reliable (retransmits, reassembles),
 * plain (go-back-N, a fixed flight limit), and it complains: a segment that breaks the rules of the connection
 * fails the running test (bytes beyond the window or the MSS, a changed byte in a repetition, an untrue SACK
 * block, a bad checksum).
 *
 *     struct peer *p = peer_new(&options);
 *     peer_connect(p, now);
 *     loop: n = peer_output(p, now, frames, cap);     frames to the server
 *           peer_input(p, &frame, now);               frames from the server, also those for others
 *           peer_timers(p, now);  peer_next_timer(p)
 *     peer_write / peer_read / peer_close / peer_abort whenever wanted
 *
 * ARP requests and neighbour solicitations for its address are answered as long as the peer lives. */
#ifndef TESTS_SIM_PEER_H
#define TESTS_SIM_PEER_H

#include "base/frame.h"
#include "tests/sim/wire.h"

struct peer;

struct peer_options {
    uint8_t mac[6], server_mac[6]; /* ours; where frames go (the server's or a router's) */
    struct wire_addr addr, server;
    uint16_t port, server_port;
    uint32_t iss;
    uint16_t mss;         /* announced; 0 = 1460 or 1440 */
    uint32_t recv_window; /* bytes we hold unread; 0 = 65536 */
    int wscale;           /* offered shift 0..14, -1 = not offered */
    bool ts, sack;        /* offered */
    uint32_t flight_max;  /* unacknowledged bytes; 0 = 32768 */
    bool delayed_acks;    /* every second segment or 40 ms; otherwise at once */
};

enum peer_state {
    PEER_CONNECTING,
    PEER_OPEN,     /* until both FINs are through */
    PEER_FINISHED, /* both FINs acknowledged; still answers */
    PEER_RESET,    /* by the server */
    PEER_ABORTED,  /* by peer_abort */
    PEER_FAILED,   /* gave up: 40 repetitions without an answer */
};

/* IPv4 192.0.2.2 -> 192.0.2.1 or 2001:db8::2 -> ::1, port 40000 -> 443, timestamps, SACK, scale 7. */
void peer_options_defaults(struct peer_options *o, bool v6);
/* "192.0.2.2" or "2001:db8::2"; fails the test for anything else. */
struct wire_addr peer_addr(const char *text);

struct peer *peer_new(const struct peer_options *o);
void peer_free(struct peer *p);

void peer_connect(struct peer *p, uint64_t now_us);
/* Always takes all; memory grows as needed. */
void peer_write(struct peer *p, struct span data, uint64_t now_us);
/* Bytes in order that were not read; peer_read copies at most cap of them and opens the window. */
size_t peer_readable(const struct peer *p);
size_t peer_read(struct peer *p, uint8_t *out, size_t cap, uint64_t now_us);
/* No more writes; FIN after what is queued. */
void peer_close(struct peer *p, uint64_t now_us);
/* RST now. */
void peer_abort(struct peer *p, uint64_t now_us);

enum peer_state peer_state(const struct peer *p);
bool peer_fin_received(const struct peer *p); /* and every byte before it */
uint64_t peer_unacked(const struct peer *p);
uint64_t peer_retransmits(const struct peer *p);

/* A frame on the peer's wire; others' frames are ignored.  The bytes stay the caller's. */
void peer_input(struct peer *p, const struct frame *f, uint64_t now_us);
/* Fills frames (each with room for a full packet) with what is to be sent. */
uint16_t peer_output(struct peer *p, uint64_t now_us, struct frame *frames, uint16_t cap);
bool peer_has_output(const struct peer *p);
void peer_timers(struct peer *p, uint64_t now_us);
uint64_t peer_next_timer(const struct peer *p); /* UINT64_MAX when none */

#endif
