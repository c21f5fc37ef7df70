/* Datagrams that come in pieces, put together again within bounds (RFC 791, 815; RFC 8200 4.5).
 *
 *   FREE -> OPEN   a first piece, in whatever order
 *   OPEN -> FREE   whole: handed on | 30 s old: given up | gave way to others
 *   OPEN -> DEAD   its pieces overlap or contradict each other: nothing of it is believed, what follows included
 *                  (RFC 5722); DEAD -> FREE 30 s after its first piece
 *
 * Pieces are kept whole, headers included, each in a buffer of one MTU; memory is counted in those.  A source
 * (an IPv4 address, an IPv6 /64) that has its share pushes out its own oldest datagram.  When everything is in
 * use the oldest one of the busiest source goes; sources with few pieces count as equally busy, so that a flood
 * from made-up addresses does not make an honest sender of three pieces the busiest. */
#include "dataplane/net/ip.h"

#include "base/check.h"

#define LIFETIME_US     30000000
#define PIECES_MAX      64 /* of one datagram: bounds the walk along them (CVE-2018-5391) */
#define QUIET_PIECES    16
#define QUIET_DATAGRAMS 4
#define DATAGRAM_MAX    65535
#define NONE            UINT16_MAX
#define ECN_NOT_CAPABLE 0
#define ECN_CONGESTION  3

enum datagram_state { FREE, OPEN, DEAD };

struct piece {
    uint32_t offset, end; /* of its data in the datagram */
    uint16_t keep_len; /* of the packet: the headers that the datagram keeps, when this is its first piece */
    uint16_t data_at;  /* in the packet */
    uint16_t next_at;
    bool more;
    uint16_t next; /* by offset */
    uint8_t *bytes;
};

struct datagram {
    struct net_addr src, dst;
    uint32_t id;
    uint8_t proto;
    uint8_t state;    /* enum datagram_state */
    uint8_t ecn_seen; /* a bit for each codepoint */
    uint16_t source;
    uint16_t first; /* piece with the lowest offset */
    uint16_t pieces;
    uint32_t have;  /* bytes of data */
    uint32_t total; /* UINT32_MAX until the last piece tells */
    uint64_t began_us;
};

struct source {
    struct net_addr prefix;
    uint16_t datagrams; /* 0: unused */
    uint32_t pieces;
};

struct frags {
    uint16_t datagram_cap, piece_cap, unused_piece, unused_pieces;
    uint32_t source_pieces_max;
    uint16_t open; /* datagrams that are not FREE */
    struct datagram *datagram;
    struct source *source; /* as many as datagrams */
    struct piece *piece;
    uint8_t *whole; /* the datagram that was completed last */
};

/* ---- memory ---- */

static size_t piece_room(const struct net_config *c)
{
    return (c->mtu + 63u) & ~(size_t)63;
}

static uint16_t pieces_in(const struct net_config *c, uint32_t bytes)
{
    size_t count = bytes / piece_room(c);

    return count < NONE ? (uint16_t)count : NONE - 1;
}

size_t frags_memory_needed(const struct net_config *c)
{
    size_t pieces = pieces_in(c, c->frag_bytes);

    return sizeof(struct frags) + c->frag_datagrams * (sizeof(struct datagram) + sizeof(struct source)) +
           pieces * (sizeof(struct piece) + piece_room(c)) + FRAG_WHOLE_MAX + (size_t)6 * 64;
}

void frags_init(struct net *n, struct arena *a)
{
    const struct net_config *c = &n->config;
    struct frags *t = arena_alloc(a, sizeof *t, 64);

    t->datagram_cap = c->frag_datagrams;
    t->piece_cap = t->unused_pieces = pieces_in(c, c->frag_bytes);
    t->source_pieces_max = pieces_in(c, c->frag_source_bytes);
    n->frags_due_us = UINT64_MAX;
    t->datagram = arena_alloc(a, t->datagram_cap * sizeof *t->datagram, 64);
    t->source = arena_alloc(a, t->datagram_cap * sizeof *t->source, 64);
    t->piece = arena_alloc(a, t->piece_cap * sizeof *t->piece, 64);
    uint8_t *bytes = arena_alloc(a, t->piece_cap * piece_room(c), 64);
    t->whole = arena_alloc(a, FRAG_WHOLE_MAX, 64);
    for (uint16_t i = 0; i < t->piece_cap; i++) {
        t->piece[i].bytes = bytes + i * piece_room(c);
        t->piece[i].next = i + 1 < t->piece_cap ? (uint16_t)(i + 1) : NONE;
    }
    n->frags = t;
}

