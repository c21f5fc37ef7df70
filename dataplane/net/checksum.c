#include "dataplane/net/ip.h"

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* RFC 1071 2(B): the sum does not depend on the byte order it is computed in, only its result is swapped; so
 * words are added as the machine loads them, four at a time into 64 bits (a frame cannot overflow those). */
uint16_t checksum_sum(struct span data, uint16_t start)
{
    const uint8_t *p = data.ptr;
    size_t left = data.len;
    uint64_t sum = 0;

    for (; left >= 8; p += 8, left -= 8) {
        uint32_t words[2];
        memcpy(words, p, sizeof words);
        sum += (uint64_t)words[0] + words[1];
    }
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
    return fold((uint64_t)__builtin_bswap16(fold(sum)) + start);
#else
    return fold(sum + start);
#endif
}

uint16_t checksum_pseudo(const struct net_addr *src, const struct net_addr *dst, uint8_t proto, uint32_t len)
{
    uint16_t sum = fold((uint64_t)proto + (len >> 16) + (len & 0xffff));

    sum = checksum_sum(span_of(src->bytes, addr_len(src)), sum);
    return checksum_sum(span_of(dst->bytes, addr_len(dst)), sum);
}
