#include "base/ring.h"
#include "tests/unit/test.h"

static void items_come_out_in_order_and_a_full_ring_refuses(void **state)
{
    struct arena *a = arena_new(4096, false);
    struct ring r;
    int items[5];
    (void)state;

    ring_init(&r, a, 4);
    for (int i = 0; i < 4; i++)
        assert_true(ring_put(&r, &items[i]));
    assert_false(ring_put(&r, &items[4]));
    for (int i = 0; i < 4; i++)
        assert_ptr_equal(ring_get(&r), &items[i]);
    assert_null(ring_get(&r));
    arena_free(a);
}

static void it_wraps_around(void **state)
{
    struct arena *a = arena_new(4096, false);
    struct ring r;
    int item;
    (void)state;

    ring_init(&r, a, 2);
    for (int i = 0; i < 1000; i++) {
        assert_true(ring_put(&r, &item));
        assert_ptr_equal(ring_get(&r), &item);
    }
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_out_in_order_and_a_full_ring_refuses),
        cmocka_unit_test(it_wraps_around),
    };
    return RUN_TESTS("ring", tests);
}
