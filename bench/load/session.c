#include "bench/load/session.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLY_MAX       16384
#define CERTIFICATE_MAX 4096

/* ---- the BIO over a stream ---- */

static int bio_read(BIO *bio, char *out, size_t cap, size_t *len)
{
    struct session *s = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    long n = s->env->transport->ops->recv(s->stream, out, cap);
    *len = n > 0 ? (size_t)n : 0;
    if (n == STREAM_AGAIN)
        BIO_set_retry_read(bio);
    if (n > 0)
        s->env->bytes_in += (uint64_t)n;
    return n > 0;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *taken)
{
    struct session *s = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    long n = s->env->transport->ops->send(s->stream, data, len);
    *taken = n > 0 ? (size_t)n : 0;
    if (n == STREAM_AGAIN)
        BIO_set_retry_write(bio);
    if (n > 0)
        s->env->bytes_out += (uint64_t)n;
    return n > 0;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio, (void)num, (void)ptr;
    return cmd == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *session_bio_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");

    if (m == NULL)
        return NULL;
    BIO_meth_set_read_ex(m, bio_read);
    BIO_meth_set_write_ex(m, bio_write);
    BIO_meth_set_ctrl(m, bio_ctrl);
    BIO_meth_set_create(m, bio_create);
    return m;
}

/* The chain of the first certificate is verified in full; the same bytes need not be looked through again for the same host. */
static int certificate_verify(X509_STORE_CTX *ctx, void *unused)
{
    static unsigned char seen[CERTIFICATE_MAX], now[CERTIFICATE_MAX];
    static int seen_len;
    X509 *given = X509_STORE_CTX_get0_cert(ctx);
    unsigned char *at = now;
    int len = i2d_X509(given, NULL);
    (void)unused;

    if (len <= 0 || len > CERTIFICATE_MAX)
        return X509_verify_cert(ctx);
    (void)i2d_X509(given, &at);
    if (len == seen_len && memcmp(now, seen, (size_t)len) == 0)
        return 1;
    if (X509_verify_cert(ctx) != 1)
        return 0;
    memcpy(seen, now, (size_t)len);
    seen_len = len;
    return 1;
}

SSL_CTX *session_tls_new(const char *ca, bool many)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    long mode = SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;

    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384") != 1 ||
        SSL_CTX_set1_groups_list(ctx, "X25519") != 1) {
        fprintf(stderr, "ww-bench: OpenSSL refused a setting\n");
        return NULL;
    }
    SSL_CTX_set_mode(ctx, mode | (many ? SSL_MODE_RELEASE_BUFFERS : 0));
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_cert_verify_callback(ctx, certificate_verify, NULL);
    SSL_CTX_set_verify(ctx, ca == NULL ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (ca != NULL && SSL_CTX_load_verify_file(ctx, ca) != 1) {
        fprintf(stderr, "ww-bench: cannot use the CA file %s\n", ca);
        return NULL;
    }
    return ctx;
}

/* ---- life ---- */

static void part_drop(struct session *s)
{
    free(s->part);
    s->part = NULL;
    s->part_len = 0;
}

/* false: the stream is of no use any more. */
static bool thin_flush(struct session *s)
{
    struct thin *t = s->thin;
    long n = t->out_len == 0 ? 0 : s->env->transport->ops->send(s->stream, t->out, t->out_len);

    if (n == STREAM_FAILED)
        return false;
    if (n > 0) {
        s->env->bytes_out += (uint64_t)n;
        t->out_len -= (size_t)n;
        memmove(t->out, t->out + n, t->out_len);
    }
    return true;
}

void session_stop(struct session *s, bool abort)
{
    if (s->ssl != NULL) {
        if (!abort && s->state == SESSION_IDLE)
            (void)SSL_shutdown(s->ssl);
        SSL_free(s->ssl);
        ERR_clear_error();
    } else if (s->thin != NULL && s->stream != NULL && !abort && thin_bye(s->thin)) {
        (void)thin_flush(s);
    }
    if (s->stream != NULL)
        s->env->transport->ops->close(s->stream, abort);
    free(s->pending);
    part_drop(s);
    s->pending = NULL;
    s->pending_len = 0;
    s->ssl = NULL;
    s->stream = NULL;
    s->state = SESSION_DOWN;
}

