/* A new root key: everything is sealed anew under it, or nothing is, whatever the disk does meanwhile. */
#include "base/secret.h"
#include "tests/unit/ctrl/faulty_vfs.h"
#include "tests/unit/ctrl/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KEYS 3

static struct refusal why;
static uint8_t old_root[SEAL_SRK_LEN], new_root[SEAL_SRK_LEN];

struct known {
    uint8_t material[8][KEY_MATERIAL_LEN];
    size_t count;
};

static struct known known;

static int setup(void **state)
{
    if (rig_setup_in_memory(state) != 0)
        return -1;
    faulty_install();
    memset(old_root, 0x5a, sizeof old_root);
    memset(new_root, 0xa5, sizeof new_root);
    return 0;
}

static int teardown(void **state)
{
    faulty_remove();
    return rig_teardown(state);
}

static struct custody *open_with(struct rig *g, const uint8_t *root)
{
    memcpy(g->srk, root, SEAL_SRK_LEN);
    return rig_custody(g);
}

static struct custody *open_ok(struct rig *g, const uint8_t *root)
{
    struct custody *c = open_with(g, root);

    if (c == NULL)
        fail_msg("%s: %s", g->why.code, g->why.text);
    return c;
}

/* A slot that nobody opens here: what matters is that it is there, and of which root. */
static struct slot slot_of(uint8_t number, uint8_t root)
{
    struct slot s = {.len = 40, .made_unix_s = 5, .sealed_unix_s = 5, .opened_unix_s = 6};

    memset(s.record, root, s.len);
    s.record[1] = SEAL_KIND_AGE;
    s.record[2] = number;
    return s;
}

static struct slots slots_of(uint8_t root)
{
    struct slots s = {.at[0] = slot_of(0, root), .at[7] = slot_of(7, root)};

    return s;
}

static void materials(const struct custody *c, struct known *out)
{
    uint8_t *room = secret_pages_alloc(KEY_MATERIAL_LEN);
    const struct registry *g = custody_registry(c);

    assert_non_null(room);
    *out = (struct known){.count = 0};
    for (size_t i = 0; i < registry_count(g); i++) {
        const struct key_record *r = registry_at(g, i);

        for (uint32_t v = 0; v < r->version_count; v++) {
            if (r->versions[v].life.state == KEY_STATE_DESTROYED)
                continue;
            custody_material(c, r, &r->versions[v], room);
            memcpy(out->material[out->count++], room, KEY_MATERIAL_LEN);
        }
    }
    secret_pages_free(room, KEY_MATERIAL_LEN);
}

/* By path, since a store gives its keys in the order of their ids. */
static void are_the_same(const struct custody *c)
{
    struct known now;
    size_t found = 0;

    materials(c, &now);
    assert_int_equal(now.count, known.count);
    for (size_t i = 0; i < now.count; i++) {
        for (size_t j = 0; j < known.count; j++)
            found += memcmp(now.material[i], known.material[j], KEY_MATERIAL_LEN) == 0;
    }
    assert_int_equal(found, known.count);
}

/* Three keys with versions in several states, two slots. */
static struct custody *small_store(struct rig *g, const char *name)
{
    static const char *const paths[KEYS] = {"a", "b", "c"};
    struct slots s = slots_of('o');
    bool already;

    faulty_reset();
    rig_path(g, name, g->store_file, sizeof g->store_file);
    struct custody *c = open_ok(g, old_root);
    for (size_t i = 0; i < KEYS; i++)
        assert_true(custody_create(c, paths[i], &why));
    assert_true(custody_rotate(c, "b", &why));
    assert_true(custody_switch(c, "c", 0, false, &already, &why));
    assert_true(custody_slots_adopt(c, &s, &why));
    materials(c, &known);
    return c;
}

