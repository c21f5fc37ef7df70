#include "ctrl/cli/wwctl.h"

#include <stdio.h>
#include <string.h>

static const json_t *at(const json_t *j, const char *name)
{
    return json_object_get(j, name);
}

static const char *text(const json_t *j, const char *name)
{
    const char *s = json_string_value(at(j, name));

    return s == NULL ? "" : s;
}

static long long number(const json_t *j, const char *name)
{
    return (long long)json_integer_value(at(j, name));
}

static bool truth(const json_t *j, const char *name)
{
    return json_is_true(at(j, name));
}

static const char *plural(long long n)
{
    return n == 1 ? "" : "s";
}

/* After a change: what the dataplane said to it. */
static void show_effect(const json_t *r)
{
    if (truth(r, "dry_run"))
        printf("dry run: nothing was changed; so it would be\n");
    if (!truth(r, "committed"))
        return;
    if (truth(r, "acked"))
        printf("committed as epoch %lld, served by the dataplane\n", number(r, "epoch"));
    else
        printf("committed as epoch %lld; dataplane: %s\n", number(r, "epoch"), text(r, "dataplane"));
}

static void show_dataplane(const json_t *d)
{
    if (!truth(d, "attached")) {
        printf("dataplane    not attached%s%s\n", text(d, "problem")[0] == '\0' ? "" : ": ",
               text(d, "problem"));
        return;
    }
    printf("dataplane    attached, serves epoch %lld%s\n", number(d, "acked_epoch"),
           truth(d, "in_sync") ? " (in sync)" : " (not in sync)");
    if (truth(d, "ahead"))
        printf("             HOLDS A NEWER EPOCH (%lld) THAN THIS STORE: bring back the newest store\n",
               number(d, "held_epoch_at_hello"));
    if (text(d, "last_refusal")[0] != '\0')
        printf("             refused the last push: %s\n", text(d, "last_refusal"));
}

/* "still asked for: 3 callers, last 4 min ago" */
static void show_asked(const json_t *asked)
{
    long long ago = number(asked, "last_ago_s"), callers = number(asked, "callers");

    printf("still asked for: %lld caller%s, %lld requests, last ", callers, callers == 1 ? "" : "s",
           number(asked, "count"));
    if (ago < 120)
        printf("%lld s ago\n", ago < 0 ? 0 : ago);
    else if (ago < 2 * 3600)
        printf("%lld min ago\n", ago / 60);
    else if (ago < 2 * 86400)
        printf("%lld h ago\n", ago / 3600);
    else
        printf("%lld days ago\n", ago / 86400);
}

static void show_drill(const json_t *d)
{
    if (!json_is_object(d)) {
        printf("             never seen to restore: wwctl drill\n");
        return;
    }
    if (truth(d, "ok"))
        printf("             restored %s: epoch %lld, %lld keys, %lld versions opened\n", text(d, "when"),
               number(d, "epoch"), number(d, "keys"), number(d, "versions"));
    else
        printf("             RESTORE DRILL FAILED %s: %s\n", text(d, "when"), text(d, "text"));
    if (truth(d, "ok") && text(d, "text")[0] != '\0')
        printf("             passed over: %s\n", text(d, "text"));
}

static void show_sink(const json_t *s)
{
    printf("sink         %s (%s%s): ", text(s, "name"), text(s, "kind"),
           truth(s, "required") ? ", required" : "");
    if (number(s, "behind") == 0)
        printf("all of epoch %lld, %lld files\n", number(s, "epoch"), number(s, "files"));
    else
        printf("epoch %lld, %lld behind\n", number(s, "epoch"), number(s, "behind"));
    if (text(s, "problem")[0] != '\0')
        printf("             FAILS (%lld times since start): %s\n", number(s, "failed"), text(s, "problem"));
    show_drill(at(s, "drill"));
}

static void show_backups(const json_t *b)
{
    const json_t *s;
    bool fails = text(b, "problem")[0] != '\0';
    size_t i;

    if (json_array_size(at(b, "sinks")) == 0) {
        printf("backup       NONE: name at least two sinks in backup.sinks\n");
        return;
    }
    json_array_foreach(at(b, "sinks"), i, s)
    {
        show_sink(s);
        fails |= text(s, "problem")[0] != '\0';
    }
    if (text(b, "problem")[0] != '\0')
        printf("backup       CANNOT BE MADE: %s\n", text(b, "problem"));
    if (!truth(b, "durable") && fails)
        printf("backup       NEW VERSIONS WAIT: the newest epoch is not in the sinks that are demanded\n");
    if (!truth(b, "drills"))
        printf("backup       no automatic drill: set backup.drill_identity_file\n");
    printf("offline root %s%s\n",
           json_is_null(at(b, "offline_drill")) ? "never seen to open a backup: wwctl drill offline-root"
                                                : "seen to open a backup ",
           text(b, "offline_drill"));
}

