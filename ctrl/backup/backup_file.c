#include "ctrl/backup/backup_file.h"

#include "base/check.h"
#include "base/cursor.h"
#include "ctrl/lib/clock.h"
#include "proto/base64.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <mbedtls/sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LINE_CAP (BASE64_ENCODED_LEN(STORE_RECORD_MAX) + 256)
#define READ_LEN (64 * 1024)
#define PREV_AT  32 /* of the hash before, in a record (docs/WIRE.md, "The store") */

/* ---- small things ---- */

static void hex_print(const uint8_t *p, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", p[i]);
}

static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

static bool hex_parse(const char *text, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(text[2 * i]), low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);

        if (low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static struct tm utc(int64_t unix_s)
{
    time_t t = (time_t)unix_s;
    struct tm tm;

    gmtime_r(&t, &tm);
    return tm;
}

/* ---- names ---- */

#define NAME_DATE "%Y%m%dT%H%M%SZ"

void backup_name_print(const struct backup_head *h, const struct backup_end *e, char out[BACKUP_NAME_CAP])
{
    char store[9], head[9], made[CLOCK_TEXT_CAP];

    hex_print(h->identity.store_id, 4, store);
    hex_print(e->head, 4, head);
    struct tm tm = utc(h->made_unix_s);
    strftime(made, sizeof made, NAME_DATE, &tm);
    snprintf(out, BACKUP_NAME_CAP, "ww-%s-%s-%012" PRIu64 "-%012" PRIu64 "-%s.age", store, made, h->from,
             e->to, head);
}

static bool number_parse(const char *text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < 12; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *out = *out * 10 + (uint64_t)(text[i] - '0');
    }
    return text[12] == '-';
}

static bool date_parse(const char *text, const char *format, int64_t *out)
{
    struct tm tm = {0};
    const char *end = strptime(text, format, &tm);

    *out = end == NULL ? 0 : (int64_t)timegm(&tm);
    return end != NULL && (*end == '-' || *end == '\0');
}

/* ww-SSSSSSSS-YYYYmmddTHHMMSSZ-FFFFFFFFFFFF-TTTTTTTTTTTT-HHHHHHHH.age */
bool backup_name_parse(const char *text, struct backup_name *out)
{
    static const char like[] = "ww-........-................-............-............-.........age";

    if (strlen(text) != sizeof like - 1 || strncmp(text, "ww-", 3) != 0 || strcmp(text + 63, ".age") != 0)
        return false;
    return hex_parse(text + 3, out->store, 4) && text[11] == '-' &&
           date_parse(text + 12, NAME_DATE, &out->made_unix_s) && text[28] == '-' &&
           number_parse(text + 29, &out->from) && number_parse(text + 42, &out->to) &&
           hex_parse(text + 55, out->head, 4) && out->from >= 1 && out->to >= out->from;
}

/* ---- writing ---- */

struct backup_writer {
    int fd, error;
    bool failed;
    struct age_writer *age;
    mbedtls_sha256_context sha;
    uint64_t size;
    struct backup_end end;
    uint8_t level;
    char line[LINE_CAP];
};

static bool to_file(void *ctx, struct span bytes)
{
    struct backup_writer *w = ctx;

    CHECK(mbedtls_sha256_update_ret(&w->sha, bytes.ptr, bytes.len) == 0);
    w->size += bytes.len;
    while (bytes.len != 0) {
        ssize_t n = write(w->fd, bytes.ptr, bytes.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            w->error = n < 0 ? errno : EIO;
            return false;
        }
        bytes = span_from(bytes, (size_t)n);
    }
    return true;
}

static bool put_line(struct backup_writer *w, size_t len)
{
    CHECK(len < LINE_CAP);
    w->failed = w->failed || age_writer_put(w->age, span_of(w->line, len)) != AGE_OK;
    return !w->failed;
}

