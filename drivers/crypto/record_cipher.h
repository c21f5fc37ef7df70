/* AES-GCM of TLS records: a provider for OpenSSL's EVP, over libipsec-mb.
 *
 * What TLS 1.3 asks of a cipher is little: a key once, then per record a nonce, five bytes of additional data, one piece of text, a tag.
 * EVP stays in charge; behind it the standard provider looks up every parameter by name among all it knows, which cost more than the cipher.
 * Anything else that EVP may ask (the records of TLS 1.2) goes to the standard provider's own code.
 *
 * Sources: OpenSSL provider-cipher(7); NIST SP 800-38D; RFC 8446 5.2. */
#ifndef DRIVERS_CRYPTO_RECORD_CIPHER_H
#define DRIVERS_CRYPTO_RECORD_CIPHER_H

#include "base/span.h"

#include <openssl/provider.h>

/* The property query with which a fetch finds it where there is a choice, and what there is where there is none. */
#define RECORD_CIPHER_WANTED "?provider=wirewrap"

/* Loads it into lib, and behind it the standard provider, which *standard then is; before anything was fetched from lib.  Both are unloaded by
 * the caller, when nothing of theirs is in use.  NULL: memory is short, or OpenSSL refuses; *standard is then NULL, too. */
OSSL_PROVIDER *MUST_USE record_cipher_load(OSSL_LIB_CTX *lib, OSSL_PROVIDER **standard);

#endif
