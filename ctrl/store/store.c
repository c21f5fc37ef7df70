/* How: rows are sealed in memory as they are put; the SQLite transaction happens whole inside store_commit, so
 * that nothing is ever half done between two calls.  The chain is what is trusted, the tables are only storage:
 * whatever SQLite gives back is compared with what the chain says before it is believed. */
#include "ctrl/store/store.h"

#include "base/check.h"
#include "base/cursor.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/siphash.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_VERSION     1
#define RECORD_HEAD_LEN    64 /* version, kind, shard, sub, epoch, id, prev */
#define RECORD_OVERHEAD    (RECORD_HEAD_LEN + MBED_NONCE_LEN + MBED_TAG_LEN)
#define RECORD_MAX         STORE_RECORD_MAX
#define TOUCHED_LEN        (1 + KEY_ID_LEN + 4 + MBED_DIGEST_LEN)
#define CHANGE_MAX         (4 + STORE_WRITES_MAX * TOUCHED_LEN + RECORD_OVERHEAD)
#define CHECKPOINT_COMMITS 256
#define ANCHOR_ROWS        256 /* in one page */
#define ANCHOR_ENTRY_LEN   (1 + KEY_ID_LEN + 4 + 8 + MBED_DIGEST_LEN)
#define ANCHOR_BODY_MAX    (4 + 4 + ANCHOR_ROWS * ANCHOR_ENTRY_LEN)
#define LEVEL_BODY_LEN     2

_Static_assert(ANCHOR_BODY_MAX <= STORE_BODY_MAX, "a page is a record");

static const char schema[] =
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE slot(number INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;"
    "CREATE TABLE sealed_row(kind INTEGER, id BLOB, sub INTEGER, record BLOB NOT NULL,"
    " PRIMARY KEY(kind, id, sub)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE sealed_change(epoch INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;";

static const uint8_t no_id[KEY_ID_LEN];

struct place {
    uint8_t kind;
    uint8_t id[KEY_ID_LEN];
    uint32_t sub;
};

struct write {
    struct place place;
    uint8_t hash[MBED_DIGEST_LEN];
    uint8_t *record;
    size_t len;
    uint8_t *slot; /* what goes into the slot table; NULL: not the row of a slot, or none is to be there */
    size_t slot_len;
};

/* What the chain says a row must be. */
struct expected {
    struct place place;
    bool used, seen;
    uint64_t epoch;
    uint8_t hash[MBED_DIGEST_LEN];
};

struct expected_table {
    struct expected *slots;
    size_t cap; /* a power of two */
    size_t count;
};

struct store {
    char file[PATH_MAX];
    char head_file[PATH_MAX + 8], next_head_file[PATH_MAX + 16], clock_file[PATH_MAX + 8];
    uint16_t shard;
    sqlite3 *db;
    struct mbed_rng *rng;
    struct mbed_aead *aead; /* NULL until unlocked */
    uint8_t store_id[STORE_ID_LEN];
    uint64_t epoch;
    uint8_t head[MBED_DIGEST_LEN]; /* hash of the last change; of the store's identity at epoch 0 */
    uint8_t level, next_level;     /* next: of the change that is open; 0: it changes none */
    uint64_t base;                 /* epoch of the anchor; 0: none */
    uint8_t base_hash[MBED_DIGEST_LEN];
    uint32_t anchor_pages;
    uint64_t anchor_rows;
    bool open_change;
    bool failed;
    bool head_behind; /* the head beside the file is older than the last change */
    uint32_t commits_since_checkpoint;
    size_t write_count;
    struct write writes[STORE_WRITES_MAX];
};

/* ---- saying what went wrong ---- */

static bool says_disk_full(int rc, int os)
{
    return (rc & 0xff) == SQLITE_FULL || os == ENOSPC || os == EDQUOT;
}

static bool says_read_only(int rc, int os)
{
    return (rc & 0xff) == SQLITE_READONLY || (rc & 0xff) == SQLITE_PERM || os == EROFS || os == EACCES;
}

static void dir_of(const char *file, char out[PATH_MAX])
{
    char *slash;

    snprintf(out, PATH_MAX, "%s", file);
    slash = strrchr(out, '/');
    if (slash == NULL)
        snprintf(out, PATH_MAX, ".");
    else
        slash[slash == out ? 1 : 0] = '\0';
}

/* A COMMIT that fails does not pass on its errno: the files themselves remember theirs, the log's first. */
static int errno_of_files(const struct store *s)
{
    sqlite3_file *log = NULL;
    int os = 0;

    (void)sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (log != NULL && log->pMethods != NULL)
        (void)log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &os);
    if (os == 0)
        (void)sqlite3_file_control(s->db, "main", SQLITE_FCNTL_LAST_ERRNO, &os);
    return os;
}

/* SQLite's own errno is of its last attempt, which need not be the one that failed (a lock on a file that was
 * opened read-only fails as EBADF): so the file system is asked whether it lets us write. */
static int errno_of(const struct store *s, int rc)
{
    char dir[PATH_MAX];
    int primary = rc & 0xff;

    if (primary == SQLITE_CANTOPEN || primary == SQLITE_READONLY || primary == SQLITE_PERM ||
        primary == SQLITE_IOERR) {
        dir_of(s->file, dir);
        if (access(dir, W_OK) != 0 || (access(s->file, W_OK) != 0 && errno != ENOENT))
            return errno;
    }
    int os = primary == SQLITE_IOERR ? errno_of_files(s) : 0;
    return os != 0 ? os : sqlite3_system_errno(s->db);
}

static bool db_refuse(struct store *s, const char *doing, int rc, struct refusal *why)
{
    int os = errno_of(s, rc);
    const char *cause = os != 0 ? strerror(os) : sqlite3_errstr(rc);

    if (says_disk_full(rc, os))
        return refuse(why, "disk_full", "make room on that file system, then repeat the command",
                      "%s: %s: no space left (errno %d): nothing was changed", s->file, doing, os);
    if (says_read_only(rc, os))
        return refuse(why, "read_only", "make the file and its directory writable for ww-ctrl, then repeat",
                      "%s: %s: cannot write: %s (errno %d): nothing was changed", s->file, doing, cause, os);
    if ((rc & 0xff) == SQLITE_BUSY)
        return refuse(why, "store_held", "stop the other ww-ctrl first: a store has exactly one holder",
                      "%s is held by another process", s->file);
    if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)
        return refuse(why, "store_damaged", "keep the file as it is and restore a backup", "%s: %s: %s",
                      s->file, doing, sqlite3_errstr(rc));
    s->failed = true;
    return refuse(why, "store_io", "check the disk, then restart ww-ctrl: until then no change is accepted",
                  "%s: %s: %s (errno %d)", s->file, doing, cause, os);
}

/* ---- small SQLite helpers ---- */

static int db_exec(struct store *s, const char *sql)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL);
}

static int db_prepare(struct store *s, const char *sql, sqlite3_stmt **out)
{
    return sqlite3_prepare_v2(s->db, sql, -1, out, NULL);
}

/* Runs a statement that yields no row, then drops it. */
static int db_finish(sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);

    sqlite3_finalize(st);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static struct span column_span(sqlite3_stmt *st, int col)
{
    const void *p = sqlite3_column_blob(st, col);
    int len = sqlite3_column_bytes(st, col);

    return span_of(p, p == NULL ? 0 : (size_t)len);
}

static int meta_put(struct store *s, const char *name, struct span value)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s, "INSERT OR REPLACE INTO meta(name, value) VALUES(?, ?)", &st);

    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_blob(st, 2, value.ptr, (int)value.len, SQLITE_STATIC);
    return db_finish(st);
}

/* The value's length; 0 when there is none or it is longer than cap. */
static size_t meta_get(struct store *s, const char *name, uint8_t *out, size_t cap)
{
    sqlite3_stmt *st = NULL;
    size_t len = 0;

    if (db_prepare(s, "SELECT value FROM meta WHERE name = ?", &st) != SQLITE_OK)
        return 0;
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    if (sqlite3_step(st) == SQLITE_ROW) {
        struct span v = column_span(st, 0);

        if (v.len != 0 && v.len <= cap) {
            memcpy(out, v.ptr, v.len);
            len = v.len;
        }
    }
    sqlite3_finalize(st);
    return len;
}

/* ---- opening ---- */

static void sync_dir_of(const char *file)
{
    char dir[PATH_MAX];

    dir_of(file, dir);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        if (fsync(fd) != 0)
            log_warn("directory could not be synced", F("dir", dir), F("errno", errno));
        close(fd);
    }
}

static int db_configure(struct store *s)
{
    static const char *const pragmas[] = {
        "PRAGMA locking_mode=EXCLUSIVE",
        "PRAGMA trusted_schema=OFF",
        "PRAGMA cell_size_check=ON",
        "PRAGMA mmap_size=0",
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        "PRAGMA wal_autocheckpoint=0",
        "PRAGMA temp_store=MEMORY",
        "PRAGMA secure_delete=ON",
        "BEGIN EXCLUSIVE",
        "COMMIT",
    };

    for (size_t i = 0; i < sizeof pragmas / sizeof pragmas[0]; i++) {
        int rc = db_exec(s, pragmas[i]);

        if (rc != SQLITE_OK)
            return rc;
    }
    return SQLITE_OK;
}

/* In the clear, for whoever must refuse it before he can open it; what counts is the row of kind STORE_LEVEL. */
static int level_note(struct store *s, uint8_t level)
{
    uint8_t digit = (uint8_t)('0' + level);

    return meta_put(s, "format", span_of(&digit, 1));
}

