/* Slots of devices.  The device seals a random slot key, and the slot key seals the SRK: so the device's
 * child never has the SRK, and all that the slot says is bound to it whatever the device can bind. */
#include "base/check.h"
#include "base/secret.h"
#include "drivers/seal/device/ask.h"
#include "drivers/seal/slot_priv.h"

#include <stdio.h>

struct slot {
    struct seal_slot_info info;
    struct span params, blob, aad, nonce, sealed;
};

static bool params_sound(struct slot *s)
{
    struct device_pkcs11 p;
    struct device_tpm2 t;

    if (s->info.kind == SEAL_KIND_PKCS11)
        return device_pkcs11_parse(s->params, &p);
    return device_tpm2_parse(s->params, &t);
}

static enum seal_status slot_parse(struct span raw, struct slot *out)
{
    struct cursor c;
    enum seal_status status = slot_read_head(raw, &out->info, &c);

    if (status != SEAL_OK)
        return status;
    if (!slot_kind_is_device(out->info.kind))
        return SEAL_UNKNOWN_KIND;
    out->params = cursor_take(&c, cursor_u16(&c));
    out->blob = cursor_take(&c, cursor_u16(&c));
    out->aad = span_of(raw.ptr, raw.len - SLOT_SUM_LEN - c.left);
    out->nonce = cursor_take(&c, MBED_NONCE_LEN);
    out->sealed = cursor_take(&c, SEAL_SRK_LEN + MBED_TAG_LEN);
    bool sound = cursor_ok(&c) && c.left == 0 && out->params.len <= DEVICE_PARAMS_MAX && out->blob.len >= 1 &&
                 out->blob.len <= DEVICE_BLOB_MAX && params_sound(out);
    return sound ? SEAL_OK : SEAL_CORRUPT;
}

static void describe_pkcs11(struct span params, char *out, size_t cap, char *pin, size_t pin_cap)
{
    struct device_pkcs11 p;

    CHECK(device_pkcs11_parse(params, &p));
    snprintf(pin, pin_cap, "%.*s", (int)p.pin.len, (const char *)p.pin.ptr);
    snprintf(out, cap, "token \"%.*s\" key \"%.*s\" by %s in %.*s", (int)p.token.len,
             (const char *)p.token.ptr, (int)p.key.len, (const char *)p.key.ptr,
             p.mechanism == DEVICE_AES_GCM ? "AES-GCM" : "AES key wrap", (int)p.module.len,
             (const char *)p.module.ptr);
}

static void describe_tpm2(struct span params, char *out, size_t cap)
{
    struct device_tpm2 t;

    CHECK(device_tpm2_parse(params, &t));
    snprintf(out, cap, "%.*s PCRs 0x%06x", (int)t.tcti.len, (const char *)t.tcti.ptr, t.pcrs);
}

enum seal_status slot_device_info(struct span raw, struct seal_slot_info *out)
{
    struct slot s = {0};
    enum seal_status status = slot_parse(raw, &s);

    *out = s.info;
    if (status != SEAL_OK)
        return status;
    if (out->kind == SEAL_KIND_PKCS11)
        describe_pkcs11(s.params, out->device, sizeof out->device, out->pin, sizeof out->pin);
    else
        describe_tpm2(s.params, out->device, sizeof out->device);
    return SEAL_OK;
}

/* srk sealed under the slot key, bound to all that the slot has so far. */
static bool write_sealed(struct mbed_rng *rng, const uint8_t *slot_key, const uint8_t srk[SEAL_SRK_LEN],
                         struct writer *w)
{
    uint8_t nonce[MBED_NONCE_LEN], sealed[SEAL_SRK_LEN + MBED_TAG_LEN];
    struct mbed_aead *aead = mbed_aead_new(slot_key);

    if (aead == NULL)
        return false;
    mbed_random(rng, nonce, sizeof nonce);
    mbed_seal(aead, nonce, writer_span(w), span_of(srk, SEAL_SRK_LEN), sealed);
    mbed_aead_free(aead);
    write_bytes(w, span_of(nonce, sizeof nonce));
    write_bytes(w, span_of(sealed, sizeof sealed));
    slot_write_sum(w);
    return true;
}

