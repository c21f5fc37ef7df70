/* One connection: OpenSSL's state machine between the connection's bytes (a BIO over struct tls_io) and the
 * caller.
 *
 * Every verb has the same three steps: an empty error queue, one SSL_ call, and settle(), which turns what it
 * said into a status and leaves the queue empty again. */
#include "dataplane/tls/tls_priv.h"

#include <openssl/err.h>

#define CACHE_LINE 64

/* ---- the BIO ---- */

/* No more input is handed in once a budget is used up; settle() then ends the connection. */
static bool over_budget(const struct tls_conn *c)
{
    return c->handshake_bytes > TLS_HANDSHAKE_BYTES_MAX || c->key_updates > TLS_KEY_UPDATES_MAX;
}

/* How many of these bytes, which OpenSSL takes, belong to the record that comes in: while a buffer of its has one, no byte of the next is
 * to be in it (memory.c).  What is no record of TLS (RFC 8446 5.1), such as a hello of SSL 2, has no such end: there it wipes itself. */
static size_t record_part(struct tls_conn *c, struct span in)
{
    size_t at = 0;

    if (c->record_left == 0) {
        while (c->head_len < SSL3_RT_HEADER_LENGTH && at < in.len)
            c->head[c->head_len++] = in.ptr[at++];
        if (c->head_len < SSL3_RT_HEADER_LENGTH)
            return at;
        c->record_left = (uint16_t)(c->head[3] << 8 | c->head[4]);
        c->head_len = 0;
        if (c->head[0] < SSL3_RT_CHANGE_CIPHER_SPEC || c->head[0] > SSL3_RT_APPLICATION_DATA ||
            c->head[1] != SSL3_VERSION_MAJOR)
            SSL_set_options(c->ssl, SSL_OP_CLEANSE_PLAINTEXT);
    }
    size_t body = in.len - at < c->record_left ? in.len - at : c->record_left;
    c->record_left = (uint16_t)(c->record_left - body);
    return at + body;
}

static int bio_read_ex(BIO *bio, char *out, size_t cap, size_t *len)
{
    struct tls_conn *c = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (c->io == NULL) /* abandoned: the end of input ends it */
        return 0;
    struct span in = c->io->peek(c->io_arg);
    if (in.len == 0 || over_budget(c)) {
        BIO_set_retry_read(bio);
        return 0;
    }
    *len = record_part(c, span_of(in.ptr, in.len < cap ? in.len : cap));
    memcpy(out, in.ptr, *len);
    tls_memory_received((const uint8_t *)out + *len);
    c->io->consume(c->io_arg, *len);
    if (!c->established)
        c->handshake_bytes += (uint32_t)*len;
    return 1;
}

static int bio_write_ex(BIO *bio, const char *data, size_t len, size_t *taken)
{
    struct tls_conn *c = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    *taken = c->io == NULL ? len : c->io->send(c->io_arg, span_of(data, len));
    if (*taken == 0) {
        BIO_set_retry_write(bio);
        return 0;
    }
    return 1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio, (void)num, (void)ptr;
    return cmd == BIO_CTRL_FLUSH; /* what was taken is on its way */
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *tls_bio_method_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connection");

    if (m == NULL)
        return NULL;
    BIO_meth_set_read_ex(m, bio_read_ex);
    BIO_meth_set_write_ex(m, bio_write_ex);
    BIO_meth_set_ctrl(m, bio_ctrl);
    BIO_meth_set_create(m, bio_create);
    return m;
}

/* ---- the error queue ---- */

