#include "ctrl/cli/wwctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define REPLY_TIMEOUT_S  60
#define ROTATE_TIMEOUT_S 3600 /* every row is sealed anew meanwhile */

static int patience_s(const json_t *request)
{
    const char *command = json_string_value(json_object_get(request, "command"));

    return command != NULL && strcmp(command, "root rotate") == 0 ? ROTATE_TIMEOUT_S : REPLY_TIMEOUT_S;
}

static int connect_to(const char *path, int timeout_s)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = timeout_s};

    if (strlen(path) >= sizeof addr.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(addr.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0) {
        int cause = errno;

        close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

static bool send_line(int fd, const json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);

    if (text == NULL)
        return false;
    size_t len = strlen(text), sent = 0;
    text[len++] = '\n';
    while (sent < len) {
        ssize_t n = send(fd, text + sent, len - sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    free(text);
    return sent == len;
}

/* A malloc'd line without its end; NULL when the other side went away first. */
static char *receive_line(int fd, size_t *len)
{
    size_t cap = 1 << 16;
    char *text = malloc(cap);

    *len = 0;
    while (text != NULL) {
        ssize_t n = recv(fd, text + *len, cap - *len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        *len += (size_t)n;
        if (text[*len - 1] == '\n')
            return text;
        if (*len == cap) {
            char *more = realloc(text, cap *= 2);

            if (more == NULL)
                break;
            text = more;
        }
    }
    free(text);
    return NULL;
}

static struct remote remote;

void link_remote(const struct remote *r)
{
    remote = *r;
}

json_t *link_call(const char *socket_path, const json_t *request)
{
    if (remote.address != NULL)
        return link_tls_call(&remote, request);

    size_t len;
    int fd = connect_to(socket_path, patience_s(request));

    if (fd < 0) {
        fprintf(stderr,
                "wwctl: cannot reach ww-ctrl at %s: %s\n"
                "  start it (ww-ctrl --config FILE), or name its socket with --admin or $WW_ADMIN\n",
                socket_path, strerror(errno));
        return NULL;
    }
    char *line = send_line(fd, request) ? receive_line(fd, &len) : NULL;
    close(fd);
    json_t *reply = line == NULL ? NULL : json_loadb(line, len, 0, NULL);
    free(line);
    if (reply == NULL)
        fprintf(stderr,
                "wwctl: ww-ctrl at %s went away before it answered\n"
                "  a change may or may not have been made: look with wwctl status and wwctl key list\n",
                socket_path);
    return reply;
}
