#include "base/forbid.h"

#include "base/check.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define X32_BIT 0x40000000u
/* All threads; and no brakes on speculation, which a filter brings along on some kernels: nobody else's code runs here. */
#define FLAGS (SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW)

/* Another process's memory; other file systems, namespaces and kernels; doors into the kernel that have been broken often. */
static const uint32_t never[] = {
#ifndef __SANITIZE_ADDRESS__
    SYS_ptrace, /* by which the sanitizer looks for leaks */
#endif
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pidfd_getfd,
    SYS_kcmp,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsmount,
    SYS_fsconfig,
    SYS_setns,
    SYS_unshare,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_reboot,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_iopl,
    SYS_ioperm,
};

static const uint32_t programs_too[] = {SYS_execve, SYS_execveat};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define RULES    (COUNT(never) + COUNT(programs_too))

struct program {
    struct sock_filter code[2 * RULES + 8];
    unsigned short len;
};

static void add(struct program *p, struct sock_filter f)
{
    CHECK(p->len < COUNT(p->code));
    p->code[p->len++] = f;
}

#define LOAD(field)                                                                                          \
    ((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field)))
#define RETURN(v) ((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, (v)))

/* Equal: refused, by the statement behind. */
static void refuse_each(struct program *p, const uint32_t *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1));
        add(p, RETURN(SECCOMP_RET_ERRNO | EPERM));
    }
}

bool forbid_calls(bool programs)
{
    static struct program p;

    p.len = 0;
    add(&p, LOAD(arch));
    add(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
    add(&p, RETURN(SECCOMP_RET_ERRNO | EPERM));
    add(&p, LOAD(nr));
    add(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1));
    add(&p, RETURN(SECCOMP_RET_ERRNO | EPERM));
    refuse_each(&p, never, COUNT(never));
    if (programs)
        refuse_each(&p, programs_too, COUNT(programs_too));
    add(&p, RETURN(SECCOMP_RET_ALLOW));
    const struct sock_fprog filter = {p.len, p.code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, FLAGS, &filter) == 0;
}
