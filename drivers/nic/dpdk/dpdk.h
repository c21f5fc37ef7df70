/* Network devices through DPDK's ethdev: the ports behind drivers/nic/nic.h, and how the EAL is brought up.
 *
 * Device texts, as in wirewrap.yaml nic.device:
 *     tap:IFNAME          an existing TAP, multi-queue and persistent (ip tuntap add dev IFNAME mode tap
 *                         multi_queue).  The kernel's end keeps its MAC; ours differs from that one.
 *     virtio-user:SOCKET  vhost-user in another process, which made the socket and is there first.  That
 *                         process can read all our DPDK memory: one that is trusted.
 *     vhost:SOCKET        the other end of virtio-user: makes the socket, takes a new peer after each loss of
 *                         the old one.
 *     af_packet:IFNAME    a kernel interface without an IP address of its own
 *     memif:SOCKET        a memif client; the peer is server, interface id 0
 *     memif-server:SOCKET the other end of it
 *     pci:ADDRESS         0000:01:00.0, bound to a userspace driver
 *     loop:NAME           what is sent on a queue arrives on it (rings in memory; tests)
 *
 * Order of calls, all in the main thread: nic_dpdk_start, nic_dpdk_open for each device, then the workers'
 * threads; at the end nic_stop for each device.  The TAP driver asks the kernel for a
 * real-time signal per packet and stops polling between signals once it has seen one: nic_dpdk_start and
 * nic_dpdk_open hold those signals back and switch them off, which works only while no other thread of ours
 * could take one.
 *
 * In a main program:
 *     struct nic_dpdk_config start = {.device = "tap:ww0"};
 *     struct nic_dpdk_port port = {.device = "tap:ww0", .counters = {worker_counters}};
 *     if (!nic_dpdk_start(&start, err, sizeof err) || (nic = nic_dpdk_open(&port, err, sizeof err)) == NULL)
 *         ...
 *     net_config: mac, mtu, tx_ip4_csum, tx_tcp_csum from nic->info
 *     each worker's thread: nic_dpdk_thread_begin, then nic_rx, nic_tx, nic_wait ..., nic_dpdk_thread_end
 *     nic_stop(nic)
 *
 * Which side owns the virtio socket: as client, a dataplane that was killed comes back by connecting again.  As
 * server it would find its own dead socket file and refuse to bind (22.11).  A client cannot return to a peer
 * that was itself restarted: then the dataplane is restarted too.
 *
 * Sources: DPDK 22.11 guides (EAL parameters, ethdev, tap, virtio, vhost, af_packet, memif). */
#ifndef DRIVERS_NIC_DPDK_H
#define DRIVERS_NIC_DPDK_H

#include "base/limits.h"
#include "drivers/nic/nic.h"

struct nic_dpdk_config {
    bool hugepages;     /* false: ordinary pages; needs no preparation of the machine */
    uint32_t memory_mb; /* for buffers and rings; 0 = 64 */
    const char *device; /* the text of the device that will be opened: tells whether PCI is probed */
};

#define NIC_DPDK_RSS_KEY_LEN 52

struct nic_dpdk_port {
    const char *device; /* text as above */
    const char *mac;    /* ours, "02:00:00:00:00:01"; NULL or "" = the device's own, or one derived from it */
    uint16_t mtu;       /* largest IP packet; 0 = 1500 */
    uint16_t queue_count;   /* receive and transmit queue pairs, one per worker; 0 = 1 */
    const uint8_t *rss_key; /* NIC_DPDK_RSS_KEY_LEN bytes of this boot; NULL = no flow hash is asked for */
    bool no_offload;        /* ask for no checksum offload even where there is one */
    struct counters *counters[WORKERS_MAX]; /* by queue, its worker's; NULL = not counted */
};

/* Brings up the EAL, once per process, and has SIGPIPE ignored.  false: err says why, in words for an operator; the process had better
 * end. */
bool MUST_USE nic_dpdk_start(const struct nic_dpdk_config *c, char *err, size_t err_cap);

/* Opens, configures and starts a port and logs one line saying what was agreed.  NULL: err says why.  The
 * struct is the caller's until nic_stop.  A frame of one port may be sent on another of the same process, as it
 * is, when both were opened with no_offload. */
struct nic *MUST_USE nic_dpdk_open(const struct nic_dpdk_port *p, char *err, size_t err_cap);

/* A thread other than the main one calls begin before its first nic_* call and end after its last: it gives
 * the thread its own buffer caches.  false: too many threads. */
bool MUST_USE nic_dpdk_thread_begin(void);
void nic_dpdk_thread_end(void);

/* What the device itself dropped so far. */
struct nic_dpdk_losses {
    uint64_t rx_missed;    /* no descriptor was free */
    uint64_t rx_no_buffer; /* the receive pool was empty */
    uint64_t rx_errors, tx_errors;
};
void nic_dpdk_losses(const struct nic *n, struct nic_dpdk_losses *out);

/* true when the process at the other end of virtio-user has gone: no frame will pass again, and only a new start
 * of ours connects anew.  For a housekeeping thread, about once a second: it asks the socket.  false for every other
 * kind of device. */
bool nic_dpdk_is_cut_off(const struct nic *n);

#endif
