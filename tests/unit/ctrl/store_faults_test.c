/* The store on a disk that fills up, breaks, turns read-only, loses power or rots, under walks of the lifecycle. */
#include "tests/unit/ctrl/faulty_vfs.h"
#include "tests/unit/ctrl/twin.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef LONG
#define POWER_CUTS 4000
#define FLIP_EVERY 1
#else
#define POWER_CUTS 500
#define FLIP_EVERY 61
#endif

#define DAY  ((int64_t)86400)
#define KEYS 3

static struct refusal why;

static int setup(void **state)
{
    if (rig_setup_in_memory(state) != 0)
        return -1;
    faulty_install();
    return 0;
}

static int teardown(void **state)
{
    faulty_remove();
    return rig_teardown(state);
}

/* ---- a walk that is interrupted ---- */

struct walk {
    struct rig *g;
    struct rig_clock k;
    struct custody *c; /* NULL: closed */
    struct twin twins[KEYS];
    struct twin maybe[KEYS]; /* what the change under way would have made of them */
    bool doubtful;           /* a change was under way, and was not acknowledged */
    uint64_t seed, acknowledged;
};

static struct walk walk_of(struct rig *g, uint64_t seed)
{
    struct walk w = {.g = g,
                     .k = {{.unix_s = 1700000000, .boot_ms = 5000, .boot_id = {1}}},
                     .twins = {{.path = "a"}, {.path = "b"}, {.path = "c"}},
                     .seed = seed};

    faulty_reset();
    snprintf(g->store_file, sizeof g->store_file, "%s/%llu.db", g->dir, (unsigned long long)seed);
    return w;
}

static void walk_files_remove(const struct walk *w)
{
    static const char *const ends[] = {".head", ".clock", ".head.new", ".clock.new"};
    char path[200];

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        snprintf(path, sizeof path, "%s%s", w->g->store_file, ends[i]);
        unlink(path);
    }
}

static bool walk_open(struct walk *w)
{
    w->c = rig_custody(w->g);
    if (w->c != NULL)
        custody_set_clock(w->c, rig_clock_read, &w->k);
    return w->c != NULL;
}

static void walk_close(struct walk *w)
{
    custody_close(w->c);
    w->c = NULL;
}

/* One verb on one key.  Refused by the disk: nothing may have changed that anybody can see. */
static bool walk_verb(struct walk *w)
{
    uint64_t r = rig_random(&w->seed);
    size_t n = r % KEYS;
    struct lifecycle_input in = twin_chance(r, custody_time(w->c));
    struct twin after = w->twins[n];
    bool allowed = twin_step(&after, &in) <= LIFECYCLE_ALREADY;
    uint64_t epoch = custody_epoch(w->c);
    bool done = twin_real_step(w->c, w->twins[n].path, &in, &why);

    if (done || !allowed) {
        assert_int_equal(done, allowed);
        w->twins[n] = after;
        w->acknowledged += custody_epoch(w->c) != epoch ? 1 : 0;
        return true;
    }
    assert_true(faulty_struck());
    w->maybe[n] = after;
    w->doubtful = true;
    return false;
}

static bool walk_time(struct walk *w)
{
    rig_clock_pass(&w->k, (int64_t)(rig_random(&w->seed) % 40) * DAY + CUSTODY_LOOK_S);
    custody_tick(w->c);
    bool all = true;
    for (size_t n = 0; n < KEYS; n++) {
        struct twin after = w->twins[n];

        twin_expire(&after, custody_time(w->c));
        w->maybe[n] = after;
        if (twin_is(w->c, &after))
            w->twins[n] = after;
        else
            all = false;
    }
    if (!all)
        assert_true(faulty_struck());
    w->doubtful |= !all;
    return all;
}

/* Where the level has anchors: no change, so that nothing is in doubt after a refusal. */
static bool walk_compact(struct walk *w)
{
    uint64_t epoch = custody_epoch(w->c);
    bool done = store_compact(custody_store(w->c), &why);

    assert_true(done || faulty_struck());
    assert_int_equal(custody_epoch(w->c), epoch);
    return done;
}

static bool walk_step(struct walk *w)
{
    for (size_t n = 0; n < KEYS; n++)
        w->maybe[n] = w->twins[n];
    if (store_level(custody_store(w->c)) >= STORE_LEVEL_ANCHORS && rig_random(&w->seed) % 5 == 0)
        return walk_compact(w);
    return rig_random(&w->seed) % 4 == 0 ? walk_time(w) : walk_verb(w);
}

