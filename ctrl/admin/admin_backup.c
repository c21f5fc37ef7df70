/* The operator's view of backups and drills. */
#include "ctrl/admin/call.h"

#include <time.h>

static json_t *drill_json(const struct daemon *d, size_t i)
{
    struct drill_result r;

    drills_result(d->drills, i, &r);
    if (r.unix_s == 0)
        return json_null();
    return json_pack("{s:o, s:b, s:i, s:I, s:I, s:I, s:o, s:s}", "when", when_json(r.unix_s), "ok", r.ok,
                     "level", r.level, "epoch", (json_int_t)r.epoch, "keys", (json_int_t)r.keys, "versions",
                     (json_int_t)r.versions, "last_good", when_json(r.good_unix_s), "text", r.text);
}

static json_t *sink_json(const struct daemon *d, size_t i)
{
    struct backup_sink_status s;

    backup_sink_status(d->backup, i, &s);
    return json_pack("{s:s, s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:o, s:o, s:I, s:I, s:b, s:s, s:o}", "name",
                     s.config->name, "kind", s.config->kind, "place", s.config->place, "required",
                     s.config->required, "known", s.known, "epoch", (json_int_t)s.epoch, "behind",
                     (json_int_t)(custody_epoch(d->custody) - s.epoch), "full_epoch",
                     (json_int_t)s.full_epoch, "full", when_json(s.full_unix_s), "last_ok",
                     when_json(s.ok_unix_s), "files", (json_int_t)s.files, "failed", (json_int_t)s.failed,
                     "branched", s.branched, "problem", s.problem, "drill", drill_json(d, i));
}

json_t *admin_backup_json(const struct daemon *d)
{
    json_t *sinks = json_array();

    for (size_t i = 0; i < backup_sink_count(d->backup); i++)
        json_array_append_new(sinks, sink_json(d, i));
    return json_pack(
        "{s:o, s:i, s:b, s:i, s:s, s:b, s:o}", "sinks", sinks, "required", (int)d->config.backup.required,
        "durable", backup_durable(d->backup, custody_epoch(d->custody)), "recipients",
        (int)backup_recipient_count(d->backup), "problem", backup_problem(d->backup), "drills",
        drills_are_configured(d->drills), "offline_drill", when_json(drills_offline_unix_s(d->drills)));
}

bool admin_backup_degraded(const struct daemon *d)
{
    bool degraded = backup_problem(d->backup)[0] != '\0';

    for (size_t i = 0; i < backup_sink_count(d->backup); i++) {
        struct backup_sink_status s;
        struct drill_result r;

        backup_sink_status(d->backup, i, &s);
        drills_result(d->drills, i, &r);
        degraded |= s.problem[0] != '\0' || (r.unix_s != 0 && !r.ok);
    }
    return degraded;
}

static bool sink_index(const struct daemon *d, const char *name, size_t *i, struct refusal *why)
{
    for (*i = 0; *i < backup_sink_count(d->backup); *i += 1) {
        if (strcmp(d->config.backup.sinks[*i].name, name) == 0)
            return true;
    }
    return refuse(why, "no_such_sink", "see wwctl backup status", "there is no sink %.60s", name);
}

static bool is_configured(const struct daemon *d, struct refusal *why)
{
    return backup_sink_count(d->backup) != 0 ||
           refuse(why, "no_sinks",
                  "name at least two in backup.sinks of the configuration, then restart ww-ctrl",
                  "no backup is configured");
}

static void files_into(const struct daemon *d, size_t i, json_t *list)
{
    size_t count;
    const struct backup_name *names = backup_sink_files(d->backup, i, &count);

    for (size_t n = 0; n < count; n++)
        json_array_append_new(list,
                              json_pack("{s:s, s:b, s:I, s:I, s:o}", "sink", d->config.backup.sinks[i].name,
                                        "full", names[n].from == 1, "from", (json_int_t)names[n].from, "to",
                                        (json_int_t)names[n].to, "made", when_json(names[n].made_unix_s)));
}

static bool not_in_time(struct refusal *why)
{
    return refuse(why, "not_yet", "it goes on: see wwctl backup status", "not done within %d s",
                  ADMIN_BACKUP_WAIT_MS / 1000);
}

