/* What an operator does with the root's slots, and what is found when somebody else did it. */
#include "ctrl/root/root_slots.h"

#include "base/secret.h"
#include "tests/unit/ctrl/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct refusal why;

struct slots_rig {
    struct rig *g;
    struct custody *c;
    struct root_keeper k;
    char passphrase[128], other[128], identity_file[128], shares_file[128], problem[ROOT_PROBLEM_CAP];
    struct age_recipient recipient;
    struct shamir_share shares[SHAMIR_SHARES_MAX];
    uint8_t opened;
};

static struct slots_rig *R;

/* ---- a store, as ww-ctrl opens it ---- */

static bool open_store(void)
{
    struct root_options o = {.from = R->k.from, .cost = R->k.cost, .may_create = true};
    struct store *s = store_open(R->g->store_file, CTRL_SHARD, true, R->g->rng, &why);

    if (s == NULL)
        return false;
    memset(R->g->srk, 0, SEAL_SRK_LEN);
    if (!root_open(s, R->g->rng, &o, R->g->srk, &R->opened, &why)) {
        store_close(s);
        return false;
    }
    R->c = R->k.c = custody_open(s, R->g->rng, R->g->srk, &why);
    return R->c != NULL;
}

static void start(void)
{
    if (!open_store() || !root_slots_settle(&R->k, R->opened, R->problem, &why))
        fail_msg("%s: %s", why.code, why.text);
}

static void stop(void)
{
    custody_close(R->c);
    R->c = R->k.c = NULL;
}

static int setup(void **state)
{
    uint8_t identity[AGE_KEY_LEN];
    char text[AGE_IDENTITY_TEXT_LEN + 1];

    if (rig_setup_in_memory(state) != 0)
        return -1;
    R = calloc(1, sizeof *R);
    assert_non_null(R);
    R->g = *state;
    rig_path(R->g, "passphrase", R->passphrase, sizeof R->passphrase);
    rig_path(R->g, "other", R->other, sizeof R->other);
    rig_path(R->g, "identity", R->identity_file, sizeof R->identity_file);
    rig_path(R->g, "shares", R->shares_file, sizeof R->shares_file);
    rig_write(R->passphrase, "correct horse\n");
    rig_write(R->other, "battery staple\n");
    age_identity_new(R->g->rng, identity);
    age_identity_print(identity, text);
    rig_write(R->identity_file, text);
    R->recipient = age_recipient_of(R->g->rng, identity);
    R->k = (struct root_keeper){.rng = R->g->rng,
                                .from = {.passphrase_file = R->passphrase},
                                .cost = {SEAL_MEMORY_KIB_MIN, 1},
                                .now_unix_s = 1000};
    start();
    return 0;
}

static int teardown(void **state)
{
    custody_close(R->c);
    free(R);
    return rig_teardown(state);
}

static uint8_t add(const struct root_new_slot *what)
{
    uint8_t number;

    if (!root_slots_add(&R->k, what, false, &number, R->shares, &why))
        fail_msg("%s: %s", why.code, why.text);
    return number;
}

static uint8_t add_age(void)
{
    struct root_new_slot what = {.kind = SEAL_KIND_AGE, .recipient_count = 1, .recipients = {R->recipient}};

    return add(&what);
}

static uint8_t add_shares(void)
{
    struct root_new_slot what = {.kind = SEAL_KIND_SHARES, .threshold = 2, .share_count = 3};
    char a[SHAMIR_TEXT_LEN + 1], b[SHAMIR_TEXT_LEN + 1], text[512];
    uint8_t number = add(&what);

    shamir_print(&R->shares[0], a);
    shamir_print(&R->shares[2], b);
    snprintf(text, sizeof text, "%s\n%s\n", a, b);
    rig_write(R->shares_file, text);
    return number;
}

static uint8_t add_passphrase(const char *file)
{
    struct root_new_slot what = {.kind = SEAL_KIND_PASSPHRASE, .passphrase_file = file};

    return add(&what);
}

static void verify(uint8_t number)
{
    struct root_keeper k = R->k;

    k.from.identity_file = R->identity_file;
    k.from.shares_file = R->shares_file;
    if (!root_slots_verify(&k, number, &why))
        fail_msg("%s: %s", why.code, why.text);
}

static const struct slot *at(uint8_t number)
{
    return &custody_slots(R->c)->at[number];
}

static void refused(bool ok, const char *code, const char *text)
{
    assert_false(ok);
    if (strcmp(why.code, code) != 0 || strstr(why.text, text) == NULL || why.next[0] == '\0')
        fail_msg("%s: %s (%s)", why.code, why.text, why.next);
}

/* One online, two offline, all opened. */
static void enough(void)
{
    verify(add_age());
    verify(add_shares());
    assert_true(root_slots_suffice(&R->k, &why));
}

/* ---- cases ---- */

static void the_first_start_vouches_for_the_slot_that_opened_it(void **state)
{
    (void)state;
    assert_true(custody_slots(R->c)->vouched);
    assert_int_equal(at(0)->opened_unix_s, 1000);
    uint64_t epoch = custody_epoch(R->c);
    stop();
    start();
    assert_int_equal(custody_epoch(R->c), epoch);
    assert_string_equal(R->problem, "");
}

