/* ctrl's half of the ctl socket: brings every committed change to the dataplane and knows what it acked.
 *
 * One dataplane at a time: a second connection is turned away while the first one lives, so that an ack means that
 * nobody serves anything older.  After HELLO the peer gets a full snapshot, then one delta at a time, each holding
 * all changes since the last acked one.  A record in flight is the immutable one of its epoch, so that changes made
 * meanwhile do not tear a snapshot.  Step functions, no thread, no clock of its own: the caller says when the socket
 * is ready and what time it is.  Whatever the peer sends, it can only lose its connection. */
#ifndef CTRL_PUSH_H
#define CTRL_PUSH_H

#include "ctrl/keys/custody.h"
#include "ctrl/trust/trust.h"

#define PUSH_HELLO_MS 5000  /* from accept to HELLO */
#define PUSH_PING_MS  2000  /* between PINGs */
#define PUSH_PONG_MS  10000 /* a peer that said nothing for so long is hung */
#define PUSH_RETRY_MS 10000 /* after a refused snapshot */

struct push;

struct push_listener {
    void *ctx;
    /* A HELLO came with one memfd per worker; fds stay the caller's, closed after the call.  false drops it. */
    bool (*attached)(void *ctx, const struct ctl_hello *hello, const int *fds);
    void (*detached)(void *ctx);
    /* Something that a waiting command may care for: an ack, a refusal, an end. */
    void (*progress)(void *ctx);
};

struct push_status {
    bool attached;        /* HELLO came, connection lives */
    bool ahead;           /* the peer holds an epoch above ours: this store is an old one; nothing is sent */
    uint64_t acked_epoch; /* of this peer; 0 = none yet */
    uint64_t held_epoch;  /* as its HELLO said */
    uint8_t last_refusal; /* enum ctl_refusal; 0 = none since the last ack */
    uint64_t refused_epoch;
    char problem[128]; /* why the last peer was sent away; empty: none was since one attached */
    uint64_t connections, turned_away, dropped_garbage, dropped_hung; /* since start */
};

/* c and trust (a pointer that the caller may point elsewhere, then call push_changed) outlive it. NULL: no locked
 * memory. */
struct push *MUST_USE push_new(const struct custody *c, const struct trust *const *trust,
                               struct push_listener l);
void push_free(struct push *p);

/* Takes over a connected non-blocking socket; closes it when there is a living peer. */
void push_accept(struct push *p, int fd, uint64_t now_ms);

/* -1 = no peer.  The caller polls it for reading, and for writing while push_wants_write. */
int push_fd(const struct push *p);
bool push_wants_write(const struct push *p);
void push_readable(struct push *p, uint64_t now_ms);
void push_writable(struct push *p);
void push_tick(struct push *p, uint64_t now_ms);

/* A committed change: of a key, or (NULL) of the trust material. */
void push_changed(struct push *p, const struct key_record *r);

/* A transaction is being written that holds records as they were before that epoch. */
bool push_reads_before(const struct push *p, uint64_t epoch);

void push_status(const struct push *p, struct push_status *out);

#endif
