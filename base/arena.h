/* All memory a worker will ever use, taken at start: a bump allocator over one mapping, then sealed.
 *
 * After arena_seal() an allocation is a CHECK, so nothing on the request path can grow.  arena_used() is what
 * docs and the status line print.  Memory comes zeroed.  Nothing is freed one by one; arena_free() gives back
 * the whole. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/check.h"
#include "base/span.h"

struct arena;

/* secret: the pages are locked, left out of dumps and wiped on free (base/secret.h).  NULL when the kernel
 * refuses. */
struct arena *MUST_USE arena_new(size_t cap, bool secret);
void arena_free(struct arena *a);

/* align: a power of two.  CHECK when the arena is full or sealed: sizes are sums in limits.h and config, not
 * guesses. */
void *MUST_USE arena_alloc(struct arena *a, size_t size, size_t align);
void arena_seal(struct arena *a);
size_t arena_used(const struct arena *a);
/* len bytes of an arena, all of which may be in use, are about to be looked into at random: asks the kernel for large
 * pages, so that a look misses the cache alone and not the page tables too.  Before they are first touched. */
void arena_large_pages(const void *at, size_t len);

/* Equal-sized objects from an arena, taken and given back in O(1); last in, first out, for warm caches.  An object that was never
 * taken has not been touched either, and costs no memory.  slab_take: NULL when all are out; contents are whatever the last user
 * left.  wipe_on_give zeroes what comes back.
 *
 * The one given last waits apart, in last_given: what is given and taken in turns, as a buffer is that each request needs for a
 * while, goes through no list. */
struct slab {
    void *last_given; /* NULL: none; always so where what comes back is wiped */
    void *free_head;
    uint8_t *base;
    size_t object_size; /* from one to the next */
    size_t capacity;
    size_t free_count;
    size_t ever_taken;  /* those from here on never were */
    uint64_t inverse;   /* of object_size's odd factor, modulo 2^64; its even one is 2^shift */
    size_t given_apart; /* capacity; 0 where what comes back is wiped */
    uint32_t shift;
};

/* What slab_init takes from its arena. */
size_t slab_memory_needed(size_t object_size, size_t capacity);

void slab_init(struct slab *s, struct arena *a, size_t object_size, size_t capacity, bool wipe_on_give);
/* What the two below do where it takes more. */
void *MUST_USE slab_take_listed(struct slab *s);
void slab_give_listed(struct slab *s, void *object);

static inline void *MUST_USE slab_take(struct slab *s)
{
    void *object = s->last_given;

    if (__builtin_expect(object == NULL, 0))
        return slab_take_listed(s);
    s->last_given = NULL;
    s->free_count--;
    return object;
}

static inline void slab_give(struct slab *s, void *object)
{
    uint64_t at = (uint64_t)((uint8_t *)object - s->base) * s->inverse;

    /* Whether it is one of ours: what object_size does not divide comes out above every quotient (Granlund and Montgomery, 1994, 9). */
    if (__builtin_expect(s->last_given != NULL || (at >> s->shift | at << (-s->shift & 63)) >= s->given_apart,
                         0)) {
        slab_give_listed(s, object);
        return;
    }
    s->last_given = object;
    s->free_count++;
}

#endif
