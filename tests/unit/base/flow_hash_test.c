#include "base/flow_hash.h"
#include "tests/unit/test.h"

#include <stdio.h>

static const struct siphash_key some = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};

static flow_block block_of(const char *hex)
{
    uint8_t bytes[16];
    flow_block b;

    for (int i = 0; i < 16; i++)
        assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &bytes[i]), 1);
    memcpy(&b, bytes, 16);
    return b;
}

/* FIPS 197: the round keys of appendix A.1, the block of appendix B. */
static void a_block_is_aes(void **state)
{
    static const char *const rounds[] = {
        "2b7e151628aed2a6abf7158809cf4f3c", "a0fafe1788542cb123a339392a6c7605",
        "f2c295f27a96b9435935807a7359f67f", "3d80477d4716fe3e1e237e446d7a883b",
        "ef44a541a8525b7fb671253bdb0bad00", "d4d1c6f87c839d87caf2b8bc11f915bc",
        "6d88a37a110b3efddbf98641ca0093fd", "4e54f70e5f5fc9f384a64fb24ea6dc4f",
        "ead27321b58dbad2312bf5607f8d292f", "ac7766f319fadc2128d12941575c006e",
        "d014f9a8c9ee2589e13f0cc8b6630ca6"};
    flow_block key[FLOW_ROUNDS + 1];
    (void)state;

    if (!flow_aes_is_here())
        skip();
    for (int i = 0; i <= FLOW_ROUNDS; i++)
        key[i] = block_of(rounds[i]);
    flow_block got = flow_aes(key, block_of("3243f6a8885a308d313198a2e0370734"));
    flow_block want = block_of("3925841d02dc09fbdc118597196a0b32");
    assert_memory_equal(&got, &want, 16);
}

static uint32_t hash4(const struct flow_key *k, uint64_t addrs, uint32_t ports)
{
    return flow_hash4(k, addrs, ports);
}

/* Every bit of what goes in changes what comes out, in about half of its bits. */
static void every_bit_counts(const struct flow_key *k)
{
    const uint64_t addrs[4] = {1, 2, 3, 4};
    uint32_t changed = 0, looked = 0;

    for (uint32_t i = 0; i < 32; i++, looked += 2) {
        assert_int_not_equal(hash4(k, 5, 1u << i), hash4(k, 5, 0));
        assert_int_not_equal(flow_hash6(k, addrs, 1u << i), flow_hash6(k, addrs, 0));
        changed += (uint32_t)__builtin_popcount(hash4(k, 5, 1u << i) ^ hash4(k, 5, 0));
        changed += (uint32_t)__builtin_popcount(flow_hash6(k, addrs, 1u << i) ^ flow_hash6(k, addrs, 0));
    }
    for (uint32_t i = 0; i < 64; i++, looked++) {
        assert_int_not_equal(hash4(k, UINT64_C(1) << i, 7), hash4(k, 0, 7));
        changed += (uint32_t)__builtin_popcount(hash4(k, UINT64_C(1) << i, 7) ^ hash4(k, 0, 7));
    }
    for (uint32_t i = 0; i < 256; i++, looked++) {
        uint64_t other[4] = {1, 2, 3, 4};
        other[i / 64] ^= UINT64_C(1) << i % 64;
        assert_int_not_equal(flow_hash6(k, other, 7), flow_hash6(k, addrs, 7));
        changed += (uint32_t)__builtin_popcount(flow_hash6(k, other, 7) ^ flow_hash6(k, addrs, 7));
    }
    assert_in_range(changed, looked * 15, looked * 17);
}

static void every_bit_counts_by_either(void **state)
{
    struct flow_key k;
    (void)state;

    flow_key_set(&k, &some);
    assert_int_equal(k.by_aes, flow_aes_is_here());
    every_bit_counts(&k);
    k.by_aes = false;
    every_bit_counts(&k);
}

/* Of the key every word: a round that were left out would not be missed otherwise. */
static void every_round_counts(void **state)
{
    struct flow_key k;
    const uint64_t addrs[4] = {1, 2, 3, 4};
    (void)state;

    flow_key_set(&k, &some);
    if (!k.by_aes)
        skip();
    uint32_t four = hash4(&k, 5, 6), six = flow_hash6(&k, addrs, 6);
    for (int i = 0; i <= FLOW_ROUNDS; i++)
        for (int half = 0; half < 2; half++) {
            if (i == FLOW_ROUNDS && half == 1)
                continue; /* that part of the block is not used */
            struct flow_key other = k;
            other.round[i][half] ^= 0x0101010101010101;
            assert_int_not_equal(hash4(&other, 5, 6), four);
            assert_int_not_equal(flow_hash6(&other, addrs, 6), six);
        }
}

/* What CPython 3.11 computes for bytes(range(12)) and bytes(range(36)) with PYTHONHASHSEED=0, which is a key of zeroes. */
static void without_aes_it_is_siphash(void **state)
{
    static const struct siphash_key zero = {0, 0};
    static const uint64_t words[] = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL, 0x1716151413121110ULL,
                                     0x1f1e1d1c1b1a1918ULL};
    struct flow_key k;
    (void)state;

    flow_key_set(&k, &zero);
    k.by_aes = false;
    assert_int_equal(hash4(&k, words[0], 0x0b0a0908), (uint32_t)0xa6baf4fb0f9fe1c2ULL);
    assert_int_equal(flow_hash6(&k, words, 0x23222120), (uint32_t)0xac77921fcc642bd3ULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_aes),
        cmocka_unit_test(every_bit_counts_by_either),
        cmocka_unit_test(every_round_counts),
        cmocka_unit_test(without_aes_it_is_siphash),
    };
    return RUN_TESTS("flow_hash", tests);
}
