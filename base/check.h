/* CHECK: a fact about ourselves, asserted in release builds too.
 *
 * A failed CHECK is our own bug: it prints the expression and its place, aborts the process, and the
 * supervisor starts it again.  Bytes off a wire never reach a CHECK: they get a status value and a counted
 * reason (base/reasons.h). */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

_Noreturn void check_failed(const char *expr, const char *file, int line);

#define CHECK(expr)                                                                                          \
    do {                                                                                                     \
        if (__builtin_expect(!(expr), 0))                                                                    \
            check_failed(#expr, __FILE__, __LINE__);                                                         \
    } while (0)

#endif
