#include "drivers/seal/secret_file.h"

#include "base/descriptor.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char credential_prefix[] = "credential:";

static bool resolve_path(const char *name, const struct secret_file *f, char *path, size_t cap, char *err,
                         size_t err_cap)
{
    size_t prefix = sizeof credential_prefix - 1;
    const char *dir = getenv("CREDENTIALS_DIRECTORY");

    if (strncmp(name, credential_prefix, prefix) != 0) {
        snprintf(path, cap, "%s", name);
        return true;
    }
    if (dir == NULL || strchr(name + prefix, '/') != NULL) {
        snprintf(err, err_cap,
                 "the %s is to come from the systemd credential \"%s\", but %s: add "
                 "LoadCredential=%s:/path to the unit, or set %s to a file",
                 f->what, name + prefix,
                 dir == NULL ? "$CREDENTIALS_DIRECTORY is not set" : "its name holds a slash", name + prefix,
                 f->setting);
        return false;
    }
    snprintf(path, cap, "%s/%s", dir, name + prefix);
    return true;
}

static void warn_when_open_to_others(int fd, const struct secret_file *f, const char *path)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && (st.st_mode & 077) != 0)
        log_warn("a file with a secret is open to others: chmod 600 it", F("what", f->what), F("file", path));
}

bool secret_file_read(const char *name, const struct secret_file *f, uint8_t *out, size_t cap, size_t *len,
                      char *path, size_t path_cap, char *err, size_t err_cap)
{
    if (!resolve_path(name, f, path, path_cap, err, err_cap))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : descriptor_read(fd, out, cap);
    int cause = errno;
    if (fd >= 0) {
        warn_when_open_to_others(fd, f, path);
        close(fd);
    }
    if (n < 0) {
        snprintf(err, err_cap, "cannot read the %s file %s: %s: check %s", f->what, path, strerror(cause),
                 f->setting);
        return false;
    }
    *len = (size_t)n;
    return true;
}
