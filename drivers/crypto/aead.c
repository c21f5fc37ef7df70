/* A key's context is keyed once and used for every derivation: one ECB pass over two or four blocks of OpenSSL's.  GCM is keyed anew
 * for every message, and there EVP's parameters and contexts cost many times what the cipher does: it is libipsec-mb's
 * (docs/decisions/0006). */
#include "drivers/crypto/aead.h"

#include "base/check.h"
#include "base/secret.h"

#include <intel-ipsec-mb.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define BLOCK   16
#define AAD_CAP (EKM_AAD_MAX + 1024) /* a caller's longest, and what is put before it */

struct aead_key {
    EVP_CIPHER_CTX *ecb; /* keyed with K */
    uint8_t k1[BLOCK];   /* SP 800-38B 6.1 */
};

/* Of one message; on secret pages. */
struct gcm {
    struct gcm_key_data key;
    struct gcm_context_data context;
    uint8_t aad[AAD_CAP];
};

struct aead_worker {
    OSSL_LIB_CTX *lib;
    EVP_CIPHER *ecb;
    IMB_MGR *mb;
    struct gcm *gcm;
    struct aead_key *fresh; /* keyed anew by every xaes_derive_fresh */
};

static const uint8_t zeros[XAES_KEY_LEN];

_Static_assert(sizeof(struct xaes_derived) == 4 * BLOCK,
               "derivation writes Kx and the commitment in one pass");

struct aead_worker *aead_worker_new(void)
{
    struct aead_worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->gcm = secret_pages_alloc(sizeof *w->gcm);
    w->mb = alloc_mb_mgr(0);
    if (w->mb != NULL)
        init_mb_mgr_auto(w->mb, NULL); /* the widest code that this processor runs */
    w->lib = OSSL_LIB_CTX_new();
    if (w->lib != NULL)
        w->ecb = EVP_CIPHER_fetch(w->lib, "AES-256-ECB", NULL);
    if (w->ecb != NULL)
        w->fresh = aead_key_new(w, zeros);
    if (w->fresh == NULL || w->gcm == NULL || w->mb == NULL || imb_get_errno(w->mb) != 0) {
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
    EVP_CIPHER_free(w->ecb);
    OSSL_LIB_CTX_free(w->lib);
    if (w->mb != NULL)
        free_mb_mgr(w->mb);
    if (w->gcm != NULL)
        secret_pages_free(w->gcm, sizeof *w->gcm);
    free(w);
}

void aead_worker_forget(struct aead_worker *w)
{
    secret_wipe(w->gcm, offsetof(struct gcm, aad));
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

/* The library takes additional data in one piece. */
static bool aad_join(struct gcm *g, const struct span *parts, size_t count, size_t *len)
{
    *len = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > sizeof g->aad - *len)
            return false;
        if (parts[i].len != 0)
            memcpy(g->aad + *len, parts[i].ptr, parts[i].len);
        *len += parts[i].len;
    }
    return true;
}

bool xaes_seal(struct aead_worker *w, const struct xaes_derived *d, const uint8_t nonce[XAES_NONCE_LEN],
               const struct span *aad, size_t aad_parts, struct span in, uint8_t *out,
               uint8_t tag[XAES_TAG_LEN])
{
    struct gcm *g = w->gcm;
    size_t aad_len;
    bool ok = aad_join(g, aad, aad_parts, &aad_len);

    if (ok) {
        IMB_AES256_GCM_PRE(w->mb, d->kx, &g->key);
        IMB_AES256_GCM_ENC(w->mb, &g->key, &g->context, out, in.ptr, in.len, nonce + 12, g->aad, aad_len, tag,
                           XAES_TAG_LEN);
        ok = imb_get_errno(w->mb) == 0;
    }
    if (!ok) {
        secret_wipe(out, in.len);
        secret_wipe(tag, XAES_TAG_LEN);
    }
    return ok;
}

bool xaes_open(struct aead_worker *w, const struct xaes_derived *d, const uint8_t nonce[XAES_NONCE_LEN],
               const struct span *aad, size_t aad_parts, struct span in, const uint8_t tag[XAES_TAG_LEN],
               uint8_t *out)
{
    struct gcm *g = w->gcm;
    uint8_t found[XAES_TAG_LEN];
    size_t aad_len;
    bool ok = aad_join(g, aad, aad_parts, &aad_len);

    if (ok) {
        IMB_AES256_GCM_PRE(w->mb, d->kx, &g->key);
        IMB_AES256_GCM_DEC(w->mb, &g->key, &g->context, out, in.ptr, in.len, nonce + 12, g->aad, aad_len,
                           found, XAES_TAG_LEN);
        ok = imb_get_errno(w->mb) == 0 && secret_equal(found, tag, XAES_TAG_LEN);
    }
    if (!ok)
        secret_wipe(out, in.len);
    return ok;
}
