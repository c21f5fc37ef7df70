/* What was decrypted is looked for in the memory of the process: the client's copy is ciphertext by then.  With OPENSSL_ALLOCATED in the
 * environment OpenSSL has allocated before memory.c could have its way, and does without it. */
#include "base/secret.h"
#include "dataplane/tls/tls_priv.h"
#include "tests/lib/needle.h"
#include "tests/unit/test.h"
#include "tests/unit/tls/rig.h"

#include <pthread.h>
#include <stdlib.h>

#define TEXT_LEN 1000
#define AT       600 /* of the needle in the text */

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
static struct tls_worker *w;
static uint8_t text[TEXT_LEN], in[4096];
static uint8_t draw;

__attribute__((constructor(101))) static void allocate_first(void)
{
    if (getenv("OPENSSL_ALLOCATED") != NULL)
        OPENSSL_free(OPENSSL_malloc(1));
}

static int setup(void **state)
{
    (void)state;
    assert_int_equal(tls_memory_is_ours(), getenv("OPENSSL_ALLOCATED") == NULL);
    w = worker_with("P-256");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tls_worker_free(w);
    return 0;
}

/* A record with a needle that was in no test before; the copies here are wiped. */
static struct needle send_needle(struct pair *p)
{
    uint8_t head[NEEDLE_LEN];

    draw++;
    for (size_t i = 0; i < NEEDLE_LEN; i++)
        text[AT + i] = (uint8_t)((i + 1) * 151 ^ draw * 29);
    client_send(p, text, sizeof text);
    memcpy(head, text + AT, sizeof head);
    secret_wipe(text, sizeof text);
    return needle_of(head, sizeof head);
}

static void read_len(struct pair *p, size_t cap, size_t expected)
{
    size_t len;

    assert_int_equal(tls_read(p->server, in, cap, &len), TLS_OK);
    assert_int_equal(len, expected);
}

static void expect_one_copy_and_wipe_it(const struct needle *n)
{
    assert_int_equal(needle_count(n), 1);
    secret_wipe(in, sizeof in);
    assert_int_equal(needle_count(n), 0);
}

static void what_was_read_is_where_the_caller_has_it_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct pair *p = connected(w, versions[i]);

        for (int again = 0; again < 3; again++) {
            struct needle n = send_needle(p);
            read_len(p, sizeof in, TEXT_LEN);
            expect_one_copy_and_wipe_it(&n);
        }
        pair_free(p);
    }
}

static void so_it_is_when_it_came_in_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct pair *p = connected(w, versions[i]);

        p->in.view = 3;
        struct needle n = send_needle(p);
        read_len(p, sizeof in, TEXT_LEN);
        expect_one_copy_and_wipe_it(&n);
        pair_free(p);
    }
}

/* However much of it. */
static void so_it_is_when_part_of_the_next_record_has_come(void **state)
{
    struct pair *p = connected(w, TLS1_3_VERSION);
    (void)state;

    for (size_t part = 1; part < 40; part += 3) {
        struct needle n = send_needle(p);
        size_t end = p->in.end;
        client_send(p, "next", 4);
        size_t whole = p->in.end;
        p->in.end = end + (part < whole - end ? part : whole - end - 1);
        read_len(p, sizeof in, TEXT_LEN);
        expect_one_copy_and_wipe_it(&n);
        size_t len;
        assert_int_equal(tls_read(p->server, in, sizeof in, &len), TLS_WANT_READ);
        p->in.end = whole;
        read_len(p, sizeof in, 4);
    }
    pair_free(p);
}

static void so_it_is_when_it_was_handed_out_in_parts(void **state)
{
    struct pair *p = connected(w, TLS1_3_VERSION);
    struct pair *other = connected(w, TLS1_3_VERSION);
    (void)state;

    struct needle n = send_needle(p);
    read_len(p, AT, AT);
    client_send(other, "between", 7);
    read_len(other, sizeof in, 7);
    assert_int_equal(needle_count(&n), 1); /* waits */
    read_len(p, sizeof in, TEXT_LEN - AT);
    expect_one_copy_and_wipe_it(&n);
    pair_free(other);
    pair_free(p);
}

static void what_nobody_read_goes_with_the_connection(void **state)
{
    struct pair *p = connected(w, TLS1_3_VERSION);
    struct pair *other = connected(w, TLS1_3_VERSION);
    (void)state;

    struct needle n = send_needle(p);
    read_len(p, AT, AT);
    client_send(other, "later", 5);
    read_len(other, sizeof in, 5);
    assert_int_equal(needle_count(&n), 1);
    pair_free(p);
    assert_int_equal(needle_count(&n), 0);
    pair_free(other);
}

static void *open_and_serve_one(void *arg)
{
    struct pair **p = arg;
    size_t len;

    *p = connected(w, TLS1_3_VERSION);
    (void)send_needle(*p);
    read_len(*p, AT, AT);
    assert_int_equal(tls_write((*p)->server, span_of(in, sizeof in), &len), TLS_OK);
    tls_thread_end(w);
    return NULL;
}

/* The sanitizer finds what a thread leaves behind. */
static void buffers_may_be_given_back_by_another_thread(void **state)
{
    struct pair *p = NULL;
    pthread_t thread;
    (void)state;

    assert_int_equal(pthread_create(&thread, NULL, open_and_serve_one, &p), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    read_len(p, sizeof in, TEXT_LEN - AT);
    pair_free(p);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_was_read_is_where_the_caller_has_it_alone),
        CASE(so_it_is_when_it_came_in_pieces),
        CASE(so_it_is_when_part_of_the_next_record_has_come),
        CASE(so_it_is_when_it_was_handed_out_in_parts),
        CASE(what_nobody_read_goes_with_the_connection),
        CASE(buffers_may_be_given_back_by_another_thread),
    };
    return RUN_TESTS("tls_memory", tests);
}
