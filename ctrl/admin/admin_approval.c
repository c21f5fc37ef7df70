/* What needs the signatures of others, and what becomes of the requests for them. */
#include "ctrl/admin/call.h"

#include "ctrl/keys/policy.h"

#include <stdio.h>
#include <time.h>

/* ---- what is dangerous ---- */

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

    if (!policy_takes_away(to, is))
        return;
    out->is = true;
    snprintf(out->means, sizeof out->means,
             "Widen a policy.\n  Key %s may be used, from when this is carried out", r->path);
    for (uint8_t i = 0; i < to->caller_count; i++) {
        if (!policy_has_caller(is, to->callers[i]))
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
bool find_danger(struct call *c, bool (*command)(struct call *c), const struct role_rule *rule,
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

/* ---- asking for signatures ---- */

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

/* What was asked for is about what is there now: its key was not changed since. */
bool approval_still_holds(struct call *c, const struct approval *p)
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
    if (p != NULL && !approval_still_holds(c, p)) { /* of before: it can be carried out no more */
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

    if (!approval_still_holds(c, p))
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
bool approval_ask_for(struct call *c, const struct danger *danger, bool (*command)(struct call *c))
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

/* ---- commands ---- */

bool do_approval_list(struct call *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < approvals_count(c->d->approvals); i++)
        json_array_append_new(list, approval_json(c->d, approvals_at(c->d->approvals, i)));
    json_object_set_new(c->reply, "approvals", list);
    return true;
}

static const struct approval *approval_of(struct call *c)
{
    const char *id = call_text(c, "id");

    return id == NULL ? NULL : approvals_find(c->d->approvals, id, &c->why);
}

bool do_approval_show(struct call *c)
{
    const struct approval *p = approval_of(c);

    if (p == NULL)
        return false;
    json_object_set_new(c->reply, "approval", approval_json(c->d, p));
    json_object_set_new(c->reply, "statement", json_string(p->statement));
    return true;
}

bool do_approval_withdraw(struct call *c)
{
    const struct approval *p = approval_of(c);

    if (p == NULL)
        return false;
    json_object_set_new(c->reply, "approval", approval_json(c->d, p));
    approvals_finish(c->d->approvals, p->id);
    return true;
}

bool do_approval_submit(struct call *c)
{
    const struct approval *p = approval_of(c);
    uint8_t signature[APPROVAL_SIGNATURE_MAX];
    const char *by;
    size_t len;

    if (p == NULL || !call_hex(c, "signature", signature, sizeof signature, &len) ||
        !approvals_sign(c->d->approvals, p->id, span_of(signature, len), &c->d->config,
                        custody_time(c->d->custody).unix_s, &by, &c->why))
        return false;
    json_object_set_new(c->reply, "signed_by", json_string(by));
    json_object_set_new(c->reply, "approval", approval_json(c->d, p));
    bool enough = approvals_good(p, &c->d->config) >= c->d->config.admin.approvals;
    const char *name = json_string_value(json_object_get(p->change, "command"));
    bool now = enough && name != NULL && !is_of_root(role_rule(name));
    json_object_set_new(c->reply, "carried_out", json_boolean(now));
    return !now || approval_carry_out(c, p);
}
