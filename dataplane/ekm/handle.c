/* One request's way: the order of decisions that ekm.h explains, and the one place where an answer is counted
 * and written down. */
#include "base/secret.h"
#include "dataplane/ekm/ekm_priv.h"

#include <stdlib.h>

/* ---- the route: /<key path>:<verb>, compared as bytes ---- */

struct verb {
    const char *name;
    enum audit_op op; /* AUDIT_OP_UNKNOWN: known to the API, not to us */
};

static const struct verb verbs[] = {
    {"wrap", AUDIT_OP_WRAP},
    {"unwrap", AUDIT_OP_UNWRAP},
    {"getPublicKey", AUDIT_OP_UNKNOWN},
    {"asymmetricSign", AUDIT_OP_UNKNOWN},
    {"createKey", AUDIT_OP_UNKNOWN},
    {"destroyKey", AUDIT_OP_UNKNOWN},
    {"checkCryptoSpacePermissions", AUDIT_OP_UNKNOWN},
    {"confidentialwrap", AUDIT_OP_UNKNOWN},
    {"confidentialunwrap", AUDIT_OP_UNKNOWN},
    {"confidential-wrap", AUDIT_OP_UNKNOWN},
    {"confidential-unwrap", AUDIT_OP_UNKNOWN},
};

static const struct verb *verb_find(struct span name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (span_is(name, verbs[i].name))
            return &verbs[i];
    }
    return NULL;
}

/* Splits at the last colon of the last segment; false when there is none, no path, or a query. */
static bool path_split(struct span target, struct span *path, struct span *verb)
{
    size_t at = target.len;

    if (target.len == 0 || memchr(target.ptr, '?', target.len) != NULL)
        return false;
    while (at > 0 && target.ptr[at - 1] != ':' && target.ptr[at - 1] != '/')
        at--;
    if (at < 3 || target.ptr[at - 1] != ':' || at - 2 > EKM_KEY_PATH_MAX)
        return false;
    *path = span_of(target.ptr + 1, at - 2);
    *verb = span_from(target, at);
    return true;
}

static struct ekm_decision route(struct ekm_call *c)
{
    struct span verb_name;
    const struct verb *verb;

    if (!path_split(c->rq->head.path, &c->path, &verb_name))
        return decide(ANSWER_NOT_FOUND, REASON_EKM_NO_ROUTE);
    verb = verb_find(verb_name);
    if (verb == NULL)
        return decide(ANSWER_NOT_FOUND, REASON_EKM_NO_ROUTE);
    c->op = verb->op;
    if (c->rq->head.method != HTTP_POST)
        return decide(ANSWER_NOT_POST, REASON_EKM_NOT_POST);
    if (verb->op == AUDIT_OP_UNKNOWN)
        return decide(ANSWER_UNIMPLEMENTED, REASON_EKM_UNIMPLEMENTED);
    return decide(ANSWER_OK, REASON_EKM_WRAP_OK);
}

/* ---- the body ---- */

static bool ascii_is(struct span a, const char *lower)
{
    if (a.len != strlen(lower))
        return false;
    for (size_t i = 0; i < a.len; i++) {
        uint8_t c = a.ptr[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c | 0x20);
        if (c != (uint8_t)lower[i])
            return false;
    }
    return true;
}

