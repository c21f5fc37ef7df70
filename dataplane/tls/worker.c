#include "base/log.h"
#include "dataplane/tls/tls_priv.h"
#include "drivers/crypto/record_cipher.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>

static bool providers_load(struct tls_worker *w, const uint8_t *seed_for_tests)
{
    w->record_cipher = record_cipher_load(w->lib, &w->provider);
    if (w->record_cipher == NULL)
        return false;
    if (seed_for_tests == NULL)
        return true;
#ifdef WW_TEST_HOOKS
    w->test_rand = tls_test_rand_install(w->lib, seed_for_tests);
#endif
    return w->test_rand != NULL;
}

struct tls_worker *tls_worker_new(struct counters *counters, const uint8_t *ticket_secret,
                                  const uint8_t *seed_for_tests)
{
    struct tls_worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    /* openssl.cnf of the host has no say in what this server offers. */
    OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    ERR_clear_error();
    w->counters = counters;
    w->lib = OSSL_LIB_CTX_new();
    w->bio_method = tls_bio_method_new();
    if (w->lib == NULL || w->bio_method == NULL || !providers_load(w, seed_for_tests) ||
        !tls_tickets_new(w, ticket_secret) || !tls_jobs_begin(w)) {
        tls_worker_free(w);
        w = NULL;
    }
    ERR_clear_error();
    return w;
}

void tls_worker_free(struct tls_worker *w)
{
    if (w == NULL)
        return;
    tls_retire(w);
    tls_jobs_end(w);
    tls_identity_free(atomic_load_explicit(&w->current, memory_order_relaxed));
    tls_tickets_free(w);
    tls_engine_free(w);
    BIO_meth_free(w->bio_method);
    if (w->test_rand != NULL)
        OSSL_PROVIDER_unload(w->test_rand);
    if (w->record_cipher != NULL)
        OSSL_PROVIDER_unload(w->record_cipher);
    if (w->provider != NULL)
        OSSL_PROVIDER_unload(w->provider);
    OSSL_LIB_CTX_free(w->lib);
    free(w);
}

bool tls_turn(struct tls_worker *w, uint64_t now_us)
{
    tls_tickets_turn(w, now_us);
    return w->abandoned != NULL && tls_jobs_turn(w);
}

void tls_thread_end(struct tls_worker *w)
{
    OPENSSL_thread_stop_ex(w->lib);
}

bool tls_publish(struct tls_worker *w, struct span chain_pem, struct secret_span key_pem)
{
    struct tls_identity *next, *old;

    ERR_clear_error();
    next = tls_identity_new(w, chain_pem, key_pem, &w->publish_error);
    ERR_clear_error();
    if (next == NULL) {
        log_error("certificate refused", F("why", w->publish_error));
        return false;
    }
    w->publish_error = NULL;
    old = atomic_exchange_explicit(&w->current, next, memory_order_acq_rel);
    if (old != NULL) {
        old->retired_next = w->retired;
        w->retired = old;
    }
    return true;
}

const char *tls_publish_error(const struct tls_worker *w)
{
    return w->publish_error;
}

void tls_retire(struct tls_worker *w)
{
    while (w->retired != NULL) {
        struct tls_identity *id = w->retired;
        w->retired = id->retired_next;
        tls_identity_free(id);
    }
}

bool tls_ready(const struct tls_worker *w)
{
    return atomic_load_explicit(&w->current, memory_order_acquire) != NULL;
}
