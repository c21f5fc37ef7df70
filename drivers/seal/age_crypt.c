#include "drivers/seal/age_crypt.h"

#include "base/check.h"
#include "base/secret.h"
#include "drivers/seal/x25519.h"

#include <mbedtls/chachapoly.h>
#include <mbedtls/hkdf.h>
#include <mbedtls/md.h>

static void hkdf(struct span key, struct span salt, const char *info, uint8_t out[32])
{
    const mbedtls_md_info_t *sha256 = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);

    CHECK(mbedtls_hkdf(sha256, salt.ptr, salt.len, key.ptr, key.len, (const uint8_t *)info, strlen(info), out,
                       32) == 0);
}

static void chacha_seal(const uint8_t key[32], const uint8_t nonce[12], struct span plain, uint8_t *out)
{
    mbedtls_chachapoly_context c;

    mbedtls_chachapoly_init(&c);
    CHECK(mbedtls_chachapoly_setkey(&c, key) == 0);
    CHECK(mbedtls_chachapoly_encrypt_and_tag(&c, plain.len, nonce, NULL, 0, plain.ptr, out,
                                             out + plain.len) == 0);
    mbedtls_chachapoly_free(&c);
}

static bool chacha_open(const uint8_t key[32], const uint8_t nonce[12], struct span sealed, uint8_t *out)
{
    mbedtls_chachapoly_context c;
    size_t len = sealed.len - AGE_TAG_LEN;

    if (sealed.len < AGE_TAG_LEN)
        return false;
    mbedtls_chachapoly_init(&c);
    CHECK(mbedtls_chachapoly_setkey(&c, key) == 0);
    int rc = mbedtls_chachapoly_auth_decrypt(&c, len, nonce, NULL, 0, sealed.ptr + len, sealed.ptr, out);
    mbedtls_chachapoly_free(&c);
    CHECK(rc == 0 || rc == MBEDTLS_ERR_CHACHAPOLY_AUTH_FAILED);
    return rc == 0;
}

/* What the two sides of a stanza agree on: salt = ephemeral share, then recipient. */
static void wrap_key(const uint8_t shared[X25519_LEN], const uint8_t share[AGE_KEY_LEN],
                     const uint8_t recipient[AGE_KEY_LEN], uint8_t out[32])
{
    uint8_t salt[2 * AGE_KEY_LEN];

    memcpy(salt, share, AGE_KEY_LEN);
    memcpy(salt + AGE_KEY_LEN, recipient, AGE_KEY_LEN);
    hkdf(span_of(shared, X25519_LEN), span_of(salt, sizeof salt), "age-encryption.org/v1/X25519", out);
}

/* A wrap key serves one message, so that its nonce is zero. */
static const uint8_t nonce_zero[12];

bool age_stanza_seal(struct mbed_rng *rng, const struct age_recipient *r,
                     const uint8_t file_key[AGE_FILE_KEY_LEN], struct age_stanza *out)
{
    uint8_t ephemeral[X25519_LEN], shared[X25519_LEN], key[32];

    mbed_random(rng, ephemeral, sizeof ephemeral);
    x25519_public(rng, ephemeral, out->share);
    bool usable = x25519(rng, ephemeral, r->u, shared);
    if (usable) {
        wrap_key(shared, out->share, r->u, key);
        chacha_seal(key, nonce_zero, span_of(file_key, AGE_FILE_KEY_LEN), out->body);
    }
    secret_wipe(ephemeral, sizeof ephemeral);
    secret_wipe(shared, sizeof shared);
    secret_wipe(key, sizeof key);
    return usable;
}

bool age_stanza_open(struct mbed_rng *rng, const uint8_t identity[AGE_KEY_LEN], const struct age_stanza *s,
                     uint8_t file_key[AGE_FILE_KEY_LEN])
{
    uint8_t shared[X25519_LEN], recipient[AGE_KEY_LEN], key[32];
    bool opened = false;

    if (x25519(rng, identity, s->share, shared)) {
        x25519_public(rng, identity, recipient);
        wrap_key(shared, s->share, recipient, key);
        opened = chacha_open(key, nonce_zero, span_of(s->body, sizeof s->body), file_key);
        secret_wipe(key, sizeof key);
    }
    secret_wipe(shared, sizeof shared);
    return opened;
}

void age_header_mac(const uint8_t file_key[AGE_FILE_KEY_LEN], struct span covered, uint8_t out[32])
{
    uint8_t key[32];

    hkdf(span_of(file_key, AGE_FILE_KEY_LEN), span_of(NULL, 0), "header", key);
    CHECK(mbedtls_md_hmac(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), key, sizeof key, covered.ptr,
                          covered.len, out) == 0);
    secret_wipe(key, sizeof key);
}

void age_payload_key(const uint8_t file_key[AGE_FILE_KEY_LEN], const uint8_t nonce[AGE_NONCE_LEN],
                     uint8_t out[32])
{
    hkdf(span_of(file_key, AGE_FILE_KEY_LEN), span_of(nonce, AGE_NONCE_LEN), "payload", out);
}

static void chunk_nonce(uint64_t number, bool last, uint8_t out[12])
{
    memset(out, 0, 12);
    for (size_t i = 0; i < 8; i++)
        out[10 - i] = (uint8_t)(number >> 8 * i);
    out[11] = last;
}

void age_chunk_seal(const uint8_t key[32], uint64_t number, bool last, struct span plain, uint8_t *out)
{
    uint8_t nonce[12];

    chunk_nonce(number, last, nonce);
    chacha_seal(key, nonce, plain, out);
}

bool age_chunk_open(const uint8_t key[32], uint64_t number, bool last, struct span sealed, uint8_t *out)
{
    uint8_t nonce[12];

    chunk_nonce(number, last, nonce);
    return chacha_open(key, nonce, sealed, out);
}
