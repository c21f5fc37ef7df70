#include "base/check.h"
#include "base/secret_priv.h"
#include "dataplane/ekm/ekm_priv.h"

struct ekm_decision ekm_unwrap(struct ekm_call *c)
{
    struct span body = secret_expose(c->rq->body);
    struct ekm_decision d = decide(ANSWER_INVALID, REASON_EKM_BAD_BODY);
    struct unwrap_request m;
    size_t len = 0;

    if (!protojson_unwrap_request((uint8_t *)(uintptr_t)body.ptr, body.len, &m, &d.bad))
        return d;
    d = ekm_call_check_context(c, &m.context, m.key_path, m.key_uri_prefix);
    if (d.answer != ANSWER_OK)
        return d;
    if (m.wrapped_blob.len < BLOB_OVERHEAD)
        return ekm_call_keys_status(KEYS_BAD_BLOB, REASON_EKM_UNWRAP_OK);
    const size_t plaintext_len = m.wrapped_blob.len - BLOB_OVERHEAD;
    uint8_t *plaintext = ekm_reply_bytes_begin(c, span_str("{\"plaintext\":\""), plaintext_len);
    enum keys_status s =
        keys_unwrap(c->w->keys, c->key, m.wrapped_blob, m.aad, plaintext, &len, &c->audit->version);

    if (s == KEYS_OK) {
        CHECK(len == plaintext_len);
        ekm_reply_bytes_encode(c, plaintext, plaintext_len);
    }
    return ekm_call_keys_status(s, REASON_EKM_UNWRAP_OK);
}
