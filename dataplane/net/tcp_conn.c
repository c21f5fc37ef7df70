/* The connection functions of net.h: what the user of a connection may do. */
#include "dataplane/net/tcp.h"

#include "base/check.h"

static void tcp_conn_clock(struct net_conn *c, uint64_t now_us)
{
    CHECK(tcp_conn_has(c, TCP_CONN_USER));
    if (UNLIKELY(now_us > c->tcp->net->now_us))
        c->tcp->net->now_us = now_us;
}

struct net_conn *net_next_event(struct net *n, uint32_t *events)
{
    struct tcp *t = n->tcp;

    if (!t->in_round) {
        t->in_round = true;
        t->event_round++;
    }
    if (link_empty(t, &t->events) ||
        TCP_CONN_OF(link_first(t, &t->events), event_link)->event_round == t->event_round) {
        t->in_round = false;
        return NULL;
    }
    struct net_conn *c = TCP_CONN_OF(link_take(t, &t->events), event_link);
    *events = c->events;
    c->events = 0;
    return c;
}

void net_set_user(struct net_conn *c, void *user)
{
    c->user = user;
}

void *net_user(const struct net_conn *c)
{
    return c->user;
}

struct span net_peek(const struct net_conn *c)
{
    uint32_t unread = tcp_conn_unread(c);

    if (unread == 0)
        return span_of(NULL, 0);
    const struct tcp_ring *ring = c->recv_ring;
    if (LIKELY(ring->base == c->rcv_read))
        return span_of(ring->bytes, unread);
    uint32_t size = c->tcp->net->config.recv_buffer, at = ring_at(ring, size, c->rcv_read);
    return span_of(ring->bytes + at, u32_min(unread, size - at));
}

size_t net_readable(const struct net_conn *c)
{
    return tcp_conn_unread(c);
}

/* RFC 9293 3.8.6.2.2 says when the edge may move; a window that the peer can still use well is announced with
 * the next ACK that goes out anyway, or once it would grow by two segments (D11, B11). */
static inline void window_update_consider(struct tcp *t, struct net_conn *c)
{
    uint32_t step = window_edge(t, c) - c->rcv_adv;

    if (LIKELY(step == 0) || c->state == TCP_CLOSED || tcp_conn_has(c, TCP_CONN_FIN_RECEIVED))
        return;
    uint32_t segment = tcp_mss_ours(c);
    uint32_t half = t->net->config.recv_buffer / 2;
    if (tcp_conn_recv_window(c) < segment || step >= u32_min(half, 2 * segment))
        tcp_conn_ack_now(c);
}

struct span net_consume(struct net_conn *c, size_t len, uint64_t now_us)
{
    uint32_t unread = tcp_conn_unread(c);

    tcp_conn_clock(c, now_us);
    CHECK(len <= unread);
    c->rcv_read += (uint32_t)len;
    if (LIKELY(len == unread && c->recv_ring != NULL && c->range_count == 0))
        recv_buffer_give(c->tcp, c);
    window_update_consider(c->tcp, c);
    return len == unread ? span_of(NULL, 0) : net_peek(c);
}

static bool tcp_conn_may_send(const struct net_conn *c)
{
    return (LIKELY(c->state == TCP_ESTABLISHED) || c->state == TCP_CLOSE_WAIT) &&
           !tcp_conn_has(c, TCP_CONN_FIN_QUEUED);
}

size_t net_send_room(const struct net_conn *c)
{
    if (!tcp_conn_may_send(c))
        return 0;
    if (c->send_ring == NULL && c->tcp->send_buffers.free_count == 0)
        return 0;
    return c->tcp->net->config.send_buffer - tcp_conn_queued(c);
}

/* How many bytes there is room for, with a buffer if one is left. */
static inline size_t send_room_take(struct tcp *t, struct net_conn *c)
{
    if (UNLIKELY(c->send_ring != NULL))
        return t->net->config.send_buffer - tcp_conn_queued(c);
    void *buffer = slab_take(&t->send_buffers);
    if (UNLIKELY(buffer == NULL))
        return 0;
    c->send_ring = ring_begin(buffer, c->snd_end);
    c->progress_us = t->net->now_us;
    return t->net->config.send_buffer;
}

/* The user could not put all: it hears of room when the ring is half empty, or, having no ring, when one is
 * given back. */
