/* Opening a port: make the device, ask what it can, agree on a plan, give it queues and buffers, start it. */
#include "drivers/nic/dpdk/internal.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#define ARGS_CAP  256
#define MTU       1500
#define POOL_CAP  RTE_MEMPOOL_NAMESIZE
#define RSS_FLOWS (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP)

/* ---- before the device: names and addresses ---- */

/* The kernel end's MAC of a TAP; also tells that the interface exists. */
static bool kernel_mac(const char *ifname, uint8_t mac[6])
{
    struct ifreq ifr;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    memset(&ifr, 0, sizeof ifr);
    memcpy(ifr.ifr_name, ifname, strnlen(ifname, sizeof ifr.ifr_name - 1));
    bool found = ioctl(fd, SIOCGIFHWADDR, &ifr) == 0;
    close(fd);
    if (found)
        memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
    return found;
}

/* Which MAC the device is made with, and which one is ours where that is known beforehand. */
static bool macs_choose(const struct nic_dpdk_port *w, const struct spec *s, uint8_t device[6],
                        uint8_t ours[6], char *err, size_t err_cap)
{
    bool given = w->mac != NULL && w->mac[0] != '\0';

    if (given && !spec_mac_parse(w->mac, ours)) {
        snprintf(err, err_cap, "MAC \"%s\" is not a unicast address like 02:00:00:00:00:01", w->mac);
        return false;
    }
    if (s->kind == SPEC_TAP) {
        if (!kernel_mac(s->target, device)) {
            snprintf(err, err_cap, "no interface %s here: ip tuntap add dev %s mode tap multi_queue",
                     s->target, s->target);
            return false;
        }
        if (!given)
            spec_mac_beside(device, ours);
        if (memcmp(device, ours, 6) == 0) {
            snprintf(err, err_cap, "MAC %s is that of the kernel's end of %s", w->mac, s->target);
            return false;
        }
        return true;
    }
    if (!given)
        spec_mac_derive(w->device, ours);
    memcpy(device, ours, 6);
    return true;
}

/* A driver cannot bind where a socket file exists, and does not always say so: one whose server has died is
 * removed, one that somebody listens on is refused. */
static bool socket_make_free(const char *path, char *err, size_t err_cap)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return true;
    memcpy(a.sun_path, path, strnlen(path, sizeof a.sun_path - 1));
    int rc = connect(fd, (struct sockaddr *)&a, sizeof a);
    if (rc == 0)
        snprintf(err, err_cap, "somebody already serves %s", path);
    else if (errno == ECONNREFUSED)
        (void)unlink(path);
    close(fd);
    return rc != 0;
}

/* ---- the device ---- */

static bool device_make(struct port *p, const uint8_t device_mac[6], uint16_t queue_count, char *err,
                        size_t err_cap)
{
    static unsigned int made;
    char args[ARGS_CAP];

    if (p->spec.kind == SPEC_PCI) {
        memcpy(p->name, p->spec.target, strnlen(p->spec.target, sizeof p->name - 1));
        p->opened = rte_eth_dev_get_port_by_name(p->name, &p->id) == 0;
        if (!p->opened)
            snprintf(err, err_cap, "no DPDK driver took %s: is it bound to vfio-pci?", p->name);
        return p->opened;
    }
    p->is_vdev = true;
    bool serves = p->spec.kind == SPEC_VHOST || p->spec.kind == SPEC_MEMIF_SERVER;
    if (serves && !socket_make_free(p->spec.target, err, err_cap))
        return false;
    snprintf(p->name, sizeof p->name, "%s%u", spec_driver(p->spec.kind), made++);
    if (!spec_vdev_args(&p->spec, device_mac, queue_count, args, sizeof args)) {
        snprintf(err, err_cap, "device name is too long");
        return false;
    }
    int rc = rte_eal_hotplug_add("vdev", p->name, args);
    p->opened = rc == 0 && rte_eth_dev_get_port_by_name(p->name, &p->id) == 0;
    if (!p->opened)
        snprintf(err, err_cap, "%s (%s) does not open: %s", p->name, args,
                 rc < 0 ? strerror(-rc) : "no port");
    return p->opened;
}

