/* Two hosts that go on with one store, each for itself, and share a sink: found by the names of the files there.
 *
 * It begins with a restore while the host that the backup is of still lives, or with one from a sink that was behind.  From then on the
 * sink holds files of a history that is not ours, and a restore could not have both.  So nothing more is appended to it until a person
 * has decided.  Files of the root key before ours are of another chain, too, and are older than all that we know as ours. */
#ifndef CTRL_BACKUP_BRANCH_H
#define CTRL_BACKUP_BRANCH_H

#include "ctrl/backup/backup_file.h"

enum branch_kin {
    BRANCH_OURS,    /* its last epoch is one of ours, by its hash */
    BRANCH_OTHER,   /* its last epoch is not what it was here */
    BRANCH_AHEAD,   /* there is no such epoch here */
    BRANCH_UNKNOWN, /* nobody can tell */
};

/* The newest file of another history, or NULL.  adopted_unix_s: whatever was made until then does not count. */
const struct backup_name *branch_find(const struct backup_name *names, size_t count,
                                      enum branch_kin (*kin)(void *ctx, const struct backup_name *n),
                                      void *ctx, int64_t adopted_unix_s);

/* Until when a person has accepted what is in that sink; 0: never.  In FOLDER/adopted.json. */
int64_t branch_adopted(const char *folder, const char *sink);
bool MUST_USE branch_adopt(const char *folder, const char *sink, int64_t unix_s, struct refusal *why);

#endif
