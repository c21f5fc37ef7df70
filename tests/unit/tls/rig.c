#include "tests/unit/tls/rig.h"

#include "base/secret_priv.h"
#include "tests/unit/test.h"

#include <openssl/err.h>
#include <stdlib.h>

#define SLICES_MAX 10 /* of one flight */

static struct counters counters_;

/* ---- pipes ---- */

static struct span pipe_peek(void *arg)
{
    struct pair *pair = arg;
    struct pipe *p = &pair->in;
    size_t len = p->end - p->at;

    if (pair->looks != NULL)
        pair->looks();
    return span_of(p->bytes + p->at, len < p->view ? len : p->view);
}

static void pipe_consume(void *arg, size_t len)
{
    struct pipe *p = &((struct pair *)arg)->in;

    assert_true(len <= p->end - p->at);
    p->at += len;
}

static size_t pipe_send(void *arg, struct span data)
{
    struct pipe *p = &((struct pair *)arg)->out;
    size_t len = data.len < p->room ? data.len : p->room;

    feed(p, data.ptr, len);
    p->room -= len;
    return len;
}

static const struct tls_io pipe_io = {pipe_peek, pipe_consume, pipe_send};

void feed(struct pipe *p, const void *data, size_t len)
{
    if (p->at == p->end)
        p->at = p->end = 0;
    assert_true(len <= PIPE_CAP - p->end);
    memcpy(p->bytes + p->end, data, len);
    p->end += len;
}

/* ---- identities ---- */

bool publish(struct tls_worker *w, const struct identity_pem *id)
{
    return tls_publish(w, span_str(id->cert), secret_of(id->key, strlen(id->key)));
}

struct tls_worker *worker_with(const char *kind)
{
    struct identity_pem id;
    struct tls_worker *w;

    memset(&counters_, 0, sizeof counters_);
    identity_make(kind, "ekm.wirewrap.test", &id);
    w = tls_worker_new(&counters_, NULL, NULL);
    assert_non_null(w);
    assert_true(publish(w, &id));
    return w;
}

struct counters *rig_counters(void)
{
    return &counters_;
}

uint64_t counted(enum reason r)
{
    return counter_read(&counters_, r);
}

uint64_t counted_failures(void)
{
    uint64_t sum = 0;

    for (int r = REASON_TLS_BAD_VERSION; r < REASON_TLS_JOB_PAUSED; r++)
        sum += counted((enum reason)r);
    return sum + counted(REASON_TLS_NO_MEMORY);
}

/* ---- pairs ---- */

SSL_CTX *client_ctx(int min_version, int max_version)
{
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());

    assert_non_null(c);
    SSL_CTX_set_security_level(c, 0);
    assert_int_equal(SSL_CTX_set_min_proto_version(c, min_version), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(c, max_version), 1);
    return c;
}

struct pair *server_alone(struct tls_worker *w)
{
    struct pair *p = calloc(1, sizeof *p);

    assert_non_null(p);
    p->in.room = p->out.room = SIZE_MAX;
    p->in.view = p->out.view = SIZE_MAX;
    p->server = tls_accept(w, &pipe_io, p);
    assert_non_null(p->server);
    return p;
}

struct pair *pair_new(struct tls_worker *w, SSL_CTX *client)
{
    struct pair *p = server_alone(w);

    p->client = SSL_new(client);
    assert_non_null(p->client);
    SSL_set_bio(p->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(p->client);
    return p;
}

void pair_free(struct pair *p)
{
    tls_free(p->server);
    SSL_free(p->client);
    free(p);
}

void client_step(struct pair *p, size_t most)
{
    uint8_t chunk[4096];

    while (most > 0) {
        size_t want = most < sizeof chunk ? most : sizeof chunk;
        int len = BIO_read(SSL_get_wbio(p->client), chunk, (int)want);
        if (len <= 0)
            return;
        feed(&p->in, chunk, (size_t)len);
        most -= (size_t)len;
    }
}

enum tls_status server_step(struct pair *p)
{
    enum tls_status s = TLS_MORE;

    for (int i = 0; i < SLICES_MAX && s == TLS_MORE; i++)
        s = tls_handshake(p->server);
    return s;
}

void client_drain(struct pair *p)
{
    size_t len = p->out.end - p->out.at;

    if (len > 0)
        assert_int_equal(BIO_write(SSL_get_rbio(p->client), p->out.bytes + p->out.at, (int)len), len);
    p->out.at = p->out.end = 0;
}

enum tls_status handshake(struct pair *p)
{
    enum tls_status s = TLS_WANT_READ;
    int client = -1;

    for (int round = 0; round < 20; round++) {
        ERR_clear_error();
        client = SSL_do_handshake(p->client);
        client_step(p, SIZE_MAX);
        s = server_step(p);
        client_drain(p);
        if (s == TLS_FAILED)
            return s;
        if (s == TLS_OK && client == 1)
            return s;
    }
    return s == TLS_OK ? TLS_WANT_READ : s;
}

int alert_at_client(struct pair *p)
{
    uint8_t byte;
    int reason;

    ERR_clear_error();
    if (SSL_is_init_finished(p->client))
        (void)SSL_read(p->client, &byte, 1);
    else
        (void)SSL_do_handshake(p->client);
    reason = ERR_GET_REASON(ERR_peek_error());
    ERR_clear_error();
    return reason >= SSL_AD_REASON_OFFSET ? reason - SSL_AD_REASON_OFFSET : -1;
}

int alert_in_clear(const struct pipe *p)
{
    const uint8_t *r = p->bytes + p->at;

    if (p->end - p->at < 7 || r[0] != SSL3_RT_ALERT || r[5] != SSL3_AL_FATAL)
        return -1;
    return r[6];
}

void client_send(struct pair *p, const void *data, size_t len)
{
    assert_int_equal(SSL_write(p->client, data, (int)len), len);
    client_step(p, SIZE_MAX);
}

size_t client_receive(struct pair *p, void *buf, size_t cap)
{
    size_t sum = 0;

    client_drain(p);
    while (sum < cap) {
        int len = SSL_read(p->client, (uint8_t *)buf + sum, (int)(cap - sum));
        if (len <= 0)
            break;
        sum += (size_t)len;
    }
    ERR_clear_error();
    return sum;
}

struct pair *connected(struct tls_worker *w, int version)
{
    SSL_CTX *c = client_ctx(version, version);
    struct pair *p = pair_new(w, c);
    uint8_t byte;

    SSL_CTX_free(c);
    assert_int_equal(handshake(p), TLS_OK);
    assert_int_equal(SSL_read(p->client, &byte, 1), -1); /* takes the session ticket */
    ERR_clear_error();
    return p;
}
