#include "ctrl/admin/call.h"

#include "base/log.h"

#include <stdio.h>

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
    {"init", do_init, false},
    {"root rotate", do_root_rotate, true},
    {"root slots list", do_root_slots_list, false},
    {"root slots add", do_root_slots_add, true},
    {"root slots verify", do_root_slots_verify, false},
    {"root slots rotate", do_root_slots_rotate, true},
    {"root slots remove", do_root_slots_remove, true},
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
        return approval_ask_for(c, &danger, command->run);
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
bool approval_carry_out(struct call *c, const struct approval *p)
{
    const char *name = json_string_value(json_object_get(p->change, "command"));
    const struct command *command = name == NULL ? NULL : command_of(c, name);
    const json_t *request = c->request;
    const struct actor *who = c->who;
    struct actor asker = {.roles = ROLES_ALL};
    char id[sizeof p->id];

    if (command == NULL || !approval_still_holds(c, p))
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
    const char *name = call_text(c, "command");
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
