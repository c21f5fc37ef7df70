#include "ctrl/refusal.h"

#include <stdarg.h>
#include <stdio.h>

bool refuse(struct refusal *r, const char *code, const char *next, const char *fmt, ...)
{
    va_list ap;

    if (r == NULL)
        return false;
    snprintf(r->code, sizeof r->code, "%s", code);
    snprintf(r->next, sizeof r->next, "%s", next == NULL ? "" : next);
    va_start(ap, fmt);
    vsnprintf(r->text, sizeof r->text, fmt, ap);
    va_end(ap);
    return false;
}
