/* Keep-alive (RFC 9293 3.8.4): a peer that has been silent for a while is asked whether it is still there, by a
 * segment one below what it acknowledged last; its ACK is the answer.  Several questions without one: reset.
 *
 * When a segment arrives only the time is noted, and that no question is open: the timer finds out when it fires.  While
 * anything is in flight or waits for a window, retransmission and window probes ask already, and give up. */
#include "dataplane/net/tcp.h"

static bool others_ask(const struct net_conn *c)
{
    return c->snd_una != c->snd_max || tcp_conn_has(c, TCP_CONN_PERSIST);
}

void keepalive_begin(struct net_conn *c)
{
    uint32_t idle_ms = c->tcp->net->config.keepalive_idle_ms;

    c->last_rx_us = tcp_conn_now(c);
    if (idle_ms != 0)
        tcp_conn_timer_set(c, TIMER_KEEPALIVE, tcp_conn_now(c) + idle_ms * 1000ULL);
}

static void peer_is_dead(struct net_conn *c)
{
    count(c->tcp->net->counters, REASON_TCP_KEEPALIVE_DEAD);
    tcp_conn_reset_send(c);
    tcp_conn_end(c, NET_CAUSE_TIMED_OUT);
}

void keepalive_timeout(struct net_conn *c)
{
    const struct net_config *config = &c->tcp->net->config;
    uint64_t due_us = c->last_rx_us + config->keepalive_idle_ms * 1000ULL;

    if (tcp_conn_now(c) < due_us || others_ask(c)) {
        tcp_conn_timer_set(
            c, TIMER_KEEPALIVE,
            due_us > tcp_conn_now(c) ? due_us : tcp_conn_now(c) + config->keepalive_interval_ms * 1000ULL);
        return;
    }
    if (c->keepalives >= config->keepalive_probes) {
        peer_is_dead(c);
        return;
    }
    c->keepalives++;
    count(c->tcp->net->counters, REASON_TCP_KEEPALIVES);
    c->flags |= TCP_CONN_KEEPALIVE;
    tcp_conn_output_want(c);
    tcp_conn_timer_set(c, TIMER_KEEPALIVE, tcp_conn_now(c) + config->keepalive_interval_ms * 1000ULL);
}
