/* A script at one moment, to which it can be brought back thousands of times a second: the arena's pages are
 * mapped again from a copy, only those that were written to since cost anything. */
#ifndef TESTS_SIM_SNAPSHOT_H
#define TESTS_SIM_SNAPSHOT_H

#include "tests/sim/tcp_script.h"

struct snapshot;

/* t and its arena must live as long as the snapshot.  What is in the queue of sent segments is forgotten. */
struct snapshot *snapshot_take(struct script *t);
void snapshot_restore(const struct snapshot *s);
/* The script stays as it is. */
void snapshot_free(struct snapshot *s);

#endif
