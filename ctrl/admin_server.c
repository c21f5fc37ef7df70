#include "ctrl/server.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "ctrl/admin/admin.h"
#include "ctrl/admin/admin_tls.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct conn {
    union { /* first: handles and connections are cast to each other */
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    };
    struct admin_server *s;
    struct conn *next, **link;
    uint8_t *in;
    size_t in_len;
    struct admin_wait wait;
    uid_t uid;                     /* of a local peer */
    struct admin_session *session; /* of a remote one; NULL: local */
    char name[64], peer[64];       /* remote: the certificate's CN once it is good, and the address */
    bool judged;
    uint64_t accepted_ms, heard_ms;
    bool closing, writing, last_words;
};

struct admin_server {
    uv_loop_t *loop;
    struct daemon *d;
    uv_pipe_t listening;
    uv_tcp_t remote;
    bool has_remote;
    struct admin_tls *tls;
    uint64_t tls_of; /* d->reloads when tls was read */
    struct conn *conns;
    uint32_t local_count, remote_count;
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
    if (!s->closing || s->conns != NULL)
        return;
    admin_tls_unref(s->tls);
    free(s);
}

static void on_conn_closed(uv_handle_t *h)
{
    struct conn *c = (struct conn *)h;
    struct admin_server *s = c->s;

    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    if (c->session != NULL)
        s->remote_count--;
    else
        s->local_count--;
    json_decref(c->wait.reply);
    admin_session_free(c->session);
    free(c->in);
    free(c);
    server_free_if_done(s);
}

static void conn_close(struct conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    uv_close(&c->handle, on_conn_closed);
}

static void take_lines(struct conn *c);
static void take_bytes(struct conn *c);

static void on_written(uv_write_t *w, int status)
{
    struct reply *r = (struct reply *)w;
    struct conn *c = (struct conn *)w->handle;

    reply_free(r);
    c->writing = false;
    if (status != 0 || c->last_words)
        conn_close(c);
    else if (!c->closing)
        take_bytes(c);
}

/* Takes text. */
static void send_bytes(struct conn *c, char *text, size_t len)
{
    struct reply *r = calloc(1, sizeof *r);
    uv_buf_t b = uv_buf_init(text, (unsigned)len);

    CHECK(r != NULL);
    r->text = text;
    r->len = len;
    c->writing = true;
    if (uv_write(&r->request, &c->stream, &b, 1, on_written) != 0) {
        reply_free(r);
        conn_close(c);
    }
}

static void flush(struct conn *c)
{
    size_t len;
    char *out = c->closing || c->writing ? NULL : admin_session_take(c->session, &len);

    if (out != NULL)
        send_bytes(c, out, len);
}

static void send_reply(struct conn *c, json_t *reply)
{
    char *text = json_dumps(reply, JSON_COMPACT);

    CHECK(text != NULL);
    json_decref(reply);
    size_t len = strlen(text);
    text[len] = '\n'; /* in place of the NUL: written by length */
    if (c->session == NULL) {
        send_bytes(c, text, len + 1);
        return;
    }
    bool ok = admin_session_write(c->session, span_of(text, len + 1));
    secret_wipe(text, len);
    free(text);
    if (ok)
        flush(c);
    else
        conn_close(c);
}

static bool busy(const struct conn *c)
{
    return c->closing || c->writing || c->last_words || c->wait.reply != NULL;
}

/* Found anew for each request: whom a reload took away is nobody from then on. */
static void actor_of(struct conn *c, struct actor *who)
{
    struct daemon *d = c->s->d;

    if (c->session == NULL)
        (void)roles_of_uid(&d->config, d->options.dev, c->uid, who);
    else if (!roles_of_name(&d->config, c->name, c->peer, who))
        d->admin.no_role++;
}

static json_t *answer(struct conn *c, struct span line)
{
    struct actor who;

    actor_of(c, &who);
    return admin_handle(c->s->d, &who, line, uv_now(c->s->loop), &c->wait);
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
        json_t *reply = answer(c, span_of(c->in, used - 1));
        memmove(c->in, c->in + used, c->in_len - used);
        c->in_len -= used;
        if (reply != NULL)
            send_reply(c, reply);
    }
}

/* ---- a remote client ---- */

/* Once, after the handshake.  Who is not let in is told why, and nothing of his is read. */
static bool judge(struct conn *c)
{
    struct admin_counts *n = &c->s->d->admin;
    struct refusal why;

    c->judged = true;
    switch (admin_session_client(c->session, c->name, &why)) {
    case CLIENT_GOOD:
        return true;
    case CLIENT_NONE:
        n->no_certificate++;
        break;
    case CLIENT_EXPIRED:
        n->expired++;
        break;
    case CLIENT_UNTRUSTED:
        n->untrusted++;
        break;
    }
    json_t *reply = json_pack("{s:b, s:i, s:{s:s, s:s, s:s}}", "ok", 0, "exit", (int)ADMIN_REFUSED, "error",
                              "code", why.code, "message", why.text, "next", why.next);
    send_reply(c, reply);
    c->last_words = true;
    if (!c->writing)
        conn_close(c);
    return false;
}

