/* JSON Web Tokens in JWS compact serialization (RFC 7519, 7515), taken apart.  Pure: no keys, no clock, no
 * policy.
 *
 * Refused: other than three parts, bad base64url, alg other than RS256 and ES256, crit, b64, jku, jwk, x5u,
 * x5c, zip in the header, typ other than JWT, duplicate names, claims of the wrong type, anything over
 * limits.h.  aud as an array is refused: an ID token names one. */
#ifndef PROTO_JWT_H
#define PROTO_JWT_H

#include "base/ctl_wire.h"
#include "base/limits.h"
#include "base/reasons.h"
#include "base/span.h"

/* Decoded views point into scratch. */
struct jwt {
    uint8_t alg; /* enum jwk_alg, as claimed */
    struct span kid;
    struct span iss, aud, email, sub;
    bool email_verified;     /* present and true */
    int64_t exp, iat, nbf;   /* seconds; iat and nbf are 0 when absent; exp is required */
    struct span signed_part; /* header.payload as it came */
    struct span signature;   /* decoded */
};

/* scratch: JWT_TOKEN_MAX bytes of the caller's; token: without "Bearer ".  false: *why is the counted reason.
 */
bool MUST_USE jwt_parse(struct secret_span token, uint8_t *scratch, struct jwt *out, enum reason *why);

#endif
