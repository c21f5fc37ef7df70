/* A certificate chain and its key, as an SSL_CTX with every setting of ours.
 *
 * Which keys are served.  The signature runs on the core that serves everyone, so its time is everyone's
 * pause (measured with OpenSSL 3.0): P-256 0.02 ms, RSA-2048 0.24 ms, P-384 0.76 ms, RSA-3072 1.8 ms,
 * RSA-4096 4.0 ms. Up to 2 ms is served, with a warning above 0.5 ms; beyond that the key is refused.
 * Other kinds (Ed25519, P-521, DSA) are refused: not every client speaks them. */
#include "base/log.h"
#include "base/secret_priv.h"
#include "dataplane/tls/tls_priv.h"
#include "drivers/crypto/record_cipher.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>

#define RSA_BITS_MIN    2048
#define RSA_BITS_QUICK  2048
#define RSA_BITS_MAX    3072
#define CHAIN_CERTS_MAX 8
#define CIPHERS_TLS12                                                                                        \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                             \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                             \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_TLS13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

/* ---- key and chain ---- */

/* An encrypted key has no passphrase here; without this OpenSSL would ask the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

static BIO *bio_over(struct span pem)
{
    if (pem.len == 0 || pem.len > INT_MAX)
        return NULL;
    return BIO_new_mem_buf(pem.ptr, (int)pem.len);
}

static const char *key_rsa_check(EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);

    if (bits < RSA_BITS_MIN)
        return "the RSA key has fewer than 2048 bits";
    if (bits > RSA_BITS_MAX)
        return "the RSA key has more than 3072 bits: each signature would stall every connection; use P-256";
    if (bits > RSA_BITS_QUICK)
        log_warn("certificate key is slow: 1.8 ms per handshake on the serving core", F("rsa_bits", bits));
    return NULL;
}

static const char *key_ec_check(EVP_PKEY *key)
{
    char group[32];
    size_t len;

    if (EVP_PKEY_get_group_name(key, group, sizeof group, &len) != 1)
        return "the EC key names no curve";
    if (strcmp(group, SN_X9_62_prime256v1) == 0)
        return NULL;
    if (strcmp(group, SN_secp384r1) != 0)
        return "the EC key is on a curve other than P-256 and P-384";
    log_warn("certificate key is slow: 0.8 ms per handshake on the serving core", F("curve", "P-384"));
    return NULL;
}

static const char *key_check(EVP_PKEY *key)
{
    if (EVP_PKEY_is_a(key, "RSA"))
        return key_rsa_check(key);
    if (EVP_PKEY_is_a(key, "EC"))
        return key_ec_check(key);
    return "the private key is neither RSA nor EC";
}

static EVP_PKEY *key_load(OSSL_LIB_CTX *lib, struct secret_span pem, const char **why)
{
    BIO *bio = bio_over(secret_expose(pem));
    EVP_PKEY *key = NULL;

    if (bio != NULL)
        key = PEM_read_bio_PrivateKey_ex(bio, NULL, no_passphrase, NULL, lib, NULL);
    BIO_free(bio);
    *why = key == NULL ? "the private key is not PEM, or is encrypted" : key_check(key);
    if (*why != NULL) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

static X509 *cert_next(OSSL_LIB_CTX *lib, BIO *bio)
{
    X509 *cert = X509_new_ex(lib, NULL);

    if (cert != NULL && PEM_read_bio_X509(bio, &cert, no_passphrase, NULL) == NULL) {
        X509_free(cert);
        return NULL;
    }
    return cert;
}

/* The end of a PEM text is an error too, of this one kind; any other means that a certificate is broken. */
static bool pem_ended(void)
{
    return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

static const char *chain_load(SSL_CTX *ctx, OSSL_LIB_CTX *lib, BIO *bio)
{
    X509 *cert = cert_next(lib, bio);
    int count = 0;
    bool taken;

    if (cert == NULL)
        return "the certificate chain is not PEM";
    taken = SSL_CTX_use_certificate(ctx, cert) == 1;
    X509_free(cert);
    if (!taken)
        return "the leaf certificate cannot be used: its key or signature is too weak";
    while ((cert = cert_next(lib, bio)) != NULL) {
        if (++count >= CHAIN_CERTS_MAX || SSL_CTX_add0_chain_cert(ctx, cert) != 1) {
            X509_free(cert);
            return "the certificate chain has a weak certificate or too many";
        }
    }
    return pem_ended() ? NULL : "a certificate of the chain does not parse";
}

/* ---- settings ---- */

/* RFC 7301 3.2: no protocol in common is a fatal no_application_protocol.  h2 is not spoken; a client that is
 * told to speak HTTP/1.0 may offer nothing else. */
static int alpn_select(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                       unsigned int in_len, void *arg)
{
    static const unsigned char spoken[] = "\x08http/1.1\x08http/1.0";
    unsigned char *chosen;
    (void)ssl, (void)arg;

    if (SSL_select_next_proto(&chosen, out_len, spoken, sizeof spoken - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool settings_apply(SSL_CTX *ctx, struct tls_worker *w)
{
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* What comes in may be a data key: no copy of it may stay. */
    if (!tls_memory_is_ours())
        SSL_CTX_set_options(ctx, SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_alpn_select_cb(ctx, alpn_select, NULL);
    SSL_CTX_set_app_data(ctx, w);
    SSL_CTX_set_timeout(ctx, TLS_TICKET_LIFE_S);
    if (SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, tls_ticket_key_cb) != 1)
        return false;
    /* Early data can be replayed, and neither an audit record nor a quota is idempotent. */
    return SSL_CTX_set_max_early_data(ctx, 0) == 1 && SSL_CTX_set_recv_max_early_data(ctx, 0) == 1 &&
           SSL_CTX_set_num_tickets(ctx, 1) == 1 && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, CIPHERS_TLS13) == 1 &&
           SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1 &&
           SSL_CTX_set_max_send_fragment(ctx, TLS_RECORD_PLAINTEXT_MAX) == 1;
}

static const char *identity_load(SSL_CTX *ctx, OSSL_LIB_CTX *lib, struct span chain_pem, EVP_PKEY *key)
{
    BIO *bio = bio_over(chain_pem);
    const char *why;

    if (bio == NULL)
        return "the certificate chain is empty";
    why = chain_load(ctx, lib, bio);
    BIO_free(bio);
    if (why != NULL)
        return why;
    if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        return "the private key does not belong to the leaf certificate";
    return NULL;
}

struct tls_identity *tls_identity_new(struct tls_worker *w, struct span chain_pem, struct secret_span key_pem,
                                      const char **why)
{
    struct tls_identity *id = calloc(1, sizeof *id);
    EVP_PKEY *key = key_load(w->lib, key_pem, why);

    if (id == NULL || key == NULL)
        goto refused;
    *why = "OpenSSL refused a setting";
    /* There is one preference, and an engine's (tls_engine_use) goes first. */
    id->ctx = SSL_CTX_new_ex(w->lib, w->engine == NULL ? RECORD_CIPHER_WANTED : NULL, TLS_server_method());
    if (id->ctx == NULL || !settings_apply(id->ctx, w))
        goto refused;
    *why = identity_load(id->ctx, w->lib, chain_pem, key);
    if (*why != NULL)
        goto refused;
    EVP_PKEY_free(key);
    return id;
refused:
    if (*why == NULL)
        *why = "out of memory";
    EVP_PKEY_free(key);
    tls_identity_free(id);
    return NULL;
}

void tls_identity_free(struct tls_identity *id)
{
    if (id == NULL)
        return;
    SSL_CTX_free(id->ctx);
    free(id);
}
