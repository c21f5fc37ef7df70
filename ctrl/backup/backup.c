#include "ctrl/backup/backup.h"

#include "base/check.h"
#include "base/log.h"
#include "ctrl/backup/branch.h"
#include "ctrl/lib/file.h"
#include "ctrl/backup/sink.h"
#include "drivers/seal/seal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define STEP_RECORDS   500
#define PIECES_MAX     16
#define GAP_MAX        5000 /* epochs behind which a full file is quicker */
#define RETRY_MS       1000
#define RETRY_DOUBLES  6 /* up to 64 s */
#define LIST_AGAIN_MS  (3600 * 1000)
#define BRANCH_LIST_MS (60 * 1000) /* of a sink that a person has to see to */
#define SLOTS_LOOK_MS  1000
#define FULLS_KEPT     2 /* whatever their age */
#define LIST_MAX       (64 * 1024 * 1024)
#define SLOW_BYTES_S   65536 /* a sink slower than this is given up */
#define DOUBTED_MAX    64

/* A file made and not yet everywhere. */
struct piece {
    bool used;
    struct backup_made made;
    uint64_t ticket; /* full: what it answers */
    unsigned carried;
};

enum errand_kind { ERRAND_NONE, ERRAND_LIST, ERRAND_PUT, ERRAND_DELETE };

/* What a lane is at. */
struct errand {
    struct sink_lane *lane;
    enum errand_kind kind;
    struct piece *piece; /* PUT */
    int list_fd;         /* LIST */
};

struct sink {
    const struct config_sink *config;
    struct errand more, bulk; /* changes; full files and what is slow */
    bool known;
    uint64_t known_ms;
    uint64_t have, full_to, ticket;
    int64_t full_unix_s, ok_unix_s;
    uint64_t retry_ms;
    unsigned failures; /* in a row */
    uint64_t failed;   /* since start */
    /* Put and failed: whatever it lists under that name may be half of it.  A restart forgets them; a drill finds what
     * a restart believed. */
    struct backup_name doubted[DOUBTED_MAX];
    size_t doubted_count;
    bool branched; /* it holds another history, too: see branch.h */
    int64_t adopted_unix_s;
    bool prune_due;
    struct backup_name *names;
    size_t name_count, name_cap, prune_at; /* names below prune_at are looked at */
    bool pruning;
    char problem[BACKUP_TEXT_CAP];
};

struct backup {
    struct backup_setup setup;
    struct age_recipient drill;
    char dir[PATH_MAX];
    int epoll_fd, poke_fd;
    struct age_recipient recipients[AGE_RECIPIENTS_MAX];
    size_t recipient_count;
    struct sink sinks[CONFIG_SINKS_MAX];
    size_t sink_count;
    struct piece pieces[PIECES_MAX];
    struct backup_job *full_job, *more_job;
    uint64_t full_job_ticket, ticket;
    uint64_t full_retry_ms, more_retry_ms;
    uint64_t durable_epoch;
    uint8_t slots_digest[MBED_DIGEST_LEN];
    uint8_t root[MBED_KEY_LEN];
    bool slots_known;
    uint64_t slots_ms;
    char problem[BACKUP_TEXT_CAP];
};

/* ---- opening ---- */

static void sweep(const char *dir)
{
    DIR *d = opendir(dir);
    char path[PATH_MAX + 256];

    for (const struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        size_t len = strlen(e->d_name);

        if (len < 5 ||
            (strcmp(e->d_name + len - 5, ".part") != 0 && strcmp(e->d_name + len - 4, ".age") != 0))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        (void)unlink(path);
    }
    if (d != NULL)
        closedir(d);
}

static void sink_init(struct backup *b, struct sink *s, const struct config_sink *c)
{
    *s = (struct sink){.config = c,
                       .adopted_unix_s = branch_adopted(b->setup.config->ctrl.state_dir, c->name),
                       .more = {.lane = sink_lane_new(b->setup.fetch_program, b->epoll_fd), .list_fd = -1},
                       .bulk = {.lane = sink_lane_new(b->setup.fetch_program, b->epoll_fd), .list_fd = -1}};
}

static bool events_open(struct backup *b)
{
    struct epoll_event event = {.events = EPOLLIN};

    b->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    b->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return b->epoll_fd >= 0 && b->poke_fd >= 0 &&
           epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, b->poke_fd, &event) == 0;
}

