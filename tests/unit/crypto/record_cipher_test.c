#include "drivers/crypto/record_cipher.h"
#include "tests/unit/test.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#define LEN_MAX 4200

static OSSL_LIB_CTX *lib;
static OSSL_PROVIDER *ours, *standard;
static EVP_CIPHER *theirs[2], *mine[2]; /* AES-128-GCM, AES-256-GCM */

static const char *const names[2] = {"AES-128-GCM", "AES-256-GCM"};

static int setup(void **state)
{
    (void)state;
    lib = OSSL_LIB_CTX_new();
    ours = record_cipher_load(lib, &standard);
    assert_non_null(ours);
    for (int i = 0; i < 2; i++) {
        mine[i] = EVP_CIPHER_fetch(lib, names[i], RECORD_CIPHER_WANTED);
        theirs[i] = EVP_CIPHER_fetch(lib, names[i], "provider=default");
        assert_non_null(mine[i]);
        assert_non_null(theirs[i]);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        EVP_CIPHER_free(mine[i]);
        EVP_CIPHER_free(theirs[i]);
    }
    assert_int_equal(OSSL_PROVIDER_unload(ours), 1);
    assert_int_equal(OSSL_PROVIDER_unload(standard), 1);
    OSSL_LIB_CTX_free(lib);
    return 0;
}

struct message {
    uint8_t key[32], iv[12], aad[13], text[LEN_MAX], tag[16];
    size_t aad_len, len;
};

static void draw(struct message *m, size_t len)
{
    assert_int_equal(RAND_bytes_ex(lib, (unsigned char *)m, sizeof *m, 0), 1);
    m->aad_len = len % 2 == 0 ? 5 : 13;
    m->len = len;
}

/* As libssl does: the key once, then nonce, additional data, text, tag. */
static EVP_CIPHER_CTX *keyed(EVP_CIPHER *cipher, const struct message *m, int sealing)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();

    assert_int_equal(EVP_CipherInit_ex(c, cipher, NULL, NULL, NULL, sealing), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_IVLEN, 12, NULL), 1);
    assert_int_equal(EVP_CipherInit_ex(c, NULL, NULL, m->key, NULL, -1), 1);
    return c;
}

static bool text_through(EVP_CIPHER_CTX *c, const struct message *m, uint8_t *out)
{
    int n = 0, end = 0;

    return EVP_CipherUpdate(c, NULL, &n, m->aad, (int)m->aad_len) == 1 &&
           EVP_CipherUpdate(c, out, &n, m->text, (int)m->len) == 1 && (size_t)n == m->len &&
           EVP_CipherFinal_ex(c, out + n, &end) == 1 && end == 0;
}

static void seal(EVP_CIPHER *cipher, const struct message *m, struct message *sealed)
{
    EVP_CIPHER_CTX *c = keyed(cipher, m, 1);

    *sealed = *m;
    assert_int_equal(EVP_CipherInit_ex(c, NULL, NULL, NULL, m->iv, 1), 1);
    assert_true(text_through(c, m, sealed->text));
    assert_int_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, sealed->tag), 1);
    EVP_CIPHER_CTX_free(c);
}

static bool open_with(EVP_CIPHER_CTX *c, const struct message *sealed, uint8_t *out)
{
    return EVP_CipherInit_ex(c, NULL, NULL, NULL, sealed->iv, 0) == 1 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, 16, (void *)(uintptr_t)sealed->tag) == 1 &&
           text_through(c, sealed, out);
}

static bool opens(EVP_CIPHER *cipher, const struct message *sealed, uint8_t *out)
{
    EVP_CIPHER_CTX *c = keyed(cipher, sealed, 0);
    bool good = open_with(c, sealed, out);

    EVP_CIPHER_CTX_free(c);
    ERR_clear_error();
    return good;
}

