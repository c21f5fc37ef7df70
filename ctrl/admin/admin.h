/* The operator's door: one JSON object per line in, one out.  Who is asking is found out by the
 * socket (admin_server.c), what such a one may do by ctrl/operators/roles.h; what is said here is the schema of docs/OPERATIONS.md, "wwctl --json".
 *
 * Request: {"command": "key create", "path": "v0/a/b", ...}.  Reply: {"ok": true, ...} or {"ok": false, "exit": N,
 * "error": {"code", "message", "next"}}.  A change is answered after its commit and, when a dataplane is connected,
 * after its ack, or when ADMIN_WAIT_MS have passed. */
#ifndef CTRL_ADMIN_ADMIN_H
#define CTRL_ADMIN_ADMIN_H

#include "ctrl/daemon.h"

#include <jansson.h>

#define ADMIN_REQUEST_MAX    (512 * 1024)
#define ADMIN_WAIT_MS        3000
#define ADMIN_DURABLE_MS     5000 /* for the sinks that a new version must be in */
#define ADMIN_BACKUP_WAIT_MS 50000

enum admin_exit {
    ADMIN_OK = 0,
    ADMIN_REFUSED = 1,
    ADMIN_USAGE = 2,
    ADMIN_UNREACHABLE = 3,
    ADMIN_PENDING = 4
};

struct refusal;

/* A change that is committed and waits for the sinks, then for the dataplane; or what goes on in the background. */
struct admin_wait {
    json_t *reply; /* NULL = nothing waits */
    /* What is waited for before anything else; NULL = nothing.  true: it is over; *ok and *why say how it went. */
    bool (*over)(const struct daemon *d, uint64_t ticket, bool timed_out, bool *ok, struct refusal *why);
    uint64_t ticket;
    json_t *(*then)(const struct daemon *d); /* "backup" of the reply; NULL = none */
    bool durable;                            /* a version of key_id must be in the sinks that are demanded */
    uint8_t key_id[KEY_ID_LEN];
    uint64_t epoch;
    uint64_t until_ms;
    bool must_be_acked; /* it takes something away: not acked is a failure */
};

/* Handles one request line of who.  The reply, owned by the caller; or NULL, and *wait holds what to wait for. */
json_t *MUST_USE admin_handle(struct daemon *d, const struct actor *who, struct span line, uint64_t now_ms,
                              struct admin_wait *wait);

/* The i-th command's name; NULL: there are no more. */
const char *admin_command(size_t i);

/* The reply once it is due, NULL before; takes wait->reply. */
json_t *MUST_USE admin_wait_over(struct daemon *d, struct admin_wait *wait, uint64_t now_ms);

#endif
