/* Received bytes go straight to their place in the connection's ring.  What lies beyond rcv_nxt is described
 * by a few sorted ranges; bytes within a range are never written again, so the first copy wins whatever a
 * later overlap says (D15). */
#include "dataplane/net/tcp.h"

static void ring_write(struct net_conn *c, uint32_t seq, struct span data)
{
    if (data.len != 0)
        ring_put(c->recv_ring, c->tcp->net->config.recv_buffer, seq, data);
}

/* Writes the parts of [seq, seq + data.len) that no range holds. */
static void ring_fill(struct net_conn *c, uint32_t seq, struct span data)
{
    for (uint32_t i = 0; i < c->range_count && data.len != 0; i++) {
        const struct tcp_range *r = &tcp_conn_ranges(c)[i];
        uint32_t end = seq + (uint32_t)data.len;

        if (seq_le(r->end, seq))
            continue;
        if (seq_le(end, r->start))
            break;
        if (seq_lt(seq, r->start))
            ring_write(c, seq, span_of(data.ptr, r->start - seq));
        data = span_from(data, r->end - seq);
        seq = r->end;
    }
    ring_write(c, seq, data);
}

static void ranges_remove(struct net_conn *c, uint32_t first, uint32_t count)
{
    struct tcp_range *ranges = tcp_conn_ranges(c);

    memmove(&ranges[first], &ranges[first + count], (c->range_count - first - count) * sizeof ranges[0]);
    c->range_count = (uint8_t)(c->range_count - count);
}

/* Where [start, end) would go: *first is the first range that it touches or that lies behind it, the result
 * how many it touches. */
static uint32_t ranges_touched(const struct net_conn *c, uint32_t start, uint32_t end, uint32_t *first)
{
    const struct tcp_range *ranges = tcp_conn_ranges(c);
    uint32_t i = 0;
    uint32_t touched = 0;

    while (i < c->range_count && seq_lt(ranges[i].end, start))
        i++;
    while (i + touched < c->range_count && seq_le(ranges[i + touched].start, end))
        touched++;
    *first = i;
    return touched;
}

/* false: a new range would be one too many. */
static bool ranges_add(struct net_conn *c, uint32_t start, uint32_t end)
{
    struct tcp_range *ranges = tcp_conn_ranges(c);
    uint32_t first;
    uint32_t touched = ranges_touched(c, start, end, &first);
    struct tcp_range merged = {start, end, 0};

    if (c->range_count != 0)
        merged.stamp = c->recv_ring->stamp + 1;
    c->recv_ring->stamp = merged.stamp;

    if (touched == 0) {
        if (c->range_count == TCP_RANGES_MAX)
            return false;
        memmove(&ranges[first + 1], &ranges[first], (c->range_count - first) * sizeof ranges[0]);
        c->range_count++;
    } else {
        merged.start = seq_min(start, ranges[first].start);
        merged.end = seq_max(end, ranges[first + touched - 1].end);
        ranges_remove(c, first + 1, touched - 1);
    }
    ranges[first] = merged;
    return true;
}

static void ranges_absorb(struct net_conn *c)
{
    const struct tcp_range *ranges = tcp_conn_ranges(c);
    uint32_t reached = 0;

    while (reached < c->range_count && seq_le(ranges[reached].start, c->rcv_nxt)) {
        c->rcv_nxt = seq_max(c->rcv_nxt, ranges[reached].end);
        reached++;
    }
    ranges_remove(c, 0, reached);
}

static bool recv_buffer_take(struct net_conn *c)
{
    if (c->recv_ring != NULL)
        return true;
    void *buffer = slab_take(&c->tcp->recv_buffers);
    if (buffer == NULL) {
        count(c->tcp->net->counters, REASON_TCP_NO_RECV_BUFFER);
        return false;
    }
    c->recv_ring = ring_begin(buffer, c->rcv_nxt);
    return true;
}

/* Only what lies within the last buffer can have come: an older number is made up. */
void recv_duplicate_note(struct net_conn *c, uint32_t start, uint32_t end)
{
    if (!tcp_conn_has(c, TCP_CONN_SACK) || !seq_lt(start, end) || !seq_lt(c->irs, start) ||
        (seq_lt(start, c->rcv_nxt) && c->rcv_nxt - start > c->tcp->net->config.recv_buffer))
        return;
    c->dsack_start = start;
    c->dsack_end = end;
    c->flags |= TCP_CONN_DSACK;
}

/* The first part of [seq, end) that a range already holds. */
static void ranges_note_duplicate(struct net_conn *c, uint32_t seq, uint32_t end)
{
    for (uint32_t i = 0; i < c->range_count; i++) {
        const struct tcp_range *r = &tcp_conn_ranges(c)[i];
        if (seq_lt(seq, r->end) && seq_lt(r->start, end)) {
            recv_duplicate_note(c, seq_max(seq, r->start), seq_min(end, r->end));
            return;
        }
    }
}

static bool store_out_of_order(struct net_conn *c, uint32_t seq, struct span data)
{
    uint32_t first;
    uint32_t end = seq + (uint32_t)data.len;

    if (ranges_touched(c, seq, end, &first) == 0 && c->range_count == TCP_RANGES_MAX) {
        count(c->tcp->net->counters, REASON_TCP_TOO_MANY_GAPS);
        return false;
    }
    ring_fill(c, seq, data);
    count(c->tcp->net->counters, REASON_TCP_OUT_OF_ORDER);
    return ranges_add(c, seq, end);
}

bool recv_store(struct net_conn *c, uint32_t seq, struct span data)
{
    uint32_t end = seq + (uint32_t)data.len;
    uint32_t limit = tcp_conn_has(c, TCP_CONN_FIN_SEEN) ? seq_min(c->rcv_adv, c->rcv_fin) : c->rcv_adv;

    if (seq_lt(seq, c->rcv_nxt)) {
        recv_duplicate_note(c, seq, c->rcv_nxt);
        data = span_from(data, c->rcv_nxt - seq);
        seq = c->rcv_nxt;
    }
    if (seq_lt(limit, end))
        data.len = seq_lt(seq, limit) ? limit - seq : 0;
    if (data.len == 0)
        return true;
    if (!recv_buffer_take(c))
        return false;
    ranges_note_duplicate(c, seq, seq + (uint32_t)data.len);
    if (seq != c->rcv_nxt)
        return store_out_of_order(c, seq, data);
    ring_fill(c, seq, data);
    c->rcv_nxt += (uint32_t)data.len;
    ranges_absorb(c);
    return true;
}

uint32_t recv_sack_blocks(const struct net_conn *c, struct tcp_range *out, uint32_t cap)
{
    uint32_t taken = 0;
    uint32_t first = 0;
    uint32_t count;

    if (tcp_conn_has(c, TCP_CONN_DSACK) && cap != 0)
        out[first++] = (struct tcp_range){.start = c->dsack_start, .end = c->dsack_end};
    if (c->range_count == 0)
        return first;
    const struct tcp_range *ranges = tcp_conn_ranges(c);
    count = u32_min(cap, first + c->range_count);
    for (uint32_t n = first; n < count; n++) {
        uint32_t newest = 0;
        uint32_t age_min = UINT32_MAX;
        for (uint32_t i = 0; i < c->range_count; i++) {
            uint32_t age = c->recv_ring->stamp - ranges[i].stamp;
            if ((taken >> i & 1) == 0 && age < age_min) {
                newest = i;
                age_min = age;
            }
        }
        taken |= 1u << newest;
        out[n] = ranges[newest];
    }
    return count;
}
