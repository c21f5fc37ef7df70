/* wwctl approval sign: shows what is signed, then signs just that. */
#include "ctrl/cli/wwctl.h"
#include "drivers/crypto/mbedtls/mbed.h"

#include <mbedtls/ecp.h>
#include <mbedtls/error.h>
#include <mbedtls/pk.h>

#include <stdio.h>
#include <string.h>

static bool sign(const char *key_file, const char *statement, char out[2 * MBEDTLS_PK_SIGNATURE_MAX_SIZE + 1])
{
    unsigned char bytes[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
    uint8_t digest[MBED_DIGEST_LEN];
    mbedtls_pk_context key;
    struct mbed_rng *rng = mbed_rng_new();
    size_t len = 0;
    char cause[128];

    mbedtls_pk_init(&key);
    int rc = rng == NULL ? MBEDTLS_ERR_PK_ALLOC_FAILED : mbedtls_pk_parse_keyfile(&key, key_file, NULL);
    bool fits = rc == 0 && mbedtls_pk_can_do(&key, MBEDTLS_PK_ECDSA) &&
                mbedtls_pk_ec(key)->grp.id == MBEDTLS_ECP_DP_SECP256R1;
    mbed_sha256(span_str(statement), digest);
    if (fits)
        rc = mbedtls_pk_sign(&key, MBEDTLS_MD_SHA256, digest, sizeof digest, bytes, &len, mbed_rng_callback,
                             rng);
    mbedtls_pk_free(&key);
    mbed_rng_free(rng);
    if (rc == 0 && fits) {
        for (size_t i = 0; i < len; i++)
            snprintf(out + 2 * i, 3, "%02x", bytes[i]);
        return true;
    }
    mbedtls_strerror(rc, cause, sizeof cause);
    fprintf(stderr, "wwctl: cannot sign with %s: %s\n", key_file, rc != 0 ? cause : "it is not a P-256 key");
    return false;
}

int sign_approval(const char *socket_path, const char *id, const char *key_file, bool as_json)
{
    char signature[2 * MBEDTLS_PK_SIGNATURE_MAX_SIZE + 1];
    json_t *request = json_pack("{s:s, s:s}", "command", "approval show", "id", id);
    json_t *reply = link_call(socket_path, request);
    const char *statement = json_string_value(json_object_get(reply, "statement"));
    int rc = reply == NULL ? EXIT_UNREACHABLE : EXIT_REFUSED;

    json_decref(request);
    if (reply != NULL && statement == NULL) {
        const char *message = json_string_value(json_object_get(json_object_get(reply, "error"), "message"));

        fprintf(stderr, "wwctl: %s\n", message == NULL ? "there is nothing to sign" : message);
    } else if (statement != NULL) {
        fprintf(stderr, "This is what is signed:\n\n%s\n", statement);
        if (sign(key_file, statement, signature)) {
            if (as_json)
                printf("{\"ok\": true, \"id\": \"%s\", \"signature\": \"%s\"}\n", id, signature);
            else
                printf("%s\n", signature);
            rc = EXIT_OK;
        }
    }
    json_decref(reply);
    return rc;
}
