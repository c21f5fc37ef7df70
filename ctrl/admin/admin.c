#include "ctrl/admin/admin.h"

#include "base/check.h"
#include "ctrl/admin/admin_backup.h"
#include "ctrl/admin/admin_root.h"
#include "ctrl/admin/admin_upgrade.h"
#include "base/log.h"
#include "ctrl/keys/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Before a tail: a worker that writes all the time must not keep it from its answer. */
#define TAIL_DRAINS_MAX 64

/* One command: what it needs of the request, what it puts into the reply. */
struct call {
    struct daemon *d;
    const struct actor *who;
    const json_t *request;
    json_t *reply;
    struct refusal why;
    bool changed;           /* committed: wait for the dataplane */
    bool must_be_acked;     /* it took something away */
    bool dry;               /* nothing is changed: what would be is told */
    struct admin_wait wait; /* what it waits for besides */
    bool pending;           /* it waits for signatures */
};

/* ---- requests ---- */

static const char *text_of(struct call *c, const char *name)
{
    const json_t *v = json_object_get(c->request, name);

    if (json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v))
        return json_string_value(v);
    refuse(&c->why, "bad_request", "wwctl and ww-ctrl must be of one version",
           "\"%s\" must be given, as text", name);
    return NULL;
}

static bool number_of(struct call *c, const char *name, int64_t fallback, int64_t min, int64_t max,
                      int64_t *out)
{
    const json_t *v = json_object_get(c->request, name);

    *out = fallback;
    if (v == NULL)
        return true;
    *out = (int64_t)json_integer_value(v);
    if (!json_is_integer(v) || *out < min || *out > max)
        return refuse(&c->why, "bad_request", "give a number in that range", "\"%s\" must be %lld..%lld",
                      name, (long long)min, (long long)max);
    return true;
}

/* ---- telling ---- */

static json_t *time_json(int64_t unix_s)
{
    char text[32];
    time_t t = (time_t)unix_s;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

static json_t *hex_json(const uint8_t *p, size_t len)
{
    char text[2 * 32 + 1];

    CHECK(len <= 32);
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", p[i]);
    return json_string(text);
}

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
static json_t *all_asked_json(const struct daemon *d)
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

static json_t *key_json(const struct daemon *d, const struct key_record *r)
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
    const char *path = text_of(c, "path");

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

static bool do_key_create(struct call *c)
{
    const char *path = text_of(c, "path");
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

static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

static bool hex_of(struct call *c, const char *name, uint8_t *out, size_t cap, size_t *len)
{
    const char *text = text_of(c, name);

    for (*len = 0; text != NULL && text[0] != '\0'; text += 2, ++*len) {
        int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

        if (low < 0 || *len == cap)
            return refuse(&c->why, "bad_import", "see docs/OPERATIONS.md, \"Importing a key\"",
                          "\"%s\" must be at most %zu bytes in hexadecimal", name, cap);
        out[*len] = (uint8_t)(high << 4 | low);
    }
    return text != NULL;
}

static bool do_key_import(struct call *c)
{
    const char *path = text_of(c, "path");
    const json_t *name = json_object_get(c->request, "algorithm");
    uint8_t blob[IMPORT_BLOB_MAX + 8];
    size_t len;

    if (path == NULL || !hex_of(c, "wrapped", blob, sizeof blob, &len) || !may_make(c))
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

static bool do_key_import_key(struct call *c)
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
    return hex_of(c, "wrapped", blob, sizeof blob, &len) && may_make(c) &&
           custody_rotate_import(c->d->custody, path, span_of(blob, len), &c->why) && tell_change(c, false);
}

static bool do_key_rotate(struct call *c)
{
    const char *path = text_of(c, "path");
    int64_t period;
    bool already;

    if (path == NULL || !number_of(c, "period_s", -1, 0, UINT32_MAX, &period) || !may_change(c))
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
    const char *path = text_of(c, "path");
    int64_t version;
    bool already;

    if (path == NULL || !number_of(c, "version", 0, 1, KEY_VERSIONS_PER_KEY, &version) || !may_change(c))
        return false;
    c->must_be_acked = !enable;
    return custody_switch(c->d->custody, path, (uint32_t)version, enable, &already, &c->why) &&
           tell_change(c, already);
}

static bool do_key_enable(struct call *c)
{
    return key_switch(c, true);
}

static bool do_key_disable(struct call *c)
{
    return key_switch(c, false);
}

/* "after_s" is given in whole seconds; what is out of the range of a window is told as such, not as a bad request. */
static bool do_key_destroy(struct call *c)
{
    const char *path = text_of(c, "path");
    int64_t version, after;
    bool already;

    if (path == NULL || !number_of(c, "version", 0, 1, KEY_VERSIONS_PER_KEY, &version) ||
        !number_of(c, "after_s", 0, INT64_MIN, INT64_MAX, &after) || !may_change(c))
        return false;
    if (json_object_get(c->request, "after_s") != NULL && (after <= 0 || after > UINT32_MAX))
        after = 1; /* no window either */
    c->must_be_acked = true;
    return custody_destroy(c->d->custody, path, (uint32_t)version, (uint32_t)after, &already, &c->why) &&
           tell_change(c, already);
}

static bool do_key_restore(struct call *c)
{
    const char *path = text_of(c, "path");
    int64_t version;
    bool already;

    return path != NULL && number_of(c, "version", 0, 1, KEY_VERSIONS_PER_KEY, &version) && may_change(c) &&
           custody_restore(c->d->custody, path, (uint32_t)version, &already, &c->why) &&
           tell_change(c, already);
}

static bool do_key_show(struct call *c)
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

static bool do_key_list(struct call *c)
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

/* ---- policy ---- */

static bool tell_policy(struct call *c, const struct key_record *r)
{
    if (r == NULL)
        return false;
    json_object_set_new(c->reply, "path", json_string(r->path));
    json_object_set_new(c->reply, "policy", policy_json(&r->policy));
    return true;
}

static bool do_policy_show(struct call *c)
{
    return tell_policy(c, key_of(c));
}

static bool has_caller(const struct policy *p, const char *caller)
{
    for (uint8_t i = 0; i < p->caller_count; i++) {
        if (strcmp(p->callers[i], caller) == 0)
            return true;
    }
    return false;
}

static bool takes_away(const struct policy *from, const struct policy *to)
{
    for (uint8_t i = 0; i < from->caller_count; i++) {
        if (!has_caller(to, from->callers[i]))
            return true;
    }
    return from->caller_count != 0 && (from->reasons & ~to->reasons) != 0;
}

static bool do_policy_set(struct call *c)
{
    const struct key_record *r = key_of(c);
    const char *text = r == NULL ? NULL : text_of(c, "text");
    struct policy p;

    if (text == NULL || !may_change(c) || !policy_parse(span_str(text), &p, &c->why))
        return false;
    c->must_be_acked = takes_away(&r->policy, &p);
    bool ok = custody_set_policy(c->d->custody, r->path, &p, &c->why);
    policy_free(&p);
    if (!ok)
        return false;
    c->changed = true;
    return tell_policy(c, after_change(c));
}

/* ---- looking around ---- */

static json_t *dataplane_json(const struct daemon *d)
{
    struct push_status s;

    push_status(d->push, &s);
    return json_pack(
        "{s:b, s:b, s:b, s:I, s:I, s:s, s:s, s:I, s:I, s:I, s:I}", "attached", s.attached, "in_sync",
        s.attached && s.acked_epoch == custody_epoch(d->custody), "ahead", s.ahead, "acked_epoch",
        (json_int_t)s.acked_epoch, "held_epoch_at_hello", (json_int_t)s.held_epoch, "last_refusal",
        s.last_refusal == 0 ? "" : ctl_refusal_name(s.last_refusal), "problem", s.problem, "connections",
        (json_int_t)s.connections, "turned_away", (json_int_t)s.turned_away, "dropped_garbage",
        (json_int_t)s.dropped_garbage, "dropped_hung", (json_int_t)s.dropped_hung);
}

static json_t *audit_json(const struct daemon *d)
{
    struct audit_status s;

    audit_status(d->audit, &s);
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "problem", s.problem, "written",
                     (json_int_t)s.written, "lost", (json_int_t)s.lost, "duplicates_skipped",
                     (json_int_t)s.duplicates_skipped, "bad_rings", (json_int_t)s.bad_rings, "segments",
                     (json_int_t)s.segments, "torn_bytes_cut", (json_int_t)s.cut_bytes, "rings",
                     (int)s.rings);
}

static json_t *issuers_json(const struct trust *t)
{
    json_t *list = json_array();

    for (uint16_t i = 0; i < t->issuer_count; i++) {
        const struct trust_issuer *s = &t->issuers[i];

        json_array_append_new(
            list, json_pack("{s:s, s:i, s:o, s:s}", "issuer", s->iss, "keys", (int)s->jwks.count, "loaded",
                            s->loaded_unix_s == 0 ? json_null() : time_json((int64_t)s->loaded_unix_s),
                            "problem", s->problem));
    }
    return list;
}

static json_t *certificate_json(const struct trust *t)
{
    const struct certificate_facts *f = &t->certificate;

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:i}", "subject", f->subject, "names", f->names,
                     "key", f->key, "not_before", f->not_before, "not_after", f->not_after, "days_left",
                     (json_int_t)((f->not_after_unix_s - (int64_t)time(NULL)) / 86400), "sha256", f->sha256,
                     "chain", (int)f->chain_count);
}

