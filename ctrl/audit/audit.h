/* The audit writer: drains each worker's ring into segment files, exactly once per record, every gap counted.
 *
 * A record is written to the file first and released from the ring after; a ctrl that was killed between the two
 * finds its sequence number in the file and skips it.  So after `kill -9` of ctrl there is no duplicate and nothing
 * is lost; after `kill -9` of the dataplane its rings, which ctrl holds mapped, are drained to their end.  A missing
 * sequence number (the ring was full) becomes a loss entry with the count.  Files are synced once per second: what
 * a power cut may take is that second.  A file that cannot be written stops the draining, not ctrl: the rings then
 * fill up and the dataplane counts what it drops.
 *
 * Segments are DIR/audit-NNNNNNNNNN.wwa, AUDIT_SEGMENT_MAX bytes of entries of AUDIT_ENTRY_LEN bytes (docs/WIRE.md,
 * "Audit files"); a new segment begins with the position of every ring in use, so only the last one is read at
 * start. */
#ifndef CTRL_AUDIT_AUDIT_H
#define CTRL_AUDIT_AUDIT_H

#include "base/audit_ring.h"
#include "base/ctl_wire.h"
#include "ctrl/lib/refusal.h"

#define AUDIT_ENTRY_LEN   192
#define AUDIT_SEGMENT_MAX (64u * 1024 * 1024)
#define AUDIT_VERDICT_CAP 40
#define AUDIT_RINGS_MAX   (2 * WORKERS_MAX) /* the dataplane's before and after a restart */

enum audit_kind {
    AUDIT_RECORD = 1,
    AUDIT_LOSS = 2,     /* count records from seq on were dropped: the ring was full */
    AUDIT_POSITION = 3, /* everything up to seq is in earlier segments */
    AUDIT_CLOSED = 4,   /* that ring ended after seq, and all of it is here */
    AUDIT_UNKNOWN = 5,  /* that ring went away while ctrl was down: what it held after seq is not known */
};

struct audit_entry {
    uint8_t kind; /* enum audit_kind */
    uint16_t worker;
    uint8_t boot_id[16];
    uint64_t seq;
    uint64_t time_unix_us;
    uint64_t count;                  /* AUDIT_LOSS */
    struct audit_record record;      /* AUDIT_RECORD; seq, time and verdict are in the fields beside it */
    char verdict[AUDIT_VERDICT_CAP]; /* name of the reason: its number is not stable across versions */
};

struct audit;

struct audit_status {
    uint64_t written, lost, duplicates_skipped, bad_rings, segments, cut_bytes;
    uint32_t rings;
    char problem[256]; /* empty = writing works */
};

/* segment_max: AUDIT_SEGMENT_MAX, or less in tests. NULL: why. */
struct audit *MUST_USE audit_open(const char *dir, uint64_t segment_max, struct refusal *why);
void audit_close(struct audit *a);

/* The rings of a dataplane that said HELLO, one memfd per worker, in order; the descriptors stay the caller's.
 * false: one of them is no ring, or not of this boot. */
bool MUST_USE audit_attach(struct audit *a, const struct ctl_hello *hello, const int *fds);

/* Told of every record once it is in a file; r dies with the call. */
void audit_listen(struct audit *a, void (*written)(void *ctx, const struct audit_record *r), void *ctx);

/* Moves at most budget records per ring; true when there was any.  A ring that lies is given up and counted. */
bool audit_drain(struct audit *a, uint32_t budget);
void audit_sync(struct audit *a);

void audit_status(const struct audit *a, struct audit_status *out);

/* Of one worker of the dataplane that is attached, and of its housekeeper; NULL: there is none.  Valid until the next
 * audit_attach or audit_drain. */
const struct counters *audit_counters(const struct audit *a, uint16_t worker);
const struct counters *audit_house_counters(const struct audit *a);

/* The last `count` entries, oldest first, from at most the last two segments.  Returns how many were given. */
size_t audit_tail(struct audit *a, size_t count, void (*each)(void *ctx, const struct audit_entry *e),
                  void *ctx);

/* One entry and its AUDIT_ENTRY_LEN bytes. */
void audit_entry_encode(const struct audit_entry *e, uint8_t out[AUDIT_ENTRY_LEN]);
bool MUST_USE audit_entry_decode(const uint8_t in[AUDIT_ENTRY_LEN], struct audit_entry *out);

#endif
