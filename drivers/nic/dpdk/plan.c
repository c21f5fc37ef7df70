#include "drivers/nic/dpdk/plan.h"

#include <stdio.h>

/* As many descriptors as wanted, within the ring's limits, rounded down to its alignment. */
static uint16_t ring_size(const struct plan_ring *r, uint16_t wanted)
{
    uint16_t n = wanted;

    if (r->desc_max != 0 && n > r->desc_max)
        n = r->desc_max;
    if (r->desc_align > 1)
        n = (uint16_t)(n / r->desc_align * r->desc_align);
    return n < r->desc_min ? r->desc_min : n;
}

/* A pool's cache gives nothing back until it holds half as much again as its size. */
static uint32_t caches(uint32_t threads)
{
    return threads * (PLAN_CACHE + PLAN_CACHE / 2);
}

static uint32_t rx_pool_size(uint16_t desc)
{
    return (uint32_t)desc   /* in the device */
           + (uint32_t)desc /* the TAP driver keeps one more per descriptor for scattered reads */
           + NIC_BURST_MAX  /* in the worker's hand; net copies what it keeps */
           + caches(2);     /* the worker's, and the main thread's that filled the ring */
}

static uint32_t tx_pool_size(uint16_t desc)
{
    return (uint32_t)desc  /* given to the device, not yet taken back */
           + PLAN_TX_HELD  /* filled, and waiting for the device to take them */
           + NIC_BURST_MAX /* being filled */
           + caches(2);
}

/* Without a table and a key of ours nobody could tell which queue a flow belongs to. */
static bool rss_is_ours_to_set(const struct plan_caps *c)
{
    uint16_t t = c->rss_table_len;

    return t != 0 && t <= PLAN_RSS_TABLE_MAX && (t & (t - 1)) == 0 && c->rss_key_len <= PLAN_RSS_KEY_LEN_MAX;
}

bool plan_make(const struct plan_caps *caps, const struct plan_wish *wish, struct plan *out, char *err,
               size_t err_cap)
{
    uint32_t buffer = (uint32_t)wish->mtu + PLAN_FRAME_OVERHEAD;

    memset(out, 0, sizeof *out);
    if (wish->queue_count == 0 || wish->queue_count > caps->queues_max || wish->queue_count > WORKERS_MAX) {
        snprintf(err, err_cap, "%u queues wanted, the device has %u and we can use %u", wish->queue_count,
                 caps->queues_max, WORKERS_MAX);
        return false;
    }
    if (wish->mtu < caps->mtu_min || wish->mtu > caps->mtu_max || wish->mtu > PLAN_MTU_MAX) {
        snprintf(err, err_cap, "MTU %u wanted, the device takes %u to %u and we take %u", wish->mtu,
                 caps->mtu_min, caps->mtu_max, PLAN_MTU_MAX);
        return false;
    }
    out->queue_count = wish->queue_count;
    out->mtu = wish->mtu;
    out->rx_desc = ring_size(&caps->rx, PLAN_RX_DESC_WANTED);
    out->tx_desc = ring_size(&caps->tx, PLAN_TX_DESC_WANTED);
    out->rx_ip4_csum = caps->rx_ip4_csum && !wish->no_offload;
    out->rx_tcp_csum = caps->rx_tcp_csum && !wish->no_offload;
    bool tx_csum_pays = !caps->tx_csum_by_driver && !wish->no_offload;
    out->tx_ip4_csum = caps->tx_ip4_csum && tx_csum_pays;
    out->tx_tcp_csum = caps->tx_tcp_csum && tx_csum_pays;
    out->tx_prepare = !caps->tx_as_net_writes;
    out->rss =
        wish->queue_count > 1 && wish->rss && caps->rss && !caps->rss_refused && rss_is_ours_to_set(caps);
    out->rss_table_len = out->rss ? caps->rss_table_len : 0;
    out->rss_key_len = caps->rss_key_len == 0 ? PLAN_RSS_KEY_LEN : caps->rss_key_len;
    out->rx_pool = rx_pool_size(out->rx_desc);
    out->tx_pool = tx_pool_size(out->tx_desc);
    out->buffer_len = (uint16_t)(buffer < PLAN_BUFFER_MIN ? PLAN_BUFFER_MIN : (buffer + 63) / 64 * 64);
    return true;
}
