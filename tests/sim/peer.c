/* Positions are 64-bit offsets into the two streams; the SYN lies before offset 0.  Both streams are kept whole,
 * which is what lets the peer notice a byte that changes when it is sent again. */
#include "tests/sim/peer.h"

#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define ANSWERS_MAX  8
#define RTO_FIRST_US 300000
#define RTO_MAX_US   8000000
#define REPEATS_MAX  40
#define DELAY_US     40000
#define NEVER        UINT64_MAX
#define HEADERS_V4   (14 + 20 + 20 + 12)
#define HEADERS_V6   (14 + 40 + 20 + 12)

struct bytes {
    uint8_t *ptr;
    size_t len, cap;
};

struct peer {
    struct peer_options o;
    enum peer_state state;
    /* sending */
    struct bytes tx;
    uint64_t una, nxt, max;
    uint64_t window_edge; /* offset up to which the server lets us send */
    uint32_t wl_seq, wl_ack;
    bool fin_queued, fin_acked;
    uint32_t dupacks, repeats;
    uint64_t retransmits, rto_us, rto_at;
    bool probe, resend;
    uint16_t mss; /* the server's */
    uint8_t wscale;
    bool ts, sack, scaled;
    /* receiving */
    uint32_t irs;
    bool synced;
    struct bytes rx, have;
    uint64_t rx_next, rx_read, rx_edge, fin_at;
    bool fin_seen, fin_received;
    uint32_t ts_recent, ts_last_seen;
    bool ts_any;
    uint32_t segments_unacked;
    uint64_t again_start, again_end; /* what came twice and was not reported yet; equal: nothing */
    uint64_t delay_at;
    /* to send */
    bool syn_now, ack_now, rst_now;
    uint32_t rst_seq;
    uint8_t answers[ANSWERS_MAX][128];
    uint16_t answer_len[ANSWERS_MAX];
    uint32_t answer_count;
};

static void bytes_reserve(struct bytes *b, size_t len)
{
    if (len > b->cap) {
        size_t cap = b->cap != 0 ? b->cap : 4096;
        while (cap < len)
            cap *= 2;
        b->ptr = realloc(b->ptr, cap);
        assert_non_null(b->ptr);
        memset(b->ptr + b->cap, 0, cap - b->cap);
        b->cap = cap;
    }
    if (len > b->len)
        b->len = len;
}

struct wire_addr peer_addr(const char *text)
{
    struct wire_addr a = {.v6 = strchr(text, ':') != NULL};

    assert_int_equal(inet_pton(a.v6 ? AF_INET6 : AF_INET, text, a.bytes), 1);
    return a;
}

void peer_options_defaults(struct peer_options *o, bool v6)
{
    *o = (struct peer_options){.mac = {2, 0, 0, 0, 0, 2}, .server_mac = {2, 0, 0, 0, 0, 1}};
    o->addr = peer_addr(v6 ? "2001:db8::2" : "192.0.2.2");
    o->server = peer_addr(v6 ? "2001:db8::1" : "192.0.2.1");
    o->port = 40000;
    o->server_port = 443;
    o->iss = 1000;
    o->wscale = 7;
    o->ts = true;
    o->sack = true;
}

struct peer *peer_new(const struct peer_options *o)
{
    struct peer *p = calloc(1, sizeof *p);

    assert_non_null(p);
    p->o = *o;
    if (o->mss == 0)
        p->o.mss = o->addr.v6 ? 1440 : 1460;
    if (o->recv_window == 0)
        p->o.recv_window = 65536;
    if (o->flight_max == 0)
        p->o.flight_max = 32768;
    p->rto_at = NEVER;
    p->delay_at = NEVER;
    p->rto_us = RTO_FIRST_US;
    return p;
}

void peer_free(struct peer *p)
{
    free(p->tx.ptr);
    free(p->rx.ptr);
    free(p->have.ptr);
    free(p);
}

void peer_connect(struct peer *p, uint64_t now_us)
{
    p->state = PEER_CONNECTING;
    p->syn_now = true;
    p->rto_at = now_us + p->rto_us;
}

