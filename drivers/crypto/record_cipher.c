/* The table of functions is the standard provider's own with a few of ours in it, so that constants and descriptions are the same. */
#include "drivers/crypto/record_cipher.h"

#include "base/secret.h"

#include <intel-ipsec-mb.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <stdlib.h>

#define NAME       "wirewrap"
#define IV_LEN     12
#define TAG_LEN    16
#define AAD_MAX    16 /* a record's header has 5 bytes */
#define CALLS_MAX  32
#define SUITES     2
#define CACHE_LINE 64

/* One algorithm, and what the standard provider has for it. */
struct suite {
    struct provider *provider;
    const char *names;
    size_t key_len;
    OSSL_FUNC_cipher_newctx_fn *newctx;
    OSSL_FUNC_cipher_freectx_fn *freectx;
    OSSL_FUNC_cipher_encrypt_init_fn *encrypt_init;
    OSSL_FUNC_cipher_decrypt_init_fn *decrypt_init;
    OSSL_FUNC_cipher_update_fn *update;
    OSSL_FUNC_cipher_final_fn *final;
    OSSL_FUNC_cipher_cipher_fn *cipher;
    OSSL_FUNC_cipher_get_ctx_params_fn *get_params;
    OSSL_FUNC_cipher_set_ctx_params_fn *set_params;
    OSSL_DISPATCH calls[CALLS_MAX];
};

struct provider {
    IMB_MGR *mb;
    void *standard; /* the standard provider's context */
    struct suite suites[SUITES];
    OSSL_ALGORITHM algorithms[SUITES + 1];
};

enum stage { NO_NONCE, NONCE_GIVEN, TEXT_DONE };

/* One direction of one connection. */
struct record_cipher {
    _Alignas(CACHE_LINE) struct gcm_key_data key;
    const struct suite *suite;
    void *standard; /* not NULL: all is left to it */
    uint8_t iv[IV_LEN];
    uint8_t aad[AAD_MAX];
    uint8_t aad_len;
    uint8_t stage; /* enum stage */
    bool keyed, sealing, tag_given;
    uint8_t tag[TAG_LEN];   /* sealing: of the text; opening: what came with it */
    uint8_t found[TAG_LEN]; /* opening: of the text */
};

/* ---- life ---- */

static void *cipher_new(const struct suite *s)
{
    struct record_cipher *c = aligned_alloc(CACHE_LINE, sizeof *c);

    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof *c);
    c->suite = s;
    return c;
}

static void *cipher_new_128(void *provctx)
{
    return cipher_new(&((const struct provider *)provctx)->suites[0]);
}

static void *cipher_new_256(void *provctx)
{
    return cipher_new(&((const struct provider *)provctx)->suites[1]);
}

static void cipher_free(void *ctx)
{
    struct record_cipher *c = ctx;

    if (c == NULL)
        return;
    if (c->standard != NULL)
        c->suite->freectx(c->standard);
    secret_wipe(c, sizeof *c);
    free(c);
}

/* From here on it is the standard provider's, with the same key: the first bytes of an AES schedule are the key. */
static bool leave_to_standard(struct record_cipher *c)
{
    const struct suite *s = c->suite;

    if (c->standard != NULL)
        return true;
    void *standard = s->newctx(s->provider->standard);
    const unsigned char *key = c->keyed ? c->key.expanded_keys : NULL;
    size_t key_len = c->keyed ? s->key_len : 0;
    if (standard == NULL ||
        !(c->sealing ? s->encrypt_init : s->decrypt_init)(standard, key, key_len, NULL, 0, NULL)) {
        if (standard != NULL)
            s->freectx(standard);
        return false;
    }
    secret_wipe(&c->key, sizeof c->key);
    c->standard = standard;
    return true;
}

/* ---- parameters ---- */

/* In place: the first letter settles nearly all of it, and a call of strcmp costs more than the names are long. */
static inline bool is_called(const char *name, const char *wanted)
{
    while (*wanted != '\0' && *name == *wanted) {
        name++;
        wanted++;
    }
    return *name == *wanted;
}

