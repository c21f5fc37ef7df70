#include "tests/unit/tls/rig.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret_priv.h"
#include "dataplane/tls/tls_priv.h"
#include "tests/unit/test.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <pthread.h>

static struct counters counters_none;

static struct tls_worker *worker_empty(void)
{
    struct tls_worker *w = tls_worker_new(&counters_none, NULL, NULL);

    assert_non_null(w);
    return w;
}

static void expect_published(const char *kind)
{
    struct tls_worker *w = worker_empty();
    struct identity_pem id;

    identity_make(kind, "a", &id);
    assert_true(publish(w, &id));
    assert_true(tls_ready(w));
    assert_null(tls_publish_error(w));
    tls_worker_free(w);
}

static void expect_refused(const char *kind, const char *why)
{
    struct tls_worker *w = worker_empty();
    struct identity_pem id;

    identity_make(kind, "a", &id);
    assert_false(publish(w, &id));
    assert_false(tls_ready(w));
    assert_non_null(strstr(tls_publish_error(w), why));
    tls_worker_free(w);
}

/* ---- threads ---- */

struct housekeeper {
    struct tls_worker *worker;
    struct identity_pem identity;
    pthread_barrier_t published, freed;
};

static void *keep_house(void *arg)
{
    struct housekeeper *h = arg;

    CHECK(publish(h->worker, &h->identity));
    tls_thread_end(h->worker);
    pthread_barrier_wait(&h->published);
    pthread_barrier_wait(&h->freed);
    return NULL;
}

static void a_thread_that_published_may_outlive_the_worker(void **state)
{
    struct housekeeper h = {.worker = worker_empty()};
    pthread_t thread;
    (void)state;

    identity_make("P-256", "a", &h.identity);
    pthread_barrier_init(&h.published, NULL, 2);
    pthread_barrier_init(&h.freed, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, keep_house, &h), 0);
    pthread_barrier_wait(&h.published);
    tls_worker_free(h.worker);
    pthread_barrier_wait(&h.freed);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* ---- keys ---- */

static void a_p256_key_is_served(void **state)
{
    (void)state;
    expect_published("P-256");
}

static void a_p384_key_is_served(void **state)
{
    (void)state;
    expect_published("P-384");
}

static void an_rsa_3072_key_is_served(void **state)
{
    (void)state;
    expect_published("RSA-3072");
}

static void an_rsa_4096_key_is_refused(void **state)
{
    (void)state;
    expect_refused("RSA-4096", "more than 3072 bits");
}

static void an_rsa_1024_key_is_refused(void **state)
{
    (void)state;
    expect_refused("RSA-1024", "fewer than 2048 bits");
}

static void a_p521_key_is_refused(void **state)
{
    (void)state;
    expect_refused("P-521", "curve other than");
}

static void an_ed25519_key_is_refused(void **state)
{
    (void)state;
    expect_refused("ED25519", "neither RSA nor EC");
}

static void a_key_of_another_certificate_is_refused(void **state)
{
    struct tls_worker *w = worker_empty();
    struct identity_pem a, b;
    (void)state;

    identity_make("P-256", "a", &a);
    identity_make("P-256", "b", &b);
    assert_false(tls_publish(w, span_str(a.cert), secret_of(b.key, strlen(b.key))));
    assert_string_equal(tls_publish_error(w), "the private key does not belong to the leaf certificate");
    tls_worker_free(w);
}

static void an_rsa_key_with_an_ec_certificate_is_refused(void **state)
{
    struct tls_worker *w = worker_empty();
    struct identity_pem a, b;
    (void)state;

    identity_make("P-256", "a", &a);
    identity_make("RSA-2048", "b", &b);
    assert_false(tls_publish(w, span_str(a.cert), secret_of(b.key, strlen(b.key))));
    assert_false(tls_ready(w));
    tls_worker_free(w);
}

static void a_chain_that_is_no_pem_is_refused(void **state)
{
    struct tls_worker *w = worker_empty();
    struct identity_pem a;
    (void)state;

    identity_make("P-256", "a", &a);
    assert_false(tls_publish(w, span_str("no certificate"), secret_of(a.key, strlen(a.key))));
    assert_string_equal(tls_publish_error(w), "the certificate chain is not PEM");
    tls_worker_free(w);
}

static void an_empty_chain_is_refused(void **state)
{
    struct tls_worker *w = worker_empty();
    struct identity_pem a;
    (void)state;

    identity_make("P-256", "a", &a);
    assert_false(tls_publish(w, span_of("", 0), secret_of(a.key, strlen(a.key))));
    assert_string_equal(tls_publish_error(w), "the certificate chain is empty");
    tls_worker_free(w);
}

