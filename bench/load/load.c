/* One thread, one loop: what is due is sent, the transport is waited for, and one handshake goes on by one step.  Handshakes
 * beside the load are thin (thin.h): the steps of OpenSSL's would be longer than the replies that wait for them.
 *
 *     RAMP (connections are made) -> WARM -> MEASURE -> DONE */
#include "bench/load/load.h"

#include "bench/load/pace.h"
#include "bench/load/watch.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BACKGROUND_MAX 512 /* connections at once, beside the load */
#define SHAKING_MAX    64  /* handshakes at once while connections are made */
#define WAIT_US_MAX    1000
#define SPIN_US        40 /* shorter waits are polled away: a timer would come late */
#define RAMP_LOST_MAX  2000
#define RAMP_S_MAX     60
#define RAMP_EACH_S    0.05 /* and for each connection, a hundred times what one takes: the end of patience */
#define RAMP_ANSWERS                                                                                         \
    8 /* connections, or one-shot requests, one after the other, before many go at once: the server knows its neighbours then */
#define RAMP_PAUSE_NS                                                                                        \
    20000000ULL /* after a connection was lost while they are made: the server may still be starting */
#define SECOND_NS     1000000000ULL
#define SAMPLES_SPARE 100000
#define HICCUPS_MAX   100000
#define STEP_NS       100000 /* no step of a thin handshake takes longer, unless it is held up */
#define SHAKE_TIMES   4      /* a step of a handshake that takes so many times the usual was held up */

enum phase { RAMP, WARM, MEASURE, DONE };

struct list {
    struct session *head, *tail;
    uint32_t count;
};

struct load {
    const struct load_config *config;
    struct session_env *env;
    struct load_result *result;
    struct session *sessions;
    struct session *background_sessions;
    struct list idle, down, background_down;
    struct list shake; /* handshakes that can go on */
    enum phase phase;
    uint64_t now_ns, phase_end_ns, begin_ns;
    struct pace pace, background_pace;
    struct samples samples; /* open loop */
    struct hiccups hiccups, server_hiccups;
    struct watch *watch;
    char server_stat[256];
    struct thin *thin; /* of background sessions */
    struct thin_kind thin_kind;
    uint32_t worked; /* in this turn: requests sent, events taken */
    uint32_t shaking, waiting;
    uint32_t answered; /* right replies ever */
    uint32_t ramp_lost;
    uint64_t ramp_from_ns; /* no new connection before */
    uint64_t bytes_in_begin, bytes_out_begin;
    uint64_t again_begin, dropped_begin;
    uint64_t started_ns;
    uint64_t told_ns, told_done, done_ever;
    bool ready; /* was said */
    bool failed;
};

static struct load run; /* one per process: the callbacks of a transport carry a session only */

static uint64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

static void push(struct list *l, struct session *s)
{
    s->next = NULL;
    if (l->tail != NULL)
        l->tail->next = s;
    else
        l->head = s;
    l->tail = s;
    l->count++;
}

static struct session *pop(struct list *l)
{
    struct session *s = l->head;

    if (s == NULL)
        return NULL;
    l->head = s->next;
    if (l->head == NULL)
        l->tail = NULL;
    l->count--;
    return s;
}

/* A session on the idle list that was lost is somewhere in its middle. */
static void idle_remove(struct session *s)
{
    struct list rest = {NULL, NULL, 0};

    for (struct session *at; (at = pop(&run.idle)) != NULL;) {
        if (at != s)
            push(&rest, at);
    }
    run.idle = rest;
}

/* ---- what sessions tell ---- */

static void count_error(const struct session *s)
{
    if (run.phase != MEASURE)
        return;
    if (s->background)
        run.result->background_errors++;
    else
        run.result->errors++;
}

static void asked_failed(struct session *s)
{
    count_error(s);
    push(s->background ? &run.background_down : &run.down, s);
}

static bool is_open(void)
{
    return run.config->rate > 0;
}

