/* The chain of changes, and what it says each row must be. */
#include "ctrl/store/internal.h"

#include "base/check.h"
#include "base/cursor.h"
#include "base/siphash.h"

#include <stdio.h>
#include <stdlib.h>

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

struct expected *expected_find(struct expected_table *t, const struct place *p)
{
    if (t->cap == 0)
        return NULL;
    struct expected *e = &t->slots[place_slot(t, p)];
    return e->used ? e : NULL;
}

void expected_set(struct expected_table *t, const struct place *p, uint64_t epoch, struct span hash)
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

/* ---- the chain itself ---- */

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

bool chain_broken(const struct store *s, uint64_t epoch, struct refusal *why)
{
    return refuse(why, "store_chain_broken", "keep the file as it is and restore a backup",
                  "%s: the change of epoch %llu is missing, altered or does not follow the one before",
                  s->file, (unsigned long long)epoch);
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

static const char *kind_name(uint8_t kind)
{
    static const char *const names[] = {"change", "key",   "version",    "policy", "trust",
                                        "head",   "clock", "import key", "level",  "anchor"};

    if (kind == STORE_SLOT)
        return "slot";
    return kind < sizeof names / sizeof names[0] ? names[kind] : "unknown";
}

bool row_refuse(const struct store *s, const char *code, const char *what, const struct place *p,
                struct refusal *why)
{
    char id[2 * KEY_ID_LEN + 1];

    for (size_t i = 0; i < KEY_ID_LEN; i++)
        snprintf(id + 2 * i, 3, "%02x", p->id[i]);
    return refuse(why, code, "keep the file as it is and restore a backup", "%s: the row %s %s %u %s",
                  s->file, kind_name(p->kind), id, p->sub, what);
}
