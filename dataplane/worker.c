/* The loop.  worker_turn() is the whole dataplane on one screen; each verb is a room. */
#include "dataplane/worker.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "dataplane/conn.h"

#include <stdlib.h>

/* Budgets of one turn: no phase can starve another. */
#define REQUESTS_PER_TURN   32
#define HANDSHAKES_PER_TURN 1  /* a request that comes meanwhile waits for one step, and not for several */
#define WAITING_PER_TURN    16 /* handshakes that are asked whether the crypto engine is done */
#define TIMERS_PER_TURN     64
#define TX_PENDING_MAX      (2 * NIC_BURST_MAX)
#define GAUGES_EVERY_US     10000

struct conn_list {
    struct conn *head, *tail;
};

struct worker {
    struct nic *nic;
    uint16_t queue;
    struct counters *counters;
    struct net *net;
    struct keys_worker *keys;
    struct ekm_worker *ekm;
    struct tls_worker *tls;
    struct conn_env env;
    struct conn_list handshakes, waiting, ready;
    struct conn *all;
    uint32_t conn_count;
    struct frame tx[TX_PENDING_MAX]; /* what the device has not taken yet, in order (bug B37) */
    uint16_t tx_count;
    struct frame spare[NIC_BURST_MAX]; /* empty, for sending: taken by the burst, used from the front */
    uint16_t spare_at, spare_count;
    struct arena *arena, *secrets;
    uint64_t gauges_at_us; /* when they are shown next */
    uint64_t turn_began_us;
    bool turn_worked;
#ifdef WW_TEST_HOOKS
    uint32_t misdirect_ppm, workers;
    uint64_t misdirect_random;
#endif
};

void worker_config_defaults(struct worker_config *c)
{
    *c = (struct worker_config){
        .small_buffers = 4096,
        .large_buffers = 256,
        .handshake_ms = 5000,
        .request_idle_ms = 30000,
        .large_rate_min = 1024,
        .linger_ms = 1000,
    };
}

/* ---- queues ---- */

static struct conn_list *list_of(struct worker *w, uint8_t queue)
{
    if (queue == CONN_QUEUE_WAITING)
        return &w->waiting;
    return queue == CONN_QUEUE_HANDSHAKE ? &w->handshakes : &w->ready;
}

static void put_first(struct conn_list *l, struct conn *c)
{
    c->prev = NULL;
    c->next = l->head;
    if (l->head != NULL)
        l->head->prev = c;
    else
        l->tail = c;
    l->head = c;
}

static void put_last(struct conn_list *l, struct conn *c)
{
    c->next = NULL;
    c->prev = l->tail;
    if (l->tail != NULL)
        l->tail->next = c;
    else
        l->head = c;
    l->tail = c;
}

/* A handshake that was begun goes first: the fewer are between slices, the better. */
static void enqueue(struct worker *w, struct conn *c)
{
    if (c->queue != CONN_QUEUE_NONE)
        return;
    if (c->phase != CONN_HANDSHAKE)
        c->queue = CONN_QUEUE_READY;
    else
        c->queue = tls_waits(c->tls) ? CONN_QUEUE_WAITING : CONN_QUEUE_HANDSHAKE;
    struct conn_list *l = list_of(w, c->queue);
    if (c->queue == CONN_QUEUE_HANDSHAKE && tls_goes_on(c->tls))
        put_first(l, c);
    else
        put_last(l, c);
    conn_soon(c);
}

static void dequeue(struct worker *w, struct conn *c)
{
    if (c->queue == CONN_QUEUE_NONE)
        return;
    struct conn_list *l = list_of(w, c->queue);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        l->head = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    else
        l->tail = c->prev;
    c->queue = CONN_QUEUE_NONE;
}

static void conn_link(struct worker *w, struct conn *c)
{
    c->all_prev = NULL;
    c->all_next = w->all;
    if (w->all != NULL)
        w->all->all_prev = c;
    w->all = c;
    w->conn_count++;
}

