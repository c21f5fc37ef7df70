#include "ctrl/trust/dev_issuer.h"

#include "base/check.h"
#include "base/secret.h"
#include "ctrl/lib/file.h"
#include "proto/base64.h"

#include <limits.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>
#include <stdio.h>
#include <stdlib.h>

#define PEM_CAP   8192
#define RSA_BITS  2048
#define TOKEN_CAP 8192

struct signer {
    mbedtls_pk_context pk;
    char kid[33];
};

struct dev_issuer {
    struct mbed_rng *rng;
    struct signer rsa, ec;
};

/* ---- keys ---- */

static bool make_rsa(struct dev_issuer *d, mbedtls_pk_context *pk)
{
    return mbedtls_pk_setup(pk, mbedtls_pk_info_from_type(MBEDTLS_PK_RSA)) == 0 &&
           mbedtls_rsa_gen_key(mbedtls_pk_rsa(*pk), mbed_rng_callback, d->rng, RSA_BITS, 65537) == 0;
}

static bool make_ec(struct dev_issuer *d, mbedtls_pk_context *pk)
{
    return mbedtls_pk_setup(pk, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) == 0 &&
           mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*pk), mbed_rng_callback, d->rng) == 0;
}

static bool key_load_or_make(struct dev_issuer *d, struct signer *s, const char *file, uint8_t *pem,
                             bool (*make)(struct dev_issuer *, mbedtls_pk_context *), struct refusal *why)
{
    size_t len;

    if (file_exists(file)) {
        if (!file_read(file, pem, PEM_CAP, &len, why))
            return false;
        return mbedtls_pk_parse_key(&s->pk, pem, len + 1, NULL, 0) == 0 ||
               refuse(why, "bad_key", "remove the file: a new key is made then", "%s is not a private key",
                      file);
    }
    if (!make(d, &s->pk) || mbedtls_pk_write_key_pem(&s->pk, pem, PEM_CAP) != 0)
        return refuse(why, "bad_key", "try again", "no key could be made for the development issuer");
    return file_write(file, span_str((char *)pem), why);
}

/* The kid is a digest of the public key: the same key has the same name at every start. */
static void name_key(struct signer *s)
{
    uint8_t der[1024], digest[MBED_DIGEST_LEN];
    int len = mbedtls_pk_write_pubkey_der(&s->pk, der, sizeof der);

    CHECK(len > 0);
    mbed_sha256(span_of(der + sizeof der - (size_t)len, (size_t)len), digest);
    for (size_t i = 0; i < 16; i++)
        snprintf(s->kid + 2 * i, 3, "%02x", digest[i]);
}

/* ---- base64url ---- */

/* A malloc'd string, RFC 7515 2. */
static char *base64url(struct span in)
{
    char *out = malloc(BASE64_ENCODED_LEN(in.len) + 1);

    CHECK(out != NULL);
    size_t len = base64_encode(in, (uint8_t *)out);
    while (len > 0 && out[len - 1] == '=')
        len--;
    out[len] = '\0';
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i]);
    return out;
}

static json_t *mpi_text(const mbedtls_mpi *m, size_t len)
{
    uint8_t bytes[RSA_BITS / 8];

    CHECK(len <= sizeof bytes && mbedtls_mpi_write_binary(m, bytes, len) == 0);
    char *text = base64url(span_of(bytes, len));
    json_t *j = json_string(text);
    free(text);
    return j;
}

/* ---- the JWKS file ---- */

static json_t *rsa_jwk(const struct signer *s)
{
    const mbedtls_rsa_context *rsa = mbedtls_pk_rsa(s->pk);

    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "kty", "RSA", "use", "sig", "alg", "RS256", "kid",
                     s->kid, "n", mpi_text(&rsa->N, mbedtls_mpi_size(&rsa->N)), "e",
                     mpi_text(&rsa->E, mbedtls_mpi_size(&rsa->E)));
}

static json_t *ec_jwk(const struct signer *s)
{
    const mbedtls_ecp_keypair *ec = mbedtls_pk_ec(s->pk);

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "kty", "EC", "crv", "P-256", "use", "sig", "alg",
                     "ES256", "kid", s->kid, "x", mpi_text(&ec->Q.X, 32), "y", mpi_text(&ec->Q.Y, 32));
}

static bool write_jwks(const struct dev_issuer *d, const char *file, struct refusal *why)
{
    json_t *set = json_pack("{s:[o, o]}", "keys", rsa_jwk(&d->rsa), ec_jwk(&d->ec));
    char *text = json_dumps(set, JSON_INDENT(1));

    CHECK(text != NULL);
    bool ok = file_write(file, span_str(text), why);
    free(text);
    json_decref(set);
    return ok;
}

