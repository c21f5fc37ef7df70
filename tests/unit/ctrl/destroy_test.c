/* Destruction and rotation by the clock, through custody and the real store. */
#include "tests/unit/ctrl/twin.h"

#include "base/secret.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH "v0/team/key"
#define DAY  ((int64_t)86400)

static struct refusal why;

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

static struct rig_clock clock_at(void)
{
    return (struct rig_clock){{.unix_s = 1700000000, .boot_ms = 5000, .boot_id = {1}}};
}

static uint8_t key_state(const struct custody *c)
{
    return rig_key(c, PATH)->life.state;
}

static uint8_t version_state(const struct custody *c, uint32_t version)
{
    return rig_key(c, PATH)->versions[version - 1].life.state;
}

static void make(struct custody *c, uint32_t versions)
{
    ok(custody_create(c, PATH, &why));
    for (uint32_t i = 1; i < versions; i++)
        ok(custody_rotate(c, PATH, &why));
}

static void doom(struct custody *c, uint32_t version, uint32_t after_s)
{
    bool already;

    ok(custody_switch(c, PATH, version, false, &already, &why) &&
       custody_destroy(c, PATH, version, after_s, &already, &why));
}

/* Time goes by as it does for ctrl: looked at again and again. */
static void pass(struct custody *c, struct rig_clock *k, int64_t seconds)
{
    for (int64_t step = 6 * 3600; seconds > 0; seconds -= step) {
        rig_clock_pass(k, seconds < step ? seconds : step);
        custody_tick(c);
    }
}

static void a_doomed_key_is_destroyed_when_its_window_is_over_and_not_before(void **state)
{
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(*state, &k);

    make(c, 2);
    doom(c, 0, 0);
    assert_int_equal(key_state(c), KEY_STATE_DESTROY_SCHEDULED);
    pass(c, &k, 30 * DAY - 1);
    assert_int_equal(key_state(c), KEY_STATE_DESTROY_SCHEDULED);
    pass(c, &k, CUSTODY_LOOK_S);
    assert_int_equal(key_state(c), KEY_STATE_DESTROYED);
    assert_int_equal(version_state(c, 1), KEY_STATE_DESTROYED);
    assert_int_equal(version_state(c, 2), KEY_STATE_DESTROYED);
    custody_close(c);
    c = rig_custody_at(*state, &k);
    assert_int_equal(key_state(c), KEY_STATE_DESTROYED);
    assert_int_equal(rig_key(c, PATH)->life.at_unix_s, k.at.unix_s);
    refused_as(custody_create(c, PATH, &why), "key_exists");
    custody_close(c);
}

static void a_restored_key_has_the_material_it_had(void **state)
{
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(*state, &k);
    uint8_t before[KEY_MATERIAL_LEN], after[KEY_MATERIAL_LEN];
    bool already;

    make(c, 1);
    custody_material(c, rig_key(c, PATH), &rig_key(c, PATH)->versions[0], before);
    doom(c, 0, 0);
    pass(c, &k, 29 * DAY);
    ok(custody_restore(c, PATH, 0, &already, &why));
    assert_int_equal(key_state(c), KEY_STATE_DISABLED);
    ok(custody_switch(c, PATH, 0, true, &already, &why));
    pass(c, &k, 100 * DAY);
    assert_int_equal(key_state(c), KEY_STATE_ENABLED);
    custody_material(c, rig_key(c, PATH), &rig_key(c, PATH)->versions[0], after);
    assert_memory_equal(before, after, sizeof before);
    custody_close(c);
}

static void a_version_is_destroyed_alone(void **state)
{
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(*state, &k);

    make(c, 3);
    doom(c, 2, 0);
    pass(c, &k, 31 * DAY);
    assert_int_equal(version_state(c, 2), KEY_STATE_DESTROYED);
    assert_int_equal(version_state(c, 1), KEY_STATE_ENABLED);
    assert_int_equal(version_state(c, 3), KEY_STATE_ENABLED);
    assert_int_equal(key_state(c), KEY_STATE_ENABLED);
    custody_close(c);
    c = rig_custody_at(*state, &k);
    assert_int_equal(version_state(c, 2), KEY_STATE_DESTROYED);
    custody_close(c);
}

