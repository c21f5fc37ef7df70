#include "bench/load/thin.h"

#include "base/check.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#define RECORD_HEAD   5
#define MESSAGE_HEAD  4
#define TAG           16
#define SHARE         32  /* X25519 */
#define BLOCK         128 /* of SHA-384 */
#define EXT_KEY_SHARE 51
#define GROUP_X25519  0x1d
#define CLOSE_NOTIFY  "\x01\x00"

enum record { RECORD_CCS = 20, RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };
enum message { MESSAGE_SERVER_HELLO = 2, MESSAGE_FINISHED = 20 };

/* The base point: what 1 times it is. */
static const uint8_t public_key[SHARE] = {9};

static size_t get16(const uint8_t *at)
{
    return (size_t)at[0] << 8 | at[1];
}

static void put16(uint8_t *at, size_t n)
{
    at[0] = (uint8_t)(n >> 8);
    at[1] = (uint8_t)n;
}

static void broken(struct thin *t)
{
    t->state = THIN_BROKEN;
}

/* ---- secrets (RFC 8446, 7.1) ---- */

static void digest(struct thin_kind *k, const uint8_t *data, size_t len, uint8_t out[THIN_HASH])
{
    CHECK(EVP_DigestInit_ex2(k->hash, k->sha384, NULL) == 1 && EVP_DigestUpdate(k->hash, data, len) == 1 &&
          EVP_DigestFinal_ex(k->hash, out, NULL) == 1);
}

/* Both, one behind the other. */
static void digest_two(struct thin_kind *k, const uint8_t first[BLOCK], const uint8_t *data, size_t len,
                       uint8_t out[THIN_HASH])
{
    CHECK(EVP_DigestInit_ex2(k->hash, k->sha384, NULL) == 1 && EVP_DigestUpdate(k->hash, first, BLOCK) == 1 &&
          EVP_DigestUpdate(k->hash, data, len) == 1 && EVP_DigestFinal_ex(k->hash, out, NULL) == 1);
}

static void hmac(struct thin_kind *k, const uint8_t key[THIN_HASH], const uint8_t *data, size_t len,
                 uint8_t out[THIN_HASH])
{
    uint8_t inner[BLOCK], outer[BLOCK], middle[THIN_HASH];

    memset(inner, 0x36, sizeof inner);
    memset(outer, 0x5c, sizeof outer);
    for (size_t i = 0; i < THIN_HASH; i++) {
        inner[i] ^= key[i];
        outer[i] ^= key[i];
    }
    digest_two(k, inner, data, len, middle);
    digest_two(k, outer, middle, sizeof middle, out);
}

/* HKDF-Expand-Label of at most one block; context is a hash, or NULL for none. */
static void expand(struct thin_kind *k, const uint8_t secret[THIN_HASH], const char *label,
                   const uint8_t *context, uint8_t *out, size_t out_len)
{
    uint8_t info[2 + 1 + 6 + 16 + 1 + THIN_HASH + 1] = {0}, block[THIN_HASH];
    size_t label_len = strlen(label), context_len = context == NULL ? 0 : THIN_HASH, at = 3;

    CHECK(label_len <= 16 && out_len <= THIN_HASH);
    put16(info, out_len);
    info[2] = (uint8_t)(6 + label_len);
    memcpy(info + at, "tls13 ", 6);
    memcpy(info + at + 6, label, label_len);
    at += 6 + label_len;
    info[at++] = (uint8_t)context_len;
    if (context != NULL)
        memcpy(info + at, context, context_len);
    at += context_len;
    info[at++] = 1;
    hmac(k, secret, info, at, block);
    memcpy(out, block, out_len);
}

static void keys_from(struct thin_kind *k, const uint8_t secret[THIN_HASH], struct thin_keys *out)
{
    expand(k, secret, "key", NULL, out->key, sizeof out->key);
    expand(k, secret, "iv", NULL, out->iv, sizeof out->iv);
    out->records = 0;
}

static void transcript(const struct thin *t, size_t len, uint8_t out[THIN_HASH])
{
    digest(t->kind, t->flight, len, out);
}

static void derived(struct thin_kind *k, const uint8_t secret[THIN_HASH], uint8_t out[THIN_HASH])
{
    uint8_t nothing[THIN_HASH];

    digest(k, (const uint8_t *)"", 0, nothing);
    expand(k, secret, "derived", nothing, out, THIN_HASH);
}

/* With ClientHello to ServerHello in the transcript. */
static void handshake_keys(struct thin *t, const uint8_t shared[SHARE])
{
    uint8_t hash[THIN_HASH];

    transcript(t, t->flight_at, hash);
    hmac(t->kind, t->kind->early, shared, SHARE, t->handshake);
    expand(t->kind, t->handshake, "s hs traffic", hash, t->server_secret, THIN_HASH);
    expand(t->kind, t->handshake, "c hs traffic", hash, t->client_secret, THIN_HASH);
    keys_from(t->kind, t->server_secret, &t->from);
    keys_from(t->kind, t->client_secret, &t->to);
}

