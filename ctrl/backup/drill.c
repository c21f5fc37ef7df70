#include "ctrl/backup/drill.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "ctrl/lib/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX (64 * 1024)
#define FIRST_MS   (60 * 1000) /* after start: others come first */
#define AGAIN_S    3600        /* after a failure */
#define TIMEOUT_MS (3600 * 1000)
#define NOTE_MAX   (64 * 1024)

extern char **environ;

struct drills {
    struct drill_setup setup;
    char note_file[CONFIG_TEXT_CAP + 32];
    struct drill_result results[CONFIG_SINKS_MAX];
    uint64_t wanted[CONFIG_SINKS_MAX], done[CONFIG_SINKS_MAX]; /* tickets */
    uint64_t ticket;
    uint64_t started_ms; /* when the first step was */
    bool stepped;
    /* of the one that runs */
    size_t running; /* CONFIG_SINKS_MAX = none */
    uint64_t running_ticket, deadline_ms;
    pid_t pid;
    int out_fd;
    size_t out_len;
    char *out;
    char challenge[DRILL_CHALLENGE_LEN];
    int64_t offline_unix_s;
};

static size_t sink_count(const struct drills *d)
{
    return d->setup.config->backup.sink_count;
}

static const char *sink_name(const struct drills *d, size_t i)
{
    return d->setup.config->backup.sinks[i].name;
}

bool drills_are_running(const struct drills *d)
{
    return d->running != CONFIG_SINKS_MAX;
}

bool drills_are_configured(const struct drills *d)
{
    return d->setup.config->backup.drill_identity_file[0] != '\0' && sink_count(d) != 0;
}

/* ---- what is remembered ---- */

static int64_t integer_of(const json_t *j, const char *name)
{
    return (int64_t)json_integer_value(json_object_get(j, name));
}

static void text_of(const json_t *j, const char *name, char out[DRILL_TEXT_CAP])
{
    const char *text = json_string_value(json_object_get(j, name));

    snprintf(out, DRILL_TEXT_CAP, "%s", text == NULL ? "" : text);
}

static void result_load(const json_t *j, struct drill_result *r)
{
    r->unix_s = integer_of(j, "unix_s");
    r->ok = json_is_true(json_object_get(j, "ok"));
    r->level = (int)integer_of(j, "level");
    r->good_unix_s = integer_of(j, "good_unix_s");
    r->epoch = (uint64_t)integer_of(j, "epoch");
    r->keys = (uint64_t)integer_of(j, "keys");
    r->versions = (uint64_t)integer_of(j, "versions");
    text_of(j, "text", r->text);
}

/* It is told, not trusted: whoever writes here can only make a drill come sooner or look older or newer. */
static void note_load(struct drills *d)
{
    uint8_t *text = malloc(NOTE_MAX);
    size_t len = 0;

    CHECK(text != NULL);
    json_t *j = file_exists(d->note_file) && file_read(d->note_file, text, NOTE_MAX, &len, NULL)
                    ? json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL)
                    : NULL;
    for (size_t i = 0; i < sink_count(d); i++)
        result_load(json_object_get(json_object_get(j, "sinks"), sink_name(d, i)), &d->results[i]);
    d->offline_unix_s = integer_of(j, "offline_unix_s");
    json_decref(j);
    free(text);
}

static void note_save(const struct drills *d)
{
    json_t *sinks = json_object();
    struct refusal why;

    for (size_t i = 0; i < sink_count(d); i++) {
        const struct drill_result *r = &d->results[i];

        json_object_set_new(sinks, sink_name(d, i),
                            json_pack("{s:I, s:b, s:i, s:I, s:I, s:I, s:I, s:s}", "unix_s",
                                      (json_int_t)r->unix_s, "ok", r->ok, "level", r->level, "good_unix_s",
                                      (json_int_t)r->good_unix_s, "epoch", (json_int_t)r->epoch, "keys",
                                      (json_int_t)r->keys, "versions", (json_int_t)r->versions, "text",
                                      r->text));
    }
    json_t *j = json_pack("{s:o, s:I}", "sinks", sinks, "offline_unix_s", (json_int_t)d->offline_unix_s);
    char *text = json_dumps(j, JSON_INDENT(1));
    if (text != NULL && !file_write(d->note_file, span_str(text), &why))
        log_warn("the outcome of drills is not noted", F("why", why.text));
    free(text);
    json_decref(j);
}

