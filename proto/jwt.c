#include "proto/jwt.h"

#include "base/secret_priv.h"
#include "proto/base64.h"
#include "proto/json.h"

/* NumericDate up to the year 9999: whoever adds a leeway to it cannot overflow. */
#define TIME_MAX INT64_C(253402300799)

struct parsing {
    struct json_reader reader;
    uint8_t *json; /* what the reader reads, writable */
    struct jwt *out;
    enum reason *why;
};

static bool refuse(enum reason *why, enum reason r)
{
    *why = r;
    return false;
}

/* ---- three parts (RFC 7515 7.1) ---- */

struct parts {
    struct span header, payload, signature;
};

static bool split(struct span token, struct parts *out)
{
    size_t dots[2], count = 0;

    for (size_t i = 0; i < token.len; i++) {
        if (token.ptr[i] != '.')
            continue;
        if (count == 2)
            return false;
        dots[count++] = i;
    }
    if (count != 2)
        return false;
    out->header = span_of(token.ptr, dots[0]);
    out->payload = span_of(token.ptr + dots[0] + 1, dots[1] - dots[0] - 1);
    out->signature = span_from(token, dots[1] + 1);
    return out->header.len != 0 && out->payload.len != 0 && out->signature.len != 0;
}

/* Decodes part to *scratch, which moves on. */
static bool decode_part(struct span part, uint8_t **scratch, uint8_t **out, size_t *len)
{
    *out = *scratch;
    if (!base64url_decode(part, *out, len))
        return false;
    *scratch += *len;
    return true;
}

/* ---- values ---- */

/* A string of 1..max bytes, its escapes resolved in place; the reader is past it. */
static bool take_string(struct parsing *p, size_t max, struct span *out)
{
    if (json_next(&p->reader) != JSON_STRING)
        return false;
    uint8_t *text = p->json + (p->reader.text.ptr - p->json);
    size_t len = p->reader.text_escaped ? json_unescape(p->reader.text, text) : p->reader.text.len;
    *out = span_of(text, len);
    return len != 0 && len <= max;
}

/* NumericDate (RFC 7519 2), here a whole number of seconds since 1970 without sign, fraction or exponent. */
static bool take_time(struct parsing *p, int64_t *out)
{
    if (json_next(&p->reader) != JSON_NUMBER)
        return false;
    for (size_t i = 0; i < p->reader.text.len; i++)
        if (p->reader.text.ptr[i] < '0' || p->reader.text.ptr[i] > '9')
            return false;
    return json_integer(p->reader.text, 0, TIME_MAX, out);
}

/* ---- the header (RFC 7515 4) ---- */

/* Parameters that say where a key comes from, how the payload is to be read, or that there is more than a
 * signature to it.  We have our own keys, and read one kind of payload. */