static bool put_head(struct backup_writer *w, const struct backup_head *h)
{
    char store[2 * STORE_ID_LEN + 1], root[2 * MBED_KEY_LEN + 1], before[2 * MBED_DIGEST_LEN + 1],
        made[CLOCK_TEXT_CAP];

    hex_print(h->identity.store_id, STORE_ID_LEN, store);
    hex_print(h->identity.root, MBED_KEY_LEN, root);
    hex_print(h->before, MBED_DIGEST_LEN, before);
    clock_text(h->made_unix_s, made);
    int n = snprintf(w->line, LINE_CAP,
                     "{\"wirewrap_backup\":%d,\"shard\":%u,\"store\":\"%s\",\"root\":\"%s\",\"from\":%" PRIu64
                     ",\"before\":\"%s\",\"made\":\"%s\"}\n",
                     h->level, h->identity.shard, store, root, h->from, before, made);
    return put_line(w, (size_t)n);
}

struct backup_writer *backup_writer_new(int fd, struct mbed_rng *rng, const struct age_recipient *to,
                                        size_t to_count, const struct backup_head *head, struct refusal *why)
{
    struct backup_writer *w = calloc(1, sizeof *w);
    enum age_status status;

    CHECK(w != NULL);
    w->fd = fd;
    w->level = head->level;
    mbedtls_sha256_init(&w->sha);
    CHECK(mbedtls_sha256_starts_ret(&w->sha, 0) == 0);
    w->age = age_writer_new(rng, to, to_count, to_file, w, &status);
    if (w->age != NULL && put_head(w, head))
        return w;
    if (w->error != 0)
        refuse(why, w->error == ENOSPC ? "disk_full" : "backup_io", "make room in ctrl.state_dir/backup",
               "a backup file cannot be written: %s", strerror(w->error));
    else
        refuse(why, "backup_io", "see backup.recipients and LimitMEMLOCK", "a backup cannot be encrypted: %s",
               age_status_text(status));
    backup_writer_free(w);
    return NULL;
}

bool backup_writer_put(struct backup_writer *w, const struct store_raw *r)
{
    int n;

    CHECK(r->record.len <= STORE_RECORD_MAX);
    if (r->kind == STORE_RAW_SLOT)
        n = snprintf(w->line, LINE_CAP, "{\"slot\":%" PRIu64 ",\"record\":\"", r->number);
    else if (r->kind == STORE_RAW_ANCHOR)
        n = snprintf(w->line, LINE_CAP, "{\"anchor\":%" PRIu64 ",\"record\":\"", r->number);
    else if (r->kind == STORE_RAW_CHANGE)
        n = snprintf(w->line, LINE_CAP, "{\"change\":%" PRIu64 ",\"record\":\"", r->number);
    else
        n = snprintf(w->line, LINE_CAP, "{\"row\":%u,\"record\":\"", r->record.ptr[1]);
    size_t len = (size_t)n;
    len += base64_encode(r->record, (uint8_t *)w->line + len);
    memcpy(w->line + len, "\"}\n", 3);
    w->end.slots += r->kind == STORE_RAW_SLOT;
    w->end.rows += r->kind == STORE_RAW_ROW;
    w->end.changes += r->kind == STORE_RAW_CHANGE;
    w->end.anchors += r->kind == STORE_RAW_ANCHOR;
    return put_line(w, len + 3);
}

bool backup_writer_end(struct backup_writer *w, struct backup_end *end, uint8_t sha256[MBED_DIGEST_LEN],
                       uint64_t *size)
{
    char head[2 * MBED_DIGEST_LEN + 1], anchors[40] = "";

    end->slots = w->end.slots;
    end->rows = w->end.rows;
    end->changes = w->end.changes;
    end->anchors = w->end.anchors;
    if (w->level >= STORE_LEVEL_ANCHORS)
        snprintf(anchors, sizeof anchors, ",\"anchors\":%" PRIu64, end->anchors);
    hex_print(end->head, MBED_DIGEST_LEN, head);
    int n = snprintf(w->line, LINE_CAP,
                     "{\"end\":%" PRIu64 ",\"head\":\"%s\",\"slots\":%" PRIu64 ",\"rows\":%" PRIu64
                     ",\"changes\":%" PRIu64 "%s}\n",
                     end->to, head, end->slots, end->rows, end->changes, anchors);
    if (!put_line(w, (size_t)n))
        return false;
    w->failed = age_writer_finish(w->age) != AGE_OK;
    CHECK(mbedtls_sha256_finish_ret(&w->sha, sha256) == 0);
    *size = w->size;
    return !w->failed;
}

