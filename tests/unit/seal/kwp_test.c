#include "drivers/seal/kwp.h"
#include "tests/unit/test.h"
#include "tests/unit/vectors.h"

static const uint8_t key[32] = "a key for wrapping other keys...";
static uint8_t plain[KWP_PLAIN_MAX], sealed[KWP_SEALED_MAX], out[KWP_SEALED_MAX];

static void check_vector(const char *section)
{
    uint8_t k[32], want[64], clear[64];
    struct span kek = vector_get("seal/kwp.txt", section, "key", k, sizeof k);
    struct span p = vector_get("seal/kwp.txt", section, "plain", clear, sizeof clear);
    struct span s = vector_get("seal/kwp.txt", section, "sealed", want, sizeof want);
    size_t len;

    assert_int_equal(s.len, KWP_SEALED_LEN(p.len));
    assert_int_equal(kwp_seal(kek, p, sealed), KWP_OK);
    assert_memory_equal(sealed, want, s.len);
    assert_int_equal(kwp_open(kek, s, out, &len), KWP_OK);
    assert_true(span_equal(span_of(out, len), p));
}

static void the_vectors_of_rfc_5649_hold(void **state)
{
    (void)state;
    check_vector("20 bytes");
    check_vector("7 bytes");
}

static void keys_wrapped_by_another_program_open(void **state)
{
    (void)state;
    check_vector("aes-256, 32 bytes");
    check_vector("aes-256, 1 byte");
    check_vector("aes-128, 33 bytes");
}

static struct span wrapping_key(void)
{
    return span_of(key, sizeof key);
}

static void every_length_comes_back(void **state)
{
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * 5 + 1);
    for (size_t n = 1; n <= KWP_PLAIN_MAX; n += n < 80 ? 1 : 811) {
        assert_int_equal(kwp_seal(wrapping_key(), span_of(plain, n), sealed), KWP_OK);
        assert_int_equal(kwp_open(wrapping_key(), span_of(sealed, KWP_SEALED_LEN(n)), out, &len), KWP_OK);
        assert_int_equal(len, n);
        assert_memory_equal(out, plain, n);
    }
}

static void lengths_out_of_range_are_refused(void **state)
{
    size_t len;

    (void)state;
    assert_int_equal(kwp_seal(wrapping_key(), span_of(plain, 0), sealed), KWP_BAD_LEN);
    assert_int_equal(kwp_seal(wrapping_key(), span_of(plain, KWP_PLAIN_MAX + 1), sealed), KWP_BAD_LEN);
    assert_int_equal(kwp_open(wrapping_key(), span_of(sealed, 0), out, &len), KWP_BAD_LEN);
    assert_int_equal(kwp_open(wrapping_key(), span_of(sealed, 8), out, &len), KWP_BAD_LEN);
    assert_int_equal(kwp_open(wrapping_key(), span_of(sealed, 17), out, &len), KWP_BAD_LEN);
    assert_int_equal(kwp_open(wrapping_key(), span_of(sealed, KWP_SEALED_MAX + 8), out, &len), KWP_BAD_LEN);
}

static void a_wrapping_key_of_another_length_is_refused(void **state)
{
    size_t len;

    (void)state;
    assert_int_equal(kwp_seal(span_of(key, 31), span_of(plain, 32), sealed), KWP_BAD_KEY_LEN);
    assert_int_equal(kwp_open(span_of(key, 0), span_of(sealed, 40), out, &len), KWP_BAD_KEY_LEN);
}

static void expect_refused(const uint8_t *bytes, size_t sealed_len)
{
    static const uint8_t zero[64];
    size_t len;

    memset(out, 0xff, sizeof out);
    assert_int_equal(kwp_open(wrapping_key(), span_of(bytes, sealed_len), out, &len), KWP_REFUSED);
    assert_int_equal(len, 0);
    assert_memory_equal(out, zero, sealed_len - 8);
}

static void any_altered_bit_is_refused_and_leaves_zeros(void **state)
{
    static const size_t lens[] = {5, 8, 32, 37};

    (void)state;
    for (size_t l = 0; l < sizeof lens / sizeof lens[0]; l++) {
        assert_int_equal(kwp_seal(wrapping_key(), span_of(plain, lens[l]), sealed), KWP_OK);
        for (size_t bit = 0; bit < KWP_SEALED_LEN(lens[l]) * 8; bit++) {
            sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
            expect_refused(sealed, KWP_SEALED_LEN(lens[l]));
            sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void another_key_is_refused(void **state)
{
    uint8_t other[32];
    size_t len;

    (void)state;
    memcpy(other, key, sizeof other);
    other[31] ^= 1;
    assert_int_equal(kwp_seal(wrapping_key(), span_of(plain, 32), sealed), KWP_OK);
    assert_int_equal(kwp_open(span_of(other, 32), span_of(sealed, 40), out, &len), KWP_REFUSED);
}

/* Each is a wrap under the key above of an initial value that RFC 5649 section 3 refuses. */
static void a_false_initial_value_is_refused(void **state)
{
    static const char *const sections[] = {"initial value of rfc 3394",
                                           "length above the padded one",
                                           "length eight below the padded one",
                                           "length zero",
                                           "padding not zero",
                                           "one block, padding not zero",
                                           "one block, length zero",
                                           "one block, length nine"};
    uint8_t bytes[64];

    (void)state;
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        struct span s = vector_get("seal/kwp.txt", sections[i], "sealed", bytes, sizeof bytes);
        expect_refused(bytes, s.len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_5649_hold),
        cmocka_unit_test(keys_wrapped_by_another_program_open),
        cmocka_unit_test(every_length_comes_back),
        cmocka_unit_test(lengths_out_of_range_are_refused),
        cmocka_unit_test(a_wrapping_key_of_another_length_is_refused),
        cmocka_unit_test(any_altered_bit_is_refused_and_leaves_zeros),
        cmocka_unit_test(another_key_is_refused),
        cmocka_unit_test(a_false_initial_value_is_refused),
    };

    return RUN_TESTS("seal kwp", tests);
}
