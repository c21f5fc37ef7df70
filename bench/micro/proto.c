/* proto: one request's text, as Cloud KMS sends it, and one reply's. */
#include "base/check.h"
#include "base/secret_priv.h"
#include "bench/micro/micro.h"
#include "proto/base64.h"
#include "proto/http.h"
#include "proto/json.h"
#include "proto/jwt.h"

#include <stdio.h>
#include <string.h>

static char head[4096], token[2048];
static uint8_t bytes[1024], text[2048], scratch[4096];
static size_t text_len[2];
static const char body[] =
    "{\"plaintext\":\"aGVsbG9oZWxsb2hlbGxvaGVsbG9oZWxsb2hlbGxv\",\"additionalAuthenticatedData\":"
    "\"cmVzb3VyY2U=\","
    "\"additionalContext\":{\"accessReasonContext\":{\"reason\":\"CUSTOMER_INITIATED_ACCESS\"}}}";

static void head_once(void *arg)
{
    struct http_request rq;
    enum reason why;
    (void)arg;

    CHECK(http_parse_head(span_str(head), &rq, &why) == HTTP_OK);
    micro_keep(rq.content_length);
}

static void reply_once(void *arg)
{
    static const struct http_reply_head h = {.status = 200, .content_length = 100, .date = {NULL, 0}};
    struct buf out = {text, 0, sizeof text};
    (void)arg;

    CHECK(http_write_head(&out, &h));
    micro_keep(out.len);
}

static void json_once(void *arg)
{
    struct json_reader r;
    enum json_token t;
    (void)arg;

    json_init(&r, span_str(body));
    do
        t = json_next(&r);
    while (t != JSON_END && t != JSON_ERROR);
    CHECK(t == JSON_END);
}

static void encode_once(void *arg)
{
    micro_keep(base64_encode(span_of(bytes, *(size_t *)arg), text));
}

static void decode_once(void *arg)
{
    size_t len;

    CHECK(base64_decode(span_of(scratch, *(size_t *)arg), text, &len));
    micro_keep(len);
}

static void jwt_once(void *arg)
{
    static uint8_t room[4096];
    enum reason why;
    struct jwt out;
    (void)arg;

    CHECK(jwt_parse(secret_of(token, strlen(token)), room, &out, &why));
    micro_keep((uint64_t)out.exp);
}

static void url_part(char *out, const char *plain)
{
    size_t n = base64_encode(span_str(plain), (uint8_t *)out);

    while (n > 0 && out[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++)
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    out[n] = 0;
}

/* Its signature is any: parsing does not look. */
static void token_make(void)
{
    char claims[1024], pad[320];

    memset(pad, 'x', sizeof pad - 1);
    pad[sizeof pad - 1] = 0;
    snprintf(claims, sizeof claims,
             "{\"iss\":\"https://accounts.google.com\",\"aud\":\"https://"
             "ekm.wirewrap.test\",\"sub\":\"1\",\"email\":"
             "\"service-1@gcp-sa-ekms.iam.gserviceaccount.com\",\"email_verified\":true,\"iat\":1800000000,"
             "\"exp\":1800003600,"
             "\"pad\":\"%s\"}",
             pad);
    url_part(token, "{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}");
    strcat(token, ".");
    url_part(token + strlen(token), claims);
    strcat(token, ".");
    memset(token + strlen(token), 'A', 342); /* 256 bytes */
}

int main(int argc, char **argv)
{
    static size_t short_len = 110, long_len = 1024;
    struct micro list[] = {
        {"http: head with a token of 970 bytes", head_once, NULL, NULL},
        {"http: head of a reply", reply_once, NULL, NULL},
        {"json: a wrap's body", json_once, NULL, NULL},
        {"base64: encode 110 bytes", encode_once, NULL, &short_len},
        {"base64: encode 1024 bytes", encode_once, NULL, &long_len},
        {"base64: decode to 110 bytes", decode_once, NULL, &text_len[0]},
        {"base64: decode to 1024 bytes", decode_once, NULL, &text_len[1]},
        {"jwt: parse", jwt_once, NULL, NULL},
    };

    token_make();
    snprintf(head, sizeof head,
             "POST /v0/projects/p/locations/l/keys/k:wrap HTTP/1.1\r\nHost: "
             "ekm.wirewrap.test\r\nAuthorization: Bearer %s\r\n"
             "Content-Type: application/json\r\nContent-Length: %zu\r\nAccept-Encoding: gzip\r\nUser-Agent: "
             "Google-Cloud-KMS\r\n\r\n",
             token, sizeof body - 1);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37);
    text_len[0] = base64_encode(span_of(bytes, short_len), scratch);
    text_len[1] = base64_encode(span_of(bytes, long_len),
                                scratch); /* the shorter is its beginning, but for the last group */
    text_len[0] = text_len[0] / 4 * 4;
    return micro_main(argc, argv, list, sizeof list / sizeof list[0]);
}