static void latency_add(const struct session *s, uint64_t took)
{
    hist_add(&run.result->latency, took);
    if (is_open())
        samples_add(&run.samples, s->intended_ns, took, s->late);
}

static void idle_add(struct session *s, uint64_t now_ns)
{
    s->idle_ns = now_ns;
    push(&run.idle, s);
}

static void ask(struct session *s, bool last)
{
    if (!s->background)
        run.waiting++;
    if (session_ask(s, last))
        return;
    if (!s->background)
        run.waiting--;
    asked_failed(s);
}

static void on_idle(struct session *s)
{
    if (s->background) {
        ask(s, true);
        return;
    }
    run.shaking--;
    if (run.config->one_shot)
        ask(s, true);
    else
        idle_add(s, clock_ns());
}

static void on_reply(struct session *s, bool right)
{
    uint64_t now_ns = clock_ns(), took = now_ns - s->intended_ns;

    if (!s->background) {
        run.waiting--;
        run.done_ever++;
        run.answered += right;
    }
    if (!right)
        count_error(s);
    else if (run.phase == MEASURE && s->background) {
        run.result->background_done++;
        hist_add(&run.result->background_latency, took);
    } else if (run.phase == MEASURE) {
        run.result->done++;
        latency_add(s, took);
    }
    if (s->background)
        push(&run.background_down, s);
    else if (s->state == SESSION_DOWN)
        push(&run.down, s);
    else
        idle_add(s, now_ns);
}

static void on_lost(struct session *s, enum session_state was)
{
    count_error(s);
    if (s->background) {
        push(&run.background_down, s);
        return;
    }
    if (was == SESSION_SHAKING)
        run.shaking--;
    else if (was == SESSION_WAITING)
        run.waiting--;
    else
        idle_remove(s);
    if (run.phase == RAMP && ++run.ramp_lost > RAMP_LOST_MAX)
        run.failed = true;
    if (run.phase == RAMP)
        run.ramp_from_ns = run.now_ns + RAMP_PAUSE_NS;
    push(&run.down, s);
}

/* ---- what is due ---- */

static bool start_one(struct list *from)
{
    struct session *s = pop(from);

    if (s == NULL)
        return false;
    if (!session_start(s)) {
        count_error(s);
        push(from, s);
        return false;
    }
    if (!s->background)
        run.shaking++;
    return true;
}

/* Keep-alive connections that are down are made, or made again. */
static void connect_some(void)
{
    uint32_t at_once = run.phase == RAMP && run.idle.count < RAMP_ANSWERS ? 1 : SHAKING_MAX;

    while (!run.config->one_shot && run.now_ns >= run.ramp_from_ns && run.shaking < at_once &&
           start_one(&run.down))
        continue;
}

/* Late by our own doing: a connection was there all the time. */
static void note_lateness(struct session *s)
{
    uint64_t could_ns = s->intended_ns > s->idle_ns ? s->intended_ns : s->idle_ns;

    s->late = run.now_ns > could_ns + LOAD_LATE_NS;
    if (run.phase == MEASURE) {
        run.result->sent++;
        run.result->late += s->late;
    }
}

static bool launch(uint64_t intended_ns)
{
    struct session *s = run.config->one_shot ? run.down.head : run.idle.head;

    if (s == NULL)
        return false;
    s->intended_ns = intended_ns;
    run.worked++;
    note_lateness(s);
    if (run.config->one_shot)
        return start_one(&run.down);
    ask(pop(&run.idle), false);
    return true;
}

static void launch_due(void)
{
    if (run.phase == RAMP) {
        if (run.config->one_shot && run.shaking + run.waiting == 0 && run.now_ns >= run.ramp_from_ns)
            (void)launch(run.now_ns);
        return;
    }
    if (!is_open()) {
        while (run.waiting + (run.config->one_shot ? run.shaking : 0) < run.config->inflight &&
               launch(clock_ns()))
            continue;
        return;
    }
    while (pace_due(&run.pace, run.now_ns) && launch(run.pace.due_ns))
        pace_next(&run.pace);
}

