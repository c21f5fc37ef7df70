#include "tests/unit/ekm/rig.h"

#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- what every refusal looks like ---- */

static void expect_401(const char *token, enum reason why)
{
    uint64_t before = counted(why);

    assert_int_equal(wrap(KEY, token, "aGVsbG8="), 401);
    assert_int_equal(audited.verdict, why);
    assert_int_equal(counted(why), before + 1);
    assert_int_equal(audited.flags & AUDIT_FLAG_CALLER_PROVEN, 0);
    assert_non_null(strstr(reply_head, "\r\nWWW-Authenticate: Bearer"));
    expect_status_body(16);
    assert_int_equal(counted(REASON_EKM_WRAP_OK), 0);
}

static void expect_accepted(const char *token)
{
    assert_int_equal(wrap(KEY, token, "aGVsbG8="), 200);
    assert_int_equal(audited.flags, AUDIT_FLAG_CALLER_PROVEN);
}

/* A case is a good token with one thing changed, and what becomes of it. */
#define REFUSED(name, why, change)                                                                           \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        struct token t = token_good();                                                                       \
        (void)state;                                                                                         \
        change;                                                                                              \
        expect_401(token_text(&t), REASON_##why);                                                            \
    }

#define ACCEPTED(name, change)                                                                               \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        struct token t = token_good();                                                                       \
        (void)state;                                                                                         \
        change;                                                                                              \
        expect_accepted(token_text(&t));                                                                     \
    }

static void es256(struct token *t)
{
    t->alg = "\"ES256\"";
    t->kid = "\"ec-1\"";
    t->signer = SIGN_EC;
}

/* ---- accepted ---- */

ACCEPTED(an_rs256_token_is_accepted, (void)0)
ACCEPTED(an_es256_token_is_accepted, es256(&t))
ACCEPTED(a_token_of_the_second_issuer_is_accepted, {
    es256(&t);
    t.iss = "\"" ISSUER_2 "\"";
    t.kid = "\"two-1\"";
    t.signer = SIGN_TWO;
})
ACCEPTED(the_last_second_of_the_skew_after_exp_is_accepted, t.exp = "1799999941"; t.iat = "1799990000")
ACCEPTED(an_nbf_within_the_skew_is_accepted, t.nbf = "1800000060")
ACCEPTED(an_iat_within_the_skew_is_accepted, t.iat = "1800000060")
ACCEPTED(a_life_of_a_day_is_accepted, t.iat = "1799999990"; t.exp = "1800086390")
ACCEPTED(a_token_without_iat_is_accepted, t.iat = NULL)
ACCEPTED(a_token_without_typ_is_accepted, t.typ = NULL)
ACCEPTED(unknown_claims_are_passed_over,
         t.claims_extra = "\"azp\":\"1\",\"sub\":\"117\",\"deep\":{\"a\":[1,2]}")

static void the_scheme_may_be_in_any_case(void **state)
{
    char authorization[4096];
    struct call c = {.method = "POST",
                     .target = "/" KEY ":wrap",
                     .type = "application/json",
                     .authorization = authorization};
    (void)state;

    snprintf(authorization, sizeof authorization, "bEARER %s", good());
    c.body = "{\"plaintext\":\"\"}";
    c.body_len = strlen(c.body);
    assert_int_equal(call(&c), 200);
}

/* ---- the header ---- */

REFUSED(alg_none_without_a_signature_is_refused, JWT_NOT_THREE_PARTS, t.alg = "\"none\"";
        t.signer = SIGN_NOTHING)
REFUSED(alg_none_in_other_case_is_refused, JWT_ALG_REFUSED, t.alg = "\"nOnE\"")
REFUSED(alg_none_with_a_good_signature_is_refused, JWT_ALG_REFUSED, t.alg = "\"none\"")
REFUSED(a_missing_alg_is_refused, JWT_ALG_REFUSED, t.alg = NULL)
REFUSED(alg_as_a_number_is_refused, JWT_ALG_REFUSED, t.alg = "256")
REFUSED(hs256_keyed_with_the_public_key_is_refused, JWT_ALG_REFUSED, t.alg = "\"HS256\"";
        t.signer = SIGN_HMAC_OF_RSA_PEM)
