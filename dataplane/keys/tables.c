/* Two open-addressed indexes over the same keys, linear probing, at most half full.  by_path is what readers
 * probe: its slots hold the hash, so that only the right key's record is touched; the path's hash is keyed,
 * because paths come off the wire.  by_id is the writer's. */
#include "dataplane/keys/keys_priv.h"

#include "base/check.h"

#include <stdlib.h>

static uint64_t slots_for(uint64_t count)
{
    uint64_t slots = 16;

    while (slots < 2 * count)
        slots *= 2;
    return slots;
}

size_t table_room(const struct keys *k)
{
    return 2 * (size_t)k->config.keys_max;
}

struct table *table_new(struct keys *k)
{
    struct table *t = keys_heap_take(k, sizeof *t);
    uint64_t id_slots = slots_for(table_room(k));

    if (t == NULL)
        return NULL;
    t->id_mask = id_slots - 1;
    t->keys = keys_heap_take(k, table_room(k) * sizeof *t->keys);
    t->by_id = keys_heap_take(k, id_slots * sizeof *t->by_id);
    if (t->keys == NULL || t->by_id == NULL) {
        table_free(k, t);
        return NULL;
    }
    return t;
}

void table_free(struct keys *k, struct table *t)
{
    if (t == NULL)
        return;
    keys_heap_give(k, t->keys, table_room(k) * sizeof *t->keys);
    keys_heap_give(k, t->by_id, (t->id_mask + 1) * sizeof *t->by_id);
    if (t->by_path != NULL)
        keys_heap_give(k, t->by_path, (t->path_mask + 1) * sizeof *t->by_path);
    keys_heap_give(k, t, sizeof *t);
}

/* The slot that holds this id, or the empty one where it would go.  A key that went keeps its slot. */
static uint32_t *id_slot(const struct keys *k, const struct table *t, const uint8_t *id)
{
    uint64_t i = siphash(&k->hash_key, span_of(id, KEY_ID_LEN)) & t->id_mask;

    for (;; i = (i + 1) & t->id_mask) {
        if (t->by_id[i] == 0)
            return &t->by_id[i];
        const struct key *key = t->keys[t->by_id[i] - 1];
        if (key != NULL && memcmp(key->id, id, KEY_ID_LEN) == 0)
            return &t->by_id[i];
    }
}

struct key *table_find_id(const struct keys *k, const struct table *t, const uint8_t id[KEY_ID_LEN])
{
    uint32_t place = *id_slot(k, t, id);

    return place == 0 ? NULL : t->keys[place - 1];
}

void table_add(struct keys *k, struct table *t, struct key *key)
{
    CHECK(t->count < table_room(k));
    uint32_t *slot = id_slot(k, t, key->id);
    CHECK(*slot == 0);
    t->keys[t->count++] = key;
    t->keys_live++;
    *slot = t->count;
}

void table_replace(const struct keys *k, struct table *t, const uint8_t id[KEY_ID_LEN], struct key *by)
{
    uint32_t place = *id_slot(k, t, id);

    CHECK(place != 0);
    t->keys[place - 1] = by;
    if (by == NULL)
        t->keys_live--;
}

static bool path_add(struct table *t, const struct key *key)
{
    uint64_t i = key->path_hash & t->path_mask;

    for (; t->by_path[i].key != NULL; i = (i + 1) & t->path_mask) {
        if (t->by_path[i].hash == key->path_hash && span_equal(key_path(t->by_path[i].key), key_path(key)))
            return false;
    }
    t->by_path[i] = (struct path_slot){key->path_hash, key};
    return true;
}

int table_index_paths(struct keys *k, struct table *t)
{
    uint64_t slots = slots_for(t->keys_live);

    t->by_path = keys_heap_take(k, slots * sizeof *t->by_path);
    if (t->by_path == NULL)
        return CTL_REFUSE_FULL;
    t->path_mask = slots - 1;
    for (uint32_t i = 0; i < t->count; i++) {
        if (t->keys[i] != NULL && !path_add(t, t->keys[i]))
            return CTL_REFUSE_CONFLICT;
    }
    return 0;
}

/* Where there are many keys none of this is in a cache.  The record's lines come side by side ... */
static void fetch_record(const struct key *key)
{
    __builtin_prefetch(key);
    __builtin_prefetch((const uint8_t *)key + 64);
    __builtin_prefetch((const uint8_t *)key + 128);
    __builtin_prefetch((const uint8_t *)key + 192);
}

/* ... and what it points to while the policy and the body are looked at. */
static void fetch_version(const struct keys_worker *w, const struct key *key)
{
    __builtin_prefetch(key->wraps);
    __builtin_prefetch(key->tags);
    cache_fetch(w, key->wraps);
}

const struct key *keys_find(struct keys_worker *w, struct span path)
{
    const struct table *t = atomic_load_explicit(&w->keys->table, memory_order_acquire);
    uint64_t hash = siphash(&w->keys->hash_key, path);

    for (uint64_t i = hash & t->path_mask; t->by_path[i].key != NULL; i = (i + 1) & t->path_mask) {
        if (t->by_path[i].hash != hash)
            continue;
        const struct key *key = t->by_path[i].key;
        fetch_record(key);
        if (!span_equal(key_path(key), path))
            continue;
        fetch_version(w, key);
        return key;
    }
    return NULL;
}

const struct version *key_version_by_tag(const struct key *key, uint64_t tag)
{
    for (uint64_t i = tag & key->tag_mask; key->tags[i].version != NULL; i = (i + 1) & key->tag_mask) {
        if (key->tags[i].tag == tag)
            return key->tags[i].version;
    }
    return NULL;
}

/* ---- what a decision needs ---- */

enum key_state key_lifecycle(const struct key *k)
{
    return (enum key_state)k->state;
}

const uint8_t *key_id(const struct key *k)
{
    return k->id;
}

uint16_t key_deny_status(const struct key *k)
{
    return k->deny_status;
}

bool key_allows_caller(const struct key *k, struct span email)
{
    const uint8_t *at = k->text + k->path_len;

    for (size_t i = 0; i < k->caller_count; i++) {
        if (span_equal(span_of(at + 1, at[0]), email))
            return true;
        at += 1 + at[0];
    }
    return false;
}

bool key_allows_reason(const struct key *k, uint32_t reason_bit)
{
    return (k->reasons_allowed & reason_bit) != 0;
}
