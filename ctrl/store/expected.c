/* What the chain says each row must be; and how it is said that one is not. */
#include "ctrl/store/internal.h"

#include "base/check.h"
#include "base/cursor.h"
#include "base/siphash.h"

#include <stdio.h>
#include <stdlib.h>

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

bool chain_broken(const struct store *s, uint64_t epoch, struct refusal *why)
{
    return refuse(why, "store_chain_broken", "keep the file as it is and restore a backup",
                  "%s: the change of epoch %llu is missing, altered or does not follow the one before",
                  s->file, (unsigned long long)epoch);
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
