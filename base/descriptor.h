/* Whole reads and writes on blocking descriptors. */
#ifndef BASE_DESCRIPTOR_H
#define BASE_DESCRIPTOR_H

#include "base/span.h"

#include <sys/types.h>

/* Up to cap bytes, fewer only at the end of the file; -1: errno. */
ssize_t MUST_USE descriptor_read(int fd, uint8_t *out, size_t cap);
/* false: errno, and some of it may have been written. */
bool MUST_USE descriptor_write(int fd, struct span s);

#endif
