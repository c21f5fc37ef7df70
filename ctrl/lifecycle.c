#include "ctrl/lifecycle.h"

bool lifecycle_has_pending(const struct lifecycle *l)
{
    for (uint32_t i = 0; i < l->version_count; i++) {
        if (l->version_states[i] == KEY_STATE_PENDING_DURABLE)
            return true;
    }
    return l->key_state == KEY_STATE_PENDING_DURABLE;
}

static void add_pending_version(struct lifecycle *l)
{
    l->version_states[l->version_count++] = KEY_STATE_PENDING_DURABLE;
}

static enum lifecycle_status step_create(struct lifecycle *l)
{
    if (l->key_state != 0)
        return LIFECYCLE_EXISTS;
    l->key_state = KEY_STATE_PENDING_DURABLE;
    l->primary = 0;
    l->version_count = 0;
    add_pending_version(l);
    return LIFECYCLE_CHANGED;
}

static enum lifecycle_status step_rotate(struct lifecycle *l)
{
    if (lifecycle_has_pending(l))
        return LIFECYCLE_PENDING;
    if (l->key_state != KEY_STATE_ENABLED)
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
        if (l->version_states[i] == KEY_STATE_PENDING_DURABLE) {
            l->version_states[i] = KEY_STATE_ENABLED;
            l->primary = i + 1;
        }
    }
    if (l->key_state == KEY_STATE_PENDING_DURABLE)
        l->key_state = KEY_STATE_ENABLED;
    return LIFECYCLE_CHANGED;
}

static enum lifecycle_status step_switch(uint8_t *state, uint8_t to)
{
    if (*state == to)
        return LIFECYCLE_ALREADY;
    if (*state == KEY_STATE_PENDING_DURABLE)
        return LIFECYCLE_PENDING;
    if (*state != KEY_STATE_ENABLED && *state != KEY_STATE_DISABLED)
        return LIFECYCLE_NOT_SWITCHABLE;
    *state = to;
    return LIFECYCLE_CHANGED;
}

static enum lifecycle_status step_switch_at(struct lifecycle *l, uint32_t version, uint8_t to)
{
    if (version == 0)
        return step_switch(&l->key_state, to);
    if (version > l->version_count)
        return LIFECYCLE_NO_VERSION;
    return step_switch(&l->version_states[version - 1], to);
}

enum lifecycle_status lifecycle_step(struct lifecycle *l, enum lifecycle_event event, uint32_t version)
{
    if (event == LIFECYCLE_CREATE)
        return step_create(l);
    if (l->key_state == 0)
        return LIFECYCLE_NO_KEY;
    switch (event) {
    case LIFECYCLE_ROTATE:
        return step_rotate(l);
    case LIFECYCLE_DURABLE:
        return step_durable(l);
    case LIFECYCLE_ENABLE:
        return step_switch_at(l, version, KEY_STATE_ENABLED);
    case LIFECYCLE_DISABLE:
        return step_switch_at(l, version, KEY_STATE_DISABLED);
    case LIFECYCLE_CREATE:
        break;
    }
    return LIFECYCLE_NOT_SWITCHABLE;
}

const char *lifecycle_status_text(enum lifecycle_status s)
{
    switch (s) {
    case LIFECYCLE_CHANGED:
        return "changed";
    case LIFECYCLE_ALREADY:
        return "it is so already";
    case LIFECYCLE_EXISTS:
        return "a key with this path exists";
    case LIFECYCLE_NO_KEY:
        return "no such key";
    case LIFECYCLE_NO_VERSION:
        return "no such version";
    case LIFECYCLE_PENDING:
        return "a version is not durable yet";
    case LIFECYCLE_KEY_OFF:
        return "the key is not enabled";
    case LIFECYCLE_TOO_MANY:
        return "the key has all the versions it can have";
    case LIFECYCLE_NOT_SWITCHABLE:
        return "in this state it can be neither enabled nor disabled";
    }
    return "unknown";
}
