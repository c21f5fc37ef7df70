#include "drivers/seal/x25519.h"
#include "tests/unit/test.h"
#include "tests/unit/vectors.h"

static int setup(void **state)
{
    *state = mbed_rng_new();
    return *state == NULL;
}

static int teardown(void **state)
{
    mbed_rng_free(*state);
    return 0;
}

static void check_vector(struct mbed_rng *rng, const char *section)
{
    uint8_t scalar[32], u[32], want[32], out[32];

    vector_get("seal/x25519.txt", section, "scalar", scalar, 32);
    vector_get("seal/x25519.txt", section, "u", u, 32);
    vector_get("seal/x25519.txt", section, "out", want, 32);
    assert_true(x25519(rng, scalar, u, out));
    assert_memory_equal(out, want, 32);
}

static void the_vectors_of_rfc_7748_hold(void **state)
{
    check_vector(*state, "5.2 first");
    check_vector(*state, "5.2 second");
    check_vector(*state, "5.2 iterated once");
}

static void two_sides_agree_as_in_rfc_7748_6_1(void **state)
{
    uint8_t a[32], b[32], pub_a[32], pub_b[32], want[32], out[32];

    vector_get("seal/x25519.txt", "6.1", "a", a, 32);
    vector_get("seal/x25519.txt", "6.1", "b", b, 32);
    x25519_public(*state, a, pub_a);
    x25519_public(*state, b, pub_b);
    vector_get("seal/x25519.txt", "6.1", "a_public", want, 32);
    assert_memory_equal(pub_a, want, 32);
    vector_get("seal/x25519.txt", "6.1", "b_public", want, 32);
    assert_memory_equal(pub_b, want, 32);
    vector_get("seal/x25519.txt", "6.1", "shared", want, 32);
    assert_true(x25519(*state, a, pub_b, out));
    assert_memory_equal(out, want, 32);
    assert_true(x25519(*state, b, pub_a, out));
    assert_memory_equal(out, want, 32);
}

static void points_of_small_order_are_refused(void **state)
{
    static const char *const points[] = {"zero", "one", "order 8 a", "order 8 b", "p - 1", "p", "p + 1"};
    static const uint8_t scalar[32] = {1, 2, 3}, zero[32];
    uint8_t u[32], out[32];

    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        vector_get("seal/x25519.txt", points[i], "u", u, 32);
        assert_false(x25519(*state, scalar, u, out));
        assert_memory_equal(out, zero, 32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_7748_hold),
        cmocka_unit_test(two_sides_agree_as_in_rfc_7748_6_1),
        cmocka_unit_test(points_of_small_order_are_refused),
    };

    return cmocka_run_group_tests_name("seal x25519", tests, setup, teardown);
}
