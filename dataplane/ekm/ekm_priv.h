/* What the files of this room share. */
#ifndef DATAPLANE_EKM_PRIV_H
#define DATAPLANE_EKM_PRIV_H

#include "dataplane/ekm/ekm.h"
#include "dataplane/ekm/verdict_cache.h"
#include "drivers/crypto/signature.h"
#include "proto/jwt.h"
#include "proto/protojson.h"

#include <stdatomic.h>

/* An e-mail may be on many keys, its tokens are few: a project's service agent holds one per hour or so. */
#define VERDICT_SETS 128

/* ---- answers: the status table of docs/ARCHITECTURE.md, "What happens when" ---- */

enum ekm_answer {
    ANSWER_OK,
    ANSWER_UNAUTHENTICATED,
    ANSWER_UNAVAILABLE,
    ANSWER_NOT_FOUND,
    ANSWER_NOT_POST,
    ANSWER_UNIMPLEMENTED,
    ANSWER_DENIED,
    ANSWER_DENIED_MILDLY, /* 400: the operator chose not to have Cloud KMS disable its key version */
    ANSWER_DISABLED,
    ANSWER_INVALID,
    ANSWER_BAD_BLOB,
    ANSWER_COUNT
};

/* What was decided: the answer, its counted cause, and the field it is about (NULL = none). */
struct ekm_decision {
    enum ekm_answer answer;
    enum reason why;
    struct field_violation bad;
};

static inline struct ekm_decision decide(enum ekm_answer answer, enum reason why)
{
    return (struct ekm_decision){answer, why, {NULL, NULL}};
}

/* ---- issuers, their keys, audiences: immutable once published ---- */

#define AUTH_TEXT_MAX 512
_Static_assert(AUTH_TEXT_MAX >= JWT_ISSUER_MAX && AUTH_TEXT_MAX >= JWT_AUDIENCE_MAX &&
                   AUTH_TEXT_MAX >= JWT_KID_MAX,
               "every text that ctrl may send fits");

struct auth_text {
    size_t len;
    uint8_t bytes[AUTH_TEXT_MAX];
};

struct auth_key {
    struct auth_text kid;
    uint8_t alg; /* enum jwk_alg: the key's, never the token's */
    struct signature_key *key;
};

struct auth_issuer {
    struct auth_text iss;
    uint64_t jwks_loaded_unix_s;
    uint32_t jwks_fresh_s;
    size_t key_count;
    struct auth_key keys[JWKS_KEYS_MAX];
};

struct auth_issuers {
    uint32_t holders; /* sets that point here; housekeeper only */
    size_t count;
    struct auth_issuer list[ISSUERS_MAX];
};

struct auth_audiences {
    uint32_t holders;
    size_t count;
    struct auth_text list[AUDIENCES_MAX];
};

struct auth_set {
    struct auth_issuers *issuers;     /* NULL = none */
    struct auth_audiences *audiences; /* NULL = none */
    struct auth_set *retired_next;    /* housekeeper only */
};

struct ekm_auth {
    _Atomic(struct auth_set *) current; /* NULL before the first commit */
    _Atomic uint64_t epoch;             /* stored after current, loaded before it */
    _Atomic bool loaded;
    /* housekeeper only */
    struct auth_set *staged;
    bool staged_full;
    struct auth_set *retired;
};

struct ekm_worker {
    struct ekm_auth *auth;
    struct keys_worker *keys;
    struct counters *counters;
    struct verdict_cache *verdicts;
    uint64_t verdicts_epoch; /* what the cache holds is of this epoch */
    uint8_t *jwt_scratch;    /* JWT_TOKEN_MAX bytes of secret pages */
    uint64_t date_unix_s;
    uint8_t date[HTTP_DATE_LEN];
};

/* Who asks.  On ANSWER_OK *caller is a proven e-mail, valid until the next request of this worker.  On
 * anything else it is what the token claims, or empty. */
struct ekm_decision ekm_auth_check(struct ekm_worker *w, struct secret_span authorization,
                                   uint64_t now_unix_us, struct span *caller);

/* May they, for this reason. */
struct ekm_decision ekm_policy_caller(const struct key *k, struct span caller);
struct ekm_decision ekm_policy_reason(const struct key *k, uint32_t reason_bit);
struct ekm_decision ekm_policy_state(const struct key *k);

/* ---- one request on its way through the room ---- */

struct ekm_call {
    struct ekm_worker *w;
    struct ekm_request *rq;
    struct ekm_reply *reply;
    struct audit_record *audit;
    struct span path; /* the key's, without leading slash and verb */
    enum audit_op op;
    const struct key *key;
};

/* The operations: parse the body, ask policy about its reason, do it, build the reply. */
struct ekm_decision ekm_wrap(struct ekm_call *c);
struct ekm_decision ekm_unwrap(struct ekm_call *c);

/* What both do with a parsed body: its key path must be the URL's, its context goes to the audit record, its
 * reason must be allowed. */
struct ekm_decision ekm_call_check_context(struct ekm_call *c, const struct request_context *context,
                                           struct span key_path, struct span key_uri_prefix);
/* What keys_wrap or keys_unwrap said. */
struct ekm_decision ekm_call_keys_status(enum keys_status s, enum reason done);

/* A 200 with {"<name>":"<base64 of raw_len bytes>"}; opening: up to the base64.  Writes the head and all of the body but the base64;
 * returns where the raw bytes go: at the tail of their own base64, which ekm_reply_bytes_encode then spreads over
 * its whole place. */
uint8_t *ekm_reply_bytes_begin(struct ekm_call *c, struct span opening, size_t raw_len);
void ekm_reply_bytes_encode(struct ekm_call *c, uint8_t *raw, size_t raw_len);

/* errors.c */
void ekm_reply_error(struct ekm_call *c, struct ekm_decision d);
struct http_reply_head ekm_reply_head(struct ekm_worker *w, uint16_t status, uint64_t now_unix_us);

#endif
