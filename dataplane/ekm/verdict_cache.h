/* Tokens that were found good, so that each costs one signature check and not one per request.
 *
 * Found by a keyed hash of the token's end (SipHash, its key random per cache); a hit needs all token bytes to be equal, the
 * epoch it was judged under to be the present one, and the time to lie within the token's validity: checked
 * again at every hit. Bounded: sets of four, the oldest of a set gives way.  Memory is locked and wiped.
 * Tokens longer than VERDICT_TOKEN_MAX are judged anew each time. */
#ifndef DATAPLANE_EKM_VERDICT_CACHE_H
#define DATAPLANE_EKM_VERDICT_CACHE_H

#include "base/limits.h"
#include "base/span.h"

#define VERDICT_TOKEN_MAX 2048
#define VERDICT_WAYS      4

struct verdict_cache;

struct verdict {
    struct secret_span token;
    uint64_t epoch;
    int64_t valid_from_s, valid_until_s; /* good while from <= now < until; skew is in them */
    struct span email;
};

/* sets: a power of two.  NULL when memory cannot be had or locked. */
struct verdict_cache *MUST_USE verdict_cache_new(size_t sets);
void verdict_cache_free(struct verdict_cache *c);
/* The e-mail, valid until the next add or flush; false = judge it.  An entry out of its time is wiped. */
bool MUST_USE verdict_cache_find(struct verdict_cache *c, struct secret_span token, uint64_t epoch,
                                 int64_t now_s, struct span *email);
void verdict_cache_add(struct verdict_cache *c, const struct verdict *v);
/* Wipes everything. */
void verdict_cache_flush(struct verdict_cache *c);
size_t verdict_cache_count(const struct verdict_cache *c);

#endif
