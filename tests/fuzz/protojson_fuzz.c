/* The body of a wrap or an unwrap.  What is taken keeps every limit; what is refused says why. */
#include "base/check.h"
#include "base/secret_priv.h"
#include "proto/protojson.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_view(const uint8_t *body, size_t size, struct span view, size_t max)
{
    CHECK(view.len <= max);
    CHECK(view.len == 0 || (view.ptr >= body && view.ptr + view.len <= body + size));
}

static void check_context(const uint8_t *body, size_t size, const struct request_context *c)
{
    check_view(body, size, c->relative_resource_name, EKM_RESOURCE_MAX);
    check_view(body, size, c->full_resource_name, EKM_RESOURCE_MAX);
    CHECK(__builtin_popcount(c->reason) == 1);
    CHECK((c->reason & (ACCESS_REASONS_ALL | ACCESS_REASON_UNKNOWN_BIT)) != 0);
}

static void check_wrap(uint8_t *body, size_t size)
{
    struct wrap_request rq;
    struct field_violation bad = {NULL, NULL};

    if (!protojson_wrap_request(body, size, &rq, &bad)) {
        CHECK(bad.field != NULL && bad.description != NULL && bad.description[0] != 0);
        return;
    }
    check_view(body, size, secret_expose(rq.plaintext), EKM_PLAINTEXT_MAX);
    check_view(body, size, rq.aad, EKM_AAD_MAX);
    check_view(body, size, rq.key_path, EKM_KEY_PATH_MAX);
    check_view(body, size, rq.key_uri_prefix, EKM_RESOURCE_MAX);
    check_context(body, size, &rq.context);
}

static void check_unwrap(uint8_t *body, size_t size)
{
    struct unwrap_request rq;
    struct field_violation bad = {NULL, NULL};

    if (!protojson_unwrap_request(body, size, &rq, &bad)) {
        CHECK(bad.field != NULL && bad.description != NULL && bad.description[0] != 0);
        return;
    }
    check_view(body, size, rq.wrapped_blob, EKM_BLOB_MAX);
    check_view(body, size, rq.aad, EKM_AAD_MAX);
    check_view(body, size, rq.key_path, EKM_KEY_PATH_MAX);
    check_view(body, size, rq.key_uri_prefix, EKM_RESOURCE_MAX);
    check_context(body, size, &rq.context);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *body = malloc(size + 1);

    CHECK(body != NULL);
    memcpy(body, data, size);
    check_wrap(body, size);
    memcpy(body, data, size);
    check_unwrap(body, size);
    free(body);
    return 0;
}
