/* base: the rings between threads, the keyed hash. */
#include "base/audit_ring.h"
#include "base/check.h"
#include "base/flow_hash.h"
#include "base/ring.h"
#include "bench/micro/micro.h"

#define SLOTS 1024

static struct ring ring;
static struct audit_ring *audit;
static struct audit_record record = {.status = 200};
static const struct siphash_key key = {1, 2};
static struct flow_key flow_key;

static void ring_once(void *arg)
{
    CHECK(ring_put(&ring, arg));
    micro_keep((uint64_t)(uintptr_t)ring_get(&ring));
}

static void audit_once(void *arg)
{
    struct audit_record out;
    (void)arg;

    audit_put(audit, &record);
    CHECK(audit_take(audit, &out) == AUDIT_RING_OK);
}

static void hash_flow(void *arg)
{
    micro_keep(flow_hash6(&flow_key, arg, 7));
}

static void hash_path(void *arg)
{
    micro_keep(siphash(&key, span_of(arg, 32)));
}

int main(int argc, char **argv)
{
    static uint64_t words[5] = {1, 2, 3, 4, 5};
    static const uint8_t boot_id[16] = {1};
    struct micro list[] = {
        {"ring: put and get", ring_once, NULL, words},
        {"audit ring: put and take a record", audit_once, NULL, NULL},
        {"flow hash of IPv6", hash_flow, NULL, words},
        {"siphash of a path, 32 bytes", hash_path, NULL, words},
    };
    flow_key_set(&flow_key, &key);
    struct arena *a = arena_new(SLOTS * sizeof(void *) + 4096, false);
    int fd;

    audit = audit_ring_create(SLOTS, 0, boot_id, &fd);
    CHECK(a != NULL && audit != NULL);
    ring_init(&ring, a, SLOTS);
    return micro_main(argc, argv, list, sizeof list / sizeof list[0]);
}
