/* TIME-WAIT: 64 bytes that remember a connection for 2 MSL after its end, so that its segments still on their way
 * trouble nobody and the peer's last FIN finds an answer (RFC 9293 3.6.1).  The connection's own record goes back
 * at once.
 *
 * All wait equally long, so that one queue is sorted by when they end; a repeated FIN moves its entry to the end.
 * A full table drops the oldest.  A RST changes nothing (RFC 1337); a SYN beyond the old connection, or with a
 * newer timestamp, begins a new one (RFC 6191). */
#include "dataplane/net/tcp.h"

#include "base/check.h"

#define NONE           ((1u << 22) - 1)
#define CHALLENGES_MAX 7
#define ENDED_PER_CALL 8

static struct wait_entry *entry_at(const struct tcp *t, uint32_t index)
{
    return record_at(&t->waits.table, index);
}

void time_wait_init(struct tcp *t, struct arena *a)
{
    _Static_assert(TCP_TIME_WAIT_MAX <= NONE, "an index of an entry has 22 bits");
    record_table_init(&t->waits.table, a, t->net->config.time_wait_max);
    t->waits.first = NONE;
    t->waits.last = NONE;
}

struct wait_entry *time_wait_find(const struct tcp *t, const struct tcp_tuple *tuple)
{
    if (t->waits.first == NONE)
        return NULL;
    return record_find(&t->waits.table, tuple, tuple_hash(t, tuple));
}

/* ---- the queue ---- */

static void queue_append(struct tcp *t, struct wait_entry *e)
{
    uint32_t index = record_index(&t->waits.table, e) & NONE;

    e->prev = t->waits.last & NONE;
    e->next = NONE;
    if (t->waits.last == NONE)
        t->waits.first = index;
    else
        entry_at(t, t->waits.last)->next = index & NONE;
    t->waits.last = index;
}

static void queue_remove(struct tcp *t, struct wait_entry *e)
{
    if (e->prev == NONE)
        t->waits.first = e->next;
    else
        entry_at(t, e->prev)->next = e->next;
    if (e->next == NONE)
        t->waits.last = e->prev;
    else
        entry_at(t, e->next)->prev = e->prev;
}

void time_wait_free(struct tcp *t, struct wait_entry *e)
{
    queue_remove(t, e);
    record_free(&t->waits.table, e, tuple_hash(t, &e->tuple));
}

/* Low 32 bits of a clock of 1 ms, rounded up: entries live minutes. */
static uint32_t clock_ms(const struct tcp *t)
{
    return (uint32_t)((t->net->now_us + 999) / 1000);
}

/* Milliseconds until e ends; 0: now. */
static uint32_t entry_left(const struct tcp *t, const struct wait_entry *e)
{
    uint32_t left = e->ends_ms - (uint32_t)(t->net->now_us / 1000);

    return left <= 2 * t->net->config.msl_ms + 1 ? left : 0;
}

static void timer_arm(struct tcp *t)
{
    if (t->waits.first == NONE || wheel_is_armed(&t->waits.timer))
        return;
    wheel_arm(&t->wheel, &t->waits.timer, t->net->now_us / 1000 + entry_left(t, entry_at(t, t->waits.first)));
}

static void entry_begin(struct tcp *t, struct wait_entry *e)
{
    e->ends_ms = clock_ms(t) + 2 * t->net->config.msl_ms;
    queue_append(t, e);
    timer_arm(t);
}

/* A few entries per call: the caller counts them as one. */
void time_wait_timer(struct tcp *t)
{
    for (int i = 0; i < ENDED_PER_CALL && t->waits.first != NONE; i++) {
        struct wait_entry *e = entry_at(t, t->waits.first);
        if (entry_left(t, e) != 0)
            break;
        time_wait_free(t, e);
    }
    timer_arm(t);
}

/* ---- what we say ---- */

