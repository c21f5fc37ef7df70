#include "tests/unit/ctrl/rig.h"

#include "base/log.h"
#include "base/secret.h"
#include "drivers/seal/seal.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int setup_in(const char *parent, void **state)
{
    struct rig *g = calloc(1, sizeof *g);

    assert_non_null(g);
    log_set_level(LOG_ERROR + 1);
    snprintf(g->dir, sizeof g->dir, "%s/ww-ctrl-test.XXXXXX", parent);
    assert_non_null(mkdtemp(g->dir));
    snprintf(g->store_file, sizeof g->store_file, "%s/store.db", g->dir);
    g->rng = mbed_rng_new();
    assert_non_null(g->rng);
    g->srk = secret_pages_alloc(SEAL_SRK_LEN);
    assert_non_null(g->srk);
    rig_refill(g);
    *state = g;
    return 0;
}

int rig_setup(void **state)
{
    return setup_in("/tmp", state);
}

int rig_setup_in_memory(void **state)
{
    return setup_in(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", state);
}

void rig_refill(struct rig *g)
{
    memset(g->srk, 0x5a, SEAL_SRK_LEN);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

int rig_teardown(void **state)
{
    struct rig *g = *state;

    nftw(g->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    secret_pages_free(g->srk, SEAL_SRK_LEN);
    mbed_rng_free(g->rng);
    free(g);
    return 0;
}

static void to_level(struct custody *c, const char *level)
{
    struct refusal ignored;
    bool already;

    if (custody_set_level(c, (uint8_t)atoi(level), &already, &ignored))
        (void)!store_compact(custody_store(c), &ignored);
}

struct custody *rig_custody(struct rig *g)
{
    struct store *s = store_open(g->store_file, CTRL_SHARD, true, g->rng, &g->why);
    struct custody *c = s == NULL ? NULL : custody_open(s, g->rng, g->srk, &g->why);
    const char *level = getenv("WW_TEST_LEVEL");

    if (c != NULL && level != NULL)
        to_level(c, level);
    return c;
}

struct custody *rig_custody_ok(struct rig *g)
{
    struct custody *c = rig_custody(g);

    if (c == NULL)
        fail_msg("%s: %s", g->why.code, g->why.text);
    return c;
}

struct clock_reading rig_clock_read(void *ctx)
{
    struct rig_clock *k = ctx;

    return k->at;
}

void rig_clock_pass(struct rig_clock *k, int64_t seconds)
{
    k->at.unix_s += seconds;
    k->at.boot_ms += (uint64_t)seconds * 1000;
}

void rig_clock_jump(struct rig_clock *k, int64_t seconds)
{
    k->at.unix_s += seconds;
}

void rig_clock_reboot(struct rig_clock *k, int64_t off_s)
{
    k->at.unix_s += off_s;
    k->at.boot_ms = 10000;
    k->at.boot_id[0]++;
}

struct custody *rig_custody_at(struct rig *g, struct rig_clock *k)
{
    struct custody *c = rig_custody_ok(g);

    custody_set_clock(c, rig_clock_read, k);
    return c;
}

const struct key_record *rig_key(const struct custody *c, const char *path)
{
    return registry_by_path(custody_registry(c), span_str(path));
}

uint64_t rig_random(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

void rig_path(const struct rig *g, const char *name, char *out, size_t cap)
{
    snprintf(out, cap, "%s/%s", g->dir, name);
}

void rig_write(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}