void peer_write(struct peer *p, struct span data, uint64_t now_us)
{
    size_t at = p->tx.len;

    assert_false(p->fin_queued);
    if (data.len == 0)
        return;
    bytes_reserve(&p->tx, at + data.len);
    memcpy(p->tx.ptr + at, data.ptr, data.len);
    if (p->rto_at == NEVER)
        p->rto_at = now_us + p->rto_us;
}

size_t peer_readable(const struct peer *p)
{
    return (size_t)(p->rx_next - p->rx_read);
}

static uint64_t window_edge_now(const struct peer *p)
{
    uint64_t edge = p->rx_read + p->o.recv_window;
    uint64_t reach = p->rx_next + ((uint64_t)UINT16_MAX << (p->scaled ? p->o.wscale : 0));

    return edge < reach ? edge : reach;
}

size_t peer_read(struct peer *p, uint8_t *out, size_t cap, uint64_t now_us)
{
    size_t n = peer_readable(p) < cap ? peer_readable(p) : cap;
    uint64_t step = p->o.recv_window / 2 < p->o.mss ? p->o.recv_window / 2 : p->o.mss;

    (void)now_us;
    if (n != 0)
        memcpy(out, p->rx.ptr + p->rx_read, n);
    p->rx_read += n;
    if (n != 0 && window_edge_now(p) >= p->rx_edge + step && p->synced)
        p->ack_now = true;
    return n;
}

void peer_close(struct peer *p, uint64_t now_us)
{
    p->fin_queued = true;
    if (p->rto_at == NEVER)
        p->rto_at = now_us + p->rto_us;
}

void peer_abort(struct peer *p, uint64_t now_us)
{
    (void)now_us;
    p->rst_now = p->synced;
    p->rst_seq = p->o.iss + 1 + (uint32_t)p->max;
    p->state = PEER_ABORTED;
    p->rto_at = NEVER;
    p->delay_at = NEVER;
}

enum peer_state peer_state(const struct peer *p)
{
    return p->state;
}

bool peer_fin_received(const struct peer *p)
{
    return p->fin_received;
}

uint64_t peer_unacked(const struct peer *p)
{
    return p->tx.len - p->una;
}

uint64_t peer_retransmits(const struct peer *p)
{
    return p->retransmits;
}

/* ---- received ---- */

static uint64_t end_of_tx(const struct peer *p)
{
    return p->tx.len + (p->fin_queued ? 1 : 0);
}

static void handshake_input(struct peer *p, const struct wire_segment *s, uint64_t now_us)
{
    if ((s->flags & WIRE_RST) != 0) {
        if ((s->flags & WIRE_ACK) != 0 && s->ack == p->o.iss + 1)
            p->state = PEER_RESET;
        return;
    }
    if ((s->flags & (WIRE_SYN | WIRE_ACK)) != (WIRE_SYN | WIRE_ACK) || s->ack != p->o.iss + 1)
        return;
    assert_true(s->has_mss && s->mss >= 536);
    assert_true(p->o.wscale >= 0 || !s->has_wscale);
    assert_true(p->o.ts || !s->has_ts);
    assert_true(p->o.sack || !s->sack_permitted);
    p->irs = s->seq;
    p->synced = true;
    p->mss = s->mss;
    p->scaled = s->has_wscale;
    p->wscale = s->has_wscale ? s->wscale : 0;
    p->ts = s->has_ts;
    p->sack = s->sack_permitted;
    p->ts_recent = s->tsval;
    p->window_edge = s->wnd;
    p->wl_seq = s->seq;
    p->wl_ack = s->ack;
    p->rx_edge = window_edge_now(p);
    p->state = PEER_OPEN;
    p->syn_now = false;
    p->ack_now = true;
    p->repeats = 0;
    p->rto_us = RTO_FIRST_US;
    p->rto_at = end_of_tx(p) != 0 ? now_us + p->rto_us : NEVER;
}

/* RFC 2883: the first block may repeat what the ACK or the second block covers. */
static bool block_is_dsack(const struct wire_segment *s)
{
    if ((int32_t)(s->sack[0].end - s->ack) <= 0)
        return true;
    return s->sack_count > 1 && (int32_t)(s->sack[0].start - s->sack[1].start) >= 0 &&
           (int32_t)(s->sack[1].end - s->sack[0].end) >= 0;
}

