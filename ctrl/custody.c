#include "ctrl/custody.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"

#include <stdlib.h>
#include <time.h>

struct custody {
    struct store *store;
    struct mbed_rng *rng;
    struct registry *registry;
    struct mbed_aead *kek;
    uint8_t *material; /* locked: one key version in the clear, only while it is made or checked */
    bool trust_known;
    uint8_t trust_digest[MBED_DIGEST_LEN];
    struct custody_listener listener;
};

static const uint8_t no_id[KEY_ID_LEN];

/* ---- loading ---- */

static bool load_row(void *ctx, const struct store_row *row)
{
    struct custody *c = ctx;

    if (row->kind == STORE_TRUST) {
        if (row->body.len != MBED_DIGEST_LEN)
            return false;
        memcpy(c->trust_digest, row->body.ptr, MBED_DIGEST_LEN);
        c->trust_known = true;
        return true;
    }
    if (row->kind == STORE_KEY) {
        struct key_record *made = record_key_decode(row);

        if (made == NULL || registry_by_path(c->registry, span_str(made->path)) != NULL) {
            record_unref(made);
            return false;
        }
        registry_put(c->registry, made);
        return true;
    }
    struct key_record *r = registry_loading(c->registry, row->id);
    if (r == NULL)
        return false;
    if (row->kind == STORE_VERSION)
        return record_version_decode(row, r);
    return row->kind == STORE_POLICY && record_policy_decode(row, r);
}

/* Everything that will be pushed must open now: later it would be our own bug. */
static bool check_record(struct custody *c, const struct key_record *r, struct refusal *why)
{
    for (uint32_t i = 0; i < r->version_count; i++) {
        const struct key_version *v = &r->versions[i];
        bool ok = v->state == KEY_STATE_DESTROYED ||
                  record_material_unwrap(c->kek, CTRL_SHARD, r->id, v, c->material);

        secret_wipe(c->material, KEY_MATERIAL_LEN);
        if (!ok)
            return refuse(why, "store_format", "restore a backup", "key %s version %u does not open", r->path,
                          v->number);
    }
    if (r->primary > r->version_count)
        return refuse(why, "store_format", "restore a backup", "key %s has no version %u", r->path,
                      r->primary);
    return true;
}

static bool settle(struct custody *c, const struct key_record *r, struct refusal *why);

static bool has_pending(const struct key_record *r)
{
    for (uint32_t i = 0; i < r->version_count; i++) {
        if (r->versions[i].state == KEY_STATE_PENDING_DURABLE)
            return true;
    }
    return r->state == KEY_STATE_PENDING_DURABLE;
}

static bool check_all(struct custody *c, struct refusal *why)
{
    for (size_t i = 0; i < registry_count(c->registry); i++) {
        if (!check_record(c, registry_at(c->registry, i), why))
            return false;
        /* A full disk must not keep the keys from being served: a pending version stays pending then. */
        if (has_pending(registry_at(c->registry, i)) && !settle(c, registry_at(c->registry, i), why))
            log_warn("pending version not enabled", F("why", why->text));
    }
    return true;
}

static bool derive_kek(struct custody *c, const uint8_t *srk)
{
    uint8_t *key = secret_pages_alloc(MBED_KEY_LEN);

    if (key == NULL)
        return false;
    store_derive(srk, "key encryption key", CTRL_SHARD, key);
    c->kek = mbed_aead_new(key);
    secret_pages_free(key, MBED_KEY_LEN);
    c->material = secret_pages_alloc(KEY_MATERIAL_LEN);
    return c->kek != NULL && c->material != NULL;
}

struct custody *custody_open(struct store *s, struct mbed_rng *rng, const uint8_t *srk, struct refusal *why)
{
    struct custody *c = calloc(1, sizeof *c);

    CHECK(c != NULL);
    c->store = s;
    c->rng = rng;
    c->registry = registry_new();
    if (!derive_kek(c, srk)) {
        refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl",
               "no locked memory for the key-encryption key");
        custody_close(c);
        return NULL;
    }
    if (!store_unlock(s, srk, load_row, c, why) || !check_all(c, why)) {
        custody_close(c);
        return NULL;
    }
    return c;
}

