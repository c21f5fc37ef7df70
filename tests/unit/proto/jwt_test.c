/* Tokens, taken apart.  A case is named by what a token must not be; the attack lists of RFC 8725 and of JOSE
 * libraries' histories, as far as they concern parsing. */
#include "base/secret_priv.h"
#include "proto/base64.h"
#include "proto/jwt.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static uint8_t scratch[JWT_TOKEN_MAX];
static struct jwt jwt;
static enum reason why;
static struct buf token = {.cap = 0};

/* Appends the URL-safe base64 of a text, without padding. */
static void put_base64url(const char *text, size_t len)
{
    size_t n = base64_encode(span_of(text, len), token.ptr + token.len);

    for (uint8_t *p = token.ptr + token.len; n > 0; p++, n--) {
        if (*p == '=')
            break;
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
        token.len++;
    }
}

static void begin_token(void)
{
    static uint8_t room[64 * 1024];

    token = (struct buf){room, 0, sizeof room};
}

static void put_dot(void)
{
    token.ptr[token.len++] = '.';
}

/* Parses from memory of exactly the token's size. */
static bool parse(const uint8_t *text, size_t len)
{
    static uint8_t *copy;

    free(copy);
    copy = malloc(len != 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    why = REASON_COUNT;
    return jwt_parse(secret_of(copy, len), scratch, &jwt, &why);
}

static bool parse_json(const char *header, size_t header_len, const char *payload, size_t payload_len)
{
    begin_token();
    put_base64url(header, header_len);
    put_dot();
    put_base64url(payload, payload_len);
    put_dot();
    put_base64url("signature", 9);
    return parse(token.ptr, token.len);
}

#define HEAD(more) "{\"alg\":\"RS256\",\"kid\":\"k1\"" more "}"
#define H          HEAD("")
#define BODY(more) "{\"iss\":\"i\",\"aud\":\"a\",\"exp\":1700000000" more "}"
#define B          BODY("")
#define EXP(value) "{\"iss\":\"i\",\"aud\":\"a\",\"exp\":" value "}"
#define AUD(value) "{\"iss\":\"i\",\"exp\":1,\"aud\":" value "}"

/* name, header, payload, reason */
#define REFUSED_JSON(X)                                                                                      \
    /* --- alg --- */                                                                                        \
    X(alg_none, "{\"alg\":\"none\",\"kid\":\"k\"}", B, ALG_REFUSED)                                          \
    X(alg_none_in_capitals, "{\"alg\":\"NONE\",\"kid\":\"k\"}", B, ALG_REFUSED)                              \
    X(alg_none_in_mixed_case, "{\"alg\":\"nOnE\",\"kid\":\"k\"}", B, ALG_REFUSED)                            \
    X(alg_none_with_a_space, "{\"alg\":\"none \",\"kid\":\"k\"}", B, ALG_REFUSED)                            \
    X(alg_none_behind_escapes, "{\"alg\":\"\\u006eone\",\"kid\":\"k\"}", B, ALG_REFUSED)                     \
    X(alg_none_beside_a_good_one, "{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"k\"}", B, ALG_REFUSED)      \
    X(alg_none_after_a_good_one, "{\"alg\":\"RS256\",\"alg\":\"none\",\"kid\":\"k\"}", B, BAD_HEADER)        \
    X(alg_hs256, "{\"alg\":\"HS256\",\"kid\":\"k\"}", B, ALG_REFUSED)                                        \
    X(alg_hs384, "{\"alg\":\"HS384\",\"kid\":\"k\"}", B, ALG_REFUSED)                                        \
    X(alg_rs512, "{\"alg\":\"RS512\",\"kid\":\"k\"}", B, ALG_REFUSED)                                        \
    X(alg_ps256, "{\"alg\":\"PS256\",\"kid\":\"k\"}", B, ALG_REFUSED)                                        \
    X(alg_es384, "{\"alg\":\"ES384\",\"kid\":\"k\"}", B, ALG_REFUSED)                                        \
    X(alg_es256k, "{\"alg\":\"ES256K\",\"kid\":\"k\"}", B, ALG_REFUSED)                                      \
    X(alg_eddsa, "{\"alg\":\"EdDSA\",\"kid\":\"k\"}", B, ALG_REFUSED)                                        \
    X(alg_of_an_encrypted_token, "{\"alg\":\"RSA-OAEP\",\"kid\":\"k\"}", B, ALG_REFUSED)                     \
    X(alg_in_lower_case, "{\"alg\":\"rs256\",\"kid\":\"k\"}", B, ALG_REFUSED)                                \
    X(alg_with_a_space, "{\"alg\":\"RS256 \",\"kid\":\"k\"}", B, ALG_REFUSED)                                \
    X(alg_cut_short, "{\"alg\":\"RS25\",\"kid\":\"k\"}", B, ALG_REFUSED)                                     \
    X(alg_empty, "{\"alg\":\"\",\"kid\":\"k\"}", B, ALG_REFUSED)                                             \
    X(alg_null, "{\"alg\":null,\"kid\":\"k\"}", B, ALG_REFUSED)                                              \
    X(alg_number, "{\"alg\":256,\"kid\":\"k\"}", B, ALG_REFUSED)                                             \
    X(alg_array, "{\"alg\":[\"RS256\"],\"kid\":\"k\"}", B, ALG_REFUSED)                                      \
    X(alg_missing, "{\"kid\":\"k\"}", B, ALG_REFUSED)                                                        \
    X(alg_under_another_name, "{\"ALG\":\"RS256\",\"kid\":\"k\"}", B, ALG_REFUSED)                           \
    /* --- header parameters --- */                                                                          \
    X(crit, HEAD(",\"crit\":[\"exp\"]"), B, PARAMETER_REFUSED)                                               \
    X(crit_empty, HEAD(",\"crit\":[]"), B, PARAMETER_REFUSED)                                                \
    X(crit_null, HEAD(",\"crit\":null"), B, PARAMETER_REFUSED)                                               \
    X(crit_behind_an_escape, HEAD(",\"cr\\u0069t\":[\"b64\"]"), B, PARAMETER_REFUSED)                        \
    X(b64_false, HEAD(",\"b64\":false"), B, PARAMETER_REFUSED)                                               \
    X(b64_true, HEAD(",\"b64\":true"), B, PARAMETER_REFUSED)                                                 \
    X(jku, HEAD(",\"jku\":\"https://evil.example/jwks\""), B, PARAMETER_REFUSED)                             \
    X(jwk, HEAD(",\"jwk\":{\"kty\":\"RSA\"}"), B, PARAMETER_REFUSED)                                         \
    X(x5u, HEAD(",\"x5u\":\"https://evil.example/c\""), B, PARAMETER_REFUSED)                                \
    X(x5c, HEAD(",\"x5c\":[\"MIIB\"]"), B, PARAMETER_REFUSED)                                                \
    X(zip, HEAD(",\"zip\":\"DEF\""), B, PARAMETER_REFUSED)                                                   \
    X(nested_token, HEAD(",\"cty\":\"JWT\""), B, PARAMETER_REFUSED)                                          \
    X(encrypted_token_in_three_parts, HEAD(",\"enc\":\"A256GCM\""), B, PARAMETER_REFUSED)                    \
    X(typ_of_an_access_token, HEAD(",\"typ\":\"at+jwt\""), B, TYP_REFUSED)                                   \
    X(typ_jose, HEAD(",\"typ\":\"JOSE\""), B, TYP_REFUSED)                                                   \
    X(typ_jwe, HEAD(",\"typ\":\"JWE\""), B, TYP_REFUSED)                                                     \
    X(typ_empty, HEAD(",\"typ\":\"\""), B, TYP_REFUSED)                                                      \
    X(typ_null, HEAD(",\"typ\":null"), B, TYP_REFUSED)                                                       \
    X(typ_number, HEAD(",\"typ\":1"), B, TYP_REFUSED)                                                        \
    X(kid_missing, "{\"alg\":\"RS256\"}", B, BAD_KID)                                                        \
    X(kid_empty, "{\"alg\":\"RS256\",\"kid\":\"\"}", B, BAD_KID)                                             \
    X(kid_number, "{\"alg\":\"RS256\",\"kid\":1}", B, BAD_KID)                                               \
    X(kid_null, "{\"alg\":\"RS256\",\"kid\":null}", B, BAD_KID)                                              \
    X(kid_object, "{\"alg\":\"RS256\",\"kid\":{}}", B, BAD_KID)                                              \
    X(kid_with_an_escaped_nul, "{\"alg\":\"RS256\",\"kid\":\"k1\\u0000\"}", B, BAD_HEADER)                   \
    X(kid_with_a_nul, "{\"alg\":\"RS256\",\"kid\":\"k1\0\"}", B, BAD_HEADER)                                 \
    /* --- a header that is no sound JSON object --- */                                                      \
    X(header_array, "[\"alg\",\"RS256\"]", B, BAD_HEADER)                                                    \
    X(header_string, "\"RS256\"", B, BAD_HEADER)                                                             \
    X(header_null, "null", B, BAD_HEADER)                                                                    \
    X(header_cut_short, "{\"alg\":\"RS256\",\"kid\":\"k\"", B, BAD_HEADER)                                   \
    X(header_with_bytes_after_it, H "{}", B, BAD_HEADER)                                                     \
    X(header_with_a_nul_after_it, H "\0", B, BAD_HEADER)                                                     \
    X(header_with_a_byte_order_mark, "\xef\xbb\xbf" H, B, BAD_HEADER)                                        \
    X(header_with_a_trailing_comma, "{\"alg\":\"RS256\",\"kid\":\"k\",}", B, BAD_HEADER)                     \
    X(header_with_single_quotes, "{'alg':'RS256'}", B, BAD_HEADER)                                           \
    X(header_with_a_comment, "{\"alg\":\"RS256\"/**/}", B, BAD_HEADER)                                       \
    X(header_with_a_duplicate_kid, HEAD(",\"kid\":\"k2\""), B, BAD_HEADER)                                   \
    X(header_with_a_duplicate_behind_an_escape, HEAD(",\"\\u006bid\":\"k2\""), B, BAD_HEADER)                \
    X(header_with_a_duplicate_unknown_name, HEAD(",\"x\":1,\"x\":1"), B, BAD_HEADER)                         \
    X(header_with_invalid_utf8, HEAD(",\"x\":\"\xff\""), B, BAD_HEADER)                                      \
    X(header_with_overlong_utf8, HEAD(",\"x\":\"\xc0\xaf\""), B, BAD_HEADER)                                 \
    X(header_with_a_lone_surrogate, HEAD(",\"x\":\"\\ud800\""), B, BAD_HEADER)                               \
    X(header_that_is_too_deep, HEAD(",\"x\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]"), B, BAD_HEADER)              \
    X(header_in_utf16, "{\0\"\0a\0l\0g\0", B, BAD_HEADER)                                                    \
    /* --- claims that are no sound JSON object --- */                                                       \
    X(claims_array, H, "[1]", BAD_CLAIMS)                                                                    \
    X(claims_string, H, "\"iss\"", BAD_CLAIMS)                                                               \
    X(claims_cut_short, H, "{\"iss\":\"i\"", BAD_CLAIMS)                                                     \
    X(claims_with_bytes_after_them, H, B "x", BAD_CLAIMS)                                                    \
    X(claims_twice, H, B B, BAD_CLAIMS)                                                                      \
    X(claims_with_a_duplicate_iss, H, BODY(",\"iss\":\"j\""), BAD_CLAIMS)                                    \
    X(claims_with_a_duplicate_aud_behind_an_escape, H, BODY(",\"\\u0061ud\":\"b\""), BAD_CLAIMS)             \
    X(claims_with_a_duplicate_exp, H, BODY(",\"exp\":1800000000"), BAD_CLAIMS)                               \
    X(claims_with_a_duplicate_email, H, BODY(",\"email\":\"a@b\",\"email\":\"c@d\""), BAD_CLAIMS)            \
    X(claims_with_a_duplicate_in_a_nested_object, H, BODY(",\"x\":{\"y\":1,\"y\":2}"), BAD_CLAIMS)           \
    X(claims_with_invalid_utf8, H, BODY(",\"email\":\"\xc3\""), BAD_CLAIMS)                                  \
    X(claims_with_surrogates_in_utf8, H, BODY(",\"email\":\"\xed\xa0\x80\""), BAD_CLAIMS)                    \
    X(claims_with_a_lone_surrogate, H, BODY(",\"email\":\"\\udfff\""), BAD_CLAIMS)                           \
    X(claims_with_a_nul_in_the_email, H, BODY(",\"email\":\"a@b\\u0000.evil\""), BAD_CLAIMS)                 \
    X(claims_that_are_too_deep, H, BODY(",\"x\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]"), BAD_CLAIMS)             \
    X(claims_with_not_a_number, H, EXP("NaN"), BAD_CLAIMS)                                                   \
    X(claims_with_infinity, H, EXP("Infinity"), BAD_CLAIMS)                                                  \
    X(claims_with_a_leading_zero, H, EXP("01700000000"), BAD_CLAIMS)                                         \
    X(claims_with_a_plus, H, EXP("+1700000000"), BAD_CLAIMS)                                                 \
    /* --- exp, iat, nbf --- */                                                                              \
    X(exp_missing, H, "{\"iss\":\"i\",\"aud\":\"a\"}", CLAIM_MISSING)                                        \
    X(exp_in_capitals, H, "{\"iss\":\"i\",\"aud\":\"a\",\"EXP\":1}", CLAIM_MISSING)                          \
    X(exp_string, H, EXP("\"1700000000\""), BAD_TIME)                                                        \
    X(exp_null, H, EXP("null"), BAD_TIME)                                                                    \
    X(exp_true, H, EXP("true"), BAD_TIME)                                                                    \
    X(exp_array, H, EXP("[1700000000]"), BAD_TIME)                                                           \
    X(exp_object, H, EXP("{}"), BAD_TIME)                                                                    \
    X(exp_fraction, H, EXP("1700000000.5"), BAD_TIME)                                                        \
    X(exp_zero_fraction, H, EXP("1700000000.0"), BAD_TIME)                                                   \
    X(exp_exponent, H, EXP("17e8"), BAD_TIME)                                                                \
    X(exp_1e400, H, EXP("1e400"), BAD_TIME)                                                                  \
    X(exp_negative, H, EXP("-1"), BAD_TIME)                                                                  \
    X(exp_minus_zero, H, EXP("-0"), BAD_TIME)                                                                \
    X(exp_after_the_year_9999, H, EXP("253402300800"), BAD_TIME)                                             \
    X(exp_of_2_to_the_64, H, EXP("18446744073709551616"), BAD_TIME)                                          \
    X(exp_in_milliseconds, H, EXP("1700000000000"), BAD_TIME)                                                \
    X(iat_string, H, BODY(",\"iat\":\"1\""), BAD_TIME)                                                       \
    X(iat_fraction, H, BODY(",\"iat\":1.5"), BAD_TIME)                                                       \
    X(iat_negative, H, BODY(",\"iat\":-1"), BAD_TIME)                                                        \
    X(nbf_string, H, BODY(",\"nbf\":\"1\""), BAD_TIME)                                                       \
    X(nbf_null, H, BODY(",\"nbf\":null"), BAD_TIME)                                                          \
    X(nbf_1e400, H, BODY(",\"nbf\":1e400"), BAD_TIME)                                                        \
    /* --- aud --- */                                                                                        \
    X(aud_missing, H, "{\"iss\":\"i\",\"exp\":1}", CLAIM_MISSING)                                            \
    X(aud_array, H, AUD("[\"a\",\"b\"]"), BAD_AUD)                                                           \
    X(aud_array_of_one, H, AUD("[\"a\"]"), BAD_AUD)                                                          \
    X(aud_array_of_none, H, AUD("[]"), BAD_AUD)                                                              \
    X(aud_null, H, AUD("null"), BAD_AUD)                                                                     \
    X(aud_number, H, AUD("1"), BAD_AUD)                                                                      \
    X(aud_object, H, AUD("{\"a\":1}"), BAD_AUD)                                                              \
    X(aud_empty, H, AUD("\"\""), BAD_AUD)                                                                    \
    /* --- the other claims --- */                                                                           \
    X(iss_missing, H, "{\"aud\":\"a\",\"exp\":1}", CLAIM_MISSING)                                            \
    X(iss_array, H, "{\"iss\":[\"i\"]}", BAD_CLAIM)                                                          \
    X(iss_null, H, "{\"iss\":null}", BAD_CLAIM)                                                              \
    X(iss_empty, H, "{\"iss\":\"\"}", BAD_CLAIM)                                                             \
    X(sub_number, H, BODY(",\"sub\":1"), BAD_CLAIM)                                                          \
    X(email_array, H, BODY(",\"email\":[\"a@b\"]"), BAD_CLAIM)                                               \
    X(email_empty, H, BODY(",\"email\":\"\""), BAD_CLAIM)                                                    \
    X(email_null, H, BODY(",\"email\":null"), BAD_CLAIM)                                                     \
    X(email_verified_string, H, BODY(",\"email_verified\":\"true\""), BAD_CLAIM)                             \
    X(email_verified_number, H, BODY(",\"email_verified\":1"), BAD_CLAIM)                                    \
    X(email_verified_null, H, BODY(",\"email_verified\":null"), BAD_CLAIM)

#define X(name, header, payload, reason)                                                                     \
    static void name##_is_refused(void **state)                                                              \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_false(parse_json(header, sizeof(header) - 1, payload, sizeof(payload) - 1));                  \
        assert_string_equal(reason_name(why), reason_name(REASON_JWT_##reason));                             \
    }
REFUSED_JSON(X)
#undef X

/* {"alg":"RS256","kid":"k1"} and {"iss":"i","aud":"a","exp":1700000000} */
#define RH "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0"
#define RB "eyJpc3MiOiJpIiwiYXVkIjoiYSIsImV4cCI6MTcwMDAwMDAwMH0"

/* name, token, reason */
#define REFUSED_TEXT(X)                                                                                      \
    X(nothing, "", NOT_THREE_PARTS)                                                                          \
    X(one_part, RH, NOT_THREE_PARTS)                                                                         \
    X(two_parts, RH "." RB, NOT_THREE_PARTS)                                                                 \
    X(two_dots_alone, "..", NOT_THREE_PARTS)                                                                 \
    X(missing_signature, RH "." RB ".", NOT_THREE_PARTS)                                                     \
    X(missing_payload, RH "..c2ln", NOT_THREE_PARTS)                                                         \
    X(missing_header, "." RB ".c2ln", NOT_THREE_PARTS)                                                       \
    X(four_parts, RH "." RB ".c2ln.c2ln", NOT_THREE_PARTS)                                                   \
    X(dot_after_the_signature, RH "." RB ".c2ln.", NOT_THREE_PARTS)                                          \
    X(encrypted_token_of_five_parts, RH ".a2V5.aXZpdml2." RB ".dGFn", NOT_THREE_PARTS)                       \
    X(unsecured_token_of_rfc_7519,                                                                           \
      "eyJhbGciOiJub25lIn0."                                                                                 \
      "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",     \
      NOT_THREE_PARTS)                                                                                       \
    X(json_serialization, "{\"payload\":\"" RB "\",\"signatures\":[{\"signature\":\"c2ln\"}]}",              \
      NOT_THREE_PARTS)                                                                                       \
    X(json_serialization_with_dots, "{\"payload\":\".\",\"signature\":\".\"}", BAD_BASE64)                   \
    X(padded_header, RH "=." RB ".c2ln", BAD_BASE64)                                                         \
    X(padded_payload, RH "." RB "=.c2ln", BAD_BASE64)                                                        \
    X(padded_signature, RH "." RB ".c2lnbmE=", BAD_BASE64)                                                   \
    X(plus_in_the_signature, RH "." RB ".c2l+", BAD_BASE64)                                                  \
    X(slash_in_the_signature, RH "." RB ".c2l/", BAD_BASE64)                                                 \
    X(percent_in_the_signature, RH "." RB ".c2l%3D", BAD_BASE64)                                             \
    X(space_before_the_token, " " RH "." RB ".c2ln", BAD_BASE64)                                             \
    X(space_after_the_token, RH "." RB ".c2ln ", BAD_BASE64)                                                 \
    X(line_break_inside_the_payload, RH ".eyJpc3Mi\nOiJpIn0.c2ln", BAD_BASE64)                               \
    X(tab_before_a_dot, RH "\t." RB ".c2ln", BAD_BASE64)                                                     \
    X(nul_after_the_token, RH "." RB ".c2ln\0", BAD_BASE64)                                                  \
    X(high_byte_in_the_signature, RH "." RB ".c2l\xee", BAD_BASE64)                                          \
    X(trailing_bits_in_the_header, "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn1." RB ".c2ln", BAD_BASE64)            \
    X(trailing_bits_in_the_payload, RH ".eyJpc3MiOiJpIiwiYXVkIjoiYSIsImV4cCI6MTcwMDAwMDAwMH1.c2ln",          \
      BAD_BASE64)                                                                                            \
    X(trailing_bits_in_the_signature, RH "." RB ".c2lnbh", BAD_BASE64)                                       \
    X(signature_of_one_character, RH "." RB ".c", BAD_BASE64)                                                \
    X(scheme_before_the_token, "Bearer " RH "." RB ".c2ln", BAD_BASE64)

#define X(name, text, reason)                                                                                \
    static void name##_is_refused(void **state)                                                              \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_false(parse((const uint8_t *)(text), sizeof(text) - 1));                                      \
        assert_string_equal(reason_name(why), reason_name(REASON_JWT_##reason));                             \
    }
REFUSED_TEXT(X)
#undef X

/* name, header, payload, what must hold then */
#define TAKEN(X)                                                                                             \
    X(rs256_is_seen, H, B, jwt.alg == JWK_RS256)                                                             \
    X(es256_is_seen, "{\"alg\":\"ES256\",\"kid\":\"k\"}", B, jwt.alg == JWK_ES256)                           \
    X(kid_is_seen, H, B, span_is(jwt.kid, "k1"))                                                             \
    X(kid_with_escapes_is_resolved, "{\"alg\":\"RS256\",\"kid\":\"\\u006b\\/..\"}", B,                       \
      span_is(jwt.kid, "k/.."))                                                                              \
    X(kid_is_only_bytes, "{\"alg\":\"RS256\",\"kid\":\"' OR 1=1 --\"}", B, span_is(jwt.kid, "' OR 1=1 --"))  \
    X(typ_jwt_is_taken, HEAD(",\"typ\":\"JWT\""), B, jwt.alg == JWK_RS256)                                   \
    X(unknown_parameter_is_skipped, HEAD(",\"x\":{\"alg\":\"none\"},\"x5t\":\"a\""), B,                      \
      jwt.alg == JWK_RS256)                                                                                  \
    X(iss_is_seen, H, B, span_is(jwt.iss, "i"))                                                              \
    X(iss_with_escapes_is_resolved, H,                                                                       \
      "{\"iss\":\"https:\\/\\/accounts.google.com\",\"aud\":\"a\",\"exp\":1}",                               \
      span_is(jwt.iss, "https://accounts.google.com"))                                                       \
    X(aud_is_seen, H, B, span_is(jwt.aud, "a"))                                                              \
    X(aud_keeps_case_and_trailing_slash, H, AUD("\"HTTPS://A/\""), span_is(jwt.aud, "HTTPS://A/"))           \
    X(exp_is_seen, H, B, jwt.exp == 1700000000)                                                              \
    X(exp_zero_is_seen, H, EXP("0"), jwt.exp == 0)                                                           \
    X(exp_at_the_end_of_9999_is_seen, H, EXP("253402300799"), jwt.exp == 253402300799)                       \
    X(iat_is_seen, H, BODY(",\"iat\":5"), jwt.iat == 5)                                                      \
    X(nbf_is_seen, H, BODY(",\"nbf\":6"), jwt.nbf == 6)                                                      \
    X(iat_and_nbf_are_zero_when_absent, H, B, jwt.iat == 0 && jwt.nbf == 0)                                  \
    X(sub_is_seen, H, BODY(",\"sub\":\"123\""), span_is(jwt.sub, "123"))                                     \
    X(email_is_seen, H, BODY(",\"email\":\"a@b.c\""), span_is(jwt.email, "a@b.c"))                           \
    X(email_is_empty_when_absent, H, B, jwt.email.len == 0)                                                  \
    X(email_verified_true_is_seen, H, BODY(",\"email_verified\":true"), jwt.email_verified)                  \
    X(email_verified_false_is_seen, H, BODY(",\"email_verified\":false"), !jwt.email_verified)               \
    X(email_is_not_verified_when_that_is_absent, H, BODY(",\"email\":\"a@b\""), !jwt.email_verified)         \
    X(unknown_claims_are_skipped, H, BODY(",\"azp\":\"1\",\"x\":{\"exp\":[null,1.5]}"),                      \
      jwt.exp == 1700000000)                                                                                 \
    X(nested_claims_are_not_claims, H, BODY(",\"x\":{\"email\":\"a@b\",\"email_verified\":true}"),           \
      jwt.email.len == 0 && !jwt.email_verified)                                                             \
    X(claim_names_have_case, H, BODY(",\"Email\":\"a@b\""), jwt.email.len == 0)                              \
    X(white_space_in_json_is_let_pass, " {\r\n\"alg\" : \"RS256\", \"kid\" : \"k\" }\n", B,                  \
      span_is(jwt.kid, "k"))                                                                                 \
    X(signature_is_decoded, H, B, span_is(jwt.signature, "signature"))

#define X(name, header, payload, holds)                                                                      \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        if (!parse_json(header, sizeof(header) - 1, payload, sizeof(payload) - 1))                           \
            fail_msg("%s", reason_name(why));                                                                \
        assert_true(holds);                                                                                  \
    }
TAKEN(X)
#undef X

static void the_signed_part_is_the_bytes_as_they_came(void **state)
{
    static const char text[] = RH "." RB ".c2ln";
    (void)state;

    assert_true(parse((const uint8_t *)text, sizeof text - 1));
    assert_true(span_is(jwt.signed_part, RH "." RB));
}

/* A sound token of exactly len characters, filled up by its signature. */
static bool parse_token_of(size_t len)
{
    begin_token();
    memcpy(token.ptr, RH "." RB ".", sizeof(RH "." RB ".") - 1);
    memset(token.ptr + sizeof(RH "." RB ".") - 1, 'A', len);
    return parse(token.ptr, len);
}

static void token_at_the_limit_is_taken(void **state)
{
    (void)state;

    assert_true(parse_token_of(JWT_TOKEN_MAX));
}

static void token_over_the_limit_is_refused(void **state)
{
    (void)state;

    assert_false(parse_token_of(JWT_TOKEN_MAX + 1));
    assert_int_equal(why, REASON_JWT_TOO_LONG);
}

static void token_of_64_kib_is_refused(void **state)
{
    static uint8_t text[65536];
    (void)state;

    memset(text, 'A', sizeof text);
    assert_false(parse(text, sizeof text));
    assert_int_equal(why, REASON_JWT_TOO_LONG);
}

/* A text with count letters x where '@' stands. */
static size_t fill(char *out, const char *pattern, size_t count)
{
    size_t len = 0;

    for (; *pattern != 0; pattern++) {
        size_t n = *pattern == '@' ? count : 1;

        memset(out + len, *pattern == '@' ? 'x' : *pattern, n);
        len += n;
    }
    return len;
}

static bool parse_kid_of(size_t len)
{
    char header[1024];

    return parse_json(header, fill(header, "{\"alg\":\"RS256\",\"kid\":\"@\"}", len), B, sizeof(B) - 1);
}

static bool parse_email_of(size_t len)
{
    char payload[1024];

    return parse_json(H, sizeof(H) - 1, payload,
                      fill(payload, "{\"iss\":\"i\",\"aud\":\"a\",\"exp\":1,\"email\":\"@\"}", len));
}

static void kid_at_its_limit_is_taken(void **state)
{
    (void)state;

    assert_true(parse_kid_of(JWT_KID_MAX));
}

static void kid_over_its_limit_is_refused(void **state)
{
    (void)state;

    assert_false(parse_kid_of(JWT_KID_MAX + 1));
    assert_int_equal(why, REASON_JWT_BAD_KID);
}

static void email_at_its_limit_is_taken(void **state)
{
    (void)state;

    assert_true(parse_email_of(EKM_CALLER_MAX));
}

static void email_over_its_limit_is_refused(void **state)
{
    (void)state;

    assert_false(parse_email_of(EKM_CALLER_MAX + 1));
    assert_int_equal(why, REASON_JWT_BAD_CLAIM);
}

static void too_many_claims_are_refused(void **state)
{
    char payload[2048] = "{";
    size_t len = 1;
    (void)state;

    for (char a = 'a'; a < 'a' + 9; a++) {
        for (char b = 'a'; b < 'a' + 8; b++) {
            char member[] = {'"', a, b, '"', ':', '1', ','};

            memcpy(payload + len, member, sizeof member);
            len += sizeof member;
        }
    }
    memcpy(payload + len, "\"exp\":1}", 8);
    assert_false(parse_json(H, sizeof(H) - 1, payload, len + 8));
    assert_int_equal(why, REASON_JWT_BAD_CLAIMS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define X(name, ...) cmocka_unit_test(name##_is_refused),
        REFUSED_JSON(X) REFUSED_TEXT(X)
#undef X
#define X(name, ...) cmocka_unit_test(name),
            TAKEN(X)
#undef X
                cmocka_unit_test(the_signed_part_is_the_bytes_as_they_came),
        cmocka_unit_test(token_at_the_limit_is_taken),
        cmocka_unit_test(token_over_the_limit_is_refused),
        cmocka_unit_test(token_of_64_kib_is_refused),
        cmocka_unit_test(kid_at_its_limit_is_taken),
        cmocka_unit_test(kid_over_its_limit_is_refused),
        cmocka_unit_test(email_at_its_limit_is_taken),
        cmocka_unit_test(email_over_its_limit_is_refused),
        cmocka_unit_test(too_many_claims_are_refused),
    };
    return RUN_TESTS("jwt", tests);
}
