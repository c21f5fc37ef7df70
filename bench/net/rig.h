/* One struct net and a peer made of bytes, for programs that count what net does and nothing else. */
#ifndef BENCH_NET_RIG_H
#define BENCH_NET_RIG_H

#include "dataplane/net/tcp.h"
#include "tests/sim/wire.h"

#include <stdio.h>
#include <stdlib.h>

/* A function that callgrind finds by its name, and that clears no registers at its end: what is the product's and was not made part of it
 * does. clang makes no clones, and does not know the words. */
#ifdef __clang__
#define COUNTED __attribute__((noinline))
#else
#define COUNTED __attribute__((noinline, noclone, zero_call_used_regs("skip")))
#endif

#define RIG_PORT 443

/* What the compiler must not know: the product does not know it either. */
#define UNKNOWN(value) __asm__("" : "+r"(value))

struct net_rig {
    struct net *net;
    struct arena *arena;
    struct counters counters;
    uint64_t now_us;
    bool offload;     /* checksums are the device's, both ways */
    uint32_t port_at; /* of strangers made so far */
};

/* A peer's connection: what it would say next. */
struct net_peer {
    struct wire_segment next;
    struct net_conn *conn;
};

/* c: conns_max and buffers are the caller's, the rest is filled in. */
void net_rig_init(struct net_rig *r, struct net_config *c, bool offload);
/* One segment of the peer's; frames that come of it are looked at by nobody but those of take(). */
void net_rig_give(struct net_rig *r, const struct wire_segment *s);
/* The next frame of ours that is TCP, answering questions for MACs on the way; false: there is none. */
bool net_rig_take(struct net_rig *r, struct wire_segment *s);
/* Peer number i: its address and port. */
struct wire_segment net_rig_peer(uint32_t i);
/* The SYN of that peer. */
struct wire_segment net_rig_syn(uint32_t i);
/* Connects peer number i, as Linux would: MSS, SACK, timestamps, scale. */
void net_rig_connect(struct net_rig *r, uint32_t i, struct net_peer *p);
/* The doors of net as callgrind is to see them: where the linker may inline across files, net_input has no name
 * of its own.  Each is one call more, which is counted. */
void counted_input(struct net *n, const struct frame *f, uint16_t count, uint64_t now_us);
uint16_t counted_output(struct net *n, struct frame *f, uint16_t cap, uint64_t now_us);
void counted_timers(struct net *n, uint64_t now_us);
struct net_conn *counted_event(struct net *n, uint32_t *events);
/* All that is readable; returns how much. */
size_t counted_read(struct net_conn *c, uint64_t now_us);
size_t counted_send(struct net_conn *c, struct span data, uint64_t now_us);
/* Bytes of this process in memory. */
uint64_t resident_bytes(void);

#endif
