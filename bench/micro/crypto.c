/* crypto: XAES-256-GCM by its parts, random bytes, a token's signature. */
#include "base/check.h"
#include "bench/micro/micro.h"
#include "drivers/crypto/aead.h"
#include "drivers/crypto/rng.h"
#include "drivers/crypto/signature.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

static struct aead_worker *aead;
static struct aead_key *key;
static struct xaes_derived derived;
static struct rng *rng;
static uint8_t nonce[XAES_NONCE_LEN], plain[1024], sealed[1024], tag[XAES_TAG_LEN],
    raw_key[XAES_KEY_LEN] = {7};
static struct span aad;

struct signed_text {
    struct signature_key *key;
    uint8_t signature[512];
    size_t len;
};
static uint8_t message[700];

static void derive_once(void *arg)
{
    (void)arg;
    CHECK(xaes_derive(key, nonce, true, &derived));
}

static void derive_fresh_once(void *arg)
{
    struct xaes_derived d;
    (void)arg;

    CHECK(xaes_derive_fresh(aead, raw_key, nonce, &d));
}

static void seal_once(void *arg)
{
    CHECK(xaes_seal(aead, &derived, nonce, &aad, 1, span_of(plain, *(size_t *)arg), sealed, tag));
}

static void open_once(void *arg)
{
    CHECK(xaes_open(aead, &derived, nonce, &aad, 1, span_of(sealed, *(size_t *)arg), tag, plain));
}

static void rng_once(void *arg)
{
    rng_bytes(rng, nonce, sizeof nonce);
    (void)arg;
}

static void verify_once(void *arg)
{
    struct signed_text *s = arg;

    CHECK(signature_verify(s->key, span_of(message, sizeof message), span_of(s->signature, s->len)));
}

static void sign(struct signed_text *out, EVP_PKEY *with)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    out->len = sizeof out->signature;
    CHECK(ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, with) == 1 &&
          EVP_DigestSign(ctx, out->signature, &out->len, message, sizeof message) == 1);
    EVP_MD_CTX_free(ctx);
}

static void make_es256(struct signed_text *out)
{
    EVP_PKEY *with = EVP_EC_gen("P-256");
    uint8_t point[65];
    size_t len = 0;

    CHECK(with != NULL &&
          EVP_PKEY_get_octet_string_param(with, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &len) == 1);
    out->key = signature_key_new(
        &(struct ctl_jwk){JWK_ES256, span_str("k"), span_of(point + 1, 32), span_of(point + 33, 32)});
    sign(out, with);
    const uint8_t *der = out->signature;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)out->len);
    CHECK(out->key != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out->signature, 32) == 32 &&
          BN_bn2binpad(ECDSA_SIG_get0_s(sig), out->signature + 32, 32) == 32);
    out->len = 64;
    ECDSA_SIG_free(sig);
    EVP_PKEY_free(with);
}

static void make_rs256(struct signed_text *out)
{
    EVP_PKEY *with = EVP_RSA_gen(2048);
    BIGNUM *n = NULL, *e = NULL;
    uint8_t n_bytes[256], e_bytes[4];

    CHECK(with != NULL && EVP_PKEY_get_bn_param(with, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
          EVP_PKEY_get_bn_param(with, OSSL_PKEY_PARAM_RSA_E, &e) == 1);
    int n_len = BN_bn2bin(n, n_bytes), e_len = BN_bn2bin(e, e_bytes);
    out->key = signature_key_new(&(struct ctl_jwk){JWK_RS256, span_str("k"), span_of(n_bytes, (size_t)n_len),
                                                   span_of(e_bytes, (size_t)e_len)});
    CHECK(out->key != NULL);
    sign(out, with);
    BN_free(n);
    BN_free(e);
    EVP_PKEY_free(with);
}

int main(int argc, char **argv)
{
    static struct signed_text es256, rs256;
    static size_t short_len = 32, long_len = 1024;
    struct micro list[] = {
        {"xaes: derive under a key in use", derive_once, NULL, NULL},
        {"xaes: derive from the key's bytes", derive_fresh_once, NULL, NULL},
        {"xaes: seal 32 bytes", seal_once, NULL, &short_len},
        {"xaes: open 32 bytes", open_once, NULL, &short_len},
        {"xaes: seal 1024 bytes", seal_once, NULL, &long_len},
        {"xaes: open 1024 bytes", open_once, NULL, &long_len},
        {"rng: a nonce of 24 bytes", rng_once, NULL, NULL},
        {"signature: verify RS256, 2048 bits", verify_once, NULL, &rs256},
        {"signature: verify ES256", verify_once, NULL, &es256},
    };

    aead = aead_worker_new();
    key = aead == NULL ? NULL : aead_key_new(aead, raw_key);
    rng = rng_new(NULL);
    CHECK(key != NULL && rng != NULL);
    aad = span_str("additional data");
    make_es256(&es256);
    make_rs256(&rs256);
    return micro_main(argc, argv, list, sizeof list / sizeof list[0]);
}