static bool is_refused_parameter(const struct json_reader *r)
{
    static const char *const names[] = {"crit", "b64", "jku", "jwk", "x5u", "x5c", "zip", "cty", "enc"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (json_text_is(r, names[i]))
            return true;
    return false;
}

static bool take_alg(struct parsing *p)
{
    if (json_next(&p->reader) != JSON_STRING)
        return false;
    p->out->alg = json_text_is(&p->reader, "RS256")   ? JWK_RS256
                  : json_text_is(&p->reader, "ES256") ? JWK_ES256
                                                      : 0;
    return p->out->alg != 0;
}

static bool take_typ(struct parsing *p)
{
    return json_next(&p->reader) == JSON_STRING && json_text_is(&p->reader, "JWT");
}

static bool header_parameter(struct parsing *p)
{
    const struct json_reader *r = &p->reader;

    if (is_refused_parameter(r))
        return refuse(p->why, REASON_JWT_PARAMETER_REFUSED);
    if (json_text_is(r, "alg"))
        return take_alg(p) || refuse(p->why, REASON_JWT_ALG_REFUSED);
    if (json_text_is(r, "typ"))
        return take_typ(p) || refuse(p->why, REASON_JWT_TYP_REFUSED);
    if (json_text_is(r, "kid"))
        return take_string(p, JWT_KID_MAX, &p->out->kid) || refuse(p->why, REASON_JWT_BAD_KID);
    return json_skip(&p->reader) || refuse(p->why, REASON_JWT_BAD_HEADER);
}

/* ---- the claims (RFC 7519 4.1; OpenID Connect Core 2, 5.1) ---- */

static bool take_email_verified(struct parsing *p)
{
    enum json_token token = json_next(&p->reader);

    p->out->email_verified = token == JSON_TRUE;
    return token == JSON_TRUE || token == JSON_FALSE;
}

/* A claim whose value is a text or a flag. */
static bool claim(struct parsing *p)
{
    const struct json_reader *r = &p->reader;

    if (json_text_is(r, "iss"))
        return take_string(p, JWT_TOKEN_MAX, &p->out->iss) || refuse(p->why, REASON_JWT_BAD_CLAIM);
    if (json_text_is(r, "sub"))
        return take_string(p, JWT_TOKEN_MAX, &p->out->sub) || refuse(p->why, REASON_JWT_BAD_CLAIM);
    if (json_text_is(r, "email"))
        return take_string(p, EKM_CALLER_MAX, &p->out->email) || refuse(p->why, REASON_JWT_BAD_CLAIM);
    if (json_text_is(r, "email_verified"))
        return take_email_verified(p) || refuse(p->why, REASON_JWT_BAD_CLAIM);
    if (json_text_is(r, "aud"))
        return take_string(p, JWT_TOKEN_MAX, &p->out->aud) || refuse(p->why, REASON_JWT_BAD_AUD);
    return json_skip(&p->reader) || refuse(p->why, REASON_JWT_BAD_CLAIMS);
}

static bool payload_claim(struct parsing *p)
{
    const struct json_reader *r = &p->reader;
    int64_t *time = json_text_is(r, "exp")   ? &p->out->exp
                    : json_text_is(r, "iat") ? &p->out->iat
                    : json_text_is(r, "nbf") ? &p->out->nbf
                                             : NULL;

    if (time != NULL)
        return take_time(p, time) || refuse(p->why, REASON_JWT_BAD_TIME);
    return claim(p);
}

/* One JSON object and nothing after it; a member that does not parse at all is malformed, whatever its name. */
static bool parse_object(struct parsing *p, uint8_t *json, size_t len, bool (*member)(struct parsing *),
                         enum reason malformed)
{
    enum json_token token;

    p->json = json;
    json_init(&p->reader, span_of(json, len));
    if (json_next(&p->reader) != JSON_OBJECT_BEGIN)
        return refuse(p->why, malformed);
    while ((token = json_next(&p->reader)) == JSON_NAME) {
        if (!member(p))
            return p->reader.error != NULL ? refuse(p->why, malformed) : false;
    }
    if (token != JSON_OBJECT_END || json_next(&p->reader) != JSON_END)
        return refuse(p->why, malformed);
    return true;
}

static bool parse_header(struct parsing *p, uint8_t *json, size_t len)
{
    if (!parse_object(p, json, len, header_parameter, REASON_JWT_BAD_HEADER))
        return false;
    if (p->out->alg == 0)
        return refuse(p->why, REASON_JWT_ALG_REFUSED);
    return p->out->kid.len != 0 || refuse(p->why, REASON_JWT_BAD_KID);
}

static bool parse_claims(struct parsing *p, uint8_t *json, size_t len)
{
    p->out->exp = -1;
    if (!parse_object(p, json, len, payload_claim, REASON_JWT_BAD_CLAIMS))
        return false;
    return (p->out->iss.len != 0 && p->out->aud.len != 0 && p->out->exp >= 0) ||
           refuse(p->why, REASON_JWT_CLAIM_MISSING);
}

bool jwt_parse(struct secret_span token, uint8_t *scratch, struct jwt *out, enum reason *why)
{
    struct span text = secret_expose(token);
    struct parsing p = {.out = out, .why = why};
    uint8_t *header, *payload, *signature;
    size_t header_len, payload_len;
    struct parts parts;

    memset(out, 0, sizeof *out);
    if (text.len > JWT_TOKEN_MAX)
        return refuse(why, REASON_JWT_TOO_LONG);
    if (!split(text, &parts))
        return refuse(why, REASON_JWT_NOT_THREE_PARTS);
    if (!decode_part(parts.header, &scratch, &header, &header_len) ||
        !decode_part(parts.payload, &scratch, &payload, &payload_len) ||
        !decode_part(parts.signature, &scratch, &signature, &out->signature.len))
        return refuse(why, REASON_JWT_BAD_BASE64);
    out->signature.ptr = signature;
    out->signed_part = span_of(text.ptr, parts.header.len + 1 + parts.payload.len);
    return parse_header(&p, header, header_len) && parse_claims(&p, payload, payload_len);
}
