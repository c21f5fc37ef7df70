#include "ctrl/operators/approval.h"

#include "base/check.h"
#include "base/log.h"
#include "ctrl/keys/custody.h"
#include "ctrl/lib/clock.h"
#include "ctrl/lib/file.h"

#include <mbedtls/ecp.h>
#include <mbedtls/pk.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_MAX      (256 * 1024)
#define STATEMENT_MAX (192 * 1024)

static const char first_line[] = "Wirewrap approval request 1\n";

struct approvals {
    char dir[PATH_MAX];
    struct mbed_rng *rng;
    size_t count;
    struct approval *all[APPROVALS_MAX];
};

/* ---- text ---- */

static void hex(const uint8_t *p, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", p[i]);
}

static bool unhex(const char *text, uint8_t *out, size_t cap, size_t *len)
{
    for (*len = 0; text[0] != '\0'; text += 2, ++*len) {
        char pair[3] = {text[0], text[1], 0};

        if (*len == cap || strspn(pair, "0123456789abcdef") != 2)
            return false;
        out[*len] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

/* The value of the line "name: value"; false: there is none, or it does not fit. */
static bool line_value(const char *statement, const char *name, char *out, size_t cap)
{
    char key[32];

    snprintf(key, sizeof key, "\n%s: ", name);
    const char *at = strstr(statement, key);
    if (at == NULL)
        return false;
    at += strlen(key);
    size_t len = strcspn(at, "\n");
    if (len >= cap)
        return false;
    memcpy(out, at, len);
    out[len] = '\0';
    return true;
}

static bool number_value(const char *statement, const char *name, int64_t *out)
{
    char text[24], *end;

    if (!line_value(statement, name, text, sizeof text) || text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool is_id(const char *text)
{
    return strlen(text) == 2 * APPROVAL_ID_LEN && strspn(text, "0123456789abcdef") == 2 * APPROVAL_ID_LEN;
}

/* What we wrote ourselves, unless somebody wrote on our disk: then the signatures do not verify. */
bool approval_parse(const char *statement, struct approval *out)
{
    static const char exactly[] = "\nexactly: ";
    int64_t epoch = 0;

    *out = (struct approval){0};
    /* The request comes last: nothing in it can pose as a line of the head. */
    const char *change = strstr(statement, exactly);
    if (change == NULL || strncmp(statement, first_line, sizeof first_line - 1) != 0)
        return false;
    change += sizeof exactly - 1;
    size_t len = strlen(change);
    char *head = strndup(statement, (size_t)(change - statement));
    CHECK(head != NULL);
    bool ok = number_value(head, "epoch", &epoch) &&
              number_value(head, "expires unix", &out->expires_unix_s) &&
              line_value(head, "request", out->id, sizeof out->id) && is_id(out->id) &&
              line_value(head, "key id", out->key_id, sizeof out->key_id) &&
              line_value(head, "asked by", out->asked_by, sizeof out->asked_by) && len > 1 &&
              change[len - 1] == '\n';
    free(head);
    if (ok)
        out->change = json_loadb(change, len - 1, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(out->change)) {
        json_decref(out->change);
        out->change = NULL;
        return false;
    }
    out->epoch = (uint64_t)epoch;
    out->statement = strdup(statement);
    CHECK(out->statement != NULL);
    return true;
}

void approval_free_parts(struct approval *p)
{
    json_decref(p->change);
    free(p->statement);
    *p = (struct approval){0};
}

static void approval_free(struct approval *p)
{
    approval_free_parts(p);
    free(p);
}

/* ---- files ---- */

static bool save(const struct approvals *a, const struct approval *p, struct refusal *why)
{
    char file[2 * PATH_MAX];
    json_t *signatures = json_array();

    for (uint32_t i = 0; i < p->signature_count; i++) {
        char text[2 * APPROVAL_SIGNATURE_MAX + 1];

        hex(p->signatures[i].bytes, p->signatures[i].len, text);
        json_array_append_new(signatures,
                              json_pack("{s:s, s:s}", "by", p->signatures[i].by, "signature", text));
    }
    json_t *j = json_pack("{s:s, s:o}", "statement", p->statement, "signatures", signatures);
    char *text = json_dumps(j, JSON_INDENT(1));
    json_decref(j);
    CHECK(text != NULL);
    snprintf(file, sizeof file, "%s/%s.json", a->dir, p->id);
    bool ok = file_write(file, span_str(text), why);
    free(text);
    return ok;
}

static bool take_signature(struct approval *p, const json_t *s)
{
    const char *by = json_string_value(json_object_get(s, "by"));
    const char *text = json_string_value(json_object_get(s, "signature"));
    struct approval_signature *to = &p->signatures[p->signature_count];

    if (by == NULL || text == NULL || p->signature_count == APPROVAL_SIGNERS_MAX ||
        strlen(by) >= sizeof to->by || !unhex(text, to->bytes, sizeof to->bytes, &to->len))
        return false;
    snprintf(to->by, sizeof to->by, "%s", by);
    p->signature_count++;
    return true;
}

static struct approval *load(const char *file, const char *id)
{
    struct approval *p = calloc(1, sizeof *p);
    json_t *j = json_load_file(file, JSON_REJECT_DUPLICATES, NULL);
    const json_t *s;
    size_t i;

    CHECK(p != NULL);
    const char *statement = json_string_value(json_object_get(j, "statement"));
    bool ok = statement != NULL && approval_parse(statement, p) && strcmp(p->id, id) == 0;
    if (ok) {
        json_array_foreach(json_object_get(j, "signatures"), i, s) ok = ok && take_signature(p, s);
    }
    json_decref(j);
    if (ok)
        return p;
    approval_free(p);
    return NULL;
}

static void load_all(struct approvals *a)
{
    DIR *d = opendir(a->dir);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        char file[2 * PATH_MAX], id[2 * APPROVAL_ID_LEN + 1];

        if (strlen(e->d_name) != sizeof id - 1 + 5 || strcmp(e->d_name + sizeof id - 1, ".json") != 0)
            continue;
        snprintf(id, sizeof id, "%.*s", (int)sizeof id - 1, e->d_name);
        snprintf(file, sizeof file, "%s/%s", a->dir, e->d_name);
        struct approval *p = a->count == APPROVALS_MAX ? NULL : load(file, id);
        if (p == NULL)
            log_warn("an approval request is not taken", F("file", file));
        else
            a->all[a->count++] = p;
    }
    if (d != NULL)
        closedir(d);
}

struct approvals *approvals_open(const char *state_dir, struct mbed_rng *rng, struct refusal *why)
{
    struct approvals *a = calloc(1, sizeof *a);
    char done[PATH_MAX + 8];

    CHECK(a != NULL);
    a->rng = rng;
    snprintf(a->dir, sizeof a->dir, "%s/approvals", state_dir);
    snprintf(done, sizeof done, "%s/done", a->dir);
    if (!file_make_dir(done, why)) {
        free(a);
        return NULL;
    }
    load_all(a);
    return a;
}

void approvals_close(struct approvals *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; i < a->count; i++)
        approval_free(a->all[i]);
    free(a);
}

size_t approvals_count(const struct approvals *a)
{
    return a->count;
}

const struct approval *approvals_at(const struct approvals *a, size_t i)
{
    return a->all[i];
}

static struct approval *find(const struct approvals *a, const char *id)
{
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->all[i]->id, id) == 0)
            return a->all[i];
    }
    return NULL;
}

