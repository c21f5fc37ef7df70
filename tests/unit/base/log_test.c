#include "base/log.h"
#include "tests/unit/test.h"

#include <string.h>
#include <unistd.h>

static char out[8192];

/* What one log call writes to stderr. */
static void capture_begin(int *saved, int pipe_fd[2])
{
    assert_int_equal(pipe(pipe_fd), 0);
    *saved = dup(STDERR_FILENO);
    dup2(pipe_fd[1], STDERR_FILENO);
}

static void capture_end(int saved, int pipe_fd[2])
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipe_fd[1]);
    ssize_t n = read(pipe_fd[0], out, sizeof out - 1);
    out[n > 0 ? n : 0] = 0;
    close(pipe_fd[0]);
}

static void fields_are_printed_with_their_names(void **state)
{
    int saved, p[2];
    (void)state;

    capture_begin(&saved, p);
    log_info("ctl attached", F("epoch", (uint64_t)7), F("delta", -3), F("peer", "ctrl"));
    capture_end(saved, p);
    assert_non_null(strstr(out, "Z info ctl attached epoch=7 delta=-3 peer=\"ctrl\"\n"));
}

static void bytes_of_a_guest_cannot_forge_a_line(void **state)
{
    int saved, p[2];
    (void)state;

    capture_begin(&saved, p);
    log_warn("odd", F("path", span_of("a\nerror forged\"", 15)));
    capture_end(saved, p);
    assert_non_null(strstr(out, "path=\"a\\x0aerror forged\\\"\"\n"));
}

static void a_long_value_is_cut(void **state)
{
    static const uint8_t big[5000];
    int saved, p[2];
    (void)state;

    capture_begin(&saved, p);
    log_warn("odd", F("v", span_of(big, sizeof big)));
    capture_end(saved, p);
    assert_true(strlen(out) < 1000);
    assert_non_null(strstr(out, "...\"\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_printed_with_their_names),
        cmocka_unit_test(bytes_of_a_guest_cannot_forge_a_line),
        cmocka_unit_test(a_long_value_is_cut),
    };
    return RUN_TESTS("log", tests);
}
