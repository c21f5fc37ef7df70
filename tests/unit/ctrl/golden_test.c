/* Files of earlier versions, kept as they were written: what those wrote, this one opens.
 *
 * tests/vectors/formats/store-L is a state folder of level L under a root key of 32 times 0x5a, backup-L a sink's files of such a store
 * with the identity of its one slot, and keys.txt what is in it.  They are never made anew: a format that changes gets a folder of
 * its own beside the old one.  `WW_GOLDEN=DIR WW_GOLDEN_LEVEL=L` makes DIR/store-L and DIR/backup-L. */
#include "tests/unit/ctrl/rig.h"

#include "base/secret.h"
#include "ctrl/audit/audit.h"
#include "ctrl/backup/backup_job.h"
#include "ctrl/backup/restore.h"
#include "ctrl/keys/policy.h"
#include "ctrl/lib/file.h"
#include "drivers/seal/seal.h"

#include <stdio.h>
#include <stdlib.h>

#include <unistd.h>

#define FORMATS  VECTORS_DIR "/formats"
#define TEXT_MAX (256 * 1024)

/* ---- what is in it ---- */

static void describe_version(const struct custody *c, const struct key_record *r, const struct key_version *v,
                             FILE *out)
{
    uint8_t material[KEY_MATERIAL_LEN], digest[MBED_DIGEST_LEN];

    custody_material(c, r, v, material);
    mbed_sha256(span_of(material, sizeof material), digest);
    fprintf(out, "  version %u %s tag ", v->number, key_state_name(v->life.state));
    for (size_t i = 0; i < sizeof v->tag; i++)
        fprintf(out, "%02x", v->tag[i]);
    fprintf(out, " sha256 of material ");
    for (size_t i = 0; i < sizeof digest; i++)
        fprintf(out, "%02x", digest[i]);
    fprintf(out, "\n");
}

static int by_path(const void *a, const void *b)
{
    const struct key_record *const *x = a, *const *y = b;

    return strcmp((*x)->path, (*y)->path);
}

static char *describe(const struct custody *c)
{
    const struct key_record *sorted[16];
    const struct registry *g = custody_registry(c);
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    fprintf(out, "epoch %llu\n", (unsigned long long)custody_epoch(c));
    assert_in_range(registry_count(g), 1, 16);
    for (size_t i = 0; i < registry_count(g); i++)
        sorted[i] = registry_at(g, i);
    qsort(sorted, registry_count(g), sizeof sorted[0], by_path);
    for (size_t i = 0; i < registry_count(g); i++) {
        const struct key_record *r = sorted[i];

        fprintf(out, "key %s %s primary %u period %u window %u at %lld callers", r->path,
                key_state_name(r->life.state), r->primary, r->rotate_period_s, r->window_s,
                (long long)r->life.at_unix_s);
        for (uint8_t k = 0; k < r->policy.caller_count; k++)
            fprintf(out, " %s", r->policy.callers[k]);
        fprintf(out, " reasons %08x deny %u\n", r->policy.reasons, r->policy.deny_status);
        for (uint32_t v = 0; v < r->version_count; v++)
            describe_version(c, r, &r->versions[v], out);
    }
    fclose(out);
    return text;
}

/* ---- making one ---- */

static void fill(struct custody *c)
{
    struct refusal why;
    struct policy p;
    bool already;

    custody_destroy_enabled(c, true);
    assert_true(custody_create(c, "v0/golden/rotated", &why));
    assert_true(custody_rotate(c, "v0/golden/rotated", &why));
    assert_true(custody_rotate(c, "v0/golden/rotated", &why));
    assert_true(custody_switch(c, "v0/golden/rotated", 2, false, &already, &why));
    assert_true(policy_parse(
        span_str("callers: [a@golden.test, b@golden.test]\nreasons: [CUSTOMER_INITIATED_ACCESS]\n"
                 "deny_status: 400\n"),
        &p, &why));
    assert_true(custody_set_policy(c, "v0/golden/rotated", &p, &why));
    policy_free(&p);
    assert_true(custody_create(c, "v0/golden/periodic", &why));
    assert_true(custody_set_period(c, "v0/golden/periodic", 90 * 86400, &already, &why));
    assert_true(custody_create(c, "v0/golden/disabled", &why));
    assert_true(custody_switch(c, "v0/golden/disabled", 0, false, &already, &why));
    assert_true(custody_create(c, "v0/golden/doomed", &why));
    assert_true(custody_destroy(c, "v0/golden/doomed", 0, 120 * 86400, &already, &why));
}

#define GOLDEN_UNIX_S 1900000000

