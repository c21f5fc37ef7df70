/* A thread that wakes every half millisecond on the server's core, before everything else there, and notes when it came late: for as long
 * nobody had that core.  It costs the server two parts in a hundred, whoever the server is. */
#ifndef BENCH_LOAD_WATCH_H
#define BENCH_LOAD_WATCH_H

#include "bench/load/hiccup.h"

struct watch;

/* NULL: the thread may not have its core or its priority. */
struct watch *watch_new(int cpu, struct hiccups *found);
/* The thread has ended; found is complete. */
void watch_free(struct watch *w);

#endif
