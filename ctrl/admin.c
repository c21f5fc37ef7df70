#include "ctrl/admin.h"

#include "base/check.h"
#include "ctrl/admin_backup.h"
#include "ctrl/admin_root.h"
#include "ctrl/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Before a tail: a worker that writes all the time must not keep it from its answer. */
#define TAIL_DRAINS_MAX 64

/* One command: what it needs of the request, what it puts into the reply. */
struct call {
    struct daemon *d;
    const json_t *request;
    json_t *reply;
    struct refusal why;
    bool changed;           /* committed: wait for the dataplane */
    bool must_be_acked;     /* it took something away */
    bool dry;               /* nothing is changed: what would be is told */
    struct admin_wait wait; /* what it waits for besides */
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

/* Its end, scheduled or done.  A destruction waits for its date and for so much time watched (ctrl/clock.h): the
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

static json_t *version_json(const struct key_record *r, const struct key_version *v,
                            struct lifecycle_time now)
{
    json_t *j = json_pack("{s:i, s:s, s:b, s:o, s:o}", "version", (int)v->number, "state",
                          key_state_name(v->life.state), "primary", v->number == r->primary, "created",
                          time_json(v->created_unix_s), "tag", hex_json(v->tag, sizeof v->tag));

    end_into(j, &v->life, now);
    return j;
}

static json_t *key_head_json(const struct key_record *r, struct lifecycle_time now)
{
    json_t *j = json_pack("{s:s, s:o, s:s, s:s, s:i, s:i, s:o}", "path", r->path, "id",
                          hex_json(r->id, KEY_ID_LEN), "state", key_state_name(r->life.state), "algorithm",
                          "symmetric", "primary", (int)r->primary, "version_count", (int)r->version_count,
                          "created", time_json(r->created_unix_s));

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
        json_array_append_new(versions, version_json(r, &r->versions[i], now));
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
        return refuse(&c->why, "bad_algorithm", "leave --algorithm away",
                      "the only algorithm is \"symmetric\"");
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
    uint8_t blob[2 * IMPORT_BLOB_LEN];
    size_t len;

    return path != NULL && hex_of(c, "wrapped", blob, sizeof blob, &len) && may_make(c) &&
           custody_import(c->d->custody, path, span_of(blob, len), &c->why) && tell_change(c, false);
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

static bool do_key_rotate(struct call *c)
{
    const char *path = text_of(c, "path");
    int64_t period;
    bool already;

    if (path == NULL || !number_of(c, "period_s", -1, 0, UINT32_MAX, &period) || !may_change(c))
        return false;
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
    return json_pack("{s:b, s:b, s:b, s:I, s:I, s:s, s:I, s:I, s:I, s:I}", "attached", s.attached, "in_sync",
                     s.attached && s.acked_epoch == custody_epoch(d->custody), "ahead", s.ahead,
                     "acked_epoch", (json_int_t)s.acked_epoch, "held_epoch_at_hello",
                     (json_int_t)s.held_epoch, "last_refusal",
                     s.last_refusal == 0 ? "" : ctl_refusal_name(s.last_refusal), "connections",
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

static bool do_dataplane_stats(struct call *c)
{
    json_t *counters = json_object(), *gauges = json_object();
    bool any = false;

    for (unsigned r = 0; r < REASON_COUNT; r++) {
        uint64_t value;

        any |= audit_counter(c->d->audit, (enum reason)r, &value);
        json_object_set_new(counters, reason_name((enum reason)r), json_integer((json_int_t)value));
    }
    for (unsigned g = 0; g < GAUGE_COUNT; g++) {
        uint64_t value;

        (void)audit_gauge(c->d->audit, (enum gauge)g, &value);
        json_object_set_new(gauges, gauge_name((enum gauge)g), json_integer((json_int_t)value));
    }
    json_object_set_new(c->reply, "counters", counters);
    json_object_set_new(c->reply, "gauges", gauges);
    json_object_set_new(c->reply, "dataplane", dataplane_json(c->d));
    return any || refuse(&c->why, "no_dataplane", "start ww-dataplane with the same configuration",
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

static const struct {
    const char *name;
    bool (*run)(struct call *c);
    bool dry; /* has a dry run */
} commands[] = {
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
    {"cert list", do_cert_list, false},
    {"backup status", do_backup_status, false},
    {"backup list", do_backup_list, false},
    {"backup run", do_backup_run, false},
    {"backup now", do_backup_run, false},
    {"backup verify", do_drill, false},
    {"drill", do_drill, false},
    {"drill offline-root", do_drill_offline_root, false},
    {"drill prove", do_drill_prove, false},
    {"reload", do_reload, false},
    {"dev token", do_dev_token, false},
};

/* ---- one line ---- */

static json_t *refusal_json(const struct refusal *why, enum admin_exit code)
{
    return json_pack("{s:b, s:i, s:{s:s, s:s, s:s}}", "ok", 0, "exit", (int)code, "error", "code", why->code,
                     "message", why->text, "next", why->next);
}

static bool run_dry(struct call *c, bool (*command)(struct call *c))
{
    custody_dry_run(c->d->custody, true);
    c->dry = true;
    bool ok = command(c);
    c->changed = false;
    json_object_set_new(c->reply, "dry_run", json_true());
    custody_dry_run(c->d->custody, false);
    return ok;
}

static bool run(struct call *c)
{
    const char *name = text_of(c, "command");
    const json_t *dry = json_object_get(c->request, "dry_run");

    if (name == NULL)
        return false;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        if (dry == NULL || json_is_false(dry))
            return commands[i].run(c);
        if (!json_is_true(dry) || !commands[i].dry)
            return refuse(&c->why, "no_dry_run", "leave --dry-run away: it has no effect to try",
                          "\"%s\" has no dry run", commands[i].name);
        return run_dry(c, commands[i].run);
    }
    return refuse(&c->why, "bad_request", "wwctl and ww-ctrl must be of one version",
                  "unknown command \"%.60s\"", name);
}

json_t *admin_handle(struct daemon *d, struct span line, uint64_t now_ms, struct admin_wait *wait)
{
    struct call c = {.d = d, .reply = json_pack("{s:b}", "ok", 1)};
    json_error_t err;
    json_t *request = json_loadb((const char *)line.ptr, line.len, JSON_REJECT_DUPLICATES, &err);

    *wait = (struct admin_wait){0};
    c.request = request;
    bool ok = request != NULL ? run(&c)
                              : refuse(&c.why, "bad_request", "send one JSON object per line",
                                       "not JSON: %.200s", err.text);
    json_decref(request);
    if (!ok) {
        json_decref(c.reply);
        return refusal_json(&c.why, ADMIN_REFUSED);
    }
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