REFUSED(rs256_over_an_hmac_is_refused, AUTH_BAD_SIGNATURE, t.signer = SIGN_HMAC_OF_RSA_PEM)
REFUSED(ps256_is_refused, JWT_ALG_REFUSED, t.alg = "\"PS256\"")
REFUSED(rs512_is_refused, JWT_ALG_REFUSED, t.alg = "\"RS512\"")
REFUSED(es384_is_refused, JWT_ALG_REFUSED, t.alg = "\"ES384\"")
REFUSED(alg_in_lower_case_is_refused, JWT_ALG_REFUSED, t.alg = "\"rs256\"")
REFUSED(es256_on_an_rsa_key_is_refused, AUTH_WRONG_ALG, t.alg = "\"ES256\"")
REFUSED(rs256_on_an_ec_key_is_refused, AUTH_WRONG_ALG, t.kid = "\"ec-1\"")
REFUSED(a_missing_kid_is_refused, JWT_BAD_KID, t.kid = NULL)
REFUSED(an_empty_kid_is_refused, JWT_BAD_KID, t.kid = "\"\"")
REFUSED(kid_as_a_number_is_refused, JWT_BAD_KID, t.kid = "1")
REFUSED(an_unknown_kid_of_a_fresh_jwks_is_refused, AUTH_UNKNOWN_KID, t.kid = "\"rsa-2\"")
REFUSED(a_kid_in_other_case_is_unknown, AUTH_UNKNOWN_KID, t.kid = "\"RSA-1\"")
REFUSED(a_prefix_of_a_kid_is_unknown, AUTH_UNKNOWN_KID, t.kid = "\"rsa-\"")
REFUSED(a_kid_with_a_tail_is_unknown, AUTH_UNKNOWN_KID, t.kid = "\"rsa-1x\"")
REFUSED(a_kid_that_is_a_path_is_unknown, AUTH_UNKNOWN_KID, t.kid = "\"../../rsa-1\"")
REFUSED(a_kid_that_is_sql_is_unknown, AUTH_UNKNOWN_KID, t.kid = "\"rsa-1' OR '1'='1\"")
REFUSED(a_kid_of_another_issuer_is_unknown, AUTH_UNKNOWN_KID, {
    es256(&t);
    t.kid = "\"two-1\"";
    t.signer = SIGN_TWO;
})
REFUSED(jku_is_refused, JWT_PARAMETER_REFUSED, t.header_extra = "\"jku\":\"https://evil.test/jwks\"")
REFUSED(jwk_is_refused, JWT_PARAMETER_REFUSED, t.header_extra = "\"jwk\":{\"kty\":\"RSA\"}")
REFUSED(x5u_is_refused, JWT_PARAMETER_REFUSED, t.header_extra = "\"x5u\":\"https://evil.test/\"")
REFUSED(x5c_is_refused, JWT_PARAMETER_REFUSED, t.header_extra = "\"x5c\":[\"AAAA\"]")
REFUSED(crit_is_refused, JWT_PARAMETER_REFUSED, t.header_extra = "\"crit\":[\"exp\"]")
REFUSED(b64_is_refused, JWT_PARAMETER_REFUSED, t.header_extra = "\"b64\":false")
REFUSED(zip_is_refused, JWT_PARAMETER_REFUSED, t.header_extra = "\"zip\":\"DEF\"")
REFUSED(an_access_tokens_typ_is_refused, JWT_TYP_REFUSED, t.typ = "\"at+jwt\"")
REFUSED(alg_twice_is_refused, JWT_BAD_HEADER, t.header_extra = "\"alg\":\"RS256\"")
REFUSED(a_header_that_is_no_object_is_refused, JWT_BAD_HEADER, t.header_raw = "[]")

/* ---- the claims ---- */

REFUSED(another_issuer_is_refused, AUTH_UNKNOWN_ISSUER, t.iss = "\"https://accounts.evil.test\"")
REFUSED(an_issuer_without_scheme_is_another, AUTH_UNKNOWN_ISSUER, t.iss = "\"accounts.google.com\"")
REFUSED(an_issuer_with_a_slash_is_another, AUTH_UNKNOWN_ISSUER, t.iss = "\"" ISSUER "/\"")
REFUSED(an_issuer_in_other_case_is_another, AUTH_UNKNOWN_ISSUER, t.iss = "\"https://Accounts.google.com\"")
REFUSED(an_issuer_over_http_is_another, AUTH_UNKNOWN_ISSUER, t.iss = "\"http://accounts.google.com\"")
REFUSED(an_issuer_with_a_tail_is_another, AUTH_UNKNOWN_ISSUER, t.iss = "\"" ISSUER ".evil.test\"")
REFUSED(the_second_issuers_name_over_the_firsts_key_is_refused, AUTH_UNKNOWN_KID, t.iss = "\"" ISSUER_2 "\"")
REFUSED(a_missing_issuer_is_refused, JWT_CLAIM_MISSING, t.iss = NULL)
REFUSED(an_issuer_that_is_no_string_is_refused, JWT_BAD_CLAIM, t.iss = "[\"" ISSUER "\"]")
REFUSED(another_audience_is_refused, AUTH_WRONG_AUDIENCE, t.aud = "\"https://ekm.other.test\"")
REFUSED(an_audience_with_a_slash_is_another, AUTH_WRONG_AUDIENCE, t.aud = "\"" AUDIENCE "/\"")
REFUSED(an_audience_with_a_port_is_another, AUTH_WRONG_AUDIENCE, t.aud = "\"" AUDIENCE ":443\"")
REFUSED(an_audience_in_other_case_is_another, AUTH_WRONG_AUDIENCE, t.aud = "\"https://EKM.wirewrap.test\"")
REFUSED(an_audience_over_http_is_another, AUTH_WRONG_AUDIENCE, t.aud = "\"http://ekm.wirewrap.test\"")
REFUSED(a_part_of_the_audience_is_another, AUTH_WRONG_AUDIENCE, t.aud = "\"https://ekm.wirewrap.tes\"")
REFUSED(an_audience_with_a_path_is_another, AUTH_WRONG_AUDIENCE, t.aud = "\"" AUDIENCE "/v0\"")
REFUSED(an_audience_list_is_refused, JWT_BAD_AUD, t.aud = "[\"" AUDIENCE "\"]")
REFUSED(an_audience_list_with_ours_among_others_is_refused, JWT_BAD_AUD,
        t.aud = "[\"https://x.test\",\"" AUDIENCE "\"]")