static void a_broken_second_certificate_is_refused(void **state)
{
    struct tls_worker *w = worker_empty();
    struct identity_pem a;
    char chain[8192];
    (void)state;

    identity_make("P-256", "a", &a);
    snprintf(chain, sizeof chain, "%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", a.cert);
    assert_false(tls_publish(w, span_str(chain), secret_of(a.key, strlen(a.key))));
    assert_string_equal(tls_publish_error(w), "a certificate of the chain does not parse");
    tls_worker_free(w);
}

static void a_key_that_is_no_pem_is_refused(void **state)
{
    struct tls_worker *w = worker_empty();
    struct identity_pem a;
    (void)state;

    identity_make("P-256", "a", &a);
    assert_false(tls_publish(w, span_str(a.cert), secret_of("nothing", 7)));
    assert_string_equal(tls_publish_error(w), "the private key is not PEM, or is encrypted");
    tls_worker_free(w);
}

/* Asking a terminal for the passphrase would hang the housekeeping thread. */
static void an_encrypted_key_is_refused_without_asking(void **state)
{
    struct tls_worker *w = worker_empty();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    struct identity_pem a;
    char *pem;
    long len;
    (void)state;

    identity_make("P-256", "a", &a);
    PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_128_cbc(), "pass", 4, NULL, NULL);
    len = BIO_get_mem_data(bio, &pem);
    assert_false(tls_publish(w, span_str(a.cert), secret_of(pem, (size_t)len)));
    assert_string_equal(tls_publish_error(w), "the private key is not PEM, or is encrypted");
    BIO_free(bio);
    EVP_PKEY_free(key);
    tls_worker_free(w);
}

static void a_good_publication_after_a_refused_one_clears_its_cause(void **state)
{
    struct tls_worker *w = worker_empty();
    struct identity_pem id;
    (void)state;

    assert_false(tls_publish(w, span_str("x"), secret_of("y", 1)));
    assert_non_null(tls_publish_error(w));
    identity_make("P-256", "a", &id);
    assert_true(publish(w, &id));
    assert_null(tls_publish_error(w));
    tls_worker_free(w);
}

static void a_refused_publication_leaves_an_empty_error_queue(void **state)
{
    struct tls_worker *w = worker_empty();
    (void)state;

    assert_false(tls_publish(w, span_str("x"), secret_of("y", 1)));
    assert_int_equal(ERR_peek_error(), 0);
    tls_worker_free(w);
}

/* ---- reload ---- */

static void expect_cn(struct pair *p, const char *cn)
{
    X509 *cert = SSL_get1_peer_certificate(p->client);
    char name[64];

    assert_non_null(cert);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof name);
    assert_string_equal(name, cn);
    X509_free(cert);
}

static void a_new_connection_gets_the_new_certificate(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    struct identity_pem next;
    struct pair *p;
    (void)state;

    identity_make("RSA-2048", "second", &next);
    assert_true(publish(w, &next));
    p = connected(w, TLS1_3_VERSION);
    expect_cn(p, "second");
    pair_free(p);
    tls_worker_free(w);
}

static void a_live_connection_outlives_its_certificate(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    struct pair *p = connected(w, TLS1_3_VERSION);
    struct identity_pem next;
    uint8_t buf[8];
    size_t len;
    (void)state;

    identity_make("P-256", "second", &next);
    assert_true(publish(w, &next));
    tls_retire(w);
    client_send(p, "ok", 2);
    assert_int_equal(tls_read(p->server, buf, sizeof buf, &len), TLS_OK);
    assert_int_equal(tls_write(p->server, span_str("ok"), &len), TLS_OK);
    pair_free(p);
    tls_worker_free(w);
}

static void a_handshake_under_way_ends_with_the_certificate_it_began_with(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    SSL_CTX *c = client_ctx(TLS1_2_VERSION, TLS1_3_VERSION);
    struct pair *p = pair_new(w, c);
    struct identity_pem next;
    (void)state;

    (void)SSL_do_handshake(p->client);
    client_step(p, 50);
    assert_int_equal(server_step(p), TLS_WANT_READ);
    identity_make("P-256", "second", &next);
    assert_true(publish(w, &next));
    tls_retire(w);
    assert_int_equal(handshake(p), TLS_OK);
    expect_cn(p, "ekm.wirewrap.test");
    pair_free(p);
    SSL_CTX_free(c);
    tls_worker_free(w);
}

static void so_does_one_that_is_between_slices(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    SSL_CTX *c = client_ctx(TLS1_3_VERSION, TLS1_3_VERSION);
    struct pair *p = pair_new(w, c);
    struct identity_pem next;
    (void)state;

    (void)SSL_do_handshake(p->client);
    client_step(p, SIZE_MAX);
    assert_int_equal(tls_handshake(p->server), TLS_MORE);
    identity_make("P-256", "second", &next);
    assert_true(publish(w, &next));
    tls_retire(w);
    assert_int_equal(handshake(p), TLS_OK);
    expect_cn(p, "ekm.wirewrap.test");
    pair_free(p);
    SSL_CTX_free(c);
    tls_worker_free(w);
}

