#include "proto/config.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

static struct config config;
static struct config_error error;

static bool parse(const char *text, size_t len)
{
    uint8_t *copy = malloc(len != 0 ? len : 1);

    assert_non_null(copy);
    memcpy(copy, text, len);
    memset(&error, 0, sizeof error);
    bool ok = config_parse(span_of(copy, len), &config, &error);
    free(copy);
    if (!ok && error.text[0] == 0)
        fail_msg("an error without a text");
    return ok;
}

/* The parts of a sound file: a case replaces or extends one of them. */
#define NIC   "nic:\n  device: tap:ww0\n"                   /* lines 1, 2 */
#define NET   "net:\n  addresses: [192.0.2.2/24]\n"         /* lines 3, 4 */
#define SEAL  "seal:\n  passphrase_file: /p\n"              /* lines 5, 6 */
#define TLS   "tls: {certificate_file: /c, key_file: /k}\n" /* line 7 */
#define AUTH  "auth:\n  audiences: [https://a]\n"           /* lines 8, 9 */
#define SOUND NIC NET SEAL TLS AUTH
#define REST  NET SEAL TLS AUTH

/* name, text, line, error */
#define REFUSED(X)                                                                                           \
    /* --- not YAML, or more YAML than we take --- */                                                        \
    X(empty_file, "", 1, "the file is empty")                                                                \
    X(file_of_comments, "# nothing\n", 1, "the file is empty")                                               \
    X(unbalanced_bracket, NIC "net: {\n", 4, "not YAML: did not find expected node content")                 \
    X(tab_as_indentation, "nic:\n\tdevice: tap:ww0\n", 2,                                                    \
      "not YAML: found character that cannot start any token")                                               \
    X(bytes_that_are_not_utf8, "nic:\n  device: \xff\n", 1, "not YAML: invalid leading UTF-8 octet")         \
    X(nul_byte, "nic:\n  device: a\0b\n", 1, "not YAML: control characters are not allowed")                 \
    X(anchor, "nic: &a\n  device: tap:ww0\n", 1, "an anchor (&a) is not allowed here")                       \
    X(anchor_on_a_value, "nic:\n  device: &d tap:ww0\n", 2, "an anchor (&d) is not allowed here")            \
    X(anchor_on_a_list, "net:\n  addresses: &l [192.0.2.2/24]\n", 2, "an anchor (&l) is not allowed here")   \
    X(alias, "nic:\n  device: *d\n", 2, "an alias (*d) is not allowed here")                                 \
    X(tag, "nic:\n  device: !!str tap:ww0\n", 2, "a tag (tag:yaml.org,2002:str) is not allowed here")        \
    X(tag_on_a_mapping, "nic: !x\n  device: tap:ww0\n", 1, "a tag (!x) is not allowed here")                 \
    X(tag_on_a_list, "net:\n  addresses: !l [192.0.2.2/24]\n", 2, "a tag (!l) is not allowed here")          \
    X(second_document, SOUND "---\nnic: {}\n", 10, "a second document is not allowed")                       \
    X(list_as_file, "- nic\n", 1, "the file: must be a mapping of names to values")                          \
    X(text_as_file, "nic\n", 1, "the file: must be a mapping of names to values")                            \
    X(list_as_key, "? [a]\n: b\n", 1, "a key must be a name")                                                \
    X(engine_that_leads_out_of_its_folder, SOUND "crypto:\n  engine: ../qat\n", 11,                          \
      "crypto.engine: must be a name like qatprovider, or the absolute path of a shared object, not "        \
      "'../qat'")                                                                                            \
    X(engine_with_a_space, SOUND "crypto:\n  engine: a b\n", 11,                                             \
      "crypto.engine: must be a name like qatprovider, or the absolute path of a shared object, not 'a b'")  \
    /* --- unknown names --- */                                                                              \
    X(unknown_section, NIC "nett:\n  port: 1\n", 3, "unknown key nett; did you mean net?")                   \
    X(unknown_key, NIC "  quues: 1\n", 3, "unknown key nic.quues; did you mean nic.queues?")                 \
    X(unknown_key_far_from_all, NIC "  zzzzzzzzzzzzz: 1\n", 3,                                               \
      "unknown key nic.zzzzzzzzzzzzz; did you mean nic.device?")                                             \
    X(key_in_another_case, "nic:\n  Device: tap:ww0\n", 2,                                                   \
      "unknown key nic.Device; did you mean nic.device?")                                                    \
    X(key_of_another_section, NIC "  port: 443\n", 3, "unknown key nic.port; did you mean net.port?")        \
    X(key_without_its_section, "device: tap:ww0\n", 1, "unknown key device; did you mean nic.device?")       \
    X(merge_key, "nic:\n  <<: {device: tap:ww0}\n", 2, "unknown key nic.<<; did you mean nic.mac?")          \
    X(unknown_key_of_a_route, NIC NET "  routes:\n    - dst: 0.0.0.0/0\n      viaa: 192.0.2.1\n", 7,         \
      "unknown key net.routes[0].viaa; did you mean net.routes[0].via?")                                     \
    X(unknown_key_of_an_issuer, "auth:\n  issuers:\n    - {issuer: a}\n", 3,                                 \
      "unknown key auth.issuers[0].issuer; did you mean auth.issuers[0].iss?")                               \
    X(unknown_key_that_a_terminal_would_obey, "\"a\\eb\": 1\n", 1, "unknown key a?b; did you mean nic?")     \
    /* --- twice, missing --- */                                                                             \
    X(key_given_twice, NIC "  device: tap:ww1\n", 3, "nic.device is given twice")                            \
    X(section_given_twice, NIC NET "nic:\n  mtu: 1500\n", 5, "nic is given twice")                           \
    X(key_of_a_route_given_twice, NIC NET "  routes:\n  - {dst: \"::/0\", dst: \"::/0\"}\n", 6,              \
      "net.routes[0].dst is given twice")                                                                    \
    X(missing_key, "nic:\n  mtu: 1500\n" REST, 1, "nic.device is missing")                                   \
    X(missing_section, REST, 1, "nic.device is missing")                                                     \
    X(missing_addresses, NIC "net:\n  port: 443\n" SEAL TLS AUTH, 3, "net.addresses is missing")             \
    X(missing_certificate_file, NIC NET SEAL "tls: {key_file: /k}\n" AUTH, 7,                                \
      "tls.certificate_file is missing")                                                                     \
    X(missing_key_file, NIC NET SEAL "tls: {certificate_file: /c}\n" AUTH, 7, "tls.key_file is missing")     \
    X(missing_audiences, NIC NET SEAL TLS, 1, "auth.audiences is missing")                                   \
    X(missing_dst, NIC NET "  routes:\n    - via: 192.0.2.1\n", 6, "net.routes[0].dst is missing")           \
    X(missing_iss, "auth:\n  issuers:\n  - jwks_file: /j\n", 3, "auth.issuers[0].iss is missing")            \
    X(missing_jwks_file, "auth:\n  issuers:\n  - iss: i\n", 3, "auth.issuers[0].jwks_file is missing")       \
    X(empty_list_of_addresses, NIC "net:\n  addresses: []\n", 4, "net.addresses: must not be empty")         \
    X(empty_list_of_audiences, "auth:\n  audiences: []\n", 2, "auth.audiences: must not be empty")           \
    /* --- wrong type --- */                                                                                 \
    X(text_as_section, "nic: tap:ww0\n", 1, "nic: must be a mapping of names to values")                     \
    X(section_of_nothing_without_what_is_required, "net:\nnic:\n", 1, "net.addresses is missing")            \
    X(list_as_section, "nic: []\n", 1, "nic: must be a mapping of names to values")                          \
    X(list_as_text, "nic:\n  device: [a]\n", 2, "nic.device: must be a text")                                \
    X(mapping_as_text, "nic:\n  device: {a: b}\n", 2, "nic.device: must be a text")                          \
    X(nothing_as_text, "nic:\n  device:\n", 2, "nic.device: must be a text")                                 \
    X(null_as_text, "nic:\n  device: null\n", 2, "nic.device: must be a text")                               \
    X(tilde_as_text, "nic:\n  device: ~\n", 2, "nic.device: must be a text")                                 \
    X(text_as_number, "nic:\n  mtu: big\n", 2, "nic.mtu: must be a whole number")                            \
    X(quoted_number, "nic:\n  mtu: \"1500\"\n", 2, "nic.mtu: must be a whole number")                        \
    X(nothing_as_number, "nic:\n  mtu:\n", 2, "nic.mtu: must be a whole number")                             \
    X(negative_number, "nic:\n  mtu: -1500\n", 2, "nic.mtu: must be a whole number")                         \
    X(fraction_as_number, "nic:\n  mtu: 1500.0\n", 2, "nic.mtu: must be a whole number")                     \
    X(hexadecimal_number, "nic:\n  mtu: 0x5dc\n", 2, "nic.mtu: must be a whole number")                      \
    X(number_with_separators, "nic:\n  mtu: 1_500\n", 2, "nic.mtu: must be a whole number")                  \
    X(list_as_number, "nic:\n  mtu: [1500]\n", 2, "nic.mtu: must be a whole number")                         \
    X(yes_as_boolean, "nic:\n  hugepages: yes\n", 2, "nic.hugepages: must be true or false")                 \
    X(number_as_boolean, "nic:\n  hugepages: 1\n", 2, "nic.hugepages: must be true or false")                \
    X(quoted_boolean, "nic:\n  hugepages: \"true\"\n", 2, "nic.hugepages: must be true or false")            \
    X(text_as_list, "net:\n  addresses: 192.0.2.2/24\n", 2, "net.addresses: must be a list")                 \
    X(mapping_as_list, "net:\n  routes: {dst: a}\n", 2, "net.routes: must be a list")                        \
    X(list_in_a_list, "net:\n  addresses: [[a]]\n", 2, "net.addresses[0]: must be a text")                   \
    X(text_as_item, "net:\n  routes: [a]\n", 2, "net.routes[0]: must be a mapping of names to values")       \
    X(text_as_element_of_numbers, "dataplane:\n  cores:\n    - 1\n    - a\n", 4,                             \
      "dataplane.cores[1]: must be a whole number")                                                          \
    /* --- out of range --- */                                                                               \
    X(mtu_too_small, "nic:\n  mtu: 1279\n", 2, "nic.mtu: must be between 1280 and 9000, not 1279")           \
    X(vlan_too_large, "nic:\n  vlan: 4095\n", 2, "nic.vlan: must be between 0 and 4094, not 4095")           \
    X(mtu_too_large, "nic:\n  mtu: 9001\n", 2, "nic.mtu: must be between 1280 and 9000, not 9001")           \
    X(queues_zero, "nic:\n  queues: 0\n", 2, "nic.queues: must be between 1 and 16, not 0")                  \
    X(port_zero, "net:\n  port: 0\n", 2, "net.port: must be between 1 and 65535, not 0")                     \
    X(port_too_large, "net:\n  port: 65536\n", 2, "net.port: must be between 1 and 65535, not 65536")        \
    X(port_that_would_wrap, "net:\n  port: 18446744073709552059\n", 2,                                       \
      "net.port: must be between 1 and 65535, not 18446744073709552059")                                     \
    X(workers_too_many, "dataplane:\n  workers: 17\n", 2,                                                    \
      "dataplane.workers: must be between 1 and 16, not 17")                                                 \
    X(core_too_large, "dataplane:\n  cores: [1024]\n", 2,                                                    \
      "dataplane.cores[0]: must be between 0 and 1023, not 1024")                                            \
    X(keys_max_too_large, "dataplane:\n  keys_max: 4194305\n", 2,                                            \
      "dataplane.keys_max: must be between 16 and 4194304, not 4194305")                                     \
    X(memory_too_small, "nic:\n  memory: 63MiB\n", 2,                                                        \
      "nic.memory: must be between 64MiB and 64GiB in whole MiB, not 63MiB")                                 \
    X(memory_not_in_whole_mib, "nic:\n  memory: 65537KiB\n", 2,                                              \
      "nic.memory: must be between 64MiB and 64GiB in whole MiB, not 65537KiB")                              \
    X(duration_too_short, "auth:\n  issuers:\n  - jwks_fresh: 59s\n", 3,                                     \
      "auth.issuers[0].jwks_fresh: must be between 1m and 30d, not 59s")                                     \
    X(duration_too_long, "auth:\n  issuers:\n  - jwks_fresh: 31d\n", 3,                                      \
      "auth.issuers[0].jwks_fresh: must be between 1m and 30d, not 31d")                                     \
    X(duration_that_would_wrap, "auth:\n  issuers:\n  - jwks_fresh: 18446744073709551676s\n", 3,             \
      "auth.issuers[0].jwks_fresh: must be between 1m and 30d, not 18446744073709551676s")                   \
    /* --- units --- */                                                                                      \
    X(duration_without_unit, "auth:\n  issuers:\n  - jwks_fresh: 3600\n", 3,                                 \
      "auth.issuers[0].jwks_fresh: 3600 has no unit; the units are s, m, h and d")                           \
    X(duration_with_unknown_unit, "auth:\n  issuers:\n  - jwks_fresh: 5w\n", 3,                              \
      "auth.issuers[0].jwks_fresh: 5w has an unknown unit; the units are s, m, h and d")                     \
    X(duration_in_capitals, "auth:\n  issuers:\n  - jwks_fresh: 1H\n", 3,                                    \
      "auth.issuers[0].jwks_fresh: 1H has an unknown unit; the units are s, m, h and d")                     \
    X(duration_that_is_no_number, "auth:\n  issuers:\n  - jwks_fresh: soon\n", 3,                            \
      "auth.issuers[0].jwks_fresh: must be a duration, like 30s or 1h")                                      \
    X(duration_with_a_sign, "auth:\n  issuers:\n  - jwks_fresh: -1h\n", 3,                                   \
      "auth.issuers[0].jwks_fresh: must be a duration, like 30s or 1h")                                      \
    X(size_without_unit, "nic:\n  memory: 256\n", 2,                                                         \
      "nic.memory: 256 has no unit; the units are KiB, MiB and GiB")                                         \
    X(size_in_decimal_units, "nic:\n  memory: 256MB\n", 2,                                                   \
      "nic.memory: 256MB has an unknown unit; the units are KiB, MiB and GiB")                               \
    X(size_that_is_no_number, "nic:\n  memory: much\n", 2, "nic.memory: must be a size, like 64MiB")         \
    /* --- what a text must be --- */                                                                        \
    X(device_without_kind, "nic:\n  device: eth0\n", 2,                                                      \
      "nic.device: must be tap:NAME, virtio-user:PATH, af_packet:NAME, memif:PATH or pci:ADDRESS, not "      \
      "'eth0'")                                                                                              \
    X(device_without_name, "nic:\n  device: \"tap:\"\n", 2,                                                  \
      "nic.device: must be tap:NAME, virtio-user:PATH, af_packet:NAME, memif:PATH or pci:ADDRESS, not "      \
      "'tap:'")                                                                                              \
    X(mac_too_short, "nic:\n  mac: 02:00:00:00:00\n", 2,                                                     \
      "nic.mac: must be six hexadecimal pairs with colons between, the address of one station, "             \
      "not '02:00:00:00:00'")                                                                                \
    X(mac_too_long, "nic:\n  mac: 02:00:00:00:00:01:02\n", 2, "nic.mac: must not be longer than 17 bytes")   \
    X(mac_with_dashes, "nic:\n  mac: 02-00-00-00-00-01\n", 2,                                                \
      "nic.mac: must be six hexadecimal pairs with colons between, the address of one station, "             \
      "not '02-00-00-00-00-01'")                                                                             \
    X(mac_with_a_wrong_digit, "nic:\n  mac: 02:00:00:00:00:0g\n", 2,                                         \
      "nic.mac: must be six hexadecimal pairs with colons between, the address of one station, "             \
      "not '02:00:00:00:00:0g'")                                                                             \
    X(mac_with_a_sign, "nic:\n  mac: 02:00:00:00:00:+1\n", 2,                                                \
      "nic.mac: must be six hexadecimal pairs with colons between, the address of one station, "             \
      "not '02:00:00:00:00:+1'")                                                                             \
    X(mac_of_a_group, "nic:\n  mac: 01:00:5e:00:00:01\n", 2,                                                 \
      "nic.mac: must be six hexadecimal pairs with colons between, the address of one station, "             \
      "not '01:00:5e:00:00:01'")                                                                             \
    X(mac_of_zeros, "nic:\n  mac: 00:00:00:00:00:00\n", 2,                                                   \
      "nic.mac: must be six hexadecimal pairs with colons between, the address of one station, "             \
      "not '00:00:00:00:00:00'")                                                                             \
    X(address_without_length, "net:\n  addresses:\n  - 192.0.2.2/24\n  - 192.0.2.3\n", 4,                    \
      "net.addresses[1]: must be an address and its prefix length, like 192.0.2.2/24, not '192.0.2.3'")      \
    X(address_with_length_over_32, "net:\n  addresses: [192.0.2.2/33]\n", 2,                                 \
      "net.addresses[0]: must be an address and its prefix length, like 192.0.2.2/24, not '192.0.2.2/33'")   \
    X(address_with_length_over_128, "net:\n  addresses: [\"::1/129\"]\n", 2,                                 \
      "net.addresses[0]: must be an address and its prefix length, like 192.0.2.2/24, not '::1/129'")        \
    X(address_with_empty_length, "net:\n  addresses: [192.0.2.2/]\n", 2,                                     \
      "net.addresses[0]: must be an address and its prefix length, like 192.0.2.2/24, not '192.0.2.2/'")     \
    X(address_with_leading_zero_in_its_length, "net:\n  addresses: [192.0.2.2/08]\n", 2,                     \
      "net.addresses[0]: must be an address and its prefix length, like 192.0.2.2/24, not '192.0.2.2/08'")   \
    X(address_with_a_letter_in_its_length, "net:\n  addresses: [192.0.2.2/2a]\n", 2,                         \
      "net.addresses[0]: must be an address and its prefix length, like 192.0.2.2/24, not '192.0.2.2/2a'")   \
    X(address_with_a_sign_in_its_length, "net:\n  addresses: [192.0.2.2/+8]\n", 2,                           \
      "net.addresses[0]: must be an address and its prefix length, like 192.0.2.2/24, not '192.0.2.2/+8'")   \
    X(address_with_a_mask, "net:\n  addresses: [192.0.2.2/255.255.255.0]\n", 2,                              \
      "net.addresses[0]: must be an address and its prefix length, like 192.0.2.2/24, "                      \
      "not '192.0.2.2/255.255.255.0'")                                                                       \
    X(name_as_address, "net:\n  addresses: [localhost/8]\n", 2,                                              \
      "net.addresses[0]: must be an address and its prefix length, like 192.0.2.2/24, not 'localhost/8'")    \
    X(via_that_is_no_address, "net:\n  routes: [{dst: 0.0.0.0/0, via: gw}]\n", 2,                            \
      "net.routes[0].via: must be an IPv4 or IPv6 address, not 'gw'")                                        \
    X(via_of_another_family, "net:\n  routes:\n    - {dst: 0.0.0.0/0, via: \"::1\"}\n", 3,                   \
      "net.routes[0]: dst and via must be of one address family")                                            \
    X(idle_unknown, "dataplane:\n  idle: poll\n", 2,                                                         \
      "dataplane.idle: must be spin, pause or sleep, not 'poll'")                                            \
    X(relative_path, "ctrl:\n  state_dir: state\n", 2,                                                       \
      "ctrl.state_dir: must be an absolute path, not 'state'")                                               \
    X(root_as_path, "ctrl:\n  state_dir: /\n", 2, "ctrl.state_dir: must be an absolute path, not '/'")       \
    X(passphrase_file_that_is_neither_path_nor_credential, "seal:\n  passphrase_file: srk\n", 2,             \
      "seal.passphrase_file: must be an absolute path, or credential:NAME, not 'srk'")                       \
    X(warm_key_in_a_file, "dataplane:\n  warm_key: /etc/key\n", 2,                                           \
      "dataplane.warm_key: must be credential:NAME or tpm2:FILE: a key in a file beside the snapshot "       \
      "protects nothing, "                                                                                   \
      "not '/etc/key'")                                                                                      \
    X(sealed_warm_key_with_a_relative_path, "dataplane:\n  warm_key: \"tpm2:w\"\n", 2,                       \
      "dataplane.warm_key: must name a file of ww-seal warm-key, absolute, after tpm2:, not 'tpm2:w'")       \
    X(credential_that_is_a_path, "seal:\n  passphrase_file: credential:a/b\n", 2,                            \
      "seal.passphrase_file: must name a credential after credential:, not 'credential:a/b'")                \
    X(relative_device_program, "seal:\n  device_program: ww-seal\n", 2,                                      \
      "seal.device_program: must be an absolute path, not 'ww-seal'")                                        \
    X(empty_path, "tls:\n  key_file: \"\"\n", 2, "tls.key_file: must be an absolute path, not ''")           \
    X(path_with_a_line_break, "tls:\n  key_file: \"/a\\nb\"\n", 2,                                           \
      "tls.key_file: must not hold a control character")                                                     \
    X(path_with_an_escaped_nul, "tls:\n  key_file: \"/a\\0b\"\n", 2,                                         \
      "tls.key_file: must not hold a control character")                                                     \
    X(empty_audience, "auth:\n  audiences: [\"\"]\n", 2, "auth.audiences[0]: must not be empty, not ''")     \
    X(empty_iss, "auth:\n  issuers: [{iss: \"\"}]\n", 2, "auth.issuers[0].iss: must not be empty, not ''")   \
    /* --- settings that contradict each other --- */                                                        \
    X(cores_fewer_than_workers, "dataplane:\n  workers: 2\n  cores: [1]\n", 1,                               \
      "dataplane: cores must name one core for each of the workers, or none")                                \
    X(audit_records_not_a_power_of_two, "dataplane:\n  audit_records: 1025\n", 1,                            \
      "dataplane: audit_records must be a power of two")                                                     \
    X(fewer_versions_than_keys, "dataplane: {keys_max: 32, versions_max: 31}\n", 1,                          \
      "dataplane: versions_max must not be below keys_max: each key has a version")                          \
    X(fewer_queues_than_workers, SOUND "dataplane:\n  workers: 2\n", 1,                                      \
      "nic.queues must not be below dataplane.workers: each worker polls its own queue")                     \
    X(two_issuers_of_one_name,                                                                               \
      "auth:\n  issuers:\n  - {iss: a, jwks_file: /a}\n  - {iss: a, jwks_file: /b}\n  audiences: [a]\n", 1,  \
      "auth: two issuers have the same iss")

