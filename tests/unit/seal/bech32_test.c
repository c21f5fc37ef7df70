#include "drivers/seal/bech32.h"
#include "tests/unit/test.h"

static const uint8_t data[20] = {0x75, 0x1e, 0x76, 0xe8, 0x19, 0x91, 0x96, 0xd4, 0x54, 0x94,
                                 0x1c, 0x45, 0xd1, 0xb3, 0xa3, 0x23, 0xf1, 0x43, 0x3b, 0xd6};

static enum bech32_status parse(const char *text, uint8_t out[20])
{
    return bech32_parse("bc", span_str(text), out, 20);
}

/* No public text has whole bytes alone before its checksum, so the reference is BIP 173's checksum of
 * nothing. */
static void the_empty_text_of_bip_173_is_printed(void **state)
{
    char text[64];

    (void)state;
    bech32_print("a", span_of(data, 0), text);
    assert_string_equal(text, "a12uel5l");
}

static void what_is_printed_is_read_again(void **state)
{
    char text[64];
    uint8_t out[20];

    (void)state;
    bech32_print("bc", span_of(data, 20), text);
    assert_int_equal(strlen(text), BECH32_LEN(2, 20));
    assert_int_equal(parse(text, out), BECH32_OK);
    assert_memory_equal(out, data, 20);
}

static void capitals_are_read_and_mixed_case_is_refused(void **state)
{
    char text[64];
    uint8_t out[20];

    (void)state;
    bech32_print("bc", span_of(data, 20), text);
    for (char *p = text; *p != '\0'; p++)
        *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
    assert_int_equal(parse(text, out), BECH32_OK);
    text[1] = 'c';
    assert_int_equal(parse(text, out), BECH32_MALFORMED);
}

static void every_other_symbol_in_any_place_fails_the_checksum(void **state)
{
    static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    char text[64];
    uint8_t out[20], zero[20] = {0};

    (void)state;
    bech32_print("bc", span_of(data, 20), text);
    for (size_t at = 3; text[at] != '\0'; at++) {
        char was = text[at];

        for (size_t i = 0; i < 32; i++) {
            text[at] = alphabet[i];
            if (text[at] == was)
                continue;
            assert_int_equal(parse(text, out), BECH32_CHECKSUM);
            assert_memory_equal(out, zero, 20);
        }
        text[at] = was;
    }
}

static void another_prefix_length_or_character_is_malformed(void **state)
{
    char text[64];
    uint8_t out[20];

    (void)state;
    bech32_print("bd", span_of(data, 20), text);
    assert_int_equal(parse(text, out), BECH32_MALFORMED);
    bech32_print("bc", span_of(data, 19), text);
    assert_int_equal(parse(text, out), BECH32_MALFORMED);
    bech32_print("bc", span_of(data, 20), text);
    text[7] = 'b';
    assert_int_equal(parse(text, out), BECH32_MALFORMED);
    text[7] = '\0';
    assert_int_equal(bech32_parse("bc", span_of(text, BECH32_LEN(2, 20)), out, 20), BECH32_MALFORMED);
}

/* One byte takes two symbols, and the last two bits of the second mean nothing: 25 texts would name one byte.
 * */
static void bits_that_mean_nothing_are_zero(void **state)
{
    uint8_t out[1];

    (void)state;
    assert_int_equal(bech32_parse("a", span_str("a1qqqd87cp"), out, 1), BECH32_CHECKSUM);
    /* 0x00 with the padding bits 01: its checksum is right */
    assert_int_equal(bech32_parse("a", span_str("a1qpamnt9j"), out, 1), BECH32_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_empty_text_of_bip_173_is_printed),
        cmocka_unit_test(what_is_printed_is_read_again),
        cmocka_unit_test(capitals_are_read_and_mixed_case_is_refused),
        cmocka_unit_test(every_other_symbol_in_any_place_fails_the_checksum),
        cmocka_unit_test(another_prefix_length_or_character_is_malformed),
        cmocka_unit_test(bits_that_mean_nothing_are_zero),
    };

    return RUN_TESTS("seal bech32", tests);
}
