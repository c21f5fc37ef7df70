/* The commands about the level of formats that the store is at. */
#include "ctrl/admin/call.h"

static struct store *store_of(const struct call *c)
{
    return custody_store(c->d->custody);
}

static bool backups_are_there(const struct call *c, struct refusal *why)
{
    if (backup_sink_count(c->d->backup) == 0 && !c->d->options.dev)
        return refuse(why, "no_sinks",
                      "name at least two in backup.sinks of the configuration, then restart ww-ctrl",
                      "no backup is configured: there would be no way back at all");
    return backup_is_quiet(c->d->backup, why);
}

static json_t *format_json(const char *name, int now, int after)
{
    return json_pack("{s:s, s:i, s:i}", "format", name, "now", now, "after", after);
}

/* What is written now, and would be after a commit.  The last three are the same at every level so far. */
static json_t *formats_json(int now, int after)
{
    json_t *list = json_array();

    json_array_append_new(list, format_json("store", now, after));
    json_array_append_new(list, format_json("backup files", now, after));
    json_array_append_new(list, format_json("ctl messages", CTL_VERSION, CTL_VERSION));
    json_array_append_new(list, format_json("warm snapshot", 1, 1));
    json_array_append_new(list, format_json("audit files", 1, 1));
    return list;
}

bool do_upgrade_status(struct call *c)
{
    struct store *s = store_of(c);
    struct refusal why = {{0}, {0}, {0}};
    int level = store_level(s);
    bool newest = level >= STORE_LEVEL_MAX, may = !newest && backups_are_there(c, &why);
    json_t *all = json_pack("{s:s, s:i, s:[i,i], s:o, s:b, s:b, s:s, s:I, s:I}", "version", CTRL_VERSION,
                            "level", level, "reads", STORE_LEVEL_MIN, STORE_LEVEL_MAX, "formats",
                            formats_json(level, STORE_LEVEL_MAX), "newest", newest, "may_commit", may,
                            "in_the_way", why.text, "anchor_epoch", (json_int_t)store_base(s), "changes",
                            (json_int_t)(store_epoch(s) - store_base(s)));

    json_object_update(c->reply, all);
    json_decref(all);
    return true;
}

bool do_upgrade_commit(struct call *c)
{
    bool already = store_level(store_of(c)) >= STORE_LEVEL_MAX;

    if (!already && (!backups_are_there(c, &c->why) ||
                     !custody_set_level(c->d->custody, STORE_LEVEL_MAX, &already, &c->why)))
        return false;
    c->changed = !already && !c->dry;
    json_object_set_new(c->reply, "already", json_boolean(already));
    return do_upgrade_status(c);
}

bool do_store_compact(struct call *c)
{
    struct store *s = store_of(c);
    json_int_t changes = (json_int_t)(store_epoch(s) - store_base(s));

    if (store_level(s) < STORE_LEVEL_ANCHORS)
        return refuse(
            &c->why, "store_level", "wwctl upgrade status tells what a commit means",
            "the store is at format level %u, which has no anchors: wwctl upgrade commit comes first",
            store_level(s));
    if (!backup_is_quiet(c->d->backup, &c->why) || (!c->dry && !daemon_compact(c->d, &c->why)))
        return false;
    json_object_set_new(c->reply, "compacted", json_integer(changes));
    return do_upgrade_status(c);
}
