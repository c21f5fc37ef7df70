/* A bucket of an S3-compatible store, path style, requests signed by ctrl/fetch/sigv4.h.  An object is put in one
 * request, whose signature covers its hash: the store takes it whole or not at all. */
#include "base/secret.h"
#include "ctrl/fetch/fetch.h"
#include "ctrl/fetch/sigv4.h"
#include "drivers/seal/secret_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BODY_MAX   (2 * 1024 * 1024) /* of a list or an error */
#define SECRET_CAP 512
#define PAGES_MAX  10000

struct keys {
    char room[SECRET_CAP];
    const char *id, *secret;
};

struct body {
    char *text;
    size_t len;
};

struct call {
    const struct fetch_request *r;
    struct fetch_reply *out;
    struct keys *keys;
    char host[FETCH_TEXT_CAP], path[4 * FETCH_TEXT_CAP], query[4 * FETCH_TEXT_CAP];
};

/* Two lines: access key id, secret. */
static enum fetch_status keys_read(const struct fetch_request *r, struct keys *k, struct fetch_reply *out)
{
    const struct secret_file f = {"S3 credentials", "credentials_file of the sink"};
    char path[PATH_MAX];
    size_t len;

    if (!secret_file_read(r->credentials, &f, (uint8_t *)k->room, sizeof k->room - 1, &len, path, sizeof path,
                          out->text, sizeof out->text))
        return FETCH_DENIED;
    k->room[len] = '\0';
    char *rest = k->room;
    k->id = strsep(&rest, "\n");
    k->secret = rest == NULL ? "" : strsep(&rest, "\n");
    return k->id[0] != '\0' && k->secret[0] != '\0'
               ? FETCH_OK
               : fetch_fail(out, FETCH_DENIED, "%s must hold the access key id and the secret, a line each",
                            r->credentials);
}

static bool host_of(const char *place, char out[FETCH_TEXT_CAP])
{
    const char *at = strstr(place, "://");

    if (at == NULL)
        return false;
    snprintf(out, FETCH_TEXT_CAP, "%s", at + 3);
    out[strcspn(out, "/")] = '\0';
    return out[0] != '\0';
}

static bool call_begin(struct call *c, const char *name)
{
    char object[3 * FETCH_TEXT_CAP], bucket[3 * FETCH_TEXT_CAP], joined[2 * FETCH_TEXT_CAP];

    snprintf(joined, sizeof joined, "%s%s", c->r->prefix, name);
    if (strlen(joined) >= FETCH_TEXT_CAP || !host_of(c->r->place, c->host))
        return false;
    sigv4_encode(joined, false, object);
    sigv4_encode(c->r->bucket, true, bucket);
    int n = snprintf(c->path, sizeof c->path, "%s%s/%s", bucket[0] == '\0' ? "" : "/", bucket, object);
    return n > 0 && (size_t)n < sizeof c->path;
}

static size_t to_body(char *from, size_t size, size_t count, void *ctx)
{
    struct body *b = ctx;
    size_t len = size * count;

    if (len > BODY_MAX - b->len)
        return 0;
    memcpy(b->text + b->len, from, len);
    b->len += len;
    b->text[b->len] = '\0';
    return len;
}

static struct curl_slist *header_add(struct curl_slist *list, const char *name, const char *value)
{
    char line[SIGV4_AUTH_CAP + 64];

    snprintf(line, sizeof line, "%s: %s", name, value);
    return curl_slist_append(list, line);
}

static struct curl_slist *headers_of(const struct call *c, const char *method, const char *sha)
{
    char auth[SIGV4_AUTH_CAP], date[20];
    time_t now = time(NULL);
    struct tm tm;

    gmtime_r(&now, &tm);
    strftime(date, sizeof date, "%Y%m%dT%H%M%SZ", &tm);
    struct sigv4_request s = {
        .method = method,
        .path = c->path,
        .query = c->query,
        .headers = {{"host", c->host}, {"x-amz-content-sha256", sha}, {"x-amz-date", date}},
        .header_count = 3,
        .payload_sha256 = sha,
        .region = c->r->region,
        .service = "s3",
        .key_id = c->keys->id,
        .secret = c->keys->secret,
        .date = date};
    if (!sigv4_authorization(&s, auth))
        return NULL;
    struct curl_slist *list = header_add(NULL, "Authorization", auth);
    list = header_add(list, "x-amz-content-sha256", sha);
    list = header_add(list, "x-amz-date", date);
    list = header_add(list, "Host", c->host);
    return header_add(list, "Expect", "");
}

/* What the store says went wrong: <Code>...</Code>, letters only. */
static void error_code(const struct body *b, char out[64])
{
    const char *at = strstr(b->text, "<Code>");
    size_t len = 0;

    for (at = at == NULL ? "" : at + 6; len < 63 && ((*at | 0x20) >= 'a' && (*at | 0x20) <= 'z'); at++)
        out[len++] = *at;
    out[len] = '\0';
}

