/* What happened, how often: one array per worker, in memory that ctrl maps too (base/audit_ring.h).
 *
 * One writer per array (its worker), any number of readers; relaxed loads and stores, no lock prefix, a read
 * is a snapshot of single values, not of the set.  Every refusal of the product increments exactly one of
 * these. */
#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include "base/reasons.h"

#include <stdatomic.h>
#include <stdint.h>

struct counters {
    _Atomic uint64_t value[REASON_COUNT];
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

#endif
