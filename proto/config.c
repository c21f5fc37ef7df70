#include "proto/config.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <yaml.h>

/* ---- tables: what may stand in the file ---- */

enum kind {
    KIND_SECTION,  /* a mapping, its settings in the same struct */
    KIND_TEXT,     /* char[cap] */
    KIND_BOOL,     /* bool */
    KIND_U16,      /* uint16_t */
    KIND_U32,      /* uint32_t */
    KIND_DURATION, /* uint32_t seconds */
    KIND_SIZE_MIB, /* uint32_t */
    KIND_SIZE_KIB, /* uint32_t */
    KIND_TEXTS,    /* a list: char[count_max][cap] and a uint16_t count */
    KIND_U16S,     /* a list: uint16_t[count_max] and a uint16_t count */
    KIND_ITEMS,    /* a list of mappings: struct[count_max], cap bytes each, and a uint16_t count */
};

struct section;

struct setting {
    const char *name;
    enum kind kind;
    bool required;
    size_t offset;
    size_t cap;                          /* bytes of a text or an item */
    uint64_t min, max;                   /* of a number, in the unit it is stored in */
    size_t count_offset;                 /* of a list */
    uint16_t count_max;                  /* of a list */
    const char *(*wrong)(const char *s); /* of a text: what it must be, NULL when it is that */
    const struct section *section;       /* of a section or an item */
};

struct section {
    const struct setting *settings;
    size_t count;
    const char *(*wrong)(
        const void *base); /* looks at all settings together: what is wrong, NULL = nothing */
};

#define SECTION(settings_, wrong_)                                                                           \
    {                                                                                                        \
        .settings = (settings_), .count = sizeof(settings_) / sizeof((settings_)[0]), .wrong = (wrong_)      \
    }

/* ---- what texts must be ---- */

static const char *wrong_path(const char *s)
{
    return s[0] == '/' && s[1] != 0 ? NULL : "must be an absolute path";
}

static const char *wrong_path_if_any(const char *s)
{
    return s[0] == 0 ? NULL : wrong_path(s);
}

/* A file, or the name of a systemd credential (drivers/seal). */
static const char *wrong_secret_source(const char *s)
{
    static const char prefix[] = "credential:";
    size_t len = sizeof prefix - 1;

    if (strncmp(s, prefix, len) == 0)
        return s[len] != 0 && strchr(s + len, '/') == NULL ? NULL
                                                           : "must name a credential after credential:";
    return wrong_path(s) == NULL ? NULL : "must be an absolute path, or credential:NAME";
}

/* A key in a file on the disk that the snapshot lies on would protect nothing; sealed by the TPM it may lie anywhere. */
static const char *wrong_warm_key(const char *s)
{
    if (s[0] == 0)
        return NULL;
    if (strncmp(s, "tpm2:", 5) == 0)
        return wrong_path(s + 5) == NULL ? NULL
                                         : "must name a file of ww-seal warm-key, absolute, after tpm2:";
    return strncmp(s, "credential:", 11) == 0
               ? wrong_secret_source(s)
               : "must be credential:NAME or tpm2:FILE: a key in a file beside the snapshot "
                 "protects nothing";
}

static const char *wrong_empty(const char *s)
{
    return s[0] != 0 ? NULL : "must not be empty";
}

static const char *wrong_device(const char *s)
{
    static const char *const kinds[] = {
        "tap:", "virtio-user:", "vhost:", "af_packet:", "memif:", "memif-server:", "pci:", "loop:"};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strncmp(s, kinds[i], strlen(kinds[i])) == 0 && s[strlen(kinds[i])] != 0)
            return NULL;
    return "must be tap:NAME, virtio-user:PATH, af_packet:NAME, memif:PATH or pci:ADDRESS";
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *wrong_mac(const char *s)
{
    static const char why[] = "must be six hexadecimal pairs with colons between, the address of one station";
    int seen = 0;

    if (s[0] == 0)
        return NULL;
    if (strlen(s) != 17 || (hex_value(s[1]) & 1) != 0)
        return why;
    for (size_t i = 0; i < 17; i++) {
        int v = hex_value(s[i]);

        if (i % 3 == 2 ? s[i] != ':' : v < 0)
            return why;
        seen |= i % 3 == 2 ? 0 : v;
    }
    return seen != 0 ? NULL : why;
}

/* The family of an address, 0 when it is none. */
static int address_family(const char *s)
{
    uint8_t bytes[16];

    return inet_pton(AF_INET, s, bytes) == 1 ? AF_INET : inet_pton(AF_INET6, s, bytes) == 1 ? AF_INET6 : 0;
}

static const char *wrong_address(const char *s)
{
    return s[0] == 0 || address_family(s) != 0 ? NULL : "must be an IPv4 or IPv6 address";
}

/* The family of ADDRESS/LENGTH, 0 when it is no prefix. */
static int prefix_family(const char *s)
{
    char address[64];
    const char *slash = strchr(s, '/');
    unsigned bits = 0;

    if (slash == NULL || (size_t)(slash - s) >= sizeof address || slash[1] == 0 || strlen(slash) > 4)
        return 0;
    if (slash[1] == '0' && slash[2] != 0)
        return 0;
    for (const char *p = slash + 1; *p != 0; p++) {
        if (*p < '0' || *p > '9')
            return 0;
        bits = bits * 10 + (unsigned)(*p - '0');
    }
    memcpy(address, s, (size_t)(slash - s));
    address[slash - s] = 0;
    int family = address_family(address);
    return bits <= (family == AF_INET ? 32u : 128u) ? family : 0;
}

static const char *wrong_prefix(const char *s)
{
    return prefix_family(s) != 0 ? NULL : "must be an address and its prefix length, like 192.0.2.2/24";
}

static const char *wrong_idle(const char *s)
{
    return strcmp(s, "spin") == 0 || strcmp(s, "pause") == 0 || strcmp(s, "sleep") == 0
               ? NULL
               : "must be spin, pause or sleep";
}

