/* Backups under way: every committed epoch to every sink, a full file now and then, and who holds what.
 *
 * A sink is the only one that knows what it holds: it is asked at start, after a failure and once an hour, and what it
 * lists is compared with the chain's hashes.  A sink that fails is tried again with growing pauses and holds up nobody
 * but those who demand it.  A file is made once, in ctrl.state_dir/backup, and carried by each sink's own ww-fetch, which
 * reads it back.  Step functions: nothing here blocks but reading the store, a bounded piece at a time. */
#ifndef CTRL_BACKUP_BACKUP_H
#define CTRL_BACKUP_BACKUP_H

#include "ctrl/backup/backup_job.h"
#include "proto/config.h"

#define BACKUP_TEXT_CAP 512

struct backup;

struct backup_setup {
    const struct config *config; /* borrowed for good: backup, ctrl.state_dir */
    struct store *store;         /* unlocked, and as long as this */
    struct mbed_rng *rng;
    const char *fetch_program;
    /* An age recipient besides those of the configuration and of the slots, copied; NULL = none. */
    const struct age_recipient *drill;
    void *ctx;
    void (*durable)(void *ctx); /* something that waited may be durable now */
};

/* NULL: why. */
struct backup *MUST_USE backup_open(const struct backup_setup *setup, struct refusal *why);
void backup_close(struct backup *b);

/* Readable while backup_step has something to do at once. */
int backup_fd(const struct backup *b);
void backup_step(struct backup *b, uint64_t now_ms, int64_t unix_s);
/* An epoch was committed. */
void backup_changed(struct backup *b);

/* All that the configuration demands hold every epoch up to this one. */
bool backup_durable(const struct backup *b, uint64_t epoch);
/* Which do not, and why; empty: none is missing. */
void backup_missing(const struct backup *b, uint64_t epoch, char out[BACKUP_TEXT_CAP]);

/* No file is being made, and no sink waits for changes: one that is so far behind that it gets a full file does not. */
bool backup_may_compact(const struct backup *b);
/* Every sink holds the newest epoch, and no file is being made.  false: why. */
bool MUST_USE backup_is_quiet(const struct backup *b, struct refusal *why);

/* A full file is made for every sink; the ticket to ask for. */
uint64_t backup_full(struct backup *b);
/* Every sink has it, or has failed since. */
bool backup_full_done(const struct backup *b, uint64_t ticket);

/* This store's history goes on in sink i, whatever else it holds by now; what another host puts there later is refused again.  Codes:
 * nothing_to_adopt, file_unwritable. */
bool MUST_USE backup_adopt(struct backup *b, size_t i, struct refusal *why);

struct backup_sink_status {
    const struct config_sink *config;
    bool known;          /* it has told what it holds */
    uint64_t epoch;      /* restorable from it */
    uint64_t full_epoch; /* of its newest full file; 0 = none */
    int64_t full_unix_s;
    int64_t ok_unix_s; /* when it last took something; 0 = not since start */
    size_t files;
    uint64_t failed;     /* so many times since start */
    bool branched;       /* it holds another history of this store, too: nothing is appended (branch.h) */
    const char *problem; /* empty = none */
};

size_t backup_sink_count(const struct backup *b);
void backup_sink_status(const struct backup *b, size_t i, struct backup_sink_status *out);
/* Files of this store in sink i, as it told last. */
const struct backup_name *backup_sink_files(const struct backup *b, size_t i, size_t *count);
/* Of making files; empty = none. */
const char *backup_problem(const struct backup *b);
/* Who can open the files made now. */
size_t backup_recipient_count(const struct backup *b);

#endif
