/* The memory that one worker shares with ctrl: its counters and its audit records, in one memfd.
 *
 * The dataplane creates the memfd and sends it with every HELLO, so it outlives either process: after a `kill
 * -9` of ctrl the next one goes on at `tail`, after a `kill -9` of the dataplane ctrl drains what is left and
 * then takes the new one. Records are numbered from 1 without holes by the worker; a record that finds the
 * ring full is counted in `lost` and uses up its number, so that every gap is seen and its size is known.
 *
 * Producer: the worker (audit_put), never blocks.  Consumer: ctrl (audit_take).  Every index read from the
 * other side is checked before use: a ring that lies is AUDIT_RING_BAD, never an out-of-bounds access.  The
 * header's capacity is checked once, at audit_ring_map, and remembered outside the shared pages. */
#ifndef BASE_AUDIT_RING_H
#define BASE_AUDIT_RING_H

#include "base/counters.h"
#include "base/limits.h"
#include "base/span.h"

#define AUDIT_RING_MAGIC      0x5757415544495431ULL /* "WWAUDIT1" */
#define AUDIT_RECORDS_DEFAULT (1u << 20)
#define AUDIT_CALLER_CAP      64

enum audit_op { AUDIT_OP_UNKNOWN, AUDIT_OP_WRAP, AUDIT_OP_UNWRAP };

enum audit_flag {
    AUDIT_FLAG_HEALTH_CHECK = 1 << 0,  /* additionalContext.isKeyHealthCheck */
    AUDIT_FLAG_CALLER_CUT = 1 << 1,    /* caller was longer than AUDIT_CALLER_CAP */
    AUDIT_FLAG_CALLER_PROVEN = 1 << 2, /* the token's signature was good; else caller is what it claimed */
};

struct audit_record {
    uint64_t seq;
    uint64_t time_unix_us;
    uint8_t key_id[KEY_ID_LEN]; /* zero when no key was found */
    uint32_t version;           /* 0 = none used */
    uint32_t latency_ns;        /* from the request's last byte to the reply's hand-over */
    uint16_t status;            /* HTTP status answered */
    uint16_t verdict;           /* enum reason: what exactly was decided */
    uint32_t access_reason;     /* its bit (base/ctl_wire.h) */
    uint8_t op;                 /* enum audit_op */
    uint8_t flags;              /* enum audit_flag */
    uint8_t caller_len;         /* 0..AUDIT_CALLER_CAP */
    uint8_t reserved[13];
    char caller[AUDIT_CALLER_CAP];
};
_Static_assert(sizeof(struct audit_record) == 128, "one record is two cache lines");

struct audit_ring {
    uint64_t magic;
    uint32_t version; /* 1 */
    uint32_t record_size;
    uint64_t capacity; /* records, a power of two */
    uint8_t boot_id[16];
    uint32_t worker;
    uint32_t counter_count;             /* gauges included */
    _Alignas(64) _Atomic uint64_t head; /* next slot to write; written by the worker */
    uint64_t next_seq;                  /* worker's own */
    _Alignas(64) _Atomic uint64_t tail; /* next slot to read; written by ctrl */
    _Alignas(64) struct counters counters;
    _Alignas(64) struct counters house; /* the housekeeper's: in the ring of worker 0, zero in the others */
    _Alignas(128) struct audit_record records[];
};

enum audit_ring_status { AUDIT_RING_OK, AUDIT_RING_EMPTY, AUDIT_RING_BAD };

/* Dataplane: a new sealed-size memfd mapped shared; *fd is the caller's to pass on and close.  NULL with
 * errno set. */
struct audit_ring *MUST_USE audit_ring_create(uint64_t capacity, uint32_t worker, const uint8_t boot_id[16],
                                              int *fd);
/* ctrl: maps one that came over the socket; NULL when its size, magic, version or geometry is wrong. */
struct audit_ring *MUST_USE audit_ring_map(int fd);
void audit_ring_unmap(struct audit_ring *r);

/* r->seq is filled in.  A full ring counts REASON_AUDIT_LOST and drops; a tail that cannot be counts
 * REASON_AUDIT_BAD_TAIL and drops. */
void audit_put(struct audit_ring *ring, const struct audit_record *r);
/* Copies the next record out and frees its slot. */
enum audit_ring_status MUST_USE audit_take(struct audit_ring *ring, struct audit_record *out);
/* The same in two steps, for a consumer that stores before it frees: copies out the record `ahead` places
 * behind the next one; then gives back so many slots, at most as many as were seen.  A consumer that dies in
 * between finds the records again and knows them by boot_id and seq. */
enum audit_ring_status MUST_USE audit_peek(const struct audit_ring *ring, uint64_t ahead,
                                           struct audit_record *out);
void audit_release(struct audit_ring *ring, uint64_t records);

#endif