/* A plain name is looked for in OpenSSL's folders; nothing in it may lead out of them. */
static const char *wrong_engine(const char *s)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strspn(s, allowed);

    return s[0] == 0 || s[0] == '/' || (len == strlen(s) && s[0] != '.')
               ? NULL
               : "must be a name like qatprovider, or the absolute path of a shared object";
}

static const char *wrong_recipient(const char *s)
{
    return strncmp(s, "age1", 4) == 0 && strlen(s) == 62 ? NULL : "must be an age recipient, age1...";
}

static const char *wrong_sink_name(const char *s)
{
    size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_");

    return len != 0 && s[len] == 0 ? NULL : "must be small letters, digits, - and _";
}

static const char *wrong_sink_kind(const char *s)
{
    return strcmp(s, "directory") == 0 || strcmp(s, "s3") == 0 || strcmp(s, "sftp") == 0
               ? NULL
               : "must be directory, s3 or sftp";
}

static const struct {
    const char *name;
    uint32_t bit;
} roles[] = {{"operator", ROLE_OPERATOR},
             {"key_officer", ROLE_KEY_OFFICER},
             {"auditor", ROLE_AUDITOR},
             {"approver", ROLE_APPROVER}};

static uint32_t role_of(const char *word, size_t len)
{
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (strlen(roles[i].name) == len && memcmp(roles[i].name, word, len) == 0)
            return roles[i].bit;
    return 0;
}

uint32_t config_roles(const char *text)
{
    uint32_t all = 0;

    for (text += strspn(text, ", "); text[0] != 0; text += strspn(text, ", ")) {
        size_t len = strcspn(text, ", ");
        uint32_t bit = role_of(text, len);

        if (bit == 0)
            return 0;
        all |= bit;
        text += len;
    }
    return all;
}

static const char *wrong_roles(const char *s)
{
    return config_roles(s) != 0
               ? NULL
               : "must be some of operator, key_officer, auditor, approver, with commas between";
}

static const char *wrong_uid(const char *s)
{
    return s[strspn(s, "0123456789")] == 0 ? NULL : "must be a number";
}

/* ADDRESS:PORT, [ADDRESS]:PORT. */
static const char *wrong_listen(const char *s)
{
    static const char why[] = "must be an address and a port, like 192.0.2.10:8443 or [2001:db8::10]:8443";
    const char *colon = strrchr(s, ':');
    char address[64];

    if (s[0] == 0)
        return NULL;
    if (colon == NULL || colon[1] == 0 || strlen(colon) > 6 ||
        colon[1 + strspn(colon + 1, "0123456789")] != 0)
        return why;
    long port = strtol(colon + 1, NULL, 10);
    bool six = s[0] == '[' && colon > s + 1 && colon[-1] == ']';
    size_t len = (size_t)(colon - s) - (six ? 2 : 0);
    memcpy(address, s + (six ? 1 : 0), len);
    address[len] = 0;
    int family = address_family(address);
    return family == (six ? AF_INET6 : AF_INET) && port > 0 && port <= 65535 ? NULL : why;
}

/* ---- what settings must be together ---- */

static const char *wrong_route(const void *base)
{
    const struct config_route *r = base;

    return r->via[0] == 0 || address_family(r->via) == prefix_family(r->dst)
               ? NULL
               : "dst and via must be of one address family";
}

static const char *wrong_dataplane(const void *base)
{
    const struct config *c = base;

    if (c->dataplane.core_count != 0 && c->dataplane.core_count != c->dataplane.workers)
        return "cores must name one core for each of the workers, or none";
    if ((c->dataplane.audit_records & (c->dataplane.audit_records - 1)) != 0)
        return "audit_records must be a power of two";
    return c->dataplane.versions_max >= c->dataplane.keys_max
               ? NULL
               : "versions_max must not be below keys_max: each key has a version";
}

static const char *wrong_sink(const void *base)
{
    const struct config_sink *s = base;

    if (strcmp(s->kind, "directory") == 0)
        return wrong_path(s->place) == NULL ? NULL : "place must be an absolute path";
    if (wrong_secret_source(s->credentials_file) != NULL)
        return "credentials_file must be an absolute path, or credential:NAME";
    if (s->trust_file[0] != 0 && wrong_path(s->trust_file) != NULL)
        return "trust_file must be an absolute path";
    if (strcmp(s->kind, "s3") == 0)
        return strncmp(s->place, "https://", 8) == 0 || strncmp(s->place, "http://", 7) == 0
                   ? NULL
                   : "place must be https://HOST[:PORT]";
    if (s->trust_file[0] == 0)
        return "trust_file must name a known_hosts file";
    return strncmp(s->place, "sftp://", 7) == 0 && wrong_path(s->credentials_file) == NULL
               ? NULL
               : "place must be sftp://USER@HOST[:PORT]/DIR, and credentials_file a private key's path";
}

static const char *wrong_backup(const void *base)
{
    const struct config *c = base;

    for (uint16_t i = 0; i < c->backup.sink_count; i++)
        for (uint16_t j = 0; j < i; j++)
            if (strcmp(c->backup.sinks[i].name, c->backup.sinks[j].name) == 0)
                return "two sinks have the same name";
    return c->backup.required <= c->backup.sink_count ? NULL
                                                      : "required must not be above the number of sinks";
}

static const char *wrong_auth(const void *base)
{
    const struct config *c = base;

    for (uint16_t i = 0; i < c->auth.issuer_count; i++)
        for (uint16_t j = 0; j < i; j++)
            if (strcmp(c->auth.issuers[i].iss, c->auth.issuers[j].iss) == 0)
                return "two issuers have the same iss";
    return NULL;
}

