#include "tests/unit/keys/fixture.h"

#include <stdio.h>
#include <stdlib.h>

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

static uint32_t wraps_under(const char *path)
{
    uint8_t blob[1 + BLOB_OVERHEAD];
    uint32_t version = 99;
    enum keys_status s = keys_wrap(f.worker, find(&f, path), secret_of("x", 1), span_str(""), blob, &version);

    assert_true(s == KEYS_OK || s == KEYS_NO_VERSION);
    return s == KEYS_OK ? version : 0;
}

static enum keys_status unwraps(const char *path, const uint8_t blob[1 + BLOB_OVERHEAD])
{
    uint8_t out[1];
    size_t len;

    return unwrap(&f, path, span_of(blob, 1 + BLOB_OVERHEAD), "", out, &len);
}

/* ---- lookups ---- */

static void nothing_is_found_before_the_first_transaction(void **state)
{
    struct fixture fresh;
    (void)state;

    fixture_open(&fresh, 4, 4);
    assert_null(find(&fresh, "v0/a"));
    assert_true(keys_epoch(fresh.keys) == 0);
    fixture_close(&fresh);
}

static void a_key_is_found_by_exactly_its_path(void **state)
{
    const char *others[] = {"",      "v0",    "v0/",    "v0/A",   "v0/a/", "/v0/a",
                            "v0/aa", "v0//a", "v0/%61", "v0/./a", "v0/c"};
    (void)state;

    assert_non_null(find(&f, "v0/a"));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_null(find(&f, others[i]));
    assert_null(keys_find(f.worker, span_of("v0/a\0", 5)));
}

static void a_key_tells_what_its_record_says(void **state)
{
    struct ctl_key m = fixture_key(5, "v0/told", 0);
    (void)state;

    m.deny_status = 400;
    m.state = KEY_STATE_DISABLED;
    m.reasons_allowed = 1u << 3;
    m.caller_count = 2;
    m.callers[1] = span_str("second@caller.test");
    begin_delta(f.keys);
    assert_int_equal(keys_stage_key(f.keys, &m), 0);
    publish_and_settle(&f);
    const struct key *k = find(&f, "v0/told");
    assert_int_equal(key_lifecycle(k), KEY_STATE_DISABLED);
    assert_int_equal(key_deny_status(k), 400);
    assert_memory_equal(key_id(k), m.id, KEY_ID_LEN);
    assert_true(key_allows_reason(k, 1u << 3));
    assert_false(key_allows_reason(k, 1u << 4));
    assert_true(key_allows_caller(k, span_str(CALLER)));
    assert_true(key_allows_caller(k, span_str("second@caller.test")));
}

static void a_caller_is_allowed_by_the_whole_address_only(void **state)
{
    const struct key *k = find(&f, "v0/a");
    (void)state;

    assert_true(key_allows_caller(k, span_str(CALLER)));
    assert_false(key_allows_caller(k, span_str("kms@caller.tes")));
    assert_false(key_allows_caller(k, span_str("kms@caller.testt")));
    assert_false(key_allows_caller(k, span_str("KMS@caller.test")));
    assert_false(key_allows_caller(k, span_str("")));
}

static void a_key_without_callers_allows_nobody(void **state)
{
    struct ctl_key m = fixture_key(5, "v0/alone", 0);
    (void)state;

    m.caller_count = 0;
    begin_delta(f.keys);
    assert_int_equal(keys_stage_key(f.keys, &m), 0);
    publish_and_settle(&f);
    assert_false(key_allows_caller(find(&f, "v0/alone"), span_str(CALLER)));
    assert_false(key_allows_caller(find(&f, "v0/alone"), span_str("")));
}

/* ---- transactions ---- */

static void what_is_staged_is_not_seen_before_the_commit(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_key(f.keys, 3, "v0/c", 0), 0);
    assert_null(find(&f, "v0/c"));
    publish(f.keys);
    assert_non_null(find(&f, "v0/c"));
}

static void a_rollback_leaves_everything_as_it_was(void **state)
{
    struct keys_gauges before, after;
    uint64_t epoch = keys_epoch(f.keys);
    (void)state;

    keys_gauges(f.keys, &before);
    begin_delta(f.keys);
    assert_int_equal(stage_key_in_state(f.keys, 1, "v0/a", 1, KEY_STATE_DISABLED), 0);
    assert_int_equal(stage_version(f.keys, 1, 2, KEY_STATE_ENABLED), 0);
    assert_int_equal(stage_version(f.keys, 2, 1, KEY_STATE_DISABLED), 0);
    assert_int_equal(stage_key(f.keys, 3, "v0/c", 0), 0);
    assert_int_equal(stage_gone(f.keys, 2), 0);
    keys_rollback(f.keys);
    keys_gauges(f.keys, &after);
    assert_memory_equal(&before, &after, sizeof before);
    assert_true(keys_epoch(f.keys) == epoch);
    assert_int_equal(wraps_under("v0/a"), 1);
    assert_int_equal(wraps_under("v0/b"), 1);
}

