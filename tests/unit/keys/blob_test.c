#include "drivers/crypto/rng.h"
#include "tests/unit/keys/fixture.h"
#include "tests/unit/vectors.h"

#include <mbedtls/cipher.h>
#include <mbedtls/cmac.h>
#include <mbedtls/gcm.h>
#include <stdlib.h>

#define TEXT     "a data key, 32 bytes long, so so!"
#define TEXT_LEN (sizeof TEXT - 1)
#define BLOB_LEN (TEXT_LEN + BLOB_OVERHEAD)

static struct fixture f;

static int setup(void **state)
{
    (void)state;
    fixture_two_keys(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static void wrap_a(uint8_t blob[BLOB_LEN])
{
    assert_int_equal(wrap(&f, "v0/a", TEXT, "aad", blob), KEYS_OK);
}

static bool all_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

/* The one answer: BAD_BLOB, no length, zeros in the buffer. */
static void is_bad(const char *path, struct span blob, const char *aad)
{
    uint8_t plaintext[256];
    size_t len = 77;

    memset(plaintext, 0xee, sizeof plaintext);
    assert_int_equal(unwrap(&f, path, blob, aad, plaintext, &len), KEYS_BAD_BLOB);
    assert_int_equal(len, 0);
    if (blob.len > BLOB_OVERHEAD)
        assert_true(all_zero(plaintext, blob.len - BLOB_OVERHEAD));
}

/* ---- the format ---- */

static void unwrap_gives_back_what_was_wrapped(void **state)
{
    uint8_t blob[BLOB_LEN], plaintext[TEXT_LEN];
    size_t len;
    (void)state;

    wrap_a(blob);
    assert_int_equal(unwrap(&f, "v0/a", span_of(blob, BLOB_LEN), "aad", plaintext, &len), KEYS_OK);
    assert_int_equal(len, TEXT_LEN);
    assert_memory_equal(plaintext, TEXT, TEXT_LEN);
}

static void the_head_is_format_suite_reserved_and_the_versions_tag(void **state)
{
    uint8_t blob[BLOB_LEN], tag[8];
    (void)state;

    wrap_a(blob);
    fixture_tag(1, 1, tag);
    assert_int_equal(blob[0], 1);
    assert_int_equal(blob[1], 1);
    assert_int_equal(blob[2] | blob[3], 0);
    assert_memory_equal(blob + 4, tag, 8);
}

static void two_wraps_of_one_plaintext_share_no_nonce(void **state)
{
    uint8_t x[BLOB_LEN], y[BLOB_LEN];
    (void)state;

    wrap_a(x);
    wrap_a(y);
    assert_memory_not_equal(x + 12, y + 12, 24);
}

static void the_nonce_is_the_next_24_bytes_of_the_workers_pool(void **state)
{
    uint8_t blob[BLOB_LEN], want[24], seed[32];
    (void)state;

    memcpy(seed, fixture_seed, sizeof seed);
    struct rng *r = rng_new(seed);
    rng_bytes(r, want, sizeof want);
    wrap_a(blob);
    assert_memory_equal(blob + 12, want, sizeof want);
    rng_free(r);
}

static void an_empty_plaintext_wraps_to_84_bytes_and_back(void **state)
{
    uint8_t blob[BLOB_OVERHEAD], none[1];
    size_t len = 5;
    (void)state;

    assert_int_equal(wrap(&f, "v0/a", "", "", blob), KEYS_OK);
    assert_int_equal(unwrap(&f, "v0/a", span_of(blob, sizeof blob), "", none, &len), KEYS_OK);
    assert_int_equal(len, 0);
}

static void the_largest_plaintext_and_aad_wrap_and_unwrap(void **state)
{
    uint8_t *text = malloc(EKM_PLAINTEXT_MAX), *blob = malloc(EKM_PLAINTEXT_MAX + BLOB_OVERHEAD);
    uint8_t *back = malloc(EKM_PLAINTEXT_MAX), *aad = malloc(EKM_AAD_MAX);
    uint32_t version;
    size_t len;
    (void)state;

    memset(text, 'p', EKM_PLAINTEXT_MAX);
    memset(aad, 'a', EKM_AAD_MAX);
    const struct key *k = find(&f, "v0/a");
    assert_int_equal(
        keys_wrap(f.worker, k, secret_of(text, EKM_PLAINTEXT_MAX), span_of(aad, EKM_AAD_MAX), blob, &version),
        KEYS_OK);
    assert_int_equal(version, 1);
    assert_int_equal(keys_unwrap(f.worker, k, span_of(blob, EKM_PLAINTEXT_MAX + BLOB_OVERHEAD),
                                 span_of(aad, EKM_AAD_MAX), back, &len, &version),
                     KEYS_OK);
    assert_memory_equal(back, text, EKM_PLAINTEXT_MAX);
    free(text);
    free(blob);
    free(back);
    free(aad);
}

static void a_plaintext_above_the_limit_is_a_fault_and_leaves_zeros(void **state)
{
    size_t len = EKM_PLAINTEXT_MAX + 1;
    uint8_t *text = calloc(1, len), *blob = malloc(len + BLOB_OVERHEAD);
    uint32_t version;
    (void)state;

    memset(blob, 0xee, len + BLOB_OVERHEAD);
    assert_int_equal(
        keys_wrap(f.worker, find(&f, "v0/a"), secret_of(text, len), span_str(""), blob, &version),
        KEYS_FAULT);
    assert_true(all_zero(blob, len + BLOB_OVERHEAD));
    free(text);
    free(blob);
}

/* ---- against another implementation ---- */

static void mbedtls_counter(const uint8_t *key, const uint8_t *nonce, uint8_t counter, uint8_t *out)
{
    uint8_t m[16] = {0, counter, 'X', 0};

    memcpy(m + 4, nonce, 12);
    assert_int_equal(mbedtls_cipher_cmac(mbedtls_cipher_info_from_type(MBEDTLS_CIPHER_AES_256_ECB), key, 256,
                                         m, sizeof m, out),
                     0);
}

/* The blob read as docs/WIRE.md has it, by code that shares nothing with ours. */
static int mbedtls_unwrap(const uint8_t *key, const uint8_t *id, struct span blob, struct span aad,
                          uint8_t *out)
{
    uint8_t derived[64], joined[68 + 16 + 8 + 64];
    size_t len = blob.len - 84;
    mbedtls_gcm_context gcm;

    for (uint8_t i = 0; i < 4; i++)
        mbedtls_counter(key, blob.ptr + 12, (uint8_t)(i + 1), derived + 16 * i);
    if (memcmp(derived + 32, blob.ptr + 36, 32) != 0)
        return -1;
    memcpy(joined, blob.ptr, 68);
    memcpy(joined + 68, id, 16);
    memset(joined + 84, 0, 8);
    joined[91] = (uint8_t)aad.len;
    memcpy(joined + 92, aad.ptr, aad.len);
    mbedtls_gcm_init(&gcm);
    assert_int_equal(mbedtls_gcm_setkey(&gcm, MBEDTLS_CIPHER_ID_AES, derived, 256), 0);
    int rc = mbedtls_gcm_auth_decrypt(&gcm, len, blob.ptr + 24, 12, joined, 92 + aad.len, blob.ptr + 68 + len,
                                      16, blob.ptr + 68, out);
    mbedtls_gcm_free(&gcm);
    return rc;
}

static void mbedtls_unwraps_what_we_wrap(void **state)
{
    uint8_t blob[BLOB_LEN], back[TEXT_LEN], key[32], id[16];
    (void)state;

    fixture_material(1, 1, key);
    fixture_id(1, id);
    for (size_t i = 0; i < 100; i++) {
        wrap_a(blob);
        assert_int_equal(mbedtls_unwrap(key, id, span_of(blob, BLOB_LEN), span_str("aad"), back), 0);
        assert_memory_equal(back, TEXT, TEXT_LEN);
    }
}

static void the_example_blob_of_the_document_is_what_we_wrap(void **state)
{
    uint8_t blob[BLOB_LEN], want[256], key[32], id[16];
    (void)state;

    wrap_a(blob);
    fixture_material(1, 1, key);
    fixture_id(1, id);
    assert_memory_equal(key, vector_get("blob/suite1.txt", "example", "key", want, sizeof want).ptr, 32);
    assert_memory_equal(id, vector_get("blob/suite1.txt", "example", "key_id", want, sizeof want).ptr, 16);
    struct span b = vector_get("blob/suite1.txt", "example", "blob", want, sizeof want);
    assert_int_equal(b.len, BLOB_LEN);
    assert_memory_equal(blob, b.ptr, BLOB_LEN);
}

/* docs/WIRE.md prints the example blob as hexdump -C would: its hex digits, with all else left out, must be the
 * blob's. */
static void the_document_prints_the_example_blob(void **state)
{
    uint8_t blob[BLOB_LEN];
    char line[256], want[256];
    (void)state;

    wrap_a(blob);
    FILE *doc = fopen(DOCS_DIR "/WIRE.md", "r");
    assert_non_null(doc);
    size_t at = 0;
    while (at < BLOB_LEN && fgets(line, sizeof line, doc) != NULL) {
        int n = snprintf(want, sizeof want, "%04zx ", at);
        for (size_t i = at; i < at + 16 && i < BLOB_LEN; i++)
            n += snprintf(want + n, sizeof want - (size_t)n, " %02x", blob[i]);
        if (strncmp(line, want, strlen(want)) == 0)
            at += 16;
    }
    fclose(doc);
    assert_true(at >= BLOB_LEN);
}

/* ---- refusals ---- */

static void every_flipped_bit_of_the_blob_is_refused(void **state)
{
    uint8_t blob[BLOB_LEN];
    (void)state;

    wrap_a(blob);
    for (size_t bit = 0; bit < 8 * BLOB_LEN; bit++) {
        blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
        is_bad("v0/a", span_of(blob, BLOB_LEN), "aad");
        blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void every_truncation_of_the_blob_is_refused(void **state)
{
    uint8_t blob[BLOB_LEN];
    (void)state;

    wrap_a(blob);
    for (size_t len = 0; len < BLOB_LEN; len++) {
        uint8_t *exact = malloc(len + 1);
        memcpy(exact, blob, len);
        is_bad("v0/a", span_of(exact, len), "aad");
        free(exact);
    }
}

static void a_blob_with_a_byte_more_is_refused(void **state)
{
    uint8_t blob[BLOB_LEN + 1] = {0};
    (void)state;

    wrap_a(blob);
    is_bad("v0/a", span_of(blob, BLOB_LEN + 1), "aad");
}

static void a_blob_longer_than_any_we_make_is_refused(void **state)
{
    size_t len = EKM_PLAINTEXT_MAX + BLOB_OVERHEAD + 1, out_len;
    uint8_t *blob = calloc(1, len), *out = malloc(len);
    (void)state;

    wrap_a(blob);
    assert_int_equal(unwrap(&f, "v0/a", span_of(blob, len), "aad", out, &out_len), KEYS_BAD_BLOB);
    free(blob);
    free(out);
}

/* Seals the blob again, as its head now stands, under the material of key 1 version 1: whoever has K could.
 * What then refuses it is the check of the head alone. */
static void seal_again(uint8_t blob[BLOB_LEN])
{
    uint8_t key[32], derived[32], id[16], joined[68 + 16 + 8 + 3];
    mbedtls_gcm_context gcm;

    fixture_material(1, 1, key);
    fixture_id(1, id);
    mbedtls_counter(key, blob + 12, 1, derived);
    mbedtls_counter(key, blob + 12, 2, derived + 16);
    memcpy(joined, blob, 68);
    memcpy(joined + 68, id, 16);
    memcpy(joined + 84, "\0\0\0\0\0\0\0\3aad", 11);
    mbedtls_gcm_init(&gcm);
    assert_int_equal(mbedtls_gcm_setkey(&gcm, MBEDTLS_CIPHER_ID_AES, derived, 256), 0);
    assert_int_equal(mbedtls_gcm_crypt_and_tag(&gcm, MBEDTLS_GCM_ENCRYPT, TEXT_LEN, blob + 24, 12, joined,
                                               sizeof joined, (const uint8_t *)TEXT, blob + 68, 16,
                                               blob + 68 + TEXT_LEN),
                     0);
    mbedtls_gcm_free(&gcm);
}

static void a_blob_sealed_again_opens(void **state)
{
    uint8_t blob[BLOB_LEN], plaintext[TEXT_LEN];
    size_t len;
    (void)state;

    wrap_a(blob);
    seal_again(blob);
    assert_int_equal(unwrap(&f, "v0/a", span_of(blob, BLOB_LEN), "aad", plaintext, &len), KEYS_OK);
}

/* Sets one byte of the head, seals again, and is refused. */
static void head_byte_is_refused(size_t at, uint8_t value)
{
    uint8_t blob[BLOB_LEN];

    wrap_a(blob);
    blob[at] = value;
    seal_again(blob);
    is_bad("v0/a", span_of(blob, BLOB_LEN), "aad");
}

static void suite_0_is_refused(void **state)
{
    (void)state;
    head_byte_is_refused(1, 0);
}

static void every_other_suite_byte_is_refused(void **state)
{
    (void)state;
    for (unsigned b = 2; b < 256; b++)
        head_byte_is_refused(1, (uint8_t)b);
}

static void every_other_format_byte_is_refused(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 256; b++) {
        if (b != 1)
            head_byte_is_refused(0, (uint8_t)b);
    }
}

static void a_first_reserved_byte_that_is_not_zero_is_refused(void **state)
{
    (void)state;
    for (unsigned b = 1; b < 256; b++)
        head_byte_is_refused(2, (uint8_t)b);
}

static void a_second_reserved_byte_that_is_not_zero_is_refused(void **state)
{
    (void)state;
    for (unsigned b = 1; b < 256; b++)
        head_byte_is_refused(3, (uint8_t)b);
}

static void a_tag_of_no_version_is_refused(void **state)
{
    (void)state;
    for (size_t at = 4; at < 12; at++)
        head_byte_is_refused(at, 0x99);
}

static void another_aad_is_refused(void **state)
{
    uint8_t blob[BLOB_LEN];
    (void)state;

    wrap_a(blob);
    is_bad("v0/a", span_of(blob, BLOB_LEN), "aaD");
    is_bad("v0/a", span_of(blob, BLOB_LEN), "");
    is_bad("v0/a", span_of(blob, BLOB_LEN), "aada");
}

static void a_blob_of_one_key_does_not_open_on_the_other_keys_path(void **state)
{
    uint8_t blob[BLOB_LEN];
    (void)state;

    wrap_a(blob);
    is_bad("v0/b", span_of(blob, BLOB_LEN), "aad");
}

static void a_blob_of_one_key_does_not_open_under_any_tag_or_suite_of_the_other(void **state)
{
    uint8_t blob[BLOB_LEN];
    (void)state;

    wrap_a(blob);
    fixture_tag(2, 1, blob + 4);
    for (unsigned suite = 0; suite < 256; suite++) {
        blob[1] = (uint8_t)suite;
        is_bad("v0/b", span_of(blob, BLOB_LEN), "aad");
        is_bad("v0/a", span_of(blob, BLOB_LEN), "aad");
    }
}

/* Two keys that share tag and material: only the id in the AAD tells them apart. */
static void a_blob_is_bound_to_its_keys_id_even_where_tag_and_material_are_equal(void **state)
{
    uint8_t blob[BLOB_LEN], material[32];
    struct ctl_key_version m = {.version = 1, .state = KEY_STATE_ENABLED};
    (void)state;

    begin_delta(f.keys);
    assert_int_equal(stage_key(f.keys, 3, "v0/twin", 1), 0);
    fixture_id(3, m.key_id);
    fixture_tag(1, 1, m.tag);
    fixture_material(1, 1, material);
    m.material = secret_of(material, 32);
    assert_int_equal(keys_stage_version(f.keys, &m), 0);
    publish_and_settle(&f);
    wrap_a(blob);
    is_bad("v0/twin", span_of(blob, BLOB_LEN), "aad");
}

static void every_wrong_commitment_is_refused_even_where_gcm_would_pass(void **state)
{
    uint8_t blob[BLOB_LEN];
    (void)state;

    wrap_a(blob);
    for (size_t at = 36; at < 68; at++)
        head_byte_is_refused(at, (uint8_t)~blob[at]);
}

/* ---- verify after wrap ---- */

static void fault_is_caught(enum keys_fault fault, uint32_t bit)
{
    uint8_t blob[BLOB_LEN];
    uint64_t before = counter_read(&f.counters, REASON_KEYS_VERIFY_AFTER_WRAP_FAILED);

    memset(blob, 0xee, sizeof blob);
    keys_inject_fault(f.worker, fault, bit);
    assert_int_equal(wrap(&f, "v0/a", TEXT, "aad", blob), KEYS_FAULT);
    assert_true(all_zero(blob, sizeof blob));
    assert_int_equal(counter_read(&f.counters, REASON_KEYS_VERIFY_AFTER_WRAP_FAILED), before + 1);
}

static void a_bit_flipped_in_the_derived_key_leaves_no_blob(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 256; bit++)
        fault_is_caught(KEYS_FAULT_DERIVATION, bit);
}

static void a_bit_flipped_in_the_commitment_leaves_no_blob(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 256; bit++)
        fault_is_caught(KEYS_FAULT_COMMITMENT, bit);
}

static void a_bit_flipped_in_the_head_before_the_sealing_leaves_no_blob(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 8 * BLOB_HEAD_LEN; bit++)
        fault_is_caught(KEYS_FAULT_HEAD, bit);
}

