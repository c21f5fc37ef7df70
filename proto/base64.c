#include "proto/base64.h"

#ifdef __SSSE3__
#include <tmmintrin.h>
#endif

/* Eight characters are six bytes.  Both ways work on eight byte lanes of one 64-bit word at a time, by
 * comparing and masking: no table is indexed and no branch is taken by what the bytes are, since they are
 * plaintext data keys.  No lane ever carries into its neighbour: every lane is below 0x80 before an addition
 * and every subtraction takes from a lane at least as much as it holds. */

#define LANES(b) (UINT64_C(0x0101010101010101) * (b))

/* 0xff in every lane that is at least from.  Lanes of x are below 0x80. */
static inline uint64_t lanes_from(uint64_t x, uint8_t from)
{
    uint64_t high = (x + LANES((uint64_t)(0x80 - from))) & LANES(0x80);

    return (high - (high >> 7)) | high;
}

static inline uint64_t lanes_between(uint64_t x, uint8_t from, uint8_t to)
{
    return lanes_from(x, from) & ~lanes_from(x, (uint8_t)(to + 1));
}

static inline uint64_t load_be64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return __builtin_bswap64(v);
}

/* The first byte of p is the highest lane. */
static inline uint64_t pack_lanes(uint64_t v)
{
    v = (v & 0x003f003f003f003f) | (v & 0x3f003f003f003f00) >> 2;
    v = (v & 0x00000fff00000fff) | (v & 0x0fff00000fff0000) >> 4;
    return (v & 0x0000000000ffffff) | (v & 0x00ffffff00000000) >> 8;
}

static inline uint64_t spread_lanes(uint64_t v)
{
    v = (v & 0x0000000000ffffff) | (v & 0x0000ffffff000000) << 8;
    v = (v & 0x00000fff00000fff) | (v & 0x00fff00000fff000) << 4;
    return (v & 0x003f003f003f003f) | (v & 0x0fc00fc00fc00fc0) << 2;
}

/* What has been seen of one text. */
struct decoding {
    uint64_t stray;    /* lanes that belong to no alphabet */
    uint64_t standard; /* lanes that held '+' or '/' */
    uint64_t url;      /* lanes that held '-' or '_' */
};

static inline uint64_t decode_lanes(struct decoding *d, uint64_t c)
{
    uint64_t x = c & LANES(0x7f);
    uint64_t upper = lanes_between(x, 'A', 'Z'), lower = lanes_between(x, 'a', 'z');
    uint64_t digit = lanes_between(x, '0', '9');
    uint64_t plus = lanes_between(x, '+', '+'), slash = lanes_between(x, '/', '/');
    uint64_t minus = lanes_between(x, '-', '-'), score = lanes_between(x, '_', '_');

    d->standard |= plus | slash;
    d->url |= minus | score;
    d->stray |= ~(upper | lower | digit | plus | slash | minus | score) | (c & LANES(0x80));
    x +=
        (digit & LANES(4)) + (plus & LANES(62 - '+')) + (slash & LANES(63 - '/')) + (minus & LANES(62 - '-'));
    return x - (upper & LANES('A')) - (lower & LANES('a' - 26)) - (score & LANES('_' - 63));
}

static inline void store_six(uint8_t *out, uint64_t packed, size_t len)
{
    uint64_t be = __builtin_bswap64(packed << 16);

    memcpy(out, &be, len);
}

/* The last 1..8 characters, completed with 'A', which is zero bits: whatever the text had no right to say
 * shows as a byte that is not zero beyond its end. */
static bool decode_tail(struct decoding *d, struct span in, uint8_t *out, size_t *len)
{
    uint8_t last[8], decoded[6];

    if (in.len % 4 == 1)
        return false;
    memset(last, 'A', sizeof last);
    memcpy(last, in.ptr, in.len);
    store_six(decoded, pack_lanes(decode_lanes(d, load_be64(last)) & LANES(0x3f)), 6);
    *len = in.len * 6 / 8;
    uint8_t beyond = 0;
    for (size_t i = *len; i < sizeof decoded; i++)
        beyond |= decoded[i];
    memcpy(out, decoded, *len);
    return beyond == 0;
}

