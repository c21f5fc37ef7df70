/* SYN cookies (RFC 4987 3.6): when too many connections are half open, the initial sequence number itself says
 * what would have been remembered.
 *
 *     sequence number   29 bits of a keyed hash | 3 bits: which MSS
 *     timestamp's end   1 bit: SACK permitted | 4 bits: the peer's window scale, 15 = none
 *
 * The hash covers the tuple, the peer's sequence number, the MSS and the timestamp's bits, so an ACK that
 * nobody was offered is believed once in 2^28.  Without timestamps there is no room for scale and SACK: such a
 * connection lives without them.  Two secrets are good at a time; a new one comes every 64 s, and one under
 * which no cookie was given is not tried at all. */
#include "dataplane/net/tcp.h"

#define SECRET_US     64000000ULL
#define TS_BITS       5
#define TS_MASK       ((1u << TS_BITS) - 1)
#define TS_SACK       (1u << 4)
#define TS_NO_SCALE   15u
#define TS_NONE       UINT32_MAX /* in the hash: no timestamps were agreed */
#define MSS_BITS      3
#define MSS_MASK      ((1u << MSS_BITS) - 1)
#define MSS_INDEX_END (1u << MSS_BITS)

/* What paths really have: the floor, the IPv4 and IPv6 minima, tunnels, Ethernet with and without IPv6, jumbo
 * frames.  The peer's own is rounded down. */
static const uint16_t mss_of[MSS_INDEX_END] = {TCP_MSS_FLOOR, 536, 1220, 1300, 1380, 1440, 1460, 8940};

static uint32_t mss_index(uint16_t mss)
{
    uint32_t i = MSS_INDEX_END - 1;

    while (i > 0 && mss_of[i] > mss)
        i--;
    return i;
}

void cookies_init(struct tcp *t)
{
    t->cookies.since_us = t->net->now_us;
    t->cookies.secret[0] = net_random_key(t->net);
    t->cookies.secret[1] = net_random_key(t->net);
}

static void secrets_rotate(struct tcp *t)
{
    struct cookie_jar *j = &t->cookies;
    uint64_t age = t->net->now_us - j->since_us;

    if (age < SECRET_US)
        return;
    j->secret[1] = j->secret[0];
    j->used[1] = j->used[0] && age < 2 * SECRET_US;
    j->secret[0] = net_random_key(t->net);
    j->used[0] = false;
    j->since_us = t->net->now_us;
}

static uint32_t cookie_hash(const struct siphash_key *secret, const struct syn_entry *e, uint32_t index,
                            uint32_t ts)
{
    struct {
        struct tcp_tuple tuple;
        uint32_t irs, index, ts, zero;
    } of = {e->tuple, e->irs, index, ts, 0};

    return (uint32_t)siphash(secret, span_of(&of, sizeof of)) << MSS_BITS | index;
}

static uint32_t ts_bits(const struct syn_entry *e)
{
    return ((e->flags & SYN_SACK) != 0 ? TS_SACK : 0) |
           ((e->flags & SYN_WSCALE) != 0 ? e->wscale : TS_NO_SCALE);
}

void cookie_make(struct tcp *t, struct syn_entry *e, uint32_t *tsval)
{
    bool ts = (e->flags & SYN_TS) != 0;

    secrets_rotate(t);
    if (!ts) {
        e->flags = 0;
    } else {
        /* Never ahead of the connection's clock: what it says later must not look older. */
        uint32_t now = *tsval;
        *tsval = (now & ~TS_MASK) | ts_bits(e);
        if (seq_lt(now, *tsval))
            *tsval -= TS_MASK + 1;
    }
    e->iss = cookie_hash(&t->cookies.secret[0], e, mss_index(e->mss), ts ? ts_bits(e) : TS_NONE);
    t->cookies.used[0] = true;
    count(t->net->counters, REASON_TCP_COOKIE_SENT);
}

static void options_restore(struct syn_entry *e, const struct tcp_segment *s)
{
    uint32_t bits = s->options.tsecr & TS_MASK;

    e->mss = mss_of[e->iss & MSS_MASK];
    if (!s->options.has_ts)
        return;
    e->flags = (bits & TS_SACK) != 0 ? SYN_TS | SYN_SACK : SYN_TS;
    e->ts_recent = s->options.tsval;
    e->wscale = bits & TS_NO_SCALE;
    if (e->wscale == TS_NO_SCALE)
        e->wscale = 0;
    else
        e->flags |= SYN_WSCALE;
}

/* A peer whose first ACK was lost shows the cookie again in its next segment, as long as that one begins where
 * its stream does. */
bool cookie_accept(struct tcp *t, const struct tcp_segment *s, struct syn_entry *e)
{
    struct cookie_jar *j = &t->cookies;

    secrets_rotate(t);
    *e = (struct syn_entry){.tuple = s->tuple, .irs = s->seq - 1, .iss = s->ack - 1};
    uint32_t ts = s->options.has_ts ? s->options.tsecr & TS_MASK : TS_NONE;

    for (int i = 0; i < 2; i++) {
        if (!j->used[i] || cookie_hash(&j->secret[i], e, e->iss & MSS_MASK, ts) != e->iss)
            continue;
        options_restore(e, s);
        count(t->net->counters, REASON_TCP_COOKIE_ACCEPTED);
        return true;
    }
    if (j->used[0] || j->used[1])
        count(t->net->counters, REASON_TCP_COOKIE_REJECTED);
    return false;
}
