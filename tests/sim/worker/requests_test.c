/* One client's requests through every layer, as the wire carries them. */
#include "tests/sim/worker/rig.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

static struct rig *new_rig(void)
{
    struct rig_options o;

    rig_options_defaults(&o);
    return rig_new(&o);
}

static void expect_status(struct client *c, unsigned status)
{
    assert_true(rig_until(c->rig, client_replied, c));
    assert_int_equal(c->status, status);
}

/* Wraps "hello" and unwraps what came back. */
static void round_trip(bool v6)
{
    struct rig *r = new_rig();
    struct client *c = client_open(r, v6);
    char body[512];

    assert_true(rig_until(r, client_shaken, c));
    client_post(c, RIG_KEY_A ":wrap", "{\"plaintext\":\"aGVsbG8=\"}");
    expect_status(c, 200);
    struct span blob = client_value(c, "wrappedBlob");
    snprintf(body, sizeof body, "{\"wrappedBlob\":\"%.*s\"}", (int)blob.len, (const char *)blob.ptr);
    client_next(c);
    client_post(c, RIG_KEY_A ":unwrap", body);
    expect_status(c, 200);
    assert_string_equal(client_body(c), "{\"plaintext\":\"aGVsbG8=\"}");
    rig_free(r);
}

static void a_data_key_is_wrapped_and_unwrapped_over_ipv4(void **state)
{
    (void)state;
    round_trip(false);
}

static void a_data_key_is_wrapped_and_unwrapped_over_ipv6(void **state)
{
    (void)state;
    round_trip(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_data_key_is_wrapped_and_unwrapped_over_ipv4),
        cmocka_unit_test(a_data_key_is_wrapped_and_unwrapped_over_ipv6),
    };
    return RUN_TESTS("worker_requests", tests);
}
