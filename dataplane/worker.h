/* One worker: one core, one queue of the device, its connections from the first SYN to the last byte of the
 * reply.
 *
 * Everything a worker touches on the request path belongs to it alone; what it shares (key tables, token
 * issuers) it reads under RCU.  The same code runs as a thread over a device (dataplane/main.c) and step by
 * step in the simulator (tests/sim): time is handed in, nothing blocks. */
#ifndef DATAPLANE_WORKER_H
#define DATAPLANE_WORKER_H

#include "base/audit_ring.h"
#include "dataplane/ekm/ekm.h"
#include "dataplane/keys/keys.h"
#include "dataplane/net/net.h"
#include "dataplane/tls/tls.h"
#include "drivers/nic/nic.h"

struct worker;

struct worker_time {
    uint64_t now_us;      /* never goes back */
    uint64_t now_unix_us; /* wall clock */
};

struct worker_config {
    struct nic *nic;
    uint16_t queue; /* of the device; with several workers net.worker, too */
    struct net_config net;
    struct keys *keys;
    struct ekm_auth *auth;
    struct audit_ring *audit;     /* its counters are the worker's */
    uint64_t (*clock_ns)(void *); /* for latencies in audit records; never goes back */
    void *clock_arg;
    uint32_t small_buffers;   /* requests in progress with a body up to HTTP_SMALL_BODY_MAX */
    uint32_t large_buffers;   /* and up to HTTP_BODY_MAX; none left = 503 */
    uint32_t handshake_ms;    /* from SYN-ACK's answer to Finished */
    uint32_t request_idle_ms; /* silence inside a request */
    uint32_t large_rate_min;  /* bytes per second that a large body must keep up after its first second */
    uint32_t linger_ms; /* after a refusal: how long input is discarded so that the peer reads our answer */
    const uint8_t *ticket_secret;  /* of tls_worker_new; outlives worker_new */
    const char *engine;            /* of tls_engine_use; NULL or empty: none */
    const uint8_t *seed_for_tests; /* NULL in production */
    uint32_t misdirect_ppm; /* test builds: frames that are treated as if another worker had received them */
};

void worker_config_defaults(struct worker_config *c);

/* Called on the thread that will run it.  NULL when memory, TLS or entropy cannot be had; a line is logged.
 */
struct worker *MUST_USE worker_new(const struct worker_config *c, uint64_t now_us);
void worker_free(struct worker *w);

/* One turn, every phase with a budget: receive, established requests, handshakes, timers, transmit, quiescent
 * state. True when there was work: an idle worker may sleep until worker_next_timer. */
bool worker_turn(struct worker *w, struct worker_time t);
/* The last turn handled something; one that only waits for room in the device's ring did not, though it may not sleep. */
bool worker_worked(const struct worker *w);
uint64_t worker_next_timer(const struct worker *w);
/* Around a sleep: a sleeping worker delays no revocation. */
void worker_sleeps(struct worker *w);
void worker_wakes(struct worker *w);

/* No new requests: idle connections are closed, the others after their reply.  worker_drained: none are left.
 */
void worker_drain(struct worker *w, uint64_t now_us);
bool worker_drained(const struct worker *w);

/* For the housekeeper: where certificates are published. */
struct tls_worker *worker_tls(struct worker *w);

struct worker_gauges {
    struct net_gauges net;
    uint32_t conns;
    uint32_t small_buffers_used, large_buffers_used;
    uint32_t spare_frames; /* empty, taken from the device for what will be sent */
    size_t memory_bytes;
};
void worker_gauges(const struct worker *w, struct worker_gauges *out);

#endif
