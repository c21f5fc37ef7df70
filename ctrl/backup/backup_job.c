#include "ctrl/backup/backup_job.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct backup_job {
    struct store *store;
    char dir[PATH_MAX], part[PATH_MAX + 32];
    int fd;
    struct backup_head head;
    struct backup_writer *writer;
    struct store_raw_at at;
    bool rows_done;
    uint32_t pages_done;  /* of the anchor */
    uint64_t done_to;     /* changes written so far */
    uint64_t rows_before; /* changes above it may have written rows that were copied before */
};

static bool put(void *ctx, const struct store_raw *r)
{
    struct backup_job *j = ctx;

    return backup_writer_put(j->writer, r);
}

static bool job_refuse(const struct backup_job *j, int cause, struct refusal *why)
{
    if (cause == ENOSPC || cause == EDQUOT)
        return refuse(why, "disk_full", "make room on that file system; it is tried again",
                      "%s: a backup cannot be written: no space left", j->dir);
    return refuse(why, "backup_io", "check that directory and the store's disk; it is tried again",
                  "%s: a backup cannot be made: %s", j->dir,
                  cause != 0 ? strerror(cause) : "the store could not be read");
}

static bool job_begin(struct backup_job *j, struct mbed_rng *rng, const struct age_recipient *to,
                      size_t to_count, struct refusal *why)
{
    j->fd = open(j->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (j->fd < 0)
        return job_refuse(j, errno, why);
    j->writer = backup_writer_new(j->fd, rng, to, to_count, &j->head, why);
    return j->writer != NULL &&
           (store_raw_slots(j->store, put, j) || job_refuse(j, backup_writer_errno(j->writer), why));
}

struct backup_job *backup_job_new(struct store *s, struct mbed_rng *rng, const char *dir,
                                  const struct age_recipient *to, size_t to_count, uint64_t from,
                                  int64_t now_unix_s, struct refusal *why)
{
    struct backup_job *j = calloc(1, sizeof *j);

    CHECK(j != NULL && from >= 1 && from <= store_epoch(s));
    j->store = s;
    j->fd = -1;
    snprintf(j->dir, sizeof j->dir, "%s", dir);
    snprintf(j->part, sizeof j->part, "%s/%s.part", dir, from == 1 ? "full" : "more");
    store_identity(s, &j->head.identity);
    j->head.from = from;
    j->head.made_unix_s = now_unix_s;
    j->head.level = store_level(s);
    j->rows_done = from != 1;
    j->pages_done = from == 1 ? 0 : store_anchor_pages(s);
    j->done_to = from == 1 ? store_base(s) : from - 1;
    j->rows_before = from == 1 ? store_epoch(s) : 0;
    bool ok = store_chain_hash(s, from - 1, j->head.before) || job_refuse(j, 0, why);
    if (ok && job_begin(j, rng, to, to_count, why))
        return j;
    backup_job_free(j);
    return NULL;
}

static bool step_anchor(struct backup_job *j)
{
    return store_raw_anchor(j->store, j->pages_done++, put, j);
}

static bool step_changes(struct backup_job *j, uint32_t budget)
{
    bool ok = true;

    for (; ok && budget > 0 && j->done_to < store_epoch(j->store); budget--) {
        j->done_to++;
        ok = store_raw_change(j->store, j->done_to, j->done_to > j->rows_before, put, j);
    }
    return ok;
}

/* The root was changed meanwhile: what is in the file is half under the one before. */
static bool is_of_one_root(const struct backup_job *j, struct refusal *why)
{
    struct store_identity now;

    store_identity(j->store, &now);
    return memcmp(now.root, j->head.identity.root, sizeof now.root) == 0 ||
           refuse(why, "root_changed", "it is made anew, from the first epoch on",
                  "%s: the root key was changed while a backup was made", j->dir);
}

static bool job_end(struct backup_job *j, struct backup_made *made, struct refusal *why)
{
    struct backup_end end = {.to = j->done_to};
    char path[PATH_MAX + BACKUP_NAME_CAP];

    *made = (struct backup_made){.from = j->head.from, .to = j->done_to, .made_unix_s = j->head.made_unix_s};
    if (!store_chain_hash(j->store, j->done_to, end.head) ||
        !backup_writer_end(j->writer, &end, made->sha256, &made->size))
        return job_refuse(j, backup_writer_errno(j->writer), why);
    memcpy(made->head, end.head, sizeof made->head);
    backup_name_print(&j->head, &end, made->name);
    snprintf(path, sizeof path, "%s/%s", j->dir, made->name);
    return rename(j->part, path) == 0 || job_refuse(j, errno, why);
}

enum backup_job_status backup_job_step(struct backup_job *j, uint32_t budget, struct backup_made *made,
                                       struct refusal *why)
{
    bool ok;

    if (!j->rows_done)
        ok = store_raw_rows(j->store, &j->at, budget, &j->rows_done, put, j);
    else if (j->pages_done < store_anchor_pages(j->store))
        ok = step_anchor(j);
    else
        ok = step_changes(j, budget);

    if (!ok) {
        job_refuse(j, backup_writer_errno(j->writer), why);
        return BACKUP_JOB_FAILED;
    }
    if (!j->rows_done || j->pages_done < store_anchor_pages(j->store) || j->done_to < store_epoch(j->store))
        return BACKUP_JOB_MORE;
    return is_of_one_root(j, why) && job_end(j, made, why) ? BACKUP_JOB_DONE : BACKUP_JOB_FAILED;
}

void backup_job_free(struct backup_job *j)
{
    if (j == NULL)
        return;
    backup_writer_free(j->writer);
    if (j->fd >= 0)
        close(j->fd);
    (void)unlink(j->part); /* gone already where the file was finished */
    free(j);
}
