#include "drivers/crypto/rng.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint8_t seed[32] = {7, 7, 7};

static void one_seed_gives_one_stream(void **state)
{
    uint8_t a[10000], b[10000];
    struct rng *x = rng_new(seed), *y = rng_new(seed);
    (void)state;

    rng_bytes(x, a, sizeof a);
    for (size_t at = 0; at < sizeof b; at += 8) /* however it is drawn */
        rng_bytes(y, b + at, 8);
    assert_memory_equal(a, b, sizeof a);
    rng_free(x);
    rng_free(y);
}

static void another_seed_gives_another_stream(void **state)
{
    const uint8_t other[32] = {7, 7, 8};
    uint8_t a[32], b[32];
    struct rng *x = rng_new(seed), *y = rng_new(other);
    (void)state;

    rng_bytes(x, a, sizeof a);
    rng_bytes(y, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    rng_free(x);
    rng_free(y);
}

static void two_pools_seeded_by_the_os_differ(void **state)
{
    uint8_t a[32], b[32];
    struct rng *x = rng_new(NULL), *y = rng_new(NULL);
    (void)state;

    rng_bytes(x, a, sizeof a);
    rng_bytes(y, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    rng_free(x);
    rng_free(y);
}

static int compare_nonce(const void *a, const void *b)
{
    return memcmp(a, b, 24);
}

static void no_nonce_of_a_hundred_thousand_comes_twice(void **state)
{
    enum { COUNT = 100000 };
    uint8_t(*nonces)[24] = malloc(COUNT * sizeof *nonces);
    struct rng *r = rng_new(NULL);
    (void)state;

    assert_non_null(nonces);
    for (size_t i = 0; i < COUNT; i++)
        rng_bytes(r, nonces[i], sizeof nonces[i]);
    qsort(nonces, COUNT, sizeof *nonces, compare_nonce);
    for (size_t i = 1; i < COUNT; i++)
        assert_memory_not_equal(nonces[i - 1], nonces[i], 24);
    free(nonces);
    rng_free(r);
}

static void a_forked_child_reseeds_and_goes_its_own_way(void **state)
{
    uint8_t mine[32], childs[32];
    struct rng *r = rng_new(NULL);
    int fds[2], status;
    (void)state;

    assert_int_equal(pipe(fds), 0);
    rng_bytes(r, mine, sizeof mine); /* the pool is full now, and both could serve from it */
    pid_t pid = fork();
    if (pid == 0) {
        rng_bytes(r, childs, sizeof childs);
        _exit(rng_seed_count(r) == 2 && write(fds[1], childs, sizeof childs) == sizeof childs ? 0 : 1);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(read(fds[0], childs, sizeof childs), sizeof childs);
    rng_bytes(r, mine, sizeof mine);
    assert_memory_not_equal(mine, childs, sizeof mine);
    assert_int_equal(rng_seed_count(r), 1);
    close(fds[0]);
    close(fds[1]);
    rng_free(r);
}

static void a_forked_child_never_draws_from_the_zeroed_key(void **state)
{
    struct rng *r = rng_new(seed); /* by time alone it would never reseed */
    uint8_t out[32];
    int status;
    (void)state;

    pid_t pid = fork();
    if (pid == 0) {
        rng_bytes(r, out, sizeof out);
        _exit(rng_seed_count(r) == 1 ? 0 : 1);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    rng_free(r);
}

static void draw(struct rng *r, size_t len)
{
    uint8_t sink[4096];

    for (; len != 0; len -= len < sizeof sink ? len : sizeof sink)
        rng_bytes(r, sink, len < sizeof sink ? len : sizeof sink);
}

static void the_pool_is_reseeded_after_its_count_of_bytes(void **state)
{
    struct rng *r = rng_new(NULL);
    (void)state;

    draw(r, RNG_RESEED_BYTES);
    assert_int_equal(rng_seed_count(r), 1);
    draw(r, 1);
    assert_int_equal(rng_seed_count(r), 2);
    rng_free(r);
}

static void the_pool_is_reseeded_after_its_time(void **state)
{
    struct rng *r = rng_new(NULL);
    (void)state;

    draw(r, 4096);
    rng_age(r, RNG_RESEED_S);
    draw(r, 4096);
    assert_int_equal(rng_seed_count(r), 2);
    rng_free(r);
}

static void a_repeatable_pool_never_asks_the_os(void **state)
{
    struct rng *r = rng_new(seed);
    (void)state;

    draw(r, 100000);
    rng_age(r, RNG_RESEED_S);
    draw(r, 100000);
    assert_int_equal(rng_seed_count(r), 0);
    rng_free(r);
}

static void a_repeated_block_is_a_check(void **state)
{
    struct rng *r = rng_new(NULL);
    int status;
    (void)state;

    pid_t pid = fork();
    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(1);
        rng_inject_repeat(r);
        draw(r, 4096);
        _exit(0);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    rng_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seed_gives_one_stream),
        cmocka_unit_test(another_seed_gives_another_stream),
        cmocka_unit_test(two_pools_seeded_by_the_os_differ),
        cmocka_unit_test(no_nonce_of_a_hundred_thousand_comes_twice),
        cmocka_unit_test(a_forked_child_reseeds_and_goes_its_own_way),
        cmocka_unit_test(a_forked_child_never_draws_from_the_zeroed_key),
        cmocka_unit_test(the_pool_is_reseeded_after_its_count_of_bytes),
        cmocka_unit_test(the_pool_is_reseeded_after_its_time),
        cmocka_unit_test(a_repeatable_pool_never_asks_the_os),
        cmocka_unit_test(a_repeated_block_is_a_check),
    };
    return RUN_TESTS("rng", tests);
}
