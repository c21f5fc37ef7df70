#include "tests/unit/ctrl/rig.h"

#include "base/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH "v0/team/key"

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

static void material_of(struct custody *c, uint32_t version, uint8_t out[KEY_MATERIAL_LEN])
{
    const struct key_record *r = rig_key(c, PATH);

    custody_material(c, r, &r->versions[version - 1], out);
}

static void a_new_key_is_enabled_after_two_epochs_and_nobodys(void **state)
{
    struct custody *c = rig_custody_ok(*state);

    ok(custody_create(c, PATH, &why));
    const struct key_record *r = rig_key(c, PATH);
    assert_int_equal(custody_epoch(c), 2);
    assert_int_equal(r->life.state, KEY_STATE_ENABLED);
    assert_int_equal(r->primary, 1);
    assert_int_equal(r->versions[0].life.state, KEY_STATE_ENABLED);
    assert_int_equal(r->policy.caller_count, 0);
    custody_close(c);
}

static void a_key_comes_back_with_everything_it_had(void **state)
{
    struct custody *c = rig_custody_ok(*state);
    struct policy p = {.deny_status = 400, .reasons = 5, .caller_count = 1, .callers = {"a@b.example"}};
    uint8_t before[KEY_MATERIAL_LEN], after[KEY_MATERIAL_LEN];
    bool already;

    ok(custody_create(c, PATH, &why) && custody_rotate(c, PATH, &why) &&
       custody_set_policy(c, PATH, &p, &why) && custody_switch(c, PATH, 1, false, &already, &why));
    struct key_record *kept = record_copy(rig_key(c, PATH));
    material_of(c, 2, before);
    custody_close(c);
    c = rig_custody_ok(*state);
    const struct key_record *r = rig_key(c, PATH);
    material_of(c, 2, after);
    assert_memory_equal(before, after, sizeof before);
    assert_memory_equal(r->id, kept->id, KEY_ID_LEN);
    assert_int_equal(r->life.state, KEY_STATE_ENABLED);
    assert_int_equal(r->primary, 2);
    assert_int_equal(r->version_count, 2);
    assert_int_equal(r->versions[0].life.state, KEY_STATE_DISABLED);
    assert_int_equal(r->versions[0].epoch, kept->versions[0].epoch);
    assert_memory_equal(r->versions[1].tag, kept->versions[1].tag, KEY_VERSION_TAG_LEN);
    assert_int_equal(r->policy.deny_status, 400);
    assert_int_equal(r->policy.reasons, 5);
    assert_string_equal(r->policy.callers[0], "a@b.example");
    record_unref(kept);
    custody_close(c);
}

static void every_version_has_material_and_a_tag_of_its_own(void **state)
{
    struct custody *c = rig_custody_ok(*state);
    uint8_t one[KEY_MATERIAL_LEN], two[KEY_MATERIAL_LEN];

    ok(custody_create(c, PATH, &why) && custody_rotate(c, PATH, &why));
    material_of(c, 1, one);
    material_of(c, 2, two);
    assert_memory_not_equal(one, two, sizeof one);
    assert_memory_not_equal(rig_key(c, PATH)->versions[0].tag, rig_key(c, PATH)->versions[1].tag,
                            KEY_VERSION_TAG_LEN);
    custody_close(c);
}

static void the_material_is_nowhere_in_the_folder(void **state)
{
    struct rig *g = *state;
    struct custody *c = rig_custody_ok(g);
    uint8_t material[KEY_MATERIAL_LEN];
    char command[512], hex[3 * KEY_MATERIAL_LEN + 1] = "";

    ok(custody_create(c, PATH, &why));
    material_of(c, 1, material);
    custody_close(c);
    for (int i = 0; i < 8; i++)
        snprintf(hex + strlen(hex), sizeof hex - strlen(hex), "%02x", material[i]);
    snprintf(command, sizeof command, "cat %s/* | od -An -v -tx1 | tr -d ' \\n' | grep -q %s", g->dir, hex);
    assert_int_not_equal(system(command), 0);
    secret_wipe(material, sizeof material);
}

