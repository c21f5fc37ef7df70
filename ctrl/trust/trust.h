/* Whom the dataplane believes and as whom it speaks: issuers with their JWK sets, audiences, server certificate.
 *
 * Read from the files that the configuration names, at start and on reload.  A file that is bad changes nothing:
 * the last good set, or certificate, stays in effect and the failure is logged and shown by `wwctl status`.  An
 * issuer whose set was never read is passed on without keys and as never loaded, so that its tokens are answered
 * 503, not 401.  A struct trust is immutable; whoever needs it longer than the call takes a reference. */
#ifndef CTRL_TRUST_TRUST_H
#define CTRL_TRUST_TRUST_H

#include "ctrl/trust/certificate.h"
#include "ctrl/trust/jwks.h"
#include "proto/config.h"

struct trust_issuer {
    char iss[CONFIG_TEXT_CAP];
    uint64_t loaded_unix_s; /* 0 = never */
    uint32_t fresh_s;
    struct jwks jwks;
    char problem[256]; /* of the last read; empty = good */
};

struct trust {
    uint32_t refs;
    uint16_t issuer_count, audience_count;
    struct trust_issuer issuers[ISSUERS_MAX];
    char audiences[AUDIENCES_MAX][CONFIG_TEXT_CAP];
    size_t chain_len; /* 0 = there was never a good certificate */
    uint8_t chain_pem[CERTIFICATE_CHAIN_MAX];
    size_t key_len;
    uint8_t *key_pem; /* locked pages, CERTIFICATE_KEY_MAX */
    struct certificate_facts certificate;
    char certificate_problem[512];   /* of the last read; empty = good */
    uint8_t digest[MBED_DIGEST_LEN]; /* of all that is pushed, times of loading left out */
};

/* before: what is in effect, or NULL.  Never NULL: what could not be read is taken from before. */
const struct trust *MUST_USE trust_load(const struct config *c, const struct trust *before,
                                        int64_t now_unix_s);
const struct trust *trust_ref(const struct trust *t);
void trust_unref(const struct trust *t);

/* How many ctl records it is, and the i-th of them appended to w. */
uint32_t trust_record_count(const struct trust *t);
void trust_write_record(const struct trust *t, uint32_t i, struct writer *w, uint16_t shard, uint64_t epoch);

/* When the sets must be read again so that they stay fresh; 0 = there is no issuer. */
uint32_t trust_refresh_s(const struct trust *t);

#endif