REFUSED(a_missing_audience_is_refused, JWT_CLAIM_MISSING, t.aud = NULL)
REFUSED(an_expired_token_is_refused, AUTH_EXPIRED, t.exp = "1799999000"; t.iat = "1799990000")
REFUSED(the_first_second_after_the_skew_is_refused, AUTH_EXPIRED, t.exp = "1799999940"; t.iat = "1799990000")
REFUSED(a_missing_exp_is_refused, JWT_CLAIM_MISSING, t.exp = NULL)
REFUSED(exp_as_a_string_is_refused, JWT_BAD_TIME, t.exp = "\"1800003590\"")
REFUSED(exp_as_a_fraction_is_refused, JWT_BAD_TIME, t.exp = "1800003590.5")
REFUSED(an_endless_exp_is_refused, JWT_BAD_TIME, t.exp = "1e400")
REFUSED(a_negative_exp_is_refused, JWT_BAD_TIME, t.exp = "-1")
REFUSED(exp_twice_is_refused, JWT_BAD_CLAIMS, t.claims_extra = "\"exp\":1800003590")
REFUSED(an_nbf_beyond_the_skew_is_refused, AUTH_NOT_YET_VALID, t.nbf = "1800000061")
REFUSED(an_iat_beyond_the_skew_is_refused, AUTH_NOT_YET_VALID, t.iat = "1800000061")
REFUSED(a_life_of_more_than_a_day_is_refused, AUTH_LIFETIME, t.exp = "1800086391")
REFUSED(a_token_without_iat_that_ends_in_more_than_a_day_is_refused, AUTH_LIFETIME, t.iat = NULL;
        t.exp = "1800086401")
REFUSED(a_token_that_ends_before_it_begins_is_refused, AUTH_LIFETIME, t.iat = "1800000050";
        t.exp = "1800000040")
REFUSED(a_missing_email_is_refused, AUTH_NO_EMAIL, t.email = NULL)
REFUSED(an_empty_email_is_refused, JWT_BAD_CLAIM, t.email = "\"\"")
REFUSED(an_email_that_is_no_string_is_refused, JWT_BAD_CLAIM, t.email = "[\"" CALLER "\"]")
REFUSED(an_unverified_email_is_refused, AUTH_EMAIL_UNVERIFIED, t.verified = "false")
REFUSED(an_email_not_said_to_be_verified_is_refused, AUTH_EMAIL_UNVERIFIED, t.verified = NULL)
REFUSED(an_email_verified_as_text_is_refused, JWT_BAD_CLAIM, t.verified = "\"true\"")
REFUSED(an_email_verified_as_a_number_is_refused, JWT_BAD_CLAIM, t.verified = "1")
REFUSED(an_email_twice_is_refused, JWT_BAD_CLAIMS, t.claims_extra = "\"email\":\"" CALLER "\"")
REFUSED(claims_that_are_no_object_are_refused, JWT_BAD_CLAIMS, t.claims_raw = "\"" CALLER "\"")
REFUSED(claims_that_are_cut_are_refused, JWT_BAD_CLAIMS, t.claims_raw = "{\"iss\":\"" ISSUER "\"")
REFUSED(claims_in_bad_utf8_are_refused, JWT_BAD_CLAIMS, t.claims_raw = "{\"iss\":\"\xc0\xaf\"}")
REFUSED(an_overlong_token_is_refused, JWT_TOO_LONG, {
    static char pad[JWT_TOKEN_MAX + 32];
    snprintf(pad, sizeof pad, "\"pad\":\"%0*d\"", JWT_TOKEN_MAX - 16, 0);
    t.claims_extra = pad;
})

/* ---- the signature ---- */

