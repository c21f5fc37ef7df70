/* An ekm worker over real key tables, two issuers whose keys are made at run time, and tokens signed by them. */
#ifndef TESTS_UNIT_EKM_RIG_H
#define TESTS_UNIT_EKM_RIG_H

#include "dataplane/ekm/ekm.h"

#define NOW_S    1800000000LL
#define HOST     "ekm.wirewrap.test"
#define ISSUER   "https://accounts.google.com"
#define ISSUER_2 "https://issuer.two"
#define AUDIENCE "https://ekm.wirewrap.test"
#define CALLER   "service-1@gcp-sa-ekms.iam.gserviceaccount.com"

/* Keys of the tables: who may use them is in their names; all but `theirs` are CALLER's. */
#define KEY                 "v0/demo/key"
#define KEY_2               "v0/demo/key2"
#define THEIRS              "v0/theirs" /* only someone@else.test; 403 */
#define MILD                "v0/mild"   /* only someone@else.test; 400 */
#define DISABLED            "v0/disabled"
#define PENDING             "v0/pending"
#define DOOMED              "v0/doomed"
#define DESTROYED           "v0/destroyed"
#define NO_PRIMARY          "v0/no-primary"
#define ONE_REASON          "v0/one-reason"  /* CUSTOMER_INITIATED_ACCESS only */
#define MILD_REASON         "v0/mild-reason" /* the same, 400 */
#define DISABLED_ONE_REASON "v0/disabled-one-reason"
#define NO_ABSENT           "v0/no-absent"  /* every reason, but one must be given */
#define UNKNOWN_OK          "v0/unknown-ok" /* unknown reasons are allowed too */

enum signer {
    SIGN_RSA,
    SIGN_EC,
    SIGN_TWO,
    SIGN_OTHER_RSA,
    SIGN_OTHER_EC,
    SIGN_HMAC_OF_RSA_PEM,
    SIGN_NOTHING,
    SIGN_EC_DER
};

/* Values are JSON as it is to stand in the token; NULL = the member is not there. */
struct token {
    const char *alg, *kid, *typ, *header_extra;
    const char *iss, *aud, *email, *verified, *iat, *nbf, *exp, *claims_extra;
    const char *header_raw, *claims_raw; /* instead of all that */
    enum signer signer;
};

struct token token_good(void); /* RS256, of ISSUER, for AUDIENCE, by CALLER, good for an hour */
const char *token_text(const struct token *t);
const char *good(void); /* token_text of token_good, made once */
const char *good_of(const char *email);

/* setup and teardown of every case: tables loaded and settled at epoch 1 */
int rig_setup(void **state);
int rig_teardown(void **state);
int rig_setup_unloaded(void **state); /* nothing was committed yet */

struct auth_change {
    bool without_issuer, without_rsa_key, without_audience;
    uint64_t jwks_loaded_s; /* 0 = fresh */
    bool not_settled;
    bool delta;
};
void rig_commit_auth(const struct auth_change *c); /* the next epoch */
void rig_commit_staged(void);                      /* what the test staged itself, as a delta of no keys */
struct ekm_auth *rig_auth(void);
int rig_stage_ec_jwk(const char *kid, bool of_two); /* ISSUER_2's own key, or one that it never signs with */
size_t rig_verdicts_kept(void);
void rig_commit_keys(bool key_disabled, bool caller_removed);
void rig_version_state(uint8_t state, uint32_t primary); /* of KEY's version 1, next epoch */
void rig_quiescent(void);
#ifdef WW_TEST_HOOKS
void rig_fault(enum keys_fault f);
#endif
void rig_clock(int64_t now_s);

/* A whole request as text, through the HTTP parser; returns the status. */
struct call {
    const char *method, *target, *token, *authorization, *type;
    const void *body;
    size_t body_len;
    const char *version;    /* "1.1" */
    const char *extra_head; /* "X: y\r\n" */
};
unsigned call(const struct call *c);
unsigned post(const char *target, const char *token, const char *json);
unsigned wrap(const char *key, const char *token, const char *plaintext_b64);

unsigned refuse(uint16_t status, enum reason why); /* ekm_refuse */

/* Of the last reply. */
extern char reply_head[2048];
extern struct span reply_body;
extern bool reply_close;
extern struct audit_record audited;
extern uint64_t allocations; /* that our objects made during the last call */

uint64_t counted(enum reason r);
bool reply_has(const char *text);
/* The value of the one member of a 200's body, decoded. */
struct span reply_bytes(const char *name, uint8_t *out);
void expect_status_body(int code);
/* {"wrappedBlob":"..."} of the last wrap, as an unwrap's body with more members. */
const char *unwrap_body(const char *more);
const char *b64(const void *data, size_t len); /* malloc'ed, freed at teardown */

#endif
