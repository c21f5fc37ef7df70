#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_CAP  2048
#define LOG_VALUE_MAX 200

static enum log_level level_min = LOG_INFO;

void log_set_level(enum log_level min)
{
    level_min = min;
}

static void put_text(struct buf *b, const char *s)
{
    size_t len = strlen(s);

    if (len > b->cap - b->len)
        len = b->cap - b->len;
    memcpy(b->ptr + b->len, s, len);
    b->len += len;
}

static void put_escaped(struct buf *b, struct span v)
{
    put_text(b, "\"");
    for (size_t i = 0; i < v.len && i < LOG_VALUE_MAX; i++) {
        char tmp[8];
        uint8_t ch = v.ptr[i];

        if (ch == '"' || ch == '\\')
            snprintf(tmp, sizeof tmp, "\\%c", ch);
        else if (ch >= 0x20 && ch < 0x7f)
            snprintf(tmp, sizeof tmp, "%c", ch);
        else
            snprintf(tmp, sizeof tmp, "\\x%02x", ch);
        put_text(b, tmp);
    }
    if (v.len > LOG_VALUE_MAX)
        put_text(b, "...");
    put_text(b, "\"");
}

static void put_field(struct buf *b, const struct log_field *f)
{
    char tmp[32];

    put_text(b, " ");
    put_text(b, f->name);
    put_text(b, "=");
    switch (f->kind) {
    case LOG_FIELD_INT:
        snprintf(tmp, sizeof tmp, "%" PRId64, f->i);
        put_text(b, tmp);
        break;
    case LOG_FIELD_UINT:
        snprintf(tmp, sizeof tmp, "%" PRIu64, f->u);
        put_text(b, tmp);
        break;
    case LOG_FIELD_TEXT:
        put_escaped(b, f->text);
        break;
    }
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    uint8_t line[LOG_LINE_CAP];
    struct buf b = {line, 0, sizeof line - 1};
    struct timespec ts;
    struct tm tm;
    char stamp[64];

    if (level < level_min)
        return;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    snprintf(stamp, sizeof stamp, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ ", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ts.tv_nsec / 1000000);
    put_text(&b, stamp);
    put_text(&b, names[level]);
    put_text(&b, " ");
    put_text(&b, event);
    for (size_t i = 0; i < count; i++)
        put_field(&b, &fields[i]);
    line[b.len++] = '\n';
    while (write(STDERR_FILENO, line, b.len) < 0 && errno == EINTR)
        continue;
}
