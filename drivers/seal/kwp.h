/* AES Key Wrap with Padding (RFC 5649, NIST SP 800-38F KWP) under an AES-256, -192 or -128 key.
 *
 * Deterministic: no nonce, a 32-bit check value and the padding as its redundancy.  It is what key import
 * brings (RSA-OAEP around an AES key around the material), since Debian's mbedTLS is built without its own.
 * Pure; no allocation. */
#ifndef DRIVERS_SEAL_KWP_H
#define DRIVERS_SEAL_KWP_H

#include "base/span.h"

#define KWP_PLAIN_MAX     8192
#define KWP_SEALED_LEN(n) (((n) + 7) / 8 * 8 + 8)
#define KWP_SEALED_MAX    KWP_SEALED_LEN(KWP_PLAIN_MAX)

enum kwp_status {
    KWP_OK,
    KWP_BAD_KEY_LEN, /* the wrapping key has not 16, 24 or 32 bytes */
    KWP_BAD_LEN,     /* plain: 1..KWP_PLAIN_MAX; sealed: a multiple of 8 in 16..KWP_SEALED_MAX */
    KWP_REFUSED,     /* another key, or altered: which of the two cannot be told */
};

/* out: KWP_SEALED_LEN(plain.len) bytes. */
enum kwp_status MUST_USE kwp_seal(struct span key, struct span plain, uint8_t *out);
/* out: sealed.len - 8 bytes, of which *len are the key; all zero unless KWP_OK.  The time depends on
 * sealed.len alone. */
enum kwp_status MUST_USE kwp_open(struct span key, struct span sealed, uint8_t *out, size_t *len);

#endif
