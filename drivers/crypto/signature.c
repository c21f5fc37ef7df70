#include "drivers/crypto/signature.h"

#include "base/check.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <pthread.h>
#include <stdlib.h>

#define RSA_BITS_MIN     2048
#define RSA_BITS_MAX     4096
#define RSA_EXPONENT_MIN 65537
#define P256_FIELD_LEN   32
/* SEQUENCE of two INTEGERs of at most 33 bytes each */
#define P256_DER_CAP (2 + 2 * (2 + P256_FIELD_LEN + 1))

struct signature_key {
    uint8_t alg; /* enum jwk_alg */
    size_t signature_len;
    EVP_PKEY *pkey;
};

/* One library context for all signature keys, made at the first: without it OpenSSL would read the machine's
 * configuration file. */
static OSSL_LIB_CTX *library;
static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void library_make(void)
{
    library = OSSL_LIB_CTX_new();
}

static EVP_PKEY *pkey_from(const char *type, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(library, type, NULL);

    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

/* FIPS 186-5 5.4 for e; SP 800-131A for the modulus' size. */
static bool rsa_numbers_are_sound(const BIGNUM *n, const BIGNUM *e)
{
    int bits = BN_num_bits(n);

    return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX && BN_is_odd(n) && BN_is_odd(e) &&
           BN_num_bits(e) <= 64 && BN_get_word(e) >= RSA_EXPONENT_MIN;
}

static EVP_PKEY *rsa_pkey(const struct ctl_jwk *jwk, size_t *signature_len)
{
    BIGNUM *n = BN_bin2bn(jwk->n_or_x.ptr, (int)jwk->n_or_x.len, NULL);
    BIGNUM *e = BN_bin2bn(jwk->e_or_y.ptr, (int)jwk->e_or_y.len, NULL);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;

    if (n != NULL && e != NULL && bld != NULL && rsa_numbers_are_sound(n, e) &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1) {
        *signature_len = (size_t)BN_num_bytes(n);
        pkey = pkey_from("RSA", bld);
    }
    OSSL_PARAM_BLD_free(bld);
    BN_free(n);
    BN_free(e);
    return pkey;
}

/* EVP refuses coordinates outside the field and points off the curve when it reads the point. */
static EVP_PKEY *p256_pkey(const struct ctl_jwk *jwk)
{
    uint8_t point[1 + 2 * P256_FIELD_LEN] = {4}; /* SEC 1 2.3.3: uncompressed */
    EVP_PKEY *pkey = NULL;

    if (jwk->n_or_x.len != P256_FIELD_LEN || jwk->e_or_y.len != P256_FIELD_LEN)
        return NULL;
    memcpy(point + 1, jwk->n_or_x.ptr, P256_FIELD_LEN);
    memcpy(point + 1 + P256_FIELD_LEN, jwk->e_or_y.ptr, P256_FIELD_LEN);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (bld != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1)
        pkey = pkey_from("EC", bld);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

struct signature_key *signature_key_new(const struct ctl_jwk *jwk)
{
    struct signature_key *k = calloc(1, sizeof *k);

    CHECK(pthread_once(&library_once, library_make) == 0);
    if (k == NULL || library == NULL) {
        free(k);
        return NULL;
    }
    k->alg = jwk->alg;
    if (jwk->alg == JWK_RS256) {
        k->pkey = rsa_pkey(jwk, &k->signature_len);
    } else if (jwk->alg == JWK_ES256) {
        k->pkey = p256_pkey(jwk);
        k->signature_len = 2 * P256_FIELD_LEN;
    }
    ERR_clear_error();
    if (k->pkey == NULL) {
        free(k);
        return NULL;
    }
    return k;
}

void signature_key_free(struct signature_key *k)
{
    if (k == NULL)
        return;
    EVP_PKEY_free(k->pkey);
    free(k);
}

static bool digest_verify(EVP_PKEY *pkey, struct span message, const uint8_t *sig, size_t sig_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", library, NULL, pkey, NULL) == 1 &&
              EVP_DigestVerify(ctx, sig, sig_len, message.ptr, message.len) == 1;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error(); /* the queue is the thread's: TLS must not find our refusals in it */
    return ok;
}

/* X.690 8.3: two's complement, as short as it goes. */
static size_t der_integer(const uint8_t *field, uint8_t *out)
{
    size_t skip = 0, pad;

    while (skip < P256_FIELD_LEN - 1 && field[skip] == 0)
        skip++;
    pad = field[skip] >> 7;
    out[0] = 2;
    out[1] = (uint8_t)(P256_FIELD_LEN - skip + pad);
    out[2] = 0;
    memcpy(out + 2 + pad, field + skip, P256_FIELD_LEN - skip);
    return 2 + pad + P256_FIELD_LEN - skip;
}

/* RFC 7518 3.4: r || s; EVP wants Ecdsa-Sig-Value.  r and s out of 1..n-1 are refused by EVP. */
static size_t der_signature(const uint8_t *raw, uint8_t out[P256_DER_CAP])
{
    size_t len = 2;

    len += der_integer(raw, out + len);
    len += der_integer(raw + P256_FIELD_LEN, out + len);
    out[0] = 0x30;
    out[1] = (uint8_t)(len - 2);
    return len;
}

bool signature_verify(const struct signature_key *k, struct span message, struct span signature)
{
    uint8_t der[P256_DER_CAP];

    if (signature.len != k->signature_len)
        return false;
    if (k->alg == JWK_RS256)
        return digest_verify(k->pkey, message, signature.ptr, signature.len);
    size_t der_len = der_signature(signature.ptr, der);
    return digest_verify(k->pkey, message, der, der_len);
}
