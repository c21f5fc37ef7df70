#include "ctrl/keys/record.h"

#include "base/check.h"
#include "base/cursor.h"
#include "base/secret.h"

#include <stdlib.h>

static void *must_alloc(size_t count, size_t size)
{
    void *p = calloc(count, size);

    CHECK(p != NULL);
    return p;
}

static char *text_copy(struct span s)
{
    char *p = must_alloc(1, s.len + 1);

    if (s.len != 0)
        memcpy(p, s.ptr, s.len);
    return p;
}

/* ---- policy ---- */

void policy_default(struct policy *p)
{
    *p = (struct policy){.deny_status = 403, .reasons = ACCESS_REASONS_ALL};
}

void policy_copy(struct policy *to, const struct policy *from)
{
    *to = *from;
    for (uint8_t i = 0; i < from->caller_count; i++)
        to->callers[i] = text_copy(span_str(from->callers[i]));
}

void policy_free(struct policy *p)
{
    for (uint8_t i = 0; i < p->caller_count; i++)
        free(p->callers[i]);
    p->caller_count = 0;
}

/* ---- records ---- */

static void wrapped_key_unref(struct wrapped_key *k)
{
    if (k == NULL || --k->refs != 0)
        return;
    secret_wipe(k->bytes, k->len);
    free(k);
}

bool record_is_served(const struct key_record *r)
{
    return r->algorithm == ALGORITHM_SYMMETRIC;
}

struct key_record *record_new(const uint8_t id[KEY_ID_LEN], const char *path)
{
    struct key_record *r = must_alloc(1, sizeof *r);

    r->refs = 1;
    r->algorithm = ALGORITHM_SYMMETRIC;
    memcpy(r->id, id, KEY_ID_LEN);
    r->path = text_copy(span_str(path));
    policy_default(&r->policy);
    r->versions = must_alloc(1, sizeof *r->versions);
    return r;
}

struct key_record *record_copy(const struct key_record *r)
{
    struct key_record *n = must_alloc(1, sizeof *n);

    *n = *r;
    n->refs = 1;
    n->path = text_copy(span_str(r->path));
    policy_copy(&n->policy, &r->policy);
    n->versions = must_alloc((size_t)r->version_count + 1, sizeof *n->versions);
    if (r->version_count != 0)
        memcpy(n->versions, r->versions, r->version_count * sizeof *n->versions);
    for (uint32_t i = 0; i < n->version_count; i++) {
        if (n->versions[i].private_key != NULL)
            n->versions[i].private_key->refs++;
    }
    return n;
}

const struct key_record *record_ref(const struct key_record *r)
{
    ((struct key_record *)(uintptr_t)r)->refs++;
    return r;
}

void record_unref(const struct key_record *r)
{
    struct key_record *m = (struct key_record *)(uintptr_t)r;

    if (m == NULL || --m->refs != 0)
        return;
    policy_free(&m->policy);
    for (uint32_t i = 0; i < m->version_count; i++)
        wrapped_key_unref(m->versions[i].private_key);
    secret_wipe(m->versions, m->version_count * sizeof *m->versions);
    free(m->versions);
    free(m->path);
    free(m);
}

/* ---- rows ---- */

/* What a unit's state brings along at the end of its row. */
static void write_end(struct writer *w, const struct lifecycle_unit *u)
{
    if (u->state < KEY_STATE_DESTROY_SCHEDULED)
        return;
    write_u64(w, (uint64_t)u->at_unix_s);
    if (u->state == KEY_STATE_DESTROYED)
        return;
    write_u64(w, u->watched_s);
    write_u32(w, u->window_s);
}

static void read_end(struct cursor *c, struct lifecycle_unit *u)
{
    if (u->state < KEY_STATE_DESTROY_SCHEDULED)
        return;
    u->at_unix_s = (int64_t)cursor_u64(c);
    if (u->state == KEY_STATE_DESTROYED)
        return;
    u->watched_s = cursor_u64(c);
    u->window_s = cursor_u32(c);
}

static bool state_ok(uint8_t state)
{
    return state >= KEY_STATE_PENDING_DURABLE && state <= KEY_STATE_DESTROYED;
}

/* A key that never had a window or a period is written as it was before there were any. */
static bool has_more(const struct key_record *r)
{
    return r->life.state >= KEY_STATE_DESTROY_SCHEDULED || r->window_s != 0 || r->rotate_period_s != 0;
}