static void ack_send(struct tcp *t, const struct wait_entry *e)
{
    uint8_t options[TCP_OPTIONS_MAX];
    struct tcp_bare b = {.seq = e->snd_nxt, .ack = e->rcv_nxt, .wnd = e->wnd, .flags = TCP_ACK};
    uint32_t len = 0;

    if (e->ts)
        len = options_write_timestamps(tuple_ts_now(t, &e->tuple), e->ts_recent, options);
    b.options = span_of(options, len);
    (void)bare_send(t->net, &e->tuple, &b);
}

static void challenge(struct tcp *t, struct wait_entry *e)
{
    if (e->challenges == CHALLENGES_MAX || !challenge_token_take(t)) {
        count(t->net->counters, REASON_TCP_CHALLENGE_SUPPRESSED);
        return;
    }
    e->challenges++;
    count(t->net->counters, REASON_TCP_CHALLENGE_SENT);
    ack_send(t, e);
}

/* ---- its beginning ---- */

static struct wait_entry *entry_new(struct tcp *t, const struct net_conn *c)
{
    if (t->waits.table.records.free_count == 0) {
        count(t->net->counters, REASON_TCP_TIME_WAIT_DROPPED);
        time_wait_free(t, entry_at(t, t->waits.first));
    }
    struct wait_entry *e = record_new(&t->waits.table, &c->tuple, tuple_hash(t, &c->tuple));

    CHECK(e != NULL);
    e->snd_nxt = c->snd_max;
    e->rcv_nxt = c->rcv_nxt;
    e->ts_recent = c->ts_recent;
    e->ts = tcp_conn_has(c, TCP_CONN_TS);
    e->wnd = (uint16_t)u32_min(tcp_conn_recv_window(c) >> c->rcv_wscale, UINT16_MAX);
    return e;
}

void tcp_conn_enter_time_wait(struct net_conn *c)
{
    struct tcp *t = c->tcp;
    struct wait_entry *e = entry_new(t, c);

    entry_begin(t, e);
    if (tcp_conn_has(c, TCP_CONN_ACK_NOW) || tcp_conn_timer_runs(c, TIMER_DELACK))
        ack_send(t, e);
    tcp_conn_end(c, NET_CAUSE_FINISHED);
}

/* ---- what we hear ---- */

static bool syn_reopens(const struct tcp *t, const struct wait_entry *e, const struct tcp_segment *s)
{
    bool newer_ts = e->ts && s->options.has_ts && seq_lt(e->ts_recent, s->options.tsval);

    return (s->flags & (TCP_SYN | TCP_ACK | TCP_FIN)) == TCP_SYN &&
           (newer_ts || seq_lt(e->rcv_nxt, s->seq)) && tcp_port_listens(t->net, e->tuple.local_port);
}

/* The peer's FIN once more: our last ACK was lost (RFC 9293 3.10.7.4). */
static void fin_again(struct tcp *t, struct wait_entry *e, const struct tcp_segment *s)
{
    if (e->ts && s->options.has_ts && seq_lt(e->ts_recent, s->options.tsval))
        e->ts_recent = s->options.tsval;
    queue_remove(t, e);
    entry_begin(t, e);
    ack_send(t, e);
}

bool time_wait_input(struct tcp *t, struct wait_entry *e, const struct tcp_segment *s)
{
    struct counters *counters = t->net->counters;
    uint32_t len = segment_len(s);

    if ((s->flags & TCP_RST) != 0) {
        count(counters, REASON_TCP_BAD_RST);
        return false;
    }
    if (syn_reopens(t, e, s))
        return true;
    if ((s->flags & TCP_FIN) != 0 && s->seq + len == e->rcv_nxt) {
        fin_again(t, e, s);
    } else if (len != 0) {
        count(counters, REASON_TCP_OUT_OF_WINDOW);
        challenge(t, e);
    } else if (s->seq != e->rcv_nxt) {
        challenge(t, e);
    }
    return false;
}
