/* The keys of session tickets (RFC 5077 4, RFC 8446 4.6.1): encrypt with AES-256-CBC, authenticate with
 * HMAC-SHA256, both derived for a period of time from one secret by HKDF (RFC 5869).
 *
 * Whoever holds the secret and the time holds the keys: workers and certificates share them and never speak of
 * it.  A ticket lives for less than a period, so the keys of two periods open every ticket that is alive; older
 * ones are overwritten, and with them the sessions that they protected. */
#include "base/secret.h"
#include "dataplane/tls/tls_priv.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>

#define PERIOD_US (6ull * 3600 * 1000000)
_Static_assert(TLS_TICKET_LIFE_S * 1000000ull < PERIOD_US, "two periods cover a ticket's life");

static bool derive(OSSL_LIB_CTX *lib, struct span secret, uint64_t period, struct tls_ticket_key *out)
{
    char digest[] = "SHA256";
    uint8_t info[24] = "wirewrap ticket ";
    EVP_KDF *kdf = EVP_KDF_fetch(lib, "HKDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    struct tls_ticket_key made;

    for (int i = 0; i < 8; i++)
        info[16 + i] = (uint8_t)(period >> (56 - 8 * i));
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret.ptr, secret.len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof info),
        OSSL_PARAM_construct_end(),
    };
    bool done = ctx != NULL && EVP_KDF_derive(ctx, (unsigned char *)&made, sizeof made, params) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    if (done)
        *out = made;
    secret_wipe(&made, sizeof made);
    return done;
}

/* false: the keys stay as they are. */
static bool enter_period(struct tls_worker *w, uint64_t period)
{
    struct tls_tickets *t = w->tickets;
    struct tls_ticket_key keys[2];
    struct span secret = span_of(t->secret, sizeof t->secret);
    bool done = derive(w->lib, secret, period, &keys[0]) &&
                derive(w->lib, secret, period == 0 ? 0 : period - 1, &keys[1]);

    if (done) {
        memcpy(t->keys, keys, sizeof keys);
        t->ends_at_us = (period + 1) * PERIOD_US;
    }
    secret_wipe(keys, sizeof keys);
    return done;
}

bool tls_tickets_new(struct tls_worker *w, const uint8_t *secret)
{
    struct tls_tickets *t = secret_pages_alloc(sizeof *t);

    if (t == NULL)
        return false;
    w->tickets = t;
    t->cipher = EVP_CIPHER_fetch(w->lib, "AES-256-CBC", NULL);
    if (t->cipher == NULL)
        return false;
    if (secret != NULL)
        memcpy(t->secret, secret, sizeof t->secret);
    else if (RAND_priv_bytes_ex(w->lib, t->secret, sizeof t->secret, 0) != 1)
        return false;
    return enter_period(w, 0);
}

void tls_tickets_free(struct tls_worker *w)
{
    if (w->tickets == NULL)
        return;
    EVP_CIPHER_free(w->tickets->cipher);
    secret_pages_free(w->tickets, sizeof *w->tickets);
}

void tls_tickets_turn(struct tls_worker *w, uint64_t now_us)
{
    if (now_us < w->tickets->ends_at_us)
        return;
    ERR_clear_error();
    /* What it needs is memory; without it the last keys serve, and the next turn tries again. */
    (void)enter_period(w, now_us / PERIOD_US);
    ERR_clear_error();
}

static bool mac_init(EVP_MAC_CTX *mac, struct tls_ticket_key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof key->mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* -1: give the handshake up. */
static int seal(struct tls_worker *w, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                EVP_MAC_CTX *mac)
{
    struct tls_ticket_key *key = &w->tickets->keys[0];

    if (RAND_bytes_ex(w->lib, iv, (size_t)EVP_CIPHER_get_iv_length(w->tickets->cipher), 0) != 1)
        return -1;
    memcpy(name, key->name, sizeof key->name);
    return EVP_EncryptInit_ex2(cipher, w->tickets->cipher, key->aes, iv, NULL) == 1 && mac_init(mac, key)
               ? 1
               : -1;
}

static struct tls_ticket_key *key_named(struct tls_tickets *t, const unsigned char *name)
{
    for (int i = 0; i < 2; i++) {
        if (memcmp(t->keys[i].name, name, sizeof t->keys[i].name) == 0)
            return &t->keys[i];
    }
    return NULL;
}

int tls_ticket_key_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int sealing)
{
    struct tls_worker *w = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct tls_tickets *t = w->tickets;

    if (sealing)
        return seal(w, name, iv, cipher, mac);
    struct tls_ticket_key *key = key_named(t, name);
    if (key == NULL)
        return 0; /* of another life of this server: a full handshake follows */
    if (EVP_DecryptInit_ex2(cipher, t->cipher, key->aes, iv, NULL) != 1 || !mac_init(mac, key))
        return -1;
    /* 2: and give it a new one.  RFC 8446 C.4: a ticket of TLS 1.3 should be used once. */
    return key == &t->keys[0] && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
}
