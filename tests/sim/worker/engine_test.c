/* engine_test MODULE: handshakes whose signatures are made by a crypto engine that takes its time (tests/lib/pausing.h). */
#include "tests/lib/pausing.h"
#include "tests/sim/worker/claims.h"

#include <dlfcn.h>

#define JOBS_MAX 256 /* TLS_JOBS_MAX: how many handshakes wait at once */
#define MANY     (JOBS_MAX + 40)

static const char *module;
static struct pausing_gate *gate;

static struct rig *engine_rig(void)
{
    struct rig_options o;

    rig_options_defaults(&o);
    o.engine = module;
    o.conns_max = 2 * MANY;
    gate->open = 0;
    gate->arrived = gate->passed = gate->resumed = gate->outright = 0;
    return rig_new(&o);
}

/* As far as the gate lets it. */
static struct client *waiting(struct rig *r)
{
    struct client *c = client_open(r, false);
    int before = gate->arrived;

    for (int i = 0; i < 1000 && gate->arrived == before; i++)
        rig_run(r, 1000);
    assert_int_equal(gate->arrived, before + 1);
    assert_false(c->shaken);
    return c;
}

static void expect_wrap(struct client *c)
{
    client_post(c, RIG_KEY_A ":wrap", WRAP_HELLO);
    expect_status(c, 200);
    client_next(c);
}

static void others_are_served_while_a_handshake_waits(void **state)
{
    struct rig *r = engine_rig();
    (void)state;

    gate->open = 1;
    struct client *good = shaken(r);
    gate->open = 0;
    struct client *c = waiting(r);
    for (int i = 0; i < 20; i++)
        expect_wrap(good);
    assert_false(c->shaken);
    assert_true(gate->resumed > 0);
    gate->open = 1;
    assert_true(rig_until(r, client_shaken, c));
    expect_wrap(c);
    assert_int_equal(rig_counted(r, REASON_TLS_JOB_PAUSED), 1);
    assert_int_equal(rig_counted(r, REASON_TLS_HANDSHAKE_OK), 2);
    assert_int_equal(rig_gauge(r, GAUGE_TLS_JOBS), 0);
    rig_free(r);
}

static void a_connection_that_ends_while_it_waits_leaves_nothing(void **state)
{
    struct rig *r = engine_rig();
    (void)state;

    struct client *reset = waiting(r), *closed = waiting(r);
    client_abort(reset);
    rig_run(r, 1000000);
    assert_int_equal(rig_counted(r, REASON_TLS_JOB_ABANDONED), 1);
    assert_int_equal(rig_gauge(r, GAUGE_TLS_JOBS), 2);
    client_close(closed);
    rig_run(r, 6000000);
    assert_int_equal(rig_counted(r, REASON_TLS_JOB_ABANDONED), 2);
    gate->open = 1;
    rig_run(r, 1000000);
    assert_int_equal(gate->passed, 2);
    assert_int_equal(rig_gauge(r, GAUGE_TLS_JOBS), 0);
    assert_int_equal(rig_gauge(r, GAUGE_TLS_CONNS), 0);
    expect_wrap(shaken(r));
    rig_free(r);
}

static void the_handshake_deadline_holds_while_it_waits(void **state)
{
    struct rig *r = engine_rig();
    (void)state;

    struct client *c = waiting(r);
    rig_run(r, 4000000);
    assert_false(client_ended(c));
    rig_run(r, 2000000);
    assert_true(client_ended(c));
    assert_int_equal(rig_counted(r, REASON_CONN_HANDSHAKE_TIMEOUT), 1);
    assert_int_equal(rig_counted(r, REASON_TLS_JOB_ABANDONED), 1);
    gate->open = 1;
    rig_run(r, 1000000);
    assert_int_equal(rig_gauge(r, GAUGE_TLS_JOBS), 0);
    rig_free(r);
}

static void more_handshakes_than_jobs_wait_for_their_turn(void **state)
{
    struct client *c[MANY];
    struct rig *r = engine_rig();
    (void)state;

    for (int i = 0; i < MANY; i++)
        c[i] = client_open(r, false);
    rig_run(r, 1000000);
    assert_int_equal(gate->arrived, JOBS_MAX);
    assert_int_equal(rig_counted(r, REASON_TLS_JOB_PAUSED), JOBS_MAX);
    assert_int_equal(rig_counted(r, REASON_TLS_JOB_LIMIT), MANY - JOBS_MAX);
    gate->open = 1;
    for (int i = 0; i < MANY; i++)
        assert_true(rig_until(r, client_shaken, c[i]));
    expect_wrap(c[0]);
    expect_wrap(c[MANY - 1]);
    rig_free(r);
}

static void a_worker_that_ends_waits_for_its_engine(void **state)
{
    struct rig *r = engine_rig();
    (void)state;

    /* Its job is looked at again only when the worker goes: rig_free runs no turn in which tls_turn sees an open gate. */
    struct client *c = waiting(r);
    client_abort(c);
    rig_run(r, 1000000);
    assert_int_equal(rig_gauge(r, GAUGE_TLS_JOBS), 1);
    gate->open = 1;
    rig_free(r);
    assert_int_equal(gate->passed, 1);
}

static void only_handshakes_run_in_jobs(void **state)
{
    struct rig *r = engine_rig();
    (void)state;

    gate->open = 1;
    struct client *c = shaken(r);
    int arrived = gate->arrived;
    for (int i = 0; i < 10; i++)
        expect_wrap(c);
    assert_int_equal(gate->arrived, arrived);
    rig_free(r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_are_served_while_a_handshake_waits),
        cmocka_unit_test(a_connection_that_ends_while_it_waits_leaves_nothing),
        cmocka_unit_test(the_handshake_deadline_holds_while_it_waits),
        cmocka_unit_test(more_handshakes_than_jobs_wait_for_their_turn),
        cmocka_unit_test(a_worker_that_ends_waits_for_its_engine),
        cmocka_unit_test(only_handshakes_run_in_jobs),
    };

    log_set_level(LOG_ERROR);
    if (argc != 2)
        return 2;
    module = argv[1];
    void *object = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    gate = object == NULL ? NULL : dlsym(object, "pausing_gate");
    if (gate == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