static void show_root(const json_t *root)
{
    printf("root slots   %lld online and %lld offline were seen to open%s\n", number(root, "online"),
           number(root, "offline"), truth(root, "enough") ? "" : ": TOO FEW, see wwctl init");
    if (text(root, "problem")[0] != '\0')
        printf("             FOUND AT START: %s\n", text(root, "problem"));
}

void show_status(const json_t *r)
{
    const json_t *audit = at(r, "audit"), *issuer, *asked;
    size_t i;

    printf("ww-ctrl      %s, version %s, pid %lld%s, since %s\n", text(r, "state"), text(r, "version"),
           number(r, "pid"), truth(r, "dev") ? ", DEVELOPMENT MODE" : "", text(r, "started"));
    printf("store        epoch %lld, %lld key%s, %lld version%s\n", number(r, "epoch"), number(r, "keys"),
           plural(number(r, "keys")), number(r, "versions"), plural(number(r, "versions")));
    if (!json_is_null(at(at(r, "clock"), "jumped")))
        printf("clock        JUMPED by %lld s at %s: check this machine's time\n",
               number(at(r, "clock"), "jump_s"), text(at(r, "clock"), "jumped"));
    show_root(at(r, "root"));
    show_dataplane(at(r, "dataplane"));
    printf("audit        %lld records written, %lld lost%s%s\n", number(audit, "written"),
           number(audit, "lost"),
           text(audit, "problem")[0] == '\0' ? "" : "; NOT WRITING: ", text(audit, "problem"));
    json_array_foreach(at(r, "still_asked"), i, asked)
    {
        printf("STILL ASKED  %s (%s) is ", text(asked, "path"), text(asked, "state"));
        show_asked(asked);
    }
    json_array_foreach(at(r, "issuers"), i, issuer)
    {
        printf("issuer       %s: %lld key%s, loaded %s%s%s\n", text(issuer, "issuer"), number(issuer, "keys"),
               plural(number(issuer, "keys")),
               json_is_null(at(issuer, "loaded")) ? "never" : text(issuer, "loaded"),
               text(issuer, "problem")[0] == '\0' ? "" : "; last read failed: ", text(issuer, "problem"));
    }
    show_backups(at(r, "backup"));
    if (text(r, "certificate_problem")[0] != '\0')
        printf("certificate  last read failed: %s\n", text(r, "certificate_problem"));
}

/* The dates of a key or a version that has an end. */
static void show_end(const json_t *j)
{
    if (at(j, "destroy_at") != NULL)
        printf("  to be destroyed %s", text(j, "destroy_at"));
    if (at(j, "destroyed") != NULL)
        printf("  destroyed %s", text(j, "destroyed"));
    printf("\n");
}

void show_key(const json_t *r)
{
    const json_t *key = at(r, "key"), *v;
    size_t i;

    if (truth(r, "already"))
        printf("it was so already\n");
    printf("%s  %s  id %s  created %s", text(key, "path"), text(key, "state"), text(key, "id"),
           text(key, "created"));
    show_end(key);
    if (!truth(key, "served"))
        printf("  %s: kept and backed up; not served yet\n", text(key, "algorithm"));
    if (at(key, "rotate_period_s") != NULL)
        printf("  rotates every %lld days%s%s\n", number(key, "rotate_period_s") / 86400,
               at(key, "rotates") == NULL ? "" : ", next ", text(key, "rotates"));
    json_array_foreach(at(key, "versions"), i, v)
    {
        printf("  version %lld  %s%s  created %s", number(v, "version"), text(v, "state"),
               truth(v, "primary") ? ", primary" : "", text(v, "created"));
        show_end(v);
        if (at(v, "public_key") != NULL)
            printf("%s", text(v, "public_key"));
    }
    if (at(key, "still_asked") != NULL) {
        printf("  ");
        show_asked(at(key, "still_asked"));
    }
    json_array_foreach(at(at(key, "still_asked"), "by"), i, v)
    {
        printf("    %s  %lld times, last %s%s\n", text(v, "caller"), number(v, "count"), text(v, "last"),
               number(v, "version") == 0 ? "" : ", for a version that is off");
    }
    show_effect(r);
}

