/* The short way, after Van Jacobson's header prediction (RFC 1323, appendix): in, the next bytes in order and the
 * acknowledgement of all that is in flight, or either; out, all that is queued, in one segment, or a bare ACK.
 *
 * It is no second TCP.  Each function states what must hold, and does, in the order of the long way, what of the long way
 * is left when that holds: tcp_segment.c and tcp_ack.c for what comes in, tcp_output.c for what goes out.  Whatever else
 * there is about a segment or a connection goes there, untouched.  tests/sim/tcp_lossy_test.c runs the same traffic both
 * ways and compares every frame and every record. */
#include "dataplane/net/tcp.h"

/* A connection with any of these is dealt with the long way.  (CWND_LIMITED, TIMING, UNDO, ACK_NOW, the tail's probe as a
 * timer and what was agreed in the handshake are not among them.) */
#define UNUSUAL                                                                                              \
    (TCP_CONN_FIN_QUEUED | TCP_CONN_FIN_SEEN | TCP_CONN_FIN_RECEIVED | TCP_CONN_RECOVERY |                   \
     TCP_CONN_RTO_RECOVERY | TCP_CONN_PERSIST | TCP_CONN_MTU_LOWERED | TCP_CONN_RESEND_FIRST |               \
     TCP_CONN_PROBE | TCP_CONN_FORCE | TCP_CONN_WANT_ROOM | TCP_CONN_REORDER_TIMER | TCP_CONN_TLP |          \
     TCP_CONN_TLP_NOW | TCP_CONN_FRTO | TCP_CONN_FRTO_ASKED | TCP_CONN_DSACK)

#define OPTION_WORD UINT32_C(0x0101080a) /* two NOPs, then a timestamp option */

/* With what every segment carries. */
static inline uint32_t header_len(const struct net_conn *c)
{
    return TCP_HEADER_LEN + (tcp_conn_has(c, TCP_CONN_TS) ? TCP_TS_OPTION_LEN : 0u);
}

/* The fourth word of a header, but for the window. */
static inline uint32_t header_word(uint32_t len, uint32_t flags)
{
    return len / 4 << 28 | flags << 16;
}

/* Asked last: so many were taken, or would have been. */
static inline bool is_on(struct net *n)
{
#ifdef WW_TEST_HOOKS
    n->express_taken++;
    return !n->express_off;
#else
    (void)n;
    return true;
#endif
}

/* wanted: flags that must be there.  Nothing is missing in the stream that comes in, and nothing of what goes out was
 * lost: that would be a recovery. */
static inline bool is_usual(const struct net_conn *c, uint32_t wanted)
{
    return c->state == TCP_ESTABLISHED && (c->flags & (UNUSUAL | wanted)) == wanted && c->range_count == 0 &&
           c->snd_nxt == c->snd_max;
}

/* ---- in ---- */

static NOINLINE uint32_t hash_of_ip6(const struct tcp *t, const uint8_t *addrs, uint32_t ports)
{
    uint64_t words[4];

    memcpy(words, addrs, 32);
    return flow_hash6(&t->table_key, words, ports);
}

static inline bool is_between(const struct net_conn *c, uint8_t family, const uint8_t *addrs)
{
    if (family == NET_IP4)
        return memcmp(c->tuple.remote, addrs, 4) == 0 && memcmp(c->tuple.local, addrs + 4, 4) == 0;
    return memcmp(c->tuple.remote, addrs, 16) == 0 && memcmp(c->tuple.local, addrs + 16, 16) == 0;
}

/* tcp_table.c's table_find, the tuple being where it came in. */
static inline struct net_conn *conn_of(const struct tcp *t, uint8_t family, const uint8_t *addrs,
                                       const uint8_t *h)
{
    uint32_t ports = load_be32(h), hash;

    if (family == NET_IP4) {
        uint64_t both;
        memcpy(&both, addrs, sizeof both);
        hash = flow_hash4(&t->table_key, both, ports);
    } else {
        hash = hash_of_ip6(t, addrs, ports);
    }
    for (uint32_t i = hash & t->slot_mask; t->slots[i].conn != 0; i = (i + 1) & t->slot_mask) {
        if (t->slots[i].tag != hash)
            continue;
        struct net_conn *c = slot_conn(t, &t->slots[i]);
        if (tuple_ports(&c->tuple) == ports && c->tuple.family == family && is_between(c, family, addrs))
            return c;
    }
    return NULL;
}

/* rack_arrived, of a segment that left at at_us and was never repeated. */
static inline void one_arrived(struct net_conn *c, uint64_t at_us, uint64_t now)
{
    uint32_t rtt = u32_max((uint32_t)(now - at_us), TCP_RTT_FLOOR_US);

    if (rtt < c->rtt_min_us || c->rtt_min_us == 0)
        c->rtt_min_us = rtt;
}

/* recovery_take: all of the board arrived, none of it out of order. */
static NOINLINE void board_all_arrived(struct net_conn *c)
{
    for (uint32_t i = 0; i < c->board->count; i++)
        if ((sent_at(c, i)->flags & SENT_REPEATED) == 0)
            one_arrived(c, sent_at(c, i)->at_us, tcp_conn_now(c));
    slab_give(&c->tcp->boards, c->board);
    c->board = NULL;
}

