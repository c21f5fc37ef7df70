/* The accumulated test of C2SP XAES-256-GCM: suite 0 over inputs drawn from one SHAKE-128 stream, every
 * ciphertext and tag absorbed by another. */
#ifndef DRIVERS_CRYPTO_VECTORS_ACCUMULATED_H
#define DRIVERS_CRYPTO_VECTORS_ACCUMULATED_H

#include "drivers/crypto/aead.h"

/* hash: the collector's first 32 bytes.  Every message is opened again and compared; false when one does not
 * open, or the library fails. */
bool MUST_USE xaes_accumulate(struct aead_worker *w, uint64_t rounds, uint8_t hash[32]);

#endif
