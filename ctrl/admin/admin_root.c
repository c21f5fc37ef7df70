/* The commands about the root key and its slots. */
#include "ctrl/admin/call.h"

#include "base/secret.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- telling ---- */

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

static bool tell_slots(struct call *c)
{
    const struct slots *s = custody_slots(c->d->custody);
    struct slots_count count = slots_count(s);
    json_t *list = json_array();
    char missing[64];

    for (uint8_t i = 0; i < STORE_SLOTS_MAX; i++) {
        if (s->at[i].len != 0)
            json_array_append_new(list, slot_json(&s->at[i], i));
    }
    slots_missing(&count, missing, sizeof missing);
    json_object_set_new(c->reply, "slots", list);
    json_object_set_new(c->reply, "root", admin_root_status(c->d));
    json_object_set_new(c->reply, "missing", json_string(slots_enough(&count) ? "" : missing));
    return true;
}

/* After an act on one slot. */
static bool tell_slot(struct call *c, uint8_t number)
{
    const struct slot *s = &custody_slots(c->d->custody)->at[number];

    c->changed = !c->dry;
    json_object_set_new(c->reply, "slot", json_integer(number));
    return tell_slots(c) && (s->len == 0 || json_object_set_new(c->reply, "is", slot_json(s, number)) == 0);
}

/* ---- asking ---- */

static bool slot_of(struct call *c, uint8_t *out)
{
    const json_t *v = json_object_get(c->request, "slot");
    json_int_t n = json_integer_value(v);

    *out = (uint8_t)n;
    return (json_is_integer(v) && n >= 0 && n < STORE_SLOTS_MAX) ||
           refuse(&c->why, "no_such_slot", "see wwctl root slots list", "a slot is 0..%d",
                  STORE_SLOTS_MAX - 1);
}

/* What this one request brings, in place of what ww-ctrl was started with. */
static bool sources_of(struct call *c, struct root_keeper *k)
{
    const char *passphrase, *identity, *shares;

    if (!call_text_if(c, "passphrase_file", &passphrase) || !call_text_if(c, "identity_file", &identity) ||
        !call_text_if(c, "shares_file", &shares))
        return false;
    *k = daemon_root_keeper(c->d);
    k->from.passphrase_file = passphrase != NULL ? passphrase : k->from.passphrase_file;
    k->from.identity_file = identity != NULL ? identity : k->from.identity_file;
    k->from.shares_file = shares != NULL ? shares : k->from.shares_file;
    return true;
}

/* ---- a new slot ---- */

static bool take_recipients(struct call *c, const char *text, struct root_new_slot *out)
{
    struct span left = span_str(text);

    out->kind = SEAL_KIND_AGE;
    while (left.len != 0) {
        const uint8_t *comma = memchr(left.ptr, ',', left.len);
        size_t len = comma == NULL ? left.len : (size_t)(comma - left.ptr);

        if (out->recipient_count == SEAL_SLOT_RECIPIENTS_MAX ||
            age_recipient_parse(c->d->rng, span_of(left.ptr, len), &out->recipients[out->recipient_count]) !=
                AGE_OK)
            return refuse(&c->why, "bad_slot",
                          "give what age-keygen prints as the public key, several with commas",
                          "recipient %zu is no age1... key, or is one too many (of %d)",
                          out->recipient_count + 1, SEAL_SLOT_RECIPIENTS_MAX);
        out->recipient_count++;
        left = span_from(left, comma == NULL ? len : len + 1);
    }
    return true;
}

static bool take_shares(struct call *c, const char *text, struct root_new_slot *out)
{
    unsigned k = 0, n = 0;
    int end = 0;

    out->kind = SEAL_KIND_SHARES;
    if (sscanf(text, "%2u/%2u%n", &k, &n, &end) != 2 || text[end] != '\0' || k < 2 || k > n ||
        n > SHAMIR_SHARES_MAX)
        return refuse(&c->why, "bad_slot", "such as 2/3: any two of three",
                      "shares are K/N with 2 <= K <= N <= %d", SHAMIR_SHARES_MAX);
    out->threshold = (uint8_t)k;
    out->share_count = (uint8_t)n;
    return true;
}

static bool take_pcrs(struct call *c, const char *text, uint32_t *out)
{
    for (const char *at = text; at != NULL && at[0] != '\0';) {
        char *end;
        unsigned long pcr = strtoul(at, &end, 10);

        if (end == at || pcr > 23 || (*end != '\0' && *end != ','))
            return refuse(&c->why, "bad_slot", "such as 7,11",
                          "PCRs are numbers 0..23 with commas, not %.60s", text);
        *out |= 1u << pcr;
        at = *end == ',' ? end + 1 : end;
    }
    return true;
}

