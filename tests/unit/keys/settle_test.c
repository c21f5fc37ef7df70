/* Revocation: what is settled is out of everybody's reach, and what is not settled is not said to be. */
#include "tests/unit/keys/fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static struct fixture f;

static int setup(void **state)
{
    (void)state;
    fixture_two_keys(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static void disable_a(void)
{
    begin_delta(f.keys);
    assert_int_equal(stage_version(f.keys, 1, 1, KEY_STATE_DISABLED), 0);
    publish(f.keys);
}

/* ---- one thread, as in the simulator ---- */

static void nothing_is_settled_before_the_worker_was_quiescent(void **state)
{
    (void)state;
    disable_a();
    assert_false(keys_settled(f.keys));
    assert_false(keys_settled(f.keys));
    keys_quiescent(f.worker);
    assert_true(keys_settled(f.keys));
    assert_true(keys_settled(f.keys));
}

static void a_key_in_hand_serves_until_its_worker_is_quiescent(void **state)
{
    const struct key *k = find(&f, "v0/a");
    uint8_t blob[1 + BLOB_OVERHEAD];
    uint32_t version;
    (void)state;

    disable_a();
    assert_int_equal(keys_wrap(f.worker, k, secret_of("x", 1), span_str(""), blob, &version), KEYS_OK);
    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_NO_VERSION);
}

static void every_worker_is_waited_for(void **state)
{
    struct counters counters = {0};
    struct keys_worker *second = keys_worker_new(f.keys, &counters);
    (void)state;

    disable_a();
    keys_quiescent(f.worker);
    assert_false(keys_settled(f.keys));
    keys_quiescent(second);
    assert_true(keys_settled(f.keys));
    keys_worker_free(second);
}

static void a_worker_asleep_delays_nobody(void **state)
{
    (void)state;
    keys_offline(f.worker);
    disable_a();
    assert_true(keys_settled(f.keys));
    keys_online(f.worker);
}

static void a_worker_that_wakes_serves_the_new_epoch_and_delays_nobody(void **state)
{
    uint8_t blob[1 + BLOB_OVERHEAD];
    (void)state;

    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_OK);
    keys_offline(f.worker);
    disable_a();
    keys_online(f.worker);
    assert_true(keys_settled(f.keys));
    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_NO_VERSION);
}

static void a_worker_that_came_after_the_commit_delays_nobody(void **state)
{
    struct counters counters = {0};
    (void)state;

    disable_a();
    struct keys_worker *late = keys_worker_new(f.keys, &counters);
    keys_quiescent(f.worker);
    assert_true(keys_settled(f.keys));
    keys_worker_free(late);
}

static void a_worker_that_left_delays_nobody(void **state)
{
    struct counters counters = {0};
    struct keys_worker *second = keys_worker_new(f.keys, &counters);
    (void)state;

    disable_a();
    keys_quiescent(f.worker);
    keys_worker_free(second);
    assert_true(keys_settled(f.keys));
}

static void two_commits_settle_together(void **state)
{
    (void)state;
    disable_a();
    begin_delta(f.keys);
    assert_int_equal(stage_gone(f.keys, 2), 0);
    publish(f.keys);
    keys_quiescent(f.worker);
    assert_true(keys_settled(f.keys));
}

static void a_quiescent_state_between_two_commits_settles_neither(void **state)
{
    (void)state;
    disable_a();
    keys_quiescent(f.worker);
    begin_delta(f.keys);
    assert_int_equal(stage_gone(f.keys, 2), 0);
    publish(f.keys);
    assert_false(keys_settled(f.keys));
}

/* ---- cached contexts ---- */

static uint64_t misses(void)
{
    return counter_read(&f.counters, REASON_KEYS_CONTEXT_MISS);
}

static void a_second_wrap_takes_the_context_from_the_cache(void **state)
{
    uint8_t blob[1 + BLOB_OVERHEAD];
    (void)state;

    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_OK);
    uint64_t before = misses();
    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_OK);
    keys_quiescent(f.worker);
    assert_int_equal(wrap(&f, "v0/a", "x", "", blob), KEYS_OK);
    assert_int_equal(misses(), before);
}

static void a_commit_flushes_the_cache_at_the_next_quiescent_state(void **state)
{
    uint8_t blob[1 + BLOB_OVERHEAD];
    (void)state;

    assert_int_equal(wrap(&f, "v0/b", "x", "", blob), KEYS_OK);
    uint64_t before = misses();
    disable_a();
    keys_quiescent(f.worker);
    assert_int_equal(counter_read(&f.counters, REASON_KEYS_CONTEXT_FLUSHED), 1);
    assert_int_equal(wrap(&f, "v0/b", "x", "", blob), KEYS_OK);
    assert_int_equal(misses(), before + 1);
}

static void the_cache_is_bounded_and_every_key_still_wraps(void **state)
{
    enum { VERSIONS = 4000 }; /* the cache holds 2048 contexts */
    struct fixture big;
    uint8_t blob[1 + BLOB_OVERHEAD];
    char path[32];
    (void)state;

    fixture_open(&big, VERSIONS, VERSIONS);
    begin_full(big.keys);
    for (uint32_t n = 0; n < VERSIONS; n++) {
        snprintf(path, sizeof path, "v0/%u", n);
        assert_int_equal(stage_key(big.keys, n, path, 1), 0);
        assert_int_equal(stage_version(big.keys, n, 1, KEY_STATE_ENABLED), 0);
    }
    publish_and_settle(&big);
    for (uint32_t n = 0; n < VERSIONS; n++) {
        snprintf(path, sizeof path, "v0/%u", n);
        assert_int_equal(wrap(&big, path, "x", "", blob), KEYS_OK);
    }
    begin_delta(big.keys);
    publish_and_settle(&big);
    assert_in_range(counter_read(&big.counters, REASON_KEYS_CONTEXT_FLUSHED), 1, 2048);
    fixture_close(&big);
}

