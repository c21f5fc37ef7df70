/* What happened, how often, and what is held: two arrays per worker, and two of the housekeeper, in memory that ctrl maps too
 * (base/audit_ring.h).
 *
 * One writer per array (its thread), any number of readers; relaxed loads and stores, no lock prefix, a read
 * is a snapshot of single values, not of the set.  Every refusal of the product increments exactly one of
 * the first. */
#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include "base/gauges.h"
#include "base/reasons.h"

#include <stdatomic.h>
#include <stdint.h>

struct counters {
    _Atomic uint64_t value[REASON_COUNT];
    _Atomic uint64_t gauge[GAUGE_COUNT]; /* as of some milliseconds ago */
};

static inline void count_by(struct counters *c, enum reason r, uint64_t by)
{
    uint64_t v = atomic_load_explicit(&c->value[r], memory_order_relaxed);
    atomic_store_explicit(&c->value[r], v + by, memory_order_relaxed);
}

static inline void count(struct counters *c, enum reason r)
{
    count_by(c, r, 1);
}

static inline uint64_t counter_read(const struct counters *c, enum reason r)
{
    return atomic_load_explicit(&c->value[r], memory_order_relaxed);
}

static inline void gauge_set(struct counters *c, enum gauge g, uint64_t v)
{
    atomic_store_explicit(&c->gauge[g], v, memory_order_relaxed);
}

static inline uint64_t gauge_read(const struct counters *c, enum gauge g)
{
    return atomic_load_explicit(&c->gauge[g], memory_order_relaxed);
}

#endif
