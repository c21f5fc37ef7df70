#include "ctrl/trust/trust.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/secret_priv.h"
#include "ctrl/lib/file.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- loading ---- */

static const struct trust_issuer *issuer_before(const struct trust *before, const char *iss)
{
    for (uint16_t i = 0; before != NULL && i < before->issuer_count; i++) {
        if (strcmp(before->issuers[i].iss, iss) == 0)
            return &before->issuers[i];
    }
    return NULL;
}

static bool read_jwks(const char *file, struct jwks *out, struct refusal *why)
{
    uint8_t *text = malloc(JWKS_FILE_MAX + 2);
    size_t len;

    CHECK(text != NULL);
    bool ok = file_read(file, text, JWKS_FILE_MAX + 2, &len, why) && jwks_parse(span_of(text, len), out, why);
    free(text);
    return ok;
}

static void load_issuer(const struct config_issuer *c, const struct trust *before, int64_t now,
                        struct trust_issuer *out)
{
    const struct trust_issuer *last = issuer_before(before, c->iss);
    struct refusal why;

    memcpy(out->iss, c->iss, sizeof out->iss);
    if (read_jwks(c->jwks_file, &out->jwks, &why)) {
        out->loaded_unix_s = (uint64_t)now;
    } else {
        log_error("JWKS not taken; the last good set stays", F("issuer", c->iss), F("file", c->jwks_file),
                  F("why", why.text), F("next", why.next));
        snprintf(out->problem, sizeof out->problem, "%.250s", why.text);
        out->jwks.count = 0;
        if (last != NULL) {
            out->jwks = last->jwks;
            out->loaded_unix_s = last->loaded_unix_s;
        }
    }
    out->fresh_s = c->jwks_fresh_s;
}

static bool read_certificate(const struct config *c, int64_t now, struct trust *out, struct refusal *why)
{
    if (!file_read(c->tls.certificate_file, out->chain_pem, sizeof out->chain_pem, &out->chain_len, why) ||
        !file_read(c->tls.key_file, out->key_pem, CERTIFICATE_KEY_MAX, &out->key_len, why))
        return false;
    /* mbedTLS wants the NUL counted; the dataplane gets the PEM without it. */
    return certificate_check(span_of(out->chain_pem, out->chain_len + 1),
                             span_of(out->key_pem, out->key_len + 1), now, &out->certificate, why);
}

static void certificate_from(const struct trust *before, struct trust *out)
{
    out->chain_len = out->key_len = 0;
    out->certificate = (struct certificate_facts){0};
    secret_wipe(out->key_pem, CERTIFICATE_KEY_MAX);
    if (before == NULL)
        return;
    out->chain_len = before->chain_len;
    out->key_len = before->key_len;
    out->certificate = before->certificate;
    memcpy(out->chain_pem, before->chain_pem, before->chain_len);
    memcpy(out->key_pem, before->key_pem, before->key_len);
}

static void load_certificate(const struct config *c, const struct trust *before, int64_t now,
                             struct trust *out)
{
    struct refusal why;

    if (read_certificate(c, now, out, &why))
        return;
    log_error("certificate not taken; the last good one stays", F("file", c->tls.certificate_file),
              F("why", why.text), F("next", why.next));
    snprintf(out->certificate_problem, sizeof out->certificate_problem, "%.500s", why.text);
    certificate_from(before, out);
}

/* Each part is bound to all before it, lengths and all. */
static void digest_add(uint8_t digest[MBED_DIGEST_LEN], struct span part)
{
    uint8_t both[2 * MBED_DIGEST_LEN];

    memcpy(both, digest, MBED_DIGEST_LEN);
    mbed_sha256(part, both + MBED_DIGEST_LEN);
    mbed_sha256(span_of(both, sizeof both), digest);
}

