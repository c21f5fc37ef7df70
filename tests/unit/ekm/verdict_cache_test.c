#include "dataplane/ekm/verdict_cache.h"

#include "base/secret_priv.h"
#include "tests/unit/test.h"

#include <stdio.h>

static struct verdict_cache *cache;

static int setup(void **state)
{
    (void)state;
    cache = verdict_cache_new(1); /* every token is in the same set */
    return cache == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    verdict_cache_free(cache);
    return 0;
}

static struct secret_span token_of(const char *text)
{
    return secret_of(text, strlen(text));
}

static void add(const char *token, const char *email)
{
    struct verdict v = {token_of(token), 7, 100, 200, span_str(email)};

    verdict_cache_add(cache, &v);
}

static bool finds(const char *token, uint64_t epoch, int64_t now_s, const char *email)
{
    struct span got;

    return verdict_cache_find(cache, token_of(token), epoch, now_s, &got) && span_is(got, email);
}

static void what_was_added_is_found(void **state)
{
    (void)state;
    add("token", "a@b");
    assert_true(finds("token", 7, 150, "a@b"));
}

static void another_token_is_not_found(void **state)
{
    (void)state;
    add("token-1", "a@b");
    assert_false(finds("token-2", 7, 150, "a@b"));
}

static void a_prefix_of_a_token_is_not_found(void **state)
{
    (void)state;
    add("token-1", "a@b");
    assert_false(finds("token-", 7, 150, "a@b"));
}

static void an_empty_token_is_not_found(void **state)
{
    (void)state;
    add("", "a@b");
    assert_int_equal(verdict_cache_count(cache), 0);
    assert_false(finds("", 7, 150, "a@b"));
}

static void the_last_second_of_validity_is_a_hit(void **state)
{
    (void)state;
    add("token", "a@b");
    assert_true(finds("token", 7, 199, "a@b"));
}

static void the_first_second_after_validity_is_none(void **state)
{
    (void)state;
    add("token", "a@b");
    assert_false(finds("token", 7, 200, "a@b"));
}

static void a_clock_before_validity_is_no_hit(void **state)
{
    (void)state;
    add("token", "a@b");
    assert_false(finds("token", 7, 99, "a@b"));
}

static void another_epoch_is_no_hit(void **state)
{
    (void)state;
    add("token", "a@b");
    assert_false(finds("token", 8, 150, "a@b"));
}

static void an_entry_out_of_its_time_is_wiped(void **state)
{
    (void)state;
    add("token", "a@b");
    assert_false(finds("token", 7, 200, "a@b"));
    assert_int_equal(verdict_cache_count(cache), 0);
    assert_false(finds("token", 7, 150, "a@b"));
}

static void tokens_that_share_a_set_keep_their_own_callers(void **state)
{
    (void)state;
    add("token-1", "one@x");
    add("token-2", "two@x");
    add("token-3", "three@x");
    assert_true(finds("token-1", 7, 150, "one@x"));
    assert_true(finds("token-2", 7, 150, "two@x"));
    assert_true(finds("token-3", 7, 150, "three@x"));
}

static void a_full_set_gives_up_its_oldest(void **state)
{
    char token[16];
    (void)state;

    for (int i = 0; i <= VERDICT_WAYS; i++) {
        snprintf(token, sizeof token, "token-%d", i);
        add(token, "a@b");
    }
    assert_int_equal(verdict_cache_count(cache), VERDICT_WAYS);
    assert_false(finds("token-0", 7, 150, "a@b"));
    assert_true(finds("token-4", 7, 150, "a@b"));
}

static void adding_a_token_again_takes_no_second_place(void **state)
{
    (void)state;
    add("token", "a@b");
    add("token", "c@d");
    assert_int_equal(verdict_cache_count(cache), 1);
    assert_true(finds("token", 7, 150, "c@d"));
}

static void a_flush_forgets_everything(void **state)
{
    (void)state;
    add("token-1", "a@b");
    add("token-2", "a@b");
    verdict_cache_flush(cache);
    assert_int_equal(verdict_cache_count(cache), 0);
    assert_false(finds("token-1", 7, 150, "a@b"));
    assert_false(finds("token-2", 7, 150, "a@b"));
}

static void the_longest_token_is_kept(void **state)
{
    static char token[VERDICT_TOKEN_MAX + 1];
    (void)state;

    memset(token, 't', VERDICT_TOKEN_MAX);
    add(token, "a@b");
    assert_true(finds(token, 7, 150, "a@b"));
}

static void a_longer_token_is_not_kept(void **state)
{
    static char token[VERDICT_TOKEN_MAX + 2];
    (void)state;

    memset(token, 't', VERDICT_TOKEN_MAX + 1);
    add(token, "a@b");
    assert_int_equal(verdict_cache_count(cache), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_was_added_is_found),
        CASE(another_token_is_not_found),
        CASE(a_prefix_of_a_token_is_not_found),
        CASE(an_empty_token_is_not_found),
        CASE(the_last_second_of_validity_is_a_hit),
        CASE(the_first_second_after_validity_is_none),
        CASE(a_clock_before_validity_is_no_hit),
        CASE(another_epoch_is_no_hit),
        CASE(an_entry_out_of_its_time_is_wiped),
        CASE(tokens_that_share_a_set_keep_their_own_callers),
        CASE(a_full_set_gives_up_its_oldest),
        CASE(adding_a_token_again_takes_no_second_place),
        CASE(a_flush_forgets_everything),
        CASE(the_longest_token_is_kept),
        CASE(a_longer_token_is_not_kept),
    };
    return RUN_TESTS("ekm_verdict_cache", tests);
}
