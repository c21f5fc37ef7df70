#include "bench/load/plan.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

static char *tokens[] = {(char *)"aaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbb.cccccccccccccccccccccccccccc"};

static struct plan_config config(void)
{
    return (struct plan_config){.host = "host.test",
                                .key = "v0/k",
                                .key_count = 1,
                                .tokens = tokens,
                                .token_count = 1,
                                .plaintext_len = 32,
                                .seed = 7};
}

static char request[PLAN_REQUEST_MAX];

/* The next request as text; *rq is what the connection would remember. */
static const char *next(struct plan *p, struct plan_request *rq)
{
    size_t len = plan_write(p, rq, false, request);

    request[len] = '\0';
    return request;
}

static void plaintext_of(const char *text, char out[64])
{
    const char *at = strstr(text, "{\"plaintext\":\"");

    assert_non_null(at);
    assert_int_equal(sscanf(at, "{\"plaintext\":\"%63[^\"]", out), 1);
}

/* Answers a wrap of p with a blob of its own; returns the request. */
static struct plan_request wrap_one(struct plan *p, const char *blob, char plaintext[64])
{
    struct plan_request rq;
    char reply[256];

    plaintext_of(next(p, &rq), plaintext);
    int len = snprintf(reply, sizeof reply, "{\"wrappedBlob\":\"%s\"}", blob);
    assert_true(plan_judge(p, &rq, 200, reply, (size_t)len));
    return rq;
}

#define BLOB "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void a_request_has_a_whole_head_and_the_announced_body(void **state)
{
    struct plan_config c = config();
    struct plan *p = plan_new(&c);
    struct plan_request rq;
    unsigned long announced = 0;
    (void)state;

    const char *text = next(p, &rq), *body = strstr(text, "\r\n\r\n") + 4;
    assert_int_equal(strncmp(text, "POST /v0/k:wrap HTTP/1.1\r\nHost: host.test\r\n", 43), 0);
    assert_int_equal(sscanf(strstr(text, "Content-Length: "), "Content-Length: %lu", &announced), 1);
    assert_int_equal(announced, strlen(body));
    plan_free(p);
}

static void no_two_plaintexts_are_alike(void **state)
{
    struct plan_config c = config();
    struct plan *p = plan_new(&c);
    struct plan_request rq;
    char one[64], two[64];
    (void)state;

    plaintext_of(next(p, &rq), one);
    plaintext_of(next(p, &rq), two);
    assert_string_not_equal(one, two);
    assert_int_equal(strlen(one), 44);
    plan_free(p);
}

static void an_unwrap_asks_for_a_blob_that_was_given_and_wants_its_plaintext(void **state)
{
    struct plan_config c = config();
    c.unwrap_share = 1;
    struct plan *p = plan_new(&c);
    struct plan_request rq;
    char plaintext[64], right[128];
    (void)state;

    wrap_one(p, BLOB, plaintext);
    const char *text = next(p, &rq);
    assert_non_null(strstr(text, ":unwrap HTTP/1.1"));
    assert_non_null(strstr(text, "{\"wrappedBlob\":\"" BLOB "\""));
    int len = snprintf(right, sizeof right, "{\"plaintext\":\"%s\"}", plaintext);
    assert_true(plan_judge(p, &rq, 200, right, (size_t)len));
    right[len - 10] ^= 1;
    assert_false(plan_judge(p, &rq, 200, right, (size_t)len));
    plan_free(p);
}

static void a_wrap_reply_without_a_blob_is_wrong(void **state)
{
    struct plan_config c = config();
    struct plan *p = plan_new(&c);
    struct plan_request rq;
    (void)state;

    (void)next(p, &rq);
    assert_false(plan_judge(p, &rq, 200, "{}", 2));
    assert_false(plan_judge(p, &rq, 503, "{\"wrappedBlob\":\"" BLOB "\"}", strlen(BLOB) + 18));
    plan_free(p);
}

static void a_bad_token_is_not_the_token_and_must_be_refused(void **state)
{
    struct plan_config c = config();
    c.bad_token_share = 1;
    struct plan *p = plan_new(&c);
    struct plan_request rq;
    (void)state;

    assert_null(strstr(next(p, &rq), tokens[0]));
    assert_false(plan_judge(p, &rq, 200, "{\"wrappedBlob\":\"" BLOB "\"}", strlen(BLOB) + 18));
    assert_true(plan_judge(p, &rq, 401, "{}", 2));
    plan_free(p);
}

/* Requests for each of four keys among 1000. */
static void count_keys(double zipf, unsigned int asked[4])
{
    struct plan_config c = config();
    c.key = "v0/k%u/x";
    c.key_count = 4;
    c.zipf = zipf;
    struct plan *p = plan_new(&c);
    struct plan_request rq;

    memset(asked, 0, 4 * sizeof asked[0]);
    for (int i = 0; i < 1000; i++) {
        unsigned int key = 99;
        assert_int_equal(sscanf(next(p, &rq), "POST /v0/k%u/x:wrap", &key), 1);
        assert_int_equal(key, rq.key);
        assert_true(key < 4);
        asked[key]++;
    }
    plan_free(p);
}

static void uniform_keys_are_asked_alike(void **state)
{
    unsigned int asked[4];
    (void)state;

    count_keys(0, asked);
    for (size_t i = 0; i < 4; i++)
        assert_in_range(asked[i], 200, 300);
}

static void zipf_keys_are_asked_by_rank(void **state)
{
    unsigned int asked[4];
    (void)state;

    count_keys(1, asked); /* 12/25, 6/25, 4/25, 3/25 */
    assert_in_range(asked[0], 430, 530);
    assert_in_range(asked[1], 190, 290);
    assert_in_range(asked[3], 80, 160);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_has_a_whole_head_and_the_announced_body),
        cmocka_unit_test(no_two_plaintexts_are_alike),
        cmocka_unit_test(an_unwrap_asks_for_a_blob_that_was_given_and_wants_its_plaintext),
        cmocka_unit_test(a_wrap_reply_without_a_blob_is_wrong),
        cmocka_unit_test(a_bad_token_is_not_the_token_and_must_be_refused),
        cmocka_unit_test(uniform_keys_are_asked_alike),
        cmocka_unit_test(zipf_keys_are_asked_by_rank),
    };

    return RUN_TESTS("bench_plan", tests);
}
