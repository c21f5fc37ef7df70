/* Every state against every combination of flags, sequence number and acknowledgement (RFC 9293 3.10.7): what
 * no segment may do, whatever it is. */
#include "tests/sim/tcp_script.h"

enum state { ESTABLISHED, CLOSE_WAIT, FIN_WAIT_1, FIN_WAIT_2, CLOSING, LAST_ACK, TIME_WAIT };

/* Where the peer's stream stands in each state: the offset of the next byte that we expect. */
static uint32_t next_offset(enum state s)
{
    return s == CLOSE_WAIT || s == CLOSING || s == LAST_ACK || s == TIME_WAIT ? 1 : 0;
}

static bool we_closed(enum state s)
{
    return s != ESTABLISHED && s != CLOSE_WAIT;
}

static struct script *in_state(void **state, enum state s)
{
    struct script *t = script_new(state, &(struct script_options){.recv_buffer = 8192});

    script_handshake(t);
    if (s == CLOSE_WAIT || s == LAST_ACK)
        peer_fin(t, 0);
    if (we_closed(s))
        app_close(t);
    if (s == FIN_WAIT_2)
        peer_ack(t, 1);
    if (s == TIME_WAIT)
        t->acked = 1;
    if (s == CLOSING || s == TIME_WAIT)
        peer_fin(t, 0);
    script_drop_all(t);
    (void)app_events(t);
    return t;
}

/* One segment of the sweep; seq as an offset from what is expected, ack from what we sent last. */
struct shot {
    uint8_t flags;
    int32_t seq, ack;
    bool data;
};

#define SEQS  7
#define ACKS  4
#define SHOTS (64 * SEQS * ACKS * 2)
#define STEP  5 /* shares no factor with any of them: a fifth of the combinations, evenly */

static struct shot shot_of(uint32_t n)
{
    static const int32_t seqs[SEQS] = {-100000, -1, 0, 1, 4000, 8191, 8192};
    static const int32_t acks[ACKS] = {-200000, -1, 0, 1};

    return (struct shot){(uint8_t)(n % 64), seqs[n / 64 % SEQS], acks[n / 64 / SEQS % ACKS],
                         n / 64 / SEQS / ACKS != 0};
}

static void fire(struct script *t, enum state s, struct shot shot)
{
    uint32_t sent = we_closed(s) ? 1 : 0;
    struct wire_segment w = peer_make(t, shot.flags, next_offset(s) + (uint32_t)shot.seq);

    w.ack = t->iss + 1 + sent + (uint32_t)shot.ack;
    if (shot.data)
        w.data = span_str("0123456789");
    peer_sends(t, w);
}

static void sweep(void **state, enum state s, void (*check)(struct script *, enum state, struct shot))
{
    for (uint32_t n = 0; n < SHOTS; n += STEP) {
        struct script *t = in_state(state, s);
        struct shot shot = shot_of(n);
        fire(t, s, shot);
        check(t, s, shot);
        script_free(t);
    }
}

/* ---- what must hold ---- */

static void only_exact_rst_resets(struct script *t, enum state s, struct shot shot)
{
    bool closed = (t->events & NET_EVENT_CLOSED) != 0 || s == TIME_WAIT;
    bool reset = closed && net_close_cause(t->conn) == NET_CAUSE_RESET;
    bool exact = (shot.flags & WIRE_RST) != 0 && shot.seq == 0 && s != TIME_WAIT;

    assert_int_equal(reset, exact);
}

static void rst_is_never_answered_by_rst(struct script *t, enum state s, struct shot shot)
{
    (void)s;
    while ((shot.flags & WIRE_RST) != 0 && script_pending(t) != 0)
        assert_int_equal(expect_segment(t)->flags & WIRE_RST, 0);
}

/* RFC 9293 3.10.7.4: the user reads only from segments that begin at rcv_nxt, carry an ACK that may be believed
 * and come before the peer's FIN. */
static void bytes_come_only_from_good_segments(struct script *t, enum state s, struct shot shot)
{
    bool overlaps = shot.seq == 0 || shot.seq == -1;
    bool believed = (shot.flags & WIRE_ACK) != 0 && shot.ack <= 0 && shot.ack > -100000;
    bool good = shot.data && overlaps && believed && (shot.flags & (WIRE_SYN | WIRE_RST)) == 0;
    bool takes = s == ESTABLISHED || s == FIN_WAIT_1 || s == FIN_WAIT_2;

    if (s == FIN_WAIT_1 || s == ESTABLISHED || s == FIN_WAIT_2)
        assert_int_equal(net_readable(t->conn) != 0, good && takes);
    else
        assert_int_equal(net_readable(t->conn), 0);
}

