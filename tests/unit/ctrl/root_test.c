/* The root key through slots of every kind, and what is said where none opens. */
#include "ctrl/root/root.h"

#include "base/secret.h"
#include "tests/unit/ctrl/rig.h"
#include "tests/unit/seal/softhsm.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct seal_cost cheap = {SEAL_MEMORY_KIB_MIN, 1};
static const uint8_t zero[SEAL_SRK_LEN];
static struct refusal why;

struct root_rig {
    struct rig *g;
    struct store *s;
    struct root_options o;
    uint8_t identity[AGE_KEY_LEN];
    char passphrase[128], identity_file[128], shares_file[128], pin[128], pin_prefix[128];
    struct shamir_share shares[3];
    uint8_t bytes[SEAL_SLOT_MAX];
    struct buf slot;
    uint8_t srk[SEAL_SRK_LEN], number;
};

static struct root_rig *R;

static int setup(void **state)
{
    char text[AGE_IDENTITY_TEXT_LEN + 1];

    if (rig_setup(state) != 0)
        return -1;
    R = calloc(1, sizeof *R);
    assert_non_null(R);
    R->g = *state;
    R->slot = (struct buf){R->bytes, 0, sizeof R->bytes};
    rig_path(R->g, "passphrase", R->passphrase, sizeof R->passphrase);
    rig_path(R->g, "identity", R->identity_file, sizeof R->identity_file);
    rig_path(R->g, "shares", R->shares_file, sizeof R->shares_file);
    rig_path(R->g, "pin", R->pin, sizeof R->pin);
    rig_path(R->g, "pin-refused-", R->pin_prefix, sizeof R->pin_prefix);
    rig_write(R->passphrase, "correct horse\n");
    age_identity_new(R->g->rng, R->identity);
    age_identity_print(R->identity, text);
    rig_write(R->identity_file, text);
    R->s = store_open(R->g->store_file, 0, true, R->g->rng, &why);
    assert_non_null(R->s);
    R->o = (struct root_options){.cost = cheap};
    return 0;
}

static int teardown(void **state)
{
    store_close(R->s);
    free(R);
    return rig_teardown(state);
}

/* ---- slots of the store ---- */

static bool take_row(void *ctx, const struct store_row *row)
{
    (void)ctx;
    (void)row;
    return true;
}

/* What a store has that was opened once: it knows its root. */
static void know_root(void)
{
    assert_true(store_unlock(R->s, R->g->srk, take_row, NULL, &why));
    store_close(R->s);
    R->s = store_open(R->g->store_file, 0, false, R->g->rng, &why);
    assert_non_null(R->s);
}

static void put(uint8_t number, struct span slot)
{
    if (!store_slot_put(R->s, number, slot, &why))
        fail_msg("%s: %s", why.code, why.text);
}

static void put_passphrase(uint8_t number)
{
    uint8_t out[SEAL_SLOT_LEN];

    assert_true(root_passphrase_slot(R->g->rng, number, 0, cheap, R->passphrase, R->g->srk, out, &why));
    put(number, span_of(out, sizeof out));
}

static void put_age(uint8_t number, const uint8_t *srk)
{
    struct age_recipient r = age_recipient_of(R->g->rng, R->identity);

    assert_int_equal(seal_age_create(R->g->rng, number, 0, &r, 1, srk, &R->slot), SEAL_OK);
    put(number, buf_span(&R->slot));
}

static void put_shares(uint8_t number)
{
    assert_int_equal(seal_shares_create(R->g->rng, number, 0, 2, 3, R->g->srk, &R->slot, R->shares), SEAL_OK);
    put(number, buf_span(&R->slot));
}

/* len: of the second; less than all of it is none that was printed. */
static void write_shares(size_t first, const char *between, size_t second, size_t len)
{
    char a[SHAMIR_TEXT_LEN + 1], b[SHAMIR_TEXT_LEN + 1], text[1024];

    shamir_print(&R->shares[first], a);
    shamir_print(&R->shares[second], b);
    snprintf(text, sizeof text, "# from the safe\n%s%s%.*s\n", a, between, (int)len, b);
    rig_write(R->shares_file, text);
}

/* A slot under the key "one" of a token, whose PIN is in R->pin. */
static void put_token(uint8_t number)
{
    struct seal_pkcs11 p = {SOFTHSM_MODULE, "ww", "one", R->pin, false};
    char err[600];

    softhsm_make(R->g->dir);
    R->o.from.device = (struct seal_device){WW_SEAL, 60000};
    R->o.from.pin_prefix = R->pin_prefix;
    if (seal_pkcs11_create(R->g->rng, &R->o.from.device, number, 0, &p, R->g->srk, &R->slot, err,
                           sizeof err) != SEAL_OK)
        fail_msg("%s", err);
    put(number, buf_span(&R->slot));
}

static bool open_root(void)
{
    return root_open(R->s, R->g->rng, &R->o, R->srk, &R->number, &why);
}

