/* pausing-engine.so: an OpenSSL engine that signs with EC keys as OpenSSL does, but waits at the gate before each signature. */
#define OPENSSL_SUPPRESS_DEPRECATED
#define PAUSING_INSIDE
#include "tests/lib/pausing.h"

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/engine.h>

static EC_KEY_METHOD *method;
static int (*sign_plain)(int type, const unsigned char *digest, int len, unsigned char *sig,
                         unsigned int *sig_len, const BIGNUM *kinv, const BIGNUM *r, EC_KEY *key);

static int paused_sign(int type, const unsigned char *digest, int len, unsigned char *sig,
                       unsigned int *sig_len, const BIGNUM *kinv, const BIGNUM *r, EC_KEY *key)
{
    pausing_wait();
    return sign_plain(type, digest, len, sig, sig_len, kinv, r, key);
}

static int destroy(ENGINE *e)
{
    (void)e;
    EC_KEY_METHOD_free(method);
    method = NULL;
    return 1;
}

static int bind(ENGINE *e, const char *id)
{
    int (*setup)(EC_KEY *, BN_CTX *, BIGNUM **, BIGNUM **);
    ECDSA_SIG *(*sign_sig)(const unsigned char *, int, const BIGNUM *, const BIGNUM *, EC_KEY *);
    (void)id;

    method = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
    if (method == NULL)
        return 0;
    EC_KEY_METHOD_get_sign(method, &sign_plain, &setup, &sign_sig);
    EC_KEY_METHOD_set_sign(method, paused_sign, setup, sign_sig);
    return ENGINE_set_id(e, "pausing-engine") && ENGINE_set_name(e, "an engine that waits at a gate") &&
           ENGINE_set_EC(e, method) && ENGINE_set_destroy_function(e, destroy);
}

IMPLEMENT_DYNAMIC_BIND_FN(bind)
IMPLEMENT_DYNAMIC_CHECK_FN()