static void refusals_of_destroy_have_their_codes(void **state)
{
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(*state, &k);
    bool already;

    refused_as(custody_destroy(c, PATH, 0, 0, &already, &why), "no_such_key");
    make(c, 2);
    refused_as(custody_destroy(c, PATH, 0, 0, &already, &why), "disable_first");
    refused_as(custody_destroy(c, PATH, 2, 0, &already, &why), "primary_version");
    refused_as(custody_destroy(c, PATH, 1, 3600, &already, &why), "bad_window");
    refused_as(custody_destroy(c, PATH, 1, 121 * 86400, &already, &why), "bad_window");
    doom(c, 0, 10 * 86400);
    refused_as(custody_destroy(c, PATH, 0, 9 * 86400, &already, &why), "needs_approval");
    refused_as(custody_rotate(c, PATH, &why), "destroy_scheduled");
    refused_as(custody_switch(c, PATH, 0, true, &already, &why), "destroy_scheduled");
    ok(custody_destroy(c, PATH, 0, 0, &already, &why));
    assert_true(already);
    custody_close(c);
}

static void enabled_is_doomed_at_once_where_that_is_allowed(void **state)
{
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(*state, &k);
    bool already;

    make(c, 1);
    custody_destroy_enabled(c, true);
    ok(custody_destroy(c, PATH, 0, 0, &already, &why));
    assert_int_equal(key_state(c), KEY_STATE_DESTROY_SCHEDULED);
    custody_close(c);
}

/* ---- the clock ---- */

static void a_clock_set_forward_destroys_nothing(void **state)
{
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(*state, &k);
    struct custody_clock_status s;

    make(c, 1);
    doom(c, 0, 86400);
    custody_tick(c);
    rig_clock_jump(&k, 3650 * DAY);
    pass(c, &k, DAY - 1);
    assert_int_equal(key_state(c), KEY_STATE_DESTROY_SCHEDULED);
    custody_clock_status(c, &s);
    assert_int_equal(s.jump_s, 3650 * DAY);
    pass(c, &k, CUSTODY_LOOK_S);
    assert_int_equal(key_state(c), KEY_STATE_DESTROYED);
    custody_close(c);
}

static void a_clock_set_back_destroys_nothing_before_the_date_that_was_shown(void **state)
{
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(*state, &k);

    make(c, 1);
    doom(c, 0, 86400);
    rig_clock_jump(&k, -10 * DAY);
    pass(c, &k, 11 * DAY - 1);
    assert_int_equal(key_state(c), KEY_STATE_DESTROY_SCHEDULED);
    pass(c, &k, CUSTODY_LOOK_S);
    assert_int_equal(key_state(c), KEY_STATE_DESTROYED);
    custody_close(c);
}

static void time_goes_on_over_a_restart_on_the_same_boot(void **state)
{
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(*state, &k);

    make(c, 1);
    doom(c, 0, 86400);
    custody_close(c);
    rig_clock_pass(&k, DAY);
    c = rig_custody_at(*state, &k);
    custody_tick(c);
    assert_int_equal(key_state(c), KEY_STATE_DESTROYED);
    custody_close(c);
}

static void a_restart_with_another_date_destroys_nothing(void **state)
{
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(*state, &k);

    make(c, 1);
    doom(c, 0, 86400);
    custody_close(c);
    rig_clock_jump(&k, 400 * DAY);
    c = rig_custody_at(*state, &k);
    pass(c, &k, DAY - 1);
    assert_int_equal(key_state(c), KEY_STATE_DESTROY_SCHEDULED);
    custody_close(c);
}

static void what_goes_by_while_the_machine_is_off_does_not_count(void **state)
{
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(*state, &k);

    make(c, 1);
    doom(c, 0, 86400);
    pass(c, &k, DAY / 2);
    custody_close(c);
    rig_clock_reboot(&k, 100 * DAY);
    c = rig_custody_at(*state, &k);
    custody_tick(c);
    pass(c, &k, DAY / 2 - 60);
    assert_int_equal(key_state(c), KEY_STATE_DESTROY_SCHEDULED);
    pass(c, &k, 2 * CUSTODY_LOOK_S);
    assert_int_equal(key_state(c), KEY_STATE_DESTROYED);
    custody_close(c);
}

