#include "ctrl/root/root_slots.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"

#include <stdio.h>
#include <stdlib.h>

#define ERR_MAX 560

/* ---- after a start ---- */

static bool adopt(const struct root_keeper *k, uint8_t opened, struct refusal *why)
{
    struct slots *s = malloc(sizeof *s);

    CHECK(s != NULL);
    slots_read(custody_store(k->c), k->now_unix_s, s);
    s->at[opened].opened_unix_s = k->now_unix_s;
    /* A store that is not kept by slots at all (of a test) has nothing to vouch for. */
    bool ok = s->at[opened].len == 0 || custody_slots_adopt(k->c, s, why);
    free(s);
    return ok;
}

bool root_slots_restored(struct custody *c, int64_t now_unix_s, struct refusal *why)
{
    const struct slots *vouched = custody_slots(c);
    struct slots *s = malloc(sizeof *s);
    bool same = true;

    CHECK(s != NULL);
    slots_read(custody_store(c), now_unix_s, s);
    for (size_t i = 0; i < STORE_SLOTS_MAX; i++) {
        bool kept = span_equal(slot_span(&s->at[i]), slot_span(&vouched->at[i]));

        if (kept)
            s->at[i] = vouched->at[i];
        same = same && kept;
    }
    /* One that vouches for none yet does at its first start. */
    bool ok = same || !vouched->vouched || custody_slots_adopt(c, s, why);
    free(s);
    return ok;
}

static void problem_add(char problem[ROOT_PROBLEM_CAP], uint8_t number, const char *code, const char *what)
{
    size_t len = strlen(problem);

    log_error("the slot table is not what was vouched for", F("code", code), F("slot", (unsigned)number),
              F("why", what), F("next", "find out who wrote to the store; the slot was put back as it was"));
    snprintf(problem + len, ROOT_PROBLEM_CAP - len, "%s%s: slot %u %s", len == 0 ? "" : "; ", code, number,
             what);
}

/* true: slot number is what its row says. */
static bool compare(const struct slot *vouched, struct span table, uint8_t number,
                    char problem[ROOT_PROBLEM_CAP])
{
    if (span_equal(slot_span(vouched), table))
        return true;
    if (table.len == 0)
        problem_add(problem, number, "slot_removed", "was taken out of the file");
    else if (vouched->len == 0)
        problem_add(problem, number, "slot_added", "was put into the file");
    else
        problem_add(problem, number, "slot_altered", "is another than the one that was made");
    return false;
}

/* A slot that nobody had opened before has just opened a start. */
static bool note_opened(const struct root_keeper *k, uint8_t number, struct refusal *why)
{
    struct slot s = custody_slots(k->c)->at[number];

    if (s.len == 0 || s.opened_unix_s != 0)
        return true;
    s.opened_unix_s = k->now_unix_s;
    return custody_slot_put(k->c, number, &s, why);
}

bool root_slots_settle(const struct root_keeper *k, uint8_t opened, char problem[ROOT_PROBLEM_CAP],
                       struct refusal *why)
{
    const struct slots *vouched = custody_slots(k->c);
    struct store *s = custody_store(k->c);
    uint8_t table[STORE_SLOT_MAX];

    problem[0] = '\0';
    if (!vouched->vouched)
        return adopt(k, opened, why);
    for (uint8_t i = 0; i < STORE_SLOTS_MAX; i++) {
        size_t len = store_slot_get(s, i, table);
        struct refusal now;

        /* A full disk must not keep the keys from being served. */
        if (!compare(&vouched->at[i], span_of(table, len), i, problem) &&
            !store_slot_mend(s, i, slot_span(&vouched->at[i]), &now))
            log_warn("a slot is not put back; the next start tries it again", F("why", now.text));
    }
    return note_opened(k, opened, why);
}

/* ---- the root, for one act ---- */

/* Through any slot that counts; srk: locked pages. */
static bool open_root(const struct root_keeper *k, uint8_t *srk, struct refusal *why)
{
    const struct slots *s = custody_slots(k->c);
    struct refusal now, first = {{0}, {0}, {0}};

    for (uint8_t i = 0; i < STORE_SLOTS_MAX; i++) {
        if (s->at[i].len == 0)
            continue;
        if (root_slot_open(k->rng, CTRL_SHARD, &k->from, slot_span(&s->at[i]), i, srk, &now) &&
            store_is_root(custody_store(k->c), srk))
            return true;
        if (first.code[0] == '\0' && strcmp(now.code, "slot_not_tried") != 0)
            first = now;
    }
    secret_wipe(srk, SEAL_SRK_LEN);
    if (first.code[0] != '\0')
        *why = first;
    else
        refuse(why, "no_slot_opens", "give one of them what it is opened with: wwctl root slots list",
               "the root key is needed for this, and no slot opens by itself");
    return false;
}

