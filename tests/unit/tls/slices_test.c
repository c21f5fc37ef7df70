/* A handshake is made in slices, so that nobody else waits for all of it; and one whose connection ends between two leaves nothing. */
#include "tests/unit/test.h"
#include "tests/unit/tls/rig.h"

#include <openssl/err.h>
#include <string.h>

#define FLIGHT_MAX 10 /* slices */
#define MANY       300

/* The client's hello is there, and nothing was done with it. */
static struct pair *greeted(struct tls_worker *w, int version)
{
    SSL_CTX *ctx = client_ctx(version, version);
    struct pair *p = pair_new(w, ctx);

    SSL_CTX_free(ctx);
    assert_int_equal(SSL_do_handshake(p->client), -1);
    ERR_clear_error();
    client_step(p, SIZE_MAX);
    return p;
}

static struct pair *begun(struct tls_worker *w)
{
    struct pair *p = greeted(w, TLS1_3_VERSION);

    assert_int_equal(tls_handshake(p->server), TLS_MORE);
    return p;
}

/* Until the server wants the client's answer: how many slices that took.  Nothing leaves before the last one. */
static int slices_of_flight(struct pair *p)
{
    enum tls_status s;
    int slices = 1;

    while ((s = tls_handshake(p->server)) == TLS_MORE && slices < FLIGHT_MAX) {
        assert_true(tls_goes_on(p->server));
        assert_int_equal(p->out.end, 0);
        slices++;
    }
    assert_int_equal(s, TLS_WANT_READ);
    assert_false(tls_goes_on(p->server));
    assert_true(p->out.end > 0);
    client_drain(p);
    return slices;
}

static void key_exchange_certificate_and_signature_are_slices_of_their_own(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    struct pair *p = greeted(w, TLS1_3_VERSION);
    (void)state;

    /* hello | key exchange | certificate | signature | Finished */
    assert_int_equal(slices_of_flight(p), 5);
    assert_int_equal(handshake(p), TLS_OK);
    assert_false(tls_goes_on(p->server));
    assert_int_equal(tls_jobs_waiting(w), 0);
    pair_free(p);
    tls_worker_free(w);
}

static void so_are_those_of_tls_1_2(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    struct pair *p = greeted(w, TLS1_2_VERSION);
    (void)state;

    assert_true(slices_of_flight(p) >= 4);
    /* Its second flight has one, too: the shared secret. */
    assert_int_equal(SSL_do_handshake(p->client), -1);
    ERR_clear_error();
    client_step(p, SIZE_MAX);
    assert_int_equal(tls_handshake(p->server), TLS_MORE);
    assert_int_equal(handshake(p), TLS_OK);
    pair_free(p);
    tls_worker_free(w);
}

static void after_the_handshake_nothing_is_suspended(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    struct pair *p = connected(w, TLS1_3_VERSION);
    char text[8];
    size_t len;
    (void)state;

    assert_int_equal(SSL_key_update(p->client, SSL_KEY_UPDATE_REQUESTED), 1);
    client_send(p, "wirewrap", 8);
    assert_int_equal(tls_read(p->server, (uint8_t *)text, sizeof text, &len), TLS_OK);
    assert_int_equal(len, 8);
    assert_int_equal(tls_write(p->server, span_of(text, len), &len), TLS_OK);
    assert_int_equal(client_receive(p, text, sizeof text), 8);
    pair_free(p);
    tls_worker_free(w);
}

static void handshakes_that_take_turns_all_complete(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    struct pair *p[3] = {greeted(w, TLS1_3_VERSION), greeted(w, TLS1_2_VERSION), greeted(w, TLS1_3_VERSION)};
    (void)state;

    for (int slice = 0; slice < 3; slice++)
        for (int i = 0; i < 3; i++)
            assert_int_equal(tls_handshake(p[i]->server), TLS_MORE);
    for (int i = 2; i >= 0; i--) {
        (void)slices_of_flight(p[i]);
        assert_int_equal(handshake(p[i]), TLS_OK);
        client_send(p[i], "wirewrap", 8);
    }
    for (int i = 0; i < 3; i++) {
        char text[8];
        size_t len;

        assert_int_equal(tls_read(p[i]->server, (uint8_t *)text, sizeof text, &len), TLS_OK);
        assert_memory_equal(text, "wirewrap", 8);
        pair_free(p[i]);
    }
    assert_int_equal(counted_failures(), 0);
    tls_worker_free(w);
}

