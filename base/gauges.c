#include "base/gauges.h"

#include "base/check.h"

static const char *const names[GAUGE_COUNT] = {
#define X(id, name) name,
    GAUGES(X)
#undef X
};

const char *gauge_name(enum gauge g)
{
    CHECK(g < GAUGE_COUNT);
    return names[g];
}