static int get_params(void *ctx, OSSL_PARAM params[])
{
    struct record_cipher *c = ctx;

    if (c->standard != NULL)
        return c->suite->get_params(c->standard, params);
    for (OSSL_PARAM *p = params; p->key != NULL; p++) {
        bool good = true;

        if (is_called(p->key, OSSL_CIPHER_PARAM_IVLEN))
            good = OSSL_PARAM_set_size_t(p, IV_LEN);
        else if (is_called(p->key, OSSL_CIPHER_PARAM_KEYLEN))
            good = OSSL_PARAM_set_size_t(p, c->suite->key_len);
        else if (is_called(p->key, OSSL_CIPHER_PARAM_AEAD_TAGLEN))
            good = OSSL_PARAM_set_size_t(p, TAG_LEN);
        else if (is_called(p->key, OSSL_CIPHER_PARAM_AEAD_TAG))
            good = c->sealing && c->stage == TEXT_DONE && p->data_size == TAG_LEN &&
                   OSSL_PARAM_set_octet_string(p, c->tag, TAG_LEN);
        if (!good)
            return 0;
    }
    return 1;
}

/* What is asked for records of TLS 1.2 alone. */
static bool is_of_tls12(const char *name)
{
    return is_called(name, OSSL_CIPHER_PARAM_AEAD_TLS1_IV_FIXED) ||
           is_called(name, OSSL_CIPHER_PARAM_AEAD_TLS1_AAD) ||
           is_called(name, OSSL_CIPHER_PARAM_AEAD_TLS1_SET_IV_INV);
}

static bool take_tag(struct record_cipher *c, const OSSL_PARAM *p)
{
    if (p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size != TAG_LEN || p->data == NULL || c->sealing)
        return false;
    memcpy(c->tag, p->data, TAG_LEN);
    c->tag_given = true;
    return true;
}

static bool is_size(const OSSL_PARAM *p, size_t wanted)
{
    size_t len;

    return OSSL_PARAM_get_size_t(p, &len) && len == wanted;
}

static int set_params(void *ctx, const OSSL_PARAM params[])
{
    struct record_cipher *c = ctx;

    if (params == NULL)
        return 1;
    for (const OSSL_PARAM *p = params; p->key != NULL && c->standard == NULL; p++) {
        bool good = true;

        if (is_called(p->key, OSSL_CIPHER_PARAM_AEAD_TAG))
            good = take_tag(c, p);
        else if (is_called(p->key, OSSL_CIPHER_PARAM_IVLEN))
            good = is_size(p, IV_LEN);
        else if (is_called(p->key, OSSL_CIPHER_PARAM_KEYLEN))
            good = is_size(p, c->suite->key_len);
        else if (is_of_tls12(p->key))
            good = leave_to_standard(c);
        if (!good)
            return 0;
    }
    return c->standard == NULL || c->suite->set_params(c->standard, params);
}

/* ---- one message ---- */

static bool key_set(struct record_cipher *c, const unsigned char *key, size_t len)
{
    IMB_MGR *mb = c->suite->provider->mb;

    if (len != c->suite->key_len)
        return false;
    if (len == 16)
        IMB_AES128_GCM_PRE(mb, key, &c->key);
    else
        IMB_AES256_GCM_PRE(mb, key, &c->key);
    c->keyed = imb_get_errno(mb) == 0;
    return c->keyed;
}

static bool init(struct record_cipher *c, bool sealing, const unsigned char *key, size_t key_len,
                 const unsigned char *iv, size_t iv_len)
{
    c->sealing = sealing;
    c->stage = NO_NONCE;
    c->tag_given = false;
    c->aad_len = 0;
    if (key != NULL && !key_set(c, key, key_len))
        return false;
    if (iv == NULL)
        return true;
    if (iv_len != IV_LEN)
        return false;
    memcpy(c->iv, iv, IV_LEN);
    c->stage = NONCE_GIVEN;
    return true;
}

static int encrypt_init(void *ctx, const unsigned char *key, size_t key_len, const unsigned char *iv,
                        size_t iv_len, const OSSL_PARAM params[])
{
    struct record_cipher *c = ctx;

    if (c->standard != NULL)
        return c->suite->encrypt_init(c->standard, key, key_len, iv, iv_len, params);
    return init(c, true, key, key_len, iv, iv_len) && set_params(c, params);
}

static int decrypt_init(void *ctx, const unsigned char *key, size_t key_len, const unsigned char *iv,
                        size_t iv_len, const OSSL_PARAM params[])
{
    struct record_cipher *c = ctx;

    if (c->standard != NULL)
        return c->suite->decrypt_init(c->standard, key, key_len, iv, iv_len, params);
    return init(c, false, key, key_len, iv, iv_len) && set_params(c, params);
}

