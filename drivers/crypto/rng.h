/* Random bytes for nonces, from a pool: AES-256-CTR with fast key erasure, seeded by getrandom(2).
 *
 * One per worker.  Every refill overwrites the key; the pool is reseeded from the OS after RNG_RESEED_BYTES
 * or RNG_RESEED_S, lives on pages that a fork finds zeroed (and then reseeds), and is health-tested: a
 * repeated 16-byte block is a CHECK. */
#ifndef DRIVERS_CRYPTO_RNG_H
#define DRIVERS_CRYPTO_RNG_H

#include "base/span.h"

struct rng;

/* seed_for_tests: NULL in production (getrandom), else 32 bytes that make the stream repeatable. NULL when
 * memory or entropy cannot be had. */
struct rng *MUST_USE rng_new(const uint8_t *seed_for_tests);
void rng_free(struct rng *r);
/* Cost: a copy of len bytes; every 4 KiB one AES-CTR pass. */
void rng_bytes(struct rng *r, void *out, size_t len);

#endif
