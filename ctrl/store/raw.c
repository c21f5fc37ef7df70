/* Records as they lie in the file, out to backups and in from them: nothing here opens one to judge it. */
#include "ctrl/store/internal.h"

#include "base/cursor.h"
#include "base/log.h"

/* ---- out ---- */

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
    if (db_meta_get(s, "root_check", out->root, sizeof out->root) != sizeof out->root)
        log_error("the store does not name its root key", F("file", s->file));
}

/* Every row of the statement: (number, record). */
static bool raw_walk(struct store *s, sqlite3_stmt *st, enum store_raw_kind kind, store_raw_sink sink,
                     void *ctx)
{
    int rc;
    bool ok = true;

    while (ok && (rc = sqlite3_step(st)) == SQLITE_ROW)
        ok = sink(ctx, &(struct store_raw){kind, (uint64_t)sqlite3_column_int64(st, 0), db_column(st, 1)});
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
        ok = db_place(st, &p) && sink(ctx, &(struct store_raw){STORE_RAW_ROW, 0, db_column(st, 3)});
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

static bool raw_rows_of(struct store *s, const struct sealed *change, store_raw_sink sink, void *ctx)
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

/* The record of a change, copied to out (STORE_RECORD_MAX bytes); 0: there is none, or it could not be read. */
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
    if (rc == SQLITE_ROW && db_column(st, 0).len <= STORE_RECORD_MAX) {
        struct span raw = db_column(st, 0);

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
    uint8_t raw[STORE_RECORD_MAX], room[STORE_RECORD_MAX];
    struct sealed r;
    size_t len = change_read(s, epoch, raw);

    return len != 0 && sink(ctx, &(struct store_raw){STORE_RAW_CHANGE, epoch, span_of(raw, len)}) &&
           (!with_rows || (sealed_open(s, span_of(raw, len), room, &r) && raw_rows_of(s, &r, sink, ctx)));
}

/* Of an import, which is not unlocked: as the first page says in the clear. */
static bool anchor_hash_of_import(struct store *s, uint64_t epoch, uint8_t out[MBED_DIGEST_LEN])
{
    sqlite3_stmt *st = NULL;
    bool found = false;

    if (s->aead == NULL &&
        db_prepare(s, "SELECT record FROM sealed_anchor WHERE page = 0", &st) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW && db_column(st, 0).len >= SEALED_OVERHEAD) {
        struct cursor c = cursor_of(db_column(st, 0));

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
    uint8_t raw[STORE_RECORD_MAX];
    size_t len;

    if (epoch == 0) {
        chain_genesis(s, out);
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

/* ---- in ---- */

static int import_begin(struct store *s, const struct store_identity *id)
{
    int rc = db_exec(s, "BEGIN IMMEDIATE; DELETE FROM meta WHERE name = 'store_id'");

    memcpy(s->store_id, id->store_id, STORE_ID_LEN);
    if (rc == SQLITE_OK)
        rc = db_meta_put(s, "store_id", span_of(s->store_id, STORE_ID_LEN));
    if (rc == SQLITE_OK)
        rc = db_meta_put(s, "root_check", span_of(id->root, sizeof id->root));
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

    if (r->record.len > STORE_RECORD_MAX || (r->kind != STORE_RAW_SLOT && r->record.len < SEALED_OVERHEAD) ||
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
