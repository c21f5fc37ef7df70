/* How: an anchor says of every row what the changes up to its epoch said, and takes their place. */
#include "ctrl/store/internal.h"

#include "base/check.h"
#include "base/cursor.h"

#include <stdlib.h>

#define ANCHOR_ROWS      256 /* in one page */
#define ANCHOR_ENTRY_LEN (1 + KEY_ID_LEN + 4 + 8 + MBED_DIGEST_LEN)
#define ANCHOR_BODY_MAX  (4 + 4 + ANCHOR_ROWS * ANCHOR_ENTRY_LEN)

_Static_assert(ANCHOR_BODY_MAX <= STORE_BODY_MAX, "a page is a record");

/* ---- read ---- */

#if STORE_LEVEL_MAX >= STORE_LEVEL_ANCHORS

static bool has_anchor(struct store *s)
{
    sqlite3_stmt *st = NULL;
    bool has = db_prepare(s, "SELECT 1 FROM sqlite_schema WHERE name = 'sealed_anchor'", &st) == SQLITE_OK &&
               sqlite3_step(st) == SQLITE_ROW;

    sqlite3_finalize(st);
    return has;
}

static bool anchor_apply(struct expected_table *t, const struct sealed *page, uint32_t *pages)
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
    uint8_t room[STORE_RECORD_MAX];
    uint32_t pages = 0, count = 0;

    while ((*rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct span raw = db_column(st, 1);
        struct sealed r;
        uint32_t of;

        if (sqlite3_column_int64(st, 0) != count || raw.len > sizeof room || !sealed_open(s, raw, room, &r) ||
            !place_equal(&r.place, &(struct place){.kind = STORE_ANCHOR, .sub = count}) || r.epoch == 0 ||
            !anchor_apply(t, &r, &of) ||
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

bool anchor_load(struct store *s, struct expected_table *t, struct refusal *why)
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

bool anchor_load(struct store *s, struct expected_table *t, struct refusal *why)
{
    (void)s;
    (void)t;
    (void)why;
    return true;
}

#endif

/* ---- written ---- */

static int anchor_page_write(struct store *s, sqlite3_stmt *st, uint32_t page, struct span body)
{
    uint8_t record[ANCHOR_BODY_MAX + SEALED_OVERHEAD];
    struct place p = {.kind = STORE_ANCHOR, .sub = page};
    size_t len = sealed_write(s, &p, s->epoch, s->head, body, record, sizeof record);

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

int anchor_table(struct store *s)
{
    return db_exec(s, "CREATE TABLE IF NOT EXISTS sealed_anchor"
                      "(page INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT");
}

int anchor_write(struct store *s, const struct expected_table *t)
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

void anchor_take(struct store *s, uint64_t epoch, const uint8_t hash[MBED_DIGEST_LEN],
                 const struct expected_table *t)
{
    s->base = epoch;
    memcpy(s->base_hash, hash, MBED_DIGEST_LEN);
    s->anchor_pages = anchor_pages_of(t);
    s->anchor_rows = t->count;
}
