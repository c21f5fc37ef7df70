/* ww-dataplane: reads its configuration, opens the device, starts its worker, and then keeps house: ctl on the main thread,
 * the worker on its own.  Nothing is opened after the start but the ctl socket and, by the
 * housekeeper, the files of the warm snapshot. */
#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "dataplane/ctl.h"
#include "dataplane/worker.h"
#include "drivers/nic/dpdk/dpdk.h"
#include "proto/config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define CONFIG_FILE_MAX  (256 * 1024)
#define DRAIN_US         2000000ULL
#define IDLE_SPIN_US     200 /* how long a worker polls in vain before it sleeps */
#define IDLE_SLEEP_US    100 /* and for how long at most: the latency a first packet may find */
#define HOUSE_POLL_MS    10
#define CUT_OFF_CHECK_US 1000000ULL

enum { EXIT_REFUSED = 1, EXIT_USAGE = 2 };

enum idle_policy { IDLE_SPIN, IDLE_PAUSE, IDLE_SLEEP };

struct dataplane {
    struct config config;
    struct nic *nic;
    struct keys *keys;
    struct ekm_auth *auth;
    struct audit_ring *audit;
    int audit_fd;
    uint8_t boot_id[16];
    enum idle_policy idle;
    struct worker_config worker_config;
    uint8_t *ticket_secret; /* workers copy it */
    struct worker *worker;
    pthread_t thread;
    _Atomic int worker_state; /* 0 starting, 1 running, 2 failed, 3 ended */
    _Atomic bool house_closed;
    struct counters house; /* the housekeeper's own */
    struct warm *warm;     /* NULL: no warm start */
    bool conflict_told;
    uint64_t next_cut_off_check_us;
    bool cut_off;
};

static _Atomic bool stopping;

static void on_stop(int sig)
{
    (void)sig;
    atomic_store(&stopping, true);
}

/* ---- clocks ---- */

