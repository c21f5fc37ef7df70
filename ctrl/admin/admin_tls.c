#include "ctrl/admin/admin_tls.h"

#include "base/check.h"
#include "base/secret.h"

#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/ssl.h>

#include <stdio.h>
#include <stdlib.h>

#define IN_CAP (MBEDTLS_SSL_IN_CONTENT_LEN + 512)

struct admin_tls {
    unsigned refs;
    mbedtls_ssl_config config;
    mbedtls_x509_crt chain, authority;
    mbedtls_pk_context key;
};

struct admin_session {
    struct admin_tls *tls;
    mbedtls_ssl_context ssl;
    bool shaken;
    size_t in_len, in_at;
    char *out;
    size_t out_len, out_cap;
    uint8_t in[IN_CAP];
};

static const int suites[] = {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                             MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 0};
static const mbedtls_ecp_group_id curves[] = {MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_SECP384R1,
                                              MBEDTLS_ECP_DP_NONE};
static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_SHA384, MBEDTLS_MD_NONE};

/* ---- what all sessions share ---- */

static bool file_problem(int rc, const char *file, const char *what, struct refusal *why)
{
    char cause[128];

    if (rc == 0)
        return true;
    mbedtls_strerror(rc, cause, sizeof cause);
    return refuse(why, "bad_admin_certificate", "see docs/OPERATIONS.md, \"From another machine\"",
                  "admin.%s: %s: %s", what, file, rc > 0 ? "a part of it is damaged" : cause);
}

static bool load(struct admin_tls *t, const char *certificate_file, const char *key_file,
                 const char *client_ca_file, struct refusal *why)
{
    if (!file_problem(mbedtls_x509_crt_parse_file(&t->chain, certificate_file), certificate_file,
                      "certificate_file", why) ||
        !file_problem(mbedtls_pk_parse_keyfile(&t->key, key_file, NULL), key_file, "key_file", why) ||
        !file_problem(mbedtls_x509_crt_parse_file(&t->authority, client_ca_file), client_ca_file,
                      "client_ca_file", why))
        return false;
    if (!mbedtls_pk_can_do(&t->key, MBEDTLS_PK_ECDSA) || mbedtls_pk_check_pair(&t->chain.pk, &t->key) != 0)
        return refuse(why, "bad_admin_certificate",
                      "make an EC key: openssl ecparam -name prime256v1 -genkey",
                      "admin.key_file: it must be the ECDSA key of admin.certificate_file");
    return true;
}

