/* Active open against a scripted peer: what we say in SYN-SENT and what we believe there (RFC 9293 3.10.7.3). */
#include "dataplane/net/steer.h"
#include "tests/sim/tcp_script.h"

#include <stdlib.h>

#define SERVER_PORT 443

static struct net_addr net_addr_of(const struct wire_addr *a)
{
    struct net_addr out = {.family = a->v6 ? NET_IP6 : NET_IP4};

    memcpy(out.bytes, a->bytes, a->v6 ? 16 : 4);
    return out;
}

static struct net_conn *connect_to(struct script *t, uint16_t port)
{
    struct net_addr local = net_addr_of(&t->ours);
    struct net_addr peer = net_addr_of(&t->theirs);

    return net_connect(t->net, &local, &peer, port, t->now_us);
}

/* Our SYN has left; it is returned. */
static struct wire_segment *connecting(struct script *t)
{
    struct wire_segment *s;

    t->conn = connect_to(t, SERVER_PORT);
    assert_non_null(t->conn);
    script_turn(t);
    s = expect_segment(t);
    assert_int_equal(s->flags, WIRE_SYN);
    t->iss = s->seq;
    t->acked = 0;
    t->sport = SERVER_PORT;
    return s;
}

/* In the near-wrap variants the first connection begins just below 2^32: port and ISN come from the seed. */
static struct script *connect_script(void **state, const struct script_options *options)
{
    const struct script_variant *v = *state;
    struct script_options o = options != NULL ? *options : (struct script_options){0};

    o.start_us = 1000 * SECOND;
    if (v->wrap) {
        struct script *t = script_new(state, &(struct script_options){.start_us = o.start_us});
        (void)connecting(t);
        o.start_us += 4ULL * (uint32_t)(0u - SCRIPT_MARGIN - t->iss) / MS * MS;
        script_free(t);
    }
    return script_new(state, &o);
}

static struct wire_segment answer(const struct script *t, uint8_t flags)
{
    struct wire_segment s = {.flags = flags, .seq = t->irs, .ack = t->iss + 1, .wnd = t->window};

    s.dport = net_local_port(t->conn);
    s.has_mss = (flags & WIRE_SYN) != 0;
    s.mss = 1400;
    s.has_wscale = s.has_mss && t->o.wscale != 0;
    s.wscale = (uint8_t)t->o.wscale;
    s.sack_permitted = s.has_mss && t->o.sack;
    s.has_ts = t->o.ts;
    s.tsval = (uint32_t)(t->now_us / 1000) + t->ts_skew;
    s.tsecr = t->ts_echo;
    return s;
}

/* The peer's next segment on the open connection, len bytes at its stream's offset. */
static void server_data(struct script *t, uint32_t at, uint32_t len)
{
    static uint8_t bytes[WIRE_FRAME_MAX];
    struct wire_segment s = answer(t, WIRE_ACK);

    s.seq = peer_seq(t, at);
    s.ack = t->iss + 1 + t->acked;
    for (uint32_t i = 0; i < len; i++)
        bytes[i] = peer_byte(at + i);
    s.data = span_of(bytes, len);
    peer_sends(t, s);
}

static void established(struct script *t)
{
    (void)connecting(t);
    peer_sends(t, answer(t, WIRE_SYN | WIRE_ACK));
    assert_int_equal(app_events(t), NET_EVENT_ESTABLISHED);
    (void)expect_ack(t, 0);
}

static void closed_with(struct script *t, enum net_cause cause)
{
    assert_int_equal(app_events(t), NET_EVENT_CLOSED);
    assert_int_equal(net_close_cause(t->conn), cause);
    app_release(t);
    assert_int_equal(script_gauges(t).conns, 0);
}

static void finish(struct script *t)
{
    if (t->conn != NULL) {
        net_abort(t->conn, t->now_us);
        app_release(t);
    }
    assert_int_equal(script_gauges(t).conns, 0);
    script_free(t);
}

