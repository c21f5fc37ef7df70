/* sim-handshakes N: N full handshakes through the whole dataplane in the simulator, each on a connection of its own that then ends; something
 * for callgrind to count (bench/instructions --handshakes). */
#include "tests/sim/worker/claims.h"

#include <valgrind/callgrind.h>

#define WARMUP    5
#define SETTLE_US 20000 /* its Finished comes, and its goodbye */

int main(int argc, char **argv)
{
    int handshakes = argc == 2 ? atoi(argv[1]) : 0;

    if (handshakes <= 0 || handshakes > RIG_CLIENTS_MAX - WARMUP) {
        fprintf(stderr, "usage: sim-handshakes N\n");
        return 2;
    }
    log_set_level(LOG_ERROR);
    struct rig *r = new_rig();
    for (int i = -WARMUP; i < handshakes; i++) {
        if (i == 0)
            CALLGRIND_START_INSTRUMENTATION;
        struct client *c = shaken(r);
        rig_run(r, SETTLE_US);
        client_close(c);
        rig_run(r, SETTLE_US);
    }
    CALLGRIND_STOP_INSTRUMENTATION;
    assert_int_equal(rig_counted(r, REASON_TLS_HANDSHAKE_OK), handshakes + WARMUP);
    assert_int_equal(rig_counted(r, REASON_TLS_HANDSHAKE_RESUMED), 0);
    printf("%d full handshakes\n", handshakes);
    return 0;
}
