/* Small files, read and written whole. */
#ifndef CTRL_LIB_FILE_H
#define CTRL_LIB_FILE_H

#include "base/span.h"
#include "ctrl/lib/refusal.h"

/* Reads all of path into out (cap bytes) and puts a NUL behind it.  false: absent, unreadable, or cap - 1 bytes or
 * more; code "file_unreadable". */
bool MUST_USE file_read(const char *path, uint8_t *out, size_t cap, size_t *len, struct refusal *why);

/* Replaces path by content, 0600, synced, by rename.  Code "file_unwritable". */
bool MUST_USE file_write(const char *path, struct span content, struct refusal *why);

bool file_exists(const char *path);

/* Makes the directory (0700) and those above it that are missing. */
bool MUST_USE file_make_dir(const char *path, struct refusal *why);

#endif
