/* A directory of another host, over SSH: key authentication, and a known_hosts file that decides whom we talk to. */
#include "ctrl/fetch/fetch.h"

#include <stdio.h>

#define URL_CAP (2 * FETCH_TEXT_CAP)

static CURL *sftp_new(const struct fetch_request *r, const char *name)
{
    CURL *c = transfer_new(r, "sftp");
    char url[URL_CAP];
    size_t len = strlen(r->place);

    if (c == NULL)
        return NULL;
    while (len > 0 && r->place[len - 1] == '/')
        len--;
    snprintf(url, sizeof url, "%.*s/%s", (int)len, r->place, name);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_SSH_AUTH_TYPES, (long)CURLSSH_AUTH_PUBLICKEY);
    curl_easy_setopt(c, CURLOPT_SSH_PRIVATE_KEYFILE, r->credentials);
    curl_easy_setopt(c, CURLOPT_SSH_KNOWNHOSTS, r->trust);
    curl_easy_setopt(c, CURLOPT_NEW_FILE_PERMS, 0600L);
    return c;
}

static enum fetch_status finish(CURL *c, const struct fetch_request *r, const struct fetch_stream *s,
                                struct fetch_reply *out)
{
    CURLcode rc = curl_easy_perform(c);

    curl_easy_cleanup(c);
    return rc == CURLE_OK ? FETCH_OK : transfer_fail(out, rc, s, r->place);
}

/* The directory on that host; what is behind the third slash. */
static const char *remote_dir(const struct fetch_request *r)
{
    const char *host = strstr(r->place, "://");
    const char *slash = host == NULL ? NULL : strchr(host + 3, '/');

    return slash == NULL ? "" : slash;
}

static bool remote_path(const struct fetch_request *r, const char *name, char out[URL_CAP])
{
    const char *dir = remote_dir(r);
    size_t len = strlen(dir);

    while (len > 0 && dir[len - 1] == '/')
        len--;
    int n = snprintf(out, URL_CAP, "%.*s/%s", (int)len, dir, name);
    return n > 0 && (size_t)n < URL_CAP && strpbrk(out, " \"'\\") == NULL;
}

static struct curl_slist *quote_add(struct curl_slist *list, const char *verb, const char *a, const char *b)
{
    char line[2 * URL_CAP + 16];

    snprintf(line, sizeof line, "%s %s%s%s", verb, a, b[0] == '\0' ? "" : " ", b);
    return curl_slist_append(list, line);
}

static enum fetch_status get(const struct fetch_request *r, int fd, struct fetch_reply *out)
{
    struct fetch_stream to;
    CURL *c = sftp_new(r, r->name);

    if (c == NULL)
        return fetch_fail(out, FETCH_FAILED, "out of memory");
    stream_begin(&to, fd);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, stream_from_curl);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &to);
    enum fetch_status s = finish(c, r, &to, out);
    stream_end(&to, &out->size, out->sha256);
    return s;
}

/* Under another name first: what has its name is whole. */
static enum fetch_status upload(const struct fetch_request *r, const char *part, const char *whole,
                                struct fetch_stream *in, struct fetch_reply *out)
{
    char part_name[FETCH_TEXT_CAP + 8];

    snprintf(part_name, sizeof part_name, "%s.part", r->name);
    CURL *c = sftp_new(r, part_name);
    if (c == NULL)
        return fetch_fail(out, FETCH_FAILED, "out of memory");
    struct curl_slist *after =
        quote_add(NULL, "*rm", whole, ""); /* one of the same name from an earlier try */
    after = quote_add(after, "rename", part, whole);
    curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(c, CURLOPT_READFUNCTION, stream_to_curl);
    curl_easy_setopt(c, CURLOPT_READDATA, in);
    curl_easy_setopt(c, CURLOPT_POSTQUOTE, after);
    enum fetch_status s = finish(c, r, in, out);
    curl_slist_free_all(after);
    return s;
}

static enum fetch_status drop(const struct fetch_request *r, struct fetch_reply *out)
{
    char whole[URL_CAP];
    CURL *c = sftp_new(r, "");

    if (c == NULL || !remote_path(r, r->name, whole))
        return fetch_fail(out, FETCH_FAILED, "%.300s: no spaces or quotes in its path", r->place);
    struct curl_slist *before = quote_add(NULL, "rm", whole, "");
    curl_easy_setopt(c, CURLOPT_QUOTE, before);
    curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    enum fetch_status s = finish(c, r, NULL, out);
    curl_slist_free_all(before);
    return s;
}

/* What cannot be read back must not be listed as if it could. */
static void withdraw(const struct fetch_request *r)
{
    static struct fetch_reply unused;

    (void)drop(r, &unused);
}

static enum fetch_status put(const struct fetch_request *r, int fd, struct fetch_reply *out)
{
    char part[URL_CAP], whole[URL_CAP], name[FETCH_TEXT_CAP + 8];
    struct fetch_stream in;
    uint8_t sha[FETCH_SHA_LEN];
    uint64_t size;

    snprintf(name, sizeof name, "%s.part", r->name);
    if (!remote_path(r, name, part) || !remote_path(r, r->name, whole))
        return fetch_fail(out, FETCH_BAD_REQUEST, "%.300s: no spaces or quotes in its path", r->place);
    stream_begin(&in, fd);
    enum fetch_status s = upload(r, part, whole, &in, out);
    stream_end(&in, &size, sha);
    if (s != FETCH_OK)
        return s;
    s = get(r, -1, out);
    if (s == FETCH_OK && (out->size != size || memcmp(out->sha256, sha, sizeof sha) != 0))
        s = fetch_fail(out, FETCH_DIFFERENT, "%.300s/%.100s reads back as something else", r->place, r->name);
    if (s != FETCH_OK)
        withdraw(r);
    return s;
}

/* libcurl gives whole lines as they come; names that are not ours are dropped. */
struct lines {
    struct fetch_stream to;
    char line[FETCH_TEXT_CAP];
    size_t len;
};

static size_t to_lines(char *from, size_t size, size_t count, void *ctx)
{
    struct lines *l = ctx;

    for (size_t i = 0; i < size * count; i++) {
        if (from[i] != '\n') {
            if (l->len < sizeof l->line - 2)
                l->line[l->len++] = from[i];
            continue;
        }
        l->line[l->len] = '\0';
        bool ours = name_ok(l->line) && strstr(l->line, ".part") == NULL;
        l->line[l->len] = '\n';
        if (ours && !stream_write(&l->to, l->line, l->len + 1))
            return 0;
        l->len = 0;
    }
    return size * count;
}

static enum fetch_status list(const struct fetch_request *r, int fd, struct fetch_reply *out)
{
    static struct lines l;
    CURL *c = sftp_new(r, "");

    if (c == NULL)
        return fetch_fail(out, FETCH_FAILED, "out of memory");
    l.len = 0;
    stream_begin(&l.to, fd);
    curl_easy_setopt(c, CURLOPT_DIRLISTONLY, 1L);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, to_lines);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &l);
    enum fetch_status s = finish(c, r, &l.to, out);
    stream_end(&l.to, &out->size, out->sha256);
    return s;
}

enum fetch_status sftp_answer(const struct fetch_request *r, int fd, struct fetch_reply *out)
{
    switch (r->operation) {
    case FETCH_PUT:
        return put(r, fd, out);
    case FETCH_GET:
        return get(r, fd, out);
    case FETCH_LIST:
        return list(r, fd, out);
    default:
        return drop(r, out);
    }
}
