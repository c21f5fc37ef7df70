#include "ctrl/backup/restore.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "ctrl/root/root_slots.h"
#include "drivers/seal/seal.h"
#include "drivers/seal/secret_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define IDENTITY_FILE_MAX 4096

struct candidate {
    struct backup_name name;
    char text[BACKUP_NAME_CAP];
    bool spent; /* applied, damaged, or of another branch */
};

struct building {
    const char *file;
    struct mbed_rng *rng;
    const struct restore_source *from;
    bool keep_online;
    struct candidate *list;
    size_t count;
    const struct candidate *current;
    struct store *import;
    uint64_t epoch;
    struct restore_report *report;
};

__attribute__((format(printf, 2, 3))) static void note(struct restore_report *r, const char *format, ...)
{
    va_list args;

    if (r->note_count == RESTORE_NOTES_MAX)
        return;
    va_start(args, format);
    vsnprintf(r->notes[r->note_count++], RESTORE_NOTE_CAP, format, args);
    va_end(args);
}

/* ---- which files there are ---- */

static int by_age(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->name.made_unix_s != y->name.made_unix_s)
        return x->name.made_unix_s < y->name.made_unix_s ? 1 : -1;
    if (x->name.to != y->name.to)
        return x->name.to < y->name.to ? 1 : -1;
    return strcmp(y->text, x->text);
}

static void list_add(struct building *b, const char *text, const struct backup_name *name)
{
    struct candidate *more = realloc(b->list, (b->count + 1) * sizeof *more);

    CHECK(more != NULL);
    b->list = more;
    more[b->count] = (struct candidate){.name = *name};
    snprintf(more[b->count].text, BACKUP_NAME_CAP, "%.95s", text);
    b->count++;
}

static bool list_read(struct building *b, struct refusal *why)
{
    DIR *dir = opendir(b->from->dir);
    struct backup_name name;
    char id[9];

    if (dir == NULL)
        return refuse(why, "file_unreadable", "name a directory that holds backup files", "%s: %s",
                      b->from->dir, strerror(errno));
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (!backup_name_parse(e->d_name, &name))
            continue;
        for (size_t i = 0; i < 4; i++)
            snprintf(id + 2 * i, 3, "%02x", name.store[i]);
        if (b->from->store == NULL || strcmp(b->from->store, id) == 0)
            list_add(b, e->d_name, &name);
    }
    closedir(dir);
    if (b->count != 0)
        qsort(b->list, b->count, sizeof *b->list, by_age);
    return b->count != 0 ||
           refuse(why, "no_backup", "name the directory, or the sink, that holds them",
                  "%s holds no backup file%s%s", b->from->dir, b->from->store == NULL ? "" : " of store ",
                  b->from->store == NULL ? "" : b->from->store);
}

static bool list_check(const struct building *b, struct refusal *why)
{
    for (size_t i = 1; i < b->count; i++) {
        if (memcmp(b->list[i].name.store, b->list[0].name.store, 4) != 0)
            return refuse(why, "several_stores",
                          "name one with --store: the 8 digits behind ww- in the names",
                          "%s holds backups of several stores (%.11s, %.11s)", b->from->dir, b->list[0].text,
                          b->list[i].text);
    }
    return true;
}

/* ---- one file ---- */

static bool name_fits(const struct backup_name *n, const struct backup_head *h)
{
    return n->from == h->from && n->made_unix_s == h->made_unix_s &&
           memcmp(n->store, h->identity.store_id, sizeof n->store) == 0;
}

static bool identity_equal(const struct store_identity *a, const struct store_identity *b)
{
    return a->shard == b->shard && memcmp(a->store_id, b->store_id, STORE_ID_LEN) == 0 &&
           memcmp(a->root, b->root, sizeof a->root) == 0;
}

static bool on_head(void *ctx, const struct backup_head *h, struct refusal *why)
{
    struct building *b = ctx;
    uint8_t hash[MBED_DIGEST_LEN];

    if (!name_fits(&b->current->name, h))
        return refuse(why, "backup_damaged", "use another file", "%s is another file under that name",
                      b->current->text);
    if (b->import == NULL) {
        b->report->identity = h->identity;
        b->import = store_import(b->file, &h->identity, b->rng, why);
        return b->import != NULL;
    }
    if (!identity_equal(&b->report->identity, &h->identity) ||
        !store_chain_hash(b->import, h->from - 1, hash) || memcmp(hash, h->before, sizeof hash) != 0)
        return refuse(why, "backup_branch", "", "%s continues another history than the newest full file",
                      b->current->text);
    return store_import_forget_slots(b->import, why);
}