static void opens_by(uint8_t number)
{
    if (!open_root())
        fail_msg("%s: %s", why.code, why.text);
    assert_int_equal(R->number, number);
    assert_memory_equal(R->srk, R->g->srk, SEAL_SRK_LEN);
}

static void refuses(const char *code, const char *text, const char *next)
{
    assert_false(open_root());
    if (strcmp(why.code, code) != 0 || strstr(why.text, text) == NULL || strstr(why.next, next) == NULL)
        fail_msg("%s: %s (%s)", why.code, why.text, why.next);
    assert_memory_equal(R->srk, zero, SEAL_SRK_LEN);
}

/* ---- cases ---- */

static void a_new_store_begins_with_a_passphrase_slot(void **state)
{
    (void)state;
    R->o.may_create = true;
    R->o.from.passphrase_file = R->passphrase;
    assert_true(open_root());
    memcpy(R->g->srk, R->srk, SEAL_SRK_LEN);
    know_root();
    R->o.may_create = false;
    opens_by(0);
}

static void a_new_store_without_a_passphrase_is_refused(void **state)
{
    (void)state;
    R->o.may_create = true;
    refuses("no_passphrase", "seal.passphrase_file is not set", "set seal.passphrase_file");
}

static void a_store_without_slots_is_refused_where_none_may_be_made(void **state)
{
    (void)state;
    R->o.from.passphrase_file = R->passphrase;
    refuses("no_slot", "has no slot", "restore a backup");
}

static void a_wrong_passphrase_names_the_slot_and_the_file(void **state)
{
    (void)state;
    put_passphrase(3);
    know_root();
    rig_write(R->passphrase, "incorrect horse\n");
    R->o.from.passphrase_file = R->passphrase;
    refuses("wrong_passphrase", "slot 3 (passphrase): wrong passphrase, from ", "cannot be recovered");
}

static void an_age_identity_opens_its_slot(void **state)
{
    (void)state;
    put_age(2, R->g->srk);
    know_root();
    refuses("slot_not_tried", "slot 2 (age): no age identity is given", "--identity FILE");
    R->o.from.identity_file = R->identity_file;
    opens_by(2);
}

static void an_identity_of_nobody_is_named(void **state)
{
    char text[AGE_IDENTITY_TEXT_LEN + 1];

    (void)state;
    put_age(2, R->g->srk);
    know_root();
    age_identity_new(R->g->rng, R->identity);
    age_identity_print(R->identity, text);
    rig_write(R->identity_file, text);
    R->o.from.identity_file = R->identity_file;
    refuses("wrong_identity", "slot 2 (age): the age identity is none", "one of the slot's recipients");
    unlink(R->identity_file);
    refuses("no_identity", "slot 2 (age): cannot read the age identity file", "--identity");
}

static void paper_shares_open_their_slot_however_they_were_typed(void **state)
{
    static const char *const between[] = {"\n", " # the first\n\n \t", "", "-\r\n"};

    (void)state;
    put_shares(5);
    know_root();
    R->o.from.shares_file = R->shares_file;
    for (size_t i = 0; i < sizeof between / sizeof between[0]; i++) {
        write_shares(2, between[i], 0, SHAMIR_TEXT_LEN);
        opens_by(5);
    }
}

static void shares_that_do_not_open_are_told_apart(void **state)
{
    struct shamir_share first;

    (void)state;
    put_shares(5);
    know_root();
    R->o.from.shares_file = R->shares_file;
    write_shares(1, "\n", 0, 0);
    refuses("wrong_shares", "slot 5 (shares): 1 of its shares are given, it takes 2",
            "wwctl root slots list");
    write_shares(1, "\n", 1, SHAMIR_TEXT_LEN);
    refuses("wrong_shares", "share 2 is given twice", "");
    write_shares(1, "\n", 0, SHAMIR_TEXT_LEN - 1);
    refuses("no_shares", "share 2 in it: ", "compare it with the paper");
    rig_write(R->shares_file, "# nothing\n");
    refuses("no_shares", "holds no share", "");
    first = R->shares[0];
    assert_int_equal(seal_shares_create(R->g->rng, 6, 0, 2, 3, R->g->srk, &R->slot, R->shares), SEAL_OK);
    R->shares[0] = first;
    write_shares(0, "\n", 1, SHAMIR_TEXT_LEN);
    refuses("wrong_shares", "the share given as number 2 is of another set", "printed on each share");
}

static void a_token_opens_its_slot(void **state)
{
    (void)state;
    put_token(1);
    know_root();
    opens_by(1);
}

