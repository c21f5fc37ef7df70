#include "base/arena.h"

#include "base/secret.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CACHE_LINE 64
#define PAGE_LINES (4096 / CACHE_LINE)

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

/* A cache line more where objects would lie whole pages apart: their first bytes, which are used most, would all compete for the
 * same few places of the caches. */
static size_t slab_stride(size_t object_size)
{
    size_t lines = (object_size + CACHE_LINE - 1) / CACHE_LINE;

    return (lines % PAGE_LINES == 0 ? lines + 1 : lines) * CACHE_LINE;
}

size_t slab_memory_needed(size_t object_size, size_t capacity)
{
    return slab_stride(object_size) * capacity + CACHE_LINE;
}

void arena_large_pages(const void *at, size_t len)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)at + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)at + len) & ~(page - 1);

    if (from < end)
        (void)madvise((void *)from, end - from,
                      MADV_HUGEPAGE); /* a kernel without them refuses: nothing is lost */
}

/* Modulo 2^64; five bits of an odd number are right to begin with, and each step doubles them. */
static uint64_t inverse_of(uint64_t odd)
{
    uint64_t x = (3 * odd) ^ 2;

    for (int bits = 5; bits < 64; bits *= 2)
        x *= 2 - odd * x;
    return x;
}

void slab_init(struct slab *s, struct arena *a, size_t object_size, size_t capacity, bool wipe_on_give)
{
    size_t stride = slab_stride(object_size);
    uint32_t shift = (uint32_t)__builtin_ctzll(stride);

    *s = (struct slab){
        .base = arena_alloc(a, stride * capacity, CACHE_LINE),
        .object_size = stride,
        .capacity = capacity,
        .free_count = capacity,
        .inverse = inverse_of(stride >> shift),
        .shift = shift,
        .given_apart = wipe_on_give ? 0 : capacity,
    };
}

void *slab_take_listed(struct slab *s)
{
    void **object = s->free_head;

    if (s->free_count == 0)
        return NULL;
    s->free_count--;
    if (object == NULL)
        return s->base + s->ever_taken++ * s->object_size;
    s->free_head = *object;
    return object;
}

void slab_give_listed(struct slab *s, void *object)
{
    uint64_t at = (uint64_t)((uint8_t *)object - s->base) * s->inverse;

    CHECK((at >> s->shift | at << (-s->shift & 63)) < s->capacity);
    CHECK(s->free_count < s->capacity && object != s->last_given);
    s->free_count++;
    if (s->given_apart == 0) {
        secret_wipe(object, s->object_size);
    } else {
        void *waiting = s->last_given;
        s->last_given = object;
        object = waiting;
    }
    *(void **)object = s->free_head;
    s->free_head = object;
}
