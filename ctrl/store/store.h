/* The durable truth: sealed rows in one SQLite file, every change an epoch, every epoch chained to the one before.
 *
 * A row is (kind, id, sub) and a body that the store does not understand (ctrl/keys/record.c).  Body and place are
 * sealed by AES-256-GCM under a key derived from the shard root key; so is the change record that each epoch
 * leaves: its epoch, the hash of the change before, and the hash of every row it wrote.  store_unlock walks the
 * chain from the first change and compares: a row that was altered, swapped, dropped, added or rolled back by
 * itself is found there.  A whole file set back to an older state is found by the sealed head that is kept beside
 * it (<file>.head), and by the dataplane, which refuses an epoch below the one it holds.  Layouts: docs/WIRE.md,
 * "Store".
 *
 * SQLite 3.40 has a race between two connections in WAL mode that can lose data: one process, one connection,
 * locking_mode=EXCLUSIVE; a second holder is refused.  A change is one transaction; store_commit returns true
 * after it was synced to the disk (synchronous=FULL).  Not thread safe. */
#ifndef CTRL_STORE_STORE_H
#define CTRL_STORE_STORE_H

#include "base/limits.h"
#include "base/span.h"
#include "ctrl/lib/refusal.h"
#include "drivers/crypto/mbedtls/mbed.h"

#define STORE_BODY_MAX   (24 * 1024) /* a policy of EKM_CALLERS_PER_KEY longest callers is 16.4 KB */
#define STORE_SLOTS_MAX  16
#define STORE_SLOT_MAX   2048
#define STORE_WRITES_MAX 20 /* rows in one change; every slot is one at a root rotation */

/* Formats come in levels.  This version reads these, and writes a store and its backups at the level that the store is
 * at: 1 until somebody says store_put_level, so that the version before this one still reads everything.  2 knows
 * anchors, and rows of private keys.  A test builds the version before this one with STORE_LEVEL_MAX 1: what level 2 brought is left out. */
#define STORE_LEVEL_MIN 1
#ifndef STORE_LEVEL_MAX
#define STORE_LEVEL_MAX 2
#endif
#define STORE_LEVEL_ANCHORS      2
#define STORE_LEVEL_PRIVATE_KEYS 2

#define STORE_COMPACT_CHANGES 1024 /* so many more than the anchor has rows: time for a new anchor */

enum store_kind {
    STORE_CHANGE = 0, /* the store's own */
    STORE_KEY = 1,
    STORE_VERSION = 2, /* sub = its number */
    STORE_POLICY = 3,
    STORE_TRUST = 4,  /* what was last read from the JWKS and certificate files */
    STORE_HEAD = 5,   /* the store's own */
    STORE_CLOCK = 6,  /* the store's own */
    STORE_IMPORT = 7, /* the private half of the import key */
    STORE_LEVEL = 8,  /* the store's own */
    STORE_ANCHOR = 9, /* the store's own */
    STORE_SLOT = 16,  /* sub = its number: what the slot table is to hold there (ctrl/store/slots.h) */
};

struct store;

struct store_row {
    uint8_t kind; /* enum store_kind */
    uint8_t id[KEY_ID_LEN];
    uint32_t sub;
    uint64_t epoch; /* when it was last written */
    struct span body;
};

/* A file that is not there yet is made only when `create`.  NULL: why says what is wrong.  Codes: store_absent,
 * store_held, store_damaged, store_format, store_newer (of a level above ours), and those of store_commit. */
struct store *MUST_USE store_open(const char *file, uint16_t shard, bool create, struct mbed_rng *rng,
                                  struct refusal *why);
void store_close(struct store *s);

/* No change was ever committed, as far as the file says. */
bool store_is_new(struct store *s);

