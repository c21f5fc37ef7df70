/* Vector files: `[section]` lines, and under each `name = hex` lines; # starts a comment line.  The build
 * says where they are (VECTORS_DIR). */
#ifndef TESTS_UNIT_VECTORS_H
#define TESTS_UNIT_VECTORS_H

#include "base/check.h"
#include "base/span.h"

#include <stdio.h>

static inline int vector_nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline size_t vector_hex(const char *text, uint8_t *out, size_t cap)
{
    size_t len = 0;

    for (; vector_nibble(text[0]) >= 0; text += 2) {
        CHECK(vector_nibble(text[1]) >= 0 && len < cap);
        out[len++] = (uint8_t)(vector_nibble(text[0]) << 4 | vector_nibble(text[1]));
    }
    return len;
}

/* The bytes of `name` in `section` of VECTORS_DIR/file; a vector that is not there is a CHECK. */
static inline struct span vector_get(const char *file, const char *section, const char *name, uint8_t *out,
                                     size_t cap)
{
    char path[1024], line[8192], want[128], field[128];
    bool here = false, found = false;
    size_t len = 0;

    snprintf(path, sizeof path, "%s/%s", VECTORS_DIR, file);
    snprintf(want, sizeof want, "[%s]\n", section);
    snprintf(field, sizeof field, "%s =", name);
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    while (!found && fgets(line, sizeof line, f) != NULL) {
        if (line[0] == '[')
            here = strcmp(line, want) == 0;
        if (here && strncmp(line, field, strlen(field)) == 0) {
            const char *value = line + strlen(field);
            len = vector_hex(value + (*value == ' '), out, cap);
            found = true;
        }
    }
    fclose(f);
    CHECK(found);
    return span_of(out, len);
}

#endif
