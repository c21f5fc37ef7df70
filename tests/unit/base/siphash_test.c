#include "base/siphash.h"
#include "tests/unit/test.h"

/* SipHash paper, appendix A: key 00..0f, message 00..0e. */
static void matches_the_vector_of_the_paper(void **state)
{
    struct siphash_key key = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
    uint8_t msg[15];
    (void)state;

    for (uint8_t i = 0; i < sizeof msg; i++)
        msg[i] = i;
    assert_true(siphash(&key, span_of(msg, sizeof msg)) == 0xa129ca6149be45e5ULL);
}

static void another_key_gives_another_hash(void **state)
{
    struct siphash_key a = {1, 2}, b = {1, 3};
    (void)state;

    assert_true(siphash(&a, span_str("abc")) != siphash(&b, span_str("abc")));
}

/* What CPython 3.11 computes for bytes(range(12)) and bytes(range(36)) with PYTHONHASHSEED=0, which is a key of zeroes. */
static void siphash13_is_what_others_compute(void **state)
{
    static const struct siphash_key key = {0, 0};
    static const uint64_t words[] = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL, 0x1716151413121110ULL,
                                     0x1f1e1d1c1b1a1918ULL};
    (void)state;

    assert_true(siphash13(&key, words, 1, UINT64_C(12) << 56 | 0x0b0a0908) == 0xa6baf4fb0f9fe1c2ULL);
    assert_true(siphash13(&key, words, 4, UINT64_C(36) << 56 | 0x23222120) == 0xac77921fcc642bd3ULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_vector_of_the_paper),
        cmocka_unit_test(siphash13_is_what_others_compute),
        cmocka_unit_test(another_key_gives_another_hash),
    };
    return RUN_TESTS("siphash", tests);
}
