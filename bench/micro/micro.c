#include "bench/micro/micro.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <valgrind/callgrind.h>

#define WARMUP     2000 /* operations */
#define BATCHES    15
#define BATCH_NS   4000000 /* of one batch, about */
#define CLOCK_RUNS 1000

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static double clock_cost_ns(void)
{
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < CLOCK_RUNS; i++) {
        uint64_t began = now_ns(), took = now_ns() - began;
        least = took < least ? took : least;
    }
    return (double)least;
}

static double batch(const struct micro *m, uint64_t n, double clock_ns)
{
    uint64_t began = now_ns(), inside = 0;

    if (m->prepare == NULL) {
        for (uint64_t i = 0; i < n; i++)
            m->once(m->arg);
        return (double)(now_ns() - began) / (double)n;
    }
    for (uint64_t i = 0; i < n; i++) {
        m->prepare(m->arg);
        began = now_ns();
        m->once(m->arg);
        inside += now_ns() - began;
    }
    return (double)inside / (double)n - clock_ns;
}

static void time_one(const struct micro *m, double clock_ns)
{
    double least = batch(m, WARMUP, clock_ns);
    uint64_t n = least > 1 ? (uint64_t)(BATCH_NS / least) : BATCH_NS;

    n = n < 20 ? 20 : n;
    for (int i = 0; i < BATCHES; i++) {
        double ns = batch(m, n, clock_ns);
        least = ns < least ? ns : least;
    }
    printf("{\"name\": \"%s\", \"ns\": %.2f}\n", m->name, least);
}

/* Callgrind collects between the toggles alone; each operation's figures go to a file of their own, in this order. */
static void count_one(const struct micro *m, long n)
{
    for (int i = 0; i < 20; i++) {
        if (m->prepare != NULL)
            m->prepare(m->arg);
        m->once(m->arg);
    }
    CALLGRIND_ZERO_STATS;
    for (long i = 0; i < n; i++) {
        if (m->prepare != NULL)
            m->prepare(m->arg);
        CALLGRIND_TOGGLE_COLLECT;
        m->once(m->arg);
        CALLGRIND_TOGGLE_COLLECT;
    }
    CALLGRIND_DUMP_STATS_AT(m->name);
    printf("{\"name\": \"%s\"}\n", m->name);
}

/* What counting itself takes: bench/micro/run subtracts it. */
static void nothing_once(void *arg)
{
    (void)arg;
}

int micro_main(int argc, char **argv, const struct micro *list, size_t count)
{
    double clock_ns = clock_cost_ns();
    long n = argc == 3 && strcmp(argv[1], "--count") == 0 ? atol(argv[2]) : 0;

    if (argc != 1 && n <= 0) {
        fprintf(stderr, "usage: %s [--count N]\n", argv[0]);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (n > 0)
        count_one(&(struct micro){"nothing", nothing_once, NULL, NULL}, n);
    for (size_t i = 0; i < count; i++) {
        if (n > 0)
            count_one(&list[i], n);
        else
            time_one(&list[i], clock_ns);
    }
    return 0;
}
