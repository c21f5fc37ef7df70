/* The lifecycle of a key and of its versions: one pure step, no clock, no store, no I/O.
 *
 *     PENDING_DURABLE --durable--> ENABLED <--enable/disable--> DISABLED
 *
 * A new version wraps nothing until every sink that the config demands holds it; only then does it become ENABLED
 * and the key's primary.  A key and each of its versions are switched separately: a version serves only while
 * both are ENABLED.  Disabling the primary does not promote another: wraps are refused until it is enabled again
 * or the key is rotated.  The table of events is docs/ARCHITECTURE.md's; tests/unit/ctrl/lifecycle_test.c walks
 * all of it for small keys. */
#ifndef CTRL_LIFECYCLE_H
#define CTRL_LIFECYCLE_H

#include "base/ctl_wire.h"

enum lifecycle_event {
    LIFECYCLE_CREATE,  /* a key with its first version, pending */
    LIFECYCLE_ROTATE,  /* one more version, pending */
    LIFECYCLE_DURABLE, /* every pending version is held by every sink */
    LIFECYCLE_ENABLE,
    LIFECYCLE_DISABLE,
};

enum lifecycle_status {
    LIFECYCLE_CHANGED,
    LIFECYCLE_ALREADY, /* nothing to do: it is so */
    /* refused, nothing changed: */
    LIFECYCLE_EXISTS,
    LIFECYCLE_NO_KEY,
    LIFECYCLE_NO_VERSION,
    LIFECYCLE_PENDING,        /* the version, or one before it, is not durable yet */
    LIFECYCLE_KEY_OFF,        /* rotate: the key is not ENABLED */
    LIFECYCLE_TOO_MANY,       /* rotate: KEY_VERSIONS_PER_KEY are there */
    LIFECYCLE_NOT_SWITCHABLE, /* enable, disable: in a state that has neither */
};

struct lifecycle {
    uint8_t key_state; /* enum key_state; 0 = no such key */
    uint32_t primary;  /* 0 = none yet */
    uint32_t version_count;
    uint8_t *version_states; /* of versions 1..version_count; the caller's, with room for one more */
};

/* version: for ENABLE and DISABLE; 0 = the key as a whole.  On anything but CHANGED *l is as it was. */
enum lifecycle_status MUST_USE lifecycle_step(struct lifecycle *l, enum lifecycle_event event,
                                              uint32_t version);

bool lifecycle_has_pending(const struct lifecycle *l);

/* "no such version" ...: a few words for an error text. */
const char *lifecycle_status_text(enum lifecycle_status s);

#endif
