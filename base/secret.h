/* Comparing, wiping and housing secrets. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/span.h"

/* Equal or not, in a time that depends on len alone.  NIST SP 800-185 style accumulate-and-test, no early
 * exit. */
bool MUST_USE secret_equal(const void *a, const void *b, size_t len);

/* Overwrites with zeros in a way the compiler keeps: for all it knows the statement behind the memset reads them. */
static inline void secret_wipe(void *ptr, size_t len)
{
    if (len != 0)
        memset(ptr, 0, len);
    __asm__ volatile("" : : "r"(ptr) : "memory");
}

/* Zeroed pages for key material: locked in RAM from their first use on, left out of core dumps, zeroed in a
 * forked child.  Rounded up to pages and fenced by an inaccessible page on either side.  NULL when the kernel
 * refuses (RLIMIT_MEMLOCK, out of memory): the caller says so and does not start.  secret_pages_free wipes
 * before it unmaps. */
void *MUST_USE secret_pages_alloc(size_t len);
void secret_pages_free(void *ptr, size_t len);

/* No core dumps, no ptrace by the same user.  Called first thing in every main(). */
void secret_process_harden(void);

/* Keeps every page in RAM from its first use on, those of libraries' heaps (expanded cipher keys) included.  false: not permitted. */
bool MUST_USE secret_process_lock(void);

#endif
