#include "ctrl/keys/import.h"

#include "base/check.h"
#include "base/cursor.h"
#include "base/secret.h"

#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>

#define ROW_VERSION 1
#define RSA_LEN     (IMPORT_RSA_BITS / 8)
#define KEK_LEN     32

bool import_init(struct import_key *k)
{
    *k = (struct import_key){.der = secret_pages_alloc(IMPORT_DER_MAX)};
    return k->der != NULL;
}

void import_forget(struct import_key *k)
{
    secret_wipe(k->der, IMPORT_DER_MAX);
    k->der_len = 0;
}

void import_free(struct import_key *k)
{
    secret_pages_free(k->der, IMPORT_DER_MAX);
    *k = (struct import_key){0};
}

bool import_make(struct import_key *k, struct mbed_rng *rng, struct lifecycle_time now)
{
    mbedtls_pk_context pk;
    int len = -1;

    import_forget(k);
    mbedtls_pk_init(&pk);
    if (mbedtls_pk_setup(&pk, mbedtls_pk_info_from_type(MBEDTLS_PK_RSA)) == 0 &&
        mbedtls_rsa_gen_key(mbedtls_pk_rsa(pk), mbed_rng_callback, rng, IMPORT_RSA_BITS, 65537) == 0)
        len = mbedtls_pk_write_key_der(&pk, k->der, IMPORT_DER_MAX);
    mbedtls_pk_free(&pk);
    if (len <= 0)
        return false;
    /* It was written to the end of the room. */
    memmove(k->der, k->der + IMPORT_DER_MAX - len, (size_t)len);
    k->der_len = (size_t)len;
    k->made = now;
    return true;
}

bool import_is_valid(const struct import_key *k, struct lifecycle_time now)
{
    return k->der_len != 0 && now.unix_s < k->made.unix_s + IMPORT_VALID_S &&
           now.watched_s < k->made.watched_s + IMPORT_VALID_S;
}

/* ---- the row ---- */

size_t import_encode(const struct import_key *k, uint8_t *out)
{
    struct writer w = writer_of(out, IMPORT_BODY_MAX);

    if (k->der_len == 0)
        return 0;
    write_u8(&w, ROW_VERSION);
    write_u64(&w, (uint64_t)k->made.unix_s);
    write_u64(&w, k->made.watched_s);
    write_bytes(&w, span_of(k->der, k->der_len));
    CHECK(writer_ok(&w));
    return w.len;
}

static bool parse_private(const struct import_key *k, mbedtls_pk_context *pk)
{
    mbedtls_pk_init(pk);
    return mbedtls_pk_parse_key(pk, k->der, k->der_len, NULL, 0) == 0 &&
           mbedtls_pk_get_type(pk) == MBEDTLS_PK_RSA && mbedtls_pk_get_len(pk) == RSA_LEN;
}

bool import_decode(struct span body, struct import_key *k)
{
    struct cursor c = cursor_of(body);
    mbedtls_pk_context pk;

    import_forget(k);
    if (body.len == 0)
        return true;
    uint8_t version = cursor_u8(&c);
    k->made.unix_s = (int64_t)cursor_u64(&c);
    k->made.watched_s = cursor_u64(&c);
    struct span der = cursor_take(&c, c.left);
    if (!cursor_ok(&c) || version != ROW_VERSION || der.len == 0 || der.len > IMPORT_DER_MAX)
        return false;
    memcpy(k->der, der.ptr, der.len);
    k->der_len = der.len;
    bool ok = parse_private(k, &pk);
    mbedtls_pk_free(&pk);
    return ok;
}

/* ---- use ---- */

void import_public_pem(const struct import_key *k, char out[IMPORT_PEM_MAX])
{
    mbedtls_pk_context pk;

    CHECK(parse_private(k, &pk));
    CHECK(mbedtls_pk_write_pubkey_pem(&pk, (unsigned char *)out, IMPORT_PEM_MAX) == 0);
    mbedtls_pk_free(&pk);
}

static bool open_rsa(const struct import_key *k, struct mbed_rng *rng, const uint8_t *blob, uint8_t *kek)
{
    mbedtls_pk_context pk;
    size_t len = 0;

    CHECK(parse_private(k, &pk));
    mbedtls_rsa_context *rsa = mbedtls_pk_rsa(pk);
    mbedtls_rsa_set_padding(rsa, MBEDTLS_RSA_PKCS_V21, MBEDTLS_MD_SHA256);
    bool ok = mbedtls_rsa_rsaes_oaep_decrypt(rsa, mbed_rng_callback, rng, MBEDTLS_RSA_PRIVATE, NULL, 0, &len,
                                             blob, kek, KEK_LEN) == 0 &&
              len == KEK_LEN;
    mbedtls_pk_free(&pk);
    return ok;
}

static bool is_all_zero(const uint8_t *p, size_t len)
{
    uint8_t any = 0;

    for (size_t i = 0; i < len; i++)
        any |= p[i];
    return any == 0;
}

static bool has_sound_length(struct span blob, bool private_key, struct refusal *why)
{
    static const char manual[] = "see docs/OPERATIONS.md, \"Importing a key\"";

    if (private_key)
        return (blob.len > IMPORT_BLOB_LEN && blob.len <= IMPORT_BLOB_MAX && blob.len % 8 == 0) ||
               refuse(why, "bad_import", manual,
                      "the file must be a private key under RSA-OAEP and AES-KWP, one after the other, of at "
                      "most %d bytes; "
                      "it has %zu",
                      IMPORT_BLOB_MAX, blob.len);
    return blob.len == IMPORT_BLOB_LEN ||
           refuse(why, "bad_import", manual,
                  "the file must have %d bytes, RSA-OAEP and AES-KWP one after the other; it has %zu",
                  IMPORT_BLOB_LEN, blob.len);
}

bool import_open(const struct import_key *k, struct mbed_rng *rng, struct span blob, bool private_key,
                 uint8_t *material, size_t *len, struct refusal *why)
{
    uint8_t *kek = material + PRIVATE_KEY_MAX;

    *len = 0;
    if (!has_sound_length(blob, private_key, why))
        return false;
    bool ok = open_rsa(k, rng, blob.ptr, kek) &&
              kwp_open(span_of(kek, KEK_LEN), span_from(blob, RSA_LEN), material, len) == KWP_OK &&
              (private_key || *len == KEY_MATERIAL_LEN);
    bool zero = ok && is_all_zero(material, *len);
    secret_wipe(kek, KEK_LEN);
    if (ok && !zero)
        return true;
    secret_wipe(material, PRIVATE_KEY_MAX);
    *len = 0;
    if (zero)
        return refuse(why, "bad_material", "make the key anew where it comes from", "the key is all zeros");
    return refuse(why, "bad_import",
                  "wrap it under the key that wwctl key import-key prints now, and name its algorithm",
                  "the file does not open: another import key, another algorithm, or damage");
}
