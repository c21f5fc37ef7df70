/* Times small things.  A program names its operations and calls micro_main:
 *
 *     micro-keys              one line of JSON each: {"name": "wrap, 32 bytes", "ns": 512.3}
 *     micro-keys --count N    under callgrind: N operations of each between its marks (bench/micro/run reads them)
 *
 * The figure is the least of several batches: what the operation takes when nothing else wants the core. */
#ifndef BENCH_MICRO_H
#define BENCH_MICRO_H

#include <stddef.h>
#include <stdint.h>

struct micro {
    const char *name;
    void (*once)(void *arg); /* what is measured */
    void (*prepare)(
        void *arg); /* before each, not measured; NULL: nothing to prepare, and whole batches are timed */
    void *arg;
};

int micro_main(int argc, char **argv, const struct micro *list, size_t count);

/* Keeps the compiler from leaving out what computed it. */
static inline void micro_keep(uint64_t v)
{
    __asm__ volatile("" : : "r"(v) : "memory");
}

#endif
