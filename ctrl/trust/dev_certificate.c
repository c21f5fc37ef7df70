/* --dev only: what an operator's authority does, in one call. */
#include "ctrl/trust/certificate.h"

#include "base/secret.h"
#include "ctrl/lib/file.h"

#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>

#include <stdio.h>
#include <time.h>

#define DAYS     825
#define PEM_CAP  4096
#define CA_NAME  "CN=Wirewrap development CA"
#define HOST_MAX 200

struct party {
    mbedtls_pk_context key;
    const char *name; /* "CN=..." */
};

static bool party_make(struct party *p, struct mbed_rng *rng)
{
    return mbedtls_pk_setup(&p->key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) == 0 &&
           mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(p->key), mbed_rng_callback, rng) == 0;
}

static bool set_validity(mbedtls_x509write_cert *w, int64_t now)
{
    char from[16], to[16];
    time_t start = (time_t)(now - 3600), end = (time_t)(now + DAYS * 86400LL);
    struct tm tm;

    gmtime_r(&start, &tm);
    strftime(from, sizeof from, "%Y%m%d%H%M%S", &tm);
    gmtime_r(&end, &tm);
    strftime(to, sizeof to, "%Y%m%d%H%M%S", &tm);
    return mbedtls_x509write_crt_set_validity(w, from, to) == 0;
}

static bool set_serial(mbedtls_x509write_cert *w, struct mbed_rng *rng)
{
    uint8_t bytes[16];
    mbedtls_mpi serial;
    bool ok;

    mbed_random(rng, bytes, sizeof bytes);
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40); /* positive, no leading zero: RFC 5280 4.1.2.2 */
    mbedtls_mpi_init(&serial);
    ok = mbedtls_mpi_read_binary(&serial, bytes, sizeof bytes) == 0 &&
         mbedtls_x509write_crt_set_serial(w, &serial) == 0;
    mbedtls_mpi_free(&serial);
    return ok;
}

/* SubjectAltName with one DNS name, and ExtendedKeyUsage serverAuth, as DER (RFC 5280 4.2.1.6, 4.2.1.12).  host is
 * at most HOST_MAX bytes; lengths of 128 and more take the long form. */
static bool set_server_extensions(mbedtls_x509write_cert *w, const char *host)
{
    static const uint8_t server_auth[] = {0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06,
                                          0x01, 0x05, 0x05, 0x07, 0x03, 0x01};
    uint8_t san[HOST_MAX + 8];
    size_t host_len = strlen(host), inner = 0, len = 0;
    uint8_t name[HOST_MAX + 3];

    name[inner++] = 0x82; /* [2] dNSName */
    if (host_len >= 128)
        name[inner++] = 0x81;
    name[inner++] = (uint8_t)host_len;
    memcpy(name + inner, host, host_len);
    inner += host_len;
    san[len++] = 0x30;
    if (inner >= 128)
        san[len++] = 0x81;
    san[len++] = (uint8_t)inner;
    memcpy(san + len, name, inner);
    len += inner;
    return mbedtls_x509write_crt_set_extension(w, MBEDTLS_OID_SUBJECT_ALT_NAME,
                                               MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), 0, san,
                                               len) == 0 &&
           mbedtls_x509write_crt_set_extension(w, MBEDTLS_OID_EXTENDED_KEY_USAGE,
                                               MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE), 0,
                                               server_auth, sizeof server_auth) == 0;
}

static bool certificate_write(struct party *subject, struct party *issuer, const char *host,
                              struct mbed_rng *rng, int64_t now, unsigned char pem[PEM_CAP])
{
    mbedtls_x509write_cert w;
    bool is_ca = host == NULL;

    mbedtls_x509write_crt_init(&w);
    mbedtls_x509write_crt_set_version(&w, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&w, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&w, &subject->key);
    mbedtls_x509write_crt_set_issuer_key(&w, &issuer->key);
    bool ok = mbedtls_x509write_crt_set_subject_name(&w, subject->name) == 0 &&
              mbedtls_x509write_crt_set_issuer_name(&w, issuer->name) == 0 && set_serial(&w, rng) &&
              set_validity(&w, now) &&
              mbedtls_x509write_crt_set_basic_constraints(&w, is_ca, is_ca ? 0 : -1) == 0 &&
              mbedtls_x509write_crt_set_key_usage(&w, is_ca ? MBEDTLS_X509_KU_KEY_CERT_SIGN
                                                            : MBEDTLS_X509_KU_DIGITAL_SIGNATURE) == 0 &&
              mbedtls_x509write_crt_set_subject_key_identifier(&w) == 0 &&
              mbedtls_x509write_crt_set_authority_key_identifier(&w) == 0 &&
              (is_ca || set_server_extensions(&w, host)) &&
              mbedtls_x509write_crt_pem(&w, pem, PEM_CAP, mbed_rng_callback, rng) == 0;
    mbedtls_x509write_crt_free(&w);
    return ok;
}

static bool files_write(struct party *ca, struct party *server, const char *host, struct mbed_rng *rng,
                        int64_t now, const char *const files[3], unsigned char *key_pem, struct refusal *why)
{
    unsigned char ca_pem[PEM_CAP], server_pem[PEM_CAP];

    if (!party_make(ca, rng) || !party_make(server, rng) ||
        !certificate_write(ca, ca, NULL, rng, now, ca_pem) ||
        !certificate_write(server, ca, host, rng, now, server_pem) ||
        mbedtls_pk_write_key_pem(&server->key, key_pem, PEM_CAP) != 0)
        return refuse(why, "bad_certificate", "bring your own certificate",
                      "no certificate could be made for %s", host);
    return file_write(files[0], span_str((char *)server_pem), why) &&
           file_write(files[1], span_str((char *)key_pem), why) &&
           file_write(files[2], span_str((char *)ca_pem), why);
}

bool certificate_make_dev(struct mbed_rng *rng, const char *host, const char *certificate_file,
                          const char *key_file, const char *ca_file, int64_t now, struct refusal *why)
{
    char name[HOST_MAX + 8];
    struct party ca = {.name = CA_NAME}, server = {.name = name};
    unsigned char *key_pem = secret_pages_alloc(PEM_CAP);
    const char *const files[3] = {certificate_file, key_file, ca_file};

    if (key_pem == NULL || strlen(host) > HOST_MAX)
        return refuse(why, "no_memory", "raise LimitMEMLOCK of ww-ctrl",
                      "no locked memory for a private key");
    snprintf(name, sizeof name, "CN=%s", host);
    mbedtls_pk_init(&ca.key);
    mbedtls_pk_init(&server.key);
    bool ok = files_write(&ca, &server, host, rng, now, files, key_pem, why);
    mbedtls_pk_free(&ca.key);
    mbedtls_pk_free(&server.key);
    secret_pages_free(key_pem, PEM_CAP);
    return ok;
}