static bool check_level(const struct store *s, uint8_t level, struct refusal *why)
{
    if (level > STORE_LEVEL_MAX)
        return refuse(
            why, "store_newer",
            "start the version that wrote it; there is no way back behind wwctl upgrade commit but a "
            "backup of before",
            "%s is of format level %u; this version reads %u..%u: nothing was changed", s->file, level,
            STORE_LEVEL_MIN, STORE_LEVEL_MAX);
    return level >= STORE_LEVEL_MIN ||
           refuse(why, "store_format", "point ctrl.state_dir at a store of this version, or the one before",
                  "%s is of format level %u; this version reads %u..%u", s->file, level, STORE_LEVEL_MIN,
                  STORE_LEVEL_MAX);
}

static int db_create(struct store *s)
{
    uint8_t shard[2] = {(uint8_t)(s->shard >> 8), (uint8_t)s->shard};
    int rc = db_exec(s, "BEGIN IMMEDIATE");

    mbed_random(s->rng, s->store_id, sizeof s->store_id);
    if (rc == SQLITE_OK)
        rc = db_exec(s, schema);
    if (rc == SQLITE_OK)
        rc = level_note(s, STORE_LEVEL_MIN);
    if (rc == SQLITE_OK)
        rc = meta_put(s, "store_id", span_of(s->store_id, sizeof s->store_id));
    if (rc == SQLITE_OK)
        rc = meta_put(s, "shard", span_of(shard, sizeof shard));
    if (rc == SQLITE_OK)
        rc = db_exec(s, "COMMIT");
    if (rc != SQLITE_OK)
        (void)db_exec(s, "ROLLBACK");
    sync_dir_of(s->file);
    return rc;
}

static bool db_is_empty(struct store *s, int *rc)
{
    sqlite3_stmt *st = NULL;
    bool empty = false;

    *rc = db_prepare(s, "SELECT count(*) FROM sqlite_schema", &st);
    if (*rc != SQLITE_OK)
        return false;
    int step = sqlite3_step(st);
    if (step == SQLITE_ROW)
        empty = sqlite3_column_int(st, 0) == 0;
    else
        *rc = step;
    sqlite3_finalize(st);
    return empty;
}

static bool check_format(struct store *s, struct refusal *why)
{
    uint8_t format[8], shard[2];

    if (meta_get(s, "format", format, sizeof format) != 1 || format[0] < '0' || format[0] > '9' ||
        meta_get(s, "store_id", s->store_id, STORE_ID_LEN) != STORE_ID_LEN ||
        meta_get(s, "shard", shard, sizeof shard) != 2)
        return refuse(why, "store_format", "point ctrl.state_dir at this version's store",
                      "%s is not a store that this version knows", s->file);
    if (((unsigned)shard[0] << 8 | shard[1]) != s->shard)
        return refuse(why, "store_format", "point ctrl.state_dir at this shard's store",
                      "%s belongs to shard %u, not to %u", s->file, (unsigned)shard[0] << 8 | shard[1],
                      s->shard);
    s->level = (uint8_t)(format[0] - '0');
    return check_level(s, s->level, why);
}

static bool store_attach(struct store *s, bool create, struct refusal *why)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(s->file, &s->db, flags | (create ? SQLITE_OPEN_CREATE : 0), NULL);

    if (rc == SQLITE_OK)
        rc = db_configure(s);
    if (rc != SQLITE_OK)
        return db_refuse(s, "open", rc, why);
    bool empty = db_is_empty(s, &rc);
    if (rc == SQLITE_OK && empty && !create)
        return refuse(why, "store_format", "restore a backup, or make a new store with ww-ctrl --init",
                      "%s is an empty database", s->file);
    if (rc == SQLITE_OK && empty)
        rc = db_create(s);
    if (rc != SQLITE_OK)
        return db_refuse(s, "open", rc, why);
    return check_format(s, why);
}

struct store *store_open(const char *file, uint16_t shard, bool create, struct mbed_rng *rng,
                         struct refusal *why)
{
    struct stat st;

    if (!create && stat(file, &st) != 0 && errno == ENOENT) {
        refuse(why, "store_absent",
               "if this is a new installation run ww-ctrl --init once; otherwise point ctrl.state_dir at the "
               "store",
               "there is no store at %s", file);
        return NULL;
    }
    struct store *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    snprintf(s->file, sizeof s->file, "%s", file);
    snprintf(s->head_file, sizeof s->head_file, "%s.head", file);
    snprintf(s->next_head_file, sizeof s->next_head_file, "%s.head.next", file);
    snprintf(s->clock_file, sizeof s->clock_file, "%s.clock", file);
    s->shard = shard;
    s->rng = rng;
    if (!store_attach(s, create, why)) {
        store_close(s);
        return NULL;
    }
    return s;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    store_abandon(s);
    if (s->aead != NULL)
        (void)store_checkpoint(s, true);
    mbed_aead_free(s->aead);
    sqlite3_close(s->db);
    free(s);
}

const char *store_sqlite_version(void)
{
    return sqlite3_libversion();
}

uint64_t store_epoch(const struct store *s)
{
    return s->epoch;
}

uint8_t store_level(const struct store *s)
{
    return s->level;
}

uint64_t store_base(const struct store *s)
{
    return s->base;
}

uint32_t store_anchor_pages(const struct store *s)
{
    return s->anchor_pages;
}

bool store_wants_compaction(const struct store *s)
{
    return s->level >= STORE_LEVEL_ANCHORS && s->epoch - s->base > STORE_COMPACT_CHANGES + s->anchor_rows;
}

bool store_is_new(struct store *s)
{
    sqlite3_stmt *st = NULL;
    bool is_new = false;

    if (db_prepare(
            s,
            "SELECT count(*) FROM (SELECT 1 FROM sealed_change UNION ALL SELECT 1 FROM sealed_row LIMIT 1)",
            &st) == SQLITE_OK)
        is_new = sqlite3_step(st) == SQLITE_ROW && sqlite3_column_int(st, 0) == 0;
    sqlite3_finalize(st);
    return is_new;
}

/* ---- slots ---- */

bool store_slot_put(struct store *s, uint8_t number, struct span slot, struct refusal *why)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s, "INSERT INTO slot(number, record) VALUES(?, ?)", &st);

    CHECK(number < STORE_SLOTS_MAX && slot.len <= STORE_SLOT_MAX);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int(st, 1, number);
        sqlite3_bind_blob(st, 2, slot.ptr, (int)slot.len, SQLITE_STATIC);
        rc = db_finish(st);
    }
    return rc == SQLITE_OK || db_refuse(s, "write slot", rc, why);
}

size_t store_slot_get(struct store *s, uint8_t number, uint8_t out[STORE_SLOT_MAX])
{
    sqlite3_stmt *st = NULL;
    size_t len = 0;

    if (db_prepare(s, "SELECT record FROM slot WHERE number = ?", &st) != SQLITE_OK)
        return 0;
    sqlite3_bind_int(st, 1, number);
    if (sqlite3_step(st) == SQLITE_ROW) {
        struct span v = column_span(st, 0);

        len = v.len < STORE_SLOT_MAX ? v.len : STORE_SLOT_MAX;
        memcpy(out, v.ptr, len);
    }
    sqlite3_finalize(st);
    return len;
}

/* ---- sealed records ---- */

void store_derive(const uint8_t *srk, const char *label, uint16_t shard, uint8_t out[MBED_KEY_LEN])
{
    uint8_t info[96];
    struct writer w = writer_of(info, sizeof info);

    write_bytes(&w, span_str("wirewrap 1 "));
    write_bytes(&w, span_str(label));
    write_u8(&w, 0);
    write_u16(&w, shard);
    CHECK(writer_ok(&w));
    mbed_hkdf(srk, writer_span(&w), out, MBED_KEY_LEN);
}

static size_t record_seal(struct store *s, const struct place *p, uint64_t epoch,
                          const uint8_t prev[MBED_DIGEST_LEN], struct span body, uint8_t *out, size_t cap)
{
    struct writer w = writer_of(out, cap);
    uint8_t nonce[MBED_NONCE_LEN];

    write_u8(&w, RECORD_VERSION);
    write_u8(&w, p->kind);
    write_u16(&w, s->shard);
    write_u32(&w, p->sub);
    write_u64(&w, epoch);
    write_bytes(&w, span_of(p->id, KEY_ID_LEN));
    write_bytes(&w, span_of(prev, MBED_DIGEST_LEN));
    mbed_random(s->rng, nonce, sizeof nonce);
    write_bytes(&w, span_of(nonce, sizeof nonce));
    CHECK(writer_ok(&w) && cap - w.len >= body.len + MBED_TAG_LEN);
    mbed_seal(s->aead, nonce, span_of(out, RECORD_HEAD_LEN), body, out + w.len);
    return w.len + body.len + MBED_TAG_LEN;
}

struct record {
    struct place place;
    uint64_t epoch;
    uint8_t prev[MBED_DIGEST_LEN];
    struct span body; /* points into the caller's room */
};

/* room: as many bytes as raw has.  false: not a record of this store, or altered. */
static bool record_open_with(const struct store *s, struct mbed_aead *aead, struct span raw, uint8_t *room,
                             struct record *out)
{
    struct cursor c = cursor_of(raw);
    uint8_t version = cursor_u8(&c);

    out->place.kind = cursor_u8(&c);
    uint16_t shard = cursor_u16(&c);
    out->place.sub = cursor_u32(&c);
    out->epoch = cursor_u64(&c);
    struct span id = cursor_take(&c, KEY_ID_LEN);
    struct span prev = cursor_take(&c, MBED_DIGEST_LEN);
    struct span nonce = cursor_take(&c, MBED_NONCE_LEN);
    struct span sealed = cursor_take(&c, c.left);

    if (!cursor_ok(&c) || version != RECORD_VERSION || shard != s->shard || sealed.len < MBED_TAG_LEN)
        return false;
    memcpy(out->place.id, id.ptr, KEY_ID_LEN);
    memcpy(out->prev, prev.ptr, MBED_DIGEST_LEN);
    if (!mbed_open(aead, nonce.ptr, span_of(raw.ptr, RECORD_HEAD_LEN), sealed, room))
        return false;
    out->body = span_of(room, sealed.len - MBED_TAG_LEN);
    return true;
}

