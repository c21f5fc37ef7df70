#include "ctrl/operators/roles.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ANY     ROLES_ALL
#define HANDS   (ROLE_OPERATOR | ROLE_KEY_OFFICER)
#define OFFICER ROLE_KEY_OFFICER
#define WATCH   (ROLE_OPERATOR | ROLE_KEY_OFFICER | ROLE_AUDITOR)

static const struct role_rule rules[] = {
    {"status", ANY, false, APPROVAL_NEVER},
    {"key list", ANY, false, APPROVAL_NEVER},
    {"key show", ANY, false, APPROVAL_NEVER},
    {"policy show", ANY, false, APPROVAL_NEVER},
    {"cert list", ANY, false, APPROVAL_NEVER},
    {"dataplane stats", ANY, false, APPROVAL_NEVER},
    {"audit tail", WATCH, false, APPROVAL_NEVER},
    {"audit acts", WATCH, false, APPROVAL_NEVER},
    {"approval list", ANY, false, APPROVAL_NEVER},
    {"approval show", ANY, false, APPROVAL_NEVER},
    {"approval submit", ANY, true, APPROVAL_NEVER}, /* the signature is what counts */
    {"approval withdraw", ANY, true, APPROVAL_NEVER},
    {"key create", OFFICER, true, APPROVAL_NEVER},
    {"key import", OFFICER, true, APPROVAL_NEVER},
    {"key import-key", OFFICER, true, APPROVAL_NEVER},
    {"key rotate", HANDS, true, APPROVAL_NEVER},
    {"key enable", HANDS, true, APPROVAL_NEVER},
    {"key disable", HANDS, true, APPROVAL_NEVER},
    {"key restore", HANDS, true, APPROVAL_NEVER},
    {"key destroy", OFFICER, true, APPROVAL_WHEN_DANGEROUS},
    {"policy set", OFFICER, true, APPROVAL_WHEN_DANGEROUS},
    {"init", OFFICER, true, APPROVAL_NEVER},
    {"root slots list", WATCH, false, APPROVAL_NEVER},
    {"root slots verify", OFFICER, true, APPROVAL_NEVER},
    {"root slots add", OFFICER, true, APPROVAL_WHEN_DANGEROUS},
    {"root slots rotate", OFFICER, true, APPROVAL_WHEN_DANGEROUS},
    {"root slots remove", OFFICER, true, APPROVAL_WHEN_DANGEROUS},
    {"root rotate", OFFICER, true, APPROVAL_WHEN_DANGEROUS},
    {"backup status", ANY, false, APPROVAL_NEVER},
    {"backup list", WATCH, false, APPROVAL_NEVER},
    {"backup run", HANDS, true, APPROVAL_NEVER},
    {"backup now", HANDS, true, APPROVAL_NEVER},
    {"backup adopt", OFFICER, true, APPROVAL_NEVER},
    {"backup verify", HANDS, true, APPROVAL_NEVER},
    {"drill", HANDS, true, APPROVAL_NEVER},
    {"drill offline-root", HANDS, true, APPROVAL_NEVER},
    {"drill prove", HANDS, true, APPROVAL_NEVER},
    {"upgrade status", ANY, false, APPROVAL_NEVER},
    {"upgrade commit", HANDS, true, APPROVAL_NEVER},
    {"store compact", HANDS, true, APPROVAL_NEVER},
    {"reload", ROLE_OPERATOR, true, APPROVAL_NEVER},
    {"dev token", HANDS, true, APPROVAL_NEVER},
};
static const struct role_rule unknown = {"", OFFICER, true, APPROVAL_NEVER};

const struct role_rule *role_rule(const char *command)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (strcmp(rules[i].command, command) == 0)
            return &rules[i];
    }
    return &unknown;
}

static bool is_uid(const struct config_person *p, uid_t uid)
{
    char text[12];

    snprintf(text, sizeof text, "%u", (unsigned)uid);
    return strcmp(p->uid, text) == 0;
}

bool roles_of_uid(const struct config *c, bool dev, uid_t uid, struct actor *out)
{
    *out = (struct actor){{0}, {0}, 0};
    snprintf(out->via, sizeof out->via, "local uid %u", (unsigned)uid);
    snprintf(out->name, sizeof out->name, "%s", uid == 0 ? "root" : uid == geteuid() ? "owner" : "?");
    for (uint16_t i = 0; i < c->admin.person_count; i++) {
        if (!is_uid(&c->admin.people[i], uid))
            continue;
        snprintf(out->name, sizeof out->name, "%s", c->admin.people[i].name);
        out->roles = config_roles(c->admin.people[i].roles);
        return true;
    }
    if (uid == 0 || uid == geteuid())
        out->roles = dev ? ROLES_ALL : ROLES_ALL & ~(uint32_t)ROLE_APPROVER;
    return out->roles != 0;
}

bool roles_of_name(const struct config *c, const char *name, const char *peer, struct actor *out)
{
    *out = (struct actor){{0}, {0}, 0};
    snprintf(out->name, sizeof out->name, "%s", name);
    snprintf(out->via, sizeof out->via, "%s", peer);
    for (uint16_t i = 0; i < c->admin.person_count; i++) {
        if (strcmp(c->admin.people[i].name, name) == 0)
            out->roles = config_roles(c->admin.people[i].roles);
    }
    return out->roles != 0;
}

void roles_text(uint32_t roles, char out[64])
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{ROLE_OPERATOR, "operator"},
                 {ROLE_KEY_OFFICER, "key officer"},
                 {ROLE_AUDITOR, "auditor"},
                 {ROLE_APPROVER, "approver"}};
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((roles & names[i].bit) != 0)
            len += (size_t)snprintf(out + len, 64 - len, "%s%s", len == 0 ? "" : ", ", names[i].name);
    }
}

bool roles_allow(const struct role_rule *rule, const struct actor *who, struct refusal *why)
{
    char has[64], wants[64];

    if ((rule->roles & who->roles) != 0)
        return true;
    roles_text(who->roles, has);
    roles_text(rule->roles, wants);
    return refuse(why, "not_allowed", "ask one who is, or have admin.people of the configuration changed",
                  "%s is %s; this is for: %s", who->name, has[0] == '\0' ? "nothing here" : has, wants);
}
