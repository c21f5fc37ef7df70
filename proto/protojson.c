#include "proto/protojson.h"

#include "base/secret_priv.h"
#include "proto/base64.h"
#include "proto/json.h"

/* ---- tables: what a message is ---- */

enum kind {
    KIND_BYTES,  /* struct span; base64 */
    KIND_SECRET, /* struct secret_span; base64 */
    KIND_STRING, /* struct span */
    KIND_BOOL,   /* bool */
    KIND_REASON, /* uint32_t, a bit of the access reasons */
    KIND_MESSAGE,
};

struct message;

#define NAME(text)                                                                                           \
    {                                                                                                        \
        (const uint8_t *)(text), sizeof(text) - 1                                                            \
    }

struct field {
    struct span camel, snake; /* its two names */
    const char *path;         /* as a fieldViolation names it */
    const char *too_long;     /* what to say when it is over max */
    enum kind kind;
    size_t max;    /* BYTES, SECRET, STRING: most bytes */
    size_t offset; /* in the C struct */
    bool required;
    const struct message *message; /* MESSAGE: of these fields, in the same C struct */
};

#define FIELDS_MAX 8

struct message {
    size_t field_count;
    struct field fields[FIELDS_MAX];
};

/* The offsets of a nested message count from the struct of the outermost one, so the context has one table for
 * each of the two requests. */
#define CONTEXT_MESSAGES(prefix, type)                                                                       \
    static const struct message prefix##_reason = {                                                          \
        .field_count = 1,                                                                                    \
        .fields = {{.camel = NAME("reason"),                                                                 \
                    .snake = NAME("reason"),                                                                 \
                    .path = "additionalContext.accessReasonContext.reason",                                  \
                    .kind = KIND_REASON,                                                                     \
                    .offset = offsetof(type, context.reason)}},                                              \
    };                                                                                                       \
    static const struct message prefix##_context = {                                                         \
        .field_count = 4,                                                                                    \
        .fields = {{.camel = NAME("relativeResourceName"),                                                   \
                    .snake = NAME("relative_resource_name"),                                                 \
                    .path = "additionalContext.relativeResourceName",                                        \
                    .kind = KIND_STRING,                                                                     \
                    .max = EKM_RESOURCE_MAX,                                                                 \
                    .too_long = "must not be longer than 512 bytes",                                         \
                    .offset = offsetof(type, context.relative_resource_name)},                               \
                   {.camel = NAME("fullResourceName"),                                                       \
                    .snake = NAME("full_resource_name"),                                                     \
                    .path = "additionalContext.fullResourceName",                                            \
                    .kind = KIND_STRING,                                                                     \
                    .max = EKM_RESOURCE_MAX,                                                                 \
                    .too_long = "must not be longer than 512 bytes",                                         \
                    .offset = offsetof(type, context.full_resource_name)},                                   \
                   {.camel = NAME("accessReasonContext"),                                                    \
                    .snake = NAME("access_reason_context"),                                                  \
                    .path = "additionalContext.accessReasonContext",                                         \
                    .kind = KIND_MESSAGE,                                                                    \
                    .offset = offsetof(type, context.reason),                                                \
                    .message = &prefix##_reason},                                                            \
                   {.camel = NAME("isKeyHealthCheck"),                                                       \
                    .snake = NAME("is_key_health_check"),                                                    \
                    .path = "additionalContext.isKeyHealthCheck",                                            \
                    .kind = KIND_BOOL,                                                                       \
                    .offset = offsetof(type, context.is_key_health_check)}},                                 \
    }

CONTEXT_MESSAGES(wrap, struct wrap_request);
CONTEXT_MESSAGES(unwrap, struct unwrap_request);

