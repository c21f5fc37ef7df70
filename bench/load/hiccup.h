/* Times at which a core was not ours: the host ran something else, or another thread did.  What was measured then says nothing of a
 * server.  Latencies are kept one by one with the time they were meant to begin, and told twice: all of them, and without those that
 * were meant to begin in or around a hiccup.  Which those are hangs on the intended time alone, never on how long it took. */
#ifndef BENCH_LOAD_HICCUP_H
#define BENCH_LOAD_HICCUP_H

#include "bench/load/hist.h"

#include <stdbool.h>
#include <stddef.h>

#define HICCUP_NS        200000  /* shorter ones cannot be told from the work of a turn, */
#define HICCUP_EACH_NS   15000   /* ... which may be so much for each request sent and each event taken */
#define HICCUP_BEFORE_NS 2000000 /* what was under way when it began */
#define HICCUP_AFTER     4       /* times its length: what was held up, and what waits behind that */

struct hiccup {
    uint64_t from_ns, to_ns;
};

struct hiccups {
    struct hiccup *list;
    size_t count, cap;
    uint64_t lost; /* for want of room: the list says too little */
};

struct sample {
    uint64_t intended_ns, took_ns;
    bool late; /* it was the generator that sent it too late */
};

struct samples {
    struct sample *list;
    size_t count, cap;
    uint64_t lost;
};

struct clean_result {
    struct hist latency;
    uint64_t late;   /* of these */
    double left_out; /* share of the time */
};

bool hiccups_new(struct hiccups *h, size_t cap);
void hiccups_free(struct hiccups *h);
void hiccups_add(struct hiccups *h, uint64_t from_ns, uint64_t to_ns);

bool samples_new(struct samples *s, size_t cap);
void samples_free(struct samples *s);
void samples_add(struct samples *s, uint64_t intended_ns, uint64_t took_ns, bool late);

/* Of the time from begin_ns to end_ns.  Orders both lists and joins their hiccups in a. */
void samples_clean(const struct samples *s, struct hiccups *a, const struct hiccups *b, uint64_t begin_ns,
                   uint64_t end_ns, struct clean_result *out);

#endif
