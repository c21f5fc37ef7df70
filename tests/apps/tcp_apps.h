/* Echo (RFC 862, port 7), discard (863, port 9) and character generator (864, port 19) on plain TCP, for test
 * builds: TLS would hide what TCP does to the bytes.
 *
 * Pure: a turn takes the events of one struct net, serves them and returns.  A connection's state is its user
 * pointer; slots come from one array, and a connection beyond it is aborted. */
#ifndef TESTS_APPS_TCP_APPS_H
#define TESTS_APPS_TCP_APPS_H

#include "dataplane/net/net.h"

#define APP_PORT_ECHO    7
#define APP_PORT_DISCARD 9
#define APP_PORT_CHARGEN 19

struct tcp_app_conn {
    struct net_conn *conn; /* NULL: free */
    uint64_t generated;    /* chargen: bytes so far */
    bool ending;           /* net_close was called */
    bool peer_done;        /* its FIN has come */
};

struct tcp_apps {
    struct net *net;
    struct tcp_app_conn *conns;
    uint32_t conns_max;
    uint64_t chargen_bytes; /* chargen closes after so many; 0 = never */
    uint64_t accepted, finished, failed, bytes_in, bytes_out;
};

/* conns: conns_max zeroed slots, the caller's, alive as long as a. */
void tcp_apps_init(struct tcp_apps *a, struct net *net, struct tcp_app_conn *conns, uint32_t conns_max);

/* Serves every pending event; call after net_input and net_timers. */
void tcp_apps_turn(struct tcp_apps *a, uint64_t now_us);

/* Byte `at` of every chargen stream: the 72-column pattern of RFC 864. */
uint8_t tcp_apps_chargen_byte(uint64_t at);

#endif
