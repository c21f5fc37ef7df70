/* An age file as a stream.  Both sides hold back the newest chunk until they know whether it is the last one,
 * since its nonce says so. */
#include "base/check.h"
#include "base/cursor.h"
#include "base/secret.h"
#include "drivers/seal/age_crypt.h"
#include "proto/base64.h"

#define SEALED_CHUNK (AGE_CHUNK + AGE_TAG_LEN)
#define TEXT_LEN     43 /* of 32 bytes, without padding */

struct age_writer {
    age_sink sink;
    void *ctx;
    enum age_status status;
    uint8_t key[32];
    uint64_t number;
    size_t len;
    uint8_t plain[AGE_CHUNK];
    uint8_t sealed[SEALED_CHUNK];
};

struct age_reader {
    struct mbed_rng *rng;
    age_sink sink;
    void *ctx;
    enum age_status status;
    enum { IN_HEADER, IN_NONCE, IN_PAYLOAD } at;
    size_t identity_count;
    uint8_t identities[AGE_RECIPIENTS_MAX][AGE_KEY_LEN];
    uint8_t file_key[AGE_FILE_KEY_LEN];
    uint8_t key[32];
    uint64_t number;
    size_t len;
    uint8_t sealed[SEALED_CHUNK]; /* the header too, until it ends */
    uint8_t plain[AGE_CHUNK];
    struct age_header header;
};

_Static_assert(AGE_HEADER_MAX <= SEALED_CHUNK, "a header fits where a chunk does");

static void write_base64(struct writer *w, const uint8_t bytes[32])
{
    uint8_t text[BASE64_ENCODED_LEN(32)];

    base64_encode(span_of(bytes, 32), text);
    write_bytes(w, span_of(text, TEXT_LEN));
}

static bool write_stanza(struct mbed_rng *rng, const struct age_recipient *r,
                         const uint8_t file_key[AGE_FILE_KEY_LEN], struct writer *w)
{
    struct age_stanza s;

    if (!age_stanza_seal(rng, r, file_key, &s))
        return false;
    write_bytes(w, span_str("-> X25519 "));
    write_base64(w, s.share);
    write_bytes(w, span_str("\n"));
    write_base64(w, s.body);
    write_bytes(w, span_str("\n"));
    return true;
}

/* The header and the payload's nonce. */
static bool write_head(struct age_writer *w, struct mbed_rng *rng, const struct age_recipient *recipients,
                       size_t count, uint8_t file_key[AGE_FILE_KEY_LEN])
{
    struct writer head = writer_of(w->sealed, sizeof w->sealed);
    uint8_t mac[32], nonce[AGE_NONCE_LEN];

    mbed_random(rng, file_key, AGE_FILE_KEY_LEN);
    mbed_random(rng, nonce, sizeof nonce);
    write_bytes(&head, span_str("age-encryption.org/v1\n"));
    for (size_t i = 0; i < count; i++) {
        if (!write_stanza(rng, &recipients[i], file_key, &head))
            return false;
    }
    write_bytes(&head, span_str("---"));
    age_header_mac(file_key, writer_span(&head), mac);
    write_bytes(&head, span_str(" "));
    write_base64(&head, mac);
    write_bytes(&head, span_str("\n"));
    write_bytes(&head, span_of(nonce, sizeof nonce));
    CHECK(writer_ok(&head) && head.len == AGE_HEAD_LEN(count));
    age_payload_key(file_key, nonce, w->key);
    w->len = head.len;
    return true;
}

struct age_writer *age_writer_new(struct mbed_rng *rng, const struct age_recipient *recipients, size_t count,
                                  age_sink sink, void *ctx, enum age_status *status)
{
    struct age_writer *w = secret_pages_alloc(sizeof *w);
    uint8_t file_key[AGE_FILE_KEY_LEN];

    CHECK(count >= 1 && count <= AGE_RECIPIENTS_MAX);
    *status = AGE_NO_MEMORY;
    if (w == NULL)
        return NULL;
    w->sink = sink;
    w->ctx = ctx;
    *status = AGE_BAD_KEY;
    if (write_head(w, rng, recipients, count, file_key))
        *status = sink(ctx, span_of(w->sealed, w->len)) ? AGE_OK : AGE_NO_ROOM;
    secret_wipe(file_key, sizeof file_key);
    w->len = 0;
    if (*status == AGE_OK)
        return w;
    age_writer_free(w);
    return NULL;
}

static void writer_flush(struct age_writer *w, bool last)
{
    age_chunk_seal(w->key, w->number++, last, span_of(w->plain, w->len), w->sealed);
    if (!w->sink(w->ctx, span_of(w->sealed, w->len + AGE_TAG_LEN)))
        w->status = AGE_NO_ROOM;
    w->len = 0;
}

/* Moves what fits from *from to the end of to. */
static void fill(uint8_t *to, size_t cap, size_t *len, struct span *from)
{
    size_t part = from->len < cap - *len ? from->len : cap - *len;

    memcpy(to + *len, from->ptr, part);
    *len += part;
    *from = span_from(*from, part);
}

enum age_status age_writer_put(struct age_writer *w, struct span plain)
{
    while (plain.len != 0 && w->status == AGE_OK) {
        if (w->len == AGE_CHUNK)
            writer_flush(w, false);
        fill(w->plain, AGE_CHUNK, &w->len, &plain);
    }
    return w->status;
}

