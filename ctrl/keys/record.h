/* One key as ctrl knows it, and its form in the store's rows.
 *
 * A record is immutable once it is in the registry: a change is a copy with something different, put in its place.
 * Whoever needs it longer than the current call takes a reference (a snapshot under way to the dataplane does).
 * Key material is here only wrapped under the key-encryption key (KEK): AES-256-GCM, AAD = shard, key id, version,
 * algorithm, tag (docs/WIRE.md, "Store"); a change of state needs no new wrap.  It is 32 bytes of AES key, or, for the
 * algorithms that sign, a private key in PKCS#8. */
#ifndef CTRL_KEYS_RECORD_H
#define CTRL_KEYS_RECORD_H

#include "base/ctl_wire.h"
#include "ctrl/keys/lifecycle.h"
#include "ctrl/keys/private_key.h"
#include "ctrl/store/store.h"

#define WRAPPED_MATERIAL_LEN (MBED_NONCE_LEN + KEY_MATERIAL_LEN + MBED_TAG_LEN)

#define RECORD_MATERIAL_MAX PRIVATE_KEY_MAX

/* A private key under the KEK: nonce, ciphertext, tag.  Immutable and shared among the copies of a record. */
struct wrapped_key {
    uint32_t refs, len;
    uint8_t bytes[];
};

struct policy {
    uint16_t deny_status; /* 403 or 400 */
    uint32_t reasons;     /* bit set, base/ctl_wire.h */
    uint8_t caller_count;
    char *callers[EKM_CALLERS_PER_KEY]; /* owned */
};

struct key_version {
    uint32_t number;
    struct lifecycle_unit life;
    uint8_t tag[KEY_VERSION_TAG_LEN];
    int64_t created_unix_s;
    uint64_t epoch;                        /* last change */
    uint8_t wrapped[WRAPPED_MATERIAL_LEN]; /* of a symmetric key; zeros when DESTROYED */
    struct wrapped_key *private_key;       /* of any other; NULL when DESTROYED */
};

struct key_record {
    uint32_t refs;
    uint8_t id[KEY_ID_LEN];
    char *path;
    uint8_t algorithm; /* ctrl/keys/algorithm.h */
    struct lifecycle_unit life;
    uint32_t primary;
    uint32_t window_s;        /* as in struct lifecycle */
    uint32_t rotate_period_s; /* 0 = by hand only */
    int64_t created_unix_s;
    uint64_t epoch; /* last change of key or policy */
    struct policy policy;
    uint32_t version_count; /* versions[i].number == i + 1 */
    struct key_version *versions;
};

/* The dataplane serves symmetric keys; of the others it knows the path and the callers, and no version. */
bool record_is_served(const struct key_record *r);

/* A new symmetric record with one reference, nobody's caller, every reason allowed. */
struct key_record *MUST_USE record_new(const uint8_t id[KEY_ID_LEN], const char *path);
/* A deep copy with one reference and room for one more version. */
struct key_record *MUST_USE record_copy(const struct key_record *r);
const struct key_record *record_ref(const struct key_record *r);
void record_unref(const struct key_record *r);

void policy_default(struct policy *p);
void policy_copy(struct policy *to, const struct policy *from);
void policy_free(struct policy *p);

/* Row bodies. out: STORE_BODY_MAX bytes; the written length is returned. */
size_t record_key_encode(const struct key_record *r, uint8_t *out);
size_t record_version_encode(const struct key_record *r, const struct key_version *v, uint8_t *out);
size_t record_policy_encode(const struct policy *p, uint8_t *out);

/* false: not in this form.  key_decode makes a new record; the others change one that is not yet shared. */
struct key_record *MUST_USE record_key_decode(const struct store_row *row);
bool MUST_USE record_version_decode(const struct store_row *row, struct key_record *r);
bool MUST_USE record_policy_decode(const struct store_row *row, struct key_record *r);

/* Wraps and unwraps key material under the KEK; v is r's, or is going to be.  material: in locked pages; of a symmetric key
 * KEY_MATERIAL_LEN bytes.  out: KEY_MATERIAL_LEN bytes of room, for any other RECORD_MATERIAL_MAX; returns the length, 0: it does
 * not open. */
void record_material_wrap(struct mbed_aead *kek, struct mbed_rng *rng, uint16_t shard,
                          const struct key_record *r, struct key_version *v, struct span material);
size_t MUST_USE record_material_unwrap(struct mbed_aead *kek, uint16_t shard, const struct key_record *r,
                                       const struct key_version *v, uint8_t *out);
/* Of a version that is destroyed. */
void record_material_drop(struct key_version *v);

#endif