/* What custody says now is what was acknowledged; where a change was under way, that or what it would have made. */
static void walk_compare(struct walk *w)
{
    for (size_t n = 0; n < KEYS; n++) {
        if (w->doubtful && !twin_is(w->c, &w->twins[n]))
            w->twins[n] = w->maybe[n];
        assert_true(twin_is(w->c, &w->twins[n]));
    }
    w->doubtful = false;
}

static void walk_reopen(struct walk *w)
{
    if (!walk_open(w))
        fail_msg("seed %llu: %s: %s", (unsigned long long)w->seed, why.code, w->g->why.text);
    walk_compare(w);
}

/* ---- power cuts ---- */

static uint64_t cuts_struck, changes_kept;

static void cut_once(struct rig *g, uint64_t seed)
{
    struct walk w = walk_of(g, seed);
    int steps = 10 + (int)(rig_random(&w.seed) % 30);

    walk_reopen(&w);
    for (int lives = 0; lives < 3; lives++) {
        bool alive = true;

        faulty_plan(FAULTY_POWER, 1 + rig_random(&w.seed) % 120, true);
        for (int i = 0; alive && i < steps; i++)
            alive = walk_step(&w) && !faulty_struck();
        cuts_struck += faulty_struck() ? 1 : 0;
        walk_close(&w);
        faulty_power_cut(&w.seed);
        walk_reopen(&w);
    }
    changes_kept += w.acknowledged;
    walk_close(&w);
    walk_files_remove(&w);
}

static void no_power_cut_loses_an_acknowledged_change_or_leaves_a_row_that_does_not_verify(void **state)
{
    cuts_struck = changes_kept = 0;
    for (uint64_t seed = 1; cuts_struck < POWER_CUTS; seed++)
        cut_once(*state, seed);
    assert_true(changes_kept > POWER_CUTS);
}

/* Power goes while the store is made: there is none yet, or a whole one, and never one that does not open. */
static void a_power_cut_while_a_store_is_made_leaves_none_or_a_whole_one(void **state)
{
    bool struck = true;

    for (uint64_t op = 1; struck; op++) {
        for (uint64_t seed = 1; seed <= 20; seed++) {
            struct walk w = walk_of(*state, seed);

            faulty_plan(FAULTY_POWER, op, true);
            if (walk_open(&w))
                walk_close(&w);
            struck = faulty_struck();
            faulty_power_cut(&w.seed);
            walk_reopen(&w);
            walk_close(&w);
            walk_files_remove(&w);
        }
    }
}

/* ---- destroyed is destroyed ---- */

