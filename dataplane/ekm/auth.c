/* Who asks: the tables of issuers and audiences, and the judgement of one token.
 *
 * A verdict is a token's own: that it is genuine, of now, for us, and whose.  What that caller may do is asked
 * of the key at every request (policy.c), so no cached verdict can outlive a change of a key's list. */
#include "base/check.h"
#include "base/log.h"
#include "base/secret_priv.h"
#include "dataplane/ekm/ekm_priv.h"

#include <stdlib.h>

/* ---- tables: the housekeeper's side ---- */

static bool text_set(struct auth_text *t, struct span s)
{
    if (s.len == 0 || s.len > AUTH_TEXT_MAX)
        return false;
    t->len = s.len;
    memcpy(t->bytes, s.ptr, s.len);
    return true;
}

static bool text_is(const struct auth_text *t, struct span s)
{
    return span_equal(span_of(t->bytes, t->len), s);
}

static void issuers_drop(struct auth_issuers *g)
{
    if (g == NULL || --g->holders > 0)
        return;
    for (size_t i = 0; i < g->count; i++) {
        for (size_t k = 0; k < g->list[i].key_count; k++)
            signature_key_free(g->list[i].keys[k].key);
    }
    free(g);
}

static void audiences_drop(struct auth_audiences *g)
{
    if (g != NULL && --g->holders == 0)
        free(g);
}

static void set_free(struct auth_set *s)
{
    if (s == NULL)
        return;
    issuers_drop(s->issuers);
    audiences_drop(s->audiences);
    free(s);
}

struct ekm_auth *ekm_auth_new(void)
{
    return calloc(1, sizeof(struct ekm_auth));
}

void ekm_auth_free(struct ekm_auth *a)
{
    if (a == NULL)
        return;
    ekm_auth_rollback(a);
    ekm_auth_settle(a);
    set_free(atomic_load_explicit(&a->current, memory_order_relaxed));
    free(a);
}

void ekm_auth_begin(struct ekm_auth *a, bool full)
{
    ekm_auth_rollback(a);
    a->staged_full = full;
}

/* The set that this transaction builds; its groups are NULL until something is staged into them. */
static struct auth_set *staged(struct ekm_auth *a)
{
    if (a->staged == NULL)
        a->staged = calloc(1, sizeof *a->staged);
    return a->staged;
}

static struct auth_issuers *staged_issuers(struct ekm_auth *a)
{
    struct auth_set *s = staged(a);

    if (s == NULL)
        return NULL;
    if (s->issuers == NULL && (s->issuers = calloc(1, sizeof *s->issuers)) != NULL)
        s->issuers->holders = 1;
    return s->issuers;
}

static struct auth_audiences *staged_audiences(struct ekm_auth *a)
{
    struct auth_set *s = staged(a);

    if (s == NULL)
        return NULL;
    if (s->audiences == NULL && (s->audiences = calloc(1, sizeof *s->audiences)) != NULL)
        s->audiences->holders = 1;
    return s->audiences;
}

int ekm_auth_stage_issuer(struct ekm_auth *a, const struct ctl_issuer *m)
{
    struct auth_issuers *g = staged_issuers(a);
    struct auth_issuer *i;

    if (g == NULL || g->count == ISSUERS_MAX)
        return CTL_REFUSE_FULL;
    for (size_t k = 0; k < g->count; k++) {
        if (text_is(&g->list[k].iss, m->iss))
            return CTL_REFUSE_CONFLICT;
    }
    i = &g->list[g->count];
    if (!text_set(&i->iss, m->iss))
        return CTL_REFUSE_FULL;
    i->jwks_loaded_unix_s = m->jwks_loaded_unix_s;
    i->jwks_fresh_s = m->jwks_fresh_s;
    g->count++;
    return 0;
}

static const struct auth_key *issuer_key(const struct auth_issuer *i, struct span kid)
{
    for (size_t k = 0; k < i->key_count; k++) {
        if (text_is(&i->keys[k].kid, kid))
            return &i->keys[k];
    }
    return NULL;
}

int ekm_auth_stage_jwk(struct ekm_auth *a, const struct ctl_jwk *m)
{
    struct auth_issuers *g = a->staged == NULL ? NULL : a->staged->issuers;
    struct auth_issuer *i;
    struct auth_key *k;

    if (g == NULL)
        return CTL_REFUSE_ORDER;
    i = &g->list[g->count - 1];
    if (i->key_count == JWKS_KEYS_MAX)
        return CTL_REFUSE_FULL;
    k = &i->keys[i->key_count];
    if (issuer_key(i, m->kid) != NULL || !text_set(&k->kid, m->kid) ||
        (k->key = signature_key_new(m)) == NULL) {
        log_error("a key of a JWKS is left out: weak, malformed, or the second with its kid",
                  F("kid", m->kid));
        return 0;
    }
    k->alg = m->alg;
    i->key_count++;
    return 0;
}

