#include "ctrl/keys/custody.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <stdlib.h>

struct custody {
    struct store *store;
    struct mbed_rng *rng;
    struct registry *registry;
    struct mbed_aead *kek;
    uint8_t *proof_key; /* locked */
    struct mbed_aead
        *former_kek; /* of the root before: records that are still on their way are wrapped under it */
    uint64_t rerooted_epoch;
    struct slots slots;
    uint8_t *material; /* locked: one key version in the clear, only while it is made or checked */
    size_t material_len;
    struct import_key import;
    bool trust_known;
    uint8_t trust_digest[MBED_DIGEST_LEN];
    struct custody_listener listener;
    struct custody_gate gate;
    uint8_t (*waiting)[KEY_ID_LEN]; /* keys that may have a version pending for the gate; some twice */
    size_t waiting_count, waiting_cap;
    bool dry, destroy_enabled, approved;
    const struct key_record *would; /* of the last dry run */
    struct clock clock;
    struct clock_reading (*clock_read)(void *ctx);
    void *clock_ctx;
    struct custody_clock_status jump;
    uint64_t noted_ms; /* of the clock's count */
    bool noted, note_failed;
    bool dated;      /* some record has a date or a period: it is worth looking */
    bool must_scrub; /* something was destroyed, and its former bytes may still be in the log */
    uint64_t looked_ms;
    bool looked;
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
    if (row->kind == STORE_IMPORT)
        return import_decode(row->body, &c->import);
    if (row->kind == STORE_SLOT)
        return slots_decode(&c->slots, row);
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
        bool ok = v->life.state == KEY_STATE_DESTROYED ||
                  record_material_unwrap(c->kek, CTRL_SHARD, r, v, c->material) != 0;

        secret_wipe(c->material, record_is_served(r) ? KEY_MATERIAL_LEN : RECORD_MATERIAL_MAX);
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
        if (r->versions[i].life.state == KEY_STATE_PENDING_DURABLE)
            return true;
    }
    return r->life.state == KEY_STATE_PENDING_DURABLE;
}

/* The last change that a version of r which waits was written by. */
static uint64_t pending_epoch(const struct key_record *r)
{
    uint64_t epoch = r->epoch;

    for (uint32_t i = 0; i < r->version_count; i++) {
        if (r->versions[i].life.state == KEY_STATE_PENDING_DURABLE && r->versions[i].epoch > epoch)
            epoch = r->versions[i].epoch;
    }
    return epoch;
}

static bool is_durable(const struct custody *c, const struct key_record *r)
{
    return c->dry || c->gate.durable == NULL || c->gate.durable(c->gate.ctx, pending_epoch(r));
}