static void lose(struct session *s, const char *why)
{
    enum session_state was = (enum session_state)s->state;

    if (s->env->first_error == NULL)
        s->env->first_error = why;
    session_stop(s, true);
    s->env->on_lost(s, was);
}

static bool ssl_begin(struct session *s)
{
    BIO *bio = BIO_new(s->env->bio);

    s->ssl = SSL_new(s->env->tls);
    if (bio == NULL || s->ssl == NULL || SSL_set_tlsext_host_name(s->ssl, s->env->host) != 1 ||
        SSL_set1_host(s->ssl, s->env->host) != 1) {
        BIO_free(bio);
        return false;
    }
    BIO_set_data(bio, s);
    SSL_set_bio(s->ssl, bio, bio);
    SSL_set_connect_state(s->ssl);
    return true;
}

bool session_start(struct session *s)
{
    s->stream = s->env->transport->ops->open(s->env->transport, s);
    if (s->stream == NULL || (s->thin == NULL && !ssl_begin(s))) {
        session_stop(s, true);
        return false;
    }
    if (s->thin != NULL)
        thin_begin(s->thin, s->env->thin);
    s->state = SESSION_SHAKING;
    return true;
}

/* ---- asking ---- */

/* true when all of it was taken. */
static bool push(struct session *s, const char *data, size_t len, bool *failed)
{
    size_t taken = 0;

    *failed = false;
    if (s->thin != NULL) {
        *failed = !thin_ask(s->thin, data, len) || !thin_flush(s);
        return !*failed;
    }
    if (SSL_write_ex(s->ssl, data, len, &taken) == 1 && taken == len)
        return true;
    /* A request is one record: none is taken in part. */
    *failed = taken != 0 || SSL_get_error(s->ssl, 0) != SSL_ERROR_WANT_WRITE;
    return false;
}

static bool pending_set(struct session *s, const char *request, size_t len)
{
    s->pending = malloc(len);
    if (s->pending == NULL)
        return false;
    memcpy(s->pending, request, len);
    s->pending_len = len;
    return true;
}

bool session_ask(struct session *s, bool last)
{
    static char request[PLAN_REQUEST_MAX];
    size_t len = plan_write(s->env->plan, &s->request, last, request);
    bool failed;

    s->last = last;
    s->state = SESSION_WAITING;
    if (push(s, request, len, &failed))
        return true;
    if (!failed && pending_set(s, request, len))
        return true;
    ERR_clear_error();
    session_stop(s, true);
    return false;
}

static bool push_pending(struct session *s)
{
    bool failed;

    if (s->pending == NULL)
        return true;
    if (push(s, s->pending, s->pending_len, &failed)) {
        free(s->pending);
        s->pending = NULL;
        return true;
    }
    if (failed)
        lose(s, "a request could not be sent");
    return !failed;
}

/* ---- replies ---- */

/* The length of the body by its Content-Length, and where it begins; false when the head is not whole. */
static bool head_parse(const char *in, size_t len, unsigned int *status, const char **body, size_t *body_len)
{
    const char *end = memmem(in, len, "\r\n\r\n", 4);
    static const char field[] = "\r\ncontent-length:";

    if (end == NULL || len < 13)
        return false;
    *status = (unsigned int)((in[9] - '0') * 100 + (in[10] - '0') * 10 + (in[11] - '0'));
    *body = end + 4;
    *body_len = 0;
    for (const char *at = in; (at = memchr(at, '\r', (size_t)(end - at))) != NULL; at++) {
        if (strncasecmp(at, field, sizeof field - 1) == 0) {
            *body_len = strtoul(at + sizeof field - 1, NULL, 10);
            break;
        }
    }
    return true;
}

