/* sim-wraps N: one client wraps N times through the whole worker in the simulator, single-threaded and repeatable; something for callgrind
 * to count.  bench/instructions runs it twice and takes the difference. */
#include "tests/sim/worker/claims.h"

int main(int argc, char **argv)
{
    int wraps = argc == 2 ? atoi(argv[1]) : 0;
    struct audit_record a;

    if (wraps <= 0) {
        fprintf(stderr, "usage: sim-wraps N\n");
        return 2;
    }
    log_set_level(LOG_ERROR);
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    for (int i = 0; i < wraps; i++) {
        free(wrapped(c, RIG_KEY_A ":wrap", WRAP_HELLO));
        while (rig_audit(r, &a))
            continue;
    }
    printf("%llu wraps answered 200\n", (unsigned long long)rig_counted(r, REASON_EKM_WRAP_OK));
    return 0;
}