static void a_rollback_without_a_transaction_does_nothing(void **state)
{
    (void)state;
    keys_rollback(f.keys);
    assert_int_equal(wraps_under("v0/a"), 1);
}

static void a_rollback_after_a_check_leaves_everything_as_it_was(void **state)
{
    (void)state;
    begin_full(f.keys);
    assert_int_equal(keys_check(f.keys), 0);
    keys_rollback(f.keys);
    assert_int_equal(wraps_under("v0/a"), 1);
}

static void a_full_transaction_drops_what_it_does_not_name(void **state)
{
    (void)state;
    begin_full(f.keys);
    assert_int_equal(stage_key(f.keys, 1, "v0/a", 1), 0);
    assert_int_equal(stage_version(f.keys, 1, 1, KEY_STATE_ENABLED), 0);
    publish_and_settle(&f);
    assert_non_null(find(&f, "v0/a"));
    assert_null(find(&f, "v0/b"));
}

static void a_delta_leaves_what_it_does_not_name(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_gone(f.keys, 2), 0);
    publish_and_settle(&f);
    assert_int_equal(wraps_under("v0/a"), 1);
    assert_null(find(&f, "v0/b"));
}

static void a_delta_rotates_and_the_old_versions_blobs_still_open(void **state)
{
    uint8_t old[1 + BLOB_OVERHEAD];
    (void)state;

    assert_int_equal(wrap(&f, "v0/a", "x", "", old), KEYS_OK);
    begin_delta(f.keys);
    assert_int_equal(stage_version(f.keys, 1, 2, KEY_STATE_ENABLED), 0);
    assert_int_equal(stage_key(f.keys, 1, "v0/a", 2), 0);
    publish_and_settle(&f);
    assert_int_equal(wraps_under("v0/a"), 2);
    assert_int_equal(unwraps("v0/a", old), KEYS_OK);
}

static void a_delta_may_rename_a_key_and_its_blobs_still_open(void **state)
{
    uint8_t old[1 + BLOB_OVERHEAD];
    (void)state;

    assert_int_equal(wrap(&f, "v0/a", "x", "", old), KEYS_OK);
    begin_delta(f.keys);
    assert_int_equal(stage_key(f.keys, 1, "v0/renamed", 1), 0);
    publish_and_settle(&f);
    assert_null(find(&f, "v0/a"));
    assert_int_equal(unwraps("v0/renamed", old), KEYS_OK);
}

static void a_key_may_go_and_come_back_in_one_delta(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_gone(f.keys, 1), 0);
    assert_int_equal(stage_key(f.keys, 1, "v0/a", 7), 0);
    assert_int_equal(stage_version(f.keys, 1, 7, KEY_STATE_ENABLED), 0);
    publish_and_settle(&f);
    assert_int_equal(wraps_under("v0/a"), 7);
}

static void a_key_made_and_gone_in_one_delta_was_never_there(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_key(f.keys, 3, "v0/c", 1), 0);
    assert_int_equal(stage_version(f.keys, 3, 1, KEY_STATE_ENABLED), 0);
    assert_int_equal(stage_gone(f.keys, 3), 0);
    publish_and_settle(&f);
    assert_null(find(&f, "v0/c"));
}

static void many_deltas_leave_the_memory_as_large_as_it_was(void **state)
{
    struct keys_gauges before, after;
    (void)state;

    keys_gauges(f.keys, &before);
    for (uint32_t i = 0; i < 200; i++) {
        begin_delta(f.keys);
        assert_int_equal(stage_version(f.keys, 1, 1, i % 2 == 0 ? KEY_STATE_DISABLED : KEY_STATE_ENABLED), 0);
        publish_and_settle(&f);
    }
    keys_gauges(f.keys, &after);
    assert_int_equal(after.versions, before.versions);
    assert_in_range(after.memory_bytes, 0, before.memory_bytes + 64);
}

/* ---- epochs ---- */

