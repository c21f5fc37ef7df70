#include "tests/unit/tls/rig.h"

#include "tests/unit/test.h"

/* The server's bytes of a handshake with a client that is seeded alike. */
static size_t seeded_server_random(const uint8_t seed[32], uint8_t out[32])
{
    static struct counters counters;
    struct identity_pem id;
    struct tls_worker *w = tls_worker_new(&counters, NULL, seed);
    SSL_CTX *c = client_ctx(TLS1_3_VERSION, TLS1_3_VERSION);
    struct pair *p;
    size_t len;

    assert_non_null(w);
    identity_make("P-256", "a", &id);
    assert_true(publish(w, &id));
    p = pair_new(w, c);
    assert_int_equal(handshake(p), TLS_OK);
    len = SSL_get_server_random(p->client, out, 32);
    pair_free(p);
    SSL_CTX_free(c);
    tls_worker_free(w);
    return len;
}

static void a_seed_repeats_the_servers_randomness(void **state)
{
    uint8_t seed[32] = {1, 2, 3}, a[32], b[32];
    (void)state;

    assert_int_equal(seeded_server_random(seed, a), 32);
    assert_int_equal(seeded_server_random(seed, b), 32);
    assert_memory_equal(a, b, 32);
}

static void another_seed_gives_other_randomness(void **state)
{
    uint8_t seed[32] = {1, 2, 3}, a[32], b[32];
    (void)state;

    seeded_server_random(seed, a);
    seed[0] ^= 1;
    seeded_server_random(seed, b);
    assert_memory_not_equal(a, b, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_repeats_the_servers_randomness),
        cmocka_unit_test(another_seed_gives_other_randomness),
    };
    return RUN_TESTS("tls_seed", tests);
}
