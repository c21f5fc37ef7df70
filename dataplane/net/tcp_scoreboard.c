/* What is in flight, one record per segment, oldest first.  SACK blocks come from outside: a block counts only
 * where it covers whole segments that were really sent (B1), so that no claim can unbalance the two byte
 * counters from which pipe follows. */
#include "dataplane/net/tcp.h"

#include "base/check.h"

#define BOARD_BYTES_PER_RECORD 512 /* of the send buffer: segments are larger, or the flight is bounded */
#define BOARD_CAP_MIN          32

size_t board_size(const struct net_config *config, uint32_t *cap)
{
    *cap = BOARD_CAP_MIN;
    while (*cap < config->send_buffer / BOARD_BYTES_PER_RECORD)
        *cap *= 2;
    return sizeof(struct tcp_board) + *cap * sizeof(struct tcp_sent);
}

static uint32_t sent_start(const struct net_conn *c, uint32_t i)
{
    return i == 0 ? c->snd_una : sent_at(c, i - 1)->end;
}

static void board_give(struct net_conn *c)
{
    slab_give(&c->tcp->boards, c->board);
    c->board = NULL;
}

static void board_take(struct net_conn *c)
{
    c->board = slab_take(&c->tcp->boards);
    if (c->board == NULL) {
        count(c->tcp->net->counters, REASON_TCP_NO_BOARD);
        return;
    }
    memset(c->board, 0, sizeof *c->board);
    c->board->fack = c->snd_una;
    c->board->fack_before = c->snd_una;
}

static void sent_append(struct net_conn *c, uint64_t at_us, uint32_t end)
{
    if (c->board == NULL)
        return;
    CHECK(!board_is_full(c));
    *sent_at(c, c->board->count++) = (struct tcp_sent){.at_us = at_us, .end = end};
}

void board_describe(struct net_conn *c)
{
    if (!tcp_conn_has(c, TCP_CONN_LONE))
        return;
    c->flags &= ~(uint32_t)TCP_CONN_LONE;
    board_take(c);
    sent_append(c, c->last_send_us, c->snd_nxt);
}

void board_append(struct net_conn *c, uint32_t end)
{
    board_describe(c);
    sent_append(c, tcp_conn_now(c), end);
}

void board_drop(struct net_conn *c)
{
    c->flags &= ~(uint32_t)TCP_CONN_LONE;
    if (c->board != NULL) {
        board_give(c);
        c->flags &= ~(uint32_t)TCP_CONN_RECOVERY;
    }
    c->snd_nxt = c->snd_una;
}

/* Takes len bytes with these flags out of the counters. */
static void board_forget(struct tcp_board *b, uint32_t flags, uint32_t len)
{
    if ((flags & SENT_SACKED) != 0)
        b->sacked -= len;
    else if ((flags & SENT_LOST) != 0)
        b->lost -= len;
}

uint32_t board_ack(struct net_conn *c, uint32_t ack)
{
    struct tcp_board *b = c->board;
    uint32_t start = c->snd_una;
    uint32_t delivered = 0;

    while (b->count != 0 && seq_lt(start, ack)) {
        struct tcp_sent *r = sent_at(c, 0);
        uint32_t upto = seq_min(r->end, ack);
        board_forget(b, r->flags, upto - start);
        if ((r->flags & SENT_SACKED) == 0)
            delivered += upto - start;
        start = upto;
        if (upto != r->end)
            return delivered;
        if ((r->flags & SENT_SACKED) == 0)
            rack_arrived(c, r);
        b->head++;
        b->count--;
    }
    if (b->count == 0)
        board_give(c);
    return delivered;
}

static void sent_sacked(struct net_conn *c, struct tcp_sent *r, uint32_t len)
{
    rack_arrived(c, r);
    board_forget(c->board, r->flags, len);
    r->flags = (r->flags & ~(uint32_t)SENT_LOST) | SENT_SACKED;
    c->board->sacked += len;
}

uint32_t board_sack(struct net_conn *c, uint32_t start, uint32_t end)
{
    uint32_t at = c->snd_una;
    uint32_t delivered = 0;

    for (uint32_t i = 0; i < c->board->count && seq_lt(at, end); i++) {
        struct tcp_sent *r = sent_at(c, i);
        uint32_t len = r->end - at;
        if ((r->flags & SENT_SACKED) == 0 && seq_le(start, at) && seq_le(r->end, end)) {
            sent_sacked(c, r, len);
            delivered += len;
        }
        at = r->end;
    }
    return delivered;
}

static void sent_lost(struct net_conn *c, uint32_t i)
{
    struct tcp_sent *r = sent_at(c, i);
    uint32_t start = sent_start(c, i);

    r->flags |= SENT_LOST;
    c->board->lost += r->end - start;
    if (tcp_conn_has(c, TCP_CONN_RECOVERY) && seq_le(c->recover, start))
        c->board->lost_beyond = true;
}

/* RFC 6675 4, with segments where it says discontiguous sequences: three that arrived, however small, or more
 * than two full ones in bytes. */
