#include "drivers/crypto/mbedtls/mbed.h"

#include "base/check.h"
#include "base/secret.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/gcm.h>
#include <mbedtls/hkdf.h>
#include <mbedtls/md.h>
#include <mbedtls/sha256.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

struct mbed_rng {
    mbedtls_ctr_drbg_context drbg;
};

struct mbed_aead {
    mbedtls_gcm_context gcm;
};

static int entropy_from_kernel(void *unused, unsigned char *out, size_t len)
{
    (void)unused;
    while (len > 0) {
        ssize_t n = getrandom(out, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return MBEDTLS_ERR_CTR_DRBG_ENTROPY_SOURCE_FAILED;
        out += n;
        len -= (size_t)n;
    }
    return 0;
}

struct mbed_rng *mbed_rng_new(void)
{
    struct mbed_rng *r = malloc(sizeof *r);

    if (r == NULL)
        return NULL;
    mbedtls_ctr_drbg_init(&r->drbg);
    if (mbedtls_ctr_drbg_seed(&r->drbg, entropy_from_kernel, NULL, NULL, 0) != 0) {
        mbed_rng_free(r);
        return NULL;
    }
    return r;
}

void mbed_rng_free(struct mbed_rng *r)
{
    if (r == NULL)
        return;
    mbedtls_ctr_drbg_free(&r->drbg);
    free(r);
}

int mbed_rng_callback(void *ctx, unsigned char *out, size_t len)
{
    struct mbed_rng *r = ctx;

    while (len > 0) {
        size_t part = len < MBEDTLS_CTR_DRBG_MAX_REQUEST ? len : MBEDTLS_CTR_DRBG_MAX_REQUEST;
        int rc = mbedtls_ctr_drbg_random(&r->drbg, out, part);

        if (rc != 0)
            return rc;
        out += part;
        len -= part;
    }
    return 0;
}

void mbed_random(struct mbed_rng *r, void *out, size_t len)
{
    CHECK(mbed_rng_callback(r, out, len) == 0);
}

struct mbed_aead *mbed_aead_new(const uint8_t key[MBED_KEY_LEN])
{
    struct mbed_aead *a = malloc(sizeof *a);

    if (a == NULL)
        return NULL;
    mbedtls_gcm_init(&a->gcm);
    if (mbedtls_gcm_setkey(&a->gcm, MBEDTLS_CIPHER_ID_AES, key, MBED_KEY_LEN * 8) != 0) {
        mbed_aead_free(a);
        return NULL;
    }
    return a;
}

void mbed_aead_free(struct mbed_aead *a)
{
    if (a == NULL)
        return;
    mbedtls_gcm_free(&a->gcm);
    secret_wipe(a, sizeof *a);
    free(a);
}

void mbed_seal(struct mbed_aead *a, const uint8_t nonce[MBED_NONCE_LEN], struct span aad, struct span in,
               uint8_t *out)
{
    size_t len = in.len;

    CHECK(mbedtls_gcm_crypt_and_tag(&a->gcm, MBEDTLS_GCM_ENCRYPT, len, nonce, MBED_NONCE_LEN, aad.ptr,
                                    aad.len, in.ptr, out, MBED_TAG_LEN, out + len) == 0);
}

bool mbed_open(struct mbed_aead *a, const uint8_t nonce[MBED_NONCE_LEN], struct span aad, struct span in,
               uint8_t *out)
{
    if (in.len < MBED_TAG_LEN)
        return false;
    size_t len = in.len - MBED_TAG_LEN;

    /* mbedTLS zeroes the output when the tag does not match. */
    return mbedtls_gcm_auth_decrypt(&a->gcm, len, nonce, MBED_NONCE_LEN, aad.ptr, aad.len, in.ptr + len,
                                    MBED_TAG_LEN, in.ptr, out) == 0;
}

void mbed_sha256(struct span in, uint8_t out[MBED_DIGEST_LEN])
{
    CHECK(mbedtls_sha256_ret(in.ptr, in.len, out, 0) == 0);
}

void mbed_hkdf(const uint8_t key[MBED_KEY_LEN], struct span info, uint8_t *out, size_t out_len)
{
    const mbedtls_md_info_t *sha256 = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);

    CHECK(mbedtls_hkdf(sha256, NULL, 0, key, MBED_KEY_LEN, info.ptr, info.len, out, out_len) == 0);
}
