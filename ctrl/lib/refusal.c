#include "ctrl/lib/refusal.h"

#include <stdarg.h>
#include <stdio.h>

/* A text may quote what somebody sent: it goes into logs and JSON as printable ASCII. */
static void make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
    }
}

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
    make_printable(r->text);
    return false;
}
