/* JSON Web Tokens in JWS compact serialization (RFC 7519, 7515; RFC 8725 for what to refuse), taken apart.
 * Pure: no keys, no clock, no policy.
 *
 * Refused: other than three parts, bad base64url, alg other than RS256 and ES256, the header parameters crit,
 * b64, jku, jwk, x5u, x5c, zip, cty and enc, typ other than JWT, a missing kid, duplicate names, iss, aud, sub,
 * email, email_verified, exp, iat or nbf of the wrong type or empty, a missing iss, aud or exp, times that are
 * not plain digits, anything over limits.h.  aud as an array is refused: an ID token names one.  Other
 * parameters and claims are skipped, but must be sound JSON. */
#ifndef PROTO_JWT_H
#define PROTO_JWT_H

#include "base/ctl_wire.h"
#include "base/limits.h"
#include "base/reasons.h"
#include "base/span.h"

/* Decoded views point into scratch, signed_part into the token.  All of it is a claim until the signature has
 * been verified. */
struct jwt {
    uint8_t alg;             /* enum jwk_alg, as claimed */
    struct span kid;         /* 1..JWT_KID_MAX bytes */
    struct span iss, aud;    /* never empty */
    struct span email, sub;  /* empty when absent; email <= EKM_CALLER_MAX */
    bool email_verified;     /* present and true */
    int64_t exp, iat, nbf;   /* seconds; iat and nbf are 0 when absent; exp is required */
    struct span signed_part; /* header.payload as it came */
    struct span signature;   /* decoded */
};

/* scratch: JWT_TOKEN_MAX bytes of the caller's; token: without "Bearer ".  false: *why is the counted reason.
 */
bool MUST_USE jwt_parse(struct secret_span token, uint8_t *scratch, struct jwt *out, enum reason *why);

#endif