#define X(name, bytes, at, expected)                                                                         \
    static void name##_is_refused(void **state)                                                              \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_false(parse(bytes, sizeof(bytes) - 1));                                                       \
        assert_string_equal(error.text, expected);                                                           \
        assert_int_equal(error.line, at);                                                                    \
    }
REFUSED(X)
#undef X

static bool text_is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

#define ISSUER "  issuers:\n  - {iss: i, jwks_file: /j"

/* name, text, what must hold then */
#define TAKEN(X)                                                                                             \
    X(device_is_read, SOUND, text_is(config.nic.device, "tap:ww0"))                                          \
    X(addresses_are_read, SOUND,                                                                             \
      config.net.address_count == 1 && text_is(config.net.addresses[0], "192.0.2.2/24"))                     \
    X(passphrase_file_is_read, SOUND, text_is(config.seal.passphrase_file, "/p"))                            \
    X(warm_key_may_be_a_credential, NIC NET "dataplane:\n  warm_key: credential:warm\n" SEAL TLS AUTH,       \
      text_is(config.dataplane.warm_key, "credential:warm"))                                                 \
    X(warm_key_may_be_sealed_by_a_tpm, NIC NET "dataplane:\n  warm_key: \"tpm2:/etc/w\"\n" SEAL TLS AUTH,    \
      text_is(config.dataplane.warm_key, "tpm2:/etc/w"))                                                     \
    X(warm_start_is_off_by_default, SOUND, text_is(config.dataplane.warm_key, ""))                           \
    X(passphrase_may_be_a_credential, NIC NET "seal:\n  passphrase_file: credential:srk\n" TLS AUTH,         \
      text_is(config.seal.passphrase_file, "credential:srk"))                                                \
    X(passphrase_may_be_left_out, NIC NET TLS AUTH, text_is(config.seal.passphrase_file, ""))                \
    X(device_program_is_read, NIC NET "seal:\n  device_program: /usr/lib/wirewrap/ww-seal\n" TLS AUTH,       \
      text_is(config.seal.device_program, "/usr/lib/wirewrap/ww-seal"))                                      \
    X(tls_files_are_read, SOUND,                                                                             \
      text_is(config.tls.certificate_file, "/c") && text_is(config.tls.key_file, "/k"))                      \
    X(audiences_are_read, SOUND,                                                                             \
      config.auth.audience_count == 1 && text_is(config.auth.audiences[0], "https://a"))                     \
    X(order_of_sections_is_free, AUTH TLS SEAL NET NIC, text_is(config.nic.device, "tap:ww0"))               \
    X(default_of_mtu, SOUND, config.nic.mtu == 1500)                                                         \
    X(default_of_vlan, SOUND, config.nic.vlan == 0)                                                          \
    X(vlan_is_read, NIC "  vlan: 4094\n" REST, config.nic.vlan == 4094)                                      \
    X(default_of_mac, SOUND, config.nic.mac[0] == 0)                                                         \
    X(default_of_queues, SOUND, config.nic.queues == 1)                                                      \
    X(default_of_hugepages, SOUND, !config.nic.hugepages)                                                    \
    X(default_of_memory, SOUND, config.nic.memory_mb == 256)                                                 \
    X(default_of_port, SOUND, config.net.port == 443)                                                        \
    X(default_of_routes, SOUND, config.net.route_count == 0)                                                 \
    X(default_of_connections_max, SOUND, config.net.connections_max == 4096)                                 \
    X(default_of_keep_alive, SOUND,                                                                          \
      config.net.keepalive_idle_s == 60 && config.net.keepalive_interval_s == 10 &&                          \
          config.net.keepalive_probes == 6)                                                                  \
    X(default_of_idle_close_and_msl, SOUND, config.net.idle_close_s == 600 && config.net.msl_s == 30)        \
    X(default_of_workers, SOUND, config.dataplane.workers == 1 && config.dataplane.core_count == 0)          \
    X(default_of_idle, SOUND, text_is(config.dataplane.idle, "pause"))                                       \
    X(default_of_keys_and_versions, SOUND,                                                                   \
      config.dataplane.keys_max == 131072 && config.dataplane.versions_max == 262144)                        \
    X(default_of_audit_records, SOUND, config.dataplane.audit_records == 1048576)                            \
    X(default_of_state_dir, SOUND, text_is(config.ctrl.state_dir, "/var/lib/wirewrap"))                      \
    X(default_of_audit_dir, SOUND, text_is(config.ctrl.audit_dir, "/var/log/wirewrap"))                      \
    X(default_of_sockets, SOUND,                                                                             \
      text_is(config.ctrl.ctl_socket, "/run/wirewrap/ctl.sock") &&                                           \
          text_is(config.ctrl.admin_socket, "/run/wirewrap/admin.sock"))                                     \
    X(default_of_argon2, SOUND, config.seal.argon2_memory_kib == 65536 && config.seal.argon2_passes == 3)    \
    X(default_of_issuers, SOUND, config.auth.issuer_count == 0)                                              \
    X(mac_is_read, NIC "  mac: 02:57:57:00:00:02\n" REST, text_is(config.nic.mac, "02:57:57:00:00:02"))      \
    X(mac_has_no_case, NIC "  mac: 0A:57:9f:00:00:99\n" REST, text_is(config.nic.mac, "0A:57:9f:00:00:99"))  \
    X(prefix_lengths_up_to_the_whole_address_are_read,                                                       \
      NIC                                                                                                    \
      "net:\n  addresses: [192.0.2.2/32, 192.0.2.9/29, \"2001:db8::1/128\", 10.0.0.1/0]\n" SEAL TLS AUTH,    \
      config.net.address_count == 4)                                                                         \
    X(path_may_hold_a_space, SOUND "ctrl: {state_dir: /a b}\n", text_is(config.ctrl.state_dir, "/a b"))      \
    X(empty_mac_is_the_devices, NIC "  mac: \"\"\n" REST, config.nic.mac[0] == 0)                            \
    X(mtu_is_read, NIC "  mtu: 9000\n" REST, config.nic.mtu == 9000)                                         \
    X(hugepages_true_is_read, NIC "  hugepages: true\n" REST, config.nic.hugepages)                          \
    X(disable_before_destroy_is_on_by_itself, SOUND, config.ctrl.disable_before_destroy)                     \
    X(disable_before_destroy_can_be_switched_off, SOUND "ctrl:\n  disable_before_destroy: false\n",          \
      !config.ctrl.disable_before_destroy)                                                                   \
    X(hugepages_false_is_read, NIC "  hugepages: false\n" REST, !config.nic.hugepages)                       \
    X(memory_in_mib_is_read, NIC "  memory: 512MiB\n" REST, config.nic.memory_mb == 512)                     \
    X(memory_in_gib_is_read, NIC "  memory: 2GiB\n" REST, config.nic.memory_mb == 2048)                      \
    X(memory_in_kib_is_read, NIC "  memory: 65536KiB\n" REST, config.nic.memory_mb == 64)                    \
    X(routes_are_read,                                                                                       \
      NIC NET "  routes: [{dst: \"::/0\", via: \"::1\"}, {dst: 10.0.0.0/8}]\n" SEAL TLS AUTH,                \
      config.net.route_count == 2 && text_is(config.net.routes[0].dst, "::/0") &&                            \
          text_is(config.net.routes[0].via, "::1") && text_is(config.net.routes[1].dst, "10.0.0.0/8"))       \
    X(route_without_via_is_on_link, NIC NET "  routes: [{dst: 10.0.0.0/8}]\n" SEAL TLS AUTH,                 \
      config.net.routes[0].via[0] == 0)                                                                      \
    X(port_is_read, NIC NET "  port: 8443\n" SEAL TLS AUTH, config.net.port == 8443)                         \
    X(connections_max_is_read, NIC NET "  connections_max: 1048576\n" SEAL TLS AUTH,                         \
      config.net.connections_max == 1048576)                                                                 \
    X(keep_alive_is_read,                                                                                    \
      NIC NET "  keepalive_idle: 2m\n  keepalive_interval: 5s\n  keepalive_probes: 3\n" SEAL TLS AUTH,       \
      config.net.keepalive_idle_s == 120 && config.net.keepalive_interval_s == 5 &&                          \
          config.net.keepalive_probes == 3)                                                                  \
    X(idle_close_and_msl_are_read, NIC NET "  idle_close: 0s\n  msl: 1s\n" SEAL TLS AUTH,                    \
      config.net.idle_close_s == 0 && config.net.msl_s == 1)                                                 \
    X(cores_are_read, NIC "  queues: 2\n" REST "dataplane: {workers: 2, cores: [3, 0]}\n",                   \
      config.dataplane.core_count == 2 && config.dataplane.cores[0] == 3 && config.dataplane.cores[1] == 0)  \
    X(engine_is_read, SOUND "crypto: {engine: qatprovider}\n", text_is(config.crypto.engine, "qatprovider")) \
    X(engine_by_path_is_read, SOUND "crypto: {engine: /opt/qat/qatengine.so}\n",                             \
      text_is(config.crypto.engine, "/opt/qat/qatengine.so"))                                                \
    X(idle_is_read, SOUND "dataplane: {idle: spin}\n", text_is(config.dataplane.idle, "spin"))               \
    X(key_counts_are_read, SOUND "dataplane: {keys_max: 16, versions_max: 17}\n",                            \
      config.dataplane.keys_max == 16 && config.dataplane.versions_max == 17)                                \
    X(ctrl_paths_are_read, SOUND "ctrl: {state_dir: /s, ctl_socket: /t, admin_socket: /u, audit_dir: /v}\n", \
      text_is(config.ctrl.state_dir, "/s") && text_is(config.ctrl.ctl_socket, "/t") &&                       \
          text_is(config.ctrl.admin_socket, "/u") && text_is(config.ctrl.audit_dir, "/v"))                   \
    X(argon2_is_read, NIC NET SEAL "  argon2_memory: 1GiB\n  argon2_passes: 4\n" TLS AUTH,                   \
      config.seal.argon2_memory_kib == 1048576 && config.seal.argon2_passes == 4)                            \
    X(issuer_is_read, SOUND ISSUER ", jwks_fresh: 90m}\n",                                                   \
      config.auth.issuer_count == 1 && text_is(config.auth.issuers[0].iss, "i") &&                           \
          text_is(config.auth.issuers[0].jwks_file, "/j") && config.auth.issuers[0].jwks_fresh_s == 5400)    \
    X(issuer_without_jwks_fresh_has_an_hour, SOUND ISSUER "}\n",                                             \
      config.auth.issuers[0].jwks_fresh_s == 3600)                                                           \
    X(duration_in_days_is_read, SOUND ISSUER ", jwks_fresh: 30d}\n",                                         \
      config.auth.issuers[0].jwks_fresh_s == 2592000)                                                        \
    X(duration_in_seconds_is_read, SOUND ISSUER ", jwks_fresh: 60s}\n",                                      \
      config.auth.issuers[0].jwks_fresh_s == 60)                                                             \
    X(quoted_text_is_the_text, "nic: {device: 'tap:ww0'}\n" REST, text_is(config.nic.device, "tap:ww0"))     \
    X(section_of_comments_has_its_defaults, "ctrl:\n  # state_dir: /s\n" SOUND,                              \
      text_is(config.ctrl.state_dir, "/var/lib/wirewrap"))                                                   \
    X(document_marks_are_let_pass, "---\n" SOUND "...\n", config.net.port == 443)

