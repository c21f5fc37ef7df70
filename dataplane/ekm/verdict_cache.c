#include "dataplane/ekm/verdict_cache.h"

#include "base/check.h"
#include "base/secret.h"
#include "base/secret_priv.h"
#include "base/siphash.h"

#include <stdlib.h>
#include <sys/random.h>

#define HASHED_TAIL 16

struct entry {
    uint64_t hash;
    uint64_t epoch;
    int64_t valid_from_s, valid_until_s;
    uint16_t token_len; /* 0 = free */
    uint8_t email_len;
    uint8_t email[EKM_CALLER_MAX];
    uint8_t token[VERDICT_TOKEN_MAX];
};

struct verdict_cache {
    struct siphash_key key;
    struct entry *entries; /* set_count * VERDICT_WAYS, on secret pages */
    size_t set_count;
    size_t count;
    uint8_t *next_way; /* per set: who gives way */
};

_Static_assert(EKM_CALLER_MAX <= UINT8_MAX, "an e-mail's length fits its byte");

static size_t entries_len(const struct verdict_cache *c)
{
    return c->set_count * VERDICT_WAYS * sizeof(struct entry);
}

struct verdict_cache *verdict_cache_new(size_t sets)
{
    struct verdict_cache *c = calloc(1, sizeof *c);

    CHECK(sets != 0 && (sets & (sets - 1)) == 0);
    if (c == NULL)
        return NULL;
    c->set_count = sets;
    c->next_way = calloc(sets, 1);
    c->entries = secret_pages_alloc(entries_len(c));
    if (c->next_way == NULL || c->entries == NULL ||
        getrandom(&c->key, sizeof c->key, 0) != (ssize_t)sizeof c->key) {
        verdict_cache_free(c);
        return NULL;
    }
    return c;
}

void verdict_cache_free(struct verdict_cache *c)
{
    if (c == NULL)
        return;
    if (c->entries != NULL)
        secret_pages_free(c->entries, entries_len(c));
    free(c->next_way);
    free(c);
}

/* Of the token's end, which is its signature: as good as random, and nobody can choose it among tokens that are genuine.  What a hash
 * finds is compared whole. */
static uint64_t hash_of(const struct verdict_cache *c, struct span token)
{
    return siphash(&c->key, span_from(token, token.len > HASHED_TAIL ? token.len - HASHED_TAIL : 0));
}

static size_t set_of(const struct verdict_cache *c, uint64_t hash)
{
    return (size_t)(hash & (c->set_count - 1));
}

static void entry_wipe(struct verdict_cache *c, struct entry *e)
{
    if (e->token_len == 0)
        return;
    secret_wipe(e->token, e->token_len);
    secret_wipe(e, offsetof(struct entry, token));
    c->count--;
}

static bool entry_is(const struct entry *e, uint64_t hash, struct span token)
{
    return e->hash == hash && e->token_len == token.len && memcmp(e->token, token.ptr, token.len) == 0;
}

static struct entry *entry_find(const struct verdict_cache *c, uint64_t hash, struct span token)
{
    struct entry *set = c->entries + set_of(c, hash) * VERDICT_WAYS;

    for (size_t i = 0; i < VERDICT_WAYS; i++) {
        if (entry_is(&set[i], hash, token))
            return &set[i];
    }
    return NULL;
}

bool verdict_cache_find(struct verdict_cache *c, struct secret_span token, uint64_t epoch, int64_t now_s,
                        struct span *email)
{
    struct span bytes = secret_expose(token);
    struct entry *e;

    if (bytes.len == 0 || bytes.len > VERDICT_TOKEN_MAX)
        return false;
    e = entry_find(c, hash_of(c, bytes), bytes);
    if (e == NULL)
        return false;
    if (e->epoch != epoch || now_s < e->valid_from_s || now_s >= e->valid_until_s) {
        entry_wipe(c, e);
        return false;
    }
    *email = span_of(e->email, e->email_len);
    return true;
}

/* The token's own place, a free one, or the one whose turn it is. */
static struct entry *entry_to_fill(struct verdict_cache *c, uint64_t hash, struct span token)
{
    size_t s = set_of(c, hash);
    struct entry *set = c->entries + s * VERDICT_WAYS;
    struct entry *e = entry_find(c, hash, token);

    for (size_t i = 0; e == NULL && i < VERDICT_WAYS; i++) {
        if (set[i].token_len == 0)
            e = &set[i];
    }
    if (e == NULL) {
        e = &set[c->next_way[s]];
        c->next_way[s] = (uint8_t)((c->next_way[s] + 1) % VERDICT_WAYS);
    }
    return e;
}

void verdict_cache_add(struct verdict_cache *c, const struct verdict *v)
{
    struct span token = secret_expose(v->token);
    uint64_t hash;
    struct entry *e;

    if (token.len == 0 || token.len > VERDICT_TOKEN_MAX || v->email.len > EKM_CALLER_MAX)
        return;
    hash = hash_of(c, token);
    e = entry_to_fill(c, hash, token);
    entry_wipe(c, e);
    e->hash = hash;
    e->epoch = v->epoch;
    e->valid_from_s = v->valid_from_s;
    e->valid_until_s = v->valid_until_s;
    e->token_len = (uint16_t)token.len;
    e->email_len = (uint8_t)v->email.len;
    memcpy(e->email, v->email.ptr, v->email.len);
    memcpy(e->token, token.ptr, token.len);
    c->count++;
}

void verdict_cache_flush(struct verdict_cache *c)
{
    for (size_t i = 0; c->count > 0 && i < c->set_count * VERDICT_WAYS; i++)
        entry_wipe(c, &c->entries[i]);
}

size_t verdict_cache_count(const struct verdict_cache *c)
{
    return c->count;
}
