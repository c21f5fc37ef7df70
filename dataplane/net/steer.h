/* The inside of net.h's struct steering: which worker a flow belongs to, and the lanes on which one worker passes to another what it received for it.
 *
 * One struct steering per process, made before the workers and shared by all of them.  Its owner function is
 * Toeplitz under a key of this boot, the same that a device with receive-side scaling computes: where the device
 * steers rightly its own hash is taken, everywhere else (TAP and virtio steer by the queue that a flow last left
 * on, fragments and ICMP errors hash otherwise) it is computed here.  Either way each worker comes to the same
 * owner for the same four-tuple, so nobody has to be asked, and no connection ever moves.
 *
 * A lane has one producer and one consumer and copies: no frame of one worker's pool is held or freed by another.
 * A full lane drops, counted; TCP repairs it.
 *
 * Sources: Microsoft RSS hash specification; docs/decisions/0005. */
#ifndef DATAPLANE_NET_STEER_H
#define DATAPLANE_NET_STEER_H

#include "dataplane/net/net.h"

/* Of a packet from src to dst, as it is received.  Cost: 24 table look-ups for IPv4, 72 for IPv6. */
uint32_t steering_hash(const struct steering *s, const struct net_addr *src, const struct net_addr *dst,
                       uint16_t src_port, uint16_t dst_port);
/* Below config.workers: entry hash mod table_len of a table that deals the workers out in turn. */
uint16_t steering_owner(const struct steering *s, uint32_t hash);

/* ---- lanes ---- */

enum handed_kind {
    HANDED_IP4, /* a whole packet, header checked */
    HANDED_IP6,
    HANDED_NEIGHBOUR, /* struct neighbour_news */
    HANDED_FRAME,     /* test builds: as if it had come from the wire */
};

struct handed {
    uint16_t kind;  /* enum handed_kind */
    uint16_t flags; /* FRAME_RX_* */
    uint16_t len;
    uint8_t bytes[];
};

/* Room for len bytes on the lane, to be filled and then committed; NULL: the lane is full, or len too long. */
struct handed *MUST_USE lane_begin(struct steering *s, uint16_t from, uint16_t to, size_t len);
void lane_commit(struct steering *s, uint16_t from, uint16_t to);
/* More than half of it is taken: what can wait, or be asked for again, is left out. */
bool lane_is_busy(const struct steering *s, uint16_t from, uint16_t to);
/* The next one, valid until it is released; NULL: none. */
const struct handed *MUST_USE lane_peek(struct steering *s, uint16_t from, uint16_t to);
void lane_release(struct steering *s, uint16_t from, uint16_t to);

#endif
