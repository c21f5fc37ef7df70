/* Opening with the root key: the chain first, then every row against it. */
#include "ctrl/store/internal.h"

#include "base/check.h"
#include "base/cursor.h"
#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <stdlib.h>

/* ---- rows ---- */

static bool row_verify(struct store *s, sqlite3_stmt *st, struct expected_table *t, uint8_t *room,
                       struct store_row *out, struct refusal *why)
{
    struct place p;
    struct sealed r;
    uint8_t hash[MBED_DIGEST_LEN];
    struct span raw = db_column(st, 3);
    struct expected *e = db_place(st, &p) ? expected_find(t, &p) : NULL;

    if (e == NULL)
        return row_refuse(s, "store_row_alien", "was written by no change of this store", &p, why);
    mbed_sha256(raw, hash);
    if (raw.len > STORE_RECORD_MAX || memcmp(hash, e->hash, MBED_DIGEST_LEN) != 0 ||
        !sealed_open(s, raw, room, &r) || !place_equal(&r.place, &p) || r.epoch != e->epoch)
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
    return level_check(s, level, why);
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
    uint8_t room[STORE_RECORD_MAX];
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

/* ---- the root key ---- */

bool store_is_root(struct store *s, const uint8_t *srk)
{
    uint8_t want[MBED_KEY_LEN], have[MBED_KEY_LEN];
    size_t len = db_meta_get(s, "root_check", have, sizeof have);

    store_derive(srk, "root check", s->shard, want);
    return len == 0 || (len == sizeof have && secret_equal(want, have, sizeof want));
}

/* The root key is known by a value derived from it, so that a wrong one is named as such. */
static bool check_root(struct store *s, const uint8_t *srk, struct refusal *why)
{
    uint8_t check[MBED_KEY_LEN];
    int rc = SQLITE_OK;

    if (db_meta_get(s, "root_check", check, sizeof check) == 0) {
        store_derive(srk, "root check", s->shard, check);
        rc = db_meta_put(s, "root_check", span_of(check, sizeof check));
    }
    if (rc != SQLITE_OK)
        return db_refuse(s, "write root check", rc, why);
    if (!store_is_root(s, srk))
        return refuse(why, "store_wrong_root", "open the slot that belongs to this store",
                      "%s was written under another root key", s->file);
    return true;
}

struct mbed_aead *rows_aead(const struct store *s, const uint8_t *srk)
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
    bool ok = head_read(s, &head, why) && chain_load(s, &t, &head, why) &&
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
