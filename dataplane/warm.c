/* Writing goes to a file beside, is synced, and takes the old one's place; a floor is written whole at once, a snapshot in
 * steps, since it may have hundreds of megabytes and a revoke must not wait for it.  After a snapshot the next one waits
 * for ten times as long as this one took: a bulk import does not turn into nothing but snapshots. */
#include "dataplane/warm.h"

#include "base/check.h"
#include "base/descriptor.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/secret_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNKS_PER_STEP 16
#define REST_FACTOR     10 /* of a snapshot's own time, before the next one begins */
#define REST_MIN_US     50000
#define CONFIRM_S       600 /* the floor says so often that ctrl is there */
#define FUTURE_S        300 /* a clock may have been set back a little */

static const char next_ctrl[] = "start ww-ctrl: the dataplane takes everything from it";

struct warm {
    struct warm_config config;
    struct keys_warm *sealer; /* NULL: locked */
    bool waits;               /* for its key */
    struct warm_problem key_problem;
    struct warm_status status;
    char told[1024]; /* status.json as it was last written */
    /* the snapshot that is being written */
    bool due;
    int fd; /* -1: none */
    uint64_t started_us, rest_until_us;
    uint64_t writing_epoch, writing_unix_s, writing_len;
    uint8_t sealed[WARM_SEALED_MAX];
    uint8_t stream[WARM_CHUNK + CTL_MESSAGE_MAX]; /* reading: plaintext */
    size_t stream_len;
};

bool warm_refuse(struct warm_problem *p, const char *code, const char *next, const char *format, ...)
{
    va_list args;

    snprintf(p->code, sizeof p->code, "%s", code);
    snprintf(p->next, sizeof p->next, "%s", next);
    va_start(args, format);
    vsnprintf(p->text, sizeof p->text, format, args);
    va_end(args);
    return false;
}

/* ---- life ---- */

bool warm_unlock(struct warm *w, const uint8_t key[WARM_KEY_LEN], struct warm_problem *why)
{
    CHECK(w->sealer == NULL);
    w->sealer = keys_warm_new(key);
    w->waits = false;
    return w->sealer != NULL ||
           warm_refuse(why, "warm_no_memory", "raise LimitMEMLOCK", "no locked memory for the warm snapshot");
}

struct warm *warm_new(const struct warm_config *c, const uint8_t *key, struct warm_problem *why)
{
    struct warm *w = secret_pages_alloc(sizeof *w);

    if (w == NULL) {
        warm_refuse(why, "warm_no_memory", "raise LimitMEMLOCK", "no locked memory for the warm snapshot");
        return NULL;
    }
    w->config = *c;
    w->fd = -1;
    w->waits = true;
    if (key != NULL && !warm_unlock(w, key, why)) {
        warm_free(w);
        return NULL;
    }
    if (mkdir(c->dir, 0700) != 0 && errno != EEXIST) {
        warm_refuse(why, "warm_dir", "make it, for the user of ww-dataplane alone", "%s: %s", c->dir,
                    strerror(errno));
        warm_free(w);
        return NULL;
    }
    return w;
}

bool warm_waits(const struct warm *w)
{
    return w->waits;
}

void warm_no_key(struct warm *w, const struct warm_problem *why)
{
    w->waits = false;
    w->key_problem = w->status.problem = *why;
    log_error("no warm start: a start will need ww-ctrl", F("code", why->code), F("why", why->text),
              F("next", why->next));
}

void warm_forget(const char *dir)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/snapshot", dir);
    if (unlink(path) == 0)
        log_warn("dataplane.warm_key is not set any more: the warm snapshot is removed", F("file", path));
}

void warm_give_up(struct warm *w)
{
    if (w->fd < 0)
        return;
    close(w->fd);
    w->fd = -1;
    w->due = true;
}

void warm_free(struct warm *w)
{
    if (w == NULL)
        return;
    warm_give_up(w);
    keys_warm_free(w->sealer);
    secret_pages_free(w, sizeof *w);
}

void warm_status(const struct warm *w, struct warm_status *out)
{
    *out = w->status;
}

/* ---- files ---- */

static void path_of(const struct warm *w, const char *name, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s", w->config.dir, name);
}