const struct approval *approvals_find(const struct approvals *a, const char *id, struct refusal *why)
{
    const struct approval *p = find(a, id);

    if (p == NULL)
        refuse(why, "no_such_approval",
               "see wwctl approval list: it may have been carried out, withdrawn or expired",
               "%.40s: no such approval request", id);
    return p;
}

void approvals_finish(struct approvals *a, const char *id)
{
    char from[2 * PATH_MAX], to[2 * PATH_MAX];

    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->all[i]->id, id) != 0)
            continue;
        snprintf(from, sizeof from, "%s/%s.json", a->dir, a->all[i]->id);
        snprintf(to, sizeof to, "%s/done/%s.json", a->dir, a->all[i]->id);
        /* What stays would be refused as outdated, or has expired. */
        if (rename(from, to) != 0)
            log_warn("an approval request stays where it was", F("file", from), F("errno", errno));
        approval_free(a->all[i]);
        a->all[i] = a->all[--a->count];
        return;
    }
}

void approvals_expire(struct approvals *a, int64_t now_unix_s)
{
    for (size_t i = a->count; i-- > 0;) {
        if (now_unix_s >= a->all[i]->expires_unix_s)
            approvals_finish(a, a->all[i]->id);
    }
}

/* ---- asking ---- */

static char *statement_of(const struct approval_ask *q, const char *id)
{
    char asked[CLOCK_TEXT_CAP], expires[CLOCK_TEXT_CAP], store[33], key[2 * KEY_ID_LEN + 1] = "", roles[64];
    char *change = json_dumps(q->change, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII), *text;

    CHECK(change != NULL);
    clock_text(q->now_unix_s, asked);
    clock_text(q->now_unix_s + q->expiry_s, expires);
    hex(q->store_id, 16, store);
    if (q->key_id != NULL)
        hex(q->key_id, KEY_ID_LEN, key);
    roles_text(q->who->roles, roles);
    int n = asprintf(
        &text,
        "%srequest: %s\nstore: %s\nshard: %u\nepoch: %llu\nkey id: %s\nasked by: %s\nasked via: %s\nasked "
        "at: %s\nexpires: %s\nexpires unix: %lld\n\n%s\nexactly: %s\n",
        first_line, id, store, q->shard, (unsigned long long)q->epoch, key, q->who->name, q->who->via, asked,
        expires, (long long)(q->now_unix_s + q->expiry_s), q->means, change);
    CHECK(n > 0);
    free(change);
    return text;
}

