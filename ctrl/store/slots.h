/* The root slots that the store vouches for: each in a row of its own, sealed under the root key, beside the slot table
 * that lies in the clear so that it can be opened.  Whoever can write the file can change the table, not the rows: what
 * differs is found at start.
 *
 * A slot counts once it was seen to open.  Enough is SLOTS_ONLINE_MIN that open by themselves and SLOTS_OFFLINE_MIN
 * whose holders are elsewhere.  Pure, but for slots_read. */
#ifndef CTRL_STORE_SLOTS_H
#define CTRL_STORE_SLOTS_H

#include "ctrl/store/store.h"
#include "drivers/seal/seal.h"

#define SLOTS_ONLINE_MIN  1
#define SLOTS_OFFLINE_MIN 2
#define SLOTS_BODY_MAX    (1 + 3 * 8 + SEAL_SLOT_MAX)

struct slot {
    size_t len;            /* of record; 0: there is none */
    int64_t made_unix_s;   /* by whom it can be opened, since then */
    int64_t sealed_unix_s; /* the record; later than made after a root rotation */
    int64_t opened_unix_s; /* last verified; 0: never, so that it does not count */
    uint8_t record[SEAL_SLOT_MAX];
};

struct slots {
    bool vouched; /* the store has rows of slots: false in one that was made before there were any */
    struct slot at[STORE_SLOTS_MAX];
};

struct span slot_span(const struct slot *s);

/* Row bodies; out: SLOTS_BODY_MAX bytes.  An empty body: no slot. */
size_t slots_encode(const struct slot *s, uint8_t *out);
bool MUST_USE slots_decode(struct slots *s, const struct store_row *row);

/* The slot table as it is in the file, made now, never opened. */
void slots_read(struct store *s, int64_t now_unix_s, struct slots *out);

struct slots_count {
    unsigned online, offline;         /* that were opened */
    unsigned online_new, offline_new; /* that were not yet */
};
struct slots_count slots_count(const struct slots *s);
bool slots_enough(const struct slots_count *c);
/* "1 online and 2 offline slots", "no ..." */
void slots_missing(const struct slots_count *c, char *out, size_t cap);
/* STORE_SLOTS_MAX when all are taken. */
uint8_t slots_free_number(const struct slots *s);

#endif
