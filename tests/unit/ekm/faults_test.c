/* Faults of ours, injected: 503, a counter, and no blob. */
#include "tests/unit/ekm/rig.h"

#include "tests/unit/test.h"

static void expect_fault(enum keys_fault f)
{
    rig_fault(f);
    assert_int_equal(wrap(KEY, good(), "aGVsbG8="), 503);
    assert_int_equal(audited.verdict, REASON_EKM_FAULT);
    assert_int_equal(counted(REASON_EKM_FAULT), 1);
    assert_int_equal(counted(REASON_EKM_WRAP_OK), 0);
    assert_int_equal(counted(REASON_KEYS_VERIFY_AFTER_WRAP_FAILED), 1);
    expect_status_body(14);
    assert_false(reply_has("wrappedBlob"));
}

static void a_faulty_derivation_gets_503_and_no_blob(void **state)
{
    (void)state;
    expect_fault(KEYS_FAULT_DERIVATION);
}

static void a_faulty_commitment_gets_503_and_no_blob(void **state)
{
    (void)state;
    expect_fault(KEYS_FAULT_COMMITMENT);
}

static void a_faulty_ciphertext_gets_503_and_no_blob(void **state)
{
    (void)state;
    expect_fault(KEYS_FAULT_CIPHERTEXT);
}

static void a_faulty_tag_gets_503_and_no_blob(void **state)
{
    (void)state;
    expect_fault(KEYS_FAULT_TAG);
}

static void a_faulty_blob_gets_503_and_no_blob(void **state)
{
    (void)state;
    expect_fault(KEYS_FAULT_BLOB);
}

static void after_a_fault_the_next_wrap_is_served(void **state)
{
    (void)state;
    rig_fault(KEYS_FAULT_TAG);
    assert_int_equal(wrap(KEY, good(), "aGVsbG8="), 503);
    rig_fault(KEYS_FAULT_NONE);
    assert_int_equal(wrap(KEY, good(), "aGVsbG8="), 200);
    assert_int_equal(post("/" KEY ":unwrap", good(), unwrap_body("")), 200);
    assert_true(reply_has("\"aGVsbG8=\""));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_faulty_derivation_gets_503_and_no_blob), CASE(a_faulty_commitment_gets_503_and_no_blob),
        CASE(a_faulty_ciphertext_gets_503_and_no_blob), CASE(a_faulty_tag_gets_503_and_no_blob),
        CASE(a_faulty_blob_gets_503_and_no_blob),       CASE(after_a_fault_the_next_wrap_is_served),
    };
    return RUN_TESTS("ekm_faults", tests);
}
