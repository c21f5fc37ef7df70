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
     TCP_CONN_TLP_NOW | TCP_CONN_FRTO | TCP_CONN_FRTO_ASKED | TCP_CONN_DSACK | TCP_CONN_KEEPALIVE)

#define OPTION_WORD UINT32_C(0x0101080a) /* two NOPs, then a timestamp option */

/* The fourth word of a header, but for the window. */
static inline uint32_t header_word(uint32_t len, uint32_t flags)
{
    return len / 4 << 28 | flags << 16;
}

/* With what every segment carries. */
static inline uint32_t header_len(bool ts)
{
    return TCP_HEADER_LEN + (ts ? TCP_TS_OPTION_LEN : 0u);
}

/* Asked last, of what is to leave: for tests, which count, and have all go the long way. */
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

/* Of what comes in plain.c has it go the long way. */
static inline void note_taken(struct net *n)
{
#ifdef WW_TEST_HOOKS
    n->express_taken++;
#else
    (void)n;
#endif
}

/* Established, and nothing is missing in the stream that comes in: both asked at once. */
static inline bool is_established(const struct net_conn *c)
{
    static const uint8_t calm[2] = {TCP_ESTABLISHED};

    return memcmp((const uint8_t *)c + offsetof(struct net_conn, state), calm, sizeof calm) == 0;
}

_Static_assert(offsetof(struct net_conn, range_count) == offsetof(struct net_conn, state) + 1,
               "they lie side by side");

/* wanted: flags that must be there.  Nothing of what goes out was lost: that would be a recovery. */
static inline bool is_usual(const struct net_conn *c, uint32_t wanted)
{
    return is_established(c) && (c->flags & (UNUSUAL | wanted)) == wanted && c->snd_nxt == c->snd_max;
}

/* ---- in ---- */

/* tcp_table.c's table_find, in two parts: of those with this tag the next one from slot i on, and whether it is the tuple's. */
static inline struct net_conn *conn_tagged(const struct tcp *t, uint32_t hash, uint32_t *i)
{
    for (; t->slots[*i].conn != 0; *i = (*i + 1) & t->slot_mask)
        if (LIKELY(t->slots[*i].tag == hash))
            return slot_conn(t, &t->slots[*i]);
    return NULL;
}

static inline uint32_t header_ports(const uint8_t *h)
{
    uint32_t word = load_be32(h);

    return word << 16 | word >> 16;
}

struct net_conn *tcp_express_conn4(const struct net *n, const uint8_t *addrs, const uint8_t *h)
{
    const struct tcp *t = n->tcp;
    uint32_t ports = header_ports(h);
    uint64_t both;

    memcpy(&both, addrs, sizeof both);
    uint32_t hash = flow_hash4(&t->table_key, both, ports), i = hash & t->slot_mask;
    struct net_conn *c = conn_tagged(t, hash, &i);
    while (UNLIKELY(c != NULL && (tuple_ports(&c->tuple) != ports || c->tuple.family != NET_IP4 ||
                                  path_word(c->tuple.remote, c->tuple.local) != both))) {
        i = (i + 1) & t->slot_mask;
        c = conn_tagged(t, hash, &i);
    }
    return c;
}

NOINLINE struct net_conn *tcp_express_conn6(const struct net *n, const uint8_t *addrs, const uint8_t *h)
{
    const struct tcp *t = n->tcp;
    uint32_t ports = header_ports(h);
    uint64_t words[4];

    memcpy(words, addrs, sizeof words);
    uint32_t hash = flow_hash6(&t->table_key, words, ports), i = hash & t->slot_mask;
    struct net_conn *c = conn_tagged(t, hash, &i);
    while (c != NULL &&
           (tuple_ports(&c->tuple) != ports || c->tuple.family != NET_IP6 ||
            memcmp(c->tuple.remote, addrs, 16) != 0 || memcmp(c->tuple.local, addrs + 16, 16) != 0)) {
        i = (i + 1) & t->slot_mask;
        c = conn_tagged(t, hash, &i);
    }
    return c;
}

