/* The admin log: every act of an operator, written and synced before it is done, its outcome before it is answered.
 *
 * AUDIT_DIR/admin.jsonl, one JSON object per line, each with the SHA-256 of the line before: a line that is altered,
 * taken out or put in breaks the chain (docs/WIRE.md 9).  An act whose first line cannot be written is refused. */
#ifndef CTRL_OPERATORS_ADMIN_LOG_H
#define CTRL_OPERATORS_ADMIN_LOG_H

#include "ctrl/operators/roles.h"
#include "drivers/crypto/mbedtls/mbed.h"

#include <jansson.h>

struct admin_log;

/* Cuts a torn last line off: its act was not answered.  NULL: why. */
struct admin_log *MUST_USE admin_log_open(const char *audit_dir, struct refusal *why);
void admin_log_close(struct admin_log *l);

/* The act begins; of the request only what is no secret is kept.  *seq names it.  false: not written, do not act. */
bool MUST_USE admin_log_begin(struct admin_log *l, int64_t unix_s, const struct actor *who,
                              const char *command, const json_t *request, uint64_t epoch, uint64_t *seq,
                              struct refusal *why);
/* How it went: "done", or the code of the refusal.  false: it was done, and this could not be written. */
bool MUST_USE admin_log_end(struct admin_log *l, int64_t unix_s, uint64_t seq, const char *outcome,
                            uint64_t epoch);

/* The last count lines as they stand, oldest first, and whether the chain is whole from the first line on. */
json_t *MUST_USE admin_log_tail(const struct admin_log *l, size_t count, bool *whole, uint64_t *lines);

/* Of the last write; empty = good. */
const char *admin_log_problem(const struct admin_log *l);

#endif
