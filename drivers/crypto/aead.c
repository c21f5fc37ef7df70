/* A key's context is keyed once and used for every derivation: one ECB pass over two or four blocks of OpenSSL's.  What is keyed anew for
 * every message is libipsec-mb's, for there EVP's parameters and contexts cost many times what the cipher does: GCM, and the
 * derivation that begins with the key's bytes.  A wrap is derived by the one and verified by the other (docs/decisions/0006). */
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

/* What is made anew for one message; on secret pages. */
struct message {
    struct gcm_key_data key;
    _Alignas(16) uint32_t schedule[4 * 15]; /* of xaes_derive_fresh */
    _Alignas(16) uint32_t unused[4 * 15];   /* the same for decryption, which comes with it */
    struct gcm_context_data context;
    uint8_t aad[AAD_CAP];
};

struct aead_worker {
    OSSL_LIB_CTX *lib;
    EVP_CIPHER *ecb;
    IMB_MGR *mb;
    struct message *message;
};

static const uint8_t zeros[BLOCK];

_Static_assert(sizeof(struct xaes_derived) == 4 * BLOCK,
               "derivation writes Kx and the commitment in one pass");

struct aead_worker *aead_worker_new(void)
{
    struct aead_worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->message = secret_pages_alloc(sizeof *w->message);
    w->mb = alloc_mb_mgr(0);
    if (w->mb != NULL)
        init_mb_mgr_auto(w->mb, NULL); /* the widest code that this processor runs */
    w->lib = OSSL_LIB_CTX_new();
    if (w->lib != NULL)
        w->ecb = EVP_CIPHER_fetch(w->lib, "AES-256-ECB", NULL);
    if (w->ecb == NULL || w->message == NULL || w->mb == NULL || imb_get_errno(w->mb) != 0) {
        aead_worker_free(w);
        return NULL;
    }
    return w;
}

void aead_worker_free(struct aead_worker *w)
{
    if (w == NULL)
        return;
    EVP_CIPHER_free(w->ecb);
    OSSL_LIB_CTX_free(w->lib);
    if (w->mb != NULL)
        free_mb_mgr(w->mb);
    if (w->message != NULL)
        secret_pages_free(w->message, sizeof *w->message);
    free(w);
}

void aead_worker_forget(struct aead_worker *w)
{
    secret_wipe(w->message, offsetof(struct message, aad));
}

static bool ecb_encrypt(EVP_CIPHER_CTX *ctx, const uint8_t *in, size_t len, uint8_t *out)
{
    int n = 0;

    return EVP_EncryptUpdate(ctx, out, &n, in, (int)len) == 1 && (size_t)n == len;
}

/* SP 800-38B 6.1: K1 = L << 1, and 0x87 into the last byte when a one fell out; L = AES(K, 0). */
static void k1_from(const uint8_t l[BLOCK], uint8_t k1[BLOCK])
{
    uint64_t high, low;

    memcpy(&high, l, sizeof high);
    memcpy(&low, l + sizeof high, sizeof low);
    high = __builtin_bswap64(high);
    low = __builtin_bswap64(low);
    uint64_t carry = high >> 63;
    high = __builtin_bswap64(high << 1 | low >> 63);
    low = __builtin_bswap64(low << 1 ^ (0x87 & -carry));
    memcpy(k1, &high, sizeof high);
    memcpy(k1 + sizeof high, &low, sizeof low);
}