static void caps_of(const struct rte_eth_dev_info *i, struct plan_caps *c)
{
    bool max_is_known = i->max_mtu != UINT16_MAX && i->max_rx_pktlen > i->max_mtu;
    uint32_t overhead = max_is_known ? i->max_rx_pktlen - i->max_mtu : RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
    bool is_tap = strcmp(i->driver_name, "net_tap") == 0;
    bool is_virtio =
        strncmp(i->driver_name, "net_virtio", strlen("net_virtio")) == 0; /* PCI, and net_virtio_user */
    uint32_t by_frame = i->max_rx_pktlen > overhead ? i->max_rx_pktlen - overhead : 0;

    *c = (struct plan_caps){
        .queues_max = i->max_rx_queues < i->max_tx_queues ? i->max_rx_queues : i->max_tx_queues,
        .mtu_min = i->min_mtu,
        .mtu_max = by_frame < i->max_mtu ? (uint16_t)by_frame : i->max_mtu,
        .rx = {i->rx_desc_lim.nb_min, i->rx_desc_lim.nb_max, i->rx_desc_lim.nb_align},
        .tx = {i->tx_desc_lim.nb_min, i->tx_desc_lim.nb_max, i->tx_desc_lim.nb_align},
        .rx_ip4_csum = (i->rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0,
        .rx_tcp_csum = (i->rx_offload_capa & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) != 0,
        .tx_ip4_csum = (i->tx_offload_capa & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0,
        .tx_tcp_csum = (i->tx_offload_capa & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) != 0,
        /* and writes a TCP checksum of 0 as 0xffff, which is UDP's rule (RFC 768) and not TCP's */
        .tx_csum_by_driver = is_tap,
        /* virtio 1.1 5.1.6.2 wants the pseudo-header's sum in the field, and there it is; DPDK would read each header back to
         * compute it again, which waits until the peer's core has let go of that cache line */
        .tx_as_net_writes = is_virtio,
        .rss = (i->flow_type_rss_offloads & RSS_FLOWS) == RSS_FLOWS,
        .rss_table_len = i->reta_size,
        .rss_key_len = i->hash_key_size,
        /* it needs a queueing discipline and a classifier that kernels seldom have, and ignores the key */
        .rss_refused = is_tap,
    };
}

static struct rte_eth_conf conf_of(const struct plan *plan, const struct rte_eth_dev_info *info,
                                   const uint8_t *rss_key, bool interrupts)
{
    struct rte_eth_conf c;

    memset(&c, 0, sizeof c);
    c.rxmode.mtu = plan->mtu;
    if (plan->rx_ip4_csum)
        c.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
    if (plan->rx_tcp_csum)
        c.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
    if (plan->tx_ip4_csum)
        c.txmode.offloads |= RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
    if (plan->tx_tcp_csum)
        c.txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
    if (plan->rss) {
        c.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        c.rxmode.offloads |= info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_RSS_HASH; /* some tell it unasked */
        c.rx_adv_conf.rss_conf.rss_hf = RSS_FLOWS;
        c.rx_adv_conf.rss_conf.rss_key = (uint8_t *)(uintptr_t)rss_key; /* copied by the driver */
        c.rx_adv_conf.rss_conf.rss_key_len = plan->rss_key_len;
    }
    c.intr_conf.rxq = interrupts;
    return c;
}

/* Asks for all that was planned; what is offered and then refused (hashing, wake-up) is done without. */
static int device_configure(struct port *p, const struct rte_eth_dev_info *info, const uint8_t *rss_key,
                            bool *interrupts)
{
    int rc = -ENOTSUP;

    for (int attempt = 0; attempt < 3 && rc != 0; attempt++) {
        if (attempt == 1)
            *interrupts = false;
        if (attempt == 2)
            p->plan.rss = false;
        struct rte_eth_conf c = conf_of(&p->plan, info, rss_key, *interrupts);
        rc = rte_eth_dev_configure(p->id, p->plan.queue_count, p->plan.queue_count, &c);
    }
    return rc;
}

static struct rte_mempool *pool_make(const struct port *p, const char *kind, uint16_t queue, uint32_t count)
{
    char name[POOL_CAP];

    snprintf(name, sizeof name, "%s-%u-%u", kind, p->id, queue);
    return rte_pktmbuf_pool_create(name, count, PLAN_CACHE, 0,
                                   (uint16_t)(RTE_PKTMBUF_HEADROOM + p->plan.buffer_len), SOCKET_ID_ANY);
}

static bool queues_make(struct port *p, const struct rte_eth_dev_info *info, char *err, size_t err_cap)
{
    int socket = rte_eth_dev_socket_id(p->id);
    struct rte_eth_txconf txconf = info->default_txconf;

    if (p->plan.tx_ip4_csum)
        txconf.offloads |= RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
    if (p->plan.tx_tcp_csum)
        txconf.offloads |= RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
    for (uint16_t q = 0; q < p->plan.queue_count; q++) {
        struct port_queue *pq = &p->queues[q];
        pq->rx_pool = pool_make(p, "rx", q, p->plan.rx_pool);
        pq->tx_pool = pool_make(p, "tx", q, p->plan.tx_pool);
        if (pq->rx_pool == NULL || pq->tx_pool == NULL) {
            snprintf(err, err_cap,
                     "no memory for queue %u (%u + %u buffers of %u bytes): raise nic.memory_mb", q,
                     p->plan.rx_pool, p->plan.tx_pool, p->plan.buffer_len);
            return false;
        }
        int rc = rte_eth_rx_queue_setup(p->id, q, p->plan.rx_desc, (unsigned int)socket, NULL, pq->rx_pool);
        if (rc == 0)
            rc = rte_eth_tx_queue_setup(p->id, q, p->plan.tx_desc, (unsigned int)socket, &txconf);
        if (rc != 0) {
            snprintf(err, err_cap, "queue %u of %s is refused: %s", q, p->name, strerror(-rc));
            return false;
        }
    }
    return true;
}

/* ---- after the start ---- */

/* A descriptor that becomes readable when frames wait.  For TAP it is the device itself: level-triggered, and
 * the one whose signals are to stop.  Other drivers hand out event counters that want arming and draining per
 * frame; a nap is simpler there. */
static void wake_ups_find(struct port *p, bool interrupts)
{
    for (uint16_t q = 0; q < p->plan.queue_count; q++) {
        p->queues[q].wait_fd = -1;
        if (!interrupts || p->spec.kind != SPEC_TAP)
            continue;
        int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(p->id, q);
        if (fd < 0)
            continue;
        int flags = fcntl(fd, F_GETFL);
        if (flags >= 0)
            (void)fcntl(fd, F_SETFL, flags & ~O_ASYNC);
        p->queues[q].wait_fd = fd;
    }
}

/* Lets through what net needs: frames to our MAC, and the groups of neighbour discovery.  A TAP filters
 * nothing towards us, and these calls would change the kernel's end. */
static void filter_open(struct port *p, const uint8_t ours[6], bool mac_given)
{
    struct rte_ether_addr device;

    if (p->spec.kind == SPEC_TAP || p->spec.kind == SPEC_LOOP || p->spec.kind == SPEC_VHOST) {
        memcpy(p->nic.info.mac, ours, 6);
        return;
    }
    memcpy(device.addr_bytes, ours, 6);
    if (mac_given && rte_eth_dev_default_mac_addr_set(p->id, &device) != 0)
        (void)rte_eth_promiscuous_enable(p->id);
    if (rte_eth_allmulticast_enable(p->id) != 0)
        (void)rte_eth_promiscuous_enable(p->id);
    if (mac_given || rte_eth_macaddr_get(p->id, &device) != 0)
        memcpy(p->nic.info.mac, ours, 6);
    else
        memcpy(p->nic.info.mac, device.addr_bytes, 6);
}

/* The queues in turn.  Where that is refused nobody knows what the device does: the owner of a flow is then told in
 * software alone. */
static void table_deal(struct port *p)
{
    struct rte_eth_rss_reta_entry64 table[PLAN_RSS_TABLE_MAX / RTE_ETH_RETA_GROUP_SIZE] = {0};

    if (!p->plan.rss)
        return;
    for (uint16_t i = 0; i < p->plan.rss_table_len; i++) {
        table[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1) << i % RTE_ETH_RETA_GROUP_SIZE;
        table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = i % p->plan.queue_count;
    }
    p->plan.rss = rte_eth_dev_rss_reta_update(p->id, table, p->plan.rss_table_len) == 0;
}

static void info_fill(struct port *p, const struct rte_eth_dev_info *info)
{
    p->nic.info.mtu = p->plan.mtu;
    p->nic.info.queue_count = p->plan.queue_count;
    p->nic.info.rx_ip4_csum = p->plan.rx_ip4_csum;
    p->nic.info.rx_tcp_csum = p->plan.rx_tcp_csum;
    p->nic.info.tx_ip4_csum = p->plan.tx_ip4_csum;
    p->nic.info.tx_tcp_csum = p->plan.tx_tcp_csum;
    p->nic.info.rss = p->plan.rss;
    p->nic.info.rss_table_len = p->plan.rss ? p->plan.rss_table_len : 0;
    p->nic.info.kind = info->driver_name;
}

static void agreed_log(const struct port *p)
{
    const struct nic_info *i = &p->nic.info;
    char mac[18];

    spec_mac_print(i->mac, mac);
    log_info("nic agreed", F("kind", i->kind), F("target", p->spec.target), F("mac", (const char *)mac),
             F("mtu", i->mtu), F("queues", i->queue_count), F("rx_desc", p->plan.rx_desc),
             F("tx_desc", p->plan.tx_desc), F("rx_ip4_csum", i->rx_ip4_csum),
             F("rx_tcp_csum", i->rx_tcp_csum), F("tx_ip4_csum", i->tx_ip4_csum),
             F("tx_tcp_csum", i->tx_tcp_csum), F("rss", i->rss), F("wakes", p->queues[0].wait_fd >= 0));
}

/* ---- the steps in their order ---- */

static bool port_bring_up(struct port *p, const struct nic_dpdk_port *w, char *err, size_t err_cap)
{
    struct plan_wish wish = {
        .queue_count = w->queue_count == 0 ? 1 : w->queue_count,
        .mtu = w->mtu == 0 ? MTU : w->mtu,
        .no_offload = w->no_offload,
        .rss = w->rss_key != NULL,
    };
    uint8_t device_mac[6];
    uint8_t ours[6];
    struct rte_eth_dev_info info;
    struct plan_caps caps;
    bool interrupts = p->spec.kind == SPEC_TAP;
    int rc;

    if (!macs_choose(w, &p->spec, device_mac, ours, err, err_cap) ||
        !device_make(p, device_mac, wish.queue_count, err, err_cap))
        return false;
    rc = rte_eth_dev_info_get(p->id, &info);
    if (rc != 0) {
        snprintf(err, err_cap, "%s does not say what it can: %s", p->name, strerror(-rc));
        return false;
    }
    caps_of(&info, &caps);
    if (!plan_make(&caps, &wish, &p->plan, err, err_cap))
        return false;
    rc = device_configure(p, &info, w->rss_key, &interrupts);
    if (rc != 0) {
        snprintf(err, err_cap, "%s refuses its configuration: %s", p->name, strerror(-rc));
        return false;
    }
    if (!queues_make(p, &info, err, err_cap))
        return false;
    rc = rte_eth_dev_set_mtu(p->id, p->plan.mtu);
    if (rc != 0 && rc != -ENOTSUP) {
        snprintf(err, err_cap, "%s refuses MTU %u: %s", p->name, p->plan.mtu, strerror(-rc));
        return false;
    }
    rc = rte_eth_dev_start(p->id);
    if (rc != 0) {
        snprintf(err, err_cap, "%s does not start: %s", p->name, strerror(-rc));
        return false;
    }
    table_deal(p);
    info_fill(p, &info);
    wake_ups_find(p, interrupts);
    filter_open(p, ours, w->mac != NULL && w->mac[0] != '\0');
    return true;
}

struct nic *nic_dpdk_open(const struct nic_dpdk_port *w, char *err, size_t err_cap)
{
    struct signal_hold hold;
    struct port *p = calloc(1, sizeof *p);

    if (p == NULL) {
        snprintf(err, err_cap, "out of memory");
        return NULL;
    }
    p->nic.ops = &port_ops;
    for (size_t q = 0; q < WORKERS_MAX; q++)
        p->queues[q].counters = w->counters[q];
    if (!spec_parse(w->device, &p->spec)) {
        snprintf(err, err_cap, "device \"%s\" is not one we know", w->device);
        free(p);
        return NULL;
    }
    signals_hold(&hold);
    bool up = port_bring_up(p, w, err, err_cap);
    signals_refuse_new();
    signals_release(&hold);
    if (!up) {
        port_close(&p->nic);
        return NULL;
    }
    agreed_log(p);
    return &p->nic;
}

/* The device is closed: what it held is back, and whatever is not has been lost by us. */
static void pool_free(struct rte_mempool *pool)
{
    if (pool == NULL)
        return;
    if (rte_mempool_in_use_count(pool) != 0)
        log_error("buffers were never given back", F("pool", pool->name),
                  F("count", rte_mempool_in_use_count(pool)));
    rte_mempool_free(pool);
}

void port_close(struct nic *n)
{
    struct port *p = (struct port *)n;

    bool is_memif = p->spec.kind == SPEC_MEMIF || p->spec.kind == SPEC_MEMIF_SERVER;

    if (is_memif)
        interrupts_settle();
    if (p->opened) {
        (void)rte_eth_dev_stop(p->id);
        (void)rte_eth_dev_close(p->id);
    }
    if (is_memif)
        interrupts_settle();
    if (p->is_vdev)
        (void)rte_eal_hotplug_remove("vdev", p->name);
    if (is_memif)
        interrupts_settle();
    for (size_t q = 0; q < WORKERS_MAX; q++) {
        pool_free(p->queues[q].rx_pool);
        pool_free(p->queues[q].tx_pool);
    }
    free(p);
}

void nic_dpdk_losses(const struct nic *n, struct nic_dpdk_losses *out)
{
    const struct port *p = (const struct port *)n;
    struct rte_eth_stats s;

    memset(out, 0, sizeof *out);
    if (rte_eth_stats_get(p->id, &s) != 0)
        return;
    out->rx_missed = s.imissed;
    out->rx_no_buffer = s.rx_nombuf;
    out->rx_errors = s.ierrors;
    out->tx_errors = s.oerrors;
}

bool nic_dpdk_is_cut_off(const struct nic *n)
{
    const struct port *p = (const struct port *)n;
    struct rte_eth_link link;

    return p->spec.kind == SPEC_VIRTIO_USER && rte_eth_link_get_nowait(p->id, &link) == 0 &&
           link.link_status == RTE_ETH_LINK_DOWN;
}
