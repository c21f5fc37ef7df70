/* Slots for age identities: held by people (kind age), or by nobody and cut into paper shares (kind shares).
 * The body ends with an age file that holds the slot's head, which binds it to its place, and the SRK. */
#include "base/check.h"
#include "base/secret.h"
#include "drivers/seal/slot_priv.h"

#define PLAIN_LEN (SLOT_HEAD_LEN + SEAL_SRK_LEN)

struct slot {
    struct seal_slot_info info;
    struct span head, file;
};

static void read_recipients(struct cursor *c, size_t count, struct slot *out)
{
    out->info.recipient_count = count;
    for (size_t i = 0; i < count; i++) {
        struct span u = cursor_take(c, AGE_KEY_LEN);

        memcpy(out->info.recipients[i].u, u.ptr, u.len);
    }
}

static bool read_age_body(struct cursor *c, struct slot *out)
{
    uint8_t count = cursor_u8(c);

    if (count < 1 || count > SEAL_SLOT_RECIPIENTS_MAX)
        return false;
    read_recipients(c, count, out);
    return true;
}

static bool read_shares_body(struct cursor *c, struct slot *out)
{
    struct span set = cursor_take(c, SHAMIR_SET_LEN);

    memcpy(out->info.set, set.ptr, set.len);
    out->info.threshold = cursor_u8(c);
    out->info.share_count = cursor_u8(c);
    read_recipients(c, 1, out);
    return out->info.threshold >= 2 && out->info.threshold <= out->info.share_count &&
           out->info.share_count <= SHAMIR_SHARES_MAX;
}

static enum seal_status slot_parse(struct span raw, struct slot *out)
{
    struct cursor c;
    enum seal_status status = slot_read_head(raw, &out->info, &c);
    bool sound;

    if (status != SEAL_OK)
        return status;
    if (out->info.kind == SEAL_KIND_AGE)
        sound = read_age_body(&c, out);
    else if (out->info.kind == SEAL_KIND_SHARES)
        sound = read_shares_body(&c, out);
    else
        return SEAL_UNKNOWN_KIND;
    out->head = span_of(raw.ptr, SLOT_HEAD_LEN);
    out->file = cursor_take(&c, c.left);
    return sound && cursor_ok(&c) && out->file.len == AGE_FILE_LEN(out->info.recipient_count, PLAIN_LEN)
               ? SEAL_OK
               : SEAL_CORRUPT;
}

enum seal_status slot_age_info(struct span raw, struct seal_slot_info *out)
{
    struct slot s = {0};
    enum seal_status status = slot_parse(raw, &s);

    *out = s.info;
    return status;
}

static void write_body(struct writer *w, const struct seal_slot_info *info)
{
    if (info->kind == SEAL_KIND_AGE) {
        write_u8(w, (uint8_t)info->recipient_count);
    } else {
        write_bytes(w, span_of(info->set, sizeof info->set));
        write_u8(w, info->threshold);
        write_u8(w, info->share_count);
    }
    for (size_t i = 0; i < info->recipient_count; i++)
        write_bytes(w, span_of(info->recipients[i].u, AGE_KEY_LEN));
}

static enum age_status seal_into(struct mbed_rng *rng, const struct seal_slot_info *info,
                                 const uint8_t srk[SEAL_SRK_LEN], struct writer *w)
{
    struct buf file = {w->ptr, w->len, w->cap};
    uint8_t *plain = secret_pages_alloc(PLAIN_LEN);

    if (plain == NULL)
        return AGE_NO_MEMORY;
    memcpy(plain, w->ptr, SLOT_HEAD_LEN);
    memcpy(plain + SLOT_HEAD_LEN, srk, SEAL_SRK_LEN);
    enum age_status status =
        age_encrypt(rng, info->recipients, info->recipient_count, span_of(plain, PLAIN_LEN), &file);
    secret_pages_free(plain, PLAIN_LEN);
    w->len = file.len;
    return status;
}

static enum seal_status slot_make(struct mbed_rng *rng, const struct seal_slot_info *info,
                                  const uint8_t srk[SEAL_SRK_LEN], struct buf *out)
{
    struct writer w = writer_of(out->ptr, out->cap);

    CHECK(out->cap >= SEAL_SLOT_MAX);
    out->len = 0;
    slot_write_head(&w, info->kind, info->number, info->shard);
    write_body(&w, info);
    enum age_status status = seal_into(rng, info, srk, &w);
    if (status != AGE_OK)
        return status == AGE_NO_MEMORY ? SEAL_NO_MEMORY : SEAL_BAD_PARAMETER;
    slot_write_sum(&w);
    CHECK(writer_ok(&w));
    out->len = w.len;
    return SEAL_OK;
}

enum seal_status seal_age_create(struct mbed_rng *rng, uint8_t number, uint16_t shard,
                                 const struct age_recipient *recipients, size_t count,
                                 const uint8_t srk[SEAL_SRK_LEN], struct buf *out)
{
    struct seal_slot_info info = {.kind = SEAL_KIND_AGE, .number = number, .shard = shard};

    if (count < 1 || count > SEAL_SLOT_RECIPIENTS_MAX)
        return SEAL_BAD_PARAMETER;
    info.recipient_count = count;
    memcpy(info.recipients, recipients, count * sizeof *recipients);
    return slot_make(rng, &info, srk, out);
}

