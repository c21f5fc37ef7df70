#include "ctrl/daemon.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "ctrl/lib/file.h"
#include "ctrl/backup/restore.h"
#include "ctrl/backup/sink.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CONFIG_MAX       (256 * 1024)
#define DRAIN_BUDGET     1024
#define DRAINS_PER_TICK  64 /* 65 536 records per ring and tick: 650 000 per second */
#define AUDIT_SYNC_MS    1000
#define DEV_JWKS_FRESH_S 3600
#define DEVICE_MS        30000
#define COMPACT_AGAIN_MS 600000 /* after one that failed, or was done */

/* ---- configuration ---- */

static bool config_load(const char *file, struct config *out, struct refusal *why)
{
    struct config_error err = {0};
    uint8_t *text = malloc(CONFIG_MAX);
    size_t len;

    CHECK(text != NULL);
    bool ok = file_read(file, text, CONFIG_MAX, &len, why);
    if (ok && !config_parse(span_of(text, len), out, &err))
        ok = refuse(why, "bad_config", "see docs/OPERATIONS.md, \"Configuration\"", "%s, line %u: %s", file,
                    err.line, err.text);
    free(text);
    return ok;
}

static struct config_issuer *dev_issuer_config(struct config *c)
{
    for (uint16_t i = 0; i < c->auth.issuer_count; i++) {
        if (strcmp(c->auth.issuers[i].iss, DEV_ISSUER_NAME) == 0)
            return &c->auth.issuers[i];
    }
    return NULL;
}

/* --dev: the development issuer is one of the issuers, whether the file says so or not. */
static bool config_add_dev(struct config *c, struct refusal *why)
{
    struct config_issuer *i = dev_issuer_config(c);

    if (i != NULL)
        return true;
    if (c->auth.issuer_count == ISSUERS_MAX)
        return refuse(why, "bad_config", "take one issuer away, or --dev",
                      "no room for the development issuer");
    i = &c->auth.issuers[c->auth.issuer_count++];
    *i = (struct config_issuer){.jwks_fresh_s = DEV_JWKS_FRESH_S};
    snprintf(i->iss, sizeof i->iss, "%s", DEV_ISSUER_NAME);
    int n = snprintf(i->jwks_file, sizeof i->jwks_file, "%s/dev-issuer.jwks.json", c->ctrl.state_dir);
    return (n > 0 && (size_t)n < sizeof i->jwks_file) ||
           refuse(why, "bad_config", "choose a shorter ctrl.state_dir", "ctrl.state_dir is too long");
}

static bool config_take(struct daemon *d, struct config *out, struct refusal *why)
{
    return config_load(d->options.config_file, out, why) && (!d->options.dev || config_add_dev(out, why));
}

/* ---- development conveniences ---- */

static bool dev_certificate(struct daemon *d, struct refusal *why)
{
    const struct config *c = &d->config;
    char copy[CONFIG_TEXT_CAP];

    if (file_exists(c->tls.certificate_file) || file_exists(c->tls.key_file))
        return true;
    snprintf(copy, sizeof copy, "%s", c->tls.certificate_file);
    if (!file_make_dir(dirname(copy), why))
        return false;
    snprintf(d->ca_file, sizeof d->ca_file, "%s/dev-ca.pem", c->ctrl.state_dir);
    log_info("development certificate made", F("host", DEV_HOST_NAME), F("file", c->tls.certificate_file),
             F("authority", d->ca_file));
    return certificate_make_dev(d->rng, DEV_HOST_NAME, c->tls.certificate_file, c->tls.key_file, d->ca_file,
                                (int64_t)time(NULL), why);
}