size_t record_key_encode(const struct key_record *r, uint8_t *out)
{
    struct writer w = writer_of(out, STORE_BODY_MAX);
    struct span path = span_str(r->path);

    write_u8(&w, r->life.state);
    write_u8(&w, r->algorithm);
    write_u32(&w, r->primary);
    write_u64(&w, (uint64_t)r->created_unix_s);
    write_u16(&w, (uint16_t)path.len);
    write_bytes(&w, path);
    if (has_more(r)) {
        write_u32(&w, r->window_s);
        write_u32(&w, r->rotate_period_s);
        write_end(&w, &r->life);
    }
    CHECK(writer_ok(&w));
    return w.len;
}

struct key_record *record_key_decode(const struct store_row *row)
{
    struct cursor c = cursor_of(row->body);
    struct lifecycle_unit life = {.state = cursor_u8(&c)};
    uint8_t algorithm = cursor_u8(&c);
    uint32_t primary = cursor_u32(&c), window = 0, period = 0;
    int64_t created = (int64_t)cursor_u64(&c);
    struct span path = cursor_take(&c, cursor_u16(&c));

    if (c.left != 0 || life.state >= KEY_STATE_DESTROY_SCHEDULED) {
        window = cursor_u32(&c);
        period = cursor_u32(&c);
        read_end(&c, &life);
    }
    if (!cursor_ok(&c) || c.left != 0 || algorithm_of(algorithm) == NULL || path.len == 0 ||
        path.len > EKM_KEY_PATH_MAX || !state_ok(life.state))
        return NULL;
    char *text = text_copy(path);
    struct key_record *r = record_new(row->id, text);
    free(text);
    r->algorithm = algorithm;
    r->life = life;
    r->primary = primary;
    r->window_s = window;
    r->rotate_period_s = period;
    r->created_unix_s = created;
    r->epoch = row->epoch;
    return r;
}

static void write_material(struct writer *w, const struct key_record *r, const struct key_version *v)
{
    if (r->algorithm == ALGORITHM_SYMMETRIC) {
        write_bytes(w, span_of(v->wrapped, sizeof v->wrapped));
        return;
    }
    write_u16(w, (uint16_t)v->private_key->len);
    write_bytes(w, span_of(v->private_key->bytes, v->private_key->len));
}

static struct span read_material(struct cursor *c, const struct key_record *r)
{
    if (r->algorithm == ALGORITHM_SYMMETRIC)
        return cursor_take(c, WRAPPED_MATERIAL_LEN);
    return cursor_take(c, cursor_u16(c));
}

static struct wrapped_key *wrapped_key_new(size_t len)
{
    struct wrapped_key *k = must_alloc(1, sizeof *k + len);

    k->refs = 1;
    k->len = (uint32_t)len;
    return k;
}

static bool keep_material(struct key_version *v, const struct key_record *r, struct span wrapped)
{
    if (r->algorithm == ALGORITHM_SYMMETRIC) {
        memcpy(v->wrapped, wrapped.ptr, sizeof v->wrapped);
        return true;
    }
    if (wrapped.len <= MBED_NONCE_LEN + MBED_TAG_LEN ||
        wrapped.len > MBED_NONCE_LEN + RECORD_MATERIAL_MAX + MBED_TAG_LEN)
        return false;
    v->private_key = wrapped_key_new(wrapped.len);
    memcpy(v->private_key->bytes, wrapped.ptr, wrapped.len);
    return true;
}

size_t record_version_encode(const struct key_record *r, const struct key_version *v, uint8_t *out)
{
    struct writer w = writer_of(out, STORE_BODY_MAX);

    write_u8(&w, v->life.state);
    write_u8(&w, r->algorithm);
    write_u64(&w, (uint64_t)v->created_unix_s);
    write_bytes(&w, span_of(v->tag, sizeof v->tag));
    if (v->life.state != KEY_STATE_DESTROYED)
        write_material(&w, r, v);
    write_end(&w, &v->life);
    CHECK(writer_ok(&w));
    return w.len;
}

