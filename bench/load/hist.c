#include "bench/load/hist.h"

#include <math.h>
#include <stddef.h>

/* Values below two steps' worth have a bucket each; above, the top HIST_STEP_BITS + 1 bits choose. */
static size_t bucket_of(uint64_t value)
{
    if (value < 2 * HIST_STEPS)
        return (size_t)value;
    if (value >= 1ULL << HIST_BITS_MAX)
        return HIST_BUCKETS - 1;
    unsigned int shift = 63U - (unsigned int)__builtin_clzll(value) - HIST_STEP_BITS;
    return (size_t)shift * HIST_STEPS + (size_t)(value >> shift);
}

/* The largest value of a bucket. */
static uint64_t bucket_top(size_t bucket)
{
    if (bucket < 2 * HIST_STEPS)
        return bucket;
    unsigned int shift = (unsigned int)(bucket / HIST_STEPS) - 1;
    uint64_t top = bucket - (uint64_t)shift * HIST_STEPS;

    return ((top + 1) << shift) - 1;
}

void hist_add(struct hist *h, uint64_t value)
{
    h->bucket[bucket_of(value)]++;
    h->count++;
    h->sum += value;
    if (value > h->max)
        h->max = value;
}

uint64_t hist_quantile(const struct hist *h, double q)
{
    uint64_t want = (uint64_t)ceil(q * (double)h->count), seen = 0;

    if (h->count == 0)
        return 0;
    if (want == 0)
        want = 1;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= want) {
            uint64_t top = bucket_top(i);
            return top < h->max ? top : h->max;
        }
    }
    return h->max;
}