/* ---- real threads; decided by outcomes ---- */

#define READERS 2
#define ROUNDS  150

struct shared {
    struct keys *keys;
    _Atomic uint32_t floor;    /* no version below this may be used any more: said after the settling */
    _Atomic bool disabled;     /* said after a disabling settled, taken back before the enabling is staged */
    _Atomic uint32_t wraps;    /* so that the writer knows that readers are at work */
    _Atomic uint32_t violated; /* a reader wrapped with what it may not */
    _Atomic bool stop;
};

static struct shared shared;

static void reader_turn(struct keys_worker *w, bool *slept)
{
    uint8_t blob[1 + BLOB_OVERHEAD];
    uint32_t version;
    /* What is read before the lookup was settled before it. */
    uint32_t floor = atomic_load(&shared.floor);
    bool disabled = atomic_load(&shared.disabled);
    const struct key *k = keys_find(w, span_str("v0/a"));

    enum keys_status s = keys_wrap(w, k, secret_of("x", 1), span_str(""), blob, &version);
    if (s == KEYS_OK && (version < floor || (disabled && atomic_load(&shared.disabled))))
        atomic_fetch_add(&shared.violated, 1);
    if (s != KEYS_OK && s != KEYS_NO_VERSION)
        atomic_fetch_add(&shared.violated, 1);
    atomic_fetch_add(&shared.wraps, 1);
    keys_quiescent(w);
    *slept = !*slept;
    if (*slept) {
        keys_offline(w);
        sched_yield();
        keys_online(w);
    }
}

static void *reader(void *arg)
{
    static _Thread_local struct counters counters;
    struct keys_worker *w = keys_worker_new(shared.keys, &counters);
    bool slept = false;

    (void)arg;
    if (w == NULL)
        abort();
    while (!atomic_load(&shared.stop))
        reader_turn(w, &slept);
    keys_worker_free(w);
    return NULL;
}

static void settle(void)
{
    publish(shared.keys);
    while (!keys_settled(shared.keys))
        sched_yield();
}

/* Lets the readers make a few turns, so that each round meets them at work. */
static void let_readers_work(void)
{
    uint32_t until = atomic_load(&shared.wraps) + 4 * READERS;

    while ((int32_t)(atomic_load(&shared.wraps) - until) < 0)
        sched_yield();
}

static void rotate(uint32_t to)
{
    begin_delta(shared.keys);
    assert_int_equal(stage_version(shared.keys, 1, to, KEY_STATE_ENABLED), 0);
    assert_int_equal(stage_key(shared.keys, 1, "v0/a", to), 0);
    settle();
    atomic_store(&shared.floor, to);
}

static void disable_and_enable(void)
{
    begin_delta(shared.keys);
    assert_int_equal(stage_key_in_state(shared.keys, 1, "v0/a", 0, KEY_STATE_DISABLED), 0);
    settle();
    atomic_store(&shared.disabled, true);
    let_readers_work();
    atomic_store(&shared.disabled, false);
}

static void after_the_settling_no_reader_wraps_with_what_was_replaced(void **state)
{
    pthread_t threads[READERS];
    (void)state;

    memset(&shared, 0, sizeof shared);
    shared.keys = fixture_keys(4, 2 * ROUNDS);
    begin_full(shared.keys);
    assert_int_equal(stage_key(shared.keys, 1, "v0/a", 1), 0);
    assert_int_equal(stage_version(shared.keys, 1, 1, KEY_STATE_ENABLED), 0);
    settle();
    for (size_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader, NULL), 0);
    for (uint32_t v = 2; v < ROUNDS; v++) {
        let_readers_work();
        rotate(v);
        if (v % 3 == 0)
            disable_and_enable();
    }
    atomic_store(&shared.stop, true);
    for (size_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&shared.violated), 0);
    assert_true(keys_settled(shared.keys));
    keys_free(shared.keys);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_is_settled_before_the_worker_was_quiescent),
        CASE(a_key_in_hand_serves_until_its_worker_is_quiescent),
        CASE(every_worker_is_waited_for),
        CASE(a_worker_asleep_delays_nobody),
        CASE(a_worker_that_wakes_serves_the_new_epoch_and_delays_nobody),
        CASE(a_worker_that_came_after_the_commit_delays_nobody),
        CASE(a_worker_that_left_delays_nobody),
        CASE(two_commits_settle_together),
        CASE(a_quiescent_state_between_two_commits_settles_neither),
        CASE(a_second_wrap_takes_the_context_from_the_cache),
        CASE(a_commit_flushes_the_cache_at_the_next_quiescent_state),
        CASE(the_cache_is_bounded_and_every_key_still_wraps),
        cmocka_unit_test(after_the_settling_no_reader_wraps_with_what_was_replaced),
    };
    return RUN_TESTS("settle", tests);
}