static json_t *clock_json(const struct daemon *d)
{
    struct custody_clock_status s;

    custody_clock_status(d->custody, &s);
    return json_pack("{s:I, s:I, s:o}", "watched_s", (json_int_t)s.watched_s, "jump_s", (json_int_t)s.jump_s,
                     "jumped", s.jumped_unix_s == 0 ? json_null() : time_json(s.jumped_unix_s));
}

static bool is_degraded(const struct daemon *d)
{
    struct push_status p;
    struct audit_status a;
    bool problem = d->trust->certificate_problem[0] != '\0';

    push_status(d->push, &p);
    audit_status(d->audit, &a);
    for (uint16_t i = 0; i < d->trust->issuer_count; i++)
        problem |= d->trust->issuers[i].problem[0] != '\0';
    struct slots_count slots = slots_count(custody_slots(d->custody));
    problem |= d->root_problem[0] != '\0' || (!d->options.dev && !slots_enough(&slots));
    return problem || admin_backup_degraded(d) || !p.attached || p.ahead || p.last_refusal != 0 ||
           a.problem[0] != '\0';
}

static json_t *admin_json(const struct daemon *d)
{
    const struct admin_counts *n = &d->admin;

    return json_pack(
        "{s:s, s:i, s:b, s:i, s:i, s:s, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}}", "listen",
        d->config.admin.listen, "people", (int)d->config.admin.person_count, "approvals_on",
        daemon_needs_approvals(d), "approvals_needed", (int)d->config.admin.approvals, "approvals_pending",
        (int)approvals_count(d->approvals), "log_problem", admin_log_problem(d->acts), "counts", "accepted",
        (json_int_t)n->accepted, "handshake_failed", (json_int_t)n->handshake_failed, "no_certificate",
        (json_int_t)n->no_certificate, "untrusted", (json_int_t)n->untrusted, "expired",
        (json_int_t)n->expired, "no_role", (json_int_t)n->no_role, "too_many", (json_int_t)n->too_many,
        "too_slow", (json_int_t)n->too_slow, "denied", (json_int_t)n->denied);
}

