#include "drivers/seal/seal.h"

#include "base/check.h"
#include "drivers/seal/slot_priv.h"

static void slot_sum(struct span slot, uint8_t out[SLOT_SUM_LEN])
{
    uint8_t digest[MBED_DIGEST_LEN];

    mbed_sha256(slot, digest);
    memcpy(out, digest, SLOT_SUM_LEN);
}

void slot_write_head(struct writer *w, uint8_t kind, uint8_t number, uint16_t shard)
{
    write_u8(w, SLOT_VERSION);
    write_u8(w, kind);
    write_u8(w, number);
    write_u8(w, 0);
    write_u16(w, shard);
}

void slot_write_sum(struct writer *w)
{
    uint8_t sum[SLOT_SUM_LEN];

    slot_sum(writer_span(w), sum);
    write_bytes(w, span_of(sum, sizeof sum));
}

enum seal_status slot_read_head(struct span raw, struct seal_slot_info *info, struct cursor *body)
{
    uint8_t sum[SLOT_SUM_LEN];

    memset(info, 0, sizeof *info);
    if (raw.len < SLOT_HEAD_LEN + SLOT_SUM_LEN || raw.len > SEAL_SLOT_MAX)
        return SEAL_CORRUPT;
    struct span summed = span_of(raw.ptr, raw.len - SLOT_SUM_LEN);
    slot_sum(summed, sum);
    if (memcmp(sum, raw.ptr + summed.len, SLOT_SUM_LEN) != 0)
        return SEAL_CORRUPT;
    *body = cursor_of(summed);
    uint8_t version = cursor_u8(body);
    info->kind = cursor_u8(body);
    info->number = cursor_u8(body);
    uint8_t zero = cursor_u8(body);
    info->shard = cursor_u16(body);
    CHECK(cursor_ok(body));
    return version == SLOT_VERSION && zero == 0 ? SEAL_OK : SEAL_CORRUPT;
}

enum seal_status seal_slot_info(struct span raw, struct seal_slot_info *out)
{
    struct cursor body;
    enum seal_status status = slot_read_head(raw, out, &body);

    if (status != SEAL_OK)
        return status;
    switch (out->kind) {
    case SEAL_KIND_PASSPHRASE:
        return slot_passphrase_info(raw, out);
    case SEAL_KIND_AGE:
    case SEAL_KIND_SHARES:
        return slot_age_info(raw, out);
    case SEAL_KIND_PKCS11:
    case SEAL_KIND_TPM2:
        return slot_device_info(raw, out);
    default:
        return SEAL_UNKNOWN_KIND;
    }
}

const char *seal_kind_text(uint8_t kind)
{
    switch (kind) {
    case SEAL_KIND_PASSPHRASE:
        return "passphrase";
    case SEAL_KIND_AGE:
        return "age";
    case SEAL_KIND_SHARES:
        return "shares";
    case SEAL_KIND_PKCS11:
        return "pkcs11";
    case SEAL_KIND_TPM2:
        return "tpm2";
    default:
        return "unknown";
    }
}

bool seal_kind_is_offline(uint8_t kind)
{
    return kind == SEAL_KIND_AGE || kind == SEAL_KIND_SHARES;
}

const char *seal_status_text(enum seal_status s)
{
    switch (s) {
    case SEAL_OK:
        return "opened";
    case SEAL_CORRUPT:
        return "the slot record is damaged";
    case SEAL_UNKNOWN_KIND:
        return "the slot is of a kind that this build does not open";
    case SEAL_WRONG_SHARD:
        return "the slot belongs to another shard";
    case SEAL_WRONG_PASSPHRASE:
        return "wrong passphrase";
    case SEAL_NO_MEMORY:
        return "not enough memory for Argon2id, or not enough locked memory";
    case SEAL_WRONG_IDENTITY:
        return "the age identity is none that the slot is for";
    case SEAL_WRONG_SHARES:
        return "the shares do not open this slot";
    case SEAL_DEVICE:
        return "the device does not open the slot";
    case SEAL_BAD_PIN:
        return "the token refused the PIN";
    case SEAL_BAD_PARAMETER:
        return "a slot cannot be made of these parameters";
    }
    return "unknown";
}
