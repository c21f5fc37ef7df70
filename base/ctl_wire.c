#include "base/ctl_wire.h"

#include "base/secret_priv.h"

const char *const access_reason_names[ACCESS_REASON_LAST + 1] = {
    "REASON_UNSPECIFIED",
    "CUSTOMER_INITIATED_SUPPORT",
    "GOOGLE_INITIATED_SERVICE",
    "THIRD_PARTY_DATA_REQUEST",
    "GOOGLE_INITIATED_REVIEW",
    "CUSTOMER_INITIATED_ACCESS",
    "GOOGLE_INITIATED_SYSTEM_OPERATION",
    "REASON_NOT_EXPECTED",
    "MODIFIED_CUSTOMER_INITIATED_ACCESS",
    "MODIFIED_GOOGLE_INITIATED_SYSTEM_OPERATION",
    "GOOGLE_RESPONSE_TO_PRODUCTION_ALERT",
    "CUSTOMER_AUTHORIZED_WORKFLOW_SERVICING",
};

/* A body is read field by field; what is left over at its end is as wrong as what is missing. */
static bool cursor_done(const struct cursor *c)
{
    return cursor_ok(c) && c->left == 0;
}

static struct span cursor_text8(struct cursor *c)
{
    return cursor_take(c, cursor_u8(c));
}

static struct span cursor_text16(struct cursor *c)
{
    return cursor_take(c, cursor_u16(c));
}

static bool cursor_copy(struct cursor *c, void *out, size_t len)
{
    struct span s = cursor_take(c, len);

    if (s.len != len)
        return false;
    memcpy(out, s.ptr, len);
    return true;
}

static bool length_within(struct span s, size_t min, size_t max)
{
    return s.len >= min && s.len <= max;
}

static bool is_state(uint8_t state)
{
    return state >= KEY_STATE_PENDING_DURABLE && state <= KEY_STATE_DESTROYED;
}

/* ---- head ---- */

static bool is_bodiless(uint8_t type)
{
    return type == CTL_ACK || type == CTL_PONG || type == CTL_PING;
}

static bool is_type(uint8_t type)
{
    return (type >= CTL_HELLO && type <= CTL_PONG) || (type >= CTL_PING && type <= CTL_END);
}

enum ctl_head_status ctl_head_parse(struct span in, struct ctl_head *out)
{
    struct cursor c = cursor_of(in);

    out->version = cursor_u8(&c);
    out->type = cursor_u8(&c);
    out->shard = cursor_u16(&c);
    out->len = cursor_u32(&c);
    out->epoch = cursor_u64(&c);
    if (!cursor_ok(&c))
        return CTL_HEAD_MORE;
    if (out->version != CTL_VERSION || !is_type(out->type))
        return CTL_HEAD_BAD;
    if (out->len < CTL_HEAD_LEN || out->len > CTL_MESSAGE_MAX)
        return CTL_HEAD_BAD;
    if (is_bodiless(out->type) && out->len != CTL_HEAD_LEN)
        return CTL_HEAD_BAD;
    return CTL_HEAD_OK;
}

/* ---- bodies: parsers ---- */

bool ctl_hello_parse(struct span body, struct ctl_hello *out)
{
    struct cursor c = cursor_of(body);

    if (!cursor_copy(&c, out->boot_id, sizeof out->boot_id))
        return false;
    out->worker_count = cursor_u16(&c);
    out->held_epoch = cursor_u64(&c);
    return cursor_done(&c) && out->worker_count >= 1 && out->worker_count <= WORKERS_MAX;
}

bool ctl_begin_parse(struct span body, struct ctl_begin *out)
{
    struct cursor c = cursor_of(body);
    uint8_t full = cursor_u8(&c);

    out->full = full == 1;
    out->base_epoch = cursor_u64(&c);
    out->record_count = cursor_u32(&c);
    return cursor_done(&c) && full <= 1 && (full == 0 || out->base_epoch == 0);
}

bool ctl_end_parse(struct span body, struct ctl_end *out)
{
    struct cursor c = cursor_of(body);

    out->record_count = cursor_u32(&c);
    return cursor_done(&c);
}

bool ctl_refuse_parse(struct span body, struct ctl_refuse *out)
{
    struct cursor c = cursor_of(body);

    out->cause = cursor_u8(&c);
    return cursor_done(&c) && out->cause >= CTL_REFUSE_EPOCH_OLD && out->cause <= CTL_REFUSE_SHARD;
}

static bool callers_parse(struct cursor *c, struct ctl_key *out)
{
    out->caller_count = cursor_u8(c);
    if (out->caller_count > EKM_CALLERS_PER_KEY)
        return false;
    for (size_t i = 0; i < out->caller_count; i++) {
        out->callers[i] = cursor_text8(c);
        if (!length_within(out->callers[i], 1, EKM_CALLER_MAX))
            return false;
    }
    return true;
}

