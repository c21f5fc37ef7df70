#include "proto/base64.h"
#include "tests/unit/test.h"

#include <stdlib.h>

typedef bool decode_fn(struct span in, uint8_t *out, size_t *len);

/* Decodes a text from and into memory of exactly the sizes that the header names. */
static bool decode(decode_fn *fn, const char *text, size_t text_len, uint8_t *out, size_t *len)
{
    uint8_t *in = malloc(text_len + 1), *room = malloc(BASE64_DECODED_MAX(text_len) + 1);

    assert_true(in != NULL && room != NULL);
    memcpy(in + 1, text, text_len);
    bool ok = fn(span_of(in + 1, text_len), room + 1, len);
    if (ok)
        memcpy(out, room + 1, *len);
    free(in);
    free(room);
    return ok;
}

static bool decodes_to(decode_fn *fn, const char *text, const char *bytes)
{
    uint8_t out[256];
    size_t len;

    return decode(fn, text, strlen(text), out, &len) && span_is(span_of(out, len), bytes);
}

static bool encodes_to(const char *bytes, const char *text)
{
    uint8_t out[256];
    size_t len = base64_encode(span_str(bytes), out);

    return len == BASE64_ENCODED_LEN(strlen(bytes)) && span_is(span_of(out, len), text);
}

#define CLAIM(name, holds)                                                                                   \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_true(holds);                                                                                  \
    }

/* RFC 4648 10 */
#define VECTORS(X)                                                                                           \
    X(0, "", "")                                                                                             \
    X(1, "f", "Zg==")                                                                                        \
    X(2, "fo", "Zm8=")                                                                                       \
    X(3, "foo", "Zm9v")                                                                                      \
    X(4, "foob", "Zm9vYg==")                                                                                 \
    X(5, "fooba", "Zm9vYmE=")                                                                                \
    X(6, "foobar", "Zm9vYmFy")                                                                               \
    X(7, "foobarb", "Zm9vYmFyYg==")                                                                          \
    X(13, "foobarfoobarf", "Zm9vYmFyZm9vYmFyZg==")
