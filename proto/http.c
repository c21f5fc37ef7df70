#include "proto/http.h"

#include "base/cursor.h"
#include "base/secret.h"
#include "base/secret_priv.h"

#ifdef __SSSE3__
#include <tmmintrin.h>
#endif

/* ---- characters ---- */

enum {
    TOKEN = 1,  /* tchar, RFC 9110 5.6.2 */
    TARGET = 2, /* path and query of RFC 3986: pchar / "/" / "?" with "%" taken as it comes */
    VALUE = 4,  /* field-vchar, SP, HTAB: RFC 9110 5.5 with obs-text */
    DIGIT = 8,
    HOST = 16, /* reg-name without percent-encoding and sub-delims, which no host of ours has */
};

#define LETTER (TOKEN | TARGET | VALUE | HOST)

static const uint8_t classes[256] = {
    ['\t'] = VALUE,
    [' '] = VALUE,
    ['!'] = TOKEN | TARGET | VALUE,
    ['"'] = VALUE,
    ['#'] = TOKEN | VALUE,
    ['$'] = TOKEN | TARGET | VALUE,
    ['%'] = TOKEN | TARGET | VALUE,
    ['&'] = TOKEN | TARGET | VALUE,
    ['\''] = TOKEN | TARGET | VALUE,
    ['('] = TARGET | VALUE,
    [')'] = TARGET | VALUE,
    ['*'] = TOKEN | TARGET | VALUE,
    ['+'] = TOKEN | TARGET | VALUE,
    [','] = TARGET | VALUE,
    ['-'] = TOKEN | TARGET | VALUE | HOST,
    ['.'] = TOKEN | TARGET | VALUE | HOST,
    ['/'] = TARGET | VALUE,
    ['0' ... '9'] = TOKEN | TARGET | VALUE | DIGIT | HOST,
    [':'] = TARGET | VALUE,
    [';'] = TARGET | VALUE,
    ['<'] = VALUE,
    ['='] = TARGET | VALUE,
    ['>'] = VALUE,
    ['?'] = TARGET | VALUE,
    ['@'] = TARGET | VALUE,
    ['A' ... 'Z'] = LETTER,
    ['['] = VALUE,
    ['\\'] = VALUE,
    [']'] = VALUE,
    ['^'] = TOKEN | VALUE,
    ['_'] = TOKEN | TARGET | VALUE | HOST,
    ['`'] = TOKEN | VALUE,
    ['a' ... 'z'] = LETTER,
    ['{'] = VALUE,
    ['|'] = TOKEN | VALUE,
    ['}'] = VALUE,
    ['~'] = TOKEN | TARGET | VALUE | HOST,
    [0x80 ... 0xff] = VALUE,
};

static inline bool is_class(uint8_t c, uint8_t class)
{
    return (classes[c] & class) != 0;
}

#ifdef __SSSE3__
/* The same three classes once more, for sixteen bytes at a time: bit h - 2 of column l says that the byte 0xhl is of the class.  None of
 * them has a byte below 0x20 or from 0x80 on. */
static const struct columns {
    uint8_t bits[16];
} token_columns = {{58, 63, 62, 63, 63, 63, 63, 63, 62, 62, 61, 21, 52, 21, 61, 28}},
  target_columns = {{46, 63, 62, 62, 63, 63, 63, 63, 63, 63, 63, 23, 21, 23, 53, 31}},
  host_columns = {{42, 62, 62, 62, 62, 62, 62, 62, 62, 62, 60, 20, 20, 21, 53, 28}};

static inline size_t wide_run(struct span in, size_t at, const struct columns *class)
{
    const __m128i columns = _mm_loadu_si128((const __m128i *)(const void *)class->bits);
    const __m128i rows = _mm_setr_epi8(0, 0, 1, 2, 4, 8, 16, 32, 0, 0, 0, 0, 0, 0, 0, 0);

    for (; in.len - at >= 16; at += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(in.ptr + at));
        __m128i row = _mm_shuffle_epi8(rows, _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(15)));
        __m128i of_class =
            _mm_and_si128(_mm_shuffle_epi8(columns, v), row); /* no column for 0x80 and above */
        unsigned others = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(of_class, _mm_setzero_si128()));
        if (others != 0)
            return at + (size_t)__builtin_ctz(others);
    }
    return at;
}
#else
#define wide_run(in, at, columns) (at)
#endif

/* From at to the next byte that is not of the class. */
static inline size_t narrow_run(struct span in, size_t at, uint8_t class)
{
    while (at < in.len && is_class(in.ptr[at], class))
        at++;
    return at;
}

