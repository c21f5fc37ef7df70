#include "bench/load/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOBS       8192 /* remembered for unwraps; older ones give way */
#define AAD         "d3ctYmVuY2ggYWRkaXRpb25hbCBkYXRh"
#define HEAD_MAX    12288
#define ALPHABET    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#define BAD_TAIL    8 /* characters at a token's end that are turned, to break its signature */
#define BYTES_MAX   510
#define BASE64_SETS 4

struct blob {
    uint32_t key;
    uint64_t plaintext;
    uint16_t len;
    char text[PLAN_BLOB_MAX];
};

struct plan {
    struct plan_config config;
    uint64_t random;
    uint64_t made; /* plaintexts so far */
    size_t token_next;
    size_t text_len; /* base64 characters of a plaintext */
    double *popular; /* cumulative; NULL = uniform */
    struct blob *blobs;
    uint64_t blob_count; /* ever */
    char **bad_tokens;
};

/* xorshift64*: only popularity and mix hang on it. */
static uint64_t random_next(struct plan *p)
{
    p->random ^= p->random >> 12;
    p->random ^= p->random << 25;
    p->random ^= p->random >> 27;
    return p->random * 0x2545F4914F6CDD1DULL;
}

static double random_share(struct plan *p)
{
    return (double)(random_next(p) >> 11) / 9007199254740992.0;
}

static double *zipf_table(uint32_t count, double exponent)
{
    double *table = malloc(count * sizeof *table), sum = 0;

    if (table == NULL)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        table[i] = sum += 1 / pow(i + 1, exponent);
    for (uint32_t i = 0; i < count; i++)
        table[i] /= sum;
    return table;
}

