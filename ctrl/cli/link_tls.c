/* wwctl from another machine: TLS 1.2 with a client certificate (mbedTLS), one line there, one line back. */
#include "ctrl/cli/wwctl.h"
#include "drivers/crypto/mbedtls/mbed.h"

#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define REPLY_TIMEOUT_S 60

struct tls {
    mbedtls_net_context net;
    mbedtls_ssl_context ssl;
    mbedtls_ssl_config config;
    mbedtls_x509_crt own, ca;
    mbedtls_pk_context key;
    struct mbed_rng *rng;
};

static const int suites[] = {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                             MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 0};

static bool say(int rc, const char *what, const char *which)
{
    char cause[128];

    if (rc == 0)
        return true;
    mbedtls_strerror(rc, cause, sizeof cause);
    fprintf(stderr, "wwctl: %s %s: %s\n", what, which, cause);
    return false;
}

static bool split_address(const char *remote, char host[256], char port[8])
{
    const char *colon = strrchr(remote, ':');
    bool six = remote[0] == '[' && colon != NULL && colon > remote + 1 && colon[-1] == ']';
    size_t len = colon == NULL ? 0 : (size_t)(colon - remote) - (six ? 2 : 0);

    if (colon == NULL || len == 0 || len >= 256 || strlen(colon + 1) == 0 || strlen(colon + 1) > 5) {
        fprintf(stderr, "wwctl: --remote wants HOST:PORT or [ADDRESS]:PORT, not \"%s\"\n", remote);
        return false;
    }
    memcpy(host, remote + (six ? 1 : 0), len);
    host[len] = '\0';
    snprintf(port, 8, "%s", colon + 1);
    return true;
}

static bool load(struct tls *t, const struct remote *r)
{
    if (r->ca == NULL) {
        fprintf(stderr, "wwctl: --remote needs --ca (or $WWCTL_CA): whom to believe that it is ww-ctrl\n");
        return false;
    }
    if (!say(mbedtls_x509_crt_parse_file(&t->ca, r->ca), "cannot take", r->ca))
        return false;
    if (r->cert == NULL)
        return true; /* ww-ctrl says what it thinks of that */
    return say(mbedtls_x509_crt_parse_file(&t->own, r->cert), "cannot take", r->cert) &&
           say(mbedtls_pk_parse_keyfile(&t->key, r->key == NULL ? r->cert : r->key, NULL), "cannot take",
               r->key == NULL ? "the key (--key)" : r->key);
}

static bool configure(struct tls *t, const struct remote *r, const char *name)
{
    mbedtls_ssl_config *c = &t->config;
    int rc = mbedtls_ssl_config_defaults(c, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                         MBEDTLS_SSL_PRESET_DEFAULT);

    if (rc == 0 && r->cert != NULL)
        rc = mbedtls_ssl_conf_own_cert(c, &t->own, &t->key);
    mbedtls_ssl_conf_min_version(c, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(c, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_ciphersuites(c, suites);
    mbedtls_ssl_conf_cert_profile(c, &mbedtls_x509_crt_profile_suiteb);
    mbedtls_ssl_conf_authmode(c, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(c, &t->ca, NULL);
    mbedtls_ssl_conf_rng(c, mbed_rng_callback, t->rng);
    rc = rc != 0 ? rc : mbedtls_ssl_setup(&t->ssl, c);
    rc = rc != 0 ? rc : mbedtls_ssl_set_hostname(&t->ssl, name);
    return say(rc, "no TLS:", name);
}

/* A socket with a time limit does not take up its call again after the process was stopped and went on (signal(7)): that is
 * what WANT_READ says here, where nothing is non-blocking. */
static int receive(void *net, unsigned char *data, size_t cap)
{
    int n;

    do
        n = mbedtls_net_recv(net, data, cap);
    while (n == MBEDTLS_ERR_SSL_WANT_READ);
    return n;
}

static bool connect_to(struct tls *t, const char *host, const char *port, const char *name)
{
    struct timeval limit = {.tv_sec = REPLY_TIMEOUT_S};

    if (!say(mbedtls_net_connect(&t->net, host, port, MBEDTLS_NET_PROTO_TCP), "cannot reach ww-ctrl at",
             host))
        return false;
    (void)setsockopt(t->net.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    mbedtls_ssl_set_bio(&t->ssl, &t->net, mbedtls_net_send, receive, NULL);
    int rc = mbedtls_ssl_handshake(&t->ssl);
    uint32_t flags = mbedtls_ssl_get_verify_result(&t->ssl);
    if (rc == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
        char text[512] = "";

        mbedtls_x509_crt_verify_info(text, sizeof text, "  ", flags);
        fprintf(stderr, "wwctl: this is not ww-ctrl's certificate, or not for %s (--server-name):\n%s", name,
                text);
        return false;
    }
    return say(rc, "no TLS with", host);
}

static bool send_line(struct tls *t, const json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    size_t len = text == NULL ? 0 : strlen(text), sent = 0;

    if (text == NULL)
        return false;
    text[len++] = '\n';
    while (sent < len) {
        int n = mbedtls_ssl_write(&t->ssl, (const unsigned char *)text + sent, len - sent);

        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    free(text);
    return sent == len;
}

static json_t *receive_line(struct tls *t)
{
    size_t cap = 1 << 16, len = 0;
    char *text = malloc(cap);
    json_t *reply = NULL;

    while (text != NULL) {
        int n = mbedtls_ssl_read(&t->ssl, (unsigned char *)text + len, cap - len);

        if (n <= 0)
            break;
        len += (size_t)n;
        if (text[len - 1] == '\n') {
            reply = json_loadb(text, len, 0, NULL);
            break;
        }
        char *more = len < cap ? text : realloc(text, cap *= 2);
        if (more == NULL)
            break;
        text = more;
    }
    free(text);
    return reply;
}

static void tls_free(struct tls *t)
{
    mbedtls_ssl_free(&t->ssl);
    mbedtls_ssl_config_free(&t->config);
    mbedtls_x509_crt_free(&t->own);
    mbedtls_x509_crt_free(&t->ca);
    mbedtls_pk_free(&t->key);
    mbedtls_net_free(&t->net);
    mbed_rng_free(t->rng);
}

json_t *link_tls_call(const struct remote *r, const json_t *request)
{
    struct tls t = {.rng = mbed_rng_new()};
    char host[256], port[8];
    json_t *reply = NULL;

    mbedtls_net_init(&t.net);
    mbedtls_ssl_init(&t.ssl);
    mbedtls_ssl_config_init(&t.config);
    mbedtls_x509_crt_init(&t.own);
    mbedtls_x509_crt_init(&t.ca);
    mbedtls_pk_init(&t.key);
    if (t.rng != NULL && split_address(r->address, host, port)) {
        const char *name = r->server_name == NULL ? host : r->server_name;

        if (load(&t, r) && configure(&t, r, name) && connect_to(&t, host, port, name)) {
            reply = send_line(&t, request) ? receive_line(&t) : NULL;
            if (reply == NULL)
                fprintf(
                    stderr,
                    "wwctl: ww-ctrl at %s ended the connection before it answered\n"
                    "  a change may or may not have been made: look with wwctl status and wwctl key list\n",
                    r->address);
        }
    }
    tls_free(&t);
    return reply;
}