static bool derive_k1(struct aead_key *k)
{
    uint8_t l[BLOCK];
    bool ok = ecb_encrypt(k->ecb, zeros, BLOCK, l);

    if (ok)
        k1_from(l, k->k1);
    secret_wipe(l, sizeof l);
    return ok;
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

bool aead_key_change(struct aead_key *k, const uint8_t key[XAES_KEY_LEN])
{
    if (EVP_EncryptInit_ex2(k->ecb, NULL, key, NULL, NULL) == 1 && derive_k1(k))
        return true;
    ERR_clear_error();
    return false;
}

void aead_key_free(struct aead_key *k)
{
    if (k == NULL)
        return;
    EVP_CIPHER_CTX_free(k->ecb); /* the provider cleanses the schedule */
    OPENSSL_clear_free(k, sizeof *k);
}

/* SP 800-108r1 4.1 with CMAC over one block each, counter || label 'X' || 00 || N[0..11] for the counters 1 to count, K1 already in. */
static void counter_blocks(const uint8_t k1[BLOCK], const uint8_t *nonce, size_t count, uint8_t *blocks)
{
    const uint8_t head[4] = {0, 0, 'X', 0};
    uint64_t block[2], key[2];

    memcpy(block, head, sizeof head);
    memcpy((uint8_t *)block + sizeof head, nonce, 12);
    memcpy(key, k1, sizeof key);
    block[0] ^= key[0];
    block[1] ^= key[1];
    for (size_t i = 0; i < count; i++) {
        memcpy(blocks + i * BLOCK, block, BLOCK);
        blocks[i * BLOCK + 1] ^= (uint8_t)(i + 1);
    }
}

bool xaes_derive(struct aead_key *k, const uint8_t nonce[XAES_NONCE_LEN], bool with_commitment,
                 struct xaes_derived *out)
{
    uint8_t blocks[4 * BLOCK];
    size_t count = with_commitment ? 4 : 2;

    counter_blocks(k->k1, nonce, count, blocks);
    memset(out, 0, sizeof *out);
    bool ok = ecb_encrypt(k->ecb, blocks, count * BLOCK, out->kx);
    secret_wipe(blocks, sizeof blocks);
    if (!ok) {
        ERR_clear_error();
        secret_wipe(out, sizeof *out);
    }
    return ok;
}

/* Under the schedule in w->message; nothing else is ever queued in the manager, so the job that comes back is the one that went in.
 * Unchecked: but for addresses it is the same job each time. */
static bool fresh_encrypt(struct aead_worker *w, const uint8_t *in, size_t len, uint8_t *out)
{
    IMB_JOB *job = IMB_GET_NEXT_JOB(w->mb);

    job->cipher_mode = IMB_CIPHER_ECB;
    job->cipher_direction = IMB_DIR_ENCRYPT;
    job->key_len_in_bytes = XAES_KEY_LEN;
    job->enc_keys = w->message->schedule;
    job->dec_keys = w->message->unused;
    job->src = in;
    job->dst = out;
    job->cipher_start_src_offset_in_bytes = 0;
    job->msg_len_to_cipher_in_bytes = len;
    job->iv_len_in_bytes = 0;
    job->hash_alg = IMB_AUTH_NULL;
    job->chain_order = IMB_ORDER_CIPHER_HASH;
    const IMB_JOB *done = IMB_SUBMIT_JOB_NOCHECK(w->mb);
    return done == job && done->status == IMB_STATUS_COMPLETED;
}

bool xaes_derive_fresh(struct aead_worker *w, const uint8_t key[XAES_KEY_LEN],
                       const uint8_t nonce[XAES_NONCE_LEN], struct xaes_derived *out)
{
    uint8_t k1[BLOCK], k2[BLOCK], blocks[4 * BLOCK];

    IMB_AES_KEYEXP_256(w->mb, key, w->message->schedule, w->message->unused);
    IMB_AES_CMAC_SUBKEY_GEN_256(w->mb, w->message->schedule, k1, k2);
    counter_blocks(k1, nonce, 4, blocks);
    bool ok = fresh_encrypt(w, blocks, sizeof blocks, out->kx);
    secret_wipe(k1, sizeof k1);
    secret_wipe(k2, sizeof k2);
    secret_wipe(blocks, sizeof blocks);
    if (!ok)
        secret_wipe(out, sizeof *out);
    return ok;
}

/* The library takes additional data in one piece. */
static bool aad_join(struct message *m, const struct span *parts, size_t count, size_t *len)
{
    *len = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > sizeof m->aad - *len)
            return false;
        if (parts[i].len != 0)
            memcpy(m->aad + *len, parts[i].ptr, parts[i].len);
        *len += parts[i].len;
    }
    return true;
}

bool xaes_seal(struct aead_worker *w, const struct xaes_derived *d, const uint8_t nonce[XAES_NONCE_LEN],
               const struct span *aad, size_t aad_parts, struct span in, uint8_t *out,
               uint8_t tag[XAES_TAG_LEN])
{
    struct message *m = w->message;
    size_t aad_len;
    bool ok = aad_join(m, aad, aad_parts, &aad_len);

    if (ok) {
        IMB_AES256_GCM_PRE(w->mb, d->kx, &m->key);
        IMB_AES256_GCM_ENC(w->mb, &m->key, &m->context, out, in.ptr, in.len, nonce + 12, m->aad, aad_len, tag,
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
    struct message *m = w->message;
    uint8_t found[XAES_TAG_LEN];
    size_t aad_len;
    bool ok = aad_join(m, aad, aad_parts, &aad_len);

    if (ok) {
        IMB_AES256_GCM_PRE(w->mb, d->kx, &m->key);
        IMB_AES256_GCM_DEC(w->mb, &m->key, &m->context, out, in.ptr, in.len, nonce + 12, m->aad, aad_len,
                           found, XAES_TAG_LEN);
        ok = imb_get_errno(w->mb) == 0 && secret_equal(found, tag, XAES_TAG_LEN);
    }
    if (!ok)
        secret_wipe(out, in.len);
    return ok;
}