static void launch_background(void)
{
    struct session *s = run.background_down.head;

    if (run.phase == RAMP || s == NULL || !pace_due(&run.background_pace, run.now_ns))
        return;
    s->intended_ns = run.background_pace.due_ns;
    if (start_one(&run.background_down))
        pace_next(&run.background_pace);
}

/* What the transport has to tell: replies are taken at once, handshakes wait for their turn. */
static void on_ready(void *session)
{
    struct session *s = session;

    run.worked++;
    if (s->state != SESSION_SHAKING) {
        session_ready(s);
    } else if (!s->queued) {
        s->queued = true;
        push(&run.shake, s);
    }
}

/* When something is due is known: no step is begun just before, unless that would leave none. */
static bool step_fits(uint64_t now_ns)
{
    return !is_open() || run.phase == RAMP || run.pace.interval_ns < 2 * STEP_NS || run.idle.head == NULL ||
           run.pace.due_ns > now_ns + STEP_NS;
}

static void shake_one(void)
{
    uint64_t began_ns = clock_ns();
    struct session *s = step_fits(began_ns) ? pop(&run.shake) : NULL;

    if (s == NULL)
        return;
    s->queued = false;
    session_ready(s);
    run.result->shakes++;
    run.result->shake_ns += clock_ns() - began_ns;
}

static uint64_t wait_us(void)
{
    uint64_t due = UINT64_MAX, now = clock_ns();

    if (run.shake.head != NULL)
        return 0;
    if (run.phase == RAMP || (!is_open() && run.config->background <= 0))
        return WAIT_US_MAX;
    if (is_open() && (run.config->one_shot ? run.down.head : run.idle.head) != NULL)
        due = run.pace.due_ns;
    if (run.config->background > 0 && run.background_pace.due_ns < due)
        due = run.background_pace.due_ns;
    if (due <= now + SPIN_US * 1000)
        return 0;
    due = (due - now) / 1000;
    return due < WAIT_US_MAX ? due : WAIT_US_MAX;
}

/* ---- phases ---- */

static void announce(const char *what)
{
    if (run.config->announce) {
        puts(what);
        fflush(stdout);
    }
}

static void losses(uint64_t *again, uint64_t *dropped)
{
    *again = *dropped = 0;
    if (run.env->transport->ops->losses != NULL)
        run.env->transport->ops->losses(run.env->transport, again, dropped);
}

static void measure_begin(void)
{
    losses(&run.again_begin, &run.dropped_begin);
    run.phase = MEASURE;
    run.begin_ns = run.now_ns;
    run.phase_end_ns = run.now_ns + (uint64_t)(run.config->seconds * 1e9);
    run.bytes_in_begin = run.env->bytes_in;
    run.bytes_out_begin = run.env->bytes_out;
    run.env->first_error = NULL;
    run.result->shakes = run.result->shake_ns = 0;
    if (is_open() && run.config->server_cpu >= 0)
        run.watch = watch_new(run.config->server_cpu, run.server_stat, &run.server_hiccups);
    run.result->watched = run.watch != NULL;
    announce("begin");
}

/* What was due before the end and has no answer yet waited at least until now. */
static void unfinished_add(uint64_t intended_ns)
{
    struct session unfinished = {.intended_ns = intended_ns < run.begin_ns ? run.begin_ns : intended_ns};

    run.result->unfinished++;
    latency_add(&unfinished, run.now_ns - unfinished.intended_ns);
}

static void clean(void)
{
    struct load_result *r = run.result;

    watch_free(run.watch);
    r->hiccups = run.hiccups.count;
    r->server_hiccups = run.server_hiccups.count;
    r->lost = run.hiccups.lost + run.server_hiccups.lost + run.samples.lost;
    samples_clean(&run.samples, &run.hiccups, &run.server_hiccups, run.begin_ns, run.now_ns, &r->clean);
}

