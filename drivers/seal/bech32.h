/* Bech32 (BIP 173, without its limit of 90 characters): a prefix, "1", five-bit symbols, six of checksum.
 *
 * Text that people copy: age keys and paper shares.  The checksum finds every error of up to four symbols in
 * short texts and misses one in 2^30 of all others.  Pure; no allocation; may hold a secret, so that what is
 * left on the stack is wiped. */
#ifndef DRIVERS_SEAL_BECH32_H
#define DRIVERS_SEAL_BECH32_H

#include "base/span.h"

#define BECH32_PREFIX_MAX 32
#define BECH32_DATA_MAX   96
/* Characters, without the NUL, for a prefix of p and data of n bytes. */
#define BECH32_LEN(p, n) ((p) + 1 + ((n)*8 + 4) / 5 + 6)

enum bech32_status {
    BECH32_OK,
    BECH32_MALFORMED, /* another prefix or length, a character of no alphabet, both cases */
    BECH32_CHECKSUM,  /* the shape is right, and a character is not what was written */
};

/* out: BECH32_LEN + 1 bytes, NUL at the end; lower case.  prefix: lower case. */
void bech32_print(const char *prefix, struct span data, char *out);
/* Lower or upper case, never mixed.  data: exactly data_len bytes, all zero unless BECH32_OK. */
enum bech32_status MUST_USE bech32_parse(const char *prefix, struct span text, uint8_t *data,
                                         size_t data_len);

#endif
