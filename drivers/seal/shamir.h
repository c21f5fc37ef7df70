/* Shamir's secret sharing: n shares of a 32-byte secret, any k of which give it back, fewer give nothing.
 *
 * Byte by byte over GF(2^8) with AES's polynomial x^8 + x^4 + x^3 + x + 1; share i is the polynomial's value
 * at x = i, the secret its value at 0.  Multiplication takes one time whatever the bytes are.  A share says
 * what it belongs to: set id, threshold, count, its own index, and a digest of the secret, by which a wrong
 * result is told from the right one.  The secret is random and 256 bits long, so that its digest gives
 * nothing away.
 *
 * On paper (docs/WIRE.md, "Paper shares") a share is Bech32 with the prefix "wwshare" over
 *     version u8 = 1 | set 8 | threshold u8 | count u8 | index u8 | digest 8 | value 32
 * Spaces, line ends and hyphens between the characters are passed over, and capitals count as small letters.
 * Source: Shamir, "How to Share a Secret", 1979.  Pure but for the randomness handed in; no allocation. */
#ifndef DRIVERS_SEAL_SHAMIR_H
#define DRIVERS_SEAL_SHAMIR_H

#include "drivers/crypto/mbedtls/mbed.h"

#define SHAMIR_SECRET_LEN 32
#define SHAMIR_SET_LEN    8
#define SHAMIR_DIGEST_LEN 8
#define SHAMIR_SHARES_MAX 16
#define SHAMIR_TEXT_LEN   98   /* printed, without the NUL */
#define SHAMIR_TEXT_MAX   1024 /* read, with whatever stands between the characters */

struct shamir_share {
    uint8_t set[SHAMIR_SET_LEN];
    uint8_t threshold; /* 2..count */
    uint8_t count;     /* 2..SHAMIR_SHARES_MAX */
    uint8_t index;     /* 1..count */
    uint8_t digest[SHAMIR_DIGEST_LEN];
    uint8_t value[SHAMIR_SECRET_LEN]; /* secret: whoever holds a share wipes it */
};

enum shamir_status {
    SHAMIR_OK,
    SHAMIR_BAD_NUMBERS,  /* threshold and count are not 2 <= k <= n <= 16 */
    SHAMIR_NOT_A_SHARE,  /* the text is none, or of a version that this build does not read */
    SHAMIR_DAMAGED,      /* the text is a share with a wrong character */
    SHAMIR_OTHER_SET,    /* a share of another set than the first one's */
    SHAMIR_TWICE,        /* one share given twice */
    SHAMIR_TOO_FEW,      /* fewer than the threshold */
    SHAMIR_WRONG_SECRET, /* what they combine to has not the set's digest: one of them was altered */
};

/* shares: count of them, all of one new set. */
enum shamir_status MUST_USE shamir_split(struct mbed_rng *rng, uint8_t threshold, uint8_t count,
                                         const uint8_t secret[SHAMIR_SECRET_LEN],
                                         struct shamir_share *shares);

/* shares: given of them, in any order; all are used, so that one that does not belong is noticed even beyond
 * the threshold.  secret: all zero unless SHAMIR_OK.  *at: the share that OTHER_SET or TWICE is about. */
enum shamir_status MUST_USE shamir_combine(const struct shamir_share *shares, size_t given,
                                           uint8_t secret[SHAMIR_SECRET_LEN], size_t *at);

/* out: SHAMIR_TEXT_LEN + 1 bytes, in pages of the caller's choice: it is secret. */
void shamir_print(const struct shamir_share *share, char *out);
/* out: all zero unless SHAMIR_OK. */
enum shamir_status MUST_USE shamir_parse(struct span text, struct shamir_share *out);

/* "too few shares" ...: a few words for an error text. */
const char *shamir_status_text(enum shamir_status s);

#endif
