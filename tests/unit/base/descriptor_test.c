#include "base/descriptor.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static void a_read_takes_what_comes_in_pieces_until_the_end(void **state)
{
    int fds[2];
    uint8_t out[16];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "abc", 3), 3);
    assert_int_equal(write(fds[1], "def", 3), 3);
    close(fds[1]);
    assert_int_equal(descriptor_read(fds[0], out, sizeof out), 6);
    assert_memory_equal(out, "abcdef", 6);
    close(fds[0]);
}

static void a_read_stops_where_there_is_no_more_room(void **state)
{
    int fds[2];
    uint8_t out[4];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "abcdef", 6), 6);
    assert_int_equal(descriptor_read(fds[0], out, sizeof out), 4);
    close(fds[0]);
    close(fds[1]);
}

static void a_failed_read_says_so(void **state)
{
    uint8_t out[4];

    (void)state;
    assert_int_equal(descriptor_read(-1, out, sizeof out), -1);
    assert_int_equal(errno, EBADF);
}

static void a_write_that_fails_half_way_says_so(void **state)
{
    int fds[2];
    static uint8_t much[1 << 20];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    assert_false(descriptor_write(fds[1], span_of(much, sizeof much)));
    assert_int_equal(errno, EAGAIN);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_takes_what_comes_in_pieces_until_the_end),
        cmocka_unit_test(a_read_stops_where_there_is_no_more_room),
        cmocka_unit_test(a_failed_read_says_so),
        cmocka_unit_test(a_write_that_fails_half_way_says_so),
    };

    return RUN_TESTS("base descriptor", tests);
}
