#include "dataplane/net/timer_wheel.h"
#include "tests/unit/test.h"

#include <stdlib.h>

#define ENTRIES 300

static struct timer_wheel wheel;

static struct timer_wheel *wheel_at(uint64_t tick)
{
    wheel_init(&wheel, tick);
    return &wheel;
}

static void entry_comes_at_its_tick_and_not_before(void **state)
{
    /* One distance per level, and both sides of every boundary. */
    static const uint64_t away[] = {0,     1,     255,      256,      257,       65535,      65536,
                                    65537, 99999, 16777215, 16777216, 100000000, 4294967294u};
    static const uint64_t starts[] = {0, 1, 255, 256, 65535, 123456789};
    (void)state;

    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++)
        for (size_t i = 0; i < sizeof away / sizeof away[0]; i++) {
            struct timer_wheel *w = wheel_at(starts[s]);
            struct wheel_entry e = {0};
            wheel_arm(w, &e, starts[s] + away[i]);
            if (away[i] > 0)
                assert_null(wheel_pop(w, starts[s] + away[i] - 1));
            assert_ptr_equal(wheel_pop(w, starts[s] + away[i]), &e);
            assert_null(wheel_pop(w, starts[s] + away[i]));
            assert_false(wheel_is_armed(&e));
        }
}

static void next_never_lies_beyond_the_first_entry(void **state)
{
    struct timer_wheel *w = wheel_at(7);
    struct wheel_entry e = {0};
    (void)state;

    assert_true(wheel_next(w) == WHEEL_NEVER);
    for (uint64_t tick = 7; tick < 70000000; tick = tick * 3 / 2 + 1) {
        wheel_arm(w, &e, tick);
        assert_true(wheel_next(w) <= tick);
    }
    wheel_disarm(w, &e);
    assert_true(wheel_next(w) == WHEEL_NEVER);
}

static void disarmed_entry_does_not_come(void **state)
{
    struct timer_wheel *w = wheel_at(0);
    struct wheel_entry a = {0}, b = {0};
    (void)state;

    wheel_arm(w, &a, 10);
    wheel_arm(w, &b, 10);
    wheel_disarm(w, &a);
    wheel_disarm(w, &a);
    assert_ptr_equal(wheel_pop(w, 100), &b);
    assert_null(wheel_pop(w, 100));
}

static void arming_again_moves_the_entry(void **state)
{
    struct timer_wheel *w = wheel_at(0);
    struct wheel_entry e = {0};
    (void)state;

    wheel_arm(w, &e, 10);
    wheel_arm(w, &e, 100000);
    assert_null(wheel_pop(w, 99999));
    wheel_arm(w, &e, 100001);
    assert_null(wheel_pop(w, 100000));
    assert_ptr_equal(wheel_pop(w, 100001), &e);
}

static void tick_that_is_over_counts_as_the_present_one(void **state)
{
    struct timer_wheel *w = wheel_at(1000);
    struct wheel_entry e = {0};
    (void)state;

    wheel_arm(w, &e, 5);
    assert_true(wheel_next(w) == 1000);
    assert_ptr_equal(wheel_pop(w, 1000), &e);
}

static void entry_beyond_the_wheels_reach_comes_early_rather_than_never(void **state)
{
    struct timer_wheel *w = wheel_at(0);
    struct wheel_entry e = {0};
    (void)state;

    wheel_arm(w, &e, 1ULL << 40);
    assert_ptr_equal(wheel_pop(w, 1ULL << 33), &e);
}

static void clock_that_stands_still_or_goes_back_yields_nothing_early(void **state)
{
    struct timer_wheel *w = wheel_at(1000);
    struct wheel_entry e = {0};
    (void)state;

    assert_null(wheel_pop(w, 2000));
    wheel_arm(w, &e, 2001);
    assert_null(wheel_pop(w, 500));
    assert_null(wheel_pop(w, 2000));
    assert_ptr_equal(wheel_pop(w, 2001), &e);
}

static int by_tick(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void many_entries_come_in_order_whatever_the_steps(void **state)
{
    static struct wheel_entry entries[ENTRIES];
    static uint64_t ticks[ENTRIES];
    uint64_t random = 88172645463325252ULL;
    (void)state;

    for (int run = 0; run < 50; run++) {
        struct timer_wheel *w = wheel_at((uint64_t)run * 99991);
        uint64_t now = w->tick;
        uint32_t popped = 0;
        memset(entries, 0, sizeof entries);
        for (int i = 0; i < ENTRIES; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            ticks[i] = now + random % (1ULL << (1 + random % 30));
            wheel_arm(w, &entries[i], ticks[i]);
        }
        qsort(ticks, ENTRIES, sizeof ticks[0], by_tick);
        while (popped < ENTRIES) {
            struct wheel_entry *e;
            uint64_t next = wheel_next(w);
            assert_true(next <= ticks[popped]);
            now = next > now ? next : now + 1;
            while ((e = wheel_pop(w, now)) != NULL) {
                assert_true(e->tick <= now);
                assert_true(e->tick == ticks[popped++]);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entry_comes_at_its_tick_and_not_before),
        cmocka_unit_test(next_never_lies_beyond_the_first_entry),
        cmocka_unit_test(disarmed_entry_does_not_come),
        cmocka_unit_test(arming_again_moves_the_entry),
        cmocka_unit_test(tick_that_is_over_counts_as_the_present_one),
        cmocka_unit_test(entry_beyond_the_wheels_reach_comes_early_rather_than_never),
        cmocka_unit_test(clock_that_stands_still_or_goes_back_yields_nothing_early),
        cmocka_unit_test(many_entries_come_in_order_whatever_the_steps),
    };
    return RUN_TESTS("timer_wheel", tests);
}