/* ack_new, where nothing stays in flight. */
static inline void all_acked(struct net_conn *c, uint32_t ack, uint32_t tsecr, uint64_t now)
{
    uint32_t acked = ack - c->snd_una;

    if (tcp_conn_has(c, TCP_CONN_LONE))
        one_arrived(c, c->last_send_us, now);
    else if (c->board != NULL)
        board_all_arrived(c);
    else
        c->dupacks = 0;
    rtt_measure(c, ack, tsecr, now);
    c->snd_una = ack;
    c->retries = 0;
    c->probes = 0;
    c->progress_us = now;
    if (tcp_conn_has(c, TCP_CONN_CWND_LIMITED))
        cwnd_grow(c, acked);
    else
        cwnd_pause(c, now);
    tcp_conn_timer_stop(c, TIMER_REXMIT);
    c->flags &= ~(uint32_t)(TCP_CONN_PROBE_TIMER | TCP_CONN_LONE);
    if (c->snd_end == c->snd_una)
        tcp_conn_send_buffer_give(c);
}

/* send_window_update; true: the window is another. */
static inline bool window_take(struct net_conn *c, uint32_t seq, uint32_t ack, uint32_t wnd)
{
    if (!seq_lt(c->snd_wl2, ack) && !seq_lt(c->snd_wl1, seq) && (seq != c->snd_wl1 || ack != c->snd_wl2))
        return false;
    c->snd_wl1 = seq;
    c->snd_wl2 = ack;
    if (wnd == c->snd_wnd)
        return false;
    c->snd_wnd = wnd;
    c->snd_wnd_max = u32_max(c->snd_wnd_max, wnd);
    return true;
}

/* data_input, of what follows rcv_nxt; true: an ACK is to leave now. */
static inline bool data_take(struct net *n, struct tcp *t, struct net_conn *c, struct span data)
{
    uint32_t size = n->config.recv_buffer;
    uint32_t len = (uint32_t)data.len, at = c->rcv_nxt & (size - 1);
    uint32_t first = u32_min(len, size - at);
    bool ack_now = ack_is_due(c, len, false, n->now_us);

    event_raise(t, c, NET_EVENT_READABLE);
    if (c->recv_ring == NULL) {
        c->recv_ring = slab_take(&t->recv_buffers);
        tcp_conn_gaps(c)->stamp = 0;
    }
    c->rcv_nxt += len;
    memcpy(c->recv_ring + at, data.ptr, first);
    if (first != len)
        memcpy(c->recv_ring, data.ptr + first, len - first);
    return ack_now;
}

/* Whether the segment at h is the one that was expected; len: with its header. */
static inline bool is_expected(const struct tcp *t, const struct net_conn *c, const uint8_t *h, uint32_t len)
{
    uint32_t header = header_len(c), data = len - header, ack = load_be32(h + 8);

    /* Of one that is shorter than its header there would be more data than any window takes. */
    if ((load_be32(h + 12) & ~(TCP_PSH << 16 | 0xffffu)) != header_word(header, TCP_ACK) ||
        load_be32(h + 4) != c->rcv_nxt || data > tcp_conn_recv_window(c))
        return false;
    if (tcp_conn_has(c, TCP_CONN_TS) &&
        (load_be32(h + 20) != OPTION_WORD || seq_lt(load_be32(h + 24), c->ts_recent)))
        return false;
    if (data != 0 && c->recv_ring == NULL && t->recv_buffers.free_count == 0)
        return false;
    /* All that is in flight, none of it reported before; or nothing, but data beside it. */
    if (ack == c->snd_una)
        return data != 0;
    return ack == c->snd_max && (c->board == NULL || seq_le(c->board->fack, c->snd_una));
}

bool tcp_express_input(struct net *n, uint8_t family, const uint8_t *addrs, const uint8_t *h, uint32_t len)
{
    struct tcp *t = n->tcp;
    struct net_conn *c = conn_of(t, family, addrs, h);

    if (c == NULL || !is_usual(c, TCP_CONN_USER) || !is_expected(t, c, h, len) || !is_on(n))
        return false;
    uint32_t header = header_len(c), ack = load_be32(h + 8);
    bool ts = tcp_conn_has(c, TCP_CONN_TS), output = false;

    c->last_rx_us = n->now_us;
    c->keepalives = 0;
    if (ts && seq_le(c->rcv_nxt, c->last_ack)) {
        c->ts_recent = load_be32(h + 24);
        c->ts_recent_s = net_now_s(n);
    }
    if (ack != c->snd_una) {
        all_acked(c, ack, ts ? load_be32(h + 28) : 0, n->now_us);
        output = true;
    }
    if (tcp_conn_has(c, TCP_CONN_UNDO))
        undo_settle(c);
    output |= window_take(c, c->rcv_nxt, ack, (uint32_t)load_be16(h + 14) << c->snd_wscale);
    idle_restart(n, c);
    if (len != header && data_take(n, t, c, span_of(h + header, len - header))) {
        c->flags |= TCP_CONN_ACK_NOW;
        output = true;
    }
    if (output)
        output_want(t, c);
    return true;
}

