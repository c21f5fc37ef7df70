/* The EAL: started once, quietly, leaving nothing in the file system that a second process could collide
 * with.  It ends with the process: rte_eal_cleanup takes its memory from under the interrupt thread, which runs on
 * and, where it was late with what a closed port had told it, reads there (22.11).
 *
 * --no-huge and --in-memory exclude each other in 22.11 (no-huge implies the legacy memory layout), hence two
 * lines of arguments.  One lcore, floating over the CPUs that we may use: workers are our own threads, pinned
 * by whoever starts them. */
#include "drivers/nic/dpdk/internal.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_alarm.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>

#define ARGS_MAX   24
#define MEMORY_MB  64
#define LCORES_CAP 2048
#define NUMBER_CAP 16
#define PREFIX_CAP 32

#define SETTLE_LOOK_US 200
#define SETTLE_TRIES   100000

struct eal_args {
    char *argv[ARGS_MAX];
    int argc;
    char memory[NUMBER_CAP];
    char prefix[PREFIX_CAP];
    char lcores[LCORES_CAP];
};

static void arg_add(struct eal_args *a, const char *text)
{
    if (a->argc + 1 < ARGS_MAX)
        a->argv[a->argc++] = (char *)(uintptr_t)text;
}

/* "0@(0,2,3)": the only lcore, over every CPU of our affinity mask.  Without it the EAL would pin the main
 * thread, and every thread started from it, to one CPU. */
static void lcores_print(char *out, size_t cap)
{
    cpu_set_t set;
    size_t len = 0;
    const char *separator = "0@(";

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        CPU_SET(0, &set);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && len + NUMBER_CAP < cap; cpu++) {
        if (!CPU_ISSET(cpu, &set))
            continue;
        len += (size_t)snprintf(out + len, cap - len, "%s%zu", separator, cpu);
        separator = ",";
    }
    snprintf(out + len, cap - len, ")");
}

static void args_fill(struct eal_args *a, const struct nic_dpdk_config *c, const struct spec *s)
{
    memset(a, 0, sizeof *a);
    snprintf(a->memory, sizeof a->memory, "%u", c->memory_mb == 0 ? MEMORY_MB : c->memory_mb);
    snprintf(a->prefix, sizeof a->prefix, "wirewrap-%ld", (long)getpid());
    lcores_print(a->lcores, sizeof a->lcores);
    arg_add(a, "wirewrap");
    arg_add(a, "--lcores");
    arg_add(a, a->lcores);
    arg_add(a, "-m");
    arg_add(a, a->memory);
    arg_add(a, "--file-prefix");
    arg_add(a, a->prefix);
    arg_add(a, "--no-telemetry");
    arg_add(a, "--iova-mode=va");
    arg_add(a, "--log-level=*:error");
    /* it reports each flow feature that the kernel lacks as an error; we use none of them */
    arg_add(a, "--log-level=pmd.net.tap:critical");
    if (c->hugepages) {
        arg_add(a, "--in-memory");
        arg_add(a, "--single-file-segments"); /* vhost-user passes 8 memory regions at most */
    } else {
        arg_add(a, "--no-huge");
        arg_add(a, "--no-shconf");
    }
    if (s->kind == SPEC_PCI) {
        arg_add(a, "-a");
        arg_add(a, s->target);
    } else {
        arg_add(a, "--no-pci");
    }
}

bool nic_dpdk_start(const struct nic_dpdk_config *c, char *err, size_t err_cap)
{
    struct signal_hold hold;
    struct eal_args a;
    struct spec s;

    if (!spec_parse(c->device, &s)) {
        snprintf(err, err_cap,
                 "device \"%s\" is none of tap:, virtio-user:, af_packet:, memif:, pci:", c->device);
        return false;
    }
    args_fill(&a, c, &s);
    (void)signal(SIGPIPE, SIG_IGN); /* the vhost-user driver writes to a socket whose peer may have died */
    /* The EAL's own threads inherit the blocked mask, for good. */
    signals_hold(&hold);
    int rc = rte_eal_init(a.argc, a.argv);
    signals_release(&hold);
    if (rc < 0) {
        snprintf(err, err_cap, "DPDK does not start: %s (memory %s MB, %s)", rte_strerror(rte_errno),
                 a.memory, c->hugepages ? "hugepages" : "ordinary pages");
        return false;
    }
    /* Nothing is kept there without shared configuration and telemetry; left behind, there would be one for
     * each restart. */
    (void)rmdir(rte_eal_get_runtime_dir());
    return true;
}

bool nic_dpdk_thread_begin(void)
{
    return rte_thread_register() == 0;
}

void nic_dpdk_thread_end(void)
{
    rte_thread_unregister();
}

static void note_turn(void *done)
{
    atomic_store((atomic_bool *)done, true);
}

/* An alarm goes off in that thread, among whatever else is ready then: when the second one has gone off, all that was ready before the
 * first is over, and when the third one has, what that left for the next turn. */
void interrupts_settle(void)
{
    for (int turn = 0; turn < 3; turn++) {
        atomic_bool done = false;

        if (rte_eal_alarm_set(1, note_turn, &done) != 0)
            return;
        for (int i = 0; i < SETTLE_TRIES && !atomic_load(&done); i++)
            usleep(SETTLE_LOOK_US);
        (void)rte_eal_alarm_cancel(note_turn, &done); /* waits for one that has begun */
    }
}

void signals_hold(struct signal_hold *h)
{
    sigset_t realtime;

    sigemptyset(&realtime);
    for (int s = SIGRTMIN; s <= SIGRTMAX; s++)
        sigaddset(&realtime, s);
    pthread_sigmask(SIG_BLOCK, &realtime, &h->before);
}

void signals_release(const struct signal_hold *h)
{
    pthread_sigmask(SIG_SETMASK, &h->before, NULL);
}

/* A real-time signal that has a handler now was taken by a driver (we install none).  Ignored, it is
 * discarded where it is raised, together with those already pending: no interrupted system calls, and the
 * driver, which never sees one, reads its descriptor at every poll.  Blocking it instead would fill the queue
 * of pending signals until the kernel falls back to SIGIO, which kills. */
void signals_refuse_new(void)
{
    for (int s = SIGRTMIN; s <= SIGRTMAX; s++) {
        struct sigaction sa;
        if (sigaction(s, NULL, &sa) != 0 || sa.sa_handler == SIG_DFL || sa.sa_handler == SIG_IGN)
            continue;
        sa.sa_handler = SIG_IGN;
        sigaction(s, &sa, NULL);
    }
}