static bool do_status(struct call *c)
{
    const struct daemon *d = c->d;
    const struct registry *g = custody_registry(d->custody);
    size_t versions = 0;

    for (size_t i = 0; i < registry_count(g); i++)
        versions += registry_at(g, i)->version_count;
    json_t *all =
        json_pack("{s:s, s:s, s:i, s:b, s:o, s:i, s:I, s:I, s:I, s:s, s:o, s:o, s:o, s:o, s:s}", "state",
                  is_degraded(d) ? "degraded" : "ok", "version", CTRL_VERSION, "pid", (int)getpid(), "dev",
                  d->options.dev, "started", time_json(d->started_unix_s), "shard", CTRL_SHARD, "epoch",
                  (json_int_t)custody_epoch(d->custody), "keys", (json_int_t)registry_count(g), "versions",
                  (json_int_t)versions, "sqlite", store_sqlite_version(), "dataplane", dataplane_json(d),
                  "clock", clock_json(d), "audit", audit_json(d), "issuers", issuers_json(d->trust),
                  "certificate_problem", d->trust->certificate_problem);
    json_object_update(c->reply, all);
    json_decref(all);
    json_object_set_new(c->reply, "root", admin_root_status(d));
    json_object_set_new(c->reply, "still_asked", all_asked_json(d));
    json_object_set_new(c->reply, "backup", admin_backup_json(d));
    json_object_set_new(c->reply, "admin", admin_json(d));
    return true;
}

/* ---- backups ---- */

static const char *sink_of(struct call *c)
{
    return json_string_value(json_object_get(c->request, "sink"));
}

static bool do_backup_status(struct call *c)
{
    json_t *all = admin_backup_json(c->d);

    json_object_update(c->reply, all);
    json_decref(all);
    return true;
}

static bool do_backup_list(struct call *c)
{
    return admin_backup_list(c->d, sink_of(c), c->reply, &c->why);
}

static bool do_backup_run(struct call *c)
{
    c->wait.over = admin_backup_over;
    c->wait.then = admin_backup_json;
    return admin_backup_run(c->d, &c->wait.ticket, &c->why);
}

static bool do_backup_adopt(struct call *c)
{
    const char *sink = text_of(c, "sink");

    return sink != NULL && admin_backup_adopt(c->d, sink, &c->why) && do_backup_status(c);
}

static bool do_drill(struct call *c)
{
    c->wait.over = admin_drill_over;
    c->wait.then = admin_backup_json;
    return admin_drill_run(c->d, sink_of(c), &c->wait.ticket, &c->why);
}

static bool do_drill_offline_root(struct call *c)
{
    json_object_set_new(c->reply, "challenge", json_string(drills_challenge(c->d->drills)));
    json_object_set_new(c->reply, "config", json_string(c->d->options.config_file));
    return true;
}

static bool do_drill_prove(struct call *c)
{
    const char *proof = text_of(c, "proof");

    return proof != NULL && drills_prove(c->d->drills, proof, (int64_t)time(NULL), &c->why) &&
           do_backup_status(c);
}

/* ---- what the dataplane counted ---- */

struct numbers {
    uint64_t counter[REASON_COUNT], gauge[GAUGE_COUNT];
};

static void numbers_add(struct numbers *all, const struct numbers *n)
{
    for (unsigned r = 0; r < REASON_COUNT; r++)
        all->counter[r] += n->counter[r];
    for (unsigned g = 0; g < GAUGE_COUNT; g++)
        all->gauge[g] += n->gauge[g];
}

static struct numbers numbers_of(const struct counters *c)
{
    struct numbers n;

    for (unsigned r = 0; r < REASON_COUNT; r++)
        n.counter[r] = counter_read(c, (enum reason)r);
    for (unsigned g = 0; g < GAUGE_COUNT; g++)
        n.gauge[g] = gauge_read(c, (enum gauge)g);
    return n;
}

static json_t *numbers_json(const struct numbers *n)
{
    json_t *counters = json_object(), *gauges = json_object();

    for (unsigned r = 0; r < REASON_COUNT; r++)
        json_object_set_new(counters, reason_name((enum reason)r), json_integer((json_int_t)n->counter[r]));
    for (unsigned g = 0; g < GAUGE_COUNT; g++)
        json_object_set_new(gauges, gauge_name((enum gauge)g), json_integer((json_int_t)n->gauge[g]));
    return json_pack("{s:o, s:o}", "counters", counters, "gauges", gauges);
}

static json_t *noted(struct numbers *all, const struct counters *c)
{
    struct numbers n = numbers_of(c);

    numbers_add(all, &n);
    return numbers_json(&n);
}

/* `counters` and `gauges` are sums over the workers and the housekeeper. */
static bool do_dataplane_stats(struct call *c)
{
    static const struct numbers none;
    const struct audit *a = c->d->audit;
    const struct counters *one;
    struct numbers all = none;
    json_t *workers = json_array();

    for (uint16_t w = 0; w < WORKERS_MAX; w++) {
        if ((one = audit_counters(a, w)) == NULL)
            continue;
        json_t *worker = noted(&all, one);
        json_object_set_new(worker, "worker", json_integer(w));
        json_array_append_new(workers, worker);
    }
    one = audit_house_counters(a);
    json_object_set_new(c->reply, "housekeeper", one != NULL ? noted(&all, one) : json_object());
    json_t *sums = numbers_json(&all);
    json_object_update(c->reply, sums);
    json_decref(sums);
    json_object_set_new(c->reply, "workers", workers);
    json_object_set_new(c->reply, "dataplane", dataplane_json(c->d));
    return json_array_size(workers) != 0 ||
           refuse(&c->why, "no_dataplane", "start ww-dataplane with the same configuration",
                  "no dataplane has connected since ww-ctrl started");
}

static bool do_cert_list(struct call *c)
{
    json_t *list = json_array();

    if (c->d->trust->chain_len != 0)
        json_array_append_new(list, certificate_json(c->d->trust));
    json_object_set_new(c->reply, "certificates", list);
    json_object_set_new(c->reply, "problem", json_string(c->d->trust->certificate_problem));
    return true;
}

