#include "bench/load/thin.h"

#include "bench/load/session.h"
#include "tests/unit/test.h"

#include <openssl/x509.h>
#include <string.h>

#define HOST    "host.test"
#define REQUEST "GET / HTTP/1.1\r\n\r\n"
#define REPLY   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

/* OpenSSL's server: what it is sent lies in rx, what it says in tx. */
static SSL_CTX *server_tls, *client_tls;
static SSL *server;
static BIO *rx, *tx;
static struct thin_kind kind;
static struct thin thin;
static char reply[1024];

static int group_begin(void **state)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    (void)state;

    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    server_tls = SSL_CTX_new(TLS_server_method());
    assert_true(SSL_CTX_use_certificate(server_tls, x) == 1 && SSL_CTX_use_PrivateKey(server_tls, key) == 1);
    X509_free(x);
    EVP_PKEY_free(key);
    client_tls = session_tls_new(NULL, false);
    return client_tls != NULL && thin_kind_new(&kind, client_tls, HOST) ? 0 : -1;
}

static int group_end(void **state)
{
    (void)state;
    thin_kind_free(&kind);
    SSL_CTX_free(client_tls);
    SSL_CTX_free(server_tls);
    return 0;
}

static int each_begin(void **state)
{
    (void)state;
    server = SSL_new(server_tls);
    rx = BIO_new(BIO_s_mem());
    tx = BIO_new(BIO_s_mem());
    SSL_set_bio(server, rx, tx);
    SSL_set_accept_state(server);
    thin_begin(&thin, &kind);
    return 0;
}

static int each_end(void **state)
{
    (void)state;
    SSL_free(server);
    return 0;
}

static void again(void)
{
    (void)each_end(NULL);
    (void)each_begin(NULL);
}

/* What the client has to say reaches the server, which does what it can. */
static void client_says(void)
{
    assert_int_equal(BIO_write(rx, thin.out, (int)thin.out_len), thin.out_len);
    thin.out_len = 0;
    (void)SSL_do_handshake(server);
}

static size_t server_says(uint8_t *out, size_t cap)
{
    int n = BIO_read(tx, out, (int)cap);

    return n > 0 ? (size_t)n : 0;
}

/* As it arrives: each part at once, looked at before the next. */
static size_t hear(const uint8_t *data, size_t len, size_t each)
{
    size_t got = 0;

    for (size_t at = 0; at < len && thin.state <= THIN_OPEN; at += each) {
        size_t part = len - at < each ? len - at : each;
        assert_true(part <= sizeof thin.in - thin.in_len);
        memcpy(thin.in + thin.in_len, data + at, part);
        thin.in_len += part;
        got += thin_take(&thin, reply + got, sizeof reply - got);
    }
    return got;
}

static void shake(size_t each)
{
    uint8_t flight[THIN_IN_MAX];

    client_says();
    (void)hear(flight, server_says(flight, sizeof flight), each);
    assert_int_equal(thin.state, THIN_OPEN);
}

static void the_server_makes_a_full_handshake_and_is_asked(void **state)
{
    char request[64];
    uint8_t said[THIN_IN_MAX];
    size_t len = 0;
    (void)state;

    shake(THIN_IN_MAX);
    assert_true(thin_ask(&thin, REQUEST, strlen(REQUEST)));
    client_says();
    assert_int_equal(SSL_is_init_finished(server), 1);
    assert_int_equal(SSL_session_reused(server), 0);
    assert_int_equal(SSL_version(server), TLS1_3_VERSION);
    assert_string_equal(SSL_get_cipher(server), "TLS_AES_256_GCM_SHA384");
    assert_string_equal(SSL_get_servername(server, TLSEXT_NAMETYPE_host_name), HOST);
    assert_int_equal(SSL_read_ex(server, request, sizeof request, &len), 1);
    assert_int_equal(len, strlen(REQUEST));
    assert_memory_equal(request, REQUEST, len);
    /* Its tickets come before the reply, and are passed over. */
    assert_int_equal(SSL_write(server, REPLY, sizeof REPLY - 1), sizeof REPLY - 1);
    assert_int_equal(hear(said, server_says(said, sizeof said), sizeof said), sizeof REPLY - 1);
    assert_memory_equal(reply, REPLY, sizeof REPLY - 1);
}

