#include "ctrl/fetch/sigv4.h"

#include "base/check.h"
#include "base/secret.h"

#include <mbedtls/md.h>
#include <mbedtls/sha256.h>
#include <stdarg.h>
#include <stdio.h>

#define HASH_LEN      32
#define CANONICAL_CAP 4096
#define SECRET_MAX    256

/* Text that grows; once it did not fit, it never does. */
struct text {
    char *at;
    size_t len, cap;
    bool full;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int n = vsnprintf(t->at + t->len, t->cap - t->len, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= t->cap - t->len)
        t->full = true;
    else
        t->len += (size_t)n;
}

void sigv4_hex(const uint8_t *p, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", p[i]);
}

void sigv4_sha256_hex(struct span data, char out[SIGV4_HEX_LEN])
{
    uint8_t hash[HASH_LEN];

    CHECK(mbedtls_sha256_ret(data.ptr, data.len, hash, 0) == 0);
    sigv4_hex(hash, sizeof hash, out);
}

void sigv4_encode(const char *text, bool slash_too, char *out)
{
    for (; *text != '\0'; text++) {
        char ch = *text;

        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '-' ||
            ch == '.' || ch == '_' || ch == '~' || (ch == '/' && !slash_too))
            *out++ = ch;
        else
            out += snprintf(out, 4, "%%%02X", (uint8_t)ch);
    }
    *out = '\0';
}

static void hmac(const uint8_t *key, size_t key_len, const char *data, uint8_t out[HASH_LEN])
{
    const mbedtls_md_info_t *sha = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);

    CHECK(mbedtls_md_hmac(sha, key, key_len, (const uint8_t *)data, strlen(data), out) == 0);
}

static void signed_headers(const struct sigv4_request *r, struct text *t)
{
    for (size_t i = 0; i < r->header_count; i++)
        add(t, "%s%s", i == 0 ? "" : ";", r->headers[i].name);
}

static void scope(const struct sigv4_request *r, struct text *t)
{
    add(t, "%.8s/%s/%s/aws4_request", r->date, r->region, r->service);
}

static bool canonical_hash(const struct sigv4_request *r, char out[SIGV4_HEX_LEN])
{
    char room[CANONICAL_CAP];
    struct text t = {room, 0, sizeof room, false};

    add(&t, "%s\n%s\n%s\n", r->method, r->path, r->query);
    for (size_t i = 0; i < r->header_count; i++)
        add(&t, "%s:%s\n", r->headers[i].name, r->headers[i].value);
    add(&t, "\n");
    signed_headers(r, &t);
    add(&t, "\n%s", r->payload_sha256);
    sigv4_sha256_hex(span_of(room, t.len), out);
    return !t.full;
}

static bool signature(const struct sigv4_request *r, const char *to_sign, char out[SIGV4_HEX_LEN])
{
    char first[SECRET_MAX + 5], day[9];
    uint8_t key[HASH_LEN];

    if (strlen(r->secret) >= SECRET_MAX)
        return false;
    snprintf(first, sizeof first, "AWS4%s", r->secret);
    snprintf(day, sizeof day, "%.8s", r->date);
    hmac((const uint8_t *)first, strlen(first), day, key);
    hmac(key, sizeof key, r->region, key);
    hmac(key, sizeof key, r->service, key);
    hmac(key, sizeof key, "aws4_request", key);
    hmac(key, sizeof key, to_sign, key);
    sigv4_hex(key, sizeof key, out);
    secret_wipe(first, sizeof first);
    return true;
}

bool sigv4_authorization(const struct sigv4_request *r, char out[SIGV4_AUTH_CAP])
{
    char room[512], hex[SIGV4_HEX_LEN];
    struct text to_sign = {room, 0, sizeof room, false}, auth = {out, 0, SIGV4_AUTH_CAP, false};

    CHECK(r->header_count <= SIGV4_HEADERS_MAX);
    if (!canonical_hash(r, hex))
        return false;
    add(&to_sign, "AWS4-HMAC-SHA256\n%s\n", r->date);
    scope(r, &to_sign);
    add(&to_sign, "\n%s", hex);
    if (to_sign.full || !signature(r, room, hex))
        return false;
    add(&auth, "AWS4-HMAC-SHA256 Credential=%s/", r->key_id);
    scope(r, &auth);
    add(&auth, ", SignedHeaders=");
    signed_headers(r, &auth);
    add(&auth, ", Signature=%s", hex);
    return !auth.full;
}
