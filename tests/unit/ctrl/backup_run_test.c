/* Backups under way: real ww-fetch children, directories as sinks, time handed in. */
#include "ctrl/backup/backup.h"
#include "ctrl/backup/restore.h"

#include "base/secret.h"
#include "drivers/seal/seal.h"
#include "tests/unit/ctrl/rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW 1900000000

struct fixture {
    struct rig *g;
    struct custody *c;
    struct backup *b;
    struct config *config;
    uint8_t (*identity)[AGE_KEY_LEN];
    uint64_t now_ms;
    int64_t unix_s;
    struct refusal why;
};

static void sink_config(struct fixture *f, const char *name)
{
    struct config_sink *s = &f->config->backup.sinks[f->config->backup.sink_count++];

    snprintf(s->name, sizeof s->name, "%s", name);
    snprintf(s->kind, sizeof s->kind, "directory");
    snprintf(s->place, sizeof s->place, "%s/%s", f->g->dir, name);
    s->patience_s = 3600;
    assert_int_equal(mkdir(s->place, 0700), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct age_recipient to;
    uint8_t room[SEAL_SLOT_MAX];
    struct buf slot = {room, 0, sizeof room};

    rig_setup_in_memory((void **)&f->g);
    f->unix_s = NOW;
    f->config = calloc(1, sizeof *f->config);
    snprintf(f->config->ctrl.state_dir, CONFIG_TEXT_CAP, "%s", f->g->dir);
    f->config->backup.full_every_s = 86400;
    f->config->backup.keep_for_s = 10 * 86400;
    sink_config(f, "one");
    sink_config(f, "two");
    f->identity = secret_pages_alloc(AGE_KEY_LEN);
    age_identity_new(f->g->rng, *f->identity);
    to = age_recipient_of(f->g->rng, *f->identity);
    struct store *s = store_open(f->g->store_file, CTRL_SHARD, true, f->g->rng, &f->why);
    assert_non_null(s);
    assert_int_equal(seal_age_create(f->g->rng, 0, CTRL_SHARD, &to, 1, f->g->srk, &slot), SEAL_OK);
    assert_true(store_slot_put(s, 0, buf_span(&slot), &f->why));
    store_close(s);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    backup_close(f->b);
    custody_close(f->c);
    secret_pages_free(f->identity, AGE_KEY_LEN);
    rig_teardown((void **)&f->g);
    free(f->config);
    free(f);
    return 0;
}

/* ---- the daemon's part ---- */

static bool gate(void *ctx, uint64_t epoch)
{
    struct fixture *f = ctx;

    return f->b != NULL && backup_durable(f->b, epoch);
}

static void on_changed(void *ctx, const struct key_record *r)
{
    struct fixture *f = ctx;

    (void)r;
    backup_changed(f->b);
}

static void on_durable(void *ctx)
{
    struct fixture *f = ctx;

    custody_durable(f->c);
}

static void start(struct fixture *f)
{
    struct store *s = store_open(f->g->store_file, CTRL_SHARD, true, f->g->rng, &f->why);
    struct backup_setup setup = {
        .config = f->config, .rng = f->g->rng, .fetch_program = WW_FETCH, .ctx = f, .durable = on_durable};

    assert_non_null(s);
    f->c = custody_open_gated(s, f->g->rng, f->g->srk, (struct custody_gate){f, gate}, &f->why);
    assert_non_null(f->c);
    setup.store = custody_store(f->c);
    f->b = backup_open(&setup, &f->why);
    assert_non_null(f->b);
    custody_listen(f->c, (struct custody_listener){f, on_changed, NULL});
}

static void stop(struct fixture *f)
{
    backup_close(f->b);
    custody_close(f->c);
    f->b = NULL;
    f->c = NULL;
}

/* One turn of a loop: sleeps until a child has something to say, so that only outcomes decide. */
static void turn(struct fixture *f)
{
    struct pollfd p = {.fd = backup_fd(f->b), .events = POLLIN};

    (void)poll(&p, 1, 20);
    f->now_ms += 1;
    backup_step(f->b, f->now_ms, f->unix_s);
}

static bool all_hold(struct fixture *f, uint64_t epoch)
{
    struct backup_sink_status s;

    for (size_t i = 0; i < backup_sink_count(f->b); i++) {
        backup_sink_status(f->b, i, &s);
        if (!s.known || s.epoch < epoch)
            return false;
    }
    return true;
}

static void until_all_hold(struct fixture *f, uint64_t epoch)
{
    for (int i = 0; !all_hold(f, epoch); i++) {
        assert_true(i < 100000);
        turn(f);
    }
}

static struct backup_sink_status sink(struct fixture *f, size_t i)
{
    struct backup_sink_status s;

    backup_sink_status(f->b, i, &s);
    return s;
}

static void until_problem(struct fixture *f, size_t at)
{
    for (int i = 0; sink(f, at).problem[0] == '\0'; i++) {
        assert_true(i < 100000);
        turn(f);
    }
}

static void key(struct fixture *f, const char *path)
{
    assert_true(custody_create(f->c, path, &f->why));
}

static uint8_t state_of(struct fixture *f, const char *path)
{
    return rig_key(f->c, path)->life.state;
}

/* ---- restoring ---- */

static bool root_open_age(void *ctx, struct store *s, uint8_t *srk, struct refusal *why)
{
    struct fixture *f = ctx;
    uint8_t slot[STORE_SLOT_MAX];
    size_t len = store_slot_get(s, 0, slot);

    return seal_age_open(f->g->rng, span_of(slot, len), CTRL_SHARD, *f->identity, srk) == SEAL_OK ||
           refuse(why, "no_slot", "", "does not open");
}

/* What sink i holds, restored: the epoch it comes to. */
static uint64_t restored_epoch(struct fixture *f, size_t i)
{
    struct restore_source from = {
        .dir = f->config->backup.sinks[i].place, .identities = f->identity, .identity_count = 1};
    struct restore_root root = {.ctx = f, .open = root_open_age};
    struct restore_report r;
    char file[160], head[176];
    uint8_t hash[MBED_DIGEST_LEN];

    snprintf(file, sizeof file, "%s/again.db", f->g->dir);
    snprintf(head, sizeof head, "%s.head", file);
    if (!restore_build(file, f->g->rng, &from, &root, &r, &f->why))
        fail_msg("%s: %s", f->why.code, f->why.text);
    assert_true(store_chain_hash(custody_store(f->c), r.epoch, hash));
    assert_memory_equal(hash, r.head, sizeof hash);
    (void)unlink(file);
    (void)unlink(head);
    return r.epoch;
}

static size_t files_in(const char *dir, const char *like)
{
    DIR *d = opendir(dir);
    size_t count = 0;

    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        count += strstr(e->d_name, like) != NULL;
    closedir(d);
    return count;
}

static size_t files(struct fixture *f, size_t i)
{
    return files_in(f->config->backup.sinks[i].place, ".age");
}

static size_t fulls(struct fixture *f, size_t i)
{
    return files_in(f->config->backup.sinks[i].place, "-000000000001-0");
}

/* ---- the claims ---- */

static void every_epoch_reaches_every_sink_and_restores(void **state)
{
    struct fixture *f = *state;

    start(f);
    key(f, "v0/a");
    until_all_hold(f, custody_epoch(f->c));
    for (int i = 0; i < 3; i++) {
        assert_true(custody_rotate(f->c, "v0/a", &f->why));
        until_all_hold(f, custody_epoch(f->c));
    }
    assert_int_equal(restored_epoch(f, 0), custody_epoch(f->c));
    assert_int_equal(restored_epoch(f, 1), custody_epoch(f->c));
    assert_int_equal(fulls(f, 0), 1);
    assert_int_equal(files(f, 0), 4);
}

static void nothing_is_left_behind_when_all_is_carried(void **state)
{
    struct fixture *f = *state;
    char dir[128];

    start(f);
    key(f, "v0/a");
    until_all_hold(f, custody_epoch(f->c));
    turn(f);
    snprintf(dir, sizeof dir, "%s/backup", f->g->dir);
    assert_int_equal(files_in(dir, "."), 2); /* . and .. */
}

static void a_new_key_waits_for_the_sinks_that_are_demanded(void **state)
{
    struct fixture *f = *state;
    char missing[BACKUP_TEXT_CAP];

    f->config->backup.required = 2;
    start(f);
    key(f, "v0/a");
    assert_int_equal(state_of(f, "v0/a"), KEY_STATE_PENDING_DURABLE);
    assert_true(custody_waits(f->c, rig_key(f->c, "v0/a")));
    until_all_hold(f, 2); /* the second epoch lets it serve */
    assert_int_equal(state_of(f, "v0/a"), KEY_STATE_ENABLED);
    backup_missing(f->b, 2, missing);
    assert_string_equal(missing, "");
}

static void a_sink_that_is_down_delays_new_versions_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    char missing[BACKUP_TEXT_CAP];

    f->config->backup.sinks[1].required = true;
    start(f);
    key(f, "v0/a");
    until_all_hold(f, 2);
    assert_int_equal(rmdir(f->config->backup.sinks[1].place) != 0 && errno == ENOTEMPTY, 1);
    char away[160];
    snprintf(away, sizeof away, "%s/away", f->g->dir);
    assert_int_equal(rename(f->config->backup.sinks[1].place, away), 0);
    key(f, "v0/b");
    assert_true(custody_rotate(f->c, "v0/a", &f->why));
    until_problem(f, 1);
    assert_int_equal(state_of(f, "v0/b"), KEY_STATE_PENDING_DURABLE);
    assert_int_equal(state_of(f, "v0/a"), KEY_STATE_ENABLED);
    assert_int_equal(rig_key(f->c, "v0/a")->primary, 1);
    backup_missing(f->b, custody_epoch(f->c), missing);
    assert_non_null(strstr(missing, "sink two: "));
    assert_non_null(strstr(missing, "No such file or directory"));
    assert_int_equal(rename(away, f->config->backup.sinks[1].place), 0);
    f->now_ms += 1000 * 1000;
    for (int i = 0; state_of(f, "v0/b") != KEY_STATE_ENABLED; i++) {
        assert_true(i < 100000);
        turn(f);
    }
    assert_int_equal(rig_key(f->c, "v0/a")->primary, 2);
    until_all_hold(f, custody_epoch(f->c));
    assert_int_equal(restored_epoch(f, 1), custody_epoch(f->c));
}