static void measure_end(void)
{
    run.phase = DONE;
    announce("end");
    run.result->seconds = (double)(run.now_ns - run.begin_ns) / 1e9;
    run.result->bytes_in = run.env->bytes_in - run.bytes_in_begin;
    run.result->bytes_out = run.env->bytes_out - run.bytes_out_begin;
    losses(&run.result->again, &run.result->dropped);
    run.result->again -= run.again_begin;
    run.result->dropped -= run.dropped_begin;
    if (!is_open())
        return;
    for (uint32_t i = 0; i < run.config->connections; i++) {
        const struct session *s = &run.sessions[i];
        if (s->state == SESSION_WAITING || (run.config->one_shot && s->state == SESSION_SHAKING))
            unfinished_add(s->intended_ns);
    }
    for (; pace_due(&run.pace, run.now_ns); pace_next(&run.pace))
        unfinished_add(run.pace.due_ns);
    clean();
}

/* Says once that everything is ready.  The line that comes then may name the schedstat of the server's thread. */
static bool told_to_go(void)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char line[sizeof run.server_stat];

    if (!run.ready) {
        puts("ready");
        fflush(stdout);
    }
    run.ready = true;
    if (poll(&in, 1, 0) != 1)
        return false;
    ssize_t len = read(STDIN_FILENO, line, sizeof line - 1);
    line[len > 0 ? len : 0] = '\0';
    (void)sscanf(line, "go %255s", run.server_stat);
    return true;
}

static void phase_step(void)
{
    if (run.phase == RAMP) {
        if (!run.ready)
            run.result->ramp_s = (double)(run.now_ns - run.started_ns) / 1e9;
        if (run.result->ramp_s > RAMP_S_MAX + RAMP_EACH_S * run.config->connections)
            run.failed = true;
        if (run.config->one_shot ? run.answered < RAMP_ANSWERS : run.idle.count < run.config->connections)
            return;
        if (run.config->wait && !told_to_go())
            return;
        run.phase = WARM;
        run.phase_end_ns = run.now_ns + (uint64_t)(run.config->warmup_s * 1e9);
        pace_begin(&run.pace, run.config->rate, 0, run.now_ns);
        pace_begin(&run.background_pace, run.config->background, run.config->seed + 1, run.now_ns);
    } else if (run.phase == WARM && run.now_ns >= run.phase_end_ns) {
        measure_begin();
    } else if (run.phase == MEASURE && run.now_ns >= run.phase_end_ns) {
        measure_end();
    }
}

/* Written over itself on a terminal; elsewhere every ten seconds. */
static void progress(void)
{
    static const char *const names[] = {"connecting", "warming up", "measuring", "done"};
    bool terminal = isatty(STDERR_FILENO);
    uint64_t every = terminal ? SECOND_NS : 10 * SECOND_NS;

    if (run.config->quiet || run.now_ns - run.told_ns < every)
        return;
    double rate = (double)(run.done_ever - run.told_done) * 1e9 / (double)(run.now_ns - run.told_ns);
    fprintf(stderr, "%s%-10s  connected %u/%u  %.0f/s  p99 %.0f us  errors %llu%s",
            terminal ? "\r\033[K" : "", names[run.phase],
            run.config->one_shot ? run.waiting : run.idle.count + run.waiting, run.config->connections, rate,
            (double)hist_quantile(&run.result->latency, 0.99) / 1000, (unsigned long long)run.result->errors,
            terminal ? "" : "\n");
    run.told_ns = run.now_ns;
    run.told_done = run.done_ever;
}

/* ---- the whole ---- */

static bool background_begin(void)
{
    run.thin = calloc(BACKGROUND_MAX, sizeof *run.thin);
    for (uint32_t i = 0; run.thin != NULL && i < BACKGROUND_MAX; i++)
        run.background_sessions[i].thin = &run.thin[i];
    run.env->thin = &run.thin_kind;
    return run.thin != NULL && thin_kind_new(&run.thin_kind, run.env->tls, run.env->host);
}

