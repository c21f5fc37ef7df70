/* What ctrl and the dataplane say to each other over the ctl socket: a Unix stream socket, ctrl listens.
 *
 * Every message is a 16-byte head and a body, all integers big-endian:
 *
 *     version u8 = 1 | type u8 | shard u16 | len u32 (head and body) | epoch u64
 *
 * Sequence.  The dataplane connects and says HELLO (the epoch it holds, one memfd per worker as ancillary
 * data: base/audit_ring.h). ctrl answers with a transaction: BEGIN full, records, END.  Later changes are
 * BEGIN delta, records, END.  The dataplane stages the records, applies all of them or none at END, and
 * answers ACK when no worker can hold anything older, key bytes wiped and caches flushed: a revoke is true
 * when it is acked.  Or it answers REFUSE with a cause, keeps what it had, and the connection goes on.  PING
 * and PONG tell a hung peer from a silent one.  A message that does not parse ends the connection, never the
 * process.
 *
 * Epochs grow by one per committed change.  A full transaction below the held epoch is refused
 * (CTL_REFUSE_EPOCH_OLD): a ctrl started on an old store must not bring back what was revoked.  A delta must
 * start from the held epoch (CTL_REFUSE_EPOCH_GAP).
 *
 * Parsers take exactly one body, check every length and enum, and return false for anything else; their spans
 * point into it. Writers append head and body to a writer and leave the overflow flag to the caller.  Full
 * text: docs/WIRE.md. */
#ifndef BASE_CTL_WIRE_H
#define BASE_CTL_WIRE_H

#include "base/cursor.h"
#include "base/limits.h"

#define CTL_VERSION  1
#define CTL_HEAD_LEN 16

enum ctl_type {
    /* dataplane to ctrl */
    CTL_HELLO = 1,
    CTL_ACK = 2, /* no body; epoch = what every worker now serves */
    CTL_REFUSE = 3,
    CTL_PONG = 4, /* no body; epoch = what is served */
    /* ctrl to dataplane */
    CTL_PING = 16, /* no body */
    CTL_BEGIN = 17,
    CTL_KEY = 18,
    CTL_KEY_VERSION = 19,
    CTL_KEY_GONE = 20, /* deltas only: the key and all its versions leave the tables; answers become 404 */
    CTL_ISSUER = 21,   /* with its JWKS; issuers, audiences and certificate replace what was there, whole */
    CTL_JWK = 22,
    CTL_AUDIENCE = 23,
    CTL_CERTIFICATE = 24,
    CTL_END = 25,
};

enum ctl_refusal {
    CTL_REFUSE_EPOCH_OLD = 1,
    CTL_REFUSE_EPOCH_GAP = 2,
    CTL_REFUSE_COUNT = 3,       /* END's count is not what came */
    CTL_REFUSE_UNKNOWN_KEY = 4, /* a version, or a GONE, of a key that is not there */
    CTL_REFUSE_CONFLICT =
        5, /* two keys on one path, two versions with one tag or number, a primary that is not there */
    CTL_REFUSE_FULL = 6,        /* more than the tables were sized for */
    CTL_REFUSE_CERTIFICATE = 7, /* chain or private key do not parse, or do not belong together */
    CTL_REFUSE_ORDER = 8,       /* a record outside BEGIN..END, BEGIN inside */
    CTL_REFUSE_SHARD = 9,
};

struct ctl_head {
    uint8_t version;
    uint8_t type; /* enum ctl_type */
    uint16_t shard;
    uint32_t len; /* CTL_HEAD_LEN..CTL_MESSAGE_MAX */
    uint64_t epoch;
};

enum ctl_head_status {
    CTL_HEAD_OK,
    CTL_HEAD_MORE, /* fewer than CTL_HEAD_LEN bytes so far */
    CTL_HEAD_BAD,  /* version, type or length: end the connection */
};

enum ctl_head_status MUST_USE ctl_head_parse(struct span in, struct ctl_head *out);

struct ctl_hello {
    uint8_t boot_id[16]; /* random per dataplane process: audit sequence numbers are counted within it */
    uint16_t worker_count;
    uint64_t held_epoch; /* 0 = nothing yet */
};

struct ctl_begin {
    bool full;           /* false = delta */
    uint64_t base_epoch; /* delta: the epoch it starts from; full: 0 */
    uint32_t record_count;
};

struct ctl_end {
    uint32_t record_count;
};

struct ctl_refuse {
    uint8_t cause; /* enum ctl_refusal */
};

/* The lifecycle state of a key and of a version; what each answers is docs/ARCHITECTURE.md, "What happens
 * when". */
enum key_state {
    KEY_STATE_PENDING_DURABLE = 1, /* not for wrap: not yet in every sink that the config demands */
    KEY_STATE_ENABLED = 2,
    KEY_STATE_DISABLED = 3,
    KEY_STATE_DESTROY_SCHEDULED = 4,
    KEY_STATE_DESTROYED = 5,
};