static void the_epoch_is_the_committed_ones(void **state)
{
    uint64_t epoch = keys_epoch(f.keys);
    (void)state;

    assert_int_equal(keys_begin(f.keys, false, epoch, epoch + 5), 0);
    assert_true(keys_epoch(f.keys) == epoch);
    publish(f.keys);
    assert_true(keys_epoch(f.keys) == epoch + 5);
}

static void a_full_transaction_below_the_held_epoch_is_refused(void **state)
{
    (void)state;
    assert_int_equal(keys_begin(f.keys, true, 0, keys_epoch(f.keys) - 1), CTL_REFUSE_EPOCH_OLD);
    assert_int_equal(wraps_under("v0/a"), 1);
}

static void a_full_transaction_at_the_held_epoch_is_taken(void **state)
{
    (void)state;
    assert_int_equal(keys_begin(f.keys, true, 0, keys_epoch(f.keys)), 0);
}

static void a_delta_from_another_epoch_than_the_held_is_refused(void **state)
{
    uint64_t epoch = keys_epoch(f.keys);
    (void)state;

    assert_int_equal(keys_begin(f.keys, false, epoch - 1, epoch + 1), CTL_REFUSE_EPOCH_GAP);
    assert_int_equal(keys_begin(f.keys, false, epoch + 1, epoch + 2), CTL_REFUSE_EPOCH_GAP);
}

static void a_delta_that_leads_nowhere_is_refused(void **state)
{
    uint64_t epoch = keys_epoch(f.keys);
    (void)state;

    assert_int_equal(keys_begin(f.keys, false, epoch, epoch), CTL_REFUSE_EPOCH_OLD);
}

static void a_delta_upon_nothing_is_refused(void **state)
{
    struct fixture fresh;
    (void)state;

    fixture_open(&fresh, 4, 4);
    assert_int_equal(keys_begin(fresh.keys, false, 0, 1), CTL_REFUSE_EPOCH_GAP);
    fixture_close(&fresh);
}

/* ---- refusals ---- */

static void a_begin_inside_a_transaction_is_out_of_order(void **state)
{
    (void)state;
    begin_full(f.keys);
    assert_int_equal(keys_begin(f.keys, true, 0, 100), CTL_REFUSE_ORDER);
}

static void a_record_outside_a_transaction_is_out_of_order(void **state)
{
    (void)state;
    assert_int_equal(stage_key(f.keys, 3, "v0/c", 0), CTL_REFUSE_ORDER);
    assert_int_equal(stage_version(f.keys, 1, 2, KEY_STATE_ENABLED), CTL_REFUSE_ORDER);
    assert_int_equal(stage_gone(f.keys, 1), CTL_REFUSE_ORDER);
    assert_int_equal(keys_check(f.keys), CTL_REFUSE_ORDER);
}

static void a_record_after_the_check_is_out_of_order(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(keys_check(f.keys), 0);
    assert_int_equal(stage_key(f.keys, 3, "v0/c", 0), CTL_REFUSE_ORDER);
    assert_int_equal(keys_check(f.keys), CTL_REFUSE_ORDER);
}

static void a_gone_in_a_full_transaction_is_out_of_order(void **state)
{
    (void)state;
    begin_full(f.keys);
    assert_int_equal(stage_key(f.keys, 1, "v0/a", 0), 0);
    assert_int_equal(stage_gone(f.keys, 1), CTL_REFUSE_ORDER);
}

static void a_version_of_an_unknown_key_is_refused(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_version(f.keys, 9, 1, KEY_STATE_ENABLED), CTL_REFUSE_UNKNOWN_KEY);
}

static void a_full_transaction_does_not_know_the_keys_of_the_epoch_before(void **state)
{
    (void)state;
    begin_full(f.keys);
    assert_int_equal(stage_version(f.keys, 1, 1, KEY_STATE_ENABLED), CTL_REFUSE_UNKNOWN_KEY);
}

static void an_unknown_key_cannot_go(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_gone(f.keys, 9), CTL_REFUSE_UNKNOWN_KEY);
    assert_int_equal(stage_gone(f.keys, 1), 0);
    assert_int_equal(stage_gone(f.keys, 1), CTL_REFUSE_UNKNOWN_KEY);
}

static void two_keys_on_one_path_conflict(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_key(f.keys, 3, "v0/a", 0), 0);
    assert_int_equal(keys_check(f.keys), CTL_REFUSE_CONFLICT);
    keys_rollback(f.keys);
    assert_int_equal(wraps_under("v0/a"), 1);
}

