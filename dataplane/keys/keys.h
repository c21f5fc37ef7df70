/* The key tables: the only room with key bytes.  Verbs, never getters.
 *
 * Writers.  One thread, the housekeeper (dataplane/ctl.c), stages a transaction and commits it: records are
 * published by RCU, the old ones are wiped and freed once no worker can hold them. Readers.  Any number of
 * workers, each with its own struct keys_worker: wait-free lookups; a `const struct key *` stays valid until
 * that worker's next keys_quiescent().
 *
 * Revocation.  keys_commit publishes; keys_settled(epoch) becomes true once every worker has passed
 * keys_quiescent() after it, has flushed its cipher contexts, and the old material is wiped.  Only then is
 * the epoch acked.
 *
 * Memory: locked, left out of dumps, wiped (base/secret.h).  Sources: C2SP XAES-256-GCM; NIST SP 800-108r1,
 * 800-38B, 800-38D; docs/WIRE.md. */
#ifndef DATAPLANE_KEYS_H
#define DATAPLANE_KEYS_H

#include "base/counters.h"
#include "base/ctl_wire.h"
#include "base/span.h"

struct keys;        /* the tables, shared by all workers */
struct keys_worker; /* one worker's reader, cipher contexts and nonce pool */
struct key;         /* one key as a reader sees it: immutable */

struct keys_config {
    uint32_t keys_max;
    uint32_t versions_max;
    bool verify_rng_seeded_for_tests; /* test builds: nonces from `seed`, so that a run replays */
    uint8_t seed[32];
};

/* NULL when memory cannot be had or locked. */
struct keys *MUST_USE keys_new(const struct keys_config *c);
void keys_free(struct keys *k); /* no worker may be left */

/* Called on the thread that will use it: registers it with RCU. */
struct keys_worker *MUST_USE keys_worker_new(struct keys *k, struct counters *counters);
void keys_worker_free(struct keys_worker *w);
/* Once per turn, when no `struct key` is held: flushes caches older than the published epoch, then reports
 * the quiescent state. */
void keys_quiescent(struct keys_worker *w);
/* Around a sleep: a sleeping worker delays nobody.  It holds no key, and its caches are flushed before it
 * serves again. */
void keys_offline(struct keys_worker *w);
void keys_online(struct keys_worker *w);

/* ---- readers ---- */

/* The key on exactly this path (bytes, no normalisation), in any state but gone; NULL when there is none. */
const struct key *keys_find(struct keys_worker *w, struct span path);

/* What a decision needs to know of a key. */
enum key_state key_lifecycle(const struct key *k);
const uint8_t *key_id(const struct key *k); /* KEY_ID_LEN bytes */
uint16_t key_deny_status(const struct key *k);
bool key_allows_caller(const struct key *k, struct span email);
bool key_allows_reason(const struct key *k, uint32_t reason_bit);

enum keys_status {
    KEYS_OK,
    KEYS_NO_VERSION, /* wrap: no primary version that may wrap (disabled, pending) */
    KEYS_BAD_BLOB, /* unwrap: any mismatch whatever: length, format, suite, reserved bytes, tag of no version
                      of this key, commitment, GCM tag, AAD.  One answer for all. */
    KEYS_VERSION_OFF,  /* unwrap: the blob's version is of this key, but disabled: 400 FAILED_PRECONDITION */
    KEYS_VERSION_GONE, /* unwrap: the blob's version is doomed or destroyed: 404 */
    KEYS_FAULT,        /* our own: cipher failed, or verify-after-wrap did; counted; 503, nothing leaves */
};

/* Wraps plaintext (0..EKM_PLAINTEXT_MAX) under the primary version: writes the blob, plaintext.len +
 * BLOB_OVERHEAD bytes, at `blob` (its final place in the reply), then derives again from the key, opens those
 * very bytes and compares.  *version: what was used. On anything but KEYS_OK the bytes at blob are zero.
 * Cost: two AEAD passes, no allocation. */
enum keys_status MUST_USE keys_wrap(struct keys_worker *w, const struct key *k, struct secret_span plaintext,
                                    struct span aad, uint8_t *blob, uint32_t *version);

/* Unwraps blob under the version of k that its tag names; plaintext gets blob.len - BLOB_OVERHEAD bytes.  On
 * anything but KEYS_OK the bytes at plaintext are zero.  No trial decryption; the commitment is compared in
 * constant time before GCM runs. */
enum keys_status MUST_USE keys_unwrap(struct keys_worker *w, const struct key *k, struct span blob,
                                      struct span aad, uint8_t *plaintext, size_t *plaintext_len,
                                      uint32_t *version);

/* ---- the writer (housekeeper only) ---- */

uint64_t keys_epoch(const struct keys *k); /* last committed; 0 = never loaded */

/* full: the transaction holds everything, what it does not name is gone.  Staging copies; nothing is visible
 * before the commit. Each returns 0 or an enum ctl_refusal; after a refusal the transaction is dropped by
 * keys_rollback. */