/* ---- one that runs ---- */

static int spawn(struct drills *d, size_t i, int out)
{
    const char *argv[] = {"ww-ctrl", "--config", d->setup.config_file, "--drill", sink_name(d, i), NULL};
    posix_spawn_file_actions_t actions;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    int rc = posix_spawn(&d->pid, "/proc/self/exe", &actions, NULL, (char **)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static void failed(struct drills *d, size_t i, int64_t unix_s, const char *text)
{
    struct drill_result *r = &d->results[i];

    r->unix_s = unix_s;
    r->ok = false;
    snprintf(r->text, sizeof r->text, "%s", text);
}

static bool start(struct drills *d, size_t i, uint64_t now_ms, int64_t unix_s)
{
    struct epoll_event event = {.events = EPOLLIN};
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0)
        return false;
    int rc = spawn(d, i, fds[1]);
    close(fds[1]);
    if (rc != 0) {
        close(fds[0]);
        failed(d, i, unix_s, strerror(rc));
        d->done[i] = d->wanted[i];
        return false;
    }
    (void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
    (void)epoll_ctl(d->setup.epoll_fd, EPOLL_CTL_ADD, fds[0], &event);
    d->out_fd = fds[0];
    d->out_len = 0;
    d->running = i;
    d->running_ticket = d->wanted[i];
    d->deadline_ms = now_ms + TIMEOUT_MS;
    return true;
}

/* Its chain at that epoch must be ours. */
static bool same_chain(struct drills *d, const json_t *j, uint64_t epoch)
{
    const char *head = json_string_value(json_object_get(j, "head"));
    uint8_t hash[MBED_DIGEST_LEN];
    char hex[2 * MBED_DIGEST_LEN + 1];

    struct store *s = custody_store(d->setup.custody);

    if (head == NULL || epoch > store_epoch(s) || !store_chain_hash(s, epoch, hash))
        return false;
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    return strcmp(hex, head) == 0;
}

static void take_result(struct drills *d, size_t i, const json_t *j, int64_t unix_s)
{
    struct drill_result *r = &d->results[i];
    const json_t *notes = json_object_get(j, "notes");
    int64_t good = r->good_unix_s;

    *r = (struct drill_result){.unix_s = unix_s,
                               .good_unix_s = good,
                               .ok = json_is_true(json_object_get(j, "ok")),
                               .level = (int)integer_of(j, "level"),
                               .epoch = (uint64_t)integer_of(j, "epoch"),
                               .keys = (uint64_t)integer_of(j, "keys"),
                               .versions = (uint64_t)integer_of(j, "versions")};
    if (!r->ok)
        text_of(json_object_get(j, "error"), "message", r->text);
    else if (json_array_size(notes) != 0)
        snprintf(r->text, sizeof r->text, "%s", json_string_value(json_array_get(notes, 0)));
    if (r->ok && !same_chain(d, j, r->epoch)) {
        r->ok = false;
        snprintf(r->text, sizeof r->text, "what it holds at epoch %llu is not what this store was then%s",
                 (unsigned long long)r->epoch,
                 r->epoch < store_base(custody_store(d->setup.custody))
                     ? ", as far as can be told: its changes were compacted since"
                     : "");
    }
    if (r->ok)
        r->good_unix_s = unix_s;
}

static void finish(struct drills *d, int64_t unix_s)
{
    size_t i = d->running;
    json_t *j = json_loadb(d->out, d->out_len, JSON_REJECT_DUPLICATES, NULL);

    close(d->out_fd);
    kill(d->pid, SIGKILL); /* it closed its output: what it still does is of no use */
    while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (json_is_object(j))
        take_result(d, i, j, unix_s);
    else
        failed(d, i, unix_s, "the drill ended without an outcome: see the log of ww-ctrl");
    json_decref(j);
    d->running = CONFIG_SINKS_MAX;
    d->done[i] = d->running_ticket;
    if (d->results[i].ok)
        log_info("restore drill passed", F("sink", sink_name(d, i)), F("epoch", d->results[i].epoch),
                 F("versions", d->results[i].versions));
    else
        log_error("RESTORE DRILL FAILED", F("sink", sink_name(d, i)), F("why", d->results[i].text),
                  F("next", "see wwctl backup status; wwctl backup run makes a new full backup"));
    note_save(d);
}

static void collect(struct drills *d, uint64_t now_ms, int64_t unix_s)
{
    ssize_t n;

    while ((n = read(d->out_fd, d->out + d->out_len, OUTPUT_MAX - d->out_len)) > 0)
        d->out_len += (size_t)n;
    if (n < 0 && errno == EAGAIN && now_ms < d->deadline_ms)
        return;
    finish(d, unix_s);
}

/* ---- when ---- */

static bool is_due(const struct drills *d, size_t i, uint64_t now_ms, int64_t unix_s)
{
    const struct drill_result *r = &d->results[i];
    int64_t every = d->setup.config->backup.drill_every_s;

    if (d->wanted[i] > d->done[i])
        return true;
    if (!drills_are_configured(d) || now_ms - d->started_ms < FIRST_MS ||
        custody_epoch(d->setup.custody) == 0)
        return false;
    if (!r->ok && every > AGAIN_S)
        every = AGAIN_S;
    return unix_s - r->unix_s >= every;
}

void drills_step(struct drills *d, uint64_t now_ms, int64_t unix_s)
{
    if (!d->stepped)
        d->started_ms = now_ms;
    d->stepped = true;
    if (d->running != CONFIG_SINKS_MAX)
        collect(d, now_ms, unix_s);
    for (size_t i = 0; d->running == CONFIG_SINKS_MAX && i < sink_count(d); i++) {
        if (is_due(d, i, now_ms, unix_s) && start(d, i, now_ms, unix_s))
            return;
    }
}

uint64_t drills_run(struct drills *d, size_t i)
{
    d->ticket++;
    for (size_t n = 0; n < sink_count(d); n++) {
        if (i == DRILL_ALL || i == n)
            d->wanted[n] = d->ticket;
    }
    return d->ticket;
}

bool drills_done(const struct drills *d, uint64_t ticket)
{
    for (size_t i = 0; i < sink_count(d); i++) {
        if (d->wanted[i] >= ticket && d->done[i] < ticket)
            return false;
    }
    return true;
}

/* ---- opening, telling ---- */

struct drills *drills_new(const struct drill_setup *setup)
{
    struct drills *d = calloc(1, sizeof *d);

    CHECK(d != NULL);
    d->setup = *setup;
    d->running = CONFIG_SINKS_MAX;
    d->out = malloc(OUTPUT_MAX);
    CHECK(d->out != NULL);
    snprintf(d->note_file, sizeof d->note_file, "%s/drills.json", setup->config->ctrl.state_dir);
    note_load(d);
    return d;
}

void drills_free(struct drills *d)
{
    if (d == NULL)
        return;
    if (d->running != CONFIG_SINKS_MAX) {
        close(d->out_fd);
        kill(d->pid, SIGKILL);
        (void)waitpid(d->pid, NULL, 0);
    }
    free(d->out);
    free(d);
}

void drills_result(const struct drills *d, size_t i, struct drill_result *out)
{
    *out = d->results[i];
}

const char *drills_challenge(struct drills *d)
{
    uint8_t bytes[(DRILL_CHALLENGE_LEN - 1) / 2];

    mbed_random(d->setup.rng, bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(d->challenge + 2 * i, 3, "%02x", bytes[i]);
    return d->challenge;
}

void drill_proof(const uint8_t key[MBED_KEY_LEN], const char *challenge, char out[DRILL_PROOF_LEN])
{
    uint8_t bytes[(DRILL_PROOF_LEN - 1) / 2];

    mbed_hkdf(key, span_str(challenge), bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

bool drills_prove(struct drills *d, const char *proof, int64_t unix_s, struct refusal *why)
{
    char want[DRILL_PROOF_LEN];

    if (d->challenge[0] == '\0')
        return refuse(why, "no_challenge", "begin with wwctl drill offline-root",
                      "no challenge was given since ww-ctrl started");
    drill_proof(custody_proof_key(d->setup.custody), d->challenge, want);
    if (strlen(proof) != sizeof want - 1 || !secret_equal(proof, want, sizeof want - 1))
        return refuse(why, "wrong_proof",
                      "give the \"proof\" that ww-ctrl --drill printed for this challenge",
                      "that does not answer the challenge %s", d->challenge);
    d->challenge[0] = '\0';
    d->offline_unix_s = unix_s;
    log_info("offline root drill passed");
    note_save(d);
    return true;
}

int64_t drills_offline_unix_s(const struct drills *d)
{
    return d->offline_unix_s;
}
