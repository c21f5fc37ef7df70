/* The EKM API: one request in, one reply out.  Who asks, may they, for this reason, on this key; then the
 * operation.
 *
 *     POST /<key path>:wrap      {plaintext, additionalAuthenticatedData?, additionalContext?}  ->
 * {wrappedBlob} POST /<key path>:unwrap    {wrappedBlob, ...}                                             ->
 * {plaintext}
 *
 * Statuses are the table "What happens when" of docs/ARCHITECTURE.md.  Errors are bare google.rpc.Status
 * bodies.  Authentication comes before the body is looked at.  Every request leaves one audit record.
 *
 * Sources: docs/WIRE.md; ProtoJSON; RFC 7519, 8725. */
#ifndef DATAPLANE_EKM_H
#define DATAPLANE_EKM_H

#include "base/audit_ring.h"
#include "base/counters.h"
#include "base/ctl_wire.h"
#include "base/span.h"
#include "dataplane/keys/keys.h"
#include "proto/http.h"

struct ekm_auth;   /* issuers, JWKS, audiences: published by RCU, shared by all workers */
struct ekm_worker; /* one worker's verdict cache and scratch */

struct ekm_auth *MUST_USE ekm_auth_new(void);
void ekm_auth_free(struct ekm_auth *a);
/* Housekeeper: stage, then commit with the epoch that the verdict caches are flushed for; the old set is
 * freed by ekm_auth_settle after the grace period. */
int MUST_USE ekm_auth_stage_issuer(struct ekm_auth *a, const struct ctl_issuer *m);
int MUST_USE ekm_auth_stage_jwk(struct ekm_auth *a, const struct ctl_jwk *m);
int MUST_USE ekm_auth_stage_audience(struct ekm_auth *a, const struct ctl_audience *m);
void ekm_auth_commit(struct ekm_auth *a, uint64_t epoch);
void ekm_auth_rollback(struct ekm_auth *a);
void ekm_auth_settle(struct ekm_auth *a);

struct ekm_worker *MUST_USE ekm_worker_new(struct ekm_auth *auth, struct keys_worker *keys,
                                           struct counters *counters, struct audit_ring *audit);
void ekm_worker_free(struct ekm_worker *w);
/* Once per turn, before keys_quiescent: drops token verdicts older than the committed epoch. */
void ekm_quiescent(struct ekm_worker *w);

struct ekm_request {
    struct http_request head;
    struct secret_span body; /* complete, de-chunked; base64 is decoded in place, so the caller gives it up */
    uint64_t now_unix_us;
};

/* Where a reply is built: cap >= EKM_REPLY_CAP(body length).  The head is part of it: one buffer, one write.
 */
struct ekm_reply {
    struct buf out;
    uint16_t status;
    bool close; /* the connection ends after it */
};

#define EKM_REPLY_OVERHEAD      1024
#define EKM_REPLY_CAP(body_len) ((body_len) / 3 * 4 + 256 + EKM_REPLY_OVERHEAD)

/* Handles one complete request: writes head and body of the reply, fills the audit record. Cost: no
 * allocation, no syscall. */
void ekm_handle(struct ekm_worker *w, struct ekm_request *rq, struct ekm_reply *reply,
                struct audit_record *audit);

/* A refusal made before there is a whole request (framing, size, pool empty): same body shape, same audit. */
void ekm_refuse(struct ekm_worker *w, uint16_t status, enum reason why, struct ekm_reply *reply,
                struct audit_record *audit);

#endif
