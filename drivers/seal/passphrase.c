#include "drivers/seal/seal.h"

#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char credential_prefix[] = "credential:";

static bool resolve_path(const char *name, char *path, size_t cap, char *err, size_t err_cap)
{
    size_t prefix = sizeof credential_prefix - 1;
    const char *dir = getenv("CREDENTIALS_DIRECTORY");

    if (strncmp(name, credential_prefix, prefix) != 0) {
        snprintf(path, cap, "%s", name);
        return true;
    }
    if (dir == NULL || strchr(name + prefix, '/') != NULL) {
        snprintf(err, err_cap,
                 "the passphrase is to come from the systemd credential \"%s\", but %s: add "
                 "LoadCredential=%s:/path to the unit, or set seal.passphrase_file to a file",
                 name + prefix, dir == NULL ? "$CREDENTIALS_DIRECTORY is not set" : "its name holds a slash",
                 name + prefix);
        return false;
    }
    snprintf(path, cap, "%s/%s", dir, name + prefix);
    return true;
}

static ssize_t read_whole(int fd, uint8_t *out, size_t cap)
{
    size_t len = 0;

    while (len < cap) {
        ssize_t n = read(fd, out + len, cap - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

static void warn_when_open_to_others(int fd, const char *path)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && (st.st_mode & 077) != 0)
        log_warn("passphrase file is open to others: chmod 600 it", F("file", path));
}

bool seal_passphrase_read(const char *name, uint8_t *out, size_t *len, char *err, size_t err_cap)
{
    char path[1024];

    if (!resolve_path(name, path, sizeof path, err, err_cap))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read_whole(fd, out, SEAL_PASSPHRASE_MAX);
    int cause = errno;
    if (fd >= 0) {
        warn_when_open_to_others(fd, path);
        close(fd);
    }
    if (n < 0) {
        snprintf(err, err_cap, "cannot read the passphrase file %s: %s: check seal.passphrase_file", path,
                 strerror(cause));
        return false;
    }
    const uint8_t *end = memchr(out, '\n', (size_t)n);
    *len = end == NULL ? (size_t)n : (size_t)(end - out);
    if (*len > 0 && out[*len - 1] == '\r')
        *len -= 1;
    secret_wipe(out + *len, SEAL_PASSPHRASE_MAX - *len);
    if (*len < SEAL_PASSPHRASE_MIN || (end == NULL && n == SEAL_PASSPHRASE_MAX)) {
        snprintf(err, err_cap, "the passphrase in %s has %zu bytes: it must have %d..%d on its first line",
                 path, *len, SEAL_PASSPHRASE_MIN, SEAL_PASSPHRASE_MAX - 1);
        secret_wipe(out, SEAL_PASSPHRASE_MAX);
        return false;
    }
    return true;
}
