/* A connection is driven by its own bytes: conn_step looks at the phase, does what the phase can do, and
 * returns when it needs more input, more room, or another turn.
 *
 *     HANDSHAKE -> HEAD -> BODY -> REPLY -> HEAD ...        one request at a time, pipelined ones wait in
 * `in`
 *                    \       \       \
 *                     refusal: REPLY, then LINGER -> DEAD
 */
#include "dataplane/conn.h"

#include "base/check.h"
#include "base/secret.h"
#include "base/secret_priv.h"

#define RECORD_MAX     4096        /* one tls_write, one record */
#define READ_AHEAD_MAX (16 * 1024) /* beyond a chunked body's end: it must fit a small buffer afterwards */
#define MS             1000ULL
#define SECOND         1000000ULL
#define LARGE_GRACE_US SECOND /* before the minimum rate of a large body counts */

/* ---- the bytes below TLS ---- */

static struct span io_peek(void *arg)
{
    return net_peek(((struct conn *)arg)->net);
}

static void io_consume(void *arg, size_t len)
{
    struct conn *c = arg;

    net_consume(c->net, len, c->env->now_us);
}

static size_t io_send(void *arg, struct span data)
{
    struct conn *c = arg;

    return net_send(c->net, data, c->env->now_us);
}

static const struct tls_io net_io = {io_peek, io_consume, io_send};

/* ---- buffers ---- */

static size_t reply_cap(const struct conn_request *rq)
{
    return rq->large ? CONN_LARGE_OUT : CONN_SMALL_OUT;
}

static uint8_t *reply_of(struct conn_request *rq)
{
    return rq->in + rq->in_cap;
}

/* What is not set here is written before it is read: the times by fill(), the rest by the head's parser. */
static struct conn_request *request_take(struct conn_env *env, bool large)
{
    struct conn_request *rq = slab_take(large ? &env->large : &env->small);

    if (rq == NULL)
        return NULL;
    rq->in_len = rq->body_len = rq->out_len = rq->out_at = 0;
    rq->in_cap = large ? CONN_LARGE_IN : CONN_SMALL_IN;
    rq->large = large;
    rq->continued = false;
    return rq;
}

static bool buffer_take_small(struct conn *c)
{
    if (c->rq == NULL)
        c->rq = request_take(c->env, false);
    return c->rq != NULL;
}

/* The used parts only: an untouched page of a large buffer costs nothing, neither to take nor to wipe. */
static void buffer_give(struct conn *c)
{
    struct conn_request *rq = c->rq;

    if (rq == NULL)
        return;
    secret_wipe(rq->in, rq->in_len);
    secret_wipe(reply_of(rq), rq->out_len);
    slab_give(rq->large ? &c->env->large : &c->env->small, rq);
    c->rq = NULL;
}

/* The request goes on in a buffer of the other size, with the bytes it has; the caller looks after the views of its head. */
static bool buffer_change(struct conn *c)
{
    struct conn_request *from = c->rq, *to = request_take(c->env, !from->large);

    if (to == NULL)
        return false;
    CHECK(from->in_len <= to->in_cap);
    memcpy(to->in, from->in, from->in_len);
    to->in_len = from->in_len;
    to->body_len = from->body_len;
    to->continued = from->continued;
    to->started_us = from->started_us;
    to->last_rx_us = from->last_rx_us;
    to->arrived_ns = from->arrived_ns;
    to->chunked = from->chunked;
    buffer_give(c);
    c->rq = to;
    return true;
}

/* To a large buffer; the head is parsed again, since its views move. */
static bool buffer_grow(struct conn *c)
{
    enum reason why;

    if (!buffer_change(c))
        return false;
    CHECK(http_parse_head(span_of(c->rq->in, c->rq->in_len), &c->rq->head, &why) == HTTP_OK);
    return true;
}

/* Back to a small buffer with what is pipelined behind a large request; fill() saw to it that it fits. */
static bool buffer_shrink(struct conn *c)
{
    return buffer_change(c);
}

/* ---- replies and refusals ---- */

