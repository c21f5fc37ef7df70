#include "ctrl/root/root.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "ctrl/root/root_pin.h"
#include "drivers/seal/secret_file.h"

#include <limits.h>
#include <stdio.h>

#define SHARES_FILE_MAX (64 * 1024)
#define ERR_MAX         560

_Static_assert(STORE_SLOT_MAX == SEAL_SLOT_MAX, "the store keeps every slot whole");

/* One slot being opened. */
struct opening {
    struct mbed_rng *rng;
    uint16_t shard;
    const struct root_sources *from;
    struct span slot;
    struct seal_slot_info info;
    uint8_t *srk;
    struct refusal *why;
};

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static bool slot_refuse(const struct opening *o, const char *code, const char *next, const char *what)
{
    return refuse(o->why, code, next, "slot %u (%s): %s", o->info.number, seal_kind_text(o->info.kind), what);
}

static bool not_tried(const struct opening *o, const char *what, const char *next)
{
    return slot_refuse(o, "slot_not_tried", next, what);
}

/* What every kind has in common. */
static bool status_refuse(const struct opening *o, enum seal_status status)
{
    static const char *const next[] = {
        [SEAL_CORRUPT] = "open the store through another slot, or restore it from a backup",
        [SEAL_UNKNOWN_KIND] = "start the version of ww-ctrl that made this slot",
        [SEAL_WRONG_SHARD] = "point ctrl.state_dir at this shard's store",
        [SEAL_NO_MEMORY] =
            "give ww-ctrl as much memory as the slot's Argon2id asks for, and raise LimitMEMLOCK",
        [SEAL_WRONG_IDENTITY] = "give the identity of one of the slot's recipients: wwctl root slots list",
    };
    static const char *const codes[] = {
        [SEAL_CORRUPT] = "slot_damaged",          [SEAL_UNKNOWN_KIND] = "slot_unknown",
        [SEAL_WRONG_SHARD] = "slot_wrong_shard",  [SEAL_NO_MEMORY] = "no_memory",
        [SEAL_WRONG_IDENTITY] = "wrong_identity",
    };

    CHECK(status < sizeof codes / sizeof codes[0] && codes[status] != NULL);
    return slot_refuse(o, codes[status], next[status], seal_status_text(status));
}

/* ---- passphrase ---- */

static bool passphrase_read(const char *name, uint8_t **out, size_t *len, struct refusal *why)
{
    char err[ERR_MAX];

    *out = secret_pages_alloc(SEAL_PASSPHRASE_MAX);
    if (*out == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl",
                      "no locked memory for the passphrase");
    if (seal_passphrase_read(name, *out, len, err, sizeof err))
        return true;
    secret_pages_free(*out, SEAL_PASSPHRASE_MAX);
    return refuse(why, "no_passphrase", "", "%s", err);
}

static bool open_passphrase(const struct opening *o)
{
    char text[PATH_MAX + 64];
    uint8_t *passphrase;
    size_t len;

    if (!given(o->from->passphrase_file))
        return not_tried(o, "no passphrase is given", "set seal.passphrase_file");
    if (!passphrase_read(o->from->passphrase_file, &passphrase, &len, o->why))
        return false;
    enum seal_status status = seal_passphrase_open(o->slot, o->shard, span_of(passphrase, len), o->srk);
    secret_pages_free(passphrase, SEAL_PASSPHRASE_MAX);
    if (status == SEAL_OK)
        return true;
    if (status != SEAL_WRONG_PASSPHRASE)
        return status_refuse(o, status);
    snprintf(text, sizeof text, "%s, from %s", seal_status_text(status), o->from->passphrase_file);
    return slot_refuse(
        o, "wrong_passphrase",
        "put the passphrase that this slot was made with into that file, or open another slot; a "
        "passphrase cannot be recovered",
        text);
}

bool root_passphrase_slot(struct mbed_rng *rng, uint8_t number, uint16_t shard, struct seal_cost cost,
                          const char *passphrase_file, const uint8_t *srk, uint8_t out[SEAL_SLOT_LEN],
                          struct refusal *why)
{
    struct opening o = {.info = {.number = number, .kind = SEAL_KIND_PASSPHRASE}, .why = why};
    uint8_t *passphrase;
    size_t len;

