/* What a simulated device does with the bytes of a frame: flow hash and checksum offloads.  Pure functions;
 * they read the frame on their own and share nothing with dataplane/net, whose work they check. */
#ifndef DRIVERS_NIC_SIM_DEVICE_H
#define DRIVERS_NIC_SIM_DEVICE_H

#include "base/frame.h"

/* Below queue_count; the same for all frames of a flow. */
uint16_t sim_device_queue(struct span frame, uint16_t queue_count);
/* Of the flow in either direction, never 0; 0: the frame has none. */
uint32_t sim_device_flow(struct span frame);
/* Receive-side scaling's hash of a TCP frame without options or extensions; false: it has none. */
bool MUST_USE sim_device_toeplitz(struct span frame, const uint8_t key[40], uint32_t *hash);
/* FRAME_RX_* as a device that checks IPv4 headers and TCP would set them; 0 for what it does not know. */
uint16_t sim_device_rx_flags(struct span frame);
/* Does what f->flags asks for; leave_tcp: but leaves TCP's checksum partial.  Returns the FRAME_RX_* flags that
 * the receiver is to see in any case. */
uint16_t sim_device_tx(const struct frame *f, bool leave_tcp);

#endif
