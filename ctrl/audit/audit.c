#include "ctrl/audit/audit.h"

#include "base/check.h"
#include "base/descriptor.h"
#include "base/log.h"
#include "ctrl/lib/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BATCH         1024
#define POSITIONS_MAX 1024
/* The largest ring, emptied: its process should be dead, but nobody has proven it. */
#define OLD_RING_DRAINS_MAX ((1 << 24) / BATCH)
#define SEGMENT_FORMAT      "audit-%010" PRIu64 ".wwa"

/* How far a ring is in the files. */
struct position {
    uint8_t boot_id[16];
    uint16_t worker;
    uint64_t seq;
};

struct ring {
    struct audit_ring *map;
    bool current; /* of the dataplane that said HELLO last */
    size_t position_idx;
};

struct audit {
    char dir[PATH_MAX];
    uint64_t segment_max;
    uint64_t segment; /* number of the open one */
    int fd;
    uint64_t size;     /* of whole entries in it */
    bool tail_unclean; /* a failed write may have left part of an entry */
    bool unsynced;
    size_t position_count;
    struct position positions[POSITIONS_MAX];
    size_t ring_count;
    struct ring rings[AUDIT_RINGS_MAX];
    size_t batch_len;                                 /* bytes in batch */
    uint8_t batch[(2 * BATCH + 2) * AUDIT_ENTRY_LEN]; /* a loss entry may go before every record */
    struct audit_status status;
    void (*written)(void *ctx, const struct audit_record *r);
    void *written_ctx;
};

static uint64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* ---- positions ---- */

static size_t position_find(const struct audit *a, const uint8_t boot_id[16], uint16_t worker)
{
    for (size_t i = 0; i < a->position_count; i++) {
        if (a->positions[i].worker == worker && memcmp(a->positions[i].boot_id, boot_id, 16) == 0)
            return i;
    }
    return a->position_count;
}

static size_t position_of(struct audit *a, const uint8_t boot_id[16], uint16_t worker)
{
    size_t i = position_find(a, boot_id, worker);

    if (i < a->position_count)
        return i;
    CHECK(a->position_count < POSITIONS_MAX);
    a->positions[i] = (struct position){.worker = worker};
    memcpy(a->positions[i].boot_id, boot_id, 16);
    a->position_count++;
    return i;
}

static void position_drop(struct audit *a, size_t idx)
{
    size_t last = --a->position_count;

    a->positions[idx] = a->positions[last];
    for (size_t i = 0; i < a->ring_count; i++) {
        if (a->rings[i].position_idx == last)
            a->rings[i].position_idx = idx;
    }
}

static bool position_has_ring(const struct audit *a, size_t idx)
{
    for (size_t i = 0; i < a->ring_count; i++) {
        if (a->rings[i].position_idx == idx)
            return true;
    }
    return false;
}

/* ---- segments ---- */

static void segment_path(const struct audit *a, uint64_t number, char out[PATH_MAX + 32])
{
    snprintf(out, PATH_MAX + 32, "%s/" SEGMENT_FORMAT, a->dir, number);
}

/* A problem is logged when it begins and when it ends, not once per attempt. */
static bool problem(struct audit *a, const char *doing, int cause)
{
    if (a->status.problem[0] == '\0')
        log_error("audit is not being written; the rings fill up", F("dir", a->dir), F("doing", doing),
                  F("errno", cause), F("next", "make room or mend the permissions; it goes on by itself"));
    snprintf(a->status.problem, sizeof a->status.problem, "%.100s: %s: %s", a->dir, doing, strerror(cause));
    errno = cause;
    return false;
}

static void problem_over(struct audit *a)
{
    if (a->status.problem[0] != '\0')
        log_info("audit is written again", F("dir", a->dir));
    a->status.problem[0] = '\0';
}

static struct audit_entry entry_at(const struct position *p, enum audit_kind kind, uint64_t time_unix_us)
{
    struct audit_entry e = {
        .kind = (uint8_t)kind, .worker = p->worker, .seq = p->seq, .time_unix_us = time_unix_us};