static bool open_keys(struct dev_issuer *d, const char *state_dir, struct refusal *why)
{
    char rsa_file[PATH_MAX], ec_file[PATH_MAX];
    uint8_t *pem = secret_pages_alloc(PEM_CAP);

    if (pem == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl",
                      "no locked memory for a private key");
    snprintf(rsa_file, sizeof rsa_file, "%s/dev-issuer-rs256.key", state_dir);
    snprintf(ec_file, sizeof ec_file, "%s/dev-issuer-es256.key", state_dir);
    bool ok = key_load_or_make(d, &d->rsa, rsa_file, pem, make_rsa, why) &&
              key_load_or_make(d, &d->ec, ec_file, pem, make_ec, why);
    secret_pages_free(pem, PEM_CAP);
    if (ok &&
        (!mbedtls_pk_can_do(&d->rsa.pk, MBEDTLS_PK_RSA) || !mbedtls_pk_can_do(&d->ec.pk, MBEDTLS_PK_ECDSA)))
        return refuse(why, "bad_key", "remove the files: new keys are made then",
                      "%s and %s must be an RSA and a P-256 key", rsa_file, ec_file);
    return ok;
}

struct dev_issuer *dev_issuer_open(const char *state_dir, const char *jwks_file, struct mbed_rng *rng,
                                   struct refusal *why)
{
    struct dev_issuer *d = calloc(1, sizeof *d);

    CHECK(d != NULL);
    d->rng = rng;
    mbedtls_pk_init(&d->rsa.pk);
    mbedtls_pk_init(&d->ec.pk);
    if (!open_keys(d, state_dir, why)) {
        dev_issuer_close(d);
        return NULL;
    }
    name_key(&d->rsa);
    name_key(&d->ec);
    if (!write_jwks(d, jwks_file, why)) {
        dev_issuer_close(d);
        return NULL;
    }
    return d;
}

void dev_issuer_close(struct dev_issuer *d)
{
    if (d == NULL)
        return;
    mbedtls_pk_free(&d->rsa.pk);
    mbedtls_pk_free(&d->ec.pk);
    free(d);
}

/* ---- minting ---- */

static json_t *claims_of(const struct dev_token *t)
{
    const char *name;
    json_t *value;
    json_t *c = json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I}", "iss", DEV_ISSUER_NAME, "sub", t->email,
                          "aud", t->audience, "email", t->email, "email_verified", 1, "iat",
                          (json_int_t)t->now_unix_s, "exp", (json_int_t)(t->now_unix_s + t->expires_s));

    json_object_foreach((json_t *)(uintptr_t)t->claims, name, value)
    {
        if (json_is_null(value))
            json_object_del(c, name);
        else
            json_object_set(c, name, value);
    }
    return c;
}

static char *json_base64url(json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT);

    CHECK(text != NULL);
    char *out = base64url(span_str(text));
    free(text);
    json_decref(j);
    return out;
}

/* JWS wants r and s side by side (RFC 7518 3.4). */
static bool sign_ec(struct dev_issuer *d, const uint8_t hash[MBED_DIGEST_LEN], uint8_t out[64])
{
    mbedtls_ecp_keypair *ec = mbedtls_pk_ec(d->ec.pk);
    mbedtls_mpi r, s;

    mbedtls_mpi_init(&r);
    mbedtls_mpi_init(&s);
    bool ok =
        mbedtls_ecdsa_sign(&ec->grp, &r, &s, &ec->d, hash, MBED_DIGEST_LEN, mbed_rng_callback, d->rng) == 0 &&
        mbedtls_mpi_write_binary(&r, out, 32) == 0 && mbedtls_mpi_write_binary(&s, out + 32, 32) == 0;
    mbedtls_mpi_free(&r);
    mbedtls_mpi_free(&s);
    return ok;
}

static bool sign(struct dev_issuer *d, bool es256, struct span text, uint8_t *out, size_t *len)
{
    uint8_t hash[MBED_DIGEST_LEN];

    mbed_sha256(text, hash);
    if (es256) {
        *len = 64;
        return sign_ec(d, hash, out);
    }
    return mbedtls_pk_sign(&d->rsa.pk, MBEDTLS_MD_SHA256, hash, sizeof hash, out, len, mbed_rng_callback,
                           d->rng) == 0;
}

char *dev_issuer_mint(struct dev_issuer *d, const struct dev_token *t, struct refusal *why)
{
    const struct signer *s = t->es256 ? &d->ec : &d->rsa;
    uint8_t signature[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
    size_t signature_len = 0;
    char *token = malloc(TOKEN_CAP);

    CHECK(token != NULL);
    char *header = json_base64url(
        json_pack("{s:s, s:s, s:s}", "alg", t->es256 ? "ES256" : "RS256", "kid", s->kid, "typ", "JWT"));
    char *claims = json_base64url(claims_of(t));
    int len = snprintf(token, TOKEN_CAP, "%s.%s", header, claims);
    bool ok =
        len > 0 && len < TOKEN_CAP - 512 && sign(d, t->es256, span_str(token), signature, &signature_len);
    if (ok) {
        char *tail = base64url(span_of(signature, signature_len));

        snprintf(token + len, TOKEN_CAP - (size_t)len, ".%s", tail);
        free(tail);
    }
    free(header);
    free(claims);
    if (!ok) {
        free(token);
        refuse(why, "bad_token", "use fewer or shorter claims",
               "the token could not be made: too long, or not signed");
        return NULL;
    }
    return token;
}
