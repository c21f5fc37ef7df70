/* Stands where TCP stands, for tests of the link and IP half: notes what it is given, and sends on demand. */
#ifndef TESTS_SIM_FAKE_TCP_H
#define TESTS_SIM_FAKE_TCP_H

#include "dataplane/net/internal.h"

struct tcp {
    unsigned inputs;
    struct ip_packet last; /* payload and header are copied below */
    uint8_t payload[65536];
    bool last_csum_ok;
    unsigned icmp_errors;
    struct icmp_tcp_error last_error;
    /* What tcp_output sends once, when not 0: a segment of this many bytes, header included. */
    uint16_t send_len;
    struct net_addr send_src, send_dst;
    uint16_t send_port; /* its source port; 0: any */
    enum ip_hop last_hop;
};

#endif