static bool on_record(void *ctx, const struct store_raw *r, struct refusal *why)
{
    struct building *b = ctx;
    struct seal_slot_info info;

    if (r->kind == STORE_RAW_SLOT && !b->keep_online &&
        (seal_slot_info(r->record, &info) != SEAL_OK || !seal_kind_is_offline(info.kind)))
        return true;
    return store_import_put(b->import, r, why);
}

static bool end_fits(const struct backup_name *n, const struct backup_end *e)
{
    return n->to == e->to && memcmp(n->head, e->head, sizeof n->head) == 0;
}

static bool file_apply(struct building *b, struct candidate *c, struct refusal *why)
{
    struct backup_visitor v = {b, on_head, on_record};
    struct backup_end end = {0};
    char path[PATH_MAX];

    c->spent = true;
    b->current = c;
    snprintf(path, sizeof path, "%s/%s", b->from->dir, c->text);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return refuse(why, "file_unreadable", "check its permissions", "%s: %s", path, strerror(errno));
    bool ok = backup_read(fd, c->text, b->rng, b->from->identities, b->from->identity_count, &v, &end, why);
    close(fd);
    if (ok && !end_fits(&c->name, &end))
        ok = refuse(why, "backup_damaged", "use another file", "%s is another file under that name", c->text);
    if (!ok)
        return false;
    b->epoch = end.to;
    memcpy(b->report->head, end.head, sizeof end.head);
    b->report->used++;
    b->report->newest_unix_s = c->name.made_unix_s;
    return store_import_mark(b->import, why);
}

/* ---- all of them ---- */

static void import_remove(const char *file)
{
    static const char *const ends[] = {"", "-wal", "-journal", ".head", ".head.new", ".clock", ".clock.new"};
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        snprintf(path, sizeof path, "%s%s", file, ends[i]);
        (void)unlink(path);
    }
}

static void import_give_up(struct building *b)
{
    store_close(b->import);
    b->import = NULL;
    import_remove(b->file);
}

/* The full files are tried from the newest on.  Refused: why is that of the newest. */
static bool apply_full(struct building *b, struct refusal *why)
{
    struct refusal first = {{0}, {0}, {0}}, now;

    for (size_t i = 0; i < b->count; i++) {
        if (b->list[i].name.from != 1)
            continue;
        if (file_apply(b, &b->list[i], &now))
            return true;
        note(b->report, "%.200s", now.text);
        import_give_up(b);
        if (first.code[0] == '\0')
            first = now;
        if (strcmp(now.code, "backup_sealed") != 0 && strcmp(now.code, "backup_damaged") != 0 &&
            strcmp(now.code, "backup_format") != 0 && strcmp(now.code, "file_unreadable") != 0)
            break;
    }
    if (first.code[0] != '\0') {
        *why = first;
        return false;
    }
    return refuse(why, "no_full_backup", "use another sink: wwctl backup list",
                  "%s holds no full file (its names have 000000000001 in the third place)", b->from->dir);
}

/* Of those that continue where the import stands, the one that leads furthest. */
static struct candidate *next_file(const struct building *b)
{
    struct candidate *best = NULL;

    for (size_t i = 0; i < b->count; i++) {
        struct candidate *c = &b->list[i];

        if (!c->spent && c->name.from != 1 && c->name.from <= b->epoch + 1 && c->name.to > b->epoch &&
            (best == NULL || c->name.to > best->name.to))
            best = c;
    }
    return best;
}

static bool apply_rest(struct building *b, struct refusal *why)
{
    struct refusal now;

    for (struct candidate *c; (c = next_file(b)) != NULL;) {
        if (file_apply(b, c, &now))
            continue;
        if (strcmp(now.code, "backup_newer") == 0) {
            *why = now; /* it leads further, and we cannot follow: to stop short of it would be a rollback */
            return false;
        }
        note(b->report, "%.200s", now.text);
        if (!store_import_drop(b->import, why))
            return false;
    }
    return true;
}