static bool configure(struct admin_tls *t, struct mbed_rng *rng)
{
    mbedtls_ssl_config *c = &t->config;

    if (mbedtls_ssl_config_defaults(c, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0 ||
        mbedtls_ssl_conf_own_cert(c, &t->chain, &t->key) != 0)
        return false;
    mbedtls_ssl_conf_min_version(c, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(c, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_ciphersuites(c, suites);
    mbedtls_ssl_conf_curves(c, curves);
    mbedtls_ssl_conf_sig_hashes(c, hashes);
    mbedtls_ssl_conf_cert_profile(c, &mbedtls_x509_crt_profile_suiteb);
    mbedtls_ssl_conf_rng(c, mbed_rng_callback, rng);
    mbedtls_ssl_conf_ca_chain(c, &t->authority, NULL);
    mbedtls_ssl_conf_authmode(c, MBEDTLS_SSL_VERIFY_OPTIONAL); /* judged by admin_session_client */
    return true;
}

struct admin_tls *admin_tls_open(const char *certificate_file, const char *key_file,
                                 const char *client_ca_file, struct mbed_rng *rng, struct refusal *why)
{
    struct admin_tls *t = calloc(1, sizeof *t);

    CHECK(t != NULL);
    t->refs = 1;
    mbedtls_ssl_config_init(&t->config);
    mbedtls_x509_crt_init(&t->chain);
    mbedtls_x509_crt_init(&t->authority);
    mbedtls_pk_init(&t->key);
    bool ok = load(t, certificate_file, key_file, client_ca_file, why) &&
              (configure(t, rng) || refuse(why, "no_memory", "", "out of memory for TLS"));
    if (ok)
        return t;
    admin_tls_unref(t);
    return NULL;
}

struct admin_tls *admin_tls_ref(struct admin_tls *t)
{
    t->refs++;
    return t;
}

void admin_tls_unref(struct admin_tls *t)
{
    if (t == NULL || --t->refs != 0)
        return;
    mbedtls_ssl_config_free(&t->config);
    mbedtls_x509_crt_free(&t->chain);
    mbedtls_x509_crt_free(&t->authority);
    mbedtls_pk_free(&t->key);
    free(t);
}

/* ---- one session ---- */

static int take(void *ctx, unsigned char *out, size_t len)
{
    struct admin_session *s = ctx;
    size_t there = s->in_len - s->in_at, n = there < len ? there : len;

    if (n == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(out, s->in + s->in_at, n);
    s->in_at += n;
    if (s->in_at == s->in_len)
        s->in_at = s->in_len = 0;
    return (int)n;
}

static int give(void *ctx, const unsigned char *p, size_t len)
{
    struct admin_session *s = ctx;

    if (s->out_len + len > s->out_cap) {
        size_t cap = 2 * (s->out_len + len);
        char *more = realloc(s->out, cap);

        CHECK(more != NULL);
        s->out = more;
        s->out_cap = cap;
    }
    memcpy(s->out + s->out_len, p, len);
    s->out_len += len;
    return (int)len;
}

struct admin_session *admin_session_new(struct admin_tls *t)
{
    struct admin_session *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->tls = admin_tls_ref(t);
    mbedtls_ssl_init(&s->ssl);
    if (mbedtls_ssl_setup(&s->ssl, &t->config) != 0) {
        admin_session_free(s);
        return NULL;
    }
    mbedtls_ssl_set_bio(&s->ssl, s, give, take, NULL);
    return s;
}

void admin_session_free(struct admin_session *s)
{
    if (s == NULL)
        return;
    mbedtls_ssl_free(&s->ssl);
    admin_tls_unref(s->tls);
    free(s->out);
    free(s);
}

uint8_t *admin_session_room(struct admin_session *s, size_t *len)
{
    if (s->in_at != 0) {
        memmove(s->in, s->in + s->in_at, s->in_len - s->in_at);
        s->in_len -= s->in_at;
        s->in_at = 0;
    }
    *len = IN_CAP - s->in_len;
    return s->in + s->in_len;
}

void admin_session_received(struct admin_session *s, size_t len)
{
    CHECK(len <= IN_CAP - s->in_len);
    s->in_len += len;
}

enum admin_session_status admin_session_read(struct admin_session *s, uint8_t *out, size_t cap, size_t *len)
{
    if (!s->shaken) {
        int rc = mbedtls_ssl_handshake(&s->ssl);

        if (rc == MBEDTLS_ERR_SSL_WANT_READ)
            return ADMIN_SESSION_MORE;
        if (rc != 0)
            return ADMIN_SESSION_DEAD;
        s->shaken = true;
    }
    int n = mbedtls_ssl_read(&s->ssl, out, cap);
    if (n == MBEDTLS_ERR_SSL_WANT_READ)
        return ADMIN_SESSION_MORE;
    if (n <= 0)
        return ADMIN_SESSION_DEAD;
    *len = (size_t)n;
    return ADMIN_SESSION_DATA;
}

bool admin_session_shaken(const struct admin_session *s)
{
    return s->shaken;
}

bool admin_session_write(struct admin_session *s, struct span text)
{
    while (text.len > 0) {
        int n = mbedtls_ssl_write(&s->ssl, text.ptr, text.len);

        if (n <= 0)
            return false;
        text = span_from(text, (size_t)n);
    }
    return true;
}

char *admin_session_take(struct admin_session *s, size_t *len)
{
    char *out = s->out;

    *len = s->out_len;
    if (*len == 0)
        return NULL;
    s->out = NULL;
    s->out_len = s->out_cap = 0;
    return out;
}

/* ---- who it is ---- */

static bool common_name(const mbedtls_x509_crt *leaf, char name[64])
{
    const mbedtls_x509_name *found = NULL;

    for (const mbedtls_x509_name *n = &leaf->subject; n != NULL; n = n->next) {
        if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &n->oid) != 0)
            continue;
        if (found != NULL)
            return false; /* two: which of them was meant? */
        found = n;
    }
    if (found == NULL || found->val.len == 0 || found->val.len >= 64)
        return false;
    for (size_t i = 0; i < found->val.len; i++) {
        if (found->val.p[i] < 0x20 || found->val.p[i] > 0x7e)
            return false;
        name[i] = (char)found->val.p[i];
    }
    name[found->val.len] = '\0';
    return true;
}

enum admin_client admin_session_client(const struct admin_session *s, char name[64], struct refusal *why)
{
    const mbedtls_x509_crt *leaf = mbedtls_ssl_get_peer_cert(&s->ssl);
    uint32_t flags = mbedtls_ssl_get_verify_result(&s->ssl);
    char text[256] = "";

    name[0] = '\0';
    if (leaf == NULL) {
        refuse(why, "no_certificate", "give --cert and --key", "no client certificate was shown");
        return CLIENT_NONE;
    }
    if ((flags & (MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE)) != 0) {
        refuse(why, "certificate_expired", "renew it, or set the clock",
               "the client certificate is not valid now: %04d-%02d-%02d to %04d-%02d-%02d",
               leaf->valid_from.year, leaf->valid_from.mon, leaf->valid_from.day, leaf->valid_to.year,
               leaf->valid_to.mon, leaf->valid_to.day);
        return CLIENT_EXPIRED;
    }
    if (flags == 0 && common_name(leaf, name))
        return CLIENT_GOOD;
    if (flags != 0)
        mbedtls_x509_crt_verify_info(text, sizeof text, "", flags);
    for (char *at = text; *at != '\0'; at++)
        *at = *at < 0x20 ? ' ' : *at;
    refuse(why, "certificate_untrusted",
           "it must be issued by admin.client_ca_file, for client authentication, with an EC key and one CN",
           "the client certificate is not accepted: %s", flags == 0 ? "no usable CN" : text);
    return CLIENT_UNTRUSTED;
}
