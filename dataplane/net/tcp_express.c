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

#define HEADER_PLAIN      (5 << 4) /* the data offset without options */
#define HEADER_TIMESTAMPS (8 << 4) /* ... and with those of every segment */
#define OPTION_WORD       UINT32_C(0x0101080a)

/* Asked last: so many were taken, or would have been. */
static inline bool is_on(const struct tcp *t)
{
#ifdef WW_TEST_HOOKS
    t->net->express_taken++;
    return !t->net->express_off;
#else
    (void)t;
    return true;
#endif
}

/* wanted: flags that must be there.  Nothing is missing in the stream that comes in, and nothing of what goes out was lost or is out of order. */
static inline bool is_usual(const struct net_conn *c, uint32_t wanted)
{
    const struct tcp_board *b = c->board;

    return c->state == TCP_ESTABLISHED && (c->flags & (UNUSUAL | wanted)) == wanted && c->range_count == 0 &&
           c->snd_nxt == c->snd_max && (b == NULL || (b->sacked | b->lost) == 0);
}

/* ---- in ---- */

struct expected {
    uint32_t seq, ack, tsval, tsecr;
    uint16_t wnd;
    const uint8_t *data;
    uint32_t len;
};

static inline bool is_between(const struct net_conn *c, uint8_t family, const uint8_t *addrs)
{
    if (family == NET_IP4)
        return memcmp(c->tuple.remote, addrs, 4) == 0 && memcmp(c->tuple.local, addrs + 4, 4) == 0;
    return memcmp(c->tuple.remote, addrs, 16) == 0 && memcmp(c->tuple.local, addrs + 16, 16) == 0;
}

/* What tuple_hash (tcp_table.c) computes. */
static NOINLINE uint32_t hash_of_ip6(const struct tcp *t, const uint8_t *addrs, uint64_t tail)
{
    uint64_t words[5];

    memcpy(words, addrs, 32);
    words[4] = tail;
    return (uint32_t)siphash13(&t->table_key, words, 5);
}

/* tcp_table.c's table_find, the tuple being where it came in. */
static inline struct net_conn *conn_of(const struct tcp *t, uint8_t family, const uint8_t *addrs,
                                       const uint8_t *h)
{
    const struct {
        uint16_t remote, local;
        uint32_t family;
    } ends = {load_be16(h), load_be16(h + 2), family};
    uint64_t words[2] = {0}, tail;
    uint32_t hash;

    memcpy(&tail, &ends, sizeof tail);
    if (family == NET_IP4) {
        memcpy(words, addrs, 8);
        words[1] = tail;
        hash = (uint32_t)siphash13(&t->table_key, words, 2);
    } else {
        hash = hash_of_ip6(t, addrs, tail);
    }
    for (uint32_t i = hash & t->slot_mask; t->slots[i].conn != 0; i = (i + 1) & t->slot_mask) {
        if (t->slots[i].tag != hash)
            continue;
        struct net_conn *c = slot_conn(t, &t->slots[i]);
        uint64_t own;
        memcpy(&own, &c->tuple.remote_port, sizeof own);
        if (own == tail && is_between(c, family, addrs))
            return c;
    }
    return NULL;
}

static inline bool is_expected(const struct net_conn *c, const uint8_t *h, size_t len, struct expected *e)
{
    bool ts = tcp_conn_has(c, TCP_CONN_TS);

    if (!is_usual(c, TCP_CONN_USER) || h[12] != (ts ? HEADER_TIMESTAMPS : HEADER_PLAIN) ||
        (h[13] & ~TCP_PSH) != TCP_ACK)
        return false;
    e->tsval = e->tsecr = 0;
    if (ts) {
        if (len < 32 || load_be32(h + 20) != OPTION_WORD)
            return false;
        e->tsval = load_be32(h + 24);
        e->tsecr = load_be32(h + 28);
        if (seq_lt(e->tsval, c->ts_recent))
            return false;
    }
    e->seq = load_be32(h + 4);
    e->ack = load_be32(h + 8);
    e->wnd = load_be16(h + 14);
    e->data = h + (ts ? 32 : 20);
    e->len = (uint32_t)(len - (ts ? 32 : 20));
    if (e->seq != c->rcv_nxt || e->len > tcp_conn_recv_window(c))
        return false;
    if (e->len != 0 && c->recv_ring == NULL && c->tcp->recv_buffers.free_count == 0)
        return false;
    /* All that is in flight, none of it reported before; or nothing, but data beside it. */
    if (e->ack == c->snd_una)
        return e->len != 0;
    return e->ack == c->snd_max && (c->board == NULL || seq_le(c->board->fack, c->snd_una));
}

