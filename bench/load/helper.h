/* Handshakes on a thread of their own, which runs only while the loop waits (SCHED_IDLE, same core): a step of a handshake takes hundreds of
 * microseconds, and what is due on established connections, or comes back on them, must not wait for it.
 *
 * A session is with the loop or away with the helper, never both; nothing else is shared. */
#ifndef BENCH_LOAD_HELPER_H
#define BENCH_LOAD_HELPER_H

#include "bench/load/session.h"

#define HELPER_SESSIONS_MAX 512 /* away at once */

struct helper;

/* NULL: no thread.  Runs on the cores of its maker. */
struct helper *helper_new(void);
void helper_give(struct helper *h, struct session *s);
/* One that is back, or NULL. */
struct session *helper_take(struct helper *h);
/* The thread has ended, whatever was away.  CPU time that it used, and steps that it made. */
void helper_free(struct helper *h, uint64_t *used_ns, uint64_t *steps);

#endif
