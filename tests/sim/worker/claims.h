/* What the worker's tests say over and over. */
#ifndef TESTS_SIM_WORKER_CLAIMS_H
#define TESTS_SIM_WORKER_CLAIMS_H

#include "base/log.h"
#include "tests/sim/worker/rig.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELLO_B64  "aGVsbG8="
#define WRAP_HELLO "{\"plaintext\":\"" HELLO_B64 "\"}"

static inline struct rig *new_rig(void)
{
    struct rig_options o;

    rig_options_defaults(&o);
    return rig_new(&o);
}

static inline void expect_status(struct client *c, unsigned status)
{
    assert_true(rig_until(c->rig, client_replied, c));
    if (c->status != status)
        print_message("reply: %s\n", client_body(c));
    assert_int_equal(c->status, status);
}

static inline struct client *shaken(struct rig *r)
{
    struct client *c = client_open(r, false);

    assert_true(rig_until(r, client_shaken, c));
    return c;
}

/* The wrapped blob's base64, malloc'ed. */
static inline char *wrapped(struct client *c, const char *target, const char *json)
{
    client_post(c, target, json);
    expect_status(c, 200);
    struct span v = client_value(c, "wrappedBlob");
    char *text = strndup((const char *)v.ptr, v.len);
    client_next(c);
    return text;
}

static inline void unwrap_hello(struct client *c, const char *target, const char *blob, unsigned status)
{
    size_t cap = strlen(blob) + 64;
    char *body = malloc(cap);

    snprintf(body, cap, "{\"wrappedBlob\":\"%s\"}", blob);
    client_post(c, target, body);
    expect_status(c, status);
    if (status == 200)
        assert_string_equal(client_body(c), "{\"plaintext\":\"" HELLO_B64 "\"}");
    client_next(c);
    free(body);
}

/* A request's text with RIG_CALLER's token; malloc'ed. */
static inline char *request(struct rig *r, const char *version, const char *fields, const char *body)
{
    size_t cap = strlen(fields) + strlen(body) + 4096;
    char *text = malloc(cap);

    snprintf(text, cap,
             "POST /" RIG_KEY_A ":wrap HTTP/%s\r\nHost: " RIG_HOST "\r\nAuthorization: Bearer %s\r\n"
             "Content-Type: application/json\r\n%s\r\n%s",
             version, rig_token(r, RIG_CALLER), fields, body);
    return text;
}

static inline void send_text(struct client *c, const char *text)
{
    client_send(c, span_str(text));
}

/* {"plaintext":"..."} of n bytes; malloc'ed. */
static inline char *big_wrap_body(size_t n)
{
    size_t b64 = (n + 2) / 3 * 4;
    char *body = malloc(b64 + 64);

    strcpy(body, "{\"plaintext\":\"");
    size_t at = strlen(body);
    memset(body + at, 'A', b64);
    for (size_t i = 0; i < (3 - n % 3) % 3; i++)
        body[at + b64 - 1 - i] = '=';
    strcpy(body + at + b64, "\"}");
    return body;
}

#endif