static void syn_offers_everything(void **state)
{
    struct script *t = connect_script(state, NULL);
    struct wire_segment *s = connecting(t);

    assert_int_equal(s->ack, 0);
    assert_true(s->has_mss && s->has_wscale && s->has_ts && s->sack_permitted);
    assert_int_equal(s->mss, t->variant->v6 ? 1440 : 1460);
    assert_int_equal(s->tsecr, 0);
    assert_int_equal(s->wnd, 65535);
    assert_int_equal(script_gauges(t).syn_sent, 1);
    finish(t);
}

static void connection_opens_and_carries_bytes_both_ways(void **state)
{
    struct script *t = connect_script(state, &(struct script_options){.ts = true, .sack = true, .wscale = 7});

    established(t);
    assert_int_equal(script_gauges(t).established, 1);
    app_send(t, 5000);
    (void)expect_data(t, 0, 1388);
    (void)expect_data(t, 1388, 1388);
    (void)expect_data(t, 2776, 1388);
    (void)expect_data(t, 4164, 836);
    t->acked = 5000;
    server_data(t, 0, 300);
    app_read(t, 300);
    finish(t);
}

static void peer_without_options_gets_none(void **state)
{
    struct script *t = connect_script(state, NULL);
    struct wire_segment *s;

    (void)connecting(t);
    peer_sends(t, answer(t, WIRE_SYN | WIRE_ACK));
    s = expect_ack(t, 0);
    assert_int_equal(s->options_len, 0);
    assert_int_equal(s->wnd, 65535);
    finish(t);
}

/* RFC 7323 2.2: 1000 means 1000 in the SYN-ACK, 1000 << 7 from then on. */
static void window_of_the_syn_ack_is_not_scaled(void **state)
{
    struct script *t = connect_script(state, &(struct script_options){.wscale = 7, .window = 1000});

    established(t);
    app_send(t, 3000);
    (void)expect_data(t, 0, 1000);
    expect_nothing(t);
    t->acked = 1000;
    server_data(t, 0, 1);
    (void)expect_data(t, 1000, 1400);
    (void)expect_data(t, 2400, 600);
    finish(t);
}

static void syn_is_repeated_ever_more_slowly_and_given_up(void **state)
{
    static const uint64_t after_s[] = {1, 2, 4, 8, 16, 32, 60};
    struct script *t = connect_script(state, NULL);
    uint64_t at;

    (void)connecting(t);
    at = script_sent_at(t);
    for (size_t i = 0; i < 7; i++) {
        script_advance(t, after_s[i] * SECOND);
        assert_int_equal(expect_segment(t)->seq, t->iss);
        assert_int_equal(script_sent_at(t) - at, after_s[i] * SECOND);
        at = script_sent_at(t);
        expect_nothing(t);
    }
    script_advance(t, 60 * SECOND);
    expect_nothing(t);
    closed_with(t, NET_CAUSE_TIMED_OUT);
    finish(t);
}

/* RFC 6298 5.7. */
static void repeated_syn_makes_the_timeout_three_seconds(void **state)
{
    struct script *t = connect_script(state, NULL);

    (void)connecting(t);
    script_advance(t, SECOND);
    (void)expect_segment(t);
    peer_sends(t, answer(t, WIRE_SYN | WIRE_ACK));
    (void)expect_ack(t, 0);
    app_send(t, 10);
    (void)expect_data(t, 0, 10);
    script_advance(t, 3 * SECOND - 1 * MS);
    expect_nothing(t);
    script_advance(t, 1 * MS);
    (void)expect_data(t, 0, 10);
    finish(t);
}

static void syn_that_was_answered_at_once_is_timed(void **state)
{
    struct script *t = connect_script(state, NULL);

    (void)connecting(t);
    script_advance(t, 100 * MS);
    peer_sends(t, answer(t, WIRE_SYN | WIRE_ACK));
    (void)expect_ack(t, 0);
    app_send(t, 10);
    (void)expect_data(t, 0, 10);
    script_advance(t, 300 * MS - 1 * MS);
    expect_nothing(t);
    script_advance(t, 1 * MS);
    (void)expect_data(t, 0, 10);
    finish(t);
}