static uint64_t clock_ns(const struct conn *c)
{
    return c->env->clock_ns(c->env->clock_arg);
}

static void audit(struct conn *c, struct audit_record *r)
{
    uint64_t ns = clock_ns(c) - c->rq->arrived_ns;

    r->latency_ns = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
    audit_put(c->env->audit, r);
}

static struct ekm_reply reply_begin(struct conn *c)
{
    c->rq->out_len = 0;
    c->rq->out_at = 0;
    return (struct ekm_reply){.out = {reply_of(c->rq), 0, reply_cap(c->rq)}};
}

static void reply_ready(struct conn *c, const struct ekm_reply *reply)
{
    c->rq->out_len = reply->out.len;
    c->close_after = c->close_after || reply->close || !c->rq->head.keep_alive || c->env->draining;
    c->phase = CONN_REPLY;
}

/* The answer to what never became a whole request: it is sent, then input is discarded for a while, so that
 * the peer can read it. */
static void refuse(struct conn *c, uint16_t status, enum reason why)
{
    struct ekm_reply reply = reply_begin(c);
    NOT_ZEROED struct audit_record record;

    c->rq->arrived_ns = clock_ns(c);
    ekm_refuse(c->env->ekm, status, why, c->env->now_unix_us, &reply, &record);
    c->close_after = true;
    reply_ready(c, &reply);
    audit(c, &record);
}

static void die(struct conn *c, enum reason why)
{
    count(c->env->counters, why);
    net_abort(c->net, c->env->now_us);
    c->phase = CONN_DEAD;
}

/* FIN after what is queued.  Bytes that still come are swallowed for a while: a close over unread ones would be a RST, and so would
 * an answer to what comes after the release; either could take our last words from the peer (RFC 9112 9.6). */
static void farewell(struct conn *c)
{
    struct span in;

    buffer_give(c);
    while ((in = net_peek(c->net)).len != 0)
        net_consume(c->net, in.len, c->env->now_us);
    net_close(c->net, c->env->now_us);
    net_set_deadline(c->net, c->env->now_us + c->env->linger_ms * MS);
    c->phase = CONN_LINGER;
}

static void say_goodbye(struct conn *c)
{
    tls_shutdown(c->tls);
    farewell(c);
}

/* ---- deadlines ---- */

/* Silence is bounded for every request, and slowness for those that hold a large buffer. */
static void arm_request_deadline(struct conn *c)
{
    uint64_t at = c->env->now_us + c->env->request_idle_ms * MS;

    if (c->rq->large) {
        uint64_t due =
            c->rq->started_us + LARGE_GRACE_US + c->rq->in_len * SECOND / c->env->large_rate_min + SECOND;
        if (due < at)
            at = due;
    }
    net_set_deadline(c->net, at);
}

/* ---- phases; each returns true when the connection can go on at once ---- */

/* Established connections may have waited for this step. */
static enum tls_status handshake_timed(struct conn *c)
{
    struct counters *counters = c->env->counters;
    uint64_t began_ns = clock_ns(c);
    enum tls_status status = tls_handshake(c->tls);
    uint64_t ns = clock_ns(c) - began_ns;

    count_by(counters, REASON_TLS_HANDSHAKE_NS, ns);
    if (ns > gauge_read(counters, GAUGE_TLS_STEP_NS_MAX))
        gauge_set(counters, GAUGE_TLS_STEP_NS_MAX, ns);
    return status;
}

static bool step_handshake(struct conn *c)
{
    switch (handshake_timed(c)) {
    case TLS_OK:
        c->phase = CONN_HEAD;
        net_set_deadline(c->net, 0);
        return true;
    case TLS_WANT_READ:
        if (c->peer_fin && net_readable(c->net) == 0)
            die(c, REASON_CONN_HANDSHAKE_CUT);
        return false;
    case TLS_WANT_WRITE:
        return false;
    case TLS_MORE:
    case TLS_WAIT:
        return true;
    case TLS_CLOSED:
    case TLS_FAILED:
        break;
    }
    farewell(c); /* the alert is queued */
    return false;
}

/* Reads what has been decrypted, at most up to want bytes in `in`.  False when there is none now, or the
 * connection ended. */