/* The key alone on standard output, so that it can be sent into a file. */
void show_import_key(const json_t *r)
{
    printf("%s", text(r, "public_key"));
    fprintf(stderr, "valid until %s, for %s\n", text(r, "valid_until"), text(r, "algorithm"));
}

void show_key_list(const json_t *r)
{
    const json_t *key;
    size_t i;

    json_array_foreach(at(r, "keys"), i, key)
    {
        printf("%-40s  %-9s  primary %-4lld  versions %-4lld  created %s", text(key, "path"),
               text(key, "state"), number(key, "primary"), number(key, "version_count"),
               text(key, "created"));
        show_end(key);
    }
    if (json_array_size(at(r, "keys")) == 0)
        printf("no keys yet; make one: wwctl key create PATH\n");
}

void show_policy(const json_t *r)
{
    const json_t *p = at(r, "policy"), *item;
    size_t i;

    printf("%s\n", text(r, "path"));
    if (json_array_size(at(p, "callers")) == 0)
        printf("  caller                nobody\n");
    json_array_foreach(at(p, "callers"), i, item)
        printf("  caller                %s\n", json_string_value(item));
    if (json_is_string(at(p, "reasons")))
        printf("  reasons               %s\n", text(p, "reasons"));
    json_array_foreach(at(p, "reasons"), i, item)
        printf("  reason                %s\n", json_string_value(item));
    printf("  allow_missing_reason  %s\n", truth(p, "allow_missing_reason") ? "true" : "false");
    printf("  allow_unknown_reason  %s\n", truth(p, "allow_unknown_reason") ? "true" : "false");
    printf("  deny_status           %lld\n", number(p, "deny_status"));
    show_effect(r);
}

static void show_numbers(const json_t *all, bool nothing_too)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)all, name, value)
    {
        if (nothing_too || json_integer_value(value) != 0)
            printf("%-40s %lld\n", name, (long long)json_integer_value(value));
    }
}

/* What happened, then what is held. */
void show_counters(const json_t *r)
{
    show_numbers(at(r, "counters"), false);
    printf("\n");
    show_numbers(at(r, "gauges"), true);
}

void show_token(const json_t *r)
{
    printf("%s\n", text(r, "token"));
}

void show_audit(const json_t *r)
{
    const json_t *e;
    size_t i;

    json_array_foreach(at(r, "entries"), i, e)
    {
        const char *kind = text(e, "kind");

        if (strcmp(kind, "record") == 0)
            printf("%s  %lld  %-6s  %lld  %s  %s  v%lld  %s%s  %s  %lld us\n", text(e, "time"),
                   number(e, "seq"), text(e, "op"), number(e, "status"), text(e, "verdict"), text(e, "key"),
                   number(e, "version"), text(e, "caller"), truth(e, "caller_proven") ? "" : " (unproven)",
                   text(e, "access_reason"), number(e, "latency_ns") / 1000);
        else if (strcmp(kind, "loss") == 0)
            printf("%s  LOST %lld records from %lld on (worker %lld)\n", text(e, "time"), number(e, "count"),
                   number(e, "seq"), number(e, "worker"));
        else
            printf("%s  %s after %lld (worker %lld)\n", text(e, "time"), kind, number(e, "seq"),
                   number(e, "worker"));
    }
}

void show_certificates(const json_t *r)
{
    const json_t *c;
    size_t i;

    json_array_foreach(at(r, "certificates"), i, c)
    {
        printf("%s\n  names    %s\n  key      %s\n  valid    %s to %s (%lld days left)\n  sha256   %s\n  "
               "chain    %lld\n",
               text(c, "subject"), text(c, "names"), text(c, "key"), text(c, "not_before"),
               text(c, "not_after"), number(c, "days_left"), text(c, "sha256"), number(c, "chain"));
    }
    if (text(r, "problem")[0] != '\0')
        printf("last read failed: %s\n", text(r, "problem"));
}

