/* A secret that a test looks for in its own memory.  It is kept masked, so that it is not itself a copy. */
#ifndef TESTS_LIB_NEEDLE_H
#define TESTS_LIB_NEEDLE_H

#include <stddef.h>
#include <stdint.h>

#define NEEDLE_LEN 16

struct needle {
    uint8_t masked[NEEDLE_LEN];
};

/* Of the first NEEDLE_LEN of len bytes, which are wiped. */
struct needle needle_of(uint8_t *bytes, size_t len);
/* How often it stands in this process's readable memory. */
size_t needle_count(const struct needle *n);

#endif
