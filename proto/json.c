#include "proto/json.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* What may come next.  The two *_OR_END states hold right after an opening bracket, where a comma may not
 * stand. */
enum state {
    WANT_VALUE,
    WANT_NAME_OR_END,
    WANT_VALUE_OR_END,
    WANT_COMMA_OR_END,
    WANT_NOTHING,
    FAILED,
};

static const uint32_t NO_CODE_POINT = UINT32_MAX;

void json_init(struct json_reader *r, struct span in)
{
    r->in = in;
    r->at = 0;
    r->text = (struct span){in.ptr, 0};
    r->text_escaped = false;
    r->depth = 0;
    r->error = NULL;
    r->state_ = WANT_VALUE;
    r->name_count_ = 0;
    if (in.len > UINT32_MAX) {
        r->error = "the text is too long";
        r->state_ = FAILED;
    }
}

static enum json_token fail(struct json_reader *r, const char *why)
{
    if (r->error == NULL)
        r->error = why;
    r->state_ = FAILED;
    return JSON_ERROR;
}

/* ---- characters ---- */

/* One code point of UTF-8 at p, of at most left bytes (RFC 3629 4: shortest form, no surrogates, at most
 * U+10FFFF); its length, 0 when it is not well formed. */
static size_t utf8_len(const uint8_t *p, size_t left)
{
    uint8_t lead = p[0], low = 0x80, high = 0xbf;
    size_t len = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;

    if (len == 0 || len > left)
        return 0;
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < len; i++) {
        if (p[i] < low || p[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return len;
}

static uint32_t hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0');
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10) : NO_CODE_POINT;
}

/* The four hexadecimal digits after "\u". */
static uint32_t hex_quad(struct span s, size_t at)
{
    uint32_t v = 0;

    if (s.len < at || s.len - at < 4)
        return NO_CODE_POINT;
    for (size_t i = 0; i < 4; i++) {
        uint32_t d = hex_digit(s.ptr[at + i]);

        if (d == NO_CODE_POINT)
            return NO_CODE_POINT;
        v = v << 4 | d;
    }
    return v;
}

/* The escape whose backslash is at *at; moves *at behind it.  Two escapes that form a surrogate pair are one
 * code point; half a pair is none (RFC 8259 8.2). */
static uint32_t read_escape(struct span s, size_t *at)
{
    static const char plain[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    uint8_t c = *at + 1 < s.len ? s.ptr[*at + 1] : 0;

    *at += 2;
    if (c != 'u') {
        const char *found = c != 0 ? strchr(plain, c) : NULL;

        return found != NULL ? (uint32_t)means[found - plain] : NO_CODE_POINT;
    }
    uint32_t unit = hex_quad(s, *at);
    *at += 4;
    if (unit == NO_CODE_POINT || unit < 0xd800 || unit > 0xdfff)
        return unit;
    if (unit > 0xdbff || s.len < *at + 6 || s.ptr[*at] != '\\' || s.ptr[*at + 1] != 'u')
        return NO_CODE_POINT;
    uint32_t low = hex_quad(s, *at + 2);
    *at += 6;
    if (low == NO_CODE_POINT || low < 0xdc00 || low > 0xdfff)
        return NO_CODE_POINT;
    return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

static size_t write_utf8(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)(c | (0xf00u >> len));
    return len;
}

/* Walks a checked text character by character, escapes resolved. */
struct walk {
    struct span text;
    size_t at;
    uint8_t bytes[4]; /* the next of these belong to an escape */
    size_t byte_at, byte_count;
};

/* The next byte of the meaning, -1 at its end. */
static int walk_byte(struct walk *w)
{
    if (w->byte_at < w->byte_count)
        return w->bytes[w->byte_at++];
    if (w->at == w->text.len)
        return -1;
    if (w->text.ptr[w->at] != '\\')
        return w->text.ptr[w->at++];
    w->byte_count = write_utf8(read_escape(w->text, &w->at), w->bytes);
    w->byte_at = 1;
    return w->bytes[0];
}

size_t json_unescape(struct span text, uint8_t *out)
{
    size_t at = 0, done = 0;

    while (at < text.len) {
        if (text.ptr[at] != '\\') {
            out[done++] = text.ptr[at++];
            continue;
        }
        uint8_t bytes[4];
        size_t count = write_utf8(read_escape(text, &at), bytes);
        memcpy(out + done, bytes, count);
        done += count;
    }
    return done;
}

bool json_texts_equal_(struct span a, struct span b)
{
    struct walk wa = {.text = a}, wb = {.text = b};
    int ca, cb;

    do {
        ca = walk_byte(&wa);
        cb = walk_byte(&wb);
    } while (ca == cb && ca >= 0);
    return ca == cb;
}

/* ---- strings ---- */

static inline bool lane_is_special(uint64_t v)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t quote = v ^ (ones * '"'), slash = v ^ (ones * '\\');
    /* A byte below 0x20, a quote or a backslash borrows into its high bit; bytes from 0x80 have it set. */
    return ((v | (v - ones * 0x20) | (quote - ones) | (slash - ones)) & highs) != 0;
}

