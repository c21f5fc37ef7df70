/* Connections that are half open: 64 bytes each, in a table of their own, until the handshake's last ACK makes
 * a struct net_conn of one.
 *
 *     SYN -> entry, SYN-ACK -> (again after 1, 2, 4 .. s) -> ACK: conn, or gone
 *
 * Entries stand in one queue per number of repetitions.  All of a queue wait equally long, so each queue is
 * sorted by when its entries are due, and the oldest entry of all is the first of the last queue.  Above
 * syn_cookies_above entries, or when buffers are short, nothing is remembered any more (tcp_cookie.c), except for a SYN that reopens a
 * connection in TIME-WAIT: its sequence number must lie beyond the old one's, and a cookie cannot choose. */
#include "dataplane/net/tcp.h"

#include "base/check.h"

#define NONE UINT16_MAX

static uint32_t entry_hash(const struct tcp *t, const struct syn_entry *e)
{
    return tuple_hash(t, &e->tuple);
}

static struct syn_entry *entry_at(const struct tcp *t, uint16_t index)
{
    return record_at(&t->halves.table, index);
}

void syn_cache_init(struct tcp *t, struct arena *a)
{
    record_table_init(&t->halves.table, a, t->net->config.syn_cache_max);
    for (int i = 0; i < SYN_QUEUES; i++)
        t->halves.queue[i] = (struct syn_queue){NONE, NONE};
}

/* ---- queues ---- */

static uint32_t wait_us(uint32_t tries)
{
    return tries < 6 ? (uint32_t)TCP_RTO_FIRST_US << tries : TCP_RTO_MAX_US;
}

static void queue_append(struct tcp *t, struct syn_entry *e)
{
    struct syn_queue *q = &t->halves.queue[e->tries];
    uint16_t index = (uint16_t)record_index(&t->halves.table, e);

    e->prev = q->last;
    e->next = NONE;
    if (q->last == NONE)
        q->first = index;
    else
        entry_at(t, q->last)->next = index;
    q->last = index;
}

static void queue_remove(struct tcp *t, struct syn_entry *e)
{
    struct syn_queue *q = &t->halves.queue[e->tries];

    if (e->prev == NONE)
        q->first = e->next;
    else
        entry_at(t, e->prev)->next = e->next;
    if (e->next == NONE)
        q->last = e->prev;
    else
        entry_at(t, e->next)->prev = e->prev;
}

static void entry_free(struct tcp *t, struct syn_entry *e)
{
    queue_remove(t, e);
    record_free(&t->halves.table, e, entry_hash(t, e));
}

/* How long until e is due, in us; 0: now. */
static uint32_t entry_due_in(const struct tcp *t, const struct syn_entry *e)
{
    uint32_t waited = (uint32_t)t->net->now_us - e->sent_us;
    uint32_t wait = wait_us(e->tries);

    return waited < wait ? wait - waited : 0;
}

/* The entry that is due first; NULL when there is none. */
static struct syn_entry *entry_first(const struct tcp *t)
{
    struct syn_entry *first = NULL;

    for (int i = 0; i < SYN_QUEUES; i++) {
        if (t->halves.queue[i].first == NONE)
            continue;
        struct syn_entry *e = entry_at(t, t->halves.queue[i].first);
        if (first == NULL || entry_due_in(t, e) < entry_due_in(t, first))
            first = e;
    }
    return first;
}

static void timer_arm(struct tcp *t, uint64_t in_us)
{
    uint64_t tick = (t->net->now_us + in_us + 999) / 1000;

    if (!wheel_is_armed(&t->halves.timer) || tick < t->halves.timer.tick)
        wheel_arm(&t->wheel, &t->halves.timer, tick);
}

static void oldest_drop(struct tcp *t)
{
    int i = SYN_QUEUES - 1;

    while (t->halves.queue[i].first == NONE)
        i--;
    count(t->net->counters, REASON_TCP_SYN_CACHE_DROPPED);
    entry_free(t, entry_at(t, t->halves.queue[i].first));
}

/* ---- answers ---- */

uint16_t syn_window(const struct net *n)
{
    return (uint16_t)u32_min(n->config.recv_buffer, UINT16_MAX);
}

