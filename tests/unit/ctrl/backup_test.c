/* Backup files and what is made of them again: format, chain, damage, gaps. */
#include "ctrl/backup/backup_job.h"
#include "ctrl/backup/restore.h"

#include "base/secret.h"
#include "drivers/seal/seal.h"
#include "tests/unit/ctrl/rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW 1900000000

struct fixture {
    struct rig *g;
    struct custody *c;
    char dir[96], restored[128];
    uint8_t (*identity)[AGE_KEY_LEN]; /* of the offline slot */
    struct age_recipient to;
    struct backup_made made;
    struct refusal why;
};

static bool slot_put(struct rig *g, const struct age_recipient *to)
{
    uint8_t room[SEAL_SLOT_MAX];
    struct buf slot = {room, 0, sizeof room};
    struct store *s = store_open(g->store_file, CTRL_SHARD, true, g->rng, &g->why);

    assert_non_null(s);
    assert_int_equal(seal_age_create(g->rng, 0, CTRL_SHARD, to, 1, g->srk, &slot), SEAL_OK);
    bool ok = store_slot_put(s, 0, buf_span(&slot), &g->why);
    store_close(s);
    return ok;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    rig_setup_in_memory((void **)&f->g);
    f->identity = secret_pages_alloc(AGE_KEY_LEN);
    age_identity_new(f->g->rng, *f->identity);
    f->to = age_recipient_of(f->g->rng, *f->identity);
    assert_true(slot_put(f->g, &f->to));
    f->c = rig_custody_ok(f->g);
    snprintf(f->dir, sizeof f->dir, "%s/sink", f->g->dir);
    snprintf(f->restored, sizeof f->restored, "%s/again.db", f->g->dir);
    assert_int_equal(mkdir(f->dir, 0700), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    custody_close(f->c);
    secret_pages_free(f->identity, AGE_KEY_LEN);
    rig_teardown((void **)&f->g);
    free(f);
    return 0;
}

static void key(struct fixture *f, const char *path)
{
    assert_true(custody_create(f->c, path, &f->why));
}

static uint64_t epoch(const struct fixture *f)
{
    return custody_epoch(f->c);
}

/* A file from `from` to now; `during` runs between two steps. */
static void backup_with(struct fixture *f, uint64_t from, int64_t now, void (*during)(struct fixture *f))
{
    enum backup_job_status s = BACKUP_JOB_MORE;
    struct backup_job *j =
        backup_job_new(custody_store(f->c), f->g->rng, f->dir, &f->to, 1, from, now, &f->why);

    assert_non_null(j);
    for (int i = 0; s == BACKUP_JOB_MORE; i++) {
        if (i == 1 && during != NULL)
            during(f);
        s = backup_job_step(j, 2, &f->made, &f->why);
    }
    assert_int_equal(s, BACKUP_JOB_DONE);
    backup_job_free(j);
}

static void backup(struct fixture *f, uint64_t from)
{
    backup_with(f, from, NOW + (int64_t)epoch(f), NULL);
}

static bool root_open_age(void *ctx, struct store *s, uint8_t *srk, struct refusal *why)
{
    struct fixture *f = ctx;
    uint8_t slot[STORE_SLOT_MAX];
    size_t len = store_slot_get(s, 0, slot);

    if (len == 0)
        return refuse(why, "no_slot", "", "none");
    return seal_age_open(f->g->rng, span_of(slot, len), CTRL_SHARD, *f->identity, srk) == SEAL_OK ||
           refuse(why, "no_slot", "", "does not open");
}

static bool restore(struct fixture *f, struct restore_report *r)
{
    struct restore_source from = {.dir = f->dir, .identities = f->identity, .identity_count = 1};
    struct restore_root root = {.ctx = f, .open = root_open_age};

    return restore_build(f->restored, f->g->rng, &from, &root, r, &f->why);
}

static void restore_ok(struct fixture *f, struct restore_report *r)
{
    if (!restore(f, r))
        fail_msg("%s: %s", f->why.code, f->why.text);
}

static void forget_restored(struct fixture *f)
{
    char path[160];

    (void)unlink(f->restored);
    snprintf(path, sizeof path, "%s.head", f->restored);
    (void)unlink(path);
}

/* The restored store has at its epoch the hash that the live one had: every row of it is the same. */
static void same_history(struct fixture *f, const struct restore_report *r)
{
    uint8_t hash[MBED_DIGEST_LEN];

    assert_true(store_chain_hash(custody_store(f->c), r->epoch, hash));
    assert_memory_equal(hash, r->head, sizeof hash);
}

static void path_of(const struct fixture *f, const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s", f->dir, name);
}

/* ---- round trips ---- */

static void a_full_backup_restores_to_the_same_store(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;

    key(f, "v0/a");
    key(f, "v0/b");
    assert_true(custody_rotate(f->c, "v0/a", &f->why));
    backup(f, 1);
    restore_ok(f, &r);
    same_history(f, &r);
    assert_int_equal(r.epoch, epoch(f));
    assert_int_equal(r.keys, 2);
    assert_int_equal(r.versions, 3);
    assert_int_equal(r.note_count, 0);
}

static void more_files_continue_a_full_one(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;

    key(f, "v0/a");
    backup(f, 1);
    for (int i = 0; i < 3; i++) {
        uint64_t from = epoch(f) + 1;

        key(f, i == 0 ? "v0/b" : i == 1 ? "v0/c" : "v0/d");
        assert_true(custody_rotate(f->c, "v0/a", &f->why));
        backup(f, from);
    }
    restore_ok(f, &r);
    same_history(f, &r);
    assert_int_equal(r.epoch, epoch(f));
    assert_int_equal(r.used, 4);
    assert_int_equal(r.keys, 4);
}

static void change_in_the_middle(struct fixture *f)
{
    assert_true(custody_rotate(f->c, "v0/a", &f->why));
    key(f, "v0/new");
}

static void a_store_that_changes_meanwhile_is_backed_up_as_it_is_at_the_end(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;

    key(f, "v0/a");
    key(f, "v0/b");
    backup_with(f, 1, NOW, change_in_the_middle);
    assert_int_equal(f->made.to, epoch(f));
    restore_ok(f, &r);
    same_history(f, &r);
    assert_int_equal(r.keys, 3);
}

static void files_that_overlap_are_one_history(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;

    key(f, "v0/a");
    backup(f, 1);
    key(f, "v0/b");
    key(f, "v0/c");
    backup(f, 3);
    key(f, "v0/d");
    backup(f, 5);
    restore_ok(f, &r);
    same_history(f, &r);
    assert_int_equal(r.epoch, epoch(f));
}

static void names_say_what_is_inside(void **state)
{
    struct fixture *f = *state;
    struct backup_name n;

    key(f, "v0/a");
    backup(f, 1);
    assert_true(backup_name_parse(f->made.name, &n));
    assert_int_equal(n.from, 1);
    assert_int_equal(n.to, epoch(f));
    assert_int_equal(n.made_unix_s, NOW + (int64_t)epoch(f));
    assert_memory_equal(n.head, f->made.head, sizeof n.head);
    assert_false(
        backup_name_parse("ww-00000000-20260101T000000Z-000000000002-000000000001-00000000.age", &n));
    assert_false(
        backup_name_parse("ww-0000000g-20260101T000000Z-000000000001-000000000001-00000000.age", &n));
    assert_false(backup_name_parse("store.db", &n));
}

/* ---- levels and anchors ---- */

static void to_level(struct fixture *f)
{
    bool already;

    assert_true(custody_set_level(f->c, STORE_LEVEL_ANCHORS, &already, &f->why));
}

static void compact(struct fixture *f)
{
    if (!store_compact(custody_store(f->c), &f->why))
        fail_msg("%s: %s", f->why.code, f->why.text);
}

static void a_full_backup_of_a_compacted_store_restores_to_the_same_store(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;

    key(f, "v0/a");
    to_level(f);
    compact(f);
    key(f, "v0/b");
    backup(f, 1);
    restore_ok(f, &r);
    same_history(f, &r);
    assert_int_equal(r.epoch, epoch(f));
    assert_int_equal(r.keys, 2);
    assert_int_equal(r.note_count, 0);
    struct store *s = store_open(f->restored, CTRL_SHARD, false, f->g->rng, &f->why);
    assert_non_null(s);
    assert_int_equal(store_level(s), STORE_LEVEL_ANCHORS);
    store_close(s);
}

/* The newest full file is of before the anchor, and what follows it goes across. */
static void files_of_before_and_after_an_anchor_are_one_history(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;

    key(f, "v0/a");
    backup(f, 1);
    uint64_t from = epoch(f) + 1;
    to_level(f);
    key(f, "v0/b");
    backup(f, from);
    compact(f);
    from = epoch(f) + 1;
    key(f, "v0/c");
    backup(f, from);
    restore_ok(f, &r);
    same_history(f, &r);
    assert_int_equal(r.epoch, epoch(f));
    assert_int_equal(r.used, 3);
    assert_int_equal(r.keys, 3);
}

static void more_files_continue_a_full_one_that_ends_at_its_anchor(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;

    key(f, "v0/a");
    to_level(f);
    compact(f);
    backup(f, 1);
    uint64_t from = epoch(f) + 1;
    key(f, "v0/b");
    backup(f, from);
    restore_ok(f, &r);
    same_history(f, &r);
    assert_int_equal(r.epoch, epoch(f));
    assert_int_equal(r.used, 2);
}

/* A new root at level 2: the chain goes on from another hash, so that nothing of the old root is continued. */
static void a_new_root_is_another_branch_of_a_compacted_store(void **state)
{
    struct fixture *f = *state;
    uint8_t before[MBED_DIGEST_LEN], after[MBED_DIGEST_LEN], root[SEAL_SRK_LEN];

    key(f, "v0/a");
    to_level(f);
    uint64_t at = epoch(f);
    assert_true(store_chain_hash(custody_store(f->c), at, before));
    memset(root, 0xa5, sizeof root);
    assert_true(custody_reroot(f->c, root, custody_slots(f->c), &f->why));
    assert_true(store_chain_hash(custody_store(f->c), at, after));
    assert_memory_not_equal(before, after, sizeof before);
}

static void edit(const struct fixture *f, const char *name, const char *program)
{
    char key_file[160], line[2000], path[256];

    snprintf(key_file, sizeof key_file, "%s/identity", f->g->dir);
    path_of(f, name, path);
    char text[128];
    age_identity_print(*f->identity, text);
    rig_write(key_file, text);
    char to[128];
    age_recipient_print(&f->to, to);
    snprintf(line, sizeof line, "age -d -i %s %s | sed -e '%s' | age -r %s -o %s.new && mv %s.new %s",
             key_file, path, program, to, path, path, path);
    assert_int_equal(system(line), 0);
}

/* To stop short of a file that leads further would be a rollback. */
static void a_file_of_a_level_above_ours_ends_a_restore_by_name(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;

    key(f, "v0/a");
    backup(f, 1);
    uint64_t from = epoch(f) + 1;
    key(f, "v0/b");
    backup(f, from);
    edit(f, f->made.name, "1s/\"wirewrap_backup\":1/\"wirewrap_backup\":3/");
    assert_false(restore(f, &r));
    assert_string_equal(f->why.code, "backup_newer");
    assert_non_null(strstr(f->why.text, "format level 3"));
    assert_int_not_equal(access(f->restored, F_OK), 0);
}

static void a_page_of_an_anchor_that_is_missing_or_twice_is_refused(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;

    key(f, "v0/a");
    to_level(f);
    compact(f);
    backup(f, 1);
    edit(f, f->made.name, "/\"anchor\":/d");
    assert_false(restore(f, &r));
    assert_string_equal(f->why.code, "backup_damaged");
    char path[256];
    path_of(f, f->made.name, path);
    assert_int_equal(unlink(path), 0);
    backup(f, 1);
    edit(f, f->made.name, "/\"anchor\":/p");
    assert_false(restore(f, &r));
    assert_string_equal(f->why.code, "backup_damaged");
}

/* ---- what must not be ---- */

static void an_existing_store_is_never_overwritten(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;

    key(f, "v0/a");
    backup(f, 1);
    restore_ok(f, &r);
    assert_false(restore(f, &r));
    assert_string_equal(f->why.code, "store_there");
    assert_int_equal(access(f->restored, F_OK), 0);
}

static void an_identity_that_is_no_recipient_is_named(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;

    key(f, "v0/a");
    backup(f, 1);
    age_identity_new(f->g->rng, *f->identity);
    assert_false(restore(f, &r));
    assert_string_equal(f->why.code, "backup_sealed");
    assert_int_not_equal(access(f->restored, F_OK), 0);
}

static void a_gap_is_named_and_what_is_before_it_is_restored(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;
    char path[256];

    key(f, "v0/a");
    backup(f, 1);
    key(f, "v0/b");
    backup(f, 3);
    path_of(f, f->made.name, path);
    key(f, "v0/c");
    backup(f, 5);
    assert_int_equal(unlink(path), 0);
    restore_ok(f, &r);
    same_history(f, &r);
    assert_int_equal(r.epoch, 2);
    assert_int_equal(r.newest_epoch, 6);
    assert_int_equal(r.note_count, 1);
    assert_non_null(strstr(r.notes[0], "epochs 3..4 are in no file"));
}

static void a_damaged_full_file_is_named_and_an_older_one_leads_on(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;
    char path[256];

    key(f, "v0/a");
    backup(f, 1);
    key(f, "v0/b");
    backup(f, 3);
    backup(f, 1);
    path_of(f, f->made.name, path);
    assert_int_equal(truncate(path, (off_t)f->made.size - 1), 0);
    restore_ok(f, &r);
    same_history(f, &r);
    assert_int_equal(r.epoch, 4);
    assert_int_equal(r.note_count, 1);
    assert_non_null(strstr(r.notes[0], f->made.name));
}

static void another_branch_is_not_mixed_in(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;
    char other[64];

    key(f, "v0/a");
    backup(f, 1);
    restore_ok(f, &r);
    key(f, "v0/b"); /* on the store that is lost */
    backup(f, 3);
    snprintf(other, sizeof other, "%.60s", f->dir);
    custody_close(f->c);
    assert_int_equal(rename(f->restored, f->g->store_file), 0);
    char from[160], to[160];
    snprintf(from, sizeof from, "%s.head", f->restored);
    snprintf(to, sizeof to, "%s.head", f->g->store_file);
    assert_int_equal(rename(from, to), 0);
    f->c = rig_custody_ok(f->g);
    key(f, "v0/c");
    backup_with(f, 1, NOW + 1000, NULL); /* the newest full file is of the store that goes on */
    restore_ok(f, &r);
    same_history(f, &r);
    assert_int_equal(r.epoch, 4);
}

static void a_file_under_another_name_is_refused(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;
    char path[256], wrong[256];

    key(f, "v0/a");
    backup(f, 1);
    path_of(f, f->made.name, path);
    snprintf(wrong, sizeof wrong, "%s", path);
    char *to = wrong + strlen(wrong) - strlen("2-00000000.age");
    *to = '7';
    assert_int_equal(rename(path, wrong), 0);
    assert_false(restore(f, &r));
    assert_string_equal(f->why.code, "backup_damaged");
}

static void backups_of_two_stores_are_told_apart(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;
    char path[256];

    key(f, "v0/a");
    backup(f, 1);
    path_of(f, "ww-00000000-20260101T000000Z-000000000001-000000000001-00000000.age", path);
    rig_write(path, "");
    assert_false(restore(f, &r));
    assert_string_equal(f->why.code, "several_stores");
}

static void a_slot_that_was_removed_does_not_come_back(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;
    uint8_t slot[STORE_SLOT_MAX];

    key(f, "v0/a");
    backup(f, 1);
    uint64_t from = epoch(f) + 1;
    key(f, "v0/b");
    custody_close(f->c);
    struct store *s = store_open(f->g->store_file, CTRL_SHARD, false, f->g->rng, &f->why);
    assert_non_null(s);
    uint8_t online[SEAL_SLOT_LEN];
    assert_int_equal(seal_passphrase_create(f->g->rng, 1, CTRL_SHARD, (struct seal_cost){64, 1},
                                            span_str("a passphrase"), f->g->srk, online),
                     SEAL_OK);
    assert_true(store_slot_put(s, 1, span_of(online, sizeof online), &f->why));
    store_close(s);
    f->c = rig_custody_ok(f->g);
    backup(f, from);
    restore_ok(f, &r); /* slots of this machine alone are left out */
    s = store_open(f->restored, CTRL_SHARD, false, f->g->rng, &f->why);
    assert_non_null(s);
    assert_true(store_slot_get(s, 0, slot) != 0);
    assert_int_equal(store_slot_get(s, 1, slot), 0);
    store_close(s);
}

/* ---- every byte ---- */

/* Refused and named, or the same store as it was: never a third outcome. */
static void judge(struct fixture *f, const struct restore_report *whole)
{
    struct restore_report r;

    if (restore(f, &r)) {
        assert_int_equal(r.epoch, whole->epoch);
        assert_memory_equal(r.head, whole->head, sizeof r.head);
        forget_restored(f);
    } else {
        assert_int_not_equal(f->why.code[0], 0);
        assert_non_null(strstr(f->why.text, f->made.name));
        assert_int_not_equal(access(f->restored, F_OK), 0);
    }
}

static size_t file_size(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (size_t)st.st_size;
}

static void flip_each_byte(struct fixture *f)
{
    struct restore_report whole;
    char path[256];
    uint8_t byte;

    backup(f, 1);
    restore_ok(f, &whole);
    forget_restored(f);
    path_of(f, f->made.name, path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (size_t i = 0, len = file_size(path); i < len; i++) {
        assert_int_equal(pread(fd, &byte, 1, (off_t)i), 1);
        byte ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)i), 1);
        judge(f, &whole);
        byte ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)i), 1);
    }
    close(fd);
}