static void both_say_goodbye(void **state)
{
    uint8_t said[THIN_IN_MAX];
    (void)state;

    shake(THIN_IN_MAX);
    assert_true(thin_bye(&thin));
    client_says();
    assert_int_equal(SSL_read(server, reply, sizeof reply), 0);
    assert_int_equal(SSL_get_error(server, 0), SSL_ERROR_ZERO_RETURN);
    (void)SSL_shutdown(server);
    (void)hear(said, server_says(said, sizeof said), sizeof said);
    assert_int_equal(thin.state, THIN_ENDED);
}

static void what_comes_in_single_bytes_is_put_together(void **state)
{
    (void)state;
    shake(1);
}

static void no_two_hellos_are_alike(void **state)
{
    static struct thin other;
    (void)state;

    thin_begin(&other, &kind);
    assert_int_equal(other.out_len, thin.out_len);
    assert_memory_not_equal(other.out, thin.out, thin.out_len);
}

/* Whatever byte of the server's is another one: nothing is opened with it, nothing is read or written out of bounds. */
static void a_changed_byte_opens_nothing(void **state)
{
    static const uint8_t changes[] = {0x01, 0x80, 0xff};
    uint8_t flight[THIN_IN_MAX];
    size_t len = 1;
    (void)state;

    for (size_t at = 0; at < len; at++) {
        client_says();
        len = server_says(flight, sizeof flight);
        assert_true(len > 500);
        if (at >= len) /* signatures are of 70 to 72 bytes */
            break;
        flight[at] ^= changes[at % sizeof changes];
        (void)hear(flight, len, sizeof flight);
        if (thin.state == THIN_OPEN)
            fail_msg("byte %zu of %zu changed, and it went on", at, len);
        again();
    }
}

static void a_record_that_is_too_long_is_refused(void **state)
{
    static const uint8_t head[] = {22, 3, 3, 0x20, 0};
    (void)state;

    (void)hear(head, sizeof head, sizeof head);
    assert_int_equal(thin.state, THIN_BROKEN);
}

static void a_server_that_refuses_ends_it(void **state)
{
    uint8_t said[THIN_IN_MAX];
    (void)state;

    assert_int_equal(SSL_set1_groups_list(server, "P-256"), 1);
    client_says();
    (void)hear(said, server_says(said, sizeof said), sizeof said);
    assert_int_equal(thin.state, THIN_BROKEN);
}

static void a_reply_that_has_no_room_breaks_it(void **state)
{
    uint8_t said[THIN_IN_MAX];
    char small[8];
    size_t len;
    (void)state;

    shake(THIN_IN_MAX);
    client_says();
    assert_int_equal(SSL_write(server, REPLY, sizeof REPLY - 1), sizeof REPLY - 1);
    len = server_says(said, sizeof said);
    memcpy(thin.in, said, len);
    thin.in_len = len;
    assert_int_equal(thin_take(&thin, small, sizeof small), 0);
    assert_int_equal(thin.state, THIN_BROKEN);
}

static void a_request_that_has_no_room_is_refused(void **state)
{
    static char request[THIN_OUT_MAX];
    (void)state;

    shake(THIN_IN_MAX);
    assert_false(thin_ask(&thin, request, sizeof request));
    assert_true(thin_ask(&thin, request, 2000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_server_makes_a_full_handshake_and_is_asked, each_begin, each_end),
        cmocka_unit_test_setup_teardown(both_say_goodbye, each_begin, each_end),
        cmocka_unit_test_setup_teardown(what_comes_in_single_bytes_is_put_together, each_begin, each_end),
        cmocka_unit_test_setup_teardown(no_two_hellos_are_alike, each_begin, each_end),
        cmocka_unit_test_setup_teardown(a_changed_byte_opens_nothing, each_begin, each_end),
        cmocka_unit_test_setup_teardown(a_record_that_is_too_long_is_refused, each_begin, each_end),
        cmocka_unit_test_setup_teardown(a_server_that_refuses_ends_it, each_begin, each_end),
        cmocka_unit_test_setup_teardown(a_reply_that_has_no_room_breaks_it, each_begin, each_end),
        cmocka_unit_test_setup_teardown(a_request_that_has_no_room_is_refused, each_begin, each_end),
    };

    return cmocka_run_group_tests_name("bench_thin", tests, group_begin, group_end);
}