struct backup *backup_open(const struct backup_setup *setup, struct refusal *why)
{
    struct backup *b = calloc(1, sizeof *b);

    CHECK(b != NULL);
    b->setup = *setup;
    if (setup->drill != NULL)
        b->drill = *setup->drill;
    snprintf(b->dir, sizeof b->dir, "%s/backup", setup->config->ctrl.state_dir);
    if (!events_open(b)) {
        refuse(why, "no_descriptors", "raise LimitNOFILE", "epoll: %s", strerror(errno));
        backup_close(b);
        return NULL;
    }
    if (setup->config->backup.sink_count != 0 && !file_make_dir(b->dir, why)) {
        backup_close(b);
        return NULL;
    }
    sweep(b->dir);
    for (uint16_t i = 0; i < setup->config->backup.sink_count; i++)
        sink_init(b, &b->sinks[b->sink_count++], &setup->config->backup.sinks[i]);
    backup_changed(b);
    return b;
}

static void errand_free(struct errand *e)
{
    sink_lane_free(e->lane);
    if (e->list_fd >= 0)
        close(e->list_fd);
}

void backup_close(struct backup *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->sink_count; i++) {
        errand_free(&b->sinks[i].more);
        errand_free(&b->sinks[i].bulk);
        free(b->sinks[i].names);
    }
    backup_job_free(b->full_job);
    backup_job_free(b->more_job);
    sweep(b->dir);
    if (b->poke_fd >= 0)
        close(b->poke_fd);
    if (b->epoll_fd >= 0)
        close(b->epoll_fd);
    free(b);
}

int backup_fd(const struct backup *b)
{
    return b->epoll_fd;
}

void backup_changed(struct backup *b)
{
    (void)eventfd_write(b->poke_fd, 1);
}

/* ---- what is where ---- */

bool backup_durable(const struct backup *b, uint64_t epoch)
{
    uint16_t holders = 0;

    for (size_t i = 0; i < b->sink_count; i++) {
        if (b->sinks[i].have >= epoch)
            holders++;
        else if (b->sinks[i].config->required)
            return false;
    }
    return holders >= b->setup.config->backup.required;
}

void backup_missing(const struct backup *b, uint64_t epoch, char out[BACKUP_TEXT_CAP])
{
    size_t len = 0;

    out[0] = '\0';
    if (backup_durable(b, epoch))
        return;
    for (size_t i = 0; i < b->sink_count && len < BACKUP_TEXT_CAP - 1; i++) {
        const struct sink *s = &b->sinks[i];

        if (s->have >= epoch)
            continue;
        int n = snprintf(out + len, BACKUP_TEXT_CAP - len, "%ssink %s: %.160s", len == 0 ? "" : "; ",
                         s->config->name,
                         s->problem[0] != '\0'   ? s->problem
                         : b->problem[0] != '\0' ? b->problem
                                                 : "not yet");
        len += n > 0 ? (size_t)n : 0;
    }
}

/* The newest epoch that is durable only ever matters to who waits: told when it moves up. */
static void tell_durable(struct backup *b)
{
    uint64_t best = b->durable_epoch;

    for (size_t i = 0; i < b->sink_count; i++) {
        if (b->sinks[i].have > best && backup_durable(b, b->sinks[i].have))
            best = b->sinks[i].have;
    }
    if (best == b->durable_epoch)
        return;
    b->durable_epoch = best;
    b->setup.durable(b->setup.ctx);
}

static void name_add(struct sink *s, const struct backup_name *n)
{
    if (s->name_count == s->name_cap) {
        s->name_cap = s->name_cap == 0 ? 64 : 2 * s->name_cap;
        s->names = realloc(s->names, s->name_cap * sizeof *s->names);
        CHECK(s->names != NULL);
    }
    s->names[s->name_count++] = *n;
}

static bool is_ours(const struct backup *b, const struct backup_name *n)
{
    struct store_identity id;

    store_identity(b->setup.store, &id);
    return memcmp(n->store, id.store_id, sizeof n->store) == 0;
}

static bool is_doubted(const struct sink *s, const struct backup_name *n)
{
    size_t count = s->doubted_count < DOUBTED_MAX ? s->doubted_count : DOUBTED_MAX;

    for (size_t i = 0; i < count; i++) {
        const struct backup_name *d = &s->doubted[i];

        if (d->from == n->from && d->to == n->to && d->made_unix_s == n->made_unix_s)
            return true;
    }
    return false;
}