static void backup(struct rig *g, struct custody *c, const char *dir, const struct age_recipient *to,
                   uint64_t from)
{
    enum backup_job_status s = BACKUP_JOB_MORE;
    struct backup_made made;
    struct backup_job *j = backup_job_new(custody_store(c), g->rng, dir, to, 1, from,
                                          GOLDEN_UNIX_S + (int64_t)custody_epoch(c), &g->why);

    assert_non_null(j);
    while (s == BACKUP_JOB_MORE)
        s = backup_job_step(j, 100, &made, &g->why);
    assert_int_equal(s, BACKUP_JOB_DONE);
    backup_job_free(j);
}

static struct age_recipient slot_make(struct rig *g, const char *identity_file)
{
    uint8_t room[SEAL_SLOT_MAX], *identity = secret_pages_alloc(AGE_KEY_LEN);
    struct buf slot = {room, 0, sizeof room};
    char text[128];

    age_identity_new(g->rng, identity);
    struct age_recipient to = age_recipient_of(g->rng, identity);
    struct store *s = store_open(g->store_file, CTRL_SHARD, true, g->rng, &g->why);
    assert_non_null(s);
    assert_int_equal(seal_age_create(g->rng, 0, CTRL_SHARD, &to, 1, g->srk, &slot), SEAL_OK);
    assert_true(store_slot_put(s, 0, buf_span(&slot), &g->why));
    store_close(s);
    age_identity_print(identity, text);
    rig_write(identity_file, text);
    secret_pages_free(identity, AGE_KEY_LEN);
    return to;
}

static void keep(const struct rig *g, const char *to, const char *text)
{
    char line[512];

    snprintf(line, sizeof line, "mkdir -p %.200s && cp %s/store.db* %.200s", to, g->dir, to);
    assert_int_equal(system(line), 0);
    snprintf(line, sizeof line, "%.400s/keys.txt", to);
    rig_write(line, text);
}

static void make_if_asked(struct rig *g)
{
    const char *to = getenv("WW_GOLDEN"), *level = getenv("WW_GOLDEN_LEVEL");
    char sink[256], store[256], path[300];
    bool already;

    if (to == NULL || level == NULL)
        return;
    snprintf(sink, sizeof sink, "%.200s/backup-%.9s", to, level);
    snprintf(store, sizeof store, "%.200s/store-%.9s", to, level);
    assert_true(file_make_dir(sink, &g->why));
    snprintf(path, sizeof path, "%s/identity", sink);
    struct age_recipient recipient = slot_make(g, path);
    struct custody *c = rig_custody_ok(g);
    fill(c);
    assert_true(custody_set_level(c, (uint8_t)atoi(level), &already, &g->why));
    if (store_level(custody_store(c)) >= STORE_LEVEL_ANCHORS)
        assert_true(store_compact(custody_store(c), &g->why));
    assert_true(custody_rotate(c, "v0/golden/periodic", &g->why));
    backup(g, c, sink, &recipient, 1);
    uint64_t from = custody_epoch(c) + 1;
    assert_true(custody_create(c, "v0/golden/late", &g->why));
    backup(g, c, sink, &recipient, from);
    char *text = describe(c);
    custody_close(c);
    keep(g, store, text);
    snprintf(path, sizeof path, "%s/keys.txt", sink);
    rig_write(path, text);
    free(text);
    skip();
}

/* ---- opening it ---- */

static void copy_in(struct rig *g, const char *folder)
{
    static uint8_t bytes[1 << 20];
    static const char *const names[] = {"store.db", "store.db.head", "store.db.clock"};
    char from[256], to[160];
    size_t len;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(from, sizeof from, FORMATS "/%s/%s", folder, names[i]);
        rig_path(g, names[i], to, sizeof to);
        assert_true(file_read(from, bytes, sizeof bytes, &len, &g->why));
        assert_true(file_write(to, span_of(bytes, len), &g->why));
    }
}

static void expect_as_written(const struct custody *c, const char *folder)
{
    static uint8_t expected[TEXT_MAX];
    char from[256];
    size_t len;
    struct refusal why;
    char *text = describe(c);

    snprintf(from, sizeof from, FORMATS "/%s/keys.txt", folder);
    assert_true(file_read(from, expected, sizeof expected, &len, &why));
    assert_string_equal(text, (char *)expected);
    free(text);
}

static void opens_as_written(struct rig *g, const char *folder, uint8_t level)
{
    copy_in(g, folder);
    struct custody *c = rig_custody_ok(g);
    expect_as_written(c, folder);
    assert_int_equal(store_level(custody_store(c)), level);
    custody_close(c);
}

static void a_store_of_level_1_opens_with_every_key_state_policy_and_material(void **state)
{
    make_if_asked(*state);
    opens_as_written(*state, "store-1", 1);
}

