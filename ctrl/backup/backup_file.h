/* One backup file: an age v1 file of JSON lines that hold a store's sealed records (docs/WIRE.md, "Backups").
 *
 * A file covers the epochs from..to: the change of each, and every row that they wrote as it was at `to`.  One from
 * epoch 1 is full: alone it is the store as it was at `to`; where the store has an anchor, its pages are there in place of
 * the changes up to its epoch.  Any other continues one that reaches from - 1.  All
 * have all slots.  The rows stay sealed under the root key, so that who opens the age layer alone has no key. */
#ifndef CTRL_BACKUP_BACKUP_FILE_H
#define CTRL_BACKUP_BACKUP_FILE_H

#include "ctrl/store/store.h"
#include "drivers/seal/age.h"

#define BACKUP_NAME_CAP 96

struct backup_head {
    uint8_t level; /* of the store that it was made of; it is the file's format */
    struct store_identity identity;
    uint64_t from;
    int64_t made_unix_s;
    uint8_t before[MBED_DIGEST_LEN]; /* the chain's hash at from - 1 */
};

struct backup_end {
    uint64_t to;
    uint8_t head[MBED_DIGEST_LEN]; /* the chain's hash at `to` */
    uint64_t slots, rows, changes, anchors;
};

/* What a name claims; the file itself decides. */
struct backup_name {
    uint8_t store[4]; /* of the store id */
    int64_t made_unix_s;
    uint64_t from, to;
    uint8_t head[4]; /* of the chain's hash at `to` */
};

void backup_name_print(const struct backup_head *h, const struct backup_end *e, char out[BACKUP_NAME_CAP]);
bool MUST_USE backup_name_parse(const char *text, struct backup_name *out);

/* Writes a file to fd, which stays the caller's.  NULL: why.  The first failure stays. */
struct backup_writer;
struct backup_writer *MUST_USE backup_writer_new(int fd, struct mbed_rng *rng, const struct age_recipient *to,
                                                 size_t to_count, const struct backup_head *head,
                                                 struct refusal *why);
bool MUST_USE backup_writer_put(struct backup_writer *w, const struct store_raw *r);
/* The file is whole after this: its SHA-256 and size. end: `to` and head are given, the counts are filled in. */
bool MUST_USE backup_writer_end(struct backup_writer *w, struct backup_end *end,
                                uint8_t sha256[MBED_DIGEST_LEN], uint64_t *size);
/* errno of the write that failed; 0: none did. */
int backup_writer_errno(const struct backup_writer *w);
void backup_writer_free(struct backup_writer *w);

/* What a reader tells of a file, in this order; record and head die with the call.  false ends the reading. */
struct backup_visitor {
    void *ctx;
    bool (*head)(void *ctx, const struct backup_head *h, struct refusal *why);
    bool (*record)(void *ctx, const struct store_raw *r, struct refusal *why);
};

/* Reads a file to its end.  true: it is whole, its changes are chained from head->before to end->head, and every
 * count is right.  What the visitor got before a false is to be thrown away.  Codes: backup_sealed (for other
 * recipients), backup_damaged, backup_format, backup_newer (of a level above ours), file_unreadable, and the visitor's. */
bool MUST_USE backup_read(int fd, const char *name, struct mbed_rng *rng,
                          const uint8_t (*identities)[AGE_KEY_LEN], size_t identity_count,
                          const struct backup_visitor *v, struct backup_end *end, struct refusal *why);

/* The same for what is inside the age layer. */
bool MUST_USE backup_parse(struct span lines, const char *name, const struct backup_visitor *v,
                           struct backup_end *end, struct refusal *why);

#endif
