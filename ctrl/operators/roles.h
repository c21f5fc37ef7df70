/* Who is asking, and what such a one may ask for.
 *
 * A person of admin.people is known by the CN of a client certificate, or by uid on the local socket.  Root, and the
 * user that ww-ctrl runs as, come in on the local socket without being named: with --dev as everybody, else as
 * operator, key officer and auditor, never as approver.  Looked up for each request, so that a reload that takes
 * somebody away counts at once. */
#ifndef CTRL_OPERATORS_ROLES_H
#define CTRL_OPERATORS_ROLES_H

#include "ctrl/lib/refusal.h"
#include "proto/config.h"

#include <sys/types.h>

struct actor {
    char name[64];
    char via[96];   /* "local uid 0", "192.0.2.7" */
    uint32_t roles; /* enum config_role bits; 0 = nobody */
};

/* false, and roles 0: nobody of ours. */
bool roles_of_uid(const struct config *c, bool dev, uid_t uid, struct actor *out);
bool roles_of_name(const struct config *c, const char *name, const char *peer, struct actor *out);
void roles_text(uint32_t roles, char out[64]);

enum role_approval {
    APPROVAL_NEVER,
    APPROVAL_WHEN_DANGEROUS, /* ctrl/admin/admin.c knows: destroying, widening, slots */
};

struct role_rule {
    const char *command;
    uint32_t roles; /* any of them */
    bool act; /* it changes something, or gives something out: into the admin log before it is answered */
    enum role_approval approval;
};

/* What is not in the table is an act of key officers. */
const struct role_rule *role_rule(const char *command);

bool MUST_USE roles_allow(const struct role_rule *rule, const struct actor *who, struct refusal *why);

#endif
