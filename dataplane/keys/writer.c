/* A transaction builds the next table beside the published one.  Everything that can fail happens before
 * keys_commit, which swaps one pointer.  What went out of sight lies in a grave until every worker has passed
 * a quiescent state with flushed caches. */
#include "dataplane/keys/keys_priv.h"

#include "base/check.h"
#include "base/secret.h"

#include <stdlib.h>
#include <sys/random.h>
#include <urcu-qsbr.h>

static bool hash_key_draw(struct keys *k)
{
    if (k->config.verify_rng_seeded_for_tests) {
        memcpy(&k->hash_key, k->config.seed, sizeof k->hash_key);
        return true;
    }
    return getrandom(&k->hash_key, sizeof k->hash_key, 0) == (ssize_t)sizeof k->hash_key;
}

/* While a transaction is staged, the versions of two epochs exist side by side. */
static bool slab_make(struct keys *k)
{
    size_t count = 2 * (size_t)k->config.versions_max;

    k->arena = arena_new(count * sizeof(struct version), true);
    if (k->arena == NULL)
        return false;
    slab_init(&k->versions, k->arena, sizeof(struct version), count, true);
    arena_seal(k->arena);
    return true;
}

struct keys *keys_new(const struct keys_config *c)
{
    struct keys *k = calloc(1, sizeof *k);

    if (k == NULL)
        return NULL;
    k->config = *c;
    CHECK(c->keys_max != 0 && c->versions_max != 0);
    CHECK(pthread_mutex_init(&k->workers_lock, NULL) == 0);
    struct table *empty = hash_key_draw(k) && slab_make(k) ? table_new(k) : NULL;
    if (empty == NULL || table_index_paths(k, empty) != 0) {
        table_free(k, empty);
        arena_free(k->arena);
        pthread_mutex_destroy(&k->workers_lock);
        free(k);
        return NULL;
    }
    atomic_init(&k->table, empty);
    atomic_init(&k->generation, 0);
    return k;
}

static struct table *published(const struct keys *k)
{
    return atomic_load_explicit(&k->table, memory_order_relaxed); /* the writer's own store */
}

static void table_release(struct keys *k, struct table *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        if (t->keys[i] != NULL)
            key_release(k, t->keys[i]);
    }
    table_free(k, t);
}

static void grave_free(struct keys *k, struct grave *g)
{
    keys_heap_give(k, g->keys, g->cap * sizeof *g->keys);
    keys_heap_give(k, g, sizeof *g);
}

static void grave_release(struct keys *k, struct grave *g)
{
    for (uint32_t i = 0; i < g->count; i++)
        key_release(k, g->keys[i]);
    if (g->whole)
        table_release(k, g->table);
    else
        table_free(k, g->table);
    grave_free(k, g);
}

static void graves_release(struct keys *k)
{
    while (k->graves != NULL) {
        struct grave *g = k->graves;
        k->graves = g->next;
        grave_release(k, g);
    }
}

void keys_free(struct keys *k)
{
    if (k == NULL)
        return;
    for (size_t i = 0; i < WORKERS_MAX; i++)
        CHECK(k->workers[i] == NULL);
    keys_rollback(k);
    graves_release(k);
    table_release(k, published(k));
    arena_free(k->arena);
    pthread_mutex_destroy(&k->workers_lock);
    secret_wipe(k, sizeof *k);
    free(k);
}

uint64_t keys_epoch(const struct keys *k)
{
    return k->epoch;
}

/* ---- staging ---- */

static int refuse_begin(const struct keys *k, bool full, uint64_t base_epoch, uint64_t epoch)
{
    if (k->txn_open)
        return CTL_REFUSE_ORDER;
    if (full)
        return epoch < k->epoch ? CTL_REFUSE_EPOCH_OLD : 0;
    if (k->epoch == 0 || base_epoch != k->epoch)
        return CTL_REFUSE_EPOCH_GAP;
    return epoch <= base_epoch ? CTL_REFUSE_EPOCH_OLD : 0;
}

static void carry_over(struct keys *k)
{
    const struct table *t = published(k);

    for (uint32_t i = 0; i < t->count; i++) {
        if (t->keys[i] != NULL)
            table_add(k, k->next, t->keys[i]);
    }
}

int keys_begin(struct keys *k, bool full, uint64_t base_epoch, uint64_t epoch)
{
    int refusal = refuse_begin(k, full, base_epoch, epoch);

    if (refusal != 0)
        return refusal;
    k->txn_open = true;
    k->txn++;
    k->txn_full = full;
    k->txn_closed = false;
    k->txn_checked = false;
    k->txn_epoch = epoch;
    k->next = table_new(k);
    k->next_grave = keys_heap_take(k, sizeof *k->next_grave);
    if (k->next == NULL || k->next_grave == NULL) {
        keys_rollback(k);
        return CTL_REFUSE_FULL;
    }
    k->next_grave->whole = full;
    if (!full)
        carry_over(k);
    return 0;
}

static bool is_staging(const struct keys *k)
{
    return k->txn_open && !k->txn_closed;
}

static bool is_of_this_txn(const struct keys *k, const struct key *key)
{
    return key->txn == k->txn;
}

/* Remembers a published record that the next table no longer holds. */
static bool bury(struct keys *k, struct key *key)
{
    struct grave *g = k->next_grave;

    if (g->count == g->cap) {
        uint32_t cap = g->cap == 0 ? 16 : 2 * g->cap;
        struct key **grown = keys_heap_take(k, cap * sizeof *grown);
        if (grown == NULL)
            return false;
        if (g->count != 0)
            memcpy(grown, g->keys, g->count * sizeof *grown);
        keys_heap_give(k, g->keys, g->cap * sizeof *grown);
        g->keys = grown;
        g->cap = cap;
    }
    g->keys[g->count++] = key;
    return true;
}