static void finished(struct thin_kind *k, const uint8_t secret[THIN_HASH], const uint8_t hash[THIN_HASH],
                     uint8_t out[THIN_HASH])
{
    uint8_t key[THIN_HASH];

    expand(k, secret, "finished", NULL, key, sizeof key);
    hmac(k, key, hash, THIN_HASH, out);
}

/* With the server's Finished in the transcript. */
static void data_keys(struct thin *t, const uint8_t hash[THIN_HASH])
{
    static const uint8_t none[THIN_HASH];
    uint8_t salt[THIN_HASH], master[THIN_HASH], secret[THIN_HASH];

    derived(t->kind, t->handshake, salt);
    hmac(t->kind, salt, none, sizeof none, master);
    expand(t->kind, master, "s ap traffic", hash, secret, sizeof secret);
    keys_from(t->kind, secret, &t->from);
    expand(t->kind, master, "c ap traffic", hash, secret, sizeof secret);
    keys_from(t->kind, secret, &t->to);
}

/* ---- records ---- */

static void nonce_next(struct thin_keys *k, uint8_t out[12])
{
    memcpy(out, k->iv, 12);
    for (size_t i = 0; i < 8; i++)
        out[11 - i] ^= (uint8_t)(k->records >> 8 * i);
    k->records++;
}

/* false: no room. */
static bool seal(struct thin *t, enum record type, const void *data, size_t len)
{
    EVP_CIPHER_CTX *c = t->kind->cipher;
    uint8_t nonce[12], inner = (uint8_t)type, *head = t->out + t->out_len, *body = head + RECORD_HEAD;
    int done = 0, more = 0, last = 0;

    if (len + 1 + TAG + RECORD_HEAD > THIN_OUT_MAX - t->out_len)
        return false;
    head[0] = RECORD_DATA;
    put16(head + 1, 0x0303);
    put16(head + 3, len + 1 + TAG);
    nonce_next(&t->to, nonce);
    CHECK(EVP_EncryptInit_ex2(c, t->kind->gcm, t->to.key, nonce, NULL) == 1 &&
          EVP_EncryptUpdate(c, NULL, &done, head, RECORD_HEAD) == 1 &&
          EVP_EncryptUpdate(c, body, &done, data, (int)len) == 1 &&
          EVP_EncryptUpdate(c, body + done, &more, &inner, 1) == 1 &&
          EVP_EncryptFinal_ex(c, body + done + more, &last) == 1 &&
          EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, body + len + 1) == 1);
    t->out_len += RECORD_HEAD + len + 1 + TAG;
    return true;
}

/* The length of what was in the record, and its kind; false: it is not the server's, or has no room. */
static bool unseal(struct thin *t, const uint8_t *record, size_t len, uint8_t *out, size_t cap,
                   size_t *out_len, uint8_t *type)
{
    EVP_CIPHER_CTX *c = t->kind->cipher;
    uint8_t nonce[12], tag[TAG];
    int done = 0, last = 0;

    if (len < TAG + 1 || len - TAG > cap)
        return false;
    len -= TAG;
    memcpy(tag, record + RECORD_HEAD + len, TAG);
    nonce_next(&t->from, nonce);
    if (EVP_DecryptInit_ex2(c, t->kind->gcm, t->from.key, nonce, NULL) != 1 ||
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, tag) != 1 ||
        EVP_DecryptUpdate(c, NULL, &done, record, RECORD_HEAD) != 1 ||
        EVP_DecryptUpdate(c, out, &done, record + RECORD_HEAD, (int)len) != 1 ||
        EVP_DecryptFinal_ex(c, out + done, &last) != 1)
        return false;
    while (len > 0 && out[len - 1] == 0)
        len--;
    if (len == 0)
        return false;
    *type = out[len - 1];
    *out_len = len - 1;
    return true;
}

/* ---- the handshake ---- */

/* Where the extension's data begins; NULL: it is not there. */
static const uint8_t *extension_find(const uint8_t *list, size_t len, size_t type, size_t *found_len)
{
    for (size_t at = 0; at + 4 <= len;) {
        size_t each = get16(list + at + 2);
        if (each > len - at - 4)
            return NULL;
        if (get16(list + at) == type) {
            *found_len = each;
            return list + at + 4;
        }
        at += 4 + each;
    }
    return NULL;
}

