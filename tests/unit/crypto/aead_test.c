#include "drivers/crypto/aead.h"
#include "drivers/crypto/vectors/accumulated.h"
#include "drivers/crypto/vectors/shake128.h"
#include "tests/unit/test.h"
#include "tests/unit/vectors.h"

#include <mbedtls/cipher.h>
#include <mbedtls/cmac.h>
#include <mbedtls/gcm.h>

#define FILE_XAES "xaes/c2sp.txt"

static struct aead_worker *worker;

static int setup(void **state)
{
    (void)state;
    worker = aead_worker_new();
    assert_non_null(worker);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    aead_worker_free(worker);
    return 0;
}

struct vector {
    uint8_t key[32], nonce[24], kx[32], aad[64], plaintext[64], sealed[80];
    size_t aad_len, plaintext_len;
};

static void vector_load(const char *section, struct vector *v)
{
    assert_int_equal(vector_get(FILE_XAES, section, "key", v->key, 32).len, 32);
    assert_int_equal(vector_get(FILE_XAES, section, "nonce", v->nonce, 24).len, 24);
    assert_int_equal(vector_get(FILE_XAES, section, "kx", v->kx, 32).len, 32);
    v->aad_len = vector_get(FILE_XAES, section, "aad", v->aad, sizeof v->aad).len;
    v->plaintext_len = vector_get(FILE_XAES, section, "plaintext", v->plaintext, sizeof v->plaintext).len;
    assert_int_equal(vector_get(FILE_XAES, section, "sealed", v->sealed, sizeof v->sealed).len,
                     v->plaintext_len + XAES_TAG_LEN);
}

static void derives(const char *section)
{
    struct vector v;
    struct xaes_derived d;

    vector_load(section, &v);
    struct aead_key *k = aead_key_new(worker, v.key);
    assert_non_null(k);
    assert_true(xaes_derive(k, v.nonce, false, &d));
    assert_memory_equal(d.kx, v.kx, 32);
    assert_true(xaes_derive(k, v.nonce, true, &d));
    assert_memory_equal(d.kx, v.kx, 32);
    aead_key_free(k);
}

static void seals_and_opens(const char *section)
{
    struct vector v;
    struct xaes_derived d;
    uint8_t out[80], back[64];

    vector_load(section, &v);
    struct aead_key *k = aead_key_new(worker, v.key);
    const struct span aad = span_of(v.aad, v.aad_len);
    assert_true(xaes_derive(k, v.nonce, false, &d));
    assert_true(xaes_seal(worker, &d, v.nonce, &aad, 1, span_of(v.plaintext, v.plaintext_len), out,
                          out + v.plaintext_len));
    assert_memory_equal(out, v.sealed, v.plaintext_len + XAES_TAG_LEN);
    assert_true(xaes_open(worker, &d, v.nonce, &aad, 1, span_of(v.sealed, v.plaintext_len),
                          v.sealed + v.plaintext_len, back));
    assert_memory_equal(back, v.plaintext, v.plaintext_len);
    aead_key_free(k);
}

static void derivation_gives_kx_of_vector_1(void **state)
{
    (void)state;
    derives("vector_1");
}

static void derivation_gives_kx_of_vector_2_whose_subkey_wraps_round(void **state)
{
    (void)state;
    derives("vector_2");
}

static void vector_1_seals_and_opens_without_aad(void **state)
{
    (void)state;
    seals_and_opens("vector_1");
}

static void vector_2_seals_and_opens_with_aad(void **state)
{
    (void)state;
    seals_and_opens("vector_2");
}

static void shake128_of_nothing_begins_as_published(void **state)
{
    struct shake128 s = {.at = 0};
    uint8_t got[16], want[16];
    (void)state;

    shake128_squeeze(&s, got, sizeof got);
    vector_get(FILE_XAES, "accumulated", "source", want, sizeof want);
    assert_memory_equal(got, want, sizeof want);
}

static void ten_thousand_accumulated_rounds_give_the_published_hash(void **state)
{
    uint8_t got[32], want[32];
    (void)state;

    assert_true(xaes_accumulate(worker, 10000, got));
    assert_int_equal(vector_get(FILE_XAES, "accumulated", "rounds_10000", want, sizeof want).len, 32);
    assert_memory_equal(got, want, sizeof want);
}

/* ---- against another implementation ---- */

