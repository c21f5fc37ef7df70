/* HTTP/1.1 requests (RFC 9112, 9110), strictly: any ambiguity of framing is 400 and close.  Pure: bytes in,
 * meaning out, no state but what the caller holds; nothing is allocated; views point into the caller's bytes.
 *
 * Refused with their own reason: bare CR or LF as line end, obs-fold, space before the colon, control bytes,
 * a request target not in origin-form, HTTP versions other than 1.0 and 1.1, no or several Host in 1.1,
 * Content-Length twice or not plain digits (no sign, list or leading zero), Content-Length beside
 * Transfer-Encoding, any Transfer-Encoding but exactly "chunked", chunked in 1.0, a second Authorization or
 * Content-Type, lengths over limits.h.  One empty line before the request line is skipped (RFC 9112 2.2). The
 * path is the bytes of the target: no percent-decoding, no dot segments. */
#ifndef PROTO_HTTP_H
#define PROTO_HTTP_H

#include "base/limits.h"
#include "base/reasons.h"
#include "base/span.h"

enum http_method { HTTP_GET, HTTP_POST, HTTP_METHOD_OTHER };

enum http_framing { HTTP_NO_BODY, HTTP_CONTENT_LENGTH, HTTP_CHUNKED };

struct http_request {
    enum http_method method;
    uint8_t minor_version; /* 0 or 1 */
    struct span path;      /* begins with '/'; the query, if any, is part of it */
    struct span host;
    struct secret_span authorization; /* the whole field value; empty when absent */
    struct span content_type;
    enum http_framing framing;
    size_t content_length;
    bool keep_alive;      /* what the request asks for, by version and Connection */
    bool expect_continue; /* the client waits for "100 Continue" and there is a body to wait for */
    size_t head_len;      /* bytes of the head, its empty line included */
};

enum http_status {
    HTTP_OK,
    HTTP_MORE,            /* not all here yet */
    HTTP_BAD,             /* 400, close */
    HTTP_TOO_LARGE,       /* 413: announced body over HTTP_BODY_MAX; close */
    HTTP_HEAD_TOO_LARGE,  /* 431; close */
    HTTP_NOT_IMPLEMENTED, /* 501: a transfer coding we do not know; close */
    HTTP_BAD_VERSION,     /* 505; close */
    HTTP_BAD_EXPECTATION, /* 417: an Expect other than 100-continue; close */
};

/* Parses the head at the front of in, from its first byte on each call.  On HTTP_OK views point into in.  On
 * an error *why is the counted reason.  An error found in a prefix is the error of the whole. */
enum http_status MUST_USE http_parse_head(struct span in, struct http_request *out, enum reason *why);

/* Chunked bodies, decoded in place and incrementally (RFC 9112 7.1): chunk extensions are skipped, trailers
 * are skipped, both bounded; so is what all size lines together may cost beyond the body. */
struct http_chunked {
    uint8_t state;
    enum reason why; /* of the failed state, which is sticky */
    size_t chunk_left;
    size_t line_len;   /* bytes of the current size line or trailer section, bounded */
    size_t excess_len; /* bytes of size lines not yet outweighed by data, bounded */
    size_t body_len;   /* decoded so far, bounded by HTTP_BODY_MAX */
};

void http_chunked_init(struct http_chunked *c);
/* Consumes from in, appends decoded bytes to body (which may overlap in: body never runs ahead of it); *used:
 * consumed bytes. HTTP_OK: the last chunk and trailers were seen, what follows *used belongs to the next
 * request. HTTP_MORE: all of in was used, or body is full (*used < in.len): call again with the rest and more
 * room. */
enum http_status MUST_USE http_chunked_feed(struct http_chunked *c, struct span in, size_t *used,
                                            struct buf *body, enum reason *why);

/* The reply's head, written into out; false when it does not fit. */
struct http_reply_head {
    uint16_t status;
    size_t content_length;
    bool close;             /* adds "Connection: close" */
    bool keep_alive_1_0;    /* adds "Connection: keep-alive" for an HTTP/1.0 client that asked for it */
    uint16_t retry_after_s; /* 0 = none */
    bool www_authenticate;  /* adds WWW-Authenticate: Bearer (RFC 6750 3) */
    bool allow_post;        /* adds Allow: POST (405) */
    struct span date;       /* adds Date (RFC 9110 6.6.1); from http_format_date; empty = none */
};
bool MUST_USE http_write_head(struct buf *out, const struct http_reply_head *h);
extern const char http_continue[]; /* "HTTP/1.1 100 Continue\r\n\r\n" */

/* "Sun, 06 Nov 1994 08:49:37 GMT", 29 bytes and no NUL (RFC 9110 5.6.7).  Meant to be called once a second at
 * most. unix_s: up to the year 9999. */
#define HTTP_DATE_LEN 29
void http_format_date(uint64_t unix_s, uint8_t out[HTTP_DATE_LEN]);

#endif