static void write_part(struct writer *w, struct span s)
{
    write_u16(w, (uint16_t)s.len);
    write_bytes(w, s);
}

static enum seal_status no_memory(char *err, size_t err_cap)
{
    snprintf(err, err_cap, "%s", seal_status_text(SEAL_NO_MEMORY));
    return SEAL_NO_MEMORY;
}

static enum seal_status ask(const struct seal_device *d, const struct device_request *r, struct buf *payload,
                            char *err, size_t err_cap)
{
    enum device_status status = device_ask(d, r, payload, err, err_cap);

    return status == DEVICE_OK ? SEAL_OK : status == DEVICE_BAD_PIN ? SEAL_BAD_PIN : SEAL_DEVICE;
}

static enum seal_status slot_make(struct mbed_rng *rng, const struct seal_device *d,
                                  const struct seal_slot_info *info, struct span params,
                                  const uint8_t srk[SEAL_SRK_LEN], uint8_t *slot_key, struct buf *out,
                                  char *err, size_t err_cap)
{
    uint8_t bytes[DEVICE_BLOB_MAX];
    struct buf blob = {bytes, 0, sizeof bytes};
    struct writer w = writer_of(out->ptr, out->cap);

    mbed_random(rng, slot_key, DEVICE_SECRET_LEN);
    struct device_request r = {DEVICE_SEAL, info->kind, params, span_of(slot_key, DEVICE_SECRET_LEN)};
    enum seal_status status = ask(d, &r, &blob, err, err_cap);
    if (status != SEAL_OK)
        return status;
    slot_write_head(&w, info->kind, info->number, info->shard);
    write_part(&w, params);
    write_part(&w, buf_span(&blob));
    if (!write_sealed(rng, slot_key, srk, &w))
        return no_memory(err, err_cap);
    CHECK(writer_ok(&w));
    out->len = w.len;
    return SEAL_OK;
}

static enum seal_status device_create(struct mbed_rng *rng, const struct seal_device *d, uint8_t kind,
                                      uint8_t number, uint16_t shard, struct span params,
                                      const uint8_t srk[SEAL_SRK_LEN], struct buf *out, char *err,
                                      size_t err_cap)
{
    struct seal_slot_info info = {.kind = kind, .number = number, .shard = shard};
    uint8_t *slot_key = secret_pages_alloc(DEVICE_SECRET_LEN);

    CHECK(out->cap >= SEAL_SLOT_MAX);
    out->len = 0;
    if (slot_key == NULL)
        return no_memory(err, err_cap);
    enum seal_status status = slot_make(rng, d, &info, params, srk, slot_key, out, err, err_cap);
    secret_pages_free(slot_key, DEVICE_SECRET_LEN);
    return status;
}

static bool texts_fit(const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (texts[i] == NULL || strlen(texts[i]) > 255)
            return false;
    }
    return true;
}

enum seal_status seal_pkcs11_create(struct mbed_rng *rng, const struct seal_device *d, uint8_t number,
                                    uint16_t shard, const struct seal_pkcs11 *p,
                                    const uint8_t srk[SEAL_SRK_LEN], struct buf *out, char *err,
                                    size_t err_cap)
{
    const char *const texts[] = {p->module, p->token, p->key, p->pin};
    uint8_t params[DEVICE_PARAMS_MAX];
    struct writer w = writer_of(params, sizeof params);
    struct device_pkcs11 asked, again;

    out->len = 0;
    snprintf(err, err_cap,
             "a PKCS#11 slot takes a module (absolute path), a token label (1..32), a key label "
             "(1..64) and where the PIN is (1..255)");
    if (!texts_fit(texts, 4))
        return SEAL_BAD_PARAMETER;
    asked = (struct device_pkcs11){p->gcm ? DEVICE_AES_GCM : DEVICE_AES_KEY_WRAP, span_str(p->module),
                                   span_str(p->token), span_str(p->key), span_str(p->pin)};
    device_pkcs11_write(&w, &asked);
    if (!writer_ok(&w) || !device_pkcs11_parse(writer_span(&w), &again))
        return SEAL_BAD_PARAMETER;
    return device_create(rng, d, SEAL_KIND_PKCS11, number, shard, writer_span(&w), srk, out, err, err_cap);
}

