#include "ctrl/audit/audit.h"

#include "base/check.h"
#include "base/cursor.h"

#ifdef __SSE4_2__
#include <nmmintrin.h>
#endif

#define ENTRY_VERSION 1
#define BODY_FROM     8 /* version, kind, worker and the sum come before what the sum covers */

/* CRC-32C (RFC 3720 B.4): a torn or rotten entry, not a forged one.  Where the processor has an instruction for it, that; else bit
 * by bit from a table of nibbles. */
#ifdef __SSE4_2__
static uint32_t crc32c(uint32_t seed, struct span s)
{
    uint64_t crc = ~seed, eight;

    for (; s.len >= sizeof eight; s = span_from(s, sizeof eight)) {
        memcpy(&eight, s.ptr, sizeof eight);
        crc = _mm_crc32_u64(crc, eight);
    }
    for (size_t i = 0; i < s.len; i++)
        crc = _mm_crc32_u8((uint32_t)crc, s.ptr[i]);
    return ~(uint32_t)crc;
}
#else
static uint32_t crc32c(uint32_t seed, struct span s)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    uint32_t crc = ~seed;

    for (size_t i = 0; i < s.len; i++) {
        crc ^= s.ptr[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}
#endif

static uint32_t entry_sum(const uint8_t e[AUDIT_ENTRY_LEN])
{
    return crc32c(crc32c(0, span_of(e, 4)), span_of(e + BODY_FROM, AUDIT_ENTRY_LEN - BODY_FROM));
}

void audit_entry_encode(const struct audit_entry *e, uint8_t out[AUDIT_ENTRY_LEN])
{
    struct writer w = writer_of(out, AUDIT_ENTRY_LEN);
    const struct audit_record *r = &e->record;

    write_u8(&w, ENTRY_VERSION);
    write_u8(&w, e->kind);
    write_u16(&w, e->worker);
    write_u32(&w, 0);
    write_bytes(&w, span_of(e->boot_id, sizeof e->boot_id));
    write_u64(&w, e->seq);
    write_u64(&w, e->time_unix_us);
    write_u64(&w, e->count);
    write_bytes(&w, span_of(r->key_id, sizeof r->key_id));
    write_u32(&w, r->version);
    write_u32(&w, r->latency_ns);
    write_u16(&w, r->status);
    write_u32(&w, r->access_reason);
    write_u8(&w, r->op);
    write_u8(&w, r->flags);
    write_u8(&w, r->caller_len);
    write_bytes(&w, span_of(r->caller, sizeof r->caller));
    write_bytes(&w, span_of(e->verdict, sizeof e->verdict));
    CHECK(writer_ok(&w));
    memset(out + w.len, 0, AUDIT_ENTRY_LEN - w.len);
    w = writer_of(out + 4, 4);
    write_u32(&w, entry_sum(out));
}

bool audit_entry_decode(const uint8_t in[AUDIT_ENTRY_LEN], struct audit_entry *out)
{
    struct cursor c = cursor_of(span_of(in, AUDIT_ENTRY_LEN));
    struct audit_record *r = &out->record;
    uint8_t version = cursor_u8(&c);

    *out = (struct audit_entry){.kind = cursor_u8(&c)};
    out->worker = cursor_u16(&c);
    if (cursor_u32(&c) != entry_sum(in) || version != ENTRY_VERSION || out->kind < AUDIT_RECORD ||
        out->kind > AUDIT_UNKNOWN)
        return false;
    memcpy(out->boot_id, cursor_take(&c, sizeof out->boot_id).ptr, sizeof out->boot_id);
    out->seq = r->seq = cursor_u64(&c);
    out->time_unix_us = r->time_unix_us = cursor_u64(&c);
    out->count = cursor_u64(&c);
    memcpy(r->key_id, cursor_take(&c, sizeof r->key_id).ptr, sizeof r->key_id);
    r->version = cursor_u32(&c);
    r->latency_ns = cursor_u32(&c);
    r->status = cursor_u16(&c);
    r->access_reason = cursor_u32(&c);
    r->op = cursor_u8(&c);
    r->flags = cursor_u8(&c);
    r->caller_len = cursor_u8(&c);
    memcpy(r->caller, cursor_take(&c, sizeof r->caller).ptr, sizeof r->caller);
    memcpy(out->verdict, cursor_take(&c, sizeof out->verdict).ptr, sizeof out->verdict);
    out->verdict[AUDIT_VERDICT_CAP - 1] = '\0';
    CHECK(cursor_ok(&c));
    return r->caller_len <= AUDIT_CALLER_CAP;
}
