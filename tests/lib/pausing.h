/* What the pausing provider and the pausing engine have in common: an ECDSA signature inside a job of OpenSSL's waits at a gate, as one
 * does that is made by a device.  They are shared objects; whoever tests with one opens it, too, and finds pausing_gate in it. */
#ifndef TESTS_LIB_PAUSING_H
#define TESTS_LIB_PAUSING_H

#include <openssl/async.h>
#include <stdatomic.h>

struct pausing_gate {
    _Atomic int open;     /* signatures pass */
    _Atomic int arrived;  /* ... that came to the gate inside a job */
    _Atomic int passed;   /* ... and went on */
    _Atomic int resumed;  /* looks at a closed gate, after the first */
    _Atomic int outright; /* signatures outside of any job: they do not wait */
};

#ifdef PAUSING_INSIDE
__attribute__((visibility("default"))) struct pausing_gate pausing_gate;

static void pausing_wait(void)
{
    if (ASYNC_get_current_job() == NULL) {
        pausing_gate.outright++;
        return;
    }
    pausing_gate.arrived++;
    while (!pausing_gate.open) {
        (void)ASYNC_pause_job();
        pausing_gate.resumed++;
    }
    pausing_gate.passed++;
}
#endif

#endif
