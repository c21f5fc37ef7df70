/* Reading a file that holds a secret: a passphrase, an age identity, a PIN. */
#ifndef DRIVERS_SEAL_SECRET_FILE_H
#define DRIVERS_SEAL_SECRET_FILE_H

#include "base/span.h"

/* For the texts of errors. */
struct secret_file {
    const char *what;    /* "passphrase" */
    const char *setting; /* "seal.passphrase_file": where its name is set */
};

/* name is a path, or "credential:NAME" for a systemd credential ($CREDENTIALS_DIRECTORY/NAME).  out: cap
 * bytes of locked pages of the caller's; a longer file is cut, with *len == cap.  path: where it was read
 * from.  false: err says which file, why, and what to do. */
bool MUST_USE secret_file_read(const char *name, const struct secret_file *f, uint8_t *out, size_t cap,
                               size_t *len, char *path, size_t path_cap, char *err, size_t err_cap);

#endif
