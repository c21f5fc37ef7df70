/* Where the 32-byte key of the warm snapshot comes from: a systemd credential, or this machine's TPM.
 *
 *     credential:NAME   $CREDENTIALS_DIRECTORY/NAME, on a file system in memory, not beside the snapshot
 *     tpm2:FILE         what `ww-seal warm-key FILE` made (docs/WIRE.md, 8); opened by the TPM through ww-seal, a child of
 *                       this one request: no TPM library is ever in this process
 *
 * A TPM takes its time and may hang, and ctrl, if it is there, must not wait for that: the key is read on a thread of its
 * own, once, and asked for in turn. */
#ifndef DATAPLANE_WARM_KEY_H
#define DATAPLANE_WARM_KEY_H

#include "dataplane/warm.h"
#include "drivers/seal/device/ask.h"

struct warm_key_source {
    const char *name;          /* as above */
    const char *dir;           /* of the snapshot */
    struct seal_device device; /* ww-seal, and how long it is waited for */
};

/* key: locked pages of the caller's.  Blocks for device.timeout_ms at most. */
bool MUST_USE warm_key_read(const struct warm_key_source *s, uint8_t key[WARM_KEY_LEN],
                            struct warm_problem *why);

struct warm_key;
/* s: what it points to outlives it. */
struct warm_key *MUST_USE warm_key_begin(const struct warm_key_source *s);
/* Once there is an answer, gives it to w, and says true from then on. */
bool warm_key_hand_over(struct warm_key *k, struct warm *w);
/* Waits for the thread: no longer than for the device. */
void warm_key_end(struct warm_key *k);

#endif
