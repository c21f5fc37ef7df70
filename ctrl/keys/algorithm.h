/* What a key is for: the algorithms that a key may declare.  Its number is Cloud KMS' own (CryptoKeyVersionAlgorithm), and so
 * is its name, but for 1, which ours is.  A key's algorithm never changes. */
#ifndef CTRL_KEYS_ALGORITHM_H
#define CTRL_KEYS_ALGORITHM_H

#include "base/span.h"

#define ALGORITHM_SYMMETRIC 1 /* AES-256, wrapped by XAES-256-GCM, suite 1 */

enum algorithm_kind { ALGORITHM_AES, ALGORITHM_RSA, ALGORITHM_EC };

struct algorithm {
    uint8_t number;
    uint8_t kind; /* enum algorithm_kind */
    uint16_t bits;
    const char *name;
};

/* NULL: there is none. */
const struct algorithm *algorithm_of(uint8_t number);
const struct algorithm *algorithm_named(const char *name);
/* All but "symmetric", for a person. */
#define ALGORITHM_NAMES                                                                                      \
    "RSA_SIGN_PSS_{2048,3072,4096}_SHA256, RSA_SIGN_PSS_4096_SHA512, "                                       \
    "RSA_SIGN_PKCS1_{2048,3072,4096}_SHA256, "                                                               \
    "RSA_SIGN_PKCS1_4096_SHA512, EC_SIGN_P256_SHA256, EC_SIGN_P384_SHA384"

#endif
