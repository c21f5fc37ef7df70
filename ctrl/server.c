#include "ctrl/server.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool remove_stale(const char *path, struct refusal *why)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        return true;
    if (!S_ISSOCK(st.st_mode))
        return refuse(why, "bad_socket", "choose another path in the configuration",
                      "%s is there and no socket", path);
    return unlink(path) == 0 ||
           refuse(why, "bad_socket", "check its permissions", "%s: %s", path, strerror(errno));
}

static int bind_and_listen(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0177);
    bool ok = fd >= 0 && bind(fd, (const struct sockaddr *)addr, sizeof *addr) == 0 && listen(fd, 64) == 0;
    int cause = errno;

    umask(mask);
    if (!ok && fd >= 0)
        close(fd);
    errno = cause;
    return ok ? fd : -1;
}

int server_listen(const char *path, struct refusal *why)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof addr.sun_path) {
        refuse(why, "bad_socket", "choose a shorter path in the configuration", "%s is longer than %zu bytes",
               path, sizeof addr.sun_path - 1);
        return -1;
    }
    if (!remove_stale(path, why))
        return -1;
    memcpy(addr.sun_path, path, strlen(path));
    int fd = bind_and_listen(&addr);
    if (fd < 0)
        refuse(why, "bad_socket", "check the directory and its permissions", "%s: %s", path, strerror(errno));
    return fd;
}

bool server_peer_ok(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}