static const char *entry_kind_name(uint8_t kind)
{
    static const char *const names[] = {"", "record", "loss", "position", "closed", "unknown"};

    return names[kind <= AUDIT_UNKNOWN ? kind : 0];
}

static const char *access_reason_name(uint32_t bit)
{
    if (bit == ACCESS_REASON_ABSENT_BIT)
        return "absent";
    for (unsigned i = 0; i <= ACCESS_REASON_LAST; i++) {
        if (bit == 1u << i)
            return access_reason_names[i];
    }
    return bit == 0 ? "" : "unknown";
}

/* A caller is what a stranger claimed: bytes that are not ASCII text must not break the JSON. */
static json_t *caller_json(const struct audit_record *r)
{
    char text[AUDIT_CALLER_CAP + 1];

    for (size_t i = 0; i < r->caller_len; i++)
        text[i] = r->caller[i] >= 0x20 && r->caller[i] < 0x7f ? r->caller[i] : '?';
    text[r->caller_len] = '\0';
    return json_string(text);
}

static void record_into(json_t *j, const struct daemon *d, const struct audit_entry *e)
{
    static const char *const ops[] = {"unknown", "wrap", "unwrap"};
    const struct audit_record *r = &e->record;
    const struct key_record *key = registry_by_id(custody_registry(d->custody), r->key_id);
    json_t *more = json_pack(
        "{s:s, s:s, s:i, s:o, s:b, s:s, s:s, s:i, s:I, s:b}", "op", ops[r->op <= AUDIT_OP_UNWRAP ? r->op : 0],
        "key", key == NULL ? "" : key->path, "version", (int)r->version, "caller", caller_json(r),
        "caller_proven", (r->flags & AUDIT_FLAG_CALLER_PROVEN) != 0, "access_reason",
        access_reason_name(r->access_reason), "verdict", e->verdict, "status", (int)r->status, "latency_ns",
        (json_int_t)r->latency_ns, "health_check", (r->flags & AUDIT_FLAG_HEALTH_CHECK) != 0);

    json_object_update(j, more);
    json_decref(more);
}

struct tail {
    const struct daemon *d;
    json_t *list;
};

static void tail_entry(void *ctx, const struct audit_entry *e)
{
    struct tail *t = ctx;
    char when[40];
    time_t s = (time_t)(e->time_unix_us / 1000000);
    struct tm tm;

    gmtime_r(&s, &tm);
    size_t n = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(when + n, sizeof when - n, ".%06uZ", (unsigned)(e->time_unix_us % 1000000));
    json_t *j = json_pack("{s:s, s:s, s:o, s:i, s:I}", "kind", entry_kind_name(e->kind), "time", when, "boot",
                          hex_json(e->boot_id, sizeof e->boot_id), "worker", (int)e->worker, "seq",
                          (json_int_t)e->seq);
    if (e->kind == AUDIT_RECORD)
        record_into(j, t->d, e);
    if (e->kind == AUDIT_LOSS)
        json_object_set_new(j, "count", json_integer((json_int_t)e->count));
    json_array_append_new(t->list, j);
}

static bool do_audit_tail(struct call *c)
{
    struct tail t = {c->d, json_array()};
    int64_t count;

    json_object_set_new(c->reply, "entries", t.list);
    if (!number_of(c, "count", 20, 1, 100000, &count))
        return false;
    for (int i = 0; i < TAIL_DRAINS_MAX && audit_drain(c->d->audit, 1024); i++)
        continue;
    audit_tail(c->d->audit, (size_t)count, tail_entry, &t);
    return true;
}

/* ---- the root ---- */

static bool do_root(struct call *c)
{
    struct admin_root r = {c->d, c->request, c->reply, c->dry, false, &c->why};
    bool ok = admin_root_run(&r, text_of(c, "command"));

    c->changed = r.changed;
    return ok;
}

/* ---- formats ---- */

static bool upgrade_run(struct call *c, bool (*command)(struct admin_upgrade *u))
{
    struct admin_upgrade u = {c->d, c->reply, c->dry, false, &c->why};
    bool ok = command(&u);

    c->changed = u.changed;
    return ok;
}

static bool do_upgrade_status(struct call *c)
{
    return upgrade_run(c, admin_upgrade_status);
}

static bool do_upgrade_commit(struct call *c)
{
    return upgrade_run(c, admin_upgrade_commit);
}

static bool do_store_compact(struct call *c)
{
    return upgrade_run(c, admin_store_compact);
}

/* ---- the rest ---- */

static bool do_reload(struct call *c)
{
    if (!daemon_reload(c->d, false, &c->why))
        return false;
    c->changed = true;
    json_object_set_new(c->reply, "issuers", issuers_json(c->d->trust));
    json_object_set_new(c->reply, "certificate_problem", json_string(c->d->trust->certificate_problem));
    return true;
}

static bool do_dev_token(struct call *c)
{
    struct dev_token t = {.email = text_of(c, "email"),
                          .audience = text_of(c, "audience"),
                          .now_unix_s = (int64_t)time(NULL),
                          .claims = json_object_get(c->request, "claims"),
                          .es256 = json_is_true(json_object_get(c->request, "es256"))};

    if (c->d->dev_issuer == NULL)
        return refuse(&c->why, "not_dev", "start ww-ctrl with --dev on a development machine",
                      "the development issuer exists only where ww-ctrl runs with --dev");
    if (t.email == NULL || t.audience == NULL ||
        !number_of(c, "expires_s", 3600, -86400, 86400 * 30, &t.expires_s))
        return false;
    char *token = dev_issuer_mint(c->d->dev_issuer, &t, &c->why);
    if (token == NULL)
        return false;
    json_object_set_new(c->reply, "token", json_string(token));
    free(token);
    return true;
}

/* ---- one line ---- */

static json_t *refusal_json(const struct refusal *why, enum admin_exit code)
{
    return json_pack("{s:b, s:i, s:{s:s, s:s, s:s}}", "ok", 0, "exit", (int)code, "error", "code", why->code,
                     "message", why->text, "next", why->next);
}