static const char *wrong_person(const void *base)
{
    const struct config_person *p = base;

    return (config_roles(p->roles) & ROLE_APPROVER) == 0 || p->approval_key_file[0] != 0
               ? NULL
               : "an approver needs approval_key_file";
}

static bool same_person(const struct config_person *a, const struct config_person *b)
{
    return strcmp(a->name, b->name) == 0 || (a->uid[0] != 0 && strcmp(a->uid, b->uid) == 0);
}

static const char *wrong_admin(const void *base)
{
    const struct config *c = base;
    unsigned approvers = 0;

    if (c->admin.listen[0] != 0 &&
        (c->admin.certificate_file[0] == 0 || c->admin.key_file[0] == 0 || c->admin.client_ca_file[0] == 0))
        return "listen needs certificate_file, key_file and client_ca_file";
    for (uint16_t i = 0; i < c->admin.person_count; i++) {
        approvers += (config_roles(c->admin.people[i].roles) & ROLE_APPROVER) != 0 ? 1 : 0;
        for (uint16_t j = 0; j < i; j++)
            if (same_person(&c->admin.people[i], &c->admin.people[j]))
                return "two people have the same name or uid";
    }
    return approvers == 0 || approvers >= c->admin.approvals
               ? NULL
               : "there are fewer approvers than approvals asks for";
}

static const char *wrong_all(const void *base)
{
    const struct config *c = base;

    return c->nic.queues >= c->dataplane.workers
               ? NULL
               : "nic.queues must not be below dataplane.workers: each worker "
                 "polls its own queue";
}

/* ---- the file ---- */

#define OFFSET(member) offsetof(struct config, member)
#define SIZE(member)   sizeof(((struct config *)0)->member)

static const struct setting settings_of_nic[] = {
    {.name = "device",
     .kind = KIND_TEXT,
     .required = true,
     .offset = OFFSET(nic.device),
     .cap = SIZE(nic.device),
     .wrong = wrong_device},
    {.name = "mac", .kind = KIND_TEXT, .offset = OFFSET(nic.mac), .cap = SIZE(nic.mac), .wrong = wrong_mac},
    {.name = "mtu", .kind = KIND_U16, .offset = OFFSET(nic.mtu), .min = 1280, .max = 9000},
    {.name = "vlan", .kind = KIND_U16, .offset = OFFSET(nic.vlan), .min = 0, .max = 4094},
    {.name = "queues", .kind = KIND_U16, .offset = OFFSET(nic.queues), .min = 1, .max = WORKERS_MAX},
    {.name = "hugepages", .kind = KIND_BOOL, .offset = OFFSET(nic.hugepages)},
    {.name = "memory", .kind = KIND_SIZE_MIB, .offset = OFFSET(nic.memory_mb), .min = 64, .max = 65536},
};

static const struct setting settings_of_route[] = {
    {.name = "dst",
     .kind = KIND_TEXT,
     .required = true,
     .offset = offsetof(struct config_route, dst),
     .cap = sizeof(((struct config_route *)0)->dst),
     .wrong = wrong_prefix},
    {.name = "via",
     .kind = KIND_TEXT,
     .offset = offsetof(struct config_route, via),
     .cap = sizeof(((struct config_route *)0)->via),
     .wrong = wrong_address},
};
static const struct section section_of_route = SECTION(settings_of_route, wrong_route);

static const struct setting settings_of_net[] = {
    {.name = "addresses",
     .kind = KIND_TEXTS,
     .required = true,
     .offset = OFFSET(net.addresses),
     .cap = SIZE(net.addresses[0]),
     .count_offset = OFFSET(net.address_count),
     .count_max = CONFIG_ADDRESSES_MAX,
     .wrong = wrong_prefix},
    {.name = "routes",
     .kind = KIND_ITEMS,
     .offset = OFFSET(net.routes),
     .cap = SIZE(net.routes[0]),
     .count_offset = OFFSET(net.route_count),
     .count_max = CONFIG_ROUTES_MAX,
     .section = &section_of_route},
    {.name = "port", .kind = KIND_U16, .offset = OFFSET(net.port), .min = 1, .max = 65535},
    {.name = "connections_max",
     .kind = KIND_U32,
     .offset = OFFSET(net.connections_max),
     .min = 16,
     .max = 1048576},
    {.name = "keepalive_idle", .kind = KIND_DURATION, .offset = OFFSET(net.keepalive_idle_s), .max = 86400},
    {.name = "keepalive_interval",
     .kind = KIND_DURATION,
     .offset = OFFSET(net.keepalive_interval_s),
     .min = 1,
     .max = 3600},
    {.name = "keepalive_probes",
     .kind = KIND_U16,
     .offset = OFFSET(net.keepalive_probes),
     .min = 1,
     .max = 30},
    {.name = "idle_close", .kind = KIND_DURATION, .offset = OFFSET(net.idle_close_s), .max = 7 * 86400},
    {.name = "msl", .kind = KIND_DURATION, .offset = OFFSET(net.msl_s), .min = 1, .max = 600},
};

static const struct setting settings_of_dataplane[] = {
    {.name = "workers", .kind = KIND_U16, .offset = OFFSET(dataplane.workers), .min = 1, .max = WORKERS_MAX},
    {.name = "cores",
     .kind = KIND_U16S,
     .offset = OFFSET(dataplane.cores),
     .count_offset = OFFSET(dataplane.core_count),
     .count_max = WORKERS_MAX,
     .max = 1023},
    {.name = "idle",
     .kind = KIND_TEXT,
     .offset = OFFSET(dataplane.idle),
     .cap = SIZE(dataplane.idle),
     .wrong = wrong_idle},
    {.name = "keys_max", .kind = KIND_U32, .offset = OFFSET(dataplane.keys_max), .min = 16, .max = 4194304},
    {.name = "versions_max",
     .kind = KIND_U32,
     .offset = OFFSET(dataplane.versions_max),
     .min = 16,
     .max = 4194304},
    {.name = "audit_records",
     .kind = KIND_U32,
     .offset = OFFSET(dataplane.audit_records),
     .min = 1024,
     .max = 16777216},
    {.name = "warm_dir",
     .kind = KIND_TEXT,
     .offset = OFFSET(dataplane.warm_dir),
     .cap = SIZE(dataplane.warm_dir),
     .wrong = wrong_path},
    {.name = "warm_key",
     .kind = KIND_TEXT,
     .offset = OFFSET(dataplane.warm_key),
     .cap = SIZE(dataplane.warm_key),
     .wrong = wrong_warm_key},
    {.name = "warm_max_age",
     .kind = KIND_DURATION,
     .offset = OFFSET(dataplane.warm_max_age_s),
     .min = 3600,
     .max = 90 * 86400},
};

