/* Key records live in the writer's heap, versions in the secret slab.  A key that changes is cloned; the
 * versions that stay are shared by the old and the new record until the old one is released. */
#include "dataplane/keys/keys_priv.h"

#include "base/check.h"
#include "base/secret.h"
#include "base/secret_priv.h"

#include <stdlib.h>

void *keys_heap_take(struct keys *k, size_t len)
{
    void *p = calloc(1, len);

    if (p != NULL)
        k->heap_bytes += len;
    return p;
}

void keys_heap_give(struct keys *k, void *ptr, size_t len)
{
    if (ptr != NULL)
        k->heap_bytes -= len;
    free(ptr);
}

static size_t record_len(size_t text_len)
{
    return sizeof(struct key) + text_len;
}

static size_t text_len_of(const struct ctl_key *m)
{
    size_t len = m->path.len;

    for (size_t i = 0; i < m->caller_count; i++)
        len += 1 + m->callers[i].len;
    return len;
}

struct key *key_new(struct keys *k, const struct ctl_key *m)
{
    size_t text_len = text_len_of(m);
    struct key *key = keys_heap_take(k, record_len(text_len));

    if (key == NULL)
        return NULL;
    key->path_hash = siphash(&k->hash_key, m->path);
    key->reasons_allowed = m->reasons_allowed;
    key->primary_version = m->primary_version;
    key->deny_status = m->deny_status;
    key->path_len = (uint16_t)m->path.len;
    key->state = m->state;
    key->caller_count = m->caller_count;
    memcpy(key->id, m->id, KEY_ID_LEN);
    key->described = true;
    key->txn = k->txn;
    key->text_len = text_len;
    struct writer w = writer_of(key->text, text_len);
    write_bytes(&w, m->path);
    for (size_t i = 0; i < m->caller_count; i++) {
        write_u8(&w, (uint8_t)m->callers[i].len);
        write_bytes(&w, m->callers[i]);
    }
    CHECK(writer_ok(&w));
    return key;
}

struct span key_path(const struct key *key)
{
    return span_of(key->text, key->path_len);
}

static bool versions_reserve(struct keys *k, struct key *key, uint32_t cap)
{
    if (cap <= key->version_cap)
        return true;
    struct version **grown = keys_heap_take(k, cap * sizeof *grown);
    if (grown == NULL)
        return false;
    if (key->version_count != 0)
        memcpy(grown, key->versions, key->version_count * sizeof *grown);
    keys_heap_give(k, key->versions, key->version_cap * sizeof *key->versions);
    key->versions = grown;
    key->version_cap = cap;
    return true;
}

struct key *key_clone(struct keys *k, const struct key *from)
{
    struct key *key = keys_heap_take(k, record_len(from->text_len));

    if (key == NULL)
        return NULL;
    memcpy(key, from, record_len(from->text_len));
    key->wraps = NULL;
    key->tags = NULL;
    key->tag_mask = 0;
    key->described = false;
    key->txn = k->txn;
    key->versions = NULL;
    key->version_count = 0;
    key->version_cap = 0;
    if (!versions_reserve(k, key, from->version_count + 1)) {
        key_release(k, key);
        return NULL;
    }
    for (uint32_t i = 0; i < from->version_count; i++) {
        key->versions[i] = from->versions[i];
        key->versions[i]->refs++;
    }
    key->version_count = from->version_count;
    return key;
}

static void version_drop(struct keys *k, struct version *v)
{
    if (--v->refs == 0)
        slab_give(&k->versions, v); /* wipes */
}

void key_release(struct keys *k, struct key *key)
{
    for (uint32_t i = 0; i < key->version_count; i++)
        version_drop(k, key->versions[i]);
    keys_heap_give(k, key->versions, key->version_cap * sizeof *key->versions);
    if (key->tags != NULL)
        keys_heap_give(k, key->tags, ((size_t)key->tag_mask + 1) * sizeof *key->tags);
    keys_heap_give(k, key, record_len(key->text_len));
}

void key_take_versions(struct key *key, struct key *from)
{
    key->versions = from->versions;
    key->version_count = from->version_count;
    key->version_cap = from->version_cap;
    from->versions = NULL;
    from->version_count = 0;
    from->version_cap = 0;
}

static struct version *version_new(struct keys *k, const struct ctl_key_version *m)
{
    struct version *v = slab_take(&k->versions);

