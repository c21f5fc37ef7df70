#include "drivers/crypto/signature.h"
#include "tests/unit/test.h"
#include "tests/unit/vectors.h"

#include <openssl/err.h>

#define RFC7515 "jws/rfc7515.txt"
#define RSA     "jws/rsa.txt"

struct numbers {
    uint8_t a[600], b[64];
    struct ctl_jwk jwk;
};

static struct ctl_jwk *rsa_numbers(struct numbers *n, const char *file, const char *section)
{
    n->jwk = (struct ctl_jwk){.alg = JWK_RS256, .kid = span_str("kid")};
    n->jwk.n_or_x = vector_get(file, section, "n", n->a, sizeof n->a);
    n->jwk.e_or_y = vector_get(file, section, "e", n->b, sizeof n->b);
    return &n->jwk;
}

static struct ctl_jwk *ec_numbers(struct numbers *n)
{
    n->jwk = (struct ctl_jwk){.alg = JWK_ES256, .kid = span_str("kid")};
    n->jwk.n_or_x = vector_get(RFC7515, "es256", "x", n->a, sizeof n->a);
    n->jwk.e_or_y = vector_get(RFC7515, "es256", "y", n->b, sizeof n->b);
    return &n->jwk;
}

static bool loads(const struct ctl_jwk *jwk)
{
    struct signature_key *k = signature_key_new(jwk);

    signature_key_free(k);
    return k != NULL;
}

/* Whether the signature in a section verifies under the key in it. */
static bool section_verifies(const char *file, const char *section)
{
    uint8_t message[1024], signature[600];
    struct numbers n;
    struct signature_key *k = signature_key_new(rsa_numbers(&n, file, section));

    assert_non_null(k);
    bool ok = signature_verify(k, vector_get(file, section, "message", message, sizeof message),
                               vector_get(file, section, "signature", signature, sizeof signature));
    signature_key_free(k);
    return ok;
}

/* ---- RS256 ---- */

static void rs256_verifies_rfc7515_a2(void **state)
{
    (void)state;
    assert_true(section_verifies(RFC7515, "rs256"));
}

static void rs256_verifies_under_2048_3072_and_4096_bits(void **state)
{
    (void)state;
    assert_true(section_verifies(RSA, "valid_2048"));
    assert_true(section_verifies(RSA, "valid_3072"));
    assert_true(section_verifies(RSA, "valid_4096"));
}

static void rs256_refuses_a_signature_over_sha512(void **state)
{
    (void)state;
    assert_false(section_verifies(RSA, "sha512"));
}

static void rs256_refuses_a_signature_over_sha1(void **state)
{
    (void)state;
    assert_false(section_verifies(RSA, "sha1"));
}

static void rs256_refuses_a_pss_signature(void **state)
{
    (void)state;
    assert_false(section_verifies(RSA, "pss"));
}

static void rs256_refuses_short_padding_with_garbage_behind_the_digest(void **state)
{
    (void)state;
    assert_false(section_verifies(RSA, "short_padding_with_garbage"));
}

static void rs256_refuses_block_type_2(void **state)
{
    (void)state;
    assert_false(section_verifies(RSA, "block_type_2"));
}

static void rs256_refuses_padding_that_is_not_ff(void **state)
{
    (void)state;
    assert_false(section_verifies(RSA, "padding_not_ff"));
}

static void rs256_refuses_a_digest_without_its_algorithm(void **state)
{
    (void)state;
    assert_false(section_verifies(RSA, "digest_without_algorithm"));
}

struct rs256 {
    struct signature_key *key;
    uint8_t message[1024], signature[600];
    size_t message_len, signature_len;
};

static void rs256_load(struct rs256 *t)
{
    struct numbers n;

    t->key = signature_key_new(rsa_numbers(&n, RFC7515, "rs256"));
    assert_non_null(t->key);
    t->message_len = vector_get(RFC7515, "rs256", "message", t->message, sizeof t->message).len;
    t->signature_len = vector_get(RFC7515, "rs256", "signature", t->signature, sizeof t->signature).len;
}

static bool rs256_verifies(const struct rs256 *t)
{
    return signature_verify(t->key, span_of(t->message, t->message_len),
                            span_of(t->signature, t->signature_len));
}