/* The first thing that is wrong. */
static bool backups_ok(const struct daemon *d, struct refusal *why)
{
    struct backup_sink_status s;

    if (backup_problem(d->backup)[0] != '\0')
        return refuse(why, "backup_failed", "see wwctl backup status", "%s", backup_problem(d->backup));
    for (size_t i = 0; i < backup_sink_count(d->backup); i++) {
        backup_sink_status(d->backup, i, &s);
        if (s.problem[0] != '\0')
            return refuse(why, "sink_failed", "mend it; it is tried again: see wwctl backup status",
                          "sink %s: %s", s.config->name, s.problem);
    }
    return true;
}

static bool full_over(const struct daemon *d, uint64_t ticket, bool timed_out, bool *ok, struct refusal *why)
{
    if (backup_full_done(d->backup, ticket)) {
        *ok = backups_ok(d, why);
        return true;
    }
    *ok = false;
    return timed_out && !not_in_time(why);
}

static bool drills_ok(const struct daemon *d, struct refusal *why)
{
    struct drill_result r;

    for (size_t i = 0; i < backup_sink_count(d->backup); i++) {
        drills_result(d->drills, i, &r);
        if (r.unix_s != 0 && !r.ok)
            return refuse(why, "drill_failed", "wwctl backup run makes a new full backup; then drill again",
                          "sink %s: %s", d->config.backup.sinks[i].name, r.text);
    }
    return true;
}

static bool drill_over(const struct daemon *d, uint64_t ticket, bool timed_out, bool *ok, struct refusal *why)
{
    if (drills_done(d->drills, ticket)) {
        *ok = drills_ok(d, why);
        return true;
    }
    *ok = false;
    return timed_out && !not_in_time(why);
}

/* ---- commands ---- */

/* NULL: all of them. */
static const char *sink_of(struct call *c)
{
    return json_string_value(json_object_get(c->request, "sink"));
}

bool do_backup_status(struct call *c)
{
    json_t *all = admin_backup_json(c->d);

    json_object_update(c->reply, all);
    json_decref(all);
    return true;
}

bool do_backup_list(struct call *c)
{
    const struct daemon *d = c->d;
    const char *sink = sink_of(c);
    size_t only = 0;

    if (!is_configured(d, &c->why) || (sink != NULL && !sink_index(d, sink, &only, &c->why)))
        return false;
    json_t *list = json_array();
    for (size_t i = 0; i < backup_sink_count(d->backup); i++) {
        if (sink == NULL || i == only)
            files_into(d, i, list);
    }
    json_object_set_new(c->reply, "files", list);
    return true;
}

bool do_backup_run(struct call *c)
{
    if (!is_configured(c->d, &c->why))
        return false;
    c->wait.over = full_over;
    c->wait.then = admin_backup_json;
    c->wait.ticket = backup_full(c->d->backup);
    return true;
}

bool do_backup_adopt(struct call *c)
{
    const char *sink = call_text(c, "sink");
    size_t i;

    return sink != NULL && is_configured(c->d, &c->why) && sink_index(c->d, sink, &i, &c->why) &&
           backup_adopt(c->d->backup, i, &c->why) && do_backup_status(c);
}

bool do_drill(struct call *c)
{
    const char *sink = sink_of(c);
    size_t i = DRILL_ALL;

    if (!is_configured(c->d, &c->why) || (sink != NULL && !sink_index(c->d, sink, &i, &c->why)))
        return false;
    if (!drills_are_configured(c->d->drills))
        return refuse(
            &c->why, "no_drill_identity",
            "make one with age-keygen, name its file in backup.drill_identity_file, restart ww-ctrl",
            "nothing here can open a backup, not even its outer layer");
    c->wait.over = drill_over;
    c->wait.then = admin_backup_json;
    c->wait.ticket = drills_run(c->d->drills, i);
    return true;
}

bool do_drill_offline_root(struct call *c)
{
    json_object_set_new(c->reply, "challenge", json_string(drills_challenge(c->d->drills)));
    json_object_set_new(c->reply, "config", json_string(c->d->options.config_file));
    return true;
}

bool do_drill_prove(struct call *c)
{
    const char *proof = call_text(c, "proof");

    return proof != NULL && drills_prove(c->d->drills, proof, (int64_t)time(NULL), &c->why) &&
           do_backup_status(c);
}
