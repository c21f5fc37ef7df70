#include "ctrl/keys/algorithm.h"

static const struct algorithm algorithms[] = {
    {ALGORITHM_SYMMETRIC, ALGORITHM_AES, 256, "symmetric"},
    {2, ALGORITHM_RSA, 2048, "RSA_SIGN_PSS_2048_SHA256"},
    {3, ALGORITHM_RSA, 3072, "RSA_SIGN_PSS_3072_SHA256"},
    {4, ALGORITHM_RSA, 4096, "RSA_SIGN_PSS_4096_SHA256"},
    {15, ALGORITHM_RSA, 4096, "RSA_SIGN_PSS_4096_SHA512"},
    {5, ALGORITHM_RSA, 2048, "RSA_SIGN_PKCS1_2048_SHA256"},
    {6, ALGORITHM_RSA, 3072, "RSA_SIGN_PKCS1_3072_SHA256"},
    {7, ALGORITHM_RSA, 4096, "RSA_SIGN_PKCS1_4096_SHA256"},
    {16, ALGORITHM_RSA, 4096, "RSA_SIGN_PKCS1_4096_SHA512"},
    {12, ALGORITHM_EC, 256, "EC_SIGN_P256_SHA256"},
    {13, ALGORITHM_EC, 384, "EC_SIGN_P384_SHA384"},
};

const struct algorithm *algorithm_of(uint8_t number)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (algorithms[i].number == number)
            return &algorithms[i];
    }
    return NULL;
}

const struct algorithm *algorithm_named(const char *name)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (strcmp(algorithms[i].name, name) == 0)
            return &algorithms[i];
    }
    return NULL;
}