#define PATH_SETTING(name_, member, required_)                                                               \
    {                                                                                                        \
        .name = (name_), .kind = KIND_TEXT, .required = (required_), .offset = OFFSET(member),               \
        .cap = SIZE(member), .wrong = wrong_path                                                             \
    }

static const struct setting settings_of_ctrl[] = {
    PATH_SETTING("state_dir", ctrl.state_dir, false),
    PATH_SETTING("ctl_socket", ctrl.ctl_socket, false),
    PATH_SETTING("admin_socket", ctrl.admin_socket, false),
    PATH_SETTING("audit_dir", ctrl.audit_dir, false),
    {.name = "disable_before_destroy", .kind = KIND_BOOL, .offset = OFFSET(ctrl.disable_before_destroy)},
};

#define PERSON(member)                                                                                       \
    .offset = offsetof(struct config_person, member), .cap = sizeof(((struct config_person *)0)->member)

static const struct setting settings_of_person[] = {
    {.name = "name", .kind = KIND_TEXT, .required = true, PERSON(name), .wrong = wrong_empty},
    {.name = "uid", .kind = KIND_TEXT, PERSON(uid), .wrong = wrong_uid},
    {.name = "roles", .kind = KIND_TEXT, .required = true, PERSON(roles), .wrong = wrong_roles},
    {.name = "approval_key_file", .kind = KIND_TEXT, PERSON(approval_key_file), .wrong = wrong_path},
};
static const struct section section_of_person = SECTION(settings_of_person, wrong_person);

static const struct setting settings_of_admin[] = {
    {.name = "listen",
     .kind = KIND_TEXT,
     .offset = OFFSET(admin.listen),
     .cap = SIZE(admin.listen),
     .wrong = wrong_listen},
    PATH_SETTING("certificate_file", admin.certificate_file, false),
    PATH_SETTING("key_file", admin.key_file, false),
    PATH_SETTING("client_ca_file", admin.client_ca_file, false),
    {.name = "approvals", .kind = KIND_U16, .offset = OFFSET(admin.approvals), .min = 1, .max = 8},
    {.name = "approval_expiry",
     .kind = KIND_DURATION,
     .offset = OFFSET(admin.approval_expiry_s),
     .min = 600,
     .max = 30 * 86400},
    {.name = "people",
     .kind = KIND_ITEMS,
     .offset = OFFSET(admin.people),
     .cap = SIZE(admin.people[0]),
     .count_offset = OFFSET(admin.person_count),
     .count_max = CONFIG_PEOPLE_MAX,
     .section = &section_of_person},
};

/* The range of Argon2's parameters: RFC 9106 4, from what a small machine can spare to what a start can wait
 * for. */
static const struct setting settings_of_seal[] = {
    {.name = "passphrase_file",
     .kind = KIND_TEXT,
     .offset = OFFSET(seal.passphrase_file),
     .cap = SIZE(seal.passphrase_file),
     .wrong = wrong_secret_source},
    {.name = "device_program",
     .kind = KIND_TEXT,
     .offset = OFFSET(seal.device_program),
     .cap = SIZE(seal.device_program),
     .wrong = wrong_path_if_any},
    {.name = "argon2_memory",
     .kind = KIND_SIZE_KIB,
     .offset = OFFSET(seal.argon2_memory_kib),
     .min = 8192,
     .max = 4194304},
    {.name = "argon2_passes", .kind = KIND_U32, .offset = OFFSET(seal.argon2_passes), .min = 1, .max = 64},
};

static const struct setting settings_of_sink[] = {
    {.name = "name",
     .kind = KIND_TEXT,
     .required = true,
     .offset = offsetof(struct config_sink, name),
     .cap = sizeof(((struct config_sink *)0)->name),
     .wrong = wrong_sink_name},
    {.name = "kind",
     .kind = KIND_TEXT,
     .required = true,
     .offset = offsetof(struct config_sink, kind),
     .cap = sizeof(((struct config_sink *)0)->kind),
     .wrong = wrong_sink_kind},
    {.name = "place",
     .kind = KIND_TEXT,
     .required = true,
     .offset = offsetof(struct config_sink, place),
     .cap = CONFIG_TEXT_CAP,
     .wrong = wrong_empty},
    {.name = "region",
     .kind = KIND_TEXT,
     .offset = offsetof(struct config_sink, region),
     .cap = sizeof(((struct config_sink *)0)->region)},
    {.name = "bucket",
     .kind = KIND_TEXT,
     .offset = offsetof(struct config_sink, bucket),
     .cap = CONFIG_TEXT_CAP},
    {.name = "prefix",
     .kind = KIND_TEXT,
     .offset = offsetof(struct config_sink, prefix),
     .cap = CONFIG_TEXT_CAP},
    {.name = "credentials_file",
     .kind = KIND_TEXT,
     .offset = offsetof(struct config_sink, credentials_file),
     .cap = CONFIG_TEXT_CAP},
    {.name = "trust_file",
     .kind = KIND_TEXT,
     .offset = offsetof(struct config_sink, trust_file),
     .cap = CONFIG_TEXT_CAP},
    {.name = "patience",
     .kind = KIND_DURATION,
     .offset = offsetof(struct config_sink, patience_s),
     .min = 1,
     .max = 3600},
    {.name = "required", .kind = KIND_BOOL, .offset = offsetof(struct config_sink, required)},
};
static const struct section section_of_sink = SECTION(settings_of_sink, wrong_sink);

