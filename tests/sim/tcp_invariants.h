/* What must hold of every connection record whenever net has returned, checked from the inside. */
#ifndef TESTS_SIM_TCP_INVARIANTS_H
#define TESTS_SIM_TCP_INVARIANTS_H

#include "dataplane/net/net.h"

/* Fails the running test when a record contradicts itself.  Cost: the whole table. */
void tcp_invariants_check(const struct net *n);
/* ... and, when no connection is left, that every scoreboard has come back. */
void tcp_invariants_check_end(const struct net *n);

/* A number over all that net knows of its connections, what lies in memory where left out: records, scoreboards, what is
 * in the tables, counters, what devices are trusted with. */
uint64_t tcp_digest(const struct net *n);
/* From now on every segment goes the long way, or may go the short one again. */
void tcp_express_set(struct net *n, bool on);
/* Segments that went the short way, or would have. */
uint64_t tcp_express_taken(const struct net *n);

#endif