static void reset_with_our_number_is_a_refusal(void **state)
{
    struct script *t = connect_script(state, NULL);

    (void)connecting(t);
    peer_sends(t, answer(t, WIRE_RST | WIRE_ACK));
    expect_nothing(t);
    closed_with(t, NET_CAUSE_REFUSED);
    finish(t);
}

static void reset_without_ack_or_with_a_wrong_one_is_ignored(void **state)
{
    struct script *t = connect_script(state, NULL);
    struct wire_segment s;

    (void)connecting(t);
    peer_sends(t, answer(t, WIRE_RST));
    for (int off = -1; off <= 1; off += 2) {
        s = answer(t, WIRE_RST | WIRE_ACK);
        s.ack += (uint32_t)off;
        peer_sends(t, s);
    }
    expect_nothing(t);
    assert_int_equal(app_events(t), 0);
    peer_sends(t, answer(t, WIRE_SYN | WIRE_ACK));
    assert_int_equal(app_events(t), NET_EVENT_ESTABLISHED);
    finish(t);
}

/* RFC 9293 3.5.1: the other end still has an old connection; the RST ends it and the next SYN is taken. */
static void wrong_ack_gets_a_rst_and_the_syn_goes_on(void **state)
{
    static const uint8_t flags[] = {WIRE_ACK, WIRE_SYN | WIRE_ACK, WIRE_FIN | WIRE_ACK};

    for (size_t i = 0; i < 3; i++) {
        struct script *t = connect_script(state, NULL);
        (void)connecting(t);
        struct wire_segment s = answer(t, flags[i]);
        s.ack = t->iss + 2 + (uint32_t)i;
        peer_sends(t, s);
        struct wire_segment *r = expect_rst(t);
        assert_int_equal(r->flags, WIRE_RST);
        assert_int_equal(r->seq, s.ack);
        s.ack = t->iss;
        peer_sends(t, s);
        assert_int_equal(expect_rst(t)->seq, t->iss);
        script_advance(t, SECOND);
        assert_int_equal(expect_segment(t)->flags, WIRE_SYN);
        finish(t);
    }
}

static void segment_with_neither_syn_nor_rst_changes_nothing(void **state)
{
    struct script *t = connect_script(state, NULL);

    (void)connecting(t);
    peer_sends(t, answer(t, WIRE_ACK));
    peer_sends(t, answer(t, WIRE_FIN | WIRE_ACK));
    peer_sends(t, answer(t, WIRE_FIN));
    peer_sends(t, answer(t, 0));
    expect_nothing(t);
    assert_int_equal(app_events(t), 0);
    assert_int_equal(script_gauges(t).syn_sent, 1);
    finish(t);
}

static void data_and_fin_beside_the_syn_ack_are_taken_when_they_come_again(void **state)
{
    struct script *t = connect_script(state, NULL);
    struct wire_segment s;

    (void)connecting(t);
    s = answer(t, WIRE_SYN | WIRE_ACK | WIRE_FIN);
    s.data = span_str("abc");
    peer_sends(t, s);
    assert_int_equal(app_events(t), NET_EVENT_ESTABLISHED);
    (void)expect_ack(t, 0);
    server_data(t, 0, 3);
    assert_int_equal(app_events(t), NET_EVENT_READABLE);
    app_read(t, 3);
    finish(t);
}

/* ---- both at once ---- */

static void simultaneous(struct script *t)
{
    struct wire_segment *s;
    struct wire_segment syn;

    (void)connecting(t);
    syn = answer(t, WIRE_SYN);
    syn.ack = 0;
    peer_sends(t, syn);
    s = expect_segment(t);
    assert_int_equal(s->flags, WIRE_SYN | WIRE_ACK);
    assert_int_equal(s->seq, t->iss);
    assert_int_equal(s->ack, peer_seq(t, 0));
    assert_int_equal(s->has_ts, t->o.ts);
    assert_int_equal(s->sack_permitted, t->o.sack);
    assert_int_equal(s->has_wscale, t->o.wscale != 0);
    assert_int_equal(app_events(t), 0);
    assert_int_equal(script_gauges(t).syn_received, 1);
}

