/* System calls that neither process needs once it runs, and an intruder would: from then on they fail with EPERM.
 *
 * A list of what is refused, not of what is allowed: a library that is updated and calls something new must not bring the service
 * down.  The calls of another architecture (32 bits, x32) are refused altogether. */
#ifndef BASE_FORBID_H
#define BASE_FORBID_H

#include "base/span.h"

/* In every thread, and in every child; there is no way back.  programs: starting another program is refused, too.  false: the kernel
 * does not do it (errno). */
bool MUST_USE forbid_calls(bool programs);

#endif
