/* Key material from elsewhere: the pair of keys under which it travels, and the opening of what came.
 *
 * ctrl makes an RSA-3072 pair, valid for IMPORT_VALID_S; its public half goes out, its private half rests in a sealed
 * row of the store and in locked pages, and is wiped when its time is over.  What comes in is what Cloud KMS and PKCS#11
 * call RSA_AES_KEY_WRAP with SHA-256: RSAES-OAEP (SHA-256, MGF1 with SHA-256, no label; RFC 8017 7.1) of a fresh
 * AES-256 key, then the material under that key by AES-KWP (RFC 5649).  Material is an AES-256 key, 32 bytes, or a private key
 * in PKCS#8 (ctrl/keys/private_key.h). */
#ifndef CTRL_KEYS_IMPORT_H
#define CTRL_KEYS_IMPORT_H

#include "ctrl/keys/lifecycle.h"
#include "ctrl/keys/private_key.h"
#include "ctrl/store/store.h"
#include "drivers/seal/kwp.h"

#define IMPORT_ALGORITHM     "rsa-oaep-3072-sha256-aes-256"
#define IMPORT_RSA_BITS      3072
#define IMPORT_VALID_S       (3 * 86400u)
#define IMPORT_DER_MAX       2048 /* RFC 8017 A.1.2 of 3072 bits is 1.8 KB */
#define IMPORT_BODY_MAX      (1 + 8 + 8 + IMPORT_DER_MAX)
#define IMPORT_PEM_MAX       1024
#define IMPORT_BLOB_LEN      (IMPORT_RSA_BITS / 8 + KEY_MATERIAL_LEN + 8) /* of an AES-256 key */
#define IMPORT_BLOB_MAX      (IMPORT_RSA_BITS / 8 + KWP_SEALED_LEN(PRIVATE_KEY_MAX))
#define IMPORT_MATERIAL_ROOM (PRIVATE_KEY_MAX + 32) /* and the key that the material is wrapped under */

struct import_key {
    size_t der_len; /* 0 = there is none */
    uint8_t *der;   /* the private half, locked pages of IMPORT_DER_MAX */
    struct lifecycle_time made;
};

bool MUST_USE import_init(struct import_key *k); /* false: no locked memory */
void import_free(struct import_key *k);
void import_forget(struct import_key *k);

/* Takes a second or more.  false: mbedTLS found no primes or no memory. */
bool MUST_USE import_make(struct import_key *k, struct mbed_rng *rng, struct lifecycle_time now);
/* By the date and by the time watched: a clock set back makes nothing valid for longer. */
bool import_is_valid(const struct import_key *k, struct lifecycle_time now);

/* The row's body (empty when there is no key); out: IMPORT_BODY_MAX bytes, secret. */
size_t import_encode(const struct import_key *k, uint8_t *out);
bool MUST_USE import_decode(struct span body, struct import_key *k);

void import_public_pem(const struct import_key *k, char out[IMPORT_PEM_MAX]);

/* material: IMPORT_MATERIAL_ROOM bytes of locked pages, zero when false.  An AES-256 key, or else whatever is wrapped, which nobody
 * has looked at yet.  Which of the two layers did not open is not told. */
bool MUST_USE import_open(const struct import_key *k, struct mbed_rng *rng, struct span blob,
                          bool private_key, uint8_t *material, size_t *len, struct refusal *why);

#endif
