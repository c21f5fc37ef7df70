/* Certificates and their keys for tests, made at run time: no private key lies in the tree. */
#ifndef TESTS_LIB_IDENTITY_H
#define TESTS_LIB_IDENTITY_H

struct identity_pem {
    char cert[4096], key[4096];
};

/* kind: "P-256", "P-384", "P-521", "RSA-2048"..., "ED25519"; made at run time; self-signed for `cn`. */
void identity_make(const char *kind, const char *cn, struct identity_pem *out);

#endif
