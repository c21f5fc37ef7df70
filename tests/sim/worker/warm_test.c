/* Up again with ctrl dead: the whole dataplane from its warm snapshot, and everything that must keep it from being taken. */
#include "tests/sim/worker/claims.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATE 1800000000ULL /* of the virtual clock's beginning */

static char folder[64];

static void path_of(const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", folder, name);
}

static int setup(void **state)
{
    (void)state;
    rig_warm_unix_s = 0;
    rig_warm_key[0] = 'w';
    rig_warm_locked = false;
    snprintf(folder, sizeof folder, "/tmp/ww-warm-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int teardown(void **state)
{
    static const char *const names[] = {"snapshot",    "snapshot.new", "floor",     "floor.new",
                                        "status.json", "kept",         "kept.floor"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_of(names[i], path);
        unlink(path);
    }
    return rmdir(folder);
}

static void copy(const char *from, const char *to)
{
    static uint8_t bytes[1 << 20];
    char a[128], b[128];

    path_of(from, a);
    path_of(to, b);
    FILE *f = fopen(a, "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    f = fopen(b, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static struct rig *warm_rig(void)
{
    struct rig_options o;

    rig_options_defaults(&o);
    o.warm_dir = folder;
    struct rig *r = rig_new(&o);
    assert_true(rig_until(r, rig_acked, r));
    return r;
}

static bool is_written(void *arg)
{
    struct rig *r = arg;
    struct warm_status s;

    warm_status(rig_warm(r), &s);
    return s.snapshot_epoch == rig_epoch(r);
}

static void written(struct rig *r)
{
    assert_true(rig_until(r, is_written, r));
}

/* ctrl is dead, the process new: comes up after CTL_ABSENT_US, or does not. */
static void restart_alone(struct rig *r)
{
    rig_ctl_dead(r);
    rig_restart(r);
    rig_run(r, CTL_ABSENT_US + 100000);
}

static char *wrapped_once(struct rig *r, const char *key)
{
    struct client *c = shaken(r);
    char target[64];

    snprintf(target, sizeof target, "%s:wrap", key);
    char *blob = wrapped(c, target, WRAP_HELLO);
    client_close(c);
    return blob;
}

static unsigned status_of_unwrap(struct rig *r, const char *blob)
{
    static char body[8192];
    struct client *c = shaken(r);

    snprintf(body, sizeof body, "{\"wrappedBlob\":\"%s\"}", blob);
    client_post(c, RIG_KEY_A ":unwrap", body);
    assert_true(rig_until(r, client_replied, c));
    unsigned status = c->status;
    client_close(c);
    return status;
}

static void expect_refused(struct rig *r, const char *code)
{
    struct warm_status s;

    warm_status(rig_warm(r), &s);
    assert_string_equal(s.problem.code, code);
    assert_string_equal(rig_source(r), "none");
    assert_int_equal(rig_held(r), 0);
    assert_true(s.problem.text[0] != 0 && s.problem.next[0] != 0);
}

static void blobs_from_before_open_and_wraps_go_on_with_ctrl_dead(void **state)
{
    (void)state;
    struct rig *r = warm_rig();
    char *blob = wrapped_once(r, RIG_KEY_A);

    written(r);
    restart_alone(r);
    assert_string_equal(rig_source(r), "warm");
    assert_int_equal(rig_held(r), rig_epoch(r));
    assert_int_equal(status_of_unwrap(r, blob), 200);
    char *later = wrapped_once(r, RIG_KEY_A);
    assert_int_equal(status_of_unwrap(r, later), 200);
    assert_int_equal(rig_counted(r, REASON_WARM_STARTED), 1);
    free(blob);
    free(later);
    rig_free(r);
}

static void policies_still_hold_after_a_warm_start(void **state)
{
    (void)state;
    struct rig *r = warm_rig();

    written(r);
    restart_alone(r);
    struct client *c = shaken(r);
    client_post(c, RIG_KEY_B ":wrap", WRAP_HELLO); /* the other caller's */
    expect_status(c, 403);
    client_next(c);
    client_post_as(c, RIG_OTHER, RIG_KEY_B ":wrap", WRAP_HELLO);
    expect_status(c, 200);
    rig_free(r);
}

static void ctrl_replaces_what_came_from_the_snapshot(void **state)
{
    (void)state;
    struct rig *r = warm_rig();

    written(r);
    restart_alone(r);
    rig_ctl_back(r);
    assert_true(rig_until(r, rig_attached, r));
    rig_push_all(r);
    assert_true(rig_until(r, rig_acked, r));
    assert_string_equal(rig_source(r), "ctrl");
    written(r);
    rig_free(r);
}

static void a_living_ctrl_is_waited_for_and_the_snapshot_left_alone(void **state)
{
    (void)state;
    struct rig *r = warm_rig();

    written(r);
    rig_restart(r);
    assert_true(rig_until(r, rig_attached, r));
    rig_run(r, CTL_ABSENT_US + 500000);
    assert_string_equal(rig_source(r), "none");
    rig_push_all(r);
    assert_true(rig_until(r, rig_acked, r));
    assert_string_equal(rig_source(r), "ctrl");
    assert_int_equal(rig_counted(r, REASON_WARM_STARTED), 0);
    rig_free(r);
}

static void a_ctrl_that_hangs_is_not_waited_for_for_ever(void **state)
{
    (void)state;
    struct rig *r = warm_rig();

    written(r);
    rig_restart(r);
    rig_run(r, CTL_SILENT_US + 200000);
    assert_string_equal(rig_source(r), "warm");
    rig_free(r);
}

static void what_was_revoked_does_not_come_back_with_an_older_snapshot(void **state)
{
    (void)state;
    struct rig *r = warm_rig();

    written(r);
    copy("snapshot", "kept");
    rig_ctl_begin(r, false);
    rig_put_key(r, RIG_KEY_A, RIG_CALLER, KEY_STATE_DISABLED, 1);
    rig_ctl_end(r);
    assert_true(rig_until(r, rig_acked, r));
    written(r);
    copy("kept", "snapshot");
    restart_alone(r);
    expect_refused(r, "warm_below_floor");
    rig_free(r);
}

static void the_floor_is_raised_before_the_ack(void **state)
{
    struct warm_status s;

    (void)state;
    struct rig *r = warm_rig();
    warm_status(rig_warm(r), &s);
    assert_int_equal(s.floor_epoch, rig_epoch(r));
    rig_free(r);
}

static void a_snapshot_without_its_floor_is_refused(void **state)
{
    char path[128];

    (void)state;
    struct rig *r = warm_rig();
    written(r);
    path_of("floor", path);
    assert_int_equal(unlink(path), 0);
    restart_alone(r);
    expect_refused(r, "warm_floor_missing");
    rig_free(r);
}

static void alter(const char *name, long at)
{
    char path[128];
    int byte;

    path_of(name, path);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    byte = fgetc(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    fputc(byte ^ 1, f);
    fclose(f);
}

static void refused_when_altered(const char *name, long at, const char *code)
{
    struct rig *r = warm_rig();

    written(r);
    rig_ctl_dead(r);
    alter(name, at);
    rig_restart(r);
    rig_run(r, CTL_ABSENT_US + 100000);
    expect_refused(r, code);
    rig_free(r);
}

static void an_altered_chunk_is_named(void **state)
{
    (void)state;
    refused_when_altered("snapshot", 500, "warm_damaged");
}

static void an_altered_end_is_named(void **state)
{
    (void)state;
    refused_when_altered("snapshot", -1, "warm_damaged");
}

static void an_altered_floor_is_named(void **state)
{
    (void)state;
    refused_when_altered("floor", -1, "warm_floor_damaged");
}

static void a_head_made_younger_does_not_open(void **state)
{
    (void)state;
    refused_when_altered("snapshot", 23, "warm_damaged"); /* the date's last byte */
}

static void a_byte_behind_the_end_is_refused(void **state)
{
    char path[128];

    (void)state;
    struct rig *r = warm_rig();
    written(r);
    path_of("snapshot", path);
    FILE *f = fopen(path, "ab");
    fputc(0, f);
    fclose(f);
    restart_alone(r);
    expect_refused(r, "warm_damaged");
    rig_free(r);
}

static void another_warm_key_is_named(void **state)
{
    (void)state;
    struct rig *r = warm_rig();
    written(r);
    rig_warm_key[0] = 'x';
    restart_alone(r);
    expect_refused(r, "warm_wrong_key");
    rig_free(r);
}

static void a_snapshot_older_than_its_age_is_refused(void **state)
{
    (void)state;
    struct rig *r = warm_rig();
    written(r);
    rig_warm_unix_s = DATE + 3600 + 1000;
    restart_alone(r);
    expect_refused(r, "warm_too_old");
    rig_free(r);
}

static void age_counts_from_when_ctrl_last_said_that_the_epoch_is_its_newest(void **state)
{
    (void)state;
    struct rig *r = warm_rig();
    written(r);
    rig_warm_unix_s = DATE + 3000;
    rig_ctl_ping(r, rig_epoch(r));
    rig_run(r, 100000);
    rig_warm_unix_s = DATE + 3600 + 1000;
    restart_alone(r);
    assert_string_equal(rig_source(r), "warm");
    rig_free(r);
}

static void a_ping_of_a_newer_epoch_confirms_nothing(void **state)
{
    struct warm_status s;

    (void)state;
    struct rig *r = warm_rig();
    written(r);
    rig_warm_unix_s = DATE + 3000;
    rig_ctl_ping(r, rig_epoch(r) + 1);
    rig_run(r, 100000);
    warm_status(rig_warm(r), &s);
    assert_true(s.confirmed_unix_s < DATE + 3000);
    rig_free(r);
}

static void a_snapshot_from_the_future_is_refused(void **state)
{
    (void)state;
    struct rig *r = warm_rig();
    written(r);
    rig_warm_unix_s = DATE - 1000;
    restart_alone(r);
    expect_refused(r, "warm_from_future");
    rig_free(r);
}

static void a_start_without_a_snapshot_says_so(void **state)
{
    char path[128];

    (void)state;
    struct rig *r = warm_rig();
    written(r);
    path_of("snapshot", path);
    unlink(path);
    restart_alone(r);
    expect_refused(r, "warm_absent");
    rig_free(r);
}

static void where_the_floor_cannot_be_written_the_snapshot_goes(void **state)
{
    struct warm_status s;
    char path[128];

    (void)state;
    struct rig *r = warm_rig();
    written(r);
    path_of("floor.new", path);
    assert_int_equal(mkdir(path, 0700), 0); /* root is stopped by nothing less */
    rig_ctl_begin(r, false);
    rig_put_key(r, RIG_KEY_A, RIG_CALLER, KEY_STATE_DISABLED, 1);
    rig_ctl_end(r);
    assert_true(rig_until(r, rig_acked, r));
    warm_status(rig_warm(r), &s);
    assert_string_equal(s.problem.code, "warm_unwritable");
    path_of("snapshot", path);
    assert_int_equal(access(path, F_OK), -1);
    path_of("floor.new", path);
    assert_int_equal(rmdir(path), 0);
    written(r); /* it comes back by itself */
    rig_free(r);
}

static void the_status_file_says_where_it_serves_from(void **state)
{
    struct warm_facts f = {.source = "warm", .epoch = 7, .keys = 2, .versions = 3};
    char path[128], text[1024] = "";

    (void)state;
    struct rig *r = warm_rig();
    written(r);
    warm_tell(rig_warm(r), &f);
    path_of("status.json", path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    assert_non_null(strstr(text, "\"source\": \"warm\""));
    assert_non_null(strstr(text, "\"epoch\": 7"));
    rig_free(r);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- the key comes late, or not at all ---- */

static bool exists(const char *name)
{
    char path[128];

    path_of(name, path);
    return access(path, F_OK) == 0;
}

static void unlock(struct rig *r)
{
    struct warm_problem why;

    assert_true(warm_waits(rig_warm(r)));
    assert_true(warm_unlock(rig_warm(r), rig_warm_key, &why));
}

static void a_key_that_comes_late_is_waited_for(void **state)
{
    (void)state;
    struct rig *r = warm_rig();
    char *blob = wrapped_once(r, RIG_KEY_A);

    written(r);
    rig_warm_locked = true;
    restart_alone(r);
    assert_string_equal(rig_source(r), "none");
    unlock(r);
    rig_run(r, 100000);
    assert_string_equal(rig_source(r), "warm");
    assert_int_equal(status_of_unwrap(r, blob), 200);
    free(blob);
    rig_free(r);
}

static void a_key_that_does_not_come_is_named(void **state)
{
    struct warm_problem why;

    (void)state;
    struct rig *r = warm_rig();
    written(r);
    rig_warm_locked = true;
    restart_alone(r);
    warm_refuse(&why, "warm_key_other_tpm", "start ww-ctrl", "this TPM did not seal it");
    warm_no_key(rig_warm(r), &why);
    rig_run(r, 100000);
    expect_refused(r, "warm_key_other_tpm");
    rig_free(r);
}

static void ctrl_is_served_while_the_key_is_awaited_and_an_equal_snapshot_stays(void **state)
{
    (void)state;
    struct rig *r = warm_rig();
    written(r);
    rig_warm_locked = true;
    rig_restart(r);
    assert_true(rig_until(r, rig_attached, r));
    rig_epoch_again(r);
    rig_push_all(r);
    assert_string_equal(rig_source(r), "ctrl");
    assert_true(exists("snapshot"));
    unlock(r);
    written(r);
    rig_free(r);
}

static void what_was_revoked_while_locked_does_not_come_back(void **state)
{
    (void)state;
    struct rig *r = warm_rig();
    written(r);
    rig_warm_locked = true;
    rig_restart(r);
    assert_true(rig_until(r, rig_attached, r));
    rig_push_all(r);
    assert_false(exists("snapshot"));
    rig_warm_locked = false;
    restart_alone(r);
    expect_refused(r, "warm_absent");
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(blobs_from_before_open_and_wraps_go_on_with_ctrl_dead),
        CASE(policies_still_hold_after_a_warm_start),
        CASE(ctrl_replaces_what_came_from_the_snapshot),
        CASE(a_living_ctrl_is_waited_for_and_the_snapshot_left_alone),
        CASE(a_ctrl_that_hangs_is_not_waited_for_for_ever),
        CASE(what_was_revoked_does_not_come_back_with_an_older_snapshot),
        CASE(the_floor_is_raised_before_the_ack),
        CASE(a_snapshot_without_its_floor_is_refused),
        CASE(an_altered_chunk_is_named),
        CASE(an_altered_end_is_named),
        CASE(an_altered_floor_is_named),
        CASE(a_head_made_younger_does_not_open),
        CASE(a_byte_behind_the_end_is_refused),
        CASE(another_warm_key_is_named),
        CASE(a_snapshot_older_than_its_age_is_refused),
        CASE(age_counts_from_when_ctrl_last_said_that_the_epoch_is_its_newest),
        CASE(a_ping_of_a_newer_epoch_confirms_nothing),
        CASE(a_snapshot_from_the_future_is_refused),
        CASE(a_start_without_a_snapshot_says_so),
        CASE(where_the_floor_cannot_be_written_the_snapshot_goes),
        CASE(the_status_file_says_where_it_serves_from),
        CASE(a_key_that_comes_late_is_waited_for),
        CASE(a_key_that_does_not_come_is_named),
        CASE(ctrl_is_served_while_the_key_is_awaited_and_an_equal_snapshot_stays),
        CASE(what_was_revoked_while_locked_does_not_come_back),
    };
    log_set_level(LOG_ERROR + 1);
    return RUN_TESTS("worker_warm", tests);
}
