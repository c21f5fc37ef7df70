/* The state machine against a model: every state, every combination of flags, every kind of sequence and
 * acknowledgement number, with data and without, one segment each.  What must come of it is computed below from
 * RFC 9293 3.10.7, step by step as it stands there, with the stricter rules of RFC 5961 (3.2, 4.2, 5.2), RFC 1337
 * and RFC 6191; where these leave a choice, what docs/TCP.md decides. */
#include "dataplane/net/tcp.h"
#include "tests/sim/snapshot.h"
#include "tests/sim/tcp_script.h"

#define WINDOW     8192  /* ours */
#define SND_WINDOW 65535 /* the peer's */
#define OUT        10    /* bytes of ours in flight where there may be some */
#define DATA       10    /* bytes of the segment that has some */

enum state {
    CLOSED,
    LISTEN,
    SYN_SENT,
    SYN_RECEIVED,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    CLOSE_WAIT,
    CLOSING,
    LAST_ACK,
    TIME_WAIT
};

static const char *const state_names[] = {"CLOSED",      "LISTEN",     "SYN_SENT",   "SYN_RECEIVED",
                                          "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT",
                                          "CLOSING",     "LAST_ACK",   "TIME_WAIT"};

/* Where the connection stands: RFC 9293 3.3.1. */
struct stand {
    enum state state;
    uint32_t una, nxt; /* SND.UNA, SND.NXT */
    uint32_t rcv;      /* RCV.NXT */
    int32_t wnd;       /* RCV.WND */
};

struct shot {
    uint8_t flags;
    uint32_t seq, ack;
    uint32_t len; /* of data */
};

enum answer { NOTHING, AN_ACK, A_SYN_ACK, A_RST, A_RST_ACK };

struct outcome {
    enum state next;
    enum answer answer;
    uint32_t seq, ack;  /* of the answer */
    uint32_t delivered; /* bytes that the user may read */
    bool reset;
    bool held; /* bytes or a FIN wait beyond a gap */
};

/* ---- the model ---- */

static bool has(const struct shot *s, uint8_t flags)
{
    return (s->flags & flags) != 0;
}

static uint32_t seg_len(const struct shot *s)
{
    return s->len + has(s, WIRE_SYN) + has(s, WIRE_FIN);
}

