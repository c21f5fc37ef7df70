/* Every counted event of the dataplane, by room: the name that metrics and `wwctl dataplane stats` print, and
 * what it means. Append within a room's block; the numbers are not stable across versions, the names are. */
#ifndef BASE_REASONS_H
#define BASE_REASONS_H

#define REASONS(X)                                                                                           \
    /* --- nic --- */                                                                                        \
    X(NIC_RX_FRAMES, "nic_rx_frames", "frames received")                                                     \
    X(NIC_TX_FRAMES, "nic_tx_frames", "frames handed to the device")                                         \
    X(NIC_TX_RETRIED, "nic_tx_retried", "frames kept for the next turn because the device's ring was full")  \
    X(NIC_NO_BUFFER, "nic_no_buffer", "no transmit buffer to be had; output waits for the next turn")        \
    /* --- net: link and IP --- */                                                                           \
    X(ETH_RUNT, "eth_runt", "frame shorter than its Ethernet header")                                        \
    X(ETH_NOT_OURS, "eth_not_ours", "destination MAC is neither ours nor a group we listen to")              \
    X(ETH_UNKNOWN_TYPE, "eth_unknown_type", "EtherType is none of ARP, IPv4, IPv6")                          \
    /* --- net: TCP --- */                                                                                   \
    X(TCP_ACCEPTED, "tcp_accepted", "connections that completed the three-way handshake")                    \
    /* --- tls --- */                                                                                        \
    X(TLS_HANDSHAKE_OK, "tls_handshake_ok", "handshakes completed")                                          \
    /* --- http --- */                                                                                       \
    X(HTTP_REQUESTS, "http_requests", "requests whose head was parsed")                                      \
    /* --- auth --- */                                                                                       \
    X(AUTH_VERDICT_CACHE_HIT, "auth_verdict_cache_hit", "tokens answered from the verdict cache")            \
    /* --- ekm --- */                                                                                        \
    X(EKM_WRAP_OK, "ekm_wrap_ok", "wraps answered 200")                                                      \
    X(EKM_UNWRAP_OK, "ekm_unwrap_ok", "unwraps answered 200")                                                \
    /* --- keys --- */                                                                                       \
    X(KEYS_VERIFY_AFTER_WRAP_FAILED, "keys_verify_after_wrap_failed",                                        \
      "a fresh blob did not unwrap: no reply left")                                                          \
    /* --- audit --- */                                                                                      \
    X(AUDIT_LOST, "audit_lost", "audit records dropped because the ring was full")                           \
    /* --- ctl --- */                                                                                        \
    X(CTL_EPOCHS_APPLIED, "ctl_epochs_applied", "snapshots and deltas applied")

enum reason {
#define X(id, name, text) REASON_##id,
    REASONS(X)
#undef X
        REASON_COUNT
};

/* The metric name, and one sentence; r must be below REASON_COUNT. */
const char *reason_name(enum reason r);
const char *reason_text(enum reason r);

#endif
