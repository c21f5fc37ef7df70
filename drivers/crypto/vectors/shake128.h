/* SHAKE-128 (FIPS 202) as a stream, for the accumulated vectors: absorb any number of times, then squeeze any
 * number of times.  OpenSSL 3.0 squeezes only once. */
#ifndef DRIVERS_CRYPTO_VECTORS_SHAKE128_H
#define DRIVERS_CRYPTO_VECTORS_SHAKE128_H

#include "base/span.h"

struct shake128 {
    uint8_t state[200];
    size_t at; /* next byte of the rate */
    bool squeezing;
};

void shake128_absorb(struct shake128 *s, struct span in); /* s starts as all zeros */
void shake128_squeeze(struct shake128 *s, void *out, size_t len);

#endif
