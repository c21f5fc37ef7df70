/* An in-memory Ethernet under a virtual clock, behind nic.h: ports on one hub, with seeded faults.
 *
 * Every frame that a port sends is delivered to every other port, after a delay, unless a fault takes it.
 * Nothing happens by itself: time passes in sim_advance, and the same seed with the same calls gives the same
 * run, byte for byte.  One thread uses a sim.
 *
 * Memory is bounded by config (frames_max buffers, taken at sim_new); a frame that finds no buffer or no room
 * in a receive queue is dropped and counted, as a device would.
 *
 * Sources: libpcap savefile format, draft-ietf-opsawg-pcap. */
#ifndef DRIVERS_NIC_SIM_H
#define DRIVERS_NIC_SIM_H

#include "drivers/nic/nic.h"

#define SIM_PORTS_MAX  8
#define SIM_QUEUES_MAX 8

struct sim;

/* How a port chooses the receive queue of a frame. */
enum sim_steering {
    SIM_STEER_FLOW, /* by a hash of addresses and ports that nobody was told */
    SIM_STEER_LAST, /* by the queue that the flow's last frame left on, before that as above: TAP, virtio */
    SIM_STEER_RSS, /* Toeplitz under rss_key, a table of 128 that deals the queues out in turn; frames carry the hash */
};

struct sim_config {
    uint64_t seed;
    uint16_t port_count;  /* 2..SIM_PORTS_MAX; port i has the MAC 02:00:00:00:00:(i + 1) */
    uint16_t queue_count; /* of each port */
    enum sim_steering steering;
    uint8_t rss_key[40];
    uint32_t misdirect_ppm; /* frames that arrive on a queue drawn by lot instead */
    bool rss_lies;          /* SIM_STEER_RSS: by another key than was agreed */
    bool csum_lies;         /* with rx_csum: every checksum is called right */
    uint16_t mtu;
    uint32_t frames_max; /* buffers of all ports and the wire together */
    bool rx_csum;        /* ports check IPv4 and TCP checksums and flag what they found */
    bool tx_csum;        /* ports fill in what FRAME_TX_* asks for */
    /* Ports leave FRAME_TX_TCP_CSUM undone, and the receiving one says VOUCHED: what virtio and veth peers do. */
    bool partial_csum;
};

/* Two ports, one queue each, MTU 1500, 4096 buffers, no offloads. */
void sim_config_defaults(struct sim_config *c);

/* Never NULL: a test without memory has nothing to say. */
struct sim *MUST_USE sim_new(const struct sim_config *c);
/* Frames that a port's user still holds go with it: ask sim_frames_held before. */
void sim_free(struct sim *s);

/* The device of a port; lives until nic_stop (the port then drops what is sent to it) and sim_free. */
struct nic *sim_port(struct sim *s, uint16_t port);

/* ---- time, in microseconds; a new sim begins at 1 s, so that 0 can mean "never" to its users ---- */

uint64_t sim_now(const struct sim *s);
void sim_advance(struct sim *s, uint64_t us);
/* When the next frame reaches a port; UINT64_MAX when none is on its way.  Not later than now: it waits in a
 * receive queue. */
uint64_t sim_next_delivery(const struct sim *s);

/* ---- faults ---- */

/* What happens to frames sent by one port.  Parts per million of frames. */
struct sim_faults {
    uint32_t loss_ppm;
    uint32_t duplicate_ppm;
    uint32_t corrupt_ppm; /* one to three bits flipped */
    uint32_t jitter_ppm;  /* frames that are late by up to jitter_us, so that others overtake them */
    uint32_t jitter_us;
    uint32_t delay_us; /* of every frame */
};

void sim_set_faults(struct sim *s, uint16_t from_port, const struct sim_faults *f);

/* Sees each frame that any port sends, before the random faults; false: the frame is lost.  NULL: none. */
typedef bool (*sim_filter)(void *arg, uint16_t from_port, struct span frame);
void sim_set_filter(struct sim *s, sim_filter filter, void *arg);

/* From now on one nic_tx of the port takes at most `frames` frames; UINT16_MAX: all. */
void sim_set_tx_room(struct sim *s, uint16_t port, uint16_t frames);
/* nic_frame_alloc of the port fails while its user holds this many frames; UINT32_MAX: no such limit. */
void sim_set_pool_limit(struct sim *s, uint16_t port, uint32_t frames);

/* ---- what happened ---- */

struct sim_stats {
    uint64_t sent, delivered, lost, duplicated, corrupted, late;
    uint64_t no_buffer, queue_full;
};

void sim_get_stats(const struct sim *s, struct sim_stats *out);
/* Frames that the user of a port got (nic_rx, nic_frame_alloc) and has not given back: the leak check. */
uint32_t sim_frames_held(const struct sim *s, uint16_t port);

/* Writes every frame, as it was sent and before any fault, to a capture file with virtual times; stopped by
 * sim_free.  false: the file cannot be made. */
bool MUST_USE sim_capture(struct sim *s, const char *path);

#endif
