/* A file is sealed under its own XAES key, derived from the warm key and the head's nonce; chunk i has that nonce with
 * 2 i + (1 in the last one) XORed into its end, and head, i and last as additional data: a chunk that is moved, taken
 * away, or brought from another file does not open.  The head's commitment tells a wrong key from damage. */
#include "dataplane/keys/keys_priv.h"

#include "base/check.h"
#include "base/secret.h"
#include "base/secret_priv.h"

#include <stdlib.h>
#include <sys/random.h>

#define WARM_VERSION 1

enum stage { STAGE_BEGIN, STAGE_TRUST, STAGE_KEYS, STAGE_END, STAGE_DONE };

/* On secret pages. */
struct warm_secret {
    struct xaes_derived derived;
    /* what the next chunk takes, or what the last one gave */
    uint8_t plain[WARM_CHUNK + CTL_MESSAGE_MAX];
};

struct keys_warm {
    struct aead_worker *aead;
    struct aead_key *key;
    struct warm_secret *secret;
    uint8_t nonce[BLOB_NONCE_LEN];
    uint8_t head[WARM_HEAD_LEN];
    uint64_t index; /* of the next chunk */
    /* sealing */
    const struct table *table;
    uint64_t generation, epoch;
    uint16_t shard;
    struct warm_trust trust;
    enum stage stage;
    size_t trust_part, trust_at;
    uint32_t key_idx, version_idx; /* 0 = the key itself is next, then versions[version_idx - 1] */
    uint32_t records;
    size_t len; /* of secret->plain in use */
};

/* ---- the head ---- */

bool warm_head_parse(struct span in, struct warm_head *out)
{
    struct cursor c = cursor_of(in);
    uint8_t version = cursor_u8(&c);

    *out = (struct warm_head){.kind = cursor_u8(&c), .shard = cursor_u16(&c)};
    uint32_t chunk = cursor_u32(&c);
    out->epoch = cursor_u64(&c);
    out->unix_s = cursor_u64(&c);
    struct span nonce = cursor_take(&c, sizeof out->nonce);
    struct span commitment = cursor_take(&c, sizeof out->commitment);
    if (!cursor_ok(&c) || c.left != 0 || version != WARM_VERSION || chunk != WARM_CHUNK ||
        (out->kind != WARM_SNAPSHOT && out->kind != WARM_FLOOR))
        return false;
    memcpy(out->nonce, nonce.ptr, nonce.len);
    memcpy(out->commitment, commitment.ptr, commitment.len);
    return true;
}

void warm_head_write(const struct warm_head *h, uint8_t out[WARM_HEAD_LEN])
{
    struct writer w = writer_of(out, WARM_HEAD_LEN);

    write_u8(&w, WARM_VERSION);
    write_u8(&w, h->kind);
    write_u16(&w, h->shard);
    write_u32(&w, WARM_CHUNK);
    write_u64(&w, h->epoch);
    write_u64(&w, h->unix_s);
    write_bytes(&w, span_of(h->nonce, sizeof h->nonce));
    write_bytes(&w, span_of(h->commitment, sizeof h->commitment));
    CHECK(writer_ok(&w) && w.len == WARM_HEAD_LEN);
}

/* ---- life ---- */

struct keys_warm *keys_warm_new(const uint8_t key[WARM_KEY_LEN])
{
    struct keys_warm *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->secret = secret_pages_alloc(sizeof *w->secret);
    w->aead = aead_worker_new();
    w->key = w->aead == NULL ? NULL : aead_key_new(w->aead, key);
    if (w->key == NULL || w->secret == NULL) {
        keys_warm_free(w);
        return NULL;
    }
    return w;
}

void keys_warm_free(struct keys_warm *w)
{
    if (w == NULL)
        return;
    aead_key_free(w->key);
    aead_worker_free(w->aead);
    secret_pages_free(w->secret, sizeof *w->secret);
    free(w);
}

/* ---- one chunk ---- */

static void chunk_place(const struct keys_warm *w, bool last, uint8_t nonce[BLOB_NONCE_LEN], uint8_t place[9])
{
    uint64_t number = 2 * w->index + (last ? 1 : 0);
    struct writer p = writer_of(place, 9);

    memcpy(nonce, w->nonce, BLOB_NONCE_LEN);
    for (size_t i = 0; i < 8; i++)
        nonce[BLOB_NONCE_LEN - 1 - i] ^= (uint8_t)(number >> (8 * i));
    write_u64(&p, w->index);
    write_u8(&p, last ? 1 : 0);
    CHECK(writer_ok(&p));
}

