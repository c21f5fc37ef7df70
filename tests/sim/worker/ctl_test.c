/* The ctl socket's other end may be old, wrong, garbled or dead: the tables change whole or not at all, and serving goes on. */
#include "tests/sim/worker/claims.h"

static void expect_serving(struct client *c)
{
    free(wrapped(c, RIG_KEY_A ":wrap", WRAP_HELLO));
}

static void expect_refused(struct rig *r, uint8_t cause)
{
    assert_true(rig_until(r, rig_refused, r));
    assert_int_equal(rig_refusal(r), cause);
    rig_ctl_forget(r);
}

static bool detached(void *r)
{
    return !rig_attached(r);
}

static void ctrl_may_die_and_come_back_without_anybody_noticing(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    (void)state;

    for (int i = 0; i < 5; i++) {
        rig_ctl_drop(r);
        expect_serving(c);
        assert_true(rig_until(r, rig_attached, r));
        expect_serving(c);
    }
    rig_free(r);
}

static void a_snapshot_below_the_held_epoch_is_refused(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    uint8_t bytes[256];
    struct writer w = writer_of(bytes, sizeof bytes);
    (void)state;

    rig_ctl_begin(r, false);
    rig_ctl_end(r); /* epoch 2 */
    assert_true(rig_until(r, rig_acked, r));
    ctl_write_begin(&w, 0, 1, &(struct ctl_begin){true, 0, 0});
    ctl_write_end(&w, 0, 1, &(struct ctl_end){0});
    rig_ctl_raw(r, writer_span(&w));
    expect_refused(r, CTL_REFUSE_EPOCH_OLD);
    expect_serving(c);
    rig_free(r);
}

static void a_delta_that_skips_an_epoch_is_refused(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    uint8_t bytes[256];
    struct writer w = writer_of(bytes, sizeof bytes);
    (void)state;

    ctl_write_begin(&w, 0, 9, &(struct ctl_begin){false, 8, 0});
    ctl_write_end(&w, 0, 9, &(struct ctl_end){0});
    rig_ctl_raw(r, writer_span(&w));
    expect_refused(r, CTL_REFUSE_EPOCH_GAP);
    expect_serving(c);
    rig_free(r);
}

static void a_count_that_is_wrong_is_refused(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    (void)state;

    rig_ctl_begin(r, false);
    rig_put_key(r, RIG_KEY_A, RIG_OTHER, KEY_STATE_ENABLED, 1);
    rig_ctl_count(r, 1); /* one more than there are */
    rig_ctl_end(r);
    expect_refused(r, CTL_REFUSE_COUNT);
    expect_serving(c); /* the change of callers did not happen */
    rig_free(r);
}

static void a_bad_certificate_takes_its_whole_transaction_with_it(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    struct writer *w = rig_ctl_begin(r, false);
    (void)state;

    rig_put_key(r, RIG_KEY_A, RIG_CALLER, KEY_STATE_DISABLED, 1);
    ctl_write_certificate(w, 0, rig_epoch(r) + 1,
                          &(struct ctl_certificate){span_str("no chain"), rig_secret("no key")});
    rig_ctl_count(r, 1);
    rig_ctl_end(r);
    expect_refused(r, CTL_REFUSE_CERTIFICATE);
    expect_serving(c);
    struct client *fresh = shaken(r);
    expect_serving(fresh);
    rig_free(r);
}

static void a_version_of_no_key_is_refused(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    (void)state;

    rig_ctl_begin(r, false);
    rig_put_version(r, "v0/nobody", 1, KEY_STATE_ENABLED);
    rig_ctl_end(r);
    expect_refused(r, CTL_REFUSE_UNKNOWN_KEY);
    expect_serving(c);
    rig_free(r);
}

static void another_shards_snapshot_is_refused(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    uint8_t bytes[256];
    struct writer w = writer_of(bytes, sizeof bytes);
    (void)state;

    ctl_write_begin(&w, 7, 2, &(struct ctl_begin){true, 0, 0});
    ctl_write_end(&w, 7, 2, &(struct ctl_end){0});
    rig_ctl_raw(r, writer_span(&w));
    expect_refused(r, CTL_REFUSE_SHARD);
    expect_serving(c);
    rig_free(r);
}

static void ends_the_connection(struct span bytes)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);

    rig_ctl_raw(r, bytes);
    assert_true(rig_until(r, detached, r));
    assert_int_equal(rig_counted(r, REASON_CTL_BAD_MESSAGE), 1);
    expect_serving(c);
    assert_true(rig_until(r, rig_attached, r));
    rig_ctl_begin(r, false);
    rig_ctl_end(r);
    assert_true(rig_until(r, rig_acked, r));
    rig_free(r);
}