static size_t token_run(struct span in, size_t at)
{
    return narrow_run(in, wide_run(in, at, &token_columns), TOKEN);
}

static size_t target_run(struct span in, size_t at)
{
    return narrow_run(in, wide_run(in, at, &target_columns), TARGET);
}

static size_t host_run(struct span in, size_t at)
{
    return narrow_run(in, wide_run(in, at, &host_columns), HOST);
}

static inline uint64_t load_up_to_8(const void *p, size_t len)
{
    uint64_t v = 0;

    memcpy(&v, p, len);
    return v;
}

/* word: lower-case letters, digits and '-', at least four.  Setting bit 5 folds letters; of the other bytes it folds onto '-' only CR,
 * and onto digits only control bytes, which no line holds.  Its length is known where it is called, so that this becomes comparisons of
 * whole words, the last of which may overlap the one before. */
static inline __attribute__((always_inline)) bool same_letters(const uint8_t *p, const char *word, size_t len)
{
    const uint64_t fold = UINT64_C(0x2020202020202020);
    size_t step = len >= 8 ? 8 : 4;
    uint64_t diff = 0;

    for (size_t at = 0; at + step <= len; at += step)
        diff |= (load_up_to_8(p + at, step) | fold) ^ (load_up_to_8(word + at, step) | fold);
    diff |= (load_up_to_8(p + len - step, step) | fold) ^ (load_up_to_8(word + len - step, step) | fold);
    return diff == 0;
}

#define equals_ignoring_case(s, word)                                                                        \
    ((s).len == sizeof(word) - 1 && same_letters((s).ptr, word, sizeof(word) - 1))

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct span trim(struct span s)
{
    const uint8_t *begin = s.ptr, *end = s.ptr + s.len;

    while (begin < end && is_blank(end[-1]))
        end--;
    while (begin < end && is_blank(*begin))
        begin++;
    return span_of(begin, (size_t)(end - begin));
}

/* ---- one head ---- */

struct head {
    struct http_request *out;
    enum reason *why;
    uint16_t field_count;
    bool has_host, has_authorization, has_content_type;
    bool has_length, length_too_large;
    bool chunked, coding_unknown; /* chunked: there is a Transfer-Encoding, and this is its last coding */
    bool close, keep_alive;
    bool expect_continue, expect_unknown;
};

static enum http_status refuse(const struct head *h, enum http_status status, enum reason why)
{
    *h->why = why;
    return status;
}

static enum http_status bad(const struct head *h, enum reason why)
{
    return refuse(h, HTTP_BAD, why);
}

/* ---- lines ---- */

#define BLOCK 64

/* Where lines end: of the block that was looked at last, which bytes are not plain text, 0x20 to 0x7e. */
struct lines {
    struct span in;
    size_t seen;     /* the block's end */
    uint64_t others; /* bit 0: of its first byte */
};

#ifdef __SSSE3__
static inline uint64_t others_of_block(const uint8_t *p)
{
    __m128i plain[4];
    uint64_t others = 0;

    for (size_t i = 0; i < 4; i++) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
        plain[i] = _mm_cmpgt_epi8(_mm_add_epi8(v, _mm_set1_epi8(1)),
                                  _mm_set1_epi8(0x20)); /* 0x7f becomes negative */
    }
    __m128i all = _mm_and_si128(_mm_and_si128(plain[0], plain[1]), _mm_and_si128(plain[2], plain[3]));
    if (_mm_movemask_epi8(all) == 0xffff)
        return 0;
    for (size_t i = 0; i < 4; i++)
        others |= (uint64_t)(~(unsigned)_mm_movemask_epi8(plain[i]) & 0xffff) << 16 * i;
    return others;
}
#else
static inline uint64_t others_of_block(const uint8_t *p)
{
    uint64_t others = 0;

    for (size_t i = 0; i < BLOCK; i++)
        others |= (uint64_t)(p[i] < 0x20 || p[i] > 0x7e) << i;
    return others;
}
#endif

/* Of a head shorter than a block, which is copied: no byte behind it is read.  What is missing counts as not plain. */
static __attribute__((noinline)) uint64_t others_of_short(struct span in)
{
    uint8_t copy[BLOCK] = {0};
    uint64_t others;

    memcpy(copy, in.ptr, in.len);
    others = others_of_block(copy);
    secret_wipe(copy, sizeof copy); /* part of a token, perhaps */
    return others;
}

