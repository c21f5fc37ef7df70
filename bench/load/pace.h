/* When the next of many is due: at a constant rate, or at random times of that rate (Poisson: clients that know nothing of each other).
 * Knows no clock. */
#ifndef BENCH_LOAD_PACE_H
#define BENCH_LOAD_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
    uint64_t due_ns;
    double interval_ns; /* mean; 0 = nothing is ever due */
    double rest_ns;     /* parts of a nanosecond that due_ns does not show yet */
    uint64_t random;    /* state; 0 = constant */
};

/* rate: a second; 0 = never.  seed 0 = a constant rate. */
void pace_begin(struct pace *p, double rate, uint64_t seed, uint64_t now_ns);
static inline bool pace_due(const struct pace *p, uint64_t now_ns)
{
    return p->interval_ns > 0 && p->due_ns <= now_ns;
}
/* What was due is under way. */
void pace_next(struct pace *p);

#endif