static void transform(struct record_cipher *c, uint8_t *out, const uint8_t *in, size_t len)
{
    IMB_MGR *mb = c->suite->provider->mb;
    NOT_ZEROED struct gcm_context_data state;

    if (c->sealing && c->suite->key_len == 16)
        IMB_AES128_GCM_ENC(mb, &c->key, &state, out, in, len, c->iv, c->aad, c->aad_len, c->tag, TAG_LEN);
    else if (c->sealing)
        IMB_AES256_GCM_ENC(mb, &c->key, &state, out, in, len, c->iv, c->aad, c->aad_len, c->tag, TAG_LEN);
    else if (c->suite->key_len == 16)
        IMB_AES128_GCM_DEC(mb, &c->key, &state, out, in, len, c->iv, c->aad, c->aad_len, c->found, TAG_LEN);
    else
        IMB_AES256_GCM_DEC(mb, &c->key, &state, out, in, len, c->iv, c->aad, c->aad_len, c->found, TAG_LEN);
}

static bool aad_add(struct record_cipher *c, const uint8_t *in, size_t len)
{
    if (len > sizeof c->aad - c->aad_len)
        return false;
    memcpy(c->aad + c->aad_len, in, len);
    c->aad_len = (uint8_t)(c->aad_len + len);
    return true;
}

/* Additional data while out is NULL, then the text, in one piece.  A nonce serves for one text. */
static int update(void *ctx, unsigned char *out, size_t *out_len, size_t out_cap, const unsigned char *in,
                  size_t len)
{
    struct record_cipher *c = ctx;

    if (c->standard != NULL)
        return c->suite->update(c->standard, out, out_len, out_cap, in, len);
    *out_len = 0;
    if (!c->keyed || c->stage != NONCE_GIVEN)
        return 0;
    *out_len = len;
    if (out == NULL)
        return aad_add(c, in, len);
    if (len == 0)
        return 1;
    c->stage = TEXT_DONE;
    if (len > out_cap)
        return 0;
    transform(c, out, in, len);
    return imb_get_errno(c->suite->provider->mb) == 0;
}

static int final(void *ctx, unsigned char *out, size_t *out_len, size_t out_cap)
{
    struct record_cipher *c = ctx;

    if (c->standard != NULL)
        return c->suite->final(c->standard, out, out_len, out_cap);
    *out_len = 0;
    if (c->stage != TEXT_DONE)
        return 0;
    return c->sealing || (c->tag_given && secret_equal(c->tag, c->found, TAG_LEN));
}

static int one_call(void *ctx, unsigned char *out, size_t *out_len, size_t out_cap, const unsigned char *in,
                    size_t len)
{
    struct record_cipher *c = ctx;

    return c->standard != NULL && c->suite->cipher(c->standard, out, out_len, out_cap, in, len);
}

/* ---- the provider ---- */

/* Which of the standard provider's functions is ours; NULL: none. */
static void (*replacement(const struct suite *s, int function))(void)
{
    switch (function) {
    case OSSL_FUNC_CIPHER_NEWCTX:
        return (void (*)(void))(s->key_len == 16 ? cipher_new_128 : cipher_new_256);
    case OSSL_FUNC_CIPHER_FREECTX:
        return (void (*)(void))cipher_free;
    case OSSL_FUNC_CIPHER_ENCRYPT_INIT:
        return (void (*)(void))encrypt_init;
    case OSSL_FUNC_CIPHER_DECRYPT_INIT:
        return (void (*)(void))decrypt_init;
    case OSSL_FUNC_CIPHER_UPDATE:
        return (void (*)(void))update;
    case OSSL_FUNC_CIPHER_FINAL:
        return (void (*)(void)) final;
    case OSSL_FUNC_CIPHER_CIPHER:
        return (void (*)(void))one_call;
    case OSSL_FUNC_CIPHER_GET_CTX_PARAMS:
        return (void (*)(void))get_params;
    case OSSL_FUNC_CIPHER_SET_CTX_PARAMS:
        return (void (*)(void))set_params;
    default:
        return NULL;
    }
}

static void standard_note(struct suite *s, const OSSL_DISPATCH *d)
{
    switch (d->function_id) {
    case OSSL_FUNC_CIPHER_NEWCTX:
        s->newctx = OSSL_FUNC_cipher_newctx(d);
        break;
    case OSSL_FUNC_CIPHER_FREECTX:
        s->freectx = OSSL_FUNC_cipher_freectx(d);
        break;
    case OSSL_FUNC_CIPHER_ENCRYPT_INIT:
        s->encrypt_init = OSSL_FUNC_cipher_encrypt_init(d);
        break;
    case OSSL_FUNC_CIPHER_DECRYPT_INIT:
        s->decrypt_init = OSSL_FUNC_cipher_decrypt_init(d);
        break;
    case OSSL_FUNC_CIPHER_UPDATE:
        s->update = OSSL_FUNC_cipher_update(d);
        break;
    case OSSL_FUNC_CIPHER_FINAL:
        s->final = OSSL_FUNC_cipher_final(d);
        break;
    case OSSL_FUNC_CIPHER_CIPHER:
        s->cipher = OSSL_FUNC_cipher_cipher(d);
        break;
    case OSSL_FUNC_CIPHER_GET_CTX_PARAMS:
        s->get_params = OSSL_FUNC_cipher_get_ctx_params(d);
        break;
    case OSSL_FUNC_CIPHER_SET_CTX_PARAMS:
        s->set_params = OSSL_FUNC_cipher_set_ctx_params(d);
        break;
    default:
        break;
    }
}

