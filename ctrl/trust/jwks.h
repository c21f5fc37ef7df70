/* A JWK set (RFC 7517) as an issuer publishes it: text in, public keys out.  Pure.
 *
 * Strict where it matters: a set that is not JSON, has no usable key, too many, a duplicate kid, a modulus outside
 * 2048..4096 bits, an exponent below 65537 or a point off its curve is refused whole, so that the last good set
 * stays.  Keys for other purposes or of other kinds (use "enc", ES384, OKP) are left out, not refused: issuers add
 * such without asking.  The algorithm is the key's, never the token's (RFC 8725 3.1). */
#ifndef CTRL_TRUST_JWKS_H
#define CTRL_TRUST_JWKS_H

#include "base/ctl_wire.h"
#include "ctrl/lib/refusal.h"

#define JWKS_FILE_MAX (256 * 1024)
#define JWK_N_MAX     512 /* 4096 bits */
#define JWK_E_MAX     8

struct jwk {
    uint8_t alg; /* enum jwk_alg */
    uint16_t kid_len, a_len, b_len;
    uint8_t kid[JWT_KID_MAX];
    uint8_t a[JWK_N_MAX]; /* n, or x */
    uint8_t b[32];        /* e, or y */
};

struct jwks {
    uint32_t count;
    struct jwk keys[JWKS_KEYS_MAX];
};

bool MUST_USE jwks_parse(struct span text, struct jwks *out, struct refusal *why);

#endif
