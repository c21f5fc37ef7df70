#include "bench/load/pace.h"

#include <math.h>

/* xorshift64*, as a share in (0, 1]. */
static double share_next(struct pace *p)
{
    p->random ^= p->random >> 12;
    p->random ^= p->random << 25;
    p->random ^= p->random >> 27;
    return ((double)((p->random * 0x2545F4914F6CDD1DULL) >> 11) + 1) / 9007199254740992.0;
}

void pace_begin(struct pace *p, double rate, uint64_t seed, uint64_t now_ns)
{
    *p = (struct pace){.due_ns = now_ns, .interval_ns = rate > 0 ? 1e9 / rate : 0, .random = seed};
}

void pace_next(struct pace *p)
{
    double step = p->rest_ns + p->interval_ns * (p->random == 0 ? 1 : -log(share_next(p)));

    p->due_ns += (uint64_t)step;
    p->rest_ns = step - floor(step);
}