int ekm_auth_stage_audience(struct ekm_auth *a, const struct ctl_audience *m)
{
    struct auth_audiences *g = staged_audiences(a);

    if (g == NULL || g->count == AUDIENCES_MAX || !text_set(&g->list[g->count], m->audience))
        return CTL_REFUSE_FULL;
    g->count++;
    return 0;
}

void ekm_auth_rollback(struct ekm_auth *a)
{
    set_free(a->staged);
    a->staged = NULL;
    a->staged_full = false;
}

/* A delta keeps the groups it does not name. */
static void inherit(struct auth_set *next, const struct auth_set *old)
{
    if (next->issuers == NULL && old->issuers != NULL) {
        next->issuers = old->issuers;
        next->issuers->holders++;
    }
    if (next->audiences == NULL && old->audiences != NULL) {
        next->audiences = old->audiences;
        next->audiences->holders++;
    }
}

void ekm_auth_commit(struct ekm_auth *a, uint64_t epoch)
{
    struct auth_set *old = atomic_load_explicit(&a->current, memory_order_relaxed);
    struct auth_set *next = a->staged;

    if (next != NULL && old != NULL && !a->staged_full)
        inherit(next, old);
    if (next != NULL || a->staged_full) {
        atomic_store_explicit(&a->current, next, memory_order_release);
        if (old != NULL) {
            old->retired_next = a->retired;
            a->retired = old;
        }
    }
    a->staged = NULL;
    a->staged_full = false;
    atomic_store_explicit(&a->epoch, epoch, memory_order_release);
}

void ekm_auth_settle(struct ekm_auth *a)
{
    while (a->retired != NULL) {
        struct auth_set *s = a->retired;
        a->retired = s->retired_next;
        set_free(s);
    }
    if (atomic_load_explicit(&a->epoch, memory_order_relaxed) != 0)
        atomic_store_explicit(&a->loaded, true, memory_order_release);
}

/* ---- one token: the worker's side ---- */

static struct ekm_decision refused(enum reason why)
{
    return decide(ANSWER_UNAUTHENTICATED, why);
}

static const struct ekm_decision accepted = {ANSWER_OK, REASON_AUTH_TOKEN_VERIFIED, {NULL, NULL}};

/* RFC 6750 2.1, RFC 9110 11.1: the scheme in any case, one space, the token. */
static bool bearer_take(struct secret_span authorization, struct secret_span *token)
{
    static const char scheme[] = "bearer ";
    const size_t len = sizeof scheme - 1;
    struct span s = secret_expose(authorization);

    if (s.len <= len || s.ptr[len - 1] != ' ')
        return false;
    for (size_t i = 0; i < len - 1; i++) {
        if ((s.ptr[i] | 0x20) != scheme[i]) /* of all bytes only the capital folds onto a letter */
            return false;
    }
    *token = secret_of(s.ptr + len, s.len - len);
    return true;
}

static const struct auth_issuer *issuer_find(const struct auth_set *s, struct span iss)
{
    if (s == NULL || s->issuers == NULL)
        return NULL;
    for (size_t i = 0; i < s->issuers->count; i++) {
        if (text_is(&s->issuers->list[i].iss, iss))
            return &s->issuers->list[i];
    }
    return NULL;
}

static bool audience_known(const struct auth_set *s, struct span aud)
{
    if (s == NULL || s->audiences == NULL)
        return false;
    for (size_t i = 0; i < s->audiences->count; i++) {
        if (text_is(&s->audiences->list[i], aud))
            return true;
    }
    return false;
}

/* RFC 7519 4.1.4 to 4.1.6.  A token without iat is judged by what is left of its life. */
static struct ekm_decision times_check(const struct jwt *t, int64_t now_s)
{
    int64_t born_s = t->iat != 0 ? t->iat : now_s;
    int64_t life_s;

    if (t->exp <= now_s - JWT_SKEW_S)
        return refused(REASON_AUTH_EXPIRED);
    if (t->nbf > now_s + JWT_SKEW_S || t->iat > now_s + JWT_SKEW_S)
        return refused(REASON_AUTH_NOT_YET_VALID);
    if (__builtin_sub_overflow(t->exp, born_s, &life_s) || life_s > JWT_LIFETIME_MAX_S ||
        (t->iat != 0 && life_s < 0))
        return refused(REASON_AUTH_LIFETIME);
    return accepted;
}

