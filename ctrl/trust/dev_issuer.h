/* --dev only: an issuer of ID tokens on this machine, so that a developer needs no cloud project.  It keeps an RSA
 * and a P-256 key in the state directory and publishes them as a JWKS file, which is then read like any other
 * issuer's.  ww-ctrl without --dev never opens it. */
#ifndef CTRL_TRUST_DEV_ISSUER_H
#define CTRL_TRUST_DEV_ISSUER_H

#include "ctrl/lib/refusal.h"
#include "drivers/crypto/mbedtls/mbed.h"

#include <jansson.h>

#define DEV_ISSUER_NAME "https://dev-issuer.wirewrap.test"

struct dev_issuer;

/* Makes keys and JWKS file when they are not there. */
struct dev_issuer *MUST_USE dev_issuer_open(const char *state_dir, const char *jwks_file,
                                            struct mbed_rng *rng, struct refusal *why);
void dev_issuer_close(struct dev_issuer *d);

struct dev_token {
    const char *email, *audience;
    int64_t now_unix_s, expires_s;
    bool es256;           /* else RS256, as Google signs */
    const json_t *claims; /* object: added to the claims or in place of them; null takes one away; or NULL */
};

/* A malloc'd token; NULL: why. */
char *MUST_USE dev_issuer_mint(struct dev_issuer *d, const struct dev_token *t, struct refusal *why);

#endif