void custody_close(struct custody *c)
{
    if (c == NULL)
        return;
    store_close(c->store);
    registry_free(c->registry);
    mbed_aead_free(c->kek);
    secret_pages_free(c->material, KEY_MATERIAL_LEN);
    free(c);
}

void custody_listen(struct custody *c, struct custody_listener l)
{
    c->listener = l;
}

const struct registry *custody_registry(const struct custody *c)
{
    return c->registry;
}

uint64_t custody_epoch(const struct custody *c)
{
    return store_epoch(c->store);
}

void custody_idle(struct custody *c)
{
    store_checkpoint(c->store, false);
}

/* ---- paths ---- */

static bool path_byte_ok(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '.' ||
           ch == '_' || ch == '~' || ch == '-';
}

static bool segment_ok(const char *s, size_t len)
{
    if (len == 0 || (len == 1 && s[0] == '.') || (len == 2 && s[0] == '.' && s[1] == '.'))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!path_byte_ok(s[i]))
            return false;
    }
    return true;
}

bool custody_path_ok(const char *path, struct refusal *why)
{
    size_t len = strlen(path);
    const char *at = path;

    if (len == 0 || len > EKM_KEY_PATH_MAX)
        return refuse(why, "bad_path", "choose a path such as v0/team/key",
                      "a key path has 1..%d bytes, not %zu", EKM_KEY_PATH_MAX, len);
    for (;;) {
        size_t segment = strcspn(at, "/");

        if (!segment_ok(at, segment))
            return refuse(why, "bad_path",
                          "use letters, digits and . _ ~ - between single slashes, e.g. v0/team/key",
                          "the path has a bad segment at byte %zu: \"%.*s\"", (size_t)(at - path),
                          (int)(segment < 64 ? segment : 64), at);
        if (at[segment] == '\0')
            return true;
        at += segment + 1;
    }
}

/* ---- committing ---- */

static void put_key(struct custody *c, const struct key_record *r)
{
    uint8_t body[STORE_BODY_MAX];

    store_put(c->store, STORE_KEY, r->id, 0, span_of(body, record_key_encode(r, body)));
}

static void put_version(struct custody *c, const struct key_record *r, uint32_t number)
{
    uint8_t body[STORE_BODY_MAX];
    size_t len = record_version_encode(&r->versions[number - 1], body);

    store_put(c->store, STORE_VERSION, r->id, number, span_of(body, len));
}

static void put_policy(struct custody *c, const struct key_record *r)
{
    uint8_t body[STORE_BODY_MAX];

    store_put(c->store, STORE_POLICY, r->id, 0, span_of(body, record_policy_encode(&r->policy, body)));
}

/* Commits what was put; then next takes the place of what was there.  Takes over next in either case. */
static bool commit_record(struct custody *c, struct key_record *next, struct refusal *why)
{
    if (!store_commit(c->store, why)) {
        record_unref(next);
        return false;
    }
    registry_put(c->registry, next);
    if (c->listener.changed != NULL)
        c->listener.changed(c->listener.ctx, next);
    return true;
}

/* ---- the lifecycle on a copy ---- */

/* A copy of r's states that lifecycle_step may work on; freed by lifecycle_take or by hand. */
static struct lifecycle lifecycle_of(const struct key_record *r)
{
    struct lifecycle l = {r->state, r->primary, r->version_count, malloc((size_t)r->version_count + 1)};

    CHECK(l.version_states != NULL);
    for (uint32_t i = 0; i < r->version_count; i++)
        l.version_states[i] = r->versions[i].state;
    return l;
}

/* Writes the states of l, which has as many versions, into next and puts every version that differs. */
static void lifecycle_take(struct custody *c, struct key_record *next, struct lifecycle *l)
{
    uint64_t epoch = store_epoch(c->store) + 1;

    CHECK(l->version_count == next->version_count);
    next->state = l->key_state;
    next->primary = l->primary;
    next->epoch = epoch;
    for (uint32_t i = 0; i < l->version_count; i++) {
        if (next->versions[i].state == l->version_states[i])
            continue;
        next->versions[i].state = l->version_states[i];
        next->versions[i].epoch = epoch;
        put_version(c, next, i + 1);
    }
    free(l->version_states);
}

