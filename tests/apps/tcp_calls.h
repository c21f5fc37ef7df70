/* The other side of echo, for test builds: connections that we open, each sends a pattern and takes it back.
 *
 * Pure, like tcp_apps: a turn opens what is due, takes the events of one struct net, serves them and returns. */
#ifndef TESTS_APPS_TCP_CALLS_H
#define TESTS_APPS_TCP_CALLS_H

#include "dataplane/net/net.h"

#define CALLS_AT_ONCE 64

struct tcp_call {
    struct net_conn *conn; /* NULL: free */
    uint64_t sent, read;
};

struct tcp_calls {
    struct net *net;
    struct net_addr local, peer;
    uint16_t port;
    uint32_t wanted, begun; /* connections */
    uint64_t bytes;         /* of each */
    struct tcp_call calls[CALLS_AT_ONCE];
    uint64_t finished, refused, failed, wrong; /* wrong: bytes that came back changed, or too many */
};

void tcp_calls_init(struct tcp_calls *a, struct net *net, const struct net_addr *local,
                    const struct net_addr *peer, uint16_t port);
/* Opens and serves; call after net_input and net_timers. */
void tcp_calls_turn(struct tcp_calls *a, uint64_t now_us);
bool tcp_calls_are_over(const struct tcp_calls *a);

#endif
