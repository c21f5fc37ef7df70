/* The lifecycle of a key and of its versions: one pure step, no clock, no store, no I/O.
 *
 *     PENDING_DURABLE --durable--> ENABLED <--enable/disable--> DISABLED --destroy--> DESTROY_SCHEDULED
 *                                                                  ^                    |        |
 *                                                                  +------restore-------+      expire --> DESTROYED
 *
 * A new version wraps nothing until every sink that the config demands holds it; only then does it become ENABLED
 * and the key's primary.  A key and each of its versions are switched separately: a version serves only while
 * both are ENABLED.  Disabling the primary does not promote another: wraps are refused until it is enabled again
 * or the key is rotated.
 *
 * What is doomed is restorable until it was destroyed, and comes back DISABLED.  A window once set for a key, or
 * for a version of it, is the least for every later one: a shorter one needs approval.  The primary is doomed only
 * with its whole key.  A version follows its destroyed key, each by its own EXPIRE.  DESTROYED is a tombstone:
 * nothing leads out of it, and its path is never given again.  tests/unit/ctrl/lifecycle_test.c walks every event
 * in every state that a key of 3 versions can reach. */
#ifndef CTRL_KEYS_LIFECYCLE_H
#define CTRL_KEYS_LIFECYCLE_H

#include "base/ctl_wire.h"

#define LIFECYCLE_WINDOW_DEFAULT_S (30 * 86400u)
#define LIFECYCLE_WINDOW_FLOOR_S   86400u /* Cloud KMS waits a day at least, too */
#define LIFECYCLE_WINDOW_CAP_S     (120 * 86400u)

enum lifecycle_event {
    LIFECYCLE_CREATE,  /* a key with its first version, pending */
    LIFECYCLE_ROTATE,  /* one more version, pending */
    LIFECYCLE_DURABLE, /* every pending version is held by every sink */
    LIFECYCLE_ENABLE,
    LIFECYCLE_DISABLE,
    LIFECYCLE_DESTROY, /* schedules it, or moves a scheduled date further away */
    LIFECYCLE_RESTORE,
    LIFECYCLE_EXPIRE, /* carries a scheduled destruction out, when it is due */
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
    LIFECYCLE_DOOMED,         /* the version, or its key, is to be destroyed: restore it first */
    LIFECYCLE_GONE,           /* it is destroyed */
    LIFECYCLE_PRIMARY,        /* destroy: wraps use this version */
    LIFECYCLE_ON,             /* destroy: it is ENABLED, and must be disabled before */
    LIFECYCLE_BAD_WINDOW,     /* destroy: not within floor and cap */
    LIFECYCLE_NEEDS_APPROVAL, /* destroy: sooner than was set before */
    LIFECYCLE_NOT_DUE,        /* expire */
};

/* What counts as time here.  A clock may be set; how much time ctrl has watched go by (ctrl/lib/clock.h) cannot. */
struct lifecycle_time {
    int64_t unix_s;
    uint64_t watched_s;
};

/* A key, or a version of it. */
struct lifecycle_unit {
    uint8_t state;      /* enum key_state; 0 = no such key */
    uint32_t window_s;  /* DESTROY_SCHEDULED: how long, when it was set; else 0 */
    int64_t at_unix_s;  /* DESTROY_SCHEDULED: not before; DESTROYED: when; else 0 */
    uint64_t watched_s; /* DESTROY_SCHEDULED: and not before so much was watched; else 0 */
};

struct lifecycle {
    struct lifecycle_unit key;
    uint32_t primary;  /* 0 = none yet */
    uint32_t window_s; /* the longest ever set for the key or a version; 0 = none was */
    uint32_t version_count;
    struct lifecycle_unit *versions; /* 1..version_count; the caller's, with room for one more */
};

struct lifecycle_input {
    enum lifecycle_event event;
    uint32_t version;          /* ENABLE, DISABLE, DESTROY, RESTORE, EXPIRE; 0 = the key as a whole */
    uint32_t after_s;          /* DESTROY; 0 = as long as before, at least the default */
    bool from_enabled;         /* DESTROY: ENABLED may be doomed without being disabled first */
    bool approved;             /* DESTROY: people who may said that it may be sooner than was set before */
    struct lifecycle_time now; /* DESTROY, EXPIRE */
};

/* On anything but CHANGED *l is as it was. */
enum lifecycle_status MUST_USE lifecycle_step(struct lifecycle *l, const struct lifecycle_input *in);

bool lifecycle_has_pending(const struct lifecycle *l);
bool lifecycle_is_due(const struct lifecycle_unit *u, struct lifecycle_time now);

/* "no such version" ...: a few words for an error text. */
const char *lifecycle_status_text(enum lifecycle_status s);

#endif
