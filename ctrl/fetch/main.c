/* ww-fetch: carries backup files, which are ciphertext, to and from the places where they are kept.
 *
 * ctrl's child with egress.  libcurl brings OpenSSL and an SSH library along: they live here, where there is no key, and
 * not in ww-ctrl.  No capabilities, no new privileges, no core, no program can be started from here; it goes when ctrl
 * goes. */
#include "base/secret.h"
#include "ctrl/fetch/fetch.h"

#include <linux/capability.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES_MAX 64

enum exit_code { EXIT_DONE = 0, EXIT_USAGE = 2, EXIT_BROKEN = 3 };

static bool drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};

    for (unsigned long c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++) {
        /* Who may not drop it from the bounding set has none to drop. */
        if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) != 0)
            break;
    }
    return syscall(SYS_capset, &head, none) == 0;
}

/* What neither a file copy nor a transfer needs, and an intruder would. */
static bool forbid_calls(void)
{
    static const int calls[] = {SCMP_SYS(execve),
                                SCMP_SYS(execveat),
                                SCMP_SYS(ptrace),
                                SCMP_SYS(process_vm_readv),
                                SCMP_SYS(process_vm_writev),
                                SCMP_SYS(pidfd_getfd),
                                SCMP_SYS(mount),
                                SCMP_SYS(umount2),
                                SCMP_SYS(pivot_root),
                                SCMP_SYS(chroot),
                                SCMP_SYS(setns),
                                SCMP_SYS(unshare),
                                SCMP_SYS(bpf),
                                SCMP_SYS(perf_event_open),
                                SCMP_SYS(userfaultfd),
                                SCMP_SYS(io_uring_setup),
                                SCMP_SYS(init_module),
                                SCMP_SYS(finit_module),
                                SCMP_SYS(kexec_load),
                                SCMP_SYS(keyctl),
                                SCMP_SYS(add_key),
                                SCMP_SYS(request_key),
                                SCMP_SYS(setuid),
                                SCMP_SYS(setgid)};
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    bool ok = filter != NULL;

    for (size_t i = 0; ok && i < sizeof calls / sizeof calls[0]; i++)
        ok = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, calls[i], 0) == 0;
    ok = ok && seccomp_load(filter) == 0;
    seccomp_release(filter);
    return ok;
}

static bool shed_powers(void)
{
    const struct rlimit files = {FILES_MAX, FILES_MAX};

    secret_process_harden();
    signal(SIGPIPE, SIG_IGN);
    if (close_range(FETCH_FD + 1, ~0U, 0) != 0 || setrlimit(RLIMIT_NOFILE, &files) != 0)
        return false;
    return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           drop_capabilities() && forbid_calls();
}

static enum fetch_status answer(const struct fetch_request *r, int fd, struct fetch_reply *out)
{
    if ((fd < 0) != (r->operation == FETCH_DELETE) || (r->operation != FETCH_LIST && !name_ok(r->name)))
        return fetch_fail(out, FETCH_BAD_REQUEST, "ww-fetch does not understand: is it of another version?");
    switch (r->kind) {
    case FETCH_DIRECTORY:
        return directory_answer(r, fd, out);
    case FETCH_S3:
        return s3_answer(r, fd, out);
    default:
        return sftp_answer(r, fd, out);
    }
}

/* false: ctrl is gone, or lies. */
static bool serve_one(void)
{
    static struct fetch_request r;
    static struct fetch_reply out;
    uint8_t message[FETCH_MESSAGE_MAX];
    size_t len;
    int fd;

    if (!fetch_receive(FETCH_FD, message, &len, &fd) || len == 0)
        return false;
    out = (struct fetch_reply){0};
    if (fetch_request_parse(span_of(message, len), &r))
        out.status = (uint8_t)answer(&r, fd, &out);
    else
        out.status = (uint8_t)fetch_fail(&out, FETCH_BAD_REQUEST, "ww-fetch does not understand the request");
    if (fd >= 0)
        close(fd);
    len = fetch_reply_write(&out, message);
    return fetch_send(FETCH_FD, span_of(message, len), -1);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc != 1 || !shed_powers()) {
        fprintf(stderr, "ww-fetch is started by ww-ctrl, without arguments\n");
        return EXIT_USAGE;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return EXIT_BROKEN;
    while (serve_one())
        continue;
    _exit(EXIT_DONE); /* what libraries leave to be run at the end is not waited for */
}
