/* How large a packet the path takes: less than was agreed when a router says so, or when full segments vanish and
 * nobody says why (RFC 8899); and then, every ten minutes, whether it takes more by now: one segment of data,
 * larger than the others, alone at the head of a flight.  Only what the peer acknowledges makes segments larger. */
#include "dataplane/net/tcp.h"

#define US_PER_SECOND 1000000u
#define RAISE_SECONDS 600  /* RFC 8899 5.1.1: PMTU_RAISE_TIMER */
#define BASE_MTU      1280 /* 5.1.2: what every path of IPv6 takes; black holes below it are nobody's */
#define FLOOR_MTU_4   552
#define FLOOR_MTU_6   1280
#define HOLE_TIMEOUTS 2  /* of one segment, in a row */
#define CLOSE_ENOUGH  32 /* bytes between what works and what does not */

static uint32_t headers_of(const struct net_conn *c)
{
    return (c->tuple.family == NET_IP4 ? IP4_HEADER_LEN : IP6_HEADER_LEN) + TCP_HEADER_LEN;
}

static uint32_t mtu_floor(const struct net_conn *c)
{
    return c->tuple.family == NET_IP4 ? FLOOR_MTU_4 : FLOOR_MTU_6;
}

/* Half way to what failed, or, when that leads no further, to what was agreed. */
static void raise_later(struct net_conn *c)
{
    struct tcp_pmtu *m = &c->pmtu;

    m->next = m->agreed;
    if (m->failed - c->mss > CLOSE_ENOUGH)
        m->next = (uint16_t)((c->mss + m->failed) / 2);
    m->raise_s = (uint32_t)(tcp_conn_now(c) / US_PER_SECOND) + RAISE_SECONDS;
}

/* What the path took before it may take again: that is asked first. */
static void lower(struct net_conn *c, uint32_t mss)
{
    struct tcp_pmtu *m = &c->pmtu;

    if (!tcp_conn_has(c, TCP_CONN_MTU_LOWERED))
        m->agreed = c->mss;
    m->failed = c->mss;
    m->probe = 0;
    c->mss = (uint16_t)mss;
    raise_later(c);
    m->next = m->agreed;
    c->flags |= TCP_CONN_MTU_LOWERED;
    c->flags &= ~(uint32_t)(TCP_CONN_TIMING | TCP_CONN_MTU_SUSPECTED);
}

/* Bytes of data and FIN in the segment at snd_una. */
static uint32_t first_len(const struct net_conn *c)
{
    uint32_t start, end;

    if (c->board == NULL)
        return u32_min(c->snd_max - c->snd_una, tcp_conn_segment_max(c));
    board_head(c, &start, &end);
    return end - start;
}

bool pmtu_too_big(struct net_conn *c, uint32_t seq, uint32_t mtu)
{
    uint32_t mss = u32_max(mtu, mtu_floor(c)) - headers_of(c);

    if (seq_lt(seq, c->snd_una) || !seq_lt(seq, c->snd_max) || mss >= c->mss)
        return false;
    board_describe(c);
    /* There is no such segment, or it would have fitted. */
    if (c->board != NULL && board_len_at(c, seq) + TCP_OPTIONS_MAX <= mss)
        return false;
    /* All that is in flight was as large: it goes out again in smaller pieces. */
    lower(c, mss);
    board_drop(c);
    tcp_conn_output_want(c);
    return true;
}

void pmtu_timeout(struct net_conn *c)
{
    uint32_t mss = BASE_MTU - headers_of(c);

    /* Its options may have been the rest of it. */
    if (c->retries + 1 < HOLE_TIMEOUTS || c->mss <= mss || first_len(c) + TCP_OPTIONS_MAX <= mss)
        return;
    count(c->tcp->net->counters, REASON_TCP_BLACK_HOLE);
    lower(c, mss);
    c->flags |= TCP_CONN_MTU_SUSPECTED;
}

void pmtu_acquit(struct net_conn *c)
{
    if (!tcp_conn_has(c, TCP_CONN_MTU_SUSPECTED))
        return;
    c->mss = c->pmtu.failed;
    c->flags &= ~(uint32_t)TCP_CONN_MTU_SUSPECTED;
    if (c->mss == c->pmtu.agreed)
        c->flags &= ~(uint32_t)TCP_CONN_MTU_LOWERED;
}

uint32_t pmtu_probe(struct net_conn *c, uint32_t room)
{
    struct tcp_pmtu *m = &c->pmtu;
    uint32_t len = m->next - (c->mss - tcp_conn_segment_max(c));

    if (m->probe != 0 || room < len || tcp_conn_now(c) / US_PER_SECOND < m->raise_s)
        return 0;
    if (c->snd_una != c->snd_max || c->retries != 0 ||
        tcp_conn_has(c, TCP_CONN_RECOVERY | TCP_CONN_RTO_RECOVERY))
        return 0;
    m->probe = m->next;
    m->probe_end = c->snd_nxt + len;
    return len;
}

/* Its loss says nothing about congestion (RFC 4821 7.6): what recovery took for it alone is given back. */
void pmtu_repeated(struct net_conn *c, uint32_t start)
{
    struct tcp_pmtu *m = &c->pmtu;

    if (m->probe == 0 || !seq_lt(start, m->probe_end))
        return;
    if (c->board != NULL && tcp_conn_has(c, TCP_CONN_RECOVERY) && c->board->lost <= m->probe)
        undo_cuts(c);
    m->failed = m->probe;
    m->probe = 0;
    raise_later(c);
}

void pmtu_acked(struct net_conn *c)
{
    struct tcp_pmtu *m = &c->pmtu;

    if (m->probe == 0 || seq_lt(c->snd_una, m->probe_end))
        return;
    count(c->tcp->net->counters, REASON_TCP_MTU_RAISED);
    c->mss = m->probe;
    m->probe = 0;
    c->cwnd = u32_max(c->cwnd, tcp_conn_segment_max(c));
    c->ssthresh = u32_max(c->ssthresh, 2 * tcp_conn_segment_max(c));
    if (c->mss == m->agreed)
        c->flags &= ~(uint32_t)TCP_CONN_MTU_LOWERED;
    else
        raise_later(c);
}
