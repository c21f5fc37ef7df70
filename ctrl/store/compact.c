/* How: every row is compared with the chain first, then an anchor of what was found takes the place of all changes. */
#include "ctrl/store/internal.h"

#include "base/check.h"

#include <stdlib.h>

/* Every row is what the chain expects; nothing that was altered while we ran is vouched for anew. */
static bool compare_rows(struct store *s, sqlite3_stmt *st, struct expected_table *t, struct refusal *why)
{
    size_t seen = 0;
    int rc;

    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct place p;
        uint8_t hash[MBED_DIGEST_LEN];
        const struct expected *e = db_place(st, &p) ? expected_find(t, &p) : NULL;

        mbed_sha256(db_column(st, 3), hash);
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
    bool ok = chain_load(s, t, &now, why);
    s->epoch = now.epoch;
    memcpy(s->head, now.hash, MBED_DIGEST_LEN);
    if (!ok)
        return false;
    int rc = db_prepare(s, "SELECT kind, id, sub, record FROM sealed_row", &st);
    ok = rc == SQLITE_OK ? compare_rows(s, st, t, why) : db_refuse(s, "read rows", rc, why);
    sqlite3_finalize(st);
    return ok;
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

bool compact(struct store *s, struct refusal *why)
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
        db_rollback(s);
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