static void sack_check(const struct peer *p, const struct wire_segment *s)
{
    assert_true(s->sack_count == 0 || p->sack);
    for (uint8_t i = 0; i < s->sack_count; i++) {
        assert_true((int32_t)(s->sack[i].end - s->sack[i].start) > 0);
        if (i == 0 && block_is_dsack(s))
            assert_true((int32_t)(s->sack[0].start - (p->o.iss + 1)) >= 0);
        else
            assert_true((int32_t)(s->sack[i].start - s->ack) > 0);
        assert_true((int32_t)(s->sack[i].end - (p->o.iss + 1 + (uint32_t)p->max)) <= 0);
    }
}

static void ack_take(struct peer *p, const struct wire_segment *s, uint64_t now_us)
{
    uint64_t ack = p->una + (uint64_t)(int64_t)(int32_t)(s->ack - (p->o.iss + 1 + (uint32_t)p->una));
    uint64_t edge = ack + ((uint64_t)s->wnd << p->wscale);

    if ((int64_t)(ack - p->una) < 0)
        return;
    assert_true(ack <= p->max); /* acknowledges what was never sent */
    if (ack > p->una) {
        p->una = ack;
        if (p->nxt < ack)
            p->nxt = ack;
        p->dupacks = 0;
        p->repeats = 0;
        p->rto_us = RTO_FIRST_US;
        p->rto_at = ack < end_of_tx(p) ? now_us + p->rto_us : NEVER;
        p->fin_acked = p->fin_queued && ack == end_of_tx(p);
    } else if (s->data.len == 0 && edge == p->window_edge && p->max > p->una) {
        if (++p->dupacks == 3)
            p->resend = true;
    }
    if ((int32_t)(s->seq - p->wl_seq) > 0 || (s->seq == p->wl_seq && (int32_t)(s->ack - p->wl_ack) >= 0)) {
        p->wl_seq = s->seq;
        p->wl_ack = s->ack;
        p->window_edge = edge;
    }
    if (p->window_edge == p->una)
        p->repeats = 0; /* a shut window that is announced is an answer */
}

/* RFC 2883: the first stretch of what is here already. */
static void duplicate_note(struct peer *p, uint64_t at, uint64_t end)
{
    while (at < end && !p->have.ptr[at])
        at++;
    if (at == end)
        return;
    p->again_start = at;
    while (at < end && p->have.ptr[at])
        at++;
    p->again_end = at;
}

/* One byte beyond the window is a probe; anything else there is a violation. */
static void data_take(struct peer *p, uint64_t at, struct span data)
{
    uint64_t end = at + data.len;

    assert_true(end <= p->rx_edge || data.len == 1);
    if (end > p->rx_read + p->o.recv_window)
        return;
    bytes_reserve(&p->rx, end);
    bytes_reserve(&p->have, end);
    duplicate_note(p, at, end);
    for (size_t i = 0; i < data.len; i++) {
        if (p->have.ptr[at + i])
            assert_int_equal(p->rx.ptr[at + i], data.ptr[i]);
        p->rx.ptr[at + i] = data.ptr[i];
        p->have.ptr[at + i] = 1;
    }
    while (p->rx_next < p->have.len && p->have.ptr[p->rx_next])
        p->rx_next++;
}

static void stream_take(struct peer *p, const struct wire_segment *s, uint64_t now_us)
{
    uint64_t next = p->rx_next + p->fin_received;
    uint64_t at = next + (uint64_t)(int64_t)(int32_t)(s->seq - (p->irs + 1 + (uint32_t)next));
    bool fin = (s->flags & WIRE_FIN) != 0;
    bool in_order = at == next;

    if (s->data.len == 0 && !fin) {
        /* A question about the window, or a keep-alive: only an old number asks for an answer. */
        if ((int64_t)(at - next) < 0)
            p->ack_now = true;
        return;
    }
    if (p->fin_received || (int64_t)at < 0) {
        if ((int64_t)at >= 0 && at + s->data.len <= p->rx_next)
            duplicate_note(p, at, at + s->data.len);
        p->ack_now = true;
        return;
    }
    if (s->data.len != 0)
        data_take(p, at, s->data);
    if (fin) {
        assert_true(!p->fin_seen || p->fin_at == at + s->data.len);
        p->fin_seen = true;
        p->fin_at = at + s->data.len;
    }
    if (p->fin_seen && p->rx_next == p->fin_at)
        p->fin_received = true;
    p->segments_unacked++;
    if (!p->o.delayed_acks || fin || !in_order || p->segments_unacked >= 2)
        p->ack_now = true;
    else if (p->delay_at == NEVER)
        p->delay_at = now_us + DELAY_US;
}