static uint32_t key_choose(struct plan *p)
{
    uint32_t low = 0, high = p->config.key_count - 1;

    if (high == 0)
        return 0;
    if (p->popular == NULL)
        return (uint32_t)(random_next(p) % p->config.key_count);
    double at = random_share(p);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (p->popular[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A plaintext is its number, as base64: eleven characters of it, then filling.  No two of a run are alike. */
static void plaintext_write(const struct plan *p, uint64_t number, char *out)
{
    size_t tail = p->config.plaintext_len % 3;

    memset(out, 'A', p->text_len);
    for (size_t i = 0; i < 11 && i + BASE64_SETS < p->text_len; i++, number /= 62)
        out[i] = ALPHABET[number % 62];
    if (tail != 0) { /* the last set ends in zero bits and padding, as the only valid spelling does */
        memset(out + p->text_len - 2, '=', 2);
        if (tail == 2)
            out[p->text_len - 2] = 'A';
    }
}

static char *bad_token_of(const char *token)
{
    char *bad = strdup(token);
    size_t len = bad == NULL ? 0 : strlen(bad);

    for (size_t i = len < 2 * BAD_TAIL ? len : len - 2 * BAD_TAIL; i + BAD_TAIL < len; i++)
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
    return bad;
}

static const char *config_wrong(const struct plan_config *c)
{
    if (c->token_count == 0)
        return "no token";
    for (size_t i = 0; i < c->token_count; i++) {
        if (strlen(c->tokens[i]) > HEAD_MAX / 2)
            return "a token is too long";
    }
    if (c->plaintext_len < 12 || c->plaintext_len > BYTES_MAX)
        return "plaintexts are of 12..510 bytes";
    if (c->key_count == 0 || (c->key_count > 1 && strstr(c->key, "%u") == NULL))
        return "more than one key needs a path with %u in it";
    return NULL;
}

struct plan *plan_new(const struct plan_config *c)
{
    const char *wrong = config_wrong(c);
    struct plan *p = wrong == NULL ? calloc(1, sizeof *p) : NULL;

    if (p == NULL) {
        fprintf(stderr, "ww-bench: %s\n", wrong == NULL ? "no memory" : wrong);
        return NULL;
    }
    p->config = *c;
    p->random = c->seed * 0x9E3779B97F4A7C15ULL | 1;
    p->text_len = ((size_t)c->plaintext_len + 2) / 3 * 4;
    p->blobs = calloc(BLOBS, sizeof *p->blobs);
    p->bad_tokens = calloc(c->token_count, sizeof *p->bad_tokens);
    if (c->zipf > 0 && c->key_count > 1)
        p->popular = zipf_table(c->key_count, c->zipf);
    if (p->blobs == NULL || p->bad_tokens == NULL) {
        plan_free(p);
        return NULL;
    }
    for (size_t i = 0; i < c->token_count; i++)
        p->bad_tokens[i] = bad_token_of(c->tokens[i]);
    return p;
}

void plan_free(struct plan *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; p->bad_tokens != NULL && i < p->config.token_count; i++)
        free(p->bad_tokens[i]);
    free(p->bad_tokens);
    free(p->popular);
    free(p->blobs);
    free(p);
}

static void choose(struct plan *p, struct plan_request *rq)
{
    *rq = (struct plan_request){.op = PLAN_WRAP, .plaintext = p->made++};
    if (p->config.static_reply) {
        rq->op = PLAN_STATIC;
    } else if (p->config.bad_token_share > 0 && random_share(p) < p->config.bad_token_share) {
        rq->op = PLAN_BAD_TOKEN;
    } else if (p->config.unwrap_share > 0 && p->blob_count > 0 && random_share(p) < p->config.unwrap_share) {
        uint64_t kept = p->blob_count < BLOBS ? p->blob_count : BLOBS;
        rq->op = PLAN_UNWRAP;
        rq->blob = (uint32_t)(random_next(p) % kept);
        rq->key = p->blobs[rq->blob].key;
        rq->plaintext = p->blobs[rq->blob].plaintext;
        return;
    }
    rq->key = key_choose(p);
}

static size_t put(char *out, size_t at, const char *text, size_t len)
{
    memcpy(out + at, text, len);
    return at + len;
}

static size_t put_text(char *out, size_t at, const char *text)
{
    return put(out, at, text, strlen(text));
}

static size_t put_number(char *out, size_t at, uint64_t n)
{
    char digits[20];
    size_t len = 0;

    do {
        digits[sizeof digits - ++len] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    return put(out, at, digits + sizeof digits - len, len);
}

static size_t put_key(const struct plan *p, uint32_t key, char *out, size_t at)
{
    const char *mark = p->config.key_count > 1 ? strstr(p->config.key, "%u") : NULL;

    if (mark == NULL)
        return put_text(out, at, p->config.key);
    at = put(out, at, p->config.key, (size_t)(mark - p->config.key));
    at = put_number(out, at, key);
    return put_text(out, at, mark + 2);
}

static size_t body_write(const struct plan *p, const struct plan_request *rq, char *out)
{
    size_t at;

    if (rq->op == PLAN_UNWRAP) {
        const struct blob *b = &p->blobs[rq->blob];
        at = put_text(out, 0, "{\"wrappedBlob\":\"");
        at = put(out, at, b->text, b->len);
    } else {
        at = put_text(out, 0, "{\"plaintext\":\"");
        plaintext_write(p, rq->plaintext, out + at);
        at += p->text_len;
    }
    return put_text(out, at, "\",\"additionalAuthenticatedData\":\"" AAD "\"}");
}

size_t plan_write(struct plan *p, struct plan_request *rq, bool last, char *out)
{
    char body[PLAN_BLOB_MAX + 256];
    size_t token = p->token_next++ % p->config.token_count, at;

    choose(p, rq);
    size_t body_len = body_write(p, rq, body);
    at = put_text(out, 0, "POST /");
    at = put_key(p, rq->key, out, at);
    at = put_text(out, at, rq->op == PLAN_UNWRAP ? ":unwrap HTTP/1.1\r\nHost: " : ":wrap HTTP/1.1\r\nHost: ");
    at = put_text(out, at, p->config.host);
    at = put_text(out, at, "\r\nAuthorization: Bearer ");
    at = put_text(out, at, rq->op == PLAN_BAD_TOKEN ? p->bad_tokens[token] : p->config.tokens[token]);
    at = put_text(out, at, "\r\nContent-Type: application/json\r\nContent-Length: ");
    at = put_number(out, at, body_len);
    at = put_text(out, at, last ? "\r\nConnection: close\r\n\r\n" : "\r\n\r\n");
    return put(out, at, body, body_len);
}

/* The value between lead and "\"}", or NULL. */
static const char *value_of(const char *body, size_t len, const char *lead, size_t *value_len)
{
    size_t lead_len = strlen(lead);

    if (len < lead_len + 2 || memcmp(body, lead, lead_len) != 0 || memcmp(body + len - 2, "\"}", 2) != 0)
        return NULL;
    *value_len = len - lead_len - 2;
    return body + lead_len;
}

static bool blob_keep(struct plan *p, const struct plan_request *rq, const char *body, size_t len)
{
    size_t text_len = 0;
    const char *text = value_of(body, len, "{\"wrappedBlob\":\"", &text_len);
    struct blob *b = &p->blobs[p->blob_count % BLOBS];

    if (text == NULL || text_len <= p->text_len || text_len > PLAN_BLOB_MAX)
        return false;
    b->key = rq->key;
    b->plaintext = rq->plaintext;
    b->len = (uint16_t)text_len;
    memcpy(b->text, text, text_len);
    p->blob_count++;
    return true;
}

static bool plaintext_is(const struct plan *p, const struct plan_request *rq, const char *body, size_t len)
{
    char want[(BYTES_MAX + 2) / 3 * 4];
    size_t text_len = 0;
    const char *text = value_of(body, len, "{\"plaintext\":\"", &text_len);

    plaintext_write(p, rq->plaintext, want);
    return text != NULL && text_len == p->text_len && memcmp(text, want, text_len) == 0;
}

bool plan_judge(struct plan *p, const struct plan_request *rq, unsigned int status, const char *body,
                size_t len)
{
    switch (rq->op) {
    case PLAN_WRAP:
        return status == 200 && blob_keep(p, rq, body, len);
    case PLAN_UNWRAP:
        return status == 200 && plaintext_is(p, rq, body, len);
    case PLAN_BAD_TOKEN:
        return status == 401;
    case PLAN_STATIC:
        return status == 200 && len > 0;
    }
    return false;
}