/* Of the history that this store has, as far as it goes back: of what is before an anchor nobody can tell. */
static bool is_of_chain(const struct backup *b, const struct backup_name *n)
{
    uint8_t hash[MBED_DIGEST_LEN];

    return n->to <= store_epoch(b->setup.store) && store_chain_hash(b->setup.store, n->to, hash) &&
           memcmp(hash, n->head, sizeof n->head) == 0;
}

struct kin_of {
    const struct backup *b;
    const struct sink *s;
};

static enum branch_kin kin(void *ctx, const struct backup_name *n)
{
    const struct kin_of *k = ctx;
    uint8_t hash[MBED_DIGEST_LEN];

    if (is_doubted(k->s, n))
        return BRANCH_UNKNOWN;
    if (n->to > store_epoch(k->b->setup.store))
        return BRANCH_AHEAD;
    if (!store_chain_hash(k->b->setup.store, n->to, hash))
        return BRANCH_UNKNOWN;
    return memcmp(hash, n->head, sizeof n->head) == 0 ? BRANCH_OURS : BRANCH_OTHER;
}

static void look_for_branch(struct backup *b, struct sink *s)
{
    struct kin_of ctx = {b, s};
    const struct backup_name *other = branch_find(s->names, s->name_count, kin, &ctx, s->adopted_unix_s);
    bool was = s->branched;

    s->branched = other != NULL;
    if (other == NULL)
        return;
    snprintf(s->problem, sizeof s->problem,
             "it holds another history of this store, up to epoch %llu, made at Unix time %lld: another host "
             "goes on with the same "
             "store, or this one was restored from less. Nothing is appended. Stop the other host, or give "
             "this one another prefix or "
             "place; to go on here and give up what is there: wwctl backup adopt --sink %s",
             (unsigned long long)other->to, (long long)other->made_unix_s, s->config->name);
    if (!was) {
        s->failed++;
        log_error("a backup sink holds another history of this store; nothing is appended to it",
                  F("sink", s->config->name), F("epoch", other->to), F("ours", store_epoch(b->setup.store)),
                  F("next", "stop the other host; see wwctl backup status"));
    }
}

static int by_to(const void *a, const void *b)
{
    const struct backup_name *x = a, *y = b;

    return x->to == y->to ? 0 : x->to < y->to ? -1 : 1;
}

/* The newest full file that fits, then all that continue it. */
static void take_stock(struct backup *b, struct sink *s)
{
    const struct backup_name *full = NULL;

    if (s->name_count != 0)
        qsort(s->names, s->name_count, sizeof *s->names, by_to);
    for (size_t i = 0; i < s->name_count; i++) {
        const struct backup_name *n = &s->names[i];

        if (n->from == 1 && (full == NULL || n->made_unix_s >= full->made_unix_s) && !is_doubted(s, n) &&
            is_of_chain(b, n))
            full = n;
    }
    s->have = s->full_to = full == NULL ? 0 : full->to;
    s->full_unix_s = full == NULL ? 0 : full->made_unix_s;
    for (size_t i = 0; full != NULL && i < s->name_count; i++) {
        const struct backup_name *n = &s->names[i];

        if (n->to > s->have && n->from <= s->have + 1 && !is_doubted(s, n) && is_of_chain(b, n))
            s->have = n->to;
    }
    look_for_branch(b, s);
}

static void take_list(struct backup *b, struct sink *s, int fd, uint64_t size)
{
    char *text = size == 0 || size > LIST_MAX ? MAP_FAILED : mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    struct backup_name n;
    char line[BACKUP_NAME_CAP];

    s->name_count = 0;
    for (uint64_t at = 0; text != MAP_FAILED && at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t len = end == NULL ? size - at : (size_t)(end - (text + at));

        if (len < sizeof line) {
            memcpy(line, text + at, len);
            line[len] = '\0';
            if (backup_name_parse(line, &n) && is_ours(b, &n))
                name_add(s, &n);
        }
        at += len + 1;
    }
    if (text != MAP_FAILED)
        munmap(text, size);
    take_stock(b, s);
}

/* ---- outcomes ---- */