/* Of the block that begins at in[at]; one that is cut short is looked at with what comes before it. */
static inline uint64_t others_at(struct span in, size_t at)
{
    size_t left = in.len - at;

    if (left >= BLOCK)
        return others_of_block(in.ptr + at);
    return in.len >= BLOCK ? others_of_block(in.ptr + in.len - BLOCK) >> (BLOCK - left)
                           : others_of_short(span_from(in, at));
}

/* From at, where a block begins, to the next byte that is not plain text, or the end. */
static __attribute__((noinline)) size_t skip_blocks(struct lines *l, size_t at)
{
    for (; at < l->in.len; at += BLOCK) {
        uint64_t others = others_at(l->in, at);

        if (others != 0) {
            l->seen = at + BLOCK;
            l->others = others;
            return at + (size_t)__builtin_ctzll(others);
        }
    }
    return l->in.len;
}

/* The same from anywhere; at only grows. */
static inline size_t skip_plain(struct lines *l, size_t at)
{
    uint64_t others = at < l->seen ? l->others >> (BLOCK - (l->seen - at)) : 0;

    if (others != 0)
        return at + (size_t)__builtin_ctzll(others);
    return skip_blocks(l, at < l->seen ? l->seen : at);
}

/* The line that begins at in[at], without its CRLF.  Bytes are judged in their order, so that a prefix never
 * meets another error than the whole. */
static inline enum http_status take_line(const struct head *h, struct lines *l, size_t at, struct span *line)
{
    const struct span in = l->in;
    size_t end = skip_plain(l, at);

    while (end < in.len && is_class(in.ptr[end], VALUE)) /* a tab or obs-text */
        end = skip_plain(l, end + 1);
    if (end == in.len)
        return HTTP_MORE;
    if (in.ptr[end] == '\n')
        return bad(h, REASON_HTTP_BARE_LINE_END);
    if (in.ptr[end] != '\r')
        return bad(h, REASON_HTTP_CONTROL_BYTE);
    if (end + 1 == in.len)
        return HTTP_MORE;
    if (in.ptr[end + 1] != '\n')
        return bad(h, REASON_HTTP_BARE_LINE_END);
    *line = span_of(in.ptr + at, end - at);
    return HTTP_OK;
}

/* ---- the request line ---- */

/* "HTTP/" DIGIT "." DIGIT */
static enum http_status read_version(const struct head *h, struct span version)
{
    const uint8_t *p = version.ptr;

    if (version.len != 8 || memcmp(p, "HTTP/", 5) != 0 || !is_class(p[5], DIGIT) || p[6] != '.' ||
        !is_class(p[7], DIGIT))
        return bad(h, REASON_HTTP_BAD_REQUEST_LINE);
    if (p[5] != '1' || p[7] > '1')
        return refuse(h, HTTP_BAD_VERSION, REASON_HTTP_BAD_VERSION);
    h->out->minor_version = (uint8_t)(p[7] - '0');
    return HTTP_OK;
}

/* method SP request-target SP HTTP-version: single spaces, nothing around (RFC 9112 3). */
static enum http_status read_any_request_line(const struct head *h, struct span line)
{
    size_t first = 0, last = line.len;

    while (first < line.len && line.ptr[first] != ' ')
        first++;
    while (last > first && line.ptr[last - 1] != ' ')
        last--;
    struct span method = span_of(line.ptr, first);
    if (method.len == 0 || token_run(method, 0) != method.len || last <= first + 1)
        return bad(h, REASON_HTTP_BAD_REQUEST_LINE);
    struct span target = span_of(line.ptr + first + 1, last - first - 2);
    enum http_status status = read_version(h, span_from(line, last));
    if (status != HTTP_OK)
        return status;
    if (target.len == 0 || memchr(target.ptr, ' ', target.len) != NULL)
        return bad(h, REASON_HTTP_BAD_REQUEST_LINE);
    if (target.ptr[0] != '/' || target_run(target, 0) != target.len)
        return bad(h, REASON_HTTP_BAD_TARGET);
    h->out->path = target;
    h->out->method = span_is(method, "POST")  ? HTTP_POST
                     : span_is(method, "GET") ? HTTP_GET
                                              : HTTP_METHOD_OTHER;
    return HTTP_OK;
}

/* Nearly all are POST /... HTTP/1.1: known at its two ends, and what lies between is a target. */
static inline enum http_status read_request_line(const struct head *h, struct span line)
{
    static const char begin[] = "POST /", end[] = " HTTP/1.1";
    const size_t target_at = sizeof begin - 2, target_end = line.len - (sizeof end - 1);

    if (line.len < sizeof begin - 1 + sizeof end - 1 || memcmp(line.ptr, begin, sizeof begin - 1) != 0 ||
        memcmp(line.ptr + target_end, end, sizeof end - 1) != 0 || target_run(line, target_at) != target_end)
        return read_any_request_line(h, line);
    h->out->method = HTTP_POST;
    h->out->minor_version = 1;
    h->out->path = span_of(line.ptr + target_at, target_end - target_at);
    return HTTP_OK;
}

