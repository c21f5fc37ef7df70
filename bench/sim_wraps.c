/* sim-wraps N [KEYS [WORKERS]]: N wraps on each worker through the whole dataplane in the simulator, single-threaded and repeatable;
 * something for callgrind to count.  bench/instructions runs it twice and takes the difference.
 *
 * KEYS: so many are there, and each wrap is under one drawn by lot, some that are not counted first; 0: the two of the tests, under the
 * first.  WORKERS: each has a client of its own, and these ask at the same time, so that a worker takes as many turns for a wrap as if it
 * were alone. */
#include "base/secret_priv.h"
#include "tests/sim/worker/claims.h"

#include <valgrind/callgrind.h>

#define KEY_BYTES  400 /* of the ctl messages of one key and its version, at most */
#define DRAW_SEED  UINT64_C(88172645463325252)
#define WARMUP     100 /* wraps before those that are counted */
#define SETTLE_US  20000
#define OPENED_MAX 64 /* connections until each worker has one */

static void path_write(char path[64], size_t number)
{
    snprintf(path, 64, "v0/project-%zu/location/key-%zu", number % 1000, number);
}

static void put_key(struct writer *w, uint64_t epoch, size_t number)
{
    uint8_t material[KEY_MATERIAL_LEN];
    char path[64];
    struct ctl_key k = {.state = KEY_STATE_ENABLED,
                        .deny_status = 403,
                        .primary_version = 1,
                        .reasons_allowed = ACCESS_REASONS_ALL,
                        .caller_count = 1,
                        .callers = {span_str(RIG_CALLER)}};
    struct ctl_key_version v = {.version = 1, .state = KEY_STATE_ENABLED, .tag = {1}};

    path_write(path, number);
    k.path = span_str(path);
    memcpy(k.id, &number, sizeof number);
    k.id[KEY_ID_LEN - 1] = 1;
    memcpy(v.key_id, k.id, KEY_ID_LEN);
    memset(material, (int)(number % 251), sizeof material);
    memcpy(material, &number, sizeof number);
    v.material = secret_of(material, sizeof material);
    ctl_write_key(w, 0, epoch, &k);
    ctl_write_key_version(w, 0, epoch, &v);
}

static struct rig *rig_with(size_t keys, uint16_t workers)
{
    struct rig_options o;

    rig_options_defaults(&o);
    o.workers = workers;
    if (keys == 0)
        return rig_new(&o);
    o.keys_max = (uint32_t)keys + 16;
    o.versions_max = (uint32_t)keys + 16;
    o.ctl_bytes_max = (keys + 16) * KEY_BYTES;
    o.no_keys = true;
    struct rig *r = rig_new(&o);
    struct writer *w = rig_ctl_begin(r, true);
    for (size_t i = 0; i < keys; i++)
        put_key(w, rig_epoch(r) + 1, i);
    rig_ctl_count(r, (uint32_t)(2 * keys));
    rig_put_trust(r);
    rig_put_certificate(r);
    rig_ctl_end(r);
    assert_true(rig_until(r, rig_acked, r));
    return r;
}

/* A client of each worker's. */
static void open_clients(struct rig *r, uint16_t workers, struct client **out)
{
    uint16_t found = 0;

    for (int i = 0; i < OPENED_MAX && found < workers; i++) {
        uint64_t before[RIG_WORKERS_MAX];
        for (uint16_t n = 0; n < workers; n++)
            before[n] = rig_counted_by(r, n, REASON_TLS_HANDSHAKE_OK);
        struct client *c = shaken(r);
        rig_run(r, SETTLE_US); /* its Finished is on its way */
        for (uint16_t n = 0; n < workers; n++) {
            if (out[n] == NULL && rig_counted_by(r, n, REASON_TLS_HANDSHAKE_OK) != before[n]) {
                out[n] = c;
                found++;
            }
        }
    }
    assert_int_equal(found, workers);
}

static void target_write(char target[80], size_t keys, uint64_t *draw)
{
    char path[64] = RIG_KEY_A;

    *draw ^= *draw << 13;
    *draw ^= *draw >> 7;
    *draw ^= *draw << 17;
    if (keys != 0)
        path_write(path, *draw % keys);
    snprintf(target, 80, "%s:wrap", path);
}

static void wrap_on_each(struct client **c, uint16_t workers, size_t keys, uint64_t *draw)
{
    char target[80];

    for (uint16_t n = 0; n < workers; n++) {
        target_write(target, keys, draw);
        client_post(c[n], target, WRAP_HELLO);
    }
    for (uint16_t n = 0; n < workers; n++) {
        if (!client_replied(c[n])) /* looked at first: a step more would be a turn more of every worker */
            expect_status(c[n], 200);
        assert_int_equal(c[n]->status, 200);
        client_next(c[n]);
    }
}

int main(int argc, char **argv)
{
    int wraps = argc >= 2 ? atoi(argv[1]) : 0, keys = argc >= 3 ? atoi(argv[2]) : 0,
        workers = argc >= 4 ? atoi(argv[3]) : 1;
    struct client *clients[RIG_WORKERS_MAX] = {NULL};
    uint64_t draw = DRAW_SEED;
    struct audit_record a;

    if (wraps <= 0 || keys < 0 || workers <= 0 || workers > RIG_WORKERS_MAX) {
        fprintf(stderr, "usage: sim-wraps N [KEYS [WORKERS]]\n");
        return 2;
    }
    log_set_level(LOG_ERROR);
    struct rig *r = rig_with((size_t)keys, (uint16_t)workers);
    open_clients(r, (uint16_t)workers, clients);
    for (int i = -(keys == 0 ? 0 : WARMUP); i < wraps; i++) {
        if (i == 0) {
            rig_worker_ns = 0;
            CALLGRIND_START_INSTRUMENTATION;
        }
        wrap_on_each(clients, (uint16_t)workers, (size_t)keys, &draw);
        while (rig_audit(r, &a))
            continue;
    }
    CALLGRIND_STOP_INSTRUMENTATION;
    uint64_t counted = (uint64_t)wraps * (uint64_t)workers;
    printf("%llu wraps answered 200, %.1f ns each in the worker\n", (unsigned long long)counted,
           (double)rig_worker_ns / (double)counted);
    return 0;
}
