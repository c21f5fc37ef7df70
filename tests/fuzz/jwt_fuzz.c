/* A token, or, since nothing random is base64 of JSON, a header and a payload on two lines that are made into
 * one. */
#include "base/check.h"
#include "base/secret_priv.h"
#include "proto/base64.h"
#include "proto/jwt.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_view(const uint8_t *area, size_t area_len, struct span view)
{
    CHECK(view.len == 0 || (view.ptr >= area && view.ptr + view.len <= area + area_len));
    CHECK(view.len == 0 || memchr(view.ptr, 0, view.len) == NULL);
}

static void check_token(struct span token)
{
    uint8_t *scratch = malloc(JWT_TOKEN_MAX);
    enum reason why = REASON_COUNT;
    struct jwt t;

    CHECK(scratch != NULL);
    bool ok = jwt_parse(secret_of(token.ptr, token.len), scratch, &t, &why);
    CHECK(ok == (why == REASON_COUNT));
    if (ok) {
        CHECK(t.alg == JWK_RS256 || t.alg == JWK_ES256);
        CHECK(t.kid.len != 0 && t.kid.len <= JWT_KID_MAX && t.email.len <= EKM_CALLER_MAX);
        CHECK(t.iss.len != 0 && t.aud.len != 0 && t.signature.len != 0);
        CHECK(t.exp >= 0 && t.iat >= 0 && t.nbf >= 0);
        CHECK(t.signed_part.ptr == token.ptr && t.signed_part.len < token.len);
        CHECK(token.ptr[t.signed_part.len] == '.');
        const struct span views[] = {t.kid, t.iss, t.aud, t.email, t.sub};
        for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
            check_view(scratch, JWT_TOKEN_MAX, views[i]);
    }
    free(scratch);
}

static size_t put_base64url(uint8_t *out, const uint8_t *bytes, size_t len)
{
    size_t n = base64_encode(span_of(bytes, len), out);

    while (n != 0 && out[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++)
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line_end = size != 0 ? memchr(data, '\n', size) : NULL;

    check_token(span_of(data, size));
    if (line_end == NULL)
        return 0;
    size_t header_len = (size_t)(line_end - data), len;
    uint8_t *token = malloc(2 * size + 32);
    CHECK(token != NULL);
    len = put_base64url(token, data, header_len);
    token[len++] = '.';
    len += put_base64url(token + len, line_end + 1, size - header_len - 1);
    memcpy(token + len, ".c2ln", 5);
    check_token(span_of(token, len + 5));
    free(token);
    return 0;
}