static void an_offline_slot_counts_once_its_holder_was_there(void **state)
{
    (void)state;
    refused(root_slots_suffice(&R->k, &why), "not_enough_slots", "0 online and 2 offline slots");
    uint8_t age = add_age(), shares = add_shares();
    refused(root_slots_suffice(&R->k, &why), "not_enough_slots", "0 online and 2 offline slots");
    verify(age);
    refused(root_slots_suffice(&R->k, &why), "not_enough_slots", "0 online and 1 offline slot that");
    verify(shares);
    assert_true(root_slots_suffice(&R->k, &why));
}

static void an_online_slot_counts_at_once_and_only_if_it_opens(void **state)
{
    (void)state;
    uint8_t number = add_passphrase(R->other);
    assert_int_equal(at(number)->opened_unix_s, 1000);
    struct root_new_slot none = {.kind = SEAL_KIND_PASSPHRASE, .passphrase_file = "/nonexistent/file"};
    uint64_t epoch = custody_epoch(R->c);
    assert_false(root_slots_add(&R->k, &none, false, &number, NULL, &why));
    assert_string_equal(why.code, "no_passphrase");
    assert_non_null(strstr(why.text, "/nonexistent/file"));
    assert_int_equal(custody_epoch(R->c), epoch);
}

static void a_dry_run_adds_nothing(void **state)
{
    struct root_new_slot what = {.kind = SEAL_KIND_AGE, .recipient_count = 1, .recipients = {R->recipient}};
    uint64_t epoch = custody_epoch(R->c);
    uint8_t number;

    (void)state;
    assert_true(root_slots_add(&R->k, &what, true, &number, NULL, &why));
    assert_true(root_slots_rotate(&R->k, 0, NULL, true, &why));
    assert_true(root_rotate(&R->k, true, &why));
    assert_int_equal(custody_epoch(R->c), epoch);
    assert_int_equal(at(number)->len, 0);
}

static void below_the_minimum_nothing_that_counts_is_taken_out(void **state)
{
    (void)state;
    enough();
    for (uint8_t i = 0; i < 3; i++)
        refused(root_slots_remove(&R->k, i, false, &why), "not_enough_slots", "would be missing");
    uint8_t unopened = add_age();
    assert_true(root_slots_remove(&R->k, unopened, false, &why));
    uint8_t spare = add_age();
    verify(spare);
    assert_true(root_slots_remove(&R->k, 1, false, &why));
    refused(root_slots_remove(&R->k, spare, false, &why), "not_enough_slots", "would be missing");
    refused(root_slots_remove(&R->k, 9, false, &why), "no_such_slot", "no slot 9");
}

static void in_development_the_last_slot_stays_all_the_same(void **state)
{
    (void)state;
    R->k.dev = true;
    add_passphrase(R->other);
    assert_true(root_slots_remove(&R->k, 1, false, &why));
    refused(root_slots_remove(&R->k, 0, false, &why), "not_enough_slots", "would be missing");
}

static void a_passphrase_is_changed_in_its_slot(void **state)
{
    (void)state;
    assert_true(root_slots_rotate(&R->k, 0, R->other, false, &why));
    stop();
    assert_false(open_store());
    assert_string_equal(why.code, "wrong_passphrase");
    R->k.from.passphrase_file = R->other;
    start();
    assert_string_equal(R->problem, "");
}

static void paper_is_not_sealed_anew_in_its_slot(void **state)
{
    (void)state;
    uint8_t number = add_shares();
    refused(root_slots_rotate(&R->k, number, NULL, false, &why), "bad_slot", "is on paper");
}

static void all_slots_can_be_taken(void **state)
{
    struct root_new_slot what = {.kind = SEAL_KIND_AGE, .recipient_count = 1, .recipients = {R->recipient}};
    uint8_t number;

    (void)state;
    while (slots_free_number(custody_slots(R->c)) != STORE_SLOTS_MAX)
        add_age();
    refused(root_slots_add(&R->k, &what, false, &number, NULL, &why), "slots_full", "all 16 slots");
    if (!root_rotate(&R->k, false, &why))
        fail_msg("%s: %s", why.code, why.text);
    stop();
    start();
    assert_string_equal(R->problem, "");
}

static void a_new_root_is_in_every_slot(void **state)
{
    uint8_t before[SEAL_SRK_LEN];

    (void)state;
    enough();
    assert_true(custody_create(R->c, "a", &why));
    memcpy(before, R->g->srk, sizeof before);
    if (!root_rotate(&R->k, false, &why))
        fail_msg("%s: %s", why.code, why.text);
    for (uint8_t i = 0; i < 3; i++)
        verify(i);
    stop();
    R->k.from = (struct root_sources){.identity_file = R->identity_file};
    start();
    assert_int_equal(R->opened, 1);
    assert_non_null(rig_key(R->c, "a"));
    stop();
    R->k.from = (struct root_sources){.shares_file = R->shares_file};
    start();
    assert_int_equal(R->opened, 2);
    assert_memory_not_equal(R->g->srk, before, sizeof before);
}

