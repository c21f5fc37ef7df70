/* One queue's bursts: mbufs of DPDK in, struct frame out, and back.  frame.owner is the mbuf. */
#include "drivers/nic/dpdk/internal.h"

#include "base/check.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

/* Where a device cannot wake us, the longest nap: adds this much to the first frame after a quiet spell. */
#define NAP_US_MAX 100
#define PREFETCHED                                                                                           \
    256 /* bytes of a frame: headers, and where a record begins; the rest follows in order, which the core sees by itself */

static struct port *port_of(struct nic *n)
{
    return (struct port *)n;
}

uint16_t queue_rx_flags(const struct plan *plan, uint64_t ol)
{
    uint64_t ip = ol & RTE_MBUF_F_RX_IP_CKSUM_MASK;
    uint64_t l4 = ol & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    uint16_t flags = 0;

    if (plan->rx_ip4_csum) {
        if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
            flags |= FRAME_RX_IP4_CSUM_GOOD;
        else if (ip == RTE_MBUF_F_RX_IP_CKSUM_NONE)
            flags |= FRAME_RX_IP4_CSUM_VOUCHED;
        else if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD)
            flags |= FRAME_RX_IP4_CSUM_BAD;
    }
    if (plan->rx_tcp_csum) {
        if (l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
            flags |= FRAME_RX_L4_CSUM_GOOD;
        else if (l4 == RTE_MBUF_F_RX_L4_CKSUM_NONE)
            flags |= FRAME_RX_L4_CSUM_VOUCHED;
        else if (l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD)
            flags |= FRAME_RX_L4_CSUM_BAD;
    }
    return flags;
}

static void frame_from(struct frame *f, struct rte_mbuf *m, uint16_t queue, uint16_t flags)
{
    *f = (struct frame){
        .data = rte_pktmbuf_mtod(m, uint8_t *),
        .len = m->data_len,
        .cap = (uint16_t)(m->buf_len - m->data_off),
        .flags = flags,
        .queue = queue,
        .owner = m,
    };
}

/* The flow's hash, where the device tells it. */
static void hash_take(const struct plan *plan, struct frame *f, const struct rte_mbuf *m)
{
    if (!plan->rss || (m->ol_flags & RTE_MBUF_F_RX_RSS_HASH) == 0)
        return;
    f->flags |= FRAME_RX_HASH;
    f->hash = m->hash.rss;
}

/* The whole burst is on its way from the device, or another core, before the first frame is looked at. */
static void frame_prefetch(struct rte_mbuf *m)
{
    const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);

    for (size_t at = 0; at < PREFETCHED; at += RTE_CACHE_LINE_SIZE)
        rte_prefetch0(data + at);
}

static uint16_t port_rx(struct nic *n, uint16_t queue, struct frame *frames, uint16_t cap)
{
    struct port *p = port_of(n);
    struct rte_mbuf *burst[NIC_BURST_MAX];
    uint16_t count = 0;

    CHECK(queue < p->plan.queue_count);
    uint16_t got = rte_eth_rx_burst(p->id, queue, burst, cap < NIC_BURST_MAX ? cap : NIC_BURST_MAX);
    for (uint16_t i = 0; i < got; i++)
        frame_prefetch(burst[i]);
    for (uint16_t i = 0; i < got; i++) {
        /* We asked for no scatter and our buffers hold any frame: one in pieces is not for us. */
        if (burst[i]->nb_segs != 1) {
            rte_pktmbuf_free(burst[i]);
            if (p->queues[queue].counters != NULL)
                count_by(p->queues[queue].counters, REASON_NIC_RX_IN_PIECES, 1);
            continue;
        }
        frame_from(&frames[count], burst[i], queue, queue_rx_flags(&p->plan, burst[i]->ol_flags));
        hash_take(&p->plan, &frames[count++], burst[i]);
    }
    return count;
}

uint64_t queue_tx_flags(uint16_t flags)
{
    uint64_t ol = 0;

    if (flags & FRAME_TX_IP4_CSUM)
        ol |= RTE_MBUF_F_TX_IP_CKSUM;
    if (flags & FRAME_TX_TCP_CSUM)
        ol |= RTE_MBUF_F_TX_TCP_CKSUM;
    if (ol != 0)
        ol |= flags & FRAME_IS_IP6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
    return ol;
}

/* true: a checksum is left to the device. */
static bool mbuf_from(struct rte_mbuf *m, const struct frame *f)
{
    CHECK(f->len <= m->buf_len - m->data_off && f->data == rte_pktmbuf_mtod(m, uint8_t *));
    m->data_len = f->len;
    m->pkt_len = f->len;
    m->ol_flags = queue_tx_flags(f->flags);
    if (m->ol_flags == 0)
        return false;
    m->tx_offload = rte_mbuf_tx_offload(f->l2_len, f->l3_len, f->l4_len, 0, 0, 0, 0);
    return true;
}

static uint16_t port_tx(struct nic *n, uint16_t queue, struct frame *frames, uint16_t count)
{
    struct port *p = port_of(n);
    struct rte_mbuf *burst[NIC_BURST_MAX];
    bool offload = false;

    CHECK(queue < p->plan.queue_count);
    if (count > NIC_BURST_MAX)
        count = NIC_BURST_MAX;
    for (uint16_t i = 0; i < count; i++) {
        burst[i] = frames[i].owner;
        offload |= mbuf_from(burst[i], &frames[i]);
    }
    /* Some devices want the pseudo-header in their own way.  A refusal means that net asked for what was not
     * agreed. */
    if (offload && p->plan.tx_prepare)
        CHECK(rte_eth_tx_prepare(p->id, queue, burst, count) == count);
    return rte_eth_tx_burst(p->id, queue, burst, count);
}

static bool port_alloc(struct nic *n, uint16_t queue, struct frame *out)
{
    struct port *p = port_of(n);
    struct rte_mbuf *m = rte_pktmbuf_alloc(p->queues[queue].tx_pool);

    if (m == NULL)
        return false;
    frame_from(out, m, queue, 0);
    return true;
}

static void port_free(struct nic *n, struct frame *f)
{
    (void)n;
    rte_pktmbuf_free(f->owner);
}

static struct timespec timespec_of(uint64_t us)
{
    return (struct timespec){.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000 * 1000)};
}

static void port_wait(struct nic *n, uint16_t queue, uint64_t timeout_us)
{
    struct port *p = port_of(n);
    int fd = p->queues[queue].wait_fd;

    if (fd >= 0) {
        struct timespec t = timespec_of(timeout_us);
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        (void)ppoll(&pfd, 1, &t, NULL);
    } else {
        struct timespec t = timespec_of(timeout_us < NAP_US_MAX ? timeout_us : NAP_US_MAX);
        (void)nanosleep(&t, NULL);
    }
}

static void port_levels(struct nic *n, uint16_t queue, struct nic_levels *out)
{
    const struct port_queue *q = &port_of(n)->queues[queue];

    *out = (struct nic_levels){
        .rx_free = rte_mempool_avail_count(q->rx_pool),
        .rx_total = q->rx_pool->size,
        .tx_free = rte_mempool_avail_count(q->tx_pool),
        .tx_total = q->tx_pool->size,
    };
}

const struct nic_ops port_ops = {
    .rx = port_rx,
    .tx = port_tx,
    .alloc = port_alloc,
    .free = port_free,
    .wait = port_wait,
    .levels = port_levels,
    .stop = port_close,
};
