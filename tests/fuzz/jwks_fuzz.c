/* A JWK set.  What is taken is within the limits of the ctl message that carries it, and no two keys share a name. */
#include "base/check.h"
#include "ctrl/trust/jwks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_key(const struct jwk *k)
{
    CHECK(k->kid_len >= 1 && k->kid_len <= JWT_KID_MAX);
    if (k->alg == JWK_ES256)
        CHECK(k->a_len == 32 && k->b_len == 32);
    else
        CHECK(k->alg == JWK_RS256 && k->a_len >= 256 && k->a_len <= 512 && k->b_len >= 3 && k->b_len <= 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jwks set;

    if (!jwks_parse(span_of(data, size), &set, NULL)) {
        CHECK(set.count == 0);
        return 0;
    }
    CHECK(set.count >= 1 && set.count <= JWKS_KEYS_MAX);
    for (uint32_t i = 0; i < set.count; i++) {
        check_key(&set.keys[i]);
        for (uint32_t j = 0; j < i; j++)
            CHECK(!span_equal(span_of(set.keys[i].kid, set.keys[i].kid_len),
                              span_of(set.keys[j].kid, set.keys[j].kid_len)));
    }
    return 0;
}
