/* key-scale [VERSIONS] [CREATES] [DIR]: what many keys cost.
 *
 *   create  CREATES keys through custody on DIR (a disk), each committed and synced twice before it is acknowledged
 *   load    a store of VERSIONS key versions, two per key, made on DIR, opened as at a start, and given a new root key
 *   room    the same number in the dataplane's tables: memory each, one change until no worker can hold the old
 *
 * One line per figure.  The stores are removed. */
#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/secret_priv.h"
#include "ctrl/keys/custody.h"
#include "dataplane/keys/keys.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define VERSIONS_EACH 2
#define CHANGES       200

static char dir[200], file[256];
static struct mbed_rng *rng;
static uint8_t *srk;

static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void print_percentiles(const char *what, double *s, size_t count)
{
    qsort(s, count, sizeof *s, by_size);
    printf("%s: p50 %.3f ms, p99 %.3f ms, n %zu\n", what, s[count / 2] * 1e3, s[count * 99 / 100] * 1e3,
           count);
}

/* VmRSS, MiB. */
static double resident_mib(void)
{
    unsigned long size, pages;
    FILE *f = fopen("/proc/self/statm", "r");

    CHECK(f != NULL && fscanf(f, "%lu %lu", &size, &pages) == 2);
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
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

static struct custody *open_custody(void)
{
    struct refusal why;
    struct store *s = store_open(file, CTRL_SHARD, true, rng, &why);
    struct custody *c = s == NULL ? NULL : custody_open(s, rng, srk, &why);

    if (c == NULL)
        fail(&why);
    return c;
}

static void bench_create(size_t count)
{
    double *took = calloc(count, sizeof *took);
    struct refusal why;
    char path[64];

    snprintf(file, sizeof file, "%s/create.db", dir);
    struct custody *c = open_custody();
    CHECK(took != NULL);
    for (size_t i = 0; i < count; i++) {
        double at = now_s();

        snprintf(path, sizeof path, "v0/bench/key%zu", i);
        if (!custody_create(c, path, &why))
            fail(&why);
        took[i] = now_s() - at;
        custody_tick(c);
    }
    print_percentiles("create and durable acknowledgement", took, count);
    custody_close(c);
    free(took);
}

static bool pass_over(void *ctx, const struct store_row *row)
{
    (void)ctx;
    (void)row;
    return true;
}

static void put_key(struct store *s, struct mbed_aead *kek, size_t number)
{
    uint8_t body[STORE_BODY_MAX], id[KEY_ID_LEN], material[KEY_MATERIAL_LEN];
    char path[64];

    mbed_random(rng, id, sizeof id);
    snprintf(path, sizeof path, "v0/project-%zu/location/key-%zu", number % 1000, number);
    struct key_record *r = record_new(id, path);
    r->life.state = KEY_STATE_ENABLED;
    r->primary = VERSIONS_EACH;
    store_put(s, STORE_KEY, id, 0, span_of(body, record_key_encode(r, body)));
    store_put(s, STORE_POLICY, id, 0, span_of(body, record_policy_encode(&r->policy, body)));
    for (uint32_t n = 1; n <= VERSIONS_EACH; n++) {
        struct key_version v = {.number = n, .life.state = KEY_STATE_ENABLED, .created_unix_s = 1700000000};

        mbed_random(rng, v.tag, sizeof v.tag);
        mbed_random(rng, material, sizeof material);
        record_material_wrap(kek, rng, CTRL_SHARD, r, &v, span_of(material, sizeof material));
        store_put(s, STORE_VERSION, id, n, span_of(body, record_version_encode(r, &v, body)));
    }
    record_unref(r);
}

/* Rows as custody writes them, several keys to a change so that it does not take hours. */
static void fill_store(size_t keys)
{
    uint8_t kek_bytes[MBED_KEY_LEN];
    struct refusal why;
    struct store *s = store_open(file, CTRL_SHARD, true, rng, &why);

    if (s == NULL || !store_unlock(s, srk, pass_over, NULL, &why))
        fail(&why);
    store_derive(srk, "key encryption key", CTRL_SHARD, kek_bytes);
    struct mbed_aead *kek = mbed_aead_new(kek_bytes);
    CHECK(kek != NULL);
    for (size_t at = 0; at < keys;) {
        store_begin(s);
        for (size_t rows = 0; rows + 2 + VERSIONS_EACH <= STORE_WRITES_MAX && at < keys;
             rows += 2 + VERSIONS_EACH)
            put_key(s, kek, at++);
        if (!store_commit(s, &why))
            fail(&why);
        (void)store_checkpoint(s, false);
    }
    mbed_aead_free(kek);
    store_close(s);
}

static void bench_reroot(struct custody *c)
{
    static const struct slots none;
    struct refusal why;
    double at = now_s();

    mbed_random(rng, srk, 32);
    if (!custody_reroot(c, srk, &none, &why))
        fail(&why);
    printf("a new root key for all of it: %.2f s\n", now_s() - at);
}

static void bench_load(size_t versions)
{
    snprintf(file, sizeof file, "%s/load.db", dir);
    fill_store(versions / VERSIONS_EACH);
    double before = resident_mib(), at = now_s();
    struct custody *c = open_custody();
    printf("ww-ctrl opens a store of %zu key versions (%zu keys): %.2f s, %.0f MiB more\n", versions,
           registry_count(custody_registry(c)), now_s() - at, resident_mib() - before);
    bench_reroot(c);
    custody_close(c);
}

/* ---- the dataplane's room ---- */

static void stage(struct keys *k, size_t number, bool with_versions)
{
    char path[64];
    uint8_t material[KEY_MATERIAL_LEN];
    struct ctl_key m = {.state = KEY_STATE_ENABLED,
                        .deny_status = 403,
                        .primary_version = VERSIONS_EACH,
                        .reasons_allowed = UINT32_MAX,
                        .caller_count = 1,
                        .callers = {span_str("service-100200300400@gcp-sa-ekms.iam.gserviceaccount.com")}};

    snprintf(path, sizeof path, "v0/project-%zu/location/key-%zu", number % 1000, number);
    m.path = span_str(path);
    memcpy(m.id, &number, sizeof number);
    m.id[KEY_ID_LEN - 1] = 1;
    CHECK(keys_stage_key(k, &m) == 0);
    for (uint32_t n = 1; with_versions && n <= VERSIONS_EACH; n++) {
        struct ctl_key_version v = {.version = n, .state = KEY_STATE_ENABLED, .tag = {(uint8_t)n}};

        memcpy(v.key_id, m.id, KEY_ID_LEN);
        mbed_random(rng, material, sizeof material);
        v.material = secret_of(material, sizeof material);
        CHECK(keys_stage_version(k, &v) == 0);
    }
}

static void commit(struct keys *k, struct keys_worker *w)
{
    CHECK(keys_check(k) == 0);
    keys_commit(k);
    do {
        keys_quiescent(w);
    } while (!keys_settled(k));
}

static void bench_room(size_t versions)
{
    static struct counters counters;
    size_t keys = versions / VERSIONS_EACH;
    double before = resident_mib(), *took = calloc(CHANGES, sizeof *took);
    struct keys_gauges g;
    struct keys *k =
        keys_new(&(struct keys_config){.keys_max = (uint32_t)keys, .versions_max = (uint32_t)versions});

    CHECK(k != NULL && took != NULL);
    struct keys_worker *w = keys_worker_new(k, &counters);
    CHECK(w != NULL);
    double at = now_s();
    CHECK(keys_begin(k, true, 0, 1) == 0);
    for (size_t i = 0; i < keys; i++)
        stage(k, i, true);
    commit(k, w);
    double loaded = now_s() - at;
    keys_gauges(k, &g);
    printf("the dataplane holds %u key versions (%u keys): %.0f bytes each as counted, %.0f resident; taken "
           "in %.2f s\n",
           g.versions, g.keys, (double)g.memory_bytes / g.versions,
           (resident_mib() - before) * (1 << 20) / g.versions, loaded);
    for (size_t i = 0; i < CHANGES; i++) {
        at = now_s();
        CHECK(keys_begin(k, false, 1 + i, 2 + i) == 0);
        stage(k, i * 7919 % keys, false);
        commit(k, w);
        took[i] = now_s() - at;
    }
    print_percentiles("one key changed among them, until nothing older is held", took, CHANGES);
    keys_worker_free(w);
    keys_free(k);
    free(took);
}

int main(int argc, char **argv)
{
    size_t versions = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    size_t creates = argc > 2 ? strtoul(argv[2], NULL, 10) : 2000;

    log_set_level(LOG_ERROR);
    snprintf(dir, sizeof dir, "%s/ww-key-scale.XXXXXX", argc > 3 ? argv[3] : "/tmp");
    CHECK(versions >= 2 && creates >= 1 && mkdtemp(dir) != NULL);
    rng = mbed_rng_new();
    srk = secret_pages_alloc(32);
    CHECK(rng != NULL && srk != NULL);
    mbed_random(rng, srk, 32);
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_create(creates);
    bench_load(versions);
    bench_room(versions);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}
