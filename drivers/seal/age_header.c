/* The header of an age v1 file: lines that end in LF alone.
 *
 *     age-encryption.org/v1
 *     -> TYPE ARGUMENT...             a stanza,
 *     BASE64                          its body: lines of 64 characters and one shorter, which may be empty
 *     --- BASE64                      the MAC over all before the space
 *
 * Base64 is standard, unpadded and canonical. */
#include "drivers/seal/age.h"
#include "proto/base64.h"

#define LINE_MAX_LEN  4096
#define BODY_LINE_LEN 64
#define BODY_DECODED  48

static const char version_line[] = "age-encryption.org/v1";

static bool next_line(struct span *left, struct span *line)
{
    const uint8_t *end = left->len == 0 ? NULL : memchr(left->ptr, '\n', left->len);

    if (end == NULL)
        return false;
    *line = span_of(left->ptr, (size_t)(end - left->ptr));
    *left = span_from(*left, line->len + 1);
    return true;
}

static bool starts_with(struct span s, const char *text)
{
    size_t len = strlen(text);

    return s.len >= len && memcmp(s.ptr, text, len) == 0;
}

/* Takes characters that proto/base64 would forgive for what they are: its URL alphabet and its padding. */
static bool decode(struct span text, uint8_t *out, size_t *len)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];

        if (c == '-' || c == '_' || c == '=')
            return false;
    }
    *len = 0;
    return text.len == 0 || base64_decode(text, out, len);
}

static bool decode_exactly(struct span text, uint8_t *out, size_t want)
{
    uint8_t decoded[BODY_DECODED];
    size_t len;

    if (text.len > BODY_LINE_LEN || !decode(text, decoded, &len) || len != want)
        return false;
    memcpy(out, decoded, want);
    return true;
}

static bool arguments_well_formed(struct span line)
{
    uint8_t before = ' ';

    for (size_t i = 0; i < line.len; i++) {
        uint8_t c = line.ptr[i];

        if (c != ' ' && (c < 0x21 || c > 0x7e))
            return false;
        if (c == ' ' && before == ' ')
            return false;
        before = c;
    }
    return before != ' ';
}

/* One stanza's body.  first: its first line. */
static enum age_status read_body(struct span *left, struct span *first)
{
    uint8_t decoded[BODY_DECODED];
    struct span line;
    size_t len;

    *first = span_of(NULL, 0);
    do {
        if (!next_line(left, &line))
            return AGE_MORE;
        if (line.len > BODY_LINE_LEN || !decode(line, decoded, &len))
            return AGE_BAD_HEADER;
        if (first->ptr == NULL)
            *first = line;
    } while (line.len == BODY_LINE_LEN);
    return AGE_OK;
}

static bool keep_x25519(struct age_header *h, struct span argument, struct span body)
{
    struct age_stanza *s = &h->x25519[h->x25519_count++];

    return decode_exactly(argument, s->share, sizeof s->share) &&
           decode_exactly(body, s->body, sizeof s->body);
}

static enum age_status read_stanza(struct span *left, struct span line, struct age_header *h, bool *alone)
{
    struct span arguments = span_from(line, 3), body;

    if (!arguments_well_formed(arguments) || h->stanza_count == AGE_STANZAS_MAX)
        return AGE_BAD_HEADER;
    h->stanza_count += 1;
    enum age_status status = read_body(left, &body);
    if (status != AGE_OK)
        return status;
    /* A passphrase stanza stands alone, so that none who knows it passes for the sender to others. */
    *alone |= span_is(arguments, "scrypt") || starts_with(arguments, "scrypt ");
    if (span_is(arguments, "X25519"))
        return AGE_BAD_HEADER;
    if (starts_with(arguments, "X25519 ") && !keep_x25519(h, span_from(arguments, 7), body))
        return AGE_BAD_HEADER;
    return AGE_OK;
}

static enum age_status read_lines(struct span file, struct age_header *h)
{
    struct span left = file, line;
    bool alone = false;

    if (!next_line(&left, &line)) {
        size_t len = file.len < sizeof version_line - 1 ? file.len : sizeof version_line - 1;
        return memcmp(file.ptr, version_line, len) == 0 ? AGE_MORE : AGE_NOT_AGE;
    }
    if (!span_is(line, version_line))
        return AGE_NOT_AGE;
    while (next_line(&left, &line)) {
        if (starts_with(line, "--- ")) {
            h->covered = span_of(file.ptr, (size_t)(line.ptr - file.ptr) + 3);
            h->len = (size_t)(left.ptr - file.ptr);
            if (h->stanza_count == 0 || (alone && h->stanza_count != 1))
                return AGE_BAD_HEADER;
            return decode_exactly(span_from(line, 4), h->mac, sizeof h->mac) ? AGE_OK : AGE_BAD_HEADER;
        }
        if (line.len > LINE_MAX_LEN || !starts_with(line, "-> "))
            return AGE_BAD_HEADER;
        enum age_status status = read_stanza(&left, line, h, &alone);
        if (status != AGE_OK)
            return status;
    }
    return AGE_MORE;
}

enum age_status age_header_parse(struct span file, struct age_header *out)
{
    struct span head = span_of(file.ptr, file.len < AGE_HEADER_MAX ? file.len : AGE_HEADER_MAX);

    memset(out, 0, sizeof *out);
    if (file.len == 0)
        return AGE_MORE;
    enum age_status status = read_lines(head, out);
    return status == AGE_MORE && file.len >= AGE_HEADER_MAX ? AGE_BAD_HEADER : status;
}
