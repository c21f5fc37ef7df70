#include "tests/unit/ekm/rig.h"

#include "base/secret_priv.h"
#include "dataplane/ekm/ekm_priv.h"
#include "proto/base64.h"
#include "proto/json.h"
#include "tests/unit/test.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>

static struct counters counters_;
static struct keys *keys;
static struct keys_worker *keys_worker;
static struct ekm_auth *auth;
static struct ekm_worker *worker;
static uint64_t epoch;
static int64_t now_s;
static EVP_PKEY *rsa, *other_rsa, *ec, *two, *other_ec;

char reply_head[2048];
struct span reply_body;
bool reply_close;
struct audit_record audited;
uint64_t allocations;
static uint8_t *reply_bytes_;

/* ---- what a case throws away at its end ---- */

#define SCRATCH_MAX 256
static void *scratch[SCRATCH_MAX];
static size_t scratch_count;

static void *scratch_alloc(size_t len)
{
    assert_true(scratch_count < SCRATCH_MAX);
    scratch[scratch_count] = malloc(len);
    assert_non_null(scratch[scratch_count]);
    return scratch[scratch_count++];
}

/* ---- counting ---- */

static uint64_t allocation_count;

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
int __real_posix_memalign(void **, size_t, size_t);
void *__real_aligned_alloc(size_t, size_t);
char *__real_strdup(const char *);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);
int __wrap_posix_memalign(void **, size_t, size_t);
void *__wrap_aligned_alloc(size_t, size_t);
char *__wrap_strdup(const char *);

void *__wrap_malloc(size_t n)
{
    allocation_count++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t m)
{
    allocation_count++;
    return __real_calloc(n, m);
}

void *__wrap_realloc(void *p, size_t n)
{
    allocation_count++;
    return __real_realloc(p, n);
}

int __wrap_posix_memalign(void **p, size_t a, size_t n)
{
    allocation_count++;
    return __real_posix_memalign(p, a, n);
}

void *__wrap_aligned_alloc(size_t a, size_t n)
{
    allocation_count++;
    return __real_aligned_alloc(a, n);
}

char *__wrap_strdup(const char *s)
{
    allocation_count++;
    return __real_strdup(s);
}

/* ---- tokens ---- */

static void keys_make(void)
{
    if (rsa != NULL)
        return;
    rsa = EVP_RSA_gen(2048);
    other_rsa = EVP_RSA_gen(2048);
    ec = EVP_EC_gen("P-256");
    two = EVP_EC_gen("P-256");
    other_ec = EVP_EC_gen("P-256");
    assert_true(rsa != NULL && other_rsa != NULL && ec != NULL && two != NULL && other_ec != NULL);
}

static size_t base64url(const void *in, size_t len, char *out)
{
    size_t n = base64_encode(span_of(in, len), (uint8_t *)out);

    while (n > 0 && out[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++)
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    out[n] = 0;
    return n;
}

static size_t sign_evp(EVP_PKEY *key, const char *text, uint8_t *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = 1024;

    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestSign(ctx, out, &len, (const uint8_t *)text, strlen(text)), 1);
    EVP_MD_CTX_free(ctx);
    return len;
}

/* RFC 7518 3.4: r and s, 32 bytes each. */
static size_t sign_ec(EVP_PKEY *key, const char *text, uint8_t *out)
{
    uint8_t der[256];
    const uint8_t *p = der;
    size_t len = sign_evp(key, text, der);
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)len);

    assert_non_null(sig);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32), 32);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 32, 32), 32);
    ECDSA_SIG_free(sig);
    return 64;
}

static size_t sign_hmac_of_pem(const char *text, uint8_t *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    unsigned len;
    long pem_len;

    PEM_write_bio_PUBKEY(bio, rsa);
    pem_len = BIO_get_mem_data(bio, &pem);
    HMAC(EVP_sha256(), pem, (int)pem_len, (const uint8_t *)text, strlen(text), out, &len);
    BIO_free(bio);
    return len;
}

static size_t token_sign(enum signer s, const char *text, uint8_t *out)
{
    switch (s) {
    case SIGN_RSA:
        return sign_evp(rsa, text, out);
    case SIGN_OTHER_RSA:
        return sign_evp(other_rsa, text, out);
    case SIGN_EC:
        return sign_ec(ec, text, out);
    case SIGN_TWO:
        return sign_ec(two, text, out);
    case SIGN_OTHER_EC:
        return sign_ec(other_ec, text, out);
    case SIGN_EC_DER:
        return sign_evp(ec, text, out);
    case SIGN_HMAC_OF_RSA_PEM:
        return sign_hmac_of_pem(text, out);
    case SIGN_NOTHING:
        break;
    }
    return 0;
}

