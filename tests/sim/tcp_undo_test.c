/* Losses that were none: a path that stands still for two seconds, a path that reorders; and what must not be taken
 * for that. */
#include "dataplane/net/tcp.h"
#include "tests/sim/tcp_invariants.h"
#include "tests/sim/tcp_script.h"

#define RTT (40 * MS)

/* Twenty segments of 1000 bytes are in flight over a path of 40 ms, of so many queued; ten were acknowledged. */
static struct script *in_flight(void **state, bool ts, bool sack, uint32_t queued)
{
    uint16_t mss = ts ? 1012 : 1000;
    struct script *t = script_new(
        state, &(struct script_options){.mss = mss, .sack = sack, .ts = ts, .send_buffer = 1u << 17});

    script_handshake(t);
    script_drop_all(t);
    app_send(t, 1000 * queued);
    script_advance(t, RTT);
    for (uint32_t i = 1; i <= 10; i++)
        peer_ack(t, 1000 * i);
    script_drop_all(t);
    assert_int_equal(t->conn->snd_nxt - t->conn->snd_una, 20000);
    return t;
}

static void acks(struct script *t, uint32_t upto, uint32_t echo)
{
    struct wire_segment s;

    t->acked = upto;
    s = peer_make(t, WIRE_ACK, 0);
    s.tsecr = echo;
    peer_sends(t, s);
    tcp_invariants_check(t->net);
}

static void sacks(struct script *t, uint32_t ack, uint32_t a1, uint32_t b1, uint32_t a2, uint32_t b2)
{
    struct wire_segment s;

    t->acked = ack;
    s = peer_make(t, WIRE_ACK, 0);
    s.sack[s.sack_count++] = (struct wire_sack){t->iss + 1 + a1, t->iss + 1 + b1};
    if (b2 != 0)
        s.sack[s.sack_count++] = (struct wire_sack){t->iss + 1 + a2, t->iss + 1 + b2};
    peer_sends(t, s);
    tcp_invariants_check(t->net);
}

/* Two seconds without an answer; how often the first segment was repeated. */
static uint32_t path_stands_still(struct script *t)
{
    uint32_t repeated = 0;

    script_advance(t, 2 * SECOND);
    while (script_pending(t) != 0) {
        struct wire_segment *s = expect_segment(t);
        repeated += offset_of(t, s->seq) == 10000;
    }
    assert_true(counted(t, REASON_TCP_TIMEOUTS) >= 2);
    return repeated;
}

static void check_undone(struct script *t, uint32_t cwnd_before)
{
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 1);
    assert_true(t->conn->cwnd >= cwnd_before);
    assert_true(t->conn->ssthresh >= cwnd_before);
}

static void undone_by_timestamps(void **state, bool sack)
{
    struct script *t = in_flight(state, true, sack, 31);
    uint32_t echo = t->ts_echo;
    uint32_t before = t->conn->cwnd;

    assert_true(path_stands_still(t) >= 2);
    assert_int_equal(t->conn->cwnd, 1000);
    uint64_t repetitions = counted(t, REASON_TCP_RETRANSMITS);
    for (uint32_t upto = 11000; upto <= 30000; upto += 1000)
        acks(t, upto, echo);
    check_undone(t, before);
    /* One more, which had not been sent yet, and nothing that had. */
    assert_int_equal(counted(t, REASON_TCP_RETRANSMITS), repetitions);
    acks(t, 31000, t->ts_echo);
    assert_int_equal(t->conn->snd_una, t->conn->snd_max);
    script_free(t);
}

static void d8_spike_of_two_seconds_is_undone_by_timestamps(void **state)
{
    undone_by_timestamps(state, true);
}

static void d8_spike_is_undone_by_timestamps_without_sack(void **state)
{
    undone_by_timestamps(state, false);
}