    memcpy(e.boot_id, p->boot_id, sizeof e.boot_id);
    return e;
}

/* A new segment appears with its positions already in it: it is written under another name first. */
static bool segment_start(struct audit *a, uint64_t number)
{
    char path[PATH_MAX + 32], tmp[PATH_MAX + 40];
    uint8_t entry[AUDIT_ENTRY_LEN];
    bool ok = true;

    segment_path(a, number, path);
    snprintf(tmp, sizeof tmp, "%s.new", path);
    int fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return problem(a, "new segment", errno);
    for (size_t i = 0; ok && i < a->position_count; i++) {
        struct audit_entry e = entry_at(&a->positions[i], AUDIT_POSITION, now_us());

        audit_entry_encode(&e, entry);
        ok = descriptor_write(fd, span_of(entry, sizeof entry));
    }
    if (!ok || fsync(fd) != 0 || rename(tmp, path) != 0) {
        int cause = errno;

        close(fd);
        unlink(tmp);
        return problem(a, "new segment", cause);
    }
    file_sync_dir(a->dir);
    if (a->fd >= 0) {
        audit_sync(a);
        close(a->fd);
    }
    a->fd = fd;
    a->segment = number;
    a->size = a->position_count * AUDIT_ENTRY_LEN;
    a->status.segments++;
    return true;
}

void audit_sync(struct audit *a)
{
    if (!a->unsynced)
        return;
    if (fdatasync(a->fd) != 0) {
        problem(a, "sync", errno);
        return;
    }
    a->unsynced = false;
}

static bool batch_write(struct audit *a)
{
    if (a->batch_len == 0)
        return true;
    if (a->tail_unclean && ftruncate(a->fd, (off_t)a->size) != 0)
        return problem(a, "truncate", errno);
    a->tail_unclean = false;
    if (a->size >= a->segment_max && !segment_start(a, a->segment + 1))
        return false;
    if (!descriptor_write(a->fd, span_of(a->batch, a->batch_len))) {
        int cause = errno;

        a->tail_unclean = true;
        return problem(a, "write", cause);
    }
    a->size += a->batch_len;
    a->unsynced = true;
    problem_over(a);
    return true;
}

static void batch_add(struct audit *a, const struct audit_entry *e)
{
    CHECK(a->batch_len + AUDIT_ENTRY_LEN <= sizeof a->batch);
    audit_entry_encode(e, a->batch + a->batch_len);
    a->batch_len += AUDIT_ENTRY_LEN;
}

/* ---- start ---- */

static void note_entry(struct audit *a, const struct audit_entry *e)
{
    size_t i = position_of(a, e->boot_id, e->worker);
    uint64_t upto = e->kind == AUDIT_LOSS ? e->seq + e->count - 1 : e->seq;

    if (e->kind == AUDIT_CLOSED || e->kind == AUDIT_UNKNOWN)
        position_drop(a, i);
    else if (upto > a->positions[i].seq)
        a->positions[i].seq = upto;
}

/* Reads the open segment; what is not a whole sound entry is cut off: it was being written when ctrl died. */
static bool segment_scan(struct audit *a, struct refusal *why)
{
    uint8_t raw[AUDIT_ENTRY_LEN];
    struct audit_entry e;
    struct stat st;

    a->size = 0;
    while (pread(a->fd, raw, sizeof raw, (off_t)a->size) == (ssize_t)sizeof raw &&
           audit_entry_decode(raw, &e)) {
        note_entry(a, &e);
        a->size += sizeof raw;
    }
    if (fstat(a->fd, &st) != 0 || ((uint64_t)st.st_size > a->size && ftruncate(a->fd, (off_t)a->size) != 0))
        return refuse(why, "audit_unwritable", "check the disk and its permissions",
                      "%s: cannot cut a torn entry: %s", a->dir, strerror(errno));
    if ((uint64_t)st.st_size > a->size) {
        a->status.cut_bytes = (uint64_t)st.st_size - a->size;
        log_warn("audit segment ended in a torn entry, which was cut off", F("segment", a->segment),
                 F("bytes", a->status.cut_bytes));
    }
    return true;
}