static void each_byte_flipped_is_refused_or_changes_nothing(void **state)
{
    key(*state, "v0/a");
    flip_each_byte(*state);
}

static void each_byte_flipped_of_a_file_with_an_anchor_is_refused_or_changes_nothing(void **state)
{
    key(*state, "v0/a");
    to_level(*state);
    compact(*state);
    flip_each_byte(*state);
}

static void each_truncation_is_refused_and_named(void **state)
{
    struct fixture *f = *state;
    struct restore_report r;
    char path[256];

    key(f, "v0/a");
    backup(f, 1);
    path_of(f, f->made.name, path);
    for (size_t len = file_size(path); len-- > 0;) {
        assert_int_equal(truncate(path, (off_t)len), 0);
        assert_false(restore(f, &r));
        assert_string_equal(f->why.code, "backup_damaged");
        assert_non_null(strstr(f->why.text, f->made.name));
    }
}

static void who_can_only_encrypt_cannot_put_a_row_in(void **state)
{
    struct fixture *f = *state;
    struct backup_head head = {.level = 1, .from = 1, .made_unix_s = NOW};
    struct backup_end end = {.to = 1};
    struct restore_report r;
    uint8_t forged[128] = {1}, sha[MBED_DIGEST_LEN];
    uint64_t size;
    char name[BACKUP_NAME_CAP], path[256];

    key(f, "v0/a");
    store_identity(custody_store(f->c), &head.identity);
    assert_true(store_chain_hash(custody_store(f->c), 0, head.before));
    path_of(f, "forged", path);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    struct backup_writer *w = backup_writer_new(fd, f->g->rng, &f->to, 1, &head, &f->why);
    assert_non_null(w);
    uint8_t slot[STORE_SLOT_MAX];
    size_t len = store_slot_get(custody_store(f->c), 0, slot);
    assert_true(backup_writer_put(w, &(struct store_raw){STORE_RAW_SLOT, 0, span_of(slot, len)}));
    forged[15] = 1; /* epoch */
    memcpy(forged + 32, head.before, sizeof head.before);
    assert_true(
        backup_writer_put(w, &(struct store_raw){STORE_RAW_CHANGE, 1, span_of(forged, sizeof forged)}));
    mbed_sha256(span_of(forged, sizeof forged), end.head);
    assert_true(backup_writer_end(w, &end, sha, &size));
    backup_writer_free(w);
    close(fd);
    backup_name_print(&head, &end, name);
    char to[256];
    path_of(f, name, to);
    assert_int_equal(rename(path, to), 0);
    assert_false(restore(f, &r));
    assert_string_equal(f->why.code, "store_chain_broken");
}