static bool reply_whole(struct session *s, const char *in, size_t len)
{
    unsigned int status = 0;
    const char *body = NULL;
    size_t body_len = 0;

    if (!head_parse(in, len, &status, &body, &body_len) || (size_t)(in + len - body) < body_len)
        return false;
    bool right = plan_judge(s->env->plan, &s->request, status, body, body_len);
    if (!right && s->env->first_error == NULL)
        s->env->first_error = "a reply was not the right one";
    s->state = SESSION_IDLE;
    part_drop(s);
    if (s->last)
        session_stop(s, false);
    s->env->on_reply(s, right);
    return true;
}

/* Appends to what is there already; false when a reply grows beyond all bounds. */
static bool part_keep(struct session *s, const char *in, size_t len)
{
    char *grown = s->part_len + len <= REPLY_MAX ? realloc(s->part, s->part_len + len) : NULL;

    if (grown == NULL)
        return false;
    memcpy(grown + s->part_len, in, len);
    s->part = grown;
    s->part_len += len;
    return true;
}

static void reply_take(struct session *s, const char *in, size_t len)
{
    if (s->part == NULL && reply_whole(s, in, len))
        return;
    if (!part_keep(s, in, len))
        lose(s, "a reply was too long");
    else if (s->part_len != len)
        (void)reply_whole(s, s->part, s->part_len);
}

static void step_waiting(struct session *s)
{
    static char in[REPLY_MAX];
    size_t len = 0;

    while (s->state == SESSION_WAITING) {
        if (SSL_read_ex(s->ssl, in, sizeof in, &len) != 1) {
            if (SSL_get_error(s->ssl, 0) != SSL_ERROR_WANT_READ)
                lose(s, "a connection ended before its reply");
            return;
        }
        reply_take(s, in, len);
    }
}

static void step_shaking(struct session *s)
{
    if (SSL_connect(s->ssl) == 1) {
        s->state = SESSION_IDLE;
        s->env->on_idle(s);
        return;
    }
    switch (SSL_get_error(s->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return;
    default:
        lose(s, "a handshake failed");
    }
}

/* ---- without OpenSSL: a handshake and one request ---- */

static long thin_fill(struct session *s)
{
    struct thin *t = s->thin;
    long n = s->env->transport->ops->recv(s->stream, t->in + t->in_len, sizeof t->in - t->in_len);

    if (n > 0) {
        t->in_len += (size_t)n;
        s->env->bytes_in += (uint64_t)n;
    }
    return n;
}

static void step_thin(struct session *s)
{
    static char in[REPLY_MAX];
    long n;

    while (s->state == SESSION_SHAKING || s->state == SESSION_WAITING) {
        size_t len = (n = thin_fill(s)) > 0 ? thin_take(s->thin, in, sizeof in) : 0;
        if (s->thin->state == THIN_BROKEN || (len > 0 && s->state == SESSION_SHAKING)) {
            lose(s, s->state == SESSION_SHAKING ? "a handshake failed" : "a reply's record was broken");
        } else if (len > 0) {
            reply_take(s, in, len);
        } else if (s->thin->state == THIN_OPEN && s->state == SESSION_SHAKING) {
            s->state = SESSION_IDLE;
            s->env->on_idle(s);
        } else if (n == 0 || n == STREAM_FAILED || s->thin->state == THIN_ENDED) {
            lose(s, "a connection ended before its reply");
        } else if (n == STREAM_AGAIN) {
            if (!thin_flush(s))
                lose(s, "a stream failed");
            return;
        }
    }
}

/* Something on an idle connection: a ticket, or its end. */
static void step_idle(struct session *s)
{
    char byte;
    size_t len = 0;

    if (SSL_read_ex(s->ssl, &byte, 1, &len) == 1)
        lose(s, "bytes came that nobody asked for");
    else if (SSL_get_error(s->ssl, 0) != SSL_ERROR_WANT_READ)
        lose(s, "an idle connection was closed");
}

void session_ready(void *session)
{
    struct session *s = session;

    if (s->thin != NULL) {
        step_thin(s);
        return;
    }
    switch ((enum session_state)s->state) {
    case SESSION_DOWN:
        break;
    case SESSION_SHAKING:
        step_shaking(s);
        break;
    case SESSION_IDLE:
        step_idle(s);
        break;
    case SESSION_WAITING:
        if (push_pending(s))
            step_waiting(s);
        break;
    }
    ERR_clear_error();
}