static void digest_all(struct trust *t)
{
    memset(t->digest, 0, sizeof t->digest);
    digest_add(t->digest, span_of(&t->issuer_count, sizeof t->issuer_count));
    for (uint16_t i = 0; i < t->issuer_count; i++) {
        const struct trust_issuer *issuer = &t->issuers[i];

        digest_add(t->digest, span_str(issuer->iss));
        digest_add(t->digest, span_of(&issuer->fresh_s, sizeof issuer->fresh_s));
        digest_add(t->digest, span_of(issuer->jwks.keys, issuer->jwks.count * sizeof issuer->jwks.keys[0]));
    }
    for (uint16_t i = 0; i < t->audience_count; i++)
        digest_add(t->digest, span_str(t->audiences[i]));
    digest_add(t->digest, span_of(t->chain_pem, t->chain_len));
    digest_add(t->digest, span_of(t->key_pem, t->key_len));
}

const struct trust *trust_load(const struct config *c, const struct trust *before, int64_t now)
{
    struct trust *t = calloc(1, sizeof *t);

    CHECK(t != NULL);
    t->refs = 1;
    t->key_pem = secret_pages_alloc(CERTIFICATE_KEY_MAX);
    CHECK(t->key_pem != NULL);
    t->issuer_count = c->auth.issuer_count;
    for (uint16_t i = 0; i < t->issuer_count; i++)
        load_issuer(&c->auth.issuers[i], before, now, &t->issuers[i]);
    t->audience_count = c->auth.audience_count;
    memcpy(t->audiences, c->auth.audiences, sizeof t->audiences);
    load_certificate(c, before, now, t);
    digest_all(t);
    return t;
}

const struct trust *trust_ref(const struct trust *t)
{
    ((struct trust *)(uintptr_t)t)->refs++;
    return t;
}

void trust_unref(const struct trust *t)
{
    struct trust *m = (struct trust *)(uintptr_t)t;

    if (m == NULL || --m->refs != 0)
        return;
    secret_pages_free(m->key_pem, CERTIFICATE_KEY_MAX);
    free(m);
}

/* ---- as ctl records ---- */

uint32_t trust_record_count(const struct trust *t)
{
    uint32_t n = (uint32_t)t->issuer_count + t->audience_count + (t->chain_len != 0 ? 1 : 0);

    for (uint16_t i = 0; i < t->issuer_count; i++)
        n += t->issuers[i].jwks.count;
    return n;
}

static void write_issuer(const struct trust_issuer *issuer, struct writer *w, uint16_t shard, uint64_t epoch)
{
    struct ctl_issuer m = {span_str(issuer->iss), issuer->loaded_unix_s, issuer->fresh_s};

    ctl_write_issuer(w, shard, epoch, &m);
}

static void write_jwk(const struct jwk *k, struct writer *w, uint16_t shard, uint64_t epoch)
{
    struct ctl_jwk m = {k->alg, span_of(k->kid, k->kid_len), span_of(k->a, k->a_len),
                        span_of(k->b, k->b_len)};

    ctl_write_jwk(w, shard, epoch, &m);
}

void trust_write_record(const struct trust *t, uint32_t i, struct writer *w, uint16_t shard, uint64_t epoch)
{
    for (uint16_t n = 0; n < t->issuer_count; n++) {
        const struct trust_issuer *issuer = &t->issuers[n];

        if (i == 0) {
            write_issuer(issuer, w, shard, epoch);
            return;
        }
        i--;
        if (i < issuer->jwks.count) {
            write_jwk(&issuer->jwks.keys[i], w, shard, epoch);
            return;
        }
        i -= issuer->jwks.count;
    }
    if (i < t->audience_count) {
        struct ctl_audience m = {span_str(t->audiences[i])};

        ctl_write_audience(w, shard, epoch, &m);
        return;
    }
    CHECK(i == t->audience_count && t->chain_len != 0);
    struct ctl_certificate m = {span_of(t->chain_pem, t->chain_len), secret_of(t->key_pem, t->key_len)};
    ctl_write_certificate(w, shard, epoch, &m);
}

uint32_t trust_refresh_s(const struct trust *t)
{
    uint32_t least = 0;

    for (uint16_t i = 0; i < t->issuer_count; i++) {
        if (least == 0 || t->issuers[i].fresh_s / 2 < least)
            least = t->issuers[i].fresh_s / 2;
    }
    return t->issuer_count == 0 ? 0 : least < 30 ? 30 : least;
}