static void note_gap(struct building *b)
{
    uint64_t newest = b->epoch, resumes = 0;

    for (size_t i = 0; i < b->count; i++) {
        const struct backup_name *n = &b->list[i].name;

        newest = n->to > newest ? n->to : newest;
        if (!b->list[i].spent && n->from > b->epoch + 1 && (resumes == 0 || n->from < resumes))
            resumes = n->from;
    }
    b->report->newest_epoch = newest;
    if (resumes != 0)
        note(b->report, "epochs %" PRIu64 "..%" PRIu64 " are in no file: what is above them is lost here",
             b->epoch + 1, resumes - 1);
    else if (newest > b->epoch)
        note(b->report, "files reach epoch %" PRIu64 ", but none that can be used leads beyond %" PRIu64,
             newest, b->epoch);
}

static bool import_all(struct building *b, struct refusal *why)
{
    if (!list_read(b, why) || !list_check(b, why) || !apply_full(b, why))
        return false;
    b->report->files = b->count;
    if (!apply_rest(b, why) || !store_import_end(b->import, why))
        return false;
    note_gap(b);
    b->report->epoch = b->epoch;
    return true;
}

/* ---- believing it ---- */

static bool never_durable(void *ctx, uint64_t epoch)
{
    (void)ctx;
    (void)epoch;
    return false; /* a restored store is looked at, not changed */
}

static void count_keys(const struct custody *c, struct restore_report *r)
{
    const struct registry *g = custody_registry(c);

    r->keys = registry_count(g);
    for (size_t i = 0; i < registry_count(g); i++)
        r->versions += registry_at(g, i)->version_count;
}

static bool believe(struct building *b, const struct restore_root *root, uint8_t *srk, struct refusal *why)
{
    struct store *s = b->import;

    if (!root->open(root->ctx, s, srk, why) ||
        (root->fresh_slots != NULL && !root->fresh_slots(root->ctx, s, srk, why)))
        return false;
    b->import = NULL; /* custody takes it over */
    struct custody *c =
        custody_open_gated(s, b->rng, srk, (struct custody_gate){.durable = never_durable}, why);
    if (c == NULL)
        return false;
    bool ok =
        custody_epoch(c) == b->epoch || refuse(why, "store_chain_broken", "use another sink",
                                               "the restored store ends at epoch %" PRIu64, custody_epoch(c));
    if (ok)
        count_keys(c, b->report);
    ok = ok && root_slots_restored(c, b->report->newest_unix_s, why);
    custody_close(c);
    return ok;
}

bool restore_build(const char *file, struct mbed_rng *rng, const struct restore_source *from,
                   const struct restore_root *root, struct restore_report *report, struct refusal *why)
{
    struct building b = {
        .file = file, .rng = rng, .from = from, .keep_online = root->keep_online, .report = report};
    uint8_t *srk = secret_pages_alloc(SEAL_SRK_LEN);
    bool ok;

    *report = (struct restore_report){0};
    if (access(file, F_OK) == 0) {
        ok = refuse(why, "store_there", "move it away first: a store is never overwritten", "%s is there",
                    file);
    } else {
        ok = srk != NULL
                 ? import_all(&b, why) && believe(&b, root, srk, why)
                 : refuse(why, "no_memory", "raise LimitMEMLOCK", "no locked memory for the root key");
        if (!ok)
            import_give_up(&b);
    }
    secret_pages_free(srk, SEAL_SRK_LEN);
    free(b.list);
    return ok;
}

/* ---- identities ---- */

static bool read_secret(const char *file, const char *what, uint8_t *room, size_t *len, struct refusal *why)
{
    const struct secret_file f = {what, "its option"};
    char path[PATH_MAX], err[512];

    if (!secret_file_read(file, &f, room, IDENTITY_FILE_MAX, len, path, sizeof path, err, sizeof err))
        return refuse(why, "file_unreadable", "", "%s", err);
    return *len < IDENTITY_FILE_MAX ||
           refuse(why, "bad_identity", "see docs/OPERATIONS.md, \"Restoring\"", "%s is too long", file);
}

bool restore_identity_read(const char *file, uint8_t out[AGE_KEY_LEN], struct refusal *why)
{
    uint8_t *room = secret_pages_alloc(IDENTITY_FILE_MAX);
    size_t len;

    if (room == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK", "no locked memory for an identity");
    bool ok = read_secret(file, "age identity", room, &len, why) &&
              (age_identity_find(span_of(room, len), out) == AGE_OK ||
               refuse(why, "bad_identity", "give a file as age-keygen writes it: a line AGE-SECRET-KEY-1...",
                      "%s holds no age identity", file));
    secret_pages_free(room, IDENTITY_FILE_MAX);
    return ok;
}
