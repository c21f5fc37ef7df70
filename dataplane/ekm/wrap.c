#include "base/secret_priv.h"
#include "dataplane/ekm/ekm_priv.h"

struct ekm_decision ekm_wrap(struct ekm_call *c)
{
    struct span body = secret_expose(c->rq->body);
    struct ekm_decision d = decide(ANSWER_INVALID, REASON_EKM_BAD_BODY);
    struct wrap_request m;

    if (!protojson_wrap_request((uint8_t *)(uintptr_t)body.ptr, body.len, &m, &d.bad))
        return d;
    d = ekm_call_check_context(c, &m.context, m.key_path, m.key_uri_prefix);
    if (d.answer != ANSWER_OK)
        return d;
    const size_t blob_len = m.plaintext.len + BLOB_OVERHEAD;
    uint8_t *blob = ekm_reply_bytes_begin(c, span_str("{\"wrappedBlob\":\""), blob_len);
    enum keys_status s = keys_wrap(c->w->keys, c->key, m.plaintext, m.aad, blob, &c->audit->version);

    if (s == KEYS_OK)
        ekm_reply_bytes_encode(c, blob, blob_len);
    return ekm_call_keys_status(s, REASON_EKM_WRAP_OK);
}
