/* Two ends of a memif in one process.  The two agree over a socket and DPDK's control thread in their own time, so this is among the
 * long tests: nothing that a clock decides belongs to the others. */
#include "tests/unit/test.h"

#include "drivers/nic/dpdk/dpdk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME_LEN 64

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

/* Sends count frames on `from` and takes them in on `to`, in order, in bounded tries: the two agree over a socket
 * first. */
static void frames_cross(struct nic *from, struct nic *to, uint32_t count)
{
    uint32_t sent = 0;
    uint32_t received = 0;

    for (int tries = 0; tries < 10000 && received < count; tries++) {
        struct frame f;
        if (sent < count && nic_frame_alloc(from, 0, &f)) {
            f.len = FRAME_LEN;
            memcpy(f.data + 14, &sent, sizeof sent);
            if (nic_tx(from, 0, &f, 1) == 1)
                sent++;
            else
                nic_frame_free(from, &f);
        }
        if (nic_rx(to, 0, &f, 1) == 1) {
            assert_memory_equal(f.data + 14, &received, sizeof received);
            received++;
            nic_frame_free(to, &f);
        } else {
            usleep(100);
        }
    }
    assert_int_equal(received, count);
}

static void frames_cross_a_memif_in_both_directions(void **state)
{
    char dir[] = "/tmp/ww-memif-XXXXXX";
    char client[64];
    char server[64];
    char err[256];
    struct nic_dpdk_port c = {.device = client};
    struct nic_dpdk_port s = {.device = server};

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(client, sizeof client, "memif:%s/s", dir);
    snprintf(server, sizeof server, "memif-server:%s/s", dir);
    struct nic *a = nic_dpdk_open(&s, err, sizeof err);
    struct nic *b = nic_dpdk_open(&c, err, sizeof err);
    assert_non_null(a);
    assert_non_null(b);
    frames_cross(b, a, 1000);
    frames_cross(a, b, 1000);
    nic_stop(b);
    nic_stop(a);
    unlink(strchr(client, ':') + 1);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_cross_a_memif_in_both_directions),
    };

    return cmocka_run_group_tests_name("nic_memif", tests, start, stop);
}
