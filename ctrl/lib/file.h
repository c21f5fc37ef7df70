/* Small files, read and written whole. */
#ifndef CTRL_LIB_FILE_H
#define CTRL_LIB_FILE_H

#include "base/span.h"
#include "ctrl/lib/refusal.h"

#include <limits.h>

/* Reads all of path into out (cap bytes) and puts a NUL behind it.  false: absent, unreadable, or cap - 1 bytes or
 * more; code "file_unreadable". */
bool MUST_USE file_read(const char *path, uint8_t *out, size_t cap, size_t *len, struct refusal *why);

/* Replaces path by content, 0600, by rename, both synced; false: errno, and what was there is there still. */
bool MUST_USE file_replace(const char *path, struct span content);

/* The same with words for it: code "file_unwritable". */
bool MUST_USE file_write(const char *path, struct span content, struct refusal *why);

/* The directory that path is in. */
void file_dir_of(const char *path, char out[PATH_MAX]);

/* What was renamed or made in it is there after a power cut.  A directory that cannot be synced is logged. */
void file_sync_dir(const char *dir);

bool file_exists(const char *path);

/* Makes the directory (0700) and those above it that are missing. */
bool MUST_USE file_make_dir(const char *path, struct refusal *why);

#endif