static void a_kill_loses_no_more_watched_time_than_since_the_last_note(void **state)
{
    struct rig *g = *state;
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(g, &k);
    char note[160], kept[160], command[400];

    make(c, 1);
    doom(c, 0, 86400);
    pass(c, &k, DAY / 2);
    snprintf(note, sizeof note, "%s.clock", g->store_file);
    snprintf(kept, sizeof kept, "%s.kept", g->store_file);
    snprintf(command, sizeof command, "cp %s %s", note, kept);
    assert_int_equal(system(command), 0);
    custody_close(c);
    assert_int_equal(rename(kept, note), 0); /* as a kill leaves it */
    rig_clock_reboot(&k, DAY);
    c = rig_custody_at(g, &k);
    custody_tick(c);
    pass(c, &k, DAY / 2 + CUSTODY_NOTE_S);
    assert_int_equal(key_state(c), KEY_STATE_DESTROYED);
    custody_close(c);
}

static void without_its_note_a_doomed_key_waits_its_whole_window_again_and_not_longer(void **state)
{
    struct rig *g = *state;
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(g, &k);
    char note[160];

    make(c, 1);
    pass(c, &k, 300 * DAY);
    doom(c, 0, 86400);
    pass(c, &k, DAY / 2);
    custody_close(c);
    snprintf(note, sizeof note, "%s.clock", g->store_file);
    assert_int_equal(unlink(note), 0);
    rig_clock_pass(&k, 30 * DAY);
    c = rig_custody_at(g, &k);
    custody_tick(c);
    pass(c, &k, DAY - 60);
    assert_int_equal(key_state(c), KEY_STATE_DESTROY_SCHEDULED);
    pass(c, &k, 2 * CUSTODY_LOOK_S);
    assert_int_equal(key_state(c), KEY_STATE_DESTROYED);
    custody_close(c);
}

/* ---- nothing is left ---- */

struct old_rows {
    size_t count;
    uint8_t part[200][24]; /* of each record that the row ever was: its tag and the bytes before it */
};

