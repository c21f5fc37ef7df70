/* A file of the warm snapshot: what parses as a head is written again and must be the very bytes; what opens under the
 * fixed key is taken chunk by chunk. */
#include "base/check.h"
#include "dataplane/keys/keys.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[WARM_KEY_LEN] = "a warm key of the fuzz target...";

static void take_chunks(struct keys_warm *w, struct span rest)
{
    while (rest.len > 0) {
        size_t n = rest.len < WARM_SEALED_MAX ? rest.len : WARM_SEALED_MAX;
        struct secret_span plain;
        /* A copy of exactly this size, so that the sanitizer sees a read beyond it. */
        uint8_t *exact = malloc(n);

        CHECK(exact != NULL);
        memcpy(exact, rest.ptr, n);
        enum keys_warm_status s = keys_warm_take(w, span_of(exact, n), n == rest.len, &plain);
        free(exact);
        if (s != KEYS_WARM_OK)
            return;
        CHECK(plain.len + BLOB_GCM_TAG_LEN == n);
        rest = span_from(rest, n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct keys_warm *w;
    struct span in = span_of(data, size);
    struct warm_head h;
    uint8_t again[WARM_HEAD_LEN];

    if (w == NULL)
        w = keys_warm_new(key);
    CHECK(w != NULL);
    (void)!keys_warm_floor_open(w, in, &h);
    if (size < WARM_HEAD_LEN || !warm_head_parse(span_of(data, WARM_HEAD_LEN), &h))
        return 0;
    warm_head_write(&h, again);
    CHECK(memcmp(again, data, sizeof again) == 0);
    if (keys_warm_open(w, &h) == KEYS_WARM_OK)
        take_chunks(w, span_from(in, WARM_HEAD_LEN));
    return 0;
}
