#include "proto/base64.h"

#include "base/secret.h"

#ifdef __SSSE3__
#include <tmmintrin.h>
#endif

/* Four characters are three bytes.  Both ways work on byte lanes, of a register of sixteen or of one 64-bit word, by
 * comparing and masking: no table in memory is indexed and no branch is taken by what the bytes are, since they are
 * plaintext data keys.  In a word no lane ever carries into its neighbour: every lane is below 0x80 before an addition
 * and every subtraction takes from a lane at least as much as it holds. */

#ifdef __SSSE3__
#define GROUP     16 /* characters that are decoded at once */
#define PUT_GROUP 12 /* bytes that are encoded at once */
#define PUT_READS 16 /* and how many are read for it */

/* What has been seen of one text. */
struct decoding {
    __m128i known;    /* lanes that only held characters of an alphabet */
    __m128i standard; /* lanes that held '+' or '/' */
    __m128i url;      /* lanes that held '-' or '_' */
};

static inline struct decoding decoding_begin(void)
{
    return (struct decoding){_mm_set1_epi8(-1), _mm_setzero_si128(), _mm_setzero_si128()};
}

static inline bool is_seen(__m128i lanes)
{
    return _mm_movemask_epi8(lanes) != 0;
}

static inline bool stray_seen(const struct decoding *d)
{
    return _mm_movemask_epi8(d->known) != 0xffff;
}

/* 0xff in every lane between the two.  Lanes from 0x80 on are negative, and between none. */
static inline __m128i between(__m128i v, char from, char to)
{
    return _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8((char)(from - 1))),
                         _mm_cmpgt_epi8(_mm_set1_epi8((char)(to + 1)), v));
}

/* The six bits of each lane. */
static inline __m128i decode_lanes(struct decoding *d, __m128i c)
{
    __m128i upper = between(c, 'A', 'Z'), lower = between(c, 'a', 'z'), digit = between(c, '0', '9');
    __m128i plus = _mm_cmpeq_epi8(c, _mm_set1_epi8('+')), slash = _mm_cmpeq_epi8(c, _mm_set1_epi8('/'));
    __m128i minus = _mm_cmpeq_epi8(c, _mm_set1_epi8('-')), score = _mm_cmpeq_epi8(c, _mm_set1_epi8('_'));
    __m128i standard = _mm_or_si128(plus, slash), url = _mm_or_si128(minus, score);
    __m128i alike = _mm_or_si128(_mm_or_si128(upper, lower), digit);
    __m128i shift = _mm_and_si128(upper, _mm_set1_epi8(-'A'));

    shift = _mm_or_si128(shift, _mm_and_si128(lower, _mm_set1_epi8(26 - 'a')));
    shift = _mm_or_si128(shift, _mm_and_si128(digit, _mm_set1_epi8(52 - '0')));
    shift = _mm_or_si128(shift, _mm_and_si128(plus, _mm_set1_epi8(62 - '+')));
    shift = _mm_or_si128(shift, _mm_and_si128(slash, _mm_set1_epi8(63 - '/')));
    shift = _mm_or_si128(shift, _mm_and_si128(minus, _mm_set1_epi8(62 - '-')));
    shift = _mm_or_si128(shift, _mm_and_si128(score, _mm_set1_epi8(63 - '_')));
    d->standard = _mm_or_si128(d->standard, standard);
    d->url = _mm_or_si128(d->url, url);
    d->known = _mm_and_si128(d->known, _mm_or_si128(alike, _mm_or_si128(standard, url)));
    return _mm_and_si128(_mm_add_epi8(c, shift), _mm_set1_epi8(0x3f));
}

/* out may be in. */
static inline void decode_group(struct decoding *d, const uint8_t in[16], uint8_t out[12])
{
    const __m128i order = _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    __m128i six = decode_lanes(d, _mm_loadu_si128((const __m128i *)(const void *)in));
    __m128i pairs = _mm_maddubs_epi16(six, _mm_set1_epi32(0x01400140));
    __m128i bytes = _mm_shuffle_epi8(_mm_madd_epi16(pairs, _mm_set1_epi32(0x00011000)), order);
    uint32_t last = (uint32_t)_mm_cvtsi128_si32(_mm_srli_si128(bytes, 8));

    _mm_storel_epi64((__m128i *)(void *)out, bytes);
    memcpy(out + 8, &last, sizeof last);
}

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

static inline void encode_group(const uint8_t *in, uint8_t *out)
{
    _mm_storeu_si128((__m128i *)(void *)out,
                     encode_twelve(_mm_loadu_si128((const __m128i *)(const void *)in)));
}
#else
#define GROUP     8
#define PUT_GROUP 6
#define PUT_READS 6

#define LANES(b) (UINT64_C(0x0101010101010101) * (b))

