#include "tests/unit/test.h"

#include "base/limits.h"
#include "drivers/nic/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct sim *sim_with(uint64_t seed, uint16_t port_count)
{
    struct sim_config c;

    sim_config_defaults(&c);
    c.seed = seed;
    c.port_count = port_count;
    c.frames_max = 256;
    return sim_new(&c);
}

/* Sends one frame whose bytes all are `tag`; false when there is no buffer or the ring took none. */
static bool send_tagged(struct sim *s, uint16_t port, uint8_t tag)
{
    struct nic *nic = sim_port(s, port);
    struct frame f;

    if (!nic_frame_alloc(nic, 0, &f))
        return false;
    f.len = 60;
    memset(f.data, tag, f.len);
    if (nic_tx(nic, 0, &f, 1) == 1)
        return true;
    nic_frame_free(nic, &f);
    return false;
}

/* The tag of the next frame, -1 when there is none. */
static int receive_tag(struct sim *s, uint16_t port)
{
    struct nic *nic = sim_port(s, port);
    struct frame f;

    if (nic_rx(nic, 0, &f, 1) == 0)
        return -1;
    int tag = f.data[20];
    nic_frame_free(nic, &f);
    return tag;
}

static unsigned receive_all(struct sim *s, uint16_t port)
{
    unsigned got = 0;

    while (receive_tag(s, port) >= 0)
        got++;
    return got;
}

static void frames_reach_every_other_port_in_order(void **state)
{
    struct sim *s = sim_with(1, 3);

    (void)state;
    assert_true(send_tagged(s, 0, 1) && send_tagged(s, 0, 2));
    assert_int_equal(receive_tag(s, 1), 1);
    assert_int_equal(receive_tag(s, 1), 2);
    assert_int_equal(receive_all(s, 2), 2);
    assert_int_equal(receive_all(s, 0), 0);
    sim_free(s);
}

static void delayed_frame_arrives_when_its_time_has_come(void **state)
{
    struct sim *s = sim_with(1, 2);

    (void)state;
    sim_set_faults(s, 0, &(struct sim_faults){.delay_us = 500});
    assert_true(send_tagged(s, 0, 1));
    assert_int_equal(sim_next_delivery(s), sim_now(s) + 500);
    sim_advance(s, 499);
    assert_int_equal(receive_tag(s, 1), -1);
    sim_advance(s, 1);
    assert_int_equal(sim_next_delivery(s), sim_now(s));
    assert_int_equal(receive_tag(s, 1), 1);
    assert_true(sim_next_delivery(s) == UINT64_MAX);
    sim_free(s);
}

static uint64_t lossy_run(uint64_t seed)
{
    struct sim *s = sim_with(seed, 2);
    uint64_t digest = 0;

    sim_set_faults(s, 0,
                   &(struct sim_faults){.loss_ppm = 300000,
                                        .duplicate_ppm = 300000,
                                        .corrupt_ppm = 100000,
                                        .jitter_ppm = 500000,
                                        .jitter_us = 100});
    for (int i = 0; i < 100; i++) {
        assert_true(send_tagged(s, 0, (uint8_t)i));
        sim_advance(s, 10);
        for (int tag; (tag = receive_tag(s, 1)) >= 0;)
            digest = digest * 1099511628211u + (uint64_t)tag + 1;
    }
    sim_free(s);
    return digest;
}

static void same_seed_gives_the_same_run(void **state)
{
    (void)state;
    assert_true(lossy_run(7) == lossy_run(7));
}

static void another_seed_gives_another_run(void **state)
{
    (void)state;
    assert_true(lossy_run(7) != lossy_run(8));
}

static void loss_takes_the_share_that_was_asked_for(void **state)
{
    struct sim *s = sim_with(3, 2);
    unsigned got = 0;

    (void)state;
    sim_set_faults(s, 0, &(struct sim_faults){.loss_ppm = 200000});
    for (int i = 0; i < 1000; i++) {
        assert_true(send_tagged(s, 0, 0));
        got += receive_all(s, 1);
    }
    assert_in_range(got, 750, 850);
    sim_free(s);
}