    if (!passphrase_read(passphrase_file, &passphrase, &len, why))
        return false;
    enum seal_status status =
        seal_passphrase_create(rng, number, shard, cost, span_of(passphrase, len), srk, out);
    secret_pages_free(passphrase, SEAL_PASSPHRASE_MAX);
    if (status == SEAL_CORRUPT)
        return refuse(why, "bad_config", "see docs/OPERATIONS.md, \"seal\"",
                      "seal.argon2_memory must be %u..%u KiB and seal.argon2_passes 1..%u",
                      SEAL_MEMORY_KIB_MIN, SEAL_MEMORY_KIB_MAX, SEAL_PASSES_MAX);
    return status == SEAL_OK || status_refuse(&o, status);
}

/* ---- age ---- */

static bool open_age(const struct opening *o)
{
    char err[ERR_MAX];

    if (!given(o->from->identity_file))
        return not_tried(o, "no age identity is given", "bring it: ww-ctrl --identity FILE");
    uint8_t *identity = secret_pages_alloc(AGE_KEY_LEN);
    if (identity == NULL)
        return status_refuse(o, SEAL_NO_MEMORY);
    bool read = seal_identity_read(o->from->identity_file, identity, err, sizeof err);
    enum seal_status status = read ? seal_age_open(o->rng, o->slot, o->shard, identity, o->srk) : SEAL_OK;
    secret_pages_free(identity, AGE_KEY_LEN);
    if (!read)
        return slot_refuse(o, "no_identity", "check the file of --identity", err);
    return status == SEAL_OK || status_refuse(o, status);
}

/* ---- paper shares ---- */

/* What stands between characters goes, and comments; each share ends where the next begins. */
static size_t squeeze(uint8_t *text, size_t len)
{
    bool comment = false;
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        uint8_t ch = text[i];

        comment = ch == '#' || (comment && ch != '\n');
        if (comment || ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n' || ch == '-')
            continue;
        text[n++] = ch >= 'A' && ch <= 'Z' ? (uint8_t)(ch + ('a' - 'A')) : ch;
    }
    return n;
}

static bool share_refuse(const char *name, size_t number, enum shamir_status status, struct refusal *why)
{
    return refuse(
        why, "no_shares",
        "each share is wwshare1 and 90 more characters, as it was printed; compare it with the paper",
        "%s: share %zu in it: %s", name, number, shamir_status_text(status));
}

static bool shares_parse(const char *name, struct span text, struct shamir_share *shares, size_t *count,
                         struct refusal *why)
{
    static const char begins[] = "wwshare1"; /* 1 is no letter of what follows it */

    for (*count = 0; text.len != 0; *count += 1) {
        const uint8_t *next =
            text.len < sizeof begins ? NULL : memmem(text.ptr + 1, text.len - 1, begins, sizeof begins - 1);
        size_t len = next == NULL ? text.len : (size_t)(next - text.ptr);

        if (*count == SHAMIR_SHARES_MAX)
            return refuse(why, "no_shares", "put the shares of one set into it",
                          "%s holds more than %d shares", name, SHAMIR_SHARES_MAX);
        enum shamir_status status = shamir_parse(span_of(text.ptr, len), &shares[*count]);
        if (status != SHAMIR_OK)
            return share_refuse(name, *count + 1, status, why);
        text = span_from(text, len);
    }
    return *count != 0 ||
           refuse(why, "no_shares", "put the shares into it, one after the other", "%s holds no share", name);
}

bool root_shares_read(const char *name, struct shamir_share *shares, size_t *count, struct refusal *why)
{
    static const struct secret_file file = {"paper shares", "the shares' path"};
    uint8_t *text = secret_pages_alloc(SHARES_FILE_MAX);
    char path[1024], err[ERR_MAX];
    size_t len;

    if (text == NULL)
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl", "no locked memory for the shares");
    bool ok = secret_file_read(name, &file, text, SHARES_FILE_MAX, &len, path, sizeof path, err, sizeof err);
    if (ok)
        ok = shares_parse(path, span_of(text, squeeze(text, len)), shares, count, why);
    else
        refuse(why, "no_shares", "", "%s", err);
    secret_pages_free(text, SHARES_FILE_MAX);
    return ok;
}

static bool shares_refuse(const struct opening *o, const struct shamir_share *shares, size_t given_count,
                          enum shamir_status cause, size_t at)
{
    char text[256];

