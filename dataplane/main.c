/* ww-dataplane: reads its configuration, opens the device, starts its workers, and then keeps house: ctl on the main thread,
 * each worker on its own.  Nothing is opened after the start but the ctl socket and, by the housekeeper, the files of the
 * warm snapshot; nothing is started but, once, ww-seal for the warm key. */
#include "base/check.h"
#include "base/forbid.h"
#include "base/log.h"
#include "base/secret.h"
#include "dataplane/ctl.h"
#include "dataplane/net/net.h"
#include "dataplane/warm_key.h"
#include "dataplane/worker.h"
#include "drivers/nic/dpdk/dpdk.h"
#include "proto/config.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
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
#define GAUGES_EVERY_US  100000ULL
#define WARM_KEY_MS      20000 /* of a TPM that is slow, or hangs: ctrl is not kept waiting meanwhile */
#define BUFFERS_MIN      1024  /* of TCP, each way */
#define RECV_BUFFERS     4096  /* up to so many connections have one each ... */
#define SEND_BUFFERS     16384 /* ... and of these, which are held longer */

enum { EXIT_REFUSED = 1, EXIT_USAGE = 2 };

enum idle_policy { IDLE_SPIN, IDLE_PAUSE, IDLE_SLEEP };

enum core_state { CORE_STARTING, CORE_RUNNING, CORE_FAILED, CORE_ENDED };

/* One worker, its thread and what it alone writes to. */
struct core {
    struct dataplane *d;
    uint16_t number; /* of the worker, and of its queue */
    struct audit_ring *audit;
    int audit_fd;
    struct worker_config config;
    struct worker *worker;
    pthread_t thread;
    _Atomic int state; /* enum core_state */
    _Atomic bool drained;
};

