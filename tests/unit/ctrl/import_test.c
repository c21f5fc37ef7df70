/* Import: what is wrapped under the import key comes in as it was, and nothing else comes in.  Private keys are made by the openssl
 * program while the test runs. */
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
    ok(custody_set_level(custody, STORE_LEVEL_PRIVATE_KEYS, &made, &why));
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
static uint8_t blob[IMPORT_BLOB_MAX];
static size_t blob_len;

static void wrap_good(void)
{
    wrap(span_of(kek, sizeof kek), span_of(material, sizeof material), blob, &blob_len);
}

static bool import(const char *path)
{
    return custody_import(custody, path, algorithm_of(ALGORITHM_SYMMETRIC), span_of(blob, blob_len), &why);
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
        refused_as(
            custody_import(custody, "v0/none", algorithm_of(ALGORITHM_SYMMETRIC), span_of(blob, len), &why),
            "bad_import");
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

/* After it the key is gone. */
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

/* ---- private keys ---- */

#define P256 "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 "
#define RSA  "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:"
#define DER  " 2>/dev/null | openssl pkcs8 -topk8 -nocrypt -outform DER"

static uint8_t der[8192];
static size_t der_len;

static void make(const char *command)
{
    FILE *f = popen(command, "r");

    assert_non_null(f);
    der_len = fread(der, 1, sizeof der, f);
    assert_int_equal(pclose(f), 0);
    assert_true(der_len > 0 && der_len < sizeof der);
}

static void wrap_private(void)
{
    static uint8_t room[8192];
    size_t len;

    wrap(span_of(kek, sizeof kek), span_of(der, der_len), room, &len);
    assert_true(len <= sizeof blob);
    memcpy(blob, room, len);
    blob_len = len;
}

static bool import_private(const char *path, const char *algorithm)
{
    wrap_private();
    return custody_import(custody, path, algorithm_named(algorithm), span_of(blob, blob_len), &why);
}

static void is_kept(const char *path, uint32_t version)
{
    const struct key_record *r = rig_key(custody, path);
    uint8_t *got = secret_pages_alloc(RECORD_MATERIAL_MAX);

    assert_non_null(got);
    assert_int_equal(custody_private_key(custody, r, &r->versions[version - 1], got), der_len);
    assert_memory_equal(got, der, der_len);
    secret_pages_free(got, RECORD_MATERIAL_MAX);
}

static void each_algorithm_takes_a_private_key_of_its_kind_and_size(void **state)
{
    static const struct {
        const char *command, *algorithm;
    } table[] = {
        {P256 DER, "EC_SIGN_P256_SHA256"},
        {"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384" DER, "EC_SIGN_P384_SHA384"},
        {RSA "2048" DER, "RSA_SIGN_PSS_2048_SHA256"},
        {RSA "3072" DER, "RSA_SIGN_PKCS1_3072_SHA256"},
        {RSA "4096" DER, "RSA_SIGN_PSS_4096_SHA512"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char path[64];

        snprintf(path, sizeof path, "v0/private/%zu", i);
        make(table[i].command);
        ok(import_private(path, table[i].algorithm));
        is_kept(path, 1);
        reopen();
        is_kept(path, 1);
        assert_string_equal(algorithm_of(rig_key(custody, path)->algorithm)->name, table[i].algorithm);
        assert_int_equal(rig_key(custody, path)->life.state, KEY_STATE_ENABLED);
    }
}

static void another_kind_or_size_is_refused_by_name(void **state)
{
    (void)state;
    make(P256 DER);
    refused_as(import_private("v0/no", "EC_SIGN_P384_SHA384"), "wrong_algorithm");
    assert_non_null(strstr(why.text, "EC_SIGN_P384_SHA384 takes a key on the curve P-384"));
    refused_as(import_private("v0/no", "RSA_SIGN_PSS_2048_SHA256"), "wrong_algorithm");
    make(RSA "2048" DER);
    refused_as(import_private("v0/no", "RSA_SIGN_PSS_3072_SHA256"), "wrong_algorithm");
    assert_non_null(strstr(why.text, "takes RSA of 3072 bits, and this key has 2048"));
    refused_as(import_private("v0/no", "EC_SIGN_P256_SHA256"), "wrong_algorithm");
    make("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1" DER);
    refused_as(import_private("v0/no", "EC_SIGN_P256_SHA256"), "wrong_algorithm");
    assert_null(registry_by_path(custody_registry(custody), span_str("v0/no")));
}

static void weak_is(const char *algorithm)
{
    refused_as(import_private("v0/no", algorithm), "bad_material");
}

static void what_is_no_pkcs8_is_refused(void **state)
{
    (void)state;
    make(RSA "2048" DER);
    der[der_len++] = 0;
    weak_is("RSA_SIGN_PSS_2048_SHA256");
    der_len -= 2;
    weak_is("RSA_SIGN_PSS_2048_SHA256");
    make("openssl genrsa -traditional 2048 2>/dev/null | openssl rsa -traditional -outform DER 2>/dev/null");
    weak_is("RSA_SIGN_PSS_2048_SHA256");
    make("openssl ecparam -name prime256v1 -genkey -noout -outform DER");
    weak_is("EC_SIGN_P256_SHA256");
    make(P256 "2>/dev/null | openssl pkcs8 -topk8 -passout pass:x -outform DER");
    weak_is("EC_SIGN_P256_SHA256");
    make(P256 "2>/dev/null");
    weak_is("EC_SIGN_P256_SHA256");
    make("openssl genpkey -algorithm ED25519" DER);
    weak_is("EC_SIGN_P256_SHA256");
}

static void a_key_that_is_weak_or_does_not_go_together_is_refused(void **state)
{
    (void)state;
    make("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3" DER);
    weak_is("RSA_SIGN_PSS_2048_SHA256");
    assert_non_null(strstr(why.text, "exponent"));
    make(P256 DER);
    der[der_len - 1] ^= 1; /* of the public point */
    weak_is("EC_SIGN_P256_SHA256");
    make(P256 DER);
    der[der_len - 80] ^= 1; /* of the secret: the point is another's then */
    weak_is("EC_SIGN_P256_SHA256");
}

/* Each in turn, from the modulus to the last coefficient: none of them may matter without being noticed. */
static void an_rsa_key_with_any_byte_altered_is_refused(void **state)
{
    unsigned refused = 0, tried = 0;

    (void)state;
    make(RSA "2048" DER);
    for (size_t at = 40; at < der_len; at += 61, tried++) {
        der[at] ^= 4;
        refused += import_private("v0/no", "RSA_SIGN_PSS_2048_SHA256") ? 0 : 1;
        der[at] ^= 4;
    }
    assert_int_equal(refused, tried);
    ok(import_private("v0/whole", "RSA_SIGN_PSS_2048_SHA256"));
}

static void new_versions_of_a_private_key_are_imported_and_no_other_way(void **state)
{
    bool already;

    (void)state;
    make(P256 DER);
    ok(import_private("v0/signs", "EC_SIGN_P256_SHA256"));
    refused_as(custody_rotate(custody, "v0/signs", &why), "import_only");
    refused_as(custody_set_period(custody, "v0/signs", 90 * 86400, &already, &why), "import_only");
    make(RSA "2048" DER);
    wrap_private();
    refused_as(custody_rotate_import(custody, "v0/signs", span_of(blob, blob_len), &why), "wrong_algorithm");
    make(P256 DER);
    wrap_private();
    ok(custody_rotate_import(custody, "v0/signs", span_of(blob, blob_len), &why));
    assert_int_equal(rig_key(custody, "v0/signs")->version_count, 2);
    assert_int_equal(rig_key(custody, "v0/signs")->primary, 2);
    reopen();
    is_kept("v0/signs", 2);
    wrap_good();
    ok(import("v0/symmetric"));
    refused_as(custody_rotate_import(custody, "v0/symmetric", span_of(blob, blob_len), &why),
               "not_by_import");
}

static void a_new_root_key_takes_private_keys_along(void **state)
{
    (void)state;
    mbed_random(rig->rng, rig->srk, SEAL_SRK_LEN);
    ok(custody_reroot(custody, rig->srk, custody_slots(custody), &why));
    is_kept("v0/signs", 2);
    reopen();
    is_kept("v0/signs", 2);
}

static void a_private_key_lives_and_ends_as_any_other(void **state)
{
    const struct key_version *v;
    bool already;

    (void)state;
    ok(custody_switch(custody, "v0/signs", 1, false, &already, &why));
    ok(custody_destroy(custody, "v0/signs", 1, 2 * 86400, &already, &why));
    ok(custody_restore(custody, "v0/signs", 1, &already, &why));
    ok(custody_destroy(custody, "v0/signs", 1, 0, &already, &why));
    rig_clock_pass(&clock_now, 31 * DAY);
    custody_tick(custody);
    for (int times = 0; times < 2; times++, reopen()) {
        v = &rig_key(custody, "v0/signs")->versions[0];
        assert_int_equal(v->life.state, KEY_STATE_DESTROYED);
        assert_null(v->private_key);
    }
    is_kept("v0/signs", 2);
}

static void a_private_key_waits_until_the_version_before_need_not_read_the_store(void **state)
{
    void *other;
    const struct algorithm *ec = algorithm_named("EC_SIGN_P256_SHA256");

    (void)state;
    assert_int_equal(rig_setup_in_memory(&other), 0);
    struct custody *c = rig_custody_ok(other);
    refused_as(custody_import(c, "v0/early", ec, span_of(NULL, 0), &why), "store_level");
    assert_non_null(strstr(why.text, "wwctl upgrade commit"));
    custody_close(c);
    rig_teardown(&other);
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
        cmocka_unit_test(each_algorithm_takes_a_private_key_of_its_kind_and_size),
        cmocka_unit_test(another_kind_or_size_is_refused_by_name),
        cmocka_unit_test(what_is_no_pkcs8_is_refused),
        cmocka_unit_test(a_key_that_is_weak_or_does_not_go_together_is_refused),
        cmocka_unit_test(an_rsa_key_with_any_byte_altered_is_refused),
        cmocka_unit_test(a_private_key_waits_until_the_version_before_need_not_read_the_store),
        cmocka_unit_test(new_versions_of_a_private_key_are_imported_and_no_other_way),
        cmocka_unit_test(a_new_root_key_takes_private_keys_along),
        cmocka_unit_test(after_three_days_the_import_key_is_gone_from_memory_and_store),
        cmocka_unit_test(a_private_key_lives_and_ends_as_any_other),
    };

    return cmocka_run_group_tests_name("ctrl import", tests, group_setup, group_teardown);
}