/* From at to the next byte that is not plain ASCII text. */
static size_t skip_plain(struct span in, size_t at)
{
    uint64_t v;

#ifdef __SSE2__
    for (; in.len - at >= 16; at += 16) {
        __m128i sixteen = _mm_loadu_si128((const __m128i *)(const void *)(in.ptr + at));
        __m128i ascii = _mm_cmpgt_epi8(sixteen, _mm_set1_epi8(0x1f)); /* from 0x80 on: negative */
        __m128i special = _mm_or_si128(_mm_cmpeq_epi8(sixteen, _mm_set1_epi8('"')),
                                       _mm_cmpeq_epi8(sixteen, _mm_set1_epi8('\\')));
        unsigned plain = (unsigned)_mm_movemask_epi8(_mm_andnot_si128(special, ascii));
        if (plain != 0xffff)
            return at + (size_t)__builtin_ctz(~plain);
    }
#endif
    while (in.len - at >= sizeof v) {
        memcpy(&v, in.ptr + at, sizeof v);
        if (lane_is_special(v))
            break;
        at += sizeof v;
    }
    while (at < in.len && in.ptr[at] >= 0x20 && in.ptr[at] < 0x80 && in.ptr[at] != '"' && in.ptr[at] != '\\')
        at++;
    return at;
}

/* at is behind the opening quote: checks all of the string, leaves it in r->text and r->at behind its end. */
static bool read_string(struct json_reader *r)
{
    size_t begin = r->at, at = r->at;

    r->text_escaped = false;
    for (;;) {
        at = skip_plain(r->in, at);
        if (at == r->in.len)
            return fail(r, "a string has no end"), false;
        uint8_t c = r->in.ptr[at];
        if (c == '"')
            break;
        if (c < 0x20)
            return fail(r, "a control character in a string"), false;
        if (c == '\\') {
            uint32_t code = read_escape(r->in, &at);

            if (code == NO_CODE_POINT || code == 0)
                return fail(r, "a bad escape in a string"), false;
            r->text_escaped = true;
            continue;
        }
        size_t len = utf8_len(r->in.ptr + at, r->in.len - at);
        if (len == 0)
            return fail(r, "a string is not UTF-8"), false;
        at += len;
    }
    r->text = span_of(r->in.ptr + begin, at - begin);
    r->at = at + 1;
    return true;
}

/* Only spares comparing, equality decides. */
static uint32_t plain_hash(struct span text)
{
    const uint64_t prime = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t h = text.len, v;
    size_t at = 0;

    for (; text.len - at >= sizeof v; at += sizeof v) {
        memcpy(&v, text.ptr + at, sizeof v);
        h = (h ^ v) * prime;
        h ^= h >> 32;
    }
    for (v = 0; at < text.len; at++)
        v = v << 8 | text.ptr[at];
    h = (h ^ v) * prime;
    return (uint32_t)(h >> 32);
}