/* ---- approvals ---- */

/* Filled in while a dry run holds what would be. */
struct danger {
    bool is;
    char means[2048];
    bool has_key;
    uint8_t key_id[KEY_ID_LEN];
};

static const struct lifecycle_unit *unit_of(const struct key_record *r, int64_t version)
{
    return version == 0 || version > r->version_count ? &r->life : &r->versions[version - 1].life;
}

static void date_text(int64_t unix_s, char out[32])
{
    time_t t = (time_t)unix_s;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%d", &tm);
}

/* Everything but moving a date that is set further away. */
static void danger_of_destroy(struct call *c, const struct key_record *r, const struct key_record *would,
                              struct danger *out)
{
    const json_t *v = json_object_get(c->request, "version");
    const struct lifecycle_unit *is = unit_of(r, json_integer_value(v)),
                                *to = unit_of(would, json_integer_value(v));
    char date[32], what[64];

    if (to->state != KEY_STATE_DESTROY_SCHEDULED ||
        (is->state == KEY_STATE_DESTROY_SCHEDULED && to->at_unix_s >= is->at_unix_s))
        return;
    date_text(to->at_unix_s, date);
    if (v == NULL)
        snprintf(what, sizeof what, "with all %u versions", r->version_count);
    else
        snprintf(what, sizeof what, "version %lld of %u alone", (long long)json_integer_value(v),
                 r->version_count);
    out->is = true;
    snprintf(out->means, sizeof out->means,
             "Destroy a key.\n  Key %s, %s, answers 404 once this is carried out.\n  Its material is "
             "destroyed on %s, %u "
             "days after; what it wrapped is lost then.  Until then it can be restored.%s",
             r->path, what, date, to->window_s / 86400,
             is->state == KEY_STATE_DESTROY_SCHEDULED ? "\n  The date was a later one." : "");
}

static void append_text(char *out, size_t cap, const char *what, const char *value)
{
    size_t len = strlen(out);

    snprintf(out + len, cap - len, "\n  also %s %.254s", what, value);
}

static void danger_of_policy(const struct key_record *r, const struct key_record *would, struct danger *out)
{
    const struct policy *is = &r->policy, *to = &would->policy;

    if (!takes_away(to, is))
        return;
    out->is = true;
    snprintf(out->means, sizeof out->means,
             "Widen a policy.\n  Key %s may be used, from when this is carried out", r->path);
    for (uint8_t i = 0; i < to->caller_count; i++) {
        if (!has_caller(is, to->callers[i]))
            append_text(out->means, sizeof out->means, "by", to->callers[i]);
    }
    for (unsigned bit = 0; bit < 32; bit++) {
        if ((to->reasons & ~is->reasons & 1u << bit) != 0)
            append_text(out->means, sizeof out->means, "for the reason", access_reason_name(1u << bit));
    }
}

static bool is_of_root(const struct role_rule *rule)
{
    return strncmp(rule->command, "root ", 5) == 0;
}

/* Slots are made freely until there are enough of them to begin with. */
static void danger_of_root(struct call *c, const struct role_rule *rule, struct danger *out)
{
    struct root_keeper k = daemon_root_keeper(c->d);
    struct refusal ignored;

    out->is = root_slots_suffice(&k, &ignored);
    snprintf(out->means, sizeof out->means, "Change what opens the root key.\n  The command is \"wwctl %s\".",
             rule->command);
}

/* Tries the change without making it.  false: it would be refused anyway, c->why. */
static bool find_danger(struct call *c, bool (*command)(struct call *c), const struct role_rule *rule,
                        struct danger *out)
{
    const char *path = json_string_value(json_object_get(c->request, "path"));

    *out = (struct danger){.is = false};
    struct call trial = {
        .d = c->d, .who = c->who, .request = c->request, .reply = json_object(), .dry = true};
    custody_dry_run(c->d->custody, true);
    custody_approved(c->d->custody, true);
    bool ok = command(&trial);
    const struct key_record *r =
        path == NULL ? NULL : registry_by_path(custody_registry(c->d->custody), span_str(path));
    const struct key_record *would = ok && r != NULL ? custody_would(c->d->custody) : NULL;
    if (ok && is_of_root(rule))
        danger_of_root(c, rule, out);
    else if (would != NULL && strcmp(rule->command, "key destroy") == 0)
        danger_of_destroy(c, r, would, out);
    else if (would != NULL && strcmp(rule->command, "policy set") == 0)
        danger_of_policy(r, would, out);
    if (r != NULL) {
        out->has_key = true;
        memcpy(out->key_id, r->id, KEY_ID_LEN);
    }
    custody_approved(c->d->custody, false);
    custody_dry_run(c->d->custody, false);
    json_decref(trial.reply);
    if (!ok)
        c->why = trial.why;
    return ok;
}

static json_t *approval_json(const struct daemon *d, const struct approval *p)
{
    json_t *by = json_array();

    for (uint32_t i = 0; i < p->signature_count; i++)
        json_array_append_new(by, json_string(p->signatures[i].by));
    const char *path = json_string_value(json_object_get(p->change, "path"));
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:o, s:i, s:i}", "id", p->id, "command",
                     json_string_value(json_object_get(p->change, "command")), "path",
                     path == NULL ? "" : path, "asked_by", p->asked_by, "expires",
                     time_json(p->expires_unix_s), "epoch", (json_int_t)p->epoch, "signed_by", by, "good",
                     (int)approvals_good(p, &d->config), "needed", (int)d->config.admin.approvals);
}

static bool still_holds(struct call *c, const struct approval *p);

