/* The commands about keys and their policies. */
#include "ctrl/admin/call.h"

#include "base/check.h"
#include "ctrl/keys/policy.h"

#include <stdlib.h>

/* ---- telling ---- */

/* Its end, scheduled or done.  A destruction waits for its date and for so much time watched (ctrl/lib/clock.h): the
 * later of the two is when it will be. */
static void end_into(json_t *j, const struct lifecycle_unit *u, struct lifecycle_time now)
{
    if (u->state == KEY_STATE_DESTROYED)
        json_object_set_new(j, "destroyed", time_json(u->at_unix_s));
    if (u->state != KEY_STATE_DESTROY_SCHEDULED)
        return;
    int64_t left = u->watched_s > now.watched_s ? (int64_t)(u->watched_s - now.watched_s) : 0;
    int64_t at = now.unix_s + left > u->at_unix_s + CLOCK_JUMP_S ? now.unix_s + left : u->at_unix_s;
    json_object_set_new(j, "destroy_at", time_json(at));
    json_object_set_new(j, "window_s", json_integer((json_int_t)u->window_s));
}

static json_t *version_json(const struct daemon *d, const struct key_record *r, const struct key_version *v,
                            struct lifecycle_time now)
{
    json_t *j = json_pack("{s:i, s:s, s:b, s:o, s:o}", "version", (int)v->number, "state",
                          key_state_name(v->life.state), "primary", v->number == r->primary, "created",
                          time_json(v->created_unix_s), "tag", hex_json(v->tag, sizeof v->tag));

    end_into(j, &v->life, now);
    if (!record_is_served(r) && v->life.state != KEY_STATE_DESTROYED) {
        char pem[PRIVATE_KEY_PEM_MAX];

        custody_public_pem(d->custody, r, v, pem);
        json_object_set_new(j, "public_key", json_string(pem));
    }
    return j;
}

static json_t *key_head_json(const struct key_record *r, struct lifecycle_time now)
{
    json_t *j = json_pack("{s:s, s:o, s:s, s:s, s:i, s:i, s:o}", "path", r->path, "id",
                          hex_json(r->id, KEY_ID_LEN), "state", key_state_name(r->life.state), "algorithm",
                          algorithm_of(r->algorithm)->name, "primary", (int)r->primary, "version_count",
                          (int)r->version_count, "created", time_json(r->created_unix_s));

    json_object_set_new(j, "served", json_boolean(record_is_served(r)));
    end_into(j, &r->life, now);
    if (r->rotate_period_s != 0)
        json_object_set_new(j, "rotate_period_s", json_integer((json_int_t)r->rotate_period_s));
    if (custody_rotates_unix_s(r) != 0)
        json_object_set_new(j, "rotates", time_json(custody_rotates_unix_s(r)));
    return j;
}

static void asker_into(void *ctx, const struct tripwire_entry *e)
{
    json_array_append_new(ctx, json_pack("{s:s, s:i, s:I, s:o}", "caller", e->caller, "version",
                                         (int)e->version, "count", (json_int_t)e->count, "last",
                                         time_json((int64_t)(e->last_unix_us / 1000000))));
}

/* Who still asks for what of r is off; NULL: nobody.  In detail with its callers. */
static json_t *asked_json(const struct daemon *d, const struct key_record *r, bool detail)
{
    struct tripwire_sum sum;
    json_t *by = json_array();

    tripwire_of(&d->tripwire, r, &sum, asker_into, by);
    if (sum.callers == 0) {
        json_decref(by);
        return NULL;
    }
    int64_t last = (int64_t)(sum.last_unix_us / 1000000);
    json_t *j =
        json_pack("{s:i, s:I, s:o, s:I}", "callers", (int)sum.callers, "count", (json_int_t)sum.count, "last",
                  time_json(last), "last_ago_s", (json_int_t)(custody_time(d->custody).unix_s - last));
    if (detail)
        json_object_set(j, "by", by);
    json_decref(by);
    return j;
}

/* Of all keys, in the order of their creation. */
json_t *all_asked_json(const struct daemon *d)
{
    const struct registry *g = custody_registry(d->custody);
    json_t *list = json_array();

    for (size_t i = 0; d->tripwire.count != 0 && i < registry_count(g); i++) {
        const struct key_record *r = registry_at(g, i);
        json_t *asked = asked_json(d, r, false);

        if (asked == NULL)
            continue;
        json_object_set_new(asked, "path", json_string(r->path));
        json_object_set_new(asked, "state", json_string(key_state_name(r->life.state)));
        json_array_append_new(list, asked);
    }
    return list;
}

json_t *key_json(const struct daemon *d, const struct key_record *r)
{
    struct lifecycle_time now = custody_time(d->custody);
    json_t *key = key_head_json(r, now);
    json_t *versions = json_array();

    for (uint32_t i = 0; i < r->version_count; i++)
        json_array_append_new(versions, version_json(d, r, &r->versions[i], now));
    json_object_set_new(key, "versions", versions);
    json_t *asked = asked_json(d, r, true);
    if (asked != NULL)
        json_object_set_new(key, "still_asked", asked);
    return key;
}