static void a_store_of_level_2_with_an_anchor_opens_with_every_key_state_policy_and_material(void **state)
{
    opens_as_written(*state, "store-2", 2);
}

static void goes_on(struct rig *g, const char *folder)
{
    bool already;

    copy_in(g, folder);
    struct custody *c = rig_custody_ok(g);
    uint64_t epoch = custody_epoch(c);
    assert_true(custody_rotate(c, "v0/golden/rotated", &g->why));
    assert_true(custody_restore(c, "v0/golden/doomed", 0, &already, &g->why));
    assert_true(custody_create(c, "v0/golden/new", &g->why));
    char *before = describe(c);
    custody_close(c);
    c = rig_custody_ok(g);
    char *after = describe(c);
    assert_string_equal(after, before);
    assert_true(custody_epoch(c) > epoch);
    assert_int_equal(rig_key(c, "v0/golden/rotated")->version_count, 4);
    free(before);
    free(after);
    custody_close(c);
}

static void stores_of_both_levels_go_on_and_open_again(void **state)
{
    goes_on(*state, "store-1");
    goes_on(*state, "store-2");
}

/* ---- backups ---- */

static bool root_open_age(void *ctx, struct store *s, uint8_t *srk, struct refusal *why)
{
    uint8_t slot[STORE_SLOT_MAX];
    size_t len = store_slot_get(s, 0, slot);
    struct mbed_rng *rng = mbed_rng_new();
    bool ok = seal_age_open(rng, span_of(slot, len), CTRL_SHARD, ctx, srk) == SEAL_OK;

    mbed_rng_free(rng);
    return ok || refuse(why, "no_slot", "", "does not open");
}

static void restores_as_written(struct rig *g, const char *folder, uint8_t level)
{
    char dir[256], file[300];
    uint8_t *identity = secret_pages_alloc(AGE_KEY_LEN);
    struct restore_report r;

    snprintf(dir, sizeof dir, FORMATS "/%s", folder);
    snprintf(file, sizeof file, "%s/identity", dir);
    assert_true(restore_identity_read(file, identity, &g->why));
    struct restore_source from = {
        .dir = dir, .identities = (const uint8_t(*)[AGE_KEY_LEN])identity, .identity_count = 1};
    struct restore_root root = {.ctx = identity, .open = root_open_age};
    if (!restore_build(g->store_file, g->rng, &from, &root, &r, &g->why))
        fail_msg("%s: %s", g->why.code, g->why.text);
    assert_int_equal(r.used, 2);
    struct custody *c = rig_custody_ok(g);
    expect_as_written(c, folder);
    assert_int_equal(store_level(custody_store(c)), level);
    custody_close(c);
    secret_pages_free(identity, AGE_KEY_LEN);
}

static void backups_of_level_1_restore_with_every_key_state_policy_and_material(void **state)
{
    restores_as_written(*state, "backup-1", 1);
}

static void backups_of_level_2_restore_with_every_key_state_policy_and_material(void **state)
{
    restores_as_written(*state, "backup-2", 2);
}

/* ---- audit entries ---- */

/* One line per entry: 192 bytes in hexadecimal. */
static void audit_entries_of_version_1_are_read_and_written_byte_by_byte(void **state)
{
    FILE *f = fopen(FORMATS "/audit-1.txt", "r");
    char line[2 * AUDIT_ENTRY_LEN + 8];
    size_t count = 0;

    (void)state;
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        uint8_t bytes[AUDIT_ENTRY_LEN], again[AUDIT_ENTRY_LEN];
        struct audit_entry e;

        for (size_t i = 0; i < sizeof bytes; i++) {
            char pair[3] = {line[2 * i], line[2 * i + 1], 0};
            bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
        }
        assert_true(audit_entry_decode(bytes, &e));
        audit_entry_encode(&e, again);
        assert_memory_equal(bytes, again, sizeof bytes);
        count++;
    }
    fclose(f);
    assert_int_equal(count, 5); /* one of each kind */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_store_of_level_1_opens_with_every_key_state_policy_and_material,
                                        rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(
            a_store_of_level_2_with_an_anchor_opens_with_every_key_state_policy_and_material, rig_setup,
            rig_teardown),
        cmocka_unit_test_setup_teardown(stores_of_both_levels_go_on_and_open_again, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(backups_of_level_1_restore_with_every_key_state_policy_and_material,
                                        rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(backups_of_level_2_restore_with_every_key_state_policy_and_material,
                                        rig_setup, rig_teardown),
        cmocka_unit_test(audit_entries_of_version_1_are_read_and_written_byte_by_byte),
    };
    return RUN_TESTS("ctrl_golden", tests);
}
