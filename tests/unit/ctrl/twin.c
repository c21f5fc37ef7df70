#include "tests/unit/ctrl/twin.h"

static struct lifecycle open_twin(struct twin *t)
{
    return (struct lifecycle){t->key, t->primary, t->window_s, t->version_count, t->versions};
}

static void close_twin(struct twin *t, const struct lifecycle *l)
{
    t->key = l->key;
    t->primary = l->primary;
    t->window_s = l->window_s;
    t->version_count = l->version_count;
    assert_true(t->version_count < TWIN_VERSIONS_MAX);
}

enum lifecycle_status twin_step(struct twin *t, const struct lifecycle_input *in)
{
    struct lifecycle l = open_twin(t);
    struct lifecycle_input durable = {.event = LIFECYCLE_DURABLE};
    enum lifecycle_status s = lifecycle_step(&l, in);

    if (s == LIFECYCLE_CHANGED && in->event <= LIFECYCLE_ROTATE)
        assert_int_equal(lifecycle_step(&l, &durable), LIFECYCLE_CHANGED);
    close_twin(t, &l);
    return s;
}

void twin_expire(struct twin *t, struct lifecycle_time now)
{
    struct lifecycle_input in = {.event = LIFECYCLE_EXPIRE, .now = now};

    for (; in.version <= t->version_count; in.version++)
        (void)twin_step(t, &in);
}

bool twin_real_step(struct custody *c, const char *path, const struct lifecycle_input *in,
                    struct refusal *why)
{
    bool already;

    switch (in->event) {
    case LIFECYCLE_CREATE:
        return custody_create(c, path, why);
    case LIFECYCLE_ROTATE:
        return custody_rotate(c, path, why);
    case LIFECYCLE_ENABLE:
    case LIFECYCLE_DISABLE:
        return custody_switch(c, path, in->version, in->event == LIFECYCLE_ENABLE, &already, why);
    case LIFECYCLE_DESTROY:
        return custody_destroy(c, path, in->version, in->after_s, &already, why);
    default:
        return custody_restore(c, path, in->version, &already, why);
    }
}

static bool unit_is(const struct lifecycle_unit *a, const struct lifecycle_unit *b)
{
    return a->state == b->state && a->at_unix_s == b->at_unix_s && a->watched_s == b->watched_s &&
           a->window_s == b->window_s;
}

bool twin_is(const struct custody *c, const struct twin *t)
{
    const struct key_record *r = rig_key(c, t->path);

    if (r == NULL)
        return t->key.state == 0;
    bool same = unit_is(&r->life, &t->key) && r->primary == t->primary && r->window_s == t->window_s &&
                r->version_count == t->version_count;
    for (uint32_t v = 0; same && v < r->version_count; v++)
        same = unit_is(&r->versions[v].life, &t->versions[v]);
    return same;
}

struct lifecycle_input twin_chance(uint64_t r, struct lifecycle_time now)
{
    static const enum lifecycle_event events[] = {LIFECYCLE_CREATE,  LIFECYCLE_ROTATE,  LIFECYCLE_ENABLE,
                                                  LIFECYCLE_DISABLE, LIFECYCLE_DESTROY, LIFECYCLE_RESTORE};
    static const uint32_t afters[] = {0, 86400, 7 * 86400, 120 * 86400, 86399};

    return (struct lifecycle_input){
        events[(r >> 8) % 6], (uint32_t)(r >> 16) % 4, afters[(r >> 24) % 5], false, false, now};
}
