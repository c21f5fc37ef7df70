#include "ctrl/server.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "ctrl/admin.h"

#include <stdlib.h>
#include <unistd.h>

struct conn {
    uv_pipe_t pipe; /* first: handles and connections are cast to each other */
    struct admin_server *s;
    struct conn *next, **link;
    uint8_t *in;
    size_t in_len;
    struct admin_wait wait;
    uint64_t heard_ms;
    bool closing, writing;
};

struct admin_server {
    uv_loop_t *loop;
    struct daemon *d;
    uv_pipe_t listening;
    struct conn *conns;
    uint32_t conn_count;
    bool closing;
};

struct reply {
    uv_write_t request;
    char *text;
    size_t len;
};

/* It may have held paper shares. */
static void reply_free(struct reply *r)
{
    secret_wipe(r->text, r->len);
    free(r->text);
    free(r);
}

static void server_free_if_done(struct admin_server *s)
{
    if (s->closing && s->conns == NULL)
        free(s);
}

static void on_conn_closed(uv_handle_t *h)
{
    struct conn *c = (struct conn *)h;
    struct admin_server *s = c->s;

    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    s->conn_count--;
    json_decref(c->wait.reply);
    free(c->in);
    free(c);
    server_free_if_done(s);
}

static void conn_close(struct conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    uv_close((uv_handle_t *)&c->pipe, on_conn_closed);
}

static void take_lines(struct conn *c);

static void on_written(uv_write_t *w, int status)
{
    struct reply *r = (struct reply *)w;
    struct conn *c = (struct conn *)w->handle;

    reply_free(r);
    c->writing = false;
    if (status != 0)
        conn_close(c);
    else if (!c->closing)
        take_lines(c);
}

static void send_reply(struct conn *c, json_t *reply)
{
    struct reply *r = calloc(1, sizeof *r);
    char *text = json_dumps(reply, JSON_COMPACT);

    CHECK(r != NULL && text != NULL);
    json_decref(reply);
    size_t len = strlen(text);
    r->text = text;
    r->len = len;
    text[len] = '\n'; /* in place of the NUL: written by length */
    uv_buf_t b = uv_buf_init(text, (unsigned)len + 1);
    c->writing = true;
    if (uv_write(&r->request, (uv_stream_t *)&c->pipe, &b, 1, on_written) != 0) {
        reply_free(r);
        conn_close(c);
    }
}

static bool busy(const struct conn *c)
{
    return c->closing || c->writing || c->wait.reply != NULL;
}

/* One request at a time per connection; the next line waits in the buffer. */
static void take_lines(struct conn *c)
{
    while (!busy(c)) {
        uint8_t *end = c->in_len == 0 ? NULL : memchr(c->in, '\n', c->in_len);

        if (end == NULL) {
            if (c->in_len == ADMIN_REQUEST_MAX) {
                log_warn("admin connection dropped: a request is too long");
                conn_close(c);
            }
            return;
        }
        size_t used = (size_t)(end - c->in) + 1;
        json_t *reply = admin_handle(c->s->d, span_of(c->in, used - 1), uv_now(c->s->loop), &c->wait);
        memmove(c->in, c->in + used, c->in_len - used);
        c->in_len -= used;
        if (reply != NULL)
            send_reply(c, reply);
    }
}

static void on_room(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct conn *c = (struct conn *)h;

    (void)suggested;
    *out = uv_buf_init((char *)c->in + c->in_len, (unsigned)(ADMIN_REQUEST_MAX - c->in_len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *unused)
{
    struct conn *c = (struct conn *)stream;

    (void)unused;
    if (n < 0) { /* end, an error, or no room left (UV_ENOBUFS): a line that long is no request */
        conn_close(c);
        return;
    }
    c->in_len += (size_t)n;
    c->heard_ms = uv_now(c->s->loop);
    take_lines(c);
}

static bool peer_may_enter(struct conn *c)
{
    uv_os_fd_t fd;

    if (c->s->conn_count > ADMIN_CONNECTIONS_MAX)
        return false;
    if (uv_fileno((uv_handle_t *)&c->pipe, &fd) != 0 || !server_peer_ok(fd)) {
        log_warn("a peer of another user was turned away at the admin socket");
        return false;
    }
    return true;
}

static void on_connection(uv_stream_t *listening, int status)
{
    struct admin_server *s = listening->data;

    if (status != 0)
        return;
    struct conn *c = calloc(1, sizeof *c);
    CHECK(c != NULL);
    c->in = malloc(ADMIN_REQUEST_MAX);
    CHECK(c->in != NULL);
    c->s = s;
    c->heard_ms = uv_now(s->loop);
    c->next = s->conns;
    c->link = &s->conns;
    if (s->conns != NULL)
        s->conns->link = &c->next;
    s->conns = c;
    s->conn_count++;
    CHECK(uv_pipe_init(s->loop, &c->pipe, 0) == 0);
    if (uv_accept(listening, (uv_stream_t *)&c->pipe) != 0 || !peer_may_enter(c) ||
        uv_read_start((uv_stream_t *)&c->pipe, on_room, on_read) != 0)
        conn_close(c);
}

void admin_server_progress(struct admin_server *s)
{
    uint64_t now = uv_now(s->loop);

    for (struct conn *c = s->conns, *next; c != NULL; c = next) {
        next = c->next;
        if (c->closing)
            continue;
        json_t *reply = c->wait.reply == NULL ? NULL : admin_wait_over(s->d, &c->wait, now);
        if (reply != NULL)
            send_reply(c, reply);
        else if (!busy(c) && now - c->heard_ms > ADMIN_IDLE_MS)
            conn_close(c);
    }
}

struct admin_server *admin_server_open(uv_loop_t *loop, struct daemon *d, struct refusal *why)
{
    int fd = server_listen(d->config.ctrl.admin_socket, why);

    if (fd < 0)
        return NULL;
    struct admin_server *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->loop = loop;
    s->d = d;
    CHECK(uv_pipe_init(loop, &s->listening, 0) == 0 && uv_pipe_open(&s->listening, fd) == 0);
    s->listening.data = s;
    CHECK(uv_listen((uv_stream_t *)&s->listening, 64, on_connection) == 0);
    return s;
}

static void on_listening_closed(uv_handle_t *h)
{
    struct admin_server *s = h->data;

    s->closing = true;
    for (struct conn *c = s->conns; c != NULL; c = c->next)
        conn_close(c);
    server_free_if_done(s);
}

void admin_server_close(struct admin_server *s)
{
    if (s == NULL)
        return;
    unlink(s->d->config.ctrl.admin_socket);
    uv_close((uv_handle_t *)&s->listening, on_listening_closed);
}
