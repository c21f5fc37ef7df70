#include "bench/load/watch.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define PERIOD_NS 500000
#define LATE_NS   200000 /* it wakes at a random time within a hiccup: what it sees is a part of it */
#define SECOND_NS 1000000000ULL

struct watch {
    pthread_t thread;
    struct hiccups *found;
    atomic_bool end;
};

static uint64_t ns_of(const struct timespec *t)
{
    return (uint64_t)t->tv_sec * SECOND_NS + (uint64_t)t->tv_nsec;
}

static uint64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return ns_of(&t);
}

static void *look(void *watch)
{
    struct watch *w = watch;

    while (!atomic_load_explicit(&w->end, memory_order_relaxed)) {
        uint64_t due = clock_ns() + PERIOD_NS;
        struct timespec at = {(time_t)(due / SECOND_NS), (long)(due % SECOND_NS)};

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
            continue;
        uint64_t now = clock_ns();
        if (now - due > LATE_NS)
            hiccups_add(w->found, due, now);
    }
    return NULL;
}

static bool there_and_first(pthread_attr_t *a, int cpu)
{
    struct sched_param first = {.sched_priority = 1};
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return pthread_attr_setaffinity_np(a, sizeof set, &set) == 0 &&
           pthread_attr_setinheritsched(a, PTHREAD_EXPLICIT_SCHED) == 0 &&
           pthread_attr_setschedpolicy(a, SCHED_FIFO) == 0 && pthread_attr_setschedparam(a, &first) == 0;
}

struct watch *watch_new(int cpu, struct hiccups *found)
{
    struct watch *w = calloc(1, sizeof *w);
    pthread_attr_t a;

    if (w == NULL)
        return NULL;
    w->found = found;
    pthread_attr_init(&a);
    bool runs = there_and_first(&a, cpu) && pthread_create(&w->thread, &a, look, w) == 0;
    pthread_attr_destroy(&a);
    if (!runs) {
        free(w);
        return NULL;
    }
    return w;
}

void watch_free(struct watch *w)
{
    if (w == NULL)
        return;
    atomic_store_explicit(&w->end, true, memory_order_relaxed);
    pthread_join(w->thread, NULL);
    free(w);
}