static bool take_pkcs11(struct call *c, const char *module, struct root_new_slot *out)
{
    const char *mechanism;
    struct seal_pkcs11 *p = &out->pkcs11;

    out->kind = SEAL_KIND_PKCS11;
    p->module = module;
    if (!call_text_if(c, "token", &p->token) || !call_text_if(c, "key", &p->key) ||
        !call_text_if(c, "pin", &p->pin) || !call_text_if(c, "mechanism", &mechanism))
        return false;
    if (p->token == NULL || p->key == NULL || p->pin == NULL)
        return refuse(&c->why, "bad_slot", "give all three", "a token takes --token, --key and --pin, too");
    p->gcm = mechanism != NULL && strcmp(mechanism, "gcm") == 0;
    return mechanism == NULL || p->gcm || strcmp(mechanism, "wrap") == 0 ||
           refuse(&c->why, "bad_slot", "leave it away for wrap", "--mechanism is wrap or gcm");
}

static bool take_new_slot(struct call *c, struct root_new_slot *out)
{
    const char *passphrase, *age, *shares, *module, *tcti, *pcrs;

    *out = (struct root_new_slot){0};
    if (!call_text_if(c, "new_passphrase_file", &passphrase) || !call_text_if(c, "age", &age) ||
        !call_text_if(c, "shares", &shares) || !call_text_if(c, "module", &module) ||
        !call_text_if(c, "tcti", &tcti) || !call_text_if(c, "pcrs", &pcrs))
        return false;
    if ((passphrase != NULL) + (age != NULL) + (shares != NULL) + (module != NULL) + (tcti != NULL) != 1)
        return refuse(&c->why, "bad_slot", "see wwctl root slots add --help",
                      "give one of --passphrase-file, --age, --shares, --pkcs11, --tpm2");
    if (age != NULL)
        return take_recipients(c, age, out);
    if (shares != NULL)
        return take_shares(c, shares, out);
    if (module != NULL)
        return take_pkcs11(c, module, out);
    out->kind = tcti != NULL ? SEAL_KIND_TPM2 : SEAL_KIND_PASSPHRASE;
    out->passphrase_file = passphrase;
    out->tpm2.tcti = tcti;
    return take_pcrs(c, pcrs, &out->tpm2.pcrs);
}

static void shares_into(struct call *c, const struct shamir_share *shares, size_t count)
{
    char text[SHAMIR_TEXT_LEN + 1];
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        shamir_print(&shares[i], text);
        json_array_append_new(list, json_string(text));
    }
    secret_wipe(text, sizeof text);
    json_object_set_new(c->reply, "shares", list);
}

/* ---- commands ---- */

bool do_root_slots_list(struct call *c)
{
    return tell_slots(c);
}

bool do_root_slots_add(struct call *c)
{
    size_t room = SHAMIR_SHARES_MAX * sizeof(struct shamir_share);
    struct root_new_slot what;
    struct root_keeper k;
    uint8_t number;

    if (!sources_of(c, &k) || !take_new_slot(c, &what))
        return false;
    struct shamir_share *shares = secret_pages_alloc(room);
    if (shares == NULL)
        return refuse(&c->why, "no_memory", "raise LimitMEMLOCK of ww-ctrl", "no locked memory for shares");
    bool ok = root_slots_add(&k, &what, c->dry, &number, shares, &c->why);
    if (ok && !c->dry && what.kind == SEAL_KIND_SHARES)
        shares_into(c, shares, what.share_count);
    secret_pages_free(shares, room);
    return ok && tell_slot(c, number);
}

bool do_root_slots_verify(struct call *c)
{
    struct root_keeper k;
    uint8_t number;

    return slot_of(c, &number) && sources_of(c, &k) && root_slots_verify(&k, number, &c->why) &&
           tell_slot(c, number);
}

bool do_root_slots_rotate(struct call *c)
{
    struct root_keeper k = daemon_root_keeper(c->d);
    const char *passphrase;
    uint8_t number;

    return slot_of(c, &number) && call_text_if(c, "new_passphrase_file", &passphrase) &&
           root_slots_rotate(&k, number, passphrase, c->dry, &c->why) && tell_slot(c, number);
}

bool do_root_slots_remove(struct call *c)
{
    struct root_keeper k = daemon_root_keeper(c->d);
    uint8_t number;

    return slot_of(c, &number) && root_slots_remove(&k, number, c->dry, &c->why) && tell_slot(c, number);
}

bool do_root_rotate(struct call *c)
{
    struct root_keeper k = daemon_root_keeper(c->d);

    if (!root_rotate(&k, c->dry, &c->why))
        return false;
    c->changed = !c->dry;
    return tell_slots(c);
}

bool do_init(struct call *c)
{
    struct root_keeper k = daemon_root_keeper(c->d);

    return tell_slots(c) && root_slots_suffice(&k, &c->why);
}
