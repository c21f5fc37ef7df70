#include "drivers/seal/device/ask.h"

#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct child {
    pid_t pid;
    int fd;
};

static bool socket_pair(int fds[2], unsigned timeout_ms)
{
    struct timeval limit = {timeout_ms / 1000, (suseconds_t)(timeout_ms % 1000) * 1000};

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return false;
    return setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
           setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0;
}

/* The caller may be a thread that takes no signals: the child needs its alarm.
 * dup2 onto the same number would leave it closed on exec, hence the detour over a number that is surely
 * another. */
static int spawn(const char *program, int fd, pid_t *pid)
{
    char *argv[] = {(char *)(uintptr_t)program, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, DEVICE_FD + 1);

    if (high < 0)
        return errno;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, high, DEVICE_FD);
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int rc = posix_spawn(pid, program, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(high);
    return rc;
}

static bool child_start(const struct seal_device *d, struct child *c, char *err, size_t err_cap)
{
    int fds[2] = {-1, -1};
    bool ok = socket_pair(fds, d->timeout_ms);
    int cause = ok ? spawn(d->program, fds[1], &c->pid) : errno;

    if (fds[1] >= 0)
        close(fds[1]);
    c->fd = fds[0];
    if (cause == 0)
        return true;
    if (fds[0] >= 0)
        close(fds[0]);
    snprintf(err, err_cap, "%s does not start: %s: it is installed beside ww-ctrl and ww-dataplane",
             d->program, strerror(cause));
    return false;
}

/* It has answered, or will not: either way nothing it still does is of use. */
static void child_end(struct child *c)
{
    close(c->fd);
    kill(c->pid, SIGKILL);
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static enum device_status take_reply(const struct device_reply *r, struct buf *payload, char *err,
                                     size_t err_cap)
{
    if (r->status != DEVICE_OK) {
        snprintf(err, err_cap, "%.*s", (int)r->text.len, (const char *)r->text.ptr);
        return (enum device_status)r->status;
    }
    payload->len = 0;
    if (r->payload.len != 0 && buf_put(payload, r->payload))
        return DEVICE_OK;
    snprintf(err, err_cap, "ww-seal answered with %zu bytes: is it of another version?", r->payload.len);
    return DEVICE_NO_ANSWER;
}

static enum device_status converse(const struct seal_device *d, struct child *c,
                                   const struct device_request *r, uint8_t *message, struct buf *payload,
                                   char *err, size_t err_cap)
{
    struct device_reply reply;
    struct span body;
    size_t len = device_request_write(r, message);

    if (!device_send(c->fd, span_of(message, len)) || !device_receive(c->fd, message, &body) ||
        !device_reply_parse(body, &reply)) {
        snprintf(err, err_cap,
                 "%s gave no answer within %u ms: the device or its library hangs or has brought it down",
                 d->program, d->timeout_ms);
        return DEVICE_NO_ANSWER;
    }
    return take_reply(&reply, payload, err, err_cap);
}

enum device_status device_ask(const struct seal_device *d, const struct device_request *r,
                              struct buf *payload, char *err, size_t err_cap)
{
    struct child c;
    uint8_t *message = secret_pages_alloc(DEVICE_MESSAGE_MAX);

    if (message == NULL) {
        snprintf(err, err_cap, "no locked memory to ask ww-seal: raise LimitMEMLOCK");
        return DEVICE_NO_PROGRAM;
    }
    enum device_status status = DEVICE_NO_PROGRAM;
    if (child_start(d, &c, err, err_cap)) {
        status = converse(d, &c, r, message, payload, err, err_cap);
        child_end(&c);
    }
    secret_pages_free(message, DEVICE_MESSAGE_MAX);
    return status;
}
