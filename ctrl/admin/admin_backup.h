/* The operator's view of backups and drills: admin.c's commands "backup ..." and "drill ..." come here. */
#ifndef CTRL_ADMIN_ADMIN_BACKUP_H
#define CTRL_ADMIN_ADMIN_BACKUP_H

#include "ctrl/daemon.h"

#include <jansson.h>

#define ADMIN_BACKUP_WAIT_MS 50000

/* What status and backup status say. */
json_t *admin_backup_json(const struct daemon *d);
/* Something is wrong with them that an operator should know. */
bool admin_backup_degraded(const struct daemon *d);

/* Files of sink (by name; NULL = of all), into reply. */
bool MUST_USE admin_backup_list(const struct daemon *d, const char *sink, json_t *reply, struct refusal *why);
/* The ticket to wait with. sink: NULL = all. */
bool MUST_USE admin_backup_run(struct daemon *d, uint64_t *ticket, struct refusal *why);
/* See backup_adopt. */
bool MUST_USE admin_backup_adopt(struct daemon *d, const char *sink, struct refusal *why);
bool MUST_USE admin_drill_run(struct daemon *d, const char *sink, uint64_t *ticket, struct refusal *why);

/* What waits for a ticket: true once it is over (or timed_out); *ok and *why say how it went. */
bool MUST_USE admin_backup_over(const struct daemon *d, uint64_t ticket, bool timed_out, bool *ok,
                                struct refusal *why);
bool MUST_USE admin_drill_over(const struct daemon *d, uint64_t ticket, bool timed_out, bool *ok,
                               struct refusal *why);

#endif
