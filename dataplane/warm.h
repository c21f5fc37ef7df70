/* The warm snapshot's files: how a dataplane comes up when ctrl, store and network are dead.
 *
 *     DIR/snapshot      all that was served, sealed (docs/WIRE.md 8; the sealing is keys/warm.c)
 *     DIR/floor         the highest epoch that was ever acked here, sealed; written before each ACK
 *     DIR/status.json   what this process serves and where it has it from; for people and scripts, not read back
 *
 * The housekeeper's, on its own thread; never on a worker's.  A snapshot below the floor, without a floor, older than
 * max_age_s, of another shard or key, or altered by one bit is refused, with a name and a next step, and nothing of it
 * is served.  The key comes from outside the disk: warm_key.h, docs/decisions/0004. */
#ifndef DATAPLANE_WARM_H
#define DATAPLANE_WARM_H

#include "base/counters.h"
#include "base/ctl_wire.h"
#include "dataplane/keys/keys.h"

struct warm_problem {
    char code[32]; /* empty: none */
    char text[256];
    char next[160];
};

/* Fills p in; false. */
bool warm_refuse(struct warm_problem *p, const char *code, const char *next, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

struct warm_config {
    const char *dir; /* outlives it */
    uint32_t max_age_s;
    uint16_t shard;
    struct counters *counters; /* one writer: the thread that calls */
    uint64_t (*unix_s)(void);  /* the date */
};

struct warm;
/* key: NULL while it is awaited; then it is locked, and reads and writes nothing.  NULL: why. */
struct warm *MUST_USE warm_new(const struct warm_config *c, const uint8_t *key, struct warm_problem *why);
bool MUST_USE warm_unlock(struct warm *w, const uint8_t key[WARM_KEY_LEN], struct warm_problem *why);
/* There will be none: it stays locked, and why is what it says from now on. */
void warm_no_key(struct warm *w, const struct warm_problem *why);
/* For the key. */
bool warm_waits(const struct warm *w);
/* No warm start is wanted: what an earlier one left in dir goes away, since nobody keeps it from growing old. */
void warm_forget(const char *dir);
void warm_free(struct warm *w);

/* Reads the snapshot and hands its messages over, BEGIN first; END only when every byte before it was authenticated
 * and none follows.  message says false to refuse.  false: what is wrong is in the status; END was not handed over.
 * Blocks for the time of reading: nothing is served yet. */
bool MUST_USE warm_load(struct warm *w,
                        bool (*message)(void *ctx, const struct ctl_head *h, struct span body), void *ctx);

/* Before the ACK of an epoch that ctrl brought: from now on no snapshot below it is taken.  Where the floor cannot be
 * written, the snapshot is removed; so it is while locked, unless it is of this epoch.  A new snapshot is due. */
void warm_acking(struct warm *w, uint64_t epoch);
/* ctrl said that the epoch held is its newest. */
void warm_confirmed(struct warm *w, uint64_t epoch);
/* Writes a little of a snapshot that is due, at most 1 MiB.  True when there was work. */
bool warm_step(struct warm *w, const struct keys *k, const struct warm_trust *trust, uint64_t now_us);
/* Between a transaction's end and its ACK, or when trust is about to move: a snapshot in progress is given up. */
void warm_give_up(struct warm *w);

struct warm_status {
    uint64_t snapshot_epoch, snapshot_unix_s; /* of the file; 0 = none that is known to be good */
    uint64_t floor_epoch, confirmed_unix_s;
    struct warm_problem problem; /* of the last read or write */
};
void warm_status(const struct warm *w, struct warm_status *out);

/* Replaces DIR/status.json. */
struct warm_facts {
    const char *source; /* "none", "warm", "ctrl" */
    uint64_t epoch;
    uint32_t keys, versions;
    bool attached; /* to ctrl */
};
void warm_tell(struct warm *w, const struct warm_facts *f);

#endif