static void duplicated_frame_arrives_twice(void **state)
{
    struct sim *s = sim_with(1, 2);

    (void)state;
    sim_set_faults(s, 0, &(struct sim_faults){.duplicate_ppm = 1000000});
    assert_true(send_tagged(s, 0, 5));
    assert_int_equal(receive_all(s, 1), 2);
    sim_free(s);
}

static void jitter_lets_frames_overtake(void **state)
{
    struct sim *s = sim_with(1, 2);
    int last = -1;
    bool overtaken = false;

    (void)state;
    sim_set_faults(s, 0, &(struct sim_faults){.jitter_ppm = 500000, .jitter_us = 1000});
    for (int i = 0; i < 50; i++)
        assert_true(send_tagged(s, 0, (uint8_t)i));
    for (int t = 0; t < 100; t++) {
        sim_advance(s, 10);
        for (int tag; (tag = receive_tag(s, 1)) >= 0; last = tag)
            overtaken |= tag < last;
    }
    assert_true(overtaken);
    sim_free(s);
}

static void corruption_changes_the_copy_on_the_wire(void **state)
{
    struct sim *s = sim_with(1, 2);
    struct sim_stats stats;
    struct frame f;
    int changed = 0;

    (void)state;
    sim_set_faults(s, 0, &(struct sim_faults){.corrupt_ppm = 1000000});
    assert_true(send_tagged(s, 0, 0x55));
    assert_int_equal(nic_rx(sim_port(s, 1), 0, &f, 1), 1);
    for (int i = 0; i < f.len; i++)
        changed += f.data[i] != 0x55;
    nic_frame_free(sim_port(s, 1), &f);
    assert_in_range(changed, 1, 3);
    sim_get_stats(s, &stats);
    assert_int_equal(stats.corrupted, 1);
    sim_free(s);
}

static void full_ring_takes_fewer_and_leaves_the_rest_to_the_sender(void **state)
{
    struct sim *s = sim_with(1, 2);
    struct nic *nic = sim_port(s, 0);
    struct frame f[4];

    (void)state;
    sim_set_tx_room(s, 0, 3);
    for (int i = 0; i < 4; i++) {
        assert_true(nic_frame_alloc(nic, 0, &f[i]));
        f[i].len = 60;
    }
    assert_int_equal(nic_tx(nic, 0, f, 4), 3);
    assert_int_equal(sim_frames_held(s, 0), 1);
    assert_int_equal(nic_tx(nic, 0, f + 3, 1), 1);
    assert_int_equal(sim_frames_held(s, 0), 0);
    sim_free(s);
}

static void empty_pool_refuses_a_frame(void **state)
{
    struct sim *s = sim_with(1, 2);
    struct frame a, b;

    (void)state;
    sim_set_pool_limit(s, 0, 1);
    assert_true(nic_frame_alloc(sim_port(s, 0), 0, &a));
    assert_false(nic_frame_alloc(sim_port(s, 0), 0, &b));
    nic_frame_free(sim_port(s, 0), &a);
    assert_true(nic_frame_alloc(sim_port(s, 0), 0, &b));
    nic_frame_free(sim_port(s, 0), &b);
    sim_free(s);
}

static void held_frames_are_counted_until_given_back(void **state)
{
    struct sim *s = sim_with(1, 2);
    struct frame f;

    (void)state;
    assert_true(send_tagged(s, 0, 1));
    assert_int_equal(nic_rx(sim_port(s, 1), 0, &f, 1), 1);
    assert_int_equal(sim_frames_held(s, 1), 1);
    nic_frame_free(sim_port(s, 1), &f);
    assert_int_equal(sim_frames_held(s, 1), 0);
    sim_free(s);
}

