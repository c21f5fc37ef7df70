#include "ctrl/keys/registry.h"

#include "base/check.h"
#include "base/siphash.h"

#include <stdlib.h>

/* Paths come from operators and ids from our own generator: a fixed key is enough. */
static const struct siphash_key hash_key = {0x7772617020777261, 0x7020777261702077};

/* Slots hold a record's index + 1; 0 is free.  Nothing is ever taken out. */
struct index {
    uint32_t *slots;
    size_t cap;
};

struct registry {
    const struct key_record **records;
    size_t count, cap;
    struct index by_path, by_id;
};

struct registry *registry_new(void)
{
    struct registry *g = calloc(1, sizeof *g);

    CHECK(g != NULL);
    return g;
}

void registry_free(struct registry *g)
{
    if (g == NULL)
        return;
    for (size_t i = 0; i < g->count; i++)
        record_unref(g->records[i]);
    free(g->records);
    free(g->by_path.slots);
    free(g->by_id.slots);
    free(g);
}

static struct span path_of(const struct key_record *r)
{
    return span_str(r->path);
}

static struct span id_of(const struct key_record *r)
{
    return span_of(r->id, KEY_ID_LEN);
}

/* The slot that holds what, or the free one where it would go. */
static size_t index_slot(const struct registry *g, const struct index *x, struct span what,
                         struct span (*name)(const struct key_record *))
{
    size_t i = (size_t)siphash(&hash_key, what) & (x->cap - 1);

    while (x->slots[i] != 0 && !span_equal(name(g->records[x->slots[i] - 1]), what))
        i = (i + 1) & (x->cap - 1);
    return i;
}

static void index_rebuild(const struct registry *g, struct index *x, size_t cap,
                          struct span (*name)(const struct key_record *))
{
    free(x->slots);
    x->cap = cap;
    x->slots = calloc(cap, sizeof *x->slots);
    CHECK(x->slots != NULL);
    for (size_t i = 0; i < g->count; i++)
        x->slots[index_slot(g, x, name(g->records[i]), name)] = (uint32_t)(i + 1);
}

static const struct key_record *find(const struct registry *g, const struct index *x, struct span what,
                                     struct span (*name)(const struct key_record *))
{
    if (x->cap == 0)
        return NULL;
    uint32_t at = x->slots[index_slot(g, x, what, name)];
    return at == 0 ? NULL : g->records[at - 1];
}

const struct key_record *registry_by_path(const struct registry *g, struct span path)
{
    return find(g, &g->by_path, path, path_of);
}

const struct key_record *registry_by_id(const struct registry *g, const uint8_t id[KEY_ID_LEN])
{
    return find(g, &g->by_id, span_of(id, KEY_ID_LEN), id_of);
}

static void grow(struct registry *g)
{
    size_t cap = g->cap == 0 ? 64 : g->cap * 2;
    const struct key_record **more = realloc(g->records, cap * sizeof *more);

    CHECK(more != NULL && cap < UINT32_MAX / 4);
    g->records = more;
    g->cap = cap;
    index_rebuild(g, &g->by_path, cap * 2, path_of);
    index_rebuild(g, &g->by_id, cap * 2, id_of);
}

void registry_put(struct registry *g, const struct key_record *r)
{
    if (g->count == g->cap)
        grow(g);
    size_t id_slot = index_slot(g, &g->by_id, id_of(r), id_of);
    size_t path_slot = index_slot(g, &g->by_path, path_of(r), path_of);
    uint32_t at = g->by_id.slots[id_slot];

    CHECK(g->by_path.slots[path_slot] == at);
    if (at != 0) {
        record_unref(g->records[at - 1]);
        g->records[at - 1] = r;
        return;
    }
    g->records[g->count++] = r;
    g->by_id.slots[id_slot] = (uint32_t)g->count;
    g->by_path.slots[path_slot] = (uint32_t)g->count;
}

size_t registry_count(const struct registry *g)
{
    return g->count;
}

const struct key_record *registry_at(const struct registry *g, size_t idx)
{
    CHECK(idx < g->count);
    return g->records[idx];
}

struct key_record *registry_loading(struct registry *g, const uint8_t id[KEY_ID_LEN])
{
    const struct key_record *r = registry_by_id(g, id);

    CHECK(r == NULL || r->refs == 1);
    return (struct key_record *)(uintptr_t)r;
}
