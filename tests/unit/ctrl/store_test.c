#include "ctrl/store/store.h"
#include "tests/unit/ctrl/rig.h"

#include "drivers/seal/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct seen {
    int rows;
    char all[4096];
};

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
    struct store *s = store_open(g->store_file, 0, true, g->rng, &g->why);

    *seen = (struct seen){0};
    if (s != NULL && !store_unlock(s, g->srk, note, seen, &g->why)) {
        store_close(s);
        return NULL;
    }
    return s;
}

static struct store *open_ok(struct rig *g, struct seen *seen)
{
    struct store *s = open_store(g, seen);

    if (s == NULL)
        fail_msg("%s: %s", g->why.code, g->why.text);
    return s;
}

static void open_fails_with(struct rig *g, const char *code)
{
    struct seen seen;

    assert_null(open_store(g, &seen));
    assert_string_equal(g->why.code, code);
}

static void put(struct store *s, uint8_t kind, uint8_t id, uint32_t sub, const char *body)
{
    uint8_t full_id[KEY_ID_LEN] = {id};

    store_put(s, (enum store_kind)kind, full_id, sub, span_str(body));
}

static void change(struct store *s, uint8_t kind, uint8_t id, uint32_t sub, const char *body)
{
    struct refusal why;

    store_begin(s);
    put(s, kind, id, sub, body);
    if (!store_commit(s, &why))
        fail_msg("%s", why.text);
}

/* Three changes; the row of key 1 is written twice. */
static void fill(struct rig *g)
{
    struct seen seen;
    struct store *s = open_ok(g, &seen);

    change(s, STORE_KEY, 1, 0, "one");
    change(s, STORE_KEY, 2, 0, "two");
    change(s, STORE_KEY, 1, 0, "one again");
    store_close(s);
}

static void sql(struct rig *g, const char *text)
{
    sqlite3 *db;
    char *err = NULL;

    assert_int_equal(sqlite3_open(g->store_file, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &err) != SQLITE_OK)
        fail_msg("%s", err);
    sqlite3_close(db);
}

static void copy_file(const char *from, const char *to)
{
    char command[1000];

    snprintf(command, sizeof command, "cp %s %s", from, to);
    assert_int_equal(system(command), 0);
}

static void what_was_committed_comes_back_with_its_epoch(void **state)
{
    struct rig *g = *state;
    struct seen seen;

    fill(g);
    struct store *s = open_ok(g, &seen);
    assert_string_equal(seen.all, "1.1.0@3=one again;1.2.0@2=two;");
    assert_int_equal(store_epoch(s), 3);
    store_close(s);
}

static void a_change_of_several_rows_is_one_epoch(void **state)
{
    struct rig *g = *state;
    struct seen seen;
    struct store *s = open_ok(g, &seen);
    struct refusal why;

    store_begin(s);
    put(s, STORE_KEY, 1, 0, "k");
    put(s, STORE_VERSION, 1, 1, "v");
    put(s, STORE_POLICY, 1, 0, "p");
    assert_true(store_commit(s, &why));
    assert_int_equal(store_epoch(s), 1);
    store_close(s);
    store_close(open_ok(g, &seen));
    assert_string_equal(seen.all, "1.1.0@1=k;2.1.1@1=v;3.1.0@1=p;");
}

static void an_abandoned_change_leaves_nothing(void **state)
{
    struct rig *g = *state;
    struct seen seen;
    struct store *s = open_ok(g, &seen);

    store_begin(s);
    put(s, STORE_KEY, 1, 0, "k");
    store_abandon(s);
    change(s, STORE_KEY, 2, 0, "x");
    assert_int_equal(store_epoch(s), 1);
    store_close(s);
    store_close(open_ok(g, &seen));
    assert_string_equal(seen.all, "1.2.0@1=x;");
}

static void no_body_is_in_the_file_in_the_clear(void **state)
{
    struct rig *g = *state;
    char command[300];

    fill(g);
    snprintf(command, sizeof command, "grep -qa again %s %s-wal 2>/dev/null", g->store_file, g->store_file);
    assert_int_not_equal(system(command), 0);
}

static void a_missing_store_is_not_made_by_itself(void **state)
{
    struct rig *g = *state;

    assert_null(store_open(g->store_file, 0, false, g->rng, &g->why));
    assert_string_equal(g->why.code, "store_absent");
    assert_non_null(strstr(g->why.next, "--init"));
    assert_int_not_equal(access(g->store_file, F_OK), 0);
}

