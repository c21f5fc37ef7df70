/* Files of earlier versions, kept as they were written: what those wrote, this one opens.
 *
 * tests/vectors/formats/store-1 is a state folder of store format 1 under a root key of 32 times 0x5a, and keys.txt what is in it.
 * They are never made anew: a format that changes gets a folder of its own beside the old one.  `WW_GOLDEN=DIR` makes one. */
#include "tests/unit/ctrl/rig.h"

#include "ctrl/audit/audit.h"
#include "ctrl/lib/file.h"
#include "ctrl/keys/policy.h"

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

static void make_if_asked(struct rig *g)
{
    const char *to = getenv("WW_GOLDEN");
    char path[512];

    if (to == NULL)
        return;
    struct custody *c = rig_custody_ok(g);
    fill(c);
    char *text = describe(c);
    custody_close(c);
    snprintf(path, sizeof path, "cp -r %s/. %s", g->dir, to);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "%s/keys.txt", to);
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

static void a_store_of_format_1_opens_with_every_key_state_policy_and_material(void **state)
{
    struct rig *g = *state;

    make_if_asked(g);
    copy_in(g, "store-1");
    struct custody *c = rig_custody_ok(g);
    expect_as_written(c, "store-1");
    custody_close(c);
}

static void a_store_of_format_1_goes_on_and_opens_again(void **state)
{
    struct rig *g = *state;
    bool already;

    copy_in(g, "store-1");
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
        cmocka_unit_test_setup_teardown(a_store_of_format_1_opens_with_every_key_state_policy_and_material,
                                        rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_store_of_format_1_goes_on_and_opens_again, rig_setup, rig_teardown),
        cmocka_unit_test(audit_entries_of_version_1_are_read_and_written_byte_by_byte),
    };
    return RUN_TESTS("ctrl_golden", tests);
}