static void without_a_demand_a_sink_that_is_down_delays_nothing(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(rmdir(f->config->backup.sinks[1].place), 0);
    start(f);
    key(f, "v0/a");
    assert_int_equal(state_of(f, "v0/a"), KEY_STATE_ENABLED);
    until_problem(f, 1);
    for (int i = 0; sink(f, 0).epoch < custody_epoch(f->c); i++) {
        assert_true(i < 100000);
        turn(f);
    }
}

static void what_sinks_hold_is_known_again_after_a_restart(void **state)
{
    struct fixture *f = *state;

    start(f);
    key(f, "v0/a");
    until_all_hold(f, custody_epoch(f->c));
    size_t before = files(f, 0);
    stop(f);
    start(f);
    until_all_hold(f, custody_epoch(f->c));
    for (int i = 0; i < 5; i++)
        turn(f);
    assert_int_equal(files(f, 0), before);
    key(f, "v0/b");
    until_all_hold(f, custody_epoch(f->c));
    assert_int_equal(fulls(f, 0), 1);
    assert_int_equal(restored_epoch(f, 0), custody_epoch(f->c));
}

static void a_version_that_waited_when_ctrl_died_goes_on(void **state)
{
    struct fixture *f = *state;

    f->config->backup.required = 1;
    start(f);
    key(f, "v0/a");
    assert_int_equal(state_of(f, "v0/a"), KEY_STATE_PENDING_DURABLE);
    stop(f); /* nothing was carried yet */
    start(f);
    assert_int_equal(state_of(f, "v0/a"), KEY_STATE_PENDING_DURABLE);
    until_all_hold(f, 2);
    assert_int_equal(state_of(f, "v0/a"), KEY_STATE_ENABLED);
}