/* recovery_take: all of the board arrived, none of it out of order. */
static inline void board_all_arrived(struct net_conn *c)
{
    struct tcp_board *b = c->board;

    for (uint32_t i = 0; i < b->count; i++) {
        const struct tcp_sent *r = &b->sent[(b->head + i) & (c->tcp->board_cap - 1)];
        uint32_t rtt = u32_max((uint32_t)(tcp_conn_now(c) - r->at_us), TCP_RTT_FLOOR_US);
        if ((r->flags & SENT_REPEATED) == 0 && (c->rtt_min_us == 0 || rtt < c->rtt_min_us))
            c->rtt_min_us = rtt;
    }
    slab_give(&c->tcp->boards, b);
    c->board = NULL;
}

/* ack_new, where nothing stays in flight. */
static inline void all_acked(struct net_conn *c, const struct expected *e)
{
    uint32_t acked = e->ack - c->snd_una;

    if (c->board != NULL)
        board_all_arrived(c);
    else
        c->dupacks = 0;
    rtt_measure(c, e->ack, e->tsecr);
    c->snd_una = e->ack;
    c->retries = 0;
    c->probes = 0;
    c->progress_us = tcp_conn_now(c);
    if (tcp_conn_has(c, TCP_CONN_CWND_LIMITED))
        cwnd_grow(c, acked);
    else
        cwnd_pause(c);
    tcp_conn_timer_stop(c, TIMER_REXMIT);
    c->flags &= ~(uint32_t)TCP_CONN_PROBE_TIMER;
    tcp_conn_idle_restart(c);
    if (c->snd_end == c->snd_una)
        tcp_conn_send_buffer_give(c);
    tcp_conn_output_want(c);
}

/* send_window_update */
static inline void window_take(struct net_conn *c, const struct expected *e)
{
    uint32_t wnd = (uint32_t)e->wnd << c->snd_wscale;

    if (!seq_lt(c->snd_wl2, e->ack) && !seq_lt(c->snd_wl1, e->seq) &&
        (e->seq != c->snd_wl1 || e->ack != c->snd_wl2))
        return;
    if (wnd != c->snd_wnd)
        tcp_conn_output_want(c);
    c->snd_wnd = wnd;
    c->snd_wnd_max = u32_max(c->snd_wnd_max, wnd);
    c->snd_wl1 = e->seq;
    c->snd_wl2 = e->ack;
}

/* data_input */
static inline void data_take(struct net_conn *c, const struct expected *e)
{
    uint32_t size = c->tcp->net->config.recv_buffer;
    uint32_t at = e->seq & (size - 1);
    uint32_t first = u32_min(e->len, size - at);

    if (c->recv_ring == NULL) {
        c->recv_ring = slab_take(&c->tcp->recv_buffers);
        tcp_conn_gaps(c)->stamp = 0;
    }
    memcpy(c->recv_ring + at, e->data, first);
    if (first != e->len)
        memcpy(c->recv_ring, e->data + first, e->len - first);
    c->rcv_nxt += e->len;
    ack_schedule(c, e->len, false);
    tcp_conn_event(c, NET_EVENT_READABLE);
    tcp_conn_idle_restart(c);
}

bool tcp_express_input(struct net *n, uint8_t family, const uint8_t *addrs, const uint8_t *h, size_t len)
{
    struct net_conn *c = conn_of(n->tcp, family, addrs, h);
    struct expected e;

    if (c == NULL || !is_expected(c, h, len, &e) || !is_on(n->tcp))
        return false;
    c->last_rx_us = n->now_us;
    c->keepalives = 0;
    if (tcp_conn_has(c, TCP_CONN_TS) && seq_le(e.seq, c->last_ack)) {
        c->ts_recent = e.tsval;
        c->ts_recent_s = net_now_s(n);
    }
    if (e.ack != c->snd_una)
        all_acked(c, &e);
    if (tcp_conn_has(c, TCP_CONN_UNDO))
        undo_settle(c);
    window_take(c, &e);
    if (e.len != 0)
        data_take(c, &e);
    return true;
}

