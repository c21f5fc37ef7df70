/* The level of formats, and the anchor that takes the place of a store's changes. */
#include "ctrl/store/store.h"
#include "tests/unit/ctrl/faulty_vfs.h"
#include "tests/unit/ctrl/rig.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct seen {
    int rows;
    char all[4096];
};

static struct refusal why;

static bool note(void *ctx, const struct store_row *r)
{
    struct seen *s = ctx;
    size_t at = strlen(s->all);

    s->rows++;
    snprintf(s->all + at, sizeof s->all - at, "%u.%u.%u@%llu=%.*s;", r->kind, r->id[0], r->sub,
             (unsigned long long)r->epoch, (int)r->body.len, (const char *)r->body.ptr);
    return true;
}

static struct store *open_store(struct rig *g, struct seen *seen)
{
    struct store *s = store_open(g->store_file, 0, true, g->rng, &why);

    *seen = (struct seen){0};
    if (s != NULL && !store_unlock(s, g->srk, note, seen, &why)) {
        store_close(s);
        return NULL;
    }
    return s;
}

static struct store *open_ok(struct rig *g, struct seen *seen)
{
    struct store *s = open_store(g, seen);

    if (s == NULL)
        fail_msg("%s: %s", why.code, why.text);
    return s;
}

static void refused_as(struct rig *g, const char *code)
{
    struct seen seen;

    assert_null(open_store(g, &seen));
    assert_string_equal(why.code, code);
    assert_true(why.next[0] != '\0');
}

static bool change(struct store *s, uint8_t id, const char *body)
{
    uint8_t full_id[KEY_ID_LEN] = {id};

    store_begin(s);
    store_put(s, STORE_KEY, full_id, 0, span_str(body));
    return store_commit(s, &why);
}

static void to_level(struct store *s, uint8_t level)
{
    store_begin(s);
    store_put_level(s, level);
    assert_true(store_commit(s, &why));
}

static void compact(struct store *s)
{
    if (!store_compact(s, &why))
        fail_msg("%s: %s", why.code, why.text);
}

/* Epochs 1..4 and the level at 5; the row of key 1 is written twice. */
static struct store *small(struct rig *g)
{
    struct seen seen;
    struct store *s = open_ok(g, &seen);

    assert_true(change(s, 1, "one") && change(s, 2, "two") && change(s, 1, "one again") &&
                change(s, 3, "three"));
    to_level(s, 2);
    return s;
}

static const char small_rows[] = "1.1.0@3=one again;1.2.0@2=two;1.3.0@4=three;";

static void sql(struct rig *g, const char *text)
{
    sqlite3 *db;
    char *err = NULL;

    assert_int_equal(sqlite3_open(g->store_file, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &err) != SQLITE_OK)
        fail_msg("%s", err);
    sqlite3_close(db);
}

