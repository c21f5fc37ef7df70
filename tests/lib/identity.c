#include "tests/lib/identity.h"

#include "tests/unit/test.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

/* Of more primes when it is long: two of 2048 bits take seconds to find. */
static EVP_PKEY *rsa_make(int bits)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *key = NULL;

    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, bits), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_primes(ctx, bits >= 4096 ? 4 : bits >= 3072 ? 3 : 2), 1);
    assert_int_equal(EVP_PKEY_generate(ctx, &key), 1);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *key_make(const char *kind)
{
    if (strncmp(kind, "RSA-", 4) == 0)
        return rsa_make(atoi(kind + 4));
    if (strcmp(kind, "ED25519") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    return EVP_EC_gen(kind);
}

static void pem_take(BIO *bio, char *out, size_t cap)
{
    int len = BIO_read(bio, out, (int)cap - 1);

    assert_true(len > 0);
    out[len] = 0;
    BIO_free(bio);
}

void identity_make(const char *kind, const char *cn, struct identity_pem *out)
{
    EVP_PKEY *key = key_make(kind);
    X509 *cert = X509_new();
    X509_NAME *name;
    BIO *bio;

    assert_non_null(key);
    name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(cert, name);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_set_pubkey(cert, key);
    assert_true(X509_sign(cert, key, strcmp(kind, "ED25519") == 0 ? NULL : EVP_sha256()) > 0);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert);
    pem_take(bio, out->cert, sizeof out->cert);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    pem_take(bio, out->key, sizeof out->key);
    X509_free(cert);
    EVP_PKEY_free(key);
}
