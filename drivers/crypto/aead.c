/* A key's context is keyed once and used for every derivation: one ECB pass over two or four blocks.  The GCM
 * contexts belong to the worker and are keyed anew for every message; they are never given their cipher
 * again, because EVP would then reset and allocate. */
#include "drivers/crypto/aead.h"

#include "base/check.h"
#include "base/secret.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define BLOCK 16

struct aead_key {
    EVP_CIPHER_CTX *ecb; /* keyed with K */
    uint8_t k1[BLOCK];   /* SP 800-38B 6.1 */
};

struct aead_worker {
    OSSL_LIB_CTX *lib;
    EVP_CIPHER *ecb;
    EVP_CIPHER *gcm;
    EVP_CIPHER_CTX *seal;
    EVP_CIPHER_CTX *open;
    struct aead_key *fresh; /* keyed anew by every xaes_derive_fresh */
};

static const uint8_t zeros[XAES_KEY_LEN];

_Static_assert(sizeof(struct xaes_derived) == 4 * BLOCK,
               "derivation writes Kx and the commitment in one pass");

static EVP_CIPHER_CTX *gcm_context(const EVP_CIPHER *gcm, int encrypt)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    if (ctx != NULL && EVP_CipherInit_ex2(ctx, gcm, zeros, zeros, encrypt, NULL) == 1)
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

struct aead_worker *aead_worker_new(void)
{
    struct aead_worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->lib = OSSL_LIB_CTX_new();
    if (w->lib != NULL) {
        w->ecb = EVP_CIPHER_fetch(w->lib, "AES-256-ECB", NULL);
        w->gcm = EVP_CIPHER_fetch(w->lib, "AES-256-GCM", NULL);
    }
    if (w->gcm != NULL) {
        w->seal = gcm_context(w->gcm, 1);
        w->open = gcm_context(w->gcm, 0);
    }
    if (w->ecb != NULL)
        w->fresh = aead_key_new(w, zeros);
    if (w->fresh == NULL || w->seal == NULL || w->open == NULL) {
        aead_worker_free(w);
        return NULL;
    }
    return w;
}

void aead_worker_free(struct aead_worker *w)
{
    if (w == NULL)
        return;
    aead_key_free(w->fresh);
    EVP_CIPHER_CTX_free(w->seal);
    EVP_CIPHER_CTX_free(w->open);
    EVP_CIPHER_free(w->ecb);
    EVP_CIPHER_free(w->gcm);
    OSSL_LIB_CTX_free(w->lib);
    free(w);
}

void aead_worker_forget(struct aead_worker *w)
{
    CHECK(EVP_CipherInit_ex2(w->seal, NULL, zeros, zeros, 1, NULL) == 1);
    CHECK(EVP_CipherInit_ex2(w->open, NULL, zeros, zeros, 0, NULL) == 1);
    CHECK(EVP_EncryptInit_ex2(w->fresh->ecb, NULL, zeros, NULL, NULL) == 1);
    secret_wipe(w->fresh->k1, BLOCK);
}

static bool ecb_encrypt(EVP_CIPHER_CTX *ctx, const uint8_t *in, size_t len, uint8_t *out)
{
    int n = 0;

    return EVP_EncryptUpdate(ctx, out, &n, in, (int)len) == 1 && (size_t)n == len;
}

/* SP 800-38B 6.1: L = AES(K, 0), K1 = L << 1, and 0x87 into the last byte when a one fell out. */
static bool derive_k1(struct aead_key *k)
{
    uint8_t l[BLOCK];

    if (!ecb_encrypt(k->ecb, zeros, BLOCK, l))
        return false;
    uint8_t carry = l[0] >> 7;
    for (size_t i = 0; i < BLOCK; i++)
        k->k1[i] = (uint8_t)(l[i] << 1 | (i + 1 < BLOCK ? l[i + 1] >> 7 : 0));
    k->k1[BLOCK - 1] = (uint8_t)(k->k1[BLOCK - 1] ^ (0x87 & -carry));
    secret_wipe(l, sizeof l);
    return true;
}

struct aead_key *aead_key_new(struct aead_worker *w, const uint8_t key[XAES_KEY_LEN])
{
    struct aead_key *k = OPENSSL_zalloc(sizeof *k);