void show_reload(const json_t *r)
{
    const json_t *issuer;
    size_t i;

    json_array_foreach(at(r, "issuers"), i, issuer)
    {
        printf("issuer       %s: %lld key%s%s%s\n", text(issuer, "issuer"), number(issuer, "keys"),
               plural(number(issuer, "keys")),
               text(issuer, "problem")[0] == '\0' ? "" : "; not taken: ", text(issuer, "problem"));
    }
    printf("certificate  %s\n",
           text(r, "certificate_problem")[0] == '\0' ? "taken" : text(r, "certificate_problem"));
    show_effect(r);
}

/* ---- the root ---- */

static void show_recipients(const json_t *s)
{
    const json_t *one;
    size_t i;

    json_array_foreach(at(s, "recipients"), i, one) printf("          %s\n", json_string_value(one));
}

static void show_one_slot(const json_t *s)
{
    bool resealed = strcmp(text(s, "sealed"), text(s, "opened")) > 0 && truth(s, "counts");

    printf("slot %-3lld  %-10s  %-7s  made %s  ", number(s, "slot"), text(s, "kind"),
           truth(s, "offline") ? "offline" : "online", text(s, "made"));
    if (truth(s, "counts"))
        printf("opened %s%s\n", text(s, "opened"), resealed ? " (sealed anew since)" : "");
    else
        printf("NEVER OPENED: it does not count yet\n");
    if (at(s, "device") != NULL)
        printf("          %s\n", text(s, "device"));
    if (at(s, "set") != NULL)
        printf("          any %lld of %lld shares of set %s\n", number(s, "threshold"), number(s, "shares"),
               text(s, "set"));
    if (strcmp(text(s, "kind"), "age") == 0)
        show_recipients(s);
}

void show_slots(const json_t *r)
{
    const json_t *root = at(r, "root"), *one;
    size_t i;

    json_array_foreach(at(r, "slots"), i, one) show_one_slot(one);
    if (text(root, "problem")[0] != '\0')
        printf("FOUND AT START  %s\n", text(root, "problem"));
    if (truth(root, "enough"))
        printf("enough: %lld online and %lld offline slots were seen to open\n", number(root, "online"),
               number(root, "offline"));
    else
        printf("NOT ENOUGH: %s that were seen to open are missing\n", text(r, "missing"));
    show_effect(r);
}

/* For the hand: groups of seven, which are passed over when they are read. */
static void show_share(const char *share, size_t i, size_t count, const json_t *is)
{
    printf("\nshare %zu of %zu, any %lld open slot %lld, set %s\n   ", i + 1, count, number(is, "threshold"),
           number(is, "slot"), text(is, "set"));
    for (size_t at_char = 0; share[at_char] != '\0'; at_char++)
        printf("%s%c",
               at_char % 7 != 0                    ? ""
               : at_char % 49 == 0 && at_char != 0 ? "\n    "
                                                   : " ",
               share[at_char]);
    printf("\n");
}

void show_slot(const json_t *r)
{
    const json_t *one, *is = at(r, "is"), *shares = at(r, "shares");
    size_t i;

    if (is != NULL)
        show_one_slot(is);
    if (json_is_array(shares)) {
        printf("\nWrite each share on its own paper, for its own holder.  They are shown this once.\n");
        json_array_foreach(shares, i, one) show_share(json_string_value(one), i, json_array_size(shares), is);
        printf("\n");
    }
    if (is != NULL && !truth(is, "counts"))
        printf("next: wwctl root slots verify %lld %s\n", number(is, "slot"),
               strcmp(text(is, "kind"), "age") == 0 ? "--identity FILE" : "--shares-file FILE");
    show_effect(r);
}

/* ---- backups ---- */

void show_backup(const json_t *r)
{
    show_backups(r);
}

void show_backup_list(const json_t *r)
{
    const json_t *f;
    size_t i;

    json_array_foreach(at(r, "files"), i, f)
    {
        printf("%-12s  %s  %s  epochs %lld..%lld\n", text(f, "sink"), text(f, "made"),
               truth(f, "full") ? "full" : "more", number(f, "from"), number(f, "to"));
    }
}

/* ---- formats ---- */

