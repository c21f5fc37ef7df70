#include "dataplane/net/timer_wheel.h"

#include "base/check.h"

#define SLOT_BITS 8
#define SLOT_MASK (WHEEL_SLOTS - 1)
#define REACH_MAX ((1ULL << (SLOT_BITS * WHEEL_LEVELS)) - 1)

static unsigned slot_index(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (SLOT_BITS * level)) & SLOT_MASK;
}

void wheel_init(struct timer_wheel *w, uint64_t now_tick)
{
    memset(w->occupied, 0, sizeof w->occupied);
    w->tick = now_tick;
    w->not_before = now_tick;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++)
        for (unsigned i = 0; i < WHEEL_SLOTS; i++) {
            struct wheel_entry *head = &w->slots[level][i];
            head->next = head;
            head->prev = head;
        }
}

static void slot_insert(struct timer_wheel *w, struct wheel_entry *e)
{
    uint64_t away = e->tick - w->tick;
    unsigned level = 0;

    while (away >> (SLOT_BITS * (level + 1)) != 0)
        level++;
    unsigned i = slot_index(e->tick, level);
    struct wheel_entry *head = &w->slots[level][i];

    e->prev = head->prev;
    e->next = head;
    head->prev->next = e;
    head->prev = e;
    w->occupied[level][i / 64] |= 1ULL << (i % 64);
}

void wheel_disarm(struct timer_wheel *w, struct wheel_entry *e)
{
    if (!wheel_is_armed(e))
        return;
    struct wheel_entry *neighbour = e->next;

    e->prev->next = e->next;
    e->next->prev = e->prev;
    e->next = NULL;
    e->prev = NULL;
    if (neighbour->next != neighbour)
        return;
    /* Only a list head can be its own neighbour: the slot became empty. */
    size_t at = (size_t)(neighbour - &w->slots[0][0]);
    w->occupied[at / WHEEL_SLOTS][at % WHEEL_SLOTS / 64] &= ~(1ULL << (at % 64));
}

void wheel_arm(struct timer_wheel *w, struct wheel_entry *e, uint64_t tick)
{
    wheel_disarm(w, e);
    if (tick < w->tick)
        tick = w->tick;
    if (tick - w->tick > REACH_MAX)
        tick = w->tick + REACH_MAX;
    e->tick = tick;
    if (tick < w->not_before)
        w->not_before = tick;
    slot_insert(w, e);
}

/* Distance from slot `from` to the first occupied one, going round once; WHEEL_SLOTS when all are empty. */
static unsigned occupied_distance(const uint64_t bits[WHEEL_SLOTS / 64], unsigned from)
{
    unsigned at = from;

    for (unsigned step = 0; step < WHEEL_SLOTS;) {
        uint64_t word = bits[at / 64] >> (at % 64);
        if (word != 0) {
            unsigned distance = step + (unsigned)__builtin_ctzll(word);
            return distance < WHEEL_SLOTS ? distance : WHEEL_SLOTS;
        }
        step += 64 - at % 64;
        at = (at / 64 * 64 + 64) % WHEEL_SLOTS;
    }
    return WHEEL_SLOTS;
}

/* Where the first occupied slot begins. */
static uint64_t first_slot(const struct timer_wheel *w)
{
    unsigned distance = occupied_distance(w->occupied[0], slot_index(w->tick, 0));
    uint64_t next = distance < WHEEL_SLOTS ? w->tick + distance : WHEEL_NEVER;

    for (unsigned level = 1; level < WHEEL_LEVELS; level++) {
        /* The present slot of a higher level has been emptied on arrival: what it holds belongs to its next
         * round, so the search starts one further. */
        unsigned from = (slot_index(w->tick, level) + 1) & SLOT_MASK;
        distance = occupied_distance(w->occupied[level], from);
        if (distance == WHEEL_SLOTS)
            continue;
        uint64_t start = ((w->tick >> (SLOT_BITS * level)) + 1 + distance) << (SLOT_BITS * level);
        if (start < next)
            next = start;
    }
    return next;
}

uint64_t wheel_next(const struct timer_wheel *w)
{
    uint64_t next = first_slot(w);

    return next < w->not_before ? w->not_before : next;
}

static void cascade(struct timer_wheel *w, unsigned level)
{
    struct wheel_entry *head = &w->slots[level][slot_index(w->tick, level)];

    while (head->next != head) {
        struct wheel_entry *e = head->next;
        wheel_disarm(w, e);
        slot_insert(w, e);
    }
}

/* Steps to a tick that no occupied slot's start lies before; empties the higher slots that begin there. */
static void wheel_step(struct timer_wheel *w, uint64_t tick)
{
    w->tick = tick;
    for (unsigned level = WHEEL_LEVELS - 1; level > 0; level--)
        if ((tick & ((1ULL << (SLOT_BITS * level)) - 1)) == 0)
            cascade(w, level);
}

struct wheel_entry *wheel_pop(struct timer_wheel *w, uint64_t now_tick)
{
    if (now_tick < w->not_before)
        return NULL;
    for (;;) {
        struct wheel_entry *head = &w->slots[0][slot_index(w->tick, 0)];

        if (head->next != head) {
            struct wheel_entry *e = head->next;
            if (w->tick > now_tick)
                return NULL;
            wheel_disarm(w, e);
            return e;
        }
        uint64_t next = first_slot(w);
        if (next > now_tick) {
            /* The present tick stays open: what is armed for it until the clock moves on is still due. */
            if (now_tick > w->tick)
                wheel_step(w, now_tick);
            w->not_before = next;
            return NULL;
        }
        CHECK(next > w->tick);
        wheel_step(w, next);
    }
}