static bool with_root(const struct root_keeper *k, bool (*act)(void *ctx, uint8_t *srk, struct refusal *why),
                      void *ctx, struct refusal *why)
{
    uint8_t *srk = secret_pages_alloc(SEAL_SRK_LEN);

    if (srk == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl", "no locked memory for the root key");
    bool ok = open_root(k, srk, why) && act(ctx, srk, why);
    secret_pages_free(srk, SEAL_SRK_LEN);
    return ok;
}

/* A slot just made must open to what was put in, or it is worth nothing. */
static bool opens_to(const struct root_keeper *k, const struct slot *s, uint8_t number, const uint8_t *srk,
                     struct refusal *why)
{
    struct root_sources from = k->from;
    uint8_t *again = secret_pages_alloc(SEAL_SRK_LEN);

    if (again == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl", "no locked memory for the root key");
    from.pin_again = true;
    bool ok = root_slot_open(k->rng, CTRL_SHARD, &from, slot_span(s), number, again, why);
    if (ok && !secret_equal(again, srk, SEAL_SRK_LEN))
        ok = refuse(why, "slot_wrong_root", "see wwctl root slots list; make it anew",
                    "slot %u opens, but to another root key", number);
    secret_pages_free(again, SEAL_SRK_LEN);
    return ok;
}

/* ---- making ---- */

static bool device_refuse(enum seal_status status, const char *err, struct refusal *why)
{
    const char *code = status == SEAL_BAD_PIN         ? "wrong_pin"
                       : status == SEAL_BAD_PARAMETER ? "bad_slot"
                       : status == SEAL_NO_MEMORY     ? "no_memory"
                                                      : "device";

    return refuse(why, code, "mend that and repeat the command; nothing was changed", "%s", err);
}

static bool bad_slot(enum seal_status status, struct refusal *why)
{
    return refuse(why, status == SEAL_NO_MEMORY ? "no_memory" : "bad_slot",
                  "age: 1..8 recipients age1...; shares: K/N with 2 <= K <= N <= 16", "%s",
                  seal_status_text(status));
}

static bool make(const struct root_keeper *k, const struct root_new_slot *what, uint8_t number,
                 const uint8_t *srk, struct slot *out, struct shamir_share *shares, struct refusal *why)
{
    struct buf b = {out->record, 0, sizeof out->record};
    char err[ERR_MAX];
    enum seal_status status;

    switch (what->kind) {
    case SEAL_KIND_PASSPHRASE:
        out->len = SEAL_SLOT_LEN;
        return root_passphrase_slot(k->rng, number, CTRL_SHARD, k->cost, what->passphrase_file, srk,
                                    out->record, why);
    case SEAL_KIND_AGE:
        status =
            seal_age_create(k->rng, number, CTRL_SHARD, what->recipients, what->recipient_count, srk, &b);
        break;
    case SEAL_KIND_SHARES:
        status = seal_shares_create(k->rng, number, CTRL_SHARD, what->threshold, what->share_count, srk, &b,
                                    shares);
        break;
    case SEAL_KIND_PKCS11:
        status = seal_pkcs11_create(k->rng, &k->from.device, number, CTRL_SHARD, &what->pkcs11, srk, &b, err,
                                    sizeof err);
        break;
    default:
        status = seal_tpm2_create(k->rng, &k->from.device, number, CTRL_SHARD, &what->tpm2, srk, &b, err,
                                  sizeof err);
    }
    out->len = b.len;
    if (status == SEAL_OK)
        return true;
    return seal_kind_is_offline(what->kind) ? bad_slot(status, why) : device_refuse(status, err, why);
}

struct adding {
    const struct root_keeper *k;
    const struct root_new_slot *what;
    bool dry;
    uint8_t number;
    struct shamir_share *shares;
};

/* What it is opened with once it is there is what it was made with. */
static struct root_keeper opened_as_made(const struct adding *a)
{
    struct root_keeper k = *a->k;

    if (a->what->kind == SEAL_KIND_PASSPHRASE)
        k.from.passphrase_file = a->what->passphrase_file;
    return k;
}

static bool add(void *ctx, uint8_t *srk, struct refusal *why)
{
    const struct adding *a = ctx;
    const struct root_keeper k = opened_as_made(a);
    struct slot s = {.made_unix_s = k.now_unix_s, .sealed_unix_s = k.now_unix_s};

    if (!make(&k, a->what, a->number, srk, &s, a->shares, why))
        return false;
    if (!seal_kind_is_offline(a->what->kind)) {
        if (!opens_to(&k, &s, a->number, srk, why))
            return false;
        s.opened_unix_s = k.now_unix_s;
    } else if (a->what->kind == SEAL_KIND_AGE && k.from.identity_file != NULL) {
        struct refusal not_yet;

        s.opened_unix_s = opens_to(&k, &s, a->number, srk, &not_yet) ? k.now_unix_s : 0;
    }
    return a->dry || custody_slot_put(k.c, a->number, &s, why);
}

bool root_slots_add(const struct root_keeper *k, const struct root_new_slot *what, bool dry, uint8_t *number,
                    struct shamir_share *shares, struct refusal *why)
{
    struct adding a = {k, what, dry, slots_free_number(custody_slots(k->c)), shares};

    *number = a.number;
    if (a.number == STORE_SLOTS_MAX)
        return refuse(why, "slots_full", "take one out: wwctl root slots remove N", "all %d slots are taken",
                      STORE_SLOTS_MAX);
    if (!with_root(k, add, &a, why))
        return false;
    if (!dry)
        log_info("root slot added", F("slot", (unsigned)a.number), F("kind", seal_kind_text(what->kind)),
                 F("epoch", custody_epoch(k->c)));
    return true;
}

/* ---- the others ---- */

static bool slot_there(const struct root_keeper *k, uint8_t number, struct refusal *why)
{
    return (number < STORE_SLOTS_MAX && custody_slots(k->c)->at[number].len != 0) ||
           refuse(why, "no_such_slot", "see wwctl root slots list", "there is no slot %u", number);
}

bool root_slots_verify(const struct root_keeper *k, uint8_t number, struct refusal *why)
{
    struct root_sources from = k->from;
    uint8_t *srk = secret_pages_alloc(SEAL_SRK_LEN);

    if (srk == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl", "no locked memory for the root key");
    from.pin_again = true;
    bool ok = slot_there(k, number, why);
    struct slot s = ok ? custody_slots(k->c)->at[number] : (struct slot){0};
    ok = ok && root_slot_open(k->rng, CTRL_SHARD, &from, slot_span(&s), number, srk, why);
    if (ok && !store_is_root(custody_store(k->c), srk))
        ok = refuse(why, "slot_wrong_root", "take it out: wwctl root slots remove N",
                    "slot %u opens, but to another root key", number);
    secret_pages_free(srk, SEAL_SRK_LEN);
    s.opened_unix_s = k->now_unix_s;
    if (!ok || !custody_slot_put(k->c, number, &s, why))
        return false;
    log_info("root slot verified", F("slot", (unsigned)number), F("epoch", custody_epoch(k->c)));
    return true;
}

/* Whether what is left, with `number` changed to opened or not, is still enough, if it was. */
static bool still_enough(const struct root_keeper *k, uint8_t number, const struct slot *to,
                         struct refusal *why)
{
    struct slots *left = malloc(sizeof *left);
    char missing[64];

    CHECK(left != NULL);
    *left = *custody_slots(k->c);
    left->at[number] = *to;
    struct slots_count after = slots_count(left);
    free(left);
    slots_missing(&after, missing, sizeof missing);
    if (slots_enough(&after) || (k->dev && after.online + after.offline != 0))
        return true;
    return refuse(why, "not_enough_slots", "add another first, and verify it: wwctl root slots add",
                  "without slot %u, %s that were seen to open would be missing (of %u and %u)", number,
                  missing, SLOTS_ONLINE_MIN, SLOTS_OFFLINE_MIN);
}

bool root_slots_remove(const struct root_keeper *k, uint8_t number, bool dry, struct refusal *why)
{
    const struct slot none = {0};

    if (!slot_there(k, number, why))
        return false;
    /* What never opened is no loss. */
    if (custody_slots(k->c)->at[number].opened_unix_s != 0 && !still_enough(k, number, &none, why))
        return false;
    if (dry)
        return true;
    if (!custody_slot_put(k->c, number, &none, why))
        return false;
    log_info("root slot removed", F("slot", (unsigned)number), F("epoch", custody_epoch(k->c)));
    return true;
}

/* ---- sealing anew ---- */

/* The same slot for srk; one that opens by itself is opened. */
static bool reseal(const struct root_keeper *k, uint8_t number, const uint8_t *srk, struct slot *s,
                   struct refusal *why)
{
    uint8_t kind = s->record[1];
    struct buf b = {s->record, 0, sizeof s->record};
    struct span was = slot_span(s);
    char err[ERR_MAX];
    enum seal_status status;

    s->sealed_unix_s = k->now_unix_s;
    if (seal_kind_is_offline(kind)) {
        status = seal_slot_rewrap(k->rng, was, srk, &b);
        s->len = b.len;
        return status == SEAL_OK || bad_slot(status, why);
    }
    if (kind == SEAL_KIND_PASSPHRASE) {
        if (k->from.passphrase_file == NULL || k->from.passphrase_file[0] == '\0')
            return refuse(why, "no_passphrase", "set seal.passphrase_file, or take the slot out first",
                          "slot %u is a passphrase, and none is given", number);
        if (!root_passphrase_slot(k->rng, number, CTRL_SHARD, k->cost, k->from.passphrase_file, srk,
                                  s->record, why))
            return false;
        s->len = SEAL_SLOT_LEN;
    } else {
        status = seal_device_rewrap(k->rng, &k->from.device, was, srk, &b, err, sizeof err);
        s->len = b.len;
        if (status != SEAL_OK)
            return device_refuse(status, err, why);
    }
    s->opened_unix_s = k->now_unix_s;
    return opens_to(k, s, number, srk, why);
}

struct resealing {
    const struct root_keeper *k;
    uint8_t number;
    const char *passphrase_file;
    bool dry;
};

static bool reseal_one(void *ctx, uint8_t *srk, struct refusal *why)
{
    const struct resealing *r = ctx;
    struct root_keeper k = *r->k;
    struct slot s = custody_slots(k.c)->at[r->number];

    if (r->passphrase_file != NULL)
        k.from.passphrase_file = r->passphrase_file;
    return reseal(&k, r->number, srk, &s, why) && (r->dry || custody_slot_put(k.c, r->number, &s, why));
}

bool root_slots_rotate(const struct root_keeper *k, uint8_t number, const char *passphrase_file, bool dry,
                       struct refusal *why)
{
    struct resealing r = {k, number, passphrase_file, dry};

    if (!slot_there(k, number, why))
        return false;
    if (custody_slots(k->c)->at[number].record[1] == SEAL_KIND_SHARES)
        return refuse(why, "bad_slot",
                      "wwctl root slots add --shares K/N, verify it, then wwctl root slots remove N",
                      "slot %u is on paper: a new set of shares is a new slot", number);
    if (!with_root(k, reseal_one, &r, why))
        return false;
    if (!dry)
        log_info("root slot sealed anew", F("slot", (unsigned)number), F("epoch", custody_epoch(k->c)));
    return true;
}

/* A passphrase slot that the given passphrase does not open is another one's: nobody can seal it anew but him. */
static bool is_ours(const struct root_keeper *k, uint8_t number, const struct slot *s, uint8_t *room,
                    struct refusal *why)
{
    return s->record[1] != SEAL_KIND_PASSPHRASE ||
           root_slot_open(k->rng, CTRL_SHARD, &k->from, slot_span(s), number, room, why);
}

static bool reroot(const struct root_keeper *k, struct slots *s, uint8_t *srk, uint8_t *room, bool dry,
                   struct refusal *why)
{
    mbed_random(k->rng, srk, SEAL_SRK_LEN);
    for (uint8_t i = 0; i < STORE_SLOTS_MAX; i++) {
        if (s->at[i].len != 0 && (!is_ours(k, i, &s->at[i], room, why) || !reseal(k, i, srk, &s->at[i], why)))
            return false;
    }
    return dry || custody_reroot(k->c, srk, s, why);
}

bool root_rotate(const struct root_keeper *k, bool dry, struct refusal *why)
{
    struct slots *s = malloc(sizeof *s);
    uint8_t *srk = secret_pages_alloc(2 * SEAL_SRK_LEN);

    CHECK(s != NULL);
    *s = *custody_slots(k->c);
    bool ok = srk != NULL ? reroot(k, s, srk, srk + SEAL_SRK_LEN, dry, why)
                          : refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl",
                                   "no locked memory for the root key");
    secret_pages_free(srk, 2 * SEAL_SRK_LEN);
    free(s);
    if (ok && !dry)
        log_info("root key rotated", F("epoch", custody_epoch(k->c)),
                 F("next", "backups made before are sealed under the root key before: keep what opens them"));
    return ok;
}

bool root_slots_suffice(const struct root_keeper *k, struct refusal *why)
{
    struct slots_count c = slots_count(custody_slots(k->c));
    char missing[64];

    if (slots_enough(&c) || k->dev)
        return true;
    slots_missing(&c, missing, sizeof missing);
    return refuse(
        why, "not_enough_slots",
        "wwctl init leads through it; single steps: wwctl root slots add, wwctl root slots verify N",
        "still missing: %s that were seen to open (it takes %u and %u)", missing, SLOTS_ONLINE_MIN,
        SLOTS_OFFLINE_MIN);
}