static bool record_open(struct store *s, struct span raw, uint8_t *room, struct record *out)
{
    return record_open_with(s, s->aead, raw, room, out);
}

static bool place_equal(const struct place *a, const struct place *b)
{
    return a->kind == b->kind && a->sub == b->sub && memcmp(a->id, b->id, KEY_ID_LEN) == 0;
}

/* What epoch 1 follows: the store's identity, so that no chain fits another store. */
static void genesis_hash(const struct store *s, uint8_t out[MBED_DIGEST_LEN])
{
    uint8_t text[64];
    struct writer w = writer_of(text, sizeof text);

    write_bytes(&w, span_str("wirewrap store 1"));
    write_u16(&w, s->shard);
    write_bytes(&w, span_of(s->store_id, STORE_ID_LEN));
    mbed_sha256(writer_span(&w), out);
}

/* ---- what the chain expects ---- */

static size_t place_slot(const struct expected_table *t, const struct place *p)
{
    static const struct siphash_key key = {0, 0}; /* places are ours: nobody outside picks them to collide */
    uint8_t flat[1 + KEY_ID_LEN + 4];
    struct writer w = writer_of(flat, sizeof flat);

    write_u8(&w, p->kind);
    write_bytes(&w, span_of(p->id, KEY_ID_LEN));
    write_u32(&w, p->sub);
    size_t i = (size_t)siphash(&key, span_of(flat, sizeof flat)) & (t->cap - 1);
    while (t->slots[i].used && !place_equal(&t->slots[i].place, p))
        i = (i + 1) & (t->cap - 1);
    return i;
}

static void expected_grow(struct expected_table *t)
{
    struct expected_table bigger = {.cap = t->cap == 0 ? 1024 : t->cap * 2, .count = t->count};

    bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
    CHECK(bigger.slots != NULL);
    for (size_t i = 0; i < t->cap; i++) {
        if (t->slots[i].used)
            bigger.slots[place_slot(&bigger, &t->slots[i].place)] = t->slots[i];
    }
    free(t->slots);
    *t = bigger;
}

static struct expected *expected_find(struct expected_table *t, const struct place *p)
{
    if (t->cap == 0)
        return NULL;
    struct expected *e = &t->slots[place_slot(t, p)];
    return e->used ? e : NULL;
}

static void expected_set(struct expected_table *t, const struct place *p, uint64_t epoch, struct span hash)
{
    if (t->count * 2 >= t->cap)
        expected_grow(t);
    struct expected *e = &t->slots[place_slot(t, p)];
    t->count += e->used ? 0 : 1;
    e->used = true;
    e->place = *p;
    e->epoch = epoch;
    memcpy(e->hash, hash.ptr, MBED_DIGEST_LEN);
}

static bool change_apply(struct expected_table *t, const struct record *change)
{
    struct cursor c = cursor_of(change->body);
    uint32_t count = cursor_u32(&c);

    if (count > STORE_WRITES_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct place p = {.kind = cursor_u8(&c)};
        struct span id = cursor_take(&c, KEY_ID_LEN);

        p.sub = cursor_u32(&c);
        struct span hash = cursor_take(&c, MBED_DIGEST_LEN);
        if (!cursor_ok(&c))
            return false;
        memcpy(p.id, id.ptr, KEY_ID_LEN);
        expected_set(t, &p, change->epoch, hash);
    }
    return c.left == 0;
}

/* ---- the head beside the file ---- */

/* Replaces a small file whole. */
static bool beside_write(const char *file, struct span content)
{
    char tmp[PATH_MAX + 32];

    snprintf(tmp, sizeof tmp, "%s.new", file);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool written = write(fd, content.ptr, content.len) == (ssize_t)content.len && fsync(fd) == 0;
    close(fd);
    if (!written || rename(tmp, file) != 0)
        return false;
    sync_dir_of(file);
    return true;
}

static bool head_write_to(struct store *s, const char *file, uint64_t epoch,
                          const uint8_t head[MBED_DIGEST_LEN])
{
    struct place p = {.kind = STORE_HEAD};
    uint8_t record[RECORD_OVERHEAD];
    size_t len = record_seal(s, &p, epoch, head, span_of(NULL, 0), record, sizeof record);

    return beside_write(file, span_of(record, len));
}

static bool head_write(struct store *s)
{
    bool ok = head_write_to(s, s->head_file, s->epoch, s->head);

    s->head_behind = !ok;
    return ok;
}

/* The change is durable whatever happens to the head: an older one only sees less. */
static void head_catch_up(struct store *s)
{
    if (s->aead != NULL && s->head_behind && !head_write(s))
        log_warn("store head not written", F("file", s->head_file), F("errno", errno));
}

bool store_note_write(struct store *s, struct span note)
{
    struct place p = {.kind = STORE_CLOCK};
    uint8_t record[RECORD_OVERHEAD + STORE_NOTE_MAX];

    CHECK(note.len <= STORE_NOTE_MAX);
    size_t len = record_seal(s, &p, s->epoch, s->head, note, record, sizeof record);
    return beside_write(s->clock_file, span_of(record, len));
}

size_t store_note_read(struct store *s, uint8_t out[STORE_NOTE_MAX])
{
    uint8_t raw[RECORD_OVERHEAD + STORE_NOTE_MAX], room[sizeof raw];
    struct record r;
    int fd = open(s->clock_file, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, raw, sizeof raw);

    if (fd < 0)
        return 0;
    close(fd);
    if (len < RECORD_OVERHEAD || !record_open(s, span_of(raw, (size_t)len), room, &r) ||
        r.place.kind != STORE_CLOCK) {
        log_warn(
            "the note of the time watched does not belong to this store or was altered; it is passed over",
            F("file", s->clock_file));
        return 0;
    }
    memcpy(out, r.body.ptr, r.body.len);
    return r.body.len;
}

struct head {
    bool present;
    uint64_t epoch;
    uint8_t hash[MBED_DIGEST_LEN];
};

/* false: errno ENOENT where there is none; else it is not of this store and its root. */
static bool head_read_from(struct store *s, const char *file, struct head *out)
{
    uint8_t raw[RECORD_OVERHEAD + 1], room[sizeof raw];
    struct record r;
    int fd = open(file, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    ssize_t len = read(fd, raw, sizeof raw);
    close(fd);
    errno = 0;
    if (len != RECORD_OVERHEAD || !record_open(s, span_of(raw, (size_t)len), room, &r) ||
        r.place.kind != STORE_HEAD)
        return false;
    out->present = true;
    out->epoch = r.epoch;
    memcpy(out->hash, r.prev, MBED_DIGEST_LEN);
    return true;
}

/* A root rotation writes the head under the new root beside the old one, commits, and only then puts it in its place:
 * whichever root the store has, one of the two is sealed under it. */
static bool head_read(struct store *s, struct head *out, struct refusal *why)
{
    bool found = head_read_from(s, s->head_file, out);
    int cause = errno;

    if (found) {
        (void)unlink(s->next_head_file);
        return true;
    }
    if (head_read_from(s, s->next_head_file, out))
        return rename(s->next_head_file, s->head_file) == 0 ||
               refuse(why, "store_io", "check the disk and its permissions", "%s: %s", s->head_file,
                      strerror(errno));
    if (cause == ENOENT)
        return true;
    return refuse(why, "store_head_damaged",
                  "if the store was restored from a backup on purpose, remove that file and start again",
                  "%s does not belong to this store or was altered", s->head_file);
}

static bool rolled_back(const struct store *s, const struct head *head, struct refusal *why)
{
    return refuse(
        why, "store_rolled_back",
        "bring back the newest store or backup; to accept the loss of everything after it, remove the .head "
        "file and start again",
        "%s ends at epoch %llu, but epoch %llu was committed before: it was set back to an older state",
        s->file, (unsigned long long)s->epoch, (unsigned long long)head->epoch);
}

/* ---- unlocking ---- */

static bool chain_broken(const struct store *s, uint64_t epoch, struct refusal *why)
{
    return refuse(why, "store_chain_broken", "keep the file as it is and restore a backup",
                  "%s: the change of epoch %llu is missing, altered or does not follow the one before",
                  s->file, (unsigned long long)epoch);
}

static bool walk_changes(struct store *s, sqlite3_stmt *st, struct expected_table *t, const struct head *head,
                         int *rc, struct refusal *why)
{
    uint8_t room[RECORD_MAX];

    while ((*rc = sqlite3_step(st)) == SQLITE_ROW) {
        uint64_t epoch = (uint64_t)sqlite3_column_int64(st, 0);
        struct span raw = column_span(st, 1);
        struct record r;

        if (epoch != s->epoch + 1 || raw.len > sizeof room || !record_open(s, raw, room, &r) ||
            r.place.kind != STORE_CHANGE || r.place.sub != 0 || memcmp(r.place.id, no_id, KEY_ID_LEN) != 0 ||
            r.epoch != epoch || memcmp(r.prev, s->head, MBED_DIGEST_LEN) != 0 || !change_apply(t, &r))
            return chain_broken(s, s->epoch + 1, why);
        s->epoch = epoch;
        mbed_sha256(raw, s->head);
        if (head->present && head->epoch == epoch && memcmp(head->hash, s->head, MBED_DIGEST_LEN) != 0)
            return rolled_back(s, head, why);
    }
    if (*rc != SQLITE_DONE)
        return db_refuse(s, "read changes", *rc, why);
    if (head->present && head->epoch > s->epoch)
        return rolled_back(s, head, why);
    return true;
}

/* ---- the anchor ---- */

#if STORE_LEVEL_MAX >= STORE_LEVEL_ANCHORS

static bool has_anchor(struct store *s)
{
    sqlite3_stmt *st = NULL;
    bool has = db_prepare(s, "SELECT 1 FROM sqlite_schema WHERE name = 'sealed_anchor'", &st) == SQLITE_OK &&
               sqlite3_step(st) == SQLITE_ROW;

    sqlite3_finalize(st);
    return has;
}

static bool anchor_apply(struct expected_table *t, const struct record *page, uint32_t *pages)
{
    struct cursor c = cursor_of(page->body);

    *pages = cursor_u32(&c);
    uint32_t count = cursor_u32(&c);
    for (uint32_t i = 0; i < count; i++) {
        struct place p = {.kind = cursor_u8(&c)};
        struct span id = cursor_take(&c, KEY_ID_LEN);

        p.sub = cursor_u32(&c);
        uint64_t epoch = cursor_u64(&c);
        struct span hash = cursor_take(&c, MBED_DIGEST_LEN);
        if (!cursor_ok(&c) || epoch > page->epoch)
            return false;
        memcpy(p.id, id.ptr, KEY_ID_LEN);
        expected_set(t, &p, epoch, hash);
    }
    return cursor_ok(&c) && c.left == 0;
}

/* Each page names the epoch, the chain's hash there and how many pages there are: all of one anchor, or none is. */
static bool walk_anchor(struct store *s, sqlite3_stmt *st, struct expected_table *t, int *rc,
                        struct refusal *why)
{
    uint8_t room[RECORD_MAX];
    uint32_t pages = 0, count = 0;

    while ((*rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct span raw = column_span(st, 1);
        struct record r;
        uint32_t of;

        if (sqlite3_column_int64(st, 0) != count || raw.len > sizeof room || !record_open(s, raw, room, &r) ||
            r.place.kind != STORE_ANCHOR || r.place.sub != count ||
            memcmp(r.place.id, no_id, KEY_ID_LEN) != 0 || r.epoch == 0 || !anchor_apply(t, &r, &of) ||
            (count != 0 &&
             (of != pages || r.epoch != s->base || memcmp(r.prev, s->base_hash, MBED_DIGEST_LEN) != 0)))
            return chain_broken(s, s->base, why);
        pages = of;
        s->base = r.epoch;
        memcpy(s->base_hash, r.prev, MBED_DIGEST_LEN);
        count++;
    }
    if (*rc != SQLITE_DONE)
        return db_refuse(s, "read the anchor", *rc, why);
    s->anchor_pages = count;
    s->anchor_rows = t->count;
    return count == pages || chain_broken(s, s->base, why);
}

static bool load_anchor(struct store *s, struct expected_table *t, struct refusal *why)
{
    sqlite3_stmt *st = NULL;

    s->base = s->anchor_pages = 0;
    if (!has_anchor(s))
        return true;
    int rc = db_prepare(s, "SELECT page, record FROM sealed_anchor ORDER BY page", &st);
    bool ok = rc == SQLITE_OK ? walk_anchor(s, st, t, &rc, why) : db_refuse(s, "read the anchor", rc, why);
    sqlite3_finalize(st);
    return ok;
}

#else

static bool load_anchor(struct store *s, struct expected_table *t, struct refusal *why)
{
    (void)s;
    (void)t;
    (void)why;
    return true;
}

#endif

static bool load_chain(struct store *s, struct expected_table *t, const struct head *head,
                       struct refusal *why)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s, "SELECT epoch, record FROM sealed_change ORDER BY epoch", &st);

    if (rc != SQLITE_OK)
        return db_refuse(s, "read changes", rc, why);
    genesis_hash(s, s->head);
    bool ok = load_anchor(s, t, why);
    if (s->base != 0)
        memcpy(s->head, s->base_hash, MBED_DIGEST_LEN);
    s->epoch = s->base;
    if (ok && head->present && head->epoch == s->epoch && memcmp(head->hash, s->head, MBED_DIGEST_LEN) != 0)
        ok = rolled_back(s, head, why);
    ok = ok && walk_changes(s, st, t, head, &rc, why);
    sqlite3_finalize(st);
    return ok;
}

