#include "ctrl/lib/file.h"

#include "base/descriptor.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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

void file_dir_of(const char *path, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s", path);
    char *slash = strrchr(out, '/');
    if (slash == NULL)
        snprintf(out, PATH_MAX, ".");
    else
        slash[slash == out ? 1 : 0] = '\0';
}

void file_sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) != 0)
        log_warn("directory could not be synced", F("dir", dir), F("errno", errno));
    if (fd >= 0)
        close(fd);
}

bool file_replace(const char *path, struct span content)
{
    char tmp[PATH_MAX + 8], dir[PATH_MAX];

    snprintf(tmp, sizeof tmp, "%s.new", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok = descriptor_write(fd, content) && fsync(fd) == 0;
    int cause = errno;
    close(fd);
    errno = cause;
    if (!ok || rename(tmp, path) != 0)
        return false;
    file_dir_of(path, dir);
    file_sync_dir(dir);
    return true;
}

bool file_write(const char *path, struct span content, struct refusal *why)
{
    return file_replace(path, content) ||
           refuse(why, "file_unwritable", check_path, "%s: %s", path, strerror(errno));
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