REFUSED(a_signature_of_another_rsa_key_is_refused, AUTH_BAD_SIGNATURE, t.signer = SIGN_OTHER_RSA)
REFUSED(a_signature_of_another_ec_key_is_refused, AUTH_BAD_SIGNATURE, es256(&t); t.signer = SIGN_OTHER_EC)
REFUSED(an_ec_signature_in_der_is_refused, AUTH_BAD_SIGNATURE, es256(&t); t.signer = SIGN_EC_DER)
REFUSED(an_ec_signature_under_an_rsa_kid_is_refused, AUTH_BAD_SIGNATURE, t.signer = SIGN_EC)
REFUSED(an_empty_signature_is_refused, JWT_NOT_THREE_PARTS, t.signer = SIGN_NOTHING)

/* A good token's text, to be damaged. */
static char *damaged(const char *token)
{
    static char text[8192];

    snprintf(text, sizeof text - 8, "%s", token);
    return text;
}

static char *signature_of(char *token)
{
    return strrchr(token, '.') + 1;
}

/* Another letter whose lowest two bits agree: the encoding stays canonical whatever its place. */
static void flip(char *letter)
{
    *letter = *letter == 'A' ? 'Q' : 'A';
}

static void expect_flipped(size_t from_start, size_t from_end)
{
    char *token = damaged(good());
    char *sig = signature_of(token);

    flip(from_end != 0 ? sig + strlen(sig) - from_end : sig + from_start);
    expect_401(token, REASON_AUTH_BAD_SIGNATURE);
}

static void a_flip_at_the_signatures_start_is_refused(void **state)
{
    (void)state;
    expect_flipped(0, 0);
}

static void a_flip_in_the_signatures_middle_is_refused(void **state)
{
    (void)state;
    expect_flipped(170, 0);
}

static void a_flip_near_the_signatures_end_is_refused(void **state)
{
    (void)state;
    expect_flipped(0, 2);
}

static void a_shortened_signature_is_refused(void **state)
{
    char *token = damaged(good());
    (void)state;

    token[strlen(token) - 6] = 0; /* 252 bytes are left, in whole groups */
    expect_401(token, REASON_AUTH_BAD_SIGNATURE);
}

static void a_lengthened_signature_is_refused(void **state)
{
    char *token = damaged(good());
    (void)state;

    token[strlen(token) - 2] = 0; /* 256 bytes end with two letters: drop them, then whole groups */
    strcat(token, "AAAAAA");
    expect_401(token, REASON_AUTH_BAD_SIGNATURE);
}

static char *es256_token(void)
{
    struct token t = token_good();

    es256(&t);
    return damaged(token_text(&t));
}

static void an_ec_signature_of_zeros_is_refused(void **state)
{
    char *token = es256_token();
    (void)state;

    memset(signature_of(token), 'A', strlen(signature_of(token)));
    expect_401(token, REASON_AUTH_BAD_SIGNATURE);
}

static void an_ec_signature_with_r_of_zero_is_refused(void **state)
{
    char *token = es256_token();
    (void)state;

    memset(signature_of(token), 'A', 43);
    expect_401(token, REASON_AUTH_BAD_SIGNATURE);
}

static void an_ec_signature_with_a_flip_is_refused(void **state)
{
    char *token = es256_token();
    (void)state;

    flip(signature_of(token) + 60);
    expect_401(token, REASON_AUTH_BAD_SIGNATURE);
}

static void an_ec_signature_one_byte_short_is_refused(void **state)
{
    char *token = es256_token();
    (void)state;

    strcpy(token + strlen(token) - 2, "");
    expect_401(token, REASON_AUTH_BAD_SIGNATURE);
}

static void claims_of_another_token_under_this_signature_are_refused(void **state)
{
    struct token t = token_good();
    char text[8192];
    (void)state;

    t.email = "\"someone@else.test\"";
    snprintf(text, sizeof text, "%s", token_text(&t));
    strcpy(signature_of(text), signature_of(damaged(good())));
    expect_401(text, REASON_AUTH_BAD_SIGNATURE);
}

static void a_header_of_another_token_over_this_signature_is_refused(void **state)
{
    struct token t = token_good();
    char *other, text[8192];
    (void)state;

    t.typ = NULL;
    other = damaged(token_text(&t));
    *strchr(other, '.') = 0;
    snprintf(text, sizeof text, "%s%s", other, strchr(good(), '.'));
    expect_401(text, REASON_AUTH_BAD_SIGNATURE);
}

/* ---- the shape ---- */

static void two_parts_are_refused(void **state)
{
    char *token = damaged(good());
    (void)state;

    *strrchr(token, '.') = 0;
    expect_401(token, REASON_JWT_NOT_THREE_PARTS);
}

static void four_parts_are_refused(void **state)
{
    (void)state;
    expect_401(strcat(damaged(good()), ".AAAA"), REASON_JWT_NOT_THREE_PARTS);
}

static void five_parts_of_an_encrypted_token_are_refused(void **state)
{
    (void)state;
    expect_401("eyJhbGciOiJSU0EtT0FFUCJ9.AAAA.AAAA.AAAA.AAAA", REASON_JWT_NOT_THREE_PARTS);
}