static const char *kind_name(uint8_t kind)
{
    static const char *const names[] = {"change", "key",   "version",    "policy", "trust",
                                        "head",   "clock", "import key", "level",  "anchor"};

    if (kind == STORE_SLOT)
        return "slot";
    return kind < sizeof names / sizeof names[0] ? names[kind] : "unknown";
}

static bool row_refuse(const struct store *s, const char *code, const char *what, const struct place *p,
                       struct refusal *why)
{
    char id[2 * KEY_ID_LEN + 1];

    for (size_t i = 0; i < KEY_ID_LEN; i++)
        snprintf(id + 2 * i, 3, "%02x", p->id[i]);
    return refuse(why, code, "keep the file as it is and restore a backup", "%s: the row %s %s %u %s",
                  s->file, kind_name(p->kind), id, p->sub, what);
}

static bool place_of_columns(sqlite3_stmt *st, struct place *out)
{
    int64_t kind = sqlite3_column_int64(st, 0);
    struct span id = column_span(st, 1);
    int64_t sub = sqlite3_column_int64(st, 2);

    *out = (struct place){.kind = (uint8_t)kind, .sub = (uint32_t)sub};
    if (id.len == KEY_ID_LEN)
        memcpy(out->id, id.ptr, KEY_ID_LEN);
    return kind >= 0 && kind <= UINT8_MAX && sub >= 0 && sub <= UINT32_MAX && id.len == KEY_ID_LEN;
}

static bool row_verify(struct store *s, sqlite3_stmt *st, struct expected_table *t, uint8_t *room,
                       struct store_row *out, struct refusal *why)
{
    struct place p;
    struct record r;
    uint8_t hash[MBED_DIGEST_LEN];
    struct span raw = column_span(st, 3);
    struct expected *e = place_of_columns(st, &p) ? expected_find(t, &p) : NULL;

    if (e == NULL)
        return row_refuse(s, "store_row_alien", "was written by no change of this store", &p, why);
    mbed_sha256(raw, hash);
    if (raw.len > RECORD_MAX || memcmp(hash, e->hash, MBED_DIGEST_LEN) != 0 ||
        !record_open(s, raw, room, &r) || !place_equal(&r.place, &p) || r.epoch != e->epoch)
        return row_refuse(s, "store_row_changed",
                          "is not what its last change wrote: altered, swapped or rolled back", &p, why);
    e->seen = true;
    *out = (struct store_row){.kind = p.kind, .sub = p.sub, .epoch = r.epoch, .body = r.body};
    memcpy(out->id, p.id, KEY_ID_LEN);
    return true;
}

/* What the row says counts; what stands beside it in the clear is made to say the same. */
static bool level_take(struct store *s, const struct store_row *row, struct refusal *why)
{
    struct cursor c = cursor_of(row->body);
    uint8_t version = cursor_u8(&c), level = cursor_u8(&c);

    if (!cursor_ok(&c) || c.left != 0 || version != 1)
        return refuse(why, "store_format", "start the version that wrote it",
                      "%s: its level is noted in a way that this version does not know", s->file);
    s->next_level = level;
    return check_level(s, level, why);
}

static bool level_settle(struct store *s, struct refusal *why)
{
    uint8_t noted = s->level, level = s->next_level != 0 ? s->next_level : STORE_LEVEL_MIN;

    s->next_level = 0;
    if (noted == level)
        return true;
    log_warn("the store's level was noted wrongly beside it; mended", F("file", s->file), F("noted", noted),
             F("level", level));
    int rc = level_note(s, level);
    s->level = level;
    return rc == SQLITE_OK || db_refuse(s, "note the level", rc, why);
}

static bool walk_rows(struct store *s, sqlite3_stmt *st, struct expected_table *t,
                      bool (*visit)(void *ctx, const struct store_row *r), void *ctx, struct refusal *why)
{
    uint8_t room[RECORD_MAX];
    struct store_row row;
    int rc;

    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        if (!row_verify(s, st, t, room, &row, why))
            return false;
        if (row.kind == STORE_LEVEL) {
            if (!level_take(s, &row, why))
                return false;
            continue;
        }
        if (!visit(ctx, &row)) {
            struct place p = {.kind = row.kind, .sub = row.sub};

            memcpy(p.id, row.id, KEY_ID_LEN);
            return row_refuse(s, "store_format", "is authentic, but this version cannot read it", &p, why);
        }
    }
    return rc == SQLITE_DONE || db_refuse(s, "read rows", rc, why);
}

static bool load_rows(struct store *s, struct expected_table *t,
                      bool (*visit)(void *ctx, const struct store_row *r), void *ctx, struct refusal *why)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s, "SELECT kind, id, sub, record FROM sealed_row ORDER BY kind, id, sub", &st);

    if (rc != SQLITE_OK)
        return db_refuse(s, "read rows", rc, why);
    bool ok = walk_rows(s, st, t, visit, ctx, why);
    sqlite3_finalize(st);
    for (size_t i = 0; ok && i < t->cap; i++) {
        if (t->slots[i].used && !t->slots[i].seen)
            ok = row_refuse(s, "store_row_missing", "was written, but is not there", &t->slots[i].place, why);
    }
    return ok;
}

bool store_is_root(struct store *s, const uint8_t *srk)
{
    uint8_t want[MBED_KEY_LEN], have[MBED_KEY_LEN];
    size_t len = meta_get(s, "root_check", have, sizeof have);

    store_derive(srk, "root check", s->shard, want);
    return len == 0 || (len == sizeof have && secret_equal(want, have, sizeof want));
}

/* The root key is known by a value derived from it, so that a wrong one is named as such. */
static bool check_root(struct store *s, const uint8_t *srk, struct refusal *why)
{
    uint8_t check[MBED_KEY_LEN];
    int rc = SQLITE_OK;

    if (meta_get(s, "root_check", check, sizeof check) == 0) {
        store_derive(srk, "root check", s->shard, check);
        rc = meta_put(s, "root_check", span_of(check, sizeof check));
    }
    if (rc != SQLITE_OK)
        return db_refuse(s, "write root check", rc, why);
    if (!store_is_root(s, srk))
        return refuse(why, "store_wrong_root", "open the slot that belongs to this store",
                      "%s was written under another root key", s->file);
    return true;
}

