/* In front of the shared pages the mapping has one that only this process sees; its last bytes are struct ring_private.  What is needed to
 * stay within bounds (the capacity, the mapping's size, the producer's own head) is kept there, from creation or from the check at mapping
 * time on: what the other process writes later into the shared header is never used as a size. */
#include "base/audit_ring.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RING_VERSION  2
#define CAPACITY_MAX  (UINT64_C(1) << 24) /* 2 GiB of records: more is a lie, not a configuration */
#define SEALS_WANTED  (F_SEAL_SHRINK | F_SEAL_GROW)
#define RECORDS_START offsetof(struct audit_ring, records)
#define COUNTER_COUNT (REASON_COUNT + GAUGE_COUNT)

/* docs/WIRE.md 3 */
_Static_assert(offsetof(struct audit_ring, boot_id) == 24 && offsetof(struct audit_ring, worker) == 40,
               "header");
_Static_assert(offsetof(struct audit_ring, head) == 64 && offsetof(struct audit_ring, next_seq) == 72,
               "writer");
_Static_assert(offsetof(struct audit_ring, tail) == 128, "the reader's cache line");
_Static_assert(offsetof(struct audit_ring, counters) == 192, "counters");
_Static_assert(offsetof(struct audit_ring, house) % 64 == 0, "the housekeeper's cache lines");
_Static_assert(RECORDS_START % 128 == 0, "records start on their own line");
_Static_assert(offsetof(struct audit_record, status) == 40 && offsetof(struct audit_record, op) == 48 &&
                   offsetof(struct audit_record, caller) == 64,
               "record");

struct ring_private {
    size_t page;
    size_t shared_len;
    uint64_t capacity;
    uint64_t head; /* producer only: what it wrote last, whatever the shared word says now */
    uint64_t next_seq;
};

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static struct ring_private *private_of(const struct audit_ring *r)
{
    return (struct ring_private *)(uintptr_t)r - 1;
}

static bool capacity_is_sane(uint64_t capacity)
{
    return capacity != 0 && capacity <= CAPACITY_MAX && (capacity & (capacity - 1)) == 0;
}

static size_t ring_len(uint64_t capacity)
{
    return RECORDS_START + (size_t)capacity * sizeof(struct audit_record);
}

/* One private page, then the file.  NULL when the kernel refuses. */
static struct audit_ring *map_behind_private_page(int fd, size_t len)
{
    size_t page = page_size();
    uint8_t *whole = mmap(NULL, page + len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (whole == MAP_FAILED)
        return NULL;
    void *shared = mmap(whole + page, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    if (shared == MAP_FAILED) {
        int saved = errno;
        munmap(whole, page + len);
        errno = saved;
        return NULL;
    }
    struct ring_private *p = private_of(shared);
    p->page = page;
    p->shared_len = len;
    return shared;
}

/* A file that can no longer change its size: a peer that truncates it would turn our next read into a
 * SIGBUS. */
static int sealed_memfd(size_t len)
{
    int fd = memfd_create("wirewrap-audit", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)len) != 0 || fcntl(fd, F_ADD_SEALS, SEALS_WANTED | F_SEAL_SEAL) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

struct audit_ring *audit_ring_create(uint64_t capacity, uint32_t worker, const uint8_t boot_id[16], int *fd)
{
    if (!capacity_is_sane(capacity)) {
        errno = EINVAL;
        return NULL;
    }
    *fd = sealed_memfd(ring_len(capacity));
    if (*fd < 0)
        return NULL;
    struct audit_ring *r = map_behind_private_page(*fd, ring_len(capacity));
    if (r == NULL) {
        int saved = errno;
        close(*fd);
        errno = saved;
        return NULL;
    }
    struct ring_private *p = private_of(r);
    p->capacity = capacity;
    p->next_seq = 1;
    r->version = RING_VERSION;
    r->record_size = sizeof(struct audit_record);
    r->capacity = capacity;
    memcpy(r->boot_id, boot_id, sizeof r->boot_id);
    r->worker = worker;
    r->counter_count = COUNTER_COUNT;
    r->next_seq = 1;
    r->magic = AUDIT_RING_MAGIC;
    return r;
}

/* The size of a sealed memfd that could hold a ring, or 0. */
static size_t sealed_size(int fd)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0 || (seals & SEALS_WANTED) != SEALS_WANTED || fstat(fd, &st) != 0)
        return 0;
    if (st.st_size < (off_t)ring_len(1) || (uint64_t)st.st_size > ring_len(CAPACITY_MAX))
        return 0;
    return (size_t)st.st_size;
}

struct audit_ring *audit_ring_map(int fd)
{
    size_t len = sealed_size(fd);

    if (len == 0)
        return NULL;
    struct audit_ring *r = map_behind_private_page(fd, len);
    if (r == NULL)
        return NULL;
    /* Read once: the writer of these words may change them between the check and the use. */
    uint64_t capacity = *(volatile uint64_t *)&r->capacity;
    if (r->magic != AUDIT_RING_MAGIC || r->version != RING_VERSION ||
        r->record_size != sizeof(struct audit_record) || r->counter_count != COUNTER_COUNT ||
        !capacity_is_sane(capacity) || len != ring_len(capacity)) {
        audit_ring_unmap(r);
        return NULL;
    }
    private_of(r)->capacity = capacity;
    return r;
}

void audit_ring_unmap(struct audit_ring *r)
{
    if (r == NULL)
        return;
    struct ring_private *p = private_of(r);
    CHECK(munmap((uint8_t *)r - p->page, p->page + p->shared_len) == 0);
}

void audit_put(struct audit_ring *ring, const struct audit_record *r)
{
    struct ring_private *p = private_of(ring);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    uint64_t seq = p->next_seq++;

    ring->next_seq = p->next_seq;
    if (p->head - tail > p->capacity) { /* a tail ahead of the head, or further behind than there is room */
        count(&ring->counters, REASON_AUDIT_BAD_TAIL);
        return;
    }
    if (p->head - tail == p->capacity) {
        count(&ring->counters, REASON_AUDIT_LOST);
        return;
    }
    struct audit_record *slot = &ring->records[p->head & (p->capacity - 1)];
    *slot = *r;
    slot->seq = seq;
    atomic_store_explicit(&ring->head, ++p->head, memory_order_release);
}

/* What ctrl may rely on in a record that another process wrote. */
static bool record_is_sane(const struct audit_record *r)
{
    return r->seq != 0 && r->op <= AUDIT_OP_UNWRAP && r->caller_len <= AUDIT_CALLER_CAP;
}

enum audit_ring_status audit_peek(const struct audit_ring *ring, uint64_t ahead, struct audit_record *out)
{
    const struct ring_private *p = private_of(ring);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);

    if (head - tail > p->capacity)
        return AUDIT_RING_BAD;
    if (ahead >= head - tail)
        return AUDIT_RING_EMPTY;
    *out = ring->records[(tail + ahead) & (p->capacity - 1)];
    return record_is_sane(out) ? AUDIT_RING_OK : AUDIT_RING_BAD;
}

void audit_release(struct audit_ring *ring, uint64_t records)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    atomic_store_explicit(&ring->tail, tail + records, memory_order_release);
}

enum audit_ring_status audit_take(struct audit_ring *ring, struct audit_record *out)
{
    enum audit_ring_status s = audit_peek(ring, 0, out);

    if (s == AUDIT_RING_OK)
        audit_release(ring, 1);
    return s;
}