static void segment_take(struct peer *p, const struct wire_segment *s, uint64_t now_us)
{
    if (p->state == PEER_CONNECTING) {
        handshake_input(p, s, now_us);
        return;
    }
    if (p->state != PEER_OPEN && p->state != PEER_FINISHED)
        return;
    if ((s->flags & WIRE_RST) != 0) {
        if (p->state == PEER_OPEN)
            p->state = PEER_RESET;
        p->rto_at = NEVER;
        p->delay_at = NEVER;
        return;
    }
    if ((s->flags & WIRE_SYN) != 0) {
        p->ack_now = true;
        return;
    }
    assert_true((s->flags & WIRE_ACK) != 0);
    assert_true(s->has_ts == p->ts);
    assert_true(s->data.len + s->options_len <= p->o.mss);
    if (p->ts && (int32_t)(s->tsval - p->ts_recent) < 0) {
        p->ack_now = true; /* PAWS */
        return;
    }
    if (p->ts && (int32_t)(s->seq - (p->irs + 1 + (uint32_t)p->rx_next)) <= 0)
        p->ts_recent = s->tsval;
    sack_check(p, s);
    ack_take(p, s, now_us);
    stream_take(p, s, now_us);
    if (p->fin_acked && p->fin_received)
        p->state = PEER_FINISHED;
}

static bool addr_equal(const struct wire_addr *a, const struct wire_addr *b)
{
    return a->v6 == b->v6 && memcmp(a->bytes, b->bytes, a->v6 ? 16 : 4) == 0;
}

void peer_input(struct peer *p, const struct frame *f, uint64_t now_us)
{
    struct wire_segment s;
    struct wire_addr target;
    struct span bytes = span_of(f->data, f->len);

    if (wire_question_target(bytes, &target)) {
        if (!addr_equal(&target, &p->o.addr) || p->answer_count == ANSWERS_MAX)
            return;
        p->answer_len[p->answer_count] = wire_neighbour_answer(p->answers[p->answer_count], p->o.mac, bytes);
        p->answer_count++;
        return;
    }
    if (wire_parse(bytes, &s) != WIRE_TCP || memcmp(f->data, p->o.mac, 6) != 0 ||
        !addr_equal(&s.dst, &p->o.addr) || !addr_equal(&s.src, &p->o.server) || s.dport != p->o.port ||
        s.sport != p->o.server_port)
        return;
    assert_true(s.csum_ok || (f->flags & FRAME_TX_TCP_CSUM) != 0);
    /* RFC 9293 3.5.2, group 1: a closed end resets what still comes, a challenge ACK (RFC 5961) among it. */
    if (p->state == PEER_ABORTED && (s.flags & (WIRE_RST | WIRE_ACK)) == WIRE_ACK) {
        p->rst_now = true;
        p->rst_seq = s.ack;
        return;
    }
    segment_take(p, &s, now_us);
}

/* ---- sent ---- */

static struct wire_segment segment_begin(const struct peer *p, uint64_t at, uint8_t flags, uint64_t now_us)
{
    struct wire_segment s = {.src = p->o.addr,
                             .dst = p->o.server,
                             .sport = p->o.port,
                             .dport = p->o.server_port,
                             .flags = flags,
                             .seq = p->o.iss + 1 + (uint32_t)at};

    if (p->synced)
        s.ack = p->irs + 1 + (uint32_t)p->rx_next + p->fin_received;
    s.has_ts = p->synced ? p->ts : p->o.ts;
    s.tsval = (uint32_t)(now_us / 1000) + 5;
    s.tsecr = p->ts_recent;
    return s;
}