bool custody_waits(const struct custody *c, const struct key_record *r)
{
    return has_pending(r) && !is_durable(c, r);
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

/* ---- the clock ---- */

/* A unit that was doomed when so much was watched: at least that much was. */
static uint64_t watched_at_least(const struct lifecycle_unit *u)
{
    return u->state == KEY_STATE_DESTROY_SCHEDULED && u->watched_s > u->window_s ? u->watched_s - u->window_s
                                                                                 : 0;
}

/* Without its note (a restored backup has none) the count goes on from the last thing that was doomed. */
static uint64_t watched_by_records(const struct registry *g)
{
    uint64_t most = 0;

    for (size_t i = 0; i < registry_count(g); i++) {
        const struct key_record *r = registry_at(g, i);
        uint64_t at = watched_at_least(&r->life);

        most = at > most ? at : most;
        for (uint32_t v = 0; v < r->version_count; v++) {
            at = watched_at_least(&r->versions[v].life);
            most = at > most ? at : most;
        }
    }
    return most * 1000;
}

static void note_load(struct custody *c)
{
    uint8_t note[STORE_NOTE_MAX];
    size_t len = store_note_read(c->store, note);
    uint64_t least = watched_by_records(c->registry);

    if (len != 0 && !clock_note_decode(span_of(note, len), &c->clock))
        log_warn("the note of the time watched is of another version; it is passed over");
    if (c->clock.watched_ms < least)
        c->clock.watched_ms = least;
}

/* A note that is old only makes destructions later. */
static void note_save(struct custody *c)
{
    uint8_t note[CLOCK_NOTE_LEN];

    clock_note_encode(&c->clock, note);
    bool ok = store_note_write(c->store, span_of(note, sizeof note));
    if (!ok && !c->note_failed)
        log_warn("the time watched is not noted: after a restart destructions may come later than their date",
                 F("errno", errno));
    c->note_failed = !ok;
    c->noted = true;
    c->noted_ms = c->clock.watched_ms;
}

static void clock_found(struct custody *c, enum clock_finding f, int64_t by_s)
{
    if (f == CLOCK_JUMPED) {
        c->jump.jump_s = by_s;
        c->jump.jumped_unix_s = c->clock.last.unix_s;
        log_error("the clock jumped; no destruction comes any sooner for it", F("by_s", by_s),
                  F("watched_s", c->clock.watched_ms / 1000),
                  F("next", "check this machine's time; wwctl key show tells what waits"));
    } else if (f == CLOCK_UNWATCHED && by_s != 0) {
        log_info("first look at the clock after a reboot: what went by meanwhile counts for no destruction",
                 F("by_s", by_s));
    }
}

static void clock_look(struct custody *c)
{
    struct clock_reading now = c->clock_read(c->clock_ctx);
    int64_t by_s;

    enum clock_finding found = clock_advance(&c->clock, &now, &by_s);
    clock_found(c, found, by_s);
    if (!c->noted || c->clock.watched_ms - c->noted_ms >= CUSTODY_NOTE_S * 1000)
        note_save(c);
}

void custody_set_clock(struct custody *c, struct clock_reading (*read)(void *ctx), void *ctx)
{
    c->clock_read = read;
    c->clock_ctx = ctx;
}

struct lifecycle_time custody_time(struct custody *c)
{
    clock_look(c);
    return (struct lifecycle_time){c->clock.last.unix_s, c->clock.watched_ms / 1000};
}

void custody_clock_status(const struct custody *c, struct custody_clock_status *out)
{
    *out = c->jump;
    out->watched_s = c->clock.watched_ms / 1000;
}

/* NULL: out of locked memory. */
static struct mbed_aead *kek_of(const uint8_t *srk)
{
    uint8_t *key = secret_pages_alloc(MBED_KEY_LEN);

    if (key == NULL)
        return NULL;
    store_derive(srk, "key encryption key", CTRL_SHARD, key);
    struct mbed_aead *kek = mbed_aead_new(key);
    secret_pages_free(key, MBED_KEY_LEN);
    return kek;
}

static bool derive_kek(struct custody *c, const uint8_t *srk)
{
    c->kek = kek_of(srk);
    c->material = secret_pages_alloc(IMPORT_MATERIAL_ROOM);
    c->proof_key = secret_pages_alloc(MBED_KEY_LEN);
    if (c->proof_key != NULL)
        store_derive(srk, CUSTODY_PROOF_LABEL, CTRL_SHARD, c->proof_key);
    return c->kek != NULL && c->material != NULL && c->proof_key != NULL;
}

struct custody *custody_open(struct store *s, struct mbed_rng *rng, const uint8_t *srk, struct refusal *why)
{
    return custody_open_gated(s, rng, srk, (struct custody_gate){0}, why);
}

struct custody *custody_open_gated(struct store *s, struct mbed_rng *rng, const uint8_t *srk,
                                   struct custody_gate gate, struct refusal *why)
{
    struct custody *c = calloc(1, sizeof *c);

    CHECK(c != NULL);
    c->gate = gate;
    c->store = s;
    c->rng = rng;
    c->clock_read = clock_read;
    c->dated = true;
    c->registry = registry_new();
    if (!import_init(&c->import) || !derive_kek(c, srk)) {
        refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl",
               "no locked memory for the key-encryption key");
        custody_close(c);
        return NULL;
    }
    if (!store_unlock(s, srk, load_row, c, why)) {
        custody_close(c);
        return NULL;
    }
    note_load(c);
    if (!check_all(c, why)) {
        custody_close(c);
        return NULL;
    }
    return c;
}

void custody_close(struct custody *c)
{
    if (c == NULL)
        return;
    if (c->noted)
        note_save(c);
    record_unref(c->would);
    store_close(c->store);
    registry_free(c->registry);
    mbed_aead_free(c->kek);
    mbed_aead_free(c->former_kek);
    import_free(&c->import);
    free(c->waiting);
    secret_pages_free(c->material, IMPORT_MATERIAL_ROOM);
    secret_pages_free(c->proof_key, MBED_KEY_LEN);
    free(c);
}

const uint8_t *custody_proof_key(const struct custody *c)
{
    return c->proof_key;
}

struct store *custody_store(struct custody *c)
{
    return c->store;
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
    size_t len = record_version_encode(r, &r->versions[number - 1], body);

    store_put(c->store, STORE_VERSION, r->id, number, span_of(body, len));
}

static void put_policy(struct custody *c, const struct key_record *r)
{
    uint8_t body[STORE_BODY_MAX];

    store_put(c->store, STORE_POLICY, r->id, 0, span_of(body, record_policy_encode(&r->policy, body)));
}

/* Something about it happens by itself, some day. */
static bool is_dated(const struct key_record *r)
{
    bool dated = r->life.state == KEY_STATE_DESTROY_SCHEDULED || r->rotate_period_s != 0 || has_pending(r);

    for (uint32_t i = 0; !dated && i < r->version_count; i++)
        dated = r->versions[i].life.state == KEY_STATE_DESTROY_SCHEDULED ||
                (r->life.state == KEY_STATE_DESTROYED && r->versions[i].life.state != KEY_STATE_DESTROYED);
    return dated;
}