/* ---- the fields that mean something to us ---- */

/* ":" and 1 to 5 digits up to 65535, or nothing. */
static bool port_is_sound(struct span s)
{
    uint32_t port = 0;

    if (s.len == 0)
        return true;
    if (s.ptr[0] != ':' || s.len < 2 || s.len > 6)
        return false;
    for (size_t i = 1; i < s.len; i++) {
        if (!is_class(s.ptr[i], DIGIT))
            return false;
        port = port * 10 + (uint32_t)(s.ptr[i] - '0');
    }
    return port <= 65535;
}

/* uri-host [ ":" port ] (RFC 9110 7.2), the host a name, an IPv4 address or an IPv6 address in brackets. */
static bool host_is_sound(struct span s)
{
    size_t at = 0;

    if (s.len != 0 && s.ptr[0] == '[') {
        for (at = 1; at < s.len && s.ptr[at] != ']'; at++) {
            uint8_t c = s.ptr[at] | 0x20;

            if (!is_class(s.ptr[at], DIGIT) && !(c >= 'a' && c <= 'f') && s.ptr[at] != ':' &&
                s.ptr[at] != '.')
                return false;
        }
        return at > 1 && at < s.len && port_is_sound(span_from(s, at + 1));
    }
    at = host_run(s, 0);
    return at != 0 && port_is_sound(span_from(s, at));
}

static enum http_status take_host(struct head *h, struct span value)
{
    if (h->has_host)
        return bad(h, REASON_HTTP_SECOND_HOST);
    if (!host_is_sound(value))
        return bad(h, REASON_HTTP_BAD_HOST);
    h->has_host = true;
    h->out->host = value;
    return HTTP_OK;
}

/* 1*DIGIT (RFC 9110 8.6).  A leading zero is refused: others have read it as octal. */
static enum http_status take_content_length(struct head *h, struct span value)
{
    size_t length = 0;

    if (h->has_length)
        return bad(h, REASON_HTTP_SECOND_LENGTH);
    if (value.len == 0 || narrow_run(value, 0, DIGIT) != value.len || (value.ptr[0] == '0' && value.len > 1))
        return bad(h, REASON_HTTP_BAD_LENGTH);
    for (size_t i = 0; i < value.len && length <= HTTP_BODY_MAX; i++)
        length = length * 10 + (size_t)(value.ptr[i] - '0');
    h->has_length = true;
    h->length_too_large = length > HTTP_BODY_MAX;
    h->out->content_length = length;
    return HTTP_OK;
}

/* Takes the next element off a comma-separated list; false when none is left.  Empty elements are elements.
 */
static bool next_element(struct span *list, bool *at_end, struct span *element)
{
    if (*at_end)
        return false;
    const uint8_t *comma = list->len != 0 ? memchr(list->ptr, ',', list->len) : NULL;
    size_t len = comma != NULL ? (size_t)(comma - list->ptr) : list->len;
    *element = trim(span_of(list->ptr, len));
    *at_end = comma == NULL;
    if (comma != NULL)
        *list = span_from(*list, len + 1);
    return true;
}

/* RFC 9112 6.1, 6.3: only a body whose last coding, and no other, is chunked has a length one can know; with
 * other codings before it we know the length but not the coding, which is 501.  A second field meets the
 * chunked of the first. */
static enum http_status take_transfer_encoding(struct head *h, struct span value)
{
    struct span element;
    bool at_end = false;

    while (next_element(&value, &at_end, &element)) {
        if (element.len == 0 || token_run(element, 0) != element.len || h->chunked)
            return bad(h, REASON_HTTP_BAD_TRANSFER_ENCODING);
        h->chunked = equals_ignoring_case(element, "chunked");
        h->coding_unknown |= !h->chunked;
    }
    return h->chunked ? HTTP_OK : bad(h, REASON_HTTP_BAD_TRANSFER_ENCODING);
}

/* #connection-option (RFC 9110 7.6.1); empty elements are let pass (5.6.1.2). */
static enum http_status take_connection(struct head *h, struct span value)
{
    struct span element;
    bool at_end = false;

    while (next_element(&value, &at_end, &element)) {
        if (token_run(element, 0) != element.len)
            return bad(h, REASON_HTTP_BAD_FIELD_VALUE);
        h->close |= equals_ignoring_case(element, "close");
        h->keep_alive |= equals_ignoring_case(element, "keep-alive");
    }
    return HTTP_OK;
}

