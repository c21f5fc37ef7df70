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

struct key_record *record_new(const uint8_t id[KEY_ID_LEN], const char *path)
{
    struct key_record *r = must_alloc(1, sizeof *r);

    r->refs = 1;
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
    write_u8(&w, KEY_ALGORITHM_AES_256);
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
    if (!cursor_ok(&c) || c.left != 0 || algorithm != KEY_ALGORITHM_AES_256 || path.len == 0 ||
        path.len > EKM_KEY_PATH_MAX || !state_ok(life.state))
        return NULL;
    char *text = text_copy(path);
    struct key_record *r = record_new(row->id, text);
    free(text);
    r->life = life;
    r->primary = primary;
    r->window_s = window;
    r->rotate_period_s = period;
    r->created_unix_s = created;
    r->epoch = row->epoch;
    return r;
}

size_t record_version_encode(const struct key_version *v, uint8_t *out)
{
    struct writer w = writer_of(out, STORE_BODY_MAX);

    write_u8(&w, v->life.state);
    write_u8(&w, KEY_ALGORITHM_AES_256);
    write_u64(&w, (uint64_t)v->created_unix_s);
    write_bytes(&w, span_of(v->tag, sizeof v->tag));
    if (v->life.state != KEY_STATE_DESTROYED)
        write_bytes(&w, span_of(v->wrapped, sizeof v->wrapped));
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
    struct span wrapped = cursor_take(&c, v.life.state == KEY_STATE_DESTROYED ? 0 : sizeof v.wrapped);
    read_end(&c, &v.life);
    if (!cursor_ok(&c) || c.left != 0 || algorithm != KEY_ALGORITHM_AES_256 ||
        row->sub != r->version_count + 1 || !state_ok(v.life.state))
        return false;
    memcpy(v.tag, tag.ptr, sizeof v.tag);
    if (wrapped.len != 0)
        memcpy(v.wrapped, wrapped.ptr, sizeof v.wrapped);
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

static struct span material_aad(uint16_t shard, const uint8_t id[KEY_ID_LEN], const struct key_version *v,
                                uint8_t room[MATERIAL_AAD_MAX])
{
    struct writer w = writer_of(room, MATERIAL_AAD_MAX);

    write_bytes(&w, span_str("wirewrap material 1"));
    write_u16(&w, shard);
    write_bytes(&w, span_of(id, KEY_ID_LEN));
    write_u32(&w, v->number);
    write_u8(&w, KEY_ALGORITHM_AES_256);
    write_bytes(&w, span_of(v->tag, sizeof v->tag));
    CHECK(writer_ok(&w));
    return writer_span(&w);
}

void record_material_wrap(struct mbed_aead *kek, struct mbed_rng *rng, uint16_t shard,
                          const uint8_t id[KEY_ID_LEN], struct key_version *v, const uint8_t *material)
{
    uint8_t room[MATERIAL_AAD_MAX];

    mbed_random(rng, v->wrapped, MBED_NONCE_LEN);
    mbed_seal(kek, v->wrapped, material_aad(shard, id, v, room), span_of(material, KEY_MATERIAL_LEN),
              v->wrapped + MBED_NONCE_LEN);
}

bool record_material_unwrap(struct mbed_aead *kek, uint16_t shard, const uint8_t id[KEY_ID_LEN],
                            const struct key_version *v, uint8_t *material)
{
    uint8_t room[MATERIAL_AAD_MAX];

    return mbed_open(kek, v->wrapped, material_aad(shard, id, v, room),
                     span_of(v->wrapped + MBED_NONCE_LEN, KEY_MATERIAL_LEN + MBED_TAG_LEN), material);
}