static void keep_would(struct custody *c, const struct key_record *next)
{
    record_unref(c->would);
    c->would = next;
}

void custody_dry_run(struct custody *c, bool on)
{
    c->dry = on;
    keep_would(c, NULL);
}

const struct key_record *custody_would(const struct custody *c)
{
    return c->would;
}

/* Commits what was put; then next takes the place of what was there.  Takes over next in either case. */
static bool commit_record(struct custody *c, struct key_record *next, struct refusal *why)
{
    if (c->dry) {
        store_abandon(c->store);
        keep_would(c, next);
        return true;
    }
    if (!store_commit(c->store, why)) {
        record_unref(next);
        return false;
    }
    registry_put(c->registry, next);
    c->dated |= is_dated(next);
    if (c->listener.changed != NULL)
        c->listener.changed(c->listener.ctx, next);
    return true;
}

/* ---- the lifecycle on a copy ---- */

/* A copy of r's states that lifecycle_step may work on; freed by lifecycle_take or by hand. */
static struct lifecycle lifecycle_of(const struct key_record *r)
{
    struct lifecycle l = {r->life, r->primary, r->window_s, r->version_count,
                          calloc((size_t)r->version_count + 1, sizeof *l.versions)};

    CHECK(l.versions != NULL);
    for (uint32_t i = 0; i < r->version_count; i++)
        l.versions[i] = r->versions[i].life;
    return l;
}

static bool unit_equal(const struct lifecycle_unit *a, const struct lifecycle_unit *b)
{
    return a->state == b->state && a->window_s == b->window_s && a->at_unix_s == b->at_unix_s &&
           a->watched_s == b->watched_s;
}

/* Writes the states of l, which has as many versions, into next and puts every version that differs.  The material
 * of a destroyed one is left out of its row, and wiped here. */
static void lifecycle_take(struct custody *c, struct key_record *next, struct lifecycle *l)
{
    uint64_t epoch = store_epoch(c->store) + 1;

    CHECK(l->version_count == next->version_count);
    next->life = l->key;
    next->primary = l->primary;
    next->window_s = l->window_s;
    next->epoch = epoch;
    for (uint32_t i = 0; i < l->version_count; i++) {
        struct key_version *v = &next->versions[i];

        if (unit_equal(&v->life, &l->versions[i]))
            continue;
        v->life = l->versions[i];
        v->epoch = epoch;
        if (v->life.state == KEY_STATE_DESTROYED)
            record_material_drop(v);
        put_version(c, next, i + 1);
    }
    free(l->versions);
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
        code = "pending", next = "make it durable first: wwctl key enable PATH";
        break;
    case LIFECYCLE_KEY_OFF:
        code = "key_disabled", next = "enable the key first: wwctl key enable PATH";
        break;
    case LIFECYCLE_TOO_MANY:
        code = "too_many_versions", next = "make a new key";
        break;
    case LIFECYCLE_DOOMED:
        code = "destroy_scheduled", next = "restore it first: wwctl key restore PATH [--version N]";
        break;
    case LIFECYCLE_GONE:
        code = "destroyed", next = "nothing brings it back here; a backup from before may hold it";
        break;
    case LIFECYCLE_PRIMARY:
        code = "primary_version", next = "rotate first (wwctl key rotate PATH), or destroy the whole key";
        break;
    case LIFECYCLE_ON:
        code = "disable_first",
        next = "wwctl key disable, wait until nobody misses it, then destroy: disabling is undone at once";
        break;
    case LIFECYCLE_BAD_WINDOW:
        code = "bad_window", next = "give --after 1d..120d, or leave it away";
        break;
    case LIFECYCLE_NEEDS_APPROVAL:
        code = "needs_approval", next = "leave --after away, or give at least the time that was set before";
        break;
    case LIFECYCLE_CHANGED:
    case LIFECYCLE_ALREADY:
    case LIFECYCLE_NOT_DUE:
        break;
    }
    if (version != 0)
        return refuse(why, code, next, "%s version %u: %s", path, version, lifecycle_status_text(s));
    return refuse(why, code, next, "%s: %s", path, lifecycle_status_text(s));
}

static void wait_for_gate(struct custody *c, const uint8_t id[KEY_ID_LEN])
{
    if (c->waiting_count == c->waiting_cap) {
        c->waiting_cap = c->waiting_cap == 0 ? 64 : 2 * c->waiting_cap;
        c->waiting = realloc(c->waiting, c->waiting_cap * sizeof *c->waiting);
        CHECK(c->waiting != NULL);
    }
    memcpy(c->waiting[c->waiting_count++], id, KEY_ID_LEN);
}