static const struct approval *same(const struct approvals *a, const struct approval_ask *q)
{
    for (size_t i = 0; i < a->count; i++) {
        const struct approval *p = a->all[i];

        if (json_equal(p->change, q->change) && strcmp(p->asked_by, q->who->name) == 0 &&
            q->now_unix_s < p->expires_unix_s)
            return p;
    }
    return NULL;
}

const struct approval *approvals_ask(struct approvals *a, const struct approval_ask *q, struct refusal *why)
{
    uint8_t random[APPROVAL_ID_LEN];
    char id[2 * APPROVAL_ID_LEN + 1];
    const struct approval *there = same(a, q);

    if (there != NULL)
        return there;
    if (a->count == APPROVALS_MAX) {
        refuse(why, "too_many_approvals", "withdraw some: wwctl approval withdraw ID",
               "%d approval requests wait already", APPROVALS_MAX);
        return NULL;
    }
    mbed_random(a->rng, random, sizeof random);
    hex(random, sizeof random, id);
    char *statement = statement_of(q, id);
    struct approval *p = calloc(1, sizeof *p);
    CHECK(p != NULL);
    bool ok = strlen(statement) < STATEMENT_MAX && approval_parse(statement, p);
    free(statement);
    if (!ok)
        refuse(why, "bad_request", "make it smaller", "the change is too long to be approved");
    if (!ok || !save(a, p, why)) {
        approval_free(p);
        return NULL;
    }
    a->all[a->count++] = p;
    return p;
}

/* ---- signing ---- */

static bool verifies(const struct config_person *who, const struct approval *p, struct span signature,
                     struct refusal *why)
{
    mbedtls_pk_context key;
    uint8_t digest[MBED_DIGEST_LEN];