void show_upgrade(const json_t *r)
{
    const json_t *reads = at(r, "reads"), *f;
    size_t i;

    if (at(r, "compacted") != NULL)
        printf("%lld changes %s one anchor\n", number(r, "compacted"),
               truth(r, "dry_run") ? "would become" : "became");
    printf("ww-ctrl %s reads levels %lld..%lld; the store is at level %lld\n", text(r, "version"),
           json_integer_value(json_array_get(reads, 0)), json_integer_value(json_array_get(reads, 1)),
           number(r, "level"));
    json_array_foreach(at(r, "formats"), i, f)
    {
        if (number(f, "now") == number(f, "after"))
            printf("  %-14s  %lld\n", text(f, "format"), number(f, "now"));
        else
            printf("  %-14s  %lld, %lld after a commit\n", text(f, "format"), number(f, "now"),
                   number(f, "after"));
    }
    printf("chain: %lld changes after an anchor at epoch %lld\n", number(r, "changes"),
           number(r, "anchor_epoch"));
    if (truth(r, "newest"))
        printf("nothing to commit: versions that read less than level %lld refuse this store\n",
               number(r, "level"));
    else
        printf("not committed: the version before this one still opens this store and its backups, and not "
               "after a "
               "commit\n%s%s\n",
               truth(r, "may_commit") ? "next: wwctl upgrade commit, once you would not go back"
                                      : "a commit is refused now: ",
               text(r, "in_the_way"));
    show_effect(r);
}

void show_challenge(const json_t *r)
{
    printf("challenge %s\n\n"
           "This shows that somebody holds what opens a backup when this host is gone.  On a machine without "
           "network, with a\n"
           "copy of a sink's files (newest full one and all later ones), this configuration, and an offline "
           "slot:\n\n"
           "  1  bring the age identity, or as many paper shares as the set needs, typed into one file\n"
           "  2  ww-ctrl --config %s --drill DIRECTORY --identity FILE --challenge %s\n"
           "     (paper: --shares FILE instead of --identity FILE)\n"
           "  3  look at \"ok\", \"epoch\" and \"versions\" in what it prints; wipe the identity or the "
           "shares from that machine\n"
           "  4  here: wwctl drill prove --proof PROOF\n",
           text(r, "challenge"), text(r, "config"), text(r, "challenge"));
}

static const char *names(const json_t *list, char *out, size_t cap)
{
    const json_t *n;
    size_t i, len = 0;

    out[0] = '\0';
    json_array_foreach(list, i, n)
    {
        if (len < cap)
            len += (size_t)snprintf(out + len, cap - len, "%s%s", i == 0 ? "" : ", ", json_string_value(n));
    }
    return out[0] == '\0' ? "nobody yet" : out;
}

static void approval_line(const json_t *a)
{
    char by[512];

    printf("%s  %s %s\n  asked by %s, expires %s, signed by %s: %lld of %lld\n", text(a, "id"),
           text(a, "command"), text(a, "path"), text(a, "asked_by"), text(a, "expires"),
           names(at(a, "signed_by"), by, sizeof by), number(a, "good"), number(a, "needed"));
}

void show_approvals(const json_t *r)
{
    const json_t *a;
    size_t i;

    json_array_foreach(at(r, "approvals"), i, a) approval_line(a);
    if (json_array_size(at(r, "approvals")) == 0)
        printf("nothing waits for signatures\n");
}

void show_approval(const json_t *r)
{
    approval_line(at(r, "approval"));
    if (text(r, "statement")[0] != '\0')
        printf("\n%s", text(r, "statement"));
    else
        printf("withdrawn\n");
}

void show_submitted(const json_t *r)
{
    const json_t *a = at(r, "approval");

    printf("signed by %s\n", text(r, "signed_by"));
    if (truth(r, "carried_out"))
        printf("carried out: %s %s\n", text(a, "command"), text(a, "path"));
    else if (number(a, "good") >= number(a, "needed"))
        printf("enough: %s may now say it again, and it is done\n", text(a, "asked_by"));
    else
        printf("%lld of %lld signatures\n", number(a, "good"), number(a, "needed"));
    show_effect(r);
}

void show_acts(const json_t *r)
{
    const json_t *a;
    size_t i;

    json_array_foreach(at(r, "acts"), i, a)
    {
        if (strcmp(text(a, "phase"), "begin") == 0)
            printf("%6lld  %s  %s (%s)  %s %s\n", number(a, "seq"), text(a, "time"), text(a, "who"),
                   text(a, "via"), text(a, "command"), text(at(a, "request"), "path"));
        else
            printf("%6lld  %s  %lld ended: %s\n", number(a, "seq"), text(a, "time"), number(a, "of"),
                   text(a, "outcome"));
    }
    printf("%lld lines, %s\n", number(r, "lines"),
           truth(r, "whole") ? "the chain is whole" : "THE CHAIN IS BROKEN: the log was altered");
}