static int64_t sql_number(struct rig *g, const char *text)
{
    sqlite3 *db;
    sqlite3_stmt *st;

    assert_int_equal(sqlite3_open(g->store_file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

static void copy(const char *from, const char *to)
{
    char line[600];

    snprintf(line, sizeof line, "cp %s %s", from, to);
    assert_int_equal(system(line), 0);
}

/* ---- levels ---- */

static void a_new_store_is_at_the_lowest_level_and_stays_there(void **state)
{
    struct rig *g = *state;
    struct seen seen;
    struct store *s = open_ok(g, &seen);

    assert_true(change(s, 1, "one"));
    assert_int_equal(store_level(s), STORE_LEVEL_MIN);
    assert_false(store_compact(s, &why));
    assert_string_equal(why.code, "store_level");
    store_close(s);
    assert_int_equal(sql_number(g, "SELECT count(*) FROM sqlite_schema WHERE name = 'sealed_anchor'"), 0);
    assert_int_equal(sql_number(g, "SELECT value = x'31' FROM meta WHERE name = 'format'"), 1);
}

static void a_level_once_taken_is_there_after_a_restart(void **state)
{
    struct rig *g = *state;
    struct seen seen;

    store_close(small(g));
    struct store *s = open_ok(g, &seen);
    assert_int_equal(store_level(s), 2);
    assert_int_equal(store_epoch(s), 5);
    assert_string_equal(seen.all, small_rows);
    store_close(s);
}

static void a_level_above_ours_is_refused_by_name_and_nothing_is_touched(void **state)
{
    struct rig *g = *state;
    struct seen seen;

    store_close(small(g));
    sql(g, "UPDATE meta SET value = x'33' WHERE name = 'format'");
    refused_as(g, "store_newer");
    assert_non_null(strstr(why.text, "format level 3"));
    assert_non_null(strstr(why.text, "reads 1..2"));
    sql(g, "UPDATE meta SET value = x'32' WHERE name = 'format'");
    struct store *s = open_ok(g, &seen);
    assert_int_equal(store_epoch(s), 5);
    store_close(s);
}

/* What stands in the clear is no more than a note. */
static void a_level_noted_wrongly_is_mended_by_the_row(void **state)
{
    struct rig *g = *state;
    struct seen seen;

    struct store *s = small(g);
    compact(s);
    store_close(s);
    sql(g, "UPDATE meta SET value = x'31' WHERE name = 'format'");
    s = open_ok(g, &seen);
    assert_int_equal(store_level(s), 2);
    assert_string_equal(seen.all, small_rows);
    store_close(s);
    assert_int_equal(sql_number(g, "SELECT value = x'32' FROM meta WHERE name = 'format'"), 1);
}

/* ---- compaction ---- */

static void after_it_rows_epoch_and_chain_are_as_before_and_the_changes_are_gone(void **state)
{
    struct rig *g = *state;
    struct seen seen;
    uint8_t before[MBED_DIGEST_LEN], after[MBED_DIGEST_LEN];

    struct store *s = small(g);
    assert_true(store_chain_hash(s, 5, before));
    compact(s);
    assert_int_equal(store_epoch(s), 5);
    assert_int_equal(store_base(s), 5);
    assert_true(store_chain_hash(s, 5, after));
    assert_memory_equal(before, after, sizeof before);
    assert_false(store_chain_hash(s, 4, after));
    store_close(s);
    assert_int_equal(sql_number(g, "SELECT count(*) FROM sealed_change"), 0);
    s = open_ok(g, &seen);
    assert_int_equal(store_epoch(s), 5);
    assert_string_equal(seen.all, small_rows);
    assert_true(store_chain_hash(s, 5, after));
    assert_memory_equal(before, after, sizeof before);
    store_close(s);
}

static void changes_go_on_behind_it_and_are_compacted_in_turn(void **state)
{
    struct rig *g = *state;
    struct seen seen;

    struct store *s = small(g);
    for (int i = 0; i < 3; i++) {
        compact(s);
        assert_true(change(s, 2, "two anew") && change(s, (uint8_t)(10 + i), "more"));
        store_close(s);
        s = open_ok(g, &seen);
        assert_int_equal(store_epoch(s), 7 + 2 * i);
        assert_int_equal(store_base(s), 5 + 2 * i);
    }
    assert_string_equal(seen.all,
                        "1.1.0@3=one again;1.2.0@10=two anew;1.3.0@4=three;1.10.0@7=more;1.11.0@9=more;"
                        "1.12.0@11=more;");
    store_close(s);
    assert_int_equal(sql_number(g, "SELECT count(*) FROM sealed_change"), 2);
}

static void a_compacted_store_is_not_new(void **state)
{
    struct rig *g = *state;

    struct store *s = small(g);
    compact(s);
    store_close(s);
    s = store_open(g->store_file, 0, false, g->rng, &why);
    assert_non_null(s);
    assert_false(store_is_new(s));
    store_close(s);
}

static void more_rows_than_one_page_holds_come_back(void **state)
{
    struct rig *g = *state;
    struct seen seen;
    struct store *s = small(g);

    for (uint32_t i = 0; i < 600; i++) {
        uint8_t id[KEY_ID_LEN] = {9, (uint8_t)(i >> 8), (uint8_t)i};

        store_begin(s);
        store_put(s, STORE_KEY, id, 0, span_str("x"));
        assert_true(store_commit(s, &why));
    }
    compact(s);
    assert_int_equal(store_anchor_pages(s), 3);
    store_close(s);
    s = open_ok(g, &seen);
    assert_int_equal(seen.rows, 603);
    assert_int_equal(store_epoch(s), 605);
    store_close(s);
}

/* The same few rows again and again: the file stays as it is, however many changes there were. */
static void a_store_that_is_compacted_when_it_wants_to_be_stays_small(void **state)
{
    struct rig *g = *state;
    struct store *s = small(g);
    int64_t pages[3] = {0};

    for (int round = 0; round < 3; round++) {
        for (int i = 0; !store_wants_compaction(s); i++) {
            assert_true(i <= STORE_COMPACT_CHANGES + 10);
            assert_true(change(s, 1, "again"));
        }
        compact(s);
        assert_false(store_wants_compaction(s));
        store_close(s);
        pages[round] = sql_number(g, "SELECT page_count FROM pragma_page_count()");
        struct seen seen;
        s = open_ok(g, &seen);
    }
    assert_true(store_epoch(s) > 3 * STORE_COMPACT_CHANGES);
    assert_true(pages[2] <= pages[0] + 2);
    store_close(s);
}

/* ---- what is altered ---- */

static void any_page_that_is_missing_moved_or_of_another_anchor_is_refused(void **state)
{
    struct rig *g = *state;
    static const char *const alterations[] = {
        "DELETE FROM sealed_anchor WHERE page = 0",
        "DELETE FROM sealed_anchor WHERE page = 1",
        "DELETE FROM sealed_anchor WHERE page = 2",
        "UPDATE sealed_anchor SET page = 3 WHERE page = 2",
        "UPDATE sealed_anchor SET record = (SELECT record FROM sealed_anchor WHERE page = 0) WHERE page = 1",
        "INSERT INTO sealed_anchor SELECT 3, record FROM sealed_anchor WHERE page = 0",
        ("DELETE FROM sealed_anchor WHERE page = 1; INSERT INTO sealed_anchor SELECT 1, record FROM kept "
         "WHERE page = 1"),
        "DELETE FROM sealed_anchor; INSERT INTO sealed_anchor SELECT page, record FROM kept",
        "DELETE FROM sealed_anchor",
        "DROP TABLE sealed_anchor",
    };
    char kept[160];
    struct store *s = small(g);

    snprintf(kept, sizeof kept, "%s.kept", g->store_file);
    for (uint32_t i = 0; i < 600; i++) {
        uint8_t id[KEY_ID_LEN] = {9, (uint8_t)(i >> 8), (uint8_t)i};

        store_begin(s);
        store_put(s, STORE_KEY, id, 0, span_str("x"));
        assert_true(store_commit(s, &why));
    }
    compact(s);
    store_close(s);
    sql(g, "CREATE TABLE kept AS SELECT page, record FROM sealed_anchor");
    struct seen seen;
    s = open_ok(g, &seen);
    assert_true(change(s, 1, "later"));
    compact(s);
    assert_true(change(s, 2, "later still"));
    store_close(s);
    copy(g->store_file, kept);
    for (size_t i = 0; i < sizeof alterations / sizeof alterations[0]; i++) {
        copy(kept, g->store_file);
        sql(g, alterations[i]);
        refused_as(g, "store_chain_broken");
    }
    copy(kept, g->store_file);
    store_close(open_ok(g, &seen));
}

static void a_file_set_back_to_before_or_behind_an_anchor_is_named(void **state)
{
    struct rig *g = *state;
    char before[160], anchored[160];

    snprintf(before, sizeof before, "%s.before", g->store_file);
    snprintf(anchored, sizeof anchored, "%s.anchored", g->store_file);
    struct store *s = small(g);
    store_close(s);
    copy(g->store_file, before);
    struct seen seen;
    s = open_ok(g, &seen);
    assert_true(change(s, 1, "later"));
    compact(s);
    store_close(s);
    copy(g->store_file, anchored);
    s = open_ok(g, &seen);
    assert_true(change(s, 1, "latest"));
    store_close(s);
    copy(before, g->store_file);
    refused_as(g, "store_rolled_back");
    copy(anchored, g->store_file);
    refused_as(g, "store_rolled_back");
}

/* Somebody writes into the file while ctrl runs: a new anchor must not vouch for it.  The store is larger than SQLite's
 * cache, so that the row is read anew. */
static void a_row_altered_while_we_run_is_not_vouched_for(void **state)
{
    static const uint8_t two[16] = {1, STORE_KEY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};
    static char big[16000];
    struct rig *g = *state;
    size_t len;

    faulty_reset();
    memset(big, 'x', sizeof big - 1);
    struct store *s = small(g);
    for (uint8_t i = 0; i < 240; i++)
        assert_true(change(s, (uint8_t)(4 + i), big));
    assert_true(store_checkpoint(s, true));
    uint8_t *p = faulty_bytes(g->store_file, &len);
    uint8_t *row =
        memmem(p, len, two, sizeof two); /* the one record of epoch 2 but its change, whose kind is 0 */
    assert_non_null(row);
    row[80] ^= 1;
    assert_false(store_compact(s, &why));
    assert_string_equal(why.code, "store_row_changed");
    assert_int_equal(store_base(s), 0);
    row = memmem(faulty_bytes(g->store_file, &len), len, two, sizeof two);
    row[80] ^= 1;
    store_close(s);
    struct seen seen;
    s = open_ok(g, &seen);
    compact(s);
    store_close(s);
}

/* ---- the disk ---- */

static void fault_at_every_write(struct rig *g, enum faulty_kind kind, const char *code, bool level_too)
{
    bool struck = true;
    uint64_t op = 1, seed = 5, was[2] = {0, 0};

    for (; struck; op++) {
        struct seen seen;

        faulty_reset();
        struct store *s = small(g);
        assert_true(change(s, 4, "four"));
        faulty_plan(kind, op, kind == FAULTY_POWER);
        bool level_done = true;
        if (level_too) {
            store_begin(s);
            store_put_level(s, 2);
            level_done = store_commit(s, &why);
        }
        bool done = level_done && store_compact(s, &why);
        struck = faulty_struck();
        if (!done && kind != FAULTY_POWER) {
            assert_string_equal(why.code, code);
            assert_true(why.next[0] != '\0');
        }
        if (kind != FAULTY_POWER)
            faulty_plan(FAULTY_NONE, 0, false);
        /* A disk that is full or read-only no more takes the next change, and the next anchor. */
        if (kind == FAULTY_ENOSPC || kind == FAULTY_EROFS)
            assert_true(change(s, 4, "four") && store_compact(s, &why));
        store_close(s);
        if (kind == FAULTY_POWER)
            faulty_power_cut(&seed);
        s = open_ok(g, &seen);
        assert_non_null(strstr(seen.all, small_rows));
        assert_non_null(strstr(seen.all, "=four;"));
        was[store_base(s) != 0]++;
        assert_true(!done || store_base(s) != 0);
        compact(s);
        store_close(s);
        store_close(open_ok(g, &seen));
        unlink(g->store_file);
        char head[180];
        snprintf(head, sizeof head, "%s.head", g->store_file);
        unlink(head);
    }
    assert_true(op > 4);
    assert_true(kind != FAULTY_POWER || (was[0] != 0 && was[1] != 0));
}

static void power_that_goes_at_any_write_leaves_the_changes_or_the_anchor(void **state)
{
    for (int i = 0; i < 5; i++)
        fault_at_every_write(*state, FAULTY_POWER, "", i % 2 == 1);
}

static void a_full_disk_at_any_write_refuses_it_whole(void **state)
{
    fault_at_every_write(*state, FAULTY_ENOSPC, "disk_full", true);
}

static void a_read_only_disk_at_any_write_refuses_it_whole(void **state)
{
    fault_at_every_write(*state, FAULTY_EROFS, "read_only", true);
}

static void a_broken_disk_at_any_write_refuses_it_whole(void **state)
{
    fault_at_every_write(*state, FAULTY_EIO, "store_io", true);
}

static void any_flipped_byte_of_a_compacted_store_is_refused_by_name_or_changes_nothing(void **state)
{
    struct rig *g = *state;
    struct seen seen;
    size_t len, refused = 0, same = 0;

    faulty_reset();
    struct store *s = small(g);
    compact(s);
    assert_true(change(s, 2, "two, later"));
    store_close(s);
    char expected[sizeof seen.all];
    store_close(open_ok(g, &seen));
    memcpy(expected, seen.all, sizeof expected);
    faulty_keep();
    assert_non_null(faulty_bytes(g->store_file, &len));
    for (size_t at = 0; at < len; at += 7) {
        size_t now;

        faulty_bring_back();
        faulty_bytes(g->store_file, &now)[at] ^= (uint8_t)(1u << (at % 8));
        s = open_store(g, &seen);
        if (s == NULL) {
            assert_true(why.code[0] != '\0' && why.text[0] != '\0' && why.next[0] != '\0');
            refused++;
            continue;
        }
        assert_string_equal(seen.all, expected);
        assert_int_equal(store_epoch(s), 6);
        same++;
        store_close(s);
    }
    assert_true(refused > 20 && same > 20);
}

/* ---- cmocka ---- */

static int setup_faulty(void **state)
{
    if (rig_setup_in_memory(state) != 0)
        return -1;
    faulty_install();
    return 0;
}

static int teardown_faulty(void **state)
{
    faulty_remove();
    return rig_teardown(state);
}

#define CASE(name)   cmocka_unit_test_setup_teardown(name, rig_setup_in_memory, rig_teardown)
#define FAULTY(name) cmocka_unit_test_setup_teardown(name, setup_faulty, teardown_faulty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_new_store_is_at_the_lowest_level_and_stays_there),
        CASE(a_level_once_taken_is_there_after_a_restart),
        CASE(a_level_above_ours_is_refused_by_name_and_nothing_is_touched),
        CASE(a_level_noted_wrongly_is_mended_by_the_row),
        CASE(after_it_rows_epoch_and_chain_are_as_before_and_the_changes_are_gone),
        CASE(changes_go_on_behind_it_and_are_compacted_in_turn),
        CASE(a_compacted_store_is_not_new),
        CASE(more_rows_than_one_page_holds_come_back),
        CASE(a_store_that_is_compacted_when_it_wants_to_be_stays_small),
        CASE(any_page_that_is_missing_moved_or_of_another_anchor_is_refused),
        CASE(a_file_set_back_to_before_or_behind_an_anchor_is_named),
        FAULTY(a_row_altered_while_we_run_is_not_vouched_for),
        FAULTY(power_that_goes_at_any_write_leaves_the_changes_or_the_anchor),
        FAULTY(a_full_disk_at_any_write_refuses_it_whole),
        FAULTY(a_read_only_disk_at_any_write_refuses_it_whole),
        FAULTY(a_broken_disk_at_any_write_refuses_it_whole),
        FAULTY(any_flipped_byte_of_a_compacted_store_is_refused_by_name_or_changes_nothing),
    };

    return RUN_TESTS("ctrl compact", tests);
}
