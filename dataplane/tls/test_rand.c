/* Repeatable randomness for simulator runs: a provider with one generator, SipHash over a counter, that takes
 * the place of OpenSSL's DRBGs in one library context.  Not secure and not meant to be; never in a release
 * build. */
#include "base/siphash.h"
#include "dataplane/tls/tls_priv.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdlib.h>

#define NAME "WW-TEST-RAND"

struct source { /* one per library context */
    struct siphash_key key;
    uint64_t streams;
};

struct stream { /* one per generator: primary, public, private */
    struct source *source;
    uint64_t id, block;
    int state;
};

/* Handed to provider_init by the thread that installs. */
static _Thread_local const uint8_t *seed_in_hand;

static void *stream_new(void *provctx, void *parent, const OSSL_DISPATCH *parent_calls)
{
    struct stream *s = calloc(1, sizeof *s);
    (void)parent, (void)parent_calls;

    if (s == NULL)
        return NULL;
    s->source = provctx;
    s->id = s->source->streams++;
    s->state = EVP_RAND_STATE_UNINITIALISED;
    return s;
}

static void stream_free(void *ctx)
{
    free(ctx);
}

static int stream_instantiate(void *ctx, unsigned int strength, int prediction_resistance,
                              const unsigned char *pstr, size_t pstr_len, const OSSL_PARAM params[])
{
    struct stream *s = ctx;
    (void)strength, (void)prediction_resistance, (void)pstr, (void)pstr_len, (void)params;

    s->state = EVP_RAND_STATE_READY;
    return 1;
}

static int stream_uninstantiate(void *ctx)
{
    ((struct stream *)ctx)->state = EVP_RAND_STATE_UNINITIALISED;
    return 1;
}

static int stream_generate(void *ctx, unsigned char *out, size_t out_len, unsigned int strength,
                           int prediction_resistance, const unsigned char *extra, size_t extra_len)
{
    struct stream *s = ctx;
    (void)strength, (void)prediction_resistance, (void)extra, (void)extra_len;

    while (out_len > 0) {
        uint64_t where[2] = {s->id, s->block++};
        uint64_t bits = siphash(&s->source->key, span_of(where, sizeof where));
        size_t n = out_len < sizeof bits ? out_len : sizeof bits;
        memcpy(out, &bits, n);
        out += n;
        out_len -= n;
    }
    return 1;
}

static int stream_enable_locking(void *ctx)
{
    (void)ctx;
    return 1; /* a generator's parent is never asked */
}

static int stream_get_params(void *ctx, OSSL_PARAM params[])
{
    struct stream *s = ctx;
    OSSL_PARAM *p;

    p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STATE);
    if (p != NULL && !OSSL_PARAM_set_int(p, s->state))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STRENGTH);
    if (p != NULL && !OSSL_PARAM_set_uint(p, 256))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_MAX_REQUEST);
    return p == NULL || OSSL_PARAM_set_size_t(p, 1 << 16);
}

static const OSSL_DISPATCH stream_calls[] = {
    {OSSL_FUNC_RAND_NEWCTX, (void (*)(void))stream_new},
    {OSSL_FUNC_RAND_FREECTX, (void (*)(void))stream_free},
    {OSSL_FUNC_RAND_INSTANTIATE, (void (*)(void))stream_instantiate},
    {OSSL_FUNC_RAND_UNINSTANTIATE, (void (*)(void))stream_uninstantiate},
    {OSSL_FUNC_RAND_GENERATE, (void (*)(void))stream_generate},
    {OSSL_FUNC_RAND_ENABLE_LOCKING, (void (*)(void))stream_enable_locking},
    {OSSL_FUNC_RAND_GET_CTX_PARAMS, (void (*)(void))stream_get_params},
    {0, NULL},
};

static const OSSL_ALGORITHM *provider_query(void *provctx, int operation, int *no_cache)
{
    static const OSSL_ALGORITHM rands[] = {{NAME, "provider=" NAME, stream_calls, NULL},
                                           {NULL, NULL, NULL, NULL}};
    (void)provctx;

    *no_cache = 0;
    return operation == OSSL_OP_RAND ? rands : NULL;
}

static void provider_teardown(void *provctx)
{
    free(provctx);
}

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                         void **provctx)
{
    static const OSSL_DISPATCH calls[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))provider_query},
        {OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))provider_teardown},
        {0, NULL},
    };
    struct source *source = calloc(1, sizeof *source);
    (void)handle, (void)in;

    if (source == NULL || seed_in_hand == NULL) {
        free(source);
        return 0;
    }
    memcpy(&source->key, seed_in_hand, sizeof source->key);
    *provctx = source;
    *out = calls;
    return 1;
}

OSSL_PROVIDER *tls_test_rand_install(OSSL_LIB_CTX *lib, const uint8_t seed[32])
{
    OSSL_PROVIDER *p;

    if (OSSL_PROVIDER_add_builtin(lib, NAME, provider_init) != 1)
        return NULL;
    seed_in_hand = seed;
    p = OSSL_PROVIDER_load(lib, NAME);
    seed_in_hand = NULL;
    if (p != NULL && RAND_set_DRBG_type(lib, NAME, NULL, NULL, NULL) != 1) {
        OSSL_PROVIDER_unload(p);
        return NULL;
    }
    return p;
}