static enum http_status take_expect(struct head *h, struct span value)
{
    bool known = equals_ignoring_case(value, "100-continue");

    h->expect_continue |= known;
    h->expect_unknown |= !known;
    return HTTP_OK;
}

static enum http_status take_authorization(struct head *h, struct span value)
{
    if (h->has_authorization)
        return bad(h, REASON_HTTP_SECOND_AUTHORIZATION);
    h->has_authorization = true;
    h->out->authorization = secret_of(value.ptr, value.len);
    return HTTP_OK;
}

static enum http_status take_content_type(struct head *h, struct span value)
{
    if (h->has_content_type)
        return bad(h, REASON_HTTP_SECOND_CONTENT_TYPE);
    h->has_content_type = true;
    h->out->content_type = value;
    return HTTP_OK;
}

enum field {
    FIELD_AUTHORIZATION,
    FIELD_CONNECTION,
    FIELD_CONTENT_LENGTH,
    FIELD_CONTENT_TYPE,
    FIELD_EXPECT,
    FIELD_HOST,
    FIELD_TRANSFER_ENCODING,
    FIELD_OTHER,
};

/* The field that the line begins with, and where its name ends: at a colon when it is one of ours. */
static inline enum field find_field(struct span line, size_t *end)
{
#define IS_NAMED(name)                                                                                       \
    (line.len > (*end = sizeof(name) - 1) && line.ptr[*end] == ':' &&                                        \
     same_letters(line.ptr, name, sizeof(name) - 1))
    switch (line.ptr[0] | 0x20) {
    case 'a':
        if (IS_NAMED("authorization"))
            return FIELD_AUTHORIZATION;
        break;
    case 'c':
        if (IS_NAMED("content-type"))
            return FIELD_CONTENT_TYPE;
        if (IS_NAMED("content-length"))
            return FIELD_CONTENT_LENGTH;
        if (IS_NAMED("connection"))
            return FIELD_CONNECTION;
        break;
    case 'e':
        if (IS_NAMED("expect"))
            return FIELD_EXPECT;
        break;
    case 'h':
        if (IS_NAMED("host"))
            return FIELD_HOST;
        break;
    case 't':
        if (IS_NAMED("transfer-encoding"))
            return FIELD_TRANSFER_ENCODING;
        break;
    default:
        break;
    }
#undef IS_NAMED
    *end = token_run(line, 0);
    return FIELD_OTHER;
}

static inline enum http_status take_field(struct head *h, enum field field, struct span value)
{
    switch (field) {
    case FIELD_AUTHORIZATION:
        return take_authorization(h, value);
    case FIELD_CONNECTION:
        return take_connection(h, value);
    case FIELD_CONTENT_LENGTH:
        return take_content_length(h, value);
    case FIELD_CONTENT_TYPE:
        return take_content_type(h, value);
    case FIELD_EXPECT:
        return take_expect(h, value);
    case FIELD_HOST:
        return take_host(h, value);
    case FIELD_TRANSFER_ENCODING:
        return take_transfer_encoding(h, value);
    case FIELD_OTHER:
        break;
    }
    return HTTP_OK;
}

/* field-name ":" OWS field-value OWS (RFC 9112 5). */
static inline enum http_status read_field_line(struct head *h, struct span line)
{
    size_t colon;

    if (is_blank(line.ptr[0]))
        return bad(h, REASON_HTTP_OBS_FOLD);
    enum field field = find_field(line, &colon);
    if (colon != 0 && colon < line.len && is_blank(line.ptr[colon]))
        return bad(h, REASON_HTTP_SPACE_BEFORE_COLON);
    if (colon == 0 || colon == line.len || line.ptr[colon] != ':')
        return bad(h, REASON_HTTP_BAD_FIELD_NAME);
    if (h->field_count++ == HTTP_FIELDS_MAX)
        return refuse(h, HTTP_HEAD_TOO_LARGE, REASON_HTTP_TOO_MANY_FIELDS);
    return take_field(h, field, trim(span_from(line, colon + 1)));
}

/* ---- what the fields mean together ---- */

/* RFC 9112 6.3, where anything that two readers could read in two ways is refused. */
static enum http_status settle_framing(struct head *h)
{
    struct http_request *rq = h->out;