static int32_t minus(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static struct outcome stays(const struct stand *at)
{
    return (struct outcome){.next = at->state};
}

static struct outcome stays_with_ack(const struct stand *at)
{
    return (struct outcome){.next = at->state, .answer = AN_ACK, .seq = at->nxt, .ack = at->rcv};
}

/* 3.10.7.1, and the RSTs of 3.5.2 wherever else nobody is. */
static struct outcome refused(const struct stand *at, const struct shot *s)
{
    struct outcome o = stays(at);

    if (has(s, WIRE_RST))
        return o;
    o.answer = has(s, WIRE_ACK) ? A_RST : A_RST_ACK;
    o.seq = has(s, WIRE_ACK) ? s->ack : 0;
    o.ack = has(s, WIRE_ACK) ? 0 : s->seq + seg_len(s);
    return o;
}

static struct outcome opened(const struct shot *s)
{
    return (struct outcome){.next = SYN_RECEIVED, .answer = A_SYN_ACK, .ack = s->seq + 1};
}

/* 3.10.7.2.  A SYN that closes in the same breath opens nothing. */
static struct outcome in_listen(const struct stand *at, const struct shot *s)
{
    if (has(s, WIRE_RST))
        return stays(at);
    if (has(s, WIRE_ACK))
        return refused(at, s);
    if (has(s, WIRE_SYN) && !has(s, WIRE_FIN))
        return opened(s);
    return stays(at);
}

/* 3.10.7.3.  Of what comes with the SYN nothing is kept: it comes again. */
static struct outcome in_syn_sent(const struct stand *at, const struct shot *s)
{
    struct outcome o = stays(at);

    if (has(s, WIRE_ACK) && s->ack != at->nxt)
        return has(s, WIRE_RST) ? o : refused(at, s);
    if (has(s, WIRE_RST)) {
        o.next = has(s, WIRE_ACK) ? CLOSED : SYN_SENT;
        return o;
    }
    if (!has(s, WIRE_SYN))
        return o;
    if (!has(s, WIRE_ACK))
        return opened(s);
    return (struct outcome){.next = ESTABLISHED, .answer = AN_ACK, .seq = at->nxt, .ack = s->seq + 1};
}

/* 3.4, table 6.  An empty segment at the very end of the window is taken once there is a connection: a peer that
 * has filled it acknowledges from there. */
static bool acceptable(const struct stand *at, const struct shot *s)
{
    int32_t first = minus(s->seq, at->rcv), last = first + (int32_t)seg_len(s) - 1;

    if (seg_len(s) == 0)
        return first >= 0 && first < at->wnd + (at->state != SYN_RECEIVED);
    return (first >= 0 && first < at->wnd) || (last >= 0 && last < at->wnd);
}

/* RFC 5961 3.2; RFC 1337 for TIME-WAIT. */
static struct outcome reset(const struct stand *at, const struct shot *s)
{
    int32_t first = minus(s->seq, at->rcv);

    if (at->state == TIME_WAIT)
        return stays(at);
    if (first == 0)
        return (struct outcome){.next = at->state == SYN_RECEIVED ? LISTEN : CLOSED, .reset = true};
    return first > 0 && first < at->wnd ? stays_with_ack(at) : stays(at);
}

/* RFC 5961 4.2, RFC 6191.  The SYN itself once more: our answer was lost. */
static struct outcome syn(const struct stand *at, const struct shot *s)
{
    if (at->state == TIME_WAIT && !has(s, WIRE_ACK) && !has(s, WIRE_FIN) && minus(s->seq, at->rcv) > 0)
        return opened(s);
    if (at->state == SYN_RECEIVED && !has(s, WIRE_ACK) && s->seq == at->rcv - 1)
        return opened(s);
    return stays_with_ack(at);
}

/* 3.10.7.4, fifth: whose FIN the acknowledgement takes. */
static enum state after_ack(const struct stand *at, const struct shot *s)
{
    if (s->ack != at->nxt)
        return at->state;
    switch (at->state) {
    case FIN_WAIT_1:
        return FIN_WAIT_2;
    case CLOSING:
        return TIME_WAIT;
    case LAST_ACK:
        return CLOSED;
    default:
        return at->state;
    }
}

static enum state after_fin(enum state s)
{
    return s == ESTABLISHED ? CLOSE_WAIT : s == FIN_WAIT_1 ? CLOSING : TIME_WAIT;
}

/* Seventh and eighth: text and FIN.  In order and whole: its ACK may wait (RFC 5681 4.2). */
static struct outcome text(const struct stand *at, enum state now, const struct shot *s)
{
    struct outcome o = {.next = now, .seq = at->nxt, .ack = at->rcv};
    int32_t first = minus(s->seq, at->rcv), end = first + (int32_t)s->len;
    bool fin = has(s, WIRE_FIN) && end <= at->wnd;

    if (now != ESTABLISHED && now != FIN_WAIT_1 && now != FIN_WAIT_2) {
        o.answer = seg_len(s) != 0 ? AN_ACK : NOTHING;
        return o;
    }
    if (seg_len(s) == 0)
        return o;
    o.held = first > 0 && first < at->wnd;
    if (first <= 0 && end > 0)
        o.delivered = (uint32_t)end;
    if (first <= 0 && fin)
        o.next = after_fin(now);
    o.ack += o.delivered + (first <= 0 && fin);
    o.answer = first == 0 && !has(s, WIRE_FIN) ? NOTHING : AN_ACK;
    return o;
}

/* 3.10.7.4. */
static struct outcome synchronised(const struct stand *at, const struct shot *s)
{
    if (has(s, WIRE_RST))
        return reset(at, s);
    if (has(s, WIRE_SYN))
        return syn(at, s);
    if (!acceptable(at, s))
        return stays_with_ack(at);
    if (at->state == TIME_WAIT) /* all that can come is what came before */
        return seg_len(s) != 0 || s->seq != at->rcv ? stays_with_ack(at) : stays(at);
    if (!has(s, WIRE_ACK))
        return stays(at);
    if (at->state == SYN_RECEIVED && s->ack != at->nxt)
        return (struct outcome){.next = SYN_RECEIVED, .answer = A_RST, .seq = s->ack};
    if (minus(s->ack, at->nxt) > 0 || minus(s->ack, at->una) < -SND_WINDOW) /* RFC 5961 5.2 */
        return stays_with_ack(at);
    enum state now = at->state == SYN_RECEIVED ? ESTABLISHED : after_ack(at, s);
    return now == CLOSED ? (struct outcome){.next = CLOSED} : text(at, now, s);
}

static struct outcome model(const struct stand *at, const struct shot *s)
{
    if (at->state == CLOSED)
        return refused(at, s);
    if (at->state == LISTEN)
        return in_listen(at, s);
    return at->state == SYN_SENT ? in_syn_sent(at, s) : synchronised(at, s);
}

/* ---- what is ---- */

static void connect_begin(struct script *t)
{
    const struct net_config *c = &t->net->config;
    struct net_addr peer = c->addrs[t->variant->v6].addr;

    memcpy(peer.bytes, t->theirs.bytes, sizeof peer.bytes);
    t->conn = net_connect(t->net, &c->addrs[t->variant->v6].addr, &peer, t->sport, t->now_us);
    script_turn(t);
    t->iss = expect_segment(t)->seq;
}

static struct script *stand_in(void **state, enum state s, struct stand *at)
{
    bool flight = s == ESTABLISHED || s == CLOSE_WAIT || s == FIN_WAIT_1 || s == CLOSING || s == LAST_ACK;
    bool closes = s == FIN_WAIT_1 || s == FIN_WAIT_2 || s == CLOSING || s == LAST_ACK || s == TIME_WAIT;
    bool hears_fin = s == CLOSE_WAIT || s == CLOSING || s == LAST_ACK || s == TIME_WAIT;
    struct script *t = script_new(
        state, &(struct script_options){.recv_buffer = WINDOW, .recv_buffers = 2, .send_buffers = 2});

    if (s == SYN_SENT) {
        connect_begin(t);
    } else if (s == SYN_RECEIVED) {
        peer_syn(t);
        t->iss = expect_segment(t)->seq;
    } else if (s != CLOSED && s != LISTEN) {
        script_handshake(t);
    }
    if (flight)
        app_send(t, OUT);
    if (s == CLOSE_WAIT || s == LAST_ACK)
        peer_fin(t, 0);
    if (closes)
        app_close(t);
    if (s == FIN_WAIT_2 || s == TIME_WAIT)
        t->acked = 1;
    if (s == FIN_WAIT_2)
        peer_sends(t, peer_make(t, WIRE_ACK, 0));
    if (s == CLOSING || s == TIME_WAIT)
        peer_fin(t, 0);
    *at = (struct stand){.state = s, .rcv = peer_seq(t, hears_fin ? 1 : 0)};
    at->wnd = WINDOW - hears_fin;
    at->nxt = t->iss + 1 + (flight ? OUT : 0) + (closes ? 1 : 0);
    at->una = s == SYN_RECEIVED || s == SYN_SENT  ? at->nxt - 1
              : s == FIN_WAIT_2 || s == TIME_WAIT ? at->nxt
                                                  : t->iss + 1;
    return t;
}

static enum state state_of(const struct script *t, enum state nobody)
{
    struct net_gauges g = script_gauges(t);

    if (g.time_wait != 0)
        return TIME_WAIT;
    if (t->conn != NULL && t->conn->state == TCP_SYN_SENT)
        return SYN_SENT;
    if (g.syn_received != 0)
        return SYN_RECEIVED;
    if (g.conns == 0 || t->conn == NULL)
        return nobody;
    switch (t->conn->state) {
    case TCP_ESTABLISHED:
        return ESTABLISHED;
    case TCP_CLOSE_WAIT:
        return CLOSE_WAIT;
    case TCP_FIN_WAIT_1:
        return FIN_WAIT_1;
    case TCP_FIN_WAIT_2:
        return FIN_WAIT_2;
    case TCP_CLOSING:
        return CLOSING;
    case TCP_LAST_ACK:
        return LAST_ACK;
    default:
        return CLOSED;
    }
}

static void fire(struct script *t, const struct shot *s, enum state state)
{
    struct wire_segment w = {.flags = s->flags, .seq = s->seq, .ack = s->ack, .wnd = t->window};

    w.dport = state == SYN_SENT ? net_local_port(t->conn) : state == CLOSED ? SCRIPT_PORT + 1 : SCRIPT_PORT;
    w.data = span_of("0123456789", s->len);
    peer_sends(t, w);
}

static const char *wrong_answer(struct script *t, const struct outcome *o)
{
    static const uint8_t flags[] = {[AN_ACK] = WIRE_ACK,
                                    [A_SYN_ACK] = WIRE_SYN | WIRE_ACK,
                                    [A_RST] = WIRE_RST,
                                    [A_RST_ACK] = WIRE_RST | WIRE_ACK};
    const struct wire_segment *w;

    if (script_pending(t) != (o->answer != NOTHING))
        return script_pending(t) == 0 ? "nothing was answered" : "too much was answered";
    if (o->answer == NOTHING)
        return NULL;
    w = expect_segment(t);
    if (w->flags != flags[o->answer] || w->data.len != 0)
        return "another kind of segment was answered";
    if (w->seq != o->seq && o->answer != A_SYN_ACK)
        return "the answer has another sequence number";
    return w->ack == o->ack || o->answer == A_RST ? NULL : "the answer acknowledges another number";
}

static const char *wrong(struct script *t, const struct stand *at, const struct outcome *o)
{
    enum state nobody = at->state == LISTEN || at->state == SYN_RECEIVED ? LISTEN : CLOSED;
    const char *answer = wrong_answer(t, o);
    size_t readable = t->conn != NULL ? net_readable(t->conn) : 0;

    if (answer != NULL)
        return answer;
    if (state_of(t, nobody) != o->next)
        return "another state was entered";
    if (readable != o->delivered)
        return "other bytes were delivered";
    if (t->conn != NULL &&
        (net_close_cause(t->conn) == NET_CAUSE_RESET) != (o->reset && at->state != SYN_RECEIVED))
        return "reset, or not";
    return NULL;
}

/* Whatever was sent before: the next bytes of the stream are taken. */
static const char *stopped_working(struct script *t, const struct stand *at, const struct outcome *o)
{
    struct wire_segment w = {.flags = WIRE_ACK, .seq = at->rcv, .ack = at->nxt, .wnd = t->window};
    bool takes = o->next == at->state && (at->state == ESTABLISHED || at->state == FIN_WAIT_2);

    if (!takes || o->held || o->delivered != 0)
        return NULL;
    w.data = span_str("0123456789");
    peer_sends(t, w);
    return net_readable(t->conn) == DATA ? NULL : "it works no more";
}

/* ---- all of it ---- */

#define SEQS  9
#define ACKS  9
#define SHOTS (64u * SEQS * ACKS * 2)

static struct shot shot_of(uint32_t n, const struct stand *at)
{
    static const int32_t seqs[SEQS] = {-100000, -DATA, -1, 0, 1, 4000, WINDOW - 1, WINDOW, 100000};
    const uint32_t acks[ACKS] = {at->una - SND_WINDOW - 1, at->una - SND_WINDOW, at->una - 1, at->una,
                                 at->una + OUT / 2,        at->nxt - 1,          at->nxt,     at->nxt + 1,
                                 at->nxt + (1u << 30)};
    uint32_t seq = n / 64 % SEQS, ack = n / 64 / SEQS % ACKS;

    return (struct shot){(uint8_t)(n % 64), at->rcv + (uint32_t)seqs[seq], acks[ack],
                         n / 64 / SEQS / ACKS != 0 ? DATA : 0};
}

/* Near the wrap a seventh of the shots, evenly: 7 shares no factor with any of the counts. */
static void every_shot_in(void **state, enum state s)
{
    struct stand at;
    struct script *t = stand_in(state, s, &at);
    struct snapshot *snap = snapshot_take(t);

    assert_int_equal(state_of(t, s), s);
    for (uint32_t n = 0; n < SHOTS; n += t->variant->wrap ? 7 : 1) {
        struct shot shot = shot_of(n, &at);
        struct outcome o = model(&at, &shot);
        snapshot_restore(snap);
        fire(t, &shot, s);
        const char *why = wrong(t, &at, &o);
        if (why == NULL)
            why = stopped_working(t, &at, &o);
        if (why != NULL)
            fail_msg("%s: in %s, flags %02x, seq %+d, ack %+d (%+d), %u bytes; expected %s, answer %d", why,
                     state_names[s], shot.flags, minus(shot.seq, at.rcv), minus(shot.ack, at.una),
                     minus(shot.ack, at.nxt), shot.len, state_names[o.next], (int)o.answer);
    }
    snapshot_free(snap);
    script_free(t);
}

#define EVERY(name, which)                                                                                   \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        every_shot_in(state, which);                                                                         \
    }