/* Clearing writes all sixteen places of it, and it is nearly always empty. */
static void errors_clear(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* ---- life ---- */

static void count_key_updates(int sent, int version, int type, const void *msg, size_t len, SSL *ssl,
                              void *arg)
{
    struct tls_conn *c = arg;
    (void)version, (void)ssl;

    if (sent == 0 && type == SSL3_RT_HANDSHAKE && len > 0 && *(const uint8_t *)msg == SSL3_MT_KEY_UPDATE &&
        c->key_updates < UINT16_MAX)
        c->key_updates++;
}

static bool ssl_attach(struct tls_conn *c, SSL_CTX *ctx)
{
    BIO *bio = BIO_new(c->worker->bio_method);

    if (bio == NULL)
        return false;
    BIO_set_data(bio, c);
    c->ssl = SSL_new(ctx);
    if (c->ssl == NULL) {
        BIO_free(bio);
        return false;
    }
    SSL_set_bio(c->ssl, bio, bio); /* takes the one reference for both directions */
    SSL_set_msg_callback(c->ssl, count_key_updates);
    SSL_set_msg_callback_arg(c->ssl, c);
    SSL_set_accept_state(c->ssl);
    SSL_set_info_callback(c->ssl, tls_job_slice);
    SSL_set_mode(c->ssl, SSL_MODE_ASYNC);
    return true;
}

struct tls_conn *tls_accept(struct tls_worker *w, const struct tls_io *io, void *arg)
{
    struct tls_identity *id = atomic_load_explicit(&w->current, memory_order_acquire);
    struct tls_conn *c;

    if (id == NULL)
        return NULL;
    errors_clear();
    c = OPENSSL_zalloc(sizeof *c);
    if (c != NULL) {
        c->worker = w;
        c->io = io;
        c->io_arg = arg;
        if (!ssl_attach(c, id->ctx)) {
            OPENSSL_free(c);
            c = NULL;
        }
    }
    if (c == NULL)
        count(w->counters, REASON_TLS_NO_MEMORY);
    else
        w->conns++;
    errors_clear();
    return c;
}

void tls_conn_destroy(struct tls_conn *c)
{
    errors_clear();
    c->worker->conns--;
    SSL_free(c->ssl);
    OPENSSL_free(c);
    errors_clear();
}

void tls_free(struct tls_conn *c)
{
    if (c == NULL)
        return;
    if (SSL_waiting_for_async(c->ssl) == 1) {
        tls_job_abandon(c);
        return;
    }
    tls_job_done(c);
    tls_conn_destroy(c);
}

uint32_t tls_conn_count(const struct tls_worker *w)
{
    return w->conns;
}

/* ---- verbs ---- */

static enum tls_status fail(struct tls_conn *c, enum reason why)
{
    c->failed = true;
    count(c->worker->counters, why);
    errors_clear();
    return TLS_FAILED;
}

/* The status of an SSL_ call that returned ret.  One that succeeded has put nothing into the queue, which is looked at before the next
 * one all the same. */
static enum tls_status settle(struct tls_conn *c, int ret)
{
    if (c->key_updates > TLS_KEY_UPDATES_MAX)
        return fail(c, REASON_TLS_KEY_UPDATE_FLOOD);
    if (ret == 1)
        return TLS_OK;
    int what = SSL_get_error(c->ssl, ret);
    if (what == SSL_ERROR_WANT_READ && over_budget(c))
        return fail(c, REASON_TLS_HANDSHAKE_TOO_LONG);
    switch (what) {
    case SSL_ERROR_WANT_READ:
        errors_clear();
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        errors_clear();
        return TLS_WANT_WRITE;
    case SSL_ERROR_WANT_ASYNC:
    case SSL_ERROR_WANT_ASYNC_JOB:
        errors_clear();
        if (c->between_slices)
            return TLS_MORE;
        tls_job_note(c, what);
        return TLS_WAIT;
    case SSL_ERROR_ZERO_RETURN:
        errors_clear();
        return TLS_CLOSED;
    default:
        return fail(c, tls_failure_reason());
    }
}

enum tls_status tls_handshake(struct tls_conn *c)
{
    enum tls_status s;

    if (c->failed)
        return TLS_FAILED;
    if (c->established)
        return TLS_OK;
    errors_clear();
    s = settle(c, SSL_accept(c->ssl));
    if (s != TLS_WAIT)
        tls_job_done(c);
    if (s != TLS_WAIT && s != TLS_MORE)
        (void)SSL_free_buffers(c->ssl); /* those that hold nothing: it may be long until more comes */
    c->starved = s == TLS_WANT_READ;
    if (s == TLS_OK) {
        c->established = true;
        /* A read or write that was suspended would go on into the buffer that it began with, wherever that is by then. */
        SSL_clear_mode(c->ssl, SSL_MODE_ASYNC);
        count(c->worker->counters, REASON_TLS_HANDSHAKE_OK);
        if (SSL_session_reused(c->ssl))
            count(c->worker->counters, REASON_TLS_HANDSHAKE_RESUMED);
    }
    return s;
}

enum tls_status tls_read(struct tls_conn *c, uint8_t *buf, size_t cap, size_t *len)
{
    enum tls_status s;

    *len = 0;
    if (c->failed)
        return TLS_FAILED;
    errors_clear();
    s = settle(c, SSL_read_ex(c->ssl, buf, cap, len));
    c->starved = s == TLS_WANT_READ;
    if (s == TLS_OK)
        c->key_updates = 0;
    else
        *len = 0;
    return s;
}

enum tls_status tls_write(struct tls_conn *c, struct span data, size_t *len)
{
    enum tls_status s;

    *len = 0;
    if (c->failed)
        return TLS_FAILED;
    if (data.len == 0)
        return TLS_OK;
    errors_clear();
    s = settle(c, SSL_write_ex(c->ssl, data.ptr, data.len, len));
    if (s != TLS_OK)
        *len = 0;
    return s;
}

void tls_shutdown(struct tls_conn *c)
{
    /* RFC 8446 6.1: close_notify ends a connection that works; one that failed has had its alert, and one
     * that is still shaking hands has nothing to close. */
    if (c->failed || !c->established)
        return;
    errors_clear();
    (void)SSL_shutdown(c->ssl);
    (void)SSL_free_buffers(c->ssl);
    errors_clear();
}

bool tls_goes_on(const struct tls_conn *c)
{
    return c->between_slices;
}

bool tls_waits(const struct tls_conn *c)
{
    return c->waits;
}

bool tls_pending(const struct tls_conn *c)
{
    return !c->failed && !c->starved && (SSL_has_pending(c->ssl) == 1 || c->io->peek(c->io_arg).len != 0);
}

/* The cache lines of an SSL object of OpenSSL 3.0 that a record in and a record out touch, found by tracing them.  Another version's
 * lie elsewhere: then this helps less, and harms nothing.  Those of its two ciphers are left out: so many at once cost more than they
 * bring (docs/PERFORMANCE.md). */
static const uint8_t ssl_lines[] = {
    0, 1, 2, 6, 11, 19, 33, 34, 36, 39, 40, 42, 46, 49, 50, 51, 74, 75, 114, 115, 116,
};

void tls_prefetch(const struct tls_conn *c)
{
    const uint8_t *ssl = (const uint8_t *)c->ssl;

    for (size_t i = 0; i < sizeof ssl_lines; i++)
        __builtin_prefetch(ssl + ssl_lines[i] * CACHE_LINE);
}