/* A context of ours cannot be duplicated by code that does not know it. */
static bool suite_build(struct suite *s, const OSSL_DISPATCH *standard)
{
    size_t count = 0;

    for (const OSSL_DISPATCH *d = standard; d->function_id != 0; d++) {
        void (*ours)(void) = replacement(s, d->function_id);

        if (d->function_id == OSSL_FUNC_CIPHER_DUPCTX)
            continue;
        if (count + 1 == CALLS_MAX)
            return false;
        s->calls[count++] = (OSSL_DISPATCH){d->function_id, ours != NULL ? ours : d->function};
        standard_note(s, d);
    }
    return s->newctx != NULL && s->freectx != NULL && s->encrypt_init != NULL && s->decrypt_init != NULL &&
           s->update != NULL && s->final != NULL && s->cipher != NULL && s->get_params != NULL &&
           s->set_params != NULL;
}

static bool has_name(const char *names, const char *name)
{
    size_t len = strlen(name);

    return strncmp(names, name, len) == 0 && (names[len] == ':' || names[len] == '\0');
}

static bool suites_build(struct provider *p, const OSSL_PROVIDER *standard)
{
    int no_cache = 0;
    const OSSL_ALGORITHM *all = OSSL_PROVIDER_query_operation(standard, OSSL_OP_CIPHER, &no_cache);
    size_t found = 0;

    p->standard = OSSL_PROVIDER_get0_provider_ctx(standard);
    p->suites[0] = (struct suite){.provider = p, .names = "AES-128-GCM", .key_len = 16};
    p->suites[1] = (struct suite){.provider = p, .names = "AES-256-GCM", .key_len = 32};
    for (; all != NULL && all->algorithm_names != NULL; all++) {
        for (size_t i = 0; i < SUITES; i++) {
            if (!has_name(all->algorithm_names, p->suites[i].names))
                continue;
            if (!suite_build(&p->suites[i], all->implementation))
                return false;
            p->algorithms[found++] =
                (OSSL_ALGORITHM){all->algorithm_names, "provider=" NAME, p->suites[i].calls, NULL};
            break;
        }
        if (found == SUITES)
            return true;
    }
    return false;
}

static const OSSL_ALGORITHM *query(void *provctx, int operation, int *no_cache)
{
    struct provider *p = provctx;

    *no_cache = 0;
    return operation == OSSL_OP_CIPHER ? p->algorithms : NULL;
}

static void teardown(void *provctx)
{
    struct provider *p = provctx;

    free_mb_mgr(p->mb);
    free(p);
}

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                         void **provctx)
{
    static const OSSL_DISPATCH calls[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
        {OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))teardown},
        {0, NULL},
    };
    struct provider *p = calloc(1, sizeof *p);
    (void)handle, (void)in;

    if (p == NULL)
        return 0;
    p->mb = alloc_mb_mgr(0);
    if (p->mb == NULL) {
        free(p);
        return 0;
    }
    init_mb_mgr_auto(p->mb, NULL);
    *provctx = p;
    *out = calls;
    return 1;
}

OSSL_PROVIDER *record_cipher_load(OSSL_LIB_CTX *lib, OSSL_PROVIDER **standard)
{
    OSSL_PROVIDER *ours =
        OSSL_PROVIDER_add_builtin(lib, NAME, provider_init) == 1 ? OSSL_PROVIDER_load(lib, NAME) : NULL;

    *standard = ours == NULL ? NULL : OSSL_PROVIDER_load(lib, "default");
    if (*standard != NULL && suites_build(OSSL_PROVIDER_get0_provider_ctx(ours), *standard))
        return ours;
    if (*standard != NULL)
        OSSL_PROVIDER_unload(*standard);
    if (ours != NULL)
        OSSL_PROVIDER_unload(ours);
    *standard = NULL;
    return NULL;
}
