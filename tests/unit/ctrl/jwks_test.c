#include "ctrl/trust/jwks.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

/* RFC 7515 A.2.1 (RSA 2048) and A.3.1 (P-256). */
#define RSA_N                                                                                                \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-" \
    "SFd2lZ"                                                                                                 \
    "S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-"      \
    "UTo7WTBEMa2"                                                                                            \
    "R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_"                       \
    "h9iaGNj8q2ethFkMLs91kzk2PAcD"                                                                           \
    "TW9gb54h4FRWyuXpoQ"
#define EC_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define EC_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"

#define RSA(kid, n, e)                                                                                       \
    "{\"kty\":\"RSA\",\"alg\":\"RS256\",\"use\":\"sig\",\"kid\":\"" kid "\",\"n\":\"" n "\",\"e\":\"" e "\"" \
    "}"
#define EC(kid, x, y) "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"" kid "\",\"x\":\"" x "\",\"y\":\"" y "\"}"
#define SET(keys)     "{\"keys\":[" keys "]}"

static struct jwks set;
static struct refusal why;

static bool parse(const char *text)
{
    return jwks_parse(span_str(text), &set, &why);
}

static void refuse_with(const char *text, const char *message)
{
    assert_false(parse(text));
    assert_string_equal(why.code, "bad_jwks");
    if (strstr(why.text, message) == NULL)
        fail_msg("\"%s\" is not about \"%s\"", why.text, message);
    assert_int_equal(set.count, 0);
}

static void an_rsa_and_an_ec_key_are_read(void **state)
{
    (void)state;
    if (!parse(SET(RSA("one", RSA_N, "AQAB") "," EC("two", EC_X, EC_Y))))
        fail_msg("%s", why.text);
    assert_int_equal(set.count, 2);
    assert_int_equal(set.keys[0].alg, JWK_RS256);
    assert_int_equal(set.keys[0].a_len, 256);
    assert_int_equal(set.keys[0].b_len, 3);
    assert_int_equal(set.keys[1].alg, JWK_ES256);
    assert_int_equal(set.keys[1].a_len, 32);
    assert_memory_equal(set.keys[1].kid, "two", 3);
}

static void keys_for_other_uses_are_left_out(void **state)
{
    (void)state;
    assert_true(parse(
        SET("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\",\"x\":\"AA\"},"
            "{\"kty\":\"RSA\",\"use\":\"enc\",\"kid\":\"b\",\"n\":\"AA\",\"e\":\"AQAB\"},"
            "{\"kty\":\"EC\",\"crv\":\"P-384\",\"alg\":\"ES384\",\"kid\":\"c\",\"x\":\"AA\",\"y\":\"AA\"},"
            "{\"kty\":\"RSA\",\"alg\":\"RS512\",\"kid\":\"d\",\"n\":\"AA\",\"e\":\"AQAB\"}," EC("two", EC_X,
                                                                                                EC_Y))));
    assert_int_equal(set.count, 1);
}

static void a_set_without_a_usable_key_is_refused(void **state)
{
    (void)state;
    refuse_with(SET(""), "no RS256 or ES256 key");
    refuse_with(SET("{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"AAAA\"}"), "no RS256 or ES256 key");
}

static void what_is_no_jwk_set_is_refused(void **state)
{
    (void)state;
    refuse_with("<html><body>503</body></html>", "line 1, column");
    refuse_with("", "line 1, column");
    refuse_with("[]", "no \"keys\" array");
    refuse_with("{\"keys\":{}}", "no \"keys\" array");
    refuse_with("{\"keys\":[]} trailing", "line 1, column");
}

static void a_name_given_twice_is_refused(void **state)
{
    (void)state;
    refuse_with("{\"keys\":[],\"keys\":[" EC("two", EC_X, EC_Y) "]}", "duplicate");
}