static void one_that_is_freed_between_slices_ends_slice_by_slice(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    struct pair *one = begun(w), *other = begun(w), *alive = begun(w);
    int turns = 0;
    (void)state;

    assert_false(tls_turn(w, 0));
    pair_free(one);
    pair_free(other);
    assert_int_equal(counted(REASON_TLS_JOB_ABANDONED), 2);
    assert_int_equal(tls_conn_count(w), 3);
    while (tls_turn(w, 0))
        turns++;
    assert_int_equal(turns, 2 * 4);
    assert_int_equal(tls_conn_count(w), 1);
    assert_int_equal(tls_jobs_waiting(w), 0);
    assert_int_equal(counted_failures(), 0);
    assert_int_equal(handshake(alive), TLS_OK);
    pair_free(alive);
    tls_worker_free(w);
}

static void one_that_a_worker_leaves_between_slices_ends_with_it(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    (void)state;

    pair_free(begun(w));
    assert_int_equal(tls_conn_count(w), 1);
    tls_worker_free(w);
}

/* The worker prevents it: it begins none before the last one's flight has left. */
static void more_than_there_are_stacks_for_wait(void **state)
{
    static struct pair *p[MANY];
    struct tls_worker *w = worker_with("P-256");
    int waiting = 0;
    (void)state;

    for (int i = 0; i < MANY; i++) {
        p[i] = greeted(w, TLS1_3_VERSION);
        waiting += tls_handshake(p[i]->server) == TLS_WAIT;
    }
    assert_true(waiting > 0);
    assert_int_equal(tls_jobs_waiting(w), waiting);
    assert_int_equal(counted(REASON_TLS_JOB_LIMIT), waiting);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(handshake(p[i]), TLS_OK);
        pair_free(p[i]);
    }
    assert_int_equal(tls_jobs_waiting(w), 0);
    tls_worker_free(w);
}

/* ---- the stack ---- */

#define STACK_LEN   (32 * 1024) /* OpenSSL's; there is nothing below that would stop it */
#define STACK_MOST  (STACK_LEN / 2)
#define STACK_SPARE 512 /* below the frame that paints, for the calls that it makes */
#define PAINT       0xa5

static uint8_t *painted; /* so many bytes as STACK_MOST, the last below the first frames of a job */

/* Called on the job's stack, near its upper end. */
__attribute__((no_sanitize("address"), noinline)) static void paint(void)
{
    uint8_t here;

    if (painted != NULL)
        return;
    painted = &here - STACK_SPARE - STACK_MOST;
    for (volatile uint8_t *at = painted; at < painted + STACK_MOST; at++)
        *at = PAINT;
}

__attribute__((no_sanitize("address"))) static size_t stack_left(void)
{
    size_t left = 0;

    while (left < STACK_MOST && painted[left] == PAINT)
        left++;
    return left;
}

static void a_job_needs_no_more_than_half_of_its_stack(void **state)
{
    static const char *const kinds[] = {"P-256", "P-384", "RSA-2048", "RSA-3072"};
    uint8_t mine;
    (void)state;

    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            struct tls_worker *w = worker_with(kinds[i]);
            struct pair *p = greeted(w, version);

            painted = NULL;
            p->looks = paint;
            assert_int_equal(handshake(p), TLS_OK);
            assert_true(painted > &mine + 1024 * 1024 || painted < &mine - 1024 * 1024);
            assert_true(stack_left() > 0);
            pair_free(p);
            tls_worker_free(w);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_exchange_certificate_and_signature_are_slices_of_their_own),
        cmocka_unit_test(so_are_those_of_tls_1_2),
        cmocka_unit_test(after_the_handshake_nothing_is_suspended),
        cmocka_unit_test(handshakes_that_take_turns_all_complete),
        cmocka_unit_test(one_that_is_freed_between_slices_ends_slice_by_slice),
        cmocka_unit_test(one_that_a_worker_leaves_between_slices_ends_with_it),
        cmocka_unit_test(more_than_there_are_stacks_for_wait),
        cmocka_unit_test(a_job_needs_no_more_than_half_of_its_stack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
