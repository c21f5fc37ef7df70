/* ww-epoll-server --config FILE: the same wraps behind kernel sockets.  For measurements only: what is not our TCP stack and its poll loop
 * (TLS settings, token verdicts, policy, keys, verify-after-wrap, audit, ctl) is the product's own code, so that a run beside it shows
 * what the stack is worth.  One thread with epoll; ctl on another; TLS records, requests and replies as ww-dataplane has them.
 * Only requests with a Content-Length, one at a time: what the load generator sends. */
#include "base/check.h"
#include "base/log.h"
#include "base/secret_priv.h"
#include "dataplane/ctl.h"
#include "dataplane/ekm/ekm.h"
#include "dataplane/keys/keys.h"
#include "dataplane/tls/tls.h"
#include "proto/config.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 256
#define IN_CAP     (HTTP_HEAD_MAX + HTTP_SMALL_BODY_MAX)
#define OUT_CAP    EKM_REPLY_CAP(HTTP_SMALL_BODY_MAX)
#define FILE_MAX   (256 * 1024)
#define FD_MAX     131072

struct server {
    struct config config;
    struct keys *keys;
    struct ekm_auth *auth;
    struct audit_ring *audit;
    int audit_fd, epoll, listener;
    uint8_t boot_id[16];
    struct counters house;
    struct tls_worker *tls;
    struct keys_worker *reader;
    struct ekm_worker *ekm;
};

/* Bytes of a request that is not whole yet, and of a reply that the socket did not take, are kept per connection. */
struct conn {
    struct server *server;
    struct tls_conn *tls;
    uint8_t *kept_in, *kept_out;
    size_t kept_in_len, kept_out_len, kept_out_at;
    int fd;
    bool shaken, dead, ended, drained;
};

static struct server server;
static _Atomic bool stopping;
static uint8_t rx[IN_CAP]; /* what the socket of the connection in hand gave */
static size_t rx_len, rx_at;

static void on_stop(int sig)
{
    (void)sig;
    atomic_store(&stopping, true);
}

