#include "tests/unit/tls/rig.h"

#include "base/secret_priv.h"
#include "tests/unit/test.h"

#include <openssl/err.h>

static void expect_handshake(const char *kind, int version, const char *cipher)
{
    struct tls_worker *w = worker_with(kind);
    struct pair *p = connected(w, version);

    assert_int_equal(SSL_version(p->client), version);
    assert_string_equal(SSL_get_cipher_name(p->client), cipher);
    assert_int_equal(counted(REASON_TLS_HANDSHAKE_OK), 1);
    assert_int_equal(counted_failures(), 0);
    pair_free(p);
    tls_worker_free(w);
}

static void tls13_with_an_ecdsa_certificate_completes(void **state)
{
    (void)state;
    expect_handshake("P-256", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256");
}

static void tls13_with_an_rsa_certificate_completes(void **state)
{
    (void)state;
    expect_handshake("RSA-2048", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256");
}

static void tls12_with_an_ecdsa_certificate_completes(void **state)
{
    (void)state;
    expect_handshake("P-256", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256");
}

static void tls12_with_an_rsa_certificate_completes(void **state)
{
    (void)state;
    expect_handshake("RSA-2048", TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256");
}

static void a_client_of_both_versions_gets_tls13(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    SSL_CTX *c = client_ctx(TLS1_2_VERSION, TLS1_3_VERSION);
    struct pair *p = pair_new(w, c);
    (void)state;

    assert_int_equal(handshake(p), TLS_OK);
    assert_int_equal(SSL_version(p->client), TLS1_3_VERSION);
    pair_free(p);
    SSL_CTX_free(c);
    tls_worker_free(w);
}

static void expect_refused(struct tls_worker *w, SSL_CTX *c, int alert, enum reason why)
{
    struct pair *p = pair_new(w, c);

    assert_int_equal(handshake(p), TLS_FAILED);
    assert_int_equal(alert_at_client(p), alert);
    assert_int_equal(counted(why), 1);
    assert_int_equal(counted_failures(), 1);
    assert_int_equal(counted(REASON_TLS_HANDSHAKE_OK), 0);
    pair_free(p);
    SSL_CTX_free(c);
    tls_worker_free(w);
}

static void tls10_is_refused_with_protocol_version(void **state)
{
    SSL_CTX *c = client_ctx(TLS1_VERSION, TLS1_VERSION);
    (void)state;
    expect_refused(worker_with("P-256"), c, SSL_AD_PROTOCOL_VERSION, REASON_TLS_BAD_VERSION);
}

static void tls11_is_refused_with_protocol_version(void **state)
{
    SSL_CTX *c = client_ctx(TLS1_1_VERSION, TLS1_1_VERSION);
    (void)state;
    expect_refused(worker_with("P-256"), c, SSL_AD_PROTOCOL_VERSION, REASON_TLS_BAD_VERSION);
}

static void tls12_without_a_shared_cipher_is_refused_with_handshake_failure(void **state)
{
    SSL_CTX *c = client_ctx(TLS1_2_VERSION, TLS1_2_VERSION);
    (void)state;
    assert_int_equal(SSL_CTX_set_cipher_list(c, "ECDHE-RSA-AES128-GCM-SHA256"), 1);
    expect_refused(worker_with("P-256"), c, SSL_AD_HANDSHAKE_FAILURE, REASON_TLS_NOTHING_SHARED);
}

static void tls12_cbc_suites_are_not_offered(void **state)
{
    SSL_CTX *c = client_ctx(TLS1_2_VERSION, TLS1_2_VERSION);
    (void)state;
    assert_int_equal(SSL_CTX_set_cipher_list(c, "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384"), 1);
    expect_refused(worker_with("P-256"), c, SSL_AD_HANDSHAKE_FAILURE, REASON_TLS_NOTHING_SHARED);
}

static void tls12_rsa_key_exchange_is_not_offered(void **state)
{
    SSL_CTX *c = client_ctx(TLS1_2_VERSION, TLS1_2_VERSION);
    (void)state;
    assert_int_equal(SSL_CTX_set_cipher_list(c, "AES128-GCM-SHA256:AES256-GCM-SHA384"), 1);
    expect_refused(worker_with("RSA-2048"), c, SSL_AD_HANDSHAKE_FAILURE, REASON_TLS_NOTHING_SHARED);
}

static void tls12_finite_field_dh_is_not_offered(void **state)
{
    SSL_CTX *c = client_ctx(TLS1_2_VERSION, TLS1_2_VERSION);
    (void)state;
    assert_int_equal(SSL_CTX_set_cipher_list(c, "DHE-RSA-AES128-GCM-SHA256"), 1);
    expect_refused(worker_with("RSA-2048"), c, SSL_AD_HANDSHAKE_FAILURE, REASON_TLS_NOTHING_SHARED);
}

static void tls13_without_a_shared_group_is_refused_with_handshake_failure(void **state)
{
    SSL_CTX *c = client_ctx(TLS1_3_VERSION, TLS1_3_VERSION);
    (void)state;
    assert_int_equal(SSL_CTX_set1_groups_list(c, "X448"), 1);
    expect_refused(worker_with("P-256"), c, SSL_AD_HANDSHAKE_FAILURE, REASON_TLS_NOTHING_SHARED);
}

static void expect_group(const char *groups, int nid)
{
    struct tls_worker *w = worker_with("P-256");
    SSL_CTX *c = client_ctx(TLS1_3_VERSION, TLS1_3_VERSION);
    struct pair *p;

    assert_int_equal(SSL_CTX_set1_groups_list(c, groups), 1);
    p = pair_new(w, c);
    assert_int_equal(handshake(p), TLS_OK);
    assert_int_equal(SSL_get_negotiated_group(p->client), nid);
    pair_free(p);
    SSL_CTX_free(c);
    tls_worker_free(w);
}

static void x25519_is_served(void **state)
{
    (void)state;
    expect_group("X25519", NID_X25519);
}

static void p256_is_served(void **state)
{
    (void)state;
    expect_group("P-256", NID_X9_62_prime256v1);
}

static void p384_is_served(void **state)
{
    (void)state;
    expect_group("P-384", NID_secp384r1);
}

/* A key share of a group we lack, and a group we have without its share: one more round trip. */
static void a_key_share_we_lack_costs_a_hello_retry(void **state)
{
    (void)state;
    expect_group("X448:P-256", NID_X9_62_prime256v1);
}

static void garbage_in_place_of_a_client_hello_fails(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    struct pair *p = server_alone(w);
    uint8_t junk[300];
    (void)state;

    for (size_t i = 0; i < sizeof junk; i++)
        junk[i] = (uint8_t)(0xa5 ^ (i * 7));
    feed(&p->in, junk, sizeof junk);
    assert_int_equal(server_step(p), TLS_FAILED);
    assert_int_equal(counted(REASON_TLS_NOT_TLS), 1);
    assert_int_equal(server_step(p), TLS_FAILED);
    assert_int_equal(counted_failures(), 1);
    pair_free(p);
    tls_worker_free(w);
}

static void plain_http_is_told_apart(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    struct pair *p = server_alone(w);
    static const char get[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    (void)state;

    feed(&p->in, get, sizeof get - 1);
    assert_int_equal(server_step(p), TLS_FAILED);
    assert_int_equal(counted(REASON_TLS_NOT_TLS), 1);
    pair_free(p);
    tls_worker_free(w);
}

static void a_malformed_client_hello_gets_decode_error(void **state)
{
    /* A handshake record with a ClientHello of 4 bytes. */
    static const uint8_t hello[] = {0x16, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0};
    struct tls_worker *w = worker_with("P-256");
    struct pair *p = server_alone(w);
    (void)state;

    feed(&p->in, hello, sizeof hello);
    assert_int_equal(server_step(p), TLS_FAILED);
    assert_int_equal(alert_in_clear(&p->out), SSL_AD_DECODE_ERROR);
    assert_int_equal(counted(REASON_TLS_PROTOCOL_ERROR), 1);
    pair_free(p);
    tls_worker_free(w);
}

static void application_data_before_the_handshake_gets_unexpected_message(void **state)
{
    static const uint8_t early[] = {0x17, 3, 3, 0, 4, 1, 2, 3, 4};
    struct tls_worker *w = worker_with("P-256");
    struct pair *p = server_alone(w);
    (void)state;

    feed(&p->in, early, sizeof early);
    assert_int_equal(server_step(p), TLS_FAILED);
    assert_int_equal(alert_in_clear(&p->out), SSL_AD_UNEXPECTED_MESSAGE);
    pair_free(p);
    tls_worker_free(w);
}

static void half_a_client_hello_waits_for_more(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    SSL_CTX *c = client_ctx(TLS1_2_VERSION, TLS1_3_VERSION);
    struct pair *p = pair_new(w, c);
    (void)state;

    (void)SSL_do_handshake(p->client);
    client_step(p, 100);
    assert_int_equal(server_step(p), TLS_WANT_READ);
    assert_false(tls_pending(p->server));
    assert_int_equal(p->out.end, 0);
    assert_int_equal(counted_failures(), 0);
    pair_free(p);
    SSL_CTX_free(c);
    tls_worker_free(w);
}

static void expect_byte_at_a_time(int version)
{
    struct tls_worker *w = worker_with("P-256");
    SSL_CTX *c = client_ctx(version, version);
    struct pair *p = pair_new(w, c);
    int client = 0;

    for (int i = 0; i < 5000 && !(client == 1 && server_step(p) == TLS_OK); i++) {
        client = SSL_do_handshake(p->client);
        client_step(p, 1);
        assert_int_not_equal(server_step(p), TLS_FAILED);
        client_drain(p);
    }
    assert_int_equal(server_step(p), TLS_OK);
    assert_int_equal(counted(REASON_TLS_HANDSHAKE_OK), 1);
    pair_free(p);
    SSL_CTX_free(c);
    tls_worker_free(w);
}

static void tls12_handshake_completes_byte_by_byte(void **state)
{
    (void)state;
    expect_byte_at_a_time(TLS1_2_VERSION);
}

static void tls13_handshake_completes_byte_by_byte(void **state)
{
    (void)state;
    expect_byte_at_a_time(TLS1_3_VERSION);
}

/* RFC 8446 5.1: handshake messages may be cut into many records; a flood of them has an end. */
static void a_handshake_of_endless_fragments_is_ended(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    struct pair *p = server_alone(w);
    uint8_t rec[5 + 1000] = {0x16, 3, 1, 1000 >> 8, 1000 & 255};
    enum tls_status s = TLS_WANT_READ;
    (void)state;

    rec[5] = 1; /* ClientHello of 100 000 bytes, which OpenSSL alone would gather */
    rec[6] = 100000 >> 16;
    rec[7] = (100000 >> 8) & 255;
    rec[8] = 100000 & 255;
    for (int i = 0; i < 90 && s == TLS_WANT_READ; i++) {
        feed(&p->in, rec, sizeof rec);
        s = server_step(p);
        memset(rec + 5, 0, 1000);
    }
    assert_int_equal(s, TLS_FAILED);
    assert_int_equal(counted(REASON_TLS_HANDSHAKE_TOO_LONG), 1);
    pair_free(p);
    tls_worker_free(w);
}

static struct pair *alpn_handshake(struct tls_worker *w, const char *wire, unsigned len,
                                   enum tls_status expect)
{
    SSL_CTX *c = client_ctx(TLS1_3_VERSION, TLS1_3_VERSION);
    struct pair *p;

    if (len > 0)
        assert_int_equal(SSL_CTX_set_alpn_protos(c, (const unsigned char *)wire, len), 0);
    p = pair_new(w, c);
    SSL_CTX_free(c);
    assert_int_equal(handshake(p), expect);
    return p;
}

static void expect_alpn(const char *wire, unsigned len, const char *chosen)
{
    struct tls_worker *w = worker_with("P-256");
    struct pair *p = alpn_handshake(w, wire, len, TLS_OK);
    const unsigned char *got;
    unsigned got_len;

    SSL_get0_alpn_selected(p->client, &got, &got_len);
    assert_int_equal(got_len, strlen(chosen));
    assert_true(got_len == 0 || memcmp(got, chosen, got_len) == 0);
    pair_free(p);
    tls_worker_free(w);
}

static void alpn_http11_is_chosen(void **state)
{
    (void)state;
    expect_alpn("\x08http/1.1", 9, "http/1.1");
}

static void alpn_http10_alone_is_chosen(void **state)
{
    (void)state;
    expect_alpn("\x08http/1.0", 9, "http/1.0");
}

static void alpn_http11_is_preferred_to_http10(void **state)
{
    (void)state;
    expect_alpn("\x08http/1.0\x08http/1.1", 18, "http/1.1");
}

static void alpn_h2_is_passed_over_for_http11(void **state)
{
    (void)state;
    expect_alpn("\x02h2\x08http/1.1", 12, "http/1.1");
}

static void absent_alpn_is_served(void **state)
{
    (void)state;
    expect_alpn("", 0, "");
}

static void alpn_h2_alone_gets_no_application_protocol(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    struct pair *p = alpn_handshake(w, "\x02h2", 3, TLS_FAILED);
    (void)state;

    assert_int_equal(alert_at_client(p), SSL_AD_NO_APPLICATION_PROTOCOL);
    assert_int_equal(counted(REASON_TLS_NO_APPLICATION_PROTOCOL), 1);
    pair_free(p);
    tls_worker_free(w);
}

static SSL_SESSION *session_of(struct pair *p)
{
    SSL_SESSION *s = SSL_get1_session(p->client);

    SSL_shutdown(p->client); /* an OpenSSL client resumes only what was closed in order */
    assert_true(SSL_SESSION_is_resumable(s));
    pair_free(p);
    return s;
}

static void expect_resumption(int version)
{
    struct tls_worker *w = worker_with("P-256");
    SSL_SESSION *s = session_of(connected(w, version));
    SSL_CTX *c = client_ctx(version, version);
    struct pair *p = pair_new(w, c);

    assert_int_equal(SSL_set_session(p->client, s), 1);
    assert_int_equal(handshake(p), TLS_OK);
    assert_true(SSL_session_reused(p->client));
    assert_int_equal(counted(REASON_TLS_HANDSHAKE_RESUMED), 1);
    SSL_SESSION_free(s);
    pair_free(p);
    SSL_CTX_free(c);
    tls_worker_free(w);
}

static void a_tls13_ticket_resumes(void **state)
{
    (void)state;
    expect_resumption(TLS1_3_VERSION);
}

static void a_tls12_ticket_resumes(void **state)
{
    (void)state;
    expect_resumption(TLS1_2_VERSION);
}

/* s, got from one server, is offered to another. */
static bool resumes(struct tls_worker *w, SSL_SESSION *s, int version)
{
    SSL_CTX *c = client_ctx(version, version);
    struct pair *p = pair_new(w, c);

    SSL_SESSION *copy = SSL_SESSION_dup(s); /* the client forgets a session whose connection was cut off */
    assert_int_equal(SSL_set_session(p->client, copy), 1);
    SSL_SESSION_free(copy);
    assert_int_equal(handshake(p), TLS_OK);
    bool reused = SSL_session_reused(p->client);
    pair_free(p);
    SSL_CTX_free(c);
    return reused;
}

static struct tls_worker *worker_sharing(uint8_t secret_byte)
{
    uint8_t secret[TLS_TICKET_SECRET_LEN];
    struct identity_pem id;

    memset(secret, secret_byte, sizeof secret);
    identity_make("P-256", "ekm.wirewrap.test", &id);
    struct tls_worker *w = tls_worker_new(rig_counters(), secret, NULL);
    assert_non_null(w);
    assert_true(publish(w, &id));
    return w;
}

static void a_ticket_outlives_its_certificate(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    SSL_SESSION *s = session_of(connected(w, TLS1_3_VERSION));
    struct identity_pem next;
    (void)state;

    identity_make("P-256", "ekm.wirewrap.test", &next);
    assert_true(publish(w, &next));
    assert_true(resumes(w, s, TLS1_3_VERSION));
    SSL_SESSION_free(s);
    tls_worker_free(w);
}

static void a_ticket_resumes_on_every_worker_that_has_the_secret(void **state)
{
    struct tls_worker *one = worker_sharing(1), *other = worker_sharing(1), *stranger = worker_sharing(2);
    SSL_SESSION *s = session_of(connected(one, TLS1_3_VERSION));
    (void)state;

    assert_true(resumes(other, s, TLS1_3_VERSION));
    assert_false(resumes(stranger, s, TLS1_3_VERSION));
    SSL_SESSION_free(s);
    tls_worker_free(one);
    tls_worker_free(other);
    tls_worker_free(stranger);
}

#define SIX_HOURS_US (6ull * 3600 * 1000000)

static void a_ticket_opens_in_its_period_and_the_next_and_no_longer(void **state)
{
    struct tls_worker *w = worker_sharing(1);
    (void)state;

    tls_turn(w, 100 * SIX_HOURS_US);
    SSL_SESSION *s = session_of(connected(w, TLS1_2_VERSION));
    tls_turn(w, 101 * SIX_HOURS_US - 1);
    assert_true(resumes(w, s, TLS1_2_VERSION));
    tls_turn(w, 101 * SIX_HOURS_US);
    assert_true(resumes(w, s, TLS1_2_VERSION));
    tls_turn(w, 102 * SIX_HOURS_US);
    assert_false(resumes(w, s, TLS1_2_VERSION));
    SSL_SESSION_free(s);
    tls_worker_free(w);
}

static int tickets_seen;

static int ticket_count(SSL *ssl, SSL_SESSION *s)
{
    (void)ssl, (void)s;
    tickets_seen++;
    return 0;
}

/* The second one of OpenSSL's default costs a seventh of a handshake. */
static void a_tls13_handshake_sends_one_ticket(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    SSL_CTX *c = client_ctx(TLS1_3_VERSION, TLS1_3_VERSION);
    struct pair *p;
    uint8_t byte;
    (void)state;

    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(c, ticket_count);
    p = pair_new(w, c);
    assert_int_equal(handshake(p), TLS_OK);
    (void)SSL_read(p->client, &byte, 1);
    assert_int_equal(tickets_seen, 1);
    pair_free(p);
    SSL_CTX_free(c);
    tls_worker_free(w);
}

static void a_ticket_permits_no_early_data(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    SSL_SESSION *s = session_of(connected(w, TLS1_3_VERSION));
    (void)state;

    assert_int_equal(SSL_SESSION_get_max_early_data(s), 0);
    SSL_SESSION_free(s);
    tls_worker_free(w);
}

static void no_connection_without_a_certificate(void **state)
{
    static struct counters counters;
    struct tls_worker *w = tls_worker_new(&counters, NULL, NULL);
    struct tls_io io = {NULL, NULL, NULL};
    (void)state;

    assert_non_null(w);
    assert_false(tls_ready(w));
    assert_null(tls_accept(w, &io, NULL));
    tls_worker_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls13_with_an_ecdsa_certificate_completes),
        cmocka_unit_test(tls13_with_an_rsa_certificate_completes),
        cmocka_unit_test(tls12_with_an_ecdsa_certificate_completes),
        cmocka_unit_test(tls12_with_an_rsa_certificate_completes),
        cmocka_unit_test(a_client_of_both_versions_gets_tls13),
        cmocka_unit_test(tls10_is_refused_with_protocol_version),
        cmocka_unit_test(tls11_is_refused_with_protocol_version),
        cmocka_unit_test(tls12_without_a_shared_cipher_is_refused_with_handshake_failure),
        cmocka_unit_test(tls12_cbc_suites_are_not_offered),
        cmocka_unit_test(tls12_rsa_key_exchange_is_not_offered),
        cmocka_unit_test(tls12_finite_field_dh_is_not_offered),
        cmocka_unit_test(tls13_without_a_shared_group_is_refused_with_handshake_failure),
        cmocka_unit_test(x25519_is_served),
        cmocka_unit_test(p256_is_served),
        cmocka_unit_test(p384_is_served),
        cmocka_unit_test(a_key_share_we_lack_costs_a_hello_retry),
        cmocka_unit_test(garbage_in_place_of_a_client_hello_fails),
        cmocka_unit_test(plain_http_is_told_apart),
        cmocka_unit_test(a_malformed_client_hello_gets_decode_error),
        cmocka_unit_test(application_data_before_the_handshake_gets_unexpected_message),
        cmocka_unit_test(half_a_client_hello_waits_for_more),
        cmocka_unit_test(tls12_handshake_completes_byte_by_byte),
        cmocka_unit_test(tls13_handshake_completes_byte_by_byte),
        cmocka_unit_test(a_handshake_of_endless_fragments_is_ended),
        cmocka_unit_test(alpn_http11_is_chosen),
        cmocka_unit_test(alpn_http10_alone_is_chosen),
        cmocka_unit_test(alpn_http11_is_preferred_to_http10),
        cmocka_unit_test(alpn_h2_is_passed_over_for_http11),
        cmocka_unit_test(absent_alpn_is_served),
        cmocka_unit_test(alpn_h2_alone_gets_no_application_protocol),
        cmocka_unit_test(a_tls13_ticket_resumes),
        cmocka_unit_test(a_tls12_ticket_resumes),
        cmocka_unit_test(a_ticket_outlives_its_certificate),
        cmocka_unit_test(a_ticket_resumes_on_every_worker_that_has_the_secret),
        cmocka_unit_test(a_ticket_opens_in_its_period_and_the_next_and_no_longer),
        cmocka_unit_test(a_tls13_handshake_sends_one_ticket),
        cmocka_unit_test(a_ticket_permits_no_early_data),
        cmocka_unit_test(no_connection_without_a_certificate),
    };
    return RUN_TESTS("tls_handshake", tests);
}