static bool chunk_seal(struct keys_warm *w, size_t len, bool last, uint8_t *out)
{
    uint8_t nonce[BLOB_NONCE_LEN], place[9];
    struct span aad[2] = {span_of(w->head, sizeof w->head), span_of(place, sizeof place)};

    chunk_place(w, last, nonce, place);
    bool ok = xaes_seal(w->aead, &w->secret->derived, nonce, aad, 2, span_of(w->secret->plain, len), out,
                        out + len);
    w->index++;
    return ok;
}

/* ---- sealing ---- */

static bool file_begin(struct keys_warm *w, struct warm_head *h)
{
    CHECK(getrandom(h->nonce, sizeof h->nonce, 0) == (ssize_t)sizeof h->nonce);
    if (!xaes_derive(w->key, h->nonce, true, &w->secret->derived))
        return false;
    memcpy(h->commitment, w->secret->derived.commitment, sizeof h->commitment);
    memcpy(w->nonce, h->nonce, sizeof w->nonce);
    warm_head_write(h, w->head);
    w->index = 0;
    w->len = 0;
    return true;
}

static uint32_t count_records(const struct table *t, const struct warm_trust *trust)
{
    return trust->count + t->keys_live + t->versions_live;
}

bool keys_warm_begin(struct keys_warm *w, const struct keys *k, uint16_t shard, uint64_t unix_s,
                     const struct warm_trust *trust, uint8_t out[WARM_HEAD_LEN])
{
    struct warm_head h = {.kind = WARM_SNAPSHOT, .shard = shard, .epoch = k->epoch, .unix_s = unix_s};

    if (!file_begin(w, &h))
        return false;
    w->table = atomic_load_explicit(&k->table, memory_order_relaxed); /* the writer's own store */
    w->generation = atomic_load(&k->generation);
    w->epoch = k->epoch;
    w->shard = shard;
    w->trust = *trust;
    w->stage = STAGE_BEGIN;
    w->trust_part = w->trust_at = 0;
    w->key_idx = w->version_idx = 0;
    w->records = count_records(w->table, trust);
    memcpy(out, w->head, WARM_HEAD_LEN);
    return true;
}

static void write_key(const struct keys_warm *w, const struct key *key, struct writer *out)
{
    struct ctl_key m = {.state = key->state,
                        .deny_status = key->deny_status,
                        .primary_version = key->primary_version,
                        .reasons_allowed = key->reasons_allowed,
                        .path = key_path(key),
                        .caller_count = key->caller_count};
    struct cursor c = cursor_of(span_of(key->text + key->path_len, key->text_len - key->path_len));

    memcpy(m.id, key->id, KEY_ID_LEN);
    for (uint8_t i = 0; i < key->caller_count; i++)
        m.callers[i] = cursor_take(&c, cursor_u8(&c));
    CHECK(cursor_ok(&c));
    ctl_write_key(out, w->shard, w->epoch, &m);
}

static void write_version(const struct keys_warm *w, const struct key *key, const struct version *v,
                          struct writer *out)
{
    struct ctl_key_version m = {.version = v->number, .state = v->state};

    memcpy(m.key_id, key->id, KEY_ID_LEN);
    memcpy(m.tag, &v->tag, KEY_VERSION_TAG_LEN);
    m.material = secret_of(v->material, v->state == KEY_STATE_DESTROYED ? 0 : KEY_MATERIAL_LEN);
    ctl_write_key_version(out, w->shard, w->epoch, &m);
}

/* One message of the trust material, its epoch now this one; false: there is none left. */
static bool write_trust(struct keys_warm *w, struct writer *out)
{
    while (w->trust_part < 2) {
        struct span all = secret_expose(w->trust.messages[w->trust_part]);
        struct span rest = span_from(all, w->trust_at);
        struct writer epoch = writer_of(out->ptr + out->len + 8, 8);
        struct ctl_head h;

        if (rest.len == 0) {
            w->trust_part++;
            w->trust_at = 0;
            continue;
        }
        CHECK(ctl_head_parse(rest, &h) == CTL_HEAD_OK && h.len <= rest.len);
        write_bytes(out, span_of(rest.ptr, h.len));
        write_u64(&epoch, w->epoch);
        w->trust_at += h.len;
        return true;
    }
    return false;
}

static bool write_next_of_keys(struct keys_warm *w, struct writer *out)
{
    while (w->key_idx < w->table->count) {
        const struct key *key = w->table->keys[w->key_idx];

        if (key == NULL || w->version_idx > key->version_count) {
            w->key_idx++;
            w->version_idx = 0;
            continue;
        }
        if (w->version_idx == 0)
            write_key(w, key, out);
        else
            write_version(w, key, key->versions[w->version_idx - 1], out);
        w->version_idx++;
        return true;
    }
    return false;
}