    if ((config_roles(who->roles) & ROLE_APPROVER) == 0)
        return false;
    mbed_sha256(span_str(p->statement), digest);
    mbedtls_pk_init(&key);
    bool ok = false;
    if (mbedtls_pk_parse_public_keyfile(&key, who->approval_key_file) != 0)
        refuse(why, "bad_approval_key", "put the approver's public key there, PEM",
               "%s: no public key can be read there", who->approval_key_file);
    else if (!mbedtls_pk_can_do(&key, MBEDTLS_PK_ECDSA) ||
             mbedtls_pk_ec(key)->grp.id != MBEDTLS_ECP_DP_SECP256R1)
        refuse(why, "bad_approval_key", "make one: openssl ecparam -name prime256v1 -genkey",
               "%s is not a P-256 key", who->approval_key_file);
    else
        ok = mbedtls_pk_verify(&key, MBEDTLS_MD_SHA256, digest, sizeof digest, signature.ptr,
                               signature.len) == 0;
    mbedtls_pk_free(&key);
    return ok;
}

static const struct config_person *signer(const struct config *c, const struct approval *p,
                                          struct span signature, struct refusal *why)
{
    for (uint16_t i = 0; i < c->admin.person_count; i++) {
        if (verifies(&c->admin.people[i], p, signature, why))
            return &c->admin.people[i];
    }
    return NULL;
}

bool approvals_sign(struct approvals *a, const char *id, struct span signature, const struct config *c,
                    int64_t now_unix_s, const char **by, struct refusal *why)
{
    struct approval *p = find(a, id);

    if (p == NULL)
        return approvals_find(a, id, why) != NULL;
    if (now_unix_s >= p->expires_unix_s)
        return refuse(why, "approval_expired", "ask for the change again", "the request has expired");
    refuse(why, "bad_signature",
           "sign what wwctl approval show prints, with the key that the configuration names",
           "the signature is none of an approver's over this request");
    const struct config_person *who =
        signature.len > APPROVAL_SIGNATURE_MAX ? NULL : signer(c, p, signature, why);
    if (who == NULL)
        return false;
    if (strcmp(who->name, p->asked_by) == 0)
        return refuse(why, "own_request", "let somebody else sign",
                      "%s asked for it: that signature does not count", who->name);
    *by = who->name;
    for (uint32_t i = 0; i < p->signature_count; i++) {
        if (strcmp(p->signatures[i].by, who->name) == 0)
            return true; /* counted already; what is left to do is tried again */
    }
    if (p->signature_count == APPROVAL_SIGNERS_MAX)
        return refuse(why, "enough_signatures", "see wwctl approval show", "it has signatures enough");
    struct approval_signature *s = &p->signatures[p->signature_count];
    snprintf(s->by, sizeof s->by, "%s", who->name);
    memcpy(s->bytes, signature.ptr, signature.len);
    s->len = signature.len;
    p->signature_count++;
    if (save(a, p, why))
        return true;
    p->signature_count--;
    return false;
}

static bool is_good(const struct approval *p, const struct config *c, uint32_t i)
{
    const struct approval_signature *s = &p->signatures[i];
    struct refusal ignored;
    const struct config_person *who = signer(c, p, span_of(s->bytes, s->len), &ignored);

    if (who == NULL || strcmp(who->name, s->by) != 0 || strcmp(who->name, p->asked_by) == 0)
        return false;
    for (uint32_t j = 0; j < i; j++) {
        if (strcmp(p->signatures[j].by, s->by) == 0)
            return false;
    }
    return true;
}

uint32_t approvals_good(const struct approval *p, const struct config *c)
{
    uint32_t good = 0;

    for (uint32_t i = 0; i < p->signature_count; i++)
        good += is_good(p, c, i) ? 1 : 0;
    return good;
}