static void both_ends_opening_at_once_meet_by_syn_ack(void **state)
{
    struct script *t = connect_script(state, &(struct script_options){.ts = true, .sack = true, .wscale = 2});

    simultaneous(t);
    peer_sends(t, answer(t, WIRE_SYN | WIRE_ACK));
    assert_int_equal(app_events(t), NET_EVENT_ESTABLISHED);
    (void)expect_ack(t, 0);
    app_send(t, 100);
    (void)expect_data(t, 0, 100);
    finish(t);
}

static void both_ends_opening_at_once_meet_by_ack(void **state)
{
    struct script *t = connect_script(state, NULL);

    simultaneous(t);
    server_data(t, 0, 20);
    assert_int_equal(app_events(t), NET_EVENT_ESTABLISHED | NET_EVENT_READABLE);
    app_read(t, 20);
    finish(t);
}

static void simultaneous_open_repeats_its_syn_ack(void **state)
{
    struct script *t = connect_script(state, NULL);
    struct wire_segment syn;

    simultaneous(t);
    script_advance(t, SECOND);
    assert_int_equal(expect_segment(t)->flags, WIRE_SYN | WIRE_ACK);
    syn = answer(t, WIRE_SYN);
    syn.ack = 0;
    peer_sends(t, syn);
    assert_int_equal(expect_segment(t)->flags, WIRE_SYN | WIRE_ACK);
    expect_nothing(t);
    finish(t);
}

static void simultaneous_open_believes_only_the_right_ack_and_rst(void **state)
{
    struct script *t = connect_script(state, NULL);
    struct wire_segment s;

    simultaneous(t);
    s = answer(t, WIRE_ACK);
    s.seq = peer_seq(t, 0);
    s.ack = t->iss + 2;
    peer_sends(t, s);
    assert_int_equal(expect_rst(t)->seq, t->iss + 2);
    s = answer(t, WIRE_RST | WIRE_ACK);
    s.seq = peer_seq(t, 1);
    peer_sends(t, s); /* in the window: challenged */
    (void)expect_ack(t, 0);
    s = answer(t, WIRE_SYN);
    s.seq = peer_seq(t, 5);
    peer_sends(t, s);
    (void)expect_ack(t, 0);
    assert_int_equal(app_events(t), 0);
    s = answer(t, WIRE_RST);
    s.seq = peer_seq(t, 0);
    peer_sends(t, s);
    closed_with(t, NET_CAUSE_RESET);
    finish(t);
}

/* ---- the caller changes its mind ---- */

static void connection_called_off_before_it_opened_says_nothing(void **state)
{
    for (int how = 0; how < 3; how++) {
        struct script *t = connect_script(state, NULL);
        (void)connecting(t);
        if (how == 0)
            net_close(t->conn, t->now_us);
        else if (how == 1)
            net_abort(t->conn, t->now_us);
        if (how != 2)
            assert_int_equal(net_close_cause(t->conn), NET_CAUSE_ABORTED);
        app_release(t);
        expect_nothing(t);
        assert_int_equal(script_gauges(t).conns, 0);
        peer_sends(t, (struct wire_segment){.flags = WIRE_SYN | WIRE_ACK, .seq = 1, .ack = 2, .dport = 5000});
        assert_int_equal(expect_rst(t)->seq, 2);
        script_free(t);
    }
}

static void simultaneous_open_called_off_resets_the_peer(void **state)
{
    struct script *t = connect_script(state, NULL);

    simultaneous(t);
    net_close(t->conn, t->now_us);
    app_release(t);
    assert_int_equal(expect_rst(t)->seq, t->iss + 1);
    finish(t);
}

static void deadline_tells_before_the_peer_does(void **state)
{
    struct script *t = connect_script(state, NULL);

    (void)connecting(t);
    net_set_deadline(t->conn, t->now_us + 500 * MS);
    script_advance(t, 500 * MS);
    assert_int_equal(app_events(t), NET_EVENT_DEADLINE);
    finish(t);
}