struct dataplane {
    struct config config;
    struct nic *nic;
    struct keys *keys;
    struct ekm_auth *auth;
    uint8_t boot_id[16];
    enum idle_policy idle;
    uint8_t *ticket_secret; /* workers copy it */
    struct warm *warm;      /* NULL: no warm start */
    struct warm_key *warm_key;
    char device_program[PATH_MAX];
    uint8_t steering_key[STEERING_KEY_LEN];
    struct arena *steering_arena; /* NULL: one worker */
    struct steering *steering;
    uint16_t core_count;
    struct core cores[WORKERS_MAX];
    _Atomic bool house_closed;
    bool conflict_told, hash_told, csum_told;
    uint64_t next_cut_off_check_us, next_gauges_us;
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

static void random_fill(uint8_t *out, size_t len)
{
    CHECK(getrandom(out, len, 0) == (ssize_t)len);
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

/* A receive buffer is held while bytes are unread; a reply holds its send buffer until the peer has acknowledged it, which a busy peer
 * does with its next request.  So many at once must not look like pressure (net/tcp_pressure.c).  What was never needed is address
 * space and no memory. */
static uint32_t buffers_for(uint32_t connections, uint32_t full)
{
    uint32_t share = connections / 4;

    if (connections < full)
        return connections < BUFFERS_MIN ? BUFFERS_MIN : connections;
    return share < full ? full : share;
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
    out->recv_buffers_max = buffers_for(c->net.connections_max, RECV_BUFFERS);
    out->send_buffers_max = buffers_for(c->net.connections_max, SEND_BUFFERS);
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
    random_fill(out->seed, sizeof out->seed);
    return net_config_error(out);
}

static enum idle_policy idle_policy_of(const char *name)
{
    if (strcmp(name, "spin") == 0)
        return IDLE_SPIN;
    return strcmp(name, "pause") == 0 ? IDLE_PAUSE : IDLE_SLEEP;
}

/* ---- a worker's thread ---- */

static void pin(const struct core *c)
{
    const struct config *config = &c->d->config;
    cpu_set_t set;

    if (config->dataplane.core_count == 0)
        return;
    CPU_ZERO(&set);
    CPU_SET(config->dataplane.cores[c->number], &set);
    int rc = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    if (rc != 0)
        log_warn("worker is not pinned", F("worker", c->number),
                 F("core", config->dataplane.cores[c->number]), F("why", strerror(rc)));
}

/* Until a frame comes, where the device can say so; else for a moment.  What another worker hands over waits no
 * longer than that. */
static void sleep_a_little(struct core *c)
{
    uint64_t now = mono_us(), next = worker_next_timer(c->worker);
    uint64_t us = next <= now ? 0 : next - now;

    worker_sleeps(c->worker);
    nic_wait(c->d->nic, c->number, us < IDLE_SLEEP_US ? us : IDLE_SLEEP_US);
    worker_wakes(c->worker);
}

/* Each goes on until all have drained: it may receive what is another's. */
static bool all_drained(struct core *c)
{
    atomic_store(&c->drained, worker_drained(c->worker));
    for (uint16_t i = 0; i < c->d->core_count; i++)
        if (!atomic_load(&c->d->cores[i].drained))
            return false;
    return true;
}

static void count_busy(struct core *c, uint64_t ns)
{
    count_by(&c->audit->counters, REASON_WORKER_BUSY_NS, ns);
    count(&c->audit->counters, REASON_WORKER_BUSY_TURNS);
}

static void run_worker(struct core *c)
{
    uint64_t busy_until = 0, drain_until = 0, began_ns = 0;
    bool worked = false;

    while (drain_until == 0 || (!all_drained(c) && mono_us() < drain_until)) {
        uint64_t now_ns = clock_now_ns(CLOCK_MONOTONIC);
        struct worker_time now = time_at(now_ns);

        if (worked)
            count_busy(c, now_ns - began_ns);
        began_ns = now_ns;
        bool busy = worker_turn(c->worker, now);
        worked = worker_worked(c->worker);
        if (busy)
            busy_until = now.now_us + IDLE_SPIN_US;
        else if (c->d->idle == IDLE_SLEEP && now.now_us > busy_until)
            sleep_a_little(c);
        else if (c->d->idle != IDLE_SPIN)
            __builtin_ia32_pause();
        if (drain_until == 0 && atomic_load_explicit(&stopping, memory_order_relaxed)) {
            worker_drain(c->worker, now.now_us);
            drain_until = now.now_us + DRAIN_US;
        }
    }
}

static void *worker_main(void *arg)
{
    struct core *c = arg;
    char name[16];

    if (!nic_dpdk_thread_begin()) {
        atomic_store(&c->state, CORE_FAILED);
        return NULL;
    }
    pin(c);
    snprintf(name, sizeof name, "ww-worker-%u", c->number);
    (void)pthread_setname_np(pthread_self(), name);
    c->worker = worker_new(&c->config, mono_us());
    atomic_store(&c->state, c->worker != NULL ? CORE_RUNNING : CORE_FAILED);
    if (c->worker != NULL) {
        run_worker(c);
        worker_sleeps(c->worker);
        atomic_store(&c->state, CORE_ENDED);
        /* The housekeeper publishes into this worker's TLS until it has seen that. */
        while (!atomic_load(&c->d->house_closed))
            usleep(1000);
        worker_wakes(c->worker);
        worker_free(c->worker);
    }
    nic_dpdk_thread_end();
    return NULL;
}

/* Signals are the main thread's. */
static bool start_worker(struct core *c)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int rc = pthread_create(&c->thread, NULL, worker_main, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return false;
    while (atomic_load(&c->state) == CORE_STARTING)
        usleep(1000);
    return atomic_load(&c->state) == CORE_RUNNING;
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

static struct counters *house_of(struct dataplane *d)
{
    return &d->cores[0].audit->house;
}

static uint64_t unix_s(void)
{
    return clock_now_ns(CLOCK_REALTIME) / 1000000000ULL;
}

/* ww-seal: as configured, or beside this program. */
static void find_device_program(struct dataplane *d)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    self[len < 0 ? 0 : len] = '\0';
    if (d->config.seal.device_program[0] != '\0')
        snprintf(d->device_program, sizeof d->device_program, "%s", d->config.seal.device_program);
    else
        snprintf(d->device_program, sizeof d->device_program, "%.*s/ww-seal", PATH_MAX - 16, dirname(self));
}

/* Whatever is wrong with it: the dataplane starts, and then needs ctrl. */
static void open_warm(struct dataplane *d)
{
    struct warm_config wc = {.dir = d->config.dataplane.warm_dir,
                             .max_age_s = d->config.dataplane.warm_max_age_s,
                             .counters = house_of(d),
                             .unix_s = unix_s};
    struct warm_problem why;

    if (d->config.dataplane.warm_key[0] == '\0') {
        log_warn("no warm start: a start will need ww-ctrl (dataplane.warm_key is not set)");
        warm_forget(wc.dir);
        return;
    }
    d->warm = warm_new(&wc, NULL, &why);
    if (d->warm == NULL) {
        log_error("no warm start: a start will need ww-ctrl", F("code", why.code), F("why", why.text),
                  F("next", why.next));
        return;
    }
    find_device_program(d);
    struct warm_key_source source = {d->config.dataplane.warm_key, wc.dir, {d->device_program, WARM_KEY_MS}};
    d->warm_key = warm_key_begin(&source);
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

static uint64_t counted(const struct dataplane *d, enum reason why)
{
    uint64_t all = 0;

    for (uint16_t i = 0; i < d->core_count; i++)
        all += counter_read(&d->cores[i].audit->counters, why);
    return all;
}

/* Once each: what it means does not change, and how often it happens is counted. */
static void tell_once(bool *told, bool now, const char *what)
{
    if (*told || !now)
        return;
    log_warn(what);
    *told = true;
}

static void tell_of_trouble(struct dataplane *d)
{
    tell_once(&d->conflict_told, counted(d, REASON_ARP_CONFLICT) + counted(d, REASON_NDP_CONFLICT) != 0,
              "another machine on the link claims an address of ours; we serve on, clients may reach either");
    tell_once(&d->hash_told, counted(d, REASON_STEER_HASH_WRONG) != 0,
              "the device's flow hash is not the one agreed; flows are steered in software");
    tell_once(&d->csum_told, counted(d, REASON_NIC_CSUM_WRONG) != 0,
              "the device calls wrong checksums right; they are checked in software");
}

static void show_gauges(struct dataplane *d, const struct ctl *ctl)
{
    struct counters *house = house_of(d);
    struct keys_gauges k;
    struct nic_dpdk_losses l;

    if (mono_us() < d->next_gauges_us)
        return;
    d->next_gauges_us = mono_us() + GAUGES_EVERY_US;
    keys_gauges(d->keys, &k);
    nic_dpdk_losses(d->nic, &l);
    gauge_set(house, GAUGE_KEYS_EPOCH, keys_epoch(d->keys));
    gauge_set(house, GAUGE_KEYS, k.keys);
    gauge_set(house, GAUGE_KEY_VERSIONS, k.versions);
    gauge_set(house, GAUGE_KEY_MEMORY_BYTES, k.memory_bytes);
    gauge_set(house, GAUGE_CTL_ATTACHED, ctl_attached(ctl));
    gauge_set(house, GAUGE_CTL_SETTLING, ctl_settling(ctl));
    gauge_set(house, GAUGE_NIC_RX_MISSED, l.rx_missed);
    gauge_set(house, GAUGE_NIC_RX_NO_BUFFER, l.rx_no_buffer);
    gauge_set(house, GAUGE_NIC_RX_ERRORS, l.rx_errors);
    gauge_set(house, GAUGE_NIC_TX_ERRORS, l.tx_errors);
}

static bool any_running(const struct dataplane *d)
{
    for (uint16_t i = 0; i < d->core_count; i++)
        if (atomic_load(&d->cores[i].state) == CORE_RUNNING)
            return true;
    return false;
}

static struct ctl *open_ctl(struct dataplane *d)
{
    struct ctl_config cc = {
        .socket_path = d->config.ctrl.ctl_socket,
        .keys = d->keys,
        .auth = d->auth,
        .worker_count = d->core_count,
        .counters = house_of(d),
        .warm = d->warm,
    };

    for (uint16_t i = 0; i < d->core_count; i++) {
        cc.tls[i] = worker_tls(d->cores[i].worker);
        cc.audit_fd[i] = d->cores[i].audit_fd;
    }
    memcpy(cc.boot_id, d->boot_id, sizeof cc.boot_id);
    struct ctl *ctl = ctl_new(&cc);
    CHECK(ctl != NULL);
    return ctl;
}

static bool tell_of_serving(const struct dataplane *d, const struct ctl *ctl)
{
    struct keys_gauges g;

    if (keys_epoch(d->keys) == 0 || ctl_settling(ctl))
        return false;
    keys_gauges(d->keys, &g);
    log_info("serving", F("from", ctl_source(ctl)), F("epoch", keys_epoch(d->keys)), F("keys", g.keys),
             F("versions", g.versions), F("workers", d->core_count));
    return true;
}

/* Once ww-seal has been here, nothing is started any more. */
static bool close_doors(struct dataplane *d)
{
    if (d->warm_key != NULL && !warm_key_hand_over(d->warm_key, d->warm))
        return false;
    if (!forbid_calls(true))
        log_warn("system calls that nobody needs are not forbidden", F("errno", errno));
    return true;
}

static void keep_house(struct dataplane *d)
{
    struct ctl *ctl = open_ctl(d);
    bool serving = false, closed = false;

    while (any_running(d)) {
        closed = closed || close_doors(d);
        bool worked = ctl_step(ctl, mono_us());

        serving = serving || tell_of_serving(d, ctl);
        tell_status(d, ctl);
        wait_for_ctl(ctl, worked);
        stop_if_cut_off(d);
        tell_of_trouble(d);
        show_gauges(d, ctl);
    }
    ctl_free(ctl);
    warm_key_end(d->warm_key);
    warm_free(d->warm);
    for (uint16_t i = 0; i < d->core_count; i++)
        tls_thread_end(worker_tls(d->cores[i].worker));
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
        .queue_count = d->core_count,
        .rss_key = d->steering_key,
    };

    for (uint16_t i = 0; i < d->core_count; i++)
        port.counters[i] = &d->cores[i].audit->counters;

    if (!nic_dpdk_start(&start, err, sizeof err) ||
        (d->nic = nic_dpdk_open(&port, err, sizeof err)) == NULL) {
        log_error("device cannot be used", F("device", c->nic.device), F("why", err));
        return false;
    }
    return true;
}

static bool make_rings(struct dataplane *d)
{
    random_fill(d->boot_id, sizeof d->boot_id);
    for (uint16_t i = 0; i < d->core_count; i++) {
        struct core *c = &d->cores[i];
        c->d = d;
        c->number = i;
        c->audit = audit_ring_create(d->config.dataplane.audit_records, i, d->boot_id, &c->audit_fd);
        if (c->audit == NULL)
            return false;
    }
    return true;
}

static bool make_tables(struct dataplane *d)
{
    struct keys_config kc = {.keys_max = d->config.dataplane.keys_max,
                             .versions_max = d->config.dataplane.versions_max};

    d->keys = keys_new(&kc);
    d->auth = ekm_auth_new();
    if (!make_rings(d) || d->keys == NULL || d->auth == NULL) {
        log_error(
            "no memory for the key tables or the audit ring; locked memory may be limited (LimitMEMLOCK=)",
            F("keys_max", kc.keys_max), F("versions_max", kc.versions_max));
        return false;
    }
    return true;
}

/* One worker needs none: all it receives is its own. */
static bool make_steering(struct dataplane *d)
{
    struct steering_config sc = {
        .workers = d->core_count, .mtu = d->nic->info.mtu, .table_len = d->nic->info.rss_table_len};

    if (d->core_count == 1)
        return true;
    memcpy(sc.key, d->steering_key, sizeof sc.key);
    d->steering_arena = arena_new(steering_memory_needed(&sc), false);
    if (d->steering_arena == NULL) {
        log_error("no memory for the lanes between workers", F("bytes", steering_memory_needed(&sc)));
        return false;
    }
    d->steering = steering_new(&sc, d->steering_arena);
    return true;
}

/* What is refused for one worker is refused for all. */
static bool configure_worker(struct core *c)
{
    struct dataplane *d = c->d;
    struct worker_config *w = &c->config;

    worker_config_defaults(w);
    const char *wrong = fill_net(&d->config, &d->nic->info, &w->net);
    if (wrong != NULL) {
        log_error("configuration refused", F("why", wrong));
        return false;
    }
    w->net.steering = d->steering;
    w->net.worker = w->queue = c->number;
    w->nic = d->nic;
    w->keys = d->keys;
    w->auth = d->auth;
    w->audit = c->audit;
    w->ticket_secret = d->ticket_secret;
    w->engine = d->config.crypto.engine;
    w->clock_ns = mono_ns;
#ifdef WW_TEST_HOOKS
    const char *ppm = getenv("WW_MISDIRECT_PPM");
    w->misdirect_ppm = ppm == NULL ? 0 : (uint32_t)strtoul(ppm, NULL, 10);
#endif
    return true;
}

static bool make_ticket_secret(struct dataplane *d)
{
    d->ticket_secret = secret_pages_alloc(TLS_TICKET_SECRET_LEN);
    if (d->ticket_secret == NULL) {
        log_error("no locked memory for the secret of session tickets (LimitMEMLOCK=)");
        return false;
    }
    random_fill(d->ticket_secret, TLS_TICKET_SECRET_LEN);
    return true;
}

/* Refused before anything else is taken: a host without its device should learn nothing but that. */
static bool check_engine(const struct dataplane *d)
{
    const char *name = d->config.crypto.engine;
    char why[1024];

    if (name[0] == '\0' || tls_engine_check(name, why, sizeof why))
        return true;
    fprintf(stderr, "ww-dataplane: %s\n", why);
    return false;
}

static bool start(struct dataplane *d)
{
    d->core_count = d->config.dataplane.workers;
    d->idle = idle_policy_of(d->config.dataplane.idle);
    random_fill(d->steering_key, sizeof d->steering_key);
    if (!make_tables(d) || !make_ticket_secret(d) || !open_device(d) || !make_steering(d))
        return false;
    for (uint16_t i = 0; i < d->core_count; i++)
        if (!configure_worker(&d->cores[i]))
            return false;
    for (uint16_t i = 0; i < d->core_count; i++)
        if (!start_worker(&d->cores[i]))
            return false;
    return true;
}

static void stop(struct dataplane *d)
{
    for (uint16_t i = 0; i < d->core_count; i++)
        pthread_join(d->cores[i].thread, NULL);
    nic_stop(d->nic);
    ekm_auth_free(d->auth);
    keys_free(d->keys);
    secret_pages_free(d->ticket_secret, TLS_TICKET_SECRET_LEN);
    for (uint16_t i = 0; i < d->core_count; i++) {
        audit_ring_unmap(d->cores[i].audit);
        close(d->cores[i].audit_fd);
    }
    if (d->steering_arena != NULL)
        arena_free(d->steering_arena);
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
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (!check_engine(&d) || !start(&d))
        return EXIT_REFUSED;
    open_warm(&d);
    keep_house(&d);
    stop(&d);
    return d.cut_off ? EXIT_REFUSED : 0;
}
