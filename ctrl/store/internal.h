/* What the files of this room share; nobody outside it includes this.
 *
 * db.c        SQLite, and its failures in words          sealed.c   a record, sealed and opened
 * expected.c  what each row must be                      anchor.c   all changes up to an epoch in one piece
 * chain.c     anchor and changes, one after the other    compact.c  changes become an anchor
 * unlock.c    chain first, then every row against it     head.c     the small files beside the store
 * store.c     opening, changing, committing              reroot.c   everything under a new root key
 * raw.c       records out to backups and in from them
 *
 * Of a function that returns int, it is SQLite's result code; a bool goes with a refusal, or with errno. */
#ifndef CTRL_STORE_INTERNAL_H
#define CTRL_STORE_INTERNAL_H

#include "ctrl/store/store.h"

#include <limits.h>
#include <sqlite3.h>
#include <string.h>

#define SEALED_HEAD_LEN 64 /* version, kind, shard, sub, epoch, id, prev */
#define SEALED_OVERHEAD (SEALED_HEAD_LEN + MBED_NONCE_LEN + MBED_TAG_LEN)
#define TOUCHED_LEN     (1 + KEY_ID_LEN + 4 + MBED_DIGEST_LEN) /* of one row, in the body of a change */
#define CHANGE_BODY_MAX (4 + STORE_WRITES_MAX * TOUCHED_LEN)
#define CHANGE_MAX      (CHANGE_BODY_MAX + SEALED_OVERHEAD)

struct place {
    uint8_t kind;
    uint8_t id[KEY_ID_LEN];
    uint32_t sub;
};

struct write {
    struct place place;
    uint8_t hash[MBED_DIGEST_LEN];
    uint8_t *record;
    size_t len;
    uint8_t *slot; /* what goes into the slot table; NULL: not the row of a slot, or none is to be there */
    size_t slot_len;
};

struct store {
    char file[PATH_MAX];
    char head_file[PATH_MAX + 8], next_head_file[PATH_MAX + 16], clock_file[PATH_MAX + 8];
    uint16_t shard;
    sqlite3 *db;
    struct mbed_rng *rng;
    struct mbed_aead *aead; /* NULL until unlocked */
    uint8_t store_id[STORE_ID_LEN];
    uint64_t epoch;
    uint8_t head[MBED_DIGEST_LEN]; /* hash of the last change; of the store's identity at epoch 0 */
    uint8_t level, next_level;     /* next: of the change that is open; 0: it changes none */
    uint64_t base;                 /* epoch of the anchor; 0: none */
    uint8_t base_hash[MBED_DIGEST_LEN];
    uint32_t anchor_pages;
    uint64_t anchor_rows;
    bool open_change;
    bool failed;
    bool head_behind; /* the head beside the file is older than the last change */
    uint32_t commits_since_checkpoint;
    size_t write_count;
    struct write writes[STORE_WRITES_MAX];
};

/* ---- db.c ---- */

/* What SQLite's rc means, as a refusal; false.  s->failed is set where nothing can be said for the file any more. */
bool db_refuse(struct store *s, const char *doing, int rc, struct refusal *why);

int db_exec(struct store *s, const char *sql);
int db_prepare(struct store *s, const char *sql, sqlite3_stmt **out);

/* Runs a statement that yields no row, then drops it. */
int db_finish(sqlite3_stmt *st);

/* Runs a statement that is used again. */
int db_run(sqlite3_stmt *st);

/* Ends a transaction that is still open. */
void db_rollback(struct store *s);

/* Until the statement moves on. */
struct span db_column(sqlite3_stmt *st, int col);

int db_meta_put(struct store *s, const char *name, struct span value);

/* The value's length; 0 when there is none or it is longer than cap. */
size_t db_meta_get(struct store *s, const char *name, uint8_t *out, size_t cap);

/* Three parameters from first on, and the columns 0 to 2: kind, id, sub.  false: no place can be so. */
void db_place_bind(sqlite3_stmt *st, int first, const struct place *p);
bool db_place(sqlite3_stmt *st, struct place *out);