static uint64_t clock_now_ns(clockid_t id)
{
    struct timespec ts;

    CHECK(clock_gettime(id, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static uint64_t mono_us(void)
{
    return clock_now_ns(CLOCK_MONOTONIC) / 1000;
}

static uint64_t mono_ns(void *arg)
{
    (void)arg;
    return clock_now_ns(CLOCK_MONOTONIC);
}

static struct worker_time time_at(uint64_t mono)
{
    return (struct worker_time){mono / 1000, clock_now_ns(CLOCK_REALTIME) / 1000};
}

/* ---- configuration ---- */

static bool load_config(const char *path, struct config *out)
{
    static uint8_t text[CONFIG_FILE_MAX];
    struct config_error err;
    FILE *f = fopen(path, "rb");

    if (f == NULL) {
        fprintf(stderr, "ww-dataplane: cannot read %s: %s\n", path, strerror(errno));
        return false;
    }
    size_t len = fread(text, 1, sizeof text, f);
    fclose(f);
    if (len == sizeof text) {
        fprintf(stderr, "ww-dataplane: %s is larger than %d bytes\n", path, CONFIG_FILE_MAX);
        return false;
    }
    if (!config_parse(span_of(text, len), out, &err)) {
        fprintf(stderr, "ww-dataplane: %s:%u: %s\n", path, err.line, err.text);
        return false;
    }
    return true;
}

static bool fill_route(const struct config_route *in, struct net_route *out)
{
    out->on_link = in->via[0] == 0;
    return net_prefix_parse(span_str(in->dst), &out->dst) &&
           (out->on_link || net_addr_parse(span_str(in->via), &out->gateway));
}

/* Texts of the configuration become addresses; what the device agreed to becomes offload flags. */
static const char *fill_net(const struct config *c, const struct nic_info *info, struct net_config *out)
{
    net_config_defaults(out);
    memcpy(out->mac, info->mac, sizeof out->mac);
    out->mtu = info->mtu;
    out->vlan_id = c->nic.vlan;
    out->tx_ip4_csum = info->tx_ip4_csum;
    out->tx_tcp_csum = info->tx_tcp_csum;
    out->conns_max = c->net.connections_max;
    out->keepalive_idle_ms = c->net.keepalive_idle_s * 1000;
    out->keepalive_interval_ms = c->net.keepalive_interval_s * 1000;
    out->keepalive_probes = (uint8_t)c->net.keepalive_probes;
    out->idle_close_ms = c->net.idle_close_s * 1000;
    out->msl_ms = c->net.msl_s * 1000;
    out->port_count = 1;
    out->ports[0] = c->net.port;
    for (uint16_t i = 0; i < c->net.address_count; i++) {
        if (!net_prefix_parse(span_str(c->net.addresses[i]), &out->addrs[i]))
            return "net.addresses: not an address with its prefix length, like 192.0.2.2/24";
    }
    out->addr_count = c->net.address_count;
    for (uint16_t i = 0; i < c->net.route_count; i++) {
        if (!fill_route(&c->net.routes[i], &out->routes[i]))
            return "net.routes: dst is not a prefix, or via is not an address";
    }
    out->route_count = c->net.route_count;
    CHECK(getrandom(out->seed, sizeof out->seed, 0) == (ssize_t)sizeof out->seed);
    return net_config_error(out);
}

static enum idle_policy idle_policy_of(const char *name)
{
    if (strcmp(name, "spin") == 0)
        return IDLE_SPIN;
    return strcmp(name, "pause") == 0 ? IDLE_PAUSE : IDLE_SLEEP;
}

/* ---- the worker's thread ---- */

static void pin(const struct dataplane *d)
{
    cpu_set_t set;

    if (d->config.dataplane.core_count == 0)
        return;
    CPU_ZERO(&set);
    CPU_SET(d->config.dataplane.cores[0], &set);
    int rc = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    if (rc != 0)
        log_warn("worker is not pinned", F("core", d->config.dataplane.cores[0]), F("why", strerror(rc)));
}

/* Until a frame comes, where the device can say so; else for a moment. */
static void sleep_a_little(struct dataplane *d)
{
    uint64_t now = mono_us(), next = worker_next_timer(d->worker);
    uint64_t us = next <= now ? 0 : next - now;

    worker_sleeps(d->worker);
    nic_wait(d->nic, 0, us < IDLE_SLEEP_US ? us : IDLE_SLEEP_US);
    worker_wakes(d->worker);
}

static void count_busy(struct dataplane *d, uint64_t ns)
{
    count_by(&d->audit->counters, REASON_WORKER_BUSY_NS, ns);
    count(&d->audit->counters, REASON_WORKER_BUSY_TURNS);
}

static void run_worker(struct dataplane *d)
{
    uint64_t busy_until = 0, drain_until = 0, began_ns = 0;
    bool busy = false;

    while (drain_until == 0 || (!worker_drained(d->worker) && mono_us() < drain_until)) {
        uint64_t now_ns = clock_now_ns(CLOCK_MONOTONIC);
        struct worker_time now = time_at(now_ns);

        if (busy)
            count_busy(d, now_ns - began_ns);
        began_ns = now_ns;
        busy = worker_turn(d->worker, now);
        if (busy)
            busy_until = now.now_us + IDLE_SPIN_US;
        else if (d->idle == IDLE_SLEEP && now.now_us > busy_until)
            sleep_a_little(d);
        else if (d->idle != IDLE_SPIN)
            __builtin_ia32_pause();
        if (drain_until == 0 && atomic_load_explicit(&stopping, memory_order_relaxed)) {
            worker_drain(d->worker, now.now_us);
            drain_until = now.now_us + DRAIN_US;
        }
    }
}

static void *worker_main(void *arg)
{
    struct dataplane *d = arg;

    if (!nic_dpdk_thread_begin()) {
        atomic_store(&d->worker_state, 2);
        return NULL;
    }
    pin(d);
    (void)pthread_setname_np(pthread_self(), "ww-worker-0");
    d->worker = worker_new(&d->worker_config, mono_us());
    atomic_store(&d->worker_state, d->worker != NULL ? 1 : 2);
    if (d->worker != NULL) {
        run_worker(d);
        worker_sleeps(d->worker);
        atomic_store(&d->worker_state, 3);
        /* The housekeeper publishes into this worker's TLS until it has seen that. */
        while (!atomic_load(&d->house_closed))
            usleep(1000);
        worker_wakes(d->worker);
        worker_free(d->worker);
    }
    nic_dpdk_thread_end();
    return NULL;
}

/* Signals are the main thread's. */
static bool start_worker(struct dataplane *d)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int rc = pthread_create(&d->thread, NULL, worker_main, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return false;
    while (atomic_load(&d->worker_state) == 0)
        usleep(1000);
    return atomic_load(&d->worker_state) == 1;
}

/* ---- keeping house ---- */

static void wait_for_ctl(const struct ctl *c, bool worked)
{
    struct pollfd p = {.fd = ctl_fd(c), .events = POLLIN};

    if (worked)
        return;
    if (ctl_settling(c))
        usleep(50);
    else
        (void)poll(&p, 1, HOUSE_POLL_MS);
}

/* A virtio-user port cannot find its way back to a peer that was started anew: the supervisor starts us anew, too. */
static void stop_if_cut_off(struct dataplane *d)
{
    if (mono_us() < d->next_cut_off_check_us)
        return;
    d->next_cut_off_check_us = mono_us() + CUT_OFF_CHECK_US;
    if (nic_dpdk_is_cut_off(d->nic)) {
        log_error("the other end of the device has gone; ending, to be started again");
        d->cut_off = true;
        atomic_store(&stopping, true);
    }
}

/* Once: what it means does not change, and how often it happens is counted. */
static void tell_of_conflict(struct dataplane *d)
{
    const struct counters *c = &d->audit->counters;

    if (d->conflict_told || counter_read(c, REASON_ARP_CONFLICT) + counter_read(c, REASON_NDP_CONFLICT) == 0)
        return;
    log_warn("another machine on the link claims an address of ours; we serve on, clients may reach either");
    d->conflict_told = true;
}

static uint64_t unix_s(void)
{
    return clock_now_ns(CLOCK_REALTIME) / 1000000000ULL;
}

/* Whatever is wrong with it: the dataplane starts, and then needs ctrl. */
static void open_warm(struct dataplane *d)
{
    struct warm_config wc = {.dir = d->config.dataplane.warm_dir,
                             .max_age_s = d->config.dataplane.warm_max_age_s,
                             .counters = &d->house,
                             .unix_s = unix_s};
    const char *name = d->config.dataplane.warm_key;
    struct warm_problem why;
    uint8_t *key;

    if (name[0] == '\0') {
        log_warn("no warm start: a start will need ww-ctrl (dataplane.warm_key is not set)");
        return;
    }
    key = secret_pages_alloc(WARM_KEY_LEN);
    CHECK(key != NULL);
    if (warm_key_read(name, wc.dir, key, &why))
        d->warm = warm_new(&wc, key, &why);
    secret_pages_free(key, WARM_KEY_LEN);
    if (d->warm == NULL)
        log_error("no warm start: a start will need ww-ctrl", F("code", why.code), F("why", why.text),
                  F("next", why.next));
}

static void tell_status(const struct dataplane *d, const struct ctl *ctl)
{
    struct warm_facts f = {
        .source = ctl_source(ctl), .epoch = keys_epoch(d->keys), .attached = ctl_attached(ctl)};
    struct keys_gauges g;

    if (d->warm == NULL)
        return;
    keys_gauges(d->keys, &g);
    f.keys = g.keys;
    f.versions = g.versions;
    warm_tell(d->warm, &f);
}

static void keep_house(struct dataplane *d)
{
    struct ctl_config cc = {
        .socket_path = d->config.ctrl.ctl_socket,
        .keys = d->keys,
        .auth = d->auth,
        .worker_count = 1,
        .tls = {worker_tls(d->worker)},
        .audit_fd = {d->audit_fd},
        .counters = &d->house,
        .warm = d->warm,
    };
    bool serving = false;

    memcpy(cc.boot_id, d->boot_id, sizeof cc.boot_id);
    struct ctl *ctl = ctl_new(&cc);
    CHECK(ctl != NULL);
    while (atomic_load(&d->worker_state) == 1) {
        bool worked = ctl_step(ctl, mono_us());

        if (!serving && keys_epoch(d->keys) != 0 && !ctl_settling(ctl)) {
            struct keys_gauges g;
            keys_gauges(d->keys, &g);
            log_info("serving", F("from", ctl_source(ctl)), F("epoch", keys_epoch(d->keys)),
                     F("keys", g.keys), F("versions", g.versions));
            serving = true;
        }
        tell_status(d, ctl);
        wait_for_ctl(ctl, worked);
        stop_if_cut_off(d);
        tell_of_conflict(d);
    }
    ctl_free(ctl);
    warm_free(d->warm);
    tls_thread_end(worker_tls(d->worker));
    atomic_store(&d->house_closed, true);
}

/* ---- start and stop ---- */

static bool open_device(struct dataplane *d)
{
    const struct config *c = &d->config;
    char err[256];
    struct nic_dpdk_config start = {c->nic.hugepages, c->nic.memory_mb, c->nic.device};
    struct nic_dpdk_port port = {
        .device = c->nic.device,
        .mac = c->nic.mac,
        .mtu = c->nic.mtu,
        .queue_count = 1,
        .counters = {&d->audit->counters},
    };

    if (!nic_dpdk_start(&start, err, sizeof err) ||
        (d->nic = nic_dpdk_open(&port, err, sizeof err)) == NULL) {
        log_error("device cannot be used", F("device", c->nic.device), F("why", err));
        return false;
    }
    return true;
}

static bool make_tables(struct dataplane *d)
{
    struct keys_config kc = {.keys_max = d->config.dataplane.keys_max,
                             .versions_max = d->config.dataplane.versions_max};

    CHECK(getrandom(d->boot_id, sizeof d->boot_id, 0) == (ssize_t)sizeof d->boot_id);
    d->audit = audit_ring_create(d->config.dataplane.audit_records, 0, d->boot_id, &d->audit_fd);
    d->keys = keys_new(&kc);
    d->auth = ekm_auth_new();
    if (d->audit == NULL || d->keys == NULL || d->auth == NULL) {
        log_error(
            "no memory for the key tables or the audit ring; locked memory may be limited (LimitMEMLOCK=)",
            F("keys_max", kc.keys_max), F("versions_max", kc.versions_max));
        return false;
    }
    return true;
}

static bool start(struct dataplane *d)
{
    struct worker_config *w = &d->worker_config;

    if (!make_tables(d) || !open_device(d))
        return false;
    worker_config_defaults(w);
    d->ticket_secret = secret_pages_alloc(TLS_TICKET_SECRET_LEN);
    if (d->ticket_secret == NULL) {
        log_error("no locked memory for the secret of session tickets (LimitMEMLOCK=)");
        return false;
    }
    CHECK(getrandom(d->ticket_secret, TLS_TICKET_SECRET_LEN, 0) == TLS_TICKET_SECRET_LEN);
    w->ticket_secret = d->ticket_secret;
    const char *wrong = fill_net(&d->config, &d->nic->info, &w->net);
    if (wrong != NULL) {
        log_error("configuration refused", F("why", wrong));
        return false;
    }
    w->nic = d->nic;
    w->keys = d->keys;
    w->auth = d->auth;
    w->audit = d->audit;
    w->clock_ns = mono_ns;
    d->idle = idle_policy_of(d->config.dataplane.idle);
    return start_worker(d);
}

static void stop(struct dataplane *d)
{
    pthread_join(d->thread, NULL);
    nic_stop(d->nic);
    nic_dpdk_finish();
    ekm_auth_free(d->auth);
    keys_free(d->keys);
    secret_pages_free(d->ticket_secret, TLS_TICKET_SECRET_LEN);
    audit_ring_unmap(d->audit);
    close(d->audit_fd);
    log_info("stopped");
}

static int usage(void)
{
    fprintf(
        stderr,
        "usage: ww-dataplane --config FILE\n"
        "  The device, addresses and sizes come from FILE (docs/wirewrap.yaml.example); keys, policies and\n"
        "  certificates come from ww-ctrl over its ctl socket.\n");
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    static struct dataplane d;
    struct sigaction sa = {.sa_handler = on_stop};

    secret_process_harden();
    if (!secret_process_lock())
        log_warn(
            "memory is not locked and may be swapped: raise RLIMIT_MEMLOCK (systemd: LimitMEMLOCK=infinity)");
    if (argc != 3 || strcmp(argv[1], "--config") != 0)
        return usage();
    if (!load_config(argv[2], &d.config))
        return EXIT_USAGE;
    if (d.config.dataplane.workers != 1) {
        fprintf(
            stderr,
            "ww-dataplane: dataplane.workers is %u, but more than one worker needs flow steering, which this "
            "version does not have: set it to 1\n",
            d.config.dataplane.workers);
        return EXIT_USAGE;
    }
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (!start(&d))
        return EXIT_REFUSED;
    open_warm(&d);
    keep_house(&d);
    stop(&d);
    return d.cut_off ? EXIT_REFUSED : 0;
}