/* false: there is no room among the stateless answers now. */
static bool syn_ack_send(struct net *n, const struct syn_entry *e, uint32_t tsval)
{
    uint8_t options[TCP_OPTIONS_MAX];
    uint32_t len = options_write_syn(e, tcp_mss_of(n, e->tuple.family), tsval, n->tcp->rcv_wscale, options);
    /* RFC 7323 2.2: the window of a SYN is never scaled (B14). */
    struct tcp_bare b = {.seq = e->iss, .ack = e->irs + 1, .wnd = syn_window(n), .flags = TCP_SYN | TCP_ACK};

    b.options = span_of(options, len);
    return bare_send(n, &e->tuple, &b);
}

static void challenge(struct net *n, struct syn_entry *e)
{
    uint8_t options[TCP_OPTIONS_MAX];
    uint32_t len = 0;

    if (e->challenges == SYN_CHALLENGES_MAX || !challenge_token_take(n->tcp)) {
        count(n->counters, REASON_TCP_CHALLENGE_SUPPRESSED);
        return;
    }
    e->challenges++;
    count(n->counters, REASON_TCP_CHALLENGE_SENT);
    if ((e->flags & SYN_TS) != 0)
        len = options_write_timestamps(tuple_ts_now(n->tcp, &e->tuple), e->ts_recent, options);
    struct tcp_bare b = {
        .seq = e->iss + 1,
        .ack = e->irs + 1,
        .wnd = (uint16_t)(syn_window(n) >> ((e->flags & SYN_WSCALE) != 0 ? n->tcp->rcv_wscale : 0)),
        .flags = TCP_ACK};
    b.options = span_of(options, len);
    (void)bare_send(n, &e->tuple, &b);
}

/* ---- a SYN ---- */

/* RFC 6528: a 4-us clock and a keyed hash of the tuple. */
uint32_t tuple_isn(const struct tcp *t, const struct tcp_tuple *tuple)
{
    uint64_t hash = siphash(&t->isn_key, span_of(tuple, sizeof *tuple));

    return (uint32_t)(t->net->now_us / 4) + (uint32_t)hash;
}

static uint16_t mss_offered(const struct tcp_segment *s)
{
    if (!s->options.has_mss)
        return s->tuple.family == NET_IP4 ? TCP_MSS_DEFAULT_4 : TCP_MSS_DEFAULT_6;
    return s->options.mss < TCP_MSS_FLOOR ? TCP_MSS_FLOOR : s->options.mss;
}

void syn_entry_fill(struct syn_entry *e, const struct tcp_segment *s)
{
    const struct tcp_options *o = &s->options;

    e->irs = s->seq;
    e->mss = mss_offered(s);
    e->flags = ((o->has_ts ? SYN_TS : 0u) | (o->sack_permitted ? SYN_SACK : 0u) |
                (o->has_wscale ? SYN_WSCALE : 0u)) &
               15;
    e->wscale = (o->has_wscale ? o->wscale : 0u) & 15;
    e->ts_recent = o->tsval;
}

static void cookie_answer(struct net *n, const struct tcp_segment *s)
{
    struct syn_entry e = {.tuple = s->tuple};
    uint32_t tsval = tuple_ts_now(n->tcp, &s->tuple);

    syn_entry_fill(&e, s);
    cookie_make(n->tcp, &e, &tsval);
    (void)syn_ack_send(n, &e, tsval);
}

static struct syn_entry *entry_new(struct tcp *t, const struct tcp_segment *s)
{
    if (t->halves.table.records.free_count == 0)
        oldest_drop(t);
    struct syn_entry *e = record_new(&t->halves.table, &s->tuple, tuple_hash(t, &s->tuple));

    CHECK(e != NULL);
    syn_entry_fill(e, s);
    e->sent_us = (uint32_t)t->net->now_us;
    queue_append(t, e);
    timer_arm(t, wait_us(0));
    return e;
}