static bool write_all(int fd, const uint8_t *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static int create(const struct warm *w, const char *name)
{
    char path[PATH_MAX];

    path_of(w, name, path);
    return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static bool dir_sync(const struct warm *w)
{
    int fd = open(w->config.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

/* What was written to `from`, and synced, becomes `to`. */
static bool take_place(const struct warm *w, const char *from, const char *to, bool sync)
{
    char a[PATH_MAX], b[PATH_MAX];

    path_of(w, from, a);
    path_of(w, to, b);
    return rename(a, b) == 0 && (!sync || dir_sync(w));
}

static bool file_replace(const struct warm *w, const char *name, const uint8_t *p, size_t len, bool sync)
{
    char beside[64];

    snprintf(beside, sizeof beside, "%s.new", name);
    int fd = create(w, beside);
    bool ok = fd >= 0 && write_all(fd, p, len) && (!sync || fdatasync(fd) == 0);
    int cause = errno;
    if (fd >= 0)
        close(fd);
    errno = cause;
    return ok && take_place(w, beside, name, sync);
}

/* ---- the floor ---- */

static bool write_floor(struct warm *w, uint64_t epoch)
{
    uint8_t file[WARM_FLOOR_LEN];
    uint64_t now = w->config.unix_s();

    if (!keys_warm_floor(w->sealer, w->config.shard, epoch, now, file) ||
        !file_replace(w, "floor", file, sizeof file, true))
        return false;
    w->status.floor_epoch = epoch;
    w->status.confirmed_unix_s = now;
    return true;
}

static void write_failed(struct warm *w, const char *what)
{
    warm_refuse(&w->status.problem, "warm_unwritable", "see to the disk; until then a start needs ww-ctrl",
                "%s/%s: %s", w->config.dir, what, strerror(errno));
    count(w->config.counters, REASON_WARM_WRITE_FAILED);
    log_error("the warm snapshot cannot be kept", F("why", w->status.problem.text),
              F("next", w->status.problem.next));
}

/* No floor, no snapshot: an older one must not come back as if nothing had been revoked since. */
static void drop_snapshot(struct warm *w)
{
    char path[PATH_MAX];

    path_of(w, "snapshot", path);
    if (unlink(path) != 0 && errno != ENOENT)
        log_error("the warm snapshot cannot be removed; remove it by hand, or a start without ww-ctrl may "
                  "serve what "
                  "was revoked",
                  F("file", path), F("errno", errno));
    (void)dir_sync(w);
    w->status.snapshot_epoch = w->status.snapshot_unix_s = 0;
}

static bool head_of(const struct warm *w, const char *name, struct warm_head *out)
{
    uint8_t bytes[WARM_HEAD_LEN];
    char path[PATH_MAX];

    path_of(w, name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool ok = fd >= 0 && read(fd, bytes, sizeof bytes) == sizeof bytes &&
              warm_head_parse(span_of(bytes, sizeof bytes), out);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* Locked, no floor can be written.  The heads are not vouched for; but one that was altered opens no more. */
static void acking_locked(struct warm *w, uint64_t epoch)
{
    struct warm_head snapshot, floor;

    w->due = true;
    if (!head_of(w, "snapshot", &snapshot) || !head_of(w, "floor", &floor) || snapshot.epoch < epoch ||
        floor.epoch < epoch)
        drop_snapshot(w);
}

void warm_acking(struct warm *w, uint64_t epoch)
{
    if (w->sealer == NULL) {
        acking_locked(w, epoch);
        return;
    }
    warm_give_up(w);
    if (!write_floor(w, epoch)) {
        write_failed(w, "floor");
        drop_snapshot(w);
        w->due = true; /* its floor comes first */
        return;
    }
    w->due = true;
}

void warm_confirmed(struct warm *w, uint64_t epoch)
{
    uint64_t now = w->config.unix_s();

    if (w->sealer == NULL || epoch != w->status.floor_epoch || w->fd >= 0 ||
        (now >= w->status.confirmed_unix_s && now - w->status.confirmed_unix_s < CONFIRM_S))
        return;
    if (!write_floor(w, epoch))
        write_failed(w, "floor");
}

/* ---- writing a snapshot ---- */

static bool snapshot_begin(struct warm *w, const struct keys *k, const struct warm_trust *trust,
                           uint64_t now_us)
{
    uint8_t head[WARM_HEAD_LEN];
    uint64_t now = w->config.unix_s();

    w->due = false;
    w->started_us = now_us;
    w->writing_epoch = keys_epoch(k);
    w->writing_unix_s = now;
    if (w->status.floor_epoch != w->writing_epoch && !write_floor(w, w->writing_epoch))
        return false;
    w->fd = create(w, "snapshot.new");
    w->writing_len = WARM_HEAD_LEN;
    return w->fd >= 0 && keys_warm_begin(w->sealer, k, w->config.shard, now, trust, head) &&
           write_all(w->fd, head, sizeof head);
}

static bool snapshot_end(struct warm *w)
{
    bool ok = fdatasync(w->fd) == 0;

    close(w->fd);
    w->fd = -1;
    if (!ok || !take_place(w, "snapshot.new", "snapshot", true))
        return false;
    w->status.snapshot_epoch = w->writing_epoch;
    w->status.snapshot_unix_s = w->writing_unix_s;
    w->status.problem = (struct warm_problem){{0}, {0}, {0}};
    count(w->config.counters, REASON_WARM_WRITTEN);
    return true;
}

/* A part of it; false: it failed, or is given up. */
static bool snapshot_go_on(struct warm *w, const struct keys *k)
{
    for (int i = 0; i < CHUNKS_PER_STEP; i++) {
        size_t len;
        enum keys_warm_status s = keys_warm_next(w->sealer, k, w->sealed, &len);

        if (s == KEYS_WARM_STALE) {
            warm_give_up(w);
            return true;
        }
        if (s == KEYS_WARM_FAULT || !write_all(w->fd, w->sealed, len))
            return false;
        w->writing_len += len;
        if (s == KEYS_WARM_LAST)
            return snapshot_end(w);
    }
    /* Begins to be written now, so that the sync at the end has little left. */
    (void)sync_file_range(w->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return true;
}

bool warm_step(struct warm *w, const struct keys *k, const struct warm_trust *trust, uint64_t now_us)
{
    if (w->sealer == NULL || (w->fd < 0 && (!w->due || now_us < w->rest_until_us)))
        return false;
    bool ok = w->fd >= 0 || snapshot_begin(w, k, trust, now_us);
    ok = ok && snapshot_go_on(w, k);
    if (!ok) {
        write_failed(w, "snapshot");
        if (w->fd >= 0)
            close(w->fd);
        w->fd = -1;
        w->due = true;
    }
    if (w->fd < 0) {
        uint64_t took = now_us - w->started_us;

        w->rest_until_us = now_us + (ok ? REST_MIN_US : 100 * REST_MIN_US) + REST_FACTOR * took;
    }
    return true;
}

/* ---- reading ---- */

static bool read_floor(struct warm *w, struct warm_head *floor, struct warm_problem *why)
{
    uint8_t file[WARM_FLOOR_LEN + 1];
    char path[PATH_MAX];

    path_of(w, "floor", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : read(fd, file, sizeof file);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return warm_refuse(why, "warm_floor_missing", next_ctrl,
                           "%s: %s: without it nobody knows whether the snapshot is the newest", path,
                           strerror(errno));
    enum keys_warm_status s = keys_warm_floor_open(w->sealer, span_of(file, (size_t)n), floor);
    if (s == KEYS_WARM_WRONG_KEY)
        return warm_refuse(why, "warm_wrong_key", "bring back the warm key that sealed it, or start ww-ctrl",
                           "%s was sealed under another warm key", path);
    return (s == KEYS_WARM_OK && floor->shard == w->config.shard) ||
           warm_refuse(why, "warm_floor_damaged", next_ctrl, "%s is damaged, or not of this shard", path);
}

static uint64_t as_of(const struct warm_head *h, const struct warm_head *floor)
{
    return floor->epoch == h->epoch && floor->unix_s > h->unix_s ? floor->unix_s : h->unix_s;
}

/* What the head says, before anything is opened: the chunks vouch for it later. */
static bool head_is_fresh(const struct warm *w, const struct warm_head *h, const struct warm_head *floor,
                          struct warm_problem *why)
{
    uint64_t now = w->config.unix_s(), at = as_of(h, floor);

    if (h->shard != w->config.shard)
        return warm_refuse(why, "warm_wrong_shard", "check dataplane.warm_dir", "the snapshot is of shard %u",
                           h->shard);
    if (h->epoch < floor->epoch)
        return warm_refuse(
            why, "warm_below_floor", next_ctrl,
            "the snapshot is of epoch %llu, but epoch %llu was served here: something may have been "
            "revoked since",
            (unsigned long long)h->epoch, (unsigned long long)floor->epoch);
    if (at > now + FUTURE_S)
        return warm_refuse(why, "warm_from_future", "set the clock", "the snapshot is of %llu s after now",
                           (unsigned long long)(at - now));
    if (now > at && now - at > w->config.max_age_s)
        return warm_refuse(why, "warm_too_old", next_ctrl,
                           "the snapshot is %llu s old, and dataplane.warm_max_age is %u s",
                           (unsigned long long)(now - at), w->config.max_age_s);
    return true;
}

struct reader {
    struct warm *w;
    int fd;
    bool (*message)(void *ctx, const struct ctl_head *h, struct span body);
    void *ctx;
    struct warm_problem *why;
    uint64_t index; /* of the chunk */
    bool begun, ended;
};

static bool damaged(struct reader *r)
{
    return warm_refuse(r->why, "warm_damaged", next_ctrl,
                       "the snapshot is damaged or was altered, in chunk %llu", (unsigned long long)r->index);
}

/* Hands over whole messages; of the last chunk all of them, and END at its very end. */
static bool take_messages(struct reader *r, bool last)
{
    struct warm *w = r->w;
    size_t at = 0;

    for (;;) {
        struct span rest = {w->stream + at, w->stream_len - at};
        struct ctl_head h;
        enum ctl_head_status s = ctl_head_parse(rest, &h);

        if (s == CTL_HEAD_MORE || (s == CTL_HEAD_OK && h.len > rest.len))
            break;
        if (s == CTL_HEAD_BAD || r->ended || r->begun == (h.type == CTL_BEGIN))
            return damaged(r);
        r->begun = true;
        r->ended = h.type == CTL_END;
        if (r->ended && (!last || h.len != rest.len))
            return damaged(r);
        if (!r->message(r->ctx, &h, span_of(rest.ptr + CTL_HEAD_LEN, h.len - CTL_HEAD_LEN)))
            return warm_refuse(r->why, "warm_refused",
                               "check dataplane.keys_max and versions_max, or start ww-ctrl",
                               "the snapshot does not fit this dataplane");
        at += h.len;
    }
    memmove(w->stream, w->stream + at, w->stream_len - at);
    w->stream_len -= at;
    return !last || (r->ended && w->stream_len == 0) || damaged(r);
}

static bool read_chunks(struct reader *r, off_t size)
{
    struct warm *w = r->w;
    uint64_t left = (uint64_t)size - WARM_HEAD_LEN;

    for (w->stream_len = 0; !r->ended; r->index++) {
        ssize_t n = descriptor_read(r->fd, w->sealed, sizeof w->sealed);
        struct secret_span plain;

        if (n < BLOB_GCM_TAG_LEN || (uint64_t)n > left)
            return damaged(r);
        left -= (uint64_t)n;
        if (keys_warm_take(w->sealer, span_of(w->sealed, (size_t)n), left == 0, &plain) != KEYS_WARM_OK)
            return damaged(r);
        CHECK(plain.len <= sizeof w->stream - w->stream_len);
        memcpy(w->stream + w->stream_len, secret_expose(plain).ptr, plain.len);
        w->stream_len += plain.len;
        if (!take_messages(r, left == 0))
            return false;
        if (left == 0 && !r->ended)
            return damaged(r);
    }
    return true;
}

static bool read_snapshot(struct reader *r, struct warm_head *h)
{
    uint8_t bytes[WARM_HEAD_LEN];
    struct warm_head floor;
    struct stat st;

    if (fstat(r->fd, &st) != 0 || st.st_size <= WARM_HEAD_LEN ||
        descriptor_read(r->fd, bytes, sizeof bytes) != WARM_HEAD_LEN ||
        !warm_head_parse(span_of(bytes, sizeof bytes), h) || h->kind != WARM_SNAPSHOT)
        return warm_refuse(r->why, "warm_damaged", next_ctrl,
                           "the snapshot is no snapshot of this version, or its head is damaged");
    if (!read_floor(r->w, &floor, r->why) || !head_is_fresh(r->w, h, &floor, r->why))
        return false;
    if (keys_warm_open(r->w->sealer, h) != KEYS_WARM_OK)
        return warm_refuse(r->why, "warm_wrong_key",
                           "bring back the warm key that sealed it, or start ww-ctrl",
                           "the snapshot was sealed under another warm key, or its head is damaged");
    r->w->status.floor_epoch = floor.epoch;
    r->w->status.confirmed_unix_s = as_of(h, &floor);
    return read_chunks(r, st.st_size);
}

bool warm_load(struct warm *w, bool (*message)(void *ctx, const struct ctl_head *h, struct span body),
               void *ctx)
{
    struct reader r = {.w = w, .message = message, .ctx = ctx, .why = &w->status.problem};
    struct warm_head h = {0};
    char path[PATH_MAX];

    if (w->sealer == NULL) {
        w->status.problem = w->key_problem; /* told already */
        count(w->config.counters, REASON_WARM_REFUSED);
        return false;
    }
    path_of(w, "snapshot", path);
    r.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool ok = r.fd >= 0 ? read_snapshot(&r, &h)
                        : warm_refuse(r.why, "warm_absent", next_ctrl, "%s: %s", path, strerror(errno));
    if (r.fd >= 0)
        close(r.fd);
    secret_wipe(w->stream, sizeof w->stream);
    count(w->config.counters, ok ? REASON_WARM_STARTED : REASON_WARM_REFUSED);
    if (!ok) {
        log_error("no warm start", F("code", r.why->code), F("why", r.why->text), F("next", r.why->next));
        return false;
    }
    w->status.problem = (struct warm_problem){{0}, {0}, {0}};
    w->status.snapshot_epoch = h.epoch;
    w->status.snapshot_unix_s = h.unix_s;
    return true;
}

/* ---- telling ---- */

/* Into a JSON string: what would need an escape is left out. */
static void plain_text(const char *in, char *out, size_t cap)
{
    size_t n = 0;

    for (; *in != '\0' && n + 1 < cap; in++)
        out[n++] =
            (unsigned char)*in < 0x20 || *in == '"' || *in == '\\' || (unsigned char)*in > 0x7e ? '?' : *in;
    out[n] = '\0';
}

void warm_tell(struct warm *w, const struct warm_facts *f)
{
    const struct warm_status *s = &w->status;
    char why[sizeof s->problem.text], text[sizeof w->told];

    plain_text(s->problem.text, why, sizeof why);
    int n = snprintf(
        text, sizeof text,
        "{\"source\": \"%s\", \"serving\": %s, \"ctrl\": \"%s\", \"epoch\": %llu, \"keys\": %u, "
        "\"versions\": %u, \"pid\": %d,\n \"warm\": {\"snapshot_epoch\": %llu, \"snapshot_unix_s\": "
        "%llu, \"floor_epoch\": %llu, \"confirmed_unix_s\": %llu,\n  \"problem\": \"%s\", \"why\": "
        "\"%s\"}}\n",
        f->source, f->epoch != 0 ? "true" : "false", f->attached ? "attached" : "absent",
        (unsigned long long)f->epoch, f->keys, f->versions, (int)getpid(),
        (unsigned long long)s->snapshot_epoch, (unsigned long long)s->snapshot_unix_s,
        (unsigned long long)s->floor_epoch, (unsigned long long)s->confirmed_unix_s, s->problem.code, why);
    CHECK(n > 0 && (size_t)n < sizeof text);
    if (strcmp(text, w->told) == 0)
        return;
    /* Not worth a log line of its own: what matters was logged where it happened. */
    if (file_replace(w, "status.json", (const uint8_t *)text, (size_t)n, false))
        memcpy(w->told, text, (size_t)n + 1);
}