static bool prepare(struct session_env *env, const struct load_config *c, struct load_result *out)
{
    memset(out, 0, sizeof *out);
    run = (struct load){.config = c, .env = env, .result = out};
    run.sessions = calloc(c->connections, sizeof *run.sessions);
    run.background_sessions = calloc(BACKGROUND_MAX, sizeof *run.background_sessions);
    if (run.sessions == NULL || run.background_sessions == NULL)
        return false;
    if (c->rate > 0 &&
        (!samples_new(&run.samples, (size_t)(c->rate * c->seconds) + SAMPLES_SPARE) ||
         !hiccups_new(&run.hiccups, 2 * HICCUPS_MAX) || !hiccups_new(&run.server_hiccups, HICCUPS_MAX)))
        return false;
    for (uint32_t i = 0; i < c->connections; i++) {
        run.sessions[i].env = env;
        push(&run.down, &run.sessions[i]);
    }
    for (uint32_t i = 0; i < BACKGROUND_MAX; i++) {
        run.background_sessions[i].env = env;
        run.background_sessions[i].background = true;
        push(&run.background_down, &run.background_sessions[i]);
    }
    if (c->background > 0 && !background_begin())
        return false;
    env->on_idle = on_idle;
    env->on_reply = on_reply;
    env->on_lost = on_lost;
    run.told_ns = run.started_ns = clock_ns();
    return true;
}

static void finish(void)
{
    for (uint32_t i = 0; i < run.config->connections; i++)
        session_stop(&run.sessions[i], true);
    for (uint32_t i = 0; i < BACKGROUND_MAX; i++)
        session_stop(&run.background_sessions[i], true);
    free(run.sessions);
    free(run.background_sessions);
    free(run.thin);
    thin_kind_free(&run.thin_kind);
    samples_free(&run.samples);
    hiccups_free(&run.hiccups);
    hiccups_free(&run.server_hiccups);
}

/* A turn that took longer than it waited and worked, or did not look for long: the core was somebody else's meanwhile. */
static void note_turn(uint64_t began_ns, uint64_t waited_ns, bool shook)
{
    const struct load_result *r = run.result;
    uint64_t usual_ns = HICCUP_EACH_NS * (uint64_t)run.worked;

    if (shook && r->shakes > 0)
        usual_ns += SHAKE_TIMES * r->shake_ns / r->shakes;
    run.worked = 0;
    bool held_up = run.now_ns - began_ns > HICCUP_NS + waited_ns + usual_ns ||
                   run.env->transport->blind_us * 1000 > HICCUP_NS;
    if (run.phase == MEASURE && is_open() && held_up)
        hiccups_add(&run.hiccups, began_ns, run.now_ns);
}

static void turn(void)
{
    uint64_t began_ns = run.now_ns, wait = wait_us();

    run.env->transport->ops->wait(run.env->transport, wait, on_ready);
    bool shakes = run.shake.head != NULL;
    do
        shake_one();
    while (run.phase == RAMP && run.shake.head != NULL);
    run.now_ns = clock_ns();
    note_turn(began_ns, wait * 1000, shakes);
}

bool load_run(struct session_env *env, const struct load_config *c, struct load_result *out)
{
    if (!prepare(env, c, out)) {
        fprintf(stderr, "ww-bench: no memory\n");
        return false;
    }
    run.now_ns = clock_ns();
    while (run.phase != DONE && !run.failed) {
        phase_step();
        connect_some();
        launch_due();
        launch_background();
        progress();
        turn();
    }
    if (run.failed)
        fprintf(stderr, "ww-bench: connections cannot be made (%u of %u in %.0f s): %s\n", run.idle.count,
                c->connections, out->ramp_s, env->first_error == NULL ? "no stream" : env->first_error);
    if (!c->quiet && isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    finish();
    return !run.failed;
}