static bool fill(struct conn *c, size_t want)
{
    size_t room = (want < c->rq->in_cap ? want : c->rq->in_cap) - c->rq->in_len, len = 0;

    if (room == 0)
        return false;
    switch (tls_read(c->tls, c->rq->in + c->rq->in_len, room, &len)) {
    case TLS_OK:
        if (c->rq->in_len == 0)
            c->rq->started_us = c->env->now_us;
        c->rq->in_len += len;
        c->rq->last_rx_us = c->env->now_us;
        c->rq->arrived_ns = clock_ns(c);
        arm_request_deadline(c);
        return true;
    case TLS_WANT_READ:
    case TLS_WANT_WRITE:
        /* FIN without close_notify: truncation (RFC 8446 6.1).  Between requests it is an ordinary goodbye.
         */
        if (c->peer_fin && net_readable(c->net) == 0) {
            if (c->rq->in_len != 0)
                count(c->env->counters, REASON_CONN_REQUEST_CUT);
            say_goodbye(c);
        }
        return false;
    case TLS_CLOSED:
        if (c->rq->in_len != 0)
            count(c->env->counters, REASON_CONN_REQUEST_CUT);
        say_goodbye(c);
        return false;
    case TLS_MORE: /* of handshakes only */
    case TLS_WAIT:
    case TLS_FAILED:
        farewell(c);
        return false;
    }
    return false;
}

static uint16_t refusal_status(enum http_status s)
{
    switch (s) {
    case HTTP_TOO_LARGE:
        return 413;
    case HTTP_HEAD_TOO_LARGE:
        return 431;
    case HTTP_NOT_IMPLEMENTED:
        return 501;
    case HTTP_BAD_VERSION:
        return 505;
    case HTTP_BAD_EXPECTATION:
        return 417;
    default:
        return 400;
    }
}

/* Head parsed: is there room for the body that it announces? */
static bool body_begin(struct conn *c)
{
    const struct http_request *h = &c->rq->head;

    count(c->env->counters, REASON_HTTP_REQUESTS);
    c->rq->continued = false;
    c->rq->body_len = 0;
    c->phase = CONN_BODY;
    if (h->framing == HTTP_CHUNKED)
        http_chunked_init(&c->rq->chunked);
    if (h->framing == HTTP_CONTENT_LENGTH && h->content_length > HTTP_SMALL_BODY_MAX && !c->rq->large &&
        !buffer_grow(c)) {
        refuse(c, 503, REASON_CONN_NO_LARGE_BUFFER);
        return true;
    }
    arm_request_deadline(c);
    return true;
}

static bool step_head(struct conn *c)
{
    enum reason why = REASON_HTTP_REQUESTS;

    if (c->rq == NULL && net_readable(c->net) == 0 && !tls_pending(c->tls)) {
        if (c->peer_fin)
            say_goodbye(c);
        return false;
    }
    if (!buffer_take_small(c)) {
        die(c, REASON_CONN_NO_SMALL_BUFFER);
        return false;
    }
    for (;;) {
        enum http_status s = HTTP_MORE;
        if (c->rq->in_len != 0)
            s = http_parse_head(span_of(c->rq->in, c->rq->in_len), &c->rq->head, &why);
        if (s == HTTP_OK)
            return body_begin(c);
        if (s != HTTP_MORE) {
            refuse(c, refusal_status(s), why);
            return true;
        }
        if (c->rq->in_len >= HTTP_HEAD_MAX) {
            refuse(c, 431, REASON_HTTP_HEAD_TOO_LARGE);
            return true;
        }
        if (!fill(c, HTTP_HEAD_MAX)) {
            if (c->phase == CONN_HEAD && c->rq->in_len == 0) {
                buffer_give(c);
                net_set_deadline(c->net, 0);
            }
            return false;
        }
    }
}

/* Returns the refusal, or HTTP_OK with *end = where this request's bytes end in `in`, or HTTP_MORE. */
static enum http_status body_known_length(struct conn *c, size_t *end)
{
    size_t need =
        c->rq->head.head_len + (c->rq->head.framing == HTTP_CONTENT_LENGTH ? c->rq->head.content_length : 0);

