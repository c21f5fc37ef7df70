/* A known data key goes through the whole server; then the memory of the process, clients' included, is searched for it: as it is, and
 * as the base64 that stands in requests and replies. */
#include "base/secret.h"
#include "proto/base64.h"
#include "tests/lib/needle.h"
#include "tests/sim/worker/claims.h"

#define TEXT_CAP (64 * 1024)

static uint8_t text[TEXT_CAP]; /* the test's own copies; wiped before a search */
static uint8_t dek[24 * 1024];

struct sought {
    struct needle raw, base64;
};

/* A data key of len bytes, its beginning recognizable; the base64 of it is at `at`. */
static struct sought make_dek(size_t len, uint8_t *at, size_t *b64_len)
{
    uint8_t head[NEEDLE_LEN];
    struct sought s;

    for (size_t i = 0; i < len; i++)
        dek[i] = (uint8_t)(i * 167 + 29);
    *b64_len = base64_encode(span_of(dek, len), at);
    memcpy(head, dek, sizeof head);
    s.raw = needle_of(head, sizeof head);
    memcpy(head, at, sizeof head);
    s.base64 = needle_of(head, sizeof head);
    secret_wipe(dek, len);
    return s;
}

static struct sought send_wrap(struct client *c, size_t len)
{
    size_t b64_len = 0, at;
    uint8_t *body = text + 8192; /* made first: the head tells its length */
    int n = sprintf((char *)body, "{\"plaintext\":\"");
    struct sought s = make_dek(len, body + n, &b64_len);

    size_t body_len = (size_t)n + b64_len + 2;
    memcpy(body + n + b64_len, "\"}", 2);
    at = (size_t)sprintf((char *)text,
                         "POST /" RIG_KEY_A ":wrap HTTP/1.1\r\nHost: " RIG_HOST
                         "\r\nAuthorization: Bearer %s\r\n"
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                         rig_token(c->rig, RIG_CALLER), body_len);
    client_send(c, span_of(text, at));
    client_send(c, span_of(body, body_len));
    secret_wipe(text, sizeof text);
    return s;
}

static void expect_no_copy(const struct sought *s)
{
    assert_int_equal(needle_count(&s->raw), 0);
    assert_int_equal(needle_count(&s->base64), 0);
}

/* Without this the others would prove nothing. */
static void a_copy_is_found_while_there_is_one(void **state)
{
    size_t len;
    struct sought s = make_dek(32, text, &len);
    (void)state;

    assert_int_equal(needle_count(&s.base64), 1);
    assert_true(base64_decode(span_of(text, len), text, &len));
    assert_int_equal(needle_count(&s.raw), 1);
    secret_wipe(text, sizeof text);
    expect_no_copy(&s);
}

static void no_copy_is_left_after_a_wrap_of(size_t len)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    struct sought s = send_wrap(c, len);

    expect_status(c, 200);
    expect_no_copy(&s); /* the connection is open and idle */
    rig_free(r);
}

static void no_copy_is_left_after_a_wrap(void **state)
{
    (void)state;
    no_copy_is_left_after_a_wrap_of(32);
}

static void no_copy_is_left_after_a_wrap_in_a_large_buffer(void **state)
{
    (void)state;
    no_copy_is_left_after_a_wrap_of(20000);
}

static void no_copy_is_left_after_an_unwrap(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    struct sought s = send_wrap(c, 32);
    char body[512];
    (void)state;

    expect_status(c, 200);
    struct span blob = client_value(c, "wrappedBlob");
    snprintf(body, sizeof body, "{\"wrappedBlob\":\"%.*s\"}", (int)blob.len, (const char *)blob.ptr);
    client_next(c);
    client_post(c, RIG_KEY_A ":unwrap", body);
    expect_status(c, 200);
    assert_int_equal(needle_count(&s.base64), 1); /* the client got it */
    secret_wipe(c->in, c->in_cap);
    expect_no_copy(&s);
    rig_free(r);
}

/* The decoded bytes are gone although the request was refused halfway. */
static void no_copy_is_left_after_a_refusal(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    (void)state;

    rig_ctl_begin(r, false);
    rig_put_key(r, RIG_KEY_A, RIG_CALLER, KEY_STATE_ENABLED,
                0); /* no primary: the body is parsed, then refused */
    rig_ctl_end(r);
    assert_true(rig_until(r, rig_acked, r));
    struct sought s = send_wrap(c, 32);
    expect_status(c, 400);
    expect_no_copy(&s);
    rig_free(r);
}

static void no_copy_is_left_of_a_request_that_was_cut_off(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    size_t len;
    (void)state;

    send_text(c, "POST /" RIG_KEY_A
                 ":wrap HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n{\"plaintext\":\"");
    struct sought s = make_dek(32, text, &len);
    client_send(c, span_of(text, len));
    secret_wipe(text, sizeof text);
    rig_run(r, 10000);
    assert_int_equal(needle_count(&s.base64), 1); /* waits in its buffer */
    client_abort(c);
    rig_run(r, 10000);
    expect_no_copy(&s);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_found_while_there_is_one),
        cmocka_unit_test(no_copy_is_left_after_a_wrap),
        cmocka_unit_test(no_copy_is_left_after_a_wrap_in_a_large_buffer),
        cmocka_unit_test(no_copy_is_left_after_an_unwrap),
        cmocka_unit_test(no_copy_is_left_after_a_refusal),
        cmocka_unit_test(no_copy_is_left_of_a_request_that_was_cut_off),
    };
    log_set_level(LOG_ERROR);
    return RUN_TESTS("worker_secrets", tests);
}
