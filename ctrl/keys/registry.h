/* All keys of the shard in memory, found by path and by id: what the store held at start and every change since.
 * Records are immutable (ctrl/keys/record.h); registry_put replaces one by its next version.  Not thread safe. */
#ifndef CTRL_KEYS_REGISTRY_H
#define CTRL_KEYS_REGISTRY_H

#include "ctrl/keys/record.h"

struct registry;

struct registry *MUST_USE registry_new(void);
void registry_free(struct registry *g);

/* Borrowed until the next registry_put of the same key. */
const struct key_record *registry_by_path(const struct registry *g, struct span path);
const struct key_record *registry_by_id(const struct registry *g, const uint8_t id[KEY_ID_LEN]);

/* Takes over the caller's reference. A record of the same id is replaced (same path); otherwise it is new. */
void registry_put(struct registry *g, const struct key_record *r);

/* In no order that outlives the process; idx below registry_count. */
size_t registry_count(const struct registry *g);
const struct key_record *registry_at(const struct registry *g, size_t idx);
/* A record of the registry's own that is not shared yet: while it is being loaded. */
struct key_record *registry_loading(struct registry *g, const uint8_t id[KEY_ID_LEN]);

#endif