void listen_input(struct net *n, const struct tcp_segment *s, const uint32_t *isn_above)
{
    struct tcp *t = n->tcp;

    if (t->conns.free_count == 0) {
        count(n->counters, REASON_TCP_TABLE_FULL);
        return;
    }
    count(n->counters, REASON_TCP_SYN_RECEIVED);
    if (isn_above == NULL && (t->pressure.level >= PRESSURE_COOKIES ||
                              record_count(&t->halves.table) >= n->config.syn_cookies_above)) {
        cookie_answer(n, s);
        return;
    }
    struct syn_entry *e = entry_new(t, s);
    e->iss = tuple_isn(t, &s->tuple);
    if (isn_above != NULL && !seq_lt(*isn_above, e->iss))
        e->iss = *isn_above + 1 + UINT16_MAX;
    (void)syn_ack_send(n, e, tuple_ts_now(t, &s->tuple));
}

/* ---- the last ACK ---- */

void tcp_conn_agree(struct net_conn *c, const struct syn_entry *e)
{
    c->flags |= ((e->flags & SYN_TS) != 0 ? TCP_CONN_TS : 0u) |
                ((e->flags & SYN_SACK) != 0 ? TCP_CONN_SACK : 0u) |
                ((e->flags & SYN_WSCALE) != 0 ? TCP_CONN_WSCALE : 0u);
    c->snd_wscale = e->wscale;
    c->rcv_wscale = (e->flags & SYN_WSCALE) != 0 ? c->tcp->rcv_wscale : 0; /* B14: only if offered */
    c->ts_recent = e->ts_recent;
    c->ts_recent_s = net_now_s(c->tcp->net);
    c->ts_offset = tuple_ts_offset(c->tcp, &c->tuple);
    c->mss = (uint16_t)u32_min(e->mss, tcp_mss_of(c->tcp->net, c->tuple.family));
}

void tcp_conn_sequences_begin(struct net_conn *c, const struct syn_entry *e)
{
    c->irs = e->irs;
    c->rcv_nxt = e->irs + 1;
    c->rcv_read = c->rcv_nxt;
    c->last_ack = c->rcv_nxt;
    c->rcv_adv = c->rcv_nxt + syn_window(c->tcp->net);
    c->iss = e->iss;
    c->snd_una = e->iss;
    c->snd_nxt = e->iss + 1;
    c->snd_max = e->iss + 1;
    c->snd_end = e->iss + 1;
    c->recover = e->iss;
}

/* The record that the handshake has earned, with s as the first segment on it.  sent_us: when the SYN-ACK
 * left, if only one did; TCP_NEVER otherwise. */
static bool tcp_conn_begin(struct net *n, const struct syn_entry *e, const struct tcp_segment *s,
                           uint64_t sent_us)
{
    struct net_conn *c = tcp_conn_new(n->tcp, &e->tuple);

    if (c == NULL) {
        count(n->counters, REASON_TCP_ACCEPT_OVERFLOW);
        return false;
    }
    tcp_conn_agree(c, e);
    tcp_conn_sequences_begin(c, e);
    c->ssthresh = UINT32_MAX;
    c->rto_us = TCP_RTO_FIRST_US;
    c->retries = e->tries;
    c->last_send_us = n->now_us;
    c->progress_us = n->now_us;
    if (sent_us != TCP_NEVER) {
        c->flags |= TCP_CONN_TIMING;
        c->rtt_seq = e->iss;
        c->rtt_start_us = (uint32_t)sent_us;
    }
    tcp_conn_become_established(c, s);
    count(n->counters, REASON_TCP_ACCEPTED);
    tcp_conn_input(c, s);
    return true;
}

static void last_ack_input(struct net *n, struct syn_entry *e, const struct tcp_segment *s)
{
    bool once = e->tries == 0 && (e->flags & SYN_RESENT) == 0;
    uint64_t sent_us = n->now_us - ((uint32_t)n->now_us - e->sent_us);
    struct syn_entry copy = *e;

    if (s->ack != e->iss + 1) {
        count(n->counters, REASON_TCP_BAD_ACK);
        reset_send(n, &e->tuple, s->ack, 0, false);
        return;
    }
    /* C10: without a record for it the ACK was never heard; the SYN-ACK's repetition brings another. */
    if (tcp_conn_begin(n, &copy, s, once ? sent_us : TCP_NEVER))
        entry_free(n->tcp, e);
}

