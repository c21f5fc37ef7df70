/* PINs that a token refused, remembered over restarts: a token counts wrong PINs and locks, and a service manager
 * starts ww-ctrl again and again.
 *
 * One small file per slot, by whose removal an operator says that it may be tried again.  It holds a digest of the slot
 * and of what stat(2) says of the PIN's file, never anything of the PIN: a PIN file that was written anew is tried by
 * itself.  Of a systemd credential, which is another file at each start, only the slot counts. */
#ifndef CTRL_ROOT_ROOT_PIN_H
#define CTRL_ROOT_ROOT_PIN_H

#include "drivers/seal/seal.h"

struct root_pin {
    const char *prefix; /* of the files: the slot's number follows */
    struct span slot;
    const struct seal_slot_info *info;
};

void root_pin_file(const struct root_pin *p, char *out, size_t cap);
bool root_pin_was_refused(const struct root_pin *p);
/* A failure to write is logged. */
void root_pin_remember(const struct root_pin *p);
void root_pin_forget(const struct root_pin *p);

#endif
