/* Why something was refused, in words for the operator: what is wrong, where, and what to do next. */
#ifndef CTRL_LIB_REFUSAL_H
#define CTRL_LIB_REFUSAL_H

#include "base/span.h"

struct refusal {
    char code[32];  /* stable, for scripts: "no_such_key", "disk_full" ... */
    char text[640]; /* what is wrong and where */
    char next[384]; /* what to do; may be empty */
};

/* Fills *r (which may be NULL) and returns false, so that a caller can `return refuse(...)`. */
bool refuse(struct refusal *r, const char *code, const char *next, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
