/* Who still asks for what is disabled, doomed or destroyed: the last moment to notice before a key is gone.
 *
 * Fed with every audit record that reached the files, and at start with the last ones in them.  Counts per key,
 * version and caller; the first request of a caller is logged as a warning.  Bounded: when TRIPWIRE_ENTRIES_MAX are
 * in use the one that was silent longest makes room. */
#ifndef CTRL_AUDIT_TRIPWIRE_H
#define CTRL_AUDIT_TRIPWIRE_H

#include "ctrl/audit/audit.h"
#include "ctrl/keys/record.h"

#define TRIPWIRE_ENTRIES_MAX 1024
#define TRIPWIRE_REPLAY      65536 /* entries of the audit files that are read at start */

struct tripwire_entry {
    uint8_t key_id[KEY_ID_LEN];
    uint32_t version; /* 0 = the key as a whole was off */
    char caller[AUDIT_CALLER_CAP + 1];
    uint64_t count, last_unix_us;
};

struct tripwire {
    size_t count;
    struct tripwire_entry entries[TRIPWIRE_ENTRIES_MAX];
};

/* verdict: the reason's name; anything but a refusal for a state is passed over. */
void tripwire_note(struct tripwire *t, const struct audit_record *r, const char *verdict);
bool MUST_USE tripwire_is_refusal(const char *verdict);

/* r is served again, or a version of it: what was counted for that is forgotten. */
void tripwire_changed(struct tripwire *t, const struct key_record *r);

struct tripwire_sum {
    uint32_t callers;
    uint64_t count, last_unix_us;
};

/* What counts for r as it is now; callers == 0: nobody asks.  each may be NULL. */
void tripwire_of(const struct tripwire *t, const struct key_record *r, struct tripwire_sum *out,
                 void (*each)(void *ctx, const struct tripwire_entry *e), void *ctx);

#endif