    if (v == NULL)
        return NULL;
    memset(v, 0, sizeof *v);
    memcpy(&v->tag, m->tag, sizeof v->tag);
    v->txn = k->txn;
    v->number = m->version;
    v->refs = 1;
    v->state = m->state;
    struct span material = secret_expose(m->material);
    CHECK(material.len == 0 || material.len == KEY_MATERIAL_LEN);
    if (material.len != 0)
        memcpy(v->material, material.ptr, material.len);
    return v;
}

/* A version that is there already may change its state and lose its material, nothing else: a number or a tag
 * that came to mean another key would make blobs unreadable. */
static bool may_become(const struct version *v, const struct ctl_key_version *m)
{
    struct span material = secret_expose(m->material);

    if (memcmp(&v->tag, m->tag, sizeof v->tag) != 0)
        return false;
    return v->state == KEY_STATE_DESTROYED || material.len == 0 ||
           secret_equal(v->material, material.ptr, KEY_MATERIAL_LEN);
}

/* The place of the carried-over version with this number; version_count when there is none.  Those of this
 * transaction are compared in key_finish, all at once. */
static uint32_t carried_over(const struct key *key, uint32_t number, uint64_t txn)
{
    for (uint32_t i = 0; i < key->version_count && key->versions[i]->txn != txn; i++) {
        if (key->versions[i]->number == number)
            return i;
    }
    return key->version_count;
}

int key_put_version(struct keys *k, struct key *key, const struct ctl_key_version *m)
{
    uint32_t at = carried_over(key, m->version, k->txn);

    if (at < key->version_count && !may_become(key->versions[at], m))
        return CTL_REFUSE_CONFLICT;
    if (at == key->version_count && key->version_count >= KEY_VERSIONS_PER_KEY)
        return CTL_REFUSE_FULL;
    if (at == key->version_count && at == key->version_cap &&
        !versions_reserve(k, key, key->version_cap == 0 ? 4 : 2 * key->version_cap))
        return CTL_REFUSE_FULL;
    struct version *v = version_new(k, m);
    if (v == NULL)
        return CTL_REFUSE_FULL;
    if (at < key->version_count) {
        /* The last carried-over one takes its place, so that those of this transaction stay together at the
         * end. */
        uint32_t last = at;
        while (last + 1 < key->version_count && key->versions[last + 1]->txn != k->txn)
            last++;
        version_drop(k, key->versions[at]);
        key->versions[at] = key->versions[last];
        key->versions[last] = v;
    } else {
        key->versions[key->version_count++] = v;
    }
    return 0;
}

static int by_number(const void *a, const void *b)
{
    const struct version *x = *(struct version *const *)a;
    const struct version *y = *(struct version *const *)b;

    return x->number < y->number ? -1 : x->number > y->number;
}

static int index_tags(struct keys *k, struct key *key)
{
    uint32_t slots = 2;

    while (slots < 2 * key->version_count)
        slots *= 2;
    key->tags = keys_heap_take(k, slots * sizeof *key->tags);
    if (key->tags == NULL)
        return CTL_REFUSE_FULL;
    key->tag_mask = slots - 1;
    for (uint32_t i = 0; i < key->version_count; i++) {
        const struct version *v = key->versions[i];
        uint64_t at = v->tag & key->tag_mask;
        for (; key->tags[at].version != NULL; at = (at + 1) & key->tag_mask) {
            if (key->tags[at].tag == v->tag)
                return CTL_REFUSE_CONFLICT;
        }
        key->tags[at] = (struct tag_slot){v->tag, v};
    }
    return 0;
}

int key_finish(struct keys *k, struct key *key)
{
    const struct version *primary = NULL;

    if (key->version_count != 0)
        qsort(key->versions, key->version_count, sizeof(struct version *), by_number);
    for (uint32_t i = 0; i < key->version_count; i++) {
        if (i != 0 && key->versions[i - 1]->number == key->versions[i]->number)
            return CTL_REFUSE_CONFLICT;
        if (key->versions[i]->number == key->primary_version)
            primary = key->versions[i];
    }
    if (key->primary_version != 0 && primary == NULL)
        return CTL_REFUSE_CONFLICT;
    if (primary != NULL && key->state == KEY_STATE_ENABLED && primary->state == KEY_STATE_ENABLED)
        key->wraps = primary;
    return index_tags(k, key);
}