static void a_json_serialization_is_refused(void **state)
{
    (void)state;
    expect_401("{\"payload\":\"e30\",\"signatures\":[]}", REASON_JWT_NOT_THREE_PARTS);
}

static void padding_is_refused(void **state)
{
    (void)state;
    expect_401(strcat(damaged(good()), "=="), REASON_JWT_BAD_BASE64);
}

static void the_other_base64_alphabet_is_refused(void **state)
{
    char *token = damaged(good());
    (void)state;

    signature_of(token)[3] = '+';
    expect_401(token, REASON_JWT_BAD_BASE64);
}

static void set_trailing_bits_are_refused(void **state)
{
    char *token = damaged(good());
    char *last = token + strlen(token) - 1;
    (void)state;

    *last = *last == 'A'   ? 'B'
            : *last == 'Q' ? 'R'
            : *last == 'g' ? 'h'
                           : 'x'; /* 256 bytes: four zero bits at the end */
    expect_401(token, REASON_JWT_BAD_BASE64);
}

static void white_space_inside_is_refused(void **state)
{
    char *token = damaged(good());
    (void)state;

    signature_of(token)[3] = ' ';
    expect_401(token, REASON_JWT_BAD_BASE64);
}

static void white_space_before_the_token_is_refused(void **state)
{
    char text[8192];
    (void)state;

    snprintf(text, sizeof text, " %s", good());
    expect_401(text, REASON_JWT_BAD_BASE64);
}

static void dots_alone_are_refused(void **state)
{
    char text[8];
    (void)state;

    strcpy(text, "..");
    assert_int_equal(wrap(KEY, text, ""), 401);
}

/* ---- the field ---- */

static void expect_authorization(const char *value, enum reason why)
{
    struct call c = {
        .method = "POST", .target = "/" KEY ":wrap", .type = "application/json", .authorization = value};

    c.body = "{\"plaintext\":\"\"}";
    c.body_len = strlen(c.body);
    assert_int_equal(call(&c), 401);
    assert_int_equal(audited.verdict, why);
}

static void no_authorization_is_refused(void **state)
{
    (void)state;
    expect_authorization(NULL, REASON_AUTH_NO_TOKEN);
}

static void basic_is_refused(void **state)
{
    (void)state;
    expect_authorization("Basic dXNlcjpwYXNz", REASON_AUTH_NOT_BEARER);
}

static void bearer_without_a_token_is_refused(void **state)
{
    (void)state;
    expect_authorization("Bearer", REASON_AUTH_NOT_BEARER);
}

static void a_token_without_its_scheme_is_refused(void **state)
{
    (void)state;
    expect_authorization(good(), REASON_AUTH_NOT_BEARER);
}

static void a_tab_after_the_scheme_is_refused(void **state)
{
    char value[8192];
    (void)state;

    snprintf(value, sizeof value, "Bearer\t%s", good());
    expect_authorization(value, REASON_AUTH_NOT_BEARER);
}

/* ---- one answer for all ---- */

static void every_refusal_has_the_same_body(void **state)
{
    uint8_t first[1024];
    size_t len;
    struct token t = token_good();
    (void)state;

    expect_401("x", REASON_JWT_NOT_THREE_PARTS);
    len = reply_body.len;
    memcpy(first, reply_body.ptr, len);
    t.exp = "1799999000";
    t.iat = "1799990000";
    expect_401(token_text(&t), REASON_AUTH_EXPIRED);
    assert_int_equal(reply_body.len, len);
    assert_memory_equal(reply_body.ptr, first, len);
    t = token_good();
    t.signer = SIGN_OTHER_RSA;
    expect_401(token_text(&t), REASON_AUTH_BAD_SIGNATURE);
    assert_memory_equal(reply_body.ptr, first, len);
}

static void a_refused_tokens_email_is_audited_as_a_claim(void **state)
{
    struct token t = token_good();
    (void)state;

    t.signer = SIGN_OTHER_RSA;
    expect_401(token_text(&t), REASON_AUTH_BAD_SIGNATURE);
    assert_int_equal(audited.caller_len, strlen(CALLER));
    assert_memory_equal(audited.caller, CALLER, strlen(CALLER));
}

/* ---- the JWKS' age ---- */

static void an_unknown_kid_of_a_stale_jwks_is_503(void **state)
{
    struct token t = token_good();
    (void)state;

    rig_commit_auth(&(struct auth_change){.jwks_loaded_s = NOW_S - 3600});
    t.kid = "\"rsa-2\"";
    assert_int_equal(wrap(KEY, token_text(&t), ""), 503);
    assert_int_equal(audited.verdict, REASON_AUTH_JWKS_STALE);
    expect_status_body(14);
}

static void an_unknown_kid_in_the_last_fresh_second_is_401(void **state)
{
    struct token t = token_good();
    (void)state;

    rig_commit_auth(&(struct auth_change){.jwks_loaded_s = NOW_S - 3599});
    t.kid = "\"rsa-2\"";
    expect_401(token_text(&t), REASON_AUTH_UNKNOWN_KID);
}