static void sink_failed(struct sink *s, const struct fetch_reply *r, uint64_t now_ms)
{
    unsigned doubles = s->failures < RETRY_DOUBLES ? s->failures : RETRY_DOUBLES;

    s->failures++;
    s->failed++;
    s->known = false; /* what it holds is not known after a failure */
    s->retry_ms = now_ms + ((uint64_t)RETRY_MS << doubles);
    if (strcmp(s->problem, r->text) != 0)
        log_error("a backup sink fails", F("sink", s->config->name), F("why", r->text),
                  F("next", "see wwctl backup status; it is tried again"));
    snprintf(s->problem, sizeof s->problem, "%s", r->text);
}

static void sink_works(struct sink *s, int64_t unix_s)
{
    if (s->failures != 0)
        log_info("a backup sink works again", F("sink", s->config->name));
    s->failures = 0;
    s->retry_ms = 0;
    s->problem[0] = '\0';
    s->ok_unix_s = unix_s;
}

static void put_done(struct backup *b, struct sink *s, const struct piece *p, int64_t unix_s)
{
    struct backup_name n;

    sink_works(s, unix_s);
    if (!backup_name_parse(p->made.name, &n))
        return;
    name_add(s, &n);
    if (!is_of_chain(b, &n)) /* made under the root key before, or before an anchor: nothing continues it */
        return;
    if (p->made.from == 1) {
        s->full_to = p->made.to;
        s->full_unix_s = p->made.made_unix_s;
        s->ticket = p->ticket;
        s->prune_due = true;
    }
    if (p->made.from <= s->have + 1 && p->made.to > s->have)
        s->have = p->made.to;
}

/* The sink's own figures of what it read back must be ours. */
static bool read_back_equal(const struct piece *p, struct fetch_reply *r)
{
    if (r->size == p->made.size && memcmp(r->sha256, p->made.sha256, sizeof r->sha256) == 0)
        return true;
    r->status = FETCH_DIFFERENT;
    snprintf(r->text, sizeof r->text, "%s reads back as something else", p->made.name);
    return false;
}

/* The list goes round: what was doubted longest ago makes room. */
static void doubt(struct sink *s, const struct piece *p)
{
    struct backup_name n;

    if (backup_name_parse(p->made.name, &n) && !is_doubted(s, &n))
        s->doubted[s->doubted_count++ % DOUBTED_MAX] = n;
}

static void errand_done(struct backup *b, struct sink *s, struct errand *e, struct fetch_reply *r,
                        uint64_t now_ms, int64_t unix_s)
{
    bool ok = r->status == FETCH_OK;

    if (e->kind == ERRAND_PUT)
        ok = ok && read_back_equal(e->piece, r);
    if (!ok && !(e->kind == ERRAND_DELETE && r->status == FETCH_NOT_FOUND))
        sink_failed(s, r, now_ms);
    else if (e->kind == ERRAND_PUT)
        put_done(b, s, e->piece, unix_s);
    if (!ok && e->kind == ERRAND_PUT)
        doubt(s, e->piece);
    if (ok && e->kind == ERRAND_LIST) {
        sink_works(s, unix_s);
        take_list(b, s, e->list_fd, r->size);
        s->known = true;
        s->known_ms = now_ms;
    }
    if (e->kind == ERRAND_PUT)
        e->piece->carried--;
    if (e->kind == ERRAND_LIST)
        close(e->list_fd);
    e->list_fd = -1;
    e->piece = NULL;
    e->kind = ERRAND_NONE;
}

static void collect(struct backup *b, uint64_t now_ms, int64_t unix_s)
{
    static struct fetch_reply r;

    for (size_t i = 0; i < b->sink_count; i++) {
        struct sink *s = &b->sinks[i];

        if (sink_lane_poll(s->more.lane, now_ms, &r))
            errand_done(b, s, &s->more, &r, now_ms, unix_s);
        if (sink_lane_poll(s->bulk.lane, now_ms, &r))
            errand_done(b, s, &s->bulk, &r, now_ms, unix_s);
    }
}

/* ---- errands ---- */

static void errand_start(struct sink *s, struct errand *e, enum errand_kind kind, enum fetch_operation op,
                         const char *name, int fd, uint64_t size, uint64_t now_ms)
{
    struct fetch_request r = sink_request(s->config, op, name);
    uint64_t deadline_s = 3 * (uint64_t)s->config->patience_s + size / SLOW_BYTES_S;

    e->kind = kind;
    sink_lane_start(e->lane, &r, fd, now_ms, deadline_s * 1000);
}

