/* Which counter a failure of OpenSSL is. */
#include "dataplane/tls/tls_priv.h"

#include <openssl/err.h>
#include <openssl/sslerr.h>

static enum reason reason_of(int ssl_reason)
{
    /* An alert that the peer sent: OpenSSL reports it as this offset plus its number. */
    if (ssl_reason >= SSL_AD_REASON_OFFSET)
        return REASON_TLS_PEER_ALERT;
    switch (ssl_reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_VERSION_TOO_HIGH:
        return REASON_TLS_BAD_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        return REASON_TLS_NOTHING_SHARED;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return REASON_TLS_NO_APPLICATION_PROTOCOL;
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_DIGEST_CHECK_FAILED:
        return REASON_TLS_BAD_RECORD_MAC;
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_WRONG_SSL_VERSION:
        return REASON_TLS_NOT_TLS;
    default:
        return REASON_TLS_PROTOCOL_ERROR;
    }
}

enum reason tls_failure_reason(void)
{
    unsigned long err;
    enum reason why = REASON_TLS_PROTOCOL_ERROR;

    /* Ciphers may have spoken before the TLS layer did: its first error is the cause. */
    while ((err = ERR_get_error()) != 0) {
        if (ERR_GET_REASON(err) == ERR_R_MALLOC_FAILURE) {
            why = REASON_TLS_NO_MEMORY;
            break;
        }
        if (ERR_GET_LIB(err) == ERR_LIB_SSL) {
            why = reason_of(ERR_GET_REASON(err));
            break;
        }
    }
    return why;
}
