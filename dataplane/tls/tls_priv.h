/* What the files of this room share. */
#ifndef DATAPLANE_TLS_PRIV_H
#define DATAPLANE_TLS_PRIV_H

#include "dataplane/tls/tls.h"

#include <stdatomic.h>

#include <openssl/bio.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>

/* Bytes that a client may send before its handshake is complete: two ClientHellos of 16 KB (the second after
 * a HelloRetryRequest).  What follows them is small. */
#define TLS_HANDSHAKE_BYTES_MAX (32 * 1024)
/* KeyUpdate messages between two pieces of application data. Each costs key derivations, and an honest peer
 * sends one per many gigabytes. */
#define TLS_KEY_UPDATES_MAX 16
/* Plaintext bytes per record we send: a reader can use each record when it has come, and need not wait for
 * 16 KB. */
#define TLS_RECORD_PLAINTEXT_MAX 4096

/* Handshakes of a worker that are suspended at once, nearly all for the crypto engine; each has a stack of 32 KB.  What comes on top of
 * them waits, too. */
#define TLS_JOBS_MAX 256
/* Abandoned ones that are looked after in one turn. */
#define TLS_ABANDONED_PER_TURN 16

/* One certificate with everything that connections need of it. Immutable once published; connections hold a
 * reference on ctx of their own. */
struct tls_identity {
    SSL_CTX *ctx;
    struct tls_identity *retired_next; /* housekeeper only */
};

struct tls_ticket_key {
    uint8_t name[16], aes[32], mac[32];
};

/* The worker's alone, in secret pages. */
struct tls_tickets {
    uint8_t secret[TLS_TICKET_SECRET_LEN];
    struct tls_ticket_key keys[2]; /* of this period and of the one before */
    uint64_t ends_at_us;           /* this period */
    EVP_CIPHER *cipher;
};

struct tls_worker {
    OSSL_LIB_CTX *lib;
    OSSL_PROVIDER *record_cipher; /* AES-GCM; all else is the next one's */
    OSSL_PROVIDER *provider;
    OSSL_PROVIDER *test_rand; /* NULL in production */
    BIO_METHOD *bio_method;
    struct tls_tickets *tickets;
    struct counters *counters; /* written by the worker's thread only */
    uint32_t conns;            /* likewise */
    struct tls_engine *engine; /* NULL: OpenSSL's own code */
    bool has_jobs;
    uint32_t jobs; /* of connections, abandoned ones included, whose last step ended in TLS_WAIT */
    struct tls_conn *abandoned, **abandoned_end;
    _Atomic(struct tls_identity *) current;
    /* housekeeper only */
    struct tls_identity *retired;
    const char *publish_error;
};

struct tls_conn {
    SSL *ssl;
    struct tls_worker *worker;
    const struct tls_io *io;
    void *io_arg;
    uint32_t handshake_bytes;
    uint16_t key_updates;
    uint16_t record_left; /* of the record that comes in; 0: its header comes */
    uint8_t head[SSL3_RT_HEADER_LENGTH], head_len;
    bool established;
    bool starved;        /* the last read ended for want of input: nothing whole is buffered */
    bool failed;         /* sticky */
    bool between_slices; /* its job is suspended there */
    bool waits;          /* the last step ended in TLS_WAIT, for the engine or for one of TLS_JOBS_MAX */
    struct tls_conn *abandoned_next;
};

/* NULL with *why set to a static text. */
struct tls_identity *MUST_USE tls_identity_new(struct tls_worker *w, struct span chain_pem,
                                               struct secret_span key_pem, const char **why);
void tls_identity_free(struct tls_identity *id);

/* memory.c: OpenSSL's record buffers are kept and wiped there; false: OpenSSL would not have it so, and must wipe itself. */
bool tls_memory_is_ours(void);
/* The last byte that this thread has put into one of them is in front of end. */
void tls_memory_received(const uint8_t *end);

BIO_METHOD *MUST_USE tls_bio_method_new(void);
void tls_conn_destroy(struct tls_conn *c);

/* engine.c: w may be without one; after w's identities are gone. */
void tls_engine_free(struct tls_worker *w);

/* jobs.c.  tls_jobs_begin on the thread that w's handshakes will be stepped on, and tls_jobs_end, too: it waits, a while, for what the
 * engine still does, and comes before w's identities go.  w may be without what tls_jobs_begin gives. */
bool MUST_USE tls_jobs_begin(struct tls_worker *w);
void tls_jobs_end(struct tls_worker *w);
/* For SSL_set_info_callback. */
void tls_job_slice(const SSL *ssl, int where, int ret);
/* A step ended with what, SSL_ERROR_WANT_ASYNC (the engine's) or SSL_ERROR_WANT_ASYNC_JOB; or with anything else. */
void tls_job_note(struct tls_conn *c, int what);
void tls_job_done(struct tls_conn *c);
/* Connections that were freed while their job was suspended: OpenSSL cannot take a job back, so they end when it does.  Each turn: one
 * slice of them at most, and whether it was made. */
void tls_job_abandon(struct tls_conn *c);
bool tls_jobs_turn(struct tls_worker *w);

/* false: OpenSSL or the kernel refuses; tls_tickets_free is called all the same. */
bool MUST_USE tls_tickets_new(struct tls_worker *w, const uint8_t *secret);
void tls_tickets_free(struct tls_worker *w);
void tls_tickets_turn(struct tls_worker *w, uint64_t now_us);
/* For SSL_CTX_set_tlsext_ticket_key_evp_cb; the SSL_CTX's app data is the worker. */
int tls_ticket_key_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int sealing);

/* The counted reason for the first error of the TLS layer in OpenSSL's queue; the caller empties the queue. */
enum reason tls_failure_reason(void);

/* Makes lib's random generators repeatable. Test builds only. */
OSSL_PROVIDER *MUST_USE tls_test_rand_install(OSSL_LIB_CTX *lib, const uint8_t seed[32]);

#endif