static void a_refused_certificate_leaves_the_old_one_in_use(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    struct identity_pem bad;
    struct pair *p;
    (void)state;

    identity_make("RSA-4096", "second", &bad);
    assert_false(publish(w, &bad));
    assert_true(tls_ready(w));
    p = connected(w, TLS1_3_VERSION);
    expect_cn(p, "ekm.wirewrap.test");
    pair_free(p);
    tls_worker_free(w);
}

static void the_whole_chain_is_sent(void **state)
{
    struct tls_worker *w = worker_empty();
    struct identity_pem leaf, other;
    char chain[8192];
    struct pair *p;
    (void)state;

    identity_make("P-256", "leaf", &leaf);
    identity_make("P-256", "intermediate", &other);
    snprintf(chain, sizeof chain, "%s%s", leaf.cert, other.cert);
    assert_true(tls_publish(w, span_str(chain), secret_of(leaf.key, strlen(leaf.key))));
    p = connected(w, TLS1_3_VERSION);
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(p->client)), 2);
    pair_free(p);
    tls_worker_free(w);
}

/* The same certificate, issued by ca. */
static void issue(struct identity_pem *leaf, const struct identity_pem *ca, X509 **ca_cert)
{
    BIO *cert_pem = BIO_new_mem_buf(leaf->cert, -1), *ca_pem = BIO_new_mem_buf(ca->cert, -1),
        *ca_key_pem = BIO_new_mem_buf(ca->key, -1), *out = BIO_new(BIO_s_mem());
    X509 *cert = PEM_read_bio_X509(cert_pem, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(ca_key_pem, NULL, NULL, NULL);

    *ca_cert = PEM_read_bio_X509(ca_pem, NULL, NULL, NULL);
    assert_true(X509_set_issuer_name(cert, X509_get_subject_name(*ca_cert)));
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    assert_true(PEM_write_bio_X509(out, cert));
    leaf->cert[BIO_read(out, leaf->cert, sizeof leaf->cert - 1)] = '\0';
    EVP_PKEY_free(key);
    X509_free(cert);
    BIO_free(out);
    BIO_free(ca_key_pem);
    BIO_free(ca_pem);
    BIO_free(cert_pem);
}

/* Where OpenSSL knows the issuer, too: looking for it would take part of every handshake. */
static void a_chain_is_never_built(void **state)
{
    struct tls_worker *w = worker_empty();
    SSL_CTX *client = client_ctx(TLS1_3_VERSION, TLS1_3_VERSION);
    struct identity_pem leaf, ca;
    X509 *ca_cert;
    (void)state;

    identity_make("P-256", "leaf", &leaf);
    identity_make("P-256", "ca", &ca);
    issue(&leaf, &ca, &ca_cert);
    assert_true(publish(w, &leaf));
    struct pair *p = pair_new(w, client);
    assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(SSL_get_SSL_CTX(p->server->ssl)), ca_cert),
                     1);
    assert_int_equal(handshake(p), TLS_OK);
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(p->client)), 1);
    pair_free(p);
    X509_free(ca_cert);
    SSL_CTX_free(client);
    tls_worker_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_that_published_may_outlive_the_worker),
        cmocka_unit_test(a_p256_key_is_served),
        cmocka_unit_test(a_p384_key_is_served),
        cmocka_unit_test(an_rsa_3072_key_is_served),
        cmocka_unit_test(an_rsa_4096_key_is_refused),
        cmocka_unit_test(an_rsa_1024_key_is_refused),
        cmocka_unit_test(a_p521_key_is_refused),
        cmocka_unit_test(an_ed25519_key_is_refused),
        cmocka_unit_test(a_key_of_another_certificate_is_refused),
        cmocka_unit_test(an_rsa_key_with_an_ec_certificate_is_refused),
        cmocka_unit_test(a_chain_that_is_no_pem_is_refused),
        cmocka_unit_test(an_empty_chain_is_refused),
        cmocka_unit_test(a_broken_second_certificate_is_refused),
        cmocka_unit_test(a_key_that_is_no_pem_is_refused),
        cmocka_unit_test(an_encrypted_key_is_refused_without_asking),
        cmocka_unit_test(a_good_publication_after_a_refused_one_clears_its_cause),
        cmocka_unit_test(a_refused_publication_leaves_an_empty_error_queue),
        cmocka_unit_test(a_new_connection_gets_the_new_certificate),
        cmocka_unit_test(a_live_connection_outlives_its_certificate),
        cmocka_unit_test(a_handshake_under_way_ends_with_the_certificate_it_began_with),
        cmocka_unit_test(so_does_one_that_is_between_slices),
        cmocka_unit_test(a_refused_certificate_leaves_the_old_one_in_use),
        cmocka_unit_test(the_whole_chain_is_sent),
        cmocka_unit_test(a_chain_is_never_built),
    };
    return RUN_TESTS("tls_identity", tests);
}
