/* What the kinds of slots share.  For drivers/seal/slot_*.c. */
#ifndef DRIVERS_SEAL_SLOT_PRIV_H
#define DRIVERS_SEAL_SLOT_PRIV_H

#include "base/cursor.h"
#include "drivers/seal/seal.h"

#define SLOT_VERSION  1
#define SLOT_HEAD_LEN 6
#define SLOT_SUM_LEN  8

void slot_write_head(struct writer *w, uint8_t kind, uint8_t number, uint16_t shard);
/* Ends a slot. */
void slot_write_sum(struct writer *w);
/* Checks the sum and reads the head.  *body: what follows it, without the sum. */
enum seal_status MUST_USE slot_read_head(struct span raw, struct seal_slot_info *info, struct cursor *body);

enum seal_status MUST_USE slot_passphrase_info(struct span raw, struct seal_slot_info *out);
enum seal_status MUST_USE slot_age_info(struct span raw, struct seal_slot_info *out);
enum seal_status MUST_USE slot_device_info(struct span raw, struct seal_slot_info *out);

static inline bool slot_kind_is_device(uint8_t kind)
{
    return kind == SEAL_KIND_PKCS11 || kind == SEAL_KIND_TPM2;
}

#endif
