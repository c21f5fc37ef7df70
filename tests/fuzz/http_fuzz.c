/* A request head and what follows it.  A prefix says "more" or what the whole says; a chunked body decodes to
 * the same bytes whole, byte by byte and over itself. */
#include "base/check.h"
#include "base/secret_priv.h"
#include "proto/http.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PREFIXES_MAX 600 /* prefixes of longer inputs are tried at a stride: trying all is quadratic */

static void check_view(struct span whole, struct span view)
{
    CHECK(view.len == 0 || (view.ptr >= whole.ptr && view.ptr + view.len <= whole.ptr + whole.len));
}

static void check_request(struct span in, const struct http_request *rq)
{
    struct span head = span_of(in.ptr, rq->head_len);

    CHECK(rq->head_len <= in.len && rq->head_len <= HTTP_HEAD_MAX && rq->head_len >= 4);
    CHECK(memcmp(in.ptr + rq->head_len - 4, "\r\n\r\n", 4) == 0);
    check_view(head, rq->path);
    check_view(head, rq->host);
    check_view(head, rq->content_type);
    check_view(head, secret_expose(rq->authorization));
    CHECK(rq->path.len != 0 && rq->path.ptr[0] == '/');
    CHECK(rq->minor_version == 0 || rq->host.len != 0);
    CHECK(rq->content_length <= HTTP_BODY_MAX);
    CHECK(rq->framing == HTTP_CONTENT_LENGTH || rq->content_length == 0);
    CHECK(memchr(rq->path.ptr, '\r', rq->path.len) == NULL);
}

static void check_prefixes(struct span in, enum http_status status, enum reason why, size_t head_len)
{
    size_t stride = in.len / PREFIXES_MAX + 1;
    bool decided = false;

    for (size_t len = 0; len < in.len; len += stride) {
        struct http_request rq;
        enum reason early_why = REASON_COUNT;
        enum http_status early = http_parse_head(span_of(in.ptr, len), &rq, &early_why);

        CHECK(early == HTTP_MORE ? !decided : early == status && early_why == why);
        CHECK(early != HTTP_OK || (rq.head_len == head_len && len >= head_len));
        decided = early != HTTP_MORE;
    }
}

struct decoded {
    enum http_status status;
    enum reason why;
    size_t used;
    struct buf body;
};

static void decode(struct span in, size_t piece, struct decoded *d)
{
    struct http_chunked c;

    http_chunked_init(&c);
    d->status = HTTP_MORE;
    d->why = REASON_COUNT;
    d->used = 0;
    while (d->status == HTTP_MORE && d->used < in.len) {
        size_t used, give = in.len - d->used < piece ? in.len - d->used : piece;

        d->status = http_chunked_feed(&c, span_of(in.ptr + d->used, give), &used, &d->body, &d->why);
        CHECK(used <= give && (d->status != HTTP_MORE || used == give));
        d->used += used;
    }
    CHECK(d->body.len <= d->used && d->body.len <= HTTP_BODY_MAX && c.body_len == d->body.len);
}

static void check_body(struct span in)
{
    uint8_t *whole = malloc(in.len + 1), *slow = malloc(in.len + 1), *over = malloc(in.len + 1);

    CHECK(whole != NULL && slow != NULL && over != NULL);
    memcpy(over, in.ptr, in.len);
    struct decoded a = {.body = {whole, 0, in.len}}, b = {.body = {slow, 0, in.len}},
                   c = {.body = {over, 0, in.len}};
    decode(in, SIZE_MAX, &a);
    decode(in, 1, &b);
    decode(span_of(over, in.len), 7, &c);
    CHECK(a.status == b.status && a.why == b.why && a.used == b.used);
    CHECK(a.status == c.status && a.why == c.why && a.used == c.used);
    CHECK(span_equal(buf_span(&a.body), buf_span(&b.body)));
    CHECK(span_equal(buf_span(&a.body), buf_span(&c.body)));
    free(whole);
    free(slow);
    free(over);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of(data, size);
    struct http_request rq;
    enum reason why = REASON_COUNT;
    enum http_status status = http_parse_head(in, &rq, &why);

    CHECK((status == HTTP_OK || status == HTTP_MORE) == (why == REASON_COUNT));
    if (status == HTTP_OK)
        check_request(in, &rq);
    check_prefixes(in, status, why, rq.head_len);
    check_body(status == HTTP_OK ? span_from(in, rq.head_len) : in);
    return 0;
}