static enum fetch_status judge(const struct call *c, long code, const struct body *b)
{
    enum fetch_status status = FETCH_FAILED;
    char why[64];

    if (code / 100 == 2)
        return FETCH_OK;
    if (code == 404)
        status = FETCH_NOT_FOUND;
    else if (code == 401 || code == 403)
        status = FETCH_DENIED;
    else if (code == 507)
        status = FETCH_NO_SPACE;
    else if (code >= 500 || code == 429)
        status = FETCH_UNREACHABLE;
    error_code(b, why);
    return fetch_fail(c->out, status, "%.200s%.200s answered %ld %s", c->r->place, c->path, code, why);
}

/* One request.  in: what is sent, or NULL.  to: where a 200's body goes; NULL: into b, as errors do. */
static size_t route(char *from, size_t size, size_t count, void *ctx);

struct routing {
    CURL *curl;
    struct fetch_stream *to;
    struct body *b;
};

static size_t route(char *from, size_t size, size_t count, void *ctx)
{
    struct routing *x = ctx;
    long code = 0;

    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &code);
    return x->to != NULL && code == 200 ? stream_from_curl(from, size, count, x->to)
                                        : to_body(from, size, count, x->b);
}

static enum fetch_status perform(struct call *c, const char *method, const char *sha, struct fetch_stream *in,
                                 uint64_t in_size, struct fetch_stream *to, struct body *b)
{
    char url[12 * FETCH_TEXT_CAP];
    CURL *curl = transfer_new(c->r, strncmp(c->r->place, "https:", 6) == 0 ? "https" : "http");
    struct curl_slist *headers = headers_of(c, method, sha);
    struct routing x = {curl, to, b};
    enum fetch_status status = FETCH_FAILED;
    long code = 0;

    snprintf(url, sizeof url, "%.*s%s%s%s%s", (int)(strstr(c->r->place, "://") - c->r->place + 3),
             c->r->place, c->host, c->path, c->query[0] == '\0' ? "" : "?", c->query);
    b->len = 0;
    b->text[0] = '\0';
    if (curl != NULL && headers != NULL) {
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, route);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &x);
        if (c->r->trust[0] != '\0') { /* and nobody else: not those that the system trusts besides */
            curl_easy_setopt(curl, CURLOPT_CAINFO, c->r->trust);
            curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
        }
        if (in != NULL) {
            curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
            curl_easy_setopt(curl, CURLOPT_READFUNCTION, stream_to_curl);
            curl_easy_setopt(curl, CURLOPT_READDATA, in);
            curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)in_size);
        }
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
        CURLcode rc = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
        status = rc == CURLE_OK ? judge(c, code, b)
                                : transfer_fail(c->out, rc, to != NULL && to->error != 0 ? to : in, url);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return status;
}

static const char *empty_sha(void)
{
    static char hex[SIGV4_HEX_LEN];

    sigv4_sha256_hex(span_of(NULL, 0), hex);
    return hex;
}

/* ---- verbs ---- */

static enum fetch_status get(struct call *c, int fd, struct body *b)
{
    struct fetch_stream to;

    stream_begin(&to, fd);
    enum fetch_status s = perform(c, "GET", empty_sha(), NULL, 0, &to, b);
    stream_end(&to, &c->out->size, c->out->sha256);
    return s;
}

static enum fetch_status hash_file(int fd, uint64_t *size, uint8_t sha[FETCH_SHA_LEN],
                                   struct fetch_reply *out)
{
    uint8_t room[64 * 1024];
    struct fetch_stream from;
    ssize_t n;

    stream_begin(&from, fd);
    while ((n = stream_read(&from, room, sizeof room)) > 0)
        continue;
    stream_end(&from, size, sha);
    if (n < 0 || lseek(fd, 0, SEEK_SET) != 0)
        return fetch_fail_errno(out, errno, "a file of ww-ctrl's");
    return FETCH_OK;
}

/* What cannot be read back must not be listed as if it could. */
static void withdraw(struct call *c, struct body *b)
{
    static struct fetch_reply unused;
    struct call again = *c;

    again.out = &unused;
    (void)perform(&again, "DELETE", empty_sha(), NULL, 0, NULL, b);
}

static enum fetch_status put(struct call *c, int fd, struct body *b)
{
    uint8_t sha[FETCH_SHA_LEN];
    char hex[SIGV4_HEX_LEN];
    struct fetch_stream in;
    uint64_t size, sent;
    enum fetch_status s = hash_file(fd, &size, sha, c->out);