static void remove_all_in(const char *dir)
{
    DIR *d = opendir(dir);
    char path[512];

    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        snprintf(path, sizeof path, "%.200s/%.255s", dir, e->d_name);
        (void)unlink(path);
    }
    closedir(d);
}

static void a_sink_that_lost_its_files_gets_a_full_one_again(void **state)
{
    struct fixture *f = *state;

    start(f);
    key(f, "v0/a");
    until_all_hold(f, custody_epoch(f->c));
    remove_all_in(f->config->backup.sinks[0].place);
    f->unix_s += 60;
    f->now_ms += 4000 * 1000; /* it is asked once an hour */
    turn(f);
    for (int i = 0; fulls(f, 0) == 0; i++) {
        assert_true(i < 100000);
        turn(f);
    }
    until_all_hold(f, custody_epoch(f->c));
    assert_int_equal(restored_epoch(f, 0), custody_epoch(f->c));
}

static void a_hole_in_a_sink_is_filled(void **state)
{
    struct fixture *f = *state;
    char path[BACKUP_NAME_CAP + CONFIG_TEXT_CAP];
    uint64_t last;
    size_t count;

    start(f);
    key(f, "v0/a");
    until_all_hold(f, custody_epoch(f->c));
    key(f, "v0/b");
    until_all_hold(f, custody_epoch(f->c));
    last = custody_epoch(f->c);
    assert_int_equal(backup_sink_files(f->b, 0, &count)[1].to, last);
    DIR *d = opendir(f->config->backup.sinks[0].place);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strstr(e->d_name, "-000000000003-") == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%.95s", f->config->backup.sinks[0].place, e->d_name);
        assert_int_equal(unlink(path), 0);
    }
    closedir(d);
    f->now_ms += 4000 * 1000;
    turn(f);
    for (int i = 0; files(f, 0) < 2; i++) {
        assert_true(i < 100000);
        turn(f);
    }
    until_all_hold(f, last);
    assert_int_equal(restored_epoch(f, 0), last);
}