static uint64_t newest_segment(const char *dir, uint64_t *count)
{
    DIR *d = opendir(dir);
    uint64_t newest = 0;

    *count = 0;
    for (struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        uint64_t number;
        char again[64];

        if (sscanf(e->d_name, "audit-%" SCNu64 ".wwa", &number) != 1)
            continue;
        snprintf(again, sizeof again, SEGMENT_FORMAT, number);
        if (strcmp(again, e->d_name) != 0)
            continue;
        *count += 1;
        if (number > newest)
            newest = number;
    }
    if (d != NULL)
        closedir(d);
    return newest;
}

static bool open_newest(struct audit *a, struct refusal *why)
{
    char path[PATH_MAX + 32];
    uint64_t newest = newest_segment(a->dir, &a->status.segments);

    if (newest == 0)
        return segment_start(a, 1) ||
               refuse(why, "audit_unwritable", "check ctrl.audit_dir and its permissions", "%s",
                      a->status.problem);
    segment_path(a, newest, path);
    a->segment = newest;
    a->fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    if (a->fd < 0)
        return refuse(why, "audit_unwritable", "check ctrl.audit_dir and its permissions", "%s: %s", path,
                      strerror(errno));
    return segment_scan(a, why);
}

struct audit *audit_open(const char *dir, uint64_t segment_max, struct refusal *why)
{
    struct audit *a = calloc(1, sizeof *a);

    CHECK(a != NULL);
    a->fd = -1;
    a->segment_max = segment_max;
    snprintf(a->dir, sizeof a->dir, "%s", dir);
    if (!open_newest(a, why)) {
        audit_close(a);
        return NULL;
    }
    return a;
}

void audit_close(struct audit *a)
{
    if (a == NULL)
        return;
    if (a->fd >= 0) {
        audit_sync(a);
        close(a->fd);
    }
    for (size_t i = 0; i < a->ring_count; i++)
        audit_ring_unmap(a->rings[i].map);
    free(a);
}

/* ---- draining ---- */

static void put_loss(struct audit *a, const struct position *p, uint64_t from, uint64_t count)
{
    struct audit_entry e = entry_at(p, AUDIT_LOSS, now_us());

    e.seq = from;
    e.count = count;
    batch_add(a, &e);
    log_warn("audit records were lost: the ring was full", F("worker", p->worker), F("from", from),
             F("count", count));
}

static void put_record(struct audit *a, const struct position *p, const struct audit_record *r)
{
    struct audit_entry e = entry_at(p, AUDIT_RECORD, r->time_unix_us);
    const char *verdict = r->verdict < REASON_COUNT ? reason_name(r->verdict) : "unknown";

    e.seq = r->seq;
    e.record = *r;
    memcpy(e.verdict, verdict, strnlen(verdict, sizeof e.verdict - 1)); /* the rest is zero */
    batch_add(a, &e);
}

struct drained {
    uint64_t taken, written, lost, skipped;
    uint64_t last_seq;
    bool bad;
};

static struct drained ring_collect(struct audit *a, const struct ring *ring, uint32_t budget)
{
    const struct position *p = &a->positions[ring->position_idx];
    struct drained d = {.last_seq = p->seq};
    struct audit_record r;

    while (d.taken < budget && d.taken < BATCH) {
        enum audit_ring_status s = audit_peek(ring->map, d.taken, &r);

        if (s == AUDIT_RING_EMPTY)
            break;
        if (s == AUDIT_RING_BAD) {
            d.bad = true;
            break;
        }
        d.taken++;
        if (r.seq <= d.last_seq) {
            d.skipped++;
            continue;
        }
        if (r.seq != d.last_seq + 1) {
            put_loss(a, p, d.last_seq + 1, r.seq - d.last_seq - 1);
            d.lost += r.seq - d.last_seq - 1;
        }
        put_record(a, p, &r);
        d.written++;
        d.last_seq = r.seq;
    }
    return d;
}