/* Slots are kept as they come (drivers/seal).  Before unlock; after it a change takes them along (store_put_slot). */
bool MUST_USE store_slot_put(struct store *s, uint8_t number, struct span slot, struct refusal *why);
/* 0 when there is none. */
size_t store_slot_get(struct store *s, uint8_t number, uint8_t out[STORE_SLOT_MAX]);

/* Whether srk is what everything here is sealed under, as far as can be told before unlocking: true while the store
 * knows none. */
bool store_is_root(struct store *s, const uint8_t *srk);

/* Derives the keys from srk, walks the chain, compares every row and hands each to visit (body dies with the
 * call).  false: why.code is one of store_chain_broken, store_row_changed, store_row_missing, store_row_alien,
 * store_rolled_back, store_wrong_root, store_newer.  Cost: one AES-GCM pass over everything. */
bool MUST_USE store_unlock(struct store *s, const uint8_t *srk,
                           bool (*visit)(void *ctx, const struct store_row *r), void *ctx,
                           struct refusal *why);

uint64_t store_epoch(const struct store *s);
uint8_t store_level(const struct store *s);

/* The changes so far, all of them, are replaced by one anchor: their epoch, the chain's hash there, and of each row when
 * it was last written and its hash.  Every row was compared with the chain before.  One transaction; neither epoch nor
 * hash changes by it.  Not while a change is open, nor while somebody walks the changes (store_raw_change).  Codes:
 * store_level, store_chain_broken, store_row_*, those of store_commit.  Cost: a hash over everything. */
bool MUST_USE store_compact(struct store *s, struct refusal *why);
/* Epoch of the anchor; 0: there is none.  The changes above it are there. */
uint64_t store_base(const struct store *s);
/* There are so many changes that a new anchor makes the file smaller. */
bool store_wants_compaction(const struct store *s);

/* One change: begin, put rows, commit.  All of it or nothing: a commit that returns false has changed nothing.
 * Codes: disk_full, read_only, store_io (with the file and errno).  After store_io the disk cannot be trusted: every
 * later change is refused until ctrl is restarted. */
void store_begin(struct store *s);
void store_put(struct store *s, enum store_kind kind, const uint8_t id[KEY_ID_LEN], uint32_t sub,
               struct span body);
bool MUST_USE store_commit(struct store *s, struct refusal *why);
/* Puts the row of a slot, and with the same commit `slot` into the slot table in its place; empty: none is there. */
void store_put_slot(struct store *s, uint8_t number, struct span body, struct span slot);
/* With that commit the store is at this level, STORE_LEVEL_MIN..MAX, for good. */
void store_put_level(struct store *s, uint8_t level);
/* The slot table is not what its rows say: makes it so again, without a change. */
bool MUST_USE store_slot_mend(struct store *s, uint8_t number, struct span slot, struct refusal *why);

/* A new root key. */
struct store_reroot {
    void *ctx;
    /* A row's body under the new root, into out (STORE_BODY_MAX bytes); its length. */
    size_t (*body)(void *ctx, const struct store_row *row, uint8_t *out);
};
/* In place of store_commit: the change that was put, and with it every row and every change sealed anew under srk, in
 * one transaction.  Until it is committed, and after any refusal, everything is under the old root; epochs stay, the
 * chain's hashes do not.  Where there may be an anchor, one takes the place of all changes.  Codes: those of store_commit
 * and store_compact.  Cost: two AES-GCM passes over everything, and as much log as there is store. */
bool MUST_USE store_reroot(struct store *s, const uint8_t *srk, const struct store_reroot *r,
                           struct refusal *why);

void store_abandon(struct store *s);

/* What is not a change, yet must outlive the process: one short sealed note in <file>.clock, replaced whole.  write
 * false: errno.  read: its length; 0 when there is none, or it is not of this store. */
#define STORE_NOTE_MAX 64
bool MUST_USE store_note_write(struct store *s, struct span note);
size_t store_note_read(struct store *s, uint8_t out[STORE_NOTE_MAX]);

