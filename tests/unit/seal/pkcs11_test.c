/* Slots of kind pkcs11 through ww-seal, with SoftHSM2 for a token. */
#include "drivers/seal/seal.h"
#include "tests/unit/seal/softhsm.h"
#include "tests/unit/test.h"
#include "tests/unit/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODULE SOFTHSM_MODULE

struct rig {
    struct mbed_rng *rng;
    char dir[64], pin[128];
    struct seal_device device;
    struct seal_pkcs11 p;
    uint8_t bytes[SEAL_SLOT_MAX];
    struct buf slot;
    uint8_t srk[SEAL_SRK_LEN];
    char err[DEVICE_TEXT_MAX];
};

static const uint8_t root[SEAL_SRK_LEN] = "the root key of a test, 32 bytes";
static const uint8_t zero[SEAL_SRK_LEN];

static void write_text(const struct rig *g, const char *name, const char *text)
{
    softhsm_write(g->dir, name, text);
}

static void run(const struct rig *g, const char *command)
{
    softhsm_run(g->dir, command);
}

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);

    assert_non_null(g);
    g->rng = mbed_rng_new();
    assert_non_null(g->rng);
    snprintf(g->dir, sizeof g->dir, "/tmp/ww-seal-test.XXXXXX");
    assert_non_null(mkdtemp(g->dir));
    snprintf(g->pin, sizeof g->pin, "%s/pin", g->dir);
    g->device = (struct seal_device){WW_SEAL, 60000};
    g->p = (struct seal_pkcs11){MODULE, "ww", "one", g->pin, false};
    g->slot = (struct buf){g->bytes, 0, sizeof g->bytes};
    softhsm_make(g->dir);
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;

    run(g, "rm -r tokens");
    char line[128];
    snprintf(line, sizeof line, "rm -r %s", g->dir);
    assert_int_equal(system(line), 0);
    mbed_rng_free(g->rng);
    free(g);
    return 0;
}

static enum seal_status create(struct rig *g)
{
    return seal_pkcs11_create(g->rng, &g->device, 4, 7, &g->p, root, &g->slot, g->err, sizeof g->err);
}

static void make(struct rig *g)
{
    if (create(g) != SEAL_OK)
        fail_msg("not made: %s", g->err);
}

static enum seal_status open_slot(struct rig *g)
{
    return seal_device_open(&g->device, buf_span(&g->slot), 7, g->srk, g->err, sizeof g->err);
}