static void a_full_one_is_made_daily_and_on_demand(void **state)
{
    struct fixture *f = *state;

    start(f);
    key(f, "v0/a");
    until_all_hold(f, custody_epoch(f->c));
    f->unix_s += 86400;
    for (int i = 0; fulls(f, 0) < 2 || fulls(f, 1) < 2; i++) {
        assert_true(i < 100000);
        turn(f);
    }
    f->unix_s += 1;
    uint64_t ticket = backup_full(f->b);
    assert_false(backup_full_done(f->b, ticket));
    for (int i = 0; !backup_full_done(f->b, ticket); i++) {
        assert_true(i < 100000);
        turn(f);
    }
    assert_int_equal(fulls(f, 0), 3);
    assert_int_equal(fulls(f, 1), 3);
}

static void old_files_go_and_the_last_two_full_ones_stay(void **state)
{
    struct fixture *f = *state;

    start(f);
    key(f, "v0/a");
    until_all_hold(f, custody_epoch(f->c));
    for (int day = 0; day < 5; day++) {
        f->unix_s += 20 * 86400;
        uint64_t ticket = backup_full(f->b);
        for (int i = 0; !backup_full_done(f->b, ticket); i++) {
            assert_true(i < 100000);
            turn(f);
        }
        for (int i = 0; fulls(f, 0) > 3; i++) {
            assert_true(i < 100000);
            turn(f);
        }
    }
    for (int i = 0; fulls(f, 0) > 2; i++) {
        assert_true(i < 100000);
        turn(f);
    }
    for (int i = 0; i < 20; i++)
        turn(f);
    assert_int_equal(fulls(f, 0), 2);
    assert_int_equal(restored_epoch(f, 0), custody_epoch(f->c));
}

/* Files under the old root and under the new one are never one history: nothing is durable before a full one is there. */
static void after_a_new_root_a_key_waits_for_a_full_file_under_it(void **state)
{
    struct fixture *f = *state;
    uint8_t root[SEAL_SRK_LEN];

    f->config->backup.required = 2;
    start(f);
    key(f, "v0/a");
    until_all_hold(f, 2);
    struct slots s = *custody_slots(f->c);
    memset(root, 0xa5, sizeof root);
    assert_true(custody_reroot(f->c, root, &s, &f->why));
    key(f, "v0/b");
    for (int i = 0; state_of(f, "v0/b") != KEY_STATE_ENABLED; i++) {
        assert_true(i < 100000);
        turn(f);
        /* Whatever is durable at any moment is in a full file of this root, or behind one. */
        assert_true(!backup_durable(f->b, custody_epoch(f->c)) || (fulls(f, 0) == 2 && fulls(f, 1) == 2));
        f->unix_s += 1;
    }
    assert_int_equal(fulls(f, 0), 2);
    assert_int_equal(fulls(f, 1), 2);
}

