/* Tables with keys in them, for the tests of the key room. */
#ifndef TESTS_UNIT_KEYS_FIXTURE_H
#define TESTS_UNIT_KEYS_FIXTURE_H

#include "base/secret.h"
#include "base/secret_priv.h"
#include "dataplane/keys/keys.h"
#include "tests/unit/test.h"

#include <string.h>

#define CALLER "kms@caller.test"

static const uint8_t fixture_seed[32] = {0x57, 0x57};

struct fixture {
    struct keys *keys;
    struct keys_worker *worker;
    struct counters counters;
};

static inline struct keys *fixture_keys(uint32_t keys_max, uint32_t versions_max)
{
    struct keys_config c = {
        .keys_max = keys_max, .versions_max = versions_max, .verify_rng_seeded_for_tests = true};

    memcpy(c.seed, fixture_seed, sizeof c.seed);
    struct keys *k = keys_new(&c);
    assert_non_null(k);
    return k;
}

static inline void fixture_open(struct fixture *f, uint32_t keys_max, uint32_t versions_max)
{
    memset(f, 0, sizeof *f);
    f->keys = fixture_keys(keys_max, versions_max);
    f->worker = keys_worker_new(f->keys, &f->counters);
    assert_non_null(f->worker);
}

static inline void fixture_close(struct fixture *f)
{
    keys_worker_free(f->worker);
    keys_free(f->keys);
}

/* Key number n, and version v of it: id, tag and material follow from the numbers. */
static inline void fixture_id(uint32_t n, uint8_t id[KEY_ID_LEN])
{
    memset(id, 0, KEY_ID_LEN);
    memcpy(id, &n, sizeof n);
}

static inline void fixture_tag(uint32_t n, uint32_t v, uint8_t tag[KEY_VERSION_TAG_LEN])
{
    memcpy(tag, &n, 4);
    memcpy(tag + 4, &v, 4);
}

static inline void fixture_material(uint32_t n, uint32_t v, uint8_t material[KEY_MATERIAL_LEN])
{
    /* Volatile, or the compiler puts the material into the program's constants, where the canary test would
     * find it. */
    static volatile uint8_t step = 0x9d;

    for (size_t i = 0; i < KEY_MATERIAL_LEN; i++)
        material[i] = (uint8_t)(step * (i + 1) + 37 * n + 101 * v);
}

static inline struct ctl_key fixture_key(uint32_t n, const char *path, uint32_t primary)
{
    struct ctl_key m = {.state = KEY_STATE_ENABLED,
                        .deny_status = 403,
                        .primary_version = primary,
                        .reasons_allowed = ACCESS_REASONS_ALL,
                        .path = span_str(path),
                        .caller_count = 1,
                        .callers = {span_str(CALLER)}};

    fixture_id(n, m.id);
    return m;
}

static inline int stage_key(struct keys *k, uint32_t n, const char *path, uint32_t primary)
{
    struct ctl_key m = fixture_key(n, path, primary);

    return keys_stage_key(k, &m);
}

static inline int stage_key_in_state(struct keys *k, uint32_t n, const char *path, uint32_t primary,
                                     uint8_t state)
{
    struct ctl_key m = fixture_key(n, path, primary);

    m.state = state;
    return keys_stage_key(k, &m);
}

static inline int stage_version(struct keys *k, uint32_t n, uint32_t v, uint8_t state)
{
    uint8_t material[KEY_MATERIAL_LEN];
    struct ctl_key_version m = {.version = v, .state = state};

    fixture_id(n, m.key_id);
    fixture_tag(n, v, m.tag);
    fixture_material(n, v, material);
    m.material = secret_of(material, state == KEY_STATE_DESTROYED ? 0 : sizeof material);
    int refusal = keys_stage_version(k, &m);
    secret_wipe(material, sizeof material);
    return refusal;
}

static inline int stage_gone(struct keys *k, uint32_t n)
{
    struct ctl_key_gone m;

    fixture_id(n, m.key_id);
    return keys_stage_gone(k, &m);
}

static inline void begin_full(struct keys *k)
{
    assert_int_equal(keys_begin(k, true, 0, keys_epoch(k) + 1), 0);
}

static inline void begin_delta(struct keys *k)
{
    assert_int_equal(keys_begin(k, false, keys_epoch(k), keys_epoch(k) + 1), 0);
}

static inline void publish(struct keys *k)
{
    assert_int_equal(keys_check(k), 0);
    keys_commit(k);
}

/* Publishes, lets the fixture's worker pass, and settles. */
static inline void publish_and_settle(struct fixture *f)
{
    publish(f->keys);
    keys_quiescent(f->worker);
    assert_true(keys_settled(f->keys));
}

/* Two keys, "a" and "b", each with version 1. */
static inline void fixture_two_keys(struct fixture *f)
{
    fixture_open(f, 8, 64);
    begin_full(f->keys);
    assert_int_equal(stage_key(f->keys, 1, "v0/a", 1), 0);
    assert_int_equal(stage_version(f->keys, 1, 1, KEY_STATE_ENABLED), 0);
    assert_int_equal(stage_key(f->keys, 2, "v0/b", 1), 0);
    assert_int_equal(stage_version(f->keys, 2, 1, KEY_STATE_ENABLED), 0);
    publish_and_settle(f);
}

static inline const struct key *find(struct fixture *f, const char *path)
{
    return keys_find(f->worker, span_str(path));
}

static inline enum keys_status wrap(struct fixture *f, const char *path, const char *text, const char *aad,
                                    uint8_t *blob)
{
    const struct key *k = find(f, path);
    uint32_t version;

    assert_non_null(k);
    return keys_wrap(f->worker, k, secret_of(text, strlen(text)), span_str(aad), blob, &version);
}

static inline enum keys_status unwrap(struct fixture *f, const char *path, struct span blob, const char *aad,
                                      uint8_t *plaintext, size_t *len)
{
    const struct key *k = find(f, path);
    uint32_t version;

    assert_non_null(k);
    return keys_unwrap(f->worker, k, blob, span_str(aad), plaintext, len, &version);
}

#endif