static void rs256_refuses_a_changed_message(void **state)
{
    struct rs256 t;
    (void)state;

    rs256_load(&t);
    for (size_t i = 0; i < t.message_len; i += 7) {
        t.message[i] ^= 1;
        assert_false(rs256_verifies(&t));
        t.message[i] ^= 1;
    }
    assert_true(rs256_verifies(&t));
    signature_key_free(t.key);
}

static void rs256_refuses_a_signature_not_as_long_as_the_modulus(void **state)
{
    struct rs256 t;
    (void)state;

    rs256_load(&t);
    t.signature_len--;
    assert_false(rs256_verifies(&t));
    t.signature_len = 0;
    assert_false(rs256_verifies(&t));
    memmove(t.signature + 1, t.signature, 256);
    t.signature[0] = 0; /* the same number, one byte longer */
    t.signature_len = 257;
    assert_false(rs256_verifies(&t));
    signature_key_free(t.key);
}

static void rs256_refuses_a_signature_number_not_below_the_modulus(void **state)
{
    struct rs256 t;
    (void)state;

    rs256_load(&t);
    memset(t.signature, 0xff, 256);
    assert_false(rs256_verifies(&t));
    memset(t.signature, 0, 256);
    assert_false(rs256_verifies(&t));
    signature_key_free(t.key);
}

static void an_rsa_modulus_below_2048_bits_does_not_load(void **state)
{
    struct numbers n;
    (void)state;
    assert_false(loads(rsa_numbers(&n, RSA, "modulus_1024")));
    assert_false(loads(rsa_numbers(&n, RSA, "modulus_2040")));
}

static void leading_zeros_do_not_lengthen_a_short_modulus(void **state)
{
    struct numbers n;
    (void)state;

    rsa_numbers(&n, RSA, "modulus_1024");
    memmove(n.a + 128, n.a, 128);
    memset(n.a, 0, 128);
    n.jwk.n_or_x.len = 256;
    assert_false(loads(&n.jwk));
}

static void an_rsa_modulus_above_4096_bits_does_not_load(void **state)
{
    struct numbers n;
    (void)state;

    rsa_numbers(&n, RSA, "valid_4096");
    memmove(n.a + 1, n.a, 512);
    n.a[0] = 1;
    n.jwk.n_or_x.len = 513;
    assert_false(loads(&n.jwk));
}

static void an_even_rsa_modulus_does_not_load(void **state)
{
    struct numbers n;
    (void)state;

    rsa_numbers(&n, RSA, "valid_2048");
    n.a[255] &= 0xfe;
    assert_false(loads(&n.jwk));
}

static void the_exponent_3_does_not_load(void **state)
{
    struct numbers n;
    (void)state;
    assert_false(loads(rsa_numbers(&n, RSA, "exponent_3")));
}

static void an_exponent_even_one_or_below_65537_does_not_load(void **state)
{
    const uint8_t even[] = {1, 0, 2}, below[] = {0xff, 0xff}, one[] = {1}, zero[] = {0};
    struct numbers n;
    (void)state;

    rsa_numbers(&n, RSA, "valid_2048");
    n.jwk.e_or_y = span_of(even, sizeof even);
    assert_false(loads(&n.jwk));
    n.jwk.e_or_y = span_of(below, sizeof below);
    assert_false(loads(&n.jwk));
    n.jwk.e_or_y = span_of(one, sizeof one);
    assert_false(loads(&n.jwk));
    n.jwk.e_or_y = span_of(zero, sizeof zero);
    assert_false(loads(&n.jwk));
}

/* ---- ES256 ---- */

struct es256 {
    struct signature_key *key;
    uint8_t message[1024], rs[64], order[32];
    size_t message_len;
};

static void es256_load(struct es256 *t)
{
    struct numbers n;

    t->key = signature_key_new(ec_numbers(&n));
    assert_non_null(t->key);
    t->message_len = vector_get(RFC7515, "es256", "message", t->message, sizeof t->message).len;
    assert_int_equal(vector_get(RFC7515, "es256", "signature", t->rs, sizeof t->rs).len, 64);
    assert_int_equal(vector_get(RFC7515, "es256", "order", t->order, sizeof t->order).len, 32);
}