/* Everything arrived in one ACK: no burst follows, and slow start leads back to where cwnd was. */
static void d7_undo_lets_no_burst_out(void **state)
{
    struct script *t = in_flight(state, true, true, 100);
    uint32_t echo = t->ts_echo;
    uint32_t before = t->conn->cwnd;

    (void)path_stands_still(t);
    acks(t, 30000, echo);
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 1);
    assert_in_range(script_pending(t), 10, 11);
    assert_true(t->conn->ssthresh >= before);
    script_free(t);
}

static void undone_by_new_segments(void **state, bool sack)
{
    struct script *t = in_flight(state, false, sack, 60);
    uint32_t before = t->conn->cwnd;
    uint64_t repetitions;

    (void)path_stands_still(t);
    repetitions = counted(t, REASON_TCP_RETRANSMITS);
    uint32_t highest = t->conn->snd_max - t->iss - 1; /* the probe may have been new data */
    acks(t, 11000, 0);
    /* RFC 5682 2.1 step 2b: two that were never sent. */
    (void)expect_data(t, highest, 1000);
    (void)expect_data(t, highest + 1000, 1000);
    expect_nothing(t);
    acks(t, 12000, 0);
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 1);
    for (uint32_t upto = 13000; upto <= highest; upto += 1000)
        acks(t, upto, 0);
    check_undone(t, before);
    assert_int_equal(counted(t, REASON_TCP_RETRANSMITS), repetitions);
    script_free(t);
}

static void d8_spike_is_undone_by_new_segments_without_timestamps(void **state)
{
    undone_by_new_segments(state, true);
}

static void d8_spike_is_undone_by_new_segments_without_sack(void **state)
{
    undone_by_new_segments(state, false);
}

static void d8_flight_that_was_lost_stays_lost(void **state)
{
    struct script *t = in_flight(state, false, true, 60);

    (void)path_stands_still(t);
    uint32_t highest = t->conn->snd_max - t->iss - 1;
    acks(t, 11000, 0);
    script_drop_all(t);
    /* Only the new ones arrive. */
    sacks(t, 11000, highest, highest + 1000, 0, 0);
    sacks(t, 11000, highest, highest + 2000, 0, 0);
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 0);
    assert_true(t->conn->cwnd <= 4000);
    (void)expect_data(t, 11000, 1000);
    script_free(t);
}

static void d8_flight_that_was_lost_stays_lost_without_sack(void **state)
{
    struct script *t = in_flight(state, false, false, 60);

    (void)path_stands_still(t);
    acks(t, 11000, 0);
    script_drop_all(t);
    peer_ack(t, 11000);
    (void)expect_data(t, 11000, 1000);
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 0);
    assert_true(t->conn->cwnd <= 4000);
    script_free(t);
}

static void d8_answer_to_the_repetition_undoes_nothing(void **state)
{
    struct script *t = in_flight(state, true, true, 30);

    (void)path_stands_still(t);
    acks(t, 11000, t->ts_echo);
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 0);
    assert_true(t->conn->ssthresh < 20000);
    script_free(t);
}

/* The first segment is overtaken by nine and arrives in the end. */
static struct script *reordered(void **state, bool ts)
{
    struct script *t = in_flight(state, ts, true, 60);
    uint32_t echo = t->ts_echo;

    script_advance(t, RTT);
    t->ts_echo = echo;
    for (uint32_t upto = 12000; upto <= 20000; upto += 1000)
        sacks(t, 10000, 11000, upto, 0, 0);
    assert_int_equal(counted(t, REASON_TCP_SACK_RECOVERIES), 1);
    assert_int_equal(counted(t, REASON_TCP_RETRANSMITS), 1);
    script_drop_all(t);
    t->ts_echo = echo;
    return t;
}

static void d8_reordering_taken_for_a_loss_is_undone_by_timestamps(void **state)
{
    struct script *t = reordered(state, true);
    uint32_t echo = t->ts_echo;
    uint32_t end = t->conn->recover - t->iss - 1;

    acks(t, 20000, echo);
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 0); /* another of them may be lost */
    for (uint32_t upto = 21000; upto <= end; upto += 1000)
        acks(t, upto, echo);
    check_undone(t, 20000);
    script_free(t);
}

