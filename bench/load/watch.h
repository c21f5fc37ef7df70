/* A thread that wakes every half millisecond on the server's core, before everything else there, and notes when it came late: for as long
 * nobody had that core.  And it looks how long the server's thread has waited for its core (schedstat): somebody else had it.  It costs the server two parts in a hundred, whoever the server is. */
#ifndef BENCH_LOAD_WATCH_H
#define BENCH_LOAD_WATCH_H

#include "bench/load/hiccup.h"

struct watch;

/* NULL: the thread may not have its core or its priority.  schedstat: /proc/PID/task/TID/schedstat of the server's thread; "" = none. */
struct watch *watch_new(int cpu, const char *schedstat, struct hiccups *found);
/* The time that a thread has waited for a core, out of the text of its schedstat. */
uint64_t watch_waited_ns(const char *schedstat);
/* The thread has ended; found is complete. */
void watch_free(struct watch *w);

#endif
