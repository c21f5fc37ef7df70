/* "Did you mean ...?" */
#ifndef CTRL_LIB_NEAREST_H
#define CTRL_LIB_NEAREST_H

#include "base/span.h"

/* The word of the list (count >= 1) with the smallest edit distance; the first of equals.  Words are compared by
 * their first 64 bytes. */
const char *nearest_word(struct span word, const char *const *words, size_t count);

#endif