/* version, random, session id, cipher suite, compression, extensions */
static void server_hello(struct thin *t, const uint8_t *body, size_t len)
{
    size_t session_id = len < 2 + THIN_RANDOM + 1 ? len : body[2 + THIN_RANDOM],
           at = 2 + THIN_RANDOM + 1 + session_id + 3, share_len = 0;

    if (at + 2 > len || get16(body + at) != len - at - 2) {
        broken(t);
        return;
    }
    const uint8_t *share = extension_find(body + at + 2, len - at - 2, EXT_KEY_SHARE, &share_len);
    if (share == NULL || share_len != 4 + SHARE || get16(share) != GROUP_X25519) {
        broken(t);
        return;
    }
    handshake_keys(t, share + 4);
    t->state = THIN_FLIGHT;
}

/* before: how much of the transcript its Finished is over. */
static void server_finished(struct thin *t, size_t before, const uint8_t *body, size_t len)
{
    static const uint8_t change[] = {RECORD_CCS, 3, 3, 0, 1, 1};
    uint8_t hash[THIN_HASH], want[THIN_HASH],
        message[MESSAGE_HEAD + THIN_HASH] = {MESSAGE_FINISHED, 0, 0, THIN_HASH};

    transcript(t, before, hash);
    finished(t->kind, t->server_secret, hash, want);
    if (len != THIN_HASH || memcmp(body, want, THIN_HASH) != 0) {
        broken(t);
        return;
    }
    transcript(t, t->flight_at, hash);
    finished(t->kind, t->client_secret, hash, message + MESSAGE_HEAD);
    memcpy(t->out + t->out_len, change, sizeof change); /* as OpenSSL does */
    t->out_len += sizeof change;
    CHECK(seal(t, RECORD_HANDSHAKE, message, sizeof message));
    data_keys(t, hash);
    t->state = THIN_OPEN;
}

static void message_take(struct thin *t, const uint8_t *message, size_t len)
{
    size_t before = t->flight_at;

    t->flight_at += MESSAGE_HEAD + len;
    if (t->state == THIN_HELLO && message[0] == MESSAGE_SERVER_HELLO)
        server_hello(t, message + MESSAGE_HEAD, len);
    else if (t->state == THIN_HELLO)
        broken(t);
    else if (message[0] == MESSAGE_FINISHED)
        server_finished(t, before, message + MESSAGE_HEAD, len);
}

/* Whole messages of the transcript; certificate and signature are passed over. */
static void flight_look(struct thin *t)
{
    while (t->state <= THIN_FLIGHT && t->flight_len - t->flight_at >= MESSAGE_HEAD) {
        const uint8_t *message = t->flight + t->flight_at;
        size_t len = (size_t)message[1] << 16 | get16(message + 2);
        if (len > t->flight_len - t->flight_at - MESSAGE_HEAD)
            return;
        message_take(t, message, len);
    }
}

static void clear_take(struct thin *t, const uint8_t *body, size_t len)
{
    if (t->state != THIN_HELLO || len > sizeof t->flight - t->flight_len) {
        broken(t);
        return;
    }
    memcpy(t->flight + t->flight_len, body, len);
    t->flight_len += len;
    flight_look(t);
}

/* Returns how much of a reply there was. */
static size_t sealed_take(struct thin *t, const uint8_t *record, size_t len, char *reply, size_t cap)
{
    bool open = t->state == THIN_OPEN;
    uint8_t *out = open ? (uint8_t *)reply : t->flight + t->flight_len, type = 0;
    size_t got = 0;

    if (t->state == THIN_HELLO ||
        !unseal(t, record, len, out, open ? cap : sizeof t->flight - t->flight_len, &got, &type)) {
        broken(t);
    } else if (type == RECORD_DATA && open) {
        return got;
    } else if (type == RECORD_ALERT) {
        t->state = got == 2 && memcmp(out, CLOSE_NOTIFY, 2) == 0 ? THIN_ENDED : THIN_BROKEN;
    } else if (type == RECORD_HANDSHAKE && !open) {
        t->flight_len += got;
        flight_look(t);
    } else if (type != RECORD_HANDSHAKE) { /* else: tickets */
        broken(t);
    }
    return 0;
}

static size_t record_take(struct thin *t, const uint8_t *record, size_t len, char *reply, size_t cap)
{
    if (get16(record + 1) != 0x0303) {
        broken(t);
        return 0;
    }
    switch (record[0]) {
    case RECORD_CCS:
        if (t->state != THIN_FLIGHT || len != 1 || record[RECORD_HEAD] != 1)
            broken(t);
        return 0;
    case RECORD_HANDSHAKE:
        clear_take(t, record + RECORD_HEAD, len);
        return 0;
    case RECORD_DATA:
        return sealed_take(t, record, len, reply, cap);
    default:
        broken(t);
        return 0;
    }
}

