/* Restore drills by the clock.  What a drill does is ww-ctrl --drill (tests/e2e/backup_sinks.py); here this program itself is
 * started in its place, and says what stands in the file that it is given as its configuration. */
#include "ctrl/backup/drill.h"

#include "tests/unit/ctrl/rig.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define NOW  1900000000
#define DAY  86400
#define HOUR 3600

struct fixture {
    struct rig *g;
    struct custody *c;
    struct drills *d;
    struct config *config;
    char answer[128]; /* file */
    int epoll_fd;
    uint64_t now_ms;
    int64_t unix_s;
};

static void start(struct fixture *f)
{
    f->d = drills_new(&(struct drill_setup){f->config, f->answer, f->c, f->g->rng, f->epoll_fd});
    assert_non_null(f->d);
}

static void stop(struct fixture *f)
{
    drills_free(f->d);
    f->d = NULL;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    rig_setup_in_memory((void **)&f->g);
    f->c = rig_custody_ok(f->g);
    assert_true(custody_create(f->c, "v0/a", &f->g->why));
    f->config = calloc(1, sizeof *f->config);
    snprintf(f->config->ctrl.state_dir, CONFIG_TEXT_CAP, "%s", f->g->dir);
    snprintf(f->config->backup.drill_identity_file, CONFIG_TEXT_CAP, "/somewhere");
    f->config->backup.drill_every_s = DAY;
    f->config->backup.sink_count = 2;
    snprintf(f->config->backup.sinks[0].name, sizeof f->config->backup.sinks[0].name, "near");
    snprintf(f->config->backup.sinks[1].name, sizeof f->config->backup.sinks[1].name, "far");
    rig_path(f->g, "answer", f->answer, sizeof f->answer);
    f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    f->unix_s = NOW;
    f->now_ms = 1000;
    start(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    stop(f);
    custody_close(f->c);
    close(f->epoll_fd);
    free(f->config);
    rig_teardown((void **)&f->g);
    free(f);
    return 0;
}

/* What every drill from now on says; flip: of another history. */
static void answers(struct fixture *f, bool ok, uint8_t flip)
{
    uint8_t head[MBED_DIGEST_LEN];
    char hex[2 * MBED_DIGEST_LEN + 1], text[512];

    assert_true(store_chain_hash(custody_store(f->c), custody_epoch(f->c), head));
    head[0] ^= flip;
    for (size_t i = 0; i < sizeof head; i++)
        snprintf(hex + 2 * i, 3, "%02x", head[i]);
    snprintf(text, sizeof text,
             "{\"ok\": %s, \"level\": 2, \"epoch\": %llu, \"head\": \"%s\", \"keys\": 1, \"versions\": 1,"
             " \"error\": {\"message\": \"a file is damaged\"}}\n",
             ok ? "true" : "false", (unsigned long long)custody_epoch(f->c), hex);
    rig_write(f->answer, text);
}

static struct drill_result result(const struct fixture *f, size_t i)
{
    struct drill_result r;

    drills_result(f->d, i, &r);
    return r;
}

/* Until nothing runs; true: something did. */
static bool run(struct fixture *f)
{
    bool ran = false;

    drills_step(f->d, f->now_ms, f->unix_s);
    for (int i = 0; drills_are_running(f->d); i++) {
        struct pollfd p = {.fd = f->epoll_fd, .events = POLLIN};

        assert_true(i < 100000);
        ran = true;
        (void)poll(&p, 1, 20);
        drills_step(f->d, f->now_ms, f->unix_s);
    }
    return ran;
}

static void pass(struct fixture *f, int64_t seconds)
{
    f->unix_s += seconds;
    f->now_ms += (uint64_t)seconds * 1000;
}

static void every_sink_is_tried_by_itself_soon_after_the_start_and_then_daily(void **state)
{
    struct fixture *f = *state;

    answers(f, true, 0);
    assert_false(run(f)); /* others come first */
    pass(f, 60);
    assert_true(run(f));
    for (size_t i = 0; i < 2; i++) {
        assert_true(result(f, i).ok);
        assert_int_equal(result(f, i).level, 2);
        assert_int_equal(result(f, i).unix_s, f->unix_s);
    }
    pass(f, DAY - 1);
    assert_false(run(f));
    pass(f, 1);
    assert_true(run(f));
    assert_int_equal(result(f, 1).good_unix_s, f->unix_s);
}

static void one_that_failed_is_told_and_tried_again_within_the_hour(void **state)
{
    struct fixture *f = *state;

    answers(f, true, 0);
    pass(f, 60);
    assert_false(run(f)); /* the first step is the start */
    pass(f, 60);
    assert_true(run(f));
    int64_t good = f->unix_s;
    answers(f, false, 0);
    pass(f, DAY);
    assert_true(run(f));
    assert_false(result(f, 0).ok);
    assert_string_equal(result(f, 0).text, "a file is damaged");
    assert_int_equal(result(f, 0).good_unix_s, good);
    pass(f, HOUR - 1);
    assert_false(run(f));
    answers(f, true, 0);
    pass(f, 1);
    assert_true(run(f));
    assert_true(result(f, 0).ok && result(f, 1).ok);
}

static void a_backup_of_another_history_does_not_pass(void **state)
{
    struct fixture *f = *state;

    answers(f, true, 1);
    assert_false(run(f));
    pass(f, 60);
    assert_true(run(f));
    assert_false(result(f, 0).ok);
    assert_non_null(strstr(result(f, 0).text, "is not what this store was then"));
}

static void a_drill_that_ends_without_a_word_has_failed(void **state)
{
    struct fixture *f = *state;

    rig_write(f->answer, "");
    assert_false(run(f));
    pass(f, 60);
    assert_true(run(f));
    assert_false(result(f, 0).ok);
    assert_true(result(f, 0).text[0] != '\0');
}

static void outcomes_are_there_after_a_restart(void **state)
{
    struct fixture *f = *state;

    answers(f, true, 0);
    assert_false(run(f));
    pass(f, 60);
    assert_true(run(f));
    int64_t then = f->unix_s;
    stop(f);
    start(f);
    assert_false(run(f));
    assert_int_equal(result(f, 0).unix_s, then);
    pass(f, 120);
    assert_false(run(f)); /* not due before the day is over */
    pass(f, DAY);
    assert_true(run(f));
}

static void without_an_identity_none_is_tried(void **state)
{
    struct fixture *f = *state;

    f->config->backup.drill_identity_file[0] = '\0';
    answers(f, true, 0);
    assert_false(run(f));
    pass(f, 10 * DAY);
    assert_false(run(f));
    assert_int_equal(result(f, 0).unix_s, 0);
}

static int say(const char *file)
{
    char text[1024];
    FILE *in = fopen(file, "r");
    size_t len = in == NULL ? 0 : fread(text, 1, sizeof text, in);

    return fwrite(text, 1, len, stdout) == len ? 0 : 1;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(every_sink_is_tried_by_itself_soon_after_the_start_and_then_daily),
        CASE(one_that_failed_is_told_and_tried_again_within_the_hour),
        CASE(a_backup_of_another_history_does_not_pass),
        CASE(a_drill_that_ends_without_a_word_has_failed),
        CASE(outcomes_are_there_after_a_restart),
        CASE(without_an_identity_none_is_tried),
    };

    if (argc == 5 && strcmp(argv[3], "--drill") == 0)
        return say(argv[2]);
    return RUN_TESTS("ctrl drill", tests);
}
