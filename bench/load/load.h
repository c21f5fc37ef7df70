/* When requests are sent, and how long they took: closed loop (as soon as the last reply is there) or open loop (at a
 * constant rate, whatever the server does; latency counts from the intended time, so that a stall is not hidden). */
#ifndef BENCH_LOAD_LOAD_H
#define BENCH_LOAD_LOAD_H

#include "bench/load/hiccup.h"
#include "bench/load/hist.h"
#include "bench/load/session.h"

#define LOAD_LATE_NS 1000000

struct load_config {
    uint32_t connections;
    uint32_t inflight; /* requests outstanding at most, in the closed loop */
    double rate;       /* requests per second; 0 = closed loop */
    bool one_shot;     /* each request on a connection of its own: connect, handshake, request, goodbye */
    double
        background; /* one-shot requests per second beside the load, at random times, counted apart; 0 = none */
    uint64_t seed;  /* of those times */
    int server_cpu; /* open loop: this core is watched for hiccups, too; -1 = none */
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
    /* Open loop: without what was meant to be sent around a hiccup. */
    struct clean_result clean;
    uint64_t sent, late; /* requests, and those that the generator sent more than LOAD_LATE_NS too late */
    uint64_t hiccups, server_hiccups, lost; /* lost: hiccups and samples that had no room */
    bool watched;                           /* the server's core, too */
    uint64_t shake_ns, shakes; /* handshake steps of the generator, since the measured time began */
};

/* false with a line on stderr: the connections could not be made. */
bool load_run(struct session_env *env, const struct load_config *c, struct load_result *out);

#endif
