/* Keep-alives that we send (C14): when, what, and what follows from silence. */
#include "dataplane/net/tcp.h"
#include "tests/sim/tcp_script.h"

#define IDLE_S 60

static struct script *kept(void **state, struct script_options o)
{
    struct script *t;

    o.keepalive_ms = IDLE_S * 1000;
    t = script_new(state, &o);
    script_handshake(t);
    return t;
}

/* The question: no data, one below what the peer acknowledged last. */
static void expect_question(struct script *t, uint32_t sent, uint32_t received)
{
    struct wire_segment *s = expect_ack(t, received);

    assert_int_equal(offset_of(t, s->seq), sent - 1);
}

static void end_of(struct script *t)
{
    net_abort(t->conn, t->now_us);
    app_release(t);
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

static void c14_silent_peer_is_asked_after_a_minute(void **state)
{
    struct script *t = kept(state, (struct script_options){0});

    script_advance(t, IDLE_S * SECOND - 1 * MS);
    expect_nothing(t);
    script_advance(t, 2 * MS);
    expect_question(t, 0, 0);
    expect_nothing(t);
    end_of(t);
}

static void c14_silent_peer_is_given_up_after_six_questions(void **state)
{
    struct script *t = kept(state, (struct script_options){.ts = true});

    script_advance(t, IDLE_S * SECOND + 1 * MS);
    for (int i = 0; i < 6; i++) {
        expect_question(t, 0, 0);
        expect_nothing(t);
        assert_int_equal(app_events(t), 0);
        script_advance(t, 10 * SECOND);
    }
    expect_rst(t);
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    assert_int_equal(net_close_cause(t->conn), NET_CAUSE_TIMED_OUT);
    assert_int_equal(counted(t, REASON_TCP_KEEPALIVES), 6);
    assert_int_equal(counted(t, REASON_TCP_KEEPALIVE_DEAD), 1);
    app_release(t);
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

/* Also after five unanswered questions: the next silence is a new one. */
static void c14_answer_begins_a_new_minute_and_a_new_count(void **state)
{
    struct script *t = kept(state, (struct script_options){0});

    for (int round = 0; round < 3; round++) {
        script_advance(t, IDLE_S * SECOND + 2 * MS);
        for (int i = 0; i < 5; i++) {
            expect_question(t, 0, 0);
            if (i < 4)
                script_advance(t, 10 * SECOND);
        }
        expect_nothing(t);
        peer_ack(t, 0);
        expect_nothing(t);
        script_advance(t, IDLE_S * SECOND - 2 * MS);
        expect_nothing(t);
        peer_ack(t, 0);
    }
    assert_int_equal(app_events(t), 0);
    end_of(t);
}

static void c14_every_answer_counts_however_short_the_idle_time(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.keepalive_ms = 3000});
    uint32_t questions = 0;

    script_handshake(t);
    for (int i = 0; i < 200; i++) {
        script_advance(t, SECOND);
        if (script_pending(t) == 0)
            continue;
        assert_int_equal(expect_segment(t)->flags, WIRE_ACK);
        if (++questions % 2 == 0)
            peer_ack(t, 0);
    }
    assert_int_equal(counted(t, REASON_TCP_KEEPALIVE_DEAD), 0);
    assert_true(questions > 10);
    end_of(t);
}

/* The way to the peer is still known from the last segment. */
static void c14_question_right_after_data_is_asked_once(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.keepalive_ms = 500});

    script_handshake(t);
    app_send(t, 10);
    (void)expect_data(t, 0, 10);
    peer_ack(t, 10);
    script_advance(t, 502 * MS);
    expect_question(t, 10, 0);
    peer_ack(t, 10);
    app_send(t, 10);
    (void)expect_data(t, 10, 10);
    expect_nothing(t);
    end_of(t);
}

