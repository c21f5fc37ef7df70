#include "ctrl/operators/admin_log.h"

#include "base/check.h"
#include "base/log.h"
#include "ctrl/lib/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TEXT_MAX 2048 /* of one field of a request */
#define TAIL_MAX 10000

struct admin_log {
    char path[PATH_MAX];
    int fd;
    off_t end;
    uint64_t seq;                    /* of the last line */
    uint8_t before[MBED_DIGEST_LEN]; /* hash of the last line */
    char problem[256];
};

static void hex(const uint8_t *p, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", p[i]);
}

/* One line, checked against the chain; false: it does not continue it. */
static bool follow(struct admin_log *l, const char *line, size_t len)
{
    char before[2 * MBED_DIGEST_LEN + 1];
    json_t *j = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    json_int_t seq = json_integer_value(json_object_get(j, "seq"));
    const char *said = json_string_value(json_object_get(j, "before"));

    hex(l->before, sizeof l->before, before);
    bool ok = said != NULL && strcmp(said, before) == 0 && seq == (json_int_t)l->seq + 1;
    json_decref(j);
    l->seq = seq > 0 ? (uint64_t)seq : l->seq + 1;
    mbed_sha256(span_of(line, len), l->before);
    return ok;
}

static void into_ring(json_t *ring, size_t count, const char *line, size_t len)
{
    json_t *j = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);

    if (count == 0)
        json_decref(j);
    else
        json_array_append_new(ring, j != NULL ? j : json_null());
    if (json_array_size(ring) > count)
        json_array_remove(ring, 0);
}

/* Walks the file from its beginning.  *whole: every line followed the one before. */
static void walk(struct admin_log *l, json_t *ring, size_t count, bool *whole)
{
    FILE *f = fopen(l->path, "r");
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    *whole = true;
    l->seq = 0;
    l->end = 0;
    memset(l->before, 0, sizeof l->before);
    while (f != NULL && (n = getline(&line, &cap, f)) > 0 && line[n - 1] == '\n') {
        *whole &= follow(l, line, (size_t)n - 1);
        l->end += n;
        if (ring != NULL)
            into_ring(ring, count, line, (size_t)n - 1);
    }
    free(line);
    if (f != NULL)
        fclose(f);
}

struct admin_log *admin_log_open(const char *audit_dir, struct refusal *why)
{
    struct admin_log *l = calloc(1, sizeof *l);
    bool whole;

    CHECK(l != NULL);
    snprintf(l->path, sizeof l->path, "%s/admin.jsonl", audit_dir);
    l->fd = open(l->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->fd < 0) {
        refuse(why, "audit_unwritable", "check ctrl.audit_dir and its permissions", "%s: %s", l->path,
               strerror(errno));
        free(l);
        return NULL;
    }
    walk(l, NULL, 0, &whole);
    if (!whole)
        log_error("the admin log was altered: see wwctl audit acts", F("file", l->path));
    if (ftruncate(l->fd, l->end) != 0)
        log_warn("the admin log ends in a torn line", F("file", l->path), F("errno", errno));
    return l;
}

void admin_log_close(struct admin_log *l)
{
    if (l == NULL)
        return;
    close(l->fd);
    free(l);
}

const char *admin_log_problem(const struct admin_log *l)
{
    return l->problem;
}

static bool write_at_end(struct admin_log *l, const char *text, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pwrite(l->fd, text + done, len - done, l->end + (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    if (done == len && fdatasync(l->fd) == 0)
        return true;
    int cause = errno;
    snprintf(l->problem, sizeof l->problem, "%.150s: %s", l->path, strerror(cause));
    /* What stands there was promised to nobody. */
    if (ftruncate(l->fd, l->end) != 0)
        log_error("the admin log cannot be cut", F("file", l->path));
    return false;
}

/* Takes j. */
static bool append(struct admin_log *l, json_t *j)
{
    char before[2 * MBED_DIGEST_LEN + 1];

    hex(l->before, sizeof l->before, before);
    json_object_set_new(j, "seq", json_integer((json_int_t)l->seq + 1));
    json_object_set_new(j, "before", json_string(before));
    char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);
    json_decref(j);
    CHECK(text != NULL);
    size_t len = strlen(text);
    text[len] = '\n'; /* in place of the NUL: written by length */
    bool ok = write_at_end(l, text, len + 1);
    if (ok) {
        mbed_sha256(span_of(text, len), l->before);
        l->seq++;
        l->end += (off_t)len + 1;
        l->problem[0] = '\0';
    }
    free(text);
    return ok;
}

static json_t *time_json(int64_t unix_s)
{
    char text[CLOCK_TEXT_CAP];

    clock_text(unix_s, text);
    return json_string(text);
}

/* Texts that are named here are never secret; of every other only that it was there. */
static bool is_open(const char *name)
{
    static const char *const names[] = {"path", "text", "id",   "algorithm", "email", "audience", "signature",
                                        "slot", "kind", "sink", "name",      "level", "module",   "device"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static json_t *kept(const char *name, json_t *v)
{
    if (json_is_integer(v) || json_is_boolean(v))
        return json_incref(v);
    if (!json_is_string(v) || !is_open(name))
        return json_string("(not kept)");
    return json_string_length(v) <= TEXT_MAX ? json_incref(v) : json_string("(too long to be kept)");
}

static json_t *request_kept(const json_t *request)
{
    json_t *out = json_object();
    const char *name;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)request, name, v)
    {
        if (strcmp(name, "command") != 0)
            json_object_set_new(out, name, kept(name, v));
    }
    return out;
}

bool admin_log_begin(struct admin_log *l, int64_t unix_s, const struct actor *who, const char *command,
                     const json_t *request, uint64_t epoch, uint64_t *seq, struct refusal *why)
{
    char roles[64];

    roles_text(who->roles, roles);
    json_t *j = json_pack("{s:s, s:o, s:s, s:s, s:s, s:s, s:o, s:I}", "phase", "begin", "time",
                          time_json(unix_s), "who", who->name, "via", who->via, "roles", roles, "command",
                          command, "request", request_kept(request), "epoch", (json_int_t)epoch);
    CHECK(j != NULL);
    if (!append(l, j))
        return refuse(why, "audit_unwritable", "make room in, or repair, ctrl.audit_dir",
                      "the act cannot be recorded, so it is not done: %s", l->problem);
    *seq = l->seq;
    return true;
}

bool admin_log_end(struct admin_log *l, int64_t unix_s, uint64_t seq, const char *outcome, uint64_t epoch)
{
    return append(l, json_pack("{s:s, s:o, s:I, s:s, s:I}", "phase", "end", "time", time_json(unix_s), "of",
                               (json_int_t)seq, "outcome", outcome, "epoch", (json_int_t)epoch));
}

json_t *admin_log_tail(const struct admin_log *l, size_t count, bool *whole, uint64_t *lines)
{
    struct admin_log scratch = *l;
    json_t *ring = json_array();

    walk(&scratch, ring, count < TAIL_MAX ? count : TAIL_MAX, whole);
    *lines = scratch.seq;
    /* Cut off at its end: what was written last is not there. */
    *whole &= memcmp(scratch.before, l->before, sizeof l->before) == 0;
    return ring;
}
