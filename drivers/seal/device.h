/* Asking ww-seal: starts it, gives it one request, takes its reply, sees it end. */
#ifndef DRIVERS_SEAL_DEVICE_H
#define DRIVERS_SEAL_DEVICE_H

#include "drivers/seal/device_wire.h"
#include "drivers/seal/seal.h"

/* payload: DEVICE_BLOB_MAX bytes of room, in locked pages where it is a secret.  SEAL_OK; or SEAL_DEVICE or
 * SEAL_BAD_PIN, and err says why and what to do. */
enum seal_status MUST_USE device_ask(const struct seal_device *d, const struct device_request *r,
                                     struct buf *payload, char *err, size_t err_cap);

#endif