static void a_compacted_store_gives_every_sink_a_full_file_again_and_goes_on(void **state)
{
    struct fixture *f = *state;
    bool already;

    start(f);
    key(f, "v0/a");
    assert_false(backup_may_compact(f->b));
    assert_false(backup_is_quiet(f->b, &f->why));
    assert_string_equal(f->why.code, "backup_behind");
    until_all_hold(f, custody_epoch(f->c));
    assert_true(custody_set_level(f->c, STORE_LEVEL_ANCHORS, &already, &f->why));
    until_all_hold(f, custody_epoch(f->c));
    turn(f);
    assert_true(backup_may_compact(f->b) && backup_is_quiet(f->b, &f->why));
    assert_true(store_compact(custody_store(f->c), &f->why));
    key(f, "v0/b");
    until_all_hold(f, custody_epoch(f->c));
    assert_int_equal(restored_epoch(f, 0), custody_epoch(f->c)); /* across the anchor */
    f->unix_s += 60;
    stop(f); /* what is before an anchor cannot be told from another history */
    start(f);
    until_all_hold(f, custody_epoch(f->c));
    assert_int_equal(fulls(f, 0), 2);
    assert_int_equal(restored_epoch(f, 0), custody_epoch(f->c));
    assert_int_equal(restored_epoch(f, 1), custody_epoch(f->c));
}

static void a_sink_that_slept_through_a_compaction_gets_a_full_file(void **state)
{
    struct fixture *f = *state;
    bool already;
    char away[160];

    start(f);
    key(f, "v0/a");
    assert_true(custody_set_level(f->c, STORE_LEVEL_ANCHORS, &already, &f->why));
    until_all_hold(f, custody_epoch(f->c));
    snprintf(away, sizeof away, "%s/away", f->g->dir);
    assert_int_equal(rename(f->config->backup.sinks[1].place, away), 0);
    key(f, "v0/b");
    until_problem(f, 1);
    for (int i = 0; sink(f, 0).epoch < custody_epoch(f->c); i++)
        turn(f);
    assert_true(store_compact(custody_store(f->c), &f->why));
    key(f, "v0/c");
    assert_int_equal(rename(away, f->config->backup.sinks[1].place), 0);
    f->now_ms += 1000 * 1000;
    f->unix_s += 60;
    until_all_hold(f, custody_epoch(f->c));
    assert_int_equal(fulls(f, 1), 2);
    assert_int_equal(restored_epoch(f, 1), custody_epoch(f->c));
}

static void a_store_that_nobody_could_open_again_is_told(void **state)
{
    struct fixture *f = *state;
    char path[128];

    snprintf(path, sizeof path, "%s/store.db", f->g->dir);
    assert_int_equal(unlink(path), 0); /* with its offline slot */
    start(f);
    key(f, "v0/a");
    for (int i = 0; backup_problem(f->b)[0] == '\0'; i++) {
        assert_true(i < 100000);
        turn(f);
    }
    assert_non_null(strstr(backup_problem(f->b), "no recipient"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_epoch_reaches_every_sink_and_restores),
        CASE(nothing_is_left_behind_when_all_is_carried),
        CASE(a_new_key_waits_for_the_sinks_that_are_demanded),
        CASE(a_sink_that_is_down_delays_new_versions_and_nothing_else),
        CASE(without_a_demand_a_sink_that_is_down_delays_nothing),
        CASE(what_sinks_hold_is_known_again_after_a_restart),
        CASE(a_version_that_waited_when_ctrl_died_goes_on),
        CASE(a_sink_that_lost_its_files_gets_a_full_one_again),
        CASE(a_hole_in_a_sink_is_filled),
        CASE(a_full_one_is_made_daily_and_on_demand),
        CASE(old_files_go_and_the_last_two_full_ones_stay),
        CASE(after_a_new_root_a_key_waits_for_a_full_file_under_it),
        CASE(a_compacted_store_gives_every_sink_a_full_file_again_and_goes_on),
        CASE(a_sink_that_slept_through_a_compaction_gets_a_full_file),
        CASE(a_store_that_nobody_could_open_again_is_told),
    };

    return RUN_TESTS("ctrl backup_run", tests);
}
