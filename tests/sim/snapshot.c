#include "tests/sim/snapshot.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct snapshot {
    struct script *of;
    struct script copy;
    uint8_t *base;
    size_t len; /* whole pages */
    int fd;
};

struct snapshot *snapshot_take(struct script *t)
{
    struct snapshot *s = calloc(1, sizeof *s);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    script_drop_all(t);
    (void)app_events(t);
    s->of = t;
    s->copy = *t;
    s->base = (uint8_t *)t->net; /* the arena's first object, at the beginning of its first page */
    assert_int_equal((uintptr_t)s->base % page, 0);
    s->len = (arena_used(t->arena) + page - 1) / page * page;
    s->fd = memfd_create("snapshot", MFD_CLOEXEC);
    assert_true(s->fd >= 0);
    assert_int_equal(ftruncate(s->fd, (off_t)s->len), 0);
    assert_int_equal(write(s->fd, s->base, s->len), s->len);
    return s;
}

void snapshot_restore(const struct snapshot *s)
{
    void *at = mmap(s->base, s->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, s->fd, 0);

    assert_ptr_equal(at, s->base);
    *s->of = s->copy;
}

void snapshot_free(struct snapshot *s)
{
    close(s->fd);
    free(s);
}
