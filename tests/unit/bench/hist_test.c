#include "bench/load/hist.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static struct hist *new_hist(void)
{
    struct hist *h = calloc(1, sizeof *h);

    assert_non_null(h);
    return h;
}

static void small_values_are_exact(void **state)
{
    struct hist *h = new_hist();
    (void)state;

    for (uint64_t v = 1; v <= 100; v++)
        hist_add(h, v);
    assert_int_equal(hist_quantile(h, 0.5), 50);
    assert_int_equal(hist_quantile(h, 0.99), 99);
    assert_int_equal(hist_quantile(h, 1), 100);
    free(h);
}

static void a_value_is_known_to_better_than_one_in_128(void **state)
{
    (void)state;
    for (uint64_t v = 1; v < 1ULL << 40; v += v / 37 + 1) {
        struct hist *h = new_hist();
        hist_add(h, v);
        hist_add(h, 1ULL << 41);
        uint64_t said = hist_quantile(h, 0.5);
        assert_true(said >= v && said - v <= v / 128);
        free(h);
    }
}

static void no_quantile_is_beyond_the_largest_value(void **state)
{
    struct hist *h = new_hist();
    (void)state;

    hist_add(h, 1000001);
    assert_int_equal(hist_quantile(h, 0.5), 1000001);
    assert_int_equal(hist_quantile(h, 1), 1000001);
    free(h);
}

static void a_huge_value_counts_as_the_largest(void **state)
{
    struct hist *h = new_hist();
    (void)state;

    hist_add(h, UINT64_MAX);
    assert_int_equal(h->bucket[HIST_BUCKETS - 1], 1);
    assert_int_equal(h->max, UINT64_MAX);
    free(h);
}

static void an_empty_histogram_says_zero(void **state)
{
    struct hist *h = new_hist();
    (void)state;

    assert_int_equal(hist_quantile(h, 0.99), 0);
    free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(a_value_is_known_to_better_than_one_in_128),
        cmocka_unit_test(no_quantile_is_beyond_the_largest_value),
        cmocka_unit_test(a_huge_value_counts_as_the_largest),
        cmocka_unit_test(an_empty_histogram_says_zero),
    };

    return RUN_TESTS("bench_hist", tests);
}
