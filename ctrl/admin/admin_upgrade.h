/* The commands about the level of formats that the store is at: "upgrade status", "upgrade commit", "store compact". */
#ifndef CTRL_ADMIN_ADMIN_UPGRADE_H
#define CTRL_ADMIN_ADMIN_UPGRADE_H

#include "ctrl/daemon.h"

#include <jansson.h>

struct admin_upgrade {
    struct daemon *d;
    json_t *reply; /* the answer goes in */
    bool dry;
    bool changed; /* out: an epoch was committed */
    struct refusal *why;
};

bool MUST_USE admin_upgrade_status(struct admin_upgrade *u);
/* To the highest level that this version knows: refused while a sink lacks anything, since a restore of what was
 * before is the only way back. */
bool MUST_USE admin_upgrade_commit(struct admin_upgrade *u);
bool MUST_USE admin_store_compact(struct admin_upgrade *u);

#endif
