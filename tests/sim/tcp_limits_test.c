/* How many answers a flood gets (C6, B10), and what they tell about answers to others. */
#include "tests/sim/tcp_script.h"

#define OWN    60 /* connections of whoever counts: more than the worker's budget for all of them */
#define ROUNDS 150
#define VICTIM 999

/* The square of Pearson's r. */
static double correlation2(const double *a, const double *b, int n)
{
    double sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;

    for (int i = 0; i < n; i++) {
        sa += a[i];
        sb += b[i];
        saa += a[i] * a[i];
        sbb += b[i] * b[i];
        sab += a[i] * b[i];
    }
    double va = n * saa - sa * sa;
    double vb = n * sbb - sb * sb;
    return va == 0 || vb == 0 ? 0 : (n * sab - sa * sb) * (n * sab - sa * sb) / (va * vb);
}

static void open_from(struct script *t, uint16_t port)
{
    t->sport = port;
    script_handshake(t);
}

/* A SYN on a connection, which is to be challenged; returns the answers that came. */
static uint32_t provoke(struct script *t, uint16_t port, uint32_t times)
{
    uint32_t answers = 0;

    for (uint32_t i = 0; i < times; i++)
        peer_sends(t, (struct wire_segment){.flags = WIRE_SYN, .seq = t->irs + 5, .wnd = 100, .sport = port});
    for (; script_pending(t) != 0; answers++)
        assert_int_equal(expect_segment(t)->dport, port);
    return answers;
}

/* The side channel of CVE-2016-5696: fill the worker's budget from connections of one's own, count, and learn
 * whether a segment that was forged for another connection hit it. */
static void c6_challenges_of_one_source_tell_nothing_about_anothers(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.conns = OWN + 1});
    double counted_own[ROUNDS], hit[ROUNDS];

    for (uint16_t port = 1; port <= OWN; port++)
        open_from(t, port);
    open_from(t, VICTIM);
    for (int round = 0; round < ROUNDS; round++) {
        script_advance(t, 3 * SECOND);
        hit[round] = round * 7 % 3 == 0;
        if (hit[round] != 0)
            assert_int_equal(provoke(t, VICTIM, 1), 1);
        counted_own[round] = 0;
        for (uint16_t port = 1; port <= OWN; port++)
            counted_own[round] += provoke(t, port, 6);
        assert_true(counted_own[round] >= 127 && counted_own[round] <= 256);
    }
    assert_true(correlation2(counted_own, hit, ROUNDS) < 0.09);
    script_free(t);
}

/* The connection's own limit: whoever floods one gets few answers and takes none from others. */
static void c6_flood_on_one_connection_leaves_another_its_answers(void **state)
{
    struct script *t = script_new(state, NULL);

    open_from(t, 1);
    open_from(t, VICTIM);
    for (int round = 0; round < 20; round++) {
        script_advance(t, 3 * SECOND);
        assert_int_equal(provoke(t, 1, 300), 5);
        assert_int_equal(provoke(t, VICTIM, 3), 3);
    }
    script_free(t);
}

static void c6_connection_earns_a_challenge_every_200_to_300_ms(void **state)
{
    struct script *t = script_new(state, NULL);
    uint32_t answers = 0;

    open_from(t, 1);
    assert_int_equal(provoke(t, 1, 10), 5);
    for (int i = 0; i < 3000; i++) {
        script_advance(t, 10 * MS);
        answers += provoke(t, 1, 1);
    }
    assert_true(answers >= 95 && answers <= 150);
    script_free(t);
}

/* SYNs for a port that is shut, from many: RSTs are bounded, by a number that nobody knows. */
static uint32_t strangers(struct script *t, uint32_t count)
{
    uint32_t answers = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct wire_segment s = {.flags = WIRE_SYN, .wnd = 100, .sport = (uint16_t)(1 + i), .dport = 81};
        peer_sends(t, s);
        for (; script_pending(t) != 0; answers++)
            (void)expect_rst(t);
    }
    return answers;
}

static void c6_resets_of_one_source_tell_nothing_about_anothers(void **state)
{
    struct script *t = script_new(state, NULL);
    double counted_own[ROUNDS], hit[ROUNDS];

    (void)strangers(t, 1); /* the neighbour's address is known from now on */
    script_advance(t, SECOND);
    script_drop_all(t);
    for (int round = 0; round < ROUNDS; round++) {
        script_advance(t, SECOND);
        hit[round] = round * 7 % 3 == 0;
        if (hit[round] != 0)
            assert_int_equal(strangers(t, 1), 1);
        counted_own[round] = strangers(t, 600);
        assert_true(counted_own[round] >= 255 && counted_own[round] <= 512);
    }
    assert_true(correlation2(counted_own, hit, ROUNDS) < 0.09);
    script_free(t);
}

static void b10_flooded_connections_get_five_challenges_a_second_at_most(void **state)
{
    struct script *t = script_new(state, &(struct script_options){.conns = OWN});
    uint32_t answers = 0;

    for (uint16_t port = 1; port <= OWN; port++)
        open_from(t, port);
    for (int i = 0; i < 1000; i++) {
        script_advance(t, 10 * MS);
        for (uint16_t port = 1; port <= OWN; port += 7)
            answers += provoke(t, port, 2);
    }
    assert_true(answers <= 9 * (5 + 50));
    script_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c6_challenges_of_one_source_tell_nothing_about_anothers),
        cmocka_unit_test(c6_flood_on_one_connection_leaves_another_its_answers),
        cmocka_unit_test(c6_connection_earns_a_challenge_every_200_to_300_ms),
        cmocka_unit_test(c6_resets_of_one_source_tell_nothing_about_anothers),
        cmocka_unit_test(b10_flooded_connections_get_five_challenges_a_second_at_most),
    };
    return SCRIPT_RUN("tcp_limits", tests);
}