bool ctl_key_parse(struct span body, struct ctl_key *out)
{
    struct cursor c = cursor_of(body);

    if (!cursor_copy(&c, out->id, sizeof out->id))
        return false;
    out->state = cursor_u8(&c);
    out->deny_status = cursor_u16(&c);
    out->primary_version = cursor_u32(&c);
    out->reasons_allowed = cursor_u32(&c);
    out->path = cursor_text16(&c);
    if (!length_within(out->path, 1, EKM_KEY_PATH_MAX) || out->path.ptr[0] == '/')
        return false;
    if (!callers_parse(&c, out) || !cursor_done(&c))
        return false;
    return is_state(out->state) && (out->deny_status == 403 || out->deny_status == 400) &&
           (out->reasons_allowed & ~(ACCESS_REASONS_ALL | ACCESS_REASON_UNKNOWN_BIT)) == 0;
}

bool ctl_key_version_parse(struct span body, struct ctl_key_version *out)
{
    struct cursor c = cursor_of(body);

    if (!cursor_copy(&c, out->key_id, sizeof out->key_id))
        return false;
    out->version = cursor_u32(&c);
    out->state = cursor_u8(&c);
    if (!cursor_copy(&c, out->tag, sizeof out->tag))
        return false;
    struct span material = cursor_text8(&c);
    out->material = secret_of(material.ptr, material.len);
    if (!cursor_done(&c) || out->version == 0 || !is_state(out->state))
        return false;
    return material.len == (out->state == KEY_STATE_DESTROYED ? 0 : KEY_MATERIAL_LEN);
}

bool ctl_key_gone_parse(struct span body, struct ctl_key_gone *out)
{
    struct cursor c = cursor_of(body);

    return cursor_copy(&c, out->key_id, sizeof out->key_id) && cursor_done(&c);
}

bool ctl_issuer_parse(struct span body, struct ctl_issuer *out)
{
    struct cursor c = cursor_of(body);

    out->iss = cursor_text16(&c);
    out->jwks_loaded_unix_s = cursor_u64(&c);
    out->jwks_fresh_s = cursor_u32(&c);
    return cursor_done(&c) && length_within(out->iss, 1, JWT_ISSUER_MAX);
}

static bool jwk_numbers_fit(const struct ctl_jwk *k)
{
    switch (k->alg) {
    case JWK_RS256:
        return length_within(k->n_or_x, 1, JWK_RSA_MODULUS_MAX) &&
               length_within(k->e_or_y, 1, JWK_RSA_EXPONENT_MAX);
    case JWK_ES256:
        return k->n_or_x.len == 32 && k->e_or_y.len == 32;
    default:
        return false;
    }
}

bool ctl_jwk_parse(struct span body, struct ctl_jwk *out)
{
    struct cursor c = cursor_of(body);

    out->alg = cursor_u8(&c);
    out->kid = cursor_text8(&c);
    out->n_or_x = cursor_text16(&c);
    out->e_or_y = cursor_text16(&c);
    return cursor_done(&c) && length_within(out->kid, 1, JWT_KID_MAX) && jwk_numbers_fit(out);
}

bool ctl_audience_parse(struct span body, struct ctl_audience *out)
{
    struct cursor c = cursor_of(body);

    out->audience = cursor_text16(&c);
    return cursor_done(&c) && length_within(out->audience, 1, JWT_AUDIENCE_MAX);
}

bool ctl_certificate_parse(struct span body, struct ctl_certificate *out)
{
    struct cursor c = cursor_of(body);

    out->chain_pem = cursor_text16(&c);
    struct span key_pem = cursor_text16(&c);
    out->key_pem = secret_of(key_pem.ptr, key_pem.len);
    return cursor_done(&c) && out->chain_pem.len != 0 && key_pem.len != 0;
}

/* ---- writers ---- */

/* Writes the head with a length of 0 and returns where it stands; message_end puts the true one in. */
static size_t message_begin(struct writer *w, enum ctl_type type, uint16_t shard, uint64_t epoch)
{
    size_t at = w->len;

    write_u8(w, CTL_VERSION);
    write_u8(w, (uint8_t)type);
    write_u16(w, shard);
    write_u32(w, 0);
    write_u64(w, epoch);
    return at;
}

static void message_end(struct writer *w, size_t at)
{
    if (w->overflow)
        return;
    size_t len = w->len - at;
    if (len > CTL_MESSAGE_MAX) {
        w->overflow = true;
        return;
    }
    struct writer head = writer_of(w->ptr + at + 4, 4);
    write_u32(&head, (uint32_t)len);
}

/* A text that its length field cannot name overflows the writer: a shorter one must not leave in its place.
 */
static void write_text8(struct writer *w, struct span s)
{
    if (s.len > UINT8_MAX)
        w->overflow = true;
    write_u8(w, (uint8_t)s.len);
    write_bytes(w, s);
}

static void write_text16(struct writer *w, struct span s)
{
    if (s.len > UINT16_MAX)
        w->overflow = true;
    write_u16(w, (uint16_t)s.len);
    write_bytes(w, s);
}

