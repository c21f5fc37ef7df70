/* Inside the key room: what the records look like.  Nobody outside includes this. */
#ifndef DATAPLANE_KEYS_PRIV_H
#define DATAPLANE_KEYS_PRIV_H

#include "base/arena.h"
#include "base/limits.h"
#include "base/siphash.h"
#include "dataplane/keys/keys.h"
#include "drivers/crypto/aead.h"
#include "drivers/crypto/rng.h"

#include <pthread.h>
#include <stdatomic.h>

/* One version, one cache line of a secret slab.  What a reader reads never changes after the publication;
 * `refs` and `txn` are the writer's own. */
struct version {
    uint64_t tag; /* the 8 bytes as they stand in the blob */
    uint64_t txn; /* transaction that made it */
    uint32_t number;
    uint32_t refs; /* key records that point here: a key is replaced whole, its other versions move along */
    uint8_t state; /* enum key_state */
    uint8_t material[KEY_MATERIAL_LEN];
};
_Static_assert(sizeof(struct version) == 64, "one version is one cache line");

struct tag_slot {
    uint64_t tag;
    const struct version *version; /* NULL: empty */
};

/* One key as published: replaced whole, never changed. */
struct key {
    uint64_t path_hash;
    const struct version *wraps; /* the primary where key and version are ENABLED, else NULL */
    struct tag_slot *tags;       /* open addressing; tags are random already */
    uint32_t tag_mask;
    uint32_t reasons_allowed;
    uint32_t primary_version;
    uint16_t deny_status;
    uint16_t path_len;
    uint8_t state;
    uint8_t caller_count;
    uint8_t id[KEY_ID_LEN];
    /* the writer's own */
    bool described; /* this transaction brought its CTL_KEY */
    uint64_t txn;   /* transaction that made this record */
    struct version **versions;
    uint32_t version_count;
    uint32_t version_cap;
    size_t text_len;
    uint8_t text[]; /* the path, then each caller as length byte and bytes */
};

struct path_slot {
    uint64_t hash;
    const struct key *key; /* NULL: empty */
};

/* All keys of one epoch.  Readers use by_path alone. */
struct table {
    struct path_slot *by_path;
    uint64_t path_mask;
    struct key **keys; /* dense; NULL where a key went in the transaction that built this */
    uint32_t count;
    uint32_t keys_live;
    uint32_t versions_live;
    uint32_t *by_id; /* place in keys + 1; 0 empty */
    uint64_t id_mask;
};

/* What a commit took out of sight, until no worker can hold it. */
struct grave {
    struct grave *next;
    struct table *table;
    struct key **keys; /* records replaced or gone; with `whole`, every key of the table */
    uint32_t count;
    uint32_t cap;
    bool whole;
};

struct keys {
    struct keys_config config;
    struct siphash_key hash_key;
    struct table *_Atomic table;
    _Atomic uint64_t generation; /* one more per commit; workers flush when it moves */
    uint64_t epoch;

    struct arena *arena; /* secret */
    struct slab versions;
    size_t heap_bytes; /* records and tables */

    uint64_t txn; /* number of the open or last transaction */
    bool txn_open, txn_full;
    bool txn_closed;  /* keys_check was asked: nothing more is staged */
    bool txn_checked; /* and it said yes */
    uint64_t txn_epoch;
    struct table *next;
    struct grave *next_grave;
    struct grave *graves;

    pthread_mutex_t workers_lock; /* list only: taken at a worker's start and end, and by the writer */
    struct keys_worker *workers[WORKERS_MAX];
    uint32_t workers_ever;
};

#define CACHE_SETS 512
#define CACHE_WAYS 4

struct cache_entry {
    const struct version *version; /* NULL: empty */
    struct aead_key *key;
    uint64_t generation;
};

struct keys_worker {
    struct keys *keys;
    struct counters *counters;
    struct aead_worker *aead;
    struct rng *rng;
    uint8_t *scratch; /* EKM_PLAINTEXT_MAX secret bytes: verify-after-wrap opens into it */
    struct cache_entry *cache;
    uint32_t cache_victim;
    uint32_t cache_count;
    bool registered;
    _Atomic bool online;
    _Atomic uint64_t flushed; /* generation that its caches belong to */
#ifdef WW_TEST_HOOKS
    enum keys_fault fault;
    uint32_t fault_bit;
#endif
};

/* ---- tables.c: readers' lookups, and the building of a table ---- */

struct table *MUST_USE table_new(struct keys *k);
void table_free(struct keys *k, struct table *t); /* not the keys in it */
struct key *table_find_id(const struct keys *k, const struct table *t, const uint8_t id[KEY_ID_LEN]);
/* Places in a table: a transaction may take as many keys out as it puts in. */
size_t table_room(const struct keys *k);
/* t has room: that was asked first. */
void table_add(struct keys *k, struct table *t, struct key *key);
void table_replace(const struct keys *k, struct table *t, const uint8_t id[KEY_ID_LEN], struct key *by);
/* 0 or an enum ctl_refusal: CONFLICT for two keys on one path, FULL out of memory. */
int MUST_USE table_index_paths(struct keys *k, struct table *t);

/* ---- record.c: key and version records ---- */

struct key *MUST_USE key_new(struct keys *k, const struct ctl_key *m);
/* A copy with the same versions, to change: they are held twice until one of the two is released. */
struct key *MUST_USE key_clone(struct keys *k, const struct key *from);
void key_release(struct keys *k, struct key *key);
void key_take_versions(struct key *key, struct key *from);
int MUST_USE key_put_version(struct keys *k, struct key *key, const struct ctl_key_version *m);
/* Builds what readers use.  0 or CONFLICT or FULL. */
int MUST_USE key_finish(struct keys *k, struct key *key);
struct span key_path(const struct key *key);
const struct version *key_version_by_tag(const struct key *key, uint64_t tag);

/* ---- cache.c: a worker's keyed cipher contexts ---- */

/* NULL when OpenSSL has no memory. */
struct aead_key *MUST_USE cache_get(struct keys_worker *w, const struct version *v);
/* Brings the place of v's context into the processor's cache. */
void cache_fetch(const struct keys_worker *w, const struct version *v);
void cache_flush(struct keys_worker *w);

/* Heap memory of the writer's, counted. */
void *MUST_USE keys_heap_take(struct keys *k, size_t len);
void keys_heap_give(struct keys *k, void *ptr, size_t len);

#endif
