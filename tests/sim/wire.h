/* Ethernet, IP and TCP as bytes, for test peers: written here once more, so that a mistake in dataplane/net
 * meets a stranger.  Used by the scripted peer and by the client of peer.h. */
#ifndef TESTS_SIM_WIRE_H
#define TESTS_SIM_WIRE_H

#include "base/span.h"

#define WIRE_FRAME_MAX 9100

struct wire_addr {
    bool v6;
    uint8_t bytes[16];
};

enum wire_flag { WIRE_FIN = 1, WIRE_SYN = 2, WIRE_RST = 4, WIRE_PSH = 8, WIRE_ACK = 16, WIRE_URG = 32 };

struct wire_sack {
    uint32_t start, end;
};

/* One TCP segment, either way. */
struct wire_segment {
    struct wire_addr src, dst;
    uint16_t sport, dport;
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t wnd;
    bool has_mss, has_wscale, has_ts, sack_permitted;
    uint16_t mss;
    uint8_t wscale;
    uint32_t tsval, tsecr;
    uint8_t sack_count;
    struct wire_sack sack[4];
    struct span raw_options; /* to send: instead of the options above, padded by the caller to words */
    struct span data;
    uint32_t options_len; /* received: bytes of options */
    bool csum_ok;         /* received: IP and TCP checksum both right */
};

/* What a received frame is. */
enum wire_kind { WIRE_OTHER, WIRE_TCP, WIRE_ARP_REQUEST, WIRE_NS };

/* Into out (WIRE_FRAME_MAX bytes of room); returns the frame's length. */
uint16_t wire_tcp_write(uint8_t *out, const uint8_t dst_mac[6], const uint8_t src_mac[6],
                        const struct wire_segment *s);
/* Data of *s points into the frame.  Fails the running test when a TCP frame is malformed. */
enum wire_kind wire_parse(struct span frame, struct wire_segment *s);
/* The answer to an ARP request or a neighbour solicitation, whoever is asked for: `mac` is there.  0 when the
 * frame is no such question. */
uint16_t wire_neighbour_answer(uint8_t *out, const uint8_t mac[6], struct span frame);
/* Whom such a question asks for. */
bool wire_question_target(struct span frame, struct wire_addr *target);

#endif
