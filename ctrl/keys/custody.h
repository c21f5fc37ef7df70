/* The keys in custody: store, registry and lifecycle put together into the verbs an operator has.
 *
 * A verb returns true once its change is committed and synced to disk (or was true already), and false when nothing
 * was changed.  Each committed change is one epoch; a new version takes two: it is stored as PENDING_DURABLE, and
 * switched to ENABLED once the gate says that every sink has it.  Until then create, import, rotate and enable return
 * true with the version pending (custody_waits); custody_durable goes on with it.  When the second change is refused (code
 * "pending") the version stays pending, too: the same verb again, enable, a tick or a start finish it, and none adds
 * another.  Every change is told to the listener, which pushes it on. */
#ifndef CTRL_KEYS_CUSTODY_H
#define CTRL_KEYS_CUSTODY_H

#include "ctrl/lib/clock.h"
#include "ctrl/keys/import.h"
#include "ctrl/keys/registry.h"
#include "ctrl/store/slots.h"

#define CTRL_SHARD 0

#define CUSTODY_LOOK_S       60   /* between looks at what is due */
#define CUSTODY_NOTE_S       3600 /* between notes of the time watched */
#define CUSTODY_CHANGES_MAX  64   /* epochs per tick that carry out what is due */
#define CUSTODY_PERIOD_MIN_S 86400u
#define CUSTODY_PERIOD_MAX_S (3650 * 86400u)

struct custody;

/* Says when a new version may serve. */
struct custody_gate {
    void *ctx;
    /* Every sink that the configuration demands has all up to that epoch.  NULL: none is demanded. */
    bool (*durable)(void *ctx, uint64_t epoch);
};

struct custody_listener {
    void *ctx;
    /* r is borrowed; NULL: the trust material (issuers, audiences, certificate) is what changed. */
    void (*changed)(void *ctx, const struct key_record *r);
    /* Records as they were before that epoch are still read by somebody.  NULL: nobody can tell. */
    bool (*reads_before)(void *ctx, uint64_t epoch);
};

/* srk: SEAL_SRK_LEN bytes, not needed after the call.  Takes over s, and closes it when it returns NULL. */
struct custody *MUST_USE custody_open(struct store *s, struct mbed_rng *rng, const uint8_t *srk,
                                      struct refusal *why);
/* The same with a gate, which is asked from now on. */
struct custody *MUST_USE custody_open_gated(struct store *s, struct mbed_rng *rng, const uint8_t *srk,
                                            struct custody_gate gate, struct refusal *why);
void custody_close(struct custody *c);
/* What the root key gives besides: shows that somebody else holds it, too (ctrl/rescue.h).  Changes with the root. */
#define CUSTODY_PROOF_LABEL "offline drill"
const uint8_t *custody_proof_key(const struct custody *c);
/* For backups: read only. */
struct store *custody_store(struct custody *c);

/* r has a version that waits for the gate. */
bool custody_waits(const struct custody *c, const struct key_record *r);
/* Something became durable: what waited for it serves. */
void custody_durable(struct custody *c);
void custody_listen(struct custody *c, struct custody_listener l);

const struct registry *custody_registry(const struct custody *c);
uint64_t custody_epoch(const struct custody *c);

/* 1..EKM_KEY_PATH_MAX bytes: segments of A-Z a-z 0-9 . _ ~ - between single slashes, none of them "." or "..". */
bool MUST_USE custody_path_ok(const char *path, struct refusal *why);

bool MUST_USE custody_create(struct custody *c, const char *path, struct refusal *why);
/* The key that others wrap material under: the one there is, or a new one (*made; takes seconds) where there is none or
 * its time is over. */
bool MUST_USE custody_import_key(struct custody *c, bool *made, struct refusal *why);
const struct import_key *custody_import_key_of(const struct custody *c);
/* As create, with the material in blob (ctrl/keys/import.h): 32 bytes, or a private key as a says. */
bool MUST_USE custody_import(struct custody *c, const char *path, const struct algorithm *a, struct span blob,
                             struct refusal *why);
bool MUST_USE custody_rotate(struct custody *c, const char *path, struct refusal *why);
/* The next version of a key that is no symmetric one: those come from elsewhere alone. */
bool MUST_USE custody_rotate_import(struct custody *c, const char *path, struct span blob,
                                    struct refusal *why);