void audit_listen(struct audit *a, void (*written)(void *ctx, const struct audit_record *r), void *ctx)
{
    a->written = written;
    a->written_ctx = ctx;
}

/* The same records as ring_collect took: the ring still holds them. */
static void ring_tell(const struct audit *a, const struct ring *ring, const struct drained *d)
{
    uint64_t before = a->positions[ring->position_idx].seq;
    struct audit_record r;

    if (a->written == NULL)
        return;
    for (uint64_t i = 0; i < d->taken && audit_peek(ring->map, i, &r) == AUDIT_RING_OK; i++) {
        if (r.seq > before)
            a->written(a->written_ctx, &r);
    }
}

/* File first, ring after: a death in between repeats the record, and the position skips it. */
static bool ring_drain(struct audit *a, struct ring *ring, uint32_t budget, bool *moved)
{
    a->batch_len = 0;
    struct drained d = ring_collect(a, ring, budget);

    *moved = d.taken != 0;
    if (!batch_write(a)) {
        *moved = false;
        return true;
    }
    ring_tell(a, ring, &d);
    audit_release(ring->map, d.taken);
    a->positions[ring->position_idx].seq = d.last_seq;
    a->status.written += d.written;
    a->status.lost += d.lost;
    a->status.duplicates_skipped += d.skipped;
    return !d.bad;
}

static void ring_remove(struct audit *a, size_t idx)
{
    audit_ring_unmap(a->rings[idx].map);
    a->rings[idx] = a->rings[--a->ring_count];
}

static void ring_give_up(struct audit *a, size_t idx)
{
    log_error("an audit ring holds nonsense and is given up",
              F("worker", a->positions[a->rings[idx].position_idx].worker),
              F("after", a->positions[a->rings[idx].position_idx].seq));
    a->status.bad_rings++;
    ring_remove(a, idx);
}

bool audit_drain(struct audit *a, uint32_t budget)
{
    bool any = false;

    for (size_t i = a->ring_count; i-- > 0;) {
        bool moved;

        if (!ring_drain(a, &a->rings[i], budget, &moved))
            ring_give_up(a, i);
        any |= moved;
    }
    return any;
}

/* ---- attaching ---- */

/* Writes the last word on a position and forgets it. */
static void position_end(struct audit *a, size_t idx, enum audit_kind kind)
{
    struct audit_entry e = entry_at(&a->positions[idx], kind, now_us());

    a->batch_len = 0;
    batch_add(a, &e);
    if (batch_write(a))
        position_drop(a, idx);
}

/* The ring's process is gone, and it is drained: what it had counted beyond its last record was dropped. */
static void ring_finish(struct audit *a, size_t idx)
{
    struct ring *ring = &a->rings[idx];
    struct position *p = &a->positions[ring->position_idx];
    uint64_t next_seq = *(volatile uint64_t *)&ring->map->next_seq;
    size_t position_idx = ring->position_idx;

    a->batch_len = 0;
    if (next_seq > p->seq + 1) {
        put_loss(a, p, p->seq + 1, next_seq - p->seq - 1);
        if (batch_write(a)) {
            a->status.lost += next_seq - p->seq - 1;
            p->seq = next_seq - 1;
        }
    }
    ring_remove(a, idx);
    position_end(a, position_idx, AUDIT_CLOSED);
}

/* Rings of an earlier dataplane: to their end, then away.  If the disk is full now, they stay until the next
 * attach. */
static void finish_old_rings(struct audit *a, const uint8_t boot_id[16])
{
    for (size_t i = a->ring_count; i-- > 0;) {
        struct audit_ring *map = a->rings[i].map;
        bool moved = true, sound = true;

        a->rings[i].current = false;
        if (memcmp(a->positions[a->rings[i].position_idx].boot_id, boot_id, 16) == 0) {
            ring_remove(a, i); /* the same dataplane again: mapped anew below */
            continue;
        }
        for (int n = 0; n < OLD_RING_DRAINS_MAX && moved && sound; n++)
            sound = ring_drain(a, &a->rings[i], BATCH, &moved);
        struct audit_record r;
        if (!sound)
            ring_give_up(a, i);
        else if (audit_peek(map, 0, &r) == AUDIT_RING_EMPTY)
            ring_finish(a, i);
    }
    for (size_t i = a->position_count; i-- > 0;) {
        if (memcmp(a->positions[i].boot_id, boot_id, 16) != 0 && !position_has_ring(a, i))
            position_end(a, i, AUDIT_UNKNOWN);
    }
}