    if (s != FETCH_OK)
        return s;
    sigv4_hex(sha, sizeof sha, hex);
    stream_begin(&in, fd);
    s = perform(c, "PUT", hex, &in, size, NULL, b);
    stream_end(&in, &sent, c->out->sha256);
    if (s != FETCH_OK)
        return s;
    s = get(c, -1, b);
    if (s == FETCH_OK && (c->out->size != size || memcmp(c->out->sha256, sha, sizeof sha) != 0))
        s = fetch_fail(c->out, FETCH_DIFFERENT, "%.200s%.250s reads back as something else", c->r->place,
                       c->path);
    if (s != FETCH_OK)
        withdraw(c, b);
    return s;
}

/* The text between <tag> and </tag> from *at on; *at moves behind it.  NULL: no more. */
static const char *element(char **at, const char *tag, size_t *len)
{
    char open[64], shut[64];

    snprintf(open, sizeof open, "<%s>", tag);
    snprintf(shut, sizeof shut, "</%s>", tag);
    char *from = strstr(*at, open), *to = from == NULL ? NULL : strstr(from, shut);
    if (to == NULL)
        return NULL;
    from += strlen(open);
    *len = (size_t)(to - from);
    *at = to + strlen(shut);
    return from;
}

static bool list_page(const struct call *c, struct body *b, struct fetch_stream *to)
{
    size_t prefix = strlen(c->r->prefix), len;
    char *at = b->text, name[FETCH_TEXT_CAP];

    for (const char *key; (key = element(&at, "Key", &len)) != NULL;) {
        if (len <= prefix || len - prefix >= sizeof name || strncmp(key, c->r->prefix, prefix) != 0)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(len - prefix), key + prefix);
        if (name_ok(name) && !(stream_write(to, name, strlen(name)) && stream_write(to, "\n", 1)))
            return false;
    }
    return true;
}

/* "" when this was the last page. */
static void next_query(struct call *c, struct body *b)
{
    char prefix[3 * FETCH_TEXT_CAP], token[FETCH_TEXT_CAP] = "", encoded[3 * FETCH_TEXT_CAP] = "";
    char *at = b->text;
    size_t len = 0;
    const char *text = element(&at, "NextContinuationToken", &len);

    if (text != NULL && len < sizeof token)
        snprintf(token, sizeof token, "%.*s", (int)len, text);
    sigv4_encode(token, true, encoded);
    sigv4_encode(c->r->prefix, true, prefix);
    int n = snprintf(c->query, sizeof c->query, "%s%s%slist-type=2&prefix=%s",
                     encoded[0] == '\0' ? "" : "continuation-token=", encoded, encoded[0] == '\0' ? "" : "&",
                     prefix);
    if (b->len != 0 && (token[0] == '\0' || n < 0 || (size_t)n >= sizeof c->query))
        c->query[0] = '\0';
}

static enum fetch_status list(struct call *c, int fd, struct body *b)
{
    struct fetch_stream to;
    enum fetch_status s = FETCH_OK;

    stream_begin(&to, fd);
    b->len = 0;
    b->text[0] = '\0';
    next_query(c, b);
    for (int pages = 0; s == FETCH_OK && c->query[0] != '\0' && pages < PAGES_MAX; pages++) {
        s = perform(c, "GET", empty_sha(), NULL, 0, NULL, b);
        if (s == FETCH_OK && !list_page(c, b, &to))
            s = fetch_fail_errno(c->out, to.error, "a list");
        next_query(c, b);
    }
    stream_end(&to, &c->out->size, c->out->sha256);
    return s;
}

static enum fetch_status answer(struct call *c, int fd, struct body *b)
{
    bool is_list = c->r->operation == FETCH_LIST;

    if (!call_begin(c, is_list ? "" : c->r->name))
        return fetch_fail(c->out, FETCH_BAD_REQUEST, "%.200s is no endpoint", c->r->place);
    if (is_list) { /* of the bucket, not of an object */
        c->path[strlen(c->path) - strlen(c->r->prefix)] = '\0';
        if (c->r->bucket[0] != '\0')
            c->path[strcspn(c->path + 1, "/") + 1] = '\0';
    }
    switch (c->r->operation) {
    case FETCH_PUT:
        return put(c, fd, b);
    case FETCH_GET:
        return get(c, fd, b);
    case FETCH_LIST:
        return list(c, fd, b);
    default:
        return perform(c, "DELETE", empty_sha(), NULL, 0, NULL, b);
    }
}

enum fetch_status s3_answer(const struct fetch_request *r, int fd, struct fetch_reply *out)
{
    static struct keys keys;
    struct call c = {.r = r, .out = out, .keys = &keys};
    struct body b = {malloc(BODY_MAX + 1), 0};
    enum fetch_status s =
        b.text == NULL ? fetch_fail(out, FETCH_FAILED, "out of memory") : keys_read(r, &keys, out);

    if (s == FETCH_OK)
        s = answer(&c, fd, &b);
    secret_wipe(&keys, sizeof keys);
    free(b.text);
    return s;
}
