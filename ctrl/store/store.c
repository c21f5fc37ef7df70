/* How: rows are sealed in memory as they are put; the SQLite transaction happens whole inside store_commit, so
 * that nothing is ever half done between two calls.  The chain is what is trusted, the tables are only storage:
 * whatever SQLite gives back is compared with what the chain says before it is believed. */
#include "ctrl/store/internal.h"

#include "base/check.h"
#include "base/cursor.h"
#include "base/log.h"
#include "ctrl/lib/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define CHECKPOINT_COMMITS 256
#define LEVEL_BODY_LEN     2

static const char schema[] =
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE slot(number INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;"
    "CREATE TABLE sealed_row(kind INTEGER, id BLOB, sub INTEGER, record BLOB NOT NULL,"
    " PRIMARY KEY(kind, id, sub)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE sealed_change(epoch INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;";

static const uint8_t no_id[KEY_ID_LEN];

/* ---- opening ---- */

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

int level_note(struct store *s, uint8_t level)
{
    uint8_t digit = (uint8_t)('0' + level);

    return db_meta_put(s, "format", span_of(&digit, 1));
}

bool level_check(const struct store *s, uint8_t level, struct refusal *why)
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
    char dir[PATH_MAX];
    int rc = db_exec(s, "BEGIN IMMEDIATE");

    mbed_random(s->rng, s->store_id, sizeof s->store_id);
    if (rc == SQLITE_OK)
        rc = db_exec(s, schema);
    if (rc == SQLITE_OK)
        rc = level_note(s, STORE_LEVEL_MIN);
    if (rc == SQLITE_OK)
        rc = db_meta_put(s, "store_id", span_of(s->store_id, sizeof s->store_id));
    if (rc == SQLITE_OK)
        rc = db_meta_put(s, "shard", span_of(shard, sizeof shard));
    if (rc == SQLITE_OK)
        rc = db_exec(s, "COMMIT");
    if (rc != SQLITE_OK)
        (void)db_exec(s, "ROLLBACK");
    file_dir_of(s->file, dir);
    file_sync_dir(dir);
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

    if (db_meta_get(s, "format", format, sizeof format) != 1 || format[0] < '0' || format[0] > '9' ||
        db_meta_get(s, "store_id", s->store_id, STORE_ID_LEN) != STORE_ID_LEN ||
        db_meta_get(s, "shard", shard, sizeof shard) != 2)
        return refuse(why, "store_format", "point ctrl.state_dir at this version's store",
                      "%s is not a store that this version knows", s->file);
    if (((unsigned)shard[0] << 8 | shard[1]) != s->shard)
        return refuse(why, "store_format", "point ctrl.state_dir at this shard's store",
                      "%s belongs to shard %u, not to %u", s->file, (unsigned)shard[0] << 8 | shard[1],
                      s->shard);
    s->level = (uint8_t)(format[0] - '0');
    return level_check(s, s->level, why);
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
        struct span v = db_column(st, 0);

        len = v.len < STORE_SLOT_MAX ? v.len : STORE_SLOT_MAX;
        memcpy(out, v.ptr, len);
    }
    sqlite3_finalize(st);
    return len;
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
    w->record = malloc(body.len + SEALED_OVERHEAD);
    CHECK(w->record != NULL);
    w->len = sealed_write(s, &w->place, s->epoch + 1, s->head, body, w->record, body.len + SEALED_OVERHEAD);
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

size_t change_seal(struct store *s, uint8_t *out, size_t cap)
{
    uint8_t body[CHANGE_BODY_MAX];
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
    return sealed_write(s, &p, s->epoch + 1, s->head, writer_span(&w), out, cap);
}

static int row_write(struct store *s, const struct write *w)
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
static int slot_set(struct store *s, uint32_t number, struct span slot)
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
    int rc = slot_set(s, number, slot);

    return rc == SQLITE_OK || db_refuse(s, "mend slot", rc, why);
}

static int change_insert(struct store *s, uint64_t epoch, struct span record)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s, "INSERT INTO sealed_change(epoch, record) VALUES(?, ?)", &st);

    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_int64(st, 1, (sqlite3_int64)epoch);
    sqlite3_bind_blob(st, 2, record.ptr, (int)record.len, SQLITE_STATIC);
    return db_finish(st);
}

int change_write(struct store *s, struct span change)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < s->write_count; i++) {
        const struct write *w = &s->writes[i];

        rc = row_write(s, w);
        if (rc == SQLITE_OK && w->place.kind == STORE_SLOT)
            rc = slot_set(s, w->place.sub, span_of(w->slot, w->slot_len));
        if (rc == SQLITE_OK && w->place.kind == STORE_LEVEL)
            rc = level_note(s, s->next_level);
    }
    return rc == SQLITE_OK ? change_insert(s, s->epoch + 1, change) : rc;
}

static int change_transact(struct store *s, struct span change)
{
    int rc = db_exec(s, "BEGIN IMMEDIATE");

    if (rc == SQLITE_OK)
        rc = change_write(s, change);
    return rc == SQLITE_OK ? db_exec(s, "COMMIT") : rc;
}

bool failed_before(const struct store *s, struct refusal *why)
{
    return refuse(why, "store_io", "check the disk, then restart ww-ctrl",
                  "%s: an earlier write failed: no change is accepted until a restart", s->file);
}

bool change_allowed(struct store *s, struct refusal *why)
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

    db_rollback(s);
    store_abandon(s);
    return refused;
}

bool store_commit(struct store *s, struct refusal *why)
{
    uint8_t change[CHANGE_MAX];

    if (!change_allowed(s, why))
        return false;
    size_t len = change_seal(s, change, sizeof change);
    int rc = change_transact(s, span_of(change, len));
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