static bool ring_belongs(const struct audit_ring *map, const struct ctl_hello *hello, uint16_t worker)
{
    return map != NULL && memcmp(map->boot_id, hello->boot_id, 16) == 0 && map->worker == worker;
}

bool audit_attach(struct audit *a, const struct ctl_hello *hello, const int *fds)
{
    struct audit_ring *maps[WORKERS_MAX] = {0};
    bool ok = hello->worker_count <= WORKERS_MAX;

    for (uint16_t i = 0; ok && i < hello->worker_count; i++) {
        maps[i] = audit_ring_map(fds[i]);
        ok = ring_belongs(maps[i], hello, i);
    }
    if (ok)
        finish_old_rings(a, hello->boot_id);
    if (!ok || a->ring_count + hello->worker_count > AUDIT_RINGS_MAX ||
        a->position_count + hello->worker_count > POSITIONS_MAX) {
        for (uint16_t i = 0; i < WORKERS_MAX; i++)
            audit_ring_unmap(maps[i]);
        return false;
    }
    for (uint16_t i = 0; i < hello->worker_count; i++)
        a->rings[a->ring_count++] = (struct ring){maps[i], true, position_of(a, hello->boot_id, i)};
    return true;
}

/* ---- looking ---- */

void audit_status(const struct audit *a, struct audit_status *out)
{
    *out = a->status;
    out->rings = (uint32_t)a->ring_count;
}

const struct counters *audit_counters(const struct audit *a, uint16_t worker)
{
    for (size_t i = 0; i < a->ring_count; i++)
        if (a->rings[i].current && a->rings[i].map->worker == worker)
            return &a->rings[i].map->counters;
    return NULL;
}

const struct counters *audit_house_counters(const struct audit *a)
{
    for (size_t i = 0; i < a->ring_count; i++)
        if (a->rings[i].current && a->rings[i].map->worker == 0)
            return &a->rings[i].map->house;
    return NULL;
}

static size_t segment_entries(const struct audit *a, uint64_t number, int *fd)
{
    char path[PATH_MAX + 32];
    struct stat st;

    segment_path(a, number, path);
    *fd = number == 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &st) != 0)
        return 0;
    return (size_t)st.st_size / AUDIT_ENTRY_LEN;
}

static size_t give_entries(int fd, size_t from, size_t to,
                           void (*each)(void *ctx, const struct audit_entry *e), void *ctx)
{
    uint8_t raw[AUDIT_ENTRY_LEN];
    struct audit_entry e;
    size_t given = 0;

    for (size_t i = from; i < to; i++) {
        if (pread(fd, raw, sizeof raw, (off_t)(i * AUDIT_ENTRY_LEN)) != (ssize_t)sizeof raw ||
            !audit_entry_decode(raw, &e))
            break;
        each(ctx, &e);
        given++;
    }
    return given;
}

size_t audit_tail(struct audit *a, size_t count, void (*each)(void *ctx, const struct audit_entry *e),
                  void *ctx)
{
    int now_fd, before_fd;
    size_t now = segment_entries(a, a->segment, &now_fd);
    size_t before = segment_entries(a, a->segment - 1, &before_fd);
    size_t from_now = count < now ? count : now;
    size_t from_before = count - from_now < before ? count - from_now : before;
    size_t given = 0;

    if (before_fd >= 0) {
        given += give_entries(before_fd, before - from_before, before, each, ctx);
        close(before_fd);
    }
    if (now_fd >= 0) {
        given += give_entries(now_fd, now - from_now, now, each, ctx);
        close(now_fd);
    }
    return given;
}
