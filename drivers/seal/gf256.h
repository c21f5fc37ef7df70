/* GF(2^8) as AES has it.  No table and no branch that depends on a byte: constant time. */
#ifndef DRIVERS_SEAL_GF256_H
#define DRIVERS_SEAL_GF256_H

#include <stdint.h>

static inline uint8_t gf256_mul(uint8_t a, uint8_t b)
{
    unsigned product = 0, x = a, y = b;

    for (unsigned bit = 0; bit < 8; bit++) {
        product ^= x & (0u - (y >> bit & 1u));
        x = (x << 1 ^ (0x11bu & (0u - (x >> 7)))) & 0xff;
    }
    return (uint8_t)product;
}

/* a^254, which is 1/a; 0 for 0. */
static inline uint8_t gf256_inverse(uint8_t a)
{
    uint8_t power = a, result = 1;

    for (unsigned bit = 1; bit < 8; bit++) {
        power = gf256_mul(power, power);
        result = gf256_mul(result, power);
    }
    return result;
}

#endif
