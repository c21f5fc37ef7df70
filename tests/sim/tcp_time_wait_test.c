/* TIME-WAIT as records of 64 bytes: what they keep, how many there are, and what ends them (C11). */
#include "tests/sim/tcp_script.h"

#include <stdlib.h>

#define SHORT_CONNECTIONS 25000 /* in each variant; SHORT=250000 in the environment makes it a million */
#define TIME_WAIT_S       60

/* One connection from its SYN to TIME-WAIT, closed by us; the user has let go. */
static void short_connection(struct script *t)
{
    script_handshake(t);
    app_close(t);
    expect_fin(t, 0);
    t->acked = 1;
    peer_fin(t, 0);
    expect_ack(t, 1);
    app_release(t);
}

static void from_port(struct script *t, uint16_t port)
{
    t->sport = port;
    short_connection(t);
}

static void c11_time_wait_holds_no_connection_record(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.conns = 1});

    for (uint16_t port = 1; port <= 50; port++)
        from_port(t, port);
    assert_int_equal(script_gauges(t).time_wait, 50);
    assert_int_equal(script_gauges(t).conns, 50);
    script_advance(t, (TIME_WAIT_S + 1) * SECOND);
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

static void c11_user_that_holds_on_reads_what_came_before(void **state)
{
    struct script *t = script_new(state, NULL);

    script_handshake(t);
    app_close(t);
    expect_fin(t, 0);
    t->acked = 1;
    peer_data(t, 0, 100);
    peer_fin(t, 100);
    script_drop_all(t);
    assert_int_equal(app_events(t), NET_EVENT_READABLE | NET_EVENT_PEER_FIN | NET_EVENT_CLOSED);
    app_read(t, 100);
    expect_nothing(t);
    app_release(t);
    assert_int_equal(script_gauges(t).recv_buffers_used, 0);
    script_free(t);
}

static void c11_oldest_gives_way(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.time_wait = 4});
    uint32_t iss[6];

    for (uint16_t port = 1; port <= 5; port++) {
        from_port(t, port);
        iss[port] = t->iss;
    }
    assert_int_equal(script_gauges(t).time_wait, 4);
    assert_int_equal(counted(t, REASON_TCP_TIME_WAIT_DROPPED), 1);
    for (uint16_t port = 1; port <= 5; port++) {
        t->sport = port;
        t->iss = iss[port];
        peer_fin(t, 0);
        assert_int_equal(expect_segment(t)->flags & WIRE_RST, port == 1 ? WIRE_RST : 0);
    }
    script_free(t);
}

static void c11_repeated_fin_makes_its_entry_the_youngest(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.time_wait = 2});
    uint32_t first;

    from_port(t, 1);
    first = t->iss;
    from_port(t, 2);
    t->sport = 1;
    t->iss = first;
    peer_fin(t, 0);
    expect_ack(t, 1);
    from_port(t, 3);
    t->sport = 1;
    t->iss = first;
    peer_fin(t, 0);
    expect_ack(t, 1);
    script_free(t);
}

static void c11_each_ends_two_msl_after_it_began(void **state)
{
    struct script *t = script_new(state, NULL);

    for (uint16_t port = 1; port <= 20; port++) {
        from_port(t, port);
        script_advance(t, SECOND);
    }
    script_advance(t, (TIME_WAIT_S - 20) * SECOND - 1 * MS);
    for (uint32_t left = 20; left > 0; left--) {
        assert_int_equal(script_gauges(t).time_wait, left);
        script_advance(t, 2 * MS);
        assert_int_equal(script_gauges(t).time_wait, left - 1);
        script_advance(t, SECOND - 2 * MS);
    }
    script_free(t);
}

static void c11_answer_to_a_repeated_fin_is_the_last_ack_again(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.ts = true, .sack = true, .wscale = 5});
    struct wire_segment *s;

    short_connection(t);
    script_advance(t, 5 * SECOND);
    uint32_t before = t->ts_echo;
    peer_fin(t, 0);
    s = expect_ack(t, 1);
    assert_int_equal(offset_of(t, s->seq), 1);
    assert_true(s->has_ts);
    assert_int_equal(s->tsval - before, 5000);
    assert_int_equal(s->tsecr, (uint32_t)(t->now_us / 1000) + t->ts_skew);
    script_free(t);
}

static void c11_last_ack_leaves_although_the_user_let_go_first(void **state)
{
    struct script *t = script_new(state, NULL);

    script_handshake(t);
    app_release(t);
    expect_fin(t, 0);
    t->acked = 1;
    peer_fin(t, 0);
    expect_ack(t, 1);
    assert_int_equal(script_gauges(t).time_wait, 1);
    script_free(t);
}

static void c6_entry_answers_at_most_seven_challenges(void **state)
{
    struct script *t = script_new(state, NULL);

    short_connection(t);
    for (uint32_t i = 0; i < 20; i++)
        peer_data(t, 1000 * i, 10);
    assert_int_equal(script_pending(t), 7);
    assert_int_equal(counted(t, REASON_TCP_CHALLENGE_SUPPRESSED), 13);
    script_free(t);
}

static void c11_same_port_again_at_once_a_thousand_times(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.conns = 1});

    for (int i = 0; i < 1000; i++) {
        short_connection(t);
        t->irs += 3;
    }
    assert_int_equal(t->accepted, 1000);
    assert_int_equal(script_gauges(t).time_wait, 1);
    script_free(t);
}

/* Ports come again after 50 000 connections, while their entries may still be there. */
static void c11_many_short_connections_in_bounded_memory(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.conns = 2, .time_wait = 1000});
    const char *many = getenv("SHORT");
    uint32_t count = many != NULL ? (uint32_t)strtoul(many, NULL, 10) : SHORT_CONNECTIONS;

    for (uint32_t i = 0; i < count; i++) {
        from_port(t, (uint16_t)(10000 + i % 50000));
        t->irs += 3;
        assert_true(script_gauges(t).conns <= 1000);
        if (i % 10 == 0)
            script_advance(t, 1 * MS);
    }
    assert_int_equal(t->accepted, count);
    assert_int_equal(counted(t, REASON_TCP_TIME_WAIT_DROPPED), count - 1000);
    script_advance(t, (TIME_WAIT_S + 1) * SECOND);
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c11_time_wait_holds_no_connection_record),
        cmocka_unit_test(c11_user_that_holds_on_reads_what_came_before),
        cmocka_unit_test(c11_oldest_gives_way),
        cmocka_unit_test(c11_repeated_fin_makes_its_entry_the_youngest),
        cmocka_unit_test(c11_each_ends_two_msl_after_it_began),
        cmocka_unit_test(c11_answer_to_a_repeated_fin_is_the_last_ack_again),
        cmocka_unit_test(c11_last_ack_leaves_although_the_user_let_go_first),
        cmocka_unit_test(c6_entry_answers_at_most_seven_challenges),
        cmocka_unit_test(c11_same_port_again_at_once_a_thousand_times),
        cmocka_unit_test(c11_many_short_connections_in_bounded_memory),
    };
    return SCRIPT_RUN("tcp_time_wait", tests);
}
