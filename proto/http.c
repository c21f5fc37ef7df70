#include "proto/http.h"

#include "base/cursor.h"
#include "base/secret_priv.h"

#ifdef __SSE2__
#include <emmintrin.h>
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

static bool all_of_class(struct span s, uint8_t class)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_class(s.ptr[i], class))
            return false;
    return true;
}

/* word: lower-case letters and '-'.  Setting bit 5 folds letters; of the other bytes it folds onto '-' only
 * CR, which no line holds.  Its length is known where it is called, so that this becomes comparisons of whole words. */
static inline bool same_letters(const uint8_t *p, const char *word, size_t len)
{
    const uint64_t fold = UINT64_C(0x2020202020202020);
    uint64_t a, b, diff = 0;

    for (; len >= sizeof a; len -= sizeof a, p += sizeof a, word += sizeof a) {
        memcpy(&a, p, sizeof a);
        memcpy(&b, word, sizeof b);
        diff |= (a | fold) ^ b;
    }
    for (size_t i = 0; i < len; i++)
        diff |= (uint64_t)((p[i] | 0x20) ^ (uint8_t)word[i]);
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
    while (s.len != 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    while (s.len != 0 && is_blank(s.ptr[0]))
        s = span_of(s.ptr + 1, s.len - 1);
    return s;
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

/* No byte of the eight is a control byte; a tab counts as one here. */
static inline bool lanes_are_text(uint64_t v)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t delete = v ^ (ones * 0x7f);

    return ((((v - ones * 0x20) & ~v) | ((delete - ones) & ~delete)) & highs) == 0;
}

/* From at to the next byte that may not stand in a field value. */
static size_t skip_text(struct span in, size_t at)
{
    uint64_t v;

#ifdef __SSE2__
    while (in.len - at >= 16) {
        __m128i sixteen = _mm_loadu_si128((const __m128i *)(const void *)(in.ptr + at));
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(sixteen, _mm_set1_epi8(0x1f)), sixteen);
        __m128i stops = _mm_or_si128(control, _mm_cmpeq_epi8(sixteen, _mm_set1_epi8(0x7f)));
        unsigned mask = (unsigned)_mm_movemask_epi8(
            _mm_andnot_si128(_mm_cmpeq_epi8(sixteen, _mm_set1_epi8('\t')), stops));
        if (mask != 0)
            return at + (size_t)__builtin_ctz(mask);
        at += 16;
    }
#endif
    while (in.len - at >= sizeof v) {
        memcpy(&v, in.ptr + at, sizeof v);
        if (!lanes_are_text(v))
            break;
        at += sizeof v;
    }
    while (at < in.len && is_class(in.ptr[at], VALUE))
        at++;
    return at;
}

/* The line that begins at in[at], without its CRLF.  Bytes are judged in their order, so that a prefix never
 * meets another error than the whole. */
static enum http_status take_line(const struct head *h, struct span in, size_t at, struct span *line)
{
    size_t end = skip_text(in, at);

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
static enum http_status read_request_line(const struct head *h, struct span line)
{
    size_t first = 0, last = line.len;

    while (first < line.len && line.ptr[first] != ' ')
        first++;
    while (last > first && line.ptr[last - 1] != ' ')
        last--;
    struct span method = span_of(line.ptr, first);
    if (method.len == 0 || !all_of_class(method, TOKEN) || last <= first + 1)
        return bad(h, REASON_HTTP_BAD_REQUEST_LINE);
    struct span target = span_of(line.ptr + first + 1, last - first - 2);
    enum http_status status = read_version(h, span_from(line, last));
    if (status != HTTP_OK)
        return status;
    if (target.len == 0 || memchr(target.ptr, ' ', target.len) != NULL)
        return bad(h, REASON_HTTP_BAD_REQUEST_LINE);
    if (target.ptr[0] != '/' || !all_of_class(target, TARGET))
        return bad(h, REASON_HTTP_BAD_TARGET);
    h->out->path = target;
    h->out->method = span_is(method, "POST")  ? HTTP_POST
                     : span_is(method, "GET") ? HTTP_GET
                                              : HTTP_METHOD_OTHER;
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
    while (at < s.len && is_class(s.ptr[at], HOST))
        at++;
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
    if (value.len == 0 || !all_of_class(value, DIGIT) || (value.ptr[0] == '0' && value.len > 1))
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
        if (element.len == 0 || !all_of_class(element, TOKEN) || h->chunked)
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
        if (!all_of_class(element, TOKEN))
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

/* By length first: most fields are nobody's. */
static enum http_status take_field(struct head *h, struct span name, struct span value)
{
    switch (name.len) {
    case 4:
        return equals_ignoring_case(name, "host") ? take_host(h, value) : HTTP_OK;
    case 6:
        return equals_ignoring_case(name, "expect") ? take_expect(h, value) : HTTP_OK;
    case 10:
        return equals_ignoring_case(name, "connection") ? take_connection(h, value) : HTTP_OK;
    case 12:
        return equals_ignoring_case(name, "content-type") ? take_content_type(h, value) : HTTP_OK;
    case 13:
        return equals_ignoring_case(name, "authorization") ? take_authorization(h, value) : HTTP_OK;
    case 14:
        return equals_ignoring_case(name, "content-length") ? take_content_length(h, value) : HTTP_OK;
    case 17:
        return equals_ignoring_case(name, "transfer-encoding") ? take_transfer_encoding(h, value) : HTTP_OK;
    default:
        return HTTP_OK;
    }
}

/* field-name ":" OWS field-value OWS (RFC 9112 5). */
static enum http_status read_field_line(struct head *h, struct span line)
{
    size_t colon = 0;

    if (is_blank(line.ptr[0]))
        return bad(h, REASON_HTTP_OBS_FOLD);
    while (colon < line.len && is_class(line.ptr[colon], TOKEN))
        colon++;
    if (colon != 0 && colon < line.len && is_blank(line.ptr[colon]))
        return bad(h, REASON_HTTP_SPACE_BEFORE_COLON);
    if (colon == 0 || colon == line.len || line.ptr[colon] != ':')
        return bad(h, REASON_HTTP_BAD_FIELD_NAME);
    if (h->field_count++ == HTTP_FIELDS_MAX)
        return refuse(h, HTTP_HEAD_TOO_LARGE, REASON_HTTP_TOO_MANY_FIELDS);
    return take_field(h, span_of(line.ptr, colon), trim(span_from(line, colon + 1)));
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
    struct span line;
    size_t at = in.len >= 2 && in.ptr[0] == '\r' && in.ptr[1] == '\n' ? 2 : 0;
    enum http_status status = take_line(h, in, at, &line);

    if (status == HTTP_OK)
        status = read_request_line(h, line);
    while (status == HTTP_OK) {
        at = (size_t)(line.ptr - in.ptr) + line.len + 2;
        status = take_line(h, in, at, &line);
        if (status == HTTP_OK && line.len == 0) {
            h->out->head_len = at + 2;
            return settle(h);
        }
        if (status == HTTP_OK)
            status = read_field_line(h, line);
    }
    return status;
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

static void put_decimal(struct writer *w, size_t v)
{
    uint8_t digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (uint8_t)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    write_bytes(w, span_of(digits + at, sizeof digits - at));
}

bool http_write_head(struct buf *out, const struct http_reply_head *h)
{
    struct writer w = writer_of(out->ptr + out->len, out->cap - out->len);

    put_text(&w, "HTTP/1.1 ");
    put_decimal(&w, h->status);
    put_text(&w, " ");
    put_text(&w, reason_phrase(h->status));
    put_text(&w, "\r\nContent-Length: ");
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
