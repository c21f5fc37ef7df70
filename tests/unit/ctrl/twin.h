/* A key beside the pure lifecycle: every verb is done to both, and both must come to the same. */
#ifndef TESTS_UNIT_CTRL_TWIN_H
#define TESTS_UNIT_CTRL_TWIN_H

#include "tests/unit/ctrl/rig.h"

#define TWIN_VERSIONS_MAX 64

struct twin {
    const char *path;
    struct lifecycle_unit key, versions[TWIN_VERSIONS_MAX];
    uint32_t primary, window_s, version_count;
};

/* One event; a new version is made durable at once, as custody does. */
enum lifecycle_status twin_step(struct twin *t, const struct lifecycle_input *in);
/* All that is due. */
void twin_expire(struct twin *t, struct lifecycle_time now);

/* The same event through custody, with no clock read but custody's. */
bool twin_real_step(struct custody *c, const char *path, const struct lifecycle_input *in,
                    struct refusal *why);

/* The key in custody is as the twin. */
bool twin_is(const struct custody *c, const struct twin *t);

/* An event by chance: any but DURABLE and EXPIRE, which custody does by itself. */
struct lifecycle_input twin_chance(uint64_t r, struct lifecycle_time now);

#endif