static struct mbed_aead *rows_aead(const struct store *s, const uint8_t *srk)
{
    uint8_t *key = secret_pages_alloc(MBED_KEY_LEN);

    if (key == NULL)
        return NULL;
    store_derive(srk, "store rows", s->shard, key);
    struct mbed_aead *aead = mbed_aead_new(key);
    secret_pages_free(key, MBED_KEY_LEN);
    return aead;
}

bool store_unlock(struct store *s, const uint8_t *srk, bool (*visit)(void *ctx, const struct store_row *r),
                  void *ctx, struct refusal *why)
{
    struct expected_table t = {0};
    struct head head = {0};

    CHECK(s->aead == NULL);
    if (!check_root(s, srk, why))
        return false;
    s->aead = rows_aead(s, srk);
    if (s->aead == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl",
                      "no locked memory for the store's key");
    bool ok = head_read(s, &head, why) && load_chain(s, &t, &head, why) &&
              load_rows(s, &t, visit, ctx, why) && level_settle(s, why);
    free(t.slots);
    if (!ok)
        return false;
    if (!head.present && s->epoch > 0)
        log_warn("store has no head file beside it: a rollback before this start would not have been seen",
                 F("file", s->head_file));
    if ((!head.present || head.epoch != s->epoch) && !head_write(s))
        return refuse(why, "store_io", "check the disk and its permissions", "%s: %s", s->head_file,
                      strerror(errno));
    (void)store_checkpoint(s, true); /* a log that a death left behind may hold what was destroyed since */
    return true;
}

/* ---- changing ---- */

static void writes_free(struct store *s)
{
    for (size_t i = 0; i < s->write_count; i++) {
        free(s->writes[i].record);
        free(s->writes[i].slot);
        s->writes[i] = (struct write){0};
    }
    s->write_count = 0;
}

void store_begin(struct store *s)
{
    CHECK(s->aead != NULL && !s->open_change);
    s->open_change = true;
}

void store_abandon(struct store *s)
{
    writes_free(s);
    s->next_level = 0;
    s->open_change = false;
}

void store_put(struct store *s, enum store_kind kind, const uint8_t id[KEY_ID_LEN], uint32_t sub,
               struct span body)
{
    CHECK(s->open_change && s->write_count < STORE_WRITES_MAX && body.len <= STORE_BODY_MAX);
    struct write *w = &s->writes[s->write_count++];

    w->place = (struct place){.kind = (uint8_t)kind, .sub = sub};
    memcpy(w->place.id, id, KEY_ID_LEN);
    w->record = malloc(body.len + RECORD_OVERHEAD);
    CHECK(w->record != NULL);
    w->len = record_seal(s, &w->place, s->epoch + 1, s->head, body, w->record, body.len + RECORD_OVERHEAD);
    mbed_sha256(span_of(w->record, w->len), w->hash);
}

void store_put_slot(struct store *s, uint8_t number, struct span body, struct span slot)
{
    CHECK(number < STORE_SLOTS_MAX && slot.len <= STORE_SLOT_MAX);
    store_put(s, STORE_SLOT, no_id, number, body);
    if (slot.len == 0)
        return;
    struct write *w = &s->writes[s->write_count - 1];
    w->slot = malloc(slot.len);
    CHECK(w->slot != NULL);
    memcpy(w->slot, slot.ptr, slot.len);
    w->slot_len = slot.len;
}

void store_put_level(struct store *s, uint8_t level)
{
    uint8_t body[LEVEL_BODY_LEN] = {1, level};

    CHECK(level >= STORE_LEVEL_MIN && level <= STORE_LEVEL_MAX);
    store_put(s, STORE_LEVEL, no_id, 0, span_of(body, sizeof body));
    s->next_level = level;
}

static size_t change_seal(struct store *s, uint8_t *out, size_t cap)
{
    uint8_t body[4 + STORE_WRITES_MAX * TOUCHED_LEN];
    struct writer w = writer_of(body, sizeof body);
    struct place p = {.kind = STORE_CHANGE};

    write_u32(&w, (uint32_t)s->write_count);
    for (size_t i = 0; i < s->write_count; i++) {
        write_u8(&w, s->writes[i].place.kind);
        write_bytes(&w, span_of(s->writes[i].place.id, KEY_ID_LEN));
        write_u32(&w, s->writes[i].place.sub);
        write_bytes(&w, span_of(s->writes[i].hash, MBED_DIGEST_LEN));
    }
    CHECK(writer_ok(&w));
    return record_seal(s, &p, s->epoch + 1, s->head, writer_span(&w), out, cap);
}

static int db_write_row(struct store *s, const struct write *w)
{
    sqlite3_stmt *st = NULL;
    int rc =
        db_prepare(s, "INSERT OR REPLACE INTO sealed_row(kind, id, sub, record) VALUES(?, ?, ?, ?)", &st);

    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_int(st, 1, w->place.kind);
    sqlite3_bind_blob(st, 2, w->place.id, KEY_ID_LEN, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, w->place.sub);
    sqlite3_bind_blob(st, 4, w->record, (int)w->len, SQLITE_STATIC);
    return db_finish(st);
}

/* slot.len 0: none is to be there. */
static int db_set_slot(struct store *s, uint32_t number, struct span slot)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s,
                        slot.len != 0 ? "INSERT OR REPLACE INTO slot(number, record) VALUES(?, ?)"
                                      : "DELETE FROM slot WHERE number = ?",
                        &st);

    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_int64(st, 1, number);
    if (slot.len != 0)
        sqlite3_bind_blob(st, 2, slot.ptr, (int)slot.len, SQLITE_STATIC);
    return db_finish(st);
}

bool store_slot_mend(struct store *s, uint8_t number, struct span slot, struct refusal *why)
{
    CHECK(number < STORE_SLOTS_MAX && slot.len <= STORE_SLOT_MAX);
    int rc = db_set_slot(s, number, slot);

    return rc == SQLITE_OK || db_refuse(s, "mend slot", rc, why);
}

static int db_write_change(struct store *s, uint64_t epoch, struct span record)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s, "INSERT INTO sealed_change(epoch, record) VALUES(?, ?)", &st);

    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_int64(st, 1, (sqlite3_int64)epoch);
    sqlite3_bind_blob(st, 2, record.ptr, (int)record.len, SQLITE_STATIC);
    return db_finish(st);
}

/* Inside a transaction: what was put, and the change that vouches for it. */
static int db_write_put(struct store *s, struct span change)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < s->write_count; i++) {
        const struct write *w = &s->writes[i];

        rc = db_write_row(s, w);
        if (rc == SQLITE_OK && w->place.kind == STORE_SLOT)
            rc = db_set_slot(s, w->place.sub, span_of(w->slot, w->slot_len));
        if (rc == SQLITE_OK && w->place.kind == STORE_LEVEL)
            rc = level_note(s, s->next_level);
    }
    return rc == SQLITE_OK ? db_write_change(s, s->epoch + 1, change) : rc;
}

static int db_write_all(struct store *s, struct span change)
{
    int rc = db_exec(s, "BEGIN IMMEDIATE");

    if (rc == SQLITE_OK)
        rc = db_write_put(s, change);
    return rc == SQLITE_OK ? db_exec(s, "COMMIT") : rc;
}

static bool failed_before(const struct store *s, struct refusal *why)
{
    return refuse(why, "store_io", "check the disk, then restart ww-ctrl",
                  "%s: an earlier write failed: no change is accepted until a restart", s->file);
}

static bool may_commit(struct store *s, struct refusal *why)
{
    CHECK(s->open_change);
    if (!s->failed)
        return true;
    store_abandon(s);
    return failed_before(s, why);
}

static bool commit_refused(struct store *s, int rc, struct refusal *why)
{
    bool refused = db_refuse(s, "commit", rc, why);

    if (sqlite3_get_autocommit(s->db) == 0)
        (void)db_exec(s, "ROLLBACK");
    store_abandon(s);
    return refused;
}

bool store_commit(struct store *s, struct refusal *why)
{
    uint8_t change[CHANGE_MAX];

    if (!may_commit(s, why))
        return false;
    size_t len = change_seal(s, change, sizeof change);
    int rc = db_write_all(s, span_of(change, len));
    if (rc != SQLITE_OK)
        return commit_refused(s, rc, why);
    s->epoch++;
    mbed_sha256(span_of(change, len), s->head);
    s->level = s->next_level != 0 ? s->next_level : s->level;
    store_abandon(s);
    s->head_behind = true;
    s->commits_since_checkpoint++;
    return true;
}

bool store_checkpoint(struct store *s, bool now)
{
    head_catch_up(s);
    if (!now && s->commits_since_checkpoint < CHECKPOINT_COMMITS)
        return true;
    int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (rc != SQLITE_OK)
        log_warn("store checkpoint failed; the write-ahead log stays", F("file", s->file), F("sqlite", rc));
    s->commits_since_checkpoint = 0;
    return rc == SQLITE_OK;
}

/* Runs a statement that is used again. */
static int db_run(sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);

    sqlite3_reset(st);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* ---- a new anchor ---- */

/* Every row is what the chain expects; nothing that was altered while we ran is vouched for anew. */
static bool compare_rows(struct store *s, sqlite3_stmt *st, struct expected_table *t, struct refusal *why)
{
    size_t seen = 0;
    int rc;

    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct place p;
        uint8_t hash[MBED_DIGEST_LEN];
        const struct expected *e = place_of_columns(st, &p) ? expected_find(t, &p) : NULL;

        mbed_sha256(column_span(st, 3), hash);
        if (e == NULL || memcmp(hash, e->hash, sizeof hash) != 0)
            return row_refuse(s, "store_row_changed", "was altered since ww-ctrl was started", &p, why);
        seen++;
    }
    if (rc != SQLITE_DONE)
        return db_refuse(s, "read rows", rc, why);
    return seen == t->count || refuse(why, "store_row_missing", "keep the file as it is and restore a backup",
                                      "%s: a row is not there any more", s->file);
}

