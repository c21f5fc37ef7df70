#include "tests/unit/test.h"

#include "drivers/nic/dpdk/plan.h"

/* A device that can do everything. */
static struct plan_caps rich(void)
{
    return (struct plan_caps){
        .queues_max = 8,
        .mtu_min = 68,
        .mtu_max = 9000,
        .rx = {.desc_min = 64, .desc_max = 4096, .desc_align = 8},
        .tx = {.desc_min = 64, .desc_max = 4096, .desc_align = 8},
        .rx_ip4_csum = true,
        .rx_tcp_csum = true,
        .tx_ip4_csum = true,
        .tx_tcp_csum = true,
        .rss = true,
        .rss_table_len = 128,
        .rss_key_len = 40,
    };
}

static struct plan planned(const struct plan_caps *c, uint16_t queues, uint16_t mtu, bool no_offload)
{
    struct plan_wish w = {.queue_count = queues, .mtu = mtu, .no_offload = no_offload, .rss = true};
    struct plan p;
    char err[256];

    assert_true(plan_make(c, &w, &p, err, sizeof err));
    return p;
}

static bool is_refused(const struct plan_caps *c, uint16_t queues, uint16_t mtu)
{
    struct plan_wish w = {.queue_count = queues, .mtu = mtu};
    struct plan p;
    char err[256] = "";
    bool made = plan_make(c, &w, &p, err, sizeof err);

    return !made && err[0] != '\0';
}

static void all_offloads_that_are_offered_are_taken(void **state)
{
    struct plan_caps c = rich();
    struct plan p = planned(&c, 1, 1500, false);

    (void)state;
    assert_true(p.rx_ip4_csum && p.rx_tcp_csum && p.tx_ip4_csum && p.tx_tcp_csum);
}

static void offload_that_is_not_offered_is_not_asked_for(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    c.tx_ip4_csum = false; /* as virtio: TCP yes, IPv4 header no */
    struct plan p = planned(&c, 1, 1500, false);
    assert_false(p.tx_ip4_csum);
    assert_true(p.tx_tcp_csum);
}

static void no_offload_is_asked_for_when_none_is_wished(void **state)
{
    struct plan_caps c = rich();
    struct plan p = planned(&c, 1, 1500, true);

    (void)state;
    assert_false(p.rx_ip4_csum || p.rx_tcp_csum || p.tx_ip4_csum || p.tx_tcp_csum);
}

static void checksums_that_the_driver_would_make_in_software_are_ours_to_make(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    c.tx_csum_by_driver = true;
    struct plan p = planned(&c, 1, 1500, false);
    assert_false(p.tx_ip4_csum || p.tx_tcp_csum);
    assert_true(p.rx_ip4_csum && p.rx_tcp_csum);
}

static void frames_are_prepared_unless_the_device_takes_them_as_they_are(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    assert_true(planned(&c, 1, 1500, false).tx_prepare);
    c.tx_as_net_writes = true;
    assert_false(planned(&c, 1, 1500, false).tx_prepare);
}

static void one_queue_needs_no_flow_hash(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    assert_false(planned(&c, 1, 1500, false).rss);
    assert_true(planned(&c, 2, 1500, false).rss);
}

static void flow_hash_known_to_be_refused_is_not_asked_for(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    c.rss_refused = true;
    assert_false(planned(&c, 2, 1500, false).rss);
}

static void a_flow_hash_without_a_table_or_with_too_long_a_key_is_not_used(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    c.rss_table_len = 0;
    assert_false(planned(&c, 2, 1500, false).rss);
    c.rss_table_len = 100; /* not a power of two: the entry of a hash could not be told */
    assert_false(planned(&c, 2, 1500, false).rss);
    c = rich();
    c.rss_key_len = 64;
    assert_false(planned(&c, 2, 1500, false).rss);
    c.rss_key_len = 0;
    assert_int_equal(planned(&c, 2, 1500, false).rss_key_len, PLAN_RSS_KEY_LEN);
}

static void no_flow_hash_is_asked_for_without_a_key(void **state)
{
    struct plan_caps c = rich();
    struct plan_wish w = {.queue_count = 2, .mtu = 1500};
    struct plan p;
    char err[256];

    (void)state;
    assert_true(plan_make(&c, &w, &p, err, sizeof err));
    assert_false(p.rss);
}