static void a_known_kid_of_a_stale_jwks_is_served(void **state)
{
    (void)state;
    rig_commit_auth(&(struct auth_change){.jwks_loaded_s = 1});
    expect_accepted(good());
}

/* ---- verdicts that are kept ---- */

static void a_second_request_costs_no_signature_check(void **state)
{
    (void)state;
    expect_accepted(good());
    expect_accepted(good());
    assert_int_equal(counted(REASON_AUTH_TOKEN_VERIFIED), 1);
    assert_int_equal(counted(REASON_AUTH_VERDICT_CACHE_HIT), 1);
}

static void a_kept_verdict_ends_with_its_token(void **state)
{
    (void)state;
    expect_accepted(good());
    rig_clock(1800003590 + 60 - 1);
    expect_accepted(good());
    rig_clock(1800003590 + 60);
    assert_int_equal(wrap(KEY, good(), ""), 401);
    assert_int_equal(audited.verdict, REASON_AUTH_EXPIRED);
}

static void a_kept_verdict_does_not_serve_a_damaged_copy(void **state)
{
    char *token;
    (void)state;

    expect_accepted(good());
    token = damaged(good());
    flip(signature_of(token));
    assert_int_equal(wrap(KEY, token, ""), 401);
    assert_int_equal(audited.verdict, REASON_AUTH_BAD_SIGNATURE);
}

static void a_refused_token_is_not_kept(void **state)
{
    struct token t = token_good();
    const char *text;
    (void)state;

    t.signer = SIGN_OTHER_RSA;
    text = token_text(&t);
    expect_401(text, REASON_AUTH_BAD_SIGNATURE);
    expect_401(text, REASON_AUTH_BAD_SIGNATURE);
    assert_int_equal(counted(REASON_AUTH_VERDICT_CACHE_HIT), 0);
}

static void a_new_epoch_judges_a_kept_token_anew(void **state)
{
    (void)state;
    expect_accepted(good());
    rig_commit_auth(&(struct auth_change){0});
    expect_accepted(good());
    assert_int_equal(counted(REASON_AUTH_VERDICT_CACHE_HIT), 0);
    assert_int_equal(counted(REASON_AUTH_TOKEN_VERIFIED), 2);
}

static void a_verdict_made_anew_is_kept_under_the_new_epoch(void **state)
{
    (void)state;
    rig_commit_auth(&(struct auth_change){0});
    expect_accepted(good());
    expect_accepted(good());
    assert_int_equal(counted(REASON_AUTH_VERDICT_CACHE_HIT), 1);
}

static void a_new_epoch_counts_even_before_the_caches_are_flushed(void **state)
{
    (void)state;
    expect_accepted(good());
    rig_commit_auth(&(struct auth_change){.without_rsa_key = true, .not_settled = true});
    assert_int_equal(wrap(KEY, good(), ""), 401);
    assert_int_equal(audited.verdict, REASON_AUTH_UNKNOWN_KID);
    rig_commit_auth(&(struct auth_change){0});
}

static void a_kept_token_ends_with_its_issuer(void **state)
{
    (void)state;
    expect_accepted(good());
    rig_commit_auth(&(struct auth_change){.without_issuer = true});
    assert_int_equal(wrap(KEY, good(), ""), 401);
    assert_int_equal(audited.verdict, REASON_AUTH_UNKNOWN_ISSUER);
}

static void a_kept_token_ends_with_its_key(void **state)
{
    (void)state;
    expect_accepted(good());
    rig_commit_auth(&(struct auth_change){.without_rsa_key = true});
    assert_int_equal(wrap(KEY, good(), ""), 401);
    assert_int_equal(audited.verdict, REASON_AUTH_UNKNOWN_KID);
}

static void a_kept_token_ends_with_its_audience(void **state)
{
    (void)state;
    expect_accepted(good());
    rig_commit_auth(&(struct auth_change){.without_audience = true, .delta = true});
    assert_int_equal(wrap(KEY, good(), ""), 401);
    assert_int_equal(audited.verdict, REASON_AUTH_WRONG_AUDIENCE);
}

static void a_transaction_of_keys_alone_keeps_the_issuers(void **state)
{
    (void)state;
    rig_commit_keys(false, false);
    expect_accepted(good());
}

/* ---- valid tokens whose caller is not on the list: a denial, never a failed login ---- */

static void expect_denied(const char *email)
{
    assert_int_equal(wrap(KEY, good_of(email), ""), 403);
    assert_int_equal(audited.verdict, REASON_EKM_CALLER_DENIED);
    assert_int_equal(audited.flags & AUDIT_FLAG_CALLER_PROVEN, AUDIT_FLAG_CALLER_PROVEN);
    expect_status_body(7);
}

static void a_caller_in_other_case_is_somebody_else(void **state)
{
    (void)state;
    expect_denied("Service-1@gcp-sa-ekms.iam.gserviceaccount.com");
}