static uint64_t now_ns(clockid_t id)
{
    struct timespec t;

    CHECK(clock_gettime(id, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

/* ---- the bytes below TLS ---- */

static struct span io_peek(void *arg)
{
    struct conn *c = arg;

    if (rx_at == rx_len && !c->drained) {
        ssize_t n = recv(c->fd, rx, sizeof rx, 0);
        rx_at = 0;
        rx_len = n > 0 ? (size_t)n : 0;
        c->drained = rx_len < sizeof rx;
        c->ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    }
    return span_of(rx + rx_at, rx_len - rx_at);
}

static void io_consume(void *arg, size_t len)
{
    (void)arg;
    rx_at += len;
}

static size_t io_send(void *arg, struct span data)
{
    struct conn *c = arg;
    ssize_t n = send(c->fd, data.ptr, data.len, MSG_NOSIGNAL);

    return n > 0 ? (size_t)n : 0;
}

static const struct tls_io socket_io = {io_peek, io_consume, io_send};

/* ---- one connection ---- */

static void conn_end(struct conn *c)
{
    tls_free(c->tls);
    close(c->fd);
    free(c->kept_in);
    free(c->kept_out);
    free(c);
}

/* What was not taken is kept and offered again when there is room. */
static void reply_send(struct conn *c, const uint8_t *out, size_t len)
{
    size_t taken = 0;
    enum tls_status s = tls_write(c->tls, span_of(out, len), &taken);

    if (s == TLS_OK && taken == len)
        return;
    if (s != TLS_WANT_WRITE || (c->kept_out = malloc(len)) == NULL) {
        c->dead = true;
        return;
    }
    memcpy(c->kept_out, out, len);
    c->kept_out_len = len;
}

static void reply_go_on(struct conn *c)
{
    size_t taken = 0;

    if (c->kept_out == NULL)
        return;
    enum tls_status s = tls_write(c->tls, span_of(c->kept_out, c->kept_out_len), &taken);
    if (s == TLS_WANT_WRITE)
        return;
    c->dead = s != TLS_OK;
    free(c->kept_out);
    c->kept_out = NULL;
}

static void serve(struct conn *c, const struct http_request *head, uint8_t *in)
{
    static uint8_t out[OUT_CAP];
    struct ekm_reply reply = {.out = {out, 0, sizeof out}};
    struct audit_record record;
    uint64_t began = now_ns(CLOCK_MONOTONIC);
    struct ekm_request rq = {*head, secret_of(in + head->head_len, head->content_length),
                             now_ns(CLOCK_REALTIME) / 1000};

    ekm_handle(c->server->ekm, &rq, &reply, &record);
    reply_send(c, out, reply.out.len);
    record.latency_ns = (uint32_t)(now_ns(CLOCK_MONOTONIC) - began);
    audit_put(c->server->audit, &record);
    if (reply.close && !c->dead) {
        tls_shutdown(c->tls);
        c->dead = true;
    }
}

/* Serves what is whole; returns how many bytes were served, -1 when what came is no request. */
static long serve_whole(struct conn *c, uint8_t *in, size_t len)
{
    struct http_request head;
    enum reason why;

    switch (http_parse_head(span_of(in, len), &head, &why)) {
    case HTTP_OK:
        break;
    case HTTP_MORE:
        return 0;
    default:
        return -1;
    }
    if (head.framing != HTTP_CONTENT_LENGTH || head.head_len + head.content_length > IN_CAP)
        return -1;
    if (len < head.head_len + head.content_length)
        return 0;
    serve(c, &head, in);
    return (long)(head.head_len + head.content_length);
}

static void keep(struct conn *c, const uint8_t *in, size_t len)
{
    free(c->kept_in);
    c->kept_in = len == 0 ? NULL : malloc(len);
    c->kept_in_len = c->kept_in == NULL ? 0 : len;
    if (c->kept_in != NULL)
        memcpy(c->kept_in, in, len);
}

static void conn_read(struct conn *c)
{
    static uint8_t in[IN_CAP];
    size_t len = c->kept_in_len, got = 0;
    enum tls_status s = TLS_OK;

    if (len != 0)
        memcpy(in, c->kept_in, len);
    while (!c->dead && (s = tls_read(c->tls, in + len, sizeof in - len, &got)) == TLS_OK) {
        len += got;
        long served = serve_whole(c, in, len);
        if (served < 0) {
            c->dead = true;
        } else if (served > 0) {
            len -= (size_t)served;
            memmove(in, in + served, len);
        }
    }
    if (s != TLS_OK && s != TLS_WANT_READ)
        c->dead = true;
    keep(c, in, len);
}

static void conn_ready(struct conn *c)
{
    rx_len = rx_at = 0;
    c->drained = false;
    if (!c->shaken) {
        enum tls_status s;
        while ((s = tls_handshake(c->tls)) == TLS_MORE)
            ; /* all of it at once */
        c->shaken = s == TLS_OK;
        c->dead = s == TLS_FAILED || s == TLS_CLOSED;
    }
    if (c->shaken && !c->dead) {
        reply_go_on(c);
        if (!c->dead)
            conn_read(c);
    }
    if (c->dead || c->ended)
        conn_end(c);
}

static void accept_all(void)
{
    int fd, one = 1;

    while ((fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};

        CHECK(c != NULL);
        c->server = &server;
        c->fd = fd;
        c->tls = tls_accept(server.tls, &socket_io, c);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (c->tls == NULL || epoll_ctl(server.epoll, EPOLL_CTL_ADD, fd, &e) != 0)
            conn_end(c);
    }
}

/* ---- the two threads ---- */

static void *keep_house(void *arg)
{
    struct ctl_config cc = {.socket_path = server.config.ctrl.ctl_socket,
                            .keys = server.keys,
                            .auth = server.auth,
                            .worker_count = 1,
                            .tls = {server.tls},
                            .audit_fd = {server.audit_fd},
                            .counters = &server.house};
    (void)arg;

    memcpy(cc.boot_id, server.boot_id, sizeof cc.boot_id);
    struct ctl *ctl = ctl_new(&cc);
    CHECK(ctl != NULL);
    while (!atomic_load(&stopping)) {
        struct pollfd p = {.fd = ctl_fd(ctl), .events = POLLIN};
        if (!ctl_step(ctl, now_ns(CLOCK_MONOTONIC) / 1000))
            (void)poll(&p, 1, ctl_settling(ctl) ? 1 : 10);
    }
    ctl_free(ctl);
    tls_thread_end(server.tls);
    return NULL;
}

/* Like a worker: quiet for RCU after each batch, away from it only while there is nothing to do. */
static int events_next(struct epoll_event *events)
{
    int n = epoll_wait(server.epoll, events, EVENTS_MAX, 0);

    if (n > 0) {
        ekm_quiescent(server.ekm);
        keys_quiescent(server.reader);
        return n;
    }
    keys_offline(server.reader);
    n = epoll_wait(server.epoll, events, EVENTS_MAX, 100);
    keys_online(server.reader);
    ekm_quiescent(server.ekm);
    return n;
}

static void run(void)
{
    struct epoll_event events[EVENTS_MAX];

    while (!atomic_load(&stopping)) {
        int n = events_next(events);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_all();
            else
                conn_ready(events[i].data.ptr);
        }
    }
}

static void pin(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    if (server.config.dataplane.core_count == 0)
        return;
    CPU_SET(server.config.dataplane.cores[0], &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

/* ---- start ---- */

static void listen_open(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(server.config.net.port)};
    struct epoll_event e = {.events = EPOLLIN | EPOLLET};
    int one = 1;

    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(server.listener >= 0 &&
          setsockopt(server.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
          bind(server.listener, (struct sockaddr *)&any, sizeof any) == 0 &&
          listen(server.listener, 4096) == 0 &&
          epoll_ctl(server.epoll, EPOLL_CTL_ADD, server.listener, &e) == 0);
}

static bool config_load(const char *path)
{
    static uint8_t text[FILE_MAX];
    struct config_error err;
    FILE *f = fopen(path, "rb");

    if (f == NULL)
        return false;
    size_t len = fread(text, 1, sizeof text, f);
    fclose(f);
    return config_parse(span_of(text, len), &server.config, &err);
}

static bool start(void)
{
    struct keys_config kc = {.keys_max = server.config.dataplane.keys_max,
                             .versions_max = server.config.dataplane.versions_max};

    CHECK(getrandom(server.boot_id, sizeof server.boot_id, 0) == (ssize_t)sizeof server.boot_id);
    server.audit =
        audit_ring_create(server.config.dataplane.audit_records, 0, server.boot_id, &server.audit_fd);
    server.keys = keys_new(&kc);
    server.auth = ekm_auth_new();
    if (server.audit == NULL || server.keys == NULL || server.auth == NULL)
        return false;
    server.tls = tls_worker_new(&server.audit->counters, NULL, NULL);
    server.reader = keys_worker_new(server.keys, &server.audit->counters);
    server.ekm =
        server.reader == NULL ? NULL : ekm_worker_new(server.auth, server.reader, &server.audit->counters);
    return server.tls != NULL && server.ekm != NULL;
}

int main(int argc, char **argv)
{
    struct sigaction stop = {.sa_handler = on_stop};
    struct rlimit files = {FD_MAX, FD_MAX};
    pthread_t house;

    if (argc != 3 || !config_load(argv[2])) {
        fprintf(stderr, "usage: ww-epoll-server --config FILE\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    (void)setrlimit(RLIMIT_NOFILE, &files);
    CHECK(start());
    listen_open();
    CHECK(pthread_create(&house, NULL, keep_house, NULL) == 0);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    pin();
    run();
    pthread_join(house, NULL);
    return 0;
}