/* ---- out ---- */

/* segment_write */
static inline void express_write(struct net *n, struct net_conn *c, const struct path *way, struct frame *f,
                                 uint32_t seq, uint32_t len)
{
    uint32_t header = header_len(c);

    c->rcv_adv = window_edge(n->tcp, c);
    c->flags &= ~(uint32_t)TCP_CONN_ACK_NOW;
    c->rcv_since_ack = 0;
    c->last_ack = c->rcv_nxt;
    tcp_conn_timer_stop(c, TIMER_DELACK);

    uint32_t window = u32_min(tcp_conn_recv_window(c) >> c->rcv_wscale, UINT16_MAX);
    uint8_t *h = ip_frame_begin(n, f, way, header + len);
    store_be32(h, (uint32_t)c->tuple.local_port << 16 | c->tuple.remote_port);
    store_be32(h + 4, seq);
    store_be32(h + 8, c->rcv_nxt);
    store_be32(h + 12, header_word(header, len != 0 ? TCP_ACK | TCP_PSH : TCP_ACK) | window);
    store_be32(h + 16, 0);
    if (tcp_conn_has(c, TCP_CONN_TS)) {
        store_be32(h + 20, OPTION_WORD);
        store_be32(h + 24, tcp_conn_ts_at(c, n->now_us));
        store_be32(h + 28, c->ts_recent);
    }
    if (len != 0) {
        uint32_t size = n->config.send_buffer;
        uint32_t at = seq & (size - 1);
        uint32_t first = u32_min(len, size - at);
        memcpy(h + header, c->send_ring + at, first);
        if (first != len)
            memcpy(h + header + first, c->send_ring, len - first);
    }
    ip_frame_finish_tcp(n, f, way, header);
}

/* plan_account, for len new bytes. */
static inline void new_account(struct net_conn *c, uint32_t len, uint64_t now)
{
    uint32_t start = c->snd_nxt, end = start + len;
    bool begins = c->snd_una == start;

    if (begins)
        flight_begin(c, now);
    if (!tcp_conn_has(c, TCP_CONN_TIMING)) {
        c->flags |= TCP_CONN_TIMING;
        c->rtt_seq = start;
        c->rtt_start_us = (uint32_t)now;
    }
    flight_append(c, end);
    c->snd_nxt = c->snd_max = end;
    c->last_send_us = now;
    if (begins)
        c->progress_us = now;
    flight_timer_arm(c, now);
}

/* All that is queued fits one segment, and both windows take it. */
static inline bool is_all_taken(const struct net_conn *c, uint32_t len)
{
    uint32_t flight = c->snd_nxt - c->snd_una, room = u32_min(c->snd_wnd, c->cwnd);

    return len <= tcp_conn_segment_max(c) && flight <= room && len <= room - flight && !board_is_full(c);
}

/* How many frames were filled, as tcp_conn_output would have filled them, of at most cap: 0 or 1; -1: it is for the long
 * way, and nothing was done. */
static inline int express_output(struct net *n, struct net_conn *c, struct frame *f, size_t cap)
{
    uint32_t len = c->snd_end - c->snd_nxt;

    /* Two frames: a full burst ends before output_settle. */
    if (!is_usual(c, 0) || c->keepalive_due || cap < 2 || (len != 0 && !is_all_taken(c, len)))
        return -1;
    const struct path *way = path_known(n, (uint8_t)c->tuple.family, c->tuple.local, c->tuple.remote);
    if (way == NULL || !is_on(n))
        return -1;
    bool leaves = len != 0 || tcp_conn_has(c, TCP_CONN_ACK_NOW);
    uint32_t seq = len != 0 ? c->snd_nxt : tcp_conn_seq_acceptable(c);
    if (len != 0)
        new_account(c, len, n->now_us);
    /* output_settle: nothing waits. */
    if (tcp_conn_pipe(c) + tcp_conn_segment_max(c) > c->cwnd)
        c->flags |= TCP_CONN_CWND_LIMITED;
    else
        c->flags &= ~(uint32_t)TCP_CONN_CWND_LIMITED;
    if (leaves)
        express_write(n, c, way, f, seq, len);
    return leaves;
}

uint16_t tcp_output(struct net *n, struct frame *frames, uint16_t cap)
{
    struct tcp *t = n->tcp;
    struct frame *f = frames, *end = frames + cap;

    if (t->hop_generation != n->hop_generation)
        hop_waiters_ask_again(t);
    while (f != end && !link_empty(t, &t->outputs)) {
        struct net_conn *c = TCP_CONN_OF(link_take(t, &t->outputs), output_link);
        size_t room = (size_t)(end - f) < TCP_OUTPUT_QUANTUM ? (size_t)(end - f) : TCP_OUTPUT_QUANTUM;

        int used = express_output(n, c, f, room);
        f += used >= 0 ? used : tcp_conn_turn_output(c, f, (uint16_t)room);
    }
    return (uint16_t)(f - frames);
}