static void remember_rows(struct rig *g, struct old_rows *old)
{
    sqlite3 *db;
    sqlite3_stmt *st;

    assert_int_equal(sqlite3_open(g->store_file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT record FROM sealed_row WHERE kind = 2", -1, &st, NULL),
                     SQLITE_OK);
    while (sqlite3_step(st) == SQLITE_ROW) {
        int len = sqlite3_column_bytes(st, 0);

        assert_true(len > 24 && old->count < 200);
        memcpy(old->part[old->count++], (const uint8_t *)sqlite3_column_blob(st, 0) + len - 24, 24);
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
}

static size_t found_in(const char *path, const struct old_rows *old)
{
    static uint8_t all[1 << 22];
    FILE *f = fopen(path, "rb");
    size_t len = f == NULL ? 0 : fread(all, 1, sizeof all, f), found = 0;

    if (f != NULL)
        fclose(f);
    assert_true(len < sizeof all);
    for (size_t i = 0; i < old->count; i++)
        found += memmem(all, len, old->part[i], 24) != NULL ? 1 : 0;
    return found;
}

static void no_row_that_a_destroyed_version_ever_was_is_left_in_the_files(void **state)
{
    struct rig *g = *state;
    struct rig_clock k = clock_at();
    struct old_rows old = {0};
    struct custody *c = rig_custody_at(g, &k);
    char wal[160];
    bool already;

    snprintf(wal, sizeof wal, "%s-wal", g->store_file);
    make(c, 20);
    custody_close(c);
    remember_rows(g, &old);
    assert_int_equal(found_in(g->store_file, &old), 20);
    c = rig_custody_at(g, &k);
    for (uint32_t v = 1; v <= 20; v++)
        ok(custody_switch(c, PATH, v, false, &already, &why));
    custody_close(c);
    remember_rows(g, &old);
    c = rig_custody_at(g, &k);
    doom(c, 0, 86400);
    pass(c, &k, DAY + CUSTODY_LOOK_S);
    assert_int_equal(version_state(c, 20), KEY_STATE_DESTROYED);
    assert_int_equal(found_in(g->store_file, &old), 0);
    assert_int_equal(found_in(wal, &old), 0);
    for (uint32_t v = 0; v < 20; v++) {
        static const uint8_t zeros[WRAPPED_MATERIAL_LEN];

        assert_memory_equal(rig_key(c, PATH)->versions[v].wrapped, zeros, sizeof zeros);
    }
    custody_close(c);
    c = rig_custody_at(g, &k);
    assert_int_equal(version_state(c, 20), KEY_STATE_DESTROYED);
    custody_close(c);
}

static bool pass_row(void *ctx, const struct store_row *row)
{
    (void)ctx;
    (void)row;
    return true;
}

/* As a kill between two changes of one destruction leaves it: the key and some versions are, the others are not. */
static void leave_half(struct rig *g, struct key_record *r)
{
    struct store *s = store_open(g->store_file, CTRL_SHARD, false, g->rng, &why);
    uint8_t body[STORE_BODY_MAX];

    assert_non_null(s);
    ok(store_unlock(s, g->srk, pass_row, NULL, &why));
    r->life = (struct lifecycle_unit){.state = KEY_STATE_DESTROYED, .at_unix_s = 1700000000};
    r->versions[0].life = r->life;
    store_begin(s);
    store_put(s, STORE_KEY, r->id, 0, span_of(body, record_key_encode(r, body)));
    store_put(s, STORE_VERSION, r->id, 1, span_of(body, record_version_encode(r, &r->versions[0], body)));
    ok(store_commit(s, &why));
    store_close(s);
}

static void a_key_of_many_versions_that_was_half_destroyed_is_finished_at_the_next_start(void **state)
{
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(*state, &k);

    make(c, 10);
    struct key_record *r = record_copy(rig_key(c, PATH));
    custody_close(c);
    leave_half(*state, r);
    record_unref(r);
    c = rig_custody_at(*state, &k);
    assert_int_equal(version_state(c, 10), KEY_STATE_ENABLED);
    custody_tick(c);
    for (uint32_t v = 1; v <= 10; v++)
        assert_int_equal(version_state(c, v), KEY_STATE_DESTROYED);
    custody_close(c);
}

/* ---- the rest ---- */

static void a_key_with_a_period_rotates_when_its_newest_version_is_that_old(void **state)
{
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(*state, &k);
    bool already;

    make(c, 1);
    refused_as(custody_set_period(c, PATH, 3600, &already, &why), "bad_period");
    ok(custody_set_period(c, PATH, 7 * 86400, &already, &why));
    pass(c, &k, 7 * DAY - 1);
    assert_int_equal(rig_key(c, PATH)->primary, 1);
    pass(c, &k, CUSTODY_LOOK_S);
    assert_int_equal(rig_key(c, PATH)->primary, 2);
    custody_close(c);
    c = rig_custody_at(*state, &k);
    pass(c, &k, 22 * DAY);
    assert_int_equal(rig_key(c, PATH)->primary, 5);
    ok(custody_switch(c, PATH, 0, false, &already, &why));
    pass(c, &k, 70 * DAY);
    assert_int_equal(rig_key(c, PATH)->primary, 5);
    ok(custody_switch(c, PATH, 0, true, &already, &why) && custody_set_period(c, PATH, 0, &already, &why));
    pass(c, &k, 70 * DAY);
    assert_int_equal(rig_key(c, PATH)->primary, 5);
    custody_close(c);
}

static void a_dry_run_tells_what_would_be_and_changes_nothing(void **state)
{
    struct rig_clock k = clock_at();
    struct custody *c = rig_custody_at(*state, &k);
    uint64_t epoch = custody_epoch(c);
    bool already;

    custody_dry_run(c, true);
    ok(custody_create(c, PATH, &why));
    assert_int_equal(custody_would(c)->life.state, KEY_STATE_ENABLED);
    custody_dry_run(c, false);
    assert_null(rig_key(c, PATH));
    assert_int_equal(custody_epoch(c), epoch);
    make(c, 1);
    ok(custody_switch(c, PATH, 0, false, &already, &why));
    epoch = custody_epoch(c);
    custody_dry_run(c, true);
    ok(custody_destroy(c, PATH, 0, 0, &already, &why));
    assert_int_equal(custody_would(c)->life.state, KEY_STATE_DESTROY_SCHEDULED);
    refused_as(custody_destroy(c, PATH, 0, 1, &already, &why), "bad_window");
    custody_dry_run(c, false);
    assert_int_equal(key_state(c), KEY_STATE_DISABLED);
    assert_int_equal(custody_epoch(c), epoch);
    custody_close(c);
}

/* ---- three keys by chance, through the store, beside the pure lifecycle ---- */

#ifdef LONG
#define WALKS 100000
#define STEPS 20
#else
#define WALKS 40
#define STEPS 60
#endif
#define KEYS 3

static void remove_store(const struct rig *g)
{
    static const char *const ends[] = {"", "-wal", ".head", ".clock"};
    char path[160];

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        snprintf(path, sizeof path, "%s%s", g->store_file, ends[i]);
        (void)unlink(path);
    }
}

static void all_twins_are(const struct custody *c, const struct twin twins[KEYS])
{
    for (size_t n = 0; n < KEYS; n++)
        assert_true(twin_is(c, &twins[n]));
}

static void walk_once(struct rig *g, uint64_t seed)
{
    struct twin twins[KEYS] = {{.path = "a"}, {.path = "b"}, {.path = "c"}};
    struct rig_clock k = clock_at();
    struct custody *c;

    snprintf(g->store_file, sizeof g->store_file, "%s/%llu.db", g->dir, (unsigned long long)seed);
    c = rig_custody_at(g, &k);
    for (int i = 0; i < STEPS; i++) {
        uint64_t r = rig_random(&seed);
        struct twin *t = &twins[r % KEYS];
        struct lifecycle_input in = twin_chance(r, custody_time(c));
        bool done = twin_real_step(c, t->path, &in, &why);

        assert_int_equal(done, twin_step(t, &in) <= LIFECYCLE_ALREADY);
        all_twins_are(c, twins);
        if ((r >> 32) % 4 == 0) {
            rig_clock_pass(&k, (int64_t)((r >> 40) % 40) * DAY + CUSTODY_LOOK_S);
            custody_tick(c);
            for (size_t n = 0; n < KEYS; n++)
                twin_expire(&twins[n], custody_time(c));
        }
        if ((r >> 56) % 8 == 0) {
            custody_close(c);
            c = rig_custody_at(g, &k);
        }
        all_twins_are(c, twins);
    }
    custody_close(c);
    remove_store(g);
}

static void three_keys_walked_by_chance_through_the_store_do_what_the_lifecycle_says(void **state)
{
    for (uint64_t seed = 1; seed <= WALKS; seed++)
        walk_once(*state, seed);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup_in_memory, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_doomed_key_is_destroyed_when_its_window_is_over_and_not_before),
        CASE(a_restored_key_has_the_material_it_had),
        CASE(a_version_is_destroyed_alone),
        CASE(refusals_of_destroy_have_their_codes),
        CASE(enabled_is_doomed_at_once_where_that_is_allowed),
        CASE(a_clock_set_forward_destroys_nothing),
        CASE(a_clock_set_back_destroys_nothing_before_the_date_that_was_shown),
        CASE(time_goes_on_over_a_restart_on_the_same_boot),
        CASE(a_restart_with_another_date_destroys_nothing),
        CASE(what_goes_by_while_the_machine_is_off_does_not_count),
        CASE(a_kill_loses_no_more_watched_time_than_since_the_last_note),
        CASE(without_its_note_a_doomed_key_waits_its_whole_window_again_and_not_longer),
        CASE(no_row_that_a_destroyed_version_ever_was_is_left_in_the_files),
        CASE(a_key_of_many_versions_that_was_half_destroyed_is_finished_at_the_next_start),
        CASE(a_key_with_a_period_rotates_when_its_newest_version_is_that_old),
        CASE(a_dry_run_tells_what_would_be_and_changes_nothing),
        CASE(three_keys_walked_by_chance_through_the_store_do_what_the_lifecycle_says),
    };

    return RUN_TESTS("ctrl destroy", tests);
}
