/* Restore drills: each sink's newest backup is made a store again in a process and a folder of their own, and what came of it
 * is kept.
 *
 * Level 1: every file opens, the chain is whole, the counts are right.  Level 2: the root key opens through this host's
 * online slot, every row is what the chain says, every key version opens; and where the live store still knows that
 * epoch, its chain has the same hash there.  A sink is tried once a day by itself.  The offline drill is a person's: a
 * challenge, answered with --drill and an offline slot, shows that the slot opens a backup. */
#ifndef CTRL_BACKUP_DRILL_H
#define CTRL_BACKUP_DRILL_H

#include "ctrl/keys/custody.h"
#include "proto/config.h"

#include <jansson.h>

#define DRILL_TEXT_CAP      512
#define DRILL_CHALLENGE_LEN 17
#define DRILL_PROOF_LEN     17
#define DRILL_OFFLINE_DAYS  100 /* after which it is asked for */

struct drills;

struct drill_setup {
    const struct config *config; /* borrowed for good */
    const char *config_file;
    struct custody *custody; /* as long as this */
    struct mbed_rng *rng;
    int epoll_fd; /* where a running drill's output is announced */
};

struct drill_result {
    int64_t unix_s; /* when it ended; 0 = never */
    bool ok;
    int level;           /* reached */
    int64_t good_unix_s; /* the last that was ok; 0 = none */
    uint64_t epoch, keys, versions;
    char text[DRILL_TEXT_CAP]; /* of a failure; or of damage that was passed over */
};

struct drills *MUST_USE drills_new(const struct drill_setup *setup);
void drills_free(struct drills *d);

void drills_step(struct drills *d, uint64_t now_ms, int64_t unix_s);

/* All sinks, or (i) one of them, as soon as can be; the ticket to ask for. */
#define DRILL_ALL SIZE_MAX
uint64_t drills_run(struct drills *d, size_t i);
bool drills_done(const struct drills *d, uint64_t ticket);
bool drills_are_running(const struct drills *d);
bool drills_are_configured(const struct drills *d);
void drills_result(const struct drills *d, size_t i, struct drill_result *out);

/* A new challenge; valid until ww-ctrl ends or another is made. */
const char *drills_challenge(struct drills *d);
/* What answers a challenge: 16 letters from a key that only the root key gives (custody_proof_key). */
void drill_proof(const uint8_t key[MBED_KEY_LEN], const char *challenge, char out[DRILL_PROOF_LEN]);
/* true: it was answered by somebody who holds the root key, and is noted. */
bool MUST_USE drills_prove(struct drills *d, const char *proof, int64_t unix_s, struct refusal *why);
int64_t drills_offline_unix_s(const struct drills *d); /* 0 = never */

#endif
