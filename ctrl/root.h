/* The shard root key: made once, then opened through a slot at every start. */
#ifndef CTRL_ROOT_H
#define CTRL_ROOT_H

#include "ctrl/store.h"
#include "drivers/seal/seal.h"

struct root_options {
    uint16_t shard;
    const char *passphrase_file; /* see seal_passphrase_read */
    struct seal_cost cost;       /* of a slot made now */
    bool may_create;             /* a store without slots gets its first */
};

/* srk: SEAL_SRK_LEN bytes of locked pages of the caller's.  Any slot that opens will do. */
bool MUST_USE root_open(struct store *s, struct mbed_rng *rng, const struct root_options *o, uint8_t *srk,
                        struct refusal *why);

#endif