static void start_list(struct sink *s, struct errand *e, uint64_t now_ms)
{
    e->list_fd = memfd_create("backup-list", MFD_CLOEXEC);
    int theirs = e->list_fd < 0 ? -1 : fcntl(e->list_fd, F_DUPFD_CLOEXEC, 0);

    if (theirs >= 0) {
        errand_start(s, e, ERRAND_LIST, FETCH_LIST, "", theirs, 0, now_ms);
        return;
    }
    if (e->list_fd >= 0)
        close(e->list_fd);
    e->list_fd = -1;
    log_error("a sink cannot be listed", F("errno", errno));
}

static void start_put(struct backup *b, struct sink *s, struct errand *e, struct piece *p, uint64_t now_ms)
{
    char path[PATH_MAX + BACKUP_NAME_CAP];

    snprintf(path, sizeof path, "%s/%s", b->dir, p->made.name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        snprintf(b->problem, sizeof b->problem, "%.300s: %s", path, strerror(errno));
        if (p->carried == 0)
            p->used = false;
        return;
    }
    p->carried++;
    e->piece = p;
    errand_start(s, e, ERRAND_PUT, FETCH_PUT, p->made.name, fd, p->made.size, now_ms);
}

/* Old files, one at a time: none of the chain in use, none younger than keep_for or than the full file before last. */
static bool is_old(const struct backup *b, const struct sink *s, const struct backup_name *n, int64_t unix_s)
{
    size_t newer_fulls = 0;

    for (size_t i = 0; i < s->name_count; i++)
        newer_fulls += s->names[i].from == 1 && s->names[i].made_unix_s > n->made_unix_s;
    return newer_fulls >= FULLS_KEPT && n->made_unix_s + (int64_t)b->setup.config->backup.keep_for_s < unix_s;
}

static void print_name(const struct backup *b, const struct backup_name *n, char out[BACKUP_NAME_CAP])
{
    struct backup_head h = {.from = n->from, .made_unix_s = n->made_unix_s};
    struct backup_end e = {.to = n->to};

    (void)b;
    memcpy(h.identity.store_id, n->store, sizeof n->store);
    memcpy(e.head, n->head, sizeof n->head);
    backup_name_print(&h, &e, out);
}

static void prune(struct backup *b, struct sink *s, uint64_t now_ms, int64_t unix_s)
{
    char name[BACKUP_NAME_CAP];

    for (; s->prune_at < s->name_count; s->prune_at++) {
        if (!is_old(b, s, &s->names[s->prune_at], unix_s))
            continue;
        print_name(b, &s->names[s->prune_at], name);
        s->names[s->prune_at] = s->names[--s->name_count];
        errand_start(s, &s->bulk, ERRAND_DELETE, FETCH_DELETE, name, -1, 0, now_ms);
        return;
    }
    s->pruning = false;
}

/* ---- who needs what ---- */

static bool is_ready(const struct sink *s, uint64_t now_ms)
{
    return s->known && now_ms >= s->retry_ms;
}

static bool wants_full(const struct backup *b, const struct sink *s, int64_t unix_s)
{
    uint64_t epoch = store_epoch(b->setup.store);

    return epoch != 0 && (s->full_to == 0 || s->ticket < b->ticket || epoch - s->have > GAP_MAX ||
                          s->have < store_base(b->setup.store) ||
                          unix_s - s->full_unix_s >= (int64_t)b->setup.config->backup.full_every_s);
}

static bool wants_more(const struct backup *b, const struct sink *s)
{
    return s->full_to != 0 && s->have < store_epoch(b->setup.store) &&
           s->have >= store_base(b->setup.store) && store_epoch(b->setup.store) - s->have <= GAP_MAX;
}

static bool serves_full(const struct backup *b, const struct sink *s, const struct piece *p)
{
    return p->used && p->made.from == 1 && p->ticket >= b->ticket && p->made.made_unix_s > s->full_unix_s;
}

static bool serves_more(const struct sink *s, const struct piece *p)
{
    return p->used && p->made.from != 1 && p->made.from <= s->have + 1 && p->made.to > s->have;
}

static struct piece *find_piece(struct backup *b, const struct sink *s, bool full)
{
    struct piece *best = NULL;

    for (size_t i = 0; i < PIECES_MAX; i++) {
        struct piece *p = &b->pieces[i];

        if ((full ? serves_full(b, s, p) : serves_more(s, p)) && (best == NULL || p->made.to > best->made.to))
            best = p;
    }
    return best;
}

struct wishes {
    bool full;
    uint64_t more_from; /* 0 = nobody */
};

