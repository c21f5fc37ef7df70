#include "drivers/seal/gf256.h"
#include "drivers/seal/shamir.h"
#include "tests/unit/test.h"
#include "tests/unit/vectors.h"

static const uint8_t secret[SHAMIR_SECRET_LEN] = "thirty-two bytes of a secret, so";
static const uint8_t zero[SHAMIR_SECRET_LEN];

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

static void split(struct mbed_rng *rng, uint8_t k, uint8_t n, struct shamir_share *shares)
{
    assert_int_equal(shamir_split(rng, k, n, secret, shares), SHAMIR_OK);
}

static enum shamir_status combine(const struct shamir_share *shares, size_t given, uint8_t *out)
{
    size_t at;

    return shamir_combine(shares, given, out, &at);
}

static size_t take_subset(const struct shamir_share *all, size_t n, unsigned mask, struct shamir_share *out)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        if ((mask >> i & 1) != 0)
            out[count++] = all[i];
    }
    return count;
}

static void multiplication_is_that_of_aes(void **state)
{
    (void)state;
    assert_int_equal(gf256_mul(0x57, 0x83), 0xc1); /* FIPS 197, 4.2 */
    assert_int_equal(gf256_mul(0x57, 0x13), 0xfe); /* FIPS 197, 4.2.1 */
    assert_int_equal(gf256_mul(0, 0xff), 0);
}

static void a_byte_times_its_inverse_is_one(void **state)
{
    (void)state;
    for (unsigned a = 1; a < 256; a++)
        assert_int_equal(gf256_mul((uint8_t)a, gf256_inverse((uint8_t)a)), 1);
    assert_int_equal(gf256_inverse(0), 0);
}

/* Every subset of the shares of every set up to 5 of 9: k and more combine, fewer are too few. */
static void exactly_the_subsets_of_k_and_more_combine(void **state)
{
    struct shamir_share all[9], some[9];
    uint8_t out[SHAMIR_SECRET_LEN];

    for (uint8_t n = 2; n <= 9; n++) {
        for (uint8_t k = 2; k <= n && k <= 5; k++) {
            split(*state, k, n, all);
            for (unsigned mask = 1; mask < 1u << n; mask++) {
                size_t count = take_subset(all, n, mask, some);
                enum shamir_status status = combine(some, count, out);

                assert_int_equal(status, count >= k ? SHAMIR_OK : SHAMIR_TOO_FEW);
                assert_memory_equal(out, count >= k ? secret : zero, sizeof out);
            }
        }
    }
}

static void the_order_of_shares_does_not_matter(void **state)
{
    struct shamir_share all[5], some[3];
    uint8_t out[SHAMIR_SECRET_LEN];

    split(*state, 3, 5, all);
    for (unsigned order = 0; order < 125; order++) {
        unsigned a = order % 5, b = order / 5 % 5, c = order / 25;

        if (a == b || b == c || a == c)
            continue;
        some[0] = all[a], some[1] = all[b], some[2] = all[c];
        assert_int_equal(combine(some, 3, out), SHAMIR_OK);
        assert_memory_equal(out, secret, sizeof out);
    }
}

static void the_largest_set_combines(void **state)
{
    struct shamir_share all[SHAMIR_SHARES_MAX];
    uint8_t out[SHAMIR_SECRET_LEN];

    split(*state, SHAMIR_SHARES_MAX, SHAMIR_SHARES_MAX, all);
    assert_int_equal(combine(all, SHAMIR_SHARES_MAX, out), SHAMIR_OK);
    assert_memory_equal(out, secret, sizeof out);
}

static void numbers_out_of_range_are_refused(void **state)
{
    struct shamir_share all[SHAMIR_SHARES_MAX];

    assert_int_equal(shamir_split(*state, 1, 3, secret, all), SHAMIR_BAD_NUMBERS);
    assert_int_equal(shamir_split(*state, 4, 3, secret, all), SHAMIR_BAD_NUMBERS);
    assert_int_equal(shamir_split(*state, 0, 0, secret, all), SHAMIR_BAD_NUMBERS);
    assert_int_equal(shamir_split(*state, 2, SHAMIR_SHARES_MAX + 1, secret, all), SHAMIR_BAD_NUMBERS);
}

static void no_share_at_all_is_too_few(void **state)
{
    uint8_t out[SHAMIR_SECRET_LEN];

    (void)state;
    assert_int_equal(combine(NULL, 0, out), SHAMIR_TOO_FEW);
}