static void a_disk_that_fills_up_leaves_no_file(void **state)
{
    struct fixture *f = *state;
    struct rlimit was, small = {4096, 4096};
    enum backup_job_status s = BACKUP_JOB_MORE;

    for (int i = 0; i < 200; i++)
        assert_true(i == 0 ? custody_create(f->c, "v0/a", &f->why) : custody_rotate(f->c, "v0/a", &f->why));
    struct backup_job *j = backup_job_new(custody_store(f->c), f->g->rng, f->dir, &f->to, 1, 1, NOW, &f->why);
    assert_non_null(j);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small.rlim_max = was.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    while (s == BACKUP_JOB_MORE)
        s = backup_job_step(j, 16, &f->made, &f->why);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(s, BACKUP_JOB_FAILED);
    assert_string_equal(f->why.code, "backup_io");
    backup_job_free(j);
    assert_int_equal(rmdir(f->dir), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_full_backup_restores_to_the_same_store),
        CASE(more_files_continue_a_full_one),
        CASE(a_store_that_changes_meanwhile_is_backed_up_as_it_is_at_the_end),
        CASE(files_that_overlap_are_one_history),
        CASE(names_say_what_is_inside),
        CASE(a_full_backup_of_a_compacted_store_restores_to_the_same_store),
        CASE(files_of_before_and_after_an_anchor_are_one_history),
        CASE(more_files_continue_a_full_one_that_ends_at_its_anchor),
        CASE(a_new_root_is_another_branch_of_a_compacted_store),
        CASE(a_file_of_a_level_above_ours_ends_a_restore_by_name),
        CASE(a_page_of_an_anchor_that_is_missing_or_twice_is_refused),
        CASE(an_existing_store_is_never_overwritten),
        CASE(an_identity_that_is_no_recipient_is_named),
        CASE(a_gap_is_named_and_what_is_before_it_is_restored),
        CASE(a_damaged_full_file_is_named_and_an_older_one_leads_on),
        CASE(another_branch_is_not_mixed_in),
        CASE(a_file_under_another_name_is_refused),
        CASE(backups_of_two_stores_are_told_apart),
        CASE(a_slot_that_was_removed_does_not_come_back),
        CASE(each_byte_flipped_is_refused_or_changes_nothing),
        CASE(each_byte_flipped_of_a_file_with_an_anchor_is_refused_or_changes_nothing),
        CASE(each_truncation_is_refused_and_named),
        CASE(who_can_only_encrypt_cannot_put_a_row_in),
        CASE(a_disk_that_fills_up_leaves_no_file),
    };

    return RUN_TESTS("ctrl backup", tests);
}