static json_t *reasons_json(uint32_t reasons)
{
    uint32_t known = (1u << (ACCESS_REASON_LAST + 1)) - 1;

    if ((reasons & known) == known)
        return json_string("all");
    json_t *list = json_array();
    for (unsigned i = 0; i <= ACCESS_REASON_LAST; i++) {
        if ((reasons & 1u << i) != 0)
            json_array_append_new(list, json_string(access_reason_names[i]));
    }
    return list;
}

static json_t *policy_json(const struct policy *p)
{
    json_t *callers = json_array();

    for (uint8_t i = 0; i < p->caller_count; i++)
        json_array_append_new(callers, json_string(p->callers[i]));
    return json_pack("{s:o, s:o, s:b, s:b, s:i}", "callers", callers, "reasons", reasons_json(p->reasons),
                     "allow_missing_reason", (p->reasons & ACCESS_REASON_ABSENT_BIT) != 0,
                     "allow_unknown_reason", (p->reasons & ACCESS_REASON_UNKNOWN_BIT) != 0, "deny_status",
                     (int)p->deny_status);
}

/* ---- keys ---- */

static const struct key_record *key_of(struct call *c)
{
    const char *path = call_text(c, "path");

    if (path == NULL)
        return NULL;
    const struct key_record *r = registry_by_path(custody_registry(c->d->custody), span_str(path));
    if (r == NULL)
        refuse(&c->why, "no_such_key", "see wwctl key list, or make it: wwctl key create PATH",
               "%.300s: no such key", path);
    return r;
}

/* Changes are refused while the dataplane holds a later epoch: this store is not the newest. */
static bool may_change(struct call *c)
{
    struct push_status s;

    push_status(c->d->push, &s);
    return !s.ahead ||
           refuse(&c->why, "dataplane_ahead",
                  "bring back the newest store; to go on with this one, restart the dataplane",
                  "the dataplane holds epoch %llu, this store ends at %llu: it is an old one",
                  (unsigned long long)s.held_epoch, (unsigned long long)custody_epoch(c->d->custody));
}

/* No material that could be lost with its root key. */
static bool may_make(struct call *c)
{
    struct root_keeper k = daemon_root_keeper(c->d);

    return may_change(c) && root_slots_suffice(&k, &c->why);
}

/* The key after a change: as it is, or as it would be. */
static const struct key_record *after_change(struct call *c)
{
    return c->dry ? custody_would(c->d->custody) : key_of(c);
}

static bool tell_change(struct call *c, bool already)
{
    const struct key_record *r = after_change(c);

    c->changed = true;
    c->wait.durable = !c->dry && custody_waits(c->d->custody, r);
    memcpy(c->wait.key_id, r->id, KEY_ID_LEN);
    json_object_set_new(c->reply, "already", json_boolean(already));
    json_object_set_new(c->reply, "key", key_json(c->d, r));
    return true;
}

bool do_key_create(struct call *c)
{
    const char *path = call_text(c, "path");
    const json_t *algorithm = json_object_get(c->request, "algorithm");

    if (path == NULL || !may_make(c))
        return false;
    if (algorithm != NULL &&
        (!json_is_string(algorithm) || strcmp(json_string_value(algorithm), "symmetric") != 0))
        return refuse(&c->why, "bad_algorithm",
                      "leave --algorithm away; import a private key: wwctl key import",
                      "the only algorithm of a key that is made here is \"symmetric\"");
    return custody_create(c->d->custody, path, &c->why) && tell_change(c, false);
}

bool do_key_import(struct call *c)
{
    const char *path = call_text(c, "path");
    const json_t *name = json_object_get(c->request, "algorithm");
    uint8_t blob[IMPORT_BLOB_MAX + 8];
    size_t len;

    if (path == NULL || !call_hex(c, "wrapped", blob, sizeof blob, &len) || !may_make(c))
        return false;
    const struct algorithm *a = name == NULL           ? algorithm_of(ALGORITHM_SYMMETRIC)
                                : json_is_string(name) ? algorithm_named(json_string_value(name))
                                                       : NULL;
    if (a == NULL)
        return refuse(&c->why, "bad_algorithm",
                      "give --algorithm one of these, or leave it away for an AES-256 key",
                      "the algorithms of private keys are " ALGORITHM_NAMES);
    return custody_import(c->d->custody, path, a, span_of(blob, len), &c->why) && tell_change(c, false);
}

bool do_key_import_key(struct call *c)
{
    char pem[IMPORT_PEM_MAX];
    bool made;

    if (!may_change(c) || !custody_import_key(c->d->custody, &made, &c->why))
        return false;
    const struct import_key *k = custody_import_key_of(c->d->custody);
    import_public_pem(k, pem);
    json_object_set_new(c->reply, "public_key", json_string(pem));
    json_object_set_new(c->reply, "algorithm", json_string(IMPORT_ALGORITHM));
    json_object_set_new(c->reply, "valid_until", time_json(k->made.unix_s + IMPORT_VALID_S));
    json_object_set_new(c->reply, "made", json_boolean(made));
    c->changed = made;
    return true;
}

