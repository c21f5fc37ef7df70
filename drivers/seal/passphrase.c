#include "drivers/seal/seal.h"

#include "base/secret.h"
#include "drivers/seal/secret_file.h"

#include <stdio.h>

#define IDENTITY_FILE_MAX (16 * 1024)

bool seal_passphrase_read(const char *name, uint8_t *out, size_t *len, char *err, size_t err_cap)
{
    static const struct secret_file file = {"passphrase", "seal.passphrase_file"};
    char path[1024];
    size_t n;

    if (!secret_file_read(name, &file, out, SEAL_PASSPHRASE_MAX, &n, path, sizeof path, err, err_cap))
        return false;
    const uint8_t *end = memchr(out, '\n', n);
    *len = end == NULL ? n : (size_t)(end - out);
    if (*len > 0 && out[*len - 1] == '\r')
        *len -= 1;
    secret_wipe(out + *len, SEAL_PASSPHRASE_MAX - *len);
    if (*len < SEAL_PASSPHRASE_MIN || (end == NULL && n == SEAL_PASSPHRASE_MAX)) {
        snprintf(err, err_cap, "the passphrase in %s has %zu bytes: it must have %d..%d on its first line",
                 path, *len, SEAL_PASSPHRASE_MIN, SEAL_PASSPHRASE_MAX - 1);
        secret_wipe(out, SEAL_PASSPHRASE_MAX);
        return false;
    }
    return true;
}

bool seal_identity_read(const char *name, uint8_t identity[AGE_KEY_LEN], char *err, size_t err_cap)
{
    static const struct secret_file file = {"age identity", "the identity's path"};
    uint8_t *text = secret_pages_alloc(IDENTITY_FILE_MAX);
    char path[1024];
    size_t len;

    if (text == NULL) {
        snprintf(err, err_cap, "no locked memory for the age identity: raise LimitMEMLOCK");
        return false;
    }
    bool ok = secret_file_read(name, &file, text, IDENTITY_FILE_MAX, &len, path, sizeof path, err, err_cap);
    if (ok && age_identity_find(span_of(text, len), identity) != AGE_OK) {
        snprintf(
            err, err_cap,
            "%s holds no age identity: its first line that is no comment must be an AGE-SECRET-KEY-1... as "
            "age-keygen writes it",
            path);
        ok = false;
    }
    secret_pages_free(text, IDENTITY_FILE_MAX);
    return ok;
}