static void the_wanted_cipher_is_ours(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_ptr_equal(EVP_CIPHER_get0_provider(mine[i]), ours);
        assert_ptr_equal(EVP_CIPHER_get0_provider(theirs[i]), standard);
        assert_int_equal(EVP_CIPHER_get_nid(mine[i]), EVP_CIPHER_get_nid(theirs[i]));
        assert_int_equal(EVP_CIPHER_get_flags(mine[i]), EVP_CIPHER_get_flags(theirs[i]));
        assert_int_equal(EVP_CIPHER_get_iv_length(mine[i]), 12);
    }
}

static void it_seals_and_opens_what_the_standard_one_does_at_every_length(void **state)
{
    static struct message m, a, b;
    static uint8_t back[LEN_MAX];
    (void)state;

    for (size_t len = 1; len <= LEN_MAX; len += len < 600 ? 1 : 97) {
        for (int i = 0; i < 2; i++) {
            draw(&m, len);
            seal(mine[i], &m, &a);
            seal(theirs[i], &m, &b);
            assert_memory_equal(a.text, b.text, len);
            assert_memory_equal(a.tag, b.tag, 16);
            assert_true(opens(mine[i], &b, back));
            assert_memory_equal(back, m.text, len);
            assert_true(opens(theirs[i], &a, back));
        }
    }
}

static void any_flipped_bit_is_refused(void **state)
{
    static struct message m, sealed;
    uint8_t out[64];
    (void)state;

    draw(&m, 40);
    seal(mine[1], &m, &sealed);
    assert_true(opens(mine[1], &sealed, out));
    uint8_t *parts[] = {sealed.iv, sealed.aad, sealed.text, sealed.tag};
    size_t lens[] = {12, sealed.aad_len, sealed.len, 16};
    for (int part = 0; part < 4; part++) {
        for (size_t bit = 0; bit < 8 * lens[part]; bit++) {
            parts[part][bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(opens(mine[1], &sealed, out));
            parts[part][bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void
one_context_serves_one_message_after_the_other_and_none_after_a_failure_is_better_for_it(void **state)
{
    static struct message m[3], sealed[3];
    uint8_t out[128];
    (void)state;

    for (int i = 0; i < 3; i++) {
        draw(&m[i], 50 + (size_t)i);
        memcpy(m[i].key, m[0].key, sizeof m[0].key);
        seal(theirs[1], &m[i], &sealed[i]);
    }
    sealed[1].tag[3] ^= 1;
    EVP_CIPHER_CTX *c = keyed(mine[1], &m[0], 0);
    assert_true(open_with(c, &sealed[0], out));
    assert_false(open_with(c, &sealed[1], out));
    assert_true(open_with(c, &sealed[2], out));
    assert_memory_equal(out, m[2].text, m[2].len);
    EVP_CIPHER_CTX_free(c);
    ERR_clear_error();
}

static void a_nonce_serves_for_one_text(void **state)
{
    static struct message m;
    uint8_t out[128];
    int n;
    (void)state;

    draw(&m, 30);
    EVP_CIPHER_CTX *c = keyed(mine[1], &m, 1);
    assert_false(text_through(c, &m, out)); /* none was given */
    assert_int_equal(EVP_CipherInit_ex(c, NULL, NULL, NULL, m.iv, 1), 1);
    assert_true(text_through(c, &m, out));
    assert_int_not_equal(EVP_CipherUpdate(c, out, &n, m.text, 30), 1);
    assert_int_not_equal(EVP_CipherUpdate(c, NULL, &n, m.aad, 5), 1);
    EVP_CIPHER_CTX_free(c);
    ERR_clear_error();
}

static void no_tag_is_given_before_the_text_and_none_is_taken_without_one(void **state)
{
    static struct message m, sealed;
    uint8_t out[128], tag[16];
    (void)state;

    draw(&m, 30);
    EVP_CIPHER_CTX *c = keyed(mine[1], &m, 1);
    assert_int_equal(EVP_CipherInit_ex(c, NULL, NULL, NULL, m.iv, 1), 1);
    assert_int_not_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, tag), 1);
    EVP_CIPHER_CTX_free(c);
    seal(mine[1], &m, &sealed);
    c = keyed(mine[1], &m, 0);
    assert_int_equal(EVP_CipherInit_ex(c, NULL, NULL, NULL, m.iv, 0), 1);
    assert_false(text_through(c, &sealed, out));
    /* nor does that of the message before do for the next */
    assert_true(open_with(c, &sealed, out));
    assert_int_equal(EVP_CipherInit_ex(c, NULL, NULL, NULL, m.iv, 0), 1);
    assert_false(text_through(c, &sealed, out));
    EVP_CIPHER_CTX_free(c);
    ERR_clear_error();
}

static void other_nonce_lengths_and_shorter_tags_are_refused(void **state)
{
    static struct message m;
    (void)state;

    draw(&m, 30);
    EVP_CIPHER_CTX *c = keyed(mine[0], &m, 0);
    assert_int_not_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_IVLEN, 16, NULL), 1);
    assert_int_not_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, 12, m.tag), 1);
    EVP_CIPHER_CTX_free(c);
    ERR_clear_error();
}

