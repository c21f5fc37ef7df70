#include "bench/load/helper.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* One writer, one reader; never full, since a session is in one of them at most once. */
struct lane {
    struct session *slot[HELPER_SESSIONS_MAX];
    atomic_uint written, read;
};

struct helper {
    pthread_t thread;
    sem_t work;
    struct lane to, from;
    atomic_bool end;
    uint64_t used_ns, steps;
};

static void put(struct lane *l, struct session *s)
{
    unsigned int at = atomic_load_explicit(&l->written, memory_order_relaxed);

    l->slot[at % HELPER_SESSIONS_MAX] = s;
    atomic_store_explicit(&l->written, at + 1, memory_order_release);
}

static struct session *get(struct lane *l)
{
    unsigned int at = atomic_load_explicit(&l->read, memory_order_relaxed);

    if (at == atomic_load_explicit(&l->written, memory_order_acquire))
        return NULL;
    struct session *s = l->slot[at % HELPER_SESSIONS_MAX];
    atomic_store_explicit(&l->read, at + 1, memory_order_release);
    return s;
}

static void *work(void *helper)
{
    struct helper *h = helper;
    struct session *s;
    struct timespec used;

    for (;;) {
        while (sem_wait(&h->work) != 0)
            continue;
        if (atomic_load_explicit(&h->end, memory_order_relaxed))
            break;
        if ((s = get(&h->to)) == NULL)
            continue;
        session_shake_away(s);
        h->steps++;
        put(&h->from, s);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    h->used_ns = (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
    return NULL;
}

struct helper *helper_new(void)
{
    struct helper *h = calloc(1, sizeof *h);
    struct sched_param none = {0};

    if (h == NULL || sem_init(&h->work, 0, 0) != 0) {
        free(h);
        return NULL;
    }
    if (pthread_create(&h->thread, NULL, work, h) != 0) {
        sem_destroy(&h->work);
        free(h);
        return NULL;
    }
    (void)pthread_setschedparam(h->thread, SCHED_IDLE, &none);
    return h;
}

void helper_give(struct helper *h, struct session *s)
{
    put(&h->to, s);
    sem_post(&h->work);
}

struct session *helper_take(struct helper *h)
{
    return get(&h->from);
}

void helper_free(struct helper *h, uint64_t *used_ns, uint64_t *steps)
{
    atomic_store_explicit(&h->end, true, memory_order_relaxed);
    sem_post(&h->work);
    pthread_join(h->thread, NULL);
    *used_ns = h->used_ns;
    *steps = h->steps;
    sem_destroy(&h->work);
    free(h);
}