static bool compare_all(struct store *s, struct expected_table *t, struct refusal *why)
{
    struct head now = {.present = true, .epoch = s->epoch};
    sqlite3_stmt *st = NULL;

    memcpy(now.hash, s->head, MBED_DIGEST_LEN);
    bool ok = load_chain(s, t, &now, why);
    s->epoch = now.epoch;
    memcpy(s->head, now.hash, MBED_DIGEST_LEN);
    if (!ok)
        return false;
    int rc = db_prepare(s, "SELECT kind, id, sub, record FROM sealed_row", &st);
    ok = rc == SQLITE_OK ? compare_rows(s, st, t, why) : db_refuse(s, "read rows", rc, why);
    sqlite3_finalize(st);
    return ok;
}

static int anchor_page_write(struct store *s, sqlite3_stmt *st, uint32_t page, struct span body)
{
    uint8_t record[ANCHOR_BODY_MAX + RECORD_OVERHEAD];
    struct place p = {.kind = STORE_ANCHOR, .sub = page};
    size_t len = record_seal(s, &p, s->epoch, s->head, body, record, sizeof record);

    sqlite3_bind_int64(st, 1, page);
    sqlite3_bind_blob(st, 2, record, (int)len, SQLITE_TRANSIENT);
    return db_run(st);
}

static void anchor_entry_write(struct writer *w, const struct expected *e)
{
    write_u8(w, e->place.kind);
    write_bytes(w, span_of(e->place.id, KEY_ID_LEN));
    write_u32(w, e->place.sub);
    write_u64(w, e->epoch);
    write_bytes(w, span_of(e->hash, MBED_DIGEST_LEN));
}

static uint32_t anchor_pages_of(const struct expected_table *t)
{
    return (uint32_t)((t->count + ANCHOR_ROWS - 1) / ANCHOR_ROWS);
}

static int anchor_pages_write(struct store *s, const struct expected_table *t, sqlite3_stmt *st)
{
    uint32_t pages = anchor_pages_of(t);
    size_t at = 0, left = t->count;
    int rc = SQLITE_OK;

    for (uint32_t page = 0; rc == SQLITE_OK && page < pages; page++) {
        uint8_t body[ANCHOR_BODY_MAX];
        struct writer w = writer_of(body, sizeof body);
        uint32_t count = left < ANCHOR_ROWS ? (uint32_t)left : ANCHOR_ROWS;

        write_u32(&w, pages);
        write_u32(&w, count);
        for (uint32_t i = 0; i < count; at++) {
            if (!t->slots[at].used)
                continue;
            anchor_entry_write(&w, &t->slots[at]);
            i++;
        }
        CHECK(writer_ok(&w));
        left -= count;
        rc = anchor_page_write(s, st, page, writer_span(&w));
    }
    return rc;
}

static int anchor_table(struct store *s)
{
    return db_exec(s, "CREATE TABLE IF NOT EXISTS sealed_anchor"
                      "(page INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT");
}

/* Inside a transaction: t, which is all rows as of s->epoch, in place of every change. */
static int anchor_write(struct store *s, const struct expected_table *t)
{
    sqlite3_stmt *st = NULL;
    int rc = anchor_table(s);

    if (rc == SQLITE_OK)
        rc = db_exec(s, "DELETE FROM sealed_anchor; DELETE FROM sealed_change");
    if (rc == SQLITE_OK)
        rc = db_prepare(s, "INSERT INTO sealed_anchor(page, record) VALUES(?, ?)", &st);
    if (rc == SQLITE_OK)
        rc = anchor_pages_write(s, t, st);
    sqlite3_finalize(st);
    return rc;
}

static void anchor_take(struct store *s, uint64_t epoch, const uint8_t hash[MBED_DIGEST_LEN],
                        const struct expected_table *t)
{
    s->base = epoch;
    memcpy(s->base_hash, hash, MBED_DIGEST_LEN);
    s->anchor_pages = anchor_pages_of(t);
    s->anchor_rows = t->count;
}

static bool compact_all(struct store *s, struct expected_table *t, struct refusal *why)
{
    int rc = db_exec(s, "BEGIN IMMEDIATE");

    if (rc == SQLITE_OK && !compare_all(s, t, why))
        return false;
    if (rc == SQLITE_OK)
        rc = anchor_write(s, t);
    if (rc == SQLITE_OK)
        rc = db_exec(s, "COMMIT");
    return rc == SQLITE_OK || db_refuse(s, "compact", rc, why);
}

static bool compact(struct store *s, struct refusal *why)
{
    struct expected_table t = {0};

    if (s->level < STORE_LEVEL_ANCHORS)
        return refuse(why, "store_level", "wwctl upgrade status",
                      "%s is of format level %u, which has no anchors", s->file, s->level);
    if (s->failed)
        return failed_before(s, why);
    if (s->epoch == s->base)
        return true;
    head_catch_up(s);
    uint64_t base = s->base, rows = s->anchor_rows;
    uint32_t pages = s->anchor_pages;
    bool ok = compact_all(s, &t, why);
    if (ok) {
        anchor_take(s, s->epoch, s->head, &t);
        (void)store_checkpoint(s, true);
    } else {
        if (sqlite3_get_autocommit(s->db) == 0)
            (void)db_exec(s, "ROLLBACK");
        s->base = base; /* what was read before it failed */
        s->anchor_rows = rows;
        s->anchor_pages = pages;
    }
    free(t.slots);
    return ok;
}

bool store_compact(struct store *s, struct refusal *why)
{
    CHECK(s->aead != NULL && !s->open_change);
    return compact(s, why);
}

/* ---- a new root ---- */

/* The old keys open, the new ones, which s has already, seal. */
struct reroot {
    struct store *s;
    struct mbed_aead *old;
    const struct store_reroot *r;
    struct expected_table rows;        /* each with the hash that it has now */
    uint8_t fork[16];                  /* random */
    uint8_t anchored[MBED_DIGEST_LEN]; /* the chain's hash at the anchor under the new root */
    uint8_t room[RECORD_MAX], body[STORE_BODY_MAX], record[RECORD_MAX];
};

static void bind_place(sqlite3_stmt *st, int first, const struct place *p)
{
    sqlite3_bind_int(st, first, p->kind);
    sqlite3_bind_blob(st, first + 1, p->id, KEY_ID_LEN, SQLITE_STATIC);
    sqlite3_bind_int64(st, first + 2, p->sub);
}

static bool reroot_row(struct reroot *x, const struct place *p, struct span raw, sqlite3_stmt *write,
                       struct refusal *why)
{
    struct record r;
    struct store_row row = {.kind = p->kind, .sub = p->sub};
    uint8_t hash[MBED_DIGEST_LEN];

    if (raw.len > RECORD_MAX || !record_open_with(x->s, x->old, raw, x->room, &r) ||
        !place_equal(&r.place, p))
        return row_refuse(x->s, "store_row_changed", "was altered since ww-ctrl was started", p, why);
    memcpy(row.id, p->id, KEY_ID_LEN);
    row.epoch = r.epoch;
    row.body = r.body;
    size_t len = x->r->body(x->r->ctx, &row, x->body);
    len = record_seal(x->s, p, r.epoch, r.prev, span_of(x->body, len), x->record, sizeof x->record);
    mbed_sha256(span_of(x->record, len), hash);
    expected_set(&x->rows, p, r.epoch, span_of(hash, sizeof hash));
    sqlite3_bind_blob(write, 1, x->record, (int)len, SQLITE_STATIC);
    bind_place(write, 2, p);
    int rc = db_run(write);
    return rc == SQLITE_OK || db_refuse(x->s, "write rows", rc, why);
}

/* One row after the other by its place: what is read is never what is being written. */
static bool reroot_rows(struct reroot *x, sqlite3_stmt *read, sqlite3_stmt *write, struct refusal *why)
{
    struct place at = {0}, p = {0};
    int rc;
    bool ok = true;

    sqlite3_bind_int(read, 1, -1);
    sqlite3_bind_blob(read, 2, at.id, KEY_ID_LEN, SQLITE_STATIC);
    sqlite3_bind_int64(read, 3, 0);
    while (ok && (rc = sqlite3_step(read)) == SQLITE_ROW) {
        struct span raw = column_span(read, 3);

        ok = place_of_columns(read, &p) ? reroot_row(x, &p, raw, write, why)
                                        : row_refuse(x->s, "store_row_alien", "has no place", &p, why);
        sqlite3_reset(read);
        at = p;
        bind_place(read, 1, &at);
    }
    return ok && (rc == SQLITE_DONE || db_refuse(x->s, "read rows", rc, why));
}

/* The hashes of rows as they are now; of what was overwritten since, the old one, which nothing is compared with. */
static void change_refresh(struct reroot *x, const struct record *change)
{
    size_t count = (change->body.len - 4) / TOUCHED_LEN;

    memcpy(x->body, change->body.ptr, change->body.len);
    for (size_t i = 0; i < count; i++) {
        uint8_t *at = x->body + 4 + i * TOUCHED_LEN;
        struct cursor c = cursor_of(span_of(at, TOUCHED_LEN));
        struct place p = {.kind = cursor_u8(&c)};

        memcpy(p.id, cursor_take(&c, KEY_ID_LEN).ptr, KEY_ID_LEN);
        p.sub = cursor_u32(&c);
        const struct expected *e = expected_find(&x->rows, &p);
        if (e != NULL && e->epoch == change->epoch)
            memcpy(at + TOUCHED_LEN - MBED_DIGEST_LEN, e->hash, MBED_DIGEST_LEN);
    }
}

static bool reroot_change(struct reroot *x, uint64_t epoch, struct span raw, sqlite3_stmt *write,
                          struct refusal *why)
{
    struct store *s = x->s;
    struct record r;

