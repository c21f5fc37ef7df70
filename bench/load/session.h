/* One client connection: TLS (OpenSSL, verified against a CA) and one HTTP request at a time over a stream.
 *
 * The generator starts it, is told when it may ask, asks, and is told how it went.  Which of these happen is decided
 * here; when they happen is decided by the caller (load.c). */
#ifndef BENCH_LOAD_SESSION_H
#define BENCH_LOAD_SESSION_H

#include "bench/load/plan.h"
#include "bench/load/thin.h"
#include "bench/load/transport.h"

#include <openssl/ssl.h>

enum session_state {
    SESSION_DOWN,
    SESSION_SHAKING, /* connecting or shaking hands */
    SESSION_IDLE,    /* may ask */
    SESSION_WAITING, /* asked */
};

struct session;

/* What the sessions of a run share, and whom they tell. */
struct session_env {
    struct transport *transport;
    SSL_CTX *tls;
    struct thin_kind *thin; /* of sessions without OpenSSL */
    BIO_METHOD *bio;
    struct plan *plan;
    const char *host;
    uint64_t bytes_in, bytes_out;       /* below TLS */
    const char *first_error;            /* static text; NULL = none */
    void (*on_idle)(struct session *s); /* the handshake is complete */
    void (*on_reply)(struct session *s,
                     bool right); /* a whole reply; the session is idle again, or down when it was the last */
    void (*on_lost)(struct session *s, enum session_state was); /* it is down, and that was not asked for */
};

struct session {
    struct session_env *env;
    struct stream *stream;
    SSL *ssl;
    struct thin *thin; /* the caller's; instead of ssl where there is one (thin.h) */
    struct plan_request request;
    char *pending; /* what is still to be written; NULL = nothing */
    size_t pending_len;
    char *part; /* the beginning of a reply that came in pieces */
    size_t part_len;
    uint64_t intended_ns;          /* the caller's: when this request was meant to be sent, */
    uint64_t idle_ns;              /* since when the session is idle, */
    struct session *next;          /* lists, */
    bool background, queued, late; /* and marks */
    uint8_t state;                 /* enum session_state */
    bool last;                     /* the request in progress is the last one */
};

/* NULL with a line on stderr.  ca: PEM file; NULL = any certificate will do. */
SSL_CTX *session_tls_new(const char *ca, bool many);
BIO_METHOD *session_bio_new(void);

/* false: no stream could be had. */
bool session_start(struct session *s);
/* Asks; the session is idle.  false: it is down (on_lost is not called). */
bool session_ask(struct session *s, bool last);
/* Bytes, room or an end are there. */
void session_ready(void *session);
void session_stop(struct session *s, bool abort);

#endif
