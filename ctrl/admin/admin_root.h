/* The commands about the root key and its slots: "init", "root rotate", "root slots ...". */
#ifndef CTRL_ADMIN_ADMIN_ROOT_H
#define CTRL_ADMIN_ADMIN_ROOT_H

#include "ctrl/daemon.h"

#include <jansson.h>

struct admin_root {
    struct daemon *d;
    const json_t *request;
    json_t *reply; /* the answer goes in */
    bool dry;
    bool changed; /* out: an epoch was committed */
    struct refusal *why;
};

bool MUST_USE admin_root_run(struct admin_root *r, const char *command);

/* For "status": {online, offline, enough, problem}. */
json_t *admin_root_status(const struct daemon *d);

#endif