int backup_writer_errno(const struct backup_writer *w)
{
    return w->error;
}

void backup_writer_free(struct backup_writer *w)
{
    if (w == NULL)
        return;
    age_writer_free(w->age);
    mbedtls_sha256_free(&w->sha);
    free(w);
}

/* ---- reading ---- */

struct reader {
    const char *name;
    const struct backup_visitor *visitor;
    struct refusal *why;
    bool refused; /* why is filled in */
    bool begun, ended;
    uint64_t line_number;
    struct backup_head head;
    struct backup_end seen, *end;
    uint8_t chain[MBED_DIGEST_LEN];
    size_t len;
    char line[LINE_CAP];
    uint8_t record[STORE_RECORD_MAX + 3];
};

static bool reader_refuse(struct reader *r, const char *code, const char *what)
{
    r->refused = true;
    return refuse(r->why, code, "use another file or another sink: wwctl backup list",
                  "%s, line %" PRIu64 ": %s", r->name, r->line_number, what);
}

static bool number_field(const json_t *j, const char *name, uint64_t *out)
{
    const json_t *v = json_object_get(j, name);

    *out = json_is_integer(v) ? (uint64_t)json_integer_value(v) : 0;
    return json_is_integer(v) && json_integer_value(v) >= 0;
}

static bool hex_field(const json_t *j, const char *name, uint8_t *out, size_t len)
{
    const json_t *v = json_object_get(j, name);

    return json_is_string(v) && json_string_length(v) == 2 * len && hex_parse(json_string_value(v), out, len);
}

static bool reader_newer(struct reader *r, uint64_t format)
{
    r->refused = true;
    return refuse(r->why, "backup_newer", "use the version that wrote it, or one after it",
                  "%s is of format level %" PRIu64 "; this version reads %u..%u", r->name, format,
                  STORE_LEVEL_MIN, STORE_LEVEL_MAX);
}

static bool take_head(struct reader *r, const json_t *j)
{
    uint64_t format, shard;
    const char *made = json_string_value(json_object_get(j, "made"));

    if (!number_field(j, "wirewrap_backup", &format) || format < STORE_LEVEL_MIN)
        return reader_refuse(r, "backup_format", "not a backup of a format that this version knows");
    if (format > STORE_LEVEL_MAX)
        return reader_newer(r, format);
    r->head.level = (uint8_t)format;
    if (!number_field(j, "shard", &shard) || shard > UINT16_MAX || !number_field(j, "from", &r->head.from) ||
        r->head.from < 1 || !hex_field(j, "store", r->head.identity.store_id, STORE_ID_LEN) ||
        !hex_field(j, "root", r->head.identity.root, MBED_KEY_LEN) ||
        !hex_field(j, "before", r->head.before, MBED_DIGEST_LEN) || made == NULL ||
        !date_parse(made, "%Y-%m-%dT%H:%M:%SZ", &r->head.made_unix_s))
        return reader_refuse(r, "backup_format", "not the head of a backup");
    r->head.identity.shard = (uint16_t)shard;
    r->begun = true;
    r->seen.to = r->head.from - 1;
    memcpy(r->chain, r->head.before, MBED_DIGEST_LEN);
    r->refused = !r->visitor->head(r->visitor->ctx, &r->head, r->why);
    return !r->refused;
}

/* Each change names the one before it, and the rows' order is the chain's. */
static bool take_change(struct reader *r, const struct store_raw *raw)
{
    struct cursor c = cursor_of(raw->record);

    cursor_skip(&c, 8);
    uint64_t epoch = cursor_u64(&c);
    if (raw->number != r->seen.to + 1 || epoch != raw->number ||
        raw->record.len < PREV_AT + MBED_DIGEST_LEN ||
        memcmp(raw->record.ptr + PREV_AT, r->chain, MBED_DIGEST_LEN) != 0)
        return reader_refuse(r, "backup_damaged", "a change does not follow the one before");
    mbed_sha256(raw->record, r->chain);
    r->seen.to = raw->number;
    return true;
}

