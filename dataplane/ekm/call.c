/* What wrap and unwrap have in common: the context that a body may bring along, and a reply that carries one field
 * of bytes. */
#include "base/check.h"
#include "dataplane/ekm/ekm_priv.h"
#include "proto/base64.h"

/* ---- the context ---- */

static bool begins_with(struct span s, struct span lead)
{
    return s.len >= lead.len && span_equal(span_of(s.ptr, lead.len), lead);
}

/* a || b == whole */
static bool joined_is(struct span whole, struct span a, struct span b)
{
    return whole.len == a.len + b.len && begins_with(whole, a) && span_equal(span_from(whole, a.len), b);
}

/* A body may repeat what the URL says; the URL decides, and a body that says otherwise is refused.  Without a
 * prefix the path may lack the URL's "v0/" (the API's http binding leaves it out); with one the two together
 * are the key's URI, or its path. */
static bool key_path_agrees(const struct ekm_call *c, struct span key_path, struct span prefix)
{
    const struct span rooted = span_of(c->path.ptr - 1, c->path.len + 1); /* with its slash */
    const struct span https = span_str("https://"), host = c->rq->head.host;

    if (prefix.len == 0)
        return key_path.len == 0 || span_equal(key_path, c->path) ||
               joined_is(c->path, span_str("v0/"), key_path);
    if (!begins_with(prefix, https))
        return joined_is(rooted, prefix, key_path) || joined_is(c->path, prefix, key_path);
    prefix = span_from(prefix, https.len);
    return begins_with(prefix, host) && joined_is(rooted, span_from(prefix, host.len), key_path);
}

struct ekm_decision ekm_call_check_context(struct ekm_call *c, const struct request_context *context,
                                           struct span key_path, struct span key_uri_prefix)
{
    struct ekm_decision d = decide(ANSWER_INVALID, REASON_EKM_OTHER_KEY_PATH);

    c->audit->access_reason = context->reason;
    if (context->is_key_health_check)
        c->audit->flags |= AUDIT_FLAG_HEALTH_CHECK;
    if (!key_path_agrees(c, key_path, key_uri_prefix)) {
        d.bad = (struct field_violation){"keyPath", "is not the key path of the URL"};
        return d;
    }
    return ekm_policy_reason(c->key, context->reason);
}

/* ---- the reply ---- */

struct ekm_decision ekm_call_keys_status(enum keys_status s, enum reason done)
{
    switch (s) {
    case KEYS_OK:
        return decide(ANSWER_OK, done);
    case KEYS_NO_VERSION:
        return decide(ANSWER_DISABLED, REASON_EKM_NO_VERSION);
    case KEYS_BAD_BLOB:
        return decide(ANSWER_BAD_BLOB, REASON_EKM_BAD_BLOB);
    case KEYS_VERSION_OFF:
        return decide(ANSWER_DISABLED, REASON_EKM_VERSION_DISABLED);
    case KEYS_VERSION_GONE:
        return decide(ANSWER_NOT_FOUND, REASON_EKM_VERSION_GONE);
    case KEYS_FAULT:
        break;
    }
    return decide(ANSWER_UNAVAILABLE, REASON_EKM_FAULT);
}

uint8_t *ekm_reply_bytes_begin(struct ekm_call *c, struct span opening, size_t raw_len)
{
    static const char closing[] = "\"}";
    const struct http_request *rq = &c->rq->head;
    const size_t encoded_len = BASE64_ENCODED_LEN(raw_len);
    struct http_reply_head h = ekm_reply_head(c->w, 200, c->rq->now_unix_us);
    struct buf *out = &c->reply->out;
    uint8_t *place;

    h.content_length = opening.len + encoded_len + strlen(closing);
    h.close = !rq->keep_alive;
    h.keep_alive_1_0 = rq->minor_version == 0 && rq->keep_alive;
    c->reply->status = 200;
    c->reply->close = h.close;
    out->len = 0;
    CHECK(http_write_head(out, &h));
    CHECK(buf_put(out, opening));
    place = out->ptr + out->len;
    CHECK(encoded_len <= out->cap - out->len);
    out->len += encoded_len;
    CHECK(buf_put(out, span_str(closing)));
    return place + encoded_len - raw_len;
}

/* Each group of bytes is read before its characters are written over earlier ones: base64 grows by a third
 * and the raw bytes lie at the end of its place, so writing never overtakes reading. */
void ekm_reply_bytes_encode(struct ekm_call *c, uint8_t *raw, size_t raw_len)
{
    uint8_t *place = raw + raw_len - BASE64_ENCODED_LEN(raw_len);

    CHECK(place > c->reply->out.ptr);
    (void)base64_encode(span_of(raw, raw_len), place);
}