static void expect_refusal(struct rig *g, enum seal_status got, const char *says)
{
    assert_int_equal(got, strstr(says, "wrong PIN") != NULL ? SEAL_BAD_PIN : SEAL_DEVICE);
    if (strstr(g->err, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", g->err, says);
}

static void mend_sum(struct rig *g)
{
    uint8_t digest[MBED_DIGEST_LEN];

    mbed_sha256(span_of(g->bytes, g->slot.len - 8), digest);
    memcpy(g->bytes + g->slot.len - 8, digest, 8);
}

static void a_slot_opens_with_either_mechanism(void **state)
{
    struct rig *g = *state;

    for (int gcm = 0; gcm <= 1; gcm++) {
        g->p.gcm = gcm;
        make(g);
        if (open_slot(g) != SEAL_OK)
            fail_msg("not opened: %s", g->err);
        assert_memory_equal(g->srk, root, sizeof root);
    }
}

static void a_wrong_pin_is_named_with_its_file(void **state)
{
    struct rig *g = *state;

    make(g);
    write_text(g, "pin", "4321\n");
    expect_refusal(g, open_slot(g), "wrong PIN");
    assert_non_null(strstr(g->err, g->pin));
    assert_null(strstr(g->err, "4321"));
    assert_memory_equal(g->srk, zero, sizeof zero);
}

static void a_missing_pin_file_is_named(void **state)
{
    struct rig *g = *state;

    make(g);
    assert_int_equal(unlink(g->pin), 0);
    expect_refusal(g, open_slot(g), "cannot read the PIN file");
    assert_non_null(strstr(g->err, g->pin));
}

static void an_empty_or_overlong_pin_is_not_tried(void **state)
{
    struct rig *g = *state;
    char longer[300];

    make(g);
    write_text(g, "pin", "\n");
    expect_refusal(g, open_slot(g), "is empty");
    memset(longer, '1', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    write_text(g, "pin", longer);
    expect_refusal(g, open_slot(g), "is too long");
}

static void a_pin_comes_from_a_credential_too(void **state)
{
    struct rig *g = *state;

    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", g->dir, 1), 0);
    g->p.pin = "credential:pin";
    make(g);
    assert_int_equal(open_slot(g), SEAL_OK);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    expect_refusal(g, open_slot(g), "LoadCredential=pin");
}

static void a_slot_of_an_earlier_build_opens(void **state)
{
    struct rig *g = *state;

    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", g->dir, 1), 0);
    g->slot.len = vector_get("seal/slots.txt", "pkcs11", "slot", g->bytes, sizeof g->bytes).len;
    if (open_slot(g) != SEAL_OK)
        fail_msg("not opened: %s", g->err);
    assert_memory_equal(g->srk, root, sizeof root);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

static void a_new_root_key_goes_into_the_same_token(void **state)
{
    static const uint8_t next[SEAL_SRK_LEN] = "the root key after the next one!";
    struct rig *g = *state;

    make(g);
    assert_int_equal(
        seal_device_rewrap(g->rng, &g->device, buf_span(&g->slot), next, &g->slot, g->err, sizeof g->err),
        SEAL_OK);
    assert_int_equal(open_slot(g), SEAL_OK);
    assert_memory_equal(g->srk, next, sizeof next);
}

static void a_missing_module_is_named(void **state)
{
    struct rig *g = *state;

    g->p.module = "/usr/lib/nothing/libnothing.so";
    expect_refusal(g, create(g), "no PKCS#11 module at /usr/lib/nothing/libnothing.so");
}

static void a_library_that_is_no_module_is_named(void **state)
{
    struct rig *g = *state;

    g->p.module = "/usr/lib/x86_64-linux-gnu/libz.so.1";
    expect_refusal(g, create(g), "is no PKCS#11 module");
}

static void a_module_that_others_could_write_is_not_loaded(void **state)
{
    struct rig *g = *state;
    char path[128];

    run(g, "cp " MODULE " module.so && chmod 666 module.so");
    snprintf(path, sizeof path, "%s/module.so", g->dir);
    g->p.module = path;
    expect_refusal(g, create(g), "writable by nobody else");
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(chmod(g->dir, 0777), 0);
    expect_refusal(g, create(g), "writable by nobody else");
    assert_int_equal(chmod(g->dir, 0700), 0);
    make(g);
}

static void a_missing_token_is_named(void **state)
{
    struct rig *g = *state;

    g->p.token = "w";
    expect_refusal(g, create(g), "no token \"w\"");
}

static void a_missing_key_is_named(void **state)
{
    struct rig *g = *state;

    g->p.key = "three";
    expect_refusal(g, create(g), "the token \"ww\" has no AES key \"three\"");
}

static void two_keys_of_one_label_are_not_chosen_between(void **state)
{
    struct rig *g = *state;

    make(g);
    run(g, "softhsm2-util --import two.key --aes --token ww --label one --id 03 --pin 1234");
    expect_refusal(g, open_slot(g), "more than one AES key \"one\"");
}

static void a_key_that_was_replaced_does_not_open(void **state)
{
    struct rig *g = *state;

    for (int gcm = 0; gcm <= 1; gcm++) {
        g->p.gcm = gcm;
        make(g);
        uint8_t *label = memmem(g->bytes, g->slot.len, "\003one", 4);
        assert_non_null(label);
        memcpy(label, "\003two", 4);
        mend_sum(g);
        expect_refusal(g, open_slot(g), "another key than the slot was made with");
        assert_memory_equal(g->srk, zero, sizeof zero);
    }
}

static void what_a_slot_says_is_bound_to_it(void **state)
{
    struct rig *g = *state;

    make(g);
    g->bytes[2] ^= 1; /* its number */
    mend_sum(g);
    assert_int_equal(open_slot(g), SEAL_CORRUPT);
    assert_memory_equal(g->srk, zero, sizeof zero);
}

static void any_cut_or_altered_byte_is_damage(void **state)
{
    struct rig *g = *state;
    size_t whole;

    make(g);
    whole = g->slot.len;
    for (size_t at = 0; at < whole; at++) {
        g->bytes[at] ^= 4;
        assert_int_equal(open_slot(g), SEAL_CORRUPT);
        g->bytes[at] ^= 4;
    }
    for (g->slot.len = 0; g->slot.len < whole; g->slot.len++)
        assert_int_equal(open_slot(g), SEAL_CORRUPT);
}

static void a_slot_of_another_shard_is_refused(void **state)
{
    struct rig *g = *state;

    make(g);
    assert_int_equal(seal_device_open(&g->device, buf_span(&g->slot), 8, g->srk, g->err, sizeof g->err),
                     SEAL_WRONG_SHARD);
}

static void a_slot_says_which_device_without_being_opened(void **state)
{
    struct rig *g = *state;
    struct seal_slot_info info;

    make(g);
    assert_int_equal(seal_slot_info(buf_span(&g->slot), &info), SEAL_OK);
    assert_int_equal(info.kind, SEAL_KIND_PKCS11);
    assert_string_equal(info.device, "token \"ww\" key \"one\" by AES key wrap in " MODULE);
    assert_string_equal(seal_kind_text(info.kind), "pkcs11");
    assert_false(seal_kind_is_offline(info.kind));
}

static void parameters_out_of_range_never_reach_the_child(void **state)
{
    struct rig *g = *state;
    char longer[300];

    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    g->device.program = "/nonexistent/ww-seal";
    g->p.module = "libsofthsm2.so";
    assert_int_equal(create(g), SEAL_BAD_PARAMETER);
    g->p.module = MODULE;
    g->p.token = "";
    assert_int_equal(create(g), SEAL_BAD_PARAMETER);
    g->p.token = "a label of more than thirty-two c";
    assert_int_equal(create(g), SEAL_BAD_PARAMETER);
    g->p.token = "ww";
    g->p.key = longer;
    assert_int_equal(create(g), SEAL_BAD_PARAMETER);
}

static void a_child_that_is_missing_or_mute_is_named(void **state)
{
    struct rig *g = *state;

    g->device.program = "/nonexistent/ww-seal";
    expect_refusal(g, create(g), "/nonexistent/ww-seal does not start");
    g->device.program = "/bin/true";
    expect_refusal(g, create(g), "gave no answer");
    g->device = (struct seal_device){"/usr/bin/yes", 50};
    expect_refusal(g, create(g), "gave no answer within 50 ms");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_slot_opens_with_either_mechanism),
        CASE(a_wrong_pin_is_named_with_its_file),
        CASE(a_missing_pin_file_is_named),
        CASE(an_empty_or_overlong_pin_is_not_tried),
        CASE(a_pin_comes_from_a_credential_too),
        CASE(a_slot_of_an_earlier_build_opens),
        CASE(a_new_root_key_goes_into_the_same_token),
        CASE(a_missing_module_is_named),
        CASE(a_library_that_is_no_module_is_named),
        CASE(a_module_that_others_could_write_is_not_loaded),
        CASE(a_missing_token_is_named),
        CASE(a_missing_key_is_named),
        CASE(two_keys_of_one_label_are_not_chosen_between),
        CASE(a_key_that_was_replaced_does_not_open),
        CASE(what_a_slot_says_is_bound_to_it),
        CASE(any_cut_or_altered_byte_is_damage),
        CASE(a_slot_of_another_shard_is_refused),
        CASE(a_slot_says_which_device_without_being_opened),
        CASE(parameters_out_of_range_never_reach_the_child),
        CASE(a_child_that_is_missing_or_mute_is_named),
    };

    return RUN_TESTS("seal pkcs11", tests);
}
