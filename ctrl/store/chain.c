/* The chain: an anchor, where there is one, and the changes since. */
#include "ctrl/store/internal.h"

#include "base/check.h"
#include "base/cursor.h"

static bool change_apply(struct expected_table *t, const struct sealed *change)
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

void chain_genesis(const struct store *s, uint8_t out[MBED_DIGEST_LEN])
{
    uint8_t text[64];
    struct writer w = writer_of(text, sizeof text);

    write_bytes(&w, span_str("wirewrap store 1"));
    write_u16(&w, s->shard);
    write_bytes(&w, span_of(s->store_id, STORE_ID_LEN));
    mbed_sha256(writer_span(&w), out);
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

static bool walk_changes(struct store *s, sqlite3_stmt *st, struct expected_table *t, const struct head *head,
                         int *rc, struct refusal *why)
{
    uint8_t room[STORE_RECORD_MAX];

    while ((*rc = sqlite3_step(st)) == SQLITE_ROW) {
        uint64_t epoch = (uint64_t)sqlite3_column_int64(st, 0);
        struct span raw = db_column(st, 1);
        struct sealed r;

        if (epoch != s->epoch + 1 || raw.len > sizeof room || !sealed_open(s, raw, room, &r) ||
            !place_equal(&r.place, &(struct place){.kind = STORE_CHANGE}) || r.epoch != epoch ||
            memcmp(r.prev, s->head, MBED_DIGEST_LEN) != 0 || !change_apply(t, &r))
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

bool chain_load(struct store *s, struct expected_table *t, const struct head *head, struct refusal *why)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s, "SELECT epoch, record FROM sealed_change ORDER BY epoch", &st);

    if (rc != SQLITE_OK)
        return db_refuse(s, "read changes", rc, why);
    chain_genesis(s, s->head);
    bool ok = anchor_load(s, t, why);
    if (s->base != 0)
        memcpy(s->head, s->base_hash, MBED_DIGEST_LEN);
    s->epoch = s->base;
    if (ok && head->present && head->epoch == s->epoch && memcmp(head->hash, s->head, MBED_DIGEST_LEN) != 0)
        ok = rolled_back(s, head, why);
    ok = ok && walk_changes(s, st, t, head, &rc, why);
    sqlite3_finalize(st);
    return ok;
}