static void frame_put(struct peer *p, struct frame *f, const struct wire_segment *s)
{
    assert_true(f->cap >= s->data.len + (s->src.v6 ? HEADERS_V6 : HEADERS_V4));
    f->len = wire_tcp_write(f->data, p->o.server_mac, p->o.mac, s);
    f->flags = FRAME_RX_L4_CSUM_GOOD | FRAME_RX_IP4_CSUM_GOOD;
}

static void window_put(struct peer *p, struct wire_segment *s)
{
    uint64_t edge = window_edge_now(p);
    uint64_t step = p->o.recv_window / 2 < p->o.mss ? p->o.recv_window / 2 : p->o.mss;
    uint8_t shift = (uint8_t)(p->scaled ? p->o.wscale : 0);
    uint64_t window;

    if (edge >= p->rx_edge + step)
        p->rx_edge = edge;
    window = p->rx_edge > p->rx_next ? (p->rx_edge - p->rx_next) >> shift : 0;
    s->wnd = (uint16_t)(window < UINT16_MAX ? window : UINT16_MAX);
    p->ack_now = false;
    p->segments_unacked = 0;
    p->delay_at = NEVER;
}

static void syn_write(struct peer *p, struct frame *f, uint64_t now_us)
{
    struct wire_segment s = segment_begin(p, 0, WIRE_SYN, now_us);

    s.seq = p->o.iss;
    s.has_mss = true;
    s.mss = p->o.mss;
    s.has_wscale = p->o.wscale >= 0;
    s.wscale = (uint8_t)(p->o.wscale >= 0 ? p->o.wscale : 0);
    s.sack_permitted = p->o.sack;
    s.wnd = (uint16_t)(p->o.recv_window < UINT16_MAX ? p->o.recv_window : UINT16_MAX);
    frame_put(p, f, &s);
    p->syn_now = false;
}

static void block_put(const struct peer *p, struct wire_segment *s, uint64_t start, uint64_t end)
{
    s->sack[s->sack_count].start = p->irs + 1 + (uint32_t)start;
    s->sack[s->sack_count++].end = p->irs + 1 + (uint32_t)end;
}

/* The duplicate first, and behind it the block that it lies in. */
static void dsack_put(struct peer *p, struct wire_segment *s)
{
    uint64_t start = p->again_start;
    uint64_t end = p->again_end;

    if (start == end)
        return;
    block_put(p, s, start, end);
    p->again_start = p->again_end = 0;
    if (start < p->rx_next)
        return;
    while (p->have.ptr[start - 1])
        start--;
    while (end < p->have.len && p->have.ptr[end])
        end++;
    block_put(p, s, start, end);
}

static void sack_put(struct peer *p, struct wire_segment *s)
{
    uint64_t at = p->rx_next;
    uint8_t max = p->ts ? 3 : 4;

    if (!p->sack)
        return;
    dsack_put(p, s);
    if (p->fin_received)
        return;
    while (at < p->have.len && s->sack_count < max) {
        while (at < p->have.len && !p->have.ptr[at])
            at++;
        if (at == p->have.len)
            break;
        uint64_t start = at;
        while (at < p->have.len && p->have.ptr[at])
            at++;
        block_put(p, s, start, at);
    }
}

static void ack_write(struct peer *p, struct frame *f, uint64_t now_us)
{
    struct wire_segment s = segment_begin(p, p->max, WIRE_ACK, now_us);

    sack_put(p, &s);
    window_put(p, &s);
    frame_put(p, f, &s);
}

/* Bytes [at, at + len) and the FIN when it follows and may go. */
static void data_write(struct peer *p, struct frame *f, uint64_t at, uint64_t len, uint64_t now_us)
{
    struct wire_segment s = segment_begin(p, at, WIRE_ACK | WIRE_PSH, now_us);
    uint64_t end = at + len;

    s.data = span_of(len != 0 ? p->tx.ptr + at : NULL, len);
    if (p->fin_queued && end == p->tx.len) {
        s.flags |= WIRE_FIN;
        end++;
    }
    if (at < p->max)
        p->retransmits++;
    if (end > p->max)
        p->max = end;
    window_put(p, &s);
    frame_put(p, f, &s);
    if (p->rto_at == NEVER)
        p->rto_at = now_us + p->rto_us;
}

