/* One ww-fetch and what it is doing: ctrl's end of a lane to a sink.
 *
 * A lane does one thing at a time and never blocks: start, then poll until it is done.  A child that is not done by its
 * deadline is killed, and the next start makes another. */
#ifndef CTRL_BACKUP_SINK_H
#define CTRL_BACKUP_SINK_H

#include "ctrl/fetch/wire.h"
#include "ctrl/lib/refusal.h"
#include "proto/config.h"

struct sink_lane;

/* epoll_fd: where its socket is announced while a child lives; -1: nowhere. */
struct sink_lane *MUST_USE sink_lane_new(const char *program, int epoll_fd);
void sink_lane_free(struct sink_lane *l);

/* A request for that sink, without name and operation. */
struct fetch_request sink_request(const struct config_sink *c, enum fetch_operation op, const char *name);

bool sink_lane_is_idle(const struct sink_lane *l);
/* fd (-1: none) is taken over.  A child that does not start is told by the next poll. */
void sink_lane_start(struct sink_lane *l, const struct fetch_request *r, int fd, uint64_t now_ms,
                     uint64_t deadline_ms);
/* true: it is done, idle again, and *out has the outcome. */
bool MUST_USE sink_lane_poll(struct sink_lane *l, uint64_t now_ms, struct fetch_reply *out);

/* Start, and wait for the end: for programs that do nothing else.  false: why. */
bool MUST_USE sink_ask(const char *program, const struct fetch_request *r, int fd, struct fetch_reply *out,
                       struct refusal *why);

/* Where ww-fetch is: beside this program, as installed or as built. */
const char *sink_program(void);

#endif