#define X(n, bytes, text)                                                                                    \
    CLAIM(encodes_vector_of_##n##_bytes, encodes_to(bytes, text))                                            \
    CLAIM(decodes_vector_of_##n##_bytes, decodes_to(base64_decode, text, bytes))
VECTORS(X)
#undef X

#define CLAIMS(X)                                                                                            \
    X(decodes_one_byte_without_padding, decodes_to(base64_decode, "Zg", "f"))                                \
    X(decodes_two_bytes_without_padding, decodes_to(base64_decode, "Zm8", "fo"))                             \
    X(decodes_plus_and_slash, decodes_to(base64_decode, "++//", "\xfb\xef\xff"))                             \
    X(decodes_minus_and_underscore, decodes_to(base64_decode, "--__", "\xfb\xef\xff"))                       \
    X(decodes_url_alphabet_with_padding, decodes_to(base64_decode, "_w==", "\xff"))                          \
    X(refuses_mixed_alphabets, !decodes_to(base64_decode, "+-/_", "\xfb\xef\xff"))                           \
    X(refuses_mixed_alphabets_far_apart, !decodes_to(base64_decode, "++//AAAAAAAAAAAA--__", "\xfb\xef\xff")) \
    X(refuses_one_character, !decodes_to(base64_decode, "A", ""))                                            \
    X(refuses_five_characters, !decodes_to(base64_decode, "Zm9vY", "foo"))                                   \
    X(refuses_half_of_the_padding, !decodes_to(base64_decode, "Zg=", "f"))                                   \
    X(refuses_too_much_padding, !decodes_to(base64_decode, "Zm8==", "fo"))                                   \
    X(refuses_padding_after_a_whole_group, !decodes_to(base64_decode, "Zm9v====", "foo"))                    \
    X(refuses_one_pad_after_a_whole_group, !decodes_to(base64_decode, "Zm9v=", "foo"))                       \
    X(refuses_three_pads, !decodes_to(base64_decode, "Z===", ""))                                            \
    X(refuses_nothing_but_padding, !decodes_to(base64_decode, "====", ""))                                   \
    X(refuses_two_pads_alone, !decodes_to(base64_decode, "==", ""))                                          \
    X(refuses_padding_inside, !decodes_to(base64_decode, "Zg==Zg==", "ff"))                                  \
    X(refuses_padding_before_text, !decodes_to(base64_decode, "=Zm9", "fo"))                                 \
    X(refuses_bits_after_one_byte, !decodes_to(base64_decode, "Zh==", "f"))                                  \
    X(refuses_bits_after_two_bytes, !decodes_to(base64_decode, "Zm9=", "fo"))                                \
    X(refuses_bits_after_one_byte_without_padding, !decodes_to(base64_decode, "Zv", "f"))                    \
    X(refuses_bits_after_two_bytes_without_padding, !decodes_to(base64_decode, "Zm9", "fo"))                 \
    X(refuses_bits_after_seven_bytes, !decodes_to(base64_decode, "Zm9vYmFyYh==", "foobarb"))                 \
    X(refuses_a_space, !decodes_to(base64_decode, "Zm 9v", "foo"))                                           \
    X(refuses_a_space_at_the_end, !decodes_to(base64_decode, "Zm9v ", "foo"))                                \
    X(refuses_a_line_break, !decodes_to(base64_decode, "Zm9v\nYmFy", "foobar"))                              \
    X(refuses_a_tab, !decodes_to(base64_decode, "Zm9vYm\tFy", "foobar"))                                     \
    X(refuses_a_high_byte, !decodes_to(base64_decode, "Zm9vYmF\xf9", "foobar"))                              \
    X(refuses_high_bytes_that_look_like_letters, !decodes_to(base64_decode, "\xda\xed\xb9\xf6", "foo"))      \
    X(url_decodes_minus_and_underscore, decodes_to(base64url_decode, "--__", "\xfb\xef\xff"))                \
    X(url_decodes_nothing, decodes_to(base64url_decode, "", ""))                                             \
    X(url_decodes_one_byte, decodes_to(base64url_decode, "Zg", "f"))                                         \
    X(url_refuses_plus, !decodes_to(base64url_decode, "+--_", "\xfb\xef\xff"))                               \
    X(url_refuses_slash, !decodes_to(base64url_decode, "--_/", "\xfb\xef\xff"))                              \
    X(url_refuses_padding, !decodes_to(base64url_decode, "Zg==", "f"))                                       \
    X(url_refuses_one_pad, !decodes_to(base64url_decode, "Zm8=", "fo"))                                      \
    X(url_refuses_trailing_bits, !decodes_to(base64url_decode, "Zh", "f"))                                   \
    X(url_refuses_one_character, !decodes_to(base64url_decode, "A", ""))                                     \
    X(url_refuses_white_space, !decodes_to(base64url_decode, "Zm9v Zg", "foof"))                             \
    X(url_refuses_a_dot, !decodes_to(base64url_decode, "Zm9v.Zg", "foof"))
CLAIMS(CLAIM)

static void nul_is_refused(void **state)
{
    uint8_t out[8];
    size_t len;
    (void)state;

    assert_false(decode(base64_decode, "Zm\0v", 4, out, &len));
}

/* Of all 256 bytes, in every lane, the decoder takes the 66 of both alphabets, a pad at the end, and
 * no other. */
static void only_the_alphabets_are_taken(void **state)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
    (void)state;

    /* Lengths for the wide way, the narrow way, and one after the other. */
    for (int text_len = 8; text_len <= 56; text_len += 4) {
        for (int lane = 0; lane < text_len; lane++) {
            for (int c = 0; c < 256; c++) {
                char text[56];
                uint8_t out[56];
                size_t len;

                memset(text, 'A', sizeof text);
                text[lane] = (char)c;
                bool known = (c != 0 && strchr(alphabet, c) != NULL) || (c == '=' && lane == text_len - 1);
                assert_int_equal(decode(base64_decode, text, (size_t)text_len, out, &len), known);
            }
        }
    }
}

/* The six bits of a character are its place in the alphabet. */
static void every_character_means_its_place(void **state)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (void)state;

    for (int i = 0; i < 64; i++) {
        char text[4] = {'A', 'A', 'A', alphabet[i]};
        uint8_t out[4], back[4], in[3] = {0, 0, (uint8_t)i};
        size_t len;

        assert_true(decode(base64_decode, text, 4, out, &len));
        assert_int_equal(out[2], i);
        assert_int_equal(base64_encode(span_of(in, 3), back), 4);
        assert_int_equal(back[3], alphabet[i]);
    }
}

static void what_was_encoded_is_decoded(void **state)
{
    uint8_t in[200], text[BASE64_ENCODED_LEN(sizeof in)], out[BASE64_DECODED_MAX(sizeof text)];
    size_t len;
    (void)state;

    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 151 + (i >> 3));
    for (size_t n = 0; n <= sizeof in; n++) {
        size_t text_len = base64_encode(span_of(in, n), text);

        assert_true(decode(base64_decode, (char *)text, text_len, out, &len));
        assert_true(span_equal(span_of(out, len), span_of(in, n)));
    }
}

static void decoding_in_place_yields_the_same(void **state)
{
    uint8_t in[100], text[BASE64_ENCODED_LEN(sizeof in)];
    size_t len;
    (void)state;

    for (size_t n = 0; n <= sizeof in; n++) {
        memset(in, (int)n, n);
        size_t text_len = base64_encode(span_of(in, n), text);

        assert_true(base64_decode(span_of(text, text_len), text, &len));
        assert_true(span_equal(span_of(text, len), span_of(in, n)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define X(n, ...)                                                                                            \
    cmocka_unit_test(encodes_vector_of_##n##_bytes), cmocka_unit_test(decodes_vector_of_##n##_bytes),
        VECTORS(X)
#undef X
#define X(name, ...) cmocka_unit_test(name),
            CLAIMS(X)
#undef X
                cmocka_unit_test(nul_is_refused),
        cmocka_unit_test(only_the_alphabets_are_taken),
        cmocka_unit_test(every_character_means_its_place),
        cmocka_unit_test(what_was_encoded_is_decoded),
        cmocka_unit_test(decoding_in_place_yields_the_same),
    };
    return RUN_TESTS("base64", tests);
}
