#include "tests/lib/needle.h"

#include "base/secret.h"
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MASK       0x5c
#define REGION_MAX (UINT64_C(1) << 30) /* a sanitizer's shadow is larger: reservations, not memory of ours */
#define CHUNK      (1u << 20)

/* What is read is looked at here; the place itself is left out of the search. */
static uint8_t chunk[CHUNK + NEEDLE_LEN];

struct needle needle_of(uint8_t *bytes, size_t len)
{
    struct needle n;

    for (size_t i = 0; i < NEEDLE_LEN; i++)
        n.masked[i] = (uint8_t)(bytes[i] ^ MASK);
    secret_wipe(bytes, len);
    return n;
}

static bool is_needle(const uint8_t *p, const struct needle *n)
{
    for (size_t i = 0; i < NEEDLE_LEN; i++) {
        if ((p[i] ^ MASK) != n->masked[i])
            return false;
    }
    return true;
}

static size_t count_in_chunk(size_t len, const struct needle *n)
{
    const uint8_t *end = chunk + len, *p = chunk;
    size_t found = 0;

    while (len >= NEEDLE_LEN && (size_t)(end - p) >= NEEDLE_LEN) {
        p = memchr(p, n->masked[0] ^ MASK, (size_t)(end - p) - NEEDLE_LEN + 1);
        if (p == NULL)
            break;
        found += is_needle(p, n);
        p++;
    }
    return found;
}

static size_t count_in_region(int mem, uint64_t from, uint64_t to, const struct needle *n)
{
    size_t found = 0;

    while (from < to) {
        size_t want = to - from < CHUNK + NEEDLE_LEN - 1 ? (size_t)(to - from) : CHUNK + NEEDLE_LEN - 1;
        ssize_t got = pread(mem, chunk, want, (off_t)from);
        if (got <= 0)
            break;
        found += count_in_chunk((size_t)got, n);
        from += CHUNK; /* a little overlap, for one that lies across */
    }
    secret_wipe(chunk, CHUNK + NEEDLE_LEN);
    return found;
}

/* How often the needle stands in this process's memory. */
size_t needle_count(const struct needle *n)
{
    char line[512];
    size_t found = 0;
    uint64_t own = (uint64_t)(uintptr_t)chunk;
    FILE *maps = fopen("/proc/self/maps", "r");
    int mem = open("/proc/self/mem", O_RDONLY);

    assert_true(maps != NULL && mem >= 0);
    while (fgets(line, sizeof line, maps) != NULL) {
        uint64_t from, to;
        char access[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, access) != 3 || access[0] != 'r' ||
            to - from > REGION_MAX)
            continue;
        if (own >= from && own < to) {
            found += count_in_region(mem, from, own, n);
            from = own + CHUNK + NEEDLE_LEN;
        }
        found += count_in_region(mem, from, to, n);
    }
    fclose(maps);
    close(mem);
    return found;
}
