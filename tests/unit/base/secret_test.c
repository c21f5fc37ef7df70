#include "base/secret.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void equal_compares_every_byte(void **state)
{
    uint8_t a[32] = {0}, b[32] = {0};
    (void)state;

    assert_true(secret_equal(a, b, sizeof a));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] ^= 0x80;
        assert_false(secret_equal(a, b, sizeof a));
        b[i] ^= 0x80;
    }
}

static void wipe_leaves_zeros(void **state)
{
    uint8_t a[16];
    (void)state;

    memset(a, 0xff, sizeof a);
    secret_wipe(a, sizeof a);
    for (size_t i = 0; i < sizeof a; i++)
        assert_int_equal(a[i], 0);
}

static void a_forked_child_finds_secret_pages_zeroed(void **state)
{
    uint8_t *p = secret_pages_alloc(100);
    int status;
    (void)state;

    assert_non_null(p);
    p[0] = 42;
    pid_t pid = fork();
    if (pid == 0)
        _exit(p[0] == 0 ? 0 : 1);
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(p[0], 42);
    secret_pages_free(p, 100);
}

/* smaps says "lo" for locked and "dd" for left out of dumps. */
static void secret_pages_are_locked_and_not_dumped(void **state)
{
    uint8_t *p = secret_pages_alloc(4096);
    char line[512], want[32];
    bool here = false, seen = false;
    (void)state;

    snprintf(want, sizeof want, "%lx-", (unsigned long)p);
    FILE *f = fopen("/proc/self/smaps", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strchr(line, '-') != NULL && strncmp(line, want, strlen(want)) == 0)
            here = true;
        if (here && strncmp(line, "VmFlags:", 8) == 0) {
            assert_non_null(strstr(line, " lo"));
            assert_non_null(strstr(line, " dd"));
            seen = true;
            break;
        }
    }
    fclose(f);
    assert_true(seen);
    secret_pages_free(p, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_compares_every_byte),
        cmocka_unit_test(wipe_leaves_zeros),
        cmocka_unit_test(a_forked_child_finds_secret_pages_zeroed),
        cmocka_unit_test(secret_pages_are_locked_and_not_dumped),
    };
    return RUN_TESTS("secret", tests);
}