static const struct setting settings_of_backup[] = {
    {.name = "recipients",
     .kind = KIND_TEXTS,
     .offset = OFFSET(backup.recipients),
     .cap = SIZE(backup.recipients[0]),
     .count_offset = OFFSET(backup.recipient_count),
     .count_max = CONFIG_RECIPIENTS_MAX,
     .wrong = wrong_recipient},
    {.name = "drill_identity_file",
     .kind = KIND_TEXT,
     .offset = OFFSET(backup.drill_identity_file),
     .cap = SIZE(backup.drill_identity_file),
     .wrong = wrong_secret_source},
    {.name = "required", .kind = KIND_U16, .offset = OFFSET(backup.required), .max = CONFIG_SINKS_MAX},
    {.name = "full_every",
     .kind = KIND_DURATION,
     .offset = OFFSET(backup.full_every_s),
     .min = 60,
     .max = 7 * 86400},
    {.name = "drill_every",
     .kind = KIND_DURATION,
     .offset = OFFSET(backup.drill_every_s),
     .min = 60,
     .max = 31 * 86400},
    {.name = "keep_for",
     .kind = KIND_DURATION,
     .offset = OFFSET(backup.keep_for_s),
     .min = 86400,
     .max = 3650u * 86400},
    {.name = "sinks",
     .kind = KIND_ITEMS,
     .offset = OFFSET(backup.sinks),
     .cap = SIZE(backup.sinks[0]),
     .count_offset = OFFSET(backup.sink_count),
     .count_max = CONFIG_SINKS_MAX,
     .section = &section_of_sink},
};

static const struct setting settings_of_tls[] = {
    PATH_SETTING("certificate_file", tls.certificate_file, true),
    PATH_SETTING("key_file", tls.key_file, true),
};

static const struct setting settings_of_issuer[] = {
    {.name = "iss",
     .kind = KIND_TEXT,
     .required = true,
     .offset = offsetof(struct config_issuer, iss),
     .cap = CONFIG_TEXT_CAP,
     .wrong = wrong_empty},
    {.name = "jwks_file",
     .kind = KIND_TEXT,
     .required = true,
     .offset = offsetof(struct config_issuer, jwks_file),
     .cap = CONFIG_TEXT_CAP,
     .wrong = wrong_path},
    {.name = "jwks_fresh",
     .kind = KIND_DURATION,
     .offset = offsetof(struct config_issuer, jwks_fresh_s),
     .min = 60,
     .max = 30 * 86400},
};
static const struct section section_of_issuer = SECTION(settings_of_issuer, NULL);

static const struct setting settings_of_auth[] = {
    {.name = "issuers",
     .kind = KIND_ITEMS,
     .offset = OFFSET(auth.issuers),
     .cap = SIZE(auth.issuers[0]),
     .count_offset = OFFSET(auth.issuer_count),
     .count_max = ISSUERS_MAX,
     .section = &section_of_issuer},
    {.name = "audiences",
     .kind = KIND_TEXTS,
     .required = true,
     .offset = OFFSET(auth.audiences),
     .cap = SIZE(auth.audiences[0]),
     .count_offset = OFFSET(auth.audience_count),
     .count_max = AUDIENCES_MAX,
     .wrong = wrong_empty},
};

static const struct setting settings_of_crypto[] = {
    {.name = "engine",
     .kind = KIND_TEXT,
     .offset = OFFSET(crypto.engine),
     .cap = SIZE(crypto.engine),
     .wrong = wrong_engine},
};

static const struct section section_of_nic = SECTION(settings_of_nic, NULL);
static const struct section section_of_net = SECTION(settings_of_net, NULL);
static const struct section section_of_dataplane = SECTION(settings_of_dataplane, wrong_dataplane);
static const struct section section_of_ctrl = SECTION(settings_of_ctrl, NULL);
static const struct section section_of_admin = SECTION(settings_of_admin, wrong_admin);
static const struct section section_of_seal = SECTION(settings_of_seal, NULL);
static const struct section section_of_backup = SECTION(settings_of_backup, wrong_backup);
static const struct section section_of_tls = SECTION(settings_of_tls, NULL);
static const struct section section_of_crypto = SECTION(settings_of_crypto, NULL);
static const struct section section_of_auth = SECTION(settings_of_auth, wrong_auth);

static const struct setting settings_of_all[] = {
    {.name = "nic", .kind = KIND_SECTION, .section = &section_of_nic},
    {.name = "net", .kind = KIND_SECTION, .section = &section_of_net},
    {.name = "dataplane", .kind = KIND_SECTION, .section = &section_of_dataplane},
    {.name = "ctrl", .kind = KIND_SECTION, .section = &section_of_ctrl},
    {.name = "admin", .kind = KIND_SECTION, .section = &section_of_admin},
    {.name = "seal", .kind = KIND_SECTION, .section = &section_of_seal},
    {.name = "backup", .kind = KIND_SECTION, .section = &section_of_backup},
    {.name = "tls", .kind = KIND_SECTION, .section = &section_of_tls},
    {.name = "crypto", .kind = KIND_SECTION, .section = &section_of_crypto},
    {.name = "auth", .kind = KIND_SECTION, .section = &section_of_auth},
};
static const struct section whole_file = SECTION(settings_of_all, wrong_all);

static void set_text(char *out, size_t cap, const char *text)
{
    snprintf(out, cap, "%s", text);
}