#define X(name, bytes, holds)                                                                                \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        if (!parse(bytes, sizeof(bytes) - 1))                                                                \
            fail_msg("line %u: %s", error.line, error.text);                                                 \
        assert_true(holds);                                                                                  \
    }
TAKEN(X)
#undef X

/* before, then count elements, each '@' in them its number, then after. */
static bool parse_list(const char *before, const char *element, size_t count, const char *after)
{
    static char text[16384];
    size_t len = (size_t)snprintf(text, sizeof text, "%s", before);

    for (size_t i = 0; i < count; i++) {
        for (const char *c = element; *c != 0; c++) {
            if (*c == '@')
                len += (size_t)snprintf(text + len, sizeof text - len, "%zu", i);
            else
                text[len++] = *c;
        }
    }
    len += (size_t)snprintf(text + len, sizeof text - len, "%s", after);
    return parse(text, len);
}

/* name, what comes before the elements, one element, most that are taken, what comes after, error */
#define LISTS(X)                                                                                             \
    X(addresses, NIC "net:\n  addresses: [", "192.0.2.@/24, ", 16, "]\n" SEAL TLS AUTH,                      \
      "net.addresses: must not have more than 16 elements")                                                  \
    X(routes, NIC NET "  routes: [", "{dst: 10.@.0.0/16}, ", 32, "]\n" SEAL TLS AUTH,                        \
      "net.routes: must not have more than 32 elements")                                                     \
    X(issuers, SOUND "  issuers: [", "{iss: i@, jwks_file: /j}, ", 8, "]\n",                                 \
      "auth.issuers: must not have more than 8 elements")                                                    \
    X(audiences, NIC NET SEAL TLS "auth:\n  audiences: [", "a@, ", 8, "]\n",                                 \
      "auth.audiences: must not have more than 8 elements")                                                  \
    X(cores, NIC "  queues: 16\n" REST "dataplane:\n  workers: 16\n  cores: [", "@, ", 16, "]\n",            \
      "dataplane.cores: must not have more than 16 elements")

