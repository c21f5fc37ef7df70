/* TLS 1.2 and 1.3, server side: OpenSSL 3.0 behind one door.  Bytes in, bytes out, a status.  No sockets, no
 * clock.
 *
 * One struct tls_worker per worker: its own OSSL_LIB_CTX, so that no lock of OpenSSL is shared between cores.
 * Each certificate is one SSL_CTX per worker (struct tls_identity), built on the housekeeping thread and
 * published; connections keep the one they began with, so a reload drops nobody.
 *
 * The bytes of a connection are reached through struct tls_io (a custom BIO over it): tls never learns what
 * carries them. Error-queue discipline (bug B32): every call begins with an empty OpenSSL error queue, and one that fails
 * leaves an empty one.
 *
 * Sources: RFC 8446, 5246, 8422; dataplane settings in docs/ARCHITECTURE.md. */
#ifndef DATAPLANE_TLS_H
#define DATAPLANE_TLS_H

#include "base/counters.h"
#include "base/span.h"

/* How tls reaches the connection's bytes. */
struct tls_io {
    struct span (*peek)(void *arg); /* received bytes that lie in one piece */
    void (*consume)(void *arg, size_t len);
    size_t (*send)(void *arg, struct span data); /* how many were taken */
};

enum tls_status {
    TLS_OK,
    TLS_WANT_READ,  /* more received bytes are needed */
    TLS_WANT_WRITE, /* the send side is full */
    TLS_CLOSED,     /* the peer sent close_notify */
    TLS_MORE,       /* a part of the handshake is done: call again when others had their turn */
    TLS_WAIT,   /* the crypto engine works on a private-key operation of the handshake: call again later */
    TLS_FAILED, /* the connection is dead; an alert was queued where one is due; the first cause was counted
                 */
};

struct tls_worker;
struct tls_conn;

#define TLS_TICKET_SECRET_LEN 32
#define TLS_TICKET_LIFE_S     7200

/* On the thread that its connections will be stepped on, and that will free it.  NULL when OpenSSL refuses.  counters: the worker's;
 * tls_publish and tls_retire never touch them.  ticket_secret: TLS_TICKET_SECRET_LEN bytes, copied; workers that have it in common resume
 * each other's sessions, whatever certificate these began with.  NULL: this worker's own.  seed_for_tests: NULL in production; else 32
 * bytes that make OpenSSL's RAND of this worker repeatable (test builds only; others return NULL). */
struct tls_worker *MUST_USE tls_worker_new(struct counters *counters, const uint8_t *ticket_secret,
                                           const uint8_t *seed_for_tests);
void tls_worker_free(struct tls_worker *w);

/* crypto.engine: an OpenSSL provider, or else an engine, that handshakes of w use for private-key operations from now on; they may
 * return TLS_WAIT then.  Before the first tls_publish.  name: as
 * proto/config takes it.  false with a line in the log.  tls_engine_check says beforehand whether it would be so: false with what was
 * looked for, where, and what to do in why. */
bool MUST_USE tls_engine_use(struct tls_worker *w, const char *name);
bool MUST_USE tls_engine_check(const char *name, char *why, size_t cap);
/* How many handshakes wait for it, those included whose connection is freed already. */
uint32_t tls_jobs_waiting(const struct tls_worker *w);

/* Once per turn: takes the next ticket keys when their time has come (every six hours), and goes on with handshakes that were suspended
 * when their connection ended.  True: it made a slice of one, and the turn should have no other.  now_us: the clock that all workers
 * share. */
bool tls_turn(struct tls_worker *w, uint64_t now_us);

/* Housekeeping thread: builds and publishes the identity that new connections of w will use.  false when
 * chain or key do not parse, do not match, or the key is one we do not serve (identity.c: RSA of 2048..3072
 * bits, P-256, P-384): the one in use stays, tls_publish_error is a static text saying why, and a log line
 * was written.  key_pem is read once and not kept. tls_retire frees identities that no connection can pick up
 * any more; call it after a grace period (keys_settled) that began after the last tls_publish.  Connections
 * that use one keep it alive. */
bool MUST_USE tls_publish(struct tls_worker *w, struct span chain_pem, struct secret_span key_pem);
const char *tls_publish_error(const struct tls_worker *w);
void tls_retire(struct tls_worker *w);
bool tls_ready(const struct tls_worker *w); /* an identity has been published */
/* A thread other than the worker's that has published or retired calls this when it will do so no more, before
 * the worker is freed: OpenSSL keeps state per thread that points into the worker's library context. */
void tls_thread_end(struct tls_worker *w);

/* A server connection over io; NULL when no identity is there or memory is short.  io must outlive it; arg is
 * handed to each of its functions.  tls_free sends nothing, and neither io nor arg is used after it.  All connections of w are freed
 * before w is. */
struct tls_conn *MUST_USE tls_accept(struct tls_worker *w, const struct tls_io *io, void *arg);
void tls_free(struct tls_conn *c);
/* How many there are. */
uint32_t tls_conn_count(const struct tls_worker *w);

/* Steps the handshake as far as the bytes allow, and at most by one slice: a key exchange, or a signature, or what lies between them.
 * TLS_OK once it is complete.  Of connections between slices (TLS_MORE) there should be few: each has a stack of 32 KB, and 256 are the
 * most (then: TLS_WAIT). */
enum tls_status MUST_USE tls_handshake(struct tls_conn *c);
/* The last step ended in TLS_MORE; in TLS_WAIT. */
bool tls_goes_on(const struct tls_conn *c);
bool tls_waits(const struct tls_conn *c);
/* Decrypts up to cap bytes to buf.  TLS_OK with *len > 0, or why not.  A connection holds a record buffer (18 KB for reading, 5 KB for
 * writing) only while something is in it, and what was decrypted into one is wiped as soon as all of its record has been handed out. */
enum tls_status MUST_USE tls_read(struct tls_conn *c, uint8_t *buf, size_t cap, size_t *len);
/* Seals up to 4096 bytes of data as one record and sends it; *len: how much was taken, the rest is offered by
 * the next call.  After TLS_WANT_WRITE *len is 0 although the record is sealed and partly sent: the same
 * bytes (not fewer; they may have moved) are offered again when there is room. */
enum tls_status MUST_USE tls_write(struct tls_conn *c, struct span data, size_t *len);
/* It will be read from soon, after something else: what the next record touches is on its way to the cache meanwhile. */
void tls_prefetch(const struct tls_conn *c);
/* Queues close_notify. */
void tls_shutdown(struct tls_conn *c);
/* Received bytes are there that tls_read has not looked at: call it again without waiting for more input. */
bool tls_pending(const struct tls_conn *c);

#endif