static void a_bit_flipped_in_the_opened_plaintext_leaves_no_blob(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 8 * TEXT_LEN; bit++)
        fault_is_caught(KEYS_FAULT_OPENED, bit);
}

static void a_bit_flipped_in_the_ciphertext_leaves_no_blob(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 8 * TEXT_LEN; bit++)
        fault_is_caught(KEYS_FAULT_CIPHERTEXT, bit);
}

static void a_bit_flipped_in_the_tag_leaves_no_blob(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 128; bit++)
        fault_is_caught(KEYS_FAULT_TAG, bit);
}

static void a_bit_flipped_anywhere_in_the_blob_leaves_no_blob(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 8 * BLOB_LEN; bit++)
        fault_is_caught(KEYS_FAULT_BLOB, bit);
}

static void the_wrap_after_a_fault_is_good_again(void **state)
{
    (void)state;
    fault_is_caught(KEYS_FAULT_TAG, 0);
    keys_inject_fault(f.worker, KEYS_FAULT_NONE, 0);
    unwrap_gives_back_what_was_wrapped(state);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(unwrap_gives_back_what_was_wrapped),
        CASE(the_head_is_format_suite_reserved_and_the_versions_tag),
        CASE(two_wraps_of_one_plaintext_share_no_nonce),
        CASE(the_nonce_is_the_next_24_bytes_of_the_workers_pool),
        CASE(an_empty_plaintext_wraps_to_84_bytes_and_back),
        CASE(the_largest_plaintext_and_aad_wrap_and_unwrap),
        CASE(a_plaintext_above_the_limit_is_a_fault_and_leaves_zeros),
        CASE(mbedtls_unwraps_what_we_wrap),
        CASE(the_example_blob_of_the_document_is_what_we_wrap),
        CASE(the_document_prints_the_example_blob),
        CASE(every_flipped_bit_of_the_blob_is_refused),
        CASE(every_truncation_of_the_blob_is_refused),
        CASE(a_blob_with_a_byte_more_is_refused),
        CASE(a_blob_longer_than_any_we_make_is_refused),
        CASE(suite_0_is_refused),
        CASE(a_blob_sealed_again_opens),
        CASE(every_other_suite_byte_is_refused),
        CASE(every_other_format_byte_is_refused),
        CASE(a_first_reserved_byte_that_is_not_zero_is_refused),
        CASE(a_second_reserved_byte_that_is_not_zero_is_refused),
        CASE(a_tag_of_no_version_is_refused),
        CASE(another_aad_is_refused),
        CASE(a_blob_of_one_key_does_not_open_on_the_other_keys_path),
        CASE(a_blob_of_one_key_does_not_open_under_any_tag_or_suite_of_the_other),
        CASE(a_blob_is_bound_to_its_keys_id_even_where_tag_and_material_are_equal),
        CASE(every_wrong_commitment_is_refused_even_where_gcm_would_pass),
        CASE(a_bit_flipped_in_the_derived_key_leaves_no_blob),
        CASE(a_bit_flipped_in_the_commitment_leaves_no_blob),
        CASE(a_bit_flipped_in_the_head_before_the_sealing_leaves_no_blob),
        CASE(a_bit_flipped_in_the_opened_plaintext_leaves_no_blob),
        CASE(a_bit_flipped_in_the_ciphertext_leaves_no_blob),
        CASE(a_bit_flipped_in_the_tag_leaves_no_blob),
        CASE(a_bit_flipped_anywhere_in_the_blob_leaves_no_blob),
        CASE(the_wrap_after_a_fault_is_good_again),
    };
    return RUN_TESTS("blob", tests);
}