static void a_passphrase_slot_of_somebody_else_keeps_the_root_from_being_changed(void **state)
{
    (void)state;
    uint8_t number = add_passphrase(R->other);
    uint64_t epoch = custody_epoch(R->c);
    refused(root_rotate(&R->k, false, &why), "wrong_passphrase", "slot 1 (passphrase)");
    assert_int_equal(custody_epoch(R->c), epoch);
    R->k.dev = true;
    assert_true(root_slots_remove(&R->k, number, false, &why));
    assert_true(root_rotate(&R->k, false, &why));
}

/* ---- what somebody else did ---- */

static void tamper(uint8_t number, struct span to)
{
    struct store *s = store_open(R->g->store_file, CTRL_SHARD, false, R->g->rng, &why);

    assert_non_null(s);
    assert_true(store_slot_mend(s, number, to, &why));
    store_close(s);
}

static void starts_with(const char *code)
{
    struct slots *before = malloc(sizeof *before);
    uint8_t table[STORE_SLOT_MAX];

    assert_non_null(before);
    start();
    if (strstr(R->problem, code) == NULL)
        fail_msg("\"%s\" does not say %s", R->problem, code);
    *before = *custody_slots(R->c);
    for (uint8_t i = 0; i < STORE_SLOTS_MAX; i++) {
        size_t len = store_slot_get(custody_store(R->c), i, table);
        assert_true(span_equal(span_of(table, len), slot_span(&before->at[i])));
    }
    stop();
    start();
    assert_string_equal(R->problem, "");
    assert_memory_equal(before, custody_slots(R->c), sizeof *before);
    free(before);
}

static void a_slot_added_removed_or_exchanged_from_outside_is_named_and_put_back(void **state)
{
    (void)state;
    enough();
    struct slot s = *at(1);
    stop();
    tamper(5, slot_span(&s));
    starts_with("slot_added: slot 5");
    stop();
    tamper(1, span_of(NULL, 0));
    starts_with("slot_removed: slot 1");
    stop();
    tamper(2, slot_span(&s));
    starts_with("slot_altered: slot 2");
}

/* Refused by name, or everything is as it was. */
static void any_flipped_byte_of_a_slot_is_named(void **state)
{
    (void)state;
    enough();
    for (uint8_t number = 0; number < 3; number++) {
        struct slot was = *at(number);

        for (size_t i = 0; i < was.len; i += number == 0 ? 1 : 7) {
            struct slot flipped = was;

            flipped.record[i] ^= 0x41;
            stop();
            tamper(number, slot_span(&flipped));
            if (number == 0) {
                assert_false(open_store());
                assert_string_equal(why.code, "slot_damaged");
                tamper(number, slot_span(&was));
                start();
            } else {
                start();
                assert_non_null(strstr(R->problem, "slot_altered"));
            }
            assert_memory_equal(at(number)->record, was.record, was.len);
        }
    }
}

static void a_restored_store_vouches_for_the_slots_that_it_was_given(void **state)
{
    uint8_t fresh[SEAL_SLOT_LEN];

    (void)state;
    enough();
    int64_t opened = at(1)->opened_unix_s;
    assert_true(root_passphrase_slot(R->g->rng, 4, CTRL_SHARD, R->k.cost, R->other, R->g->srk, fresh, &why));
    stop();
    tamper(0, span_of(NULL, 0));
    tamper(4, span_of(fresh, sizeof fresh));
    R->k.from.identity_file = R->identity_file;
    assert_true(open_store());
    assert_true(root_slots_restored(R->c, 2000, &why));
    stop();
    R->k.from = (struct root_sources){.passphrase_file = R->other};
    start();
    assert_string_equal(R->problem, "");
    assert_int_equal(at(0)->len, 0);
    assert_int_equal(at(1)->opened_unix_s, opened);
    assert_int_equal(at(4)->opened_unix_s, 1000); /* by this start */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_first_start_vouches_for_the_slot_that_opened_it),
        CASE(an_offline_slot_counts_once_its_holder_was_there),
        CASE(an_online_slot_counts_at_once_and_only_if_it_opens),
        CASE(a_dry_run_adds_nothing),
        CASE(below_the_minimum_nothing_that_counts_is_taken_out),
        CASE(in_development_the_last_slot_stays_all_the_same),
        CASE(a_passphrase_is_changed_in_its_slot),
        CASE(paper_is_not_sealed_anew_in_its_slot),
        CASE(all_slots_can_be_taken),
        CASE(a_new_root_is_in_every_slot),
        CASE(a_passphrase_slot_of_somebody_else_keeps_the_root_from_being_changed),
        CASE(a_slot_added_removed_or_exchanged_from_outside_is_named_and_put_back),
        CASE(any_flipped_byte_of_a_slot_is_named),
        CASE(a_restored_store_vouches_for_the_slots_that_it_was_given),
    };

    return RUN_TESTS("ctrl root_slots", tests);
}