static void a_switch_that_is_so_already_costs_no_epoch(void **state)
{
    struct custody *c = rig_custody_ok(*state);
    bool already;

    ok(custody_create(c, PATH, &why));
    uint64_t epoch = custody_epoch(c);
    ok(custody_switch(c, PATH, 0, true, &already, &why));
    assert_true(already);
    assert_int_equal(custody_epoch(c), epoch);
    custody_close(c);
}

static void a_second_key_on_a_path_is_refused(void **state)
{
    struct custody *c = rig_custody_ok(*state);

    ok(custody_create(c, PATH, &why));
    refused_as(custody_create(c, PATH, &why), "key_exists");
    custody_close(c);
}

static void a_key_or_version_that_is_not_there_is_named(void **state)
{
    struct custody *c = rig_custody_ok(*state);
    bool already;

    refused_as(custody_rotate(c, PATH, &why), "no_such_key");
    ok(custody_create(c, PATH, &why));
    refused_as(custody_switch(c, PATH, 2, false, &already, &why), "no_such_version");
    assert_non_null(strstr(why.text, PATH " version 2"));
    custody_close(c);
}

static void a_disabled_key_is_not_rotated(void **state)
{
    struct custody *c = rig_custody_ok(*state);
    bool already;

    ok(custody_create(c, PATH, &why) && custody_switch(c, PATH, 0, false, &already, &why));
    refused_as(custody_rotate(c, PATH, &why), "key_disabled");
    custody_close(c);
}

