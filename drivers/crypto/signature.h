/* Signature verification for tokens: RSASSA-PKCS1-v1_5 with SHA-256 (RS256), ECDSA P-256 with SHA-256 (ES256,
 * raw r||s).
 *
 * Refused at load: RSA moduli under 2048 or over 4096 bits, exponents other than odd and >= 65537 (FIPS
 * 186-5 5.4), points not on the curve. */
#ifndef DRIVERS_CRYPTO_SIGNATURE_H
#define DRIVERS_CRYPTO_SIGNATURE_H

#include "base/ctl_wire.h"
#include "base/span.h"

struct signature_key; /* one public key; immutable, usable from any thread */

/* NULL when the key is refused. */
struct signature_key *MUST_USE signature_key_new(const struct ctl_jwk *jwk);
void signature_key_free(struct signature_key *k);
bool MUST_USE signature_verify(const struct signature_key *k, struct span message, struct span signature);

#endif