static void nothing_is_sent_before_the_connection_is_open(void **state)
{
    struct script *t = connect_script(state, NULL);

    (void)connecting(t);
    assert_int_equal(net_send_room(t->conn), 0);
    assert_int_equal(net_send(t->conn, span_str("early"), t->now_us), 0);
    script_turn(t);
    expect_nothing(t);
    finish(t);
}

static void next_hop_that_never_answers_lets_the_syn_time_out(void **state)
{
    struct script *t = connect_script(state, &(struct script_options){.deaf = true});

    t->conn = connect_to(t, SERVER_PORT);
    script_advance(t, 182 * SECOND);
    expect_nothing(t);
    assert_int_equal(app_events(t), 0);
    script_advance(t, 2 * SECOND);
    closed_with(t, NET_CAUSE_TIMED_OUT);
    finish(t);
}

/* ---- ports and numbers ---- */

static void ports_of_a_hundred_connections_differ_and_are_not_the_listener(void **state)
{
    struct script *t = connect_script(state, &(struct script_options){.conns = 101});
    struct net_conn *conns[100];

    for (int i = 0; i < 100; i++) {
        conns[i] = connect_to(t, SERVER_PORT);
        assert_non_null(conns[i]);
        assert_true(net_local_port(conns[i]) >= 1024);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(net_local_port(conns[i]), net_local_port(conns[k]));
    }
    for (int i = 0; i < 100; i++)
        net_release(conns[i], t->now_us);
    finish(t);
}

/* RFC 6056 3.3.3: what one peer sees says nothing about the ports that another will see. */
static void ports_to_two_peers_are_unrelated(void **state)
{
    struct script *t = connect_script(state, &(struct script_options){.conns = 101});
    struct net_conn *a = connect_to(t, SERVER_PORT);
    struct net_conn *b = connect_to(t, SERVER_PORT + 1);
    uint16_t apart = (uint16_t)(net_local_port(b) - net_local_port(a));

    assert_true(apart > 16 && apart < 65536 - 16);
    net_release(a, t->now_us);
    net_release(b, t->now_us);
    finish(t);
}

/* With several workers a flow's answers come to its owner: that must be who opens it. */
static void flows_that_a_worker_opens_are_its_own(void **state)
{
    struct steering_config config = {
        .workers = 3,
        .mtu = 1500,
    };
    for (size_t i = 0; i < sizeof config.key; i++)
        config.key[i] = (uint8_t)(i * 73 + 41);
    struct arena *a = arena_new(steering_memory_needed(&config) + 4096, false);
    struct steering *s = steering_new(&config, a);
    struct script *t = connect_script(state, &(struct script_options){.conns = 101, .steering = s});
    struct net_addr local = net_addr_of(&t->ours);
    struct net_addr peer = net_addr_of(&t->theirs);

    for (int i = 0; i < 100; i++) {
        struct net_conn *c = connect_to(t, SERVER_PORT);
        assert_int_equal(steering_owner(s, steering_hash(s, &peer, &local, SERVER_PORT, net_local_port(c))),
                         0);
        net_release(c, t->now_us);
    }
    finish(t);
    arena_free(a);
}

static void without_a_record_nothing_is_opened(void **state)
{
    struct script *t = connect_script(state, &(struct script_options){.conns = 1});

    (void)connecting(t);
    assert_null(connect_to(t, SERVER_PORT));
    assert_int_equal(counted(t, REASON_TCP_CONNECT_FULL), 1);
    finish(t);
}

static void every_port_to_a_peer_can_be_taken(void **state)
{
    struct script *t = connect_script(state, &(struct script_options){.conns = 64513});
    struct net_conn **conns = calloc(64512, sizeof(struct net_conn *));

    for (int i = 0; i < 64512; i++) {
        conns[i] = connect_to(t, SERVER_PORT);
        assert_non_null(conns[i]);
    }
    assert_null(connect_to(t, SERVER_PORT));
    for (int i = 0; i < 64512; i++)
        net_release(conns[i], t->now_us);
    free(conns);
    finish(t);
}