static void paths_that_a_url_cannot_mean_exactly_are_refused(void **state)
{
    static const char *const wrong[] = {"",    "/a",   "a/",  "a//b", ".",   "a/../b",   "a/./b",
                                        "a b", "a%20", "a:b", "a?b",  "a#b", "\xc3\xa4", "a\\b"};
    char longest[EKM_KEY_PATH_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        refused_as(custody_path_ok(wrong[i], &why), "bad_path");
    memset(longest, 'a', sizeof longest - 1);
    longest[EKM_KEY_PATH_MAX + 1] = '\0';
    refused_as(custody_path_ok(longest, &why), "bad_path");
    longest[EKM_KEY_PATH_MAX] = '\0';
    ok(custody_path_ok(longest, &why));
    ok(custody_path_ok("v0/A-z_0.9~/...", &why));
}

/* A store in which ctrl died between the two epochs of a new version. */
static void leave_pending(struct rig *g)
{
    struct store *s = store_open(g->store_file, CTRL_SHARD, true, g->rng, &why);
    uint8_t id[KEY_ID_LEN] = {7}, body[STORE_BODY_MAX], *key = secret_pages_alloc(MBED_KEY_LEN);
    struct key_record *r = record_new(id, PATH);

    ok(store_unlock(s, g->srk, NULL, NULL, &why));
    store_derive(g->srk, "key encryption key", CTRL_SHARD, key);
    struct mbed_aead *kek = mbed_aead_new(key);
    r->life.state = KEY_STATE_PENDING_DURABLE;
    r->versions[0] = (struct key_version){.number = 1, .life.state = KEY_STATE_PENDING_DURABLE};
    record_material_wrap(kek, g->rng, CTRL_SHARD, r, &r->versions[0], span_of(g->srk, KEY_MATERIAL_LEN));
    store_begin(s);
    store_put(s, STORE_KEY, id, 0, span_of(body, record_key_encode(r, body)));
    store_put(s, STORE_VERSION, id, 1, span_of(body, record_version_encode(r, &r->versions[0], body)));
    store_put(s, STORE_POLICY, id, 0, span_of(body, record_policy_encode(&r->policy, body)));
    ok(store_commit(s, &why));
    record_unref(r);
    mbed_aead_free(kek);
    secret_pages_free(key, MBED_KEY_LEN);
    store_close(s);
}

static void a_version_found_pending_at_start_is_in_the_store_and_enabled(void **state)
{
    leave_pending(*state);
    struct custody *c = rig_custody_ok(*state);
    const struct key_record *r = rig_key(c, PATH);
    assert_int_equal(r->life.state, KEY_STATE_ENABLED);
    assert_int_equal(r->versions[0].life.state, KEY_STATE_ENABLED);
    assert_int_equal(r->primary, 1);
    assert_int_equal(custody_epoch(c), 2);
    custody_close(c);
}

struct heard {
    int keys, trust;
    uint8_t last_state;
};

static void hear(void *ctx, const struct key_record *r)
{
    struct heard *h = ctx;

    h->keys += r != NULL;
    h->trust += r == NULL;
    h->last_state = r == NULL ? 0 : r->life.state;
}

static void every_committed_change_is_told_and_no_refused_one(void **state)
{
    struct custody *c = rig_custody_ok(*state);
    struct heard h = {0};
    bool already;

    custody_listen(c, (struct custody_listener){&h, hear, NULL});
    ok(custody_create(c, PATH, &why));
    assert_int_equal(h.keys, 2);
    ok(custody_switch(c, PATH, 0, false, &already, &why));
    assert_int_equal(h.keys, 3);
    assert_int_equal(h.last_state, KEY_STATE_DISABLED);
    refused_as(custody_rotate(c, PATH, &why), "key_disabled");
    assert_int_equal(h.keys, 3);
    custody_close(c);
}

static void trust_is_an_epoch_only_when_it_differs_or_must_be_fresh(void **state)
{
    struct custody *c = rig_custody_ok(*state);
    const uint8_t one[MBED_DIGEST_LEN] = {1}, two[MBED_DIGEST_LEN] = {2};

    ok(custody_note_trust(c, one, false, &why));
    assert_int_equal(custody_epoch(c), 1);
    ok(custody_note_trust(c, one, false, &why));
    assert_int_equal(custody_epoch(c), 1);
    ok(custody_note_trust(c, two, false, &why));
    assert_int_equal(custody_epoch(c), 2);
    ok(custody_note_trust(c, two, true, &why));
    assert_int_equal(custody_epoch(c), 3);
    custody_close(c);
    c = rig_custody_ok(*state);
    ok(custody_note_trust(c, two, false, &why));
    assert_int_equal(custody_epoch(c), 3);
    custody_close(c);
}

static void a_record_in_use_outlives_its_replacement(void **state)
{
    struct custody *c = rig_custody_ok(*state);
    bool already;

    ok(custody_create(c, PATH, &why));
    const struct key_record *r = record_ref(rig_key(c, PATH));
    ok(custody_switch(c, PATH, 0, false, &already, &why));
    assert_int_equal(r->life.state, KEY_STATE_ENABLED);
    assert_int_equal(rig_key(c, PATH)->life.state, KEY_STATE_DISABLED);
    record_unref(r);
    custody_close(c);
}

static void hundreds_of_keys_are_found_by_path_and_by_id(void **state)
{
    struct registry *g = registry_new();
    char path[32];

    (void)state;
    for (uint16_t i = 0; i < 1000; i++) {
        uint8_t id[KEY_ID_LEN] = {(uint8_t)(i >> 8), (uint8_t)i, 1};

        snprintf(path, sizeof path, "v0/%u", i);
        registry_put(g, record_new(id, path));
    }
    for (uint16_t i = 0; i < 1000; i++) {
        uint8_t id[KEY_ID_LEN] = {(uint8_t)(i >> 8), (uint8_t)i, 1};

        snprintf(path, sizeof path, "v0/%u", i);
        assert_ptr_equal(registry_by_path(g, span_str(path)), registry_by_id(g, id));
        assert_string_equal(registry_by_id(g, id)->path, path);
    }
    assert_null(registry_by_path(g, span_str("v0/1000")));
    registry_free(g);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_new_key_is_enabled_after_two_epochs_and_nobodys),
        CASE(a_key_comes_back_with_everything_it_had),
        CASE(every_version_has_material_and_a_tag_of_its_own),
        CASE(the_material_is_nowhere_in_the_folder),
        CASE(a_switch_that_is_so_already_costs_no_epoch),
        CASE(a_second_key_on_a_path_is_refused),
        CASE(a_key_or_version_that_is_not_there_is_named),
        CASE(a_disabled_key_is_not_rotated),
        CASE(paths_that_a_url_cannot_mean_exactly_are_refused),
        CASE(a_version_found_pending_at_start_is_in_the_store_and_enabled),
        CASE(every_committed_change_is_told_and_no_refused_one),
        CASE(trust_is_an_epoch_only_when_it_differs_or_must_be_fresh),
        CASE(a_record_in_use_outlives_its_replacement),
        CASE(hundreds_of_keys_are_found_by_path_and_by_id),
    };

    return RUN_TESTS("ctrl custody", tests);
}
