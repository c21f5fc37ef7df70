/* What the house is and does: "status", what the dataplane counted, certificates, "reload". */
#include "ctrl/admin/call.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- status ---- */

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

bool do_status(struct call *c)
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
bool do_dataplane_stats(struct call *c)
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

/* ---- the rest ---- */

bool do_cert_list(struct call *c)
{
    json_t *list = json_array();

    if (c->d->trust->chain_len != 0)
        json_array_append_new(list, certificate_json(c->d->trust));
    json_object_set_new(c->reply, "certificates", list);
    json_object_set_new(c->reply, "problem", json_string(c->d->trust->certificate_problem));
    return true;
}

bool do_reload(struct call *c)
{
    if (!daemon_reload(c->d, false, &c->why))
        return false;
    c->changed = true;
    json_object_set_new(c->reply, "issuers", issuers_json(c->d->trust));
    json_object_set_new(c->reply, "certificate_problem", json_string(c->d->trust->certificate_problem));
    return true;
}

bool do_dev_token(struct call *c)
{
    struct dev_token t = {.email = call_text(c, "email"),
                          .audience = call_text(c, "audience"),
                          .now_unix_s = (int64_t)time(NULL),
                          .claims = json_object_get(c->request, "claims"),
                          .es256 = json_is_true(json_object_get(c->request, "es256"))};

    if (c->d->dev_issuer == NULL)
        return refuse(&c->why, "not_dev", "start ww-ctrl with --dev on a development machine",
                      "the development issuer exists only where ww-ctrl runs with --dev");
    if (t.email == NULL || t.audience == NULL ||
        !call_number(c, "expires_s", 3600, -86400, 86400 * 30, &t.expires_s))
        return false;
    char *token = dev_issuer_mint(c->d->dev_issuer, &t, &c->why);
    if (token == NULL)
        return false;
    json_object_set_new(c->reply, "token", json_string(token));
    free(token);
    return true;
}
