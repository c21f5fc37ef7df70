#include "drivers/crypto/vectors/shake128.h"

#include "base/check.h"

#define RATE   168
#define LANES  25
#define ROUNDS 24

static uint64_t rotate(uint64_t v, unsigned by)
{
    return by == 0 ? v : v << by | v >> (64 - by);
}

static void theta(uint64_t a[LANES])
{
    uint64_t c[5];

    for (size_t x = 0; x < 5; x++)
        c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
    for (size_t i = 0; i < LANES; i++)
        a[i] ^= c[(i + 4) % 5] ^ rotate(c[(i + 1) % 5], 1);
}

static void rho_and_pi(uint64_t a[LANES])
{
    size_t x = 1, y = 0;
    uint64_t moving = a[1];

    for (unsigned t = 0; t < ROUNDS; t++) {
        size_t next = (2 * x + 3 * y) % 5;
        x = y;
        y = next;
        uint64_t kept = a[x + 5 * y];
        a[x + 5 * y] = rotate(moving, (t + 1) * (t + 2) / 2 % 64);
        moving = kept;
    }
}

static void chi(uint64_t a[LANES])
{
    for (size_t y = 0; y < LANES; y += 5) {
        uint64_t row[5];
        memcpy(row, a + y, sizeof row);
        for (size_t x = 0; x < 5; x++)
            a[y + x] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5]);
    }
}

/* FIPS 202 3.2.5: the round constants' bits come from a shift register. */
static uint64_t iota_constant(uint8_t *lfsr)
{
    uint64_t rc = 0;

    for (unsigned j = 0; j < 7; j++) {
        rc |= (uint64_t)(*lfsr & 1) << ((1u << j) - 1);
        *lfsr = (uint8_t)(*lfsr << 1 ^ (*lfsr >> 7 ? 0x71 : 0));
    }
    return rc;
}

static void permute(struct shake128 *s)
{
    uint64_t a[LANES];
    uint8_t lfsr = 1;

    memcpy(a, s->state, sizeof a); /* FIPS 202's byte order is this machine's */
    for (unsigned round = 0; round < ROUNDS; round++) {
        theta(a);
        rho_and_pi(a);
        chi(a);
        a[0] ^= iota_constant(&lfsr);
    }
    memcpy(s->state, a, sizeof a);
    s->at = 0;
}

void shake128_absorb(struct shake128 *s, struct span in)
{
    CHECK(!s->squeezing);
    for (size_t i = 0; i < in.len; i++) {
        s->state[s->at++] ^= in.ptr[i];
        if (s->at == RATE)
            permute(s);
    }
}

void shake128_squeeze(struct shake128 *s, void *out, size_t len)
{
    uint8_t *to = out;

    if (!s->squeezing) {
        s->state[s->at] ^= 0x1f;
        s->state[RATE - 1] ^= 0x80;
        permute(s);
        s->squeezing = true;
    }
    for (size_t i = 0; i < len; i++) {
        if (s->at == RATE)
            permute(s);
        to[i] = s->state[s->at++];
    }
}
