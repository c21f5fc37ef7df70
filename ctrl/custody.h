/* The keys in custody: store, registry and lifecycle put together into the verbs an operator has.
 *
 * A verb returns true once its change is committed and synced to disk (or was true already), and false when nothing
 * was changed.  Each committed change is one epoch; a new version takes two: it is stored as PENDING_DURABLE, and
 * switched to ENABLED once every sink has it (here: once the first commit returned).  A version found pending at
 * start is in the store, so it is switched then.  Every change is told to the listener, which pushes it on. */
#ifndef CTRL_CUSTODY_H
#define CTRL_CUSTODY_H

#include "ctrl/lifecycle.h"
#include "ctrl/registry.h"

#define CTRL_SHARD 0

struct custody;

struct custody_listener {
    void *ctx;
    /* r is borrowed; NULL: the trust material (issuers, audiences, certificate) is what changed. */
    void (*changed)(void *ctx, const struct key_record *r);
};

/* srk: SEAL_SRK_LEN bytes, not needed after the call.  Takes over s, and closes it when it returns NULL. */
struct custody *MUST_USE custody_open(struct store *s, struct mbed_rng *rng, const uint8_t *srk,
                                      struct refusal *why);
void custody_close(struct custody *c);
void custody_listen(struct custody *c, struct custody_listener l);

const struct registry *custody_registry(const struct custody *c);
uint64_t custody_epoch(const struct custody *c);

/* 1..EKM_KEY_PATH_MAX bytes: segments of A-Z a-z 0-9 . _ ~ - between single slashes, none of them "." or "..". */
bool MUST_USE custody_path_ok(const char *path, struct refusal *why);

bool MUST_USE custody_create(struct custody *c, const char *path, struct refusal *why);
bool MUST_USE custody_rotate(struct custody *c, const char *path, struct refusal *why);
/* enable: else disable.  version 0 = the key as a whole.  *already: it was so; nothing was written. */
bool MUST_USE custody_switch(struct custody *c, const char *path, uint32_t version, bool enable,
                             bool *already, struct refusal *why);
bool MUST_USE custody_set_policy(struct custody *c, const char *path, const struct policy *p,
                                 struct refusal *why);

/* The trust material in effect has this digest: an epoch when it is another than before, or when force. */
bool MUST_USE custody_note_trust(struct custody *c, const uint8_t digest[MBED_DIGEST_LEN], bool force,
                                 struct refusal *why);

/* The clear material of a version, KEY_MATERIAL_LEN bytes into locked pages of the caller's. */
void custody_material(const struct custody *c, const struct key_record *r, const struct key_version *v,
                      uint8_t *material);

/* Between events: what may take a moment (store checkpoint). */
void custody_idle(struct custody *c);

#endif
