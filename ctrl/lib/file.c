#include "ctrl/lib/file.h"

#include "base/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char check_path[] = "check the path in the configuration and its permissions";

bool file_read(const char *path, uint8_t *out, size_t cap, size_t *len, struct refusal *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : descriptor_read(fd, out, cap);
    int cause = errno;

    if (fd >= 0)
        close(fd);
    if (n < 0)
        return refuse(why, "file_unreadable", check_path, "%s: %s", path, strerror(cause));
    if ((size_t)n >= cap)
        return refuse(why, "file_unreadable", check_path, "%s is longer than %zu bytes", path, cap - 1);
    out[n] = '\0';
    *len = (size_t)n;
    return true;
}

bool file_write(const char *path, struct span content, struct refusal *why)
{
    char tmp[PATH_MAX];

    snprintf(tmp, sizeof tmp, "%s.new", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && descriptor_write(fd, content) && fsync(fd) == 0;
    int cause = errno;
    if (fd >= 0)
        close(fd);
    if (ok && rename(tmp, path) != 0) {
        ok = false;
        cause = errno;
    }
    return ok || refuse(why, "file_unwritable", check_path, "%s: %s", path, strerror(cause));
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool file_make_dir(const char *path, struct refusal *why)
{
    char dir[PATH_MAX];

    snprintf(dir, sizeof dir, "%s", path);
    for (char *at = dir + 1; *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        if (mkdir(dir, 0700) != 0 && errno != EEXIST)
            return refuse(why, "file_unwritable", check_path, "%s: %s", dir, strerror(errno));
        *at = '/';
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return refuse(why, "file_unwritable", check_path, "%s: %s", dir, strerror(errno));
    return true;
}