static void plan_bulk(struct backup *b, struct sink *s, struct wishes *w, uint64_t now_ms, int64_t unix_s)
{
    struct piece *p;

    if (!sink_lane_is_idle(s->bulk.lane))
        return;
    if (wants_full(b, s, unix_s)) {
        p = find_piece(b, s, true);
        if (p != NULL)
            start_put(b, s, &s->bulk, p, now_ms);
        else
            w->full = true;
    } else if (s->prune_due) {
        s->prune_due = false;
        s->pruning = true;
        s->prune_at = 0;
    } else if (s->pruning) {
        prune(b, s, now_ms, unix_s);
    }
}

static void plan_more(struct backup *b, struct sink *s, struct wishes *w, uint64_t now_ms)
{
    if (!sink_lane_is_idle(s->more.lane) || !wants_more(b, s))
        return;
    struct piece *p = find_piece(b, s, false);
    if (p != NULL)
        start_put(b, s, &s->more, p, now_ms);
    else if (w->more_from == 0 || s->have + 1 < w->more_from)
        w->more_from = s->have + 1;
}

static void plan(struct backup *b, struct wishes *w, uint64_t now_ms, int64_t unix_s)
{
    for (size_t i = 0; i < b->sink_count; i++) {
        struct sink *s = &b->sinks[i];
        bool stale = !s->known || now_ms - s->known_ms > (s->branched ? BRANCH_LIST_MS : LIST_AGAIN_MS);

        if (now_ms >= s->retry_ms && stale && sink_lane_is_idle(s->more.lane) &&
            sink_lane_is_idle(s->bulk.lane)) {
            s->pruning = false; /* a fresh list comes */
            start_list(s, &s->more, now_ms);
            continue;
        }
        if (!is_ready(s, now_ms) || s->more.kind == ERRAND_LIST || s->branched)
            continue;
        plan_more(b, s, w, now_ms);
        plan_bulk(b, s, w, now_ms, unix_s);
    }
}

/* ---- making files ---- */

static void add_recipient(struct backup *b, const struct age_recipient *r)
{
    for (size_t i = 0; i < b->recipient_count; i++) {
        if (memcmp(&b->recipients[i], r, sizeof *r) == 0)
            return;
    }
    if (b->recipient_count < AGE_RECIPIENTS_MAX)
        b->recipients[b->recipient_count++] = *r;
}

static bool add_slot(void *ctx, const struct store_raw *r)
{
    struct backup *b = ctx;
    struct seal_slot_info info;

    if (seal_slot_info(r->record, &info) != SEAL_OK || !seal_kind_is_offline(info.kind))
        return true;
    for (size_t i = 0; i < info.recipient_count; i++)
        add_recipient(b, &info.recipients[i]);
    return true;
}

/* The offline ones first: the drill's alone opens no key, and is no reason to make a backup. */
static bool find_recipients(struct backup *b, struct refusal *why)
{
    const struct config *c = b->setup.config;
    struct age_recipient r;

    b->recipient_count = 0;
    for (uint16_t i = 0; i < c->backup.recipient_count; i++) {
        if (age_recipient_parse(b->setup.rng, span_str(c->backup.recipients[i]), &r) != AGE_OK)
            return refuse(why, "bad_recipient", "see backup.recipients", "%s is no age recipient",
                          c->backup.recipients[i]);
        add_recipient(b, &r);
    }
    if (!store_raw_slots(b->setup.store, add_slot, b))
        return refuse(why, "store_io", "check the disk", "the slots cannot be read");
    if (b->recipient_count == 0)
        return refuse(
            why, "no_recipients",
            "name age recipients in backup.recipients, or make an offline slot: wwctl root slots add",
            "nobody could open a backup: there is no recipient");
    if (b->setup.drill != NULL)
        add_recipient(b, &b->drill);
    return true;
}

static void job_failed(struct backup *b, const struct refusal *why, uint64_t now_ms, uint64_t *retry_ms)
{
    if (strcmp(b->problem, why->text) != 0)
        log_error("a backup cannot be made", F("why", why->text), F("next", why->next));
    snprintf(b->problem, sizeof b->problem, "%.*s", (int)sizeof b->problem - 1, why->text);
    *retry_ms = now_ms + 8 * RETRY_MS;
}