static void connection_still_works(struct script *t, enum state s, struct shot shot)
{
    if ((shot.flags & WIRE_RST) != 0 && shot.seq == 0)
        return;
    if ((shot.flags & WIRE_FIN) != 0 || shot.data)
        return;
    script_drop_all(t);
    (void)app_events(t);
    peer_data(t, next_offset(s), 10);
    app_read(t, 10);
}

#define SWEEP(name, state_id, check)                                                                         \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        sweep(state, state_id, check);                                                                       \
    }

SWEEP(c1_only_an_exact_rst_resets_established, ESTABLISHED, only_exact_rst_resets)
SWEEP(c1_only_an_exact_rst_resets_close_wait, CLOSE_WAIT, only_exact_rst_resets)
SWEEP(c1_only_an_exact_rst_resets_fin_wait_1, FIN_WAIT_1, only_exact_rst_resets)
SWEEP(c1_only_an_exact_rst_resets_fin_wait_2, FIN_WAIT_2, only_exact_rst_resets)
SWEEP(c1_only_an_exact_rst_resets_closing, CLOSING, only_exact_rst_resets)
SWEEP(c1_only_an_exact_rst_resets_last_ack, LAST_ACK, only_exact_rst_resets)
SWEEP(c1_no_rst_resets_time_wait, TIME_WAIT, only_exact_rst_resets)
SWEEP(c4_established_answers_no_rst_by_rst, ESTABLISHED, rst_is_never_answered_by_rst)
SWEEP(c4_closing_answers_no_rst_by_rst, CLOSING, rst_is_never_answered_by_rst)
SWEEP(c4_time_wait_answers_no_rst_by_rst, TIME_WAIT, rst_is_never_answered_by_rst)
SWEEP(c2_established_takes_bytes_from_good_segments_only, ESTABLISHED, bytes_come_only_from_good_segments)
SWEEP(c2_fin_wait_1_takes_bytes_from_good_segments_only, FIN_WAIT_1, bytes_come_only_from_good_segments)
SWEEP(c2_fin_wait_2_takes_bytes_from_good_segments_only, FIN_WAIT_2, bytes_come_only_from_good_segments)
SWEEP(c2_close_wait_takes_no_bytes, CLOSE_WAIT, bytes_come_only_from_good_segments)
SWEEP(c2_closing_takes_no_bytes, CLOSING, bytes_come_only_from_good_segments)
SWEEP(c2_last_ack_takes_no_bytes, LAST_ACK, bytes_come_only_from_good_segments)
SWEEP(c2_time_wait_takes_no_bytes, TIME_WAIT, bytes_come_only_from_good_segments)
SWEEP(c2_established_works_after_any_empty_segment, ESTABLISHED, connection_still_works)
SWEEP(c2_fin_wait_2_works_after_any_empty_segment, FIN_WAIT_2, connection_still_works)

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(c1_only_an_exact_rst_resets_established),
        T(c1_only_an_exact_rst_resets_close_wait),
        T(c1_only_an_exact_rst_resets_fin_wait_1),
        T(c1_only_an_exact_rst_resets_fin_wait_2),
        T(c1_only_an_exact_rst_resets_closing),
        T(c1_only_an_exact_rst_resets_last_ack),
        T(c1_no_rst_resets_time_wait),
        T(c4_established_answers_no_rst_by_rst),
        T(c4_closing_answers_no_rst_by_rst),
        T(c4_time_wait_answers_no_rst_by_rst),
        T(c2_established_takes_bytes_from_good_segments_only),
        T(c2_fin_wait_1_takes_bytes_from_good_segments_only),
        T(c2_fin_wait_2_takes_bytes_from_good_segments_only),
        T(c2_close_wait_takes_no_bytes),
        T(c2_closing_takes_no_bytes),
        T(c2_last_ack_takes_no_bytes),
        T(c2_time_wait_takes_no_bytes),
        T(c2_established_works_after_any_empty_segment),
        T(c2_fin_wait_2_works_after_any_empty_segment),
    };
    return SCRIPT_RUN("tcp_states", tests);
}
