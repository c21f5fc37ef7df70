/* A sealed record: the only form in which anything of ours is stored. */
#include "ctrl/store/internal.h"

#include "base/check.h"
#include "base/cursor.h"

#define SEALED_VERSION 1

void store_derive(const uint8_t *srk, const char *label, uint16_t shard, uint8_t out[MBED_KEY_LEN])
{
    uint8_t info[96];
    struct writer w = writer_of(info, sizeof info);

    write_bytes(&w, span_str("wirewrap 1 "));
    write_bytes(&w, span_str(label));
    write_u8(&w, 0);
    write_u16(&w, shard);
    CHECK(writer_ok(&w));
    mbed_hkdf(srk, writer_span(&w), out, MBED_KEY_LEN);
}

size_t sealed_write(struct store *s, const struct place *p, uint64_t epoch,
                    const uint8_t prev[MBED_DIGEST_LEN], struct span body, uint8_t *out, size_t cap)
{
    struct writer w = writer_of(out, cap);
    uint8_t nonce[MBED_NONCE_LEN];

    write_u8(&w, SEALED_VERSION);
    write_u8(&w, p->kind);
    write_u16(&w, s->shard);
    write_u32(&w, p->sub);
    write_u64(&w, epoch);
    write_bytes(&w, span_of(p->id, KEY_ID_LEN));
    write_bytes(&w, span_of(prev, MBED_DIGEST_LEN));
    mbed_random(s->rng, nonce, sizeof nonce);
    write_bytes(&w, span_of(nonce, sizeof nonce));
    CHECK(writer_ok(&w) && cap - w.len >= body.len + MBED_TAG_LEN);
    mbed_seal(s->aead, nonce, span_of(out, SEALED_HEAD_LEN), body, out + w.len);
    return w.len + body.len + MBED_TAG_LEN;
}

bool sealed_open_with(const struct store *s, struct mbed_aead *aead, struct span raw, uint8_t *room,
                      struct sealed *out)
{
    struct cursor c = cursor_of(raw);
    uint8_t version = cursor_u8(&c);

    out->place.kind = cursor_u8(&c);
    uint16_t shard = cursor_u16(&c);
    out->place.sub = cursor_u32(&c);
    out->epoch = cursor_u64(&c);
    struct span id = cursor_take(&c, KEY_ID_LEN);
    struct span prev = cursor_take(&c, MBED_DIGEST_LEN);
    struct span nonce = cursor_take(&c, MBED_NONCE_LEN);
    struct span sealed = cursor_take(&c, c.left);

    if (!cursor_ok(&c) || version != SEALED_VERSION || shard != s->shard || sealed.len < MBED_TAG_LEN)
        return false;
    memcpy(out->place.id, id.ptr, KEY_ID_LEN);
    memcpy(out->prev, prev.ptr, MBED_DIGEST_LEN);
    if (!mbed_open(aead, nonce.ptr, span_of(raw.ptr, SEALED_HEAD_LEN), sealed, room))
        return false;
    out->body = span_of(room, sealed.len - MBED_TAG_LEN);
    return true;
}

bool sealed_open(struct store *s, struct span raw, uint8_t *room, struct sealed *out)
{
    return sealed_open_with(s, s->aead, raw, room, out);
}

bool place_equal(const struct place *a, const struct place *b)
{
    return a->kind == b->kind && a->sub == b->sub && memcmp(a->id, b->id, KEY_ID_LEN) == 0;
}
