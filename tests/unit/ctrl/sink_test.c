/* A lane and its ww-fetch on a directory; a child that stalls, dies or is not there. */
#include "ctrl/backup/sink.h"

#include "drivers/crypto/mbedtls/mbed.h"
#include "tests/unit/ctrl/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "ww-00000000-20260101T000000Z-000000000001-000000000001-00000000.age"

struct fixture {
    struct rig *g;
    struct config_sink config;
    struct fetch_reply r;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    rig_setup_in_memory((void **)&f->g);
    snprintf(f->config.name, sizeof f->config.name, "disk");
    snprintf(f->config.kind, sizeof f->config.kind, "directory");
    snprintf(f->config.place, sizeof f->config.place, "%s/sink", f->g->dir);
    f->config.patience_s = 30;
    assert_int_equal(mkdir(f->config.place, 0700), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    rig_teardown((void **)&f->g);
    free(f);
    return 0;
}

static int file_of(const void *p, size_t len)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_int_equal(write(fd, p, len), (ssize_t)len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* Its whole way through a child; true: OK. */
static bool ask(struct fixture *f, enum fetch_operation op, int fd)
{
    struct fetch_request r = sink_request(&f->config, op, op == FETCH_LIST ? "" : NAME);

    return sink_ask(WW_FETCH, &r, fd, &f->r, &f->g->why);
}

static bool put(struct fixture *f, const void *p, size_t len)
{
    return ask(f, FETCH_PUT, file_of(p, len));
}

static void what_is_put_is_read_back_and_hashed(void **state)
{
    struct fixture *f = *state;
    uint8_t sha[MBED_DIGEST_LEN];

    assert_true(put(f, "some ciphertext", 15));
    mbed_sha256(span_str("some ciphertext"), sha);
    assert_int_equal(f->r.size, 15);
    assert_memory_equal(f->r.sha256, sha, sizeof sha);
}

static void an_object_comes_back_as_it_was_put(void **state)
{
    struct fixture *f = *state;
    char got[32] = {0};
    int fd = memfd_create("got", MFD_CLOEXEC), theirs = dup(fd);

    assert_true(put(f, "some ciphertext", 15));
    assert_true(ask(f, FETCH_GET, theirs));
    assert_int_equal(pread(fd, got, sizeof got, 0), 15);
    assert_string_equal(got, "some ciphertext");
    close(fd);
}

static void a_list_has_what_is_ours_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    char got[256] = {0}, path[CONFIG_TEXT_CAP + 16];
    int fd = memfd_create("got", MFD_CLOEXEC), theirs = dup(fd);

    assert_true(put(f, "x", 1));
    snprintf(path, sizeof path, "%s/letter.txt", f->config.place);
    rig_write(path, "");
    assert_true(ask(f, FETCH_LIST, theirs));
    assert_int_equal(pread(fd, got, sizeof got, 0), (ssize_t)strlen(NAME "\n"));
    assert_string_equal(got, NAME "\n");
    close(fd);
}

static void an_object_that_is_deleted_is_not_found_again(void **state)
{
    struct fixture *f = *state;

    assert_true(put(f, "x", 1));
    assert_true(ask(f, FETCH_DELETE, -1));
    assert_false(ask(f, FETCH_DELETE, -1));
    assert_int_equal(f->r.status, FETCH_NOT_FOUND);
}

static void names_that_lead_elsewhere_are_refused(void **state)
{
    struct fixture *f = *state;
    struct fetch_request r = sink_request(&f->config, FETCH_PUT, "ww-../../etc/passwd");

    assert_false(sink_ask(WW_FETCH, &r, file_of("x", 1), &f->r, &f->g->why));
    assert_int_equal(f->r.status, FETCH_BAD_REQUEST);
}

static void a_directory_that_is_not_there_is_named(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(rmdir(f->config.place), 0);
    assert_false(put(f, "x", 1));
    assert_int_equal(f->r.status, FETCH_NOT_FOUND);
    assert_non_null(strstr(f->r.text, f->config.place));
}

static void a_full_disk_is_told_as_such_and_leaves_no_part(void **state)
{
    struct fixture *f = *state;
    static uint8_t big[256 * 1024];
    char path[CONFIG_TEXT_CAP + 128];

    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("small", f->config.place, "tmpfs", 0, "size=65536") != 0) {
        print_message("# no mount namespace here: skipped\n");
        skip();
    }
    assert_false(put(f, big, sizeof big));
    assert_int_equal(f->r.status, FETCH_NO_SPACE);
    snprintf(path, sizeof path, "%s/" NAME, f->config.place);
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s/.ww-00000000-full.part", f->config.place);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_true(put(f, big, 1000)); /* what fits is taken */
    assert_int_equal(umount(f->config.place), 0);
}

