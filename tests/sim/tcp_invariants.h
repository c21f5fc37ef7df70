/* What must hold of every connection record whenever net has returned, checked from the inside. */
#ifndef TESTS_SIM_TCP_INVARIANTS_H
#define TESTS_SIM_TCP_INVARIANTS_H

#include "dataplane/net/net.h"

/* Fails the running test when a record contradicts itself.  Cost: the whole table. */
void tcp_invariants_check(const struct net *n);
/* ... and, when no connection is left, that every scoreboard has come back. */
void tcp_invariants_check_end(const struct net *n);

#endif
