#include "drivers/seal/seal.h"

#include "base/check.h"
#include "base/cursor.h"
#include "base/secret.h"

#include <argon2.h>

#define SLOT_VERSION 1
#define SALT_LEN     16
#define SUM_LEN      8
#define LANES        1 /* ctrl has one thread */
#define AAD_LEN      (15 + SALT_LEN)

struct slot {
    struct seal_slot_info info;
    uint8_t lanes;
    struct span aad, salt, nonce, sealed;
};

static void slot_sum(struct span slot, uint8_t out[SUM_LEN])
{
    uint8_t digest[MBED_DIGEST_LEN];

    mbed_sha256(span_of(slot.ptr, slot.len - SUM_LEN), digest);
    memcpy(out, digest, SUM_LEN);
}

static bool cost_in_bounds(struct seal_cost c)
{
    return c.memory_kib >= SEAL_MEMORY_KIB_MIN && c.memory_kib <= SEAL_MEMORY_KIB_MAX && c.passes >= 1 &&
           c.passes <= SEAL_PASSES_MAX;
}

static enum seal_status slot_parse(struct span raw, struct slot *out)
{
    uint8_t sum[SUM_LEN];
    struct cursor c = cursor_of(raw);

    if (raw.len != SEAL_SLOT_LEN)
        return SEAL_CORRUPT;
    slot_sum(raw, sum);
    if (memcmp(sum, raw.ptr + raw.len - SUM_LEN, SUM_LEN) != 0)
        return SEAL_CORRUPT;
    uint8_t version = cursor_u8(&c);
    out->info.kind = cursor_u8(&c);
    out->info.number = cursor_u8(&c);
    uint8_t zero = cursor_u8(&c);
    out->info.shard = cursor_u16(&c);
    out->info.cost.memory_kib = cursor_u32(&c);
    out->info.cost.passes = cursor_u32(&c);
    out->lanes = cursor_u8(&c);
    out->salt = cursor_take(&c, SALT_LEN);
    out->aad = span_of(raw.ptr, AAD_LEN);
    out->nonce = cursor_take(&c, MBED_NONCE_LEN);
    out->sealed = cursor_take(&c, SEAL_SRK_LEN + MBED_TAG_LEN);
    CHECK(cursor_ok(&c));
    if (version != SLOT_VERSION || zero != 0)
        return SEAL_CORRUPT;
    if (out->info.kind != SEAL_KIND_PASSPHRASE)
        return SEAL_UNKNOWN_KIND;
    if (out->lanes != LANES || !cost_in_bounds(out->info.cost))
        return SEAL_CORRUPT;
    return SEAL_OK;
}

enum seal_status seal_slot_info(struct span raw, struct seal_slot_info *out)
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
    write_u8(&w, SLOT_VERSION);
    write_u8(&w, SEAL_KIND_PASSPHRASE);
    write_u8(&w, number);
    write_u8(&w, 0);
    write_u16(&w, shard);
    write_u32(&w, cost.memory_kib);
    write_u32(&w, cost.passes);
    write_u8(&w, LANES);
    write_bytes(&w, span_of(salt, sizeof salt));
    mbed_seal(aead, nonce, writer_span(&w), span_of(srk, SEAL_SRK_LEN), sealed);
    mbed_aead_free(aead);
    write_bytes(&w, span_of(nonce, sizeof nonce));
    write_bytes(&w, span_of(sealed, sizeof sealed));
    CHECK(writer_ok(&w) && w.len == SEAL_SLOT_LEN - SUM_LEN);
    slot_sum(span_of(out, SEAL_SLOT_LEN), out + w.len);
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

const char *seal_status_text(enum seal_status s)
{
    switch (s) {
    case SEAL_OK:
        return "opened";
    case SEAL_CORRUPT:
        return "the slot record is damaged";
    case SEAL_UNKNOWN_KIND:
        return "the slot is of a kind that this build does not open";
    case SEAL_WRONG_SHARD:
        return "the slot belongs to another shard";
    case SEAL_WRONG_PASSPHRASE:
        return "wrong passphrase";
    case SEAL_NO_MEMORY:
        return "not enough memory for Argon2id";
    }
    return "unknown";
}