/* A passphrase that nobody chose, for a store that is not there yet. */
static bool dev_passphrase(struct daemon *d, const char *store_file, struct refusal *why)
{
    const char *file = d->config.seal.passphrase_file;
    uint8_t random[24];
    char text[2 * sizeof random + 2];

    if (file[0] != '/' || file_exists(file) || file_exists(store_file))
        return true;
    mbed_random(d->rng, random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(text + 2 * i, 3, "%02x", random[i]);
    text[2 * sizeof random] = '\n';
    text[2 * sizeof random + 1] = '\0';
    log_info("development passphrase made", F("file", file));
    bool ok = file_write(file, span_str(text), why);
    secret_wipe(random, sizeof random);
    secret_wipe(text, sizeof text);
    return ok;
}

static bool open_dev(struct daemon *d, struct refusal *why)
{
    if (!d->options.dev)
        return true;
    d->dev_issuer =
        dev_issuer_open(d->config.ctrl.state_dir, dev_issuer_config(&d->config)->jwks_file, d->rng, why);
    return d->dev_issuer != NULL && dev_certificate(d, why);
}

/* ---- opening ---- */

/* Beside the program that is running, unless the configuration says where. */
static void find_device_program(struct daemon *d)
{
    char self[PATH_MAX] = "";
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    if (d->config.seal.device_program[0] != '\0')
        snprintf(d->device_program, sizeof d->device_program, "%s", d->config.seal.device_program);
    else if (len > 0 && (size_t)len + sizeof "/ww-seal" < sizeof self)
        snprintf(d->device_program, sizeof d->device_program, "%.*s/ww-seal", PATH_MAX - 16, dirname(self));
}

struct root_sources daemon_root_sources(const struct daemon *d)
{
    return (struct root_sources){.passphrase_file = d->config.seal.passphrase_file,
                                 .identity_file = d->options.identity_file,
                                 .shares_file = d->options.shares_file,
                                 .device = {d->device_program, DEVICE_MS},
                                 .pin_prefix = d->pin_prefix};
}

struct root_keeper daemon_root_keeper(const struct daemon *d)
{
    return (struct root_keeper){.c = d->custody,
                                .rng = d->rng,
                                .from = daemon_root_sources(d),
                                .cost = {d->config.seal.argon2_memory_kib, d->config.seal.argon2_passes},
                                .now_unix_s = (int64_t)time(NULL),
                                .dev = d->options.dev};
}

/* A full disk must not keep the keys from being served. */
static void settle_slots(struct daemon *d, uint8_t opened)
{
    struct root_keeper k = daemon_root_keeper(d);
    struct refusal why;

    if (!root_slots_settle(&k, opened, d->root_problem, &why))
        log_warn("the root's slots are not vouched for yet; the next start tries it again",
                 F("why", why.text));
    k.dev = false;
    if (!root_slots_suffice(&k, &why))
        log_warn(d->options.dev ? "DEVELOPMENT MODE: with so few root slots keys get lost"
                                : "too few root slots: no key is made before there are more",
                 F("why", why.text), F("next", why.next));
}

static bool sinks_are_demanded(const struct config *c)
{
    bool demanded = c->backup.required != 0;

    for (uint16_t i = 0; i < c->backup.sink_count; i++)
        demanded |= c->backup.sinks[i].required;
    return demanded;
}

static bool is_durable(void *ctx, uint64_t epoch)
{
    const struct daemon *d = ctx;

    return d->backup != NULL ? backup_durable(d->backup, epoch) : !sinks_are_demanded(&d->config);
}

static bool unlock(struct daemon *d, struct store *s, struct refusal *why)
{
    const struct config *c = &d->config;
    struct root_options o = {.shard = CTRL_SHARD,
                             .from = daemon_root_sources(d),
                             .cost = {c->seal.argon2_memory_kib, c->seal.argon2_passes},
                             .may_create = d->options.dev || d->options.init};
    uint8_t *srk = secret_pages_alloc(SEAL_SRK_LEN), number;

    if (srk == NULL) {
        store_close(s);
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl", "no locked memory for the root key");
    }
    bool ok = root_open(s, d->rng, &o, srk, &number, why);
    if (ok)
        d->custody = custody_open_gated(s, d->rng, srk, (struct custody_gate){d, is_durable}, why);
    else
        store_close(s);
    if (d->custody != NULL)
        settle_slots(d, number);
    secret_pages_free(srk, SEAL_SRK_LEN);
    return d->custody != NULL;
}

static bool open_keys(struct daemon *d, struct refusal *why)
{
    char file[CONFIG_TEXT_CAP + 16];

    snprintf(file, sizeof file, "%s/store.db", d->config.ctrl.state_dir);
    if (!file_make_dir(d->config.ctrl.state_dir, why) || (d->options.dev && !dev_passphrase(d, file, why)))
        return false;
    struct store *s = store_open(file, CTRL_SHARD, d->options.dev || d->options.init, d->rng, why);
    if (s == NULL || !unlock(d, s, why))
        return false;
    custody_destroy_enabled(d->custody, !d->config.ctrl.disable_before_destroy);
    log_info("store open", F("file", file), F("sqlite", store_sqlite_version()),
             F("epoch", custody_epoch(d->custody)), F("keys", registry_count(custody_registry(d->custody))));
    return true;
}

static void on_changed(void *ctx, const struct key_record *r)
{
    struct daemon *d = ctx;

    if (d->push != NULL)
        push_changed(d->push, r);
    if (d->backup != NULL)
        backup_changed(d->backup);
    if (r != NULL)
        tripwire_changed(&d->tripwire, r);
}

static bool reads_before(void *ctx, uint64_t epoch)
{
    const struct daemon *d = ctx;

    return push_reads_before(d->push, epoch);
}

static bool on_attached(void *ctx, const struct ctl_hello *hello, const int *fds)
{
    struct daemon *d = ctx;

    return audit_attach(d->audit, hello, fds);
}

static void on_progress(void *ctx)
{
    struct daemon *d = ctx;

    if (d->progress != NULL)
        d->progress(d->progress_ctx);
}

static bool open_trust(struct daemon *d, struct refusal *why)
{
    d->trust_loaded_unix_s = (int64_t)time(NULL);
    d->trust = trust_load(&d->config, NULL, d->trust_loaded_unix_s);
    /* A full disk must not keep the keys from being served. */
    if (!custody_note_trust(d->custody, d->trust->digest, false, why))
        log_warn("the trust material in effect is not noted in the store", F("why", why->text));
    return true;
}

static bool open_push(struct daemon *d, struct refusal *why)
{
    d->push = push_new(d->custody, &d->trust,
                       (struct push_listener){.ctx = d, .attached = on_attached, .progress = on_progress});
    if (d->push == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl",
                      "no locked memory for the push buffer");
    custody_listen(d->custody, (struct custody_listener){d, on_changed, reads_before});
    return true;
}

static void on_written(void *ctx, const struct audit_record *r)
{
    struct daemon *d = ctx;

    if (r->verdict < REASON_COUNT)
        tripwire_note(&d->tripwire, r, reason_name(r->verdict));
}

static void on_replayed(void *ctx, const struct audit_entry *e)
{
    struct daemon *d = ctx;

    if (e->kind == AUDIT_RECORD)
        tripwire_note(&d->tripwire, &e->record, e->verdict);
}

/* What was asked for before ctrl was restarted; what serves by now is left out. */
static void tripwire_replay(struct daemon *d)
{
    const struct registry *g = custody_registry(d->custody);

    audit_tail(d->audit, TRIPWIRE_REPLAY, on_replayed, d);
    for (size_t i = 0; d->tripwire.count != 0 && i < registry_count(g); i++)
        tripwire_changed(&d->tripwire, registry_at(g, i));
    audit_listen(d->audit, on_written, d);
}

static bool open_audit(struct daemon *d, struct refusal *why)
{
    if (!file_make_dir(d->config.ctrl.audit_dir, why))
        return false;
    d->audit = audit_open(d->config.ctrl.audit_dir, AUDIT_SEGMENT_MAX, why);
    if (d->audit != NULL)
        tripwire_replay(d);
    return d->audit != NULL;
}

bool daemon_needs_approvals(const struct daemon *d)
{
    uint32_t roles = 0;

    for (uint16_t i = 0; i < d->config.admin.person_count; i++)
        roles |= config_roles(d->config.admin.people[i].roles);
    return !d->options.dev || (roles & ROLE_APPROVER) != 0;
}

static bool open_admin(struct daemon *d, struct refusal *why)
{
    d->acts = admin_log_open(d->config.ctrl.audit_dir, why);
    d->approvals = d->acts == NULL ? NULL : approvals_open(d->config.ctrl.state_dir, d->rng, why);
    if (!daemon_needs_approvals(d))
        log_warn("--dev: whoever is root destroys keys and widens policies alone; no approval is asked for");
    return d->approvals != NULL;
}

/* ---- backups ---- */

static void on_durable(void *ctx)
{
    struct daemon *d = ctx;

    custody_durable(d->custody);
    on_progress(d);
}

/* Only its public half is kept. */
static bool drill_recipient(const struct daemon *d, struct age_recipient *out, struct refusal *why)
{
    uint8_t *identity = secret_pages_alloc(AGE_KEY_LEN);

    if (identity == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl", "no locked memory for an identity");
    bool ok = restore_identity_read(d->config.backup.drill_identity_file, identity, why);
    if (ok)
        *out = age_recipient_of(d->rng, identity);
    secret_pages_free(identity, AGE_KEY_LEN);
    return ok;
}

static bool open_backup(struct daemon *d, struct refusal *why)
{
    struct age_recipient drill;
    bool drills = d->config.backup.drill_identity_file[0] != '\0';
    struct backup_setup setup = {.config = &d->config,
                                 .store = custody_store(d->custody),
                                 .rng = d->rng,
                                 .fetch_program = sink_program(),
                                 .drill = drills ? &drill : NULL,
                                 .ctx = d,
                                 .durable = on_durable};

    if (drills && !drill_recipient(d, &drill, why))
        return false;
    d->backup = backup_open(&setup, why);
    if (d->backup == NULL)
        return false;
    if (d->config.backup.sink_count == 0 && !d->options.dev)
        log_warn("NO BACKUP IS CONFIGURED: when this disk is lost, every key is lost",
                 F("next", "name at least two sinks in backup.sinks"));
    d->drills = drills_new(&(struct drill_setup){.config = &d->config,
                                                 .config_file = d->options.config_file,
                                                 .rng = d->rng,
                                                 .custody = d->custody,
                                                 .epoll_fd = backup_fd(d->backup)});
    return true;
}

void daemon_backup_step(struct daemon *d, uint64_t now_ms)
{
    int64_t unix_s = (int64_t)time(NULL);

    backup_step(d->backup, now_ms, unix_s);
    drills_step(d->drills, now_ms, unix_s);
}

bool daemon_configure(struct daemon *d, const struct daemon_options *o, struct refusal *why)
{
    *d = (struct daemon){.options = *o, .started_unix_s = (int64_t)time(NULL)};
    d->rng = mbed_rng_new();
    if (d->rng == NULL)
        return refuse(why, "no_entropy", "check getrandom(2)", "the random generator could not be seeded");
    if (!config_take(d, &d->config, why))
        return false;
    snprintf(d->pin_prefix, sizeof d->pin_prefix, "%s/pin-refused-", d->config.ctrl.state_dir);
    find_device_program(d);
    return true;
}

bool daemon_open(struct daemon *d, const struct daemon_options *o, struct refusal *why)
{
    return daemon_configure(d, o, why) && open_keys(d, why) && open_dev(d, why) && open_trust(d, why) &&
           open_audit(d, why) && open_admin(d, why) && open_push(d, why) && open_backup(d, why);
}

void daemon_close(struct daemon *d)
{
    drills_free(d->drills);
    backup_close(d->backup);
    push_free(d->push);
    audit_close(d->audit);
    approvals_close(d->approvals);
    admin_log_close(d->acts);
    trust_unref(d->trust);
    dev_issuer_close(d->dev_issuer);
    custody_close(d->custody);
    mbed_rng_free(d->rng);
    *d = (struct daemon){0};
}

/* ---- running ---- */

bool daemon_reload(struct daemon *d, bool force, struct refusal *why)
{
    struct config *c = malloc(sizeof *c);

    CHECK(c != NULL);
    bool ok = config_take(d, c, why);
    if (ok) {
        d->config.tls = c->tls;
        d->config.auth = c->auth;
        snprintf(c->admin.listen, sizeof c->admin.listen, "%s", d->config.admin.listen); /* needs a restart */
        d->config.admin = c->admin;
        d->reloads++;
    }
    free(c);
    if (!ok)
        return false;
    const struct trust *before = d->trust;
    d->trust_loaded_unix_s = (int64_t)time(NULL);
    d->trust = trust_load(&d->config, before, d->trust_loaded_unix_s);
    trust_unref(before);
    return custody_note_trust(d->custody, d->trust->digest, force, why);
}

/* A set that is not read again becomes stale, and then unknown kids are answered 503. */
static void refresh_if_due(struct daemon *d)
{
    uint32_t every = trust_refresh_s(d->trust);
    struct refusal why;

    if (every == 0 || (int64_t)time(NULL) - d->trust_loaded_unix_s < every)
        return;
    if (!daemon_reload(d, true, &why)) {
        log_error("refresh failed; what was read last stays", F("why", why.text), F("next", why.next));
        d->trust_loaded_unix_s = (int64_t)time(NULL);
    }
}

bool daemon_compact(struct daemon *d, struct refusal *why)
{
    struct store *s = custody_store(d->custody);
    uint64_t changes = store_epoch(s) - store_base(s);

    if (drills_are_running(d->drills))
        return refuse(why, "backup_running", "repeat it in a moment", "a restore drill is running");
    if (!store_compact(s, why))
        return false;
    log_info("the store's changes were compacted", F("epoch", store_epoch(s)), F("changes", changes));
    (void)backup_full(d->backup);
    return true;
}

static void compact_if_due(struct daemon *d, uint64_t now_ms)
{
    struct refusal why;

    if (now_ms < d->compact_ms || !store_wants_compaction(custody_store(d->custody)) ||
        !backup_may_compact(d->backup) || drills_are_running(d->drills))
        return;
    d->compact_ms = now_ms + COMPACT_AGAIN_MS;
    if (!daemon_compact(d, &why))
        log_error("the store's changes could not be compacted; nothing is lost, and it is tried again",
                  F("code", why.code), F("why", why.text), F("next", why.next));
}

void daemon_tick(struct daemon *d, uint64_t now_ms)
{
    push_tick(d->push, now_ms);
    for (int i = 0; i < DRAINS_PER_TICK && audit_drain(d->audit, DRAIN_BUDGET); i++)
        continue;
    if (now_ms - d->audit_synced_ms >= AUDIT_SYNC_MS) {
        audit_sync(d->audit);
        d->audit_synced_ms = now_ms;
    }
    refresh_if_due(d);
    approvals_expire(d->approvals, (int64_t)time(NULL));
    custody_tick(d->custody);
    compact_if_due(d, now_ms);
    daemon_backup_step(d, now_ms);
}