/* Called between changes, some times a second: brings the head beside the file up to the last change, and moves the
 * write-ahead log into the file when it has grown, or now.  What was overwritten
 * is zeroed in the file (secure_delete) and gone from the log after that.  false: it failed and was logged; nothing
 * is lost, the log stays. */
bool store_checkpoint(struct store *s, bool now);

/* A key for a purpose, from the shard root key: HKDF(srk, label, shard). */
void store_derive(const uint8_t *srk, const char *label, uint16_t shard, uint8_t out[MBED_KEY_LEN]);

const char *store_sqlite_version(void);

/* ---- for backups: records as they lie in the file, sealed ---- */

#define STORE_ID_LEN     16
#define STORE_RECORD_MAX (STORE_BODY_MAX + 64 + MBED_NONCE_LEN + MBED_TAG_LEN)

/* What a store is besides its records. */
struct store_identity {
    uint16_t shard;
    uint8_t store_id[STORE_ID_LEN];
    uint8_t root[MBED_KEY_LEN]; /* names the root key that everything is sealed under */
};

enum store_raw_kind { STORE_RAW_SLOT, STORE_RAW_ROW, STORE_RAW_CHANGE, STORE_RAW_ANCHOR };

struct store_raw {
    enum store_raw_kind kind;
    uint64_t
        number; /* of a slot, of an anchor's page; a change's epoch; 0 of a row, whose place is in its record */
    struct span record;
};

/* Takes a record, which dies with the call; false ends the walk. */
typedef bool (*store_raw_sink)(void *ctx, const struct store_raw *r);

/* A place among the rows, which keeps its meaning while rows come and change; zeros: before the first. */
struct store_raw_at {
    bool begun;
    uint8_t kind;
    uint8_t id[KEY_ID_LEN];
    uint32_t sub;
};

/* Of an unlocked store.  false: the sink said so, or the file could not be read (logged). */
void store_identity(struct store *s, struct store_identity *out);
bool MUST_USE store_raw_slots(struct store *s, store_raw_sink sink, void *ctx);
/* Up to budget rows behind *at, which moves; *done: there are no more. */
bool MUST_USE store_raw_rows(struct store *s, struct store_raw_at *at, uint32_t budget, bool *done,
                             store_raw_sink sink, void *ctx);
/* A page of the anchor; there are store_anchor_pages of them, numbered from 0. */
uint32_t store_anchor_pages(const struct store *s);
bool MUST_USE store_raw_anchor(struct store *s, uint32_t page, store_raw_sink sink, void *ctx);
/* The change of that epoch, above store_base; with_rows: behind it the rows that it wrote, as they are by now. */
bool MUST_USE store_raw_change(struct store *s, uint64_t epoch, bool with_rows, store_raw_sink sink,
                               void *ctx);
/* The chain's hash at that epoch, 0 and store_base..store_epoch.  false: it could not be read. */
bool MUST_USE store_chain_hash(struct store *s, uint64_t epoch, uint8_t out[MBED_DIGEST_LEN]);

/* A new store, filled record by record and believed only when store_unlock has walked it.  A row takes the place of
 * an older one.  Marks nest into the one transaction: what came after the last mark can be dropped again.
 * NULL or false: why; the file is then no store. */
struct store *MUST_USE store_import(const char *file, const struct store_identity *id, struct mbed_rng *rng,
                                    struct refusal *why);
bool MUST_USE store_import_put(struct store *s, const struct store_raw *r, struct refusal *why);
/* Slots put before are forgotten: a later file has them all. */
bool MUST_USE store_import_forget_slots(struct store *s, struct refusal *why);
bool MUST_USE store_import_mark(struct store *s, struct refusal *why);
bool MUST_USE store_import_drop(struct store *s, struct refusal *why);
/* From here it is a store as store_open gives it. */
bool MUST_USE store_import_end(struct store *s, struct refusal *why);

#endif