static void a_share_of_another_set_is_named_with_its_place(void **state)
{
    struct shamir_share mine[5], theirs[5];
    uint8_t out[SHAMIR_SECRET_LEN];
    size_t at;

    split(*state, 3, 5, mine);
    split(*state, 3, 5, theirs);
    mine[2] = theirs[2];
    assert_int_equal(shamir_combine(mine, 3, out, &at), SHAMIR_OTHER_SET);
    assert_int_equal(at, 2);
    assert_memory_equal(out, zero, sizeof out);
}

static void a_share_given_twice_does_not_count_twice(void **state)
{
    struct shamir_share all[3];
    uint8_t out[SHAMIR_SECRET_LEN];
    size_t at;

    split(*state, 2, 3, all);
    all[1] = all[0];
    assert_int_equal(shamir_combine(all, 2, out, &at), SHAMIR_TWICE);
    assert_int_equal(at, 1);
}

static void any_altered_bit_of_a_value_is_noticed(void **state)
{
    struct shamir_share all[3];
    uint8_t out[SHAMIR_SECRET_LEN];

    split(*state, 2, 3, all);
    for (size_t bit = 0; bit < SHAMIR_SECRET_LEN * 8; bit++) {
        all[1].value[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(combine(all, 2, out), SHAMIR_WRONG_SECRET);
        assert_memory_equal(out, zero, sizeof out);
        all[1].value[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void an_altered_share_beyond_the_threshold_is_noticed(void **state)
{
    struct shamir_share all[5];
    uint8_t out[SHAMIR_SECRET_LEN];

    split(*state, 2, 5, all);
    all[4].value[0] ^= 1;
    assert_int_equal(combine(all, 5, out), SHAMIR_WRONG_SECRET);
}

static void a_threshold_lowered_in_every_share_opens_nothing(void **state)
{
    struct shamir_share all[5];
    uint8_t out[SHAMIR_SECRET_LEN];

    split(*state, 3, 5, all);
    for (size_t i = 0; i < 5; i++)
        all[i].threshold = 2;
    assert_int_equal(combine(all, 2, out), SHAMIR_WRONG_SECRET);
}

static void two_sets_of_one_secret_share_nothing(void **state)
{
    struct shamir_share one[2], two[2];

    split(*state, 2, 2, one);
    split(*state, 2, 2, two);
    assert_memory_not_equal(one[0].set, two[0].set, SHAMIR_SET_LEN);
    assert_memory_not_equal(one[0].digest, two[0].digest, SHAMIR_DIGEST_LEN);
    assert_memory_not_equal(one[0].value, two[0].value, SHAMIR_SECRET_LEN);
    assert_memory_not_equal(one[0].value, secret, SHAMIR_SECRET_LEN);
}

static void print(struct mbed_rng *rng, struct shamir_share *share, char *text)
{
    struct shamir_share all[3];

    split(rng, 2, 3, all);
    *share = all[1];
    shamir_print(share, text);
}

static void what_is_printed_is_read_again(void **state)
{
    struct shamir_share share, again;
    char text[SHAMIR_TEXT_LEN + 1];

    print(*state, &share, text);
    assert_int_equal(strlen(text), SHAMIR_TEXT_LEN);
    assert_int_equal(shamir_parse(span_str(text), &again), SHAMIR_OK);
    assert_memory_equal(&share, &again, sizeof share);
}

static void a_share_is_read_in_capitals_and_groups_and_over_lines(void **state)
{
    struct shamir_share share, again;
    char text[SHAMIR_TEXT_LEN + 1], typed[SHAMIR_TEXT_MAX];
    size_t len = 0;

    print(*state, &share, text);
    for (size_t i = 0; i < SHAMIR_TEXT_LEN; i++) {
        typed[len++] = (char)(text[i] >= 'a' && text[i] <= 'z' && i % 3 == 0 ? text[i] - 32 : text[i]);
        if (i % 4 == 3)
            typed[len++] = "- \n"[i % 3];
    }
    assert_int_equal(shamir_parse(span_of(typed, len), &again), SHAMIR_OK);
    assert_memory_equal(&share, &again, sizeof share);
}

static void a_wrong_character_is_damage_and_leaves_zeros(void **state)
{
    static const struct shamir_share empty;
    struct shamir_share share, again;
    char text[SHAMIR_TEXT_LEN + 1];

    print(*state, &share, text);
    for (size_t at = 8; at < SHAMIR_TEXT_LEN; at++) {
        char was = text[at];

        text[at] = was == 'q' ? 'p' : 'q';
        assert_int_equal(shamir_parse(span_str(text), &again), SHAMIR_DAMAGED);
        assert_memory_equal(&again, &empty, sizeof again);
        text[at] = was;
    }
}

static void two_characters_swapped_are_damage(void **state)
{
    struct shamir_share share, again;
    char text[SHAMIR_TEXT_LEN + 1];

    print(*state, &share, text);
    for (size_t at = 8; at + 1 < SHAMIR_TEXT_LEN; at++) {
        char was = text[at];

        if (was == text[at + 1])
            continue;
        text[at] = text[at + 1];
        text[at + 1] = was;
        assert_int_equal(shamir_parse(span_str(text), &again), SHAMIR_DAMAGED);
        text[at + 1] = text[at];
        text[at] = was;
    }
}

static void what_is_too_short_or_too_long_is_no_share(void **state)
{
    struct shamir_share share, again;
    char text[SHAMIR_TEXT_LEN + 2];

    print(*state, &share, text);
    for (size_t len = 0; len < SHAMIR_TEXT_LEN; len++)
        assert_int_equal(shamir_parse(span_of(text, len), &again), SHAMIR_NOT_A_SHARE);
    text[SHAMIR_TEXT_LEN] = 'q';
    assert_int_equal(shamir_parse(span_of(text, SHAMIR_TEXT_LEN + 1), &again), SHAMIR_NOT_A_SHARE);
}

static void the_shares_of_another_program_combine_and_print_the_same(void **state)
{
    static const char *const names[] = {"share 1", "share 2", "share 3", "share 4", "share 5"};
    struct shamir_share shares[5];
    uint8_t buf[256], want[SHAMIR_SECRET_LEN], out[SHAMIR_SECRET_LEN];
    char text[SHAMIR_TEXT_LEN + 1];

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        struct span golden = vector_get("seal/shamir.txt", names[i], "text", buf, sizeof buf);

        assert_int_equal(shamir_parse(golden, &shares[i]), SHAMIR_OK);
        assert_int_equal(shares[i].index, i + 1);
        shamir_print(&shares[i], text);
        assert_true(span_is(golden, text));
    }
    vector_get("seal/shamir.txt", "set", "secret", want, sizeof want);
    for (size_t first = 0; first + 3 <= 5; first++) {
        assert_int_equal(combine(shares + first, 3, out), SHAMIR_OK);
        assert_memory_equal(out, want, sizeof want);
    }
}

static void every_status_has_a_text_of_its_own(void **state)
{
    (void)state;
    for (int a = SHAMIR_OK; a <= SHAMIR_WRONG_SECRET; a++) {
        assert_string_not_equal(shamir_status_text((enum shamir_status)a), "unknown");
        for (int b = SHAMIR_OK; b < a; b++)
            assert_string_not_equal(shamir_status_text((enum shamir_status)a),
                                    shamir_status_text((enum shamir_status)b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multiplication_is_that_of_aes),
        cmocka_unit_test(a_byte_times_its_inverse_is_one),
        cmocka_unit_test(exactly_the_subsets_of_k_and_more_combine),
        cmocka_unit_test(the_order_of_shares_does_not_matter),
        cmocka_unit_test(the_largest_set_combines),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(no_share_at_all_is_too_few),
        cmocka_unit_test(a_share_of_another_set_is_named_with_its_place),
        cmocka_unit_test(a_share_given_twice_does_not_count_twice),
        cmocka_unit_test(any_altered_bit_of_a_value_is_noticed),
        cmocka_unit_test(an_altered_share_beyond_the_threshold_is_noticed),
        cmocka_unit_test(a_threshold_lowered_in_every_share_opens_nothing),
        cmocka_unit_test(two_sets_of_one_secret_share_nothing),
        cmocka_unit_test(what_is_printed_is_read_again),
        cmocka_unit_test(a_share_is_read_in_capitals_and_groups_and_over_lines),
        cmocka_unit_test(a_wrong_character_is_damage_and_leaves_zeros),
        cmocka_unit_test(two_characters_swapped_are_damage),
        cmocka_unit_test(what_is_too_short_or_too_long_is_no_share),
        cmocka_unit_test(the_shares_of_another_program_combine_and_print_the_same),
        cmocka_unit_test(every_status_has_a_text_of_its_own),
    };

    return cmocka_run_group_tests_name("seal shamir", tests, setup, teardown);
}
