#include "ctrl/rescue.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "ctrl/lib/file.h"
#include "ctrl/backup/restore.h"
#include "ctrl/backup/sink.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct work {
    struct daemon *d;
    const struct rescue *r;
    char folder[PATH_MAX]; /* of this work alone; removed at its end */
    char files[PATH_MAX + 16];
    char store[PATH_MAX + 16];
    char proof[DRILL_PROOF_LEN];
    size_t fetched;
};

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* ---- identities ---- */

static bool shares_combine(const char *file, uint8_t out[AGE_KEY_LEN], struct refusal *why)
{
    size_t len = SHAMIR_SHARES_MAX * sizeof(struct shamir_share), count = 0, at = 0;
    struct shamir_share *shares = secret_pages_alloc(len);

    if (shares == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK", "no locked memory for shares");
    bool ok = root_shares_read(file, shares, &count, why);
    enum shamir_status s = ok ? shamir_combine(shares, count, out, &at) : SHAMIR_OK;
    secret_pages_free(shares, len);
    return ok && (s == SHAMIR_OK || refuse(why, "wrong_shares", "take shares of one set, as many as it needs",
                                           "%s, share %zu: %s", file, at + 1, shamir_status_text(s)));
}

/* The drill's, or that of who is there (locked pages of the caller's). */
static bool identity_read(const struct daemon *d, uint8_t out[AGE_KEY_LEN], struct refusal *why)
{
    if (given(d->options.identity_file))
        return restore_identity_read(d->options.identity_file, out, why);
    if (given(d->options.shares_file))
        return shares_combine(d->options.shares_file, out, why);
    if (given(d->config.backup.drill_identity_file))
        return restore_identity_read(d->config.backup.drill_identity_file, out, why);
    return refuse(why, "no_identity",
                  "give --identity FILE or --shares FILE, or set backup.drill_identity_file",
                  "there is nothing to open a backup with");
}

/* ---- the folder ---- */

static void folder_empty(const char *path)
{
    DIR *d = opendir(path);
    char inner[2 * PATH_MAX];

    for (const struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        (void)unlink(inner);
    }
    if (d != NULL)
        closedir(d);
}

static void folder_remove(struct work *w)
{
    folder_empty(w->files);
    (void)rmdir(w->files);
    folder_empty(w->folder);
    (void)rmdir(w->folder);
}

/* What a death left of an earlier one goes first.  A drill by hand is not in the way of ww-ctrl's own. */
static bool folder_make(struct work *w, struct refusal *why)
{
    const struct daemon_options *o = &w->d->options;
    bool by_hand = given(o->identity_file) || given(o->shares_file);

    snprintf(w->folder, sizeof w->folder, "%s/%s", w->d->config.ctrl.state_dir,
             !w->r->drill ? "restoring"
             : by_hand    ? "drill-by-hand"
                          : "drill");
    snprintf(w->files, sizeof w->files, "%s/files", w->folder);
    snprintf(w->store, sizeof w->store, "%s/store.db", w->folder);
    folder_remove(w);
    return file_make_dir(w->files, why);
}

/* ---- from a sink ---- */

static const struct config_sink *sink_named(const struct daemon *d, const char *name)
{
    for (uint16_t i = 0; i < d->config.backup.sink_count; i++) {
        if (strcmp(d->config.backup.sinks[i].name, name) == 0)
            return &d->config.backup.sinks[i];
    }
    return NULL;
}

static char *sink_list(const struct config_sink *s, struct refusal *why)
{
    struct fetch_request r = sink_request(s, FETCH_LIST, "");
    struct fetch_reply reply;
    int fd = memfd_create("list", MFD_CLOEXEC);
    int theirs = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    char *text = NULL;

    if (sink_ask(sink_program(), &r, theirs, &reply, why)) {
        text = calloc(1, reply.size + 1);
        CHECK(text != NULL);
        if (pread(fd, text, reply.size, 0) != (ssize_t)reply.size) {
            free(text);
            text = NULL;
            refuse(why, "file_unreadable", "", "the list of sink %s cannot be read", s->name);
        }
    }
    close(fd);
    return text;
}

static bool sink_get(struct work *w, const struct config_sink *s, const char *name, struct refusal *why)
{
    struct fetch_request r = sink_request(s, FETCH_GET, name);
    struct fetch_reply reply;
    char path[PATH_MAX + 128];

    snprintf(path, sizeof path, "%s/%s", w->files, name);
    if (access(path, F_OK) == 0)
        return true;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return refuse(why, "file_unwritable", "make room there", "%s: %s", path, strerror(errno));
    if (!sink_ask(sink_program(), &r, fd, &reply, why)) {
        (void)unlink(path);
        return false;
    }
    w->fetched++;
    return true;
}

static bool of_store(const struct work *w, const char *name)
{
    return w->r->store == NULL || strncmp(name + 3, w->r->store, 8) == 0;
}

/* The newest full file of each store, and what reaches beyond it; or everything. */
static bool sink_fetch(struct work *w, const struct config_sink *s, const char *list, bool all,
                       struct refusal *why)
{
    struct backup_name n, full = {.made_unix_s = INT64_MIN};
    bool any = false;

    for (int pass = 0; pass < 2; pass++) {
        for (const char *at = list; *at != '\0';) {
            char line[BACKUP_NAME_CAP];
            size_t len = strcspn(at, "\n");

            snprintf(line, sizeof line, "%.*s", (int)(len < sizeof line ? len : 0), at);
            at += len + (at[len] == '\n');
            if (!backup_name_parse(line, &n) || !of_store(w, line))
                continue;
            any = true;
            if (pass == 0) {
                if (n.from == 1 && n.made_unix_s >= full.made_unix_s)
                    full = n;
            } else if ((all || n.to > full.to || (n.from == 1 && n.made_unix_s == full.made_unix_s)) &&
                       !sink_get(w, s, line, why)) {
                return false;
            }
        }
    }
    return any || refuse(why, "no_backup", "look into another sink", "sink %s holds no backup", s->name);
}

/* ---- the root key ---- */

static bool open_root(void *ctx, struct store *s, uint8_t *srk, struct refusal *why)
{
    struct work *w = ctx;
    struct root_options o = {.shard = CTRL_SHARD, .from = daemon_root_sources(w->d)};
    uint8_t number;

    if (given(o.from.identity_file) || given(o.from.shares_file)) {
        o.from.passphrase_file = NULL; /* it is to be shown that what was brought is enough */
        o.from.device.program = NULL;
    }
    return root_open(s, w->d->rng, &o, srk, &number, why);
}

static void prove(struct work *w, const uint8_t *srk)
{
    if (!given(w->r->challenge))
        return;
    uint8_t *key = secret_pages_alloc(MBED_KEY_LEN);
    if (key == NULL)
        return;
    store_derive(srk, CUSTODY_PROOF_LABEL, CTRL_SHARD, key);
    drill_proof(key, w->r->challenge, w->proof);
    secret_pages_free(key, MBED_KEY_LEN);
}

static uint8_t free_number(struct store *s)
{
    uint8_t slot[STORE_SLOT_MAX], number = 0;

    while (number < STORE_SLOTS_MAX && store_slot_get(s, number, slot) != 0)
        number++;
    return number;
}

/* The offline slots came with the backup; what opened the old host does not open this one. */
static bool fresh_slots(void *ctx, struct store *s, const uint8_t *srk, struct refusal *why)
{
    struct work *w = ctx;
    struct root_sources from = daemon_root_sources(w->d);
    struct seal_cost cost = {w->d->config.seal.argon2_memory_kib, w->d->config.seal.argon2_passes};
    uint8_t slot[SEAL_SLOT_LEN], number = free_number(s);

    prove(w, srk);
    if (w->r->drill)
        return true;
    if (!given(from.passphrase_file)) {
        log_warn("no online slot was made: seal.passphrase_file is not set; until there is one, ww-ctrl "
                 "starts with "
                 "--identity or --shares only");
        return true;
    }
    if (number == STORE_SLOTS_MAX)
        return refuse(why, "no_slot", "restore the store and remove a slot", "no slot number is free");
    return root_passphrase_slot(w->d->rng, number, CTRL_SHARD, cost, from.passphrase_file, srk, slot, why) &&
           store_slot_put(s, number, span_of(slot, sizeof slot), why);
}

/* ---- building ---- */

static bool build_from(struct work *w, const char *dir, const uint8_t (*identity)[AGE_KEY_LEN],
                       struct restore_report *report, struct refusal *why)
{
    struct restore_source from = {
        .dir = dir, .identities = identity, .identity_count = 1, .store = w->r->store};
    struct restore_root root = {
        .ctx = w, .open = open_root, .fresh_slots = fresh_slots, .keep_online = w->r->drill};

    return restore_build(w->store, w->d->rng, &from, &root, report, why);
}

/* What is needed is fetched first; where a file of it is damaged, all there is. */
static bool build_from_sink(struct work *w, const struct config_sink *s,
                            const uint8_t (*identity)[AGE_KEY_LEN], struct restore_report *report,
                            struct refusal *why)
{
    char *list = sink_list(s, why);
    bool ok = list != NULL && sink_fetch(w, s, list, false, why);

    if (ok && !build_from(w, w->files, identity, report, why)) {
        size_t before = w->fetched;
        struct refusal first = *why;

        ok = sink_fetch(w, s, list, true, why) && w->fetched != before &&
             build_from(w, w->files, identity, report, why);
        if (!ok)
            *why = first;
    }
    free(list);
    return ok;
}

static bool build(struct work *w, struct restore_report *report, struct refusal *why)
{
    uint8_t(*identity)[AGE_KEY_LEN] = secret_pages_alloc(AGE_KEY_LEN);
    const struct config_sink *s = sink_named(w->d, w->r->source);
    bool ok = identity != NULL || refuse(why, "no_memory", "raise LimitMEMLOCK", "no locked memory");

    ok = ok && identity_read(w->d, *identity, why);
    if (ok)
        ok = s != NULL ? build_from_sink(w, s, identity, report, why)
                       : build_from(w, w->r->source, identity, report, why);
    secret_pages_free(identity, AGE_KEY_LEN);
    return ok;
}

/* ---- taking its place ---- */

/* The head first: a store without it would be taken, with a warning; a head without a store is harmless. */
static bool take_place(struct work *w, const char *file, struct refusal *why)
{
    char from[PATH_MAX + 32], to[PATH_MAX + 32];

    snprintf(from, sizeof from, "%s.head", w->store);
    snprintf(to, sizeof to, "%s.head", file);
    if (rename(from, to) != 0 || rename(w->store, file) != 0)
        return refuse(why, "file_unwritable", "check ctrl.state_dir", "%s: %s", file, strerror(errno));
    file_sync_dir(w->d->config.ctrl.state_dir);
    return true;
}

static bool place_is_free(const char *file, struct refusal *why)
{
    static const char *const ends[] = {"", "-wal"};
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        snprintf(path, sizeof path, "%s%s", file, ends[i]);
        if (file_exists(path))
            return refuse(why, "store_there", "move it away first: a store is never overwritten",
                          "%s is there", path);
    }
    return true;
}