static bool lifecycle_refuse(enum lifecycle_status s, const char *path, uint32_t version, struct refusal *why)
{
    const char *next = "wwctl key show tells its state";
    const char *code = "refused";

    switch (s) {
    case LIFECYCLE_EXISTS:
        code = "key_exists", next = "choose another path, or add a version: wwctl key rotate PATH";
        break;
    case LIFECYCLE_NO_KEY:
        code = "no_such_key", next = "see wwctl key list, or make it: wwctl key create PATH";
        break;
    case LIFECYCLE_NO_VERSION:
        code = "no_such_version", next = "see wwctl key show PATH";
        break;
    case LIFECYCLE_PENDING:
        code = "pending", next = "enable the key first: wwctl key enable PATH";
        break;
    case LIFECYCLE_KEY_OFF:
        code = "key_disabled", next = "enable the key first: wwctl key enable PATH";
        break;
    case LIFECYCLE_TOO_MANY:
        code = "too_many_versions", next = "make a new key";
        break;
    case LIFECYCLE_CHANGED:
    case LIFECYCLE_ALREADY:
    case LIFECYCLE_NOT_SWITCHABLE:
        break;
    }
    if (version != 0)
        return refuse(why, code, next, "%s version %u: %s", path, version, lifecycle_status_text(s));
    return refuse(why, code, next, "%s: %s", path, lifecycle_status_text(s));
}

/* Pending versions of r become ENABLED: they are in every sink. */
static bool settle(struct custody *c, const struct key_record *r, struct refusal *why)
{
    struct lifecycle l = lifecycle_of(r);
    struct key_record *next = record_copy(r);

    CHECK(lifecycle_step(&l, LIFECYCLE_DURABLE, 0) == LIFECYCLE_CHANGED);
    store_begin(c->store);
    lifecycle_take(c, next, &l);
    put_key(c, next);
    return commit_record(c, next, why);
}

/* ---- verbs ---- */

static bool tag_is_taken(const struct key_record *r, uint32_t count, const uint8_t tag[KEY_VERSION_TAG_LEN])
{
    for (uint32_t i = 0; i < count; i++) {
        if (memcmp(r->versions[i].tag, tag, KEY_VERSION_TAG_LEN) == 0)
            return true;
    }
    return false;
}

/* The next version of r: fresh material, a tag of its own, pending. */
static void add_version(struct custody *c, struct key_record *r)
{
    struct key_version *v = &r->versions[r->version_count];

    *v = (struct key_version){.number = r->version_count + 1,
                              .state = KEY_STATE_PENDING_DURABLE,
                              .created_unix_s = (int64_t)time(NULL),
                              .epoch = store_epoch(c->store) + 1};
    do {
        mbed_random(c->rng, v->tag, sizeof v->tag);
    } while (tag_is_taken(r, r->version_count, v->tag));
    mbed_random(c->rng, c->material, KEY_MATERIAL_LEN);
    record_material_wrap(c->kek, c->rng, CTRL_SHARD, r->id, v, c->material);
    secret_wipe(c->material, KEY_MATERIAL_LEN);
    r->version_count++;
}

/* Stores r with its new last version as pending, then lets it serve. */
static bool commit_new_version(struct custody *c, struct key_record *r, bool new_key, struct refusal *why)
{
    uint8_t id[KEY_ID_LEN];

    memcpy(id, r->id, sizeof id);
    r->epoch = store_epoch(c->store) + 1;
    store_begin(c->store);
    put_key(c, r);
    put_version(c, r, r->version_count);
    if (new_key)
        put_policy(c, r);
    if (!commit_record(c, r, why))
        return false;
    return settle(c, registry_by_id(c->registry, id), why);
}

