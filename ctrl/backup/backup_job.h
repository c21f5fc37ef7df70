/* Makes one backup file of a store while the store goes on changing: in steps, each bounded.
 *
 * The file ends at the epoch that the store has when the last step finds nothing left to copy, so that every row in
 * it is as it was at that epoch or was overwritten by a later line. */
#ifndef CTRL_BACKUP_BACKUP_JOB_H
#define CTRL_BACKUP_BACKUP_JOB_H

#include "ctrl/backup/backup_file.h"

struct backup_job;

struct backup_made {
    char name[BACKUP_NAME_CAP];
    uint64_t from, to, size;
    int64_t made_unix_s;
    uint8_t head[MBED_DIGEST_LEN];
    uint8_t sha256[MBED_DIGEST_LEN]; /* of the file */
};

enum backup_job_status { BACKUP_JOB_MORE, BACKUP_JOB_DONE, BACKUP_JOB_FAILED };

/* Into a file of its own in dir, from epoch `from` on; 1: a full one.  s must be unlocked and outlive the job.  NULL:
 * why. */
struct backup_job *MUST_USE backup_job_new(struct store *s, struct mbed_rng *rng, const char *dir,
                                           const struct age_recipient *to, size_t to_count, uint64_t from,
                                           int64_t now_unix_s, struct refusal *why);
/* About budget records.  DONE: the file has its name in dir, and *made says what it is.  FAILED: why, and no file is
 * left. */
enum backup_job_status MUST_USE backup_job_step(struct backup_job *j, uint32_t budget,
                                                struct backup_made *made, struct refusal *why);
void backup_job_free(struct backup_job *j);

#endif