static void take_bytes(struct conn *c)
{
    enum admin_session_status s = ADMIN_SESSION_DATA;

    if (c->session == NULL) {
        take_lines(c);
        return;
    }
    while (s == ADMIN_SESSION_DATA && !busy(c) && c->in_len < ADMIN_REQUEST_MAX) {
        size_t n = 0;

        s = admin_session_read(c->session, c->in + c->in_len, ADMIN_REQUEST_MAX - c->in_len, &n);
        if (admin_session_shaken(c->session) && !c->judged && !judge(c))
            return;
        c->in_len += n;
        if (n != 0)
            take_lines(c);
    }
    if (s == ADMIN_SESSION_DEAD && !c->closing) {
        if (!admin_session_shaken(c->session))
            c->s->d->admin.handshake_failed++;
        c->last_words = true; /* the alert, if there is one */
        flush(c);
        if (!c->writing)
            conn_close(c);
        return;
    }
    flush(c);
}

/* ---- bytes ---- */

static void on_room(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct conn *c = (struct conn *)h;
    size_t len = ADMIN_REQUEST_MAX - c->in_len;
    uint8_t *at = c->session == NULL ? c->in + c->in_len : admin_session_room(c->session, &len);

    (void)suggested;
    *out = uv_buf_init((char *)at, (unsigned)len);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *unused)
{
    struct conn *c = (struct conn *)stream;

    (void)unused;
    if (n < 0) { /* end, an error, or no room left (UV_ENOBUFS): a line that long is no request */
        if (c->session != NULL && !admin_session_shaken(c->session) && n != UV_EOF)
            c->s->d->admin.handshake_failed++;
        conn_close(c);
        return;
    }
    c->heard_ms = uv_now(c->s->loop);
    if (c->session == NULL)
        c->in_len += (size_t)n;
    else
        admin_session_received(c->session, (size_t)n);
    take_bytes(c);
}

/* ---- coming in ---- */

static bool local_may_enter(struct conn *c)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    struct actor who;
    uv_os_fd_t fd;

    if (c->s->local_count > ADMIN_CONNECTIONS_MAX || uv_fileno(&c->handle, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    c->uid = peer.uid;
    if (roles_of_uid(&c->s->d->config, c->s->d->options.dev, c->uid, &who))
        return true;
    log_warn("a peer without a role was turned away at the admin socket", F("uid", (unsigned)c->uid));
    c->s->d->admin.no_role++;
    return false;
}

static struct conn *conn_new(struct admin_server *s)
{
    struct conn *c = calloc(1, sizeof *c);

    CHECK(c != NULL);
    c->in = malloc(ADMIN_REQUEST_MAX);
    CHECK(c->in != NULL);
    c->s = s;
    c->accepted_ms = c->heard_ms = uv_now(s->loop);
    c->next = s->conns;
    c->link = &s->conns;
    if (s->conns != NULL)
        s->conns->link = &c->next;
    s->conns = c;
    return c;
}

static void on_connection(uv_stream_t *listening, int status)
{
    struct admin_server *s = listening->data;

    if (status != 0)
        return;
    struct conn *c = conn_new(s);
    s->local_count++;
    CHECK(uv_pipe_init(s->loop, &c->pipe, 0) == 0);
    if (uv_accept(listening, &c->stream) != 0 || !local_may_enter(c) ||
        uv_read_start(&c->stream, on_room, on_read) != 0)
        conn_close(c);
}

static void peer_name(struct conn *c)
{
    struct sockaddr_storage a;
    int len = sizeof a;

    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&a, &len) != 0)
        snprintf(c->peer, sizeof c->peer, "?");
    else if (a.ss_family == AF_INET)
        uv_ip4_name((struct sockaddr_in *)&a, c->peer, sizeof c->peer);
    else
        uv_ip6_name((struct sockaddr_in6 *)&a, c->peer, sizeof c->peer);
}

static void on_remote(uv_stream_t *listening, int status)
{
    struct admin_server *s = listening->data;

    if (status != 0)
        return;
    struct conn *c = conn_new(s);
    c->session = admin_session_new(s->tls);
    CHECK(c->session != NULL);
    s->remote_count++;
    CHECK(uv_tcp_init(s->loop, &c->tcp) == 0);
    bool ok = uv_accept(listening, &c->stream) == 0;
    if (s->remote_count > ADMIN_REMOTE_MAX) {
        s->d->admin.too_many++;
        ok = false;
    }
    s->d->admin.accepted++;
    peer_name(c);
    if (!ok || uv_read_start(&c->stream, on_room, on_read) != 0)
        conn_close(c);
}

