#include "dataplane/net/ip.h"

/* The carry comes back in at the other end, and 2^64 is 1 modulo 2^16 - 1. */
static inline uint64_t sum_add(uint64_t sum, const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof word);
    sum += word;
    return sum + (sum < word);
}

/* RFC 1071 2(B): the sum does not depend on the byte order it is computed in, only its result is swapped; so
 * words are added as the machine loads them. */
uint16_t checksum_sum(struct span data, uint16_t start)
{
    const uint8_t *p = data.ptr;
    size_t left = data.len;
    uint64_t sum = 0;

    for (; left >= 32; p += 32, left -= 32)
        sum = sum_add(sum_add(sum_add(sum_add(sum, p), p + 8), p + 16), p + 24);
    for (; left >= 8; p += 8, left -= 8)
        sum = sum_add(sum, p);
    sum = (sum & 0xffffffff) + (sum >> 32);
    for (; left >= 2; p += 2, left -= 2) {
        uint16_t word;
        memcpy(&word, p, sizeof word);
        sum += word;
    }
    if (left != 0) {
        uint16_t word = 0;
        memcpy(&word, p, 1);
        sum += word;
    }
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return checksum_fold((uint64_t)__builtin_bswap16(checksum_fold(sum)) + start);
#else
    return checksum_fold(sum + start);
#endif
}

uint16_t checksum_pseudo(const struct net_addr *src, const struct net_addr *dst, uint8_t proto, uint32_t len)
{
    uint16_t sum = checksum_fold((uint64_t)proto + (len >> 16) + (len & 0xffff));

    sum = checksum_sum(span_of(src->bytes, addr_len(src)), sum);
    return checksum_sum(span_of(dst->bytes, addr_len(dst)), sum);
}