/* The request for this very change: what waits already, or a new one. */
static const struct approval *request_of(struct call *c, const struct danger *danger)
{
    struct store_identity identity;
    json_t *change = json_copy((json_t *)(uintptr_t)c->request);

    json_object_del(change, "approval");
    json_object_del(change, "dry_run");
    store_identity(custody_store(c->d->custody), &identity);
    struct approval_ask q = {.store_id = identity.store_id,
                             .shard = CTRL_SHARD,
                             .epoch = custody_epoch(c->d->custody),
                             .key_id = danger->has_key ? danger->key_id : NULL,
                             .means = danger->means,
                             .change = change,
                             .who = c->who,
                             .now_unix_s = custody_time(c->d->custody).unix_s,
                             .expiry_s = c->d->config.admin.approval_expiry_s};
    const struct approval *p = approvals_ask(c->d->approvals, &q, &c->why);
    if (p != NULL && !still_holds(c, p)) { /* of before: it can be carried out no more */
        approvals_finish(c->d->approvals, p->id);
        p = approvals_ask(c->d->approvals, &q, &c->why);
    }
    json_decref(change);
    return p;
}

/* What the last signature does not carry out by itself, because the answer may be secret: the one who asked says it
 * again. */
static bool do_if_approved(struct call *c, const struct approval *p, bool (*command)(struct call *c))
{
    char id[sizeof p->id];

    if (!still_holds(c, p))
        return false;
    snprintf(id, sizeof id, "%s", p->id);
    custody_approved(c->d->custody, true);
    bool ok = command(c);
    custody_approved(c->d->custody, false);
    if (ok)
        approvals_finish(c->d->approvals, id);
    return ok;
}

/* Instead of doing it. */
static bool ask_for_approval(struct call *c, const struct danger *danger, bool (*command)(struct call *c))
{
    const struct approval *p = request_of(c, danger);

    if (p == NULL)
        return false;
    if (approvals_good(p, &c->d->config) >= c->d->config.admin.approvals)
        return do_if_approved(c, p, command);
    c->pending = true;
    json_object_set_new(c->reply, "approval", approval_json(c->d, p));
    return refuse(
        &c->why, "pending_approval",
        "approvers: wwctl approval show ID, wwctl approval sign ID --signing-key FILE, wwctl approval submit "
        "ID --signature TEXT",
        "nothing is changed yet: request %s waits for %u signatures of approvers", p->id,
        c->d->config.admin.approvals);
}

static bool do_approval_list(struct call *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < approvals_count(c->d->approvals); i++)
        json_array_append_new(list, approval_json(c->d, approvals_at(c->d->approvals, i)));
    json_object_set_new(c->reply, "approvals", list);
    return true;
}

static const struct approval *approval_of(struct call *c)
{
    const char *id = text_of(c, "id");

    return id == NULL ? NULL : approvals_find(c->d->approvals, id, &c->why);
}

static bool do_approval_show(struct call *c)
{
    const struct approval *p = approval_of(c);

    if (p == NULL)
        return false;
    json_object_set_new(c->reply, "approval", approval_json(c->d, p));
    json_object_set_new(c->reply, "statement", json_string(p->statement));
    return true;
}

static bool do_approval_withdraw(struct call *c)
{
    const struct approval *p = approval_of(c);

    if (p == NULL)
        return false;
    json_object_set_new(c->reply, "approval", approval_json(c->d, p));
    approvals_finish(c->d->approvals, p->id);
    return true;
}

/* What was asked for is about what is there now: its key was not changed since. */
static bool still_holds(struct call *c, const struct approval *p)
{
    const char *path = json_string_value(json_object_get(p->change, "path"));
    const struct key_record *r =
        path == NULL ? NULL : registry_by_path(custody_registry(c->d->custody), span_str(path));
    uint64_t epoch = r == NULL ? 0 : r->epoch;
    char id[2 * KEY_ID_LEN + 1] = "";

    for (uint32_t i = 0; r != NULL && i < r->version_count; i++)
        epoch = r->versions[i].epoch > epoch ? r->versions[i].epoch : epoch;
    for (size_t i = 0; r != NULL && i < KEY_ID_LEN; i++)
        snprintf(id + 2 * i, 3, "%02x", r->id[i]);
    if (strcmp(id, p->key_id) == 0 && epoch <= p->epoch && p->epoch <= custody_epoch(c->d->custody))
        return true;
    return refuse(&c->why, "approval_outdated", "ask for the change again, and have that signed",
                  "%.300s was changed in epoch %llu, after the request of epoch %llu was written",
                  path == NULL ? "" : path, (unsigned long long)epoch, (unsigned long long)p->epoch);
}

static bool carry_out(struct call *c, const struct approval *p);

static bool do_approval_submit(struct call *c)
{
    const struct approval *p = approval_of(c);
    uint8_t signature[APPROVAL_SIGNATURE_MAX];
    const char *by;
    size_t len;

    if (p == NULL || !hex_of(c, "signature", signature, sizeof signature, &len) ||
        !approvals_sign(c->d->approvals, p->id, span_of(signature, len), &c->d->config,
                        custody_time(c->d->custody).unix_s, &by, &c->why))
        return false;
    json_object_set_new(c->reply, "signed_by", json_string(by));
    json_object_set_new(c->reply, "approval", approval_json(c->d, p));
    bool enough = approvals_good(p, &c->d->config) >= c->d->config.admin.approvals;
    const char *name = json_string_value(json_object_get(p->change, "command"));
    bool now = enough && name != NULL && !is_of_root(role_rule(name));
    json_object_set_new(c->reply, "carried_out", json_boolean(now));
    return !now || carry_out(c, p);
}

/* ---- the admin log ---- */

static bool do_audit_acts(struct call *c)
{
    int64_t count;
    bool whole;
    uint64_t lines;

    if (!number_of(c, "count", 20, 1, 10000, &count))
        return false;
    json_object_set_new(c->reply, "acts", admin_log_tail(c->d->acts, (size_t)count, &whole, &lines));
    json_object_set_new(c->reply, "lines", json_integer((json_int_t)lines));
    json_object_set_new(c->reply, "whole", json_boolean(whole));
    return true;
}

/* ---- one command ---- */

