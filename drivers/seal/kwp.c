#include "drivers/seal/kwp.h"

#include "base/check.h"
#include "base/secret.h"

#include <mbedtls/aes.h>

#define BLOCK 16
#define HALF  8

/* RFC 5649 3: the alternative initial value is these four bytes and the length of the plaintext. */
static const uint8_t initial[4] = {0xa6, 0x59, 0x59, 0xa6};

static bool key_len_allowed(size_t len)
{
    return len == 16 || len == 24 || len == 32;
}

static void crypt(mbedtls_aes_context *aes, int mode, uint8_t block[BLOCK])
{
    CHECK(mbedtls_aes_crypt_ecb(aes, mode, block, block) == 0);
}

static void xor_step(uint8_t block[BLOCK], uint64_t step)
{
    for (size_t i = 0; i < HALF; i++)
        block[i] ^= (uint8_t)(step >> 8 * (HALF - 1 - i));
}

/* RFC 3394 2.2.1: A is the first half of block, R[i] is at out + 8 i, n of them. */
static void wrap(mbedtls_aes_context *aes, uint8_t *out, size_t n)
{
    uint8_t block[BLOCK];

    memcpy(block, out, HALF);
    for (uint64_t j = 0; j < 6; j++) {
        for (size_t i = 1; i <= n; i++) {
            memcpy(block + HALF, out + HALF * i, HALF);
            crypt(aes, MBEDTLS_AES_ENCRYPT, block);
            xor_step(block, n * j + i);
            memcpy(out + HALF * i, block + HALF, HALF);
        }
    }
    memcpy(out, block, HALF);
    secret_wipe(block, sizeof block);
}

/* RFC 3394 2.2.2: a is A; R[i] is at r + 8 (i - 1). */
static void unwrap(mbedtls_aes_context *aes, uint8_t a[HALF], uint8_t *r, size_t n)
{
    uint8_t block[BLOCK];

    memcpy(block, a, HALF);
    for (uint64_t j = 6; j-- > 0;) {
        for (size_t i = n; i >= 1; i--) {
            xor_step(block, n * j + i);
            memcpy(block + HALF, r + HALF * (i - 1), HALF);
            crypt(aes, MBEDTLS_AES_DECRYPT, block);
            memcpy(r + HALF * (i - 1), block + HALF, HALF);
        }
    }
    memcpy(a, block, HALF);
    secret_wipe(block, sizeof block);
}

static void write_length(uint8_t out[4], size_t len)
{
    for (size_t i = 0; i < 4; i++)
        out[i] = (uint8_t)(len >> 8 * (3 - i));
}

enum kwp_status kwp_seal(struct span key, struct span plain, uint8_t *out)
{
    mbedtls_aes_context aes;
    size_t padded = KWP_SEALED_LEN(plain.len) - HALF;

    if (!key_len_allowed(key.len))
        return KWP_BAD_KEY_LEN;
    if (plain.len < 1 || plain.len > KWP_PLAIN_MAX)
        return KWP_BAD_LEN;
    memmove(out + HALF, plain.ptr, plain.len);
    memset(out + HALF + plain.len, 0, padded - plain.len);
    memcpy(out, initial, sizeof initial);
    write_length(out + 4, plain.len);
    mbedtls_aes_init(&aes);
    CHECK(mbedtls_aes_setkey_enc(&aes, key.ptr, (unsigned)key.len * 8) == 0);
    if (padded == HALF)
        crypt(&aes, MBEDTLS_AES_ENCRYPT, out); /* RFC 5649 4.1: one block is encrypted as it is */
    else
        wrap(&aes, out, padded / HALF);
    mbedtls_aes_free(&aes);
    return KWP_OK;
}

/* RFC 5649 3, all three conditions, without telling by time which one failed.  *len: what a says. */
static bool sound(const uint8_t a[HALF], const uint8_t *plain, size_t padded, size_t *len)
{
    uint32_t said = (uint32_t)a[4] << 24 | (uint32_t)a[5] << 16 | (uint32_t)a[6] << 8 | a[7];
    unsigned padding = 0;

    for (size_t i = padded - 7; i < padded; i++)
        padding |= plain[i] & (0u - (unsigned)(i >= said));
    *len = said;
    return secret_equal(a, initial, sizeof initial) & (said <= padded) & (said + 7 >= padded) &
           (padding == 0);
}

enum kwp_status kwp_open(struct span key, struct span sealed, uint8_t *out, size_t *len)
{
    mbedtls_aes_context aes;
    uint8_t block[BLOCK];

    *len = 0;
    if (!key_len_allowed(key.len))
        return KWP_BAD_KEY_LEN;
    if (sealed.len < BLOCK || sealed.len > KWP_SEALED_MAX || sealed.len % HALF != 0)
        return KWP_BAD_LEN;
    size_t padded = sealed.len - HALF;
    memcpy(block, sealed.ptr, BLOCK);
    memmove(out, sealed.ptr + HALF, padded);
    mbedtls_aes_init(&aes);
    CHECK(mbedtls_aes_setkey_dec(&aes, key.ptr, (unsigned)key.len * 8) == 0);
    if (padded == HALF) {
        crypt(&aes, MBEDTLS_AES_DECRYPT, block);
        memcpy(out, block + HALF, HALF);
    } else {
        unwrap(&aes, block, out, padded / HALF);
    }
    mbedtls_aes_free(&aes);
    bool ok = sound(block, out, padded, len);
    secret_wipe(block, sizeof block);
    if (ok)
        return KWP_OK;
    secret_wipe(out, padded);
    *len = 0;
    return KWP_REFUSED;
}
