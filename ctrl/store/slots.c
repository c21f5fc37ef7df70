#include "ctrl/store/slots.h"

#include "base/check.h"
#include "base/cursor.h"

#include <stdio.h>

#define ROW_VERSION 1

struct span slot_span(const struct slot *s)
{
    return span_of(s->record, s->len);
}

size_t slots_encode(const struct slot *s, uint8_t *out)
{
    struct writer w = writer_of(out, SLOTS_BODY_MAX);

    if (s->len == 0)
        return 0;
    write_u8(&w, ROW_VERSION);
    write_u64(&w, (uint64_t)s->made_unix_s);
    write_u64(&w, (uint64_t)s->sealed_unix_s);
    write_u64(&w, (uint64_t)s->opened_unix_s);
    write_bytes(&w, slot_span(s));
    CHECK(writer_ok(&w));
    return w.len;
}

bool slots_decode(struct slots *s, const struct store_row *row)
{
    static const uint8_t no_id[KEY_ID_LEN];
    struct cursor c = cursor_of(row->body);

    if (row->sub >= STORE_SLOTS_MAX || memcmp(row->id, no_id, KEY_ID_LEN) != 0)
        return false;
    struct slot *at = &s->at[row->sub];
    s->vouched = true;
    *at = (struct slot){0};
    if (row->body.len == 0)
        return true;
    uint8_t version = cursor_u8(&c);
    at->made_unix_s = (int64_t)cursor_u64(&c);
    at->sealed_unix_s = (int64_t)cursor_u64(&c);
    at->opened_unix_s = (int64_t)cursor_u64(&c);
    struct span record = cursor_take(&c, c.left);
    if (!cursor_ok(&c) || version != ROW_VERSION || record.len == 0 || record.len > SEAL_SLOT_MAX)
        return false;
    memcpy(at->record, record.ptr, record.len);
    at->len = record.len;
    return true;
}

void slots_read(struct store *s, int64_t now_unix_s, struct slots *out)
{
    *out = (struct slots){0};
    for (uint8_t i = 0; i < STORE_SLOTS_MAX; i++) {
        out->at[i].len = store_slot_get(s, i, out->at[i].record);
        out->at[i].made_unix_s = out->at[i].sealed_unix_s = out->at[i].len != 0 ? now_unix_s : 0;
    }
}

struct slots_count slots_count(const struct slots *s)
{
    struct slots_count c = {0};

    for (size_t i = 0; i < STORE_SLOTS_MAX; i++) {
        const struct slot *at = &s->at[i];
        bool offline = at->len != 0 && seal_kind_is_offline(at->record[1]);

        if (at->len == 0)
            continue;
        c.online += !offline && at->opened_unix_s != 0;
        c.offline += offline && at->opened_unix_s != 0;
        c.online_new += !offline && at->opened_unix_s == 0;
        c.offline_new += offline && at->opened_unix_s == 0;
    }
    return c;
}

bool slots_enough(const struct slots_count *c)
{
    return c->online >= SLOTS_ONLINE_MIN && c->offline >= SLOTS_OFFLINE_MIN;
}

static unsigned lacking(unsigned have, unsigned min)
{
    return have < min ? min - have : 0;
}

void slots_missing(const struct slots_count *c, char *out, size_t cap)
{
    unsigned online = lacking(c->online, SLOTS_ONLINE_MIN), offline = lacking(c->offline, SLOTS_OFFLINE_MIN);

    snprintf(out, cap, "%u online and %u offline slot%s", online, offline, offline == 1 ? "" : "s");
}

uint8_t slots_free_number(const struct slots *s)
{
    uint8_t n = 0;

    while (n < STORE_SLOTS_MAX && s->at[n].len != 0)
        n++;
    return n;
}
