#include "base/secret.h"
#include "drivers/seal/age.h"
#include "drivers/seal/bech32.h"
#include "drivers/seal/x25519.h"

static const char recipient_prefix[] = "age";
static const char identity_prefix[] = "age-secret-key-";

_Static_assert(BECH32_LEN(sizeof recipient_prefix - 1, AGE_KEY_LEN) == AGE_RECIPIENT_TEXT_LEN, "age1...");
_Static_assert(BECH32_LEN(sizeof identity_prefix - 1, AGE_KEY_LEN) == AGE_IDENTITY_TEXT_LEN,
               "AGE-SECRET-KEY-1...");

void age_identity_new(struct mbed_rng *rng, uint8_t identity[AGE_KEY_LEN])
{
    mbed_random(rng, identity, AGE_KEY_LEN);
}

struct age_recipient age_recipient_of(struct mbed_rng *rng, const uint8_t identity[AGE_KEY_LEN])
{
    struct age_recipient r;

    x25519_public(rng, identity, r.u);
    return r;
}

void age_recipient_print(const struct age_recipient *r, char *out)
{
    bech32_print(recipient_prefix, span_of(r->u, sizeof r->u), out);
}

/* A point of small order would be opened by everybody: it is refused here, where a person can still be told.
 * */
enum age_status age_recipient_parse(struct mbed_rng *rng, struct span text, struct age_recipient *out)
{
    uint8_t scalar[AGE_KEY_LEN], shared[AGE_KEY_LEN];

    if (bech32_parse(recipient_prefix, text, out->u, sizeof out->u) != BECH32_OK)
        return AGE_BAD_KEY;
    mbed_random(rng, scalar, sizeof scalar);
    bool usable = x25519(rng, scalar, out->u, shared);
    secret_wipe(scalar, sizeof scalar);
    secret_wipe(shared, sizeof shared);
    return usable ? AGE_OK : AGE_BAD_KEY;
}

void age_identity_print(const uint8_t identity[AGE_KEY_LEN], char *out)
{
    bech32_print(identity_prefix, span_of(identity, AGE_KEY_LEN), out);
    for (char *p = out; *p != '\0'; p++)
        *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
}

enum age_status age_identity_parse(struct span text, uint8_t out[AGE_KEY_LEN])
{
    return bech32_parse(identity_prefix, text, out, AGE_KEY_LEN) == BECH32_OK ? AGE_OK : AGE_BAD_KEY;
}

static struct span line_of(struct span text)
{
    const uint8_t *end = memchr(text.ptr, '\n', text.len);
    size_t len = end == NULL ? text.len : (size_t)(end - text.ptr);

    return span_of(text.ptr, len);
}

static struct span without_blanks(struct span line)
{
    while (line.len != 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t'))
        line = span_from(line, 1);
    while (line.len != 0 && (line.ptr[line.len - 1] <= ' '))
        line.len -= 1;
    return line;
}

enum age_status age_identity_find(struct span file, uint8_t out[AGE_KEY_LEN])
{
    secret_wipe(out, AGE_KEY_LEN);
    while (file.len != 0) {
        struct span line = line_of(file), key = without_blanks(line);

        if (key.len != 0 && key.ptr[0] != '#')
            return age_identity_parse(key, out);
        file = span_from(file, line.len + 1);
    }
    return AGE_BAD_KEY;
}
