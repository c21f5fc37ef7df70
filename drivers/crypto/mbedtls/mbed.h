/* ctrl's cryptography: the few verbs it needs, over mbedTLS.
 *
 * The dataplane's cryptography is OpenSSL's (drivers/crypto/openssl): a flaw in one library does not open both
 * processes.  Every function that cannot fail for a reason of its input fails by CHECK.  Not thread safe: one
 * object belongs to one thread.  Sources: NIST SP 800-38D (AES-GCM), SP 800-90A (CTR_DRBG), RFC 5869 (HKDF). */
#ifndef DRIVERS_CRYPTO_MBEDTLS_MBED_H
#define DRIVERS_CRYPTO_MBEDTLS_MBED_H

#include "base/span.h"

#define MBED_KEY_LEN    32
#define MBED_NONCE_LEN  12
#define MBED_TAG_LEN    16
#define MBED_DIGEST_LEN 32

/* AES-256-CTR DRBG seeded and reseeded from getrandom(2). */
struct mbed_rng;

struct mbed_rng *MUST_USE mbed_rng_new(void); /* NULL: out of memory, or no entropy */
void mbed_rng_free(struct mbed_rng *r);
void mbed_random(struct mbed_rng *r, void *out, size_t len);
/* The same in the shape that mbedTLS asks for; ctx is a struct mbed_rng. */
int mbed_rng_callback(void *ctx, unsigned char *out, size_t len);

/* AES-256-GCM under one key.  The expanded key is wiped by mbed_aead_free. */
struct mbed_aead;

struct mbed_aead *MUST_USE mbed_aead_new(const uint8_t key[MBED_KEY_LEN]); /* NULL: out of memory */
void mbed_aead_free(struct mbed_aead *a);
/* out: in.len bytes of ciphertext, then the tag.  out may be in.ptr. */
void mbed_seal(struct mbed_aead *a, const uint8_t nonce[MBED_NONCE_LEN], struct span aad, struct span in,
               uint8_t *out);
/* in: ciphertext and tag, at least MBED_TAG_LEN bytes; out: in.len - MBED_TAG_LEN bytes, all zero when false. */
bool MUST_USE mbed_open(struct mbed_aead *a, const uint8_t nonce[MBED_NONCE_LEN], struct span aad,
                        struct span in, uint8_t *out);

void mbed_sha256(struct span in, uint8_t out[MBED_DIGEST_LEN]);

/* HKDF-SHA256 with an empty salt; out_len up to 8160 bytes. */
void mbed_hkdf(const uint8_t key[MBED_KEY_LEN], struct span info, uint8_t *out, size_t out_len);

#endif