/* TLS 1.2 (RFC 5288): four bytes of the nonce are the key's, eight stand before the text. */
static size_t tls12_record(EVP_CIPHER *cipher, const struct message *m, int sealing, uint8_t *record,
                           size_t len)
{
    uint8_t aad[13], fixed[4];
    int n = 0;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();

    memcpy(fixed, m->iv, sizeof fixed);
    memcpy(aad, m->aad, sizeof aad);
    aad[11] = 0;
    aad[12] = (uint8_t)(sealing ? len - 16 : len); /* of the fragment, before the tag is added */
    assert_int_equal(EVP_CipherInit_ex(c, cipher, NULL, m->key, NULL, sealing), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_IV_FIXED, 4, fixed), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_TLS1_AAD, sizeof aad, aad), 16);
    bool good = EVP_CipherUpdate(c, record, &n, record, (int)len) == 1;
    EVP_CIPHER_CTX_free(c);
    ERR_clear_error();
    return good ? (size_t)n : 0;
}

static void records_of_tls_1_2_are_left_to_the_standard_provider(void **state)
{
    static struct message m;
    uint8_t record[8 + 100 + 16];
    (void)state;

    for (int i = 0; i < 2; i++) {
        draw(&m, 100);
        memcpy(record + 8, m.text, 100);
        assert_int_not_equal(tls12_record(mine[i], &m, 1, record, sizeof record), 0);
        assert_memory_not_equal(record + 8, m.text, 100);
        record[40] ^= 1;
        uint8_t bad[sizeof record];
        memcpy(bad, record, sizeof bad);
        assert_int_equal(tls12_record(mine[i], &m, 0, bad, sizeof bad), 0);
        record[40] ^= 1;
        assert_int_not_equal(tls12_record(theirs[i], &m, 0, record, sizeof record), 0);
        assert_memory_equal(record + 8, m.text, 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_wanted_cipher_is_ours),
        cmocka_unit_test(it_seals_and_opens_what_the_standard_one_does_at_every_length),
        cmocka_unit_test(any_flipped_bit_is_refused),
        cmocka_unit_test(
            one_context_serves_one_message_after_the_other_and_none_after_a_failure_is_better_for_it),
        cmocka_unit_test(a_nonce_serves_for_one_text),
        cmocka_unit_test(no_tag_is_given_before_the_text_and_none_is_taken_without_one),
        cmocka_unit_test(other_nonce_lengths_and_shorter_tags_are_refused),
        cmocka_unit_test(records_of_tls_1_2_are_left_to_the_standard_provider),
    };
    return cmocka_run_group_tests_name("record cipher", tests, setup, teardown);
}
