#include "bench/load/session.h"
#include "tests/unit/test.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST  "host.test"
#define REPLY "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"

/* A server without a network: what the session sends lies in rx, what the server sends in tx. */
struct stream {
    SSL *ssl;
    BIO *rx, *tx;
    bool gone;
};

static struct stream the_stream;
static SSL_CTX *server_tls;
static unsigned int replies, losses;
static bool asks_when_idle;
static char ca_path[] = "/tmp/ww-session-test-XXXXXX";

/* ---- a transport ---- */

static struct stream *fake_open(struct transport *t, void *user)
{
    struct stream *s = &the_stream;
    (void)t, (void)user;

    *s = (struct stream){.ssl = SSL_new(server_tls), .rx = BIO_new(BIO_s_mem()), .tx = BIO_new(BIO_s_mem())};
    SSL_set_bio(s->ssl, s->rx, s->tx);
    SSL_set_accept_state(s->ssl);
    return s;
}

static long fake_recv(struct stream *s, void *out, size_t cap)
{
    int n = BIO_read(s->tx, out, (int)cap);

    return n > 0 ? n : s->gone ? 0 : STREAM_AGAIN;
}

static long fake_send(struct stream *s, const void *data, size_t len)
{
    return BIO_write(s->rx, data, (int)len);
}

static void fake_close(struct stream *s, bool abort)
{
    (void)abort;
    SSL_free(s->ssl);
    s->ssl = NULL;
}

static const struct transport_ops fake_ops = {
    .open = fake_open, .recv = fake_recv, .send = fake_send, .close = fake_close};
static struct transport fake = {.ops = &fake_ops};

/* ---- certificates ---- */

static X509 *certificate(EVP_PKEY *key, long serial)
{
    X509 *x = X509_new();
    X509_EXTENSION *names =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, (char *)(uintptr_t) "DNS:" HOST);

    assert_non_null(names);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)HOST, -1,
                               -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    X509_add_ext(x, names, -1);
    X509_EXTENSION_free(names);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    return x;
}

static SSL_CTX *server_new(long serial, const char *trusted_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = certificate(key, serial);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    assert_true(SSL_CTX_use_certificate(ctx, x) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1);
    if (trusted_path != NULL) {
        FILE *f = fopen(trusted_path, "w");
        assert_true(f != NULL && PEM_write_X509(f, x) == 1);
        fclose(f);
    }
    X509_free(x);
    EVP_PKEY_free(key);
    return ctx;
}

/* ---- sessions ---- */

static char *tokens[] = {(char *)"aaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbb.cccccccccccccccccccccccccccc"};
static struct session_env env;
static struct thin_kind thin_kind;
static SSL_CTX *servers[2];

static void on_idle(struct session *s)
{
    if (asks_when_idle)
        assert_true(session_ask(s, true));
}

static void on_reply(struct session *s, bool right)
{
    (void)s;
    replies += right;
}

static void on_lost(struct session *s, enum session_state was)
{
    (void)s, (void)was;
    losses++;
}

static int group_begin(void **state)
{
    struct plan_config plan = {.host = HOST,
                               .key = "v0/k",
                               .key_count = 1,
                               .tokens = tokens,
                               .token_count = 1,
                               .plaintext_len = 32,
                               .static_reply = true,
                               .seed = 1};
    (void)state;

    close(mkstemp(ca_path));
    servers[0] = server_new(1, ca_path);
    servers[1] = server_new(2, NULL);
    env = (struct session_env){.transport = &fake,
                               .tls = session_tls_new(ca_path, false),
                               .bio = session_bio_new(),
                               .plan = plan_new(&plan),
                               .host = HOST,
                               .on_idle = on_idle,
                               .on_reply = on_reply,
                               .on_lost = on_lost};
    env.thin = &thin_kind;
    return env.tls == NULL || env.plan == NULL || !thin_kind_new(&thin_kind, env.tls, HOST) ? -1 : 0;
}

static int group_end(void **state)
{
    (void)state;
    thin_kind_free(&thin_kind);
    SSL_CTX_free(servers[0]);
    SSL_CTX_free(servers[1]);
    SSL_CTX_free(env.tls);
    BIO_meth_free(env.bio);
    plan_free(env.plan);
    unlink(ca_path);
    return 0;
}

static int each_begin(void **state)
{
    (void)state;
    server_tls = servers[0];
    replies = losses = 0;
    asks_when_idle = false;
    return 0;
}

/* Reads the request; true when it was one that ends its connection, and answered. */
static bool server_step(void)
{
    char in[PLAN_REQUEST_MAX + 1];
    size_t len = 0;

    if (the_stream.ssl == NULL || SSL_read_ex(the_stream.ssl, in, sizeof in - 1, &len) != 1)
        return false;
    in[len] = '\0';
    assert_non_null(strstr(in, "Connection: close"));
    assert_int_equal(SSL_write(the_stream.ssl, REPLY, sizeof REPLY - 1), sizeof REPLY - 1);
    return true;
}

static void a_thin_handshake_ends_with_its_request_and_then_its_reply(void **state)
{
    static struct thin thin;
    struct session s = {.env = &env, .thin = &thin};
    (void)state;

    asks_when_idle = true;
    assert_true(session_start(&s));
    for (int i = 0; i < 4 && s.state != SESSION_DOWN; i++) {
        session_ready(&s);
        (void)server_step();
    }
    assert_int_equal(replies, 1);
    assert_int_equal(s.state, SESSION_DOWN);
    assert_int_equal(losses, 0);
}

static void a_thin_handshake_that_is_cut_is_lost(void **state)
{
    static struct thin thin;
    struct session s = {.env = &env, .thin = &thin};
    (void)state;

    assert_true(session_start(&s));
    session_ready(&s);
    the_stream.gone = true;
    session_ready(&s);
    assert_int_equal(losses, 1);
    assert_int_equal(s.state, SESSION_DOWN);
}

static bool shaken_with(SSL_CTX *server)
{
    struct session s = {.env = &env};

    server_tls = server;
    assert_true(session_start(&s));
    for (int i = 0; i < 4 && s.state == SESSION_SHAKING; i++) {
        session_ready(&s);
        (void)server_step();
    }
    bool is = s.state == SESSION_IDLE;
    session_stop(&s, true);
    return is;
}

static void another_certificate_is_refused_though_one_was_found_good(void **state)
{
    (void)state;
    assert_true(shaken_with(servers[0]));
    assert_true(shaken_with(servers[0]));
    assert_false(shaken_with(servers[1]));
    assert_true(shaken_with(servers[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_thin_handshake_ends_with_its_request_and_then_its_reply, each_begin),
        cmocka_unit_test_setup(a_thin_handshake_that_is_cut_is_lost, each_begin),
        cmocka_unit_test_setup(another_certificate_is_refused_though_one_was_found_good, each_begin),
    };

    return cmocka_run_group_tests_name("bench_session", tests, group_begin, group_end);
}
