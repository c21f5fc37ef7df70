/* What the files of this folder share.  The only header that names DPDK's types. */
#ifndef DRIVERS_NIC_DPDK_INTERNAL_H
#define DRIVERS_NIC_DPDK_INTERNAL_H

#include "drivers/nic/dpdk/dpdk.h"
#include "drivers/nic/dpdk/plan.h"
#include "drivers/nic/dpdk/spec.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

struct port_queue {
    struct rte_mempool *rx_pool;
    struct rte_mempool *tx_pool; /* own pool, so that a flood of received frames cannot starve replies */
    struct counters *counters;   /* NULL = not counted */
    int wait_fd;                 /* readable when frames wait; -1 = there is none */
};

struct port {
    struct nic nic; /* first: the door's pointer is this one's */
    uint16_t id;    /* DPDK's port number */
    bool is_vdev;
    bool opened; /* the ethdev exists */
    char name[RTE_ETH_NAME_MAX_LEN];
    struct spec spec;
    struct plan plan;
    struct port_queue queues[WORKERS_MAX];
};

extern const struct nic_ops port_ops;

/* eal.c: keeps the signals that the TAP driver asks for from being delivered while a port is opened, then
 * switches off those it took (dpdk.h, "Order of calls"). */
struct signal_hold {
    sigset_t before;
};
void signals_hold(struct signal_hold *h);
void signals_release(const struct signal_hold *h);
void signals_refuse_new(void);

/* eal.c: until DPDK's interrupt thread has dealt with everything that it was told before (a minute at most).  The memif driver
 * disconnects there in its own time, and frees what rte_eth_dev_close and rte_eal_cleanup free as well. */
void interrupts_settle(void);

/* queue.c: a received mbuf's ol_flags as FRAME_RX_*.  Unknown stays unknown, and so does what was not agreed.
 * NONE means that the peer never computed the field and vouches for the bytes (a virtual wire): as good as a right
 * sum. */
uint16_t queue_rx_flags(const struct plan *plan, uint64_t ol);
/* FRAME_TX_* as ol_flags; 0 when nothing is left to the device. */
uint64_t queue_tx_flags(uint16_t flags);

/* port.c */
void port_close(struct nic *n);

#endif
