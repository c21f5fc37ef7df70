#include "base/check.h"
#include "base/secret.h"
#include "drivers/seal/slot_priv.h"

#include <argon2.h>

#define SALT_LEN 16
#define LANES    1 /* ctrl has one thread */
#define AAD_LEN  (SLOT_HEAD_LEN + 9 + SALT_LEN)

struct slot {
    struct seal_slot_info info;
    struct span aad, salt, nonce, sealed;
};

static bool cost_in_bounds(struct seal_cost c)
{
    return c.memory_kib >= SEAL_MEMORY_KIB_MIN && c.memory_kib <= SEAL_MEMORY_KIB_MAX && c.passes >= 1 &&
           c.passes <= SEAL_PASSES_MAX;
}

static enum seal_status slot_parse(struct span raw, struct slot *out)
{
    struct cursor c;
    enum seal_status status = slot_read_head(raw, &out->info, &c);

    if (status != SEAL_OK)
        return status;
    if (out->info.kind != SEAL_KIND_PASSPHRASE)
        return SEAL_UNKNOWN_KIND;
    out->info.cost.memory_kib = cursor_u32(&c);
    out->info.cost.passes = cursor_u32(&c);
    uint8_t lanes = cursor_u8(&c);
    out->salt = cursor_take(&c, SALT_LEN);
    out->aad = span_of(raw.ptr, AAD_LEN);
    out->nonce = cursor_take(&c, MBED_NONCE_LEN);
    out->sealed = cursor_take(&c, SEAL_SRK_LEN + MBED_TAG_LEN);
    if (!cursor_ok(&c) || c.left != 0 || lanes != LANES || !cost_in_bounds(out->info.cost))
        return SEAL_CORRUPT;
    return SEAL_OK;
}

enum seal_status slot_passphrase_info(struct span raw, struct seal_slot_info *out)
{
    struct slot s = {0};
    enum seal_status status = slot_parse(raw, &s);

    *out = s.info;
    return status;
}

/* The key that a passphrase stretches to.  RFC 9106: Argon2id, version 0x13. */
static bool stretch(struct span passphrase, struct span salt, struct seal_cost cost,
                    uint8_t key[MBED_KEY_LEN])
{
    return argon2id_hash_raw(cost.passes, cost.memory_kib, LANES, passphrase.ptr, passphrase.len, salt.ptr,
                             salt.len, key, MBED_KEY_LEN) == ARGON2_OK;
}

static struct mbed_aead *stretched_aead(struct span passphrase, struct span salt, struct seal_cost cost)
{
    uint8_t *key = secret_pages_alloc(MBED_KEY_LEN);
    struct mbed_aead *aead = NULL;

    if (key == NULL)
        return NULL;
    if (stretch(passphrase, salt, cost, key))
        aead = mbed_aead_new(key);
    secret_pages_free(key, MBED_KEY_LEN);
    return aead;
}

enum seal_status seal_passphrase_create(struct mbed_rng *rng, uint8_t number, uint16_t shard,
                                        struct seal_cost cost, struct span passphrase,
                                        const uint8_t srk[SEAL_SRK_LEN], uint8_t out[SEAL_SLOT_LEN])
{
    struct writer w = writer_of(out, SEAL_SLOT_LEN);
    uint8_t salt[SALT_LEN], nonce[MBED_NONCE_LEN], sealed[SEAL_SRK_LEN + MBED_TAG_LEN];

    if (!cost_in_bounds(cost))
        return SEAL_CORRUPT;
    mbed_random(rng, salt, sizeof salt);
    mbed_random(rng, nonce, sizeof nonce);
    struct mbed_aead *aead = stretched_aead(passphrase, span_of(salt, sizeof salt), cost);
    if (aead == NULL)
        return SEAL_NO_MEMORY;
    slot_write_head(&w, SEAL_KIND_PASSPHRASE, number, shard);
    write_u32(&w, cost.memory_kib);
    write_u32(&w, cost.passes);
    write_u8(&w, LANES);
    write_bytes(&w, span_of(salt, sizeof salt));
    mbed_seal(aead, nonce, writer_span(&w), span_of(srk, SEAL_SRK_LEN), sealed);
    mbed_aead_free(aead);
    write_bytes(&w, span_of(nonce, sizeof nonce));
    write_bytes(&w, span_of(sealed, sizeof sealed));
    slot_write_sum(&w);
    CHECK(writer_ok(&w) && w.len == SEAL_SLOT_LEN);
    return SEAL_OK;
}

enum seal_status seal_passphrase_open(struct span raw, uint16_t shard, struct span passphrase,
                                      uint8_t srk[SEAL_SRK_LEN])
{
    struct slot s = {0};
    enum seal_status status = slot_parse(raw, &s);

    secret_wipe(srk, SEAL_SRK_LEN);
    if (status != SEAL_OK)
        return status;
    if (s.info.shard != shard)
        return SEAL_WRONG_SHARD;
    struct mbed_aead *aead = stretched_aead(passphrase, s.salt, s.info.cost);
    if (aead == NULL)
        return SEAL_NO_MEMORY;
    bool opened = mbed_open(aead, s.nonce.ptr, s.aad, s.sealed, srk);
    mbed_aead_free(aead);
    return opened ? SEAL_OK : SEAL_WRONG_PASSPHRASE;
}
