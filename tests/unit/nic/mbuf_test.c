/* Between struct frame and DPDK's buffers: what a device says of checksums, and buffers that are not for us. */
#include "tests/unit/test.h"

#include "drivers/nic/dpdk/internal.h"

static const struct plan all = {
    .rx_ip4_csum = true, .rx_tcp_csum = true, .tx_ip4_csum = true, .tx_tcp_csum = true};

static void checksum_the_device_did_not_look_at_stays_unknown(void **state)
{
    (void)state;
    assert_int_equal(queue_rx_flags(&all, 0), 0);
    assert_int_equal(queue_rx_flags(&all, RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_VLAN), 0);
}

static void right_checksums_are_reported_right(void **state)
{
    (void)state;
    assert_int_equal(queue_rx_flags(&all, RTE_MBUF_F_RX_IP_CKSUM_GOOD), FRAME_RX_IP4_CSUM_GOOD);
    assert_int_equal(queue_rx_flags(&all, RTE_MBUF_F_RX_L4_CKSUM_GOOD), FRAME_RX_L4_CSUM_GOOD);
}

static void wrong_checksums_are_reported_wrong(void **state)
{
    (void)state;
    assert_int_equal(queue_rx_flags(&all, RTE_MBUF_F_RX_IP_CKSUM_BAD), FRAME_RX_IP4_CSUM_BAD);
    assert_int_equal(queue_rx_flags(&all, RTE_MBUF_F_RX_L4_CKSUM_BAD), FRAME_RX_L4_CSUM_BAD);
}

/* virtio: the peer left the sum to a device that there is none of, and vouches for the bytes (bug B29). */
static void checksum_that_the_peer_left_out_counts_as_right(void **state)
{
    (void)state;
    assert_int_equal(queue_rx_flags(&all, RTE_MBUF_F_RX_L4_CKSUM_NONE), FRAME_RX_L4_CSUM_VOUCHED);
    assert_int_equal(queue_rx_flags(&all, RTE_MBUF_F_RX_IP_CKSUM_NONE), FRAME_RX_IP4_CSUM_VOUCHED);
}

static void what_was_not_agreed_is_not_believed(void **state)
{
    static const struct plan none;

    (void)state;
    assert_int_equal(queue_rx_flags(&none, RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD), 0);
    assert_int_equal(queue_rx_flags(&none, RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD), 0);
}

static void frame_with_nothing_left_to_the_device_asks_for_nothing(void **state)
{
    (void)state;
    assert_int_equal(queue_tx_flags(0), 0);
    assert_int_equal(queue_tx_flags(FRAME_IS_IP6), 0);
}

static void ipv4_frame_is_announced_as_ipv4(void **state)
{
    (void)state;
    assert_int_equal(queue_tx_flags(FRAME_TX_IP4_CSUM | FRAME_TX_TCP_CSUM),
                     RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4);
}

/* Bug B28: flags taken from the IPv4 layout on an IPv6 packet. */
static void ipv6_frame_is_announced_as_ipv6(void **state)
{
    (void)state;
    assert_int_equal(queue_tx_flags(FRAME_TX_TCP_CSUM | FRAME_IS_IP6),
                     RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV6);
}

static struct counters counters;
static struct nic *loop;

static int start(void **state)
{
    struct nic_dpdk_config c = {.device = "loop:a"};
    struct nic_dpdk_port p = {.device = "loop:a", .counters = {&counters}};
    char err[256];

    (void)state;
    if (!nic_dpdk_start(&c, err, sizeof err) || (loop = nic_dpdk_open(&p, err, sizeof err)) == NULL)
        return -1;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    nic_stop(loop);
    return 0;
}

static struct frame new_frame(uint16_t len)
{
    struct frame f;

    assert_true(nic_frame_alloc(loop, 0, &f));
    f.len = len;
    return f;
}

static void frame_in_several_buffers_is_refused_and_counted(void **state)
{
    struct frame head = new_frame(100);
    struct frame tail = new_frame(100);
    struct frame whole = new_frame(60);
    struct rte_mbuf *m = head.owner;
    uint64_t before = counter_read(&counters, REASON_NIC_RX_IN_PIECES);

    (void)state;
    m->next = tail.owner;
    m->nb_segs = 2;
    assert_int_equal(nic_tx(loop, 0, &head, 1), 1);
    assert_int_equal(nic_tx(loop, 0, &whole, 1), 1);
    struct frame got[NIC_BURST_MAX];
    assert_int_equal(nic_rx(loop, 0, got, NIC_BURST_MAX), 1);
    assert_int_equal(got[0].len, 60);
    assert_int_equal(counter_read(&counters, REASON_NIC_RX_IN_PIECES), before + 1);
    nic_frame_free(loop, &got[0]);
}

static void lengths_for_checksums_reach_the_device(void **state)
{
    struct frame f = new_frame(18 + 40 + 32);
    struct rte_mbuf *m = f.owner;

    (void)state;
    f.flags = FRAME_TX_TCP_CSUM | FRAME_IS_IP6;
    f.l2_len = 18;
    f.l3_len = 40;
    f.l4_len = 32;
    assert_int_equal(nic_tx(loop, 0, &f, 1), 1);
    assert_int_equal(m->l2_len, 18);
    assert_int_equal(m->l3_len, 40);
    assert_int_equal(m->l4_len, 32);
    assert_int_equal(nic_rx(loop, 0, &f, 1), 1);
    nic_frame_free(loop, &f);
}

static void flags_of_the_last_use_do_not_stick_to_a_buffer(void **state)
{
    struct frame f = new_frame(60);
    struct rte_mbuf *m = f.owner;

    (void)state;
    m->ol_flags = RTE_MBUF_F_TX_TCP_CKSUM;
    assert_int_equal(nic_tx(loop, 0, &f, 1), 1);
    assert_int_equal(m->ol_flags, 0);
    assert_int_equal(nic_rx(loop, 0, &f, 1), 1);
    nic_frame_free(loop, &f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksum_the_device_did_not_look_at_stays_unknown),
        cmocka_unit_test(right_checksums_are_reported_right),
        cmocka_unit_test(wrong_checksums_are_reported_wrong),
        cmocka_unit_test(checksum_that_the_peer_left_out_counts_as_right),
        cmocka_unit_test(what_was_not_agreed_is_not_believed),
        cmocka_unit_test(frame_with_nothing_left_to_the_device_asks_for_nothing),
        cmocka_unit_test(ipv4_frame_is_announced_as_ipv4),
        cmocka_unit_test(ipv6_frame_is_announced_as_ipv6),
        cmocka_unit_test(frame_in_several_buffers_is_refused_and_counted),
        cmocka_unit_test(lengths_for_checksums_reach_the_device),
        cmocka_unit_test(flags_of_the_last_use_do_not_stick_to_a_buffer),
    };

    return cmocka_run_group_tests_name("nic_mbuf", tests, start, stop);
}