static void mbedtls_cmac_counter(const uint8_t key[32], const uint8_t nonce[24], uint8_t counter,
                                 uint8_t out[16])
{
    uint8_t m[16] = {0, counter, 'X', 0};

    memcpy(m + 4, nonce, 12);
    const mbedtls_cipher_info_t *info = mbedtls_cipher_info_from_type(MBEDTLS_CIPHER_AES_256_ECB);
    assert_int_equal(mbedtls_cipher_cmac(info, key, 256, m, sizeof m, out), 0);
}

static void kx_and_commitment_are_mbedtls_cmacs_of_counters_1_to_4(void **state)
{
    uint8_t key[32], nonce[24], want[64];
    struct shake128 random = {.at = 0};
    struct xaes_derived d;
    (void)state;

    for (size_t round = 0; round < 200; round++) {
        shake128_squeeze(&random, key, sizeof key);
        shake128_squeeze(&random, nonce, sizeof nonce);
        for (uint8_t i = 0; i < 4; i++)
            mbedtls_cmac_counter(key, nonce, (uint8_t)(i + 1), want + 16 * i);
        struct aead_key *k = aead_key_new(worker, key);
        assert_true(xaes_derive(k, nonce, true, &d));
        assert_memory_equal(d.kx, want, 32);
        assert_memory_equal(d.commitment, want + 32, 32);
        aead_key_free(k);
    }
}

static void a_changed_context_is_one_of_the_new_key(void **state)
{
    uint8_t key[32], nonce[24];
    struct shake128 random = {.at = 0};
    struct xaes_derived d, fresh;
    (void)state;

    shake128_squeeze(&random, key, sizeof key);
    struct aead_key *k = aead_key_new(worker, key);
    for (size_t round = 0; round < 20; round++) {
        shake128_squeeze(&random, key, sizeof key);
        shake128_squeeze(&random, nonce, sizeof nonce);
        assert_true(aead_key_change(k, key));
        assert_true(xaes_derive(k, nonce, true, &d));
        assert_true(xaes_derive_fresh(worker, key, nonce, &fresh));
        assert_memory_equal(&d, &fresh, sizeof d);
    }
    aead_key_free(k);
}

static void mbedtls_opens_what_we_seal(void **state)
{
    static uint8_t in[5000], out[5000], back[5000];
    uint8_t key[32], nonce[24], head[68], extra[7], joined[75], tag[16];
    struct shake128 random = {.at = 0};
    struct xaes_derived d;
    mbedtls_gcm_context gcm;
    (void)state;

    shake128_squeeze(&random, key, sizeof key);
    shake128_squeeze(&random, nonce, sizeof nonce);
    shake128_squeeze(&random, joined, sizeof joined);
    shake128_squeeze(&random, in, sizeof in);
    memcpy(head, joined, 68);
    memcpy(extra, joined + 68, 7);
    const struct span aad[] = {span_of(head, 68), span_of(NULL, 0), span_of(extra, 7)};
    struct aead_key *k = aead_key_new(worker, key);
    assert_true(xaes_derive(k, nonce, true, &d));
    mbedtls_gcm_init(&gcm);
    assert_int_equal(mbedtls_gcm_setkey(&gcm, MBEDTLS_CIPHER_ID_AES, d.kx, 256), 0);
    for (size_t len = 0; len <= sizeof in; len = len * 2 + 1) {
        assert_true(xaes_seal(worker, &d, nonce, aad, 3, span_of(in, len), out, tag));
        assert_int_equal(mbedtls_gcm_auth_decrypt(&gcm, len, nonce + 12, 12, joined, 75, tag, 16, out, back),
                         0);
        assert_memory_equal(back, in, len);
    }
    mbedtls_gcm_free(&gcm);
    aead_key_free(k);
}

/* ---- refusals ---- */

struct sealed {
    struct xaes_derived d;
    uint8_t nonce[24], in[32], out[32], tag[16];
    struct span aad;
};

static void sealed_make(struct sealed *s)
{
    static const uint8_t key[32] = {1};
    struct aead_key *k = aead_key_new(worker, key);

    memset(s, 0, sizeof *s);
    memset(s->in, 0x42, sizeof s->in);
    s->aad = span_str("aad");
    assert_true(xaes_derive(k, s->nonce, true, &s->d));
    assert_true(xaes_seal(worker, &s->d, s->nonce, &s->aad, 1, span_of(s->in, sizeof s->in), s->out, s->tag));
    aead_key_free(k);
}

static bool sealed_opens(const struct sealed *s, uint8_t *back)
{
    return xaes_open(worker, &s->d, s->nonce, &s->aad, 1, span_of(s->out, sizeof s->out), s->tag, back);
}