void frag_gauges(const struct net *n, struct net_gauges *out)
{
    const struct frags *t = n->frags;

    out->frag_datagrams = t->open;
    out->frag_bytes = (uint32_t)((uint16_t)(t->piece_cap - t->unused_pieces) * piece_room(&n->config));
}

/* ---- giving back ---- */

static void release_pieces(struct frags *t, struct datagram *d)
{
    while (d->first != NONE) {
        struct piece *p = &t->piece[d->first];
        uint16_t next = p->next;
        p->next = t->unused_piece;
        t->unused_piece = d->first;
        d->first = next;
    }
    t->unused_pieces = (uint16_t)(t->unused_pieces + d->pieces);
    t->source[d->source].pieces -= d->pieces;
    d->pieces = 0;
}

static void release(struct frags *t, struct datagram *d)
{
    release_pieces(t, d);
    t->source[d->source].datagrams--;
    t->open--;
    d->state = FREE;
}

static void kill(struct net *n, struct datagram *d, enum reason why)
{
    count(n->counters, why);
    release_pieces(n->frags, d);
    d->state = DEAD;
}

/* ---- giving way ---- */

enum lack { LACK_DATAGRAM, LACK_PIECE };

static uint32_t busyness(const struct frags *t, const struct datagram *d, enum lack lack)
{
    const struct source *s = &t->source[d->source];

    if (d->state == FREE || (lack == LACK_PIECE && d->pieces == 0))
        return 0;
    return 1 + (lack == LACK_PIECE ? s->pieces / QUIET_PIECES : s->datagrams / QUIET_DATAGRAMS);
}

/* source: whose datagram it has to be, NONE for anyone's.  One walk along all datagrams. */
static struct datagram *victim(struct frags *t, enum lack lack, uint16_t source, const struct datagram *but)
{
    struct datagram *best = NULL;
    uint32_t best_busyness = 0;

    for (uint16_t i = 0; i < t->datagram_cap; i++) {
        struct datagram *d = &t->datagram[i];
        uint32_t b = d == but || (source != NONE && d->source != source) ? 0 : busyness(t, d, lack);
        if (b > best_busyness || (b != 0 && b == best_busyness && d->began_us < best->began_us)) {
            best = d;
            best_busyness = b;
        }
    }
    return best;
}

static bool give_way(struct net *n, enum lack lack, uint16_t source, const struct datagram *but)
{
    struct datagram *d = victim(n->frags, lack, source, but);

    if (d == NULL)
        return false;
    count(n->counters, REASON_FRAG_EVICTED);
    release(n->frags, d);
    return true;
}

/* ---- finding ---- */

static struct datagram *find(struct frags *t, const struct fragment *f)
{
    for (uint16_t i = 0; i < t->datagram_cap && t->open != 0; i++) {
        struct datagram *d = &t->datagram[i];
        if (d->state != FREE && d->id == f->id && d->proto == f->proto && net_addr_equal(&d->src, &f->src) &&
            net_addr_equal(&d->dst, &f->dst))
            return d;
    }
    return NULL;
}

static uint16_t find_source(const struct frags *t, const struct net_addr *prefix)
{
    for (uint16_t i = 0; i < t->datagram_cap; i++)
        if (t->source[i].datagrams != 0 && net_addr_equal(&t->source[i].prefix, prefix))
            return i;
    return NONE;
}

/* There is one: a source in use has a datagram in use, and one of those is free. */
static uint16_t take_source(struct frags *t, const struct net_addr *prefix)
{
    uint16_t i = 0;

    while (t->source[i].datagrams != 0)
        i++;
    CHECK(i < t->datagram_cap && t->source[i].pieces == 0);
    t->source[i].prefix = *prefix;
    return i;
}

static struct datagram *take(struct net *n, const struct fragment *f)
{
    struct frags *t = n->frags;
    struct net_addr prefix = addr_source_prefix(&f->src);
    uint16_t source = find_source(t, &prefix), i = 0;