#define X(name, before, element, most, after, expected)                                                      \
    static void as_many_##name##_as_the_limit_are_taken(void **state)                                        \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_true(parse_list(before, element, most, after));                                               \
    }                                                                                                        \
    static void one_of_##name##_over_the_limit_is_refused(void **state)                                      \
    {                                                                                                        \
        (void)state;                                                                                         \
        assert_false(parse_list(before, element, (most) + 1, after));                                        \
        assert_string_equal(error.text, expected);                                                           \
    }
LISTS(X)
#undef X

static bool parse_with_audience_of(size_t len)
{
    static char text[4096];
    size_t at = (size_t)snprintf(text, sizeof text, "%s", NIC NET SEAL TLS "auth:\n  audiences: [");

    memset(text + at, 'a', len);
    memcpy(text + at + len, "]\n", 2);
    return parse(text, at + len + 2);
}

static void text_at_its_limit_is_taken(void **state)
{
    (void)state;

    assert_true(parse_with_audience_of(CONFIG_TEXT_CAP - 1));
    assert_int_equal(strlen(config.auth.audiences[0]), CONFIG_TEXT_CAP - 1);
}

static void text_over_its_limit_is_refused(void **state)
{
    (void)state;

    assert_false(parse_with_audience_of(CONFIG_TEXT_CAP));
    assert_string_equal(error.text, "auth.audiences[0]: must not be longer than 255 bytes");
    assert_int_equal(error.line, 9);
}