static void every_flipped_bit_of_ciphertext_is_refused_and_leaves_zeros(void **state)
{
    static const uint8_t zeros[32];
    struct sealed s;
    uint8_t back[32];
    (void)state;

    sealed_make(&s);
    for (size_t bit = 0; bit < 8 * sizeof s.out; bit++) {
        s.out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        memset(back, 0xee, sizeof back);
        assert_false(sealed_opens(&s, back));
        assert_memory_equal(back, zeros, sizeof back);
        s.out[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(sealed_opens(&s, back));
}

static void every_flipped_bit_of_the_tag_is_refused(void **state)
{
    struct sealed s;
    uint8_t back[32];
    (void)state;

    sealed_make(&s);
    for (size_t bit = 0; bit < 8 * sizeof s.tag; bit++) {
        s.tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(sealed_opens(&s, back));
        s.tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void another_aad_is_refused(void **state)
{
    struct sealed s;
    uint8_t back[32];
    (void)state;

    sealed_make(&s);
    s.aad = span_str("aae");
    assert_false(sealed_opens(&s, back));
    s.aad = span_str("");
    assert_false(sealed_opens(&s, back));
}

static void sealing_and_opening_may_be_in_place(void **state)
{
    struct sealed s;
    uint8_t place[32];
    (void)state;

    sealed_make(&s);
    memcpy(place, s.in, sizeof place);
    assert_true(xaes_seal(worker, &s.d, s.nonce, &s.aad, 1, span_of(place, 32), place, s.tag));
    assert_memory_equal(place, s.out, 32);
    assert_true(xaes_open(worker, &s.d, s.nonce, &s.aad, 1, span_of(place, 32), s.tag, place));
    assert_memory_equal(place, s.in, 32);
}

static void a_worker_that_forgot_still_seals(void **state)
{
    struct sealed a, b;
    (void)state;

    sealed_make(&a);
    aead_worker_forget(worker);
    sealed_make(&b);
    assert_memory_equal(a.out, b.out, sizeof a.out);
}

static void a_fresh_derivation_is_the_cached_one(void **state)
{
    struct vector v;
    struct xaes_derived cached, fresh;
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        vector_load(i == 0 ? "vector_1" : "vector_2", &v);
        struct aead_key *k = aead_key_new(worker, v.key);
        assert_true(xaes_derive(k, v.nonce, true, &cached));
        assert_true(xaes_derive_fresh(worker, v.key, v.nonce, &fresh));
        assert_memory_equal(&cached, &fresh, sizeof cached);
        aead_key_free(k);
    }
}

static void derivation_without_commitment_leaves_it_zero(void **state)
{
    static const uint8_t key[32] = {1}, nonce[24], zeros[32];
    struct xaes_derived d;
    (void)state;

    memset(&d, 0xee, sizeof d);
    struct aead_key *k = aead_key_new(worker, key);
    assert_true(xaes_derive(k, nonce, false, &d));
    assert_memory_equal(d.commitment, zeros, 32);
    aead_key_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(derivation_gives_kx_of_vector_1),
        cmocka_unit_test(derivation_gives_kx_of_vector_2_whose_subkey_wraps_round),
        cmocka_unit_test(vector_1_seals_and_opens_without_aad),
        cmocka_unit_test(vector_2_seals_and_opens_with_aad),
        cmocka_unit_test(shake128_of_nothing_begins_as_published),
        cmocka_unit_test(ten_thousand_accumulated_rounds_give_the_published_hash),
        cmocka_unit_test(kx_and_commitment_are_mbedtls_cmacs_of_counters_1_to_4),
        cmocka_unit_test(a_changed_context_is_one_of_the_new_key),
        cmocka_unit_test(mbedtls_opens_what_we_seal),
        cmocka_unit_test(every_flipped_bit_of_ciphertext_is_refused_and_leaves_zeros),
        cmocka_unit_test(every_flipped_bit_of_the_tag_is_refused),
        cmocka_unit_test(another_aad_is_refused),
        cmocka_unit_test(sealing_and_opening_may_be_in_place),
        cmocka_unit_test(a_worker_that_forgot_still_seals),
        cmocka_unit_test(a_fresh_derivation_is_the_cached_one),
        cmocka_unit_test(derivation_without_commitment_leaves_it_zero),
    };
    return cmocka_run_group_tests_name("aead", tests, setup, teardown);
}
