#include "drivers/crypto/vectors/accumulated.h"

#include "drivers/crypto/vectors/shake128.h"

struct message {
    uint8_t key[XAES_KEY_LEN];
    uint8_t nonce[XAES_NONCE_LEN];
    uint8_t plaintext[UINT8_MAX];
    uint8_t aad[UINT8_MAX];
    uint8_t plaintext_len;
    uint8_t aad_len;
};

static void message_draw(struct shake128 *source, struct message *m)
{
    shake128_squeeze(source, m->key, sizeof m->key);
    shake128_squeeze(source, m->nonce, sizeof m->nonce);
    shake128_squeeze(source, &m->plaintext_len, 1);
    shake128_squeeze(source, m->plaintext, m->plaintext_len);
    shake128_squeeze(source, &m->aad_len, 1);
    shake128_squeeze(source, m->aad, m->aad_len);
}

static bool seal_and_open(struct aead_worker *w, const struct message *m,
                          uint8_t out[UINT8_MAX + XAES_TAG_LEN])
{
    const struct span aad = span_of(m->aad, m->aad_len);
    const struct span in = span_of(m->plaintext, m->plaintext_len);
    uint8_t back[UINT8_MAX];
    struct xaes_derived d;
    struct aead_key *key = aead_key_new(w, m->key);

    bool ok = key != NULL && xaes_derive(key, m->nonce, false, &d) &&
              xaes_seal(w, &d, m->nonce, &aad, 1, in, out, out + in.len) &&
              xaes_open(w, &d, m->nonce, &aad, 1, span_of(out, in.len), out + in.len, back) &&
              span_equal(span_of(back, in.len), in);
    aead_key_free(key);
    return ok;
}

bool xaes_accumulate(struct aead_worker *w, uint64_t rounds, uint8_t hash[32])
{
    struct shake128 source = {.at = 0}, collector = {.at = 0};
    uint8_t out[UINT8_MAX + XAES_TAG_LEN];
    struct message m;

    for (uint64_t i = 0; i < rounds; i++) {
        message_draw(&source, &m);
        if (!seal_and_open(w, &m, out))
            return false;
        shake128_absorb(&collector, span_of(out, (size_t)m.plaintext_len + XAES_TAG_LEN));
    }
    shake128_squeeze(&collector, hash, 32);
    return true;
}