/* Access reasons are a bit set: bit N = google.cloud.ekms.v0 AccessReasonContext.Reason number N (0..11), and
 * two of ours. */
#define ACCESS_REASON_LAST        11
#define ACCESS_REASON_ABSENT_BIT  (1u << 30) /* no accessReasonContext in the request */
#define ACCESS_REASON_UNKNOWN_BIT (1u << 31) /* a name or number we do not know */
#define ACCESS_REASONS_ALL        (((1u << (ACCESS_REASON_LAST + 1)) - 1) | ACCESS_REASON_ABSENT_BIT)

/* By number: "CUSTOMER_INITIATED_ACCESS" is 5. */
extern const char *const access_reason_names[ACCESS_REASON_LAST + 1];

struct ctl_key {
    uint8_t id[KEY_ID_LEN];                   /* random, immutable, bound into every blob */
    uint8_t state;                            /* enum key_state */
    uint16_t deny_status;                     /* 403, or 400 where the operator chose so */
    uint32_t primary_version;                 /* wraps use this one; 0 = none */
    uint32_t reasons_allowed;                 /* bit set, see above */
    struct span path;                         /* 1..EKM_KEY_PATH_MAX bytes, no leading slash */
    uint8_t caller_count;                     /* 0..EKM_CALLERS_PER_KEY; none = nobody */
    struct span callers[EKM_CALLERS_PER_KEY]; /* exact e-mails */
};

struct ctl_key_version {
    uint8_t key_id[KEY_ID_LEN];
    uint32_t version;                 /* 1.. */
    uint8_t state;                    /* enum key_state */
    uint8_t tag[KEY_VERSION_TAG_LEN]; /* random, unique within the key */
    struct secret_span material;      /* KEY_MATERIAL_LEN bytes; 0 bytes when DESTROYED */
};

struct ctl_key_gone {
    uint8_t key_id[KEY_ID_LEN];
};

struct ctl_issuer {
    struct span iss; /* compared as bytes with the token's iss */
    uint64_t jwks_loaded_unix_s;
    uint32_t jwks_fresh_s; /* a kid unknown to a JWKS older than this is 503, not 401 */
};

enum jwk_alg { JWK_RS256 = 1, JWK_ES256 = 2 };

struct ctl_jwk { /* belongs to the last CTL_ISSUER before it */
    uint8_t alg; /* enum jwk_alg; the algorithm is the key's, never the token's */
    struct span kid;
    struct span n_or_x; /* RS256: modulus, 2048..4096 bits; ES256: x, 32 bytes */
    struct span e_or_y; /* RS256: exponent; ES256: y, 32 bytes */
};

struct ctl_audience {
    struct span audience;
};

struct ctl_certificate {
    struct span chain_pem; /* leaf first */
    struct secret_span key_pem;
};

bool MUST_USE ctl_hello_parse(struct span body, struct ctl_hello *out);
bool MUST_USE ctl_begin_parse(struct span body, struct ctl_begin *out);
bool MUST_USE ctl_end_parse(struct span body, struct ctl_end *out);
bool MUST_USE ctl_refuse_parse(struct span body, struct ctl_refuse *out);
bool MUST_USE ctl_key_parse(struct span body, struct ctl_key *out);
bool MUST_USE ctl_key_version_parse(struct span body, struct ctl_key_version *out);
bool MUST_USE ctl_key_gone_parse(struct span body, struct ctl_key_gone *out);
bool MUST_USE ctl_issuer_parse(struct span body, struct ctl_issuer *out);
bool MUST_USE ctl_jwk_parse(struct span body, struct ctl_jwk *out);
bool MUST_USE ctl_audience_parse(struct span body, struct ctl_audience *out);
bool MUST_USE ctl_certificate_parse(struct span body, struct ctl_certificate *out);

/* Each appends one whole message, head included. */
void ctl_write_bare(struct writer *w, enum ctl_type type, uint16_t shard, uint64_t epoch);
void ctl_write_hello(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_hello *m);
void ctl_write_begin(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_begin *m);
void ctl_write_end(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_end *m);
void ctl_write_refuse(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_refuse *m);
void ctl_write_key(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_key *m);
void ctl_write_key_version(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_key_version *m);
void ctl_write_key_gone(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_key_gone *m);
void ctl_write_issuer(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_issuer *m);
void ctl_write_jwk(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_jwk *m);
void ctl_write_audience(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_audience *m);
void ctl_write_certificate(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_certificate *m);

/* "epoch_old", "conflict" ...; "unknown" for a number out of range. */
const char *ctl_refusal_name(uint8_t cause);
const char *key_state_name(uint8_t state);

#endif
