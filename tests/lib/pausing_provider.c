/* pausing.so: an OpenSSL provider that signs with EC keys as the default provider does, by its very functions, but waits at the gate
 * before each signature. */
#define PAUSING_INSIDE
#include "tests/lib/pausing.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/provider.h>
#include <string.h>

#define PROPERTY  "provider=pausing"
#define CALLS_MAX 64

static int users;
static OSSL_LIB_CTX *lib; /* with the default provider, whose functions these are */
static OSSL_PROVIDER *inner;
static OSSL_DISPATCH sign_calls[CALLS_MAX];
static OSSL_ALGORITHM signatures[2], key_managers[2];
static OSSL_FUNC_signature_digest_sign_final_fn *sign_final;

static int paused_sign_final(void *ctx, unsigned char *sig, size_t *len, size_t cap)
{
    if (sig != NULL) /* else only its length is asked for */
        pausing_wait();
    return sign_final(ctx, sig, len, cap);
}

static const OSSL_ALGORITHM *algorithm(int operation, const char *name)
{
    int no_cache;
    const OSSL_ALGORITHM *a = OSSL_PROVIDER_query_operation(inner, operation, &no_cache);

    while (a != NULL && a->algorithm_names != NULL && strncmp(a->algorithm_names, name, strlen(name)) != 0)
        a++;
    return a != NULL && a->algorithm_names != NULL ? a : NULL;
}

static int borrow(void)
{
    const OSSL_ALGORITHM *ecdsa, *ec;
    int n = 0;

    lib = OSSL_LIB_CTX_new();
    inner = lib == NULL ? NULL : OSSL_PROVIDER_load(lib, "default");
    if (inner == NULL || (ecdsa = algorithm(OSSL_OP_SIGNATURE, "ECDSA")) == NULL ||
        (ec = algorithm(OSSL_OP_KEYMGMT, "EC:")) == NULL)
        return 0;
    for (const OSSL_DISPATCH *d = ecdsa->implementation; d->function_id != 0 && n < CALLS_MAX - 1; d++) {
        sign_calls[n] = *d;
        if (d->function_id == OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL) {
            sign_final = OSSL_FUNC_signature_digest_sign_final(d);
            sign_calls[n].function = (void (*)(void))paused_sign_final;
        }
        n++;
    }
    sign_calls[n] = (OSSL_DISPATCH){0, NULL};
    signatures[0] = (OSSL_ALGORITHM){ecdsa->algorithm_names, PROPERTY, sign_calls, NULL};
    key_managers[0] = (OSSL_ALGORITHM){ec->algorithm_names, PROPERTY, ec->implementation, NULL};
    return sign_final != NULL;
}

static const OSSL_ALGORITHM *query(void *provctx, int operation, int *no_cache)
{
    (void)provctx;
    *no_cache = 0;
    if (operation == OSSL_OP_SIGNATURE)
        return signatures;
    return operation == OSSL_OP_KEYMGMT ? key_managers : NULL;
}

/* A TLS group is there only where its provider is the one that EC keys are from. */
static int capabilities(void *provctx, const char *capability, OSSL_CALLBACK *cb, void *arg)
{
    (void)provctx;
    return OSSL_PROVIDER_get_capabilities(inner, capability, cb, arg);
}

static void teardown(void *provctx)
{
    (void)provctx;
    if (--users != 0)
        return;
    OSSL_PROVIDER_unload(inner);
    OSSL_LIB_CTX_free(lib);
}

__attribute__((visibility("default"))) OSSL_provider_init_fn OSSL_provider_init;

int OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                       void **provctx)
{
    static const OSSL_DISPATCH calls[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
        {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))capabilities},
        {OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))teardown},
        {0, NULL},
    };
    (void)handle, (void)in;

    if (users == 0 && !borrow())
        return 0;
    users++;
    *provctx = OSSL_PROVIDER_get0_provider_ctx(inner);
    *out = calls;
    return 1;
}