/* ---- saying it ---- */

static json_t *report_json(const struct work *w, const struct restore_report *r, const struct refusal *why)
{
    char head[2 * MBED_DIGEST_LEN + 1];
    json_t *notes = json_array();

    for (size_t i = 0; i < MBED_DIGEST_LEN; i++)
        snprintf(head + 2 * i, 3, "%02x", r->head[i]);
    for (size_t i = 0; i < r->note_count; i++)
        json_array_append_new(notes, json_string(r->notes[i]));
    int level = why == NULL ? 2 : r->used != 0 ? 1 : 0;
    json_t *j =
        json_pack("{s:b, s:i, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "ok", why == NULL, "level", level,
                  "epoch", (json_int_t)r->epoch, "head", head, "newest_epoch", (json_int_t)r->newest_epoch,
                  "made_unix_s", (json_int_t)r->newest_unix_s, "files", (json_int_t)r->used, "keys",
                  (json_int_t)r->keys, "versions", (json_int_t)r->versions, "notes", notes);

    if (why != NULL)
        json_object_set_new(
            j, "error",
            json_pack("{s:s, s:s, s:s}", "code", why->code, "message", why->text, "next", why->next));
    if (w->proof[0] != '\0')
        json_object_set_new(j, "proof", json_string(w->proof));
    return j;
}

