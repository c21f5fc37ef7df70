/* What the files of this room share; nobody outside it includes this.
 *
 * admin.c: the table of commands, and how one line is answered.  Each other file has the commands of one subject; admin.c's
 * table names them all. */
#ifndef CTRL_ADMIN_CALL_H
#define CTRL_ADMIN_CALL_H

#include "ctrl/admin/admin.h"

#include <string.h>

/* One command: what it needs of the request, what it puts into the reply. */
struct call {
    struct daemon *d;
    const struct actor *who;
    const json_t *request;
    json_t *reply;
    struct refusal why;
    bool changed;           /* committed: wait for the dataplane */
    bool must_be_acked;     /* it took something away */
    bool dry;               /* nothing is changed: what would be is told */
    struct admin_wait wait; /* what it waits for besides */
    bool pending;           /* it waits for signatures */
};

/* ---- of the request; false or NULL: c->why ---- */

const char *call_text(struct call *c, const char *name);
/* NULL: not given. */
bool call_text_if(struct call *c, const char *name, const char **out);
bool call_number(struct call *c, const char *name, int64_t fallback, int64_t min, int64_t max, int64_t *out);
bool call_hex(struct call *c, const char *name, uint8_t *out, size_t cap, size_t *len);

/* ---- for the reply; the caller owns what is returned ---- */

json_t *time_json(int64_t unix_s);
json_t *when_json(int64_t unix_s); /* null for 0: never */
json_t *hex_json(const uint8_t *p, size_t len);
json_t *refusal_json(const struct refusal *why, enum admin_exit code);
json_t *key_json(const struct daemon *d, const struct key_record *r);
json_t *all_asked_json(const struct daemon *d); /* who still asks for keys that are disabled or doomed */
json_t *admin_backup_json(const struct daemon *d);
json_t *admin_root_status(const struct daemon *d); /* {online, offline, enough, problem} */

/* Something is wrong with backups that an operator should know. */
bool admin_backup_degraded(const struct daemon *d);

const char *access_reason_name(uint32_t bit);

/* ---- approvals ---- */

/* What a change would do, in words that approvers sign.  Filled in while a dry run holds what would be. */
struct danger {
    bool is;
    char means[2048];
    bool has_key;
    uint8_t key_id[KEY_ID_LEN];
};

/* Tries the change without making it.  false: it would be refused anyway, c->why. */
bool find_danger(struct call *c, bool (*command)(struct call *c), const struct role_rule *rule,
                 struct danger *out);

/* Instead of doing it; does it where there are signatures enough, and the answer may be secret: the one who asked says it again. */
bool approval_ask_for(struct call *c, const struct danger *danger, bool (*command)(struct call *c));

/* What was asked for is about what is there now: its key was not changed since. */
bool approval_still_holds(struct call *c, const struct approval *p);

/* As the one who asked, once; in admin.c, which knows the commands. */
bool approval_carry_out(struct call *c, const struct approval *p);

/* ---- the commands ---- */

bool do_approval_list(struct call *c);
bool do_approval_show(struct call *c);
bool do_approval_submit(struct call *c);
bool do_approval_withdraw(struct call *c);
bool do_audit_acts(struct call *c);
bool do_audit_tail(struct call *c);
bool do_backup_adopt(struct call *c);
bool do_backup_list(struct call *c);
bool do_backup_run(struct call *c);
bool do_backup_status(struct call *c);
bool do_cert_list(struct call *c);
bool do_dataplane_stats(struct call *c);
bool do_dev_token(struct call *c);
bool do_drill(struct call *c);
bool do_drill_offline_root(struct call *c);
bool do_drill_prove(struct call *c);
bool do_init(struct call *c);
bool do_key_create(struct call *c);
bool do_key_destroy(struct call *c);
bool do_key_disable(struct call *c);
bool do_key_enable(struct call *c);
bool do_key_import(struct call *c);
bool do_key_import_key(struct call *c);
bool do_key_list(struct call *c);
bool do_key_restore(struct call *c);
bool do_key_rotate(struct call *c);
bool do_key_show(struct call *c);
bool do_policy_set(struct call *c);
bool do_policy_show(struct call *c);
bool do_reload(struct call *c);
bool do_root_rotate(struct call *c);
bool do_root_slots_add(struct call *c);
bool do_root_slots_list(struct call *c);
bool do_root_slots_remove(struct call *c);
bool do_root_slots_rotate(struct call *c);
bool do_root_slots_verify(struct call *c);
bool do_status(struct call *c);
bool do_store_compact(struct call *c);
bool do_upgrade_commit(struct call *c);
bool do_upgrade_status(struct call *c);

#endif
