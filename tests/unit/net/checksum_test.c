#include "tests/unit/test.h"

#include "dataplane/net/ip.h"

static void sum_is_that_of_rfc_1071_section_3(void **state)
{
    static const uint8_t example[8] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

    (void)state;
    assert_int_equal(checksum_sum(span_of(example, 8), 0), 0xddf2);
}

static void odd_last_byte_counts_as_a_high_byte(void **state)
{
    static const uint8_t three[3] = {0x12, 0x34, 0x56};

    (void)state;
    assert_int_equal(checksum_sum(span_of(three, 3), 0), 0x1234 + 0x5600);
}

static void carry_wraps_around(void **state)
{
    static const uint8_t ones[4] = {0xff, 0xff, 0x00, 0x02};

    (void)state;
    assert_int_equal(checksum_sum(span_of(ones, 4), 0), 2);
    assert_int_equal(checksum_sum(span_of(ones + 2, 2), 0xffff), 2);
}

static void sum_of_nothing_is_the_start(void **state)
{
    (void)state;
    assert_int_equal(checksum_sum(span_of("", 0), 0x1234), 0x1234);
}

static void pieces_of_even_length_may_be_chained(void **state)
{
    uint8_t bytes[64];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    uint16_t whole = checksum_sum(span_of(bytes, 63), 0);
    for (size_t cut = 0; cut <= 62; cut += 2) {
        uint16_t first = checksum_sum(span_of(bytes, cut), 0);
        assert_int_equal(checksum_sum(span_of(bytes + cut, 63 - cut), first), whole);
    }
}

static void alignment_does_not_matter(void **state)
{
    uint8_t bytes[80];
    uint32_t want = 0;

    (void)state;
    for (size_t i = 0; i < 61; i++)
        want += (uint32_t)((i * 91 + 5) % 256) << (i % 2 == 0 ? 8 : 0);
    want = (want & 0xffff) + (want >> 16);
    for (size_t at = 0; at < 8; at++) {
        for (size_t i = 0; i < 61; i++)
            bytes[at + i] = (uint8_t)(i * 91 + 5);
        assert_int_equal(checksum_sum(span_of(bytes + at, 61), 0), want);
    }
}

/* An IPv4 header as captured: its checksum field makes the sum all ones. */
static void header_with_its_checksum_sums_to_all_ones(void **state)
{
    static const uint8_t header[20] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
                                       0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};

    (void)state;
    assert_int_equal(checksum_sum(span_of(header, 20), 0), 0xffff);
}

static void pseudo_header_of_ip4_is_addresses_protocol_and_length(void **state)
{
    struct net_addr src = {.family = NET_IP4, .bytes = {10, 0, 0, 1}};
    struct net_addr dst = {.family = NET_IP4, .bytes = {10, 0, 0, 2}};

    (void)state;
    assert_int_equal(checksum_pseudo(&src, &dst, 6, 21), 0x141e);
}

static void pseudo_header_of_ip6_takes_all_sixteen_bytes(void **state)
{
    struct net_addr src = {.family = NET_IP6, .bytes = {0x20, 0x01, [15] = 1}};
    struct net_addr dst = {.family = NET_IP6, .bytes = {0x20, 0x01, [15] = 2}};

    (void)state;
    assert_int_equal(checksum_pseudo(&src, &dst, 58, 0x10020), 0x4002 + 3 + 58 + 0x21);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sum_is_that_of_rfc_1071_section_3),
        cmocka_unit_test(odd_last_byte_counts_as_a_high_byte),
        cmocka_unit_test(carry_wraps_around),
        cmocka_unit_test(sum_of_nothing_is_the_start),
        cmocka_unit_test(pieces_of_even_length_may_be_chained),
        cmocka_unit_test(alignment_does_not_matter),
        cmocka_unit_test(header_with_its_checksum_sums_to_all_ones),
        cmocka_unit_test(pseudo_header_of_ip4_is_addresses_protocol_and_length),
        cmocka_unit_test(pseudo_header_of_ip6_takes_all_sixteen_bytes),
    };
    return RUN_TESTS("net_checksum", tests);
}
