/* The housekeeper's half of the ctl socket: takes what ctrl sends, publishes it, acks it.
 *
 * Runs on its own thread, never on a worker; ctl_step never blocks, so the simulator calls it in turn.  One
 * connection at a time, to a Unix socket on which ctrl listens; lost and found again without the workers
 * noticing. */
#ifndef DATAPLANE_CTL_H
#define DATAPLANE_CTL_H

#include "base/audit_ring.h"
#include "dataplane/ekm/ekm.h"
#include "dataplane/keys/keys.h"
#include "dataplane/tls/tls.h"
#include "dataplane/warm.h"

/* How long ctrl is waited for before a warm snapshot is taken: while nobody listens on its socket; while it is connected
 * and sends nothing; while it sends and does not come to an end. */
#define CTL_ABSENT_US 1000000ULL
#define CTL_SILENT_US 5000000ULL
#define CTL_SLOW_US   60000000ULL

struct ctl;

struct ctl_config {
    const char *socket_path;
    uint16_t shard;
    uint8_t boot_id[16];
    struct keys *keys;
    struct ekm_auth *auth;
    uint16_t worker_count;
    struct tls_worker *tls[WORKERS_MAX];
    int audit_fd[WORKERS_MAX]; /* memfds that go with HELLO; stay the caller's */
    struct counters *counters; /* one writer: the thread that calls ctl_step */
    struct warm *warm;         /* NULL: no warm start.  Outlives it */
};

struct ctl *MUST_USE ctl_new(const struct ctl_config *c);
void ctl_free(struct ctl *c);

/* Connects when it is time to, reads what is there, applies, acks.  True when there was work. */
bool ctl_step(struct ctl *c, uint64_t now_us);
/* What to poll(2) for input between steps; -1 while there is no connection. */
int ctl_fd(const struct ctl *c);
/* Where what is served comes from: "none", "warm" or "ctrl". */
const char *ctl_source(const struct ctl *c);
/* A connection to ctrl is open. */
bool ctl_attached(const struct ctl *c);
/* Something is published and waits for its grace period: step again soon. */
bool ctl_settling(const struct ctl *c);

#endif
