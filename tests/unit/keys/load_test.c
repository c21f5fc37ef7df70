/* 100 000 versions, as many keys and as few keys; the memory that they take is said and bounded. */
#include "tests/unit/keys/fixture.h"

#include <stdio.h>

#define VERSIONS 100000

static struct fixture f;

static void load(uint32_t keys)
{
    char path[32];

    begin_full(f.keys);
    for (uint32_t n = 0; n < keys; n++) {
        snprintf(path, sizeof path, "v0/location/ring/key-%u", n);
        assert_int_equal(stage_key(f.keys, n, path, 1), 0);
        for (uint32_t v = 1; v <= VERSIONS / keys; v++)
            assert_int_equal(stage_version(f.keys, n, v, KEY_STATE_ENABLED), 0);
    }
    publish_and_settle(&f);
}

/* Wraps under every `step`-th key, and opens the blob again. */
static void use(uint32_t keys, uint32_t step)
{
    uint8_t blob[1 + BLOB_OVERHEAD], out[1];
    char path[32];
    size_t len;

    for (uint32_t n = 0; n < keys; n += step) {
        snprintf(path, sizeof path, "v0/location/ring/key-%u", n);
        assert_int_equal(wrap(&f, path, "x", "", blob), KEYS_OK);
        assert_int_equal(unwrap(&f, path, span_of(blob, sizeof blob), "", out, &len), KEYS_OK);
    }
}

static void loads_and_serves(uint32_t keys, uint32_t step, size_t bytes_per_version_max)
{
    struct keys_gauges g;

    fixture_open(&f, keys, VERSIONS);
    load(keys);
    use(keys, step);
    keys_gauges(f.keys, &g);
    assert_int_equal(g.keys, keys);
    assert_int_equal(g.versions, VERSIONS);
    print_message("# %u keys, %u versions: %zu bytes per version\n", g.keys, g.versions,
                  g.memory_bytes / g.versions);
    assert_in_range(g.memory_bytes / VERSIONS, 128, bytes_per_version_max);
}

static void a_hundred_thousand_keys_of_one_version_load_and_serve(void **state)
{
    (void)state;
    loads_and_serves(100000, 97, 500);
    fixture_close(&f);
}

static void twenty_five_keys_of_four_thousand_versions_load_and_serve(void **state)
{
    (void)state;
    loads_and_serves(25, 1, 200);
    fixture_close(&f);
}

static void a_hundred_thousand_versions_are_replaced_by_the_same_again(void **state)
{
    struct keys_gauges before, after;
    (void)state;

    loads_and_serves(1000, 97, 300);
    keys_gauges(f.keys, &before);
    load(1000);
    use(1000, 97);
    keys_gauges(f.keys, &after);
    assert_memory_equal(&before, &after, sizeof before);
    fixture_close(&f);
}

static void a_delta_among_a_hundred_thousand_keys_changes_the_one(void **state)
{
    uint8_t blob[1 + BLOB_OVERHEAD];
    (void)state;

    fixture_open(&f, 100000, VERSIONS + 1);
    load(100000);
    begin_delta(f.keys);
    assert_int_equal(stage_version(f.keys, 500, 1, KEY_STATE_DISABLED), 0);
    publish_and_settle(&f);
    assert_int_equal(wrap(&f, "v0/location/ring/key-500", "x", "", blob), KEYS_NO_VERSION);
    assert_int_equal(wrap(&f, "v0/location/ring/key-501", "x", "", blob), KEYS_OK);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hundred_thousand_keys_of_one_version_load_and_serve),
        cmocka_unit_test(twenty_five_keys_of_four_thousand_versions_load_and_serve),
        cmocka_unit_test(a_hundred_thousand_versions_are_replaced_by_the_same_again),
        cmocka_unit_test(a_delta_among_a_hundred_thousand_keys_changes_the_one),
    };
    return RUN_TESTS("load", tests);
}
