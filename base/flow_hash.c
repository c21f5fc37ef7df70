#include "base/flow_hash.h"

bool flow_aes_is_here(void)
{
#ifdef __x86_64__
    return __builtin_cpu_supports("aes") != 0;
#else
    return false;
#endif
}

void flow_key_set(struct flow_key *k, const struct siphash_key *from)
{
    for (uint64_t i = 0; i < 2 * (FLOW_ROUNDS + 1); i++)
        k->round[i / 2][i % 2] = siphash(from, span_of(&i, sizeof i));
    k->sip = *from;
    k->by_aes = flow_aes_is_here();
}

uint32_t flow_hash_portable(const struct flow_key *k, const uint64_t *words, size_t count, uint32_t ports)
{
    return (uint32_t)siphash13(&k->sip, words, count, (uint64_t)(8 * count + 4) << 56 | ports);
}
