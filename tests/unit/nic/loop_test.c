/* The driver over rings in memory: what is sent on a queue arrives on it. */
#include "tests/unit/test.h"

#include "drivers/nic/dpdk/dpdk.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FRAME_LEN 64
#define MANY      1500 /* more than a ring holds */

static struct nic *loop;

static int start(void **state)
{
    struct nic_dpdk_config c = {.device = "loop:a"};
    struct nic_dpdk_port p = {.device = "loop:a", .queue_count = 2, .mtu = 1500};
    char err[256];

    (void)state;
    if (!nic_dpdk_start(&c, err, sizeof err) || (loop = nic_dpdk_open(&p, err, sizeof err)) == NULL) {
        print_message("%s\n", err);
        return -1;
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    nic_stop(loop);
    return 0;
}

static struct frame frame_with(uint16_t queue, uint32_t number)
{
    struct frame f;

    assert_true(nic_frame_alloc(loop, queue, &f));
    memset(f.data, 0, FRAME_LEN);
    memcpy(f.data + 14, &number, sizeof number);
    f.len = FRAME_LEN;
    return f;
}

/* Receives until the queue is empty; each frame must carry the next number. */
static uint32_t receive_in_order(uint16_t queue, uint32_t first)
{
    struct frame frames[NIC_BURST_MAX];
    uint32_t next = first;
    uint16_t got;

    while ((got = nic_rx(loop, queue, frames, NIC_BURST_MAX)) > 0) {
        for (uint16_t i = 0; i < got; i++) {
            uint32_t number;
            memcpy(&number, frames[i].data + 14, sizeof number);
            assert_int_equal(number, next++);
            assert_int_equal(frames[i].len, FRAME_LEN);
            assert_int_equal(frames[i].queue, queue);
            nic_frame_free(loop, &frames[i]);
        }
    }
    return next - first;
}

static void every_frame_sent_arrives_once_in_order(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 300; n++) {
        struct frame f = frame_with(0, n);
        assert_int_equal(nic_tx(loop, 0, &f, 1), 1);
    }
    assert_int_equal(receive_in_order(0, 0), 300);
}

static void frame_stays_on_its_queue(void **state)
{
    struct frame f = frame_with(1, 7);

    (void)state;
    assert_int_equal(nic_tx(loop, 1, &f, 1), 1);
    assert_int_equal(receive_in_order(0, 0), 0);
    assert_int_equal(receive_in_order(1, 7), 1);
}

/* Fills the ring; what it did not take must still be ours, in order, and sendable (bug B37). */
static void full_ring_leaves_the_tail_with_the_caller(void **state)
{
    static struct frame frames[MANY];
    uint32_t sent = 0;
    uint32_t received = 0;

    (void)state;
    for (uint32_t n = 0; n < MANY; n++)
        frames[n] = frame_with((uint16_t)(n % 2), n);
    for (;;) {
        uint16_t took = nic_tx(loop, 0, frames + sent, NIC_BURST_MAX);
        sent += took;
        if (took < NIC_BURST_MAX)
            break;
        assert_true(sent + NIC_BURST_MAX < MANY);
    }
    assert_in_range(sent, 1, MANY - 1);
    while (sent < MANY) {
        received += receive_in_order(0, received);
        uint32_t left = MANY - sent;
        sent += nic_tx(loop, 0, frames + sent, (uint16_t)(left < NIC_BURST_MAX ? left : NIC_BURST_MAX));
    }
    received += receive_in_order(0, received);
    assert_int_equal(received, MANY);
}

static void longer_burst_than_the_limit_is_taken_in_part(void **state)
{
    struct frame frames[NIC_BURST_MAX + 8];

    (void)state;
    for (uint32_t n = 0; n < NIC_BURST_MAX + 8; n++)
        frames[n] = frame_with(0, n);
    assert_int_equal(nic_tx(loop, 0, frames, NIC_BURST_MAX + 8), NIC_BURST_MAX);
    assert_int_equal(nic_tx(loop, 0, frames + NIC_BURST_MAX, 8), 8);
    assert_int_equal(receive_in_order(0, 0), NIC_BURST_MAX + 8);
}