/* ---- time ---- */

static bool is_too_slow(const struct conn *c, uint64_t now)
{
    if (c->session != NULL && !c->judged)
        return now - c->accepted_ms > ADMIN_HANDSHAKE_MS;
    return (!busy(c) || c->writing) && now - c->heard_ms > ADMIN_IDLE_MS;
}

static void reload_tls(struct admin_server *s)
{
    const struct config *c = &s->d->config;
    struct refusal why;

    if (!s->has_remote || s->tls_of == s->d->reloads)
        return;
    s->tls_of = s->d->reloads;
    struct admin_tls *t = admin_tls_open(c->admin.certificate_file, c->admin.key_file,
                                         c->admin.client_ca_file, s->d->rng, &why);
    if (t == NULL) {
        log_error("the admin certificate stays as it was", F("why", why.text), F("next", why.next));
        return;
    }
    admin_tls_unref(s->tls);
    s->tls = t;
}

void admin_server_progress(struct admin_server *s)
{
    uint64_t now = uv_now(s->loop);

    reload_tls(s);
    for (struct conn *c = s->conns, *next; c != NULL; c = next) {
        next = c->next;
        if (c->closing)
            continue;
        json_t *reply = c->wait.reply == NULL ? NULL : admin_wait_over(s->d, &c->wait, now);
        if (reply != NULL) {
            send_reply(c, reply);
        } else if (is_too_slow(c, now)) {
            if (c->session != NULL && !c->judged)
                s->d->admin.too_slow++;
            conn_close(c);
        }
    }
}

/* ---- the two doors ---- */

/* Whom the configuration names by uid must reach the socket; who it is, the kernel says. */
static void let_people_reach(const struct config *c)
{
    for (uint16_t i = 0; i < c->admin.person_count; i++) {
        if (c->admin.people[i].uid[0] != '\0' && chmod(c->ctrl.admin_socket, 0666) != 0)
            log_warn("the admin socket cannot be opened to others", F("file", c->ctrl.admin_socket));
    }
}

static int address_of(const char *text, struct sockaddr_storage *out)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    bool six = text[0] == '[';
    size_t len = (size_t)(colon - text) - (six ? 2 : 0);
    int port = atoi(colon + 1);

    memcpy(host, text + (six ? 1 : 0), len);
    host[len] = '\0';
    return six ? uv_ip6_addr(host, port, (struct sockaddr_in6 *)out)
               : uv_ip4_addr(host, port, (struct sockaddr_in *)out);
}

static bool open_remote(struct admin_server *s, struct refusal *why)
{
    const struct config *c = &s->d->config;
    struct sockaddr_storage a = {0};

    if (c->admin.listen[0] == '\0')
        return true;
    s->tls =
        admin_tls_open(c->admin.certificate_file, c->admin.key_file, c->admin.client_ca_file, s->d->rng, why);
    if (s->tls == NULL)
        return false;
    s->tls_of = s->d->reloads;
    CHECK(uv_tcp_init(s->loop, &s->remote) == 0);
    s->remote.data = s;
    s->has_remote = true;
    int rc = address_of(c->admin.listen, &a);
    rc = rc != 0 ? rc : uv_tcp_bind(&s->remote, (struct sockaddr *)&a, 0);
    rc = rc != 0 ? rc : uv_listen((uv_stream_t *)&s->remote, 64, on_remote);
    return rc == 0 ||
           refuse(why, "bad_socket", "check admin.listen", "%s: %s", c->admin.listen, uv_strerror(rc));
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
    let_people_reach(&d->config);
    if (open_remote(s, why))
        return s;
    admin_server_close(s);
    return NULL;
}

static void on_listening_closed(uv_handle_t *h)
{
    struct admin_server *s = h->data;

    s->closing = true;
    for (struct conn *c = s->conns; c != NULL; c = c->next)
        conn_close(c);
    server_free_if_done(s);
}

static void on_remote_closed(uv_handle_t *h)
{
    struct admin_server *s = h->data;

    uv_close((uv_handle_t *)&s->listening, on_listening_closed);
}

void admin_server_close(struct admin_server *s)
{
    if (s == NULL)
        return;
    unlink(s->d->config.ctrl.admin_socket);
    if (s->has_remote)
        uv_close((uv_handle_t *)&s->remote, on_remote_closed);
    else
        uv_close((uv_handle_t *)&s->listening, on_listening_closed);
}
