#include "drivers/seal/bech32.h"

#include "base/check.h"
#include "base/secret.h"

#define SYMBOLS_MAX  ((BECH32_DATA_MAX * 8 + 4) / 5 + 6)
#define CHECKSUM_LEN 6

static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static uint32_t polymod_step(uint32_t sum, uint8_t symbol)
{
    static const uint32_t generator[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
    uint32_t top = sum >> 25;

    sum = (sum & 0x1ffffff) << 5 ^ symbol;
    for (unsigned i = 0; i < 5; i++)
        sum ^= generator[i] & (0u - (top >> i & 1));
    return sum;
}

static uint32_t polymod(const char *prefix, const uint8_t *symbols, size_t count)
{
    uint32_t sum = 1;

    for (const char *p = prefix; *p != '\0'; p++)
        sum = polymod_step(sum, (uint8_t)*p >> 5);
    sum = polymod_step(sum, 0);
    for (const char *p = prefix; *p != '\0'; p++)
        sum = polymod_step(sum, *p & 31);
    for (size_t i = 0; i < count; i++)
        sum = polymod_step(sum, symbols[i]);
    return sum;
}

static size_t to_symbols(struct span data, uint8_t *symbols)
{
    uint32_t held = 0;
    unsigned bits = 0;
    size_t count = 0;

    for (size_t i = 0; i < data.len; i++) {
        held = (held << 8 | data.ptr[i]) & 0xfff;
        for (bits += 8; bits >= 5; bits -= 5)
            symbols[count++] = held >> (bits - 5) & 31;
    }
    if (bits != 0)
        symbols[count++] = (uint8_t)(held << (5 - bits) & 31);
    return count;
}

void bech32_print(const char *prefix, struct span data, char *out)
{
    uint8_t symbols[SYMBOLS_MAX] = {0};
    size_t prefix_len = strlen(prefix);

    CHECK(prefix_len <= BECH32_PREFIX_MAX && data.len <= BECH32_DATA_MAX);
    size_t count = to_symbols(data, symbols);
    uint32_t sum = polymod(prefix, symbols, count + CHECKSUM_LEN) ^ 1;
    for (size_t i = 0; i < CHECKSUM_LEN; i++)
        symbols[count + i] = sum >> 5 * (CHECKSUM_LEN - 1 - i) & 31;
    memcpy(out, prefix, prefix_len);
    out[prefix_len] = '1';
    for (size_t i = 0; i < count + CHECKSUM_LEN; i++)
        out[prefix_len + 1 + i] = alphabet[symbols[i]];
    out[prefix_len + 1 + count + CHECKSUM_LEN] = '\0';
    secret_wipe(symbols, sizeof symbols);
}

static char lowered(uint8_t c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static bool one_case(struct span text)
{
    bool lower = false, upper = false;

    for (size_t i = 0; i < text.len; i++) {
        lower |= text.ptr[i] >= 'a' && text.ptr[i] <= 'z';
        upper |= text.ptr[i] >= 'A' && text.ptr[i] <= 'Z';
    }
    return !(lower && upper);
}

static bool read_symbols(const char *prefix, struct span text, uint8_t *symbols)
{
    size_t prefix_len = strlen(prefix);

    for (size_t i = 0; i < prefix_len; i++) {
        if (lowered(text.ptr[i]) != prefix[i])
            return false;
    }
    if (text.ptr[prefix_len] != '1')
        return false;
    for (size_t i = prefix_len + 1; i < text.len; i++) {
        char c = lowered(text.ptr[i]);
        const char *at = c == '\0' ? NULL : strchr(alphabet, c);

        if (at == NULL)
            return false;
        symbols[i - prefix_len - 1] = (uint8_t)(at - alphabet);
    }
    return true;
}

/* The bits after the last whole byte are zero, or two texts would name one thing. */
static bool from_symbols(const uint8_t *symbols, size_t count, uint8_t *data)
{
    uint32_t held = 0;
    unsigned bits = 0;

    for (size_t i = 0; i < count; i++) {
        held = (held << 5 | symbols[i]) & 0xfff;
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            *data++ = (uint8_t)(held >> bits);
        }
    }
    return (held & ((1u << bits) - 1)) == 0;
}

enum bech32_status bech32_parse(const char *prefix, struct span text, uint8_t *data, size_t data_len)
{
    uint8_t symbols[SYMBOLS_MAX];
    size_t prefix_len = strlen(prefix), count = (data_len * 8 + 4) / 5;
    enum bech32_status status = BECH32_MALFORMED;

    CHECK(prefix_len <= BECH32_PREFIX_MAX && data_len <= BECH32_DATA_MAX);
    secret_wipe(data, data_len);
    if (text.len != BECH32_LEN(prefix_len, data_len) || !one_case(text))
        return BECH32_MALFORMED;
    if (read_symbols(prefix, text, symbols)) {
        status = BECH32_CHECKSUM;
        if (polymod(prefix, symbols, count + CHECKSUM_LEN) == 1)
            status = from_symbols(symbols, count, data) ? BECH32_OK : BECH32_MALFORMED;
    }
    if (status != BECH32_OK)
        secret_wipe(data, data_len);
    secret_wipe(symbols, sizeof symbols);
    return status;
}
