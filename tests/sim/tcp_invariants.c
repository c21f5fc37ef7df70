#include "tests/sim/tcp_invariants.h"

#include "dataplane/net/tcp.h"
#include "tests/unit/test.h"

static void board_check(const struct net_conn *c)
{
    const struct tcp_board *b = c->board;
    uint32_t at = c->snd_una;
    uint32_t sacked = 0;
    uint32_t lost = 0;

    assert_true(b->count != 0 && b->count <= c->tcp->board_cap);
    for (uint32_t i = 0; i < b->count; i++) {
        const struct tcp_sent *r = &b->sent[(b->head + i) & (c->tcp->board_cap - 1)];
        assert_true(seq_lt(at, r->end));
        assert_true(r->at_us <= tcp_conn_now(c));
        assert_int_not_equal(r->flags & (SENT_SACKED | SENT_LOST), SENT_SACKED | SENT_LOST);
        sacked += (r->flags & SENT_SACKED) != 0 ? r->end - at : 0;
        lost += (r->flags & SENT_LOST) != 0 ? r->end - at : 0;
        at = r->end;
    }
    assert_int_equal(at, c->snd_nxt);
    assert_int_equal(sacked, b->sacked);
    assert_int_equal(lost, b->lost);
    assert_true(tcp_conn_pipe(c) <= c->snd_nxt - c->snd_una);
    assert_true(b->lost == 0 || tcp_conn_has(c, TCP_CONN_RECOVERY | TCP_CONN_RTO_RECOVERY));
}

static void conn_check(const struct net_conn *c)
{
    assert_true(seq_le(c->snd_una, c->snd_nxt) && seq_le(c->snd_nxt, c->snd_max));
    assert_true(c->cwnd >= tcp_conn_segment_max(c) && c->cwnd <= 1u << 30);
    assert_true(c->ssthresh >= 2 * tcp_conn_segment_max(c));
    assert_true((c->rcv_adv - c->rcv_nxt) >> c->rcv_wscale <= UINT16_MAX);
    assert_true(tcp_conn_is_opening(c) || seq_le(c->snd_wl2, c->snd_una));
    if (c->board != NULL)
        board_check(c);
    if (tcp_conn_has(c, TCP_CONN_LONE))
        assert_true(tcp_conn_has(c, TCP_CONN_SACK) && c->board == NULL && c->snd_nxt != c->snd_una &&
                    c->last_send_us <= tcp_conn_now(c));
    /* What the short way of an answer does not ask for. */
    assert_true(tcp_conn_has(c, TCP_CONN_RECOVERY) || !tcp_conn_has(c, TCP_CONN_PARTIAL_SEEN));
    if (c->snd_una == c->snd_max) {
        assert_false(tcp_conn_has(c, TCP_CONN_TIMING));
        assert_int_equal(c->probes, 0);
        assert_true(c->retries == 0 || tcp_conn_has(c, TCP_CONN_RTO_RECOVERY | TCP_CONN_PERSIST));
    }
    /* Nothing stalls: whatever is in flight has a timer, or waits for a hop or its turn. */
    if (c->snd_nxt != c->snd_una && !link_is_in(&c->output_link))
        assert_true(tcp_conn_timer_runs(c, TIMER_REXMIT) || tcp_conn_has(c, TCP_CONN_PERSIST));
}

void tcp_invariants_check(const struct net *n)
{
    const struct tcp *t = n->tcp;

    for (uint32_t i = 0; i <= t->slot_mask; i++)
        if (t->slots[i].conn != 0)
            conn_check(slot_conn(t, &t->slots[i]));
}

void tcp_invariants_check_end(const struct net *n)
{
    assert_int_equal(n->tcp->boards.free_count, n->tcp->boards.capacity);
}

static uint64_t mixed(uint64_t h, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
        h ^= h >> 29;
    }
    for (; len != 0; p++, len--)
        h = (h ^ *p) * 0x9e3779b97f4a7c15ULL;
    return h ^ h >> 32;
}

/* As if its board had been taken (board_describe). */
static uint64_t lone_digest(const struct net_conn *c, uint64_t h)
{
    struct tcp_board b;
    struct tcp_sent r = {.at_us = c->last_send_us, .end = c->snd_nxt};

    memset(&b, 0, sizeof b);
    b.count = 1;
    b.fack = b.fack_before = c->snd_una;
    h = mixed(h, &b.count, sizeof b - offsetof(struct tcp_board, count));
    return mixed(h, &r, sizeof r);
}

/* Pointers tell whether they are there, and no more. */
static uint64_t conn_digest(const struct net_conn *c, uint64_t h)
{
    struct net_conn k = *c;
    bool lone = tcp_conn_has(c, TCP_CONN_LONE);
    uint8_t there =
        (uint8_t)((c->recv_ring != NULL) | (c->send_ring != NULL) << 1 | (lone || c->board != NULL) << 2 |
                  link_is_in(&c->output_link) << 3 | link_is_in(&c->event_link) << 4 |
                  link_is_in(&c->room_link) << 5 | wheel_is_armed(&c->timer) << 6);

    k.tcp = NULL;
    k.recv_ring = k.send_ring = NULL;
    k.board = NULL;
    memset(&k.output_link, 0, sizeof k.output_link);
    memset(&k.event_link, 0, sizeof k.event_link);
    memset(&k.room_link, 0, sizeof k.room_link);
    k.timer.next = k.timer.prev = NULL;
    k.user = NULL;
    k.flags &= ~(uint32_t)TCP_CONN_LONE;
    h = mixed(h, &k, sizeof k);
    h = mixed(h, &there, 1);
    if (c->recv_ring != NULL)
        h = mixed(h, tcp_conn_ranges(c), c->range_count * sizeof(struct tcp_range));
    if (lone)
        return lone_digest(c, h);
    if (c->board == NULL)
        return h;
    h = mixed(h, &c->board->count, sizeof *c->board - offsetof(struct tcp_board, count));
    for (uint32_t i = 0; i < c->board->count; i++)
        h = mixed(h, sent_at(c, i), sizeof(struct tcp_sent));
    return h;
}

static uint64_t lones(const struct tcp *t)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i <= t->slot_mask; i++)
        count += t->slots[i].conn != 0 && tcp_conn_has(slot_conn(t, &t->slots[i]), TCP_CONN_LONE);
    return count;
}

uint64_t tcp_digest(const struct net *n)
{
    const struct tcp *t = n->tcp;
    uint64_t levels[] = {t->recv_buffers.free_count,
                         t->send_buffers.free_count,
                         t->boards.free_count - lones(t),
                         t->conns.free_count,
                         t->pressure.level,
                         n->csums_compared,
                         n->csums_left,
                         n->csum_distrusted,
                         n->rng.counter};
    uint64_t h = mixed(1, levels, sizeof levels);

    h = mixed(h, t->state_count, sizeof t->state_count);
    for (int r = 0; r < REASON_COUNT; r++) {
        uint64_t v = counter_read(n->counters, (enum reason)r);
        h = mixed(h, &v, sizeof v);
    }
    for (uint32_t i = 0; i <= t->slot_mask; i++)
        if (t->slots[i].conn != 0)
            h = conn_digest(slot_conn(t, &t->slots[i]), h);
    return h;
}

void tcp_express_set(struct net *n, bool on)
{
    n->express_off = !on;
    if (!on)
        n->plain_lens = 0;
}

uint64_t tcp_express_taken(const struct net *n)
{
    return n->express_taken;
}
