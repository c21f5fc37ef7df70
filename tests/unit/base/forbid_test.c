/* Each case in a child of its own: what is forbidden stays so. */
#include "base/forbid.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The exit status of what f does in a child. */
static int in_child(int (*f)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(f());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool is_refused(long rc)
{
    return rc == -1 && errno == EPERM;
}

/* 0: each of them is refused; else the place of the first that is not. */
static int what_nobody_needs(void)
{
    if (!forbid_calls(false))
        return 100;
    if (!is_refused(unshare(0)))
        return 1;
    if (!is_refused(syscall(SYS_bpf, 0, NULL, 0)))
        return 2;
    if (!is_refused(syscall(SYS_io_uring_setup, 1, NULL)))
        return 3;
    if (!is_refused(syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0)))
        return 4;
    if (!is_refused(syscall(SYS_keyctl, 0, 0, 0, 0, 0)))
        return 5;
    if (!is_refused(chroot("/")))
        return 6;
    if (!is_refused(mount("/nonexistent", "/nonexistent", "tmpfs", 0, NULL)))
        return 7;
    return is_refused(syscall(SYS_gettid | 0x40000000)) ? 0 : 8; /* x32 */
}

static void what_nobody_needs_is_refused(void **state)
{
    (void)state;
    assert_int_equal(in_child(what_nobody_needs), 0);
}

static void *do_nothing(void *arg)
{
    return arg;
}

static int what_is_needed(void)
{
    pthread_t t;
    int fds[2], status;

    if (!forbid_calls(true))
        return 100;
    int fd = open("/dev/null", O_RDWR);
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fd < 0 || p == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0 || write(fd, "x", 1) != 1)
        return 1;
    if (pthread_create(&t, NULL, do_nothing, NULL) != 0 || pthread_join(t, NULL) != 0)
        return 2;
    pid_t pid = fork();
    if (pid == 0)
        _exit(7);
    return waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7 ? 0 : 3;
}

static void what_is_needed_goes_on(void **state)
{
    (void)state;
    assert_int_equal(in_child(what_is_needed), 0);
}

static int exec_status(bool forbidden)
{
    char *argv[] = {(char *)(uintptr_t) "true", NULL};

    if (!forbid_calls(forbidden))
        return 100;
    execv("/bin/true", argv);
    return errno == EPERM ? 1 : 2;
}

static int programs_allowed(void)
{
    return exec_status(false);
}

static int programs_forbidden(void)
{
    return exec_status(true);
}

static void programs_are_refused_where_it_is_said_and_start_elsewhere(void **state)
{
    (void)state;
    assert_int_equal(in_child(programs_forbidden), 1);
    assert_int_equal(in_child(programs_allowed), 0);
}

static sem_t go;

static void *in_a_thread_that_was_there(void *arg)
{
    bool *refused = arg;

    while (sem_wait(&go) != 0)
        continue;
    *refused = is_refused(unshare(0));
    return NULL;
}

static int other_threads(void)
{
    bool refused = false;
    pthread_t t;

    if (sem_init(&go, 0, 0) != 0 || pthread_create(&t, NULL, in_a_thread_that_was_there, &refused) != 0)
        return 1;
    if (!forbid_calls(true))
        return 100;
    sem_post(&go);
    pthread_join(t, NULL);
    return refused ? 0 : 2;
}

static void it_holds_for_threads_that_were_there_before(void **state)
{
    (void)state;
    assert_int_equal(in_child(other_threads), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_needs_is_refused),
        cmocka_unit_test(what_is_needed_goes_on),
        cmocka_unit_test(programs_are_refused_where_it_is_said_and_start_elsewhere),
        cmocka_unit_test(it_holds_for_threads_that_were_there_before),
    };

    return RUN_TESTS("forbid", tests);
}
