#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "CHECK failed: %s at %s:%d\n", expr, file, line);
    fflush(stderr);
    abort();
}