    if (source != NONE && t->source[source].datagrams >= n->config.frag_source_datagrams)
        (void)give_way(n, LACK_DATAGRAM, source, NULL);
    else if (t->open == t->datagram_cap)
        (void)give_way(n, LACK_DATAGRAM, NONE, NULL);
    while (t->datagram[i].state != FREE)
        i++;
    CHECK(i < t->datagram_cap);
    source = find_source(t, &prefix);
    struct datagram *d = &t->datagram[i];
    *d = (struct datagram){.src = f->src,
                           .dst = f->dst,
                           .id = f->id,
                           .proto = f->proto,
                           .state = OPEN,
                           .source = source != NONE ? source : take_source(t, &prefix),
                           .first = NONE,
                           .total = UINT32_MAX,
                           .began_us = n->now_us};
    t->source[d->source].datagrams++;
    t->open++;
    if (d->began_us + LIFETIME_US < n->frags_due_us)
        n->frags_due_us = d->began_us + LIFETIME_US;
    link_due(n, n->frags_due_us);
    return d;
}

/* ---- one more piece ---- */

static uint32_t fragment_end(const struct fragment *f)
{
    return f->offset + (uint32_t)(f->packet.len - f->data_at);
}

/* RFC 8200 4.5: a piece that the network doubled is no overlap. */
static bool is_duplicate(const struct piece *p, const struct fragment *f)
{
    return p->offset == f->offset && p->end == fragment_end(f) && p->more == f->more &&
           memcmp(p->bytes + p->data_at, f->packet.ptr + f->data_at, p->end - p->offset) == 0;
}

enum place { PLACE_FREE, PLACE_TAKEN, PLACE_DUPLICATE };

/* *after: the piece that f comes behind, NONE for the first place. */
static enum place find_place(const struct frags *t, const struct datagram *d, const struct fragment *f,
                             uint16_t *after)
{
    uint16_t i = d->first;

    for (*after = NONE; i != NONE && t->piece[i].offset <= f->offset; i = t->piece[i].next)
        *after = i;
    if (*after != NONE && is_duplicate(&t->piece[*after], f))
        return PLACE_DUPLICATE;
    if (*after != NONE && t->piece[*after].end > f->offset)
        return PLACE_TAKEN;
    if (i != NONE && (t->piece[i].offset < fragment_end(f) || !f->more))
        return PLACE_TAKEN;
    return d->total != UINT32_MAX && fragment_end(f) > d->total ? PLACE_TAKEN : PLACE_FREE;
}

/* There is room for one piece more from this source; at the cost of its other datagrams, or of the others. */
static bool make_room(struct net *n, const struct datagram *d)
{
    struct frags *t = n->frags;

    if (t->source[d->source].pieces >= t->source_pieces_max && !give_way(n, LACK_PIECE, d->source, d))
        return false;
    return t->unused_pieces != 0 || give_way(n, LACK_PIECE, NONE, d);
}

static void insert(struct frags *t, struct datagram *d, const struct fragment *f, uint16_t after)
{
    uint16_t i = t->unused_piece;
    struct piece *p = &t->piece[i];
    uint16_t *link = after != NONE ? &t->piece[after].next : &d->first;

    t->unused_piece = p->next;
    t->unused_pieces--;
    t->source[d->source].pieces++;
    p->offset = f->offset;
    p->end = fragment_end(f);
    p->keep_len = f->keep_len;
    p->data_at = f->data_at;
    p->next_at = f->next_at;
    p->more = f->more;
    memcpy(p->bytes, f->packet.ptr, f->packet.len);
    p->next = *link;
    *link = i;
    d->pieces++;
    d->have += p->end - p->offset;
    if (!f->more)
        d->total = p->end;
    d->ecn_seen |= (uint8_t)(1 << (f->tos & 3));
}

/* ---- the whole ---- */

/* RFC 3168 5.3: one piece that met congestion speaks for all, unless another says that its sender knows
 * nothing of it. */
static bool ecn_contradicts(const struct datagram *d)
{
    uint8_t both = 1 << ECN_NOT_CAPABLE | 1 << ECN_CONGESTION;

    return (d->ecn_seen & both) == both;
}

