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
    if (c->board != NULL)
        board_check(c);
    /* Nothing stalls: whatever is in flight has a timer, or waits for a hop or its turn. */
    if (c->snd_nxt != c->snd_una && !link_is_in(&c->output_link))
        assert_true(tcp_conn_timer_runs(c, TIMER_REXMIT) || tcp_conn_has(c, TCP_CONN_PERSIST));
}

void tcp_invariants_check(const struct net *n)
{
    const struct tcp *t = n->tcp;

    for (uint32_t i = 0; i <= t->slot_mask; i++)
        if (t->slots[i].conn != 0)
            conn_check((const struct net_conn *)(const void *)(t->conns.base + (t->slots[i].conn - 1) *
                                                                                   t->conns.object_size));
}

void tcp_invariants_check_end(const struct net *n)
{
    assert_int_equal(n->tcp->boards.free_count, n->tcp->boards.capacity);
}