/* ---- sealed.c ---- */

struct sealed {
    struct place place;
    uint64_t epoch;
    uint8_t prev[MBED_DIGEST_LEN];
    struct span body; /* points into the caller's room */
};

/* The record's length. */
size_t sealed_write(struct store *s, const struct place *p, uint64_t epoch,
                    const uint8_t prev[MBED_DIGEST_LEN], struct span body, uint8_t *out, size_t cap);

/* room: as many bytes as raw has.  false: not a record of this store, or altered. */
bool sealed_open(struct store *s, struct span raw, uint8_t *room, struct sealed *out);
bool sealed_open_with(const struct store *s, struct mbed_aead *aead, struct span raw, uint8_t *room,
                      struct sealed *out);

bool place_equal(const struct place *a, const struct place *b);

/* ---- head.c ---- */

struct head {
    bool present;
    uint64_t epoch;
    uint8_t hash[MBED_DIGEST_LEN];
};

/* A root rotation writes the head under the new root beside the old one, commits, and only then puts it in its place:
 * whichever root the store has, one of the two is sealed under it. */
bool head_read(struct store *s, struct head *out, struct refusal *why);

bool head_write(struct store *s);
bool head_write_to(struct store *s, const char *file, uint64_t epoch, const uint8_t head[MBED_DIGEST_LEN]);

/* The change is durable whatever happens to the head: an older one only sees less. */
void head_catch_up(struct store *s);

/* ---- expected.c ---- */

/* What the chain says a row must be. */
struct expected {
    struct place place;
    bool used, seen;
    uint64_t epoch;
    uint8_t hash[MBED_DIGEST_LEN];
};

struct expected_table {
    struct expected *slots; /* free() it */
    size_t cap;             /* a power of two */
    size_t count;
};

struct expected *expected_find(struct expected_table *t, const struct place *p);
void expected_set(struct expected_table *t, const struct place *p, uint64_t epoch, struct span hash);

bool chain_broken(const struct store *s, uint64_t epoch, struct refusal *why);
bool row_refuse(const struct store *s, const char *code, const char *what, const struct place *p,
                struct refusal *why);

/* ---- chain.c ---- */

/* What epoch 1 follows: the store's identity, so that no chain fits another store. */
void chain_genesis(const struct store *s, uint8_t out[MBED_DIGEST_LEN]);

/* Reads anchor and changes into t; s->epoch and s->head are where they end. */
bool chain_load(struct store *s, struct expected_table *t, const struct head *head, struct refusal *why);

/* ---- anchor.c ---- */

bool anchor_load(struct store *s, struct expected_table *t, struct refusal *why);

/* Inside a transaction: t, which is all rows as of s->epoch, in place of every change. */
int anchor_write(struct store *s, const struct expected_table *t);

/* That was committed: epoch and hash are the base now. */
void anchor_take(struct store *s, uint64_t epoch, const uint8_t hash[MBED_DIGEST_LEN],
                 const struct expected_table *t);

int anchor_table(struct store *s);

/* ---- compact.c ---- */

/* What store_compact does, also before the open change of a new root is committed. */
bool compact(struct store *s, struct refusal *why);

/* ---- unlock.c ---- */

/* The cipher of all records; NULL: no locked memory. */
struct mbed_aead *rows_aead(const struct store *s, const uint8_t *srk);

/* ---- store.c ---- */

bool level_check(const struct store *s, uint8_t level, struct refusal *why);

/* In the clear, for whoever must refuse it before he can open it; what counts is the row of kind STORE_LEVEL. */
int level_note(struct store *s, uint8_t level);

/* false: an earlier write failed; the open change is dropped. */
bool change_allowed(struct store *s, struct refusal *why);
bool failed_before(const struct store *s, struct refusal *why);

/* The record that vouches for what was put; its length. */
size_t change_seal(struct store *s, uint8_t *out, size_t cap);

/* Inside a transaction: what was put, and the change that vouches for it. */
int change_write(struct store *s, struct span change);

#endif
