/* The owner function against the vectors that Microsoft publishes for it, and the lanes between workers. */
#include "dataplane/net/steer.h"

#include "dataplane/net/net.h"
#include "tests/unit/test.h"

#include <pthread.h>
#include <string.h>

static const uint8_t published_key[STEERING_KEY_LEN] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

static struct arena *arena;

static struct steering *made(uint16_t workers, uint16_t table_len)
{
    struct steering_config c = {.workers = workers, .mtu = 1500, .table_len = table_len};

    memcpy(c.key, published_key, sizeof c.key);
    arena = arena_new(steering_memory_needed(&c), false);
    return steering_new(&c, arena);
}

static struct net_addr addr(const char *text)
{
    struct net_addr a;

    assert_true(net_addr_parse(span_str(text), &a));
    return a;
}

static void expect_hash(const char *src, uint16_t sport, const char *dst, uint16_t dport, uint32_t hash)
{
    struct steering *s = made(2, 0);
    struct net_addr a = addr(src), b = addr(dst);

    assert_int_equal(steering_hash(s, &a, &b, sport, dport), hash);
    arena_free(arena);
}

static void the_hash_is_that_of_the_published_vectors_over_ipv4(void **state)
{
    (void)state;
    expect_hash("66.9.149.187", 2794, "161.142.100.80", 1766, 0x51ccc178);
    expect_hash("199.92.111.2", 14230, "65.69.140.83", 4739, 0xc626b0ea);
    expect_hash("24.19.198.95", 12898, "12.22.207.184", 38024, 0x5c2b394a);
}

static void the_hash_is_that_of_the_published_vectors_over_ipv6(void **state)
{
    (void)state;
    expect_hash("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x40207d3d);
    expect_hash("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0xdde51bbf);
}

static void the_table_deals_the_workers_out_in_turn(void **state)
{
    struct steering *s = made(3, 64);

    (void)state;
    for (uint32_t h = 0; h < 256; h++)
        assert_int_equal(steering_owner(s, h | 0xabcd0000), h % 64 % 3);
    arena_free(arena);
}

static void flows_are_spread_over_all_workers(void **state)
{
    struct steering *s = made(4, 0);
    struct net_addr a = addr("192.0.2.7"), b = addr("192.0.2.1");
    unsigned seen[4] = {0};

    (void)state;
    for (uint16_t port = 32768; port < 32768 + 4000; port++)
        seen[steering_owner(s, steering_hash(s, &a, &b, port, 443))]++;
    for (int w = 0; w < 4; w++)
        assert_in_range(seen[w], 800, 1200);
    arena_free(arena);
}

/* ---- lanes ---- */

static bool put(struct steering *s, uint32_t number)
{
    struct handed *h = lane_begin(s, 0, 1, sizeof number);

    if (h == NULL)
        return false;
    memcpy(h->bytes, &number, sizeof number);
    lane_commit(s, 0, 1);
    return true;
}

static void a_lane_gives_back_what_was_put_in_in_order_and_bounded(void **state)
{
    struct steering *s = made(2, 0);
    uint32_t count = 0, number;

    (void)state;
    assert_null(lane_peek(s, 0, 1));
    for (int round = 0; round < 3; round++) {
        for (count = 0; put(s, count); count++)
            assert_int_equal(lane_is_busy(s, 0, 1), count + 1 >= 256);
        assert_int_equal(count, 512);
        for (uint32_t i = 0; i < count; i++) {
            const struct handed *h = lane_peek(s, 0, 1);
            assert_non_null(h);
            memcpy(&number, h->bytes, sizeof number);
            assert_int_equal(number, i);
            assert_int_equal(h->len, sizeof number);
            lane_release(s, 0, 1);
        }
        assert_null(lane_peek(s, 0, 1));
    }
    arena_free(arena);
}

static void each_pair_of_workers_has_a_lane_of_its_own(void **state)
{
    struct steering *s = made(3, 0);

    (void)state;
    assert_true(put(s, 7));
    assert_null(lane_peek(s, 1, 0));
    assert_null(lane_peek(s, 0, 2));
    assert_null(lane_peek(s, 2, 1));
    assert_non_null(lane_peek(s, 0, 1));
    arena_free(arena);
}

static void what_is_longer_than_a_frame_finds_no_room(void **state)
{
    struct steering *s = made(2, 0);

    (void)state;
    assert_non_null(lane_begin(s, 0, 1, 1500 + 18));
    assert_null(lane_begin(s, 0, 1, 1500 + 18 + 64));
    arena_free(arena);
}

#define CROSSINGS 200000

static void *cross(void *arg)
{
    for (uint32_t i = 0; i < CROSSINGS;)
        i += put(arg, i);
    return NULL;
}

static void nothing_is_lost_or_torn_between_two_threads(void **state)
{
    struct steering *s = made(2, 0);
    pthread_t t;
    uint32_t number;

    (void)state;
    assert_int_equal(pthread_create(&t, NULL, cross, s), 0);
    for (uint32_t i = 0; i < CROSSINGS;) {
        const struct handed *h = lane_peek(s, 0, 1);
        if (h == NULL)
            continue;
        memcpy(&number, h->bytes, sizeof number);
        assert_int_equal(number, i++);
        lane_release(s, 0, 1);
    }
    pthread_join(t, NULL);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_is_that_of_the_published_vectors_over_ipv4),
        cmocka_unit_test(the_hash_is_that_of_the_published_vectors_over_ipv6),
        cmocka_unit_test(the_table_deals_the_workers_out_in_turn),
        cmocka_unit_test(flows_are_spread_over_all_workers),
        cmocka_unit_test(a_lane_gives_back_what_was_put_in_in_order_and_bounded),
        cmocka_unit_test(each_pair_of_workers_has_a_lane_of_its_own),
        cmocka_unit_test(what_is_longer_than_a_frame_finds_no_room),
        cmocka_unit_test(nothing_is_lost_or_torn_between_two_threads),
    };
    return RUN_TESTS("net_steer", tests);
}