static void new_frame_has_room_for_the_largest_packet(void **state)
{
    struct frame f;

    (void)state;
    assert_true(nic_frame_alloc(loop, 0, &f));
    assert_true(f.cap >= loop->info.mtu + 18);
    nic_frame_free(loop, &f);
}

static void empty_pool_says_so_and_recovers(void **state)
{
    static struct frame frames[8192];
    struct frame f;
    size_t count = 0;

    (void)state;
    while (count < 8192 && nic_frame_alloc(loop, 0, &frames[count]))
        count++;
    assert_in_range(count, 1, 8191);
    assert_false(nic_frame_alloc(loop, 0, &f));
    while (count > 0)
        nic_frame_free(loop, &frames[--count]);
    assert_true(nic_frame_alloc(loop, 0, &f));
    nic_frame_free(loop, &f);
}

static void no_frame_is_lost_in_ten_thousand_rounds(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 10000; n++) {
        struct frame f = frame_with(0, n);
        assert_int_equal(nic_tx(loop, 0, &f, 1), 1);
        assert_int_equal(receive_in_order(0, n), 1);
    }
}

static void device_without_checksums_reports_them_unknown(void **state)
{
    struct frame f = frame_with(0, 1);

    (void)state;
    assert_false(loop->info.rx_ip4_csum || loop->info.rx_tcp_csum);
    assert_int_equal(nic_tx(loop, 0, &f, 1), 1);
    assert_int_equal(nic_rx(loop, 0, &f, 1), 1);
    assert_int_equal(f.flags, 0);
    nic_frame_free(loop, &f);
}

static void frame_that_came_in_can_go_out_again(void **state)
{
    struct frame f = frame_with(0, 3);

    (void)state;
    assert_int_equal(nic_tx(loop, 0, &f, 1), 1);
    assert_int_equal(nic_rx(loop, 0, &f, 1), 1);
    assert_int_equal(nic_tx(loop, 0, &f, 1), 1);
    assert_int_equal(receive_in_order(0, 3), 1);
}

static bool is_refused(const struct nic_dpdk_port *p, const char *wanted_in_text)
{
    char err[256] = "";

    return nic_dpdk_open(p, err, sizeof err) == NULL && strstr(err, wanted_in_text) != NULL;
}

static void missing_interface_is_refused_by_name(void **state)
{
    struct nic_dpdk_port p = {.device = "tap:nosuchif"};

    (void)state;
    assert_true(is_refused(&p, "nosuchif"));
}

static void misshapen_mac_is_refused_by_its_text(void **state)
{
    struct nic_dpdk_port p = {.device = "loop:b", .mac = "02:00:00"};

    (void)state;
    assert_true(is_refused(&p, "02:00:00"));
}

static void unknown_device_is_refused_by_its_text(void **state)
{
    struct nic_dpdk_port p = {.device = "carrier-pigeon:7"};

    (void)state;
    assert_true(is_refused(&p, "carrier-pigeon:7"));
}

static void too_many_queues_are_refused(void **state)
{
    struct nic_dpdk_port p = {.device = "loop:c", .queue_count = WORKERS_MAX + 1};

    (void)state;
    assert_true(is_refused(&p, "queues"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_frame_sent_arrives_once_in_order),
        cmocka_unit_test(frame_stays_on_its_queue),
        cmocka_unit_test(full_ring_leaves_the_tail_with_the_caller),
        cmocka_unit_test(longer_burst_than_the_limit_is_taken_in_part),
        cmocka_unit_test(new_frame_has_room_for_the_largest_packet),
        cmocka_unit_test(empty_pool_says_so_and_recovers),
        cmocka_unit_test(no_frame_is_lost_in_ten_thousand_rounds),
        cmocka_unit_test(device_without_checksums_reports_them_unknown),
        cmocka_unit_test(frame_that_came_in_can_go_out_again),
        cmocka_unit_test(missing_interface_is_refused_by_name),
        cmocka_unit_test(misshapen_mac_is_refused_by_its_text),
        cmocka_unit_test(unknown_device_is_refused_by_its_text),
        cmocka_unit_test(too_many_queues_are_refused),
    };

    return cmocka_run_group_tests_name("nic_loop", tests, start, stop);
}
