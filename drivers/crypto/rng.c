/* Fast key erasure: a refill is one AES-256-CTR keystream whose first 32 bytes replace the key that made it
 * and whose rest is the pool; bytes handed out are zeroed in the pool.  So nothing in memory tells what was
 * handed out before.
 *
 * The keystream's counter block starts at two clocks: a machine resumed twice from one image goes two ways at
 * its next refill, even before it is reseeded. */
#include "drivers/crypto/rng.h"

#include "base/check.h"
#include "base/secret.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define KEY_LEN  32
#define POOL_LEN 4096
#define BLOCK    16

/* On pages that a forked child finds zeroed: live == 0 then says that there is no key. */
struct rng_state {
    uint64_t live;
    uint8_t stream[KEY_LEN + POOL_LEN]; /* key, then the pool */
    uint8_t last[BLOCK];                /* the last block of the refill before */
    size_t left;                        /* bytes of the pool not handed out yet: its end */
    uint64_t since_seed;
    int64_t seeded_at_s;
};

struct rng {
    struct rng_state *state;
    OSSL_LIB_CTX *lib;
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *ctr;
    bool repeatable; /* seeded by a test: no clock, no OS */
    uint64_t seeds;
#ifdef WW_TEST_HOOKS
    bool repeat_next;
#endif
};

static int64_t now_s(void)
{
    struct timespec t;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (int64_t)t.tv_sec;
}

static bool os_random(uint8_t *out, size_t len)
{
    while (len != 0) {
        ssize_t n = getrandom(out, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        out += n;
        len -= (size_t)n;
    }
    return true;
}

/* New entropy is mixed into the key, not put in its place: a bad source can then take nothing away. */
static bool reseed(struct rng *r)
{
    uint8_t fresh[KEY_LEN];

    if (!os_random(fresh, sizeof fresh))
        return false;
    for (size_t i = 0; i < KEY_LEN; i++)
        r->state->stream[i] ^= fresh[i];
    secret_wipe(fresh, sizeof fresh);
    r->state->live = 1;
    r->state->since_seed = 0;
    r->state->seeded_at_s = now_s();
    r->seeds++;
    return true;
}

static bool reseed_is_due(const struct rng *r)
{
    if (r->state->live == 0)
        return true;
    return !r->repeatable &&
           (r->state->since_seed >= RNG_RESEED_BYTES || now_s() - r->state->seeded_at_s >= RNG_RESEED_S);
}

static void counter_start(const struct rng *r, uint8_t iv[BLOCK])
{
    struct timespec t[2];

    memset(iv, 0, BLOCK);
    if (r->repeatable)
        return;
    CHECK(clock_gettime(CLOCK_REALTIME, &t[0]) == 0);
    CHECK(clock_gettime(CLOCK_MONOTONIC_RAW, &t[1]) == 0);
    for (size_t i = 0; i < 2; i++) {
        uint64_t ns = (uint64_t)t[i].tv_sec * 1000000000u + (uint64_t)t[i].tv_nsec;
        memcpy(iv + 8 * i, &ns, sizeof ns);
    }
}

/* The repetition count test of SP 800-90B 4.4.1 with a cutoff of two: equal neighbours among 128-bit blocks
 * do not happen. */
static void health_check(struct rng_state *s)
{
    const uint8_t *before = s->last;

    for (size_t at = KEY_LEN; at < sizeof s->stream; at += BLOCK) {
        CHECK(memcmp(before, s->stream + at, BLOCK) != 0);
        before = s->stream + at;
    }
    memcpy(s->last, before, BLOCK);
}

static void refill(struct rng *r)
{
    static const uint8_t zero_key[KEY_LEN];
    struct rng_state *s = r->state;
    uint8_t iv[BLOCK], key[KEY_LEN];
    int n = 0;

    if (reseed_is_due(r))
        CHECK(reseed(r));
    counter_start(r, iv);
    memcpy(key, s->stream, KEY_LEN);
    memset(s->stream, 0, sizeof s->stream);
    CHECK(EVP_EncryptInit_ex2(r->ctr, NULL, key, iv, NULL) == 1);
    CHECK(EVP_EncryptUpdate(r->ctr, s->stream, &n, s->stream, (int)sizeof s->stream) == 1);
    CHECK((size_t)n == sizeof s->stream);
    secret_wipe(key, sizeof key);
    /* The context's schedule is the erased key's. */
    CHECK(EVP_EncryptInit_ex2(r->ctr, NULL, zero_key, zero_key, NULL) == 1);
#ifdef WW_TEST_HOOKS
    if (r->repeat_next)
        memcpy(s->stream + KEY_LEN + BLOCK, s->stream + KEY_LEN, BLOCK);
#endif
    health_check(s);
    s->left = POOL_LEN;
    s->since_seed += POOL_LEN;
}

static bool rng_open(struct rng *r)
{
    static const uint8_t zero_key[KEY_LEN];

    r->lib = OSSL_LIB_CTX_new();
    if (r->lib == NULL)
        return false;
    r->cipher = EVP_CIPHER_fetch(r->lib, "AES-256-CTR", NULL);
    r->ctr = EVP_CIPHER_CTX_new();
    r->state = secret_pages_alloc(sizeof *r->state);
    return r->cipher != NULL && r->ctr != NULL && r->state != NULL &&
           EVP_EncryptInit_ex2(r->ctr, r->cipher, zero_key, zero_key, NULL) == 1;
}

struct rng *rng_new(const uint8_t *seed_for_tests)
{
    struct rng *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    if (!rng_open(r)) {
        rng_free(r);
        return NULL;
    }
    if (seed_for_tests != NULL) {
        r->repeatable = true;
        memcpy(r->state->stream, seed_for_tests, KEY_LEN);
        r->state->live = 1;
    } else if (!reseed(r)) {
        rng_free(r);
        return NULL;
    }
    return r;
}

void rng_free(struct rng *r)
{
    if (r == NULL)
        return;
    EVP_CIPHER_CTX_free(r->ctr);
    EVP_CIPHER_free(r->cipher);
    OSSL_LIB_CTX_free(r->lib);
    secret_pages_free(r->state, sizeof *r->state);
    free(r);
}

void rng_bytes(struct rng *r, void *out, size_t len)
{
    uint8_t *to = out;

    while (len != 0) {
        struct rng_state *s = r->state;
        if (s->left == 0) /* so too in a forked child */
            refill(r);
        size_t take = len < s->left ? len : s->left;
        uint8_t *from = s->stream + sizeof s->stream - s->left;
        memcpy(to, from, take);
        secret_wipe(from, take);
        s->left -= take;
        to += take;
        len -= take;
    }
}

#ifdef WW_TEST_HOOKS
void rng_inject_repeat(struct rng *r)
{
    r->repeat_next = true;
}

uint64_t rng_seed_count(const struct rng *r)
{
    return r->seeds;
}

void rng_age(struct rng *r, uint32_t seconds)
{
    r->state->seeded_at_s -= seconds;
}
#endif
