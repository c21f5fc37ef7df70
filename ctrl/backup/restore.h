/* A store made again from backup files in a directory.
 *
 * The newest full file that is sound comes first, then every file that continues it, by hashes and not by names;
 * a damaged file is named and passed over where another leads further.  What was put together is believed only after
 * custody_open has walked its chain, compared every row and opened every key version.  Nothing stands in the place
 * of the store before that. */
#ifndef CTRL_BACKUP_RESTORE_H
#define CTRL_BACKUP_RESTORE_H

#include "ctrl/backup/backup_file.h"
#include "ctrl/keys/custody.h"

#define RESTORE_NOTES_MAX 16
#define RESTORE_NOTE_CAP  256

struct restore_source {
    const char *dir;
    const uint8_t (*identities)[AGE_KEY_LEN]; /* locked pages of the caller's */
    size_t identity_count;
    const char
        *store; /* the first 8 digits of a store id, where the directory holds more than one; or NULL */
};

struct restore_report {
    struct store_identity identity;
    uint64_t epoch;                /* restored to */
    uint64_t newest_epoch;         /* that any file's name claims of this store */
    int64_t newest_unix_s;         /* when the last file used was made */
    size_t files, used;            /* seen of this store; applied */
    uint64_t keys, versions;       /* that opened */
    uint8_t head[MBED_DIGEST_LEN]; /* the chain's hash at epoch: it vouches for every row */
    size_t note_count;
    char notes[RESTORE_NOTES_MAX][RESTORE_NOTE_CAP]; /* damaged files, gaps */
};

/* How the root key is opened: tries the slots of s. srk: SEAL_SRK_LEN bytes of locked pages. */
struct restore_root {
    void *ctx;
    bool (*open)(void *ctx, struct store *s, uint8_t *srk, struct refusal *why);
    /* The root key is known and right: slots may be added (store_slot_put).  NULL: none are. */
    bool (*fresh_slots)(void *ctx, struct store *s, const uint8_t *srk, struct refusal *why);
    bool keep_online; /* slots of devices and passphrases are taken over, too */
};

/* Builds file (with its .head), which must not be there, and leaves it closed.  false: nothing usable is left
 * behind. */
bool MUST_USE restore_build(const char *file, struct mbed_rng *rng, const struct restore_source *from,
                            const struct restore_root *root, struct restore_report *report,
                            struct refusal *why);

/* The identity in a file as age-keygen writes it: AGE_KEY_LEN bytes to out, locked pages of the caller's. */
bool MUST_USE restore_identity_read(const char *file, uint8_t out[AGE_KEY_LEN], struct refusal *why);

#endif