/* A page tells in the clear where the chain is that it stands for; what it says of the rows is sealed. */
static bool take_anchor(struct reader *r, const struct store_raw *raw)
{
    struct cursor c = cursor_of(raw->record);

    cursor_skip(&c, 4);
    uint32_t page = cursor_u32(&c);
    uint64_t epoch = cursor_u64(&c);
    cursor_skip(&c, KEY_ID_LEN);
    struct span hash = cursor_take(&c, MBED_DIGEST_LEN);
    bool is_next = cursor_ok(&c) && r->head.level >= STORE_LEVEL_ANCHORS && r->head.from == 1 &&
                   r->seen.changes == 0 && raw->number == r->seen.anchors && page == r->seen.anchors &&
                   epoch != 0;
    if (!is_next || (page != 0 && (epoch != r->seen.to || memcmp(hash.ptr, r->chain, hash.len) != 0)))
        return reader_refuse(r, "backup_damaged", "a page of the anchor does not follow the one before");
    r->seen.to = epoch;
    memcpy(r->chain, hash.ptr, hash.len);
    return true;
}

static bool take_record(struct reader *r, const json_t *j)
{
    const json_t *text = json_object_get(j, "record");
    struct store_raw raw = {STORE_RAW_SLOT, 0, {r->record, 0}};
    uint64_t kind;

    if (number_field(j, "change", &raw.number))
        raw.kind = STORE_RAW_CHANGE;
    else if (r->head.level >= STORE_LEVEL_ANCHORS && number_field(j, "anchor", &raw.number))
        raw.kind = STORE_RAW_ANCHOR;
    else if (number_field(j, "row", &kind))
        raw.kind = STORE_RAW_ROW;
    else if (!number_field(j, "slot", &raw.number))
        return reader_refuse(r, "backup_format", "neither slot, row, change, anchor nor end");
    if (!json_is_string(text) || json_string_length(text) > BASE64_ENCODED_LEN(STORE_RECORD_MAX) ||
        !base64_decode(span_of(json_string_value(text), json_string_length(text)), r->record,
                       &raw.record.len))
        return reader_refuse(r, "backup_format", "a record that is none");
    if (raw.kind == STORE_RAW_CHANGE && !take_change(r, &raw))
        return false;
    if (raw.kind == STORE_RAW_ANCHOR && !take_anchor(r, &raw))
        return false;
    r->seen.anchors += raw.kind == STORE_RAW_ANCHOR;
    r->seen.slots += raw.kind == STORE_RAW_SLOT;
    r->seen.rows += raw.kind == STORE_RAW_ROW;
    r->seen.changes += raw.kind == STORE_RAW_CHANGE;
    r->refused = !r->visitor->record(r->visitor->ctx, &raw, r->why);
    return !r->refused;
}

static bool take_end(struct reader *r, const json_t *j)
{
    struct backup_end *e = r->end;

    if (!number_field(j, "end", &e->to) || !hex_field(j, "head", e->head, MBED_DIGEST_LEN) ||
        !number_field(j, "slots", &e->slots) || !number_field(j, "rows", &e->rows) ||
        !number_field(j, "changes", &e->changes) ||
        (!number_field(j, "anchors", &e->anchors) && r->head.level >= STORE_LEVEL_ANCHORS))
        return reader_refuse(r, "backup_format", "not the end of a backup");
    if (e->to != r->seen.to || e->to < r->head.from || memcmp(e->head, r->chain, MBED_DIGEST_LEN) != 0 ||
        e->slots != r->seen.slots || e->rows != r->seen.rows || e->changes != r->seen.changes ||
        e->anchors != r->seen.anchors)
        return reader_refuse(r, "backup_damaged", "the end does not fit what was before it");
    r->ended = true;
    return true;
}

