/* Bytes that belong to somebody else: a pointer and a length, nothing owned, nothing copied.
 *
 * struct span         public bytes: frames, heads, paths, blobs.
 * struct secret_span  bytes that must never reach a log, an error text or a public buffer: plaintext data
 * keys, key material, bearer tokens.  Its pointer is reached through base/secret_priv.h only, by the files
 * that tests/layering/secret_users.txt names.
 *
 * A span dies with the buffer it points into; every header that hands one out says when that is. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_USE __attribute__((warn_unused_result))
/* Of a large local that is written before it is read: the build zeroes every other one (-ftrivial-auto-var-init). */
#define NOT_ZEROED __attribute__((uninitialized))

struct span {
    const uint8_t *ptr;
    size_t len;
};

/* Room to write into: cap bytes at ptr, of which len are in use. */
struct buf {
    uint8_t *ptr;
    size_t len;
    size_t cap;
};

struct secret_span {
    const uint8_t *secret_ptr_;
    size_t len;
};

static inline struct span span_of(const void *ptr, size_t len)
{
    return (struct span){ptr, len};
}

/* A view of a NUL-terminated string, without its NUL. */
static inline struct span span_str(const char *s)
{
    return (struct span){(const uint8_t *)s, strlen(s)};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool span_is(struct span a, const char *s)
{
    return span_equal(a, span_str(s));
}

/* The part of a from `from` to its end; an empty span when `from` lies beyond it. */
static inline struct span span_from(struct span a, size_t from)
{
    if (from >= a.len)
        return (struct span){a.ptr + a.len, 0};
    return (struct span){a.ptr + from, a.len - from};
}

/* Appends src to b.  false, and nothing written, when it does not fit. */
static inline bool MUST_USE buf_put(struct buf *b, struct span src)
{
    if (src.len > b->cap - b->len)
        return false;
    if (src.len != 0)
        memcpy(b->ptr + b->len, src.ptr, src.len);
    b->len += src.len;
    return true;
}

static inline struct span buf_span(const struct buf *b)
{
    return (struct span){b->ptr, b->len};
}

#endif
