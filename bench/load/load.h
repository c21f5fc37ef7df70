/* When requests are sent, and how long they took: closed loop (as soon as the last reply is there) or open loop (at a
 * constant rate, whatever the server does; latency counts from the intended time, so that a stall is not hidden). */
#ifndef BENCH_LOAD_LOAD_H
#define BENCH_LOAD_LOAD_H

#include "bench/load/hist.h"
#include "bench/load/session.h"

struct load_config {
    uint32_t connections;
    uint32_t inflight; /* requests outstanding at most, in the closed loop */
    double rate;       /* requests per second; 0 = closed loop */
    bool one_shot;     /* each request on a connection of its own: connect, handshake, request, goodbye */
    double background; /* one-shot requests per second beside the load, counted apart; 0 = none */
    double warmup_s, seconds;
    bool announce; /* "begin" and "end" on stdout when the measured time begins and ends */
    bool wait;  /* "ready" on stdout when the connections are there, and no request before a line on stdin */
    bool quiet; /* no progress line */
};

struct load_result {
    double seconds; /* measured */
    uint64_t done, errors;
    uint64_t
        unfinished; /* due in the measured time and not answered in it: their time so far is in latency */
    uint64_t bytes_in, bytes_out;
    uint64_t again, dropped; /* by our end, where it is ours: segments sent again, and lost */
    double ramp_s;           /* until every connection was there */
    struct hist latency;     /* ns */
    uint64_t background_done, background_errors;
    struct hist background_latency;
};

/* false with a line on stderr: the connections could not be made. */
bool load_run(struct session_env *env, const struct load_config *c, struct load_result *out);

#endif