/* ---- the door ---- */

size_t thin_take(struct thin *t, char *reply, size_t cap)
{
    size_t at = 0, got = 0;

    while (t->state <= THIN_OPEN && t->in_len - at >= RECORD_HEAD) {
        size_t len = get16(t->in + at + 3);
        if (len > THIN_IN_MAX - RECORD_HEAD)
            broken(t);
        if (len > t->in_len - at - RECORD_HEAD)
            break;
        got += record_take(t, t->in + at, len, reply + got, cap - got);
        at += RECORD_HEAD + len;
    }
    t->in_len -= at;
    memmove(t->in, t->in + at, t->in_len);
    return got;
}

bool thin_ask(struct thin *t, const char *request, size_t len)
{
    return seal(t, RECORD_DATA, request, len);
}

bool thin_bye(struct thin *t)
{
    return t->state == THIN_OPEN && seal(t, RECORD_ALERT, CLOSE_NOTIFY, 2);
}

void thin_begin(struct thin *t, struct thin_kind *k)
{
    t->kind = k;
    t->state = THIN_HELLO;
    t->in_len = 0;
    t->out_len = k->hello_len;
    memcpy(t->out, k->hello, k->hello_len);
    CHECK(RAND_bytes(t->out + k->random_at, THIN_RANDOM) == 1 &&
          RAND_bytes(t->out + k->session_id_at, k->session_id_len) == 1);
    t->flight_len = t->flight_at = k->hello_len - RECORD_HEAD;
    memcpy(t->flight, t->out + RECORD_HEAD, t->flight_len);
}

/* ---- what all share ---- */

/* Finds in OpenSSL's ClientHello what differs from one to the next, and puts our public key in. */
static bool hello_prepare(struct thin_kind *k)
{
    uint8_t *hello = k->hello;
    size_t at, share_len = 0;

    k->random_at = RECORD_HEAD + MESSAGE_HEAD + 2;
    k->session_id_at = k->random_at + THIN_RANDOM + 1;
    if (k->hello_len < k->session_id_at || get16(hello + 3) != k->hello_len - RECORD_HEAD)
        return false;
    k->session_id_len = hello[k->session_id_at - 1];
    at = k->session_id_at + (size_t)k->session_id_len;
    if (at + 2 > k->hello_len)
        return false;
    at += 2 + get16(hello + at); /* cipher suites */
    if (at + 4 > k->hello_len || hello[at] != 1)
        return false;
    at += 2; /* compression: none */
    uint8_t *share = (uint8_t *)(uintptr_t)extension_find(hello + at + 2, k->hello_len - at - 2,
                                                          EXT_KEY_SHARE, &share_len);
    if (share == NULL || share_len != 6 + SHARE || get16(share + 2) != GROUP_X25519)
        return false;
    memcpy(share + 6, public_key, SHARE);
    return true;
}

static size_t hello_of_openssl(SSL_CTX *tls, const char *host, uint8_t *out, size_t cap)
{
    SSL *ssl = SSL_new(tls);
    BIO *in = BIO_new(BIO_s_mem()), *written = BIO_new(BIO_s_mem());
    int len = 0;

    if (ssl == NULL || in == NULL || written == NULL) {
        BIO_free(in);
        BIO_free(written);
    } else {
        SSL_set_bio(ssl, in, written);
        if (SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_connect(ssl) != 1)
            len = BIO_read(written, out, (int)cap);
    }
    SSL_free(ssl);
    return len > 0 ? (size_t)len : 0;
}

bool thin_kind_new(struct thin_kind *k, SSL_CTX *tls, const char *host)
{
    static const uint8_t none[THIN_HASH];
    uint8_t secret[THIN_HASH];

    *k = (struct thin_kind){.sha384 = EVP_MD_fetch(NULL, "SHA384", NULL),
                            .hash = EVP_MD_CTX_new(),
                            .gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL),
                            .cipher = EVP_CIPHER_CTX_new()};
    k->hello_len = hello_of_openssl(tls, host, k->hello, sizeof k->hello);
    if (k->sha384 == NULL || k->hash == NULL || k->gcm == NULL || k->cipher == NULL || !hello_prepare(k)) {
        fprintf(stderr, "ww-bench: OpenSSL's ClientHello is not as expected\n");
        thin_kind_free(k);
        return false;
    }
    hmac(k, none, none, sizeof none, secret);
    derived(k, secret, k->early);
    return true;
}

void thin_kind_free(struct thin_kind *k)
{
    EVP_MD_free(k->sha384);
    EVP_MD_CTX_free(k->hash);
    EVP_CIPHER_free(k->gcm);
    EVP_CIPHER_CTX_free(k->cipher);
    *k = (struct thin_kind){0};
}