EVERY(c1_closed_does_what_the_model_says, CLOSED)
EVERY(c1_listen_does_what_the_model_says, LISTEN)
EVERY(c1_syn_sent_does_what_the_model_says, SYN_SENT)
EVERY(c1_syn_received_does_what_the_model_says, SYN_RECEIVED)
EVERY(c1_established_does_what_the_model_says, ESTABLISHED)
EVERY(c1_fin_wait_1_does_what_the_model_says, FIN_WAIT_1)
EVERY(c1_fin_wait_2_does_what_the_model_says, FIN_WAIT_2)
EVERY(c1_close_wait_does_what_the_model_says, CLOSE_WAIT)
EVERY(c1_closing_does_what_the_model_says, CLOSING)
EVERY(c1_last_ack_does_what_the_model_says, LAST_ACK)
EVERY(c1_time_wait_does_what_the_model_says, TIME_WAIT)

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(c1_closed_does_what_the_model_says),      T(c1_listen_does_what_the_model_says),
        T(c1_syn_sent_does_what_the_model_says),    T(c1_syn_received_does_what_the_model_says),
        T(c1_established_does_what_the_model_says), T(c1_fin_wait_1_does_what_the_model_says),
        T(c1_fin_wait_2_does_what_the_model_says),  T(c1_close_wait_does_what_the_model_says),
        T(c1_closing_does_what_the_model_says),     T(c1_last_ack_does_what_the_model_says),
        T(c1_time_wait_does_what_the_model_says),
    };
    return SCRIPT_RUN("tcp_model", tests);
}