/* Of what the text means; it is no longer than JSON_NAME_MAX. */
static __attribute__((noinline)) uint32_t escaped_hash(struct span text)
{
    uint8_t meaning[JSON_NAME_MAX];

    return plain_hash(span_of(meaning, json_unescape(text, meaning)));
}

static inline uint32_t text_hash(struct span text, bool escaped)
{
    return escaped ? escaped_hash(text) : plain_hash(text);
}

/* Two names that mean the same text are one duplicate, however they are escaped. */
static bool remember_name(struct json_reader *r)
{
    if (r->text.len > JSON_NAME_MAX)
        return fail(r, "a name is too long"), false;
    if (r->name_count_ == JSON_MEMBERS_MAX)
        return fail(r, "too many names"), false;
    uint32_t hash = text_hash(r->text, r->text_escaped);
    for (size_t i = r->stack_[r->depth - 1].names_begin_; i < r->name_count_; i++) {
        if (r->names_[i].hash != hash)
            continue;
        struct span other = span_of(r->in.ptr + r->names_[i].at, r->names_[i].len);
        bool escaped = r->text_escaped || r->names_[i].escaped;
        if (escaped ? json_texts_equal_(other, r->text) : span_equal(other, r->text))
            return fail(r, "a name comes twice in one object"), false;
    }
    r->names_[r->name_count_].at = (uint32_t)(r->text.ptr - r->in.ptr);
    r->names_[r->name_count_].len = (uint16_t)r->text.len;
    r->names_[r->name_count_].escaped = r->text_escaped;
    r->names_[r->name_count_].hash = hash;
    r->name_count_++;
    return true;
}

/* ---- numbers ---- */

static size_t skip_digits(struct span in, size_t at)
{
    while (at < in.len && in.ptr[at] >= '0' && in.ptr[at] <= '9')
        at++;
    return at;
}

static bool byte_at_is(struct span in, size_t at, char c)
{
    return at < in.len && in.ptr[at] == (uint8_t)c;
}

/* [-] int [frac] [exp] (RFC 8259 6); the end of the number, or 0. */
static size_t number_end(struct span in, size_t at)
{
    if (byte_at_is(in, at, '-'))
        at++;
    size_t end = skip_digits(in, at);
    if (end == at || (in.ptr[at] == '0' && end - at > 1))
        return 0;
    at = end;
    if (byte_at_is(in, at, '.')) {
        end = skip_digits(in, at + 1);
        if (end == at + 1)
            return 0;
        at = end;
    }
    if (byte_at_is(in, at, 'e') || byte_at_is(in, at, 'E')) {
        at++;
        if (byte_at_is(in, at, '+') || byte_at_is(in, at, '-'))
            at++;
        end = skip_digits(in, at);
        if (end == at)
            return 0;
        at = end;
    }
    return at;
}

/* A number as digits times a power of ten: the digits are those of text[begin, end) without the point, the
 * first and the last of them not zero. */
struct decimal {
    bool negative;
    size_t begin, end; /* begin == end: zero */
    int64_t exponent;
};

#define EXPONENT_CAP INT64_C(1000000000000)

static int64_t read_exponent(struct span number, size_t at)
{
    bool negative = byte_at_is(number, at, '-');
    int64_t v = 0;

    if (negative || byte_at_is(number, at, '+'))
        at++;
    for (; at < number.len; at++)
        v = v < EXPONENT_CAP ? v * 10 + (number.ptr[at] - '0') : v;
    return negative ? -v : v;
}

static struct decimal take_apart(struct span number)
{
    struct decimal d = {.negative = byte_at_is(number, 0, '-'), .begin = number.len};
    size_t end = number.len, point = number.len;