static void remove_beside(const struct rig *g)
{
    static const char *const ends[] = {".head",     ".head.next", ".clock",
                                       ".head.new", ".clock.new", ".head.next.new"};
    char path[200];

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        snprintf(path, sizeof path, "%s%s", g->store_file, ends[i]);
        unlink(path);
    }
}

static bool table_is(struct rig *g, uint8_t root)
{
    struct store *s = store_open(g->store_file, CTRL_SHARD, true, g->rng, &why); /* it is there: in memory */
    struct slots have, want = slots_of(root);
    bool same = true;

    assert_non_null(s);
    slots_read(s, 5, &have);
    for (size_t i = 0; i < STORE_SLOTS_MAX; i++)
        same = same && span_equal(slot_span(&have.at[i]), slot_span(&want.at[i]));
    store_close(s);
    return same;
}

/* Whatever happened: one root opens it, with the slots of that root, and nothing is lost. */
static uint8_t one_root_opens(struct rig *g)
{
    struct custody *c = open_with(g, old_root);
    uint8_t root = c != NULL ? 'o' : 'n';

    if (c == NULL)
        assert_string_equal(g->why.code, "store_wrong_root");
    if (c == NULL)
        c = open_ok(g, new_root);
    are_the_same(c);
    assert_int_equal(custody_slots(c)->at[7].record[20], root);
    custody_close(c);
    assert_null(open_with(g, root == 'o' ? new_root : old_root));
    assert_string_equal(g->why.code, "store_wrong_root");
    assert_true(table_is(g, root));
    return root;
}

/* ---- cases ---- */

static void after_it_the_new_root_alone_opens_everything(void **state)
{
    struct rig *g = *state;
    struct slots s = slots_of('n');

    struct custody *c = small_store(g, "plain.db");
    uint64_t epoch = custody_epoch(c);
    if (!custody_reroot(c, new_root, &s, &why))
        fail_msg("%s: %s", why.code, why.text);
    assert_int_equal(custody_epoch(c), epoch + 1);
    are_the_same(c);
    custody_close(c);
    assert_int_equal(one_root_opens(g), 'n');
}

static void the_chain_goes_on_under_the_new_root(void **state)
{
    struct rig *g = *state;
    struct slots n = slots_of('n'), o = slots_of('o');
    bool already;

    struct custody *c = small_store(g, "chain.db");
    assert_true(custody_reroot(c, new_root, &n, &why));
    assert_true(custody_rotate(c, "a", &why));
    materials(c, &known);
    custody_close(c);
    c = open_ok(g, new_root);
    assert_true(custody_switch(c, "c", 0, true, &already, &why));
    assert_true(custody_reroot(c, old_root, &o, &why));
    custody_close(c);
    assert_int_equal(one_root_opens(g), 'o');
}

/* A push under way holds records that were wrapped under the root before. */
static void a_record_from_before_still_gives_its_material(void **state)
{
    struct rig *g = *state;
    struct slots n = slots_of('n');
    uint8_t *before = secret_pages_alloc(KEY_MATERIAL_LEN), *after = secret_pages_alloc(KEY_MATERIAL_LEN);

    struct custody *c = small_store(g, "push.db");
    const struct key_record *r = record_ref(rig_key(c, "a"));
    custody_material(c, r, &r->versions[0], before);
    assert_true(custody_reroot(c, new_root, &n, &why));
    assert_ptr_not_equal(r, rig_key(c, "a"));
    custody_material(c, r, &r->versions[0], after);
    assert_memory_equal(before, after, KEY_MATERIAL_LEN);
    record_unref(r);
    custody_close(c);
    secret_pages_free(before, KEY_MATERIAL_LEN);
    secret_pages_free(after, KEY_MATERIAL_LEN);
}

