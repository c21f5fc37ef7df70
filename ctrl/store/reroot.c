/* How: everything is sealed anew inside one transaction; the head under the new root lies beside the old one
 * until that is committed. */
#include "ctrl/store/internal.h"

#include "base/check.h"
#include "base/cursor.h"
#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The old keys open, the new ones, which s has already, seal. */
struct reroot {
    struct store *s;
    struct mbed_aead *old;
    const struct store_reroot *r;
    struct expected_table rows;        /* each with the hash that it has now */
    uint8_t fork[16];                  /* random */
    uint8_t anchored[MBED_DIGEST_LEN]; /* the chain's hash at the anchor under the new root */
    uint8_t room[STORE_RECORD_MAX], body[STORE_BODY_MAX], record[STORE_RECORD_MAX];
};

static bool reroot_row(struct reroot *x, const struct place *p, struct span raw, sqlite3_stmt *write,
                       struct refusal *why)
{
    struct sealed r;
    struct store_row row = {.kind = p->kind, .sub = p->sub};
    uint8_t hash[MBED_DIGEST_LEN];

    if (raw.len > STORE_RECORD_MAX || !sealed_open_with(x->s, x->old, raw, x->room, &r) ||
        !place_equal(&r.place, p))
        return row_refuse(x->s, "store_row_changed", "was altered since ww-ctrl was started", p, why);
    memcpy(row.id, p->id, KEY_ID_LEN);
    row.epoch = r.epoch;
    row.body = r.body;
    size_t len = x->r->body(x->r->ctx, &row, x->body);
    len = sealed_write(x->s, p, r.epoch, r.prev, span_of(x->body, len), x->record, sizeof x->record);
    mbed_sha256(span_of(x->record, len), hash);
    expected_set(&x->rows, p, r.epoch, span_of(hash, sizeof hash));
    sqlite3_bind_blob(write, 1, x->record, (int)len, SQLITE_STATIC);
    db_place_bind(write, 2, p);
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
        struct span raw = db_column(read, 3);

        ok = db_place(read, &p) ? reroot_row(x, &p, raw, write, why)
                                : row_refuse(x->s, "store_row_alien", "has no place", &p, why);
        sqlite3_reset(read);
        at = p;
        db_place_bind(read, 1, &at);
    }
    return ok && (rc == SQLITE_DONE || db_refuse(x->s, "read rows", rc, why));
}

/* The hashes of rows as they are now; of what was overwritten since, the old one, which nothing is compared with. */
static void change_refresh(struct reroot *x, const struct sealed *change)
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
    struct sealed r;

    if (raw.len > STORE_RECORD_MAX || !sealed_open_with(s, x->old, raw, x->room, &r) || r.epoch != epoch ||
        r.place.kind != STORE_CHANGE || r.body.len < 4)
        return chain_broken(s, epoch, why);
    change_refresh(x, &r);
    size_t len =
        sealed_write(s, &r.place, epoch, s->head, span_of(x->body, r.body.len), x->record, sizeof x->record);
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

    chain_genesis(x->s, x->s->head);
    if (x->s->level >= STORE_LEVEL_ANCHORS)
        return reroot_anchor(x, why);
    for (uint64_t epoch = 1; ok && epoch <= x->s->epoch; epoch++) {
        sqlite3_bind_int64(read, 1, (sqlite3_int64)epoch);
        int rc = sqlite3_step(read);
        ok = rc == SQLITE_ROW ? reroot_change(x, epoch, db_column(read, 0), write, why)
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
        struct sealed r;

        CHECK(sealed_open_with(s, x->old, span_of(w->record, w->len), x->room, &r));
        w->len = sealed_write(s, &w->place, s->epoch + 1, s->head, r.body, w->record, w->len);
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
    int rc = db_meta_put(s, "root_check", span_of(check, sizeof check));
    if (rc == SQLITE_OK)
        rc = change_write(s, span_of(change, len));
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
    db_rollback(s);
    memcpy(s->head, head, sizeof head);
    if (!s->failed) /* else the commit may have been done: whoever opens it next finds out by the root key */
        (void)unlink(s->next_head_file);
    return false;
}

bool store_reroot(struct store *s, const uint8_t *srk, const struct store_reroot *r, struct refusal *why)
{
    if (!change_allowed(s, why))
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