struct command {
    const char *name;
    bool (*run)(struct call *c);
    bool dry; /* has a dry run */
};

static const struct command commands[] = {
    {"status", do_status, false},
    {"key create", do_key_create, true},
    {"key list", do_key_list, false},
    {"key show", do_key_show, false},
    {"key rotate", do_key_rotate, true},
    {"key import", do_key_import, true},
    {"key import-key", do_key_import_key, false},
    {"key enable", do_key_enable, true},
    {"key disable", do_key_disable, true},
    {"key destroy", do_key_destroy, true},
    {"key restore", do_key_restore, true},
    {"init", do_root, false},
    {"root rotate", do_root, true},
    {"root slots list", do_root, false},
    {"root slots add", do_root, true},
    {"root slots verify", do_root, false},
    {"root slots rotate", do_root, true},
    {"root slots remove", do_root, true},
    {"policy show", do_policy_show, false},
    {"policy set", do_policy_set, true},
    {"dataplane stats", do_dataplane_stats, false},
    {"audit tail", do_audit_tail, false},
    {"audit acts", do_audit_acts, false},
    {"approval list", do_approval_list, false},
    {"approval show", do_approval_show, false},
    {"approval submit", do_approval_submit, false},
    {"approval withdraw", do_approval_withdraw, false},
    {"cert list", do_cert_list, false},
    {"backup status", do_backup_status, false},
    {"backup list", do_backup_list, false},
    {"backup run", do_backup_run, false},
    {"backup now", do_backup_run, false},
    {"backup adopt", do_backup_adopt, false},
    {"backup verify", do_drill, false},
    {"drill", do_drill, false},
    {"drill offline-root", do_drill_offline_root, false},
    {"drill prove", do_drill_prove, false},
    {"upgrade status", do_upgrade_status, false},
    {"upgrade commit", do_upgrade_commit, true},
    {"store compact", do_store_compact, true},
    {"reload", do_reload, false},
    {"dev token", do_dev_token, false},
};

const char *admin_command(size_t i)
{
    return i < sizeof commands / sizeof commands[0] ? commands[i].name : NULL;
}

static const struct command *command_of(struct call *c, const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    refuse(&c->why, "bad_request", "wwctl and ww-ctrl must be of one version", "unknown command \"%.60s\"",
           name);
    return NULL;
}

static bool run_dry(struct call *c, const struct command *command)
{
    if (!command->dry)
        return refuse(&c->why, "no_dry_run", "leave --dry-run away: it has no effect to try",
                      "\"%s\" has no dry run", command->name);
    custody_dry_run(c->d->custody, true);
    custody_approved(c->d->custody, daemon_needs_approvals(c->d));
    c->dry = true;
    bool ok = command->run(c);
    c->changed = false;
    json_object_set_new(c->reply, "dry_run", json_true());
    custody_approved(c->d->custody, false);
    custody_dry_run(c->d->custody, false);
    return ok;
}

/* Does it, or asks for signatures. */
static bool run_guarded(struct call *c, const struct command *command, const struct role_rule *rule)
{
    struct danger danger = {.is = false};

    bool asked = json_object_get(c->request, "approval") != NULL;

    if (rule->approval != APPROVAL_NEVER && daemon_needs_approvals(c->d) &&
        !find_danger(c, command->run, rule, &danger))
        return false;
    if (danger.is)
        return ask_for_approval(c, &danger, command->run);
    return asked ? refuse(&c->why, "no_approval_needed", "leave \"approval request\" away",
                          "this needs no approval")
                 : command->run(c);
}

/* Written down and synced, then done, then its outcome written down: before anybody is answered. */
static bool run_act(struct call *c, const struct command *command, const struct role_rule *rule,
                    bool approved)
{
    int64_t now = custody_time(c->d->custody).unix_s;
    uint64_t seq;

    if (!admin_log_begin(c->d->acts, now, c->who, command->name, c->request, custody_epoch(c->d->custody),
                         &seq, &c->why))
        return false;
    bool ok = roles_allow(rule, c->who, &c->why);
    if (!ok)
        c->d->admin.denied++;
    else if (approved)
        ok = command->run(c);
    else
        ok = run_guarded(c, command, rule);
    if (!admin_log_end(c->d->acts, now, seq, ok ? "done" : c->why.code, custody_epoch(c->d->custody)))
        log_error("the outcome of an act is not in the admin log", F("act", seq),
                  F("why", admin_log_problem(c->d->acts)));
    return ok;
}

/* As the one who asked, once. */
static bool carry_out(struct call *c, const struct approval *p)
{
    const char *name = json_string_value(json_object_get(p->change, "command"));
    const struct command *command = name == NULL ? NULL : command_of(c, name);
    const json_t *request = c->request;
    const struct actor *who = c->who;
    struct actor asker = {.roles = ROLES_ALL};
    char id[sizeof p->id];

    if (command == NULL || !still_holds(c, p))
        return false;
    snprintf(id, sizeof id, "%s", p->id);
    snprintf(asker.name, sizeof asker.name, "%s", p->asked_by);
    snprintf(asker.via, sizeof asker.via, "approval %s", id);
    c->request = p->change;
    c->who = &asker;
    custody_approved(c->d->custody, true);
    bool ok = run_act(c, command, role_rule(name), true);
    custody_approved(c->d->custody, false);
    c->request = request;
    c->who = who;
    if (ok)
        approvals_finish(c->d->approvals, id);
    return ok;
}

static bool run(struct call *c)
{
    const char *name = text_of(c, "command");
    const struct command *command = name == NULL ? NULL : command_of(c, name);
    const json_t *dry = json_object_get(c->request, "dry_run");

    if (command == NULL)
        return false;
    const struct role_rule *rule = role_rule(name);
    if (dry != NULL && !json_is_boolean(dry))
        return refuse(&c->why, "bad_request", "wwctl and ww-ctrl must be of one version",
                      "\"dry_run\" must be true or false");
    if (rule->act && !json_is_true(dry))
        return run_act(c, command, rule, false);
    if (!roles_allow(rule, c->who, &c->why)) {
        c->d->admin.denied++;
        return false;
    }
    return json_is_true(dry) ? run_dry(c, command) : command->run(c);
}

