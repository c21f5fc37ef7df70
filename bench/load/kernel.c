/* Streams over kernel sockets: one epoll set, edge-triggered, each socket added once. */
#include "bench/load/transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 32 /* a turn is short: what is due does not wait behind many replies */

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

struct stream {
    struct kernel *of;
    void *user;
    struct stream *next_free;
    int fd;
    bool closed;
};

struct kernel {
    struct transport transport;
    int epoll;
    struct sockaddr_storage target;
    struct sockaddr_storage sources[TRANSPORT_SOURCES_MAX];
    socklen_t address_len;
    size_t source_count, source_next;
    struct stream *streams, *free;
    struct stream *parting[EVENTS_MAX]; /* closed while a batch of events may still name them */
    size_t parting_count;
    bool in_batch;
};

static struct kernel *kernel_of(struct transport *t)
{
    return (struct kernel *)t;
}

static bool address_parse(const char *text, uint16_t port, struct sockaddr_storage *out, socklen_t *len)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *len = sizeof *v4;
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *len = sizeof *v6;
        return true;
    }
    fprintf(stderr, "ww-bench: '%s' is not an address\n", text);
    return false;
}

static void stream_give(struct kernel *k, struct stream *s)
{
    s->next_free = k->free;
    k->free = s;
}

static bool source_bind(struct kernel *k, int fd)
{
    int one = 1;

    if (k->source_count == 0)
        return true;
    const struct sockaddr_storage *from = &k->sources[k->source_next++ % k->source_count];
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    return bind(fd, (const struct sockaddr *)from, k->address_len) == 0;
}

static struct stream *kernel_open(struct transport *t, void *user)
{
    struct kernel *k = kernel_of(t);
    struct stream *s = k->free;
    int one = 1;

    if (s == NULL)
        return NULL;
    int fd = socket(k->target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!source_bind(k, fd) ||
        (connect(fd, (const struct sockaddr *)&k->target, k->address_len) != 0 && errno != EINPROGRESS) ||
        epoll_ctl(k->epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
        close(fd);
        return NULL;
    }
    k->free = s->next_free;
    *s = (struct stream){.of = k, .user = user, .fd = fd};
    return s;
}

static long outcome(ssize_t n)
{
    if (n >= 0)
        return (long)n;
    return errno == EAGAIN || errno == EINTR || errno == ENOTCONN || errno == EINPROGRESS ? STREAM_AGAIN
                                                                                          : STREAM_FAILED;
}

static long kernel_recv(struct stream *s, void *out, size_t cap)
{
    return outcome(recv(s->fd, out, cap, 0));
}

static long kernel_send(struct stream *s, const void *data, size_t len)
{
    return outcome(send(s->fd, data, len, MSG_NOSIGNAL));
}

static void kernel_close(struct stream *s, bool abort)
{
    struct linger now = {1, 0};

    if (abort)
        (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(s->fd);
    s->closed = true;
    if (s->of->in_batch)
        s->of->parting[s->of->parting_count++] = s;
    else
        stream_give(s->of, s);
}

static void kernel_wait(struct transport *t, uint64_t us_max, void (*ready)(void *user))
{
    struct kernel *k = kernel_of(t);
    struct epoll_event events[EVENTS_MAX];
    struct timespec wait = {(time_t)(us_max / 1000000), (long)(us_max % 1000000) * 1000};
    int n = epoll_pwait2(k->epoll, events, EVENTS_MAX, &wait, NULL);

    k->in_batch = true;
    for (int i = 0; i < n; i++) {
        struct stream *s = events[i].data.ptr;
        if (!s->closed)
            ready(s->user);
    }
    k->in_batch = false;
    while (k->parting_count > 0)
        stream_give(k, k->parting[--k->parting_count]);
}

static void kernel_free(struct transport *t)
{
    struct kernel *k = kernel_of(t);

    close(k->epoll);
    free(k->streams);
    free(k);
}

static const struct transport_ops kernel_ops = {kernel_open, kernel_recv, kernel_send, kernel_close,
                                                kernel_wait, kernel_free, NULL};

struct transport *kernel_transport_new(const struct transport_config *c)
{
    struct kernel *k = calloc(1, sizeof *k);
    socklen_t len = 0;

    if (k == NULL || (k->streams = calloc(c->streams_max, sizeof *k->streams)) == NULL ||
        (k->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) {
        fprintf(stderr, "ww-bench: no memory\n");
        exit(1);
    }
    k->transport.ops = &kernel_ops;
    for (uint32_t i = 0; i < c->streams_max; i++)
        stream_give(k, &k->streams[i]);
    if (!address_parse(c->address, c->port, &k->target, &k->address_len))
        return NULL;
    for (size_t i = 0; i < c->source_count; i++) {
        if (!address_parse(c->sources[i], 0, &k->sources[i], &len) || len != k->address_len)
            return NULL;
    }
    k->source_count = c->source_count;
    return &k->transport;
}