    for (size_t i = 0; i < number.len; i++) {
        if (number.ptr[i] == '.')
            point = i;
        if ((number.ptr[i] | 0x20) == 'e') {
            end = i;
            d.exponent = read_exponent(number, i + 1);
            break;
        }
    }
    if (point > end)
        point = end;
    for (size_t i = d.negative; i < end; i++) {
        if (number.ptr[i] == '.' || number.ptr[i] == '0')
            continue;
        if (d.begin == number.len)
            d.begin = i;
        d.end = i + 1;
    }
    if (d.end == 0)
        d.begin = 0;
    else
        d.exponent += d.end <= point ? (int64_t)(point - d.end) : -(int64_t)(d.end - point - 1);
    return d;
}

bool json_integer(struct span number, int64_t min, int64_t max, int64_t *out)
{
    struct decimal d = take_apart(number);
    int64_t v = 0;

    if (d.begin != d.end && (d.exponent < 0 || d.exponent > 18))
        return false;
    /* Negative throughout: INT64_MIN has no positive counterpart. */
    for (size_t i = d.begin; i < d.end; i++) {
        if (number.ptr[i] == '.')
            continue;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, number.ptr[i] - '0', &v))
            return false;
    }
    for (int64_t e = d.begin != d.end ? d.exponent : 0; e > 0; e--)
        if (__builtin_mul_overflow(v, 10, &v))
            return false;
    if (!d.negative && __builtin_sub_overflow(INT64_C(0), v, &v))
        return false;
    *out = v;
    return v >= min && v <= max;
}

/* ---- structure ---- */

static uint8_t after_value(const struct json_reader *r)
{
    return r->depth == 0 ? WANT_NOTHING : WANT_COMMA_OR_END;
}

static enum json_token open_container(struct json_reader *r, bool is_object)
{
    if (r->depth == JSON_DEPTH_MAX)
        return fail(r, "nested too deeply");
    r->at++;
    r->stack_[r->depth].is_object_ = is_object;
    r->stack_[r->depth].names_begin_ = r->name_count_;
    r->depth++;
    r->state_ = is_object ? WANT_NAME_OR_END : WANT_VALUE_OR_END;
    return is_object ? JSON_OBJECT_BEGIN : JSON_ARRAY_BEGIN;
}

static enum json_token close_container(struct json_reader *r)
{
    bool is_object = r->stack_[r->depth - 1].is_object_;

    r->at++;
    r->depth--;
    r->name_count_ = r->stack_[r->depth].names_begin_;
    r->state_ = after_value(r);
    return is_object ? JSON_OBJECT_END : JSON_ARRAY_END;
}

static enum json_token read_word(struct json_reader *r, const char *word, enum json_token token)
{
    size_t len = strlen(word);

    if (r->in.len - r->at < len || memcmp(r->in.ptr + r->at, word, len) != 0)
        return fail(r, "not a JSON value");
    r->at += len;
    r->state_ = after_value(r);
    return token;
}

static enum json_token read_number(struct json_reader *r)
{
    size_t end = number_end(r->in, r->at);

    if (end == 0)
        return fail(r, "not a JSON value");
    r->text = span_of(r->in.ptr + r->at, end - r->at);
    r->text_escaped = false;
    r->at = end;
    r->state_ = after_value(r);
    return JSON_NUMBER;
}

static enum json_token read_value(struct json_reader *r, uint8_t c)
{
    switch (c) {
    case '{':
        return open_container(r, true);
    case '[':
        return open_container(r, false);
    case '"':
        r->at++;
        if (!read_string(r))
            return JSON_ERROR;
        r->state_ = after_value(r);
        return JSON_STRING;
    case 't':
        return read_word(r, "true", JSON_TRUE);
    case 'f':
        return read_word(r, "false", JSON_FALSE);
    case 'n':
        return read_word(r, "null", JSON_NULL);
    default:
        return read_number(r);
    }
}