static void one_key_twice_in_a_transaction_conflicts(void **state)
{
    (void)state;
    begin_full(f.keys);
    assert_int_equal(stage_key(f.keys, 1, "v0/a", 0), 0);
    assert_int_equal(stage_key(f.keys, 1, "v0/other", 0), CTL_REFUSE_CONFLICT);
    keys_rollback(f.keys);
    begin_delta(f.keys);
    assert_int_equal(stage_key(f.keys, 1, "v0/a", 1), 0);
    assert_int_equal(stage_key(f.keys, 1, "v0/a", 1), CTL_REFUSE_CONFLICT);
}

static int stage_version_as(uint32_t n, uint32_t number, uint32_t tag_of, uint32_t material_of)
{
    uint8_t material[KEY_MATERIAL_LEN];
    struct ctl_key_version m = {.version = number, .state = KEY_STATE_ENABLED};

    fixture_id(n, m.key_id);
    fixture_tag(n, tag_of, m.tag);
    fixture_material(n, material_of, material);
    m.material = secret_of(material, sizeof material);
    return keys_stage_version(f.keys, &m);
}

static void two_versions_with_one_tag_conflict(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_version_as(1, 2, 1, 2), 0);
    assert_int_equal(keys_check(f.keys), CTL_REFUSE_CONFLICT);
}

static void two_versions_with_one_number_conflict(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_version_as(1, 2, 2, 2), 0);
    assert_int_equal(stage_version_as(1, 2, 3, 3), 0);
    assert_int_equal(keys_check(f.keys), CTL_REFUSE_CONFLICT);
}

static void one_version_changed_twice_in_a_transaction_conflicts(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_version(f.keys, 1, 1, KEY_STATE_DISABLED), 0);
    assert_int_equal(stage_version(f.keys, 1, 1, KEY_STATE_ENABLED), 0);
    assert_int_equal(keys_check(f.keys), CTL_REFUSE_CONFLICT);
}

static void a_version_may_not_change_its_tag(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_version_as(1, 1, 2, 1), CTL_REFUSE_CONFLICT);
}

static void a_version_may_not_change_its_material(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_version_as(1, 1, 1, 2), CTL_REFUSE_CONFLICT);
}

static void a_primary_that_is_not_there_conflicts(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_key(f.keys, 1, "v0/a", 5), 0);
    assert_int_equal(keys_check(f.keys), CTL_REFUSE_CONFLICT);
}

static void more_keys_than_the_tables_hold_are_refused(void **state)
{
    char path[32];
    (void)state;

    begin_full(f.keys);
    for (uint32_t i = 0; i < 8; i++) {
        snprintf(path, sizeof path, "v0/%u", i);
        assert_int_equal(stage_key(f.keys, i, path, 0), 0);
    }
    assert_int_equal(stage_key(f.keys, 8, "v0/8", 0), CTL_REFUSE_FULL);
}

static void a_full_table_still_takes_a_key_for_one_that_goes(void **state)
{
    char path[32];
    (void)state;

    begin_full(f.keys);
    for (uint32_t i = 0; i < 8; i++) {
        snprintf(path, sizeof path, "v0/%u", i);
        assert_int_equal(stage_key(f.keys, i, path, 0), 0);
    }
    publish_and_settle(&f);
    begin_delta(f.keys);
    for (uint32_t i = 0; i < 8; i++) {
        snprintf(path, sizeof path, "v1/%u", i);
        assert_int_equal(stage_gone(f.keys, i), 0);
        assert_int_equal(stage_key(f.keys, 100 + i, path, 0), 0);
    }
    publish_and_settle(&f);
    assert_non_null(find(&f, "v1/7"));
    assert_null(find(&f, "v0/7"));
}

static void more_versions_than_the_tables_hold_are_refused(void **state)
{
    (void)state;
    begin_full(f.keys);
    assert_int_equal(stage_key(f.keys, 1, "v0/a", 1), 0);
    for (uint32_t v = 1; v <= 64; v++)
        assert_int_equal(stage_version(f.keys, 1, v, KEY_STATE_ENABLED), 0);
    assert_int_equal(stage_version(f.keys, 1, 65, KEY_STATE_ENABLED), 0);
    assert_int_equal(keys_check(f.keys), CTL_REFUSE_FULL);
}

