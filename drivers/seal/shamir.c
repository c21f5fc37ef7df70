#include "drivers/seal/shamir.h"

#include "base/check.h"
#include "base/cursor.h"
#include "base/secret.h"
#include "drivers/seal/bech32.h"
#include "drivers/seal/gf256.h"

#define SHARE_VERSION 1
#define RECORD_LEN    (1 + SHAMIR_SET_LEN + 3 + SHAMIR_DIGEST_LEN + SHAMIR_SECRET_LEN)

static const char prefix[] = "wwshare";

_Static_assert(BECH32_LEN(sizeof prefix - 1, RECORD_LEN) == SHAMIR_TEXT_LEN, "a share's length on paper");

static bool numbers_allowed(uint8_t threshold, uint8_t count)
{
    return threshold >= 2 && threshold <= count && count <= SHAMIR_SHARES_MAX;
}

/* Bound to the set and its numbers, so that a share whose threshold was altered does not combine. */
static void secret_digest(const struct shamir_share *of, const uint8_t secret[SHAMIR_SECRET_LEN],
                          uint8_t out[SHAMIR_DIGEST_LEN])
{
    static const char label[] = "wirewrap paper share v1";
    uint8_t in[sizeof label + SHAMIR_SET_LEN + 2 + SHAMIR_SECRET_LEN], digest[MBED_DIGEST_LEN];
    struct writer w = writer_of(in, sizeof in);

    write_bytes(&w, span_of(label, sizeof label));
    write_bytes(&w, span_of(of->set, SHAMIR_SET_LEN));
    write_u8(&w, of->threshold);
    write_u8(&w, of->count);
    write_bytes(&w, span_of(secret, SHAMIR_SECRET_LEN));
    CHECK(writer_ok(&w) && w.len == sizeof in);
    mbed_sha256(writer_span(&w), digest);
    memcpy(out, digest, SHAMIR_DIGEST_LEN);
    secret_wipe(in, sizeof in);
}

/* Horner's rule: the polynomial with the secret as its constant term, at x. */
static void evaluate(const uint8_t secret[SHAMIR_SECRET_LEN], const uint8_t coefficients[][SHAMIR_SECRET_LEN],
                     size_t degree, uint8_t x, uint8_t out[SHAMIR_SECRET_LEN])
{
    for (size_t i = 0; i < SHAMIR_SECRET_LEN; i++) {
        uint8_t sum = 0;

        for (size_t power = degree; power > 0; power--)
            sum = gf256_mul(sum ^ coefficients[power - 1][i], x);
        out[i] = sum ^ secret[i];
    }
}

enum shamir_status shamir_split(struct mbed_rng *rng, uint8_t threshold, uint8_t count,
                                const uint8_t secret[SHAMIR_SECRET_LEN], struct shamir_share *shares)
{
    uint8_t coefficients[SHAMIR_SHARES_MAX - 1][SHAMIR_SECRET_LEN];
    struct shamir_share common = {.threshold = threshold, .count = count};

    if (!numbers_allowed(threshold, count))
        return SHAMIR_BAD_NUMBERS;
    mbed_random(rng, common.set, sizeof common.set);
    mbed_random(rng, coefficients, sizeof coefficients);
    secret_digest(&common, secret, common.digest);
    for (uint8_t i = 0; i < count; i++) {
        shares[i] = common;
        shares[i].index = (uint8_t)(i + 1);
        evaluate(secret, coefficients, threshold - 1u, shares[i].index, shares[i].value);
    }
    secret_wipe(coefficients, sizeof coefficients);
    return SHAMIR_OK;
}

static bool same_set(const struct shamir_share *a, const struct shamir_share *b)
{
    return memcmp(a->set, b->set, SHAMIR_SET_LEN) == 0 && a->threshold == b->threshold &&
           a->count == b->count && memcmp(a->digest, b->digest, SHAMIR_DIGEST_LEN) == 0;
}

static enum shamir_status shares_fit(const struct shamir_share *shares, size_t given, size_t *at)
{
    uint32_t seen = 0;

    *at = 0;
    if (given == 0 || given > SHAMIR_SHARES_MAX)
        return given == 0 ? SHAMIR_TOO_FEW : SHAMIR_BAD_NUMBERS;
    if (!numbers_allowed(shares[0].threshold, shares[0].count))
        return SHAMIR_BAD_NUMBERS;
    for (*at = 0; *at < given; *at += 1) {
        const struct shamir_share *s = &shares[*at];

        if (!same_set(&shares[0], s))
            return SHAMIR_OTHER_SET;
        if (s->index == 0 || s->index > s->count)
            return SHAMIR_BAD_NUMBERS;
        if ((seen >> s->index & 1) != 0)
            return SHAMIR_TWICE;
        seen |= 1u << s->index;
    }
    return given < shares[0].threshold ? SHAMIR_TOO_FEW : SHAMIR_OK;
}

/* Lagrange's weight of share i at x = 0: the product of x_j / (x_j - x_i) over all others. */
static uint8_t weight(const struct shamir_share *shares, size_t given, size_t i)
{
    uint8_t above = 1, below = 1;

    for (size_t j = 0; j < given; j++) {
        if (j == i)
            continue;
        above = gf256_mul(above, shares[j].index);
        below = gf256_mul(below, shares[j].index ^ shares[i].index);
    }
    return gf256_mul(above, gf256_inverse(below));
}

