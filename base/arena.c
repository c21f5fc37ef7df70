#include "base/arena.h"

#include "base/check.h"
#include "base/secret.h"

#include <stdlib.h>
#include <sys/mman.h>

#define CACHE_LINE 64

struct arena {
    uint8_t *base;
    size_t cap;
    size_t used;
    bool sealed;
    bool secret;
};

struct arena *arena_new(size_t cap, bool secret)
{
    struct arena *a = calloc(1, sizeof *a);

    if (a == NULL)
        return NULL;
    if (secret) {
        a->base = secret_pages_alloc(cap);
    } else {
        a->base = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (a->base == MAP_FAILED)
            a->base = NULL;
    }
    if (a->base == NULL) {
        free(a);
        return NULL;
    }
    a->cap = cap;
    a->secret = secret;
    return a;
}

void arena_free(struct arena *a)
{
    if (a == NULL)
        return;
    if (a->secret)
        secret_pages_free(a->base, a->cap);
    else
        CHECK(munmap(a->base, a->cap) == 0);
    free(a);
}

void *arena_alloc(struct arena *a, size_t size, size_t align)
{
    size_t at = (a->used + align - 1) & ~(align - 1);

    CHECK(!a->sealed);
    CHECK(align != 0 && (align & (align - 1)) == 0);
    CHECK(at <= a->cap && size <= a->cap - at);
    a->used = at + size;
    return a->base + at;
}

void arena_seal(struct arena *a)
{
    a->sealed = true;
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}

void slab_init(struct slab *s, struct arena *a, size_t object_size, size_t capacity, bool wipe_on_give)
{
    size_t size = (object_size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;

    s->base = arena_alloc(a, size * capacity, CACHE_LINE);
    s->object_size = size;
    s->capacity = capacity;
    s->free_count = capacity;
    s->wipe_on_give = wipe_on_give;
    s->free_head = NULL;
    for (size_t i = capacity; i > 0; i--) {
        void **object = (void **)(s->base + (i - 1) * size);
        *object = s->free_head;
        s->free_head = object;
    }
}

void *slab_take(struct slab *s)
{
    void **object = s->free_head;

    if (object == NULL)
        return NULL;
    s->free_head = *object;
    s->free_count--;
    return object;
}

void slab_give(struct slab *s, void *object)
{
    size_t at = (size_t)((uint8_t *)object - s->base);

    CHECK(at < s->object_size * s->capacity && at % s->object_size == 0);
    CHECK(s->free_count < s->capacity);
    if (s->wipe_on_give)
        secret_wipe(object, s->object_size);
    *(void **)object = s->free_head;
    s->free_head = object;
    s->free_count++;
}