/* What else there is to say beside the refusal: the request that waits, say. */
static json_t *refused_json(struct call *c)
{
    json_t *reply = refusal_json(&c->why, c->pending ? ADMIN_PENDING : ADMIN_REFUSED);

    json_object_del(c->reply, "ok");
    json_object_update_missing(reply, c->reply);
    json_decref(c->reply);
    return reply;
}

json_t *admin_handle(struct daemon *d, const struct actor *who, struct span line, uint64_t now_ms,
                     struct admin_wait *wait)
{
    struct call c = {.d = d, .who = who, .reply = json_pack("{s:b}", "ok", 1)};
    json_error_t err;
    json_t *request = json_loadb((const char *)line.ptr, line.len, JSON_REJECT_DUPLICATES, &err);

    *wait = (struct admin_wait){0};
    c.request = request;
    bool ok = request != NULL ? run(&c)
                              : refuse(&c.why, "bad_request", "send one JSON object per line",
                                       "not JSON: %.200s", err.text);
    json_decref(request);
    if (!ok)
        return refused_json(&c);
    if (!c.changed && c.wait.over == NULL)
        return c.reply;
    *wait = c.wait;
    wait->reply = c.reply;
    wait->epoch = custody_epoch(d->custody);
    wait->must_be_acked = c.must_be_acked;
    wait->until_ms = now_ms + (c.wait.over != NULL ? ADMIN_BACKUP_WAIT_MS
                               : c.wait.durable    ? ADMIN_DURABLE_MS
                                                   : ADMIN_WAIT_MS);
    return admin_wait_over(d, wait, now_ms);
}

/* ---- waiting for the sinks ---- */

static json_t *give_up(struct admin_wait *w, const struct refusal *why)
{
    json_t *failed = refusal_json(why, ADMIN_REFUSED);

    json_object_update_missing(failed, w->reply);
    json_decref(w->reply);
    w->reply = NULL;
    return failed;
}

static json_t *background_over(struct daemon *d, struct admin_wait *w, bool timed_out)
{
    struct refusal why;
    bool ok;

    if (!w->over(d, w->ticket, timed_out, &ok, &why))
        return NULL;
    json_t *more = w->then(d);
    json_object_update(w->reply, more);
    json_decref(more);
    if (!ok)
        return give_up(w, &why);
    json_t *reply = w->reply;
    w->reply = NULL;
    return reply;
}

static json_t *pending_json(struct daemon *d, struct admin_wait *w, const struct key_record *r)
{
    char missing[BACKUP_TEXT_CAP];
    struct refusal why;

    backup_missing(d->backup, w->epoch, missing);
    refuse(&why, "pending",
           "it is enabled by itself once the sinks have it; see wwctl backup status.  The command may be "
           "repeated",
           "%.200s version %u is stored and pending: %.300s", r->path, r->version_count, missing);
    return give_up(w, &why);
}

/* NULL and w->durable: not yet. */
static json_t *durable_over(struct daemon *d, struct admin_wait *w, uint64_t now_ms)
{
    const struct key_record *r = registry_by_id(custody_registry(d->custody), w->key_id);

    if (custody_waits(d->custody, r))
        return now_ms < w->until_ms ? NULL : pending_json(d, w, r);
    w->durable = false;
    w->epoch = custody_epoch(d->custody);
    w->until_ms = now_ms + ADMIN_WAIT_MS;
    json_object_set_new(w->reply, "key", key_json(d, r));
    return NULL;
}

/* ---- waiting for the dataplane ---- */

static const char *outcome(const struct push_status *s, const struct admin_wait *w, bool timed_out)
{
    if (s->acked_epoch >= w->epoch)
        return "acked";
    if (s->attached && s->last_refusal != 0 && s->refused_epoch >= w->epoch)
        return "refused";
    if (!s->attached && (timed_out || !w->must_be_acked))
        return "not attached";
    return timed_out ? "not yet acked" : NULL;
}

static json_t *not_acked_json(const struct admin_wait *w, const char *how, const struct push_status *s)
{
    struct refusal why;

    refuse(&why, "not_acked",
           "see wwctl status; the change takes effect when the dataplane acks it, or when the dataplane is "
           "stopped",
           "committed as epoch %llu, but not acked by the dataplane (%s%s%s): it may still serve what was "
           "before",
           (unsigned long long)w->epoch, how, s->last_refusal == 0 ? "" : ": ",
           s->last_refusal == 0 ? "" : ctl_refusal_name(s->last_refusal));
    return refusal_json(&why, ADMIN_UNREACHABLE);
}

json_t *admin_wait_over(struct daemon *d, struct admin_wait *w, uint64_t now_ms)
{
    struct push_status s;

    if (w->over != NULL)
        return background_over(d, w, now_ms >= w->until_ms);
    if (w->durable) {
        json_t *pending = durable_over(d, w, now_ms);

        if (pending != NULL || w->durable)
            return pending;
    }
    push_status(d->push, &s);
    const char *how = outcome(&s, w, now_ms >= w->until_ms);
    if (how == NULL)
        return NULL;
    bool acked = strcmp(how, "acked") == 0;
    json_t *reply = w->reply;
    if (!acked && w->must_be_acked) {
        json_t *failed = not_acked_json(w, how, &s);

        json_object_update_missing(failed, reply);
        json_decref(reply);
        reply = failed;
    }
    json_object_set_new(reply, "epoch", json_integer((json_int_t)w->epoch));
    json_object_set_new(reply, "committed", json_true());
    json_object_set_new(reply, "acked", json_boolean(acked));
    json_object_set_new(reply, "dataplane", json_string(how));
    w->reply = NULL;
    return reply;
}
