/* restore-keys [KEYS] [DIR]: how long a backup of many keys takes, there and back.
 *
 *   backup   a full file of KEYS keys, each made and enabled by changes of its own, to an age recipient
 *   restore  a store made again from that file: chain walked, every row compared, every version opened
 *
 * One line per figure.  What is made on DIR is removed. */
#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "ctrl/backup/backup_job.h"
#include "ctrl/backup/restore.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define STEP 500

static char dir[200], file[220], again[220];
static struct mbed_rng *rng;
static uint8_t *srk;
static uint8_t (*identity)[AGE_KEY_LEN];

static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Of this process: what a busy machine does not change. */
static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static void fail(const struct refusal *why)
{
    fprintf(stderr, "%s: %s\n", why->code, why->text);
    exit(1);
}

static struct custody *make_store(size_t keys)
{
    struct refusal why;
    char path[64];
    struct store *s = store_open(file, CTRL_SHARD, true, rng, &why);
    struct custody *c = s == NULL ? NULL : custody_open(s, rng, srk, &why);

    if (c == NULL)
        fail(&why);
    for (size_t i = 0; i < keys; i++) {
        snprintf(path, sizeof path, "v0/bench/key%zu", i);
        if (!custody_create(c, path, &why))
            fail(&why);
        if (i % 1024 == 0)
            custody_tick(c);
    }
    return c;
}

static void bench_backup(struct custody *c)
{
    struct age_recipient to = age_recipient_of(rng, *identity);
    enum backup_job_status s = BACKUP_JOB_MORE;
    struct backup_made made;
    struct refusal why;
    double longest = 0, at = now_s(), cpu = cpu_s();
    struct backup_job *j = backup_job_new(custody_store(c), rng, dir, &to, 1, 1, 1900000000, &why);

    if (j == NULL)
        fail(&why);
    while (s == BACKUP_JOB_MORE) {
        double step = now_s();

        s = backup_job_step(j, STEP, &made, &why);
        longest = now_s() - step > longest ? now_s() - step : longest;
    }
    if (s != BACKUP_JOB_DONE)
        fail(&why);
    backup_job_free(j);
    printf("full backup: %.2f s (CPU %.2f s), %.1f MB, longest step %.1f ms\n", now_s() - at, cpu_s() - cpu,
           (double)made.size / 1e6, longest * 1e3);
}

static bool know_root(void *ctx, struct store *s, uint8_t *out, struct refusal *why)
{
    (void)ctx;
    (void)s;
    (void)why;
    memcpy(out, srk, SEAL_SRK_LEN);
    return true;
}

static void bench_restore(void)
{
    struct restore_source from = {.dir = dir, .identities = identity, .identity_count = 1};
    struct restore_root root = {.open = know_root};
    static struct restore_report r;
    struct refusal why;
    double at = now_s(), cpu = cpu_s();

    if (!restore_build(again, rng, &from, &root, &r, &why))
        fail(&why);
    printf("restore: %.2f s (CPU %.2f s), %llu keys, %llu versions, epoch %llu\n", now_s() - at,
           cpu_s() - cpu, (unsigned long long)r.keys, (unsigned long long)r.versions,
           (unsigned long long)r.epoch);
}

int main(int argc, char **argv)
{
    size_t keys = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;

    log_set_level(LOG_ERROR);
    snprintf(dir, sizeof dir, "%.170s/restore-keys.XXXXXX", argc > 2 ? argv[2] : "/dev/shm");
    CHECK(mkdtemp(dir) != NULL);
    snprintf(file, sizeof file, "%s/store.db", dir);
    snprintf(again, sizeof again, "%s/again.db", dir);
    rng = mbed_rng_new();
    srk = secret_pages_alloc(SEAL_SRK_LEN);
    identity = secret_pages_alloc(AGE_KEY_LEN);
    CHECK(rng != NULL && srk != NULL && identity != NULL);
    mbed_random(rng, srk, SEAL_SRK_LEN);
    age_identity_new(rng, *identity);
    struct custody *c = make_store(keys);
    bench_backup(c);
    custody_close(c);
    bench_restore();
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    secret_pages_free(identity, AGE_KEY_LEN);
    secret_pages_free(srk, SEAL_SRK_LEN);
    mbed_rng_free(rng);
    return 0;
}
