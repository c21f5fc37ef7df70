/* Changes that wait for the signatures of k approvers.
 *
 * What is signed is a text in plain words that ends in the exact request as JSON (docs/WIRE.md 9): ECDSA P-256 over its
 * SHA-256.  It names store, epoch, key, asker and expiry.  It is carried out when the last signature comes, once, and
 * only if what it is about has not been changed since.  STATE_DIR/approvals/ID.json: statement and signatures, believed
 * only as far as the signatures verify under the keys that the configuration names then. */
#ifndef CTRL_OPERATORS_APPROVAL_H
#define CTRL_OPERATORS_APPROVAL_H

#include "ctrl/operators/roles.h"
#include "drivers/crypto/mbedtls/mbed.h"

#include <jansson.h>

#define APPROVALS_MAX          64
#define APPROVAL_ID_LEN        16
#define APPROVAL_SIGNATURE_MAX 80 /* DER of two 256-bit integers: 72 at most */
#define APPROVAL_SIGNERS_MAX   8

struct approval_signature {
    char by[64];
    uint8_t bytes[APPROVAL_SIGNATURE_MAX];
    size_t len;
};

struct approval {
    char id[2 * APPROVAL_ID_LEN + 1];
    char *statement;
    json_t *change;                  /* the request, out of the statement */
    uint64_t epoch;                  /* of the store, when it was asked for */
    char key_id[2 * KEY_ID_LEN + 1]; /* of the key that it is about; empty = none */
    char asked_by[64];
    int64_t expires_unix_s;
    uint32_t signature_count;
    struct approval_signature signatures[APPROVAL_SIGNERS_MAX];
};

struct approvals;

/* Reads what waits; what does not parse is left where it is and logged. */
struct approvals *MUST_USE approvals_open(const char *state_dir, struct mbed_rng *rng, struct refusal *why);
void approvals_close(struct approvals *a);

struct approval_ask {
    const uint8_t *store_id; /* 16 bytes */
    uint16_t shard;
    uint64_t epoch;
    const uint8_t *key_id; /* KEY_ID_LEN bytes, or NULL */
    const char *means;     /* one or more lines of plain words */
    const json_t *change;
    const struct actor *who;
    int64_t now_unix_s;
    uint32_t expiry_s;
};

/* Stored and synced when it returns.  One that asks for the same and has not expired is returned as it is. */
const struct approval *MUST_USE approvals_ask(struct approvals *a, const struct approval_ask *q,
                                              struct refusal *why);
size_t approvals_count(const struct approvals *a);
const struct approval *approvals_at(const struct approvals *a, size_t i);
const struct approval *MUST_USE approvals_find(const struct approvals *a, const char *id,
                                               struct refusal *why);

/* Takes one more signature: by a person of the configuration with the role approver, not the one who asked, not one who
 * signed already.  *by: who it was. */
bool MUST_USE approvals_sign(struct approvals *a, const char *id, struct span signature,
                             const struct config *c, int64_t now_unix_s, const char **by,
                             struct refusal *why);
/* How many of its signatures verify now, under the keys that c names. */
uint32_t approvals_good(const struct approval *p, const struct config *c);

/* It was carried out, or taken back: into approvals/done, never to be carried out again. */
void approvals_finish(struct approvals *a, const char *id);
/* What has expired goes the same way. */
void approvals_expire(struct approvals *a, int64_t now_unix_s);

/* Of the statement text, the parts that are read back; false: not in this form.  Fuzzed. */
bool MUST_USE approval_parse(const char *statement, struct approval *out);
void approval_free_parts(struct approval *p);

#endif
