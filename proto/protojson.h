/* ProtoJSON requests of the EKM API, bound to C structs of views (docs/WIRE.md; protobuf's JSON mapping).
 *
 * A table names each message's fields once; the binder follows the rules of the mapping: lowerCamelCase and
 * snake_case names (one field given in both spellings is a duplicate, refused), null = default, unknown names
 * skipped, enums by name or number, bytes as base64 of either alphabet, padded or not.
 *
 * body is decoded in place and given up by the caller: every view of the result points into it and dies with
 * it. Cost: one pass over the body, no allocation.  On false, *bad says which field; both texts are static
 * and hold no byte of the input, so they may be sent to the peer and logged. */
#ifndef PROTO_PROTOJSON_H
#define PROTO_PROTOJSON_H

#include "base/ctl_wire.h"
#include "base/limits.h"
#include "base/span.h"

/* For google.rpc.BadRequest.fieldViolations. */
struct field_violation {
    const char *field;       /* "additionalContext.relativeResourceName"; "" = the body as a whole */
    const char *description; /* "must be base64" */
};

struct request_context {
    struct span relative_resource_name; /* <= EKM_RESOURCE_MAX, valid UTF-8; empty when absent */
    struct span full_resource_name;     /* same */
    uint32_t reason;                    /* exactly one bit of the set in base/ctl_wire.h: 1 << number,
                                           ACCESS_REASON_ABSENT_BIT without an accessReasonContext,
                                           ACCESS_REASON_UNKNOWN_BIT for a name or number we do not know */
    bool is_key_health_check;
};

struct wrap_request {
    struct secret_span plaintext; /* given, possibly empty; <= EKM_PLAINTEXT_MAX */
    struct span aad;              /* absent and empty are equal; <= EKM_AAD_MAX */
    struct request_context context;
    struct span key_path;       /* <= EKM_KEY_PATH_MAX; empty when absent */
    struct span key_uri_prefix; /* <= EKM_RESOURCE_MAX; empty when absent */
};

struct unwrap_request {
    struct span wrapped_blob; /* given, possibly empty; <= EKM_BLOB_MAX */
    struct span aad;
    struct request_context context;
    struct span key_path;
    struct span key_uri_prefix;
};

bool MUST_USE protojson_wrap_request(uint8_t *body, size_t len, struct wrap_request *out,
                                     struct field_violation *bad);
bool MUST_USE protojson_unwrap_request(uint8_t *body, size_t len, struct unwrap_request *out,
                                       struct field_violation *bad);

#endif
