#include "ctrl/keys/lifecycle.h"

bool lifecycle_has_pending(const struct lifecycle *l)
{
    for (uint32_t i = 0; i < l->version_count; i++) {
        if (l->versions[i].state == KEY_STATE_PENDING_DURABLE)
            return true;
    }
    return l->key.state == KEY_STATE_PENDING_DURABLE;
}

bool lifecycle_is_due(const struct lifecycle_unit *u, struct lifecycle_time now)
{
    return u->state == KEY_STATE_DESTROY_SCHEDULED && now.unix_s >= u->at_unix_s &&
           now.watched_s >= u->watched_s;
}

static void add_pending_version(struct lifecycle *l)
{
    l->versions[l->version_count++] = (struct lifecycle_unit){.state = KEY_STATE_PENDING_DURABLE};
}

static enum lifecycle_status step_create(struct lifecycle *l)
{
    if (l->key.state != 0)
        return LIFECYCLE_EXISTS;
    l->key = (struct lifecycle_unit){.state = KEY_STATE_PENDING_DURABLE};
    l->primary = 0;
    l->window_s = 0;
    l->version_count = 0;
    add_pending_version(l);
    return LIFECYCLE_CHANGED;
}

/* What a doomed or destroyed unit answers to anything but its way back or on; CHANGED: it is neither. */
static enum lifecycle_status end_of(const struct lifecycle_unit *u)
{
    if (u->state == KEY_STATE_DESTROYED)
        return LIFECYCLE_GONE;
    return u->state == KEY_STATE_DESTROY_SCHEDULED ? LIFECYCLE_DOOMED : LIFECYCLE_CHANGED;
}

static enum lifecycle_status step_rotate(struct lifecycle *l)
{
    enum lifecycle_status end = end_of(&l->key);

    if (end != LIFECYCLE_CHANGED)
        return end;
    if (lifecycle_has_pending(l))
        return LIFECYCLE_PENDING;
    if (l->key.state != KEY_STATE_ENABLED)
        return LIFECYCLE_KEY_OFF;
    if (l->version_count >= KEY_VERSIONS_PER_KEY)
        return LIFECYCLE_TOO_MANY;
    add_pending_version(l);
    return LIFECYCLE_CHANGED;
}

static enum lifecycle_status step_durable(struct lifecycle *l)
{
    if (!lifecycle_has_pending(l))
        return LIFECYCLE_ALREADY;
    for (uint32_t i = 0; i < l->version_count; i++) {
        if (l->versions[i].state == KEY_STATE_PENDING_DURABLE) {
            l->versions[i].state = KEY_STATE_ENABLED;
            l->primary = i + 1;
        }
    }
    if (l->key.state == KEY_STATE_PENDING_DURABLE)
        l->key.state = KEY_STATE_ENABLED;
    return LIFECYCLE_CHANGED;
}

/* ---- one unit ---- */

static enum lifecycle_status step_switch(struct lifecycle_unit *u, uint8_t to)
{
    enum lifecycle_status end = end_of(u);

    if (end != LIFECYCLE_CHANGED)
        return end;
    if (u->state == to)
        return LIFECYCLE_ALREADY;
    if (u->state == KEY_STATE_PENDING_DURABLE)
        return LIFECYCLE_PENDING;
    u->state = to;
    return LIFECYCLE_CHANGED;
}

static enum lifecycle_status step_restore(struct lifecycle_unit *u)
{
    if (u->state == KEY_STATE_DESTROYED)
        return LIFECYCLE_GONE;
    if (u->state != KEY_STATE_DESTROY_SCHEDULED)
        return LIFECYCLE_ALREADY;
    *u = (struct lifecycle_unit){.state = KEY_STATE_DISABLED};
    return LIFECYCLE_CHANGED;
}

static enum lifecycle_status step_expire(struct lifecycle_unit *u, bool key_gone, struct lifecycle_time now)
{
    if (u->state == KEY_STATE_DESTROYED)
        return LIFECYCLE_ALREADY;
    if (!key_gone && !lifecycle_is_due(u, now))
        return LIFECYCLE_NOT_DUE;
    *u = (struct lifecycle_unit){.state = KEY_STATE_DESTROYED, .at_unix_s = now.unix_s};
    return LIFECYCLE_CHANGED;
}

static uint32_t window_of(const struct lifecycle *l, const struct lifecycle_input *in)
{
    if (in->after_s != 0)
        return in->after_s;
    return l->window_s > LIFECYCLE_WINDOW_DEFAULT_S ? l->window_s : LIFECYCLE_WINDOW_DEFAULT_S;
}

