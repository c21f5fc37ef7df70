/* The policy file of a key: who may use it, for which reasons, and how a refusal is answered.
 *
 *     callers: [service-1@gcp-sa-ekms.iam.gserviceaccount.com]
 *     reasons: all                  # or a list, e.g. [CUSTOMER_INITIATED_ACCESS]
 *     allow_missing_reason: true    # default: true with "all", else false
 *     allow_unknown_reason: false   # default: false
 *     deny_status: 403              # or 400
 *
 * YAML or JSON (which is YAML).  Strict: anything not understood is refused with its line and column and the nearest
 * right thing, and nothing is changed.  Schema: docs/OPERATIONS.md. */
#ifndef CTRL_KEYS_POLICY_H
#define CTRL_KEYS_POLICY_H

#include "ctrl/keys/record.h"

#define POLICY_FILE_MAX (128 * 1024)

/* false: code "bad_policy", with the place.  On true the caller frees *out by policy_free. */
bool MUST_USE policy_parse(struct span text, struct policy *out, struct refusal *why);

bool policy_has_caller(const struct policy *p, const char *caller);
/* Somebody or some reason that from allows is refused by to. */
bool policy_takes_away(const struct policy *from, const struct policy *to);

#endif
