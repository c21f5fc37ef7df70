#include "ctrl/server.h"

#include "base/check.h"
#include "base/log.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct ctl_server {
    uv_loop_t *loop;
    struct daemon *d;
    int listen_fd;
    uv_poll_t accepting;
    uv_poll_t *peer; /* of push_fd; NULL = none */
    uv_prepare_t prepare;
    int handles;
};

static void on_closed(uv_handle_t *h)
{
    struct ctl_server *s = h->data;

    if (--s->handles == 0)
        free(s);
}

static void on_peer_closed(uv_handle_t *h)
{
    free(h);
}

static void peer_stop(struct ctl_server *s)
{
    if (s->peer == NULL)
        return;
    uv_poll_stop(s->peer);
    uv_close((uv_handle_t *)s->peer, on_peer_closed);
    s->peer = NULL;
}

/* push may close the socket in here: the handle goes before the number can be used again. */
static void on_peer(uv_poll_t *h, int status, int events)
{
    struct ctl_server *s = h->data;
    struct push *p = s->d->push;

    if (status < 0 || (events & UV_READABLE) != 0)
        push_readable(p, uv_now(s->loop));
    if (push_fd(p) >= 0 && (events & UV_WRITABLE) != 0)
        push_writable(p);
    if (push_fd(p) < 0)
        peer_stop(s);
}

static void peer_start(struct ctl_server *s)
{
    s->peer = calloc(1, sizeof *s->peer);
    CHECK(s->peer != NULL);
    CHECK(uv_poll_init(s->loop, s->peer, push_fd(s->d->push)) == 0);
    s->peer->data = s;
}

/* Before every sleep of the loop: poll for what push wants now. */
static void on_prepare(uv_prepare_t *h)
{
    struct ctl_server *s = h->data;
    struct push *p = s->d->push;

    if (push_fd(p) < 0) {
        peer_stop(s);
        return;
    }
    if (s->peer == NULL)
        peer_start(s);
    uv_poll_start(s->peer, UV_READABLE | (push_wants_write(p) ? UV_WRITABLE : 0), on_peer);
}

static void on_acceptable(uv_poll_t *h, int status, int events)
{
    struct ctl_server *s = h->data;

    (void)events;
    if (status < 0)
        return;
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (!server_peer_ok(fd)) {
        log_warn("a peer of another user was turned away at the ctl socket");
        close(fd);
        return;
    }
    if (push_fd(s->d->push) < 0)
        peer_stop(s);
    push_accept(s->d->push, fd, uv_now(s->loop));
}

struct ctl_server *ctl_server_open(uv_loop_t *loop, struct daemon *d, struct refusal *why)
{
    int fd = server_listen(d->config.ctrl.ctl_socket, why);

    if (fd < 0)
        return NULL;
    struct ctl_server *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->loop = loop;
    s->d = d;
    s->listen_fd = fd;
    CHECK(uv_poll_init(loop, &s->accepting, fd) == 0 && uv_prepare_init(loop, &s->prepare) == 0);
    s->accepting.data = s->prepare.data = s;
    s->handles = 2;
    CHECK(uv_poll_start(&s->accepting, UV_READABLE, on_acceptable) == 0);
    CHECK(uv_prepare_start(&s->prepare, on_prepare) == 0);
    return s;
}

void ctl_server_close(struct ctl_server *s)
{
    if (s == NULL)
        return;
    peer_stop(s);
    close(s->listen_fd);
    unlink(s->d->config.ctrl.ctl_socket);
    uv_close((uv_handle_t *)&s->accepting, on_closed);
    uv_close((uv_handle_t *)&s->prepare, on_closed);
}
