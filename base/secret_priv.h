/* The one way to the bytes of a secret_span.  Who may include this is listed in
 * tests/layering/secret_users.txt: the ciphers, the parsers that read a request body, the key tables, and the
 * rooms that hand a body over. */
#ifndef BASE_SECRET_PRIV_H
#define BASE_SECRET_PRIV_H

#include "base/span.h"

static inline struct secret_span secret_of(const void *ptr, size_t len)
{
    return (struct secret_span){ptr, len};
}

/* The bytes, as an ordinary view.  Whoever calls this keeps them out of logs and public buffers. */
static inline struct span secret_expose(struct secret_span s)
{
    return (struct span){s.secret_ptr_, s.len};
}

#endif
