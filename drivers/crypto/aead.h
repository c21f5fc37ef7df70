/* XAES-256-GCM (C2SP) with and without Wirewrap's key commitment: derivation over OpenSSL's EVP, the fresh one and GCM
 * over libipsec-mb.
 *
 * One struct aead_worker per worker: its own OSSL_LIB_CTX and pre-fetched cipher, its own multi-buffer manager.  A struct aead_key is one
 * key's AES schedule and its CMAC subkey K1 (depends on K alone); it costs one allocation by OpenSSL and is
 * meant to be cached.
 *
 * Sources: C2SP XAES-256-GCM; NIST SP 800-108r1 (KBKDF in counter mode with CMAC), 800-38B, 800-38D. */
#ifndef DRIVERS_CRYPTO_AEAD_H
#define DRIVERS_CRYPTO_AEAD_H

#include "base/limits.h"
#include "base/span.h"

struct aead_worker;
struct aead_key;

#define XAES_KEY_LEN   32
#define XAES_NONCE_LEN 24
#define XAES_TAG_LEN   16

struct aead_worker *MUST_USE aead_worker_new(void);
void aead_worker_free(struct aead_worker *w);
/* Overwrites what the last message left in the worker's own contexts (its Kx, or its K). */
void aead_worker_forget(struct aead_worker *w);

struct aead_key *MUST_USE aead_key_new(struct aead_worker *w, const uint8_t key[XAES_KEY_LEN]);
/* The same context for another key; nothing of the former one is left.  false: it is good for aead_key_free alone. */
bool MUST_USE aead_key_change(struct aead_key *k, const uint8_t key[XAES_KEY_LEN]);
void aead_key_free(struct aead_key *k); /* wipes */

/* What one message needs, derived from K and N: Kx and, when asked for, the commitment.  Wiped by the caller.
 */
struct xaes_derived {
    uint8_t kx[32];
    uint8_t commitment[BLOB_COMMITMENT_LEN];
};
bool MUST_USE xaes_derive(struct aead_key *k, const uint8_t nonce[XAES_NONCE_LEN], bool with_commitment,
                          struct xaes_derived *out);

/* The same with commitment, from the key's bytes and nothing cached: the key schedule and K1 are made anew, by another library than
 * xaes_derive's.  Cost: about twice a derivation, no allocation. */
bool MUST_USE xaes_derive_fresh(struct aead_worker *w, const uint8_t key[XAES_KEY_LEN],
                                const uint8_t nonce[XAES_NONCE_LEN], struct xaes_derived *out);

/* AES-256-GCM under d->kx and nonce[12..23].  AAD is the concatenation of its parts, at most
 * EKM_AAD_MAX and 1 KiB.  out:
 * in.len bytes; may be in place.  false on a fault of the library, or longer AAD. */
bool MUST_USE xaes_seal(struct aead_worker *w, const struct xaes_derived *d,
                        const uint8_t nonce[XAES_NONCE_LEN], const struct span *aad, size_t aad_parts,
                        struct span in, uint8_t *out, uint8_t tag[XAES_TAG_LEN]);
/* false when the tag does not fit: out is then zeroed. */
bool MUST_USE xaes_open(struct aead_worker *w, const struct xaes_derived *d,
                        const uint8_t nonce[XAES_NONCE_LEN], const struct span *aad, size_t aad_parts,
                        struct span in, const uint8_t tag[XAES_TAG_LEN], uint8_t *out);

#endif