static void say(const struct work *w, const struct restore_report *r, const struct refusal *why)
{
    json_t *j = report_json(w, r, why);

    if (w->r->drill) {
        json_dumpf(j, stdout, JSON_COMPACT);
        printf("\n");
    } else {
        for (size_t i = 0; i < r->note_count; i++)
            log_warn("restore", F("note", r->notes[i]));
        if (why == NULL)
            log_info("store restored; start ww-ctrl, then look at wwctl status and make slots for this host",
                     F("epoch", r->epoch), F("keys", r->keys), F("versions", r->versions),
                     F("files", r->used));
        else
            log_error("nothing was restored", F("code", why->code), F("why", why->text),
                      F("next", why->next));
    }
    fflush(stdout);
    json_decref(j);
}

int rescue_run(struct daemon *d, const struct rescue *r)
{
    static struct restore_report report;
    struct work w = {.d = d, .r = r};
    struct refusal why = {{0}, {0}, {0}};
    char file[CONFIG_TEXT_CAP + 16];

    snprintf(file, sizeof file, "%s/store.db", d->config.ctrl.state_dir);
    bool ok = (r->drill || place_is_free(file, &why)) && file_make_dir(d->config.ctrl.state_dir, &why) &&
              folder_make(&w, &why) && build(&w, &report, &why) && (r->drill || take_place(&w, file, &why));
    if (w.folder[0] != '\0')
        folder_remove(&w);
    say(&w, &report, ok ? NULL : &why);
    return ok ? 0 : 1;
}