    if (raw.len > RECORD_MAX || !record_open_with(s, x->old, raw, x->room, &r) || r.epoch != epoch ||
        r.place.kind != STORE_CHANGE || r.body.len < 4)
        return chain_broken(s, epoch, why);
    change_refresh(x, &r);
    size_t len =
        record_seal(s, &r.place, epoch, s->head, span_of(x->body, r.body.len), x->record, sizeof x->record);
    mbed_sha256(span_of(x->record, len), s->head);
    sqlite3_bind_blob(write, 1, x->record, (int)len, SQLITE_STATIC);
    sqlite3_bind_int64(write, 2, (sqlite3_int64)epoch);
    int rc = db_run(write);
    return rc == SQLITE_OK || db_refuse(s, "write changes", rc, why);
}

/* All changes were compacted before.  The chain goes on from a hash of its own, which no file under the old root has. */
static bool reroot_anchor(struct reroot *x, struct refusal *why)
{
    struct store *s = x->s;
    uint8_t text[64];
    struct writer w = writer_of(text, sizeof text);

    write_bytes(&w, span_str("wirewrap root 1"));
    write_bytes(&w, span_of(s->base_hash, MBED_DIGEST_LEN));
    write_bytes(&w, span_of(x->fork, sizeof x->fork));
    CHECK(writer_ok(&w));
    mbed_sha256(writer_span(&w), s->head);
    memcpy(x->anchored, s->head, sizeof x->anchored);
    int rc = anchor_write(s, &x->rows);
    return rc == SQLITE_OK || db_refuse(s, "write the anchor", rc, why);
}

static bool reroot_changes(struct reroot *x, sqlite3_stmt *read, sqlite3_stmt *write, struct refusal *why)
{
    bool ok = true;

    genesis_hash(x->s, x->s->head);
    if (x->s->level >= STORE_LEVEL_ANCHORS)
        return reroot_anchor(x, why);
    for (uint64_t epoch = 1; ok && epoch <= x->s->epoch; epoch++) {
        sqlite3_bind_int64(read, 1, (sqlite3_int64)epoch);
        int rc = sqlite3_step(read);
        ok = rc == SQLITE_ROW ? reroot_change(x, epoch, column_span(read, 0), write, why)
                              : chain_broken(x->s, epoch, why);
        sqlite3_reset(read);
    }
    return ok;
}

/* Two statements for one of the two passes. */
static bool reroot_pass(struct reroot *x, const char *read_sql, const char *write_sql,
                        bool (*pass)(struct reroot *, sqlite3_stmt *, sqlite3_stmt *, struct refusal *),
                        struct refusal *why)
{
    sqlite3_stmt *read = NULL, *write = NULL;
    int rc = db_prepare(x->s, read_sql, &read);

    if (rc == SQLITE_OK)
        rc = db_prepare(x->s, write_sql, &write);
    bool ok = rc == SQLITE_OK ? pass(x, read, write, why) : db_refuse(x->s, "reseal", rc, why);
    sqlite3_finalize(read);
    sqlite3_finalize(write);
    return ok;
}

/* What was put for this change was sealed under the old root. */
static void reroot_writes(struct reroot *x)
{
    struct store *s = x->s;

    for (size_t i = 0; i < s->write_count; i++) {
        struct write *w = &s->writes[i];
        struct record r;

        CHECK(record_open_with(s, x->old, span_of(w->record, w->len), x->room, &r));
        w->len = record_seal(s, &w->place, s->epoch + 1, s->head, r.body, w->record, w->len);
        mbed_sha256(span_of(w->record, w->len), w->hash);
    }
}

static bool reroot_all(struct reroot *x, const uint8_t *srk, struct refusal *why)
{
    uint8_t check[MBED_KEY_LEN], change[CHANGE_MAX], head[MBED_DIGEST_LEN];
    struct store *s = x->s;

    if (!reroot_pass(x,
                     "SELECT kind, id, sub, record FROM sealed_row WHERE (kind, id, sub) > (?, ?, ?)"
                     " ORDER BY kind, id, sub LIMIT 1",
                     "UPDATE sealed_row SET record = ? WHERE kind = ? AND id = ? AND sub = ?", reroot_rows,
                     why) ||
        !reroot_pass(x, "SELECT record FROM sealed_change WHERE epoch = ?",
                     "UPDATE sealed_change SET record = ? WHERE epoch = ?", reroot_changes, why))
        return false;
    reroot_writes(x);
    size_t len = change_seal(s, change, sizeof change);
    mbed_sha256(span_of(change, len), head);
    store_derive(srk, "root check", s->shard, check);
    int rc = meta_put(s, "root_check", span_of(check, sizeof check));
    if (rc == SQLITE_OK)
        rc = db_write_put(s, span_of(change, len));
    if (rc == SQLITE_OK && !head_write_to(s, s->next_head_file, s->epoch + 1, head))
        return refuse(why, errno == ENOSPC || errno == EDQUOT ? "disk_full" : "store_io",
                      "check the disk, then repeat the command", "%s: %s: nothing was changed",
                      s->next_head_file, strerror(errno));
    if (rc == SQLITE_OK)
        rc = db_exec(s, "COMMIT");
    if (rc != SQLITE_OK)
        return db_refuse(s, "commit", rc, why);
    if (s->level >= STORE_LEVEL_ANCHORS)
        anchor_take(s, s->epoch, x->anchored, &x->rows);
    s->epoch++;
    memcpy(s->head, head, sizeof head);
    return true;
}

static bool reroot_run(struct reroot *x, const uint8_t *srk, struct refusal *why)
{
    struct store *s = x->s;
    uint8_t head[MBED_DIGEST_LEN];
    int rc = db_exec(s, "BEGIN IMMEDIATE");

    memcpy(head, s->head, sizeof head);
    if (rc == SQLITE_OK ? reroot_all(x, srk, why) : db_refuse(s, "reseal", rc, why))
        return true;
    if (sqlite3_get_autocommit(s->db) == 0)
        (void)db_exec(s, "ROLLBACK");
    memcpy(s->head, head, sizeof head);
    if (!s->failed) /* else the commit may have been done: whoever opens it next finds out by the root key */
        (void)unlink(s->next_head_file);
    return false;
}

bool store_reroot(struct store *s, const uint8_t *srk, const struct store_reroot *r, struct refusal *why)
{
    if (!may_commit(s, why))
        return false;
    if (s->level >= STORE_LEVEL_ANCHORS && !compact(s, why)) {
        store_abandon(s);
        return false;
    }
    struct reroot *x = calloc(1, sizeof *x);
    CHECK(x != NULL);
    *x = (struct reroot){.s = s, .old = s->aead, .r = r};
    mbed_random(s->rng, x->fork, sizeof x->fork);
    s->aead = rows_aead(s, srk);
    bool ok = s->aead != NULL ? reroot_run(x, srk, why)
                              : refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl",
                                       "no locked memory for the store's new key");
    struct mbed_aead *unused = ok ? x->old : s->aead;
    s->aead = ok ? s->aead : x->old;
    mbed_aead_free(unused);
    store_abandon(s);
    free(x->rows.slots);
    secret_wipe(x, sizeof *x);
    free(x);
    s->head_behind &= !ok;
    if (ok && rename(s->next_head_file, s->head_file) != 0)
        log_warn("store head not put in its place; the next start does it", F("file", s->head_file),
                 F("errno", errno));
    if (ok)
        (void)store_checkpoint(s, true); /* what was under the old root leaves the log */
    return ok;
}

/* ---- raw records, out ---- */

static bool raw_failed(const struct store *s, int rc)
{
    if (rc != SQLITE_DONE && rc != SQLITE_OK && rc != SQLITE_ROW)
        log_error("store could not be read for a backup", F("file", s->file), F("sqlite", rc));
    return false;
}

void store_identity(struct store *s, struct store_identity *out)
{
    *out = (struct store_identity){.shard = s->shard};
    memcpy(out->store_id, s->store_id, STORE_ID_LEN);
    if (meta_get(s, "root_check", out->root, sizeof out->root) != sizeof out->root)
        log_error("the store does not name its root key", F("file", s->file));
}

/* Every row of the statement: (number, record). */
static bool raw_walk(struct store *s, sqlite3_stmt *st, enum store_raw_kind kind, store_raw_sink sink,
                     void *ctx)
{
    int rc;
    bool ok = true;

    while (ok && (rc = sqlite3_step(st)) == SQLITE_ROW)
        ok = sink(ctx, &(struct store_raw){kind, (uint64_t)sqlite3_column_int64(st, 0), column_span(st, 1)});
    sqlite3_finalize(st);
    return ok && (rc == SQLITE_DONE || raw_failed(s, rc));
}

bool store_raw_slots(struct store *s, store_raw_sink sink, void *ctx)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s, "SELECT number, record FROM slot ORDER BY number", &st);

    return rc == SQLITE_OK ? raw_walk(s, st, STORE_RAW_SLOT, sink, ctx) : raw_failed(s, rc);
}

static int raw_rows_prepare(struct store *s, const struct store_raw_at *at, uint32_t budget,
                            sqlite3_stmt **st)
{
    int rc = db_prepare(s,
                        "SELECT kind, id, sub, record FROM sealed_row WHERE (kind, id, sub) > (?, ?, ?)"
                        " ORDER BY kind, id, sub LIMIT ?",
                        st);

    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_int(*st, 1, at->begun ? at->kind : -1);
    sqlite3_bind_blob(*st, 2, at->id, KEY_ID_LEN, SQLITE_TRANSIENT);
    sqlite3_bind_int64(*st, 3, at->sub);
    sqlite3_bind_int64(*st, 4, budget);
    return SQLITE_OK;
}

