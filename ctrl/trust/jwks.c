#include "ctrl/trust/jwks.h"

#include "proto/base64.h"

#include <jansson.h>
#include <mbedtls/ecp.h>

static const char next_step[] = "fix the file and run wwctl reload; the last good set stays in effect";

static bool text_is(const json_t *object, const char *name, const char *want)
{
    const char *have = json_string_value(json_object_get(object, name));

    return have != NULL && strcmp(have, want) == 0;
}

/* Absent is fine: use and alg are optional (RFC 7517 4.2, 4.4). */
static bool text_is_or_absent(const json_t *object, const char *name, const char *want)
{
    return json_object_get(object, name) == NULL || text_is(object, name, want);
}

static bool for_signatures(const json_t *jwk, const char *kty, const char *alg)
{
    return text_is(jwk, "kty", kty) && text_is_or_absent(jwk, "use", "sig") &&
           text_is_or_absent(jwk, "alg", alg);
}

static bool take_bytes(const json_t *jwk, const char *name, uint8_t *out, size_t cap, uint16_t *len)
{
    const json_t *v = json_object_get(jwk, name);
    uint8_t room[BASE64_DECODED_MAX(1024)];
    size_t n;

    if (!json_is_string(v) || json_string_length(v) > 1024 ||
        !base64url_decode(span_of(json_string_value(v), json_string_length(v)), room, &n) || n == 0 ||
        n > cap)
        return false;
    memcpy(out, room, n);
    *len = (uint16_t)n;
    return true;
}

static uint32_t bit_length(const uint8_t *p, size_t len)
{
    uint32_t bits = (uint32_t)len * 8;

    for (size_t i = 0; i < len; i++, bits -= 8) {
        if (p[i] != 0)
            return bits - (uint32_t)__builtin_clz(p[i]) + 24;
    }
    return 0;
}

/* A leading zero is refused: a modulus has one encoding (RFC 7518 6.3.1.1). */
static bool rsa_take(const json_t *jwk, struct jwk *out)
{
    uint32_t exponent_bits, modulus_bits;

    out->alg = JWK_RS256;
    if (!take_bytes(jwk, "n", out->a, sizeof out->a, &out->a_len) ||
        !take_bytes(jwk, "e", out->b, JWK_E_MAX, &out->b_len) || out->a[0] == 0 || out->b[0] == 0)
        return false;
    modulus_bits = bit_length(out->a, out->a_len);
    exponent_bits = bit_length(out->b, out->b_len);
    return modulus_bits >= 2048 && modulus_bits <= 4096 && exponent_bits >= 17 && exponent_bits <= 32 &&
           (out->a[out->a_len - 1] & 1) == 1 && (out->b[out->b_len - 1] & 1) == 1;
}

static bool point_is_on_p256(const uint8_t x[32], const uint8_t y[32])
{
    mbedtls_ecp_group group;
    mbedtls_ecp_point point;
    uint8_t flat[65] = {4};
    bool ok;

    memcpy(flat + 1, x, 32);
    memcpy(flat + 33, y, 32);
    mbedtls_ecp_group_init(&group);
    mbedtls_ecp_point_init(&point);
    ok = mbedtls_ecp_group_load(&group, MBEDTLS_ECP_DP_SECP256R1) == 0 &&
         mbedtls_ecp_point_read_binary(&group, &point, flat, sizeof flat) == 0 &&
         mbedtls_ecp_check_pubkey(&group, &point) == 0;
    mbedtls_ecp_point_free(&point);
    mbedtls_ecp_group_free(&group);
    return ok;
}

static bool ec_take(const json_t *jwk, struct jwk *out)
{
    out->alg = JWK_ES256;
    return take_bytes(jwk, "x", out->a, 32, &out->a_len) && take_bytes(jwk, "y", out->b, 32, &out->b_len) &&
           out->a_len == 32 && out->b_len == 32 && point_is_on_p256(out->a, out->b);
}

static bool take_kid(const json_t *jwk, struct jwk *out)
{
    const json_t *kid = json_object_get(jwk, "kid");
    size_t len = json_string_length(kid);

    if (!json_is_string(kid) || len == 0 || len > JWT_KID_MAX)
        return false;
    memcpy(out->kid, json_string_value(kid), len);
    out->kid_len = (uint16_t)len;
    return true;
}

static bool kid_is_taken(const struct jwks *set, const struct jwk *k)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if (span_equal(span_of(set->keys[i].kid, set->keys[i].kid_len), span_of(k->kid, k->kid_len)))
            return true;
    }
    return false;
}

static bool jwk_add(const json_t *jwk, size_t at, struct jwks *out, struct refusal *why)
{
    struct jwk k = {0};
    bool rsa = for_signatures(jwk, "RSA", "RS256");
    bool ec = for_signatures(jwk, "EC", "ES256") && text_is(jwk, "crv", "P-256");

    if (!rsa && !ec)
        return true; /* not for us */
    if (!take_kid(jwk, &k))
        return refuse(why, "bad_jwks", next_step, "key %zu has no kid of 1..%d bytes", at, JWT_KID_MAX);
    if (rsa && !rsa_take(jwk, &k))
        return refuse(why, "bad_jwks", next_step,
                      "key %zu: an RSA key must have an odd modulus of 2048..4096 bits and an exponent of at "
                      "least 65537",
                      at);
    if (ec && !ec_take(jwk, &k))
        return refuse(why, "bad_jwks", next_step, "key %zu: x and y are not a point of P-256", at);
    if (kid_is_taken(out, &k))
        return refuse(why, "bad_jwks", next_step, "key %zu has the kid of an earlier one", at);
    if (out->count == JWKS_KEYS_MAX)
        return refuse(why, "bad_jwks", next_step, "more than %d usable keys", JWKS_KEYS_MAX);
    out->keys[out->count++] = k;
    return true;
}

static bool take_set(const json_t *root, struct jwks *out, struct refusal *why)
{
    const json_t *keys = json_object_get(root, "keys");

    if (!json_is_array(keys))
        return refuse(why, "bad_jwks", next_step, "there is no \"keys\" array");
    for (size_t i = 0; i < json_array_size(keys); i++) {
        if (!jwk_add(json_array_get(keys, i), i + 1, out, why))
            return false;
    }
    if (out->count == 0)
        return refuse(why, "bad_jwks", next_step, "there is no RS256 or ES256 key in it");
    return true;
}

bool jwks_parse(struct span text, struct jwks *out, struct refusal *why)
{
    json_error_t err;

    out->count = 0;
    if (text.len > JWKS_FILE_MAX)
        return refuse(why, "bad_jwks", next_step, "longer than %d bytes", JWKS_FILE_MAX);
    json_t *root = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &err);
    if (root == NULL)
        return refuse(why, "bad_jwks", next_step, "line %d, column %d: %s", err.line, err.column, err.text);
    bool ok = take_set(root, out, why);
    json_decref(root);
    if (!ok)
        out->count = 0;
    return ok;
}
