/* SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash for tables whose keys an attacker may choose. */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include "base/span.h"

struct siphash_key {
    uint64_t k0;
    uint64_t k1;
};

uint64_t siphash(const struct siphash_key *key, struct span data);

#define SIPHASH_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static inline __attribute__((always_inline)) void siphash_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = SIPHASH_ROTL(v[1], 13) ^ v[0];
    v[0] = SIPHASH_ROTL(v[0], 32);
    v[2] += v[3];
    v[3] = SIPHASH_ROTL(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = SIPHASH_ROTL(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = SIPHASH_ROTL(v[1], 17) ^ v[2];
    v[2] = SIPHASH_ROTL(v[2], 32);
}

/* SipHash-1-3, for a table that is looked into for each packet: less than half the work.  Enough where nobody sees the
 * values themselves (the authors, and what hash tables of languages use).  The message is count words and then, in last, up
 * to seven bytes more (the first of them lowest) below its length in bytes. */
static inline __attribute__((always_inline)) uint64_t
siphash13(const struct siphash_key *key, const uint64_t *words, size_t count, uint64_t last)
{
    uint64_t v[4] = {key->k0 ^ 0x736f6d6570736575ULL, key->k1 ^ 0x646f72616e646f6dULL,
                     key->k0 ^ 0x6c7967656e657261ULL, key->k1 ^ 0x7465646279746573ULL};

    for (size_t i = 0; i < count; i++) {
        v[3] ^= words[i];
        siphash_round(v);
        v[0] ^= words[i];
    }
    v[3] ^= last;
    siphash_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    siphash_round(v);
    siphash_round(v);
    siphash_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