    if (h->has_length && h->chunked)
        return bad(h, REASON_HTTP_AMBIGUOUS_LENGTH);
    if (h->chunked && rq->minor_version == 0)
        return bad(h, REASON_HTTP_CHUNKED_IN_1_0);
    if (h->coding_unknown)
        return refuse(h, HTTP_NOT_IMPLEMENTED, REASON_HTTP_UNKNOWN_CODING);
    if (h->length_too_large)
        return refuse(h, HTTP_TOO_LARGE, REASON_HTTP_BODY_TOO_LARGE);
    rq->framing = h->chunked ? HTTP_CHUNKED : h->has_length ? HTTP_CONTENT_LENGTH : HTTP_NO_BODY;
    return HTTP_OK;
}

static enum http_status settle(struct head *h)
{
    struct http_request *rq = h->out;

    if (rq->minor_version == 1 && !h->has_host)
        return bad(h, REASON_HTTP_NO_HOST);
    enum http_status status = settle_framing(h);
    if (status != HTTP_OK)
        return status;
    /* RFC 9112 9.3: close wins; 1.1 persists unless told otherwise, 1.0 only if asked. */
    rq->keep_alive = !h->close && (rq->minor_version == 1 || h->keep_alive);
    /* RFC 9110 10.1.1: an expectation in HTTP/1.0 is ignored. */
    if (rq->minor_version == 1 && h->expect_unknown)
        return refuse(h, HTTP_BAD_EXPECTATION, REASON_HTTP_BAD_EXPECTATION);
    rq->expect_continue = rq->minor_version == 1 && h->expect_continue &&
                          (rq->framing == HTTP_CHUNKED || rq->content_length != 0);
    return HTTP_OK;
}

static enum http_status parse_lines(struct head *h, struct span in)
{
    struct lines lines = {.in = in};
    size_t at = in.len >= 2 && in.ptr[0] == '\r' && in.ptr[1] == '\n' ? 2 : 0;
    bool first = true;

    for (;;) {
        struct span line;
        enum http_status status = take_line(h, &lines, at, &line);

        if (status == HTTP_OK && line.len == 0 && !first) {
            h->out->head_len = at + 2;
            return settle(h);
        }
        if (status == HTTP_OK)
            status = first ? read_request_line(h, line) : read_field_line(h, line);
        if (status != HTTP_OK)
            return status;
        at += line.len + 2;
        first = false;
    }
}

enum http_status http_parse_head(struct span in, struct http_request *out, enum reason *why)
{
    struct head h = {.out = out, .why = why};
    bool full = in.len >= HTTP_HEAD_MAX;

    memset(out, 0, sizeof *out);
    enum http_status status = parse_lines(&h, full ? span_of(in.ptr, HTTP_HEAD_MAX) : in);
    if (status == HTTP_MORE && full)
        return refuse(&h, HTTP_HEAD_TOO_LARGE, REASON_HTTP_HEAD_TOO_LARGE);
    return status;
}

/* ---- chunked bodies (RFC 9112 7.1) ---- */

#define CHUNK_LINE_MAX    256 /* size, extensions and CRLF */
#define CHUNK_DIGITS_MAX  16
#define CHUNK_EXCESS_MAX  (16 * 1024)
#define CHUNK_LINE_COST   16 /* what a size line may cost without further question */
#define CHUNK_TRAILER_MAX 4096