static void an_exponent_below_65537_is_refused(void **state)
{
    (void)state;
    refuse_with(SET(RSA("one", RSA_N, "AQ")), "exponent of at least 65537");
    refuse_with(SET(RSA("one", RSA_N, "Aw")), "exponent of at least 65537");
    refuse_with(SET(RSA("one", RSA_N, "AQAA")), "exponent of at least 65537"); /* even */
}

static void a_modulus_that_is_short_even_or_padded_is_refused(void **state)
{
    (void)state;
    refuse_with(SET(RSA("one", "_______________________________________________w", "AQAB")),
                "2048..4096 bits");
    refuse_with(SET(RSA("one", "AA" RSA_N, "AQAB")), "2048..4096 bits");
}

static void a_point_off_the_curve_is_refused(void **state)
{
    (void)state;
    refuse_with(SET(EC("two", EC_Y, EC_X)), "not a point of P-256");
    refuse_with(SET(EC("two", EC_X, "AA")), "not a point of P-256");
    refuse_with(SET(EC("two", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                       "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
                "not a point of P-256");
}

static void bad_base64url_is_refused(void **state)
{
    (void)state;
    refuse_with(SET(EC("two", EC_X "=", EC_Y)), "not a point of P-256");
    refuse_with(SET(EC("two", EC_X, "x+FEzRu9m36HLN/tue659LNpXW6pCyStikYjKIWI5a0")), "not a point of P-256");
}

static void a_missing_or_overlong_kid_is_refused(void **state)
{
    char text[1024], kid[JWT_KID_MAX + 2];

    (void)state;
    refuse_with(SET(EC("", EC_X, EC_Y)), "has no kid");
    memset(kid, 'k', sizeof kid - 1);
    kid[sizeof kid - 1] = '\0';
    snprintf(text, sizeof text,
             "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"}]}", kid,
             EC_X, EC_Y);
    refuse_with(text, "has no kid");
}

static void a_kid_given_twice_is_refused(void **state)
{
    (void)state;
    refuse_with(SET(EC("two", EC_X, EC_Y) "," RSA("two", RSA_N, "AQAB")),
                "key 2 has the kid of an earlier one");
}

static void more_keys_than_fit_are_refused(void **state)
{
    static char text[JWKS_KEYS_MAX * 256 + 1024] = "{\"keys\":[";
    size_t len = strlen(text);

    (void)state;
    for (int i = 0; i <= JWKS_KEYS_MAX; i++)
        len +=
            (size_t)snprintf(text + len, sizeof text - len,
                             "%s{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k%d\",\"x\":\"%s\",\"y\":\"%s\"}",
                             i == 0 ? "" : ",", i, EC_X, EC_Y);
    snprintf(text + len, sizeof text - len, "]}");
    refuse_with(text, "more than 32 usable keys");
}

static void a_set_that_is_too_long_is_refused(void **state)
{
    char *text = malloc(JWKS_FILE_MAX + 2);

    (void)state;
    assert_non_null(text);
    memset(text, ' ', JWKS_FILE_MAX + 1);
    text[JWKS_FILE_MAX + 1] = '\0';
    refuse_with(text, "longer than");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_rsa_and_an_ec_key_are_read),
        cmocka_unit_test(keys_for_other_uses_are_left_out),
        cmocka_unit_test(a_set_without_a_usable_key_is_refused),
        cmocka_unit_test(what_is_no_jwk_set_is_refused),
        cmocka_unit_test(a_name_given_twice_is_refused),
        cmocka_unit_test(an_exponent_below_65537_is_refused),
        cmocka_unit_test(a_modulus_that_is_short_even_or_padded_is_refused),
        cmocka_unit_test(a_point_off_the_curve_is_refused),
        cmocka_unit_test(bad_base64url_is_refused),
        cmocka_unit_test(a_missing_or_overlong_kid_is_refused),
        cmocka_unit_test(a_kid_given_twice_is_refused),
        cmocka_unit_test(more_keys_than_fit_are_refused),
        cmocka_unit_test(a_set_that_is_too_long_is_refused),
    };

    return RUN_TESTS("ctrl jwks", tests);
}
