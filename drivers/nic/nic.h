/* One door to every network device: bursts of frames in and out of numbered queues.
 *
 * Behind it stand the DPDK ports (drivers/nic/dpdk: PCI, virtio-user, TAP, af_packet, memif) and the
 * simulator (drivers/nic/sim: an in-memory wire under a virtual clock).  A queue belongs to one worker; calls
 * on one queue are not thread-safe, calls on different queues are independent.  No call allocates or logs
 * once the device is open, and none but nic_wait blocks.
 *
 * Ownership.  nic_rx hands frames to the caller; each is given back exactly once, by nic_frame_free or
 * nic_tx.  nic_frame_alloc hands out an empty frame for sending.  nic_tx takes the first N frames of the
 * array, N being its return value; the rest stay the caller's, in order, to be offered again (bug B37: a
 * burst's remainder is never dropped silently).
 *
 * Sources: DPDK 22.11 ethdev programmer's guide. */
#ifndef DRIVERS_NIC_H
#define DRIVERS_NIC_H

#include "base/counters.h"
#include "base/frame.h"

struct nic;

/* What was agreed with the device.  A capability that is absent here has its software fallback in net. */
struct nic_info {
    uint8_t mac[6];
    uint16_t mtu; /* largest IP packet */
    uint16_t queue_count;
    bool rx_ip4_csum; /* the device checks, flags FRAME_RX_* say what it found */
    bool rx_tcp_csum;
    bool tx_ip4_csum; /* FRAME_TX_IP4_CSUM may be used */
    bool tx_tcp_csum;
    bool
        rss; /* receive queues are chosen by flow hash in the device, entry hash mod rss_table_len of a table that
               * deals them out in turn; frames carry the hash (FRAME_RX_HASH) where the device tells it */
    uint16_t rss_table_len;
    const char *kind; /* "net_tap", "net_virtio_user", "sim" ... */
};

/* Buffers of one queue. */
struct nic_levels {
    uint32_t rx_free, rx_total, tx_free, tx_total;
};

struct nic_ops {
    uint16_t (*rx)(struct nic *n, uint16_t queue, struct frame *frames, uint16_t cap);
    uint16_t (*tx)(struct nic *n, uint16_t queue, struct frame *frames, uint16_t count);
    bool (*alloc)(struct nic *n, uint16_t queue, struct frame *out);
    void (*free)(struct nic *n, struct frame *f);
    void (*wait)(struct nic *n, uint16_t queue, uint64_t timeout_us);      /* NULL = returns at once */
    void (*levels)(struct nic *n, uint16_t queue, struct nic_levels *out); /* NULL = not known */
    void (*stop)(struct nic *n);
};

/* The part that every kind of device begins with. */
struct nic {
    const struct nic_ops *ops;
    struct nic_info info;
};

/* Up to cap (<= NIC_BURST_MAX) frames that have arrived.  Cost: one device poll. */
static inline uint16_t nic_rx(struct nic *n, uint16_t queue, struct frame *frames, uint16_t cap)
{
    return n->ops->rx(n, queue, frames, cap);
}

/* How many, from the front, the device took. */
static inline uint16_t MUST_USE nic_tx(struct nic *n, uint16_t queue, struct frame *frames, uint16_t count)
{
    return n->ops->tx(n, queue, frames, count);
}

/* An empty frame with at least mtu + 18 bytes of room: Ethernet header and one tag.  false when the pool is empty: try again next turn. */
static inline bool MUST_USE nic_frame_alloc(struct nic *n, uint16_t queue, struct frame *out)
{
    return n->ops->alloc(n, queue, out);
}

static inline void nic_frame_free(struct nic *n, struct frame *f)
{
    n->ops->free(n, f);
}

/* Sleeps until this queue may have frames or timeout_us are over; may return early.  For a worker with
 * nothing else to do. */
static inline void nic_wait(struct nic *n, uint16_t queue, uint64_t timeout_us)
{
    if (n->ops->wait != NULL)
        n->ops->wait(n, queue, timeout_us);
}

/* Cost: a walk over the caches of all threads; now and then.  false: not known. */
static inline bool MUST_USE nic_levels(struct nic *n, uint16_t queue, struct nic_levels *out)
{
    if (n->ops->levels != NULL)
        n->ops->levels(n, queue, out);
    return n->ops->levels != NULL;
}

/* Stops the device and frees everything that belongs to it, the struct included. */
static inline void nic_stop(struct nic *n)
{
    n->ops->stop(n);
}

#endif
