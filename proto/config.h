/* wirewrap.yaml: the one configuration file, read by both processes at start and by ctrl on reload.
 *
 * Pure: text in, struct config out.  An unknown key is an error with its line and the nearest known name; so
 * are a wrong type, a value out of range, a duplicate, a missing requirement.  Strings are copied into the
 * struct; durations carry units (30s, 1h), sizes too (64MiB).  Anchors, aliases, tags and a second document
 * are refused.  Every setting with its default and range: docs/wirewrap.yaml.example. */
#ifndef PROTO_CONFIG_H
#define PROTO_CONFIG_H

#include "base/limits.h"
#include "base/span.h"

#define CONFIG_TEXT_CAP      256
#define CONFIG_LEN_MAX       (256 * 1024)
#define CONFIG_ADDRESSES_MAX 16
#define CONFIG_ROUTES_MAX    32

struct config_issuer {
    char iss[CONFIG_TEXT_CAP];
    char jwks_file[CONFIG_TEXT_CAP];
    uint32_t jwks_fresh_s;
};

struct config_route {
    char dst[64]; /* prefix */
    char via[64]; /* gateway, or empty = on-link */
};

#define CONFIG_SINKS_MAX      8
#define CONFIG_RECIPIENTS_MAX 7

struct config_sink {
    char name[32];
    char kind[16];               /* directory, s3, sftp */
    char place[CONFIG_TEXT_CAP]; /* absolute path; https://host[:port]; sftp://user@host[:port]/dir */
    char region[64], bucket[CONFIG_TEXT_CAP], prefix[CONFIG_TEXT_CAP]; /* s3 */
    char credentials_file[CONFIG_TEXT_CAP];                            /* s3, sftp */
    char trust_file[CONFIG_TEXT_CAP]; /* s3: CA file, empty = the system's; sftp: known_hosts */
    uint32_t patience_s;
    bool required;
};

#define CONFIG_PEOPLE_MAX 16

enum config_role {
    ROLE_OPERATOR = 1,
    ROLE_KEY_OFFICER = 2,
    ROLE_AUDITOR = 4,
    ROLE_APPROVER = 8,
    ROLES_ALL = 15
};

struct config_person {
    char name[64];                           /* the CN of the client certificate */
    char uid[12];                            /* on the local socket; empty = not there */
    char roles[64];                          /* config_roles reads them */
    char approval_key_file[CONFIG_TEXT_CAP]; /* PEM of an ECDSA P-256 public key */
};

struct config {
    struct {
        char device[CONFIG_TEXT_CAP]; /* KIND:NAME, as drivers/nic/dpdk knows them: "tap:ww0",
                                         "virtio-user:/path", "af_packet:eth1", "pci:0000:01:00.0" */
        char mac[18];                 /* empty = the device's */
        uint16_t mtu;
        uint16_t vlan; /* 0: untagged */
        uint16_t queues;
        bool hugepages;
        uint32_t memory_mb;
    } nic;
    struct {
        uint16_t address_count;
        char addresses[CONFIG_ADDRESSES_MAX][64]; /* prefixes */
        uint16_t route_count;
        struct config_route routes[CONFIG_ROUTES_MAX];
        uint16_t port;
        uint32_t connections_max;
        uint32_t keepalive_idle_s, keepalive_interval_s; /* 0: never */
        uint16_t keepalive_probes;
        uint32_t idle_close_s; /* 0: never */
        uint32_t msl_s;
    } net;
    struct {
        uint16_t workers;
        uint16_t cores[WORKERS_MAX]; /* empty = unpinned */
        uint16_t core_count;
        char idle[16]; /* spin, pause, sleep */
        uint32_t keys_max, versions_max;
        uint32_t audit_records;
        char warm_dir[CONFIG_TEXT_CAP];
        char warm_key[CONFIG_TEXT_CAP]; /* credential:NAME or tpm2:FILE; empty = no warm start */
        uint32_t warm_max_age_s;
    } dataplane;
    struct {
        char state_dir[CONFIG_TEXT_CAP];
        char ctl_socket[CONFIG_TEXT_CAP];
        char admin_socket[CONFIG_TEXT_CAP];
        char audit_dir[CONFIG_TEXT_CAP];
        bool disable_before_destroy;
    } ctrl;
    struct {
        char listen[64]; /* ADDRESS:PORT; empty = the local socket alone */
        char certificate_file[CONFIG_TEXT_CAP];
        char key_file[CONFIG_TEXT_CAP];
        char client_ca_file[CONFIG_TEXT_CAP];
        uint16_t approvals; /* signatures that a dangerous change needs */
        uint32_t approval_expiry_s;
        uint16_t person_count;
        struct config_person people[CONFIG_PEOPLE_MAX];
    } admin;
    struct {
        char passphrase_file[CONFIG_TEXT_CAP]; /* empty: no slot is opened by one */
        char device_program[CONFIG_TEXT_CAP];  /* ww-seal; empty: beside ww-ctrl */
        uint32_t argon2_memory_kib, argon2_passes;
    } seal;
    struct {
        uint16_t recipient_count;
        char recipients[CONFIG_RECIPIENTS_MAX][CONFIG_TEXT_CAP]; /* age1... */
        char drill_identity_file[CONFIG_TEXT_CAP];               /* empty = no drills */
        uint16_t required; /* sinks that must hold a version before it serves */
        uint32_t full_every_s, drill_every_s, keep_for_s;
        uint16_t sink_count;
        struct config_sink sinks[CONFIG_SINKS_MAX];
    } backup;
    struct {
        char certificate_file[CONFIG_TEXT_CAP];
        char key_file[CONFIG_TEXT_CAP];
    } tls;
    struct {
        char engine[CONFIG_TEXT_CAP]; /* a name or an absolute path; empty = OpenSSL's own */
    } crypto;
    struct {
        uint16_t issuer_count;
        struct config_issuer issuers[ISSUERS_MAX];
        uint16_t audience_count;
        char audiences[AUDIENCES_MAX][CONFIG_TEXT_CAP];
    } auth;
};

struct config_error {
    uint32_t line;  /* 1-based */
    char text[512]; /* names the key, what is wrong and the nearest right thing */
};

/* "operator, key_officer, auditor, approver" as a bit set; 0: some word is none of these. */
uint32_t config_roles(const char *text);

/* false: *err says what is wrong, *out is not to be used.  Texts in *out are what their setting asks for:
 * addresses and prefixes parse, paths are absolute. */
bool MUST_USE config_parse(struct span yaml, struct config *out, struct config_error *err);

#endif