static void garbage_ends_the_connection_and_nothing_else(void **state)
{
    (void)state;
    ends_the_connection(span_str("GET / HTTP/1.1\r\nHost: wirewrap\r\n\r\n"));
}

static void a_record_outside_a_transaction_ends_the_connection(void **state)
{
    uint8_t bytes[256];
    struct writer w = writer_of(bytes, sizeof bytes);
    (void)state;

    ctl_write_audience(&w, 0, 2, &(struct ctl_audience){span_str("x")});
    ends_the_connection(writer_span(&w));
}

static void a_begin_inside_a_transaction_ends_the_connection(void **state)
{
    uint8_t bytes[256];
    struct writer w = writer_of(bytes, sizeof bytes);
    (void)state;

    for (int i = 0; i < 2; i++)
        ctl_write_begin(&w, 0, 2, &(struct ctl_begin){false, 1, 0});
    ends_the_connection(writer_span(&w));
}

static void an_end_without_a_begin_ends_the_connection(void **state)
{
    uint8_t bytes[256];
    struct writer w = writer_of(bytes, sizeof bytes);
    (void)state;

    ctl_write_end(&w, 0, 2, &(struct ctl_end){0});
    ends_the_connection(writer_span(&w));
}

static void half_a_transaction_that_is_cut_off_changes_nothing(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    uint8_t bytes[1024];
    struct writer *w = rig_ctl_begin(r, false);
    (void)state;

    rig_put_key(r, RIG_KEY_A, RIG_OTHER, KEY_STATE_DISABLED, 1);
    assert_true(w->len <= sizeof bytes);
    memcpy(bytes, w->ptr, w->len);
    rig_ctl_raw(r, span_of(bytes, w->len));
    rig_run(r, 100000);
    rig_ctl_drop(r);
    assert_true(rig_until(r, rig_attached, r));
    expect_serving(c);
    rig_free(r);
}

/* A snapshot that comes a few bytes at a time, over many turns. */
static void a_message_in_pieces_is_one_message(void **state)
{
    struct rig *r = new_rig();
    struct client *c = shaken(r);
    uint8_t bytes[4096];
    (void)state;

    rig_ctl_begin(r, false);
    rig_put_key(r, RIG_KEY_A, RIG_CALLER, KEY_STATE_DISABLED, 1);
    struct span all = rig_ctl_finish(r);
    assert_true(all.len <= sizeof bytes);
    memcpy(bytes, all.ptr, all.len);
    for (size_t i = 0; i < all.len; i += 7) {
        rig_ctl_raw(r, span_of(bytes + i, all.len - i < 7 ? all.len - i : 7));
        rig_run(r, 1000);
    }
    assert_true(rig_until(r, rig_acked, r));
    client_post(c, RIG_KEY_A ":wrap", WRAP_HELLO);
    expect_status(c, 400);
    rig_free(r);
}

static void a_ping_is_answered_with_the_held_epoch(void **state)
{
    struct rig *r = new_rig();
    uint8_t bytes[64];
    struct writer w = writer_of(bytes, sizeof bytes);
    (void)state;

    ctl_write_bare(&w, CTL_PING, 0, 1);
    rig_ctl_raw(r, writer_span(&w));
    assert_true(rig_until(r, rig_ponged, r));
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ctrl_may_die_and_come_back_without_anybody_noticing),
        cmocka_unit_test(a_snapshot_below_the_held_epoch_is_refused),
        cmocka_unit_test(a_delta_that_skips_an_epoch_is_refused),
        cmocka_unit_test(a_count_that_is_wrong_is_refused),
        cmocka_unit_test(a_bad_certificate_takes_its_whole_transaction_with_it),
        cmocka_unit_test(a_version_of_no_key_is_refused),
        cmocka_unit_test(another_shards_snapshot_is_refused),
        cmocka_unit_test(garbage_ends_the_connection_and_nothing_else),
        cmocka_unit_test(a_record_outside_a_transaction_ends_the_connection),
        cmocka_unit_test(a_begin_inside_a_transaction_ends_the_connection),
        cmocka_unit_test(an_end_without_a_begin_ends_the_connection),
        cmocka_unit_test(half_a_transaction_that_is_cut_off_changes_nothing),
        cmocka_unit_test(a_message_in_pieces_is_one_message),
        cmocka_unit_test(a_ping_is_answered_with_the_held_epoch),
    };
    log_set_level(LOG_ERROR + 1);
    return RUN_TESTS("worker_ctl", tests);
}