static void job_start(struct backup *b, struct backup_job **j, uint64_t from, uint64_t now_ms, int64_t unix_s,
                      uint64_t *retry_ms)
{
    struct refusal why;

    if (now_ms < *retry_ms)
        return;
    if (find_recipients(b, &why))
        *j = backup_job_new(b->setup.store, b->setup.rng, b->dir, b->recipients, b->recipient_count, from,
                            unix_s, &why);
    if (*j == NULL)
        job_failed(b, &why, now_ms, retry_ms);
}

static void piece_drop(struct backup *b, struct piece *p)
{
    char path[PATH_MAX + BACKUP_NAME_CAP];

    snprintf(path, sizeof path, "%s/%s", b->dir, p->made.name);
    (void)unlink(path);
    *p = (struct piece){0};
}

static void piece_add(struct backup *b, const struct backup_made *made, uint64_t ticket)
{
    for (size_t i = 0; i < PIECES_MAX; i++) {
        if (!b->pieces[i].used) {
            b->pieces[i] = (struct piece){true, *made, ticket, 0};
            return;
        }
    }
    struct piece spare = {true, *made, ticket,
                          0}; /* all are being carried: it is made again when one is done */
    piece_drop(b, &spare);
}

static void job_step(struct backup *b, struct backup_job **j, uint64_t ticket, uint64_t now_ms,
                     uint64_t *retry_ms)
{
    struct backup_made made;
    struct refusal why;

    if (*j == NULL)
        return;
    enum backup_job_status s = backup_job_step(*j, STEP_RECORDS, &made, &why);
    if (s == BACKUP_JOB_MORE)
        return;
    backup_job_free(*j);
    *j = NULL;
    if (s == BACKUP_JOB_FAILED) {
        job_failed(b, &why, now_ms, retry_ms);
        return;
    }
    b->problem[0] = '\0';
    piece_add(b, &made, ticket);
}

/* A piece that no sink needs any more, or none that works, goes; a sink that comes back gets one made for it. */
static void drop_pieces(struct backup *b, uint64_t now_ms, int64_t unix_s)
{
    for (size_t i = 0; i < PIECES_MAX; i++) {
        struct piece *p = &b->pieces[i];
        bool needed = !p->used || p->carried != 0;

        for (size_t n = 0; !needed && n < b->sink_count; n++) {
            const struct sink *s = &b->sinks[n];

            needed = is_ready(s, now_ms) &&
                     (serves_more(s, p) || (serves_full(b, s, p) && wants_full(b, s, unix_s)));
        }
        if (!needed)
            piece_drop(b, p);
    }
}

/* Under another root key all hashes are others: what the sinks have is not continued by anything made from now on. */
static void look_at_root(struct backup *b)
{
    struct store_identity id;

    store_identity(b->setup.store, &id);
    if (memcmp(id.root, b->root, sizeof b->root) == 0)
        return;
    memcpy(b->root, id.root, sizeof b->root);
    for (size_t i = 0; i < b->sink_count; i++)
        take_stock(b, &b->sinks[i]);
}

/* Slots are not epochs: when they change, or the root key does, a full file takes them along. */
static bool hash_slot(void *ctx, const struct store_raw *r)
{
    uint8_t *digest = ctx, both[2 * MBED_DIGEST_LEN];

    memcpy(both, digest, MBED_DIGEST_LEN);
    mbed_sha256(r->record, both + MBED_DIGEST_LEN);
    mbed_sha256(span_of(both, sizeof both), digest);
    return true;
}

static void look_at_slots(struct backup *b, uint64_t now_ms)
{
    struct store_identity id;
    uint8_t digest[MBED_DIGEST_LEN];

    if (b->slots_known && now_ms - b->slots_ms < SLOTS_LOOK_MS)
        return;
    b->slots_ms = now_ms;
    store_identity(b->setup.store, &id);
    mbed_sha256(span_of(id.root, sizeof id.root), digest);
    if (!store_raw_slots(b->setup.store, hash_slot, digest))
        return;
    if (b->slots_known && memcmp(digest, b->slots_digest, sizeof digest) != 0) {
        (void)backup_full(b);
        b->full_retry_ms = b->more_retry_ms = 0; /* there may be a recipient now */
    }
    b->slots_known = true;
    memcpy(b->slots_digest, digest, sizeof digest);
}

/* ---- the step ---- */

