/* A histogram with a bounded relative error (HDR): 128 linear steps per power of two, so that any value is
 * known to better than 1/128, from 1 ns to more than an hour.  Adding costs a few instructions and never allocates. */
#ifndef BENCH_LOAD_HIST_H
#define BENCH_LOAD_HIST_H

#include <stdint.h>

#define HIST_STEP_BITS 7
#define HIST_STEPS     (1U << HIST_STEP_BITS)
#define HIST_BITS_MAX  42 /* values from 2^42 ns on count as the largest */
#define HIST_BUCKETS   ((HIST_BITS_MAX - HIST_STEP_BITS + 1) * HIST_STEPS)

struct hist {
    uint64_t count, max, sum;
    uint64_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t value);
/* The smallest value that at least the share q (0..1) of all values do not exceed, to 1/128; 0 when there are none. */
uint64_t hist_quantile(const struct hist *h, double q);

#endif
