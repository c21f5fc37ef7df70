/* Import: what is wrapped under the import key comes in as it was, and nothing else comes in. */
#include "tests/unit/ctrl/rig.h"

#include "base/secret.h"
#include "drivers/seal/kwp.h"

#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>
#include <stdio.h>
#include <stdlib.h>

#define PATH "v0/imported/key"
#define DAY  ((int64_t)86400)

static struct refusal why;
static struct rig *rig;
static struct custody *custody;
static struct rig_clock clock_now;

static void ok(bool done)
{
    if (!done)
        fail_msg("%s: %s", why.code, why.text);
}

static void refused_as(bool done, const char *code)
{
    assert_false(done);
    assert_string_equal(why.code, code);
}

static void reopen(void)
{
    custody_close(custody);
    custody = rig_custody_at(rig, &clock_now);
}

/* One pair of keys for all cases: making it takes a second. */
static int group_setup(void **state)
{
    void *g;
    bool made;

    (void)state;
    if (rig_setup_in_memory(&g) != 0)
        return -1;
    rig = g;
    clock_now = (struct rig_clock){{.unix_s = 1700000000, .boot_ms = 5000, .boot_id = {1}}};
    custody = rig_custody_at(rig, &clock_now);
    ok(custody_import_key(custody, &made, &why));
    assert_true(made);
    return 0;
}

static int group_teardown(void **state)
{
    void *g = rig;

    (void)state;
    custody_close(custody);
    return rig_teardown(&g);
}

/* As another program would: by the public key alone. */
static void wrap(struct span kek, struct span material, uint8_t *out, size_t *len)
{
    char pem[IMPORT_PEM_MAX];
    mbedtls_pk_context pk;

    import_public_pem(custody_import_key_of(custody), pem);
    mbedtls_pk_init(&pk);
    assert_int_equal(mbedtls_pk_parse_public_key(&pk, (const uint8_t *)pem, strlen(pem) + 1), 0);
    mbedtls_rsa_context *rsa = mbedtls_pk_rsa(pk);
    mbedtls_rsa_set_padding(rsa, MBEDTLS_RSA_PKCS_V21, MBEDTLS_MD_SHA256);
    assert_int_equal(mbedtls_rsa_rsaes_oaep_encrypt(rsa, mbed_rng_callback, rig->rng, MBEDTLS_RSA_PUBLIC,
                                                    NULL, 0, kek.len, kek.ptr, out),
                     0);
    mbedtls_pk_free(&pk);
    *len = IMPORT_RSA_BITS / 8 + KWP_SEALED_LEN(material.len);
    if (kek.len == 32)
        assert_int_equal(kwp_seal(kek, material, out + IMPORT_RSA_BITS / 8), KWP_OK);
    else
        memset(out + IMPORT_RSA_BITS / 8, 0, KWP_SEALED_LEN(material.len));
}

static const uint8_t kek[32] = {9, 8, 7}, material[KEY_MATERIAL_LEN] = {1, 2, 3, 4, 5, 6, 7};
static uint8_t blob[1024];
static size_t blob_len;

static void wrap_good(void)
{
    wrap(span_of(kek, sizeof kek), span_of(material, sizeof material), blob, &blob_len);
}

static bool import(const char *path)
{
    return custody_import(custody, path, span_of(blob, blob_len), &why);
}

static void imported_material_is_the_one_that_was_wrapped(void **state)
{
    uint8_t got[KEY_MATERIAL_LEN];

    (void)state;
    wrap_good();
    assert_int_equal(blob_len, IMPORT_BLOB_LEN);
    ok(import(PATH));
    const struct key_record *r = rig_key(custody, PATH);
    assert_int_equal(r->life.state, KEY_STATE_ENABLED);
    assert_int_equal(r->primary, 1);
    assert_int_equal(r->policy.caller_count, 0);
    custody_material(custody, r, &r->versions[0], got);
    assert_memory_equal(got, material, sizeof got);
    reopen();
    custody_material(custody, rig_key(custody, PATH), &rig_key(custody, PATH)->versions[0], got);
    assert_memory_equal(got, material, sizeof got);
    refused_as(import(PATH), "key_exists");
}