static uint64_t data_len_at(const struct peer *p, uint64_t at, uint64_t limit)
{
    uint64_t most = (uint64_t)p->mss - (p->ts ? 12 : 0);
    uint64_t left = at < p->tx.len ? p->tx.len - at : 0;
    uint64_t room = at < limit ? limit - at : 0;

    left = left < most ? left : most;
    return left < room ? left : room;
}

static bool data_next(struct peer *p, struct frame *f, uint64_t now_us)
{
    uint64_t limit = p->una + p->o.flight_max;
    uint64_t len;

    if (p->resend) {
        p->resend = false;
        if (p->una < p->max) {
            data_write(p, f, p->una, data_len_at(p, p->una, p->max), now_us);
            return true;
        }
    }
    if (p->window_edge < limit)
        limit = p->window_edge;
    if (p->probe) {
        p->probe = false;
        if (limit <= p->una)
            limit = p->una + 1;
    }
    if (p->nxt >= end_of_tx(p) || p->nxt >= limit)
        return false;
    len = data_len_at(p, p->nxt, limit);
    if (len == 0 && !p->fin_queued)
        return false;
    data_write(p, f, p->nxt, len, now_us);
    p->nxt += len;
    if (p->fin_queued && p->nxt == p->tx.len)
        p->nxt++;
    return true;
}

static uint16_t special_output(struct peer *p, uint64_t now_us, struct frame *frames, uint16_t cap)
{
    uint16_t used = 0;

    while (p->answer_count > 0 && used < cap) {
        p->answer_count--;
        frames[used].len = p->answer_len[p->answer_count];
        frames[used].flags = 0;
        memcpy(frames[used].data, p->answers[p->answer_count], frames[used].len);
        used++;
    }
    if (p->syn_now && used < cap)
        syn_write(p, &frames[used++], now_us);
    if (p->rst_now && used < cap) {
        struct wire_segment s = segment_begin(p, p->max, WIRE_RST | WIRE_ACK, now_us);
        s.seq = p->rst_seq;
        frame_put(p, &frames[used++], &s);
        p->rst_now = false;
    }
    return used;
}

uint16_t peer_output(struct peer *p, uint64_t now_us, struct frame *frames, uint16_t cap)
{
    uint16_t used = special_output(p, now_us, frames, cap);

    if (p->state != PEER_OPEN && p->state != PEER_FINISHED)
        return used;
    while (used < cap && data_next(p, &frames[used], now_us))
        used++;
    if (p->ack_now && used < cap)
        ack_write(p, &frames[used++], now_us);
    return used;
}

bool peer_has_output(const struct peer *p)
{
    uint64_t limit = p->una + p->o.flight_max;

    if (p->answer_count > 0 || p->syn_now || p->rst_now)
        return true;
    if (p->state != PEER_OPEN && p->state != PEER_FINISHED)
        return false;
    if (p->window_edge < limit)
        limit = p->window_edge;
    return p->ack_now || p->resend || p->probe || (p->nxt < end_of_tx(p) && p->nxt < limit);
}

void peer_timers(struct peer *p, uint64_t now_us)
{
    if (now_us >= p->delay_at) {
        p->delay_at = NEVER;
        p->ack_now = true;
    }
    if (now_us < p->rto_at)
        return;
    if (++p->repeats > REPEATS_MAX) {
        p->state = PEER_FAILED;
        p->rto_at = NEVER;
        return;
    }
    p->rto_us = 2 * p->rto_us < RTO_MAX_US ? 2 * p->rto_us : RTO_MAX_US;
    p->rto_at = now_us + p->rto_us;
    if (p->state == PEER_CONNECTING) {
        p->syn_now = true;
        return;
    }
    p->nxt = p->una;
    p->probe = true;
    p->dupacks = 0;
}

uint64_t peer_next_timer(const struct peer *p)
{
    return p->rto_at < p->delay_at ? p->rto_at : p->delay_at;
}
