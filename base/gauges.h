/* What a worker holds at a moment, beside what has happened to it (reasons.h): the names that `wwctl dataplane
 * stats` prints.  The numbers are not stable across versions, the names are. */
#ifndef BASE_GAUGES_H
#define BASE_GAUGES_H

#define GAUGES(X)                                                                                            \
    X(TCP_HALF_OPEN, "tcp_half_open")       /* remembered SYNs */                                            \
    X(TCP_ESTABLISHED, "tcp_established")   /* connections in that state */                                  \
    X(TCP_TIME_WAIT, "tcp_time_wait")       /* ... */                                                        \
    X(TCP_CONNS, "tcp_conns")               /* in any state, half open ones included */                      \
    X(TCP_RECV_BUFFERS, "tcp_recv_buffers") /* taken from their slab */                                      \
    X(TCP_SEND_BUFFERS, "tcp_send_buffers") /* ... */                                                        \
    X(NEIGHBOURS, "neighbours")             /* next hops known or asked for */                               \
    X(FRAG_DATAGRAMS, "frag_datagrams")     /* in fragments, not yet whole */                                \
    X(CONNS, "conns")                       /* of the worker, TLS and HTTP above them */                     \
    X(TLS_CONNS, "tls_conns")               /* SSL objects */                                                \
    X(SMALL_BUFFERS, "small_buffers")       /* for requests, taken from their slab */                        \
    X(LARGE_BUFFERS, "large_buffers")       /* ... */                                                        \
    X(TX_WAITING, "tx_waiting")             /* frames that the device has not taken yet */

enum gauge {
#define X(id, name) GAUGE_##id,
    GAUGES(X)
#undef X
        GAUGE_COUNT
};

/* g must be below GAUGE_COUNT. */
const char *gauge_name(enum gauge g);

#endif