/* An ID token of a service account carries both; one without is somebody else's kind of token. */
static struct ekm_decision email_check(const struct jwt *t)
{
    if (t->email.len == 0 || t->email.len > EKM_CALLER_MAX)
        return refused(REASON_AUTH_NO_EMAIL);
    if (!t->email_verified)
        return refused(REASON_AUTH_EMAIL_UNVERIFIED);
    return accepted;
}

/* The key is looked up within the token's issuer; a kid that a fresh JWKS does not hold is not genuine, but an
 * old JWKS cannot tell: that is our fault, and 503. */
static struct ekm_decision signature_check(const struct auth_issuer *issuer, const struct jwt *t,
                                           int64_t now_s)
{
    const struct auth_key *k = issuer_key(issuer, t->kid);

    if (k == NULL) {
        uint64_t fresh_until = issuer->jwks_loaded_unix_s + issuer->jwks_fresh_s;
        if ((uint64_t)now_s >= fresh_until)
            return decide(ANSWER_UNAVAILABLE, REASON_AUTH_JWKS_STALE);
        return refused(REASON_AUTH_UNKNOWN_KID);
    }
    if (k->alg != t->alg)
        return refused(REASON_AUTH_WRONG_ALG);
    if (!signature_verify(k->key, t->signed_part, t->signature))
        return refused(REASON_AUTH_BAD_SIGNATURE);
    return accepted;
}

/* The cheap questions first: what can be refused without a signature check costs none. */
static struct ekm_decision token_judge(const struct auth_set *set, const struct jwt *t, int64_t now_s)
{
    const struct auth_issuer *issuer = issuer_find(set, t->iss);
    struct ekm_decision d;

    if (issuer == NULL)
        return refused(REASON_AUTH_UNKNOWN_ISSUER);
    d = times_check(t, now_s);
    if (d.answer != ANSWER_OK)
        return d;
    if (!audience_known(set, t->aud))
        return refused(REASON_AUTH_WRONG_AUDIENCE);
    d = email_check(t);
    if (d.answer != ANSWER_OK)
        return d;
    return signature_check(issuer, t, now_s);
}

static void verdict_keep(struct ekm_worker *w, struct secret_span token, const struct jwt *t, uint64_t epoch)
{
    int64_t begin_s = t->nbf > t->iat ? t->nbf : t->iat;
    struct verdict v = {
        .token = token,
        .epoch = epoch,
        .valid_from_s = begin_s > 0 ? begin_s - JWT_SKEW_S : 0,
        .valid_until_s = t->exp + JWT_SKEW_S,
        .email = t->email,
    };

    verdict_cache_add(w->verdicts, &v);
}

static struct ekm_decision token_check(struct ekm_worker *w, struct secret_span token, uint64_t epoch,
                                       int64_t now_s, struct span *caller)
{
    struct jwt t;
    enum reason why = REASON_JWT_NOT_THREE_PARTS;
    struct ekm_decision d;

    if (!jwt_parse(token, w->jwt_scratch, &t, &why))
        return refused(why);
    *caller = t.email;
    d = token_judge(atomic_load_explicit(&w->auth->current, memory_order_acquire), &t, now_s);
    if (d.answer == ANSWER_OK) {
        count(w->counters, REASON_AUTH_TOKEN_VERIFIED);
        verdict_keep(w, token, &t, epoch);
    }
    return d;
}

struct ekm_decision ekm_auth_check(struct ekm_worker *w, struct secret_span authorization,
                                   uint64_t now_unix_us, struct span *caller)
{
    /* Before the set: a verdict made of an old set is then never kept under a new epoch. */
    uint64_t epoch = atomic_load_explicit(&w->auth->epoch, memory_order_acquire);
    int64_t now_s = (int64_t)(now_unix_us / 1000000);
    struct secret_span token;

    *caller = span_of(w->jwt_scratch, 0);
    if (!atomic_load_explicit(&w->auth->loaded, memory_order_acquire))
        return decide(ANSWER_UNAVAILABLE, REASON_AUTH_NOT_LOADED);
    if (authorization.len == 0)
        return refused(REASON_AUTH_NO_TOKEN);
    if (!bearer_take(authorization, &token))
        return refused(REASON_AUTH_NOT_BEARER);
    if (verdict_cache_find(w->verdicts, token, epoch, now_s, caller)) {
        count(w->counters, REASON_AUTH_VERDICT_CACHE_HIT);
        return accepted;
    }
    return token_check(w, token, epoch, now_s, caller);
}
