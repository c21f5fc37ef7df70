/* Pointers from exactly one producer thread to exactly one consumer thread; lock-free, wait-free, bounded.
 *
 * ring_put: false when full (the caller counts it).  ring_get: NULL when empty.  Capacity is a power of two.
 */
#ifndef BASE_RING_H
#define BASE_RING_H

#include "base/arena.h"

#include <stdatomic.h>

struct ring {
    _Alignas(64) _Atomic uint64_t head; /* written by the producer */
    _Alignas(64) _Atomic uint64_t tail; /* written by the consumer */
    _Alignas(64) void **slots;
    uint64_t mask;
};

static inline void ring_init(struct ring *r, struct arena *a, uint64_t capacity)
{
    r->slots = arena_alloc(a, capacity * sizeof(void *), 64);
    r->mask = capacity - 1;
    atomic_init(&r->head, 0);
    atomic_init(&r->tail, 0);
}

static inline bool MUST_USE ring_put(struct ring *r, void *item)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

    if (head - atomic_load_explicit(&r->tail, memory_order_acquire) > r->mask)
        return false;
    r->slots[head & r->mask] = item;
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
    return true;
}

static inline void *MUST_USE ring_get(struct ring *r)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

    if (tail == atomic_load_explicit(&r->head, memory_order_acquire))
        return NULL;
    void *item = r->slots[tail & r->mask];
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
    return item;
}

#endif
