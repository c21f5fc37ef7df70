/* Key bytes that we know are driven through the tables; then the whole memory of this process is searched for
 * them. */
#include "base/secret.h"
#include "drivers/crypto/aead.h"
#include "tests/lib/needle.h"
#include "tests/unit/keys/fixture.h"

static struct fixture f;

static int setup(void **state)
{
    (void)state;
    fixture_two_keys(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static struct needle material_needle(uint32_t n, uint32_t v)
{
    uint8_t material[KEY_MATERIAL_LEN];

    fixture_material(n, v, material);
    return needle_of(material, sizeof material);
}

static void use_a(void)
{
    uint8_t blob[1 + BLOB_OVERHEAD], out[1];
    size_t len;

    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_OK);
    assert_int_equal(unwrap(&f, "v0/a", span_of(blob, sizeof blob), "", out, &len), KEYS_OK);
}

/* Without this the others would prove nothing. */
static void a_key_in_use_is_found_in_the_slab_and_in_its_contexts(void **state)
{
    struct needle n = material_needle(1, 1);
    (void)state;

    use_a();
    assert_in_range(needle_count(&n), 2, 8);
}

static void a_key_whose_contexts_are_flushed_lies_in_the_slab_alone(void **state)
{
    struct needle n = material_needle(1, 1);
    (void)state;

    use_a();
    begin_delta(f.keys);
    publish_and_settle(&f);
    assert_int_equal(needle_count(&n), 1);
}

static void a_sleeping_worker_holds_no_key(void **state)
{
    struct needle n = material_needle(1, 1);
    (void)state;

    use_a();
    keys_offline(f.worker);
    assert_int_equal(needle_count(&n), 1);
    keys_online(f.worker);
}

static void no_copy_of_a_destroyed_version_is_left_after_the_settling(void **state)
{
    struct needle n = material_needle(1, 1);
    (void)state;

    use_a();
    begin_delta(f.keys);
    assert_int_equal(stage_version(f.keys, 1, 1, KEY_STATE_DESTROYED), 0);
    publish_and_settle(&f);
    assert_int_equal(needle_count(&n), 0);
}

static void no_copy_of_a_key_that_went_is_left_after_the_settling(void **state)
{
    struct needle n = material_needle(1, 1);
    (void)state;

    use_a();
    begin_delta(f.keys);
    assert_int_equal(stage_gone(f.keys, 1), 0);
    publish_and_settle(&f);
    assert_int_equal(needle_count(&n), 0);
}

static void no_copy_of_a_key_that_a_full_transaction_left_out_is_left(void **state)
{
    struct needle n = material_needle(1, 1);
    (void)state;

    use_a();
    begin_full(f.keys);
    publish_and_settle(&f);
    assert_int_equal(needle_count(&n), 0);
}

static void no_copy_of_a_key_rolled_back_is_left(void **state)
{
    struct needle n = material_needle(5, 1);
    (void)state;

    begin_delta(f.keys);
    assert_int_equal(stage_key(f.keys, 5, "v0/e", 1), 0);
    assert_int_equal(stage_version(f.keys, 5, 1, KEY_STATE_ENABLED), 0);
    assert_int_equal(needle_count(&n), 1);
    keys_rollback(f.keys);
    assert_int_equal(needle_count(&n), 0);
}

static void a_disabled_key_stays_in_the_slab_alone(void **state)
{
    struct needle n = material_needle(1, 1);
    (void)state;

    use_a();
    begin_delta(f.keys);
    assert_int_equal(stage_version(f.keys, 1, 1, KEY_STATE_DISABLED), 0);
    publish_and_settle(&f);
    assert_int_equal(needle_count(&n), 1);
}

static void no_copy_is_left_when_the_tables_are_freed(void **state)
{
    struct needle n = material_needle(1, 1);
    (void)state;

    use_a();
    fixture_close(&f);
    assert_int_equal(needle_count(&n), 0);
    fixture_two_keys(&f);
}

static void no_plaintext_is_left_in_the_room_after_a_wrap(void **state)
{
    uint8_t text[64], blob[64 + BLOB_OVERHEAD];
    uint32_t version;
    (void)state;

    fixture_material(77, 7, text);
    fixture_material(77, 8, text + KEY_MATERIAL_LEN);
    const struct key *k = find(&f, "v0/a");
    assert_int_equal(keys_wrap(f.worker, k, secret_of(text, sizeof text), span_str(""), blob, &version),
                     KEYS_OK);
    struct needle n = needle_of(text, sizeof text);
    assert_int_equal(needle_count(&n), 0);
}

static void no_message_key_is_left_after_the_flush(void **state)
{
    uint8_t blob[1 + BLOB_OVERHEAD], material[KEY_MATERIAL_LEN];
    struct aead_worker *w = aead_worker_new();
    struct xaes_derived d;
    (void)state;

    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_OK);
    fixture_material(1, 1, material);
    assert_true(xaes_derive_fresh(w, material, blob + 12, &d));
    struct needle n = needle_of(d.kx, sizeof d.kx);
    secret_wipe(material, sizeof material);
    aead_worker_free(w);
    assert_in_range(needle_count(&n), 1, 8);
    begin_delta(f.keys);
    publish_and_settle(&f);
    assert_int_equal(needle_count(&n), 0);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_key_in_use_is_found_in_the_slab_and_in_its_contexts),
        CASE(a_key_whose_contexts_are_flushed_lies_in_the_slab_alone),
        CASE(a_sleeping_worker_holds_no_key),
        CASE(no_copy_of_a_destroyed_version_is_left_after_the_settling),
        CASE(no_copy_of_a_key_that_went_is_left_after_the_settling),
        CASE(no_copy_of_a_key_that_a_full_transaction_left_out_is_left),
        CASE(no_copy_of_a_key_rolled_back_is_left),
        CASE(a_disabled_key_stays_in_the_slab_alone),
        CASE(no_copy_is_left_when_the_tables_are_freed),
        CASE(no_plaintext_is_left_in_the_room_after_a_wrap),
        CASE(no_message_key_is_left_after_the_flush),
    };
    return RUN_TESTS("canary", tests);
}