/* 0xff in every lane that is at least from.  Lanes of x are below 0x80. */
static inline uint64_t lanes_from(uint64_t x, uint8_t from)
{
    uint64_t high = (x + LANES((uint64_t)(0x80 - from))) & LANES(0x80);

    return (high - (high >> 7)) | high;
}

static inline uint64_t spread_lanes(uint64_t v)
{
    v = (v & 0x0000000000ffffff) | (v & 0x0000ffffff000000) << 8;
    v = (v & 0x00000fff00000fff) | (v & 0x00fff00000fff000) << 4;
    return (v & 0x003f003f003f003f) | (v & 0x0fc00fc00fc00fc0) << 2;
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

struct decoding {
    uint64_t stray;    /* lanes that belong to no alphabet */
    uint64_t standard; /* lanes that held '+' or '/' */
    uint64_t url;      /* lanes that held '-' or '_' */
};

static inline struct decoding decoding_begin(void)
{
    return (struct decoding){0, 0, 0};
}

static inline bool is_seen(uint64_t lanes)
{
    return lanes != 0;
}

static inline bool stray_seen(const struct decoding *d)
{
    return d->stray != 0;
}

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
    return (x - (upper & LANES('A')) - (lower & LANES('a' - 26)) - (score & LANES('_' - 63))) & LANES(0x3f);
}

static inline void decode_group(struct decoding *d, const uint8_t in[8], uint8_t out[6])
{
    uint64_t be = __builtin_bswap64(pack_lanes(decode_lanes(d, load_be64(in))) << 16);

    memcpy(out, &be, 6);
}

static inline uint64_t encode_lanes(uint64_t v)
{
    return v + LANES('A') + (lanes_from(v, 26) & LANES(6)) - (lanes_from(v, 52) & LANES(75)) -
           (lanes_from(v, 62) & LANES(15)) + (lanes_from(v, 63) & LANES(3));
}

static inline void encode_group(const uint8_t *in, uint8_t *out)
{
    uint64_t v = 0;

    memcpy((uint8_t *)&v + 2, in, 6);
    v = __builtin_bswap64(encode_lanes(spread_lanes(__builtin_bswap64(v))));
    memcpy(out, &v, sizeof v);
}
#endif

/* The last characters, completed with 'A', which is zero bits: whatever the text had no right to say shows as a byte that is not zero
 * beyond its end. */
static bool decode_tail(struct decoding *d, struct span in, uint8_t *out, size_t *len)
{
    uint8_t last[GROUP], decoded[GROUP / 4 * 3], beyond = 0;

    if (in.len % 4 == 1)
        return false;
    memset(last, 'A', sizeof last);
    memcpy(last, in.ptr, in.len);
    decode_group(d, last, decoded);
    *len = in.len * 6 / 8;
    for (size_t i = *len; i < sizeof decoded; i++)
        beyond |= decoded[i];
    memcpy(out, decoded, *len);
    secret_wipe(last, sizeof last);
    secret_wipe(decoded, sizeof decoded);
    return beyond == 0;
}

/* Characters without padding.  out may be in.ptr: three bytes are written where four were read. */
static bool decode_bare(struct decoding *d, struct span in, uint8_t *out, size_t *len)
{
    size_t at = 0, done = 0, tail = 0;

    *d = decoding_begin();
    for (; in.len - at >= GROUP; at += GROUP, done += GROUP / 4 * 3)
        decode_group(d, in.ptr + at, out + done);
    if (at < in.len && !decode_tail(d, span_from(in, at), out + done, &tail))
        return false;
    *len = done + tail;
    return !stray_seen(d);
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
    struct decoding d;

    return decode_bare(&d, strip_padding(in), out, len) && !(is_seen(d.standard) && is_seen(d.url));
}

bool base64url_decode(struct span in, uint8_t *out, size_t *len)
{
    struct decoding d;

    return decode_bare(&d, in, out, len) && !is_seen(d.standard);
}

size_t base64_encode(struct span in, uint8_t *out)
{
    const size_t total = BASE64_ENCODED_LEN(in.len);
    size_t at = 0, done = 0;

    for (; in.len - at >= PUT_READS; at += PUT_GROUP, done += PUT_GROUP / 3 * 4)
        encode_group(in.ptr + at, out + done);
    size_t left = in.len - at;
    if (left != 0) { /* one or two groups, completed with zeros */
        uint8_t last[PUT_GROUP + PUT_READS] = {0}, text[2 * PUT_GROUP / 3 * 4];

        memcpy(last, in.ptr + at, left);
        for (size_t i = 0; i * PUT_GROUP < left; i++)
            encode_group(last + i * PUT_GROUP, text + i * (PUT_GROUP / 3 * 4));
        for (size_t i = (left * 8 + 5) / 6; i < total - done; i++)
            text[i] = '=';
        memcpy(out + done, text, total - done);
        secret_wipe(last, sizeof last);
        secret_wipe(text, sizeof text);
    }
    return total;
}
