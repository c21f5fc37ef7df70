/* A worker's part of the grace period: it flushes, says which generation it flushed for, and only then is
 * quiescent for RCU. */
#include "dataplane/keys/keys_priv.h"

#include "base/check.h"
#include "base/secret.h"

#include <stdlib.h>
#include <urcu-qsbr.h>

/* RCU knows threads, not workers: a simulator runs several workers on one. */
static _Thread_local unsigned workers_here;
static _Thread_local unsigned online_here;

static void rcu_enter(void)
{
    if (workers_here++ == 0)
        urcu_qsbr_register_thread(); /* online from here */
    else if (online_here == 0)
        urcu_qsbr_thread_online();
    online_here++;
}

static void rcu_leave(bool online)
{
    if (online)
        online_here--;
    if (--workers_here == 0)
        urcu_qsbr_unregister_thread();
    else if (online && online_here == 0)
        urcu_qsbr_thread_offline();
}

static bool list_join(struct keys *k, struct keys_worker *w)
{
    bool joined = false;

    CHECK(pthread_mutex_lock(&k->workers_lock) == 0);
    for (size_t i = 0; i < WORKERS_MAX && !joined; i++) {
        if (k->workers[i] == NULL) {
            k->workers[i] = w;
            joined = true;
        }
    }
    CHECK(pthread_mutex_unlock(&k->workers_lock) == 0);
    return joined;
}

static void list_leave(struct keys *k, const struct keys_worker *w)
{
    CHECK(pthread_mutex_lock(&k->workers_lock) == 0);
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        if (k->workers[i] == w)
            k->workers[i] = NULL;
    }
    CHECK(pthread_mutex_unlock(&k->workers_lock) == 0);
}

/* Two workers seeded alike would draw the same nonces: each mixes in its number. */
static struct rng *nonce_pool(struct keys *k)
{
    uint8_t seed[32];

    CHECK(pthread_mutex_lock(&k->workers_lock) == 0);
    uint32_t number = k->workers_ever++;
    CHECK(pthread_mutex_unlock(&k->workers_lock) == 0);
    if (!k->config.verify_rng_seeded_for_tests)
        return rng_new(NULL);
    memcpy(seed, k->config.seed, sizeof seed);
    for (size_t i = 0; i < sizeof number; i++)
        seed[i] = (uint8_t)(seed[i] ^ number >> (8 * i));
    return rng_new(seed);
}

struct keys_worker *keys_worker_new(struct keys *k, struct counters *counters)
{
    struct keys_worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->keys = k;
    w->counters = counters;
    w->aead = aead_worker_new();
    w->rng = nonce_pool(k);
    w->scratch = secret_pages_alloc(EKM_PLAINTEXT_MAX);
    w->cache = calloc(CACHE_SETS * CACHE_WAYS, sizeof *w->cache);
    if (w->aead == NULL || w->rng == NULL || w->scratch == NULL || w->cache == NULL || !list_join(k, w)) {
        keys_worker_free(w);
        return NULL;
    }
    w->registered = true;
    rcu_enter();
    atomic_store(&w->online, true);
    atomic_store(&w->flushed, atomic_load(&k->generation));
    return w;
}

void keys_worker_free(struct keys_worker *w)
{
    if (w == NULL)
        return;
    if (w->cache != NULL)
        cache_flush(w);
    if (w->registered) {
        rcu_leave(atomic_load(&w->online));
        list_leave(w->keys, w);
    }
    free(w->cache);
    secret_pages_free(w->scratch, EKM_PLAINTEXT_MAX);
    rng_free(w->rng);
    aead_worker_free(w->aead);
    free(w);
}

void keys_quiescent(struct keys_worker *w)
{
    uint64_t generation = atomic_load_explicit(&w->keys->generation, memory_order_acquire);

    if (atomic_load_explicit(&w->flushed, memory_order_relaxed) != generation) {
        cache_flush(w);
        atomic_store_explicit(&w->flushed, generation, memory_order_release);
    }
    urcu_qsbr_quiescent_state();
}

void keys_offline(struct keys_worker *w)
{
    cache_flush(w); /* asleep, it could not do so when a key is revoked */
    CHECK(atomic_load_explicit(&w->online, memory_order_relaxed));
    atomic_store(&w->online, false);
    if (--online_here == 0)
        urcu_qsbr_thread_offline();
}

/* Both sequentially consistent, and the writer stores the generation before it reads `online`: either the
 * writer sees this worker online, or this worker sees the writer's table. */
void keys_online(struct keys_worker *w)
{
    CHECK(!atomic_load_explicit(&w->online, memory_order_relaxed));
    if (online_here++ == 0)
        urcu_qsbr_thread_online();
    atomic_store(&w->online, true);
    atomic_store(&w->flushed, atomic_load(&w->keys->generation));
}