/* The commit was synced, and the head not yet put in its place. */
static void a_head_that_still_waits_beside_is_put_in_its_place_at_start(void **state)
{
    struct rig *g = *state;
    struct slots n = slots_of('n');
    char head[160], next[160], copy[160], line[512];

    struct custody *c = small_store(g, "head.db");
    snprintf(head, sizeof head, "%s.head", g->store_file);
    snprintf(next, sizeof next, "%s.head.next", g->store_file);
    snprintf(copy, sizeof copy, "%s.copy", g->store_file);
    snprintf(line, sizeof line, "cp %s %s", head, copy);
    assert_int_equal(system(line), 0);
    assert_true(custody_reroot(c, new_root, &n, &why));
    custody_close(c);
    assert_int_equal(rename(head, next), 0);
    assert_int_equal(rename(copy, head), 0);
    assert_int_equal(one_root_opens(g), 'n');
    assert_int_equal(access(next, F_OK), -1);
}

static void a_head_of_another_root_alone_is_refused(void **state)
{
    struct rig *g = *state;
    struct slots n = slots_of('n');
    char head[160], copy[160], line[512];

    struct custody *c = small_store(g, "swap.db");
    snprintf(head, sizeof head, "%s.head", g->store_file);
    snprintf(copy, sizeof copy, "%s.copy", g->store_file);
    snprintf(line, sizeof line, "cp %s %s", head, copy);
    assert_int_equal(system(line), 0);
    assert_true(custody_reroot(c, new_root, &n, &why));
    custody_close(c);
    assert_int_equal(rename(copy, head), 0);
    assert_null(open_with(g, new_root));
    assert_string_equal(g->why.code, "store_head_damaged");
}

static void power_that_goes_at_any_write_leaves_one_whole_root(void **state)
{
    struct rig *g = *state;
    struct slots n = slots_of('n');
    bool struck = true, was[2] = {false, false};
    uint64_t seed = 17;

    for (uint64_t op = 1; struck; op++) {
        struct custody *c = small_store(g, "power.db");

        faulty_plan(FAULTY_POWER, op, true);
        bool done = custody_reroot(c, new_root, &n, &why);
        struck = faulty_struck();
        custody_close(c);
        faulty_power_cut(&seed);
        uint8_t root = one_root_opens(g);
        assert_true(!done || root == 'n');
        was[root == 'n'] = true;
        remove_beside(g);
    }
    assert_true(was[0] && was[1]);
}

static void refused_by(struct rig *g, enum faulty_kind kind, const char *code)
{
    struct slots n = slots_of('n');
    bool struck = true;
    uint64_t op = 1;

    for (; struck; op++) {
        struct custody *c = small_store(g, "refused.db");

        faulty_plan(kind, op, false);
        bool done = custody_reroot(c, new_root, &n, &why);
        struck = faulty_struck();
        faulty_plan(FAULTY_NONE, 0, false);
        if (!done) {
            assert_string_equal(why.code, code);
            assert_true(why.next[0] != '\0');
            are_the_same(c);
        }
        /* A disk that is full or read-only no more takes the next change. */
        if (kind != FAULTY_EIO)
            assert_true(custody_note_trust(c, new_root, true, &why));
        custody_close(c);
        uint8_t root = one_root_opens(g);
        assert_true(kind == FAULTY_EIO || root == (done ? 'n' : 'o'));
        remove_beside(g);
    }
    assert_true(op > 5);
}

static void a_full_disk_at_any_write_refuses_it_whole(void **state)
{
    refused_by(*state, FAULTY_ENOSPC, "disk_full");
}

static void a_read_only_disk_at_any_write_refuses_it_whole(void **state)
{
    refused_by(*state, FAULTY_EROFS, "read_only");
}

static void a_broken_disk_at_any_write_refuses_it_whole(void **state)
{
    refused_by(*state, FAULTY_EIO, "store_io");
}

