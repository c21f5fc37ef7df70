#include "base/cursor.h"
#include "tests/unit/test.h"

static void reads_big_endian_integers_in_order(void **state)
{
    const uint8_t in[] = {1, 2, 3, 4, 5, 6, 7};
    struct cursor c = cursor_of(span_of(in, sizeof in));
    (void)state;

    assert_int_equal(cursor_u8(&c), 1);
    assert_int_equal(cursor_u16(&c), 0x0203);
    assert_int_equal(cursor_u32(&c), 0x04050607);
    assert_true(cursor_ok(&c));
}

static void an_overrun_is_sticky_and_yields_zeros(void **state)
{
    const uint8_t in[] = {1, 2, 3};
    struct cursor c = cursor_of(span_of(in, sizeof in));
    (void)state;

    assert_int_equal(cursor_u32(&c), 0);
    assert_int_equal(cursor_u8(&c), 0);
    assert_false(cursor_ok(&c));
}

static void a_take_longer_than_what_is_left_is_empty(void **state)
{
    const uint8_t in[] = {1, 2, 3};
    struct cursor c = cursor_of(span_of(in, sizeof in));
    (void)state;

    assert_int_equal(cursor_take(&c, SIZE_MAX).len, 0);
    assert_false(cursor_ok(&c));
}

static void a_writer_that_overflows_writes_nothing_more(void **state)
{
    uint8_t out[4] = {0};
    struct writer w = writer_of(out, 3);
    (void)state;

    write_u16(&w, 0x0102);
    write_u16(&w, 0x0304);
    write_u8(&w, 9);
    assert_false(writer_ok(&w));
    assert_int_equal(w.len, 2);
    assert_int_equal(out[2], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_big_endian_integers_in_order),
        cmocka_unit_test(an_overrun_is_sticky_and_yields_zeros),
        cmocka_unit_test(a_take_longer_than_what_is_left_is_empty),
        cmocka_unit_test(a_writer_that_overflows_writes_nothing_more),
    };
    return RUN_TESTS("cursor", tests);
}
