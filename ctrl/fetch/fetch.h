/* The parts of ww-fetch: one file per kind of sink, each with the same four verbs. */
#ifndef CTRL_FETCH_FETCH_H
#define CTRL_FETCH_FETCH_H

#include "ctrl/fetch/wire.h"

#include <curl/curl.h>
#include <mbedtls/sha256.h>

/* out->text: what went wrong; returns status. */
enum fetch_status fetch_fail(struct fetch_reply *out, enum fetch_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for errno. */
enum fetch_status fetch_fail_errno(struct fetch_reply *out, int cause, const char *what);

enum fetch_status directory_answer(const struct fetch_request *r, int fd, struct fetch_reply *out);
enum fetch_status s3_answer(const struct fetch_request *r, int fd, struct fetch_reply *out);
enum fetch_status sftp_answer(const struct fetch_request *r, int fd, struct fetch_reply *out);

/* A stream that is hashed as it goes by. */
struct fetch_stream {
    int fd; /* -1: to nowhere */
    int error;
    uint64_t size;
    mbedtls_sha256_context sha;
};

void stream_begin(struct fetch_stream *s, int fd);
bool MUST_USE stream_write(struct fetch_stream *s, const void *p, size_t len);
/* 0: the end; -1: s->error. */
ssize_t stream_read(struct fetch_stream *s, void *out, size_t cap);
void stream_end(struct fetch_stream *s, uint64_t *size, uint8_t sha256[FETCH_SHA_LEN]);

/* libcurl's side of a stream. */
size_t stream_to_curl(char *to, size_t size, size_t count, void *stream);
size_t stream_from_curl(char *from, size_t size, size_t count, void *stream);
/* A handle with the limits that every transfer has. NULL: out of memory. */
CURL *transfer_new(const struct fetch_request *r, const char *protocols);
enum fetch_status transfer_fail(struct fetch_reply *out, CURLcode code, const struct fetch_stream *s,
                                const char *what);

/* Only what this program itself gives to objects: lower-case letters, digits, T, Z, - and . */
bool name_ok(const char *name);

#endif
