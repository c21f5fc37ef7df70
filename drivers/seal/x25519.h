/* X25519 (RFC 7748 section 5) over mbedTLS's Curve25519. */
#ifndef DRIVERS_SEAL_X25519_H
#define DRIVERS_SEAL_X25519_H

#include "drivers/crypto/mbedtls/mbed.h"

#define X25519_LEN 32

/* out = scalar * u.  rng blinds the multiplication.  false, and zeros: u is a point of small order, which
 * would give everybody the same answer. */
bool MUST_USE x25519(struct mbed_rng *rng, const uint8_t scalar[X25519_LEN], const uint8_t u[X25519_LEN],
                     uint8_t out[X25519_LEN]);
/* The public key of a scalar. */
void x25519_public(struct mbed_rng *rng, const uint8_t scalar[X25519_LEN], uint8_t out[X25519_LEN]);

#endif