/* rack_arrived, of a segment that left at at_us and was never repeated. */
static inline void one_arrived(struct net_conn *c, uint64_t at_us, uint64_t now)
{
    uint32_t rtt = (uint32_t)(now - at_us), least = c->rtt_min_us;

    if (least != TCP_RTT_FLOOR_US && (rtt < least || least == 0))
        c->rtt_min_us = u32_max(rtt, TCP_RTT_FLOOR_US);
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

/* ack_new, where nothing stays in flight; tsecr: where the echo lies, if there is one. */
static inline void all_acked(struct tcp *t, struct net_conn *c, uint32_t ack, const uint8_t *tsecr,
                             uint64_t now)
{
    uint32_t acked = ack - c->snd_una, flags = c->flags;

    if (LIKELY((flags & TCP_CONN_LONE) != 0))
        one_arrived(c, c->last_send_us, now);
    else if (c->board != NULL)
        board_all_arrived(c);
    else
        c->dupacks = 0;
    /* rtt_measure; what is timed lies below ack */
    if (LIKELY((flags & TCP_CONN_TIMING) != 0))
        rtt_sample(c, (uint32_t)now - c->rtt_start_us);
    else
        rtt_measure_echo(c, tcp_conn_has(c, TCP_CONN_TS) ? load_be32(tsecr) : 0, now);
    c->snd_una = ack;
    c->retries = 0;
    c->probes = 0;
    c->progress_us = now;
    tcp_conn_timer_stop(c, TIMER_REXMIT);
    c->flags = flags & ~(uint32_t)(TCP_CONN_TIMING | TCP_CONN_PROBE_TIMER | TCP_CONN_LONE);
    if ((flags & TCP_CONN_CWND_LIMITED) != 0)
        cwnd_grow(c, acked);
    else
        cwnd_pause(c, now);
    if (LIKELY(c->snd_end == ack))
        send_buffer_give(t, c); /* what is acknowledged lay in it */
}

/* send_window_update; newer: snd_una has just moved, and snd_wl2 is never beyond it.  true: the window is another. */
static inline bool window_take(struct net_conn *c, uint32_t seq, uint32_t ack, uint32_t wnd, bool newer)
{
    if (!newer && !seq_lt(c->snd_wl2, ack) && !seq_lt(c->snd_wl1, seq) &&
        (seq != c->snd_wl1 || ack != c->snd_wl2))
        return false;
    c->snd_wl1 = seq;
    c->snd_wl2 = ack;
    if (LIKELY(wnd == c->snd_wnd))
        return false;
    c->snd_wnd = wnd;
    c->snd_wnd_max = u32_max(c->snd_wnd_max, wnd);
    return true;
}

/* What the segment at h, of len bytes with its header, is to be: the next in order, and either with an acknowledgement of all
 * that is in flight, none of it reported before, or with data. */
static inline bool is_expected(const struct tcp *t, const struct net_conn *c, const uint8_t *h, uint32_t len,
                               bool ts)
{
    uint32_t data = len - header_len(ts), ack = load_be32(h + 8);

    /* Of one that is shorter than its header there would be more data than any window takes. */
    if (!be32_is(h + 12, ~(TCP_PSH << 16 | 0xffffu), header_word(header_len(ts), TCP_ACK)) ||
        load_be32(h + 4) != c->rcv_nxt || data > tcp_conn_recv_window(c))
        return false;
    if (ts && (!be32_is(h + 20, UINT32_MAX, OPTION_WORD) || seq_lt(load_be32(h + 24), c->ts_recent)))
        return false;
    if (t->recv_buffers.free_count == 0)
        return false;
    if (ack == c->snd_una)
        return data != 0;
    return ack == c->snd_max && (c->board == NULL || seq_le(c->board->fack, c->snd_una));
}

/* ts: whether timestamps were agreed; constant, so that each of the two is as short as if it were alone. */
static inline __attribute__((always_inline)) bool
expected_input(struct net *n, struct tcp *t, struct net_conn *c, const uint8_t *h, uint32_t len, bool ts)
{
    uint64_t now = n->now_us;
    uint32_t seq = c->rcv_nxt, data = len - header_len(ts);

    if (!is_expected(t, c, h, len, ts))
        return false;
    note_taken(n);
    c->last_rx_us = now;
    c->keepalives = 0;
    if (ts && LIKELY(seq_le(seq, c->last_ack))) {
        c->ts_recent = load_be32(h + 24);
        c->ts_recent_s = net_now_s(n);
    }
    uint32_t ack = load_be32(h + 8);
    bool newer = ack != c->snd_una;
    if (LIKELY(newer)) {
        all_acked(t, c, ack, h + 28, now);
        output_want(t, c);
    }
    if (UNLIKELY(tcp_conn_has(c, TCP_CONN_UNDO)))
        undo_settle(c);
    if (window_take(c, seq, ack, (uint32_t)load_be16(h + 14) << c->snd_wscale, newer))
        output_want(t, c);
    idle_restart(n, c);
    if (UNLIKELY(data == 0))
        return true;
    /* data_input, of what follows rcv_nxt */
    if (UNLIKELY(ack_is_due(c, data, false, now))) {
        c->flags |= TCP_CONN_ACK_NOW;
        output_want(t, c);
    }
    event_raise(t, c, NET_EVENT_READABLE);
    c->rcv_nxt = seq + data;
    if (LIKELY(c->recv_ring == NULL)) {
        c->recv_ring = ring_begin(slab_take(&t->recv_buffers), seq);
        memcpy(c->recv_ring->bytes, h + header_len(ts), data);
    } else {
        ring_put(c->recv_ring, n->config.recv_buffer, seq, span_of(h + header_len(ts), data));
    }
    return true;
}

static NOINLINE bool bare_input(struct net *n, struct tcp *t, struct net_conn *c, const uint8_t *h,
                                uint32_t len)
{
    return expected_input(n, t, c, h, len, false);
}

bool tcp_express_input(struct net *n, struct net_conn *c, const uint8_t *h, uint32_t len)
{
    struct tcp *t = n->tcp;

    if (!is_usual(c, TCP_CONN_USER))
        return false;
    return tcp_conn_has(c, TCP_CONN_TS) ? expected_input(n, t, c, h, len, true) : bare_input(n, t, c, h, len);
}

/* ---- out ---- */

/* segment_write */
static inline __attribute__((always_inline)) void express_write(struct net *n, struct tcp *t,
                                                                struct net_conn *c, const struct path *way,
                                                                struct frame *f, uint32_t seq, uint32_t len,
                                                                bool ts)
{
    uint32_t header = header_len(ts), ack = c->rcv_nxt, edge = window_edge(t, c);
    uint32_t window =
        (edge - ack) >> c->rcv_wscale; /* of 16 bits: window_edge, and rcv_nxt has only moved up since */

    c->rcv_adv = edge;
    c->rcv_since_ack = 0;
    c->last_ack = ack;
    tcp_conn_timer_stop(c, TIMER_DELACK);

    uint8_t *h = ip_frame_begin(n, f, way, header + len);
    f->l4_len = (uint16_t)header;
    store_be32(h, tuple_ports(&c->tuple));
    store_be32(h + 4, seq);
    store_be32(h + 8, ack);
    store_be32(h + 12, header_word(header, len != 0 ? TCP_ACK | TCP_PSH : TCP_ACK) | window);
    store_be32(h + 16, path_sum(way, header + len) << 16);
    if (ts) {
        store_be32(h + 20, OPTION_WORD);
        store_be32(h + 24, tcp_conn_ts_at(c, n->now_us));
        store_be32(h + 28, c->ts_recent);
    }
    if (len != 0 && LIKELY(c->send_ring->base == seq))
        memcpy(h + header, c->send_ring->bytes, len);
    else if (len != 0)
        ring_get(c->send_ring, n->config.send_buffer, seq, h + header, len);
    if (UNLIKELY(!way->is_short))
        ip_frame_finish_slowly(n, f);
}

/* plan_account, for new bytes up to end. */
static inline void new_account(struct net_conn *c, uint32_t end, uint64_t now)
{
    uint32_t start = c->snd_nxt;
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

/* How many frames were filled, as tcp_conn_output would have filled them: 0 or 1; -1: it is for the long way, and nothing
 * was done. */
static int express_output(struct net *n, struct tcp *t, struct net_conn *c, struct frame *f)
{
    uint32_t seq = c->snd_nxt, len = c->snd_end - seq;

    if (!is_usual(c, 0) || (len != 0 && !is_all_taken(c, len)))
        return -1;
    const struct path *way = path_known(n, (uint8_t)c->tuple.family, c->tuple.local, c->tuple.remote);
    if (way == NULL || !is_on(n))
        return -1;
    bool leaves = len != 0 || tcp_conn_has(c, TCP_CONN_ACK_NOW);
    if (len != 0)
        new_account(c, seq + len, n->now_us);
    else
        seq = tcp_conn_seq_acceptable(c);
    /* output_settle: nothing waits. */
    c->flags &= ~(uint32_t)(TCP_CONN_ACK_NOW | TCP_CONN_CWND_LIMITED);
    if (tcp_conn_pipe(c) + tcp_conn_segment_max(c) > c->cwnd)
        c->flags |= TCP_CONN_CWND_LIMITED;
    if (!leaves)
        return 0;
    if (tcp_conn_has(c, TCP_CONN_TS))
        express_write(n, t, c, way, f, seq, len, true);
    else
        express_write(n, t, c, way, f, seq, len, false);
    return 1;
}

/* Whatever is no answer. */
static NOINLINE uint16_t other_output(struct net *n, struct tcp *t, struct net_conn *c, struct frame *f,
                                      const struct frame *last)
{
    size_t cap = (size_t)(last - f) + 1;
    int used = cap >= 2 ? express_output(n, t, c, f) : -1;

    return used >= 0
               ? (uint16_t)used
               : tcp_conn_turn_output(c, f, cap < TCP_OUTPUT_QUANTUM ? (uint16_t)cap : TCP_OUTPUT_QUANTUM);
}

/* An answer: all that is queued is one segment, the peer's window takes it, nothing is in flight, the last segment left no longer
 * ago than an RTO, timestamps and SACK were agreed.
 *
 * What follows from that is not asked: one segment is never more than cwnd, and with nothing in flight nothing is timed, and no
 * timeout and no probe is counted.  tests/sim/tcp_invariants.c holds after every turn that it does follow. */
#define ANSWER (TCP_CONN_TS | TCP_CONN_SACK)

/* The bytes of an answer; 0: there is none to be sent. */
static inline uint32_t answer_len(const struct net_conn *c, uint64_t now)
{
    uint32_t seq = c->snd_una, len = c->snd_end - seq; /* snd_nxt lies between snd_una and snd_max */

    if (!is_established(c) || (c->flags & (UNUSUAL | ANSWER)) != ANSWER || seq != c->snd_max ||
        len - 1 >= (uint32_t)c->mss - TCP_TS_OPTION_LEN || len > c->snd_wnd ||
        now > c->last_send_us + c->rto_us)
        return 0;
    return len;
}

/* plan_account and output_settle of an answer. */
static inline void answer_account(struct net_conn *c, uint32_t len, uint64_t now)
{
    uint32_t start = c->snd_una, flags = c->flags & ~(uint32_t)(TCP_CONN_ACK_NOW | TCP_CONN_CWND_LIMITED);

    if (c->cwnd - len < (uint32_t)c->mss - TCP_TS_OPTION_LEN)
        flags |= TCP_CONN_CWND_LIMITED;
    c->flags = flags | TCP_CONN_TIMING | TCP_CONN_LONE | TCP_CONN_PROBE_TIMER;
    /* tlp_arm */
    tcp_conn_timer_set(c, TIMER_REXMIT, now + u32_min(lone_wait(c), c->rto_us));
    c->dupacks = 0;
    c->rtt_seq = start;
    c->rtt_start_us = (uint32_t)now;
    c->snd_nxt = c->snd_max = start + len;
    c->last_send_us = c->progress_us = now;
    cwnd_pause(c, now);
}

static inline bool answer_output(struct net *n, struct tcp *t, struct net_conn *c, struct frame *f)
{
    bool is_its;
    const struct path *way = path_of(n, (uint8_t)c->tuple.family, c->tuple.remote, c->tuple.local, &is_its);

    if (!is_its || !path_is_good(n, way))
        return false;
    uint32_t seq = c->snd_una, len = answer_len(c, n->now_us);
    if (len == 0 || !is_on(n))
        return false;
    answer_account(c, len, n->now_us);
    express_write(n, t, c, way, f, seq, len, true);
    return true;
}

uint16_t tcp_output(struct net *n, struct frame *frames, uint16_t cap)
{
    struct tcp *t = n->tcp;
    struct frame *f = frames, *last = frames + cap - 1;
    uint32_t done = 0;

    if (t->hop_generation != n->hop_generation)
        hop_waiters_ask_again(t);
    while (f <= last && !link_empty(t, &t->outputs)) {
        struct net_conn *c = TCP_CONN_OF(link_take(t, &t->outputs), output_link);
        uint32_t used = 1;

        /* Not the last one, because a full burst ends before output_settle. */
        if (UNLIKELY(f == last || !answer_output(n, t, c, f)))
            used = other_output(n, t, c, f, last);
        f += used;
        done += used;
    }
    return (uint16_t)done;
}