/* The slot's own head inside the file: a file moved from another slot, shard or kind is not this slot's. */
static enum seal_status take_plain(const struct slot *s, struct span plain, uint8_t srk[SEAL_SRK_LEN])
{
    if (plain.len != PLAIN_LEN || memcmp(plain.ptr, s->head.ptr, SLOT_HEAD_LEN) != 0)
        return SEAL_CORRUPT;
    memcpy(srk, plain.ptr + SLOT_HEAD_LEN, SEAL_SRK_LEN);
    return SEAL_OK;
}

static enum seal_status from_age(enum age_status status)
{
    switch (status) {
    case AGE_NO_IDENTITY:
        return SEAL_WRONG_IDENTITY;
    case AGE_NO_MEMORY:
        return SEAL_NO_MEMORY;
    default:
        return SEAL_CORRUPT;
    }
}

static enum seal_status slot_open(struct mbed_rng *rng, const struct slot *s,
                                  const uint8_t identity[AGE_KEY_LEN], uint8_t srk[SEAL_SRK_LEN])
{
    uint8_t *plain = secret_pages_alloc(PLAIN_LEN);
    struct buf out = {plain, 0, PLAIN_LEN};

    if (plain == NULL)
        return SEAL_NO_MEMORY;
    enum age_status opened = age_decrypt(rng, identity, s->file, &out);
    enum seal_status status = opened == AGE_OK ? take_plain(s, buf_span(&out), srk) : from_age(opened);
    secret_pages_free(plain, PLAIN_LEN);
    return status;
}

enum seal_status seal_age_open(struct mbed_rng *rng, struct span raw, uint16_t shard,
                               const uint8_t identity[AGE_KEY_LEN], uint8_t srk[SEAL_SRK_LEN])
{
    struct slot s = {0};
    enum seal_status status = slot_parse(raw, &s);

    secret_wipe(srk, SEAL_SRK_LEN);
    if (status != SEAL_OK)
        return status;
    return s.info.shard == shard ? slot_open(rng, &s, identity, srk) : SEAL_WRONG_SHARD;
}

enum seal_status seal_shares_create(struct mbed_rng *rng, uint8_t number, uint16_t shard, uint8_t threshold,
                                    uint8_t count, const uint8_t srk[SEAL_SRK_LEN], struct buf *out,
                                    struct shamir_share *shares)
{
    struct seal_slot_info info = {.kind = SEAL_KIND_SHARES,
                                  .number = number,
                                  .shard = shard,
                                  .recipient_count = 1,
                                  .threshold = threshold,
                                  .share_count = count};
    uint8_t *identity = secret_pages_alloc(AGE_KEY_LEN);
    enum seal_status status = SEAL_BAD_PARAMETER;

    if (identity == NULL)
        return SEAL_NO_MEMORY;
    age_identity_new(rng, identity);
    info.recipients[0] = age_recipient_of(rng, identity);
    if (shamir_split(rng, threshold, count, identity, shares) == SHAMIR_OK) {
        memcpy(info.set, shares[0].set, sizeof info.set);
        status = slot_make(rng, &info, srk, out);
    }
    secret_pages_free(identity, AGE_KEY_LEN);
    return status;
}

/* Shares of another set are told from one another's before anything is combined. */
static enum shamir_status shares_of_slot(const struct slot *s, const struct shamir_share *shares,
                                         size_t given, uint8_t identity[AGE_KEY_LEN], size_t *at)
{
    for (*at = 0; *at < given; *at += 1) {
        if (memcmp(shares[*at].set, s->info.set, SHAMIR_SET_LEN) != 0)
            return SHAMIR_OTHER_SET;
    }
    return shamir_combine(shares, given, identity, at);
}

enum seal_status seal_shares_open(struct mbed_rng *rng, struct span raw, uint16_t shard,
                                  const struct shamir_share *shares, size_t given, uint8_t srk[SEAL_SRK_LEN],
                                  enum shamir_status *cause, size_t *at)
{
    struct slot s = {0};
    enum seal_status status = slot_parse(raw, &s);

    *cause = SHAMIR_OK;
    *at = 0;
    secret_wipe(srk, SEAL_SRK_LEN);
    if (status == SEAL_OK && s.info.kind != SEAL_KIND_SHARES)
        return SEAL_UNKNOWN_KIND;
    if (status != SEAL_OK)
        return status;
    if (s.info.shard != shard)
        return SEAL_WRONG_SHARD;
    uint8_t *identity = secret_pages_alloc(AGE_KEY_LEN);
    if (identity == NULL)
        return SEAL_NO_MEMORY;
    *cause = shares_of_slot(&s, shares, given, identity, at);
    status = *cause == SHAMIR_OK ? slot_open(rng, &s, identity, srk) : SEAL_WRONG_SHARES;
    secret_pages_free(identity, AGE_KEY_LEN);
    return status;
}

enum seal_status seal_slot_rewrap(struct mbed_rng *rng, struct span raw, const uint8_t srk[SEAL_SRK_LEN],
                                  struct buf *out)
{
    struct slot s = {0};
    enum seal_status status = slot_parse(raw, &s);

    return status == SEAL_OK ? slot_make(rng, &s.info, srk, out) : status;
}
