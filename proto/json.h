/* JSON (RFC 8259) without allocation or recursion: a pull reader over one complete text.
 *
 * Strict: valid UTF-8 without lone surrogates, no NUL in strings, no duplicate keys within an object, depth
 * <= JSON_DEPTH_MAX, no bytes after the value.  The reader reports one token after the other; the ProtoJSON
 * rules (lowerCamelCase and snake_case names, null = default, unknown names skipped) are in proto/protojson.h
 * on top of it. */
#ifndef PROTO_JSON_H
#define PROTO_JSON_H

#include "base/span.h"

#define JSON_DEPTH_MAX   16
#define JSON_MEMBERS_MAX 64  /* names of all open objects, kept to find duplicates; more is refused */
#define JSON_NAME_MAX    256 /* raw bytes of one name: bounds what comparing names may cost */

enum json_token {
    JSON_OBJECT_BEGIN,
    JSON_OBJECT_END,
    JSON_ARRAY_BEGIN,
    JSON_ARRAY_END,
    JSON_NAME,   /* text: the raw bytes between the quotes */
    JSON_STRING, /* text: the raw bytes between the quotes, escapes still in */
    JSON_NUMBER, /* text: its bytes, checked against the grammar */
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
    JSON_END,   /* the text is complete */
    JSON_ERROR, /* sticky */
};

struct json_reader {
    struct span in;
    size_t at;
    struct span text;  /* of the last NAME, STRING or NUMBER */
    bool text_escaped; /* it holds a backslash: json_unescape before comparing */
    uint8_t depth;
    const char *error; /* static text, NULL while all is well; never quotes input */
    /* the rest is the reader's own */
    uint8_t state_;
    struct {
        bool is_object_;
        uint16_t names_begin_;
    } stack_[JSON_DEPTH_MAX];
    uint16_t name_count_;
    struct {
        uint32_t at, hash;
        uint16_t len;
        bool escaped;
    } names_[JSON_MEMBERS_MAX];
};

void json_init(struct json_reader *r, struct span in);
enum json_token MUST_USE json_next(struct json_reader *r);
/* Skips the value that would come next, whatever it is.  false on an error. */
bool MUST_USE json_skip(struct json_reader *r);

/* Resolves escapes of a NAME or STRING into out (room for text.len bytes; may be in place). */
size_t json_unescape(struct span text, uint8_t *out);
/* What two texts mean, character by character. */
bool json_texts_equal_(struct span a, struct span b);
/* Equal to a plain ASCII literal, escapes resolved. */
static inline bool json_text_equals(const struct json_reader *r, struct span literal)
{
    return r->text_escaped ? json_texts_equal_(r->text, literal) : span_equal(r->text, literal);
}
static inline bool json_text_is(const struct json_reader *r, const char *literal)
{
    return json_text_equals(r, span_str(literal));
}
/* An integer in [min, max], from NUMBER, exactly (1e2 and 3.0 are integers in ProtoJSON). */
bool MUST_USE json_integer(struct span number, int64_t min, int64_t max, int64_t *out);

/* Appends text as a JSON string with quotes, escaping what must be; false when it does not fit. */
bool MUST_USE json_write_string(struct buf *out, struct span text);

#endif