struct token token_good(void)
{
    return (struct token){
        .alg = "\"RS256\"",
        .kid = "\"rsa-1\"",
        .typ = "\"JWT\"",
        .iss = "\"" ISSUER "\"",
        .aud = "\"" AUDIENCE "\"",
        .email = "\"" CALLER "\"",
        .verified = "true",
        .iat = "1799999990",
        .exp = "1800003590",
        .signer = SIGN_RSA,
    };
}

static void member(char *out, size_t cap, const char *name, const char *value)
{
    size_t at = strlen(out);

    if (value != NULL)
        snprintf(out + at, cap - at, "%s\"%s\":%s", at > 1 ? "," : "", name, value);
}

static void extra(char *out, size_t cap, const char *members)
{
    size_t at = strlen(out);

    if (members != NULL)
        snprintf(out + at, cap - at, ",%s", members);
}

static void token_header(const struct token *t, char *out, size_t cap)
{
    snprintf(out, cap, "{");
    member(out, cap, "alg", t->alg);
    member(out, cap, "kid", t->kid);
    member(out, cap, "typ", t->typ);
    extra(out, cap, t->header_extra);
    strcat(out, "}");
}

static void token_claims(const struct token *t, char *out, size_t cap)
{
    snprintf(out, cap, "{");
    member(out, cap, "iss", t->iss);
    member(out, cap, "aud", t->aud);
    member(out, cap, "email", t->email);
    member(out, cap, "email_verified", t->verified);
    member(out, cap, "iat", t->iat);
    member(out, cap, "nbf", t->nbf);
    member(out, cap, "exp", t->exp);
    extra(out, cap, t->claims_extra);
    strcat(out, "}");
}

const char *token_text(const struct token *t)
{
    char json[8192], *out = scratch_alloc(32768);
    uint8_t sig[1024];
    size_t len;

    keys_make();
    token_header(t, json, sizeof json - 2);
    len = base64url(t->header_raw != NULL ? t->header_raw : json,
                    strlen(t->header_raw != NULL ? t->header_raw : json), out);
    out[len++] = '.';
    token_claims(t, json, sizeof json - 2);
    len += base64url(t->claims_raw != NULL ? t->claims_raw : json,
                     strlen(t->claims_raw != NULL ? t->claims_raw : json), out + len);
    size_t sig_len = token_sign(t->signer, out, sig);
    out[len++] = '.';
    base64url(sig, sig_len, out + len);
    return out;
}

const char *good(void)
{
    static char *text;

    if (text == NULL) {
        struct token t = token_good();
        text = strdup(token_text(&t));
    }
    return text;
}

const char *good_of(const char *email)
{
    struct token t = token_good();
    char *json = scratch_alloc(512);

    snprintf(json, 512, "\"%s\"", email);
    t.email = json;
    return token_text(&t);
}

/* ---- tables ---- */

struct key_row {
    const char *path, *caller;
    uint8_t id, state;
    uint16_t deny_status;
    uint32_t reasons;
};

#define ONLY_CUSTOMER (1u << 5)

static const struct key_row key_rows[] = {
    {KEY, CALLER, 1, KEY_STATE_ENABLED, 403, ACCESS_REASONS_ALL},
    {KEY_2, CALLER, 2, KEY_STATE_ENABLED, 403, ACCESS_REASONS_ALL},
    {THEIRS, "someone@else.test", 3, KEY_STATE_ENABLED, 403, ACCESS_REASONS_ALL},
    {MILD, "someone@else.test", 4, KEY_STATE_ENABLED, 400, ACCESS_REASONS_ALL},
    {DISABLED, CALLER, 5, KEY_STATE_DISABLED, 403, ACCESS_REASONS_ALL},
    {PENDING, CALLER, 6, KEY_STATE_PENDING_DURABLE, 403, ACCESS_REASONS_ALL},
    {DOOMED, CALLER, 7, KEY_STATE_DESTROY_SCHEDULED, 403, ACCESS_REASONS_ALL},
    {DESTROYED, CALLER, 8, KEY_STATE_DESTROYED, 403, ACCESS_REASONS_ALL},
    {ONE_REASON, CALLER, 9, KEY_STATE_ENABLED, 403, ONLY_CUSTOMER},
    {MILD_REASON, CALLER, 10, KEY_STATE_ENABLED, 400, ONLY_CUSTOMER},
    {DISABLED_ONE_REASON, CALLER, 11, KEY_STATE_DISABLED, 403, ONLY_CUSTOMER},
    {NO_ABSENT, CALLER, 12, KEY_STATE_ENABLED, 403, ACCESS_REASONS_ALL & ~ACCESS_REASON_ABSENT_BIT},
    {UNKNOWN_OK, CALLER, 13, KEY_STATE_ENABLED, 403, ACCESS_REASONS_ALL | ACCESS_REASON_UNKNOWN_BIT},
    {NO_PRIMARY, CALLER, 14, KEY_STATE_ENABLED, 403, ACCESS_REASONS_ALL},
};

