/* The wrapped blob, format 1, suite 1 (docs/WIRE.md):
 *
 *     0  format | 1  suite | 2  reserved = 0 | 4  version tag | 12  nonce | 36  commitment | 68  ciphertext, GCM tag
 *
 * GCM's AAD: bytes 0..67 of the blob || the key's id || the caller's AAD behind its length as u64. */
#include "dataplane/keys/keys_priv.h"

#include "base/check.h"
#include "base/secret.h"
#include "base/secret_priv.h"

#define FORMAT        1
#define SUITE         1
#define TAG_AT        4
#define NONCE_AT      (TAG_AT + KEY_VERSION_TAG_LEN)
#define COMMITMENT_AT (NONCE_AT + BLOB_NONCE_LEN)

_Static_assert(COMMITMENT_AT + BLOB_COMMITMENT_LEN == BLOB_HEAD_LEN, "the head ends with the commitment");
_Static_assert(sizeof(((struct version *)0)->tag) == KEY_VERSION_TAG_LEN, "a tag is compared as one word");

struct aad {
    uint8_t fixed[BLOB_HEAD_LEN + KEY_ID_LEN + 8]; /* head, key id, length of the caller's AAD */
    struct span parts[2];
};

static void aad_make(struct aad *a, const struct key *k, const uint8_t *head, struct span callers)
{
    struct writer w = writer_of(a->fixed, sizeof a->fixed);

    write_bytes(&w, span_of(head, BLOB_HEAD_LEN));
    write_bytes(&w, span_of(k->id, KEY_ID_LEN));
    write_u64(&w, callers.len);
    CHECK(writer_ok(&w));
    a->parts[0] = writer_span(&w);
    a->parts[1] = callers;
}

static void head_write(uint8_t *blob, const struct version *v, const uint8_t *nonce,
                       const uint8_t *commitment)
{
    const uint8_t start[TAG_AT] = {FORMAT, SUITE, 0, 0};

    memcpy(blob, start, sizeof start);
    memcpy(blob + TAG_AT, &v->tag, KEY_VERSION_TAG_LEN);
    memcpy(blob + NONCE_AT, nonce, BLOB_NONCE_LEN);
    memcpy(blob + COMMITMENT_AT, commitment, BLOB_COMMITMENT_LEN);
}

/* The blob's version among those of k; NULL for any byte of the head that is not as it must be. */
static const struct version *head_version(const struct key *k, struct span blob)
{
    uint64_t tag;

    if (blob.len < BLOB_OVERHEAD || blob.len > EKM_PLAINTEXT_MAX + BLOB_OVERHEAD)
        return NULL;
    if (blob.ptr[0] != FORMAT || blob.ptr[1] != SUITE || blob.ptr[2] != 0 || blob.ptr[3] != 0)
        return NULL;
    memcpy(&tag, blob.ptr + TAG_AT, sizeof tag);
    return key_version_by_tag(k, tag);
}

#ifdef WW_TEST_HOOKS
void keys_inject_fault(struct keys_worker *w, enum keys_fault fault, uint32_t bit)
{
    w->fault = fault;
    w->fault_bit = bit;
}

static void fault_here(struct keys_worker *w, enum keys_fault where, uint8_t *bytes, size_t len)
{
    if (w->fault == where && len != 0)
        bytes[w->fault_bit / 8 % len] ^= (uint8_t)(1 << w->fault_bit % 8);
}
#else
#define fault_here(w, where, bytes, len) ((void)(w), (void)(bytes))
#endif

static bool blob_seal(struct keys_worker *w, const struct key *k, const struct version *v,
                      struct span plaintext, struct span callers, uint8_t *blob)
{
    uint8_t nonce[BLOB_NONCE_LEN];
    uint8_t *ciphertext = blob + BLOB_HEAD_LEN;
    NOT_ZEROED struct xaes_derived d;
    NOT_ZEROED struct aad aad;
    struct aead_key *key = cache_get(w, v);

    rng_bytes(w->rng, nonce, sizeof nonce);
    if (key == NULL || !xaes_derive(key, nonce, true, &d))
        return false;
    fault_here(w, KEYS_FAULT_DERIVATION, d.kx, sizeof d.kx);
    fault_here(w, KEYS_FAULT_COMMITMENT, d.commitment, sizeof d.commitment);
    head_write(blob, v, nonce, d.commitment);
    fault_here(w, KEYS_FAULT_HEAD, blob, BLOB_HEAD_LEN);
    aad_make(&aad, k, blob, callers);
    bool ok = xaes_seal(w->aead, &d, nonce, aad.parts, 2, plaintext, ciphertext, ciphertext + plaintext.len);
    fault_here(w, KEYS_FAULT_CIPHERTEXT, ciphertext, plaintext.len);
    fault_here(w, KEYS_FAULT_TAG, ciphertext + plaintext.len, BLOB_GCM_TAG_LEN);
    fault_here(w, KEYS_FAULT_BLOB, blob, plaintext.len + BLOB_OVERHEAD);
    secret_wipe(&d, sizeof d);
    return ok;
}

