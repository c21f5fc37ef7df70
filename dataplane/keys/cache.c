/* A worker's keyed cipher contexts, found by the version's record.  An entry is good for one generation: the
 * record behind it may be wiped and used again only after this worker has flushed. */
#include "dataplane/keys/keys_priv.h"

#include "base/check.h"

static struct cache_entry *set_of(const struct keys_worker *w, const struct version *v)
{
    uint64_t line = (uint64_t)(uintptr_t)v / sizeof *v;

    /* Fibonacci hashing: neighbours in the slab fall into different sets. */
    return w->cache + (line * 0x9e3779b97f4a7c15u >> 32) % CACHE_SETS * CACHE_WAYS;
}

static struct cache_entry *victim_of(struct keys_worker *w, struct cache_entry *set)
{
    for (size_t i = 0; i < CACHE_WAYS; i++) {
        if (set[i].version == NULL)
            return &set[i];
    }
    return &set[w->cache_victim++ % CACHE_WAYS];
}

static void entry_clear(struct keys_worker *w, struct cache_entry *e)
{
    if (e->version == NULL)
        return;
    aead_key_free(e->key);
    *e = (struct cache_entry){NULL, NULL, 0};
    w->cache_count--;
}

/* An entry that gives way leaves its context, which is keyed anew: that costs half of freeing it and making one. */
static bool entry_fill(struct keys_worker *w, struct cache_entry *e, const struct version *v,
                       uint64_t generation)
{
    if (e->version != NULL && !aead_key_change(e->key, v->material)) {
        entry_clear(w, e);
        return false;
    }
    if (e->version == NULL) {
        e->key = aead_key_new(w->aead, v->material);
        if (e->key == NULL)
            return false;
        w->cache_count++;
    }
    e->version = v;
    e->generation = generation;
    return true;
}

struct aead_key *cache_get(struct keys_worker *w, const struct version *v)
{
    uint64_t generation = atomic_load_explicit(&w->flushed, memory_order_relaxed);
    struct cache_entry *set = set_of(w, v);

    for (size_t i = 0; i < CACHE_WAYS; i++) {
        if (set[i].version == v) {
            CHECK(set[i].generation == generation);
            return set[i].key;
        }
    }
    count(w->counters, REASON_KEYS_CONTEXT_MISS);
    struct cache_entry *e = victim_of(w, set);
    return entry_fill(w, e, v, generation) ? e->key : NULL;
}

void cache_fetch(const struct keys_worker *w, const struct version *v)
{
    const struct cache_entry *set = set_of(w, v);

    __builtin_prefetch(set);
    __builtin_prefetch(set + CACHE_WAYS - 1);
}

void cache_flush(struct keys_worker *w)
{
    if (w->cache_count != 0)
        count_by(w->counters, REASON_KEYS_CONTEXT_FLUSHED, w->cache_count);
    for (size_t i = 0; w->cache_count != 0 && i < CACHE_SETS * CACHE_WAYS; i++)
        entry_clear(w, &w->cache[i]);
    aead_worker_forget(w->aead);
}