/* Rows come in the order of their numbers, so each is the next one. */
bool record_version_decode(const struct store_row *row, struct key_record *r)
{
    struct cursor c = cursor_of(row->body);
    struct key_version v = {.number = row->sub, .epoch = row->epoch, .life.state = cursor_u8(&c)};
    uint8_t algorithm = cursor_u8(&c);

    v.created_unix_s = (int64_t)cursor_u64(&c);
    struct span tag = cursor_take(&c, sizeof v.tag);
    struct span wrapped = v.life.state == KEY_STATE_DESTROYED ? (struct span){0} : read_material(&c, r);
    read_end(&c, &v.life);
    if (!cursor_ok(&c) || c.left != 0 || algorithm != r->algorithm || row->sub != r->version_count + 1 ||
        !state_ok(v.life.state))
        return false;
    memcpy(v.tag, tag.ptr, sizeof v.tag);
    if (v.life.state != KEY_STATE_DESTROYED && !keep_material(&v, r, wrapped))
        return false;
    struct key_version *more = realloc(r->versions, ((size_t)r->version_count + 1) * sizeof *more);
    CHECK(more != NULL);
    r->versions = more;
    r->versions[r->version_count++] = v;
    return true;
}

size_t record_policy_encode(const struct policy *p, uint8_t *out)
{
    struct writer w = writer_of(out, STORE_BODY_MAX);

    write_u16(&w, p->deny_status);
    write_u32(&w, p->reasons);
    write_u8(&w, p->caller_count);
    for (uint8_t i = 0; i < p->caller_count; i++) {
        struct span caller = span_str(p->callers[i]);

        write_u8(&w, (uint8_t)caller.len);
        write_bytes(&w, caller);
    }
    CHECK(writer_ok(&w));
    return w.len;
}

bool record_policy_decode(const struct store_row *row, struct key_record *r)
{
    struct cursor c = cursor_of(row->body);
    struct policy p = {.deny_status = cursor_u16(&c)};

    p.reasons = cursor_u32(&c);
    uint8_t count = cursor_u8(&c);

    for (uint8_t i = 0; cursor_ok(&c) && i < count && i < EKM_CALLERS_PER_KEY; i++)
        p.callers[p.caller_count++] = text_copy(cursor_take(&c, cursor_u8(&c)));
    if (!cursor_ok(&c) || c.left != 0 || p.caller_count != count) {
        policy_free(&p);
        return false;
    }
    policy_free(&r->policy);
    r->policy = p;
    if (row->epoch > r->epoch)
        r->epoch = row->epoch;
    return true;
}

/* ---- material ---- */

#define MATERIAL_AAD_MAX 64

static struct span material_aad(uint16_t shard, const struct key_record *r, const struct key_version *v,
                                uint8_t room[MATERIAL_AAD_MAX])
{
    struct writer w = writer_of(room, MATERIAL_AAD_MAX);

    write_bytes(&w, span_str("wirewrap material 1"));
    write_u16(&w, shard);
    write_bytes(&w, span_of(r->id, KEY_ID_LEN));
    write_u32(&w, v->number);
    write_u8(&w, r->algorithm);
    write_bytes(&w, span_of(v->tag, sizeof v->tag));
    CHECK(writer_ok(&w));
    return writer_span(&w);
}

void record_material_wrap(struct mbed_aead *kek, struct mbed_rng *rng, uint16_t shard,
                          const struct key_record *r, struct key_version *v, struct span material)
{
    uint8_t room[MATERIAL_AAD_MAX], *to = v->wrapped;

    if (r->algorithm == ALGORITHM_SYMMETRIC) {
        CHECK(material.len == KEY_MATERIAL_LEN);
    } else {
        wrapped_key_unref(v->private_key);
        v->private_key = wrapped_key_new(MBED_NONCE_LEN + material.len + MBED_TAG_LEN);
        to = v->private_key->bytes;
    }
    mbed_random(rng, to, MBED_NONCE_LEN);
    mbed_seal(kek, to, material_aad(shard, r, v, room), material, to + MBED_NONCE_LEN);
}

size_t record_material_unwrap(struct mbed_aead *kek, uint16_t shard, const struct key_record *r,
                              const struct key_version *v, uint8_t *out)
{
    uint8_t room[MATERIAL_AAD_MAX];
    struct span from = {v->wrapped, sizeof v->wrapped};

    if (r->algorithm != ALGORITHM_SYMMETRIC)
        from = span_of(v->private_key->bytes, v->private_key->len);
    if (!mbed_open(kek, from.ptr, material_aad(shard, r, v, room), span_from(from, MBED_NONCE_LEN), out))
        return 0;
    return from.len - MBED_NONCE_LEN - MBED_TAG_LEN;
}

void record_material_drop(struct key_version *v)
{
    secret_wipe(v->wrapped, sizeof v->wrapped);
    wrapped_key_unref(v->private_key);
    v->private_key = NULL;
}