static void write_message(struct keys_warm *w, struct writer *out)
{
    struct ctl_begin begin = {true, 0, w->records};
    struct ctl_end end = {w->records};

    switch (w->stage) {
    case STAGE_BEGIN:
        ctl_write_begin(out, w->shard, w->epoch, &begin);
        w->stage = STAGE_TRUST;
        return;
    case STAGE_TRUST:
        if (write_trust(w, out))
            return;
        w->stage = STAGE_KEYS;
        return;
    case STAGE_KEYS:
        if (write_next_of_keys(w, out))
            return;
        w->stage = STAGE_END;
        return;
    case STAGE_END:
        ctl_write_end(out, w->shard, w->epoch, &end);
        w->stage = STAGE_DONE;
        return;
    case STAGE_DONE:
        return;
    }
}

static void fill(struct keys_warm *w)
{
    while (w->len <= WARM_CHUNK && w->stage != STAGE_DONE) {
        struct writer out = writer_of(w->secret->plain + w->len, sizeof w->secret->plain - w->len);

        write_message(w, &out);
        CHECK(writer_ok(&out));
        w->len += out.len;
    }
}

enum keys_warm_status keys_warm_next(struct keys_warm *w, const struct keys *k, uint8_t out[WARM_SEALED_MAX],
                                     size_t *len)
{
    if (atomic_load(&k->generation) != w->generation)
        return KEYS_WARM_STALE;
    fill(w);
    bool last = w->len <= WARM_CHUNK;
    size_t n = last ? w->len : WARM_CHUNK;
    if (!chunk_seal(w, n, last, out))
        return KEYS_WARM_FAULT;
    *len = n + BLOB_GCM_TAG_LEN;
    memmove(w->secret->plain, w->secret->plain + n, w->len - n);
    secret_wipe(w->secret->plain + (w->len - n), n);
    w->len -= n;
    return last ? KEYS_WARM_LAST : KEYS_WARM_OK;
}

/* ---- opening ---- */

enum keys_warm_status keys_warm_open(struct keys_warm *w, const struct warm_head *h)
{
    if (!xaes_derive(w->key, h->nonce, true, &w->secret->derived))
        return KEYS_WARM_FAULT;
    if (!secret_equal(w->secret->derived.commitment, h->commitment, sizeof h->commitment))
        return KEYS_WARM_WRONG_KEY;
    memcpy(w->nonce, h->nonce, sizeof w->nonce);
    warm_head_write(h, w->head);
    w->index = 0;
    w->len = 0;
    return KEYS_WARM_OK;
}

enum keys_warm_status keys_warm_take(struct keys_warm *w, struct span chunk, bool last,
                                     struct secret_span *plain)
{
    uint8_t nonce[BLOB_NONCE_LEN], place[9];
    struct span aad[2] = {span_of(w->head, sizeof w->head), span_of(place, sizeof place)};

    if (chunk.len < BLOB_GCM_TAG_LEN || chunk.len > WARM_SEALED_MAX)
        return KEYS_WARM_BAD;
    size_t n = chunk.len - BLOB_GCM_TAG_LEN;
    chunk_place(w, last, nonce, place);
    if (!xaes_open(w->aead, &w->secret->derived, nonce, aad, 2, span_of(chunk.ptr, n), chunk.ptr + n,
                   w->secret->plain))
        return KEYS_WARM_BAD;
    w->index++;
    *plain = secret_of(w->secret->plain, n);
    return KEYS_WARM_OK;
}

/* ---- the floor ---- */

bool keys_warm_floor(struct keys_warm *w, uint16_t shard, uint64_t epoch, uint64_t unix_s,
                     uint8_t out[WARM_FLOOR_LEN])
{
    struct warm_head h = {.kind = WARM_FLOOR, .shard = shard, .epoch = epoch, .unix_s = unix_s};

    w->generation = UINT64_MAX; /* a snapshot being sealed is given up */
    if (!file_begin(w, &h))
        return false;
    memcpy(out, w->head, WARM_HEAD_LEN);
    return chunk_seal(w, 0, true, out + WARM_HEAD_LEN);
}

enum keys_warm_status keys_warm_floor_open(struct keys_warm *w, struct span file, struct warm_head *out)
{
    struct secret_span nothing;

    if (file.len != WARM_FLOOR_LEN || !warm_head_parse(span_of(file.ptr, WARM_HEAD_LEN), out) ||
        out->kind != WARM_FLOOR)
        return KEYS_WARM_BAD;
    enum keys_warm_status s = keys_warm_open(w, out);
    return s != KEYS_WARM_OK ? s : keys_warm_take(w, span_from(file, WARM_HEAD_LEN), true, &nothing);
}