/* The record of this id that this transaction may change: a clone of the published one, made at the first
 * change. */
static struct key *key_for_change(struct keys *k, const uint8_t id[KEY_ID_LEN], int *refusal)
{
    struct key *key = table_find_id(k, k->next, id);

    *refusal = key == NULL ? CTL_REFUSE_UNKNOWN_KEY : 0;
    if (key == NULL || is_of_this_txn(k, key))
        return key;
    struct key *clone = key_clone(k, key);
    if (clone == NULL || !bury(k, key)) {
        if (clone != NULL)
            key_release(k, clone);
        *refusal = CTL_REFUSE_FULL;
        return NULL;
    }
    table_replace(k, k->next, id, clone);
    return clone;
}

static int stage_new_key(struct keys *k, const struct ctl_key *m)
{
    if (k->next->keys_live >= k->config.keys_max || k->next->count >= table_room(k))
        return CTL_REFUSE_FULL;
    struct key *key = key_new(k, m);
    if (key == NULL)
        return CTL_REFUSE_FULL;
    table_add(k, k->next, key);
    return 0;
}

int keys_stage_key(struct keys *k, const struct ctl_key *m)
{
    int refusal;

    if (!is_staging(k))
        return CTL_REFUSE_ORDER;
    if (table_find_id(k, k->next, m->id) == NULL)
        return stage_new_key(k, m);
    struct key *old = key_for_change(k, m->id, &refusal);
    if (old == NULL)
        return refusal;
    if (old->described)
        return CTL_REFUSE_CONFLICT;
    struct key *key = key_new(k, m);
    if (key == NULL)
        return CTL_REFUSE_FULL;
    key_take_versions(key, old);
    table_replace(k, k->next, m->id, key);
    key_release(k, old);
    return 0;
}

int keys_stage_version(struct keys *k, const struct ctl_key_version *m)
{
    int refusal;

    if (!is_staging(k))
        return CTL_REFUSE_ORDER;
    struct key *key = key_for_change(k, m->key_id, &refusal);
    return key == NULL ? refusal : key_put_version(k, key, m);
}

int keys_stage_gone(struct keys *k, const struct ctl_key_gone *m)
{
    if (!is_staging(k) || k->txn_full)
        return CTL_REFUSE_ORDER;
    struct key *key = table_find_id(k, k->next, m->key_id);
    if (key == NULL)
        return CTL_REFUSE_UNKNOWN_KEY;
    if (!is_of_this_txn(k, key) && !bury(k, key))
        return CTL_REFUSE_FULL;
    table_replace(k, k->next, m->key_id, NULL);
    if (is_of_this_txn(k, key))
        key_release(k, key);
    return 0;
}

int keys_check(struct keys *k)
{
    uint64_t versions = 0;

    if (!is_staging(k))
        return CTL_REFUSE_ORDER;
    k->txn_closed = true;
    for (uint32_t i = 0; i < k->next->count; i++) {
        struct key *key = k->next->keys[i];
        if (key == NULL)
            continue;
        int refusal = is_of_this_txn(k, key) ? key_finish(k, key) : 0;
        if (refusal != 0)
            return refusal;
        versions += key->version_count;
    }
    if (versions > k->config.versions_max)
        return CTL_REFUSE_FULL;
    k->next->versions_live = (uint32_t)versions;
    int refusal = table_index_paths(k, k->next);
    k->txn_checked = refusal == 0;
    return refusal;
}

void keys_commit(struct keys *k)
{
    CHECK(k->txn_open && k->txn_checked);
    k->next_grave->table = published(k);
    k->next_grave->next = k->graves;
    k->graves = k->next_grave;
    atomic_store_explicit(&k->table, k->next, memory_order_release);
    /* After the table: whoever sees the new generation sees the new table. */
    atomic_fetch_add(&k->generation, 1);
    k->epoch = k->txn_epoch;
    k->next = NULL;
    k->next_grave = NULL;
    k->txn_open = false;
}

void keys_rollback(struct keys *k)
{
    if (!k->txn_open)
        return;
    for (uint32_t i = 0; k->next != NULL && i < k->next->count; i++) {
        if (k->next->keys[i] != NULL && is_of_this_txn(k, k->next->keys[i]))
            key_release(k, k->next->keys[i]);
    }
    table_free(k, k->next);
    if (k->next_grave != NULL)
        grave_free(k, k->next_grave);
    k->next = NULL;
    k->next_grave = NULL;
    k->txn_open = false;
}

/* ---- settling ---- */

static bool every_worker_flushed(struct keys *k)
{
    uint64_t generation = atomic_load(&k->generation);
    bool all = true;

    CHECK(pthread_mutex_lock(&k->workers_lock) == 0);
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        const struct keys_worker *w = k->workers[i];
        if (w != NULL && atomic_load(&w->online) && atomic_load(&w->flushed) != generation)
            all = false;
    }
    CHECK(pthread_mutex_unlock(&k->workers_lock) == 0);
    return all;
}

bool keys_settled(struct keys *k)
{
    if (k->graves == NULL)
        return true;
    if (!every_worker_flushed(k))
        return false;
    /* Every worker has been through keys_quiescent since the commit, so this waits for one more turn at the
     * most.  Called on a worker's own thread (the simulator) it takes that thread offline meanwhile. */
    urcu_qsbr_synchronize_rcu();
    graves_release(k);
    return true;
}

void keys_gauges(const struct keys *k, struct keys_gauges *out)
{
    const struct table *t = published(k);

    out->keys = t->keys_live;
    out->versions = t->versions_live;
    out->memory_bytes = sizeof *k + arena_used(k->arena) + k->heap_bytes;
}