static void wire_without_a_buffer_drops_and_counts(void **state)
{
    struct sim *s = sim_with(1, 2);
    struct sim_stats stats;

    (void)state;
    sim_set_faults(s, 0, &(struct sim_faults){.delay_us = 1000});
    while (send_tagged(s, 0, 1)) {
        sim_get_stats(s, &stats);
        if (stats.no_buffer > 0)
            break;
    }
    sim_advance(s, 1000);
    assert_int_equal(receive_all(s, 1), 255);
    sim_free(s);
}

static bool drop_tag_two(void *arg, uint16_t from, struct span frame)
{
    (void)arg;
    (void)from;
    return frame.ptr[20] != 2;
}

static void filter_takes_the_frames_that_it_names(void **state)
{
    struct sim *s = sim_with(1, 2);

    (void)state;
    sim_set_filter(s, drop_tag_two, NULL);
    for (uint8_t i = 1; i <= 3; i++)
        assert_true(send_tagged(s, 0, i));
    assert_int_equal(receive_tag(s, 1), 1);
    assert_int_equal(receive_tag(s, 1), 3);
    sim_free(s);
}

static void stopped_port_receives_nothing(void **state)
{
    struct sim *s = sim_with(1, 2);

    (void)state;
    assert_true(send_tagged(s, 0, 1));
    sim_advance(s, 0);
    nic_stop(sim_port(s, 1));
    assert_true(send_tagged(s, 0, 2));
    sim_advance(s, 0);
    assert_int_equal(receive_all(s, 1), 0);
    sim_free(s);
}

/* An IPv4 frame with TCP ports and sequence number given, every other field fixed. */
static void tcp_frame(struct frame *f, uint16_t port, uint8_t payload)
{
    static const uint8_t head[54] = {2, 0,  0, 0, 0,  2, 2, 0, 0,  0, 0,    1,  8,  0, 0x45, 0, 0, 41,
                                     0, 0,  0, 0, 64, 6, 0, 0, 10, 0, 0,    1,  10, 0, 0,    2, 0, 0,
                                     0, 80, 0, 0, 0,  1, 0, 0, 0,  0, 0x50, 16, 16, 0, 0,    0, 0, 0};

    memcpy(f->data, head, sizeof head);
    f->data[34] = (uint8_t)(port >> 8);
    f->data[35] = (uint8_t)port;
    f->data[54] = payload;
    f->len = 55;
    f->l2_len = 14;
    f->l3_len = 20;
    f->l4_len = 20;
}

static uint16_t send_tcp(struct sim *s, bool offload, uint8_t payload)
{
    struct nic *nic = sim_port(s, 0);
    struct frame f;
    uint16_t flags;

    assert_true(nic_frame_alloc(nic, 0, &f));
    tcp_frame(&f, 1000, payload);
    if (offload) {
        f.flags = FRAME_TX_IP4_CSUM | FRAME_TX_TCP_CSUM;
        /* 10.0.0.1 + 10.0.0.2 + 6 + 21 */
        f.data[50] = 0x14;
        f.data[51] = 0x1e;
    }
    assert_int_equal(nic_tx(nic, 0, &f, 1), 1);
    assert_int_equal(nic_rx(sim_port(s, 1), 0, &f, 1), 1);
    flags = f.flags;
    nic_frame_free(sim_port(s, 1), &f);
    return flags;
}

static void checksums_left_to_the_device_are_right_on_the_wire(void **state)
{
    struct sim_config c;

    (void)state;
    sim_config_defaults(&c);
    c.rx_csum = c.tx_csum = true;
    struct sim *s = sim_new(&c);
    assert_int_equal(send_tcp(s, true, 9), FRAME_RX_IP4_CSUM_GOOD | FRAME_RX_L4_CSUM_GOOD);
    sim_free(s);
}