static void set_defaults(struct config *c)
{
    memset(c, 0, sizeof *c);
    c->nic.mtu = 1500;
    c->nic.queues = 1;
    c->nic.memory_mb = 256;
    c->net.port = 443;
    c->net.connections_max = 4096;
    c->net.keepalive_idle_s = 60;
    c->net.keepalive_interval_s = 10;
    c->net.keepalive_probes = 6;
    c->net.idle_close_s = 600;
    c->net.msl_s = 30;
    c->dataplane.workers = 1;
    set_text(c->dataplane.idle, sizeof c->dataplane.idle, "pause");
    c->dataplane.keys_max = 131072;
    c->dataplane.versions_max = 262144;
    c->dataplane.audit_records = 1048576;
    set_text(c->dataplane.warm_dir, CONFIG_TEXT_CAP, "/var/lib/wirewrap-dataplane");
    c->dataplane.warm_max_age_s = 7 * 86400;
    set_text(c->ctrl.state_dir, CONFIG_TEXT_CAP, "/var/lib/wirewrap");
    set_text(c->ctrl.ctl_socket, CONFIG_TEXT_CAP, "/run/wirewrap/ctl.sock");
    set_text(c->ctrl.admin_socket, CONFIG_TEXT_CAP, "/run/wirewrap/admin.sock");
    set_text(c->ctrl.audit_dir, CONFIG_TEXT_CAP, "/var/log/wirewrap");
    c->ctrl.disable_before_destroy = true;
    c->admin.approvals = 2;
    c->admin.approval_expiry_s = 3 * 86400;
    c->seal.argon2_memory_kib = 65536;
    c->seal.argon2_passes = 3;
    c->backup.full_every_s = 86400;
    c->backup.drill_every_s = 86400;
    c->backup.keep_for_s = 180 * 86400;
    for (size_t i = 0; i < CONFIG_SINKS_MAX; i++)
        c->backup.sinks[i].patience_s = 30;
    for (size_t i = 0; i < ISSUERS_MAX; i++)
        c->auth.issuers[i].jwks_fresh_s = 3600;
}

/* ---- reading ---- */

#define NAME_CAP  96
#define QUOTE_CAP 64

struct parser {
    yaml_parser_t yaml;
    yaml_event_t event; /* the current one; empty before the first */
    size_t name_line;   /* where the value being read was named */
    struct config_error *err;
};

__attribute__((format(printf, 3, 4))) static bool fail(struct parser *p, size_t line, const char *format, ...)
{
    va_list args;

    p->err->line = (uint32_t)line;
    va_start(args, format);
    vsnprintf(p->err->text, sizeof p->err->text, format, args);
    va_end(args);
    return false;
}

/* The 1-based line that the current event begins on. */
static size_t line_of(const struct parser *p)
{
    return p->event.start_mark.line + 1;
}

/* What the file says, fit for an error text: shortened, without bytes that a terminal would obey. */
static const char *quote(const char *s, char out[QUOTE_CAP])
{
    size_t len = 0;

    for (; s[len] != 0 && len < QUOTE_CAP - 4; len++)
        out[len] = (uint8_t)s[len] < 0x20 || s[len] == 0x7f ? '?' : s[len];
    set_text(out + len, QUOTE_CAP - len, s[len] != 0 ? "..." : "");
    return out;
}

/* Anchors, aliases and tags let a file mean what it does not show. */
static bool check_plain(struct parser *p)
{
    const yaml_event_t *e = &p->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;

    if (e->type == YAML_ALIAS_EVENT)
        return fail(p, line_of(p), "an alias (*%s) is not allowed here", (const char *)e->data.alias.anchor);
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    if (anchor != NULL)
        return fail(p, line_of(p), "an anchor (&%s) is not allowed here", (const char *)anchor);
    if (tag != NULL)
        return fail(p, line_of(p), "a tag (%s) is not allowed here", (const char *)tag);
    return true;
}

/* Makes the next event the current one. */
static bool step(struct parser *p)
{
    yaml_event_delete(&p->event);
    memset(&p->event, 0, sizeof p->event);
    if (yaml_parser_parse(&p->yaml, &p->event) != 1)
        return fail(p, p->yaml.problem_mark.line + 1, "not YAML: %s",
                    p->yaml.problem != NULL ? p->yaml.problem : "out of memory");
    return check_plain(p);
}

