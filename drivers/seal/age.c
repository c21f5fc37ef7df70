#include "drivers/seal/age.h"

#include "base/secret.h"

static bool put_in_buf(void *ctx, struct span bytes)
{
    return buf_put(ctx, bytes);
}

static enum age_status keep_or_undo(enum age_status status, struct buf *out, size_t before)
{
    if (status != AGE_OK) {
        secret_wipe(out->ptr + before, out->len - before);
        out->len = before;
    }
    return status;
}

enum age_status age_encrypt(struct mbed_rng *rng, const struct age_recipient *recipients, size_t count,
                            struct span plain, struct buf *out)
{
    size_t before = out->len;
    enum age_status status;
    struct age_writer *w = age_writer_new(rng, recipients, count, put_in_buf, out, &status);

    if (w != NULL) {
        status = age_writer_put(w, plain);
        if (status == AGE_OK)
            status = age_writer_finish(w);
        age_writer_free(w);
    }
    return keep_or_undo(status, out, before);
}

enum age_status age_decrypt(struct mbed_rng *rng, const uint8_t identity[AGE_KEY_LEN], struct span file,
                            struct buf *out)
{
    size_t before = out->len;
    enum age_status status = AGE_NO_MEMORY;
    struct age_reader *r = age_reader_new(rng, (const uint8_t(*)[AGE_KEY_LEN])identity, 1, put_in_buf, out);

    if (r != NULL) {
        status = age_reader_put(r, file);
        if (status == AGE_OK)
            status = age_reader_finish(r);
        age_reader_free(r);
    }
    return keep_or_undo(status, out, before);
}

const char *age_status_text(enum age_status s)
{
    switch (s) {
    case AGE_OK:
        return "opened";
    case AGE_MORE:
        return "the header is not complete";
    case AGE_BAD_KEY:
        return "not a usable age key";
    case AGE_NOT_AGE:
        return "not an age v1 file";
    case AGE_BAD_HEADER:
        return "the age header is malformed";
    case AGE_NO_IDENTITY:
        return "the file is for other recipients";
    case AGE_BAD_MAC:
        return "the age header was altered";
    case AGE_BAD_PAYLOAD:
        return "the age payload was altered or cut";
    case AGE_TRUNCATED:
        return "the age file ends before its last chunk";
    case AGE_NO_ROOM:
        return "no room for what the age file holds";
    case AGE_NO_MEMORY:
        return "no locked memory: raise LimitMEMLOCK";
    }
    return "unknown";
}