/* ---- other segments ---- */

/* RFC 5961 3.2, as on a connection. */
static void reset_input(struct net *n, struct syn_entry *e, const struct tcp_segment *s)
{
    uint32_t next = e->irs + 1;

    if (s->seq == next) {
        count(n->counters, REASON_TCP_RESET_BY_PEER);
        entry_free(n->tcp, e);
    } else if (seq_lt(next, s->seq) && seq_lt(s->seq, next + syn_window(n))) {
        challenge(n, e);
    } else {
        count(n->counters, REASON_TCP_BAD_RST);
    }
}

/* The peer may just not have heard our answer. */
static void syn_again(struct net *n, struct syn_entry *e, const struct tcp_segment *s)
{
    if (s->seq != e->irs || (s->flags & TCP_ACK) != 0) {
        count(n->counters, REASON_TCP_UNEXPECTED_SYN);
        challenge(n, e);
        return;
    }
    e->flags |= SYN_RESENT;
    (void)syn_ack_send(n, e, tuple_ts_now(n->tcp, &e->tuple));
}

static bool sequence_acceptable(const struct net *n, const struct syn_entry *e, const struct tcp_segment *s)
{
    uint32_t next = e->irs + 1;
    uint32_t last = s->seq + (uint32_t)s->data.len + ((s->flags & TCP_FIN) != 0);

    if (s->seq == next)
        return true;
    return seq_lt(s->seq, next + syn_window(n)) && (seq_lt(next, s->seq) || seq_lt(next, last));
}

void syn_cache_input(struct net *n, struct syn_entry *e, const struct tcp_segment *s)
{
    bool ts = (e->flags & SYN_TS) != 0;

    if ((s->flags & TCP_RST) != 0) {
        reset_input(n, e, s);
    } else if ((s->flags & TCP_SYN) != 0) {
        syn_again(n, e, s);
    } else if (ts && !s->options.has_ts) {
        count(n->counters, REASON_TCP_NO_TIMESTAMP);
    } else if (ts && seq_lt(s->options.tsval, e->ts_recent)) {
        count(n->counters, REASON_TCP_PAWS);
        challenge(n, e);
    } else if (!sequence_acceptable(n, e, s)) {
        count(n->counters, REASON_TCP_OUT_OF_WINDOW);
        challenge(n, e);
    } else if ((s->flags & TCP_ACK) == 0) {
        count(n->counters, REASON_TCP_NO_ACK);
    } else {
        last_ack_input(n, e, s);
    }
}

struct syn_entry *syn_cache_find(struct tcp *t, const struct tcp_tuple *tuple)
{
    return record_find(&t->halves.table, tuple, tuple_hash(t, tuple));
}

/* How often a SYN-ACK was repeated is not known: the initial window assumes the best (D10). */
bool cookie_input(struct net *n, const struct tcp_segment *s)
{
    struct tcp_segment first = *s;
    struct syn_entry e;

    if ((s->flags & (TCP_SYN | TCP_RST | TCP_ACK)) != TCP_ACK || !cookie_accept(n->tcp, s, &e))
        return false;
    first.options.tsecr = 0; /* its last bits are no time */
    (void)tcp_conn_begin(n, &e, &first, TCP_NEVER);
    return true;
}

/* ---- time ---- */

/* The SYN-ACK again, some times (C9).  One entry per call: the caller counts them. */
void syn_cache_timer(struct tcp *t)
{
    struct net *n = t->net;
    struct syn_entry *e = entry_first(t);

    if (e != NULL && entry_due_in(t, e) == 0) {
        if (e->tries >= n->config.syn_ack_retries) {
            count(n->counters, REASON_TCP_HANDSHAKE_TIMEOUT);
            entry_free(t, e);
        } else if (syn_ack_send(n, e, tuple_ts_now(t, &e->tuple))) {
            queue_remove(t, e);
            e->tries = (e->tries + 1u) & 15;
            e->sent_us = (uint32_t)n->now_us;
            queue_append(t, e);
        } else {
            timer_arm(t, 1000);
            return;
        }
        e = entry_first(t);
    }
    if (e != NULL)
        timer_arm(t, entry_due_in(t, e));
}