bool custody_create(struct custody *c, const char *path, struct refusal *why)
{
    uint8_t id[KEY_ID_LEN];
    uint8_t state;
    struct lifecycle l = {.version_states = &state};

    if (!custody_path_ok(path, why))
        return false;
    if (registry_by_path(c->registry, span_str(path)) != NULL)
        return lifecycle_refuse(LIFECYCLE_EXISTS, path, 0, why);
    CHECK(lifecycle_step(&l, LIFECYCLE_CREATE, 0) == LIFECYCLE_CHANGED);
    do {
        mbed_random(c->rng, id, sizeof id);
    } while (memcmp(id, no_id, sizeof id) == 0 || registry_by_id(c->registry, id) != NULL);
    struct key_record *r = record_new(id, path);
    r->state = l.key_state;
    r->created_unix_s = (int64_t)time(NULL);
    add_version(c, r);
    return commit_new_version(c, r, true, why);
}

bool custody_rotate(struct custody *c, const char *path, struct refusal *why)
{
    const struct key_record *r = registry_by_path(c->registry, span_str(path));

    if (r == NULL)
        return lifecycle_refuse(LIFECYCLE_NO_KEY, path, 0, why);
    struct lifecycle l = lifecycle_of(r);
    enum lifecycle_status s = lifecycle_step(&l, LIFECYCLE_ROTATE, 0);
    free(l.version_states);
    if (s != LIFECYCLE_CHANGED)
        return lifecycle_refuse(s, path, 0, why);
    struct key_record *next = record_copy(r);
    add_version(c, next);
    return commit_new_version(c, next, false, why);
}

bool custody_switch(struct custody *c, const char *path, uint32_t version, bool enable, bool *already,
                    struct refusal *why)
{
    const struct key_record *r = registry_by_path(c->registry, span_str(path));

    *already = false;
    if (r == NULL)
        return lifecycle_refuse(LIFECYCLE_NO_KEY, path, 0, why);
    if (enable && has_pending(r))
        return settle(c, r, why);
    struct lifecycle l = lifecycle_of(r);
    enum lifecycle_status s = lifecycle_step(&l, enable ? LIFECYCLE_ENABLE : LIFECYCLE_DISABLE, version);
    if (s != LIFECYCLE_CHANGED) {
        free(l.version_states);
        *already = s == LIFECYCLE_ALREADY;
        return *already || lifecycle_refuse(s, path, version, why);
    }
    struct key_record *next = record_copy(r);
    store_begin(c->store);
    lifecycle_take(c, next, &l);
    put_key(c, next);
    return commit_record(c, next, why);
}

bool custody_set_policy(struct custody *c, const char *path, const struct policy *p, struct refusal *why)
{
    const struct key_record *r = registry_by_path(c->registry, span_str(path));

    if (r == NULL)
        return lifecycle_refuse(LIFECYCLE_NO_KEY, path, 0, why);
    struct key_record *next = record_copy(r);
    policy_free(&next->policy);
    policy_copy(&next->policy, p);
    next->epoch = store_epoch(c->store) + 1;
    store_begin(c->store);
    put_policy(c, next);
    return commit_record(c, next, why);
}

bool custody_note_trust(struct custody *c, const uint8_t digest[MBED_DIGEST_LEN], bool force,
                        struct refusal *why)
{
    if (!force && c->trust_known && memcmp(c->trust_digest, digest, MBED_DIGEST_LEN) == 0)
        return true;
    store_begin(c->store);
    store_put(c->store, STORE_TRUST, no_id, 0, span_of(digest, MBED_DIGEST_LEN));
    if (!store_commit(c->store, why))
        return false;
    memcpy(c->trust_digest, digest, MBED_DIGEST_LEN);
    c->trust_known = true;
    if (c->listener.changed != NULL)
        c->listener.changed(c->listener.ctx, NULL);
    return true;
}

void custody_material(const struct custody *c, const struct key_record *r, const struct key_version *v,
                      uint8_t *material)
{
    CHECK(record_material_unwrap(c->kek, CTRL_SHARD, r->id, v, material));
}