bool store_raw_rows(struct store *s, struct store_raw_at *at, uint32_t budget, bool *done,
                    store_raw_sink sink, void *ctx)
{
    sqlite3_stmt *st = NULL;
    struct place p = {0};
    uint32_t count = 0;
    int rc = raw_rows_prepare(s, at, budget, &st);
    bool ok = rc == SQLITE_OK;

    while (ok && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        count++;
        ok = place_of_columns(st, &p) && sink(ctx, &(struct store_raw){STORE_RAW_ROW, 0, column_span(st, 3)});
    }
    sqlite3_finalize(st);
    if (!ok || rc != SQLITE_DONE)
        return raw_failed(s, rc);
    *done = count < budget;
    if (count != 0) {
        *at = (struct store_raw_at){.begun = true, .kind = p.kind, .sub = p.sub};
        memcpy(at->id, p.id, KEY_ID_LEN);
    }
    return true;
}

static bool raw_row(struct store *s, const struct place *p, store_raw_sink sink, void *ctx)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s, "SELECT 0, record FROM sealed_row WHERE kind = ? AND id = ? AND sub = ?", &st);

    if (rc != SQLITE_OK)
        return raw_failed(s, rc);
    sqlite3_bind_int(st, 1, p->kind);
    sqlite3_bind_blob(st, 2, p->id, KEY_ID_LEN, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, p->sub);
    return raw_walk(s, st, STORE_RAW_ROW, sink, ctx);
}

static bool raw_rows_of(struct store *s, const struct record *change, store_raw_sink sink, void *ctx)
{
    struct cursor c = cursor_of(change->body);
    bool ok = true;

    for (uint32_t left = cursor_u32(&c); ok && left > 0; left--) {
        struct place p = {.kind = cursor_u8(&c)};
        struct span id = cursor_take(&c, KEY_ID_LEN);

        p.sub = cursor_u32(&c);
        cursor_skip(&c, MBED_DIGEST_LEN);
        ok = cursor_ok(&c);
        if (ok) {
            memcpy(p.id, id.ptr, KEY_ID_LEN);
            ok = raw_row(s, &p, sink, ctx);
        }
    }
    return ok;
}

/* The record of a change, copied to out (RECORD_MAX bytes); 0: there is none, or it could not be read. */
static size_t change_read(struct store *s, uint64_t epoch, uint8_t *out)
{
    sqlite3_stmt *st = NULL;
    size_t len = 0;
    int rc = db_prepare(s, "SELECT record FROM sealed_change WHERE epoch = ?", &st);

    if (rc != SQLITE_OK) {
        (void)raw_failed(s, rc);
        return 0;
    }
    sqlite3_bind_int64(st, 1, (sqlite3_int64)epoch);
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW && column_span(st, 0).len <= RECORD_MAX) {
        struct span raw = column_span(st, 0);

        memcpy(out, raw.ptr, raw.len);
        len = raw.len;
    }
    sqlite3_finalize(st);
    (void)raw_failed(s, rc);
    return len;
}

bool store_raw_anchor(struct store *s, uint32_t page, store_raw_sink sink, void *ctx)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s, "SELECT page, record FROM sealed_anchor WHERE page = ?", &st);

    if (rc != SQLITE_OK)
        return raw_failed(s, rc);
    sqlite3_bind_int64(st, 1, page);
    return raw_walk(s, st, STORE_RAW_ANCHOR, sink, ctx);
}

bool store_raw_change(struct store *s, uint64_t epoch, bool with_rows, store_raw_sink sink, void *ctx)
{
    uint8_t raw[RECORD_MAX], room[RECORD_MAX];
    struct record r;
    size_t len = change_read(s, epoch, raw);

    return len != 0 && sink(ctx, &(struct store_raw){STORE_RAW_CHANGE, epoch, span_of(raw, len)}) &&
           (!with_rows || (record_open(s, span_of(raw, len), room, &r) && raw_rows_of(s, &r, sink, ctx)));
}

/* Of an import, which is not unlocked: as the first page says in the clear. */
static bool anchor_hash_of_import(struct store *s, uint64_t epoch, uint8_t out[MBED_DIGEST_LEN])
{
    sqlite3_stmt *st = NULL;
    bool found = false;

    if (s->aead == NULL &&
        db_prepare(s, "SELECT record FROM sealed_anchor WHERE page = 0", &st) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW && column_span(st, 0).len >= RECORD_OVERHEAD) {
        struct cursor c = cursor_of(column_span(st, 0));

        cursor_skip(&c, 8);
        found = cursor_u64(&c) == epoch;
        cursor_skip(&c, KEY_ID_LEN);
        memcpy(out, cursor_take(&c, MBED_DIGEST_LEN).ptr, MBED_DIGEST_LEN);
    }
    sqlite3_finalize(st);
    return found;
}

bool store_chain_hash(struct store *s, uint64_t epoch, uint8_t out[MBED_DIGEST_LEN])
{
    uint8_t raw[RECORD_MAX];
    size_t len;

    if (epoch == 0) {
        genesis_hash(s, out);
        return true;
    }
    if (epoch == s->base) {
        memcpy(out, s->base_hash, MBED_DIGEST_LEN);
        return true;
    }
    if (epoch < s->base)
        return false;
    if (epoch == s->epoch && s->aead != NULL) {
        memcpy(out, s->head, MBED_DIGEST_LEN);
        return true;
    }
    len = change_read(s, epoch, raw);
    if (len == 0)
        return anchor_hash_of_import(s, epoch, out);
    mbed_sha256(span_of(raw, len), out);
    return true;
}

/* ---- raw records, in ---- */

static int import_begin(struct store *s, const struct store_identity *id)
{
    int rc = db_exec(s, "BEGIN IMMEDIATE; DELETE FROM meta WHERE name = 'store_id'");

    memcpy(s->store_id, id->store_id, STORE_ID_LEN);
    if (rc == SQLITE_OK)
        rc = meta_put(s, "store_id", span_of(s->store_id, STORE_ID_LEN));
    if (rc == SQLITE_OK)
        rc = meta_put(s, "root_check", span_of(id->root, sizeof id->root));
    return rc == SQLITE_OK ? db_exec(s, "SAVEPOINT mark") : rc;
}

struct store *store_import(const char *file, const struct store_identity *id, struct mbed_rng *rng,
                           struct refusal *why)
{
    struct store *s = store_open(file, id->shard, true, rng, why);

    if (s == NULL)
        return NULL;
    int rc = import_begin(s, id);
    if (rc == SQLITE_OK)
        return s;
    (void)db_refuse(s, "import", rc, why);
    store_close(s);
    return NULL;
}

static int import_row(struct store *s, struct span record)
{
    struct cursor c = cursor_of(record);
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s,
                        "INSERT INTO sealed_row(kind, id, sub, record) VALUES(?, ?, ?, ?)"
                        " ON CONFLICT DO UPDATE SET record = excluded.record"
                        " WHERE substr(excluded.record, 9, 8) >= substr(sealed_row.record, 9, 8)",
                        &st);

    if (rc != SQLITE_OK)
        return rc;
    cursor_skip(&c, 1);
    sqlite3_bind_int(st, 1, cursor_u8(&c));
    cursor_skip(&c, 2);
    sqlite3_bind_int64(st, 3, cursor_u32(&c));
    cursor_skip(&c, 8);
    struct span id = cursor_take(&c, KEY_ID_LEN);
    sqlite3_bind_blob(st, 2, id.ptr, (int)id.len, SQLITE_STATIC);
    sqlite3_bind_blob(st, 4, record.ptr, (int)record.len, SQLITE_STATIC);
    return db_finish(st);
}

static int import_numbered(struct store *s, const char *sql, const struct store_raw *r)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s, sql, &st);

    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_int64(st, 1, (sqlite3_int64)r->number);
    sqlite3_bind_blob(st, 2, r->record.ptr, (int)r->record.len, SQLITE_STATIC);
    return db_finish(st);
}

static int import_anchor(struct store *s, const struct store_raw *r)
{
    int rc = anchor_table(s);

    return rc == SQLITE_OK
               ? import_numbered(s, "INSERT OR REPLACE INTO sealed_anchor(page, record) VALUES(?, ?)", r)
               : rc;
}

bool store_import_put(struct store *s, const struct store_raw *r, struct refusal *why)
{
    int rc;

    if (r->record.len > RECORD_MAX || (r->kind != STORE_RAW_SLOT && r->record.len < RECORD_OVERHEAD) ||
        (r->kind == STORE_RAW_SLOT && (r->number >= STORE_SLOTS_MAX || r->record.len > STORE_SLOT_MAX)))
        return refuse(why, "bad_backup", "use another backup", "a record of %zu bytes cannot be one",
                      r->record.len);
    if (r->kind == STORE_RAW_ROW)
        rc = import_row(s, r->record);
    else if (r->kind == STORE_RAW_SLOT)
        rc = import_numbered(s, "INSERT OR REPLACE INTO slot(number, record) VALUES(?, ?)", r);
    else if (r->kind == STORE_RAW_ANCHOR)
        rc = import_anchor(s, r);
    else
        rc = import_numbered(s, "INSERT OR REPLACE INTO sealed_change(epoch, record) VALUES(?, ?)", r);
    return rc == SQLITE_OK || db_refuse(s, "import", rc, why);
}

bool store_import_forget_slots(struct store *s, struct refusal *why)
{
    int rc = db_exec(s, "DELETE FROM slot");

    return rc == SQLITE_OK || db_refuse(s, "import", rc, why);
}

bool store_import_mark(struct store *s, struct refusal *why)
{
    int rc = db_exec(s, "RELEASE mark; SAVEPOINT mark");

    return rc == SQLITE_OK || db_refuse(s, "import", rc, why);
}

bool store_import_drop(struct store *s, struct refusal *why)
{
    int rc = db_exec(s, "ROLLBACK TO mark");

    return rc == SQLITE_OK || db_refuse(s, "import", rc, why);
}

bool store_import_end(struct store *s, struct refusal *why)
{
    int rc = db_exec(s, "COMMIT");

    return rc == SQLITE_OK || db_refuse(s, "import", rc, why);
}
