#include "bench/load/pace.h"
#include "tests/unit/test.h"

#include <stdlib.h>

#define SECOND_NS 1000000000ULL

static uint64_t steps(struct pace *p, unsigned int count)
{
    uint64_t began_ns = p->due_ns;

    while (count-- > 0)
        pace_next(p);
    return p->due_ns - began_ns;
}

static void a_constant_rate_loses_nothing_to_rounding(void **state)
{
    struct pace p;
    (void)state;

    pace_begin(&p, 30000, 0, 17);
    assert_int_equal(p.due_ns, 17);
    assert_in_range(steps(&p, 300000), 10 * SECOND_NS - 2, 10 * SECOND_NS + 2);
}

static void random_times_have_the_rate_and_are_not_evenly_spaced(void **state)
{
    struct pace p;
    unsigned int nearer = 0;
    (void)state;

    pace_begin(&p, 1000, 7, 0);
    for (unsigned int i = 0; i < 100000; i++)
        nearer += steps(&p, 1) < 500000;
    assert_in_range(p.due_ns, 98 * SECOND_NS, 102 * SECOND_NS);
    assert_in_range(nearer, 38300, 40400); /* 1 - 1/sqrt(e) of them: 39.3 % */
}

static void the_same_seed_gives_the_same_times(void **state)
{
    struct pace a, b, other;
    (void)state;

    pace_begin(&a, 1000, 7, 0);
    pace_begin(&b, 1000, 7, 0);
    pace_begin(&other, 1000, 8, 0);
    assert_int_equal(steps(&a, 50), steps(&b, 50));
    assert_int_not_equal(steps(&a, 1), steps(&other, 51));
}

static void nothing_is_due_before_its_time_and_never_without_a_rate(void **state)
{
    struct pace p;
    (void)state;

    pace_begin(&p, 0, 0, 5);
    assert_false(pace_due(&p, 6));
    pace_begin(&p, 1000, 0, 5);
    assert_false(pace_due(&p, 4));
    assert_true(pace_due(&p, 5));
    pace_next(&p);
    assert_false(pace_due(&p, 1000004));
    assert_true(pace_due(&p, 1000005));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_constant_rate_loses_nothing_to_rounding),
        cmocka_unit_test(random_times_have_the_rate_and_are_not_evenly_spaced),
        cmocka_unit_test(the_same_seed_gives_the_same_times),
        cmocka_unit_test(nothing_is_due_before_its_time_and_never_without_a_rate),
    };

    return RUN_TESTS("bench_pace", tests);
}
