/* Private keys from elsewhere: PKCS#8 (RFC 5208, unencrypted, DER), as they come in and as they rest, sealed, in a version. */
#ifndef CTRL_KEYS_PRIVATE_KEY_H
#define CTRL_KEYS_PRIVATE_KEY_H

#include "ctrl/keys/algorithm.h"
#include "ctrl/lib/refusal.h"
#include "drivers/crypto/mbedtls/mbed.h"

#define PRIVATE_KEY_MAX     3072 /* RSA of 4096 bits is 2.4 KB */
#define PRIVATE_KEY_PEM_MAX 1024 /* of the public half */

/* der is one whole key of that algorithm, and one that its owner could be proud of: RSA with exact size, two primes that are far from
 * each other, an odd exponent from 65537 to 2^32, all parts of it going together; EC on the curve, its public point its own.  Codes:
 * bad_material (malformed or weak, and how), wrong_algorithm (sound, of another kind or size).  Takes up to a second. */
bool MUST_USE private_key_check(struct span der, const struct algorithm *a, struct mbed_rng *rng,
                                struct refusal *why);

/* The public half of a key that was checked. */
void private_key_public_pem(struct span der, char out[PRIVATE_KEY_PEM_MAX]);

#endif