static bool take_line(struct reader *r)
{
    json_t *j = json_loadb(r->line, r->len, JSON_REJECT_DUPLICATES, NULL);
    bool ok;

    r->line_number++;
    if (!json_is_object(j) || r->ended)
        ok = reader_refuse(r, "backup_format", r->ended ? "something behind the end" : "not a JSON object");
    else if (!r->begun)
        ok = take_head(r, j);
    else
        ok = json_object_get(j, "end") != NULL ? take_end(r, j) : take_record(r, j);
    json_decref(j);
    return ok;
}

static bool to_lines(void *ctx, struct span bytes)
{
    struct reader *r = ctx;

    while (bytes.len != 0) {
        const uint8_t *newline = memchr(bytes.ptr, '\n', bytes.len);
        size_t part = newline == NULL ? bytes.len : (size_t)(newline - bytes.ptr);

        if (part > LINE_CAP - r->len)
            return reader_refuse(r, "backup_format", "a line is too long");
        memcpy(r->line + r->len, bytes.ptr, part);
        r->len += part;
        bytes = span_from(bytes, newline == NULL ? part : part + 1);
        if (newline == NULL)
            return true;
        if (!take_line(r))
            return false;
        r->len = 0;
    }
    return true;
}

static bool age_refuse(const struct reader *r, enum age_status status)
{
    switch (status) {
    case AGE_NO_IDENTITY:
        return refuse(r->why, "backup_sealed", "give the identity of one of its recipients with --identity",
                      "%s is encrypted to other recipients", r->name);
    case AGE_NO_MEMORY:
        return refuse(r->why, "no_memory", "raise LimitMEMLOCK of ww-ctrl", "no locked memory to open %s",
                      r->name);
    default:
        return refuse(r->why, "backup_damaged", "use another file or another sink: wwctl backup list",
                      "%s: %s", r->name, age_status_text(status));
    }
}

static enum age_status feed(int fd, struct age_reader *age, int *error)
{
    static uint8_t room[READ_LEN];
    enum age_status status = AGE_OK;
    ssize_t n = 1;

    while (status == AGE_OK && n > 0) {
        n = read(fd, room, sizeof room);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            status = age_reader_put(age, span_of(room, (size_t)n));
    }
    *error = n < 0 ? errno : 0;
    return status == AGE_OK && n == 0 ? age_reader_finish(age) : status;
}

static bool has_ended(struct reader *r)
{
    return (r->ended && r->len == 0) || reader_refuse(r, "backup_damaged", "it has no end");
}

static bool read_with(struct reader *r, int fd, struct age_reader *age)
{
    int error;
    enum age_status status = feed(fd, age, &error);

    if (error != 0)
        return refuse(r->why, "file_unreadable", "check the disk, or use another sink", "%s: %s", r->name,
                      strerror(error));
    if (r->refused)
        return false;
    if (status != AGE_OK)
        return age_refuse(r, status);
    return has_ended(r);
}

static struct reader *reader_new(const char *name, const struct backup_visitor *v, struct backup_end *end,
                                 struct refusal *why)
{
    struct reader *r = calloc(1, sizeof *r);

    CHECK(r != NULL);
    r->name = name;
    r->visitor = v;
    r->why = why;
    r->end = end;
    return r;
}

bool backup_parse(struct span lines, const char *name, const struct backup_visitor *v, struct backup_end *end,
                  struct refusal *why)
{
    struct reader *r = reader_new(name, v, end, why);
    bool ok = to_lines(r, lines) && has_ended(r);

    free(r);
    return ok;
}

bool backup_read(int fd, const char *name, struct mbed_rng *rng, const uint8_t (*identities)[AGE_KEY_LEN],
                 size_t identity_count, const struct backup_visitor *v, struct backup_end *end,
                 struct refusal *why)
{
    struct reader *r = reader_new(name, v, end, why);
    struct age_reader *age = age_reader_new(rng, identities, identity_count, to_lines, r);
    bool ok = age == NULL ? age_refuse(r, AGE_NO_MEMORY) : read_with(r, fd, age);
    age_reader_free(age);
    free(r);
    return ok;
}
