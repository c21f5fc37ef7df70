#include "drivers/seal/seal.h"
#include "tests/unit/ctrl/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct seal_cost cheap = {SEAL_MEMORY_KIB_MIN, 1};

static void make(struct rig *g, uint8_t slot[SEAL_SLOT_LEN])
{
    assert_int_equal(seal_passphrase_create(g->rng, 3, 7, cheap, span_str("correct horse"), g->srk, slot),
                     SEAL_OK);
}

static enum seal_status open_slot(const uint8_t slot[SEAL_SLOT_LEN], uint16_t shard, const char *passphrase,
                                  uint8_t srk[SEAL_SRK_LEN])
{
    return seal_passphrase_open(span_of(slot, SEAL_SLOT_LEN), shard, span_str(passphrase), srk);
}

static bool all_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

static void a_slot_opens_to_what_was_put_in(void **state)
{
    struct rig *g = *state;
    uint8_t slot[SEAL_SLOT_LEN], srk[SEAL_SRK_LEN];

    make(g, slot);
    assert_int_equal(open_slot(slot, 7, "correct horse", srk), SEAL_OK);
    assert_memory_equal(srk, g->srk, SEAL_SRK_LEN);
}

static void a_wrong_passphrase_is_named_and_leaves_zeros(void **state)
{
    uint8_t slot[SEAL_SLOT_LEN], srk[SEAL_SRK_LEN];

    make(*state, slot);
    assert_int_equal(open_slot(slot, 7, "correct horsf", srk), SEAL_WRONG_PASSPHRASE);
    assert_true(all_zero(srk, sizeof srk));
}