/* Opens a blob whose head named a version of k, with what was derived for its nonce. */
static bool blob_open(struct keys_worker *w, const struct key *k, const struct xaes_derived *d,
                      struct span blob, struct span callers, uint8_t *plaintext)
{
    size_t len = blob.len - BLOB_OVERHEAD;
    NOT_ZEROED struct aad aad;

    if (!secret_equal(d->commitment, blob.ptr + COMMITMENT_AT, BLOB_COMMITMENT_LEN))
        return false;
    aad_make(&aad, k, blob.ptr, callers);
    return xaes_open(w->aead, d, blob.ptr + NONCE_AT, aad.parts, 2, span_of(blob.ptr + BLOB_HEAD_LEN, len),
                     blob.ptr + BLOB_HEAD_LEN + len, plaintext);
}

/* As an unwrap tomorrow will do it: version by the blob's own tag, everything derived from the bytes of the
 * key and nothing that was cached, and the plaintext compared. */
static bool blob_verify(struct keys_worker *w, const struct key *k, const struct version *v, struct span blob,
                        struct span callers, struct span plaintext)
{
    NOT_ZEROED struct xaes_derived d;

    if (head_version(k, blob) != v || !xaes_derive_fresh(w->aead, v->material, blob.ptr + NONCE_AT, &d))
        return false;
    bool ok = blob_open(w, k, &d, blob, callers, w->scratch);
    fault_here(w, KEYS_FAULT_OPENED, w->scratch, plaintext.len);
    ok = ok && span_equal(span_of(w->scratch, plaintext.len), plaintext);
    secret_wipe(&d, sizeof d);
    secret_wipe(w->scratch, plaintext.len);
    return ok;
}

enum keys_status keys_wrap(struct keys_worker *w, const struct key *k, struct secret_span plaintext,
                           struct span aad, uint8_t *blob, uint32_t *version)
{
    const struct version *v = k->wraps;
    struct span in = secret_expose(plaintext);
    size_t blob_len = in.len + BLOB_OVERHEAD;
    enum keys_status status = KEYS_OK;

    *version = v == NULL ? 0 : v->number;
    if (v == NULL) {
        status = KEYS_NO_VERSION;
    } else if (in.len > EKM_PLAINTEXT_MAX || !blob_seal(w, k, v, in, aad, blob)) {
        count(w->counters, REASON_KEYS_CIPHER_FAILED);
        status = KEYS_FAULT;
    } else if (!blob_verify(w, k, v, span_of(blob, blob_len), aad, in)) {
        count(w->counters, REASON_KEYS_VERIFY_AFTER_WRAP_FAILED);
        status = KEYS_FAULT;
    }
    if (status != KEYS_OK)
        secret_wipe(blob, blob_len);
    return status;
}

/* What the states of key and version say before any cryptography. */
static enum keys_status may_unwrap(const struct key *k, const struct version *v)
{
    if (v == NULL)
        return KEYS_BAD_BLOB;
    if (k->state >= KEY_STATE_DESTROY_SCHEDULED || v->state >= KEY_STATE_DESTROY_SCHEDULED)
        return KEYS_VERSION_GONE;
    if (k->state == KEY_STATE_DISABLED || v->state == KEY_STATE_DISABLED)
        return KEYS_VERSION_OFF;
    return KEYS_OK;
}

static enum keys_status version_open(struct keys_worker *w, const struct key *k, const struct version *v,
                                     struct span blob, struct span aad, uint8_t *plaintext)
{
    NOT_ZEROED struct xaes_derived d;
    struct aead_key *key = cache_get(w, v);

    if (key == NULL || !xaes_derive(key, blob.ptr + NONCE_AT, true, &d)) {
        count(w->counters, REASON_KEYS_CIPHER_FAILED);
        return KEYS_FAULT;
    }
    bool ok = blob_open(w, k, &d, blob, aad, plaintext);
    secret_wipe(&d, sizeof d);
    return ok ? KEYS_OK : KEYS_BAD_BLOB;
}

enum keys_status keys_unwrap(struct keys_worker *w, const struct key *k, struct span blob, struct span aad,
                             uint8_t *plaintext, size_t *plaintext_len, uint32_t *version)
{
    const struct version *v = head_version(k, blob);
    enum keys_status status = may_unwrap(k, v);

    *version = v == NULL ? 0 : v->number;
    *plaintext_len = 0;
    if (status == KEYS_OK)
        status = version_open(w, k, v, blob, aad, plaintext);
    if (status == KEYS_OK)
        *plaintext_len = blob.len - BLOB_OVERHEAD;
    else if (blob.len > BLOB_OVERHEAD)
        secret_wipe(plaintext, blob.len - BLOB_OVERHEAD);
    return status;
}
