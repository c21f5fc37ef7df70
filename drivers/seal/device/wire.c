#include "drivers/seal/device/wire.h"

#include "base/check.h"

#include <errno.h>
#include <sys/socket.h>

#define WIRE_VERSION   1
#define SEALED_VERSION 1
#define TEXT_MAX       255
#define TOKEN_MAX      32
#define KEY_MAX        64

static bool text_ok(struct span s, size_t max)
{
    return s.len >= 1 && s.len <= max && memchr(s.ptr, '\0', s.len) == NULL;
}

static struct span take_text(struct cursor *c)
{
    return cursor_take(c, cursor_u8(c));
}

static void write_text(struct writer *w, struct span s)
{
    CHECK(s.len <= TEXT_MAX);
    write_u8(w, (uint8_t)s.len);
    write_bytes(w, s);
}

bool device_pkcs11_parse(struct span params, struct device_pkcs11 *out)
{
    struct cursor c = cursor_of(params);

    out->mechanism = cursor_u8(&c);
    out->module = take_text(&c);
    out->token = take_text(&c);
    out->key = take_text(&c);
    out->pin = take_text(&c);
    return cursor_ok(&c) && c.left == 0 &&
           (out->mechanism == DEVICE_AES_KEY_WRAP || out->mechanism == DEVICE_AES_GCM) &&
           text_ok(out->module, TEXT_MAX) && out->module.ptr[0] == '/' && text_ok(out->token, TOKEN_MAX) &&
           text_ok(out->key, KEY_MAX) && text_ok(out->pin, TEXT_MAX);
}

bool device_tpm2_parse(struct span params, struct device_tpm2 *out)
{
    struct cursor c = cursor_of(params);

    out->pcrs = cursor_u32(&c);
    out->tcti = take_text(&c);
    return cursor_ok(&c) && c.left == 0 && out->pcrs < 1u << 24 && text_ok(out->tcti, TEXT_MAX);
}

void device_pkcs11_write(struct writer *w, const struct device_pkcs11 *p)
{
    write_u8(w, p->mechanism);
    write_text(w, p->module);
    write_text(w, p->token);
    write_text(w, p->key);
    write_text(w, p->pin);
}

void device_tpm2_write(struct writer *w, const struct device_tpm2 *p)
{
    write_u32(w, p->pcrs);
    write_text(w, p->tcti);
}

static struct span take_part(struct cursor *c)
{
    return cursor_take(c, cursor_u16(c));
}

static void write_part(struct writer *w, struct span s)
{
    CHECK(s.len <= UINT16_MAX);
    write_u16(w, (uint16_t)s.len);
    write_bytes(w, s);
}

bool device_request_parse(struct span body, struct device_request *out)
{
    struct cursor c = cursor_of(body);
    uint8_t version = cursor_u8(&c);

    out->operation = cursor_u8(&c);
    out->kind = cursor_u8(&c);
    uint8_t zero = cursor_u8(&c);
    out->params = take_part(&c);
    out->payload = take_part(&c);
    return cursor_ok(&c) && c.left == 0 && version == WIRE_VERSION && zero == 0 &&
           (out->operation == DEVICE_OPEN ||
            (out->operation == DEVICE_SEAL && out->payload.len == DEVICE_SECRET_LEN));
}

bool device_reply_parse(struct span body, struct device_reply *out)
{
    struct cursor c = cursor_of(body);
    uint8_t version = cursor_u8(&c);

    out->status = cursor_u8(&c);
    out->payload = take_part(&c);
    out->text = take_part(&c);
    return cursor_ok(&c) && c.left == 0 && version == WIRE_VERSION && out->status < DEVICE_STATUS_COUNT &&
           out->text.len <= DEVICE_TEXT_MAX && out->payload.len <= DEVICE_BLOB_MAX;
}

bool device_sealed_parse(struct span file, struct device_sealed *out)
{
    struct cursor c = cursor_of(file);
    struct device_tpm2 t;
    uint8_t version = cursor_u8(&c), kind = cursor_u8(&c);
    uint16_t zero = cursor_u16(&c);

    out->params = take_part(&c);
    out->blob = take_part(&c);
    return cursor_ok(&c) && c.left == 0 && version == SEALED_VERSION && kind == DEVICE_KIND_TPM2 &&
           zero == 0 && out->params.len <= DEVICE_PARAMS_MAX && out->blob.len >= 1 &&
           out->blob.len <= DEVICE_BLOB_MAX && device_tpm2_parse(out->params, &t);
}

void device_sealed_write(struct writer *w, const struct device_sealed *s)
{
    write_u8(w, SEALED_VERSION);
    write_u8(w, DEVICE_KIND_TPM2);
    write_u16(w, 0);
    write_part(w, s->params);
    write_part(w, s->blob);
}

static size_t close_message(struct writer *w)
{
    struct writer head = writer_of(w->ptr, 4);

    CHECK(writer_ok(w));
    write_u32(&head, (uint32_t)(w->len - 4));
    return w->len;
}

size_t device_request_write(const struct device_request *r, uint8_t *out)
{
    struct writer w = writer_of(out, DEVICE_MESSAGE_MAX);

    write_u32(&w, 0);
    write_u8(&w, WIRE_VERSION);
    write_u8(&w, r->operation);
    write_u8(&w, r->kind);
    write_u8(&w, 0);
    write_part(&w, r->params);
    write_part(&w, r->payload);
    return close_message(&w);
}

size_t device_reply_write(const struct device_reply *r, uint8_t *out)
{
    struct writer w = writer_of(out, DEVICE_MESSAGE_MAX);

    write_u32(&w, 0);
    write_u8(&w, WIRE_VERSION);
    write_u8(&w, r->status);
    write_part(&w, r->payload);
    write_part(&w, r->text);
    return close_message(&w);
}

bool device_send(int fd, struct span message)
{
    while (message.len != 0) {
        ssize_t n = send(fd, message.ptr, message.len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        message = span_from(message, (size_t)n);
    }
    return true;
}

static bool receive_exactly(int fd, uint8_t *out, size_t len)
{
    while (len != 0) {
        ssize_t n = recv(fd, out, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        out += n;
        len -= (size_t)n;
    }
    return true;
}

bool device_receive(int fd, uint8_t *out, struct span *body)
{
    if (!receive_exactly(fd, out, 4))
        return false;
    struct cursor c = cursor_of(span_of(out, 4));
    size_t len = cursor_u32(&c);
    if (len > DEVICE_MESSAGE_MAX - 4 || !receive_exactly(fd, out + 4, len))
        return false;
    *body = span_of(out + 4, len);
    return true;
}
