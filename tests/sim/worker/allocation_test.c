/* Ten thousand requests leave the heap still: every allocation that our own objects make inside worker_turn is counted (the linker hands
 * malloc and its kin to us first; OpenSSL's, in its shared library, are its own). */
#include "tests/sim/worker/claims.h"

#include <openssl/crypto.h>

static uint64_t allocations;

/* It takes no allocator after its first allocation: without this its own would come through dataplane/tls/memory.c, and be counted. */
__attribute__((constructor(101))) static void allocate_first(void)
{
    OPENSSL_free(OPENSSL_malloc(1));
}

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);

void *__wrap_malloc(size_t n)
{
    allocations += rig_in_worker;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t m)
{
    allocations += rig_in_worker;
    return __real_calloc(n, m);
}

void *__wrap_realloc(void *p, size_t n)
{
    allocations += rig_in_worker;
    return __real_realloc(p, n);
}

static void ten_thousand_wraps_and_unwraps_allocate_nothing(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    struct audit_record a;
    char *blob = wrapped(c, RIG_KEY_A ":wrap", WRAP_HELLO);
    (void)state;

    allocations = 0;
    for (int i = 0; i < 5000; i++) {
        free(wrapped(c, RIG_KEY_A ":wrap", WRAP_HELLO));
        unwrap_hello(c, RIG_KEY_A ":unwrap", blob, 200);
        while (rig_audit(r, &a))
            continue;
    }
    assert_int_equal(allocations, 0);
    free(blob);
    rig_free(r);
}

/* Without this the other would prove nothing. */
static void an_allocation_inside_a_turn_is_counted(void **state)
{
    void *(*volatile get)(size_t) = malloc; /* a compiler thinks that it knows what malloc does not touch */
    (void)state;

    allocations = 0;
    rig_in_worker = true;
    free(get(1));
    rig_in_worker = false;
    free(get(1));
    assert_int_equal(allocations, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_wraps_and_unwraps_allocate_nothing),
        cmocka_unit_test(an_allocation_inside_a_turn_is_counted),
    };
    log_set_level(LOG_ERROR);
    return RUN_TESTS("worker_allocation", tests);
}