/* Characters without padding.  out may be in.ptr: six bytes are written where eight were read. */
static bool decode_bare(struct decoding *d, struct span in, uint8_t *out, size_t *len)
{
    size_t at = 0, done = 0, tail = 0;

    while (in.len - at >= 8) {
        uint64_t v = decode_lanes(d, load_be64(in.ptr + at));

        store_six(out + done, pack_lanes(v & LANES(0x3f)), 6);
        at += 8;
        done += 6;
    }
    if (at < in.len && !decode_tail(d, span_from(in, at), out + done, &tail))
        return false;
    *len = done + tail;
    return d->stray == 0;
}

/* "=" or "==" that fill the last group of four. */
static struct span strip_padding(struct span in)
{
    size_t pads = 0;

    while (pads < 2 && in.len > pads && in.ptr[in.len - 1 - pads] == '=')
        pads++;
    if (pads != 0 && in.len % 4 == 0)
        in.len -= pads;
    return in;
}

bool base64_decode(struct span in, uint8_t *out, size_t *len)
{
    struct decoding d = {0, 0, 0};

    return decode_bare(&d, strip_padding(in), out, len) && (d.standard == 0 || d.url == 0);
}

bool base64url_decode(struct span in, uint8_t *out, size_t *len)
{
    struct decoding d = {0, 0, 0};

    return decode_bare(&d, in, out, len) && d.standard == 0;
}

static inline uint64_t encode_lanes(uint64_t v)
{
    return v + LANES('A') + (lanes_from(v, 26) & LANES(6)) - (lanes_from(v, 52) & LANES(75)) -
           (lanes_from(v, 62) & LANES(15)) + (lanes_from(v, 63) & LANES(3));
}

static void encode_six(const uint8_t six[6], uint8_t *out)
{
    uint64_t v = 0;

    memcpy((uint8_t *)&v + 2, six, 6);
    v = __builtin_bswap64(encode_lanes(spread_lanes(__builtin_bswap64(v))));
    memcpy(out, &v, sizeof v);
}

#ifdef __SSSE3__
/* Twelve bytes are sixteen characters.  The one table there is is a register: shuffling it takes the same time whatever the bytes are. */
static inline __m128i encode_twelve(__m128i in)
{
    const __m128i spread = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    /* What is to be added: to 52..61 (1..10), 62, 63, 0..25 (13), and else 26..51. */
    const __m128i shift =
        _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                      '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
    __m128i v = _mm_shuffle_epi8(in, spread);
    __m128i high = _mm_mulhi_epu16(_mm_and_si128(v, _mm_set1_epi32(0x0fc0fc00)), _mm_set1_epi32(0x04000040));
    __m128i low = _mm_mullo_epi16(_mm_and_si128(v, _mm_set1_epi32(0x003f03f0)), _mm_set1_epi32(0x01000010));
    __m128i six = _mm_or_si128(high, low);
    __m128i kind = _mm_subs_epu8(six, _mm_set1_epi8(51));

    kind = _mm_or_si128(kind, _mm_and_si128(_mm_cmpgt_epi8(_mm_set1_epi8(26), six), _mm_set1_epi8(13)));
    return _mm_add_epi8(six, _mm_shuffle_epi8(shift, kind));
}

/* As many groups of twelve as can be read sixteen bytes at a time; returns how many bytes that were. */
static size_t encode_wide(struct span in, uint8_t *out)
{
    size_t at = 0;

    for (; in.len - at >= 16; at += 12, out += 16)
        _mm_storeu_si128((__m128i *)(void *)out,
                         encode_twelve(_mm_loadu_si128((const __m128i *)(const void *)(in.ptr + at))));
    return at;
}
#else
static size_t encode_wide(struct span in, uint8_t *out)
{
    (void)in, (void)out;
    return 0;
}
#endif

size_t base64_encode(struct span in, uint8_t *out)
{
    size_t at = encode_wide(in, out), done = at / 3 * 4;

    for (; in.len - at >= 6; at += 6, done += 8)
        encode_six(in.ptr + at, out + done);
    size_t left = in.len - at, total = BASE64_ENCODED_LEN(in.len);
    if (left != 0) {
        uint8_t six[6] = {0}, eight[8];

        memcpy(six, in.ptr + at, left);
        encode_six(six, eight);
        memset(eight + (left * 8 + 5) / 6, '=', sizeof eight - (left * 8 + 5) / 6);
        memcpy(out + done, eight, total - done);
    }
    return total;
}
