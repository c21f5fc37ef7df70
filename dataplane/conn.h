/* One connection as its worker sees it: TCP below, then TLS, then one HTTP request after the other. */
#ifndef DATAPLANE_CONN_H
#define DATAPLANE_CONN_H

#include "base/arena.h"
#include "base/audit_ring.h"
#include "dataplane/ekm/ekm.h"
#include "dataplane/net/net.h"
#include "dataplane/tls/tls.h"
#include "proto/http.h"

/* A request buffer holds the head and the body behind it; its reply lies in the same object, behind both. */
#define CONN_SMALL_IN     (HTTP_HEAD_MAX + HTTP_SMALL_BODY_MAX)
#define CONN_SMALL_OUT    EKM_REPLY_CAP(HTTP_SMALL_BODY_MAX)
#define CONN_SMALL_OBJECT (sizeof(struct conn_request) + CONN_SMALL_IN + CONN_SMALL_OUT)
#define CONN_LARGE_IN     (HTTP_HEAD_MAX + HTTP_BODY_MAX)
#define CONN_LARGE_OUT    EKM_REPLY_CAP(HTTP_BODY_MAX)
#define CONN_LARGE_OBJECT (sizeof(struct conn_request) + CONN_LARGE_IN + CONN_LARGE_OUT)

enum conn_phase {
    CONN_HANDSHAKE,
    CONN_HEAD, /* waiting for, or reading, a request's head */
    CONN_BODY,
    CONN_REPLY,  /* a reply waits for room in the send buffer */
    CONN_LINGER, /* our last words and FIN are on their way, input is discarded */
    CONN_DEAD,   /* to be freed at the end of this step */
};

enum conn_queue { CONN_QUEUE_NONE, CONN_QUEUE_HANDSHAKE, CONN_QUEUE_WAITING, CONN_QUEUE_READY };

/* What is known of the request in progress: the front of its buffer, which the request before it left in the cache. */
struct conn_request {
    size_t in_len; /* bytes of head, body and whatever is pipelined behind */
    size_t in_cap;
    size_t body_len; /* of this request, so far (chunked: decoded) */
    size_t out_len, out_at;
    bool large;          /* which slab it came from */
    bool continued;      /* 100 Continue was sent for this request */
    uint64_t started_us; /* first byte of this request */
    uint64_t last_rx_us; /* last byte of it */
    uint64_t arrived_ns; /* when its last byte was seen */
    struct http_request head;
    struct http_chunked chunked;
    uint8_t in[]; /* in_cap bytes, and behind them the reply */
};

/* While it is at rest a connection has two cache lines here, of which a request touches one. */
struct conn {
    struct conn *next, *prev; /* in the queue it waits in */
    struct conn_env *env;
    struct net_conn *net;
    struct tls_conn *tls;
    struct conn_request *rq; /* NULL between requests */
    uint8_t phase;           /* enum conn_phase */
    uint8_t queue;           /* enum conn_queue */
    bool peer_fin;           /* nothing more will come */
    bool close_after;        /* the reply in progress is the last one */
    struct conn *all_next, *all_prev;
};
_Static_assert(offsetof(struct conn, all_next) <= 64, "what a request touches is one cache line");

/* What connections of one worker share. */
struct conn_env {
    struct counters *counters;
    struct audit_ring *audit;
    struct tls_worker *tls;
    struct ekm_worker *ekm;
    struct slab conns, small, large;
    uint64_t now_us, now_unix_us; /* of this turn */
    uint64_t (*clock_ns)(void *);
    void *clock_arg;
    uint32_t handshake_ms, request_idle_ms, large_rate_min, linger_ms;
    bool draining;
};

/* A connection that TCP has established: NULL when no record or no TLS identity is to be had (the caller
 * aborts it). */
struct conn *MUST_USE conn_open(struct conn_env *env, struct net_conn *net);

/* Goes as far as its bytes allow, at most one request and at most one slice of a handshake.  True when it could go on without more input
 * (a pipelined request is there, its handshake has another slice, or waits for the crypto engine): the caller queues it again. */
bool MUST_USE conn_step(struct conn *c);
/* It is in a queue, and will be stepped after others. */
static inline void conn_soon(const struct conn *c)
{
    __builtin_prefetch(c->tls);
}
/* It is the next one to be stepped. */
static inline void conn_next(const struct conn *c)
{
    tls_prefetch(c->tls);
}
/* TCP said that the deadline has come. */
void conn_deadline(struct conn *c);
/* The worker drains: close now if no request is in progress. */
void conn_drain(struct conn *c);
/* Lets go of TLS, buffers (wiped) and the TCP connection. */
void conn_release(struct conn *c);

#endif
