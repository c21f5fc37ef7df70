#include "base/reasons.h"

#include "base/check.h"

static const char *const names[REASON_COUNT] = {
#define X(id, name, text) name,
    REASONS(X)
#undef X
};

static const char *const texts[REASON_COUNT] = {
#define X(id, name, text) text,
    REASONS(X)
#undef X
};

const char *reason_name(enum reason r)
{
    CHECK(r < REASON_COUNT);
    return names[r];
}

const char *reason_text(enum reason r)
{
    CHECK(r < REASON_COUNT);
    return texts[r];
}