static bool is_plain_scalar(const struct parser *p)
{
    return p->event.type == YAML_SCALAR_EVENT && p->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static const char *scalar(const struct parser *p)
{
    return (const char *)p->event.data.scalar.value;
}

/* ---- values ---- */

/* Digits at the front of s, saturating far above every maximum; where they end. */
static const char *read_digits(const char *s, uint64_t *out)
{
    *out = 0;
    for (; *s >= '0' && *s <= '9'; s++)
        *out = *out < UINT64_C(1) << 50 ? *out * 10 + (uint64_t)(*s - '0') : *out;
    return s;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit time_units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {NULL, 0}};
static const struct unit size_units[] = {{"KiB", 1}, {"MiB", 1024}, {"GiB", 1024 * 1024}, {NULL, 0}};

/* v of the smallest unit, in the largest that says it exactly. */
static const char *with_unit(uint64_t v, const struct unit *units, char out[32])
{
    const struct unit *best = units;

    for (const struct unit *u = units; u->name != NULL; u++)
        if (v % u->factor == 0)
            best = u;
    snprintf(out, 32, "%" PRIu64 "%s", v / best->factor, best->name);
    return out;
}

static bool read_number(struct parser *p, const char *name, uint64_t min, uint64_t max, uint64_t *out)
{
    char quoted[QUOTE_CAP];

    if (!is_plain_scalar(p) || scalar(p)[0] == 0 || *read_digits(scalar(p), out) != 0)
        return fail(p, line_of(p), "%s: must be a whole number", name);
    if (*out < min || *out > max)
        return fail(p, line_of(p), "%s: must be between %" PRIu64 " and %" PRIu64 ", not %s", name, min, max,
                    quote(scalar(p), quoted));
    return true;
}

/* A number with its unit; min, max and *out count the first unit times scale. */
static bool read_quantity(struct parser *p, const char *name, const struct setting *s,
                          const struct unit *units, uint64_t scale, uint64_t *out)
{
    char low[32], high[32], quoted[QUOTE_CAP];
    bool is_time = units == time_units;
    uint64_t v;

    if (!is_plain_scalar(p) || scalar(p)[0] < '0' || scalar(p)[0] > '9')
        return fail(p, line_of(p), "%s: must be %s", name,
                    is_time ? "a duration, like 30s or 1h" : "a size, like 64MiB");
    const char *unit = read_digits(scalar(p), &v);
    while (units->name != NULL && strcmp(units->name, unit) != 0)
        units++;
    if (units->name == NULL)
        return fail(p, line_of(p), "%s: %s has %s; the units are %s", name, quote(scalar(p), quoted),
                    unit[0] == 0 ? "no unit" : "an unknown unit",
                    is_time ? "s, m, h and d" : "KiB, MiB and GiB");
    v *= units->factor;
    if (v < s->min * scale || v > s->max * scale || v % scale != 0)
        return fail(p, line_of(p), "%s: must be between %s and %s%s, not %s", name,
                    with_unit(s->min * scale, is_time ? time_units : size_units, low),
                    with_unit(s->max * scale, is_time ? time_units : size_units, high),
                    scale != 1 ? " in whole MiB" : "", quote(scalar(p), quoted));
    *out = v / scale;
    return true;
}

static bool read_bool(struct parser *p, const char *name, bool *out)
{
    if (!is_plain_scalar(p) || (strcmp(scalar(p), "true") != 0 && strcmp(scalar(p), "false") != 0))
        return fail(p, line_of(p), "%s: must be true or false", name);
    *out = scalar(p)[0] == 't';
    return true;
}

static bool is_null(const struct parser *p)
{
    const char *s = scalar(p);

    return is_plain_scalar(p) && (s[0] == 0 || strcmp(s, "~") == 0 || strcmp(s, "null") == 0);
}

/* A text, plain or in quotes; an empty one only in quotes, since a name without a value is a slip. */
static bool read_text(struct parser *p, const char *name, const struct setting *s, char *out)
{
    char quoted[QUOTE_CAP];

    if (p->event.type != YAML_SCALAR_EVENT || is_null(p))
        return fail(p, line_of(p), "%s: must be a text", name);
    size_t len = p->event.data.scalar.length;
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)scalar(p)[i] < 0x20 || scalar(p)[i] == 0x7f)
            return fail(p, line_of(p), "%s: must not hold a control character", name);
    if (len >= s->cap)
        return fail(p, line_of(p), "%s: must not be longer than %zu bytes", name, s->cap - 1);
    const char *wrong = s->wrong != NULL ? s->wrong(scalar(p)) : NULL;
    if (wrong != NULL)
        return fail(p, line_of(p), "%s: %s, not '%s'", name, wrong, quote(scalar(p), quoted));
    memcpy(out, scalar(p), len + 1);
    return true;
}

static bool read_mapping(struct parser *p, const char *name, const struct section *section, uint8_t *base);

/* One element of a list, at its place. */
static bool read_element(struct parser *p, const char *name, const struct setting *s, uint8_t *base,
                         uint16_t i)
{
    uint8_t *list = base + s->offset;
    uint64_t number;

    switch (s->kind) {
    case KIND_TEXTS:
        return read_text(p, name, s, (char *)list + i * s->cap);
    case KIND_U16S:
        if (!read_number(p, name, s->min, s->max, &number))
            return false;
        ((uint16_t *)list)[i] = (uint16_t)number;
        return true;
    default:
        p->name_line = line_of(p);
        return read_mapping(p, name, s->section, list + i * s->cap);
    }
}