static void a_slab_that_runs_out_is_refused_and_gives_all_back(void **state)
{
    int refusal = 0;
    (void)state;

    begin_full(f.keys);
    assert_int_equal(stage_key(f.keys, 1, "v0/a", 1), 0);
    for (uint32_t v = 1; v <= 129 && refusal == 0; v++)
        refusal = stage_version(f.keys, 1, v, KEY_STATE_ENABLED);
    assert_int_equal(refusal, CTL_REFUSE_FULL);
    keys_rollback(f.keys);
    begin_full(f.keys);
    assert_int_equal(stage_key(f.keys, 1, "v0/a", 1), 0);
    for (uint32_t v = 1; v <= 64; v++)
        assert_int_equal(stage_version(f.keys, 1, v, KEY_STATE_ENABLED), 0);
    publish_and_settle(&f);
}

static void more_versions_than_a_key_may_have_are_refused(void **state)
{
    struct fixture big;
    int refusal = 0;
    (void)state;

    fixture_open(&big, 2, 2 * KEY_VERSIONS_PER_KEY);
    begin_full(big.keys);
    assert_int_equal(stage_key(big.keys, 1, "v0/a", 0), 0);
    for (uint32_t v = 1; v <= KEY_VERSIONS_PER_KEY; v++)
        assert_int_equal(stage_version(big.keys, 1, v, KEY_STATE_ENABLED), 0);
    refusal = stage_version(big.keys, 1, KEY_VERSIONS_PER_KEY + 1, KEY_STATE_ENABLED);
    assert_int_equal(refusal, CTL_REFUSE_FULL);
    fixture_close(&big);
}

/* ---- states ---- */

static void version_becomes(uint8_t state)
{
    begin_delta(f.keys);
    assert_int_equal(stage_version(f.keys, 1, 1, state), 0);
    publish_and_settle(&f);
}

static void key_becomes(uint8_t state)
{
    begin_delta(f.keys);
    assert_int_equal(stage_key_in_state(f.keys, 1, "v0/a", 1, state), 0);
    publish_and_settle(&f);
}

static void a_pending_version_is_not_for_wrap(void **state)
{
    (void)state;
    version_becomes(KEY_STATE_PENDING_DURABLE);
    assert_int_equal(wraps_under("v0/a"), 0);
}

static void a_pending_version_beside_an_enabled_primary_leaves_wraps_to_the_primary(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_version(f.keys, 1, 2, KEY_STATE_PENDING_DURABLE), 0);
    publish_and_settle(&f);
    assert_int_equal(wraps_under("v0/a"), 1);
}

static void a_disabled_version_neither_wraps_nor_unwraps(void **state)
{
    uint8_t blob[1 + BLOB_OVERHEAD];
    (void)state;

    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_OK);
    version_becomes(KEY_STATE_DISABLED);
    assert_int_equal(wraps_under("v0/a"), 0);
    assert_int_equal(unwraps("v0/a", blob), KEYS_VERSION_OFF);
}

static void a_version_enabled_again_unwraps_again(void **state)
{
    uint8_t blob[1 + BLOB_OVERHEAD];
    (void)state;

    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_OK);
    version_becomes(KEY_STATE_DISABLED);
    version_becomes(KEY_STATE_ENABLED);
    assert_int_equal(unwraps("v0/a", blob), KEYS_OK);
}

static void a_doomed_version_is_gone(void **state)
{
    uint8_t blob[1 + BLOB_OVERHEAD];
    (void)state;

    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_OK);
    version_becomes(KEY_STATE_DESTROY_SCHEDULED);
    assert_int_equal(wraps_under("v0/a"), 0);
    assert_int_equal(unwraps("v0/a", blob), KEYS_VERSION_GONE);
}

static void a_destroyed_version_is_gone(void **state)
{
    uint8_t blob[1 + BLOB_OVERHEAD];
    (void)state;

    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_OK);
    version_becomes(KEY_STATE_DESTROYED);
    assert_int_equal(wraps_under("v0/a"), 0);
    assert_int_equal(unwraps("v0/a", blob), KEYS_VERSION_GONE);
}

static void a_disabled_key_neither_wraps_nor_unwraps(void **state)
{
    uint8_t blob[1 + BLOB_OVERHEAD];
    (void)state;

    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_OK);
    key_becomes(KEY_STATE_DISABLED);
    assert_int_equal(wraps_under("v0/a"), 0);
    assert_int_equal(unwraps("v0/a", blob), KEYS_VERSION_OFF);
}