static bool rotate_import(struct call *c, const char *path, int64_t period)
{
    uint8_t blob[IMPORT_BLOB_MAX + 8];
    size_t len;

    if (period >= 0)
        return refuse(&c->why, "bad_request", "give one of them", "a period or a file, not both");
    return call_hex(c, "wrapped", blob, sizeof blob, &len) && may_make(c) &&
           custody_rotate_import(c->d->custody, path, span_of(blob, len), &c->why) && tell_change(c, false);
}

bool do_key_rotate(struct call *c)
{
    const char *path = call_text(c, "path");
    int64_t period;
    bool already;

    if (path == NULL || !call_number(c, "period_s", -1, 0, UINT32_MAX, &period) || !may_change(c))
        return false;
    if (json_object_get(c->request, "wrapped") != NULL)
        return rotate_import(c, path, period);
    if (period < 0)
        return may_make(c) && custody_rotate(c->d->custody, path, &c->why) && tell_change(c, false);
    return custody_set_period(c->d->custody, path, (uint32_t)period, &already, &c->why) &&
           tell_change(c, already);
}

static bool key_switch(struct call *c, bool enable)
{
    const char *path = call_text(c, "path");
    int64_t version;
    bool already;

    if (path == NULL || !call_number(c, "version", 0, 1, KEY_VERSIONS_PER_KEY, &version) || !may_change(c))
        return false;
    c->must_be_acked = !enable;
    return custody_switch(c->d->custody, path, (uint32_t)version, enable, &already, &c->why) &&
           tell_change(c, already);
}

bool do_key_enable(struct call *c)
{
    return key_switch(c, true);
}

bool do_key_disable(struct call *c)
{
    return key_switch(c, false);
}

/* "after_s" is given in whole seconds; what is out of the range of a window is told as such, not as a bad request. */
bool do_key_destroy(struct call *c)
{
    const char *path = call_text(c, "path");
    int64_t version, after;
    bool already;

    if (path == NULL || !call_number(c, "version", 0, 1, KEY_VERSIONS_PER_KEY, &version) ||
        !call_number(c, "after_s", 0, INT64_MIN, INT64_MAX, &after) || !may_change(c))
        return false;
    if (json_object_get(c->request, "after_s") != NULL && (after <= 0 || after > UINT32_MAX))
        after = 1; /* no window either */
    c->must_be_acked = true;
    return custody_destroy(c->d->custody, path, (uint32_t)version, (uint32_t)after, &already, &c->why) &&
           tell_change(c, already);
}

bool do_key_restore(struct call *c)
{
    const char *path = call_text(c, "path");
    int64_t version;
    bool already;

    return path != NULL && call_number(c, "version", 0, 1, KEY_VERSIONS_PER_KEY, &version) && may_change(c) &&
           custody_restore(c->d->custody, path, (uint32_t)version, &already, &c->why) &&
           tell_change(c, already);
}

bool do_key_show(struct call *c)
{
    const struct key_record *r = key_of(c);

    if (r == NULL)
        return false;
    json_object_set_new(c->reply, "key", key_json(c->d, r));
    return true;
}

static int by_path(const void *a, const void *b)
{
    const struct key_record *const *one = a, *const *other = b;

    return strcmp((*one)->path, (*other)->path);
}

bool do_key_list(struct call *c)
{
    const struct registry *g = custody_registry(c->d->custody);
    struct lifecycle_time now = custody_time(c->d->custody);
    size_t count = registry_count(g);
    const struct key_record **sorted = calloc(count + 1, sizeof *sorted);
    json_t *keys = json_array();

    CHECK(sorted != NULL);
    for (size_t i = 0; i < count; i++)
        sorted[i] = registry_at(g, i);
    qsort(sorted, count, sizeof *sorted, by_path);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(keys, key_head_json(sorted[i], now));
    free(sorted);
    json_object_set_new(c->reply, "keys", keys);
    return true;
}

/* ---- policies ---- */

static bool tell_policy(struct call *c, const struct key_record *r)
{
    if (r == NULL)
        return false;
    json_object_set_new(c->reply, "path", json_string(r->path));
    json_object_set_new(c->reply, "policy", policy_json(&r->policy));
    return true;
}

bool do_policy_show(struct call *c)
{
    return tell_policy(c, key_of(c));
}

bool do_policy_set(struct call *c)
{
    const struct key_record *r = key_of(c);
    const char *text = r == NULL ? NULL : call_text(c, "text");
    struct policy p;

    if (text == NULL || !may_change(c) || !policy_parse(span_str(text), &p, &c->why))
        return false;
    c->must_be_acked = policy_takes_away(&r->policy, &p);
    bool ok = custody_set_policy(c->d->custody, r->path, &p, &c->why);
    policy_free(&p);
    if (!ok)
        return false;
    c->changed = true;
    return tell_policy(c, after_change(c));
}
