#include "ctrl/admin/admin_root.h"

#include "base/check.h"
#include "base/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char one_version[] = "wwctl and ww-ctrl must be of one version";

/* ---- telling ---- */

static json_t *when_json(int64_t unix_s)
{
    char text[32];
    time_t t = (time_t)unix_s;
    struct tm tm;

    if (unix_s == 0)
        return json_null();
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

static json_t *recipients_json(struct seal_slot_info *info)
{
    char text[AGE_RECIPIENT_TEXT_LEN + 1];
    json_t *list = json_array();

    for (size_t i = 0; i < info->recipient_count; i++) {
        age_recipient_print(&info->recipients[i], text);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

static void set_text(const uint8_t set[SHAMIR_SET_LEN], char out[2 * SHAMIR_SET_LEN + 1])
{
    for (size_t i = 0; i < SHAMIR_SET_LEN; i++)
        snprintf(out + 2 * i, 3, "%02x", set[i]);
}

/* What the slot says of itself, which the store vouches for. */
static void info_into(json_t *j, const struct slot *s)
{
    struct seal_slot_info info;
    char set[2 * SHAMIR_SET_LEN + 1];

    if (seal_slot_info(slot_span(s), &info) != SEAL_OK)
        return;
    if (info.kind == SEAL_KIND_PASSPHRASE)
        json_object_set_new(j, "argon2_memory_kib", json_integer(info.cost.memory_kib));
    if (info.kind == SEAL_KIND_AGE)
        json_object_set_new(j, "recipients", recipients_json(&info));
    if (info.kind == SEAL_KIND_SHARES) {
        set_text(info.set, set);
        json_object_set_new(j, "set", json_string(set));
        json_object_set_new(j, "threshold", json_integer(info.threshold));
        json_object_set_new(j, "shares", json_integer(info.share_count));
        json_object_set_new(j, "recipients", recipients_json(&info));
    }
    if (info.device[0] != '\0')
        json_object_set_new(j, "device", json_string(info.device));
    if (info.pin[0] != '\0')
        json_object_set_new(j, "pin", json_string(info.pin));
}

static json_t *slot_json(const struct slot *s, uint8_t number)
{
    uint8_t kind = s->record[1];
    json_t *j = json_pack("{s:i, s:s, s:b, s:b, s:o, s:o, s:o}", "slot", (int)number, "kind",
                          seal_kind_text(kind), "offline", seal_kind_is_offline(kind), "counts",
                          s->opened_unix_s != 0, "made", when_json(s->made_unix_s), "sealed",
                          when_json(s->sealed_unix_s), "opened", when_json(s->opened_unix_s));

    info_into(j, s);
    return j;
}

json_t *admin_root_status(const struct daemon *d)
{
    struct slots_count c = slots_count(custody_slots(d->custody));

    return json_pack("{s:i, s:i, s:b, s:s}", "online", (int)c.online, "offline", (int)c.offline, "enough",
                     slots_enough(&c), "problem", d->root_problem);
}

static bool tell_slots(struct admin_root *r)
{
    const struct slots *s = custody_slots(r->d->custody);
    struct slots_count c = slots_count(s);
    json_t *list = json_array();
    char missing[64];

    for (uint8_t i = 0; i < STORE_SLOTS_MAX; i++) {
        if (s->at[i].len != 0)
            json_array_append_new(list, slot_json(&s->at[i], i));
    }
    slots_missing(&c, missing, sizeof missing);
    json_object_set_new(r->reply, "slots", list);
    json_object_set_new(r->reply, "root", admin_root_status(r->d));
    json_object_set_new(r->reply, "missing", json_string(slots_enough(&c) ? "" : missing));
    return true;
}

/* After an act on one slot. */
static bool tell_slot(struct admin_root *r, uint8_t number)
{
    const struct slot *s = &custody_slots(r->d->custody)->at[number];

    r->changed = !r->dry;
    json_object_set_new(r->reply, "slot", json_integer(number));
    return tell_slots(r) && (s->len == 0 || json_object_set_new(r->reply, "is", slot_json(s, number)) == 0);
}

/* ---- asking ---- */

/* NULL: not given. false: given, and no text. */
static bool text_of(struct admin_root *r, const char *name, const char **out)
{
    const json_t *v = json_object_get(r->request, name);

    *out = v == NULL ? NULL : json_string_value(v);
    return v == NULL || (*out != NULL && strlen(*out) == json_string_length(v)) ||
           refuse(r->why, "bad_request", one_version, "\"%s\" must be text", name);
}

static bool number_of(struct admin_root *r, uint8_t *out)
{
    const json_t *v = json_object_get(r->request, "slot");
    json_int_t n = json_integer_value(v);

    *out = (uint8_t)n;
    return (json_is_integer(v) && n >= 0 && n < STORE_SLOTS_MAX) ||
           refuse(r->why, "no_such_slot", "see wwctl root slots list", "a slot is 0..%d",
                  STORE_SLOTS_MAX - 1);
}

/* What this one request brings, in place of what ww-ctrl was started with. */
static bool sources_of(struct admin_root *r, struct root_keeper *k)
{
    const char *passphrase, *identity, *shares;

    if (!text_of(r, "passphrase_file", &passphrase) || !text_of(r, "identity_file", &identity) ||
        !text_of(r, "shares_file", &shares))
        return false;
    *k = daemon_root_keeper(r->d);
    k->from.passphrase_file = passphrase != NULL ? passphrase : k->from.passphrase_file;
    k->from.identity_file = identity != NULL ? identity : k->from.identity_file;
    k->from.shares_file = shares != NULL ? shares : k->from.shares_file;
    return true;
}

/* ---- a new slot ---- */

static bool take_recipients(struct admin_root *r, const char *text, struct root_new_slot *out)
{
    struct span left = span_str(text);

    out->kind = SEAL_KIND_AGE;
    while (left.len != 0) {
        const uint8_t *comma = memchr(left.ptr, ',', left.len);
        size_t len = comma == NULL ? left.len : (size_t)(comma - left.ptr);

        if (out->recipient_count == SEAL_SLOT_RECIPIENTS_MAX ||
            age_recipient_parse(r->d->rng, span_of(left.ptr, len), &out->recipients[out->recipient_count]) !=
                AGE_OK)
            return refuse(r->why, "bad_slot",
                          "give what age-keygen prints as the public key, several with commas",
                          "recipient %zu is no age1... key, or is one too many (of %d)",
                          out->recipient_count + 1, SEAL_SLOT_RECIPIENTS_MAX);
        out->recipient_count++;
        left = span_from(left, comma == NULL ? len : len + 1);
    }
    return true;
}

static bool take_shares(struct admin_root *r, const char *text, struct root_new_slot *out)
{
    unsigned k = 0, n = 0;
    int end = 0;

    out->kind = SEAL_KIND_SHARES;
    if (sscanf(text, "%2u/%2u%n", &k, &n, &end) != 2 || text[end] != '\0' || k < 2 || k > n ||
        n > SHAMIR_SHARES_MAX)
        return refuse(r->why, "bad_slot", "such as 2/3: any two of three",
                      "shares are K/N with 2 <= K <= N <= %d", SHAMIR_SHARES_MAX);
    out->threshold = (uint8_t)k;
    out->share_count = (uint8_t)n;
    return true;
}

static bool take_pcrs(struct admin_root *r, const char *text, uint32_t *out)
{
    for (const char *at = text; at != NULL && at[0] != '\0';) {
        char *end;
        unsigned long pcr = strtoul(at, &end, 10);

        if (end == at || pcr > 23 || (*end != '\0' && *end != ','))
            return refuse(r->why, "bad_slot", "such as 7,11", "PCRs are numbers 0..23 with commas, not %.60s",
                          text);
        *out |= 1u << pcr;
        at = *end == ',' ? end + 1 : end;
    }
    return true;
}

static bool take_pkcs11(struct admin_root *r, const char *module, struct root_new_slot *out)
{
    const char *mechanism;
    struct seal_pkcs11 *p = &out->pkcs11;

    out->kind = SEAL_KIND_PKCS11;
    p->module = module;
    if (!text_of(r, "token", &p->token) || !text_of(r, "key", &p->key) || !text_of(r, "pin", &p->pin) ||
        !text_of(r, "mechanism", &mechanism))
        return false;
    if (p->token == NULL || p->key == NULL || p->pin == NULL)
        return refuse(r->why, "bad_slot", "give all three", "a token takes --token, --key and --pin, too");
    p->gcm = mechanism != NULL && strcmp(mechanism, "gcm") == 0;
    return mechanism == NULL || p->gcm || strcmp(mechanism, "wrap") == 0 ||
           refuse(r->why, "bad_slot", "leave it away for wrap", "--mechanism is wrap or gcm");
}

static bool take_new_slot(struct admin_root *r, struct root_new_slot *out)
{
    const char *passphrase, *age, *shares, *module, *tcti, *pcrs;

    *out = (struct root_new_slot){0};
    if (!text_of(r, "new_passphrase_file", &passphrase) || !text_of(r, "age", &age) ||
        !text_of(r, "shares", &shares) || !text_of(r, "module", &module) || !text_of(r, "tcti", &tcti) ||
        !text_of(r, "pcrs", &pcrs))
        return false;
    if ((passphrase != NULL) + (age != NULL) + (shares != NULL) + (module != NULL) + (tcti != NULL) != 1)
        return refuse(r->why, "bad_slot", "see wwctl root slots add --help",
                      "give one of --passphrase-file, --age, --shares, --pkcs11, --tpm2");
    if (age != NULL)
        return take_recipients(r, age, out);
    if (shares != NULL)
        return take_shares(r, shares, out);
    if (module != NULL)
        return take_pkcs11(r, module, out);
    out->kind = tcti != NULL ? SEAL_KIND_TPM2 : SEAL_KIND_PASSPHRASE;
    out->passphrase_file = passphrase;
    out->tpm2.tcti = tcti;
    return take_pcrs(r, pcrs, &out->tpm2.pcrs);
}

static void shares_into(struct admin_root *r, const struct shamir_share *shares, size_t count)
{
    char text[SHAMIR_TEXT_LEN + 1];
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        shamir_print(&shares[i], text);
        json_array_append_new(list, json_string(text));
    }
    secret_wipe(text, sizeof text);
    json_object_set_new(r->reply, "shares", list);
}

/* ---- commands ---- */

static bool slots_add(struct admin_root *r)
{
    size_t room = SHAMIR_SHARES_MAX * sizeof(struct shamir_share);
    struct root_new_slot what;
    struct root_keeper k;
    uint8_t number;

    if (!sources_of(r, &k) || !take_new_slot(r, &what))
        return false;
    struct shamir_share *shares = secret_pages_alloc(room);
    if (shares == NULL)
        return refuse(r->why, "no_memory", "raise LimitMEMLOCK of ww-ctrl", "no locked memory for shares");
    bool ok = root_slots_add(&k, &what, r->dry, &number, shares, r->why);
    if (ok && !r->dry && what.kind == SEAL_KIND_SHARES)
        shares_into(r, shares, what.share_count);
    secret_pages_free(shares, room);
    return ok && tell_slot(r, number);
}

static bool slots_verify(struct admin_root *r)
{
    struct root_keeper k;
    uint8_t number;

    return number_of(r, &number) && sources_of(r, &k) && root_slots_verify(&k, number, r->why) &&
           tell_slot(r, number);
}

static bool slots_rotate(struct admin_root *r)
{
    struct root_keeper k = daemon_root_keeper(r->d);
    const char *passphrase;
    uint8_t number;

    return number_of(r, &number) && text_of(r, "new_passphrase_file", &passphrase) &&
           root_slots_rotate(&k, number, passphrase, r->dry, r->why) && tell_slot(r, number);
}

static bool slots_remove(struct admin_root *r)
{
    struct root_keeper k = daemon_root_keeper(r->d);
    uint8_t number;

    return number_of(r, &number) && root_slots_remove(&k, number, r->dry, r->why) && tell_slot(r, number);
}

static bool rotate(struct admin_root *r)
{
    struct root_keeper k = daemon_root_keeper(r->d);

    if (!root_rotate(&k, r->dry, r->why))
        return false;
    r->changed = !r->dry;
    return tell_slots(r);
}

static bool init(struct admin_root *r)
{
    struct root_keeper k = daemon_root_keeper(r->d);

    return tell_slots(r) && root_slots_suffice(&k, r->why);
}

bool admin_root_run(struct admin_root *r, const char *command)
{
    static const struct {
        const char *name;
        bool (*run)(struct admin_root *r);
    } commands[] = {
        {"init", init},
        {"root rotate", rotate},
        {"root slots list", tell_slots},
        {"root slots add", slots_add},
        {"root slots verify", slots_verify},
        {"root slots rotate", slots_rotate},
        {"root slots remove", slots_remove},
    };

    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, command) == 0)
            return commands[i].run(r);
    }
    CHECK(false);
}