static void a_refused_pin_is_not_tried_again_until_something_changed(void **state)
{
    (void)state;
    put_token(1);
    know_root();
    rig_write(R->pin, "4321\n");
    refuses("wrong_pin", "slot 1 (pkcs11): wrong PIN", "not tried a second time");
    R->o.from.device.program = "/nonexistent/ww-seal"; /* which nothing asks now */
    refuses("wrong_pin", "slot 1 (pkcs11): the token refused this PIN before", "pin-refused-1");
    R->o.from.device.program = WW_SEAL;
    R->o.from.pin_again = true;
    refuses("wrong_pin", "slot 1 (pkcs11): wrong PIN", "");
    R->o.from.pin_again = false;
    rig_write(R->pin, "1234\n\n"); /* of another length: the time alone may be the same */
    opens_by(1);
    opens_by(1);
}

static void a_refused_pin_of_a_credential_waits_for_an_operator(void **state)
{
    char forgotten[160];

    (void)state;
    setenv("CREDENTIALS_DIRECTORY", R->g->dir, 1);
    snprintf(R->pin, sizeof R->pin, "credential:pin");
    put_token(1);
    know_root();
    softhsm_write(R->g->dir, "pin", "4321\n");
    refuses("wrong_pin", "wrong PIN", "");
    softhsm_write(R->g->dir, "pin", "1234\n");
    refuses("wrong_pin", "refused this PIN before", "then remove ");
    snprintf(forgotten, sizeof forgotten, "%s1", R->pin_prefix);
    assert_int_equal(unlink(forgotten), 0);
    opens_by(1);
    unsetenv("CREDENTIALS_DIRECTORY");
}

static void a_pin_that_cannot_be_read_counts_as_no_try(void **state)
{
    char remembered[160];

    (void)state;
    put_token(1);
    know_root();
    unlink(R->pin);
    refuses("device", "cannot read the PIN file", "");
    snprintf(remembered, sizeof remembered, "%s1", R->pin_prefix);
    assert_int_equal(access(remembered, F_OK), -1);
}

static void an_absent_device_is_named_and_another_slot_opens(void **state)
{
    (void)state;
    put_token(1);
    put_age(2, R->g->srk);
    know_root();
    softhsm_run(R->g->dir, "rm -r tokens && mkdir tokens");
    refuses(
        "device",
        "none of the 2 root slots opens; 1 could be tried; first: slot 1 (pkcs11): the PKCS#11 module has no",
        "another slot");
    R->o.from.identity_file = R->identity_file;
    opens_by(2);
}

static void a_damaged_slot_is_named_and_another_opens(void **state)
{
    uint8_t slot[SEAL_SLOT_LEN];

    (void)state;
    assert_true(root_passphrase_slot(R->g->rng, 0, 0, cheap, R->passphrase, R->g->srk, slot, &why));
    slot[40] ^= 1;
    put(0, span_of(slot, sizeof slot));
    R->o.from.passphrase_file = R->passphrase;
    refuses("slot_damaged", "slot 0 (unknown): the slot record is damaged", "another slot");
    put_age(2, R->g->srk);
    know_root();
    R->o.from.identity_file = R->identity_file;
    opens_by(2);
}

static void a_slot_in_the_place_of_another_is_refused(void **state)
{
    uint8_t slot[SEAL_SLOT_LEN];

    (void)state;
    assert_true(root_passphrase_slot(R->g->rng, 4, 0, cheap, R->passphrase, R->g->srk, slot, &why));
    put(0, span_of(slot, sizeof slot));
    know_root();
    R->o.from.passphrase_file = R->passphrase;
    refuses("slot_damaged", "stands in the place of another", "");
}

static void a_slot_that_a_stranger_made_is_passed_over(void **state)
{
    uint8_t other[SEAL_SRK_LEN] = "a root key that is not ours, ...";

    (void)state;
    put_passphrase(9);
    know_root();
    put_age(2, other);
    R->o.from.identity_file = R->identity_file;
    refuses("slot_wrong_root", "slot 2 opens, but to a root key that is not this store's", "who wrote to it");
    R->o.from.passphrase_file = R->passphrase;
    opens_by(9);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_new_store_begins_with_a_passphrase_slot),
        CASE(a_new_store_without_a_passphrase_is_refused),
        CASE(a_store_without_slots_is_refused_where_none_may_be_made),
        CASE(a_wrong_passphrase_names_the_slot_and_the_file),
        CASE(an_age_identity_opens_its_slot),
        CASE(an_identity_of_nobody_is_named),
        CASE(paper_shares_open_their_slot_however_they_were_typed),
        CASE(shares_that_do_not_open_are_told_apart),
        CASE(a_token_opens_its_slot),
        CASE(a_refused_pin_is_not_tried_again_until_something_changed),
        CASE(a_refused_pin_of_a_credential_waits_for_an_operator),
        CASE(a_pin_that_cannot_be_read_counts_as_no_try),
        CASE(an_absent_device_is_named_and_another_slot_opens),
        CASE(a_damaged_slot_is_named_and_another_opens),
        CASE(a_slot_in_the_place_of_another_is_refused),
        CASE(a_slot_that_a_stranger_made_is_passed_over),
    };

    return RUN_TESTS("ctrl root", tests);
}
