#include "ctrl/backup/sink.h"

#include "base/check.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DYING_MAX 4

extern char **environ;

struct sink_lane {
    char program[PATH_MAX];
    int epoll_fd, socket;
    pid_t pid;
    pid_t dying[DYING_MAX]; /* killed, but a disk or a kernel still holds them */
    bool busy;
    uint64_t deadline_ms;
    struct fetch_reply broken; /* status != FETCH_OK: what the next poll says */
};

struct sink_lane *sink_lane_new(const char *program, int epoll_fd)
{
    struct sink_lane *l = calloc(1, sizeof *l);

    CHECK(l != NULL);
    snprintf(l->program, sizeof l->program, "%s", program);
    l->epoll_fd = epoll_fd;
    l->socket = -1;
    return l;
}

/* ---- the child ---- */

static void reap(struct sink_lane *l)
{
    for (size_t i = 0; i < DYING_MAX; i++) {
        if (l->dying[i] != 0 && waitpid(l->dying[i], NULL, WNOHANG) != 0)
            l->dying[i] = 0;
    }
}

static void child_end(struct sink_lane *l)
{
    if (l->socket >= 0)
        close(l->socket);
    l->socket = -1;
    if (l->pid == 0)
        return;
    kill(l->pid, SIGKILL);
    for (size_t i = 0; i < DYING_MAX; i++) {
        if (l->dying[i] == 0) {
            l->dying[i] = l->pid;
            break;
        }
    }
    l->pid = 0;
    reap(l);
}

static bool may_spawn(struct sink_lane *l)
{
    reap(l);
    for (size_t i = 0; i < DYING_MAX; i++) {
        if (l->dying[i] == 0)
            return true;
    }
    errno = EDEADLK;
    return false;
}

static int spawn(const char *program, int fd, pid_t *pid)
{
    char *argv[] = {(char *)(uintptr_t)program, NULL};
    posix_spawn_file_actions_t actions;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, FETCH_FD + 1);

    if (high < 0)
        return errno;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, high, FETCH_FD);
    int rc = posix_spawn(pid, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(high);
    return rc;
}

static bool child_start(struct sink_lane *l)
{
    struct epoll_event event = {.events = EPOLLIN};
    int fds[2];

    if (!may_spawn(l) || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
        return false;
    /* The child's end blocks. */
    int rc = fcntl(fds[1], F_SETFL, 0) == 0 ? spawn(l->program, fds[1], &l->pid) : errno;
    close(fds[1]);
    l->socket = fds[0];
    if (rc == 0 && l->epoll_fd >= 0 && epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->socket, &event) != 0)
        rc = errno;
    if (rc == 0)
        return true;
    if (l->pid == 0) {
        close(l->socket);
        l->socket = -1;
    } else {
        child_end(l);
    }
    errno = rc;
    return false;
}

void sink_lane_free(struct sink_lane *l)
{
    if (l == NULL)
        return;
    child_end(l);
    free(l);
}

/* ---- asking ---- */

struct fetch_request sink_request(const struct config_sink *c, enum fetch_operation op, const char *name)
{
    struct fetch_request r = {.operation = (uint8_t)op, .patience_s = c->patience_s};

    r.kind = strcmp(c->kind, "s3") == 0     ? FETCH_S3
             : strcmp(c->kind, "sftp") == 0 ? FETCH_SFTP
                                            : FETCH_DIRECTORY;
    snprintf(r.name, sizeof r.name, "%s", name);
    snprintf(r.place, sizeof r.place, "%s", c->place);
    snprintf(r.region, sizeof r.region, "%s", c->region);
    snprintf(r.bucket, sizeof r.bucket, "%s", c->bucket);
    snprintf(r.prefix, sizeof r.prefix, "%s", c->prefix);
    snprintf(r.credentials, sizeof r.credentials, "%s", c->credentials_file);
    snprintf(r.trust, sizeof r.trust, "%s", c->trust_file);
    return r;
}

bool sink_lane_is_idle(const struct sink_lane *l)
{
    return !l->busy;
}

static void break_off(struct sink_lane *l, enum fetch_status status, const char *what, int cause)
{
    child_end(l);
    l->broken = (struct fetch_reply){.status = (uint8_t)status};
    snprintf(l->broken.text, sizeof l->broken.text, "%.400s%s%.80s", what, cause == 0 ? "" : ": ",
             cause == 0 ? "" : strerror(cause));
}

void sink_lane_start(struct sink_lane *l, const struct fetch_request *r, int fd, uint64_t now_ms,
                     uint64_t deadline_ms)
{
    uint8_t message[FETCH_MESSAGE_MAX];
    char what[512];

    CHECK(!l->busy);
    l->busy = true;
    l->broken.status = FETCH_OK;
    l->deadline_ms = now_ms + deadline_ms;
    snprintf(what, sizeof what, "%.400s does not start", l->program);
    if (l->pid == 0 && !child_start(l))
        break_off(l, FETCH_FAILED, what, errno);
    else if (!fetch_send(l->socket, span_of(message, fetch_request_write(r, message)), fd))
        break_off(l, FETCH_FAILED, "ww-fetch takes no request", errno);
    if (fd >= 0)
        close(fd);
}

/* false: not yet. */
static bool take_reply(struct sink_lane *l, struct fetch_reply *out)
{
    uint8_t message[FETCH_MESSAGE_MAX];
    size_t len;
    int fd;

    if (!fetch_receive(l->socket, message, &len, &fd)) {
        if (errno == EAGAIN)
            return false;
        len = 0;
    }
    if (fd >= 0)
        close(fd);
    if (len != 0 && fetch_reply_parse(span_of(message, len), out))
        return true;
    break_off(l, FETCH_FAILED, "ww-fetch ended before it answered", 0);
    *out = l->broken;
    return true;
}

bool sink_lane_poll(struct sink_lane *l, uint64_t now_ms, struct fetch_reply *out)
{
    reap(l);
    if (!l->busy)
        return false;
    if (l->broken.status != FETCH_OK) {
        *out = l->broken;
    } else if (!take_reply(l, out)) {
        if (now_ms < l->deadline_ms)
            return false;
        break_off(l, FETCH_UNREACHABLE, "no answer in time: given up", 0);
        *out = l->broken;
    }
    l->busy = false;
    return true;
}

static uint64_t monotonic_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool sink_ask(const char *program, const struct fetch_request *r, int fd, struct fetch_reply *out,
              struct refusal *why)
{
    struct sink_lane *l = sink_lane_new(program, -1);

    sink_lane_start(l, r, fd, monotonic_ms(), 3600 * 1000);
    while (!sink_lane_poll(l, monotonic_ms(), out)) {
        struct pollfd p = {.fd = l->socket, .events = POLLIN};

        (void)poll(&p, 1, 1000);
    }
    sink_lane_free(l);
    return out->status == FETCH_OK ||
           refuse(why, "sink_failed", "see backup.sinks of the configuration", "%s", out->text);
}

const char *sink_program(void)
{
    static char path[PATH_MAX + 32];
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);

    path[n < 0 ? 0 : n] = '\0';
    char *slash = strrchr(path, '/');
    char *name = slash == NULL ? path : slash + 1;
    memcpy(name, "ww-fetch", sizeof "ww-fetch");
    if (access(path, X_OK) != 0)
        memcpy(name, "fetch/ww-fetch", sizeof "fetch/ww-fetch");
    return path;
}