/* Pending versions of r become ENABLED once they are in every sink; until then they wait. */
static bool settle(struct custody *c, const struct key_record *r, struct refusal *why)
{
    if (!is_durable(c, r)) {
        wait_for_gate(c, r->id);
        return true;
    }
    struct lifecycle l = lifecycle_of(r);
    struct key_record *next = record_copy(r);

    CHECK(lifecycle_step(&l, &(struct lifecycle_input){.event = LIFECYCLE_DURABLE}) == LIFECYCLE_CHANGED);
    store_begin(c->store);
    lifecycle_take(c, next, &l);
    put_key(c, next);
    return commit_record(c, next, why);
}

void custody_durable(struct custody *c)
{
    size_t count = c->waiting_count;
    struct refusal why;

    c->waiting_count = 0; /* settle puts back, at or before its old place, what still waits */
    for (size_t i = 0; i < count; i++) {
        uint8_t id[KEY_ID_LEN];

        memcpy(id, c->waiting[i], sizeof id);
        const struct key_record *r = registry_by_id(c->registry, id);
        if (r != NULL && has_pending(r) && !settle(c, r, &why)) {
            wait_for_gate(c, id);
            log_warn("pending version not enabled; it is tried again", F("why", why.text));
        }
    }
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

/* The next version of r: fresh material, or (imported) what is in c->material; a tag of its own, pending. */
static void add_version(struct custody *c, struct key_record *r, bool imported)
{
    struct key_version *v = &r->versions[r->version_count];

    *v = (struct key_version){.number = r->version_count + 1,
                              .life.state = KEY_STATE_PENDING_DURABLE,
                              .created_unix_s = custody_time(c).unix_s,
                              .epoch = store_epoch(c->store) + 1};
    do {
        mbed_random(c->rng, v->tag, sizeof v->tag);
    } while (tag_is_taken(r, r->version_count, v->tag));
    if (!imported) {
        CHECK(record_is_served(r));
        mbed_random(c->rng, c->material, KEY_MATERIAL_LEN);
        c->material_len = KEY_MATERIAL_LEN;
    }
    record_material_wrap(c->kek, c->rng, CTRL_SHARD, r, v, span_of(c->material, c->material_len));
    secret_wipe(c->material, c->material_len);
    r->version_count++;
}

/* As settle; a refusal says that the version is there all the same, and how it gets on. */
static bool settle_named(struct custody *c, const struct key_record *r, struct refusal *why)
{
    struct refusal cause;

    if (settle(c, r, &cause))
        return true;
    return refuse(why, "pending", "repeat the command when that is mended; ww-ctrl tries by itself, too",
                  "%.200s version %u is stored, but not enabled yet: %.250s", r->path, r->version_count,
                  cause.text);
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
    return settle_named(c, c->dry ? c->would : registry_by_id(c->registry, id), why);
}

static bool may_create(const struct custody *c, const char *path, struct refusal *why)
{
    return custody_path_ok(path, why) && (registry_by_path(c->registry, span_str(path)) == NULL ||
                                          lifecycle_refuse(LIFECYCLE_EXISTS, path, 0, why));
}

/* imported: the material is in c->material. */
static bool create(struct custody *c, const char *path, uint8_t algorithm, bool imported, struct refusal *why)
{
    uint8_t id[KEY_ID_LEN];
    struct lifecycle_unit first;
    struct lifecycle l = {.versions = &first};

    CHECK(lifecycle_step(&l, &(struct lifecycle_input){.event = LIFECYCLE_CREATE}) == LIFECYCLE_CHANGED);
    do {
        mbed_random(c->rng, id, sizeof id);
    } while (memcmp(id, no_id, sizeof id) == 0 || registry_by_id(c->registry, id) != NULL);
    struct key_record *r = record_new(id, path);
    r->algorithm = algorithm;
    r->life = l.key;
    r->created_unix_s = custody_time(c).unix_s;
    add_version(c, r, imported);
    return commit_new_version(c, r, true, why);
}

bool custody_create(struct custody *c, const char *path, struct refusal *why)
{
    const struct key_record *there = registry_by_path(c->registry, span_str(path));

    if (there != NULL && there->life.state == KEY_STATE_PENDING_DURABLE)
        return settle_named(c, there, why);
    return may_create(c, path, why) && create(c, path, ALGORITHM_SYMMETRIC, false, why);
}

/* ---- import ---- */

/* No key changed, but an epoch was used: the dataplane's follows. */
static bool commit_import_key(struct custody *c, struct refusal *why)
{
    uint8_t *body = secret_pages_alloc(IMPORT_BODY_MAX);

    if (body == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl",
                      "no locked memory for an import key");
    store_begin(c->store);
    store_put(c->store, STORE_IMPORT, no_id, 0, span_of(body, import_encode(&c->import, body)));
    secret_pages_free(body, IMPORT_BODY_MAX);
    if (!store_commit(c->store, why))
        return false;
    c->dated = true;
    if (c->listener.changed != NULL)
        c->listener.changed(c->listener.ctx, NULL);
    return true;
}

bool custody_import_key(struct custody *c, bool *made, struct refusal *why)
{
    struct lifecycle_time now = custody_time(c);

    *made = false;
    if (import_is_valid(&c->import, now))
        return true;
    if (!import_make(&c->import, c->rng, now))
        return refuse(why, "no_import_key", "try again", "no RSA key could be made");
    *made = commit_import_key(c, why);
    if (!*made)
        import_forget(&c->import);
    else
        note_save(c);
    return *made;
}

const struct import_key *custody_import_key_of(const struct custody *c)
{
    return &c->import;
}

/* Into c->material; nothing is there when it is refused. */
static bool open_import(struct custody *c, const struct algorithm *a, struct span blob, struct refusal *why)
{
    if (!import_is_valid(&c->import, custody_time(c)))
        return refuse(why, "no_import_key", "wwctl key import-key makes one; wrap the material anew under it",
                      "there is no import key, or its three days are over");
    if (!import_open(&c->import, c->rng, blob, a->kind != ALGORITHM_AES, c->material, &c->material_len, why))
        return false;
    if (a->kind == ALGORITHM_AES || private_key_check(span_of(c->material, c->material_len), a, c->rng, why))
        return true;
    secret_wipe(c->material, c->material_len);
    return false;
}

/* Rows of private keys are not for the version before. */
static bool level_has(const struct custody *c, const struct algorithm *a, struct refusal *why)
{
    return a->number == ALGORITHM_SYMMETRIC || store_level(c->store) >= STORE_LEVEL_PRIVATE_KEYS ||
           refuse(
               why, "store_level", "wwctl upgrade status tells what a commit means",
               "the store is at format level %u, which has no private keys: wwctl upgrade commit comes first",
               store_level(c->store));
}

bool custody_import(struct custody *c, const char *path, const struct algorithm *a, struct span blob,
                    struct refusal *why)
{
    return level_has(c, a, why) && may_create(c, path, why) && open_import(c, a, blob, why) &&
           create(c, path, a->number, true, why);
}

/* Its time is over: the row is overwritten, the pages are wiped. */
static bool forget_import_key(struct custody *c, struct refusal *why)
{
    struct import_key none = {0}, was = c->import;

    c->import = none;
    if (!commit_import_key(c, why)) {
        c->import = was;
        return false;
    }
    c->import = was;
    import_forget(&c->import);
    log_info("the import key's time is over; it is gone", F("epoch", store_epoch(c->store)));
    c->must_scrub = true;
    return true;
}

static bool may_rotate(const struct key_record *r, struct refusal *why)
{
    struct lifecycle l = lifecycle_of(r);
    enum lifecycle_status s = lifecycle_step(&l, &(struct lifecycle_input){.event = LIFECYCLE_ROTATE});

    free(l.versions);
    return s == LIFECYCLE_CHANGED || lifecycle_refuse(s, r->path, 0, why);
}

static bool rotate(struct custody *c, const struct key_record *r, bool imported, struct refusal *why)
{
    struct key_record *next = record_copy(r);

    add_version(c, next, imported);
    return commit_new_version(c, next, false, why);
}

static bool by_import_only(const struct key_record *r, struct refusal *why)
{
    return refuse(why, "import_only", "bring the new private key: wwctl key rotate PATH --file F",
                  "%s: new versions of %s are made elsewhere and imported", r->path,
                  algorithm_of(r->algorithm)->name);
}

bool custody_rotate(struct custody *c, const char *path, struct refusal *why)
{
    const struct key_record *r = registry_by_path(c->registry, span_str(path));

    if (r == NULL)
        return lifecycle_refuse(LIFECYCLE_NO_KEY, path, 0, why);
    if (!record_is_served(r))
        return by_import_only(r, why);
    if (has_pending(r))
        return settle_named(c, r, why);
    return may_rotate(r, why) && rotate(c, r, false, why);
}

bool custody_rotate_import(struct custody *c, const char *path, struct span blob, struct refusal *why)
{
    const struct key_record *r = registry_by_path(c->registry, span_str(path));

    if (r == NULL)
        return lifecycle_refuse(LIFECYCLE_NO_KEY, path, 0, why);
    if (record_is_served(r))
        return refuse(why, "not_by_import", "leave --file away: Wirewrap makes the new version",
                      "%s: new versions of a symmetric key are made here", path);
    return may_rotate(r, why) && open_import(c, algorithm_of(r->algorithm), blob, why) &&
           rotate(c, r, true, why);
}

/* One event on one key: stepped on a copy, committed, put in its place. */
static bool apply(struct custody *c, const char *path, const struct lifecycle_input *in, bool *already,
                  struct refusal *why)
{
    const struct key_record *r = registry_by_path(c->registry, span_str(path));

    *already = false;
    if (r == NULL)
        return lifecycle_refuse(LIFECYCLE_NO_KEY, path, 0, why);
    struct lifecycle l = lifecycle_of(r);
    enum lifecycle_status s = lifecycle_step(&l, in);
    if (s != LIFECYCLE_CHANGED) {
        free(l.versions);
        *already = s == LIFECYCLE_ALREADY;
        if (*already && c->dry)
            keep_would(c, record_ref(r));
        return *already || lifecycle_refuse(s, path, in->version, why);
    }
    struct key_record *next = record_copy(r);
    store_begin(c->store);
    lifecycle_take(c, next, &l);
    put_key(c, next);
    return commit_record(c, next, why);
}

bool custody_switch(struct custody *c, const char *path, uint32_t version, bool enable, bool *already,
                    struct refusal *why)
{
    const struct key_record *r = registry_by_path(c->registry, span_str(path));
    struct lifecycle_input in = {.event = enable ? LIFECYCLE_ENABLE : LIFECYCLE_DISABLE, .version = version};

    *already = false;
    if (enable && r != NULL && has_pending(r))
        return settle(c, r, why);
    return apply(c, path, &in, already, why);
}

bool custody_destroy(struct custody *c, const char *path, uint32_t version, uint32_t after_s, bool *already,
                     struct refusal *why)
{
    struct lifecycle_input in = {.event = LIFECYCLE_DESTROY,
                                 .version = version,
                                 .after_s = after_s,
                                 .from_enabled = c->destroy_enabled,
                                 .approved = c->approved,
                                 .now = custody_time(c)};

    if (!apply(c, path, &in, already, why))
        return false;
    if (!*already && !c->dry)
        note_save(c);
    return true;
}

bool custody_restore(struct custody *c, const char *path, uint32_t version, bool *already,
                     struct refusal *why)
{
    struct lifecycle_input in = {.event = LIFECYCLE_RESTORE, .version = version};

    return apply(c, path, &in, already, why);
}

void custody_destroy_enabled(struct custody *c, bool may)
{
    c->destroy_enabled = may;
}

void custody_approved(struct custody *c, bool approved)
{
    c->approved = approved;
}

bool custody_set_period(struct custody *c, const char *path, uint32_t period_s, bool *already,
                        struct refusal *why)
{
    const struct key_record *r = registry_by_path(c->registry, span_str(path));

    *already = false;
    if (r == NULL)
        return lifecycle_refuse(LIFECYCLE_NO_KEY, path, 0, why);
    if (!record_is_served(r))
        return by_import_only(r, why);
    if (r->life.state >= KEY_STATE_DESTROY_SCHEDULED)
        return lifecycle_refuse(r->life.state == KEY_STATE_DESTROYED ? LIFECYCLE_GONE : LIFECYCLE_DOOMED,
                                path, 0, why);
    if (period_s != 0 && (period_s < CUSTODY_PERIOD_MIN_S || period_s > CUSTODY_PERIOD_MAX_S))
        return refuse(why, "bad_period", "give --period 1d..3650d, or 0s to rotate by hand only",
                      "%s: a rotation period must be 1d..3650d", path);
    *already = r->rotate_period_s == period_s;
    if (*already && c->dry)
        keep_would(c, record_ref(r));
    if (*already)
        return true;
    struct key_record *next = record_copy(r);
    next->rotate_period_s = period_s;
    next->epoch = store_epoch(c->store) + 1;
    store_begin(c->store);
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

/* ---- what is due ---- */

int64_t custody_rotates_unix_s(const struct key_record *r)
{
    if (r->rotate_period_s == 0 || r->life.state != KEY_STATE_ENABLED || r->version_count == 0 ||
        r->version_count >= KEY_VERSIONS_PER_KEY)
        return 0;
    return r->versions[r->version_count - 1].created_unix_s + r->rotate_period_s;
}

static bool rotation_is_due(const struct key_record *r, struct lifecycle_time now)
{
    int64_t at = custody_rotates_unix_s(r);

    return at != 0 && now.unix_s >= at && !has_pending(r);
}

static bool version_is_due(const struct key_record *r, const struct key_version *v, struct lifecycle_time now)
{
    return lifecycle_is_due(&v->life, now) ||
           (r->life.state == KEY_STATE_DESTROYED && v->life.state != KEY_STATE_DESTROYED);
}

static bool destruction_is_due(const struct key_record *r, struct lifecycle_time now)
{
    bool due = lifecycle_is_due(&r->life, now);

    for (uint32_t i = 0; !due && i < r->version_count; i++)
        due = version_is_due(r, &r->versions[i], now);
    return due;
}

/* As many units of r as one change can hold: the key first, so that it answers as destroyed from then on; what does
 * not fit is found due again. */
static bool destroy_due(struct custody *c, const struct key_record *r, struct lifecycle_time now,
                        struct refusal *why)
{
    struct lifecycle l = lifecycle_of(r);
    struct lifecycle_input in = {.event = LIFECYCLE_EXPIRE, .now = now};
    size_t rows = 1;

    for (in.version = 0; in.version <= l.version_count && rows < STORE_WRITES_MAX; in.version++) {
        if (lifecycle_step(&l, &in) == LIFECYCLE_CHANGED && in.version != 0)
            rows++;
    }
    struct key_record *next = record_copy(r);
    store_begin(c->store);
    lifecycle_take(c, next, &l);
    put_key(c, next);
    if (!commit_record(c, next, why))
        return false;
    log_info("destroyed as scheduled", F("key", next->path), F("epoch", next->epoch), F("versions", rows - 1),
             F("whole_key", next->life.state == KEY_STATE_DESTROYED));
    return true;
}

static bool rotate_due(struct custody *c, const struct key_record *r, struct refusal *why)
{
    struct key_record *next = record_copy(r);

    log_info("rotating by period", F("key", r->path), F("period_s", r->rotate_period_s));
    add_version(c, next, false);
    return commit_new_version(c, next, false, why);
}

/* All that is due of the key at idx; its record is another one after each change. */
static bool settle_due(struct custody *c, size_t idx, struct lifecycle_time now, uint32_t *budget,
                       bool *destroyed, struct refusal *why)
{
    const struct key_record *r = registry_at(c->registry, idx);

    if (has_pending(r) && is_durable(c, r) && !settle(c, r, why))
        return false;
    for (; *budget > 0 && destruction_is_due(registry_at(c->registry, idx), now); --*budget) {
        if (!destroy_due(c, registry_at(c->registry, idx), now, why))
            return false;
        *destroyed = true;
    }
    if (*budget == 0 || !rotation_is_due(registry_at(c->registry, idx), now))
        return true;
    --*budget;
    return rotate_due(c, registry_at(c->registry, idx), why);
}

static void look_for_due(struct custody *c, struct lifecycle_time now)
{
    uint32_t budget = CUSTODY_CHANGES_MAX;
    bool dated = false, destroyed = false, ok = true;
    struct refusal why;

    for (size_t i = 0; ok && budget > 0 && i < registry_count(c->registry); i++) {
        ok = !is_dated(registry_at(c->registry, i)) || settle_due(c, i, now, &budget, &destroyed, &why);
        dated |= is_dated(registry_at(c->registry, i));
    }
    if (ok && c->import.der_len != 0 && !import_is_valid(&c->import, now))
        ok = forget_import_key(c, &why);
    if (!ok)
        log_error("what is due could not be done; it is tried again", F("code", why.code), F("why", why.text),
                  F("next", why.next));
    c->must_scrub |= destroyed;
    if (c->must_scrub)
        c->must_scrub = !store_checkpoint(c->store, true);
    c->dated = dated || !ok || budget == 0 || c->must_scrub || c->import.der_len != 0;
    c->looked = budget != 0;
    c->looked_ms = c->clock.watched_ms;
}

static void forget_former(struct custody *c)
{
    if (c->former_kek == NULL || c->listener.reads_before == NULL ||
        c->listener.reads_before(c->listener.ctx, c->rerooted_epoch))
        return;
    mbed_aead_free(c->former_kek);
    c->former_kek = NULL;
}

bool custody_has_former(const struct custody *c)
{
    return c->former_kek != NULL;
}

void custody_tick(struct custody *c)
{
    struct lifecycle_time now = custody_time(c);

    forget_former(c);

    if (c->dated && (!c->looked || c->clock.watched_ms - c->looked_ms >= CUSTODY_LOOK_S * 1000))
        look_for_due(c, now);
    (void)store_checkpoint(c->store, false);
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

bool custody_set_level(struct custody *c, uint8_t level, bool *already, struct refusal *why)
{
    *already = store_level(c->store) >= level;
    if (*already || c->dry)
        return true;
    store_begin(c->store);
    store_put_level(c->store, level);
    if (!store_commit(c->store, why))
        return false;
    log_info("the store is at a new level; versions before this one read it no more", F("level", level),
             F("epoch", store_epoch(c->store)));
    if (c->listener.changed != NULL) /* nothing that the dataplane has changed, but it follows every epoch */
        c->listener.changed(c->listener.ctx, NULL);
    return true;
}

static size_t material_of(const struct custody *c, const struct key_record *r, const struct key_version *v,
                          uint8_t *out)
{
    size_t len = record_material_unwrap(c->kek, CTRL_SHARD, r, v, out);

    if (len == 0 && c->former_kek != NULL)
        len = record_material_unwrap(c->former_kek, CTRL_SHARD, r, v, out);
    CHECK(len != 0);
    return len;
}

void custody_material(const struct custody *c, const struct key_record *r, const struct key_version *v,
                      uint8_t *material)
{
    CHECK(record_is_served(r));
    (void)material_of(c, r, v, material);
}

size_t custody_private_key(const struct custody *c, const struct key_record *r, const struct key_version *v,
                           uint8_t *out)
{
    CHECK(!record_is_served(r));
    return material_of(c, r, v, out);
}

void custody_public_pem(const struct custody *c, const struct key_record *r, const struct key_version *v,
                        char out[PRIVATE_KEY_PEM_MAX])
{
    size_t len = custody_private_key(c, r, v, c->material);

    private_key_public_pem(span_of(c->material, len), out);
    secret_wipe(c->material, len);
}

/* ---- the root's slots ---- */

const struct slots *custody_slots(const struct custody *c)
{
    return &c->slots;
}

static void put_slot(struct custody *c, uint8_t number, const struct slot *to)
{
    uint8_t body[SLOTS_BODY_MAX];

    store_put_slot(c->store, number, span_of(body, slots_encode(to, body)), slot_span(to));
}

/* The trust material did not change either, but an epoch was used: the dataplane's follows. */
static void slots_take(struct custody *c, const struct slots *s)
{
    c->slots = *s;
    c->slots.vouched = true;
    if (c->listener.changed != NULL)
        c->listener.changed(c->listener.ctx, NULL);
}

static void put_slots(struct custody *c, const struct slots *s)
{
    store_begin(c->store);
    for (uint8_t i = 0; i < STORE_SLOTS_MAX; i++) {
        if (s->at[i].len != 0 || c->slots.at[i].len != 0)
            put_slot(c, i, &s->at[i]);
    }
}

bool custody_slots_adopt(struct custody *c, const struct slots *s, struct refusal *why)
{
    put_slots(c, s);
    if (!store_commit(c->store, why))
        return false;
    slots_take(c, s);
    return true;
}

bool custody_slot_put(struct custody *c, uint8_t number, const struct slot *to, struct refusal *why)
{
    struct slots *next = malloc(sizeof *next);

    CHECK(next != NULL);
    *next = c->slots;
    next->at[number] = *to;
    store_begin(c->store);
    put_slot(c, number, to);
    bool ok = store_commit(c->store, why);
    if (ok)
        slots_take(c, next);
    free(next);
    return ok;
}

/* ---- a new root ---- */

struct rewrap {
    struct custody *c;
    struct mbed_aead *kek;
    struct registry *next; /* every record, its material wrapped under kek */
};

static void rewrap_record(struct rewrap *x, const struct key_record *r)
{
    struct custody *c = x->c;
    struct key_record *next = record_copy(r);

    for (uint32_t i = 0; i < next->version_count; i++) {
        struct key_version *v = &next->versions[i];

        if (v->life.state == KEY_STATE_DESTROYED)
            continue;
        size_t len = material_of(c, r, &r->versions[i], c->material);
        record_material_wrap(x->kek, c->rng, CTRL_SHARD, next, v, span_of(c->material, len));
        secret_wipe(c->material, len);
    }
    registry_put(x->next, next);
}

/* Only versions have something in them that depends on the root. */
static size_t rewrap_body(void *ctx, const struct store_row *row, uint8_t *out)
{
    const struct rewrap *x = ctx;

    if (row->kind != STORE_VERSION) {
        memcpy(out, row->body.ptr, row->body.len);
        return row->body.len;
    }
    const struct key_record *r = registry_by_id(x->next, row->id);
    CHECK(r != NULL && row->sub >= 1 && row->sub <= r->version_count);
    return record_version_encode(r, &r->versions[row->sub - 1], out);
}

static bool reroot_store(struct rewrap *x, const uint8_t *srk, const struct slots *s, struct refusal *why)
{
    struct store_reroot r = {x, rewrap_body};
    struct custody *c = x->c;

    put_slots(c, s);
    if (!store_reroot(c->store, srk, &r, why))
        return false;
    for (size_t i = 0; i < registry_count(x->next); i++)
        registry_put(c->registry, record_ref(registry_at(x->next, i)));
    mbed_aead_free(c->former_kek);
    c->former_kek = c->kek;
    c->kek = x->kek;
    c->rerooted_epoch = store_epoch(c->store);
    note_save(c);
    slots_take(c, s);
    return true;
}

bool custody_reroot(struct custody *c, const uint8_t *srk, const struct slots *s, struct refusal *why)
{
    forget_former(c);
    if (c->former_kek != NULL && c->listener.reads_before != NULL)
        return refuse(why, "root_in_use", "repeat it when wwctl status says that the dataplane is in sync",
                      "keys under the root before the present one are still on their way to the dataplane");
    struct rewrap x = {.c = c, .kek = kek_of(srk)};
    if (x.kek == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl",
                      "no locked memory for the new key-encryption key");
    x.next = registry_new();
    for (size_t i = 0; i < registry_count(c->registry); i++)
        rewrap_record(&x, registry_at(c->registry, i));
    bool ok = reroot_store(&x, srk, s, why);
    registry_free(x.next);
    if (ok)
        store_derive(srk, CUSTODY_PROOF_LABEL, CTRL_SHARD, c->proof_key);
    else
        mbed_aead_free(x.kek);
    return ok;
}
