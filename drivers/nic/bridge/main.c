/* ww-bridge --vhost SOCKET --tap IFNAME [--queues N]: carries frames between a vhost-user port and a TAP until SIGTERM,
 * queue by queue: the kernel steers a flow to the TAP queue that it last came out of, and so to the virtio queue whose
 * worker sent it.
 *
 * For development and tests: a dataplane on virtio-user gets a kernel for a neighbour.  The bridge is the
 * socket's server and takes a new dataplane whenever the last one has gone.  Frames wait for a slow side a
 * little, then are dropped and counted, as a switch does: what was sent to a dead dataplane must not reach the
 * next one seconds later. */
#include "base/log.h"
#include "drivers/nic/dpdk/dpdk.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#define TEXT_CAP   160
#define HOLD_US    20000  /* a frame waits for room this long: a dataplane's longest turn and then some */
#define NAP_US     50     /* between polls once nothing moves; the vhost side cannot wake us */
#define AWAKE_US   100000 /* after this long without a frame, sleep on the TAP ... */
#define DOZE_US    1000U  /* ... and look at the vhost side so often */
#define SPIN_TURNS 32     /* polls without a nap, so that a request and its reply do not each pay one */

/* One direction: what came in on `from` and has not gone out on `to` yet, in order. */
struct lane {
    struct nic *from, *to;
    uint16_t queue;
    struct frame held[NIC_BURST_MAX];
    uint16_t held_count;
    uint64_t held_since_us;
    uint64_t passed, dropped;
};

static volatile sig_atomic_t stopping;

static void on_stop(int sig)
{
    (void)sig;
    stopping = 1;
}

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void lane_drop(struct lane *l)
{
    for (uint16_t i = 0; i < l->held_count; i++)
        nic_frame_free(l->from, &l->held[i]);
    l->dropped += l->held_count;
    l->held_count = 0;
}

/* Both ports are DPDK's: a frame of one may be sent on the other as it is. */
static bool lane_turn(struct lane *l, uint64_t now)
{
    bool fresh = false;

    if (l->held_count == 0) {
        l->held_count = nic_rx(l->from, l->queue, l->held, NIC_BURST_MAX);
        l->held_since_us = now;
        fresh = l->held_count > 0;
    }
    if (l->held_count == 0)
        return false;
    uint16_t sent = nic_tx(l->to, l->queue, l->held, l->held_count);
    l->passed += sent;
    l->held_count = (uint16_t)(l->held_count - sent);
    memmove(l->held, l->held + sent, l->held_count * sizeof l->held[0]);
    if (l->held_count > 0 && now - l->held_since_us > HOLD_US)
        lane_drop(l);
    return fresh || sent > 0;
}

static void rest(struct nic *tap, uint16_t queue_count, unsigned int idle_turns, uint64_t idle_us)
{
    struct timespec nap = {0, NAP_US * 1000};

    if (idle_turns < SPIN_TURNS)
        return;
    if (idle_us < AWAKE_US)
        (void)nanosleep(&nap, NULL);
    else
        nic_wait(tap, 0, DOZE_US / queue_count); /* the other queues are not waited for */
}

static void bridge(struct lane *in, struct lane *out, uint16_t queue_count)
{
    unsigned int idle_turns = 0;
    uint64_t busy_us = now_us();

    while (!stopping) {
        uint64_t now = now_us();
        bool moved = false;
        for (uint16_t q = 0; q < queue_count; q++) {
            moved |= lane_turn(&in[q], now);
            moved |= lane_turn(&out[q], now);
        }
        if (moved) {
            idle_turns = 0;
            busy_us = now;
        } else {
            rest(in->from, queue_count, idle_turns++, now - busy_us);
        }
    }
    for (uint16_t q = 0; q < queue_count; q++) {
        lane_drop(&in[q]);
        lane_drop(&out[q]);
        log_info("bridge stops", F("queue", q), F("to_dataplane", in[q].passed),
                 F("to_dataplane_dropped", in[q].dropped), F("to_kernel", out[q].passed),
                 F("to_kernel_dropped", out[q].dropped));
    }
}

static struct nic *port(const char *kind, const char *target, uint16_t queue_count)
{
    char device[TEXT_CAP];
    char err[512];
    /* Frames pass through unread: a checksum left to a device would have to be completed on the way. */
    struct nic_dpdk_port p = {.device = device, .queue_count = queue_count, .no_offload = true};

    snprintf(device, sizeof device, "%s:%s", kind, target);
    struct nic *n = nic_dpdk_open(&p, err, sizeof err);
    if (n == NULL)
        log_error("bridge cannot open a port", F("device", (const char *)device),
                  F("why", (const char *)err));
    return n;
}

static bool arguments(int argc, char **argv, const char **vhost, const char **tap, uint16_t *queue_count)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--vhost") == 0)
            *vhost = argv[i + 1];
        else if (strcmp(argv[i], "--tap") == 0)
            *tap = argv[i + 1];
        else if (strcmp(argv[i], "--queues") == 0)
            *queue_count = (uint16_t)atoi(argv[i + 1]);
        else
            return false;
    }
    return argc % 2 == 1 && *vhost != NULL && *tap != NULL && *queue_count >= 1 &&
           *queue_count <= WORKERS_MAX;
}

int main(int argc, char **argv)
{
    struct nic_dpdk_config config = {.device = "loop:none"};
    struct sigaction stop = {.sa_handler = on_stop};
    const char *vhost = NULL;
    const char *tap = NULL;
    uint16_t queue_count = 1;
    static struct lane in[WORKERS_MAX], out[WORKERS_MAX];
    char err[512];

    if (!arguments(argc, argv, &vhost, &tap, &queue_count)) {
        fprintf(stderr, "usage: ww-bridge --vhost SOCKET --tap IFNAME [--queues N]\n");
        return 2;
    }
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    (void)prctl(PR_SET_TIMERSLACK, 1000UL); /* naps as short as they are meant */
    if (!nic_dpdk_start(&config, err, sizeof err)) {
        log_error("bridge cannot start", F("why", (const char *)err));
        return 1;
    }
    struct nic *t = port("tap", tap, queue_count);
    struct nic *v = t == NULL ? NULL : port("vhost", vhost, queue_count);
    if (v == NULL)
        return 1;
    for (uint16_t q = 0; q < queue_count; q++) {
        in[q] = (struct lane){.from = t, .to = v, .queue = q};
        out[q] = (struct lane){.from = v, .to = t, .queue = q};
    }
    log_info("bridge ready", F("tap", tap), F("socket", vhost));
    bridge(in, out, queue_count);
    nic_stop(v);
    nic_stop(t);
    return 0;
}