static void d8_reordering_taken_for_a_loss_is_undone_by_its_dsack(void **state)
{
    struct script *t = reordered(state, false);
    uint32_t end = t->conn->recover - t->iss - 1;

    acks(t, 20000, 0);
    sacks(t, 20000, 10000, 11000, 0, 0);
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 0);
    for (uint32_t upto = 21000; upto <= end; upto += 1000)
        acks(t, upto, 0);
    check_undone(t, 20000);
    script_free(t);
}

static void d8_dsack_after_recovery_undoes_it_too(void **state)
{
    struct script *t = reordered(state, false);
    uint32_t end = t->conn->recover - t->iss - 1;

    acks(t, end, 0);
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 0);
    sacks(t, end, 10000, 11000, 0, 0);
    check_undone(t, 20000);
    sacks(t, end, 10000, 11000, 0, 0);
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 1);
    script_free(t);
}

static void d8_dsack_about_other_bytes_undoes_nothing(void **state)
{
    struct script *t = reordered(state, false);
    uint32_t end = t->conn->recover - t->iss - 1;

    acks(t, end, 0);
    sacks(t, end, 1000, 2000, 0, 0);
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 0);
    script_free(t);
}

static void d8_one_dsack_for_two_repetitions_undoes_nothing(void **state)
{
    struct script *t = in_flight(state, false, true, 30);

    script_advance(t, RTT);
    for (uint32_t upto = 14000; upto <= 30000; upto += 1000)
        sacks(t, 10000, 13000, upto, 11000, 12000);
    assert_true(counted(t, REASON_TCP_RETRANSMITS) >= 2);
    acks(t, 30000, 0);
    sacks(t, 30000, 10000, 11000, 0, 0);
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 0);
    script_free(t);
}

/* A timeout that was none leaves a flight of which the last segment was reported.  That the others came after it is noticed,
 * although the next ACK is of all that is in flight. */
static void d8_reordering_is_seen_after_a_spike_too(void **state)
{
    struct script *t = in_flight(state, true, true, 30);
    uint32_t echo = t->ts_echo;

    sacks(t, 10000, 29000, 30000, 0, 0);
    (void)path_stands_still(t);
    acks(t, 11000, echo);
    assert_int_equal(counted(t, REASON_TCP_SPURIOUS), 1);
    assert_int_equal(t->conn->flags & TCP_CONN_REORDERED, 0);
    acks(t, 30000, echo);
    assert_int_equal(t->conn->snd_una, t->conn->snd_max);
    assert_int_equal(t->conn->flags & TCP_CONN_REORDERED, TCP_CONN_REORDERED);
    script_free(t);
}

int main(void)
{
#define T(f) cmocka_unit_test(f)
    const struct CMUnitTest tests[] = {
        T(d8_spike_of_two_seconds_is_undone_by_timestamps),
        T(d8_spike_is_undone_by_timestamps_without_sack),
        T(d7_undo_lets_no_burst_out),
        T(d8_spike_is_undone_by_new_segments_without_timestamps),
        T(d8_spike_is_undone_by_new_segments_without_sack),
        T(d8_flight_that_was_lost_stays_lost),
        T(d8_flight_that_was_lost_stays_lost_without_sack),
        T(d8_answer_to_the_repetition_undoes_nothing),
        T(d8_reordering_taken_for_a_loss_is_undone_by_timestamps),
        T(d8_reordering_taken_for_a_loss_is_undone_by_its_dsack),
        T(d8_dsack_after_recovery_undoes_it_too),
        T(d8_dsack_about_other_bytes_undoes_nothing),
        T(d8_one_dsack_for_two_repetitions_undoes_nothing),
        T(d8_reordering_is_seen_after_a_spike_too),
    };
    return SCRIPT_RUN("tcp_undo", tests);
}