static void skip_space(struct json_reader *r)
{
    while (r->at < r->in.len) {
        uint8_t c = r->in.ptr[r->at];

        if (c > ' ' || (c != ' ' && c != '\t' && c != '\n' && c != '\r'))
            return;
        r->at++;
    }
}

static enum json_token read_name(struct json_reader *r)
{
    if (!byte_at_is(r->in, r->at, '"'))
        return fail(r, "a name was expected");
    r->at++;
    if (!read_string(r) || !remember_name(r))
        return JSON_ERROR;
    skip_space(r);
    if (!byte_at_is(r->in, r->at, ':'))
        return fail(r, "a colon was expected");
    r->at++;
    r->state_ = WANT_VALUE;
    return JSON_NAME;
}

/* A comma leads to the next member; a bracket of the right kind closes. */
static enum json_token read_after_value(struct json_reader *r, uint8_t c)
{
    bool is_object = r->stack_[r->depth - 1].is_object_;

    if (c == (is_object ? '}' : ']'))
        return close_container(r);
    if (c != ',')
        return fail(r, "a comma or a closing bracket was expected");
    r->at++;
    skip_space(r);
    if (is_object)
        return read_name(r);
    return r->at < r->in.len ? read_value(r, r->in.ptr[r->at]) : fail(r, "the text ends too early");
}

enum json_token json_next(struct json_reader *r)
{
    skip_space(r);
    if (r->at == r->in.len)
        return r->state_ == WANT_NOTHING ? JSON_END : fail(r, "the text ends too early");
    uint8_t c = r->in.ptr[r->at];
    switch ((enum state)r->state_) {
    case WANT_NAME_OR_END:
        return c == '}' ? close_container(r) : read_name(r);
    case WANT_VALUE_OR_END:
        return c == ']' ? close_container(r) : read_value(r, c);
    case WANT_VALUE:
        return read_value(r, c);
    case WANT_COMMA_OR_END:
        return read_after_value(r, c);
    case WANT_NOTHING:
    case FAILED:
        break;
    }
    return fail(r, "bytes after the value");
}

bool json_skip(struct json_reader *r)
{
    uint8_t depth = r->depth;

    do {
        if (json_next(r) == JSON_ERROR)
            return false;
    } while (r->depth > depth);
    return true;
}

/* ---- writing ---- */

/* What stands for the code point of len bytes at p, which is not plain (0 = no code point); its length in out. */
static size_t escape_code_point(const uint8_t *p, size_t len, uint8_t out[6])
{
    static const char hex[] = "0123456789abcdef";

    if (len == 0) {
        memcpy(out, "\\ufffd", 6);
        return 6;
    }
    if (len > 1) {
        memcpy(out, p, len);
        return len;
    }
    if (p[0] == '"' || p[0] == '\\') {
        out[0] = '\\';
        out[1] = p[0];
        return 2;
    }
    memcpy(out, "\\u00", 4);
    out[4] = (uint8_t)hex[p[0] >> 4];
    out[5] = (uint8_t)hex[p[0] & 15];
    return 6;
}

bool json_write_string(struct buf *out, struct span text)
{
    size_t before = out->len;
    bool fits = buf_put(out, span_str("\""));

    for (size_t at = 0; fits && at < text.len;) {
        size_t plain = skip_plain(text, at);
        fits = buf_put(out, span_of(text.ptr + at, plain - at));
        at = plain;
        if (!fits || at == text.len)
            break;
        uint8_t escaped[6];
        size_t len = utf8_len(text.ptr + at, text.len - at);
        fits = buf_put(out, span_of(escaped, escape_code_point(text.ptr + at, len, escaped)));
        at += len != 0 ? len : 1;
    }
    if (fits && buf_put(out, span_str("\"")))
        return true;
    out->len = before;
    return false;
}
