/* The shard root key (SRK): made once, then opened through any one of its slots at every start.
 *
 * A slot is opened by what is given for its kind: a passphrase from its file, a device through ww-seal, an age identity
 * or paper shares from a file that somebody has brought.  What a slot yields is compared with what the store knows of
 * its root key, so that a slot put there by a stranger is passed over and named. */
#ifndef CTRL_ROOT_ROOT_H
#define CTRL_ROOT_ROOT_H

#include "ctrl/store/store.h"
#include "drivers/seal/seal.h"

/* What slots are opened with.  NULL or "": not given. */
struct root_sources {
    const char *passphrase_file; /* see seal_passphrase_read */
    const char *identity_file;   /* see seal_identity_read; opens slots of kind age */
    const char *shares_file;     /* see root_shares_read; opens slots of kind shares */
    struct seal_device device;   /* program NULL or "": slots of devices are passed over */
    const char *pin_prefix;      /* see ctrl/root/root_pin.h */
    bool pin_again;              /* an operator asks for it: a PIN that was refused before is tried, too */
};

struct root_options {
    uint16_t shard;
    struct root_sources from;
    struct seal_cost cost; /* of a slot made now */
    bool may_create;       /* a store without slots gets its first: a passphrase */
};

/* srk: SEAL_SRK_LEN bytes of locked pages of the caller's.  Any slot that opens will do; *number: which it was.  Codes:
 * of one slot that does not open (see root_slot_open), no_slot_opens, no_slot, and those of store_slot_put. */
bool MUST_USE root_open(struct store *s, struct mbed_rng *rng, const struct root_options *o, uint8_t *srk,
                        uint8_t *number, struct refusal *why);

/* Opens one slot.  why names the slot and the next step; codes: slot_damaged, slot_unknown, slot_wrong_shard,
 * slot_not_tried (nothing is given for its kind), no_passphrase, wrong_passphrase, no_identity, wrong_identity,
 * no_shares, wrong_shares, device, wrong_pin, no_memory. */
bool MUST_USE root_slot_open(struct mbed_rng *rng, uint16_t shard, const struct root_sources *from,
                             struct span slot, uint8_t number, uint8_t *srk, struct refusal *why);

/* The paper shares in a file (or credential:NAME): any number of them, one after the other, with comments behind # and
 * whatever white space and hyphens.  shares: SHAMIR_SHARES_MAX of them in locked pages.  false: why. */
bool MUST_USE root_shares_read(const char *name, struct shamir_share *shares, size_t *count,
                               struct refusal *why);

/* A passphrase slot; out: SEAL_SLOT_LEN bytes.  Codes: no_passphrase, bad_config, no_memory. */
bool MUST_USE root_passphrase_slot(struct mbed_rng *rng, uint8_t number, uint16_t shard,
                                   struct seal_cost cost, const char *passphrase_file, const uint8_t *srk,
                                   uint8_t out[SEAL_SLOT_LEN], struct refusal *why);

#endif