static void conn_drop(struct worker *w, struct conn *c)
{
    dequeue(w, c);
    if (c->all_prev != NULL)
        c->all_prev->all_next = c->all_next;
    else
        w->all = c->all_next;
    if (c->all_next != NULL)
        c->all_next->all_prev = c->all_prev;
    w->conn_count--;
    conn_release(c);
}

/* ---- the phases of a turn ---- */

#ifdef WW_TEST_HOOKS
static bool is_misdirected(struct worker *w)
{
    w->misdirect_random = w->misdirect_random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (w->misdirect_random >> 33) % 1000000 < w->misdirect_ppm;
}

/* Some frames come to the next worker instead; how many are left, in front. */
static uint16_t misdirect_some(struct worker *w, struct frame *frames, uint16_t got)
{
    uint16_t left = 0;

    for (uint16_t i = 0; i < got; i++) {
        uint16_t to = (uint16_t)((w->queue + 1u) % w->workers);
        if (w->misdirect_ppm != 0 && is_misdirected(w) && net_misdirect(w->net, &frames[i], to))
            nic_frame_free(w->nic, &frames[i]);
        else
            frames[left++] = frames[i];
    }
    return left;
}
#else
static uint16_t misdirect_some(struct worker *w, struct frame *frames, uint16_t got)
{
    (void)w, (void)frames;
    return got;
}
#endif

static bool receive(struct worker *w)
{
    NOT_ZEROED struct frame frames[NIC_BURST_MAX];
    uint16_t got = nic_rx(w->nic, w->queue, frames, NIC_BURST_MAX);
    bool any = got != 0;

    if (got != 0) {
        count_by(w->counters, REASON_NIC_RX_FRAMES, got);
        got = misdirect_some(w, frames, got);
        net_input(w->net, frames, got, w->env.now_us);
        for (uint16_t i = 0; i < got; i++)
            nic_frame_free(w->nic, &frames[i]);
    }
    return net_take_handed(w->net, w->env.now_us) || any;
}

static void accept_conn(struct worker *w, struct net_conn *net)
{
    struct conn *c = w->env.draining ? NULL : conn_open(&w->env, net);

    if (c == NULL) {
        count(w->counters, REASON_CONN_NO_RECORD);
        net_abort(net, w->env.now_us);
        net_release(net, w->env.now_us);
        return;
    }
    conn_link(w, c);
    enqueue(w, c);
}

/* Turns what TCP has to say into places in a queue; nothing is served here. */
static bool note_events(struct worker *w)
{
    struct net_conn *net;
    uint32_t events;
    bool any = false;

    while ((net = net_next_event(w->net, &events)) != NULL) {
        struct conn *c = net_user(net);

        any = true;
        if (c == NULL && (events & NET_EVENT_ESTABLISHED) != 0 && (events & NET_EVENT_CLOSED) == 0) {
            accept_conn(w, net);
            c = net_user(net);
        }
        if (c == NULL) {
            if ((events & NET_EVENT_CLOSED) != 0)
                net_release(net, w->env.now_us);
            continue;
        }
        if ((events & NET_EVENT_PEER_FIN) != 0)
            c->peer_fin = true;
        if ((events & NET_EVENT_CLOSED) != 0) {
            conn_drop(w, c);
            continue;
        }
        if ((events & NET_EVENT_DEADLINE) != 0)
            conn_deadline(c);
        enqueue(w, c);
    }
    return any;
}

/* Steps at most budget connections of a queue, each once. */
static bool step(struct worker *w, struct conn_list *l, uint32_t budget)
{
    bool any = false;
    struct conn *last = l->tail;

    while (budget-- > 0 && l->head != NULL) {
        struct conn *c = l->head;
        bool was_last = c == last;
        bool again;

        dequeue(w, c);
        if (l->head != NULL)
            conn_next(l->head);
        again = conn_step(c);
        any = true;
        if (c->phase == CONN_DEAD)
            conn_drop(w, c);
        else if (again)
            enqueue(w, c);
        if (was_last)
            break;
    }
    return any;
}

/* Nothing tells when the crypto engine is done, and asking costs little.  It is no work until one of them goes on. */
static bool ask_engine(struct worker *w)
{
    uint32_t before = tls_jobs_waiting(w->tls);

    return step(w, &w->waiting, WAITING_PER_TURN) && tls_jobs_waiting(w->tls) != before;
}