static void a_doomed_key_is_found_and_gone(void **state)
{
    uint8_t blob[1 + BLOB_OVERHEAD];
    (void)state;

    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_OK);
    key_becomes(KEY_STATE_DESTROY_SCHEDULED);
    assert_int_equal(key_lifecycle(find(&f, "v0/a")), KEY_STATE_DESTROY_SCHEDULED);
    assert_int_equal(wraps_under("v0/a"), 0);
    assert_int_equal(unwraps("v0/a", blob), KEYS_VERSION_GONE);
}

static void a_key_without_a_primary_does_not_wrap(void **state)
{
    (void)state;
    begin_delta(f.keys);
    assert_int_equal(stage_key(f.keys, 1, "v0/a", 0), 0);
    publish_and_settle(&f);
    assert_int_equal(wraps_under("v0/a"), 0);
}

static void a_refused_wrap_leaves_zeros(void **state)
{
    static const uint8_t zeros[1 + BLOB_OVERHEAD];
    uint8_t blob[1 + BLOB_OVERHEAD];
    (void)state;

    version_becomes(KEY_STATE_DISABLED);
    memset(blob, 0xee, sizeof blob);
    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_NO_VERSION);
    assert_memory_equal(blob, zeros, sizeof blob);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_is_found_before_the_first_transaction),
        CASE(a_key_is_found_by_exactly_its_path),
        CASE(a_key_tells_what_its_record_says),
        CASE(a_caller_is_allowed_by_the_whole_address_only),
        CASE(a_key_without_callers_allows_nobody),
        CASE(what_is_staged_is_not_seen_before_the_commit),
        CASE(a_rollback_leaves_everything_as_it_was),
        CASE(a_rollback_without_a_transaction_does_nothing),
        CASE(a_rollback_after_a_check_leaves_everything_as_it_was),
        CASE(a_full_transaction_drops_what_it_does_not_name),
        CASE(a_delta_leaves_what_it_does_not_name),
        CASE(a_delta_rotates_and_the_old_versions_blobs_still_open),
        CASE(a_delta_may_rename_a_key_and_its_blobs_still_open),
        CASE(a_key_may_go_and_come_back_in_one_delta),
        CASE(a_key_made_and_gone_in_one_delta_was_never_there),
        CASE(many_deltas_leave_the_memory_as_large_as_it_was),
        CASE(the_epoch_is_the_committed_ones),
        CASE(a_full_transaction_below_the_held_epoch_is_refused),
        CASE(a_full_transaction_at_the_held_epoch_is_taken),
        CASE(a_delta_from_another_epoch_than_the_held_is_refused),
        CASE(a_delta_that_leads_nowhere_is_refused),
        CASE(a_delta_upon_nothing_is_refused),
        CASE(a_begin_inside_a_transaction_is_out_of_order),
        CASE(a_record_outside_a_transaction_is_out_of_order),
        CASE(a_record_after_the_check_is_out_of_order),
        CASE(a_gone_in_a_full_transaction_is_out_of_order),
        CASE(a_version_of_an_unknown_key_is_refused),
        CASE(a_full_transaction_does_not_know_the_keys_of_the_epoch_before),
        CASE(an_unknown_key_cannot_go),
        CASE(two_keys_on_one_path_conflict),
        CASE(one_key_twice_in_a_transaction_conflicts),
        CASE(two_versions_with_one_tag_conflict),
        CASE(two_versions_with_one_number_conflict),
        CASE(one_version_changed_twice_in_a_transaction_conflicts),
        CASE(a_version_may_not_change_its_tag),
        CASE(a_version_may_not_change_its_material),
        CASE(a_primary_that_is_not_there_conflicts),
        CASE(more_keys_than_the_tables_hold_are_refused),
        CASE(a_full_table_still_takes_a_key_for_one_that_goes),
        CASE(more_versions_than_the_tables_hold_are_refused),
        CASE(a_slab_that_runs_out_is_refused_and_gives_all_back),
        CASE(more_versions_than_a_key_may_have_are_refused),
        CASE(a_pending_version_is_not_for_wrap),
        CASE(a_pending_version_beside_an_enabled_primary_leaves_wraps_to_the_primary),
        CASE(a_disabled_version_neither_wraps_nor_unwraps),
        CASE(a_version_enabled_again_unwraps_again),
        CASE(a_doomed_version_is_gone),
        CASE(a_destroyed_version_is_gone),
        CASE(a_disabled_key_neither_wraps_nor_unwraps),
        CASE(a_doomed_key_is_found_and_gone),
        CASE(a_key_without_a_primary_does_not_wrap),
        CASE(a_refused_wrap_leaves_zeros),
    };
    return RUN_TESTS("tables", tests);
}
