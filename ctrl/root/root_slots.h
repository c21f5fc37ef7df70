/* What an operator does with the root's slots: looks, adds, verifies, seals anew, takes out; and changes the root.
 *
 * Every act opens the root first, through a slot that counts, as a start does: ww-ctrl does not keep the root key.  A new
 * slot that opens by itself is opened at once; an offline one counts once its holder was there (root_slots_verify).
 * Below the minimum (ctrl/store/slots.h) nothing can be taken out, unless `dev`. */
#ifndef CTRL_ROOT_ROOT_SLOTS_H
#define CTRL_ROOT_ROOT_SLOTS_H

#include "ctrl/keys/custody.h"
#include "ctrl/root/root.h"

#define ROOT_PROBLEM_CAP 512

struct root_keeper {
    struct custody *c;
    struct mbed_rng *rng;
    struct root_sources from;
    struct seal_cost cost;
    int64_t now_unix_s;
    bool dev;
};

/* A slot to be made. */
struct root_new_slot {
    uint8_t kind;                /* enum seal_kind */
    const char *passphrase_file; /* passphrase */
    size_t recipient_count;      /* age */
    struct age_recipient recipients[SEAL_SLOT_RECIPIENTS_MAX];
    uint8_t threshold, share_count; /* shares */
    struct seal_pkcs11 pkcs11;
    struct seal_tpm2 tpm2;
};

/* After a start through slot `opened`: vouches for the slots of a store that had no rows of them, or compares the slot table
 * with its rows.  What differs is logged by name (slot_added, slot_removed, slot_altered), told in problem (empty: nothing),
 * and mended. false: the store refused. */
bool MUST_USE root_slots_settle(const struct root_keeper *k, uint8_t opened, char problem[ROOT_PROBLEM_CAP],
                                struct refusal *why);

/* A store just restored: its slot table was made by whoever opened it, and is vouched for as it is. */
bool MUST_USE root_slots_restored(struct custody *c, int64_t now_unix_s, struct refusal *why);

/* *number: where it is.  shares: share_count of them, secret, in locked pages of the caller's; kind shares only. */
bool MUST_USE root_slots_add(const struct root_keeper *k, const struct root_new_slot *what, bool dry,
                             uint8_t *number, struct shamir_share *shares, struct refusal *why);

/* Opens the slot by what k->from has, and notes when. */
bool MUST_USE root_slots_verify(const struct root_keeper *k, uint8_t number, struct refusal *why);

/* The same slot sealed anew: a passphrase slot to the one in passphrase_file (NULL: as before), a device's under a fresh slot
 * key, age to the same recipients.  Shares are not: they are on paper; add a new set instead. */
bool MUST_USE root_slots_rotate(const struct root_keeper *k, uint8_t number, const char *passphrase_file,
                                bool dry, struct refusal *why);

bool MUST_USE root_slots_remove(const struct root_keeper *k, uint8_t number, bool dry, struct refusal *why);

/* A new root key in every slot.  Those that open by themselves are opened before anything is changed; of age and shares
 * the public keys are enough. */
bool MUST_USE root_rotate(const struct root_keeper *k, bool dry, struct refusal *why);

/* Whether the slots are enough to go into production; code not_enough_slots. */
bool MUST_USE root_slots_suffice(const struct root_keeper *k, struct refusal *why);

#endif