static enum lifecycle_status may_doom(const struct lifecycle *l, const struct lifecycle_unit *u,
                                      const struct lifecycle_input *in)
{
    uint32_t window = window_of(l, in);

    if (u->state == KEY_STATE_PENDING_DURABLE || (in->version == 0 && lifecycle_has_pending(l)))
        return LIFECYCLE_PENDING;
    if (in->version != 0 && in->version == l->primary)
        return LIFECYCLE_PRIMARY;
    if (window < LIFECYCLE_WINDOW_FLOOR_S || window > LIFECYCLE_WINDOW_CAP_S)
        return LIFECYCLE_BAD_WINDOW;
    if (u->state == KEY_STATE_ENABLED && !in->from_enabled)
        return LIFECYCLE_ON;
    return window < l->window_s && !in->approved ? LIFECYCLE_NEEDS_APPROVAL : LIFECYCLE_CHANGED;
}

static enum lifecycle_status step_destroy(struct lifecycle *l, struct lifecycle_unit *u,
                                          const struct lifecycle_input *in)
{
    uint32_t window = window_of(l, in);
    struct lifecycle_unit to = {KEY_STATE_DESTROY_SCHEDULED, window, in->now.unix_s + window,
                                in->now.watched_s + window};

    if (u->state == KEY_STATE_DESTROYED)
        return LIFECYCLE_GONE;
    if (u->state == KEY_STATE_DESTROY_SCHEDULED && in->after_s == 0)
        return LIFECYCLE_ALREADY;
    enum lifecycle_status s = may_doom(l, u, in);
    if (s != LIFECYCLE_CHANGED)
        return s;
    if ((to.at_unix_s < u->at_unix_s || to.watched_s < u->watched_s) && !in->approved)
        return LIFECYCLE_NEEDS_APPROVAL;
    if (to.at_unix_s == u->at_unix_s && to.watched_s == u->watched_s)
        return LIFECYCLE_ALREADY;
    *u = to;
    l->window_s = window;
    return LIFECYCLE_CHANGED;
}

/* What the key's own end forbids to its versions: all but coming back while it is doomed, and following it. */
static enum lifecycle_status key_allows(const struct lifecycle *l, const struct lifecycle_unit *u,
                                        const struct lifecycle_input *in)
{
    if (in->version == 0 || in->event == LIFECYCLE_EXPIRE)
        return LIFECYCLE_CHANGED;
    if (u->state == KEY_STATE_DESTROYED)
        return LIFECYCLE_GONE;
    enum lifecycle_status end = end_of(&l->key);
    return end == LIFECYCLE_DOOMED && in->event == LIFECYCLE_RESTORE ? LIFECYCLE_CHANGED : end;
}

static enum lifecycle_status step_unit(struct lifecycle *l, const struct lifecycle_input *in)
{
    bool key_gone = in->version != 0 && l->key.state == KEY_STATE_DESTROYED;

    if (in->version > l->version_count)
        return LIFECYCLE_NO_VERSION;
    struct lifecycle_unit *u = in->version == 0 ? &l->key : &l->versions[in->version - 1];
    enum lifecycle_status allowed = key_allows(l, u, in);
    if (allowed != LIFECYCLE_CHANGED)
        return allowed;
    switch (in->event) {
    case LIFECYCLE_ENABLE:
        return step_switch(u, KEY_STATE_ENABLED);
    case LIFECYCLE_DISABLE:
        return step_switch(u, KEY_STATE_DISABLED);
    case LIFECYCLE_DESTROY:
        return step_destroy(l, u, in);
    case LIFECYCLE_RESTORE:
        return step_restore(u);
    default:
        return step_expire(u, key_gone, in->now);
    }
}

enum lifecycle_status lifecycle_step(struct lifecycle *l, const struct lifecycle_input *in)
{
    if (in->event == LIFECYCLE_CREATE)
        return step_create(l);
    if (l->key.state == 0)
        return LIFECYCLE_NO_KEY;
    if (in->event == LIFECYCLE_ROTATE)
        return step_rotate(l);
    if (in->event == LIFECYCLE_DURABLE)
        return step_durable(l);
    return step_unit(l, in);
}

const char *lifecycle_status_text(enum lifecycle_status s)
{
    static const char *const texts[] = {
        [LIFECYCLE_CHANGED] = "changed",
        [LIFECYCLE_ALREADY] = "it is so already",
        [LIFECYCLE_EXISTS] = "a key with this path exists, or existed: paths are not given again",
        [LIFECYCLE_NO_KEY] = "no such key",
        [LIFECYCLE_NO_VERSION] = "no such version",
        [LIFECYCLE_PENDING] = "a version is not durable yet",
        [LIFECYCLE_KEY_OFF] = "the key is not enabled",
        [LIFECYCLE_TOO_MANY] = "the key has all the versions it can have",
        [LIFECYCLE_DOOMED] = "its destruction is scheduled",
        [LIFECYCLE_GONE] = "it is destroyed",
        [LIFECYCLE_PRIMARY] = "it is the primary version, which wraps",
        [LIFECYCLE_ON] = "it is enabled",
        [LIFECYCLE_BAD_WINDOW] = "the time until destruction must be 1d..120d",
        [LIFECYCLE_NEEDS_APPROVAL] = "that is sooner than was set before",
        [LIFECYCLE_NOT_DUE] = "it is not due",
    };

    return (size_t)s < sizeof texts / sizeof texts[0] ? texts[s] : "unknown";
}