static void wrong_checksums_are_flagged_by_a_device_that_checks(void **state)
{
    struct sim_config c;

    (void)state;
    sim_config_defaults(&c);
    c.rx_csum = true;
    struct sim *s = sim_new(&c);
    assert_int_equal(send_tcp(s, false, 9), FRAME_RX_IP4_CSUM_BAD | FRAME_RX_L4_CSUM_BAD);
    sim_free(s);
}

static void partial_checksum_arrives_as_vouched_for(void **state)
{
    struct sim_config c;

    (void)state;
    sim_config_defaults(&c);
    c.tx_csum = c.partial_csum = true;
    struct sim *s = sim_new(&c);
    assert_int_equal(send_tcp(s, true, 9), FRAME_RX_L4_CSUM_VOUCHED);
    sim_free(s);
}

static void flows_spread_over_queues_and_stay_there(void **state)
{
    struct sim_config c;
    unsigned per_queue[2] = {0, 0};

    (void)state;
    sim_config_defaults(&c);
    c.queue_count = 2;
    struct sim *s = sim_new(&c);
    for (uint16_t flow = 0; flow < 64; flow++) {
        for (int twice = 0; twice < 2; twice++) {
            struct frame f;
            assert_true(nic_frame_alloc(sim_port(s, 0), 0, &f));
            tcp_frame(&f, (uint16_t)(1000 + flow), (uint8_t)twice);
            assert_int_equal(nic_tx(sim_port(s, 0), 0, &f, 1), 1);
        }
        for (uint16_t q = 0; q < 2; q++) {
            struct frame f[2];
            uint16_t got = nic_rx(sim_port(s, 1), q, f, 2);
            assert_true(got == 0 || got == 2);
            per_queue[q] += got;
            for (uint16_t i = 0; i < got; i++)
                nic_frame_free(sim_port(s, 1), &f[i]);
        }
    }
    assert_true(per_queue[0] > 20 && per_queue[1] > 20);
    sim_free(s);
}

static void capture_holds_every_sent_frame(void **state)
{
    char path[] = "/tmp/sim_capture_XXXXXX";
    struct sim *s = sim_with(1, 2);
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_true(sim_capture(s, path));
    sim_set_faults(s, 0, &(struct sim_faults){.loss_ppm = 1000000});
    assert_true(send_tagged(s, 0, 1) && send_tagged(s, 0, 2));
    sim_free(s);
    assert_int_equal(lseek(fd, 0, SEEK_END), 24 + 2 * (16 + 60));
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_reach_every_other_port_in_order),
        cmocka_unit_test(delayed_frame_arrives_when_its_time_has_come),
        cmocka_unit_test(same_seed_gives_the_same_run),
        cmocka_unit_test(another_seed_gives_another_run),
        cmocka_unit_test(loss_takes_the_share_that_was_asked_for),
        cmocka_unit_test(duplicated_frame_arrives_twice),
        cmocka_unit_test(jitter_lets_frames_overtake),
        cmocka_unit_test(corruption_changes_the_copy_on_the_wire),
        cmocka_unit_test(full_ring_takes_fewer_and_leaves_the_rest_to_the_sender),
        cmocka_unit_test(empty_pool_refuses_a_frame),
        cmocka_unit_test(held_frames_are_counted_until_given_back),
        cmocka_unit_test(wire_without_a_buffer_drops_and_counts),
        cmocka_unit_test(filter_takes_the_frames_that_it_names),
        cmocka_unit_test(stopped_port_receives_nothing),
        cmocka_unit_test(checksums_left_to_the_device_are_right_on_the_wire),
        cmocka_unit_test(wrong_checksums_are_flagged_by_a_device_that_checks),
        cmocka_unit_test(partial_checksum_arrives_as_vouched_for),
        cmocka_unit_test(flows_spread_over_queues_and_stay_there),
        cmocka_unit_test(capture_holds_every_sent_frame),
    };
    return RUN_TESTS("sim", tests);
}