#define COMMON_FIELDS(prefix, type)                                                                          \
    {.camel = NAME("additionalAuthenticatedData"),                                                           \
     .snake = NAME("additional_authenticated_data"),                                                         \
     .path = "additionalAuthenticatedData",                                                                  \
     .kind = KIND_BYTES,                                                                                     \
     .max = EKM_AAD_MAX,                                                                                     \
     .too_long = "must not be longer than 65536 bytes",                                                      \
     .offset = offsetof(type, aad)},                                                                         \
        {.camel = NAME("additionalContext"),                                                                 \
         .snake = NAME("additional_context"),                                                                \
         .path = "additionalContext",                                                                        \
         .kind = KIND_MESSAGE,                                                                               \
         .message = &prefix##_context},                                                                      \
        {.camel = NAME("keyPath"),                                                                           \
         .snake = NAME("key_path"),                                                                          \
         .path = "keyPath",                                                                                  \
         .kind = KIND_STRING,                                                                                \
         .max = EKM_KEY_PATH_MAX,                                                                            \
         .too_long = "must not be longer than 256 bytes",                                                    \
         .offset = offsetof(type, key_path)},                                                                \
    {                                                                                                        \
        .camel = NAME("keyUriPrefix"), .snake = NAME("key_uri_prefix"), .path = "keyUriPrefix",              \
        .kind = KIND_STRING, .max = EKM_RESOURCE_MAX, .too_long = "must not be longer than 512 bytes",       \
        .offset = offsetof(type, key_uri_prefix)                                                             \
    }

static const struct message wrap_message = {
    .field_count = 5,
    .fields = {{.camel = NAME("plaintext"),
                .snake = NAME("plaintext"),
                .path = "plaintext",
                .kind = KIND_SECRET,
                .max = EKM_PLAINTEXT_MAX,
                .too_long = "must not be longer than 131072 bytes",
                .offset = offsetof(struct wrap_request, plaintext),
                .required = true},
               COMMON_FIELDS(wrap, struct wrap_request)},
};

static const struct message unwrap_message = {
    .field_count = 5,
    .fields = {{.camel = NAME("wrappedBlob"),
                .snake = NAME("wrapped_blob"),
                .path = "wrappedBlob",
                .kind = KIND_BYTES,
                .max = EKM_BLOB_MAX,
                .too_long = "must not be longer than 196608 bytes",
                .offset = offsetof(struct unwrap_request, wrapped_blob),
                .required = true},
               COMMON_FIELDS(unwrap, struct unwrap_request)},
};

_Static_assert(EKM_PLAINTEXT_MAX == 131072 && EKM_BLOB_MAX == 196608 && EKM_AAD_MAX == 65536,
               "the texts above say the limits in digits");
_Static_assert(EKM_RESOURCE_MAX == 512 && EKM_KEY_PATH_MAX == 256,
               "the texts above say the limits in digits");

/* ---- binding ---- */

struct binding {
    struct json_reader reader;
    uint8_t *body; /* what the reader reads, writable */
    uint8_t *out;
    struct field_violation *bad;
};

static bool violate(struct binding *b, const char *field, const char *description)
{
    b->bad->field = field;
    b->bad->description = description;
    return false;
}

static bool violate_syntax(struct binding *b)
{
    return violate(b, "", b->reader.error);
}

static void *place_of(const struct binding *b, const struct field *f)
{
    return b->out + f->offset;
}

/* The text of the last token, writable and with its escapes resolved in place; the reader is past it. */
static uint8_t *take_text(struct binding *b, size_t *len)
{
    uint8_t *text = b->body + (b->reader.text.ptr - b->body);

    *len = b->reader.text_escaped ? json_unescape(b->reader.text, text) : b->reader.text.len;
    return text;
}

static bool bind_bytes(struct binding *b, const struct field *f, enum json_token token)
{
    size_t len;

    if (token != JSON_STRING)
        return violate(b, f->path, "must be a string of base64");
    uint8_t *text = take_text(b, &len);
    if (!base64_decode(span_of(text, len), text, &len))
        return violate(b, f->path, "must be base64");
    if (len > f->max)
        return violate(b, f->path, f->too_long);
    if (f->kind == KIND_SECRET)
        *(struct secret_span *)place_of(b, f) = secret_of(text, len);
    else
        *(struct span *)place_of(b, f) = span_of(text, len);
    return true;
}

static bool bind_string(struct binding *b, const struct field *f, enum json_token token)
{
    size_t len;

    if (token != JSON_STRING)
        return violate(b, f->path, "must be a string");
    uint8_t *text = take_text(b, &len);
    if (len > f->max)
        return violate(b, f->path, f->too_long);
    *(struct span *)place_of(b, f) = span_of(text, len);
    return true;
}

static bool bind_bool(struct binding *b, const struct field *f, enum json_token token)
{
    if (token != JSON_TRUE && token != JSON_FALSE)
        return violate(b, f->path, "must be true or false");
    *(bool *)place_of(b, f) = token == JSON_TRUE;
    return true;
}

/* An enum is open: a name or number that is not ours is not malformed, it is UNKNOWN. */
static bool bind_reason(struct binding *b, const struct field *f, enum json_token token)
{
    uint32_t bit = ACCESS_REASON_UNKNOWN_BIT;
    int64_t number;

    if (token == JSON_STRING) {
        for (uint32_t i = 0; i <= ACCESS_REASON_LAST && bit == ACCESS_REASON_UNKNOWN_BIT; i++)
            if (json_text_is(&b->reader, access_reason_names[i]))
                bit = UINT32_C(1) << i;
    } else if (token == JSON_NUMBER && json_integer(b->reader.text, INT32_MIN, INT32_MAX, &number)) {
        if (number >= 0 && number <= ACCESS_REASON_LAST)
            bit = UINT32_C(1) << number;
    } else {
        return violate(b, f->path, "must be the name or the number of a reason");
    }
    *(uint32_t *)place_of(b, f) = bit;
    return true;
}

static bool bind_members(struct binding *b, const struct message *m);

/* The depth of this recursion is that of the tables above. */
static bool bind_message(struct binding *b, const struct field *f, enum json_token token)
{
    if (token != JSON_OBJECT_BEGIN)
        return violate(b, f->path, "must be an object");
    /* An accessReasonContext without a reason is reason 0. */
    if (f->message->fields[0].kind == KIND_REASON)
        *(uint32_t *)place_of(b, &f->message->fields[0]) = 1;
    return bind_members(b, f->message);
}

static bool bind_value(struct binding *b, const struct field *f, enum json_token token)
{
    switch (f->kind) {
    case KIND_BYTES:
    case KIND_SECRET:
        return bind_bytes(b, f, token);
    case KIND_STRING:
        return bind_string(b, f, token);
    case KIND_BOOL:
        return bind_bool(b, f, token);
    case KIND_REASON:
        return bind_reason(b, f, token);
    case KIND_MESSAGE:
        return bind_message(b, f, token);
    }
    return false;
}

/* The field that the last name names, field_count when there is none. */
static size_t find_field(const struct binding *b, const struct message *m)
{
    for (size_t i = 0; i < m->field_count; i++)
        if (json_text_equals(&b->reader, m->fields[i].camel) ||
            json_text_equals(&b->reader, m->fields[i].snake))
            return i;
    return m->field_count;
}

/* One member, its name just read; given: the fields that came before. */
static bool bind_member(struct binding *b, const struct message *m, uint32_t *named, uint32_t *given)
{
    size_t i = find_field(b, m);

    if (i == m->field_count)
        return json_skip(&b->reader) || violate_syntax(b);
    const struct field *f = &m->fields[i];
    if (*named & UINT32_C(1) << i)
        return violate(b, f->path, "is given in both spellings of its name");
    *named |= UINT32_C(1) << i;
    enum json_token token = json_next(&b->reader);
    if (token == JSON_ERROR)
        return violate_syntax(b);
    if (token == JSON_NULL)
        return true;
    *given |= UINT32_C(1) << i;
    return bind_value(b, f, token);
}

static bool bind_members(struct binding *b, const struct message *m)
{
    uint32_t named = 0, given = 0;
    enum json_token token;

    while ((token = json_next(&b->reader)) == JSON_NAME)
        if (!bind_member(b, m, &named, &given))
            return false;
    if (token != JSON_OBJECT_END)
        return violate_syntax(b);
    for (size_t i = 0; i < m->field_count; i++)
        if (m->fields[i].required && !(given & UINT32_C(1) << i))
            return violate(b, m->fields[i].path, "is missing");
    return true;
}

static bool bind_request(uint8_t *body, size_t len, const struct message *m, void *out,
                         struct field_violation *bad)
{
    NOT_ZEROED struct binding b; /* its reader has a kilobyte of room for names */

    b.body = body;
    b.out = out;
    b.bad = bad;
    json_init(&b.reader, span_of(body, len));
    enum json_token token = json_next(&b.reader);
    if (token == JSON_ERROR)
        return violate_syntax(&b);
    if (token != JSON_OBJECT_BEGIN)
        return violate(&b, "", "must be a JSON object");
    if (!bind_members(&b, m))
        return false;
    return json_next(&b.reader) == JSON_END || violate_syntax(&b);
}

bool protojson_wrap_request(uint8_t *body, size_t len, struct wrap_request *out, struct field_violation *bad)
{
    memset(out, 0, sizeof *out);
    out->context.reason = ACCESS_REASON_ABSENT_BIT;
    return bind_request(body, len, &wrap_message, out, bad);
}

bool protojson_unwrap_request(uint8_t *body, size_t len, struct unwrap_request *out,
                              struct field_violation *bad)
{
    memset(out, 0, sizeof *out);
    out->context.reason = ACCESS_REASON_ABSENT_BIT;
    return bind_request(body, len, &unwrap_message, out, bad);
}
