/* What ww-ctrl is made of, opened in order and closed in reverse; main.c gives it a loop, admin.c acts on it. */
#ifndef CTRL_DAEMON_H
#define CTRL_DAEMON_H

#include "ctrl/operators/admin_log.h"
#include "ctrl/operators/approval.h"
#include "ctrl/audit/audit.h"
#include "ctrl/backup/backup.h"
#include "ctrl/keys/custody.h"
#include "ctrl/trust/dev_issuer.h"
#include "ctrl/backup/drill.h"
#include "ctrl/push.h"
#include "ctrl/root/root_slots.h"
#include "ctrl/audit/tripwire.h"
#include "ctrl/trust/trust.h"
#include "proto/config.h"

#include <limits.h>

#define CTRL_VERSION  "0.1.0"
#define DEV_HOST_NAME "ekm.wirewrap.test"

struct daemon_options {
    const char *config_file;
    bool dev;                                /* development issuer and certificate; a missing store is made */
    bool init;                               /* a missing store is made */
    const char *identity_file, *shares_file; /* offline slots open, too: somebody has brought them; or NULL */
};

/* Of the remote admin listener, since start. */
struct admin_counts {
    uint64_t accepted, handshake_failed, no_certificate, untrusted, expired, no_role, too_many, too_slow,
        denied;
};

struct daemon {
    struct daemon_options options;
    struct config config;
    struct mbed_rng *rng;
    struct custody *custody;
    const struct trust *trust; /* in effect */
    struct push *push;
    struct audit *audit;
    struct tripwire tripwire;
    char root_problem[ROOT_PROBLEM_CAP]; /* what was found of the slots at start; empty: nothing */
    struct admin_log *acts;
    struct approvals *approvals;
    struct admin_counts admin;
    char device_program[PATH_MAX], pin_prefix[CONFIG_TEXT_CAP + 16]; /* see root_sources */
    struct dev_issuer *dev_issuer;                                   /* NULL without --dev */
    struct backup *backup;
    struct drills *drills;
    int64_t started_unix_s, trust_loaded_unix_s;
    uint64_t reloads;
    uint64_t audit_synced_ms, compact_ms;
    char ca_file[2 * CONFIG_TEXT_CAP]; /* --dev: the authority of a certificate made here; else empty */
    void (*progress)(void *ctx);       /* see push_listener */
    void *progress_ctx;
};

/* The configuration read, and nothing touched: for what does not serve.  daemon_close ends it, too. */
bool MUST_USE daemon_configure(struct daemon *d, const struct daemon_options *o, struct refusal *why);
bool MUST_USE daemon_open(struct daemon *d, const struct daemon_options *o, struct refusal *why);
void daemon_close(struct daemon *d);

/* What the root's slots are opened with here; views that live as long as d. */
struct root_sources daemon_root_sources(const struct daemon *d);
struct root_keeper daemon_root_keeper(const struct daemon *d);

/* Whether dangerous changes need signatures: always, but with --dev only where the configuration names approvers. */
bool daemon_needs_approvals(const struct daemon *d);

/* Reads configuration (issuers, audiences, certificate, people), JWKS files and certificate again.  What is bad stays as it
 * was; false: the configuration itself is bad, or the store refused the change.  force: an epoch even when nothing
 * changed, so that the dataplane learns that the sets are fresh. */
bool MUST_USE daemon_reload(struct daemon *d, bool force, struct refusal *why);

/* A new anchor in the store, now; the sinks get a full file after it. */
bool MUST_USE daemon_compact(struct daemon *d, struct refusal *why);

/* What is due at now_ms (monotonic), in steps of about 100 ms. */
void daemon_tick(struct daemon *d, uint64_t now_ms);
/* Backups and drills: a step whenever backup_fd(d->backup) is readable, too. */
void daemon_backup_step(struct daemon *d, uint64_t now_ms);

#endif