static void a_new_version_of_an_imported_key_has_material_of_its_own(void **state)
{
    uint8_t got[KEY_MATERIAL_LEN];

    (void)state;
    wrap_good();
    ok(import("v0/rotated") && custody_rotate(custody, "v0/rotated", &why));
    custody_material(custody, rig_key(custody, "v0/rotated"), &rig_key(custody, "v0/rotated")->versions[1],
                     got);
    assert_memory_not_equal(got, material, sizeof got);
}

static void a_flipped_bit_anywhere_is_refused_with_one_text(void **state)
{
    char first[sizeof why.text] = "";

    (void)state;
    wrap_good();
    for (size_t at = 0; at < blob_len; at += 17) {
        blob[at] ^= 1;
        refused_as(import("v0/none"), "bad_import");
        if (first[0] == '\0')
            snprintf(first, sizeof first, "%s", why.text);
        assert_string_equal(why.text, first);
        blob[at] ^= 1;
    }
    assert_null(rig_key(custody, "v0/none"));
}

static void any_other_length_is_refused(void **state)
{
    (void)state;
    wrap_good();
    for (size_t len = 0; len < sizeof blob; len += len == IMPORT_BLOB_LEN - 1 ? 2 : 1)
        refused_as(custody_import(custody, "v0/none", span_of(blob, len), &why), "bad_import");
}

static void a_shorter_or_all_zero_key_is_refused(void **state)
{
    static const uint8_t zeros[KEY_MATERIAL_LEN];

    (void)state;
    wrap(span_of(kek, sizeof kek), span_of(material, 31), blob, &blob_len);
    refused_as(import("v0/none"), "bad_import");
    wrap(span_of(kek, 16), span_of(material, sizeof material), blob, &blob_len);
    refused_as(import("v0/none"), "bad_import");
    wrap(span_of(kek, sizeof kek), span_of(zeros, sizeof zeros), blob, &blob_len);
    refused_as(import("v0/none"), "bad_material");
}

static void the_import_key_stays_the_same_while_it_is_valid_and_over_a_restart(void **state)
{
    char before[IMPORT_PEM_MAX], after[IMPORT_PEM_MAX];
    bool made;

    (void)state;
    import_public_pem(custody_import_key_of(custody), before);
    reopen();
    ok(custody_import_key(custody, &made, &why));
    assert_false(made);
    import_public_pem(custody_import_key_of(custody), after);
    assert_string_equal(before, after);
}

static void a_dry_run_opens_the_file_and_makes_nothing(void **state)
{
    (void)state;
    wrap_good();
    custody_dry_run(custody, true);
    ok(import("v0/dry"));
    blob[100] ^= 1;
    refused_as(import("v0/dry"), "bad_import");
    custody_dry_run(custody, false);
    assert_null(rig_key(custody, "v0/dry"));
}

/* The last one: after it the key is gone. */
static void after_three_days_the_import_key_is_gone_from_memory_and_store(void **state)
{
    static const uint8_t zeros[IMPORT_DER_MAX];

    (void)state;
    wrap_good();
    clock_now.at.unix_s -= 2 * DAY; /* a clock set back does not lengthen it */
    rig_clock_pass(&clock_now, 3 * DAY);
    refused_as(import("v0/late"), "no_import_key");
    custody_tick(custody);
    assert_int_equal(custody_import_key_of(custody)->der_len, 0);
    assert_memory_equal(custody_import_key_of(custody)->der, zeros, sizeof zeros);
    reopen();
    assert_int_equal(custody_import_key_of(custody)->der_len, 0);
    refused_as(import("v0/late"), "no_import_key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imported_material_is_the_one_that_was_wrapped),
        cmocka_unit_test(a_new_version_of_an_imported_key_has_material_of_its_own),
        cmocka_unit_test(a_flipped_bit_anywhere_is_refused_with_one_text),
        cmocka_unit_test(any_other_length_is_refused),
        cmocka_unit_test(a_shorter_or_all_zero_key_is_refused),
        cmocka_unit_test(the_import_key_stays_the_same_while_it_is_valid_and_over_a_restart),
        cmocka_unit_test(a_dry_run_opens_the_file_and_makes_nothing),
        cmocka_unit_test(after_three_days_the_import_key_is_gone_from_memory_and_store),
    };

    return cmocka_run_group_tests_name("ctrl import", tests, group_setup, group_teardown);
}