/* ---- out ---- */

/* segment_write */
static inline void express_write(struct net_conn *c, const uint8_t mac[6], struct frame *f, uint32_t seq,
                                 uint32_t len)
{
    struct tcp *t = c->tcp;
    bool ts = tcp_conn_has(c, TCP_CONN_TS);
    uint32_t header = ts ? 32 : 20;
    uint8_t *h = ip_frame_begin(t->net, f, (uint8_t)c->tuple.family, c->tuple.local, c->tuple.remote,
                                (uint16_t)(header + len), mac);

    c->rcv_adv = tcp_conn_window_edge(c);
    store_be32(h, (uint32_t)c->tuple.local_port << 16 | c->tuple.remote_port);
    store_be32(h + 4, seq);
    store_be32(h + 8, c->rcv_nxt);
    h[12] = ts ? HEADER_TIMESTAMPS : HEADER_PLAIN;
    h[13] = len != 0 ? TCP_ACK | TCP_PSH : TCP_ACK;
    store_be16(h + 14, (uint16_t)u32_min(tcp_conn_recv_window(c) >> c->rcv_wscale, UINT16_MAX));
    store_be32(h + 16, 0);
    if (ts) {
        store_be32(h + 20, OPTION_WORD);
        store_be32(h + 24, tcp_conn_ts_now(c));
        store_be32(h + 28, c->ts_recent);
    }
    if (len != 0) {
        uint32_t size = t->net->config.send_buffer;
        uint32_t at = seq & (size - 1);
        uint32_t first = u32_min(len, size - at);
        memcpy(h + header, c->send_ring + at, first);
        if (first != len)
            memcpy(h + header + first, c->send_ring, len - first);
    }
    ip_frame_finish_tcp(t->net, f, (uint16_t)header);
    c->flags &= ~(uint32_t)TCP_CONN_ACK_NOW;
    c->rcv_since_ack = 0;
    c->last_ack = c->rcv_nxt;
    tcp_conn_timer_stop(c, TIMER_DELACK);
}

/* plan_account, for len new bytes. */
static inline void new_account(struct net_conn *c, uint32_t len)
{
    uint64_t now = tcp_conn_now(c);
    uint32_t end = c->snd_nxt + len;

    if (c->snd_una == c->snd_max)
        c->progress_us = now;
    if (!tcp_conn_has(c, TCP_CONN_TIMING)) {
        c->flags |= TCP_CONN_TIMING;
        c->rtt_seq = c->snd_nxt;
        c->rtt_start_us = (uint32_t)now;
    }
    c->snd_max = end;
    c->last_send_us = now;
    board_append(c, end);
    c->snd_nxt = end;
    if (!tcp_conn_timer_runs(c, TIMER_REXMIT))
        tcp_conn_rexmit_restart(c);
    tlp_arm(c);
}

int express_output(struct net_conn *c, const uint8_t mac[6], struct frame *f, uint16_t cap)
{
    uint32_t flight = c->snd_nxt - c->snd_una;
    uint32_t len = c->snd_end - c->snd_nxt;
    uint32_t room = u32_min(c->snd_wnd, c->cwnd);
    bool leaves = len != 0 || tcp_conn_has(c, TCP_CONN_ACK_NOW);

    /* Two frames: a full burst ends before output_settle. */
    if (!is_usual(c, 0) || c->keepalive_due || cap < 2)
        return -1;
    if (len > tcp_conn_segment_max(c) ||
        (len != 0 && (flight > room || len > room - flight || board_is_full(c))))
        return -1;
    if (!is_on(c->tcp))
        return -1;
    if (len != 0 && flight == 0)
        flight_begin(c);
    if (leaves)
        express_write(c, mac, f, len != 0 ? c->snd_nxt : tcp_conn_seq_acceptable(c), len);
    if (len != 0)
        new_account(c, len);
    /* output_settle: nothing waits. */
    if (tcp_conn_pipe(c) + tcp_conn_segment_max(c) > c->cwnd)
        c->flags |= TCP_CONN_CWND_LIMITED;
    else
        c->flags &= ~(uint32_t)TCP_CONN_CWND_LIMITED;
    return leaves;
}