    if (k == NULL)
        return NULL;
    k->ecb = EVP_CIPHER_CTX_new();
    if (k->ecb == NULL || EVP_EncryptInit_ex2(k->ecb, w->ecb, key, NULL, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(k->ecb, 0) != 1 || !derive_k1(k)) {
        ERR_clear_error();
        aead_key_free(k);
        return NULL;
    }
    return k;
}

void aead_key_free(struct aead_key *k)
{
    if (k == NULL)
        return;
    EVP_CIPHER_CTX_free(k->ecb); /* the provider cleanses the schedule */
    OPENSSL_clear_free(k, sizeof *k);
}

/* SP 800-108r1 4.1 with CMAC over the one block counter || label 'X' || 00 || N[0..11], its K1 already in. */
static void counter_block(const struct aead_key *k, const uint8_t *nonce, uint8_t counter, uint8_t m[BLOCK])
{
    const uint8_t head[4] = {0, counter, 'X', 0};

    memcpy(m, head, sizeof head);
    memcpy(m + sizeof head, nonce, 12);
    for (size_t i = 0; i < BLOCK; i++)
        m[i] ^= k->k1[i];
}

bool xaes_derive(struct aead_key *k, const uint8_t nonce[XAES_NONCE_LEN], bool with_commitment,
                 struct xaes_derived *out)
{
    uint8_t blocks[4 * BLOCK];
    size_t count = with_commitment ? 4 : 2;

    for (size_t i = 0; i < count; i++)
        counter_block(k, nonce, (uint8_t)(i + 1), blocks + i * BLOCK);
    memset(out, 0, sizeof *out);
    bool ok = ecb_encrypt(k->ecb, blocks, count * BLOCK, out->kx);
    secret_wipe(blocks, sizeof blocks);
    if (!ok) {
        ERR_clear_error();
        secret_wipe(out, sizeof *out);
    }
    return ok;
}

bool xaes_derive_fresh(struct aead_worker *w, const uint8_t key[XAES_KEY_LEN],
                       const uint8_t nonce[XAES_NONCE_LEN], struct xaes_derived *out)
{
    if (EVP_EncryptInit_ex2(w->fresh->ecb, NULL, key, NULL, NULL) == 1 && derive_k1(w->fresh))
        return xaes_derive(w->fresh, nonce, true, out);
    ERR_clear_error();
    secret_wipe(out, sizeof *out);
    return false;
}

static bool update_all(EVP_CIPHER_CTX *ctx, const struct span *aad, size_t aad_parts, struct span in,
                       uint8_t *out)
{
    int n = 0;

    for (size_t i = 0; i < aad_parts; i++) {
        CHECK(aad[i].len <= INT_MAX);
        if (aad[i].len != 0 && EVP_CipherUpdate(ctx, NULL, &n, aad[i].ptr, (int)aad[i].len) != 1)
            return false;
    }
    CHECK(in.len <= INT_MAX);
    return in.len == 0 || (EVP_CipherUpdate(ctx, out, &n, in.ptr, (int)in.len) == 1 && (size_t)n == in.len);
}

bool xaes_seal(struct aead_worker *w, const struct xaes_derived *d, const uint8_t nonce[XAES_NONCE_LEN],
               const struct span *aad, size_t aad_parts, struct span in, uint8_t *out,
               uint8_t tag[XAES_TAG_LEN])
{
    uint8_t nothing[BLOCK];
    int n = 0;

    bool ok = EVP_CipherInit_ex2(w->seal, NULL, d->kx, nonce + 12, 1, NULL) == 1 &&
              update_all(w->seal, aad, aad_parts, in, out) && EVP_CipherFinal_ex(w->seal, nothing, &n) == 1 &&
              EVP_CIPHER_CTX_ctrl(w->seal, EVP_CTRL_AEAD_GET_TAG, XAES_TAG_LEN, tag) == 1;
    if (!ok) {
        ERR_clear_error();
        secret_wipe(out, in.len);
        secret_wipe(tag, XAES_TAG_LEN);
    }
    return ok;
}

bool xaes_open(struct aead_worker *w, const struct xaes_derived *d, const uint8_t nonce[XAES_NONCE_LEN],
               const struct span *aad, size_t aad_parts, struct span in, const uint8_t tag[XAES_TAG_LEN],
               uint8_t *out)
{
    uint8_t nothing[BLOCK];
    uint8_t want[XAES_TAG_LEN]; /* EVP wants it writable */
    int n = 0;

    memcpy(want, tag, sizeof want);
    bool ok = EVP_CipherInit_ex2(w->open, NULL, d->kx, nonce + 12, 0, NULL) == 1 &&
              EVP_CIPHER_CTX_ctrl(w->open, EVP_CTRL_AEAD_SET_TAG, XAES_TAG_LEN, want) == 1 &&
              update_all(w->open, aad, aad_parts, in, out) && EVP_CipherFinal_ex(w->open, nothing, &n) == 1;
    if (!ok) {
        ERR_clear_error();
        secret_wipe(out, in.len);
    }
    return ok;
}