static void what_was_under_the_old_root_is_in_no_file(void **state)
{
    struct rig *g = *state;
    struct slots n = slots_of('n');
    uint8_t tail[24];
    size_t len;

    struct custody *c = small_store(g, "scrub.db");
    memcpy(tail, rig_key(c, "a")->versions[0].wrapped, sizeof tail);
    struct slots o = slots_of('o');
    assert_true(store_checkpoint(custody_store(c), true));
    const uint8_t *p = faulty_bytes(g->store_file, &len);
    assert_non_null(memmem(p, len, o.at[7].record + 4, 30));
    assert_true(custody_reroot(c, new_root, &n, &why));
    custody_close(c);
    p = faulty_bytes(g->store_file, &len);
    assert_null(memmem(p, len, o.at[7].record + 4, 30));
    assert_non_null(memmem(p, len, n.at[7].record + 4, 30));
}

/* ---- single slots ---- */

static void a_slot_and_its_row_come_and_go_together(void **state)
{
    struct rig *g = *state;
    struct slot s = slot_of(3, 'x'), none = {0};
    uint8_t table[STORE_SLOT_MAX];

    struct custody *c = small_store(g, "slot.db");
    assert_true(custody_slot_put(c, 3, &s, &why));
    custody_close(c);
    c = open_ok(g, old_root);
    assert_int_equal(custody_slots(c)->at[3].opened_unix_s, 6);
    assert_int_equal(store_slot_get(custody_store(c), 3, table), s.len);
    assert_memory_equal(table, s.record, s.len);
    assert_true(custody_slot_put(c, 3, &none, &why));
    custody_close(c);
    c = open_ok(g, old_root);
    assert_int_equal(custody_slots(c)->at[3].len, 0);
    assert_int_equal(store_slot_get(custody_store(c), 3, table), 0);
    custody_close(c);
}

static void slot_fault(struct rig *g, enum faulty_kind kind)
{
    struct slot s = slot_of(3, 'x');
    uint8_t table[STORE_SLOT_MAX];
    bool struck = true;
    uint64_t seed = 3;

    for (uint64_t op = 1; struck; op++) {
        struct custody *c = small_store(g, "fault.db");

        faulty_plan(kind, op, true);
        bool done = custody_slot_put(c, 3, &s, &why);
        struck = faulty_struck();
        faulty_plan(FAULTY_NONE, 0, false);
        if (kind == FAULTY_POWER)
            faulty_plan(FAULTY_POWER, 1, true);
        custody_close(c);
        if (kind == FAULTY_POWER)
            faulty_power_cut(&seed);
        c = open_ok(g, old_root);
        bool there = custody_slots(c)->at[3].len != 0;
        assert_true(there || !done);
        assert_int_equal(store_slot_get(custody_store(c), 3, table), there ? s.len : 0);
        are_the_same(c);
        custody_close(c);
        remove_beside(g);
    }
}

static void a_slot_is_there_with_its_row_or_not_at_all_whatever_the_disk_does(void **state)
{
    slot_fault(*state, FAULTY_ENOSPC);
    slot_fault(*state, FAULTY_EROFS);
    slot_fault(*state, FAULTY_EIO);
    slot_fault(*state, FAULTY_POWER);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(after_it_the_new_root_alone_opens_everything),
        CASE(the_chain_goes_on_under_the_new_root),
        CASE(a_record_from_before_still_gives_its_material),
        CASE(a_head_that_still_waits_beside_is_put_in_its_place_at_start),
        CASE(a_head_of_another_root_alone_is_refused),
        CASE(power_that_goes_at_any_write_leaves_one_whole_root),
        CASE(a_full_disk_at_any_write_refuses_it_whole),
        CASE(a_read_only_disk_at_any_write_refuses_it_whole),
        CASE(a_broken_disk_at_any_write_refuses_it_whole),
        CASE(what_was_under_the_old_root_is_in_no_file),
        CASE(a_slot_and_its_row_come_and_go_together),
        CASE(a_slot_is_there_with_its_row_or_not_at_all_whatever_the_disk_does),
    };

    return RUN_TESTS("ctrl reroot", tests);
}