static struct ctl_key key_message(const struct key_row *r)
{
    struct ctl_key m = {
        .id = {r->id},
        .state = r->state,
        .deny_status = r->deny_status,
        .primary_version = strcmp(r->path, NO_PRIMARY) == 0 ? 0 : 1,
        .reasons_allowed = r->reasons,
        .path = span_str(r->path),
        .caller_count = 1,
        .callers = {span_str(r->caller)},
    };
    return m;
}

static void stage_version(uint8_t id, uint8_t state)
{
    uint8_t material[KEY_MATERIAL_LEN];
    struct ctl_key_version v = {.key_id = {id}, .version = 1, .state = state, .tag = {id, 9, 9}};

    memset(material, id, sizeof material);
    v.material = secret_of(material, state == KEY_STATE_DESTROYED ? 0 : sizeof material);
    assert_int_equal(keys_stage_version(keys, &v), 0);
}

static void settle(void)
{
    rig_quiescent();
    for (int i = 0; i < 1000 && !keys_settled(keys); i++)
        rig_quiescent();
    assert_true(keys_settled(keys));
    ekm_auth_settle(auth);
}

static void load_keys(void)
{
    assert_int_equal(keys_begin(keys, true, 0, epoch), 0);
    for (size_t i = 0; i < sizeof key_rows / sizeof key_rows[0]; i++) {
        struct ctl_key m = key_message(&key_rows[i]);
        assert_int_equal(keys_stage_key(keys, &m), 0);
        stage_version(key_rows[i].id,
                      key_rows[i].state == KEY_STATE_DESTROYED ? KEY_STATE_DESTROYED : KEY_STATE_ENABLED);
    }
    assert_int_equal(keys_check(keys), 0);
    keys_commit(keys);
}

static int stage_ec_jwk(const char *kid, EVP_PKEY *key)
{
    uint8_t point[65];
    size_t len;
    struct ctl_jwk m = {.alg = JWK_ES256, .kid = span_str(kid)};

    assert_int_equal(
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point, sizeof point, &len),
        1);
    assert_int_equal(len, 65);
    m.n_or_x = span_of(point + 1, 32);
    m.e_or_y = span_of(point + 33, 32);
    return ekm_auth_stage_jwk(auth, &m);
}

static void stage_rsa_jwk(const char *kid, EVP_PKEY *key)
{
    static const uint8_t e[] = {1, 0, 1};
    BIGNUM *n = NULL;
    uint8_t bytes[256];
    struct ctl_jwk m = {.alg = JWK_RS256, .kid = span_str(kid)};

    assert_int_equal(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n), 1);
    assert_int_equal(BN_bn2bin(n, bytes), 256);
    BN_free(n);
    m.n_or_x = span_of(bytes, 256);
    m.e_or_y = span_of(e, sizeof e);
    assert_int_equal(ekm_auth_stage_jwk(auth, &m), 0);
}

static void stage_issuer(const char *iss, uint64_t loaded_s)
{
    struct ctl_issuer m = {span_str(iss), loaded_s, 3600};

    assert_int_equal(ekm_auth_stage_issuer(auth, &m), 0);
}

static void stage_auth(const struct auth_change *c)
{
    uint64_t loaded_s = c->jwks_loaded_s != 0 ? c->jwks_loaded_s : (uint64_t)NOW_S - 10;
    struct ctl_audience a = {span_str(AUDIENCE)}, elsewhere = {span_str("https://elsewhere.test")};

    keys_make();
    stage_issuer(ISSUER_2, loaded_s);
    assert_int_equal(stage_ec_jwk("two-1", two), 0);
    if (!c->without_issuer) {
        stage_issuer(ISSUER, loaded_s);
        assert_int_equal(stage_ec_jwk("ec-1", ec), 0);
        if (!c->without_rsa_key)
            stage_rsa_jwk("rsa-1", rsa);
    }
    assert_int_equal(ekm_auth_stage_audience(auth, &elsewhere), 0);
    if (!c->without_audience)
        assert_int_equal(ekm_auth_stage_audience(auth, &a), 0);
}