static bool serve(struct worker *w)
{
    bool any = step(w, &w->ready, REQUESTS_PER_TURN);

    return (w->waiting.head != NULL && ask_engine(w)) || any;
}

/* True when the device took something. */
static bool send_pending(struct worker *w)
{
    uint16_t sent = 0;

    while (sent < w->tx_count) {
        uint16_t burst = (uint16_t)(w->tx_count - sent);
        uint16_t taken =
            nic_tx(w->nic, w->queue, w->tx + sent, burst > NIC_BURST_MAX ? NIC_BURST_MAX : burst);

        if (taken == 0)
            break;
        sent = (uint16_t)(sent + taken);
    }
    count_by(w->counters, REASON_NIC_TX_FRAMES, sent);
    w->tx_count = (uint16_t)(w->tx_count - sent);
    if (w->tx_count != 0) {
        count_by(w->counters, REASON_NIC_TX_RETRIED, w->tx_count);
        memmove(w->tx, w->tx + sent, w->tx_count * sizeof w->tx[0]);
    }
    return sent != 0;
}

/* How many empty frames lie at spare_at, at most what the pending array has room for. */
static uint16_t spares_ready(struct worker *w)
{
    if (w->spare_at == w->spare_count) {
        w->spare_at = w->spare_count = 0;
        while (w->spare_count < NIC_BURST_MAX && nic_frame_alloc(w->nic, w->queue, &w->spare[w->spare_count]))
            w->spare_count++;
        if (w->spare_count < NIC_BURST_MAX)
            count(w->counters, REASON_NIC_NO_BUFFER);
    }
    uint16_t spares = (uint16_t)(w->spare_count - w->spare_at);
    uint16_t room = (uint16_t)(TX_PENDING_MAX - w->tx_count);
    return spares < room ? spares : room;
}

static bool transmit(struct worker *w)
{
    bool any = false;

    while (net_has_output(w->net)) {
        uint16_t room = spares_ready(w);
        if (room == 0)
            break;
        const struct frame *frames = w->spare + w->spare_at;
        uint16_t filled = net_output(w->net, w->env.now_us, w->spare + w->spare_at, room);

        memcpy(w->tx + w->tx_count, frames, filled * sizeof frames[0]);
        w->tx_count = (uint16_t)(w->tx_count + filled);
        w->spare_at = (uint16_t)(w->spare_at + filled);
        any |= filled != 0;
        if (filled < room)
            break;
        any |= send_pending(w);
    }
    return send_pending(w) || any;
}

/* What was answered in this turn leaves first: it came while a step was made, perhaps, and would wait for a second one. */
static bool shake(struct worker *w)
{
    if (w->handshakes.head == NULL)
        return false;
    (void)transmit(w);
    return step(w, &w->handshakes, HANDSHAKES_PER_TURN);
}

/* From a turn's beginning to the next one's: what a connection may have to wait. */
static void note_turn(struct worker *w, uint64_t now_us)
{
    uint64_t us = now_us - w->turn_began_us;
    unsigned longer = 0;

    while (us >= UINT64_C(4) << 2 * longer && longer < REASON_TURN_LONGER - REASON_TURN_4_US)
        longer++;
    if (w->turn_worked)
        count(w->counters, (enum reason)(REASON_TURN_4_US + longer));
    w->turn_began_us = now_us;
}

static void show_levels(struct worker *w)
{
    struct nic_levels l;

    if (!nic_levels(w->nic, w->queue, &l))
        return;
    gauge_set(w->counters, GAUGE_NIC_RX_FREE, l.rx_free);
    gauge_set(w->counters, GAUGE_NIC_RX_TOTAL, l.rx_total);
    gauge_set(w->counters, GAUGE_NIC_TX_FREE, l.tx_free);
    gauge_set(w->counters, GAUGE_NIC_TX_TOTAL, l.tx_total);
}

