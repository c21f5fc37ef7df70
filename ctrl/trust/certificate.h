/* The server certificate: its chain and private key, checked before anybody is asked to serve with them. */
#ifndef CTRL_TRUST_CERTIFICATE_H
#define CTRL_TRUST_CERTIFICATE_H

#include "base/span.h"
#include "ctrl/lib/refusal.h"
#include "drivers/crypto/mbedtls/mbed.h"

#define CERTIFICATE_CHAIN_MAX (32 * 1024)
#define CERTIFICATE_KEY_MAX   (8 * 1024)

struct certificate_facts {
    char subject[256];
    char names[512];                    /* DNS names of the leaf, comma-separated */
    char key[32];                       /* "EC 256", "RSA 2048" */
    char not_before[24], not_after[24]; /* 2026-01-02T03:04:05Z */
    int64_t not_after_unix_s;
    char sha256[2 * MBED_DIGEST_LEN + 1]; /* of the leaf's DER: what Cloud KMS pins */
    uint32_t chain_count;
};

/* chain_pem, key_pem: PEM with a NUL at the end, counted in len.  false: they do not parse, do not belong together,
 * or the leaf has expired. */
bool MUST_USE certificate_check(struct span chain_pem, struct span key_pem, int64_t now_unix_s,
                                struct certificate_facts *out, struct refusal *why);

/* --dev: a fresh P-256 authority and a server certificate for host, signed by it.  The authority's private key is
 * not kept.  Files are written 0600 with their directory in place. */
bool MUST_USE certificate_make_dev(struct mbed_rng *rng, const char *host, const char *certificate_file,
                                   const char *key_file, const char *ca_file, int64_t now_unix_s,
                                   struct refusal *why);

#endif