uint32_t board_mark_lost(struct net_conn *c)
{
    uint32_t before = c->board->lost;
    uint32_t segments = 0;
    uint32_t bytes = 0;

    if (c->board->sacked == 0)
        return 0;
    for (uint32_t i = c->board->count; i-- > 0;) {
        struct tcp_sent *r = sent_at(c, i);
        if ((r->flags & SENT_SACKED) != 0) {
            segments++;
            bytes += r->end - sent_start(c, i);
        } else if ((r->flags & (SENT_LOST | SENT_REPEATED)) == 0 &&
                   (segments >= TCP_DUPACKS || bytes > (TCP_DUPACKS - 1) * tcp_conn_segment_max(c))) {
            sent_lost(c, i);
        }
    }
    return c->board->lost - before;
}

static bool sent_before(const struct tcp_sent *r, const struct tcp_board *b)
{
    return r->at_us < b->rack_at_us || (r->at_us == b->rack_at_us && seq_lt(r->end, b->rack_end));
}

uint64_t board_mark_late(struct net_conn *c, uint64_t reo_wnd_us)
{
    struct tcp_board *b = c->board;
    uint64_t wait = 0;

    for (uint32_t i = 0; i < b->count; i++) {
        struct tcp_sent *r = sent_at(c, i);
        if ((r->flags & (SENT_SACKED | SENT_LOST)) != 0 || !sent_before(r, b))
            continue;
        uint64_t late_us = r->at_us + b->rack_rtt_us + reo_wnd_us;
        if (late_us <= tcp_conn_now(c))
            sent_lost(c, i);
        else if (late_us - tcp_conn_now(c) > wait)
            wait = late_us - tcp_conn_now(c);
    }
    return wait;
}

uint32_t board_sacked_segments(const struct net_conn *c)
{
    uint32_t segments = 0;

    for (uint32_t i = 0; i < c->board->count && c->board->sacked != 0; i++)
        segments += (sent_at(c, i)->flags & SENT_SACKED) != 0;
    return segments;
}

bool board_split(struct net_conn *c, uint32_t start, uint32_t len)
{
    uint32_t at = 0;

    if (board_is_full(c))
        return false;
    while (sent_start(c, at) != start)
        at++;
    c->board->count++;
    for (uint32_t i = c->board->count - 1; i > at; i--)
        *sent_at(c, i) = *sent_at(c, i - 1);
    sent_at(c, at)->end = start + len;
    return true;
}

uint32_t board_len_at(const struct net_conn *c, uint32_t seq)
{
    for (uint32_t i = 0; i < c->board->count; i++)
        if (sent_start(c, i) == seq)
            return sent_at(c, i)->end - seq;
    return 0;
}

void board_head(const struct net_conn *c, uint32_t *start, uint32_t *end)
{
    *start = c->snd_una;
    *end = sent_at(c, 0)->end;
}

bool board_tail(const struct net_conn *c, uint32_t *start, uint32_t *end)
{
    if (c->board == NULL)
        return false;
    *start = sent_start(c, c->board->count - 1);
    *end = sent_at(c, c->board->count - 1)->end;
    return true;
}

/* RFC 2018 8: a first segment that the peer said it had, and did not acknowledge, was taken back; then none of
 * its other words is good either. */
static void board_renege(struct net_conn *c)
{
    if ((sent_at(c, 0)->flags & SENT_SACKED) == 0)
        return;
    for (uint32_t i = 0; i < c->board->count; i++)
        sent_at(c, i)->flags &= ~(uint32_t)SENT_SACKED;
    c->board->sacked = 0;
}

void board_mark_all_lost(struct net_conn *c)
{
    board_renege(c);
    for (uint32_t i = 0; i < c->board->count; i++)
        if ((sent_at(c, i)->flags & (SENT_SACKED | SENT_LOST)) == 0)
            sent_lost(c, i);
}

void board_unmark_lost(struct net_conn *c)
{
    struct tcp_board *b = c->board;

    for (uint32_t i = 0; i < b->count && b->lost != 0; i++)
        sent_at(c, i)->flags &= ~(uint32_t)SENT_LOST;
    b->lost = 0;
    b->lost_beyond = false;
    b->rack_at_us = 0;
}

bool board_first_lost(const struct net_conn *c, uint32_t *start, uint32_t *end)
{
    if (c->board->lost == 0)
        return false;
    for (uint32_t i = 0; i < c->board->count; i++) {
        if ((sent_at(c, i)->flags & SENT_LOST) == 0)
            continue;
        *start = sent_start(c, i);
        *end = sent_at(c, i)->end;
        return true;
    }
    CHECK(false);
}

bool board_last_missing(const struct net_conn *c, uint32_t *start, uint32_t *end)
{
    for (uint32_t i = c->board->count; i-- > 0;) {
        if ((sent_at(c, i)->flags & SENT_SACKED) != 0)
            continue;
        *start = sent_start(c, i);
        *end = sent_at(c, i)->end;
        return (sent_at(c, i)->flags & SENT_REPEATED) == 0;
    }
    return false;
}

void board_repeat(struct net_conn *c, uint32_t start)
{
    uint32_t i = 0;

    while (i < c->board->count && sent_start(c, i) != start)
        i++;
    CHECK(i < c->board->count);
    struct tcp_sent *r = sent_at(c, i);
    board_forget(c->board, r->flags, r->end - start);
    r->flags = SENT_REPEATED;
    r->at_us = tcp_conn_now(c);
}
