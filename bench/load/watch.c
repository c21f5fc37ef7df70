#include "bench/load/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NS 500000
#define LATE_NS   200000 /* it wakes at a random time within a hiccup: what it sees is a part of it */
#define TEXT_MAX  96
#define SECOND_NS 1000000000ULL

struct watch {
    pthread_t thread;
    struct hiccups *found;
    int schedstat; /* -1: none */
    uint64_t waited_ns;
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

uint64_t watch_waited_ns(const char *schedstat)
{
    char *at;

    (void)strtoull(schedstat, &at, 10); /* time on a core */
    return strtoull(at, NULL, 10);
}

static uint64_t waited_ns(const struct watch *w)
{
    char text[TEXT_MAX];
    ssize_t len = w->schedstat < 0 ? -1 : pread(w->schedstat, text, sizeof text - 1, 0);

    if (len <= 0)
        return w->waited_ns;
    text[len] = '\0';
    return watch_waited_ns(text);
}

/* The wait is known once it is over. */
static void look_at_server(struct watch *w, uint64_t now_ns)
{
    uint64_t waited = waited_ns(w), more = waited - w->waited_ns;

    if (more > LATE_NS)
        hiccups_add(w->found, now_ns - more - PERIOD_NS, now_ns);
    w->waited_ns = waited;
}

static void *look(void *watch)
{
    struct watch *w = watch;

    w->waited_ns = waited_ns(w);
    while (!atomic_load_explicit(&w->end, memory_order_relaxed)) {
        uint64_t due = clock_ns() + PERIOD_NS;
        struct timespec at = {(time_t)(due / SECOND_NS), (long)(due % SECOND_NS)};

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
            continue;
        uint64_t now = clock_ns();
        if (now - due > LATE_NS)
            hiccups_add(w->found, due, now);
        look_at_server(w, now);
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

struct watch *watch_new(int cpu, const char *schedstat, struct hiccups *found)
{
    struct watch *w = calloc(1, sizeof *w);
    pthread_attr_t a;

    if (w == NULL)
        return NULL;
    w->found = found;
    w->schedstat = schedstat[0] == '\0' ? -1 : open(schedstat, O_RDONLY | O_CLOEXEC);
    pthread_attr_init(&a);
    bool runs = there_and_first(&a, cpu) && pthread_create(&w->thread, &a, look, w) == 0;
    pthread_attr_destroy(&a);
    if (!runs) {
        close(w->schedstat);
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
    close(w->schedstat);
    free(w);
}