int MUST_USE keys_begin(struct keys *k, bool full, uint64_t base_epoch, uint64_t epoch);
int MUST_USE keys_stage_key(struct keys *k, const struct ctl_key *m);
int MUST_USE keys_stage_version(struct keys *k, const struct ctl_key_version *m);
int MUST_USE keys_stage_gone(struct keys *k, const struct ctl_key_gone *m);
int MUST_USE keys_check(struct keys *k); /* the whole is sound: commit cannot fail after this */
void keys_commit(struct keys *k);
void keys_rollback(struct keys *k);
/* True once no worker can hold anything older than the last commit and the old material is wiped.  Never
 * blocks; call again. */
bool keys_settled(struct keys *k);

struct keys_gauges {
    uint32_t keys, versions;
    size_t memory_bytes;
};
void keys_gauges(const struct keys *k, struct keys_gauges *out);

/* ---- the warm snapshot: all that is held, sealed for a start with everything else dead (docs/WIRE.md 8) ----
 *
 * A sealed file is a head and chunks.  The head says what it is; it is believed once a chunk opened, since each chunk
 * authenticates it.  The stream in the chunks is that of a full transaction of ctl messages, BEGIN to END. */

#define WARM_KEY_LEN    32
#define WARM_HEAD_LEN   80
#define WARM_CHUNK      (64 * 1024)
#define WARM_SEALED_MAX (WARM_CHUNK + BLOB_GCM_TAG_LEN)
#define WARM_FLOOR_LEN  (WARM_HEAD_LEN + BLOB_GCM_TAG_LEN)

enum warm_kind { WARM_SNAPSHOT = 1, WARM_FLOOR = 2 };

struct warm_head {
    uint8_t kind; /* enum warm_kind */
    uint16_t shard;
    uint64_t epoch;
    uint64_t unix_s; /* snapshot: sealed at; floor: ctrl last said then that this epoch is the newest */
    uint8_t nonce[BLOB_NONCE_LEN];
    uint8_t commitment[BLOB_COMMITMENT_LEN];
};

/* in: exactly WARM_HEAD_LEN bytes.  false: another version, kind or chunk length. */
bool MUST_USE warm_head_parse(struct span in, struct warm_head *out);
void warm_head_write(const struct warm_head *h, uint8_t out[WARM_HEAD_LEN]);

enum keys_warm_status {
    KEYS_WARM_OK,
    KEYS_WARM_LAST,      /* seal: that was the last chunk */
    KEYS_WARM_STALE,     /* seal: the tables have changed since the beginning */
    KEYS_WARM_WRONG_KEY, /* open: sealed under another key */
    KEYS_WARM_BAD,       /* open: altered, or out of place */
    KEYS_WARM_FAULT,     /* the cipher library failed */
};

/* One key and one file at a time; the housekeeper's.  NULL: no memory, or none to lock. */
struct keys_warm;
struct keys_warm *MUST_USE keys_warm_new(const uint8_t key[WARM_KEY_LEN]);
void keys_warm_free(struct keys_warm *w);

/* What goes along with the keys: whole ctl messages, as they came; they stay where they are until the last chunk or
 * the next commit. */
struct warm_trust {
    struct secret_span messages[2];
    uint32_t count; /* of messages in both */
};

/* Begins a snapshot of what is published now.  out: the file's head. */
bool MUST_USE keys_warm_begin(struct keys_warm *w, const struct keys *k, uint16_t shard, uint64_t unix_s,
                              const struct warm_trust *trust, uint8_t out[WARM_HEAD_LEN]);
/* The next chunk: OK, LAST, STALE or FAULT.  Cost: one AEAD pass over 64 KiB. */
enum keys_warm_status MUST_USE keys_warm_next(struct keys_warm *w, const struct keys *k,
                                              uint8_t out[WARM_SEALED_MAX], size_t *len);

/* Begins to read a file: OK, WRONG_KEY or FAULT. */
enum keys_warm_status MUST_USE keys_warm_open(struct keys_warm *w, const struct warm_head *h);
/* Opens the next chunk: OK, BAD or FAULT.  *plain: a view until the next call. */
enum keys_warm_status MUST_USE keys_warm_take(struct keys_warm *w, struct span chunk, bool last,
                                              struct secret_span *plain);

/* The floor: a whole file without content. */
bool MUST_USE keys_warm_floor(struct keys_warm *w, uint16_t shard, uint64_t epoch, uint64_t unix_s,
                              uint8_t out[WARM_FLOOR_LEN]);
/* OK, WRONG_KEY, BAD or FAULT. */
enum keys_warm_status MUST_USE keys_warm_floor_open(struct keys_warm *w, struct span file,
                                                    struct warm_head *out);

/* Fault injection for the verify-after-wrap tests; compiled into test builds only (WW_TEST_HOOKS). */
enum keys_fault {
    KEYS_FAULT_NONE,
    KEYS_FAULT_DERIVATION, /* Kx */
    KEYS_FAULT_COMMITMENT,
    KEYS_FAULT_HEAD, /* before it is sealed as additional data */
    KEYS_FAULT_CIPHERTEXT,
    KEYS_FAULT_TAG,
    KEYS_FAULT_BLOB,  /* all of it, once sealed */
    KEYS_FAULT_OPENED /* the plaintext that comes back */
};
#ifdef WW_TEST_HOOKS
void keys_inject_fault(struct keys_worker *w, enum keys_fault fault, uint32_t bit);
#endif

#endif