enum age_status age_writer_finish(struct age_writer *w)
{
    if (w->status == AGE_OK)
        writer_flush(w, true);
    return w->status;
}

void age_writer_free(struct age_writer *w)
{
    secret_pages_free(w, sizeof *w);
}

struct age_reader *age_reader_new(struct mbed_rng *rng, const uint8_t (*identities)[AGE_KEY_LEN],
                                  size_t count, age_sink sink, void *ctx)
{
    struct age_reader *r = secret_pages_alloc(sizeof *r);

    CHECK(count >= 1 && count <= AGE_RECIPIENTS_MAX);
    if (r == NULL)
        return NULL;
    r->rng = rng;
    r->sink = sink;
    r->ctx = ctx;
    r->identity_count = count;
    memcpy(r->identities, identities, count * AGE_KEY_LEN);
    return r;
}

static bool find_file_key(struct age_reader *r)
{
    for (size_t i = 0; i < r->identity_count; i++) {
        for (size_t s = 0; s < r->header.x25519_count; s++) {
            if (age_stanza_open(r->rng, r->identities[i], &r->header.x25519[s], r->file_key))
                return true;
        }
    }
    return false;
}

static enum age_status accept_header(struct age_reader *r)
{
    uint8_t mac[32];
    enum age_status status = age_header_parse(span_of(r->sealed, r->len), &r->header);

    if (status != AGE_OK)
        return status;
    if (!find_file_key(r))
        return AGE_NO_IDENTITY;
    age_header_mac(r->file_key, r->header.covered, mac);
    return secret_equal(mac, r->header.mac, sizeof mac) ? AGE_OK : AGE_BAD_MAC;
}

/* Line by line, so that a header that comes in single bytes is parsed once per line. */
static void read_header(struct age_reader *r, struct span *file)
{
    const uint8_t *end = memchr(file->ptr, '\n', file->len);
    size_t line = end == NULL ? file->len : (size_t)(end - file->ptr) + 1;
    size_t room = AGE_HEADER_MAX - r->len;
    struct span part = span_of(file->ptr, line < room ? line : room);

    *file = span_from(*file, part.len);
    fill(r->sealed, AGE_HEADER_MAX, &r->len, &part);
    if (end == NULL && r->len < AGE_HEADER_MAX && r->len > sizeof "age-encryption.org/v1")
        return;
    enum age_status status = accept_header(r);
    if (status == AGE_MORE)
        return;
    r->status = status;
    r->at = IN_NONCE;
    r->len = 0;
}

static void read_nonce(struct age_reader *r, struct span *file)
{
    fill(r->sealed, AGE_NONCE_LEN, &r->len, file);
    if (r->len < AGE_NONCE_LEN)
        return;
    age_payload_key(r->file_key, r->sealed, r->key);
    secret_wipe(r->file_key, sizeof r->file_key);
    r->at = IN_PAYLOAD;
    r->len = 0;
}

static bool open_chunk(struct age_reader *r, bool last)
{
    return age_chunk_open(r->key, r->number, last, span_of(r->sealed, r->len), r->plain);
}

static void give_chunk(struct age_reader *r)
{
    if (!r->sink(r->ctx, span_of(r->plain, r->len - AGE_TAG_LEN)))
        r->status = AGE_NO_ROOM;
    r->number += 1;
    r->len = 0;
}

static void read_payload(struct age_reader *r, struct span *file)
{
    if (r->len == SEALED_CHUNK) {
        if (!open_chunk(r, false)) {
            r->status = AGE_BAD_PAYLOAD;
            return;
        }
        give_chunk(r);
    }
    fill(r->sealed, SEALED_CHUNK, &r->len, file);
}

enum age_status age_reader_put(struct age_reader *r, struct span file)
{
    while (file.len != 0 && r->status == AGE_OK) {
        if (r->at == IN_HEADER)
            read_header(r, &file);
        else if (r->at == IN_NONCE)
            read_nonce(r, &file);
        else
            read_payload(r, &file);
    }
    return r->status;
}

/* What is held is the last chunk, which is empty only where the whole payload is. */
static enum age_status finish_payload(struct age_reader *r)
{
    if (r->len < AGE_TAG_LEN)
        return AGE_TRUNCATED;
    if (!open_chunk(r, true))
        return r->len == SEALED_CHUNK && open_chunk(r, false) ? AGE_TRUNCATED : AGE_BAD_PAYLOAD;
    if (r->len == AGE_TAG_LEN && r->number != 0)
        return AGE_BAD_PAYLOAD;
    give_chunk(r);
    return r->status;
}

static enum age_status finish_header(struct age_reader *r)
{
    enum age_status status = age_header_parse(span_of(r->sealed, r->len), &r->header);

    return status == AGE_NOT_AGE ? AGE_NOT_AGE : AGE_TRUNCATED;
}

enum age_status age_reader_finish(struct age_reader *r)
{
    if (r->status != AGE_OK)
        return r->status;
    if (r->at == IN_HEADER)
        r->status = finish_header(r);
    else
        r->status = r->at == IN_PAYLOAD ? finish_payload(r) : AGE_TRUNCATED;
    return r->status;
}

void age_reader_free(struct age_reader *r)
{
    secret_pages_free(r, sizeof *r);
}
