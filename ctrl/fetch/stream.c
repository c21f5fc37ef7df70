#include "base/check.h"
#include "ctrl/fetch/fetch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define CONNECT_S 15

/* What libcurl, or the library below it, says of the transfer under way. */
static char said[CURL_ERROR_SIZE];

enum fetch_status fetch_fail(struct fetch_reply *out, enum fetch_status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(out->text, sizeof out->text, format, args);
    va_end(args);
    return status;
}

enum fetch_status fetch_fail_errno(struct fetch_reply *out, int cause, const char *what)
{
    enum fetch_status status = FETCH_FAILED;

    if (cause == ENOSPC || cause == EDQUOT)
        status = FETCH_NO_SPACE;
    else if (cause == ENOENT || cause == ENOTDIR)
        status = FETCH_NOT_FOUND;
    else if (cause == EACCES || cause == EPERM || cause == EROFS)
        status = FETCH_DENIED;
    return fetch_fail(out, status, "%.400s: %s", what, strerror(cause));
}

bool name_ok(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < len; i++) {
        char ch = name[i];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == 'T' || ch == 'Z' || ch == '-' ||
              ch == '.'))
            return false;
    }
    return len >= 8 && len < 128 && strncmp(name, "ww-", 3) == 0;
}

void stream_begin(struct fetch_stream *s, int fd)
{
    *s = (struct fetch_stream){.fd = fd};
    mbedtls_sha256_init(&s->sha);
    CHECK(mbedtls_sha256_starts_ret(&s->sha, 0) == 0);
}

static void note(struct fetch_stream *s, const void *p, size_t len)
{
    CHECK(mbedtls_sha256_update_ret(&s->sha, p, len) == 0);
    s->size += len;
}

bool stream_write(struct fetch_stream *s, const void *p, size_t len)
{
    const uint8_t *at = p;

    note(s, p, len);
    while (s->fd >= 0 && len > 0) {
        ssize_t n = write(s->fd, at, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            s->error = n < 0 ? errno : EIO;
            return false;
        }
        at += n;
        len -= (size_t)n;
    }
    return true;
}

ssize_t stream_read(struct fetch_stream *s, void *out, size_t cap)
{
    ssize_t n;

    do
        n = read(s->fd, out, cap);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        s->error = errno;
    else
        note(s, out, (size_t)n);
    return n;
}

void stream_end(struct fetch_stream *s, uint64_t *size, uint8_t sha256[FETCH_SHA_LEN])
{
    CHECK(mbedtls_sha256_finish_ret(&s->sha, sha256) == 0);
    mbedtls_sha256_free(&s->sha);
    *size = s->size;
}

size_t stream_to_curl(char *to, size_t size, size_t count, void *stream)
{
    ssize_t n = stream_read(stream, to, size * count);

    return n < 0 ? CURL_READFUNC_ABORT : (size_t)n;
}

size_t stream_from_curl(char *from, size_t size, size_t count, void *stream)
{
    return stream_write(stream, from, size * count) ? size * count : 0;
}

CURL *transfer_new(const struct fetch_request *r, const char *protocols)
{
    CURL *c = curl_easy_init();

    if (c == NULL)
        return NULL;
    said[0] = '\0';
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, said);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, protocols);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT,
                     (long)(r->patience_s < CONNECT_S ? r->patience_s : CONNECT_S));
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)r->patience_s);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    return c;
}

enum fetch_status transfer_fail(struct fetch_reply *out, CURLcode code, const struct fetch_stream *s,
                                const char *what)
{
    enum fetch_status status = FETCH_FAILED;

    if (s != NULL && s->error != 0)
        return fetch_fail_errno(out, s->error, "a file of ww-ctrl's");
    if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT ||
        code == CURLE_OPERATION_TIMEDOUT || code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR ||
        code == CURLE_SEND_ERROR || code == CURLE_PARTIAL_FILE)
        status = FETCH_UNREACHABLE;
    else if (code == CURLE_LOGIN_DENIED || code == CURLE_PEER_FAILED_VERIFICATION ||
             code == CURLE_REMOTE_ACCESS_DENIED)
        status = FETCH_DENIED;
    else if (code == CURLE_REMOTE_FILE_NOT_FOUND)
        status = FETCH_NOT_FOUND;
    else if (code == CURLE_REMOTE_DISK_FULL)
        status = FETCH_NO_SPACE;
    return fetch_fail(out, status, "%.240s: %s%s%.160s", what, curl_easy_strerror(code),
                      said[0] == '\0' ? "" : ": ", said);
}