static void c14_busy_connection_is_never_asked(void **state)
{
    struct script *t = kept(state, (struct script_options){0});

    for (uint32_t i = 0; i < 20; i++) {
        peer_data(t, 10 * i, 10);
        app_read(t, 10);
        script_drop_all(t);
        script_advance(t, 30 * SECOND);
        while (script_pending(t) != 0)
            expect_ack(t, 10 * i + 10);
    }
    assert_int_equal(counted(t, REASON_TCP_KEEPALIVES), 0);
    end_of(t);
}

static void c14_question_follows_what_was_sent_and_received(void **state)
{
    struct script *t = kept(state, (struct script_options){0});

    app_send(t, 500);
    (void)expect_data(t, 0, 500);
    t->acked = 500;
    peer_data(t, 0, 100);
    app_read(t, 100);
    script_advance(t, 1 * SECOND);
    script_drop_all(t);
    script_advance(t, IDLE_S * SECOND);
    expect_question(t, 500, 100);
    /* Data right behind the question goes from where it belongs. */
    app_send(t, 50);
    (void)expect_data(t, 500, 50);
    end_of(t);
}

/* A question that came due in the turn in which the user wrote is never asked. */
static void c14_what_the_user_writes_stands_for_the_question(void **state)
{
    struct script *t = kept(state, (struct script_options){0});

    script_advance(t, IDLE_S * SECOND - 1 * MS);
    t->now_us += 2 * MS;
    net_timers(t->net, t->now_us, 64);
    assert_int_equal(counted(t, REASON_TCP_KEEPALIVES), 1);
    app_send(t, 50);
    (void)expect_data(t, 0, 50);
    expect_nothing(t);
    peer_ack(t, 50);
    expect_nothing(t);
    end_of(t);
}

/* ... however it came: here as the acknowledgement that was expected. */
static void c14_acknowledgement_is_an_answer(void **state)
{
    struct script *t = kept(state, (struct script_options){0});

    for (uint32_t round = 0; round < 3; round++) {
        script_advance(t, IDLE_S * SECOND + 2 * MS);
        for (int i = 0; i < 5; i++) {
            expect_question(t, 50 * round, 0);
            if (i < 4)
                script_advance(t, 10 * SECOND);
        }
        app_send(t, 50);
        (void)expect_data(t, 50 * round, 50);
        peer_ack(t, 50 * (round + 1));
        expect_nothing(t);
    }
    assert_int_equal(app_events(t), 0);
    end_of(t);
}

/* Retransmission asks, and gives up after its own 100 s. */
static void c14_nothing_is_asked_while_data_is_unacknowledged(void **state)
{
    struct script *t = kept(state, (struct script_options){0});

    app_send(t, 100);
    for (int i = 0; i < 90; i++) {
        script_advance(t, SECOND);
        while (script_pending(t) != 0)
            (void)expect_data(t, 0, 100);
    }
    assert_int_equal(counted(t, REASON_TCP_KEEPALIVES), 0);
    end_of(t);
}

static void c14_nothing_is_asked_while_the_window_is_probed(void **state)
{
    struct script *t = kept(state, (struct script_options){0});

    t->window = 0;
    peer_ack(t, 0);
    app_send(t, 100);
    for (int i = 0; i < 120; i++) {
        script_advance(t, SECOND);
        if (script_pending(t) != 0) {
            script_drop_all(t);
            peer_ack(t, 0);
        }
    }
    assert_int_equal(counted(t, REASON_TCP_KEEPALIVES), 0);
    assert_int_equal(app_events(t), 0);
    end_of(t);
}

static void c14_half_closed_peer_is_asked_too(void **state)
{
    struct script *t = kept(state, (struct script_options){0});

    peer_fin(t, 0);
    expect_ack(t, 1);
    script_advance(t, IDLE_S * SECOND + 1 * MS);
    expect_question(t, 0, 1);
    end_of(t);
}

static void c14_reset_in_answer_ends_the_connection(void **state)
{
    struct script *t = kept(state, (struct script_options){0});

    script_advance(t, IDLE_S * SECOND + 1 * MS);
    expect_question(t, 0, 0);
    peer_rst(t, 0);
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    assert_int_equal(net_close_cause(t->conn), NET_CAUSE_RESET);
    app_release(t);
    script_free(t);
}