    c->rq->body_len = need - c->rq->head.head_len;
    *end = need;
    while (c->rq->in_len < need) {
        if (!fill(c, need))
            return HTTP_MORE;
    }
    return HTTP_OK;
}

static enum http_status body_chunked(struct conn *c, size_t *end, enum reason *why)
{
    for (;;) {
        size_t raw_at = c->rq->head.head_len + c->rq->body_len, used = 0;
        struct buf body = {c->rq->in + c->rq->head.head_len, c->rq->body_len,
                           c->rq->in_cap - c->rq->head.head_len};
        enum http_status s = http_chunked_feed(
            &c->rq->chunked, span_of(c->rq->in + raw_at, c->rq->in_len - raw_at), &used, &body, why);

        c->rq->body_len = body.len;
        if (s == HTTP_OK) {
            *end = raw_at + used;
            return s;
        }
        if (s != HTTP_MORE)
            return s;
        CHECK(raw_at + used ==
              c->rq->in_len); /* decoded bytes never outgrow the coded ones, so none were left over */
        /* Decoded bytes moved up over the framing; what they left behind may be plaintext too. */
        size_t kept = c->rq->head.head_len + c->rq->body_len;
        secret_wipe(c->rq->in + kept, c->rq->in_len - kept);
        c->rq->in_len = kept;
        if (c->rq->in_len == c->rq->in_cap && (c->rq->large || !buffer_grow(c))) {
            *why = c->rq->large ? REASON_HTTP_BODY_TOO_LARGE : REASON_CONN_NO_LARGE_BUFFER;
            return c->rq->large ? HTTP_TOO_LARGE : HTTP_BAD;
        }
        if (!fill(c, c->rq->in_len + READ_AHEAD_MAX))
            return HTTP_MORE;
    }
}

/* The request's own bytes are wiped at once; what is pipelined behind it moves to the front. */
static void serve(struct conn *c, size_t end)
{
    struct ekm_reply reply = reply_begin(c);
    NOT_ZEROED struct audit_record record;
    struct ekm_request rq = {c->rq->head, secret_of(c->rq->in + c->rq->head.head_len, c->rq->body_len),
                             c->env->now_unix_us};

    net_set_deadline(c->net, 0);
    rq.head.keep_alive = rq.head.keep_alive && !c->env->draining;
    ekm_handle(c->env->ekm, &rq, &reply, &record);
    reply_ready(c, &reply);
    audit(c, &record);
    size_t behind = c->rq->in_len - end;
    memmove(c->rq->in, c->rq->in + end, behind);
    secret_wipe(c->rq->in + behind, end);
    c->rq->in_len = behind;
}

static bool send_continue(struct conn *c)
{
    size_t len = 0;

    c->rq->continued = true;
    return tls_write(c->tls, span_str(http_continue), &len) == TLS_OK;
}

static bool step_body(struct conn *c)
{
    size_t end = 0;
    enum reason why = REASON_HTTP_REQUESTS;
    enum http_status s =
        c->rq->head.framing == HTTP_CHUNKED ? body_chunked(c, &end, &why) : body_known_length(c, &end);

    if (c->phase != CONN_BODY)
        return false;
    switch (s) {
    case HTTP_OK:
        serve(c, end);
        return true;
    case HTTP_MORE:
        if (c->rq->head.expect_continue && !c->rq->continued && !send_continue(c)) {
            net_abort(c->net, c->env->now_us);
            c->phase = CONN_DEAD;
        }
        return false;
    default:
        refuse(c, why == REASON_CONN_NO_LARGE_BUFFER ? 503 : refusal_status(s), why);
        return true;
    }
}

static bool reply_sent(struct conn *c)
{
    secret_wipe(reply_of(c->rq), c->rq->out_len);
    c->rq->out_len = 0;
    c->rq->out_at = 0;
    if (c->close_after) {
        say_goodbye(c);
        return false;
    }
    c->phase = CONN_HEAD;
    if (c->rq->in_len == 0)
        buffer_give(c);
    else if (c->rq->large && !buffer_shrink(c))
        die(c, REASON_CONN_NO_SMALL_BUFFER);
    return c->rq != NULL || net_readable(c->net) != 0 || tls_pending(c->tls);
}

