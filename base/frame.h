/* One Ethernet frame and what is known about it; how drivers/nic and dataplane/net speak to each other.
 *
 * The bytes belong to whoever holds the struct; `owner` is the driver's own handle (an rte_mbuf, a simulator
 * buffer) and is touched by the driver alone.  A frame leaves a hand exactly once: nic_tx or nic_frame_free.
 */
#ifndef BASE_FRAME_H
#define BASE_FRAME_H

#include "base/span.h"

enum frame_flag {
    /* received: set by the driver */
    FRAME_RX_IP4_CSUM_GOOD = 1 << 0, /* the device checked the IPv4 header checksum: it is right */
    FRAME_RX_IP4_CSUM_BAD = 1 << 1,
    FRAME_RX_L4_CSUM_GOOD = 1 << 2, /* the device checked TCP's checksum: it is right */
    FRAME_RX_L4_CSUM_BAD = 1 << 3,
    /* to send: set by net where nic_info says that the device does it; the field then holds what the device
     * wants (zero for IPv4, the pseudo-header sum for TCP) */
    FRAME_TX_IP4_CSUM = 1 << 4,
    FRAME_TX_TCP_CSUM = 1 << 5,
    FRAME_IS_IP6 = 1 << 6, /* with FRAME_TX_TCP_CSUM: which pseudo-header */
    /* received, again: the peer never computed that checksum and vouches for the bytes (a virtual wire), which is as
     * good as a right one, and leaves nothing to compare */
    FRAME_RX_IP4_CSUM_VOUCHED = 1 << 7,
    FRAME_RX_L4_CSUM_VOUCHED = 1 << 8,
    FRAME_RX_HASH = 1 << 9, /* hash is the device's, of the flow */
};

struct frame {
    uint8_t *data;   /* first byte of the Ethernet header */
    uint16_t len;    /* bytes in use */
    uint16_t cap;    /* bytes of room at data */
    uint16_t flags;  /* enum frame_flag */
    uint16_t queue;  /* the queue it came in on; replies go out on the same one */
    uint16_t l2_len; /* bytes of Ethernet header and tag, for checksum offload */
    uint16_t l3_len; /* bytes of IP header, for checksum offload */
    uint16_t l4_len; /* bytes of TCP header, for checksum offload */
    uint32_t hash;   /* with FRAME_RX_HASH: Toeplitz over addresses and ports, key agreed at the start */
    void *owner;
};

#endif
