#include "base/arena.h"
#include "tests/unit/test.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs body in a child: true when it died of SIGABRT, as a CHECK does. */
static bool aborts(void (*body)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(1);
        body();
        _exit(0);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void memory_comes_zeroed_and_aligned(void **state)
{
    struct arena *a = arena_new(4096, false);
    (void)state;

    uint8_t *x = arena_alloc(a, 3, 1);
    uint64_t *y = arena_alloc(a, 8, 64);
    assert_int_equal(x[0] | x[1] | x[2], 0);
    assert_int_equal((uintptr_t)y % 64, 0);
    assert_int_equal(arena_used(a), 72);
    arena_free(a);
}

/* Whether there are any hangs on the kernel: what holds is that nothing else changes. */
static void large_pages_change_nothing_that_is_seen(void **state)
{
    struct arena *a = arena_new(9 << 20, false);
    uint8_t *before = arena_alloc(a, 5000, 1), *x = arena_alloc(a, 8 << 20, 64);
    (void)state;

    before[4999] = 7;
    arena_large_pages(x, 8 << 20);
    arena_large_pages(x, 1);
    assert_int_equal(before[4999], 7);
    for (size_t i = 0; i < 8 << 20; i += 4096)
        assert_int_equal(x[i], 0);
    arena_free(a);
}

static void allocate_after_seal(void)
{
    struct arena *a = arena_new(4096, false);
    arena_seal(a);
    (void)!arena_alloc(a, 1, 1);
}

static void an_allocation_after_the_seal_is_a_check(void **state)
{
    (void)state;
    assert_true(aborts(allocate_after_seal));
}

static void give_twice(void)
{
    struct arena *a = arena_new(4096, false);
    struct slab s;
    slab_init(&s, a, 64, 2, false);
    void *x = slab_take(&s);
    slab_give(&s, x);
    slab_give(&s, x);
}

static void giving_more_than_was_taken_is_a_check(void **state)
{
    (void)state;
    assert_true(aborts(give_twice));
}

static struct slab given;
static uint8_t *not_ours;

static void give_not_ours(void)
{
    slab_give(&given, not_ours);
}

/* Strides that are powers of two and that are not. */
static void giving_what_is_no_object_is_a_check(void **state)
{
    static const size_t sizes[] = {64, 150, 448, 4096 + 64};
    (void)state;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct arena *a = arena_new(slab_memory_needed(sizes[i], 5) + 4096, false);
        slab_init(&given, a, sizes[i], 5, false);
        size_t stride = given.object_size;
        uint8_t *first = slab_take(&given);
        const size_t offsets[] = {1,          8,          stride / 2, stride - 1, stride + 64 % stride + 1,
                                  5 * stride, 6 * stride, -stride,    -(size_t)64};
        for (size_t k = 0; k < sizeof offsets / sizeof offsets[0]; k++) {
            not_ours = first + offsets[k];
            assert_true(aborts(give_not_ours));
        }
        not_ours = first;
        assert_false(aborts(give_not_ours));
        arena_free(a);
    }
}

static void a_slab_hands_out_its_capacity_and_no_more(void **state)
{
    struct arena *a = arena_new(65536, false);
    struct slab s;
    (void)state;

    slab_init(&s, a, 100, 3, false);
    void *x = slab_take(&s), *y = slab_take(&s), *z = slab_take(&s);
    assert_true(x && y && z && x != y && y != z);
    assert_null(slab_take(&s));
    slab_give(&s, y);
    assert_ptr_equal(slab_take(&s), y);
    arena_free(a);
}

/* Whether the kernel has given the page at p any memory. */
static bool is_there(uint8_t *p)
{
    unsigned char there = 0;

    assert_int_equal(mincore(p - (uintptr_t)p % 4096, 4096, &there), 0);
    return (there & 1) != 0;
}

static void an_object_that_was_never_taken_is_not_touched(void **state)
{
    struct arena *a = arena_new(slab_memory_needed(65536, 8), false);
    struct slab s;
    (void)state;

    slab_init(&s, a, 65536, 8, false);
    uint8_t *first = slab_take(&s), *second = slab_take(&s);
    slab_give(&s, first);
    assert_ptr_equal(slab_take(&s), first);
    assert_false(is_there(first));
    first[0] = 1;
    assert_true(is_there(first));
    assert_false(is_there(second + 8192));
    assert_false(is_there(second + 2 * s.object_size));
    arena_free(a);
}

static void objects_of_whole_pages_do_not_begin_alike(void **state)
{
    struct arena *a = arena_new(slab_memory_needed(65536, 2), false);
    struct slab s;
    (void)state;

    slab_init(&s, a, 65536, 2, false);
    uint8_t *x = slab_take(&s), *y = slab_take(&s);
    assert_int_not_equal((uintptr_t)x % 4096, (uintptr_t)y % 4096);
    assert_true(y - x >= 65536);
    arena_free(a);
}

static void a_wiping_slab_zeroes_what_comes_back(void **state)
{
    struct arena *a = arena_new(4096, false);
    struct slab s;
    (void)state;

    slab_init(&s, a, 64, 1, true);
    uint8_t *x = slab_take(&s);
    memset(x, 0xaa, 64);
    slab_give(&s, x);
    for (size_t i = sizeof(void *); i < 64; i++)
        assert_int_equal(x[i], 0);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_comes_zeroed_and_aligned),
        cmocka_unit_test(large_pages_change_nothing_that_is_seen),
        cmocka_unit_test(an_allocation_after_the_seal_is_a_check),
        cmocka_unit_test(giving_what_is_no_object_is_a_check),
        cmocka_unit_test(giving_more_than_was_taken_is_a_check),
        cmocka_unit_test(a_slab_hands_out_its_capacity_and_no_more),
        cmocka_unit_test(an_object_that_was_never_taken_is_not_touched),
        cmocka_unit_test(objects_of_whole_pages_do_not_begin_alike),
        cmocka_unit_test(a_wiping_slab_zeroes_what_comes_back),
    };
    return RUN_TESTS("arena", tests);
}
