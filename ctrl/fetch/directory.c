/* A directory: of another disk, or of a file system that another machine keeps. */
#include "ctrl/fetch/fetch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static enum fetch_status fail_at(const struct fetch_request *r, int cause, struct fetch_reply *out)
{
    char what[2 * FETCH_TEXT_CAP];

    snprintf(what, sizeof what, "%s/%s", r->place, r->name);
    return fetch_fail_errno(out, cause, what);
}

static int copy(struct fetch_stream *from, struct fetch_stream *to)
{
    uint8_t room[64 * 1024];
    ssize_t n;

    while ((n = stream_read(from, room, sizeof room)) > 0) {
        if (!stream_write(to, room, (size_t)n))
            return to->error;
    }
    return n < 0 ? from->error : 0;
}

/* From in to out (-1: nowhere), whole. */
static int copy_hashed(int in, int to_fd, struct fetch_reply *out)
{
    struct fetch_stream from, to;
    uint8_t sha[FETCH_SHA_LEN];
    uint64_t size;

    stream_begin(&from, in);
    stream_begin(&to, to_fd);
    int cause = copy(&from, &to);
    stream_end(&to, &size, sha);
    stream_end(&from, &out->size, out->sha256);
    return cause;
}

/* One unfinished file per store and sort: what a death left behind is overwritten, and never adds up. */
static void part_name(const char *name, char out[64])
{
    snprintf(out, 64, ".%.11s-%s.part", name, strstr(name, "-000000000001-") != NULL ? "full" : "more");
}

static int write_part(int dir, const char *part, int from, struct fetch_reply *out)
{
    int fd = openat(dir, part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return errno;
    int cause = copy_hashed(from, fd, out);
    if (cause == 0 && fsync(fd) != 0)
        cause = errno;
    if (close(fd) != 0 && cause == 0)
        cause = errno;
    return cause;
}

/* From the disk, not from the cache, as far as the kernel lets us ask for it. */
static int read_back(int dir, const char *name, struct fetch_reply *out)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return errno;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    int cause = copy_hashed(fd, -1, out);
    close(fd);
    return cause;
}

static enum fetch_status put(const struct fetch_request *r, int dir, int fd, struct fetch_reply *out)
{
    struct fetch_reply written = {0};
    char part[64];

    part_name(r->name, part);
    int cause = write_part(dir, part, fd, &written);
    if (cause == 0 && (renameat(dir, part, dir, r->name) != 0 || fsync(dir) != 0))
        cause = errno;
    if (cause != 0) {
        (void)unlinkat(dir, part, 0);
        return fail_at(r, cause, out);
    }
    cause = read_back(dir, r->name, out);
    if (cause == 0 && out->size == written.size && memcmp(out->sha256, written.sha256, FETCH_SHA_LEN) == 0)
        return FETCH_OK;
    (void)unlinkat(dir, r->name, 0); /* what cannot be read back must not be listed as if it could */
    return cause != 0
               ? fail_at(r, cause, out)
               : fetch_fail(out, FETCH_DIFFERENT, "%s/%s reads back as something else", r->place, r->name);
}

static enum fetch_status get(const struct fetch_request *r, int dir, int fd, struct fetch_reply *out)
{
    int from = openat(dir, r->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (from < 0)
        return fail_at(r, errno, out);
    int cause = copy_hashed(from, fd, out);
    close(from);
    return cause == 0 ? FETCH_OK : fail_at(r, cause, out);
}

static enum fetch_status list(const struct fetch_request *r, int dir, int fd, struct fetch_reply *out)
{
    struct fetch_stream to;
    int again = fcntl(dir, F_DUPFD_CLOEXEC, 0);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    bool ok = true;

    if (d == NULL)
        return fail_at(r, errno, out);
    stream_begin(&to, fd);
    for (const struct dirent *e; ok && (e = readdir(d)) != NULL;)
        ok = !name_ok(e->d_name) ||
             (stream_write(&to, e->d_name, strlen(e->d_name)) && stream_write(&to, "\n", 1));
    closedir(d);
    stream_end(&to, &out->size, out->sha256);
    return ok ? FETCH_OK : fail_at(r, to.error, out);
}

static enum fetch_status drop(const struct fetch_request *r, int dir, struct fetch_reply *out)
{
    if (unlinkat(dir, r->name, 0) != 0 || fsync(dir) != 0)
        return fail_at(r, errno, out);
    return FETCH_OK;
}

enum fetch_status directory_answer(const struct fetch_request *r, int fd, struct fetch_reply *out)
{
    int dir = open(r->place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum fetch_status status;

    if (dir < 0)
        return fetch_fail_errno(out, errno, r->place);
    switch (r->operation) {
    case FETCH_PUT:
        status = put(r, dir, fd, out);
        break;
    case FETCH_GET:
        status = get(r, dir, fd, out);
        break;
    case FETCH_LIST:
        status = list(r, dir, fd, out);
        break;
    default:
        status = drop(r, dir, out);
        break;
    }
    close(dir);
    return status;
}