static NOINLINE void room_want(struct net_conn *c)
{
    c->flags |= TCP_CONN_WANT_ROOM;
    if (c->send_ring != NULL)
        return;
    count(c->tcp->net->counters, REASON_TCP_NO_SEND_BUFFER);
    if (!link_is_in(&c->room_link))
        link_append(c->tcp, &c->tcp->room_waiters, &c->room_link);
}

size_t net_send(struct net_conn *c, struct span data, uint64_t now_us)
{
    tcp_conn_clock(c, now_us);
    if (data.len == 0 || !tcp_conn_may_send(c))
        return 0;
    struct tcp *t = c->tcp;
    size_t room = send_room_take(t, c);
    if (UNLIKELY(room < data.len)) {
        room_want(c);
        data.len = room;
        if (room == 0)
            return 0;
    }
    if (UNLIKELY(tcp_conn_has(c, TCP_CONN_WANT_ROOM)))
        link_remove(t, &c->room_link);
    output_want(t, c);
    uint32_t seq = c->snd_end;
    c->snd_end += (uint32_t)data.len;
    struct tcp_ring *ring = c->send_ring;
    if (LIKELY(ring->base == seq))
        memcpy(ring->bytes, data.ptr, data.len);
    else
        ring_put(ring, t->net->config.send_buffer, seq, data);
    return data.len;
}

void net_close(struct net_conn *c, uint64_t now_us)
{
    tcp_conn_clock(c, now_us);
    if (tcp_conn_is_opening(c))
        net_abort(c, now_us); /* RFC 9293 3.10.4: there is nothing to finish */
    if (!tcp_conn_may_send(c))
        return;
    if (tcp_conn_unread(c) != 0) {
        count(c->tcp->net->counters, REASON_TCP_CLOSED_UNREAD);
        net_abort(c, now_us);
        return;
    }
    c->flags |= TCP_CONN_FIN_QUEUED;
    c->flags &= ~(uint32_t)TCP_CONN_WANT_ROOM;
    link_remove(c->tcp, &c->room_link);
    tcp_conn_set_state(c, c->state == TCP_CLOSE_WAIT ? TCP_LAST_ACK : TCP_FIN_WAIT_1);
    tcp_conn_output_want(c);
}

void net_abort(struct net_conn *c, uint64_t now_us)
{
    tcp_conn_clock(c, now_us);
    if (c->state == TCP_CLOSED)
        return;
    count(c->tcp->net->counters, REASON_TCP_ABORTED);
    if (c->state != TCP_SYN_SENT)
        tcp_conn_reset_send(c);
    tcp_conn_end(c, NET_CAUSE_ABORTED);
}

/* RFC 9293 3.10.4, RFC 1122 4.2.2.13: what nobody will read any more is refused by a RST. */
void net_release(struct net_conn *c, uint64_t now_us)
{
    tcp_conn_clock(c, now_us);
    net_close(c, now_us);
    if (c->state != TCP_CLOSED && tcp_conn_unread(c) != 0)
        net_abort(c, now_us);
    c->flags &= ~(uint32_t)TCP_CONN_USER;
    c->user = NULL;
    link_remove(c->tcp, &c->event_link);
    tcp_conn_timer_stop(c, TIMER_USER);
    if (c->state == TCP_CLOSED) {
        tcp_conn_free(c);
        return;
    }
    c->rcv_read = c->rcv_nxt - (tcp_conn_has(c, TCP_CONN_FIN_RECEIVED) ? 1 : 0);
    recv_buffer_trim(c);
    tcp_conn_orphan_timer_restart(c);
}

void net_set_deadline(struct net_conn *c, uint64_t at_us)
{
    CHECK(tcp_conn_has(c, TCP_CONN_USER));
    if (at_us == 0)
        tcp_conn_timer_stop(c, TIMER_USER);
    else
        tcp_conn_timer_set(c, TIMER_USER, at_us);
}

enum net_cause net_close_cause(const struct net_conn *c)
{
    return (enum net_cause)c->cause;
}

struct net_addr net_peer_addr(const struct net_conn *c)
{
    struct net_addr a = {.family = (uint8_t)c->tuple.family};

    memcpy(a.bytes, c->tuple.remote, sizeof a.bytes);
    return a;
}

uint16_t net_peer_port(const struct net_conn *c)
{
    return c->tuple.remote_port;
}

uint16_t net_local_port(const struct net_conn *c)
{
    return c->tuple.local_port;
}
