/* What a worker, or the housekeeper, holds at a moment, beside what has happened to it (reasons.h): the names that `wwctl dataplane
 * stats` prints.  The numbers are not stable across versions, the names are. */
#ifndef BASE_GAUGES_H
#define BASE_GAUGES_H

#define GAUGES(X)                                                                                                   \
    X(TCP_HALF_OPEN, "tcp_half_open")       /* remembered SYNs */                                                   \
    X(TCP_ESTABLISHED, "tcp_established")   /* connections in that state */                                         \
    X(TCP_FIN_WAIT_1, "tcp_fin_wait_1")     /* ... */                                                               \
    X(TCP_FIN_WAIT_2, "tcp_fin_wait_2")     /* ... */                                                               \
    X(TCP_CLOSE_WAIT, "tcp_close_wait")     /* ... */                                                               \
    X(TCP_CLOSING, "tcp_closing")           /* ... */                                                               \
    X(TCP_LAST_ACK, "tcp_last_ack")         /* ... */                                                               \
    X(TCP_TIME_WAIT, "tcp_time_wait")       /* ... */                                                               \
    X(TCP_CONNS, "tcp_conns")               /* in any state, half open ones included */                             \
    X(TCP_RECV_BUFFERS, "tcp_recv_buffers") /* taken from their slab */                                             \
    X(TCP_SEND_BUFFERS, "tcp_send_buffers") /* ... */                                                               \
    X(NEIGHBOURS, "neighbours")             /* next hops known or asked for */                                      \
    X(FRAG_DATAGRAMS, "frag_datagrams")     /* in fragments, not yet whole */                                       \
    X(CONNS, "conns")                       /* of the worker, TLS and HTTP above them */                            \
    X(TLS_JOBS, "tls_jobs") /* handshakes that wait for the crypto engine, their connections gone or not */         \
    X(TLS_CONNS, "tls_conns") /* SSL objects */                                                                     \
    X(TLS_STEP_NS_MAX,                                                                                              \
      "tls_step_ns_max") /* the longest step of a handshake so far; look at it under workers, a sum says nothing */ \
    X(SMALL_BUFFERS, "small_buffers") /* for requests, taken from their slab */                                     \
    X(LARGE_BUFFERS, "large_buffers") /* ... */                                                                     \
    X(TX_WAITING, "tx_waiting")       /* frames that the device has not taken yet */                                \
    X(NIC_RX_FREE,                                                                                                  \
      "nic_rx_free") /* receive buffers of its queue that are neither in the device nor in a hand */                \
    X(NIC_RX_TOTAL, "nic_rx_total")                                                                                 \
    X(NIC_TX_FREE, "nic_tx_free") /* transmit buffers, likewise */                                                  \
    X(NIC_TX_TOTAL, "nic_tx_total")                                                                                 \
    X(DEVICE_STEERS,                                                                                                \
      "device_steers") /* workers that believe the flow hash of the device; else it is computed */                  \
    X(DEVICE_CHECKS, "device_checks") /* workers that believe what the device says of checksums */                  \
    X(MEMORY_BYTES, "memory_bytes")   /* of the arenas, in use */                                                   \
    X(KEYS_EPOCH, "keys_epoch")       /* the housekeeper's from here on: what the tables hold */                    \
    X(KEYS, "keys")                                                                                                 \
    X(KEY_VERSIONS, "key_versions")                                                                                 \
    X(KEY_MEMORY_BYTES, "key_memory_bytes")                                                                         \
    X(CTL_ATTACHED, "ctl_attached")         /* to ww-ctrl */                                                        \
    X(CTL_SETTLING, "ctl_settling")         /* an epoch is published and not every worker has passed it */          \
    X(NIC_RX_MISSED, "nic_rx_missed")       /* frames that the device dropped: no descriptor was free */            \
    X(NIC_RX_NO_BUFFER, "nic_rx_no_buffer") /* ... no buffer to receive into */                                     \
    X(NIC_RX_ERRORS, "nic_rx_errors")                                                                               \
    X(NIC_TX_ERRORS, "nic_tx_errors")

enum gauge {
#define X(id, name) GAUGE_##id,
    GAUGES(X)
#undef X
        GAUGE_COUNT
};

/* g must be below GAUGE_COUNT. */
const char *gauge_name(enum gauge g);

#endif
