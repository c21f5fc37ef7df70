/* keys: finding a key, wrapping and unwrapping under it; among few keys and among many. */
#include "base/check.h"
#include "base/log.h"
#include "base/secret_priv.h"
#include "bench/micro/micro.h"
#include "dataplane/keys/keys.h"

#include <stdio.h>
#include <string.h>

#define CALLER "service-100200300400@gcp-sa-ekms.iam.gserviceaccount.com"
#define FEW    100
#define MANY   100000

struct house {
    struct counters counters;
    struct keys *keys;
    struct keys_worker *worker;
    size_t count, at;
    uint8_t blob[32 + BLOB_OVERHEAD], plain[32];
    const struct key *key;
};

static void path_write(char path[64], size_t number)
{
    snprintf(path, 64, "v0/project-%zu/location/key-%zu", number % 1000, number);
}

static void stage(struct keys *k, size_t number)
{
    char path[64];
    uint8_t material[KEY_MATERIAL_LEN] = {1};
    struct ctl_key m = {.state = KEY_STATE_ENABLED,
                        .deny_status = 403,
                        .primary_version = 1,
                        .reasons_allowed = UINT32_MAX,
                        .caller_count = 1,
                        .callers = {span_str(CALLER)}};
    struct ctl_key_version v = {.version = 1, .state = KEY_STATE_ENABLED, .tag = {1}};

    path_write(path, number);
    m.path = span_str(path);
    memcpy(m.id, &number, sizeof number);
    m.id[KEY_ID_LEN - 1] = 1;
    memcpy(v.key_id, m.id, KEY_ID_LEN);
    memcpy(material, &number, sizeof number);
    v.material = secret_of(material, sizeof material);
    CHECK(keys_stage_key(k, &m) == 0 && keys_stage_version(k, &v) == 0);
}

static void open_house(struct house *h, size_t count)
{
    uint32_t version;

    h->count = count;
    h->keys = keys_new(
        &(struct keys_config){.keys_max = (uint32_t)count + 16, .versions_max = (uint32_t)count + 16});
    CHECK(h->keys != NULL);
    h->worker = keys_worker_new(h->keys, &h->counters);
    CHECK(h->worker != NULL && keys_begin(h->keys, true, 0, 1) == 0);
    for (size_t i = 0; i < count; i++)
        stage(h->keys, i);
    CHECK(keys_check(h->keys) == 0);
    keys_commit(h->keys);
    do
        keys_quiescent(h->worker);
    while (!keys_settled(h->keys));
    h->key = keys_find(h->worker, span_str("v0/project-7/location/key-7"));
    CHECK(h->key != NULL && keys_wrap(h->worker, h->key, secret_of(h->plain, sizeof h->plain),
                                      span_str("aad"), h->blob, &version) == KEYS_OK);
}

static const struct key *next_key(struct house *h)
{
    char path[64];

    h->at = h->at * 6364136223846793005 + 1442695040888963407;
    path_write(path, (h->at >> 33) % h->count);
    return keys_find(h->worker, span_str(path));
}

static void find_once(void *arg)
{
    struct house *h = arg;

    micro_keep((uint64_t)(uintptr_t)keys_find(h->worker, span_str("v0/project-7/location/key-7")));
}

static void find_any_once(void *arg)
{
    CHECK(next_key(arg) != NULL);
}

static void wrap(struct house *h, const struct key *key)
{
    uint8_t blob[sizeof h->blob];
    uint32_t version;

    CHECK(keys_wrap(h->worker, key, secret_of(h->plain, sizeof h->plain), span_str("aad"), blob, &version) ==
          KEYS_OK);
}

static void wrap_once(void *arg)
{
    wrap(arg, ((struct house *)arg)->key);
}

static void wrap_any_once(void *arg)
{
    wrap(arg, next_key(arg));
}

static void unwrap_once(void *arg)
{
    struct house *h = arg;
    uint32_t version;
    size_t len;

    CHECK(keys_unwrap(h->worker, h->key, span_of(h->blob, sizeof h->blob), span_str("aad"), h->plain, &len,
                      &version) == KEYS_OK);
}

static void quiescent_once(void *arg)
{
    keys_quiescent(((struct house *)arg)->worker);
}

int main(int argc, char **argv)
{
    static struct house few, many;
    struct micro list[] = {
        {"find a key", find_once, NULL, &few},
        {"find any of 100 keys, its path written", find_any_once, NULL, &few},
        {"find any of 100 000 keys, its path written", find_any_once, NULL, &many},
        {"wrap 32 bytes and verify", wrap_once, NULL, &few},
        {"wrap under any of 100 keys", wrap_any_once, NULL, &few},
        {"wrap under any of 100 000 keys", wrap_any_once, NULL, &many},
        {"unwrap 32 bytes", unwrap_once, NULL, &few},
        {"the end of a turn", quiescent_once, NULL, &few},
    };

    log_set_level(LOG_ERROR);
    open_house(&few, FEW);
    open_house(&many, MANY);
    return micro_main(argc, argv, list, sizeof list / sizeof list[0]);
}
