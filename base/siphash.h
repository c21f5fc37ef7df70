/* SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash for tables whose keys an attacker may choose. */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include "base/span.h"

struct siphash_key {
    uint64_t k0;
    uint64_t k1;
};

uint64_t siphash(const struct siphash_key *key, struct span data);

#endif
