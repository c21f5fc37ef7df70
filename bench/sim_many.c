/* sim-many CONNECTIONS ROUNDS: so many connections ask in turn, BURST at a time, each once a round, so that what one of them needs has
 * mostly left the processor's cache when it asks again.  For callgrind's cache simulation (bench/misses). */
#include "base/secret_priv.h"
#include "tests/sim/worker/claims.h"

#include <valgrind/callgrind.h>

#define BURST  16
#define WARMUP 2 /* rounds before those that are counted */

static bool all_replied(void *clients)
{
    struct client **c = clients;

    for (int i = 0; i < BURST; i++)
        if (!client_replied(c[i]))
            return false;
    return true;
}

static void ask_each(struct rig *r, struct client **c)
{
    struct audit_record a;

    for (int i = 0; i < BURST; i++)
        client_post(c[i], RIG_KEY_A ":wrap", WRAP_HELLO);
    assert_true(rig_until(r, all_replied, c));
    for (int i = 0; i < BURST; i++) {
        assert_int_equal(c[i]->status, 200);
        client_next(c[i]);
    }
    while (rig_audit(r, &a))
        continue;
}

int main(int argc, char **argv)
{
    int connections = argc == 3 ? atoi(argv[1]) : 0, rounds = argc == 3 ? atoi(argv[2]) : 0;
    static struct client *clients[RIG_CLIENTS_MAX];
    struct rig_options o;

    if (connections <= 0 || connections > RIG_CLIENTS_MAX || connections % BURST != 0 || rounds <= 0) {
        fprintf(stderr, "usage: sim-many CONNECTIONS ROUNDS: at most %d, %d at a time\n", RIG_CLIENTS_MAX,
                BURST);
        return 2;
    }
    log_set_level(LOG_ERROR);
    rig_options_defaults(&o);
    o.conns_max = 2 * RIG_CLIENTS_MAX;
    o.small_buffers = o.large_buffers = o.conns_max;
    struct rig *r = rig_new(&o);
    for (int i = 0; i < connections; i++)
        clients[i] = shaken(r);
    for (int n = -WARMUP; n < rounds; n++) {
        if (n == 0) {
            rig_worker_ns = 0;
            CALLGRIND_START_INSTRUMENTATION;
        }
        for (int i = 0; i < connections; i += BURST)
            ask_each(r, clients + i);
    }
    CALLGRIND_STOP_INSTRUMENTATION;
    printf("%d wraps answered 200, %.1f ns each in the worker\n", connections * rounds,
           (double)rig_worker_ns / connections / rounds);
    return 0;
}