enum shamir_status shamir_combine(const struct shamir_share *shares, size_t given,
                                  uint8_t secret[SHAMIR_SECRET_LEN], size_t *at)
{
    uint8_t digest[SHAMIR_DIGEST_LEN];

    secret_wipe(secret, SHAMIR_SECRET_LEN);
    enum shamir_status status = shares_fit(shares, given, at);
    if (status != SHAMIR_OK)
        return status;
    for (size_t i = 0; i < given; i++) {
        uint8_t w = weight(shares, given, i);

        for (size_t b = 0; b < SHAMIR_SECRET_LEN; b++)
            secret[b] ^= gf256_mul(w, shares[i].value[b]);
    }
    secret_digest(&shares[0], secret, digest);
    if (secret_equal(digest, shares[0].digest, SHAMIR_DIGEST_LEN))
        return SHAMIR_OK;
    secret_wipe(secret, SHAMIR_SECRET_LEN);
    return SHAMIR_WRONG_SECRET;
}

void shamir_print(const struct shamir_share *s, char *out)
{
    uint8_t record[RECORD_LEN];
    struct writer w = writer_of(record, sizeof record);

    write_u8(&w, SHARE_VERSION);
    write_bytes(&w, span_of(s->set, SHAMIR_SET_LEN));
    write_u8(&w, s->threshold);
    write_u8(&w, s->count);
    write_u8(&w, s->index);
    write_bytes(&w, span_of(s->digest, SHAMIR_DIGEST_LEN));
    write_bytes(&w, span_of(s->value, SHAMIR_SECRET_LEN));
    CHECK(writer_ok(&w) && w.len == RECORD_LEN);
    bech32_print(prefix, writer_span(&w), out);
    secret_wipe(record, sizeof record);
}

static bool stands_between(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '-';
}

/* What people add and change when they type: gone.  More than a share's length is kept as one too many. */
static size_t tidy(struct span text, uint8_t out[SHAMIR_TEXT_LEN + 1])
{
    size_t len = 0;

    for (size_t i = 0; i < text.len && len <= SHAMIR_TEXT_LEN; i++) {
        uint8_t c = text.ptr[i];

        if (!stands_between(c))
            out[len++] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
    }
    return len;
}

static enum shamir_status read_record(struct span record, struct shamir_share *out)
{
    struct cursor c = cursor_of(record);
    uint8_t version = cursor_u8(&c);

    memcpy(out->set, cursor_take(&c, SHAMIR_SET_LEN).ptr, SHAMIR_SET_LEN);
    out->threshold = cursor_u8(&c);
    out->count = cursor_u8(&c);
    out->index = cursor_u8(&c);
    memcpy(out->digest, cursor_take(&c, SHAMIR_DIGEST_LEN).ptr, SHAMIR_DIGEST_LEN);
    memcpy(out->value, cursor_take(&c, SHAMIR_SECRET_LEN).ptr, SHAMIR_SECRET_LEN);
    CHECK(cursor_ok(&c));
    if (version != SHARE_VERSION)
        return SHAMIR_NOT_A_SHARE;
    if (!numbers_allowed(out->threshold, out->count) || out->index == 0 || out->index > out->count)
        return SHAMIR_BAD_NUMBERS;
    return SHAMIR_OK;
}

enum shamir_status shamir_parse(struct span text, struct shamir_share *out)
{
    uint8_t tidied[SHAMIR_TEXT_LEN + 1], record[RECORD_LEN];
    enum shamir_status status = SHAMIR_NOT_A_SHARE;

    secret_wipe(out, sizeof *out);
    if (text.len > SHAMIR_TEXT_MAX)
        return SHAMIR_NOT_A_SHARE;
    size_t len = tidy(text, tidied);
    enum bech32_status shape = bech32_parse(prefix, span_of(tidied, len), record, sizeof record);
    if (shape == BECH32_CHECKSUM)
        status = SHAMIR_DAMAGED;
    else if (shape == BECH32_OK)
        status = read_record(span_of(record, sizeof record), out);
    if (status != SHAMIR_OK)
        secret_wipe(out, sizeof *out);
    secret_wipe(tidied, sizeof tidied);
    secret_wipe(record, sizeof record);
    return status;
}

const char *shamir_status_text(enum shamir_status s)
{
    switch (s) {
    case SHAMIR_OK:
        return "combined";
    case SHAMIR_BAD_NUMBERS:
        return "threshold, count or index is out of range: 2 <= threshold <= count <= 16";
    case SHAMIR_NOT_A_SHARE:
        return "not a share: it has 98 characters and begins with wwshare1";
    case SHAMIR_DAMAGED:
        return "the share has a wrong character: compare it with the paper";
    case SHAMIR_OTHER_SET:
        return "the share is of another set";
    case SHAMIR_TWICE:
        return "the same share was given twice";
    case SHAMIR_TOO_FEW:
        return "too few shares";
    case SHAMIR_WRONG_SECRET:
        return "the shares do not combine: one of them was altered";
    }
    return "unknown";
}