static void long_value_is_shortened_in_the_error(void **state)
{
    (void)state;

    assert_false(parse_list("nic:\n  device: ", "aaaaaaaaaa", 20, "\n"));
    assert_non_null(strstr(error.text, "aaaa...'"));
    assert_true(strlen(error.text) < 200);
}

/* A sound file of exactly len bytes, filled up by a comment. */
static bool parse_file_of(size_t len)
{
    char *text = malloc(len);

    assert_non_null(text);
    memset(text, '#', len);
    memcpy(text, SOUND, sizeof(SOUND) - 1);
    bool ok = parse(text, len);
    free(text);
    return ok;
}

static void file_at_its_limit_is_taken(void **state)
{
    (void)state;

    assert_true(parse_file_of(CONFIG_LEN_MAX));
}

static void file_over_its_limit_is_refused(void **state)
{
    (void)state;

    assert_false(parse_file_of(CONFIG_LEN_MAX + 1));
    assert_string_equal(error.text, "the file is longer than 262144 bytes");
}

static struct config read_example(bool with_defaults)
{
    static char text[65536];
    FILE *f = fopen(EXAMPLE_FILE, "rb");

    assert_non_null(f);
    size_t len = fread(text, 1, sizeof text, f);
    fclose(f);
    /* "  # key: value" is a default: brought to life by taking the mark away. */
    for (size_t i = 0; with_defaults && i + 3 < len; i++) {
        char *p = text + i;
        size_t name = strspn(p + 2, "abcdefghijklmnopqrstuvwxyz0123456789_");

        if (p[0] == '#' && p[1] == ' ' && name != 0 && p[2 + name] == ':' && p[3 + name] == ' ' && i >= 2 &&
            p[-1] == ' ' && p[-2] == ' ')
            p[0] = p[1] = ' ', memmove(p, p + 2, len - i - 2), len -= 2;
    }
    if (!parse(text, len))
        fail_msg("%s:%u: %s", EXAMPLE_FILE, error.line, error.text);
    return config;
}