/* For whoever looks from outside (base/counters.h). */
static void show_gauges(struct worker *w)
{
    struct worker_gauges g;
    struct counters *c = w->counters;

    worker_gauges(w, &g);
    gauge_set(c, GAUGE_TCP_HALF_OPEN, g.net.syn_received);
    gauge_set(c, GAUGE_TCP_ESTABLISHED, g.net.established);
    gauge_set(c, GAUGE_TCP_FIN_WAIT_1, g.net.fin_wait_1);
    gauge_set(c, GAUGE_TCP_FIN_WAIT_2, g.net.fin_wait_2);
    gauge_set(c, GAUGE_TCP_CLOSE_WAIT, g.net.close_wait);
    gauge_set(c, GAUGE_TCP_CLOSING, g.net.closing);
    gauge_set(c, GAUGE_TCP_LAST_ACK, g.net.last_ack);
    gauge_set(c, GAUGE_TCP_TIME_WAIT, g.net.time_wait);
    gauge_set(c, GAUGE_TCP_CONNS, g.net.conns);
    gauge_set(c, GAUGE_TCP_RECV_BUFFERS, g.net.recv_buffers_used);
    gauge_set(c, GAUGE_TCP_SEND_BUFFERS, g.net.send_buffers_used);
    gauge_set(c, GAUGE_NEIGHBOURS, g.net.neighbours);
    gauge_set(c, GAUGE_FRAG_DATAGRAMS, g.net.frag_datagrams);
    gauge_set(c, GAUGE_CONNS, g.conns);
    gauge_set(c, GAUGE_TLS_JOBS, tls_jobs_waiting(w->tls));
    gauge_set(c, GAUGE_TLS_CONNS, tls_conn_count(w->tls));
    gauge_set(c, GAUGE_SMALL_BUFFERS, g.small_buffers_used);
    gauge_set(c, GAUGE_LARGE_BUFFERS, g.large_buffers_used);
    gauge_set(c, GAUGE_TX_WAITING, w->tx_count);
    gauge_set(c, GAUGE_DEVICE_STEERS, g.net.device_steers);
    gauge_set(c, GAUGE_DEVICE_CHECKS, g.net.device_checks);
    gauge_set(c, GAUGE_MEMORY_BYTES, g.memory_bytes);
    show_levels(w);
    w->gauges_at_us = w->env.now_us + GAUGES_EVERY_US;
}

bool worker_turn(struct worker *w, struct worker_time t)
{
    bool busy = false, handshake;

    note_turn(w, t.now_us);
    w->env.now_us = t.now_us;
    w->env.now_unix_us = t.now_unix_us;
    busy |= receive(w);
    net_timers(w->net, t.now_us, TIMERS_PER_TURN);
    handshake = tls_turn(w->tls, t.now_us);
    busy |= note_events(w);
    busy |= serve(w);
    busy |= handshake || shake(w);
    busy |= transmit(w);
    ekm_quiescent(w->ekm);
    keys_quiescent(w->keys);
    if (t.now_us >= w->gauges_at_us)
        show_gauges(w);
    w->turn_worked = busy;
    return busy || w->ready.head != NULL || w->handshakes.head != NULL || w->tx_count != 0;
}

/* ---- life ---- */

static size_t plain_memory(const struct worker_config *c)
{
    return net_memory_needed(&c->net) + slab_memory_needed(sizeof(struct conn), c->net.conns_max) + 65536;
}

static size_t secret_memory(const struct worker_config *c)
{
    return slab_memory_needed(CONN_SMALL_OBJECT, c->small_buffers) +
           slab_memory_needed(CONN_LARGE_OBJECT, c->large_buffers) + 65536;
}