void ctl_write_bare(struct writer *w, enum ctl_type type, uint16_t shard, uint64_t epoch)
{
    message_end(w, message_begin(w, type, shard, epoch));
}

void ctl_write_hello(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_hello *m)
{
    size_t at = message_begin(w, CTL_HELLO, shard, epoch);

    write_bytes(w, span_of(m->boot_id, sizeof m->boot_id));
    write_u16(w, m->worker_count);
    write_u64(w, m->held_epoch);
    message_end(w, at);
}

void ctl_write_begin(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_begin *m)
{
    size_t at = message_begin(w, CTL_BEGIN, shard, epoch);

    write_u8(w, m->full ? 1 : 0);
    write_u64(w, m->base_epoch);
    write_u32(w, m->record_count);
    message_end(w, at);
}

void ctl_write_end(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_end *m)
{
    size_t at = message_begin(w, CTL_END, shard, epoch);

    write_u32(w, m->record_count);
    message_end(w, at);
}

void ctl_write_refuse(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_refuse *m)
{
    size_t at = message_begin(w, CTL_REFUSE, shard, epoch);

    write_u8(w, m->cause);
    message_end(w, at);
}

void ctl_write_key(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_key *m)
{
    size_t at = message_begin(w, CTL_KEY, shard, epoch);

    write_bytes(w, span_of(m->id, sizeof m->id));
    write_u8(w, m->state);
    write_u16(w, m->deny_status);
    write_u32(w, m->primary_version);
    write_u32(w, m->reasons_allowed);
    write_text16(w, m->path);
    write_u8(w, m->caller_count);
    if (m->caller_count > EKM_CALLERS_PER_KEY)
        w->overflow = true;
    for (size_t i = 0; i < m->caller_count && !w->overflow; i++)
        write_text8(w, m->callers[i]);
    message_end(w, at);
}

void ctl_write_key_version(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_key_version *m)
{
    size_t at = message_begin(w, CTL_KEY_VERSION, shard, epoch);

    write_bytes(w, span_of(m->key_id, sizeof m->key_id));
    write_u32(w, m->version);
    write_u8(w, m->state);
    write_bytes(w, span_of(m->tag, sizeof m->tag));
    write_text8(w, secret_expose(m->material));
    message_end(w, at);
}

void ctl_write_key_gone(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_key_gone *m)
{
    size_t at = message_begin(w, CTL_KEY_GONE, shard, epoch);

    write_bytes(w, span_of(m->key_id, sizeof m->key_id));
    message_end(w, at);
}

void ctl_write_issuer(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_issuer *m)
{
    size_t at = message_begin(w, CTL_ISSUER, shard, epoch);

    write_text16(w, m->iss);
    write_u64(w, m->jwks_loaded_unix_s);
    write_u32(w, m->jwks_fresh_s);
    message_end(w, at);
}

void ctl_write_jwk(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_jwk *m)
{
    size_t at = message_begin(w, CTL_JWK, shard, epoch);

    write_u8(w, m->alg);
    write_text8(w, m->kid);
    write_text16(w, m->n_or_x);
    write_text16(w, m->e_or_y);
    message_end(w, at);
}

void ctl_write_audience(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_audience *m)
{
    size_t at = message_begin(w, CTL_AUDIENCE, shard, epoch);

    write_text16(w, m->audience);
    message_end(w, at);
}

void ctl_write_certificate(struct writer *w, uint16_t shard, uint64_t epoch, const struct ctl_certificate *m)
{
    size_t at = message_begin(w, CTL_CERTIFICATE, shard, epoch);

    write_text16(w, m->chain_pem);
    write_text16(w, secret_expose(m->key_pem));
    message_end(w, at);
}

/* ---- names ---- */

const char *ctl_refusal_name(uint8_t cause)
{
    static const char *const names[] = {
        [CTL_REFUSE_EPOCH_OLD] = "epoch_old",
        [CTL_REFUSE_EPOCH_GAP] = "epoch_gap",
        [CTL_REFUSE_COUNT] = "count",
        [CTL_REFUSE_UNKNOWN_KEY] = "unknown_key",
        [CTL_REFUSE_CONFLICT] = "conflict",
        [CTL_REFUSE_FULL] = "full",
        [CTL_REFUSE_CERTIFICATE] = "certificate",
        [CTL_REFUSE_ORDER] = "order",
        [CTL_REFUSE_SHARD] = "shard",
    };

    if (cause < CTL_REFUSE_EPOCH_OLD || cause > CTL_REFUSE_SHARD)
        return "unknown";
    return names[cause];
}

const char *key_state_name(uint8_t state)
{
    static const char *const names[] = {
        [KEY_STATE_PENDING_DURABLE] = "pending_durable",
        [KEY_STATE_ENABLED] = "enabled",
        [KEY_STATE_DISABLED] = "disabled",
        [KEY_STATE_DESTROY_SCHEDULED] = "destroy_scheduled",
        [KEY_STATE_DESTROYED] = "destroyed",
    };

    return is_state(state) ? names[state] : "unknown";
}
