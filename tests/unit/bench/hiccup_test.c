#include "bench/load/hiccup.h"
#include "bench/load/watch.h"
#include "tests/unit/test.h"

#include <stdlib.h>

#define MS      1000000ULL
#define SECOND  (1000 * MS)
#define BEGIN   (5 * SECOND)
#define QUICKLY 20000

/* A second of requests, one each millisecond, and the hiccups of two cores. */
struct second {
    struct samples samples;
    struct hiccups ours, servers;
    struct clean_result *clean;
};

static struct second second_new(void)
{
    struct second s = {.clean = calloc(1, sizeof(struct clean_result))};

    assert_non_null(s.clean);
    assert_true(samples_new(&s.samples, 1000) && hiccups_new(&s.ours, 16) && hiccups_new(&s.servers, 8));
    return s;
}

static void ask_all(struct second *s)
{
    for (uint64_t i = 0; i < 1000; i++)
        samples_add(&s->samples, BEGIN + i * MS, QUICKLY, false);
}

static const struct clean_result *cleaned(struct second *s)
{
    samples_clean(&s->samples, &s->ours, &s->servers, BEGIN, BEGIN + SECOND, s->clean);
    return s->clean;
}

static void second_free(struct second *s)
{
    samples_free(&s->samples);
    hiccups_free(&s->ours);
    hiccups_free(&s->servers);
    free(s->clean);
}

static void without_a_hiccup_nothing_is_left_out(void **state)
{
    struct second s = second_new();
    (void)state;

    ask_all(&s);
    assert_int_equal(cleaned(&s)->latency.count, 1000);
    assert_true(s.clean->left_out == 0);
    second_free(&s);
}

static void what_is_meant_to_be_sent_around_a_hiccup_is_left_out(void **state)
{
    struct second s = second_new();
    (void)state;

    ask_all(&s);
    hiccups_add(&s.ours, BEGIN + 100 * MS, BEGIN + 103 * MS); /* 98 to 115 */
    assert_int_equal(cleaned(&s)->latency.count, 1000 - 18);
    assert_true(s.clean->left_out > 0.0169 && s.clean->left_out < 0.0171);
    second_free(&s);
}

static void how_long_it_took_decides_nothing(void **state)
{
    struct second s = second_new();
    (void)state;

    samples_add(&s.samples, BEGIN + 50 * MS, 200 * MS, false); /* under way for long when the hiccup comes */
    samples_add(&s.samples, BEGIN + 100 * MS, QUICKLY, false);
    hiccups_add(&s.ours, BEGIN + 100 * MS, BEGIN + 101 * MS);
    assert_int_equal(cleaned(&s)->latency.count, 1);
    assert_int_equal(s.clean->latency.max, 200 * MS);
    second_free(&s);
}

static void hiccups_of_either_core_count_and_are_counted_once(void **state)
{
    struct second s = second_new();
    (void)state;

    ask_all(&s);
    hiccups_add(&s.ours, BEGIN + 400 * MS, BEGIN + 402 * MS);    /* 398 to 410 */
    hiccups_add(&s.ours, BEGIN + 100 * MS, BEGIN + 101 * MS);    /* 98 to 105 */
    hiccups_add(&s.servers, BEGIN + 401 * MS, BEGIN + 403 * MS); /* 399 to 411 */
    assert_int_equal(cleaned(&s)->latency.count, 1000 - 8 - 14);
    assert_true(s.clean->left_out > 0.0199 && s.clean->left_out < 0.0201);
    second_free(&s);
}

static void the_order_in_which_replies_came_does_not_matter(void **state)
{
    struct second s = second_new();
    (void)state;

    for (uint64_t i = 1000; i-- > 0;)
        samples_add(&s.samples, BEGIN + i * MS, QUICKLY, i == 300 || i == 101);
    hiccups_add(&s.servers, BEGIN + 100 * MS, BEGIN + 103 * MS);
    assert_int_equal(cleaned(&s)->latency.count, 1000 - 18);
    assert_int_equal(s.clean->late, 1); /* the other one lies in the hiccup */
    second_free(&s);
}

static void what_reaches_beyond_the_measured_time_does_not_count_for_more(void **state)
{
    struct second s = second_new();
    (void)state;

    ask_all(&s);
    hiccups_add(&s.ours, BEGIN - 10 * MS, BEGIN - 9 * MS);
    hiccups_add(&s.ours, BEGIN, BEGIN + 100 * MS);                       /* to 500 */
    hiccups_add(&s.ours, BEGIN + 900 * MS, BEGIN + SECOND + 5 * SECOND); /* from 898 */
    assert_true(cleaned(&s)->left_out > 0.6019 && s.clean->left_out < 0.6021);
    assert_int_equal(s.clean->latency.count, 397);
    second_free(&s);
}

static void what_has_no_room_is_told(void **state)
{
    struct second s = second_new();
    (void)state;

    ask_all(&s);
    samples_add(&s.samples, BEGIN, QUICKLY, false);
    for (uint64_t i = 0; i < 10; i++)
        hiccups_add(&s.servers, BEGIN, BEGIN + MS);
    assert_int_equal(s.samples.lost, 1);
    assert_int_equal(s.servers.lost, 2);
    second_free(&s);
}

static void the_time_a_thread_waited_is_the_second_of_its_schedstat(void **state)
{
    (void)state;
    assert_int_equal(watch_waited_ns("17471371167 192081716991 366653\n"), 192081716991);
    assert_int_equal(watch_waited_ns(""), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_hiccup_nothing_is_left_out),
        cmocka_unit_test(what_is_meant_to_be_sent_around_a_hiccup_is_left_out),
        cmocka_unit_test(how_long_it_took_decides_nothing),
        cmocka_unit_test(hiccups_of_either_core_count_and_are_counted_once),
        cmocka_unit_test(the_order_in_which_replies_came_does_not_matter),
        cmocka_unit_test(what_reaches_beyond_the_measured_time_does_not_count_for_more),
        cmocka_unit_test(what_has_no_room_is_told),
        cmocka_unit_test(the_time_a_thread_waited_is_the_second_of_its_schedstat),
    };

    return RUN_TESTS("bench_hiccup", tests);
}
