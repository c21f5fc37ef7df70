/* What we want of a device, against what it says it can: the agreement, and the buffers that it needs.  Pure:
 * port.c asks the device and does as the plan says. */
#ifndef DRIVERS_NIC_DPDK_PLAN_H
#define DRIVERS_NIC_DPDK_PLAN_H

#include "base/limits.h"
#include "base/span.h"

/* One buffer must hold any frame: what we do not ask of a device is to split one over several. */
#define PLAN_FRAME_OVERHEAD 22 /* Ethernet header, one VLAN tag, checksum where a device delivers it */
#define PLAN_BUFFER_MIN     2048
#define PLAN_MTU_MAX        9216 /* jumbo frames as switches have them */

#define PLAN_RX_DESC_WANTED  512
#define PLAN_TX_DESC_WANTED  512
#define PLAN_TX_HELD         (2 * NIC_BURST_MAX) /* what a worker keeps for its next turn (worker.c) */
#define PLAN_RSS_KEY_LEN     40                  /* what a device that does not say is given */
#define PLAN_RSS_KEY_LEN_MAX 52
#define PLAN_RSS_TABLE_MAX   512
#define PLAN_CACHE           128 /* buffers a thread keeps at hand per pool */

/* The limits of one ring of descriptors. */
struct plan_ring {
    uint16_t desc_min, desc_max, desc_align;
};

/* What the device offers. */
struct plan_caps {
    uint16_t queues_max; /* the smaller of receive and transmit */
    uint16_t mtu_min, mtu_max;
    struct plan_ring rx, tx;
    bool rx_ip4_csum, rx_tcp_csum;
    bool tx_ip4_csum, tx_tcp_csum;
    bool tx_csum_by_driver; /* ... in the driver's own software, on this core */
    bool tx_as_net_writes;  /* ... from headers as net writes them, with nothing to prepare */
    bool rss;               /* offers to hash TCP over IPv4 and IPv6 ... */
    bool rss_refused;       /* ... and is known to refuse when asked */
    uint16_t rss_table_len; /* of its indirection table; 0 = there is none */
    uint8_t rss_key_len;    /* 0 = it does not say */
};

struct plan_wish {
    uint16_t queue_count;
    uint16_t mtu;
    bool no_offload;
    bool rss; /* there is a key for it */
};

struct plan {
    uint16_t queue_count;
    uint16_t mtu;
    uint16_t rx_desc, tx_desc;
    bool rx_ip4_csum, rx_tcp_csum;
    bool tx_ip4_csum, tx_tcp_csum;
    bool tx_prepare; /* frames that leave a checksum to the device go through rte_eth_tx_prepare */
    bool rss;
    uint16_t rss_table_len;
    uint8_t rss_key_len;
    uint32_t rx_pool, tx_pool; /* buffers per queue */
    uint16_t buffer_len;       /* bytes of frame that one buffer holds */
};

/* false: err says what the device cannot do.  A missing offload is no error: net does that in software. */
bool MUST_USE plan_make(const struct plan_caps *caps, const struct plan_wish *wish, struct plan *out,
                        char *err, size_t err_cap);

#endif
