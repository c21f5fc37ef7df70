#include "ctrl/root.h"

#include "base/log.h"
#include "base/secret.h"

#include <stdio.h>

static bool slot_refuse(uint8_t number, enum seal_status status, const struct root_options *o,
                        struct refusal *why)
{
    static const char *const next[] = {
        [SEAL_CORRUPT] = "restore the store from a backup, or open it through another slot",
        [SEAL_UNKNOWN_KIND] = "start the version of ww-ctrl that made this slot",
        [SEAL_WRONG_SHARD] = "point ctrl.state_dir at this shard's store",
        [SEAL_WRONG_PASSPHRASE] =
            "put the passphrase that this store was made with into that file; a passphrase cannot "
            "be recovered",
        [SEAL_NO_MEMORY] = "give ww-ctrl as much memory as the slot's Argon2id asks for",
    };
    static const char *const codes[] = {
        [SEAL_CORRUPT] = "slot_damaged",         [SEAL_UNKNOWN_KIND] = "slot_unknown",
        [SEAL_WRONG_SHARD] = "slot_wrong_shard", [SEAL_WRONG_PASSPHRASE] = "wrong_passphrase",
        [SEAL_NO_MEMORY] = "no_memory",
    };

    return refuse(why, codes[status], next[status], "slot %u (passphrase, from %s): %s", number,
                  o->passphrase_file, seal_status_text(status));
}

static bool make_first_slot(struct store *s, struct mbed_rng *rng, const struct root_options *o,
                            struct span passphrase, uint8_t *srk, struct refusal *why)
{
    uint8_t slot[SEAL_SLOT_LEN];

    mbed_random(rng, srk, SEAL_SRK_LEN);
    enum seal_status status = seal_passphrase_create(rng, 0, o->shard, o->cost, passphrase, srk, slot);
    if (status == SEAL_CORRUPT)
        return refuse(why, "bad_config", "see docs/OPERATIONS.md, \"seal\"",
                      "seal.argon2_memory must be %u..%u KiB and seal.argon2_passes 1..%u",
                      SEAL_MEMORY_KIB_MIN, SEAL_MEMORY_KIB_MAX, SEAL_PASSES_MAX);
    if (status != SEAL_OK)
        return slot_refuse(0, status, o, why);
    log_info("root key made", F("slot", 0), F("kind", "passphrase"),
             F("argon2_memory_kib", o->cost.memory_kib), F("argon2_passes", o->cost.passes));
    return store_slot_put(s, 0, span_of(slot, sizeof slot), why);
}

static bool open_any_slot(struct store *s, const struct root_options *o, struct span passphrase, uint8_t *srk,
                          size_t *slots, struct refusal *why)
{
    uint8_t slot[STORE_SLOT_MAX];

    *slots = 0;
    for (uint8_t number = 0; number < STORE_SLOTS_MAX; number++) {
        size_t len = store_slot_get(s, number, slot);

        if (len == 0)
            continue;
        *slots += 1;
        enum seal_status status = seal_passphrase_open(span_of(slot, len), o->shard, passphrase, srk);
        if (status == SEAL_OK) {
            log_info("root key opened", F("slot", (unsigned)number));
            return true;
        }
        slot_refuse(number, status, o, why);
    }
    return false;
}

static bool open_or_make(struct store *s, struct mbed_rng *rng, const struct root_options *o,
                         struct span passphrase, uint8_t *srk, struct refusal *why)
{
    size_t slots;

    if (open_any_slot(s, o, passphrase, srk, &slots, why))
        return true;
    if (slots != 0)
        return false;
    if (!o->may_create || !store_is_new(s))
        return refuse(why, "no_slot", "restore a backup, or make a new store with ww-ctrl --init",
                      "the store has no slot: its root key cannot be opened");
    return make_first_slot(s, rng, o, passphrase, srk, why);
}

bool root_open(struct store *s, struct mbed_rng *rng, const struct root_options *o, uint8_t *srk,
               struct refusal *why)
{
    uint8_t *passphrase = secret_pages_alloc(SEAL_PASSPHRASE_MAX);
    char err[512];
    size_t len;

    if (passphrase == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl",
                      "no locked memory for the passphrase");
    bool ok = seal_passphrase_read(o->passphrase_file, passphrase, &len, err, sizeof err);
    if (ok)
        ok = open_or_make(s, rng, o, span_of(passphrase, len), srk, why);
    else
        refuse(why, "no_passphrase", "", "%s", err);
    secret_pages_free(passphrase, SEAL_PASSPHRASE_MAX);
    return ok;
}