/* A key transaction beside it, as ctl.c makes one of both: the grace period is the keys'. */
void rig_commit_auth(const struct auth_change *c)
{
    uint64_t base = epoch++;

    ekm_auth_begin(auth, !c->delta);
    stage_auth(c);
    if (base == 0)
        load_keys();
    else {
        assert_int_equal(keys_begin(keys, false, base, epoch), 0);
        assert_int_equal(keys_check(keys), 0);
        keys_commit(keys);
    }
    ekm_auth_commit(auth, epoch);
    if (!c->not_settled)
        settle();
}

static void delta_begin(void)
{
    uint64_t base = epoch++;

    ekm_auth_begin(auth, false);
    assert_int_equal(keys_begin(keys, false, base, epoch), 0);
}

static void delta_end(void)
{
    assert_int_equal(keys_check(keys), 0);
    ekm_auth_commit(auth, epoch);
    keys_commit(keys);
    settle();
}

void rig_commit_staged(void)
{
    uint64_t base = epoch++;

    assert_int_equal(keys_begin(keys, false, base, epoch), 0);
    delta_end();
}

struct ekm_auth *rig_auth(void)
{
    return auth;
}

int rig_stage_ec_jwk(const char *kid, bool of_two)
{
    return stage_ec_jwk(kid, of_two ? two : other_ec);
}

size_t rig_verdicts_kept(void)
{
    return verdict_cache_count(worker->verdicts);
}

void rig_commit_keys(bool key_disabled, bool caller_removed)
{
    struct ctl_key m = key_message(&key_rows[0]);

    if (key_disabled)
        m.state = KEY_STATE_DISABLED;
    if (caller_removed)
        m.callers[0] = span_str("nobody@else.test");
    delta_begin();
    assert_int_equal(keys_stage_key(keys, &m), 0);
    delta_end();
}

void rig_version_state(uint8_t state, uint32_t primary)
{
    struct ctl_key m = key_message(&key_rows[0]);

    m.primary_version = primary;
    delta_begin();
    assert_int_equal(keys_stage_key(keys, &m), 0);
    stage_version(1, state);
    delta_end();
}

void rig_quiescent(void)
{
    ekm_quiescent(worker);
    keys_quiescent(keys_worker);
}

#ifdef WW_TEST_HOOKS
void rig_fault(enum keys_fault f)
{
    keys_inject_fault(keys_worker, f, 3);
}
#endif

void rig_clock(int64_t s)
{
    now_s = s;
}

int rig_setup_unloaded(void **state)
{
    struct keys_config c = {.keys_max = 64, .versions_max = 128, .verify_rng_seeded_for_tests = true};
    (void)state;

    memset(&counters_, 0, sizeof counters_);
    now_s = NOW_S;
    epoch = 0;
    keys = keys_new(&c);
    assert_non_null(keys);
    keys_worker = keys_worker_new(keys, &counters_);
    auth = ekm_auth_new();
    assert_true(keys_worker != NULL && auth != NULL);
    worker = ekm_worker_new(auth, keys_worker, &counters_);
    assert_non_null(worker);
    return 0;
}

int rig_setup(void **state)
{
    rig_setup_unloaded(state);
    rig_commit_auth(&(struct auth_change){0});
    return 0;
}

int rig_teardown(void **state)
{
    (void)state;
    ekm_worker_free(worker);
    keys_worker_free(keys_worker);
    ekm_auth_free(auth);
    keys_free(keys);
    free(reply_bytes_);
    reply_bytes_ = NULL;
    while (scratch_count > 0)
        free(scratch[--scratch_count]);
    return 0;
}

uint64_t counted(enum reason r)
{
    return counter_read(&counters_, r);
}

/* ---- requests ---- */

static size_t head_write(const struct call *c, char *out, size_t cap)
{
    int n = snprintf(out, cap, "%s %s HTTP/%s\r\nHost: " HOST "\r\n", c->method, c->target, c->version);

    if (c->token != NULL)
        n += snprintf(out + n, cap - (size_t)n, "Authorization: Bearer %s\r\n", c->token);
    if (c->authorization != NULL)
        n += snprintf(out + n, cap - (size_t)n, "Authorization: %s\r\n", c->authorization);
    if (c->type != NULL)
        n += snprintf(out + n, cap - (size_t)n, "Content-Type: %s\r\n", c->type);
    if (c->extra_head != NULL)
        n += snprintf(out + n, cap - (size_t)n, "%s", c->extra_head);
    n += snprintf(out + n, cap - (size_t)n, "Content-Length: %zu\r\n\r\n", c->body_len);
    return (size_t)n;
}

