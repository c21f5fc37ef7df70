/* The EKM API: one request in, one reply out.  Who asks, may they, for this reason, on this key; then the
 * operation.
 *
 *     POST /<key path>:wrap    {plaintext, additionalAuthenticatedData?, additionalContext?} -> {wrappedBlob}
 *     POST /<key path>:unwrap  {wrappedBlob, ...} -> {plaintext}
 *
 * The order of decisions (handle.c), and why.  The first that says no answers.
 *
 *  1. nothing loaded yet                              503: a fault of ours is never a denial
 *  2. who asks: token                                 401, or 503 where our JWKS is too old to judge
 *     Before the path is looked at: a stranger learns nothing of paths, verbs or keys.
 *  3. route: query, no verb, unknown verb             404; GET on a verb 405; a known verb we lack 501
 *  4. key: unknown, destroyed or doomed               404, before 5: a destroyed key is no key, and 403 about
 *     it would make Cloud KMS disable a key version.  That 4 comes before 5 lets a caller with a valid token
 *     tell used paths from unused ones; the status table asks for both, and a path is a name, not a secret.
 *  5. caller not on the key's list                    403 or what the key says.  Before 6 and 7: who is not
 *     allowed learns neither the key's state nor what is wrong with the body.
 *  6. key disabled                                    400 FAILED_PRECONDITION.  Before 8: disabling is
 *     undone by enabling, a 403 is not undone at Cloud KMS.
 *  7. body: content type, JSON, fields, key path      400 INVALID_ARGUMENT naming the field
 *  8. access reason not allowed                       403 or what the key says (the reason is in the body)
 *  9. the operation: version off 400, version gone 404, any failure to open 400 with one text, fault 503
 *
 * Errors are bare google.rpc.Status bodies of static text: no byte of the request is in them.  Every request
 * leaves one audit record: ekm fills it, the caller (dataplane/conn.c) adds the latency and puts it.
 *
 * Sources: docs/WIRE.md; ProtoJSON; RFC 6750, 7519, 8725, 9110. */
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
void ekm_auth_free(struct ekm_auth *a); /* no worker may be left */

/* Housekeeper.  begin, stage, then commit with the epoch that the verdict caches are flushed for, or
 * rollback. full: what the transaction does not name is gone.  In a delta the issuers (with their keys) are
 * replaced when one is staged, and so are the audiences.  stage: 0 or an enum ctl_refusal.  A JWK that cannot
 * be used (weak, not on its curve, a second one of its kid) is left out with a log line, so that one bad
 * entry of a JWKS stops neither the others nor a revocation.
 * The old set is freed by ekm_auth_settle, after a grace period of the workers that began after the commit
 * (keys_settled); the first settle is what ends "nothing loaded yet". */
void ekm_auth_begin(struct ekm_auth *a, bool full);
int MUST_USE ekm_auth_stage_issuer(struct ekm_auth *a, const struct ctl_issuer *m);
int MUST_USE ekm_auth_stage_jwk(struct ekm_auth *a, const struct ctl_jwk *m);
int MUST_USE ekm_auth_stage_audience(struct ekm_auth *a, const struct ctl_audience *m);
void ekm_auth_commit(struct ekm_auth *a, uint64_t epoch);
void ekm_auth_rollback(struct ekm_auth *a);
void ekm_auth_settle(struct ekm_auth *a);

/* NULL when memory cannot be had or locked. */
struct ekm_worker *MUST_USE ekm_worker_new(struct ekm_auth *auth, struct keys_worker *keys,
                                           struct counters *counters);
void ekm_worker_free(struct ekm_worker *w);
/* Once per turn, before keys_quiescent: wipes token verdicts older than the committed epoch. */
void ekm_quiescent(struct ekm_worker *w);

struct ekm_request {
    struct http_request head;
    struct secret_span body; /* complete, de-chunked; decoded in place, so the caller gives it up */
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

/* Handles one complete request: writes head and body of the reply, fills the audit record (all but seq and
 * latency), counts one reason.  The reply's bytes are secret after an unwrap: the caller wipes them.
 * Cost: no syscall, no allocation outside OpenSSL; one signature check when the token is new. */
void ekm_handle(struct ekm_worker *w, struct ekm_request *rq, struct ekm_reply *reply,
                struct audit_record *audit);

/* A refusal made before there is a whole request (framing, size, pool empty): same body shape, same audit,
 * why is counted, and the connection ends.  status: 400, 408, 413, 417, 431, 501, 503 or 505. */
void ekm_refuse(struct ekm_worker *w, uint16_t status, enum reason why, uint64_t now_unix_us,
                struct ekm_reply *reply, struct audit_record *audit);

#endif
