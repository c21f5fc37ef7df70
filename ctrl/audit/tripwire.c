#include "ctrl/audit/tripwire.h"

#include "base/log.h"

bool tripwire_is_refusal(const char *verdict)
{
    static const char *const refusals[] = {"ekm_key_gone", "ekm_key_disabled", "ekm_version_disabled",
                                           "ekm_version_gone", "ekm_no_version"};

    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        if (strcmp(verdict, refusals[i]) == 0)
            return true;
    }
    return false;
}

/* A caller is what a stranger claimed: only its printable part is kept. */
static void caller_of(const struct audit_record *r, char out[AUDIT_CALLER_CAP + 1])
{
    size_t len = r->caller_len <= AUDIT_CALLER_CAP ? r->caller_len : AUDIT_CALLER_CAP;

    for (size_t i = 0; i < len; i++)
        out[i] = r->caller[i] >= 0x20 && r->caller[i] < 0x7f ? r->caller[i] : '?';
    memset(out + len, 0, AUDIT_CALLER_CAP + 1 - len);
}

static struct tripwire_entry *find(struct tripwire *t, const struct tripwire_entry *like)
{
    for (size_t i = 0; i < t->count; i++) {
        struct tripwire_entry *e = &t->entries[i];

        if (e->version == like->version && memcmp(e->key_id, like->key_id, KEY_ID_LEN) == 0 &&
            strcmp(e->caller, like->caller) == 0)
            return e;
    }
    return NULL;
}

static struct tripwire_entry *make_room(struct tripwire *t)
{
    struct tripwire_entry *oldest = &t->entries[0];

    if (t->count < TRIPWIRE_ENTRIES_MAX)
        return &t->entries[t->count++];
    for (size_t i = 1; i < t->count; i++) {
        if (t->entries[i].last_unix_us < oldest->last_unix_us)
            oldest = &t->entries[i];
    }
    return oldest;
}

void tripwire_note(struct tripwire *t, const struct audit_record *r, const char *verdict)
{
    struct tripwire_entry like = {.version = r->version};

    if (!tripwire_is_refusal(verdict))
        return;
    memcpy(like.key_id, r->key_id, KEY_ID_LEN);
    caller_of(r, like.caller);
    struct tripwire_entry *e = find(t, &like);
    if (e == NULL) {
        e = make_room(t);
        *e = like;
        log_warn("a key that is off is still asked for", F("caller", like.caller), F("verdict", verdict),
                 F("version", r->version), F("next", "wwctl status names the key and its callers"));
    }
    e->count++;
    if (r->time_unix_us > e->last_unix_us)
        e->last_unix_us = r->time_unix_us;
}

static bool is_off(const struct key_record *r, uint32_t version)
{
    if (r->life.state != KEY_STATE_ENABLED)
        return true;
    if (version == 0) /* a wrap, which the primary would have served */
        version = r->primary;
    return version != 0 && version <= r->version_count &&
           r->versions[version - 1].life.state != KEY_STATE_ENABLED;
}

void tripwire_changed(struct tripwire *t, const struct key_record *r)
{
    for (size_t i = t->count; i-- > 0;) {
        if (memcmp(t->entries[i].key_id, r->id, KEY_ID_LEN) == 0 && !is_off(r, t->entries[i].version))
            t->entries[i] = t->entries[--t->count];
    }
}

/* Entries of one caller, one per version, are one caller. */
static bool is_first_of_caller(const struct tripwire *t, const struct key_record *r, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (memcmp(t->entries[i].key_id, r->id, KEY_ID_LEN) == 0 && is_off(r, t->entries[i].version) &&
            strcmp(t->entries[i].caller, t->entries[at].caller) == 0)
            return false;
    }
    return true;
}

void tripwire_of(const struct tripwire *t, const struct key_record *r, struct tripwire_sum *out,
                 void (*each)(void *ctx, const struct tripwire_entry *e), void *ctx)
{
    *out = (struct tripwire_sum){0};
    for (size_t i = 0; i < t->count; i++) {
        const struct tripwire_entry *e = &t->entries[i];

        if (memcmp(e->key_id, r->id, KEY_ID_LEN) != 0 || !is_off(r, e->version))
            continue;
        out->callers += is_first_of_caller(t, r, i) ? 1 : 0;
        out->count += e->count;
        out->last_unix_us = e->last_unix_us > out->last_unix_us ? e->last_unix_us : out->last_unix_us;
        if (each != NULL)
            each(ctx, e);
    }
}