/* Whatever is answered is one whole JSON text, announced with its length. */
static void reply_split(const struct ekm_reply *r)
{
    const char *text = (const char *)r->out.ptr;
    const char *end = memmem(text, r->out.len, "\r\n\r\n", 4);
    struct json_reader json;
    enum json_token t;
    char length[64];

    assert_non_null(end);
    size_t head_len = (size_t)(end - text) + 4;
    assert_true(head_len < sizeof reply_head);
    memcpy(reply_head, text, head_len);
    reply_head[head_len] = 0;
    reply_body = span_of(text + head_len, r->out.len - head_len);
    snprintf(length, sizeof length, "\r\nContent-Length: %zu\r\n", reply_body.len);
    assert_non_null(strstr(reply_head, length));
    json_init(&json, reply_body);
    do
        t = json_next(&json);
    while (t != JSON_END && t != JSON_ERROR);
    assert_int_equal(t, JSON_END);
}

/* Buffers are as small as the contract allows, so that the sanitizer sees one byte too many. */
unsigned call(const struct call *c)
{
    struct call full = *c;
    char *head = malloc(32768);
    uint8_t *body = malloc(c->body_len + 1);
    size_t cap = EKM_REPLY_CAP(c->body_len);
    struct ekm_request rq = {.now_unix_us = (uint64_t)now_s * 1000000 + 5};
    enum reason why;

    if (full.version == NULL)
        full.version = "1.1";
    size_t head_len = head_write(&full, head, 32768);
    if (c->body_len != 0)
        memcpy(body, c->body, c->body_len);
    free(reply_bytes_);
    reply_bytes_ = malloc(cap);
    struct ekm_reply reply = {.out = {reply_bytes_, 0, cap}};
    assert_int_equal(http_parse_head(span_of(head, head_len), &rq.head, &why), HTTP_OK);
    rq.body = secret_of(body, c->body_len);
    uint64_t before = allocation_count;
    ekm_handle(worker, &rq, &reply, &audited);
    allocations = allocation_count - before;
    reply_split(&reply);
    reply_close = reply.close;
    assert_int_equal(audited.status, reply.status);
    assert_true(counted((enum reason)audited.verdict) > 0);
    free(head);
    free(body);
    return reply.status;
}

unsigned refuse(uint16_t status, enum reason why)
{
    size_t cap = EKM_REPLY_CAP(0);

    free(reply_bytes_);
    reply_bytes_ = malloc(cap);
    struct ekm_reply reply = {.out = {reply_bytes_, 0, cap}};
    ekm_refuse(worker, status, why, (uint64_t)now_s * 1000000 + 5, &reply, &audited);
    reply_split(&reply);
    reply_close = reply.close;
    assert_int_equal(audited.status, reply.status);
    return reply.status;
}

unsigned post(const char *target, const char *token, const char *json)
{
    struct call c = {.method = "POST",
                     .target = target,
                     .token = token,
                     .type = "application/json",
                     .body = json,
                     .body_len = strlen(json)};

    return call(&c);
}

unsigned wrap(const char *key, const char *token, const char *plaintext_b64)
{
    char target[512], json[1024];

    snprintf(target, sizeof target, "/%s:wrap", key);
    snprintf(json, sizeof json, "{\"plaintext\":\"%s\"}", plaintext_b64);
    return post(target, token, json);
}

bool reply_has(const char *text)
{
    return memmem(reply_body.ptr, reply_body.len, text, strlen(text)) != NULL;
}

struct span reply_bytes(const char *name, uint8_t *out)
{
    char lead[64];
    size_t len = 0;

    snprintf(lead, sizeof lead, "{\"%s\":\"", name);
    assert_true(reply_body.len > strlen(lead) + 2);
    assert_memory_equal(reply_body.ptr, lead, strlen(lead));
    assert_true(
        base64_decode(span_of(reply_body.ptr + strlen(lead), reply_body.len - strlen(lead) - 2), out, &len));
    return span_of(out, len);
}

void expect_status_body(int code)
{
    char lead[64];

    snprintf(lead, sizeof lead, "{\"code\":%d,\"message\":\"", code);
    assert_true(reply_body.len > strlen(lead));
    assert_memory_equal(reply_body.ptr, lead, strlen(lead));
}

const char *unwrap_body(const char *more)
{
    char *out = scratch_alloc(reply_body.len + strlen(more) + 2);

    memcpy(out, reply_body.ptr, reply_body.len);
    strcpy(out + reply_body.len - 1, more);
    strcat(out, "}");
    return out;
}

const char *b64(const void *data, size_t len)
{
    char *out = scratch_alloc(BASE64_ENCODED_LEN(len) + 1);

    out[base64_encode(span_of(data, len), (uint8_t *)out)] = 0;
    return out;
}
