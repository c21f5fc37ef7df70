#include "base/secret.h"

#include "base/check.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Eight bytes at a time; the compiler may not look into diff, so it cannot leave before the end. */
bool secret_equal(const void *a, const void *b, size_t len)
{
    const uint8_t *x = a;
    const uint8_t *y = b;
    uint64_t diff = 0, v, w;

    for (; len >= sizeof v; len -= sizeof v, x += sizeof v, y += sizeof v) {
        memcpy(&v, x, sizeof v);
        memcpy(&w, y, sizeof w);
        diff |= v ^ w;
        __asm__ volatile("" : "+r"(diff));
    }
    for (size_t i = 0; i < len; i++) {
        diff |= (uint64_t)(x[i] ^ y[i]);
        __asm__ volatile("" : "+r"(diff));
    }
    return diff == 0;
}

static size_t round_to_pages(size_t len, size_t page)
{
    return (len + page - 1) / page * page;
}

/* Each page is locked when it is first touched, so that a large pool costs what it uses.  The system call
 * itself: a sanitizer build turns the library's mlock into nothing. */
static long lock_pages(void *ptr, size_t len)
{
    long rc = syscall(SYS_mlock2, ptr, len, MLOCK_ONFAULT);

    if (rc != 0 && errno == ENOSYS) /* valgrind does not know mlock2: all pages at once, then */
        return syscall(SYS_mlock, ptr, len);
    return rc;
}

void *secret_pages_alloc(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t body = round_to_pages(len, page);
    uint8_t *whole = mmap(NULL, body + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (whole == MAP_FAILED)
        return NULL;
    uint8_t *inner = whole + page;
    if (mprotect(inner, body, PROT_READ | PROT_WRITE) != 0 || lock_pages(inner, body) != 0 ||
        madvise(inner, body, MADV_DONTDUMP) != 0 || madvise(inner, body, MADV_WIPEONFORK) != 0) {
        munmap(whole, body + 2 * page);
        return NULL;
    }
    return inner;
}

void secret_pages_free(void *ptr, size_t len)
{
    if (ptr == NULL)
        return;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t body = round_to_pages(len, page);

    secret_wipe(ptr, body);
    CHECK(munmap((uint8_t *)ptr - page, body + 2 * page) == 0);
}

void secret_process_harden(void)
{
    struct rlimit none = {0, 0};

    CHECK(setrlimit(RLIMIT_CORE, &none) == 0);
    CHECK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
}

bool secret_process_lock(void)
{
    /* The system call itself, as above. */
    return syscall(SYS_mlockall, MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}