/* A program that does as the shell script says. */
static void fake(struct fixture *f, const char *script, char path[160])
{
    snprintf(path, 160, "%s/fake", f->g->dir);
    rig_write(path, script);
    assert_int_equal(chmod(path, 0700), 0);
}

static void a_child_that_stalls_is_given_up_at_its_deadline(void **state)
{
    struct fixture *f = *state;
    struct fetch_request r = sink_request(&f->config, FETCH_DELETE, NAME);
    char program[160];

    fake(f, "#!/bin/sh\nexec sleep 1000\n", program);
    struct sink_lane *l = sink_lane_new(program, -1);
    sink_lane_start(l, &r, -1, 5000, 1000);
    assert_false(sink_lane_poll(l, 5999, &f->r));
    assert_true(sink_lane_poll(l, 6000, &f->r));
    assert_int_equal(f->r.status, FETCH_UNREACHABLE);
    assert_true(sink_lane_is_idle(l));
    sink_lane_free(l);
}

static void poll_until_done(struct sink_lane *l, struct fetch_reply *r)
{
    for (int i = 0; !sink_lane_poll(l, 0, r); i++) {
        assert_true(i < 60000);
        (void)poll(NULL, 0, 1);
    }
}

static void a_child_that_dies_is_told_and_the_next_one_works(void **state)
{
    struct fixture *f = *state;
    struct fetch_request r = sink_request(&f->config, FETCH_DELETE, NAME);
    char program[160];

    fake(f, "#!/bin/sh\nexit 1\n", program);
    struct sink_lane *l = sink_lane_new(program, -1);
    for (int i = 0; i < 10; i++) {
        sink_lane_start(l, &r, -1, 0, 1000);
        poll_until_done(l, &f->r);
        assert_int_equal(f->r.status, FETCH_FAILED);
    }
    assert_int_equal(unlink(program), 0);
    assert_int_equal(symlink(WW_FETCH, program), 0);
    sink_lane_start(l, &r, -1, 0, 1000);
    poll_until_done(l, &f->r);
    assert_int_equal(f->r.status, FETCH_NOT_FOUND);
    sink_lane_free(l);
}

static void a_program_that_is_not_there_is_named(void **state)
{
    struct fixture *f = *state;
    struct fetch_request r = sink_request(&f->config, FETCH_DELETE, NAME);

    assert_false(sink_ask("/nonexistent/ww-fetch", &r, -1, &f->r, &f->g->why));
    assert_non_null(strstr(f->g->why.text, "/nonexistent/ww-fetch"));
}

/* ---- messages ---- */

static void a_message_cut_anywhere_is_refused(void **state)
{
    struct fixture *f = *state;
    struct fetch_request r = sink_request(&f->config, FETCH_PUT, NAME), again;
    uint8_t message[FETCH_MESSAGE_MAX + 1];
    size_t len = fetch_request_write(&r, message);

    assert_true(fetch_request_parse(span_of(message, len), &again));
    assert_string_equal(again.place, f->config.place);
    for (size_t i = 0; i < len; i++)
        assert_false(fetch_request_parse(span_of(message, i), &again));
    message[len] = 0;
    assert_false(fetch_request_parse(span_of(message, len + 1), &again));
}

static void a_reply_cut_anywhere_is_refused(void **state)
{
    struct fetch_reply r = {.status = FETCH_DENIED, .size = 7, .text = "no"}, again;
    uint8_t message[FETCH_MESSAGE_MAX + 1];
    size_t len = fetch_reply_write(&r, message);

    (void)state;
    assert_true(fetch_reply_parse(span_of(message, len), &again));
    assert_string_equal(again.text, "no");
    for (size_t i = 0; i < len; i++)
        assert_false(fetch_reply_parse(span_of(message, i), &again));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_put_is_read_back_and_hashed),
        CASE(an_object_comes_back_as_it_was_put),
        CASE(a_list_has_what_is_ours_and_nothing_else),
        CASE(an_object_that_is_deleted_is_not_found_again),
        CASE(names_that_lead_elsewhere_are_refused),
        CASE(a_directory_that_is_not_there_is_named),
        CASE(a_full_disk_is_told_as_such_and_leaves_no_part),
        CASE(a_child_that_stalls_is_given_up_at_its_deadline),
        CASE(a_child_that_dies_is_told_and_the_next_one_works),
        CASE(a_program_that_is_not_there_is_named),
        CASE(a_message_cut_anywhere_is_refused),
        CASE(a_reply_cut_anywhere_is_refused),
    };

    return RUN_TESTS("ctrl sink", tests);
}