static void an_empty_file_is_not_taken_for_a_store(void **state)
{
    struct rig *g = *state;

    rig_write(g->store_file, "");
    assert_null(store_open(g->store_file, 0, false, g->rng, &g->why));
    assert_string_equal(g->why.code, "store_format");
}

static void a_file_that_is_no_database_is_refused(void **state)
{
    struct rig *g = *state;
    char text[5000];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    rig_write(g->store_file, text);
    assert_null(store_open(g->store_file, 0, true, g->rng, &g->why));
    assert_string_equal(g->why.code, "store_damaged");
}

static void a_store_of_another_shard_is_refused(void **state)
{
    struct rig *g = *state;

    fill(g);
    assert_null(store_open(g->store_file, 1, true, g->rng, &g->why));
    assert_string_equal(g->why.code, "store_format");
    assert_non_null(strstr(g->why.text, "belongs to shard 0, not to 1"));
}

static void a_second_holder_is_refused(void **state)
{
    struct rig *g = *state;
    struct seen seen;
    int status;
    struct store *s = open_ok(g, &seen);
    pid_t child = fork();

    if (child == 0) {
        struct store *second = store_open(g->store_file, 0, true, g->rng, &g->why);

        _exit(second == NULL && strcmp(g->why.code, "store_held") == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    change(s, STORE_KEY, 1, 0, "still ours");
    store_close(s);
}

static void another_root_key_is_named_as_such(void **state)
{
    struct rig *g = *state;

    fill(g);
    g->srk[0] ^= 1;
    open_fails_with(g, "store_wrong_root");
}

static void an_altered_row_is_found(void **state)
{
    struct rig *g = *state;

    fill(g);
    sql(g, "UPDATE sealed_row SET record = CAST(substr(record, 1, length(record) - 1) || "
           "iif(substr(record, -1) = x'00', x'01', x'00') AS BLOB) WHERE id >= x'02'");
    open_fails_with(g, "store_row_changed");
}

static void two_swapped_rows_are_found(void **state)
{
    struct rig *g = *state;

    fill(g);
    sql(g, "CREATE TEMP TABLE t AS SELECT id, record FROM sealed_row;"
           "UPDATE sealed_row SET record = (SELECT record FROM t WHERE t.id <> sealed_row.id)");
    open_fails_with(g, "store_row_changed");
}

static void a_row_set_back_to_its_earlier_self_is_found(void **state)
{
    struct rig *g = *state;
    struct seen seen;
    struct store *s = open_ok(g, &seen);

    change(s, STORE_KEY, 1, 0, "enabled");
    store_close(s);
    sql(g, "CREATE TABLE kept AS SELECT * FROM sealed_row");
    s = open_ok(g, &seen);
    change(s, STORE_KEY, 1, 0, "disabled");
    store_close(s);
    sql(g, "UPDATE sealed_row SET record = (SELECT record FROM kept)");
    open_fails_with(g, "store_row_changed");
}

static void a_removed_row_is_found(void **state)
{
    struct rig *g = *state;

    fill(g);
    sql(g, "DELETE FROM sealed_row WHERE id >= x'02'");
    open_fails_with(g, "store_row_missing");
}

static void an_added_row_is_found(void **state)
{
    struct rig *g = *state;

    fill(g);
    sql(g, "INSERT INTO sealed_row SELECT kind, id, 7, record FROM sealed_row LIMIT 1");
    open_fails_with(g, "store_row_alien");
}

static void a_row_of_another_store_with_the_same_root_is_found(void **state)
{
    struct rig *g = *state;
    char text[400], other[160];

    fill(g);
    snprintf(other, sizeof other, "%s.other", g->store_file);
    assert_int_equal(rename(g->store_file, other), 0);
    snprintf(text, sizeof text, "%s.head", g->store_file);
    assert_int_equal(unlink(text), 0);
    fill(g);
    snprintf(text, sizeof text,
             "ATTACH '%s' AS o; UPDATE sealed_row SET record = (SELECT record FROM o.sealed_row r "
             "WHERE r.id = sealed_row.id)",
             other);
    sql(g, text);
    open_fails_with(g, "store_row_changed");
}

static void a_change_cut_out_of_the_chain_is_found(void **state)
{
    struct rig *g = *state;

    fill(g);
    sql(g, "DELETE FROM sealed_change WHERE epoch = 2");
    open_fails_with(g, "store_chain_broken");
}

static void two_swapped_changes_are_found(void **state)
{
    struct rig *g = *state;

    fill(g);
    sql(g, "CREATE TEMP TABLE t AS SELECT * FROM sealed_change;"
           "UPDATE sealed_change SET record = (SELECT record FROM t WHERE t.epoch = 3 - sealed_change.epoch) "
           "WHERE epoch < 3");
    open_fails_with(g, "store_chain_broken");
}

static void a_chain_cut_short_is_found(void **state)
{
    struct rig *g = *state;

    fill(g);
    sql(g, "DELETE FROM sealed_change WHERE epoch = 3");
    open_fails_with(g, "store_rolled_back");
}

static void a_whole_file_set_back_to_an_older_state_is_found(void **state)
{
    struct rig *g = *state;
    struct seen seen;
    char old[160];

    fill(g);
    snprintf(old, sizeof old, "%s.old", g->store_file);
    copy_file(g->store_file, old);
    struct store *s = open_ok(g, &seen);
    change(s, STORE_KEY, 1, 0, "disabled");
    store_close(s);
    copy_file(old, g->store_file);
    open_fails_with(g, "store_rolled_back");
    assert_non_null(strstr(g->why.text, "ends at epoch 3, but epoch 4 was committed"));
}

static void an_older_file_that_went_on_differently_is_found(void **state)
{
    struct rig *g = *state;
    struct seen seen;
    char old[160], head[160], kept[160];

    fill(g);
    snprintf(old, sizeof old, "%s.old", g->store_file);
    snprintf(head, sizeof head, "%s.head", g->store_file);
    snprintf(kept, sizeof kept, "%s.kept", g->store_file);
    copy_file(g->store_file, old);
    struct store *s = open_ok(g, &seen);
    change(s, STORE_KEY, 1, 0, "disabled");
    store_close(s);
    copy_file(head, kept);
    copy_file(old, g->store_file);
    assert_int_equal(unlink(head), 0);
    s = open_ok(g, &seen);
    change(s, STORE_KEY, 1, 0, "something else");
    store_close(s);
    copy_file(kept, head);
    open_fails_with(g, "store_rolled_back");
}

static void an_altered_head_is_found(void **state)
{
    struct rig *g = *state;
    char head[160];

    fill(g);
    snprintf(head, sizeof head, "%s.head", g->store_file);
    rig_write(head, "nonsense");
    open_fails_with(g, "store_head_damaged");
}

static void a_store_whose_head_is_one_change_behind_opens(void **state)
{
    struct rig *g = *state;
    struct seen seen;
    char head[160], kept[160];

    fill(g);
    snprintf(head, sizeof head, "%s.head", g->store_file);
    snprintf(kept, sizeof kept, "%s.kept", g->store_file);
    copy_file(head, kept);
    struct store *s = open_ok(g, &seen);
    change(s, STORE_KEY, 1, 0, "x");
    store_close(s);
    copy_file(kept, head);
    s = open_ok(g, &seen);
    assert_int_equal(store_epoch(s), 4);
    store_close(s);
}

static void slots_are_kept_and_found_before_the_store_is_unlocked(void **state)
{
    struct rig *g = *state;
    uint8_t out[STORE_SLOT_MAX];
    struct store *s = store_open(g->store_file, 0, true, g->rng, &g->why);

    assert_true(store_slot_put(s, 2, span_str("slot"), &g->why));
    store_close(s);
    s = store_open(g->store_file, 0, false, g->rng, &g->why);
    assert_int_equal(store_slot_get(s, 2, out), 4);
    assert_memory_equal(out, "slot", 4);
    assert_int_equal(store_slot_get(s, 0, out), 0);
    store_close(s);
}

static void a_store_is_new_until_its_first_change(void **state)
{
    struct rig *g = *state;
    struct seen seen;
    struct store *s = open_ok(g, &seen);

    assert_true(store_is_new(s));
    change(s, STORE_KEY, 1, 0, "x");
    assert_false(store_is_new(s));
    store_close(s);
}

/* In a mount namespace of the child's own: a file system of a few pages. */
static int commit_until_full(struct rig *g)
{
    struct seen seen;
    static char big[16000];
    int committed = 0;

    rig_refill(g);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", g->dir, "tmpfs", 0, "size=256k") != 0)
        return 77;
    memset(big, 'x', sizeof big - 1);
    struct store *s = open_store(g, &seen);
    if (s == NULL)
        return 1;
    for (; committed < 100; committed++) {
        store_begin(s);
        put(s, STORE_KEY, (uint8_t)committed, 0, big);
        if (!store_commit(s, &g->why))
            break;
    }
    if (committed == 100 || strcmp(g->why.code, "disk_full") != 0 ||
        strstr(g->why.text, g->store_file) == NULL || store_epoch(s) != (uint64_t)committed)
        return 2;
    if (mount(NULL, g->dir, NULL, MS_REMOUNT, "size=1m") != 0)
        return 3;
    change(s, STORE_KEY, 200, 0, "there is room again");
    store_close(s);
    s = open_store(g, &seen);
    return s != NULL && seen.rows == committed + 1 ? 0 : 4;
}

static void a_full_disk_refuses_the_change_and_nothing_is_half_done(void **state)
{
    struct rig *g = *state;
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(commit_until_full(g));
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

static int commit_read_only(struct rig *g)
{
    struct seen seen;

    rig_refill(g);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(g->dir, g->dir, NULL, MS_BIND, NULL) != 0 ||
        mount(NULL, g->dir, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) != 0)
        return 77;
    return open_store(g, &seen) == NULL && strcmp(g->why.code, "read_only") == 0 ? 0 : 1;
}

static void a_read_only_disk_is_named(void **state)
{
    struct rig *g = *state;
    int status;
    pid_t child;

    fill(g);
    child = fork();
    if (child == 0)
        _exit(commit_read_only(g));
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

/* The child commits and says so on a pipe; it is killed at a seeded moment.  What it said must be there. */
static void commit_for_ever(struct rig *g, int said)
{
    struct seen seen;

    rig_refill(g);
    struct store *s = open_store(g, &seen);
    if (s == NULL)
        _exit(1);
    for (uint32_t n = 1;; n++) {
        char body[16];

        snprintf(body, sizeof body, "%u", n);
        store_begin(s);
        put(s, STORE_VERSION, 1, (uint32_t)store_epoch(s) + 1, body);
        if (!store_commit(s, &g->why))
            _exit(1);
        uint64_t epoch = store_epoch(s);
        if (write(said, &epoch, sizeof epoch) != (ssize_t)sizeof epoch)
            _exit(1);
    }
}

static void what_was_acknowledged_survives_a_kill_at_any_moment(void **state)
{
    struct rig *g = *state;
    uint64_t seed = 20260101, acknowledged = 0;

    for (int round = 0; round < 25; round++) {
        int said[2];
        struct seen seen;
        uint64_t epoch;

        assert_int_equal(pipe(said), 0);
        pid_t child = fork();
        if (child == 0)
            commit_for_ever(g, said[1]);
        close(said[1]);
        for (uint64_t wanted = rig_random(&seed) % 4; wanted > 0; wanted--) {
            assert_int_equal(read(said[0], &epoch, sizeof epoch), sizeof epoch);
            acknowledged = epoch;
        }
        usleep((useconds_t)(rig_random(&seed) % 3000));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(said[0], &epoch, sizeof epoch) == sizeof epoch)
            acknowledged = epoch;
        close(said[0]);
        struct store *s = open_ok(g, &seen);
        assert_true(store_epoch(s) >= acknowledged);
        assert_true((uint64_t)seen.rows >= acknowledged);
        store_close(s);
    }
    assert_true(acknowledged > 10);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_was_committed_comes_back_with_its_epoch),
        CASE(a_change_of_several_rows_is_one_epoch),
        CASE(an_abandoned_change_leaves_nothing),
        CASE(no_body_is_in_the_file_in_the_clear),
        CASE(a_missing_store_is_not_made_by_itself),
        CASE(an_empty_file_is_not_taken_for_a_store),
        CASE(a_file_that_is_no_database_is_refused),
        CASE(a_store_of_another_shard_is_refused),
        CASE(a_second_holder_is_refused),
        CASE(another_root_key_is_named_as_such),
        CASE(an_altered_row_is_found),
        CASE(two_swapped_rows_are_found),
        CASE(a_row_set_back_to_its_earlier_self_is_found),
        CASE(a_removed_row_is_found),
        CASE(an_added_row_is_found),
        CASE(a_row_of_another_store_with_the_same_root_is_found),
        CASE(a_change_cut_out_of_the_chain_is_found),
        CASE(two_swapped_changes_are_found),
        CASE(a_chain_cut_short_is_found),
        CASE(a_whole_file_set_back_to_an_older_state_is_found),
        CASE(an_older_file_that_went_on_differently_is_found),
        CASE(an_altered_head_is_found),
        CASE(a_store_whose_head_is_one_change_behind_opens),
        CASE(slots_are_kept_and_found_before_the_store_is_unlocked),
        CASE(a_store_is_new_until_its_first_change),
        CASE(a_full_disk_refuses_the_change_and_nothing_is_half_done),
        CASE(a_read_only_disk_is_named),
        CASE(what_was_acknowledged_survives_a_kill_at_any_moment),
    };

    return RUN_TESTS("ctrl store", tests);
}