static bool read_list(struct parser *p, const char *name, const struct setting *s, uint8_t *base)
{
    uint16_t *count = (uint16_t *)(base + s->count_offset);
    size_t line = line_of(p);
    char element[NAME_CAP];

    if (p->event.type != YAML_SEQUENCE_START_EVENT)
        return fail(p, line, "%s: must be a list", name);
    for (;;) {
        if (!step(p))
            return false;
        if (p->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (*count == s->count_max)
            return fail(p, line_of(p), "%s: must not have more than %u elements", name, s->count_max);
        snprintf(element, sizeof element, "%.80s[%u]", name, *count);
        if (!read_element(p, element, s, base, *count))
            return false;
        ++*count;
    }
    return (s->required && *count == 0) ? fail(p, line, "%s: must not be empty", name) : true;
}

static bool read_value(struct parser *p, const char *name, const struct setting *s, uint8_t *base)
{
    uint8_t *place = base + s->offset;
    uint64_t number = 0;
    bool ok = false;

    switch (s->kind) {
    case KIND_SECTION:
        return read_mapping(p, name, s->section, base);
    case KIND_TEXT:
        return read_text(p, name, s, (char *)place);
    case KIND_BOOL:
        return read_bool(p, name, (bool *)place);
    case KIND_TEXTS:
    case KIND_U16S:
    case KIND_ITEMS:
        return read_list(p, name, s, base);
    case KIND_U16:
        if (!read_number(p, name, s->min, s->max, &number))
            return false;
        *(uint16_t *)place = (uint16_t)number;
        return true;
    case KIND_U32:
        ok = read_number(p, name, s->min, s->max, &number);
        break;
    case KIND_DURATION:
        ok = read_quantity(p, name, s, time_units, 1, &number);
        break;
    case KIND_SIZE_KIB:
        ok = read_quantity(p, name, s, size_units, 1, &number);
        break;
    case KIND_SIZE_MIB:
        ok = read_quantity(p, name, s, size_units, 1024, &number);
        break;
    }
    if (ok)
        *(uint32_t *)place = (uint32_t)number;
    return ok;
}

/* ---- names ---- */

#define DISTANCE_CAP 48

/* How many insertions, deletions and replacements make b of a; both cut to DISTANCE_CAP. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[DISTANCE_CAP + 1], a_len = strnlen(a, DISTANCE_CAP), b_len = strnlen(b, DISTANCE_CAP);

    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            size_t shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

            diagonal = row[j];
            row[j] = replace < shift ? replace : shift;
        }
    }
    return row[b_len];
}

/* "net." for a setting of the section net, "" at the top. */
static void join_names(char out[NAME_CAP], const char *section, const char *name)
{
    snprintf(out, NAME_CAP, "%s%s%s", section, section[0] != 0 ? "." : "", name);
}

/* The nearest known name: of this section, or the same name in the section where it belongs. */
static void nearest_name(const char *key, const char *where, const struct section *section,
                         char out[NAME_CAP])
{
    const struct setting *best = &section->settings[0];

    for (size_t i = 0; i < whole_file.count; i++) {
        const struct section *other = settings_of_all[i].section;

        for (size_t j = 0; j < other->count; j++) {
            if (other != section && strcmp(other->settings[j].name, key) == 0) {
                join_names(out, settings_of_all[i].name, key);
                return;
            }
        }
    }
    for (size_t i = 1; i < section->count; i++)
        if (edit_distance(key, section->settings[i].name) < edit_distance(key, best->name))
            best = &section->settings[i];
    join_names(out, where, best->name);
}

static bool fail_unknown(struct parser *p, const char *where, const struct section *section)
{
    char near[NAME_CAP], full[NAME_CAP], quoted[QUOTE_CAP];

    join_names(full, where, quote(scalar(p), quoted));
    nearest_name(scalar(p), where, section, near);
    return fail(p, line_of(p), "unknown key %s; did you mean %s?", full, near);
}

/* What is required and was not given, in a section that begins on this line or is not there at all. */
static bool check_missing(struct parser *p, size_t line, const char *where, const struct section *section,
                          uint32_t seen)
{
    char name[NAME_CAP];

    for (size_t i = 0; i < section->count; i++) {
        const struct setting *s = &section->settings[i];

        if (seen & UINT32_C(1) << i)
            continue;
        join_names(name, where, s->name);
        if (s->required)
            return fail(p, line, "%s is missing", name);
        if (s->kind == KIND_SECTION && !check_missing(p, line, name, s->section, 0))
            return false;
    }
    return true;
}

/* One key and its value; the key is the current event.  seen: the settings that came before. */
static bool read_setting(struct parser *p, const char *where, const struct section *section, uint8_t *base,
                         uint32_t *seen)
{
    char name[NAME_CAP];
    size_t i = 0;

    if (p->event.type != YAML_SCALAR_EVENT)
        return fail(p, line_of(p), "a key must be a name");
    while (i < section->count && strcmp(section->settings[i].name, scalar(p)) != 0)
        i++;
    if (i == section->count)
        return fail_unknown(p, where, section);
    join_names(name, where, section->settings[i].name);
    if (*seen & UINT32_C(1) << i)
        return fail(p, line_of(p), "%s is given twice", name);
    *seen |= UINT32_C(1) << i;
    p->name_line = line_of(p);
    return step(p) && read_value(p, name, &section->settings[i], base);
}

/* Nothing at all stands for an empty section: all of its lines may be comments. */
static bool section_begins(const struct parser *p, bool *empty)
{
    *empty = p->event.type == YAML_SCALAR_EVENT && is_plain_scalar(p) && scalar(p)[0] == 0;
    return *empty || p->event.type == YAML_MAPPING_START_EVENT;
}

/* Recurses as deep as the tables do, whatever the file holds. */
static bool read_mapping(struct parser *p, const char *name, const struct section *section, uint8_t *base)
{
    size_t line = p->name_line;
    uint32_t seen = 0;
    bool ended;

    if (!section_begins(p, &ended))
        return fail(p, line_of(p), "%s: must be a mapping of names to values",
                    name[0] != 0 ? name : "the file");
    while (!ended) {
        if (!step(p))
            return false;
        ended = p->event.type == YAML_MAPPING_END_EVENT;
        if (!ended && !read_setting(p, name, section, base, &seen))
            return false;
    }
    if (!check_missing(p, line, name, section, seen))
        return false;
    const char *wrong = section->wrong != NULL ? section->wrong(base) : NULL;
    return wrong == NULL || fail(p, line, "%s%s%s", name, name[0] != 0 ? ": " : "", wrong);
}

static bool read_file(struct parser *p, struct config *out)
{
    if (!step(p) || !step(p)) /* the stream begins; then a document, or nothing */
        return false;
    if (p->event.type == YAML_STREAM_END_EVENT)
        return fail(p, 1, "the file is empty");
    if (!step(p) || !read_mapping(p, "", &whole_file, (uint8_t *)out))
        return false;
    if (!step(p) || !step(p)) /* the document ends, and the stream with it */
        return false;
    return p->event.type == YAML_STREAM_END_EVENT || fail(p, line_of(p), "a second document is not allowed");
}

bool config_parse(struct span yaml, struct config *out, struct config_error *err)
{
    struct parser p = {.err = err, .name_line = 1};

    set_defaults(out);
    if (yaml.len > CONFIG_LEN_MAX)
        return fail(&p, 1, "the file is longer than %d bytes", CONFIG_LEN_MAX);
    if (yaml_parser_initialize(&p.yaml) != 1)
        return fail(&p, 1, "out of memory");
    yaml_parser_set_encoding(&p.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p.yaml, yaml.ptr, yaml.len);
    bool ok = read_file(&p, out);
    yaml_event_delete(&p.event);
    yaml_parser_delete(&p.yaml);
    return ok;
}