static void the_example_is_sound(void **state)
{
    (void)state;

    read_example(false);
    assert_string_equal(config.nic.device, "pci:0000:01:00.0");
    assert_int_equal(config.auth.issuer_count, 1);
}

static void the_defaults_that_the_example_tells_are_the_defaults(void **state)
{
    struct config quiet = read_example(false), loud = read_example(true);
    (void)state;

    assert_memory_equal(&quiet, &loud, sizeof quiet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define X(name, ...) cmocka_unit_test(name##_is_refused),
        REFUSED(X)
#undef X
#define X(name, ...) cmocka_unit_test(name),
            TAKEN(X)
#undef X
#define X(name, ...)                                                                                         \
    cmocka_unit_test(as_many_##name##_as_the_limit_are_taken),                                               \
        cmocka_unit_test(one_of_##name##_over_the_limit_is_refused),
                LISTS(X)
#undef X
                    cmocka_unit_test(text_at_its_limit_is_taken),
        cmocka_unit_test(text_over_its_limit_is_refused),
        cmocka_unit_test(long_value_is_shortened_in_the_error),
        cmocka_unit_test(file_at_its_limit_is_taken),
        cmocka_unit_test(file_over_its_limit_is_refused),
        cmocka_unit_test(the_example_is_sound),
        cmocka_unit_test(the_defaults_that_the_example_tells_are_the_defaults),
    };
    return RUN_TESTS("config", tests);
}