static struct span trim(struct span s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = span_from(s, 1);
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* RFC 9110 8.3: application/json, alone or with charset=utf-8. */
static bool content_type_is_json(struct span type)
{
    if (span_is(type, "application/json")) /* as nearly all say it */
        return true;
    const uint8_t *semicolon = type.len == 0 ? NULL : memchr(type.ptr, ';', type.len);
    struct span media = type, parameter = {NULL, 0};

    if (semicolon != NULL) {
        media.len = (size_t)(semicolon - type.ptr);
        parameter = trim(span_from(type, media.len + 1));
    }
    if (!ascii_is(trim(media), "application/json"))
        return false;
    return parameter.len == 0 || ascii_is(parameter, "charset=utf-8") ||
           ascii_is(parameter, "charset=\"utf-8\"");
}

static struct ekm_decision body_type_check(const struct ekm_call *c)
{
    struct ekm_decision d = decide(ANSWER_INVALID, REASON_EKM_BAD_CONTENT_TYPE);

    if (content_type_is_json(c->rq->head.content_type))
        return decide(ANSWER_OK, REASON_EKM_WRAP_OK);
    d.bad = (struct field_violation){"", "Content-Type must be application/json"};
    return d;
}

/* ---- the whole ---- */

static void audit_caller(struct audit_record *r, struct span caller, bool proven)
{
    size_t len = caller.len < AUDIT_CALLER_CAP ? caller.len : AUDIT_CALLER_CAP;

    if (len < caller.len)
        r->flags |= AUDIT_FLAG_CALLER_CUT;
    if (proven)
        r->flags |= AUDIT_FLAG_CALLER_PROVEN;
    r->caller_len = (uint8_t)len;
    if (len != 0)
        memcpy(r->caller, caller.ptr, len);
}

/* Steps 4 to 9 of ekm.h. */
static struct ekm_decision on_key(struct ekm_call *c, struct span caller)
{
    struct ekm_decision d, state;

    c->key = keys_find(c->w->keys, c->path);
    if (c->key == NULL)
        return decide(ANSWER_NOT_FOUND, REASON_EKM_UNKNOWN_KEY);
    memcpy(c->audit->key_id, key_id(c->key), KEY_ID_LEN);
    state = ekm_policy_state(c->key);
    if (state.answer == ANSWER_NOT_FOUND)
        return state;
    d = ekm_policy_caller(c->key, caller);
    if (d.answer != ANSWER_OK)
        return d;
    if (state.answer != ANSWER_OK)
        return state;
    d = body_type_check(c);
    if (d.answer != ANSWER_OK)
        return d;
    return c->op == AUDIT_OP_WRAP ? ekm_wrap(c) : ekm_unwrap(c);
}

static struct ekm_decision judge(struct ekm_call *c)
{
    struct ekm_decision routed = route(c); /* its answer waits until the caller is known */
    struct span caller;
    struct ekm_decision d = ekm_auth_check(c->w, c->rq->head.authorization, c->rq->now_unix_us, &caller);

    c->audit->op = (uint8_t)c->op;
    audit_caller(c->audit, caller, d.answer == ANSWER_OK);
    if (d.answer != ANSWER_OK)
        return d;
    if (routed.answer != ANSWER_OK)
        return routed;
    return on_key(c, caller);
}

void ekm_handle(struct ekm_worker *w, struct ekm_request *rq, struct ekm_reply *reply,
                struct audit_record *audit)
{
    struct ekm_call c = {.w = w, .rq = rq, .reply = reply, .audit = audit, .op = AUDIT_OP_UNKNOWN};
    struct ekm_decision d;

    *audit = (struct audit_record){.time_unix_us = rq->now_unix_us};
    d = judge(&c);
    if (d.answer != ANSWER_OK)
        ekm_reply_error(&c, d);
    count(w->counters, d.why);
    audit->status = reply->status;
    audit->verdict = (uint16_t)d.why;
}

/* ---- life ---- */

struct ekm_worker *ekm_worker_new(struct ekm_auth *auth, struct keys_worker *keys, struct counters *counters)
{
    struct ekm_worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->auth = auth;
    w->keys = keys;
    w->counters = counters;
    w->date_unix_s = UINT64_MAX;
    w->verdicts = verdict_cache_new(VERDICT_SETS);
    w->jwt_scratch = secret_pages_alloc(JWT_TOKEN_MAX);
    if (w->verdicts == NULL || w->jwt_scratch == NULL) {
        ekm_worker_free(w);
        return NULL;
    }
    return w;
}

void ekm_worker_free(struct ekm_worker *w)
{
    if (w == NULL)
        return;
    verdict_cache_free(w->verdicts);
    if (w->jwt_scratch != NULL)
        secret_pages_free(w->jwt_scratch, JWT_TOKEN_MAX);
    free(w);
}

void ekm_quiescent(struct ekm_worker *w)
{
    uint64_t epoch = atomic_load_explicit(&w->auth->epoch, memory_order_acquire);

    if (epoch == w->verdicts_epoch)
        return;
    verdict_cache_flush(w->verdicts);
    w->verdicts_epoch = epoch;
}
