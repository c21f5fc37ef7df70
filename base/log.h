/* One line of text per event, to stderr: `2026-01-02T03:04:05.678Z info ctl attached epoch=7 peer="ctrl"`.
 *
 *     log_info("key table published", F("epoch", epoch), F("keys", count), F("path", path_span));
 *
 * F takes integers, C strings and struct span, and nothing else: a secret_span, a float or a pointer does not
 * compile.  Bytes that are not printable ASCII come out as \xNN, and a value is cut at 200 bytes, so that no
 * input can forge a line. Never called per packet or per request: those are counted (base/counters.h). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/span.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *name;
    enum { LOG_FIELD_INT, LOG_FIELD_UINT, LOG_FIELD_TEXT } kind;
    int64_t i;
    uint64_t u;
    struct span text;
};

static inline struct log_field log_field_int(const char *name, int64_t v)
{
    return (struct log_field){name, LOG_FIELD_INT, v, 0, {0}};
}

static inline struct log_field log_field_uint(const char *name, uint64_t v)
{
    return (struct log_field){name, LOG_FIELD_UINT, 0, v, {0}};
}

static inline struct log_field log_field_str(const char *name, const char *v)
{
    return (struct log_field){name, LOG_FIELD_TEXT, 0, 0, span_str(v)};
}

static inline struct log_field log_field_span(const char *name, struct span v)
{
    return (struct log_field){name, LOG_FIELD_TEXT, 0, 0, v};
}

#define F(name, v)                                                                                           \
    _Generic((v),                                                                                                      \
        int: log_field_int,                                                                                            \
        long: log_field_int,                                                                                           \
        long long: log_field_int,                                                                                      \
        bool: log_field_uint,                                                                                          \
        unsigned char: log_field_uint,                                                                                 \
        unsigned short: log_field_uint,                                                                                \
        unsigned int: log_field_uint,                                                                                  \
        unsigned long: log_field_uint,                                                                                 \
        unsigned long long: log_field_uint,                                                                            \
        char *: log_field_str,                                                                                         \
        const char *: log_field_str,                                                                                   \
        struct span: log_field_span)(name, v)

void log_set_level(enum log_level min);
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count);

#define LOG_AT(level, event, ...)                                                                            \
    log_write(level, event, (const struct log_field[]){{.name = NULL}, ##__VA_ARGS__} + 1,                   \
              sizeof((const struct log_field[]){{.name = NULL}, ##__VA_ARGS__}) / sizeof(struct log_field) - \
                  1)

#define log_debug(event, ...) LOG_AT(LOG_DEBUG, event, ##__VA_ARGS__)
#define log_info(event, ...)  LOG_AT(LOG_INFO, event, ##__VA_ARGS__)
#define log_warn(event, ...)  LOG_AT(LOG_WARN, event, ##__VA_ARGS__)
#define log_error(event, ...) LOG_AT(LOG_ERROR, event, ##__VA_ARGS__)

#endif