enum chunk_state {
    SIZE_FIRST, /* the first digit of a size */
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_FIRST, /* the first byte of a trailer line, or of the empty line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    DONE,
    FAILED,
};

void http_chunked_init(struct http_chunked *c)
{
    *c = (struct http_chunked){.state = SIZE_FIRST};
}

static void chunk_fail(struct http_chunked *c, enum reason why)
{
    c->state = FAILED;
    c->why = why;
}

/* next when b is the byte that must stand here. */
static void chunk_expect(struct http_chunked *c, uint8_t b, char expected, enum chunk_state next,
                         enum reason why)
{
    if (b == (uint8_t)expected)
        c->state = (uint8_t)next;
    else
        chunk_fail(c, why);
}

static int hex_value(uint8_t b)
{
    if (is_class(b, DIGIT))
        return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

static void chunk_size_byte(struct http_chunked *c, uint8_t b)
{
    int digit = hex_value(b);

    if (digit >= 0 && c->line_len <= CHUNK_DIGITS_MAX) {
        c->state = SIZE;
        /* Saturates far above HTTP_BODY_MAX, far below overflow. */
        if (c->chunk_left <= HTTP_BODY_MAX)
            c->chunk_left = c->chunk_left * 16 + (size_t)digit;
    } else if (c->state == SIZE && b == ';') {
        c->state = EXTENSION;
    } else if (c->state == SIZE && b == '\r') {
        c->state = SIZE_LF;
    } else {
        chunk_fail(c, b == '\n' ? REASON_HTTP_BARE_LINE_END : REASON_HTTP_BAD_CHUNK_SIZE);
    }
}

static void chunk_extension_byte(struct http_chunked *c, uint8_t b)
{
    if (b == '\r')
        c->state = SIZE_LF;
    else if (!is_class(b, VALUE))
        chunk_fail(c, b == '\n' ? REASON_HTTP_BARE_LINE_END : REASON_HTTP_BAD_CHUNK_SIZE);
}

/* A size line has ended.  Its bytes count against a budget that data earns back, so that many small chunks
 * with long extensions cannot make a body cost many times its length. */
static void chunk_begin(struct http_chunked *c)
{
    size_t earned = CHUNK_LINE_COST + 2 * c->chunk_left;

    if (c->chunk_left > HTTP_BODY_MAX - c->body_len) {
        chunk_fail(c, REASON_HTTP_BODY_TOO_LARGE);
        return;
    }
    c->excess_len += c->line_len;
    c->excess_len -= c->excess_len < earned ? c->excess_len : earned;
    if (c->excess_len > CHUNK_EXCESS_MAX) {
        chunk_fail(c, REASON_HTTP_CHUNK_LINE_TOO_LONG);
        return;
    }
    c->line_len = 0;
    c->state = c->chunk_left != 0 ? DATA : TRAILER_FIRST;
}

static void chunk_trailer_byte(struct http_chunked *c, uint8_t b)
{
    if (b == '\n' && c->state != TRAILER_LF) {
        chunk_fail(c, REASON_HTTP_BARE_LINE_END);
    } else if (c->state == TRAILER_FIRST && b == '\r') {
        c->state = LAST_LF;
    } else if (c->state == TRAILER_VALUE && b == '\r') {
        c->state = TRAILER_LF;
    } else if (c->state == TRAILER_VALUE && is_class(b, VALUE)) {
        return;
    } else if (c->state == TRAILER_NAME && b == ':') {
        c->state = TRAILER_VALUE;
    } else if (c->state != TRAILER_VALUE && is_class(b, TOKEN)) {
        c->state = TRAILER_NAME;
    } else {
        chunk_fail(c, REASON_HTTP_BAD_TRAILER);
    }
}

/* Every byte that is not data. */
static void chunk_byte(struct http_chunked *c, uint8_t b)
{
    bool in_trailer = c->state >= TRAILER_FIRST;

    if (++c->line_len > (in_trailer ? CHUNK_TRAILER_MAX : CHUNK_LINE_MAX)) {
        chunk_fail(c, in_trailer ? REASON_HTTP_TRAILER_TOO_LONG : REASON_HTTP_CHUNK_LINE_TOO_LONG);
        return;
    }
    switch ((enum chunk_state)c->state) {
    case SIZE_FIRST:
    case SIZE:
        chunk_size_byte(c, b);
        return;
    case EXTENSION:
        chunk_extension_byte(c, b);
        return;
    case SIZE_LF:
        chunk_expect(c, b, '\n', SIZE_LF, REASON_HTTP_BARE_LINE_END);
        if (c->state != FAILED)
            chunk_begin(c);
        return;
    case DATA_CR:
        chunk_expect(c, b, '\r', DATA_LF, REASON_HTTP_BAD_CHUNK_END);
        return;
    case DATA_LF:
        chunk_expect(c, b, '\n', SIZE_FIRST, REASON_HTTP_BAD_CHUNK_END);
        c->line_len = 0;
        return;
    case TRAILER_FIRST:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        chunk_trailer_byte(c, b);
        return;
    case TRAILER_LF:
        chunk_expect(c, b, '\n', TRAILER_FIRST, REASON_HTTP_BARE_LINE_END);
        return;
    case LAST_LF:
        chunk_expect(c, b, '\n', DONE, REASON_HTTP_BARE_LINE_END);
        return;
    case DATA:
    case DONE:
    case FAILED:
        return;
    }
}

/* Moves as much data as there is, and as there is room for; how much that was. */
static size_t chunk_data(struct http_chunked *c, struct span in, struct buf *body)
{
    size_t len = in.len < c->chunk_left ? in.len : c->chunk_left;

    if (len > body->cap - body->len)
        len = body->cap - body->len;
    if (len != 0)
        memmove(body->ptr + body->len, in.ptr, len);
    body->len += len;
    c->body_len += len;
    c->chunk_left -= len;
    if (c->chunk_left == 0)
        c->state = DATA_CR;
    return len;
}

enum http_status http_chunked_feed(struct http_chunked *c, struct span in, size_t *used, struct buf *body,
                                   enum reason *why)
{
    size_t at = 0;

    while (at < in.len && c->state != DONE && c->state != FAILED) {
        if (c->state != DATA) {
            chunk_byte(c, in.ptr[at++]);
            continue;
        }
        size_t len = chunk_data(c, span_from(in, at), body);
        at += len;
        if (len == 0)
            break;
    }
    *used = at;
    if (c->state == DONE)
        return HTTP_OK;
    if (c->state != FAILED)
        return HTTP_MORE;
    *why = c->why;
    return c->why == REASON_HTTP_BODY_TOO_LARGE ? HTTP_TOO_LARGE : HTTP_BAD;
}

/* ---- replies ---- */

const char http_continue[] = "HTTP/1.1 100 Continue\r\n\r\n";

static const char *reason_phrase(uint16_t status)
{
    static const struct {
        uint16_t status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "";
}

static void put_text(struct writer *w, const char *text)
{
    write_bytes(w, span_str(text));
}

/* In its place at once, the last digit first. */
static void put_decimal(struct writer *w, size_t v)
{
    size_t count = 1;

    for (size_t power = 10; v >= power && count < 20; power *= 10)
        count++;
    if (w->overflow || count > w->cap - w->len) {
        w->overflow = true;
        return;
    }
    for (uint8_t *p = w->ptr + w->len + count; count > 0; count--, w->len++, v /= 10)
        *--p = (uint8_t)('0' + v % 10);
}

static void put_status_line(struct writer *w, uint16_t status)
{
    if (status == 200) { /* nearly all of them */
        put_text(w, "HTTP/1.1 200 OK\r\n");
        return;
    }
    put_text(w, "HTTP/1.1 ");
    put_decimal(w, status);
    put_text(w, " ");
    put_text(w, reason_phrase(status));
    put_text(w, "\r\n");
}

bool http_write_head(struct buf *out, const struct http_reply_head *h)
{
    struct writer w = writer_of(out->ptr + out->len, out->cap - out->len);

    put_status_line(&w, h->status);
    put_text(&w, "Content-Length: ");
    put_decimal(&w, h->content_length);
    if (h->content_length != 0)
        put_text(&w, "\r\nContent-Type: application/json");
    if (h->date.len != 0) {
        put_text(&w, "\r\nDate: ");
        write_bytes(&w, h->date);
    }
    if (h->retry_after_s != 0) {
        put_text(&w, "\r\nRetry-After: ");
        put_decimal(&w, h->retry_after_s);
    }
    if (h->www_authenticate)
        put_text(&w, "\r\nWWW-Authenticate: Bearer");
    if (h->allow_post)
        put_text(&w, "\r\nAllow: POST");
    if (h->close)
        put_text(&w, "\r\nConnection: close");
    else if (h->keep_alive_1_0)
        put_text(&w, "\r\nConnection: keep-alive");
    put_text(&w, "\r\n\r\n");
    if (!writer_ok(&w))
        return false;
    out->len += w.len;
    return true;
}

/* Days since 1970-01-01 to year, month, day of the Gregorian calendar, counted in eras of 400 years that
 * begin on the first of March, where the leap day comes last. */
static void civil_date(uint64_t days, uint64_t *year, uint64_t *month, uint64_t *day)
{
    uint64_t z = days + 719468, era = z / 146097, day_of_era = z % 146097;
    uint64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t from_march = (5 * day_of_year + 2) / 153;

    *day = day_of_year - (153 * from_march + 2) / 5 + 1;
    *month = from_march < 10 ? from_march + 3 : from_march - 9;
    *year = year_of_era + era * 400 + (*month <= 2);
}

static void put_digits(uint8_t *out, uint64_t v, size_t count)
{
    while (count-- > 0) {
        out[count] = (uint8_t)('0' + v % 10);
        v /= 10;
    }
}

void http_format_date(uint64_t unix_s, uint8_t out[HTTP_DATE_LEN])
{
    static const char week_days[] = "ThuFriSatSunMonTueWed",
                      months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t days = unix_s / 86400, second = unix_s % 86400, year, month, day;

    civil_date(days, &year, &month, &day);
    memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", HTTP_DATE_LEN);
    memcpy(out, week_days + days % 7 * 3, 3);
    put_digits(out + 5, day, 2);
    memcpy(out + 8, months + (month - 1) * 3, 3);
    put_digits(out + 12, year, 4);
    put_digits(out + 17, second / 3600, 2);
    put_digits(out + 20, second / 60 % 60, 2);
    put_digits(out + 23, second % 60, 2);
}
