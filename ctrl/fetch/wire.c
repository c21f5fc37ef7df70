#include "ctrl/fetch/wire.h"

#include "base/check.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define WIRE_VERSION 1
#define TEXT_COUNT   7

static void write_text(struct writer *w, const char *text)
{
    write_u16(w, (uint16_t)strlen(text));
    write_bytes(w, span_str(text));
}

static bool take_text(struct cursor *c, char out[FETCH_TEXT_CAP])
{
    struct span s = cursor_take(c, cursor_u16(c));

    if (!cursor_ok(c) || s.len >= FETCH_TEXT_CAP || memchr(s.ptr, '\0', s.len) != NULL)
        return false;
    memcpy(out, s.ptr, s.len);
    out[s.len] = '\0';
    return true;
}

size_t fetch_request_write(const struct fetch_request *r, uint8_t *out)
{
    const char *const texts[TEXT_COUNT] = {r->name,   r->place,       r->region, r->bucket,
                                           r->prefix, r->credentials, r->trust};
    struct writer w = writer_of(out, FETCH_MESSAGE_MAX);

    write_u8(&w, WIRE_VERSION);
    write_u8(&w, r->operation);
    write_u8(&w, r->kind);
    write_u8(&w, 0);
    write_u32(&w, r->patience_s);
    for (size_t i = 0; i < TEXT_COUNT; i++)
        write_text(&w, texts[i]);
    CHECK(writer_ok(&w));
    return w.len;
}

bool fetch_request_parse(struct span message, struct fetch_request *out)
{
    struct cursor c = cursor_of(message);
    char *const texts[TEXT_COUNT] = {out->name,   out->place,       out->region, out->bucket,
                                     out->prefix, out->credentials, out->trust};
    uint8_t version = cursor_u8(&c);

    out->operation = cursor_u8(&c);
    out->kind = cursor_u8(&c);
    uint8_t zero = cursor_u8(&c);
    out->patience_s = cursor_u32(&c);
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        if (!take_text(&c, texts[i]))
            return false;
    }
    return cursor_ok(&c) && c.left == 0 && version == WIRE_VERSION && zero == 0 &&
           out->operation >= FETCH_PUT && out->operation <= FETCH_DELETE && out->kind >= FETCH_DIRECTORY &&
           out->kind <= FETCH_SFTP;
}

size_t fetch_reply_write(const struct fetch_reply *r, uint8_t *out)
{
    struct writer w = writer_of(out, FETCH_MESSAGE_MAX);

    write_u8(&w, WIRE_VERSION);
    write_u8(&w, r->status);
    write_u64(&w, r->size);
    write_bytes(&w, span_of(r->sha256, sizeof r->sha256));
    write_text(&w, r->text);
    CHECK(writer_ok(&w));
    return w.len;
}

bool fetch_reply_parse(struct span message, struct fetch_reply *out)
{
    struct cursor c = cursor_of(message);
    uint8_t version = cursor_u8(&c);

    out->status = cursor_u8(&c);
    out->size = cursor_u64(&c);
    struct span sha = cursor_take(&c, FETCH_SHA_LEN);
    memcpy(out->sha256, sha.ptr, sha.len);
    return take_text(&c, out->text) && c.left == 0 && version == WIRE_VERSION &&
           out->status < FETCH_STATUS_COUNT;
}

union control {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
};

bool fetch_send(int socket, struct span message, int fd)
{
    union control control = {0};
    struct iovec part = {(void *)(uintptr_t)message.ptr, message.len};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};

    if (fd >= 0) {
        m.msg_control = &control;
        m.msg_controllen = sizeof control;
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    }
    ssize_t n;
    do
        n = sendmsg(socket, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)message.len;
}

bool fetch_receive(int socket, uint8_t out[FETCH_MESSAGE_MAX], size_t *len, int *fd)
{
    union control control = {0};
    struct iovec part = {out, FETCH_MESSAGE_MAX};
    struct msghdr m = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n;

    *fd = -1;
    *len = 0;
    do
        n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return false;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof *fd))
        memcpy(fd, CMSG_DATA(c), sizeof *fd);
    *len = (size_t)n;
    return true;
}
