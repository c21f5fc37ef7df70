/* A keyed hash of two addresses and two ports, for a table that is looked into for each packet and whose places nobody outside may choose.
 *
 * Where the processor has the instructions it is AES-128 (FIPS 197): of IPv4 one block, of IPv6 a CBC-MAC of three, whose first says how
 * many they are.  Its round keys are not expanded from one but drawn one by one, which AES is no weaker for and the key schedule is saved.
 * Elsewhere it is SipHash-1-3, which takes four times as long.  Only half a word of it is used, and never seen by anybody. */
#ifndef BASE_FLOW_HASH_H
#define BASE_FLOW_HASH_H

#include "base/siphash.h"

typedef uint64_t flow_block __attribute__((vector_size(16)));

#define FLOW_ROUNDS 10

struct flow_key {
    flow_block round[FLOW_ROUNDS + 1];
    struct siphash_key sip;
    bool by_aes; /* chosen by flow_key_set: what a table holds must all have been placed by one of the two */
};

/* All of it follows from `from`. */
void flow_key_set(struct flow_key *k, const struct siphash_key *from);
bool flow_aes_is_here(void);
/* Without AES: words as below. */
uint32_t flow_hash_portable(const struct flow_key *k, const uint64_t *words, size_t count, uint32_t ports);

#ifdef __x86_64__

/* One instruction each, chosen at run time: the compiler may not use them by itself, nor inline a function that may. */
static inline flow_block flow_aes(const flow_block *key, flow_block s)
{
    s ^= key[0];
#pragma GCC unroll 16
    for (int i = 1; i < FLOW_ROUNDS; i++)
        __asm__("aesenc %1, %0" : "+x"(s) : "m"(key[i]));
    __asm__("aesenclast %1, %0" : "+x"(s) : "m"(key[FLOW_ROUNDS]));
    return s;
}

#else

static inline flow_block flow_aes(const flow_block *key, flow_block s)
{
    return s ^ *key; /* nobody comes here: flow_aes_is_here */
}

#endif

/* addrs: the remote address, then the local one, as they lie in memory. */
static inline uint32_t flow_hash4(const struct flow_key *k, uint64_t addrs, uint32_t ports)
{
    if (__builtin_expect(!k->by_aes, 0))
        return flow_hash_portable(k, &addrs, 1, ports);
    return (uint32_t)flow_aes(k->round, (flow_block){addrs, UINT64_C(1) << 32 | ports})[0];
}

/* addrs: likewise, 16 bytes each. */
static inline uint32_t flow_hash6(const struct flow_key *k, const uint64_t addrs[4], uint32_t ports)
{
    if (__builtin_expect(!k->by_aes, 0))
        return flow_hash_portable(k, addrs, 4, ports);
    flow_block s = flow_aes(k->round, (flow_block){0, UINT64_C(3) << 32 | ports});
    s = flow_aes(k->round, s ^ (flow_block){addrs[0], addrs[1]});
    return (uint32_t)flow_aes(k->round, s ^ (flow_block){addrs[2], addrs[3]})[0];
}

#endif
