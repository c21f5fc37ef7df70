/* Base64 (RFC 4648 sections 4 and 5).  Strict: no whitespace, no stray characters, trailing bits must be
 * zero. */
#ifndef PROTO_BASE64_H
#define PROTO_BASE64_H

#include "base/span.h"

#define BASE64_ENCODED_LEN(n) (((n) + 2) / 3 * 4)
#define BASE64_DECODED_MAX(n) (((n) + 3) / 4 * 3)

/* Standard alphabet with padding.  out has BASE64_ENCODED_LEN(in.len) bytes of room; returns that length.  in
 * may be the last in.len bytes of that room: each group is read before anything is written over it. */
size_t base64_encode(struct span in, uint8_t *out);

/* ProtoJSON bytes: standard or URL-safe alphabet (not mixed), padded or not.  out may be in.ptr: decoding in
 * place is allowed. out has BASE64_DECODED_MAX(in.len) bytes of room.  false on anything else, *len
 * undefined. */
bool MUST_USE base64_decode(struct span in, uint8_t *out, size_t *len);

/* JOSE (RFC 7515 2): URL-safe alphabet, no padding. */
bool MUST_USE base64url_decode(struct span in, uint8_t *out, size_t *len);

#endif
