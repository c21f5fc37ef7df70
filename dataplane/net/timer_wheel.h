/* A hierarchical timer wheel: 1 ms ticks, four levels of 256 slots, intrusive entries, O(1) arm and disarm.
 *
 * Level 0 holds what is due within 256 ticks, level n what is due within 256^(n+1); when the wheel reaches
 * the start of a higher slot, its entries move down.  A bitmap per level lets an idle wheel skip to the next
 * entry.  An entry further away than 2^32 ticks fires early: users keep their own deadline and arm again.
 *
 * The wheel never calls anybody: wheel_pop hands out one due entry after the other. */
#ifndef DATAPLANE_NET_TIMER_WHEEL_H
#define DATAPLANE_NET_TIMER_WHEEL_H

#include "base/span.h"

#define WHEEL_LEVELS 4
#define WHEEL_SLOTS  256
#define WHEEL_NEVER  UINT64_MAX

struct wheel_entry {
    struct wheel_entry *next, *prev; /* NULL when not armed */
    uint64_t tick;                   /* when it is due */
};

struct timer_wheel {
    uint64_t tick;       /* every entry due before this tick has been popped */
    uint64_t not_before; /* nothing is due before this one; it may be long before the first */
    uint64_t occupied[WHEEL_LEVELS][WHEEL_SLOTS / 64];
    struct wheel_entry slots[WHEEL_LEVELS][WHEEL_SLOTS]; /* list heads */
};

void wheel_init(struct timer_wheel *w, uint64_t now_tick);

/* (Re)arms e for the given tick; a tick that is already over counts as the present one. */
void wheel_arm(struct timer_wheel *w, struct wheel_entry *e, uint64_t tick);
void wheel_disarm(struct timer_wheel *w, struct wheel_entry *e);

static inline bool wheel_is_armed(const struct wheel_entry *e)
{
    return e->next != NULL;
}

/* The next entry due at or before now_tick, disarmed; NULL when there is none left.  In order of ticks. */
struct wheel_entry *wheel_pop(struct timer_wheel *w, uint64_t now_tick);

/* No entry is due before this tick (it may be later than that); WHEEL_NEVER when nothing is armed. */
uint64_t wheel_next(const struct timer_wheel *w);

#endif