/* RFC 9293 3.4.1: the same tuple again begins above where it ended. */
static void isn_grows_with_the_clock(void **state)
{
    struct script *t = connect_script(state, NULL);
    struct wire_segment *s = connecting(t);
    uint32_t first = s->seq;
    uint16_t port = s->sport;

    app_release(t);
    t->now_us += SECOND;
    for (int i = 0; i < 64512; i++) {
        t->conn = connect_to(t, SERVER_PORT);
        if (net_local_port(t->conn) == port)
            break;
        net_release(t->conn, t->now_us);
    }
    script_turn(t);
    s = expect_segment(t);
    assert_int_equal(s->sport, port);
    assert_int_equal(s->seq - first, SECOND / 4);
    finish(t);
}

/* ---- its end ---- */

/* The port is no listener: a new SYN there must not open anything (C11). */
static void syn_on_a_time_wait_of_ours_opens_nothing(void **state)
{
    struct script *t = connect_script(state, NULL);
    struct wire_segment s;

    established(t);
    uint16_t port = net_local_port(t->conn);
    app_close(t);
    (void)expect_fin(t, 0);
    s = answer(t, WIRE_FIN | WIRE_ACK);
    s.seq = peer_seq(t, 0);
    s.ack = t->iss + 2;
    peer_sends(t, s);
    (void)expect_ack(t, 1);
    assert_int_equal(script_gauges(t).time_wait, 1);
    app_release(t);
    peer_sends(t,
               (struct wire_segment){.flags = WIRE_SYN, .seq = t->irs + 100000, .wnd = 100, .dport = port});
    assert_int_equal(expect_segment(t)->flags, WIRE_ACK);
    assert_int_equal(script_gauges(t).syn_received, 0);
    assert_int_equal(script_gauges(t).time_wait, 1);
    script_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(syn_offers_everything),
        cmocka_unit_test(connection_opens_and_carries_bytes_both_ways),
        cmocka_unit_test(peer_without_options_gets_none),
        cmocka_unit_test(window_of_the_syn_ack_is_not_scaled),
        cmocka_unit_test(syn_is_repeated_ever_more_slowly_and_given_up),
        cmocka_unit_test(repeated_syn_makes_the_timeout_three_seconds),
        cmocka_unit_test(syn_that_was_answered_at_once_is_timed),
        cmocka_unit_test(reset_with_our_number_is_a_refusal),
        cmocka_unit_test(reset_without_ack_or_with_a_wrong_one_is_ignored),
        cmocka_unit_test(wrong_ack_gets_a_rst_and_the_syn_goes_on),
        cmocka_unit_test(segment_with_neither_syn_nor_rst_changes_nothing),
        cmocka_unit_test(data_and_fin_beside_the_syn_ack_are_taken_when_they_come_again),
        cmocka_unit_test(both_ends_opening_at_once_meet_by_syn_ack),
        cmocka_unit_test(both_ends_opening_at_once_meet_by_ack),
        cmocka_unit_test(simultaneous_open_repeats_its_syn_ack),
        cmocka_unit_test(simultaneous_open_believes_only_the_right_ack_and_rst),
        cmocka_unit_test(connection_called_off_before_it_opened_says_nothing),
        cmocka_unit_test(simultaneous_open_called_off_resets_the_peer),
        cmocka_unit_test(deadline_tells_before_the_peer_does),
        cmocka_unit_test(nothing_is_sent_before_the_connection_is_open),
        cmocka_unit_test(next_hop_that_never_answers_lets_the_syn_time_out),
        cmocka_unit_test(ports_of_a_hundred_connections_differ_and_are_not_the_listener),
        cmocka_unit_test(ports_to_two_peers_are_unrelated),
        cmocka_unit_test(flows_that_a_worker_opens_are_its_own),
        cmocka_unit_test(without_a_record_nothing_is_opened),
        cmocka_unit_test(every_port_to_a_peer_can_be_taken),
        cmocka_unit_test(isn_grows_with_the_clock),
        cmocka_unit_test(syn_on_a_time_wait_of_ours_opens_nothing),
    };
    return SCRIPT_RUN("tcp_connect", tests);
}