/* enable: else disable.  version 0 = the key as a whole.  *already: it was so; nothing was written. */
bool MUST_USE custody_switch(struct custody *c, const char *path, uint32_t version, bool enable,
                             bool *already, struct refusal *why);
/* Dooms a key, or one version, to be destroyed after_s from now (0: as long as before, at least the default); or
 * moves its date further away.  Until then it can be restored, to DISABLED. */
bool MUST_USE custody_destroy(struct custody *c, const char *path, uint32_t version, uint32_t after_s,
                              bool *already, struct refusal *why);
bool MUST_USE custody_restore(struct custody *c, const char *path, uint32_t version, bool *already,
                              struct refusal *why);
/* A new version whenever the newest is period_s old; 0 = by hand only. */
bool MUST_USE custody_set_period(struct custody *c, const char *path, uint32_t period_s, bool *already,
                                 struct refusal *why);
bool MUST_USE custody_set_policy(struct custody *c, const char *path, const struct policy *p,
                                 struct refusal *why);

/* The trust material in effect has this digest: an epoch when it is another than before, or when force. */
bool MUST_USE custody_note_trust(struct custody *c, const uint8_t digest[MBED_DIGEST_LEN], bool force,
                                 struct refusal *why);

/* The store goes to that level of formats (store.h), for good; a version before ours reads it no more. */
bool MUST_USE custody_set_level(struct custody *c, uint8_t level, bool *already, struct refusal *why);

/* ---- the root's slots ---- */

/* What the store vouches for. */
const struct slots *custody_slots(const struct custody *c);
/* Vouches for s, whatever was vouched for before: of a store from before there were rows of slots, or restored. */
bool MUST_USE custody_slots_adopt(struct custody *c, const struct slots *s, struct refusal *why);
/* to->len 0 takes the slot out. */
bool MUST_USE custody_slot_put(struct custody *c, uint8_t number, const struct slot *to, struct refusal *why);
/* A new root key: everything is sealed anew under it, and the slots become s, which hold it.  Refused: everything is as it
 * was (but see store_commit, store_io).  What the root before gave is wiped once no record under it is read any more (a
 * tick finds out); until then another one is refused (root_in_use). */
bool custody_has_former(const struct custody *c);
bool MUST_USE custody_reroot(struct custody *c, const uint8_t *srk, const struct slots *s,
                             struct refusal *why);

/* The clear material of a version of a symmetric key, KEY_MATERIAL_LEN bytes into locked pages of the caller's. */
void custody_material(const struct custody *c, const struct key_record *r, const struct key_version *v,
                      uint8_t *material);
/* Of any other key: PKCS#8, up to PRIVATE_KEY_MAX bytes; returns the length. */
size_t custody_private_key(const struct custody *c, const struct key_record *r, const struct key_version *v,
                           uint8_t *out);
void custody_public_pem(const struct custody *c, const struct key_record *r, const struct key_version *v,
                        char out[PRIVATE_KEY_PEM_MAX]);

/* While on, a verb checks everything and changes nothing: it returns what it would, and custody_would is the record
 * as it would be, borrowed until the next verb or until off. */
void custody_dry_run(struct custody *c, bool on);
const struct key_record *custody_would(const struct custody *c);

/* Whether ENABLED may be doomed without being disabled first; it may not unless this says so. */
void custody_destroy_enabled(struct custody *c, bool may);
/* While on, a destruction may come sooner than was set before: those who may approve it have. */
void custody_approved(struct custody *c, bool approved);

/* Between events: watches the clock, destroys and rotates what is due, lets the store checkpoint. */
void custody_tick(struct custody *c);

/* Time now.  Tests hand in a clock of their own before the first tick or verb. */
void custody_set_clock(struct custody *c, struct clock_reading (*read)(void *ctx), void *ctx);
struct lifecycle_time custody_time(struct custody *c);

struct custody_clock_status {
    uint64_t watched_s;
    int64_t jump_s, jumped_unix_s; /* the last one, and when it was seen; 0 = none since start */
};
void custody_clock_status(const struct custody *c, struct custody_clock_status *out);

/* The date of the next rotation by period; 0 = there is none. */
int64_t custody_rotates_unix_s(const struct key_record *r);

#endif