enum seal_status seal_tpm2_create(struct mbed_rng *rng, const struct seal_device *d, uint8_t number,
                                  uint16_t shard, const struct seal_tpm2 *t, const uint8_t srk[SEAL_SRK_LEN],
                                  struct buf *out, char *err, size_t err_cap)
{
    uint8_t params[DEVICE_PARAMS_MAX];
    struct writer w = writer_of(params, sizeof params);
    struct device_tpm2 asked, again;

    out->len = 0;
    snprintf(err, err_cap, "a TPM slot takes a TCTI (1..255) and PCRs 0..23");
    if (!texts_fit(&t->tcti, 1))
        return SEAL_BAD_PARAMETER;
    asked = (struct device_tpm2){t->pcrs, span_str(t->tcti)};
    device_tpm2_write(&w, &asked);
    if (!writer_ok(&w) || !device_tpm2_parse(writer_span(&w), &again))
        return SEAL_BAD_PARAMETER;
    return device_create(rng, d, SEAL_KIND_TPM2, number, shard, writer_span(&w), srk, out, err, err_cap);
}

static enum seal_status open_with_device(const struct seal_device *d, const struct slot *s, uint8_t *slot_key,
                                         uint8_t srk[SEAL_SRK_LEN], char *err, size_t err_cap)
{
    struct buf payload = {slot_key, 0, DEVICE_SECRET_LEN};
    struct device_request r = {DEVICE_OPEN, s->info.kind, s->params, s->blob};

    enum seal_status status = ask(d, &r, &payload, err, err_cap);
    if (status != SEAL_OK)
        return status;
    /* A shorter answer is no slot key: with the rest zero it opens nothing. */
    struct mbed_aead *aead = mbed_aead_new(slot_key);
    if (aead == NULL)
        return no_memory(err, err_cap);
    bool opened = mbed_open(aead, s->nonce.ptr, s->aad, s->sealed, srk);
    mbed_aead_free(aead);
    if (opened)
        return SEAL_OK;
    snprintf(err, err_cap, "the device opened its part, but the slot was altered since it was made");
    return SEAL_CORRUPT;
}

enum seal_status seal_device_open(const struct seal_device *d, struct span raw, uint16_t shard,
                                  uint8_t srk[SEAL_SRK_LEN], char *err, size_t err_cap)
{
    struct slot s = {0};
    enum seal_status status = slot_parse(raw, &s);

    secret_wipe(srk, SEAL_SRK_LEN);
    if (status == SEAL_OK && s.info.shard != shard)
        status = SEAL_WRONG_SHARD;
    snprintf(err, err_cap, "%s", seal_status_text(status));
    if (status != SEAL_OK)
        return status;
    uint8_t *slot_key = secret_pages_alloc(DEVICE_SECRET_LEN);
    if (slot_key == NULL)
        return no_memory(err, err_cap);
    status = open_with_device(d, &s, slot_key, srk, err, err_cap);
    secret_pages_free(slot_key, DEVICE_SECRET_LEN);
    return status;
}

enum seal_status seal_device_rewrap(struct mbed_rng *rng, const struct seal_device *d, struct span raw,
                                    const uint8_t srk[SEAL_SRK_LEN], struct buf *out, char *err,
                                    size_t err_cap)
{
    struct slot s = {0};
    enum seal_status status = slot_parse(raw, &s);
    uint8_t params[DEVICE_PARAMS_MAX];

    snprintf(err, err_cap, "%s", seal_status_text(status));
    if (status != SEAL_OK)
        return status;
    memcpy(params, s.params.ptr, s.params.len); /* out may be where the slot is */
    return device_create(rng, d, s.info.kind, s.info.number, s.info.shard, span_of(params, s.params.len), srk,
                         out, err, err_cap);
}