    switch (cause) {
    case SHAMIR_TOO_FEW:
        snprintf(text, sizeof text, "%zu of its shares are given, it takes %u", given_count,
                 o->info.threshold);
        break;
    case SHAMIR_OTHER_SET:
        snprintf(text, sizeof text, "the share given as number %zu is of another set (%02x%02x..., index %u)",
                 at + 1, shares[at].set[0], shares[at].set[1], shares[at].index);
        break;
    case SHAMIR_TWICE:
        snprintf(text, sizeof text, "share %u is given twice", shares[at].index);
        break;
    default:
        snprintf(text, sizeof text, "the shares do not open it: %s", shamir_status_text(cause));
    }
    return slot_refuse(o, "wrong_shares",
                       "wwctl root slots list tells the set, which is printed on each share", text);
}

static bool open_shares_with(const struct opening *o, struct shamir_share *shares)
{
    enum shamir_status cause = SHAMIR_OK;
    size_t count, at = 0;

    if (!root_shares_read(o->from->shares_file, shares, &count, o->why))
        return false;
    enum seal_status status = seal_shares_open(o->rng, o->slot, o->shard, shares, count, o->srk, &cause, &at);
    if (status == SEAL_WRONG_SHARES)
        return shares_refuse(o, shares, count, cause, at);
    return status == SEAL_OK || status_refuse(o, status);
}

static bool open_shares(const struct opening *o)
{
    size_t room = SHAMIR_SHARES_MAX * sizeof(struct shamir_share);

    if (!given(o->from->shares_file))
        return not_tried(o, "no paper shares are given", "bring them: ww-ctrl --shares FILE");
    struct shamir_share *shares = secret_pages_alloc(room);
    if (shares == NULL)
        return status_refuse(o, SEAL_NO_MEMORY);
    bool ok = open_shares_with(o, shares);
    secret_pages_free(shares, room);
    return ok;
}

/* ---- devices ---- */

static bool pin_refused_before(const struct opening *o, const struct root_pin *p)
{
    char file[PATH_MAX], next[PATH_MAX + 384];

    root_pin_file(p, file, sizeof file);
    snprintf(next, sizeof next, "put the right PIN into %s, then remove %s", o->info.pin, file);
    return slot_refuse(
        o, "wrong_pin", next,
        "the token refused this PIN before; it is not tried again, so that the token does not lock");
}

static bool open_device(const struct opening *o)
{
    struct root_pin pin = {given(o->from->pin_prefix) ? o->from->pin_prefix : NULL, o->slot, &o->info};
    bool remembers = pin.prefix != NULL && o->info.kind == SEAL_KIND_PKCS11;
    char err[ERR_MAX];

    if (!given(o->from->device.program))
        return not_tried(o, "no program to ask devices with is given", "set seal.device_program to ww-seal");
    if (remembers && !o->from->pin_again && root_pin_was_refused(&pin))
        return pin_refused_before(o, &pin);
    enum seal_status status = seal_device_open(&o->from->device, o->slot, o->shard, o->srk, err, sizeof err);
    if (remembers && status == SEAL_BAD_PIN)
        root_pin_remember(&pin);
    if (remembers && status == SEAL_OK)
        root_pin_forget(&pin);
    if (status == SEAL_BAD_PIN)
        return slot_refuse(o, "wrong_pin", "mend the PIN; the same one is not tried a second time", err);
    if (status == SEAL_DEVICE)
        return slot_refuse(o, "device", "mend that, or open another slot", err);
    return status == SEAL_OK || status_refuse(o, status);
}

/* ---- any kind ---- */

bool root_slot_open(struct mbed_rng *rng, uint16_t shard, const struct root_sources *from, struct span slot,
                    uint8_t number, uint8_t *srk, struct refusal *why)
{
    struct opening o = {.rng = rng, .shard = shard, .from = from, .slot = slot, .srk = srk, .why = why};

    secret_wipe(srk, SEAL_SRK_LEN);
    enum seal_status status = seal_slot_info(slot, &o.info);
    o.info.number = status == SEAL_OK ? o.info.number : number;
    if (status != SEAL_OK)
        return status_refuse(&o, status);
    if (o.info.number != number)
        return slot_refuse(&o, "slot_damaged",
                           "open the store through another slot, or restore it from a backup",
                           "it stands in the place of another slot");
    switch (o.info.kind) {
    case SEAL_KIND_PASSPHRASE:
        return open_passphrase(&o);
    case SEAL_KIND_AGE:
        return open_age(&o);
    case SEAL_KIND_SHARES:
        return open_shares(&o);
    default:
        return open_device(&o);
    }
}