static void more_queues_than_the_device_has_are_refused(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    assert_true(is_refused(&c, 9, 1500));
    assert_true(is_refused(&c, 0, 1500));
}

static void more_queues_than_workers_can_be_are_refused(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    c.queues_max = 1024;
    assert_true(is_refused(&c, WORKERS_MAX + 1, 1500));
}

static void mtu_outside_the_devices_range_is_refused(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    assert_true(is_refused(&c, 1, 9001));
    assert_true(is_refused(&c, 1, 67));
}

static void mtu_beyond_any_buffer_of_ours_is_refused(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    c.mtu_max = UINT16_MAX;
    assert_true(is_refused(&c, 1, UINT16_MAX));
    assert_true(is_refused(&c, 1, PLAN_MTU_MAX + 1));
}

static void one_buffer_holds_the_largest_frame(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    c.mtu_max = PLAN_MTU_MAX;
    assert_int_equal(planned(&c, 1, 1500, false).buffer_len, PLAN_BUFFER_MIN);
    assert_true(planned(&c, 1, PLAN_MTU_MAX, false).buffer_len >= PLAN_MTU_MAX + 14 + 4 + 4);
}

static void descriptors_stay_within_the_rings_limit(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    c.rx.desc_max = 256;
    c.tx.desc_max = 128;
    struct plan p = planned(&c, 1, 1500, false);
    assert_int_equal(p.rx_desc, 256);
    assert_int_equal(p.tx_desc, 128);
}

static void descriptors_keep_the_rings_alignment(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    c.rx.desc_max = 250;
    c.rx.desc_align = 32;
    assert_int_equal(planned(&c, 1, 1500, false).rx_desc, 224);
}

static void ring_without_stated_limits_gets_what_we_want(void **state)
{
    struct plan_caps c = rich();

    (void)state;
    c.rx = (struct plan_ring){0, 0, 0};
    assert_int_equal(planned(&c, 1, 1500, false).rx_desc, PLAN_RX_DESC_WANTED);
}

static void receive_pool_covers_ring_burst_and_caches(void **state)
{
    struct plan_caps c = rich();
    struct plan p = planned(&c, 1, 1500, false);

    (void)state;
    assert_true(p.rx_pool >= 2U * p.rx_desc + NIC_BURST_MAX + 2 * PLAN_CACHE * 3 / 2);
}

static void transmit_pool_covers_ring_held_frames_burst_and_caches(void **state)
{
    struct plan_caps c = rich();
    struct plan p = planned(&c, 1, 1500, false);

    (void)state;
    assert_true(p.tx_pool >= p.tx_desc + 3U * NIC_BURST_MAX + 2 * PLAN_CACHE * 3 / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_offloads_that_are_offered_are_taken),
        cmocka_unit_test(offload_that_is_not_offered_is_not_asked_for),
        cmocka_unit_test(no_offload_is_asked_for_when_none_is_wished),
        cmocka_unit_test(checksums_that_the_driver_would_make_in_software_are_ours_to_make),
        cmocka_unit_test(frames_are_prepared_unless_the_device_takes_them_as_they_are),
        cmocka_unit_test(frames_are_prepared_unless_the_device_takes_them_as_they_are),
        cmocka_unit_test(one_queue_needs_no_flow_hash),
        cmocka_unit_test(a_flow_hash_without_a_table_or_with_too_long_a_key_is_not_used),
        cmocka_unit_test(no_flow_hash_is_asked_for_without_a_key),
        cmocka_unit_test(flow_hash_known_to_be_refused_is_not_asked_for),
        cmocka_unit_test(more_queues_than_the_device_has_are_refused),
        cmocka_unit_test(more_queues_than_workers_can_be_are_refused),
        cmocka_unit_test(mtu_outside_the_devices_range_is_refused),
        cmocka_unit_test(mtu_beyond_any_buffer_of_ours_is_refused),
        cmocka_unit_test(one_buffer_holds_the_largest_frame),
        cmocka_unit_test(descriptors_stay_within_the_rings_limit),
        cmocka_unit_test(descriptors_keep_the_rings_alignment),
        cmocka_unit_test(ring_without_stated_limits_gets_what_we_want),
        cmocka_unit_test(receive_pool_covers_ring_burst_and_caches),
        cmocka_unit_test(transmit_pool_covers_ring_held_frames_burst_and_caches),
    };

    return RUN_TESTS("nic_plan", tests);
}