static bool es256_verifies(const struct es256 *t)
{
    return signature_verify(t->key, span_of(t->message, t->message_len), span_of(t->rs, sizeof t->rs));
}

static void es256_verifies_rfc7515_a3(void **state)
{
    struct es256 t;
    (void)state;

    es256_load(&t);
    assert_true(es256_verifies(&t));
    signature_key_free(t.key);
}

static void es256_refuses_every_flipped_bit_of_its_signature(void **state)
{
    struct es256 t;
    (void)state;

    es256_load(&t);
    for (size_t bit = 0; bit < 512; bit++) {
        t.rs[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(es256_verifies(&t));
        t.rs[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    signature_key_free(t.key);
}

static void es256_refuses_a_changed_message(void **state)
{
    struct es256 t;
    (void)state;

    es256_load(&t);
    t.message[3] ^= 1;
    assert_false(es256_verifies(&t));
    t.message[3] ^= 1;
    t.message_len--;
    assert_false(es256_verifies(&t));
    signature_key_free(t.key);
}

static void es256_refuses_the_der_form(void **state)
{
    uint8_t der[80];
    struct es256 t;
    (void)state;

    es256_load(&t);
    struct span s = vector_get(RFC7515, "es256", "der", der, sizeof der);
    assert_false(signature_verify(t.key, span_of(t.message, t.message_len), s));
    signature_key_free(t.key);
}

static void es256_refuses_63_and_65_bytes(void **state)
{
    uint8_t longer[65] = {0};
    struct es256 t;
    (void)state;

    es256_load(&t);
    memcpy(longer, t.rs, 64);
    assert_false(signature_verify(t.key, span_of(t.message, t.message_len), span_of(t.rs, 63)));
    assert_false(signature_verify(t.key, span_of(t.message, t.message_len), span_of(longer, 65)));
    signature_key_free(t.key);
}

static bool es256_verifies_with(struct es256 *t, const uint8_t *r, const uint8_t *s)
{
    if (r != NULL)
        memcpy(t->rs, r, 32);
    if (s != NULL)
        memcpy(t->rs + 32, s, 32);
    return es256_verifies(t);
}

static void es256_refuses_r_or_s_of_zero(void **state)
{
    static const uint8_t zero[32];
    struct es256 t, u;
    (void)state;

    es256_load(&t);
    u = t;
    assert_false(es256_verifies_with(&u, zero, NULL));
    u = t;
    assert_false(es256_verifies_with(&u, NULL, zero));
    u = t;
    assert_false(es256_verifies_with(&u, zero, zero));
    signature_key_free(t.key);
}

static void es256_refuses_r_or_s_of_the_order_and_above(void **state)
{
    struct es256 t, u;
    uint8_t ones[32];
    (void)state;

    es256_load(&t);
    memset(ones, 0xff, sizeof ones);
    u = t;
    assert_false(es256_verifies_with(&u, NULL, t.order));
    u = t;
    assert_false(es256_verifies_with(&u, t.order, NULL));
    u = t;
    assert_false(es256_verifies_with(&u, NULL, ones));
    u = t;
    assert_false(es256_verifies_with(&u, t.order, t.order));
    signature_key_free(t.key);
}

static void a_point_off_the_curve_does_not_load(void **state)
{
    struct numbers n;
    (void)state;

    ec_numbers(&n);
    n.b[31] ^= 1;
    assert_false(loads(&n.jwk));
}

static void the_point_zero_zero_does_not_load(void **state)
{
    struct numbers n;
    (void)state;

    ec_numbers(&n);
    memset(n.a, 0, 32);
    memset(n.b, 0, 32);
    assert_false(loads(&n.jwk));
}

static void a_coordinate_above_the_field_does_not_load(void **state)
{
    struct numbers n;
    (void)state;

    ec_numbers(&n);
    memset(n.a, 0xff, 32);
    assert_false(loads(&n.jwk));
}

static void an_ec_key_of_other_lengths_does_not_load(void **state)
{
    struct numbers n;
    (void)state;

    ec_numbers(&n);
    n.jwk.n_or_x.len = 31;
    assert_false(loads(&n.jwk));
    n.jwk.n_or_x.len = 32;
    n.jwk.e_or_y.len = 33;
    assert_false(loads(&n.jwk));
}

static void an_algorithm_we_do_not_know_does_not_load(void **state)
{
    struct numbers n;
    (void)state;

    ec_numbers(&n);
    n.jwk.alg = 3;
    assert_false(loads(&n.jwk));
    n.jwk.alg = 0;
    assert_false(loads(&n.jwk));
}

static void the_algorithm_is_the_keys_whatever_the_signature_says(void **state)
{
    struct rs256 r;
    struct es256 e;
    (void)state;

    rs256_load(&r);
    es256_load(&e);
    assert_false(signature_verify(e.key, span_of(r.message, r.message_len), span_of(r.signature, 256)));
    assert_false(signature_verify(r.key, span_of(e.message, e.message_len), span_of(e.rs, 64)));
    signature_key_free(r.key);
    signature_key_free(e.key);
}

static void a_signature_refused_leaves_no_error_in_the_threads_queue(void **state)
{
    (void)state;
    assert_false(section_verifies(RSA, "sha512"));
    assert_int_equal(ERR_peek_error(), 0);
}

static void a_key_refused_leaves_no_error_in_the_threads_queue(void **state)
{
    struct numbers n;
    (void)state;

    ec_numbers(&n);
    n.b[31] ^= 1;
    assert_false(loads(&n.jwk));
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rs256_verifies_rfc7515_a2),
        cmocka_unit_test(rs256_verifies_under_2048_3072_and_4096_bits),
        cmocka_unit_test(rs256_refuses_a_signature_over_sha512),
        cmocka_unit_test(rs256_refuses_a_signature_over_sha1),
        cmocka_unit_test(rs256_refuses_a_pss_signature),
        cmocka_unit_test(rs256_refuses_short_padding_with_garbage_behind_the_digest),
        cmocka_unit_test(rs256_refuses_block_type_2),
        cmocka_unit_test(rs256_refuses_padding_that_is_not_ff),
        cmocka_unit_test(rs256_refuses_a_digest_without_its_algorithm),
        cmocka_unit_test(rs256_refuses_a_changed_message),
        cmocka_unit_test(rs256_refuses_a_signature_not_as_long_as_the_modulus),
        cmocka_unit_test(rs256_refuses_a_signature_number_not_below_the_modulus),
        cmocka_unit_test(an_rsa_modulus_below_2048_bits_does_not_load),
        cmocka_unit_test(leading_zeros_do_not_lengthen_a_short_modulus),
        cmocka_unit_test(an_rsa_modulus_above_4096_bits_does_not_load),
        cmocka_unit_test(an_even_rsa_modulus_does_not_load),
        cmocka_unit_test(the_exponent_3_does_not_load),
        cmocka_unit_test(an_exponent_even_one_or_below_65537_does_not_load),
        cmocka_unit_test(es256_verifies_rfc7515_a3),
        cmocka_unit_test(es256_refuses_every_flipped_bit_of_its_signature),
        cmocka_unit_test(es256_refuses_a_changed_message),
        cmocka_unit_test(es256_refuses_the_der_form),
        cmocka_unit_test(es256_refuses_63_and_65_bytes),
        cmocka_unit_test(es256_refuses_r_or_s_of_zero),
        cmocka_unit_test(es256_refuses_r_or_s_of_the_order_and_above),
        cmocka_unit_test(a_point_off_the_curve_does_not_load),
        cmocka_unit_test(the_point_zero_zero_does_not_load),
        cmocka_unit_test(a_coordinate_above_the_field_does_not_load),
        cmocka_unit_test(an_ec_key_of_other_lengths_does_not_load),
        cmocka_unit_test(an_algorithm_we_do_not_know_does_not_load),
        cmocka_unit_test(the_algorithm_is_the_keys_whatever_the_signature_says),
        cmocka_unit_test(a_signature_refused_leaves_no_error_in_the_threads_queue),
        cmocka_unit_test(a_key_refused_leaves_no_error_in_the_threads_queue),
    };
    return RUN_TESTS("signature", tests);
}
