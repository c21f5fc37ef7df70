#include "ctrl/trust/certificate.h"

#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>

#include <stdio.h>
#include <time.h>

static int64_t unix_of(const mbedtls_x509_time *t)
{
    struct tm tm = {.tm_year = t->year - 1900,
                    .tm_mon = t->mon - 1,
                    .tm_mday = t->day,
                    .tm_hour = t->hour,
                    .tm_min = t->min,
                    .tm_sec = t->sec};

    return (int64_t)timegm(&tm);
}

static void time_text(const mbedtls_x509_time *t, char out[24])
{
    int64_t s = unix_of(t);
    time_t when = (time_t)s;
    struct tm tm;

    gmtime_r(&when, &tm);
    strftime(out, 24, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void collect_names(const mbedtls_x509_crt *crt, char *out, size_t cap)
{
    size_t len = 0;

    out[0] = '\0';
    for (const mbedtls_x509_sequence *s = &crt->subject_alt_names; s != NULL; s = s->next) {
        if (s->buf.p == NULL || s->buf.tag != (MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_X509_SAN_DNS_NAME))
            continue;
        int n =
            snprintf(out + len, cap - len, "%s%.*s", len == 0 ? "" : ",", (int)s->buf.len, (char *)s->buf.p);
        if (n < 0 || (size_t)n >= cap - len)
            return;
        len += (size_t)n;
    }
}

static void make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
    }
}

static void take_facts(const mbedtls_x509_crt *leaf, struct certificate_facts *out)
{
    uint8_t digest[MBED_DIGEST_LEN];

    if (mbedtls_x509_dn_gets(out->subject, sizeof out->subject, &leaf->subject) < 0)
        out->subject[0] = '\0';
    collect_names(leaf, out->names, sizeof out->names);
    make_printable(out->subject);
    make_printable(out->names);
    snprintf(out->key, sizeof out->key, "%s %zu", mbedtls_pk_get_name(&leaf->pk),
             mbedtls_pk_get_bitlen(&leaf->pk));
    time_text(&leaf->valid_from, out->not_before);
    time_text(&leaf->valid_to, out->not_after);
    out->not_after_unix_s = unix_of(&leaf->valid_to);
    mbed_sha256(span_of(leaf->raw.p, leaf->raw.len), digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out->sha256 + 2 * i, 3, "%02x", digest[i]);
    out->chain_count = 0;
    for (const mbedtls_x509_crt *c = leaf; c != NULL; c = c->next)
        out->chain_count++;
}

static bool check_parsed(const mbedtls_x509_crt *chain, const mbedtls_pk_context *key, int64_t now,
                         struct certificate_facts *out, struct refusal *why)
{
    take_facts(chain, out);
    if (mbedtls_pk_check_pair(&chain->pk, key) != 0)
        return refuse(why, "bad_certificate",
                      "put the private key of the first certificate into tls.key_file",
                      "the private key does not belong to the certificate");
    if (out->not_after_unix_s <= now)
        return refuse(why, "bad_certificate", "renew the certificate and run wwctl reload",
                      "the certificate expired at %s", out->not_after);
    return true;
}

bool certificate_check(struct span chain_pem, struct span key_pem, int64_t now, struct certificate_facts *out,
                       struct refusal *why)
{
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
    char cause[128];
    bool ok = false;

    mbedtls_x509_crt_init(&chain);
    mbedtls_pk_init(&key);
    int rc = mbedtls_x509_crt_parse(&chain, chain_pem.ptr, chain_pem.len);
    int key_rc = mbedtls_pk_parse_key(&key, key_pem.ptr, key_pem.len, NULL, 0);
    mbedtls_strerror(rc != 0 ? rc : key_rc, cause, sizeof cause);
    if (rc != 0)
        refuse(why, "bad_certificate", "tls.certificate_file must hold the chain as PEM, leaf first",
               "the certificate does not parse: %s", rc > 0 ? "one of its parts is damaged" : cause);
    else if (key_rc != 0)
        refuse(why, "bad_certificate", "tls.key_file must hold one unencrypted private key as PEM",
               "the private key does not parse: %s", cause);
    else
        ok = check_parsed(&chain, &key, now, out, why);
    mbedtls_pk_free(&key);
    mbedtls_x509_crt_free(&chain);
    return ok;
}
