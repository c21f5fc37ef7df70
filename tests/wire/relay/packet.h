/* What the relay must know of a frame's inside: its kind, its size as an IP packet, and how its sender is told
 * that it was too big.  Pure functions over bytes; written here once more, so that a mistake in dataplane/net
 * meets a stranger. */
#ifndef TESTS_WIRE_RELAY_PACKET_H
#define TESTS_WIRE_RELAY_PACKET_H

#include "tests/wire/relay/decide.h"

#define FRAME_MAX 9216

bool packet_is(const uint8_t *frame, size_t len, enum only only);
/* Bytes of the IP packet as the frame carries it; 0: not IP. */
uint32_t packet_ip_len(const uint8_t *frame, size_t len);
/* The ICMP "fragmentation needed" (RFC 1191) or ICMPv6 "packet too big" (RFC 8201) about that frame, as if from its
 * destination, back to where it came from.  0: its sender is not to be told (IPv4 without DF, an ICMP error,
 * a group).  out: FRAME_MAX bytes. */
size_t packet_too_big(const uint8_t *frame, size_t len, uint32_t mtu, uint8_t *out);

#endif