static void copy_out(struct frags *t, const struct datagram *d, struct frag_whole *out)
{
    const struct piece *first = &t->piece[d->first];
    uint8_t *at = t->whole + first->keep_len;

    memcpy(t->whole, first->bytes, first->keep_len);
    for (uint16_t i = d->first; i != NONE; i = t->piece[i].next) {
        const struct piece *p = &t->piece[i];
        memcpy(at + p->offset, p->bytes + p->data_at, p->end - p->offset);
    }
    *out = (struct frag_whole){
        .bytes = t->whole,
        .len = first->keep_len + d->total,
        .keep_len = first->keep_len,
        .next_at = first->next_at,
        .next = first->bytes[first->keep_len],
        .congestion = (d->ecn_seen & 1 << ECN_CONGESTION) != 0,
    };
}

static bool complete(struct net *n, struct datagram *d, struct frag_whole *out)
{
    struct frags *t = n->frags;
    const struct piece *first = &t->piece[d->first];
    uint32_t header_len = first->keep_len - (d->src.family == NET_IP6 ? IP6_HEADER_LEN : 0u);

    /* Each piece was measured with its own headers; those of the first may be longer. */
    if (header_len + d->total > DATAGRAM_MAX) {
        kill(n, d, REASON_FRAG_BEYOND);
        return false;
    }
    if (ecn_contradicts(d)) {
        kill(n, d, REASON_FRAG_MIXED_ECN);
        return false;
    }
    copy_out(t, d, out);
    release(t, d);
    count(n->counters, REASON_FRAG_REASSEMBLED);
    return true;
}

bool frag_input(struct net *n, const struct fragment *f, struct frag_whole *out)
{
    struct datagram *d = find(n->frags, f);
    uint16_t after;

    if (d != NULL && d->state == DEAD) {
        count(n->counters, REASON_FRAG_DEAD);
        return false;
    }
    enum place place = PLACE_FREE;
    after = NONE;
    if (d == NULL)
        d = take(n, f);
    else
        place = find_place(n->frags, d, f, &after);
    if (place == PLACE_DUPLICATE)
        count(n->counters, REASON_FRAG_DUPLICATE);
    else if (place == PLACE_TAKEN)
        kill(n, d, REASON_FRAG_OVERLAP);
    else if (d->pieces == PIECES_MAX || !make_room(n, d))
        kill(n, d, REASON_FRAG_TOO_MANY);
    else
        insert(n->frags, d, f, after);
    return d->state == OPEN && d->have == d->total && complete(n, d, out);
}

/* ---- time ---- */

/* RFC 792 and RFC 4443 3.3: its sender is told only when it can be told which packet it was. */
static void give_up(struct net *n, struct datagram *d)
{
    struct frags *t = n->frags;

    if (d->state == OPEN) {
        const struct piece *first = &t->piece[d->first];
        count(n->counters, REASON_FRAG_TIMEOUT);
        if (first->offset == 0) {
            struct span packet = span_of(first->bytes, first->data_at + first->end);
            struct ip_packet p = {
                .family = d->src.family,
                .proto = d->src.family == NET_IP6 ? first->bytes[first->keep_len] : d->proto,
                .to_unicast = true,
                .src = d->src,
                .dst = d->dst,
                .header = span_of(packet.ptr, first->data_at),
                .payload = span_from(packet, first->data_at),
            };
            icmp_complain(n, &p, ICMP_REASSEMBLY_TIME, 0);
        }
    }
    release(t, d);
}

/* A walk over all datagrams, but only when one of them is due. */
void frag_timers(struct net *n)
{
    struct frags *t = n->frags;
    uint64_t next = UINT64_MAX;

    if (n->now_us < n->frags_due_us)
        return;
    for (uint16_t i = 0; i < t->datagram_cap; i++) {
        struct datagram *d = &t->datagram[i];
        if (d->state != FREE && d->began_us + LIFETIME_US <= n->now_us)
            give_up(n, d);
        if (d->state != FREE && d->began_us + LIFETIME_US < next)
            next = d->began_us + LIFETIME_US;
    }
    n->frags_due_us = next;
}

uint64_t frag_next_timer(const struct net *n)
{
    return n->frags_due_us;
}
