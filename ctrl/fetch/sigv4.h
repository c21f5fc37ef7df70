/* AWS Signature Version 4: pure, bytes in, an Authorization header out.  Source: "Signing AWS API requests" in the AWS
 * IAM user guide, "Authenticating Requests (AWS Signature Version 4)" in the S3 API reference. */
#ifndef CTRL_FETCH_SIGV4_H
#define CTRL_FETCH_SIGV4_H

#include "base/span.h"

#define SIGV4_HEADERS_MAX 8
#define SIGV4_HEX_LEN     65 /* a SHA-256 in hexadecimal, with its NUL */
#define SIGV4_AUTH_CAP    1024

struct sigv4_header {
    const char *name; /* lower case */
    const char *value;
};

struct sigv4_request {
    const char *method;
    const char *path;                               /* as on the wire: encoded, beginning with a slash */
    const char *query;                              /* encoded, names in order; "" = none */
    struct sigv4_header headers[SIGV4_HEADERS_MAX]; /* in the order of their names */
    size_t header_count;
    const char *payload_sha256; /* hexadecimal */
    const char *region, *service;
    const char *key_id, *secret;
    const char *date; /* 20130524T000000Z: that of x-amz-date or date */
};

/* out: the value of Authorization.  false: it does not fit. */
bool MUST_USE sigv4_authorization(const struct sigv4_request *r, char out[SIGV4_AUTH_CAP]);

void sigv4_sha256_hex(struct span data, char out[SIGV4_HEX_LEN]);
void sigv4_hex(const uint8_t *p, size_t len, char *out);

/* Percent-encodes all but letters, digits and -._~ ; a slash only if asked.  out: 3 * length + 1 bytes. */
void sigv4_encode(const char *text, bool slash_too, char *out);

#endif