static void c14_forged_segments_do_not_count_as_answers(void **state)
{
    struct script *t = kept(state, (struct script_options){0});

    for (int i = 0; i < 13; i++) {
        struct wire_segment s = peer_make(t, WIRE_ACK, 0);
        s.seq += 1000000;
        peer_sends(t, s);
        script_advance(t, 10 * SECOND);
    }
    assert_int_equal(counted(t, REASON_TCP_KEEPALIVE_DEAD), 1);
    app_release(t);
    script_free(t);
}

static void c14_answers_do_not_hide_that_nobody_talks(void **state)
{
    struct script *t = kept(state, (struct script_options){.idle_close_ms = 200000});

    for (int i = 0; i < 3; i++) {
        script_advance(t, (IDLE_S + 1) * SECOND);
        expect_question(t, 0, 0);
        peer_ack(t, 0);
    }
    assert_int_equal(app_events(t), 0);
    script_advance(t, 30 * SECOND);
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    assert_int_equal(counted(t, REASON_TCP_IDLE_CLOSED), 1);
    app_release(t);
    script_free(t);
}

static void peer_asks(struct script *t)
{
    struct wire_segment s = peer_make(t, WIRE_ACK, 0);

    s.seq -= 1;
    peer_sends(t, s);
}

/* A hundred thousand idle clients ask some 1 700 times a second, and a worker corrects 1 000 times a second. */
static void c14_peer_that_asks_is_answered_when_the_worker_has_corrected_enough(void **state)
{
    struct script *t = script_new(state, NULL);

    script_handshake(t);
    script_advance(t, SECOND);
    t->conn->tcp->challenge_tokens = 0;
    t->conn->tcp->tokens_at_us = t->now_us;
    peer_asks(t);
    expect_ack(t, 0);
    for (int i = 0; i < 100; i++) { /* within the connection's own rate */
        t->conn->tcp->challenge_tokens = 0;
        peer_asks(t);
    }
    assert_true(counted(t, REASON_TCP_CHALLENGE_SENT) <= TCP_CHALLENGE_BURST);
    script_free(t);
}

static void c14_nothing_is_asked_when_it_is_off(void **state)
{
    struct script *t = script_new(state, NULL);

    script_handshake(t);
    script_advance(t, 10 * 3600 * SECOND);
    expect_nothing(t);
    script_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c14_silent_peer_is_asked_after_a_minute),
        cmocka_unit_test(c14_silent_peer_is_given_up_after_six_questions),
        cmocka_unit_test(c14_answer_begins_a_new_minute_and_a_new_count),
        cmocka_unit_test(c14_every_answer_counts_however_short_the_idle_time),
        cmocka_unit_test(c14_question_right_after_data_is_asked_once),
        cmocka_unit_test(c14_busy_connection_is_never_asked),
        cmocka_unit_test(c14_question_follows_what_was_sent_and_received),
        cmocka_unit_test(c14_what_the_user_writes_stands_for_the_question),
        cmocka_unit_test(c14_acknowledgement_is_an_answer),
        cmocka_unit_test(c14_nothing_is_asked_while_data_is_unacknowledged),
        cmocka_unit_test(c14_nothing_is_asked_while_the_window_is_probed),
        cmocka_unit_test(c14_half_closed_peer_is_asked_too),
        cmocka_unit_test(c14_reset_in_answer_ends_the_connection),
        cmocka_unit_test(c14_forged_segments_do_not_count_as_answers),
        cmocka_unit_test(c14_answers_do_not_hide_that_nobody_talks),
        cmocka_unit_test(c14_peer_that_asks_is_answered_when_the_worker_has_corrected_enough),
        cmocka_unit_test(c14_nothing_is_asked_when_it_is_off),
    };
    return SCRIPT_RUN("tcp_keepalive", tests);
}