/* The first refusal of a slot that was tried is the one to tell; where none was, the first of all. */
struct refusals {
    size_t slots, tried;
    struct refusal first;
};

static void refusals_note(struct refusals *r, const struct refusal *why)
{
    bool tried = strcmp(why->code, "slot_not_tried") != 0;

    if (r->slots == 0 || (tried && r->tried == 0))
        r->first = *why;
    r->slots += 1;
    r->tried += tried ? 1 : 0;
    if (tried)
        log_warn("a root slot does not open", F("code", why->code), F("why", why->text),
                 F("next", why->next));
    else
        log_info("a root slot is passed over", F("why", why->text));
}

static bool open_one(struct store *s, struct mbed_rng *rng, const struct root_options *o, uint8_t number,
                     struct span slot, uint8_t *srk, struct refusal *why)
{
    if (!root_slot_open(rng, o->shard, &o->from, slot, number, srk, why))
        return false;
    if (store_is_root(s, srk))
        return true;
    secret_wipe(srk, SEAL_SRK_LEN);
    return refuse(why, "slot_wrong_root",
                  "keep the file as it is, find out who wrote to it, and open it through another slot",
                  "slot %u opens, but to a root key that is not this store's: somebody put it there", number);
}

/* false with r->slots == 0: there is none. */
static bool open_any_slot(struct store *s, struct mbed_rng *rng, const struct root_options *o, uint8_t *srk,
                          uint8_t *number, struct refusals *r)
{
    uint8_t slot[STORE_SLOT_MAX];

    for (*number = 0; *number < STORE_SLOTS_MAX; *number += 1) {
        size_t len = store_slot_get(s, *number, slot);
        struct refusal why;

        if (len == 0)
            continue;
        if (open_one(s, rng, o, *number, span_of(slot, len), srk, &why)) {
            log_info("root key opened", F("slot", (unsigned)*number), F("kind", seal_kind_text(slot[1])));
            return true;
        }
        refusals_note(r, &why);
    }
    return false;
}

static bool none_opens(const struct refusals *r, struct refusal *why)
{
    if (r->slots == 1) {
        *why = r->first;
        return false;
    }
    return refuse(why, r->tried == 1 ? r->first.code : "no_slot_opens", r->first.next,
                  "none of the %zu root slots opens; %zu could be tried; first: %.480s", r->slots, r->tried,
                  r->first.text);
}

static bool make_first_slot(struct store *s, struct mbed_rng *rng, const struct root_options *o, uint8_t *srk,
                            struct refusal *why)
{
    uint8_t slot[SEAL_SLOT_LEN];

    if (!given(o->from.passphrase_file))
        return refuse(why, "no_passphrase",
                      "set seal.passphrase_file; its slot can be removed once there are others",
                      "a new store begins with a passphrase slot, and seal.passphrase_file is not set");
    mbed_random(rng, srk, SEAL_SRK_LEN);
    if (!root_passphrase_slot(rng, 0, o->shard, o->cost, o->from.passphrase_file, srk, slot, why))
        return false;
    log_info("root key made", F("slot", 0), F("kind", "passphrase"),
             F("argon2_memory_kib", o->cost.memory_kib), F("argon2_passes", o->cost.passes));
    return store_slot_put(s, 0, span_of(slot, sizeof slot), why);
}

bool root_open(struct store *s, struct mbed_rng *rng, const struct root_options *o, uint8_t *srk,
               uint8_t *number, struct refusal *why)
{
    struct refusals r = {0};

    if (open_any_slot(s, rng, o, srk, number, &r))
        return true;
    if (r.slots != 0)
        return none_opens(&r, why);
    if (!o->may_create || !store_is_new(s))
        return refuse(why, "no_slot", "restore a backup, or make a new store with ww-ctrl --init",
                      "the store has no slot: its root key cannot be opened");
    *number = 0;
    return make_first_slot(s, rng, o, srk, why);
}
