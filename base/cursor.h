/* Big-endian reading and writing with bounds, sticky on the first overrun.
 *
 * A parser reads field after field and asks once at the end whether all of it was there:
 *
 *     struct cursor c = cursor_of(msg);
 *     uint8_t version = cursor_u8(&c);
 *     uint32_t len = cursor_u32(&c);
 *     struct span body = cursor_take(&c, len);
 *     if (!cursor_ok(&c)) return CTL_BAD_LENGTH;
 *
 * After an overrun every read yields zero or an empty span; nothing is ever read out of bounds. */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include "base/span.h"

struct cursor {
    const uint8_t *ptr;
    size_t left;
    bool overrun;
};

static inline struct cursor cursor_of(struct span s)
{
    return (struct cursor){s.ptr, s.len, false};
}

static inline bool MUST_USE cursor_ok(const struct cursor *c)
{
    return !c->overrun;
}

static inline struct span cursor_take(struct cursor *c, size_t len)
{
    if (c->overrun || len > c->left) {
        c->overrun = true;
        return (struct span){c->ptr, 0};
    }
    struct span s = {c->ptr, len};
    c->ptr += len;
    c->left -= len;
    return s;
}

static inline uint64_t cursor_be(struct cursor *c, size_t bytes)
{
    struct span s = cursor_take(c, bytes);
    uint64_t v = 0;

    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | s.ptr[i];
    return v;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)cursor_be(c, 1);
}

static inline uint16_t cursor_u16(struct cursor *c)
{
    return (uint16_t)cursor_be(c, 2);
}

static inline uint32_t cursor_u32(struct cursor *c)
{
    return (uint32_t)cursor_be(c, 4);
}

static inline uint64_t cursor_u64(struct cursor *c)
{
    return cursor_be(c, 8);
}

static inline void cursor_skip(struct cursor *c, size_t len)
{
    (void)cursor_take(c, len);
}

/* The writing half: appends to a caller's buffer, sticky on the first overflow. */
struct writer {
    uint8_t *ptr;
    size_t len;
    size_t cap;
    bool overflow;
};

static inline struct writer writer_of(void *ptr, size_t cap)
{
    return (struct writer){ptr, 0, cap, false};
}

static inline bool MUST_USE writer_ok(const struct writer *w)
{
    return !w->overflow;
}

static inline struct span writer_span(const struct writer *w)
{
    return (struct span){w->ptr, w->len};
}

static inline void write_bytes(struct writer *w, struct span s)
{
    if (w->overflow || s.len > w->cap - w->len) {
        w->overflow = true;
        return;
    }
    if (s.len != 0)
        memcpy(w->ptr + w->len, s.ptr, s.len);
    w->len += s.len;
}

static inline void write_be(struct writer *w, uint64_t v, size_t bytes)
{
    uint64_t be = __builtin_bswap64(v);

    write_bytes(w, span_of((const uint8_t *)&be + sizeof be - bytes, bytes));
}

static inline void write_u8(struct writer *w, uint8_t v)
{
    write_be(w, v, 1);
}

static inline void write_u16(struct writer *w, uint16_t v)
{
    write_be(w, v, 2);
}

static inline void write_u32(struct writer *w, uint32_t v)
{
    write_be(w, v, 4);
}

static inline void write_u64(struct writer *w, uint64_t v)
{
    write_be(w, v, 8);
}

#endif