static void a_caller_with_a_trailing_dot_is_somebody_else(void **state)
{
    (void)state;
    expect_denied(CALLER ".");
}

static void a_caller_of_a_subdomain_is_somebody_else(void **state)
{
    (void)state;
    expect_denied(CALLER ".evil.test");
}

static void a_caller_with_a_longer_name_is_somebody_else(void **state)
{
    (void)state;
    expect_denied("service-11@gcp-sa-ekms.iam.gserviceaccount.com");
}

static void a_caller_of_another_domain_is_somebody_else(void **state)
{
    (void)state;
    expect_denied("service-1@gcp-sa-ekms.iam.gserviceaccount.org");
}

static void a_caller_with_a_space_is_somebody_else(void **state)
{
    (void)state;
    expect_denied(" " CALLER);
}

static void a_caller_with_a_look_alike_letter_is_somebody_else(void **state)
{
    (void)state;
    expect_denied("s\xd0\xb5rvice-1@gcp-sa-ekms.iam.gserviceaccount.com"); /* Cyrillic e */
}

static void a_caller_with_a_nul_is_somebody_else(void **state)
{
    (void)state;
    assert_int_not_equal(wrap(KEY, good_of(CALLER "\\u0000"), ""), 200);
}

static void a_caller_taken_off_the_list_is_denied_on_a_kept_token(void **state)
{
    (void)state;
    expect_accepted(good());
    rig_commit_keys(false, true);
    assert_int_equal(wrap(KEY, good(), ""), 403);
    assert_int_equal(audited.verdict, REASON_EKM_CALLER_DENIED);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_rs256_token_is_accepted),
        CASE(an_es256_token_is_accepted),
        CASE(a_token_of_the_second_issuer_is_accepted),
        CASE(the_last_second_of_the_skew_after_exp_is_accepted),
        CASE(an_nbf_within_the_skew_is_accepted),
        CASE(an_iat_within_the_skew_is_accepted),
        CASE(a_life_of_a_day_is_accepted),
        CASE(a_token_without_iat_is_accepted),
        CASE(a_token_without_typ_is_accepted),
        CASE(unknown_claims_are_passed_over),
        CASE(the_scheme_may_be_in_any_case),
        CASE(alg_none_without_a_signature_is_refused),
        CASE(alg_none_in_other_case_is_refused),
        CASE(alg_none_with_a_good_signature_is_refused),
        CASE(a_missing_alg_is_refused),
        CASE(alg_as_a_number_is_refused),
        CASE(hs256_keyed_with_the_public_key_is_refused),
        CASE(rs256_over_an_hmac_is_refused),
        CASE(ps256_is_refused),
        CASE(rs512_is_refused),
        CASE(es384_is_refused),
        CASE(alg_in_lower_case_is_refused),
        CASE(es256_on_an_rsa_key_is_refused),
        CASE(rs256_on_an_ec_key_is_refused),
        CASE(a_missing_kid_is_refused),
        CASE(an_empty_kid_is_refused),
        CASE(kid_as_a_number_is_refused),
        CASE(an_unknown_kid_of_a_fresh_jwks_is_refused),
        CASE(a_kid_in_other_case_is_unknown),
        CASE(a_prefix_of_a_kid_is_unknown),
        CASE(a_kid_with_a_tail_is_unknown),
        CASE(a_kid_that_is_a_path_is_unknown),
        CASE(a_kid_that_is_sql_is_unknown),
        CASE(a_kid_of_another_issuer_is_unknown),
        CASE(jku_is_refused),
        CASE(jwk_is_refused),
        CASE(x5u_is_refused),
        CASE(x5c_is_refused),
        CASE(crit_is_refused),
        CASE(b64_is_refused),
        CASE(zip_is_refused),
        CASE(an_access_tokens_typ_is_refused),
        CASE(alg_twice_is_refused),
        CASE(a_header_that_is_no_object_is_refused),
        CASE(another_issuer_is_refused),
        CASE(an_issuer_without_scheme_is_another),
        CASE(an_issuer_with_a_slash_is_another),
        CASE(an_issuer_in_other_case_is_another),
        CASE(an_issuer_over_http_is_another),
        CASE(an_issuer_with_a_tail_is_another),
        CASE(the_second_issuers_name_over_the_firsts_key_is_refused),
        CASE(a_missing_issuer_is_refused),
        CASE(an_issuer_that_is_no_string_is_refused),
        CASE(another_audience_is_refused),
        CASE(an_audience_with_a_slash_is_another),
        CASE(an_audience_with_a_port_is_another),
        CASE(an_audience_in_other_case_is_another),
        CASE(an_audience_over_http_is_another),
        CASE(a_part_of_the_audience_is_another),
        CASE(an_audience_with_a_path_is_another),
        CASE(an_audience_list_is_refused),
        CASE(an_audience_list_with_ours_among_others_is_refused),
        CASE(a_missing_audience_is_refused),
        CASE(an_expired_token_is_refused),
        CASE(the_first_second_after_the_skew_is_refused),
        CASE(a_missing_exp_is_refused),
        CASE(exp_as_a_string_is_refused),
        CASE(exp_as_a_fraction_is_refused),
        CASE(an_endless_exp_is_refused),
        CASE(a_negative_exp_is_refused),
        CASE(exp_twice_is_refused),
        CASE(an_nbf_beyond_the_skew_is_refused),
        CASE(an_iat_beyond_the_skew_is_refused),
        CASE(a_life_of_more_than_a_day_is_refused),
        CASE(a_token_without_iat_that_ends_in_more_than_a_day_is_refused),
        CASE(a_token_that_ends_before_it_begins_is_refused),
        CASE(a_missing_email_is_refused),
        CASE(an_empty_email_is_refused),
        CASE(an_email_that_is_no_string_is_refused),
        CASE(an_unverified_email_is_refused),
        CASE(an_email_not_said_to_be_verified_is_refused),
        CASE(an_email_verified_as_text_is_refused),
        CASE(an_email_verified_as_a_number_is_refused),
        CASE(an_email_twice_is_refused),
        CASE(claims_that_are_no_object_are_refused),
        CASE(claims_that_are_cut_are_refused),
        CASE(claims_in_bad_utf8_are_refused),
        CASE(an_overlong_token_is_refused),
        CASE(a_signature_of_another_rsa_key_is_refused),
        CASE(a_signature_of_another_ec_key_is_refused),
        CASE(an_ec_signature_in_der_is_refused),
        CASE(an_ec_signature_under_an_rsa_kid_is_refused),
        CASE(an_empty_signature_is_refused),
        CASE(a_flip_at_the_signatures_start_is_refused),
        CASE(a_flip_in_the_signatures_middle_is_refused),
        CASE(a_flip_near_the_signatures_end_is_refused),
        CASE(a_shortened_signature_is_refused),
        CASE(a_lengthened_signature_is_refused),
        CASE(an_ec_signature_of_zeros_is_refused),
        CASE(an_ec_signature_with_r_of_zero_is_refused),
        CASE(an_ec_signature_with_a_flip_is_refused),
        CASE(an_ec_signature_one_byte_short_is_refused),
        CASE(claims_of_another_token_under_this_signature_are_refused),
        CASE(a_header_of_another_token_over_this_signature_is_refused),
        CASE(two_parts_are_refused),
        CASE(four_parts_are_refused),
        CASE(five_parts_of_an_encrypted_token_are_refused),
        CASE(a_json_serialization_is_refused),
        CASE(padding_is_refused),
        CASE(the_other_base64_alphabet_is_refused),
        CASE(set_trailing_bits_are_refused),
        CASE(white_space_inside_is_refused),
        CASE(white_space_before_the_token_is_refused),
        CASE(dots_alone_are_refused),
        CASE(no_authorization_is_refused),
        CASE(basic_is_refused),
        CASE(bearer_without_a_token_is_refused),
        CASE(a_token_without_its_scheme_is_refused),
        CASE(a_tab_after_the_scheme_is_refused),
        CASE(every_refusal_has_the_same_body),
        CASE(a_refused_tokens_email_is_audited_as_a_claim),
        CASE(an_unknown_kid_of_a_stale_jwks_is_503),
        CASE(an_unknown_kid_in_the_last_fresh_second_is_401),
        CASE(a_known_kid_of_a_stale_jwks_is_served),
        CASE(a_second_request_costs_no_signature_check),
        CASE(a_kept_verdict_ends_with_its_token),
        CASE(a_kept_verdict_does_not_serve_a_damaged_copy),
        CASE(a_refused_token_is_not_kept),
        CASE(a_new_epoch_judges_a_kept_token_anew),
        CASE(a_verdict_made_anew_is_kept_under_the_new_epoch),
        CASE(a_new_epoch_counts_even_before_the_caches_are_flushed),
        CASE(a_kept_token_ends_with_its_issuer),
        CASE(a_kept_token_ends_with_its_key),
        CASE(a_kept_token_ends_with_its_audience),
        CASE(a_transaction_of_keys_alone_keeps_the_issuers),
        CASE(a_caller_in_other_case_is_somebody_else),
        CASE(a_caller_with_a_trailing_dot_is_somebody_else),
        CASE(a_caller_of_a_subdomain_is_somebody_else),
        CASE(a_caller_with_a_longer_name_is_somebody_else),
        CASE(a_caller_of_another_domain_is_somebody_else),
        CASE(a_caller_with_a_space_is_somebody_else),
        CASE(a_caller_with_a_look_alike_letter_is_somebody_else),
        CASE(a_caller_with_a_nul_is_somebody_else),
        CASE(a_caller_taken_off_the_list_is_denied_on_a_kept_token),
    };
    return RUN_TESTS("ekm_tokens", tests);
}