static void any_flipped_bit_is_damage_and_not_a_wrong_passphrase(void **state)
{
    uint8_t slot[SEAL_SLOT_LEN], srk[SEAL_SRK_LEN];

    make(*state, slot);
    for (size_t bit = 0; bit < SEAL_SLOT_LEN * 8; bit++) {
        slot[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(open_slot(slot, 7, "correct horse", srk), SEAL_CORRUPT);
        slot[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void a_shorter_or_longer_record_is_damage(void **state)
{
    uint8_t slot[SEAL_SLOT_LEN + 1] = {0}, srk[SEAL_SRK_LEN];

    make(*state, slot);
    for (size_t len = 0; len <= sizeof slot; len++) {
        if (len != SEAL_SLOT_LEN)
            assert_int_equal(seal_passphrase_open(span_of(slot, len), 7, span_str("correct horse"), srk),
                             SEAL_CORRUPT);
    }
}

static void a_slot_of_another_shard_is_refused(void **state)
{
    uint8_t slot[SEAL_SLOT_LEN], srk[SEAL_SRK_LEN];

    make(*state, slot);
    assert_int_equal(open_slot(slot, 8, "correct horse", srk), SEAL_WRONG_SHARD);
}

/* Puts a sound sum on an altered slot: what somebody who forges one would do. */
static void mend_sum(uint8_t slot[SEAL_SLOT_LEN])
{
    uint8_t digest[MBED_DIGEST_LEN];

    mbed_sha256(span_of(slot, SEAL_SLOT_LEN - 8), digest);
    memcpy(slot + SEAL_SLOT_LEN - 8, digest, 8);
}

static void a_forged_slot_cannot_ask_for_all_the_memory(void **state)
{
    uint8_t slot[SEAL_SLOT_LEN], srk[SEAL_SRK_LEN];

    make(*state, slot);
    memset(slot + 6, 0xff, 4); /* memory */
    mend_sum(slot);
    assert_int_equal(open_slot(slot, 7, "correct horse", srk), SEAL_CORRUPT);
}

static void what_a_slot_says_about_itself_is_authenticated(void **state)
{
    uint8_t slot[SEAL_SLOT_LEN], srk[SEAL_SRK_LEN];

    make(*state, slot);
    slot[2] ^= 1; /* its number */
    mend_sum(slot);
    assert_int_equal(open_slot(slot, 7, "correct horse", srk), SEAL_WRONG_PASSPHRASE);
}

static void a_kind_from_the_future_is_named_as_such(void **state)
{
    uint8_t slot[SEAL_SLOT_LEN], srk[SEAL_SRK_LEN];

    make(*state, slot);
    slot[1] = 9;
    mend_sum(slot);
    assert_int_equal(open_slot(slot, 7, "correct horse", srk), SEAL_UNKNOWN_KIND);
}

static void two_slots_of_one_passphrase_share_no_byte_of_salt_or_ciphertext(void **state)
{
    uint8_t one[SEAL_SLOT_LEN], two[SEAL_SLOT_LEN];

    make(*state, one);
    make(*state, two);
    assert_memory_not_equal(one + 15, two + 15, 16);
    assert_memory_not_equal(one + 43, two + 43, SEAL_SRK_LEN);
}

static bool read_file(const char *text, uint8_t *out, size_t *len, struct rig *g, char *err, size_t err_cap)
{
    char path[128];

    rig_path(g, "passphrase", path, sizeof path);
    rig_write(path, text);
    return seal_passphrase_read(path, out, len, err, err_cap);
}

static void a_passphrase_is_the_first_line_without_its_end(void **state)
{
    uint8_t out[SEAL_PASSPHRASE_MAX];
    char err[512];
    size_t len;

    assert_true(read_file("correct horse\r\nbattery\n", out, &len, *state, err, sizeof err));
    assert_int_equal(len, strlen("correct horse"));
    assert_memory_equal(out, "correct horse", len);
    assert_int_equal(out[len], 0);
}

static void a_short_passphrase_is_refused_with_its_file(void **state)
{
    uint8_t out[SEAL_PASSPHRASE_MAX];
    char err[512];
    size_t len;

    assert_false(read_file("horse\n", out, &len, *state, err, sizeof err));
    assert_non_null(strstr(err, "/passphrase has 5 bytes"));
}

static void a_missing_passphrase_file_is_named(void **state)
{
    uint8_t out[SEAL_PASSPHRASE_MAX];
    char err[512];
    size_t len;

    (void)state;
    assert_false(seal_passphrase_read("/nonexistent/passphrase", out, &len, err, sizeof err));
    assert_non_null(strstr(err, "/nonexistent/passphrase: No such file"));
    assert_non_null(strstr(err, "seal.passphrase_file"));
}

static void a_credential_comes_from_the_directory_of_the_service_manager(void **state)
{
    struct rig *g = *state;
    uint8_t out[SEAL_PASSPHRASE_MAX];
    char err[512], path[128];
    size_t len;

    rig_path(g, "srk-pass", path, sizeof path);
    rig_write(path, "correct horse");
    setenv("CREDENTIALS_DIRECTORY", g->dir, 1);
    assert_true(seal_passphrase_read("credential:srk-pass", out, &len, err, sizeof err));
    assert_false(seal_passphrase_read("credential:../srk-pass", out, &len, err, sizeof err));
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_false(seal_passphrase_read("credential:srk-pass", out, &len, err, sizeof err));
    assert_non_null(strstr(err, "LoadCredential=srk-pass"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_slot_opens_to_what_was_put_in),
        CASE(a_wrong_passphrase_is_named_and_leaves_zeros),
        CASE(any_flipped_bit_is_damage_and_not_a_wrong_passphrase),
        CASE(a_shorter_or_longer_record_is_damage),
        CASE(a_slot_of_another_shard_is_refused),
        CASE(a_forged_slot_cannot_ask_for_all_the_memory),
        CASE(what_a_slot_says_about_itself_is_authenticated),
        CASE(a_kind_from_the_future_is_named_as_such),
        CASE(two_slots_of_one_passphrase_share_no_byte_of_salt_or_ciphertext),
        CASE(a_passphrase_is_the_first_line_without_its_end),
        CASE(a_short_passphrase_is_refused_with_its_file),
        CASE(a_missing_passphrase_file_is_named),
        CASE(a_credential_comes_from_the_directory_of_the_service_manager),
    };

    return RUN_TESTS("drivers seal", tests);
}