static bool build(struct worker *w, const struct worker_config *c, uint64_t now_us)
{
    w->arena = arena_new(plain_memory(c), false);
    w->secrets = arena_new(secret_memory(c), true);
    w->tls = tls_worker_new(w->counters, c->ticket_secret, c->seed_for_tests);
    w->keys = keys_worker_new(c->keys, w->counters);
    if (w->arena == NULL || w->secrets == NULL || w->tls == NULL || w->keys == NULL)
        return false;
    if (c->engine != NULL && c->engine[0] != '\0' && !tls_engine_use(w->tls, c->engine))
        return false;
    w->ekm = ekm_worker_new(c->auth, w->keys, w->counters);
    if (w->ekm == NULL)
        return false;
    w->net = net_new(&c->net, w->arena, w->counters, now_us);
    w->env.tls = w->tls;
    w->env.ekm = w->ekm;
    slab_init(&w->env.conns, w->arena, sizeof(struct conn), c->net.conns_max, false);
    slab_init(&w->env.small, w->secrets, CONN_SMALL_OBJECT, c->small_buffers, false);
    slab_init(&w->env.large, w->secrets, CONN_LARGE_OBJECT, c->large_buffers, false);
    arena_seal(w->arena);
    arena_seal(w->secrets);
    net_announce(w->net, now_us);
    return true;
}

struct worker *worker_new(const struct worker_config *c, uint64_t now_us)
{
    struct worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->nic = c->nic;
    w->queue = c->queue;
    w->counters = &c->audit->counters;
#ifdef WW_TEST_HOOKS
    w->workers = c->net.steering != NULL ? steering_workers(c->net.steering) : 1;
    w->misdirect_ppm = w->workers > 1 ? c->misdirect_ppm : 0;
    w->misdirect_random = c->queue;
#endif
    w->env = (struct conn_env){
        .counters = w->counters,
        .audit = c->audit,
        .now_us = now_us,
        .clock_ns = c->clock_ns,
        .clock_arg = c->clock_arg,
        .handshake_ms = c->handshake_ms,
        .request_idle_ms = c->request_idle_ms,
        .large_rate_min = c->large_rate_min,
        .linger_ms = c->linger_ms,
    };
    if (!build(w, c, now_us)) {
        log_error("a worker could not get its memory, TLS or randomness: raise RLIMIT_MEMLOCK (systemd: "
                  "LimitMEMLOCK=)",
                  F("plain_bytes", plain_memory(c)), F("locked_bytes", secret_memory(c)));
        worker_free(w);
        return NULL;
    }
    return w;
}

void worker_free(struct worker *w)
{
    if (w == NULL)
        return;
    while (w->all != NULL) {
        net_abort(w->all->net, w->env.now_us);
        conn_drop(w, w->all);
    }
    for (uint16_t i = 0; i < w->tx_count; i++)
        nic_frame_free(w->nic, &w->tx[i]);
    for (uint16_t i = w->spare_at; i < w->spare_count; i++)
        nic_frame_free(w->nic, &w->spare[i]);
    ekm_worker_free(w->ekm);
    keys_worker_free(w->keys);
    tls_worker_free(w->tls);
    arena_free(w->secrets);
    arena_free(w->arena);
    free(w);
}

bool worker_worked(const struct worker *w)
{
    return w->turn_worked;
}

uint64_t worker_next_timer(const struct worker *w)
{
    return net_next_timer(w->net);
}

void worker_sleeps(struct worker *w)
{
    keys_offline(w->keys);
}

void worker_wakes(struct worker *w)
{
    keys_online(w->keys);
    ekm_quiescent(w->ekm); /* an epoch may have come while it slept */
}

void worker_drain(struct worker *w, uint64_t now_us)
{
    w->env.now_us = now_us;
    w->env.draining = true;
    for (struct conn *c = w->all, *next; c != NULL; c = next) {
        next = c->all_next;
        conn_drain(c);
        enqueue(w, c);
    }
}

bool worker_drained(const struct worker *w)
{
    return w->all == NULL && w->tx_count == 0 && !net_has_output(w->net);
}

struct tls_worker *worker_tls(struct worker *w)
{
    return w->tls;
}

void worker_gauges(const struct worker *w, struct worker_gauges *out)
{
    net_gauges(w->net, &out->net);
    out->conns = w->conn_count;
    out->small_buffers_used = (uint32_t)(w->env.small.capacity - w->env.small.free_count);
    out->large_buffers_used = (uint32_t)(w->env.large.capacity - w->env.large.free_count);
    out->spare_frames = (uint32_t)(w->spare_count - w->spare_at);
    out->memory_bytes = arena_used(w->arena) + arena_used(w->secrets);
}
