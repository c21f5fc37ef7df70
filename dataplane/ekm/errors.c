/* Errors: one row per answer, and the bare google.rpc.Status that says it.
 *
 *     {"code":3,"message":"...","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest",
 *      "fieldViolations":[{"field":"plaintext","description":"must be base64"}]}]}
 *
 * Texts are static and hold nothing that JSON would have to escape. */
#include "base/check.h"
#include "dataplane/ekm/ekm_priv.h"

#include <stdio.h>

/* google.rpc.Code */
enum {
    INVALID_ARGUMENT = 3,
    NOT_FOUND = 5,
    PERMISSION_DENIED = 7,
    FAILED_PRECONDITION = 9,
    UNIMPLEMENTED = 12,
    UNAVAILABLE = 14,
    UNAUTHENTICATED = 16
};

#define ERROR_BODY_MAX 640
#define RETRY_AFTER_S  1

struct row {
    uint16_t status;
    uint8_t code;
    const char *message;
};

static const struct row rows[ANSWER_COUNT] = {
    [ANSWER_UNAUTHENTICATED] = {401, UNAUTHENTICATED,
                                "The request carries no bearer token that is accepted here."},
    [ANSWER_UNAVAILABLE] = {503, UNAVAILABLE, "The request cannot be served at the moment."},
    [ANSWER_NOT_FOUND] = {404, NOT_FOUND, "There is no such key or method."},
    [ANSWER_NOT_POST] = {405, UNIMPLEMENTED, "The method of this path is called by POST."},
    [ANSWER_UNIMPLEMENTED] = {501, UNIMPLEMENTED, "The method is not implemented."},
    [ANSWER_DENIED] = {403, PERMISSION_DENIED, "The caller or the access reason is not allowed on this key."},
    [ANSWER_DENIED_MILDLY] = {400, FAILED_PRECONDITION,
                              "The caller or the access reason is not allowed on this key."},
    [ANSWER_DISABLED] = {400, FAILED_PRECONDITION, "The key or its version is not enabled."},
    [ANSWER_INVALID] = {400, INVALID_ARGUMENT, "The request is malformed."},
    [ANSWER_BAD_BLOB] = {400, INVALID_ARGUMENT, "The blob cannot be unwrapped with this key and these data."},
};

static uint8_t code_of_status(uint16_t status)
{
    switch (status) {
    case 503:
    case 408:
        return UNAVAILABLE;
    case 501:
    case 505:
        return UNIMPLEMENTED;
    default:
        return INVALID_ARGUMENT;
    }
}

static size_t body_write(char *body, uint8_t code, const char *message, const struct field_violation *bad)
{
    int len;

    if (bad->field == NULL || bad->description == NULL)
        len = snprintf(body, ERROR_BODY_MAX, "{\"code\":%u,\"message\":\"%s\"}", code, message);
    else
        len = snprintf(body, ERROR_BODY_MAX,
                       "{\"code\":%u,\"message\":\"%s\",\"details\":[{\"@type\":"
                       "\"type.googleapis.com/google.rpc.BadRequest\",\"fieldViolations\":[{\"field\":\"%s\","
                       "\"description\":\"%s\"}]}]}",
                       code, message, bad->field, bad->description);
    CHECK(len > 0 && len < ERROR_BODY_MAX);
    return (size_t)len;
}

static void reply_write(struct ekm_reply *reply, struct http_reply_head *h, uint8_t code, const char *message,
                        const struct field_violation *bad)
{
    char body[ERROR_BODY_MAX];

    h->content_length = body_write(body, code, message, bad);
    reply->status = h->status;
    reply->close = h->close;
    reply->out.len = 0;
    CHECK(http_write_head(&reply->out, h) && buf_put(&reply->out, span_of(body, h->content_length)));
}

struct http_reply_head ekm_reply_head(struct ekm_worker *w, uint16_t status, uint64_t now_unix_us)
{
    uint64_t now_s = now_unix_us / 1000000;

    if (now_s != w->date_unix_s) {
        http_format_date(now_s, w->date);
        w->date_unix_s = now_s;
    }
    return (struct http_reply_head){
        .status = status,
        .date = span_of(w->date, HTTP_DATE_LEN),
        .www_authenticate = status == 401,
        .allow_post = status == 405,
        .retry_after_s = status == 503 ? RETRY_AFTER_S : 0,
    };
}

void ekm_reply_error(struct ekm_call *c, struct ekm_decision d)
{
    const struct row *row = &rows[d.answer];
    const struct http_request *rq = &c->rq->head;
    struct http_reply_head h = ekm_reply_head(c->w, row->status, c->rq->now_unix_us);

    /* The body of an answer to HEAD would be taken for the next reply. */
    h.close = !rq->keep_alive || rq->method == HTTP_METHOD_OTHER;
    h.keep_alive_1_0 = rq->minor_version == 0 && !h.close;
    reply_write(c->reply, &h, row->code, row->message, &d.bad);
}

void ekm_refuse(struct ekm_worker *w, uint16_t status, enum reason why, uint64_t now_unix_us,
                struct ekm_reply *reply, struct audit_record *audit)
{
    static const struct field_violation none = {NULL, NULL};
    struct http_reply_head h = ekm_reply_head(w, status, now_unix_us);

    h.close = true;
    count(w->counters, why);
    *audit = (struct audit_record){.time_unix_us = now_unix_us, .status = status, .verdict = (uint16_t)why};
    reply_write(reply, &h, code_of_status(status), reason_text(why), &none);
}
