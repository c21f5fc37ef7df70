/* Random bytes for nonces, from a pool: AES-256-CTR with fast key erasure, seeded by getrandom(2).
 *
 * One per worker.  Every refill overwrites the key; the pool is reseeded from the OS after RNG_RESEED_BYTES
 * or RNG_RESEED_S, lives on pages that a fork finds zeroed (and then reseeds), and is health-tested: a
 * repeated 16-byte block is a CHECK. */
#ifndef DRIVERS_CRYPTO_RNG_H
#define DRIVERS_CRYPTO_RNG_H

#include "base/span.h"

struct rng;

#define RNG_RESEED_BYTES (64u << 20) /* 2.8 million nonces: the system call disappears in them */
#define RNG_RESEED_S     60

/* seed_for_tests: NULL in production (getrandom), else 32 bytes that make the stream repeatable. NULL when
 * memory or entropy cannot be had. */
struct rng *MUST_USE rng_new(const uint8_t *seed_for_tests);
void rng_free(struct rng *r);
/* Cost: a copy of len bytes; every 4 KiB one AES-CTR pass. */
void rng_bytes(struct rng *r, void *out, size_t len);

#ifdef WW_TEST_HOOKS
/* The next refill finds two equal blocks side by side. */
void rng_inject_repeat(struct rng *r);
/* How often the pool was seeded from the OS. */
uint64_t rng_seed_count(const struct rng *r);
/* As if so many seconds had gone by since the last seed. */
void rng_age(struct rng *r, uint32_t seconds);
#endif

#endif