void backup_step(struct backup *b, uint64_t now_ms, int64_t unix_s)
{
    struct wishes w = {false, 0};
    eventfd_t pokes;

    (void)eventfd_read(b->poke_fd, &pokes);
    if (b->sink_count == 0)
        return;
    look_at_root(b);
    collect(b, now_ms, unix_s);
    look_at_slots(b, now_ms);
    drop_pieces(b, now_ms, unix_s);
    plan(b, &w, now_ms, unix_s);
    if (w.more_from != 0 && b->more_job == NULL)
        job_start(b, &b->more_job, w.more_from, now_ms, unix_s, &b->more_retry_ms);
    if (w.full && b->full_job == NULL) {
        b->full_job_ticket = b->ticket;
        job_start(b, &b->full_job, 1, now_ms, unix_s, &b->full_retry_ms);
    }
    bool busy = b->more_job != NULL || b->full_job != NULL;
    job_step(b, &b->more_job, 0, now_ms, &b->more_retry_ms);
    job_step(b, &b->full_job, b->full_job_ticket, now_ms, &b->full_retry_ms);
    tell_durable(b);
    if (busy)
        backup_changed(b);
}

bool backup_may_compact(const struct backup *b)
{
    for (size_t i = 0; i < b->sink_count; i++) {
        uint64_t have = b->sinks[i].have, behind = store_epoch(b->setup.store) - have;

        if (behind != 0 && behind <= GAP_MAX && have >= store_base(b->setup.store))
            return false;
    }
    return b->more_job == NULL && b->full_job == NULL;
}

bool backup_is_quiet(const struct backup *b, struct refusal *why)
{
    if (b->more_job != NULL || b->full_job != NULL)
        return refuse(why, "backup_running", "repeat it in a moment", "a backup is being made right now");
    for (size_t i = 0; i < b->sink_count; i++) {
        const struct sink *s = &b->sinks[i];

        if (s->have != store_epoch(b->setup.store))
            return refuse(why, "backup_behind", "see wwctl backup status, mend it, then repeat",
                          "sink %s does not hold the newest epoch%s%.160s", s->config->name,
                          s->problem[0] == '\0' ? "" : ": ", s->problem);
    }
    return true;
}

uint64_t backup_full(struct backup *b)
{
    backup_changed(b);
    return ++b->ticket;
}

bool backup_full_done(const struct backup *b, uint64_t ticket)
{
    for (size_t i = 0; i < b->sink_count; i++) {
        if (b->sinks[i].ticket < ticket && b->sinks[i].failures == 0 && !b->sinks[i].branched &&
            b->problem[0] == '\0')
            return false;
    }
    return true;
}

bool backup_adopt(struct backup *b, size_t i, struct refusal *why)
{
    struct sink *s = &b->sinks[i];
    struct kin_of ctx = {b, s};
    const struct backup_name *other = branch_find(s->names, s->name_count, kin, &ctx, s->adopted_unix_s);

    if (!s->branched || other == NULL)
        return refuse(why, "nothing_to_adopt", "see wwctl backup status", "sink %s holds no other history",
                      s->config->name);
    if (!branch_adopt(b->setup.config->ctrl.state_dir, s->config->name, other->made_unix_s, why))
        return false;
    log_warn("this store's history goes on in a sink that holds another one, too", F("sink", s->config->name),
             F("given_up", other->to));
    s->adopted_unix_s = other->made_unix_s;
    s->branched = s->known = false; /* looked at anew */
    s->problem[0] = '\0';
    (void)backup_full(b);
    return true;
}

/* ---- telling ---- */

size_t backup_sink_count(const struct backup *b)
{
    return b->sink_count;
}

void backup_sink_status(const struct backup *b, size_t i, struct backup_sink_status *out)
{
    const struct sink *s = &b->sinks[i];

    *out = (struct backup_sink_status){.config = s->config,
                                       .known = s->known,
                                       .epoch = s->have,
                                       .full_epoch = s->full_to,
                                       .full_unix_s = s->full_unix_s,
                                       .ok_unix_s = s->ok_unix_s,
                                       .files = s->name_count,
                                       .failed = s->failed,
                                       .branched = s->branched,
                                       .problem = s->problem};
}

const struct backup_name *backup_sink_files(const struct backup *b, size_t i, size_t *count)
{
    *count = b->sinks[i].name_count;
    return b->sinks[i].names;
}

const char *backup_problem(const struct backup *b)
{
    return b->problem;
}

size_t backup_recipient_count(const struct backup *b)
{
    return b->recipient_count;
}