/* The last bytes of each row that holds material now. */
static size_t rows_of(const struct walk *w, uint8_t tails[8][24])
{
    sqlite3 *db;
    sqlite3_stmt *st;
    size_t count = 0;

    assert_int_equal(sqlite3_open(w->g->store_file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT record FROM sealed_row WHERE kind = 2", -1, &st, NULL),
                     SQLITE_OK);
    for (; sqlite3_step(st) == SQLITE_ROW && count < 8; count++)
        memcpy(tails[count], (const uint8_t *)sqlite3_column_blob(st, 0) + sqlite3_column_bytes(st, 0) - 24,
               24);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return count;
}

static bool is_somewhere(const struct walk *w, const uint8_t tail[24])
{
    char wal[160];
    size_t len;

    const uint8_t *p = faulty_bytes(w->g->store_file, &len);
    if (p != NULL && memmem(p, len, tail, 24) != NULL)
        return true;
    snprintf(wal, sizeof wal, "%s-wal", w->g->store_file);
    p = faulty_bytes(wal, &len);
    return p != NULL && memmem(p, len, tail, 24) != NULL;
}

/* Power goes at an operation of a tick that destroys; false: the tick has not so many. */
static bool destroy_cut(struct rig *g, uint64_t op, uint64_t seed)
{
    struct walk w = walk_of(g, seed);
    uint8_t tails[8][24];
    bool already;

    walk_reopen(&w);
    assert_true(custody_create(w.c, "a", &why) && custody_rotate(w.c, "a", &why) &&
                custody_switch(w.c, "a", 0, false, &already, &why));
    walk_close(&w);
    assert_int_equal(rows_of(&w, tails), 2);
    assert_true(is_somewhere(&w, tails[0]) && is_somewhere(&w, tails[1]));
    assert_true(walk_open(&w));
    assert_true(custody_destroy(w.c, "a", 0, 86400, &already, &why));
    rig_clock_pass(&w.k, DAY);
    faulty_plan(FAULTY_POWER, op, true);
    custody_tick(w.c);
    bool struck = faulty_struck();
    walk_close(&w);
    faulty_power_cut(&w.seed);
    assert_true(walk_open(&w));
    bool destroyed = rig_key(w.c, "a")->life.state == KEY_STATE_DESTROYED;
    assert_int_equal(is_somewhere(&w, tails[0]), !destroyed);
    assert_int_equal(is_somewhere(&w, tails[1]), !destroyed);
    walk_close(&w);
    walk_files_remove(&w);
    return struck;
}

static void what_was_destroyed_is_in_no_file_once_ctrl_is_up_again_after_a_power_cut(void **state)
{
    bool struck = true;
    uint64_t op = 1;

    for (; struck; op++) {
        for (uint64_t seed = 100; seed < 110; seed++)
            struck = destroy_cut(*state, op, seed);
    }
    assert_true(op > 4);
}

/* ---- ENOSPC, EIO, EROFS ---- */

#define SCRIPT_STEPS 40

static void refusal_is_named(enum faulty_kind kind)
{
    static const char *const codes[] = {
        [FAULTY_ENOSPC] = "disk_full", [FAULTY_EIO] = "store_io", [FAULTY_EROFS] = "read_only"};

    if (strcmp(why.code, codes[kind]) != 0 && strcmp(why.code, "pending") != 0)
        fail_msg("%s instead of %s: %s", why.code, codes[kind], why.text);
    assert_true(why.next[0] != '\0');
}

/* After a refused change everything is as it was; a disk that is full or read-only no more takes the next one. */
static void after_refusal(struct walk *w, enum faulty_kind kind)
{
    faulty_plan(FAULTY_NONE, 0, false);
    if (kind == FAULTY_EIO) {
        walk_close(w);
        walk_reopen(w);
        return;
    }
    /* Of two epochs the first was done, or of several keys some: the rest is done by itself. */
    rig_clock_pass(&w->k, CUSTODY_LOOK_S);
    custody_tick(w->c);
    for (size_t n = 0; n < KEYS; n++) {
        twin_expire(&w->twins[n], custody_time(w->c));
        twin_expire(&w->maybe[n], custody_time(w->c));
    }
    walk_compare(w);
}

/* The whole script with one failing operation; false: the script has not so many. */
static bool script_once(struct rig *g, enum faulty_kind kind, uint64_t at_op, bool for_ever)
{
    struct walk w = walk_of(g, 7);
    bool struck = false;

    walk_reopen(&w);
    faulty_plan(kind, at_op, for_ever);
    for (int i = 0; i < SCRIPT_STEPS; i++) {
        bool timed = false;

        why.code[0] = '\0';
        if (!walk_step(&w)) {
            timed = why.code[0] == '\0';
            struck = true;
            if (!timed)
                refusal_is_named(kind);
            after_refusal(&w, kind);
        }
    }
    struck |= faulty_struck();
    faulty_plan(FAULTY_NONE, 0, false);
    walk_close(&w);
    walk_reopen(&w);
    walk_close(&w);
    walk_files_remove(&w);
    return struck;
}

static void fail_at_every_write(struct rig *g, enum faulty_kind kind)
{
    uint64_t op = 1;

    for (; script_once(g, kind, op, false); op++)
        (void)script_once(g, kind, op, true);
    assert_true(op > 100);
}

static void a_full_disk_at_any_write_of_a_lifecycle_is_named_and_nothing_is_half_done(void **state)
{
    fail_at_every_write(*state, FAULTY_ENOSPC);
}

static void a_broken_disk_at_any_write_of_a_lifecycle_is_named_and_nothing_is_half_done(void **state)
{
    fail_at_every_write(*state, FAULTY_EIO);
}

static void a_read_only_disk_at_any_write_of_a_lifecycle_is_named_and_nothing_is_half_done(void **state)
{
    fail_at_every_write(*state, FAULTY_EROFS);
}

static void a_version_left_pending_by_a_full_disk_is_finished_by_the_same_command(void **state)
{
    struct walk w = walk_of(*state, 9);
    uint64_t op = 1;

    walk_reopen(&w);
    assert_true(custody_create(w.c, "a", &why));
    do {
        faulty_plan(FAULTY_ENOSPC, op++, true);
        assert_false(custody_rotate(w.c, "a", &why));
    } while (strcmp(why.code, "pending") != 0);
    assert_int_equal(rig_key(w.c, "a")->versions[1].life.state, KEY_STATE_PENDING_DURABLE);
    assert_int_equal(rig_key(w.c, "a")->primary, 1);
    faulty_plan(FAULTY_NONE, 0, false);
    assert_true(custody_rotate(w.c, "a", &why));
    assert_int_equal(rig_key(w.c, "a")->primary, 2);
    assert_int_equal(rig_key(w.c, "a")->version_count, 2);
    walk_close(&w);
    walk_files_remove(&w);
}

/* ---- every byte flipped ---- */

struct flips {
    uint64_t refused, same;
};

static void small_store(struct walk *w, bool clean)
{
    struct lifecycle_input create = {.event = LIFECYCLE_CREATE}, rotate = {.event = LIFECYCLE_ROTATE};

    walk_reopen(w);
    for (size_t n = 0; n < 2; n++) {
        assert_true(twin_real_step(w->c, w->twins[n].path, &create, &why));
        (void)twin_step(&w->twins[n], &create);
    }
    assert_true(twin_real_step(w->c, "a", &rotate, &why));
    (void)twin_step(&w->twins[0], &rotate);
    if (clean)
        walk_close(w);
    faulty_keep(); /* not clean: as a kill leaves it, most of it in the log */
    if (!clean)
        walk_close(w);
    faulty_bring_back();
}

static void open_flipped(struct walk *w, struct flips *f)
{
    w->g->why.code[0] = '\0';
    if (!walk_open(w)) {
        assert_true(w->g->why.code[0] != '\0' && w->g->why.text[0] != '\0' && w->g->why.next[0] != '\0');
        f->refused++;
        return;
    }
    for (size_t n = 0; n < KEYS; n++)
        assert_true(twin_is(w->c, &w->twins[n]));
    f->same++;
    walk_close(w);
}

static struct flips flip_file(struct walk *w, const char *name, uint64_t every)
{
    struct flips f = {0, 0};
    size_t len;

    faulty_bring_back();
    assert_non_null(faulty_bytes(name, &len));
    for (size_t at = 0; at < len; at += every) {
        size_t now;

        faulty_bring_back();
        faulty_bytes(name, &now)[at] ^= (uint8_t)(1 + rig_random(&w->seed) % 255);
        open_flipped(w, &f);
    }
    return f;
}

static void any_flipped_byte_of_a_store_is_refused_by_name_or_changes_nothing(void **state)
{
    struct walk w = walk_of(*state, 11);

    small_store(&w, true);
    struct flips f = flip_file(&w, w.g->store_file, FLIP_EVERY);
    assert_true(f.refused > 20 && f.same > 20);
    walk_files_remove(&w);
}

static void any_flipped_byte_of_a_log_is_refused_by_name_or_changes_nothing(void **state)
{
    struct walk w = walk_of(*state, 12);
    char wal[160];

    small_store(&w, false);
    snprintf(wal, sizeof wal, "%s-wal", w.g->store_file);
    struct flips f = flip_file(&w, wal, FLIP_EVERY);
    assert_true(f.refused > 20);
    walk_files_remove(&w);
}

static void flip_beside(struct walk *w, const char *end, struct flips *f)
{
    uint8_t raw[512];
    char path[200];

    snprintf(path, sizeof path, "%s%s", w->g->store_file, end);
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    size_t len = fread(raw, 1, sizeof raw, in);
    fclose(in);
    for (size_t at = 0; at < len; at++) {
        faulty_bring_back();
        raw[at] ^= 1;
        FILE *out = fopen(path, "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(raw, 1, len, out), len);
        fclose(out);
        raw[at] ^= 1;
        open_flipped(w, f);
    }
}

static void any_flipped_byte_of_the_files_beside_it_is_refused_by_name_or_changes_nothing(void **state)
{
    struct walk w = walk_of(*state, 13);
    struct flips head = {0, 0}, clock = {0, 0};

    small_store(&w, true);
    flip_beside(&w, ".clock", &clock);
    assert_int_equal(clock.refused, 0);
    flip_beside(&w, ".head", &head);
    assert_int_equal(head.same, 0);
    walk_files_remove(&w);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(no_power_cut_loses_an_acknowledged_change_or_leaves_a_row_that_does_not_verify),
        CASE(a_power_cut_while_a_store_is_made_leaves_none_or_a_whole_one),
        CASE(what_was_destroyed_is_in_no_file_once_ctrl_is_up_again_after_a_power_cut),
        CASE(a_full_disk_at_any_write_of_a_lifecycle_is_named_and_nothing_is_half_done),
        CASE(a_broken_disk_at_any_write_of_a_lifecycle_is_named_and_nothing_is_half_done),
        CASE(a_read_only_disk_at_any_write_of_a_lifecycle_is_named_and_nothing_is_half_done),
        CASE(a_version_left_pending_by_a_full_disk_is_finished_by_the_same_command),
        CASE(any_flipped_byte_of_a_store_is_refused_by_name_or_changes_nothing),
        CASE(any_flipped_byte_of_a_log_is_refused_by_name_or_changes_nothing),
        CASE(any_flipped_byte_of_the_files_beside_it_is_refused_by_name_or_changes_nothing),
    };

    return RUN_TESTS("ctrl store_faults", tests);
}