static bool step_reply(struct conn *c)
{
    while (c->rq->out_at < c->rq->out_len) {
        size_t chunk = c->rq->out_len - c->rq->out_at, taken = 0;

        if (chunk > RECORD_MAX)
            chunk = RECORD_MAX;
        switch (tls_write(c->tls, span_of(reply_of(c->rq) + c->rq->out_at, chunk), &taken)) {
        case TLS_OK:
            c->rq->out_at += taken;
            break;
        case TLS_WANT_READ:
        case TLS_WANT_WRITE:
            net_set_deadline(c->net, c->env->now_us + c->env->request_idle_ms * MS);
            return false;
        case TLS_CLOSED:
        case TLS_MORE:
        case TLS_WAIT:
        case TLS_FAILED:
            net_abort(c->net, c->env->now_us);
            c->phase = CONN_DEAD;
            return false;
        }
    }
    net_set_deadline(c->net, 0);
    return reply_sent(c);
}

/* FIN is out; NET_EVENT_CLOSED or the deadline ends it. */
static bool step_linger(struct conn *c)
{
    struct span in;

    while ((in = net_peek(c->net)).len != 0)
        net_consume(c->net, in.len, c->env->now_us);
    if (c->peer_fin)
        c->phase = CONN_DEAD;
    return false;
}

/* ---- the door ---- */

struct conn *conn_open(struct conn_env *env, struct net_conn *net)
{
    struct conn *c = slab_take(&env->conns);

    if (c == NULL)
        return NULL;
    *c = (struct conn){.env = env, .net = net, .phase = CONN_HANDSHAKE};
    c->tls = tls_accept(env->tls, &net_io, c);
    if (c->tls == NULL) {
        slab_give(&env->conns, c);
        return NULL;
    }
    net_set_user(net, c);
    net_set_deadline(net, env->now_us + env->handshake_ms * MS);
    return c;
}

bool conn_step(struct conn *c)
{
    bool again = true;
    bool replied = false;

    while (again && c->phase != CONN_DEAD) {
        uint8_t phase = c->phase;

        switch ((enum conn_phase)phase) {
        case CONN_HANDSHAKE:
            return step_handshake(c);
        case CONN_HEAD:
            if (replied)
                return true; /* one request a step: others wait */
            again = step_head(c);
            break;
        case CONN_BODY:
            again = step_body(c);
            break;
        case CONN_REPLY:
            again = step_reply(c);
            replied = true;
            break;
        case CONN_LINGER:
            again = step_linger(c);
            break;
        case CONN_DEAD:
            again = false;
            break;
        }
    }
    return false;
}

void conn_deadline(struct conn *c)
{
    switch ((enum conn_phase)c->phase) {
    case CONN_HANDSHAKE:
        die(c, REASON_CONN_HANDSHAKE_TIMEOUT);
        break;
    case CONN_HEAD:
    case CONN_BODY:
        die(c, c->rq != NULL && c->rq->large ? REASON_CONN_BODY_TOO_SLOW : REASON_CONN_REQUEST_TIMEOUT);
        break;
    case CONN_REPLY:
        die(c, REASON_CONN_REPLY_STALLED);
        break;
    case CONN_LINGER:
        c->phase = CONN_DEAD;
        break;
    case CONN_DEAD:
        break;
    }
}

void conn_drain(struct conn *c)
{
    if (c->phase == CONN_HEAD && (c->rq == NULL || c->rq->in_len == 0))
        say_goodbye(c);
    else if (c->phase == CONN_HANDSHAKE || c->phase == CONN_LINGER)
        conn_deadline(c);
}

void conn_release(struct conn *c)
{
    struct conn_env *env = c->env;

    buffer_give(c);
    tls_free(c->tls);
    net_set_user(c->net, NULL);
    net_release(c->net, env->now_us);
    slab_give(&env->conns, c);
}
